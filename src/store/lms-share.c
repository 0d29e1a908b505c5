/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-share.h"
#include "lms-batch.h"
#include "lms-lock.h"
#include "lms-map.h"
#include "lms-slot.h"
#include "lms-wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* How long one who waits sleeps at most: so soon a killed leader is replaced. */
#define WAIT_MSECS 20
/* And how often, before it insists on being the leader: nobody seems to see its request. */
#define WAIT_TIMES 25

/* A request on its way */
struct share {
	struct lms_env *env;
	const struct lms_request *request;
	struct lms_reply *reply;
	struct lms_error *error;
};

static int fail_lock(struct share *share, int err)
{
	return lms_fail_errno(share->error, err, "fcntl", share->env->dir);
}

/* Returns 0 with the leader lock, EAGAIN, or another errno. *others_r: there are slots in use. */
static int try_to_lead(struct lms_env *env, bool *others_r)
{
	/* One look at all of them is enough if nobody is there. */
	*others_r = lms_lock_any_taken(env->lock_fd, LMS_LOCK_DOOR, LMS_LOCK_SLOT + LMS_SLOT_COUNT - LMS_LOCK_DOOR);
	if (*others_r && lms_lock_is_taken(env->lock_fd, LMS_LOCK_DOOR))
		return EAGAIN;
	return lms_lock_try(env->lock_fd, LMS_LOCK_LEADER);
}

/* Returns 0 with the leader lock, or errno. */
static int insist_on_leading(struct lms_env *env)
{
	int err = lms_lock_wait(env->lock_fd, LMS_LOCK_DOOR);

	if (err != 0)
		return err;
	err = lms_lock_wait(env->lock_fd, LMS_LOCK_LEADER);
	lms_lock_drop(env->lock_fd, LMS_LOCK_DOOR);
	return err;
}

static void stop_leading(struct lms_env *env)
{
	struct lms_slots *slots;

	lms_lock_drop(env->lock_fd, LMS_LOCK_LEADER);
	/* Only now: who published before the lock was dropped couldn't get it. */
	if (lms_slots_are_used(env) && (slots = lms_slots_get(env)) != NULL)
		lms_slots_nudge(slots);
}

/* With the leader lock */
static int lead(struct share *share, enum lms_batch_flags flags)
{
	int ret = lms_batch_run(share->env, flags, share->request, share->reply, share->error);

	stop_leading(share->env);
	return ret;
}

/* Returns 0 or -1 as the request's result, 1 if there is no result that makes sense. */
static int take_result(struct share *share)
{
	struct lms_slots *slots = share->env->slots;
	struct lms_slot_id id = lms_slot_own_id(slots);
	struct lms_slot_message message;
	bool made_garbage;
	int ret;

	if (lms_slot_read(slots, lms_slot_own(slots), &message) != 0)
		return 1;
	ret = memcmp(&message.id, &id, sizeof(id)) != 0 ? 1 :
		lms_wire_get_result(message.data, message.size, share->request, share->reply, share->error,
				    &made_garbage);
	free(message.memory);
	if (ret == 0 && made_garbage)
		share->env->made_garbage = true;
	return ret;
}

/* With the leader lock and the request published: nobody else touches the slot now. */
static int lead_published(struct share *share)
{
	struct lms_slots *slots = share->env->slots;
	unsigned int own = lms_slot_own(slots);
	enum lms_slot_state state = lms_slot_state(slots, own);
	enum lms_batch_flags flags = LMS_BATCH_PUBLISHED;
	int ret = state == LMS_SLOT_DONE ? take_result(share) : 1;

	if (ret > 0) {
		if (state != LMS_SLOT_ALONE)
			flags |= LMS_BATCH_SHARED;
		ret = lms_batch_run(share->env, flags, share->request, share->reply, share->error);
	}
	lms_slot_end(slots);
	stop_leading(share->env);
	return ret;
}

static int insist(struct share *share)
{
	int err = insist_on_leading(share->env);

	if (err != 0) {
		lms_slot_drop(share->env->slots);
		return fail_lock(share, err);
	}
	return lead_published(share);
}

/* The request is published. */
static int wait_for_result(struct share *share)
{
	struct lms_slots *slots = share->env->slots;
	unsigned int own = lms_slot_own(slots), times = 0;
	enum lms_slot_state state;
	bool others;
	int ret;

	for (;;) {
		state = lms_slot_state(slots, own);
		ret = state == LMS_SLOT_DONE ? take_result(share) : 1;
		if (ret <= 0) {
			lms_slot_end(slots);
			return ret;
		}
		if ((state != LMS_SLOT_PENDING && state != LMS_SLOT_NUDGED) || times == WAIT_TIMES)
			return insist(share);
		lms_slot_change_state(slots, own, LMS_SLOT_NUDGED, LMS_SLOT_PENDING);
		ret = try_to_lead(share->env, &others);
		if (ret == 0)
			return lead_published(share);
		if (ret != EAGAIN)
			return insist(share);
		ret = lms_slot_wait(slots, LMS_SLOT_PENDING, WAIT_MSECS);
		if (ret < 0)
			return insist(share);
		times += (unsigned int)ret;
	}
}

/* Returns 0 if the request is in this process's slot. */
static int publish(struct share *share)
{
	static const uint8_t head[LMS_SLOT_HEAD];
	struct lms_slots *slots;
	struct lms_buffer message;
	int ret = -1;

	lms_buffer_init(&message);
	lms_buffer_add(&message, head, sizeof(head));
	if (lms_wire_put_request(&message, share->request, lms_map_limit(), LMS_SLOT_ROOM) &&
	    (slots = lms_slots_get(share->env)) != NULL && lms_slot_claim(slots) == 0)
		ret = lms_slot_publish(slots, &message);
	lms_buffer_free(&message);
	return ret;
}

int lms_share_submit(struct lms_env *env, const struct lms_request *request, struct lms_reply *reply_r,
		     struct lms_error *error_r)
{
	struct share share = { env, request, reply_r, error_r };
	bool others;
	int err;

	err = try_to_lead(env, &others);
	if (err == 0)
		return lead(&share, others ? LMS_BATCH_SHARED : 0);
	if (err != EAGAIN)
		return fail_lock(&share, err);
	if (publish(&share) == 0)
		return wait_for_result(&share);
	err = insist_on_leading(env);
	if (err != 0)
		return fail_lock(&share, err);
	return lead(&share, LMS_BATCH_SHARED);
}
