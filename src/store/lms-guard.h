/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMS_GUARD_H
#define LMS_GUARD_H

#include <setjmp.h>

/*
 * LMDB trusts its file: a page that is missing (truncated file) or damaged makes it read outside of the file or fail
 * an assertion. A guard around its calls turns both into LMS_RC_FAULT.
 */
struct lms_guard {
	sigjmp_buf jump;
	struct lms_guard *outer;
};

extern struct lms_guard *volatile lms_guard_top;

static inline void lms_guard_enter(struct lms_guard *guard)
{
	guard->outer = lms_guard_top;
	lms_guard_top = guard;
}

static inline void lms_guard_leave(struct lms_guard *guard)
{
	lms_guard_top = guard->outer;
}

/*
 * The whole body of a function that makes a call in a guard and returns its result, or LMS_RC_FAULT. The call must not
 * hold anything that would be lost if it is left in its midst.
 */
#define LMS_GUARDED(call) \
	struct lms_guard guard; \
	int guarded_rc; \
	\
	if (sigsetjmp(guard.jump, 0) != 0) \
		return LMS_RC_FAULT; \
	lms_guard_enter(&guard); \
	guarded_rc = (call); \
	lms_guard_leave(&guard); \
	return guarded_rc

/*
 * What a guard can't help: LMDB changes pages in memory, and a damaged page can lead it outside of them. The process
 * then ends sooner or later; nothing of its transaction is in the file. While dir is set, it says on stderr (which
 * Dovecot logs) in which directory that happened and what to do about it.
 */
struct lms_guard_writing {
	const char *volatile dir, *volatile remedy;
};
extern struct lms_guard_writing lms_guard_writing;

/* Install and remove the handlers of SIGBUS, SIGSEGV, SIGFPE (a page size of 0) and SIGABRT. Outside of a guard they
   hand on to the previous ones. */
void lms_guard_install(void);
void lms_guard_remove(void);
/* Leave the innermost guard with LMS_RC_FAULT; returns only if there is none. */
void lms_guard_fault(void);

#endif
