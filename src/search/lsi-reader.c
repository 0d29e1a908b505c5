/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lsi-private.h"

#include <string.h>

int lsi_reader_open(struct lsi_reader *reader, struct lsi_index *index, struct lms_txn *txn,
		    const struct lsi_segment *segment, int field)
{
	memset(reader, 0, sizeof(*reader));
	reader->index = index;
	reader->txn = txn;
	reader->segment = segment;
	reader->field = field;
	return lms_cursor_open(&reader->cursor, txn, 0);
}

void lsi_reader_close(struct lsi_reader *reader)
{
	lms_cursor_close(&reader->cursor);
}

static int fail(struct lsi_reader *reader)
{
	return lsi_fail_record(reader->index, "words", reader->txn->error);
}

static int load_words(struct lsi_reader *reader)
{
	struct lms_value lists;
	struct lms_key key;
	int ret;

	lsi_key_word(&key, reader->segment->id, LSI_KIND_LISTS, &reader->last);
	ret = lms_get(reader->txn, 0, &key, &lists);
	if (ret < 0)
		return -1;
	if (ret == 0 || lsi_chunk_init(&reader->chunk, &reader->cursor.value, &lists, reader->segment->docs) < 0)
		return fail(reader);
	return 1;
}

/*
 * The cursor moved, with this result, to the first records after a word. The records before those must end with that
 * word (exact) or before it: else some are missing in between.
 */
static int load(struct lsi_reader *reader, int ret, const struct lsi_word *after, bool exact)
{
	const struct lms_cursor *cursor = &reader->cursor;
	struct lsi_word before;
	bool found;
	int order;

	if (ret < 0)
		return -1;
	found = ret > 0 &&
		lsi_key_get_word(cursor->key, cursor->key_size, reader->segment->id, &reader->last) == 0;
	if (!found)
		before = reader->segment->last;
	else if (lsi_chunk_get_before(&cursor->value, &before) < 0)
		return fail(reader);
	/* Size 0: there are none before. */
	order = before.size == 0 ? -1 : lsi_word_compare(&before, after);
	if (exact ? order != 0 : order >= 0)
		return fail(reader);
	if (!found || (reader->field >= 0 && reader->last.field != reader->field))
		return 0;
	return load_words(reader);
}

int lsi_reader_seek(struct lsi_reader *reader, const struct lsi_word *word)
{
	struct lms_key key;

	lsi_key_word(&key, reader->segment->id, LSI_KIND_WORDS, word);
	return load(reader, lms_cursor_seek(&reader->cursor, &key), word, false);
}

int lsi_reader_first(struct lsi_reader *reader)
{
	struct lsi_word word;

	memset(&word, 0, sizeof(word));
	word.field = reader->field < 0 ? 0 : (uint8_t)reader->field;
	return lsi_reader_seek(reader, &word);
}

int lsi_reader_next(struct lsi_reader *reader)
{
	struct lsi_word word = reader->last;

	return load(reader, lms_cursor_next(&reader->cursor), &word, true);
}
