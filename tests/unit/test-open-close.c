/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#define _GNU_SOURCE
#include "test-common.h"
#include "lms-lock.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * Opening while another process closes. LMDB 0.9.26 to 0.9.31 destroys the mutexes in the lock file when the last
 * process closes, also if another one waits there to open: that one is left with mutexes that can't be locked.
 *
 * The calls of libc and LMDB that matter are replaced here, so that whoever closes as the last one waits until another
 * one has come to open. Thus each such close meets an opener, and they are counted.
 */

#define STORES 6
#define PROCESSES 4
#define ROUNDS 60
/* Closes that must have met an opener; some 300 do. */
#define RACES_MIN 60
/* The same of a foreign program */
#define FOREIGN_RACES_MIN 5
/* How often it meets one that opens before that one has come through: each opener tries only so often. */
#define FOREIGN_RACES_IN_TURN 3
/* Waiting for others takes this long at most, in steps of 0.1 ms. */
#define WAIT_STEPS 300000

/* Of one store, shared by its processes */
struct state {
	/* processes that work on the store, that have it open, that are about to open it with our lock and with LMDB's */
	atomic_int running, open, opening, opening_mdb;
	/* how often it was opened by us */
	atomic_int opened;
	/* how often the last one to close met one that opens, and LMDB destroyed mutexes */
	atomic_int races, destroyed;
};

static struct state *states, *state;
/* What this process is doing */
static bool opening, closing;
/* It is a program that knows nothing of our lock, or there is one. */
static bool is_foreign, with_foreign;

/* Wait until another process is about to open the store. Returns false if none is left to do so. */
static bool wait_for_opener(const atomic_int *opening_count)
{
	unsigned int i;

	for (i = 0; i < WAIT_STEPS; i++) {
		if (atomic_load(opening_count) > 0)
			return true;
		if (atomic_load(&state->running) <= 1)
			return false;
		usleep(100);
	}
	CHECK(false && "nobody opens");
	/* Once is enough. */
	atomic_store(&state->running, 0);
	return false;
}

/* The function that one of ours is in place of; func is a pointer to a pointer to a function. */
static void find_real(const char *name, void *func)
{
	void *symbol = dlsym(RTLD_NEXT, name);

	if (symbol == NULL)
		abort();
	memcpy(func, &symbol, sizeof(symbol));
}

/* In place of libc's */
int fcntl(int fd, int cmd, ...)
{
	atomic_int *count = NULL;
	struct flock *lock;
	void *arg;
	va_list args;
	int ret;

	va_start(args, cmd);
	arg = lock = va_arg(args, void *);
	va_end(args);
	if (state != NULL && opening && cmd == F_OFD_SETLKW && lock->l_start == LMS_LOCK_OPEN)
		count = &state->opening;
	else if (state != NULL && opening && cmd == F_SETLKW && lock->l_type == F_RDLCK)
		count = &state->opening_mdb;
	if (count != NULL)
		atomic_fetch_add(count, 1);
	ret = (int)syscall(SYS_fcntl, fd, cmd, arg);
	if (count != NULL)
		atomic_fetch_sub(count, 1);
	return ret;
}

/* Close in the midst of another one's opening, unless that was done to it too often. */
static void meet_opener(void)
{
	static int in_turn, opened;

	if (opened != atomic_load(&state->opened))
		in_turn = 0;
	opened = atomic_load(&state->opened);
	if (in_turn < FOREIGN_RACES_IN_TURN && wait_for_opener(&state->opening_mdb)) {
		in_turn++;
		atomic_fetch_add(&state->races, 1);
	}
}

/* In place of libc's */
int pthread_mutex_destroy(pthread_mutex_t *mutex)
{
	static int (*real)(pthread_mutex_t *);

	if (real == NULL)
		find_real("pthread_mutex_destroy", &real);
	if (state != NULL && closing) {
		/* The lock on LMDB's lock file is held. */
		if (is_foreign)
			meet_opener();
		atomic_fetch_add(&state->destroyed, 1);
	}
	return real(mutex);
}

/* In place of LMDB's */
int mdb_env_open(MDB_env *mdb, const char *path, unsigned int flags, mdb_mode_t mode)
{
	static int (*real)(MDB_env *, const char *, unsigned int, mdb_mode_t);
	int rc;

	if (real == NULL)
		find_real("mdb_env_open", &real);
	rc = real(mdb, path, flags, mode);
	if (state != NULL && rc == 0)
		atomic_fetch_add(&state->open, 1);
	return rc;
}

/* In place of LMDB's */
void mdb_env_close(MDB_env *mdb)
{
	static void (*real)(MDB_env *);

	if (real == NULL)
		find_real("mdb_env_close", &real);
	/* The store's own lock is held. */
	if (state != NULL && atomic_fetch_sub(&state->open, 1) == 1 && !with_foreign && wait_for_opener(&state->opening))
		atomic_fetch_add(&state->races, 1);
	closing = true;
	real(mdb);
	closing = false;
}

static void states_init(void)
{
	states = mmap(NULL, STORES * sizeof(*states), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (states == MAP_FAILED)
		exit(1);
}

/* Open the store when the last one just closes it, if one does. */
static struct lms_env *open_store(const char *dir)
{
	struct lms_env *env;
	unsigned int i;

	for (i = 0; i < WAIT_STEPS && atomic_load(&state->open) > 0; i++)
		usleep(100);
	opening = true;
	CHECK_OK(lms_env_open(dir, &test_settings, &env, &test_error));
	opening = false;
	if (env == NULL) {
		atomic_fetch_sub(&state->running, 1);
		test_child_exit();
	}
	atomic_fetch_add(&state->opened, 1);
	return env;
}

static void open_and_close(const char *dir, uint64_t folder_id, unsigned int rounds)
{
	struct lms_folder folder;
	struct lms_env *env;

	for (; rounds > 0; rounds--) {
		env = open_store(dir);
		CHECK(test_save_text(env, folder_id, "x") > 0);
		CHECK(lms_folder_get(env, folder_id, &folder, &test_error) == 1);
		lms_env_close(&env);
	}
}

static const char *store_path(unsigned int number)
{
	char name[32];

	snprintf(name, sizeof(name), "store%u", number);
	return test_path(name);
}

static uint64_t make_store(unsigned int number)
{
	struct lms_env *env;
	uint64_t folder_id;

	CHECK_OK(lms_env_open(store_path(number), &test_settings, &env, &test_error));
	folder_id = test_folder(env, "a");
	lms_env_close(&env);
	return folder_id;
}

static void check_store(unsigned int number, uint64_t folder_id, uint64_t messages)
{
	struct lms_env *env;

	CHECK_OK(lms_env_open(store_path(number), &test_settings, &env, &test_error));
	CHECK_U64(test_folder_get(env, folder_id).messages, messages);
	CHECK_STORE(env);
	lms_env_close(&env);
}

/* Processes of ours */
static void test_ours(void)
{
	uint64_t folder_ids[STORES];
	pid_t pids[STORES][PROCESSES];
	unsigned int i, j, races = 0;

	states_init();
	for (i = 0; i < STORES; i++) {
		folder_ids[i] = make_store(i);
		atomic_store(&states[i].running, PROCESSES);
	}
	for (i = 0; i < STORES; i++) {
		for (j = 0; j < PROCESSES; j++) {
			pids[i][j] = test_fork();
			if (pids[i][j] != 0)
				continue;
			state = &states[i];
			open_and_close(store_path(i), folder_ids[i], ROUNDS);
			atomic_fetch_sub(&state->running, 1);
			test_child_exit();
		}
	}
	for (i = 0; i < STORES; i++) {
		for (j = 0; j < PROCESSES; j++)
			test_wait(pids[i][j], 0);
		check_store(i, folder_ids[i], PROCESSES * ROUNDS);
		CHECK_U64((unsigned int)atomic_load(&states[i].open), 0);
		races += (unsigned int)atomic_load(&states[i].races);
	}
	printf("# LMDB %d.%d.%d, %u races\n", MDB_VERSION_MAJOR, MDB_VERSION_MINOR, MDB_VERSION_PATCH, races);
	CHECK(races >= RACES_MIN);
}

static bool destroys_mutexes(void)
{
	int major, minor, patch;

	(void)mdb_version(&major, &minor, &patch);
	return major == 0 && minor == 9 && patch >= 26 && patch <= 31;
}

static void run_foreign(const char *dir)
{
	MDB_env *mdb;

	is_foreign = true;
	while (atomic_load(&state->running) > 1) {
		CHECK(mdb_env_create(&mdb) == 0);
		CHECK(mdb_env_open(mdb, dir, MDB_RDONLY, 0600) == 0);
		mdb_env_close(mdb);
	}
}

/* Processes of ours, and a program like mdb_stat that knows nothing of our lock */
static void test_foreign(void)
{
	pid_t pids[PROCESSES + 1];
	uint64_t folder_id;
	unsigned int i;

	with_foreign = true;
	states_init();
	folder_id = make_store(0);
	atomic_store(&states->running, PROCESSES + 1);
	for (i = 0; i <= PROCESSES; i++) {
		pids[i] = test_fork();
		if (pids[i] != 0)
			continue;
		state = states;
		if (i == PROCESSES)
			run_foreign(store_path(0));
		else
			open_and_close(store_path(0), folder_id, ROUNDS);
		atomic_fetch_sub(&state->running, 1);
		test_child_exit();
	}
	for (i = 0; i <= PROCESSES; i++)
		test_wait(pids[i], 0);
	check_store(0, folder_id, PROCESSES * ROUNDS);
	printf("# %d mutexes destroyed, %d races\n", atomic_load(&states->destroyed), atomic_load(&states->races));
	if (destroys_mutexes())
		CHECK(atomic_load(&states->races) >= FOREIGN_RACES_MIN);
	else
		CHECK_U64((unsigned int)atomic_load(&states->destroyed), 0);
}

static const struct test tests[] = {
	{ "ours", test_ours },
	{ "foreign", test_foreign },
	TEST_END
};

int main(int argc, char *argv[])
{
	return test_main(argc, argv, tests);
}
