/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "str.h"
#include "unichar.h"
#include "mail-namespace.h"
#include "mail-user.h"
#include "mailbox-tree.h"
#include "lmdb-compat.h"
#include "lmdb-error.h"
#include "lmdb-list.h"

/*
 * A namespace with subscriptions=yes also holds the subscriptions of namespaces with subscriptions=no below its
 * prefix, as <prefix><storage name> relative to its own prefix. So the names of src_list are read, and those that
 * belong to dest_list's namespace go to its tree.
 */

struct subscriptions_read {
	struct mailbox_list *src, *dest;
};

/* The storage name that a stored name has in dest's namespace, NULL if it belongs to another one. */
static const char *name_in_namespace(struct mailbox_list *src, struct mailbox_list *dest, const char *name)
{
	const char *full_name = t_strconcat(src->ns->prefix, name, NULL);
	struct mail_namespace *ns = mail_namespace_find_unsubscribable(dest->ns->user->namespaces, full_name);

	if (ns == dest->ns && ns != src->ns) {
		/* the name of the namespace itself has no separator at its end */
		return strlen(full_name) < ns->prefix_len ? "" : full_name + ns->prefix_len;
	}
	if ((ns != NULL && ns != dest->ns && ns->prefix_len > 0) || src != dest)
		return NULL;
	return name;
}

static int subscription_callback(const char *name, void *context)
{
	struct subscriptions_read *read = context;
	bool created;

	T_BEGIN {
		name = name_in_namespace(read->src, read->dest, name);
		if (name != NULL) {
			const char *vname = mailbox_list_get_vname(read->dest, name);

			if (*vname != '\0' && uni_utf8_str_is_valid(vname)) {
				mailbox_tree_get(read->dest->subscriptions, vname, &created)->flags =
					MAILBOX_SUBSCRIBED;
			}
		}
	} T_END;
	return 0;
}

static int read_subscriptions(struct lmdb_list *src, struct mailbox_list *dest, uint64_t *change_r,
			      struct lms_error *error_r)
{
	struct subscriptions_read read = { .src = &src->list, .dest = dest };
	int ret;

	if (lms_read_begin(src->env, error_r) < 0)
		return -1;
	ret = lms_subscription_change(src->env, change_r, error_r);
	if (ret == 0 && (&src->list != dest || !src->subscriptions_read || src->subscription_change != *change_r)) {
		mailbox_tree_clear(dest->subscriptions);
		ret = lms_subscription_scan(src->env, subscription_callback, &read, error_r);
	}
	lms_read_end(src->env);
	return ret;
}

int lmdb_list_subscriptions_refresh(struct mailbox_list *src_list, struct mailbox_list *dest_list)
{
	struct lmdb_list *src = LMDB_LIST(src_list);
	struct lms_error error;
	uint64_t change;

	if (dest_list->subscriptions == NULL)
		dest_list->subscriptions = mailbox_tree_init(mail_namespace_get_sep(dest_list->ns));
	if (lmdb_list_env(src_list) == NULL) {
		mailbox_list_set_internal_error(dest_list);
		return -1;
	}
	if (read_subscriptions(src, dest_list, &change, &error) < 0) {
		lmdb_list_set_error(dest_list, "", &error);
		return -1;
	}
	if (src_list == dest_list) {
		src->subscription_change = change;
		src->subscriptions_read = TRUE;
	}
	return 0;
}

int lmdb_list_set_subscribed(struct mailbox_list *list, const char *name, bool set)
{
	struct lms_request request = {
		.op = LMS_OP_SUBSCRIBE,
		.u.subscribe = { .name = name, .subscribe = set },
	};
	struct lms_reply reply;
	struct lms_error error;

	if (lmdb_list_env(list) == NULL)
		return -1;
	if (lmdb_list_submit(list, &request, &reply, &error) < 0) {
		lmdb_list_set_error(list, mailbox_list_get_vname(list, name), &error);
		return -1;
	}
	return 0;
}
