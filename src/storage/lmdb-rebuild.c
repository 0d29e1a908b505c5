/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "mail-index-modseq.h"
#include "mail-transaction-log-private.h"
#include "lmdb-compat.h"
#include "lmdb-pull.h"
#include "lmdb-rebuild.h"
#include "lmdb-view.h"

/* Can the view be filled as it is? It must be empty, and nobody was ever shown anything else: a new folder, or one
   without messages that was given another UIDVALIDITY. */
static bool is_new(struct lmdb_mailbox *mbox, const struct lmdb_view_header *hdr,
		   const struct mail_index_header *index_hdr, const struct lms_folder *folder)
{
	struct lmdb_view_header own_hdr;

	if (index_hdr->next_uid > 1)
		return FALSE;
	lmdb_view_init_header(mbox, folder, &own_hdr);
	return folder->modseq_floor == 0 ||
		(memcmp(hdr->store_guid, own_hdr.store_guid, sizeof(hdr->store_guid)) == 0 &&
		 hdr->folder_id == own_hdr.folder_id && hdr->epoch == own_hdr.epoch);
}

/* Returns 1 if the view was emptied and filled, 0 if there was no need to empty it, -1. */
static int fill_view(struct lmdb_mailbox *mbox, struct mail_index_sync_ctx *sync, struct mail_index_view *view,
		     struct mail_index_transaction *trans)
{
	const struct mail_index_header *index_hdr = mail_index_get_header(view);
	struct lmdb_view_header hdr;
	struct lms_folder folder;
	struct mail_index_sync_rec rec;
	bool new_view;

	(void)lmdb_view_read_header(mbox, view, &hdr);
	if (lmdb_mailbox_get_folder(mbox, &folder) < 0)
		return -1;
	if (lmdb_view_compare(mbox, &hdr, index_hdr, &folder) != LMDB_VIEW_FOREIGN)
		return 0;
	/* whatever waits there was meant for something else */
	while (mail_index_sync_next(sync, &rec)) ;
	new_view = is_new(mbox, &hdr, index_hdr, &folder);
	/* The reset rotates the log: the new one begins at the MODSEQ that was reached. */
	if (!new_view)
		mail_index_reset(trans);
	return lmdb_pull_all(mbox, trans, &hdr) < 0 ? -1 : new_view ? 0 : 1;
}

static int sync_view(struct lmdb_mailbox *mbox)
{
	struct mailbox *box = &mbox->box;
	struct mail_index_sync_ctx *sync;
	struct mail_index_view *view;
	struct mail_index_transaction *trans;
	int ret;

	if (index_storage_expunged_sync_begin(box, &sync, &view, &trans, index_storage_get_sync_flags(box)) < 0)
		return -1;
	ret = fill_view(mbox, sync, view, trans);
	if (ret < 0)
		mail_index_sync_rollback(&sync);
	else if (mail_index_sync_commit(&sync) < 0) {
		mailbox_set_index_error(box);
		ret = -1;
	}
	index_storage_expunging_deinit(box);
	return ret;
}

/* The log before the reset knows of nothing that vanished since, so QRESYNC must not find it; and the reset took the
   per-message MODSEQs, which lib-index believes to have. */
static int forget_history(struct lmdb_mailbox *mbox)
{
	struct mail_index *index = mbox->box.index;

	if (i_unlink_if_exists(t_strconcat(index->filepath, ".log.2", NULL)) < 0)
		return -1;
	lmdb_modseq_enable_anew(index);
	return 0;
}

/* Make the view begin at the folder's floor, unless it is new. */
static int reach_floor(struct lmdb_mailbox *mbox)
{
	struct mail_index *index = mbox->box.index;
	struct mail_index_view *view;
	struct lmdb_view_header hdr;
	struct lms_folder folder;
	int ret;

	if (mail_index_is_in_memory(index))
		return 0;
	view = mail_index_view_open(index);
	(void)lmdb_view_read_header(mbox, view, &hdr);
	ret = lmdb_mailbox_get_folder(mbox, &folder);
	if (ret == 0 && !is_new(mbox, &hdr, mail_index_get_header(view), &folder))
		ret = lmdb_view_raise_modseq(mbox, folder.modseq_floor);
	mail_index_view_close(&view);
	return ret;
}

int lmdb_rebuild(struct lmdb_mailbox *mbox)
{
	int ret;

	if (reach_floor(mbox) < 0)
		return -1;
	ret = sync_view(mbox);
	if (ret > 0 && !mail_index_is_in_memory(mbox->box.index))
		ret = forget_history(mbox);
	return ret < 0 ? -1 : 0;
}

int lmdb_rebuild_new_epoch(struct lmdb_mailbox *mbox)
{
	struct lms_request request = {
		.op = LMS_OP_FOLDER_UPDATE,
		.u.folder_update = { .folder_id = mbox->folder_id, .values.new_epoch = TRUE },
	};
	struct lms_reply reply;

	e_warning(mbox->box.event, "lmdb: The index has changes that the store doesn't have: the store was restored "
		  "from an older copy. Giving the mailbox a new UIDVALIDITY");
	return lmdb_mailbox_submit(mbox, &request, &reply);
}
