/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMS_DIR_H
#define LMS_DIR_H

#include "lms-private.h"

/* The directory of a store (or of another environment): what is in it and who may use it. */

/* Make a directory unless it exists. Returns 0 or -1. */
int lms_dir_make(const char *dir, const struct lms_env_settings *set, struct lms_error *error_r);
/* Make directory and lock file where they are missing and check the file system. Returns the lock file's descriptor,
   or -1. */
int lms_dir_open(const char *dir, const struct lms_schema *schema, const struct lms_env_settings *set,
		 struct lms_error *error_r);
/* Before LMDB opens its files: is there a data file, and how large is it? Reserves the disk space of LMDB's lock file,
   which is written through a map. */
int lms_dir_prepare(int lock_fd, const char *dir, const struct lms_schema *schema, const struct lms_env_settings *set,
		    uint64_t *file_bytes_r, bool *is_new_r, struct lms_error *error_r);
/* May this process's effective user open the files, and is the lock file still the one of the descriptor? */
bool lms_dir_would_open(int lock_fd, const char *dir, const struct lms_schema *schema);
/* Which file LMDB's lock file is. Returns 0 or -1. */
int lms_dir_lmdb_lock(const char *dir, ino_t *ino_r, struct lms_error *error_r);
/* Make a file with mode and group of the settings, or open the one that is there. Returns its descriptor, or -1. */
int lms_dir_create_file(const char *path, const struct lms_env_settings *set, struct lms_error *error_r);
/* Note in the lock file that there is a data file, if the schema says so. */
int lms_dir_mark_created(int lock_fd, const char *dir, const struct lms_schema *schema, struct lms_error *error_r);
/* Give LMDB's new files to the group of the settings. */
int lms_dir_set_group(const char *dir, const struct lms_env_settings *set, struct lms_error *error_r);

#endif
