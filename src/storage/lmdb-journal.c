/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "mail-index-view-private.h"
#include "mail-transaction-log.h"
#include "lmdb-compat.h"
#include "lmdb-journal.h"

static void journal_record(struct lmdb_journal *journal, const struct mail_transaction_header *hdr)
{
	/* external changes are those that were pulled from the store */
	if ((hdr->type & MAIL_TRANSACTION_EXTERNAL) != 0)
		return;

	switch (hdr->type & MAIL_TRANSACTION_TYPE_MASK) {
	case MAIL_TRANSACTION_EXPUNGE:
	case MAIL_TRANSACTION_EXPUNGE_GUID:
	case MAIL_TRANSACTION_INDEX_DELETED:
	case MAIL_TRANSACTION_INDEX_UNDELETED:
		journal->expunges = TRUE;
		break;
	case MAIL_TRANSACTION_FLAG_UPDATE:
	case MAIL_TRANSACTION_KEYWORD_UPDATE:
	case MAIL_TRANSACTION_KEYWORD_RESET:
		journal->flags = TRUE;
		break;
	default:
		break;
	}
}

static void journal_scan(struct lmdb_journal *journal, struct mail_index_view *view)
{
	const struct mail_transaction_header *hdr;
	const void *data;
	const char *reason;
	uint32_t head_seq;
	uoff_t head_offset;
	bool reset;
	int ret;

	mail_transaction_log_get_head(view->index->log, &head_seq, &head_offset);
	ret = mail_transaction_log_view_set(view->log_view, journal->head_seq, journal->head_offset,
					    head_seq, head_offset, &reset, &reason);
	if (ret > 0) {
		while ((ret = mail_transaction_log_view_next(view->log_view, &hdr, &data)) > 0)
			journal_record(journal, hdr);
	} else
		ret = -1;
	if (ret < 0) {
		/* a sync finds out and mends what is wrong with the log */
		journal->expunges = TRUE;
		head_seq = 0;
	}
	journal->head_seq = head_seq;
	journal->head_offset = head_offset;
}

void lmdb_journal_scan(struct lmdb_mailbox *mbox)
{
	struct lmdb_journal *journal = &mbox->journal;
	struct mail_index_view *view = mail_index_view_open(mbox->box.index);
	const struct mail_index_header *hdr = &view->map->hdr;

	if (journal->head_seq == 0 || journal->tail_seq != hdr->log_file_seq ||
	    journal->tail_offset != hdr->log_file_tail_offset) {
		i_zero(journal);
		journal->tail_seq = journal->head_seq = hdr->log_file_seq;
		journal->tail_offset = journal->head_offset = hdr->log_file_tail_offset;
	}
	journal_scan(journal, view);
	mail_index_view_close(&view);
}

uoff_t lmdb_journal_size(const struct lmdb_mailbox *mbox)
{
	const struct lmdb_journal *journal = &mbox->journal;

	if (journal->head_seq != journal->tail_seq)
		return UOFF_T_MAX;
	return journal->head_offset - journal->tail_offset;
}
