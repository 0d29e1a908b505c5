/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "mail-index-modseq.h"
#include "mail-transaction-log-private.h"
#include "lmdb-compat.h"
#include "lmdb-pull.h"
#include "lmdb-rebuild.h"
#include "lmdb-view.h"

/* Fill an emptied view. The reset rotates the log: the new one begins at the MODSEQ that was reached. */
static int fill_view(struct lmdb_mailbox *mbox)
{
	struct mailbox *box = &mbox->box;
	struct mail_index_sync_ctx *sync;
	struct mail_index_view *view;
	struct mail_index_transaction *trans;
	struct lmdb_view_header hdr;
	struct lms_folder folder;
	int ret;

	if (index_storage_expunged_sync_begin(box, &sync, &view, &trans, index_storage_get_sync_flags(box)) < 0)
		return -1;
	(void)lmdb_view_read_header(mbox, view, &hdr);
	ret = lmdb_mailbox_get_folder(mbox, &folder);
	if (ret == 0 && lmdb_view_compare(mbox, &hdr, mail_index_get_header(view), &folder) == LMDB_VIEW_FOREIGN) {
		struct mail_index_sync_rec rec;

		/* whatever waits there was meant for something else */
		while (mail_index_sync_next(sync, &rec)) ;
		mail_index_reset(trans);
		ret = lmdb_pull_all(mbox, trans, &hdr);
		if (ret == 0)
			ret = 1;
	}
	if (ret <= 0)
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

int lmdb_rebuild(struct lmdb_mailbox *mbox)
{
	struct lms_folder folder;
	int ret;

	if (lmdb_mailbox_get_folder(mbox, &folder) < 0)
		return -1;
	if (!mail_index_is_in_memory(mbox->box.index) && lmdb_view_raise_modseq(mbox, folder.modseq_floor) < 0)
		return -1;
	ret = fill_view(mbox);
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
