/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "doveadm-lmdb.h"
#include "doveadm-print.h"
#include "lmdb-doveadm-compat.h"
#include "lms-check.h"

/*
 * doveadm lmdb status and check: the store itself.
 */

struct totals {
	uint64_t folders, messages, bytes;
};

static int add_folder(const struct lms_folder *folder, void *context)
{
	struct totals *totals = context;

	totals->folders++;
	totals->messages += folder->messages;
	totals->bytes += folder->physical_size;
	return 0;
}

static int print_status(struct doveadm_lmdb_context *ctx, struct mailbox_list *list)
{
	struct lms_env *env = LMDB_LIST(list)->env;
	struct lms_env_usage usage;
	struct totals totals;
	struct lms_error error;

	i_zero(&totals);
	if (lms_env_get_usage(env, &usage, &error) < 0 || lms_folder_scan(env, add_folder, &totals, &error) < 0)
		return doveadm_lmdb_fail(ctx, list, &error);
	doveadm_print(lms_env_dir(env));
	doveadm_print_num(totals.folders);
	doveadm_print_num(totals.messages);
	doveadm_print_num(totals.bytes);
	doveadm_print_num(usage.file_bytes);
	doveadm_print_num(usage.used_bytes);
	doveadm_print_num(usage.smallest_limit);
	return 0;
}

static int status(struct doveadm_lmdb_context *ctx, struct mail_user *user)
{
	return doveadm_lmdb_each_store(ctx, user, print_status);
}

static void status_init(LMDB_DOVEADM_INIT_PARAMS(ctx ATTR_UNUSED))
{
	static const char *const numbers[] = { "folders", "messages", "mail", "file", "used", "limit", NULL };

	doveadm_print_header_simple("store");
	doveadm_lmdb_print_number_headers(numbers);
}

struct doveadm_mail_cmd_context *doveadm_lmdb_status_alloc(void)
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

static int check_store(struct doveadm_lmdb_context *ctx, struct mailbox_list *list)
{
	struct problems problems = { ctx, list };
	struct lms_error error;

	if (lms_check(LMDB_LIST(list)->env, print_problem, &problems, &error) < 0)
		return doveadm_lmdb_fail(ctx, list, &error);
	return 0;
}

static int check(struct doveadm_lmdb_context *ctx, struct mail_user *user)
{
	return doveadm_lmdb_each_store(ctx, user, check_store);
}

static void check_init(LMDB_DOVEADM_INIT_PARAMS(ctx ATTR_UNUSED))
{
	doveadm_lmdb_print_problem_headers();
}

struct doveadm_mail_cmd_context *doveadm_lmdb_check_alloc(void)
{
	struct doveadm_lmdb_context *ctx = doveadm_lmdb_alloc(DOVEADM_PRINT_TYPE_FLOW, check);

	ctx->ctx.v.init = check_init;
	return &ctx->ctx;
}
