/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMS_WRITE_H
#define LMS_WRITE_H

#include "lms-request.h"
#include "lms-txn.h"

/*
 * A request being carried out, inside a write transaction. Operations change what is kept here (counters, folder
 * records, lists of changes and garbage), and lms_write_finish() writes it, once and only where it differs from what
 * was read: a request that changes nothing leaves the transaction clean and costs no commit.
 */

/* A list of UID ranges of one kind */
struct lms_range_list {
	struct lms_uid_range *ranges;
	unsigned int count, alloc;
};

struct lms_wkeyword {
	uint32_t number;
	char *name;
};

struct lms_wfolder {
	struct lms_wfolder *next;
	struct lms_folder_record rec;
	/* The record as it was read; new ones have size 0. */
	uint8_t read_head[LMS_RECORD_HEAD];
	uint8_t read_data[192];
	size_t read_size;
	bool removed;
	/* A view shows something else now: the change counter rises by one. */
	bool view_changed;
	struct lms_range_list expunged, flagged;
	struct lms_wkeyword *keywords;
	unsigned int keyword_count, keyword_alloc;
	bool keywords_loaded;
};

struct lms_write {
	/* A copy for this request's errors, and to see whether it wrote anything. */
	struct lms_txn txn;
	struct lms_env *env;
	const struct lms_request *request;
	struct lms_reply *reply;
	int64_t now;
	/* RLIMIT_AS of the process that wants it */
	uint64_t memory_limit;
	struct lms_meta meta, meta_read;
	struct lms_wfolder *folders;
	/* The one whose state the reply tells */
	struct lms_wfolder *reply_folder;
	/* Folder tree or subscriptions changed. */
	bool tree_changed;
	/* Bodies that lost their last message */
	uint64_t *garbage;
	unsigned int garbage_count, garbage_alloc;
	/* It left garbage: the process that wants it frees some before it exits. */
	bool made_garbage;
	/* Bytes of bodies written, in whole pages */
	uint64_t body_bytes;
	/* Numbers of the request's keyword names in its folder, UINT32_MAX where not looked up yet */
	uint32_t *keyword_map;
	/* Bodies under construction: how many this request began, ids of its parts, and those that it saved */
	unsigned int staged_begun;
	uint64_t *staged_ids;
	uint64_t *staged_saved;
	unsigned int staged_saved_count, staged_saved_alloc;
};

/* Begin with a request in a write transaction, which may have had others before: read the counters. Free also if it
   fails. */
int lms_write_begin(struct lms_write *write, const struct lms_txn *txn, const struct lms_request *request,
		    struct lms_reply *reply, struct lms_error *error_r);
/* Write what was collected. Then the transaction can go on with another request. */
int lms_write_finish(struct lms_write *write);
void lms_write_free(struct lms_write *write);

/* All return -1 with the error set. */
int lms_write_fail(struct lms_write *write, enum lms_code code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
int lms_write_fail_memory(struct lms_write *write);
int lms_write_fail_record(struct lms_write *write, const char *what);

/* The record of a folder, the same one for every call. Returns 1, 0 if there is no such folder, -1. */
int lms_write_folder(struct lms_write *write, uint64_t folder_id, struct lms_wfolder **folder_r);
/* The same, but a missing folder is an error with LMS_NOTFOUND. */
int lms_write_need_folder(struct lms_write *write, uint64_t folder_id, struct lms_wfolder **folder_r);
/* A new folder's record, with its id. NULL on error. */
struct lms_wfolder *lms_write_new_folder(struct lms_write *write);

/* Make room for one more element. Returns 0 or -1. */
int lms_write_grow(struct lms_write *write, void *arrayp, unsigned int count, unsigned int *alloc, size_t size);
/* Add a UID to the list of changes of a folder. */
int lms_write_add_range(struct lms_write *write, struct lms_range_list *list, uint32_t uid);
int lms_write_random(struct lms_write *write, void *data, size_t size);

/* Counters of a folder when a message comes or goes, or its flags change. */
void lms_wfolder_count(struct lms_wfolder *folder, const struct lms_message *message, int sign);
void lms_wfolder_count_flags(struct lms_wfolder *folder, uint8_t before, uint8_t after);

/* Delete the records whose keys begin with prefix while there is budget, of which each takes cost. Returns 1 if all
   are gone, 0 if not. */
int lms_write_delete_prefix(struct lms_write *write, enum lms_db db, const struct lms_key *prefix, uint64_t cost,
			    uint64_t *budget);

/* lms-change.c */
int lms_change_write(struct lms_write *write, struct lms_wfolder *folder);

/* lms-keyword.c: number of a keyword of the folder, which gets one if it has none. */
int lms_keyword_number(struct lms_write *write, struct lms_wfolder *folder, const char *name, uint32_t *number_r);
/* The same for name number index of the request's. */
int lms_keyword_map(struct lms_write *write, struct lms_wfolder *folder, const char *const *names, unsigned int count,
		    unsigned int index, uint32_t *number_r);

/* lms-body.c */
int lms_body_write(struct lms_write *write, uint64_t body_id, const void *ready, size_t ready_size, const void *data,
		   size_t size);
/* Bodies under construction: add data from offset, where a chunk must begin, and say what is kept ready. */
int lms_body_add(struct lms_write *write, uint64_t body_id, uint64_t offset, const void *data, size_t size);
int lms_body_set_ready(struct lms_write *write, uint64_t body_id, const void *ready, size_t ready_size);
/* One message more and one less. The last one queues the body as garbage. LMS_NOTFOUND if it waits there already. */
int lms_body_ref(struct lms_write *write, uint64_t body_id);
int lms_body_unref(struct lms_write *write, uint64_t body_id);
/* One less, and the last one deletes it at once. Returns 1 if done, 0 if the budget is used up (and nothing counted),
   -1. */
int lms_body_drop(struct lms_write *write, uint64_t body_id, uint64_t *budget);
/* Delete chunks while there is budget. Returns 1 if all are gone, 0 if not, -1. */
int lms_body_delete(struct lms_write *write, uint64_t body_id, uint64_t *budget);

/* lms-garbage.c */
int lms_garbage_queue(struct lms_write *write, enum lms_garbage_kind kind, const uint64_t *ids, unsigned int count);
/* Free garbage of at least this age, with grace_secs 0 all of it. *more_r: some was left. */
int lms_garbage_collect(struct lms_write *write, unsigned int grace_secs, uint64_t *budget, bool *more_r);

/* lms-staging.c */
int lms_staging_take(struct lms_write *write, uint64_t body_id, uint64_t *size_r);
/* Free bodies under construction whose makers are gone. */
int lms_staging_collect(struct lms_write *write, uint64_t *budget, bool *more_r);
/* After the commit, or after the request failed: let go of locks. */
void lms_staging_done(struct lms_write *write, bool committed);

/* Operations */
int lms_op_folder_create(struct lms_write *write);
int lms_op_folder_update(struct lms_write *write);
int lms_op_folder_delete(struct lms_write *write);
int lms_op_node_delete(struct lms_write *write);
int lms_op_node_rename(struct lms_write *write);
int lms_op_save(struct lms_write *write);
int lms_op_sync(struct lms_write *write);
int lms_op_stage(struct lms_write *write);
int lms_op_subscribe(struct lms_write *write);
int lms_op_attributes(struct lms_write *write);
int lms_op_collect(struct lms_write *write);
int lms_op_copy_mark(struct lms_write *write);

#endif
