/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMS_SLOT_H
#define LMS_SLOT_H

#include "lms-buffer.h"
#include "lms-private.h"

/*
 * The slot file, where processes leave requests for the leader to carry out together with its own (lms-share.h). It
 * has a page of words, which is mapped, and a room for each slot, which is read and written.
 *
 * A slot is its owner's while that holds the lock on byte LMS_LOCK_SLOT + its number of store.lock, so what is in the
 * file outlives nobody. What is read from it is never trusted: each message in a room has a checksum, and a word may
 * have any value. So the file needs no care: it may be lost, filled with anything, or cut off while it is in use.
 */

#define LMS_FILE_SLOTS "store.slots"
#define LMS_SLOT_COUNT 256
/* Bytes of a room: for a request, and then for its result */
#define LMS_SLOT_ROOM (64 * 1024)
/* Bytes before a message, which lms_slot_publish() and lms_slot_finish() fill */
#define LMS_SLOT_HEAD 24

enum lms_slot_state {
	LMS_SLOT_FREE = 0,
	/* It has an owner, who doesn't wait for anything. */
	LMS_SLOT_IDLE,
	/* A request waits. From here on only the leader changes the state, but for the owner's NUDGED to PENDING. */
	LMS_SLOT_PENDING,
	/* The same, and the owner has been woken to be the next leader. */
	LMS_SLOT_NUDGED,
	/* The result is in the room. */
	LMS_SLOT_DONE,
	/* The owner has to carry it out itself, and nothing with it. */
	LMS_SLOT_ALONE
};

/* Names a request: random, and different for each one. */
struct lms_slot_id {
	uint64_t owner, number;
};

struct lms_slots;

/* The slot file, opened or made if it isn't open yet. NULL if there can't be one, which is no error. */
struct lms_slots *lms_slots_get(struct lms_env *env);
void lms_slots_close(struct lms_env *env);
/* Does another process have a slot? */
bool lms_slots_are_used(struct lms_env *env);

/* Make one of the slots this process's. It stays so until the file is closed. Returns 0, or -1 if there is none. */
int lms_slot_claim(struct lms_slots *slots);
/* Number of this process's slot, LMS_SLOT_COUNT if it has none. */
unsigned int lms_slot_own(const struct lms_slots *slots);
struct lms_slot_id lms_slot_own_id(const struct lms_slots *slots);
/* Leave a request, whose first LMS_SLOT_HEAD bytes are free, in the own slot. Returns 0, or -1 if it can't be
   written. */
int lms_slot_publish(struct lms_slots *slots, struct lms_buffer *message);
/* Sleep while the own slot's state is the given one, for at most msecs. Returns 1 if the time is over, 0 if not, -1
   if waiting isn't possible. */
int lms_slot_wait(struct lms_slots *slots, enum lms_slot_state state, unsigned int msecs);
/* The request in the own slot is over. */
void lms_slot_end(struct lms_slots *slots);
/* Give the own slot up, whatever its state is. */
void lms_slot_drop(struct lms_slots *slots);

enum lms_slot_state lms_slot_state(struct lms_slots *slots, unsigned int slot);
void lms_slot_set_state(struct lms_slots *slots, unsigned int slot, enum lms_slot_state state);
/* Change the state if it is the one expected. */
void lms_slot_change_state(struct lms_slots *slots, unsigned int slot, enum lms_slot_state expected,
			   enum lms_slot_state state);

/* A message from a room, in memory that the caller frees. */
struct lms_slot_message {
	struct lms_slot_id id;
	uint8_t *memory;
	const uint8_t *data;
	size_t size;
};
/* Returns 0, 1 if there is no whole message, -1 if out of memory. */
int lms_slot_read(struct lms_slots *slots, unsigned int slot, struct lms_slot_message *message_r);

/* What follows is the leader's. */

/* The first slot from slot on in which a request waits, LMS_SLOT_COUNT if there is none. */
unsigned int lms_slots_find(struct lms_slots *slots, unsigned int slot);
bool lms_slot_is_owned(struct lms_slots *slots, unsigned int slot);
/* Give the result, whose first LMS_SLOT_HEAD bytes are free, to the slot's owner. */
void lms_slot_finish(struct lms_slots *slots, unsigned int slot, const struct lms_slot_id *id,
		     struct lms_buffer *message);
void lms_slot_send_away(struct lms_slots *slots, unsigned int slot);
/* Wait, for a short part of what a commit takes, until as many requests as the last time are there: who just got a
   result is likely to come again. */
void lms_slots_gather(struct lms_slots *slots);
/* After the commit, before results are given */
void lms_slots_note(struct lms_slots *slots);
/* After the leader lock was dropped: wake one of those who still wait. */
void lms_slots_nudge(struct lms_slots *slots);

#endif
