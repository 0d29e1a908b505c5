/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef TEST_FAULT_H
#define TEST_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Faults at the calls with which LMDB writes. Programs that link test-fault.c have its pwrite(), writev(), fdatasync()
 * and ftruncate() in place of libc's, also inside of liblmdb.
 */

enum fault_action {
	FAULT_NONE,
	/* Kill the process before the call, after it, or after half of what it should write. */
	FAULT_KILL_BEFORE,
	FAULT_KILL_AFTER,
	FAULT_KILL_HALF,
	/* Crash, as where memory was overwritten */
	FAULT_ABORT,
	/* Fail with errno error; all writing calls from then on, so that it is no use to try again. */
	FAULT_FAIL,
	/* Write half, then fail as above. */
	FAULT_FAIL_HALF,
	/* Fail once. */
	FAULT_FAIL_ONCE
};

/* Count calls from 1, and act at number at (0: only count). */
void fault_begin(enum fault_action action, unsigned int at, int error);
/* Returns the number of calls since fault_begin(). */
unsigned int fault_end(void);

/* Everything that is written while recording, in order. */
struct fault_write {
	/* A flush of all before it has no data; synced: durable when the call returned. */
	bool is_flush, synced;
	off_t offset;
	size_t size;
	uint8_t *data;
};
struct fault_log {
	struct fault_write *writes;
	unsigned int count, alloc;
	/* Of this file only, if it isn't 0 */
	ino_t ino;
};
/* Record to log (NULL: stop) what is written to regular files. */
void fault_record(struct fault_log *log);
void fault_log_free(struct fault_log *log);

#endif
