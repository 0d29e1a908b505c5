/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-private.h"
#include "lms-dir.h"
#include "lms-slot.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* The environments of this process: one for each data file, in use or idle. */

/* Those that nobody uses come in the order of their last use among themselves, the last one first. */
static struct lms_env *environments;
static unsigned int idle_max;

static struct lms_env *find_open(const char *data_path)
{
	struct lms_env *env;
	struct stat st;

	if (environments == NULL || stat(data_path, &st) < 0)
		return NULL;
	for (env = environments; env != NULL; env = env->next) {
		if (env->dev == st.st_dev && env->ino == st.st_ino && lms_env_is_own(env))
			return env;
	}
	return NULL;
}

static void unlist(struct lms_env *env)
{
	struct lms_env **envp;

	for (envp = &environments; *envp != env; envp = &(*envp)->next) ;
	*envp = env->next;
}

static void list(struct lms_env *env)
{
	env->next = environments;
	environments = env;
}

/* If somebody has the lock and this must not wait, it stays. */
static void close_idle(struct lms_env *env, bool wait)
{
	unlist(env);
	if (!lms_env_free(env, wait))
		list(env);
}

static void limit_idle(unsigned int max, bool wait)
{
	struct lms_env *env, *next;
	unsigned int count = 0;

	for (env = environments; env != NULL; env = next) {
		next = env->next;
		if (env->refcount == 0 && count++ >= max)
			close_idle(env, wait);
	}
}

void lms_env_keep_idle(unsigned int max)
{
	idle_max = max;
	limit_idle(max, true);
}

void lms_env_close_idle(void)
{
	limit_idle(0, true);
}

void lms_env_make_room(void)
{
	limit_idle(0, false);
}

/* It can be used again only if this process's user, which may be another one now, would open the same files. */
static bool is_as_it_was(const struct lms_env *env, const char *dir)
{
	struct lms_error error;
	struct stat st;
	ino_t ino;

	return strcmp(env->dir, dir) == 0 && lms_dir_would_open(env->lock_fd, dir, env->schema) &&
		lms_dir_lmdb_lock(dir, &ino, &error) == 0 && ino == env->lmdb_lock_ino &&
		fstat(env->data_fd, &st) == 0 && st.st_size >= env->idle_size;
}

/* Other files are in its directory now. It goes first, as closing LMDB's lock file drops this process's locks on it. */
static void close_replaced(const char *dir)
{
	struct lms_env *env, *next;

	for (env = environments; env != NULL; env = next) {
		next = env->next;
		if (env->refcount == 0 && strcmp(env->dir, dir) == 0)
			close_idle(env, true);
	}
}

/* One that is open already, with one more reference, or NULL */
static struct lms_env *use_open(const char *dir, const char *data_path, const struct lms_env_settings *set)
{
	struct lms_env *env = find_open(data_path);

	if (env != NULL && env->refcount == 0) {
		if (!is_as_it_was(env, dir)) {
			close_idle(env, true);
			env = NULL;
		} else {
			env->set = *set;
			(void)mdb_reader_check(env->mdb, NULL);
		}
	}
	if (env != NULL)
		env->refcount++;
	else
		close_replaced(dir);
	return env;
}

int lms_env_open_schema(const char *dir, const struct lms_schema *schema, const struct lms_env_settings *set,
			struct lms_env **env_r, struct lms_error *error_r)
{
	char data_path[PATH_MAX];

	*env_r = NULL;
	if ((size_t)snprintf(data_path, sizeof(data_path), "%s/" LMS_FILE_DATA, dir) >= sizeof(data_path))
		return lms_fail(error_r, LMS_INVALID, "Path is too long: %s", dir);
	*env_r = use_open(dir, data_path, set);
	if (*env_r != NULL)
		return 0;
	if (lms_env_new(dir, schema, set, env_r, error_r) < 0)
		return -1;
	list(*env_r);
	return 0;
}

/* Nothing stays of its use but what opening would make again. Returns false if it is better closed. */
static bool make_idle(struct lms_env *env)
{
	struct stat st;

	if (idle_max == 0 || !env->schema->may_idle || env->poison.code != LMS_OK ||
	    fstat(env->data_fd, &st) < 0 || st.st_nlink == 0)
		return false;
	env->idle_size = st.st_size;
	lms_slots_close(env);
	/* Its reader slot */
	if (env->read_txn != NULL)
		mdb_txn_abort(env->read_txn);
	env->read_txn = NULL;
	unlist(env);
	list(env);
	limit_idle(idle_max, true);
	return true;
}

void lms_env_close(struct lms_env **_env)
{
	struct lms_env *env = *_env;

	*_env = NULL;
	if (env == NULL || --env->refcount > 0)
		return;
	if (lms_env_is_own(env)) {
		if (env->schema->close != NULL && env->poison.code == LMS_OK)
			env->schema->close(env);
		if (make_idle(env))
			return;
	}
	close_idle(env, true);
}
