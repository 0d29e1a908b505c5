/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "lmdb-compat.h"
#include "lmdb-search-args.h"
#include "lmdb-search-docs.h"
#include "lmdb-search-level.h"

struct level {
	const struct lmdb_search_args *args;
	const struct mail_search_arg *first;
	bool and_args;
};

static int match_arg(const struct level *level, const struct mail_search_arg *arg, uint32_t position)
{
	int match = lmdb_search_args_match(level->args, arg, position);

	return match >= 0 && arg->match_not ? !match : match;
}

/* 1, 0, or -1 for unknown */
static int match_document(const struct level *level, uint32_t position)
{
	int decided = level->and_args ? 0 : 1, match;
	bool unknown = FALSE, any = FALSE;

	for (const struct mail_search_arg *arg = level->first; arg != NULL; arg = arg->next) {
		if (!lmdb_search_args_is_text(arg))
			continue;
		any = TRUE;
		match = match_arg(level, arg, position);
		if (match == decided)
			return decided;
		unknown = unknown || match < 0;
	}
	/* with nothing to look up it depends on arguments within these ones */
	return unknown || !any ? -1 : !decided;
}

static float score_document(const struct level *level, uint32_t position)
{
	double score = 0;

	for (const struct mail_search_arg *arg = level->first; arg != NULL; arg = arg->next) {
		if (!arg->match_not && lmdb_search_args_match(level->args, arg, position) == 1)
			score += lmdb_search_args_weight(level->args, arg);
	}
	return (float)score;
}

int lmdb_search_level(struct lmdb_mailbox *mbox, struct mail_search_arg *args, bool and_args,
		      lmdb_search_level_callback *callback, void *context)
{
	struct lmdb_search_args *looked_up = lmdb_search_args_lookup(mbox, args, FALSE);
	struct level level = { .args = looked_up, .first = args, .and_args = and_args };
	const struct lmdb_search_doc *doc;
	int match;

	if (looked_up == NULL)
		return -1;
	array_foreach(&mbox->search->docs, doc) {
		if (doc->doc.body_id == 0)
			continue;
		match = match_document(&level, doc->position);
		if (match != 0)
			callback(doc->uid, match, score_document(&level, doc->position), context);
	}
	lmdb_search_args_free(&looked_up);
	return 0;
}
