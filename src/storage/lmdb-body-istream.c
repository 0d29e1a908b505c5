/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "istream-private.h"
#include "lmdb-body-istream.h"
#include "lms-message.h"

#include <sys/stat.h>

struct lmdb_body_istream {
	struct istream_private istream;
	struct lms_env *env;
	uint64_t body_id, size;

	/* the chunk that was read last: consumers may take it in pieces */
	unsigned char *chunk;
	uint32_t chunk_number;
	size_t chunk_size;
	bool chunk_read;
};

static void lmdb_body_istream_destroy(struct iostream_private *stream)
{
	struct lmdb_body_istream *bstream =
		container_of(stream, struct lmdb_body_istream, istream.iostream);

	i_free(bstream->chunk);
	i_stream_free_buffer(&bstream->istream);
}

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

static int read_chunk(struct lmdb_body_istream *bstream, uint32_t number)
{
	struct lms_error error;
	size_t size = I_MIN(bstream->size, LMS_CHUNK_MAX);
	uint64_t rest = bstream->size - (uint64_t)number * LMS_CHUNK_MAX;
	int ret;

	if (bstream->chunk_read && bstream->chunk_number == number)
		return 0;
	if (bstream->chunk == NULL)
		bstream->chunk = i_malloc(size);
	bstream->chunk_read = FALSE;
	ret = lms_body_read(bstream->env, bstream->body_id, number, bstream->chunk, &size, &error);
	if (ret <= 0)
		return read_error(bstream, ret == 0 ? NULL : &error);
	if (size != I_MIN(rest, LMS_CHUNK_MAX)) {
		io_stream_set_error(&bstream->istream.iostream, "chunk %u of body %"PRIu64" has %zu bytes",
				    number, bstream->body_id, size);
		bstream->istream.istream.stream_errno = EIO;
		return -1;
	}
	bstream->chunk_number = number;
	bstream->chunk_size = size;
	bstream->chunk_read = TRUE;
	return 0;
}

static ssize_t lmdb_body_istream_read(struct istream_private *stream)
{
	struct lmdb_body_istream *bstream = container_of(stream, struct lmdb_body_istream, istream);
	uint64_t offset = stream->istream.v_offset + (stream->pos - stream->skip);
	size_t avail, size, start = offset % LMS_CHUNK_MAX;

	if (offset >= bstream->size) {
		stream->istream.eof = TRUE;
		return -1;
	}
	if (read_chunk(bstream, offset / LMS_CHUNK_MAX) < 0)
		return -1;
	size = bstream->chunk_size - start;
	if (!i_stream_try_alloc(stream, size, &avail))
		return -2;
	size = I_MIN(size, avail);
	memcpy(stream->w_buffer + stream->pos, bstream->chunk + start, size);
	stream->pos += size;
	return size;
}

static void lmdb_body_istream_seek(struct istream_private *stream, uoff_t v_offset, bool mark ATTR_UNUSED)
{
	stream->skip = stream->pos = 0;
	stream->istream.v_offset = v_offset;
}

static int lmdb_body_istream_stat(struct istream_private *stream, bool exact ATTR_UNUSED)
{
	struct lmdb_body_istream *bstream = container_of(stream, struct lmdb_body_istream, istream);

	stream->statbuf.st_size = bstream->size;
	return 0;
}

struct istream *lmdb_body_istream_create(struct lms_env *env, uint64_t body_id, uint64_t size)
{
	struct lmdb_body_istream *bstream = i_new(struct lmdb_body_istream, 1);

	bstream->env = env;
	bstream->body_id = body_id;
	bstream->size = size;
	bstream->istream.iostream.destroy = lmdb_body_istream_destroy;
	bstream->istream.max_buffer_size = I_MAX(LMS_CHUNK_MAX, IO_BLOCK_SIZE);
	bstream->istream.read = lmdb_body_istream_read;
	bstream->istream.seek = lmdb_body_istream_seek;
	bstream->istream.stat = lmdb_body_istream_stat;
	bstream->istream.istream.readable_fd = FALSE;
	bstream->istream.istream.blocking = TRUE;
	bstream->istream.istream.seekable = TRUE;
	return i_stream_create(&bstream->istream, NULL, -1, 0);
}
