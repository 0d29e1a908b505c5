/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#define _GNU_SOURCE
#include "test-common.h"
#include "test-state.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Stores of every format version so far must be read as they were written, and can be written to. For each there is in
 * assets/ the data file (format-N.mdb.gz) and what is in it (format-N.txt), made by the version that introduced it:
 *
 *	test-format make directory
 *
 * makes both for the current version.
 */

#ifndef TEST_ASSETS
#  define TEST_ASSETS "assets"
#endif

static const unsigned int versions[] = { 1 };

static uint8_t text[3 * LMS_CHUNK_MAX + 1];

static void fill_text(size_t size)
{
	static const char line[] = "This is line %u of a message that compresses well.\r\n";
	size_t used = 0;
	unsigned int i;

	for (i = 0; used < size; i++)
		used += (size_t)snprintf((char *)text + used, size - used + 1, line, i % 10);
}

static void create(struct lms_env *env, const char *path, uint32_t uidvalidity, unsigned int guid)
{
	struct lms_request request;

	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_FOLDER_CREATE;
	request.u.folder_create.path = test_components(path);
	request.u.folder_create.selectable = uidvalidity != 0;
	request.u.folder_create.values.uidvalidity = uidvalidity;
	memset(request.u.folder_create.values.guid, (int)guid, LMS_GUID_SIZE);
	CHECK_OK(test_submit(env, &request));
}

static void save_samples(struct lms_env *env, uint64_t folder_id)
{
	static const char *names[] = { "$Forwarded", "second" };
	static const uint16_t keywords[] = { 1, 0 };
	static uint8_t random[9000];
	struct lms_save_message messages[7];
	struct lms_request request;
	uint32_t uids[7];
	unsigned int i;

	memset(messages, 0, sizeof(messages));
	fill_text(sizeof(text) - 1);
	for (i = 0; i < 7; i++) {
		messages[i].data = text;
		messages[i].size = messages[i].physical_size = i == 5 ? 2 * LMS_CHUNK_MAX + 100 : 700 * i;
		messages[i].virtual_size = messages[i].size + i;
		messages[i].flags = (uint8_t)(1 << i) & LMS_FLAGS_MASK;
		messages[i].received = 1000000000 + i;
		messages[i].saved = 1700000000 - i;
		messages[i].keywords = keywords;
		messages[i].keyword_count = i % 3;
	}
	messages[0].guid = "not hexadecimal";
	messages[1].guid = "00112233445566778899aabbccddeeff";
	messages[2].guid = "ffeeddccbbaa99887766554433221100";
	messages[3].guid = "33333333333333333333333333333333";
	messages[4].guid = "44444444444444444444444444444444";
	messages[5].guid = "55555555555555555555555555555555";
	messages[6].guid = "66666666666666666666666666666666";
	messages[1].physical_size = 12345;
	messages[1].ready = "kept ready";
	messages[1].ready_size = 10;
	/* Not compressed, and in several pieces */
	test_fill(random, sizeof(random), 1);
	messages[6].data = random;
	messages[6].size = messages[6].physical_size = messages[6].virtual_size = sizeof(random);
	messages[2].pop3_uidl = "a POP3 UIDL";
	messages[3].pop3_order = 300;
	messages[4].min_modseq = 400000;
	messages[4].uid = 1000;
	messages[0].received = -5;
	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_SAVE;
	request.u.save.folder_id = folder_id;
	request.u.save.keyword_names = names;
	request.u.save.keyword_name_count = 2;
	request.u.save.messages = messages;
	request.u.save.message_count = 7;
	request.u.save.uids_r = uids;
	CHECK_OK(test_submit(env, &request));
}

static void make_content(struct lms_env *env)
{
	uint64_t inbox, other, body_id = 0;
	struct lms_stage_part part = { &body_id, "staged", 6, "ready", 5 };
	char name[700];
	struct lms_request request;
	unsigned int i;

	create(env, "INBOX", 1700000001, 0x11);
	inbox = test_reply.folder.folder_id;
	create(env, "parent/\xc3\xa4\xe2\x82\xac", 1700000002, 0x22);
	other = test_reply.folder.folder_id;
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	create(env, name, 1700000003, 0x33);
	create(env, "only/a/node", 0, 0);
	save_samples(env, inbox);
	CHECK_OK(test_copy(env, inbox, 1, 3, other, false));
	CHECK_OK(test_copy(env, inbox, 4, 4, other, true));
	for (i = 0; i < 70; i++) {
		snprintf(name, 100, "keyword%u", i);
		CHECK_OK(test_keyword(env, other, 1 + i % 2, 2, name, true));
	}
	CHECK_OK(test_flags(env, inbox, 1, 2, LMS_SEEN, 0));
	CHECK_OK(test_expunge(env, other, 3, 3));
	CHECK_OK(test_expunge(env, inbox, 1001, 1001));
	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_SYNC;
	request.u.sync.folder_id = inbox;
	request.u.sync.modseq_floor = 5000;
	request.u.sync.first_recent_uid = 4;
	CHECK_OK(test_submit(env, &request));
	create(env, "deleted", 1700000004, 0x44);
	CHECK_OK(test_copy(env, inbox, 1, 2, test_reply.folder.folder_id, false));
	CHECK_OK(test_delete(env, test_reply.folder.folder_id));
	CHECK_OK(test_subscribe(env, "INBOX", true));
	memset(name, 's', sizeof(name) - 1);
	CHECK_OK(test_subscribe(env, name, true));
	CHECK_OK(test_attribute(env, 0, NULL, "store", "value"));
	CHECK_OK(test_attribute(env, inbox, "user", "private", "value"));
	CHECK_OK(test_attribute(env, inbox, NULL, name, "long key"));
	CHECK_OK(test_attribute(env, inbox, NULL, "empty", ""));
	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_STAGE;
	request.u.stage.parts = &part;
	request.u.stage.count = 1;
	CHECK_OK(test_submit(env, &request));
}

static int make_assets(const char *dir)
{
	struct lms_env_settings set = test_settings;
	struct lms_env *env;
	char command[1000];
	char *state;
	FILE *file;

	set.grace_secs = 1000000000;
	snprintf(command, sizeof(command), "%s/store", dir);
	if (lms_env_open(command, &set, &env, &test_error) < 0)
		return 1;
	make_content(env);
	state = test_state(env, true);
	snprintf(command, sizeof(command), "%s/format.txt", dir);
	file = fopen(command, "w");
	if (file == NULL)
		return 1;
	fputs(state, file);
	fclose(file);
	lms_env_close(&env);
	free(state);
	return 0;
}

static char *read_text(const char *path)
{
	FILE *file = fopen(path, "r");
	char *content = NULL;
	size_t size = 0;

	if (!CHECK(file != NULL))
		return NULL;
	CHECK(getdelim(&content, &size, '\0', file) > 0);
	fclose(file);
	return content;
}

static void test_version(unsigned int version)
{
	char path[1000];
	char *expected, *state;
	struct lms_env *env;

	CHECK(mkdir(test_path("store"), 0700) == 0);
	snprintf(path, sizeof(path), "gzip -dc '%s/format-%u.mdb.gz' > '%s'", TEST_ASSETS, version,
		 test_path("store/data.mdb"));
	if (!CHECK(system(path) == 0))
		return;
	snprintf(path, sizeof(path), "%s/format-%u.txt", TEST_ASSETS, version);
	expected = read_text(path);
	env = test_open();
	state = test_state(env, true);
	if (expected != NULL)
		CHECK(strcmp(state, expected) == 0);
	if (expected != NULL && strcmp(state, expected) != 0)
		printf("--- expected\n%s--- read\n%s", expected, state);
	CHECK_STORE(env);
	/* And it can be written to. */
	CHECK(test_save_text(env, 1, "new") != 0);
	CHECK_OK(test_keyword(env, 1, 1, 5, "new keyword", true));
	CHECK_OK(test_copy(env, 1, 1, 2, 2, true));
	CHECK_OK(test_expunge(env, 2, 1, UINT32_MAX));
	CHECK_OK(test_rename(env, "parent", "renamed", false));
	test_collect(env, 0);
	CHECK_STORE(env);
	lms_env_close(&env);
	free(expected);
	free(state);
	CHECK(rename(test_path("store"), test_path("done")) == 0);
}

static void test_versions(void)
{
	unsigned int i;

	for (i = 0; i < sizeof(versions) / sizeof(versions[0]); i++)
		test_version(versions[i]);
}

/* What the current version writes is what its sample has, but for what is random or a time. */
static void test_current(void)
{
	struct lms_env *env = test_open();
	char path[1000];
	char *expected, *state;

	make_content(env);
	state = test_state(env, true);
	snprintf(path, sizeof(path), "%s/format-%u.txt", TEST_ASSETS,
		 versions[sizeof(versions) / sizeof(versions[0]) - 1]);
	expected = read_text(path);
	if (expected != NULL)
		CHECK(strcmp(state, expected) == 0);
	free(expected);
	free(state);
	lms_env_close(&env);
}

static const struct test tests[] = {
	{ "versions", test_versions },
	{ "current", test_current },
	TEST_END
};

int main(int argc, char *argv[])
{
	if (argc == 3 && strcmp(argv[1], "make") == 0)
		return make_assets(argv[2]);
	return test_main(argc, argv, tests);
}
