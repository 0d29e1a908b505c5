/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "sort.h"
#include "mail-index-private.h"
#include "mail-storage-private.h"
#include "mailbox-tree.h"
#include "lmdb-compat.h"
#include "lmdb-error.h"
#include "lmdb-list-snapshot.h"

#include <sys/stat.h>

struct snapshot_walk {
	struct mailbox_list *list;
	struct lmdb_list_snapshot *snapshot;
	struct lms_env *env;
	/* storage name of the level's parent, NULL at the root */
	const char *parent;
	struct lms_error *error;
};

int lmdb_snapshot_box_cmp(const struct lmdb_snapshot_box *box1, const struct lmdb_snapshot_box *box2)
{
	if (box1->selectable != box2->selectable)
		return box1->selectable ? 1 : -1;
	return box1->id < box2->id ? -1 : box1->id > box2->id ? 1 : 0;
}

static void stat_log(struct mailbox_list *list, struct lmdb_snapshot_box *box)
{
	const char *dir;
	struct stat st;

	if (lmdb_list_folder_path(list, box->id, MAILBOX_LIST_PATH_TYPE_INDEX, &dir) <= 0 ||
	    stat(t_strdup_printf("%s/"MAIL_INDEX_PREFIX".log", dir), &st) < 0)
		return;
	box->log.size = st.st_size;
	box->log.mtime = st.st_mtime;
	box->log.mtime_nsec = ST_MTIME_NSEC(st);
}

static int add_box(struct snapshot_walk *walk, const struct lms_node *node, const char *storage_name)
{
	struct lmdb_snapshot_box *box = array_append_space(&walk->snapshot->boxes);
	struct lms_folder folder;
	int ret;

	box->storage_name = p_strdup(walk->snapshot->pool, storage_name);
	box->id = node->node_id;
	if (node->folder_id == 0)
		return 0;
	ret = lms_folder_get(walk->env, node->folder_id, &folder, walk->error);
	if (ret <= 0)
		return ret;

	box->id = node->folder_id;
	box->selectable = TRUE;
	memcpy(box->guid, folder.guid, sizeof(box->guid));
	box->change = folder.change;
	box->uidvalidity = folder.uidvalidity;
	box->uidnext = folder.uidnext;
	box->messages = folder.messages;
	box->unseen = folder.messages - folder.seen;
	stat_log(walk->list, box);
	return 0;
}

static int walk_node(const struct lms_node *node, const char *name, void *context)
{
	struct snapshot_walk *walk = context, children = *walk;
	int ret;

	T_BEGIN {
		children.parent = walk->parent == NULL ? name : t_strconcat(walk->parent, "/", name, NULL);
		ret = add_box(walk, node, children.parent);
		if (ret == 0)
			ret = lms_node_children(walk->env, node->node_id, walk_node, &children, walk->error);
	} T_END;
	return ret;
}

static int take_boxes(struct mailbox_list *list, struct lmdb_list_snapshot *snapshot)
{
	struct lms_error error;
	struct snapshot_walk walk = { .list = list, .snapshot = snapshot, .env = lmdb_list_env(list), .error = &error };
	int ret;

	if (walk.env == NULL)
		return -1;
	ret = lms_read_begin(walk.env, &error);
	if (ret == 0) {
		ret = lms_node_children(walk.env, LMS_ROOT_NODE, walk_node, &walk, &error);
		lms_read_end(walk.env);
	}
	if (ret < 0) {
		lmdb_list_set_error(list, "", &error);
		return -1;
	}
	array_sort(&snapshot->boxes, lmdb_snapshot_box_cmp);
	return 0;
}

static int take_subscriptions(struct mailbox_list *list, struct lmdb_list_snapshot *snapshot)
{
	struct mailbox_tree_iterate_context *iter;
	const char *name;

	if (mailbox_list_iter_subscriptions_refresh(list) < 0)
		return -1;
	iter = mailbox_tree_iterate_init(list->subscriptions, NULL, MAILBOX_SUBSCRIBED);
	while (mailbox_tree_iterate_next(iter, &name) != NULL) {
		name = p_strdup(snapshot->pool, name);
		array_push_back(&snapshot->subscriptions, &name);
	}
	mailbox_tree_iterate_deinit(&iter);
	array_sort(&snapshot->subscriptions, i_strcmp_p);
	return 0;
}

int lmdb_list_snapshot_take(struct mailbox_list *list, struct lmdb_list_snapshot **snapshot_r)
{
	pool_t pool = pool_alloconly_create(MEMPOOL_GROWING"lmdb list snapshot", 4096);
	struct lmdb_list_snapshot *snapshot = p_new(pool, struct lmdb_list_snapshot, 1);

	snapshot->pool = pool;
	p_array_init(&snapshot->boxes, pool, 32);
	p_array_init(&snapshot->subscriptions, pool, 32);
	if (take_boxes(list, snapshot) < 0 || take_subscriptions(list, snapshot) < 0) {
		pool_unref(&pool);
		return -1;
	}
	*snapshot_r = snapshot;
	return 0;
}

void lmdb_list_snapshot_free(struct lmdb_list_snapshot **_snapshot)
{
	struct lmdb_list_snapshot *snapshot = *_snapshot;

	*_snapshot = NULL;
	if (snapshot != NULL)
		pool_unref(&snapshot->pool);
}
