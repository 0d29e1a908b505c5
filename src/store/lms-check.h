/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMS_CHECK_H
#define LMS_CHECK_H

#include "lms.h"

/* Called with one line for each thing that is wrong. */
typedef void lms_check_callback(const char *text, void *context);

/*
 * Check everything in one snapshot: every record can be read and makes sense, names, nodes and folders agree, counters
 * equal what is counted, every body is whole and has as many messages as its count says, and what has none waits in
 * garbage or is under construction. Needs 24 bytes of memory for each message.
 * Returns 0 if all is well, 1 if something was reported, -1 if it can't be checked.
 */
int lms_check(struct lms_env *env, lms_check_callback *callback, void *context, struct lms_error *error_r);

#endif
