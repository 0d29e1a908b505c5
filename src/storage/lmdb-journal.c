/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "read-full.h"
#include "mail-index-view-private.h"
#include "mail-transaction-log-private.h"
#include "lmdb-compat.h"
#include "lmdb-journal.h"

#include <unistd.h>
#include <sys/stat.h>

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

/* The refresh of the index asked for the size, if the file may be mapped. */
static uoff_t last_size(const struct mail_transaction_log_file *file)
{
	struct stat st;

	if ((file->log->index->flags & MAIL_INDEX_OPEN_FLAG_MMAP_DISABLE) == 0)
		return file->last_size;
	return fstat(file->fd, &st) < 0 ? 0 : st.st_size;
}

/* Was there something after the last whole transaction, when the index was refreshed? */
static bool has_piece(const struct mail_transaction_log_file *file)
{
	return file != NULL && !MAIL_TRANSACTION_LOG_FILE_IN_MEMORY(file) && file->sync_offset >= file->hdr.hdr_size &&
		last_size(file) > file->sync_offset;
}

/* Where the whole transactions end. Returns 0, or -1 if that can't be found out. */
static int find_end(const struct mail_transaction_log_file *file, uoff_t size, uoff_t *end_r)
{
	struct mail_transaction_header hdr;
	uint32_t trans_size;
	int ret;

	for (*end_r = file->sync_offset; *end_r + sizeof(hdr) <= size; *end_r += trans_size) {
		ret = pread_full(file->fd, &hdr, sizeof(hdr), *end_r);
		if (ret <= 0)
			return -1;
		trans_size = mail_index_offset_to_uint32(hdr.size);
		if (trans_size == 0 || *end_r + trans_size > size)
			break;
		/* this is no piece but damage */
		if (trans_size < sizeof(hdr))
			return -1;
	}
	return 0;
}

static void cut_piece(struct lmdb_mailbox *mbox, struct mail_transaction_log_file *file)
{
	struct stat st;
	uoff_t end;

	if (fstat(file->fd, &st) < 0 || find_end(file, st.st_size, &end) < 0 || end >= (uoff_t)st.st_size)
		return;
	if (ftruncate(file->fd, end) < 0)
		mailbox_set_critical(&mbox->box, "ftruncate(%s) failed: %m", file->filepath);
}

void lmdb_journal_cut(struct lmdb_mailbox *mbox)
{
	struct mail_index *index = mbox->box.index;
	struct mail_transaction_log *log = index->log;
	struct mail_transaction_log_file *file = log->head;

	/* mostly it is a transaction that somebody is about to write: the lock is his */
	if (index->readonly || !has_piece(file) || mail_transaction_log_lock_head(log, "cutting off a piece") < 0)
		return;
	if (log->head == file && !file->corrupted)
		cut_piece(mbox, file);
	mail_transaction_log_file_unlock(log->head, "cutting off a piece");
}
