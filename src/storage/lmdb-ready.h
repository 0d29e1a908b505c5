/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_READY_H
#define LMDB_READY_H

/*
 * What a message's FETCH needs of its MIME structure is made when the message is saved, as Dovecot parses it then
 * anyway, and kept with the body (lms_save_message.ready): so listing a mailbox doesn't parse messages.
 *
 * As it is stored: a version byte, then envelope, BODYSTRUCTURE and MIME parts, each as a varint of its size and the
 * bytes. The first two are what a client gets, the last is what Dovecot keeps as mime.parts in dovecot.index.cache.
 */
#define LMDB_READY_FIELDS \
	(MAIL_FETCH_MESSAGE_PARTS | MAIL_FETCH_IMAP_ENVELOPE | MAIL_FETCH_IMAP_BODY | MAIL_FETCH_IMAP_BODYSTRUCTURE)

struct lmdb_ready_item {
	const uint8_t *data;
	size_t size;
};

struct lmdb_ready {
	struct lmdb_ready_item envelope, bodystructure, parts;
};

/* Encode what the parser found in a message that is being saved; nothing if it isn't complete or too much. */
void lmdb_ready_encode(struct mail *mail, buffer_t *dest);
/* Decode; *ready_r points into data. Returns FALSE if there is nothing, or nothing that this version knows. */
bool lmdb_ready_decode(const void *data, size_t size, struct lmdb_ready *ready_r);

#endif
