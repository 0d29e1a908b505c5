/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_JOURNAL_H
#define LMDB_JOURNAL_H

#include "lmdb-storage.h"

/* Look at what was added to dovecot.index.log since the last call, up to what the index has read: mbox->journal then
   says whether flag changes or expunges wait there. The cost is that of the added part. */
void lmdb_journal_scan(struct lmdb_mailbox *mbox);
/* After a refresh of the index: cut off the piece of a transaction at the end of the journal that a process leaves which is
   killed in the midst of writing it. Nobody was told of that transaction, but core takes the piece for damage, fails, and
   gives up the journal, with what waits in it for the store. What can't be cut off is left to core. */
void lmdb_journal_cut(struct lmdb_mailbox *mbox);
/* Bytes of the journal that wait, other changes among them included. */
uoff_t lmdb_journal_size(const struct lmdb_mailbox *mbox);

#endif
