/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lsi-format.h"

#include <string.h>

/* The two lowest bits of a word's varint */
enum {
	LIST_DELTAS = 0,
	LIST_SINGLE = 1,
	LIST_BITMAP = 2
};

static void head_init(uint8_t head[LMS_RECORD_HEAD])
{
	memset(head, 0, LMS_RECORD_HEAD);
	head[0] = LMS_RECORD_VERSION;
}

int lsi_word_compare(const struct lsi_word *a, const struct lsi_word *b)
{
	int ret;

	if (a->field != b->field)
		return (int)a->field - (int)b->field;
	ret = memcmp(a->text, b->text, a->size < b->size ? a->size : b->size);
	return ret != 0 ? ret : (int)a->size - (int)b->size;
}

void lsi_word_set(struct lsi_word *word, uint8_t field, const uint8_t *text, size_t size)
{
	word->field = field;
	word->size = (uint8_t)size;
	memcpy(word->text, text, size);
}

static void encode_word(const struct lsi_word *word, struct lms_buffer *buf)
{
	lms_buffer_add_u8(buf, word->field);
	lms_buffer_add_u8(buf, word->size);
	lms_buffer_add(buf, word->text, word->size);
}

static void decode_word(struct lms_reader *reader, struct lsi_word *word)
{
	const uint8_t *text;

	memset(word, 0, sizeof(*word));
	word->field = lms_reader_u8(reader);
	word->size = lms_reader_u8(reader);
	if (word->size > LSI_TOKEN_MAX) {
		word->size = 0;
		reader->failed = true;
	} else if ((text = lms_reader_bytes(reader, word->size)) != NULL) {
		memcpy(word->text, text, word->size);
	}
}

static void encode_info(const struct lsi_segment_info *info, struct lms_buffer *buf)
{
	lms_buffer_add_varint(buf, info->id);
	lms_buffer_add_varint(buf, info->docs);
	lms_buffer_add_varint(buf, info->opaque);
	lms_buffer_add_varint(buf, info->chunks);
	lms_buffer_add_varint(buf, info->words);
	lms_buffer_add_varint(buf, info->text_bytes);
	lms_buffer_add_varint(buf, info->list_bytes);
	encode_word(&info->last, buf);
}

static uint32_t read_u32_varint(struct lms_reader *reader)
{
	uint64_t value = lms_reader_varint(reader);

	if (value > UINT32_MAX)
		reader->failed = true;
	return (uint32_t)value;
}

static void decode_info(struct lms_reader *reader, struct lsi_segment_info *info)
{
	info->id = lms_reader_varint(reader);
	info->docs = read_u32_varint(reader);
	info->opaque = read_u32_varint(reader);
	info->chunks = read_u32_varint(reader);
	info->words = lms_reader_varint(reader);
	info->text_bytes = lms_reader_varint(reader);
	info->list_bytes = lms_reader_varint(reader);
	decode_word(reader, &info->last);
}

void lsi_meta_encode(const struct lsi_meta *meta, uint8_t head[LMS_RECORD_HEAD], struct lms_buffer *buf)
{
	unsigned int i;

	head_init(head);
	lms_buffer_add_u32(buf, meta->format);
	lms_buffer_add_u64(buf, meta->generation);
	lms_buffer_add_u64(buf, meta->next_id);
	lms_buffer_add(buf, meta->store, sizeof(meta->store));
	lms_buffer_add(buf, meta->boot, sizeof(meta->boot));
	lms_buffer_add_varint(buf, strlen(meta->producer));
	lms_buffer_add(buf, meta->producer, strlen(meta->producer) + 1);
	lms_buffer_add_u8(buf, meta->optimize ? 1 : 0);
	lms_buffer_add_varint(buf, meta->segment_count);
	for (i = 0; i < meta->segment_count; i++)
		encode_info(&meta->segments[i], buf);
	lms_buffer_add_varint(buf, meta->garbage_count);
	for (i = 0; i < meta->garbage_count; i++)
		lms_buffer_add_varint(buf, meta->garbage[i]);
	lms_buffer_add_varint(buf, meta->merge_count);
	if (meta->merge_count == 0)
		return;
	for (i = 0; i < meta->merge_count; i++)
		lms_buffer_add_varint(buf, meta->merge_inputs[i]);
	encode_info(&meta->merge_output, buf);
	encode_word(&meta->merge_word, buf);
}

static unsigned int decode_count(struct lms_reader *reader, unsigned int max)
{
	uint64_t count = lms_reader_varint(reader);

	if (count <= max)
		return (unsigned int)count;
	reader->failed = true;
	return 0;
}

static void decode_merge(struct lms_reader *reader, struct lsi_meta *meta_r)
{
	unsigned int i;

	meta_r->merge_count = decode_count(reader, LSI_MERGE_MAX);
	if (meta_r->merge_count == 0)
		return;
	for (i = 0; i < meta_r->merge_count; i++)
		meta_r->merge_inputs[i] = lms_reader_varint(reader);
	decode_info(reader, &meta_r->merge_output);
	decode_word(reader, &meta_r->merge_word);
}

int lsi_meta_decode(const struct lms_value *value, struct lsi_meta *meta_r)
{
	struct lms_reader reader;
	const uint8_t *bytes;
	const char *producer;
	unsigned int i;
	size_t size;

	memset(meta_r, 0, sizeof(*meta_r));
	lms_reader_init(&reader, value->data, value->size);
	meta_r->format = lms_reader_u32(&reader);
	/* What follows is known only in this format. */
	if (reader.failed || meta_r->format != LSI_FORMAT)
		return reader.failed ? -1 : 0;
	meta_r->generation = lms_reader_u64(&reader);
	meta_r->next_id = lms_reader_u64(&reader);
	if ((bytes = lms_reader_bytes(&reader, sizeof(meta_r->store))) != NULL)
		memcpy(meta_r->store, bytes, sizeof(meta_r->store));
	if ((bytes = lms_reader_bytes(&reader, sizeof(meta_r->boot))) != NULL)
		memcpy(meta_r->boot, bytes, sizeof(meta_r->boot));
	size = decode_count(&reader, sizeof(meta_r->producer) - 1);
	if ((producer = lms_reader_string(&reader, size)) != NULL)
		memcpy(meta_r->producer, producer, size);
	meta_r->optimize = lms_reader_u8(&reader) != 0;
	meta_r->segment_count = decode_count(&reader, LSI_SEGMENTS_MAX);
	for (i = 0; i < meta_r->segment_count; i++)
		decode_info(&reader, &meta_r->segments[i]);
	meta_r->garbage_count = decode_count(&reader, LSI_SEGMENTS_MAX);
	for (i = 0; i < meta_r->garbage_count; i++)
		meta_r->garbage[i] = lms_reader_varint(&reader);
	decode_merge(&reader, meta_r);
	return reader.failed || reader.pos != reader.end ? -1 : 0;
}

void lsi_key_segment(struct lms_key *key, uint64_t id)
{
	lms_key_id(key, id);
}

void lsi_key_docs(struct lms_key *key, uint64_t id, uint32_t part)
{
	lms_key_id(key, id);
	key->data[key->size++] = LSI_KIND_DOCS;
	lms_put_be32(key->data + key->size, part);
	key->size += 4;
}

void lsi_key_field(struct lms_key *key, uint64_t id, enum lsi_kind kind, uint8_t field)
{
	lms_key_id(key, id);
	key->data[key->size++] = (uint8_t)kind;
	key->data[key->size++] = field;
}

void lsi_key_word(struct lms_key *key, uint64_t id, enum lsi_kind kind, const struct lsi_word *word)
{
	lsi_key_field(key, id, kind, word->field);
	memcpy(key->data + key->size, word->text, word->size);
	key->size += word->size;
}

int lsi_key_get_word(const uint8_t *key, size_t size, uint64_t id, struct lsi_word *word_r)
{
	if (size <= 10 || size > 10 + LSI_TOKEN_MAX || lms_key_get_id(key) != id || key[8] != LSI_KIND_WORDS)
		return -1;
	lsi_word_set(word_r, key[9], key + 10, size - 10);
	return 0;
}

void lsi_docs_encode(const struct lsi_doc *docs, const bool *opaque, unsigned int count, uint8_t head[LMS_RECORD_HEAD],
		     struct lms_buffer *buf)
{
	uint64_t last = 0;
	unsigned int i;

	head_init(head);
	for (i = 0; i < count; i++) {
		lms_buffer_add_varint(buf, (docs[i].body_id - last) * 2 + (opaque[i] ? 1 : 0));
		lms_buffer_add_u32(buf, docs[i].check);
		last = docs[i].body_id;
	}
}

int lsi_docs_decode(const struct lms_value *value, uint64_t *ids, uint32_t *checks, bool *opaque, unsigned int count)
{
	struct lms_reader reader;
	uint64_t last = 0, number;
	unsigned int i;

	lms_reader_init(&reader, value->data, value->size);
	for (i = 0; i < count; i++) {
		number = lms_reader_varint(&reader);
		opaque[i] = (number & 1) != 0;
		last += number / 2;
		ids[i] = last;
		checks[i] = lms_reader_u32(&reader);
		/* They are looked up by bisection. */
		if (i > 0 && ids[i] <= ids[i - 1])
			return -1;
	}
	return reader.failed || reader.pos != reader.end ? -1 : 0;
}

static size_t bitmap_size(uint32_t docs)
{
	return docs / 8 + (docs % 8 != 0 ? 1 : 0);
}

static void encode_bitmap(const uint32_t *numbers, unsigned int count, uint32_t docs, struct lms_buffer *lists)
{
	static const uint8_t zeros[512];
	size_t begin = lists->size, left = bitmap_size(docs), part;
	unsigned int i;

	for (; left > 0; left -= part) {
		part = left < sizeof(zeros) ? left : sizeof(zeros);
		lms_buffer_add(lists, zeros, part);
	}
	for (i = 0; i < count && !lists->failed; i++)
		lists->data[begin + numbers[i] / 8] |= (uint8_t)(1u << (numbers[i] % 8));
}

uint64_t lsi_list_encode(const uint32_t *numbers, unsigned int count, uint32_t docs, struct lms_buffer *lists)
{
	size_t begin = lists->size;
	uint32_t next = 0;
	unsigned int i;

	if (count == 1)
		return (uint64_t)numbers[0] << 2 | LIST_SINGLE;
	/* Each number takes at least a byte. */
	for (i = 0; i < count && lists->size - begin < bitmap_size(docs); i++) {
		lms_buffer_add_varint(lists, numbers[i] - next);
		next = numbers[i] + 1;
	}
	if (i == count && lists->size - begin <= bitmap_size(docs))
		return (uint64_t)(lists->size - begin) << 2 | LIST_DELTAS;
	lists->size = begin;
	encode_bitmap(numbers, count, docs, lists);
	return LIST_BITMAP;
}

void lsi_chunk_encode(const struct lsi_word *before, unsigned int count, const struct lms_buffer *text,
		      const struct lms_buffer *entries, struct lms_buffer *buf)
{
	encode_word(before, buf);
	lms_buffer_add_varint(buf, count);
	lms_buffer_add_varint(buf, text->size);
	lms_buffer_add(buf, text->data, text->size);
	lms_buffer_add(buf, entries->data, entries->size);
	if (text->failed || entries->failed)
		buf->failed = true;
}

int lsi_chunk_get_before(const struct lms_value *words, struct lsi_word *before_r)
{
	struct lms_reader reader;

	lms_reader_init(&reader, words->data, words->size);
	decode_word(&reader, before_r);
	return reader.failed ? -1 : 0;
}

int lsi_chunk_init(struct lsi_chunk *chunk, const struct lms_value *words, const struct lms_value *lists,
		   uint32_t docs)
{
	uint64_t count, text_size;
	struct lsi_word before;

	memset(chunk, 0, sizeof(*chunk));
	lms_reader_init(&chunk->words, words->data, words->size);
	lms_reader_init(&chunk->lists, lists->data, lists->size);
	decode_word(&chunk->words, &before);
	count = lms_reader_varint(&chunk->words);
	text_size = lms_reader_varint(&chunk->words);
	chunk->text = lms_reader_bytes(&chunk->words, text_size);
	if (chunk->text == NULL || count == 0 || count > text_size || chunk->text[text_size - 1] != '\0')
		return -1;
	chunk->text_end = chunk->text + text_size;
	chunk->left = (unsigned int)count;
	chunk->docs = docs;
	chunk->token = chunk->text;
	return 0;
}

/* Read the word's varint, and skip its list. */
static int next_entry(struct lsi_chunk *chunk)
{
	if (chunk->left == 0)
		return -1;
	chunk->left--;
	chunk->entry = lms_reader_varint(&chunk->words);
	switch (chunk->entry & 3) {
	case LIST_DELTAS:
		chunk->list_size = chunk->entry >> 2;
		break;
	case LIST_SINGLE:
		chunk->list_size = 0;
		break;
	case LIST_BITMAP:
		chunk->list_size = bitmap_size(chunk->docs);
		break;
	default:
		return -1;
	}
	chunk->list = lms_reader_bytes(&chunk->lists, chunk->list_size);
	return chunk->words.failed || chunk->lists.failed ? -1 : 0;
}

int lsi_chunk_next(struct lsi_chunk *chunk)
{
	const uint8_t *end;

	chunk->token += chunk->token_size + (chunk->token_size > 0 ? 1 : 0);
	if (chunk->token == chunk->text_end)
		return chunk->left == 0 ? 0 : -1;
	end = memchr(chunk->token, '\0', (size_t)(chunk->text_end - chunk->token));
	if (end == NULL || end == chunk->token || next_entry(chunk) < 0)
		return -1;
	chunk->token_size = (size_t)(end - chunk->token);
	return chunk->token_size <= LSI_TOKEN_MAX ? 1 : -1;
}

/* Number of NULs, eight bytes at a time: a search that finds many words spends its time here. */
static unsigned int count_words(const uint8_t *data, const uint8_t *end)
{
	const uint64_t low = 0x7f7f7f7f7f7f7f7full;
	unsigned int count = 0;
	uint64_t bytes;

	for (; end - data >= 8; data += 8) {
		memcpy(&bytes, data, sizeof(bytes));
		/* The high bit of each byte that is 0; then the sum of these bytes in the highest one */
		bytes = ~(((bytes & low) + low) | bytes | low);
		count += (unsigned int)((bytes >> 7) * 0x0101010101010101ull >> 56);
	}
	for (; data < end; data++)
		count += *data == '\0';
	return count;
}

int lsi_chunk_goto(struct lsi_chunk *chunk, const uint8_t *pos)
{
	const uint8_t *end = memchr(pos, '\0', (size_t)(chunk->text_end - pos)), *begin = pos;
	unsigned int count;

	if (chunk->token_size == 0 && lsi_chunk_next(chunk) <= 0)
		return -1;
	if (end == NULL || pos < chunk->token)
		return -1;
	if (pos < chunk->token + chunk->token_size)
		return 0;
	for (count = count_words(chunk->token, pos); count > 0; count--) {
		if (next_entry(chunk) < 0)
			return -1;
	}
	while (begin > chunk->token && begin[-1] != '\0')
		begin--;
	chunk->token = begin;
	chunk->token_size = (size_t)(end - begin);
	return chunk->token_size > 0 && chunk->token_size <= LSI_TOKEN_MAX ? 0 : -1;
}

static int add_deltas(const struct lsi_chunk *chunk, uint64_t *bits)
{
	struct lms_reader reader;
	uint64_t number, next = 0;

	lms_reader_init(&reader, chunk->list, chunk->list_size);
	while (lms_reader_left(&reader) > 0) {
		number = next + lms_reader_varint(&reader);
		if (number < next || number >= chunk->docs)
			return -1;
		bits[number / 64] |= (uint64_t)1 << (number % 64);
		next = number + 1;
	}
	return reader.failed ? -1 : 0;
}

int lsi_chunk_add_bits(const struct lsi_chunk *chunk, uint64_t *bits)
{
	uint64_t number = chunk->entry >> 2;
	size_t i;

	switch (chunk->entry & 3) {
	case LIST_DELTAS:
		return add_deltas(chunk, bits);
	case LIST_SINGLE:
		if (number >= chunk->docs)
			return -1;
		bits[number / 64] |= (uint64_t)1 << (number % 64);
		return 0;
	default:
		for (i = 0; i < chunk->list_size; i++)
			bits[i / 8] |= (uint64_t)chunk->list[i] << (i % 8 * 8);
		return 0;
	}
}

static int bitmap_numbers(const struct lsi_chunk *chunk, uint32_t *numbers)
{
	uint32_t number;
	int count = 0;

	for (number = 0; number < chunk->docs; number++) {
		if ((chunk->list[number / 8] >> (number % 8) & 1) != 0)
			numbers[count++] = number;
	}
	return count;
}

int lsi_chunk_numbers(const struct lsi_chunk *chunk, uint32_t *numbers)
{
	struct lms_reader reader;
	uint64_t number, next = 0;
	int count = 0;

	switch (chunk->entry & 3) {
	case LIST_SINGLE:
		numbers[0] = (uint32_t)(chunk->entry >> 2);
		return chunk->entry >> 2 < chunk->docs ? 1 : -1;
	case LIST_BITMAP:
		return bitmap_numbers(chunk, numbers);
	}
	lms_reader_init(&reader, chunk->list, chunk->list_size);
	while (lms_reader_left(&reader) > 0) {
		number = next + lms_reader_varint(&reader);
		if (number < next || number >= chunk->docs)
			return -1;
		numbers[count++] = (uint32_t)number;
		next = number + 1;
	}
	return reader.failed ? -1 : count;
}
