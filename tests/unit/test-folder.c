/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "test-common.h"

#include <time.h>

/* Folders, nodes and their names. */

static bool lookup(struct lms_env *env, const char *path, struct lms_node *node)
{
	int ret = lms_node_lookup(env, test_components(path), node, &test_error);

	CHECK(ret >= 0);
	return ret > 0;
}

static bool exists(struct lms_env *env, const char *path)
{
	struct lms_node node;

	return lookup(env, path, &node);
}

static bool is_folder(struct lms_env *env, const char *path, uint64_t folder_id)
{
	struct lms_node node;

	return lookup(env, path, &node) && node.folder_id == folder_id;
}

static int create_node(struct lms_env *env, const char *path)
{
	struct lms_request request;

	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_FOLDER_CREATE;
	request.u.folder_create.path = test_components(path);
	return test_submit(env, &request);
}

static int delete_node(struct lms_env *env, const char *path)
{
	struct lms_request request;

	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_NODE_DELETE;
	request.u.node_delete.path = test_components(path);
	return test_submit(env, &request);
}

static int update(struct lms_env *env, uint64_t folder_id, const struct lms_folder_values *values)
{
	struct lms_request request;

	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_FOLDER_UPDATE;
	request.u.folder_update.folder_id = folder_id;
	request.u.folder_update.values = *values;
	return test_submit(env, &request);
}

static bool path_is(struct lms_env *env, uint64_t folder_id, const char *expected)
{
	char text[1024] = "", **path;
	unsigned int i;

	if (!CHECK(lms_folder_get_path(env, folder_id, &path, &test_error) == 1))
		return false;
	for (i = 0; path[i] != NULL; i++) {
		if (i > 0)
			strcat(text, "/");
		strcat(text, path[i]);
	}
	free(path);
	return CHECK_STR(text, expected);
}

static int list_name(const struct lms_node *node, const char *name, void *context)
{
	(void)node;
	strcat(context, name);
	strcat(context, " ");
	return 0;
}

static int stop_at_b(const struct lms_node *node, const char *name, void *context)
{
	(void)node;
	(void)context;
	return strcmp(name, "b") == 0 ? 42 : 0;
}

static void test_create_delete(void)
{
	struct lms_env *env = test_open();
	uint64_t folder_id, child_id;
	struct lms_node node, root;
	char names[256] = "", **path;

	CHECK(lms_node_lookup(env, test_components(""), &root, &test_error) == 1);
	CHECK(root.node_id == LMS_ROOT_NODE && root.folder_id == 0);
	CHECK(!exists(env, "a"));
	CHECK_OK(test_create(env, "a/b/c"));
	child_id = test_reply.folder.folder_id;
	CHECK(test_reply.node.folder_id == child_id && test_reply.node.node_id != 0);
	CHECK(is_folder(env, "a/b/c", child_id));
	CHECK(lookup(env, "a/b", &node) && node.folder_id == 0);
	path_is(env, child_id, "a/b/c");
	CHECK_FAILS(test_create(env, "a/b/c"), LMS_EXISTS);
	CHECK_FAILS(create_node(env, "a/b"), LMS_EXISTS);
	CHECK_FAILS(test_create(env, ""), LMS_INVALID);
	CHECK_FAILS(create_node(env, ""), LMS_INVALID);
	folder_id = test_folder(env, "a/b");
	CHECK(folder_id != child_id);
	CHECK(is_folder(env, "a/b", folder_id));
	/* A folder with a child leaves a node, one without doesn't; parents stay. */
	CHECK_OK(test_delete(env, folder_id));
	CHECK(is_folder(env, "a/b", 0));
	CHECK_FAILS(test_delete(env, folder_id), LMS_NOTFOUND);
	CHECK_OK(test_delete(env, child_id));
	CHECK(!exists(env, "a/b/c"));
	CHECK(is_folder(env, "a/b", 0));
	CHECK(lms_folder_get_path(env, child_id, &path, &test_error) == 0);
	CHECK_FAILS(delete_node(env, "a"), LMS_EXISTS);
	CHECK_OK(delete_node(env, "a/b"));
	CHECK_OK(delete_node(env, "a"));
	CHECK_FAILS(delete_node(env, "a"), LMS_NOTFOUND);
	CHECK_FAILS(delete_node(env, ""), LMS_INVALID);
	CHECK_OK(create_node(env, "x/y"));
	CHECK_OK(create_node(env, "x/b"));
	CHECK_OK(create_node(env, "x/a"));
	CHECK(lookup(env, "x", &node));
	CHECK_OK(lms_node_children(env, node.node_id, list_name, names, &test_error));
	CHECK_STR(names, "a b y ");
	CHECK(lms_node_children(env, node.node_id, stop_at_b, NULL, &test_error) == 42);
	CHECK(lms_node_has_children(env, node.node_id, &test_error) == 1);
	CHECK(lookup(env, "x/y", &node));
	CHECK(lms_node_has_children(env, node.node_id, &test_error) == 0);
	CHECK(lms_node_has_children(env, LMS_ROOT_NODE, &test_error) == 1);
	/* Of another parent with a later id: must not be taken for children. */
	CHECK_OK(create_node(env, "z/z"));
	CHECK(lms_node_has_children(env, node.node_id, &test_error) == 0);
	folder_id = test_folder(env, "x/y");
	CHECK_FAILS(delete_node(env, "x/y"), LMS_EXISTS);
	CHECK_STORE(env);
	lms_env_close(&env);
}

static void test_must_be_empty(void)
{
	struct lms_env *env = test_open();
	uint64_t folder_id = test_folder(env, "a");
	struct lms_request request;

	CHECK(test_save_text(env, folder_id, "text") == 1);
	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_FOLDER_DELETE;
	request.u.folder_delete.folder_id = folder_id;
	request.u.folder_delete.must_be_empty = true;
	CHECK_FAILS(test_submit(env, &request), LMS_EXISTS);
	CHECK_OK(test_expunge(env, folder_id, 1, 1));
	CHECK_OK(test_submit(env, &request));
	CHECK(!exists(env, "a"));
	lms_env_close(&env);
}

static void test_values(void)
{
	struct lms_folder_values values;
	struct lms_env *env = test_open();
	struct lms_folder folder, before;
	struct lms_request request;
	uint64_t id1, id2;
	uint32_t now = (uint32_t)time(NULL), uidvalidity;
	unsigned int i;

	id1 = test_folder(env, "a");
	folder = test_reply.folder;
	CHECK(folder.uidvalidity >= now && folder.uidnext == 1 && folder.first_recent_uid == 1);
	CHECK(folder.epoch != 0 && folder.messages == 0 && folder.change == 1 && folder.changes_since == 0);
	for (i = 0; i < LMS_GUID_SIZE && folder.guid[i] == 0; i++) ;
	CHECK(i < LMS_GUID_SIZE);
	/* Never the same twice, also when made again at once */
	uidvalidity = folder.uidvalidity;
	CHECK_OK(test_delete(env, id1));
	id2 = test_folder(env, "a");
	CHECK(id2 != id1);
	CHECK(test_reply.folder.uidvalidity > uidvalidity);
	CHECK(memcmp(test_reply.folder.guid, folder.guid, LMS_GUID_SIZE) != 0);
	CHECK(test_reply.folder.epoch != folder.epoch);

	/* Values that are given */
	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_FOLDER_CREATE;
	request.u.folder_create.path = test_components("given");
	request.u.folder_create.selectable = true;
	request.u.folder_create.values.uidvalidity = now + 5000;
	request.u.folder_create.values.min_uidnext = 77;
	request.u.folder_create.values.min_first_recent_uid = 70;
	request.u.folder_create.values.min_modseq_floor = 1000;
	memset(request.u.folder_create.values.guid, 0xab, LMS_GUID_SIZE);
	CHECK_OK(test_submit(env, &request));
	folder = test_folder_get(env, test_reply.folder.folder_id);
	CHECK_U64(folder.uidvalidity, now + 5000);
	CHECK_U64(folder.uidnext, 77);
	CHECK_U64(folder.first_recent_uid, 70);
	CHECK_U64(folder.modseq_floor, 1000);
	CHECK(folder.guid[0] == 0xab && folder.guid[15] == 0xab);
	/* A given UIDVALIDITY isn't given again. */
	CHECK_OK(test_create(env, "next"));
	CHECK_U64(test_reply.folder.uidvalidity, now + 5001);

	/* Raised only */
	memset(&values, 0, sizeof(values));
	values.min_uidnext = 5;
	values.min_modseq_floor = 5;
	values.min_first_recent_uid = 5;
	CHECK_OK(update(env, folder.folder_id, &values));
	before = folder;
	folder = test_folder_get(env, folder.folder_id);
	CHECK(memcmp(&before, &folder, sizeof(folder)) == 0);
	values.min_uidnext = 100;
	CHECK_OK(update(env, folder.folder_id, &values));
	CHECK_U64(test_reply.folder.uidnext, 100);
	CHECK_U64(test_reply.change_before, before.change);
	CHECK_U64(test_reply.folder.change, before.change + 1);
	/* Floor and first recent UID alone change nothing that a view shows. */
	memset(&values, 0, sizeof(values));
	values.min_modseq_floor = 2000;
	values.min_first_recent_uid = 80;
	CHECK_OK(update(env, folder.folder_id, &values));
	CHECK_U64(test_reply.folder.change, before.change + 1);
	CHECK_U64(test_reply.folder.modseq_floor, 2000);
	CHECK_U64(test_reply.folder.first_recent_uid, 80);
	/* A new epoch brings a new UIDVALIDITY. */
	memset(&values, 0, sizeof(values));
	values.new_epoch = true;
	before = test_reply.folder;
	CHECK_OK(update(env, folder.folder_id, &values));
	CHECK(test_reply.folder.epoch != before.epoch && test_reply.folder.uidvalidity > before.uidvalidity);
	values.uidvalidity = 5;
	CHECK_OK(update(env, folder.folder_id, &values));
	CHECK_U64(test_reply.folder.uidvalidity, 5);
	memset(&values, 0, sizeof(values));
	memset(values.guid, 0x12, LMS_GUID_SIZE);
	CHECK_OK(update(env, folder.folder_id, &values));
	CHECK(test_reply.folder.guid[7] == 0x12);
	CHECK_FAILS(update(env, 12345, &values), LMS_NOTFOUND);
	CHECK_STORE(env);
	lms_env_close(&env);
}

static void test_rename_tree(void)
{
	struct lms_env *env = test_open();
	uint64_t a = test_folder(env, "a"), ab = test_folder(env, "a/b"), abc = test_folder(env, "a/b/c");
	uint64_t d = test_folder(env, "d");
	struct lms_folder before = test_folder_get(env, ab), after;
	struct lms_node node;

	CHECK_FAILS(test_rename(env, "x", "y", false), LMS_NOTFOUND);
	CHECK_FAILS(test_rename(env, "a", "d", false), LMS_EXISTS);
	CHECK_FAILS(test_rename(env, "a/b", "a", false), LMS_EXISTS);
	CHECK_FAILS(test_rename(env, "a", "a/x", false), LMS_INVALID);
	CHECK_FAILS(test_rename(env, "a", "a/b/c/x/y", false), LMS_INVALID);
	CHECK_FAILS(test_rename(env, "", "x", false), LMS_INVALID);
	CHECK_FAILS(test_rename(env, "a", "", false), LMS_INVALID);
	CHECK_OK(test_rename(env, "a", "a", false));
	CHECK_OK(test_rename(env, "a/b", "n/e/w", false));
	CHECK_U64(test_reply.node.folder_id, ab);
	path_is(env, ab, "n/e/w");
	path_is(env, abc, "n/e/w/c");
	path_is(env, a, "a");
	CHECK(!exists(env, "a/b"));
	CHECK(is_folder(env, "n/e", 0));
	after = test_folder_get(env, ab);
	CHECK(memcmp(&before, &after, sizeof(before)) == 0);
	/* To its own parent's name with another component, and up */
	CHECK_OK(test_rename(env, "n/e/w", "n/e/v", false));
	CHECK_OK(test_rename(env, "n/e/v", "n/v", false));
	path_is(env, abc, "n/v/c");
	/* A node without folder and children is replaced, one with children isn't. */
	CHECK_OK(test_rename(env, "n/v", "n/e", false));
	path_is(env, ab, "n/e");
	CHECK_OK(create_node(env, "full/child"));
	CHECK_FAILS(test_rename(env, "n/e", "full", false), LMS_EXISTS);
	/* A node without folder is renamed too. */
	CHECK_OK(test_rename(env, "full", "filled", false));
	CHECK(exists(env, "filled/child"));
	CHECK_OK(test_rename(env, "d", "n/e/c/d", false));
	path_is(env, d, "n/e/c/d");
	CHECK(lookup(env, "n/e/c/d", &node) && node.folder_id == d);
	CHECK_STORE(env);
	lms_env_close(&env);
}

static void test_rename_inbox(void)
{
	struct lms_env *env = test_open();
	uint64_t inbox = test_folder(env, "INBOX"), child = test_folder(env, "INBOX/child"), again;

	CHECK(test_save_text(env, inbox, "text") == 1);
	CHECK_OK(test_rename(env, "INBOX", "old/inbox", true));
	CHECK_U64(test_reply.node.folder_id, inbox);
	path_is(env, inbox, "old/inbox");
	path_is(env, child, "INBOX/child");
	CHECK(is_folder(env, "INBOX", 0));
	CHECK_FAILS(test_rename(env, "INBOX", "other", true), LMS_NOTFOUND);
	again = test_folder(env, "INBOX");
	CHECK(again != inbox);
	CHECK_FAILS(test_rename(env, "INBOX", "old/inbox", true), LMS_EXISTS);
	/* Only the folder moves, so below itself is possible, and onto a node with children. */
	CHECK_OK(test_rename(env, "INBOX", "INBOX/below", true));
	path_is(env, again, "INBOX/below");
	CHECK_OK(test_rename(env, "INBOX/below", "old", true));
	path_is(env, again, "old");
	CHECK_OK(test_rename(env, "old", "old", true));
	CHECK_STORE(env);
	lms_env_close(&env);
}

static void fill_name(char *name, size_t size, char c)
{
	memset(name, c, size);
	name[size] = '\0';
}

/* Names at the limits: of one component, of what fits in a key, and of depth */
static void test_names(void)
{
	static char name[LMS_NAME_MAX + 10], other[LMS_NAME_MAX + 10];
	static const size_t sizes[] = { 1, 2, 100, 501, 502, 503, 504, 511, 512, 1000, LMS_NAME_MAX };
	struct lms_env *env = test_open();
	const char *path[] = { name, NULL }, *other_path[] = { other, NULL };
	uint64_t ids[sizeof(sizes) / sizeof(sizes[0])];
	struct lms_request request;
	struct lms_node node;
	unsigned int i;
	char **found;

	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_FOLDER_CREATE;
	request.u.folder_create.path = path;
	request.u.folder_create.selectable = true;
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		fill_name(name, sizes[i], 'a');
		if (!CHECK_OK(test_submit(env, &request)))
			continue;
		ids[i] = test_reply.folder.folder_id;
		CHECK_FAILS(test_submit(env, &request), LMS_EXISTS);
	}
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		fill_name(name, sizes[i], 'a');
		CHECK(lms_node_lookup(env, path, &node, &test_error) == 1 && node.folder_id == ids[i]);
		CHECK(lms_folder_get_path(env, ids[i], &found, &test_error) == 1);
		CHECK_STR(found[0], name);
		free(found);
		fill_name(name, sizes[i], 'b');
		CHECK(lms_node_lookup(env, path, &node, &test_error) == 0);
		/* Only the last byte differs. */
		fill_name(name, sizes[i], 'a');
		name[sizes[i] - 1] = 'b';
		CHECK(lms_node_lookup(env, path, &node, &test_error) == 0);
	}
	/* Renamed from long to short and back */
	fill_name(name, LMS_NAME_MAX, 'a');
	fill_name(other, 3, 'c');
	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_NODE_RENAME;
	request.u.node_rename.path = path;
	request.u.node_rename.new_path = other_path;
	CHECK_OK(test_submit(env, &request));
	CHECK(lms_node_lookup(env, path, &node, &test_error) == 0);
	request.u.node_rename.path = other_path;
	request.u.node_rename.new_path = path;
	CHECK_OK(test_submit(env, &request));
	CHECK(lms_node_lookup(env, path, &node, &test_error) == 1 && node.folder_id == ids[10]);
	/* Too long, empty, and bytes that need no escaping */
	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_FOLDER_CREATE;
	request.u.folder_create.path = path;
	fill_name(name, LMS_NAME_MAX + 1, 'a');
	CHECK_FAILS(test_submit(env, &request), LMS_INVALID);
	name[0] = '\0';
	CHECK_FAILS(test_submit(env, &request), LMS_INVALID);
	CHECK(lms_node_lookup(env, path, &node, &test_error) == 0);
	strcpy(name, "~ . .. %2f\\ \x01\x7f \xc3\xa4\xe2\x82\xac\xf0\x9f\x93\xac \xff\xfe");
	CHECK_OK(test_submit(env, &request));
	CHECK(lms_node_lookup(env, path, &node, &test_error) == 1);
	CHECK_STORE(env);
	lms_env_close(&env);
}

static int count_children(const struct lms_node *node, const char *name, void *context)
{
	(void)node;
	CHECK(strlen(name) >= 600);
	++*(unsigned int *)context;
	return 0;
}

/* Long names are found by hash, and listed with their full text. */
static void test_long_names(void)
{
	struct lms_env *env = test_open();
	unsigned int i, count = 0;
	uint64_t ids[50];
	char name[700];
	struct lms_node node;

	for (i = 0; i < 50; i++) {
		memset(name, 'x', 600);
		snprintf(name + 600, 100, "%u", i);
		ids[i] = test_folder(env, name);
	}
	CHECK_OK(lms_node_children(env, LMS_ROOT_NODE, count_children, &count, &test_error));
	CHECK_U64(count, 50);
	for (i = 0; i < 50; i += 2)
		CHECK_OK(test_delete(env, ids[i]));
	for (i = 0; i < 50; i++) {
		memset(name, 'x', 600);
		snprintf(name + 600, 100, "%u", i);
		CHECK(lookup(env, name, &node) == (i % 2 == 1));
	}
	CHECK_STORE(env);
	lms_env_close(&env);
}

static void make_path(const char **path, unsigned int depth)
{
	unsigned int i;

	for (i = 0; i < depth; i++)
		path[i] = "d";
	path[depth] = NULL;
}

static void test_depth(void)
{
	const char *path[LMS_DEPTH_MAX + 10], *other[LMS_DEPTH_MAX + 10];
	struct lms_env *env = test_open();
	struct lms_request request;
	unsigned int count;
	uint64_t folder_id;
	char **found;

	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_FOLDER_CREATE;
	request.u.folder_create.path = path;
	request.u.folder_create.selectable = true;
	make_path(path, LMS_DEPTH_MAX + 1);
	CHECK_FAILS(test_submit(env, &request), LMS_INVALID);
	make_path(path, LMS_DEPTH_MAX);
	CHECK_OK(test_submit(env, &request));
	folder_id = test_reply.folder.folder_id;
	CHECK(lms_folder_get_path(env, folder_id, &found, &test_error) == 1);
	for (count = 0; found[count] != NULL; count++) ;
	CHECK_U64(count, LMS_DEPTH_MAX);
	free(found);
	/* A tree of 256 levels can't go one level down, but elsewhere at the same level, and up. */
	CHECK_FAILS(test_rename(env, "d", "e/d", false), LMS_INVALID);
	CHECK_OK(test_rename(env, "d", "e", false));
	CHECK_OK(test_rename(env, "e/d", "f", false));
	CHECK_OK(test_rename(env, "f", "g/f", false));
	CHECK_FAILS(test_rename(env, "g", "h/g", false), LMS_INVALID);
	make_path(path, 1);
	make_path(other, LMS_DEPTH_MAX + 1);
	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_NODE_RENAME;
	path[0] = "e";
	request.u.node_rename.path = path;
	request.u.node_rename.new_path = other;
	CHECK_FAILS(test_submit(env, &request), LMS_INVALID);
	CHECK_STORE(env);
	lms_env_close(&env);
}

static int count_folders(const struct lms_folder *folder, void *context)
{
	uint64_t *last = context;

	CHECK(folder->folder_id > *last);
	*last = folder->folder_id;
	return folder->folder_id == 30 ? 7 : 0;
}

/* Reading calls nest: grandchildren and folders from within the walk of children. */
static int walk(const struct lms_node *node, const char *name, void *context)
{
	struct lms_env *env = context;
	struct lms_folder folder;
	unsigned int level = strlen(name) > 0 ? (unsigned int)(name[0] - '0') : 0;

	if (node->folder_id != 0)
		CHECK(lms_folder_get(env, node->folder_id, &folder, &test_error) == 1);
	CHECK_FAILS(test_subscribe(env, "x", true), LMS_INVALID);
	return level >= 3 ? 0 : lms_node_children(env, node->node_id, walk, context, &test_error);
}

static void test_walks(void)
{
	struct lms_env *env = test_open();
	uint64_t last = 0;
	unsigned int i;
	char name[64];

	for (i = 0; i < 60; i++) {
		snprintf(name, sizeof(name), "1-%u/2-%u/3-%u", i % 3, i % 5, i);
		test_folder(env, name);
	}
	CHECK(lms_folder_scan(env, count_folders, &last, &test_error) == 7);
	CHECK_U64(last, 30);
	CHECK_OK(lms_node_children(env, LMS_ROOT_NODE, walk, env, &test_error));
	CHECK_OK(test_subscribe(env, "x", true));
	lms_env_close(&env);
}

static const struct test tests[] = {
	{ "create-delete", test_create_delete },
	{ "must-be-empty", test_must_be_empty },
	{ "values", test_values },
	{ "rename-tree", test_rename_tree },
	{ "rename-inbox", test_rename_inbox },
	{ "names", test_names },
	{ "long-names", test_long_names },
	{ "depth", test_depth },
	{ "walks", test_walks },
	TEST_END
};

int main(int argc, char *argv[])
{
	return test_main(argc, argv, tests);
}
