/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lsi-merge.h"
#include "lms-message.h"

#include <stdlib.h>
#include <string.h>

/* To ask the store for a document takes about as long as to write this many bytes. */
#define DOC_BYTES 32

void lsi_merge_maps_free(struct lsi_merge_maps *maps)
{
	unsigned int i;

	for (i = 0; i < maps->count; i++)
		free(maps->maps[i]);
	free(maps->maps);
	memset(maps, 0, sizeof(*maps));
}

const struct lsi_segment *lsi_merge_segment(const struct lsi_index *index, uint64_t id)
{
	const struct lsi_snapshot *snapshot = index->snapshot;
	unsigned int i;

	for (i = 0; i < snapshot->count; i++) {
		if (snapshot->segments[i]->id == id)
			return snapshot->segments[i];
	}
	return NULL;
}

/* A document of an input */
struct merge_doc {
	struct lsi_doc doc;
	bool opaque;
	/* The order of inputs is that in which they were made: later ones know better. */
	unsigned int input;
	uint32_t number;
};

static int compare_docs(const void *_a, const void *_b)
{
	const struct merge_doc *a = _a, *b = _b;

	if (a->doc.body_id != b->doc.body_id)
		return a->doc.body_id < b->doc.body_id ? -1 : 1;
	return a->input < b->input ? -1 : a->input > b->input;
}

/* All documents of the inputs, sorted. malloc()ed; NULL on error. */
static struct merge_doc *collect_docs(struct lsi_index *index, const struct lsi_meta *meta, size_t *count_r,
				      struct lms_error *error_r)
{
	const struct lsi_segment *segment;
	struct merge_doc *docs, *doc;
	unsigned int i;
	uint32_t j;
	size_t count = 0;

	for (i = 0; i < meta->merge_count; i++) {
		segment = lsi_merge_segment(index, meta->merge_inputs[i]);
		if (segment == NULL) {
			lsi_fail_record(index, "merge", error_r);
			return NULL;
		}
		count += segment->docs;
	}
	docs = doc = malloc((count + 1) * sizeof(*docs));
	if (docs == NULL) {
		lsi_fail_memory(index, error_r);
		return NULL;
	}
	for (i = 0; i < meta->merge_count; i++) {
		segment = lsi_merge_segment(index, meta->merge_inputs[i]);
		for (j = 0; j < segment->docs; j++, doc++) {
			*doc = (struct merge_doc) {
				{ segment->ids[j], segment->checks[j] }, segment->opaque[j], i, j
			};
		}
	}
	qsort(docs, count, sizeof(*docs), compare_docs);
	*count_r = count;
	return docs;
}

/* 1 if a message has the body, 0 if not, -1. */
static int is_in_use(struct lsi_index *index, uint64_t body_id, struct lms_error *error_r)
{
	uint64_t refcount;
	int ret = lms_body_refcount(index->set.store, body_id, &refcount, error_r);

	return ret > 0 ? refcount > 0 : ret;
}

/* Write the table of documents of the segment that a merge makes. */
static int write_merged_docs(struct lsi_index *index, struct lms_txn *txn, struct lsi_meta *meta,
			     const struct merge_doc *all, size_t all_count)
{
	struct lsi_doc *docs = malloc((all_count + 1) * sizeof(*docs));
	bool *opaque = malloc((all_count + 1) * sizeof(*opaque));
	unsigned int count = 0;
	size_t i;
	int ret = 0;

	if (docs == NULL || opaque == NULL)
		ret = lsi_fail_memory(index, txn->error);
	for (i = 0; i < all_count && ret >= 0; i++) {
		/* The last one of those with one id is the one to keep. */
		if (i + 1 < all_count && all[i + 1].doc.body_id == all[i].doc.body_id)
			continue;
		ret = is_in_use(index, all[i].doc.body_id, txn->error);
		if (ret > 0) {
			docs[count] = all[i].doc;
			opaque[count++] = all[i].opaque;
		}
	}
	if (ret >= 0)
		ret = lsi_write_docs(txn, &meta->merge_output, docs, opaque, count);
	free(docs);
	free(opaque);
	return ret < 0 ? -1 : 0;
}

int lsi_merge_docs(struct lsi_index *index, struct lms_txn *txn, struct lsi_meta *meta, uint64_t *work)
{
	struct merge_doc *docs;
	size_t count = 0;
	int ret;

	if (lms_read_begin(index->set.store, txn->error) < 0)
		return -1;
	docs = collect_docs(index, meta, &count, txn->error);
	ret = docs == NULL ? -1 : write_merged_docs(index, txn, meta, docs, count);
	lms_read_end(index->set.store);
	free(docs);
	*work += count * DOC_BYTES;
	return ret;
}

static int alloc_maps(struct lsi_index *index, const struct lsi_meta *meta)
{
	struct lsi_merge_maps *maps = &index->maps;
	const struct lsi_segment *segment;
	unsigned int i;

	maps->maps = calloc(meta->merge_count, sizeof(*maps->maps));
	if (maps->maps == NULL)
		return -1;
	for (i = 0; i < meta->merge_count; i++) {
		segment = lsi_merge_segment(index, meta->merge_inputs[i]);
		maps->maps[i] = malloc((segment->docs + (size_t)1) * sizeof(*maps->maps[i]));
		if (maps->maps[i] == NULL)
			return -1;
		maps->count++;
	}
	return 0;
}

static int fill_maps(struct lsi_index *index, struct lms_txn *txn, const struct lsi_meta *meta,
		     const struct lsi_segment *output)
{
	struct merge_doc *docs;
	size_t count, i;
	uint32_t number = 0;

	docs = collect_docs(index, meta, &count, txn->error);
	if (docs == NULL)
		return -1;
	if (alloc_maps(index, meta) < 0) {
		free(docs);
		return lsi_fail_memory(index, txn->error);
	}
	for (i = 0; i < count; i++) {
		uint32_t *map = &index->maps.maps[docs[i].input][docs[i].number];

		while (number < output->docs && output->ids[number] < docs[i].doc.body_id)
			number++;
		*map = LSI_DROPPED;
		if (i + 1 < count && docs[i + 1].doc.body_id == docs[i].doc.body_id)
			continue;
		if (number < output->docs && output->ids[number] == docs[i].doc.body_id && !docs[i].opaque)
			*map = number;
	}
	free(docs);
	return 0;
}

int lsi_merge_load_maps(struct lsi_index *index, struct lms_txn *txn, const struct lsi_meta *meta)
{
	struct lsi_segment *output;
	int ret;

	if (index->maps.output_id == meta->merge_output.id)
		return 0;
	lsi_merge_maps_free(&index->maps);
	output = lsi_segment_load(index, txn, &meta->merge_output);
	if (output == NULL)
		return -1;
	ret = fill_maps(index, txn, meta, output);
	lsi_segment_unref(&output);
	if (ret < 0)
		lsi_merge_maps_free(&index->maps);
	else
		index->maps.output_id = meta->merge_output.id;
	return ret;
}
