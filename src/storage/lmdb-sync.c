/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "ioloop.h"
#include "mail-index-modseq.h"
#include "mail-transaction-log-private.h"
#include "mailbox-recent-flags.h"
#include "lmdb-compat.h"
#include "lmdb-drain.h"
#include "lmdb-journal.h"
#include "lmdb-pull.h"
#include "lmdb-rebuild.h"
#include "lmdb-status.h"
#include "lmdb-sync.h"
#include "lmdb-view.h"

#include <sys/stat.h>

/*
 * A sync moves changes both ways under the index's sync lock: what waits in the view's journal goes to the store
 * (lmdb-drain), and what the store knows and the view doesn't comes to the view (lmdb-pull).
 *
 * Whoever commits an index sync says that all of the journal has been carried out, so a sync either drains all of it,
 * or, to leave flag changes waiting ("lazy"), commits what it pulled as an external transaction of its own and rolls
 * the sync back.
 */

/* Flag changes needn't wait any longer when the journal has so many bytes: each sync reads it. */
#define JOURNAL_MAX_SIZE (64*1024)
/* A view can be found foreign once, be built anew, and only be overtaken by others after that. */
#define SYNC_MAX_TRIES 5

struct lmdb_sync_context {
	struct lmdb_mailbox *mbox;
	enum lmdb_sync_flags flags;

	struct mail_index_sync_ctx *index_sync;
	struct mail_index_view *view;
	/* of the index sync */
	struct mail_index_transaction *sync_trans;
	/* sync_trans, or a transaction of our own if lazy */
	struct mail_index_transaction *trans;
	bool lazy;

	struct lms_folder folder;
	struct lmdb_view_header hdr;
	enum lmdb_view_state state;
	struct lmdb_drain drain;
	/* all of the view is to be compared */
	bool compare;
};

static bool want_drain(struct lmdb_mailbox *mbox, enum lmdb_sync_flags flags)
{
	struct mailbox *box = &mbox->box;

	return (flags & LMDB_SYNC_FLAG_DRAIN) != 0 || box->deleting ||
		mail_index_is_in_memory(box->index) || lmdb_journal_size(mbox) > JOURNAL_MAX_SIZE ||
		!lmdb_list_flags_may_wait(box->list);
}

static bool want_recent(struct mailbox *box, const struct mail_index_header *hdr)
{
	return (box->flags & MAILBOX_FLAG_DROP_RECENT) != 0 && hdr->first_recent_uid < hdr->next_uid;
}

/* Read first the view, then the folder. */
static int read_state(struct lmdb_sync_context *ctx, struct mail_index_view *view)
{
	(void)lmdb_view_read_header(ctx->mbox, view, &ctx->hdr);
	if (lmdb_mailbox_get_folder(ctx->mbox, &ctx->folder) < 0)
		return -1;
	ctx->state = lmdb_view_compare(ctx->mbox, &ctx->hdr, mail_index_get_header(view), &ctx->folder);
	return 0;
}

/* Is there anything to do that needs the index's lock? 1, 0 or -1. */
static int sync_is_needed(struct lmdb_sync_context *ctx)
{
	struct lmdb_mailbox *mbox = ctx->mbox;
	struct mailbox *box = &mbox->box;
	struct mail_index_view *view;
	const struct mail_index_header *hdr;
	int ret = read_state(ctx, view = mail_index_view_open(box->index));

	if (ret == 0) {
		hdr = mail_index_get_header(view);
		lmdb_journal_scan(mbox);
		ret = ctx->state != LMDB_VIEW_CURRENT || mbox->journal.expunges ||
			(mbox->journal.flags && want_drain(mbox, ctx->flags)) ||
			(ctx->flags & LMDB_SYNC_FLAG_COMPARE) != 0 || box->deleting ||
			want_recent(box, hdr) || (hdr->flags & MAIL_INDEX_HDR_FLAG_FSCKD) != 0 ? 1 : 0;
	}
	mail_index_view_close(&view);
	return ret;
}

/* Flag changes may wait if they are all there is, and if nothing that is pulled could be about the same flags. */
static int decide_lazy(struct lmdb_sync_context *ctx)
{
	int ret = 0;

	ctx->lazy = FALSE;
	if (lmdb_drain_is_empty(&ctx->drain) || lmdb_drain_has_expunges(&ctx->drain) || ctx->compare ||
	    want_drain(ctx->mbox, ctx->flags))
		return 0;
	if (ctx->state == LMDB_VIEW_BEHIND) {
		if (ctx->hdr.change < ctx->folder.changes_since)
			return 0;
		ret = lmdb_pull_has_flags(ctx->mbox, &ctx->hdr);
	}
	ctx->lazy = ret == 0;
	return ret < 0 ? -1 : 0;
}

/* The floor that a commit should take along, 0 if the present one does. */
static uint64_t wanted_floor(struct lmdb_mailbox *mbox, const struct lms_folder *folder, uint64_t reserve_min)
{
	struct mail_index *index = mbox->box.index;
	uint64_t highest;

	if (mail_index_is_in_memory(index))
		return 0;
	highest = mail_index_map_modseq_get_highest(index->map);
	/* in a folder that never had a message there is nothing to miss */
	if (folder->uidnext == 1 && highest <= 1)
		return 0;
	return highest + reserve_min <= folder->modseq_floor ? 0 : highest + LMDB_MODSEQ_RESERVE;
}

static int drain(struct lmdb_sync_context *ctx)
{
	if (ctx->compare) {
		/* The journal can't be trusted. The view's flags can if it has seen all of the store's, else the
		   store's win. */
		if (ctx->hdr.flag_change == ctx->folder.flag_change) {
			if (lmdb_drain_collect_differences(&ctx->drain, ctx->view) < 0)
				return -1;
		} else {
			array_clear(&ctx->drain.flags);
			array_clear(&ctx->drain.keywords);
		}
	}
	if (ctx->lazy || lmdb_drain_is_empty(&ctx->drain))
		return 0;
	if (lmdb_drain_submit(&ctx->drain, ctx->view, ctx->trans, &ctx->hdr,
			      wanted_floor(ctx->mbox, &ctx->folder, LMDB_MODSEQ_RESERVE / 2)) < 0 ||
	    lmdb_mailbox_get_folder(ctx->mbox, &ctx->folder) < 0)
		return -1;
	lmdb_view_write_header(ctx->mbox, ctx->trans, &ctx->hdr);
	return 0;
}

/* Returns 1, 0 if the view has to be built anew, or -1. */
static int pull(struct lmdb_sync_context *ctx)
{
	if (ctx->compare || ctx->hdr.change < ctx->folder.changes_since)
		return lmdb_pull_merge(ctx->mbox, ctx->view, ctx->trans, &ctx->hdr);
	if (ctx->hdr.change == ctx->folder.change &&
	    mail_index_get_header(ctx->view)->next_uid == ctx->folder.uidnext)
		return 1;
	return lmdb_pull_changes(ctx->mbox, ctx->view, ctx->trans, &ctx->hdr) < 0 ? -1 : 1;
}

/* \Recent of what the view already has: this session gets it, and if lazy no index sync takes it from the messages. */
static void take_recent(struct lmdb_sync_context *ctx)
{
	struct mailbox *box = &ctx->mbox->box;
	const struct mail_index_header *hdr = mail_index_get_header(ctx->view);
	uint32_t seq1, seq2;

	if ((box->flags & MAILBOX_FLAG_DROP_RECENT) == 0)
		return;
	if (mail_index_lookup_seq_range(ctx->view, hdr->first_recent_uid, hdr->next_uid, &seq1, &seq2))
		mailbox_recent_flags_set_seqs(box, ctx->view, seq1, seq2);
	if (ctx->lazy && hdr->first_recent_uid < hdr->next_uid) {
		mail_index_update_header(ctx->trans, offsetof(struct mail_index_header, first_recent_uid),
					 &hdr->next_uid, sizeof(hdr->next_uid), FALSE);
	}
}

/* Returns 1, 0 if the view has to be built anew, or -1. */
static int bring_in_line(struct lmdb_sync_context *ctx)
{
	int ret;

	lmdb_drain_collect(&ctx->drain, ctx->index_sync);
	if (decide_lazy(ctx) < 0)
		return -1;
	ctx->trans = !ctx->lazy ? ctx->sync_trans :
		mail_index_transaction_begin(ctx->view, MAIL_INDEX_TRANSACTION_FLAG_EXTERNAL |
					     MAIL_INDEX_TRANSACTION_FLAG_AVOID_FLAG_UPDATES);
	take_recent(ctx);
	if (drain(ctx) < 0)
		return -1;
	ret = pull(ctx);
	if (ret > 0 && ctx->compare)
		mail_index_unset_fscked(ctx->trans);
	return ret;
}

static void notify_expunges(struct lmdb_sync_context *ctx)
{
	struct mailbox *box = &ctx->mbox->box;
	const struct lms_uid_range *range;

	box->tmp_sync_view = ctx->view;
	array_foreach(&ctx->drain.expunges, range) {
		for (uint32_t uid = range->uid1; uid <= range->uid2; uid++)
			mailbox_sync_notify(box, uid, MAILBOX_SYNC_TYPE_EXPUNGE);
	}
	mailbox_sync_notify(box, 0, 0);
	box->tmp_sync_view = NULL;
}

static int finish(struct lmdb_sync_context *ctx, int ret)
{
	struct mailbox *box = &ctx->mbox->box;

	if (ret > 0 && !ctx->lazy) {
		mail_index_view_ref(ctx->view);
		if (mail_index_sync_commit(&ctx->index_sync) < 0) {
			mailbox_set_index_error(box);
			ret = -1;
		} else if (lmdb_drain_has_expunges(&ctx->drain))
			notify_expunges(ctx);
		mail_index_view_close(&ctx->view);
		return ret;
	}
	if (ret > 0) {
		if (mail_index_transaction_commit(&ctx->trans) < 0) {
			mailbox_set_index_error(box);
			ret = -1;
		}
	} else if (ctx->lazy && ctx->trans != NULL)
		mail_index_transaction_rollback(&ctx->trans);
	mail_index_sync_rollback(&ctx->index_sync);
	/* a commit inside a sync leaves that to the sync's commit */
	if (ret > 0)
		(void)mail_index_refresh(box->index);
	return ret;
}

static int sync_begin(struct lmdb_sync_context *ctx)
{
	struct mailbox *box = &ctx->mbox->box;
	enum mail_index_sync_flags flags = index_storage_get_sync_flags(box) |
		MAIL_INDEX_SYNC_FLAG_AVOID_FLAG_UPDATES;
	int ret = index_storage_expunged_sync_begin(box, &ctx->index_sync, &ctx->view, &ctx->sync_trans, flags);

	/* 0 is only for a sync that requires changes */
	return ret < 0 ? -1 : 0;
}

/* Returns 1 if view and store are in line, 0 if another try is needed, or -1. */
static int sync_locked(struct lmdb_sync_context *ctx)
{
	struct mailbox *box = &ctx->mbox->box;
	int ret;

	if (sync_begin(ctx) < 0)
		return -1;
	ctx->compare = mail_index_reset_fscked(box->index) || (ctx->flags & LMDB_SYNC_FLAG_COMPARE) != 0 ||
		(mail_index_get_header(ctx->view)->flags & MAIL_INDEX_HDR_FLAG_FSCKD) != 0;
	ctx->trans = NULL;
	ctx->lazy = FALSE;

	lmdb_drain_init(&ctx->drain, ctx->mbox);
	ret = read_state(ctx, ctx->view);
	if (ret == 0 && (ctx->state == LMDB_VIEW_CURRENT || ctx->state == LMDB_VIEW_BEHIND)) {
		ret = bring_in_line(ctx);
		if (ret == 0)
			ctx->state = LMDB_VIEW_FOREIGN;
	}
	ret = finish(ctx, ret);
	lmdb_drain_deinit(&ctx->drain);
	index_storage_expunging_deinit(box);

	if (ret == 0 && ctx->state == LMDB_VIEW_AHEAD)
		ret = lmdb_rebuild_new_epoch(ctx->mbox);
	if (ret == 0)
		ret = lmdb_rebuild(ctx->mbox);
	return ret;
}

static void flag_timeout(struct lmdb_mailbox *mbox)
{
	/* the index can't be synced under a transaction's feet */
	if (mbox->box.transaction_count > 0)
		return;
	timeout_remove(&mbox->to_flags);
	(void)lmdb_sync(mbox, LMDB_SYNC_FLAG_DRAIN);
}

static void update_timeout(struct lmdb_mailbox *mbox)
{
	lmdb_journal_scan(mbox);
	if (!mbox->journal.flags)
		timeout_remove(&mbox->to_flags);
	else if (mbox->to_flags == NULL) {
		mbox->to_flags = timeout_add(LMDB_LIST(mbox->box.list)->set.flag_delay * 1000,
					     flag_timeout, mbox);
	}
}

/* Which messages aren't \Recent any more is known to the index; one in memory is gone with the session. */
static uint32_t wanted_first_recent(struct lmdb_mailbox *mbox, const struct lms_folder *folder)
{
	struct mail_index *index = mbox->box.index;
	uint32_t uid;

	if (!mail_index_is_in_memory(index))
		return 0;
	uid = index->map->hdr.first_recent_uid;
	return uid > folder->first_recent_uid ? uid : 0;
}

/* Commit a larger MODSEQ floor before anything above the present one is sent. On a full disk this fails, and mail must
   be readable all the same: then, if the index is lost too, a client may miss changes. The log has said so. */
static void update_record(struct lmdb_mailbox *mbox, const struct lms_folder *folder)
{
	struct lms_request request = {
		.op = LMS_OP_SYNC,
		.u.sync = {
			.folder_id = mbox->folder_id,
			.first_recent_uid = wanted_first_recent(mbox, folder),
			.modseq_floor = wanted_floor(mbox, folder, LMDB_MODSEQ_RESERVE_MIN),
		},
	};
	struct lms_reply reply;

	if (request.u.sync.first_recent_uid != 0 || request.u.sync.modseq_floor != 0)
		(void)lmdb_mailbox_submit(mbox, &request, &reply);
}

int lmdb_sync(struct lmdb_mailbox *mbox, enum lmdb_sync_flags flags)
{
	struct lmdb_sync_context ctx = { .mbox = mbox, .flags = flags };
	struct mailbox *box = &mbox->box;
	int ret = 0;

	lmdb_lookahead_clear(&mbox->ahead);
	/* opened for saving only: the view is never pulled */
	if ((box->flags & MAILBOX_FLAG_SAVEONLY) != 0)
		return 0;
	(void)mail_index_refresh(box->index);
	lmdb_journal_cut(mbox);
	for (unsigned int tries = 0; ret == 0; tries++) {
		ret = sync_is_needed(&ctx);
		if (ret == 0)
			break;
		if (tries == SYNC_MAX_TRIES) {
			mailbox_set_critical(box, "lmdb: The index keeps differing from the store; "
					     "delete it (%s), it is built anew", box->index->filepath);
			return -1;
		}
		if (ret > 0)
			ret = sync_locked(&ctx);
	}
	if (ret < 0)
		return -1;
	update_timeout(mbox);
	update_record(mbox, &ctx.folder);
	return 0;
}

/* Has the journal not been deleted (and perhaps made anew by others) while the mailbox was open? */
static bool journal_is_there(struct mail_index *index, struct stat *st_r)
{
	return stat(t_strconcat(index->filepath, ".log", NULL), st_r) == 0 && index->log->head != NULL &&
		index->log->head->st_ino == st_r->st_ino;
}

/* Who only looks into a mailbox (STATUS, EXAMINE) needn't bring others' recent flag changes to the store. */
static bool leaves_flags(struct lmdb_mailbox *mbox, const struct stat *st)
{
	struct mailbox *box = &mbox->box;

	return (box->flags & MAILBOX_FLAG_READONLY) != 0 && !mbox->journal.expunges &&
		lmdb_list_flags_may_wait(box->list) &&
		st->st_mtime + (time_t)LMDB_LIST(box->list)->set.flag_delay > ioloop_time;
}

static void drain_at_close(struct lmdb_mailbox *mbox)
{
	struct mail_index *index = mbox->box.index;
	struct stat st;

	(void)mail_index_refresh(index);
	/* what waits in an index in memory was drained at once, and what was deleted is lost */
	if (mail_index_is_in_memory(index) || !journal_is_there(index, &st))
		return;
	lmdb_journal_scan(mbox);
	if (mbox->journal.flags || mbox->journal.expunges) {
		/* what can't be drained now stays in the journal for the next session */
		if (leaves_flags(mbox, &st) || lmdb_sync(mbox, LMDB_SYNC_FLAG_DRAIN) < 0)
			return;
		lmdb_journal_scan(mbox);
	}
	if (!mbox->journal.flags && !mbox->journal.expunges)
		lmdb_status_write(mbox);
}

/* Closing reports no error, and imap's MOVE sends the text of an earlier one after it: that must stay where it is. */
static void drain_keeping_error(struct lmdb_mailbox *mbox)
{
	struct mail_storage *storage = mbox->box.storage;
	char *error_string = storage->error_string;
	enum mail_error error = storage->error;

	storage->error_string = NULL;
	drain_at_close(mbox);
	i_free(storage->error_string);
	storage->error_string = error_string;
	storage->error = error;
}

void lmdb_sync_close(struct lmdb_mailbox *mbox)
{
	struct mailbox *box = &mbox->box;

	timeout_remove(&mbox->to_flags);
	if (box->view != NULL && !box->mailbox_deleted && !mail_index_is_deleted(box->index) &&
	    (box->flags & MAILBOX_FLAG_SAVEONLY) == 0)
		drain_keeping_error(mbox);
	timeout_remove(&mbox->to_flags);
	i_zero(&mbox->journal);
}

/* A mailbox that was renamed ends its sessions, as with Dovecot's own formats: core takes a session's selected mailbox
   for the one that now has the name. */
static int check_name(struct lmdb_mailbox *mbox)
{
	struct mailbox *box = &mbox->box;
	struct lms_node node;
	int ret;

	if (box->deleting || (box->flags & MAILBOX_FLAG_SAVEONLY) != 0)
		return 0;
	T_BEGIN {
		ret = lmdb_list_lookup(box->list, box->name, &node);
	} T_END;
	if (ret < 0) {
		mail_storage_copy_list_error(box->storage, box->list);
		return -1;
	}
	if (ret > 0 && node.folder_id == mbox->folder_id)
		return 0;
	/* a deleted mailbox isn't synced when it is closed */
	(void)lmdb_sync(mbox, LMDB_SYNC_FLAG_DRAIN);
	mailbox_set_deleted(box);
	return -1;
}

struct mailbox_sync_context *lmdb_sync_init(struct mailbox *box, enum mailbox_sync_flags flags)
{
	enum lmdb_sync_flags sync_flags = 0;
	int ret = check_name(LMDB_MAILBOX(box));

	if ((flags & MAILBOX_SYNC_FLAG_FORCE_RESYNC) != 0)
		sync_flags |= LMDB_SYNC_FLAG_DRAIN | LMDB_SYNC_FLAG_COMPARE;
	if (ret == 0)
		ret = lmdb_sync(LMDB_MAILBOX(box), sync_flags);
	return index_mailbox_sync_init(box, flags, ret < 0);
}
