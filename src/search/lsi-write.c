/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lsi-batch.h"

#include <stdlib.h>
#include <string.h>

/* A batch on its way into a segment */
struct job {
	const struct lsi_batch *batch;
	/* Documents that are written, by ascending body id; and the number in it of each one of the batch */
	struct lsi_doc *docs;
	bool *opaque;
	unsigned int count;
	uint32_t *map;
	/* Words in order */
	uint32_t *order;
	/* Room for the documents of a word */
	uint32_t *numbers;
};

struct order_key {
	uint64_t body_id;
	uint32_t number;
};

static int compare_docs(const void *_a, const void *_b)
{
	const struct order_key *a = _a, *b = _b;

	if (a->body_id != b->body_id)
		return a->body_id < b->body_id ? -1 : 1;
	return a->number < b->number ? -1 : 1;
}

static int compare_numbers(const void *_a, const void *_b)
{
	const uint32_t *a = _a, *b = _b;

	return *a < *b ? -1 : *a > *b;
}

static bool is_wanted(struct lsi_index *index, const struct lsi_batch *batch, uint32_t number)
{
	return !batch->dropped[number] && lsi_snapshot_find(index->snapshot, &batch->docs[number]) == LSI_MISSING;
}

/* Choose documents and number them: others may have indexed some of them meanwhile. */
static int choose_docs(struct lsi_index *index, struct job *job)
{
	const struct lsi_batch *batch = job->batch;
	struct order_key *keys = malloc((batch->doc_count + 1) * sizeof(*keys));
	unsigned int i;

	if (keys == NULL)
		return -1;
	for (i = 0; i < batch->doc_count; i++) {
		keys[i].body_id = batch->docs[i].body_id;
		keys[i].number = i;
		job->map[i] = LSI_DROPPED;
	}
	qsort(keys, batch->doc_count, sizeof(*keys), compare_docs);
	job->count = 0;
	for (i = 0; i < batch->doc_count; i++) {
		uint32_t number = keys[i].number;

		if (!is_wanted(index, batch, number) ||
		    (job->count > 0 && job->docs[job->count - 1].body_id == keys[i].body_id))
			continue;
		job->docs[job->count] = batch->docs[number];
		job->opaque[job->count] = batch->opaque[number];
		if (!batch->opaque[number])
			job->map[number] = job->count;
		job->count++;
	}
	free(keys);
	return 0;
}

/* New numbers of the documents that have a word, ascending */
static unsigned int word_numbers(const struct job *job, const struct lsi_batch_word *word)
{
	const struct lsi_batch_node *node;
	uint32_t i = word->node, number, last = 0;
	unsigned int count = 0;
	bool sorted = true;

	while (i != UINT32_MAX) {
		node = &job->batch->nodes[i];
		number = job->map[node->doc];
		if (number != LSI_DROPPED) {
			sorted = sorted && (count == 0 || number < last);
			job->numbers[count++] = last = number;
		}
		i = node->before;
	}
	if (!sorted) {
		qsort(job->numbers, count, sizeof(*job->numbers), compare_numbers);
		return count;
	}
	/* The list of nodes goes from the last to the first. */
	for (i = 0; i < count / 2; i++) {
		number = job->numbers[i];
		job->numbers[i] = job->numbers[count - 1 - i];
		job->numbers[count - 1 - i] = number;
	}
	return count;
}

static int write_words(struct lms_txn *txn, const struct job *job, struct lsi_segment_info *info)
{
	const struct lsi_batch *batch = job->batch;
	struct lsi_writer writer;
	unsigned int count;
	size_t i;
	int ret = 0;

	lsi_writer_init(&writer, txn, info);
	for (i = 0; i < batch->word_count && ret == 0; i++) {
		const struct lsi_batch_word *word = &batch->words[job->order[i]];

		count = word_numbers(job, word);
		if (count > 0) {
			ret = lsi_writer_add(&writer, word->field, batch->arena + word->text, word->size,
					     job->numbers, count);
		}
	}
	if (ret == 0)
		ret = lsi_writer_finish(&writer);
	lsi_writer_free(&writer);
	return ret;
}

static int write_segment(struct lsi_index *index, struct lms_txn *txn, struct lsi_meta *meta, void *context)
{
	struct job *job = context;
	struct lsi_segment_info *info;

	/* In the leader lock nobody else changes the list of segments. */
	if (lsi_snapshot_load(index, txn, meta) < 0)
		return -1;
	if (choose_docs(index, job) < 0)
		return lsi_fail_memory(index, txn->error);
	if (job->count == 0)
		return 0;
	if (meta->segment_count == LSI_SEGMENTS_MAX)
		return lms_fail(txn->error, LMS_INVALID, "%s: too many segments", index->dir);
	info = &meta->segments[meta->segment_count++];
	memset(info, 0, sizeof(*info));
	info->id = meta->next_id++;
	meta->generation++;
	if (lsi_write_docs(txn, info, job->docs, job->opaque, job->count) < 0 || write_words(txn, job, info) < 0)
		return -1;
	return 1;
}

static void job_free(struct job *job)
{
	free(job->docs);
	free(job->opaque);
	free(job->map);
	free(job->order);
	free(job->numbers);
}

static int job_init(struct lsi_index *index, struct job *job, const struct lsi_batch *batch,
		    struct lms_error *error_r)
{
	size_t count = batch->doc_count;

	memset(job, 0, sizeof(*job));
	job->batch = batch;
	job->docs = malloc(count * sizeof(*job->docs));
	job->opaque = malloc(count * sizeof(*job->opaque));
	job->map = malloc(count * sizeof(*job->map));
	job->numbers = malloc(count * sizeof(*job->numbers));
	job->order = lsi_batch_sort(batch);
	if (job->docs != NULL && job->opaque != NULL && job->map != NULL && job->numbers != NULL && job->order != NULL)
		return 0;
	job_free(job);
	return lsi_fail_memory(index, error_r);
}

int lsi_write(struct lsi_index *index, struct lsi_batch *batch, struct lms_error *error_r)
{
	struct job job;
	int ret;

	if (batch->doc_count == 0)
		return 0;
	ret = lsi_index_follow(index, error_r);
	if (ret == 0)
		ret = job_init(index, &job, batch, error_r);
	if (ret == 0) {
		ret = lsi_run(index, write_segment, &job, error_r);
		job_free(&job);
	}
	lsi_batch_clear(batch);
	return ret < 0 ? -1 : 0;
}
