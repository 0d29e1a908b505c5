/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_LIST_SNAPSHOT_H
#define LMDB_LIST_SNAPSHOT_H

#include "lmdb-list.h"

/* A mailbox as NOTIFY last saw it. */
struct lmdb_snapshot_box {
	/* identity: the folder's id, or the node's for a mailbox that can't be selected */
	uint64_t id;
	bool selectable;
	const char *storage_name;
	guid_128_t guid;

	/* when these two are as before, nothing happened to the messages */
	uint64_t change;
	struct {
		uoff_t size;
		time_t mtime;
		unsigned long mtime_nsec;
	} log;

	uint32_t uidvalidity, uidnext, messages, unseen;
	/* 0: not known yet */
	uint64_t highest_modseq;
};

/* All mailboxes and subscriptions of a list at one moment. */
struct lmdb_list_snapshot {
	pool_t pool;
	/* sorted by selectable and id */
	ARRAY(struct lmdb_snapshot_box) boxes;
	/* sorted */
	ARRAY_TYPE(const_string) subscriptions;
};

/* Returns 0, or -1 with the list's error set. */
int lmdb_list_snapshot_take(struct mailbox_list *list, struct lmdb_list_snapshot **snapshot_r);
void lmdb_list_snapshot_free(struct lmdb_list_snapshot **snapshot);
/* For sorting and finding boxes. */
int lmdb_snapshot_box_cmp(const struct lmdb_snapshot_box *box1, const struct lmdb_snapshot_box *box2);

#endif
