/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef TEST_SEARCH_MODEL_H
#define TEST_SEARCH_MODEL_H

#include "test-common.h"
#include "lsi.h"

/*
 * A search index beside the texts that are in it. Documents are bodies of a store with one folder; their texts are
 * random, but the same in every run.
 */
#define SEARCH_DOCS_MAX 2000

struct search_doc {
	struct lsi_doc doc;
	uint32_t uid;
	uint8_t *texts[LSI_FIELD_COUNT];
	size_t sizes[LSI_FIELD_COUNT];
	/* It was given to the index; its message was expunged. */
	bool indexed, gone;
};

extern struct search_doc search_docs[SEARCH_DOCS_MAX];
extern unsigned int search_doc_count;
extern struct lms_env *search_store;
extern uint64_t search_folder_id;
extern struct lsi_index *search_index;
/* How many sets were exact; of the others, how many documents were in them and how many of those matched */
extern unsigned int search_exact, search_candidates, search_matches;
/* The index may have been thrown away: documents may be missing in it. */
extern bool search_may_miss;

/* Make the store in the test's directory and open the index, made by this producer. */
void search_begin(const char *producer);
void search_open(const char *producer);
/* The same in a child process, where the store of the parent is of no use */
void search_open_child(const char *producer);
void search_end(void);
unsigned int search_random(unsigned int limit);

/* Add a document with random texts to the store. */
void search_add_doc(void);
void search_expunge(unsigned int number);
/* Give documents to a batch, or to the index, as one batch. */
void search_feed(struct lsi_batch *batch, struct search_doc *doc);
int search_write(unsigned int first, unsigned int count);
/* Call lsi_maintain() until it has nothing to do, at most so many times. */
int search_maintain(unsigned int steps);

/* Look up everything of which texts are made, and this number of random pieces of texts, and compare. Returns 0, or -1
   if the index can't be read. */
int search_compare(unsigned int keys);
/* The index is sound. */
void search_check(void);

#endif
