/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef TEST_STATE_H
#define TEST_STATE_H

#include "lms.h"

/* Everything that the read functions tell about a store, as text (malloc()ed), but for random ids. Two stores with the
   same text are the same for users. With details also bodies' content (as hashes), UIDVALIDITYs and GUIDs. */
char *test_state(struct lms_env *env, bool details);

#endif
