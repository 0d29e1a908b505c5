/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "test-common.h"
#include "test-raw.h"
#include "lms-chunk.h"

/* How bodies are stored: chunks and pieces of every size, compressed and not, and what is kept ready with them. */

#define BODY_MAX (4 * LMS_CHUNK_MAX)

static uint8_t data[BODY_MAX], ready[LMS_READY_MAX + 1];

/* Bytes of which about every keep-th is random, so that they are compressed more or less */
static void fill(size_t size, unsigned int keep, unsigned int seed)
{
	size_t i;

	test_fill(data, size, seed);
	for (i = 0; i < size; i++) {
		if (keep > 1 && i / 32 % keep != 0)
			data[i] = (uint8_t)('a' + i % 7);
	}
}

static struct lms_env *open_flags(enum lms_env_flags flags)
{
	struct lms_env_settings set = test_settings;
	struct lms_env *env;

	set.flags |= flags;
	CHECK_OK(lms_env_open(test_path("store"), &set, &env, &test_error));
	return env;
}

static int save_ready(struct lms_env *env, uint64_t folder_id, size_t size, size_t ready_size)
{
	struct lms_save_message message = {
		.source = LMS_SAVE_DATA, .data = data, .size = size, .ready = ready, .ready_size = ready_size,
		.physical_size = size, .virtual_size = size, .received = 1, .saved = 1
	};
	uint32_t uid;
	struct lms_request request = {
		.op = LMS_OP_SAVE, .no_sync = true,
		.u.save = { .folder_id = folder_id, .messages = &message, .message_count = 1, .uids_r = &uid }
	};

	return test_submit(env, &request);
}

/* The last message of the folder */
static uint64_t last_body(struct lms_env *env, uint64_t folder_id)
{
	struct lms_message message;

	CHECK(lms_message_get(env, folder_id, test_folder_get(env, folder_id).uidnext - 1, &message, &test_error) == 1);
	return message.body_id;
}

static bool check_body(struct lms_env *env, uint64_t folder_id, size_t size, size_t ready_size)
{
	uint64_t body_id = last_body(env, folder_id);
	struct lms_body_start start;

	return CHECK(lms_body_start(env, body_id, &start, &test_error) == 1) &&
		CHECK(start.ready_size == ready_size && memcmp(start.ready, ready, ready_size) == 0) &&
		CHECK(test_body_is(env, body_id, data, size));
}

static void check_sizes(struct lms_env *env, uint64_t folder_id, unsigned int keep)
{
	static const size_t edges[] = {
		0, 2010, 3200, 4072, 4096, 48 * 1024, LMS_CHUNK_MAX, 48 * 1024 + LMS_CHUNK_MAX, 2 * LMS_CHUNK_MAX
	};
	size_t i, size, ready_size;

	for (i = 0; i < sizeof(edges) / sizeof(edges[0]); i++) {
		for (size = edges[i] < 12 ? 0 : edges[i] - 12; size < edges[i] + 12; size++) {
			ready_size = size % 3 == 0 ? 0 : size % 500;
			fill(size, keep, (unsigned int)size);
			if (!CHECK_OK(save_ready(env, folder_id, size, ready_size)) ||
			    !check_body(env, folder_id, size, ready_size))
				return;
		}
	}
	for (size = 100; size < 30000; size += 97) {
		fill(size, keep, (unsigned int)size);
		if (!CHECK_OK(save_ready(env, folder_id, size, 0)) || !check_body(env, folder_id, size, 0))
			return;
	}
}

static void test_sizes(void)
{
	struct lms_env *env = test_open();
	uint64_t folder_id = test_folder(env, "a");
	unsigned int keep;

	for (keep = 1; keep <= 9; keep += 4)
		check_sizes(env, folder_id, keep);
	CHECK_STORE(env);
	lms_env_close(&env);
}

/* With the setting that forbids it nothing is compressed, but what is can be read. */
static void test_uncompressed(void)
{
	struct lms_env *env = test_open();
	uint64_t folder_id = test_folder(env, "a");
	struct lms_env_usage small, large;

	fill(BODY_MAX, 9, 1);
	CHECK_OK(save_ready(env, folder_id, BODY_MAX, 10));
	CHECK_OK(lms_env_get_usage(env, &small, &test_error));
	CHECK(small.used_bytes < BODY_MAX / 2);
	lms_env_close(&env);
	env = open_flags(LMS_ENV_UNCOMPRESSED);
	CHECK(check_body(env, folder_id, BODY_MAX, 10));
	check_sizes(env, folder_id, 9);
	CHECK_OK(lms_env_get_usage(env, &small, &test_error));
	fill(BODY_MAX, 9, 1);
	CHECK_OK(save_ready(env, folder_id, BODY_MAX, 10));
	CHECK_OK(lms_env_get_usage(env, &large, &test_error));
	CHECK(large.used_bytes - small.used_bytes >= BODY_MAX);
	CHECK(check_body(env, folder_id, BODY_MAX, 10));
	CHECK_STORE(env);
	lms_env_close(&env);
}

/* Small bodies share pages, and what doesn't fill a page shares them too. */
static void test_packing(void)
{
	struct lms_env *env = open_flags(LMS_ENV_UNCOMPRESSED);
	uint64_t folder_id = test_folder(env, "a"), bytes = 0;
	struct lms_env_usage before, after;
	unsigned int i;
	size_t size;

	CHECK_OK(lms_env_get_usage(env, &before, &test_error));
	for (i = 0; i < 2000; i++) {
		size = 300 + i * 7919 % 9000;
		fill(size, 1, i);
		CHECK_OK(save_ready(env, folder_id, size, 0));
		bytes += size;
	}
	CHECK_OK(lms_env_get_usage(env, &after, &test_error));
	test_check(after.used_bytes - before.used_bytes < bytes + bytes / 6, __FILE__, __LINE__, "%llu bytes took %llu",
		   (unsigned long long)bytes, (unsigned long long)(after.used_bytes - before.used_bytes));
	CHECK_OK(test_expunge(env, folder_id, 1, 2000));
	test_collect(env, 0);
	CHECK_OK(lms_env_get_usage(env, &after, &test_error));
	CHECK(after.used_bytes - before.used_bytes < bytes / 10);
	CHECK_STORE(env);
	lms_env_close(&env);
}

static void test_ready_limit(void)
{
	struct lms_env *env = test_open();
	uint64_t folder_id = test_folder(env, "a");

	test_fill(ready, sizeof(ready), 1);
	fill(BODY_MAX, 1, 1);
	CHECK_OK(save_ready(env, folder_id, BODY_MAX, LMS_READY_MAX));
	CHECK(check_body(env, folder_id, BODY_MAX, LMS_READY_MAX));
	CHECK_FAILS(save_ready(env, folder_id, BODY_MAX, LMS_READY_MAX + 1), LMS_INVALID);
	CHECK_STORE(env);
	lms_env_close(&env);
}

static int stage(struct lms_env *env, uint64_t *body_id, const void *bytes, size_t size, size_t ready_size)
{
	struct lms_stage_part part = { body_id, bytes, size, ready, ready_size };
	struct lms_request request = { .op = LMS_OP_STAGE, .u.stage = { .parts = &part, .count = 1 } };

	return test_submit(env, &request);
}

/* What is kept ready is known only at the end of the message. */
static void test_staged_ready(void)
{
	struct lms_env *env = test_open();
	uint64_t body_id = 0;
	struct lms_body_start start;
	size_t size;

	test_fill(ready, sizeof(ready), 2);
	fill(BODY_MAX, 5, 2);
	size = test_stage_size(data, 0, BODY_MAX);
	CHECK_OK(stage(env, &body_id, data, size, 0));
	CHECK(lms_body_start(env, body_id, &start, &test_error) == 1 && start.ready_size == 0);
	CHECK_OK(stage(env, &body_id, data + size, BODY_MAX - size, 300));
	CHECK(lms_body_start(env, body_id, &start, &test_error) == 1 && start.ready_size == 300 &&
	      memcmp(start.ready, ready, 300) == 0);
	CHECK(test_body_is(env, body_id, data, BODY_MAX));
	/* Another size, so another number of pieces, and nothing but that */
	CHECK_OK(stage(env, &body_id, NULL, 0, 9000));
	CHECK(lms_body_start(env, body_id, &start, &test_error) == 1 && start.ready_size == 9000);
	CHECK_OK(stage(env, &body_id, NULL, 0, 1));
	CHECK(lms_body_start(env, body_id, &start, &test_error) == 1 && start.ready_size == 1);
	CHECK(test_body_is(env, body_id, data, BODY_MAX));
	CHECK_FAILS(stage(env, &body_id, NULL, 0, LMS_READY_MAX + 1), LMS_INVALID);
	CHECK_STORE(env);
	lms_env_close(&env);
}

static void check_start_size(const char *text, size_t padding, size_t expected)
{
	size_t size = strlen(text);

	memcpy(data, text, size);
	memset(data + size, 'x', padding);
	CHECK_U64(lms_body_start_size(data, size + padding), expected);
}

static void test_start_size(void)
{
	check_start_size("", 0, 0);
	check_start_size("A: b\n\nbody", 0, 10);
	check_start_size("A: b\n\nbody", 4086, 4096);
	check_start_size("A: b\n\nbody", 4087, 69);
	check_start_size("A: b\r\n\r\nbody", 5000, 70);
	check_start_size("A: b\n\r\nbody", 5000, 69);
	check_start_size("no empty line\n", 47 * 1024, 47 * 1024 + 14);
	check_start_size("no empty line\n", 200000, 48 * 1024);
	/* At the very limit */
	memset(data, 'x', sizeof(data));
	memcpy(data + 48 * 1024 - 2, "\n\n", 2);
	CHECK_U64(lms_body_start_size(data, sizeof(data)), 48 * 1024);
	memcpy(data + 48 * 1024 - 2, "x\n\n", 3);
	CHECK_U64(lms_body_start_size(data, sizeof(data)), 48 * 1024);
}

/* Change the head of the first piece of body 1's chunk, which must give an error. */
static void check_damage(unsigned int chunk, unsigned int offset, uint8_t value)
{
	uint8_t head[LMS_RECORD_HEAD], damaged[LMS_RECORD_HEAD];
	struct lms_buffer buf;
	struct lms_env *env;
	struct lms_key key;
	size_t size;

	lms_buffer_init(&buf);
	lms_key_piece(&key, 1, chunk, 0);
	if (!CHECK(raw_get(LMS_DB_BODIES, &key, head, &buf)))
		return;
	memcpy(damaged, head, sizeof(head));
	damaged[offset] = value;
	raw_put(LMS_DB_BODIES, &key, damaged, &buf);
	env = test_open();
	test_error.code = LMS_OK;
	test_check(test_body_read(env, 1, chunk, data, &size) < 0 && test_error.code == LMS_DAMAGED, __FILE__, __LINE__,
		   "chunk %u with byte %u = %u", chunk, offset, value);
	lms_env_close(&env);
	raw_put(LMS_DB_BODIES, &key, head, &buf);
	lms_buffer_free(&buf);
}

static void test_damage(void)
{
	struct lms_env *env = test_open();
	uint64_t folder_id = test_folder(env, "a");

	/* Chunk 0 in several pieces, chunk 1 compressed, chunk 2 raw */
	fill(BODY_MAX, 1, 3);
	memset(data + 48 * 1024, 'y', LMS_CHUNK_MAX);
	CHECK_OK(save_ready(env, folder_id, BODY_MAX, 2000));
	lms_env_close(&env);
	check_damage(0, 2, 3);
	check_damage(0, 2, 200);
	check_damage(0, 1, LMS_CHUNK_LZ4);
	check_damage(0, 1, 0x80);
	check_damage(1, 2, 1);
	check_damage(2, 1, LMS_CHUNK_LZ4);
	check_damage(2, 2, 1);
	env = test_open();
	CHECK_STORE(env);
	lms_env_close(&env);
}

static const struct test tests[] = {
	{ "sizes", test_sizes },
	{ "uncompressed", test_uncompressed },
	{ "packing", test_packing },
	{ "ready-limit", test_ready_limit },
	{ "staged-ready", test_staged_ready },
	{ "start-size", test_start_size },
	{ "damage", test_damage },
	TEST_END
};

int main(int argc, char *argv[])
{
	return test_main(argc, argv, tests);
}
