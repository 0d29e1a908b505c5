/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_VIEW_H
#define LMDB_VIEW_H

#include "lmdb-storage.h"

/*
 * The view of a folder is its Dovecot index. It can be thrown away: what it shows comes from the store. Its header
 * extension "lmdb" says what it is a view of and how much of the folder's history it contains; it is written in the
 * index transaction that adds what it speaks of.
 */
struct lmdb_view_header {
	uint8_t store_guid[LMS_GUID_SIZE];
	uint64_t folder_id;
	uint64_t epoch;
	/* lms_folder.change and .flag_change that the view contains */
	uint64_t change;
	uint64_t flag_change;
};

/* Tell the index of the extension, when it is opened. */
void lmdb_view_register(struct lmdb_mailbox *mbox);
/* Read the header as view sees it; FALSE if there is none. */
bool lmdb_view_read_header(struct lmdb_mailbox *mbox, struct mail_index_view *view, struct lmdb_view_header *hdr_r);
void lmdb_view_write_header(struct lmdb_mailbox *mbox, struct mail_index_transaction *trans,
			    const struct lmdb_view_header *hdr);
/* The header of a view that contains all of the folder. */
void lmdb_view_init_header(struct lmdb_mailbox *mbox, const struct lms_folder *folder,
			   struct lmdb_view_header *hdr_r);

enum lmdb_view_state {
	/* contains all of the folder but what waits in the journal */
	LMDB_VIEW_CURRENT,
	/* some changes have to be pulled */
	LMDB_VIEW_BEHIND,
	/* of another folder, store, epoch or UIDVALIDITY, or new: has to be built anew */
	LMDB_VIEW_FOREIGN,
	/* contains what the folder hasn't seen: an older copy of the store was put back */
	LMDB_VIEW_AHEAD
};
/* Compare a view with its folder; read the view before the folder, else it seems ahead when somebody saves. */
enum lmdb_view_state lmdb_view_compare(const struct lmdb_mailbox *mbox, const struct lmdb_view_header *hdr,
				       const struct mail_index_header *index_hdr, const struct lms_folder *folder);

/* Make HIGHESTMODSEQ at least min_modseq (dsync). Returns 0, or -1 with the error set. */
int lmdb_view_raise_modseq(struct lmdb_mailbox *mbox, uint64_t min_modseq);

#endif
