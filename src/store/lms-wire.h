/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMS_WIRE_H
#define LMS_WIRE_H

#include "lms-buffer.h"
#include "lms-request.h"

/*
 * Requests and their results as bytes, for processes of the same version on the same machine. What is read is checked:
 * any bytes give a request or an error.
 */

/* Add a request to buf. Returns false if another process can't carry it out, or if request or result could have more
   than max bytes. memory_limit: RLIMIT_AS of this process, 0 for none. */
bool lms_wire_put_request(struct lms_buffer *buf, const struct lms_request *request, uint64_t memory_limit,
			  size_t max);

struct lms_wire_request {
	/* It points into the data and into memory of its own. */
	struct lms_request request;
	uint64_t memory_limit;
	struct lms_wire_block *blocks;
};
/* Returns 0, or -1 if this is no request, or if out of memory. Free in both cases. */
int lms_wire_get_request(struct lms_wire_request *wire, const void *data, size_t size);
void lms_wire_request_free(struct lms_wire_request *wire);

/* Add the result of a request: reply, or if error isn't NULL, that. made_garbage: bodies lost their last message. */
void lms_wire_put_result(struct lms_buffer *buf, const struct lms_request *request, const struct lms_reply *reply,
			 const struct lms_error *error, bool made_garbage);
/* Returns 0 or -1 as lms_submit() would, or 1 if this is no result of the request. */
int lms_wire_get_result(const void *data, size_t size, const struct lms_request *request, struct lms_reply *reply_r,
			struct lms_error *error_r, bool *made_garbage_r);

#endif
