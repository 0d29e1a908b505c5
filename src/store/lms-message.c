/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-txn.h"

#include <stdlib.h>
#include <string.h>

/* Keep a copy of the value, so that it stays valid when the snapshot ends. */
static int keep_value(struct lms_env *env, struct lms_value *value, struct lms_error *error_r)
{
	if (value->size > env->get_buffer_size) {
		uint8_t *buffer = realloc(env->get_buffer, value->size + 256);

		if (buffer == NULL)
			return lms_fail(error_r, LMS_MEMORY, "%s: out of memory", env->dir);
		env->get_buffer = buffer;
		env->get_buffer_size = value->size + 256;
	}
	if (value->size > 0)
		memcpy(env->get_buffer, value->data, value->size);
	value->data = env->get_buffer;
	return 1;
}

int lms_message_get(struct lms_env *env, uint64_t folder_id, uint32_t uid, struct lms_message *message_r,
		    struct lms_error *error_r)
{
	struct lms_value value;
	struct lms_key key;
	struct lms_txn txn;
	int ret;

	if (lms_txn_read(&txn, env, error_r) < 0)
		return -1;
	lms_key_id_number(&key, folder_id, uid);
	ret = lms_get(&txn, LMS_DB_MESSAGES, &key, &value);
	if (ret > 0)
		ret = keep_value(env, &value, error_r);
	if (ret > 0 && lms_message_decode(&value, uid, env->get_guid, message_r) < 0)
		ret = lms_fail_record(error_r, env, "message");
	lms_txn_read_end(&txn);
	return ret;
}

/* Does the cursor stand on a message of the folder, up to uid2? */
static bool in_range(const struct lms_cursor *cursor, const struct lms_key *prefix, uint32_t uid2)
{
	return cursor->key_size == 12 && lms_key_has_prefix(cursor->key, cursor->key_size, prefix) &&
		lms_key_get_number(cursor->key) <= uid2;
}

static int scan(struct lms_txn *txn, uint64_t folder_id, uint32_t uid1, uint32_t uid2,
		lms_message_callback *callback, void *context)
{
	char guid[LMS_GUID_SIZE * 2 + 1];
	struct lms_message message;
	struct lms_cursor cursor;
	struct lms_key key, prefix;
	uint32_t uid, last_uid = 0;
	int ret, result = 0;

	if (lms_cursor_open(&cursor, txn, LMS_DB_MESSAGES) < 0)
		return -1;
	lms_key_id(&prefix, folder_id);
	lms_key_id_number(&key, folder_id, uid1);
	ret = lms_cursor_seek(&cursor, &key);
	while (ret > 0 && in_range(&cursor, &prefix, uid2)) {
		uid = lms_key_get_number(cursor.key);
		/* Not in order: a page stands where another one was. */
		if (uid <= last_uid || lms_message_decode(&cursor.value, uid, guid, &message) < 0) {
			ret = lms_fail_record(txn->error, txn->env, "message");
			break;
		}
		last_uid = uid;
		result = callback(&message, context);
		if (result != 0)
			break;
		ret = lms_cursor_next(&cursor);
	}
	lms_cursor_close(&cursor);
	return ret < 0 ? -1 : result;
}

int lms_message_scan(struct lms_env *env, uint64_t folder_id, uint32_t uid1, uint32_t uid2,
		     lms_message_callback *callback, void *context, struct lms_error *error_r)
{
	struct lms_txn txn;
	int ret;

	if (lms_txn_read(&txn, env, error_r) < 0)
		return -1;
	ret = scan(&txn, folder_id, uid1, uid2, callback, context);
	lms_txn_read_end(&txn);
	return ret;
}
