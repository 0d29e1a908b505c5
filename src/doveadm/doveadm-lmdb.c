/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "doveadm-lmdb.h"
#include "doveadm-print.h"
#include "mail-namespace.h"
#include "mail-user.h"
#include "mailbox-list-iter.h"
#include "lmdb-compat.h"
#include "lmdb-doveadm-compat.h"

extern const char *doveadm_lmdb_plugin_version;
void doveadm_lmdb_plugin_init(struct module *module);
void doveadm_lmdb_plugin_deinit(void);

const char *doveadm_lmdb_plugin_version = DOVECOT_ABI_VERSION;

static bool wants_list(struct doveadm_lmdb_context *ctx, const struct mailbox_list *list)
{
	enum mail_namespace_type type = list->ns->type;

	return strcmp(list->name, LMDB_DRIVER_NAME) == 0 && list->ns->alias_for == NULL &&
		(type == MAIL_NAMESPACE_TYPE_PRIVATE ||
		 (type == MAIL_NAMESPACE_TYPE_PUBLIC && ctx->ctx.iterate_single_user));
}

/* Has one of the namespaces before ns the same store? */
static bool is_met_again(struct doveadm_lmdb_context *ctx, const struct mail_namespace *ns, const struct lms_env *env)
{
	const struct mail_namespace *before;

	for (before = ns->user->namespaces; before != ns; before = before->next) {
		if (wants_list(ctx, before->list) && LMDB_LIST(before->list)->env == env)
			return TRUE;
	}
	return FALSE;
}

int doveadm_lmdb_each_store(struct doveadm_lmdb_context *ctx, struct mail_user *user, doveadm_lmdb_store_func *func)
{
	struct mail_namespace *ns;
	struct lms_env *env;
	int ret = 0;

	for (ns = user->namespaces; ns != NULL; ns = ns->next) {
		if (!wants_list(ctx, ns->list))
			continue;
		env = lmdb_list_env(ns->list);
		if (env == NULL) {
			/* it is logged */
			doveadm_mail_failed_list(&ctx->ctx, ns->list);
			ret = -1;
		} else if (!is_met_again(ctx, ns, env) && func(ctx, ns->list) < 0)
			ret = -1;
	}
	return ret;
}

int doveadm_lmdb_each_mailbox(struct doveadm_lmdb_context *ctx, struct mail_user *user, const char *const *masks,
			      doveadm_lmdb_mailbox_func *func)
{
	static const char *const all[] = { "*", NULL };
	const enum mailbox_list_iter_flags flags = MAILBOX_LIST_ITER_NO_AUTO_BOXES |
		MAILBOX_LIST_ITER_RETURN_NO_FLAGS | MAILBOX_LIST_ITER_STAR_WITHIN_NS;
	struct mailbox_list_iterate_context *iter;
	const struct mailbox_info *info;
	int ret = 0;

	iter = mailbox_list_iter_init_namespaces(user->namespaces, masks == NULL ? all : masks,
						 MAIL_NAMESPACE_TYPE_MASK_ALL, flags);
	while (!doveadm_is_killed() && (info = mailbox_list_iter_next(iter)) != NULL) {
		if ((info->flags & (MAILBOX_NOSELECT | MAILBOX_NONEXISTENT)) != 0 || !wants_list(ctx, info->ns->list))
			continue;
		T_BEGIN {
			if (func(ctx, info->ns->list, info->vname) < 0)
				ret = -1;
		} T_END;
	}
	if (mailbox_list_iter_deinit(&iter) < 0) {
		e_error(user->event, "Listing mailboxes failed: %s",
			mailbox_list_get_last_internal_error(user->namespaces->list, NULL));
		doveadm_mail_failed_list(&ctx->ctx, user->namespaces->list);
		ret = -1;
	}
	return ret;
}

static bool has_store(struct doveadm_lmdb_context *ctx, struct mail_user *user)
{
	struct mail_namespace *ns;

	for (ns = user->namespaces; ns != NULL; ns = ns->next) {
		if (wants_list(ctx, ns->list))
			return TRUE;
	}
	return FALSE;
}

static int run(struct doveadm_mail_cmd_context *_ctx, struct mail_user *user)
{
	struct doveadm_lmdb_context *ctx = DOVEADM_LMDB_CONTEXT(_ctx);

	if (has_store(ctx, user))
		return ctx->run(ctx, user);
	if (!_ctx->iterate_single_user)
		return 0;
	e_error(user->event, "The user has no mail in lmdb");
	doveadm_mail_failed_error(_ctx, MAIL_ERROR_NOTFOUND);
	return -1;
}

struct doveadm_lmdb_context *doveadm_lmdb_alloc(const char *print_type, doveadm_lmdb_user_func *func)
{
	struct doveadm_lmdb_context *ctx = doveadm_mail_cmd_alloc(struct doveadm_lmdb_context);

	ctx->ctx.v.run = run;
	ctx->run = func;
	lmdb_doveadm_accept_options(&ctx->ctx);
	doveadm_print_init(print_type);
	return ctx;
}

static enum mail_error error_of(enum lms_code code)
{
	switch (code) {
	case LMS_DAMAGED:
	case LMS_NEWER:
		return MAIL_ERROR_INVALIDDATA;
	case LMS_ACCESS:
		return MAIL_ERROR_PERM;
	default:
		return MAIL_ERROR_TEMP;
	}
}

int doveadm_lmdb_fail(struct doveadm_lmdb_context *ctx, struct mailbox_list *list, const struct lms_error *error)
{
	e_error(list->ns->user->event, "%s", error->text);
	doveadm_mail_failed_error(&ctx->ctx, error_of(error->code));
	return -1;
}

void doveadm_lmdb_print_number_headers(const char *const *names)
{
	for (; *names != NULL; names++) {
		doveadm_print_header(*names, *names, DOVEADM_PRINT_HEADER_FLAG_RIGHT_JUSTIFY |
				     DOVEADM_PRINT_HEADER_FLAG_NUMBER);
	}
}

void doveadm_lmdb_print_problem_headers(void)
{
	doveadm_print_header("store", "store", DOVEADM_PRINT_HEADER_FLAG_HIDE_TITLE);
	doveadm_print_header("problem", "problem", DOVEADM_PRINT_HEADER_FLAG_HIDE_TITLE);
}

void doveadm_lmdb_print_problem(struct doveadm_lmdb_context *ctx, const char *dir, const char *text)
{
	doveadm_print(dir);
	doveadm_print(text);
	doveadm_mail_failed_error(&ctx->ctx, MAIL_ERROR_INVALIDDATA);
}

static struct doveadm_cmd_ver2 commands[] = {
	{
		.name = "lmdb status",
		.mail_cmd = doveadm_lmdb_status_alloc,
		.usage = DOVEADM_CMD_MAIL_USAGE_PREFIX,
DOVEADM_CMD_PARAMS_START
DOVEADM_CMD_MAIL_COMMON
DOVEADM_CMD_PARAMS_END
	}, {
		.name = "lmdb check",
		.mail_cmd = doveadm_lmdb_check_alloc,
		.usage = DOVEADM_CMD_MAIL_USAGE_PREFIX,
DOVEADM_CMD_PARAMS_START
DOVEADM_CMD_MAIL_COMMON
DOVEADM_CMD_PARAMS_END
	}, {
		.name = "lmdb backup",
		.mail_cmd = doveadm_lmdb_backup_alloc,
		.usage = DOVEADM_CMD_MAIL_USAGE_PREFIX "<directory>",
DOVEADM_CMD_PARAMS_START
DOVEADM_CMD_MAIL_COMMON
DOVEADM_CMD_PARAM('\0', "directory", CMD_PARAM_STR, CMD_PARAM_FLAG_POSITIONAL)
DOVEADM_CMD_PARAMS_END
	}, {
		.name = "lmdb index status",
		.mail_cmd = doveadm_lmdb_index_status_alloc,
		.usage = DOVEADM_CMD_MAIL_USAGE_PREFIX "[<mailbox mask> ...]",
DOVEADM_CMD_PARAMS_START
DOVEADM_CMD_MAIL_COMMON
DOVEADM_CMD_PARAM('\0', "mailbox-mask", CMD_PARAM_ARRAY, CMD_PARAM_FLAG_POSITIONAL)
DOVEADM_CMD_PARAMS_END
	}, {
		.name = "lmdb index rebuild",
		.mail_cmd = doveadm_lmdb_index_rebuild_alloc,
		.usage = DOVEADM_CMD_MAIL_USAGE_PREFIX "[-f]",
DOVEADM_CMD_PARAMS_START
DOVEADM_CMD_MAIL_COMMON
DOVEADM_CMD_PARAM('f', "force", CMD_PARAM_BOOL, 0)
DOVEADM_CMD_PARAMS_END
	}, {
		.name = "lmdb index check",
		.mail_cmd = doveadm_lmdb_index_check_alloc,
		.usage = DOVEADM_CMD_MAIL_USAGE_PREFIX,
DOVEADM_CMD_PARAMS_START
DOVEADM_CMD_MAIL_COMMON
DOVEADM_CMD_PARAMS_END
	}, {
		.name = "lmdb index optimize",
		.mail_cmd = doveadm_lmdb_index_optimize_alloc,
		.usage = DOVEADM_CMD_MAIL_USAGE_PREFIX,
DOVEADM_CMD_PARAMS_START
DOVEADM_CMD_MAIL_COMMON
DOVEADM_CMD_PARAMS_END
	},
};

void doveadm_lmdb_plugin_init(struct module *module ATTR_UNUSED)
{
	for (unsigned int i = 0; i < N_ELEMENTS(commands); i++)
		doveadm_cmd_register_ver2(&commands[i]);
}

void doveadm_lmdb_plugin_deinit(void)
{
}
