/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#define _GNU_SOURCE
#include "test-fault.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static struct {
	enum fault_action action;
	unsigned int at, count;
	int error;
	bool counting;
} fault;

static struct fault_log *recording;

void fault_begin(enum fault_action action, unsigned int at, int error)
{
	memset(&fault, 0, sizeof(fault));
	fault.action = action;
	fault.at = at;
	fault.error = error;
	fault.counting = true;
}

unsigned int fault_end(void)
{
	fault.counting = false;
	return fault.count;
}

static void die(void)
{
	kill(getpid(), SIGKILL);
	for (;;)
		pause();
}

/* What happens to this call: FAULT_NONE if nothing. */
static enum fault_action next_call(void)
{
	bool is_last;

	if (!fault.counting)
		return FAULT_NONE;
	fault.count++;
	is_last = fault.count == fault.at;
	switch (fault.action) {
	case FAULT_FAIL:
		return fault.at != 0 && fault.count >= fault.at ? FAULT_FAIL : FAULT_NONE;
	case FAULT_FAIL_HALF:
		return is_last ? FAULT_FAIL_HALF : fault.at != 0 && fault.count > fault.at ? FAULT_FAIL : FAULT_NONE;
	case FAULT_FAIL_ONCE:
		return is_last ? FAULT_FAIL : FAULT_NONE;
	default:
		break;
	}
	if (is_last && fault.action == FAULT_KILL_BEFORE)
		die();
	if (is_last && fault.action == FAULT_ABORT)
		abort();
	return is_last ? fault.action : FAULT_NONE;
}

static void record(int fd, const void *data, size_t size, off_t offset, bool is_flush)
{
	struct fault_write *entry;
	struct stat st;

	if (recording == NULL || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	if (recording->ino != 0 && recording->ino != st.st_ino)
		return;
	if (recording->count == recording->alloc) {
		recording->alloc = recording->alloc * 2 + 256;
		recording->writes = realloc(recording->writes, recording->alloc * sizeof(*recording->writes));
	}
	entry = &recording->writes[recording->count++];
	memset(entry, 0, sizeof(*entry));
	entry->is_flush = is_flush;
	entry->synced = (fcntl(fd, F_GETFL) & O_DSYNC) != 0;
	entry->offset = offset;
	entry->size = size;
	if (size > 0) {
		entry->data = malloc(size);
		memcpy(entry->data, data, size);
	}
}

void fault_record(struct fault_log *log)
{
	recording = log;
}

void fault_log_free(struct fault_log *log)
{
	while (log->count > 0)
		free(log->writes[--log->count].data);
	free(log->writes);
	memset(log, 0, sizeof(*log));
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
	enum fault_action action = next_call();
	ssize_t ret;

	if (action == FAULT_FAIL) {
		errno = fault.error;
		return -1;
	}
	if (action == FAULT_KILL_HALF || action == FAULT_FAIL_HALF)
		size /= 2;
	record(fd, data, size, offset, false);
	ret = syscall(SYS_pwrite64, fd, data, size, offset);
	if (action == FAULT_KILL_HALF || action == FAULT_KILL_AFTER)
		die();
	return ret;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset)
{
	return pwrite(fd, data, size, offset);
}

static void record_vector(int fd, const struct iovec *iov, int count)
{
	off_t offset;
	int i;

	if (recording == NULL)
		return;
	offset = lseek(fd, 0, SEEK_CUR);
	for (i = 0; i < count; i++) {
		record(fd, iov[i].iov_base, iov[i].iov_len, offset, false);
		offset += (off_t)iov[i].iov_len;
	}
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
	enum fault_action action = next_call();
	ssize_t ret;

	if (action == FAULT_FAIL) {
		errno = fault.error;
		return -1;
	}
	if (action == FAULT_KILL_HALF || action == FAULT_FAIL_HALF)
		count = (count + 1) / 2;
	record_vector(fd, iov, count);
	ret = syscall(SYS_writev, fd, iov, count);
	if (action == FAULT_KILL_HALF || action == FAULT_KILL_AFTER)
		die();
	return ret;
}

int fdatasync(int fd)
{
	enum fault_action action = next_call();
	int ret;

	if (action == FAULT_FAIL || action == FAULT_FAIL_HALF) {
		errno = fault.error;
		return -1;
	}
	if (action == FAULT_KILL_HALF)
		die();
	record(fd, NULL, 0, 0, true);
	/* The tests kill processes, not machines: there is no need to wait for the disk. */
	ret = 0;
	if (action == FAULT_KILL_AFTER)
		die();
	return ret;
}

int ftruncate(int fd, off_t size)
{
	enum fault_action action = next_call();
	int ret;

	if (action == FAULT_FAIL || action == FAULT_FAIL_HALF) {
		errno = fault.error;
		return -1;
	}
	ret = (int)syscall(SYS_ftruncate, fd, size);
	if (action == FAULT_KILL_HALF || action == FAULT_KILL_AFTER)
		die();
	return ret;
}

int ftruncate64(int fd, off_t size)
{
	return ftruncate(fd, size);
}
