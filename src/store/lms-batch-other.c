/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-batch-private.h"
#include "lms-wire.h"

#include <stdlib.h>
#include <string.h>

/* The part of a batch that other processes have published */

/* A job of another process, with all that it points to */
struct other_job {
	struct lms_job job;
	struct lms_slot_message message;
	struct lms_wire_request wire;
	struct lms_reply reply;
	struct lms_error error;
};

static void make_result(struct lms_job *job)
{
	static const uint8_t head[LMS_SLOT_HEAD];

	lms_buffer_free(&job->result);
	lms_buffer_add(&job->result, head, sizeof(head));
	lms_wire_put_result(&job->result, job->request, job->reply, job->state == LMS_JOB_REFUSED ? job->error : NULL,
			    job->write.made_garbage);
}

int lms_batch_find_applied(struct lms_batch *batch, struct lms_job *job)
{
	static const uint8_t head[LMS_SLOT_HEAD];
	struct lms_value value;
	struct lms_key key;
	int ret;

	batch->txn.error = lms_batch_error(batch);
	ret = lms_txn_open_late(&batch->txn, LMS_DB_APPLIED, false);
	if (ret <= 0)
		return ret;
	lms_key_slot(&key, (uint8_t)job->slot);
	ret = lms_get(&batch->txn, LMS_DB_APPLIED, &key, &value);
	/* It was good for this one request only, so a damaged one is as good as none. */
	if (ret < 0 && (batch->txn.rc == LMS_RC_CHECKSUM || batch->txn.rc == LMS_RC_NEWER)) {
		batch->txn.rc = 0;
		return 0;
	}
	if (ret <= 0 || value.size < sizeof(job->id) || memcmp(value.data, &job->id, sizeof(job->id)) != 0)
		return ret < 0 ? -1 : 0;
	lms_buffer_free(&job->result);
	lms_buffer_add(&job->result, head, sizeof(head));
	lms_buffer_add(&job->result, value.data + sizeof(job->id), value.size - sizeof(job->id));
	return 1;
}

int lms_batch_put_applied(struct lms_batch *batch, struct lms_job *job)
{
	static const uint8_t head[LMS_RECORD_HEAD] = { LMS_RECORD_VERSION, 0, 0, 0 };
	struct lms_buffer buf;
	struct lms_key key;
	int ret;

	if (lms_txn_open_late(&batch->txn, LMS_DB_APPLIED, true) < 0) {
		job->write.txn.rc = batch->txn.rc;
		return -1;
	}
	make_result(job);
	lms_buffer_init(&buf);
	lms_buffer_add(&buf, &job->id, sizeof(job->id));
	lms_buffer_add(&buf, job->result.data + LMS_SLOT_HEAD, job->result.size - LMS_SLOT_HEAD);
	lms_key_slot(&key, (uint8_t)job->slot);
	ret = job->result.failed ? lms_write_fail_memory(&job->write) :
		lms_put_buffer(&job->write.txn, LMS_DB_APPLIED, &key, head, &buf);
	lms_buffer_free(&buf);
	return ret;
}

static void free_other(struct other_job *other)
{
	lms_wire_request_free(&other->wire);
	free(other->message.memory);
	lms_buffer_free(&other->job.result);
	free(other);
}

/* The request in a slot. NULL if there is none to carry out. */
static struct lms_job *read_other(struct lms_batch *batch, unsigned int slot)
{
	struct other_job *other = calloc(1, sizeof(*other));
	int ret;

	if (other == NULL)
		return NULL;
	lms_buffer_init(&other->job.result);
	ret = lms_slot_read(batch->slots, slot, &other->message);
	if (ret == 0)
		ret = lms_wire_get_request(&other->wire, other->message.data, other->message.size);
	if (ret != 0) {
		/* Nothing that makes sense, or out of memory: its owner will see. */
		lms_slot_send_away(batch->slots, slot);
		free_other(other);
		return NULL;
	}
	other->job.request = &other->wire.request;
	other->job.reply = &other->reply;
	other->job.error = &other->error;
	other->job.memory_limit = other->wire.memory_limit;
	other->job.published = true;
	other->job.slot = slot;
	other->job.id = other->message.id;
	return &other->job;
}

struct lms_job *lms_batch_take(struct lms_batch *batch, unsigned int slot)
{
	struct lms_job *job;

	if (batch->taken[slot])
		return NULL;
	batch->taken[slot] = true;
	/* Whoever is gone has failed for its caller. */
	if (!lms_slot_is_owned(batch->slots, slot)) {
		lms_slot_set_state(batch->slots, slot, LMS_SLOT_FREE);
		return NULL;
	}
	job = read_other(batch, slot);
	if (job != NULL) {
		batch->last->next = job;
		batch->last = job;
	}
	return job;
}

void lms_batch_finish_others(struct lms_batch *batch)
{
	struct lms_job *job, *next;

	for (job = batch->own.next; job != NULL; job = next) {
		next = job->next;
		if (job->state == LMS_JOB_ALONE) {
			lms_slot_send_away(batch->slots, job->slot);
		} else {
			if (job->state != LMS_JOB_APPLIED)
				make_result(job);
			lms_slot_finish(batch->slots, job->slot, &job->id, &job->result);
		}
		lms_batch_end_job(job);
		free_other((struct other_job *)job);
	}
}

