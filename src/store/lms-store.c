/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-dir.h"
#include "lms-private.h"
#include "lms-request.h"
#include "lms-txn.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

/* The schema of a store, as opposed to that of other environments beside it. */

/* Batches of garbage that the last close frees at most, and bytes of each */
#define CLOSE_BATCHES 4
#define CLOSE_BATCH_BYTES (4u << 20)

static const char *const db_names[LMS_DB_COUNT] = {
	NULL, "nodes", "names", "folders", "messages", "keywords", "changes", "bodies", "bodyrefs", "garbage", "staging",
	"subscribed", "attributes", "applied"
};

const char *lms_db_name(enum lms_db db)
{
	return db_names[db];
}

static int make_files(const char *dir, const struct lms_env_settings *set, struct lms_error *error_r)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/" LMS_DIR_NOTIFY, dir);
	return lms_dir_make(path, set, error_r);
}

static int read_meta(struct lms_txn *txn)
{
	struct lms_env *env = txn->env;
	struct lms_value value;
	struct lms_meta meta;
	struct lms_key key;
	MDB_stat stat;
	int ret;

	lms_key_meta(&key);
	ret = lms_get(txn, LMS_DB_META, &key, &value);
	if (ret < 0)
		return -1;
	if (ret == 0) {
		if (mdb_stat(txn->mdb, env->dbi[LMS_DB_META], &stat) == 0 && stat.ms_entries == 0)
			return 0;
		return lms_fail_record(txn->error, env, "meta is missing");
	}
	if (lms_meta_decode(&value, &meta) < 0)
		return lms_fail_record(txn->error, env, "meta");
	if (meta.format > LMS_FORMAT) {
		return lms_fail(txn->error, LMS_NEWER, "%s/" LMS_FILE_DATA " has format %u, but this version knows only %u: "
				"update this installation", env->dir, (unsigned int)meta.format, LMS_FORMAT);
	}
	memcpy(env->guid, meta.guid, sizeof(env->guid));
	env->is_copy = meta.is_copy;
	return 1;
}

static int write_meta(struct lms_txn *txn)
{
	uint8_t head[LMS_RECORD_HEAD];
	struct lms_env *env = txn->env;
	struct lms_buffer buf;
	struct lms_meta meta;
	struct lms_key key;
	int ret;

	memset(&meta, 0, sizeof(meta));
	meta.format = LMS_FORMAT;
	meta.next_node_id = meta.next_folder_id = meta.next_body_id = meta.next_garbage = 1;
	if (getrandom(meta.guid, sizeof(meta.guid), 0) != sizeof(meta.guid))
		return lms_fail_errno(txn->error, errno, "getrandom", env->dir);
	memcpy(env->guid, meta.guid, sizeof(env->guid));
	lms_buffer_init(&buf);
	lms_meta_encode(&meta, head, &buf);
	lms_key_meta(&key);
	ret = lms_put_buffer(txn, LMS_DB_META, &key, head, &buf);
	lms_buffer_free(&buf);
	return ret;
}

static void collect_at_close(struct lms_env *env)
{
	struct lms_request request;
	struct lms_reply reply;
	unsigned int i;

	if (!env->made_garbage)
		return;
	env->made_garbage = false;
	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_COLLECT;
	request.no_sync = env->last_no_sync;
	request.u.collect.grace_secs = env->set.grace_secs;
	request.u.collect.max_bytes = CLOSE_BATCH_BYTES;
	for (i = 0; i < CLOSE_BATCHES; i++) {
		if (lms_submit(env, &request, &reply, NULL) < 0 || !reply.more)
			break;
	}
}

static const struct lms_schema store_schema = {
	.lock_file = "store.lock",
	.created_mark = "dovecot-lmdb store\n",
	.remedy = "restore it from a backup, or copy what is readable to a new store with doveadm backup",
	.db_names = db_names,
	.db_count = LMS_DB_APPLIED,
	.late_count = LMS_DB_COUNT - LMS_DB_APPLIED,
	.make_files = make_files,
	.open = read_meta,
	.create = write_meta,
	.close = collect_at_close,
	.may_idle = true,
};

int lms_env_open(const char *dir, const struct lms_env_settings *set, struct lms_env **env_r,
		 struct lms_error *error_r)
{
	return lms_env_open_schema(dir, &store_schema, set, env_r, error_r);
}
