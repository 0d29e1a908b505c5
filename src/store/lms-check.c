/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-check-private.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void lms_check_report(struct lms_check *check, const char *format, ...)
{
	char text[1400];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	check->failed = true;
	check->callback(text, check->context);
}

static bool grow(struct lms_check *check, void *arrayp, unsigned int count, unsigned int *alloc, size_t size)
{
	void **p = arrayp, *array;

	if (count < *alloc)
		return true;
	array = realloc(*p, (*alloc * 2 + 64) * size);
	if (array == NULL) {
		check->out_of_memory = true;
		return false;
	}
	*p = array;
	*alloc = *alloc * 2 + 64;
	return true;
}

void lms_check_add_id(struct lms_check *check, struct lms_check_ids *ids, uint64_t id)
{
	if (grow(check, &ids->ids, ids->count, &ids->alloc, sizeof(*ids->ids)))
		ids->ids[ids->count++] = id;
}

void lms_check_add_ref(struct lms_check *check, uint64_t body_id, uint64_t size, bool garbage)
{
	struct lms_check_ref *ref;

	if (!grow(check, &check->refs, check->ref_count, &check->ref_alloc, sizeof(*check->refs)))
		return;
	ref = &check->refs[check->ref_count++];
	ref->body_id = body_id;
	ref->size = size;
	ref->garbage = garbage;
}

static int cmp_ids(const void *p1, const void *p2)
{
	uint64_t id1 = *(const uint64_t *)p1, id2 = *(const uint64_t *)p2;

	return id1 < id2 ? -1 : id1 > id2;
}

void lms_check_sort_ids(struct lms_check_ids *ids)
{
	if (ids->count > 0)
		qsort(ids->ids, ids->count, sizeof(*ids->ids), cmp_ids);
}

bool lms_check_has_id(const struct lms_check_ids *ids, uint64_t id)
{
	return ids->count > 0 && bsearch(&id, ids->ids, ids->count, sizeof(*ids->ids), cmp_ids) != NULL;
}

void lms_check_walk(struct lms_check *check, enum lms_db db, const struct lms_key *prefix, lms_check_record *func)
{
	struct lms_cursor cursor;
	int ret;

	if (lms_cursor_open(&cursor, &check->txn, db) < 0) {
		lms_check_report(check, "%s", check->error.text);
		return;
	}
	ret = prefix == NULL ? lms_cursor_first(&cursor) : lms_cursor_seek(&cursor, prefix);
	while (ret != 0) {
		if (ret < 0) {
			lms_check_report(check, "%s", check->error.text);
			if (check->txn.rc != LMS_RC_CHECKSUM && check->txn.rc != LMS_RC_NEWER)
				break;
		}
		if (prefix != NULL && !lms_key_has_prefix(cursor.key, cursor.key_size, prefix))
			break;
		if (ret > 0)
			func(check, &cursor);
		ret = lms_cursor_next(&cursor);
	}
	lms_cursor_close(&cursor);
}

bool lms_check_key_size(struct lms_check *check, const struct lms_cursor *cursor, size_t size)
{
	if (cursor->key_size == size)
		return true;
	lms_check_report(check, "%s: a key has %zu bytes", lms_db_name(cursor->db), cursor->key_size);
	return false;
}

static void check_meta(struct lms_check *check)
{
	struct lms_value value;
	struct lms_key key;
	int ret;

	lms_key_meta(&key);
	ret = lms_get(&check->txn, LMS_DB_META, &key, &value);
	if (ret < 0)
		lms_check_report(check, "%s", check->error.text);
	else if (ret == 0 || lms_meta_decode(&value, &check->meta) < 0)
		lms_check_report(check, "meta: missing or not readable");
}

static void check_subscription(struct lms_check *check, const struct lms_cursor *cursor)
{
	const char *name = lms_string_decode(&cursor->value);
	struct lms_key key;

	if (name == NULL) {
		lms_check_report(check, "subscribed: a record makes no sense");
		return;
	}
	lms_key_subscribed(&key, name, strlen(name));
	if (key.size != cursor->key_size || memcmp(key.data, cursor->key, key.size) != 0)
		lms_check_report(check, "subscribed: key of %s is another one's", name);
}

static void check_attribute(struct lms_check *check, const struct lms_cursor *cursor)
{
	struct lms_attribute_record rec;
	uint64_t folder_id;
	struct lms_key key;

	if (cursor->key_size < 8 || lms_attribute_decode(&cursor->value, &rec) < 0) {
		lms_check_report(check, "attributes: a record makes no sense");
		return;
	}
	folder_id = lms_key_get_id(cursor->key);
	lms_key_attribute(&key, folder_id, rec.user, rec.key, strlen(rec.key));
	if (key.size != cursor->key_size || memcmp(key.data, cursor->key, key.size) != 0)
		lms_check_report(check, "attributes: key of %s is another one's", rec.key);
	if (folder_id != 0 && !lms_check_has_id(&check->folders, folder_id) &&
	    !lms_check_has_id(&check->garbage_folders, folder_id)) {
		lms_check_report(check, "attributes: folder %llx of %s doesn't exist", (unsigned long long)folder_id,
				 rec.key);
	}
}

int lms_check(struct lms_env *env, lms_check_callback *callback, void *context, struct lms_error *error_r)
{
	struct lms_check check;

	memset(&check, 0, sizeof(check));
	check.callback = callback;
	check.context = context;
	if (lms_txn_read(&check.txn, env, error_r) < 0)
		return -1;
	check.txn.error = &check.error;
	check_meta(&check);
	lms_check_tree(&check);
	lms_check_folders(&check);
	lms_check_bodies(&check);
	lms_check_walk(&check, LMS_DB_SUBSCRIBED, NULL, check_subscription);
	lms_check_walk(&check, LMS_DB_ATTRIBUTES, NULL, check_attribute);
	lms_txn_read_end(&check.txn);
	free(check.refs);
	free(check.folders.ids);
	free(check.garbage_folders.ids);
	free(check.garbage_bodies.ids);
	free(check.staged.ids);
	if (check.out_of_memory)
		return lms_fail(error_r, LMS_MEMORY, "%s: out of memory", env->dir);
	return check.failed ? 1 : 0;
}
