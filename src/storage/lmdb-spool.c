/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "buffer.h"
#include "istream.h"
#include "istream-concat.h"
#include "ostream-private.h"
#include "lmdb-compat.h"
#include "lmdb-body-istream.h"
#include "lmdb-spool.h"
#include "lms-message.h"

struct lmdb_spool_ostream {
	struct ostream_private ostream;
	struct lmdb_spool *spool;
};

struct lmdb_spool *lmdb_spool_init(struct lmdb_mailbox *mbox)
{
	struct lmdb_spool *spool = i_new(struct lmdb_spool, 1);

	spool->mbox = mbox;
	spool->buf = buffer_create_dynamic(default_pool, 8192);
	spool->ready = buffer_create_dynamic(default_pool, 512);
	return spool;
}

void lmdb_spool_deinit(struct lmdb_spool **_spool, bool saved)
{
	struct lmdb_spool *spool = *_spool;

	*_spool = NULL;
	if (spool->body_id != 0 && !saved)
		lms_stage_abort(spool->mbox->env, spool->body_id);
	buffer_free(&spool->buf);
	buffer_free(&spool->ready);
	i_free(spool);
}

static int stage_parts(struct lmdb_mailbox *mbox, const struct lms_stage_part *parts, unsigned int count,
		       struct lms_error *error_r)
{
	struct lms_request request = {
		.op = LMS_OP_STAGE,
		.u.stage = { .parts = parts, .count = count },
	};
	struct lms_reply reply;

	return lmdb_list_submit(mbox->box.list, &request, &reply, error_r);
}

int lmdb_spool_stage(struct lmdb_spool *const *spools, unsigned int count, struct lms_error *error_r)
{
	ARRAY(struct lms_stage_part) parts;
	int ret;

	t_array_init(&parts, count);
	for (unsigned int i = 0; i < count; i++) {
		struct lms_stage_part part = {
			.body_id = &spools[i]->body_id,
			.data = spools[i]->buf->data,
			.size = spools[i]->buf->used,
			.ready = spools[i]->ready->data,
			.ready_size = spools[i]->ready->used,
		};

		if (part.size > 0 || part.ready_size > 0)
			array_push_back(&parts, &part);
	}
	if (array_count(&parts) == 0)
		return 0;
	ret = stage_parts(spools[0]->mbox, array_front(&parts), array_count(&parts), error_r);
	if (ret == 0) {
		for (unsigned int i = 0; i < count; i++) {
			buffer_set_used_size(spools[i]->buf, 0);
			buffer_set_used_size(spools[i]->ready, 0);
		}
	}
	return ret;
}

/* Stage the whole chunks that are in memory. */
static int stage_chunks(struct lmdb_spool *spool)
{
	size_t start = spool->body_id != 0 ? 0 : lms_body_start_size(spool->buf->data, spool->buf->used);
	size_t size = spool->buf->used - (spool->buf->used - start) % LMS_CHUNK_MAX;
	struct lms_stage_part part = { .body_id = &spool->body_id, .data = spool->buf->data, .size = size };

	if (stage_parts(spool->mbox, &part, 1, &spool->error) < 0)
		return -1;
	buffer_delete(spool->buf, 0, size);
	return 0;
}

static ssize_t lmdb_spool_ostream_sendv(struct ostream_private *stream, const struct const_iovec *iov,
					unsigned int iov_count)
{
	struct lmdb_spool_ostream *sstream = container_of(stream, struct lmdb_spool_ostream, ostream);
	struct lmdb_spool *spool = sstream->spool;
	ssize_t ret = 0;

	for (unsigned int i = 0; i < iov_count; i++) {
		buffer_append(spool->buf, iov[i].iov_base, iov[i].iov_len);
		ret += iov[i].iov_len;
	}
	if (spool->buf->used >= LMDB_SPOOL_MAX_MEMORY && stage_chunks(spool) < 0) {
		io_stream_set_error(&stream->iostream, "%s", spool->error.text);
		/* core takes this for an error that was told already */
		stream->ostream.stream_errno = ENOSPC;
		return -1;
	}
	spool->size += ret;
	stream->ostream.offset += ret;
	return ret;
}

struct ostream *lmdb_spool_ostream_create(struct lmdb_spool *spool)
{
	struct lmdb_spool_ostream *sstream = i_new(struct lmdb_spool_ostream, 1);
	struct ostream *output;

	sstream->spool = spool;
	sstream->ostream.sendv = lmdb_spool_ostream_sendv;
	sstream->ostream.ostream.blocking = TRUE;
	output = o_stream_create(&sstream->ostream, NULL, -1);
	o_stream_set_name(output, "(message being saved)");
	return output;
}

struct istream *lmdb_spool_open(struct lmdb_spool *spool)
{
	struct istream *body, *inputs[3], *input;
	unsigned int count = 0;

	if (spool->body_id == 0)
		return i_stream_create_from_data(spool->buf->data, spool->buf->used);

	body = lmdb_body_istream_create(spool->mbox->env, spool->body_id, spool->size - spool->buf->used, NULL);
	inputs[count++] = body;
	if (spool->buf->used > 0)
		inputs[count++] = i_stream_create_from_data(spool->buf->data, spool->buf->used);
	inputs[count] = NULL;
	input = i_stream_create_concat(inputs);
	while (count > 0)
		i_stream_unref(&inputs[--count]);
	return input;
}
