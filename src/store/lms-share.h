/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMS_SHARE_H
#define LMS_SHARE_H

#include "lms-request.h"

/*
 * Shared commits. A commit waits for the disk twice, and only one can be under way; so requests that arrive meanwhile
 * are carried out together by the next commit. Who gets the leader lock leads: it carries out its own request and all
 * that others have published in the slot file (lms-slot.h), commits once, and gives each its result. Who doesn't get
 * the lock publishes, and sleeps until there is a result or until it can lead itself.
 *
 * The transaction also has, for each published request, a record with its id and result under the slot's number. A
 * leader may be killed between the commit and the results; so whoever leads looks there before it carries out a
 * published request: it happens once. Nobody else writes under the number while the request waits, as the slot is its
 * owner's by a lock.
 */

/* Carry out a request with one commit, alone or shared. Returns as lms_submit(). */
int lms_share_submit(struct lms_env *env, const struct lms_request *request, struct lms_reply *reply_r,
		     struct lms_error *error_r);

#endif
