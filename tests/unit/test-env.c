/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#define _GNU_SOURCE
#include "test-common.h"
#include "test-fault.h"
#include "test-raw.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Opening and closing: what is created, what is refused and why, one environment for each file, forks. */

/* In place of libc's: what a file system says of itself, if not 0. */
static uint32_t file_system;

int fstatfs(int fd, struct statfs *st)
{
	int ret = (int)syscall(SYS_fstatfs, fd, st);

	if (ret == 0 && file_system != 0)
		st->f_type = file_system;
	return ret;
}

static int open_with(const char *dir, enum lms_env_flags flags, struct lms_env **env_r)
{
	struct lms_env_settings set = test_settings;

	set.flags = flags;
	return lms_env_open(dir, &set, env_r, &test_error);
}

static mode_t mode_of(const char *path)
{
	struct stat st;

	return CHECK(stat(path, &st) == 0) ? st.st_mode & 07777 : 0;
}

static void test_creation(void)
{
	struct lms_env_settings set = test_settings;
	uint8_t guid[LMS_GUID_SIZE], again[LMS_GUID_SIZE];
	struct lms_env *env;
	struct stat st;

	CHECK_FAILS(open_with(test_path("a/b/store"), LMS_ENV_NO_CREATE | LMS_ENV_ANY_FILESYSTEM, &env), LMS_NOTFOUND);
	CHECK(env == NULL && stat(test_path("a"), &st) < 0);
	set.dir_mode = 02770;
	set.file_mode = 0664;
	umask(0777);
	CHECK_OK(lms_env_open(test_path("a/b/store"), &set, &env, &test_error));
	umask(022);
	CHECK_STR(lms_env_dir(env), test_path("a/b/store"));
	CHECK_U64(mode_of(test_path("a/b")), 02770);
	CHECK_U64(mode_of(test_path("a/b/store")), 02770);
	CHECK_U64(mode_of(test_path("a/b/store/data.mdb")), 0664);
	CHECK_U64(mode_of(test_path("a/b/store/lock.mdb")), 0664);
	CHECK_U64(mode_of(test_path("a/b/store/store.lock")), 0664);
	CHECK_U64(mode_of(test_path("a/b/store/notify")), 02770);
	lms_env_guid(env, guid);
	lms_env_close(&env);
	CHECK(env == NULL);
	CHECK_OK(open_with(test_path("a/b/store"), LMS_ENV_NO_CREATE | LMS_ENV_ANY_FILESYSTEM, &env));
	lms_env_guid(env, again);
	CHECK(memcmp(guid, again, sizeof(guid)) == 0);
	lms_env_close(&env);
	lms_env_close(&env);
}

/* One environment for each file, however it is named */
static void test_registry(void)
{
	struct lms_env *env1, *env2, *env3, *other;
	uint64_t folder_id;

	env1 = test_open();
	folder_id = test_folder(env1, "a");
	CHECK_OK(open_with(test_path("store/../store/"), 0, &env2));
	CHECK(env1 == env2);
	CHECK(symlink("store", test_path("link")) == 0);
	CHECK_OK(open_with(test_path("link"), LMS_ENV_NO_CREATE, &env3));
	CHECK(env1 == env3);
	CHECK_OK(open_with(test_path("other"), 0, &other));
	CHECK(other != env1);
	lms_env_close(&env1);
	lms_env_close(&env3);
	CHECK(test_save_text(env2, folder_id, "x") == 1);
	lms_env_close(&env2);
	lms_env_close(&other);
	/* A store that was removed and made again is another one. */
	env1 = test_open();
	CHECK(rename(test_path("store"), test_path("removed")) == 0);
	env2 = test_open();
	CHECK(env1 != env2);
	CHECK(test_create(env2, "b") == 0 || true);
	lms_env_close(&env1);
	lms_env_close(&env2);
}

static void write_file(const char *path, const void *data, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	close(fd);
}

/* What isn't a store, or isn't one any more */
static void test_refused(void)
{
	static char text[20000];
	struct lms_env *env;

	CHECK(mkdir(test_path("store"), 0700) == 0 && mkdir(test_path("store/data.mdb"), 0700) == 0);
	CHECK_FAILS(open_with(test_path("store"), 0, &env), LMS_DAMAGED);
	CHECK(rmdir(test_path("store/data.mdb")) == 0);
	memset(text, 'x', sizeof(text));
	write_file(test_path("store/data.mdb"), text, sizeof(text));
	CHECK_FAILS(open_with(test_path("store"), 0, &env), LMS_DAMAGED);
	write_file(test_path("store/data.mdb"), text, 10);
	CHECK_FAILS(open_with(test_path("store"), 0, &env), LMS_DAMAGED);
	/* An empty file is what a creation that was cut off leaves. */
	write_file(test_path("store/data.mdb"), text, 0);
	CHECK_FAILS(open_with(test_path("store"), LMS_ENV_NO_CREATE, &env), LMS_NOTFOUND);
	CHECK_OK(open_with(test_path("store"), 0, &env));
	lms_env_close(&env);
	/* A data file that was lost isn't made anew. */
	CHECK(rename(test_path("store/data.mdb"), test_path("kept")) == 0);
	CHECK_FAILS(open_with(test_path("store"), 0, &env), LMS_DAMAGED);
	CHECK(strstr(test_error.text, "data.mdb") != NULL && strstr(test_error.text, "backup") != NULL);
	CHECK(rename(test_path("kept"), test_path("store/data.mdb")) == 0);
	/* LMDB's lock file may be lost. */
	CHECK(unlink(test_path("store/lock.mdb")) == 0);
	CHECK_OK(open_with(test_path("store"), 0, &env));
	lms_env_close(&env);
	/* A directory, a file in place of the directory, and a directory in place of lock files */
	write_file(test_path("file"), text, 10);
	CHECK_FAILS(open_with(test_path("file"), 0, &env), LMS_IO);
	CHECK_FAILS(open_with(test_path("file/below"), 0, &env), LMS_IO);
	CHECK(unlink(test_path("store/store.lock")) == 0 && mkdir(test_path("store/store.lock"), 0700) == 0);
	CHECK_FAILS(open_with(test_path("store"), 0, &env), LMS_DAMAGED);
	CHECK(rmdir(test_path("store/store.lock")) == 0);
	CHECK(unlink(test_path("store/lock.mdb")) == 0 && mkdir(test_path("store/lock.mdb"), 0700) == 0);
	CHECK(open_with(test_path("store"), 0, &env) < 0 && test_error.text[0] != '\0');
}

/* LMDB without our records: somebody else's file */
static void test_foreign(void)
{
	struct lms_env *env;
	char text[] = "key";
	MDB_val key = { 3, text };
	MDB_env *mdb;
	MDB_txn *txn;
	MDB_dbi dbi;

	CHECK(mkdir(test_path("store"), 0700) == 0);
	CHECK(mdb_env_create(&mdb) == 0 && mdb_env_open(mdb, test_path("store"), 0, 0600) == 0);
	CHECK(mdb_txn_begin(mdb, NULL, 0, &txn) == 0 && mdb_dbi_open(txn, NULL, 0, &dbi) == 0);
	CHECK(mdb_put(txn, dbi, &key, &key, 0) == 0 && mdb_txn_commit(txn) == 0);
	mdb_env_close(mdb);
	CHECK_FAILS(open_with(test_path("store"), 0, &env), LMS_DAMAGED);
}

/* NFS, CIFS, SMB2, FUSE, 9P, and with the flag all the same */
static void test_filesystems(void)
{
	static const uint32_t unsuitable[] = { 0x6969, 0xff534d42, 0xfe534d42, 0x65735546, 0x01021997 };
	/* ext4, tmpfs, XFS, btrfs, ZFS, overlayfs */
	static const uint32_t suitable[] = { 0xef53, 0x01021994, 0x58465342, 0x9123683e, 0x2fc12fc1, 0x794c7630 };
	struct lms_env *env;
	unsigned int i;

	for (i = 0; i < sizeof(unsuitable) / sizeof(unsuitable[0]); i++) {
		file_system = unsuitable[i];
		CHECK_FAILS(open_with(test_path("store"), 0, &env), LMS_UNSUITABLE);
		CHECK(strstr(test_error.text, "local") != NULL);
	}
	CHECK_OK(open_with(test_path("store"), LMS_ENV_ANY_FILESYSTEM, &env));
	lms_env_close(&env);
	for (i = 0; i < sizeof(suitable) / sizeof(suitable[0]); i++) {
		file_system = suitable[i];
		CHECK_OK(open_with(test_path("store"), 0, &env));
		lms_env_close(&env);
	}
	file_system = 0;
}

static void test_permissions(void)
{
	struct lms_env *env = test_open();
	pid_t pid;
	int status;

	test_folder(env, "a");
	lms_env_close(&env);
	CHECK(chmod(test_dir(), 0755) == 0);
	CHECK(chmod(test_path("store"), 0555) == 0);
	CHECK(chmod(test_path("store/data.mdb"), 0444) == 0);
	pid = test_fork();
	if (pid == 0) {
		/* Root may do everything; another user stands for a user who may not. */
		if (geteuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
			_exit(3);
		CHECK_FAILS(open_with(test_path("store"), 0, &env), LMS_ACCESS);
		CHECK_FAILS(open_with("/proc/self/store", 0, &env), LMS_IO);
		test_child_exit();
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK(chmod(test_path("store"), 0700) == 0);
	CHECK(chmod(test_path("store/data.mdb"), 0600) == 0);
}

/* What a newer version wrote is refused with that reason, and left as it is. */
static void test_newer(void)
{
	struct lms_env *env = test_open();
	uint64_t folder_id = test_folder(env, "a"), other_id = test_folder(env, "b");
	struct lms_folder folder;
	struct lms_meta meta;
	struct lms_buffer buf;
	struct lms_key key;
	uint8_t head[4];

	lms_env_close(&env);
	lms_buffer_init(&buf);
	lms_key_id(&key, folder_id);
	lms_buffer_add(&buf, "whatever", 8);
	raw_put(LMS_DB_FOLDERS, &key, (const uint8_t[4]){ LMS_RECORD_VERSION + 1, 1, 2, 3 }, &buf);
	env = test_open();
	CHECK_FAILS(lms_folder_get(env, folder_id, &folder, &test_error), LMS_NEWER);
	CHECK_FAILS(test_save_text(env, folder_id, "x") == 0 ? -1 : 0, LMS_NEWER);
	CHECK(test_save_text(env, other_id, "x") == 1);
	lms_env_close(&env);
	memset(&meta, 0, sizeof(meta));
	meta.format = LMS_FORMAT + 1;
	lms_buffer_free(&buf);
	lms_meta_encode(&meta, head, &buf);
	lms_key_meta(&key);
	raw_put(LMS_DB_META, &key, head, &buf);
	CHECK_FAILS(open_with(test_path("store"), 0, &env), LMS_NEWER);
	lms_buffer_free(&buf);
}

/* LMDB doesn't write pages that one transaction takes and gives back: the file is sound, but shorter than LMDB says. */
static void test_short_file(void)
{
	struct lms_env *env = test_open();
	uint64_t folder_id = test_folder(env, "a");
	uint64_t bytes;
	struct stat st;

	CHECK_U64(test_save_text(env, folder_id, "x"), 1);
	lms_env_close(&env);
	bytes = raw_shorten();
	CHECK(stat(test_path("store/data.mdb"), &st) == 0 && (uint64_t)st.st_size < bytes);
	env = test_open();
	CHECK_U64(test_save_text(env, folder_id, "y"), 2);
	CHECK_STORE(env);
	lms_env_close(&env);
	/* Pages that are in use are missing. */
	CHECK(truncate(test_path("store/data.mdb"), 4 * 4096) == 0);
	CHECK_FAILS(open_with(test_path("store"), 0, &env), LMS_DAMAGED);
}

/* After a fork the child has no part in the parent's environment, but may open its own. */
static void test_after_fork(void)
{
	struct lms_env *env = test_open(), *own;
	uint64_t folder_id = test_folder(env, "a"), body_id = 0;
	struct lms_stage_part part = { &body_id, "x", 1, NULL, 0 };
	struct lms_request request;
	struct lms_folder folder;
	pid_t pid;

	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_STAGE;
	request.u.stage.parts = &part;
	request.u.stage.count = 1;
	CHECK_OK(test_submit(env, &request));
	CHECK(lms_folder_get(env, folder_id, &folder, &test_error) == 1);
	pid = test_fork();
	if (pid == 0) {
		CHECK_FAILS(lms_folder_get(env, folder_id, &folder, &test_error), LMS_IO);
		CHECK_FAILS(test_subscribe(env, "a", true), LMS_IO);
		lms_stage_abort(env, body_id);
		own = test_open();
		CHECK(own != env);
		CHECK(test_save_text(own, folder_id, "x") == 1);
		CHECK(lms_folder_get(own, folder_id, &folder, &test_error) == 1);
		lms_env_close(&env);
		CHECK(test_save_text(own, folder_id, "x") == 2);
		lms_env_close(&own);
		test_child_exit();
	}
	test_wait(pid, 0);
	CHECK(test_save_text(env, folder_id, "x") == 3);
	/* The child couldn't give the parent's body up. */
	own = NULL;
	test_collect(env, 0);
	request.u.stage.parts = &(struct lms_stage_part){ &body_id, NULL, 0, NULL, 0 };
	CHECK_OK(test_submit(env, &request));
	CHECK_STORE(env);
	lms_env_close(&env);
}

static bool descriptor_survives_exec(const char *name)
{
	char path[64], target[512];
	bool found = false, survives = false;
	ssize_t size;
	int fd;

	for (fd = 3; fd < 100; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		size = readlink(path, target, sizeof(target) - 1);
		if (size < 0)
			continue;
		target[size] = '\0';
		if (strstr(target, name) == NULL)
			continue;
		found = true;
		if ((fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0)
			survives = true;
	}
	CHECK(found);
	return survives;
}

static void test_descriptors(void)
{
	struct lms_env *env = test_open();

	CHECK(!descriptor_survives_exec("data.mdb"));
	CHECK(!descriptor_survives_exec("lock.mdb"));
	CHECK(!descriptor_survives_exec("store.lock"));
	lms_env_close(&env);
}

/* A process that is killed while it reads or has the store open leaves a reader slot; enough of them would fill the
   table. */
static void test_stale_readers(void)
{
	struct lms_env *env = test_open(), *child_env;
	uint64_t folder_id = test_folder(env, "a");
	struct lms_env_usage before, after;
	static char data[100000];
	unsigned int i, j;
	pid_t pids[1200];

	CHECK(test_save(env, folder_id, data, sizeof(data), 0) == 1);
	lms_env_close(&env);
	/* More than there are slots, not all at once */
	for (i = 0; i < 1200; i += 100) {
		for (j = i; j < i + 100; j++) {
			pids[j] = test_fork();
			if (pids[j] == 0) {
				child_env = test_open();
				CHECK(lms_read_begin(child_env, &test_error) == 0);
				kill(getpid(), SIGKILL);
			}
		}
		for (j = i; j < i + 100; j++)
			test_wait(pids[j], SIGKILL);
	}
	env = test_open();
	CHECK(test_save(env, folder_id, data, sizeof(data), 0) == 2);
	CHECK_OK(lms_env_get_usage(env, &before, &test_error));
	for (i = 0; i < 50; i++) {
		CHECK(test_save(env, folder_id, data, sizeof(data), 0) == 3 + i);
		CHECK_OK(test_expunge(env, folder_id, 3 + i, 3 + i));
		test_collect(env, 0);
	}
	/* No dead reader keeps old pages from being used again. */
	CHECK_OK(lms_env_get_usage(env, &after, &test_error));
	CHECK(after.file_bytes < before.file_bytes + 5 * sizeof(data));
	lms_env_close(&env);
}

static void test_usage(void)
{
	struct lms_env *env = test_open();
	uint64_t folder_id = test_folder(env, "a");
	struct lms_env_usage usage;
	static char data[500000];
	struct rlimit limit;
	struct stat st;

	test_fill(data, sizeof(data), 1);
	CHECK(test_save(env, folder_id, data, sizeof(data), 0) == 1);
	CHECK_OK(lms_env_get_usage(env, &usage, &test_error));
	CHECK(stat(test_path("store/data.mdb"), &st) == 0 && usage.file_bytes == (uint64_t)st.st_size);
	CHECK(usage.used_bytes >= sizeof(data) && usage.used_bytes <= usage.file_bytes);
	CHECK(usage.map_bytes >= usage.file_bytes);
	CHECK(getrlimit(RLIMIT_AS, &limit) == 0);
	CHECK(usage.smallest_limit == (limit.rlim_cur == RLIM_INFINITY ? 0 : limit.rlim_cur));
	lms_env_close(&env);
}

/* Brackets nest and see one snapshot; requests are refused in them. */
static void test_brackets(void)
{
	struct lms_env *env = test_open();
	uint64_t folder_id = test_folder(env, "a");
	struct lms_folder folder;
	pid_t pid;

	CHECK_OK(lms_read_begin(env, &test_error));
	CHECK_OK(lms_read_begin(env, &test_error));
	CHECK(test_folder_get(env, folder_id).messages == 0);
	pid = test_fork();
	if (pid == 0) {
		struct lms_env *own = test_open();

		CHECK(test_save_text(own, folder_id, "x") == 1);
		lms_env_close(&own);
		test_child_exit();
	}
	test_wait(pid, 0);
	CHECK(test_folder_get(env, folder_id).messages == 0);
	lms_read_end(env);
	CHECK(test_folder_get(env, folder_id).messages == 0);
	CHECK_FAILS(test_subscribe(env, "a", true), LMS_INVALID);
	lms_read_end(env);
	CHECK(lms_folder_get(env, folder_id, &folder, &test_error) == 1 && folder.messages == 1);
	CHECK_OK(test_subscribe(env, "a", true));
	lms_env_close(&env);
}

/* A request that changes nothing writes nothing. */
static void test_no_commit(void)
{
	struct lms_env *env = test_open();
	uint64_t folder_id = test_folder(env, "a");
	struct lms_request request;
	unsigned int calls;

	CHECK(test_save_text(env, folder_id, "x") == 1);
	CHECK_OK(test_flags(env, folder_id, 1, 1, LMS_SEEN, 0));
	CHECK_OK(test_keyword(env, folder_id, 1, 1, "a", true));
	CHECK_OK(test_subscribe(env, "a", true));
	CHECK_OK(test_attribute(env, folder_id, NULL, "key", "value"));
	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_SYNC;
	request.u.sync.folder_id = folder_id;
	request.u.sync.modseq_floor = 100;
	request.u.sync.first_recent_uid = 2;
	CHECK_OK(test_submit(env, &request));
	fault_begin(FAULT_NONE, 0, 0);
	CHECK_OK(test_submit(env, &request));
	CHECK_OK(test_flags(env, folder_id, 1, 1, LMS_SEEN, LMS_DRAFT));
	CHECK_OK(test_flags(env, folder_id, 2, 9, LMS_SEEN, 0));
	CHECK_OK(test_keyword(env, folder_id, 1, 1, "a", true));
	CHECK_OK(test_expunge(env, folder_id, 2, 100));
	CHECK_OK(test_subscribe(env, "a", true));
	CHECK_OK(test_subscribe(env, "b", false));
	CHECK_OK(test_attribute(env, folder_id, NULL, "key", "value"));
	CHECK_OK(test_attribute(env, folder_id, NULL, "none", NULL));
	CHECK_OK(test_rename(env, "a", "a", false));
	test_collect(env, 0);
	CHECK_FAILS(test_rename(env, "b", "c", false), LMS_NOTFOUND);
	calls = fault_end();
	CHECK_U64(calls, 0);
	/* Without flush, one that does costs none. */
	request.no_sync = true;
	request.u.sync.modseq_floor = 200;
	fault_begin(FAULT_NONE, 0, 0);
	CHECK_OK(test_submit(env, &request));
	calls = fault_end();
	fault_begin(FAULT_NONE, 0, 0);
	request.no_sync = false;
	request.u.sync.modseq_floor = 300;
	CHECK_OK(test_submit(env, &request));
	CHECK_U64(fault_end(), calls + 1);
	lms_env_close(&env);
}

static const struct test tests[] = {
	{ "create", test_creation },
	{ "registry", test_registry },
	{ "refused", test_refused },
	{ "foreign", test_foreign },
	{ "filesystems", test_filesystems },
	{ "permissions", test_permissions },
	{ "newer", test_newer },
	{ "short-file", test_short_file },
	{ "after-fork", test_after_fork },
	{ "descriptors", test_descriptors },
	{ "stale-readers", test_stale_readers },
	{ "usage", test_usage },
	{ "brackets", test_brackets },
	{ "no-commit", test_no_commit },
	TEST_END
};

int main(int argc, char *argv[])
{
	return test_main(argc, argv, tests);
}
