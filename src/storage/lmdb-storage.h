/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_STORAGE_H
#define LMDB_STORAGE_H

#include "index-storage.h"
#include "mailbox-list-private.h"
#include "lmdb-list.h"
#include "lmdb-lookahead.h"

/* How far ahead of what clients were shown a folder's MODSEQ floor is kept (see lms_folder.modseq_floor): with every
   reserved step a rebuilt view may jump ahead, with every use of it up a commit is due. */
#define LMDB_MODSEQ_RESERVE 1000
#define LMDB_MODSEQ_RESERVE_MIN 50

struct lmdb_storage {
	struct mail_storage storage;
};

/* What of the index's journal isn't in the store yet (lmdb-journal.c). */
struct lmdb_journal {
	/* scanned from here... */
	uint32_t tail_seq;
	uoff_t tail_offset;
	/* ...to here */
	uint32_t head_seq;
	uoff_t head_offset;
	bool flags, expunges;
};

struct lmdb_mailbox {
	struct mailbox box;
	struct lms_env *env;
	/* 0 until the mailbox is opened or created */
	uint64_t folder_id;
	uint32_t hdr_ext_id;

	struct lmdb_journal journal;
	/* runs while flag changes wait in the journal */
	struct timeout *to_flags;
	struct lmdb_lookahead ahead;
	/* a missing cache file isn't made any more until the mailbox is opened again (lmdb-mail-start.c) */
	bool cache_tried;

	/* lmdb-search-docs.c; NULL until it is needed */
	struct lmdb_search_docs *search;
};

#define LMDB_MAILBOX(s) (container_of(s, struct lmdb_mailbox, box))

extern struct mail_storage lmdb_storage;
extern struct mailbox lmdb_mailbox;
extern struct mail_vfuncs lmdb_mail_vfuncs;

/* TRUE if the mailbox is of this storage class. */
bool lmdb_mailbox_is(const struct mailbox *box);
/* Set box->folder_id for a mailbox that isn't open. Returns 1, 0 with the error set if there is no such mailbox, or -1
   with the error set. */
int lmdb_mailbox_find(struct lmdb_mailbox *mbox);
/* Read the folder's record. Returns 0, or -1 with the error set; the mailbox is marked deleted if the folder is gone
   under an open one. */
int lmdb_mailbox_get_folder(struct lmdb_mailbox *mbox, struct lms_folder *folder_r);
/* lmdb_list_submit() with the mailbox's error set on failure. */
int lmdb_mailbox_submit(struct lmdb_mailbox *mbox, struct lms_request *request, struct lms_reply *reply_r);

struct mailbox *lmdb_mailbox_alloc(struct mail_storage *storage, struct mailbox_list *list, const char *vname,
				   enum mailbox_flags flags);

#endif
