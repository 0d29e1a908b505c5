/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#define _GNU_SOURCE
#include "test-common.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* Several processes at once: writers, readers, openers. */

#define BATCH 5

static uint8_t data[20000];

static int save_batch(struct lms_env *env, uint64_t folder_id, uint32_t *uids)
{
	struct lms_save_message messages[BATCH];
	struct lms_request request;
	unsigned int i;

	memset(messages, 0, sizeof(messages));
	for (i = 0; i < BATCH; i++) {
		messages[i].data = data;
		messages[i].size = messages[i].physical_size = messages[i].virtual_size = 1000 * (i + 1);
	}
	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_SAVE;
	request.no_sync = true;
	request.u.save.folder_id = folder_id;
	request.u.save.messages = messages;
	request.u.save.message_count = BATCH;
	request.u.save.uids_r = uids;
	return test_submit(env, &request);
}

/* Writers of one folder: every UID is given once, in order within a request and to each writer. */
static void test_writers(void)
{
	struct lms_env *env = test_open();
	uint64_t folder_id = test_folder(env, "a");
	static unsigned char seen[8 * 100 * BATCH + 10];
	uint32_t uids[BATCH], last = 0, uid;
	unsigned int i, j, count = 0;
	int fds[2];
	pid_t pids[8];

	lms_env_close(&env);
	CHECK(pipe(fds) == 0);
	for (i = 0; i < 8; i++) {
		pids[i] = test_fork();
		if (pids[i] != 0)
			continue;
		env = test_open();
		for (j = 0; j < 100; j++) {
			CHECK_OK(save_batch(env, folder_id, uids));
			CHECK(uids[0] > last && uids[BATCH - 1] == uids[0] + BATCH - 1);
			CHECK(test_reply.folder.uidnext == uids[BATCH - 1] + 1);
			last = uids[BATCH - 1];
			CHECK(write(fds[1], uids, sizeof(uids)) == sizeof(uids));
		}
		lms_env_close(&env);
		test_child_exit();
	}
	close(fds[1]);
	while (read(fds[0], &uid, sizeof(uid)) == sizeof(uid)) {
		CHECK(uid < sizeof(seen) && seen[uid]++ == 0);
		count++;
	}
	for (i = 0; i < 8; i++)
		test_wait(pids[i], 0);
	CHECK_U64(count, 8 * 100 * BATCH);
	env = test_open();
	CHECK_U64(test_folder_get(env, folder_id).messages, 8 * 100 * BATCH);
	CHECK_U64(test_folder_get(env, folder_id).uidnext, 8 * 100 * BATCH + 1);
	CHECK_U64(test_folder_get(env, folder_id).change, 8 * 100 + 1);
	CHECK_STORE(env);
	lms_env_close(&env);
}

struct sums {
	unsigned int messages;
	uint64_t size;
	unsigned int flagged;
};

static int add_message(const struct lms_message *message, void *context)
{
	struct sums *sums = context;

	sums->messages++;
	sums->size += message->physical_size;
	if ((message->flags & LMS_FLAGGED) != 0)
		sums->flagged++;
	return 0;
}

static void read_snapshot(struct lms_env *env, const uint64_t ids[2])
{
	struct sums sums[2] = { { 0, 0, 0 }, { 0, 0, 0 } };
	struct lms_folder folders[2];
	unsigned int i;

	CHECK_OK(lms_read_begin(env, &test_error));
	for (i = 0; i < 2; i++) {
		folders[i] = test_folder_get(env, ids[i]);
		CHECK_OK(lms_message_scan(env, ids[i], 1, UINT32_MAX, add_message, &sums[i], &test_error));
		CHECK_U64(folders[i].messages, sums[i].messages);
		CHECK_U64(folders[i].physical_size, sums[i].size);
		/* Flags are changed for all at once. */
		CHECK(sums[i].flagged == 0 || sums[i].flagged == sums[i].messages);
	}
	/* Messages come in batches and move as a whole. */
	CHECK_U64((sums[0].messages + sums[1].messages) % BATCH, 0);
	CHECK_U64(sums[0].size + sums[1].size, (sums[0].messages + sums[1].messages) / BATCH * 15000);
	lms_read_end(env);
}

/* C8: a reader sees whole transactions only, also while messages move, go and are freed. */
static void test_readers(void)
{
	struct lms_env *env = test_open();
	uint64_t ids[2] = { test_folder(env, "a"), test_folder(env, "b") };
	unsigned int i, from = 0;
	struct lms_node node;
	uint32_t uids[BATCH];
	pid_t pids[3];

	lms_env_close(&env);
	for (i = 0; i < 3; i++) {
		pids[i] = test_fork();
		if (pids[i] != 0)
			continue;
		env = test_open();
		alarm(60);
		/* The parent says with a folder that it has finished. */
		do {
			read_snapshot(env, ids);
		} while (lms_node_lookup(env, test_components("stop"), &node, &test_error) == 0);
		lms_env_close(&env);
		test_child_exit();
	}
	env = test_open();
	for (i = 0; i < 400; i++) {
		CHECK_OK(save_batch(env, ids[from], uids));
		if (i % 3 == 1) {
			CHECK_OK(test_copy(env, ids[from], uids[0], uids[BATCH - 1], ids[1 - from], true));
			from = 1 - from;
		}
		/* New messages aren't flagged, so neither may the others be when they come. */
		CHECK_OK(test_flags(env, ids[i % 2], 1, UINT32_MAX, LMS_FLAGGED, 0));
		CHECK_OK(test_flags(env, ids[i % 2], 1, UINT32_MAX, 0, LMS_FLAGGED));
		if (i % 50 == 49) {
			CHECK_OK(test_expunge(env, ids[0], 1, UINT32_MAX));
			CHECK_OK(test_expunge(env, ids[1], 1, UINT32_MAX));
			test_collect(env, 0);
		}
	}
	test_folder(env, "stop");
	for (i = 0; i < 3; i++)
		test_wait(pids[i], 0);
	CHECK_STORE(env);
	lms_env_close(&env);
}

/* Many processes open, use and close the store at the same time, from the moment when it doesn't exist. */
static void test_openers(void)
{
	struct lms_env *env;
	struct lms_node node;
	unsigned int i, j;
	char name[64];
	pid_t pids[40];

	for (i = 0; i < 40; i++) {
		pids[i] = test_fork();
		if (pids[i] != 0)
			continue;
		for (j = 0; j < 25; j++) {
			env = test_open();
			snprintf(name, sizeof(name), "%u-%u", i, j);
			CHECK_OK(test_create(env, name));
			CHECK(lms_node_lookup(env, test_components(name), &node, &test_error) == 1);
			lms_env_close(&env);
		}
		test_child_exit();
	}
	for (i = 0; i < 40; i++)
		test_wait(pids[i], 0);
	env = test_open();
	for (i = 0; i < 40; i++) {
		for (j = 0; j < 25; j++) {
			snprintf(name, sizeof(name), "%u-%u", i, j);
			CHECK(lms_node_lookup(env, test_components(name), &node, &test_error) == 1);
		}
	}
	CHECK_STORE(env);
	lms_env_close(&env);
}

/* The same with processes that are killed on the way: nobody waits for ever, and nothing is lost. */
static void test_killed_openers(void)
{
	struct lms_env *env = test_open();
	uint64_t folder_id = test_folder(env, "a");
	unsigned int i, round;
	uint32_t uids[BATCH];
	pid_t pids[10];

	lms_env_close(&env);
	for (round = 0; round < 15; round++) {
		for (i = 0; i < 10; i++) {
			pids[i] = test_fork();
			if (pids[i] != 0)
				continue;
			alarm(60);
			for (;;) {
				env = test_open();
				if (save_batch(env, folder_id, uids) < 0)
					break;
				lms_env_close(&env);
			}
			test_child_exit();
		}
		usleep(2000 + round * 3000);
		for (i = 0; i < 10; i++) {
			kill(pids[i], SIGKILL);
			if (i % 3 == 0)
				usleep(500);
		}
		for (i = 0; i < 10; i++)
			test_wait(pids[i], SIGKILL);
		alarm(60);
		env = test_open();
		CHECK_OK(save_batch(env, folder_id, uids));
		CHECK_U64(test_folder_get(env, folder_id).messages % BATCH, 0);
		lms_env_close(&env);
		alarm(0);
	}
	env = test_open();
	CHECK_STORE(env);
	lms_env_close(&env);
}

static const struct test tests[] = {
	{ "writers", test_writers },
	{ "readers", test_readers },
	{ "openers", test_openers },
	{ "killed-openers", test_killed_openers },
	TEST_END
};

int main(int argc, char *argv[])
{
	return test_main(argc, argv, tests);
}
