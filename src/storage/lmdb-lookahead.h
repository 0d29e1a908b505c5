/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_LOOKAHEAD_H
#define LMDB_LOOKAHEAD_H

#include "lms-message.h"

#define LMDB_LOOKAHEAD_MAX 64

/*
 * Records of the messages after the one that was looked up last: who asks for one message after another, as a FETCH
 * of many does, has them read in one go. What is taken from a record never changes as long as the message is there, so
 * it doesn't matter if it is a little older.
 */
struct lmdb_lookahead {
	struct lmdb_lookahead_item *items;
	/* number of items, the one to look at next, and how many were asked for */
	unsigned int count, next, used;
	/* how many to read next time */
	unsigned int want;
	/* looked up last, 0 if none was */
	uint32_t last_uid;
};

struct lmdb_mailbox;

/* lms_message_get(), without keywords. A GUID of 32 hex digits goes to guid_buffer; other strings are valid until the
   next call to the store. */
int lmdb_lookahead_get(struct lmdb_mailbox *mbox, uint32_t uid, char guid_buffer[LMS_GUID_SIZE * 2 + 1],
		       struct lms_message *message_r, struct lms_error *error_r);
/* Forget what was read. */
void lmdb_lookahead_clear(struct lmdb_lookahead *ahead);

#endif
