/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#define _GNU_SOURCE
#include "test-publisher.h"
#include "test-fault.h"
#include "test-raw.h"
#include "lms-wire.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Shared commits, from the leader's side: what others have published is carried out with its own request. */

#define MB ((uint64_t)1 << 20)

static struct lms_env *env;
static uint64_t inbox;
static uint8_t data[20000];

/* A request with all that it points to */
struct prepared {
	struct lms_request request;
	struct lms_save_message messages[3];
	uint32_t uids[3];
	struct lms_flag_change flags;
	struct lms_uid_range expunge;
};

static void begin(void)
{
	test_fill(data, sizeof(data), 3);
	env = test_open();
	inbox = test_folder(env, "INBOX");
}

static void end(void)
{
	CHECK_STORE(env);
	lms_env_close(&env);
}

static const struct lms_request *prepare_save(struct prepared *prepared, unsigned int count)
{
	unsigned int i;

	memset(prepared, 0, sizeof(*prepared));
	for (i = 0; i < count; i++) {
		prepared->messages[i].data = data + i;
		prepared->messages[i].size = 3000;
		prepared->messages[i].physical_size = prepared->messages[i].virtual_size = 3000;
		prepared->messages[i].received = prepared->messages[i].saved = 1700000000;
	}
	prepared->request.op = LMS_OP_SAVE;
	prepared->request.u.save.folder_id = inbox;
	prepared->request.u.save.messages = prepared->messages;
	prepared->request.u.save.message_count = count;
	prepared->request.u.save.uids_r = prepared->uids;
	return &prepared->request;
}

static const struct lms_request *prepare_flags(struct prepared *prepared, uint32_t uid, uint8_t add)
{
	memset(prepared, 0, sizeof(*prepared));
	prepared->flags.uid1 = prepared->flags.uid2 = uid;
	prepared->flags.add = add;
	prepared->request.op = LMS_OP_SYNC;
	prepared->request.u.sync.folder_id = inbox;
	prepared->request.u.sync.flags = &prepared->flags;
	prepared->request.u.sync.flag_count = 1;
	return &prepared->request;
}

static const struct lms_request *prepare_expunge(struct prepared *prepared, uint32_t uid)
{
	memset(prepared, 0, sizeof(*prepared));
	prepared->expunge.uid1 = prepared->expunge.uid2 = uid;
	prepared->request.op = LMS_OP_SYNC;
	prepared->request.u.sync.folder_id = inbox;
	prepared->request.u.sync.expunges = &prepared->expunge;
	prepared->request.u.sync.expunge_count = 1;
	return &prepared->request;
}

/* Fails after it has written: the last message's GUID is too long. */
static const struct lms_request *prepare_refused(struct prepared *prepared)
{
	static char guid[5000];

	prepare_save(prepared, 3);
	memset(guid, 'x', sizeof(guid) - 1);
	prepared->messages[2].guid = guid;
	return &prepared->request;
}

static uint64_t commits(void)
{
	MDB_envinfo info;

	CHECK(mdb_env_info(env->mdb, &info) == 0);
	return info.me_last_txnid;
}

static bool message_is(uint32_t uid, const void *body, size_t size)
{
	struct lms_message message;

	return lms_message_get(env, inbox, uid, &message, &test_error) == 1 &&
		test_body_is(env, message.body_id, body, size);
}

/* Several requests, one commit, and each gets its own result. */
static void test_one_commit(void)
{
	struct prepared prepared[4];
	struct publisher *publishers[4];
	struct lms_message message;
	unsigned int i;
	uint64_t before;
	bool garbage;

	begin();
	CHECK(test_save_text(env, inbox, "first") == 1 && test_save_text(env, inbox, "second") == 2);
	before = commits();
	for (i = 0; i < 4; i++)
		publishers[i] = publisher_new(env);
	publisher_publish(publishers[0], prepare_save(&prepared[0], 2), 0);
	publisher_publish(publishers[1], prepare_flags(&prepared[1], 2, LMS_SEEN), 0);
	publisher_publish(publishers[2], prepare_expunge(&prepared[2], 1), 0);
	publisher_publish(publishers[3], prepare_save(&prepared[3], 1), 0);
	CHECK_U64(test_save_text(env, inbox, "leader's"), 3);
	CHECK_U64(test_reply.folder.uidnext, 4);
	CHECK_U64(commits(), before + 1);

	CHECK_OK(publisher_result(publishers[0], &garbage));
	CHECK(prepared[0].uids[0] == 4 && prepared[0].uids[1] == 5 && !garbage);
	CHECK(test_reply.folder.folder_id == inbox && test_reply.folder.uidnext == 6);
	CHECK(test_reply.folder.messages == 5 && test_reply.warning[0] == '\0');
	CHECK_OK(publisher_result(publishers[1], &garbage));
	CHECK(test_reply.folder.seen == 1 && test_reply.folder.change == test_reply.change_before + 1 && !garbage);
	CHECK_OK(publisher_result(publishers[2], &garbage));
	CHECK(test_reply.folder.messages == 4 && garbage);
	CHECK_OK(publisher_result(publishers[3], &garbage));
	CHECK(prepared[3].uids[0] == 6);
	/* The last one's is the folder as it is now. */
	CHECK(test_same_folder(test_reply.folder, test_folder_get(env, inbox)));
	CHECK(lms_message_get(env, inbox, 1, &message, &test_error) == 0);
	CHECK(message_is(4, data, 3000) && message_is(5, data + 1, 3000) && message_is(6, data, 3000));
	/* Not its own garbage */
	CHECK(!env->made_garbage);
	for (i = 0; i < 4; i++)
		publisher_free(&publishers[i]);
	end();
}

/* An error is that of one request. */
static void test_refused(void)
{
	struct prepared prepared[5];
	struct publisher *publishers[5];
	unsigned int i;
	uint64_t before;
	bool garbage;

	begin();
	before = commits();
	for (i = 0; i < 5; i++)
		publishers[i] = publisher_new(env);
	publisher_publish(publishers[0], prepare_save(&prepared[0], 1), 0);
	publisher_publish(publishers[1], prepare_refused(&prepared[1]), 0);
	prepare_save(&prepared[2], 1);
	prepared[2].request.u.save.folder_id = inbox + 100;
	publisher_publish(publishers[2], &prepared[2].request, 0);
	publisher_publish(publishers[3], prepare_refused(&prepared[3]), 0);
	publisher_publish(publishers[4], prepare_save(&prepared[4], 1), 0);
	CHECK_U64(test_save_text(env, inbox, "leader's"), 1);
	CHECK_U64(commits(), before + 1);
	CHECK_OK(publisher_result(publishers[0], &garbage));
	CHECK_U64(prepared[0].uids[0], 2);
	CHECK_FAILS(publisher_result(publishers[1], &garbage), LMS_INVALID);
	CHECK_FAILS(publisher_result(publishers[2], &garbage), LMS_NOTFOUND);
	CHECK_FAILS(publisher_result(publishers[3], &garbage), LMS_INVALID);
	CHECK_OK(publisher_result(publishers[4], &garbage));
	CHECK_U64(prepared[4].uids[0], 3);
	CHECK_U64(test_folder_get(env, inbox).messages, 3);

	/* The leader's own too */
	publisher_publish(publishers[0], prepare_save(&prepared[0], 1), 0);
	CHECK_FAILS(test_submit(env, prepare_refused(&prepared[1])), LMS_INVALID);
	CHECK_OK(publisher_result(publishers[0], &garbage));
	CHECK_U64(prepared[0].uids[0], 4);
	CHECK_U64(commits(), before + 2);
	/* Nothing to do for the leader, and what is refused is no reason to commit. */
	publisher_publish(publishers[1], prepare_refused(&prepared[1]), 0);
	CHECK_OK(test_flags(env, inbox, 1000, 2000, LMS_SEEN, 0));
	CHECK_FAILS(publisher_result(publishers[1], &garbage), LMS_INVALID);
	CHECK_U64(commits(), before + 2);
	for (i = 0; i < 5; i++)
		publisher_free(&publishers[i]);
	end();
}

/* A leader that was killed between commit and results: its batch isn't carried out again. */
static void test_reconcile(void)
{
	struct prepared prepared[2];
	struct publisher *publishers[2];
	unsigned int i, flushes;
	struct lms_folder folder;
	uint64_t before;
	bool garbage;

	begin();
	for (i = 0; i < 2; i++) {
		publishers[i] = publisher_new(env);
		publisher_publish(publishers[i], prepare_save(&prepared[i], 2), 0);
	}
	CHECK_U64(test_save_text(env, inbox, "leader's"), 1);
	for (i = 0; i < 2; i++)
		CHECK_OK(publisher_result(publishers[i], &garbage));
	before = commits();
	folder = test_reply.folder;
	for (i = 0; i < 2; i++) {
		publisher_repeat(publishers[i]);
		memset(prepared[i].uids, 0, sizeof(prepared[i].uids));
	}
	fault_begin(FAULT_NONE, 0, 0);
	CHECK_OK(test_flags(env, inbox, 1000, 2000, LMS_SEEN, 0));
	/* Results, and a flush of what the dead leader may have left in the cache */
	flushes = fault_end();
	CHECK_U64(flushes, 3);
	CHECK_U64(commits(), before);
	for (i = 0; i < 2; i++) {
		CHECK_OK(publisher_result(publishers[i], &garbage));
		CHECK(prepared[i].uids[0] == 2 + 2 * i && prepared[i].uids[1] == 3 + 2 * i);
	}
	CHECK(test_reply.folder.change == folder.change && test_reply.folder.uidnext == folder.uidnext);
	CHECK_U64(test_folder_get(env, inbox).messages, 5);

	/* It can't be flushed: nobody is told that it is there. */
	publisher_repeat(publishers[0]);
	fault_begin(FAULT_FAIL_ONCE, 1, EIO);
	CHECK_OK(test_flags(env, inbox, 1000, 2000, LMS_SEEN, 0));
	fault_end();
	CHECK_U64(publisher_state(publishers[0]), LMS_SLOT_ALONE);
	for (i = 0; i < 2; i++)
		publisher_free(&publishers[i]);
	end();
}

/* The record that says what was carried out makes no sense, or is of a newer version: then it isn't the request's. */
static void test_damaged_record(void)
{
	uint8_t head[LMS_RECORD_HEAD] = { LMS_RECORD_VERSION };
	struct prepared prepared;
	struct publisher *publisher;
	struct lms_buffer bytes;
	struct lms_key key;
	unsigned int i;
	uint32_t uid;
	bool garbage;

	begin();
	for (i = 0; i < 4; i++) {
		publisher = publisher_new(env);
		publisher_publish(publisher, prepare_save(&prepared, 1), 0);
		uid = test_save_text(env, inbox, "leader's");
		CHECK_U64(uid, 1 + 2 * i);
		CHECK_OK(publisher_result(publisher, &garbage));
		CHECK_U64(prepared.uids[0], uid + 1);
		lms_key_slot(&key, (uint8_t)publisher_slot(publisher));
		publisher_free(&publisher);
		lms_env_close(&env);
		lms_buffer_init(&bytes);
		lms_buffer_add(&bytes, data, i * 30);
		head[0] = i == 2 ? LMS_RECORD_VERSION + 1 : LMS_RECORD_VERSION;
		raw_put(LMS_DB_APPLIED, &key, head, &bytes);
		lms_buffer_free(&bytes);
		env = test_open();
	}
	end();
}

/* Who has died gets nothing done: its caller has failed. */
static void test_dead_publisher(void)
{
	struct prepared prepared[2];
	struct publisher *dead, *alive;
	unsigned int slot;
	bool garbage;

	begin();
	dead = publisher_new(env);
	alive = publisher_new(env);
	slot = publisher_slot(dead);
	publisher_publish(dead, prepare_save(&prepared[0], 1), 0);
	publisher_publish(alive, prepare_save(&prepared[1], 1), 0);
	publisher_free(&dead);
	/* What a leader may be reading belongs to nobody else yet. */
	dead = publisher_new(env);
	CHECK(publisher_slot(dead) != slot && publisher_slot(dead) != publisher_slot(alive));
	publisher_free(&dead);
	CHECK_U64(test_save_text(env, inbox, "leader's"), 1);
	CHECK_OK(publisher_result(alive, &garbage));
	CHECK_U64(test_folder_get(env, inbox).messages, 2);
	dead = publisher_new(env);
	CHECK_U64(publisher_slot(dead), slot);
	publisher_free(&dead);
	publisher_free(&alive);
	end();
}

/* LMDB fails at the shared commit: everybody is on their own, and the leader's request is carried out. */
static void test_commit_fails(void)
{
	struct prepared prepared[2];
	struct publisher *publishers[2];
	unsigned int i, at, calls, found = 0;
	bool garbage;

	begin();
	for (i = 0; i < 2; i++)
		publishers[i] = publisher_new(env);
	for (i = 0; i < 2; i++)
		publisher_publish(publishers[i], prepare_save(&prepared[i], 2), 0);
	fault_begin(FAULT_NONE, 0, 0);
	CHECK(test_save_text(env, inbox, "leader's") != 0);
	calls = fault_end();
	CHECK(calls > 4);
	/* The last two calls are results. */
	for (at = 1; at <= calls - 2; at++) {
		uint32_t before = test_folder_get(env, inbox).messages;

		for (i = 0; i < 2; i++)
			publisher_publish(publishers[i], prepare_save(&prepared[i], 2), 0);
		fault_begin(FAULT_FAIL_ONCE, at, EIO);
		CHECK(test_save_text(env, inbox, "leader's") != 0);
		fault_end();
		CHECK_U64(publisher_state(publishers[0]), LMS_SLOT_ALONE);
		CHECK_U64(publisher_state(publishers[1]), LMS_SLOT_ALONE);
		CHECK_U64(test_folder_get(env, inbox).messages, before + 1);
	}
	/* A result that can't be written: its owner looks whether it was carried out. */
	for (at = calls - 2; at <= calls + 4; at++) {
		for (i = 0; i < 2; i++)
			publisher_publish(publishers[i], prepare_save(&prepared[i], 2), 0);
		fault_begin(FAULT_FAIL_ONCE, at, ENOSPC);
		CHECK(test_save_text(env, inbox, "leader's") != 0);
		fault_end();
		if (publisher_state(publishers[0]) != LMS_SLOT_DONE || publisher_state(publishers[1]) != LMS_SLOT_ALONE)
			continue;
		found++;
		CHECK_OK(publisher_result(publishers[0], &garbage));
		publisher_repeat(publishers[1]);
		CHECK(test_save_text(env, inbox, "leader's") != 0);
		CHECK_OK(publisher_result(publishers[1], &garbage));
		CHECK_U64(prepared[1].uids[0], prepared[0].uids[0] + 2);
	}
	CHECK(found > 0);
	for (i = 0; i < 2; i++)
		publisher_free(&publishers[i]);
	end();
}

/* A commit is flushed if one of its requests wants that. */
static void test_no_sync(void)
{
	struct prepared prepared;
	struct publisher *publisher;
	unsigned int i, j, flushes;
	bool garbage;

	begin();
	publisher = publisher_new(env);
	for (i = 0; i < 4; i++) {
		struct fault_log log = { NULL, 0, 0, 0 };
		struct prepared own;

		prepare_save(&prepared, 1);
		prepared.request.no_sync = (i & 1) != 0;
		publisher_publish(publisher, &prepared.request, 0);
		prepare_save(&own, 1);
		own.request.no_sync = (i & 2) != 0;
		fault_record(&log);
		CHECK_OK(test_submit(env, &own.request));
		fault_record(NULL);
		CHECK_OK(publisher_result(publisher, &garbage));
		for (j = flushes = 0; j < log.count; j++)
			flushes += log.writes[j].is_flush ? 1 : 0;
		CHECK_U64(flushes, i == 3 ? 0 : 1);
		CHECK(env->last_no_sync == own.request.no_sync);
		fault_log_free(&log);
	}
	publisher_free(&publisher);
	end();
}

/* The store remembers the smallest limit of the address space of those who write, not of those who lead. */
static void test_limit(void)
{
	struct prepared prepared;
	struct publisher *publisher;
	struct lms_env_usage usage;
	bool garbage;

	begin();
	publisher = publisher_new(env);
	publisher_publish(publisher, prepare_save(&prepared, 1), 77 * MB);
	CHECK_U64(test_save_text(env, inbox, "leader's"), 1);
	CHECK_OK(publisher_result(publisher, &garbage));
	CHECK_OK(lms_env_get_usage(env, &usage, &test_error));
	CHECK_U64(usage.smallest_limit, 77 * MB);
	publisher_free(&publisher);
	end();
}

/* What isn't shared: bodies under construction, and what doesn't fit in a room. */
static void test_too_big(void)
{
	static const uint8_t head[LMS_SLOT_HEAD];
	static uint8_t big[LMS_SLOT_ROOM];
	static struct lms_save_message messages[20000];
	static uint32_t uids[20000];
	struct prepared prepared;
	struct lms_buffer message;
	unsigned int i;

	begin();
	lms_buffer_init(&message);
	lms_buffer_add(&message, head, sizeof(head));
	prepare_save(&prepared, 1);
	prepared.messages[0].data = big;
	prepared.messages[0].size = sizeof(big);
	CHECK(!lms_wire_put_request(&message, &prepared.request, 0, LMS_SLOT_ROOM));
	prepare_save(&prepared, 1);
	prepared.messages[0].source = LMS_SAVE_STAGED;
	CHECK(!lms_wire_put_request(&message, &prepared.request, 0, LMS_SLOT_ROOM));
	memset(messages, 0, sizeof(messages));
	for (i = 0; i < 20000; i++) {
		messages[i].source = LMS_SAVE_COPY;
		messages[i].source_folder_id = messages[i].source_uid = 1;
	}
	prepared.request.u.save.messages = messages;
	prepared.request.u.save.message_count = 20000;
	prepared.request.u.save.uids_r = uids;
	CHECK(!lms_wire_put_request(&message, &prepared.request, 0, LMS_SLOT_ROOM));
	prepared.request.u.save.message_count = 2000;
	CHECK(lms_wire_put_request(&message, &prepared.request, 0, LMS_SLOT_ROOM));
	memset(&prepared, 0, sizeof(prepared));
	prepared.request.op = LMS_OP_COLLECT;
	CHECK(!lms_wire_put_request(&message, &prepared.request, 0, LMS_SLOT_ROOM));
	lms_buffer_free(&message);
	end();
}

static struct timespec touched(uint64_t folder_id)
{
	struct stat st;
	char *path;

	CHECK_OK(lms_notify_path(env, folder_id, &path, &test_error));
	CHECK(stat(path, &st) == 0);
	free(path);
	return st.st_mtim;
}

static void forget_touch(uint64_t folder_id)
{
	struct timespec times[2] = { { 1, 0 }, { 1, 0 } };
	char *path;

	CHECK_OK(lms_notify_path(env, folder_id, &path, &test_error));
	CHECK(utimensat(AT_FDCWD, path, times, 0) == 0);
	free(path);
}

/* Whoever watches a folder hears of it, also from the leader that comes after one that was killed. */
static void test_notify(void)
{
	uint64_t other, third;
	struct prepared prepared;
	struct publisher *publisher;
	unsigned int i;
	bool garbage;

	begin();
	other = test_folder(env, "other");
	third = test_folder(env, "third");
	CHECK_U64(test_save_text(env, other, "goes to INBOX"), 1);
	publisher = publisher_new(env);
	prepare_save(&prepared, 1);
	prepared.messages[0].source = LMS_SAVE_MOVE;
	prepared.messages[0].source_folder_id = other;
	prepared.messages[0].source_uid = 1;
	publisher_publish(publisher, &prepared.request, 0);
	for (i = 0; i < 2; i++) {
		forget_touch(0);
		forget_touch(inbox);
		forget_touch(other);
		forget_touch(third);
		if (i == 0)
			CHECK(test_save_text(env, third, "leader's") != 0);
		else
			CHECK_OK(test_flags(env, third, 1000, 2000, LMS_SEEN, 0));
		CHECK_OK(publisher_result(publisher, &garbage));
		CHECK(touched(0).tv_sec > 1 && touched(inbox).tv_sec > 1 && touched(other).tv_sec > 1);
		CHECK((touched(third).tv_sec > 1) == (i == 0));
		publisher_repeat(publisher);
	}
	publisher_free(&publisher);
	end();
}

static const struct test tests[] = {
	{ "one-commit", test_one_commit },
	{ "refused", test_refused },
	{ "reconcile", test_reconcile },
	{ "damaged-record", test_damaged_record },
	{ "dead-publisher", test_dead_publisher },
	{ "commit-fails", test_commit_fails },
	{ "no-sync", test_no_sync },
	{ "limit", test_limit },
	{ "too-big", test_too_big },
	{ "notify", test_notify },
	TEST_END
};

int main(int argc, char *argv[])
{
	return test_main(argc, argv, tests);
}
