/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lsi-private.h"

#include <stdlib.h>
#include <string.h>

static struct lsi_segment *segment_alloc(const struct lsi_segment_info *info)
{
	struct lsi_segment *segment = calloc(1, sizeof(*segment));
	size_t count = info->docs > 0 ? info->docs : 1;

	if (segment == NULL)
		return NULL;
	segment->refcount = 1;
	segment->id = info->id;
	segment->docs = info->docs;
	segment->opaque_count = info->opaque;
	segment->last = info->last;
	segment->ids = calloc(count, sizeof(*segment->ids));
	segment->checks = calloc(count, sizeof(*segment->checks));
	segment->opaque = calloc(count, sizeof(*segment->opaque));
	if (segment->ids == NULL || segment->checks == NULL || segment->opaque == NULL)
		lsi_segment_unref(&segment);
	return segment;
}

void lsi_segment_unref(struct lsi_segment **_segment)
{
	struct lsi_segment *segment = *_segment;

	*_segment = NULL;
	if (segment == NULL || --segment->refcount > 0)
		return;
	free(segment->ids);
	free(segment->checks);
	free(segment->opaque);
	free(segment);
}

static int load_docs(struct lsi_index *index, struct lms_txn *txn, struct lsi_segment *segment)
{
	struct lms_value value;
	struct lms_key key;
	uint32_t done = 0, count;
	int ret;

	while (done < segment->docs) {
		count = segment->docs - done < LSI_PART_DOCS ? segment->docs - done : LSI_PART_DOCS;
		lsi_key_docs(&key, segment->id, done / LSI_PART_DOCS);
		ret = lms_get(txn, 0, &key, &value);
		if (ret < 0)
			return -1;
		if (ret == 0 || lsi_docs_decode(&value, segment->ids + done, segment->checks + done,
						segment->opaque + done, count) < 0 ||
		    (done > 0 && segment->ids[done] <= segment->ids[done - 1]))
			return lsi_fail_record(index, "documents", txn->error);
		done += count;
	}
	return 0;
}

struct lsi_segment *lsi_segment_load(struct lsi_index *index, struct lms_txn *txn, const struct lsi_segment_info *info)
{
	struct lsi_segment *segment = segment_alloc(info);

	if (segment == NULL)
		lsi_fail_memory(index, txn->error);
	else if (load_docs(index, txn, segment) < 0)
		lsi_segment_unref(&segment);
	return segment;
}

static struct lsi_segment *find_segment(const struct lsi_snapshot *snapshot, uint64_t id)
{
	unsigned int i;

	for (i = 0; snapshot != NULL && i < snapshot->count; i++) {
		if (snapshot->segments[i]->id == id)
			return snapshot->segments[i];
	}
	return NULL;
}

/* Segments don't change: those of the last snapshot are used again. */
static int fill(struct lsi_index *index, struct lms_txn *txn, const struct lsi_meta *meta,
		struct lsi_snapshot *snapshot)
{
	struct lsi_segment *segment;
	uint64_t position = 0;
	unsigned int i;

	for (i = 0; i < meta->segment_count; i++) {
		segment = find_segment(index->snapshot, meta->segments[i].id);
		if (segment != NULL)
			segment->refcount++;
		else if ((segment = lsi_segment_load(index, txn, &meta->segments[i])) == NULL)
			return -1;
		snapshot->segments[snapshot->count] = segment;
		snapshot->bases[snapshot->count++] = (uint32_t)position;
		position += ((uint64_t)segment->docs + 63) / 64 * 64;
		if (position >= LSI_OPAQUE)
			return lsi_fail_record(index, "number of documents", txn->error);
	}
	snapshot->words = position / 64;
	return 0;
}

int lsi_snapshot_load(struct lsi_index *index, struct lms_txn *txn, const struct lsi_meta *meta)
{
	struct lsi_snapshot *snapshot;
	size_t count = meta->segment_count > 0 ? meta->segment_count : 1;

	if (index->snapshot != NULL && index->snapshot->generation == meta->generation)
		return 0;
	snapshot = calloc(1, sizeof(*snapshot));
	if (snapshot == NULL)
		return lsi_fail_memory(index, txn->error);
	snapshot->refcount = 1;
	snapshot->generation = meta->generation;
	snapshot->segments = calloc(count, sizeof(*snapshot->segments));
	snapshot->bases = calloc(count, sizeof(*snapshot->bases));
	if (snapshot->segments == NULL || snapshot->bases == NULL) {
		lsi_snapshot_unref(&snapshot);
		return lsi_fail_memory(index, txn->error);
	}
	if (fill(index, txn, meta, snapshot) < 0) {
		lsi_snapshot_unref(&snapshot);
		return -1;
	}
	lsi_snapshot_drop(index);
	index->snapshot = snapshot;
	return 0;
}

void lsi_snapshot_drop(struct lsi_index *index)
{
	lsi_snapshot_unref(&index->snapshot);
}

void lsi_snapshot_ref(struct lsi_snapshot *snapshot)
{
	snapshot->refcount++;
}

void lsi_snapshot_unref(struct lsi_snapshot **_snapshot)
{
	struct lsi_snapshot *snapshot = *_snapshot;
	unsigned int i;

	*_snapshot = NULL;
	if (snapshot == NULL || --snapshot->refcount > 0)
		return;
	for (i = 0; i < snapshot->count; i++)
		lsi_segment_unref(&snapshot->segments[i]);
	free(snapshot->segments);
	free(snapshot->bases);
	free(snapshot);
}

uint64_t lsi_snapshot_generation(const struct lsi_snapshot *snapshot)
{
	return snapshot->generation;
}

int lsi_search_begin(struct lsi_index *index, struct lsi_snapshot **snapshot_r, struct lms_error *error_r)
{
	struct lsi_meta *meta;
	struct lms_txn txn;
	int ret;

	if (lsi_index_follow(index, error_r) < 0 || lms_txn_read(&txn, index->env, error_r) < 0)
		return -1;
	meta = malloc(sizeof(*meta));
	ret = meta == NULL ? lsi_fail_memory(index, error_r) : lsi_meta_read(index, &txn, meta);
	if (ret == 0)
		ret = lsi_snapshot_load(index, &txn, meta);
	free(meta);
	if (ret < 0) {
		lms_txn_read_end(&txn);
		return -1;
	}
	*snapshot_r = index->snapshot;
	lsi_snapshot_ref(index->snapshot);
	return 0;
}

void lsi_search_end(struct lsi_index *index)
{
	lms_read_end(index->env);
}

/* Number of the first document at or after the id */
static uint32_t bisect(const struct lsi_segment *segment, uint64_t id)
{
	uint32_t low = 0, high = segment->docs;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (segment->ids[middle] < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool is_doc(const struct lsi_segment *segment, uint32_t number, const struct lsi_doc *doc)
{
	return number < segment->docs && segment->ids[number] == doc->body_id && segment->checks[number] == doc->check;
}

static uint32_t found(struct lsi_snapshot *snapshot, unsigned int i, uint32_t number)
{
	snapshot->last_segment = i;
	snapshot->last_number = number;
	return snapshot->segments[i]->opaque[number] ? LSI_OPAQUE : snapshot->bases[i] + number;
}

uint32_t lsi_snapshot_find(struct lsi_snapshot *snapshot, const struct lsi_doc *doc)
{
	const struct lsi_segment *segment;
	unsigned int i;
	uint32_t number;

	if (snapshot->count == 0)
		return LSI_MISSING;
	i = snapshot->last_segment;
	if (is_doc(snapshot->segments[i], snapshot->last_number + 1, doc))
		return found(snapshot, i, snapshot->last_number + 1);
	for (i = 0; i < snapshot->count; i++) {
		segment = snapshot->segments[i];
		if (segment->docs == 0 || doc->body_id < segment->ids[0] ||
		    doc->body_id > segment->ids[segment->docs - 1])
			continue;
		number = bisect(segment, doc->body_id);
		if (is_doc(segment, number, doc))
			return found(snapshot, i, number);
	}
	return LSI_MISSING;
}
