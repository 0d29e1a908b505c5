/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMS_PRIVATE_H
#define LMS_PRIVATE_H

#include "lms.h"
#include "lms-error.h"

#include <lmdb.h>

#define LMS_FILE_DATA "data.mdb"
#define LMS_FILE_LMDB_LOCK "lock.mdb"
#define LMS_DIR_NOTIFY "notify"

#define LMS_MAX_READERS 1024

/* The databases of a store. LMS_DB_META is LMDB's unnamed one: its page is written by every commit anyway. */
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
	/* Not always there: from the first shared commit on */
	LMS_DB_APPLIED,
	LMS_DB_COUNT
};
/* The most databases that any kind of environment has */
#define LMS_DB_MAX 16

struct lms_txn;

/*
 * A kind of environment: the store itself, or what is kept beside it with the same machinery (directory, locks, map,
 * transactions, checked records) in an environment of its own.
 */
struct lms_schema {
	/* Name of the lock file */
	const char *lock_file;
	/* Text that the lock file gets once there is a data file, so that a lost one isn't taken for a new one. NULL: it
	   may be lost. */
	const char *created_mark;
	/* What can be done about damage, for messages */
	const char *remedy;
	/* Names of the databases; that of the first one is NULL: LMDB's unnamed one */
	const char *const *db_names;
	unsigned int db_count;
	/* Databases after these that aren't always there: lms_txn_open_late() */
	unsigned int late_count;
	/* Make other files of a new environment. May be NULL. Returns 0 or -1. */
	int (*make_files)(const char *dir, const struct lms_env_settings *set, struct lms_error *error_r);
	/* Read what the unnamed database says. Returns 1, 0 if it says nothing yet, -1. */
	int (*open)(struct lms_txn *txn);
	/* Write the first records. Returns 0 or -1. */
	int (*create)(struct lms_txn *txn);
	/* After the last use of the environment. May be NULL. */
	void (*close)(struct lms_env *env);
	/* May it stay open after that? See lms_env_keep_idle(). */
	bool may_idle;
};

struct lms_env {
	struct lms_env *next;
	const struct lms_schema *schema;
	/* 0: it is idle. */
	unsigned int refcount;
	char *dir;
	/* Of the data file, which stays open: so the inode isn't used for another file meanwhile. */
	dev_t dev;
	ino_t ino;
	/* The descriptor, which is LMDB's, and what size the file had when the environment became idle */
	int data_fd;
	off_t idle_size;
	ino_t lmdb_lock_ino;
	struct lms_env_settings set;
	unsigned int fork_count;
	int lock_fd;
	uint8_t guid[LMS_GUID_SIZE];
	bool is_copy;

	MDB_env *mdb;
	MDB_dbi dbi[LMS_DB_MAX];
	/* Under the lock on LMS_LOCK_OPEN */
	bool opening;
	/* Opening failed because of mutexes that another program destroyed. */
	bool open_again;
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

	/* The start of a body, of LMS_CHUNK_MAX bytes; NULL until one was read */
	uint8_t *start_buffer;

	/* The slot file, NULL as long as this process had nothing to share. */
	struct lms_slots *slots;

	/* This process left garbage; last_no_sync: how its last request was committed. */
	bool made_garbage, last_no_sync;
};

/* lms_env_open() for any kind of environment */
int lms_env_open_schema(const char *dir, const struct lms_schema *schema, const struct lms_env_settings *set,
			struct lms_env **env_r, struct lms_error *error_r);
/* The same, without a look for one that is open. */
int lms_env_new(const char *dir, const struct lms_schema *schema, const struct lms_env_settings *set,
		struct lms_env **env_r, struct lms_error *error_r);
/* Close and free it. Without wait, false and nothing done if another process is opening or closing it. */
bool lms_env_free(struct lms_env *env, bool wait);
/* Did this process open it, and not the one that it was forked from? */
bool lms_env_is_own(const struct lms_env *env);
/* -1 with *error_r if the environment can't be used: it belongs to the parent process, or its map is lost. */
int lms_env_usable(const struct lms_env *env, struct lms_error *error_r);
/* Close and open LMDB's environment again, after it refused service. No transaction may be open. */
int lms_env_reopen(struct lms_env *env, struct lms_error *error_r);
/* Close idle environments, because address space is short. Those whose lock somebody has stay: the caller may have
   locks itself. */
void lms_env_make_room(void);

#endif
