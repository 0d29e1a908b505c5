/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lsi-private.h"

#include <string.h>

/* The most that stands before the text, and what a word adds beside its text */
#define CHUNK_HEAD (2 + LSI_TOKEN_MAX + 20)

void lsi_writer_init(struct lsi_writer *writer, struct lms_txn *txn, struct lsi_segment_info *info)
{
	writer->txn = txn;
	writer->info = info;
	writer->count = 0;
	writer->written = 0;
	memset(&writer->word, 0, sizeof(writer->word));
	lms_buffer_init(&writer->text);
	lms_buffer_init(&writer->entries);
	lms_buffer_init(&writer->lists);
}

void lsi_writer_free(struct lsi_writer *writer)
{
	lms_buffer_free(&writer->text);
	lms_buffer_free(&writer->entries);
	lms_buffer_free(&writer->lists);
}

static int put(struct lsi_writer *writer, enum lsi_kind kind, const struct lms_buffer *buf)
{
	static const uint8_t head[LMS_RECORD_HEAD] = { LMS_RECORD_VERSION, 0, 0, 0 };
	struct lms_key key;

	lsi_key_word(&key, writer->info->id, kind, &writer->word);
	writer->written += buf->size;
	return lms_put_buffer(writer->txn, 0, &key, head, buf);
}

static int write_chunk(struct lsi_writer *writer)
{
	struct lms_buffer buf;
	int ret;

	if (writer->count == 0)
		return 0;
	lms_buffer_init(&buf);
	lsi_chunk_encode(&writer->info->last, writer->count, &writer->text, &writer->entries, &buf);
	ret = put(writer, LSI_KIND_WORDS, &buf);
	lms_buffer_free(&buf);
	if (ret == 0)
		ret = put(writer, LSI_KIND_LISTS, &writer->lists);
	writer->info->last = writer->word;
	writer->info->chunks++;
	writer->info->words += writer->count;
	writer->info->text_bytes += writer->text.size;
	writer->info->list_bytes += writer->entries.size + writer->lists.size;
	writer->count = 0;
	writer->text.size = writer->entries.size = writer->lists.size = 0;
	return ret;
}

int lsi_writer_add(struct lsi_writer *writer, uint8_t field, const uint8_t *token, size_t size,
		   const uint32_t *numbers, unsigned int count)
{
	size_t lists_before = writer->lists.size;
	uint64_t entry;

	if (writer->count > 0 && field != writer->word.field && write_chunk(writer) < 0)
		return -1;
	entry = lsi_list_encode(numbers, count, writer->info->docs, &writer->lists);
	if (writer->count > 0 && (writer->text.size + writer->entries.size + size + CHUNK_HEAD > LSI_CHUNK_SIZE ||
				  writer->lists.size > LSI_CHUNK_SIZE)) {
		writer->lists.size = lists_before;
		if (write_chunk(writer) < 0)
			return -1;
		entry = lsi_list_encode(numbers, count, writer->info->docs, &writer->lists);
	}
	lms_buffer_add(&writer->text, token, size);
	lms_buffer_add_u8(&writer->text, '\0');
	lms_buffer_add_varint(&writer->entries, entry);
	writer->count++;
	lsi_word_set(&writer->word, field, token, size);
	return 0;
}

int lsi_writer_finish(struct lsi_writer *writer)
{
	return write_chunk(writer);
}

int lsi_write_docs(struct lms_txn *txn, struct lsi_segment_info *info, const struct lsi_doc *docs, const bool *opaque,
		   unsigned int count)
{
	uint8_t head[LMS_RECORD_HEAD];
	struct lms_buffer buf;
	struct lms_key key;
	unsigned int i, part;
	int ret = 0;

	info->docs = count;
	info->opaque = 0;
	for (i = 0; i < count; i++)
		info->opaque += opaque[i] ? 1 : 0;
	for (i = 0; i < count && ret == 0; i += part) {
		part = count - i < LSI_PART_DOCS ? count - i : LSI_PART_DOCS;
		lms_buffer_init(&buf);
		lsi_docs_encode(docs + i, opaque + i, part, head, &buf);
		lsi_key_docs(&key, info->id, i / LSI_PART_DOCS);
		ret = lms_put_buffer(txn, 0, &key, head, &buf);
		lms_buffer_free(&buf);
	}
	return ret;
}
