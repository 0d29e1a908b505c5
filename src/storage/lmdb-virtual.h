/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_VIRTUAL_H
#define LMDB_VIRTUAL_H

struct mail;
struct mailbox;

/* Hooks of every mailbox and mail that are allocated: have searches in a virtual mailbox, made of mailboxes of ours,
   look into their search index. */
void lmdb_virtual_mailbox_allocated(struct mailbox *box);
void lmdb_virtual_mail_allocated(struct mail *mail);

#endif
