/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-write.h"

#include <stdlib.h>
#include <string.h>

struct sync {
	struct lms_write *write;
	const struct lms_sync *args;
	struct lms_wfolder *folder;
	/* The change being applied */
	const struct lms_flag_change *flag_change;
	const struct lms_keyword_change *keyword_change;
	uint32_t keyword_number;
};

typedef int sync_func(struct sync *sync, struct lms_cursor *cursor, uint32_t uid);

/* Call func for every message of a UID range. It may change or delete the message. */
static int for_range(struct sync *sync, uint32_t uid1, uint32_t uid2, sync_func *func)
{
	struct lms_cursor cursor;
	struct lms_key key, prefix;
	uint32_t uid;
	int ret;

	if (lms_cursor_open(&cursor, &sync->write->txn, LMS_DB_MESSAGES) < 0)
		return -1;
	lms_key_id(&prefix, sync->args->folder_id);
	lms_key_id_number(&key, sync->args->folder_id, uid1);
	ret = lms_cursor_seek(&cursor, &key);
	while (ret > 0 && cursor.key_size == 12 && lms_key_has_prefix(cursor.key, cursor.key_size, &prefix)) {
		uid = lms_key_get_number(cursor.key);
		if (uid > uid2)
			break;
		ret = func(sync, &cursor, uid);
		if (ret == 0)
			ret = lms_cursor_next(&cursor);
	}
	lms_cursor_close(&cursor);
	return ret < 0 ? -1 : 0;
}

static int add_flagged(struct sync *sync, uint32_t uid)
{
	sync->folder->view_changed = true;
	return lms_write_add_range(sync->write, &sync->folder->flagged, uid);
}

static int change_flags(struct sync *sync, struct lms_cursor *cursor, uint32_t uid)
{
	uint8_t before = lms_message_head_flags(cursor->value.head), after, head[LMS_RECORD_HEAD];
	struct lms_buffer copy;
	int ret;

	after = ((before & ~sync->flag_change->remove) | sync->flag_change->add) & LMS_FLAGS_MASK;
	if (after == before)
		return 0;
	memcpy(head, cursor->value.head, sizeof(head));
	lms_message_head_set_flags(head, after);
	/* The write may move the page that the value is on. */
	lms_buffer_init(&copy);
	lms_buffer_add(&copy, cursor->value.data, cursor->value.size);
	ret = copy.failed ? lms_write_fail_memory(sync->write) :
		lms_cursor_replace(cursor, head, copy.data, copy.size);
	lms_buffer_free(&copy);
	if (ret < 0)
		return -1;
	lms_wfolder_count_flags(sync->folder, before, after);
	return add_flagged(sync, uid);
}

/* Encode the message again with the bitmap and write it. */
static int put_keywords(struct sync *sync, struct lms_message *message)
{
	uint8_t head[LMS_RECORD_HEAD];
	struct lms_buffer buf;
	struct lms_key key;
	int ret;

	lms_buffer_init(&buf);
	lms_message_encode(message, head, &buf);
	lms_key_id_number(&key, sync->args->folder_id, message->uid);
	ret = lms_put_buffer(&sync->write->txn, LMS_DB_MESSAGES, &key, head, &buf);
	lms_buffer_free(&buf);
	return ret;
}

static int change_keyword(struct sync *sync, struct lms_cursor *cursor, uint32_t uid)
{
	size_t byte = sync->keyword_number / 8, size;
	uint8_t bit = (uint8_t)(1 << sync->keyword_number % 8), *bitmap;
	char guid[LMS_GUID_SIZE * 2 + 1];
	struct lms_message message;
	bool is_set;
	int ret;

	if (lms_message_decode(&cursor->value, uid, guid, &message) < 0)
		return lms_write_fail_record(sync->write, "message");
	is_set = byte < message.keyword_bytes && (message.keywords[byte] & bit) != 0;
	if (is_set == sync->keyword_change->add)
		return 0;
	size = byte < message.keyword_bytes ? message.keyword_bytes : byte + 1;
	bitmap = calloc(1, size);
	if (bitmap == NULL)
		return lms_write_fail_memory(sync->write);
	memcpy(bitmap, message.keywords, message.keyword_bytes);
	bitmap[byte] ^= bit;
	message.keywords = bitmap;
	message.keyword_bytes = size;
	ret = put_keywords(sync, &message);
	free(bitmap);
	return ret < 0 ? -1 : add_flagged(sync, uid);
}

static int expunge(struct sync *sync, struct lms_cursor *cursor, uint32_t uid)
{
	char guid[LMS_GUID_SIZE * 2 + 1];
	struct lms_message message;

	if (lms_message_decode(&cursor->value, uid, guid, &message) < 0)
		return lms_write_fail_record(sync->write, "message");
	if (lms_cursor_del(cursor) < 0)
		return -1;
	lms_wfolder_count(sync->folder, &message, -1);
	if (lms_write_add_range(sync->write, &sync->folder->expunged, uid) < 0)
		return -1;
	return lms_body_unref(sync->write, message.body_id);
}

static int apply_flags(struct sync *sync)
{
	unsigned int i;

	for (i = 0; i < sync->args->flag_count; i++) {
		sync->flag_change = &sync->args->flags[i];
		if (for_range(sync, sync->flag_change->uid1, sync->flag_change->uid2, change_flags) < 0)
			return -1;
	}
	return 0;
}

static int apply_keywords(struct sync *sync)
{
	const struct lms_sync *args = sync->args;
	unsigned int i;

	/* In the order in which the view has them, as numbers are given in the order of first use. */
	for (i = 0; i < args->keyword_name_count; i++) {
		if (lms_keyword_map(sync->write, sync->folder, args->keyword_names, args->keyword_name_count, i,
				    &sync->keyword_number) < 0)
			return -1;
	}
	for (i = 0; i < args->keyword_count; i++) {
		sync->keyword_change = &args->keywords[i];
		if (lms_keyword_map(sync->write, sync->folder, args->keyword_names, args->keyword_name_count,
				    sync->keyword_change->keyword, &sync->keyword_number) < 0 ||
		    for_range(sync, sync->keyword_change->uid1, sync->keyword_change->uid2, change_keyword) < 0)
			return -1;
	}
	return 0;
}

static int apply_expunges(struct sync *sync)
{
	unsigned int i;

	for (i = 0; i < sync->args->expunge_count; i++) {
		if (for_range(sync, sync->args->expunges[i].uid1, sync->args->expunges[i].uid2, expunge) < 0)
			return -1;
	}
	return 0;
}

/* Does the caller want nothing but higher values? */
static bool is_raise(const struct lms_sync *args)
{
	return args->flag_count == 0 && args->keyword_count == 0 && args->expunge_count == 0;
}

int lms_op_sync(struct lms_write *write)
{
	const struct lms_sync *args = &write->request->u.sync;
	struct lms_folder *pub;
	struct sync sync;

	memset(&sync, 0, sizeof(sync));
	sync.write = write;
	sync.args = args;
	if (lms_write_need_folder(write, args->folder_id, &sync.folder) < 0)
		return -1;
	pub = &sync.folder->rec.pub;
	write->reply_folder = sync.folder;
	write->reply->change_before = pub->change;
	if (apply_flags(&sync) < 0 || apply_keywords(&sync) < 0)
		return -1;
	if (sync.folder->flagged.count > 0)
		pub->flag_change++;
	if (apply_expunges(&sync) < 0)
		return -1;
	/* Not worth a commit of their own, if it turns out that there is nothing else to do. */
	if (sync.folder->view_changed || is_raise(args)) {
		if (pub->first_recent_uid < args->first_recent_uid)
			pub->first_recent_uid = args->first_recent_uid;
		if (pub->modseq_floor < args->modseq_floor)
			pub->modseq_floor = args->modseq_floor;
	}
	return 0;
}
