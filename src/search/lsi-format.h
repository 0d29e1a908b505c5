/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LSI_FORMAT_H
#define LSI_FORMAT_H

#include "lms-buffer.h"
#include "lms-key.h"
#include "lms-record.h"
#include "lsi-text.h"
#include "lsi.h"

/*
 * What is in the index's environment. All is in LMDB's unnamed database, so that a small commit touches few pages, and
 * values have the head and the checksum that all values of the store have (lms-record.h).
 *
 * An index is a list of segments. A segment is made once and never changed, and its id is never used again, so values
 * found under its keys are right or missing, whatever happened to the file:
 *
 *	id (8), 1, part (4)		documents LSI_PART_DOCS * part on, by ascending body id: a varint, the distance
 *					from the body id before (from 0 in each part), doubled, plus 1 if it is opaque;
 *					4 bytes check
 *	id (8), 2, field, token		words of a field, the last of which is the token: field, size and text of the token of
 *					the record before (of the first one: 0, 0), so that a missing record is noticed; varint
 *					number of words, varint bytes of text; the words, ascending, each with a NUL at its
 *					end; for each word a varint whose two lowest bits say what the others are
 *	id (8), 3, field, token		lists of these words, one after another
 *
 * The varint of a word: 0, bytes of its list, which has for each document the varint distance of its number in the
 * segment from the one before, less 1 (the first: the number itself); 1, the number of its only document; 2, the list
 * is a bitmap of all documents, bit n % 8 of byte n / 8 for document n.
 *
 * The record meta has everything that changes. LSI_FORMAT is raised with every change of any of this.
 */
#define LSI_FORMAT 1
#define LSI_PART_DOCS 4096
/* Bytes of a value of the kinds 2 and 3 at most, unless one list alone needs more: whole pages with its overhead */
#define LSI_CHUNK_SIZE (16 * 4096 - 16 - LMS_RECORD_OVERHEAD)

#define LSI_SEGMENTS_MAX 256
/* The most segments that are merged at once */
#define LSI_MERGE_MAX 64

/* A position in the order of all words. Size 0: before all words of the field */
struct lsi_word {
	uint8_t field;
	uint8_t size;
	uint8_t text[LSI_TOKEN_MAX];
};
/* <0, 0, >0 */
int lsi_word_compare(const struct lsi_word *a, const struct lsi_word *b);
void lsi_word_set(struct lsi_word *word, uint8_t field, const uint8_t *text, size_t size);

struct lsi_segment_info {
	uint64_t id;
	uint32_t docs, opaque;
	/* Number of records of kind 2, of words in them, bytes of their text and of their lists */
	uint32_t chunks;
	uint64_t words, text_bytes, list_bytes;
	/* The last word; size 0 if there is none */
	struct lsi_word last;
};

struct lsi_meta {
	uint32_t format;
	/* Rises when the list of segments changes. */
	uint64_t generation;
	uint64_t next_id;
	uint8_t store[LMS_GUID_SIZE];
	/* Of the running system that committed without a flush since the last one, else 0 */
	uint8_t boot[LMS_GUID_SIZE];
	char producer[128];
	/* Make one segment of all. */
	bool optimize;
	struct lsi_segment_info segments[LSI_SEGMENTS_MAX];
	unsigned int segment_count;
	/* Segments that are to be deleted */
	uint64_t garbage[LSI_SEGMENTS_MAX];
	unsigned int garbage_count;
	/* A merge that has begun, if merge_count isn't 0: from these segments, to this one, up to this word */
	uint64_t merge_inputs[LSI_MERGE_MAX];
	unsigned int merge_count;
	struct lsi_segment_info merge_output;
	struct lsi_word merge_word;
};

void lsi_meta_encode(const struct lsi_meta *meta, uint8_t head[LMS_RECORD_HEAD], struct lms_buffer *buf);
int lsi_meta_decode(const struct lms_value *value, struct lsi_meta *meta_r);

enum lsi_kind {
	LSI_KIND_DOCS = 1,
	LSI_KIND_WORDS = 2,
	LSI_KIND_LISTS = 3
};
/* All records of a segment, those of one kind, one record. */
void lsi_key_segment(struct lms_key *key, uint64_t id);
void lsi_key_docs(struct lms_key *key, uint64_t id, uint32_t part);
void lsi_key_field(struct lms_key *key, uint64_t id, enum lsi_kind kind, uint8_t field);
void lsi_key_word(struct lms_key *key, uint64_t id, enum lsi_kind kind, const struct lsi_word *word);
/* The word in a key of kind 2 of this segment. Returns 0, or -1 if it isn't one. */
int lsi_key_get_word(const uint8_t *key, size_t size, uint64_t id, struct lsi_word *word_r);

void lsi_docs_encode(const struct lsi_doc *docs, const bool *opaque, unsigned int count, uint8_t head[LMS_RECORD_HEAD],
		     struct lms_buffer *buf);
/* Into arrays of count elements; opaque_r counts. Returns 0 or -1. */
int lsi_docs_decode(const struct lms_value *value, uint64_t *ids, uint32_t *checks, bool *opaque, unsigned int count);

/* The list of the next word: ascending numbers of documents of a segment that has docs of them. Adds its bytes to
   lists, and returns the word's varint. */
uint64_t lsi_list_encode(const uint32_t *numbers, unsigned int count, uint32_t docs, struct lms_buffer *lists);

/* A pair of records being read, word by word. */
struct lsi_chunk {
	const uint8_t *text, *text_end;
	struct lms_reader words, lists;
	unsigned int left;
	uint32_t docs;

	/* The word it stands on */
	const uint8_t *token;
	size_t token_size;
	uint64_t entry;
	const uint8_t *list;
	size_t list_size;
};
void lsi_chunk_encode(const struct lsi_word *before, unsigned int count, const struct lms_buffer *text,
		      const struct lms_buffer *entries, struct lms_buffer *buf);
/* The word of the record before. Returns 0 or -1. */
int lsi_chunk_get_before(const struct lms_value *words, struct lsi_word *before_r);
/* docs: number of documents of the segment. Returns 0 or -1. */
int lsi_chunk_init(struct lsi_chunk *chunk, const struct lms_value *words, const struct lms_value *lists,
		   uint32_t docs);
/* Returns 1, 0 at the end, -1 if the records make no sense. */
int lsi_chunk_next(struct lsi_chunk *chunk);
/* Go on, or stay, at the word that has the given byte of text. Returns 0 or -1. */
int lsi_chunk_goto(struct lsi_chunk *chunk, const uint8_t *pos);
/* Documents of the word: add them to a bitmap. Returns 0 or -1. */
int lsi_chunk_add_bits(const struct lsi_chunk *chunk, uint64_t *bits);
/* Documents of the word: their numbers to an array with room for all documents. Returns their number or -1. */
int lsi_chunk_numbers(const struct lsi_chunk *chunk, uint32_t *numbers);

#endif
