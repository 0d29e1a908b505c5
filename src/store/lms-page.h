/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMS_PAGE_H
#define LMS_PAGE_H

#include "lms-db.h"
#include "lms-record.h"

struct lms_txn;

/*
 * Checks of LMDB's pages before LMDB uses them. LMDB believes what a page says about itself: a damaged one makes it
 * write outside of its memory, or overlook records. So before each call the pages that it will use, the way from
 * the root to a key and with writes also their neighbours, are checked: is each the page that it should be, do its
 * nodes fill it exactly, are the keys in order and between those of the page above? Records beside the place where a
 * key isn't found are read, so that a damaged key isn't taken for a missing one.
 *
 * What LMDB has changed in a write transaction is in memory, made from pages that were checked. So the pages of the
 * snapshot before are those to check.
 */

#define LMS_PAGE_CACHE 256

struct lms_page_tree {
	uint64_t root;
	unsigned int depth;
	bool known;
};

struct lms_pages {
	/* Where the file is mapped, NULL if not known yet */
	const uint8_t *base;
	size_t page_size;
	/* The snapshot, its first page number that isn't used, and its trees */
	uint64_t snapshot, next_page;
	struct lms_page_tree main, free, trees[LMS_DB_COUNT];
	/* Pages that were checked, and in which snapshot */
	struct {
		uint64_t page, snapshot;
	} cache[LMS_PAGE_CACHE];
};

enum lms_page_use {
	/* One key is looked up, or walking begins there. */
	LMS_PAGE_GET,
	LMS_PAGE_SEEK,
	/* A record is added, replaced or deleted. */
	LMS_PAGE_WRITE
};

/* A transaction begins: find the trees of its snapshot. Returns 0, LMS_RC_PAGE, or LMS_RC_AGAIN if the trees of the
   snapshot can't be found any more, so that the transaction should be begun again. To be called in a guard
   (lms-guard.h), as the other functions. */
int lms_page_begin(struct lms_txn *txn);
/* The map is another one. */
void lms_page_forget_map(struct lms_pages *pages);
/* Check the pages that lead to a key. Returns 0, LMS_RC_PAGE or LMS_RC_CHECKSUM. */
int lms_page_check(struct lms_txn *txn, enum lms_db db, const void *key, size_t key_size, enum lms_page_use use);
/* Check only what leads to the tree of a database. */
int lms_page_check_tree(struct lms_txn *txn, enum lms_db db);
/* Check the pages of LMDB's list of free pages. */
int lms_page_check_free(struct lms_txn *txn);

enum lms_page_kind {
	LMS_PAGE_USED,
	LMS_PAGE_FREE,
	/* The page, and so what it leads to, can't be read. */
	LMS_PAGE_BAD
};
/* Walk all pages of the snapshot, trees and list of free pages, in no order. Brings its own guard. Returns 0 or a
   result code. */
typedef void lms_page_callback(enum lms_page_kind kind, uint64_t page, uint64_t count, void *context);
int lms_page_walk(struct lms_txn *txn, lms_page_callback *callback, void *context);

/* Is this address in a page of the file, and in which? 0 if not. */
uint64_t lms_page_of(const struct lms_pages *pages, const void *address);

/* The checksum, size and version of a record. Fills *value_r and returns 0, LMS_RC_CHECKSUM or LMS_RC_NEWER. */
int lms_page_check_value(const void *key, size_t key_size, const void *value, size_t value_size,
			 struct lms_value *value_r);

#endif
