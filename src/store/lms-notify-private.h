/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMS_NOTIFY_PRIVATE_H
#define LMS_NOTIFY_PRIVATE_H

#include "lms.h"

/* Write to one notify file (0: the store's) only. */
void lms_notify_write(struct lms_env *env, uint64_t folder_id);
/* The folder is gone, and so are all who could watch it anew. */
void lms_notify_remove(struct lms_env *env, uint64_t folder_id);

#endif
