/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-guard.h"
#include "lms-private.h"

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

struct lms_guard *volatile lms_guard_top;
struct lms_guard_writing lms_guard_writing;

/* SIGABRT: where LMDB has overwritten memory, malloc() ends the process. Nothing can be saved then. */
static const int guarded_signals[] = { SIGBUS, SIGSEGV, SIGFPE, SIGABRT };
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

static struct iovec text_part(const char *text)
{
	struct iovec part = { (void *)(uintptr_t)text, strlen(text) };

	return part;
}

/* The process ends, perhaps because of the file that it was writing to: say so where it can be read. */
static void tell_crash(void)
{
	const char *dir = lms_guard_writing.dir;
	struct iovec parts[4];

	if (dir == NULL)
		return;
	parts[0] = text_part(dir);
	parts[1] = text_part("/" LMS_FILE_DATA ": the process crashed while writing. If that happens again, the file is "
			     "damaged: ");
	parts[2] = text_part(lms_guard_writing.remedy);
	parts[3] = text_part("\n");
	lms_guard_writing.dir = NULL;
	if (writev(STDERR_FILENO, parts, 4) < 0)
		return;
}

static void handle_signal(int signo)
{
	unsigned int i;

	if (signo != SIGABRT)
		lms_guard_fault();
	tell_crash();
	/* Not ours: returning repeats the instruction, now with the previous handler. */
	for (i = 0; i < GUARDED_COUNT; i++) {
		if (guarded_signals[i] == signo)
			sigaction(signo, &previous[i], NULL);
	}
	if (signo == SIGABRT)
		raise(signo);
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
