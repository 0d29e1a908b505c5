/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "crc32.h"
#include "mail-index-modseq.h"
#include "mail-transaction-log-private.h"
#include "lmdb-compat.h"
#include "lmdb-error.h"
#include "lmdb-status.h"
#include "lmdb-view.h"
#include "lms-message.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATUS_FILE_NAME "lmdb.status"
#define STATUS_FILE_VERSION 1

/* In the byte order of the machine, like the index it stands beside. */
struct lmdb_status_file {
	/* of all that follows */
	uint32_t crc;
	uint32_t version;
	/* dovecot.index.log when nothing waited in it */
	uint64_t log_inode, log_size;
	/* of the view */
	uint64_t epoch, change, highest_modseq;
	uint32_t first_recent_uid;
	uint32_t unused;
};

#define RECORD_ITEMS (STATUS_MESSAGES | STATUS_UIDNEXT | STATUS_UIDVALIDITY)
#define FILE_ITEMS (STATUS_UNSEEN | STATUS_RECENT | STATUS_HIGHESTMODSEQ)

static uint32_t status_crc(const struct lmdb_status_file *file)
{
	return crc32_data(CONST_PTR_OFFSET(file, sizeof(file->crc)), sizeof(*file) - sizeof(file->crc));
}

static bool status_read(const char *path, struct lmdb_status_file *file_r)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t size;

	if (fd == -1)
		return FALSE;
	size = read(fd, file_r, sizeof(*file_r));
	i_close_fd(&fd);
	return size == sizeof(*file_r) && file_r->version == STATUS_FILE_VERSION &&
		file_r->crc == status_crc(file_r);
}

static const char *status_path(struct lmdb_mailbox *mbox, const char *name)
{
	const char *dir;

	if (lmdb_list_folder_path(mbox->box.list, mbox->folder_id, MAILBOX_LIST_PATH_TYPE_INDEX, &dir) <= 0)
		return NULL;
	return t_strconcat(dir, "/", name, NULL);
}

void lmdb_status_write(struct lmdb_mailbox *mbox)
{
	struct mail_index *index = mbox->box.index;
	const char *path = status_path(mbox, STATUS_FILE_NAME);
	struct lmdb_status_file file = { .version = STATUS_FILE_VERSION }, old;
	struct lmdb_view_header hdr;
	struct mail_index_view *view;
	uint32_t log_seq;
	uoff_t log_size;
	bool have_hdr;
	int fd;

	if (path == NULL || mail_index_is_in_memory(index))
		return;
	view = mail_index_view_open(index);
	have_hdr = lmdb_view_read_header(mbox, view, &hdr);
	file.epoch = hdr.epoch;
	file.change = hdr.change;
	file.highest_modseq = mail_index_modseq_get_highest(view);
	file.first_recent_uid = mail_index_get_header(view)->first_recent_uid;
	mail_index_view_close(&view);

	mail_transaction_log_get_head(index->log, &log_seq, &log_size);
	file.log_inode = index->log->head->st_ino;
	file.log_size = log_size;
	file.crc = status_crc(&file);
	if (!have_hdr || (status_read(path, &old) && memcmp(&old, &file, sizeof(file)) == 0))
		return;

	/* without it STATUS is slower, so failure is no error */
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, mailbox_get_permissions(&mbox->box)->file_create_mode);
	if (fd == -1)
		return;
	if (write(fd, &file, sizeof(file)) < 0)
		i_unlink_if_exists(path);
	i_close_fd(&fd);
}

/* Is the file about the journal as it is now? A folder whose view was never opened has no journal. */
static bool nothing_waits(struct lmdb_mailbox *mbox, struct lmdb_status_file *file_r)
{
	const char *log_path = status_path(mbox, MAIL_INDEX_PREFIX".log");
	struct stat st;

	i_zero(file_r);
	if (log_path == NULL)
		return TRUE;
	/* first the file: what is appended after it was read makes the log larger than it says */
	if (!status_read(status_path(mbox, STATUS_FILE_NAME), file_r)) {
		i_zero(file_r);
		return stat(log_path, &st) < 0 && errno == ENOENT;
	}
	return stat(log_path, &st) == 0 && file_r->log_inode == st.st_ino &&
		file_r->log_size == (uint64_t)st.st_size;
}

static int count_callback(const struct lms_message *message ATTR_UNUSED, void *context)
{
	unsigned int *count = context;

	(*count)++;
	return 0;
}

static int count_recent(struct lmdb_mailbox *mbox, const struct lms_folder *folder, uint32_t first_recent_uid,
			unsigned int *count_r)
{
	struct lms_error error;

	*count_r = 0;
	if (first_recent_uid >= folder->uidnext)
		return 0;
	if (lms_message_scan(mbox->env, mbox->folder_id, first_recent_uid, folder->uidnext - 1, count_callback,
			     count_r, &error) < 0) {
		lmdb_mailbox_set_error(&mbox->box, &error);
		return -1;
	}
	return 0;
}

/* Returns 1, 0 if the view must be opened, -1. */
static int get_view_items(struct lmdb_mailbox *mbox, const struct lms_folder *folder,
			  enum mailbox_status_items items, struct mailbox_status *status_r)
{
	struct lmdb_status_file file;

	/* somebody's own \Seen flags aren't in the store */
	if (mailbox_get_private_flags_mask(&mbox->box) != 0 || !nothing_waits(mbox, &file))
		return 0;
	/* the view is of another history of the folder: opening it finds out and mends it */
	if (file.version != 0 && (file.epoch != folder->epoch || file.change > folder->change))
		return 0;
	if ((items & STATUS_HIGHESTMODSEQ) != 0 && (file.version == 0 || file.change != folder->change))
		return 0;

	status_r->unseen = folder->messages - folder->seen;
	status_r->highest_modseq = file.highest_modseq;
	if ((items & STATUS_RECENT) != 0 &&
	    count_recent(mbox, folder, I_MAX(file.first_recent_uid, folder->first_recent_uid),
			 &status_r->recent) < 0)
		return -1;
	return 1;
}

int lmdb_status_get(struct lmdb_mailbox *mbox, enum mailbox_status_items items, struct mailbox_status *status_r)
{
	struct lms_folder folder;
	int ret;

	if ((items & ENUM_NEGATE(RECORD_ITEMS | FILE_ITEMS)) != 0)
		return 0;
	if (lmdb_mailbox_get_folder(mbox, &folder) < 0)
		return -1;
	if ((items & FILE_ITEMS) != 0) {
		ret = get_view_items(mbox, &folder, items, status_r);
		if (ret <= 0)
			return ret;
	}
	status_r->messages = folder.messages;
	status_r->uidnext = folder.uidnext;
	status_r->uidvalidity = folder.uidvalidity;
	return 1;
}
