/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-check-private.h"
#include "lms-chunk.h"

#include <stdlib.h>
#include <string.h>

/* Bodies: chunks, counts, garbage, and those under construction. */

static int cmp_refs(const void *p1, const void *p2)
{
	const struct lms_check_ref *ref1 = p1, *ref2 = p2;

	return ref1->body_id < ref2->body_id ? -1 : ref1->body_id > ref2->body_id;
}

/* Index of the first reference to a body */
static unsigned int find_ref(const struct lms_check *check, uint64_t body_id)
{
	unsigned int low = 0, high = check->ref_count;

	while (low < high) {
		unsigned int middle = low + (high - low) / 2;

		if (check->refs[middle].body_id < body_id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Number of messages of the body; *garbage_r if all of them are in deleted folders. */
static uint64_t count_refs(const struct lms_check *check, uint64_t body_id, bool *garbage_r)
{
	unsigned int i, first = find_ref(check, body_id);

	*garbage_r = true;
	for (i = first; i < check->ref_count && check->refs[i].body_id == body_id; i++) {
		if (!check->refs[i].garbage)
			*garbage_r = false;
	}
	return i - first;
}

static uint64_t stored_refs(struct lms_check *check, uint64_t body_id, bool *stored_r)
{
	struct lms_value value;
	uint64_t refs = 1;
	struct lms_key key;

	lms_key_id(&key, body_id);
	*stored_r = lms_get(&check->txn, LMS_DB_BODYREFS, &key, &value) > 0;
	if (*stored_r && lms_number_decode(&value, &refs) < 0)
		lms_check_report(check, "bodyrefs: record of body %llx makes no sense", (unsigned long long)body_id);
	return refs;
}

static void check_size(struct lms_check *check)
{
	unsigned int i;

	for (i = find_ref(check, check->body.id); i < check->ref_count && check->refs[i].body_id == check->body.id; i++) {
		if (!check->refs[i].garbage && (check->refs[i].size != check->body.size || !check->body.whole)) {
			lms_check_report(check, "bodies: body %llx has %llu bytes, but its message says %llu",
					 (unsigned long long)check->body.id, (unsigned long long)check->body.size,
					 (unsigned long long)check->refs[i].size);
			return;
		}
	}
}

static void check_staged(struct lms_check *check)
{
	struct lms_value value;
	struct lms_key key;
	uint64_t size;

	lms_key_id(&key, check->body.id);
	if (lms_get(&check->txn, LMS_DB_STAGING, &key, &value) <= 0 || lms_number_decode(&value, &size) < 0) {
		lms_check_report(check, "staging: record of body %llx makes no sense", (unsigned long long)check->body.id);
		return;
	}
	/* One that was given up may have lost chunks already. */
	if (check->body.size > size) {
		lms_check_report(check, "staging: body %llx has %llu bytes instead of %llu", (unsigned long long)check->body.id,
				 (unsigned long long)check->body.size, (unsigned long long)size);
	}
}

static void check_body(struct lms_check *check)
{
	unsigned long long id = check->body.id;
	uint64_t counted, stored;
	bool garbage, has_record;

	if (!check->body.any)
		return;
	if (check->body.pieces_left > 0)
		check->body.whole = false;
	counted = count_refs(check, check->body.id, &garbage);
	stored = stored_refs(check, check->body.id, &has_record);
	if (lms_check_has_id(&check->staged, check->body.id)) {
		if (counted > 0 || has_record || lms_check_has_id(&check->garbage_bodies, check->body.id))
			lms_check_report(check, "staging: body %llx is in use", id);
		check_staged(check);
	} else if (lms_check_has_id(&check->garbage_bodies, check->body.id)) {
		if (counted > 0 || !has_record || stored != 0) {
			lms_check_report(check, "garbage: body %llx has %llu messages and a count of %llu", id,
					 (unsigned long long)counted, (unsigned long long)stored);
		}
	} else if (counted == 0) {
		lms_check_report(check, "bodies: body %llx has no message and isn't garbage", id);
	} else {
		if (counted != stored || (has_record && stored == 1)) {
			lms_check_report(check, "bodyrefs: body %llx has %llu messages, but a count of %llu", id,
					 (unsigned long long)counted, (unsigned long long)stored);
		}
		check_size(check);
	}
}

static void begin_body(struct lms_check *check, uint64_t body_id)
{
	check_body(check);
	memset(&check->body, 0, sizeof(check->body));
	check->body.any = check->body.whole = true;
	check->body.id = body_id;
	if (body_id == 0 || body_id >= check->meta.next_body_id)
		lms_check_report(check, "bodies: body %llx can't exist yet", (unsigned long long)body_id);
}

/* Read a chunk whose first piece is there. */
static void check_chunk(struct lms_check *check, uint32_t chunk, unsigned int pieces_left)
{
	struct lms_check_body *body = &check->body;
	struct lms_body_start start;
	int ret;

	/* After the start, only the last chunk may be smaller. */
	if (chunk != body->next_chunk || body->pieces_left > 0 || (chunk > 1 && body->chunk_size != LMS_CHUNK_MAX))
		body->whole = false;
	body->next_chunk = chunk + 1;
	body->pieces_left = pieces_left;
	ret = lms_body_get(&check->txn, body->id, chunk, &start);
	body->chunk_size = ret > 0 ? start.size : 0;
	if (ret <= 0)
		body->whole = false;
	body->size += body->chunk_size;
}

static void check_piece(struct lms_check *check, const struct lms_cursor *cursor)
{
	uint64_t body_id;
	uint32_t number;

	if (!lms_check_key_size(check, cursor, 12))
		return;
	body_id = lms_key_get_id(cursor->key);
	number = lms_key_get_number(cursor->key);
	if (!check->body.any || body_id != check->body.id)
		begin_body(check, body_id);
	if ((number & 0xff) == 0) {
		check_chunk(check, number >> 8, cursor->value.head[2]);
	} else if (check->body.pieces_left > 0 && (number >> 8) + 1 == check->body.next_chunk) {
		check->body.pieces_left--;
	} else {
		check->body.whole = false;
	}
}

static void check_bodyref(struct lms_check *check, const struct lms_cursor *cursor)
{
	uint64_t body_id, counted, stored;
	bool garbage;

	if (!lms_check_key_size(check, cursor, 8))
		return;
	body_id = lms_key_get_id(cursor->key);
	counted = count_refs(check, body_id, &garbage);
	if (lms_number_decode(&cursor->value, &stored) < 0 || stored != counted) {
		lms_check_report(check, "bodyrefs: body %llx has %llu messages, but a count of %llu",
				 (unsigned long long)body_id, (unsigned long long)counted, (unsigned long long)stored);
	}
	if (counted == 0 && !lms_check_has_id(&check->garbage_bodies, body_id))
		lms_check_report(check, "bodyrefs: body %llx isn't in garbage", (unsigned long long)body_id);
}

static void list_staged(struct lms_check *check, const struct lms_cursor *cursor)
{
	if (lms_check_key_size(check, cursor, 8))
		lms_check_add_id(check, &check->staged, lms_key_get_id(cursor->key));
}

/* Does each message of a folder that exists have a body? */
static void check_refs(struct lms_check *check)
{
	struct lms_cursor cursor;
	struct lms_key key;
	unsigned int i;
	size_t size;

	if (lms_cursor_open(&cursor, &check->txn, LMS_DB_BODIES) < 0) {
		lms_check_report(check, "%s", check->error.text);
		return;
	}
	for (i = 0; i < check->ref_count; i++) {
		if (check->refs[i].garbage || (i > 0 && check->refs[i - 1].body_id == check->refs[i].body_id))
			continue;
		lms_key_id_number(&key, check->refs[i].body_id, 0);
		if (lms_cursor_seek_unread(&cursor, &key, &size) <= 0 ||
		    !lms_key_has_prefix(cursor.key, cursor.key_size, &key)) {
			lms_check_report(check, "bodies: body %llx is missing",
					 (unsigned long long)check->refs[i].body_id);
		}
	}
	lms_cursor_close(&cursor);
}

static void check_garbage_bodies(struct lms_check *check)
{
	unsigned int i;

	for (i = 1; i < check->garbage_bodies.count; i++) {
		if (check->garbage_bodies.ids[i - 1] == check->garbage_bodies.ids[i]) {
			lms_check_report(check, "garbage: body %llx is there twice",
					 (unsigned long long)check->garbage_bodies.ids[i]);
		}
	}
}

void lms_check_bodies(struct lms_check *check)
{
	if (check->ref_count > 0)
		qsort(check->refs, check->ref_count, sizeof(*check->refs), cmp_refs);
	lms_check_walk(check, LMS_DB_STAGING, NULL, list_staged);
	memset(&check->body, 0, sizeof(check->body));
	lms_check_walk(check, LMS_DB_BODIES, NULL, check_piece);
	check_body(check);
	lms_check_walk(check, LMS_DB_BODYREFS, NULL, check_bodyref);
	check_refs(check);
	check_garbage_bodies(check);
}
