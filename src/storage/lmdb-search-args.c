/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "hash.h"
#include "str.h"
#include "lmdb-compat.h"
#include "lmdb-search-args.h"
#include "lmdb-search-docs.h"

#include <math.h>

struct lmdb_search_arg {
	struct lsi_set text;
	/* the same for the decoded attachments of messages, if they are looked at */
	struct lsi_set attached;
};

struct lmdb_search_args {
	HASH_TABLE(const struct mail_search_arg *, struct lmdb_search_arg *) args;
	ARRAY(struct lmdb_search_arg *) all_args;
};

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

struct lookup {
	struct lmdb_search_args *args;
	struct lsi_index *index;
	struct lsi_snapshot *snapshot;
	normalizer_func_t *normalizer;
	struct mail_search_arg *root;
	struct lms_error error;
	bool subargs, attachments, failed;
};

static bool is_body(const struct mail_search_arg *arg)
{
	return arg->type == SEARCH_BODY || arg->type == SEARCH_TEXT;
}

bool lmdb_search_args_is_text(const struct mail_search_arg *arg)
{
	return is_body(arg) || is_header_type(arg->type);
}

static bool have(const struct mail_search_arg *args, bool (*wanted)(const struct mail_search_arg *arg))
{
	for (; args != NULL; args = args->next) {
		if ((args->type == SEARCH_OR || args->type == SEARCH_SUB) ? have(args->value.subargs, wanted) : wanted(args))
			return TRUE;
	}
	return FALSE;
}

bool lmdb_search_args_have_text(const struct mail_search_arg *args)
{
	return have(args, lmdb_search_args_is_text);
}

bool lmdb_search_args_have_body(const struct mail_search_arg *args)
{
	return have(args, is_body);
}

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

static int lookup_arg(struct lookup *lookup, const struct mail_search_arg *arg, struct lsi_set *set_r)
{
	switch (arg->type) {
	case SEARCH_BODY:
		return lookup_key(lookup, LSI_FIELD_BIT(LSI_BODY), arg->value.str, set_r);
	case SEARCH_TEXT:
		return lookup_key(lookup, LSI_FIELD_BIT(LSI_BODY) | LSI_FIELD_BIT(LSI_HEADER), arg->value.str, set_r);
	case SEARCH_HEADER:
	case SEARCH_HEADER_ADDRESS:
	case SEARCH_HEADER_COMPRESS_LWSP:
		return lookup_header(lookup, arg, set_r);
	default:
		return 0;
	}
}

static void add_arg(struct lookup *lookup, const struct mail_search_arg *arg)
{
	struct lmdb_search_arg *search_arg;
	struct lsi_set text, attached = { .bits = NULL };
	int ret = lookup_arg(lookup, arg, &text);

	if (ret > 0 && lookup->attachments && is_body(arg) &&
	    lookup_key(lookup, LSI_FIELD_BIT(LSI_ATTACHMENT), arg->value.str, &attached) < 0) {
		lsi_set_free(&text);
		ret = -1;
	}
	lookup->failed = ret < 0;
	if (ret <= 0)
		return;
	search_arg = i_new(struct lmdb_search_arg, 1);
	search_arg->text = text;
	search_arg->attached = attached;
	hash_table_insert(lookup->args->args, arg, search_arg);
	array_push_back(&lookup->args->all_args, &search_arg);
}

static void add_args(struct lookup *lookup, const struct mail_search_arg *args)
{
	for (; args != NULL && !lookup->failed; args = args->next) {
		if (args->type != SEARCH_OR && args->type != SEARCH_SUB) {
			T_BEGIN {
				add_arg(lookup, args);
			} T_END;
		} else if (lookup->subargs) {
			add_args(lookup, args->value.subargs);
		}
	}
}

struct lmdb_search_args *
lmdb_search_args_lookup(struct lmdb_mailbox *mbox, struct mail_search_arg *args, bool subargs)
{
	struct lookup lookup = {
		.index = lmdb_search_index(mbox),
		.normalizer = mbox->box.storage->user->default_normalizer,
		.root = args,
		.subargs = subargs,
		.attachments = LMDB_LIST(mbox->box.list)->fts,
	};

	if (lookup.index == NULL || lmdb_search_begin(mbox, lookup.index, &lookup.snapshot) < 0)
		return NULL;
	lookup.args = i_new(struct lmdb_search_args, 1);
	hash_table_create_direct(&lookup.args->args, default_pool, 0);
	i_array_init(&lookup.args->all_args, 8);
	add_args(&lookup, args);
	lsi_search_end(lookup.index);
	lsi_snapshot_unref(&lookup.snapshot);
	if (lookup.failed) {
		/* this time without it */
		(void)lmdb_search_handle_error(mbox, lookup.index, &lookup.error);
		lmdb_search_args_free(&lookup.args);
	}
	return lookup.args;
}

void lmdb_search_args_free(struct lmdb_search_args **_args)
{
	struct lmdb_search_args *args = *_args;
	struct lmdb_search_arg *arg;

	*_args = NULL;
	if (args == NULL)
		return;
	array_foreach_elem(&args->all_args, arg) {
		lsi_set_free(&arg->text);
		lsi_set_free(&arg->attached);
		i_free(arg);
	}
	array_free(&args->all_args);
	hash_table_destroy(&args->args);
	i_free(args);
}

int lmdb_search_args_match(const struct lmdb_search_args *args, const struct mail_search_arg *arg, uint32_t position)
{
	const struct lmdb_search_arg *search_arg = hash_table_lookup(args->args, arg);

	if (search_arg == NULL || position == LSI_MISSING || position == LSI_OPAQUE)
		return -1;
	/* Core can't verify what is in attachments, so a phrase may be found there whose words only are near to it. */
	if (search_arg->attached.bits != NULL && lsi_set_has(&search_arg->attached, position))
		return 1;
	if (!lsi_set_has(&search_arg->text, position))
		return 0;
	return search_arg->text.exact ? 1 : -1;
}

double lmdb_search_args_weight(const struct lmdb_search_args *args, const struct mail_search_arg *arg)
{
	const struct lmdb_search_arg *search_arg = hash_table_lookup(args->args, arg);
	unsigned int found = 1;
	uint64_t bits;

	for (size_t i = 0; i < search_arg->text.words; i++) {
		bits = search_arg->text.bits[i];
		if (search_arg->attached.bits != NULL)
			bits |= search_arg->attached.bits[i];
		found += (unsigned int)__builtin_popcountll(bits);
	}
	/* positions, which are as many as documents or few more */
	return log(1 + (double)search_arg->text.words * 64 / found);
}
