/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-node.h"

#include <string.h>

struct rename {
	struct lms_write *write;
	const char *const *new_path;
	bool folder_only;
	unsigned int new_depth;
	struct lms_node old, parent;
	/* What is at the new path now: node_id 0 if nothing */
	struct lms_node target;
};

/* Walk the new path as far as it exists. */
static int find_target(struct rename *rename)
{
	struct lms_txn *txn = &rename->write->txn;
	struct lms_node node = { LMS_ROOT_NODE, 0 };
	unsigned int i;
	int ret = 1;

	for (i = 0; i < rename->new_depth && ret > 0; i++) {
		ret = lms_node_find(txn, node.node_id, rename->new_path[i], &node);
		if (ret < 0)
			return -1;
		if (ret > 0 && node.node_id == rename->old.node_id && i + 1 < rename->new_depth && !rename->folder_only) {
			return lms_write_fail(rename->write, LMS_INVALID, "A folder can't be renamed to a name below "
					      "itself");
		}
	}
	if (ret > 0)
		rename->target = node;
	return 0;
}

static int check_target(struct rename *rename)
{
	int ret;

	if (rename->target.node_id == LMS_ROOT_NODE)
		return 0;
	if (rename->target.folder_id != 0)
		return lms_write_fail(rename->write, LMS_EXISTS, "Target folder exists already");
	if (rename->folder_only)
		return 0;
	ret = lms_node_has_child(&rename->write->txn, rename->target.node_id);
	if (ret > 0)
		return lms_write_fail(rename->write, LMS_EXISTS, "Target folder exists already and has children");
	return ret;
}

static int move_folder(struct rename *rename)
{
	struct lms_write *write = rename->write;
	struct lms_wfolder *folder;

	if (rename->old.folder_id == 0)
		return lms_write_fail(write, LMS_NOTFOUND, "There is no folder to rename");
	if (lms_node_create_path(write, rename->new_path, &rename->target) < 0 ||
	    lms_write_need_folder(write, rename->old.folder_id, &folder) < 0 ||
	    lms_node_set_folder(write, rename->old.node_id, 0) < 0 ||
	    lms_node_set_folder(write, rename->target.node_id, rename->old.folder_id) < 0)
		return -1;
	folder->rec.node_id = rename->target.node_id;
	write->reply->node.node_id = rename->target.node_id;
	write->reply->node.folder_id = rename->old.folder_id;
	return 0;
}

static int check_depth(struct rename *rename)
{
	unsigned int room = LMS_DEPTH_MAX - rename->new_depth;
	int height = lms_node_height(&rename->write->txn, rename->old.node_id, room);

	if (height > (int)room) {
		return lms_write_fail(rename->write, LMS_INVALID, "Folders would be more than %u levels deep",
				      LMS_DEPTH_MAX);
	}
	return height < 0 ? -1 : 0;
}

static int create_parent(struct rename *rename)
{
	struct lms_node *parent = &rename->parent;
	unsigned int i;
	int ret;

	for (i = 0; i + 1 < rename->new_depth; i++) {
		uint64_t parent_id = parent->node_id;

		ret = lms_node_find(&rename->write->txn, parent_id, rename->new_path[i], parent);
		if (ret == 0)
			ret = lms_node_create(rename->write, parent_id, rename->new_path[i], 0, parent);
		if (ret < 0)
			return -1;
	}
	return 0;
}

static int move_tree(struct rename *rename)
{
	struct lms_write *write = rename->write;

	if (check_depth(rename) < 0)
		return -1;
	if (rename->target.node_id != LMS_ROOT_NODE && lms_node_remove(write, rename->target.node_id) < 0)
		return -1;
	if (create_parent(rename) < 0 ||
	    lms_node_move(write, rename->old.node_id, rename->parent.node_id,
			  rename->new_path[rename->new_depth - 1]) < 0)
		return -1;
	write->reply->node = rename->old;
	return 0;
}

int lms_op_node_rename(struct lms_write *write)
{
	const struct lms_node_rename *args = &write->request->u.node_rename;
	struct rename rename;
	int ret, depth = lms_node_path_depth(&write->txn, args->new_path);

	if (depth < 0)
		return -1;
	memset(&rename, 0, sizeof(rename));
	rename.write = write;
	rename.new_path = args->new_path;
	rename.new_depth = (unsigned int)depth;
	rename.folder_only = args->folder_only;
	ret = lms_node_find_path(&write->txn, args->path, &rename.old);
	if (ret < 0)
		return -1;
	if (ret == 0)
		return lms_write_fail(write, LMS_NOTFOUND, "Folder doesn't exist");
	if (rename.old.node_id == LMS_ROOT_NODE || depth == 0)
		return lms_write_fail(write, LMS_INVALID, "The root can't be renamed");
	if (find_target(&rename) < 0)
		return -1;
	if (rename.target.node_id == rename.old.node_id) {
		write->reply->node = rename.old;
		return 0;
	}
	if (check_target(&rename) < 0)
		return -1;
	return rename.folder_only ? move_folder(&rename) : move_tree(&rename);
}
