/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "istream.h"
#include "str.h"
#include "imap-bodystructure.h"
#include "lmdb-compat.h"
#include "lmdb-body-istream.h"
#include "lmdb-error.h"
#include "lmdb-mail.h"
#include "lmdb-save.h"

/*
 * What the message's record has (sizes, dates, GUID, UIDL) is answered from it: a look-up there is as cheap as one in
 * dovecot.index.cache, so those fields aren't cached.
 */

struct mail *lmdb_mail_alloc(struct mailbox_transaction_context *t, enum mail_fetch_field wanted_fields,
			     struct mailbox_header_lookup_ctx *wanted_headers)
{
	pool_t pool = pool_alloconly_create("mail", 2048);
	struct lmdb_mail *mail = p_new(pool, struct lmdb_mail, 1);

	/* core would look for each message whether its cache has them */
	wanted_fields &= ENUM_NEGATE(LMDB_READY_FIELDS);
	index_mail_init(&mail->imail, t, wanted_fields, wanted_headers, pool, NULL);
	return &mail->imail.mail.mail;
}

static void lmdb_mail_close(struct mail *_mail)
{
	index_mail_close(_mail);
	LMDB_MAIL(_mail)->record_read = FALSE;
	LMDB_MAIL(_mail)->ready_read = LMDB_MAIL(_mail)->have_ready = FALSE;
}

void lmdb_mail_set_record(struct mail *_mail, const struct lms_message *record)
{
	struct lmdb_mail *mail = LMDB_MAIL(_mail);
	pool_t pool = mail->imail.mail.data_pool;

	mail->record = *record;
	mail->record.guid = p_strdup(pool, record->guid);
	mail->record.pop3_uidl = p_strdup(pool, record->pop3_uidl);
	/* the view's keywords count */
	mail->record.keywords = NULL;
	mail->record.keyword_bytes = 0;
	mail->record_read = TRUE;
}

int lmdb_mail_get_record(struct mail *_mail, const struct lms_message **record_r)
{
	struct lmdb_mail *mail = LMDB_MAIL(_mail);
	struct lmdb_mailbox *mbox = LMDB_MAILBOX(_mail->box);
	struct lms_message record;
	struct lms_error error;
	int ret;

	if (!mail->record_read) {
		if (!mail_metadata_access_start(_mail))
			return -1;
		ret = lms_message_get(mbox->env, mbox->folder_id, _mail->uid, &record, &error);
		if (ret < 0)
			lmdb_mailbox_set_error(_mail->box, &error);
		else if (ret == 0)
			mail_set_expunged(_mail);
		if (ret <= 0)
			return -1;
		lmdb_mail_set_record(_mail, &record);
	}
	*record_r = &mail->record;
	return 0;
}

/* TRUE if the record has what is asked for: of a message that is being saved only what was set is known. */
static bool has_record(struct mail *_mail)
{
	return _mail->uid != 0 || LMDB_MAIL(_mail)->record_read;
}

/* Core looks for attachments when it parses a message; what is kept ready must not keep it from that. */
static bool wants_attachment_keywords(struct mail *mail)
{
	const struct mail_storage_settings *set = mail->box->storage->set;

	return set->parsed_mail_attachment_detection_add_flags &&
		!set->parsed_mail_attachment_detection_no_flags_on_fetch && !mail_has_attachment_keywords(mail);
}

/* Read the start of the body and what is kept ready there. Returns 1 and *start_r, which is valid until the next call to
   the store, or 0: then the message is parsed, and what is wrong with the body shows. */
static int read_start(struct lmdb_mail *mail, const struct lms_message *record, struct lms_body_start *start_r)
{
	struct mail *_mail = &mail->imail.mail.mail;
	struct lms_error error;

	mail->ready_read = TRUE;
	if (wants_attachment_keywords(_mail) ||
	    lms_body_start(LMDB_MAILBOX(_mail->box)->env, record->body_id, start_r, &error) <= 0)
		return 0;
	mail->have_ready = lmdb_ready_decode(start_r->ready, start_r->ready_size, mail->imail.mail.data_pool,
					     &mail->ready);
	return 1;
}

/* What is kept ready for the message, or NULL: then it has to be parsed. */
static const struct lmdb_ready *get_ready(struct mail *_mail)
{
	struct lmdb_mail *mail = LMDB_MAIL(_mail);
	const struct lms_message *record;
	struct lms_body_start start;

	if (!mail->ready_read && _mail->uid != 0 && lmdb_mail_get_record(_mail, &record) == 0)
		(void)read_start(mail, record, &start);
	return mail->have_ready ? &mail->ready : NULL;
}

static int lmdb_mail_get_received_date(struct mail *_mail, time_t *date_r)
{
	struct index_mail_data *data = &LMDB_MAIL(_mail)->imail.data;
	const struct lms_message *record;

	if (data->received_date == (time_t)-1) {
		if (!has_record(_mail))
			return index_mail_get_received_date(_mail, date_r);
		if (lmdb_mail_get_record(_mail, &record) < 0)
			return -1;
		data->received_date = record->received;
	}
	*date_r = data->received_date;
	return 0;
}

static int lmdb_mail_get_save_date(struct mail *_mail, time_t *date_r)
{
	struct index_mail_data *data = &LMDB_MAIL(_mail)->imail.data;
	const struct lms_message *record;

	if (data->save_date == (time_t)-1) {
		if (!has_record(_mail))
			return index_mail_get_save_date(_mail, date_r);
		if (lmdb_mail_get_record(_mail, &record) < 0)
			return -1;
		data->save_date = record->saved;
	}
	*date_r = data->save_date;
	return 1;
}

static int lmdb_mail_get_virtual_size(struct mail *_mail, uoff_t *size_r)
{
	struct index_mail_data *data = &LMDB_MAIL(_mail)->imail.data;
	const struct lms_message *record;

	if (data->virtual_size == UOFF_T_MAX) {
		if (!has_record(_mail))
			return index_mail_get_virtual_size(_mail, size_r);
		if (lmdb_mail_get_record(_mail, &record) < 0)
			return -1;
		data->virtual_size = record->virtual_size;
	}
	*size_r = data->virtual_size;
	return 0;
}

static int lmdb_mail_get_physical_size(struct mail *_mail, uoff_t *size_r)
{
	struct index_mail_data *data = &LMDB_MAIL(_mail)->imail.data;
	const struct lms_message *record;

	if (data->physical_size == UOFF_T_MAX) {
		if (!has_record(_mail))
			return index_mail_get_physical_size(_mail, size_r);
		if (lmdb_mail_get_record(_mail, &record) < 0)
			return -1;
		data->physical_size = record->physical_size;
	}
	*size_r = data->physical_size;
	return 0;
}

static void set_parts_from_ready(struct mail *mail)
{
	struct index_mail_data *data = &LMDB_MAIL(mail)->imail.data;
	const struct lmdb_ready *ready;

	/* who parses the message finds parts of its own */
	if (data->parts == NULL && data->parser_ctx == NULL && (data->access_part & (PARSE_HDR | PARSE_BODY)) == 0 &&
	    (ready = get_ready(mail)) != NULL)
		data->parts = ready->parts;
}

/* A new stream of the stored bytes, before plugins decode them. */
static int open_body(struct mail *_mail, struct istream **stream_r)
{
	struct lmdb_mailbox *mbox = LMDB_MAILBOX(_mail->box);
	struct lmdb_mail *mail = LMDB_MAIL(_mail);
	const struct lms_message *record;
	struct lms_body_start start;
	bool have_start;

	if (!has_record(_mail)) {
		*stream_r = lmdb_save_open_body(_mail);
		return 0;
	}
	if (lmdb_mail_get_record(_mail, &record) < 0)
		return -1;
	have_start = !mail->ready_read && read_start(mail, record, &start) > 0;
	*stream_r = lmdb_body_istream_create(mbox->env, record->body_id, record->body_size, have_start ? &start : NULL);
	i_stream_set_name(*stream_r, t_strdup_printf("%s (UID %u)", _mail->box->vname, _mail->uid));
	/* whoever reads the header then needs no parser for the rest */
	set_parts_from_ready(_mail);
	return 0;
}

static int lmdb_mail_get_stream(struct mail *_mail, bool get_body ATTR_UNUSED, struct message_size *hdr_size,
				struct message_size *body_size, struct istream **stream_r)
{
	struct index_mail *imail = &LMDB_MAIL(_mail)->imail;
	struct mail_private *pmail = &imail->mail;
	struct istream *input;

	if (imail->data.stream == NULL) {
		if (!mail_stream_access_start(_mail) || open_body(_mail, &input) < 0)
			return -1;
		if (pmail->v.istream_opened != NULL && pmail->v.istream_opened(_mail, &input) < 0) {
			i_stream_unref(&input);
			return -1;
		}
		imail->data.stream = input;
		index_mail_set_read_buffer_size(_mail, input);
	}
	return index_mail_init_stream(imail, hdr_size, body_size, stream_r);
}

static int get_pop3(struct mail *_mail, enum mail_fetch_field field, const char **value_r)
{
	const struct lms_message *record;

	if (lmdb_mail_get_record(_mail, &record) < 0)
		return -1;
	*value_r = "";
	if (field == MAIL_FETCH_UIDL_BACKEND && record->pop3_uidl != NULL)
		*value_r = record->pop3_uidl;
	else if (field == MAIL_FETCH_POP3_ORDER && record->pop3_order != 0) {
		*value_r = p_strdup_printf(LMDB_MAIL(_mail)->imail.mail.data_pool, "%u", record->pop3_order);
	}
	return 0;
}

static int get_refcount(struct mail *_mail, enum mail_fetch_field field, const char **value_r)
{
	struct lmdb_mailbox *mbox = LMDB_MAILBOX(_mail->box);
	pool_t pool = LMDB_MAIL(_mail)->imail.mail.data_pool;
	const struct lms_message *record;
	struct lms_error error;
	uint64_t refcount;
	int ret;

	if (lmdb_mail_get_record(_mail, &record) < 0)
		return -1;
	if (field == MAIL_FETCH_REFCOUNT_ID) {
		*value_r = p_strdup_printf(pool, "%"PRIx64, record->body_id);
		return 0;
	}
	ret = lms_body_refcount(mbox->env, record->body_id, &refcount, &error);
	if (ret < 0) {
		lmdb_mailbox_set_error(_mail->box, &error);
		return -1;
	}
	*value_r = p_strdup_printf(pool, "%"PRIu64, ret == 0 ? 0 : refcount);
	return 0;
}

static int lmdb_mail_get_parts(struct mail *mail, struct message_part **parts_r)
{
	set_parts_from_ready(mail);
	return index_mail_get_parts(mail, parts_r);
}

/* Give core what is kept ready of the field, so that it doesn't look further. */
static void set_from_ready(struct mail *mail, enum mail_fetch_field field)
{
	struct index_mail *imail = &LMDB_MAIL(mail)->imail;
	struct index_mail_data *data = &imail->data;
	pool_t pool = imail->mail.data_pool;
	const struct lmdb_ready *ready;
	const char *error, *value;
	string_t *body;

	switch (field) {
	case MAIL_FETCH_IMAP_ENVELOPE:
		if (data->envelope == NULL && (ready = get_ready(mail)) != NULL)
			data->envelope = ready->envelope;
		break;
	case MAIL_FETCH_IMAP_BODYSTRUCTURE:
		/* the cache is faster from the second time on */
		if (index_mail_get_cached_bodystructure(imail, &value) || (ready = get_ready(mail)) == NULL)
			break;
		data->bodystructure = ready->bodystructure;
		index_mail_cache_add(imail, MAIL_CACHE_IMAP_BODYSTRUCTURE, data->bodystructure,
				     strlen(data->bodystructure));
		break;
	case MAIL_FETCH_IMAP_BODY:
		if (index_mail_get_cached_body(imail, &value) || (ready = get_ready(mail)) == NULL)
			break;
		body = str_new(pool, 256);
		if (imap_body_parse_from_bodystructure(ready->bodystructure, body, &error) == 0)
			data->body = str_c(body);
		break;
	default:
		break;
	}
}

static int lmdb_mail_get_special(struct mail *_mail, enum mail_fetch_field field, const char **value_r)
{
	const struct lms_message *record;

	if (!has_record(_mail))
		return index_mail_get_special(_mail, field, value_r);

	set_from_ready(_mail, field);
	switch (field) {
	case MAIL_FETCH_GUID:
		if (lmdb_mail_get_record(_mail, &record) < 0)
			return -1;
		*value_r = record->guid;
		return 0;
	case MAIL_FETCH_UIDL_BACKEND:
	case MAIL_FETCH_POP3_ORDER:
		return get_pop3(_mail, field, value_r);
	case MAIL_FETCH_REFCOUNT:
	case MAIL_FETCH_REFCOUNT_ID:
		return get_refcount(_mail, field, value_r);
	default:
		return index_mail_get_special(_mail, field, value_r);
	}
}

/* Is it the message that is being saved? */
static bool is_saving(struct mail *mail)
{
	return mail->saving && mail->transaction->save_ctx != NULL && mail->transaction->save_ctx->dest_mail == mail;
}

static const char *const *lmdb_mail_get_keywords(struct mail *mail)
{
	return is_saving(mail) ? lmdb_save_get_keywords(mail, LMDB_MAIL(mail)->imail.mail.data_pool) :
		index_mail_get_keywords(mail);
}

static void lmdb_mail_update_keywords(struct mail *mail, enum modify_type modify_type, struct mail_keywords *keywords)
{
	if (is_saving(mail))
		lmdb_save_update_keywords(mail, modify_type, keywords);
	else
		index_mail_update_keywords(mail, modify_type, keywords);
}

/* Something that was kept doesn't fit the message: it is parsed then. */
static void lmdb_mail_set_cache_corrupted(struct mail *mail, enum mail_fetch_field field, const char *reason)
{
	LMDB_MAIL(mail)->ready_read = TRUE;
	LMDB_MAIL(mail)->have_ready = FALSE;
	index_mail_set_cache_corrupted(mail, field, reason);
}

struct mail_vfuncs lmdb_mail_vfuncs = {
	.close = lmdb_mail_close,
	.free = index_mail_free,
	.set_seq = index_mail_set_seq,
	.set_uid = index_mail_set_uid,
	.set_uid_cache_updates = index_mail_set_uid_cache_updates,
	.prefetch = index_mail_prefetch,
	.precache = index_mail_precache,
	.add_temp_wanted_fields = index_mail_add_temp_wanted_fields,

	.get_flags = index_mail_get_flags,
	.get_keywords = lmdb_mail_get_keywords,
	.get_keyword_indexes = index_mail_get_keyword_indexes,
	.get_modseq = index_mail_get_modseq,
	.get_pvt_modseq = index_mail_get_pvt_modseq,
	.get_parts = lmdb_mail_get_parts,
	.get_date = index_mail_get_date,
	.get_received_date = lmdb_mail_get_received_date,
	.get_save_date = lmdb_mail_get_save_date,
	.get_virtual_size = lmdb_mail_get_virtual_size,
	.get_physical_size = lmdb_mail_get_physical_size,
	.get_first_header = index_mail_get_first_header,
	.get_headers = index_mail_get_headers,
	.get_header_stream = index_mail_get_header_stream,
	.get_stream = lmdb_mail_get_stream,
	.get_binary_stream = index_mail_get_binary_stream,
	.get_special = lmdb_mail_get_special,
	.get_backend_mail = index_mail_get_backend_mail,
	.update_flags = index_mail_update_flags,
	.update_keywords = lmdb_mail_update_keywords,
	.update_modseq = index_mail_update_modseq,
	.update_pvt_modseq = index_mail_update_pvt_modseq,
	.expunge = index_mail_expunge,
	.set_cache_corrupted = lmdb_mail_set_cache_corrupted,
	.istream_opened = index_mail_opened,
};
