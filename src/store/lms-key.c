/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-key.h"
#include "lms-buffer.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <string.h>

#define HASH_SIZE 16

enum {
	STRING_WHOLE = 0,
	STRING_HASHED = 1
};

enum {
	ATTRIBUTE_SHARED = 0,
	ATTRIBUTE_PRIVATE = 1
};

static void add(struct lms_key *key, const void *data, size_t size)
{
	memcpy(key->data + key->size, data, size);
	key->size += size;
}

static void add_u8(struct lms_key *key, uint8_t value)
{
	key->data[key->size++] = value;
}

static void add_u64(struct lms_key *key, uint64_t value)
{
	lms_put_be64(key->data + key->size, value);
	key->size += 8;
}

static void add_u32(struct lms_key *key, uint32_t value)
{
	lms_put_be32(key->data + key->size, value);
	key->size += 4;
}

static void add_hash(struct lms_key *key, const void *data, size_t size)
{
	XXH128_hash_t hash = XXH3_128bits(data, size);

	add_u64(key, hash.high64);
	add_u64(key, hash.low64);
}

static void add_string(struct lms_key *key, const char *string, size_t size)
{
	if (lms_key_string_fits(key->size, size)) {
		add_u8(key, STRING_WHOLE);
		add(key, string, size);
	} else {
		add_u8(key, STRING_HASHED);
		add_hash(key, string, size);
	}
}

void lms_key_meta(struct lms_key *key)
{
	key->size = 0;
	add(key, "\0meta", 5);
}

void lms_key_id(struct lms_key *key, uint64_t id)
{
	key->size = 0;
	add_u64(key, id);
}

void lms_key_slot(struct lms_key *key, uint8_t slot)
{
	key->size = 0;
	add_u8(key, slot);
}

void lms_key_id_number(struct lms_key *key, uint64_t id, uint32_t number)
{
	lms_key_id(key, id);
	add_u32(key, number);
}

void lms_key_change(struct lms_key *key, uint64_t folder_id, uint64_t change, uint32_t part)
{
	lms_key_id(key, folder_id);
	add_u64(key, change);
	add_u32(key, part);
}

void lms_key_garbage(struct lms_key *key, uint64_t time, uint64_t serial)
{
	lms_key_id(key, time);
	add_u64(key, serial);
}

void lms_key_name(struct lms_key *key, uint64_t parent_id, const char *name, size_t size)
{
	lms_key_id(key, parent_id);
	add_string(key, name, size);
}

void lms_key_subscribed(struct lms_key *key, const char *name, size_t size)
{
	key->size = 0;
	add_string(key, name, size);
}

void lms_key_attribute_prefix(struct lms_key *key, uint64_t folder_id, const char *user, const char *prefix,
			      size_t size)
{
	lms_key_id(key, folder_id);
	if (user == NULL) {
		add_u8(key, ATTRIBUTE_SHARED);
	} else {
		add_u8(key, ATTRIBUTE_PRIVATE);
		add_hash(key, user, strlen(user));
	}
	add(key, prefix, size < LMS_KEY_ATTRIBUTE_MAX ? size : LMS_KEY_ATTRIBUTE_MAX);
}

void lms_key_attribute(struct lms_key *key, uint64_t folder_id, const char *user, const char *name, size_t size)
{
	lms_key_attribute_prefix(key, folder_id, user, name, size);
	if (size > LMS_KEY_ATTRIBUTE_MAX)
		add_hash(key, name, size);
}

bool lms_key_string_fits(size_t before, size_t size)
{
	return size <= LMS_KEY_STRING_MAX(before);
}

const char *lms_key_get_string(const void *key, size_t key_size, size_t before, size_t *size_r)
{
	const uint8_t *data = key;

	if (key_size <= before || data[before] != STRING_WHOLE)
		return NULL;
	*size_r = key_size - before - 1;
	return (const char *)data + before + 1;
}

uint64_t lms_key_get_id(const void *key)
{
	return lms_get_be64(key);
}

uint32_t lms_key_get_number(const void *key)
{
	return lms_get_be32((const uint8_t *)key + 8);
}

bool lms_key_has_prefix(const void *key, size_t key_size, const struct lms_key *prefix)
{
	return key_size >= prefix->size && memcmp(key, prefix->data, prefix->size) == 0;
}
