/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-buffer.h"

#include <stdlib.h>
#include <string.h>

void lms_buffer_init(struct lms_buffer *buf)
{
	buf->data = buf->fixed;
	buf->size = 0;
	buf->alloc = sizeof(buf->fixed);
	buf->failed = false;
}

void lms_buffer_free(struct lms_buffer *buf)
{
	if (buf->data != buf->fixed)
		free(buf->data);
	lms_buffer_init(buf);
}

static bool buffer_grow(struct lms_buffer *buf, size_t size)
{
	size_t alloc = buf->alloc;
	uint8_t *data;

	while (alloc - buf->size < size)
		alloc *= 2;
	data = realloc(buf->data == buf->fixed ? NULL : buf->data, alloc);
	if (data == NULL) {
		buf->failed = true;
		return false;
	}
	if (buf->data == buf->fixed)
		memcpy(data, buf->fixed, buf->size);
	buf->data = data;
	buf->alloc = alloc;
	return true;
}

void lms_buffer_add(struct lms_buffer *buf, const void *data, size_t size)
{
	if (size == 0 || (buf->alloc - buf->size < size && !buffer_grow(buf, size)))
		return;
	memcpy(buf->data + buf->size, data, size);
	buf->size += size;
}

void lms_buffer_add_u8(struct lms_buffer *buf, uint8_t value)
{
	lms_buffer_add(buf, &value, 1);
}

void lms_buffer_add_u32(struct lms_buffer *buf, uint32_t value)
{
	uint8_t bytes[4];

	lms_put_be32(bytes, value);
	lms_buffer_add(buf, bytes, sizeof(bytes));
}

void lms_buffer_add_u64(struct lms_buffer *buf, uint64_t value)
{
	uint8_t bytes[8];

	lms_put_be64(bytes, value);
	lms_buffer_add(buf, bytes, sizeof(bytes));
}

void lms_buffer_add_varint(struct lms_buffer *buf, uint64_t value)
{
	uint8_t bytes[10];
	size_t size = 0;

	while (value >= 0x80) {
		bytes[size++] = (uint8_t)(value | 0x80);
		value >>= 7;
	}
	bytes[size++] = (uint8_t)value;
	lms_buffer_add(buf, bytes, size);
}

void lms_buffer_add_signed(struct lms_buffer *buf, int64_t value)
{
	uint64_t bits = (uint64_t)value << 1;

	lms_buffer_add_varint(buf, value < 0 ? ~bits : bits);
}

const char *lms_reader_string(struct lms_reader *reader, size_t size)
{
	const uint8_t *bytes = size == SIZE_MAX ? NULL : lms_reader_bytes(reader, size + 1);

	if (bytes == NULL || memchr(bytes, '\0', size + 1) != bytes + size) {
		reader->failed = true;
		return NULL;
	}
	return (const char *)bytes;
}

uint8_t lms_reader_u8(struct lms_reader *reader)
{
	const uint8_t *bytes = lms_reader_bytes(reader, 1);

	return bytes == NULL ? 0 : *bytes;
}

uint32_t lms_reader_u32(struct lms_reader *reader)
{
	const uint8_t *bytes = lms_reader_bytes(reader, 4);

	return bytes == NULL ? 0 : lms_get_be32(bytes);
}

uint64_t lms_reader_u64(struct lms_reader *reader)
{
	const uint8_t *bytes = lms_reader_bytes(reader, 8);

	return bytes == NULL ? 0 : lms_get_be64(bytes);
}

uint64_t lms_reader_long_varint(struct lms_reader *reader)
{
	uint64_t value = 0;
	unsigned int shift;

	for (shift = 0; shift < 64 && reader->pos < reader->end; shift += 7) {
		uint8_t byte = *reader->pos++;

		value |= (uint64_t)(byte & 0x7f) << shift;
		if ((byte & 0x80) == 0)
			return value;
	}
	reader->failed = true;
	reader->pos = reader->end;
	return 0;
}

int64_t lms_reader_signed(struct lms_reader *reader)
{
	uint64_t bits = lms_reader_varint(reader);

	return (int64_t)((bits & 1) != 0 ? ~(bits >> 1) : bits >> 1);
}
