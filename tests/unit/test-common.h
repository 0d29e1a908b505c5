/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef TEST_COMMON_H
#define TEST_COMMON_H

#include "lms.h"
#include "lms-folder.h"
#include "lms-message.h"
#include "lms-notify.h"
#include "lms-request.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Unit tests of the store. A program is a list of tests; each prints "ok" or "not ok" lines for its checks, and the
 * last line of the program is "N passed, N failed". Every test has a directory of its own, removed afterwards.
 */

struct test {
	const char *name;
	void (*func)(void);
};
#define TEST_END { NULL, NULL }

/* Run tests (all, or those named in argv) and return the program's exit code. */
int test_main(int argc, char *argv[], const struct test *tests);

/* Returns whether the check held; failures are printed with file and line. */
bool test_check(bool ok, const char *file, int line, const char *format, ...) __attribute__((format(printf, 4, 5)));
#define CHECK(cond) test_check((cond), __FILE__, __LINE__, "%s", #cond)
bool test_check_u64(uint64_t value, uint64_t expected, const char *file, int line, const char *text);
#define CHECK_U64(value, expected) test_check_u64((value), (expected), __FILE__, __LINE__, #value)
bool test_check_str(const char *value, const char *expected, const char *file, int line, const char *text);
#define CHECK_STR(value, expected) test_check_str((value), (expected), __FILE__, __LINE__, #value)
/* ret is that of a call with &test_error: 0 or more, or -1 with this code. */
bool test_check_ok(int ret, const char *file, int line, const char *text);
#define CHECK_OK(call) test_check_ok((call), __FILE__, __LINE__, #call)
bool test_check_fails(int ret, enum lms_code code, const char *file, int line, const char *text);
#define CHECK_FAILS(call, code) test_check_fails((call), (code), __FILE__, __LINE__, #call)

/* fork(). The child ends with test_child_exit(), with failure if a check of it failed; the parent waits with
   test_wait(). */
pid_t test_fork(void);
void test_child_exit(void) __attribute__((noreturn));
/* Wait for a child and check that it ended well, or was killed by this signal. */
void test_wait(pid_t pid, int killed_by);

/* The directory of the running test */
const char *test_dir(void);
/* Path of a file in it (static buffer, several in rotation) */
const char *test_path(const char *name);

extern struct lms_error test_error;
extern const struct lms_env_settings test_settings;

/* The store in the test's directory. Both exit on failure. */
struct lms_env *test_open(void);
struct lms_env *test_reopen(struct lms_env *env);

/* Requests; all return lms_submit()'s result with test_error, and leave the reply in test_reply. */
extern struct lms_reply test_reply;
int test_submit(struct lms_env *env, const struct lms_request *request);
/* A path from components separated by '/' (static buffer, several in rotation) */
const char *const *test_components(const char *path);
int test_create(struct lms_env *env, const char *path);
/* Create and return the id; exits on failure */
uint64_t test_folder(struct lms_env *env, const char *path);
int test_delete(struct lms_env *env, uint64_t folder_id);
int test_rename(struct lms_env *env, const char *path, const char *new_path, bool folder_only);
/* Save one message. Returns its UID, 0 on failure. */
uint32_t test_save(struct lms_env *env, uint64_t folder_id, const void *data, size_t size, uint8_t flags);
uint32_t test_save_text(struct lms_env *env, uint64_t folder_id, const char *text);
/* Copy or move messages uid1..uid2; all must be there. */
int test_copy(struct lms_env *env, uint64_t source_id, uint32_t uid1, uint32_t uid2, uint64_t folder_id, bool move);
int test_flags(struct lms_env *env, uint64_t folder_id, uint32_t uid1, uint32_t uid2, uint8_t add, uint8_t remove);
int test_keyword(struct lms_env *env, uint64_t folder_id, uint32_t uid1, uint32_t uid2, const char *name, bool add);
int test_expunge(struct lms_env *env, uint64_t folder_id, uint32_t uid1, uint32_t uid2);
int test_subscribe(struct lms_env *env, const char *name, bool subscribe);
int test_attribute(struct lms_env *env, uint64_t folder_id, const char *user, const char *key, const char *value);
/* Collect garbage until none is left. */
void test_collect(struct lms_env *env, unsigned int grace_secs);

/* Any chunk of a body. *size_r: its size; buffer has room for LMS_CHUNK_MAX bytes. */
int test_body_read(struct lms_env *env, uint64_t body_id, uint32_t chunk, void *buffer, size_t *size_r);
/* How much of data can be staged next, after done bytes of it were. */
size_t test_stage_size(const void *data, size_t done, size_t size);
/* Checks that the body has these bytes. */
bool test_body_is(struct lms_env *env, uint64_t body_id, const void *data, size_t size);
/* Bytes that differ from one seed to another */
void test_fill(void *data, size_t size, unsigned int seed);

/* The whole store is consistent. */
bool test_check_store(struct lms_env *env, const char *file, int line);
#define CHECK_STORE(env) test_check_store((env), __FILE__, __LINE__)

struct lms_folder test_folder_get(struct lms_env *env, uint64_t folder_id);

#endif
