/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lsi-merge.h"

#include <string.h>

/*
 * Segments are merged when there are many of a size, so that there are few of them and each document is written a few
 * times only. A merge goes in steps, each a short transaction; where it stands is in the meta record, so that any
 * process can go on with it, and a killed one loses nothing. Its inputs stay in use until it is complete.
 */

/* Bytes that a step writes. To free some takes less time. */
#define STEP_BYTES (256u << 10)
#define FREED_PER_WRITTEN 32

/* Size class of a segment, and how many segments of it are merged. */
#define TIER_SMALL 16
#define TIER_MIDDLE 256
#define FAN_IN_SMALL 16
#define FAN_IN 4

static unsigned int tier_of(uint32_t docs)
{
	unsigned int tier = 2;
	uint64_t limit;

	if (docs < TIER_SMALL)
		return 0;
	if (docs < TIER_MIDDLE)
		return 1;
	for (limit = TIER_MIDDLE * FAN_IN; docs >= limit; limit *= FAN_IN)
		tier++;
	return tier;
}

/* The lowest tier that has enough segments, -1 if none has. */
static int full_tier(const struct lsi_meta *meta)
{
	unsigned int counts[20] = { 0 }, i;

	for (i = 0; i < meta->segment_count; i++)
		counts[tier_of(meta->segments[i].docs)]++;
	for (i = 0; i < 20; i++) {
		if (counts[i] >= (i < 2 ? FAN_IN_SMALL : FAN_IN))
			return (int)i;
	}
	return -1;
}

/* Choose what to merge. Returns the number of segments. */
static unsigned int choose(const struct lsi_meta *meta, uint64_t ids[LSI_MERGE_MAX])
{
	int tier = full_tier(meta);
	unsigned int i, count = 0;

	for (i = 0; i < meta->segment_count && count < LSI_MERGE_MAX; i++) {
		if (meta->optimize || (int)tier_of(meta->segments[i].docs) <= tier)
			ids[count++] = meta->segments[i].id;
	}
	return count;
}

static bool is_input(const struct lsi_meta *meta, uint64_t id)
{
	unsigned int i;

	for (i = 0; i < meta->merge_count; i++) {
		if (meta->merge_inputs[i] == id)
			return true;
	}
	return false;
}

/* The new segment takes the place of the first input: the order is that of age. */
static void finish_merge(struct lsi_meta *meta)
{
	unsigned int i, count = 0;
	bool placed = meta->merge_output.docs == 0;

	for (i = 0; i < meta->segment_count; i++) {
		if (!is_input(meta, meta->segments[i].id)) {
			meta->segments[count++] = meta->segments[i];
			continue;
		}
		meta->garbage[meta->garbage_count++] = meta->segments[i].id;
		if (!placed) {
			meta->segments[count++] = meta->merge_output;
			placed = true;
		}
	}
	/* An empty one may have records all the same. */
	if (meta->merge_output.docs == 0)
		meta->garbage[meta->garbage_count++] = meta->merge_output.id;
	meta->segment_count = count;
	meta->merge_count = 0;
	meta->generation++;
}

static int merge_step(struct lsi_index *index, struct lms_txn *txn, struct lsi_meta *meta, uint64_t *work)
{
	int ret = lsi_merge_words(index, txn, meta, work, STEP_BYTES);

	if (ret > 0) {
		finish_merge(meta);
		lsi_merge_maps_free(&index->maps);
	}
	return ret < 0 ? -1 : 1;
}

static int begin_merge(struct lsi_index *index, struct lms_txn *txn, struct lsi_meta *meta, uint64_t *work)
{
	uint64_t ids[LSI_MERGE_MAX];
	unsigned int count = choose(meta, ids);

	meta->optimize = false;
	if (count == 0)
		return 0;
	memcpy(meta->merge_inputs, ids, count * sizeof(*ids));
	meta->merge_count = count;
	memset(&meta->merge_output, 0, sizeof(meta->merge_output));
	memset(&meta->merge_word, 0, sizeof(meta->merge_word));
	meta->merge_output.id = meta->next_id++;
	return lsi_merge_docs(index, txn, meta, work) < 0 ? -1 : 1;
}

/* Delete records of the first segment that is garbage. */
static int delete_garbage(struct lms_txn *txn, struct lsi_meta *meta, uint64_t *work)
{
	struct lms_cursor cursor;
	struct lms_key key;
	size_t size;
	int ret;

	lsi_key_segment(&key, meta->garbage[0]);
	if (lms_cursor_open(&cursor, txn, 0) < 0)
		return -1;
	while ((ret = lms_cursor_seek_unread(&cursor, &key, &size)) > 0 && *work < STEP_BYTES) {
		if (!lms_key_has_prefix(cursor.key, cursor.key_size, &key)) {
			ret = 0;
			break;
		}
		*work += size / FREED_PER_WRITTEN;
		if (lms_cursor_del(&cursor) < 0) {
			ret = -1;
			break;
		}
	}
	lms_cursor_close(&cursor);
	if (ret == 0) {
		meta->garbage_count--;
		memmove(meta->garbage, meta->garbage + 1, meta->garbage_count * sizeof(*meta->garbage));
	}
	return ret < 0 ? -1 : 1;
}

/* Returns 1 if something was done, 0 if there is nothing to do, -1. committed: the generation before this transaction */
static int do_work(struct lsi_index *index, struct lms_txn *txn, struct lsi_meta *meta, uint64_t committed,
		   uint64_t *work)
{
	/* The list of garbage must have room for the inputs of a merge. */
	if (meta->garbage_count > 0)
		return delete_garbage(txn, meta, work);
	if (meta->merge_count > 0)
		return merge_step(index, txn, meta, work);
	/* What this transaction made can't be read by a merge in it. */
	return meta->generation == committed ? begin_merge(index, txn, meta, work) : 0;
}

static int maintain(struct lsi_index *index, struct lms_txn *txn, struct lsi_meta *meta, void *context)
{
	uint64_t committed = meta->generation, work = 0;
	bool changed = false;
	int ret;

	(void)context;
	while (work < STEP_BYTES) {
		if (lsi_snapshot_load(index, txn, meta) < 0)
			return -1;
		ret = do_work(index, txn, meta, committed, &work);
		if (ret < 0)
			return -1;
		if (ret == 0)
			break;
		changed = true;
	}
	return changed;
}

int lsi_maintain(struct lsi_index *index, struct lms_error *error_r)
{
	return lsi_index_follow(index, error_r) < 0 ? -1 : lsi_run(index, maintain, NULL, error_r);
}

static int request_optimize(struct lsi_index *index, struct lms_txn *txn, struct lsi_meta *meta, void *context)
{
	(void)index;
	(void)txn;
	(void)context;
	if (meta->optimize || meta->segment_count == 0)
		return 0;
	meta->optimize = true;
	return 1;
}

int lsi_optimize(struct lsi_index *index, struct lms_error *error_r)
{
	if (lsi_index_follow(index, error_r) < 0)
		return -1;
	return lsi_run(index, request_optimize, NULL, error_r) < 0 ? -1 : 0;
}
