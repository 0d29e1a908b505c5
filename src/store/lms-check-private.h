/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMS_CHECK_PRIVATE_H
#define LMS_CHECK_PRIVATE_H

#include "lms-check.h"
#include "lms-txn.h"

/* A message's reference to a body */
struct lms_check_ref {
	uint64_t body_id, size;
	/* The message's folder is garbage. */
	bool garbage;
};

struct lms_check_ids {
	uint64_t *ids;
	unsigned int count, alloc;
};

/* What is counted of one folder */
struct lms_check_count {
	uint64_t folder_id;
	uint32_t messages, seen, uid_max, change_records;
	uint64_t physical_size, virtual_size, keywords;
	/* From its record */
	uint64_t changes_since, change;
	bool have_pop3_uidl, have_pop3_order, garbage;
};

/* What is seen of one body's chunks. Of the last one: its size, and the pieces that must still come */
struct lms_check_body {
	uint64_t id, size;
	uint32_t next_chunk;
	size_t chunk_size;
	unsigned int pieces_left;
	bool any, whole;
};

struct lms_check {
	struct lms_txn txn;
	struct lms_error error;
	lms_check_callback *callback;
	void *context;
	bool failed, out_of_memory;
	struct lms_meta meta;
	struct lms_check_ref *refs;
	unsigned int ref_count, ref_alloc;
	/* Sorted */
	struct lms_check_ids folders, garbage_folders, garbage_bodies, staged;
	struct lms_check_count count;
	struct lms_check_body body;
};

void lms_check_report(struct lms_check *check, const char *format, ...) __attribute__((format(printf, 2, 3)));
void lms_check_add_id(struct lms_check *check, struct lms_check_ids *ids, uint64_t id);
void lms_check_sort_ids(struct lms_check_ids *ids);
bool lms_check_has_id(const struct lms_check_ids *ids, uint64_t id);
void lms_check_add_ref(struct lms_check *check, uint64_t body_id, uint64_t size, bool garbage);

/* Called for each record that can be read; the others are reported. */
typedef void lms_check_record(struct lms_check *check, const struct lms_cursor *cursor);
/* Walk a database, or with prefix a part of it. */
void lms_check_walk(struct lms_check *check, enum lms_db db, const struct lms_key *prefix, lms_check_record *func);
/* Does the key have this size? If not, that is reported. */
bool lms_check_key_size(struct lms_check *check, const struct lms_cursor *cursor, size_t size);

void lms_check_tree(struct lms_check *check);
void lms_check_folders(struct lms_check *check);
void lms_check_bodies(struct lms_check *check);

#endif
