/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_IDLE_H
#define LMDB_IDLE_H

#include "lms.h"

/* lms_env_close(), but the environment may stay open for a moment, in case that the same user comes again. */
void lmdb_idle_close(struct lms_env **env);
/* Close those that are still open. */
void lmdb_idle_deinit(void);

#endif
