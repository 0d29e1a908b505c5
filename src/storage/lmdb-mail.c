/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "istream.h"
#include "lmdb-compat.h"
#include "lmdb-body-istream.h"
#include "lmdb-error.h"
#include "lmdb-mail.h"
#include "lmdb-mail-start.h"
#include "lmdb-save.h"
#include "lmdb-search-docs.h"

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
	struct lmdb_mail *mail = LMDB_MAIL(_mail);

	i_stream_unref(&mail->header_stream);
	index_mail_close(_mail);
	mail->record_read = mail->start_tried = mail->have_start = mail->ready_is_wrong = FALSE;
}

static void set_record(struct lmdb_mail *mail, const struct lms_message *record)
{
	pool_t pool = mail->imail.mail.data_pool;

	mail->record = *record;
	if (record->guid != mail->guid)
		mail->record.guid = p_strdup(pool, record->guid);
	mail->record.pop3_uidl = p_strdup(pool, record->pop3_uidl);
	mail->record_read = TRUE;
}

void lmdb_mail_set_record(struct mail *mail, const struct lms_message *record)
{
	set_record(LMDB_MAIL(mail), record);
}

int lmdb_mail_get_record(struct mail *_mail, const struct lms_message **record_r)
{
	struct lmdb_mail *mail = LMDB_MAIL(_mail);
	struct lms_message record;
	struct lms_error error;
	int ret;

	if (!mail->record_read) {
		/* no mail_metadata_access_start(): that is for what is slow, and takes longer itself */
		ret = lmdb_lookahead_get(LMDB_MAILBOX(_mail->box), _mail->uid, mail->guid, &record, &error);
		if (ret < 0)
			lmdb_mailbox_set_error(_mail->box, &error);
		else if (ret == 0)
			mail_set_expunged(_mail);
		if (ret <= 0)
			return -1;
		set_record(mail, &record);
	}
	*record_r = &mail->record;
	return 0;
}

/* TRUE if the record has what is asked for: of a message that is being saved only what was set is known. */
static bool has_record(struct mail *_mail)
{
	return _mail->uid != 0 || LMDB_MAIL(_mail)->record_read;
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

/* A new stream of the stored bytes, before plugins decode them. */
static int open_body(struct mail *_mail, struct istream **stream_r)
{
	const struct lms_message *record;

	if (!has_record(_mail)) {
		*stream_r = lmdb_save_open_body(_mail);
		return 0;
	}
	if (lmdb_mail_get_record(_mail, &record) < 0)
		return -1;
	*stream_r = lmdb_body_istream_create(LMDB_MAILBOX(_mail->box)->env, record->body_id, record->body_size,
					     lmdb_mail_get_start(_mail));
	i_stream_set_name(*stream_r, t_strdup_printf("%s (UID %u)", _mail->box->vname, _mail->uid));
	/* whoever reads the header then needs no parser for the rest */
	lmdb_mail_set_parts(_mail);
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

static int lmdb_mail_get_special(struct mail *_mail, enum mail_fetch_field field, const char **value_r)
{
	const struct lms_message *record;

	if (!has_record(_mail))
		return index_mail_get_special(_mail, field, value_r);

	lmdb_mail_set_special(_mail, field);
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

static int lmdb_mail_precache(struct mail *mail)
{
	struct index_mail_data *data = &LMDB_MAIL(mail)->imail.data;

	/* core would go on with a parser that it has only where it looks for the parts itself */
	if (data->parts != NULL)
		data->wanted_fields &= ENUM_NEGATE(MAIL_FETCH_STREAM_BODY);
	if (index_mail_precache(mail) < 0)
		return -1;
	if (lmdb_search_prepare(LMDB_MAILBOX(mail->box), TRUE)) {
		if (LMDB_LIST(mail->box->list)->fts)
			lmdb_search_open(mail);
		else
			lmdb_search_add(mail);
	}
	return 0;
}

struct mail_vfuncs lmdb_mail_vfuncs = {
	.close = lmdb_mail_close,
	.free = index_mail_free,
	.set_seq = index_mail_set_seq,
	.set_uid = index_mail_set_uid,
	.set_uid_cache_updates = index_mail_set_uid_cache_updates,
	.prefetch = index_mail_prefetch,
	.precache = lmdb_mail_precache,
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
	.get_header_stream = lmdb_mail_get_header_stream,
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
