/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "lmdb-body-istream.h"
#include "lmdb-compat.h"
#include "lms-message.h"

#include <sys/stat.h>

struct lmdb_body_istream {
	struct istream_private istream;
	struct lms_env *env;
	uint64_t body_id, size;
	/* of chunk 0; SIZE_MAX before it was read */
	size_t start_size;
};

static int read_error(struct lmdb_body_istream *bstream, const struct lms_error *error)
{
	struct istream_private *stream = &bstream->istream;

	if (error == NULL) {
		io_stream_set_error(&stream->iostream, "the message's body is gone: it was expunged");
		stream->istream.stream_errno = ENOENT;
	} else {
		io_stream_set_error(&stream->iostream, "%s", error->text);
		stream->istream.stream_errno = EIO;
	}
	return -1;
}

static int size_error(struct lmdb_body_istream *bstream, uint32_t chunk, size_t size)
{
	io_stream_set_error(&bstream->istream.iostream, "chunk %u of body %"PRIu64" has %zu bytes",
			    chunk, bstream->body_id, size);
	bstream->istream.istream.stream_errno = EIO;
	return -1;
}

static bool start_is_right(const struct lmdb_body_istream *bstream, const struct lms_body_start *start)
{
	return start->size <= bstream->size && (start->size > 0 || bstream->size == 0);
}

static int get_start(struct lmdb_body_istream *bstream, struct lms_body_start *start_r)
{
	struct lms_error error;
	int ret = lms_body_start(bstream->env, bstream->body_id, start_r, &error);

	if (ret <= 0)
		return read_error(bstream, ret == 0 ? NULL : &error);
	if (!start_is_right(bstream, start_r))
		return size_error(bstream, 0, start_r->size);
	bstream->start_size = start_r->size;
	return 0;
}

/* Room for a chunk at the end of the stream's buffer, which is allocated as large as the first one. */
static void *chunk_room(struct istream_private *stream, size_t size)
{
	if (stream->buffer_size == 0)
		stream->init_buffer_size = size;
	return i_stream_alloc(stream, size);
}

static void append_start(struct lmdb_body_istream *bstream, const struct lms_body_start *start)
{
	if (start->size == 0)
		return;
	memcpy(chunk_room(&bstream->istream, start->size), start->data, start->size);
	bstream->istream.pos += start->size;
}

/* Append the chunk that begins at this offset. */
static int read_chunk(struct lmdb_body_istream *bstream, uint32_t chunk, uint64_t begin)
{
	struct istream_private *stream = &bstream->istream;
	size_t expected = I_MIN(bstream->size - begin, LMS_CHUNK_MAX), size = expected;
	struct lms_error error;
	int ret;

	ret = lms_body_read(bstream->env, bstream->body_id, chunk, chunk_room(stream, size), &size, &error);
	if (ret <= 0)
		return read_error(bstream, ret == 0 ? NULL : &error);
	if (size != expected)
		return size_error(bstream, chunk, size);
	stream->pos += size;
	return 0;
}

/* Append the chunk with the byte at offset. *begin_r: offset of its first byte */
static int read_at(struct lmdb_body_istream *bstream, uint64_t offset, uint64_t *begin_r)
{
	struct lms_body_start start;
	uint64_t number;

	if (bstream->start_size == SIZE_MAX || offset < bstream->start_size) {
		if (get_start(bstream, &start) < 0)
			return -1;
		if (offset < start.size) {
			*begin_r = 0;
			append_start(bstream, &start);
			return 0;
		}
	}
	number = (offset - bstream->start_size) / LMS_CHUNK_MAX;
	*begin_r = bstream->start_size + number * LMS_CHUNK_MAX;
	return read_chunk(bstream, number + 1, *begin_r);
}

static ssize_t lmdb_body_istream_read(struct istream_private *stream)
{
	struct lmdb_body_istream *bstream = container_of(stream, struct lmdb_body_istream, istream);
	size_t old_size = stream->pos - stream->skip;
	uint64_t begin, offset = stream->istream.v_offset + old_size;

	if (offset >= bstream->size) {
		stream->istream.eof = TRUE;
		return -1;
	}
	if (old_size >= i_stream_get_max_buffer_size(&stream->istream))
		return -2;
	if (read_at(bstream, offset, &begin) < 0)
		return -1;
	/* after a seek into the midst of a chunk, when the buffer was empty */
	stream->skip += offset - begin;
	return stream->pos - stream->skip - old_size;
}

static void lmdb_body_istream_seek(struct istream_private *stream, uoff_t v_offset, bool mark ATTR_UNUSED)
{
	uoff_t begin = stream->istream.v_offset - stream->skip;

	if (v_offset >= begin && v_offset - begin <= stream->pos)
		stream->skip = v_offset - begin;
	else
		stream->skip = stream->pos = 0;
	stream->istream.v_offset = v_offset;
}

/* Core asks for a buffer that is smaller than a chunk. */
static void lmdb_body_istream_set_max_buffer_size(struct iostream_private *stream, size_t max_size)
{
	struct istream_private *istream = container_of(stream, struct istream_private, iostream);

	istream->max_buffer_size = I_MAX(max_size, LMS_CHUNK_MAX);
}

static int lmdb_body_istream_stat(struct istream_private *stream, bool exact ATTR_UNUSED)
{
	struct lmdb_body_istream *bstream = container_of(stream, struct lmdb_body_istream, istream);

	stream->statbuf.st_size = bstream->size;
	return 0;
}

struct istream *lmdb_body_istream_create(struct lms_env *env, uint64_t body_id, uint64_t size,
					 const struct lms_body_start *start)
{
	struct lmdb_body_istream *bstream = i_new(struct lmdb_body_istream, 1);
	struct istream *input;

	bstream->env = env;
	bstream->body_id = body_id;
	bstream->size = size;
	bstream->start_size = SIZE_MAX;
	bstream->istream.max_buffer_size = LMS_CHUNK_MAX;
	bstream->istream.iostream.set_max_buffer_size = lmdb_body_istream_set_max_buffer_size;
	bstream->istream.read = lmdb_body_istream_read;
	bstream->istream.seek = lmdb_body_istream_seek;
	bstream->istream.stat = lmdb_body_istream_stat;
	bstream->istream.istream.readable_fd = FALSE;
	bstream->istream.istream.blocking = TRUE;
	bstream->istream.istream.seekable = TRUE;
	input = lmdb_istream_create(&bstream->istream);
	if (start != NULL && start_is_right(bstream, start)) {
		bstream->start_size = start->size;
		append_start(bstream, start);
	}
	return input;
}
