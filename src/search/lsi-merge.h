/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LSI_MERGE_H
#define LSI_MERGE_H

#include "lsi-private.h"

/*
 * The parts of a merge. Its state is in meta. work counts what a transaction did, as bytes written.
 */

/* lsi-merge-docs.c */

/* A segment of index->snapshot; NULL if it isn't there. */
const struct lsi_segment *lsi_merge_segment(const struct lsi_index *index, uint64_t id);
/* Write the table of documents of the new segment: those of the inputs whose bodies are in use. */
int lsi_merge_docs(struct lsi_index *index, struct lms_txn *txn, struct lsi_meta *meta, uint64_t *work);
/* Have index->maps for the running merge. */
int lsi_merge_load_maps(struct lsi_index *index, struct lms_txn *txn, const struct lsi_meta *meta);

/* lsi-merge-words.c: merge words until there was work_max of work. Returns 1 if all are merged, 0 if not, -1. */
int lsi_merge_words(struct lsi_index *index, struct lms_txn *txn, struct lsi_meta *meta, uint64_t *work,
		    uint64_t work_max);

#endif
