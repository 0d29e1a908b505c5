/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-node.h"

#include <stdlib.h>
#include <string.h>

/*
 * Two databases hold the tree, each node once in both: nodes (id -> parent, folder and name) leads from a folder to
 * its path, names ((parent, component) -> id and folder) from a path to its folder. A rename of a tree changes one
 * node.
 */

/* Bytes of a key in names before the name: the parent's id */
#define NAME_KEY_BEFORE 8

int lms_node_path_depth(struct lms_txn *txn, const char *const *path)
{
	int depth;

	for (depth = 0; path[depth] != NULL; depth++) {
		if (depth == LMS_DEPTH_MAX) {
			return lms_fail(txn->error, LMS_INVALID, "%s: Folder would be more than %u levels deep",
					txn->env->dir, LMS_DEPTH_MAX);
		}
		if (path[depth][0] == '\0') {
			return lms_fail(txn->error, LMS_INVALID, "%s: Folder name has an empty component",
					txn->env->dir);
		}
		if (strnlen(path[depth], LMS_NAME_MAX + 1) > LMS_NAME_MAX) {
			return lms_fail(txn->error, LMS_INVALID, "%s: Folder name has a component of more than %u bytes",
					txn->env->dir, LMS_NAME_MAX);
		}
	}
	return depth;
}

int lms_node_find(struct lms_txn *txn, uint64_t parent_id, const char *name, struct lms_node *node_r)
{
	size_t size = strlen(name);
	struct lms_name_record rec;
	struct lms_value value;
	struct lms_key key;
	int ret;

	lms_key_name(&key, parent_id, name, size);
	ret = lms_get(txn, LMS_DB_NAMES, &key, &value);
	if (ret <= 0)
		return ret;
	if (lms_name_decode(&value, &rec) < 0 || (rec.name == NULL) != lms_key_string_fits(NAME_KEY_BEFORE, size))
		return lms_fail_record(txn->error, txn->env, "names");
	if (rec.name != NULL && strcmp(rec.name, name) != 0) {
		return lms_fail(txn->error, LMS_INVALID, "%s: Folder name collides with another one: use another name",
				txn->env->dir);
	}
	*node_r = rec.node;
	return 1;
}

int lms_node_find_path(struct lms_txn *txn, const char *const *path, struct lms_node *node_r)
{
	int ret = 1;

	node_r->node_id = LMS_ROOT_NODE;
	node_r->folder_id = 0;
	for (; *path != NULL && ret > 0; path++)
		ret = lms_node_find(txn, node_r->node_id, *path, node_r);
	return ret;
}

int lms_node_get(struct lms_txn *txn, uint64_t node_id, struct lms_node_record *node_r)
{
	struct lms_value value;
	struct lms_key key;
	int ret;

	lms_key_id(&key, node_id);
	ret = lms_get(txn, LMS_DB_NODES, &key, &value);
	if (ret > 0 && lms_node_decode(&value, node_r) < 0)
		return lms_fail_record(txn->error, txn->env, "nodes");
	return ret;
}

/* A node that another record says is there */
static int need_node(struct lms_write *write, uint64_t node_id, struct lms_node_record *node_r)
{
	int ret = lms_node_get(&write->txn, node_id, node_r);

	return ret == 0 ? lms_write_fail_record(write, "nodes") : ret;
}

int lms_node_has_child(struct lms_txn *txn, uint64_t node_id)
{
	struct lms_cursor cursor;
	struct lms_key prefix;
	size_t size;
	int ret;

	lms_key_id(&prefix, node_id);
	if (lms_cursor_open(&cursor, txn, LMS_DB_NAMES) < 0)
		return -1;
	ret = lms_cursor_seek_unread(&cursor, &prefix, &size);
	if (ret > 0)
		ret = lms_key_has_prefix(cursor.key, cursor.key_size, &prefix) ? 1 : 0;
	lms_cursor_close(&cursor);
	return ret;
}

int lms_node_height(struct lms_txn *txn, uint64_t node_id, unsigned int max)
{
	struct lms_name_record rec;
	struct lms_cursor cursor;
	struct lms_key prefix;
	int ret, height = 0;

	lms_key_id(&prefix, node_id);
	if (lms_cursor_open(&cursor, txn, LMS_DB_NAMES) < 0)
		return -1;
	ret = lms_cursor_seek(&cursor, &prefix);
	while (ret > 0 && lms_key_has_prefix(cursor.key, cursor.key_size, &prefix)) {
		if (lms_name_decode(&cursor.value, &rec) < 0) {
			ret = lms_fail_record(txn->error, txn->env, "names");
			break;
		}
		ret = max == 0 ? 0 : lms_node_height(txn, rec.node.node_id, max - 1);
		if (ret < 0)
			break;
		if (ret + 1 > height)
			height = ret + 1;
		ret = max == 0 ? 0 : lms_cursor_next(&cursor);
	}
	lms_cursor_close(&cursor);
	return ret < 0 ? -1 : height;
}

static int put_node(struct lms_write *write, uint64_t node_id, const struct lms_node_record *node)
{
	struct lms_name_record name = { { node_id, node->folder_id }, NULL, 0 };
	uint8_t head[LMS_RECORD_HEAD];
	struct lms_buffer buf;
	struct lms_key key;
	int ret;

	lms_buffer_init(&buf);
	lms_node_encode(node, head, &buf);
	lms_key_id(&key, node_id);
	ret = lms_put_buffer(&write->txn, LMS_DB_NODES, &key, head, &buf);
	lms_buffer_free(&buf);
	if (ret < 0)
		return -1;
	if (!lms_key_string_fits(NAME_KEY_BEFORE, node->name_size)) {
		name.name = node->name;
		name.name_size = node->name_size;
	}
	lms_name_encode(&name, head, &buf);
	lms_key_name(&key, node->parent_id, node->name, node->name_size);
	ret = lms_put_buffer(&write->txn, LMS_DB_NAMES, &key, head, &buf);
	lms_buffer_free(&buf);
	write->tree_changed = true;
	return ret;
}

int lms_node_create(struct lms_write *write, uint64_t parent_id, const char *name, uint64_t folder_id,
		    struct lms_node *node_r)
{
	struct lms_node_record node = { parent_id, folder_id, name, strlen(name) };

	node_r->node_id = write->meta.next_node_id++;
	node_r->folder_id = folder_id;
	return put_node(write, node_r->node_id, &node);
}

int lms_node_create_path(struct lms_write *write, const char *const *path, struct lms_node *node_r)
{
	uint64_t parent_id = LMS_ROOT_NODE;
	int ret;

	node_r->node_id = LMS_ROOT_NODE;
	node_r->folder_id = 0;
	for (; *path != NULL; path++) {
		ret = lms_node_find(&write->txn, parent_id, *path, node_r);
		if (ret == 0)
			ret = lms_node_create(write, parent_id, *path, 0, node_r);
		if (ret < 0)
			return -1;
		parent_id = node_r->node_id;
	}
	return 1;
}

int lms_node_remove(struct lms_write *write, uint64_t node_id)
{
	struct lms_node_record node;
	struct lms_key key;

	if (need_node(write, node_id, &node) < 0)
		return -1;
	lms_key_name(&key, node.parent_id, node.name, node.name_size);
	if (lms_del(&write->txn, LMS_DB_NAMES, &key) < 0)
		return -1;
	lms_key_id(&key, node_id);
	write->tree_changed = true;
	return lms_del(&write->txn, LMS_DB_NODES, &key) < 0 ? -1 : 1;
}

int lms_node_set_folder(struct lms_write *write, uint64_t node_id, uint64_t folder_id)
{
	char name[LMS_NAME_MAX + 1];
	struct lms_node_record node;

	if (need_node(write, node_id, &node) < 0)
		return -1;
	if (node.name_size > LMS_NAME_MAX)
		return lms_write_fail_record(write, "nodes");
	memcpy(name, node.name, node.name_size);
	name[node.name_size] = '\0';
	node.name = name;
	node.folder_id = folder_id;
	return put_node(write, node_id, &node);
}

int lms_node_move(struct lms_write *write, uint64_t node_id, uint64_t parent_id, const char *name)
{
	struct lms_node_record node;
	struct lms_key key;

	if (need_node(write, node_id, &node) < 0)
		return -1;
	lms_key_name(&key, node.parent_id, node.name, node.name_size);
	if (lms_del(&write->txn, LMS_DB_NAMES, &key) < 0)
		return -1;
	node.parent_id = parent_id;
	node.name = name;
	node.name_size = strlen(name);
	return put_node(write, node_id, &node);
}

int lms_node_lookup(struct lms_env *env, const char *const *path, struct lms_node *node_r, struct lms_error *error_r)
{
	struct lms_txn txn;
	int ret;

	if (lms_txn_read(&txn, env, error_r) < 0)
		return -1;
	ret = lms_node_find_path(&txn, path, node_r);
	lms_txn_read_end(&txn);
	return ret;
}

int lms_node_has_children(struct lms_env *env, uint64_t node_id, struct lms_error *error_r)
{
	struct lms_txn txn;
	int ret;

	if (lms_txn_read(&txn, env, error_r) < 0)
		return -1;
	ret = lms_node_has_child(&txn, node_id);
	lms_txn_read_end(&txn);
	return ret;
}

/* The name of a record in names: in the key, which has no NUL at its end, or in the value. */
static const char *name_of(const struct lms_cursor *cursor, const struct lms_name_record *rec,
			   char buffer[LMS_KEY_MAX + 1])
{
	const char *name;
	size_t size;

	if (rec->name != NULL)
		return rec->name;
	name = lms_key_get_string(cursor->key, cursor->key_size, NAME_KEY_BEFORE, &size);
	if (name == NULL)
		return NULL;
	memcpy(buffer, name, size);
	buffer[size] = '\0';
	return buffer;
}

static int call_child(struct lms_cursor *cursor, lms_node_callback *callback, void *context)
{
	char buffer[LMS_KEY_MAX + 1];
	struct lms_name_record rec;
	const char *name;

	if (lms_name_decode(&cursor->value, &rec) < 0 || (name = name_of(cursor, &rec, buffer)) == NULL)
		return lms_fail_record(cursor->txn->error, cursor->txn->env, "names");
	return callback(&rec.node, name, context);
}

int lms_node_children(struct lms_env *env, uint64_t node_id, lms_node_callback *callback, void *context,
		      struct lms_error *error_r)
{
	struct lms_cursor cursor;
	struct lms_key prefix;
	struct lms_txn txn;
	int ret, result = 0;

	if (lms_txn_read(&txn, env, error_r) < 0)
		return -1;
	lms_key_id(&prefix, node_id);
	if (lms_cursor_open(&cursor, &txn, LMS_DB_NAMES) < 0) {
		lms_txn_read_end(&txn);
		return -1;
	}
	ret = lms_cursor_seek(&cursor, &prefix);
	while (ret > 0 && lms_key_has_prefix(cursor.key, cursor.key_size, &prefix)) {
		result = call_child(&cursor, callback, context);
		if (result != 0)
			break;
		ret = lms_cursor_next(&cursor);
	}
	lms_cursor_close(&cursor);
	lms_txn_read_end(&txn);
	return ret < 0 ? -1 : result;
}

/* Put the components that were collected, innermost first, into one block. */
static char **pack_path(char **names, unsigned int count)
{
	size_t size = (count + 1) * sizeof(char *);
	unsigned int i;
	char **path, *pos;

	for (i = 0; i < count; i++)
		size += strlen(names[i]) + 1;
	path = malloc(size);
	if (path == NULL)
		return NULL;
	pos = (char *)(path + count + 1);
	for (i = 0; i < count; i++) {
		path[i] = strcpy(pos, names[count - 1 - i]);
		pos += strlen(pos) + 1;
	}
	path[count] = NULL;
	return path;
}

static int get_path(struct lms_txn *txn, uint64_t node_id, char **names, unsigned int *count)
{
	struct lms_node_record node;
	int ret;

	for (*count = 0; node_id != LMS_ROOT_NODE; (*count)++) {
		ret = *count == LMS_DEPTH_MAX ? 0 : lms_node_get(txn, node_id, &node);
		if (ret <= 0)
			return ret < 0 ? -1 : lms_fail_record(txn->error, txn->env, "nodes");
		names[*count] = strdup(node.name);
		if (names[*count] == NULL)
			return lms_fail(txn->error, LMS_MEMORY, "%s: out of memory", txn->env->dir);
		node_id = node.parent_id;
	}
	return 1;
}

int lms_folder_get_path(struct lms_env *env, uint64_t folder_id, char ***path_r, struct lms_error *error_r)
{
	struct lms_folder_record folder;
	char *names[LMS_DEPTH_MAX];
	unsigned int count = 0;
	struct lms_value value;
	struct lms_key key;
	struct lms_txn txn;
	int ret;

	*path_r = NULL;
	if (lms_txn_read(&txn, env, error_r) < 0)
		return -1;
	lms_key_id(&key, folder_id);
	ret = lms_get(&txn, LMS_DB_FOLDERS, &key, &value);
	if (ret > 0 && lms_folder_decode(&value, &folder) < 0)
		ret = lms_fail_record(error_r, env, "folder");
	if (ret > 0)
		ret = get_path(&txn, folder.node_id, names, &count);
	if (ret > 0) {
		*path_r = pack_path(names, count);
		if (*path_r == NULL)
			ret = lms_fail(error_r, LMS_MEMORY, "%s: out of memory", env->dir);
	}
	while (count > 0)
		free(names[--count]);
	lms_txn_read_end(&txn);
	return ret;
}
