/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_STATUS_H
#define LMDB_STATUS_H

#include "lmdb-storage.h"

/*
 * STATUS of a mailbox that isn't open. The folder's record has it, but for flag changes that wait in the view's
 * journal, and for what only the view knows (\Recent, HIGHESTMODSEQ). So whoever closes a view with nothing waiting
 * leaves the file "lmdb.status" beside the index: while dovecot.index.log is the file it speaks of and hasn't grown,
 * nothing waits. It is never flushed, and when it is gone or old, the view is opened instead.
 */

/* After the last sync of a mailbox that is being closed, with nothing in its journal. */
void lmdb_status_write(struct lmdb_mailbox *mbox);
/* mailbox_vfuncs.get_status of a mailbox that isn't open, for the folder of mbox->folder_id. Returns 1, 0 if the view
   must be opened for some of the items, -1 with the error set. */
int lmdb_status_get(struct lmdb_mailbox *mbox, enum mailbox_status_items items, struct mailbox_status *status_r);

#endif
