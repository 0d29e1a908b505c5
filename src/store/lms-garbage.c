/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-write.h"

#include <stdlib.h>
#include <string.h>

/*
 * What nothing refers to any more waits here, under the time at which it was left, so that a session that still sees
 * a message can finish reading it: bodies, and whole folders, whose messages still count as references of their
 * bodies until they are deleted.
 */

/* What deleting a record without body counts against a budget of bytes */
#define RECORD_COST 128

int lms_garbage_queue(struct lms_write *write, enum lms_garbage_kind kind, const uint64_t *ids, unsigned int count)
{
	uint8_t head[LMS_RECORD_HEAD];
	struct lms_buffer buf;
	struct lms_key key;
	unsigned int done = 0;
	int ret = 0;

	while (done < count && ret == 0) {
		lms_buffer_init(&buf);
		done += lms_garbage_encode(kind, ids + done, count - done, head, &buf);
		lms_key_garbage(&key, (uint64_t)write->now, write->meta.next_garbage++);
		ret = lms_put_buffer(&write->txn, LMS_DB_GARBAGE, &key, head, &buf);
		lms_buffer_free(&buf);
	}
	write->made_garbage = true;
	return ret;
}

static int delete_messages(struct lms_write *write, uint64_t folder_id, uint64_t *budget)
{
	char guid[LMS_GUID_SIZE * 2 + 1];
	struct lms_message message;
	struct lms_cursor cursor;
	struct lms_key prefix;
	int ret;

	lms_key_id(&prefix, folder_id);
	if (lms_cursor_open(&cursor, &write->txn, LMS_DB_MESSAGES) < 0)
		return -1;
	for (;;) {
		ret = lms_cursor_seek(&cursor, &prefix);
		if (ret < 0)
			break;
		if (ret == 0 || !lms_key_has_prefix(cursor.key, cursor.key_size, &prefix)) {
			ret = 1;
			break;
		}
		if (lms_message_decode(&cursor.value, 0, guid, &message) < 0) {
			ret = lms_write_fail_record(write, "message");
			break;
		}
		if (*budget < RECORD_COST) {
			ret = 0;
			break;
		}
		*budget -= RECORD_COST;
		/* The body first: if the budget ends within it, the rest is found again through the message. */
		ret = lms_body_drop(write, message.body_id, budget);
		if (ret <= 0)
			break;
		ret = lms_cursor_del(&cursor);
		if (ret < 0)
			break;
	}
	lms_cursor_close(&cursor);
	return ret;
}

/* Returns 1 if all of the folder is gone, 0 if the budget is used up, -1. */
static int delete_folder(struct lms_write *write, uint64_t folder_id, uint64_t *budget)
{
	static const enum lms_db dbs[] = { LMS_DB_KEYWORDS, LMS_DB_CHANGES, LMS_DB_ATTRIBUTES };
	struct lms_wfolder *folder;
	struct lms_key prefix;
	unsigned int i;
	int ret;

	ret = lms_write_folder(write, folder_id, &folder);
	if (ret != 0)
		return ret < 0 ? -1 : lms_write_fail_record(write, "garbage");
	ret = delete_messages(write, folder_id, budget);
	lms_key_id(&prefix, folder_id);
	for (i = 0; i < sizeof(dbs) / sizeof(dbs[0]) && ret > 0; i++)
		ret = lms_write_delete_prefix(write, dbs[i], &prefix, RECORD_COST, budget);
	return ret;
}

static int delete_body(struct lms_write *write, uint64_t body_id, uint64_t *budget)
{
	struct lms_key key;
	int ret = lms_body_delete(write, body_id, budget);

	if (ret <= 0)
		return ret;
	lms_key_id(&key, body_id);
	return lms_del(&write->txn, LMS_DB_BODYREFS, &key) < 0 ? -1 : 1;
}

/* Returns 1 if all of the record's garbage is gone and the record with it, 0 if some is left, -1. */
static int collect_record(struct lms_write *write, const struct lms_key *key, enum lms_garbage_kind kind,
			  const uint64_t *ids, unsigned int count, uint64_t *budget)
{
	uint8_t head[LMS_RECORD_HEAD];
	struct lms_buffer buf;
	unsigned int i;
	int ret = 1;

	for (i = 0; i < count && ret > 0; i++) {
		ret = kind == LMS_GARBAGE_FOLDER ? delete_folder(write, ids[i], budget) :
			delete_body(write, ids[i], budget);
		if (ret == 0)
			break;
	}
	if (ret < 0)
		return -1;
	if (ret > 0) {
		ret = lms_del(&write->txn, LMS_DB_GARBAGE, key);
		/* It was seen a moment ago, and would be for ever. */
		return ret == 0 ? lms_write_fail_record(write, "garbage") : ret;
	}
	if (i == 0)
		return 0;
	lms_buffer_init(&buf);
	(void)lms_garbage_encode(kind, ids + i, count - i, head, &buf);
	ret = lms_put_buffer(&write->txn, LMS_DB_GARBAGE, key, head, &buf);
	lms_buffer_free(&buf);
	return ret;
}

/* The oldest record, if it is old enough. Returns 1, 0 if there is none, -1. */
static int next_record(struct lms_write *write, unsigned int grace_secs, struct lms_key *key_r,
		       enum lms_garbage_kind *kind_r, uint64_t **ids_r, unsigned int *count_r)
{
	struct lms_cursor cursor;
	int ret;

	if (lms_cursor_open(&cursor, &write->txn, LMS_DB_GARBAGE) < 0)
		return -1;
	ret = lms_cursor_first(&cursor);
	if (ret > 0 && cursor.key_size != 16)
		ret = lms_write_fail_record(write, "garbage");
	/* Without grace also what was queued with a clock that was ahead */
	if (ret > 0 && grace_secs > 0 && lms_key_get_id(cursor.key) + grace_secs > (uint64_t)write->now)
		ret = 0;
	if (ret > 0) {
		memcpy(key_r->data, cursor.key, cursor.key_size);
		key_r->size = cursor.key_size;
		if (lms_garbage_decode(&cursor.value, kind_r, ids_r, count_r) < 0)
			ret = lms_write_fail_record(write, "garbage");
	}
	lms_cursor_close(&cursor);
	return ret;
}

int lms_garbage_collect(struct lms_write *write, unsigned int grace_secs, uint64_t *budget, bool *more_r)
{
	enum lms_garbage_kind kind;
	unsigned int count;
	struct lms_key key;
	uint64_t *ids;
	int ret;

	*more_r = false;
	while ((ret = next_record(write, grace_secs, &key, &kind, &ids, &count)) > 0) {
		if (*budget == 0) {
			*more_r = true;
			free(ids);
			return 0;
		}
		ret = collect_record(write, &key, kind, ids, count, budget);
		free(ids);
		if (ret < 0)
			break;
		if (ret == 0) {
			*more_r = true;
			break;
		}
	}
	return ret < 0 ? -1 : 0;
}

int lms_op_collect(struct lms_write *write)
{
	const struct lms_collect *collect = &write->request->u.collect;
	uint64_t budget = collect->max_bytes;
	bool more_staged;

	if (lms_garbage_collect(write, collect->grace_secs, &budget, &write->reply->more) < 0 ||
	    lms_staging_collect(write, &budget, &more_staged) < 0)
		return -1;
	write->reply->more = write->reply->more || more_staged;
	write->reply->collected_bytes = collect->max_bytes - budget;
	return 0;
}
