/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "doveadm-lmdb.h"
#include "doveadm-print.h"
#include "mail-search-build.h"
#include "mail-user.h"
#include "lmdb-doveadm-compat.h"
#include "lmdb-search-docs.h"

#include <stdio.h>
#include <unistd.h>

/*
 * doveadm lmdb index rebuild: index what isn't indexed. What is indexed stays, so it goes on where it was interrupted.
 */

/* Messages between two lines of progress */
#define PROGRESS_STEP 100

static bool shows_progress(const struct doveadm_lmdb_context *ctx)
{
	return ctx->ctx.cctx->conn_type == DOVEADM_CONNECTION_TYPE_CLI && (doveadm_verbose || isatty(STDERR_FILENO) > 0);
}

static void show_progress(struct mailbox *box, unsigned int done, unsigned int count)
{
	fprintf(stderr, "\r%s: %u/%u", mailbox_get_vname(box), done, count);
	if (done == count)
		fputc('\n', stderr);
	fflush(stderr);
}

static int fail_mailbox(struct doveadm_lmdb_context *ctx, struct mailbox *box, const char *what)
{
	e_error(box->event, "%s failed: %s", what, mailbox_get_last_internal_error(box, NULL));
	doveadm_mail_failed_mailbox(&ctx->ctx, box);
	return -1;
}

/* Returns -1 after an error, which is the mailbox's. */
static int index_mail(struct mail *mail)
{
	/* through the fts plugin, if it has decoders */
	if (LMDB_LIST(mail->box->list)->fts)
		return mail_precache(mail);
	lmdb_search_add(mail);
	return 0;
}

static int index_mails(struct doveadm_lmdb_context *ctx, struct mailbox *box, struct mail_search_context *search,
		       unsigned int count)
{
	bool progress = shows_progress(ctx) && count > 0;
	unsigned int done = 0;
	struct mail *mail;
	int ret = 0;

	while (ret == 0 && !doveadm_is_killed() && mailbox_search_next(search, &mail)) {
		T_BEGIN {
			ret = index_mail(mail);
		} T_END;
		if (++done % PROGRESS_STEP == 0 && done < count && progress)
			show_progress(box, done, count);
	}
	if (progress)
		show_progress(box, done, count);
	return ret;
}

static int index_uids(struct doveadm_lmdb_context *ctx, struct mailbox *box, const ARRAY_TYPE(seq_range) *uids)
{
	struct mail_search_args *args = mail_search_build_init();
	struct mailbox_transaction_context *trans;
	struct mail_search_context *search;
	struct mail_search_arg *arg;
	int ret = 0;

	arg = mail_search_build_add(args, SEARCH_UIDSET);
	p_array_init(&arg->value.seqset, args->pool, array_count(uids));
	array_append_array(&arg->value.seqset, uids);
	trans = mailbox_transaction_begin(box, MAILBOX_TRANSACTION_FLAG_NO_CACHE_DEC | ctx->ctx.transaction_flags,
					  __func__);
	search = mailbox_search_init(trans, args, NULL, 0, NULL);
	mail_search_args_unref(&args);
	if (index_mails(ctx, box, search, seq_range_count(uids)) < 0)
		ret = fail_mailbox(ctx, box, "Indexing");
	if (mailbox_search_deinit(&search) < 0)
		ret = fail_mailbox(ctx, box, "Reading messages");
	if (mailbox_transaction_commit(&trans) < 0)
		ret = fail_mailbox(ctx, box, "Reading messages");
	return ret;
}

static int index_open_mailbox(struct doveadm_lmdb_context *ctx, struct mailbox *box)
{
	struct lmdb_mailbox *mbox = LMDB_MAILBOX(box);
	ARRAY_TYPE(seq_range) uids;
	int ret = 0;

	if (lmdb_search_prepare(mbox, TRUE)) {
		t_array_init(&uids, 64);
		lmdb_search_get_missing(mbox, &uids);
		if (array_count(&uids) > 0)
			ret = index_uids(ctx, box, &uids);
		lmdb_search_flush(mbox);
	}
	if (lmdb_search_has_failed(mbox)) {
		/* it is logged */
		doveadm_mail_failed_error(&ctx->ctx, MAIL_ERROR_TEMP);
		ret = -1;
	}
	return ret;
}

static int index_mailbox(struct doveadm_lmdb_context *ctx, struct mailbox_list *list, const char *vname)
{
	struct mailbox *box = mailbox_alloc(list, vname, MAILBOX_FLAG_IGNORE_ACLS);
	int ret;

	if (mailbox_sync(box, MAILBOX_SYNC_FLAG_FULL_READ) < 0)
		ret = fail_mailbox(ctx, box, "Opening the mailbox");
	else
		ret = index_open_mailbox(ctx, box);
	mailbox_free(&box);
	return ret;
}

static int remove_index(struct doveadm_lmdb_context *ctx, struct mailbox_list *list)
{
	struct lsi_index *index;
	struct lms_error error;
	int ret = doveadm_lmdb_index(ctx, list, &index);

	if (ret > 0 && lsi_remove(index, &error) < 0)
		return doveadm_lmdb_fail(ctx, list, &error);
	return ret < 0 ? -1 : 0;
}

static int finish_index(struct doveadm_lmdb_context *ctx, struct mailbox_list *list)
{
	struct lsi_index *index;
	int ret = doveadm_lmdb_index(ctx, list, &index);

	if (ret > 0)
		ret = doveadm_lmdb_index_maintain(ctx, list, index) < 0 ? -1 : doveadm_lmdb_index_print(ctx, list);
	return ret;
}

static int rebuild(struct doveadm_lmdb_context *ctx, struct mail_user *user)
{
	int ret = 0;

	if (ctx->force && doveadm_lmdb_each_store(ctx, user, remove_index) < 0)
		return -1;
	if (doveadm_lmdb_each_mailbox(ctx, user, NULL, index_mailbox) < 0)
		ret = -1;
	if (doveadm_lmdb_each_store(ctx, user, finish_index) < 0)
		ret = -1;
	if (doveadm_is_killed()) {
		e_error(user->event, "Interrupted: the same command without -f goes on from here");
		doveadm_mail_failed_error(&ctx->ctx, MAIL_ERROR_TEMP);
		ret = -1;
	}
	return ret;
}

static void rebuild_init(LMDB_DOVEADM_INIT_PARAMS(_ctx))
{
	struct doveadm_lmdb_context *ctx = DOVEADM_LMDB_CONTEXT(_ctx);

	(void)doveadm_cmd_param_bool(_ctx->cctx, "force", &ctx->force);
	doveadm_lmdb_index_print_headers();
}

struct doveadm_mail_cmd_context *doveadm_lmdb_index_rebuild_alloc(void)
{
	struct doveadm_lmdb_context *ctx = doveadm_lmdb_alloc(DOVEADM_PRINT_TYPE_TABLE, rebuild);

	ctx->ctx.v.init = rebuild_init;
	return &ctx->ctx;
}
