/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#define _GNU_SOURCE
#include "test-common.h"
#include "test-fault.h"
#include "test-state.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * All or nothing: a request that is cut off at any of its writing calls, by a kill or by an error, has happened as a
 * whole or not at all, and the store works on.
 */

static uint64_t inbox, other, victim;
static uint8_t big[200000];

static struct lms_env *make_store(void)
{
	struct lms_env *env = test_open();
	unsigned int i;

	inbox = test_folder(env, "INBOX");
	other = test_folder(env, "parent/other");
	victim = test_folder(env, "parent/victim");
	test_fill(big, sizeof(big), 9);
	for (i = 1; i <= 30; i++)
		CHECK_U64(test_save(env, inbox, big, 1000 * i, i % 32), i);
	CHECK_OK(test_copy(env, inbox, 1, 10, victim, false));
	CHECK_OK(test_copy(env, inbox, 1, 3, other, false));
	CHECK_OK(test_keyword(env, inbox, 1, 5, "first", true));
	CHECK_OK(test_attribute(env, inbox, NULL, "key", "value"));
	/* Garbage and free pages */
	CHECK_OK(test_expunge(env, inbox, 25, 30));
	test_collect(env, 0);
	CHECK_OK(test_expunge(env, inbox, 22, 24));
	return env;
}

static int run_save(struct lms_env *env, bool staged)
{
	struct lms_save_message messages[4];
	struct lms_stage_part part = { NULL, NULL, 0, NULL, 0 };
	static const char *names[] = { "first", "second" };
	static const uint16_t keywords[] = { 0, 1 };
	struct lms_request request;
	uint64_t body_id = 0;
	uint32_t uids[4];
	unsigned int i;

	if (staged) {
		memset(&request, 0, sizeof(request));
		request.op = LMS_OP_STAGE;
		request.u.stage.parts = &part;
		request.u.stage.count = 1;
		part.body_id = &body_id;
		part.data = big;
		part.size = test_stage_size(big, 0, sizeof(big));
		if (test_submit(env, &request) < 0)
			return -1;
		part.size = LMS_CHUNK_MAX;
		if (test_submit(env, &request) < 0)
			return -1;
	}
	memset(messages, 0, sizeof(messages));
	for (i = 0; i < 4; i++) {
		messages[i].source = staged && i == 1 ? LMS_SAVE_STAGED : LMS_SAVE_DATA;
		messages[i].body_id = body_id;
		messages[i].data = big;
		messages[i].size = 3000 * i * i * i;
		messages[i].physical_size = messages[i].virtual_size = i == 1 && staged ? test_stage_size(big, 0, sizeof(big)) + LMS_CHUNK_MAX :
			messages[i].size;
		messages[i].keywords = keywords;
		messages[i].keyword_count = i % 3;
		messages[i].flags = LMS_SEEN;
		messages[i].pop3_uidl = i == 3 ? "uidl" : NULL;
		messages[i].received = messages[i].saved = 1000;
	}
	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_SAVE;
	request.u.save.folder_id = inbox;
	request.u.save.keyword_names = names;
	request.u.save.keyword_name_count = 2;
	request.u.save.messages = messages;
	request.u.save.message_count = 4;
	request.u.save.uids_r = uids;
	return test_submit(env, &request);
}

static int save_data(struct lms_env *env)
{
	return run_save(env, false);
}

static int save_staged(struct lms_env *env)
{
	return run_save(env, true);
}

static int copy(struct lms_env *env)
{
	return test_copy(env, inbox, 1, 20, other, false);
}

static int move(struct lms_env *env)
{
	return test_copy(env, inbox, 1, 20, other, true);
}

static int sync_all(struct lms_env *env)
{
	struct lms_flag_change flags = { 1, 10, LMS_FLAGGED, LMS_SEEN };
	struct lms_keyword_change keyword = { 3, 8, 0, true };
	struct lms_uid_range expunge = { 9, 15 };
	const char *name = "second";
	struct lms_request request;

	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_SYNC;
	request.u.sync.folder_id = inbox;
	request.u.sync.keyword_names = &name;
	request.u.sync.keyword_name_count = 1;
	request.u.sync.flags = &flags;
	request.u.sync.keywords = &keyword;
	request.u.sync.expunges = &expunge;
	request.u.sync.flag_count = request.u.sync.keyword_count = request.u.sync.expunge_count = 1;
	request.u.sync.modseq_floor = 77;
	return test_submit(env, &request);
}

static int create(struct lms_env *env)
{
	return test_create(env, "parent/new/folder");
}

static int delete(struct lms_env *env)
{
	return test_delete(env, victim);
}

static int rename_tree(struct lms_env *env)
{
	return test_rename(env, "parent", "somewhere/else", false);
}

static int subscribe(struct lms_env *env)
{
	return test_subscribe(env, "name", true);
}

static int attribute(struct lms_env *env)
{
	return test_attribute(env, other, NULL, "other key", "value");
}

static int collect(struct lms_env *env)
{
	struct lms_request request;

	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_COLLECT;
	request.u.collect.max_bytes = 1 << 20;
	return test_submit(env, &request);
}

static const struct operation {
	const char *name;
	int (*run)(struct lms_env *env);
	unsigned int requests;
} operations[] = {
	{ "save", save_data, 1 },
	{ "save staged", save_staged, 3 },
	{ "copy", copy, 1 },
	{ "move", move, 1 },
	{ "sync", sync_all, 1 },
	{ "create", create, 1 },
	{ "delete", delete, 1 },
	{ "rename", rename_tree, 1 },
	{ "subscribe", subscribe, 1 },
	{ "attribute", attribute, 1 },
	{ "collect", collect, 1 },
};
#define OPERATIONS (sizeof(operations) / sizeof(operations[0]))

static void copy_file(const char *from, const char *to)
{
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	char buffer[65536];
	ssize_t size;

	while ((size = read(in, buffer, sizeof(buffer))) > 0)
		CHECK(write(out, buffer, (size_t)size) == size);
	close(in);
	close(out);
}

static void keep_store(void)
{
	copy_file(test_path("store/data.mdb"), test_path("kept"));
}

static void restore_store(void)
{
	copy_file(test_path("kept"), test_path("store/data.mdb"));
}

/* States before and after an operation, and how many writing calls it makes. */
struct result {
	char *before, *after;
	unsigned int calls;
};

static struct result run_undisturbed(const struct operation *op)
{
	struct lms_env *env = test_open();
	struct result result;

	result.before = test_state(env, true);
	fault_begin(FAULT_NONE, 0, 0);
	CHECK_OK(op->run(env));
	result.calls = fault_end();
	result.after = test_state(env, false);
	lms_env_close(&env);
	/* At least pages, flush and meta page for each request */
	CHECK(result.calls >= 3 * op->requests);
	return result;
}

static void free_result(struct result *result)
{
	free(result->before);
	free(result->after);
}

/* The state is one of the two. Returns true if it is the one after. */
static bool check_state(struct lms_env *env, const struct result *result, const char *what)
{
	char *details = test_state(env, true), *state = test_state(env, false);
	bool is_before = strcmp(details, result->before) == 0, is_after = strcmp(state, result->after) == 0;

	test_check(is_before || is_after, __FILE__, __LINE__, "%s: neither as before nor as after", what);
	if (getenv("TEST_VERBOSE") != NULL && !is_before && !is_after)
		printf("--- before\n%s--- after\n%s--- now\n%s", result->before, result->after, state);
	free(details);
	free(state);
	return !is_before;
}

static void kill_at(const struct operation *op, const struct result *result, enum fault_action action, unsigned int at)
{
	struct lms_env *env;
	char what[128];
	bool done;
	pid_t pid;

	snprintf(what, sizeof(what), "%s, call %u of %u, action %d", op->name, at, result->calls, action);
	restore_store();
	pid = test_fork();
	if (pid == 0) {
		env = test_open();
		fault_begin(action, at, 0);
		(void)op->run(env);
		test_child_exit();
	}
	test_wait(pid, SIGKILL);
	env = test_open();
	done = check_state(env, result, what);
	CHECK_STORE(env);
	/* It happened if all calls did. */
	if (at == result->calls && action == FAULT_KILL_AFTER)
		CHECK(done || strcmp(op->name, "collect") == 0);
	if (!done)
		CHECK_OK(op->run(env));
	done = check_state(env, result, what);
	CHECK(done || strcmp(op->name, "collect") == 0);
	CHECK(test_save_text(env, inbox, "next message") != 0);
	test_collect(env, 0);
	CHECK_STORE(env);
	lms_env_close(&env);
}

static void test_kill(void)
{
	static const enum fault_action actions[] = { FAULT_KILL_BEFORE, FAULT_KILL_AFTER, FAULT_KILL_HALF };
	struct lms_env *env = make_store();
	struct result result;
	unsigned int i, j, at, points = 0;

	lms_env_close(&env);
	keep_store();
	for (i = 0; i < OPERATIONS; i++) {
		restore_store();
		result = run_undisturbed(&operations[i]);
		for (j = 0; j < 3; j++) {
			for (at = 1; at <= result.calls; at++, points++)
				kill_at(&operations[i], &result, actions[j], at);
		}
		free_result(&result);
	}
	/* Not fewer than pages, flush and meta page of each request */
	CHECK(points >= 3 * 3 * OPERATIONS);
	printf("# %u kills\n", points);
}

static void fail_at(const struct operation *op, const struct result *result, enum fault_action action, unsigned int at,
		    int error, enum lms_code code)
{
	struct lms_env *env;
	char what[128];
	bool done;
	int ret;

	snprintf(what, sizeof(what), "%s, call %u of %u, action %d, errno %d", op->name, at, result->calls, action, error);
	restore_store();
	env = test_open();
	fault_begin(action, at, error);
	ret = op->run(env);
	fault_end();
	test_check(ret < 0 && test_error.code == code, __FILE__, __LINE__, "%s: returned %d with code %d (%s)", what, ret,
		   test_error.code, test_error.text);
	done = check_state(env, result, what);
	CHECK(!done || strcmp(op->name, "collect") == 0);
	CHECK_STORE(env);
	CHECK_OK(op->run(env));
	done = check_state(env, result, what);
	CHECK(done || strcmp(op->name, "collect") == 0);
	CHECK(test_save_text(env, inbox, "next message") != 0);
	CHECK_STORE(env);
	lms_env_close(&env);
}

static void test_fail(void)
{
	struct lms_env *env = make_store();
	struct result result;
	unsigned int i, at;

	lms_env_close(&env);
	keep_store();
	for (i = 0; i < OPERATIONS; i++) {
		restore_store();
		result = run_undisturbed(&operations[i]);
		for (at = 1; at <= result.calls; at++) {
			fail_at(&operations[i], &result, FAULT_FAIL, at, ENOSPC, LMS_NOSPACE);
			fail_at(&operations[i], &result, FAULT_FAIL_ONCE, at, EDQUOT, LMS_NOSPACE);
			fail_at(&operations[i], &result, FAULT_FAIL_ONCE, at, EIO, LMS_IO);
			fail_at(&operations[i], &result, FAULT_FAIL_HALF, at, ENOSPC, LMS_NOSPACE);
		}
		free_result(&result);
	}
}

/* A process is killed at random while it writes, again and again. */
static void test_random_kills(void)
{
	struct lms_env *env = make_store();
	unsigned int round, saved = 0, i;
	struct lms_folder folder;
	int fds[2];
	pid_t pid;
	char c;

	lms_env_close(&env);
	for (round = 0; round < 40; round++) {
		CHECK(pipe(fds) == 0);
		pid = test_fork();
		if (pid == 0) {
			env = test_open();
			for (i = 0;; i++) {
				if (test_save(env, other, big, 100 + i * 777 % 90000, 0) == 0)
					break;
				if (write(fds[1], "x", 1) != 1)
					break;
				if (i % 5 == 4 && test_copy(env, inbox, 1, 5, victim, false) < 0)
					break;
				if (i % 7 == 6 && test_expunge(env, victim, 1, UINT32_MAX) < 0)
					break;
			}
			test_child_exit();
		}
		close(fds[1]);
		usleep(1000 + round * 997 % 20000);
		kill(pid, SIGKILL);
		test_wait(pid, SIGKILL);
		while (read(fds[0], &c, 1) == 1)
			saved++;
		close(fds[0]);
		env = test_open();
		folder = test_folder_get(env, other);
		/* Every message that was acknowledged is there, and at most one more for each kill. */
		CHECK(folder.messages >= 3 + saved && folder.messages <= 3 + saved + round + 1);
		if (round % 10 == 9)
			CHECK_STORE(env);
		lms_env_close(&env);
	}
	env = test_open();
	CHECK_STORE(env);
	lms_env_close(&env);
	printf("# %u messages saved\n", saved);
}

/* A process that crashes while it writes says in which file, and what to do. */
static void test_last_words(void)
{
	struct rlimit no_core = { 0, 0 };
	struct lms_env *env = make_store();
	char text[512] = "";
	pid_t pid;
	int fd;

	lms_env_close(&env);
	pid = test_fork();
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &no_core);
		fd = open(test_path("messages"), O_WRONLY | O_CREAT, 0600);
		CHECK(dup2(fd, STDERR_FILENO) == STDERR_FILENO);
		env = test_open();
		CHECK(test_save_text(env, inbox, "acknowledged") != 0);
		fault_begin(FAULT_ABORT, 1, 0);
		(void)test_save_text(env, inbox, "lost");
		test_child_exit();
	}
	test_wait(pid, SIGABRT);
	fd = open(test_path("messages"), O_RDONLY);
	CHECK(read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	CHECK(strncmp(text, test_path("store/data.mdb: the process crashed while writing."),
		      strlen(test_path("store/data.mdb: the process crashed while writing."))) == 0);
	CHECK(strstr(text, "restore it from a backup") != NULL && text[strlen(text) - 1] == '\n');
	/* Nobody has to wait for the dead, and the file is as it was. */
	env = test_open();
	CHECK_U64(test_save_text(env, inbox, "next"), 32);
	CHECK_STORE(env);
	/* Once nothing is being written, nothing is said. */
	pid = test_fork();
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &no_core);
		CHECK(unlink(test_path("messages")) == 0);
		fd = open(test_path("messages"), O_WRONLY | O_CREAT, 0600);
		CHECK(dup2(fd, STDERR_FILENO) == STDERR_FILENO);
		abort();
	}
	test_wait(pid, SIGABRT);
	fd = open(test_path("messages"), O_RDONLY);
	CHECK(read(fd, text, sizeof(text)) == 0);
	close(fd);
	lms_env_close(&env);
}

static const struct test tests[] = {
	{ "kill", test_kill },
	{ "fail", test_fail },
	{ "random-kills", test_random_kills },
	{ "last-words", test_last_words },
	TEST_END
};

int main(int argc, char *argv[])
{
	return test_main(argc, argv, tests);
}
