/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "test-common.h"
#include "test-raw.h"
#include "lms-check.h"

/* lms_check() finds planted damage: records that can be read, but say what can't be. */

static uint64_t a, b, body_id, shared_id, garbage_id;
static struct lms_env *env;
static char reports[20000];

static void make_store(void)
{
	struct lms_message message;
	unsigned int i;

	env = test_open();
	a = test_folder(env, "parent/a");
	b = test_folder(env, "parent/b");
	for (i = 1; i <= 5; i++)
		CHECK(test_save(env, a, "0123456789", i, i % 2 == 0 ? LMS_SEEN : 0) == i);
	CHECK_OK(test_copy(env, a, 1, 1, b, false));
	CHECK_OK(test_keyword(env, a, 1, 2, "keyword", true));
	CHECK_OK(test_subscribe(env, "subscribed", true));
	CHECK_OK(test_attribute(env, a, NULL, "key", "value"));
	CHECK(lms_message_get(env, a, 1, &message, &test_error) == 1);
	shared_id = message.body_id;
	CHECK(lms_message_get(env, a, 2, &message, &test_error) == 1);
	body_id = message.body_id;
	CHECK(lms_message_get(env, a, 5, &message, &test_error) == 1);
	garbage_id = message.body_id;
	CHECK_OK(test_expunge(env, a, 5, 5));
	CHECK_STORE(env);
	lms_env_close(&env);
}

static void add_report(const char *text, void *context)
{
	(void)context;
	if (strlen(reports) + strlen(text) + 2 < sizeof(reports)) {
		strcat(reports, text);
		strcat(reports, "\n");
	}
}

/* The check reports something that has this text. */
static void expect(const char *what, const char *text)
{
	env = test_open();
	reports[0] = '\0';
	CHECK(lms_check(env, add_report, NULL, &test_error) == 1);
	test_check(strstr(reports, text) != NULL, __FILE__, __LINE__, "%s: \"%s\" isn't in: %s", what, text, reports);
	lms_env_close(&env);
}

typedef void change_func(struct lms_value *value, struct lms_buffer *buf, uint8_t head[LMS_RECORD_HEAD]);

/* Change a record by func, check, and put the old one back. */
static void change(enum lms_db db, const struct lms_key *key, change_func *func, const char *text)
{
	uint8_t head[LMS_RECORD_HEAD], new_head[LMS_RECORD_HEAD];
	struct lms_buffer old, buf;
	struct lms_value value;

	lms_buffer_init(&old);
	lms_buffer_init(&buf);
	if (!CHECK(raw_get(db, key, head, &old)))
		return;
	memcpy(value.head, head, sizeof(head));
	memcpy(new_head, head, sizeof(head));
	value.data = old.data;
	value.size = old.size;
	func(&value, &buf, new_head);
	raw_put(db, key, new_head, &buf);
	expect(lms_db_name(db), text);
	raw_put(db, key, head, &old);
	lms_buffer_free(&old);
	lms_buffer_free(&buf);
}

static void delete(enum lms_db db, const struct lms_key *key, const char *text)
{
	uint8_t head[LMS_RECORD_HEAD];
	struct lms_buffer old;

	lms_buffer_init(&old);
	if (!CHECK(raw_get(db, key, head, &old)))
		return;
	raw_del(db, key);
	expect("deleted", text);
	raw_put(db, key, head, &old);
	lms_buffer_free(&old);
}

static void add(enum lms_db db, const struct lms_key *key, const uint8_t head[LMS_RECORD_HEAD],
		const struct lms_buffer *buf, const char *text)
{
	raw_put(db, key, head, buf);
	expect("added", text);
	raw_del(db, key);
}

#define FOLDER_CHANGE(name, statement) \
	static void name(struct lms_value *value, struct lms_buffer *buf, uint8_t head[LMS_RECORD_HEAD]) \
	{ \
		struct lms_folder_record rec; \
		\
		CHECK(lms_folder_decode(value, &rec) == 0); \
		statement; \
		lms_folder_encode(&rec, head, buf); \
	}

FOLDER_CHANGE(more_messages, rec.pub.messages++)
FOLDER_CHANGE(fewer_seen, rec.pub.seen--)
FOLDER_CHANGE(other_size, rec.pub.physical_size += 5)
FOLDER_CHANGE(low_uidnext, rec.pub.uidnext = 4)
FOLDER_CHANGE(more_changes, rec.change_records++)
FOLDER_CHANGE(old_change, rec.pub.change = 6)
FOLDER_CHANGE(no_epoch, rec.pub.epoch = 0)
FOLDER_CHANGE(other_node, rec.node_id += 1)

static void garble(struct lms_value *value, struct lms_buffer *buf, uint8_t head[LMS_RECORD_HEAD])
{
	(void)head;
	lms_buffer_add(buf, value->data, value->size / 2);
}

static void refer_elsewhere(struct lms_value *value, struct lms_buffer *buf, uint8_t head[LMS_RECORD_HEAD])
{
	char guid[LMS_GUID_SIZE * 2 + 1];
	struct lms_message message;

	CHECK(lms_message_decode(value, 2, guid, &message) == 0);
	message.body_id = 77777;
	lms_message_encode(&message, head, buf);
}

static void add_keyword(struct lms_value *value, struct lms_buffer *buf, uint8_t head[LMS_RECORD_HEAD])
{
	static const uint8_t keywords[] = { 1, 1 };
	char guid[LMS_GUID_SIZE * 2 + 1];
	struct lms_message message;

	CHECK(lms_message_decode(value, 2, guid, &message) == 0);
	message.keywords = keywords;
	message.keyword_bytes = 2;
	lms_message_encode(&message, head, buf);
}

static void count_three(struct lms_value *value, struct lms_buffer *buf, uint8_t head[LMS_RECORD_HEAD])
{
	(void)value;
	lms_number_encode(3, head, buf);
}

static void shorten(struct lms_value *value, struct lms_buffer *buf, uint8_t head[LMS_RECORD_HEAD])
{
	(void)head;
	lms_buffer_add(buf, value->data, value->size - 1);
}

static void rename_node(struct lms_value *value, struct lms_buffer *buf, uint8_t head[LMS_RECORD_HEAD])
{
	struct lms_node_record node;

	CHECK(lms_node_decode(value, &node) == 0);
	node.name = "another";
	node.name_size = 7;
	lms_node_encode(&node, head, buf);
}

static void make_loop(struct lms_value *value, struct lms_buffer *buf, uint8_t head[LMS_RECORD_HEAD])
{
	struct lms_node_record node;

	CHECK(lms_node_decode(value, &node) == 0);
	/* The first node is "parent" with id 1. */
	node.parent_id = 1;
	lms_node_encode(&node, head, buf);
}

static void point_to_two(struct lms_value *value, struct lms_buffer *buf, uint8_t head[LMS_RECORD_HEAD])
{
	struct lms_name_record name;

	CHECK(lms_name_decode(value, &name) == 0);
	name.node.node_id = 2;
	lms_name_encode(&name, head, buf);
}

static void rewind_ids(struct lms_value *value, struct lms_buffer *buf, uint8_t head[LMS_RECORD_HEAD])
{
	struct lms_meta meta;

	CHECK(lms_meta_decode(value, &meta) == 0);
	meta.next_node_id = meta.next_folder_id = meta.next_body_id = 2;
	lms_meta_encode(&meta, head, buf);
}

static void test_folders(void)
{
	struct lms_key key;

	make_store();
	lms_key_id(&key, a);
	change(LMS_DB_FOLDERS, &key, more_messages, "says 5 messages");
	change(LMS_DB_FOLDERS, &key, fewer_seen, "1 seen");
	change(LMS_DB_FOLDERS, &key, other_size, "15 and 10 bytes");
	change(LMS_DB_FOLDERS, &key, low_uidnext, "UIDNEXT 4");
	change(LMS_DB_FOLDERS, &key, more_changes, "3 records of changes");
	change(LMS_DB_FOLDERS, &key, old_change, "record of change");
	change(LMS_DB_FOLDERS, &key, no_epoch, "no UIDVALIDITY");
	change(LMS_DB_FOLDERS, &key, other_node, "isn't at node");
	change(LMS_DB_FOLDERS, &key, garble, "makes no sense");
	delete(LMS_DB_FOLDERS, &key, "doesn't exist");
	lms_key_meta(&key);
	change(LMS_DB_META, &key, rewind_ids, "can't exist yet");
	env = test_open();
	CHECK_STORE(env);
	lms_env_close(&env);
}

static void test_tree(void)
{
	struct lms_key key;

	make_store();
	lms_key_id(&key, 1);
	change(LMS_DB_NODES, &key, make_loop, "isn't below the root");
	lms_key_id(&key, 2);
	change(LMS_DB_NODES, &key, rename_node, "isn't found by its name another");
	change(LMS_DB_NODES, &key, garble, "makes no sense");
	delete(LMS_DB_NODES, &key, "names: node 2 doesn't exist");
	lms_key_name(&key, 1, "a", 1);
	delete(LMS_DB_NAMES, &key, "isn't found by its name a");
	lms_key_name(&key, 1, "b", 1);
	change(LMS_DB_NAMES, &key, point_to_two, "a name that isn't its own");
	change(LMS_DB_NAMES, &key, garble, "makes no sense");
	env = test_open();
	CHECK_STORE(env);
	lms_env_close(&env);
}

static void test_messages(void)
{
	uint8_t head[LMS_RECORD_HEAD];
	struct lms_buffer buf;
	struct lms_key key;

	make_store();
	lms_buffer_init(&buf);
	lms_key_id_number(&key, a, 2);
	change(LMS_DB_MESSAGES, &key, refer_elsewhere, "body 12fd1 is missing");
	change(LMS_DB_MESSAGES, &key, refer_elsewhere, "has no message and isn't garbage");
	change(LMS_DB_MESSAGES, &key, add_keyword, "keyword that doesn't exist");
	change(LMS_DB_MESSAGES, &key, garble, "makes no sense");
	delete(LMS_DB_MESSAGES, &key, "has no message and isn't garbage");
	lms_string_encode("k", 1, head, &buf);
	lms_key_id_number(&key, 99, 1);
	add(LMS_DB_KEYWORDS, &key, head, &buf, "keywords: folder 63 doesn't exist");
	lms_key_id_number(&key, a, 9);
	add(LMS_DB_KEYWORDS, &key, head, &buf, "keyword 9 of folder");
	lms_key_change(&key, a, 100, 0);
	add(LMS_DB_CHANGES, &key, head, &buf, "record of change 100");
	lms_key_subscribed(&key, "other", 5);
	add(LMS_DB_SUBSCRIBED, &key, head, &buf, "key of k is another one's");
	lms_key_attribute(&key, a, NULL, "other", 5);
	add(LMS_DB_ATTRIBUTES, &key, head, &buf, "attributes: a record makes no sense");
	env = test_open();
	CHECK_STORE(env);
	lms_env_close(&env);
}

static void test_bodies(void)
{
	uint8_t head[LMS_RECORD_HEAD] = { LMS_RECORD_VERSION, 0, 0, 0 };
	uint64_t ids[2];
	struct lms_buffer buf;
	struct lms_key key;

	make_store();
	lms_buffer_init(&buf);
	lms_key_id_number(&key, body_id, 0);
	change(LMS_DB_BODIES, &key, shorten, "has 1 bytes, but its message says 2");
	delete(LMS_DB_BODIES, &key, "is missing");
	lms_buffer_add(&buf, "data", 4);
	lms_key_id_number(&key, body_id, 1);
	add(LMS_DB_BODIES, &key, head, &buf, "bytes, but its message says");
	lms_key_id_number(&key, 5555, 0);
	add(LMS_DB_BODIES, &key, head, &buf, "body 15b3 has no message");
	lms_key_id(&key, shared_id);
	change(LMS_DB_BODYREFS, &key, count_three, "has 2 messages, but a count of 3");
	delete(LMS_DB_BODYREFS, &key, "has 2 messages, but a count of 1");
	lms_buffer_free(&buf);
	lms_number_encode(1, head, &buf);
	lms_key_id(&key, body_id);
	add(LMS_DB_BODYREFS, &key, head, &buf, "a count of 1");
	add(LMS_DB_STAGING, &key, head, &buf, "is in use");
	lms_key_id(&key, garbage_id);
	delete(LMS_DB_BODYREFS, &key, "has 0 messages and a count of 1");
	lms_buffer_free(&buf);
	ids[0] = body_id;
	(void)lms_garbage_encode(LMS_GARBAGE_BODIES, ids, 1, head, &buf);
	lms_key_garbage(&key, 1, 999);
	add(LMS_DB_GARBAGE, &key, head, &buf, "has 1 messages and a count of 1");
	lms_buffer_free(&buf);
	ids[0] = ids[1] = garbage_id;
	(void)lms_garbage_encode(LMS_GARBAGE_BODIES, ids, 2, head, &buf);
	add(LMS_DB_GARBAGE, &key, head, &buf, "is there twice");
	lms_buffer_free(&buf);
	ids[0] = a;
	(void)lms_garbage_encode(LMS_GARBAGE_FOLDER, ids, 1, head, &buf);
	add(LMS_DB_GARBAGE, &key, head, &buf, "garbage: folder");
	lms_buffer_free(&buf);
	env = test_open();
	CHECK_STORE(env);
	lms_env_close(&env);
}

/* What requests do with records that make no sense: an error with LMS_DAMAGED, and nothing is written. */
static void test_requests(void)
{
	static const enum lms_db dbs[] = { LMS_DB_FOLDERS, LMS_DB_MESSAGES, LMS_DB_BODYREFS, LMS_DB_NODES };
	uint8_t head[LMS_RECORD_HEAD];
	struct lms_buffer old, buf;
	struct lms_key key;
	unsigned int i;

	make_store();
	for (i = 0; i < sizeof(dbs) / sizeof(dbs[0]); i++) {
		lms_buffer_init(&old);
		lms_buffer_init(&buf);
		if (dbs[i] == LMS_DB_MESSAGES)
			lms_key_id_number(&key, a, 1);
		else
			lms_key_id(&key, dbs[i] == LMS_DB_FOLDERS ? a : dbs[i] == LMS_DB_NODES ? 2 : shared_id);
		CHECK(raw_get(dbs[i], &key, head, &old));
		lms_buffer_add(&buf, old.data, old.size / 2);
		raw_put(dbs[i], &key, head, &buf);
		env = test_open();
		if (dbs[i] == LMS_DB_NODES)
			CHECK_FAILS(test_delete(env, a), LMS_DAMAGED);
		else if (dbs[i] != LMS_DB_FOLDERS)
			CHECK_FAILS(test_copy(env, a, 1, 1, b, false), LMS_DAMAGED);
		if (dbs[i] != LMS_DB_NODES)
			CHECK_FAILS(test_expunge(env, a, 1, 1), LMS_DAMAGED);
		CHECK(test_save_text(env, b, "x") != 0);
		lms_env_close(&env);
		raw_put(dbs[i], &key, head, &old);
		lms_buffer_free(&old);
		lms_buffer_free(&buf);
	}
	env = test_open();
	CHECK_STORE(env);
	lms_env_close(&env);
}

static const struct test tests[] = {
	{ "folders", test_folders },
	{ "tree", test_tree },
	{ "messages", test_messages },
	{ "bodies", test_bodies },
	{ "requests", test_requests },
	TEST_END
};

int main(int argc, char *argv[])
{
	return test_main(argc, argv, tests);
}
