/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_SPOOL_H
#define LMDB_SPOOL_H

#include "lmdb-storage.h"

/* So much of a mailbox transaction's bodies is kept in memory; then they are staged in the store. */
#define LMDB_SPOOL_MAX_MEMORY (4 * 1024 * 1024)

/* The bytes of a message that is being saved. */
struct lmdb_spool {
	struct lmdb_mailbox *mbox;
	/* in memory; if staged, what isn't staged yet */
	buffer_t *buf;
	/* what is to be kept ready with the body (lmdb-ready.h); empty until the message is complete, or if that was staged */
	buffer_t *ready;
	/* 0: nothing is staged */
	uint64_t body_id;
	/* in all */
	uint64_t size;
	/* of the write that made the stream fail */
	struct lms_error error;
};

struct lmdb_spool *lmdb_spool_init(struct lmdb_mailbox *mbox);
/* Free the spool, and what it staged unless that was saved. */
void lmdb_spool_deinit(struct lmdb_spool **spool, bool saved);
/* A stream that appends to the spool. On failure spool->error says why. */
struct ostream *lmdb_spool_ostream_create(struct lmdb_spool *spool);
/* Stage what is in memory of finished spools, in one transaction. Returns 0, or -1 with *error_r set. */
int lmdb_spool_stage(struct lmdb_spool *const *spools, unsigned int count, struct lms_error *error_r);
/* A stream of the bytes of a finished spool; it must be closed before the spool. */
struct istream *lmdb_spool_open(struct lmdb_spool *spool);

#endif
