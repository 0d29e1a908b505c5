/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-check-private.h"
#include "lms-node.h"

#include <stdlib.h>
#include <string.h>

/* Folders and what belongs to them: messages, keywords, changes. */

static void check_message(struct lms_check *check, const struct lms_cursor *cursor)
{
	char guid[LMS_GUID_SIZE * 2 + 1];
	struct lms_message message;
	uint32_t uid;

	if (!lms_check_key_size(check, cursor, 12))
		return;
	uid = lms_key_get_number(cursor->key);
	if (lms_message_decode(&cursor->value, uid, guid, &message) < 0 || uid == 0) {
		lms_check_report(check, "messages: record of UID %u of folder %llx makes no sense", uid,
				 (unsigned long long)check->count.folder_id);
		return;
	}
	check->count.messages++;
	check->count.seen += (message.flags & LMS_SEEN) != 0 ? 1 : 0;
	check->count.uid_max = uid;
	check->count.physical_size += message.physical_size;
	check->count.virtual_size += message.virtual_size;
	check->count.have_pop3_uidl = check->count.have_pop3_uidl || message.pop3_uidl != NULL;
	check->count.have_pop3_order = check->count.have_pop3_order || message.pop3_order != 0;
	if (message.keyword_bytes > 0 && (check->count.keywords + 7) / 8 < message.keyword_bytes) {
		lms_check_report(check, "messages: UID %u of folder %llx has a keyword that doesn't exist", uid,
				 (unsigned long long)check->count.folder_id);
	}
	lms_check_add_ref(check, message.body_id, message.body_size, check->count.garbage);
}

static void check_keyword(struct lms_check *check, const struct lms_cursor *cursor)
{
	if (!lms_check_key_size(check, cursor, 12))
		return;
	if (lms_key_get_number(cursor->key) != check->count.keywords || lms_string_decode(&cursor->value) == NULL) {
		lms_check_report(check, "keywords: keyword %u of folder %llx makes no sense",
				 lms_key_get_number(cursor->key), (unsigned long long)check->count.folder_id);
	}
	check->count.keywords++;
}

static void check_change(struct lms_check *check, const struct lms_cursor *cursor)
{
	struct lms_change_reader reader;
	struct lms_change_range range;
	uint64_t change;
	int ret;

	if (!lms_check_key_size(check, cursor, 20))
		return;
	change = lms_key_get_id(cursor->key + 8);
	lms_change_reader_init(&reader, &cursor->value);
	while ((ret = lms_change_read(&reader, &range)) > 0) ;
	if (ret < 0 || (!check->count.garbage &&
			(change <= check->count.changes_since || change > check->count.change))) {
		lms_check_report(check, "changes: record of change %llu of folder %llx makes no sense",
				 (unsigned long long)change, (unsigned long long)check->count.folder_id);
	}
	check->count.change_records++;
}

static void walk_folder(struct lms_check *check, uint64_t folder_id)
{
	struct lms_key prefix;

	check->count.folder_id = folder_id;
	lms_key_id(&prefix, folder_id);
	lms_check_walk(check, LMS_DB_KEYWORDS, &prefix, check_keyword);
	lms_check_walk(check, LMS_DB_CHANGES, &prefix, check_change);
	lms_check_walk(check, LMS_DB_MESSAGES, &prefix, check_message);
}

static void check_counters(struct lms_check *check, const struct lms_folder_record *rec)
{
	const struct lms_check_count *count = &check->count;
	const struct lms_folder *pub = &rec->pub;

	if (pub->messages != count->messages || pub->seen != count->seen ||
	    pub->physical_size != count->physical_size || pub->virtual_size != count->virtual_size) {
		lms_check_report(check, "folders: folder %llx says %u messages, %u seen, %llu and %llu bytes, but has %u, "
				 "%u, %llu and %llu", (unsigned long long)count->folder_id, pub->messages, pub->seen,
				 (unsigned long long)pub->physical_size, (unsigned long long)pub->virtual_size,
				 count->messages, count->seen, (unsigned long long)count->physical_size,
				 (unsigned long long)count->virtual_size);
	}
	if (count->uid_max >= pub->uidnext) {
		lms_check_report(check, "folders: folder %llx has UIDNEXT %u, but a message with UID %u",
				 (unsigned long long)count->folder_id, pub->uidnext, count->uid_max);
	}
	if ((count->have_pop3_uidl && !pub->have_pop3_uidl) || (count->have_pop3_order && !pub->have_pop3_order)) {
		lms_check_report(check, "folders: folder %llx says there is no POP3 UIDL or order",
				 (unsigned long long)count->folder_id);
	}
	if (rec->change_records != count->change_records) {
		lms_check_report(check, "folders: folder %llx says %u records of changes, but has %u",
				 (unsigned long long)count->folder_id, rec->change_records, count->change_records);
	}
}

static void check_folder(struct lms_check *check, const struct lms_cursor *cursor)
{
	struct lms_folder_record rec;
	struct lms_node_record node;
	uint64_t folder_id;

	if (cursor->key_size != 8)
		return;
	folder_id = lms_key_get_id(cursor->key);
	if (folder_id == 0 || folder_id >= check->meta.next_folder_id)
		lms_check_report(check, "folders: folder %llx can't exist yet", (unsigned long long)folder_id);
	if (lms_folder_decode(&cursor->value, &rec) < 0) {
		lms_check_report(check, "folders: record of folder %llx makes no sense", (unsigned long long)folder_id);
		return;
	}
	if (lms_node_get(&check->txn, rec.node_id, &node) <= 0 || node.folder_id != folder_id) {
		lms_check_report(check, "folders: folder %llx isn't at node %llx", (unsigned long long)folder_id,
				 (unsigned long long)rec.node_id);
	}
	if (rec.pub.uidvalidity == 0 || rec.pub.uidnext == 0 || rec.pub.epoch == 0)
		lms_check_report(check, "folders: folder %llx has no UIDVALIDITY", (unsigned long long)folder_id);
	memset(&check->count, 0, sizeof(check->count));
	check->count.changes_since = rec.pub.changes_since;
	check->count.change = rec.pub.change;
	walk_folder(check, folder_id);
	check_counters(check, &rec);
}

static void read_garbage(struct lms_check *check, const struct lms_cursor *cursor)
{
	enum lms_garbage_kind kind;
	unsigned int i, n;
	uint64_t *ids;

	if (!lms_check_key_size(check, cursor, 16))
		return;
	if (lms_garbage_decode(&cursor->value, &kind, &ids, &n) < 0) {
		lms_check_report(check, "garbage: a record makes no sense");
		return;
	}
	for (i = 0; i < n; i++) {
		struct lms_check_ids *list = kind == LMS_GARBAGE_FOLDER ? &check->garbage_folders :
			&check->garbage_bodies;

		lms_check_add_id(check, list, ids[i]);
	}
	free(ids);
}

static void check_garbage_folders(struct lms_check *check)
{
	unsigned int i;

	for (i = 0; i < check->garbage_folders.count; i++) {
		uint64_t folder_id = check->garbage_folders.ids[i];

		if (lms_check_has_id(&check->folders, folder_id)) {
			lms_check_report(check, "garbage: folder %llx exists", (unsigned long long)folder_id);
			continue;
		}
		if (i > 0 && check->garbage_folders.ids[i - 1] == folder_id) {
			lms_check_report(check, "garbage: folder %llx is there twice", (unsigned long long)folder_id);
			continue;
		}
		memset(&check->count, 0, sizeof(check->count));
		check->count.garbage = true;
		/* Keywords go after messages, so these are still there; numbers aren't checked. */
		walk_folder(check, folder_id);
	}
}

/* Everything that begins with a folder's id must be of a folder that exists or is garbage. */
static void check_owner(struct lms_check *check, const struct lms_cursor *cursor)
{
	uint64_t folder_id;

	if (cursor->key_size < 8)
		return;
	folder_id = lms_key_get_id(cursor->key);
	if (folder_id == check->count.folder_id)
		return;
	check->count.folder_id = folder_id;
	if (!lms_check_has_id(&check->folders, folder_id) && !lms_check_has_id(&check->garbage_folders, folder_id)) {
		lms_check_report(check, "%s: folder %llx doesn't exist", lms_db_name(cursor->db),
				 (unsigned long long)folder_id);
	}
}

void lms_check_folders(struct lms_check *check)
{
	static const enum lms_db dbs[] = { LMS_DB_MESSAGES, LMS_DB_KEYWORDS, LMS_DB_CHANGES };
	unsigned int i;

	lms_check_walk(check, LMS_DB_GARBAGE, NULL, read_garbage);
	lms_check_sort_ids(&check->garbage_folders);
	lms_check_sort_ids(&check->garbage_bodies);
	lms_check_walk(check, LMS_DB_FOLDERS, NULL, check_folder);
	check_garbage_folders(check);
	for (i = 0; i < sizeof(dbs) / sizeof(dbs[0]); i++) {
		check->count.folder_id = 0;
		lms_check_walk(check, dbs[i], NULL, check_owner);
	}
}
