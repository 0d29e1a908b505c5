/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_DRAIN_H
#define LMDB_DRAIN_H

#include "lmdb-storage.h"
#include "lmdb-view.h"

/* So many messages are expunged in one transaction of the store at most, so that deliveries needn't wait long. */
#define LMDB_EXPUNGE_BATCH 2000

/* Draining brings what a view's journal holds to the store: flag and keyword changes and expunges. */
struct lmdb_drain {
	struct lmdb_mailbox *mbox;
	ARRAY(struct lms_flag_change) flags;
	ARRAY(struct lms_keyword_change) keywords;
	ARRAY(struct lms_uid_range) expunges;
};

void lmdb_drain_init(struct lmdb_drain *drain, struct lmdb_mailbox *mbox);
void lmdb_drain_deinit(struct lmdb_drain *drain);

/* Collect what waits in the journal: all of it, so that the sync may be committed. */
void lmdb_drain_collect(struct lmdb_drain *drain, struct mail_index_sync_ctx *sync);
/* Collect the flags that view has otherwise than the store, for a view that is the newer one but whose journal can't be
   trusted. Returns 0, or -1 with the error set. */
int lmdb_drain_collect_differences(struct lmdb_drain *drain, struct mail_index_view *view);
bool lmdb_drain_is_empty(const struct lmdb_drain *drain);
bool lmdb_drain_has_expunges(const struct lmdb_drain *drain);

/*
 * Submit what was collected and expunge in trans what the store expunged. hdr, as the view has it, is moved on if
 * nobody else changed the folder meanwhile. modseq_floor, unless 0, goes along. Returns 0, or -1 with the error set.
 */
int lmdb_drain_submit(struct lmdb_drain *drain, struct mail_index_view *view, struct mail_index_transaction *trans,
		      struct lmdb_view_header *hdr, uint64_t modseq_floor);

#endif
