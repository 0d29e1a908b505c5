/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef TEST_RAW_H
#define TEST_RAW_H

#include "lms-txn.h"

/* Change records of the store in the test's directory past the store, while it is closed: with right checksums, so
   that only what the records say is wrong. */
void raw_put(enum lms_db db, const struct lms_key *key, const uint8_t head[LMS_RECORD_HEAD],
	     const struct lms_buffer *buf);
void raw_del(enum lms_db db, const struct lms_key *key);
/* Have LMDB take pages at the end of the file and give them back in one transaction, so that it doesn't write them.
   Returns the size that LMDB says that the file has. */
uint64_t raw_shorten(void);
/* Read a record into *buf. */
bool raw_get(enum lms_db db, const struct lms_key *key, uint8_t head_r[LMS_RECORD_HEAD], struct lms_buffer *buf);
/* Call for every record of every database of the store. */
typedef void raw_callback(enum lms_db db, const void *key, size_t key_size, const void *value, size_t value_size,
			  void *context);
void raw_walk(raw_callback *callback, void *context);

#endif
