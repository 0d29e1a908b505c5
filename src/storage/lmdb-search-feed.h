/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_SEARCH_FEED_H
#define LMDB_SEARCH_FEED_H

#include "mail-storage.h"
#include "lsi.h"

/* Read a message and add its text to the document that the batch has begun. Returns 0, or -1 if it can't be read. */
int lmdb_search_feed(struct mail *mail, struct lsi_batch *batch);
/* The same with the bytes of a message of this user. */
int lmdb_search_feed_stream(struct mail_user *user, struct istream *input, struct lsi_batch *batch);

#endif
