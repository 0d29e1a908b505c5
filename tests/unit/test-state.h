/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef TEST_STATE_H
#define TEST_STATE_H

#include "lms.h"

/* Everything that the read functions tell about a store, as text (malloc()ed), but for ids: two stores with the same
   text are the same for users. Private attributes are those of "user". With details also what differs from one run to
   the next or takes time: bodies (as hashes), UIDVALIDITYs, GUIDs, changes, values of attributes. */
char *test_state(struct lms_env *env, bool details);

#endif
