/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LSI_PRIVATE_H
#define LSI_PRIVATE_H

#include "lms-private.h"
#include "lms-txn.h"
#include "lsi-format.h"

/* A segment's documents, by ascending body id */
struct lsi_segment {
	unsigned int refcount;
	uint64_t id;
	uint32_t docs, opaque_count;
	struct lsi_word last;
	uint64_t *ids;
	uint32_t *checks;
	bool *opaque;
};

struct lsi_snapshot {
	unsigned int refcount;
	uint64_t generation;
	unsigned int count;
	struct lsi_segment **segments;
	/* Position of each segment's first document: a multiple of 64 */
	uint32_t *bases;
	size_t words;
	/* Where lsi_snapshot_find() found the last document */
	unsigned int last_segment;
	uint32_t last_number;
};

/* New numbers of the documents of a running merge's inputs */
struct lsi_merge_maps {
	/* The merge that they are for; 0: none */
	uint64_t output_id;
	uint32_t output_docs;
	unsigned int count;
	uint32_t **maps;
};
/* In such a map: the document is left out. */
#define LSI_DROPPED UINT32_MAX

struct lsi_index {
	struct lsi_index *next;
	unsigned int refcount;
	char *dir;
	struct lsi_settings set;
	char producer[128];
	uint8_t store_guid[LMS_GUID_SIZE];
	uint8_t boot[LMS_GUID_SIZE];
	struct lms_env *env;
	/* This process committed something that isn't flushed. */
	bool unsynced;
	struct lsi_snapshot *snapshot;
	struct lsi_merge_maps maps;
};

/* Fill *error_r: something in the index can't be right. Returns -1. */
int lsi_fail_record(struct lsi_index *index, const char *what, struct lms_error *error_r);
int lsi_fail_memory(struct lsi_index *index, struct lms_error *error_r);

/* lsi-index.c */
int lsi_meta_read(struct lsi_index *index, struct lms_txn *txn, struct lsi_meta *meta_r);
/* The environment that stands in the directory now, after somebody deleted the one that was open. */
int lsi_index_follow(struct lsi_index *index, struct lms_error *error_r);

/*
 * Carry out func in a write transaction, again with a larger map if it didn't fit, and commit with the meta record that
 * it leaves. func returns 1, 0 if there is nothing to commit, -1.
 */
typedef int lsi_write_func(struct lsi_index *index, struct lms_txn *txn, struct lsi_meta *meta, void *context);
int lsi_run(struct lsi_index *index, lsi_write_func *func, void *context, struct lms_error *error_r);

/* lsi-snapshot.c: the snapshot of what the transaction sees, kept in index->snapshot */
int lsi_snapshot_load(struct lsi_index *index, struct lms_txn *txn, const struct lsi_meta *meta);
void lsi_snapshot_drop(struct lsi_index *index);
struct lsi_segment *lsi_segment_load(struct lsi_index *index, struct lms_txn *txn, const struct lsi_segment_info *info);
void lsi_segment_unref(struct lsi_segment **segment);

/* lsi-writer.c: writing a segment, word by word in ascending order */
struct lsi_writer {
	struct lms_txn *txn;
	/* Its counters are kept up. */
	struct lsi_segment_info *info;
	/* The last word added; info->last is the last one written */
	struct lsi_word word;
	struct lms_buffer text, entries, lists;
	unsigned int count;
	/* Bytes written */
	uint64_t written;
};
void lsi_writer_init(struct lsi_writer *writer, struct lms_txn *txn, struct lsi_segment_info *info);
/* numbers ascend. */
int lsi_writer_add(struct lsi_writer *writer, uint8_t field, const uint8_t *token, size_t size,
		   const uint32_t *numbers, unsigned int count);
/* Write what is left. */
int lsi_writer_finish(struct lsi_writer *writer);
void lsi_writer_free(struct lsi_writer *writer);
/* Write the table of documents, which ascend by body id, and set the counters of documents. */
int lsi_write_docs(struct lms_txn *txn, struct lsi_segment_info *info, const struct lsi_doc *docs, const bool *opaque,
		   unsigned int count);

/* lsi-reader.c: reading the words of a field of a segment, pair of records by pair */
struct lsi_reader {
	struct lsi_index *index;
	struct lms_txn *txn;
	const struct lsi_segment *segment;
	struct lms_cursor cursor;
	/* -1: all fields, one after another */
	int field;
	/* The records it stands on: the last word in them, and the words */
	struct lsi_word last;
	struct lsi_chunk chunk;
};
int lsi_reader_open(struct lsi_reader *reader, struct lsi_index *index, struct lms_txn *txn,
		    const struct lsi_segment *segment, int field);
void lsi_reader_close(struct lsi_reader *reader);
/* Go to the records in which the first word at or after this one is; or to the first or next ones. Returns 1, 0 at the
   end, -1. */
int lsi_reader_seek(struct lsi_reader *reader, const struct lsi_word *word);
int lsi_reader_first(struct lsi_reader *reader);
int lsi_reader_next(struct lsi_reader *reader);

/* lsi-merge.c: forget what was computed for a running merge. */
void lsi_merge_maps_free(struct lsi_merge_maps *maps);

#endif
