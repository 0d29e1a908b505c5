/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_SEARCH_DOCS_H
#define LMDB_SEARCH_DOCS_H

#include "lmdb-storage.h"
#include "lsi.h"

/*
 * What the search index knows of the messages of an open mailbox, and messages on their way into it.
 */
struct lmdb_search_doc {
	uint32_t uid;
	/* in the sets of the snapshot; LSI_MISSING, LSI_OPAQUE */
	uint32_t position;
	/* body id 0: the message is expunged */
	struct lsi_doc doc;
};

struct lmdb_search_docs {
	/* all messages that the folder has or had since the mailbox was opened, by UID */
	ARRAY(struct lmdb_search_doc) docs;
	/* state of the folder that the array is for, and of the index that the positions are for */
	uint64_t epoch, change, generation;
	struct lsi_batch *batch;
	/* the message whose document is at the end of the batch and may have more text; 0 if there is none */
	uint32_t open_uid;
	/* the batch is part of a long work in the background: maintenance can take its time too */
	bool background;
	/* something went wrong and was logged: don't try again until the mailbox is opened anew */
	bool failed;
};

/* The index to be used for this mailbox; NULL if there is none. */
struct lsi_index *lmdb_search_index(struct lmdb_mailbox *mbox);
/*
 * Begin to look up in the index: bring mbox->search up to date with the folder and the index. Until
 * lsi_search_end(index) a read transaction is open. Returns 0 and the snapshot, which the caller unreferences, or -1
 * if the index can't be used (it was logged).
 */
int lmdb_search_begin(struct lmdb_mailbox *mbox, struct lsi_index *index, struct lsi_snapshot **snapshot_r);
/* The document of a message; NULL if it isn't known. *hint is kept by the caller from one call to the next. */
const struct lmdb_search_doc *lmdb_search_doc(struct lmdb_mailbox *mbox, uint32_t uid, unsigned int *hint);

/* Have mbox->search, whatever state it is in, for what follows; background: for a work in the background. Returns FALSE
   if there is no index. */
bool lmdb_search_prepare(struct lmdb_mailbox *mbox, bool background);
/* Add a message to the index, together with others; after lmdb_search_begin() and its end, or lmdb_search_prepare(). If the fts plugin does that
   (list->fts), nothing is added. */
void lmdb_search_add(struct mail *mail);
/* The same, in any state of mbox->search, with the bytes of a message that was just saved, so that none of the index's
   documents is about it. Not if list->fts. */
void lmdb_search_add_new(struct lmdb_mailbox *mbox, const struct lsi_doc *doc, struct istream *input);
/*
 * For the fts plugin: the same, but until the next message or lmdb_search_flush() the decoded text of attachments may
 * be added, in UTF-8, with a break where one of them ends. The message isn't opened if it is indexed.
 */
void lmdb_search_open(struct mail *mail);
bool lmdb_search_is_open(struct lmdb_mailbox *mbox, uint32_t uid);
void lmdb_search_attach(struct lmdb_mailbox *mbox, const void *data, size_t size);
void lmdb_search_attach_break(struct lmdb_mailbox *mbox);
/* After that: UIDs of the messages that aren't indexed are added to the array. */
void lmdb_search_get_missing(struct lmdb_mailbox *mbox, ARRAY_TYPE(seq_range) *uids);
/* Has the index not been used, after an error that was logged? */
bool lmdb_search_has_failed(struct lmdb_mailbox *mbox);
/* Write what was added, and keep the index in shape. */
void lmdb_search_flush(struct lmdb_mailbox *mbox);
/* The mailbox is being closed. */
void lmdb_search_close(struct lmdb_mailbox *mbox);

/* UID of the last message before the first one that isn't indexed; 0 if there is none. Returns 0, or -1 if the index
   can't be used. */
int lmdb_search_last_indexed(struct lmdb_mailbox *mbox, uint32_t *uid_r);

/* Log an error of the index, and throw the index away if that is the remedy: then TRUE is returned, and it can be tried
   again. */
bool lmdb_search_handle_error(struct lmdb_mailbox *mbox, struct lsi_index *index, const struct lms_error *error);

#endif
