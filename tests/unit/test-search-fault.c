/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#define _GNU_SOURCE
#include "test-fault.h"
#include "test-search-model.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <lmdb.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whatever happens to the index or to those who write it: it is right, or it is thrown away and begun anew. */

#define DOCS 60

/* A store with an index of small segments, which are to be merged */
static void make(unsigned int docs)
{
	unsigned int i;

	search_begin("test");
	for (i = 0; i < DOCS; i++)
		search_add_doc();
	for (i = 0; i < docs; i++)
		CHECK_OK(search_write(i, 1));
	for (i = 0; i < docs; i += 7)
		search_expunge(i);
}

static void reopen(const char *producer)
{
	lsi_close(&search_index);
	search_open(producer);
}

/* The index can't be used: it is thrown away, and another one begun. */
static void check_discarded(enum lms_code code)
{
	struct lsi_status status;

	CHECK_FAILS(search_compare(0), code);
	CHECK(lsi_discard(search_index, &test_error));
	search_may_miss = true;
	CHECK_OK(search_compare(20));
	CHECK_OK(lsi_get_status(search_index, &status, &test_error));
	CHECK_U64(status.documents, 0);
	CHECK_OK(search_write(0, DOCS));
	search_may_miss = false;
	CHECK_OK(search_compare(100));
	search_check();
}

static int write_and_merge(void)
{
	unsigned int i;

	for (i = 20; i < 25; i++) {
		if (search_write(i, 1) < 0)
			return -1;
	}
	if (search_maintain(2) < 0 || lsi_optimize(search_index, &test_error) < 0)
		return -1;
	return search_maintain(UINT_MAX);
}

/* Run write_and_merge() in a child that dies at a call. Returns whether there were so many calls. */
static bool kill_at(enum fault_action action, unsigned int at)
{
	unsigned int calls = 0;
	int ends[2];
	pid_t pid;

	CHECK_OK(pipe(ends));
	pid = test_fork();
	if (pid == 0) {
		search_open_child("test");
		fault_begin(action, at, 0);
		CHECK_OK(write_and_merge());
		calls = fault_end();
		CHECK(write(ends[1], &calls, sizeof(calls)) == sizeof(calls));
		test_child_exit();
	}
	close(ends[1]);
	if (read(ends[0], &calls, sizeof(calls)) != sizeof(calls))
		calls = UINT_MAX;
	close(ends[0]);
	test_wait(pid, calls == UINT_MAX ? SIGKILL : 0);
	return calls == UINT_MAX;
}

static void test_kill(void)
{
	static const enum fault_action actions[] = { FAULT_KILL_BEFORE, FAULT_KILL_HALF, FAULT_KILL_AFTER };
	unsigned int at, i, kills = 0;

	make(20);
	for (i = 20; i < 25; i++)
		search_docs[i].indexed = true;
	search_may_miss = true;
	lsi_close(&search_index);
	/* One process after another is killed further on; each goes on where the one before was. */
	for (at = 1; kill_at(actions[at % 3], at); at++) {
		kills++;
		search_open("test");
		CHECK_OK(search_compare(20));
		search_check();
		CHECK_OK(search_write(25 + at % 30, 1));
		lsi_close(&search_index);
	}
	CHECK(kills >= 10);
	search_open("test");
	CHECK_OK(search_write(0, DOCS));
	CHECK_OK(search_maintain(UINT_MAX));
	search_may_miss = false;
	CHECK_OK(search_compare(200));
	search_check();
	search_end();
}

static void fail_at(enum fault_action action, unsigned int at, bool *failed_r)
{
	int ret;

	fault_begin(action, at, ENOSPC);
	ret = write_and_merge();
	fault_end();
	*failed_r = ret < 0;
	if (ret < 0)
		CHECK_FAILS(ret, LMS_NOSPACE);
	CHECK(ret >= 0 || !lsi_discard(search_index, &test_error));
	CHECK_OK(search_compare(10));
}

static void test_full_disk(void)
{
	unsigned int at, failures = 0;
	bool failed = true;

	make(20);
	search_may_miss = true;
	for (at = 1; failed && at < 1000; at++) {
		fail_at(at % 2 == 0 ? FAULT_FAIL : FAULT_FAIL_HALF, at, &failed);
		failures += failed;
	}
	CHECK(failures >= 10);
	CHECK_OK(search_write(0, DOCS));
	search_may_miss = false;
	CHECK_OK(search_maintain(UINT_MAX));
	CHECK_OK(search_compare(200));
	search_check();
	search_end();
}

static int change_file(off_t offset, size_t size, bool zero)
{
	uint8_t data[4096];
	int fd = open(test_path("search/data.mdb"), O_RDWR);
	size_t i;

	if (!CHECK(fd >= 0 && pread(fd, data, size, offset) >= 0))
		return -1;
	for (i = 0; i < size; i++)
		data[i] = zero ? 0 : (uint8_t)(data[i] ^ (1 + search_random(255)));
	CHECK((size_t)pwrite(fd, data, size, offset) == size);
	return close(fd);
}

static void copy_file(const char *from, const char *to)
{
	char command[1024];

	snprintf(command, sizeof(command), "cp %s %s", from, to);
	CHECK(system(command) == 0);
}

/* Damage of any kind anywhere: errors, but nothing wrong. */
static void test_damage(void)
{
	unsigned int i, errors = 0;
	struct stat st;

	make(0);
	CHECK_OK(search_write(0, 30));
	for (i = 30; i < 45; i++)
		CHECK_OK(search_write(i, 1));
	lsi_close(&search_index);
	copy_file(test_path("search/data.mdb"), test_path("whole"));
	CHECK_OK(stat(test_path("whole"), &st));
	search_may_miss = true;
	for (i = 0; i < 300; i++) {
		size_t size = i % 3 == 0 ? 4096 : 1 + search_random(16);
		off_t page = (off_t)search_random((unsigned int)(st.st_size / 4096)) * 4096;

		copy_file(test_path("whole"), test_path("search/data.mdb"));
		change_file(page + (size == 4096 ? 0 : (off_t)search_random(4000)), size, i % 6 == 0);
		search_open("test");
		if (search_compare(5) < 0) {
			errors++;
			if (!lsi_discard(search_index, &test_error)) {
				test_check(test_error.code == LMS_NOSPACE || test_error.code == LMS_IO || test_error.code == LMS_MEMORY,
					   __FILE__, __LINE__, "%s", test_error.text);
			} else
				CHECK_OK(search_compare(5));
		}
		lsi_close(&search_index);
	}
	CHECK(errors > 30);
	search_open("test");
	search_end();
}

/* Delete record number at of the index. Returns its kind, -1 if there are no more. */
static int delete_record(unsigned int at)
{
	MDB_val key, val;
	MDB_cursor *cursor;
	MDB_env *mdb;
	MDB_txn *txn;
	MDB_dbi dbi;
	int kind = -1;

	CHECK(mdb_env_create(&mdb) == 0 && mdb_env_open(mdb, test_path("search"), 0, 0600) == 0 &&
	      mdb_txn_begin(mdb, NULL, 0, &txn) == 0 && mdb_dbi_open(txn, NULL, 0, &dbi) == 0 &&
	      mdb_cursor_open(txn, dbi, &cursor) == 0);
	do {
		if (mdb_cursor_get(cursor, &key, &val, MDB_NEXT) != 0)
			break;
		kind = at == 0 ? (key.mv_size > 8 ? ((uint8_t *)key.mv_data)[8] : 0) : -1;
	} while (at-- > 0);
	if (kind >= 0)
		CHECK(mdb_cursor_del(cursor, 0) == 0);
	CHECK(mdb_txn_commit(txn) == 0);
	mdb_env_close(mdb);
	return kind;
}

/* A record that is missing is noticed by those who would have needed it. */
static void test_missing_record(void)
{
	unsigned int at, noticed = 0;
	int kind;

	make(0);
	CHECK_OK(search_write(0, 30));
	CHECK_OK(search_write(30, 30));
	lsi_close(&search_index);
	copy_file(test_path("search/data.mdb"), test_path("whole"));
	for (at = 0;; at++) {
		copy_file(test_path("whole"), test_path("search/data.mdb"));
		kind = delete_record(at);
		if (kind < 0)
			break;
		search_open("test");
		if (search_compare(100) < 0) {
			CHECK_FAILS(-1, LMS_DAMAGED);
			noticed++;
		}
		lsi_close(&search_index);
	}
	/* meta, and in each segment documents, words and lists of 7 fields; names aren't looked up, but what is before them. */
	CHECK_U64(noticed, 1 + 2 * (1 + 7 + 7 + 1));
	search_open("test");
	search_end();
}

static void test_truncated(void)
{
	make(30);
	lsi_close(&search_index);
	CHECK_OK(truncate(test_path("search/data.mdb"), 3 * 4096));
	search_open("test");
	check_discarded(LMS_DAMAGED);
	/* While it is open */
	CHECK_OK(truncate(test_path("search/data.mdb"), 2 * 4096));
	check_discarded(LMS_DAMAGED);
	search_end();
}

static void test_other_producer(void)
{
	make(30);
	reopen("another");
	check_discarded(LMS_NEWER);
	reopen("another");
	CHECK_OK(search_compare(10));
	search_end();
}

/* The index of a store whose files were put in another one's place */
static void test_other_store(void)
{
	struct lms_env *other;

	make(30);
	lsi_close(&search_index);
	CHECK_OK(lms_env_open(test_path("other"), &test_settings, &other, &test_error));
	lms_env_close(&search_store);
	search_store = other;
	search_open("test");
	CHECK_FAILS(search_compare(0), LMS_DAMAGED);
	CHECK(lsi_discard(search_index, &test_error));
	search_may_miss = true;
	CHECK_OK(search_compare(0));
	search_end();
}

static void test_deleted(void)
{
	struct lsi_status status;

	make(30);
	CHECK_OK(search_compare(10));
	CHECK_OK(unlink(test_path("search/data.mdb")));
	CHECK_OK(unlink(test_path("search/lock.mdb")));
	CHECK_OK(unlink(test_path("search/search.lock")));
	CHECK_OK(rmdir(test_path("search")));
	search_may_miss = true;
	CHECK_OK(search_compare(10));
	CHECK_OK(lsi_get_status(search_index, &status, &test_error));
	CHECK_U64(status.documents, 0);
	CHECK_OK(search_write(0, DOCS));
	search_may_miss = false;
	CHECK_OK(search_compare(100));
	/* And again, before a write */
	CHECK_OK(unlink(test_path("search/data.mdb")));
	CHECK_OK(search_write(0, DOCS));
	CHECK_OK(search_compare(100));
	search_check();
	search_end();
}

/* Two processes index the same documents at the same time. */
static void test_two_writers(void)
{
	struct lsi_status status;
	unsigned int i, child;
	pid_t pids[2];

	make(0);
	lsi_close(&search_index);
	for (child = 0; child < 2; child++) {
		pids[child] = test_fork();
		if (pids[child] != 0)
			continue;
		search_open_child("test");
		search_may_miss = true;
		for (i = 0; i < DOCS; i += 3) {
			CHECK_OK(search_write(i, 3));
			CHECK_OK(search_maintain(3));
			CHECK_OK(search_compare(3));
		}
		lsi_close(&search_index);
		test_child_exit();
	}
	test_wait(pids[0], 0);
	test_wait(pids[1], 0);
	for (i = 0; i < DOCS; i++)
		search_docs[i].indexed = true;
	search_open("test");
	CHECK_OK(lsi_get_status(search_index, &status, &test_error));
	CHECK_U64(status.documents, DOCS);
	CHECK_OK(search_compare(100));
	search_check();
	search_end();
}

static const struct test tests[] = {
	{ "kill", test_kill },
	{ "full_disk", test_full_disk },
	{ "damage", test_damage },
	{ "missing_record", test_missing_record },
	{ "truncated", test_truncated },
	{ "other_producer", test_other_producer },
	{ "other_store", test_other_store },
	{ "deleted", test_deleted },
	{ "two_writers", test_two_writers },
	TEST_END
};

int main(int argc, char *argv[])
{
	return test_main(argc, argv, tests);
}
