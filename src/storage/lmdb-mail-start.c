/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "istream.h"
#include "str.h"
#include "mail-cache.h"
#include "imap-bodystructure.h"
#include "message-part-serialize.h"
#include "lmdb-compat.h"
#include "lmdb-header.h"
#include "lmdb-mail.h"
#include "lmdb-mail-start.h"

static bool read_start(struct lmdb_mail *mail)
{
	struct mail *_mail = &mail->imail.mail.mail;
	pool_t pool = mail->imail.mail.data_pool;
	const struct lms_message *record;
	struct lms_body_start start;
	struct lms_error error;
	unsigned char *copy;

	if (_mail->uid == 0 || lmdb_mail_get_record(_mail, &record) < 0 ||
	    lms_body_start(LMDB_MAILBOX(_mail->box)->env, record->body_id, &start, &error) <= 0)
		return FALSE;
	copy = p_malloc(pool, start.ready_size + start.size + 1);
	memcpy(copy, start.ready, start.ready_size);
	memcpy(copy + start.ready_size, start.data, start.size);
	mail->start = start;
	mail->start.ready = copy;
	mail->start.data = copy + start.ready_size;
	return TRUE;
}

const struct lms_body_start *lmdb_mail_get_start(struct mail *_mail)
{
	struct lmdb_mail *mail = LMDB_MAIL(_mail);

	if (!mail->start_tried) {
		mail->start_tried = TRUE;
		mail->have_start = read_start(mail);
	}
	return mail->have_start ? &mail->start : NULL;
}

/* Core looks for attachments when it parses a message; what is kept ready must not keep it from that. */
static bool wants_attachment_keywords(struct mail *mail)
{
	const struct mail_storage_settings *set = mail->box->storage->set;

	return set->parsed_mail_attachment_detection_add_flags &&
		!set->parsed_mail_attachment_detection_no_flags_on_fetch && !mail_has_attachment_keywords(mail);
}

static bool get_ready(struct mail *mail, struct lmdb_ready *ready_r)
{
	const struct lms_body_start *start;

	return !LMDB_MAIL(mail)->ready_is_wrong && !wants_attachment_keywords(mail) &&
		(start = lmdb_mail_get_start(mail)) != NULL &&
		lmdb_ready_decode(start->ready, start->ready_size, ready_r);
}

void lmdb_mail_set_parts(struct mail *mail)
{
	struct index_mail *imail = &LMDB_MAIL(mail)->imail;
	struct index_mail_data *data = &imail->data;
	struct lmdb_ready ready;
	const char *error;

	/* who parses the message finds parts of its own */
	if (data->parts != NULL || data->parser_ctx != NULL || (data->access_part & (PARSE_HDR | PARSE_BODY)) != 0)
		return;
	if (get_ready(mail, &ready)) {
		data->parts = message_part_deserialize(imail->mail.data_pool, ready.parts.data, ready.parts.size,
						       &error);
	}
}

int lmdb_mail_get_parts(struct mail *mail, struct message_part **parts_r)
{
	lmdb_mail_set_parts(mail);
	return index_mail_get_parts(mail, parts_r);
}

static const char *dup_item(struct mail *mail, const struct lmdb_ready_item *item)
{
	return p_strndup(LMDB_MAIL(mail)->imail.mail.data_pool, item->data, item->size);
}

/* While there is no cache file core looks for it twice with each message, and makes it only after all of them. What goes
   wrong here is told by core when it has something to write. */
static void make_cache(struct mailbox *box)
{
	struct lmdb_mailbox *mbox = LMDB_MAILBOX(box);

	if (mbox->cache_tried)
		return;
	mbox->cache_tried = TRUE;
	if (!mail_index_is_in_memory(box->index) && mail_cache_open_and_verify(box->index->cache) == 0)
		(void)mail_cache_purge(box->index->cache, 0, "first BODYSTRUCTURE");
}

static void set_bodystructure(struct mail *mail)
{
	struct index_mail *imail = &LMDB_MAIL(mail)->imail;
	struct lmdb_ready ready;
	const char *value;

	make_cache(mail->box);
	/* the cache is faster from the second time on */
	if (index_mail_get_cached_bodystructure(imail, &value) || !get_ready(mail, &ready))
		return;
	imail->data.bodystructure = dup_item(mail, &ready.bodystructure);
	index_mail_cache_add(imail, MAIL_CACHE_IMAP_BODYSTRUCTURE, ready.bodystructure.data, ready.bodystructure.size);
}

static void set_body(struct mail *mail)
{
	struct index_mail *imail = &LMDB_MAIL(mail)->imail;
	string_t *body = str_new(imail->mail.data_pool, 256);
	struct lmdb_ready ready;
	const char *value, *error;

	if (!index_mail_get_cached_body(imail, &value) && get_ready(mail, &ready) &&
	    imap_body_parse_from_bodystructure(dup_item(mail, &ready.bodystructure), body, &error) == 0)
		imail->data.body = str_c(body);
}

void lmdb_mail_set_special(struct mail *mail, enum mail_fetch_field field)
{
	struct index_mail_data *data = &LMDB_MAIL(mail)->imail.data;
	struct lmdb_ready ready;

	if (field == MAIL_FETCH_IMAP_ENVELOPE && data->envelope == NULL && get_ready(mail, &ready))
		data->envelope = dup_item(mail, &ready.envelope);
	else if (field == MAIL_FETCH_IMAP_BODYSTRUCTURE && data->bodystructure == NULL)
		set_bodystructure(mail);
	else if (field == MAIL_FETCH_IMAP_BODY && data->body == NULL)
		set_body(mail);
}

/* Core would parse all of the header, and cache what is wanted of it: that takes longer than to look for it each time. */
int lmdb_mail_get_header_stream(struct mail *_mail, struct mailbox_header_lookup_ctx *headers,
				struct istream **stream_r)
{
	struct lmdb_mail *mail = LMDB_MAIL(_mail);
	const struct lms_body_start *start;
	string_t *selected;

	i_stream_unref(&mail->header_stream);
	if ((start = lmdb_mail_get_start(_mail)) != NULL) {
		selected = str_new(mail->imail.mail.data_pool, 512);
		if (lmdb_header_select(start->data, start->size, headers, selected)) {
			mail->header_stream = i_stream_create_from_data(str_data(selected), str_len(selected));
			*stream_r = mail->header_stream;
			return 0;
		}
	}
	return index_mail_get_header_stream(_mail, headers, stream_r);
}

/* What was kept doesn't fit the message: it is parsed then. */
void lmdb_mail_set_cache_corrupted(struct mail *mail, enum mail_fetch_field field, const char *reason)
{
	LMDB_MAIL(mail)->ready_is_wrong = TRUE;
	index_mail_set_cache_corrupted(mail, field, reason);
}
