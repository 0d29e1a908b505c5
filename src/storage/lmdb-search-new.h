/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_SEARCH_NEW_H
#define LMDB_SEARCH_NEW_H

#include "lmdb-spool.h"

/*
 * Messages were saved: do for the search index what the setting lmdb_search_when says. uids and spools are those of
 * count messages, in the same order; the spool of a copied message is NULL. What fails is logged, for a search will
 * index the messages then.
 */
void lmdb_search_saved(struct lmdb_mailbox *mbox, const uint32_t *uids, struct lmdb_spool *const *spools,
		       unsigned int count);

#endif
