/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#define _GNU_SOURCE
#include "test-publisher.h"
#include "lms-lock.h"
#include "lms-wire.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* The slot file and what is in it: requests and results as bytes. Nothing that may happen to it does any harm. */

static uint8_t data[40000];
static const char *const names[] = { "first", "second", "third" };
static const uint16_t keywords[] = { 2, 0 };

static void fill_messages(struct lms_save_message messages[4])
{
	memset(messages, 0, 4 * sizeof(*messages));
	messages[0].data = data;
	messages[0].size = 30000;
	messages[0].ready = "ready";
	messages[0].ready_size = 5;
	messages[0].uid = 77;
	messages[0].flags = LMS_SEEN | LMS_DRAFT;
	messages[0].keywords = keywords;
	messages[0].keyword_count = 2;
	messages[0].received = -5;
	messages[0].saved = 1700000000;
	messages[0].physical_size = 30001;
	messages[0].virtual_size = 30002;
	messages[0].guid = "a guid";
	messages[0].pop3_uidl = "an UIDL";
	messages[0].pop3_order = UINT32_MAX;
	messages[0].min_modseq = UINT64_MAX;
	messages[1].data = "";
	messages[1].guid = "";
	messages[2].source = LMS_SAVE_COPY;
	messages[2].received = INT64_MIN;
	messages[2].source_folder_id = (uint64_t)1 << 40;
	messages[2].source_uid = UINT32_MAX;
	messages[3].source = LMS_SAVE_MOVE;
	messages[3].source_folder_id = 1;
	messages[3].source_uid = 2;
}

static struct lms_request save_request(const struct lms_save_message *messages, uint32_t *uids)
{
	struct lms_request request;

	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_SAVE;
	request.no_sync = true;
	request.u.save.folder_id = 5;
	request.u.save.keyword_names = names;
	request.u.save.keyword_name_count = 3;
	request.u.save.messages = messages;
	request.u.save.message_count = 4;
	request.u.save.uids_r = uids;
	return request;
}

static bool same_string(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static void check_message(const struct lms_save_message *a, const struct lms_save_message *b)
{
	unsigned int i;

	CHECK(a->source == b->source && a->size == b->size && a->uid == b->uid && a->flags == b->flags);
	CHECK(a->source != LMS_SAVE_DATA || memcmp(a->data, b->data, a->size) == 0);
	CHECK(a->ready_size == b->ready_size && (a->ready_size == 0 || memcmp(a->ready, b->ready, a->ready_size) == 0));
	CHECK(a->source_folder_id == b->source_folder_id && a->source_uid == b->source_uid);
	CHECK(a->received == b->received && a->saved == b->saved && a->physical_size == b->physical_size);
	CHECK(a->virtual_size == b->virtual_size && a->pop3_order == b->pop3_order && a->min_modseq == b->min_modseq);
	CHECK(same_string(a->guid, b->guid) && same_string(a->pop3_uidl, b->pop3_uidl));
	CHECK(a->keyword_count == b->keyword_count);
	for (i = 0; i < a->keyword_count; i++)
		CHECK(a->keywords[i] == b->keywords[i]);
}

/* Every shorter message is refused. */
static void check_truncated(const struct lms_buffer *message)
{
	struct lms_wire_request wire;
	uint8_t *copy;
	size_t size;

	for (size = 0; size < message->size; size += size > 600 ? 97 : 1) {
		copy = malloc(size + 1);
		memcpy(copy, message->data, size);
		CHECK(lms_wire_get_request(&wire, copy, size) < 0);
		lms_wire_request_free(&wire);
		free(copy);
	}
}

static void test_wire_save(void)
{
	struct lms_save_message messages[4];
	uint32_t uids[4];
	struct lms_request request = save_request(messages, uids);
	struct lms_wire_request wire;
	struct lms_buffer message;
	unsigned int i;

	test_fill(data, sizeof(data), 1);
	fill_messages(messages);
	lms_buffer_init(&message);
	CHECK(lms_wire_put_request(&message, &request, 123456789, 60000));
	CHECK(lms_wire_get_request(&wire, message.data, message.size) == 0);
	CHECK(wire.request.op == LMS_OP_SAVE && wire.request.no_sync && wire.memory_limit == 123456789);
	CHECK(wire.request.u.save.folder_id == 5 && wire.request.u.save.message_count == 4);
	CHECK(wire.request.u.save.keyword_name_count == 3 && wire.request.u.save.uids_r != NULL);
	for (i = 0; i < 3; i++)
		CHECK_STR(wire.request.u.save.keyword_names[i], names[i]);
	for (i = 0; i < 4; i++)
		check_message(&wire.request.u.save.messages[i], &messages[i]);
	lms_wire_request_free(&wire);
	check_truncated(&message);
	lms_buffer_free(&message);
}

static void test_wire_sync(void)
{
	static const struct lms_flag_change flags[] = { { 1, 2, 3, 4 }, { 5, UINT32_MAX, LMS_SEEN, LMS_DELETED } };
	static const struct lms_keyword_change changes[] = { { 7, 8, 2, true }, { 9, 10, 0, false } };
	static const struct lms_uid_range expunges[] = { { 11, 12 }, { 0, UINT32_MAX } };
	struct lms_wire_request wire;
	struct lms_request request;
	struct lms_buffer message;
	struct lms_sync *sync = &request.u.sync;

	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_SYNC;
	sync->folder_id = UINT64_MAX;
	sync->keyword_names = names;
	sync->flags = flags;
	sync->keywords = changes;
	sync->expunges = expunges;
	sync->keyword_name_count = 3;
	sync->flag_count = sync->keyword_count = sync->expunge_count = 2;
	sync->first_recent_uid = 13;
	sync->modseq_floor = (uint64_t)1 << 60;
	lms_buffer_init(&message);
	CHECK(lms_wire_put_request(&message, &request, 0, LMS_SLOT_ROOM));
	CHECK(lms_wire_get_request(&wire, message.data, message.size) == 0);
	sync = &wire.request.u.sync;
	CHECK(wire.request.op == LMS_OP_SYNC && !wire.request.no_sync && sync->folder_id == UINT64_MAX);
	CHECK(sync->flag_count == 2 && memcmp(sync->flags, flags, sizeof(flags)) == 0);
	CHECK(sync->keyword_count == 2 && sync->keywords[0].uid2 == 8 && sync->keywords[0].keyword == 2);
	CHECK(sync->keywords[0].add && !sync->keywords[1].add && sync->keywords[1].uid1 == 9);
	CHECK(sync->expunge_count == 2 && memcmp(sync->expunges, expunges, sizeof(expunges)) == 0);
	CHECK(sync->first_recent_uid == 13 && sync->modseq_floor == (uint64_t)1 << 60);
	CHECK(sync->keyword_name_count == 3);
	CHECK_STR(sync->keyword_names[2], "third");
	lms_wire_request_free(&wire);
	check_truncated(&message);
	lms_buffer_free(&message);
}

/* Any bytes give a request or an error, and so for results. */
static void test_wire_random(void)
{
	struct lms_save_message messages[4];
	uint32_t uids[4];
	struct lms_request request = save_request(messages, uids);
	struct lms_wire_request wire;
	struct lms_buffer message;
	struct lms_reply reply;
	unsigned int i, j;
	uint8_t *copy;
	bool garbage;

	fill_messages(messages);
	messages[0].size = 200;
	lms_buffer_init(&message);
	CHECK(lms_wire_put_request(&message, &request, 0, 60000));
	for (i = 0; i < 20000; i++) {
		copy = malloc(message.size);
		memcpy(copy, message.data, message.size);
		test_fill(data, 64, i);
		for (j = 0; j < 1 + i % 8; j++)
			copy[(data[3 * j] << 8 | data[3 * j + 1]) % message.size] = data[3 * j + 2];
		if (lms_wire_get_request(&wire, copy, message.size) == 0)
			CHECK(wire.request.op == LMS_OP_SAVE || wire.request.op == LMS_OP_SYNC);
		lms_wire_request_free(&wire);
		copy[0] = (uint8_t)(1 + i % 2);
		(void)lms_wire_get_result(copy, message.size, &request, &reply, &test_error, &garbage);
		free(copy);
	}
	lms_buffer_free(&message);
}

static void test_wire_result(void)
{
	struct lms_save_message messages[4];
	uint32_t uids[4] = { UINT32_MAX, 5, 6, 7 }, read[4];
	struct lms_request request = save_request(messages, uids), reading = save_request(messages, read);
	struct lms_reply reply, result;
	struct lms_error error;
	struct lms_buffer message;
	bool garbage;
	size_t size;

	memset(&reply, 0, sizeof(reply));
	reply.change_before = 3;
	memset(&reply.folder, 0x81, offsetof(struct lms_folder, have_pop3_uidl));
	reply.folder.have_pop3_order = true;
	strcpy(reply.warning, "a warning");
	lms_buffer_init(&message);
	lms_wire_put_result(&message, &request, &reply, NULL, true);
	CHECK(lms_wire_get_result(message.data, message.size, &reading, &result, NULL, &garbage) == 0);
	CHECK(garbage && result.change_before == 3 && memcmp(read, uids, sizeof(uids)) == 0);
	CHECK(test_same_folder(result.folder, reply.folder));
	CHECK_STR(result.warning, "a warning");
	for (size = 0; size < message.size; size++)
		CHECK(lms_wire_get_result(message.data, size, &reading, &result, NULL, &garbage) == 1);
	lms_buffer_free(&message);
	error.code = LMS_NOSPACE;
	memset(error.text, 'x', sizeof(error.text) - 1);
	error.text[sizeof(error.text) - 1] = '\0';
	lms_wire_put_result(&message, &request, &reply, &error, false);
	CHECK_FAILS(lms_wire_get_result(message.data, message.size, &reading, &result, &test_error, &garbage),
		    LMS_NOSPACE);
	CHECK_STR(test_error.text, error.text);
	lms_buffer_free(&message);
}

static struct lms_env *env;
static uint64_t inbox;

static void begin(void)
{
	test_fill(data, sizeof(data), 3);
	env = test_open();
	inbox = test_folder(env, "INBOX");
}

/* Another process has the leader lock and gives it back after a while. */
static pid_t hold_leader(void)
{
	int fds[2], lock_fd;
	pid_t pid;
	char c;

	CHECK(pipe(fds) == 0);
	pid = test_fork();
	if (pid == 0) {
		lock_fd = open(test_path("store/store.lock"), O_RDWR);
		CHECK(lms_lock_wait(lock_fd, LMS_LOCK_LEADER) == 0);
		CHECK(write(fds[1], "x", 1) == 1);
		usleep(50000);
		test_child_exit();
	}
	close(fds[1]);
	CHECK(read(fds[0], &c, 1) == 1);
	close(fds[0]);
	return pid;
}

/* A save that meets a leader: it is carried out whatever the slot file is like. Returns whether it was published. */
static bool save_beside_leader(void)
{
	uint32_t before = test_folder_get(env, inbox).uidnext;
	pid_t pid = hold_leader();
	bool shared;

	CHECK_U64(test_save(env, inbox, data, 5000, 0), before);
	shared = env->slots != NULL && lms_slot_own(env->slots) < LMS_SLOT_COUNT;
	test_wait(pid, 0);
	return shared;
}

static void reopen(void)
{
	env = test_reopen(env);
}

static void write_file(const char *path, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	close(fd);
}

static uint64_t file_size(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? (uint64_t)st.st_size : UINT64_MAX;
}

/* Only who has to wait makes the file, and who leaves last empties it. */
static void test_file(void)
{
	const char *path = test_path("store/store.slots");
	struct stat st;

	begin();
	CHECK(test_save(env, inbox, data, 5000, 0) == 1);
	reopen();
	CHECK(access(path, F_OK) < 0);
	CHECK(save_beside_leader());
	CHECK(stat(path, &st) == 0 && (st.st_mode & 07777) == test_settings.file_mode);
	CHECK(file_size(path) > LMS_SLOT_ROOM);
	reopen();
	CHECK_U64(file_size(path), 4096);
	CHECK(save_beside_leader());
	CHECK_STORE(env);
	lms_env_close(&env);
}

static void test_file_garbage(void)
{
	const char *path = test_path("store/store.slots");

	begin();
	CHECK(save_beside_leader());
	/* Deleted in use: who has it open finds out. */
	CHECK(unlink(path) == 0);
	CHECK(save_beside_leader());
	CHECK(access(path, F_OK) == 0);
	/* Cut off in use */
	CHECK(truncate(path, 0) == 0);
	CHECK(save_beside_leader());
	/* Anything in it, in use and before */
	write_file(path, sizeof(data));
	CHECK(save_beside_leader());
	reopen();
	write_file(path, sizeof(data));
	CHECK(save_beside_leader());
	reopen();
	write_file(path, 3);
	CHECK(save_beside_leader());
	CHECK_STORE(env);
	lms_env_close(&env);
}

/* Something that can't be used */
static void test_no_file(void)
{
	const char *path = test_path("store/store.slots");

	begin();
	CHECK(mkdir(path, 0700) == 0);
	CHECK(!save_beside_leader());
	reopen();
	CHECK(rmdir(path) == 0 && mkfifo(path, 0600) == 0);
	CHECK(!save_beside_leader());
	reopen();
	CHECK(unlink(path) == 0 && symlink("data.mdb", path) == 0);
	CHECK(!save_beside_leader());
	CHECK_STORE(env);
	lms_env_close(&env);
}

/* Another version's file is left alone as long as somebody uses it. */
static void test_other_version(void)
{
	const char *path = test_path("store/store.slots");
	struct publisher *publisher;
	struct stat before, after;

	begin();
	publisher = publisher_new(env);
	write_file(path, 4);
	CHECK(stat(path, &before) == 0);
	CHECK(!save_beside_leader());
	CHECK(stat(path, &after) == 0 && after.st_ino == before.st_ino);
	publisher_free(&publisher);
	CHECK(save_beside_leader());
	CHECK(file_size(path) > LMS_SLOT_ROOM);
	CHECK_STORE(env);
	lms_env_close(&env);
}

/* All slots are taken: who has none waits for the leader lock itself. */
static void test_no_slot(void)
{
	struct publisher *publishers[LMS_SLOT_COUNT];
	unsigned int i;

	begin();
	for (i = 0; i < LMS_SLOT_COUNT; i++) {
		publishers[i] = publisher_new(env);
		CHECK_U64(publisher_slot(publishers[i]), i);
	}
	CHECK(!save_beside_leader());
	publisher_free(&publishers[100]);
	CHECK(save_beside_leader());
	CHECK_U64(lms_slot_own(env->slots), 100);
	for (i = 0; i < LMS_SLOT_COUNT; i++) {
		if (i != 100)
			publisher_free(&publishers[i]);
	}
	CHECK_STORE(env);
	lms_env_close(&env);
}

/* A child has the parent's slot and locks in its memory, and leaves them alone. */
static void test_after_fork(void)
{
	pid_t pid;

	begin();
	CHECK(save_beside_leader());
	pid = test_fork();
	if (pid == 0) {
		CHECK_FAILS(test_flags(env, inbox, 1, 1, LMS_SEEN, 0), LMS_IO);
		lms_env_close(&env);
		test_child_exit();
	}
	test_wait(pid, 0);
	CHECK(file_size(test_path("store/store.slots")) > LMS_SLOT_ROOM);
	CHECK(save_beside_leader());
	CHECK_STORE(env);
	lms_env_close(&env);
}

/* A leader meets messages that make no sense. */
static void test_garbage_messages(void)
{
	struct publisher *publisher;
	struct lms_buffer message;
	unsigned int i;

	begin();
	publisher = publisher_new(env);
	for (i = 0; i < 200; i++) {
		lms_buffer_init(&message);
		test_fill(data, 1000, i);
		lms_buffer_add(&message, data, LMS_SLOT_HEAD + i);
		publisher_publish_message(publisher, &message);
		lms_buffer_free(&message);
		CHECK_U64(test_save(env, inbox, data, 100, 0), i + 1);
		CHECK_U64(publisher_state(publisher), LMS_SLOT_ALONE);
	}
	/* States that aren't any */
	publisher_set_state(publisher, 12345);
	CHECK_U64(test_save(env, inbox, data, 100, 0), i + 1);
	publisher_set_state(publisher, LMS_SLOT_NUDGED);
	CHECK_U64(test_save(env, inbox, data, 100, 0), i + 2);
	publisher_free(&publisher);
	CHECK_STORE(env);
	lms_env_close(&env);
}

static const struct test tests[] = {
	{ "wire-save", test_wire_save },
	{ "wire-sync", test_wire_sync },
	{ "wire-random", test_wire_random },
	{ "wire-result", test_wire_result },
	{ "file", test_file },
	{ "file-garbage", test_file_garbage },
	{ "no-file", test_no_file },
	{ "other-version", test_other_version },
	{ "no-slot", test_no_slot },
	{ "after-fork", test_after_fork },
	{ "garbage-messages", test_garbage_messages },
	TEST_END
};

int main(int argc, char *argv[])
{
	return test_main(argc, argv, tests);
}
