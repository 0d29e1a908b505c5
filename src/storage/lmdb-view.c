/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "mail-index-modseq.h"
#include "lmdb-compat.h"
#include "lmdb-view.h"

void lmdb_view_register(struct lmdb_mailbox *mbox)
{
	mbox->hdr_ext_id = mail_index_ext_register(mbox->box.index, "lmdb", sizeof(struct lmdb_view_header), 0,
						   sizeof(uint64_t));
}

bool lmdb_view_read_header(struct lmdb_mailbox *mbox, struct mail_index_view *view, struct lmdb_view_header *hdr_r)
{
	const void *data;
	size_t size;

	mail_index_get_header_ext(view, mbox->hdr_ext_id, &data, &size);
	if (size < sizeof(*hdr_r)) {
		i_zero(hdr_r);
		return FALSE;
	}
	memcpy(hdr_r, data, sizeof(*hdr_r));
	return TRUE;
}

void lmdb_view_write_header(struct lmdb_mailbox *mbox, struct mail_index_transaction *trans,
			    const struct lmdb_view_header *hdr)
{
	mail_index_update_header_ext(trans, mbox->hdr_ext_id, 0, hdr, sizeof(*hdr));
}

void lmdb_view_init_header(struct lmdb_mailbox *mbox, const struct lms_folder *folder,
			   struct lmdb_view_header *hdr_r)
{
	i_zero(hdr_r);
	lms_env_guid(mbox->env, hdr_r->store_guid);
	hdr_r->folder_id = folder->folder_id;
	hdr_r->epoch = folder->epoch;
	hdr_r->change = folder->change;
	hdr_r->flag_change = folder->flag_change;
}

enum lmdb_view_state lmdb_view_compare(const struct lmdb_mailbox *mbox, const struct lmdb_view_header *hdr,
				       const struct mail_index_header *index_hdr, const struct lms_folder *folder)
{
	uint8_t store_guid[LMS_GUID_SIZE];

	lms_env_guid(mbox->env, store_guid);
	if (memcmp(hdr->store_guid, store_guid, sizeof(store_guid)) != 0 ||
	    hdr->folder_id != folder->folder_id || hdr->epoch != folder->epoch ||
	    index_hdr->uid_validity != folder->uidvalidity)
		return LMDB_VIEW_FOREIGN;
	if (hdr->change > folder->change || index_hdr->next_uid > folder->uidnext)
		return LMDB_VIEW_AHEAD;
	return hdr->change == folder->change && index_hdr->next_uid == folder->uidnext ?
		LMDB_VIEW_CURRENT : LMDB_VIEW_BEHIND;
}

int lmdb_view_raise_modseq(struct lmdb_mailbox *mbox, uint64_t min_modseq)
{
	struct mail_index *index = mbox->box.index;
	struct mail_index_transaction *trans;
	struct mail_index_view *view;
	int ret = 0;

	mail_index_refresh(index);
	view = mail_index_view_open(index);
	if (mail_index_modseq_get_highest(view) < min_modseq) {
		trans = mail_index_transaction_begin(view, MAIL_INDEX_TRANSACTION_FLAG_EXTERNAL);
		mail_index_modseq_enable(index);
		mail_index_update_highest_modseq(trans, min_modseq);
		ret = mail_index_transaction_commit(&trans);
		if (ret < 0)
			mailbox_set_index_error(&mbox->box);
	}
	mail_index_view_close(&view);
	return ret;
}
