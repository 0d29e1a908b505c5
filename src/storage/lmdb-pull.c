/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "mail-index-modseq.h"
#include "mailbox-recent-flags.h"
#include "lmdb-compat.h"
#include "lmdb-error.h"
#include "lmdb-keywords.h"
#include "lmdb-pull.h"
#include "lms-message.h"

struct lmdb_pull {
	struct lmdb_mailbox *mbox;
	/* NULL if the view is empty */
	struct mail_index_view *view;
	struct mail_index_transaction *trans;
	struct lms_folder folder;
	struct lmdb_keywords keywords;
	/* \Recent messages are this session's: it is the one that takes the flag from them */
	uint32_t recent_uid;
	/* the view's keywords of one message, reused */
	ARRAY_TYPE(keyword_indexes) view_keywords;
	/* of the appended messages, where the view doesn't keep a MODSEQ for each */
	uint64_t highest_min_modseq;
	/* of the first appended message: after a reset the transaction goes on counting */
	uint32_t first_new_seq;
	/* merge: the view's next message that wasn't compared yet */
	uint32_t next_seq;
	bool gap;
	struct lms_error error;
};

/* Begin a snapshot and read what every pull needs from it. */
static int pull_begin(struct lmdb_pull *pull)
{
	struct lmdb_mailbox *mbox = pull->mbox;
	int ret;

	i_array_init(&pull->view_keywords, 32);
	if (lms_read_begin(mbox->env, &pull->error) < 0) {
		array_free(&pull->view_keywords);
		return -1;
	}
	ret = lms_folder_get(mbox->env, mbox->folder_id, &pull->folder, &pull->error);
	if (ret == 0)
		pull->error.code = LMS_NOTFOUND;
	return lmdb_keywords_init(&pull->keywords, mbox, &pull->error) < 0 || ret <= 0 ? 0 : 1;
}

static int pull_end(struct lmdb_pull *pull, int ret, struct lmdb_view_header *hdr)
{
	struct lmdb_mailbox *mbox = pull->mbox;

	lmdb_keywords_deinit(&pull->keywords);
	array_free(&pull->view_keywords);
	lms_read_end(mbox->env);
	if (ret < 0) {
		if (pull->error.code == LMS_NOTFOUND)
			mailbox_set_deleted(&mbox->box);
		else
			lmdb_mailbox_set_error(&mbox->box, &pull->error);
		return -1;
	}
	lmdb_view_init_header(mbox, &pull->folder, hdr);
	lmdb_view_write_header(mbox, pull->trans, hdr);
	return ret;
}

static void set_keywords(struct lmdb_pull *pull, uint32_t seq, enum modify_type type,
			 const ARRAY_TYPE(keyword_indexes) *indexes)
{
	struct mail_keywords *keywords =
		mail_index_keywords_create_from_indexes(pull->keywords.index, indexes);

	mail_index_update_keywords(pull->trans, seq, type, keywords);
	mail_index_keywords_unref(&keywords);
}

static void set_min_modseq(struct lmdb_pull *pull, uint32_t seq, uint64_t min_modseq)
{
	if (pull->view != NULL && mail_index_have_modseq_tracking(pull->mbox->box.index))
		mail_index_update_modseq(pull->trans, seq, min_modseq);
	else
		pull->highest_min_modseq = I_MAX(pull->highest_min_modseq, min_modseq);
}

static int append_message(const struct lms_message *message, void *context)
{
	struct lmdb_pull *pull = context;
	const ARRAY_TYPE(keyword_indexes) *keywords;
	uint32_t seq;

	mail_index_append(pull->trans, message->uid, &seq);
	if (pull->first_new_seq == 0)
		pull->first_new_seq = seq;
	mail_index_update_flags(pull->trans, seq, MODIFY_REPLACE, message->flags);
	keywords = lmdb_keywords_of_message(&pull->keywords, message);
	if (array_count(keywords) > 0)
		set_keywords(pull, seq, MODIFY_REPLACE, keywords);
	if (message->min_modseq != 0)
		set_min_modseq(pull, seq, message->min_modseq);
	if (message->uid >= pull->recent_uid)
		mailbox_recent_flags_set_uid(&pull->mbox->box, message->uid);
	return 0;
}

/* Whoever takes \Recent from messages takes it from all that are in the snapshot, and nobody gives it back. */
static void update_first_recent(struct lmdb_pull *pull, uint32_t first_recent_uid)
{
	bool drop = (pull->mbox->box.flags & MAILBOX_FLAG_DROP_RECENT) != 0;
	uint32_t uid = drop ? pull->folder.uidnext : pull->folder.first_recent_uid;

	if (uid > first_recent_uid) {
		mail_index_update_header(pull->trans, offsetof(struct mail_index_header, first_recent_uid),
					 &uid, sizeof(uid), FALSE);
	}
}

/* Append what the folder has from first_uid on. */
static int append_messages(struct lmdb_pull *pull, uint32_t first_uid, uint32_t first_recent_uid)
{
	struct lmdb_mailbox *mbox = pull->mbox;
	uint32_t uidnext = pull->folder.uidnext;

	pull->recent_uid = (mbox->box.flags & MAILBOX_FLAG_DROP_RECENT) == 0 ? (uint32_t)-1 :
		I_MAX(first_recent_uid, pull->folder.first_recent_uid);
	if (first_uid < uidnext) {
		if (lms_message_scan(mbox->env, mbox->folder_id, first_uid, uidnext - 1, append_message, pull,
				     &pull->error) < 0)
			return -1;
		/* after the appends, so not prepended */
		mail_index_update_header(pull->trans, offsetof(struct mail_index_header, next_uid),
					 &uidnext, sizeof(uidnext), FALSE);
	}
	if (pull->highest_min_modseq != 0)
		mail_index_update_highest_modseq(pull->trans, pull->highest_min_modseq);
	update_first_recent(pull, first_recent_uid);
	return 0;
}

static void expunge_range(struct lmdb_pull *pull, uint32_t uid1, uint32_t uid2)
{
	uint32_t seq, seq1, seq2;

	if (!mail_index_lookup_seq_range(pull->view, uid1, uid2, &seq1, &seq2))
		return;
	for (seq = seq1; seq <= seq2; seq++) {
		if (!mail_index_transaction_is_expunged(pull->trans, seq))
			mail_index_expunge(pull->trans, seq);
	}
}

bool lmdb_pull_flags_equal(struct mail_index_view *view, uint32_t seq, const struct lms_message *message,
			   const ARRAY_TYPE(keyword_indexes) *message_keywords,
			   ARRAY_TYPE(keyword_indexes) *keywords)
{
	const struct mail_index_record *rec = mail_index_lookup(view, seq);

	mail_index_lookup_keywords(view, seq, keywords);
	return (rec->flags & MAIL_FLAGS_NONRECENT) == message->flags &&
		index_keyword_array_cmp(keywords, message_keywords);
}

static void update_message(struct lmdb_pull *pull, uint32_t seq, const struct lms_message *message)
{
	const ARRAY_TYPE(keyword_indexes) *keywords = lmdb_keywords_of_message(&pull->keywords, message);

	if (lmdb_pull_flags_equal(pull->view, seq, message, keywords, &pull->view_keywords))
		return;
	mail_index_update_flags(pull->trans, seq, MODIFY_REPLACE, message->flags);
	set_keywords(pull, seq, MODIFY_REPLACE, keywords);
}

static int update_message_callback(const struct lms_message *message, void *context)
{
	struct lmdb_pull *pull = context;
	uint32_t seq;

	if (mail_index_lookup_seq(pull->view, message->uid, &seq) &&
	    !mail_index_transaction_is_expunged(pull->trans, seq))
		update_message(pull, seq, message);
	return 0;
}

static int change_callback(enum lms_change_kind kind, uint32_t uid1, uint32_t uid2, void *context)
{
	struct lmdb_pull *pull = context;
	uint32_t next_uid = mail_index_get_header(pull->view)->next_uid;

	if (kind == LMS_CHANGE_EXPUNGE) {
		expunge_range(pull, uid1, uid2);
		return 0;
	}
	/* what the view doesn't have yet comes with its flags */
	if (uid1 >= next_uid)
		return 0;
	return lms_message_scan(pull->mbox->env, pull->mbox->folder_id, uid1, I_MIN(uid2, next_uid - 1),
				update_message_callback, pull, &pull->error);
}

static int pull_changes(struct lmdb_pull *pull, uint64_t after)
{
	const struct mail_index_header *hdr = mail_index_get_header(pull->view);

	if (lms_changes_scan(pull->mbox->env, pull->mbox->folder_id, after, change_callback, pull, &pull->error) < 0)
		return -1;
	return append_messages(pull, hdr->next_uid, hdr->first_recent_uid);
}

int lmdb_pull_changes(struct lmdb_mailbox *mbox, struct mail_index_view *view, struct mail_index_transaction *trans,
		      struct lmdb_view_header *hdr)
{
	struct lmdb_pull pull = { .mbox = mbox, .view = view, .trans = trans };
	int ret = pull_begin(&pull);

	if (ret < 0) {
		lmdb_mailbox_set_error(&mbox->box, &pull.error);
		return -1;
	}
	return pull_end(&pull, ret == 0 ? -1 : pull_changes(&pull, hdr->change), hdr);
}

static int merge_callback(const struct lms_message *message, void *context)
{
	struct lmdb_pull *pull = context;
	uint32_t uid = 0, count = mail_index_view_get_messages_count(pull->view);

	for (; pull->next_seq <= count; pull->next_seq++) {
		mail_index_lookup_uid(pull->view, pull->next_seq, &uid);
		if (uid >= message->uid)
			break;
		expunge_range(pull, uid, uid);
	}
	if (pull->next_seq > count || uid != message->uid) {
		pull->gap = TRUE;
		return 1;
	}
	update_message(pull, pull->next_seq++, message);
	return 0;
}

/* Bring the messages that the view has in line with the store. */
static int merge_messages(struct lmdb_pull *pull)
{
	const struct mail_index_header *hdr = mail_index_get_header(pull->view);

	pull->next_seq = 1;
	if (hdr->next_uid > 1 &&
	    lms_message_scan(pull->mbox->env, pull->mbox->folder_id, 1, hdr->next_uid - 1, merge_callback, pull,
			     &pull->error) < 0)
		return -1;
	if (pull->gap)
		return 0;
	if (pull->next_seq <= hdr->messages_count) {
		uint32_t uid;

		mail_index_lookup_uid(pull->view, pull->next_seq, &uid);
		expunge_range(pull, uid, hdr->next_uid - 1);
	}
	return append_messages(pull, hdr->next_uid, hdr->first_recent_uid) < 0 ? -1 : 1;
}

int lmdb_pull_merge(struct lmdb_mailbox *mbox, struct mail_index_view *view, struct mail_index_transaction *trans,
		    struct lmdb_view_header *hdr)
{
	struct lmdb_pull pull = { .mbox = mbox, .view = view, .trans = trans };
	int ret = pull_begin(&pull);

	if (ret < 0) {
		lmdb_mailbox_set_error(&mbox->box, &pull.error);
		return -1;
	}
	return pull_end(&pull, ret == 0 ? -1 : merge_messages(&pull), hdr);
}

/* Keywords that no message has would be lost with the view: give them to the first message and take them again. */
static void keep_keywords(struct lmdb_pull *pull)
{
	if (array_count(&pull->keywords.numbers) == 0 || pull->folder.messages == 0)
		return;
	set_keywords(pull, pull->first_new_seq, MODIFY_ADD, &pull->keywords.numbers);
	set_keywords(pull, pull->first_new_seq, MODIFY_REMOVE, &pull->keywords.numbers);
}

static int first_message_callback(const struct lms_message *message, void *context)
{
	struct lmdb_pull *pull = context;
	const ARRAY_TYPE(keyword_indexes) *keywords = lmdb_keywords_of_message(&pull->keywords, message);

	keep_keywords(pull);
	if (array_count(keywords) > 0)
		set_keywords(pull, pull->first_new_seq, MODIFY_ADD, keywords);
	return 1;
}

static int pull_all(struct lmdb_pull *pull)
{
	struct lmdb_mailbox *mbox = pull->mbox;
	uint32_t uidvalidity = pull->folder.uidvalidity;

	mail_index_update_header(pull->trans, offsetof(struct mail_index_header, uid_validity),
				 &uidvalidity, sizeof(uidvalidity), TRUE);
	if (append_messages(pull, 1, 1) < 0)
		return -1;
	return lms_message_scan(mbox->env, mbox->folder_id, 1, (uint32_t)-1, first_message_callback, pull,
				&pull->error) < 0 ? -1 : 0;
}

int lmdb_pull_all(struct lmdb_mailbox *mbox, struct mail_index_transaction *trans, struct lmdb_view_header *hdr)
{
	struct lmdb_pull pull = { .mbox = mbox, .trans = trans };
	int ret = pull_begin(&pull);

	if (ret < 0) {
		lmdb_mailbox_set_error(&mbox->box, &pull.error);
		return -1;
	}
	return pull_end(&pull, ret == 0 ? -1 : pull_all(&pull), hdr);
}

static int has_flags_callback(enum lms_change_kind kind, uint32_t uid1 ATTR_UNUSED, uint32_t uid2 ATTR_UNUSED,
			      void *context ATTR_UNUSED)
{
	return kind == LMS_CHANGE_FLAGS ? 1 : 0;
}

int lmdb_pull_has_flags(struct lmdb_mailbox *mbox, const struct lmdb_view_header *hdr)
{
	struct lms_error error;
	int ret = lms_changes_scan(mbox->env, mbox->folder_id, hdr->change, has_flags_callback, NULL, &error);

	if (ret < 0)
		lmdb_mailbox_set_error(&mbox->box, &error);
	return ret;
}
