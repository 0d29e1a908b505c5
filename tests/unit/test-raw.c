/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "test-common.h"
#include "test-raw.h"

static MDB_env *mdb;
static MDB_txn *txn;

static MDB_dbi begin(enum lms_db db)
{
	MDB_dbi dbi = 0;

	CHECK(mdb_env_create(&mdb) == 0 && mdb_env_set_maxdbs(mdb, LMS_DB_COUNT) == 0 &&
	      mdb_env_open(mdb, test_path("store"), 0, 0600) == 0 && mdb_txn_begin(mdb, NULL, 0, &txn) == 0 &&
	      mdb_dbi_open(txn, lms_db_name(db), 0, &dbi) == 0);
	return dbi;
}

static void end(void)
{
	CHECK(mdb_txn_commit(txn) == 0);
	mdb_env_close(mdb);
}

static MDB_val key_val(const struct lms_key *key)
{
	MDB_val val = { key->size, (void *)(uintptr_t)key->data };

	return val;
}

void raw_put(enum lms_db db, const struct lms_key *key, const uint8_t head[LMS_RECORD_HEAD],
	     const struct lms_buffer *buf)
{
	MDB_val mkey = key_val(key), val = { buf->size + LMS_RECORD_OVERHEAD, NULL };
	MDB_dbi dbi = begin(db);
	uint8_t *value;

	CHECK(mdb_put(txn, dbi, &mkey, &val, MDB_RESERVE) == 0);
	value = val.mv_data;
	memcpy(value, head, LMS_RECORD_HEAD);
	lms_put_be32(value + LMS_RECORD_HEAD,
		     lms_record_checksum(key->data, key->size, head, buf->data, buf->size));
	memcpy(value + LMS_RECORD_OVERHEAD, buf->data, buf->size);
	end();
}

void raw_del(enum lms_db db, const struct lms_key *key)
{
	MDB_val mkey = key_val(key);
	MDB_dbi dbi = begin(db);

	CHECK(mdb_del(txn, dbi, &mkey, NULL) == 0);
	end();
}

bool raw_get(enum lms_db db, const struct lms_key *key, uint8_t head_r[LMS_RECORD_HEAD], struct lms_buffer *buf)
{
	MDB_val mkey = key_val(key), val;
	MDB_dbi dbi = begin(db);
	bool found = mdb_get(txn, dbi, &mkey, &val) == 0;

	if (found) {
		memcpy(head_r, val.mv_data, LMS_RECORD_HEAD);
		lms_buffer_add(buf, (uint8_t *)val.mv_data + LMS_RECORD_OVERHEAD, val.mv_size - LMS_RECORD_OVERHEAD);
	}
	end();
	return found;
}

void raw_walk(raw_callback *callback, void *context)
{
	MDB_val key, val;
	MDB_cursor *cursor;
	unsigned int db;
	MDB_dbi dbi;

	/* The last one isn't there as long as no commit was shared. */
	for (db = 0; db < LMS_DB_APPLIED; db++) {
		dbi = begin(db);
		CHECK(mdb_cursor_open(txn, dbi, &cursor) == 0);
		while (mdb_cursor_get(cursor, &key, &val, MDB_NEXT) == 0) {
			/* The unnamed database also has LMDB's records of the others. */
			if (db != LMS_DB_META || memchr(key.mv_data, '\0', key.mv_size) != NULL)
				callback(db, key.mv_data, key.mv_size, val.mv_data, val.mv_size, context);
		}
		mdb_cursor_close(cursor);
		end();
	}
}

/* Put or delete records first to last, or backwards. */
static void change_records(MDB_dbi dbi, int first, int last, bool delete)
{
	static char data[1000];
	MDB_val key, val = { sizeof(data), data };
	char text[16];
	int i, step = first <= last ? 1 : -1;

	for (i = first; i != last + step; i += step) {
		key.mv_data = text;
		key.mv_size = (size_t)snprintf(text, sizeof(text), "raw%08d", i);
		CHECK((delete ? mdb_del(txn, dbi, &key, NULL) : mdb_put(txn, dbi, &key, &val, 0)) == 0);
	}
}

uint64_t raw_shorten(void)
{
	MDB_envinfo info;
	MDB_dbi dbi;
	int i;

	/* Free pages, old enough to be used again */
	change_records(begin(LMS_DB_BODIES), 1, 20, false);
	end();
	change_records(begin(LMS_DB_BODIES), 1, 20, true);
	end();
	for (i = 0; i < 2; i++) {
		dbi = begin(LMS_DB_BODIES);
		change_records(dbi, 1, 1, false);
		change_records(dbi, 1, 1, true);
		end();
	}
	/* More than there are of those */
	dbi = begin(LMS_DB_BODIES);
	change_records(dbi, 1, 400, false);
	change_records(dbi, 400, 1, true);
	end();
	begin(LMS_DB_BODIES);
	CHECK(mdb_env_info(mdb, &info) == 0);
	end();
	return (info.me_last_pgno + 1) * 4096;
}
