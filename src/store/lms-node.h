/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMS_NODE_H
#define LMS_NODE_H

#include "lms-write.h"

/* The folder tree inside a transaction. Functions return 1, 0 if there is no such thing, -1 on error. */

/* Is the path (NULL-terminated) valid? Returns its depth, or -1 with LMS_INVALID. */
int lms_node_path_depth(struct lms_txn *txn, const char *const *path);
int lms_node_find(struct lms_txn *txn, uint64_t parent_id, const char *name, struct lms_node *node_r);
int lms_node_find_path(struct lms_txn *txn, const char *const *path, struct lms_node *node_r);
/* The record; its name is valid until the next write. */
int lms_node_get(struct lms_txn *txn, uint64_t node_id, struct lms_node_record *node_r);
int lms_node_has_child(struct lms_txn *txn, uint64_t node_id);
/* Levels below a node, 0 if it has no children; at most max + 1 are counted. -1 on error. */
int lms_node_height(struct lms_txn *txn, uint64_t node_id, unsigned int max);

int lms_node_create(struct lms_write *write, uint64_t parent_id, const char *name, uint64_t folder_id,
		    struct lms_node *node_r);
/* Find the node at path, making it and its parents where they are missing. */
int lms_node_create_path(struct lms_write *write, const char *const *path, struct lms_node *node_r);
int lms_node_remove(struct lms_write *write, uint64_t node_id);
int lms_node_set_folder(struct lms_write *write, uint64_t node_id, uint64_t folder_id);
int lms_node_move(struct lms_write *write, uint64_t node_id, uint64_t parent_id, const char *name);

#endif
