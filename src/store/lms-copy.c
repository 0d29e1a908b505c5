/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-private.h"
#include "lms-dir.h"
#include "lms-map.h"
#include "lms-request.h"
#include "lms-slot.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A copy is made under this name, and gets its own when it is whole and marked. */
#define TMP_SUFFIX ".tmp"
/* How often copying begins again because others made the file larger than the map */
#define COPY_TRIES 8

bool lms_env_is_copy(const struct lms_env *env)
{
	return env->is_copy;
}

/* All that a store's directory can have in it after a copy was begun */
static void remove_copy(const struct lms_env *env, const char *dir)
{
	const char *names[] = {
		LMS_FILE_DATA, LMS_FILE_LMDB_LOCK, env->schema->lock_file, LMS_FILE_SLOTS, LMS_DIR_NOTIFY, ""
	};
	char path[PATH_MAX];
	unsigned int i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		if (remove(path) < 0 && errno != ENOENT)
			break;
	}
}

static int copy_data(struct lms_env *env, const char *dir, struct lms_error *error_r)
{
	unsigned int try;
	int rc;

	for (try = 0;; try++) {
		rc = mdb_env_copy2(env->mdb, dir, 0);
		if (rc != MDB_MAP_RESIZED || try == COPY_TRIES)
			break;
		remove_copy(env, dir);
		if (lms_dir_make(dir, &env->set, error_r) < 0 || lms_map_grow(env, 0, error_r) < 0)
			return -1;
	}
	if (rc > 0)
		return lms_fail_errno(error_r, rc, "copying the store", dir);
	return rc == 0 ? 0 : lms_fail_mdb(error_r, env, rc, "copy");
}

/* Its commit also flushes what was copied. */
static int mark_copy(const struct lms_env *env, const char *dir, struct lms_error *error_r)
{
	struct lms_request request = { .op = LMS_OP_COPY_MARK, .u.copy_mark.set = true };
	struct lms_env_settings set = env->set;
	struct lms_reply reply;
	struct lms_env *copy;
	int ret;

	/* Nobody else has it open. */
	set.flags |= LMS_ENV_ANY_FILESYSTEM | LMS_ENV_NO_CREATE;
	if (lms_env_open(dir, &set, &copy, error_r) < 0)
		return -1;
	ret = lms_submit(copy, &request, &reply, error_r);
	lms_env_close(&copy);
	lms_env_close_idle();
	return ret;
}

/* That the copy has its name survives a power cut, too. */
static int sync_parent(const char *dir, struct lms_error *error_r)
{
	char path[PATH_MAX];
	int fd, ret;

	if ((size_t)snprintf(path, sizeof(path), "%s/..", dir) >= sizeof(path))
		return lms_fail(error_r, LMS_INVALID, "Path is too long: %s", dir);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return lms_fail_errno(error_r, errno, "open", path);
	ret = fsync(fd) < 0 ? lms_fail_errno(error_r, errno, "fsync", path) : 0;
	close(fd);
	return ret;
}

static int make_copy(struct lms_env *env, const char *tmp, const char *dir, struct lms_error *error_r)
{
	if (copy_data(env, tmp, error_r) < 0 || mark_copy(env, tmp, error_r) < 0)
		return -1;
	if (rename(tmp, dir) < 0)
		return lms_fail_errno(error_r, errno, "rename", tmp);
	return sync_parent(dir, error_r);
}

int lms_env_copy(struct lms_env *env, const char *dir, struct lms_error *error_r)
{
	char tmp[PATH_MAX];
	struct stat st;

	if (lms_env_usable(env, error_r) < 0)
		return -1;
	if ((size_t)snprintf(tmp, sizeof(tmp), "%s" TMP_SUFFIX, dir) >= sizeof(tmp))
		return lms_fail(error_r, LMS_INVALID, "Path is too long: %s", dir);
	if (stat(dir, &st) == 0)
		return lms_fail(error_r, LMS_EXISTS, "%s exists already: remove it, or choose another directory", dir);
	if (stat(tmp, &st) == 0)
		return lms_fail(error_r, LMS_EXISTS, "%s is what an unfinished backup left: remove it", tmp);
	if (lms_dir_make(tmp, &env->set, error_r) < 0)
		return -1;
	if (make_copy(env, tmp, dir, error_r) < 0) {
		remove_copy(env, tmp);
		return -1;
	}
	return 0;
}
