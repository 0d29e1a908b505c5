/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "seq-range-array.h"
#include "time-util.h"
#include "unichar.h"
#include "lmdb-compat.h"
#include "lmdb-mail.h"
#include "lmdb-search-docs.h"
#include "lmdb-search-feed.h"

/* How long a search, a client that waits for its answer, keeps the index in shape. */
#define MAINTAIN_MSECS 50

struct lsi_index *lmdb_search_index(struct lmdb_mailbox *mbox)
{
	/* the only normal form that the index's word classes are made for */
	if ((mbox->search != NULL && mbox->search->failed) ||
	    mbox->box.storage->user->default_normalizer != uni_utf8_to_decomposed_titlecase)
		return NULL;
	return lmdb_list_search(mbox->box.list);
}

static struct lmdb_search_docs *get_docs(struct lmdb_mailbox *mbox)
{
	if (mbox->search == NULL) {
		mbox->search = i_new(struct lmdb_search_docs, 1);
		i_array_init(&mbox->search->docs, 64);
	}
	return mbox->search;
}

bool lmdb_search_handle_error(struct lmdb_mailbox *mbox, struct lsi_index *index, const struct lms_error *error)
{
	e_warning(mbox->box.event, "Search index: %s", error->text);
	if (lsi_discard(index, error))
		return TRUE;
	get_docs(mbox)->failed = TRUE;
	return FALSE;
}

static int add_message(const struct lms_message *message, void *context)
{
	struct lmdb_search_docs *search = context;
	struct lmdb_search_doc *doc = array_append_space(&search->docs);

	doc->uid = message->uid;
	doc->position = LSI_MISSING;
	doc->doc = lsi_doc_make(message->body_id, message->guid, message->physical_size);
	return 0;
}

/* Index of the first document at or after the UID */
static unsigned int find_uid(const struct lmdb_search_docs *search, uint32_t uid)
{
	const struct lmdb_search_doc *docs;
	unsigned int low = 0, high;

	docs = array_get(&search->docs, &high);
	while (low < high) {
		unsigned int middle = low + (high - low) / 2;

		if (docs[middle].uid < uid)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int forget_expunged(enum lms_change_kind kind, uint32_t uid1, uint32_t uid2, void *context)
{
	struct lmdb_search_docs *search = context;
	struct lmdb_search_doc *docs;
	unsigned int count;

	if (kind != LMS_CHANGE_EXPUNGE)
		return 0;
	docs = array_get_modifiable(&search->docs, &count);
	for (unsigned int i = find_uid(search, uid1); i < count && docs[i].uid <= uid2; i++) {
		docs[i].position = LSI_MISSING;
		i_zero(&docs[i].doc);
	}
	return 0;
}

/* Bring the array up to date, in a snapshot of the store. */
static int read_messages(struct lmdb_mailbox *mbox, struct lms_error *error_r)
{
	struct lmdb_search_docs *search = mbox->search;
	const struct lmdb_search_doc *last;
	struct lms_folder folder;
	uint32_t uid = 1;
	int ret = lms_folder_get(mbox->env, mbox->folder_id, &folder, error_r);

	if (ret <= 0)
		return ret;
	if (search->epoch != folder.epoch || search->change < folder.changes_since) {
		array_clear(&search->docs);
		search->generation = 0;
	} else if (search->change < folder.change) {
		ret = lms_changes_scan(mbox->env, mbox->folder_id, search->change, forget_expunged, search, error_r);
		if (ret < 0)
			return -1;
	}
	search->epoch = folder.epoch;
	search->change = folder.change;
	if (array_count(&search->docs) > 0) {
		last = array_back(&search->docs);
		uid = last->uid + 1;
	}
	if (uid >= folder.uidnext)
		return 0;
	return lms_message_scan(mbox->env, mbox->folder_id, uid, (uint32_t)-1, add_message, search, error_r);
}

static int refresh_messages(struct lmdb_mailbox *mbox, struct lms_error *error_r)
{
	int ret;

	if (lms_read_begin(mbox->env, error_r) < 0)
		return -1;
	ret = read_messages(mbox, error_r);
	lms_read_end(mbox->env);
	return ret;
}

/* Set the positions of documents from number first on. */
static void find_positions(struct lmdb_search_docs *search, struct lsi_snapshot *snapshot, unsigned int first)
{
	struct lmdb_search_doc *docs;
	unsigned int count;

	docs = array_get_modifiable(&search->docs, &count);
	for (unsigned int i = first; i < count; i++)
		docs[i].position = lsi_snapshot_find(snapshot, &docs[i].doc);
}

static int begin(struct lmdb_mailbox *mbox, struct lsi_index *index, struct lsi_snapshot **snapshot_r)
{
	struct lms_error error;

	if (lsi_search_begin(index, snapshot_r, &error) == 0)
		return 0;
	/* a new one is begun at once */
	if (!lmdb_search_handle_error(mbox, index, &error))
		return -1;
	if (lsi_search_begin(index, snapshot_r, &error) == 0)
		return 0;
	(void)lmdb_search_handle_error(mbox, index, &error);
	return -1;
}

int lmdb_search_begin(struct lmdb_mailbox *mbox, struct lsi_index *index, struct lsi_snapshot **snapshot_r)
{
	struct lmdb_search_docs *search = get_docs(mbox);
	unsigned int count = array_count(&search->docs);
	struct lms_error error;

	if (begin(mbox, index, snapshot_r) < 0)
		return -1;
	if (refresh_messages(mbox, &error) < 0) {
		/* the store's own error, which core will meet too */
		lsi_search_end(index);
		lsi_snapshot_unref(snapshot_r);
		return -1;
	}
	if (search->generation != lsi_snapshot_generation(*snapshot_r))
		count = 0;
	search->generation = lsi_snapshot_generation(*snapshot_r);
	find_positions(search, *snapshot_r, count);
	return 0;
}

const struct lmdb_search_doc *lmdb_search_doc(struct lmdb_mailbox *mbox, uint32_t uid, unsigned int *hint)
{
	const struct lmdb_search_doc *docs;
	unsigned int count;

	docs = array_get(&mbox->search->docs, &count);
	if (*hint >= count || docs[*hint].uid != uid)
		*hint = find_uid(mbox->search, uid);
	return *hint < count && docs[*hint].uid == uid ? &docs[(*hint)++] : NULL;
}

static void maintain(struct lmdb_mailbox *mbox, struct lsi_index *index)
{
	struct timeval begin_time, now;
	struct lms_error error;
	int ret;

	i_gettimeofday(&begin_time);
	do {
		ret = lsi_maintain(index, &error);
		i_gettimeofday(&now);
	} while (ret > 0 && (mbox->search->background || timeval_diff_msecs(&now, &begin_time) < MAINTAIN_MSECS));
	if (ret < 0)
		(void)lmdb_search_handle_error(mbox, index, &error);
}

void lmdb_search_flush(struct lmdb_mailbox *mbox)
{
	struct lmdb_search_docs *search = mbox->search;
	struct lsi_index *index;
	struct lms_error error;

	if (search == NULL || search->batch == NULL)
		return;
	if (search->open_uid != 0) {
		lsi_batch_end(search->batch, TRUE);
		search->open_uid = 0;
	}
	if (lsi_batch_count(search->batch) == 0)
		return;
	index = lmdb_search_index(mbox);
	if (index != NULL) {
		if (lsi_write(index, search->batch, &error) < 0)
			(void)lmdb_search_handle_error(mbox, index, &error);
		else
			maintain(mbox, index);
	}
	lsi_batch_free(&search->batch);
}

static bool begin_text(struct lmdb_search_docs *search, const struct lsi_doc *doc)
{
	if (search->batch == NULL && (search->batch = lsi_batch_new()) == NULL)
		return FALSE;
	if (lsi_batch_has(search->batch, doc->body_id))
		return FALSE;
	lsi_batch_begin(search->batch, doc);
	return TRUE;
}

/* Begin the document of a message and add its text, unless it is there or can't be read. */
static bool begin_document(struct mail *mail)
{
	struct lmdb_mailbox *mbox = LMDB_MAILBOX(mail->box);
	struct lmdb_search_docs *search = mbox->search;
	const struct lmdb_search_doc *doc;
	unsigned int hint = 0;

	if (search == NULL || search->failed)
		return FALSE;
	doc = lmdb_search_doc(mbox, mail->uid, &hint);
	if (doc == NULL || doc->position != LSI_MISSING || doc->doc.body_id == 0)
		return FALSE;
	if (!begin_text(search, &doc->doc))
		return FALSE;
	if (lmdb_search_feed(mail, search->batch) == 0)
		return TRUE;
	lsi_batch_end(search->batch, FALSE);
	return FALSE;
}

static void end_document(struct lmdb_mailbox *mbox)
{
	lsi_batch_end(mbox->search->batch, TRUE);
	mbox->search->open_uid = 0;
	if (lsi_batch_is_full(mbox->search->batch))
		lmdb_search_flush(mbox);
}

void lmdb_search_add(struct mail *mail)
{
	struct lmdb_mailbox *mbox = LMDB_MAILBOX(mail->box);

	if (!LMDB_LIST(mbox->box.list)->fts && begin_document(mail))
		end_document(mbox);
}

void lmdb_search_add_new(struct lmdb_mailbox *mbox, const struct lsi_doc *doc, struct istream *input)
{
	struct lmdb_search_docs *search = get_docs(mbox);

	if (search->failed || !begin_text(search, doc))
		return;
	if (lmdb_search_feed_stream(mbox->box.storage->user, input, search->batch) == 0)
		end_document(mbox);
	else
		lsi_batch_end(search->batch, FALSE);
}

void lmdb_search_open(struct mail *mail)
{
	struct lmdb_mailbox *mbox = LMDB_MAILBOX(mail->box);

	if (lmdb_search_is_open(mbox, mail->uid))
		return;
	if (mbox->search != NULL && mbox->search->open_uid != 0)
		end_document(mbox);
	if (begin_document(mail))
		mbox->search->open_uid = mail->uid;
}

bool lmdb_search_is_open(struct lmdb_mailbox *mbox, uint32_t uid)
{
	return mbox->search != NULL && mbox->search->open_uid == uid;
}

void lmdb_search_attach(struct lmdb_mailbox *mbox, const void *data, size_t size)
{
	normalizer_func_t *normalizer = mbox->box.storage->user->default_normalizer;

	i_assert(mbox->search->open_uid != 0);
	T_BEGIN {
		buffer_t *text = t_buffer_create(size + 64);

		(void)normalizer(data, size, text);
		lsi_batch_text(mbox->search->batch, LSI_ATTACHMENT, text->data, text->used);
	} T_END;
}

void lmdb_search_attach_break(struct lmdb_mailbox *mbox)
{
	/* fts may close what it added to one message when the next one is open */
	if (mbox->search->open_uid != 0)
		lsi_batch_break(mbox->search->batch, LSI_ATTACHMENT);
}

bool lmdb_search_prepare(struct lmdb_mailbox *mbox, bool background)
{
	struct lsi_index *index = lmdb_search_index(mbox);
	struct lsi_snapshot *snapshot;

	if (index == NULL || (mbox->search != NULL && mbox->search->background >= background))
		return index != NULL;
	if (lmdb_search_begin(mbox, index, &snapshot) < 0)
		return FALSE;
	lsi_search_end(index);
	lsi_snapshot_unref(&snapshot);
	mbox->search->background = background;
	return TRUE;
}

void lmdb_search_get_missing(struct lmdb_mailbox *mbox, ARRAY_TYPE(seq_range) *uids)
{
	const struct lmdb_search_doc *doc;

	array_foreach(&mbox->search->docs, doc) {
		if (doc->position == LSI_MISSING && doc->doc.body_id != 0)
			seq_range_array_add(uids, doc->uid);
	}
}

bool lmdb_search_has_failed(struct lmdb_mailbox *mbox)
{
	return mbox->search != NULL && mbox->search->failed;
}

void lmdb_search_close(struct lmdb_mailbox *mbox)
{
	struct lmdb_search_docs *search = mbox->search;

	if (search == NULL)
		return;
	lmdb_search_flush(mbox);
	mbox->search = NULL;
	array_free(&search->docs);
	i_free(search);
}

int lmdb_search_last_indexed(struct lmdb_mailbox *mbox, uint32_t *uid_r)
{
	struct lsi_index *index = lmdb_search_index(mbox);
	const struct lmdb_search_doc *doc;
	struct lsi_snapshot *snapshot;

	if (index == NULL || lmdb_search_begin(mbox, index, &snapshot) < 0)
		return -1;
	lsi_search_end(index);
	lsi_snapshot_unref(&snapshot);
	*uid_r = 0;
	array_foreach(&mbox->search->docs, doc) {
		if (doc->position == LSI_MISSING && doc->doc.body_id != 0)
			break;
		*uid_r = doc->uid;
	}
	return 0;
}
