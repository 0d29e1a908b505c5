/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-notify.h"
#include "lms-notify-private.h"
#include "lms-private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int notify_path(const struct lms_env *env, uint64_t folder_id, char path[PATH_MAX])
{
	int size = snprintf(path, PATH_MAX, "%s/" LMS_DIR_NOTIFY "/%llx", env->dir, (unsigned long long)folder_id);

	return size < 0 || size >= PATH_MAX ? -1 : 0;
}

/* The mode and group that the settings ask for, whatever the umask says */
static int set_owner(struct lms_env *env, int fd)
{
	if (env->set.gid != (gid_t)-1 && fchown(fd, (uid_t)-1, env->set.gid) < 0)
		return -1;
	return fchmod(fd, env->set.file_mode);
}

static int create_dir(struct lms_env *env, struct lms_error *error_r)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/" LMS_DIR_NOTIFY, env->dir);
	if (mkdir(path, env->set.dir_mode) < 0 && errno != EEXIST)
		return lms_fail_errno(error_r, errno, "mkdir", path);
	return 0;
}

static int create_file(struct lms_env *env, const char *path, struct lms_error *error_r)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, env->set.file_mode);

	if (fd < 0 && errno == ENOENT) {
		if (create_dir(env, error_r) < 0)
			return -1;
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, env->set.file_mode);
	}
	if (fd < 0)
		return errno == EEXIST ? 0 : lms_fail_errno(error_r, errno, "open", path);
	if (set_owner(env, fd) < 0) {
		lms_fail_errno(error_r, errno, "fchmod", path);
		close(fd);
		return -1;
	}
	close(fd);
	return 0;
}

int lms_notify_path(struct lms_env *env, uint64_t folder_id, char **path_r, struct lms_error *error_r)
{
	char path[PATH_MAX];

	*path_r = NULL;
	if (notify_path(env, folder_id, path) < 0)
		return lms_fail(error_r, LMS_INVALID, "Path is too long: %s", env->dir);
	if (access(path, F_OK) < 0 && create_file(env, path, error_r) < 0)
		return -1;
	*path_r = strdup(path);
	return *path_r != NULL ? 0 : lms_fail(error_r, LMS_MEMORY, "%s: out of memory", env->dir);
}

void lms_notify_write(struct lms_env *env, uint64_t folder_id)
{
	char path[PATH_MAX];
	ssize_t size;
	int fd;

	if (notify_path(env, folder_id, path) < 0)
		return;
	/* Only what somebody once watched is there. */
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	size = pwrite(fd, "\n", 1, 0);
	(void)size;
	close(fd);
}

void lms_notify_touch(struct lms_env *env, uint64_t folder_id)
{
	if (folder_id != 0)
		lms_notify_write(env, folder_id);
	lms_notify_write(env, 0);
}

void lms_notify_remove(struct lms_env *env, uint64_t folder_id)
{
	char path[PATH_MAX];

	if (notify_path(env, folder_id, path) == 0)
		(void)unlink(path);
}
