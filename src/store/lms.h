/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMS_H
#define LMS_H

/*
 * lms: a mail store of one user in one LMDB environment.
 *
 * This directory knows nothing of Dovecot: C11, libc, LMDB, LZ4 and xxHash only, so that it can be used and tested
 * alone. A process is expected to use it from one thread.
 *
 * Reading: every read function opens a read transaction and ends it before it returns, unless the caller brackets
 * several calls with lms_read_begin() and lms_read_end() to see one snapshot. A bracket must never be open when
 * control returns to an event loop: it pins pages and keeps the map from growing.
 *
 * Writing: lms_submit() (lms-request.h) is the only writer.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define LMS_GUID_SIZE 16
/* The longest name of one folder (one component of a path) and the deepest folder tree. */
#define LMS_NAME_MAX 4096
#define LMS_DEPTH_MAX 256

enum lms_code {
	LMS_OK = 0,
	/* The folder, message, body or attribute isn't there (any more). */
	LMS_NOTFOUND,
	/* The name is taken already. */
	LMS_EXISTS,
	/* The request can't be carried out for this store's state: rename of a folder below itself, name too long... */
	LMS_INVALID,
	/* Disk or quota of the file system is full. */
	LMS_NOSPACE,
	/* Permission denied or read-only file system. */
	LMS_ACCESS,
	/* The address-space limit (RLIMIT_AS, Dovecot's vsz_limit) is too small for the store's map. */
	LMS_MEMORY,
	/* The file is damaged, isn't LMDB, or a checksum is wrong. */
	LMS_DAMAGED,
	/* Written by a newer version of this library. */
	LMS_NEWER,
	/* A file system on which LMDB isn't safe (NFS, CIFS, FUSE). */
	LMS_UNSUITABLE,
	/* Any other I/O error. */
	LMS_IO
};

/* Why a call failed. text is one line for the administrator: cause, file and, where there is one, the remedy. */
struct lms_error {
	enum lms_code code;
	char text[1024];
};

struct lms_env;

enum lms_env_flags {
	/* Open also on network file systems. */
	LMS_ENV_ANY_FILESYSTEM = 0x01,
	/* Don't create a missing store: fail with LMS_NOTFOUND. */
	LMS_ENV_NO_CREATE = 0x02,
	/* Store bodies as they are. What is compressed already can be read all the same. */
	LMS_ENV_UNCOMPRESSED = 0x04
};

struct lms_env_settings {
	enum lms_env_flags flags;
	/* Modes (and, unless -1, group) of created directory and files. */
	mode_t dir_mode, file_mode;
	gid_t gid;
	/* Seconds for which the body of an expunged message stays readable for sessions that still see it. */
	unsigned int grace_secs;
};

/*
 * Open (or create, with missing parents) the store in directory dir. One process opens an environment once: a second
 * call for the same (device, inode) returns the first with one more reference. Locks of dead processes and stale
 * reader slots are cleared. Returns 0 and sets *env_r, or -1.
 */
int lms_env_open(const char *dir, const struct lms_env_settings *set, struct lms_env **env_r,
		 struct lms_error *error_r);
/* Drop a reference; the last one frees garbage whose grace has passed if this process made any, and closes. */
void lms_env_close(struct lms_env **env);
/*
 * Keep up to max environments open after their last use, because it is likely that they are opened again soon, and that takes
 * as long as the rest of a save but its flushes. 0 at first. Until lms_env_close_idle() they keep file descriptors, the
 * map and LMDB's shared lock, but no lock of ours, no transaction and no reader slot. lms_env_open() uses one again only if
 * no file was replaced or removed meanwhile. Where address space is short they are closed.
 */
void lms_env_keep_idle(unsigned int max);
void lms_env_close_idle(void);
/* The directory given to the lms_env_open() that opened it. */
const char *lms_env_dir(const struct lms_env *env);
/* Random id of this store, made when it was created. */
void lms_env_guid(const struct lms_env *env, uint8_t guid_r[LMS_GUID_SIZE]);

/*
 * Copy the store as it is at this moment into a new directory, while others read and write: only what they free meanwhile can't be used
 * again before the end. The copy is marked as one: see LMS_OP_COPY_MARK. It takes no lock but LMDB's writer lock, for
 * its last two pages. LMS_EXISTS if dir is there. Killed, it leaves dir with ".tmp" appended, if anything.
 */
int lms_env_copy(struct lms_env *env, const char *dir, struct lms_error *error_r);
/* Was the store such a copy when this process opened it? */
bool lms_env_is_copy(const struct lms_env *env);

struct lms_env_usage {
	uint64_t file_bytes;	/* of the data file, free pages included */
	uint64_t used_bytes;	/* file_bytes without free pages */
	uint64_t map_bytes;	/* mapped by this process */
	uint64_t smallest_limit;/* the smallest RLIMIT_AS that ever opened it for writing, 0 if none was limited */
};
int lms_env_get_usage(struct lms_env *env, struct lms_env_usage *usage_r, struct lms_error *error_r);

/* One snapshot for all read calls until the matching end. Brackets nest. Returns 0 or -1. */
int lms_read_begin(struct lms_env *env, struct lms_error *error_r);
void lms_read_end(struct lms_env *env);

#endif
