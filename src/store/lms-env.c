/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#define _GNU_SOURCE
#include "lms-private.h"
#include "lms-dir.h"
#include "lms-guard.h"
#include "lms-lock.h"
#include "lms-map.h"
#include "lms-slot.h"
#include "lms-txn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#if MDB_VERSION_MAJOR != 0 || MDB_VERSION_MINOR != 9
#  error LMDB 0.9 is needed: the file format of 1.0 is another one
#endif

/* How often an environment is opened whose mutexes turn out to be destroyed, and the time between */
#define OPEN_TRIES 8
#define OPEN_RETRY_USECS 10000

static unsigned int fork_count;

static void count_fork(void)
{
	fork_count++;
}

int lms_env_usable(const struct lms_env *env, struct lms_error *error_r)
{
	if (env->fork_count != fork_count) {
		return lms_fail(error_r, LMS_IO, "%s/" LMS_FILE_DATA " was opened by the parent process and can't be used "
				"after a fork", env->dir);
	}
	if (env->poison.code != LMS_OK) {
		if (error_r != NULL)
			*error_r = env->poison;
		return -1;
	}
	return 0;
}

bool lms_env_is_own(const struct lms_env *env)
{
	return env->fork_count == fork_count;
}

/* A failed assertion of LMDB: the file is damaged. Without a guard it aborts the process. */
static void handle_assert(MDB_env *mdb, const char *text)
{
	(void)mdb;
	(void)text;
	lms_guard_fault();
}

static int open_dbis(struct lms_env *env, MDB_txn *mdb, unsigned int flags)
{
	unsigned int i;
	int rc = 0;

	for (i = 0; i < env->schema->db_count && rc == 0; i++) {
		const char *name = env->schema->db_names[i];

		rc = mdb_dbi_open(mdb, name, name == NULL ? 0 : flags, &env->dbi[i]);
	}
	return rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc;
}

static int guarded_open_dbis(struct lms_env *env, MDB_txn *mdb, unsigned int flags)
{
	LMS_GUARDED(open_dbis(env, mdb, flags));
}

static int open_existing(struct lms_env *env, struct lms_error *error_r)
{
	struct lms_txn txn;
	int ret, rc;

	memset(&txn, 0, sizeof(txn));
	txn.env = env;
	txn.error = error_r;
	/* Others may have made the file longer than the map since its size was chosen. */
	if (lms_txn_begin(env, MDB_RDONLY, &txn.mdb, error_r) < 0)
		return -1;
	/* The handles last only if the transaction is committed. */
	rc = mdb_dbi_open(txn.mdb, NULL, 0, &env->dbi[LMS_DB_META]);
	ret = rc == 0 ? env->schema->open(&txn) : lms_fail_mdb(error_r, env, rc, "open");
	if (ret > 0) {
		rc = guarded_open_dbis(env, txn.mdb, 0);
		if (rc == 0) {
			rc = mdb_txn_commit(txn.mdb);
			txn.mdb = NULL;
		}
		if (rc != 0)
			ret = lms_fail_mdb(error_r, env, rc, "open");
	}
	if (txn.mdb != NULL)
		mdb_txn_abort(txn.mdb);
	return ret;
}

static int create_records(struct lms_env *env, struct lms_txn *txn)
{
	int rc = open_dbis(env, txn->mdb, MDB_CREATE);

	if (rc != 0) {
		txn->rc = rc;
		return lms_fail_mdb(txn->error, env, rc, "creation");
	}
	return env->schema->create(txn);
}

static int create_new(struct lms_env *env, struct lms_error *error_r)
{
	struct lms_txn txn;

	if (lms_txn_write(&txn, env, error_r) < 0)
		return -1;
	if (create_records(env, &txn) < 0) {
		lms_txn_abort(&txn);
		return -1;
	}
	return lms_txn_commit(&txn, false);
}

static int open_content(struct lms_env *env, struct lms_error *error_r)
{
	int ret, err;

	ret = open_existing(env, error_r);
	if (ret != 0)
		return ret < 0 ? -1 : 0;
	if ((err = lms_lock_wait(env->lock_fd, LMS_LOCK_LEADER)) != 0)
		return lms_fail_errno(error_r, err, "fcntl", env->dir);
	ret = create_new(env, error_r);
	lms_lock_drop(env->lock_fd, LMS_LOCK_LEADER);
	if (ret == 0)
		ret = lms_dir_mark_created(env->lock_fd, env->dir, env->schema, error_r);
	return ret;
}

/*
 * The file is shorter than LMDB says. LMDB doesn't write pages that it took and gave back in one transaction: are all of
 * those that are missing on its list of free ones?
 */
static int check_short_file(struct lms_env *env, int fd, uint64_t used, struct lms_error *error_r)
{
	uint64_t page_size = lms_map_page_size(env), first, free_pages = 0;
	struct lms_txn txn;
	struct stat st;
	int ret;

	memset(&txn, 0, sizeof(txn));
	txn.env = env;
	txn.error = error_r;
	if (fstat(fd, &st) < 0)
		return lms_fail_errno(error_r, errno, "fstat", env->dir);
	first = (uint64_t)st.st_size / page_size;
	if (lms_txn_begin(env, MDB_RDONLY, &txn.mdb, error_r) < 0)
		return -1;
	ret = lms_txn_free_pages(&txn, first, &free_pages);
	mdb_txn_abort(txn.mdb);
	/* Others may have used them meanwhile and made the file longer. */
	if (fstat(fd, &st) < 0)
		return lms_fail_errno(error_r, errno, "fstat", env->dir);
	if ((ret == 0 && free_pages >= used / page_size - first) || (uint64_t)st.st_size >= used)
		return 0;
	return lms_fail(error_r, LMS_DAMAGED, "%s/" LMS_FILE_DATA " is damaged: it has only %llu of %llu bytes: %s", env->dir,
			(unsigned long long)st.st_size, (unsigned long long)used, env->schema->remedy);
}

static int check_file(struct lms_env *env, struct lms_error *error_r)
{
	/* First what the meta page says is used: others may make the file longer meanwhile, and write its pages first. */
	uint64_t used = lms_map_file_used(env);
	struct stat st;
	int fd, rc;

	rc = mdb_env_get_fd(env->mdb, &fd);
	if (rc != 0)
		return lms_fail_mdb(error_r, env, rc, "open");
	/* LMDB leaves it to us, as it is the one descriptor that programs can get. */
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || fstat(fd, &st) < 0)
		return lms_fail_errno(error_r, errno, "fstat", env->dir);
	env->dev = st.st_dev;
	env->ino = st.st_ino;
	env->data_fd = fd;
	if (lms_dir_lmdb_lock(env->dir, &env->lmdb_lock_ino, error_r) < 0)
		return -1;
	return (uint64_t)st.st_size < used ? check_short_file(env, fd, used, error_r) : 0;
}

static int guarded_env_open(const struct lms_env *env)
{
	LMS_GUARDED(mdb_env_open(env->mdb, env->dir, MDB_NOTLS, env->set.file_mode));
}

/*
 * LMDB allocates 3 MB for each environment, zeroed, and touches little of it. From mmap() that costs nothing. But glibc
 * takes what was freed once as a sign to serve the next one from the heap, where 2 MB have to be zeroed. Once the
 * threshold is set, glibc leaves it alone.
 */
static void keep_malloc_from_zeroing(void)
{
#ifdef M_MMAP_THRESHOLD
	static bool done;

	if (done)
		return;
	done = true;
	(void)mallopt(M_MMAP_THRESHOLD, 1 << 20);
	(void)mallopt(M_TRIM_THRESHOLD, 1 << 21);
#endif
}

static int open_mdb(struct lms_env *env, uint64_t file_bytes, struct lms_error *error_r)
{
	mode_t old_umask;
	size_t map_size;
	int rc;

	keep_malloc_from_zeroing();
	rc = mdb_env_create(&env->mdb);
	if (rc != 0) {
		env->mdb = NULL;
		return lms_fail_mdb(error_r, env, rc, "open");
	}
	if (lms_map_choose(env, file_bytes, 0, 0, &map_size, error_r) < 0)
		return -1;
	mdb_env_set_mapsize(env->mdb, map_size);
	memset(env->dbi, 0, sizeof(env->dbi));
	mdb_env_set_maxdbs(env->mdb, env->schema->db_count + env->schema->late_count);
	mdb_env_set_maxreaders(env->mdb, LMS_MAX_READERS);
	mdb_env_set_assert(env->mdb, handle_assert);
	old_umask = umask(0);
	rc = guarded_env_open(env);
	umask(old_umask);
	/* Left in its midst, LMDB's environment can't even be closed. */
	if (rc == LMS_RC_FAULT)
		env->mdb = NULL;
	/* The map would have fitted, but not with what LMDB needs besides. */
	if (rc == ENOMEM)
		return lms_map_fail(env, file_bytes, error_r);
	if (rc != 0)
		return lms_fail_mdb(error_r, env, rc, "open");
	if (check_file(env, error_r) < 0)
		return -1;
	(void)mdb_reader_check(env->mdb, NULL);
	return 0;
}

static void close_mdb(struct lms_env *env)
{
	if (env->read_txn != NULL)
		mdb_txn_abort(env->read_txn);
	env->read_txn = NULL;
	if (env->mdb != NULL)
		mdb_env_close(env->mdb);
	env->mdb = NULL;
}

/* With the lock on LMS_LOCK_OPEN held */
static int open_once(struct lms_env *env, struct lms_error *error_r)
{
	uint64_t file_bytes;
	bool is_new;

	env->open_again = false;
	if (lms_dir_prepare(env->lock_fd, env->dir, env->schema, &env->set, &file_bytes, &is_new, error_r) < 0)
		return -1;
	if (open_mdb(env, file_bytes, error_r) < 0 ||
	    (is_new && lms_dir_set_group(env->dir, &env->set, error_r) < 0) ||
	    open_content(env, error_r) < 0) {
		close_mdb(env);
		return -1;
	}
	return 0;
}

/* A program without our lock, like mdb_stat, may have closed the store in this moment and destroyed the mutexes. Whoever
   has the store open alone gets new ones, so what is needed is that others that hold the old ones give up, too. */
static int open_locked(struct lms_env *env, struct lms_error *error_r)
{
	unsigned int try;

	for (try = 1; open_once(env, error_r) < 0; try++) {
		if (!env->open_again || try == OPEN_TRIES)
			return -1;
		if (try > 1)
			usleep(OPEN_RETRY_USECS);
	}
	return 0;
}

static int open_and_lock(struct lms_env *env, struct lms_error *error_r)
{
	int ret, err;

	if ((err = lms_lock_wait(env->lock_fd, LMS_LOCK_OPEN)) != 0)
		return lms_fail_errno(error_r, err, "fcntl", env->dir);
	env->opening = true;
	ret = open_locked(env, error_r);
	env->opening = false;
	lms_lock_drop(env->lock_fd, LMS_LOCK_OPEN);
	return ret;
}

static void close_and_lock(struct lms_env *env)
{
	int err = lms_lock_wait(env->lock_fd, LMS_LOCK_OPEN);

	close_mdb(env);
	if (err == 0)
		lms_lock_drop(env->lock_fd, LMS_LOCK_OPEN);
}

int lms_env_reopen(struct lms_env *env, struct lms_error *error_r)
{
	env->open_again = env->opening;
	if (env->read_depth > 0 || env->opening)
		return lms_fail_mdb(error_r, env, MDB_PANIC, "begin of transaction");
	close_and_lock(env);
	if (open_and_lock(env, error_r) < 0) {
		if (error_r != NULL)
			env->poison = *error_r;
		else
			lms_fail_mdb(&env->poison, env, MDB_PANIC, "reopen");
		return -1;
	}
	return 0;
}

static void env_free(struct lms_env *env)
{
	lms_slots_close(env);
	if (env->lock_fd >= 0)
		close(env->lock_fd);
	free(env->staged);
	free(env->get_buffer);
	free(env->start_buffer);
	free(env->dir);
	free(env);
}

static struct lms_env *env_alloc(const char *dir, const struct lms_schema *schema, const struct lms_env_settings *set)
{
	struct lms_env *env = calloc(1, sizeof(*env));

	if (env == NULL)
		return NULL;
	env->refcount = 1;
	env->lock_fd = -1;
	env->schema = schema;
	env->set = *set;
	env->fork_count = fork_count;
	env->dir = strdup(dir);
	if (env->dir == NULL) {
		env_free(env);
		return NULL;
	}
	return env;
}

int lms_env_new(const char *dir, const struct lms_schema *schema, const struct lms_env_settings *set,
		struct lms_env **env_r, struct lms_error *error_r)
{
	static bool watching_forks;
	struct lms_env *env = env_alloc(dir, schema, set);

	if (env == NULL)
		return lms_fail_errno(error_r, ENOMEM, "malloc", dir);
	if (!watching_forks) {
		pthread_atfork(NULL, NULL, count_fork);
		watching_forks = true;
	}
	env->lock_fd = lms_dir_open(dir, schema, set, error_r);
	if (env->lock_fd < 0) {
		env_free(env);
		return -1;
	}
	lms_guard_install();
	if (open_and_lock(env, error_r) < 0) {
		lms_guard_remove();
		env_free(env);
		return -1;
	}
	*env_r = env;
	return 0;
}

bool lms_env_free(struct lms_env *env, bool wait)
{
	/* In a child, LMDB's part is the parent's: its locks and reader slots too. */
	if (lms_env_is_own(env)) {
		if (wait)
			close_and_lock(env);
		else if (lms_lock_try(env->lock_fd, LMS_LOCK_OPEN) != 0)
			return false;
		else {
			close_mdb(env);
			lms_lock_drop(env->lock_fd, LMS_LOCK_OPEN);
		}
	}
	env_free(env);
	lms_guard_remove();
	return true;
}

const char *lms_env_dir(const struct lms_env *env)
{
	return env->dir;
}

void lms_env_guid(const struct lms_env *env, uint8_t guid_r[LMS_GUID_SIZE])
{
	memcpy(guid_r, env->guid, LMS_GUID_SIZE);
}
