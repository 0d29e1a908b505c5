/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_LIST_H
#define LMDB_LIST_H

#include "mailbox-list-private.h"
#include "lmdb-settings.h"
#include "lms-folder.h"
#include "lms-request.h"
#include "lsi.h"

struct lmdb_list {
	struct mailbox_list list;
	struct lmdb_settings set;
	/* opened by lmdb_list_env() when it is first needed */
	struct lms_env *env;
	/* opened by lmdb_list_search() when it is first needed */
	struct lsi_index *search;
	/* the fts plugin indexes messages, with decoded attachments, and nobody else */
	bool fts;
	/* lms_subscription_change() that list.subscriptions shows */
	uint64_t subscription_change;
	bool subscriptions_read;
};

/* The store lies in this directory below the mail root. */
#define LMDB_STORE_DIR "store"

#define LMDB_LIST(s) (container_of(s, struct lmdb_list, list))

extern struct mailbox_list lmdb_mailbox_list;

/* The environment of the list's store. Returns NULL, with the list's error set, if it can't be opened. */
struct lms_env *lmdb_list_env(struct mailbox_list *list);
/* Is the plugin of this name (without a number and "_plugin") loaded for mail? */
bool lmdb_have_plugin(const char *name);
/* The search index of the list's store. Returns NULL if there is to be none, or it can't be opened. */
struct lsi_index *lmdb_list_search(struct mailbox_list *list);
/* The components of a storage name, for the store; on the data stack. */
const char *const *lmdb_list_path(struct mailbox_list *list, const char *name);
/* Find what is at a storage name. Returns 1, 0 if there is nothing, -1 with the list's error set. */
int lmdb_list_lookup(struct mailbox_list *list, const char *name, struct lms_node *node_r);
/* lms_submit() with mail_fsync and log lines. Returns 0, or -1 with *error_r set. */
int lmdb_list_submit(struct mailbox_list *list, struct lms_request *request, struct lms_reply *reply_r,
		     struct lms_error *error_r);
/* TRUE if flag changes may wait in a view's journal before they go to the store. */
bool lmdb_list_flags_may_wait(struct mailbox_list *list);

/* lmdb-list-files.c: what lies beside the store */
/* Directory of a folder's files of the given type. Returns 1, or 0 if such files are kept in memory or not at all. */
int lmdb_list_folder_path(struct mailbox_list *list, uint64_t folder_id, enum mailbox_list_path_type type,
			  const char **path_r);
/* Remove the directories that a deleted folder leaves: all they hold is derived, or belonged to that folder alone. Returns 0, or
   -1 with the list's error set. */
int lmdb_list_remove_files(struct mailbox_list *list, uint64_t folder_id);
/* The same for all folders that are none any more: who is killed in the midst of a DELETE leaves files. */
int lmdb_list_remove_leftovers(struct mailbox_list *list);

/* lmdb-list-iter.c: LIST and LSUB */
struct mailbox_list_iterate_context *
lmdb_list_iter_init(struct mailbox_list *list, const char *const *patterns, enum mailbox_list_iter_flags flags);
const struct mailbox_info *lmdb_list_iter_next(struct mailbox_list_iterate_context *ctx);
int lmdb_list_iter_deinit(struct mailbox_list_iterate_context *ctx);

/* lmdb-list-subscriptions.c: SUBSCRIBE, UNSUBSCRIBE */
int lmdb_list_subscriptions_refresh(struct mailbox_list *src_list, struct mailbox_list *dest_list);
int lmdb_list_set_subscribed(struct mailbox_list *list, const char *name, bool set);

/* lmdb-list-notify.c: NOTIFY (RFC 5465) */
int lmdb_list_notify_init(struct mailbox_list *list, enum mailbox_list_notify_event mask,
			  struct mailbox_list_notify **notify_r);
int lmdb_list_notify_next(struct mailbox_list_notify *notify, const struct mailbox_list_notify_rec **rec_r);
void lmdb_list_notify_deinit(struct mailbox_list_notify *notify);
void lmdb_list_notify_wait(struct mailbox_list_notify *notify, void (*callback)(void *context), void *context);
void lmdb_list_notify_flush(struct mailbox_list_notify *notify);

#endif
