/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-write.h"

#include <stdlib.h>
#include <string.h>

#define ATTRIBUTE_KEY_MAX 4096
#define ATTRIBUTE_VALUE_MAX ((size_t)1 << 20)

static bool is_same_user(const char *user1, const char *user2)
{
	return user1 == NULL || user2 == NULL ? user1 == user2 : strcmp(user1, user2) == 0;
}

/* Returns 1, 0 if there is none, -1. */
static int get(struct lms_txn *txn, const struct lms_key *db_key, const char *user, const char *key,
	       struct lms_attribute_record *rec_r)
{
	struct lms_value value;
	int ret = lms_get(txn, LMS_DB_ATTRIBUTES, db_key, &value);

	if (ret <= 0)
		return ret;
	if (lms_attribute_decode(&value, rec_r) < 0)
		return lms_fail_record(txn->error, txn->env, "attribute");
	if (!is_same_user(rec_r->user, user) || strcmp(rec_r->key, key) != 0) {
		return lms_fail(txn->error, LMS_INVALID, "%s: Attribute's name collides with another one's",
				txn->env->dir);
	}
	return 1;
}

static int check(struct lms_write *write, const struct lms_attribute_change *change)
{
	struct lms_wfolder *folder;

	if (change->key[0] == '\0' || strnlen(change->key, ATTRIBUTE_KEY_MAX + 1) > ATTRIBUTE_KEY_MAX ||
	    (change->user != NULL && strnlen(change->user, ATTRIBUTE_KEY_MAX + 1) > ATTRIBUTE_KEY_MAX))
		return lms_write_fail(write, LMS_INVALID, "Attribute's name is empty or too long");
	if (change->value != NULL && change->size > ATTRIBUTE_VALUE_MAX) {
		return lms_write_fail(write, LMS_INVALID, "Attribute has more than %zu bytes",
				      (size_t)ATTRIBUTE_VALUE_MAX);
	}
	return change->folder_id == 0 ? 0 : lms_write_need_folder(write, change->folder_id, &folder);
}

static int put(struct lms_write *write, const struct lms_key *db_key, const struct lms_attribute_change *change)
{
	struct lms_attribute_record rec = { change->changed, change->user, change->key, change->value, change->size };
	uint8_t head[LMS_RECORD_HEAD];
	struct lms_buffer buf;
	int ret;

	lms_buffer_init(&buf);
	lms_attribute_encode(&rec, head, &buf);
	ret = lms_put_buffer(&write->txn, LMS_DB_ATTRIBUTES, db_key, head, &buf);
	lms_buffer_free(&buf);
	return ret;
}

static int apply(struct lms_write *write, const struct lms_attribute_change *change)
{
	struct lms_attribute_record rec;
	struct lms_key db_key;
	int ret;

	if (check(write, change) < 0)
		return -1;
	lms_key_attribute(&db_key, change->folder_id, change->user, change->key, strlen(change->key));
	ret = get(&write->txn, &db_key, change->user, change->key, &rec);
	if (ret < 0)
		return -1;
	if (change->value == NULL)
		return ret == 0 ? 0 : lms_del(&write->txn, LMS_DB_ATTRIBUTES, &db_key) < 0 ? -1 : 0;
	if (ret > 0 && rec.changed == change->changed && rec.size == change->size &&
	    memcmp(rec.value, change->value, rec.size) == 0)
		return 0;
	return put(write, &db_key, change);
}

int lms_op_attributes(struct lms_write *write)
{
	const struct lms_attributes *args = &write->request->u.attributes;
	unsigned int i;

	for (i = 0; i < args->count; i++) {
		if (apply(write, &args->changes[i]) < 0)
			return -1;
	}
	return 0;
}

int lms_attribute_get(struct lms_env *env, uint64_t folder_id, const char *user, const char *key, void **value_r,
		      size_t *size_r, int64_t *changed_r, struct lms_error *error_r)
{
	struct lms_attribute_record rec;
	struct lms_key db_key;
	struct lms_txn txn;
	int ret;

	*value_r = NULL;
	if (lms_txn_read(&txn, env, error_r) < 0)
		return -1;
	lms_key_attribute(&db_key, folder_id, user, key, strlen(key));
	ret = get(&txn, &db_key, user, key, &rec);
	if (ret > 0) {
		*value_r = malloc(rec.size + 1);
		if (*value_r == NULL) {
			ret = lms_fail(error_r, LMS_MEMORY, "%s: out of memory", env->dir);
		} else {
			memcpy(*value_r, rec.value, rec.size);
			((char *)*value_r)[rec.size] = '\0';
			*size_r = rec.size;
			*changed_r = rec.changed;
		}
	}
	lms_txn_read_end(&txn);
	return ret;
}

/* Keys that are too long for a database key sort by hash there: those that share its beginning are collected and
   sorted. */
struct long_keys {
	char **keys;
	unsigned int count, alloc;
};

static int cmp_keys(const void *p1, const void *p2)
{
	return strcmp(*(char *const *)p1, *(char *const *)p2);
}

static int call_long_keys(struct long_keys *keys, lms_attribute_callback *callback, void *context)
{
	unsigned int i;
	int ret = 0;

	if (keys->count > 1)
		qsort(keys->keys, keys->count, sizeof(*keys->keys), cmp_keys);
	for (i = 0; i < keys->count; i++) {
		if (ret == 0)
			ret = callback(keys->keys[i], context);
		free(keys->keys[i]);
	}
	keys->count = 0;
	return ret;
}

static int add_long_key(struct lms_txn *txn, struct long_keys *keys, const char *key)
{
	if (keys->count == keys->alloc) {
		unsigned int alloc = keys->alloc * 2 + 16;
		char **array = realloc(keys->keys, alloc * sizeof(*array));

		if (array == NULL)
			return lms_fail(txn->error, LMS_MEMORY, "%s: out of memory", txn->env->dir);
		keys->keys = array;
		keys->alloc = alloc;
	}
	keys->keys[keys->count] = strdup(key);
	if (keys->keys[keys->count] == NULL)
		return lms_fail(txn->error, LMS_MEMORY, "%s: out of memory", txn->env->dir);
	keys->count++;
	return 0;
}

static int scan_key(struct lms_txn *txn, struct long_keys *keys, const char *key, const char *prefix,
		    lms_attribute_callback *callback, void *context)
{
	int ret = 0;

	if (keys->count > 0 && (strlen(key) <= LMS_KEY_ATTRIBUTE_MAX ||
				strncmp(keys->keys[0], key, LMS_KEY_ATTRIBUTE_MAX) != 0))
		ret = call_long_keys(keys, callback, context);
	if (ret != 0 || strncmp(key, prefix, strlen(prefix)) != 0)
		return ret;
	return strlen(key) > LMS_KEY_ATTRIBUTE_MAX ? add_long_key(txn, keys, key) : callback(key, context);
}

static int scan(struct lms_txn *txn, uint64_t folder_id, const char *user, const char *prefix,
		struct long_keys *keys, lms_attribute_callback *callback, void *context)
{
	struct lms_attribute_record rec;
	struct lms_cursor cursor;
	struct lms_key db_prefix;
	int ret, result = 0;

	if (lms_cursor_open(&cursor, txn, LMS_DB_ATTRIBUTES) < 0)
		return -1;
	lms_key_attribute_prefix(&db_prefix, folder_id, user, prefix, strlen(prefix));
	ret = lms_cursor_seek(&cursor, &db_prefix);
	while (ret > 0 && result == 0 && lms_key_has_prefix(cursor.key, cursor.key_size, &db_prefix)) {
		if (lms_attribute_decode(&cursor.value, &rec) < 0 || !is_same_user(rec.user, user)) {
			ret = lms_fail_record(txn->error, txn->env, "attribute");
			break;
		}
		result = scan_key(txn, keys, rec.key, prefix, callback, context);
		if (result == 0)
			ret = lms_cursor_next(&cursor);
	}
	lms_cursor_close(&cursor);
	return ret < 0 ? -1 : result;
}

int lms_attribute_scan(struct lms_env *env, uint64_t folder_id, const char *user, const char *prefix,
		       lms_attribute_callback *callback, void *context, struct lms_error *error_r)
{
	struct long_keys keys = { NULL, 0, 0 };
	struct lms_txn txn;
	int ret;

	if (lms_txn_read(&txn, env, error_r) < 0)
		return -1;
	ret = scan(&txn, folder_id, user, prefix, &keys, callback, context);
	if (ret == 0)
		ret = call_long_keys(&keys, callback, context);
	while (keys.count > 0)
		free(keys.keys[--keys.count]);
	free(keys.keys);
	lms_txn_read_end(&txn);
	return ret;
}
