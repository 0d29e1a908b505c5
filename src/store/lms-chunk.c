/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-chunk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <lz4.h>

#define PAGE_SIZE 4096
#define PAGE_HEADER 16
/* The most bytes that a piece in a page shared with others can have: two of them fill a page. */
#define INLINE_MAX (2018 - LMS_RECORD_OVERHEAD)
/* A rest of more than this isn't worth two such pieces: it gets a page of its own. */
#define SHARED_MAX 3200

/* Bytes of a piece that fills this many pages of its own */
static size_t pages_capacity(size_t pages)
{
	return pages * PAGE_SIZE - PAGE_HEADER - LMS_RECORD_OVERHEAD;
}

static size_t pages_of(size_t size)
{
	return (size + LMS_RECORD_OVERHEAD + PAGE_HEADER + PAGE_SIZE - 1) / PAGE_SIZE;
}

uint64_t lms_piece_bytes(size_t value_size)
{
	if (value_size <= INLINE_MAX + LMS_RECORD_OVERHEAD)
		return value_size;
	return pages_of(value_size - LMS_RECORD_OVERHEAD) * PAGE_SIZE;
}

/* Cut size bytes into pieces. Returns their number. */
static unsigned int cut(size_t size, size_t sizes_r[LMS_PIECES_MAX])
{
	size_t pages = pages_of(size), whole, rest;
	unsigned int count = 0;

	whole = pages > 1 && size < pages_capacity(pages) ? pages_capacity(pages - 1) : 0;
	rest = size - whole;
	if (rest > SHARED_MAX || size == pages_capacity(pages)) {
		sizes_r[0] = size;
		return 1;
	}
	if (whole > 0)
		sizes_r[count++] = whole;
	if (rest > INLINE_MAX) {
		sizes_r[count++] = rest - rest / 2;
		rest /= 2;
	}
	sizes_r[count++] = rest;
	return count;
}

static int put_pieces(struct lms_write *write, uint64_t body_id, uint32_t chunk, uint8_t flags, const uint8_t *bytes,
		      size_t size)
{
	uint8_t head[LMS_RECORD_HEAD] = { LMS_RECORD_VERSION, flags, 0, 0 };
	size_t sizes[LMS_PIECES_MAX];
	unsigned int i, count = cut(size, sizes);
	struct lms_key key;

	head[2] = (uint8_t)(count - 1);
	for (i = 0; i < count; i++) {
		lms_key_piece(&key, body_id, chunk, i);
		if (lms_put_last(&write->txn, LMS_DB_BODIES, &key, head, bytes, sizes[i]) < 0)
			return -1;
		write->body_bytes += lms_piece_bytes(sizes[i] + LMS_RECORD_OVERHEAD);
		bytes += sizes[i];
		head[1] = head[2] = 0;
	}
	return 0;
}

int lms_chunk_put(struct lms_write *write, uint64_t body_id, uint32_t chunk, const void *data, size_t size)
{
	/* Less than an eighth isn't worth the work of each reader. */
	size_t room = size - size / 8;
	int packed_size = 0, ret;
	char *packed = NULL;

	if ((write->env->set.flags & LMS_ENV_UNCOMPRESSED) == 0 && room < size) {
		packed = malloc(room);
		if (packed == NULL)
			return lms_write_fail_memory(write);
		packed_size = LZ4_compress_default(data, packed, (int)size, (int)room);
	}
	if (packed_size > 0)
		ret = put_pieces(write, body_id, chunk, LMS_CHUNK_LZ4, (const uint8_t *)packed, (size_t)packed_size);
	else
		ret = put_pieces(write, body_id, chunk, 0, data, size);
	free(packed);
	return ret;
}

int lms_chunk_del(struct lms_write *write, uint64_t body_id, uint32_t chunk)
{
	struct lms_key key;
	unsigned int i;
	int ret = 1;

	for (i = 0; i < LMS_PIECES_MAX && ret > 0; i++) {
		lms_key_piece(&key, body_id, chunk, i);
		ret = lms_del(&write->txn, LMS_DB_BODIES, &key);
	}
	return ret < 0 ? -1 : i > 1 || ret > 0 ? 1 : 0;
}

static int fail_chunk(struct lms_txn *txn)
{
	return lms_fail_record(txn->error, txn->env, "body");
}

static int unpack(struct lms_txn *txn, uint8_t flags, const uint8_t *bytes, size_t bytes_size, void *buffer,
		  size_t *size)
{
	int ret;

	if ((flags & LMS_CHUNK_LZ4) == 0) {
		if (bytes_size > *size)
			return fail_chunk(txn);
		memcpy(buffer, bytes, bytes_size);
		*size = bytes_size;
		return 1;
	}
	ret = LZ4_decompress_safe((const char *)bytes, buffer, (int)bytes_size, (int)*size);
	if (ret < 0)
		return fail_chunk(txn);
	*size = (size_t)ret;
	return 1;
}

/* Put the pieces together. The first one was read already. */
static int join(struct lms_txn *txn, uint64_t body_id, uint32_t chunk, const struct lms_value *first, uint8_t *buffer,
		size_t *size)
{
	size_t room = *size;
	struct lms_value value = *first;
	struct lms_key key;
	unsigned int i = 0;
	int ret;

	*size = 0;
	for (;;) {
		if (value.size > room - *size)
			return fail_chunk(txn);
		memcpy(buffer + *size, value.data, value.size);
		*size += value.size;
		if (++i > first->head[2])
			return 1;
		lms_key_piece(&key, body_id, chunk, i);
		ret = lms_get(txn, LMS_DB_BODIES, &key, &value);
		if (ret <= 0)
			return ret < 0 ? -1 : fail_chunk(txn);
	}
}

static int join_and_unpack(struct lms_txn *txn, uint64_t body_id, uint32_t chunk, const struct lms_value *first,
			   void *buffer, size_t *size)
{
	size_t packed_size = LMS_CHUNK_MAX;
	uint8_t *packed = malloc(packed_size);
	int ret;

	if (packed == NULL)
		return lms_fail_mdb(txn->error, txn->env, ENOMEM, "body");
	ret = join(txn, body_id, chunk, first, packed, &packed_size);
	if (ret > 0)
		ret = unpack(txn, first->head[1], packed, packed_size, buffer, size);
	free(packed);
	return ret;
}

int lms_chunk_get(struct lms_txn *txn, uint64_t body_id, uint32_t chunk, void *buffer, size_t *size)
{
	struct lms_value value;
	struct lms_key key;
	int ret;

	lms_key_piece(&key, body_id, chunk, 0);
	ret = lms_get(txn, LMS_DB_BODIES, &key, &value);
	if (ret <= 0)
		return ret;
	if ((value.head[1] & ~LMS_CHUNK_FLAGS_KNOWN) != 0 || value.head[2] >= LMS_PIECES_MAX)
		return fail_chunk(txn);
	if (value.head[2] == 0)
		return unpack(txn, value.head[1], value.data, value.size, buffer, size);
	if ((value.head[1] & LMS_CHUNK_LZ4) != 0)
		return join_and_unpack(txn, body_id, chunk, &value, buffer, size);
	return join(txn, body_id, chunk, &value, buffer, size);
}
