/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "istream.h"
#include "str.h"
#include "unichar.h"
#include "message-address.h"
#include "message-parser.h"
#include "message-search.h"
#include "lmdb-compat.h"
#include "lmdb-search-feed.h"

/*
 * The text that core's own search would look at, in the form in which it looks at it, from its own decoder: so the index
 * can't differ from a search without it. Which header fields are brought into which form is what search_header_arg()
 * of lib-storage's index-search.c does with FROM, SUBJECT and so on.
 */

/* Of what message_search_init() wants to look for, only the decoding is of use. No text in UTF-8 contains this, and the
   longer it is the faster that is found. */
#define NO_KEY "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" \
	"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"

static const struct {
	const char *name;
	enum lsi_field field;
} address_headers[] = {
	{ "From", LSI_FROM },
	{ "To", LSI_TO },
	{ "Cc", LSI_CC },
	{ "Bcc", LSI_BCC },
};

struct feed {
	struct lsi_batch *batch;
	/* decodes the whole message, and values of its own header */
	struct message_search_context *decoder, *value_decoder;
	struct message_part *root, *part;
};

static void add(struct feed *feed, enum lsi_field field, const void *data, size_t size)
{
	lsi_batch_text(feed->batch, field, data, size);
}

static void add_header(struct feed *feed, const struct message_header_line *hdr)
{
	add(feed, LSI_HEADER, hdr->name, hdr->name_len);
	add(feed, LSI_HEADER, hdr->middle, hdr->middle_len);
	add(feed, LSI_HEADER, hdr->full_value, hdr->full_value_len);
	if (!hdr->no_newline)
		add(feed, LSI_HEADER, "\r\n", 2);
}

/* Add the value of a header field, after it was brought into another form. */
static void add_value(struct feed *feed, enum lsi_field field, const struct message_header_line *hdr,
		      const string_t *value)
{
	struct message_header_line value_hdr = *hdr;
	struct message_block block = { .hdr = &value_hdr }, decoded;

	value_hdr.name = "";
	value_hdr.name_len = value_hdr.middle_len = 0;
	value_hdr.value = value_hdr.full_value = str_data(value);
	value_hdr.value_len = value_hdr.full_value_len = str_len(value);
	(void)message_search_more_get_decoded(feed->value_decoder, &block, &decoded);
	if (decoded.hdr == NULL)
		return;
	add(feed, field, decoded.hdr->full_value, decoded.hdr->full_value_len);
	if (!hdr->no_newline)
		add(feed, field, "\r\n", 2);
}

static const string_t *get_addresses(const struct message_header_line *hdr)
{
	string_t *str = t_str_new(hdr->full_value_len);

	message_address_write(str, message_address_parse(pool_datastack_create(), hdr->full_value,
							 hdr->full_value_len, UINT_MAX,
							 MESSAGE_ADDRESS_PARSE_FLAG_FILL_MISSING));
	return str;
}

/* White space as single spaces, none at the beginning */
static const string_t *get_compressed(const struct message_header_line *hdr)
{
	string_t *str = t_str_new(hdr->full_value_len);
	bool after_space = TRUE;

	for (size_t i = 0; i < hdr->full_value_len; i++) {
		bool is_space = IS_LWSP(hdr->full_value[i]);

		if (!is_space)
			str_append_c(str, hdr->full_value[i]);
		else if (!after_space)
			str_append_c(str, ' ');
		after_space = is_space;
	}
	return str;
}

/* A field of the message's own header */
static void add_root_header(struct feed *feed, const struct message_header_line *hdr)
{
	const char *name = t_str_ucase(hdr->name);

	add(feed, LSI_NAME, name, strlen(name));
	if (strcasecmp(hdr->name, "Subject") == 0)
		add_value(feed, LSI_SUBJECT, hdr, get_compressed(hdr));
	for (unsigned int i = 0; i < N_ELEMENTS(address_headers); i++) {
		if (strcasecmp(hdr->name, address_headers[i].name) == 0)
			add_value(feed, address_headers[i].field, hdr, get_addresses(hdr));
	}
}

static void add_block(struct feed *feed, struct message_block *block)
{
	struct message_block decoded;

	if (block->part != feed->part) {
		/* core's search doesn't look across the border of parts */
		lsi_batch_break(feed->batch, LSI_HEADER);
		lsi_batch_break(feed->batch, LSI_BODY);
		if (feed->root == NULL)
			feed->root = block->part;
		feed->part = block->part;
	}
	(void)message_search_more_get_decoded(feed->decoder, block, &decoded);
	if (decoded.hdr != NULL)
		add_header(feed, decoded.hdr);
	else
		add(feed, LSI_BODY, decoded.data, decoded.size);
	/* the decoder has asked for the whole value where it is continued */
	if (block->hdr != NULL && !block->hdr->continues && !block->hdr->eoh && block->part == feed->root)
		add_root_header(feed, block->hdr);
}

static int feed_stream(struct feed *feed, struct istream *input)
{
	const struct message_parser_settings set = { .hdr_flags = MESSAGE_HEADER_PARSER_FLAG_CLEAN_ONELINE };
	pool_t pool = pool_alloconly_create("search feed parts", 1024);
	struct message_parser_ctx *parser = message_parser_init(pool, input, &set);
	struct message_block block;
	struct message_part *parts;
	int ret;

	while ((ret = message_parser_parse_next_block(parser, &block)) > 0) T_BEGIN {
		add_block(feed, &block);
	} T_END;
	i_assert(ret != 0);
	message_parser_deinit(&parser, &parts);
	pool_unref(&pool);
	return input->stream_errno == 0 ? 0 : -1;
}

int lmdb_search_feed_stream(struct mail_user *user, struct istream *input, struct lsi_batch *batch)
{
	struct feed feed = { .batch = batch };
	int ret;

	feed.decoder = message_search_init(NO_KEY, user->default_normalizer, 0);
	feed.value_decoder = message_search_init(NO_KEY, user->default_normalizer, 0);
	ret = feed_stream(&feed, input);
	message_search_deinit(&feed.decoder);
	message_search_deinit(&feed.value_decoder);
	return ret;
}

int lmdb_search_feed(struct mail *mail, struct lsi_batch *batch)
{
	struct istream *input;
	int ret;

	if (mail_get_stream_because(mail, NULL, NULL, "search index", &input) < 0)
		return -1;
	ret = lmdb_search_feed_stream(mail->box->storage->user, input, batch);
	i_stream_seek(input, 0);
	return ret;
}
