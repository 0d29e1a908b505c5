/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "mail-error.h"
#include "mail-user.h"
#include "lmdb-compat.h"
#include "lmdb-error.h"
#include "lmdb-ready.h"
#include "lmdb-storage.h"

#include <sys/stat.h>

/* At once, however long ago they were expunged. */
#define PURGE_GRACE_SECS 0
#define PURGE_BATCH_BYTES (16 * 1024 * 1024)

static struct event_category event_category_lmdb = {
	.name = "lmdb",
	.parent = &event_category_storage,
};

static struct mail_storage *lmdb_storage_alloc(void)
{
	pool_t pool = pool_alloconly_create("lmdb storage", 1024);
	struct lmdb_storage *storage = p_new(pool, struct lmdb_storage, 1);

	storage->storage = lmdb_storage;
	storage->storage.pool = pool;
	storage->storage.nonbody_access_fields = LMDB_READY_FIELDS;
	return &storage->storage;
}

/* Core leaves this to storages without mail directories (MAIL_STORAGE_CLASS_FLAG_NO_ROOT). */
static int verify_root(struct mail_storage *storage, const char *root, const char **error_r)
{
	struct stat st;

	if ((storage->flags & MAIL_STORAGE_FLAG_NO_AUTOCREATE) == 0 || stat(root, &st) == 0)
		return 0;
	if (errno == EACCES)
		*error_r = mail_error_eacces_msg("stat", root);
	else if (errno == ENOENT)
		*error_r = t_strdup_printf("Root mail directory doesn't exist: %s", root);
	else
		*error_r = t_strdup_printf("stat(%s) failed: %m", root);
	return -1;
}

static int lmdb_storage_create(struct mail_storage *storage, struct mail_namespace *ns, const char **error_r)
{
	const char *root;

	if (strcmp(ns->list->name, LMDB_DRIVER_NAME) != 0) {
		*error_r = t_strdup_printf("lmdb keeps folders itself: remove "LMDB_LAYOUT_SETTING"=%s", ns->list->name);
		return -1;
	}
	root = mailbox_list_get_root_forced(ns->list, MAILBOX_LIST_PATH_TYPE_DIR);
	storage->unique_root_dir = p_strdup(storage->pool, root);
	return verify_root(storage, root, error_r);
}

bool lmdb_storage_is_at(const char *root_dir)
{
	struct stat st;

	return stat(t_strconcat(root_dir, "/store/data.mdb", NULL), &st) == 0;
}

static int purge_list(struct mail_storage *storage, struct mailbox_list *list)
{
	struct lms_request request = {
		.op = LMS_OP_COLLECT,
		.u.collect = { .grace_secs = PURGE_GRACE_SECS, .max_bytes = PURGE_BATCH_BYTES },
	};
	struct lms_reply reply;
	struct lms_error error;

	if (lmdb_list_env(list) == NULL) {
		mail_storage_copy_list_error(storage, list);
		return -1;
	}
	do {
		if (lmdb_list_submit(list, &request, &reply, &error) < 0) {
			lmdb_storage_set_error(storage, "", &error);
			return -1;
		}
	} while (reply.more);
	return 0;
}

static int lmdb_storage_purge(struct mail_storage *storage)
{
	struct mail_namespace *ns;
	bool purged = FALSE;

	/* namespaces of one storage share one store, but each may have its own views */
	for (ns = storage->user->namespaces; ns != NULL; ns = ns->next) {
		if (ns->storage != storage)
			continue;
		if (!purged && purge_list(storage, ns->list) < 0)
			return -1;
		purged = TRUE;
		if (lmdb_list_remove_leftovers(ns->list) < 0) {
			mail_storage_copy_list_error(storage, ns->list);
			return -1;
		}
	}
	return 0;
}

struct mail_storage lmdb_storage = {
	.name = LMDB_DRIVER_NAME,
	/* NO_ROOT: a mailbox has no directory beside those of its index and control files */
	.class_flags = MAIL_STORAGE_CLASS_FLAG_UNIQUE_ROOT |
		MAIL_STORAGE_CLASS_FLAG_NO_ROOT |
		MAIL_STORAGE_CLASS_FLAG_HAVE_MAIL_GUIDS |
		MAIL_STORAGE_CLASS_FLAG_HAVE_MAIL_SAVE_GUIDS |
		MAIL_STORAGE_CLASS_FLAG_BINARY_DATA,
	.event_category = &event_category_lmdb,
	LMDB_STORAGE_COMPAT

	.v = {
		LMDB_STORAGE_VFUNCS_COMPAT
		.alloc = lmdb_storage_alloc,
		.create = lmdb_storage_create,
		.destroy = index_storage_destroy,
		.mailbox_alloc = lmdb_mailbox_alloc,
		.purge = lmdb_storage_purge,
	}
};
