/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-guard.h"

#include <signal.h>
#include <stddef.h>
#include <string.h>

struct lms_guard *volatile lms_guard_top;

static const int guarded_signals[] = { SIGBUS, SIGSEGV, SIGFPE };
#define GUARDED_COUNT (sizeof(guarded_signals) / sizeof(guarded_signals[0]))

static struct sigaction previous[GUARDED_COUNT];
static unsigned int install_count;

void lms_guard_fault(void)
{
	struct lms_guard *guard = lms_guard_top;

	if (guard == NULL)
		return;
	lms_guard_top = guard->outer;
	siglongjmp(guard->jump, 1);
}

static void handle_signal(int signo)
{
	unsigned int i;

	lms_guard_fault();
	/* Not ours: returning repeats the instruction, now with the previous handler. */
	for (i = 0; i < GUARDED_COUNT; i++) {
		if (guarded_signals[i] == signo)
			sigaction(signo, &previous[i], NULL);
	}
}

void lms_guard_install(void)
{
	struct sigaction action;
	unsigned int i;

	if (install_count++ > 0)
		return;
	memset(&action, 0, sizeof(action));
	action.sa_handler = handle_signal;
	sigemptyset(&action.sa_mask);
	/* The handler leaves with siglongjmp(), which doesn't restore the signal mask. */
	action.sa_flags = SA_NODEFER | SA_ONSTACK;
	for (i = 0; i < GUARDED_COUNT; i++)
		sigaction(guarded_signals[i], &action, &previous[i]);
}

void lms_guard_remove(void)
{
	struct sigaction current;
	unsigned int i;

	if (--install_count > 0)
		return;
	for (i = 0; i < GUARDED_COUNT; i++) {
		if (sigaction(guarded_signals[i], NULL, &current) == 0 && current.sa_handler == handle_signal)
			sigaction(guarded_signals[i], &previous[i], NULL);
	}
}
