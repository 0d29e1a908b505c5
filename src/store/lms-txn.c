/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-txn.h"
#include "lms-guard.h"
#include "lms-map.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Records are kept below this; more is the sign of a damaged page. */
#define VALUE_MAX (4u << 20)
#define NO_VALUE { 0, NULL }
/* How often beginning a transaction is tried again after what may have gone away */
#define BEGIN_TRIES 8

static int fail(struct lms_txn *txn, int rc, const char *action, unsigned int db)
{
	const char *name = txn->env->schema->db_names[db];
	char what[64];

	txn->rc = rc;
	snprintf(what, sizeof(what), "%s %s", action, name == NULL ? "meta" : name);
	return lms_fail_mdb(txn->error, txn->env, rc, what);
}

/* What can be done about a transaction that doesn't begin. Returns 0 to try again. */
static int recover_begin(struct lms_env *env, int rc, unsigned int try, struct lms_error *error_r)
{
	switch (rc) {
	case MDB_MAP_RESIZED:
		return lms_map_grow(env, 0, error_r);
	case MDB_READERS_FULL:
		if (try == 0 && mdb_reader_check(env->mdb, NULL) == 0)
			return 0;
		break;
	case MDB_BAD_RSLOT:
		if (env->read_txn != NULL) {
			mdb_txn_abort(env->read_txn);
			env->read_txn = NULL;
			return 0;
		}
		break;
	case EINVAL:
	case MDB_PANIC:
		/* Another program destroyed the mutex, or the last commit failed half-way. */
		if (try == 0)
			return lms_env_reopen(env, error_r);
		break;
	}
	return lms_fail_mdb(error_r, env, rc, "begin of transaction");
}

int lms_txn_begin(struct lms_env *env, unsigned int flags, MDB_txn **mdb, struct lms_error *error_r)
{
	unsigned int try;
	int rc = 0;

	if (lms_env_usable(env, error_r) < 0)
		return -1;
	for (try = 0; try < BEGIN_TRIES; try++) {
		rc = *mdb != NULL ? mdb_txn_renew(*mdb) : mdb_txn_begin(env->mdb, NULL, flags, mdb);
		if (rc == 0)
			return 0;
		if (recover_begin(env, rc, try, error_r) < 0)
			return -1;
	}
	return lms_fail_mdb(error_r, env, rc, "begin of transaction");
}

int lms_read_begin(struct lms_env *env, struct lms_error *error_r)
{
	if (env->read_depth == 0 && lms_txn_begin(env, MDB_RDONLY, &env->read_txn, error_r) < 0)
		return -1;
	env->read_depth++;
	return 0;
}

void lms_read_end(struct lms_env *env)
{
	if (--env->read_depth == 0)
		mdb_txn_reset(env->read_txn);
}

int lms_txn_read(struct lms_txn *txn, struct lms_env *env, struct lms_error *error_r)
{
	if (lms_read_begin(env, error_r) < 0)
		return -1;
	memset(txn, 0, sizeof(*txn));
	txn->env = env;
	txn->mdb = env->read_txn;
	txn->error = error_r;
	return 0;
}

void lms_txn_read_end(struct lms_txn *txn)
{
	lms_read_end(txn->env);
}

int lms_txn_write(struct lms_txn *txn, struct lms_env *env, struct lms_error *error_r)
{
	memset(txn, 0, sizeof(*txn));
	txn->env = env;
	txn->error = error_r;
	if (lms_txn_begin(env, 0, &txn->mdb, error_r) < 0)
		return -1;
	lms_guard_writing.remedy = env->schema->remedy;
	lms_guard_writing.dir = env->dir;
	return 0;
}

static int guarded_commit(MDB_txn *mdb)
{
	LMS_GUARDED(mdb_txn_commit(mdb));
}

static int guarded_dbi_open(MDB_txn *mdb, const char *name, unsigned int flags, MDB_dbi *dbi_r)
{
	LMS_GUARDED(mdb_dbi_open(mdb, name, flags, dbi_r));
}

int lms_txn_open_late(struct lms_txn *txn, unsigned int db, bool create)
{
	MDB_dbi *dbi = &txn->env->dbi[db];
	int rc;

	if (*dbi != 0)
		return 1;
	rc = guarded_dbi_open(txn->mdb, txn->env->schema->db_names[db], create ? MDB_CREATE : 0, dbi);
	if (rc != 0) {
		*dbi = 0;
		return rc == MDB_NOTFOUND ? 0 : fail(txn, rc, "open of", db);
	}
	txn->opened_late = true;
	return 1;
}

/* Only a commit keeps the handles. */
static void close_late(struct lms_txn *txn)
{
	const struct lms_schema *schema = txn->env->schema;

	if (txn->opened_late)
		memset(txn->env->dbi + schema->db_count, 0, schema->late_count * sizeof(txn->env->dbi[0]));
	txn->opened_late = false;
}

int lms_txn_commit(struct lms_txn *txn, bool no_sync)
{
	struct lms_env *env = txn->env;
	int rc;

	if (no_sync)
		mdb_env_set_flags(env->mdb, MDB_NOSYNC, 1);
	rc = guarded_commit(txn->mdb);
	if (rc == LMS_RC_FAULT)
		mdb_txn_abort(txn->mdb);
	txn->mdb = NULL;
	lms_guard_writing.dir = NULL;
	if (no_sync)
		mdb_env_set_flags(env->mdb, MDB_NOSYNC, 0);
	if (rc == 0)
		return 0;
	close_late(txn);
	txn->rc = rc;
	if (rc == EIO && lms_map_disk_full(env, &rc))
		return lms_fail_mdb(txn->error, env, rc, "commit");
	return lms_fail_mdb(txn->error, env, rc, "commit");
}

void lms_txn_abort(struct lms_txn *txn)
{
	if (txn->mdb != NULL) {
		mdb_txn_abort(txn->mdb);
		close_late(txn);
	}
	txn->mdb = NULL;
	lms_guard_writing.dir = NULL;
}

int lms_txn_sync(struct lms_env *env, struct lms_error *error_r)
{
	int rc = mdb_env_sync(env->mdb, 1);

	return rc == 0 ? 0 : lms_fail_mdb(error_r, env, rc, "flush");
}

/* Check a value where the guard catches a part of it that isn't there. Callers begin with NO_VALUE: on damaged
   pages LMDB may say that it found a record and yet not tell where. */
static int check_value(const MDB_val *key, const MDB_val *val, struct lms_value *value_r)
{
	const uint8_t *bytes = val->mv_data;
	uint32_t checksum;

	if (val->mv_size < LMS_RECORD_OVERHEAD || val->mv_size > VALUE_MAX || key->mv_size > LMS_KEY_MAX)
		return LMS_RC_CHECKSUM;
	memcpy(value_r->head, bytes, LMS_RECORD_HEAD);
	value_r->data = bytes + LMS_RECORD_OVERHEAD;
	value_r->size = val->mv_size - LMS_RECORD_OVERHEAD;
	checksum = lms_record_checksum(key->mv_data, key->mv_size, value_r->head, value_r->data, value_r->size);
	if (checksum != lms_get_be32(bytes + LMS_RECORD_HEAD))
		return LMS_RC_CHECKSUM;
	if (value_r->head[0] != LMS_RECORD_VERSION)
		return value_r->head[0] > LMS_RECORD_VERSION ? LMS_RC_NEWER : LMS_RC_CHECKSUM;
	return 0;
}

static MDB_val mdb_key(const struct lms_key *key)
{
	MDB_val val = { key->size, (void *)(uintptr_t)key->data };

	return val;
}

static int check_record(MDB_cursor *cursor, MDB_val *key, MDB_cursor_op op)
{
	struct lms_value ignored;
	MDB_val val = NO_VALUE;
	int rc = mdb_cursor_get(cursor, key, &val, op);

	return rc != 0 ? rc : check_value(key, &val, &ignored);
}

/* Opening a cursor may read where the database begins. mdb_stat() reads the same, but has no memory to lose. */
static int open_cursor(MDB_txn *mdb, MDB_dbi dbi, MDB_cursor **cursor_r)
{
	MDB_stat stat;
	int rc = mdb_stat(mdb, dbi, &stat);

	return rc == 0 ? mdb_cursor_open(mdb, dbi, cursor_r) : rc;
}

static int guarded_open_cursor(MDB_txn *mdb, MDB_dbi dbi, MDB_cursor **cursor_r)
{
	LMS_GUARDED(open_cursor(mdb, dbi, cursor_r));
}

static int check_neighbours(MDB_cursor *cursor, const MDB_val *key)
{
	MDB_val found = *key;
	int rc = check_record(cursor, &found, MDB_SET_RANGE);

	if (rc == 0 || rc == MDB_NOTFOUND)
		rc = check_record(cursor, &found, rc == 0 ? MDB_PREV : MDB_LAST);
	return rc == 0 ? MDB_NOTFOUND : rc;
}

static int guarded_check_neighbours(MDB_cursor *cursor, const MDB_val *key)
{
	LMS_GUARDED(check_neighbours(cursor, key));
}

/* A record isn't found. If its key was damaged, it is likely to stand beside its place, with a wrong checksum. Returns
   MDB_NOTFOUND if what is before and after the key is right. */
static int check_missing(MDB_txn *mdb, MDB_dbi dbi, const MDB_val *key)
{
	MDB_cursor *cursor;
	int rc = guarded_open_cursor(mdb, dbi, &cursor);

	if (rc != 0)
		return rc;
	rc = guarded_check_neighbours(cursor, key);
	mdb_cursor_close(cursor);
	return rc;
}

static int checked_get(MDB_txn *mdb, MDB_dbi dbi, MDB_val *key, struct lms_value *value_r)
{
	MDB_val val = NO_VALUE;
	int rc = mdb_get(mdb, dbi, key, &val);

	return rc == 0 ? check_value(key, &val, value_r) : rc;
}

static int guarded_get(MDB_txn *mdb, MDB_dbi dbi, MDB_val *key, struct lms_value *value_r)
{
	LMS_GUARDED(checked_get(mdb, dbi, key, value_r));
}

int lms_get(struct lms_txn *txn, unsigned int db, const struct lms_key *key, struct lms_value *value_r)
{
	MDB_dbi dbi = txn->env->dbi[db];
	MDB_val mkey = mdb_key(key);
	int rc = guarded_get(txn->mdb, dbi, &mkey, value_r);

	if (rc == MDB_NOTFOUND)
		rc = check_missing(txn->mdb, dbi, &mkey);
	if (rc == MDB_NOTFOUND)
		return 0;
	return rc == 0 ? 1 : fail(txn, rc, "read of", db);
}

/* A value's bytes, without its checksum */
struct content {
	const uint8_t *head;
	const void *data;
	size_t size;
};

/* Fill the place that LMDB reserved: in a damaged file that may be none where anything can be written. */
static int fill_value(int rc, const MDB_val *key, const MDB_val *val, const struct content *content)
{
	uint8_t *bytes = val->mv_data;
	uint32_t checksum;

	if (rc != 0)
		return rc;
	checksum = lms_record_checksum(key->mv_data, key->mv_size, content->head, content->data, content->size);
	memcpy(bytes, content->head, LMS_RECORD_HEAD);
	lms_put_be32(bytes + LMS_RECORD_HEAD, checksum);
	if (content->size > 0)
		memcpy(bytes + LMS_RECORD_OVERHEAD, content->data, content->size);
	return 0;
}

static int guarded_put(MDB_txn *mdb, MDB_dbi dbi, MDB_val *key, const struct content *content, unsigned int flags)
{
	MDB_val val = { LMS_RECORD_OVERHEAD + content->size, NULL };

	LMS_GUARDED(fill_value(mdb_put(mdb, dbi, key, &val, MDB_RESERVE | flags), key, &val, content));
}

static int put(struct lms_txn *txn, unsigned int db, const struct lms_key *key, const uint8_t head[LMS_RECORD_HEAD],
	       const void *data, size_t size, unsigned int flags)
{
	struct content content = { head, data, size };
	MDB_val mkey = mdb_key(key);
	int rc = guarded_put(txn->mdb, txn->env->dbi[db], &mkey, &content, flags);

	/* Not the last key of the database */
	if (rc == MDB_KEYEXIST && flags == MDB_APPEND)
		rc = guarded_put(txn->mdb, txn->env->dbi[db], &mkey, &content, 0);
	if (rc != 0)
		return fail(txn, rc, "write to", db);
	txn->dirty = true;
	return 0;
}

int lms_put(struct lms_txn *txn, unsigned int db, const struct lms_key *key, const uint8_t head[LMS_RECORD_HEAD],
	    const void *data, size_t size)
{
	return put(txn, db, key, head, data, size, 0);
}

int lms_put_last(struct lms_txn *txn, unsigned int db, const struct lms_key *key, const uint8_t head[LMS_RECORD_HEAD],
		 const void *data, size_t size)
{
	return put(txn, db, key, head, data, size, MDB_APPEND);
}

int lms_put_buffer(struct lms_txn *txn, unsigned int db, const struct lms_key *key,
		   const uint8_t head[LMS_RECORD_HEAD], const struct lms_buffer *buf)
{
	if (buf->failed)
		return fail(txn, ENOMEM, "write to", db);
	return lms_put(txn, db, key, head, buf->data, buf->size);
}

static int guarded_del(MDB_txn *mdb, MDB_dbi dbi, MDB_val *key)
{
	LMS_GUARDED(mdb_del(mdb, dbi, key, NULL));
}

int lms_del(struct lms_txn *txn, unsigned int db, const struct lms_key *key)
{
	MDB_val mkey = mdb_key(key);
	int rc = guarded_del(txn->mdb, txn->env->dbi[db], &mkey);

	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc != 0)
		return fail(txn, rc, "delete from", db);
	txn->dirty = true;
	return 1;
}

int lms_cursor_open(struct lms_cursor *cursor, struct lms_txn *txn, unsigned int db)
{
	int rc;

	memset(cursor, 0, sizeof(*cursor));
	cursor->txn = txn;
	cursor->db = db;
	rc = guarded_open_cursor(txn->mdb, txn->env->dbi[db], &cursor->mdb);
	if (rc != 0) {
		cursor->mdb = NULL;
		return fail(txn, rc, "read of", db);
	}
	return 0;
}

void lms_cursor_close(struct lms_cursor *cursor)
{
	if (cursor->mdb != NULL)
		mdb_cursor_close(cursor->mdb);
	cursor->mdb = NULL;
}

/* The same for the first record of a walk: a damaged key could have let it slip before the place. */
static int checked_seek(MDB_cursor *mdb, MDB_val *key, MDB_val *val)
{
	MDB_val before = NO_VALUE;
	int rc = mdb_cursor_get(mdb, key, val, MDB_SET_RANGE), before_rc;

	if (rc != 0 && rc != MDB_NOTFOUND)
		return rc;
	before_rc = check_record(mdb, &before, rc == 0 ? MDB_PREV : MDB_LAST);
	if (before_rc != 0 && before_rc != MDB_NOTFOUND)
		return before_rc;
	if (rc == MDB_NOTFOUND)
		return rc;
	return mdb_cursor_get(mdb, key, val, before_rc == 0 ? MDB_NEXT : MDB_GET_CURRENT);
}

static int checked_cursor_get(MDB_cursor *mdb, MDB_val *key, MDB_val *val, MDB_cursor_op op, struct lms_value *value_r)
{
	int rc = op == MDB_SET_RANGE && value_r != NULL ? checked_seek(mdb, key, val) :
		mdb_cursor_get(mdb, key, val, op);

	return rc == 0 && value_r != NULL ? check_value(key, val, value_r) : rc;
}

static int guarded_cursor_get(MDB_cursor *mdb, MDB_val *key, MDB_val *val, MDB_cursor_op op, struct lms_value *value_r)
{
	LMS_GUARDED(checked_cursor_get(mdb, key, val, op, value_r));
}

static int cursor_get(struct lms_cursor *cursor, MDB_val *key, MDB_cursor_op op, struct lms_value *value_r,
		      size_t *value_size_r)
{
	MDB_val val = NO_VALUE;
	int rc = guarded_cursor_get(cursor->mdb, key, &val, op, value_r);

	if (rc == MDB_NOTFOUND)
		return 0;
	cursor->key = key->mv_data;
	cursor->key_size = key->mv_size;
	if (rc != 0)
		return fail(cursor->txn, rc, "read of", cursor->db);
	if (value_size_r != NULL)
		*value_size_r = val.mv_size;
	return 1;
}

int lms_cursor_seek(struct lms_cursor *cursor, const struct lms_key *key)
{
	MDB_val mkey = mdb_key(key);

	return cursor_get(cursor, &mkey, MDB_SET_RANGE, &cursor->value, NULL);
}

int lms_cursor_seek_unread(struct lms_cursor *cursor, const struct lms_key *key, size_t *value_size_r)
{
	MDB_val mkey = mdb_key(key);

	return cursor_get(cursor, &mkey, MDB_SET_RANGE, NULL, value_size_r);
}

int lms_cursor_first(struct lms_cursor *cursor)
{
	MDB_val mkey = NO_VALUE;

	return cursor_get(cursor, &mkey, MDB_FIRST, &cursor->value, NULL);
}

int lms_cursor_next(struct lms_cursor *cursor)
{
	MDB_val mkey = NO_VALUE;

	return cursor_get(cursor, &mkey, MDB_NEXT, &cursor->value, NULL);
}

static int guarded_cursor_put(MDB_cursor *mdb, MDB_val *key, const struct content *content)
{
	MDB_val val = { LMS_RECORD_OVERHEAD + content->size, NULL };

	LMS_GUARDED(fill_value(mdb_cursor_put(mdb, key, &val, MDB_CURRENT | MDB_RESERVE), key, &val, content));
}

int lms_cursor_replace(struct lms_cursor *cursor, const uint8_t head[LMS_RECORD_HEAD], const void *data, size_t size)
{
	struct content content = { head, data, size };
	uint8_t key[LMS_KEY_MAX];
	MDB_val mkey = { cursor->key_size, key };
	int rc;

	memcpy(key, cursor->key, cursor->key_size);
	rc = guarded_cursor_put(cursor->mdb, &mkey, &content);
	if (rc != 0)
		return fail(cursor->txn, rc, "write to", cursor->db);
	cursor->txn->dirty = true;
	return 0;
}

static int guarded_cursor_del(MDB_cursor *mdb)
{
	LMS_GUARDED(mdb_cursor_del(mdb, 0));
}

int lms_cursor_del(struct lms_cursor *cursor)
{
	int rc = guarded_cursor_del(cursor->mdb);

	if (rc != 0)
		return fail(cursor->txn, rc, "delete from", cursor->db);
	cursor->txn->dirty = true;
	return 0;
}

/* A record of the list: the number of pages, then the pages' numbers */
static int count_record(const MDB_val *val, uint64_t first, uint64_t *pages)
{
	size_t count, page, i;

	if (val->mv_size < sizeof(count))
		return MDB_CORRUPTED;
	memcpy(&count, val->mv_data, sizeof(count));
	if (first == 0) {
		*pages += count;
		return 0;
	}
	if (count > val->mv_size / sizeof(count) - 1)
		return MDB_CORRUPTED;
	for (i = 1; i <= count; i++) {
		memcpy(&page, (const uint8_t *)val->mv_data + i * sizeof(page), sizeof(page));
		*pages += page >= first;
	}
	return 0;
}

static int count_free_pages(MDB_cursor *mdb, uint64_t first, uint64_t *pages_r)
{
	MDB_val key, val = NO_VALUE;
	int rc;

	while ((rc = mdb_cursor_get(mdb, &key, &val, MDB_NEXT)) == 0) {
		if (count_record(&val, first, pages_r) != 0)
			return MDB_CORRUPTED;
		val.mv_size = 0;
	}
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int guarded_free_pages(MDB_cursor *mdb, uint64_t first, uint64_t *pages_r)
{
	LMS_GUARDED(count_free_pages(mdb, first, pages_r));
}

int lms_txn_free_pages(struct lms_txn *txn, uint64_t first, uint64_t *pages_r)
{
	MDB_cursor *mdb;
	/* The list of free pages is the database with handle 0. */
	int rc = mdb_cursor_open(txn->mdb, 0, &mdb);

	*pages_r = 0;
	if (rc == 0) {
		rc = guarded_free_pages(mdb, first, pages_r);
		mdb_cursor_close(mdb);
	}
	if (rc != 0) {
		txn->rc = rc;
		return lms_fail_mdb(txn->error, txn->env, rc, "read of free pages");
	}
	return 0;
}
