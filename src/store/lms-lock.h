/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMS_LOCK_H
#define LMS_LOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Locks on bytes of the store's lock file. They belong to the open file description, so the kernel drops them when
 * the process dies, and closing other descriptors of the file doesn't.
 */

enum lms_lock_byte {
	/* Held exclusively while LMDB's environment is opened or closed: some versions (0.9.26 to 0.9.31) may destroy
	   the mutex that another process is about to use. */
	LMS_LOCK_OPEN = 0,
	/* Held by whoever writes: the leader. */
	LMS_LOCK_LEADER = 1,
	/* Held by who waits for LMS_LOCK_LEADER and can't be served by another leader: meanwhile nobody else tries it. */
	LMS_LOCK_DOOR = 2,
	/* And the LMS_SLOT_COUNT - 1 bytes after it: one for each slot (lms-slot.h), held by its owner. */
	LMS_LOCK_SLOT = 256
};
/* Byte of the body under construction with id 0 */
#define LMS_LOCK_STAGED ((off_t)1 << 32)

/* Wait for an exclusive lock. Returns 0, or errno. */
int lms_lock_wait(int fd, off_t byte);
/* Take an exclusive lock if it's free. Returns 0, EAGAIN if it's taken, or another errno. */
int lms_lock_try(int fd, off_t byte);
void lms_lock_drop(int fd, off_t byte);
/* Does another open file description hold the byte? On errors true, which is the safe answer. */
bool lms_lock_is_taken(int fd, off_t byte);
/* The same for count bytes. */
bool lms_lock_any_taken(int fd, off_t byte, off_t count);

#endif
