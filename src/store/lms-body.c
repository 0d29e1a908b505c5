/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-chunk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * Bodies: chunks (lms-chunk.h) that never change, numbered from 0. Chunk 0 is the start: what the caller keeps ready
 * (lms_save_message.ready), preceded by its size as a varint, and the first bytes of the body: the message's header,
 * or all of a small message. So what is needed to list messages is close together, apart from the rest. That
 * is in chunks of LMS_CHUNK_MAX bytes, so that the chunk of an offset can be calculated.
 *
 * bodyrefs has the number of messages of a body only if it isn't 1: so a delivery doesn't touch it. With 0 the body
 * waits in garbage.
 */

/* A body of at most this many bytes is all start. */
#define START_WHOLE 4096
/* The start's share of its chunk */
#define START_MAX (48 * 1024)
/* Bytes after the header that belong to the start: who reads the header looks ahead, and must not get a chunk for that. */
#define START_AHEAD 64

_Static_assert(START_MAX + LMS_READY_MAX + 3 <= LMS_CHUNK_MAX, "a start must fit in a chunk");

size_t lms_body_start_size(const void *data, size_t size)
{
	size_t limit = size < START_MAX ? size : START_MAX;
	const char *begin = data, *end = begin + limit, *p = begin;

	if (size <= START_WHOLE)
		return size;
	/* To the first empty line */
	while ((p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
		p++;
		if ((p < end && *p == '\n') || (end - p >= 2 && p[0] == '\r' && p[1] == '\n'))
			return end - p < START_AHEAD ? limit : (size_t)(p - begin) + START_AHEAD;
	}
	return limit;
}

static int put_start(struct lms_write *write, uint64_t body_id, const void *ready, size_t ready_size,
		     const void *data, size_t size)
{
	struct lms_buffer buf;
	int ret;

	lms_buffer_init(&buf);
	lms_buffer_add_varint(&buf, ready_size);
	lms_buffer_add(&buf, ready, ready_size);
	lms_buffer_add(&buf, data, size);
	if (buf.failed)
		ret = lms_write_fail_memory(write);
	else
		ret = lms_chunk_put(write, body_id, 0, buf.data, buf.size);
	lms_buffer_free(&buf);
	return ret;
}

static int put_rest(struct lms_write *write, uint64_t body_id, uint64_t chunk, const void *data, size_t size)
{
	const uint8_t *bytes = data;
	size_t part;

	for (; size > 0; chunk++, bytes += part, size -= part) {
		part = size < LMS_CHUNK_MAX ? size : LMS_CHUNK_MAX;
		if (chunk > LMS_CHUNK_LAST)
			return lms_write_fail(write, LMS_INVALID, "Message is too large");
		if (lms_chunk_put(write, body_id, (uint32_t)chunk, bytes, part) < 0)
			return -1;
	}
	return 0;
}

int lms_body_write(struct lms_write *write, uint64_t body_id, const void *ready, size_t ready_size, const void *data,
		   size_t size)
{
	size_t start = lms_body_start_size(data, size);

	if (ready_size > LMS_READY_MAX)
		return lms_write_fail(write, LMS_INVALID, "%zu bytes are too many to be kept ready", ready_size);
	if (put_start(write, body_id, ready, ready_size, data, start) < 0)
		return -1;
	return put_rest(write, body_id, 1, (const uint8_t *)data + start, size - start);
}

static int decode_start(const struct lms_txn *txn, const uint8_t *buffer, size_t size, struct lms_body_start *start_r)
{
	struct lms_reader reader;

	lms_reader_init(&reader, buffer, size);
	start_r->ready_size = lms_reader_varint(&reader);
	start_r->ready = lms_reader_bytes(&reader, start_r->ready_size);
	start_r->size = lms_reader_left(&reader);
	start_r->data = reader.pos;
	return reader.failed ? lms_fail_record(txn->error, txn->env, "body") : 1;
}

int lms_body_get(struct lms_txn *txn, uint64_t body_id, uint32_t chunk, struct lms_body_start *start_r)
{
	struct lms_env *env = txn->env;
	size_t size = LMS_CHUNK_MAX;
	int ret;

	if (env->start_buffer == NULL)
		env->start_buffer = malloc(LMS_CHUNK_MAX);
	if (env->start_buffer == NULL)
		return lms_fail_mdb(txn->error, env, ENOMEM, "body");
	ret = lms_chunk_get(txn, body_id, chunk, env->start_buffer, &size);
	if (ret > 0 && chunk == 0)
		return decode_start(txn, env->start_buffer, size, start_r);
	memset(start_r, 0, sizeof(*start_r));
	start_r->data = env->start_buffer;
	start_r->size = size;
	return ret;
}

/* The start of a body that must be there. */
static int need_start(struct lms_write *write, uint64_t body_id, struct lms_body_start *start_r)
{
	int ret = lms_body_get(&write->txn, body_id, 0, start_r);

	return ret == 0 ? lms_write_fail_record(write, "body") : ret < 0 ? -1 : 0;
}

int lms_body_add(struct lms_write *write, uint64_t body_id, uint64_t offset, const void *data, size_t size)
{
	struct lms_body_start start;

	if (need_start(write, body_id, &start) < 0)
		return -1;
	if (offset < start.size || (offset - start.size) % LMS_CHUNK_MAX != 0)
		return lms_write_fail(write, LMS_INVALID, "Data can be added only to a body of whole chunks");
	return put_rest(write, body_id, 1 + (offset - start.size) / LMS_CHUNK_MAX, data, size);
}

int lms_body_set_ready(struct lms_write *write, uint64_t body_id, const void *ready, size_t ready_size)
{
	struct lms_body_start start;

	if (ready_size > LMS_READY_MAX)
		return lms_write_fail(write, LMS_INVALID, "%zu bytes are too many to be kept ready", ready_size);
	if (need_start(write, body_id, &start) < 0 || lms_chunk_del(write, body_id, 0) < 0)
		return -1;
	return put_start(write, body_id, ready, ready_size, start.data, start.size);
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
		cost = lms_piece_bytes(size);
		*budget -= *budget < cost ? *budget : cost;
		ret = lms_cursor_del(&cursor);
		if (ret < 0)
			break;
	}
	lms_cursor_close(&cursor);
	return ret;
}

int lms_body_start(struct lms_env *env, uint64_t body_id, struct lms_body_start *start_r, struct lms_error *error_r)
{
	struct lms_txn txn;
	int ret;

	if (lms_txn_read(&txn, env, error_r) < 0)
		return -1;
	ret = lms_body_get(&txn, body_id, 0, start_r);
	lms_txn_read_end(&txn);
	return ret;
}

int lms_body_read(struct lms_env *env, uint64_t body_id, uint32_t chunk, void *buffer, size_t *size,
		  struct lms_error *error_r)
{
	struct lms_txn txn;
	int ret;

	if (lms_txn_read(&txn, env, error_r) < 0)
		return -1;
	ret = lms_chunk_get(&txn, body_id, chunk, buffer, size);
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
