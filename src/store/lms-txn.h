/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMS_TXN_H
#define LMS_TXN_H

#include "lms-key.h"
#include "lms-private.h"
#include "lms-record.h"

/*
 * Transactions, and the calls that read and write records in them. Every value read is checked (lms-record.h), and
 * LMDB's calls are guarded (lms-guard.h). All functions that return int fill *txn->error when they return -1.
 *
 * db is the number of a database in the environment's schema: for a store one of enum lms_db.
 *
 * Values and keys point into the file or into the transaction's pages: they are valid until the next write.
 */
struct lms_txn {
	struct lms_env *env;
	MDB_txn *mdb;
	struct lms_error *error;
	/* Why LMDB refused, 0 if it didn't: tells whether to repeat the transaction with a larger map. */
	int rc;
	/* Something was written. */
	bool dirty;
	/* A database was opened here: without a commit its handle is lost. */
	bool opened_late;
};

/* Begin LMDB's transaction with these flags, or renew *mdb if there is one. Makes the map larger if the file has outgrown
   it, and does what else can be done. */
int lms_txn_begin(struct lms_env *env, unsigned int flags, MDB_txn **mdb, struct lms_error *error_r);

/* A read transaction, or one more use of the one that is open. */
int lms_txn_read(struct lms_txn *txn, struct lms_env *env, struct lms_error *error_r);
void lms_txn_read_end(struct lms_txn *txn);

/* The write transaction. The caller has the leader lock. */
int lms_txn_write(struct lms_txn *txn, struct lms_env *env, struct lms_error *error_r);
/* no_sync: the commit isn't flushed. */
int lms_txn_commit(struct lms_txn *txn, bool no_sync);
/* Flush what was committed by others, who may have died in doing so. */
int lms_txn_sync(struct lms_env *env, struct lms_error *error_r);
/* Open a database that isn't always there, in a write transaction. Returns 1, 0 if there is none and create is unset,
   -1. */
int lms_txn_open_late(struct lms_txn *txn, unsigned int db, bool create);
void lms_txn_abort(struct lms_txn *txn);

/* Returns 1, 0 if there is no such record, -1 on error. */
int lms_get(struct lms_txn *txn, unsigned int db, const struct lms_key *key, struct lms_value *value_r);
/* Add or replace a record. */
int lms_put(struct lms_txn *txn, unsigned int db, const struct lms_key *key, const uint8_t head[LMS_RECORD_HEAD],
	    const void *data, size_t size);
/* The same where the key usually is the last one of its database: pages are filled to the brim then. */
int lms_put_last(struct lms_txn *txn, unsigned int db, const struct lms_key *key, const uint8_t head[LMS_RECORD_HEAD],
		 const void *data, size_t size);
/* lms_put() with the content of a buffer. */
int lms_put_buffer(struct lms_txn *txn, unsigned int db, const struct lms_key *key,
		   const uint8_t head[LMS_RECORD_HEAD], const struct lms_buffer *buf);
/* Returns 1 if it was there, 0 if not. */
int lms_del(struct lms_txn *txn, unsigned int db, const struct lms_key *key);

struct lms_cursor {
	struct lms_txn *txn;
	unsigned int db;
	MDB_cursor *mdb;
	/* Of the record it stands on */
	const uint8_t *key;
	size_t key_size;
	struct lms_value value;
};

int lms_cursor_open(struct lms_cursor *cursor, struct lms_txn *txn, unsigned int db);
void lms_cursor_close(struct lms_cursor *cursor);
/* Move to the first record at or after the key, to the first one of all, or to the next one. Returns 1, 0 if there is
   none, -1; with txn->rc LMS_RC_CHECKSUM or LMS_RC_NEWER the cursor has moved and has the key, so that a check can go
   on. */
int lms_cursor_seek(struct lms_cursor *cursor, const struct lms_key *key);
int lms_cursor_first(struct lms_cursor *cursor);
int lms_cursor_next(struct lms_cursor *cursor);
/* Seek without checking the value: for records that are deleted unread. */
int lms_cursor_seek_unread(struct lms_cursor *cursor, const struct lms_key *key, size_t *value_size_r);
/* Replace the value of the record by one of the same size. */
int lms_cursor_replace(struct lms_cursor *cursor, const uint8_t head[LMS_RECORD_HEAD], const void *data, size_t size);
int lms_cursor_del(struct lms_cursor *cursor);

/* Number of pages in LMDB's list of free ones, counting those from page first on */
int lms_txn_free_pages(struct lms_txn *txn, uint64_t first, uint64_t *pages_r);

/* Name of a store's database for LMDB (NULL: the unnamed one) and for messages. */
const char *lms_db_name(enum lms_db db);

#endif
