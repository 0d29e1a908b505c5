/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_SYNC_H
#define LMDB_SYNC_H

#include "lmdb-storage.h"

enum lmdb_sync_flags {
	/* bring also flag changes to the store that could wait in the journal */
	LMDB_SYNC_FLAG_DRAIN = 0x01,
	/* compare all of the view with the store (doveadm force-resync) */
	LMDB_SYNC_FLAG_COMPARE = 0x02
};

/* Bring view and store in line. Returns 0, or -1 with the error set. */
int lmdb_sync(struct lmdb_mailbox *mbox, enum lmdb_sync_flags flags);
/* Before the mailbox is closed: drain, so that the journal needn't be kept. */
void lmdb_sync_close(struct lmdb_mailbox *mbox);

/* mailbox_vfuncs.sync_init */
struct mailbox_sync_context *lmdb_sync_init(struct mailbox *box, enum mailbox_sync_flags flags);

#endif
