/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#define _GNU_SOURCE
#include "test-common.h"

#include <signal.h>
#include <unistd.h>

/* What nothing refers to any more, and bodies under construction. */

static uint8_t data[400000];

static struct lms_env *open_with_grace(unsigned int grace_secs)
{
	struct lms_env_settings set = test_settings;
	struct lms_env *env;

	set.grace_secs = grace_secs;
	if (lms_env_open(test_path("store"), &set, &env, &test_error) < 0) {
		printf("not ok - lms_env_open(): %s\n", test_error.text);
		exit(1);
	}
	return env;
}

static uint64_t body_of(struct lms_env *env, uint64_t folder_id, uint32_t uid)
{
	struct lms_message message;

	return CHECK(lms_message_get(env, folder_id, uid, &message, &test_error) == 1) ? message.body_id : 0;
}

static bool is_gone(struct lms_env *env, uint64_t body_id)
{
	uint64_t refs;
	int ret = lms_body_refcount(env, body_id, &refs, &test_error);

	CHECK(ret >= 0);
	return ret == 0;
}

static int collect_some(struct lms_env *env, unsigned int grace_secs, uint64_t max_bytes)
{
	struct lms_request request;

	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_COLLECT;
	request.u.collect.grace_secs = grace_secs;
	request.u.collect.max_bytes = max_bytes;
	return test_submit(env, &request);
}

static void test_grace(void)
{
	struct lms_env *env = open_with_grace(600);
	uint64_t a = test_folder(env, "a"), body_id;

	CHECK(test_save(env, a, data, 100000, 0) == 1);
	body_id = body_of(env, a, 1);
	CHECK_OK(test_expunge(env, a, 1, 1));
	/* Readable for the grace time, also after more commits and a reopen */
	CHECK(test_save_text(env, a, "x") == 2);
	env = (lms_env_close(&env), open_with_grace(600));
	CHECK(test_body_is(env, body_id, data, 100000));
	CHECK_OK(collect_some(env, 600, 1 << 20));
	CHECK(test_reply.collected_bytes == 0 && !test_reply.more);
	CHECK(test_body_is(env, body_id, data, 100000));
	lms_env_close(&env);
	/* A second later it goes with the next commit. */
	env = open_with_grace(1);
	usleep(2100 * 1000);
	CHECK(!is_gone(env, body_id));
	CHECK(test_save_text(env, a, "x") == 3);
	CHECK(is_gone(env, body_id));
	CHECK_STORE(env);
	lms_env_close(&env);
}

static void test_collect_bounds(void)
{
	struct lms_env *env = open_with_grace(600);
	uint64_t a = test_folder(env, "a"), ids[20], collected = 0;
	struct lms_env_usage before, after;
	unsigned int i, rounds = 0;

	test_fill(data, sizeof(data), 1);
	for (i = 0; i < 20; i++) {
		CHECK(test_save(env, a, data, 200000, 0) == i + 1);
		ids[i] = body_of(env, a, i + 1);
	}
	CHECK_OK(lms_env_get_usage(env, &before, &test_error));
	CHECK_OK(test_expunge(env, a, 1, 20));
	do {
		if (!CHECK_OK(collect_some(env, 0, 150000)))
			break;
		/* About what was asked for: a chunk more at most */
		CHECK(test_reply.collected_bytes <= 150000);
		collected += test_reply.collected_bytes;
		rounds++;
		CHECK_STORE(env);
	} while (test_reply.more);
	CHECK(rounds > 15 && rounds < 40);
	CHECK(collected > 20 * 150000);
	for (i = 0; i < 20; i++)
		CHECK(is_gone(env, ids[i]));
	CHECK_OK(lms_env_get_usage(env, &after, &test_error));
	CHECK(after.used_bytes + 20 * 200000 < before.used_bytes);
	/* Its own pages are few. */
	CHECK(after.file_bytes <= before.file_bytes + 100000);
	CHECK_OK(collect_some(env, 0, 1 << 20));
	CHECK(test_reply.collected_bytes == 0 && !test_reply.more);
	lms_env_close(&env);
}

/* Commits free garbage on the way, so the file doesn't grow with steady use. */
static void test_steady_use(void)
{
	struct lms_env *env = open_with_grace(0);
	uint64_t a = test_folder(env, "a");
	struct lms_env_usage usage;
	uint64_t bytes = 0;
	uint32_t uid = 1;
	unsigned int i;

	for (i = 0; i < 600; i++) {
		CHECK(test_save(env, a, data, 50000 + i % 7 * 9000, 0) == uid);
		if (uid > 20)
			CHECK_OK(test_expunge(env, a, uid - 20, uid - 20));
		uid++;
		if (i == 200) {
			CHECK_OK(lms_env_get_usage(env, &usage, &test_error));
			bytes = usage.file_bytes;
		}
	}
	CHECK_OK(lms_env_get_usage(env, &usage, &test_error));
	test_check(usage.file_bytes <= bytes + bytes / 4, __FILE__, __LINE__, "file grew from %llu to %llu bytes",
		   (unsigned long long)bytes, (unsigned long long)usage.file_bytes);
	CHECK_STORE(env);
	lms_env_close(&env);
}

static void test_deleted_folder(void)
{
	struct lms_env *env = open_with_grace(600);
	uint64_t a = test_folder(env, "a"), b = test_folder(env, "b"), c = test_folder(env, "c"), body_id;
	struct lms_message message;
	unsigned int i;
	void *value;
	size_t size;
	int64_t changed;

	test_fill(data, sizeof(data), 1);
	for (i = 1; i <= 200; i++)
		CHECK(test_save(env, a, data, 1000, 0) == i);
	CHECK_OK(test_copy(env, a, 1, 50, b, false));
	CHECK_OK(test_copy(env, a, 51, 60, c, true));
	CHECK_OK(test_expunge(env, a, 61, 70));
	CHECK_OK(test_keyword(env, a, 1, 10, "keyword", true));
	CHECK_OK(test_attribute(env, a, NULL, "key", "value"));
	CHECK_OK(test_attribute(env, b, NULL, "key", "value"));
	body_id = body_of(env, a, 100);
	CHECK_OK(test_delete(env, a));
	CHECK_STORE(env);
	/* Its messages can still be read, but nothing else be done with them. */
	CHECK(lms_message_get(env, a, 100, &message, &test_error) == 1);
	CHECK(test_body_is(env, body_id, data, 1000));
	CHECK_FAILS(test_copy(env, a, 100, 100, b, false), LMS_NOTFOUND);
	CHECK_FAILS(test_expunge(env, a, 1, 1), LMS_NOTFOUND);
	CHECK_FAILS(test_attribute(env, a, NULL, "key", "value"), LMS_NOTFOUND);
	CHECK_OK(collect_some(env, 600, 1 << 20));
	CHECK(lms_message_get(env, a, 100, &message, &test_error) == 1);
	/* In small batches, each of which leaves the store whole */
	i = 0;
	do {
		if (!CHECK_OK(collect_some(env, 0, 10000)))
			break;
		CHECK_STORE(env);
		i++;
	} while (test_reply.more);
	CHECK(i > 10);
	CHECK(is_gone(env, body_id));
	CHECK(lms_message_get(env, a, 100, &message, &test_error) == 0);
	CHECK(lms_attribute_get(env, a, NULL, "key", &value, &size, &changed, &test_error) == 0);
	/* What others share stays. */
	for (i = 1; i <= 50; i++)
		CHECK(test_body_is(env, body_of(env, b, i), data, 1000));
	for (i = 1; i <= 10; i++)
		CHECK(test_body_is(env, body_of(env, c, i), data, 1000));
	CHECK(lms_attribute_get(env, b, NULL, "key", &value, &size, &changed, &test_error) == 1);
	free(value);
	CHECK_OK(test_delete(env, b));
	CHECK_OK(test_delete(env, c));
	test_collect(env, 0);
	CHECK_STORE(env);
	lms_env_close(&env);
}

/* The last close frees what is past its grace, if its process made garbage. */
static void test_close(void)
{
	struct lms_env *env = open_with_grace(0);
	uint64_t a = test_folder(env, "a"), body_id;

	CHECK(test_save(env, a, data, 100000, 0) == 1);
	body_id = body_of(env, a, 1);
	CHECK_OK(test_expunge(env, a, 1, 1));
	CHECK(!is_gone(env, body_id) || true);
	lms_env_close(&env);
	env = open_with_grace(600);
	CHECK(is_gone(env, body_id));
	lms_env_close(&env);
}

static int stage(struct lms_env *env, uint64_t *body_id, const uint8_t *bytes, size_t size)
{
	struct lms_stage_part part = { body_id, bytes, size, NULL, 0 };
	struct lms_request request;

	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_STAGE;
	request.u.stage.parts = &part;
	request.u.stage.count = 1;
	return test_submit(env, &request);
}

static int save_staged(struct lms_env *env, uint64_t folder_id, uint64_t body_id)
{
	struct lms_save_message message;
	struct lms_request request;
	uint32_t uid;

	memset(&message, 0, sizeof(message));
	message.source = LMS_SAVE_STAGED;
	message.body_id = body_id;
	message.physical_size = message.virtual_size = 1;
	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_SAVE;
	request.u.save.folder_id = folder_id;
	request.u.save.messages = &message;
	request.u.save.message_count = 1;
	request.u.save.uids_r = &uid;
	return test_submit(env, &request);
}

static void test_staging(void)
{
	struct lms_env *env = open_with_grace(0);
	uint64_t a = test_folder(env, "a"), id1 = 0, id2 = 0, id3 = 0, refs;
	struct lms_stage_part parts[2];
	struct lms_message message;
	struct lms_request request;
	size_t size;

	test_fill(data, sizeof(data), 1);
	size = test_stage_size(data, 0, sizeof(data));
	CHECK_OK(stage(env, &id1, data, size));
	CHECK(id1 != 0);
	CHECK_OK(stage(env, &id1, data + size, LMS_CHUNK_MAX));
	CHECK_OK(stage(env, &id1, NULL, 0));
	size += LMS_CHUNK_MAX;
	CHECK_OK(stage(env, &id1, data + size, 1234));
	size += 1234;
	CHECK_FAILS(stage(env, &id1, data, 1), LMS_INVALID);
	CHECK(lms_body_refcount(env, id1, &refs, &test_error) == 1 && refs == 0);
	CHECK(test_body_is(env, id1, data, size));
	/* Two at once; an empty one */
	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_STAGE;
	request.u.stage.parts = parts;
	request.u.stage.count = 2;
	parts[0] = (struct lms_stage_part){ &id2, data, 10, NULL, 0 };
	parts[1] = (struct lms_stage_part){ &id3, NULL, 0, NULL, 0 };
	CHECK_OK(test_submit(env, &request));
	CHECK(id2 != 0 && id3 != 0 && id2 != id3);
	/* Nothing of ours is collected while we build it. */
	test_collect(env, 0);
	CHECK_STORE(env);
	CHECK_OK(save_staged(env, a, id1));
	CHECK(lms_message_get(env, a, 1, &message, &test_error) == 1);
	CHECK(message.body_id == id1 && message.body_size == size);
	CHECK(test_body_is(env, id1, data, message.body_size));
	CHECK(lms_body_refcount(env, id1, &refs, &test_error) == 1 && refs == 1);
	CHECK_FAILS(save_staged(env, a, id1), LMS_NOTFOUND);
	CHECK_FAILS(stage(env, &id1, data, 1), LMS_NOTFOUND);
	CHECK_OK(save_staged(env, a, id3));
	CHECK(lms_message_get(env, a, 2, &message, &test_error) == 1 && message.body_size == 0);
	/* Given up: garbage at once */
	lms_stage_abort(env, id2);
	CHECK_FAILS(save_staged(env, a, id2), LMS_NOTFOUND);
	CHECK(test_save_text(env, a, "x") == 3);
	CHECK(is_gone(env, id2));
	lms_stage_abort(env, 12345);
	/* A failed request leaves the body ours. */
	id2 = 0;
	CHECK_OK(stage(env, &id2, data, 100));
	CHECK_FAILS(save_staged(env, 99, id2), LMS_NOTFOUND);
	CHECK(test_save_text(env, a, "x") == 4);
	CHECK_OK(save_staged(env, a, id2));
	/* A failed stage begins none. */
	id2 = 0;
	parts[0] = (struct lms_stage_part){ &id2, data, 10, NULL, 0 };
	parts[1] = (struct lms_stage_part){ &id1, data, 10, NULL, 0 };
	CHECK_FAILS(test_submit(env, &request), LMS_NOTFOUND);
	CHECK(id2 == 0);
	CHECK_STORE(env);
	lms_env_close(&env);
}

/* A maker that is killed leaves garbage; one that lives doesn't, even if it is slow. */
static void test_staging_killed(void)
{
	struct lms_env *env = open_with_grace(600);
	uint64_t a = test_folder(env, "a"), id = 0, killed_id, own_id = 0;
	int fds[2];
	pid_t pid;

	CHECK(pipe(fds) == 0);
	pid = test_fork();
	if (pid == 0) {
		struct lms_env *child_env = open_with_grace(600);

		CHECK_OK(stage(child_env, &id, data, 3 * LMS_CHUNK_MAX));
		if (write(fds[1], &id, sizeof(id)) == sizeof(id))
			pause();
		test_child_exit();
	}
	CHECK(read(fds[0], &killed_id, sizeof(killed_id)) == sizeof(killed_id));
	CHECK_OK(stage(env, &own_id, data, 100));
	CHECK(own_id > killed_id);
	CHECK(test_save_text(env, a, "x") == 1);
	test_collect(env, 0);
	CHECK(!is_gone(env, killed_id));
	CHECK_FAILS(save_staged(env, a, killed_id), LMS_NOTFOUND);
	kill(pid, SIGKILL);
	test_wait(pid, SIGKILL);
	CHECK(test_save_text(env, a, "x") == 2);
	CHECK(is_gone(env, killed_id));
	CHECK(!is_gone(env, own_id));
	CHECK_STORE(env);
	/* Closing gives up what is left. */
	lms_env_close(&env);
	env = open_with_grace(600);
	CHECK(test_save_text(env, a, "x") == 3);
	CHECK(is_gone(env, own_id));
	CHECK_STORE(env);
	lms_env_close(&env);
}

/* A large body that was given up goes in bounded steps. */
static void test_staging_large(void)
{
	struct lms_env *env = open_with_grace(600);
	uint64_t id = 0;
	unsigned int i, rounds = 0;

	CHECK_OK(stage(env, &id, data, test_stage_size(data, 0, sizeof(data))));
	for (i = 0; i < 40; i++)
		CHECK_OK(stage(env, &id, data, 4 * LMS_CHUNK_MAX));
	lms_stage_abort(env, id);
	do {
		if (!CHECK_OK(collect_some(env, 600, 1 << 20)))
			break;
		rounds++;
		CHECK_STORE(env);
	} while (test_reply.more);
	CHECK(rounds >= 10);
	CHECK(is_gone(env, id));
	lms_env_close(&env);
}

static const struct test tests[] = {
	{ "grace", test_grace },
	{ "collect-bounds", test_collect_bounds },
	{ "steady-use", test_steady_use },
	{ "deleted-folder", test_deleted_folder },
	{ "close", test_close },
	{ "staging", test_staging },
	{ "staging-killed", test_staging_killed },
	{ "staging-large", test_staging_large },
	TEST_END
};

int main(int argc, char *argv[])
{
	return test_main(argc, argv, tests);
}
