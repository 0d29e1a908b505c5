/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_ATTRIBUTE_H
#define LMDB_ATTRIBUTE_H

#include "lmdb-storage.h"

/*
 * Mailbox attributes (RFC 5464 METADATA, URLAUTH keys, those of Sieve and ACL) are in the store. Changes are collected
 * in the mailbox transaction and submitted when it is committed.
 */

struct mailbox_transaction_context *
lmdb_transaction_begin(struct mailbox *box, enum mailbox_transaction_flags flags, const char *reason);
int lmdb_transaction_commit(struct mailbox_transaction_context *t, struct mail_transaction_commit_changes *changes_r);
void lmdb_transaction_rollback(struct mailbox_transaction_context *t);

int lmdb_attribute_set(struct mailbox_transaction_context *t, enum mail_attribute_type type_flags, const char *key,
		       const struct mail_attribute_value *value);
int lmdb_attribute_get(struct mailbox *box, enum mail_attribute_type type_flags, const char *key,
		       struct mail_attribute_value *value_r);
struct mailbox_attribute_iter *
lmdb_attribute_iter_init(struct mailbox *box, enum mail_attribute_type type_flags, const char *prefix);
const char *lmdb_attribute_iter_next(struct mailbox_attribute_iter *iter);
int lmdb_attribute_iter_deinit(struct mailbox_attribute_iter *iter);

#endif
