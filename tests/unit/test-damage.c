/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#define _GNU_SOURCE
#include "test-common.h"
#include "test-raw.h"
#include "lms-check.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * A damaged file gives an error or the right data, and no crash. Where records are damaged, keys or values, that holds
 * for everything that reads; after writing to it, and where LMDB's own structure is damaged, records may be missing, but
 * those that are there must be right. Writing to a damaged structure may end the process: LMDB believes what its pages
 * say.
 */

#define FOLDERS 3
#define MESSAGES 120

static uint64_t random_state;

static unsigned int rnd(unsigned int max)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned int)(random_state >> 33) % max;
}

static size_t message_size(unsigned int folder, uint32_t uid)
{
	return uid % 40 == 7 ? 150000 + folder : 50 + (uid * 97 + folder * 31) % 5000;
}

static unsigned int message_seed(unsigned int folder, uint32_t uid)
{
	return folder * 1000 + uid;
}

static uint64_t folder_ids[FOLDERS];
static uint8_t expected[200000];
/* write_all() ran, perhaps not to its end; it may have renamed the tree, but not back. */
static bool written, renamed;
/* LMDB's structure is damaged: records may be missing, but those that are there must be right. */
static bool may_miss;

static void make_store(void)
{
	struct lms_env *env = test_open();
	unsigned int i;
	char name[32];
	uint32_t uid;

	for (i = 0; i < FOLDERS; i++) {
		snprintf(name, sizeof(name), "parent/folder%u", i);
		folder_ids[i] = test_folder(env, name);
		for (uid = 1; uid <= MESSAGES; uid++) {
			size_t size = message_size(i, uid);

			test_fill(expected, size, message_seed(i, uid));
			CHECK_U64(test_save(env, folder_ids[i], expected, size, uid % 32), uid);
		}
		CHECK_OK(test_keyword(env, folder_ids[i], 1, 10, "keyword", true));
		CHECK_OK(test_attribute(env, folder_ids[i], NULL, "attribute", "value"));
		CHECK_OK(test_subscribe(env, name, true));
	}
	/* Garbage and free pages, so that writing uses them too */
	i = (unsigned int)test_folder(env, "deleted");
	CHECK_OK(test_copy(env, folder_ids[0], 1, 20, i, false));
	test_save_text(env, i, "text");
	CHECK_OK(test_delete(env, i));
	test_collect(env, 0);
	i = (unsigned int)test_folder(env, "deleted");
	test_save_text(env, i, "text");
	CHECK_OK(test_expunge(env, i, 1, 1));
	lms_env_close(&env);
}

struct scan {
	struct lms_env *env;
	unsigned int folder, count;
	uint32_t first_uid;
};

static void check_message(struct lms_env *env, unsigned int folder, const struct lms_message *message)
{
	static uint8_t buffer[LMS_CHUNK_MAX];
	size_t size = message_size(folder, message->uid), done = 0, part;
	uint32_t chunk = 0;
	int ret;

	if (!CHECK_U64(message->physical_size, size) || !CHECK_U64(message->flags, message->uid % 32))
		return;
	test_fill(expected, size, message_seed(folder, message->uid));
	while (done < size) {
		ret = test_body_read(env, message->body_id, chunk++, buffer, &part);
		if (ret < 0)
			return;
		if (ret == 0 && may_miss)
			return;
		if (!CHECK(ret == 1 && done + part <= size && memcmp(buffer, expected + done, part) == 0))
			return;
		done += part;
	}
}

static int scan_message(const struct lms_message *message, void *context)
{
	struct scan *scan = context;

	if (message->uid > MESSAGES)
		return 0;
	CHECK(message->uid == scan->first_uid + scan->count || may_miss);
	scan->count++;
	check_message(scan->env, scan->folder, message);
	return 0;
}

static int ignore_name(const struct lms_node *node, const char *name, void *context)
{
	(void)node;
	CHECK(strncmp(name, "folder", 6) == 0);
	++*(unsigned int *)context;
	return 0;
}

static int ignore_text(const char *text, void *context)
{
	(void)text;
	++*(unsigned int *)context;
	return 0;
}

static int ignore_keyword(unsigned int number, const char *name, void *context)
{
	CHECK(number > 0 || strcmp(name, "keyword") == 0 || (written && may_miss && strcmp(name, "other") == 0));
	++*(unsigned int *)context;
	return 0;
}

static int ignore_folder(const struct lms_folder *folder, void *context)
{
	(void)folder;
	++*(unsigned int *)context;
	return 0;
}

static int ignore_change(enum lms_change_kind kind, uint32_t uid1, uint32_t uid2, void *context)
{
	(void)kind;
	CHECK(uid1 >= 1 && (uid2 <= 10 || written));
	++*(unsigned int *)context;
	return 0;
}

static void ignore_report(const char *text, void *context)
{
	(void)text;
	(void)context;
}

static void read_folder(struct lms_env *env, unsigned int i, uint32_t first_uid)
{
	struct scan scan = { env, i, 0, first_uid };
	struct lms_message message;
	struct lms_folder folder;
	unsigned int count = 0;
	uint32_t uid;
	size_t size;
	void *value;
	int64_t changed;
	int ret;

	ret = lms_folder_get(env, folder_ids[i], &folder, &test_error);
	CHECK(ret < 0 || (ret == 1 && (folder.messages >= MESSAGES + 1 - first_uid || (written && may_miss))) ||
	      (ret == 0 && may_miss));
	if (lms_message_scan(env, folder_ids[i], 1, UINT32_MAX, scan_message, &scan, &test_error) == 0)
		CHECK(scan.count == MESSAGES + 1 - first_uid || (scan.count < MESSAGES && may_miss));
	for (uid = first_uid; uid <= MESSAGES; uid++) {
		ret = lms_message_get(env, folder_ids[i], uid, &message, &test_error);
		if (CHECK(ret != 0 || may_miss) && ret > 0)
			check_message(env, i, &message);
	}
	if (lms_keyword_scan(env, folder_ids[i], ignore_keyword, &count, &test_error) == 0)
		CHECK(count == 1 || written || may_miss);
	count = 0;
	if (lms_changes_scan(env, folder_ids[i], 0, ignore_change, &count, &test_error) == 0)
		CHECK(count == 1 || written || may_miss);
	ret = lms_attribute_get(env, folder_ids[i], NULL, "attribute", &value, &size, &changed, &test_error);
	if (CHECK(ret != 0 || may_miss) && ret > 0) {
		CHECK(size == 5 && memcmp(value, "value", 5) == 0);
		free(value);
	}
}

static void read_tree(struct lms_env *env)
{
	unsigned int i, count = 0;
	struct lms_node node;
	char **path;
	int ret;

	for (i = 0; i < FOLDERS; i++) {
		char name[32];

		snprintf(name, sizeof(name), "parent/folder%u", i);
		ret = lms_node_lookup(env, test_components(name), &node, &test_error);
		CHECK(ret < 0 || (ret == 1 && node.folder_id == folder_ids[i]) || (ret == 0 && may_miss));
		ret = lms_folder_get_path(env, folder_ids[i], &path, &test_error);
		if (CHECK(ret != 0 || may_miss) && ret > 0) {
			CHECK(strcmp(path[0], "parent") == 0 && strcmp(path[1], name + 7) == 0 && path[2] == NULL);
			free(path);
		}
	}
	ret = lms_node_lookup(env, test_components("parent"), &node, &test_error);
	CHECK(ret != 0 || may_miss);
	if (ret > 0 && lms_node_children(env, node.node_id, ignore_name, &count, &test_error) == 0)
		CHECK(count == FOLDERS || may_miss);
	count = 0;
	if (lms_folder_scan(env, ignore_folder, &count, &test_error) == 0)
		CHECK(count == FOLDERS + 1 || written || may_miss);
	count = 0;
	if (lms_subscription_scan(env, ignore_text, &count, &test_error) == 0)
		CHECK(count == FOLDERS || may_miss);
}

static void read_all(struct lms_env *env, uint32_t first_uid)
{
	struct lms_env_usage usage;
	unsigned int i;

	if (!renamed)
		read_tree(env);
	for (i = 0; i < FOLDERS; i++)
		read_folder(env, i, i == 1 ? first_uid : 1);
	(void)lms_env_get_usage(env, &usage, &test_error);
}

static void write_all(struct lms_env *env, uint32_t *first_uid)
{
	struct lms_request request;
	unsigned int i;

	written = true;
	for (i = 0; i < FOLDERS; i++) {
		(void)test_save_text(env, folder_ids[i], "new message");
		(void)test_copy(env, folder_ids[(i + 1) % FOLDERS], 50, 60, folder_ids[i], false);
	}
	if (test_expunge(env, folder_ids[1], 1, 40) == 0)
		*first_uid = 41;
	(void)test_keyword(env, folder_ids[2], 100, 110, "other", true);
	(void)test_keyword(env, folder_ids[2], 100, 110, "other", false);
	if (test_rename(env, "parent", "parent2", false) == 0)
		renamed = test_rename(env, "parent2", "parent", false) < 0;
	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_COLLECT;
	request.u.collect.max_bytes = 100000;
	for (i = 0; i < 30; i++) {
		if (test_submit(env, &request) < 0 || !test_reply.more)
			break;
	}
	(void)test_create(env, "new/folder");
}

static void exercise(bool writing)
{
	struct lms_env *env;
	uint32_t first_uid = 1;

	if (lms_env_open(test_path("store"), &test_settings, &env, &test_error) < 0) {
		CHECK(test_error.text[0] != '\0' && test_error.code != LMS_OK);
		return;
	}
	if (!writing) {
		(void)lms_check(env, ignore_report, NULL, &test_error);
		read_all(env, 1);
	} else {
		write_all(env, &first_uid);
		read_all(env, first_uid);
	}
	lms_env_close(&env);
}

static size_t read_data(uint8_t **data_r)
{
	int fd = open(test_path("store/data.mdb"), O_RDONLY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		exit(1);
	*data_r = malloc((size_t)st.st_size);
	CHECK(read(fd, *data_r, (size_t)st.st_size) == st.st_size);
	close(fd);
	return (size_t)st.st_size;
}

static void write_data(const uint8_t *data, size_t size)
{
	int fd = open(test_path("store/data.mdb"), O_WRONLY | O_TRUNC);

	CHECK(write(fd, data, size) == (ssize_t)size);
	close(fd);
}

static pid_t begin_child(bool writing)
{
	struct rlimit no_core = { 0, 0 };
	pid_t pid = test_fork();
	int fd;

	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &no_core);
		fd = open(test_path("messages"), O_WRONLY | O_CREAT | O_APPEND, 0600);
		CHECK(dup2(fd, STDERR_FILENO) == STDERR_FILENO);
		alarm(60);
		exercise(writing);
		test_child_exit();
	}
	return pid;
}

static void run_child(bool writing, const char *what)
{
	pid_t pid = begin_child(writing);
	int status;

	if (waitpid(pid, &status, 0) != pid || status != 0)
		test_check(false, __FILE__, __LINE__, "%s: %s ended with status %x", what,
			   writing ? "writer" : "reader", status);
	else
		CHECK(true);
}

/* Write to a damaged structure, then read. A signal may end either, but nothing wrong is read. Returns whether one
   did. */
static bool run_writer(const char *what)
{
	bool killed = false;
	int i, status;

	for (i = 0; i < 2; i++) {
		pid_t pid = begin_child(i == 0);

		CHECK(waitpid(pid, &status, 0) == pid);
		test_check(!WIFEXITED(status) || WEXITSTATUS(status) != 1, __FILE__, __LINE__, "%s: %s read what is wrong",
			   what, i == 0 ? "writer" : "reader");
		killed = killed || status != 0;
	}
	return killed;
}

/* Most pages hold bodies. Choose one that holds LMDB's trees more often than they are. */
static size_t choose_page(const uint8_t *data, size_t size)
{
	size_t page = rnd((unsigned int)(size / 4096)), i;
	uint64_t number;
	uint16_t flags;

	for (i = 0; i < 2000 && rnd(10) > 0; i++) {
		page = rnd(3000) == 0 ? rnd(2) : rnd((unsigned int)(size / 4096));
		memcpy(&number, data + page * 4096, sizeof(number));
		memcpy(&flags, data + page * 4096 + 10, sizeof(flags));
		if (number == page && (flags == 1 || flags == 2 || flags == 8))
			break;
	}
	return page * 4096;
}

/* Change a few bytes of one page; at the beginning of pages, where LMDB's structure is, more often. */
static void flip(uint8_t *data, size_t size, char *what, size_t what_size)
{
	unsigned int i, count = 1 + rnd(3);
	size_t page = choose_page(data, size), used = 0;

	for (i = 0; i < count; i++) {
		unsigned int offset = rnd(2) == 0 ? rnd(4096) : rnd(3) == 0 ? rnd(16) : 16 + rnd(200);
		uint8_t before = data[page + offset];

		switch (rnd(3)) {
		case 0:
			data[page + offset] ^= (uint8_t)(1 << rnd(8));
			break;
		case 1:
			data[page + offset] = (uint8_t)rnd(256);
			break;
		default:
			data[page + offset] = rnd(2) == 0 ? 0 : 0xff;
			break;
		}
		used += (size_t)snprintf(what + used, what_size - used, "%s%zu+%u: %02x->%02x", i == 0 ? "" : ", ",
					 page / 4096, offset, before, data[page + offset]);
	}
}

/* Bytes of a record as they are in the file: key and value, or of values with pages of their own the value. */
struct pattern {
	uint8_t *bytes;
	size_t size;
};

static struct pattern *patterns;
static unsigned int pattern_count;

static void add_pattern(enum lms_db db, const void *key, size_t key_size, const void *value, size_t value_size,
			void *context)
{
	struct pattern *pattern;

	(void)db;
	(void)context;
	patterns = realloc(patterns, (pattern_count + 1) * sizeof(*patterns));
	pattern = &patterns[pattern_count++];
	pattern->bytes = malloc(key_size + value_size);
	pattern->size = value_size;
	if (value_size < 1900) {
		memcpy(pattern->bytes, key, key_size);
		pattern->size += key_size;
	}
	memcpy(pattern->bytes + pattern->size - value_size, value, value_size);
}

static void free_patterns(void)
{
	while (pattern_count > 0)
		free(patterns[--pattern_count].bytes);
	free(patterns);
	patterns = NULL;
}

/* Change a byte of a record, wherever it is in the file: there may be older copies of its page. */
static void flip_record(uint8_t *data, size_t size, char *what, size_t what_size)
{
	const struct pattern *pattern = &patterns[rnd(pattern_count)];
	size_t offset = rnd(3) == 0 ? rnd(20) % pattern->size : rnd((unsigned int)pattern->size);
	uint8_t change = (uint8_t)(rnd(2) == 0 ? 1u << rnd(8) : 1 + rnd(255)), *pos = data;
	unsigned int found = 0;

	while ((pos = memmem(pos, (size_t)(data + size - pos), pattern->bytes, pattern->size)) != NULL) {
		pos[offset] ^= change;
		pos++;
		found++;
	}
	CHECK(found > 0);
	snprintf(what, what_size, "byte %zu of a record of %zu bytes, xor %02x", offset, pattern->size, change);
}

static void run_flips(unsigned int seed, unsigned int rounds)
{
	uint8_t *data, *copy;
	size_t size;
	char what[256];

	random_state = seed;
	may_miss = false;
	make_store();
	size = read_data(&data);
	raw_walk(add_pattern, NULL);
	copy = malloc(size);
	while (rounds-- > 0) {
		memcpy(copy, data, size);
		flip_record(copy, size, what, sizeof(what));
		write_data(copy, size);
		run_child(false, what);
		write_data(copy, size);
		/* A damaged key in the midst of a page that is then split leads astray. */
		may_miss = true;
		run_child(true, what);
		may_miss = false;
	}
	free_patterns();
	free(copy);
	free(data);
}

static void test_records(void)
{
	run_flips(1, 150);
}

static void test_records_random(void)
{
	unsigned int seed = (unsigned int)getpid();

	printf("# seed %u\n", seed);
	run_flips(seed, 150);
}

/* Bytes of LMDB's pages, whole pages of zeros, and pages of another place. Returns how often a writer, or a reader after
   it, died. */
static unsigned int run_structure(unsigned int seed, unsigned int rounds, bool writing)
{
	unsigned int deaths = 0;
	uint8_t *data, *copy;
	size_t size, page;
	char what[256];

	random_state = seed;
	may_miss = true;
	make_store();
	size = read_data(&data);
	copy = malloc(size);
	while (rounds-- > 0) {
		memcpy(copy, data, size);
		page = choose_page(data, size);
		snprintf(what, sizeof(what), "page %zu", page / 4096);
		if (rounds % 8 == 0)
			memset(copy + page, 0, 4096);
		else if (rounds % 8 == 1)
			memcpy(copy + page, data + choose_page(data, size), 4096);
		else
			flip(copy, size, what, sizeof(what));
		write_data(copy, size);
		if (!writing)
			run_child(false, what);
		else if (run_writer(what))
			deaths++;
	}
	free(copy);
	free(data);
	return deaths;
}

static void test_structure(void)
{
	run_structure(1, 300, false);
}

static void test_structure_random(void)
{
	unsigned int seed = (unsigned int)getpid();

	printf("# seed %u\n", seed);
	run_structure(seed, 300, false);
}

/* The sanitizers end the process, with the status of a failed check, at what LMDB does then. */
#ifdef __SANITIZE_ADDRESS__
#  define WRITTEN_STORES 0
#else
#  define WRITTEN_STORES 150
#endif

/* TEST_ROUNDS: how many damaged stores are written to. */
static void test_structure_written(void)
{
	const char *value = getenv("TEST_ROUNDS");
	unsigned int rounds = value != NULL ? (unsigned int)atoi(value) : WRITTEN_STORES;

	/* A reader can't know what the writer had done before. */
	written = renamed = true;
	printf("# %u deaths in %u damaged stores that were written to\n", run_structure(2, rounds, true), rounds);
	written = renamed = false;
}

static void test_truncated(void)
{
	uint8_t *data;
	size_t size, cut;
	unsigned int i;

	random_state = 3;
	may_miss = false;
	make_store();
	size = read_data(&data);
	for (i = 0; i < 40; i++) {
		struct lms_env *env;

		cut = i == 0 ? 0 : i < 5 ? i * 1000 : rnd((unsigned int)size);
		write_data(data, cut);
		CHECK_FAILS(lms_env_open(test_path("store"), &test_settings, &env, &test_error), LMS_DAMAGED);
	}
	write_data(data, size);
	run_child(false, "whole again");
	free(data);
}

/* Truncated while it is open */
static void test_truncated_open(void)
{
	struct lms_message message;
	struct lms_env *env;
	uint8_t *data;
	size_t size;
	int ret;

	make_store();
	size = read_data(&data);
	env = test_open();
	CHECK(truncate(test_path("store/data.mdb"), (off_t)size / 2) == 0);
	read_all(env, 1);
	CHECK(truncate(test_path("store/data.mdb"), 8192) == 0);
	ret = lms_message_get(env, folder_ids[0], 1, &message, &test_error);
	CHECK_FAILS(ret, LMS_DAMAGED);
	CHECK(test_save_text(env, folder_ids[0], "text") == 0);
	CHECK_U64(test_error.code, LMS_DAMAGED);
	write_data(data, size);
	read_all(env, 1);
	lms_env_close(&env);
	free(data);
}

static const struct test tests[] = {
	{ "records", test_records },
	{ "records-random", test_records_random },
	{ "structure", test_structure },
	{ "structure-random", test_structure_random },
	{ "structure-written", test_structure_written },
	{ "truncated", test_truncated },
	{ "truncated-open", test_truncated_open },
	TEST_END
};

int main(int argc, char *argv[])
{
	return test_main(argc, argv, tests);
}
