/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#define _GNU_SOURCE
#include "test-publisher.h"
#include "lms-wire.h"

#include <fcntl.h>
#include <unistd.h>

/* Where the sizes of the rooms' messages are in the file */
#define SIZES_OFFSET (64 + 4 * LMS_SLOT_COUNT)

struct publisher {
	struct lms_env env;
	const struct lms_request *request;
	/* What was published last */
	uint8_t message[LMS_SLOT_ROOM];
	uint32_t size;
};

struct publisher *publisher_new(struct lms_env *env)
{
	struct publisher *publisher = calloc(1, sizeof(*publisher));
	char path[512];

	publisher->env.dir = env->dir;
	publisher->env.set = env->set;
	publisher->env.fork_count = env->fork_count;
	snprintf(path, sizeof(path), "%s/store.lock", env->dir);
	publisher->env.lock_fd = open(path, O_RDWR | O_CLOEXEC);
	CHECK(publisher->env.lock_fd >= 0);
	CHECK(lms_slots_get(&publisher->env) != NULL && lms_slot_claim(publisher->env.slots) == 0);
	return publisher;
}

void publisher_free(struct publisher **publisher)
{
	/* First the locks, so that nothing is tidied up. */
	close((*publisher)->env.lock_fd);
	(*publisher)->env.lock_fd = -1;
	lms_slots_close(&(*publisher)->env);
	free(*publisher);
	*publisher = NULL;
}

bool test_same_folder(struct lms_folder a, struct lms_folder b)
{
	return a.folder_id == b.folder_id && memcmp(a.guid, b.guid, sizeof(a.guid)) == 0 &&
		a.uidvalidity == b.uidvalidity && a.uidnext == b.uidnext &&
		a.first_recent_uid == b.first_recent_uid && a.change == b.change && a.epoch == b.epoch &&
		a.changes_since == b.changes_since && a.flag_change == b.flag_change &&
		a.modseq_floor == b.modseq_floor && a.messages == b.messages && a.seen == b.seen &&
		a.physical_size == b.physical_size && a.virtual_size == b.virtual_size &&
		a.have_pop3_uidl == b.have_pop3_uidl && a.have_pop3_order == b.have_pop3_order;
}

void publisher_publish_message(struct publisher *publisher, struct lms_buffer *message)
{
	CHECK(lms_slot_publish(publisher->env.slots, message) == 0);
	memcpy(publisher->message, message->data, message->size);
	publisher->size = (uint32_t)message->size;
}

void publisher_repeat(struct publisher *publisher)
{
	unsigned int slot = publisher_slot(publisher);
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/" LMS_FILE_SLOTS, publisher->env.dir);
	fd = open(path, O_RDWR | O_CLOEXEC);
	CHECK(pwrite(fd, publisher->message, publisher->size, (off_t)(slot + 1) * LMS_SLOT_ROOM) ==
	      (ssize_t)publisher->size);
	CHECK(pwrite(fd, &publisher->size, 4, SIZES_OFFSET + 4 * slot) == 4);
	close(fd);
	publisher_set_state(publisher, LMS_SLOT_PENDING);
}

void publisher_publish(struct publisher *publisher, const struct lms_request *request, uint64_t memory_limit)
{
	static const uint8_t head[LMS_SLOT_HEAD];
	struct lms_buffer message;

	publisher->request = request;
	lms_buffer_init(&message);
	lms_buffer_add(&message, head, sizeof(head));
	CHECK(lms_wire_put_request(&message, request, memory_limit, LMS_SLOT_ROOM));
	publisher_publish_message(publisher, &message);
	lms_buffer_free(&message);
}

enum lms_slot_state publisher_state(const struct publisher *publisher)
{
	return lms_slot_state(publisher->env.slots, lms_slot_own(publisher->env.slots));
}

void publisher_set_state(struct publisher *publisher, enum lms_slot_state state)
{
	lms_slot_set_state(publisher->env.slots, lms_slot_own(publisher->env.slots), state);
}

unsigned int publisher_count_waiting(struct publisher *publisher)
{
	struct lms_slots *slots = publisher->env.slots;
	unsigned int slot, count = 0;

	for (slot = lms_slots_find(slots, 0); slot < LMS_SLOT_COUNT; slot = lms_slots_find(slots, slot + 1))
		count++;
	return count;
}

unsigned int publisher_slot(const struct publisher *publisher)
{
	return lms_slot_own(publisher->env.slots);
}

int publisher_result(struct publisher *publisher, bool *made_garbage_r)
{
	struct lms_slots *slots = publisher->env.slots;
	struct lms_slot_id id = lms_slot_own_id(slots);
	struct lms_slot_message message;
	int ret;

	memset(&test_error, 0, sizeof(test_error));
	CHECK_U64(publisher_state(publisher), LMS_SLOT_DONE);
	if (!CHECK(lms_slot_read(slots, lms_slot_own(slots), &message) == 0))
		return -1;
	CHECK(memcmp(&message.id, &id, sizeof(id)) == 0);
	ret = lms_wire_get_result(message.data, message.size, publisher->request, &test_reply, &test_error,
				  made_garbage_r);
	CHECK(ret <= 0);
	free(message.memory);
	return ret;
}
