/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#define _GNU_SOURCE
#include "test-publisher.h"
#include "lms-lock.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/*
 * Many processes that share commits, killed at random and at the points where it matters. What was acknowledged is
 * there once and under the UID that was told; what was refused isn't there; what was neither is there once or not at
 * all; and nobody waits for ever.
 */

enum kill_point {
	AT_RANDOM,
	/* As leader: with a request of another one in hand, before the first page is written, after the commit, and with
	   one of several results given */
	AFTER_BEGIN,
	BEFORE_COMMIT,
	AFTER_COMMIT,
	HALF_MARKED,
	/* As one who waits */
	JUST_PUBLISHED,
	JUST_NUDGED,
	KILL_POINTS
};

enum message_state {
	NONE,
	SUBMITTED,
	ACKNOWLEDGED,
	REFUSED
};

#define MESSAGES_MAX 100000
#define PROCESSES_MAX 80

/* What the processes tell, also after their death */
static struct shared {
	unsigned int next, deaths[KILL_POINTS], stop;
	uint64_t slowest_us;
	struct {
		uint32_t uid;
		uint8_t state;
	} messages[MESSAGES_MAX];
} *shared;

static uint64_t folder_id;
/* Of this process */
static enum kill_point kill_point;
static unsigned int countdown, marked;
static bool leading, published, forgetful;

static void die(void)
{
	__atomic_fetch_add(&shared->deaths[kill_point], 1, __ATOMIC_RELAXED);
	kill(getpid(), SIGKILL);
	for (;;)
		pause();
}

static void reach(enum kill_point point)
{
	if (point == kill_point && countdown > 0 && --countdown == 0)
		die();
}

/* These stand before libc's and LMDB's. */

static long raw_syscall(long number, long a, long b, long c, long d, long e, long f)
{
	static long (*next)(long, ...);

	if (next == NULL)
		next = (__typeof__(next))dlsym(RTLD_NEXT, "syscall");
	return next(number, a, b, c, d, e, f);
}

long syscall(long number, ...)
{
	long a[6], ret;
	va_list args;
	int i;

	va_start(args, number);
	for (i = 0; i < 6; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	ret = raw_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (number == SYS_futex && a[1] == FUTEX_WAIT && ret == 0 && *(uint32_t *)a[0] == LMS_SLOT_NUDGED)
		reach(JUST_NUDGED);
	return ret;
}

static bool is_slot_file(int fd)
{
	struct stat st, slots;

	return fstat(fd, &st) == 0 && stat(test_path("store/" LMS_FILE_SLOTS), &slots) == 0 &&
		st.st_ino == slots.st_ino;
}

ssize_t pread(int fd, void *data, size_t size, off_t offset)
{
	ssize_t ret = raw_syscall(SYS_pread64, fd, (long)data, (long)size, offset, 0, 0);

	if (leading && is_slot_file(fd))
		reach(AFTER_BEGIN);
	return ret;
}

/* What the compiler may make of pread() */
ssize_t __pread_chk(int fd, void *data, size_t size, off_t offset, size_t data_size)
{
	if (size > data_size)
		abort();
	return pread(fd, data, size, offset);
}

static ssize_t write_to_slot(int fd, const void *data, size_t size, off_t offset)
{
	ssize_t ret = raw_syscall(SYS_pwrite64, fd, (long)data, (long)size, offset, 0, 0);

	if (!leading)
		published = true;
	else if (++marked == 2)
		reach(HALF_MARKED);
	return ret;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
	ssize_t ret;

	if (shared != NULL && is_slot_file(fd))
		return write_to_slot(fd, data, size, offset);
	/* LMDB's meta page is the commit. */
	if (size != 120)
		reach(BEFORE_COMMIT);
	ret = raw_syscall(SYS_pwrite64, fd, (long)data, (long)size, offset, 0, 0);
	if (size == 120)
		reach(AFTER_COMMIT);
	return ret;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset)
{
	return pwrite(fd, data, size, offset);
}

ssize_t pread64(int fd, void *data, size_t size, off_t offset)
{
	return pread(fd, data, size, offset);
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
	reach(BEFORE_COMMIT);
	return raw_syscall(SYS_writev, fd, (long)iov, count, 0, 0, 0);
}

/* Long enough for others to come, and it isn't about disks. */
int fdatasync(int fd)
{
	(void)fd;
	usleep(200);
	return 0;
}

int fcntl(int fd, int cmd, ...)
{
	struct flock *lock;
	va_list args;
	int ret;

	va_start(args, cmd);
	lock = va_arg(args, struct flock *);
	va_end(args);
	if (cmd == F_OFD_GETLK && published) {
		published = false;
		reach(JUST_PUBLISHED);
	}
	ret = (int)raw_syscall(SYS_fcntl, fd, cmd, (long)lock, 0, 0, 0);
	if (ret == 0 && (cmd == F_OFD_SETLK || cmd == F_OFD_SETLKW) && lock->l_start == LMS_LOCK_LEADER) {
		leading = lock->l_type == F_WRLCK;
		marked = 0;
	}
	return ret;
}

int fcntl64(int fd, int cmd, ...) __attribute__((alias("fcntl")));

/* A leader that doesn't look whether a request was carried out already: its records have keys of one byte. */
int mdb_get(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *data)
{
	static int (*next)(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *data);

	if (next == NULL)
		next = (__typeof__(next))dlsym(RTLD_NEXT, "mdb_get");
	return forgetful && key->mv_size == 1 ? MDB_NOTFOUND : next(txn, dbi, key, data);
}

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* Submit a SAVE of count copies of message number, the last with this GUID. Returns as lms_submit(). */
static int submit(struct lms_env *env, uint64_t to_folder_id, unsigned int number, size_t size, unsigned int count,
		  const char *guid, uint32_t *uids)
{
	static char body[100000];
	struct lms_save_message messages[2];
	struct lms_request request;
	unsigned int i;

	memset(messages, 0, sizeof(messages));
	memset(body, 'x', size);
	snprintf(body, sizeof(body), "%u", number);
	for (i = 0; i < count; i++) {
		messages[i].data = body;
		messages[i].size = messages[i].physical_size = messages[i].virtual_size = size;
	}
	messages[count - 1].guid = guid;
	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_SAVE;
	request.u.save.folder_id = to_folder_id;
	request.u.save.messages = messages;
	request.u.save.message_count = count;
	request.u.save.uids_r = uids;
	return test_submit(env, &request);
}

static void submit_one(struct lms_env *env, unsigned int number)
{
	static char long_guid[5000];
	uint32_t uids[2] = { 0, 0 };
	uint64_t begun, us;
	bool must_fail = false;
	int ret;

	/* Nobody waits for ever. */
	if (kill_point != AT_RANDOM)
		alarm(120);
	memset(long_guid, 'x', sizeof(long_guid) - 1);
	shared->messages[number].state = SUBMITTED;
	begun = now_us();
	switch (rand() % 20) {
	case 0:
		/* Refused after it has written */
		must_fail = true;
		ret = submit(env, folder_id, number, 3000, 2, long_guid, uids);
		break;
	case 1:
		must_fail = true;
		ret = submit(env, folder_id + 100, number, 3000, 1, NULL, uids);
		break;
	case 2:
		/* Doesn't fit in a slot */
		ret = submit(env, folder_id, number, 90000, 1, NULL, uids);
		break;
	default:
		ret = submit(env, folder_id, number, 100 + (unsigned int)rand() % 6000, 1, NULL, uids);
		break;
	}
	us = now_us() - begun;
	if (us > shared->slowest_us)
		shared->slowest_us = us;
	shared->messages[number].uid = uids[0];
	shared->messages[number].state = ret == 0 ? ACKNOWLEDGED : REFUSED;
	/* A process with a limit on its memory may be refused anything. */
	if (must_fail)
		CHECK(ret < 0 && (test_error.code == LMS_INVALID || test_error.code == LMS_NOTFOUND ||
				  test_error.code == LMS_MEMORY));
	else
		test_check(ret == 0 || test_error.code == LMS_MEMORY, __FILE__, __LINE__, "%s", test_error.text);
	if (ret == 0 && rand() % 8 == 0)
		CHECK(test_flags(env, folder_id, uids[0], uids[0], LMS_SEEN, 0) == 0 || test_error.code == LMS_MEMORY);
}

/* Little memory for the map: it soon has to grow, and soon can't. */
static void limit_memory(void)
{
	struct rlimit limit;
	unsigned long long pages = 0;
	FILE *file = fopen("/proc/self/statm", "r");

	CHECK(file != NULL && fscanf(file, "%llu", &pages) == 1);
	fclose(file);
	limit.rlim_cur = limit.rlim_max = pages * (uint64_t)sysconf(_SC_PAGESIZE) + (48 << 20);
	CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
}

static void handle_alarm(int signo)
{
	(void)signo;
	die();
}

static void choose_death(unsigned int first_point)
{
	struct itimerval timer = { { 0, 0 }, { 0, 1 + rand() % 100000 } };

	kill_point = first_point;
	if (first_point < KILL_POINTS)
		kill_point += (unsigned int)rand() % (KILL_POINTS - first_point);
	countdown = 1 + (unsigned int)rand() % 20;
	if (kill_point == AT_RANDOM) {
		signal(SIGALRM, handle_alarm);
		setitimer(ITIMER_REAL, &timer, NULL);
	}
}

static void run_process(unsigned int seed, unsigned int first_point, bool limited)
{
	struct lms_env *env;
	unsigned int i, number;

	srand(seed);
	choose_death(first_point);
	if (limited)
		limit_memory();
	do {
		if (lms_env_open(test_path("store"), &test_settings, &env, &test_error) < 0) {
			CHECK_U64(test_error.code, LMS_MEMORY);
			test_child_exit();
		}
		for (i = 0; i < 50 && !__atomic_load_n(&shared->stop, __ATOMIC_RELAXED); i++) {
			number = __atomic_fetch_add(&shared->next, 1, __ATOMIC_RELAXED);
			if (number >= MESSAGES_MAX)
				break;
			submit_one(env, number);
		}
		lms_env_close(&env);
	} while (i == 50);
	test_child_exit();
}

struct found {
	unsigned int count;
	uint32_t uid;
};

struct verify {
	struct lms_env *env;
	struct found *found;
};

static int find_message(const struct lms_message *message, void *context)
{
	static char body[LMS_CHUNK_MAX + 1];
	struct verify *verify = context;
	size_t size = LMS_CHUNK_MAX;
	unsigned long number;

	if (!CHECK(test_body_read(verify->env, message->body_id, 0, body, &size) == 1))
		return 1;
	body[size] = '\0';
	number = strtoul(body, NULL, 10);
	if (!CHECK(number < MESSAGES_MAX))
		return 1;
	verify->found[number].count++;
	verify->found[number].uid = message->uid;
	return 0;
}

struct sums {
	unsigned int submitted, acknowledged, refused, lost, doubled, wrong_uid, undead;
};

static struct sums verify(void)
{
	struct verify verify;
	struct sums sums;
	unsigned int i;

	memset(&sums, 0, sizeof(sums));
	verify.env = test_open();
	verify.found = calloc(MESSAGES_MAX, sizeof(*verify.found));
	CHECK_STORE(verify.env);
	CHECK(lms_message_scan(verify.env, folder_id, 1, UINT32_MAX, find_message, &verify, &test_error) == 0);
	for (i = 0; i < shared->next && i < MESSAGES_MAX; i++) {
		const struct found *found = &verify.found[i];

		sums.submitted++;
		sums.doubled += found->count > 1 ? 1 : 0;
		if (shared->messages[i].state == ACKNOWLEDGED) {
			sums.acknowledged++;
			sums.lost += found->count == 0 ? 1 : 0;
			sums.wrong_uid += found->count == 1 && found->uid != shared->messages[i].uid ? 1 : 0;
		} else if (shared->messages[i].state == REFUSED) {
			sums.refused++;
			sums.undead += found->count > 0 ? 1 : 0;
		}
	}
	free(verify.found);
	lms_env_close(&verify.env);
	return sums;
}

/* So many died at each of the points, or there is no room for more messages. */
static bool is_enough(unsigned int deaths, unsigned int first_point)
{
	unsigned int i;

	for (i = first_point; i < KILL_POINTS; i++) {
		if (__atomic_load_n(&shared->deaths[i], __ATOMIC_RELAXED) < deaths)
			return __atomic_load_n(&shared->next, __ATOMIC_RELAXED) >= MESSAGES_MAX;
	}
	return true;
}

/* Keep count processes running. */
static void run_processes(unsigned int count, unsigned int deaths, unsigned int first_point)
{
	pid_t pids[PROCESSES_MAX];
	unsigned int i, seed = (unsigned int)getpid() * 1000, running = 0;
	int status;
	pid_t pid;
	bool stop;

	memset(pids, 0, sizeof(pids));
	do {
		stop = is_enough(deaths, first_point);
		__atomic_store_n(&shared->stop, stop, __ATOMIC_RELAXED);
		for (i = 0; i < count && !stop; i++) {
			if (pids[i] != 0)
				continue;
			pids[i] = test_fork();
			if (pids[i] == 0)
				run_process(seed, first_point, i % 8 == 7);
			seed++;
			running++;
		}
		if (!stop)
			usleep(1000);
		while (running > 0 && (pid = waitpid(-1, &status, stop ? 0 : WNOHANG)) > 0) {
			CHECK(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 0);
			for (i = 0; i < count; i++) {
				if (pids[i] == pid)
					pids[i] = 0;
			}
			running--;
		}
		/* All may be dead at once long before it is enough. */
	} while (!stop || running > 0);
}

static struct sums run(unsigned int count, unsigned int deaths, unsigned int first_point)
{
	static const char *const names[] = { "at random", "after begin", "before commit", "after commit",
		"half marked", "just published", "just nudged" };
	struct lms_env *env = test_open();
	struct sums sums;
	unsigned int i;

	folder_id = test_folder(env, "INBOX");
	lms_env_close(&env);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	run_processes(count, deaths, first_point);
	sums = verify();
	printf("# %u processes: %u submitted, %u acknowledged, %u refused, %u lost, %u doubled; slowest %llu us; killed",
	       count, sums.submitted, sums.acknowledged, sums.refused, sums.lost, sums.doubled,
	       (unsigned long long)shared->slowest_us);
	for (i = 0; i < KILL_POINTS; i++)
		printf(", %s %u", names[i], shared->deaths[i]);
	printf("\n");
	CHECK(sums.acknowledged > deaths && sums.refused > 0);
	for (i = first_point; i < KILL_POINTS; i++)
		CHECK(shared->deaths[i] >= deaths);
	munmap(shared, sizeof(*shared));
	shared = NULL;
	return sums;
}

static void run_safely(unsigned int count, unsigned int deaths)
{
	struct sums sums = run(count, deaths, AT_RANDOM);

	CHECK_U64(sums.lost, 0);
	CHECK_U64(sums.doubled, 0);
	CHECK_U64(sums.wrong_uid, 0);
	CHECK_U64(sums.undead, 0);
}

static void test_three(void)
{
	run_safely(3, 10);
}

static void test_sixteen(void)
{
	run_safely(16, 20);
}

static void test_eighty(void)
{
	run_safely(80, 20);
}

/* What would happen if leaders didn't look for what was carried out already: messages come twice. So this program
   would see it. */
static void test_forgetful(void)
{
	forgetful = true;
	CHECK(run(16, 20, AFTER_COMMIT).doubled > 0);
	forgetful = false;
}

/* Words and rooms get any values, and sometimes the file is cut off or goes. */
static void scribble(void)
{
	const char *path = test_path("store/" LMS_FILE_SLOTS);
	uint32_t value;
	int fd, i;

	fd = open(path, O_RDWR);
	for (i = 0; fd >= 0 && i < 20; i++) {
		value = rand() % 2 == 0 ? (uint32_t)rand() : (uint32_t)rand() % 7;
		CHECK(raw_syscall(SYS_pwrite64, fd, (long)&value, 4, rand() % 600 * 4, 0, 0) == 4);
		CHECK(raw_syscall(SYS_pwrite64, fd, (long)&value, 4, LMS_SLOT_ROOM + rand() % (10 * LMS_SLOT_ROOM),
				  0, 0) == 4);
	}
	if (fd >= 0 && rand() % 20 == 0)
		CHECK(ftruncate(fd, rand() % 5000) == 0);
	if (fd >= 0 && rand() % 20 == 0)
		CHECK(unlink(path) == 0 || errno == ENOENT);
	if (fd >= 0)
		close(fd);
}

/* The slot file isn't trusted: whatever happens to it while it is in use, nothing is lost and nothing comes twice. */
static void test_scribbled(void)
{
	struct lms_env *env = test_open();
	pid_t pids[8];
	struct sums sums;
	unsigned int i;

	folder_id = test_folder(env, "INBOX");
	lms_env_close(&env);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (i = 0; i < 8; i++) {
		pids[i] = test_fork();
		if (pids[i] == 0)
			run_process(i, KILL_POINTS, false);
	}
	while (__atomic_load_n(&shared->next, __ATOMIC_RELAXED) < 1000) {
		scribble();
		usleep(2000);
	}
	__atomic_store_n(&shared->stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < 8; i++)
		test_wait(pids[i], 0);
	sums = verify();
	printf("# %u submitted, %u acknowledged, %u refused, slowest %llu us\n", sums.submitted, sums.acknowledged,
	       sums.refused, (unsigned long long)shared->slowest_us);
	CHECK(sums.acknowledged > 0 && sums.acknowledged + sums.refused == sums.submitted);
	CHECK(sums.lost + sums.doubled + sums.wrong_uid + sums.undead == 0);
	munmap(shared, sizeof(*shared));
	shared = NULL;
}

/* Everybody waits for one leader, and then has one commit. */
static void test_one_commit(void)
{
	struct lms_env *env = test_open();
	MDB_envinfo before, after;
	struct publisher *watcher;
	unsigned int i, count;
	pid_t pids[16];
	int lock_fd;

	folder_id = test_folder(env, "INBOX");
	watcher = publisher_new(env);
	lock_fd = open(test_path("store/store.lock"), O_RDWR);
	CHECK(lms_lock_wait(lock_fd, LMS_LOCK_LEADER) == 0);
	CHECK(mdb_env_info(env->mdb, &before) == 0);
	for (i = 0; i < 16; i++) {
		pids[i] = test_fork();
		if (pids[i] == 0) {
			env = test_open();
			CHECK(test_save_text(env, folder_id, "text") != 0);
			/* Without the collection at close there is nothing else to commit. */
			lms_env_close(&env);
			test_child_exit();
		}
	}
	do {
		usleep(1000);
		count = publisher_count_waiting(watcher);
	} while (count < 16);
	lms_lock_drop(lock_fd, LMS_LOCK_LEADER);
	for (i = 0; i < 16; i++)
		test_wait(pids[i], 0);
	CHECK(mdb_env_info(env->mdb, &after) == 0);
	CHECK_U64(after.me_last_txnid, before.me_last_txnid + 1);
	CHECK_U64(test_folder_get(env, folder_id).messages, 16);
	CHECK_U64(test_folder_get(env, folder_id).uidnext, 17);
	close(lock_fd);
	publisher_free(&watcher);
	CHECK_STORE(env);
	lms_env_close(&env);
}

static const struct test tests[] = {
	{ "one-commit", test_one_commit },
	{ "three", test_three },
	{ "sixteen", test_sixteen },
	{ "eighty", test_eighty },
	{ "forgetful", test_forgetful },
	{ "scribbled", test_scribbled },
	TEST_END
};

int main(int argc, char *argv[])
{
	return test_main(argc, argv, tests);
}
