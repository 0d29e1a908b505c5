/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMS_BUFFER_H
#define LMS_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes being put together. Small ones live in the struct itself, so it must not be copied. */
struct lms_buffer {
	uint8_t *data;
	size_t size, alloc;
	/* Out of memory: everything added since is missing. */
	bool failed;
	uint8_t fixed[512];
};

void lms_buffer_init(struct lms_buffer *buf);
void lms_buffer_free(struct lms_buffer *buf);
void lms_buffer_add(struct lms_buffer *buf, const void *data, size_t size);
void lms_buffer_add_u8(struct lms_buffer *buf, uint8_t value);
/* Big-endian */
void lms_buffer_add_u32(struct lms_buffer *buf, uint32_t value);
void lms_buffer_add_u64(struct lms_buffer *buf, uint64_t value);
/* 7 bits a byte, lowest first; the high bit says that more follow. */
void lms_buffer_add_varint(struct lms_buffer *buf, uint64_t value);
/* A varint of the number's double, or of its double less one if it is negative: small numbers of either sign are
   short. */
void lms_buffer_add_signed(struct lms_buffer *buf, int64_t value);

/* Reading, with bounds checks: past the end everything is 0 and failed is set. */
struct lms_reader {
	const uint8_t *pos, *end;
	bool failed;
};

static inline void lms_reader_init(struct lms_reader *reader, const void *data, size_t size)
{
	reader->pos = data;
	reader->end = reader->pos + size;
	reader->failed = false;
}

static inline size_t lms_reader_left(const struct lms_reader *reader)
{
	return (size_t)(reader->end - reader->pos);
}

/* Returns the next size bytes, or NULL. */
static inline const uint8_t *lms_reader_bytes(struct lms_reader *reader, size_t size)
{
	const uint8_t *pos = reader->pos;

	if (lms_reader_left(reader) < size) {
		reader->failed = true;
		reader->pos = reader->end;
		return NULL;
	}
	reader->pos += size;
	return pos;
}

/* Returns the NUL-terminated string of size bytes, or NULL if there is none of this size. */
const char *lms_reader_string(struct lms_reader *reader, size_t size);
uint8_t lms_reader_u8(struct lms_reader *reader);
uint32_t lms_reader_u32(struct lms_reader *reader);
uint64_t lms_reader_u64(struct lms_reader *reader);
/* Of any length */
uint64_t lms_reader_long_varint(struct lms_reader *reader);

static inline uint64_t lms_reader_varint(struct lms_reader *reader)
{
	if (reader->pos < reader->end && (*reader->pos & 0x80) == 0)
		return *reader->pos++;
	return lms_reader_long_varint(reader);
}

int64_t lms_reader_signed(struct lms_reader *reader);

static inline void lms_put_be32(uint8_t *p, uint32_t value)
{
	p[0] = (uint8_t)(value >> 24);
	p[1] = (uint8_t)(value >> 16);
	p[2] = (uint8_t)(value >> 8);
	p[3] = (uint8_t)value;
}

static inline uint32_t lms_get_be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline void lms_put_be64(uint8_t *p, uint64_t value)
{
	lms_put_be32(p, (uint32_t)(value >> 32));
	lms_put_be32(p + 4, (uint32_t)value);
}

static inline uint64_t lms_get_be64(const uint8_t *p)
{
	return (uint64_t)lms_get_be32(p) << 32 | lms_get_be32(p + 4);
}

#endif
