/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "test-common.h"

/* The whole life of a message and a folder, in short. */

static int count_message(const struct lms_message *message, void *context)
{
	(void)message;
	++*(unsigned int *)context;
	return 0;
}

static unsigned int count_messages(struct lms_env *env, uint64_t folder_id)
{
	unsigned int count = 0;

	CHECK_OK(lms_message_scan(env, folder_id, 1, UINT32_MAX, count_message, &count, &test_error));
	return count;
}

static void test_life(void)
{
	struct lms_env *env = test_open();
	uint64_t inbox = test_folder(env, "INBOX"), other = test_folder(env, "a/b");
	struct lms_message message;
	struct lms_folder folder;
	char **path;

	CHECK(test_save_text(env, inbox, "Subject: one\r\n\r\n1") == 1);
	CHECK(test_save_text(env, inbox, "Subject: two\r\n\r\n2") == 2);
	CHECK(lms_message_get(env, inbox, 2, &message, &test_error) == 1);
	CHECK(test_body_is(env, message.body_id, "Subject: two\r\n\r\n2", 17));
	CHECK_U64(message.received, 1700000000);
	CHECK(strlen(message.guid) == 32);
	CHECK_OK(test_copy(env, inbox, 1, 2, other, false));
	CHECK_OK(test_copy(env, inbox, 1, 1, other, true));
	CHECK_OK(test_flags(env, inbox, 2, 2, LMS_SEEN, 0));
	CHECK_OK(test_keyword(env, inbox, 2, 2, "$Label1", true));
	env = test_reopen(env);
	CHECK_U64(count_messages(env, inbox), 1);
	CHECK_U64(count_messages(env, other), 3);
	folder = test_folder_get(env, inbox);
	CHECK_U64(folder.messages, 1);
	CHECK_U64(folder.seen, 1);
	CHECK_U64(folder.uidnext, 3);
	CHECK(lms_message_get(env, inbox, 2, &message, &test_error) == 1);
	CHECK_U64(message.flags, LMS_SEEN);
	CHECK(message.keyword_bytes == 1 && message.keywords[0] == 1);
	CHECK_OK(test_expunge(env, inbox, 1, 100));
	CHECK_U64(count_messages(env, inbox), 0);
	CHECK(lms_folder_get_path(env, other, &path, &test_error) == 1);
	CHECK(strcmp(path[0], "a") == 0 && strcmp(path[1], "b") == 0 && path[2] == NULL);
	free(path);
	CHECK_OK(test_rename(env, "a", "c/d", false));
	CHECK_OK(test_delete(env, other));
	test_collect(env, 0);
	lms_env_close(&env);
}

static const struct test tests[] = {
	{ "life", test_life },
	TEST_END
};

int main(int argc, char *argv[])
{
	return test_main(argc, argv, tests);
}
