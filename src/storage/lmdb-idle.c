/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "ioloop.h"
#include "lmdb-idle.h"

/* Enough for an LMTP connection that brings mail to many users; each takes four descriptors. */
#define IDLE_MAX 64
/* No environment is idle for longer. */
#define IDLE_MSECS 1000

static struct timeout *to_close;

static void close_all(void *context ATTR_UNUSED)
{
	timeout_remove(&to_close);
	lms_env_close_idle();
}

void lmdb_idle_close(struct lms_env **env)
{
	struct ioloop *ioloop = io_loop_get_root();

	if (*env == NULL)
		return;
	/* Without an event loop nobody would close it. */
	lms_env_keep_idle(ioloop == NULL ? 0 : IDLE_MAX);
	lms_env_close(env);
	if (ioloop != NULL && to_close == NULL)
		to_close = timeout_add_short_to(ioloop, IDLE_MSECS, close_all, NULL);
}

void lmdb_idle_deinit(void)
{
	timeout_remove(&to_close);
	lms_env_keep_idle(0);
}
