/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#define _GNU_SOURCE
#include "lms-slot.h"
#include "lms-dir.h"
#include "lms-guard.h"
#include "lms-lock.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Raised with every change of what is in the file or in a message. */
#define SLOTS_VERSION 0x6c736c01u
#define HEADER_SIZE 4096
/* The part of a commit's time, and the longest time, that a leader waits for others */
#define GATHER_PART 16
#define GATHER_USECS_MAX 1000

struct header {
	uint32_t version;
	/* How many more requests the leader waits for */
	uint32_t missing;
	/* How many others waited when the last commit was done, and how long it took */
	uint32_t others, usecs;
	/* Where the search for one to wake begins */
	uint32_t turn;
	uint32_t reserved[11];
	uint32_t state[LMS_SLOT_COUNT];
	/* Bytes of the message in the room, with its head */
	uint32_t size[LMS_SLOT_COUNT];
};

/* The head of a message: the checksum is that of all after it. */
struct head {
	uint64_t checksum;
	struct lms_slot_id id;
};
_Static_assert(sizeof(struct head) == LMS_SLOT_HEAD, "room for the head of a message");
_Static_assert(sizeof(struct header) <= HEADER_SIZE, "the words fit in the first page");

struct lms_slots {
	struct lms_env *env;
	int fd;
	struct header *header;
	unsigned int own;
	struct lms_slot_id id;
	/* When this process last began to lead */
	uint64_t began;
};

/* The words may be cut off from the file at any time: then they are read as 0 and nothing is written. */

static int load(uint32_t *word, uint32_t *value_r)
{
	*value_r = __atomic_load_n(word, __ATOMIC_SEQ_CST);
	return 0;
}

static int guarded_load(uint32_t *word, uint32_t *value_r)
{
	LMS_GUARDED(load(word, value_r));
}

static uint32_t get_word(uint32_t *word)
{
	uint32_t value;

	return guarded_load(word, &value) == 0 ? value : 0;
}

static int store(uint32_t *word, uint32_t value)
{
	__atomic_store_n(word, value, __ATOMIC_SEQ_CST);
	return 0;
}

static int guarded_store(uint32_t *word, uint32_t value)
{
	LMS_GUARDED(store(word, value));
}

static void set_word(uint32_t *word, uint32_t value)
{
	(void)guarded_store(word, value);
}

static int compare_and_swap(uint32_t *word, uint32_t expected, uint32_t value)
{
	return __atomic_compare_exchange_n(word, &expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST) ? 1 : 0;
}

static int guarded_swap(uint32_t *word, uint32_t expected, uint32_t value)
{
	LMS_GUARDED(compare_and_swap(word, expected, value));
}

static bool swap_word(uint32_t *word, uint32_t expected, uint32_t value)
{
	return guarded_swap(word, expected, value) == 1;
}

static int sleep_on(uint32_t *word, uint32_t value, uint64_t usecs)
{
	struct timespec timeout = { (time_t)(usecs / 1000000), (long)(usecs % 1000000 * 1000) };

	return syscall(SYS_futex, word, FUTEX_WAIT, value, &timeout, NULL, 0) == 0 ? 0 : errno;
}

static void wake(uint32_t *word)
{
	(void)syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static off_t room(unsigned int slot)
{
	return (off_t)(slot + 1) * LMS_SLOT_ROOM;
}

static bool is_pending(uint32_t state)
{
	return state == LMS_SLOT_PENDING || state == LMS_SLOT_NUDGED;
}

static bool slots_path(const struct lms_env *env, char path[PATH_MAX])
{
	return (size_t)snprintf(path, PATH_MAX, "%s/" LMS_FILE_SLOTS, env->dir) < PATH_MAX;
}

/* The page is written through a map, where a full disk would be a SIGBUS: so it gets its space first. */
static bool prepare_file(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	if (st.st_size >= HEADER_SIZE && st.st_blocks * 512 >= HEADER_SIZE)
		return true;
	return posix_fallocate(fd, 0, HEADER_SIZE) == 0;
}

static int open_file(struct lms_env *env, const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0 && errno == ENOENT)
		fd = lms_dir_create_file(path, &env->set, NULL);
	if (fd >= 0 && !prepare_file(fd)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static struct lms_slots *slots_new(struct lms_env *env, int fd)
{
	struct lms_slots *slots = calloc(1, sizeof(*slots));
	void *map = mmap(NULL, HEADER_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (slots == NULL || map == MAP_FAILED) {
		if (map != MAP_FAILED)
			munmap(map, HEADER_SIZE);
		free(slots);
		close(fd);
		return NULL;
	}
	slots->env = env;
	slots->fd = fd;
	slots->header = map;
	slots->own = LMS_SLOT_COUNT;
	return slots;
}

static void slots_free(struct lms_slots *slots)
{
	munmap(slots->header, HEADER_SIZE);
	close(slots->fd);
	free(slots);
}

static bool has_version(struct lms_slots *slots)
{
	(void)swap_word(&slots->header->version, 0, SLOTS_VERSION);
	return get_word(&slots->header->version) == SLOTS_VERSION;
}

static struct lms_slots *slots_open(struct lms_env *env)
{
	struct lms_slots *slots;
	char path[PATH_MAX];
	unsigned int try;
	int fd;

	if (!slots_path(env, path))
		return NULL;
	for (try = 0; try < 2; try++) {
		fd = open_file(env, path);
		slots = fd < 0 ? NULL : slots_new(env, fd);
		if (slots == NULL || has_version(slots))
			return slots;
		slots_free(slots);
		/* Of another version, or of none. If nobody uses it, it makes way for a new one. */
		if (lms_slots_are_used(env) || unlink(path) < 0)
			return NULL;
	}
	return NULL;
}

static bool is_deleted(const struct lms_slots *slots)
{
	struct stat st;

	return fstat(slots->fd, &st) < 0 || st.st_nlink == 0 || st.st_size < HEADER_SIZE;
}

struct lms_slots *lms_slots_get(struct lms_env *env)
{
	if (env->slots != NULL && is_deleted(env->slots))
		lms_slots_close(env);
	if (env->slots == NULL)
		env->slots = slots_open(env);
	return env->slots;
}

bool lms_slots_are_used(struct lms_env *env)
{
	return lms_lock_any_taken(env->lock_fd, LMS_LOCK_SLOT, LMS_SLOT_COUNT);
}

void lms_slots_close(struct lms_env *env)
{
	struct lms_slots *slots = env->slots;
	struct stat st;

	env->slots = NULL;
	if (slots == NULL)
		return;
	/* A child's copy of the lock file's descriptor has the parent's locks. */
	if (slots->own < LMS_SLOT_COUNT && lms_env_usable(env, NULL) == 0) {
		lms_slot_drop(slots);
		/* The last one gives the rooms' space back. Who is just coming will have to be the leader. */
		if (!lms_slots_are_used(env) && fstat(slots->fd, &st) == 0 && st.st_size > HEADER_SIZE) {
			int ret = ftruncate(slots->fd, HEADER_SIZE);

			(void)ret;
		}
	}
	slots_free(slots);
}

/* Returns 0 if the slot is this process's now. */
static int try_claim(struct lms_slots *slots, unsigned int slot)
{
	uint32_t *state = &slots->header->state[slot];

	if (lms_lock_try(slots->env->lock_fd, LMS_LOCK_SLOT + slot) != 0)
		return -1;
	/* A request of a dead owner: it's the leader's to put it aside, who may be reading it. */
	if (is_pending(get_word(state))) {
		lms_lock_drop(slots->env->lock_fd, LMS_LOCK_SLOT + slot);
		return -1;
	}
	slots->own = slot;
	set_word(state, LMS_SLOT_IDLE);
	return 0;
}

int lms_slot_claim(struct lms_slots *slots)
{
	unsigned int slot, pass;
	uint32_t state;

	if (slots->own < LMS_SLOT_COUNT)
		return 0;
	if (getrandom(&slots->id, sizeof(slots->id), 0) != sizeof(slots->id))
		return -1;
	/* First those that are free, then those whose owners may have died. */
	for (pass = 0; pass < 2; pass++) {
		for (slot = 0; slot < LMS_SLOT_COUNT; slot++) {
			state = get_word(&slots->header->state[slot]);
			if ((state == LMS_SLOT_FREE) == (pass == 0) && !is_pending(state) &&
			    try_claim(slots, slot) == 0)
				return 0;
		}
	}
	return -1;
}

void lms_slot_drop(struct lms_slots *slots)
{
	if (slots->own == LMS_SLOT_COUNT)
		return;
	swap_word(&slots->header->state[slots->own], LMS_SLOT_IDLE, LMS_SLOT_FREE);
	lms_lock_drop(slots->env->lock_fd, LMS_LOCK_SLOT + slots->own);
	slots->own = LMS_SLOT_COUNT;
}

unsigned int lms_slot_own(const struct lms_slots *slots)
{
	return slots->own;
}

struct lms_slot_id lms_slot_own_id(const struct lms_slots *slots)
{
	return slots->id;
}

enum lms_slot_state lms_slot_state(struct lms_slots *slots, unsigned int slot)
{
	return get_word(&slots->header->state[slot]);
}

void lms_slot_end(struct lms_slots *slots)
{
	/* So that no stray state makes the request wait again. */
	set_word(&slots->header->size[slots->own], 0);
	set_word(&slots->header->state[slots->own], LMS_SLOT_IDLE);
}

void lms_slot_set_state(struct lms_slots *slots, unsigned int slot, enum lms_slot_state state)
{
	set_word(&slots->header->state[slot], state);
}

void lms_slot_change_state(struct lms_slots *slots, unsigned int slot, enum lms_slot_state expected,
			   enum lms_slot_state state)
{
	(void)swap_word(&slots->header->state[slot], expected, state);
}

static uint64_t checksum(const void *message, size_t size)
{
	return XXH3_64bits((const uint8_t *)message + sizeof(uint64_t), size - sizeof(uint64_t));
}

static int write_message(struct lms_slots *slots, unsigned int slot, const struct lms_slot_id *id,
			 struct lms_buffer *message)
{
	struct head head = { 0, *id };

	if (message->failed || message->size > LMS_SLOT_ROOM)
		return -1;
	memcpy(message->data, &head, sizeof(head));
	head.checksum = checksum(message->data, message->size);
	memcpy(message->data, &head, sizeof(head));
	if (pwrite(slots->fd, message->data, message->size, room(slot)) != (ssize_t)message->size)
		return -1;
	set_word(&slots->header->size[slot], (uint32_t)message->size);
	return 0;
}

int lms_slot_read(struct lms_slots *slots, unsigned int slot, struct lms_slot_message *message_r)
{
	uint32_t size = get_word(&slots->header->size[slot]);
	struct head head;

	memset(message_r, 0, sizeof(*message_r));
	if (size < sizeof(head) || size > LMS_SLOT_ROOM)
		return 1;
	message_r->memory = malloc(size);
	if (message_r->memory == NULL)
		return -1;
	if (pread(slots->fd, message_r->memory, size, room(slot)) == (ssize_t)size) {
		memcpy(&head, message_r->memory, sizeof(head));
		if (head.checksum == checksum(message_r->memory, size)) {
			message_r->id = head.id;
			message_r->data = message_r->memory + sizeof(head);
			message_r->size = size - sizeof(head);
			return 0;
		}
	}
	free(message_r->memory);
	message_r->memory = NULL;
	return 1;
}

int lms_slot_publish(struct lms_slots *slots, struct lms_buffer *message)
{
	uint32_t *missing = &slots->header->missing, count;

	slots->id.number++;
	if (write_message(slots, slots->own, &slots->id, message) < 0)
		return -1;
	set_word(&slots->header->state[slots->own], LMS_SLOT_PENDING);
	do {
		count = get_word(missing);
	} while (count > 0 && !swap_word(missing, count, count - 1));
	if (count == 1)
		wake(missing);
	return 0;
}

int lms_slot_wait(struct lms_slots *slots, enum lms_slot_state state, unsigned int msecs)
{
	switch (sleep_on(&slots->header->state[slots->own], state, msecs * 1000)) {
	case 0:
	case EAGAIN:
	case EINTR:
		return 0;
	case ETIMEDOUT:
		return 1;
	default:
		return -1;
	}
}

static int find_pending(const uint32_t *states, unsigned int *slot)
{
	while (*slot < LMS_SLOT_COUNT && !is_pending(__atomic_load_n(&states[*slot], __ATOMIC_SEQ_CST)))
		(*slot)++;
	return 0;
}

static int guarded_find(const uint32_t *states, unsigned int *slot)
{
	LMS_GUARDED(find_pending(states, slot));
}

unsigned int lms_slots_find(struct lms_slots *slots, unsigned int slot)
{
	return guarded_find(slots->header->state, &slot) == 0 ? slot : LMS_SLOT_COUNT;
}

bool lms_slot_is_owned(struct lms_slots *slots, unsigned int slot)
{
	return slot == slots->own || lms_lock_is_taken(slots->env->lock_fd, LMS_LOCK_SLOT + slot);
}

void lms_slot_send_away(struct lms_slots *slots, unsigned int slot)
{
	set_word(&slots->header->state[slot], LMS_SLOT_ALONE);
	wake(&slots->header->state[slot]);
}

void lms_slot_finish(struct lms_slots *slots, unsigned int slot, const struct lms_slot_id *id,
		     struct lms_buffer *message)
{
	/* Without a result its owner finds by itself that the request was carried out. */
	if (write_message(slots, slot, id, message) < 0) {
		lms_slot_send_away(slots, slot);
		return;
	}
	set_word(&slots->header->state[slot], LMS_SLOT_DONE);
	wake(&slots->header->state[slot]);
}

static uint64_t now_usecs(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* Of other processes */
static unsigned int count_pending(struct lms_slots *slots)
{
	unsigned int slot, count = 0;

	for (slot = lms_slots_find(slots, 0); slot < LMS_SLOT_COUNT; slot = lms_slots_find(slots, slot + 1))
		count += slot == slots->own ? 0 : 1;
	return count;
}

void lms_slots_gather(struct lms_slots *slots)
{
	uint32_t wanted = get_word(&slots->header->others), missing;
	uint64_t now = slots->began = now_usecs(), end = get_word(&slots->header->usecs) / GATHER_PART;
	unsigned int here = count_pending(slots);

	if (wanted > LMS_SLOT_COUNT || wanted <= here)
		return;
	end = now + (end < GATHER_USECS_MAX ? end : GATHER_USECS_MAX);
	set_word(&slots->header->missing, wanted - here);
	while ((missing = get_word(&slots->header->missing)) > 0 && now < end) {
		int err = sleep_on(&slots->header->missing, missing, end - now);

		if (err != 0 && err != EAGAIN && err != EINTR)
			break;
		now = now_usecs();
	}
	set_word(&slots->header->missing, 0);
	slots->began = now;
}

void lms_slots_note(struct lms_slots *slots)
{
	uint64_t usecs = now_usecs() - slots->began;

	/* Those of this commit still count as waiting, and some have come since. */
	set_word(&slots->header->others, count_pending(slots));
	set_word(&slots->header->usecs, usecs < UINT32_MAX ? (uint32_t)usecs : UINT32_MAX);
}

void lms_slots_nudge(struct lms_slots *slots)
{
	uint32_t turn = get_word(&slots->header->turn) % LMS_SLOT_COUNT;
	unsigned int slot = lms_slots_find(slots, turn);

	if (slot == LMS_SLOT_COUNT)
		slot = lms_slots_find(slots, 0);
	if (slot == LMS_SLOT_COUNT)
		return;
	set_word(&slots->header->turn, slot + 1);
	lms_slot_change_state(slots, slot, LMS_SLOT_PENDING, LMS_SLOT_NUDGED);
	wake(&slots->header->state[slot]);
}
