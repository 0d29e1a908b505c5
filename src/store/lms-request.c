/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-lock.h"
#include "lms-map.h"
#include "lms-notify-private.h"
#include "lms-write.h"

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
};

/* Changing flags is frequent and small: it doesn't pay for others' garbage. */
static bool is_flags_only(const struct lms_request *request)
{
	return request->op == LMS_OP_SYNC && request->u.sync.expunge_count == 0;
}

static int collect(struct lms_write *write)
{
	uint64_t budget = 2 * write->body_bytes + COLLECT_BYTES;
	bool more;

	if (!operations[write->request->op].collects || is_flags_only(write->request))
		return 0;
	if (lms_garbage_collect(write, write->env->set.grace_secs, &budget, &more) < 0)
		return -1;
	return lms_staging_collect(write, &budget, &more);
}

static void warn(struct lms_write *write, uint64_t bytes_before)
{
	lms_map_warn(write->env, bytes_before, write->meta_read.smallest_limit, lms_map_file_used(write->env),
		     write->meta.smallest_limit, write->reply->warning, sizeof(write->reply->warning));
}

static int run(struct lms_write *write)
{
	uint64_t bytes_before = lms_map_file_used(write->env);

	if (operations[write->request->op].run(write) < 0 || lms_write_finish(write) < 0)
		return -1;
	if (!write->txn.dirty) {
		lms_txn_abort(&write->txn);
		return 0;
	}
	if (collect(write) < 0 || lms_txn_commit(&write->txn, write->request->no_sync) < 0)
		return -1;
	write->env->last_no_sync = write->request->no_sync;
	warn(write, bytes_before);
	return 0;
}

static void notify(struct lms_write *write)
{
	const struct lms_wfolder *folder;
	bool changed = write->tree_changed;

	for (folder = write->folders; folder != NULL; folder = folder->next) {
		if (folder->removed) {
			lms_notify_write(write->env, folder->rec.pub.folder_id);
			lms_notify_remove(write->env, folder->rec.pub.folder_id);
		} else if (folder->view_changed) {
			lms_notify_write(write->env, folder->rec.pub.folder_id);
			changed = true;
		}
	}
	if (changed)
		lms_notify_write(write->env, 0);
}

/* Returns 0, 1 if it has to be repeated with a larger map, -1. */
static int try_request(struct lms_env *env, const struct lms_request *request, struct lms_reply *reply,
		       struct lms_error *error_r)
{
	struct lms_write write;
	int ret;

	memset(reply, 0, sizeof(*reply));
	if (lms_write_begin(&write, env, request, reply, error_r) < 0)
		return -1;
	ret = run(&write);
	lms_txn_abort(&write.txn);
	lms_staging_done(&write, ret == 0);
	if (ret == 0)
		notify(&write);
	else if (write.txn.rc == MDB_MAP_FULL)
		ret = 1;
	lms_write_free(&write);
	return ret;
}

static int submit_locked(struct lms_env *env, const struct lms_request *request, struct lms_reply *reply_r,
			 struct lms_error *error_r)
{
	unsigned int try;
	int ret = 1;

	for (try = 0; try < GROW_TRIES; try++) {
		ret = try_request(env, request, reply_r, error_r);
		if (ret <= 0)
			return ret;
		if (lms_map_grow(env, try, error_r) < 0)
			return -1;
	}
	return -1;
}

int lms_submit(struct lms_env *env, const struct lms_request *request, struct lms_reply *reply_r,
	       struct lms_error *error_r)
{
	int ret, err;

	memset(reply_r, 0, sizeof(*reply_r));
	if (lms_env_usable(env, error_r) < 0)
		return -1;
	if (env->read_depth > 0 || (unsigned int)request->op >= sizeof(operations) / sizeof(operations[0])) {
		return lms_fail(error_r, LMS_INVALID, "%s: %s", env->dir, env->read_depth > 0 ?
				"A request was submitted while reading" : "Unknown request");
	}
	err = lms_lock_wait(env->lock_fd, LMS_LOCK_LEADER);
	if (err != 0)
		return lms_fail_errno(error_r, err, "fcntl", env->dir);
	ret = submit_locked(env, request, reply_r, error_r);
	lms_lock_drop(env->lock_fd, LMS_LOCK_LEADER);
	return ret;
}

int lms_env_get_usage(struct lms_env *env, struct lms_env_usage *usage_r, struct lms_error *error_r)
{
	struct lms_value value;
	uint64_t free_pages;
	struct lms_meta meta;
	struct lms_key key;
	struct lms_txn txn;
	int ret;

	memset(usage_r, 0, sizeof(*usage_r));
	if (lms_txn_read(&txn, env, error_r) < 0)
		return -1;
	lms_key_meta(&key);
	ret = lms_get(&txn, LMS_DB_META, &key, &value);
	if (ret >= 0 && (ret == 0 || lms_meta_decode(&value, &meta) < 0))
		ret = lms_fail_record(error_r, env, "meta");
	if (ret > 0)
		ret = lms_txn_free_pages(&txn, &free_pages);
	if (ret >= 0) {
		usage_r->file_bytes = lms_map_file_bytes(env);
		usage_r->used_bytes = lms_map_file_used(env) - free_pages * lms_map_page_size(env);
		usage_r->map_bytes = lms_map_bytes(env);
		usage_r->smallest_limit = meta.smallest_limit;
	}
	lms_txn_read_end(&txn);
	return ret < 0 ? -1 : 0;
}
