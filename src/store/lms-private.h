/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMS_PRIVATE_H
#define LMS_PRIVATE_H

#include "lms.h"
#include "lms-error.h"

#include <lmdb.h>

#define LMS_FILE_DATA "data.mdb"
#define LMS_FILE_LMDB_LOCK "lock.mdb"
#define LMS_FILE_LOCK "store.lock"
#define LMS_DIR_NOTIFY "notify"

#define LMS_MAX_READERS 1024

/* LMS_DB_META is LMDB's unnamed database: its page is written by every commit anyway. */
enum lms_db {
	LMS_DB_META,
	LMS_DB_NODES,
	LMS_DB_NAMES,
	LMS_DB_FOLDERS,
	LMS_DB_MESSAGES,
	LMS_DB_KEYWORDS,
	LMS_DB_CHANGES,
	LMS_DB_BODIES,
	LMS_DB_BODYREFS,
	LMS_DB_GARBAGE,
	LMS_DB_STAGING,
	LMS_DB_SUBSCRIBED,
	LMS_DB_ATTRIBUTES,
	LMS_DB_COUNT
};

struct lms_env {
	struct lms_env *next;
	unsigned int refcount;
	char *dir;
	/* Of the data file, which stays open: so the inode isn't used for another file meanwhile. */
	dev_t dev;
	ino_t ino;
	struct lms_env_settings set;
	unsigned int fork_count;
	int lock_fd;
	uint8_t guid[LMS_GUID_SIZE];

	MDB_env *mdb;
	MDB_dbi dbi[LMS_DB_COUNT];
	/* Under the lock on LMS_LOCK_OPEN */
	bool opening;
	/* Reset, not ended, between brackets: renewing is much cheaper. */
	MDB_txn *read_txn;
	unsigned int read_depth;

	/* Every call fails with this once its code is set: the map is gone. */
	struct lms_error poison;

	/* Bodies that this process has under construction. */
	uint64_t *staged;
	unsigned int staged_count, staged_alloc;

	/* What lms_message_get() returned last. */
	uint8_t *get_buffer;
	size_t get_buffer_size;
	char get_guid[LMS_GUID_SIZE * 2 + 1];

	/* This process left garbage; last_no_sync: how its last request was committed. */
	bool made_garbage, last_no_sync;
	bool limit_warned;
};

/* -1 with *error_r if the environment can't be used: it belongs to the parent process, or its map is lost. */
int lms_env_usable(const struct lms_env *env, struct lms_error *error_r);
/* Close and open LMDB's environment again, after it refused service. No transaction may be open. */
int lms_env_reopen(struct lms_env *env, struct lms_error *error_r);

#endif
