/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMS_ERROR_H
#define LMS_ERROR_H

#include "lms.h"

/* Result codes of our own beside LMDB's, for what the checks around its calls find. */
enum lms_rc {
	/* A memory fault or failed assertion inside LMDB: its pages are damaged or missing. */
	LMS_RC_FAULT = -31001,
	/* A value's checksum or size is wrong. */
	LMS_RC_CHECKSUM = -31002,
	/* The value was written by a newer version. */
	LMS_RC_NEWER = -31003
};

/* Fill *error_r (which may be NULL) and return -1. */
int lms_fail(struct lms_error *error_r, enum lms_code code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* The same for errno of a system call, e.g. lms_fail_errno(error_r, errno, "open", path). */
int lms_fail_errno(struct lms_error *error_r, int err, const char *call, const char *path);
/* The same for a result code of LMDB or one of enum lms_rc. what says what was done, e.g. "read of messages". */
int lms_fail_mdb(struct lms_error *error_r, const struct lms_env *env, int rc, const char *what);
/* The record that what describes is there but can't be right. */
int lms_fail_record(struct lms_error *error_r, const struct lms_env *env, const char *what);

#endif
