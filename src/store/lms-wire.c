/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-wire.h"

#include <stdlib.h>
#include <string.h>

/* A new member of these has to be put and got here, and then SLOTS_VERSION (lms-slot.c) is raised. */
_Static_assert(sizeof(struct lms_save_message) == 152, "lms-wire.c carries all of struct lms_save_message");
_Static_assert(sizeof(struct lms_save) == 48, "lms-wire.c carries all of struct lms_save");
_Static_assert(sizeof(struct lms_sync) == 80, "lms-wire.c carries all of struct lms_sync");
_Static_assert(sizeof(struct lms_folder) == 112, "lms-wire.c carries all of struct lms_folder");

/* The most that a result has, but for UIDs: a folder, and a warning or an error's text */
#define RESULT_SIZE 1536
#define UID_SIZE 5

enum {
	RESULT_REPLY = 1,
	RESULT_ERROR = 2
};

struct lms_wire_block {
	struct lms_wire_block *next;
	max_align_t data[];
};

/* A string, or NULL */
static void put_string(struct lms_buffer *buf, const char *string)
{
	size_t size = string == NULL ? 0 : strlen(string) + 1;

	lms_buffer_add_varint(buf, size);
	lms_buffer_add(buf, string, size);
}

static const char *get_string(struct lms_reader *reader)
{
	uint64_t size = lms_reader_varint(reader);

	return size == 0 ? NULL : lms_reader_string(reader, size - 1);
}

static uint32_t get_u32(struct lms_reader *reader)
{
	return (uint32_t)lms_reader_varint(reader);
}

static bool get_bool(struct lms_reader *reader)
{
	return lms_reader_u8(reader) != 0;
}

static void *alloc(struct lms_wire_request *wire, struct lms_reader *reader, size_t size)
{
	struct lms_wire_block *block = calloc(1, sizeof(*block) + size);

	if (block == NULL) {
		reader->failed = true;
		return NULL;
	}
	block->next = wire->blocks;
	wire->blocks = block;
	return block->data;
}

/* An array of as many elements as the next number says. Each takes at least a byte of what follows. */
static void *get_array(struct lms_wire_request *wire, struct lms_reader *reader, size_t element, unsigned int *count_r)
{
	uint64_t count = lms_reader_varint(reader);
	void *array;

	if (count > lms_reader_left(reader))
		reader->failed = true;
	array = reader->failed ? NULL : alloc(wire, reader, count * element);
	*count_r = array == NULL ? 0 : (unsigned int)count;
	return array;
}

static void put_names(struct lms_buffer *buf, const char *const *names, unsigned int count)
{
	unsigned int i;

	lms_buffer_add_varint(buf, count);
	for (i = 0; i < count; i++)
		put_string(buf, names[i]);
}

static const char *const *get_names(struct lms_wire_request *wire, struct lms_reader *reader, unsigned int *count_r)
{
	const char **names = get_array(wire, reader, sizeof(*names), count_r);
	unsigned int i;

	for (i = 0; i < *count_r; i++) {
		names[i] = get_string(reader);
		if (names[i] == NULL)
			reader->failed = true;
	}
	return names;
}

static void put_message(struct lms_buffer *buf, const struct lms_save_message *message)
{
	unsigned int i;

	lms_buffer_add_u8(buf, (uint8_t)message->source);
	if (message->source == LMS_SAVE_DATA) {
		lms_buffer_add_varint(buf, message->size);
		lms_buffer_add(buf, message->data, message->size);
		lms_buffer_add_varint(buf, message->ready_size);
		lms_buffer_add(buf, message->ready, message->ready_size);
	} else {
		lms_buffer_add_varint(buf, message->source_folder_id);
		lms_buffer_add_varint(buf, message->source_uid);
	}
	lms_buffer_add_varint(buf, message->uid);
	lms_buffer_add_u8(buf, message->flags);
	lms_buffer_add_varint(buf, message->keyword_count);
	for (i = 0; i < message->keyword_count; i++)
		lms_buffer_add_varint(buf, message->keywords[i]);
	lms_buffer_add_signed(buf, message->received);
	lms_buffer_add_signed(buf, message->saved);
	lms_buffer_add_varint(buf, message->physical_size);
	lms_buffer_add_varint(buf, message->virtual_size);
	put_string(buf, message->guid);
	put_string(buf, message->pop3_uidl);
	lms_buffer_add_varint(buf, message->pop3_order);
	lms_buffer_add_varint(buf, message->min_modseq);
}

static void get_source(struct lms_reader *reader, struct lms_save_message *message)
{
	message->source = lms_reader_u8(reader);
	switch (message->source) {
	case LMS_SAVE_DATA:
		message->size = lms_reader_varint(reader);
		message->data = lms_reader_bytes(reader, message->size);
		message->ready_size = lms_reader_varint(reader);
		message->ready = lms_reader_bytes(reader, message->ready_size);
		break;
	case LMS_SAVE_COPY:
	case LMS_SAVE_MOVE:
		message->source_folder_id = lms_reader_varint(reader);
		message->source_uid = get_u32(reader);
		break;
	default:
		reader->failed = true;
		break;
	}
}

static void get_message(struct lms_wire_request *wire, struct lms_reader *reader, struct lms_save_message *message)
{
	uint16_t *keywords;
	unsigned int i;

	get_source(reader, message);
	message->uid = get_u32(reader);
	message->flags = lms_reader_u8(reader);
	message->keywords = keywords = get_array(wire, reader, sizeof(*keywords), &message->keyword_count);
	for (i = 0; i < message->keyword_count; i++)
		keywords[i] = (uint16_t)lms_reader_varint(reader);
	message->received = lms_reader_signed(reader);
	message->saved = lms_reader_signed(reader);
	message->physical_size = lms_reader_varint(reader);
	message->virtual_size = lms_reader_varint(reader);
	message->guid = get_string(reader);
	message->pop3_uidl = get_string(reader);
	message->pop3_order = get_u32(reader);
	message->min_modseq = lms_reader_varint(reader);
}

/* So that nothing is copied in vain */
static bool save_fits(const struct lms_save *save, size_t max)
{
	size_t size = RESULT_SIZE;
	unsigned int i;

	if (save->message_count > max / UID_SIZE || size + save->message_count * UID_SIZE > max)
		return false;
	for (i = 0; i < save->message_count && size <= max; i++) {
		/* The lock of a body under construction is its owner's. */
		if (save->messages[i].source == LMS_SAVE_STAGED)
			return false;
		if (save->messages[i].source == LMS_SAVE_DATA) {
			size += save->messages[i].size < max ? save->messages[i].size : max;
			size += save->messages[i].ready_size < max ? save->messages[i].ready_size : max;
		}
	}
	return size <= max;
}

static void put_save(struct lms_buffer *buf, const struct lms_save *save)
{
	unsigned int i;

	lms_buffer_add_varint(buf, save->folder_id);
	put_names(buf, save->keyword_names, save->keyword_name_count);
	lms_buffer_add_varint(buf, save->message_count);
	for (i = 0; i < save->message_count; i++)
		put_message(buf, &save->messages[i]);
}

static void get_save(struct lms_wire_request *wire, struct lms_reader *reader, struct lms_save *save)
{
	struct lms_save_message *messages;
	unsigned int i;

	save->folder_id = lms_reader_varint(reader);
	save->keyword_names = get_names(wire, reader, &save->keyword_name_count);
	save->messages = messages = get_array(wire, reader, sizeof(*messages), &save->message_count);
	for (i = 0; i < save->message_count; i++)
		get_message(wire, reader, &messages[i]);
	save->uids_r = alloc(wire, reader, save->message_count * sizeof(*save->uids_r));
}

static void put_sync(struct lms_buffer *buf, const struct lms_sync *sync)
{
	unsigned int i;

	lms_buffer_add_varint(buf, sync->folder_id);
	put_names(buf, sync->keyword_names, sync->keyword_name_count);
	lms_buffer_add_varint(buf, sync->flag_count);
	for (i = 0; i < sync->flag_count; i++) {
		lms_buffer_add_varint(buf, sync->flags[i].uid1);
		lms_buffer_add_varint(buf, sync->flags[i].uid2);
		lms_buffer_add_u8(buf, sync->flags[i].add);
		lms_buffer_add_u8(buf, sync->flags[i].remove);
	}
	lms_buffer_add_varint(buf, sync->keyword_count);
	for (i = 0; i < sync->keyword_count; i++) {
		lms_buffer_add_varint(buf, sync->keywords[i].uid1);
		lms_buffer_add_varint(buf, sync->keywords[i].uid2);
		lms_buffer_add_varint(buf, sync->keywords[i].keyword);
		lms_buffer_add_u8(buf, sync->keywords[i].add ? 1 : 0);
	}
	lms_buffer_add_varint(buf, sync->expunge_count);
	for (i = 0; i < sync->expunge_count; i++) {
		lms_buffer_add_varint(buf, sync->expunges[i].uid1);
		lms_buffer_add_varint(buf, sync->expunges[i].uid2);
	}
	lms_buffer_add_varint(buf, sync->first_recent_uid);
	lms_buffer_add_varint(buf, sync->modseq_floor);
}

static void get_sync(struct lms_wire_request *wire, struct lms_reader *reader, struct lms_sync *sync)
{
	struct lms_keyword_change *keywords;
	struct lms_flag_change *flags;
	struct lms_uid_range *expunges;
	unsigned int i;

	sync->folder_id = lms_reader_varint(reader);
	sync->keyword_names = get_names(wire, reader, &sync->keyword_name_count);
	sync->flags = flags = get_array(wire, reader, sizeof(*flags), &sync->flag_count);
	for (i = 0; i < sync->flag_count; i++) {
		flags[i].uid1 = get_u32(reader);
		flags[i].uid2 = get_u32(reader);
		flags[i].add = lms_reader_u8(reader);
		flags[i].remove = lms_reader_u8(reader);
	}
	sync->keywords = keywords = get_array(wire, reader, sizeof(*keywords), &sync->keyword_count);
	for (i = 0; i < sync->keyword_count; i++) {
		keywords[i].uid1 = get_u32(reader);
		keywords[i].uid2 = get_u32(reader);
		keywords[i].keyword = (uint16_t)lms_reader_varint(reader);
		keywords[i].add = get_bool(reader);
	}
	sync->expunges = expunges = get_array(wire, reader, sizeof(*expunges), &sync->expunge_count);
	for (i = 0; i < sync->expunge_count; i++) {
		expunges[i].uid1 = get_u32(reader);
		expunges[i].uid2 = get_u32(reader);
	}
	sync->first_recent_uid = get_u32(reader);
	sync->modseq_floor = lms_reader_varint(reader);
}

static bool can_share(const struct lms_request *request, size_t max)
{
	switch (request->op) {
	case LMS_OP_SAVE:
		return save_fits(&request->u.save, max);
	case LMS_OP_SYNC:
		return true;
	default:
		return false;
	}
}

bool lms_wire_put_request(struct lms_buffer *buf, const struct lms_request *request, uint64_t memory_limit, size_t max)
{
	if (!can_share(request, max))
		return false;
	lms_buffer_add_u8(buf, (uint8_t)request->op);
	lms_buffer_add_u8(buf, request->no_sync ? 1 : 0);
	lms_buffer_add_varint(buf, memory_limit);
	if (request->op == LMS_OP_SAVE)
		put_save(buf, &request->u.save);
	else
		put_sync(buf, &request->u.sync);
	return !buf->failed && buf->size <= max;
}

int lms_wire_get_request(struct lms_wire_request *wire, const void *data, size_t size)
{
	struct lms_reader reader;

	memset(wire, 0, sizeof(*wire));
	lms_reader_init(&reader, data, size);
	wire->request.op = lms_reader_u8(&reader);
	wire->request.no_sync = get_bool(&reader);
	wire->memory_limit = lms_reader_varint(&reader);
	if (wire->request.op == LMS_OP_SAVE)
		get_save(wire, &reader, &wire->request.u.save);
	else if (wire->request.op == LMS_OP_SYNC)
		get_sync(wire, &reader, &wire->request.u.sync);
	else
		reader.failed = true;
	return reader.failed || lms_reader_left(&reader) > 0 ? -1 : 0;
}

void lms_wire_request_free(struct lms_wire_request *wire)
{
	struct lms_wire_block *block, *next;

	for (block = wire->blocks; block != NULL; block = next) {
		next = block->next;
		free(block);
	}
	wire->blocks = NULL;
}

static void put_folder(struct lms_buffer *buf, const struct lms_folder *folder)
{
	lms_buffer_add_varint(buf, folder->folder_id);
	lms_buffer_add(buf, folder->guid, sizeof(folder->guid));
	lms_buffer_add_varint(buf, folder->uidvalidity);
	lms_buffer_add_varint(buf, folder->uidnext);
	lms_buffer_add_varint(buf, folder->first_recent_uid);
	lms_buffer_add_varint(buf, folder->change);
	lms_buffer_add_u64(buf, folder->epoch);
	lms_buffer_add_varint(buf, folder->changes_since);
	lms_buffer_add_varint(buf, folder->flag_change);
	lms_buffer_add_varint(buf, folder->modseq_floor);
	lms_buffer_add_varint(buf, folder->messages);
	lms_buffer_add_varint(buf, folder->seen);
	lms_buffer_add_varint(buf, folder->physical_size);
	lms_buffer_add_varint(buf, folder->virtual_size);
	lms_buffer_add_u8(buf, folder->have_pop3_uidl ? 1 : 0);
	lms_buffer_add_u8(buf, folder->have_pop3_order ? 1 : 0);
}

static void get_folder(struct lms_reader *reader, struct lms_folder *folder)
{
	const uint8_t *guid;

	folder->folder_id = lms_reader_varint(reader);
	guid = lms_reader_bytes(reader, sizeof(folder->guid));
	if (guid != NULL)
		memcpy(folder->guid, guid, sizeof(folder->guid));
	folder->uidvalidity = get_u32(reader);
	folder->uidnext = get_u32(reader);
	folder->first_recent_uid = get_u32(reader);
	folder->change = lms_reader_varint(reader);
	folder->epoch = lms_reader_u64(reader);
	folder->changes_since = lms_reader_varint(reader);
	folder->flag_change = lms_reader_varint(reader);
	folder->modseq_floor = lms_reader_varint(reader);
	folder->messages = get_u32(reader);
	folder->seen = get_u32(reader);
	folder->physical_size = lms_reader_varint(reader);
	folder->virtual_size = lms_reader_varint(reader);
	folder->have_pop3_uidl = get_bool(reader);
	folder->have_pop3_order = get_bool(reader);
}

/* Each as the distance to the one before: UIDs of one request mostly follow one another. */
static void put_uids(struct lms_buffer *buf, const struct lms_save *save)
{
	uint32_t last = 0;
	unsigned int i;

	for (i = 0; i < save->message_count; i++) {
		lms_buffer_add_varint(buf, save->uids_r[i] - last);
		last = save->uids_r[i];
	}
}

static void get_uids(struct lms_reader *reader, const struct lms_save *save)
{
	uint32_t last = 0;
	unsigned int i;

	for (i = 0; i < save->message_count; i++)
		save->uids_r[i] = last += get_u32(reader);
}

void lms_wire_put_result(struct lms_buffer *buf, const struct lms_request *request, const struct lms_reply *reply,
			 const struct lms_error *error, bool made_garbage)
{
	if (error != NULL) {
		lms_buffer_add_u8(buf, RESULT_ERROR);
		lms_buffer_add_varint(buf, error->code);
		put_string(buf, error->text);
		return;
	}
	lms_buffer_add_u8(buf, RESULT_REPLY);
	lms_buffer_add_u8(buf, made_garbage ? 1 : 0);
	lms_buffer_add_varint(buf, reply->change_before);
	put_folder(buf, &reply->folder);
	put_string(buf, reply->warning);
	if (request->op == LMS_OP_SAVE)
		put_uids(buf, &request->u.save);
}

/* A string into memory of a fixed size */
static void get_text(struct lms_reader *reader, char *text, size_t size)
{
	const char *string = get_string(reader);
	size_t length = string == NULL ? size : strlen(string);

	if (length < size)
		memcpy(text, string, length + 1);
	else
		reader->failed = true;
}

static void get_reply(struct lms_reader *reader, const struct lms_request *request, struct lms_reply *reply,
		      bool *made_garbage_r)
{
	*made_garbage_r = get_bool(reader);
	reply->change_before = lms_reader_varint(reader);
	get_folder(reader, &reply->folder);
	get_text(reader, reply->warning, sizeof(reply->warning));
	if (request->op == LMS_OP_SAVE)
		get_uids(reader, &request->u.save);
}

int lms_wire_get_result(const void *data, size_t size, const struct lms_request *request, struct lms_reply *reply_r,
			struct lms_error *error_r, bool *made_garbage_r)
{
	struct lms_error error;
	struct lms_reader reader;
	uint8_t kind;

	memset(reply_r, 0, sizeof(*reply_r));
	memset(&error, 0, sizeof(error));
	*made_garbage_r = false;
	lms_reader_init(&reader, data, size);
	kind = lms_reader_u8(&reader);
	if (kind == RESULT_REPLY) {
		get_reply(&reader, request, reply_r, made_garbage_r);
	} else if (kind == RESULT_ERROR) {
		error.code = lms_reader_varint(&reader);
		get_text(&reader, error.text, sizeof(error.text));
	} else {
		return 1;
	}
	if (reader.failed || lms_reader_left(&reader) > 0)
		return 1;
	if (kind == RESULT_REPLY)
		return 0;
	if (error_r != NULL)
		*error_r = error;
	return -1;
}
