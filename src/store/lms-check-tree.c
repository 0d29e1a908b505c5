/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-check-private.h"
#include "lms-node.h"

#include <string.h>

/* The tree and the folders in it: nodes, names, folders, garbage (read here, as later parts need it). */

static void check_path(struct lms_check *check, uint64_t node_id)
{
	uint64_t first_id = node_id;
	struct lms_node_record node;
	unsigned int depth;

	for (depth = 0; node_id != LMS_ROOT_NODE; depth++) {
		if (depth == LMS_DEPTH_MAX) {
			lms_check_report(check, "nodes: node %llx isn't below the root", (unsigned long long)first_id);
			return;
		}
		if (lms_node_get(&check->txn, node_id, &node) <= 0) {
			lms_check_report(check, "nodes: parent %llx of node %llx is missing", (unsigned long long)node_id,
					 (unsigned long long)first_id);
			return;
		}
		node_id = node.parent_id;
	}
}

static void check_node(struct lms_check *check, const struct lms_cursor *cursor)
{
	struct lms_node_record node;
	struct lms_node found;
	uint64_t node_id;

	if (!lms_check_key_size(check, cursor, 8))
		return;
	node_id = lms_key_get_id(cursor->key);
	if (node_id == LMS_ROOT_NODE || node_id >= check->meta.next_node_id)
		lms_check_report(check, "nodes: node %llx can't exist yet", (unsigned long long)node_id);
	if (lms_node_decode(&cursor->value, &node) < 0 || node.name_size == 0 || node.name_size > LMS_NAME_MAX) {
		lms_check_report(check, "nodes: record of node %llx makes no sense", (unsigned long long)node_id);
		return;
	}
	if (lms_node_find(&check->txn, node.parent_id, node.name, &found) <= 0 || found.node_id != node_id ||
	    found.folder_id != node.folder_id) {
		lms_check_report(check, "names: node %llx isn't found by its name %s", (unsigned long long)node_id,
				 node.name);
	}
	if (node.folder_id != 0 && !lms_check_has_id(&check->folders, node.folder_id)) {
		lms_check_report(check, "nodes: folder %llx of node %llx doesn't exist",
				 (unsigned long long)node.folder_id, (unsigned long long)node_id);
	}
	check_path(check, node_id);
}

static void check_name(struct lms_check *check, const struct lms_cursor *cursor)
{
	struct lms_node_record node;
	struct lms_name_record rec;
	struct lms_key key;

	if (cursor->key_size < 9 || lms_name_decode(&cursor->value, &rec) < 0) {
		lms_check_report(check, "names: a record makes no sense");
		return;
	}
	if (lms_node_get(&check->txn, rec.node.node_id, &node) <= 0) {
		lms_check_report(check, "names: node %llx doesn't exist", (unsigned long long)rec.node.node_id);
		return;
	}
	lms_key_name(&key, node.parent_id, node.name, node.name_size);
	if (key.size != cursor->key_size || memcmp(key.data, cursor->key, key.size) != 0) {
		lms_check_report(check, "names: node %llx is found by a name that isn't its own",
				 (unsigned long long)rec.node.node_id);
	}
}

static void list_folder(struct lms_check *check, const struct lms_cursor *cursor)
{
	if (lms_check_key_size(check, cursor, 8))
		lms_check_add_id(check, &check->folders, lms_key_get_id(cursor->key));
}

void lms_check_tree(struct lms_check *check)
{
	lms_check_walk(check, LMS_DB_FOLDERS, NULL, list_folder);
	lms_check_walk(check, LMS_DB_NODES, NULL, check_node);
	lms_check_walk(check, LMS_DB_NAMES, NULL, check_name);
}
