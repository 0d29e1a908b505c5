/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#define _GNU_SOURCE
#include "lms-lock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static int lock_call(int fd, int cmd, short type, off_t byte, off_t count, struct flock *lock)
{
	memset(lock, 0, sizeof(*lock));
	lock->l_type = type;
	lock->l_whence = SEEK_SET;
	lock->l_start = byte;
	lock->l_len = count;
	while (fcntl(fd, cmd, lock) < 0) {
		if (errno != EINTR)
			return errno;
	}
	return 0;
}

int lms_lock_wait(int fd, off_t byte)
{
	struct flock lock;

	return lock_call(fd, F_OFD_SETLKW, F_WRLCK, byte, 1, &lock);
}

int lms_lock_try(int fd, off_t byte)
{
	struct flock lock;
	int err = lock_call(fd, F_OFD_SETLK, F_WRLCK, byte, 1, &lock);

	return err == EACCES ? EAGAIN : err;
}

void lms_lock_drop(int fd, off_t byte)
{
	struct flock lock;

	(void)lock_call(fd, F_OFD_SETLK, F_UNLCK, byte, 1, &lock);
}

bool lms_lock_any_taken(int fd, off_t byte, off_t count)
{
	struct flock lock;

	return lock_call(fd, F_OFD_GETLK, F_WRLCK, byte, count, &lock) != 0 || lock.l_type != F_UNLCK;
}

bool lms_lock_is_taken(int fd, off_t byte)
{
	return lms_lock_any_taken(fd, byte, 1);
}
