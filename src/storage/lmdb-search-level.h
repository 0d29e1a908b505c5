/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_SEARCH_LEVEL_H
#define LMDB_SEARCH_LEVEL_H

#include "mail-search.h"
#include "lmdb-storage.h"

/* match: 1, or -1 if the index can't tell. score: higher if what was found is rarer. */
typedef void lmdb_search_level_callback(uint32_t uid, int match, float score, void *context);

/*
 * Look up the arguments about text in a list (not those within them) and call the callback for the messages that match
 * all of them, or, without and_args, one of them, or may do so. Returns 0, or -1 if the index can't be used.
 */
int lmdb_search_level(struct lmdb_mailbox *mbox, struct mail_search_arg *args, bool and_args,
		      lmdb_search_level_callback *callback, void *context);

#endif
