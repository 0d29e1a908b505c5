/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lsi-private.h"
#include "lms-map.h"
#include "lms-message.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int count_gone(struct lsi_index *index, const struct lsi_snapshot *snapshot, uint64_t *gone_r,
		      struct lms_error *error_r)
{
	uint64_t refcount;
	unsigned int i;
	uint32_t j;
	int ret;

	*gone_r = 0;
	for (i = 0; i < snapshot->count; i++) {
		for (j = 0; j < snapshot->segments[i]->docs; j++) {
			ret = lms_body_refcount(index->set.store, snapshot->segments[i]->ids[j], &refcount, error_r);
			if (ret < 0)
				return -1;
			if (ret == 0 || refcount == 0)
				(*gone_r)++;
		}
	}
	return 0;
}

static int fill_status(struct lsi_index *index, struct lms_txn *txn, struct lsi_status *status_r)
{
	struct lsi_meta *meta = malloc(sizeof(*meta));
	uint64_t free_pages;
	unsigned int i;
	int ret;

	ret = meta == NULL ? lsi_fail_memory(index, txn->error) : lsi_meta_read(index, txn, meta);
	if (ret == 0)
		ret = lms_txn_free_pages(txn, 0, &free_pages);
	if (ret == 0) {
		status_r->segments = meta->segment_count;
		status_r->pending = meta->garbage_count > 0 || meta->merge_count > 0 || meta->optimize;
		for (i = 0; i < meta->segment_count; i++) {
			status_r->documents += meta->segments[i].docs;
			status_r->opaque += meta->segments[i].opaque;
			status_r->words += meta->segments[i].words;
			status_r->text_bytes += meta->segments[i].text_bytes;
			status_r->list_bytes += meta->segments[i].list_bytes;
		}
		status_r->file_bytes = lms_map_file_bytes(index->env);
		status_r->used_bytes = lms_map_file_used(index->env) - free_pages * lms_map_page_size(index->env);
	}
	free(meta);
	return ret;
}

int lsi_get_status(struct lsi_index *index, struct lsi_status *status_r, struct lms_error *error_r)
{
	struct lsi_snapshot *snapshot;
	struct lms_txn txn;
	int ret;

	memset(status_r, 0, sizeof(*status_r));
	if (lsi_search_begin(index, &snapshot, error_r) < 0)
		return -1;
	ret = lms_txn_read(&txn, index->env, error_r);
	if (ret == 0) {
		ret = fill_status(index, &txn, status_r);
		lms_txn_read_end(&txn);
	}
	if (ret == 0 && (ret = lms_read_begin(index->set.store, error_r)) == 0) {
		ret = count_gone(index, snapshot, &status_r->gone, error_r);
		lms_read_end(index->set.store);
	}
	lsi_search_end(index);
	lsi_snapshot_unref(&snapshot);
	return ret < 0 ? -1 : 0;
}

struct check {
	struct lsi_index *index;
	struct lms_txn txn;
	lsi_check_callback *callback;
	void *context;
	const struct lsi_segment_info *info;
	bool failed;
	struct lsi_word last;
	uint64_t words, text_bytes;
	uint32_t *numbers;
};

static void report(struct check *check, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void report(struct check *check, const char *format, ...)
{
	char text[256];
	va_list args;

	check->failed = true;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	check->callback(text, check->context);
}

/* Returns 0, or -1 if the rest of the records can't be read. */
static int check_chunk(struct check *check, struct lsi_reader *reader)
{
	struct lsi_chunk *chunk = &reader->chunk;
	unsigned long long id = check->info->id;
	struct lsi_word word;
	int ret, count, i;

	while ((ret = lsi_chunk_next(chunk)) > 0) {
		lsi_word_set(&word, reader->last.field, chunk->token, chunk->token_size);
		if (check->last.size > 0 && lsi_word_compare(&check->last, &word) >= 0)
			report(check, "segment %llx: words aren't in order", id);
		check->last = word;
		check->words++;
		check->text_bytes += chunk->token_size + 1;
		count = lsi_chunk_numbers(chunk, check->numbers);
		if (count <= 0)
			report(check, "segment %llx: a word has no documents", id);
		for (i = 0; i < count; i++) {
			if (check->numbers[i] >= check->info->docs)
				report(check, "segment %llx: a word has a document that isn't there", id);
		}
	}
	if (ret < 0)
		report(check, "segment %llx: words can't be read", id);
	return ret;
}

static int check_words(struct check *check, const struct lsi_segment *segment)
{
	unsigned long long id = check->info->id;
	struct lsi_reader reader;
	uint32_t chunks = 0;
	int ret;

	check->words = check->text_bytes = 0;
	memset(&check->last, 0, sizeof(check->last));
	if (lsi_reader_open(&reader, check->index, &check->txn, segment, -1) < 0)
		return -1;
	ret = lsi_reader_first(&reader);
	for (; ret > 0; ret = lsi_reader_next(&reader)) {
		chunks++;
		if (check_chunk(check, &reader) < 0)
			break;
	}
	lsi_reader_close(&reader);
	if (ret < 0)
		return -1;
	if (chunks != check->info->chunks || check->words != check->info->words ||
	    check->text_bytes != check->info->text_bytes)
		report(check, "segment %llx: words are missing", id);
	return 0;
}

static int check_segment(struct check *check)
{
	struct lsi_segment *segment = lsi_segment_load(check->index, &check->txn, check->info);
	int ret;

	if (segment == NULL)
		return -1;
	check->numbers = malloc((check->info->docs + (size_t)1) * sizeof(*check->numbers));
	ret = check->numbers == NULL ? lsi_fail_memory(check->index, check->txn.error) : check_words(check, segment);
	free(check->numbers);
	lsi_segment_unref(&segment);
	return ret;
}

static int check_segments(struct check *check, struct lsi_meta *meta)
{
	unsigned int i;
	int ret = lsi_meta_read(check->index, &check->txn, meta);

	for (i = 0; ret == 0 && i < meta->segment_count; i++) {
		check->info = &meta->segments[i];
		ret = check_segment(check);
	}
	return ret;
}

int lsi_check(struct lsi_index *index, lsi_check_callback *callback, void *context, struct lms_error *error_r)
{
	struct lsi_meta *meta;
	struct check check;
	int ret;

	memset(&check, 0, sizeof(check));
	check.index = index;
	check.callback = callback;
	check.context = context;
	if (lsi_index_follow(index, error_r) < 0 || lms_txn_read(&check.txn, index->env, error_r) < 0)
		return -1;
	meta = malloc(sizeof(*meta));
	ret = meta == NULL ? lsi_fail_memory(index, error_r) : check_segments(&check, meta);
	free(meta);
	lms_txn_read_end(&check.txn);
	return ret < 0 ? -1 : !check.failed;
}
