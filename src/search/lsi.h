/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LSI_H
#define LSI_H

#include "lms.h"

/*
 * lsi: a search index over the bodies of one store (src/store), in an LMDB environment of its own.
 *
 * It answers, for a key, which documents contain it as a substring. A document is a stored body, not a message in a
 * folder, so messages that share a body share its entry. Text comes in and keys are looked up in one and the same
 * normal form, which is the caller's: here they are bytes, in UTF-8 as far as word classes are concerned.
 *
 * Everything in it is derived. It may be deleted at any time, also while processes use it: what isn't indexed is
 * reported as such, never as not matching. Damage, another format or another producer make it be thrown away.
 *
 * Commits aren't flushed. If the machine went down before lsi_close() or lsi_sync(), the index is thrown away.
 *
 * Functions that return int return 0 or -1 with *error_r set, unless they say otherwise.
 */

struct lsi_index;

/* The kinds of text that are looked up apart. */
enum lsi_field {
	LSI_BODY,
	/* All header lines of all parts, as they are in the message */
	LSI_HEADER,
	/* Values of these header fields of the message itself */
	LSI_SUBJECT,
	LSI_FROM,
	LSI_TO,
	LSI_CC,
	LSI_BCC,
	/* Names of the header fields of the message itself, each one a text */
	LSI_NAME,
	/* What decoders made of attachments */
	LSI_ATTACHMENT,
	LSI_FIELD_COUNT
};
#define LSI_FIELD_BIT(field) (1u << (field))

struct lsi_settings {
	struct lms_env_settings env;
	/* Says who made the normal form; an index of another one is thrown away. */
	const char *producer;
	/* Don't flush at all: the index is thrown away after every restart of the system. */
	bool no_sync;
	/* The store whose bodies are indexed: kept open by the caller as long as the index. */
	struct lms_env *store;
};

/* An index in directory dir, which is opened or created when it is first used. One process opens an index once, as
   with lms_env_open(). */
int lsi_open(const char *dir, const struct lsi_settings *set, struct lsi_index **index_r, struct lms_error *error_r);
void lsi_close(struct lsi_index **index);
/* After an error of any other function: if it says that the index can't be used any more, delete its files and return
   true. The next use begins a new one. */
bool lsi_discard(struct lsi_index *index, const struct lms_error *error);
/* Delete the files, whatever is in them. The next use begins a new index. */
int lsi_remove(struct lsi_index *index, struct lms_error *error_r);
/* Make what was committed survive a power cut. */
int lsi_sync(struct lsi_index *index, struct lms_error *error_r);

/* A body. check is any hash of what else is known of it: an id that a store which was put back from a backup gave
   to another body has another one. */
struct lsi_doc {
	uint64_t body_id;
	uint32_t check;
};

/* The body of a message with these properties */
struct lsi_doc lsi_doc_make(uint64_t body_id, const char *guid, uint64_t size);

/*
 * Documents on their way into the index, in memory: about 10 bytes for each different word, until it is full.
 */
struct lsi_batch;

/* NULL: out of memory */
struct lsi_batch *lsi_batch_new(void);
void lsi_batch_free(struct lsi_batch **batch);
/* Begin a document. What follows belongs to it, until lsi_batch_end(). */
void lsi_batch_begin(struct lsi_batch *batch, const struct lsi_doc *doc);
/* Text of a field, which continues the text before of the same field, or, after lsi_batch_break(), does not. */
void lsi_batch_text(struct lsi_batch *batch, enum lsi_field field, const void *data, size_t size);
void lsi_batch_break(struct lsi_batch *batch, enum lsi_field field);
/* The document is complete, or, if not ok, to be forgotten. */
void lsi_batch_end(struct lsi_batch *batch, bool ok);
unsigned int lsi_batch_count(const struct lsi_batch *batch);
/* Time to write it: it has many documents or needs much memory. */
bool lsi_batch_is_full(const struct lsi_batch *batch);
/* Does the batch have the document already? */
bool lsi_batch_has(const struct lsi_batch *batch, uint64_t body_id);

/* Add the documents of the batch to the index, and empty the batch (also on failure). */
int lsi_write(struct lsi_index *index, struct lsi_batch *batch, struct lms_error *error_r);
/* Do a part of what keeps the index small and fast: some milliseconds in the index's write lock. Returns 1 if there is
   more to do, 0 if not, -1. */
int lsi_maintain(struct lsi_index *index, struct lms_error *error_r);
/* Have lsi_maintain() make one segment of all, without documents whose bodies are gone. */
int lsi_optimize(struct lsi_index *index, struct lms_error *error_r);

/*
 * Looking up. Between lsi_search_begin() and lsi_search_end() the index has a read transaction open, so control must
 * not return to an event loop. The snapshot stays valid until it is unreferenced, and so do the sets.
 */
struct lsi_snapshot;

int lsi_search_begin(struct lsi_index *index, struct lsi_snapshot **snapshot_r, struct lms_error *error_r);
void lsi_search_end(struct lsi_index *index);
void lsi_snapshot_ref(struct lsi_snapshot *snapshot);
void lsi_snapshot_unref(struct lsi_snapshot **snapshot);

/* Changes whenever positions do: equal for equal contents of the index. */
uint64_t lsi_snapshot_generation(const struct lsi_snapshot *snapshot);

/* Instead of a position: the document isn't indexed; it is, but its text was too large, so that nothing is known. */
#define LSI_MISSING UINT32_MAX
#define LSI_OPAQUE (UINT32_MAX - 1)
/* Position of a document in the sets of this snapshot. Documents asked for in the order of their ids are found
   fastest. */
uint32_t lsi_snapshot_find(struct lsi_snapshot *snapshot, const struct lsi_doc *doc);

/* A set of positions */
struct lsi_set {
	/* The documents of the set are exactly those that match; otherwise those that match are among them. */
	bool exact;
	size_t words;
	uint64_t *bits;
};
static inline bool lsi_set_has(const struct lsi_set *set, uint32_t position)
{
	return (set->bits[position / 64] >> (position % 64) & 1) != 0;
}
void lsi_set_free(struct lsi_set *set);

/*
 * The documents whose text in one of the fields (LSI_FIELD_BIT()s) contains key. Returns 1 and *set_r, 0 if the index
 * can tell nothing about such a key (it is empty or has only space), -1.
 */
int lsi_lookup(struct lsi_index *index, struct lsi_snapshot *snapshot, unsigned int fields, const void *key,
	       size_t size, struct lsi_set *set_r, struct lms_error *error_r);
/* The documents of which one text in the field is exactly this one; for LSI_NAME. Returns as lsi_lookup(). */
int lsi_lookup_whole(struct lsi_index *index, struct lsi_snapshot *snapshot, enum lsi_field field, const void *key,
		     size_t size, struct lsi_set *set_r, struct lms_error *error_r);

struct lsi_status {
	unsigned int segments;
	/* Indexed documents; of these, opaque ones; those whose bodies are gone */
	uint64_t documents, opaque, gone;
	/* Different words, counted once for each segment, and bytes of their text, of the lists of documents */
	uint64_t words, text_bytes, list_bytes;
	/* Of the data file: in all, and used */
	uint64_t file_bytes, used_bytes;
	/* lsi_maintain() has something to do. */
	bool pending;
};
int lsi_get_status(struct lsi_index *index, struct lsi_status *status_r, struct lms_error *error_r);

/* Called with a line about each inconsistency. */
typedef void lsi_check_callback(const char *text, void *context);
/* Read all of the index. Returns 1 if it is sound, 0 if not, -1. */
int lsi_check(struct lsi_index *index, lsi_check_callback *callback, void *context, struct lms_error *error_r);

#endif
