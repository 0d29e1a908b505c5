/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#define _GNU_SOURCE
#include "test-common.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Growth of the map, and limits of the address space. */

#define MB ((uint64_t)1 << 20)

static uint8_t data[5 << 20];

static uint64_t address_space(void)
{
	unsigned long long pages = 0;
	FILE *file = fopen("/proc/self/statm", "r");

	CHECK(file != NULL && fscanf(file, "%llu", &pages) == 1);
	fclose(file);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Leave this process this much address space more than it uses now. */
static void limit_to(uint64_t bytes)
{
	struct rlimit limit;

	limit.rlim_cur = limit.rlim_max = address_space() + bytes;
	CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
}

static uint64_t make_store(unsigned int megabytes)
{
	struct lms_env *env = test_open();
	uint64_t folder_id = test_folder(env, "a");
	unsigned int i;

	test_fill(data, sizeof(data), 1);
	for (i = 0; i < megabytes / 5; i++)
		CHECK(test_save(env, folder_id, data, sizeof(data), 0) == i + 1);
	lms_env_close(&env);
	return folder_id;
}

static bool message_is_whole(struct lms_env *env, uint64_t folder_id, uint32_t uid)
{
	struct lms_message message;

	return CHECK(lms_message_get(env, folder_id, uid, &message, &test_error) == 1) &&
		CHECK(test_body_is(env, message.body_id, data, sizeof(data)));
}

/* The map of a limited process begins small and grows as it writes. */
static void test_growth(void)
{
	uint64_t folder_id = make_store(5);
	struct lms_env_usage usage;
	struct lms_env *env;
	unsigned int i;
	pid_t pid;

	pid = test_fork();
	if (pid == 0) {
		limit_to(400 * MB);
		env = test_open();
		CHECK_OK(lms_env_get_usage(env, &usage, &test_error));
		CHECK(usage.map_bytes < 40 * MB);
		for (i = 2; i <= 25; i++)
			CHECK(test_save(env, folder_id, data, sizeof(data), 0) == i);
		CHECK_OK(lms_env_get_usage(env, &usage, &test_error));
		CHECK(usage.map_bytes > 125 * MB && usage.map_bytes < 300 * MB);
		for (i = 1; i <= 25; i++)
			message_is_whole(env, folder_id, i);
		CHECK_STORE(env);
		lms_env_close(&env);
		test_child_exit();
	}
	test_wait(pid, 0);
	env = test_open();
	CHECK_OK(lms_env_get_usage(env, &usage, &test_error));
	CHECK(usage.smallest_limit > 400 * MB && usage.map_bytes >= 1024 * MB);
	CHECK_STORE(env);
	lms_env_close(&env);
}

/* Another process makes the file larger than this one's map. */
static void test_resized(void)
{
	uint64_t folder_id = make_store(5);
	struct lms_env *env;
	int to_child[2], to_parent[2];
	unsigned int i;
	pid_t pid;
	char c;

	CHECK(pipe(to_child) == 0 && pipe(to_parent) == 0);
	pid = test_fork();
	if (pid == 0) {
		limit_to(500 * MB);
		env = test_open();
		message_is_whole(env, folder_id, 1);
		CHECK(write(to_parent[1], "o", 1) == 1 && read(to_child[0], &c, 1) == 1);
		/* First reading, later writing comes upon it. */
		message_is_whole(env, folder_id, 11);
		CHECK(write(to_parent[1], "r", 1) == 1 && read(to_child[0], &c, 1) == 1);
		CHECK(test_save(env, folder_id, data, sizeof(data), 0) == 22);
		for (i = 1; i <= 22; i++)
			message_is_whole(env, folder_id, i);
		lms_env_close(&env);
		test_child_exit();
	}
	env = test_open();
	CHECK(read(to_parent[0], &c, 1) == 1);
	for (i = 2; i <= 11; i++)
		CHECK(test_save(env, folder_id, data, sizeof(data), 0) == i);
	CHECK(write(to_child[1], "w", 1) == 1 && read(to_parent[0], &c, 1) == 1);
	for (; i <= 21; i++)
		CHECK(test_save(env, folder_id, data, sizeof(data), 0) == i);
	CHECK(write(to_child[1], "w", 1) == 1);
	test_wait(pid, 0);
	message_is_whole(env, folder_id, 22);
	CHECK_STORE(env);
	lms_env_close(&env);
}

/* What to do once LMDB has read the header of the data file, so that it knows how long the file is. */
static void (*after_header)(void);

ssize_t pread(int fd, void *buf, size_t size, off_t offset)
{
	ssize_t ret = syscall(SYS_pread64, fd, buf, size, offset);
	void (*func)(void) = after_header;

	/* It reads two pages. */
	if (func != NULL && offset > 0) {
		after_header = NULL;
		func();
	}
	return ret;
}

ssize_t pread64(int fd, void *buf, size_t size, off_t offset)
{
	return pread(fd, buf, size, offset);
}

static int opening[2], longer[2];

static void wait_until_longer(void)
{
	char c;

	CHECK(write(opening[1], "o", 1) == 1 && read(longer[0], &c, 1) == 1);
}

/* Another process makes the file much longer than this one's map, between the choice of its size and the first
   transaction. */
static void test_resized_while_opening(void)
{
	uint64_t folder_id = make_store(5);
	struct lms_env_usage usage;
	struct lms_env *env;
	unsigned int i;
	pid_t pid;
	char c;

	CHECK(pipe(opening) == 0 && pipe(longer) == 0);
	pid = test_fork();
	if (pid == 0) {
		/* The parent has to have opened it before: nobody else can meanwhile. */
		CHECK(read(longer[0], &c, 1) == 1);
		limit_to(500 * MB);
		after_header = wait_until_longer;
		env = test_open();
		CHECK(after_header == NULL);
		CHECK_OK(lms_env_get_usage(env, &usage, &test_error));
		CHECK(usage.file_bytes > 55 * MB && usage.map_bytes > usage.file_bytes && usage.map_bytes < 100 * MB);
		for (i = 1; i <= 11; i++)
			message_is_whole(env, folder_id, i);
		CHECK(test_save(env, folder_id, data, sizeof(data), 0) == 12);
		lms_env_close(&env);
		test_child_exit();
	}
	env = test_open();
	CHECK(write(longer[1], "b", 1) == 1 && read(opening[0], &c, 1) == 1);
	for (i = 2; i <= 11; i++)
		CHECK(test_save(env, folder_id, data, sizeof(data), 0) == i);
	CHECK(write(longer[1], "l", 1) == 1);
	test_wait(pid, 0);
	CHECK_STORE(env);
	lms_env_close(&env);
}

/* The file doesn't fit: said with the setting to raise, and to what. */
static void test_too_small(void)
{
	uint64_t folder_id = make_store(60);
	struct lms_env *env;
	pid_t pid;

	pid = test_fork();
	if (pid == 0) {
		limit_to(50 * MB);
		CHECK_FAILS(lms_env_open(test_path("store"), &test_settings, &env, &test_error), LMS_MEMORY);
		CHECK(strstr(test_error.text, "has 61 MB") != NULL || strstr(test_error.text, "has 60 MB") != NULL);
		CHECK(strstr(test_error.text, "vsz_limit") != NULL && strstr(test_error.text, "at least 512M") != NULL);
		test_child_exit();
	}
	test_wait(pid, 0);
	pid = test_fork();
	if (pid == 0) {
		/* It fits, but there is no room to grow: reading works, writing more does as far as there is room. */
		limit_to(80 * MB);
		env = test_open();
		message_is_whole(env, folder_id, 12);
		while (test_save(env, folder_id, data, sizeof(data), 0) != 0) ;
		CHECK_U64(test_error.code, LMS_MEMORY);
		CHECK(strstr(test_error.text, "vsz_limit") != NULL);
		message_is_whole(env, folder_id, 12);
		/* What is small still goes. */
		CHECK_OK(test_flags(env, folder_id, 1, 1, LMS_SEEN, 0));
		CHECK_STORE(env);
		lms_env_close(&env);
		test_child_exit();
	}
	test_wait(pid, 0);
	env = test_open();
	CHECK_STORE(env);
	lms_env_close(&env);
}

/* From far too small to enough, step by step: each time it opens, or says what to set. */
static void test_nearly_too_small(void)
{
	uint64_t folder_id = make_store(20), bytes;
	unsigned int opened = 0, refused = 0;
	struct lms_env *env;
	int status;
	pid_t pid;

	for (bytes = 20 * MB; bytes < 32 * MB; bytes += MB / 4) {
		pid = test_fork();
		if (pid == 0) {
			limit_to(bytes);
			if (lms_env_open(test_path("store"), &test_settings, &env, &test_error) < 0) {
				bool ok = CHECK_U64(test_error.code, LMS_MEMORY) &&
					CHECK(strstr(test_error.text, "set vsz_limit of this service (default_vsz_limit) to at "
						     "least 512M") != NULL);

				_exit(ok ? 2 : 1);
			}
			message_is_whole(env, folder_id, 4);
			lms_env_close(&env);
			test_child_exit();
		}
		CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) != 1);
		opened += WEXITSTATUS(status) == 0;
		refused += WEXITSTATUS(status) == 2;
	}
	CHECK(opened > 0 && refused > 0);
}

/* The address space is used up by others when the map should grow: the old map must stay usable. */
static void test_growth_fails(void)
{
	uint64_t folder_id = make_store(5), left;
	struct lms_env *env;
	void *hog;
	pid_t pid;

	pid = test_fork();
	if (pid == 0) {
		limit_to(100 * MB);
		env = test_open();
		for (left = 100 * MB; left > 0; left -= MB / 4) {
			hog = mmap(NULL, left, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			if (hog != MAP_FAILED)
				break;
		}
		while (test_save(env, folder_id, data, 1 << 20, 0) != 0) ;
		CHECK_U64(test_error.code, LMS_MEMORY);
		message_is_whole(env, folder_id, 1);
		munmap(hog, left);
		CHECK(test_save(env, folder_id, data, sizeof(data), 0) != 0);
		CHECK_STORE(env);
		lms_env_close(&env);
		test_child_exit();
	}
	test_wait(pid, 0);
}

/* The commit that passes 3/4 of the smallest limit says so, also from a process without limit. */
static void test_warning(void)
{
	uint64_t folder_id = make_store(5), limit = 0;
	struct lms_env_usage usage;
	unsigned int i, warnings = 0;
	struct lms_env *env;
	pid_t pid;

	pid = test_fork();
	if (pid == 0) {
		limit_to(60 * MB);
		env = test_open();
		CHECK(test_save_text(env, folder_id, "x") == 2);
		CHECK_STR(test_reply.warning, "");
		lms_env_close(&env);
		test_child_exit();
	}
	test_wait(pid, 0);
	env = test_open();
	CHECK_OK(lms_env_get_usage(env, &usage, &test_error));
	limit = usage.smallest_limit;
	CHECK(limit > 60 * MB);
	/* Sanitizers reserve too much address space for this part. */
	for (i = 0; limit < 500 * MB && usage.file_bytes < limit; i++) {
		CHECK(test_save(env, folder_id, data, sizeof(data), 0) == i + 3);
		CHECK_OK(lms_env_get_usage(env, &usage, &test_error));
		if (test_reply.warning[0] == '\0')
			continue;
		warnings++;
		CHECK(usage.file_bytes >= limit / 4 * 3 && usage.file_bytes < limit / 4 * 3 + 2 * sizeof(data));
		CHECK(strstr(test_reply.warning, "vsz_limit") != NULL);
	}
	CHECK(warnings == 1 || limit >= 500 * MB);
	lms_env_close(&env);
}

/* A file size limit gives EFBIG, as a full disk gives ENOSPC. */
static void test_file_size(void)
{
	uint64_t folder_id = make_store(5);
	struct lms_env *env;
	struct rlimit limit = { 8 * MB, 8 * MB };
	pid_t pid;

	pid = test_fork();
	if (pid == 0) {
		signal(SIGXFSZ, SIG_IGN);
		CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
		env = test_open();
		CHECK(test_save(env, folder_id, data, 1 << 20, 0) == 2);
		while (test_save(env, folder_id, data, 1 << 20, 0) != 0) ;
		CHECK_U64(test_error.code, LMS_NOSPACE);
		CHECK(test_save(env, folder_id, data, 3 << 20, 0) == 0);
		CHECK_U64(test_error.code, LMS_NOSPACE);
		message_is_whole(env, folder_id, 1);
		CHECK_OK(test_flags(env, folder_id, 1, 1, LMS_SEEN, 0));
		CHECK_STORE(env);
		/* Space is made by deleting. */
		CHECK_OK(test_expunge(env, folder_id, 1, 1));
		test_collect(env, 0);
		CHECK(test_save(env, folder_id, data, 1 << 20, 0) != 0);
		CHECK_STORE(env);
		lms_env_close(&env);
		test_child_exit();
	}
	test_wait(pid, 0);
}

static const struct test tests[] = {
	{ "growth", test_growth },
	{ "resized", test_resized },
	{ "resized-while-opening", test_resized_while_opening },
	{ "too-small", test_too_small },
	{ "nearly-too-small", test_nearly_too_small },
	{ "growth-fails", test_growth_fails },
	{ "warning", test_warning },
	{ "file-size", test_file_size },
	TEST_END
};

int main(int argc, char *argv[])
{
	return test_main(argc, argv, tests);
}
