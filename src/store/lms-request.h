/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMS_REQUEST_H
#define LMS_REQUEST_H

#include "lms-folder.h"
#include "lms-message.h"

/*
 * Every change to the store is a request: a closed description without callbacks, prepared before any lock is taken,
 * carried out whole or not at all by lms_submit() in a write transaction under the store's leader lock. The transaction
 * may be shared with requests of other processes (lms-share.h), which no caller notices. What depends on the store's
 * state (does the folder exist, which UID is next) is decided inside.
 *
 * Lock order: a view's index lock, the leader lock, LMDB's writer lock.
 */

enum lms_op {
	LMS_OP_FOLDER_CREATE,
	LMS_OP_FOLDER_UPDATE,
	LMS_OP_FOLDER_DELETE,
	LMS_OP_NODE_DELETE,
	LMS_OP_NODE_RENAME,
	LMS_OP_SAVE,
	LMS_OP_SYNC,
	LMS_OP_STAGE,
	LMS_OP_SUBSCRIBE,
	LMS_OP_ATTRIBUTES,
	LMS_OP_COLLECT,
	LMS_OP_COPY_MARK
};

/* Values that are not to be changed are 0 (guid: all 0). */
struct lms_folder_values {
	uint8_t guid[LMS_GUID_SIZE];
	uint32_t uidvalidity;
	/* Only ever raised. */
	uint32_t min_uidnext, min_first_recent_uid;
	uint64_t min_modseq_floor;
	/* Give the folder a new epoch and, unless uidvalidity says which, a new UIDVALIDITY: its views are ahead of it,
	   so the store was restored from an older copy. */
	bool new_epoch;
};

/* Make a folder at path; missing parents become nodes without folder. With selectable unset only the node.
   LMS_EXISTS if there is a folder (or, with selectable unset, a node) already.
   Reply: node, folder. */
struct lms_folder_create {
	const char *const *path;
	bool selectable;
	struct lms_folder_values values;
};

/* LMS_NOTFOUND if there is no such folder. Reply: folder. */
struct lms_folder_update {
	uint64_t folder_id;
	struct lms_folder_values values;
};

/* Take the folder from its node and delete the node too if it has no children (and parents without folder and
   children that only existed for it stay). Messages, keywords, changes and attributes of the folder become garbage.
   LMS_NOTFOUND if there is no such folder; LMS_EXISTS with must_be_empty set and messages in it. */
struct lms_folder_delete {
	uint64_t folder_id;
	bool must_be_empty;
};

/* Delete a node without folder. LMS_NOTFOUND if it isn't there, LMS_EXISTS if it has a folder or children. */
struct lms_node_delete {
	const char *const *path;
};

/*
 * Rename the node at path, its folder and all below it. Missing parents of the new path are made.
 * A node without folder and without children at the new path is replaced.
 * With folder_only, only the folder moves and node and children stay (RENAME of INBOX, RFC 3501 6.3.5).
 * LMS_NOTFOUND: no such node. LMS_EXISTS: new path is taken. LMS_INVALID: new path is below the old one.
 * A rename onto itself succeeds without change. Reply: node.
 */
struct lms_node_rename {
	const char *const *path, *const *new_path;
	bool folder_only;
};

enum lms_save_source {
	/* data and size hold the whole body, ready what is kept ready with it (struct lms_body_start). */
	LMS_SAVE_DATA,
	/* The body was staged as body_id. */
	LMS_SAVE_STAGED,
	/* Share the body of another message. */
	LMS_SAVE_COPY,
	/* The same, and the other message goes in the same transaction. */
	LMS_SAVE_MOVE
};

struct lms_save_message {
	enum lms_save_source source;
	const void *data, *ready;
	size_t size, ready_size;
	uint64_t body_id;
	uint64_t source_folder_id;
	uint32_t source_uid;

	/* 0, or the UID that the message should get; it gets the next one if this one is below UIDNEXT. */
	uint32_t uid;
	uint8_t flags;
	/* Indexes into lms_save.keyword_names. */
	const uint16_t *keywords;
	unsigned int keyword_count;
	/* COPY and MOVE: INT64_MIN takes the source's received; saved is always given. */
	int64_t received, saved;
	/* Ignored with COPY and MOVE, as are NULL and 0 in the next three, which then are the source's. */
	uint64_t physical_size, virtual_size;
	const char *guid;	/* NULL: make one */
	const char *pop3_uidl;	/* NULL: none */
	uint32_t pop3_order;	/* 0: none */
	uint64_t min_modseq;
};

/*
 * Add messages to a folder, all or none. LMS_NOTFOUND if the folder, or the source message or its body, isn't there.
 * COPY and MOVE from and to the same folder are possible; a moved message of the same folder gets a new UID.
 * Raises the folder's modseq_floor by the number of messages unless it is 0.
 * Reply: folder (after), change_before, uids (array given by the caller, one for each message), guids are in the
 * records.
 */
struct lms_save {
	uint64_t folder_id;
	const char *const *keyword_names;
	unsigned int keyword_name_count;
	const struct lms_save_message *messages;
	unsigned int message_count;
	uint32_t *uids_r;
};

struct lms_flag_change {
	uint32_t uid1, uid2;
	uint8_t add, remove;
};

struct lms_keyword_change {
	uint32_t uid1, uid2;
	/* Index into lms_sync.keyword_names */
	uint16_t keyword;
	bool add;
};

struct lms_uid_range {
	uint32_t uid1, uid2;
};

/*
 * Write what a view collected: flag changes (remove first, then add; in order), then keyword changes (in order; all of
 * keyword_names are made known to the folder then, in their order), then expunges. UIDs without message are no error.
 * The caller keeps expunges within a few thousand messages a request.
 * A raise of floor or first_recent_uid alone doesn't count as a change of the folder, and with other changes in the
 * request it is left out if those turn out to be done already.
 * LMS_NOTFOUND if there is no such folder.
 * Reply: folder (after), change_before.
 */
struct lms_sync {
	uint64_t folder_id;
	const char *const *keyword_names;
	unsigned int keyword_name_count;
	const struct lms_flag_change *flags;
	unsigned int flag_count;
	const struct lms_keyword_change *keywords;
	unsigned int keyword_count;
	const struct lms_uid_range *expunges;
	unsigned int expunge_count;
	/* Only ever raised; 0: leave. */
	uint32_t first_recent_uid;
	uint64_t modseq_floor;
};

/*
 * Add data to bodies under construction: the way to save what doesn't fit in memory in bounded transactions. A body
 * stays this process's (by a lock that the kernel releases at its death) until it is saved with LMS_SAVE_STAGED or
 * given up with lms_stage_abort(); after that, or without its owner, it is garbage.
 */
struct lms_stage_part {
	/* In: 0 begins a body, else the one to go on with, whose size so far must be that of whole chunks:
	   lms_body_start_size() and a multiple of LMS_CHUNK_MAX. Out: its id. */
	uint64_t *body_id;
	const void *data;
	size_t size;
	/* What is kept ready with the body, in place of what was said before if there is any. */
	const void *ready;
	size_t ready_size;
};

struct lms_stage {
	const struct lms_stage_part *parts;
	unsigned int count;
};

struct lms_subscribe {
	const char *name;
	bool subscribe;
};

struct lms_attribute_change {
	uint64_t folder_id;
	const char *user;	/* NULL: shared */
	const char *key;
	const void *value;	/* NULL: unset */
	size_t size;
	int64_t changed;
};

struct lms_attributes {
	const struct lms_attribute_change *changes;
	unsigned int count;
};

/* Free garbage that is at least grace_secs old, at most about max_bytes of it (one request is one transaction: a
   caller who wants all of it repeats until nothing is left).
   Reply: collected_bytes, more. */
struct lms_collect {
	unsigned int grace_secs;
	uint64_t max_bytes;
};

/*
 * Mark the store as a copy, as lms_env_copy() does. Or, with set unset, take it into use if it is one: the original may have
 * given its next UIDs to messages that the copy doesn't know, so all folders get a new epoch and a new UIDVALIDITY.
 * Reply: warning.
 */
struct lms_copy_mark {
	bool set;
};

struct lms_request {
	enum lms_op op;
	/* Commit without flushing: a power cut may then cost the whole store (mail_fsync=never). */
	bool no_sync;
	union {
		struct lms_folder_create folder_create;
		struct lms_folder_update folder_update;
		struct lms_folder_delete folder_delete;
		struct lms_node_delete node_delete;
		struct lms_node_rename node_rename;
		struct lms_save save;
		struct lms_sync sync;
		struct lms_stage stage;
		struct lms_subscribe subscribe;
		struct lms_attributes attributes;
		struct lms_collect collect;
		struct lms_copy_mark copy_mark;
	} u;
};

struct lms_reply {
	struct lms_node node;
	/* As it is after the request. */
	struct lms_folder folder;
	/* The folder's change counter before the request. */
	uint64_t change_before;
	uint64_t collected_bytes;
	bool more;
	/* Empty, or one line that the administrator should see (the file nears the smallest address-space limit). */
	char warning[512];
};

/*
 * Carry out a request and commit it, flushed to disk unless no_sync. Must not be called inside a read bracket.
 * Frees a bounded amount of garbage on the way. After the commit the notify file of every changed folder is touched
 * (lms-notify.h). Returns 0, or -1 with the store unchanged.
 */
int lms_submit(struct lms_env *env, const struct lms_request *request, struct lms_reply *reply_r,
	       struct lms_error *error_r);

/* Give up a body under construction. */
void lms_stage_abort(struct lms_env *env, uint64_t body_id);

#endif
