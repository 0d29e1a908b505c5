/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_KEYWORDS_H
#define LMDB_KEYWORDS_H

#include "lmdb-storage.h"
#include "lms-message.h"

/*
 * A folder's keywords have numbers of their own in the store and in the index; they are mapped by name.
 */
struct lmdb_keywords {
	struct mail_index *index;
	/* index of the index's keyword, by the store's number */
	ARRAY_TYPE(keyword_indexes) numbers;
	/* of one message, reused */
	ARRAY_TYPE(keyword_indexes) tmp;
};

/* Read the folder's keywords and make the index know all of them, in the store's order. Returns 0, or -1. */
int lmdb_keywords_init(struct lmdb_keywords *keywords, struct lmdb_mailbox *mbox, struct lms_error *error_r);
void lmdb_keywords_deinit(struct lmdb_keywords *keywords);

/* Indexes of a message's keywords in the index, ascending by the store's number; valid until the next call. */
const ARRAY_TYPE(keyword_indexes) *
lmdb_keywords_of_message(struct lmdb_keywords *keywords, const struct lms_message *message);

#endif
