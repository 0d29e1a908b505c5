/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "doveadm-lmdb.h"
#include "doveadm-print.h"
#include "mail-namespace.h"
#include "mail-user.h"
#include "lmdb-doveadm-compat.h"

/*
 * doveadm lmdb index status, check and optimize: the search index of a store.
 */

int doveadm_lmdb_index(struct doveadm_lmdb_context *ctx, struct mailbox_list *list, struct lsi_index **index_r)
{
	*index_r = lmdb_list_search(list);
	if (*index_r != NULL)
		return 1;
	if (!ctx->ctx.iterate_single_user)
		return 0;
	e_error(list->ns->user->event, "The search index is switched off: see lmdb_search");
	doveadm_mail_failed_error(&ctx->ctx, MAIL_ERROR_NOTFOUND);
	return -1;
}

/* Messages, and those among them that aren't indexed */
struct count {
	struct lsi_snapshot *snapshot;
	struct lms_env *env;
	struct lms_error *error;
	uint64_t messages, waiting;
};

static int count_message(const struct lms_message *message, void *context)
{
	struct count *count = context;
	struct lsi_doc doc = lsi_doc_make(message->body_id, message->guid, message->physical_size);

	count->messages++;
	if (lsi_snapshot_find(count->snapshot, &doc) == LSI_MISSING)
		count->waiting++;
	return 0;
}

static int count_folder(const struct lms_folder *folder, void *context)
{
	struct count *count = context;

	return lms_message_scan(count->env, folder->folder_id, 1, (uint32_t)-1, count_message, count, count->error);
}

/* Count the messages of a folder, or, with folder_id 0, of all of them. */
static int count_messages(struct mailbox_list *list, struct lsi_index *index, uint64_t folder_id,
			  struct count *count_r, struct lms_error *error_r)
{
	struct lms_folder folder = { .folder_id = folder_id };
	int ret;

	i_zero(count_r);
	count_r->env = LMDB_LIST(list)->env;
	count_r->error = error_r;
	if (lsi_search_begin(index, &count_r->snapshot, error_r) < 0)
		return -1;
	ret = lms_read_begin(count_r->env, error_r);
	if (ret == 0) {
		ret = folder_id == 0 ? lms_folder_scan(count_r->env, count_folder, count_r, error_r) :
			count_folder(&folder, count_r);
		lms_read_end(count_r->env);
	}
	lsi_search_end(index);
	lsi_snapshot_unref(&count_r->snapshot);
	return ret;
}

void doveadm_lmdb_index_print_headers(void)
{
	static const char *const numbers[] = {
		"messages", "waiting", "documents", "opaque", "gone", "segments", "words", "file", "used", NULL
	};

	doveadm_print_header_simple("store");
	doveadm_lmdb_print_number_headers(numbers);
}

int doveadm_lmdb_index_print(struct doveadm_lmdb_context *ctx, struct mailbox_list *list)
{
	struct lsi_status status;
	struct lsi_index *index;
	struct lms_error error;
	struct count count;
	int ret = doveadm_lmdb_index(ctx, list, &index);

	if (ret <= 0)
		return ret;
	if (count_messages(list, index, 0, &count, &error) < 0 || lsi_get_status(index, &status, &error) < 0)
		return doveadm_lmdb_fail(ctx, list, &error);
	doveadm_print(lms_env_dir(LMDB_LIST(list)->env));
	doveadm_print_num(count.messages);
	doveadm_print_num(count.waiting);
	doveadm_print_num(status.documents);
	doveadm_print_num(status.opaque);
	doveadm_print_num(status.gone);
	doveadm_print_num(status.segments);
	doveadm_print_num(status.words);
	doveadm_print_num(status.file_bytes);
	doveadm_print_num(status.used_bytes);
	return 0;
}

static int print_mailbox(struct doveadm_lmdb_context *ctx, struct mailbox_list *list, const char *vname)
{
	struct lsi_index *index;
	struct lms_error error;
	struct lms_node node;
	struct count count;
	int ret = lmdb_list_lookup(list, mailbox_list_get_storage_name(list, vname), &node);

	if (ret < 0) {
		doveadm_mail_failed_list(&ctx->ctx, list);
		return -1;
	}
	/* deleted meanwhile? */
	if (ret > 0 && node.folder_id != 0)
		ret = doveadm_lmdb_index(ctx, list, &index);
	if (ret <= 0)
		return ret;
	if (count_messages(list, index, node.folder_id, &count, &error) < 0)
		return doveadm_lmdb_fail(ctx, list, &error);
	doveadm_print(vname);
	doveadm_print_num(count.messages);
	doveadm_print_num(count.waiting);
	return 0;
}

static int status(struct doveadm_lmdb_context *ctx, struct mail_user *user)
{
	return ctx->masks == NULL ? doveadm_lmdb_each_store(ctx, user, doveadm_lmdb_index_print) :
		doveadm_lmdb_each_mailbox(ctx, user, ctx->masks, print_mailbox);
}

static void status_init(LMDB_DOVEADM_INIT_PARAMS(_ctx))
{
	static const char *const numbers[] = { "messages", "waiting", NULL };
	struct doveadm_lmdb_context *ctx = DOVEADM_LMDB_CONTEXT(_ctx);

	(void)doveadm_cmd_param_array(_ctx->cctx, "mailbox-mask", &ctx->masks);
	if (ctx->masks == NULL) {
		doveadm_lmdb_index_print_headers();
		return;
	}
	doveadm_print_header_simple("mailbox");
	doveadm_lmdb_print_number_headers(numbers);
}

struct doveadm_mail_cmd_context *doveadm_lmdb_index_status_alloc(void)
{
	struct doveadm_lmdb_context *ctx = doveadm_lmdb_alloc(DOVEADM_PRINT_TYPE_TABLE, status);

	ctx->ctx.v.init = status_init;
	return &ctx->ctx;
}

struct problems {
	struct doveadm_lmdb_context *ctx;
	struct mailbox_list *list;
};

static void print_problem(const char *text, void *context)
{
	struct problems *problems = context;

	doveadm_lmdb_print_problem(problems->ctx, lms_env_dir(LMDB_LIST(problems->list)->env), text);
}

static int check_index(struct doveadm_lmdb_context *ctx, struct mailbox_list *list)
{
	struct problems problems = { ctx, list };
	struct lsi_index *index;
	struct lms_error error;
	int ret = doveadm_lmdb_index(ctx, list, &index);

	if (ret > 0 && lsi_check(index, print_problem, &problems, &error) < 0)
		return doveadm_lmdb_fail(ctx, list, &error);
	return ret < 0 ? -1 : 0;
}

static int check(struct doveadm_lmdb_context *ctx, struct mail_user *user)
{
	return doveadm_lmdb_each_store(ctx, user, check_index);
}

static void check_init(LMDB_DOVEADM_INIT_PARAMS(ctx ATTR_UNUSED))
{
	doveadm_lmdb_print_problem_headers();
}

struct doveadm_mail_cmd_context *doveadm_lmdb_index_check_alloc(void)
{
	struct doveadm_lmdb_context *ctx = doveadm_lmdb_alloc(DOVEADM_PRINT_TYPE_FLOW, check);

	ctx->ctx.v.init = check_init;
	return &ctx->ctx;
}

int doveadm_lmdb_index_maintain(struct doveadm_lmdb_context *ctx, struct mailbox_list *list, struct lsi_index *index)
{
	struct lms_error error;
	int ret;

	do {
		ret = lsi_maintain(index, &error);
	} while (ret > 0 && !doveadm_is_killed());
	if (ret >= 0)
		ret = lsi_sync(index, &error);
	return ret < 0 ? doveadm_lmdb_fail(ctx, list, &error) : 0;
}

static int optimize_index(struct doveadm_lmdb_context *ctx, struct mailbox_list *list)
{
	struct lsi_index *index;
	struct lms_error error;
	int ret = doveadm_lmdb_index(ctx, list, &index);

	if (ret <= 0)
		return ret;
	if (lsi_optimize(index, &error) < 0)
		return doveadm_lmdb_fail(ctx, list, &error);
	return doveadm_lmdb_index_maintain(ctx, list, index) < 0 ? -1 : doveadm_lmdb_index_print(ctx, list);
}

static int optimize(struct doveadm_lmdb_context *ctx, struct mail_user *user)
{
	return doveadm_lmdb_each_store(ctx, user, optimize_index);
}

static void optimize_init(LMDB_DOVEADM_INIT_PARAMS(ctx ATTR_UNUSED))
{
	doveadm_lmdb_index_print_headers();
}

struct doveadm_mail_cmd_context *doveadm_lmdb_index_optimize_alloc(void)
{
	struct doveadm_lmdb_context *ctx = doveadm_lmdb_alloc(DOVEADM_PRINT_TYPE_TABLE, optimize);

	ctx->ctx.v.init = optimize_init;
	return &ctx->ctx;
}
