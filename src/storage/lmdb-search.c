/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "hash.h"
#include "str.h"
#include "mail-search.h"
#include "lmdb-compat.h"
#include "lmdb-mail.h"
#include "lmdb-search-docs.h"
#include "lmdb-search.h"

/*
 * SEARCH. Each argument about text is looked up in the index once, when the search begins. For each message the results
 * that the index knows are then put into the arguments, as core itself does for flags: 1 and 0 where it is sure. An
 * argument without result (the index can only narrow it down, or doesn't have the message) is decided by core, which
 * reads the message. So the answer is always the one that core's search gives.
 *
 * What core has to read that isn't indexed is added to the index on the way.
 */

struct lmdb_search_arg {
	struct mail_search_arg *arg;
	struct lsi_set set;
};

struct lmdb_search_context {
	union mail_search_module_context module_ctx;
	struct lmdb_mailbox *mbox;
	HASH_TABLE(struct mail_search_arg *, struct lmdb_search_arg *) args;
	ARRAY(struct lmdb_search_arg *) all_args;
	/* the search reads bodies, so that it pays to add them to the index */
	bool have_body;
	unsigned int hint;
	/* of the current message */
	const struct lmdb_search_doc *doc;
};

#define LMDB_SEARCH_CONTEXT(obj) MODULE_CONTEXT(obj, lmdb_search_module)
static MODULE_CONTEXT_DEFINE_INIT(lmdb_search_module, &mail_storage_module_register);

static const struct {
	enum mail_search_arg_type type;
	const char *name;
	enum lsi_field field;
} header_fields[] = {
	{ SEARCH_HEADER_COMPRESS_LWSP, "Subject", LSI_SUBJECT },
	{ SEARCH_HEADER_ADDRESS, "From", LSI_FROM },
	{ SEARCH_HEADER_ADDRESS, "To", LSI_TO },
	{ SEARCH_HEADER_ADDRESS, "Cc", LSI_CC },
	{ SEARCH_HEADER_ADDRESS, "Bcc", LSI_BCC },
};

static bool is_header_type(enum mail_search_arg_type type)
{
	return type == SEARCH_HEADER || type == SEARCH_HEADER_ADDRESS || type == SEARCH_HEADER_COMPRESS_LWSP;
}

/* While a search goes through its arguments */
struct lookup {
	struct lmdb_search_context *ctx;
	struct lsi_index *index;
	struct lsi_snapshot *snapshot;
	normalizer_func_t *normalizer;
	struct mail_search_arg *root;
	struct lms_error error;
	bool failed;
};

/* TRUE if there is an argument for the same header field that core brings into another form: it does so for the first
   of them only and uses that for all. */
static bool has_conflict(const struct mail_search_arg *args, const struct mail_search_arg *arg)
{
	for (; args != NULL; args = args->next) {
		if ((args->type == SEARCH_OR || args->type == SEARCH_SUB) ?
		    has_conflict(args->value.subargs, arg) :
		    (is_header_type(args->type) && args->type != arg->type &&
		     strcasecmp(args->hdr_field_name, arg->hdr_field_name) == 0))
			return TRUE;
	}
	return FALSE;
}

/* Returns 1, 0 if the index can tell nothing, -1. */
static int lookup_key(struct lookup *lookup, unsigned int fields, const char *str, struct lsi_set *set_r)
{
	string_t *key = t_str_new(128);

	if (lookup->normalizer(str, strlen(str), key) < 0 || str_len(key) == 0)
		return 0;
	return lsi_lookup(lookup->index, lookup->snapshot, fields, str_data(key), str_len(key), set_r, &lookup->error);
}

static void intersect(struct lsi_set *set, struct lsi_set *other)
{
	for (size_t i = 0; i < set->words; i++)
		set->bits[i] &= other->bits[i];
	set->exact = FALSE;
	lsi_set_free(other);
}

/* HEADER: the message has such a field, and the text is in some header. */
static int lookup_other_header(struct lookup *lookup, const struct mail_search_arg *arg, struct lsi_set *set_r)
{
	const char *name = t_str_ucase(arg->hdr_field_name);
	struct lsi_set set;
	int ret;

	ret = lsi_lookup_whole(lookup->index, lookup->snapshot, LSI_NAME, name, strlen(name), set_r, &lookup->error);
	if (ret <= 0 || *arg->value.str == '\0')
		return ret;
	set_r->exact = FALSE;
	ret = lookup_key(lookup, LSI_FIELD_BIT(LSI_HEADER), arg->value.str, &set);
	if (ret > 0)
		intersect(set_r, &set);
	else if (ret < 0)
		lsi_set_free(set_r);
	return ret < 0 ? -1 : 1;
}

static int lookup_header(struct lookup *lookup, const struct mail_search_arg *arg, struct lsi_set *set_r)
{
	/* core's search for a line end may begin in one message and end in the next */
	if (strpbrk(arg->value.str, "\r\n") != NULL || has_conflict(lookup->root, arg))
		return 0;
	if (*arg->value.str != '\0') {
		for (unsigned int i = 0; i < N_ELEMENTS(header_fields); i++) {
			if (header_fields[i].type == arg->type &&
			    strcasecmp(header_fields[i].name, arg->hdr_field_name) == 0)
				return lookup_key(lookup, LSI_FIELD_BIT(header_fields[i].field), arg->value.str, set_r);
		}
		if (arg->type != SEARCH_HEADER)
			return 0;
	}
	return lookup_other_header(lookup, arg, set_r);
}

static int lookup_arg(struct lookup *lookup, struct mail_search_arg *arg, struct lsi_set *set_r)
{
	switch (arg->type) {
	case SEARCH_BODY:
		lookup->ctx->have_body = TRUE;
		return lookup_key(lookup, LSI_FIELD_BIT(LSI_BODY), arg->value.str, set_r);
	case SEARCH_TEXT:
		lookup->ctx->have_body = TRUE;
		return lookup_key(lookup, LSI_FIELD_BIT(LSI_BODY) | LSI_FIELD_BIT(LSI_HEADER), arg->value.str, set_r);
	case SEARCH_HEADER:
	case SEARCH_HEADER_ADDRESS:
	case SEARCH_HEADER_COMPRESS_LWSP:
		return lookup_header(lookup, arg, set_r);
	default:
		return 0;
	}
}

static void lookup_args(struct lookup *lookup, struct mail_search_arg *args)
{
	struct lmdb_search_arg *search_arg;
	struct lsi_set set;
	int ret;

	for (; args != NULL && !lookup->failed; args = args->next) {
		if (args->type == SEARCH_OR || args->type == SEARCH_SUB) {
			lookup_args(lookup, args->value.subargs);
			continue;
		}
		T_BEGIN {
			ret = lookup_arg(lookup, args, &set);
		} T_END;
		lookup->failed = ret < 0;
		if (ret > 0) {
			search_arg = i_new(struct lmdb_search_arg, 1);
			search_arg->arg = args;
			search_arg->set = set;
			hash_table_insert(lookup->ctx->args, args, search_arg);
			array_push_back(&lookup->ctx->all_args, &search_arg);
		}
	}
}

static void free_args(struct lmdb_search_context *ctx)
{
	struct lmdb_search_arg *arg;

	array_foreach_elem(&ctx->all_args, arg) {
		lsi_set_free(&arg->set);
		i_free(arg);
	}
	array_clear(&ctx->all_args);
	hash_table_clear(ctx->args, FALSE);
}

static bool has_text(const struct mail_search_arg *args)
{
	for (; args != NULL; args = args->next) {
		if (args->type == SEARCH_BODY || args->type == SEARCH_TEXT || is_header_type(args->type) ||
		    ((args->type == SEARCH_OR || args->type == SEARCH_SUB) && has_text(args->value.subargs)))
			return TRUE;
	}
	return FALSE;
}

/* Returns FALSE if the index can't be used. */
static bool run_lookups(struct lmdb_search_context *ctx, struct lsi_index *index, struct mail_search_context *search_ctx)
{
	struct lookup lookup = {
		.ctx = ctx,
		.index = index,
		.normalizer = search_ctx->normalizer,
		.root = search_ctx->args->args,
	};

	if (lmdb_search_begin(ctx->mbox, index, &lookup.snapshot) < 0)
		return FALSE;
	lookup_args(&lookup, lookup.root);
	lsi_search_end(index);
	lsi_snapshot_unref(&lookup.snapshot);
	if (lookup.failed) {
		/* this time without it */
		(void)lmdb_search_handle_error(ctx->mbox, index, &lookup.error);
		free_args(ctx);
		return FALSE;
	}
	return TRUE;
}

static void context_free(struct lmdb_search_context *ctx)
{
	free_args(ctx);
	array_free(&ctx->all_args);
	hash_table_destroy(&ctx->args);
	i_free(ctx);
}

struct mail_search_context *
lmdb_search_init(struct mailbox_transaction_context *t, struct mail_search_args *args,
		 const enum mail_sort_type *sort_program, enum mail_fetch_field wanted_fields,
		 struct mailbox_header_lookup_ctx *wanted_headers)
{
	struct mail_search_context *search_ctx =
		index_storage_search_init(t, args, sort_program, wanted_fields, wanted_headers);
	struct lmdb_mailbox *mbox = LMDB_MAILBOX(t->box);
	struct lmdb_search_context *ctx;
	struct lsi_index *index;

	if (!has_text(args->args) || (index = lmdb_search_index(mbox)) == NULL)
		return search_ctx;
	ctx = i_new(struct lmdb_search_context, 1);
	ctx->mbox = mbox;
	hash_table_create_direct(&ctx->args, default_pool, 0);
	i_array_init(&ctx->all_args, 8);
	if (!run_lookups(ctx, index, search_ctx)) {
		context_free(ctx);
		return search_ctx;
	}
	/* prefetching is for mail in files, and would delay decisions */
	search_ctx->max_mails = 1;
	MODULE_CONTEXT_SET(search_ctx, lmdb_search_module, ctx);
	return search_ctx;
}

int lmdb_search_deinit(struct mail_search_context *search_ctx)
{
	struct lmdb_search_context *ctx = LMDB_SEARCH_CONTEXT(search_ctx);

	if (ctx != NULL)
		context_free(ctx);
	lmdb_search_flush(LMDB_MAILBOX(search_ctx->transaction->box));
	return index_storage_search_deinit(search_ctx);
}

static void set_result(struct mail_search_arg *arg, struct lmdb_search_context *ctx)
{
	const struct lmdb_search_arg *search_arg = hash_table_lookup(ctx->args, arg);

	if (search_arg == NULL)
		return;
	if (!lsi_set_has(&search_arg->set, ctx->doc->position))
		ARG_SET_RESULT(arg, 0);
	else if (search_arg->set.exact)
		ARG_SET_RESULT(arg, 1);
}

/* Put in what the index knows about the message. Returns FALSE if that makes it not match. */
static bool may_match(struct mail_search_context *search_ctx, struct lmdb_search_context *ctx)
{
	uint32_t uid;

	mail_index_lookup_uid(search_ctx->transaction->view, search_ctx->seq, &uid);
	ctx->doc = lmdb_search_doc(ctx->mbox, uid, &ctx->hint);
	if (ctx->doc == NULL || ctx->doc->position == LSI_MISSING || ctx->doc->position == LSI_OPAQUE)
		return TRUE;
	return mail_search_args_foreach(search_ctx->args->args, set_result, ctx) != 0;
}

bool lmdb_search_next_update_seq(struct mail_search_context *search_ctx)
{
	struct lmdb_search_context *ctx = LMDB_SEARCH_CONTEXT(search_ctx);

	while (index_storage_search_next_update_seq(search_ctx)) {
		if (ctx == NULL || may_match(search_ctx, ctx))
			return TRUE;
		mail_search_args_reset(search_ctx->args->args, FALSE);
	}
	return FALSE;
}

int lmdb_search_next_match_mail(struct mail_search_context *search_ctx, struct mail *mail)
{
	struct lmdb_search_context *ctx = LMDB_SEARCH_CONTEXT(search_ctx);
	int ret = index_storage_search_next_match_mail(search_ctx, mail);

	if (ctx != NULL && ctx->have_body && LMDB_MAIL(mail)->imail.data.stream != NULL)
		lmdb_search_add(mail);
	return ret;
}
