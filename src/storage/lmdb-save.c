/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "ioloop.h"
#include "istream.h"
#include "istream-crlf.h"
#include "ostream.h"
#include "str.h"
#include "index-mail.h"
#include "lmdb-compat.h"
#include "lmdb-error.h"
#include "lmdb-ready.h"
#include "lmdb-save.h"
#include "lmdb-search-new.h"

struct mail_save_context *lmdb_save_alloc(struct mailbox_transaction_context *t)
{
	struct lmdb_save_context *ctx;

	i_assert((t->flags & MAILBOX_TRANSACTION_FLAG_EXTERNAL) != 0);

	if (t->save_ctx == NULL) {
		ctx = i_new(struct lmdb_save_context, 1);
		ctx->ctx.transaction = t;
		ctx->mbox = LMDB_MAILBOX(t->box);
		ctx->trans = t->itrans;
		ctx->pool = pool_alloconly_create(MEMPOOL_GROWING"lmdb save", 1024);
		i_array_init(&ctx->messages, 8);
		i_array_init(&ctx->spools, 8);
		i_array_init(&ctx->seqs, 8);
		i_array_init(&ctx->keyword_names, 8);
		t->save_ctx = &ctx->ctx;
	}
	ctx = LMDB_SAVECTX(t->save_ctx);
	ctx->failed = FALSE;
	ctx->finished = FALSE;
	return &ctx->ctx;
}

static void save_free(struct lmdb_save_context *ctx, bool saved)
{
	struct lmdb_spool **spool;

	array_foreach_modifiable(&ctx->spools, spool) {
		if (*spool != NULL)
			lmdb_spool_deinit(spool, saved);
	}
	array_free(&ctx->messages);
	array_free(&ctx->spools);
	array_free(&ctx->seqs);
	array_free(&ctx->keyword_names);
	pool_unref(&ctx->pool);
	i_free(ctx);
}

void lmdb_save_append(struct lmdb_save_context *ctx)
{
	/* not the keywords: creating them in the transaction would have it written although nothing is left in it */
	mail_index_append(ctx->trans, 0, &ctx->seq);
	mail_index_update_flags(ctx->trans, ctx->seq, MODIFY_REPLACE,
				ctx->ctx.data.flags & ENUM_NEGATE(MAIL_RECENT));
	mail_set_seq_saving(ctx->ctx.dest_mail, ctx->seq);
}

int lmdb_save_begin(struct mail_save_context *_ctx, struct istream *input)
{
	struct lmdb_save_context *ctx = LMDB_SAVECTX(_ctx);
	struct mail_save_data *mdata = &_ctx->data;
	struct index_mail *imail = INDEX_MAIL(_ctx->dest_mail);
	struct istream *crlf_input;

	lmdb_save_append(ctx);
	if (_ctx->transaction->box->storage->set->mail_save_crlf)
		crlf_input = i_stream_create_crlf(input);
	else
		crlf_input = i_stream_create_lf(input);
	/* what is found goes to the store; of a message that isn't in the index nothing can be cached there */
	ctx->cache_disabled = ctx->mbox->box.mail_cache_disabled;
	ctx->mbox->box.mail_cache_disabled = TRUE;
	imail->data.save_envelope = TRUE;
	ctx->input = index_mail_cache_parse_init(_ctx->dest_mail, crlf_input);
	i_stream_unref(&crlf_input);

	ctx->spool = lmdb_spool_init(ctx->mbox);
	ctx->spool_output = lmdb_spool_ostream_create(ctx->spool);
	mdata->output = ctx->spool_output;
	if (mdata->received_date == (time_t)-1)
		mdata->received_date = ioloop_time;
	return 0;
}

int lmdb_save_continue(struct mail_save_context *_ctx)
{
	struct lmdb_save_context *ctx = LMDB_SAVECTX(_ctx);

	if (ctx->failed)
		return -1;
	if (index_storage_save_continue(_ctx, ctx->input, _ctx->dest_mail) < 0) {
		if (ctx->spool->error.code != LMS_OK)
			lmdb_mailbox_set_error(&ctx->mbox->box, &ctx->spool->error);
		ctx->failed = TRUE;
		return -1;
	}
	return 0;
}

/* Plugins may have put streams of their own before ours, which have a trailer to write. */
static int finish_output(struct lmdb_save_context *ctx)
{
	struct mail_save_data *mdata = &ctx->ctx.data;
	int ret = o_stream_finish(mdata->output);

	if (ret < 0 && !ctx->failed) {
		if (ctx->spool->error.code != LMS_OK)
			lmdb_mailbox_set_error(&ctx->mbox->box, &ctx->spool->error);
		else {
			mail_set_critical(ctx->ctx.dest_mail, "write(%s) failed: %s",
					  o_stream_get_name(mdata->output), o_stream_get_error(mdata->output));
		}
	}
	if (mdata->output != ctx->spool_output) {
		o_stream_ref(ctx->spool_output);
		o_stream_destroy(&mdata->output);
	}
	o_stream_destroy(&ctx->spool_output);
	mdata->output = NULL;
	return ret;
}

static bool has_keyword(const struct mail_keywords *keywords, unsigned int idx)
{
	for (unsigned int i = 0; i < keywords->count; i++) {
		if (keywords->idx[i] == idx)
			return TRUE;
	}
	return FALSE;
}

const char *const *lmdb_save_get_keywords(struct mail *mail, pool_t pool)
{
	const struct mail_keywords *keywords = mail->transaction->save_ctx->data.keywords;
	const ARRAY_TYPE(keywords) *names;
	const char **found;

	if (keywords == NULL)
		return p_new(pool, const char *, 1);
	names = mail_index_get_keywords(keywords->index);
	found = p_new(pool, const char *, keywords->count + 1);
	for (unsigned int i = 0; i < keywords->count; i++)
		found[i] = array_idx_elem(names, keywords->idx[i]);
	return found;
}

void lmdb_save_update_keywords(struct mail *mail, enum modify_type modify_type, struct mail_keywords *keywords)
{
	struct mail_save_data *mdata = &mail->transaction->save_ctx->data;
	struct mail_keywords *old = mdata->keywords;
	ARRAY_TYPE(keyword_indexes) indexes;

	t_array_init(&indexes, 8);
	if (old != NULL && modify_type != MODIFY_REPLACE) {
		for (unsigned int i = 0; i < old->count; i++) {
			if (!has_keyword(keywords, old->idx[i]))
				array_push_back(&indexes, &old->idx[i]);
		}
	}
	if (modify_type != MODIFY_REMOVE)
		array_append(&indexes, keywords->idx, keywords->count);
	mdata->keywords = mail_index_keywords_create_from_indexes(keywords->index, &indexes);
	if (old != NULL)
		mailbox_keywords_unref(&old);
}

static uint16_t keyword_name_index(struct lmdb_save_context *ctx, const char *name)
{
	const char *const *names;
	unsigned int i, count;

	names = array_get(&ctx->keyword_names, &count);
	for (i = 0; i < count; i++) {
		if (strcasecmp(names[i], name) == 0)
			return i;
	}
	name = p_strdup(ctx->pool, name);
	array_push_back(&ctx->keyword_names, &name);
	return count;
}

static void add_keywords(struct lmdb_save_context *ctx, const struct mail_keywords *keywords,
			 struct lms_save_message *message)
{
	const ARRAY_TYPE(keywords) *names = mail_index_get_keywords(keywords->index);
	uint16_t *indexes = p_new(ctx->pool, uint16_t, keywords->count);

	for (unsigned int i = 0; i < keywords->count; i++)
		indexes[i] = keyword_name_index(ctx, array_idx_elem(names, keywords->idx[i]));
	message->keywords = indexes;
	message->keyword_count = keywords->count;
}

void lmdb_save_add(struct lmdb_save_context *ctx, struct lms_save_message *message, struct lmdb_spool *spool)
{
	const struct mail_save_data *mdata = &ctx->ctx.data;

	message->uid = mdata->uid;
	message->flags = mdata->flags & MAIL_FLAGS_NONRECENT;
	if (mdata->keywords != NULL && mdata->keywords->count > 0)
		add_keywords(ctx, mdata->keywords, message);
	message->saved = mdata->save_date != (time_t)-1 ? mdata->save_date : ioloop_time;
	message->guid = p_strdup(ctx->pool, mdata->guid);
	message->pop3_uidl = p_strdup(ctx->pool, mdata->pop3_uidl);
	message->pop3_order = mdata->pop3_order;
	message->min_modseq = mdata->min_modseq;
	array_push_back(&ctx->messages, message);
	array_push_back(&ctx->spools, &spool);
	array_push_back(&ctx->seqs, &ctx->seq);
}

/* Stage what is in memory if it is too much. */
static int limit_memory(struct lmdb_save_context *ctx)
{
	ARRAY(struct lmdb_spool *) spools;
	struct lmdb_spool *spool;
	struct lms_error error;
	int ret;

	if (ctx->memory <= LMDB_SPOOL_MAX_MEMORY)
		return 0;
	t_array_init(&spools, array_count(&ctx->spools));
	array_foreach_elem(&ctx->spools, spool) {
		if (spool != NULL && (spool->buf->used > 0 || spool->ready->used > 0))
			array_push_back(&spools, &spool);
	}
	ret = lmdb_spool_stage(array_front(&spools), array_count(&spools), &error);
	if (ret < 0)
		lmdb_mailbox_set_error(&ctx->mbox->box, &error);
	else
		ctx->memory = 0;
	return ret;
}

static int add_saved(struct lmdb_save_context *ctx)
{
	struct lms_save_message message = { .source = LMS_SAVE_DATA };
	uoff_t virtual_size;

	if (mail_get_virtual_size(ctx->ctx.dest_mail, &virtual_size) < 0)
		return -1;
	message.received = ctx->ctx.data.received_date;
	/* a plugin may have changed what is stored: these are the sizes of what was given */
	message.physical_size = ctx->input->v_offset;
	message.virtual_size = virtual_size;
	lmdb_ready_encode(ctx->ctx.dest_mail, ctx->spool->ready);
	lmdb_save_add(ctx, &message, ctx->spool);
	ctx->memory += ctx->spool->buf->used + ctx->spool->ready->used;
	ctx->spool = NULL;
	return limit_memory(ctx);
}

static void save_finish(struct lmdb_save_context *ctx)
{
	struct mail_save_context *_ctx = &ctx->ctx;

	if (finish_output(ctx) < 0)
		ctx->failed = TRUE;
	index_mail_cache_parse_deinit(_ctx->dest_mail, _ctx->data.received_date, !ctx->failed);
	ctx->mbox->box.mail_cache_disabled = ctx->cache_disabled;
	if (!ctx->failed && add_saved(ctx) < 0)
		ctx->failed = TRUE;
	if (ctx->spool != NULL) {
		index_storage_save_abort_last(_ctx, ctx->seq);
		lmdb_spool_deinit(&ctx->spool, FALSE);
	}
	i_stream_unref(&ctx->input);
}

int lmdb_save_finish(struct mail_save_context *_ctx)
{
	struct lmdb_save_context *ctx = LMDB_SAVECTX(_ctx);

	ctx->finished = TRUE;
	if (ctx->spool != NULL)
		save_finish(ctx);
	index_save_context_free(_ctx);
	return ctx->failed ? -1 : 0;
}

void lmdb_save_cancel(struct mail_save_context *_ctx)
{
	LMDB_SAVECTX(_ctx)->failed = TRUE;
	(void)lmdb_save_finish(_ctx);
}

struct istream *lmdb_save_open_body(struct mail *mail)
{
	struct lmdb_save_context *ctx = LMDB_SAVECTX(mail->transaction->save_ctx);
	const uint32_t *seqs;
	unsigned int i, count;

	seqs = array_get(&ctx->seqs, &count);
	for (i = count; i > 0 && seqs[i-1] != mail->seq; ) i--;
	i_assert(i > 0);
	return lmdb_spool_open(array_idx_elem(&ctx->spools, i - 1));
}

/* Point the messages to their bodies, which may have moved from memory to the store. */
static void set_bodies(struct lmdb_save_context *ctx)
{
	struct lms_save_message *messages = array_front_modifiable(&ctx->messages);
	struct lmdb_spool *const *spools;
	unsigned int i, count;

	spools = array_get(&ctx->spools, &count);
	for (i = 0; i < count; i++) {
		if (spools[i] == NULL)
			continue;
		if (spools[i]->body_id != 0) {
			messages[i].source = LMS_SAVE_STAGED;
			messages[i].body_id = spools[i]->body_id;
		} else {
			messages[i].data = spools[i]->buf->data;
			messages[i].size = spools[i]->buf->used;
			messages[i].ready = spools[i]->ready->data;
			messages[i].ready_size = spools[i]->ready->used;
		}
	}
}

/* The end of a body that was staged while it arrived. */
static int stage_rests(struct lmdb_save_context *ctx)
{
	ARRAY(struct lmdb_spool *) spools;
	struct lmdb_spool *spool;
	struct lms_error error;

	t_array_init(&spools, 8);
	array_foreach_elem(&ctx->spools, spool) {
		if (spool != NULL && spool->body_id != 0 && (spool->buf->used > 0 || spool->ready->used > 0))
			array_push_back(&spools, &spool);
	}
	if (array_count(&spools) == 0 ||
	    lmdb_spool_stage(array_front(&spools), array_count(&spools), &error) == 0)
		return 0;
	lmdb_mailbox_set_error(&ctx->mbox->box, &error);
	return -1;
}

static void set_submit_error(struct lmdb_save_context *ctx, const struct lms_error *error)
{
	struct mailbox *box = &ctx->mbox->box;
	const struct lms_save_message *message;
	struct lms_folder folder;

	if (error->code == LMS_NOTFOUND && lmdb_mailbox_get_folder(ctx->mbox, &folder) == 0) {
		array_foreach(&ctx->messages, message) {
			if (message->source != LMS_SAVE_COPY && message->source != LMS_SAVE_MOVE)
				continue;
			mail_storage_set_error(box->storage, MAIL_ERROR_EXPUNGED,
					       "Some of the messages no longer exist.");
			return;
		}
	}
	lmdb_mailbox_set_error(box, error);
}

static int submit(struct lmdb_save_context *ctx)
{
	struct mailbox_transaction_context *t = ctx->ctx.transaction;
	unsigned int count = array_count(&ctx->messages);
	uint32_t *uids = p_new(ctx->pool, uint32_t, count);
	struct lms_request request = {
		.op = LMS_OP_SAVE,
		.u.save = {
			.folder_id = ctx->mbox->folder_id,
			.keyword_names = array_count(&ctx->keyword_names) == 0 ? NULL :
				array_front(&ctx->keyword_names),
			.keyword_name_count = array_count(&ctx->keyword_names),
			.messages = array_front(&ctx->messages),
			.message_count = count,
			.uids_r = uids,
		},
	};
	struct lms_reply reply;
	struct lms_error error;

	if (lmdb_list_submit(t->box->list, &request, &reply, &error) < 0) {
		set_submit_error(ctx, &error);
		return -1;
	}
	for (unsigned int i = 0; i < count; i++)
		seq_range_array_add(&t->changes->saved_uids, uids[i]);
	t->changes->uid_validity = reply.folder.uidvalidity;
	ctx->uids = uids;
	return 0;
}

/* The view gets the messages from the store: take them out of the index transaction, the last first, as it wants. */
static void drop_appends(struct lmdb_save_context *ctx)
{
	const uint32_t *seqs;
	unsigned int i;

	seqs = array_get(&ctx->seqs, &i);
	while (i > 0)
		mail_index_expunge(ctx->trans, seqs[--i]);
	mail_cache_transaction_reset(ctx->ctx.transaction->cache_trans);
}

int lmdb_save_commit_pre(struct mail_save_context *_ctx)
{
	struct lmdb_save_context *ctx = LMDB_SAVECTX(_ctx);
	int ret;

	i_assert(ctx->finished);

	if (array_count(&ctx->messages) == 0)
		return 0;
	ret = stage_rests(ctx);
	if (ret == 0) {
		set_bodies(ctx);
		ret = submit(ctx);
	}
	if (ret < 0) {
		lmdb_save_rollback(_ctx);
		return -1;
	}
	drop_appends(ctx);
	return 0;
}

void lmdb_save_commit_post(struct mail_save_context *_ctx,
			   struct mail_index_transaction_commit_result *result ATTR_UNUSED)
{
	struct lmdb_save_context *ctx = LMDB_SAVECTX(_ctx);
	struct lmdb_spool *const *spools;
	unsigned int count;

	_ctx->transaction = NULL; /* it is freed already */
	spools = array_get(&ctx->spools, &count);
	if (ctx->uids != NULL) T_BEGIN {
		lmdb_search_saved(ctx->mbox, ctx->uids, spools, count);
	} T_END;
	save_free(ctx, TRUE);
}

void lmdb_save_rollback(struct mail_save_context *_ctx)
{
	struct lmdb_save_context *ctx = LMDB_SAVECTX(_ctx);

	if (!ctx->finished)
		lmdb_save_cancel(_ctx);
	save_free(ctx, FALSE);
}
