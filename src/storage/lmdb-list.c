/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "ioloop.h"
#include "str.h"
#include "module-dir.h"
#include "mail-storage-service.h"
#include "mail-storage-private.h"
#include "lmdb-compat.h"
#include "lmdb-error.h"
#include "lmdb-idle.h"
#include "lmdb-list.h"

/* The search index lies in this directory below the mail root. */
#define LMDB_SEARCH_DIR "search"

/* Attribute of a store of which several views exist, as when others reach it by a namespace with its own INDEX: what
   waits in the journal of one of them isn't seen in the others, so nothing may wait there any more. */
#define LMDB_SEVERAL_VIEWS_KEY "lmdb/several-views"

#define LMDB_TEMP_PREFIX "temp."

static struct mailbox_list *lmdb_list_alloc(void)
{
	struct lmdb_list *list;
	pool_t pool = pool_alloconly_create("lmdb list", 2048);

	list = p_new(pool, struct lmdb_list, 1);
	list->list = lmdb_mailbox_list;
	list->list.pool = pool;
	return &list->list;
}

static int lmdb_list_init(struct mailbox_list *_list, const char **error_r)
{
	struct lmdb_list *list = LMDB_LIST(_list);

	if (*lmdb_list_root_dir(_list) == '\0') {
		*error_r = "lmdb needs a directory: set "LMDB_ROOT_SETTING;
		return -1;
	}
	if (lmdb_list_want_utf8(_list, error_r) < 0)
		return -1;
	return lmdb_settings_read(_list, &list->set, error_r);
}

static void lmdb_list_deinit(struct mailbox_list *_list)
{
	struct lmdb_list *list = LMDB_LIST(_list);

	lsi_close(&list->search);
	lmdb_idle_close(&list->env);
	pool_unref(&list->list.pool);
}

static struct lms_env_settings env_settings(struct lmdb_list *list)
{
	struct mailbox_permissions perm;

	mailbox_list_get_root_permissions(&list->list, &perm);
	return (struct lms_env_settings) {
		.flags = (list->set.any_filesystem ? LMS_ENV_ANY_FILESYSTEM : 0) |
			(list->set.compress ? 0 : LMS_ENV_UNCOMPRESSED),
		.dir_mode = perm.dir_create_mode,
		.file_mode = perm.file_create_mode,
		.gid = perm.file_create_gid,
		.grace_secs = list->set.expunge_grace,
	};
}

static int lmdb_list_open_env(struct lmdb_list *list, const char *root, struct lms_error *error_r)
{
	struct lms_env_settings set = env_settings(list);

	return lms_env_open(t_strconcat(root, "/"LMDB_STORE_DIR, NULL), &set, &list->env, error_r);
}

/* Does the list have views of its own, beside those that the store's owner has on disk? */
static bool has_own_views(const struct mailbox_list *list)
{
	const char *index_dir = lmdb_list_index_dir(list);

	return index_dir != NULL && (*index_dir == '\0' || list->ns->type != MAIL_NAMESPACE_TYPE_PRIVATE);
}

/* 1 if the store is marked as having several views, 0 if not, -1 on error. */
static int have_several_views(struct lms_env *env, struct lms_error *error_r)
{
	int64_t changed;
	size_t size;
	void *value;
	int ret = lms_attribute_get(env, 0, NULL, LMDB_SEVERAL_VIEWS_KEY, &value, &size, &changed, error_r);

	if (ret > 0)
		free(value);
	return ret;
}

static int mark_several_views(struct mailbox_list *list, struct lms_error *error_r)
{
	struct lms_attribute_change change = {
		.key = LMDB_SEVERAL_VIEWS_KEY,
		.value = "",
		.changed = ioloop_time,
	};
	struct lms_request request = {
		.op = LMS_OP_ATTRIBUTES,
		.u.attributes = { .changes = &change, .count = 1 },
	};
	struct lms_reply reply;
	int ret = have_several_views(LMDB_LIST(list)->env, error_r);

	return ret != 0 ? ret : lmdb_list_submit(list, &request, &reply, error_r);
}

/* Before anything of it is shown. Who opened it at the same time may have been faster. */
static int use_copy(struct mailbox_list *list, struct lms_error *error_r)
{
	struct lms_request request = { .op = LMS_OP_COPY_MARK };
	struct lms_reply reply;

	return lmdb_list_submit(list, &request, &reply, error_r);
}

bool lmdb_list_flags_may_wait(struct mailbox_list *list)
{
	struct lms_error error;

	return LMDB_LIST(list)->set.flag_delay > 0 &&
		list->mail_set->parsed_fsync_mode != FSYNC_MODE_ALWAYS &&
		have_several_views(LMDB_LIST(list)->env, &error) == 0;
}

struct lms_env *lmdb_list_env(struct mailbox_list *_list)
{
	struct lmdb_list *list = LMDB_LIST(_list);
	struct lms_error error;
	const char *root;

	if (list->env != NULL)
		return list->env;

	root = mailbox_list_get_root_forced(_list, MAILBOX_LIST_PATH_TYPE_DIR);
	if (mailbox_list_mkdir_root(_list, root, MAILBOX_LIST_PATH_TYPE_DIR) < 0)
		return NULL;
	if (lmdb_list_open_env(list, root, &error) < 0) {
		lmdb_list_set_error(_list, "", &error);
		return NULL;
	}
	if (lms_env_is_copy(list->env) && use_copy(_list, &error) < 0) {
		lmdb_list_set_error(_list, "", &error);
		lms_env_close(&list->env);
		return NULL;
	}
	if (has_own_views(_list) && mark_several_views(_list, &error) < 0)
		lmdb_list_set_error(_list, "", &error);
	return list->env;
}

bool lmdb_have_plugin(const char *name)
{
	return module_dir_find(mail_storage_service_modules, name) != NULL;
}

/* Plugins that encrypt mail would not like to see its words beside it. */
static bool may_be_encrypted(void)
{
	return lmdb_have_plugin("mail_crypt") || lmdb_have_plugin("mail_crypt_acl");
}

struct lsi_index *lmdb_list_search(struct mailbox_list *_list)
{
	struct lmdb_list *list = LMDB_LIST(_list);
	struct lms_error error;
	const char *root;

	if (list->search != NULL || strcmp(list->set.search, "no") == 0 || lmdb_list_env(_list) == NULL ||
	    (strcmp(list->set.search, "auto") == 0 && may_be_encrypted()))
		return list->search;

	struct lsi_settings set = {
		.env = env_settings(list),
		/* the one plugin that changes what is decoded */
		.producer = lmdb_have_plugin("charset_alias") ? LMDB_SEARCH_PRODUCER" with charset_alias" : LMDB_SEARCH_PRODUCER,
		.no_sync = _list->mail_set->parsed_fsync_mode == FSYNC_MODE_NEVER,
		.store = list->env,
	};
	root = mailbox_list_get_root_forced(_list, MAILBOX_LIST_PATH_TYPE_DIR);
	if (lsi_open(t_strconcat(root, "/"LMDB_SEARCH_DIR, NULL), &set, &list->search, &error) < 0)
		e_warning(_list->ns->user->event, "Search index: %s", error.text);
	return list->search;
}

const char *const *lmdb_list_path(struct mailbox_list *list, const char *name)
{
	const char sep[] = { mailbox_list_get_hierarchy_sep(list), '\0' };

	return *name == '\0' ? t_new(const char *, 1) : t_strsplit(name, sep);
}

int lmdb_list_lookup(struct mailbox_list *list, const char *name, struct lms_node *node_r)
{
	struct lms_env *env = lmdb_list_env(list);
	struct lms_error error;
	int ret;

	if (env == NULL)
		return -1;
	ret = lms_node_lookup(env, lmdb_list_path(list, name), node_r, &error);
	if (ret < 0)
		lmdb_list_set_error(list, mailbox_list_get_vname(list, name), &error);
	return ret;
}

int lmdb_list_submit(struct mailbox_list *list, struct lms_request *request, struct lms_reply *reply_r,
		     struct lms_error *error_r)
{
	int ret;

	i_assert(LMDB_LIST(list)->env != NULL);

	request->no_sync = list->mail_set->parsed_fsync_mode == FSYNC_MODE_NEVER;
	ret = lms_submit(LMDB_LIST(list)->env, request, reply_r, error_r);
	if (ret == 0 && reply_r->warning[0] != '\0')
		e_warning(list->ns->user->event, "%s", reply_r->warning);
	return ret;
}

/* As lmdb_list_submit(), for requests about the mailbox with a storage name. */
static int list_submit(struct mailbox_list *list, const char *name, struct lms_request *request,
		       struct lms_reply *reply_r)
{
	struct lms_error error;

	if (lmdb_list_env(list) == NULL)
		return -1;
	if (lmdb_list_submit(list, request, reply_r, &error) < 0) {
		lmdb_list_set_error(list, mailbox_list_get_vname(list, name), &error);
		return -1;
	}
	return 0;
}

static char lmdb_list_get_hierarchy_sep(struct mailbox_list *list ATTR_UNUSED)
{
	return '/';
}

static int lmdb_list_get_path(struct mailbox_list *list, const char *name, enum mailbox_list_path_type type,
			      const char **path_r)
{
	struct lms_node node;
	int ret;

	if (name == NULL || *name == '\0')
		return lmdb_list_default_root_path(list, type, path_r) ? 1 : 0;

	ret = lmdb_list_lookup(list, name, &node);
	if (ret < 0)
		return -1;
	if (ret == 0 || node.folder_id == 0) {
		mailbox_list_set_error(list, MAIL_ERROR_NOTFOUND, T_MAILBOX_LIST_ERR_NOT_FOUND(list, name));
		return -1;
	}
	return lmdb_list_folder_path(list, node.folder_id, type, path_r);
}

static const char *lmdb_list_get_temp_prefix(struct mailbox_list *list ATTR_UNUSED, bool global ATTR_UNUSED)
{
	return LMDB_TEMP_PREFIX;
}

static int lmdb_list_delete_mailbox(struct mailbox_list *list, const char *name)
{
	struct lms_node node;
	struct lms_reply reply;
	int ret = lmdb_list_lookup(list, name, &node);

	if (ret < 0)
		return -1;
	if (ret == 0 || node.folder_id == 0) {
		mailbox_list_set_error(list, MAIL_ERROR_NOTFOUND, T_MAILBOX_LIST_ERR_NOT_FOUND(list, name));
		return -1;
	}

	/* the caller has expunged all: what is there now was delivered meanwhile */
	struct lms_request request = {
		.op = LMS_OP_FOLDER_DELETE,
		.u.folder_delete = { .folder_id = node.folder_id, .must_be_empty = TRUE },
	};
	if (list_submit(list, name, &request, &reply) < 0) {
		if (list->error == MAIL_ERROR_EXISTS) {
			mailbox_list_set_error(list, MAIL_ERROR_EXISTS,
					       "New mails were added to mailbox during deletion");
		}
		return -1;
	}
	(void)lmdb_list_remove_files(list, node.folder_id);
	return 0;
}

static int lmdb_list_delete_dir(struct mailbox_list *list, const char *name)
{
	struct lms_request request = {
		.op = LMS_OP_NODE_DELETE,
		.u.node_delete = { .path = lmdb_list_path(list, name) },
	};
	struct lms_reply reply;
	guid_128_t dir_sha128;

	if (list_submit(list, name, &request, &reply) < 0) {
		if (list->error == MAIL_ERROR_EXISTS)
			mailbox_list_set_error(list, MAIL_ERROR_EXISTS, "Mailbox has children, delete them first");
		return -1;
	}
	mailbox_name_get_sha128(mailbox_list_get_vname(list, name), dir_sha128);
	mailbox_list_add_change(list, MAILBOX_LOG_RECORD_DELETE_DIR, dir_sha128);
	return 0;
}

static int lmdb_list_delete_symlink(struct mailbox_list *list, const char *name ATTR_UNUSED)
{
	mailbox_list_set_error(list, MAIL_ERROR_NOTPOSSIBLE, "Not a symlink");
	return -1;
}

static int lmdb_list_rename_mailbox(struct mailbox_list *oldlist, const char *oldname,
				    struct mailbox_list *newlist, const char *newname)
{
	struct lms_reply reply;

	if (lmdb_list_env(oldlist) == NULL || lmdb_list_env(newlist) != LMDB_LIST(oldlist)->env) {
		mailbox_list_set_error(oldlist, MAIL_ERROR_NOTPOSSIBLE, "Can't rename mailboxes across storages.");
		return -1;
	}

	struct lms_request request = {
		.op = LMS_OP_NODE_RENAME,
		.u.node_rename = {
			.path = lmdb_list_path(oldlist, oldname),
			.new_path = lmdb_list_path(newlist, newname),
			/* RFC 3501 6.3.5: INBOX's inferiors stay */
			.folder_only = strcmp(oldname, "INBOX") == 0 &&
				(oldlist->ns->flags & NAMESPACE_FLAG_INBOX_ANY) != 0,
		},
	};
	if (list_submit(oldlist, oldname, &request, &reply) < 0) {
		if (oldlist->error == MAIL_ERROR_EXISTS) {
			mailbox_list_set_error(oldlist, MAIL_ERROR_EXISTS,
					       "Target mailbox already exists");
		}
		return -1;
	}
	return 0;
}

struct mailbox_list lmdb_mailbox_list = {
	.name = LMDB_DRIVER_NAME,
	/* Core's list index can't follow a store that changes without its indexes; the store itself is as fast. */
	.props = MAILBOX_LIST_PROP_NO_ROOT | MAILBOX_LIST_PROP_NO_MAILDIR_NAME | MAILBOX_LIST_PROP_NO_ALT_DIR |
		 MAILBOX_LIST_PROP_AUTOCREATE_DIRS | MAILBOX_LIST_PROP_NO_LIST_INDEX,
	.mailbox_name_max_length = MAILBOX_LIST_NAME_MAX_LENGTH,

	.v = {
		LMDB_LIST_VFUNCS_COMPAT
		.alloc = lmdb_list_alloc,
		.init = lmdb_list_init,
		.deinit = lmdb_list_deinit,
		.get_hierarchy_sep = lmdb_list_get_hierarchy_sep,
		.get_vname = mailbox_list_default_get_vname,
		.get_storage_name = mailbox_list_default_get_storage_name,
		.get_path = lmdb_list_get_path,
		.get_temp_prefix = lmdb_list_get_temp_prefix,
		.iter_init = lmdb_list_iter_init,
		.iter_next = lmdb_list_iter_next,
		.iter_deinit = lmdb_list_iter_deinit,
		.subscriptions_refresh = lmdb_list_subscriptions_refresh,
		.set_subscribed = lmdb_list_set_subscribed,
		.delete_mailbox = lmdb_list_delete_mailbox,
		.delete_dir = lmdb_list_delete_dir,
		.delete_symlink = lmdb_list_delete_symlink,
		.rename_mailbox = lmdb_list_rename_mailbox,
		.notify_init = lmdb_list_notify_init,
		.notify_next = lmdb_list_notify_next,
		.notify_deinit = lmdb_list_notify_deinit,
		.notify_wait = lmdb_list_notify_wait,
		.notify_flush = lmdb_list_notify_flush,
	}
};
