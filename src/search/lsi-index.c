/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lsi-private.h"
#include "lms-lock.h"
#include "lms-map.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* How often a transaction that doesn't fit in the map is repeated with a larger one */
#define GROW_TRIES 12

static struct lsi_index *indexes;

static const char *const db_names[] = { NULL };

static int schema_open(struct lms_txn *txn)
{
	struct lms_value value;
	struct lms_key key;
	MDB_stat stat;
	int ret;

	lms_key_meta(&key);
	ret = lms_get(txn, 0, &key, &value);
	if (ret != 0)
		return ret;
	return mdb_stat(txn->mdb, txn->env->dbi[0], &stat) == 0 && stat.ms_entries == 0 ? 0 :
		lms_fail_record(txn->error, txn->env, "meta is missing");
}

static int put_meta(struct lms_txn *txn, const struct lsi_meta *meta)
{
	uint8_t head[LMS_RECORD_HEAD];
	struct lms_buffer buf;
	struct lms_key key;
	int ret;

	lms_buffer_init(&buf);
	lsi_meta_encode(meta, head, &buf);
	lms_key_meta(&key);
	ret = lms_put_buffer(txn, 0, &key, head, &buf);
	lms_buffer_free(&buf);
	return ret;
}

/* Without a producer: nothing may be added before lsi_open() gave it one. */
static int schema_create(struct lms_txn *txn)
{
	struct lsi_meta *meta = calloc(1, sizeof(*meta));
	int ret;

	if (meta == NULL)
		return lms_fail(txn->error, LMS_MEMORY, "%s: out of memory", txn->env->dir);
	meta->format = LSI_FORMAT;
	meta->next_id = 1;
	ret = put_meta(txn, meta);
	free(meta);
	return ret;
}

static const struct lms_schema schema = {
	.lock_file = "search.lock",
	.remedy = "it will be built anew",
	.db_names = db_names,
	.db_count = 1,
	.open = schema_open,
	.create = schema_create,
};

int lsi_fail_record(struct lsi_index *index, const char *what, struct lms_error *error_r)
{
	return lms_fail_record(error_r, index->env, what);
}

int lsi_fail_memory(struct lsi_index *index, struct lms_error *error_r)
{
	return lms_fail(error_r, LMS_MEMORY, "%s: out of memory", index->dir);
}

int lsi_meta_read(struct lsi_index *index, struct lms_txn *txn, struct lsi_meta *meta_r)
{
	struct lms_value value;
	struct lms_key key;
	int ret;

	lms_key_meta(&key);
	ret = lms_get(txn, 0, &key, &value);
	if (ret < 0)
		return -1;
	if (ret == 0 || lsi_meta_decode(&value, meta_r) < 0)
		return lsi_fail_record(index, "meta", txn->error);
	return 0;
}

/* Id of the running system, changed by every boot; zeros if there is none. */
static void read_boot_id(uint8_t boot_r[LMS_GUID_SIZE])
{
	char text[64];
	unsigned int i, digits = 0;
	ssize_t size;
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	memset(boot_r, 0, LMS_GUID_SIZE);
	if (fd < 0)
		return;
	size = read(fd, text, sizeof(text));
	close(fd);
	for (i = 0; (ssize_t)i < size && digits < 2 * LMS_GUID_SIZE; i++) {
		const char *hex = "0123456789abcdef", *digit = text[i] == '\0' ? NULL : strchr(hex, text[i]);

		if (digit != NULL) {
			boot_r[digits / 2] |= (uint8_t)((digit - hex) << (digits % 2 == 0 ? 4 : 0));
			digits++;
		}
	}
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
	return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

/* May the index be used? Returns 0, 1 if it is empty, -1 with a reason to throw it away. */
static int check_meta(struct lsi_index *index, const struct lsi_meta *meta, struct lms_error *error_r)
{
	if (meta->format != LSI_FORMAT) {
		return lms_fail(error_r, LMS_NEWER, "%s/" LMS_FILE_DATA " has format %u, this version uses %u: it will be "
				"built anew", index->dir, (unsigned int)meta->format, LSI_FORMAT);
	}
	if (meta->producer[0] == '\0')
		return 1;
	if (strcmp(meta->producer, index->producer) != 0) {
		return lms_fail(error_r, LMS_NEWER, "%s/" LMS_FILE_DATA " was made by %s, this is %s: it will be built anew",
				index->dir, meta->producer, index->producer);
	}
	if (memcmp(meta->store, index->store_guid, LMS_GUID_SIZE) != 0) {
		return lms_fail(error_r, LMS_DAMAGED, "%s/" LMS_FILE_DATA " belongs to another store: it will be built anew",
				index->dir);
	}
	if (!is_zero(meta->boot, LMS_GUID_SIZE) && memcmp(meta->boot, index->boot, LMS_GUID_SIZE) != 0) {
		return lms_fail(error_r, LMS_DAMAGED, "%s/" LMS_FILE_DATA " wasn't written completely before the system "
				"went down: it will be built anew", index->dir);
	}
	return 0;
}

/* Write the first values of meta that only the opener knows. */
static int init_meta(struct lsi_index *index, struct lms_txn *txn, struct lsi_meta *meta, void *context)
{
	(void)context;
	if (meta->producer[0] != '\0')
		return 0;
	strcpy(meta->producer, index->producer);
	memcpy(meta->store, index->store_guid, LMS_GUID_SIZE);
	/* Anything but the generation of an index that was here before */
	if (getrandom(&meta->generation, sizeof(meta->generation), 0) != sizeof(meta->generation))
		return lms_fail_errno(txn->error, errno, "getrandom", index->dir);
	return 1;
}

static int open_and_check(struct lsi_index *index, struct lms_error *error_r)
{
	struct lsi_meta *meta = malloc(sizeof(*meta));
	struct lms_txn txn;
	int ret;

	if (meta == NULL)
		return lsi_fail_memory(index, error_r);
	if (lms_env_open_schema(index->dir, &schema, &index->set.env, &index->env, error_r) < 0) {
		free(meta);
		return -1;
	}
	ret = lms_txn_read(&txn, index->env, error_r);
	if (ret == 0) {
		ret = lsi_meta_read(index, &txn, meta);
		lms_txn_read_end(&txn);
	}
	if (ret == 0)
		ret = check_meta(index, meta, error_r);
	if (ret > 0)
		ret = lsi_run(index, init_meta, NULL, error_r);
	if (ret < 0)
		lms_env_close(&index->env);
	free(meta);
	return ret < 0 ? -1 : 0;
}

static bool is_beyond_use(const struct lms_error *error)
{
	return error->code == LMS_DAMAGED || error->code == LMS_NEWER;
}

static int remove_file(const struct lsi_index *index, const char *name, struct lms_error *error_r)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", index->dir, name);
	return unlink(path) < 0 && errno != ENOENT ? lms_fail_errno(error_r, errno, "unlink", path) : 0;
}

/* Delete the files, if the data file is still the one with this device and inode. */
static int remove_files(struct lsi_index *index, const struct stat *old, struct lms_error *error_r)
{
	char path[PATH_MAX];
	struct stat st;
	int fd, err, ret = 0;

	snprintf(path, sizeof(path), "%s/%s", index->dir, schema.lock_file);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : lms_fail_errno(error_r, errno, "open", path);
	err = lms_lock_wait(fd, LMS_LOCK_OPEN);
	if (err != 0) {
		close(fd);
		return lms_fail_errno(error_r, err, "fcntl", path);
	}
	snprintf(path, sizeof(path), "%s/" LMS_FILE_DATA, index->dir);
	if (stat(path, &st) == 0 && st.st_dev == old->st_dev && st.st_ino == old->st_ino) {
		ret = remove_file(index, LMS_FILE_DATA, error_r);
		if (ret == 0)
			ret = remove_file(index, LMS_FILE_LMDB_LOCK, error_r);
	}
	/* Closing drops the lock. */
	close(fd);
	return ret;
}

static int stat_data(const struct lsi_index *index, struct stat *st)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/" LMS_FILE_DATA, index->dir);
	return stat(path, st);
}

static void close_env(struct lsi_index *index)
{
	lsi_snapshot_drop(index);
	lsi_merge_maps_free(&index->maps);
	lms_env_close(&index->env);
	index->unsynced = false;
}

static void index_free(struct lsi_index *index)
{
	free(index->dir);
	free(index);
}

int lsi_open(const char *dir, const struct lsi_settings *set, struct lsi_index **index_r, struct lms_error *error_r)
{
	struct lsi_index *index;

	for (index = indexes; index != NULL; index = index->next) {
		if (strcmp(index->dir, dir) == 0 && index->set.store == set->store) {
			index->refcount++;
			*index_r = index;
			return 0;
		}
	}
	*index_r = NULL;
	index = calloc(1, sizeof(*index));
	if (index == NULL || (index->dir = strdup(dir)) == NULL) {
		free(index);
		return lms_fail(error_r, LMS_MEMORY, "%s: out of memory", dir);
	}
	index->refcount = 1;
	index->set = *set;
	snprintf(index->producer, sizeof(index->producer), "%s", set->producer);
	index->set.producer = index->producer;
	lms_env_guid(set->store, index->store_guid);
	read_boot_id(index->boot);
	index->next = indexes;
	indexes = index;
	*index_r = index;
	return 0;
}

void lsi_close(struct lsi_index **_index)
{
	struct lsi_index *index = *_index, **indexp;

	*_index = NULL;
	if (index == NULL || --index->refcount > 0)
		return;
	for (indexp = &indexes; *indexp != index; indexp = &(*indexp)->next) ;
	*indexp = index->next;
	if (index->env != NULL && index->unsynced)
		(void)lsi_sync(index, NULL);
	close_env(index);
	index_free(index);
}

int lsi_remove(struct lsi_index *index, struct lms_error *error_r)
{
	struct stat st;

	memset(&st, 0, sizeof(st));
	if (index->env != NULL) {
		st.st_dev = index->env->dev;
		st.st_ino = index->env->ino;
		close_env(index);
	} else if (stat_data(index, &st) < 0) {
		return errno == ENOENT ? 0 : lms_fail_errno(error_r, errno, "stat", index->dir);
	} else if (!S_ISREG(st.st_mode)) {
		return lms_fail(error_r, LMS_INVALID, "%s/" LMS_FILE_DATA " isn't a file", index->dir);
	}
	return remove_files(index, &st, error_r);
}

bool lsi_discard(struct lsi_index *index, const struct lms_error *error)
{
	return is_beyond_use(error) && lsi_remove(index, NULL) == 0;
}

int lsi_index_follow(struct lsi_index *index, struct lms_error *error_r)
{
	struct stat st;

	if (index->env != NULL) {
		if (stat_data(index, &st) == 0 && st.st_dev == index->env->dev && st.st_ino == index->env->ino)
			return 0;
		close_env(index);
	}
	return open_and_check(index, error_r);
}

/* The first commit after a flush is flushed too: the next one may overwrite pages of the state that was flushed, and
   then a power cut must not leave one that looks whole. */
static int commit(struct lsi_index *index, struct lms_txn *txn, struct lsi_meta *meta)
{
	bool no_sync = index->set.no_sync || memcmp(meta->boot, index->boot, LMS_GUID_SIZE) == 0;

	memcpy(meta->boot, index->boot, LMS_GUID_SIZE);
	if (put_meta(txn, meta) < 0 || lms_txn_commit(txn, no_sync) < 0)
		return -1;
	index->unsynced = true;
	return 0;
}

/* Returns 0, 1 if it has to be repeated with a larger map, -1. */
static int try_run(struct lsi_index *index, lsi_write_func *func, void *context, struct lsi_meta *meta,
		   int *result_r, struct lms_error *error_r)
{
	struct lms_txn txn;
	int ret;

	if (lms_txn_write(&txn, index->env, error_r) < 0)
		return -1;
	ret = lsi_meta_read(index, &txn, meta);
	if (ret == 0)
		ret = *result_r = func(index, &txn, meta, context);
	if (ret > 0)
		ret = commit(index, &txn, meta);
	lms_txn_abort(&txn);
	if (ret < 0) {
		/* They may be about what isn't there now. */
		lsi_snapshot_drop(index);
		lsi_merge_maps_free(&index->maps);
	}
	return ret < 0 && txn.rc == MDB_MAP_FULL ? 1 : ret;
}

/* With the leader lock held */
static int run_locked(struct lsi_index *index, lsi_write_func *func, void *context, int *result_r,
		      struct lms_error *error_r)
{
	struct lsi_meta *meta = malloc(sizeof(*meta));
	unsigned int try;
	int ret = 1;

	if (meta == NULL)
		return lsi_fail_memory(index, error_r);
	for (try = 0; try < GROW_TRIES && ret > 0; try++) {
		ret = try_run(index, func, context, meta, result_r, error_r);
		if (ret > 0 && lms_map_grow(index->env, try, error_r) < 0)
			ret = -1;
	}
	free(meta);
	return ret == 0 ? 0 : -1;
}

int lsi_run(struct lsi_index *index, lsi_write_func *func, void *context, struct lms_error *error_r)
{
	int err, ret, result = 0;

	err = lms_lock_wait(index->env->lock_fd, LMS_LOCK_LEADER);
	if (err != 0)
		return lms_fail_errno(error_r, err, "fcntl", index->dir);
	ret = run_locked(index, func, context, &result, error_r);
	lms_lock_drop(index->env->lock_fd, LMS_LOCK_LEADER);
	return ret < 0 ? -1 : result;
}

static int clear_boot(struct lsi_index *index, struct lms_txn *txn, struct lsi_meta *meta)
{
	(void)index;
	memset(meta->boot, 0, sizeof(meta->boot));
	return put_meta(txn, meta) < 0 || lms_txn_commit(txn, false) < 0 ? -1 : 0;
}

int lsi_sync(struct lsi_index *index, struct lms_error *error_r)
{
	struct lsi_meta *meta;
	struct lms_txn txn;
	int err, ret;

	if (index->env == NULL || !index->unsynced || index->set.no_sync)
		return 0;
	meta = malloc(sizeof(*meta));
	if (meta == NULL)
		return lsi_fail_memory(index, error_r);
	err = lms_lock_wait(index->env->lock_fd, LMS_LOCK_LEADER);
	ret = err == 0 ? lms_txn_write(&txn, index->env, error_r) : lms_fail_errno(error_r, err, "fcntl", index->dir);
	if (ret == 0) {
		ret = lsi_meta_read(index, &txn, meta) < 0 ? -1 : clear_boot(index, &txn, meta);
		lms_txn_abort(&txn);
	}
	if (err == 0)
		lms_lock_drop(index->env->lock_fd, LMS_LOCK_LEADER);
	free(meta);
	if (ret == 0)
		index->unsynced = false;
	return ret;
}
