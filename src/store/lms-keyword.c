/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-write.h"

#include <stdlib.h>
#include <string.h>

/* Keyword names of a folder, numbered from 0 in the order in which they were first used. They stay. */

#define KEYWORD_NAME_MAX 4096
/* Numbers are bits of a bitmap in every message that has the keyword. */
#define KEYWORD_COUNT_MAX 65536

typedef int keyword_func(uint32_t number, const char *name, void *context);

static int scan(struct lms_txn *txn, uint64_t folder_id, keyword_func *func, void *context)
{
	struct lms_cursor cursor;
	struct lms_key prefix;
	const char *name;
	int ret;

	lms_key_id(&prefix, folder_id);
	if (lms_cursor_open(&cursor, txn, LMS_DB_KEYWORDS) < 0)
		return -1;
	for (ret = lms_cursor_seek(&cursor, &prefix); ret > 0; ret = lms_cursor_next(&cursor)) {
		if (!lms_key_has_prefix(cursor.key, cursor.key_size, &prefix)) {
			ret = 0;
			break;
		}
		name = lms_string_decode(&cursor.value);
		if (name == NULL || cursor.key_size != 12)
			ret = lms_fail_record(txn->error, txn->env, "keyword");
		else
			ret = func(lms_key_get_number(cursor.key), name, context);
		if (ret != 0)
			break;
	}
	lms_cursor_close(&cursor);
	return ret;
}

struct scan_context {
	lms_keyword_callback *callback;
	void *context;
};

static int scan_callback(uint32_t number, const char *name, void *context)
{
	struct scan_context *ctx = context;

	return ctx->callback(number, name, ctx->context);
}

int lms_keyword_scan(struct lms_env *env, uint64_t folder_id, lms_keyword_callback *callback, void *context,
		     struct lms_error *error_r)
{
	struct scan_context ctx = { callback, context };
	struct lms_txn txn;
	int ret;

	if (lms_txn_read(&txn, env, error_r) < 0)
		return -1;
	ret = scan(&txn, folder_id, scan_callback, &ctx);
	lms_txn_read_end(&txn);
	return ret;
}

struct load_context {
	struct lms_write *write;
	struct lms_wfolder *folder;
};

static int load_callback(uint32_t number, const char *name, void *context)
{
	struct load_context *ctx = context;
	struct lms_wfolder *folder = ctx->folder;

	if (lms_write_grow(ctx->write, &folder->keywords, folder->keyword_count, &folder->keyword_alloc,
			   sizeof(*folder->keywords)) < 0)
		return -1;
	folder->keywords[folder->keyword_count].number = number;
	folder->keywords[folder->keyword_count].name = strdup(name);
	if (folder->keywords[folder->keyword_count].name == NULL)
		return lms_write_fail_memory(ctx->write);
	folder->keyword_count++;
	return 0;
}

static int create(struct lms_write *write, struct lms_wfolder *folder, const char *name, uint32_t *number_r)
{
	struct load_context ctx = { write, folder };
	uint8_t head[LMS_RECORD_HEAD];
	struct lms_buffer buf;
	struct lms_key key;
	size_t size = strlen(name);
	uint32_t number = 0;
	int ret;

	if (folder->keyword_count > 0)
		number = folder->keywords[folder->keyword_count - 1].number + 1;
	if (size == 0 || size > KEYWORD_NAME_MAX || number >= KEYWORD_COUNT_MAX)
		return lms_write_fail(write, LMS_INVALID, size == 0 || size > KEYWORD_NAME_MAX ?
				      "Keyword is empty or too long" : "Too many keywords in a folder");
	lms_buffer_init(&buf);
	lms_string_encode(name, size, head, &buf);
	lms_key_id_number(&key, folder->rec.pub.folder_id, number);
	ret = lms_put_buffer(&write->txn, LMS_DB_KEYWORDS, &key, head, &buf);
	lms_buffer_free(&buf);
	if (ret < 0 || load_callback(number, name, &ctx) < 0)
		return -1;
	*number_r = number;
	return 0;
}

int lms_keyword_number(struct lms_write *write, struct lms_wfolder *folder, const char *name, uint32_t *number_r)
{
	struct load_context ctx = { write, folder };
	unsigned int i;

	if (!folder->keywords_loaded) {
		if (scan(&write->txn, folder->rec.pub.folder_id, load_callback, &ctx) != 0)
			return -1;
		folder->keywords_loaded = true;
	}
	for (i = 0; i < folder->keyword_count; i++) {
		if (strcmp(folder->keywords[i].name, name) == 0) {
			*number_r = folder->keywords[i].number;
			return 0;
		}
	}
	return create(write, folder, name, number_r);
}

int lms_keyword_map(struct lms_write *write, struct lms_wfolder *folder, const char *const *names, unsigned int count,
		    unsigned int index, uint32_t *number_r)
{
	if (index >= count)
		return lms_write_fail(write, LMS_INVALID, "Keyword %u isn't in the request's list", index);
	if (write->keyword_map == NULL) {
		write->keyword_map = malloc(count * sizeof(*write->keyword_map));
		if (write->keyword_map == NULL)
			return lms_write_fail_memory(write);
		memset(write->keyword_map, 0xff, count * sizeof(*write->keyword_map));
	}
	if (write->keyword_map[index] == UINT32_MAX &&
	    lms_keyword_number(write, folder, names[index], &write->keyword_map[index]) < 0)
		return -1;
	*number_r = write->keyword_map[index];
	return 0;
}
