/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-txn.h"

int lms_folder_get(struct lms_env *env, uint64_t folder_id, struct lms_folder *folder_r, struct lms_error *error_r)
{
	struct lms_folder_record rec;
	struct lms_value value;
	struct lms_key key;
	struct lms_txn txn;
	int ret;

	if (lms_txn_read(&txn, env, error_r) < 0)
		return -1;
	lms_key_id(&key, folder_id);
	ret = lms_get(&txn, LMS_DB_FOLDERS, &key, &value);
	if (ret > 0 && lms_folder_decode(&value, &rec) < 0)
		ret = lms_fail_record(error_r, env, "folder");
	if (ret > 0) {
		*folder_r = rec.pub;
		folder_r->folder_id = folder_id;
	}
	lms_txn_read_end(&txn);
	return ret;
}

static int scan(struct lms_txn *txn, lms_folder_callback *callback, void *context)
{
	struct lms_folder_record rec;
	struct lms_cursor cursor;
	int ret, result = 0;

	if (lms_cursor_open(&cursor, txn, LMS_DB_FOLDERS) < 0)
		return -1;
	ret = lms_cursor_first(&cursor);
	while (ret > 0 && result == 0) {
		if (cursor.key_size != 8 || lms_folder_decode(&cursor.value, &rec) < 0) {
			ret = lms_fail_record(txn->error, txn->env, "folder");
			break;
		}
		rec.pub.folder_id = lms_key_get_id(cursor.key);
		result = callback(&rec.pub, context);
		if (result == 0)
			ret = lms_cursor_next(&cursor);
	}
	lms_cursor_close(&cursor);
	return ret < 0 ? -1 : result;
}

int lms_folder_scan(struct lms_env *env, lms_folder_callback *callback, void *context, struct lms_error *error_r)
{
	struct lms_txn txn;
	int ret;

	if (lms_txn_read(&txn, env, error_r) < 0)
		return -1;
	ret = scan(&txn, callback, context);
	lms_txn_read_end(&txn);
	return ret;
}
