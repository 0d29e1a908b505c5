/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "istream.h"
#include "net.h"
#include "str.h"
#include "strescape.h"
#include "write-full.h"
#include "lmdb-compat.h"
#include "lmdb-search-docs.h"
#include "lmdb-search-new.h"
#include "lms-message.h"

#define INDEXER_SOCKET "indexer"

/* Have Dovecot's indexer index the folder, as fts_autoindex does. It works later, so nothing is read from it. */
static void ask_indexer(struct mailbox *box)
{
	struct mail_user *user = box->storage->user;
	const char *path = t_strconcat(user->set->base_dir, "/"INDEXER_SOCKET, NULL);
	string_t *request = t_str_new(256);
	int fd = net_connect_unix(path);

	if (fd == -1) {
		e_warning(box->event, "lmdb_search_when = background: Cannot connect to %s: %m "
			  "(new mail is indexed by the next search)", path);
		return;
	}
	str_append(request, LMDB_INDEXER_HANDSHAKE"APPEND\t0\t");
	str_append_tabescaped(request, user->username);
	str_append_c(request, '\t');
	str_append_tabescaped(request, box->vname);
	str_append(request, "\t0\t");
	if (user->session_id != NULL)
		str_append_tabescaped(request, user->session_id);
	str_append_c(request, '\n');
	if (write_full(fd, str_data(request), str_len(request)) < 0)
		e_warning(box->event, "lmdb_search_when = background: Cannot write to %s: %m "
			  "(new mail is indexed by the next search)", path);
	i_close_fd(&fd);
}

/* Returns FALSE if the message is gone already, or can't be looked up. */
static bool get_doc(struct lmdb_mailbox *mbox, uint32_t uid, struct lsi_doc *doc_r)
{
	struct lms_message message;
	struct lms_error error;
	int ret = lms_message_get(mbox->env, mbox->folder_id, uid, &message, &error);

	if (ret < 0)
		e_warning(mbox->box.event, "Cannot index UID %u for searches: %s", uid, error.text);
	if (ret > 0)
		*doc_r = lsi_doc_make(message.body_id, message.guid, message.physical_size);
	return ret > 0;
}

static void add(struct lmdb_mailbox *mbox, uint32_t uid, struct lmdb_spool *spool)
{
	struct istream *input;
	struct lsi_doc doc;

	if (!get_doc(mbox, uid, &doc))
		return;
	input = lmdb_spool_open(spool);
	lmdb_search_add_new(mbox, &doc, input);
	i_stream_unref(&input);
}

void lmdb_search_saved(struct lmdb_mailbox *mbox, const uint32_t *uids, struct lmdb_spool *const *spools,
		       unsigned int count)
{
	const struct lmdb_list *list = LMDB_LIST(mbox->box.list);
	bool with_delivery = strcmp(list->set.search_when, "delivery") == 0;
	unsigned int saved = 0;

	if (strcmp(list->set.search_when, "search") == 0 || list->fts || lmdb_search_index(mbox) == NULL)
		return;
	for (unsigned int i = 0; i < count; i++) {
		if (spools[i] == NULL)
			continue;
		saved++;
		if (with_delivery)
			add(mbox, uids[i], spools[i]);
	}
	if (with_delivery)
		lmdb_search_flush(mbox);
	else if (saved > 0)
		ask_indexer(&mbox->box);
}
