/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMS_NOTIFY_H
#define LMS_NOTIFY_H

#include "lms.h"

/*
 * Notify files: dir/notify/<folder id in hex> is written to (one byte, never flushed) after each commit that changed
 * the folder's messages, and dir/notify/0 after each change of the folder tree, the subscriptions or any folder: watch
 * them with inotify or stat(). A file exists once somebody watched it.
 */

/* Path of the notify file of a folder (0: the store), created if missing. malloc()ed, the caller frees.
   Returns 0 or -1. */
int lms_notify_path(struct lms_env *env, uint64_t folder_id, char **path_r, struct lms_error *error_r);

/* Write to the notify files of a folder and of the store, if they exist: for changes that aren't in the store yet. Done
   by lms_submit() for its own. Failure isn't reported: watchers also look from time to time. */
void lms_notify_touch(struct lms_env *env, uint64_t folder_id);

#endif
