/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMS_MESSAGE_H
#define LMS_MESSAGE_H

#include "lms.h"

/* The flags of a message; the values are those of Dovecot's enum mail_flags. */
enum lms_flags {
	LMS_ANSWERED = 0x01,
	LMS_FLAGGED = 0x02,
	LMS_DELETED = 0x04,
	LMS_SEEN = 0x08,
	LMS_DRAFT = 0x10,
	LMS_FLAGS_MASK = 0x1f
};

struct lms_message {
	uint32_t uid;
	uint8_t flags;
	/* Bit n % 8 of byte n / 8: keyword number n of the folder is set. */
	const uint8_t *keywords;
	size_t keyword_bytes;
	uint64_t body_id;
	/* Seconds since the epoch: INTERNALDATE and the time of the save or copy (RFC 8514 SAVEDATE). */
	int64_t received, saved;
	/* Size of the message as it was saved, before any plugin changed what is stored, and with CRLF line ends. */
	uint64_t physical_size, virtual_size;
	/* Size of what is stored. */
	uint64_t body_size;
	/* NUL-terminated; 32 lowercase hex digits if it was made here. */
	const char *guid;
	/* NULL if none was set */
	const char *pop3_uidl;
	/* 0 if none was set */
	uint32_t pop3_order;
	/* The view must give the message at least this MODSEQ; usually 0. */
	uint64_t min_modseq;
};

/* Look a message up. The pointers in *message_r are valid until the next lms_message_get() of this environment, also
   after the snapshot ended. Returns 1, 0 if there is none, -1 on error. */
int lms_message_get(struct lms_env *env, uint64_t folder_id, uint32_t uid, struct lms_message *message_r,
		    struct lms_error *error_r);

/* Called for each message with uid1 <= UID <= uid2, ascending; the message is valid during the call. A value other
   than 0 ends the walk. */
typedef int lms_message_callback(const struct lms_message *message, void *context);
int lms_message_scan(struct lms_env *env, uint64_t folder_id, uint32_t uid1, uint32_t uid2,
		     lms_message_callback *callback, void *context, struct lms_error *error_r);

/* The most bytes that a chunk of a body holds, and that can be kept ready with it. */
#define LMS_CHUNK_MAX (16 * 4096 - 16 - 8)
#define LMS_READY_MAX 16352

/*
 * A body is read chunk by chunk. Chunk 0 is its start, of any size: usually the message's header, or all of a small
 * message. The others have LMS_CHUNK_MAX bytes, but for the last, so the chunk of an offset from the start's size on is
 * 1 + (offset - start size) / LMS_CHUNK_MAX. Bodies never change, so chunks read in different snapshots fit together,
 * and staged bodies can be read too. Checksums are verified.
 */
struct lms_body_start {
	/* What lms_save_message.ready was */
	const void *ready;
	size_t ready_size;
	const void *data;
	size_t size;
};
/* The pointers are valid until the next call for this environment, also of lms_submit(). Returns 1, 0 if there is no
   such body (freed meanwhile), -1 on error. */
int lms_body_start(struct lms_env *env, uint64_t body_id, struct lms_body_start *start_r, struct lms_error *error_r);
/* Copy chunk number chunk (from 1) to buffer, which has room for *size bytes; LMS_DAMAGED if the chunk is larger. *size
   is set to its size. Returns 1, 0 if there is no such chunk or body, -1 on error. */
int lms_body_read(struct lms_env *env, uint64_t body_id, uint32_t chunk, void *buffer, size_t *size,
		  struct lms_error *error_r);
/* How many of the first bytes of a body become its start. Those from 64 KB on make no difference. */
size_t lms_body_start_size(const void *data, size_t size);
/* Number of messages that share the body: 1 and *refcount_r (0: waits to be freed), 0 if gone, -1 on error. */
int lms_body_refcount(struct lms_env *env, uint64_t body_id, uint64_t *refcount_r, struct lms_error *error_r);

#endif
