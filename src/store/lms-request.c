/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-request.h"
#include "lms-batch.h"
#include "lms-map.h"
#include "lms-share.h"
#include "lms-txn.h"

#include <string.h>

int lms_submit(struct lms_env *env, const struct lms_request *request, struct lms_reply *reply_r,
	       struct lms_error *error_r)
{
	memset(reply_r, 0, sizeof(*reply_r));
	if (lms_env_usable(env, error_r) < 0)
		return -1;
	if (env->read_depth > 0 || !lms_batch_knows(request->op)) {
		return lms_fail(error_r, LMS_INVALID, "%s: %s", env->dir, env->read_depth > 0 ?
				"A request was submitted while reading" : "Unknown request");
	}
	if (lms_share_submit(env, request, reply_r, error_r) < 0)
		return -1;
	env->last_no_sync = request->no_sync;
	return 0;
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
		ret = lms_txn_free_pages(&txn, 0, &free_pages);
	if (ret >= 0) {
		usage_r->file_bytes = lms_map_file_bytes(env);
		usage_r->used_bytes = lms_map_file_used(env) - free_pages * lms_map_page_size(env);
		usage_r->map_bytes = lms_map_bytes(env);
		usage_r->smallest_limit = meta.smallest_limit;
	}
	lms_txn_read_end(&txn);
	return ret < 0 ? -1 : 0;
}
