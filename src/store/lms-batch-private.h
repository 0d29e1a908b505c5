/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMS_BATCH_PRIVATE_H
#define LMS_BATCH_PRIVATE_H

#include "lms-batch.h"
#include "lms-slot.h"
#include "lms-write.h"

/* Notify files that are remembered to have been written after this commit */
#define LMS_NOTIFIED_MAX 32

enum lms_job_state {
	LMS_JOB_READY,
	LMS_JOB_DONE,
	/* An earlier leader carried it out. */
	LMS_JOB_APPLIED,
	/* It failed. */
	LMS_JOB_REFUSED,
	/* LMDB failed: its owner has to try it alone, with its own limits and for its own error. */
	LMS_JOB_ALONE
};

/* One request of a batch */
struct lms_job {
	struct lms_job *next;
	enum lms_job_state state;
	const struct lms_request *request;
	struct lms_reply *reply;
	struct lms_error *error;
	uint64_t memory_limit;
	struct lms_write write;
	bool begun;

	/* A published one: where and under which id, and when it is over, its result as a message */
	bool published;
	unsigned int slot;
	struct lms_slot_id id;
	struct lms_buffer result;
};

struct lms_batch {
	struct lms_env *env;
	/* NULL if nobody shares */
	struct lms_slots *slots;
	struct lms_txn txn;
	struct lms_job own;
	struct lms_job *last;
	bool taken[LMS_SLOT_COUNT];
	/* Before the first request */
	uint64_t bytes_before;
	/* Smallest limit of the address space, after the last request */
	uint64_t limit;
	uint64_t notified[LMS_NOTIFIED_MAX];
	unsigned int notified_count;
};

/*
 * applied: slot -> id of the last request from there that was carried out, and its result. Returns 1 and makes it the
 * job's result if it is its own, 0 if not, -1.
 */
int lms_batch_find_applied(struct lms_batch *batch, struct lms_job *job);
int lms_batch_put_applied(struct lms_batch *batch, struct lms_job *job);

/* Take the request that waits in a slot. NULL if it was taken already, or if there is none to carry out. */
struct lms_job *lms_batch_take(struct lms_batch *batch, unsigned int slot);
/* Give the others their results. */
void lms_batch_finish_others(struct lms_batch *batch);

/* Errors of the batch as a whole are the leader's, unless it knows its own already: NULL then. */
struct lms_error *lms_batch_error(struct lms_batch *batch);
void lms_batch_end_job(struct lms_job *job);

#endif
