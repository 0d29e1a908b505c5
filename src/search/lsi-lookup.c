/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#define _GNU_SOURCE
#include "lsi-private.h"

#include <stdlib.h>
#include <string.h>

/*
 * A key is cut into runs as texts are. Where it occurs in a text, each of its runs is one of the text, but for the
 * first and the last one, which may be the end and the beginning of longer ones. So each run says something about the
 * words of a document: it has a word that contains the run, begins or ends with it or is it. If the key is one run
 * only, a document that has such a word contains the key: the answer is exact.
 */

/* A longer key isn't narrowed down further: each condition takes a look through the words. */
#define CONDITIONS_MAX 32

enum match {
	MATCH_CONTAINS,
	MATCH_BEGINS,
	MATCH_ENDS,
	MATCH_IS
};

struct condition {
	enum match match;
	const uint8_t *text;
	size_t size;
};

struct query {
	struct condition conditions[CONDITIONS_MAX];
	unsigned int count;
	bool exact;
};

static void add_condition(struct query *query, enum match match, const uint8_t *text, size_t size)
{
	if (query->count == CONDITIONS_MAX)
		query->exact = false;
	else
		query->conditions[query->count++] = (struct condition) { match, text, size };
}

/* open_left, open_right: the text's run may begin before this one and end after it. */
static void add_run(struct query *query, const uint8_t *run, size_t size, bool open_left, bool open_right)
{
	size_t pos;

	if (size <= (open_left || open_right ? LSI_PIECE_MAX : LSI_TOKEN_MAX)) {
		add_condition(query, open_left ? (open_right ? MATCH_CONTAINS : MATCH_ENDS) :
			      open_right ? MATCH_BEGINS : MATCH_IS, run, size);
		return;
	}
	/* Only pieces of it are sure to be in one window. */
	query->exact = false;
	for (pos = 0; pos + LSI_PIECE_MAX < size; pos += LSI_PIECE_MAX) {
		add_condition(query, pos == 0 && !open_left ? MATCH_BEGINS : MATCH_CONTAINS, run + pos,
			      LSI_PIECE_MAX);
	}
	add_condition(query, open_right ? MATCH_CONTAINS : MATCH_ENDS, run + size - LSI_PIECE_MAX, LSI_PIECE_MAX);
}

static void add_ideographs(struct query *query, const uint8_t *run, size_t size, bool open)
{
	size_t first, second, pos = 0, pairs = 0;

	(void)lsi_text_class(run, size, &first);
	while (pos + first < size) {
		(void)lsi_text_class(run + pos + first, size - pos - first, &second);
		add_condition(query, MATCH_IS, run + pos, first + second);
		pairs++;
		pos += first;
		first = second;
	}
	if (pairs == 0)
		add_condition(query, open ? MATCH_CONTAINS : MATCH_IS, run, size);
	else if (pairs > 1)
		query->exact = false;
}

/* Size of the run at the beginning of data */
static size_t run_size(const uint8_t *data, size_t size, enum lsi_class *class_r)
{
	size_t pos, char_size;

	*class_r = lsi_text_class(data, size, &char_size);
	for (pos = char_size; char_size > 0 && pos < size; pos += char_size) {
		if (lsi_text_class(data + pos, size - pos, &char_size) != *class_r)
			break;
	}
	/* A character that isn't complete is no text. */
	return char_size == 0 && pos == 0 ? size : pos;
}

static void query_init(struct query *query, const uint8_t *key, size_t size)
{
	enum lsi_class class;
	size_t pos, length;

	memset(query, 0, sizeof(*query));
	for (pos = 0; pos < size; pos += length) {
		bool open_left = pos == 0, open_right;

		length = run_size(key + pos, size - pos, &class);
		open_right = pos + length == size;
		if (open_left)
			query->exact = open_right;
		if (class == LSI_CLASS_IDEOGRAPH)
			add_ideographs(query, key + pos, length, open_left || open_right);
		else if (class != LSI_CLASS_SPACE)
			add_run(query, key + pos, length, open_left, open_right);
	}
}

/* A segment in which one field is searched */
struct search {
	struct lsi_index *index;
	struct lms_txn *txn;
	const struct lsi_segment *segment;
	const struct condition *condition;
	uint64_t *bits;
};

static int fail_words(const struct search *search)
{
	return lsi_fail_record(search->index, "words", search->txn->error);
}

/* Does a word match, in whose text the condition's was found? */
static bool found_matches(const struct condition *condition, const struct lsi_chunk *chunk, const uint8_t *pos)
{
	return condition->match == MATCH_CONTAINS || pos + condition->size == chunk->token + chunk->token_size;
}

/* Look for words that contain the condition's text or end with it. */
static int scan_chunk(struct search *search, struct lsi_chunk *chunk)
{
	const struct condition *condition = search->condition;
	uint8_t needle[LSI_TOKEN_MAX + 1];
	const uint8_t *pos = chunk->text;
	size_t size = condition->size;

	memcpy(needle, condition->text, size);
	/* With the NUL after it: at the end of a word */
	if (condition->match == MATCH_ENDS)
		needle[size++] = '\0';
	while ((pos = memmem(pos, (size_t)(chunk->text_end - pos), needle, size)) != NULL) {
		if (lsi_chunk_goto(chunk, pos) < 0)
			return fail_words(search);
		if (found_matches(condition, chunk, pos) && lsi_chunk_add_bits(chunk, search->bits) < 0)
			return fail_words(search);
		pos = chunk->token + chunk->token_size + 1;
	}
	return 0;
}

static int scan(struct search *search, struct lsi_reader *reader)
{
	int ret = lsi_reader_first(reader);

	while (ret > 0) {
		if (scan_chunk(search, &reader->chunk) < 0)
			return -1;
		ret = lsi_reader_next(reader);
	}
	return ret;
}

/* <0, 0 or >0: is the word before, among or after those that are the condition's text or begin with it? */
static int compare(const struct condition *condition, const struct lsi_chunk *chunk)
{
	size_t size = chunk->token_size < condition->size ? chunk->token_size : condition->size;
	int ret = memcmp(chunk->token, condition->text, size);

	if (ret != 0)
		return ret;
	if (chunk->token_size < condition->size)
		return -1;
	return condition->match == MATCH_IS && chunk->token_size > condition->size ? 1 : 0;
}

/* Look for words that begin with the condition's text or are it: they stand together. */
static int seek(struct search *search, struct lsi_reader *reader)
{
	const struct condition *condition = search->condition;
	struct lsi_word word;
	int ret, order = 0;

	lsi_word_set(&word, (uint8_t)reader->field, condition->text, condition->size);
	ret = lsi_reader_seek(reader, &word);
	while (ret > 0) {
		while ((ret = lsi_chunk_next(&reader->chunk)) > 0) {
			order = compare(condition, &reader->chunk);
			if (order > 0)
				return 0;
			if (order == 0 && lsi_chunk_add_bits(&reader->chunk, search->bits) < 0)
				return fail_words(search);
		}
		if (ret < 0)
			return fail_words(search);
		ret = lsi_reader_next(reader);
	}
	return ret;
}

static int search_field(struct search *search, int field)
{
	struct lsi_reader reader;
	int ret;

	if (lsi_reader_open(&reader, search->index, search->txn, search->segment, field) < 0)
		return -1;
	if (search->condition->match == MATCH_CONTAINS || search->condition->match == MATCH_ENDS)
		ret = scan(search, &reader);
	else
		ret = seek(search, &reader);
	lsi_reader_close(&reader);
	return ret;
}

static int search_fields(struct search *search, unsigned int fields)
{
	int field;

	for (field = 0; field < LSI_FIELD_COUNT; field++) {
		if ((fields & LSI_FIELD_BIT(field)) != 0 && search_field(search, field) < 0)
			return -1;
	}
	return 0;
}

static bool is_empty(const uint64_t *bits, size_t words)
{
	size_t i;

	for (i = 0; i < words; i++) {
		if (bits[i] != 0)
			return false;
	}
	return true;
}

/* result: bits of the segment, all 0. more: room for as many. */
static int search_segment(struct search *search, const struct query *query, unsigned int fields, uint64_t *result,
			  uint64_t *more)
{
	size_t words = ((size_t)search->segment->docs + 63) / 64, w;
	unsigned int i;

	for (i = 0; i < query->count; i++) {
		search->condition = &query->conditions[i];
		search->bits = i == 0 ? result : more;
		if (i > 0)
			memset(more, 0, words * sizeof(*more));
		if (search_fields(search, fields) < 0)
			return -1;
		for (w = 0; i > 0 && w < words; w++)
			result[w] &= more[w];
		if (is_empty(result, words))
			break;
	}
	return 0;
}

void lsi_set_free(struct lsi_set *set)
{
	free(set->bits);
	set->bits = NULL;
}

static int search_all(struct lsi_index *index, struct lsi_snapshot *snapshot, const struct query *query,
		      unsigned int fields, struct lsi_set *set, struct lms_error *error_r)
{
	uint64_t *more = malloc((snapshot->words + 1) * sizeof(*more));
	struct search search;
	struct lms_txn txn;
	unsigned int i;
	int ret = 0;

	if (more == NULL)
		return lsi_fail_memory(index, error_r);
	if (lms_txn_read(&txn, index->env, error_r) < 0) {
		free(more);
		return -1;
	}
	search.index = index;
	search.txn = &txn;
	for (i = 0; i < snapshot->count && ret == 0; i++) {
		search.segment = snapshot->segments[i];
		ret = search_segment(&search, query, fields, set->bits + snapshot->bases[i] / 64, more);
	}
	lms_txn_read_end(&txn);
	free(more);
	return ret;
}

static int run_query(struct lsi_index *index, struct lsi_snapshot *snapshot, const struct query *query, unsigned int fields,
		     struct lsi_set *set_r, struct lms_error *error_r)
{
	int ret = 0;

	set_r->exact = query->exact;
	set_r->words = snapshot->words;
	set_r->bits = calloc(snapshot->words + 1, sizeof(*set_r->bits));
	if (set_r->bits == NULL)
		ret = lsi_fail_memory(index, error_r);
	else if (query->count > 0)
		ret = search_all(index, snapshot, query, fields, set_r, error_r);
	if (ret < 0 || query->count == 0)
		lsi_set_free(set_r);
	return ret < 0 ? -1 : query->count > 0;
}

int lsi_lookup(struct lsi_index *index, struct lsi_snapshot *snapshot, unsigned int fields, const void *key,
	       size_t size, struct lsi_set *set_r, struct lms_error *error_r)
{
	struct query query;

	query_init(&query, key, size);
	return run_query(index, snapshot, &query, fields, set_r, error_r);
}

int lsi_lookup_whole(struct lsi_index *index, struct lsi_snapshot *snapshot, enum lsi_field field, const void *key,
		     size_t size, struct lsi_set *set_r, struct lms_error *error_r)
{
	struct query query;

	memset(&query, 0, sizeof(query));
	query.exact = size < LSI_TOKEN_MAX;
	if (size > 0)
		add_condition(&query, MATCH_IS, key, size < LSI_TOKEN_MAX ? size : LSI_TOKEN_MAX);
	return run_query(index, snapshot, &query, LSI_FIELD_BIT(field), set_r, error_r);
}
