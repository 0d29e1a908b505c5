/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_MAIL_START_H
#define LMDB_MAIL_START_H

struct lms_body_start;

/*
 * What the start of a message's body (lms-message.h) answers without a parser: the fields that are kept ready, and header
 * fields. Where it doesn't, core parses the message.
 */

/* The start of the body, or NULL if the message is being saved, or is expunged, or it can't be read; then whoever reads
   the body finds out why. */
const struct lms_body_start *lmdb_mail_get_start(struct mail *mail);
/* Give core the MIME parts if they are kept ready, and it isn't finding them itself. */
void lmdb_mail_set_parts(struct mail *mail);
/* Give core what is kept ready of ENVELOPE, BODY or BODYSTRUCTURE, so that it doesn't look further. */
void lmdb_mail_set_special(struct mail *mail, enum mail_fetch_field field);

int lmdb_mail_get_parts(struct mail *mail, struct message_part **parts_r);
int lmdb_mail_get_header_stream(struct mail *mail, struct mailbox_header_lookup_ctx *headers,
				struct istream **stream_r);
void lmdb_mail_set_cache_corrupted(struct mail *mail, enum mail_fetch_field field, const char *reason);

#endif
