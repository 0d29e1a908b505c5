/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef TEST_PUBLISHER_H
#define TEST_PUBLISHER_H

#include "lms-slot.h"
#include "test-common.h"

/*
 * A process that has left a request in the slot file and waits, as far as a leader can see: it has descriptors, locks
 * and a mapping of its own, but lives in the test's process, so that what happens doesn't depend on time.
 */
struct publisher;

struct publisher *publisher_new(struct lms_env *env);
/* It ends as a process does that is killed. */
void publisher_free(struct publisher **publisher);
/* Leave a request. It must live until its result is taken. memory_limit: as if that were its RLIMIT_AS. */
void publisher_publish(struct publisher *publisher, const struct lms_request *request, uint64_t memory_limit);
/* The same with a message of its own, whose first LMS_SLOT_HEAD bytes are free. */
void publisher_publish_message(struct publisher *publisher, struct lms_buffer *message);
/* Wait again for what was published last: as if the leader had been killed before it gave a result. */
void publisher_repeat(struct publisher *publisher);
enum lms_slot_state publisher_state(const struct publisher *publisher);
void publisher_set_state(struct publisher *publisher, enum lms_slot_state state);
/* How many requests of all processes wait? */
unsigned int publisher_count_waiting(struct publisher *publisher);
unsigned int publisher_slot(const struct publisher *publisher);
/* The result in test_reply and test_error. *made_garbage_r: it left garbage. Returns as lms_submit(). */
int publisher_result(struct publisher *publisher, bool *made_garbage_r);

bool test_same_folder(struct lms_folder a, struct lms_folder b);

#endif
