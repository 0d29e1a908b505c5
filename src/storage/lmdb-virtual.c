/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "seq-range-array.h"
#include "mail-search.h"
#include "lmdb-compat.h"
#include "lmdb-mail.h"
#include "lmdb-search-args.h"
#include "lmdb-search-docs.h"
#include "lmdb-virtual.h"

/*
 * SEARCH in a mailbox of the virtual plugin. It is made of messages in other mailboxes, and those of one store have one
 * search index, whose documents are bodies, not messages of a mailbox: so one look-up answers for all of them. What the
 * index knows is put into the arguments as lmdb-search.c does; what it doesn't know is decided by core.
 */

struct lmdb_virtual_mailbox {
	union mailbox_module_context module_ctx;
	/* the message that a search is at is one of ours */
	bool at_our_mail;
};

struct lmdb_virtual_mail {
	union mail_module_context module_ctx;
};

/* The answer of one index; more than one only if there are several stores. */
struct lmdb_virtual_answer {
	struct lsi_index *index;
	struct lmdb_search_args *args;
};

struct lmdb_virtual_doc {
	/* of the message in the virtual mailbox */
	uint32_t uid;
	uint32_t position;
	unsigned int answer;
};

struct lmdb_virtual_search {
	union mail_search_module_context module_ctx;
	ARRAY(struct lmdb_virtual_answer) answers;
	/* indexed messages */
	ARRAY(struct lmdb_virtual_doc) docs;
	/* number of the document of each UID, first_uid being the first, plus 1; 0: there is none. UIDs are in no order, and
	   are asked for in another one, so this is much faster than to search; it is memory only where there are UIDs. */
	uint32_t *numbers;
	uint32_t first_uid, uid_count;
	/* the search reads bodies, so that it pays to add them to the index */
	bool have_body;
	bool looked_up;
	/* of the current message; NULL if it isn't indexed */
	const struct lmdb_virtual_doc *doc;
};

#define LMDB_VIRTUAL_CONTEXT(obj) MODULE_CONTEXT(obj, lmdb_virtual_module)
#define LMDB_VIRTUAL_CONTEXT_REQUIRE(obj) MODULE_CONTEXT_REQUIRE(obj, lmdb_virtual_module)
static MODULE_CONTEXT_DEFINE_INIT(lmdb_virtual_module, &mail_storage_module_register);
#define LMDB_VIRTUAL_MAIL_CONTEXT(obj) MODULE_CONTEXT_REQUIRE(obj, lmdb_virtual_mail_module)
static MODULE_CONTEXT_DEFINE_INIT(lmdb_virtual_mail_module, &mail_module_register);

static struct mail_search_context *
virtual_search_init(struct mailbox_transaction_context *t, struct mail_search_args *args,
		    const enum mail_sort_type *sort_program, enum mail_fetch_field wanted_fields,
		    struct mailbox_header_lookup_ctx *wanted_headers)
{
	struct lmdb_virtual_mailbox *vbox = LMDB_VIRTUAL_CONTEXT_REQUIRE(t->box);
	struct mail_search_context *search_ctx =
		vbox->module_ctx.super.search_init(t, args, sort_program, wanted_fields, wanted_headers);
	struct lmdb_virtual_search *search;

	if (!lmdb_search_args_have_text(args->args))
		return search_ctx;
	search = i_new(struct lmdb_virtual_search, 1);
	i_array_init(&search->answers, 1);
	i_array_init(&search->docs, 64);
	search->have_body = lmdb_search_args_have_body(args->args);
	/* prefetching is for mail in files, and would delay decisions */
	search_ctx->max_mails = 1;
	MODULE_CONTEXT_SET(search_ctx, lmdb_virtual_module, search);
	return search_ctx;
}

/* Does the fts plugin look for messages of a mailbox in a backend of its own? Then what it finds counts. */
static bool has_other_fts(struct mailbox *box, const struct mailbox *backend)
{
	struct lmdb_virtual_mailbox *vbox = LMDB_VIRTUAL_CONTEXT_REQUIRE(box);

	return vbox->module_ctx.super.search_next_match_mail != index_storage_search_next_match_mail &&
		!LMDB_LIST(backend->list)->fts;
}

/* The mailboxes of ours that have an index, and messages in the virtual one; on the data stack. */
static void get_boxes(struct mailbox *box, ARRAY_TYPE(mailboxes) *boxes_r)
{
	ARRAY_TYPE(mailboxes) all;
	struct mailbox *backend;

	t_array_init(&all, 64);
	t_array_init(boxes_r, 64);
	box->virtual_vfuncs->get_virtual_backend_boxes(box, &all, TRUE);
	array_foreach_elem(&all, backend) {
		struct lmdb_mailbox *mbox = LMDB_MAILBOX(backend);

		if (lmdb_mailbox_is(backend) && !has_other_fts(box, backend) && lmdb_search_index(mbox) != NULL &&
		    (mbox->folder_id != 0 || lmdb_mailbox_find(mbox) > 0))
			array_push_back(boxes_r, &backend);
	}
}

/* Add the indexed messages of a mailbox, after lmdb_search_begin(). */
static void add_docs(struct lmdb_virtual_search *search, struct mailbox *box, struct lmdb_mailbox *mbox)
{
	const struct lmdb_search_doc *doc;
	struct lmdb_virtual_doc *virtual_doc;
	ARRAY_TYPE(seq_range) uids;
	ARRAY_TYPE(uint32_t) virtual_uids;
	const uint32_t *uid;

	t_array_init(&uids, 64);
	t_array_init(&virtual_uids, array_count(&mbox->search->docs));
	array_foreach(&mbox->search->docs, doc) {
		if (doc->position != LSI_MISSING)
			seq_range_array_add(&uids, doc->uid);
	}
	box->virtual_vfuncs->get_virtual_uid_map(box, &mbox->box, &uids, &virtual_uids);
	/* none if the virtual mailbox doesn't know it any more */
	if (array_count(&virtual_uids) == 0)
		return;
	uid = array_front(&virtual_uids);
	array_foreach(&mbox->search->docs, doc) {
		if (doc->position == LSI_MISSING)
			continue;
		if (*uid != 0) {
			virtual_doc = array_append_space(&search->docs);
			virtual_doc->uid = *uid;
			virtual_doc->position = doc->position;
			virtual_doc->answer = array_count(&search->answers);
		}
		uid++;
	}
}

/* Look up in the index of the first of some mailboxes, for all of them that have this one. */
static void look_up_index(struct lmdb_virtual_search *search, struct mail_search_context *search_ctx,
			  struct mailbox *const *boxes, unsigned int count)
{
	struct lmdb_mailbox *first = LMDB_MAILBOX(boxes[0]);
	struct lmdb_virtual_answer answer = { .index = lmdb_search_index(first) };
	struct lsi_snapshot *snapshot, *same_snapshot;

	if (answer.index == NULL || lmdb_search_begin(first, answer.index, &snapshot) < 0)
		return;
	for (unsigned int i = 0; i < count; i++) {
		struct lmdb_mailbox *mbox = LMDB_MAILBOX(boxes[i]);

		/* all in one snapshot, as the first one is open still */
		if (lmdb_search_index(mbox) != answer.index || lmdb_search_begin(mbox, answer.index, &same_snapshot) < 0)
			continue;
		T_BEGIN {
			add_docs(search, search_ctx->transaction->box, mbox);
		} T_END;
		lsi_search_end(answer.index);
		lsi_snapshot_unref(&same_snapshot);
	}
	answer.args = lmdb_search_args_lookup(first, search_ctx->args->args, TRUE);
	array_push_back(&search->answers, &answer);
	lsi_search_end(answer.index);
	lsi_snapshot_unref(&snapshot);
}

static bool has_answer(const struct lmdb_virtual_search *search, const struct lsi_index *index)
{
	const struct lmdb_virtual_answer *answer;

	array_foreach(&search->answers, answer) {
		if (answer->index == index)
			return TRUE;
	}
	return FALSE;
}

static void number_docs(struct lmdb_virtual_search *search)
{
	const struct lmdb_virtual_doc *doc;
	uint32_t first = (uint32_t)-1, last = 0;

	array_foreach(&search->docs, doc) {
		first = I_MIN(first, doc->uid);
		last = I_MAX(last, doc->uid);
	}
	if (last == 0)
		return;
	search->first_uid = first;
	search->uid_count = last - first + 1;
	search->numbers = i_new(uint32_t, search->uid_count);
	array_foreach(&search->docs, doc)
		search->numbers[doc->uid - first] = array_foreach_idx(&search->docs, doc) + 1;
}

static const struct lmdb_virtual_doc *find_doc(const struct lmdb_virtual_search *search, uint32_t uid)
{
	uint32_t number;

	if (uid < search->first_uid || uid - search->first_uid >= search->uid_count)
		return NULL;
	number = search->numbers[uid - search->first_uid];
	return number == 0 ? NULL : array_idx(&search->docs, number - 1);
}

static void look_up(struct lmdb_virtual_search *search, struct mail_search_context *search_ctx)
{
	ARRAY_TYPE(mailboxes) boxes_array;
	struct mailbox *const *boxes;
	unsigned int count;

	get_boxes(search_ctx->transaction->box, &boxes_array);
	boxes = array_get(&boxes_array, &count);
	for (unsigned int i = 0; i < count; i++) {
		if (!has_answer(search, lmdb_search_index(LMDB_MAILBOX(boxes[i]))))
			look_up_index(search, search_ctx, boxes + i, count - i);
	}
	number_docs(search);
	for (unsigned int i = 0; i < count; i++) {
		/* else it would stay when the mailbox is freed */
		if (!boxes[i]->opened)
			lmdb_search_close(LMDB_MAILBOX(boxes[i]));
	}
}

static void set_result(struct mail_search_arg *arg, struct lmdb_virtual_search *search)
{
	const struct lmdb_virtual_answer *answer = array_idx(&search->answers, search->doc->answer);
	int ret = answer->args == NULL ? -1 : lmdb_search_args_match(answer->args, arg, search->doc->position);

	if (ret >= 0)
		ARG_SET_RESULT(arg, ret);
}

/* Put in what the index knows about the message. Returns FALSE if that makes it not match. */
static bool may_match(struct mail_search_context *search_ctx, struct lmdb_virtual_search *search)
{
	uint32_t uid;

	mail_index_lookup_uid(search_ctx->transaction->view, search_ctx->seq, &uid);
	search->doc = find_doc(search, uid);
	return search->doc == NULL || mail_search_args_foreach(search_ctx->args->args, set_result, search) != 0;
}

static bool virtual_search_next_update_seq(struct mail_search_context *search_ctx)
{
	struct lmdb_virtual_mailbox *vbox = LMDB_VIRTUAL_CONTEXT_REQUIRE(search_ctx->transaction->box);
	struct lmdb_virtual_search *search = LMDB_VIRTUAL_CONTEXT(search_ctx);

	if (search != NULL && !search->looked_up) {
		T_BEGIN {
			look_up(search, search_ctx);
		} T_END;
		search->looked_up = TRUE;
	}
	while (vbox->module_ctx.super.search_next_update_seq(search_ctx)) {
		if (search == NULL)
			return TRUE;
		if (may_match(search_ctx, search)) {
			vbox->at_our_mail = search->doc != NULL;
			return TRUE;
		}
		mail_search_args_reset(search_ctx->args->args, FALSE);
	}
	return FALSE;
}

/* Core has read a message that isn't indexed. */
static void add_to_index(struct mail *mail)
{
	struct lmdb_mailbox *mbox;
	struct mail *backend_mail;

	if (mail_get_backend_mail(mail, &backend_mail) < 0 || !lmdb_mailbox_is(backend_mail->box))
		return;
	mbox = LMDB_MAILBOX(backend_mail->box);
	if (LMDB_MAIL(backend_mail)->imail.data.stream != NULL && lmdb_search_prepare(mbox, FALSE))
		lmdb_search_add(backend_mail);
}

static int virtual_search_next_match_mail(struct mail_search_context *search_ctx, struct mail *mail)
{
	struct lmdb_virtual_mailbox *vbox = LMDB_VIRTUAL_CONTEXT_REQUIRE(search_ctx->transaction->box);
	struct lmdb_virtual_search *search = LMDB_VIRTUAL_CONTEXT(search_ctx);
	int ret = vbox->module_ctx.super.search_next_match_mail(search_ctx, mail);

	if (search != NULL && search->have_body && search->doc == NULL)
		add_to_index(mail);
	return ret;
}

static void flush_boxes(struct mailbox *box)
{
	ARRAY_TYPE(mailboxes) boxes;
	struct mailbox *backend;

	t_array_init(&boxes, 64);
	box->virtual_vfuncs->get_virtual_backend_boxes(box, &boxes, TRUE);
	array_foreach_elem(&boxes, backend) {
		if (lmdb_mailbox_is(backend))
			lmdb_search_flush(LMDB_MAILBOX(backend));
	}
}

static int virtual_search_deinit(struct mail_search_context *search_ctx)
{
	struct lmdb_virtual_mailbox *vbox = LMDB_VIRTUAL_CONTEXT_REQUIRE(search_ctx->transaction->box);
	struct lmdb_virtual_search *search = LMDB_VIRTUAL_CONTEXT(search_ctx);
	struct lmdb_virtual_answer *answer;

	if (search != NULL) {
		T_BEGIN {
			flush_boxes(search_ctx->transaction->box);
		} T_END;
		array_foreach_modifiable(&search->answers, answer)
			lmdb_search_args_free(&answer->args);
		vbox->at_our_mail = FALSE;
		array_free(&search->answers);
		array_free(&search->docs);
		i_free(search->numbers);
		i_free(search);
	}
	return vbox->module_ctx.super.search_deinit(search_ctx);
}

void lmdb_virtual_mailbox_allocated(struct mailbox *box)
{
	struct mailbox_vfuncs *v = box->vlast;
	struct lmdb_virtual_mailbox *vbox;

	if (box->virtual_vfuncs == NULL)
		return;
	vbox = p_new(box->pool, struct lmdb_virtual_mailbox, 1);
	vbox->module_ctx.super = *v;
	box->vlast = &vbox->module_ctx.super;
	v->search_init = virtual_search_init;
	v->search_next_update_seq = virtual_search_next_update_seq;
	v->search_next_match_mail = virtual_search_next_match_mail;
	v->search_deinit = virtual_search_deinit;
	MODULE_CONTEXT_SET(box, lmdb_virtual_module, vbox);
}

/* A search has every message it finds prefetched. That opens the message in its mailbox, and later costs a look at all
   mailboxes of the virtual one, for nothing: ours has no prefetching. */
static bool virtual_mail_prefetch(struct mail *mail)
{
	struct lmdb_virtual_mailbox *vbox = LMDB_VIRTUAL_CONTEXT_REQUIRE(mail->box);
	struct lmdb_virtual_mail *vmail = LMDB_VIRTUAL_MAIL_CONTEXT((struct mail_private *)mail);

	return vbox->at_our_mail || vmail->module_ctx.super.prefetch(mail);
}

void lmdb_virtual_mail_allocated(struct mail *mail)
{
	struct mail_private *pmail = (struct mail_private *)mail;
	struct mail_vfuncs *v = pmail->vlast;
	struct lmdb_virtual_mail *vmail;

	if (mail->box->virtual_vfuncs == NULL)
		return;
	vmail = p_new(pmail->pool, struct lmdb_virtual_mail, 1);
	vmail->module_ctx.super = *v;
	pmail->vlast = &vmail->module_ctx.super;
	v->prefetch = virtual_mail_prefetch;
	MODULE_CONTEXT_SET(pmail, lmdb_virtual_mail_module, vmail);
}
