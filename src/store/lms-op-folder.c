/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Requests that make, change and delete folders. */

static bool guid_is_set(const uint8_t guid[LMS_GUID_SIZE])
{
	static const uint8_t none[LMS_GUID_SIZE];

	return memcmp(guid, none, LMS_GUID_SIZE) != 0;
}

static void raise_u32(uint32_t *value, uint32_t min)
{
	if (*value < min)
		*value = min;
}

/* A UIDVALIDITY that no folder of this store ever had: also one that is deleted and made again within a second. */
static uint32_t new_uidvalidity(struct lms_write *write)
{
	uint32_t value = write->meta.uidvalidity + 1;

	raise_u32(&value, (uint32_t)write->now);
	return value == 0 ? 1 : value;
}

static void set_uidvalidity(struct lms_write *write, struct lms_wfolder *folder, uint32_t uidvalidity)
{
	if (folder->rec.pub.uidvalidity == uidvalidity)
		return;
	folder->rec.pub.uidvalidity = uidvalidity;
	raise_u32(&write->meta.uidvalidity, uidvalidity);
	folder->view_changed = true;
}

static int set_values(struct lms_write *write, struct lms_wfolder *folder, const struct lms_folder_values *values)
{
	struct lms_folder *pub = &folder->rec.pub;

	if (values->new_epoch) {
		uint64_t epoch = pub->epoch;

		while (pub->epoch == epoch || pub->epoch == 0) {
			if (lms_write_random(write, &pub->epoch, sizeof(pub->epoch)) < 0)
				return -1;
		}
		folder->view_changed = true;
	}
	if (values->uidvalidity != 0)
		set_uidvalidity(write, folder, values->uidvalidity);
	else if (values->new_epoch)
		set_uidvalidity(write, folder, new_uidvalidity(write));
	if (guid_is_set(values->guid) && memcmp(pub->guid, values->guid, sizeof(pub->guid)) != 0) {
		memcpy(pub->guid, values->guid, sizeof(pub->guid));
		folder->view_changed = true;
	}
	if (values->min_uidnext > pub->uidnext) {
		pub->uidnext = values->min_uidnext;
		folder->view_changed = true;
	}
	raise_u32(&pub->first_recent_uid, values->min_first_recent_uid);
	if (pub->modseq_floor < values->min_modseq_floor)
		pub->modseq_floor = values->min_modseq_floor;
	return 0;
}

static int create_folder(struct lms_write *write, const struct lms_folder_create *create)
{
	struct lms_folder_values values = create->values;
	struct lms_wfolder *folder = lms_write_new_folder(write);
	struct lms_folder *pub;

	if (folder == NULL)
		return -1;
	pub = &folder->rec.pub;
	folder->rec.node_id = write->reply->node.node_id;
	pub->uidnext = pub->first_recent_uid = 1;
	/* A new folder is of a new epoch, and gets a GUID even if none was asked for. */
	values.new_epoch = true;
	if (lms_write_random(write, pub->guid, sizeof(pub->guid)) < 0 || set_values(write, folder, &values) < 0 ||
	    lms_node_set_folder(write, folder->rec.node_id, pub->folder_id) < 0)
		return -1;
	write->reply->node.folder_id = pub->folder_id;
	write->reply_folder = folder;
	return 0;
}

int lms_op_folder_create(struct lms_write *write)
{
	const struct lms_folder_create *create = &write->request->u.folder_create;
	uint64_t next_node_id = write->meta.next_node_id;
	struct lms_node *node = &write->reply->node;
	int depth = lms_node_path_depth(&write->txn, create->path);

	if (depth < 0)
		return -1;
	if (depth == 0)
		return lms_write_fail(write, LMS_INVALID, "The root isn't a folder");
	if (lms_node_create_path(write, create->path, node) < 0)
		return -1;
	if (create->selectable ? node->folder_id != 0 : next_node_id == write->meta.next_node_id)
		return lms_write_fail(write, LMS_EXISTS, "Folder exists already");
	return create->selectable ? create_folder(write, create) : 0;
}

int lms_op_folder_update(struct lms_write *write)
{
	const struct lms_folder_update *update = &write->request->u.folder_update;

	if (lms_write_need_folder(write, update->folder_id, &write->reply_folder) < 0)
		return -1;
	write->reply->change_before = write->reply_folder->rec.pub.change;
	return set_values(write, write->reply_folder, &update->values);
}

int lms_op_folder_delete(struct lms_write *write)
{
	const struct lms_folder_delete *del = &write->request->u.folder_delete;
	struct lms_wfolder *folder;
	struct lms_key key;
	int ret;

	if (lms_write_need_folder(write, del->folder_id, &folder) < 0)
		return -1;
	if (del->must_be_empty && folder->rec.pub.messages > 0)
		return lms_write_fail(write, LMS_EXISTS, "Folder isn't empty");
	ret = lms_node_has_child(&write->txn, folder->rec.node_id);
	if (ret < 0)
		return -1;
	if (ret > 0)
		ret = lms_node_set_folder(write, folder->rec.node_id, 0);
	else
		ret = lms_node_remove(write, folder->rec.node_id);
	if (ret < 0)
		return -1;
	lms_key_id(&key, del->folder_id);
	if (lms_del(&write->txn, LMS_DB_FOLDERS, &key) < 0)
		return -1;
	folder->removed = true;
	return lms_garbage_queue(write, LMS_GARBAGE_FOLDER, &del->folder_id, 1);
}

int lms_op_node_delete(struct lms_write *write)
{
	const struct lms_node_delete *del = &write->request->u.node_delete;
	struct lms_node node;
	int ret;

	ret = lms_node_find_path(&write->txn, del->path, &node);
	if (ret < 0)
		return -1;
	if (ret == 0)
		return lms_write_fail(write, LMS_NOTFOUND, "Folder doesn't exist");
	if (node.node_id == LMS_ROOT_NODE)
		return lms_write_fail(write, LMS_INVALID, "The root can't be deleted");
	ret = lms_node_has_child(&write->txn, node.node_id);
	if (ret < 0)
		return -1;
	if (ret > 0 || node.folder_id != 0)
		return lms_write_fail(write, LMS_EXISTS, "Folder has messages or children");
	return lms_node_remove(write, node.node_id);
}

static int renew_folders(struct lms_write *write, struct lms_cursor *folders)
{
	static const struct lms_folder_values values = { .new_epoch = true };
	struct lms_wfolder *folder;
	int ret;

	for (ret = lms_cursor_first(folders); ret > 0; ret = lms_cursor_next(folders)) {
		if (folders->key_size != 8)
			return lms_write_fail_record(write, "folder");
		if (lms_write_need_folder(write, lms_key_get_id(folders->key), &folder) < 0 ||
		    set_values(write, folder, &values) < 0)
			return -1;
	}
	return ret;
}

int lms_op_copy_mark(struct lms_write *write)
{
	struct lms_cursor folders;
	int ret;

	if (write->request->u.copy_mark.set || !write->meta.is_copy) {
		write->meta.is_copy = write->request->u.copy_mark.set;
		return 0;
	}
	write->meta.is_copy = false;
	if (lms_cursor_open(&folders, &write->txn, LMS_DB_FOLDERS) < 0)
		return -1;
	ret = renew_folders(write, &folders);
	lms_cursor_close(&folders);
	snprintf(write->reply->warning, sizeof(write->reply->warning), "%s/" LMS_FILE_DATA " is a backup that is used for the "
		 "first time: all folders got a new UIDVALIDITY", write->env->dir);
	return ret;
}
