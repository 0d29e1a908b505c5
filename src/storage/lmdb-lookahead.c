/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "lmdb-compat.h"
#include "lmdb-storage.h"

struct lmdb_lookahead_item {
	struct lms_message message;
	char guid[LMS_GUID_SIZE * 2 + 1];
};

static bool is_plain_guid(const char *guid)
{
	return strlen(guid) == LMS_GUID_SIZE * 2;
}

static int add_item(const struct lms_message *message, void *context)
{
	struct lmdb_lookahead *ahead = context;
	struct lmdb_lookahead_item *item = &ahead->items[ahead->count];

	/* what has more strings is rare, and looked up for itself */
	if (!is_plain_guid(message->guid) || message->pop3_uidl != NULL)
		return 1;
	item->message = *message;
	memcpy(item->guid, message->guid, sizeof(item->guid));
	return ++ahead->count == ahead->want ? 1 : 0;
}

static void give(const struct lms_message *message, char *guid_buffer, struct lms_message *message_r)
{
	*message_r = *message;
	if (is_plain_guid(message->guid)) {
		memcpy(guid_buffer, message->guid, LMS_GUID_SIZE * 2 + 1);
		message_r->guid = guid_buffer;
	}
	message_r->keywords = NULL;
	message_r->keyword_bytes = 0;
}

static bool find(struct lmdb_lookahead *ahead, uint32_t uid, char *guid_buffer, struct lms_message *message_r)
{
	struct lmdb_lookahead_item *item;

	while (ahead->next < ahead->count && ahead->items[ahead->next].message.uid < uid)
		ahead->next++;
	if (ahead->next == ahead->count)
		return FALSE;
	item = &ahead->items[ahead->next];
	if (item->message.uid != uid)
		return FALSE;
	item->message.guid = item->guid;
	give(&item->message, guid_buffer, message_r);
	ahead->used++;
	return TRUE;
}

/* All that was read is used up: read the message and those after it, more of them as long as most are used. */
static int read_more(struct lmdb_mailbox *mbox, uint32_t uid, struct lms_error *error_r)
{
	struct lmdb_lookahead *ahead = &mbox->ahead;

	if (ahead->items == NULL)
		ahead->items = i_new(struct lmdb_lookahead_item, LMDB_LOOKAHEAD_MAX);
	else if (ahead->used * 2 < ahead->want)
		ahead->want = 1;
	ahead->want = I_MIN(ahead->want * 2, LMDB_LOOKAHEAD_MAX);
	ahead->count = ahead->next = ahead->used = 0;
	return lms_message_scan(mbox->env, mbox->folder_id, uid, (uint32_t)-1, add_item, ahead, error_r);
}

int lmdb_lookahead_get(struct lmdb_mailbox *mbox, uint32_t uid, char guid_buffer[LMS_GUID_SIZE * 2 + 1],
		       struct lms_message *message_r, struct lms_error *error_r)
{
	struct lmdb_lookahead *ahead = &mbox->ahead;
	struct lms_message message;
	int ret;

	if (ahead->last_uid != 0 && ahead->last_uid < uid) {
		ahead->last_uid = uid;
		if (find(ahead, uid, guid_buffer, message_r))
			return 1;
		if (ahead->next == ahead->count) {
			if (read_more(mbox, uid, error_r) < 0)
				return -1;
			if (find(ahead, uid, guid_buffer, message_r))
				return 1;
		}
	} else {
		lmdb_lookahead_clear(ahead);
		ahead->last_uid = uid;
	}
	ret = lms_message_get(mbox->env, mbox->folder_id, uid, &message, error_r);
	if (ret > 0)
		give(&message, guid_buffer, message_r);
	return ret;
}

void lmdb_lookahead_clear(struct lmdb_lookahead *ahead)
{
	i_free(ahead->items);
	i_zero(ahead);
	ahead->want = 1;
}
