/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "ioloop.h"
#include "mail-user.h"
#include "lmdb-compat.h"
#include "lmdb-attribute.h"
#include "lmdb-error.h"
#include "lms-notify.h"

struct lmdb_transaction {
	struct mailbox_transaction_context t;
	/* NULL until an attribute is changed */
	pool_t pool;
	ARRAY(struct lms_attribute_change) changes;
};

struct lmdb_attribute_iter {
	struct mailbox_attribute_iter iter;
	pool_t pool;
	ARRAY_TYPE(const_string) keys;
	size_t prefix_len;
	unsigned int next;
	bool failed;
};

#define LMDB_TRANSACTION(s) (container_of(s, struct lmdb_transaction, t))

struct mailbox_transaction_context *
lmdb_transaction_begin(struct mailbox *box, enum mailbox_transaction_flags flags, const char *reason)
{
	struct lmdb_transaction *trans = i_new(struct lmdb_transaction, 1);

	index_transaction_init(&trans->t, box, flags, reason);
	return &trans->t;
}

/* Private attributes are the user's, also in somebody else's mailbox. */
static const char *attribute_user(struct mailbox *box, enum mail_attribute_type type_flags)
{
	return (type_flags & MAIL_ATTRIBUTE_TYPE_MASK) == MAIL_ATTRIBUTE_TYPE_PRIVATE ?
		box->storage->user->username : NULL;
}

static int submit_changes(struct lmdb_transaction *trans)
{
	struct lms_request request = { .op = LMS_OP_ATTRIBUTES };
	struct lms_attributes *attributes = &request.u.attributes;
	struct lms_reply reply;
	int ret;

	if (trans->pool == NULL)
		return 0;
	attributes->changes = array_get(&trans->changes, &attributes->count);
	ret = lmdb_mailbox_submit(LMDB_MAILBOX(trans->t.box), &request, &reply);
	pool_unref(&trans->pool);
	return ret;
}

/* Flag changes stay in the journal, so it is not a commit of the store that wakes those who watch the folder. */
static int index_commit(struct mailbox_transaction_context *t, struct mail_transaction_commit_changes *changes_r)
{
	const enum mail_index_transaction_change flag_changes =
		MAIL_INDEX_TRANSACTION_CHANGE_FLAGS | MAIL_INDEX_TRANSACTION_CHANGE_KEYWORDS;
	struct lmdb_mailbox *mbox = LMDB_MAILBOX(t->box);
	int ret = index_transaction_commit(t, changes_r);

	if (ret == 0 && (changes_r->changes_mask & flag_changes) != 0)
		lms_notify_touch(mbox->env, mbox->folder_id);
	return ret;
}

int lmdb_transaction_commit(struct mailbox_transaction_context *t, struct mail_transaction_commit_changes *changes_r)
{
	if (submit_changes(LMDB_TRANSACTION(t)) < 0) {
		index_transaction_rollback(t);
		return -1;
	}
	return index_commit(t, changes_r);
}

void lmdb_transaction_rollback(struct mailbox_transaction_context *t)
{
	pool_unref(&LMDB_TRANSACTION(t)->pool);
	index_transaction_rollback(t);
}

/* Generic attributes are refused unless the configuration allows METADATA. */
static int check_type(struct mailbox *box, enum mail_attribute_type type_flags)
{
	if ((type_flags & MAIL_ATTRIBUTE_TYPE_FLAG_VALIDATED) == 0)
		return 0;
	mail_storage_set_error(box->storage, MAIL_ERROR_NOTPOSSIBLE, "Generic mailbox attributes not enabled");
	return -1;
}

static void add_change(struct lmdb_transaction *trans, enum mail_attribute_type type_flags, const char *key,
		       const char *value, time_t changed)
{
	struct mailbox *box = trans->t.box;
	struct lms_attribute_change *change;

	if (trans->pool == NULL) {
		trans->pool = pool_alloconly_create("lmdb attributes", 512);
		p_array_init(&trans->changes, trans->pool, 4);
	}
	change = array_append_space(&trans->changes);
	change->folder_id = LMDB_MAILBOX(box)->folder_id;
	change->user = p_strdup(trans->pool, attribute_user(box, type_flags));
	change->key = p_strdup(trans->pool, key);
	change->value = p_strdup(trans->pool, value);
	change->size = value == NULL ? 0 : strlen(value);
	change->changed = changed;
}

int lmdb_attribute_set(struct mailbox_transaction_context *t, enum mail_attribute_type type_flags, const char *key,
		       const struct mail_attribute_value *value)
{
	bool pvt = (type_flags & MAIL_ATTRIBUTE_TYPE_MASK) == MAIL_ATTRIBUTE_TYPE_PRIVATE;
	time_t changed = value->last_change != 0 ? value->last_change : ioloop_time;
	const char *str;

	if (check_type(t->box, type_flags) < 0 ||
	    mailbox_attribute_value_to_string(t->box->storage, value, &str) < 0)
		return -1;
	add_change(LMDB_TRANSACTION(t), type_flags, key, str, changed);
	/* dsync finds changes in the index's log */
	if (str != NULL)
		mail_index_attribute_set(t->itrans, pvt, key, changed, strlen(str));
	else
		mail_index_attribute_unset(t->itrans, pvt, key, changed);
	return 0;
}

int lmdb_attribute_get(struct mailbox *box, enum mail_attribute_type type_flags, const char *key,
		       struct mail_attribute_value *value_r)
{
	struct lmdb_mailbox *mbox = LMDB_MAILBOX(box);
	struct lms_error error;
	int64_t changed;
	size_t size;
	void *value;
	int ret;

	i_zero(value_r);
	if (check_type(box, type_flags) < 0 || mailbox_open(box) < 0)
		return -1;
	ret = lms_attribute_get(mbox->env, mbox->folder_id, attribute_user(box, type_flags), key,
				&value, &size, &changed, &error);
	if (ret < 0)
		lmdb_mailbox_set_error(box, &error);
	else if (ret > 0) {
		value_r->value = t_strndup(value, size);
		value_r->last_change = changed;
		free(value);
	}
	return ret;
}

static int attribute_callback(const char *key, void *context)
{
	struct lmdb_attribute_iter *iter = context;

	key = p_strdup(iter->pool, key + iter->prefix_len);
	array_push_back(&iter->keys, &key);
	return 0;
}

static int read_keys(struct lmdb_attribute_iter *iter, enum mail_attribute_type type_flags, const char *prefix)
{
	struct mailbox *box = iter->iter.box;
	struct lmdb_mailbox *mbox = LMDB_MAILBOX(box);
	struct lms_error error;

	if (mailbox_open(box) < 0)
		return -1;
	if (lms_attribute_scan(mbox->env, mbox->folder_id, attribute_user(box, type_flags), prefix,
			       attribute_callback, iter, &error) < 0) {
		lmdb_mailbox_set_error(box, &error);
		return -1;
	}
	return 0;
}

struct mailbox_attribute_iter *
lmdb_attribute_iter_init(struct mailbox *box, enum mail_attribute_type type_flags, const char *prefix)
{
	struct lmdb_attribute_iter *iter;
	pool_t pool = pool_alloconly_create("lmdb attribute iter", 1024);

	iter = p_new(pool, struct lmdb_attribute_iter, 1);
	iter->iter.box = box;
	iter->pool = pool;
	iter->prefix_len = strlen(prefix);
	p_array_init(&iter->keys, pool, 8);
	/* not enabled: nothing to list, as without attributes */
	if ((type_flags & MAIL_ATTRIBUTE_TYPE_FLAG_VALIDATED) == 0)
		iter->failed = read_keys(iter, type_flags, prefix) < 0;
	return &iter->iter;
}

const char *lmdb_attribute_iter_next(struct mailbox_attribute_iter *_iter)
{
	struct lmdb_attribute_iter *iter = container_of(_iter, struct lmdb_attribute_iter, iter);

	return iter->next == array_count(&iter->keys) ? NULL : array_idx_elem(&iter->keys, iter->next++);
}

int lmdb_attribute_iter_deinit(struct mailbox_attribute_iter *_iter)
{
	struct lmdb_attribute_iter *iter = container_of(_iter, struct lmdb_attribute_iter, iter);
	int ret = iter->failed ? -1 : 0;

	pool_unref(&iter->pool);
	return ret;
}
