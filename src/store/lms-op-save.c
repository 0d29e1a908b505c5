/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-write.h"

#include <stdlib.h>
#include <string.h>

#define STRING_MAX 4096
/* The last UID: the one after it must still be a valid UIDNEXT. */
#define UID_LAST (UINT32_MAX - 2)

struct save {
	struct lms_write *write;
	const struct lms_save *args;
	struct lms_wfolder *folder;
	/* COPY and MOVE: the source's value, and folder if it goes */
	struct lms_buffer source;
	struct lms_wfolder *source_folder;
	char guid[LMS_GUID_SIZE * 2 + 1], source_guid[LMS_GUID_SIZE * 2 + 1];
	uint8_t *keywords;
	size_t keywords_alloc;
	struct lms_buffer record;
};

static int choose_uid(struct save *save, const struct lms_save_message *args, uint32_t *uid_r)
{
	uint32_t uidnext = save->folder->rec.pub.uidnext;

	*uid_r = args->uid > uidnext ? args->uid : uidnext;
	if (*uid_r > UID_LAST) {
		return lms_write_fail(save->write, LMS_INVALID, "Folder has used up its UIDs: copy its messages to a new "
				      "folder");
	}
	save->folder->rec.pub.uidnext = *uid_r + 1;
	return 0;
}

static int make_guid(struct save *save)
{
	static const char digits[] = "0123456789abcdef";
	uint8_t bytes[LMS_GUID_SIZE];
	unsigned int i;

	if (lms_write_random(save->write, bytes, sizeof(bytes)) < 0)
		return -1;
	for (i = 0; i < sizeof(bytes); i++) {
		save->guid[i * 2] = digits[bytes[i] >> 4];
		save->guid[i * 2 + 1] = digits[bytes[i] & 15];
	}
	return 0;
}

static int set_keywords(struct save *save, const struct lms_save_message *args, struct lms_message *message)
{
	uint32_t number;
	unsigned int i;

	message->keywords = NULL;
	message->keyword_bytes = 0;
	for (i = 0; i < args->keyword_count; i++) {
		if (lms_keyword_map(save->write, save->folder, save->args->keyword_names,
				    save->args->keyword_name_count, args->keywords[i], &number) < 0)
			return -1;
		if (number / 8 >= save->keywords_alloc) {
			size_t alloc = number / 8 + 32;
			uint8_t *keywords = realloc(save->keywords, alloc);

			if (keywords == NULL)
				return lms_write_fail_memory(save->write);
			memset(keywords + save->keywords_alloc, 0, alloc - save->keywords_alloc);
			save->keywords = keywords;
			save->keywords_alloc = alloc;
		}
		save->keywords[number / 8] |= (uint8_t)(1 << number % 8);
		if (number / 8 >= message->keyword_bytes)
			message->keyword_bytes = number / 8 + 1;
	}
	message->keywords = save->keywords;
	return 0;
}

static int new_message(struct save *save, const struct lms_save_message *args, struct lms_message *message)
{
	struct lms_write *write = save->write;

	if (args->source == LMS_SAVE_DATA) {
		message->body_id = write->meta.next_body_id++;
		message->body_size = args->size;
		if (lms_body_write(write, message->body_id, args->ready, args->ready_size, args->data, args->size) < 0)
			return -1;
	} else {
		message->body_id = args->body_id;
		if (lms_staging_take(write, args->body_id, &message->body_size) < 0)
			return -1;
	}
	message->received = args->received;
	message->physical_size = args->physical_size;
	message->virtual_size = args->virtual_size;
	message->guid = args->guid;
	message->pop3_uidl = args->pop3_uidl;
	message->pop3_order = args->pop3_order;
	if (message->guid == NULL) {
		if (make_guid(save) < 0)
			return -1;
		message->guid = save->guid;
	}
	return 0;
}

/* Read the source, keeping a copy of its value: it is gone from view with the first write. */
static int read_source(struct save *save, const struct lms_save_message *args, struct lms_message *message)
{
	struct lms_write *write = save->write;
	struct lms_value value;
	struct lms_key key;
	int ret;

	if (lms_write_need_folder(write, args->source_folder_id, &save->source_folder) < 0)
		return -1;
	lms_key_id_number(&key, args->source_folder_id, args->source_uid);
	ret = lms_get(&write->txn, LMS_DB_MESSAGES, &key, &value);
	if (ret < 0)
		return -1;
	if (ret == 0) {
		return lms_write_fail(write, LMS_NOTFOUND, "Message with UID %u of folder %llx is deleted", args->source_uid,
				      (unsigned long long)args->source_folder_id);
	}
	save->source.size = 0;
	lms_buffer_add(&save->source, value.data, value.size);
	if (save->source.failed)
		return lms_write_fail_memory(write);
	value.data = save->source.data;
	if (lms_message_decode(&value, args->source_uid, save->source_guid, message) < 0)
		return lms_write_fail_record(write, "message");
	return 0;
}

static int remove_source(struct save *save, const struct lms_save_message *args, const struct lms_message *source)
{
	struct lms_key key;
	int ret;

	lms_key_id_number(&key, args->source_folder_id, args->source_uid);
	ret = lms_del(&save->write->txn, LMS_DB_MESSAGES, &key);
	if (ret <= 0)
		return -1;
	lms_wfolder_count(save->source_folder, source, -1);
	return lms_write_add_range(save->write, &save->source_folder->expunged, args->source_uid);
}

static int copy_message(struct save *save, const struct lms_save_message *args, struct lms_message *message)
{
	if (read_source(save, args, message) < 0)
		return -1;
	if (args->source == LMS_SAVE_MOVE) {
		if (remove_source(save, args, message) < 0)
			return -1;
	} else if (lms_body_ref(save->write, message->body_id) < 0) {
		return -1;
	}
	if (args->received != INT64_MIN)
		message->received = args->received;
	if (args->guid != NULL)
		message->guid = args->guid;
	if (args->pop3_uidl != NULL)
		message->pop3_uidl = args->pop3_uidl;
	if (args->pop3_order != 0)
		message->pop3_order = args->pop3_order;
	return 0;
}

static int check_strings(struct save *save, const struct lms_message *message)
{
	if (strnlen(message->guid, STRING_MAX + 1) > STRING_MAX ||
	    (message->pop3_uidl != NULL && strnlen(message->pop3_uidl, STRING_MAX + 1) > STRING_MAX))
		return lms_write_fail(save->write, LMS_INVALID, "GUID or POP3 UIDL has more than %u bytes", STRING_MAX);
	return 0;
}

static int put_message(struct save *save, const struct lms_message *message)
{
	uint8_t head[LMS_RECORD_HEAD];
	struct lms_key key;

	save->record.size = 0;
	lms_message_encode(message, head, &save->record);
	lms_key_id_number(&key, save->args->folder_id, message->uid);
	if (lms_put_buffer(&save->write->txn, LMS_DB_MESSAGES, &key, head, &save->record) < 0)
		return -1;
	/* The bitmap is used again for the next message. */
	if (message->keyword_bytes > 0)
		memset(save->keywords, 0, message->keyword_bytes);
	return 0;
}

static int save_message(struct save *save, const struct lms_save_message *args, uint32_t *uid_r)
{
	struct lms_folder *pub = &save->folder->rec.pub;
	struct lms_message message;
	int ret;

	memset(&message, 0, sizeof(message));
	if (args->source == LMS_SAVE_COPY || args->source == LMS_SAVE_MOVE)
		ret = copy_message(save, args, &message);
	else
		ret = new_message(save, args, &message);
	if (ret < 0 || check_strings(save, &message) < 0 || choose_uid(save, args, uid_r) < 0 ||
	    set_keywords(save, args, &message) < 0)
		return -1;
	message.uid = *uid_r;
	message.flags = args->flags & LMS_FLAGS_MASK;
	message.saved = args->saved;
	message.min_modseq = args->min_modseq;
	if (put_message(save, &message) < 0)
		return -1;
	lms_wfolder_count(save->folder, &message, 1);
	pub->have_pop3_uidl = pub->have_pop3_uidl || message.pop3_uidl != NULL;
	pub->have_pop3_order = pub->have_pop3_order || message.pop3_order != 0;
	return 0;
}

int lms_op_save(struct lms_write *write)
{
	const struct lms_save *args = &write->request->u.save;
	struct save save;
	unsigned int i;
	int ret = 0;

	memset(&save, 0, sizeof(save));
	save.write = write;
	save.args = args;
	if (lms_write_need_folder(write, args->folder_id, &save.folder) < 0)
		return -1;
	write->reply_folder = save.folder;
	write->reply->change_before = save.folder->rec.pub.change;
	lms_buffer_init(&save.source);
	lms_buffer_init(&save.record);
	for (i = 0; i < args->message_count && ret == 0; i++)
		ret = save_message(&save, &args->messages[i], &args->uids_r[i]);
	if (save.folder->rec.pub.modseq_floor != 0)
		save.folder->rec.pub.modseq_floor += args->message_count;
	lms_buffer_free(&save.source);
	lms_buffer_free(&save.record);
	free(save.keywords);
	return ret;
}
