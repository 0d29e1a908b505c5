/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_MAIL_H
#define LMDB_MAIL_H

#include "index-mail.h"
#include "lmdb-ready.h"
#include "lmdb-storage.h"
#include "lms-message.h"

struct lmdb_mail {
	struct index_mail imail;
	/* the message's record, once it was looked up: its strings are in guid or in the mail's data pool */
	struct lms_message record;
	char guid[LMS_GUID_SIZE * 2 + 1];
	/* the start of its body, in the mail's data pool */
	struct lms_body_start start;
	/* header fields that were asked for last, NULL if core has them */
	struct istream *header_stream;
	bool record_read, start_tried, have_start;
	/* what is kept ready doesn't fit the message */
	bool ready_is_wrong;
};

#define LMDB_MAIL(s) (container_of(s, struct lmdb_mail, imail.mail.mail))

struct mail *lmdb_mail_alloc(struct mailbox_transaction_context *t, enum mail_fetch_field wanted_fields,
			     struct mailbox_header_lookup_ctx *wanted_headers);
/* The record of a message that is in the store. Returns 0, or -1 with the error set (also if it is expunged). */
int lmdb_mail_get_record(struct mail *mail, const struct lms_message **record_r);
/* Let a mail that is being copied answer for its source. */
void lmdb_mail_set_record(struct mail *mail, const struct lms_message *record);

#endif
