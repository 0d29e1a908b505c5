/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "mail-search.h"
#include "lmdb-compat.h"
#include "lmdb-mail.h"
#include "lmdb-search-args.h"
#include "lmdb-search-docs.h"
#include "lmdb-search.h"

/*
 * SEARCH. Each argument about text is looked up in the index once, before the first message. For each message the
 * results that the index knows are then put into the arguments, as core itself does for flags: 1 and 0 where it is sure.
 * An argument without result (the index can only narrow it down, or doesn't have the message) is decided by core, which
 * reads the message. So the answer is always the one that core's search gives.
 *
 * What core has to read that isn't indexed is added to the index on the way.
 */

struct lmdb_search_context {
	union mail_search_module_context module_ctx;
	struct lmdb_mailbox *mbox;
	/* NULL if they aren't looked up yet, or can't be */
	struct lmdb_search_args *args;
	bool looked_up;
	/* the search reads bodies, so that it pays to add them to the index */
	bool have_body;
	unsigned int hint;
	/* of the current message */
	const struct lmdb_search_doc *doc;
};

#define LMDB_SEARCH_CONTEXT(obj) MODULE_CONTEXT(obj, lmdb_search_module)
static MODULE_CONTEXT_DEFINE_INIT(lmdb_search_module, &mail_storage_module_register);

struct mail_search_context *
lmdb_search_init(struct mailbox_transaction_context *t, struct mail_search_args *args,
		 const enum mail_sort_type *sort_program, enum mail_fetch_field wanted_fields,
		 struct mailbox_header_lookup_ctx *wanted_headers)
{
	struct mail_search_context *search_ctx =
		index_storage_search_init(t, args, sort_program, wanted_fields, wanted_headers);
	struct lmdb_mailbox *mbox = LMDB_MAILBOX(t->box);
	struct lmdb_search_context *ctx;

	if (!lmdb_search_args_have_text(args->args) || lmdb_search_index(mbox) == NULL)
		return search_ctx;
	ctx = i_new(struct lmdb_search_context, 1);
	ctx->mbox = mbox;
	ctx->have_body = lmdb_search_args_have_body(args->args);
	/* prefetching is for mail in files, and would delay decisions */
	search_ctx->max_mails = 1;
	MODULE_CONTEXT_SET(search_ctx, lmdb_search_module, ctx);
	return search_ctx;
}

int lmdb_search_deinit(struct mail_search_context *search_ctx)
{
	struct lmdb_search_context *ctx = LMDB_SEARCH_CONTEXT(search_ctx);

	if (ctx != NULL) {
		lmdb_search_args_free(&ctx->args);
		i_free(ctx);
	}
	lmdb_search_flush(LMDB_MAILBOX(search_ctx->transaction->box));
	return index_storage_search_deinit(search_ctx);
}

static void set_result(struct mail_search_arg *arg, struct lmdb_search_context *ctx)
{
	int ret = lmdb_search_args_match(ctx->args, arg, ctx->doc->position);

	if (ret >= 0)
		ARG_SET_RESULT(arg, ret);
}

/* As mail_search_args_foreach(), but it leaves alone what results from several arguments. */
static void set_results(struct mail_search_arg *args, struct lmdb_search_context *ctx)
{
	for (; args != NULL; args = args->next) {
		if (args->type == SEARCH_OR || args->type == SEARCH_SUB)
			set_results(args->value.subargs, ctx);
		else if (args->result == -1)
			set_result(args, ctx);
	}
}

/* A plugin that stands before us (fts) may know better what an argument's result is, unless it is our own. */
static bool is_last_word(const struct lmdb_mailbox *mbox)
{
	return mbox->box.v.search_next_update_seq == lmdb_search_next_update_seq || LMDB_LIST(mbox->box.list)->fts;
}

/* Put in what the index knows about the message. Returns FALSE if that makes it not match. */
static bool may_match(struct mail_search_context *search_ctx, struct lmdb_search_context *ctx)
{
	struct mail_search_arg *args = search_ctx->args->args;
	uint32_t uid;

	mail_index_lookup_uid(search_ctx->transaction->view, search_ctx->seq, &uid);
	ctx->doc = lmdb_search_doc(ctx->mbox, uid, &ctx->hint);
	if (ctx->doc == NULL)
		return TRUE;
	if (is_last_word(ctx->mbox))
		return mail_search_args_foreach(args, set_result, ctx) != 0;
	set_results(args, ctx);
	return TRUE;
}

bool lmdb_search_next_update_seq(struct mail_search_context *search_ctx)
{
	struct lmdb_search_context *ctx = LMDB_SEARCH_CONTEXT(search_ctx);

	if (ctx != NULL && !ctx->looked_up) {
		/* not earlier, because fts may have had something indexed meanwhile */
		ctx->args = lmdb_search_args_lookup(ctx->mbox, search_ctx->args->args, TRUE);
		ctx->looked_up = TRUE;
	}
	while (index_storage_search_next_update_seq(search_ctx)) {
		if (ctx == NULL || ctx->args == NULL || may_match(search_ctx, ctx))
			return TRUE;
		mail_search_args_reset(search_ctx->args->args, FALSE);
	}
	return FALSE;
}

int lmdb_search_next_match_mail(struct mail_search_context *search_ctx, struct mail *mail)
{
	struct lmdb_search_context *ctx = LMDB_SEARCH_CONTEXT(search_ctx);
	int ret = index_storage_search_next_match_mail(search_ctx, mail);

	if (ctx != NULL && ctx->have_body && LMDB_MAIL(mail)->imail.data.stream != NULL)
		lmdb_search_add(mail);
	return ret;
}
