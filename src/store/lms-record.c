/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-record.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stdlib.h>
#include <string.h>

/* head[1] of a folder */
enum {
	FOLDER_HAVE_POP3_UIDL = 0x01,
	FOLDER_HAVE_POP3_ORDER = 0x02
};

/* head[1] of an attribute */
enum {
	ATTRIBUTE_HAVE_USER = 0x01
};

uint32_t lms_record_checksum(const void *key, size_t key_size, const uint8_t head[LMS_RECORD_HEAD], const void *data,
			     size_t size)
{
	uint64_t seed = head[0] | (uint64_t)head[1] << 8 | (uint64_t)head[2] << 16 | (uint64_t)head[3] << 24;

	seed = XXH3_64bits_withSeed(key, key_size, seed);
	return (uint32_t)XXH3_64bits_withSeed(data, size, seed);
}

static void head_init(uint8_t head[LMS_RECORD_HEAD])
{
	memset(head, 0, LMS_RECORD_HEAD);
	head[0] = LMS_RECORD_VERSION;
}

static int reader_end(const struct lms_reader *reader)
{
	return reader->failed || reader->pos != reader->end ? -1 : 0;
}

static void add_string(struct lms_buffer *buf, const char *string, size_t size)
{
	lms_buffer_add(buf, string, size);
	lms_buffer_add_u8(buf, '\0');
}

/* A string that takes the rest of the value. */
static const char *read_last_string(struct lms_reader *reader, size_t *size_r)
{
	if (lms_reader_left(reader) == 0) {
		reader->failed = true;
		return NULL;
	}
	*size_r = lms_reader_left(reader) - 1;
	return lms_reader_string(reader, *size_r);
}

/* The last part of meta, if it is there */
#define META_IS_COPY 1

void lms_meta_encode(const struct lms_meta *meta, uint8_t head[LMS_RECORD_HEAD], struct lms_buffer *buf)
{
	head_init(head);
	lms_buffer_add_u32(buf, meta->format);
	lms_buffer_add(buf, meta->guid, sizeof(meta->guid));
	lms_buffer_add_u64(buf, meta->next_node_id);
	lms_buffer_add_u64(buf, meta->next_folder_id);
	lms_buffer_add_u64(buf, meta->next_body_id);
	lms_buffer_add_u64(buf, meta->next_garbage);
	lms_buffer_add_u64(buf, meta->subscription_change);
	lms_buffer_add_u64(buf, meta->smallest_limit);
	lms_buffer_add_u32(buf, meta->uidvalidity);
	if (meta->is_copy)
		lms_buffer_add_u8(buf, META_IS_COPY);
}

int lms_meta_decode(const struct lms_value *value, struct lms_meta *meta_r)
{
	struct lms_reader reader;
	const uint8_t *guid;

	memset(meta_r, 0, sizeof(*meta_r));
	lms_reader_init(&reader, value->data, value->size);
	meta_r->format = lms_reader_u32(&reader);
	/* What follows is known only in a format that is. */
	if (reader.failed || meta_r->format > LMS_FORMAT)
		return reader.failed ? -1 : 0;
	guid = lms_reader_bytes(&reader, sizeof(meta_r->guid));
	if (guid != NULL)
		memcpy(meta_r->guid, guid, sizeof(meta_r->guid));
	meta_r->next_node_id = lms_reader_u64(&reader);
	meta_r->next_folder_id = lms_reader_u64(&reader);
	meta_r->next_body_id = lms_reader_u64(&reader);
	meta_r->next_garbage = lms_reader_u64(&reader);
	meta_r->subscription_change = lms_reader_u64(&reader);
	meta_r->smallest_limit = lms_reader_u64(&reader);
	meta_r->uidvalidity = lms_reader_u32(&reader);
	meta_r->is_copy = lms_reader_left(&reader) > 0;
	if (meta_r->is_copy && lms_reader_u8(&reader) != META_IS_COPY)
		return -1;
	return reader_end(&reader);
}

void lms_node_encode(const struct lms_node_record *node, uint8_t head[LMS_RECORD_HEAD], struct lms_buffer *buf)
{
	head_init(head);
	lms_buffer_add_u64(buf, node->parent_id);
	lms_buffer_add_u64(buf, node->folder_id);
	add_string(buf, node->name, node->name_size);
}

int lms_node_decode(const struct lms_value *value, struct lms_node_record *node_r)
{
	struct lms_reader reader;

	lms_reader_init(&reader, value->data, value->size);
	node_r->parent_id = lms_reader_u64(&reader);
	node_r->folder_id = lms_reader_u64(&reader);
	node_r->name = read_last_string(&reader, &node_r->name_size);
	return reader_end(&reader);
}

void lms_name_encode(const struct lms_name_record *name, uint8_t head[LMS_RECORD_HEAD], struct lms_buffer *buf)
{
	head_init(head);
	lms_buffer_add_u64(buf, name->node.node_id);
	lms_buffer_add_u64(buf, name->node.folder_id);
	if (name->name != NULL)
		add_string(buf, name->name, name->name_size);
}

int lms_name_decode(const struct lms_value *value, struct lms_name_record *name_r)
{
	struct lms_reader reader;

	lms_reader_init(&reader, value->data, value->size);
	name_r->node.node_id = lms_reader_u64(&reader);
	name_r->node.folder_id = lms_reader_u64(&reader);
	name_r->name = NULL;
	name_r->name_size = 0;
	if (lms_reader_left(&reader) > 0)
		name_r->name = read_last_string(&reader, &name_r->name_size);
	return reader_end(&reader);
}

void lms_folder_encode(const struct lms_folder_record *folder, uint8_t head[LMS_RECORD_HEAD], struct lms_buffer *buf)
{
	const struct lms_folder *pub = &folder->pub;

	head_init(head);
	head[1] = (pub->have_pop3_uidl ? FOLDER_HAVE_POP3_UIDL : 0) |
		(pub->have_pop3_order ? FOLDER_HAVE_POP3_ORDER : 0);
	lms_buffer_add_u64(buf, folder->node_id);
	lms_buffer_add(buf, pub->guid, sizeof(pub->guid));
	lms_buffer_add_u32(buf, pub->uidvalidity);
	lms_buffer_add_u32(buf, pub->uidnext);
	lms_buffer_add_u32(buf, pub->first_recent_uid);
	lms_buffer_add_u32(buf, pub->messages);
	lms_buffer_add_u32(buf, pub->seen);
	lms_buffer_add_u32(buf, folder->change_records);
	lms_buffer_add_u64(buf, pub->change);
	lms_buffer_add_u64(buf, pub->changes_since);
	lms_buffer_add_u64(buf, pub->epoch);
	lms_buffer_add_u64(buf, pub->flag_change);
	lms_buffer_add_u64(buf, pub->modseq_floor);
	lms_buffer_add_u64(buf, pub->physical_size);
	lms_buffer_add_u64(buf, pub->virtual_size);
}

int lms_folder_decode(const struct lms_value *value, struct lms_folder_record *folder_r)
{
	struct lms_folder *pub = &folder_r->pub;
	struct lms_reader reader;
	const uint8_t *guid;

	memset(folder_r, 0, sizeof(*folder_r));
	pub->have_pop3_uidl = (value->head[1] & FOLDER_HAVE_POP3_UIDL) != 0;
	pub->have_pop3_order = (value->head[1] & FOLDER_HAVE_POP3_ORDER) != 0;
	lms_reader_init(&reader, value->data, value->size);
	folder_r->node_id = lms_reader_u64(&reader);
	guid = lms_reader_bytes(&reader, sizeof(pub->guid));
	if (guid != NULL)
		memcpy(pub->guid, guid, sizeof(pub->guid));
	pub->uidvalidity = lms_reader_u32(&reader);
	pub->uidnext = lms_reader_u32(&reader);
	pub->first_recent_uid = lms_reader_u32(&reader);
	pub->messages = lms_reader_u32(&reader);
	pub->seen = lms_reader_u32(&reader);
	folder_r->change_records = lms_reader_u32(&reader);
	pub->change = lms_reader_u64(&reader);
	pub->changes_since = lms_reader_u64(&reader);
	pub->epoch = lms_reader_u64(&reader);
	pub->flag_change = lms_reader_u64(&reader);
	pub->modseq_floor = lms_reader_u64(&reader);
	pub->physical_size = lms_reader_u64(&reader);
	pub->virtual_size = lms_reader_u64(&reader);
	return reader_end(&reader);
}

void lms_string_encode(const char *string, size_t size, uint8_t head[LMS_RECORD_HEAD], struct lms_buffer *buf)
{
	head_init(head);
	add_string(buf, string, size);
}

const char *lms_string_decode(const struct lms_value *value)
{
	struct lms_reader reader;
	size_t size;

	lms_reader_init(&reader, value->data, value->size);
	return read_last_string(&reader, &size);
}

void lms_number_encode(uint64_t number, uint8_t head[LMS_RECORD_HEAD], struct lms_buffer *buf)
{
	head_init(head);
	lms_buffer_add_u64(buf, number);
}

int lms_number_decode(const struct lms_value *value, uint64_t *number_r)
{
	struct lms_reader reader;

	lms_reader_init(&reader, value->data, value->size);
	*number_r = lms_reader_u64(&reader);
	return reader_end(&reader);
}

unsigned int lms_change_encode(const struct lms_change_range *ranges, unsigned int count,
			       uint8_t head[LMS_RECORD_HEAD], struct lms_buffer *buf)
{
	unsigned int i = 0, first;
	struct lms_buffer group;

	head_init(head);
	lms_buffer_init(&group);
	while (i < count && buf->size < LMS_CHANGE_SIZE && !buf->failed) {
		uint32_t last = 0;

		group.size = 0;
		for (first = i; i < count && ranges[i].kind == ranges[first].kind; i++) {
			if (i > first && (ranges[i].uid1 < last || buf->size + group.size >= LMS_CHANGE_SIZE))
				break;
			lms_buffer_add_varint(&group, ranges[i].uid1 - last);
			lms_buffer_add_varint(&group, ranges[i].uid2 - ranges[i].uid1);
			last = ranges[i].uid2;
		}
		lms_buffer_add_u8(buf, (uint8_t)ranges[first].kind);
		lms_buffer_add_varint(buf, i - first);
		lms_buffer_add(buf, group.data, group.size);
		if (group.failed)
			buf->failed = true;
	}
	lms_buffer_free(&group);
	return i;
}

void lms_change_reader_init(struct lms_change_reader *reader, const struct lms_value *value)
{
	memset(reader, 0, sizeof(*reader));
	lms_reader_init(&reader->reader, value->data, value->size);
}

int lms_change_read(struct lms_change_reader *reader, struct lms_change_range *range_r)
{
	uint64_t gap, length;

	if (reader->left == 0) {
		if (lms_reader_left(&reader->reader) == 0)
			return 0;
		reader->kind = lms_reader_u8(&reader->reader);
		reader->left = lms_reader_varint(&reader->reader);
		reader->last = 0;
		if ((reader->kind != LMS_CHANGE_EXPUNGE && reader->kind != LMS_CHANGE_FLAGS) || reader->left == 0)
			return -1;
	}
	reader->left--;
	gap = lms_reader_varint(&reader->reader);
	length = lms_reader_varint(&reader->reader);
	if (reader->reader.failed || gap > UINT32_MAX - reader->last ||
	    length > UINT32_MAX - reader->last - gap)
		return -1;
	range_r->kind = reader->kind;
	range_r->uid1 = reader->last + (uint32_t)gap;
	range_r->uid2 = range_r->uid1 + (uint32_t)length;
	reader->last = range_r->uid2;
	return 1;
}

unsigned int lms_garbage_encode(enum lms_garbage_kind kind, const uint64_t *ids, unsigned int count,
				uint8_t head[LMS_RECORD_HEAD], struct lms_buffer *buf)
{
	uint64_t last = 0;
	unsigned int i;

	head_init(head);
	head[1] = (uint8_t)kind;
	for (i = 0; i < count && buf->size < LMS_GARBAGE_SIZE && !buf->failed; i++) {
		lms_buffer_add_signed(buf, (int64_t)(ids[i] - last));
		last = ids[i];
	}
	return i;
}

int lms_garbage_decode(const struct lms_value *value, enum lms_garbage_kind *kind_r, uint64_t **ids_r,
		       unsigned int *count_r)
{
	struct lms_reader reader;
	uint64_t *ids, last = 0;
	unsigned int count = 0;

	*ids_r = NULL;
	*kind_r = value->head[1];
	if ((*kind_r != LMS_GARBAGE_BODIES && *kind_r != LMS_GARBAGE_FOLDER) || value->size == 0)
		return -1;
	/* Each id takes at least one byte. */
	ids = malloc(value->size * sizeof(*ids));
	if (ids == NULL)
		return -1;
	lms_reader_init(&reader, value->data, value->size);
	while (lms_reader_left(&reader) > 0) {
		last += (uint64_t)lms_reader_signed(&reader);
		ids[count++] = last;
	}
	if (reader.failed || (*kind_r == LMS_GARBAGE_FOLDER && count != 1)) {
		free(ids);
		return -1;
	}
	*ids_r = ids;
	*count_r = count;
	return 0;
}

void lms_attribute_encode(const struct lms_attribute_record *attribute, uint8_t head[LMS_RECORD_HEAD],
			  struct lms_buffer *buf)
{
	size_t size = strlen(attribute->key);

	head_init(head);
	lms_buffer_add_u64(buf, (uint64_t)attribute->changed);
	lms_buffer_add_varint(buf, size);
	add_string(buf, attribute->key, size);
	if (attribute->user != NULL) {
		head[1] |= ATTRIBUTE_HAVE_USER;
		size = strlen(attribute->user);
		lms_buffer_add_varint(buf, size);
		add_string(buf, attribute->user, size);
	}
	lms_buffer_add(buf, attribute->value, attribute->size);
}

int lms_attribute_decode(const struct lms_value *value, struct lms_attribute_record *attribute_r)
{
	struct lms_reader reader;

	memset(attribute_r, 0, sizeof(*attribute_r));
	lms_reader_init(&reader, value->data, value->size);
	attribute_r->changed = (int64_t)lms_reader_u64(&reader);
	attribute_r->key = lms_reader_string(&reader, lms_reader_varint(&reader));
	if ((value->head[1] & ATTRIBUTE_HAVE_USER) != 0)
		attribute_r->user = lms_reader_string(&reader, lms_reader_varint(&reader));
	attribute_r->size = lms_reader_left(&reader);
	attribute_r->value = lms_reader_bytes(&reader, attribute_r->size);
	return reader_end(&reader);
}
