/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_HEADER_H
#define LMDB_HEADER_H

struct mailbox_header_lookup_ctx;

/*
 * Add the wanted fields of a message's header to dest, and the empty line at its end, as core's parser would. Only
 * ordinary headers are taken on: every line has a name and a colon right after it, and there are neither CRs nor NULs. Returns
 * FALSE if this isn't one, or if data doesn't have all of it.
 */
bool lmdb_header_select(const unsigned char *data, size_t size, const struct mailbox_header_lookup_ctx *wanted,
			string_t *dest);

#endif
