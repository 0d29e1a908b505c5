/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "doveadm-lmdb.h"
#include "doveadm-print.h"
#include "mkdir-parents.h"
#include "lmdb-doveadm-compat.h"

#include <sys/stat.h>

/*
 * doveadm lmdb backup: a copy of the store that knows that it is one.
 */

/* A user who is named alone gets the directory, each of several users one below it. */
static const char *root_for(const struct doveadm_lmdb_context *ctx, const struct mailbox_list *list)
{
	if (ctx->ctx.iterate_single_user)
		return ctx->destination;
	return t_strconcat(ctx->destination, "/", list->ns->user->username, NULL);
}

static int backup_store(struct doveadm_lmdb_context *ctx, struct mailbox_list *list)
{
	const char *root = root_for(ctx, list), *dir = t_strconcat(root, "/"LMDB_STORE_DIR, NULL);
	struct lms_error error;

	/* public namespaces have a store of their own: name a user of theirs */
	if (list->ns->type != MAIL_NAMESPACE_TYPE_PRIVATE)
		return 0;
	if (mkdir_parents(root, 0700) < 0 && errno != EEXIST) {
		e_error(list->ns->user->event, "mkdir(%s) failed: %m", root);
		doveadm_mail_failed_error(&ctx->ctx, MAIL_ERROR_TEMP);
		return -1;
	}
	if (lms_env_copy(LMDB_LIST(list)->env, dir, &error) < 0)
		return doveadm_lmdb_fail(ctx, list, &error);
	doveadm_print(lms_env_dir(LMDB_LIST(list)->env));
	doveadm_print(dir);
	return 0;
}

static int backup(struct doveadm_lmdb_context *ctx, struct mail_user *user)
{
	return doveadm_lmdb_each_store(ctx, user, backup_store);
}

static void backup_init(LMDB_DOVEADM_INIT_PARAMS(_ctx))
{
	struct doveadm_lmdb_context *ctx = DOVEADM_LMDB_CONTEXT(_ctx);

	if (!doveadm_cmd_param_str(_ctx->cctx, "directory", &ctx->destination))
		doveadm_mail_help_name("lmdb backup");
	if (*ctx->destination != '/')
		i_fatal_status(EX_USAGE, "doveadm lmdb backup needs the full path of a directory");
	doveadm_print_header_simple("store");
	doveadm_print_header_simple("backup");
}

struct doveadm_mail_cmd_context *doveadm_lmdb_backup_alloc(void)
{
	struct doveadm_lmdb_context *ctx = doveadm_lmdb_alloc(DOVEADM_PRINT_TYPE_TABLE, backup);

	ctx->ctx.v.init = backup_init;
	return &ctx->ctx;
}
