/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "imap-match.h"
#include "mailbox-list-iter-private.h"
#include "mailbox-tree.h"
#include "lmdb-compat.h"
#include "lmdb-error.h"
#include "lmdb-list.h"

/*
 * A listing is taken from one snapshot of the store when it begins, because the client is sent the answers in between
 * and no read transaction may live so long. Only what the patterns can match is walked.
 */

struct lmdb_list_entry {
	const char *storage_name, *vname;
	enum mailbox_info_flags flags;
};

struct lmdb_list_iterate_context {
	struct mailbox_list_iterate_context ctx;
	struct lms_env *env;
	ARRAY(struct lmdb_list_entry) entries;
	unsigned int next;
	struct mailbox_info info;
	struct lms_error error;
};

/* One level of the walk. */
struct lmdb_list_walk {
	struct lmdb_list_iterate_context *iter;
	/* NULL at the root */
	const char *parent;
};

static int walk_children(struct lmdb_list_iterate_context *iter, uint64_t node_id, const char *parent);

static void add_entry(struct lmdb_list_iterate_context *iter, const char *storage_name, const char *vname,
		      enum mailbox_info_flags flags)
{
	struct lmdb_list_entry *entry = array_append_space(&iter->entries);

	lmdb_iter_set_subscribed(&iter->ctx, vname, &flags);
	entry->storage_name = p_strdup(iter->ctx.pool, storage_name);
	entry->vname = p_strdup(iter->ctx.pool, vname);
	entry->flags = flags;
}

static int children_flags(struct lmdb_list_iterate_context *iter, const struct lms_node *node,
			  enum mailbox_info_flags *flags_r)
{
	int ret = lms_node_has_children(iter->env, node->node_id, &iter->error);

	*flags_r = ret > 0 ? MAILBOX_CHILDREN : MAILBOX_NOCHILDREN;
	return ret < 0 ? -1 : 0;
}

static int list_node(struct lmdb_list_iterate_context *iter, const struct lms_node *node, const char *storage_name,
		     const char *vname, enum mailbox_info_flags flags, bool descend)
{
	enum imap_match_result match = imap_match(iter->ctx.glob, vname);

	if (match == IMAP_MATCH_YES)
		add_entry(iter, storage_name, vname, flags);
	if (!descend || (flags & MAILBOX_CHILDREN) == 0 || (match & (IMAP_MATCH_YES | IMAP_MATCH_CHILDREN)) == 0)
		return 0;
	return walk_children(iter, node->node_id, storage_name);
}

/* INBOX of a namespace with prefix is listed as INBOX, its children below prefix/INBOX. */
static int list_inbox(struct lmdb_list_iterate_context *iter, const struct lms_node *node,
		      enum mailbox_info_flags flags)
{
	struct mail_namespace *ns = iter->ctx.list->ns;
	enum mailbox_info_flags inbox_flags = flags;

	if (mail_namespace_is_inbox_noinferiors(ns)) {
		inbox_flags &= ENUM_NEGATE(MAILBOX_CHILDREN | MAILBOX_NOCHILDREN);
		inbox_flags |= MAILBOX_NOINFERIORS;
	}
	if (node->folder_id != 0 &&
	    list_node(iter, node, "INBOX", "INBOX", inbox_flags, ns->prefix_len == 0) != 0)
		return -1;
	if (ns->prefix_len == 0 || (flags & MAILBOX_CHILDREN) == 0)
		return 0;
	return list_node(iter, node, "INBOX", t_strconcat(ns->prefix, "INBOX", NULL),
			 MAILBOX_NONEXISTENT | MAILBOX_CHILDREN, TRUE);
}

static int list_child(struct lmdb_list_walk *walk, const struct lms_node *node, const char *name)
{
	struct lmdb_list_iterate_context *iter = walk->iter;
	struct mailbox_list *list = iter->ctx.list;
	const char *storage_name = walk->parent == NULL ? name : t_strconcat(walk->parent, "/", name, NULL);
	enum mailbox_info_flags flags;

	if (children_flags(iter, node, &flags) < 0)
		return -1;
	if (node->folder_id == 0)
		flags |= MAILBOX_NOSELECT;
	if ((list->ns->flags & NAMESPACE_FLAG_INBOX_USER) != 0 && strcmp(storage_name, "INBOX") == 0 &&
	    (node->folder_id != 0 || list->ns->prefix_len > 0))
		return list_inbox(iter, node, flags);
	return list_node(iter, node, storage_name, mailbox_list_get_vname(list, storage_name), flags, TRUE);
}

static int list_child_callback(const struct lms_node *node, const char *name, void *context)
{
	int ret;

	T_BEGIN {
		ret = list_child(context, node, name);
	} T_END;
	return ret;
}

static int walk_children(struct lmdb_list_iterate_context *iter, uint64_t node_id, const char *parent)
{
	struct lmdb_list_walk walk = { .iter = iter, .parent = parent };

	return lms_node_children(iter->env, node_id, list_child_callback, &walk, &iter->error);
}

/* A pattern without wildcards, as most look-ups have, needs no look at its siblings. */
static int list_literal(struct lmdb_list_iterate_context *iter, const char *vname)
{
	struct mailbox_list *list = iter->ctx.list;
	const char *storage_name = mailbox_list_get_storage_name(list, vname), *p;
	struct lmdb_list_walk walk = { .iter = iter };
	struct lms_node node;
	int ret;

	ret = lms_node_lookup(iter->env, lmdb_list_path(list, storage_name), &node, &iter->error);
	if (ret <= 0 || node.node_id == LMS_ROOT_NODE)
		return ret;

	p = strrchr(storage_name, '/');
	if (p != NULL)
		walk.parent = t_strdup_until(storage_name, p++);
	return list_child(&walk, &node, p == NULL ? storage_name : p);
}

static int take_snapshot(struct lmdb_list_iterate_context *iter, const char *const *patterns)
{
	int ret;

	if (lms_read_begin(iter->env, &iter->error) < 0)
		return -1;
	if (patterns[1] == NULL && strpbrk(patterns[0], "*%") == NULL)
		ret = list_literal(iter, patterns[0]);
	else
		ret = walk_children(iter, LMS_ROOT_NODE, NULL);
	lms_read_end(iter->env);
	return ret < 0 ? -1 : 0;
}

struct mailbox_list_iterate_context *
lmdb_list_iter_init(struct mailbox_list *list, const char *const *patterns, enum mailbox_list_iter_flags flags)
{
	struct lmdb_list_iterate_context *iter;
	pool_t pool;

	if (lmdb_iter_is_core(flags))
		return lmdb_core_iter_init(list, patterns, flags);

	pool = pool_alloconly_create("lmdb list iter", 2048);
	iter = p_new(pool, struct lmdb_list_iterate_context, 1);
	iter->ctx.pool = pool;
	iter->ctx.list = list;
	iter->ctx.flags = flags;
	iter->ctx.glob = imap_match_init_multiple(pool, patterns, TRUE, mail_namespace_get_sep(list->ns));
	array_create(&iter->ctx.module_contexts, pool, sizeof(void *), 5);
	p_array_init(&iter->entries, pool, 32);
	iter->info.ns = list->ns;

	iter->env = lmdb_list_env(list);
	if (iter->env == NULL)
		iter->ctx.failed = TRUE;
	else if (take_snapshot(iter, patterns) < 0) {
		lmdb_list_set_error(list, "", &iter->error);
		iter->ctx.failed = TRUE;
	}
	return &iter->ctx;
}

const struct mailbox_info *lmdb_list_iter_next(struct mailbox_list_iterate_context *ctx)
{
	struct lmdb_list_iterate_context *iter;
	const struct lmdb_list_entry *entry;

	if (lmdb_iter_is_core(ctx->flags))
		return lmdb_core_iter_next(ctx);

	iter = container_of(ctx, struct lmdb_list_iterate_context, ctx);
	if (ctx->failed)
		return NULL;
	while (iter->next < array_count(&iter->entries)) {
		entry = array_idx(&iter->entries, iter->next++);
		iter->info.vname = entry->vname;
		iter->info.flags = entry->flags;
		if (!mailbox_list_iter_try_delete_noselect(ctx, &iter->info, entry->storage_name))
			return &iter->info;
	}
	return mailbox_list_iter_default_next(ctx);
}

int lmdb_list_iter_deinit(struct mailbox_list_iterate_context *ctx)
{
	int ret = ctx->failed ? -1 : 0;

	if (lmdb_iter_is_core(ctx->flags))
		return lmdb_core_iter_deinit(ctx);

	pool_unref(&ctx->pool);
	return ret;
}
