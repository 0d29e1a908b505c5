/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMS_CHUNK_H
#define LMS_CHUNK_H

#include "lms-write.h"

/*
 * A chunk of a body as it is stored: compressed with LZ4 if that makes it smaller, and in pieces that fill LMDB's
 * pages. LMDB gives a value that is larger than half a page whole pages of its own; so what would leave much of the
 * last one empty goes into further pieces, small enough for LMDB to pack them with others.
 *
 * The pieces are records (body id, chunk number << 8 | piece number) -> bytes. Of the first one, head[1] has the
 * flags below and head[2] the number of pieces that follow.
 */
enum lms_chunk_flags {
	/* The bytes of all pieces together are an LZ4 block. */
	LMS_CHUNK_LZ4 = 0x01,
	LMS_CHUNK_FLAGS_KNOWN = 0x01
};

/* Highest chunk number, and most pieces */
#define LMS_CHUNK_LAST 0xffffffu
#define LMS_PIECES_MAX 3

static inline void lms_key_piece(struct lms_key *key, uint64_t body_id, uint32_t chunk, unsigned int piece)
{
	lms_key_id_number(key, body_id, chunk << 8 | piece);
}

/* Bytes of the file that a piece takes, given the size of its value in LMDB. */
uint64_t lms_piece_bytes(size_t value_size);

/* Write a chunk of at most LMS_CHUNK_MAX bytes. */
int lms_chunk_put(struct lms_write *write, uint64_t body_id, uint32_t chunk, const void *data, size_t size);
/* Delete it. Returns 1, 0 if there is none, -1. */
int lms_chunk_del(struct lms_write *write, uint64_t body_id, uint32_t chunk);
/* Copy a chunk to buffer, which has room for *size bytes, and set *size to its size; it is damaged if it is larger.
   Returns 1, 0 if there is no such chunk, -1. */
int lms_chunk_get(struct lms_txn *txn, uint64_t body_id, uint32_t chunk, void *buffer, size_t *size);

/* lms-body.c: the same into a buffer of the environment, until the next call. Of chunks other than 0 all is data. */
int lms_body_get(struct lms_txn *txn, uint64_t body_id, uint32_t chunk, struct lms_body_start *start_r);

#endif
