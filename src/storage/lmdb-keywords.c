/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "lmdb-compat.h"
#include "lmdb-keywords.h"

static int keyword_callback(unsigned int number, const char *name, void *context)
{
	struct lmdb_keywords *keywords = context;
	unsigned int idx;

	mail_index_keyword_lookup_or_create(keywords->index, name, &idx);
	array_idx_set(&keywords->numbers, number, &idx);
	return 0;
}

int lmdb_keywords_init(struct lmdb_keywords *keywords, struct lmdb_mailbox *mbox, struct lms_error *error_r)
{
	keywords->index = mbox->box.index;
	i_array_init(&keywords->numbers, 32);
	i_array_init(&keywords->tmp, 32);
	return lms_keyword_scan(mbox->env, mbox->folder_id, keyword_callback, keywords, error_r) < 0 ? -1 : 0;
}

void lmdb_keywords_deinit(struct lmdb_keywords *keywords)
{
	array_free(&keywords->numbers);
	array_free(&keywords->tmp);
}

const ARRAY_TYPE(keyword_indexes) *
lmdb_keywords_of_message(struct lmdb_keywords *keywords, const struct lms_message *message)
{
	unsigned int number, count = array_count(&keywords->numbers);

	array_clear(&keywords->tmp);
	for (size_t byte = 0; byte < message->keyword_bytes; byte++) {
		for (unsigned int bit = 0; message->keywords[byte] >> bit != 0; bit++) {
			number = byte * 8 + bit;
			/* a number without name can only come from a damaged store */
			if ((message->keywords[byte] & (1U << bit)) != 0 && number < count)
				array_push_back(&keywords->tmp, array_idx(&keywords->numbers, number));
		}
	}
	return &keywords->tmp;
}
