/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-write.h"
#include "lms-map.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

int lms_write_fail(struct lms_write *write, enum lms_code code, const char *format, ...)
{
	struct lms_error *error = write->txn.error;
	va_list args;
	int size;

	if (error == NULL)
		return -1;
	error->code = code;
	size = snprintf(error->text, sizeof(error->text), "%s: ", write->env->dir);
	if (size < 0 || (size_t)size >= sizeof(error->text))
		return -1;
	va_start(args, format);
	vsnprintf(error->text + size, sizeof(error->text) - (size_t)size, format, args);
	va_end(args);
	return -1;
}

int lms_write_fail_memory(struct lms_write *write)
{
	return lms_fail_mdb(write->txn.error, write->env, ENOMEM, "request");
}

int lms_write_fail_record(struct lms_write *write, const char *what)
{
	return lms_fail_record(write->txn.error, write->env, what);
}

static int read_counters(struct lms_write *write)
{
	struct lms_value value;
	struct lms_key key;
	int ret;

	lms_key_meta(&key);
	ret = lms_get(&write->txn, LMS_DB_META, &key, &value);
	if (ret < 0)
		return -1;
	if (ret == 0 || lms_meta_decode(&value, &write->meta) < 0)
		return lms_write_fail_record(write, "meta");
	if (write->meta.format > LMS_FORMAT)
		return lms_fail_mdb(write->txn.error, write->env, LMS_RC_NEWER, "meta");
	write->meta_read = write->meta;
	return 0;
}

int lms_write_begin(struct lms_write *write, const struct lms_txn *txn, const struct lms_request *request,
		    struct lms_reply *reply, struct lms_error *error_r)
{
	memset(write, 0, sizeof(*write));
	memset(reply, 0, sizeof(*reply));
	write->txn = *txn;
	write->txn.error = error_r;
	write->txn.dirty = false;
	write->env = txn->env;
	write->request = request;
	write->reply = reply;
	write->now = time(NULL);
	return read_counters(write);
}

int lms_write_grow(struct lms_write *write, void *arrayp, unsigned int count, unsigned int *alloc, size_t size)
{
	void *array, **p = arrayp;
	unsigned int new_alloc;

	if (count < *alloc)
		return 0;
	new_alloc = *alloc == 0 ? 16 : *alloc * 2;
	array = realloc(*p, new_alloc * size);
	if (array == NULL)
		return lms_write_fail_memory(write);
	*p = array;
	*alloc = new_alloc;
	return 0;
}

int lms_write_add_range(struct lms_write *write, struct lms_range_list *list, uint32_t uid)
{
	struct lms_uid_range *last = list->count == 0 ? NULL : &list->ranges[list->count - 1];

	if (last != NULL && uid >= last->uid1 && uid <= last->uid2)
		return 0;
	if (last != NULL && uid == last->uid2 + 1) {
		last->uid2 = uid;
		return 0;
	}
	if (lms_write_grow(write, &list->ranges, list->count, &list->alloc, sizeof(*list->ranges)) < 0)
		return -1;
	list->ranges[list->count].uid1 = list->ranges[list->count].uid2 = uid;
	list->count++;
	return 0;
}

int lms_write_random(struct lms_write *write, void *data, size_t size)
{
	if (getrandom(data, size, 0) != (ssize_t)size)
		return lms_fail_errno(write->txn.error, errno, "getrandom", write->env->dir);
	return 0;
}

static struct lms_wfolder *add_folder(struct lms_write *write)
{
	struct lms_wfolder *folder = calloc(1, sizeof(*folder));

	if (folder == NULL) {
		lms_write_fail_memory(write);
		return NULL;
	}
	folder->next = write->folders;
	write->folders = folder;
	return folder;
}

struct lms_wfolder *lms_write_new_folder(struct lms_write *write)
{
	struct lms_wfolder *folder = add_folder(write);

	if (folder != NULL)
		folder->rec.pub.folder_id = write->meta.next_folder_id++;
	return folder;
}

int lms_write_folder(struct lms_write *write, uint64_t folder_id, struct lms_wfolder **folder_r)
{
	struct lms_folder_record rec;
	struct lms_wfolder *folder;
	struct lms_value value;
	struct lms_key key;
	int ret;

	for (folder = write->folders; folder != NULL; folder = folder->next) {
		if (folder->rec.pub.folder_id == folder_id) {
			*folder_r = folder;
			return folder->removed ? 0 : 1;
		}
	}
	lms_key_id(&key, folder_id);
	ret = lms_get(&write->txn, LMS_DB_FOLDERS, &key, &value);
	if (ret <= 0)
		return ret;
	if (lms_folder_decode(&value, &rec) < 0 || value.size > sizeof(folder->read_data))
		return lms_write_fail_record(write, "folder");
	folder = add_folder(write);
	if (folder == NULL)
		return -1;
	folder->rec = rec;
	folder->rec.pub.folder_id = folder_id;
	memcpy(folder->read_head, value.head, sizeof(folder->read_head));
	memcpy(folder->read_data, value.data, value.size);
	folder->read_size = value.size;
	*folder_r = folder;
	return 1;
}

int lms_write_need_folder(struct lms_write *write, uint64_t folder_id, struct lms_wfolder **folder_r)
{
	int ret = lms_write_folder(write, folder_id, folder_r);

	if (ret == 0) {
		return lms_write_fail(write, LMS_NOTFOUND, "There is no folder with id %llx",
				      (unsigned long long)folder_id);
	}
	return ret < 0 ? -1 : 0;
}

void lms_wfolder_count(struct lms_wfolder *folder, const struct lms_message *message, int sign)
{
	struct lms_folder *pub = &folder->rec.pub;
	uint32_t one = sign > 0 ? 1 : (uint32_t)-1;

	pub->messages += one;
	if ((message->flags & LMS_SEEN) != 0)
		pub->seen += one;
	pub->physical_size += sign > 0 ? message->physical_size : (uint64_t)0 - message->physical_size;
	pub->virtual_size += sign > 0 ? message->virtual_size : (uint64_t)0 - message->virtual_size;
	folder->view_changed = true;
}

void lms_wfolder_count_flags(struct lms_wfolder *folder, uint8_t before, uint8_t after)
{
	if ((before & LMS_SEEN) == 0 && (after & LMS_SEEN) != 0)
		folder->rec.pub.seen++;
	else if ((before & LMS_SEEN) != 0 && (after & LMS_SEEN) == 0)
		folder->rec.pub.seen--;
}

int lms_write_delete_prefix(struct lms_write *write, enum lms_db db, const struct lms_key *prefix, uint64_t cost,
			    uint64_t *budget)
{
	struct lms_cursor cursor;
	size_t size;
	int ret;

	if (lms_cursor_open(&cursor, &write->txn, db) < 0)
		return -1;
	while ((ret = lms_cursor_seek_unread(&cursor, prefix, &size)) > 0 &&
	       lms_key_has_prefix(cursor.key, cursor.key_size, prefix)) {
		if (*budget < cost)
			break;
		*budget -= cost;
		ret = lms_cursor_del(&cursor);
		if (ret < 0)
			break;
		ret = 0;
	}
	if (ret > 0)
		ret = lms_key_has_prefix(cursor.key, cursor.key_size, prefix) ? 0 : 1;
	else if (ret == 0)
		ret = 1;
	lms_cursor_close(&cursor);
	return ret;
}

static int write_folder_record(struct lms_write *write, struct lms_wfolder *folder)
{
	uint8_t head[LMS_RECORD_HEAD];
	struct lms_buffer buf;
	struct lms_key key;
	int ret = 0;

	lms_buffer_init(&buf);
	lms_folder_encode(&folder->rec, head, &buf);
	if (buf.size != folder->read_size || memcmp(head, folder->read_head, sizeof(head)) != 0 ||
	    memcmp(buf.data, folder->read_data, buf.size) != 0) {
		lms_key_id(&key, folder->rec.pub.folder_id);
		ret = lms_put_buffer(&write->txn, LMS_DB_FOLDERS, &key, head, &buf);
	}
	lms_buffer_free(&buf);
	return ret;
}

static int finish_folder(struct lms_write *write, struct lms_wfolder *folder)
{
	if (folder->removed)
		return 0;
	if (folder->view_changed) {
		folder->rec.pub.change++;
		if (lms_change_write(write, folder) < 0)
			return -1;
	}
	return write_folder_record(write, folder);
}

static int write_counters(struct lms_write *write)
{
	uint8_t head[LMS_RECORD_HEAD], head_read[LMS_RECORD_HEAD];
	struct lms_buffer buf, buf_read;
	struct lms_key key;
	int ret = 0;

	lms_buffer_init(&buf);
	lms_buffer_init(&buf_read);
	lms_meta_encode(&write->meta, head, &buf);
	lms_meta_encode(&write->meta_read, head_read, &buf_read);
	if (buf.size != buf_read.size || memcmp(buf.data, buf_read.data, buf.size) != 0) {
		lms_key_meta(&key);
		ret = lms_put_buffer(&write->txn, LMS_DB_META, &key, head, &buf);
	}
	lms_buffer_free(&buf);
	lms_buffer_free(&buf_read);
	return ret;
}

/* Remember the smallest limit of a process that writes. That alone is no reason to commit. */
static void note_limit(struct lms_write *write)
{
	uint64_t limit = write->memory_limit;

	if (limit != 0 && (write->meta.smallest_limit == 0 || limit < write->meta.smallest_limit))
		write->meta.smallest_limit = limit;
}

int lms_write_finish(struct lms_write *write)
{
	struct lms_wfolder *folder;

	if (write->garbage_count > 0 &&
	    lms_garbage_queue(write, LMS_GARBAGE_BODIES, write->garbage, write->garbage_count) < 0)
		return -1;
	for (folder = write->folders; folder != NULL; folder = folder->next) {
		if (finish_folder(write, folder) < 0)
			return -1;
	}
	if (write->txn.dirty)
		note_limit(write);
	if (write_counters(write) < 0)
		return -1;
	if (write->reply_folder != NULL)
		write->reply->folder = write->reply_folder->rec.pub;
	return 0;
}

static void free_folder(struct lms_wfolder *folder)
{
	unsigned int i;

	for (i = 0; i < folder->keyword_count; i++)
		free(folder->keywords[i].name);
	free(folder->keywords);
	free(folder->expunged.ranges);
	free(folder->flagged.ranges);
	free(folder);
}

void lms_write_free(struct lms_write *write)
{
	struct lms_wfolder *folder, *next;

	for (folder = write->folders; folder != NULL; folder = next) {
		next = folder->next;
		free_folder(folder);
	}
	free(write->garbage);
	free(write->keyword_map);
	free(write->staged_ids);
	free(write->staged_saved);
}
