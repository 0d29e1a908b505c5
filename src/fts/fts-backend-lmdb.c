/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "str.h"
#include "unichar.h"
#include "mail-namespace.h"
#include "lmdb-compat.h"
#include "lmdb-fts-compat.h"
#include "lmdb-search-docs.h"
#include "lmdb-search-level.h"
#include "fts-lmdb-plugin.h"

/*
 * The fts plugin over the storage's own search index. What a search finds is the storage's answer still, which is
 * exact; so the plugin is never told that a message matches, or doesn't. It adds what only it can:
 *
 * - texts of attachments, from its decoders, which come into the index as a field of their own. A document comes into
 *   the index with all of its fields, so while there is this backend nothing but the plugin has documents indexed;
 * - the waiting for the indexer before a search, and indexing in the background;
 * - relevancy, and doveadm fts.
 */

struct fts_lmdb_update {
	struct fts_backend_update_context ctx;
	/* of the current mailbox; NULL if there is none */
	struct lmdb_mailbox *mbox;
	struct mailbox_transaction_context *trans;
	struct mail *mail;
};

static struct fts_backend *fts_lmdb_alloc(void)
{
	struct fts_backend *backend = i_new(struct fts_backend, 1);

	*backend = fts_backend_lmdb;
	return backend;
}

static bool is_our_list(const struct mailbox_list *list)
{
	return strcmp(list->name, LMDB_DRIVER_NAME) == 0;
}

static int fts_lmdb_init(struct fts_backend *backend, const char **error_r)
{
	struct mailbox_list *list = backend->ns->list;

	if (lmdb_fts_user_init(backend, error_r) < 0)
		return -1;
	/* the setting may hold for other namespaces too, as virtual ones: they are searched as if there were no fts */
	if (is_our_list(list))
		LMDB_LIST(list)->fts = TRUE;
	return 0;
}

static void fts_lmdb_deinit(struct fts_backend *backend)
{
	i_free(backend);
}

static int fts_lmdb_get_last_uid(struct fts_backend *backend ATTR_UNUSED, struct mailbox *box, uint32_t *last_uid_r)
{
	struct mailbox_status status;

	if (lmdb_mailbox_is(box) && lmdb_search_index(LMDB_MAILBOX(box)) != NULL)
		return mailbox_open(box) < 0 ? -1 : lmdb_search_last_indexed(LMDB_MAILBOX(box), last_uid_r);
	/* nothing for the indexer to do */
	if (mailbox_get_status(box, STATUS_UIDNEXT, &status) < 0)
		return -1;
	*last_uid_r = status.uidnext - 1;
	return 0;
}

static struct fts_backend_update_context *fts_lmdb_update_init(struct fts_backend *backend)
{
	struct fts_lmdb_update *update = i_new(struct fts_lmdb_update, 1);

	update->ctx.backend = backend;
	return &update->ctx;
}

static void close_mailbox(struct fts_lmdb_update *update)
{
	if (update->mbox == NULL)
		return;
	lmdb_search_flush(update->mbox);
	if (lmdb_search_has_failed(update->mbox))
		update->ctx.failed = TRUE;
	if (update->mail != NULL) {
		mail_free(&update->mail);
		mailbox_transaction_rollback(&update->trans);
	}
	update->mbox = NULL;
}

static void fts_lmdb_update_set_mailbox(struct fts_backend_update_context *ctx, struct mailbox *box)
{
	struct fts_lmdb_update *update = container_of(ctx, struct fts_lmdb_update, ctx);

	close_mailbox(update);
	if (box != NULL && lmdb_mailbox_is(box))
		update->mbox = LMDB_MAILBOX(box);
}

static int fts_lmdb_update_deinit(struct fts_backend_update_context *ctx)
{
	struct fts_lmdb_update *update = container_of(ctx, struct fts_lmdb_update, ctx);
	bool failed;

	close_mailbox(update);
	failed = update->ctx.failed;
	i_free(update);
	return failed ? -1 : 0;
}

static void fts_lmdb_update_expunge(struct fts_backend_update_context *ctx ATTR_UNUSED, uint32_t uid ATTR_UNUSED)
{
	/* bodies that are gone leave the index when it is merged */
}

/* Begin the message's document, unless mail_precache() has or it is indexed already. */
static bool open_document(struct fts_lmdb_update *update, uint32_t uid)
{
	struct mailbox *box = &update->mbox->box;

	if (lmdb_search_is_open(update->mbox, uid))
		return TRUE;
	if (!lmdb_search_prepare(update->mbox, TRUE))
		return FALSE;
	if (update->mail == NULL) {
		update->trans = mailbox_transaction_begin(box, MAILBOX_TRANSACTION_FLAG_NO_CACHE_DEC, "fts lmdb");
		update->mail = mail_alloc(update->trans, 0, NULL);
	}
	if (mail_set_uid(update->mail, uid))
		lmdb_search_open(update->mail);
	return lmdb_search_is_open(update->mbox, uid);
}

/* Parts of other types have been decoded. These ones are in the index as they are. */
static bool is_searched_without_decoder(const char *content_type)
{
	return strncmp(content_type, "text/", 5) == 0 || strncmp(content_type, "message/", 8) == 0;
}

static bool fts_lmdb_update_set_build_key(struct fts_backend_update_context *ctx,
					  const struct fts_backend_build_key *key)
{
	struct fts_lmdb_update *update = container_of(ctx, struct fts_lmdb_update, ctx);

	return update->mbox != NULL && open_document(update, key->uid) &&
		key->type == FTS_BACKEND_BUILD_KEY_BODY_PART && !is_searched_without_decoder(key->body_content_type);
}

static void fts_lmdb_update_unset_build_key(struct fts_backend_update_context *ctx)
{
	struct fts_lmdb_update *update = container_of(ctx, struct fts_lmdb_update, ctx);

	/* the mailbox may be left with the last key still set */
	if (update->mbox != NULL)
		lmdb_search_attach_break(update->mbox);
}

static int fts_lmdb_update_build_more(struct fts_backend_update_context *ctx, const unsigned char *data, size_t size)
{
	struct fts_lmdb_update *update = container_of(ctx, struct fts_lmdb_update, ctx);

	lmdb_search_attach(update->mbox, data, size);
	return 0;
}

static int fts_lmdb_refresh(struct fts_backend *backend ATTR_UNUSED)
{
	return 0;
}

static int log_error(struct fts_backend *backend, const struct lms_error *error)
{
	e_error(backend->ns->user->event, "fts lmdb: %s", error->text);
	return -1;
}

/* Have everything indexed anew, as for new decoders. */
static int fts_lmdb_rescan(struct fts_backend *backend)
{
	struct mailbox_list *list = backend->ns->list;
	struct lsi_index *index = is_our_list(list) ? lmdb_list_search(list) : NULL;
	struct lms_error error;

	return index == NULL || lsi_remove(index, &error) == 0 ? 0 : log_error(backend, &error);
}

static int fts_lmdb_optimize(struct fts_backend *backend)
{
	struct mailbox_list *list = backend->ns->list;
	struct lsi_index *index = is_our_list(list) ? lmdb_list_search(list) : NULL;
	struct lms_error error;
	int ret;

	if (index == NULL)
		return 0;
	ret = lsi_optimize(index, &error);
	while (ret == 0 && (ret = lsi_maintain(index, &error)) > 0)
		ret = 0;
	return ret < 0 ? log_error(backend, &error) : 0;
}

/* Is there anything to wait for the indexer for? */
static bool fts_lmdb_can_lookup(struct fts_backend *backend, const struct mail_search_arg *args)
{
	struct mail_namespace *ns = backend->ns;
	bool has_index = is_our_list(ns->list) ? lmdb_list_search(ns->list) != NULL :
		strcmp(mail_namespace_get_default_storage(ns)->name, "virtual") == 0;

	return has_index && fts_backend_default_can_lookup(backend, args);
}

static void add_result(uint32_t uid, int match, float score, void *context)
{
	struct fts_result *result = context;
	struct fts_score_map *map;

	seq_range_array_add(match > 0 ? &result->definite_uids : &result->maybe_uids, uid);
	map = array_append_space(&result->scores);
	map->uid = uid;
	map->score = score;
}

/* For doveadm fts lookup and for relevancy only: no argument is marked as used, so that the storage's search decides. */
static int fts_lmdb_lookup(struct fts_backend *backend ATTR_UNUSED, struct mailbox *box, struct mail_search_arg *args,
			   enum fts_lookup_flags flags, struct fts_result *result)
{
	if (!lmdb_mailbox_is(box) || lmdb_search_index(LMDB_MAILBOX(box)) == NULL)
		return 0;
	if (mailbox_open(box) < 0)
		return -1;
	return lmdb_search_level(LMDB_MAILBOX(box), args, (flags & FTS_LOOKUP_FLAG_AND_ARGS) != 0, add_result, result);
}

static void fts_lmdb_lookup_done(struct fts_backend *backend ATTR_UNUSED)
{
}

struct fts_backend fts_backend_lmdb = {
	.name = LMDB_DRIVER_NAME,
	.flags = FTS_BACKEND_FLAG_FUZZY_SEARCH,

	.v = {
		.alloc = fts_lmdb_alloc,
		.init = fts_lmdb_init,
		.deinit = fts_lmdb_deinit,
		.get_last_uid = fts_lmdb_get_last_uid,
		.update_init = fts_lmdb_update_init,
		.update_deinit = fts_lmdb_update_deinit,
		.update_set_mailbox = fts_lmdb_update_set_mailbox,
		.update_expunge = fts_lmdb_update_expunge,
		.update_set_build_key = fts_lmdb_update_set_build_key,
		.update_unset_build_key = fts_lmdb_update_unset_build_key,
		.update_build_more = fts_lmdb_update_build_more,
		.refresh = fts_lmdb_refresh,
		.rescan = fts_lmdb_rescan,
		.optimize = fts_lmdb_optimize,
		.can_lookup = fts_lmdb_can_lookup,
		.lookup = fts_lmdb_lookup,
		.lookup_done = fts_lmdb_lookup_done,
	}
};
