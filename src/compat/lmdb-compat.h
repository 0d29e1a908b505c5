/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_COMPAT_H
#define LMDB_COMPAT_H

/*
 * The differences between the Dovecot versions that this plugin is built for, so that the rest of src/ is written
 * once. There are five interfaces: 2.3.19 and later 2.3, 2.4.0 and 2.4.1, 2.4.2, 2.4.3 and 2.4.4, 2.4.5 and later.
 */

#include "imap-bodystructure.h"
#include "istream-private.h"
#include "mail-storage-private.h"
#include "mailbox-list-private.h"
#include "mailbox-list-subscriptions.h"
#include "mail-index-private.h"
#include "mail-index-modseq.h"
#include "lmdb-settings.h"

/* Name of the storage class, of the list driver and, in 2.4, of the settings' filter. */
#define LMDB_DRIVER_NAME "lmdb"

/* The storage's answer to autodetection: is there a store at this mail root? */
bool lmdb_storage_is_at(const char *root_dir);

/* What the search index's text depends on: decoding and normal form are Dovecot's. */
#define LMDB_SEARCH_PRODUCER "Dovecot "DOVECOT_VERSION

#if DOVECOT_PREREQ(2,4,0)

/* Settings as the administrator calls them. */
#  define LMDB_ROOT_SETTING "mail_path = <path>"
#  define LMDB_LAYOUT_SETTING "mailbox_list_layout"

#  define lmdb_list_default_root_path mailbox_list_default_get_root_path

static inline bool
lmdb_compat_autodetect(const struct mail_namespace *ns ATTR_UNUSED, const struct mail_storage_settings *set,
		       const char **root_path_r, const char **inbox_path_r ATTR_UNUSED)
{
	if (*set->mail_path == '\0' || !lmdb_storage_is_at(set->mail_path))
		return FALSE;
	*root_path_r = set->mail_path;
	return TRUE;
}

/* Members of the storage, of its vfuncs and of the list's that not all versions have. */
#  define LMDB_STORAGE_COMPAT .set_info = &lmdb_setting_parser_info,
#  define LMDB_STORAGE_VFUNCS_COMPAT .autodetect = lmdb_compat_autodetect,
#  define LMDB_LIST_VFUNCS_COMPAT .get_storage = mailbox_list_default_get_storage,

/* The mail root; "" if there is none. */
static inline const char *lmdb_list_root_dir(const struct mailbox_list *list)
{
	return list->mail_set->mail_path;
}

/* Root of the indexes if it isn't the mail root: "" if they are kept in memory, else NULL. */
static inline const char *lmdb_list_index_dir(const struct mailbox_list *list)
{
	const struct mail_storage_settings *set = list->mail_set;

	if (strcmp(set->mail_index_path, MAIL_INDEX_PATH_MEMORY) == 0)
		return "";
	return *set->mail_index_path == '\0' || strcmp(set->mail_index_path, set->mail_path) == 0 ?
		NULL : set->mail_index_path;
}

/* Have storage names in UTF-8. Returns 0, or -1 if the configuration wants another encoding. */
static inline int lmdb_list_want_utf8(struct mailbox_list *list, const char **error_r)
{
	/* ours is the default of the setting */
	if (list->mail_set->mailbox_list_utf8)
		return 0;
	*error_r = "lmdb keeps mailbox names in UTF-8: remove mailbox_list_utf8 = no";
	return -1;
}

/* Enable MODSEQs in an index that lost its extension for them. */
static inline void lmdb_modseq_enable_anew(struct mail_index *index)
{
	mail_index_modseq_enable(index);
}

/* What a client of the indexer service says first. */
#  define LMDB_INDEXER_HANDSHAKE "VERSION\tindexer-client\t1\t0\n"

/* The status item with the last message that is indexed for searching, of those before the first one that isn't. */
#  define LMDB_STATUS_LAST_INDEXED STATUS_FTS_LAST_INDEXED_UID

static inline void
lmdb_status_set_last_indexed(struct mailbox_status *status, uint32_t seq ATTR_UNUSED, uint32_t uid)
{
	status->fts_last_indexed_uid = uid;
}

#else

#  define LMDB_INDEXER_HANDSHAKE "VERSION\tindexer\t1\t0\n"
#  define LMDB_STATUS_LAST_INDEXED STATUS_LAST_CACHED_SEQ

static inline void
lmdb_status_set_last_indexed(struct mailbox_status *status, uint32_t seq, uint32_t uid ATTR_UNUSED)
{
	/* core has set it to the last one that is in dovecot.index.cache */
	status->last_cached_seq = I_MIN(status->last_cached_seq, seq);
}

#  define LMDB_ROOT_SETTING "mail_location = lmdb:<path>"
#  define LMDB_LAYOUT_SETTING "LAYOUT"

#  define lmdb_list_default_root_path(list, type, path_r) \
	mailbox_list_set_get_root_path(&(list)->set, type, path_r)

static inline void
lmdb_compat_get_list_settings(const struct mail_namespace *ns ATTR_UNUSED, struct mailbox_list_settings *set)
{
	if (set->layout == NULL)
		set->layout = LMDB_DRIVER_NAME;
}

static inline bool lmdb_compat_autodetect(const struct mail_namespace *ns, struct mailbox_list_settings *set)
{
	if (set->root_dir == NULL || !lmdb_storage_is_at(set->root_dir))
		return FALSE;
	lmdb_compat_get_list_settings(ns, set);
	return TRUE;
}

#  define LMDB_STORAGE_COMPAT
#  define LMDB_STORAGE_VFUNCS_COMPAT \
	.get_list_settings = lmdb_compat_get_list_settings, \
	.autodetect = lmdb_compat_autodetect,
#  define LMDB_LIST_VFUNCS_COMPAT

static inline const char *lmdb_list_root_dir(const struct mailbox_list *list)
{
	return list->set.root_dir == NULL ? "" : list->set.root_dir;
}

static inline const char *lmdb_list_index_dir(const struct mailbox_list *list)
{
	return list->set.index_dir;
}

static inline int lmdb_list_want_utf8(struct mailbox_list *list, const char **error_r ATTR_UNUSED)
{
	list->set.utf8 = TRUE;
	return 0;
}

static inline void lmdb_modseq_enable_anew(struct mail_index *index)
{
	/* else it believes that they are there */
	index->modseqs_enabled = FALSE;
	mail_index_modseq_enable(index);
}

#endif

/* BODYSTRUCTURE as every client understands it, as it is kept in the cache. Returns 0, or -1 if the parts are wrong. */
static inline int lmdb_bodystructure_write(const struct message_part *parts, string_t *dest, const char **error_r)
{
#if DOVECOT_PREREQ(2,4,3)
	return imap_bodystructure_write(parts, dest, TRUE, 0, error_r);
#else
	return imap_bodystructure_write(parts, dest, TRUE, error_r);
#endif
}

/* An istream that reads from no other */
static inline struct istream *lmdb_istream_create(struct istream_private *stream)
{
#if DOVECOT_PREREQ(2,4,5)
	return i_stream_create(stream, NULL, -1, ISTREAM_HIDDEN_INPUTS_NONE, 0);
#else
	return i_stream_create(stream, NULL, -1, 0);
#endif
}

/*
 * Who lists the subscribed mailboxes (MAILBOX_LIST_ITER_SELECT_SUBSCRIBED)? Up to 2.4.1 the driver hands out core's
 * iterator for them. From 2.4.2 on the driver lists everything, as if that flag weren't there, and core chooses among
 * it; it sets the flags for subscriptions, too.
 */
#if DOVECOT_PREREQ(2,4,2)

static inline bool lmdb_iter_is_core(enum mailbox_list_iter_flags flags ATTR_UNUSED)
{
	return FALSE;
}

static inline struct mailbox_list_iterate_context *
lmdb_core_iter_init(struct mailbox_list *list ATTR_UNUSED, const char *const *patterns ATTR_UNUSED,
		    enum mailbox_list_iter_flags flags ATTR_UNUSED)
{
	i_unreached();
}

static inline const struct mailbox_info *
lmdb_core_iter_next(struct mailbox_list_iterate_context *ctx ATTR_UNUSED)
{
	i_unreached();
}

static inline int lmdb_core_iter_deinit(struct mailbox_list_iterate_context *ctx ATTR_UNUSED)
{
	i_unreached();
}

static inline void
lmdb_iter_set_subscribed(struct mailbox_list_iterate_context *ctx ATTR_UNUSED, const char *vname ATTR_UNUSED,
			 enum mailbox_info_flags *flags ATTR_UNUSED)
{
}

#else

static inline bool lmdb_iter_is_core(enum mailbox_list_iter_flags flags)
{
	return (flags & MAILBOX_LIST_ITER_SELECT_SUBSCRIBED) != 0;
}

#  define lmdb_core_iter_init mailbox_list_subscriptions_iter_init
#  define lmdb_core_iter_next mailbox_list_subscriptions_iter_next
#  define lmdb_core_iter_deinit mailbox_list_subscriptions_iter_deinit

static inline void
lmdb_iter_set_subscribed(struct mailbox_list_iterate_context *ctx, const char *vname, enum mailbox_info_flags *flags)
{
	if ((ctx->flags & MAILBOX_LIST_ITER_RETURN_SUBSCRIBED) != 0)
		mailbox_list_set_subscription_flags(ctx->list, vname, flags);
}

#endif

#endif
