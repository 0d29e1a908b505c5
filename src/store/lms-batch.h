/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMS_BATCH_H
#define LMS_BATCH_H

#include "lms-request.h"

enum lms_batch_flags {
	/* The request is in this process's slot too: another leader may have carried it out already. */
	LMS_BATCH_PUBLISHED = 0x01,
	/* Take along what others have published. */
	LMS_BATCH_SHARED = 0x02
};

/*
 * Carry out a request, and perhaps those that others have published, in one transaction. An error of one request is
 * that one's only: if it had written something, the transaction is begun again without it. The caller has the leader
 * lock. Returns 0 or -1 for its own request.
 */
int lms_batch_run(struct lms_env *env, enum lms_batch_flags flags, const struct lms_request *request,
		  struct lms_reply *reply_r, struct lms_error *error_r);

/* Is there such an operation? */
bool lms_batch_knows(enum lms_op op);

#endif
