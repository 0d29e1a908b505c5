/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lsi-merge.h"

#include <stdlib.h>
#include <string.h>

/* A running step */
struct step {
	struct lsi_index *index;
	const struct lsi_meta *meta;
	struct lsi_reader inputs[LSI_MERGE_MAX];
	/* Inputs that have a word to offer */
	bool have[LSI_MERGE_MAX];
	unsigned int open_count;
	/* The last word that was merged */
	struct lsi_word last;
	uint32_t *numbers;
	uint32_t *list;
};

static void get_word(const struct lsi_reader *reader, struct lsi_word *word_r)
{
	lsi_word_set(word_r, reader->last.field, reader->chunk.token, reader->chunk.token_size);
}

/* Compare the word that an input stands on with another one. */
static int compare_word(const struct lsi_reader *reader, const struct lsi_word *word)
{
	const struct lsi_chunk *chunk = &reader->chunk;
	size_t size = chunk->token_size < word->size ? chunk->token_size : word->size;
	int ret;

	if (reader->last.field != word->field)
		return (int)reader->last.field - (int)word->field;
	ret = memcmp(chunk->token, word->text, size);
	return ret != 0 ? ret : (int)chunk->token_size - (int)word->size;
}

/* Go to the next word of an input, in the next records if need be. */
static int advance(struct step *step, unsigned int i)
{
	struct lsi_reader *reader = &step->inputs[i];
	int ret = lsi_chunk_next(&reader->chunk);

	if (ret == 0) {
		ret = lsi_reader_next(reader);
		if (ret > 0)
			ret = lsi_chunk_next(&reader->chunk);
		else if (ret < 0)
			return -1;
		else
			step->have[i] = false;
	}
	return ret < 0 ? lsi_fail_record(step->index, "words", reader->txn->error) : 0;
}

static int open_input(struct step *step, struct lms_txn *txn, unsigned int i)
{
	const struct lsi_segment *segment = lsi_merge_segment(step->index, step->meta->merge_inputs[i]);
	const struct lsi_word *word = &step->meta->merge_word;
	struct lsi_reader *reader = &step->inputs[i];
	int ret;

	if (lsi_reader_open(reader, step->index, txn, segment, -1) < 0)
		return -1;
	step->open_count++;
	ret = word->size == 0 ? lsi_reader_first(reader) : lsi_reader_seek(reader, word);
	if (ret <= 0)
		return ret;
	step->have[i] = true;
	do {
		if (advance(step, i) < 0)
			return -1;
	} while (step->have[i] && word->size > 0 && compare_word(reader, word) <= 0);
	return 0;
}

static int open_inputs(struct step *step, struct lms_txn *txn)
{
	size_t docs = step->meta->merge_output.docs, most = 0;
	const struct lsi_segment *segment;
	unsigned int i;

	for (i = 0; i < step->meta->merge_count; i++) {
		segment = lsi_merge_segment(step->index, step->meta->merge_inputs[i]);
		if (segment->docs > most)
			most = segment->docs;
	}
	step->numbers = malloc((docs + 1) * sizeof(*step->numbers));
	step->list = malloc((most + 1) * sizeof(*step->list));
	if (step->numbers == NULL || step->list == NULL)
		return lsi_fail_memory(step->index, txn->error);
	for (i = 0; i < step->meta->merge_count; i++) {
		if (open_input(step, txn, i) < 0)
			return -1;
	}
	return 0;
}

static void close_inputs(struct step *step)
{
	unsigned int i;

	for (i = 0; i < step->open_count; i++)
		lsi_reader_close(&step->inputs[i]);
	free(step->numbers);
	free(step->list);
}

static int compare_numbers(const void *_a, const void *_b)
{
	const uint32_t *a = _a, *b = _b;

	return *a < *b ? -1 : *a > *b;
}

/* Add an input's documents of its word to step->numbers. Returns their number, -1 on error. */
static int add_numbers(struct step *step, unsigned int i, unsigned int count, bool *sorted)
{
	const uint32_t *map = step->index->maps.maps[i];
	int j, list_count = lsi_chunk_numbers(&step->inputs[i].chunk, step->list);

	if (list_count < 0)
		return lsi_fail_record(step->index, "lists", step->inputs[i].txn->error);
	for (j = 0; j < list_count; j++) {
		uint32_t number = map[step->list[j]];

		if (number == LSI_DROPPED)
			continue;
		/* Damage could have more of them than there is room for. */
		if (count == step->meta->merge_output.docs)
			return lsi_fail_record(step->index, "lists", step->inputs[i].txn->error);
		*sorted = *sorted && (count == 0 || number > step->numbers[count - 1]);
		step->numbers[count++] = number;
	}
	return (int)count;
}

/* The input with the first word, and the word; -1 if there is none. */
static int first_input(const struct step *step, struct lsi_word *word_r)
{
	unsigned int i;
	int first = -1;

	for (i = 0; i < step->meta->merge_count; i++) {
		if (step->have[i] && (first < 0 || compare_word(&step->inputs[i], word_r) < 0)) {
			get_word(&step->inputs[i], word_r);
			first = (int)i;
		}
	}
	return first;
}

/* Merge the first word. Returns 1, 0 if there is none left, -1. */
static int merge_word(struct step *step, struct lsi_writer *writer)
{
	struct lsi_word word;
	int first = first_input(step, &word), count = 0;
	unsigned int i;
	bool sorted = true;

	if (first < 0)
		return 0;
	for (i = (unsigned int)first; i < step->meta->merge_count; i++) {
		if (!step->have[i] || compare_word(&step->inputs[i], &word) != 0)
			continue;
		count = add_numbers(step, i, (unsigned int)count, &sorted);
		if (count < 0 || advance(step, i) < 0)
			return -1;
	}
	if (!sorted)
		qsort(step->numbers, (size_t)count, sizeof(*step->numbers), compare_numbers);
	step->last = word;
	if (count > 0 && lsi_writer_add(writer, word.field, word.text, word.size, step->numbers, (unsigned int)count) < 0)
		return -1;
	return 1;
}

/* Returns 1 if the merge is complete, 0 if not, -1. */
static int merge_words(struct step *step, struct lms_txn *txn, struct lsi_meta *meta, uint64_t *work,
		       uint64_t work_max)
{
	struct lsi_writer writer;
	int ret;

	lsi_writer_init(&writer, txn, &meta->merge_output);
	do {
		ret = merge_word(step, &writer);
	} while (ret > 0 && *work + writer.written < work_max);
	if (ret >= 0 && lsi_writer_finish(&writer) < 0)
		ret = -1;
	*work += writer.written;
	if (step->last.size > 0)
		meta->merge_word = step->last;
	lsi_writer_free(&writer);
	return ret < 0 ? -1 : ret == 0;
}

int lsi_merge_words(struct lsi_index *index, struct lms_txn *txn, struct lsi_meta *meta, uint64_t *work,
		    uint64_t work_max)
{
	struct step *step;
	struct lms_txn read;
	int ret;

	if (lsi_merge_load_maps(index, txn, meta) < 0)
		return -1;
	step = calloc(1, sizeof(*step));
	if (step == NULL)
		return lsi_fail_memory(index, txn->error);
	step->index = index;
	step->meta = meta;
	/* What is read must stay where it is while the transaction writes: so it is read from the state before. */
	ret = lms_txn_read(&read, index->env, txn->error);
	if (ret == 0) {
		ret = open_inputs(step, &read) < 0 ? -1 : merge_words(step, txn, meta, work, work_max);
		close_inputs(step);
		lms_txn_read_end(&read);
	}
	free(step);
	return ret;
}
