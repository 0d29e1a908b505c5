/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "test-common.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

/* Backups: copies of a store that is in use, and what is different when one is used in its place. */

#define FOLDERS 50
#define BODY "body of message %u\r\n"

static int take_into_use(struct lms_env *env)
{
	struct lms_request request = { .op = LMS_OP_COPY_MARK };

	return test_submit(env, &request);
}

static struct lms_env *open_copy(const char *name)
{
	struct lms_env *env = NULL;

	CHECK_OK(lms_env_open(test_path(name), &test_settings, &env, &test_error));
	if (env == NULL)
		exit(1);
	return env;
}

static void test_content(void)
{
	struct lms_env *env = test_open(), *copy;
	uint64_t folder_id = test_folder(env, "a/b");
	struct lms_message message;
	char body[64];
	unsigned int i;

	for (i = 1; i <= 20; i++) {
		snprintf(body, sizeof(body), BODY, i);
		CHECK_U64(test_save_text(env, folder_id, body), i);
	}
	CHECK_OK(lms_env_copy(env, test_path("copy"), &test_error));
	CHECK(!lms_env_is_copy(env));
	/* What comes later isn't in it. */
	CHECK_U64(test_save_text(env, folder_id, "later"), 21);

	copy = open_copy("copy");
	CHECK_STORE(copy);
	CHECK_U64(test_folder_get(copy, folder_id).messages, 20);
	for (i = 1; i <= 20; i++) {
		snprintf(body, sizeof(body), BODY, i);
		CHECK(lms_message_get(copy, folder_id, i, &message, &test_error) == 1);
		CHECK(test_body_is(copy, message.body_id, body, strlen(body)));
	}
	lms_env_close(&copy);
	lms_env_close(&env);
}

static void test_mark(void)
{
	struct lms_env *env = test_open(), *copy;
	struct lms_folder before[FOLDERS], after, again;
	uint64_t folder_ids[FOLDERS];
	char name[16];
	unsigned int i;

	for (i = 0; i < FOLDERS; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		folder_ids[i] = test_folder(env, name);
		before[i] = test_folder_get(env, folder_ids[i]);
	}
	CHECK_OK(lms_env_copy(env, test_path("copy"), &test_error));
	lms_env_close(&env);

	/* The mark stays until somebody takes the copy into use. */
	copy = open_copy("copy");
	CHECK(lms_env_is_copy(copy));
	lms_env_close(&copy);
	copy = open_copy("copy");
	CHECK(lms_env_is_copy(copy));
	CHECK_OK(take_into_use(copy));
	CHECK(test_reply.warning[0] != '\0');
	for (i = 0; i < FOLDERS; i++) {
		after = test_folder_get(copy, folder_ids[i]);
		CHECK(after.epoch != before[i].epoch && after.uidvalidity > before[i].uidvalidity);
		CHECK_U64(after.uidnext, before[i].uidnext);
	}
	CHECK_STORE(copy);
	/* Who was slower changes nothing. */
	CHECK_OK(take_into_use(copy));
	CHECK_STR(test_reply.warning, "");
	again = test_folder_get(copy, folder_ids[FOLDERS - 1]);
	CHECK(again.epoch == after.epoch && again.uidvalidity == after.uidvalidity);
	lms_env_close(&copy);
	copy = open_copy("copy");
	CHECK(!lms_env_is_copy(copy));
	lms_env_close(&copy);
}

static void test_refused(void)
{
	struct lms_env *env = test_open();
	struct stat st;

	CHECK(mkdir(test_path("there"), 0700) == 0);
	CHECK_FAILS(lms_env_copy(env, test_path("there"), &test_error), LMS_EXISTS);
	CHECK(mkdir(test_path("half.tmp"), 0700) == 0);
	CHECK_FAILS(lms_env_copy(env, test_path("half"), &test_error), LMS_EXISTS);
	CHECK(stat(test_path("half"), &st) < 0);
	/* The copy can't get its name: nothing is left of it. */
	CHECK(symlink("nowhere/else", test_path("link")) == 0);
	CHECK_FAILS(lms_env_copy(env, test_path("link"), &test_error), LMS_IO);
	CHECK(stat(test_path("link.tmp"), &st) < 0);
	lms_env_close(&env);
}

/* Copies of a store into which others write */
static void test_in_use(void)
{
	struct lms_env *env = test_open(), *copy;
	uint64_t folder_id = test_folder(env, "a");
	unsigned int i, messages = 0;
	char name[16];
	pid_t pid;

	lms_env_close(&env);
	pid = test_fork();
	if (pid == 0) {
		env = test_open();
		while (test_save_text(env, folder_id, "x") > 0)
			test_expunge(env, folder_id, 1, 1);
		test_child_exit();
	}
	env = test_open();
	for (i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "copy%u", i);
		CHECK_OK(lms_env_copy(env, test_path(name), &test_error));
		copy = open_copy(name);
		CHECK_STORE(copy);
		CHECK(test_folder_get(copy, folder_id).messages >= messages);
		messages = test_folder_get(copy, folder_id).messages;
		lms_env_close(&copy);
	}
	kill(pid, SIGKILL);
	test_wait(pid, SIGKILL);
	lms_env_close(&env);
}

static const struct test tests[] = {
	{ "content", test_content },
	{ "mark", test_mark },
	{ "refused", test_refused },
	{ "in-use", test_in_use },
	TEST_END
};

int main(int argc, char *argv[])
{
	return test_main(argc, argv, tests);
}
