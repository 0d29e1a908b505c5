/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "test-common.h"

/* Saving, copying, moving, flags, keywords, expunges, and how views learn of them. */

static struct lms_env *env;

static int save(uint64_t folder_id, const struct lms_save_message *messages, unsigned int count, uint32_t *uids)
{
	static const char *names[] = { "one", "two", "three" };
	struct lms_request request;

	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_SAVE;
	request.u.save.folder_id = folder_id;
	request.u.save.keyword_names = names;
	request.u.save.keyword_name_count = 3;
	request.u.save.messages = messages;
	request.u.save.message_count = count;
	request.u.save.uids_r = uids;
	return test_submit(env, &request);
}

static struct lms_message get(uint64_t folder_id, uint32_t uid)
{
	struct lms_message message;

	memset(&message, 0, sizeof(message));
	CHECK(lms_message_get(env, folder_id, uid, &message, &test_error) == 1);
	return message;
}

static bool has(uint64_t folder_id, uint32_t uid)
{
	struct lms_message message;
	int ret = lms_message_get(env, folder_id, uid, &message, &test_error);

	CHECK(ret >= 0);
	return ret > 0;
}

struct log {
	char text[4096];
};

static int log_change(enum lms_change_kind kind, uint32_t uid1, uint32_t uid2, void *context)
{
	struct log *log = context;
	size_t used = strlen(log->text);

	snprintf(log->text + used, sizeof(log->text) - used, "%c%u-%u ", kind == LMS_CHANGE_EXPUNGE ? 'x' : 'f', uid1,
		 uid2);
	return 0;
}

static const char *changes(uint64_t folder_id, uint64_t after)
{
	static struct log log;

	log.text[0] = '\0';
	CHECK_OK(lms_changes_scan(env, folder_id, after, log_change, &log, &test_error));
	return log.text;
}

static int log_keyword(unsigned int number, const char *name, void *context)
{
	struct log *log = context;
	size_t used = strlen(log->text);

	snprintf(log->text + used, sizeof(log->text) - used, "%u:%s ", number, name);
	return 0;
}

static const char *keywords(uint64_t folder_id)
{
	static struct log log;

	log.text[0] = '\0';
	CHECK_OK(lms_keyword_scan(env, folder_id, log_keyword, &log, &test_error));
	return log.text;
}

static int log_uid(const struct lms_message *message, void *context)
{
	struct log *log = context;
	size_t used = strlen(log->text);

	snprintf(log->text + used, sizeof(log->text) - used, "%u ", message->uid);
	return message->uid == 7 ? 7 : 0;
}

static void test_fields(void)
{
	struct lms_save_message messages[3];
	static const uint16_t used[] = { 2, 0, 2 };
	struct lms_message message;
	uint64_t folder_id;
	uint32_t uids[3];
	struct lms_folder folder;

	env = test_open();
	folder_id = test_folder(env, "a");
	memset(messages, 0, sizeof(messages));
	messages[0].data = "0123456789";
	messages[0].size = 10;
	messages[0].flags = 0xff;
	messages[0].keywords = used;
	messages[0].keyword_count = 3;
	messages[0].received = -12345678901;
	messages[0].saved = INT64_MAX;
	messages[0].physical_size = 20;
	messages[0].virtual_size = 7;
	messages[0].guid = "any text, even very long: 0123456789012345678901234567890123456789";
	messages[0].pop3_uidl = "uidl \xc3\xa4";
	messages[0].pop3_order = UINT32_MAX;
	messages[0].min_modseq = UINT64_MAX;
	messages[1].guid = "0123456789abcdef0123456789abcdef";
	messages[1].received = INT64_MIN;
	messages[1].saved = INT64_MAX;
	messages[1].physical_size = UINT64_MAX / 4;
	messages[1].virtual_size = UINT64_MAX / 4 + 100;
	messages[2].guid = "0123456789ABCDEF0123456789abcdef";
	CHECK_OK(save(folder_id, messages, 3, uids));
	CHECK(uids[0] == 1 && uids[1] == 2 && uids[2] == 3);
	message = get(folder_id, 1);
	CHECK_U64(message.uid, 1);
	CHECK_U64(message.flags, LMS_FLAGS_MASK);
	CHECK(message.received == -12345678901 && message.saved == INT64_MAX);
	CHECK_U64(message.physical_size, 20);
	CHECK_U64(message.virtual_size, 7);
	CHECK_U64(message.body_size, 10);
	CHECK_STR(message.guid, messages[0].guid);
	CHECK_STR(message.pop3_uidl, messages[0].pop3_uidl);
	CHECK_U64(message.pop3_order, UINT32_MAX);
	CHECK(message.min_modseq == UINT64_MAX);
	/* Numbers are given in the order of use: "three" first. */
	CHECK_STR(keywords(folder_id), "0:three 1:one ");
	CHECK(message.keyword_bytes == 1 && message.keywords[0] == 3);
	CHECK(test_body_is(env, message.body_id, "0123456789", 10));
	message = get(folder_id, 2);
	CHECK_STR(message.guid, messages[1].guid);
	CHECK(message.received == INT64_MIN && message.saved == INT64_MAX);
	CHECK(message.pop3_uidl == NULL && message.pop3_order == 0 && message.min_modseq == 0);
	CHECK(message.keyword_bytes == 0 && message.flags == 0);
	CHECK(message.physical_size == UINT64_MAX / 4 && message.virtual_size == UINT64_MAX / 4 + 100);
	CHECK(test_body_is(env, message.body_id, "", 0));
	CHECK_STR(get(folder_id, 3).guid, messages[2].guid);
	folder = test_folder_get(env, folder_id);
	CHECK(folder.have_pop3_uidl && folder.have_pop3_order && folder.messages == 3 && folder.seen == 1);
	CHECK_U64(folder.change, 2);
	CHECK_STR(changes(folder_id, 0), "");
	CHECK_STORE(env);
	lms_env_close(&env);
}

static void test_uids(void)
{
	struct lms_save_message messages[4];
	uint64_t folder_id;
	uint32_t uids[4];
	struct log log = { "" };

	env = test_open();
	folder_id = test_folder(env, "a");
	memset(messages, 0, sizeof(messages));
	messages[1].uid = 10;
	messages[2].uid = 5;
	messages[3].uid = 12;
	CHECK_OK(save(folder_id, messages, 4, uids));
	CHECK(uids[0] == 1 && uids[1] == 10 && uids[2] == 11 && uids[3] == 12);
	CHECK_U64(test_reply.folder.uidnext, 13);
	CHECK_OK(test_expunge(env, folder_id, 12, 12));
	CHECK(test_save_text(env, folder_id, "x") == 13);
	CHECK_OK(lms_message_scan(env, folder_id, 2, 12, log_uid, &log, &test_error));
	CHECK_STR(log.text, "10 11 ");
	/* The last UID that there can be, and then none. */
	messages[0].uid = UINT32_MAX - 3;
	CHECK_OK(save(folder_id, messages, 1, uids));
	CHECK_U64(uids[0], UINT32_MAX - 3);
	messages[0].uid = 0;
	CHECK_FAILS(save(folder_id, messages, 2, uids), LMS_INVALID);
	CHECK_OK(save(folder_id, messages, 1, uids));
	CHECK_U64(uids[0], UINT32_MAX - 2);
	CHECK_U64(test_reply.folder.uidnext, UINT32_MAX - 1);
	CHECK_FAILS(save(folder_id, messages, 1, uids), LMS_INVALID);
	messages[0].uid = UINT32_MAX;
	CHECK_FAILS(save(folder_id, messages, 1, uids), LMS_INVALID);
	CHECK_STORE(env);
	lms_env_close(&env);
}

static void test_save_fails(void)
{
	static char text[5000];
	struct lms_save_message messages[2];
	static const uint16_t wrong[] = { 3 };
	struct lms_folder before, after;
	uint64_t folder_id;
	uint32_t uids[2];

	env = test_open();
	folder_id = test_folder(env, "a");
	before = test_folder_get(env, folder_id);
	memset(messages, 0, sizeof(messages));
	messages[0].data = "text";
	messages[0].size = 4;
	CHECK_FAILS(save(folder_id + 1, messages, 1, uids), LMS_NOTFOUND);
	messages[1].keywords = wrong;
	messages[1].keyword_count = 1;
	CHECK_FAILS(save(folder_id, messages, 2, uids), LMS_INVALID);
	messages[1].keyword_count = 0;
	messages[1].source = LMS_SAVE_COPY;
	messages[1].source_folder_id = folder_id;
	messages[1].source_uid = 9;
	CHECK_FAILS(save(folder_id, messages, 2, uids), LMS_NOTFOUND);
	messages[1].source = LMS_SAVE_MOVE;
	CHECK_FAILS(save(folder_id, messages, 2, uids), LMS_NOTFOUND);
	messages[1].source_folder_id = 99;
	CHECK_FAILS(save(folder_id, messages, 2, uids), LMS_NOTFOUND);
	messages[1].source = LMS_SAVE_STAGED;
	messages[1].body_id = 1;
	CHECK_FAILS(save(folder_id, messages, 2, uids), LMS_NOTFOUND);
	memset(text, 'x', sizeof(text) - 1);
	messages[1].source = LMS_SAVE_DATA;
	messages[1].guid = text;
	CHECK_FAILS(save(folder_id, messages, 2, uids), LMS_INVALID);
	messages[1].guid = NULL;
	messages[1].pop3_uidl = text;
	CHECK_FAILS(save(folder_id, messages, 2, uids), LMS_INVALID);
	after = test_folder_get(env, folder_id);
	CHECK(memcmp(&before, &after, sizeof(after)) == 0);
	CHECK_OK(save(folder_id, messages, 0, uids));
	after = test_folder_get(env, folder_id);
	CHECK(memcmp(&before, &after, sizeof(after)) == 0);
	CHECK_STORE(env);
	lms_env_close(&env);
}

static void test_copy_move(void)
{
	struct lms_save_message messages[3];
	struct lms_message source, copy;
	char guid[33];
	uint64_t a, b, body_id, refs;
	uint32_t uids[3];

	env = test_open();
	a = test_folder(env, "a");
	b = test_folder(env, "b");
	memset(messages, 0, sizeof(messages));
	messages[0].data = "the text";
	messages[0].size = messages[0].physical_size = 8;
	messages[0].virtual_size = 9;
	messages[0].received = 111;
	messages[0].saved = 222;
	messages[0].pop3_uidl = "uidl";
	messages[0].pop3_order = 3;
	CHECK_OK(save(a, messages, 1, uids));
	source = get(a, 1);
	body_id = source.body_id;
	strcpy(guid, source.guid);
	CHECK(lms_body_refcount(env, body_id, &refs, &test_error) == 1 && refs == 1);

	/* A copy is the source's but for what is given. */
	memset(messages, 0, sizeof(messages));
	messages[0].source = messages[1].source = LMS_SAVE_COPY;
	messages[0].source_folder_id = messages[1].source_folder_id = a;
	messages[0].source_uid = messages[1].source_uid = 1;
	messages[0].received = INT64_MIN;
	messages[0].saved = messages[1].saved = 333;
	messages[0].physical_size = 99999;
	messages[0].flags = LMS_SEEN;
	messages[1].received = 444;
	messages[1].guid = "other";
	messages[1].pop3_uidl = "other uidl";
	messages[1].pop3_order = 7;
	messages[1].min_modseq = 5;
	CHECK_OK(save(b, messages, 2, uids));
	copy = get(b, 1);
	CHECK(copy.body_id == body_id && copy.received == 111 && copy.saved == 333 && copy.physical_size == 8);
	CHECK(copy.virtual_size == 9 && copy.body_size == 8 && copy.flags == LMS_SEEN && copy.pop3_order == 3);
	CHECK_STR(copy.guid, guid);
	CHECK_STR(copy.pop3_uidl, "uidl");
	copy = get(b, 2);
	CHECK(copy.received == 444 && copy.pop3_order == 7 && copy.min_modseq == 5);
	CHECK_STR(copy.guid, "other");
	CHECK_STR(copy.pop3_uidl, "other uidl");
	CHECK(lms_body_refcount(env, body_id, &refs, &test_error) == 1 && refs == 3);
	CHECK_STORE(env);

	/* Moves: to another folder, within the folder, and twice the same in one request */
	CHECK_OK(test_copy(env, a, 1, 1, b, true));
	CHECK(!has(a, 1) && has(b, 3));
	CHECK(test_folder_get(env, a).messages == 0 && test_folder_get(env, a).physical_size == 0);
	CHECK_STR(changes(a, 0), "x1-1 ");
	CHECK(lms_body_refcount(env, body_id, &refs, &test_error) == 1 && refs == 3);
	CHECK_U64(test_folder_get(env, b).change, 3);
	CHECK_OK(test_copy(env, b, 1, 2, b, true));
	CHECK(!has(b, 1) && !has(b, 2) && has(b, 4) && has(b, 5));
	CHECK_STR(changes(b, 0), "x1-2 ");
	CHECK_U64(test_folder_get(env, b).change, 4);
	CHECK_OK(test_copy(env, b, 3, 5, b, false));
	CHECK_U64(test_folder_get(env, b).messages, 6);
	CHECK_FAILS(test_copy(env, a, 1, 1, b, true), LMS_NOTFOUND);
	messages[0].source = messages[1].source = LMS_SAVE_MOVE;
	messages[0].source_folder_id = messages[1].source_folder_id = b;
	messages[0].source_uid = messages[1].source_uid = 3;
	CHECK_FAILS(save(a, messages, 2, uids), LMS_NOTFOUND);
	CHECK(has(b, 3));
	/* Copy, then move the same */
	messages[0].source = LMS_SAVE_COPY;
	CHECK_OK(save(a, messages, 2, uids));
	CHECK(!has(b, 3) && has(a, 2) && has(a, 3));
	CHECK_STORE(env);
	/* The last message takes the body with it. */
	CHECK_OK(test_expunge(env, a, 1, 100));
	CHECK_OK(test_expunge(env, b, 1, 100));
	CHECK(lms_body_refcount(env, body_id, &refs, &test_error) == 1 && refs == 0);
	CHECK(test_body_is(env, body_id, "the text", 8));
	test_collect(env, 0);
	CHECK(lms_body_refcount(env, body_id, &refs, &test_error) == 0);
	CHECK_STORE(env);
	lms_env_close(&env);
}

static void test_floor(void)
{
	struct lms_request request;
	uint64_t a, b;

	env = test_open();
	a = test_folder(env, "a");
	b = test_folder(env, "b");
	CHECK(test_save_text(env, a, "x") == 1);
	CHECK_U64(test_folder_get(env, a).modseq_floor, 0);
	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_SYNC;
	request.u.sync.folder_id = a;
	request.u.sync.modseq_floor = 100;
	request.u.sync.first_recent_uid = 2;
	CHECK_OK(test_submit(env, &request));
	CHECK_U64(test_reply.folder.change, 2);
	CHECK_U64(test_reply.folder.modseq_floor, 100);
	CHECK_U64(test_reply.folder.first_recent_uid, 2);
	request.u.sync.modseq_floor = 50;
	request.u.sync.first_recent_uid = 1;
	CHECK_OK(test_submit(env, &request));
	CHECK_U64(test_reply.folder.modseq_floor, 100);
	CHECK_U64(test_reply.folder.first_recent_uid, 2);
	CHECK(test_save_text(env, a, "x") == 2);
	CHECK_U64(test_folder_get(env, a).modseq_floor, 101);
	CHECK_OK(test_copy(env, a, 1, 2, a, false));
	CHECK_U64(test_folder_get(env, a).modseq_floor, 103);
	request.u.sync.folder_id = b + 1;
	CHECK_FAILS(test_submit(env, &request), LMS_NOTFOUND);
	lms_env_close(&env);
}

static void test_flags_changes(void)
{
	struct lms_flag_change flags[] = { { 1, 5, LMS_SEEN, 0 }, { 3, 3, LMS_DRAFT, LMS_SEEN }, { 8, 8, 0xff, 0 },
		{ 100, 200, LMS_SEEN, 0 }, { 9, 8, LMS_SEEN, 0 } };
	struct lms_request request;
	struct lms_folder folder;
	uint64_t a;
	unsigned int i;

	env = test_open();
	a = test_folder(env, "a");
	for (i = 1; i <= 10; i++)
		CHECK(test_save_text(env, a, "x") == i);
	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_SYNC;
	request.u.sync.folder_id = a;
	request.u.sync.flags = flags;
	request.u.sync.flag_count = 5;
	CHECK_OK(test_submit(env, &request));
	CHECK_U64(test_reply.change_before, 11);
	CHECK_U64(test_reply.folder.change, 12);
	CHECK_U64(test_reply.folder.flag_change, 1);
	CHECK_U64(test_reply.folder.seen, 5);
	CHECK_U64(get(a, 3).flags, LMS_DRAFT);
	CHECK_U64(get(a, 8).flags, LMS_FLAGS_MASK);
	CHECK_U64(get(a, 1).flags, LMS_SEEN);
	CHECK_STR(changes(a, 11), "f1-5 f8-8 ");
	/* The same again changes nothing, so there is no change. The third does on the way to the same. */
	request.u.sync.flag_count = 1;
	flags[0].uid2 = 2;
	CHECK_OK(test_submit(env, &request));
	CHECK_U64(test_reply.folder.change, 12);
	CHECK_U64(test_reply.folder.flag_change, 1);
	CHECK_OK(test_expunge(env, a, 2, 4));
	CHECK_U64(test_reply.folder.flag_change, 1);
	CHECK_OK(test_expunge(env, a, 2, 4));
	CHECK_U64(test_reply.folder.change, 13);
	CHECK_OK(test_expunge(env, a, 6, 9));
	CHECK_STR(changes(a, 11), "f1-5 f8-8 x2-4 x6-9 ");
	CHECK_STR(changes(a, 12), "x2-4 x6-9 ");
	CHECK_STR(changes(a, 13), "x6-9 ");
	CHECK_STR(changes(a, 14), "");
	CHECK_STR(changes(a, UINT64_MAX), "");
	folder = test_folder_get(env, a);
	CHECK(folder.messages == 3 && folder.seen == 2 && folder.physical_size == 3 && folder.uidnext == 11);
	CHECK_U64(folder.changes_since, 0);
	/* Flags and expunge of the same message in one request */
	flags[0].uid1 = flags[0].uid2 = 10;
	flags[0].add = LMS_DELETED;
	request.u.sync.expunges = &(const struct lms_uid_range){ 10, 10 };
	request.u.sync.expunge_count = 1;
	CHECK_OK(test_submit(env, &request));
	CHECK_STR(changes(a, 14), "f10-10 x10-10 ");
	CHECK_STORE(env);
	lms_env_close(&env);
}

/* Many keywords: bitmaps of more than 64 bits, which grow and shrink. */
static void test_keywords(void)
{
	char name[64];
	struct lms_message message;
	uint64_t a, b;
	unsigned int i;

	env = test_open();
	a = test_folder(env, "a");
	b = test_folder(env, "b");
	for (i = 1; i <= 100; i++)
		CHECK(test_save_text(env, a, "x") == i);
	CHECK(test_save_text(env, b, "x") == 1);
	/* Another folder's keywords with a later id are another's. */
	CHECK_OK(test_keyword(env, b, 1, 1, "b's", true));
	CHECK_STR(keywords(a), "");
	for (i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "keyword-%u", i);
		CHECK_OK(test_keyword(env, a, i % 100 + 1, 100, name, true));
	}
	message = get(a, 100);
	CHECK_U64(message.keyword_bytes, 38);
	for (i = 0; i < 300; i++)
		CHECK((message.keywords[i / 8] & 1 << i % 8) != 0);
	message = get(a, 1);
	CHECK_U64(message.keyword_bytes, 26);
	for (i = 0; i < 208; i++)
		CHECK(((message.keywords[i / 8] & 1 << i % 8) != 0) == (i % 100 == 0));
	for (i = 50; i < 300; i++) {
		snprintf(name, sizeof(name), "keyword-%u", i);
		CHECK_OK(test_keyword(env, a, 1, 100, name, false));
	}
	CHECK_U64(get(a, 100).keyword_bytes, 7);
	CHECK_U64(get(a, 1).keyword_bytes, 1);
	/* Known from now on, without a message that has it */
	CHECK_OK(test_keyword(env, b, 1, 1, "new", false));
	CHECK_STR(keywords(b), "0:b's 1:new ");
	CHECK_FAILS(test_keyword(env, b, 1, 1, "", true), LMS_INVALID);
	CHECK_STR(keywords(b), "0:b's 1:new ");
	/* Case matters. */
	CHECK_OK(test_keyword(env, b, 1, 1, "NEW", true));
	CHECK_STR(keywords(b), "0:b's 1:new 2:NEW ");
	CHECK_STORE(env);
	lms_env_close(&env);
}

/* The names of a sync are made known in their order, also those that no change uses. */
static void test_keyword_order(void)
{
	static const char *names[] = { "c", "a", "b" };
	struct lms_keyword_change change = { 1, 1, 2, true };
	struct lms_request request;
	uint64_t a;

	env = test_open();
	a = test_folder(env, "a");
	CHECK(test_save_text(env, a, "x") == 1);
	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_SYNC;
	request.u.sync.folder_id = a;
	request.u.sync.keyword_names = names;
	request.u.sync.keyword_name_count = 3;
	request.u.sync.keywords = &change;
	request.u.sync.keyword_count = 1;
	CHECK_OK(test_submit(env, &request));
	CHECK_STR(keywords(a), "0:c 1:a 2:b ");
	CHECK(get(a, 1).keywords[0] == 4);
	change.keyword = 3;
	CHECK_FAILS(test_submit(env, &request), LMS_INVALID);
	lms_env_close(&env);
}

static int count_change(enum lms_change_kind kind, uint32_t uid1, uint32_t uid2, void *context)
{
	(void)kind;
	*(unsigned int *)context += uid2 - uid1 + 1;
	return 0;
}

/* One change of many ranges takes several records. */
static void test_many_ranges(void)
{
	static struct lms_uid_range ranges[3000];
	struct lms_request request;
	unsigned int i, count = 0;
	uint64_t a;

	env = test_open();
	a = test_folder(env, "a");
	CHECK(test_save_text(env, a, "x") == 1);
	for (i = 0; i < 13; i++)
		CHECK_OK(test_copy(env, a, 1, 1 << i, a, false));
	for (i = 0; i < 3000; i++)
		ranges[i].uid1 = ranges[i].uid2 = 2 + i * 2;
	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_SYNC;
	request.u.sync.folder_id = a;
	request.u.sync.expunges = ranges;
	request.u.sync.expunge_count = 3000;
	CHECK_OK(test_submit(env, &request));
	CHECK_OK(lms_changes_scan(env, a, test_reply.change_before, count_change, &count, &test_error));
	CHECK_U64(count, 3000);
	CHECK_U64(test_reply.folder.change, test_reply.change_before + 1);
	CHECK_STORE(env);
	lms_env_close(&env);
}

/* The last 10,000 changes are kept, and changes_since tells from where on. */
static void test_trimming(void)
{
	struct lms_request request;
	struct lms_flag_change change = { 1, 1, 0, 0 };
	struct lms_folder folder;
	unsigned int i, count;
	uint64_t a;

	env = test_open();
	a = test_folder(env, "a");
	CHECK(test_save_text(env, a, "x") == 1);
	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_SYNC;
	request.no_sync = true;
	request.u.sync.folder_id = a;
	request.u.sync.flags = &change;
	request.u.sync.flag_count = 1;
	for (i = 0; i < 21000; i++) {
		change.add = i % 2 == 0 ? LMS_SEEN : 0;
		change.remove = i % 2 == 0 ? 0 : LMS_SEEN;
		if (!CHECK_OK(test_submit(env, &request)))
			break;
		if (i % 1000 != 0)
			continue;
		folder = test_folder_get(env, a);
		count = 0;
		CHECK_OK(lms_changes_scan(env, a, folder.changes_since, count_change, &count, &test_error));
		CHECK_U64(count, folder.change - (folder.changes_since < 2 ? 2 : folder.changes_since));
		CHECK(folder.change - folder.changes_since <= 10300);
		CHECK(folder.changes_since == 0 || folder.change - folder.changes_since >= 10000);
	}
	CHECK(test_folder_get(env, a).changes_since > 10000);
	/* Additions need no records, so they don't push any out. */
	folder = test_folder_get(env, a);
	for (i = 0; i < 100; i++)
		CHECK(test_save_text(env, a, "x") != 0);
	CHECK_U64(test_folder_get(env, a).changes_since, folder.changes_since);
	CHECK_STORE(env);
	lms_env_close(&env);
}

static void test_scan(void)
{
	struct log log = { "" };
	uint64_t a, b;
	unsigned int i;

	env = test_open();
	a = test_folder(env, "a");
	b = test_folder(env, "b");
	for (i = 1; i <= 20; i++) {
		CHECK(test_save_text(env, a, "x") == i);
		CHECK(test_save_text(env, b, "x") == i);
	}
	CHECK_OK(lms_message_scan(env, a, 15, UINT32_MAX, log_uid, &log, &test_error));
	CHECK_STR(log.text, "15 16 17 18 19 20 ");
	log.text[0] = '\0';
	CHECK(lms_message_scan(env, a, 5, 10, log_uid, &log, &test_error) == 7);
	CHECK_STR(log.text, "5 6 7 ");
	log.text[0] = '\0';
	CHECK_OK(lms_message_scan(env, a, 10, 9, log_uid, &log, &test_error));
	CHECK_OK(lms_message_scan(env, a, 21, 30, log_uid, &log, &test_error));
	CHECK_OK(lms_message_scan(env, b + 1, 1, UINT32_MAX, log_uid, &log, &test_error));
	CHECK_STR(log.text, "");
	lms_env_close(&env);
}

static const struct test tests[] = {
	{ "fields", test_fields },
	{ "uids", test_uids },
	{ "save-fails", test_save_fails },
	{ "copy-move", test_copy_move },
	{ "floor", test_floor },
	{ "flags-changes", test_flags_changes },
	{ "keywords", test_keywords },
	{ "keyword-order", test_keyword_order },
	{ "many-ranges", test_many_ranges },
	{ "trimming", test_trimming },
	{ "scan", test_scan },
	TEST_END
};

int main(int argc, char *argv[])
{
	return test_main(argc, argv, tests);
}
