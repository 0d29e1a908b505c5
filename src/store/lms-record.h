/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMS_RECORD_H
#define LMS_RECORD_H

#include "lms-buffer.h"
#include "lms-folder.h"
#include "lms-message.h"

/*
 * Values. All of them, in all databases, begin with the same 8 bytes:
 *
 *	0	version of the record, LMS_RECORD_VERSION
 *	1-3	for the kind of record to use, else 0
 *	4-7	checksum, big-endian: the low 32 bits of XXH3-64 of what follows, seeded with XXH3-64 of the key, itself
 *		seeded with bytes 0-3 as a little-endian number
 *
 * So a value that was damaged, or that stands under another key, is noticed. Numbers are big-endian or varints
 * (lms-buffer.h). Strings are stored with a terminating NUL, so that they can be used where they are.
 */
#define LMS_RECORD_VERSION 1
#define LMS_RECORD_HEAD 4
#define LMS_RECORD_OVERHEAD 8

/* A value without its checksum. */
struct lms_value {
	uint8_t head[LMS_RECORD_HEAD];
	const uint8_t *data;
	size_t size;
};

uint32_t lms_record_checksum(const void *key, size_t key_size, const uint8_t head[LMS_RECORD_HEAD], const void *data,
			     size_t size);

/* Version of the store as a whole: raised by changes that an older version would trip over. */
#define LMS_FORMAT 1

/* The counters of the store. Ids are never used twice. */
struct lms_meta {
	uint32_t format;
	uint8_t guid[LMS_GUID_SIZE];
	uint64_t next_node_id, next_folder_id, next_body_id, next_garbage;
	uint64_t subscription_change;
	/* Smallest RLIMIT_AS of a process that wrote, 0 if none was limited. */
	uint64_t smallest_limit;
	/* Last UIDVALIDITY given to a folder. */
	uint32_t uidvalidity;
	/* It is a backup, which nobody has opened yet. */
	bool is_copy;
};
void lms_meta_encode(const struct lms_meta *meta, uint8_t head[LMS_RECORD_HEAD], struct lms_buffer *buf);
int lms_meta_decode(const struct lms_value *value, struct lms_meta *meta_r);

/* nodes: node id -> parent, folder (0: none) and name; names: (parent, component) -> node and folder, and the name if
   the key has only its hash, else NULL. */
struct lms_node_record {
	uint64_t parent_id, folder_id;
	const char *name;
	size_t name_size;
};
void lms_node_encode(const struct lms_node_record *node, uint8_t head[LMS_RECORD_HEAD], struct lms_buffer *buf);
int lms_node_decode(const struct lms_value *value, struct lms_node_record *node_r);

struct lms_name_record {
	struct lms_node node;
	const char *name;
	size_t name_size;
};
void lms_name_encode(const struct lms_name_record *name, uint8_t head[LMS_RECORD_HEAD], struct lms_buffer *buf);
int lms_name_decode(const struct lms_value *value, struct lms_name_record *name_r);

/* folder id -> everything about it; pub.folder_id is the key's. */
struct lms_folder_record {
	struct lms_folder pub;
	uint64_t node_id;
	/* Number of records in changes */
	uint32_t change_records;
};
void lms_folder_encode(const struct lms_folder_record *folder, uint8_t head[LMS_RECORD_HEAD], struct lms_buffer *buf);
int lms_folder_decode(const struct lms_value *value, struct lms_folder_record *folder_r);

/* (folder id, UID) -> message; uid is the key's. Pointers of the decoded message point into the value, but for a GUID
   of 32 hex digits, which goes to guid_buffer. */
void lms_message_encode(const struct lms_message *message, uint8_t head[LMS_RECORD_HEAD], struct lms_buffer *buf);
int lms_message_decode(const struct lms_value *value, uint32_t uid, char guid_buffer[LMS_GUID_SIZE * 2 + 1],
		       struct lms_message *message_r);
/* The flags are in the head: changing them leaves the rest as it is. */
static inline uint8_t lms_message_head_flags(const uint8_t head[LMS_RECORD_HEAD])
{
	return head[1];
}
static inline void lms_message_head_set_flags(uint8_t head[LMS_RECORD_HEAD], uint8_t flags)
{
	head[1] = flags;
}

/* Keyword names, subscriptions: a string. */
void lms_string_encode(const char *string, size_t size, uint8_t head[LMS_RECORD_HEAD], struct lms_buffer *buf);
/* Returns NULL if it isn't one. */
const char *lms_string_decode(const struct lms_value *value);

/* bodyrefs: body id -> number of messages, stored only if it isn't 1; staging: body id -> bytes so far. */
void lms_number_encode(uint64_t number, uint8_t head[LMS_RECORD_HEAD], struct lms_buffer *buf);
int lms_number_decode(const struct lms_value *value, uint64_t *number_r);

/* changes: ranges of one kind after another, each as the distance from the end of the one before (from 0 at the
   beginning of each kind) and the number of UIDs after its first one. */
struct lms_change_range {
	enum lms_change_kind kind;
	uint32_t uid1, uid2;
};
/* Encode ranges until the value has about LMS_CHANGE_SIZE bytes. Returns how many it took. */
#define LMS_CHANGE_SIZE 1900
unsigned int lms_change_encode(const struct lms_change_range *ranges, unsigned int count,
			       uint8_t head[LMS_RECORD_HEAD], struct lms_buffer *buf);
/* Returns 1 and the next range, 0 at the end, -1 if there is none and should be one. */
struct lms_change_reader {
	struct lms_reader reader;
	enum lms_change_kind kind;
	uint64_t left;
	uint32_t last;
};
void lms_change_reader_init(struct lms_change_reader *reader, const struct lms_value *value);
int lms_change_read(struct lms_change_reader *reader, struct lms_change_range *range_r);

/* garbage: (time, serial number) -> body ids, or one folder id */
enum lms_garbage_kind {
	LMS_GARBAGE_BODIES = 1,
	LMS_GARBAGE_FOLDER = 2
};
#define LMS_GARBAGE_SIZE 1900
/* Encode ids until the value has about LMS_GARBAGE_SIZE bytes. Returns how many it took. */
unsigned int lms_garbage_encode(enum lms_garbage_kind kind, const uint64_t *ids, unsigned int count,
				uint8_t head[LMS_RECORD_HEAD], struct lms_buffer *buf);
/* Decode into a malloc()ed array. Returns 0 or -1. */
int lms_garbage_decode(const struct lms_value *value, enum lms_garbage_kind *kind_r, uint64_t **ids_r,
		       unsigned int *count_r);

/* attributes: user and key in full, as the database key may have only hashes. */
struct lms_attribute_record {
	int64_t changed;
	const char *user;	/* NULL: shared */
	const char *key;
	const uint8_t *value;
	size_t size;
};
void lms_attribute_encode(const struct lms_attribute_record *attribute, uint8_t head[LMS_RECORD_HEAD],
			  struct lms_buffer *buf);
int lms_attribute_decode(const struct lms_value *value, struct lms_attribute_record *attribute_r);

#endif
