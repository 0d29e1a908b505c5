/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-write.h"
#include "lms-lock.h"

#include <stdlib.h>
#include <string.h>

/*
 * Bodies under construction: body id -> bytes so far. While its maker lives it holds a lock on a byte of the lock
 * file, LMS_LOCK_STAGED + body id; a body here without lock is garbage.
 */

static bool is_own(const struct lms_env *env, uint64_t body_id)
{
	unsigned int i;

	for (i = 0; i < env->staged_count; i++) {
		if (env->staged[i] == body_id)
			return true;
	}
	return false;
}

static void forget(struct lms_env *env, uint64_t body_id)
{
	unsigned int i;

	for (i = 0; i < env->staged_count; i++) {
		if (env->staged[i] == body_id) {
			env->staged[i] = env->staged[--env->staged_count];
			lms_lock_drop(env->lock_fd, LMS_LOCK_STAGED + (off_t)body_id);
			return;
		}
	}
}

void lms_stage_abort(struct lms_env *env, uint64_t body_id)
{
	/* A child's copy of the descriptor has the parent's locks. */
	if (lms_env_usable(env, NULL) < 0)
		return;
	forget(env, body_id);
	env->made_garbage = true;
}

void lms_staging_done(struct lms_write *write, bool committed)
{
	const struct lms_stage *stage = &write->request->u.stage;
	unsigned int i;

	if (!committed) {
		for (i = 0; i < write->staged_begun; i++)
			forget(write->env, write->env->staged[write->env->staged_count - 1]);
		return;
	}
	for (i = 0; i < write->staged_saved_count; i++)
		forget(write->env, write->staged_saved[i]);
	if (write->request->op == LMS_OP_STAGE) {
		for (i = 0; i < stage->count; i++)
			*stage->parts[i].body_id = write->staged_ids[i];
	}
}

static int get_size(struct lms_write *write, uint64_t body_id, uint64_t *size_r)
{
	struct lms_value value;
	struct lms_key key;
	int ret;

	lms_key_id(&key, body_id);
	ret = lms_get(&write->txn, LMS_DB_STAGING, &key, &value);
	if (ret < 0)
		return -1;
	if (ret == 0 || !is_own(write->env, body_id)) {
		return lms_write_fail(write, LMS_NOTFOUND, "Body %llx isn't under construction by this process",
				      (unsigned long long)body_id);
	}
	if (lms_number_decode(&value, size_r) < 0)
		return lms_write_fail_record(write, "staging");
	return 0;
}

static int set_size(struct lms_write *write, uint64_t body_id, uint64_t size)
{
	uint8_t head[LMS_RECORD_HEAD];
	struct lms_buffer buf;
	struct lms_key key;
	int ret;

	lms_buffer_init(&buf);
	lms_number_encode(size, head, &buf);
	lms_key_id(&key, body_id);
	ret = lms_put_buffer(&write->txn, LMS_DB_STAGING, &key, head, &buf);
	lms_buffer_free(&buf);
	return ret;
}

int lms_staging_take(struct lms_write *write, uint64_t body_id, uint64_t *size_r)
{
	struct lms_key key;

	if (get_size(write, body_id, size_r) < 0)
		return -1;
	lms_key_id(&key, body_id);
	if (lms_del(&write->txn, LMS_DB_STAGING, &key) < 0 ||
	    lms_write_grow(write, &write->staged_saved, write->staged_saved_count, &write->staged_saved_alloc,
			   sizeof(*write->staged_saved)) < 0)
		return -1;
	write->staged_saved[write->staged_saved_count++] = body_id;
	return 0;
}

/* The lock comes before the commit, so nobody ever sees the entry without it. */
static int begin(struct lms_write *write, uint64_t *body_id_r)
{
	struct lms_env *env = write->env;
	uint64_t body_id = write->meta.next_body_id++;
	int err;

	if (lms_write_grow(write, &env->staged, env->staged_count, &env->staged_alloc, sizeof(*env->staged)) < 0)
		return -1;
	err = lms_lock_try(env->lock_fd, LMS_LOCK_STAGED + (off_t)body_id);
	if (err != 0)
		return lms_fail_errno(write->txn.error, err, "fcntl", env->dir);
	env->staged[env->staged_count++] = body_id;
	write->staged_begun++;
	*body_id_r = body_id;
	return 0;
}

static int add_part(struct lms_write *write, const struct lms_stage_part *part, uint64_t *body_id_r)
{
	uint64_t size = 0;

	*body_id_r = *part->body_id;
	if (*body_id_r == 0) {
		if (begin(write, body_id_r) < 0 ||
		    lms_body_write(write, *body_id_r, part->ready, part->ready_size, part->data, part->size) < 0)
			return -1;
	} else {
		if (get_size(write, *body_id_r, &size) < 0 ||
		    (part->size > 0 && lms_body_add(write, *body_id_r, size, part->data, part->size) < 0) ||
		    (part->ready_size > 0 &&
		     lms_body_set_ready(write, *body_id_r, part->ready, part->ready_size) < 0))
			return -1;
	}
	return set_size(write, *body_id_r, size + part->size);
}

int lms_op_stage(struct lms_write *write)
{
	const struct lms_stage *stage = &write->request->u.stage;
	unsigned int i;

	write->staged_ids = calloc(stage->count + 1, sizeof(*write->staged_ids));
	if (write->staged_ids == NULL)
		return lms_write_fail_memory(write);
	for (i = 0; i < stage->count; i++) {
		if (add_part(write, &stage->parts[i], &write->staged_ids[i]) < 0)
			return -1;
	}
	return 0;
}

/* The next body from *body_id on whose maker is gone. Returns 1, 0 if there is none, -1. */
static int find_orphan(struct lms_write *write, uint64_t *body_id)
{
	struct lms_cursor cursor;
	struct lms_key key;
	int ret;

	lms_key_id(&key, *body_id);
	if (lms_cursor_open(&cursor, &write->txn, LMS_DB_STAGING) < 0)
		return -1;
	ret = lms_cursor_seek(&cursor, &key);
	while (ret > 0) {
		if (cursor.key_size != 8) {
			ret = lms_write_fail_record(write, "staging");
			break;
		}
		*body_id = lms_key_get_id(cursor.key);
		if (!is_own(write->env, *body_id) &&
		    !lms_lock_is_taken(write->env->lock_fd, LMS_LOCK_STAGED + (off_t)*body_id))
			break;
		ret = lms_cursor_next(&cursor);
	}
	lms_cursor_close(&cursor);
	return ret;
}

int lms_staging_collect(struct lms_write *write, uint64_t *budget, bool *more_r)
{
	uint64_t body_id = 0;
	struct lms_key key;
	int ret;

	*more_r = false;
	while ((ret = find_orphan(write, &body_id)) > 0) {
		if (*budget == 0) {
			*more_r = true;
			return 0;
		}
		ret = lms_body_delete(write, body_id, budget);
		if (ret < 0)
			return -1;
		if (ret == 0) {
			*more_r = true;
			return 0;
		}
		lms_key_id(&key, body_id);
		if (lms_del(&write->txn, LMS_DB_STAGING, &key) < 0)
			return -1;
	}
	return ret;
}
