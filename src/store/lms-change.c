/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-write.h"

#include <stdlib.h>
#include <string.h>

/*
 * Changes of a folder that aren't additions: what a view that is behind has to do. Every transaction that changes what
 * views show raises the folder's change counter by one; if it did more than add messages, there is a record under that
 * counter. One change may take several records (parts).
 */

/* Records of a folder that are kept, and how many more there are before some are dropped at once: so that not every
   change also touches the page of the oldest. */
#define CHANGES_KEEP 10000
#define CHANGES_SLACK 256
/* Folder id, change, part */
#define KEY_SIZE 20

static int cmp_ranges(const void *p1, const void *p2)
{
	const struct lms_uid_range *range1 = p1, *range2 = p2;

	if (range1->uid1 != range2->uid1)
		return range1->uid1 < range2->uid1 ? -1 : 1;
	return 0;
}

static unsigned int merge_ranges(struct lms_range_list *list)
{
	unsigned int i, count = 0;

	if (list->count == 0)
		return 0;
	qsort(list->ranges, list->count, sizeof(*list->ranges), cmp_ranges);
	for (i = 1; i < list->count; i++) {
		struct lms_uid_range *last = &list->ranges[count];

		if (list->ranges[i].uid1 > last->uid2 + 1)
			list->ranges[++count] = list->ranges[i];
		else if (list->ranges[i].uid2 > last->uid2)
			last->uid2 = list->ranges[i].uid2;
	}
	list->count = count + 1;
	return list->count;
}

static void add_ranges(struct lms_change_range *dest, const struct lms_range_list *list, enum lms_change_kind kind)
{
	unsigned int i;

	for (i = 0; i < list->count; i++) {
		dest[i].kind = kind;
		dest[i].uid1 = list->ranges[i].uid1;
		dest[i].uid2 = list->ranges[i].uid2;
	}
}

static int write_parts(struct lms_write *write, struct lms_wfolder *folder, const struct lms_change_range *ranges,
		       unsigned int count)
{
	uint8_t head[LMS_RECORD_HEAD];
	struct lms_buffer buf;
	struct lms_key key;
	unsigned int done, part;
	int ret = 0;

	for (done = part = 0; done < count && ret == 0; part++) {
		lms_buffer_init(&buf);
		done += lms_change_encode(ranges + done, count - done, head, &buf);
		lms_key_change(&key, folder->rec.pub.folder_id, folder->rec.pub.change, part);
		ret = lms_put_buffer(&write->txn, LMS_DB_CHANGES, &key, head, &buf);
		lms_buffer_free(&buf);
	}
	folder->rec.change_records += part;
	return ret;
}

/* Drop the oldest records, always all parts of a change. */
static int trim(struct lms_write *write, struct lms_wfolder *folder)
{
	struct lms_folder_record *rec = &folder->rec;
	struct lms_cursor cursor;
	struct lms_key key;
	uint64_t change;
	size_t size;
	int ret;

	lms_key_id(&key, rec->pub.folder_id);
	if (lms_cursor_open(&cursor, &write->txn, LMS_DB_CHANGES) < 0)
		return -1;
	while ((ret = lms_cursor_seek_unread(&cursor, &key, &size)) > 0) {
		if (cursor.key_size != KEY_SIZE || !lms_key_has_prefix(cursor.key, cursor.key_size, &key))
			break;
		change = lms_key_get_id(cursor.key + 8);
		if (change > rec->pub.changes_since) {
			if (rec->change_records <= CHANGES_KEEP || change == rec->pub.change)
				break;
			rec->pub.changes_since = change;
		}
		ret = lms_cursor_del(&cursor);
		if (ret < 0)
			break;
		if (rec->change_records > 0)
			rec->change_records--;
	}
	lms_cursor_close(&cursor);
	return ret < 0 ? -1 : 0;
}

int lms_change_write(struct lms_write *write, struct lms_wfolder *folder)
{
	unsigned int expunged = merge_ranges(&folder->expunged), flagged = merge_ranges(&folder->flagged);
	struct lms_change_range *ranges;
	int ret;

	if (expunged + flagged == 0)
		return 0;
	ranges = calloc(expunged + flagged, sizeof(*ranges));
	if (ranges == NULL)
		return lms_write_fail_memory(write);
	add_ranges(ranges, &folder->flagged, LMS_CHANGE_FLAGS);
	add_ranges(ranges + flagged, &folder->expunged, LMS_CHANGE_EXPUNGE);
	ret = write_parts(write, folder, ranges, expunged + flagged);
	free(ranges);
	if (ret == 0 && folder->rec.change_records > CHANGES_KEEP + CHANGES_SLACK)
		ret = trim(write, folder);
	return ret;
}

static int scan_record(struct lms_cursor *cursor, lms_change_callback *callback, void *context)
{
	struct lms_change_reader reader;
	struct lms_change_range range;
	int ret;

	/* On a page of another database, that the file has in the place of one of this, keys may begin like ours. */
	if (cursor->key_size != KEY_SIZE)
		return lms_fail_record(cursor->txn->error, cursor->txn->env, "changes");
	lms_change_reader_init(&reader, &cursor->value);
	while ((ret = lms_change_read(&reader, &range)) > 0) {
		ret = callback(range.kind, range.uid1, range.uid2, context);
		if (ret != 0)
			return ret;
	}
	return ret < 0 ? lms_fail_record(cursor->txn->error, cursor->txn->env, "changes") : 0;
}

int lms_changes_scan(struct lms_env *env, uint64_t folder_id, uint64_t after, lms_change_callback *callback,
		     void *context, struct lms_error *error_r)
{
	struct lms_cursor cursor;
	struct lms_key key, prefix;
	struct lms_txn txn;
	int ret;

	if (after == UINT64_MAX)
		return 0;
	if (lms_txn_read(&txn, env, error_r) < 0)
		return -1;
	lms_key_id(&prefix, folder_id);
	lms_key_change(&key, folder_id, after + 1, 0);
	ret = lms_cursor_open(&cursor, &txn, LMS_DB_CHANGES);
	if (ret == 0) {
		ret = lms_cursor_seek(&cursor, &key);
		while (ret > 0 && lms_key_has_prefix(cursor.key, cursor.key_size, &prefix)) {
			ret = scan_record(&cursor, callback, context);
			if (ret != 0)
				goto end;
			ret = lms_cursor_next(&cursor);
		}
		if (ret > 0)
			ret = 0;
	}
end:
	lms_cursor_close(&cursor);
	lms_txn_read_end(&txn);
	return ret;
}
