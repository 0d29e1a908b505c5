/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#define _GNU_SOURCE
#include "test-common.h"

#include "lms-lock.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Environments that stay open after their last use: what they keep, when they are used again, and when not. */

static struct lms_env *open_at(const char *name)
{
	struct lms_env *env;

	return CHECK_OK(lms_env_open(test_path(name), &test_settings, &env, &test_error)) ? env : NULL;
}

/* Descriptors of files of this name in the test's directory */
static unsigned int count_open(const char *name)
{
	char path[64], target[512];
	unsigned int count = 0;
	ssize_t size;
	int fd;

	for (fd = 3; fd < 200; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		size = readlink(path, target, sizeof(target) - 1);
		if (size < 0)
			continue;
		target[size] = '\0';
		if (strstr(target, test_dir()) != NULL && strstr(target, name) != NULL)
			count++;
	}
	return count;
}

/* With one folder, which has one message */
static void make_idle(const char *name)
{
	struct lms_env *env = open_at(name);

	CHECK(test_save_text(env, test_folder(env, "a"), "x") == 1);
	lms_env_close(&env);
}

/* Into the first folder */
static uint32_t save_again(struct lms_env *env)
{
	return test_save_text(env, 1, "y");
}

static void test_used_again(void)
{
	struct lms_env *env, *again;

	make_idle("store");
	CHECK_U64(count_open("store.lock"), 0);
	lms_env_keep_idle(2);
	env = open_at("store");
	lms_env_close(&env);
	CHECK(env == NULL);
	CHECK_U64(count_open("store.lock"), 1);
	env = open_at("store");
	CHECK_U64(count_open("store.lock"), 1);
	CHECK(save_again(env) == 2);
	again = open_at("store");
	CHECK(again == env);
	lms_env_close(&again);
	CHECK(save_again(env) == 3);
	CHECK_STORE(env);
	lms_env_close(&env);
	lms_env_close_idle();
	CHECK_U64(count_open("mdb"), 0);
	CHECK_U64(count_open("store.lock"), 0);
	lms_env_keep_idle(0);
}

/* Those that were used last stay. */
static void test_limit(void)
{
	struct lms_env *env;

	lms_env_keep_idle(2);
	make_idle("one/store");
	make_idle("two/store");
	env = open_at("one/store");
	lms_env_close(&env);
	make_idle("three/store");
	CHECK_U64(count_open("store.lock"), 2);
	CHECK_U64(count_open("two/store"), 0);
	env = open_at("one/store");
	CHECK_U64(count_open("store.lock"), 2);
	lms_env_keep_idle(0);
	CHECK_U64(count_open("store.lock"), 1);
	CHECK(save_again(env) == 2);
	lms_env_close(&env);
	CHECK_U64(count_open("store"), 0);
}

static int note_readers(const char *line, void *context)
{
	bool *none = context;

	*none = strstr(line, "no active readers") != NULL;
	return 0;
}

/* An idle environment has no lock that others would have to wait for, and no reader slot. */
static void test_locks(void)
{
	struct lms_env *env;
	bool none = false;
	MDB_env *mdb;
	pid_t pid;
	int fd;

	lms_env_keep_idle(2);
	make_idle("store");
	fd = open(test_path("store/store.lock"), O_RDWR);
	CHECK(fd >= 0 && !lms_lock_any_taken(fd, 0, 1 << 20));
	close(fd);
	pid = test_fork();
	if (pid == 0) {
		CHECK(mdb_env_create(&mdb) == 0 && mdb_env_set_maxdbs(mdb, 20) == 0);
		CHECK(mdb_env_open(mdb, test_path("store"), MDB_RDONLY, 0600) == 0);
		CHECK(mdb_reader_list(mdb, note_readers, &none) >= 0 && none);
		mdb_env_close(mdb);
		env = open_at("store");
		CHECK(save_again(env) == 2);
		lms_env_close(&env);
		lms_env_keep_idle(0);
		test_child_exit();
	}
	test_wait(pid, 0);
	env = open_at("store");
	CHECK(save_again(env) == 3);
	lms_env_close(&env);
	lms_env_keep_idle(0);
}

/* Whatever took the place of the store or of one of its files is what is opened. */
static void test_replaced(void)
{
	static const char *const files[] = { "store.lock", "lock.mdb" };
	uint8_t guid[LMS_GUID_SIZE], other[LMS_GUID_SIZE];
	struct lms_env *env;
	char path[64];
	unsigned int i;

	lms_env_keep_idle(4);
	make_idle("store");
	env = open_at("store");
	lms_env_guid(env, guid);
	lms_env_close(&env);
	CHECK(rename(test_path("store"), test_path("moved")) == 0);
	env = open_at("store");
	lms_env_guid(env, other);
	CHECK(memcmp(guid, other, sizeof(guid)) != 0);
	CHECK_U64(count_open("store.lock"), 1);
	lms_env_close(&env);
	env = open_at("moved");
	CHECK_STR(lms_env_dir(env), test_path("moved"));
	CHECK(save_again(env) == 2);
	lms_env_close(&env);
	for (i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "moved/%s", files[i]);
		CHECK(unlink(test_path(path)) == 0);
		env = open_at("moved");
		CHECK(access(test_path(path), F_OK) == 0);
		CHECK(save_again(env) == 3 + i);
		lms_env_close(&env);
	}
	CHECK(truncate(test_path("moved/data.mdb"), 8192) == 0);
	CHECK_FAILS(lms_env_open(test_path("moved"), &test_settings, &env, &test_error), LMS_DAMAGED);
	CHECK_U64(count_open("moved"), 0);
	CHECK(unlink(test_path("store/data.mdb")) == 0);
	CHECK_FAILS(lms_env_open(test_path("store"), &test_settings, &env, &test_error), LMS_DAMAGED);
	CHECK_U64(count_open("store"), 0);
	lms_env_keep_idle(0);
}

/* A process that has become another user doesn't get in with what the first one opened. */
static void test_permissions(void)
{
	struct lms_env *env;
	pid_t pid;

	CHECK(chmod(test_dir(), 0755) == 0);
	make_idle("store");
	CHECK(chmod(test_path("store"), 0755) == 0);
	pid = test_fork();
	if (pid == 0) {
		lms_env_keep_idle(1);
		env = open_at("store");
		lms_env_close(&env);
		/* Root may do everything; for another user the modes are changed. */
		CHECK(chmod(test_path("store/data.mdb"), geteuid() == 0 ? 0600 : 0400) == 0);
		if (geteuid() == 0 && (setegid(65534) < 0 || seteuid(65534) < 0))
			_exit(3);
		CHECK_FAILS(lms_env_open(test_path("store"), &test_settings, &env, &test_error), LMS_ACCESS);
		test_child_exit();
	}
	test_wait(pid, 0);
	CHECK(chmod(test_path("store/data.mdb"), 0600) == 0);
}

static void test_after_fork(void)
{
	struct lms_env *env;
	pid_t pid;

	lms_env_keep_idle(1);
	make_idle("store");
	pid = test_fork();
	if (pid == 0) {
		lms_env_close_idle();
		env = open_at("store");
		CHECK(save_again(env) == 2);
		lms_env_close(&env);
		lms_env_keep_idle(0);
		test_child_exit();
	}
	test_wait(pid, 0);
	env = open_at("store");
	CHECK(save_again(env) == 3);
	lms_env_close(&env);
	lms_env_keep_idle(0);
}

/* Under a limit of the address space they make room for those that are needed. */
static void test_address_space(void)
{
	struct rlimit limit;
	struct lms_env *env;
	unsigned int i;
	char name[32];
	pid_t pid;

	pid = test_fork();
	if (pid == 0) {
		uint64_t pages = 0;
		FILE *file = fopen("/proc/self/statm", "r");

		CHECK(file != NULL && fscanf(file, "%lu", &pages) == 1);
		fclose(file);
		/* For a few of them, but not for forty */
		limit.rlim_cur = limit.rlim_max = pages * 4096 + (200 << 20);
		CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
		lms_env_keep_idle(100);
		for (i = 0; i < 40; i++) {
			struct lms_env_usage usage;

			snprintf(name, sizeof(name), "%u", i);
			env = open_at(name);
			CHECK_OK(lms_env_get_usage(env, &usage, &test_error));
			CHECK(usage.map_bytes >= 16 << 20);
			lms_env_close(&env);
		}
		CHECK(count_open("store.lock") < 12);
		lms_env_keep_idle(0);
		test_child_exit();
	}
	test_wait(pid, 0);
}

int main(int argc, char *argv[])
{
	static const struct test tests[] = {
		{ "used-again", test_used_again },
		{ "limit", test_limit },
		{ "locks", test_locks },
		{ "replaced", test_replaced },
		{ "permissions", test_permissions },
		{ "after-fork", test_after_fork },
		{ "address-space", test_address_space },
		TEST_END
	};

	return test_main(argc, argv, tests);
}
