/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_BODY_ISTREAM_H
#define LMDB_BODY_ISTREAM_H

struct lms_body_start;
struct lms_env;

/* A seekable stream of a body's bytes. It reads a chunk at a time, each in a read transaction of its own, so that a
   client that stops reading holds nothing. If the body is freed meanwhile, reading fails with ENOENT. start, if it was
   read already, saves reading it again; it is copied. */
struct istream *lmdb_body_istream_create(struct lms_env *env, uint64_t body_id, uint64_t size,
					 const struct lms_body_start *start);

#endif
