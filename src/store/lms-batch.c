/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-batch-private.h"
#include "lms-map.h"
#include "lms-notify-private.h"
#include "lms-wire.h"

#include <string.h>

/* How often a transaction that doesn't fit in the map is repeated with a larger one */
#define GROW_TRIES 12
/* Garbage that a commit frees on the way: twice what it wrote, and this much */
#define COLLECT_BYTES (64 * 4096)

static const struct {
	int (*run)(struct lms_write *write);
	bool collects;
} operations[] = {
	[LMS_OP_FOLDER_CREATE] = { lms_op_folder_create, false },
	[LMS_OP_FOLDER_UPDATE] = { lms_op_folder_update, false },
	[LMS_OP_FOLDER_DELETE] = { lms_op_folder_delete, true },
	[LMS_OP_NODE_DELETE] = { lms_op_node_delete, false },
	[LMS_OP_NODE_RENAME] = { lms_op_node_rename, false },
	[LMS_OP_SAVE] = { lms_op_save, true },
	[LMS_OP_SYNC] = { lms_op_sync, true },
	[LMS_OP_STAGE] = { lms_op_stage, true },
	[LMS_OP_SUBSCRIBE] = { lms_op_subscribe, false },
	[LMS_OP_ATTRIBUTES] = { lms_op_attributes, false },
	[LMS_OP_COLLECT] = { lms_op_collect, false },
	[LMS_OP_COPY_MARK] = { lms_op_copy_mark, false },
};

bool lms_batch_knows(enum lms_op op)
{
	return (unsigned int)op < sizeof(operations) / sizeof(operations[0]);
}

/* Changing flags is frequent and small: it doesn't pay for others' garbage. */
static bool pays_for_garbage(const struct lms_request *request)
{
	return operations[request->op].collects &&
		(request->op != LMS_OP_SYNC || request->u.sync.expunge_count > 0);
}

struct lms_error *lms_batch_error(struct lms_batch *batch)
{
	return batch->own.state == LMS_JOB_READY || batch->own.state == LMS_JOB_DONE ? batch->own.error : NULL;
}

static int collect(struct lms_batch *batch)
{
	struct lms_write *payer = NULL;
	struct lms_job *job;
	uint64_t budget = COLLECT_BYTES;
	int ret = 0;
	bool more;

	for (job = &batch->own; job != NULL; job = job->next) {
		if (job->state == LMS_JOB_DONE && pays_for_garbage(job->request)) {
			payer = &job->write;
			budget += 2 * payer->body_bytes;
		}
	}
	if (payer == NULL)
		return 0;
	payer->txn.error = lms_batch_error(batch);
	if (lms_garbage_collect(payer, batch->env->set.grace_secs, &budget, &more) < 0 ||
	    lms_staging_collect(payer, &budget, &more) < 0) {
		batch->txn.rc = payer->txn.rc;
		ret = -1;
	}
	return ret;
}

static bool is_own(const struct lms_batch *batch, const struct lms_job *job)
{
	return job == &batch->own;
}

/* Carry out one request in the transaction. Returns 0, or 1 if the transaction has to be begun again, without the
   request or with a larger map. */
static int run_job(struct lms_batch *batch, struct lms_job *job)
{
	struct lms_write *write = &job->write;
	int ret = job->published ? lms_batch_find_applied(batch, job) : 0;

	if (ret > 0) {
		job->state = LMS_JOB_APPLIED;
		return 0;
	}
	job->begun = true;
	if (lms_write_begin(write, &batch->txn, job->request, job->reply, job->error) < 0)
		ret = -1;
	write->memory_limit = job->memory_limit;
	if (ret == 0 && (operations[job->request->op].run(write) < 0 || lms_write_finish(write) < 0))
		ret = -1;
	if (ret == 0 && write->txn.dirty && job->published)
		ret = lms_batch_put_applied(batch, job);
	if (ret == 0) {
		job->state = LMS_JOB_DONE;
		batch->txn.dirty = batch->txn.dirty || write->txn.dirty;
		batch->limit = write->meta.smallest_limit;
		return 0;
	}
	if (batch->txn.rc == 0)
		batch->txn.rc = write->txn.rc;
	if (batch->txn.rc == MDB_MAP_FULL)
		return 1;
	job->state = batch->txn.rc == 0 || is_own(batch, job) ? LMS_JOB_REFUSED : LMS_JOB_ALONE;
	return batch->txn.rc != 0 || write->txn.dirty ? 1 : 0;
}

/* Carry out what others have published, until there is nothing new. */
static int run_others(struct lms_batch *batch)
{
	unsigned int slot;
	struct lms_job *job;
	bool found;
	int ret;

	do {
		found = false;
		for (slot = lms_slots_find(batch->slots, 0); slot < LMS_SLOT_COUNT;
		     slot = lms_slots_find(batch->slots, slot + 1)) {
			job = lms_batch_take(batch, slot);
			if (job == NULL)
				continue;
			found = true;
			ret = run_job(batch, job);
			if (ret != 0)
				return ret;
		}
	} while (found);
	return 0;
}

static bool wants_no_sync(const struct lms_batch *batch)
{
	const struct lms_job *job;

	for (job = &batch->own; job != NULL; job = job->next) {
		if (job->state == LMS_JOB_DONE && job->write.txn.dirty && !job->request->no_sync)
			return false;
	}
	return true;
}

/* Returns 0, or 1 if it has to be begun again, or -1 if it failed as a whole. */
static int run_transaction(struct lms_batch *batch)
{
	struct lms_job *job;
	int ret = 0;

	if (lms_txn_write(&batch->txn, batch->env, lms_batch_error(batch)) < 0)
		return -1;
	batch->bytes_before = lms_map_file_used(batch->env);
	for (job = &batch->own; job != NULL && ret == 0; job = job->next) {
		if (job->state == LMS_JOB_READY)
			ret = run_job(batch, job);
	}
	if (ret == 0 && batch->slots != NULL)
		ret = run_others(batch);
	if (ret != 0)
		return ret;
	batch->txn.error = lms_batch_error(batch);
	if (!batch->txn.dirty) {
		lms_txn_abort(&batch->txn);
		return 0;
	}
	if (collect(batch) < 0)
		return -1;
	return lms_txn_commit(&batch->txn, wants_no_sync(batch));
}

void lms_batch_end_job(struct lms_job *job)
{
	if (!job->begun)
		return;
	lms_staging_done(&job->write, job->state == LMS_JOB_DONE);
	lms_write_free(&job->write);
	job->begun = false;
}

/* Nothing has happened: who isn't out may try again. */
static void undo(struct lms_batch *batch)
{
	struct lms_job *job;

	lms_txn_abort(&batch->txn);
	for (job = &batch->own; job != NULL; job = job->next) {
		if (job->state == LMS_JOB_DONE || job->state == LMS_JOB_APPLIED)
			job->state = LMS_JOB_READY;
		lms_batch_end_job(job);
	}
}

/* The batch failed as a whole: the leader goes on alone. Returns false if it was. */
static bool send_others_away(struct lms_batch *batch)
{
	struct lms_job *job;
	bool found = false;

	for (job = batch->own.next; job != NULL; job = job->next) {
		if (job->state == LMS_JOB_READY) {
			job->state = LMS_JOB_ALONE;
			found = true;
		}
	}
	memset(batch->taken, true, sizeof(batch->taken));
	return found;
}

static void run_until_done(struct lms_batch *batch)
{
	unsigned int tries = 0;
	int ret;

	while ((ret = run_transaction(batch)) != 0) {
		undo(batch);
		if (ret > 0 && batch->txn.rc != MDB_MAP_FULL)
			continue;
		if (batch->txn.rc == MDB_MAP_FULL && tries < GROW_TRIES &&
		    lms_map_grow(batch->env, tries++, lms_batch_error(batch)) == 0)
			continue;
		if (send_others_away(batch))
			continue;
		if (batch->own.state == LMS_JOB_READY)
			batch->own.state = LMS_JOB_REFUSED;
		return;
	}
}

static void notify_once(struct lms_batch *batch, uint64_t folder_id)
{
	unsigned int i;

	for (i = 0; i < batch->notified_count; i++) {
		if (batch->notified[i] == folder_id)
			return;
	}
	if (batch->notified_count < LMS_NOTIFIED_MAX)
		batch->notified[batch->notified_count++] = folder_id;
	lms_notify_write(batch->env, folder_id);
}

static void notify_done(struct lms_batch *batch, const struct lms_write *write)
{
	const struct lms_wfolder *folder;
	bool changed = write->tree_changed;

	for (folder = write->folders; folder != NULL; folder = folder->next) {
		if (folder->removed) {
			lms_notify_write(batch->env, folder->rec.pub.folder_id);
			lms_notify_remove(batch->env, folder->rec.pub.folder_id);
		} else if (folder->view_changed) {
			notify_once(batch, folder->rec.pub.folder_id);
			changed = true;
		}
	}
	if (changed)
		notify_once(batch, 0);
}

/* What the leader that died may have left to do */
static void notify_applied(struct lms_batch *batch, const struct lms_request *request)
{
	const struct lms_save *save = &request->u.save;
	unsigned int i;

	notify_once(batch, 0);
	notify_once(batch, request->op == LMS_OP_SAVE ? save->folder_id : request->u.sync.folder_id);
	for (i = 0; request->op == LMS_OP_SAVE && i < save->message_count; i++) {
		if (save->messages[i].source == LMS_SAVE_MOVE)
			notify_once(batch, save->messages[i].source_folder_id);
	}
}

/* The file may have passed a mark: one of those who wrote says so. */
static void warn(struct lms_batch *batch)
{
	struct lms_job *job = &batch->own;

	while (job != NULL && (job->state != LMS_JOB_DONE || !job->write.txn.dirty))
		job = job->next;
	if (job != NULL) {
		lms_map_warn(batch->env, batch->bytes_before, job->write.meta_read.smallest_limit,
			     lms_map_file_used(batch->env), batch->limit, job->reply->warning,
			     sizeof(job->reply->warning));
	}
}

/* What the leader that died had committed, it may not have flushed. */
static void sync_applied(struct lms_batch *batch)
{
	struct lms_job *job;
	bool found = false;

	for (job = &batch->own; job != NULL; job = job->next)
		found = found || job->state == LMS_JOB_APPLIED;
	if (!found || lms_txn_sync(batch->env, batch->own.state == LMS_JOB_APPLIED ? batch->own.error : NULL) == 0)
		return;
	for (job = &batch->own; job != NULL; job = job->next) {
		if (job->state == LMS_JOB_APPLIED)
			job->state = is_own(batch, job) ? LMS_JOB_REFUSED : LMS_JOB_ALONE;
	}
}

static int finish_own(struct lms_batch *batch)
{
	struct lms_job *own = &batch->own;
	bool made_garbage = own->write.made_garbage;
	int ret = own->state == LMS_JOB_DONE ? 0 : -1;

	if (own->state == LMS_JOB_APPLIED) {
		ret = lms_wire_get_result(own->result.data + LMS_SLOT_HEAD, own->result.size - LMS_SLOT_HEAD,
					  own->request, own->reply, own->error, &made_garbage);
		if (ret > 0)
			ret = lms_fail_record(own->error, batch->env, "applied");
	}
	if (ret == 0 && made_garbage)
		batch->env->made_garbage = true;
	lms_batch_end_job(own);
	lms_buffer_free(&own->result);
	return ret;
}

static void find_slots(struct lms_batch *batch, enum lms_batch_flags flags)
{
	if ((flags & LMS_BATCH_PUBLISHED) != 0) {
		batch->own.published = true;
		batch->own.slot = lms_slot_own(batch->env->slots);
		batch->own.id = lms_slot_own_id(batch->env->slots);
		batch->taken[batch->own.slot] = true;
		batch->slots = batch->env->slots;
	} else if ((flags & LMS_BATCH_SHARED) != 0) {
		batch->slots = lms_slots_get(batch->env);
	}
	if ((flags & LMS_BATCH_SHARED) == 0)
		batch->slots = NULL;
}

int lms_batch_run(struct lms_env *env, enum lms_batch_flags flags, const struct lms_request *request,
		  struct lms_reply *reply_r, struct lms_error *error_r)
{
	struct lms_batch batch;
	struct lms_job *job;

	memset(&batch, 0, sizeof(batch));
	batch.env = env;
	batch.own.request = request;
	batch.own.reply = reply_r;
	batch.own.error = error_r;
	batch.own.memory_limit = lms_map_limit();
	batch.last = &batch.own;
	lms_buffer_init(&batch.own.result);
	find_slots(&batch, flags);
	if (batch.slots != NULL)
		lms_slots_gather(batch.slots);
	run_until_done(&batch);
	if (batch.slots != NULL)
		lms_slots_note(batch.slots);
	warn(&batch);
	sync_applied(&batch);
	for (job = &batch.own; job != NULL; job = job->next) {
		if (job->state == LMS_JOB_DONE)
			notify_done(&batch, &job->write);
		else if (job->state == LMS_JOB_APPLIED)
			notify_applied(&batch, job->request);
	}
	lms_batch_finish_others(&batch);
	return finish_own(&batch);
}
