/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMS_MAP_H
#define LMS_MAP_H

#include "lms-private.h"

/*
 * Size of the map. LMDB maps the whole file, so the map needs address space beyond what the file has now. Without a
 * limit on it (RLIMIT_AS) much is reserved at once, which costs nothing; with one, what the file needs and some room,
 * so that the process keeps the rest.
 */

/* RLIMIT_AS, 0 if there is none. */
uint64_t lms_map_limit(void);
/* Choose a size for a file of file_bytes, of which mapped bytes are mapped by this process now. try counts from 0 the
   attempts that turned out too small. Returns 0, or -1 with LMS_MEMORY. */
int lms_map_choose(const struct lms_env *env, uint64_t file_bytes, size_t mapped, unsigned int try, size_t *size_r,
		   struct lms_error *error_r);
/* Make the map larger than it is and than the file is. No transaction may be open. */
int lms_map_grow(struct lms_env *env, unsigned int try, struct lms_error *error_r);
/* -1 with LMS_MEMORY: a file of that size doesn't fit into the address space; names the setting to raise, and to what. */
int lms_map_fail(const struct lms_env *env, uint64_t file_bytes, struct lms_error *error_r);
/* Write to warning if the file passed 3/4 of the smallest limit. */
void lms_map_warn(struct lms_env *env, uint64_t bytes_before, uint64_t limit_before, uint64_t bytes, uint64_t limit,
		  char *warning, size_t warning_size);

/* After a short write, which LMDB reports as EIO: true and *err_r if the reason is that there is no space. */
bool lms_map_disk_full(struct lms_env *env, int *err_r);

/* Size of the map. LMDB makes it larger than it was told where the file is. */
uint64_t lms_map_bytes(struct lms_env *env);
uint64_t lms_map_page_size(struct lms_env *env);
/* Size of the data file */
uint64_t lms_map_file_bytes(struct lms_env *env);
/* Bytes of the data file that LMDB uses or has on its list of free pages. */
uint64_t lms_map_file_used(struct lms_env *env);

#endif
