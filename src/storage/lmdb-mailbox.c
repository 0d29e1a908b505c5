/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "lmdb-compat.h"
#include "lmdb-attribute.h"
#include "lmdb-copy.h"
#include "lmdb-error.h"
#include "lmdb-mail.h"
#include "lmdb-save.h"
#include "lmdb-search-docs.h"
#include "lmdb-search.h"
#include "lmdb-status.h"
#include "lmdb-storage.h"
#include "lmdb-sync.h"
#include "lmdb-view.h"
#include "lms-notify.h"

struct mailbox *lmdb_mailbox_alloc(struct mail_storage *storage, struct mailbox_list *list, const char *vname,
				   enum mailbox_flags flags)
{
	pool_t pool = pool_alloconly_create("lmdb mailbox", 1024*3);
	struct lmdb_mailbox *mbox = p_new(pool, struct lmdb_mailbox, 1);

	mbox->box = lmdb_mailbox;
	mbox->box.pool = pool;
	mbox->box.storage = storage;
	mbox->box.list = list;
	mbox->box.mail_vfuncs = &lmdb_mail_vfuncs;
	lmdb_lookahead_clear(&mbox->ahead);
	index_storage_mailbox_alloc(&mbox->box, vname, flags, MAIL_INDEX_PREFIX);
	return &mbox->box;
}

bool lmdb_mailbox_is(const struct mailbox *box)
{
	return strcmp(box->storage->name, LMDB_DRIVER_NAME) == 0;
}

int lmdb_mailbox_find(struct lmdb_mailbox *mbox)
{
	struct mailbox *box = &mbox->box;
	struct lms_node node;
	int ret = lmdb_list_lookup(box->list, box->name, &node);

	if (ret < 0) {
		mail_storage_copy_list_error(box->storage, box->list);
		return -1;
	}
	if (ret == 0 || node.folder_id == 0) {
		mail_storage_set_error(box->storage, MAIL_ERROR_NOTFOUND, T_MAIL_ERR_MAILBOX_NOT_FOUND(box->vname));
		return 0;
	}
	mbox->env = lmdb_list_env(box->list);
	mbox->folder_id = node.folder_id;
	return 1;
}

int lmdb_mailbox_get_folder(struct lmdb_mailbox *mbox, struct lms_folder *folder_r)
{
	struct lms_error error;
	int ret = lms_folder_get(mbox->env, mbox->folder_id, folder_r, &error);

	if (ret > 0)
		return 0;
	if (ret < 0)
		lmdb_mailbox_set_error(&mbox->box, &error);
	else if (mbox->box.index != NULL)
		mailbox_set_deleted(&mbox->box);
	else {
		mail_storage_set_error(mbox->box.storage, MAIL_ERROR_NOTFOUND,
				       T_MAIL_ERR_MAILBOX_NOT_FOUND(mbox->box.vname));
	}
	return -1;
}

int lmdb_mailbox_submit(struct lmdb_mailbox *mbox, struct lms_request *request, struct lms_reply *reply_r)
{
	struct lms_error error;

	if (lmdb_list_submit(mbox->box.list, request, reply_r, &error) < 0) {
		lmdb_mailbox_set_error(&mbox->box, &error);
		return -1;
	}
	return 0;
}

static int lmdb_mailbox_exists(struct mailbox *box, bool auto_boxes, enum mailbox_existence *existence_r)
{
	struct lms_node node;
	int ret;

	if (auto_boxes && mailbox_is_autocreated(box)) {
		*existence_r = MAILBOX_EXISTENCE_SELECT;
		return 0;
	}
	ret = lmdb_list_lookup(box->list, box->name, &node);
	if (ret < 0) {
		mail_storage_copy_list_error(box->storage, box->list);
		return -1;
	}
	*existence_r = ret == 0 ? MAILBOX_EXISTENCE_NONE :
		node.folder_id == 0 ? MAILBOX_EXISTENCE_NOSELECT : MAILBOX_EXISTENCE_SELECT;
	return 0;
}

static int lmdb_mailbox_open(struct mailbox *box)
{
	struct lmdb_mailbox *mbox = LMDB_MAILBOX(box);

	if (lmdb_mailbox_find(mbox) <= 0)
		return -1;
	/* a save needs nothing of the view, and the view finds out by itself what was saved */
	if ((box->flags & MAILBOX_FLAG_SAVEONLY) != 0)
		box->flags |= MAILBOX_FLAG_NO_INDEX_FILES;
	/* for dovecot-acl: those who write it expect the directory to be there. Others needn't look for it. */
	else if (lmdb_have_plugin("acl") && mailbox_create_missing_dir(box, MAILBOX_LIST_PATH_TYPE_CONTROL) < 0)
		return -1;
	if (index_storage_mailbox_alloc_index(box) < 0)
		return -1;
	/* a view is derived: what must survive is flushed to the store */
	mail_index_set_fsync_mode(box->index, FSYNC_MODE_NEVER, 0);
	if (index_storage_mailbox_open(box, FALSE) < 0)
		return -1;
	lmdb_view_register(mbox);
	if (lmdb_sync(mbox, 0) < 0) {
		index_storage_mailbox_close(box);
		box->opened = FALSE;
		return -1;
	}
	/* there are users who open a mailbox and look at messages without a sync */
	mail_index_view_close(&box->view);
	box->view = mail_index_view_open(box->index);
	return 0;
}

static void lmdb_mailbox_close(struct mailbox *box)
{
	struct lmdb_mailbox *mbox = LMDB_MAILBOX(box);

	lmdb_search_close(mbox);
	lmdb_sync_close(mbox);
	lmdb_lookahead_clear(&mbox->ahead);
	index_storage_mailbox_close(box);
	mbox->folder_id = 0;
	mbox->cache_tried = FALSE;
}

static void update_values(const struct mailbox_update *update, struct lms_folder_values *values_r)
{
	i_zero(values_r);
	if (update == NULL)
		return;
	memcpy(values_r->guid, update->mailbox_guid, sizeof(values_r->guid));
	values_r->uidvalidity = update->uid_validity;
	values_r->min_uidnext = update->min_next_uid;
	values_r->min_first_recent_uid = update->min_first_recent_uid;
}

/* What dsync asks for beyond the folder's record concerns the view. */
static int update_view(struct lmdb_mailbox *mbox, const struct mailbox_update *update)
{
	if (lmdb_sync(mbox, LMDB_SYNC_FLAG_DRAIN) < 0)
		return -1;
	if (update->min_highest_modseq != 0 &&
	    (lmdb_view_raise_modseq(mbox, update->min_highest_modseq) < 0 || lmdb_sync(mbox, 0) < 0))
		return -1;
	return index_storage_mailbox_update_common(&mbox->box, update);
}

static int lmdb_mailbox_create(struct mailbox *box, const struct mailbox_update *update, bool directory)
{
	struct lmdb_mailbox *mbox = LMDB_MAILBOX(box);
	struct lms_request request = {
		.op = LMS_OP_FOLDER_CREATE,
		.u.folder_create = {
			.path = lmdb_list_path(box->list, box->name),
			.selectable = !directory || (box->list->props & MAILBOX_LIST_PROP_NO_NOSELECT) != 0,
		},
	};
	struct lms_reply reply;

	if (lmdb_list_env(box->list) == NULL) {
		mail_storage_copy_list_error(box->storage, box->list);
		return -1;
	}
	update_values(update, &request.u.folder_create.values);
	if (lmdb_mailbox_submit(mbox, &request, &reply) < 0)
		return -1;
	if (directory || update == NULL)
		return 0;
	return mailbox_open(box) < 0 ? -1 : update_view(mbox, update);
}

static int lmdb_mailbox_update(struct mailbox *box, const struct mailbox_update *update)
{
	struct lmdb_mailbox *mbox = LMDB_MAILBOX(box);
	struct lms_request request = { .op = LMS_OP_FOLDER_UPDATE };
	struct lms_reply reply;

	if (mailbox_open(box) < 0)
		return -1;
	request.u.folder_update.folder_id = mbox->folder_id;
	update_values(update, &request.u.folder_update.values);
	return lmdb_mailbox_submit(mbox, &request, &reply) < 0 ? -1 : update_view(mbox, update);
}

/* What the record alone answers. */
#define RECORD_METADATA_ITEMS \
	(MAILBOX_METADATA_GUID | MAILBOX_METADATA_VIRTUAL_SIZE | MAILBOX_METADATA_PHYSICAL_SIZE)

static int find_folder(struct lmdb_mailbox *mbox)
{
	if (mbox->folder_id != 0 || lmdb_mailbox_find(mbox) > 0)
		return 0;
	/* core creates mailboxes with auto=create when they are opened */
	return mailbox_open(&mbox->box);
}

/* For doveadm index and the indexer: from which message on they have something to do. */
static void set_last_indexed(struct lmdb_mailbox *mbox, struct mailbox_status *status)
{
	uint32_t uid, seq1, seq2 = 0;

	if (mbox->box.opened && lmdb_search_last_indexed(mbox, &uid) == 0) {
		if (uid > 0)
			mailbox_get_seq_range(&mbox->box, 1, uid, &seq1, &seq2);
		lmdb_status_set_last_indexed(status, seq2, uid);
	}
}

static int lmdb_mailbox_get_status(struct mailbox *box, enum mailbox_status_items items,
				   struct mailbox_status *status_r)
{
	struct lmdb_mailbox *mbox = LMDB_MAILBOX(box);
	int ret = 0;

	if (!box->opened && items != 0)
		ret = find_folder(mbox) < 0 ? -1 : lmdb_status_get(mbox, items, status_r);
	if (ret == 0)
		ret = index_storage_get_status(box, items, status_r);
	if (ret >= 0 && (items & LMDB_STATUS_LAST_INDEXED) != 0)
		set_last_indexed(mbox, status_r);
	return ret < 0 ? -1 : 0;
}

static int lmdb_mailbox_get_metadata(struct mailbox *box, enum mailbox_metadata_items items,
				     struct mailbox_metadata *metadata_r)
{
	struct lmdb_mailbox *mbox = LMDB_MAILBOX(box);
	struct lms_folder folder;

	if ((items & RECORD_METADATA_ITEMS) != 0) {
		if (find_folder(mbox) < 0 || lmdb_mailbox_get_folder(mbox, &folder) < 0)
			return -1;
		memcpy(metadata_r->guid, folder.guid, sizeof(metadata_r->guid));
		metadata_r->virtual_size = folder.virtual_size;
		metadata_r->physical_size = folder.physical_size;
	}
	return index_mailbox_get_metadata(box, items & ENUM_NEGATE(RECORD_METADATA_ITEMS), metadata_r);
}

static void lmdb_mailbox_notify_changes(struct mailbox *box)
{
	struct lmdb_mailbox *mbox = LMDB_MAILBOX(box);
	const char *dir;
	char *path;
	struct lms_error error;

	if (box->notify_callback == NULL) {
		mailbox_watch_remove_all(box);
		return;
	}
	/* what is committed to the store, and what waits in the journal */
	if (lms_notify_path(mbox->env, mbox->folder_id, &path, &error) < 0)
		lmdb_mailbox_set_error(box, &error);
	else {
		mailbox_watch_add(box, path);
		free(path);
	}
	if (mailbox_get_path_to(box, MAILBOX_LIST_PATH_TYPE_INDEX, &dir) > 0)
		mailbox_watch_add(box, t_strdup_printf("%s/%s.log", dir, box->index_prefix));
}

struct mailbox lmdb_mailbox = {
	.v = {
		.is_readonly = index_storage_is_readonly,
		.enable = index_storage_mailbox_enable,
		.exists = lmdb_mailbox_exists,
		.open = lmdb_mailbox_open,
		.close = lmdb_mailbox_close,
		.free = index_storage_mailbox_free,
		.create_box = lmdb_mailbox_create,
		.update_box = lmdb_mailbox_update,
		.delete_box = index_storage_mailbox_delete,
		.rename_box = index_storage_mailbox_rename,
		.get_status = lmdb_mailbox_get_status,
		.get_metadata = lmdb_mailbox_get_metadata,
		.set_subscribed = index_storage_set_subscribed,
		.attribute_set = lmdb_attribute_set,
		.attribute_get = lmdb_attribute_get,
		.attribute_iter_init = lmdb_attribute_iter_init,
		.attribute_iter_next = lmdb_attribute_iter_next,
		.attribute_iter_deinit = lmdb_attribute_iter_deinit,
		.sync_init = lmdb_sync_init,
		.sync_next = index_mailbox_sync_next,
		.sync_deinit = index_mailbox_sync_deinit,
		.notify_changes = lmdb_mailbox_notify_changes,
		.transaction_begin = lmdb_transaction_begin,
		.transaction_commit = lmdb_transaction_commit,
		.transaction_rollback = lmdb_transaction_rollback,
		.mail_alloc = lmdb_mail_alloc,
		.search_init = lmdb_search_init,
		.search_deinit = lmdb_search_deinit,
		.search_next_nonblock = index_storage_search_next_nonblock,
		.search_next_update_seq = lmdb_search_next_update_seq,
		.search_next_match_mail = lmdb_search_next_match_mail,
		.save_alloc = lmdb_save_alloc,
		.save_begin = lmdb_save_begin,
		.save_continue = lmdb_save_continue,
		.save_finish = lmdb_save_finish,
		.save_cancel = lmdb_save_cancel,
		.copy = lmdb_copy,
		.transaction_save_commit_pre = lmdb_save_commit_pre,
		.transaction_save_commit_post = lmdb_save_commit_post,
		.transaction_save_rollback = lmdb_save_rollback,
		.is_inconsistent = index_storage_is_inconsistent,
	}
};
