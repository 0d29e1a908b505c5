/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#define _GNU_SOURCE
#include "test-common.h"
#include "lms-check.h"

#include <dirent.h>
#include <ftw.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned int passed, failed;
static char dir[256];

struct lms_error test_error;
struct lms_reply test_reply;
const struct lms_env_settings test_settings = { LMS_ENV_ANY_FILESYSTEM, 0700, 0600, (gid_t)-1, 600 };

bool test_check(bool ok, const char *file, int line, const char *format, ...)
{
	va_list args;

	if (ok) {
		passed++;
		return true;
	}
	failed++;
	printf("not ok - %s:%d: ", file, line);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
	return false;
}

bool test_check_u64(uint64_t value, uint64_t expected, const char *file, int line, const char *text)
{
	return test_check(value == expected, file, line, "%s is %llu, not %llu", text, (unsigned long long)value,
			  (unsigned long long)expected);
}

bool test_check_str(const char *value, const char *expected, const char *file, int line, const char *text)
{
	return test_check(value != NULL && strcmp(value, expected) == 0, file, line, "%s is \"%.200s\", not \"%.200s\"",
			  text, value == NULL ? "(null)" : value, expected);
}

bool test_check_ok(int ret, const char *file, int line, const char *text)
{
	return test_check(ret >= 0, file, line, "%s failed: %s", text, test_error.text);
}

bool test_check_fails(int ret, enum lms_code code, const char *file, int line, const char *text)
{
	return test_check(ret < 0 && test_error.code == code && test_error.text[0] != '\0', file, line,
			  "%s: returned %d with code %d and text \"%s\", not code %d", text, ret, test_error.code,
			  test_error.text, code);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	(void)chmod(path, 0700);
	return remove(path);
}

static int unlock_dir(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)ftw;
	if (type == FTW_D || type == FTW_DNR)
		(void)chmod(path, st->st_mode | 0700);
	return 0;
}

static void make_dir(void)
{
	const char *parent = getenv("TMPDIR");

	snprintf(dir, sizeof(dir), "%s/lms-test-XXXXXX", parent != NULL && parent[0] != '\0' ? parent : "/tmp");
	if (mkdtemp(dir) == NULL) {
		perror("mkdtemp");
		exit(2);
	}
}

static void remove_dir(void)
{
	nftw(dir, unlock_dir, 16, FTW_PHYS);
	nftw(dir, remove_entry, 16, FTW_PHYS | FTW_DEPTH);
}

static bool is_wanted(int argc, char *argv[], const char *name)
{
	int i;

	for (i = 1; i < argc; i++) {
		if (strcmp(argv[i], name) == 0)
			return true;
	}
	return argc < 2;
}

int test_main(int argc, char *argv[], const struct test *tests)
{
	unsigned int before;

	for (; tests->name != NULL; tests++) {
		if (!is_wanted(argc, argv, tests->name))
			continue;
		before = failed;
		make_dir();
		tests->func();
		remove_dir();
		printf("%s - %s\n", failed == before ? "ok" : "not ok", tests->name);
		fflush(stdout);
	}
	printf("%u passed, %u failed\n", passed, failed);
	return failed == 0 && passed > 0 ? 0 : 1;
}

pid_t test_fork(void)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0)
		passed = failed = 0;
	if (pid < 0)
		CHECK(false && "fork");
	return pid;
}

void test_child_exit(void)
{
	fflush(stdout);
	_exit(failed == 0 ? 0 : 1);
}

void test_wait(pid_t pid, int killed_by)
{
	int status;

	if (waitpid(pid, &status, 0) != pid) {
		CHECK(false && "waitpid");
		return;
	}
	if (killed_by != 0)
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == killed_by);
	else
		test_check(WIFEXITED(status) && WEXITSTATUS(status) == 0, __FILE__, __LINE__, "child ended with %x", status);
}

const char *test_dir(void)
{
	return dir;
}

const char *test_path(const char *name)
{
	static char paths[4][512];
	static unsigned int next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
	return path;
}

struct lms_env *test_open(void)
{
	struct lms_env *env;

	if (lms_env_open(test_path("store"), &test_settings, &env, &test_error) < 0) {
		printf("not ok - lms_env_open(): %s\n", test_error.text);
		exit(1);
	}
	return env;
}

struct lms_env *test_reopen(struct lms_env *env)
{
	lms_env_close(&env);
	return test_open();
}

int test_submit(struct lms_env *env, const struct lms_request *request)
{
	return lms_submit(env, request, &test_reply, &test_error);
}

const char *const *test_components(const char *path)
{
	static char *components[4][512];
	static char *buffers[4];
	static unsigned int next;
	unsigned int i = next++ % 4, count = 0;
	char *pos;

	free(buffers[i]);
	pos = buffers[i] = strdup(path);
	while (pos != NULL && *path != '\0' && count < 511)
		components[i][count++] = strsep(&pos, "/");
	components[i][count] = NULL;
	return (const char *const *)components[i];
}

int test_create(struct lms_env *env, const char *path)
{
	struct lms_request request;

	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_FOLDER_CREATE;
	request.u.folder_create.path = test_components(path);
	request.u.folder_create.selectable = true;
	return test_submit(env, &request);
}

uint64_t test_folder(struct lms_env *env, const char *path)
{
	if (test_create(env, path) < 0) {
		printf("not ok - create %s: %s\n", path, test_error.text);
		exit(1);
	}
	return test_reply.folder.folder_id;
}

int test_delete(struct lms_env *env, uint64_t folder_id)
{
	struct lms_request request;

	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_FOLDER_DELETE;
	request.u.folder_delete.folder_id = folder_id;
	return test_submit(env, &request);
}

int test_rename(struct lms_env *env, const char *path, const char *new_path, bool folder_only)
{
	struct lms_request request;

	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_NODE_RENAME;
	request.u.node_rename.path = test_components(path);
	request.u.node_rename.new_path = test_components(new_path);
	request.u.node_rename.folder_only = folder_only;
	return test_submit(env, &request);
}

uint32_t test_save(struct lms_env *env, uint64_t folder_id, const void *data, size_t size, uint8_t flags)
{
	struct lms_save_message message;
	struct lms_request request;
	uint32_t uid = 0;

	memset(&message, 0, sizeof(message));
	message.source = LMS_SAVE_DATA;
	message.data = data;
	message.size = message.physical_size = message.virtual_size = size;
	message.flags = flags;
	message.received = message.saved = 1700000000;
	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_SAVE;
	request.u.save.folder_id = folder_id;
	request.u.save.messages = &message;
	request.u.save.message_count = 1;
	request.u.save.uids_r = &uid;
	return test_submit(env, &request) < 0 ? 0 : uid;
}

uint32_t test_save_text(struct lms_env *env, uint64_t folder_id, const char *text)
{
	return test_save(env, folder_id, text, strlen(text), 0);
}

int test_copy(struct lms_env *env, uint64_t source_id, uint32_t uid1, uint32_t uid2, uint64_t folder_id, bool move)
{
	unsigned int i, count = uid2 - uid1 + 1;
	struct lms_save_message *messages = calloc(count, sizeof(*messages));
	uint32_t *uids = calloc(count, sizeof(*uids));
	struct lms_request request;
	int ret;

	for (i = 0; i < count; i++) {
		messages[i].source = move ? LMS_SAVE_MOVE : LMS_SAVE_COPY;
		messages[i].source_folder_id = source_id;
		messages[i].source_uid = uid1 + i;
		messages[i].received = INT64_MIN;
		messages[i].saved = 1700000001;
	}
	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_SAVE;
	request.u.save.folder_id = folder_id;
	request.u.save.messages = messages;
	request.u.save.message_count = count;
	request.u.save.uids_r = uids;
	ret = test_submit(env, &request);
	free(messages);
	free(uids);
	return ret;
}

int test_flags(struct lms_env *env, uint64_t folder_id, uint32_t uid1, uint32_t uid2, uint8_t add, uint8_t remove)
{
	struct lms_flag_change change = { uid1, uid2, add, remove };
	struct lms_request request;

	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_SYNC;
	request.u.sync.folder_id = folder_id;
	request.u.sync.flags = &change;
	request.u.sync.flag_count = 1;
	return test_submit(env, &request);
}

int test_keyword(struct lms_env *env, uint64_t folder_id, uint32_t uid1, uint32_t uid2, const char *name, bool add)
{
	struct lms_keyword_change change = { uid1, uid2, 0, add };
	struct lms_request request;

	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_SYNC;
	request.u.sync.folder_id = folder_id;
	request.u.sync.keyword_names = &name;
	request.u.sync.keyword_name_count = 1;
	request.u.sync.keywords = &change;
	request.u.sync.keyword_count = 1;
	return test_submit(env, &request);
}

int test_expunge(struct lms_env *env, uint64_t folder_id, uint32_t uid1, uint32_t uid2)
{
	struct lms_uid_range range = { uid1, uid2 };
	struct lms_request request;

	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_SYNC;
	request.u.sync.folder_id = folder_id;
	request.u.sync.expunges = &range;
	request.u.sync.expunge_count = 1;
	return test_submit(env, &request);
}

int test_subscribe(struct lms_env *env, const char *name, bool subscribe)
{
	struct lms_request request;

	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_SUBSCRIBE;
	request.u.subscribe.name = name;
	request.u.subscribe.subscribe = subscribe;
	return test_submit(env, &request);
}

int test_attribute(struct lms_env *env, uint64_t folder_id, const char *user, const char *key, const char *value)
{
	struct lms_attribute_change change = { folder_id, user, key, value, value == NULL ? 0 : strlen(value), 1234 };
	struct lms_request request;

	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_ATTRIBUTES;
	request.u.attributes.changes = &change;
	request.u.attributes.count = 1;
	return test_submit(env, &request);
}

void test_collect(struct lms_env *env, unsigned int grace_secs)
{
	struct lms_request request;

	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_COLLECT;
	request.u.collect.grace_secs = grace_secs;
	request.u.collect.max_bytes = 1 << 20;
	do {
		if (!CHECK_OK(test_submit(env, &request)))
			break;
	} while (test_reply.more);
}

int test_body_read(struct lms_env *env, uint64_t body_id, uint32_t chunk, void *buffer, size_t *size_r)
{
	struct lms_body_start start;
	int ret;

	*size_r = LMS_CHUNK_MAX;
	if (chunk > 0)
		return lms_body_read(env, body_id, chunk, buffer, size_r, &test_error);
	ret = lms_body_start(env, body_id, &start, &test_error);
	*size_r = ret > 0 ? start.size : 0;
	if (ret > 0)
		memcpy(buffer, start.data, start.size);
	return ret;
}

bool test_body_is(struct lms_env *env, uint64_t body_id, const void *data, size_t size)
{
	static uint8_t buffer[LMS_CHUNK_MAX];
	const uint8_t *bytes = data;
	uint32_t chunk = 0;
	size_t part;

	do {
		if (test_body_read(env, body_id, chunk++, buffer, &part) != 1 || part > size ||
		    memcmp(buffer, bytes, part) != 0)
			return false;
		bytes += part;
		size -= part;
	} while (size > 0);
	return test_body_read(env, body_id, chunk, buffer, &part) == 0;
}

size_t test_stage_size(const void *data, size_t done, size_t size)
{
	size_t part = done == 0 ? lms_body_start_size(data, size) + LMS_CHUNK_MAX : LMS_CHUNK_MAX;

	return size - done < part ? size - done : part;
}

void test_fill(void *data, size_t size, unsigned int seed)
{
	uint64_t state = seed * 0x9e3779b97f4a7c15ull + 1;
	uint8_t *bytes = data;
	size_t i;

	for (i = 0; i < size; i++) {
		state = state * 6364136223846793005ull + 1442695040888963407ull;
		bytes[i] = (uint8_t)(state >> 56);
	}
}

static void print_report(const char *text, void *context)
{
	(void)context;
	printf("# %s\n", text);
}

bool test_check_store(struct lms_env *env, const char *file, int line)
{
	int ret = lms_check(env, print_report, NULL, &test_error);

	return test_check(ret == 0, file, line, "check of the store %s", ret < 0 ? test_error.text : "found something");
}

struct lms_folder test_folder_get(struct lms_env *env, uint64_t folder_id)
{
	struct lms_folder folder;

	memset(&folder, 0, sizeof(folder));
	CHECK(lms_folder_get(env, folder_id, &folder, &test_error) == 1);
	return folder;
}
