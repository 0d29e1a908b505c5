/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-write.h"

#include <string.h>

/* Subscriptions are full names as the caller gives them, whether or not there is such a folder. */

#define SUBSCRIPTION_MAX 65000

int lms_op_subscribe(struct lms_write *write)
{
	const struct lms_subscribe *args = &write->request->u.subscribe;
	size_t size = strnlen(args->name, SUBSCRIPTION_MAX + 1);
	uint8_t head[LMS_RECORD_HEAD];
	struct lms_buffer buf;
	struct lms_value value;
	struct lms_key key;
	const char *name;
	int ret;

	if (size == 0 || size > SUBSCRIPTION_MAX)
		return lms_write_fail(write, LMS_INVALID, "Name of subscription is empty or too long");
	lms_key_subscribed(&key, args->name, size);
	ret = lms_get(&write->txn, LMS_DB_SUBSCRIBED, &key, &value);
	if (ret < 0)
		return -1;
	if (ret > 0 && ((name = lms_string_decode(&value)) == NULL || strcmp(name, args->name) != 0))
		return lms_write_fail(write, LMS_INVALID, "Name of subscription collides with another one");
	if ((ret > 0) == args->subscribe)
		return 0;
	write->meta.subscription_change++;
	write->tree_changed = true;
	if (!args->subscribe)
		return lms_del(&write->txn, LMS_DB_SUBSCRIBED, &key);
	lms_buffer_init(&buf);
	lms_string_encode(args->name, size, head, &buf);
	ret = lms_put_buffer(&write->txn, LMS_DB_SUBSCRIBED, &key, head, &buf);
	lms_buffer_free(&buf);
	return ret;
}

static int scan(struct lms_txn *txn, lms_subscription_callback *callback, void *context)
{
	struct lms_cursor cursor;
	const char *name;
	int ret, result = 0;

	if (lms_cursor_open(&cursor, txn, LMS_DB_SUBSCRIBED) < 0)
		return -1;
	ret = lms_cursor_first(&cursor);
	while (ret > 0 && result == 0) {
		name = lms_string_decode(&cursor.value);
		if (name == NULL) {
			ret = lms_fail_record(txn->error, txn->env, "subscription");
			break;
		}
		result = callback(name, context);
		if (result == 0)
			ret = lms_cursor_next(&cursor);
	}
	lms_cursor_close(&cursor);
	return ret < 0 ? -1 : result;
}

int lms_subscription_scan(struct lms_env *env, lms_subscription_callback *callback, void *context,
			  struct lms_error *error_r)
{
	struct lms_txn txn;
	int ret;

	if (lms_txn_read(&txn, env, error_r) < 0)
		return -1;
	ret = scan(&txn, callback, context);
	lms_txn_read_end(&txn);
	return ret;
}

int lms_subscription_change(struct lms_env *env, uint64_t *change_r, struct lms_error *error_r)
{
	struct lms_value value;
	struct lms_meta meta;
	struct lms_key key;
	struct lms_txn txn;
	int ret;

	if (lms_txn_read(&txn, env, error_r) < 0)
		return -1;
	lms_key_meta(&key);
	ret = lms_get(&txn, LMS_DB_META, &key, &value);
	if (ret >= 0 && (ret == 0 || lms_meta_decode(&value, &meta) < 0))
		ret = lms_fail_record(error_r, env, "meta");
	if (ret > 0)
		*change_r = meta.subscription_change;
	lms_txn_read_end(&txn);
	return ret < 0 ? -1 : 0;
}
