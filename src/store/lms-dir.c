/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#define _GNU_SOURCE
#include "lms-dir.h"
#include "lms-private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

/* LMDB's lock file: 64 bytes for each reader after a header. LMDB takes the size that it finds. */
#define LMDB_LOCK_SIZE (LMS_MAX_READERS * 64 + 4096)

/* Locks and shared maps of these don't work, or not between machines. */
static const struct {
	uint32_t type;
	const char *name;
} unsuitable[] = {
	{ 0x00006969, "NFS" },
	{ 0xff534d42, "CIFS" },
	{ 0xfe534d42, "SMB2" },
	{ 0x0000517b, "SMB" },
	{ 0x65735546, "FUSE" },
	{ 0x01021997, "9P" },
	{ 0x00c36400, "Ceph" },
	{ 0x5346414f, "AFS" },
	{ 0x73757245, "Coda" },
};

static int check_filesystem(int fd, const char *dir, struct lms_error *error_r)
{
	struct statfs st;
	unsigned int i;

	if (fstatfs(fd, &st) < 0)
		return lms_fail_errno(error_r, errno, "fstatfs", dir);
	for (i = 0; i < sizeof(unsuitable) / sizeof(unsuitable[0]); i++) {
		if (unsuitable[i].type == (uint32_t)st.f_type) {
			return lms_fail(error_r, LMS_UNSUITABLE, "%s is on a network or user-space file system (%s), where "
					"LMDB isn't safe: move it to a local one", dir, unsuitable[i].name);
		}
	}
	return 0;
}

int lms_dir_make(const char *dir, const struct lms_env_settings *set, struct lms_error *error_r)
{
	if (mkdir(dir, set->dir_mode) < 0)
		return errno == EEXIST ? 0 : lms_fail_errno(error_r, errno, "mkdir", dir);
	/* What was asked for, whatever the umask says */
	if (set->gid != (gid_t)-1 && chown(dir, (uid_t)-1, set->gid) < 0)
		return lms_fail_errno(error_r, errno, "chown", dir);
	if (chmod(dir, set->dir_mode) < 0)
		return lms_fail_errno(error_r, errno, "chmod", dir);
	return 0;
}

static int make_path(const char *dir, const struct lms_env_settings *set, struct lms_error *error_r)
{
	char path[PATH_MAX];
	size_t i, size = strlen(dir);

	if (size >= sizeof(path))
		return lms_fail(error_r, LMS_INVALID, "Path is too long: %s", dir);
	for (i = 1; i <= size; i++) {
		struct stat st;

		if (dir[i] != '/' && dir[i] != '\0')
			continue;
		memcpy(path, dir, i);
		path[i] = '\0';
		if (stat(path, &st) < 0 && lms_dir_make(path, set, error_r) < 0)
			return -1;
	}
	return 0;
}

int lms_dir_create_file(const char *path, const struct lms_env_settings *set, struct lms_error *error_r)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, set->file_mode);

	if (fd < 0) {
		/* Somebody else made it meanwhile. */
		if (errno == EEXIST)
			fd = open(path, O_RDWR | O_CLOEXEC);
		return fd >= 0 ? fd : lms_fail_errno(error_r, errno, "open", path);
	}
	if (set->gid != (gid_t)-1 && fchown(fd, (uid_t)-1, set->gid) < 0) {
		lms_fail_errno(error_r, errno, "fchown", path);
	} else if (fchmod(fd, set->file_mode) < 0) {
		lms_fail_errno(error_r, errno, "fchmod", path);
	} else {
		return fd;
	}
	close(fd);
	return -1;
}

static int not_found(const char *dir, struct lms_error *error_r)
{
	return lms_fail(error_r, LMS_NOTFOUND, "There is no store in %s", dir);
}

int lms_dir_open(const char *dir, const struct lms_schema *schema, const struct lms_env_settings *set,
		 struct lms_error *error_r)
{
	char path[PATH_MAX];
	int fd;

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", dir, schema->lock_file) >= sizeof(path))
		return lms_fail(error_r, LMS_INVALID, "Path is too long: %s", dir);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 && errno != ENOENT)
		return lms_fail_errno(error_r, errno, "open", path);
	if (fd < 0) {
		if ((set->flags & LMS_ENV_NO_CREATE) != 0) {
			char data_path[PATH_MAX];
			struct stat st;

			snprintf(data_path, sizeof(data_path), "%s/" LMS_FILE_DATA, dir);
			if (stat(data_path, &st) < 0)
				return not_found(dir, error_r);
		}
		if (make_path(dir, set, error_r) < 0 || (fd = lms_dir_create_file(path, set, error_r)) < 0)
			return -1;
	}
	if ((set->flags & LMS_ENV_ANY_FILESYSTEM) == 0 && check_filesystem(fd, dir, error_r) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

bool lms_dir_would_open(int lock_fd, const char *dir, const struct lms_schema *schema)
{
	char path[PATH_MAX];
	struct stat st, fd_st;

	snprintf(path, sizeof(path), "%s/" LMS_FILE_DATA, dir);
	if (eaccess(path, R_OK | W_OK) < 0)
		return false;
	snprintf(path, sizeof(path), "%s/%s", dir, schema->lock_file);
	return eaccess(path, R_OK | W_OK) == 0 && stat(path, &st) == 0 && fstat(lock_fd, &fd_st) == 0 &&
		st.st_dev == fd_st.st_dev && st.st_ino == fd_st.st_ino;
}

int lms_dir_lmdb_lock(const char *dir, ino_t *ino_r, struct lms_error *error_r)
{
	char path[PATH_MAX];
	struct stat st;

	snprintf(path, sizeof(path), "%s/" LMS_FILE_LMDB_LOCK, dir);
	if (stat(path, &st) < 0)
		return lms_fail_errno(error_r, errno, "stat", path);
	*ino_r = st.st_ino;
	return 0;
}

int lms_dir_mark_created(int lock_fd, const char *dir, const struct lms_schema *schema, struct lms_error *error_r)
{
	const char *mark = schema->created_mark;

	if (mark != NULL && pwrite(lock_fd, mark, strlen(mark), 0) < 0)
		return lms_fail_errno(error_r, errno, "pwrite", dir);
	return 0;
}

static int reserve_lmdb_lock(const char *dir, const struct lms_env_settings *set, struct lms_error *error_r)
{
	char path[PATH_MAX];
	struct stat st;
	int fd, err;

	snprintf(path, sizeof(path), "%s/" LMS_FILE_LMDB_LOCK, dir);
	if (stat(path, &st) < 0)
		st.st_size = 0;
	else if (st.st_size > 0 && st.st_blocks * 512 >= st.st_size)
		return 0;
	fd = lms_dir_create_file(path, set, error_r);
	if (fd < 0)
		return -1;
	/* Its size says how many readers there may be, so it stays what it is while others use it. */
	err = posix_fallocate(fd, 0, st.st_size > 0 ? st.st_size : LMDB_LOCK_SIZE);
	close(fd);
	return err == 0 ? 0 : lms_fail_errno(error_r, err, "fallocate", path);
}

int lms_dir_prepare(int lock_fd, const char *dir, const struct lms_schema *schema, const struct lms_env_settings *set,
		    uint64_t *file_bytes_r, bool *is_new_r, struct lms_error *error_r)
{
	char path[PATH_MAX], mark;
	struct stat st;

	snprintf(path, sizeof(path), "%s/" LMS_FILE_DATA, dir);
	if (stat(path, &st) < 0) {
		if (errno != ENOENT)
			return lms_fail_errno(error_r, errno, "stat", path);
		st.st_size = 0;
	} else if (!S_ISREG(st.st_mode)) {
		return lms_fail(error_r, LMS_DAMAGED, "%s isn't a file", path);
	}
	*file_bytes_r = (uint64_t)st.st_size;
	*is_new_r = st.st_size == 0;
	if (*is_new_r) {
		if (schema->created_mark != NULL && pread(lock_fd, &mark, 1, 0) > 0) {
			return lms_fail(error_r, LMS_DAMAGED, "%s is missing or empty, but there was a store: restore it from a "
					"backup, or remove the directory to begin a new one", path);
		}
		if ((set->flags & LMS_ENV_NO_CREATE) != 0)
			return not_found(dir, error_r);
		if (schema->make_files != NULL && schema->make_files(dir, set, error_r) < 0)
			return -1;
	}
	return reserve_lmdb_lock(dir, set, error_r);
}

int lms_dir_set_group(const char *dir, const struct lms_env_settings *set, struct lms_error *error_r)
{
	char path[PATH_MAX];

	if (set->gid == (gid_t)-1)
		return 0;
	snprintf(path, sizeof(path), "%s/" LMS_FILE_DATA, dir);
	if (chown(path, (uid_t)-1, set->gid) < 0)
		return lms_fail_errno(error_r, errno, "chown", path);
	return 0;
}
