/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-error.h"
#include "lms-private.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int lms_fail(struct lms_error *error_r, enum lms_code code, const char *format, ...)
{
	va_list args;

	if (error_r == NULL)
		return -1;
	error_r->code = code;
	va_start(args, format);
	vsnprintf(error_r->text, sizeof(error_r->text), format, args);
	va_end(args);
	return -1;
}

static enum lms_code code_of_errno(int err)
{
	switch (err) {
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return LMS_NOSPACE;
	case EACCES:
	case EPERM:
	case EROFS:
		return LMS_ACCESS;
	case ENOMEM:
		return LMS_MEMORY;
	case EISDIR:
		return LMS_DAMAGED;
	default:
		return LMS_IO;
	}
}

static const char *remedy_of_errno(int err)
{
	switch (err) {
	case ENOSPC:
		return " (the file system is full: free or add space)";
	case EDQUOT:
		return " (the file system's quota is used up: raise it)";
	case EFBIG:
		return " (a limit on the size of files: raise RLIMIT_FSIZE of the service)";
	case EACCES:
	case EPERM:
		return " (check owner and permissions of the file and of the directories above it)";
	case EROFS:
		return " (the file system is mounted read-only)";
	case EISDIR:
		return " (there is a directory where the store has a file)";
	default:
		return "";
	}
}

int lms_fail_errno(struct lms_error *error_r, int err, const char *call, const char *path)
{
	return lms_fail(error_r, code_of_errno(err), "%s(%s) failed: %s%s", call, path, strerror(err),
			remedy_of_errno(err));
}

static int fail_damaged(struct lms_error *error_r, const struct lms_env *env, const char *what, const char *reason)
{
	return lms_fail(error_r, LMS_DAMAGED, "%s/" LMS_FILE_DATA " is damaged: %s: %s: %s", env->dir, what, reason,
			env->schema->remedy);
}

int lms_fail_record(struct lms_error *error_r, const struct lms_env *env, const char *what)
{
	return fail_damaged(error_r, env, what, "the record makes no sense");
}

int lms_fail_mdb(struct lms_error *error_r, const struct lms_env *env, int rc, const char *what)
{
	switch (rc) {
	case LMS_RC_FAULT:
		return fail_damaged(error_r, env, what, "pages are damaged or missing");
	case LMS_RC_CHECKSUM:
		return fail_damaged(error_r, env, what, "wrong checksum");
	case LMS_RC_NEWER:
		return lms_fail(error_r, LMS_NEWER, "%s/" LMS_FILE_DATA " was written by a newer version: %s: "
				"update this installation", env->dir, what);
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_PANIC:
	case MDB_INVALID:
	case MDB_VERSION_MISMATCH:
	case MDB_INCOMPATIBLE:
	case MDB_CURSOR_FULL:
		return fail_damaged(error_r, env, what, mdb_strerror(rc));
	case MDB_MAP_FULL:
	case MDB_MAP_RESIZED:
		return lms_fail(error_r, LMS_MEMORY, "%s/" LMS_FILE_DATA ": %s: the map can't grow: %s", env->dir, what,
				mdb_strerror(rc));
	case MDB_TXN_FULL:
		return lms_fail(error_r, LMS_INVALID, "%s/" LMS_FILE_DATA ": %s: too much in one request", env->dir,
				what);
	case MDB_READERS_FULL:
		return lms_fail(error_r, LMS_IO, "%s/" LMS_FILE_LMDB_LOCK ": more than %u processes have the store open",
				env->dir, LMS_MAX_READERS);
	case ENOMEM:
		return lms_fail(error_r, LMS_MEMORY, "%s/" LMS_FILE_DATA ": %s: out of memory: raise vsz_limit of this "
				"service", env->dir, what);
	default:
		if (rc < 0) {
			return lms_fail(error_r, LMS_IO, "%s/" LMS_FILE_DATA ": %s: %s", env->dir, what,
					mdb_strerror(rc));
		}
		return lms_fail(error_r, code_of_errno(rc), "%s/" LMS_FILE_DATA ": %s: %s%s", env->dir, what,
				strerror(rc), remedy_of_errno(rc));
	}
}
