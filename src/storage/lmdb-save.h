/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_SAVE_H
#define LMDB_SAVE_H

#include "lmdb-storage.h"
#include "lmdb-spool.h"
#include "lms-message.h"

/*
 * Saving and copying: all messages of a mailbox transaction become one request to the store, which gives them their
 * UIDs. The index isn't locked: until the commit the messages are appended to the index transaction, for plugins to
 * see them; then they are taken out of it again, and the view pulls them from the store with its next sync.
 */
struct lmdb_save_context {
	struct mail_save_context ctx;
	struct lmdb_mailbox *mbox;
	struct mail_index_transaction *trans;

	/* of what the messages point to */
	pool_t pool;
	ARRAY(struct lms_save_message) messages;
	/* NULL for a copied message */
	ARRAY(struct lmdb_spool *) spools;
	/* in the index transaction, of each message */
	ARRAY_TYPE(uint32_t) seqs;
	ARRAY_TYPE(const_string) keyword_names;
	/* of each message, once they are saved */
	uint32_t *uids;
	/* of spools[], kept in memory */
	size_t memory;

	/* the message that is being saved */
	struct lmdb_spool *spool;
	struct ostream *spool_output;
	struct istream *input;
	uint32_t seq;
	/* of the mailbox, as it was before */
	bool cache_disabled;
	bool failed, finished;
};

#define LMDB_SAVECTX(s) (container_of(s, struct lmdb_save_context, ctx))

struct mail_save_context *lmdb_save_alloc(struct mailbox_transaction_context *t);
int lmdb_save_begin(struct mail_save_context *ctx, struct istream *input);
int lmdb_save_continue(struct mail_save_context *ctx);
int lmdb_save_finish(struct mail_save_context *ctx);
void lmdb_save_cancel(struct mail_save_context *ctx);
int lmdb_save_commit_pre(struct mail_save_context *ctx);
void lmdb_save_commit_post(struct mail_save_context *ctx, struct mail_index_transaction_commit_result *result);
void lmdb_save_rollback(struct mail_save_context *ctx);

/* Append the message of ctx->data to the index transaction, for dest_mail. */
void lmdb_save_append(struct lmdb_save_context *ctx);
/* Add the message to the request: flags, keywords, UID and what else ctx->data says are set here. spool, or NULL for a
   copy, belongs to the context then. */
void lmdb_save_add(struct lmdb_save_context *ctx, struct lms_save_message *message, struct lmdb_spool *spool);
/* Keywords of the message that is being saved, and their change, as core does when it has parsed the message
   (mail_attachment_detection_options). The index transaction doesn't have them. */
const char *const *lmdb_save_get_keywords(struct mail *mail, pool_t pool);
void lmdb_save_update_keywords(struct mail *mail, enum modify_type modify_type, struct mail_keywords *keywords);
/* The body of a message of this transaction that isn't committed yet. */
struct istream *lmdb_save_open_body(struct mail *mail);

#endif
