/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_VIRTUAL_H
#define LMDB_VIRTUAL_H

struct mailbox;

/* Hook of every mailbox that is allocated: have searches in a virtual one, made of mailboxes of ours, look into their
   search index. */
void lmdb_virtual_mailbox_allocated(struct mailbox *box);

#endif
