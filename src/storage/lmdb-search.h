/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_SEARCH_H
#define LMDB_SEARCH_H

#include "lmdb-storage.h"

/* mailbox_vfuncs: core's search, with what the search index knows about text put in beforehand. */
struct mail_search_context *
lmdb_search_init(struct mailbox_transaction_context *t, struct mail_search_args *args,
		 const enum mail_sort_type *sort_program, enum mail_fetch_field wanted_fields,
		 struct mailbox_header_lookup_ctx *wanted_headers);
int lmdb_search_deinit(struct mail_search_context *ctx);
bool lmdb_search_next_update_seq(struct mail_search_context *ctx);
int lmdb_search_next_match_mail(struct mail_search_context *ctx, struct mail *mail);

#endif
