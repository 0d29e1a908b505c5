/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_REBUILD_H
#define LMDB_REBUILD_H

#include "lmdb-storage.h"

/* Build the view anew if it is foreign (it may have been another process's turn). MODSEQs begin at the folder's floor,
   and QRESYNC clients of earlier times get all that vanished. Returns 0, or -1 with the error set. */
int lmdb_rebuild(struct lmdb_mailbox *mbox);
/* The view is ahead of the folder: UIDs and MODSEQs that the store will give again have been seen. Give the folder a new
   epoch and UIDVALIDITY, and say so in the log. Returns 0, or -1 with the error set. */
int lmdb_rebuild_new_epoch(struct lmdb_mailbox *mbox);

#endif
