/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LSI_BATCH_H
#define LSI_BATCH_H

#include "lsi-private.h"

/* A different word of a batch */
struct lsi_batch_word {
	uint32_t hash;
	/* Of its text in the arena */
	uint32_t text;
	/* Last of its list of nodes */
	uint32_t node;
	uint32_t count;
	uint8_t field, size;
};

/* A document that has a word, in order from the last to the first */
struct lsi_batch_node {
	uint32_t doc;
	/* UINT32_MAX: the first one */
	uint32_t before;
};

struct lsi_batch {
	struct lsi_doc *docs;
	bool *opaque, *dropped;
	unsigned int doc_count, doc_alloc;

	uint8_t *arena;
	size_t arena_size, arena_alloc;
	struct lsi_batch_word *words;
	size_t word_count, word_alloc;
	/* Open addressing: number of a word plus 1, or 0. Twice as many as words at least, a power of 2. */
	uint32_t *slots;
	size_t slot_count;
	struct lsi_batch_node *nodes;
	size_t node_count, node_alloc;

	/* Of the document that has begun */
	struct lsi_cutter cutters[LSI_FIELD_COUNT];
	enum lsi_field field;
	size_t begin_nodes, begin_arena;
	bool begun, too_large;
	/* Out of memory: the document isn't complete. */
	bool failed;
};

/* Numbers of the words in order. malloc()ed; NULL: out of memory. */
uint32_t *lsi_batch_sort(const struct lsi_batch *batch);
void lsi_batch_clear(struct lsi_batch *batch);

#endif
