/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-write.h"

#include <string.h>

/*
 * Bodies: (body id, chunk number) -> bytes, at most LMS_CHUNK_MAX of them, so that a full chunk with its overhead
 * and LMDB's page header fills 16 pages. They never change. An empty body has one empty chunk.
 *
 * bodyrefs has the number of messages of a body only if it isn't 1: so a delivery doesn't touch it. With 0 the body
 * waits in garbage.
 */

#define PAGE_SIZE 4096
#define PAGE_HEADER 16

static uint64_t chunk_pages_bytes(size_t value_size)
{
	return (value_size + PAGE_HEADER + PAGE_SIZE - 1) / PAGE_SIZE * PAGE_SIZE;
}

int lms_body_write(struct lms_write *write, uint64_t body_id, uint64_t offset, const void *data, size_t size)
{
	static const uint8_t head[LMS_RECORD_HEAD] = { LMS_RECORD_VERSION, 0, 0, 0 };
	const uint8_t *bytes = data;
	uint64_t chunk = offset / LMS_CHUNK_MAX;
	struct lms_key key;
	size_t part;

	do {
		part = size < LMS_CHUNK_MAX ? size : LMS_CHUNK_MAX;
		if (chunk > UINT32_MAX)
			return lms_write_fail(write, LMS_INVALID, "Message is too large");
		lms_key_id_number(&key, body_id, (uint32_t)chunk);
		if (lms_put(&write->txn, LMS_DB_BODIES, &key, head, bytes, part) < 0)
			return -1;
		write->body_bytes += chunk_pages_bytes(part + LMS_RECORD_OVERHEAD);
		chunk++;
		bytes += part;
		size -= part;
	} while (size > 0);
	return 0;
}

/* Returns the number of messages, also where there is no record of it. -1 on error. */
static int get_refs(struct lms_txn *txn, uint64_t body_id, uint64_t *refs_r)
{
	struct lms_value value;
	struct lms_key key;
	int ret;

	lms_key_id(&key, body_id);
	ret = lms_get(txn, LMS_DB_BODYREFS, &key, &value);
	*refs_r = 1;
	if (ret > 0 && lms_number_decode(&value, refs_r) < 0)
		return lms_fail_record(txn->error, txn->env, "bodyrefs");
	return ret < 0 ? -1 : 0;
}

static int set_refs(struct lms_write *write, uint64_t body_id, uint64_t refs)
{
	uint8_t head[LMS_RECORD_HEAD];
	struct lms_buffer buf;
	struct lms_key key;
	int ret;

	lms_key_id(&key, body_id);
	if (refs == 1)
		return lms_del(&write->txn, LMS_DB_BODYREFS, &key) < 0 ? -1 : 0;
	lms_buffer_init(&buf);
	lms_number_encode(refs, head, &buf);
	ret = lms_put_buffer(&write->txn, LMS_DB_BODYREFS, &key, head, &buf);
	lms_buffer_free(&buf);
	return ret;
}

int lms_body_ref(struct lms_write *write, uint64_t body_id)
{
	uint64_t refs;

	if (get_refs(&write->txn, body_id, &refs) < 0)
		return -1;
	if (refs == 0) {
		return lms_write_fail(write, LMS_NOTFOUND, "Body %llx is already deleted",
				      (unsigned long long)body_id);
	}
	return set_refs(write, body_id, refs + 1);
}

int lms_body_unref(struct lms_write *write, uint64_t body_id)
{
	uint64_t refs;

	if (get_refs(&write->txn, body_id, &refs) < 0)
		return -1;
	if (refs == 0)
		return lms_write_fail_record(write, "bodyrefs");
	if (set_refs(write, body_id, refs - 1) < 0)
		return -1;
	if (refs > 1)
		return 0;
	if (lms_write_grow(write, &write->garbage, write->garbage_count, &write->garbage_alloc,
			   sizeof(*write->garbage)) < 0)
		return -1;
	write->garbage[write->garbage_count++] = body_id;
	return 0;
}

int lms_body_drop(struct lms_write *write, uint64_t body_id, uint64_t *budget)
{
	uint64_t refs;
	int ret;

	if (get_refs(&write->txn, body_id, &refs) < 0)
		return -1;
	if (refs > 1)
		return set_refs(write, body_id, refs - 1) < 0 ? -1 : 1;
	ret = lms_body_delete(write, body_id, budget);
	if (ret > 0 && refs == 0 && set_refs(write, body_id, 1) < 0)
		return -1;
	return ret;
}

int lms_body_delete(struct lms_write *write, uint64_t body_id, uint64_t *budget)
{
	struct lms_cursor cursor;
	struct lms_key prefix;
	uint64_t cost;
	size_t size;
	int ret;

	lms_key_id(&prefix, body_id);
	if (lms_cursor_open(&cursor, &write->txn, LMS_DB_BODIES) < 0)
		return -1;
	for (;;) {
		ret = lms_cursor_seek_unread(&cursor, &prefix, &size);
		if (ret < 0)
			break;
		if (ret == 0 || !lms_key_has_prefix(cursor.key, cursor.key_size, &prefix)) {
			ret = 1;
			break;
		}
		if (*budget == 0) {
			ret = 0;
			break;
		}
		cost = chunk_pages_bytes(size);
		*budget -= *budget < cost ? *budget : cost;
		ret = lms_cursor_del(&cursor);
		if (ret < 0)
			break;
	}
	lms_cursor_close(&cursor);
	return ret;
}

int lms_body_read(struct lms_env *env, uint64_t body_id, uint32_t chunk, void *buffer, size_t *size,
		  struct lms_error *error_r)
{
	struct lms_value value;
	struct lms_key key;
	struct lms_txn txn;
	int ret;

	if (lms_txn_read(&txn, env, error_r) < 0)
		return -1;
	lms_key_id_number(&key, body_id, chunk);
	ret = lms_get(&txn, LMS_DB_BODIES, &key, &value);
	if (ret > 0 && value.size > *size)
		ret = lms_fail_record(error_r, env, "body");
	if (ret > 0) {
		memcpy(buffer, value.data, value.size);
		*size = value.size;
	}
	lms_txn_read_end(&txn);
	return ret;
}

int lms_body_refcount(struct lms_env *env, uint64_t body_id, uint64_t *refcount_r, struct lms_error *error_r)
{
	struct lms_value value;
	struct lms_key key;
	struct lms_txn txn;
	int ret;

	*refcount_r = 0;
	if (lms_txn_read(&txn, env, error_r) < 0)
		return -1;
	lms_key_id_number(&key, body_id, 0);
	ret = lms_get(&txn, LMS_DB_BODIES, &key, &value);
	if (ret > 0) {
		lms_key_id(&key, body_id);
		ret = lms_get(&txn, LMS_DB_STAGING, &key, &value);
		/* Under construction: no message yet */
		if (ret > 0)
			*refcount_r = 0;
		else if (ret == 0)
			ret = get_refs(&txn, body_id, refcount_r) < 0 ? -1 : 1;
	}
	lms_txn_read_end(&txn);
	return ret;
}
