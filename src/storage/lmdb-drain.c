/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "lmdb-compat.h"
#include "lmdb-drain.h"
#include "lmdb-error.h"
#include "lmdb-keywords.h"
#include "lmdb-pull.h"

void lmdb_drain_init(struct lmdb_drain *drain, struct lmdb_mailbox *mbox)
{
	drain->mbox = mbox;
	i_array_init(&drain->flags, 32);
	i_array_init(&drain->keywords, 32);
	i_array_init(&drain->expunges, 32);
}

void lmdb_drain_deinit(struct lmdb_drain *drain)
{
	array_free(&drain->flags);
	array_free(&drain->keywords);
	array_free(&drain->expunges);
}

static void collect_flags(struct lmdb_drain *drain, uint32_t uid1, uint32_t uid2, uint8_t add, uint8_t remove)
{
	struct lms_flag_change change = {
		.uid1 = uid1,
		.uid2 = uid2,
		/* the index has flags of its own there too */
		.add = add & LMS_FLAGS_MASK,
		.remove = remove & LMS_FLAGS_MASK,
	};

	if (change.add != 0 || change.remove != 0)
		array_push_back(&drain->flags, &change);
}

static void collect_keyword(struct lmdb_drain *drain, uint32_t uid1, uint32_t uid2, unsigned int idx, bool add)
{
	struct lms_keyword_change change = { .uid1 = uid1, .uid2 = uid2, .keyword = idx, .add = add };

	array_push_back(&drain->keywords, &change);
}

static void collect_expunge(struct lmdb_drain *drain, uint32_t uid1, uint32_t uid2)
{
	struct lms_uid_range range = { .uid1 = uid1, .uid2 = uid2 }, *last;

	if (array_count(&drain->expunges) > 0) {
		last = array_back_modifiable(&drain->expunges);
		if (last->uid2 + 1 == uid1 && uid2 - last->uid1 < LMDB_EXPUNGE_BATCH) {
			last->uid2 = uid2;
			return;
		}
	}
	array_push_back(&drain->expunges, &range);
}

void lmdb_drain_collect(struct lmdb_drain *drain, struct mail_index_sync_ctx *sync)
{
	struct mail_index_sync_rec rec;

	while (mail_index_sync_next(sync, &rec)) {
		switch (rec.type) {
		case MAIL_INDEX_SYNC_TYPE_EXPUNGE:
			collect_expunge(drain, rec.uid1, rec.uid2);
			break;
		case MAIL_INDEX_SYNC_TYPE_FLAGS:
			collect_flags(drain, rec.uid1, rec.uid2, rec.add_flags, rec.remove_flags);
			break;
		case MAIL_INDEX_SYNC_TYPE_KEYWORD_ADD:
		case MAIL_INDEX_SYNC_TYPE_KEYWORD_REMOVE:
			collect_keyword(drain, rec.uid1, rec.uid2, rec.keyword_idx,
					rec.type == MAIL_INDEX_SYNC_TYPE_KEYWORD_ADD);
			break;
		}
	}
}

struct lmdb_differences {
	struct lmdb_drain *drain;
	struct mail_index_view *view;
	struct lmdb_keywords keywords;
	ARRAY_TYPE(keyword_indexes) view_keywords;
};

static bool keyword_indexes_have(const ARRAY_TYPE(keyword_indexes) *indexes, unsigned int idx)
{
	unsigned int other;

	array_foreach_elem(indexes, other) {
		if (other == idx)
			return TRUE;
	}
	return FALSE;
}

/* Collect the keywords that only one of a message's two sets has. */
static void collect_keyword_differences(struct lmdb_drain *drain, uint32_t uid,
					const ARRAY_TYPE(keyword_indexes) *here,
					const ARRAY_TYPE(keyword_indexes) *there, bool add)
{
	unsigned int idx;

	array_foreach_elem(here, idx) {
		if (!keyword_indexes_have(there, idx))
			collect_keyword(drain, uid, uid, idx, add);
	}
}

static int difference_callback(const struct lms_message *message, void *context)
{
	struct lmdb_differences *diff = context;
	const ARRAY_TYPE(keyword_indexes) *keywords = lmdb_keywords_of_message(&diff->keywords, message);
	uint8_t flags;
	uint32_t seq;

	if (!mail_index_lookup_seq(diff->view, message->uid, &seq) ||
	    lmdb_pull_flags_equal(diff->view, seq, message, keywords, &diff->view_keywords))
		return 0;

	flags = mail_index_lookup(diff->view, seq)->flags & MAIL_FLAGS_NONRECENT;
	collect_flags(diff->drain, message->uid, message->uid, flags & ~message->flags, message->flags & ~flags);
	collect_keyword_differences(diff->drain, message->uid, &diff->view_keywords, keywords, TRUE);
	collect_keyword_differences(diff->drain, message->uid, keywords, &diff->view_keywords, FALSE);
	return 0;
}

int lmdb_drain_collect_differences(struct lmdb_drain *drain, struct mail_index_view *view)
{
	struct lmdb_mailbox *mbox = drain->mbox;
	struct lmdb_differences diff = { .drain = drain, .view = view };
	struct lms_error error;
	int ret;

	array_clear(&drain->flags);
	array_clear(&drain->keywords);
	i_array_init(&diff.view_keywords, 32);
	ret = lmdb_keywords_init(&diff.keywords, mbox, &error);
	if (ret == 0) {
		ret = lms_message_scan(mbox->env, mbox->folder_id, 1, (uint32_t)-1, difference_callback, &diff,
				       &error);
	}
	if (ret < 0)
		lmdb_mailbox_set_error(&mbox->box, &error);
	lmdb_keywords_deinit(&diff.keywords);
	array_free(&diff.view_keywords);
	return ret;
}

bool lmdb_drain_is_empty(const struct lmdb_drain *drain)
{
	return array_count(&drain->flags) == 0 && array_count(&drain->keywords) == 0 &&
		!lmdb_drain_has_expunges(drain);
}

bool lmdb_drain_has_expunges(const struct lmdb_drain *drain)
{
	return array_count(&drain->expunges) > 0;
}

/* How many of the expunges from first on fit one request. */
static unsigned int expunge_batch(const struct lmdb_drain *drain, unsigned int first)
{
	const struct lms_uid_range *ranges;
	unsigned int i, count, messages = 0;

	ranges = array_get(&drain->expunges, &count);
	for (i = first; i < count; i++) {
		messages += ranges[i].uid2 - ranges[i].uid1 + 1;
		if (messages > LMDB_EXPUNGE_BATCH && i > first)
			break;
	}
	return i - first;
}

static void expunge_in_view(struct mail_index_view *view, struct mail_index_transaction *trans,
			    const struct lms_uid_range *ranges, unsigned int count)
{
	uint32_t seq, seq1, seq2;

	for (unsigned int i = 0; i < count; i++) {
		if (!mail_index_lookup_seq_range(view, ranges[i].uid1, ranges[i].uid2, &seq1, &seq2))
			continue;
		for (seq = seq1; seq <= seq2; seq++) {
			if (!mail_index_transaction_is_expunged(trans, seq))
				mail_index_expunge(trans, seq);
		}
	}
}

static void moved_on(struct lmdb_view_header *hdr, const struct lms_reply *reply)
{
	if (reply->change_before == hdr->change) {
		hdr->change = reply->folder.change;
		hdr->flag_change = reply->folder.flag_change;
	}
}

int lmdb_drain_submit(struct lmdb_drain *drain, struct mail_index_view *view, struct mail_index_transaction *trans,
		      struct lmdb_view_header *hdr, uint64_t modseq_floor)
{
	const ARRAY_TYPE(keywords) *names = mail_index_get_keywords(drain->mbox->box.index);
	struct lms_request request = {
		.op = LMS_OP_SYNC,
		.u.sync = {
			.folder_id = drain->mbox->folder_id,
			.keyword_names = array_count(names) == 0 ? NULL : array_front(names),
			.keyword_name_count = array_count(names),
			.first_recent_uid = mail_index_get_header(view)->first_recent_uid,
			.modseq_floor = modseq_floor,
		},
	};
	struct lms_sync *sync = &request.u.sync;
	const struct lms_uid_range *expunges;
	struct lms_reply reply;
	unsigned int done = 0, expunge_count;

	sync->flags = array_get(&drain->flags, &sync->flag_count);
	sync->keywords = array_get(&drain->keywords, &sync->keyword_count);
	expunges = array_get(&drain->expunges, &expunge_count);
	do {
		sync->expunges = expunges + done;
		sync->expunge_count = expunge_batch(drain, done);
		if (lmdb_mailbox_submit(drain->mbox, &request, &reply) < 0)
			return -1;
		expunge_in_view(view, trans, sync->expunges, sync->expunge_count);
		moved_on(hdr, &reply);
		done += sync->expunge_count;
		sync->flag_count = sync->keyword_count = 0;
	} while (done < expunge_count);
	return 0;
}
