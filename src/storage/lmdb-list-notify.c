/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "ioloop.h"
#include "mail-storage-private.h"
#include "lmdb-compat.h"
#include "lmdb-error.h"
#include "lmdb-list-snapshot.h"
#include "lms-notify.h"

#include <sys/stat.h>

/*
 * NOTIFY: watch the store's notify file, then compare two snapshots of the list. What happened to the flags of a
 * mailbox is found by opening it, but only if its change counter or its journal is another than before.
 */

#define NOTIFY_DELAY_MSECS 500

#define FLAG_EVENTS (MAILBOX_LIST_NOTIFY_SEEN_CHANGES | MAILBOX_LIST_NOTIFY_MODSEQ_CHANGES)

struct lmdb_list_notify {
	struct mailbox_list_notify notify;
	struct lmdb_list_snapshot *snapshot;
	char *path;
	struct stat last_st;

	/* of the last comparison; they live in the snapshot's pool */
	ARRAY(struct mailbox_list_notify_rec) events;
	unsigned int next;
	bool compared;

	void (*wait_callback)(void *context);
	void *wait_context;
	struct io *io;
	struct timeout *to_check, *to_delay;
};

#define LMDB_LIST_NOTIFY(s) (container_of(s, struct lmdb_list_notify, notify))

static void update_stat(struct lmdb_list_notify *lnotify)
{
	if (stat(lnotify->path, &lnotify->last_st) < 0)
		i_zero(&lnotify->last_st);
}

int lmdb_list_notify_init(struct mailbox_list *list, enum mailbox_list_notify_event mask,
			  struct mailbox_list_notify **notify_r)
{
	struct lms_env *env = lmdb_list_env(list);
	struct lmdb_list_notify *lnotify;
	struct lms_error error;
	char *path;

	if (env == NULL)
		return -1;
	if (lms_notify_path(env, 0, &path, &error) < 0) {
		lmdb_list_set_error(list, "", &error);
		return -1;
	}
	lnotify = i_new(struct lmdb_list_notify, 1);
	lnotify->notify.list = list;
	lnotify->notify.mask = mask;
	lnotify->path = path;
	i_array_init(&lnotify->events, 8);
	update_stat(lnotify);
	if (lmdb_list_snapshot_take(list, &lnotify->snapshot) < 0) {
		lmdb_list_notify_deinit(&lnotify->notify);
		return -1;
	}
	*notify_r = &lnotify->notify;
	return 0;
}

void lmdb_list_notify_deinit(struct mailbox_list_notify *notify)
{
	struct lmdb_list_notify *lnotify = LMDB_LIST_NOTIFY(notify);

	lmdb_list_notify_wait(notify, NULL, NULL);
	lmdb_list_snapshot_free(&lnotify->snapshot);
	array_free(&lnotify->events);
	free(lnotify->path);
	i_free(lnotify);
}

static struct mailbox_list_notify_rec *
add_event(struct lmdb_list_notify *lnotify, struct lmdb_list_snapshot *snapshot,
	  const struct lmdb_snapshot_box *box, enum mailbox_list_notify_event events)
{
	struct mailbox_list_notify_rec *rec;

	if ((events & lnotify->notify.mask) == 0)
		return NULL;
	rec = array_append_space(&lnotify->events);
	rec->events = events;
	rec->storage_name = p_strdup(snapshot->pool, box->storage_name);
	rec->vname = p_strdup(snapshot->pool, mailbox_list_get_vname(lnotify->notify.list, box->storage_name));
	memcpy(rec->guid, box->guid, sizeof(rec->guid));
	return rec;
}

static void read_status(struct mailbox_list *list, struct lmdb_snapshot_box *box)
{
	struct mailbox *mailbox = mailbox_alloc(list, mailbox_list_get_vname(list, box->storage_name),
						MAILBOX_FLAG_READONLY);
	struct mailbox_status status;

	/* an error is logged where it happens, and it may be deleted meanwhile */
	if (mailbox_get_status(mailbox, STATUS_UNSEEN | STATUS_HIGHESTMODSEQ, &status) == 0) {
		box->unseen = status.unseen;
		box->highest_modseq = status.highest_modseq;
	}
	mailbox_free(&mailbox);
}

static void compare_box(struct lmdb_list_notify *lnotify, struct lmdb_list_snapshot *snapshot,
			const struct lmdb_snapshot_box *old, struct lmdb_snapshot_box *box)
{
	enum mailbox_list_notify_event events = 0;

	if (old->change == box->change && memcmp(&old->log, &box->log, sizeof(old->log)) == 0) {
		box->unseen = old->unseen;
		box->highest_modseq = old->highest_modseq;
		return;
	}
	if ((lnotify->notify.mask & FLAG_EVENTS) != 0)
		read_status(lnotify->notify.list, box);

	if (old->uidvalidity != box->uidvalidity)
		events |= MAILBOX_LIST_NOTIFY_UIDVALIDITY;
	if (old->uidnext != box->uidnext)
		events |= MAILBOX_LIST_NOTIFY_APPENDS;
	if (old->messages + (box->uidnext - old->uidnext) > box->messages)
		events |= MAILBOX_LIST_NOTIFY_EXPUNGES;
	if (old->unseen != box->unseen)
		events |= MAILBOX_LIST_NOTIFY_SEEN_CHANGES;
	if (old->highest_modseq != box->highest_modseq)
		events |= MAILBOX_LIST_NOTIFY_MODSEQ_CHANGES;
	(void)add_event(lnotify, snapshot, box, events);
}

/* Find what is new, renamed or changed. */
static void compare_boxes(struct lmdb_list_notify *lnotify, struct lmdb_list_snapshot *snapshot)
{
	struct lmdb_list_snapshot *before = lnotify->snapshot;
	struct mailbox_list_notify_rec *rec;
	const struct lmdb_snapshot_box *old;
	struct lmdb_snapshot_box *box;

	array_foreach(&before->boxes, old) {
		if (array_bsearch(&snapshot->boxes, old, lmdb_snapshot_box_cmp) == NULL)
			(void)add_event(lnotify, snapshot, old, MAILBOX_LIST_NOTIFY_DELETE);
	}
	array_foreach_modifiable(&snapshot->boxes, box) T_BEGIN {
		old = array_bsearch(&before->boxes, box, lmdb_snapshot_box_cmp);
		if (old == NULL)
			(void)add_event(lnotify, snapshot, box, MAILBOX_LIST_NOTIFY_CREATE);
		else {
			if (strcmp(old->storage_name, box->storage_name) != 0) {
				rec = add_event(lnotify, snapshot, box, MAILBOX_LIST_NOTIFY_RENAME);
				if (rec != NULL) {
					rec->old_vname = p_strdup(snapshot->pool,
						mailbox_list_get_vname(lnotify->notify.list, old->storage_name));
				}
			}
			compare_box(lnotify, snapshot, old, box);
		}
	} T_END;
}

static void add_subscription_event(struct lmdb_list_notify *lnotify, struct lmdb_list_snapshot *snapshot,
				   const char *vname, enum mailbox_list_notify_event event)
{
	struct lmdb_snapshot_box box = {
		.storage_name = mailbox_list_get_storage_name(lnotify->notify.list, vname),
	};

	(void)add_event(lnotify, snapshot, &box, event);
}

static void compare_subscriptions(struct lmdb_list_notify *lnotify, struct lmdb_list_snapshot *snapshot)
{
	const char *const *old, *const *new;
	unsigned int i = 0, j = 0, old_count, new_count;
	int cmp;

	old = array_get(&lnotify->snapshot->subscriptions, &old_count);
	new = array_get(&snapshot->subscriptions, &new_count);
	while (i < old_count || j < new_count) {
		cmp = i == old_count ? 1 : j == new_count ? -1 : strcmp(old[i], new[j]);
		if (cmp < 0)
			add_subscription_event(lnotify, snapshot, old[i], MAILBOX_LIST_NOTIFY_UNSUBSCRIBE);
		else if (cmp > 0)
			add_subscription_event(lnotify, snapshot, new[j], MAILBOX_LIST_NOTIFY_SUBSCRIBE);
		i += cmp <= 0 ? 1 : 0;
		j += cmp >= 0 ? 1 : 0;
	}
}

static int compare(struct lmdb_list_notify *lnotify)
{
	struct lmdb_list_snapshot *snapshot;

	array_clear(&lnotify->events);
	lnotify->next = 0;
	if (lmdb_list_snapshot_take(lnotify->notify.list, &snapshot) < 0)
		return -1;
	compare_boxes(lnotify, snapshot);
	compare_subscriptions(lnotify, snapshot);
	lmdb_list_snapshot_free(&lnotify->snapshot);
	lnotify->snapshot = snapshot;
	return 0;
}

int lmdb_list_notify_next(struct mailbox_list_notify *notify, const struct mailbox_list_notify_rec **rec_r)
{
	struct lmdb_list_notify *lnotify = LMDB_LIST_NOTIFY(notify);

	if (!lnotify->compared) {
		if (compare(lnotify) < 0)
			return -1;
		lnotify->compared = TRUE;
	}
	if (lnotify->next == array_count(&lnotify->events)) {
		lnotify->compared = FALSE;
		return 0;
	}
	*rec_r = array_idx(&lnotify->events, lnotify->next++);
	return 1;
}

static void notify_now(struct lmdb_list_notify *lnotify)
{
	timeout_remove(&lnotify->to_delay);
	lnotify->wait_callback(lnotify->wait_context);
}

static void check_change(struct lmdb_list_notify *lnotify)
{
	struct stat before = lnotify->last_st;

	if (lnotify->to_delay != NULL)
		return;
	update_stat(lnotify);
	/* several changes are told at once */
	if (ST_CHANGED(lnotify->last_st, before))
		lnotify->to_delay = timeout_add_short(NOTIFY_DELAY_MSECS, notify_now, lnotify);
}

void lmdb_list_notify_wait(struct mailbox_list_notify *notify, void (*callback)(void *context), void *context)
{
	struct lmdb_list_notify *lnotify = LMDB_LIST_NOTIFY(notify);

	lnotify->wait_callback = callback;
	lnotify->wait_context = context;
	if (callback == NULL) {
		io_remove(&lnotify->io);
		timeout_remove(&lnotify->to_check);
		timeout_remove(&lnotify->to_delay);
	} else if (lnotify->to_check == NULL) {
		(void)io_add_notify(lnotify->path, check_change, lnotify, &lnotify->io);
		lnotify->to_check = timeout_add(notify->list->mail_set->mailbox_idle_check_interval * 1000,
						check_change, lnotify);
		check_change(lnotify);
	}
}

void lmdb_list_notify_flush(struct mailbox_list_notify *notify)
{
	struct lmdb_list_notify *lnotify = LMDB_LIST_NOTIFY(notify);

	check_change(lnotify);
	if (lnotify->to_delay != NULL)
		notify_now(lnotify);
}
