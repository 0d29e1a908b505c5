/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_SEARCH_ARGS_H
#define LMDB_SEARCH_ARGS_H

#include "mail-search.h"
#include "lmdb-storage.h"

/*
 * What the search index says about the arguments of a search that are about text: each one is looked up once.
 */
struct lmdb_search_args;

/* Is the argument about text? Headers are text too. */
bool lmdb_search_args_is_text(const struct mail_search_arg *arg);
/* Is there an argument about text, about bodies? */
bool lmdb_search_args_have_text(const struct mail_search_arg *args);
bool lmdb_search_args_have_body(const struct mail_search_arg *args);

/*
 * Look up all arguments in the list and, with subargs, those within them. mbox->search is brought up to date for it,
 * and doesn't change until the next time. Returns NULL if the index can't be used (errors were logged).
 */
struct lmdb_search_args *
lmdb_search_args_lookup(struct lmdb_mailbox *mbox, struct mail_search_arg *args, bool subargs);
void lmdb_search_args_free(struct lmdb_search_args **args);

/* Does the document at this position match the argument, apart from arg->match_not? Returns 1, 0, or -1 if the index
   can't tell. */
int lmdb_search_args_match(const struct lmdb_search_args *args, const struct mail_search_arg *arg, uint32_t position);
/* How much it says that a document matches an argument which was looked up: more if fewer ones do. */
double lmdb_search_args_weight(const struct lmdb_search_args *args, const struct mail_search_arg *arg);

#endif
