/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_PULL_H
#define LMDB_PULL_H

#include "lmdb-storage.h"
#include "lmdb-view.h"

/*
 * Pulling brings what the store knows and the view does not into an index transaction. The caller holds the index's
 * sync lock, and commits. Each function sets *hdr to what the view then contains and returns 0, or -1 with the
 * mailbox's error set.
 */

/* The changes after hdr->change. view is the sync view; no flag changes may wait in the journal if there are flag
   changes to pull (lmdb_pull_has_flags()). Costs O(changes). */
int lmdb_pull_changes(struct lmdb_mailbox *mbox, struct mail_index_view *view, struct mail_index_transaction *trans,
		      struct lmdb_view_header *hdr);
/* Compare all of the view with the store; for views that are too old for lmdb_pull_changes() or in doubt. Returns 1, or
   0 if the store has messages that can only be added by building the view anew. */
int lmdb_pull_merge(struct lmdb_mailbox *mbox, struct mail_index_view *view, struct mail_index_transaction *trans,
		    struct lmdb_view_header *hdr);
/* All of the folder, into an empty view. */
int lmdb_pull_all(struct lmdb_mailbox *mbox, struct mail_index_transaction *trans, struct lmdb_view_header *hdr);

/* 1 if flags were changed after hdr->change other than through this view (or if that isn't known any more), 0 if not,
   -1 with the error set. */
int lmdb_pull_has_flags(struct lmdb_mailbox *mbox, const struct lmdb_view_header *hdr);

/* TRUE if the view's flags and keywords of seq are the message's. *keywords is the view's, on return. */
bool lmdb_pull_flags_equal(struct mail_index_view *view, uint32_t seq, const struct lms_message *message,
			   const ARRAY_TYPE(keyword_indexes) *message_keywords,
			   ARRAY_TYPE(keyword_indexes) *keywords);

#endif
