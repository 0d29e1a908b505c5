/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LSI_TEXT_H
#define LSI_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * How text is cut. Every character has a class, by itself alone, so a key is cut in the same places wherever it stands
 * in a text. A run is a maximal sequence of characters of one class:
 *
 * - a run of word characters or of punctuation is a token, if it has at most LSI_TOKEN_MAX bytes. A longer one is cut
 *   into windows of that size, LSI_WINDOW_STEP apart, the last one shorter: any LSI_PIECE_MAX bytes of it lie in one;
 * - each pair of neighbours in a run of ideographs is a token, or the one character that there is;
 * - white space, control characters and what isn't UTF-8 aren't indexed.
 */
#define LSI_TOKEN_MAX 64
#define LSI_WINDOW_STEP 32
#define LSI_PIECE_MAX (LSI_TOKEN_MAX - LSI_WINDOW_STEP + 1)

enum lsi_class {
	LSI_CLASS_SPACE,
	LSI_CLASS_WORD,
	LSI_CLASS_PUNCTUATION,
	LSI_CLASS_IDEOGRAPH
};

/* Class of the character at data, and its size in bytes; 0 if more than the size bytes are needed to tell. */
enum lsi_class lsi_text_class(const uint8_t *data, size_t size, size_t *char_size_r);

typedef void lsi_token_callback(const uint8_t *token, size_t size, void *context);

/* Cuts a text that comes in pieces. */
struct lsi_cutter {
	lsi_token_callback *callback;
	void *context;
	enum lsi_class class;
	/* The run so far: from its last window on. For ideographs, the last one. */
	uint8_t run[LSI_TOKEN_MAX];
	size_t run_size;
	/* A token of this run was already found. */
	bool cut;
	/* Beginning of a character */
	uint8_t part[4];
	size_t part_size;
};

void lsi_cutter_init(struct lsi_cutter *cutter, lsi_token_callback *callback, void *context);
void lsi_cutter_add(struct lsi_cutter *cutter, const void *data, size_t size);
/* The text ends here. */
void lsi_cutter_end(struct lsi_cutter *cutter);

#endif
