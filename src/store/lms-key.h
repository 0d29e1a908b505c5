/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMS_KEY_H
#define LMS_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Keys: ids and UIDs are big-endian, so that they sort. A string at the end of a key is either there as it is, after
 * a 0 byte, or, where it wouldn't fit, as its 128-bit XXH3 hash after a 1 byte; the full text then is in the value.
 * LMDB's limit is 511 bytes.
 */
#define LMS_KEY_MAX 511

struct lms_key {
	size_t size;
	uint8_t data[LMS_KEY_MAX + 1];
};

/* Longest string that a key of this many bytes before it can hold */
#define LMS_KEY_STRING_MAX(before) (LMS_KEY_MAX - 1 - (before))

/* The one record of the unnamed database. The NUL hides it from LMDB's tools, which take the others for names. */
void lms_key_meta(struct lms_key *key);
/* An id alone: nodes, folders, bodyrefs, staging; a folder's or body's first key in the databases below. */
void lms_key_id(struct lms_key *key, uint64_t id);
/* applied: the number of a slot */
void lms_key_slot(struct lms_key *key, uint8_t slot);
/* keywords (folder, number), messages (folder, UID), bodies (body, chunk) */
void lms_key_id_number(struct lms_key *key, uint64_t id, uint32_t number);
/* changes: folder, counter, part; garbage: time, serial number */
void lms_key_change(struct lms_key *key, uint64_t folder_id, uint64_t change, uint32_t part);
void lms_key_garbage(struct lms_key *key, uint64_t time, uint64_t serial);
void lms_key_name(struct lms_key *key, uint64_t parent_id, const char *name, size_t size);
void lms_key_subscribed(struct lms_key *key, const char *name, size_t size);

/*
 * attributes: folder id, then 0 (shared) or 1 (private, followed by the user's hash), then at most
 * LMS_KEY_ATTRIBUTE_MAX bytes of the attribute's key, and if there are more, the hash of all of it.
 */
#define LMS_KEY_ATTRIBUTE_MAX 460
void lms_key_attribute(struct lms_key *key, uint64_t folder_id, const char *user, const char *name, size_t size);
/* Where keys beginning with prefix begin: also the part of the database key that all of them have. */
void lms_key_attribute_prefix(struct lms_key *key, uint64_t folder_id, const char *user, const char *prefix,
			      size_t size);

/* Is the string in the key itself? The key has this many bytes before it. */
bool lms_key_string_fits(size_t before, size_t size);
/* The string in a database key after the given number of bytes, or NULL if only its hash is there. */
const char *lms_key_get_string(const void *key, size_t key_size, size_t before, size_t *size_r);

uint64_t lms_key_get_id(const void *key);
uint32_t lms_key_get_number(const void *key);
bool lms_key_has_prefix(const void *key, size_t key_size, const struct lms_key *prefix);

#endif
