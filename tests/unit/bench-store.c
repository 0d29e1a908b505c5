/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#define _GNU_SOURCE
#include "test-common.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/*
 * What the store's operations cost: time, and what LMDB writes and flushes for each. Run by hand; the figures depend
 * on the machine and on the file system below $TMPDIR.
 */

static struct {
	unsigned int writes, flushes;
	uint64_t bytes;
} io;

/* Microseconds that each flush takes longer, as on a slower disk */
static unsigned int flush_delay;

/* These stand before libc's, so that LMDB's calls can be counted. */
static void count_flush(void)
{
	io.flushes++;
	if (flush_delay > 0)
		usleep(flush_delay);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
	ssize_t ret = syscall(SYS_pwrite64, fd, data, size, offset);

	io.writes++;
	io.bytes += size;
	/* LMDB writes its meta page through a descriptor that flushes. */
	if (size == 120)
		count_flush();
	return ret;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset)
{
	return pwrite(fd, data, size, offset);
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
	ssize_t size = syscall(SYS_writev, fd, iov, count);

	io.writes++;
	if (size > 0)
		io.bytes += (uint64_t)size;
	return size;
}

int fdatasync(int fd)
{
	int ret = (int)syscall(SYS_fdatasync, fd);

	count_flush();
	return ret;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Processor time of this process: what of the time isn't waiting. */
static double processor(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static double started, processor_started;

static void begin(void)
{
	memset(&io, 0, sizeof(io));
	started = now();
	processor_started = processor();
}

static void end(const char *what, unsigned int count)
{
	double us = (now() - started) * 1e6, processor_us = (processor() - processor_started) * 1e6;

	printf("%-36s %9.2f us (processor %9.2f), in all %8.2f ms; %6.2f writes of %8.0f bytes, %5.2f flushes\n", what,
	       us / count, processor_us / count, us / 1000, (double)io.writes / count, (double)io.bytes / count,
	       (double)io.flushes / count);
}

static int count_message(const struct lms_message *message, void *context)
{
	*(uint64_t *)context += message->physical_size;
	return 0;
}

static void fill_folder(struct lms_env *env, uint64_t folder_id, unsigned int count, size_t size)
{
	struct lms_save_message *messages = calloc(1000, sizeof(*messages));
	uint32_t *uids = calloc(1000, sizeof(*uids));
	char *data = malloc(size);
	struct lms_request request;
	unsigned int i;

	test_fill(data, size, 1);
	for (i = 0; i < 1000; i++) {
		messages[i].data = data;
		messages[i].size = messages[i].physical_size = messages[i].virtual_size = size;
		messages[i].received = messages[i].saved = 1700000000;
	}
	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_SAVE;
	request.no_sync = true;
	request.u.save.folder_id = folder_id;
	request.u.save.messages = messages;
	request.u.save.message_count = 1000;
	request.u.save.uids_r = uids;
	for (i = 0; i < count; i += 1000)
		CHECK_OK(test_submit(env, &request));
	free(messages);
	free(uids);
	free(data);
}

static void bench_open(void)
{
	struct lms_env *env = test_open();
	unsigned int i;

	test_folder(env, "INBOX");
	lms_env_close(&env);
	begin();
	for (i = 0; i < 1000; i++) {
		env = test_open();
		lms_env_close(&env);
	}
	end("open and close", 1000);
	begin();
	for (i = 0; i < 1000; i++) {
		struct lms_folder folder;

		env = test_open();
		CHECK(lms_folder_get(env, 1, &folder, &test_error) == 1);
		lms_env_close(&env);
	}
	end("open, read a folder and close", 1000);
}

static void deliver(struct lms_env *env, uint64_t folder_id, size_t size, unsigned int count, const char *what)
{
	char *data = malloc(size);
	unsigned int i;

	test_fill(data, size, 2);
	begin();
	for (i = 0; i < count; i++)
		CHECK(test_save(env, folder_id, data, size, 0) != 0);
	end(what, count);
	free(data);
}

static void bench_delivery(void)
{
	struct lms_env *env = test_open();
	uint64_t inbox = test_folder(env, "INBOX"), other = test_folder(env, "other");
	struct lms_env_usage usage;

	deliver(env, inbox, 6000, 1000, "delivery of 6 KB, small store");
	deliver(env, inbox, 1500, 1000, "delivery of 1.5 KB, small store");
	deliver(env, inbox, 20000, 1000, "delivery of 20 KB, small store");
	fill_folder(env, other, 100000, 2000);
	deliver(env, inbox, 6000, 1000, "delivery of 6 KB, 100,000 messages");
	CHECK_OK(test_expunge(env, other, 1, 20000));
	begin();
	test_collect(env, 0);
	end("collect 20,000 bodies", 1);
	deliver(env, inbox, 6000, 1000, "delivery of 6 KB into freed space");
	CHECK_OK(lms_env_get_usage(env, &usage, &test_error));
	printf("file %llu, used %llu\n", (unsigned long long)usage.file_bytes, (unsigned long long)usage.used_bytes);
	lms_env_close(&env);
}

static void bench_many(void)
{
	struct lms_env *env = test_open();
	uint64_t inbox = test_folder(env, "INBOX"), copy = test_folder(env, "copy"), moved = test_folder(env, "moved");
	struct lms_message message;
	uint64_t sum = 0;
	unsigned int i;

	fill_folder(env, inbox, 100000, 1000);
	/* What wasn't flushed so far isn't the copy's to pay. */
	sync();
	begin();
	CHECK_OK(test_copy(env, inbox, 1, 10000, copy, false));
	end("COPY of 10,000", 1);
	begin();
	CHECK_OK(test_copy(env, inbox, 10001, 20000, moved, true));
	end("MOVE of 10,000", 1);
	begin();
	CHECK_OK(test_expunge(env, inbox, 20001, 22000));
	end("EXPUNGE of 2,000", 1);
	begin();
	for (i = 0; i < 1000; i++) {
		struct lms_folder folder;

		CHECK_OK(test_flags(env, inbox, 30000 + i, 30000 + i, LMS_SEEN, 0));
		(void)folder;
	}
	end("one flag", 1000);
	begin();
	CHECK_OK(test_flags(env, inbox, 40000, 50000, LMS_SEEN, 0));
	end("flags of 10,000", 1);
	begin();
	CHECK_OK(test_keyword(env, inbox, 40000, 50000, "keyword", true));
	end("keyword of 10,000", 1);
	begin();
	for (i = 0; i < 10; i++)
		CHECK_OK(lms_message_scan(env, inbox, 1, UINT32_MAX, count_message, &sum, &test_error));
	end("scan of 88,000 messages", 10);
	begin();
	for (i = 0; i < 100000; i++)
		(void)lms_message_get(env, inbox, 30000 + i % 50000, &message, &test_error);
	end("message_get", 100000);
	begin();
	CHECK_OK(lms_read_begin(env, &test_error));
	for (i = 0; i < 100000; i++)
		(void)lms_message_get(env, inbox, 30000 + i % 50000, &message, &test_error);
	lms_read_end(env);
	end("message_get in one snapshot", 100000);
	begin();
	for (i = 0; i < 100000; i++) {
		struct lms_folder folder;

		(void)lms_folder_get(env, inbox, &folder, &test_error);
	}
	end("folder_get", 100000);
	lms_env_close(&env);
}

static int count_folder(const struct lms_folder *folder, void *context)
{
	*(uint64_t *)context += folder->messages;
	return 0;
}

static void bench_folders(void)
{
	struct lms_env *env = test_open();
	struct lms_request request;
	char name[64];
	uint64_t sum = 0;
	unsigned int i;

	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_FOLDER_CREATE;
	request.no_sync = true;
	request.u.folder_create.selectable = true;
	begin();
	for (i = 0; i < 10000; i++) {
		snprintf(name, sizeof(name), "folder %u/sub %u", i / 100, i % 100);
		request.u.folder_create.path = test_components(name);
		CHECK_OK(test_submit(env, &request));
	}
	end("create folder, not flushed", 10000);
	begin();
	CHECK_OK(lms_folder_scan(env, count_folder, &sum, &test_error));
	end("scan of 10,000 folders", 1);
	begin();
	CHECK_OK(test_rename(env, "folder 5", "folder x", false));
	end("rename of a tree", 1);
	deliver(env, 5000, 6000, 1000, "delivery of 6 KB, 10,000 folders");
	lms_env_close(&env);
}

#define WRITERS_MAX 80
#define WRITERS_SECONDS 2

/* What the processes tell */
struct writers {
	unsigned int messages, flushes;
	uint64_t bytes;
	double slowest, processor;
	/* Time of each message, in units of 50 us */
	unsigned int times[20000];
};

static void run_writer(uint64_t folder_id, double until, struct writers *shared)
{
	struct lms_env *env = test_open();
	double begun, took, slowest = 0;
	unsigned int count = 0, slot;
	char data[6000];

	test_fill(data, sizeof(data), (unsigned int)getpid());
	memset(&io, 0, sizeof(io));
	processor_started = processor();
	while ((begun = now()) < until) {
		CHECK(test_save(env, folder_id, data, sizeof(data), 0) != 0);
		took = now() - begun;
		slowest = took > slowest ? took : slowest;
		slot = (unsigned int)(took * 20000);
		__atomic_fetch_add(&shared->times[slot < 20000 ? slot : 19999], 1, __ATOMIC_RELAXED);
		count++;
	}
	__atomic_fetch_add(&shared->messages, count, __ATOMIC_RELAXED);
	__atomic_fetch_add(&shared->flushes, io.flushes, __ATOMIC_RELAXED);
	__atomic_fetch_add(&shared->bytes, io.bytes, __ATOMIC_RELAXED);
	if (slowest > shared->slowest)
		shared->slowest = slowest;
	shared->processor += processor() - processor_started;
	lms_env_close(&env);
}

static double percentile(const struct writers *shared, double part)
{
	unsigned int i, left = (unsigned int)(shared->messages * part);

	for (i = 0; i < 19999 && left >= shared->times[i]; i++)
		left -= shared->times[i];
	return (i + 0.5) / 20;
}

static void print_writers(const char *name, unsigned int count, unsigned int delay_us)
{
	struct writers *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct lms_env *env = test_open();
	uint64_t folder_id = test_folder(env, name);
	double until = now() + WRITERS_SECONDS + count * 0.001;
	pid_t pids[WRITERS_MAX];
	unsigned int i;

	lms_env_close(&env);
	for (i = 0; i < count; i++) {
		pids[i] = test_fork();
		if (pids[i] == 0) {
			flush_delay = delay_us;
			run_writer(folder_id, until, shared);
			test_child_exit();
		}
	}
	for (i = 0; i < count; i++)
		test_wait(pids[i], 0);
	printf("%2u writers, %4.1f ms a flush: %6.0f messages/s, p50 %6.2f ms, p99 %6.2f ms, slowest %6.1f ms; each %5.2f "
	       "flushes, %6.0f bytes, processor %4.0f us\n", count, delay_us / 1000.0,
	       shared->messages / (WRITERS_SECONDS + count * 0.001), percentile(shared, 0.5), percentile(shared, 0.99),
	       shared->slowest * 1000, (double)shared->flushes / shared->messages,
	       (double)shared->bytes / shared->messages, shared->processor / shared->messages * 1e6);
	munmap(shared, sizeof(*shared));
}

/* Processes that save messages of 6 KB into one folder. */
static void bench_writers(void)
{
	static const unsigned int counts[] = { 1, 4, 16, 64 }, delays[] = { 0, 500, 2000, 8000 };
	unsigned int i, j;
	char name[32];

	for (i = 0; i < 4; i++) {
		for (j = 0; j < 4; j++) {
			snprintf(name, sizeof(name), "%u-%u", i, j);
			print_writers(name, counts[i], delays[j]);
		}
	}
}

static const struct test tests[] = {
	{ "open", bench_open },
	{ "delivery", bench_delivery },
	{ "many", bench_many },
	{ "folders", bench_folders },
	{ "writers", bench_writers },
	TEST_END
};

int main(int argc, char *argv[])
{
	return test_main(argc, argv, tests);
}
