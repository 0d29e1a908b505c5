/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_COPY_H
#define LMDB_COPY_H

/* mailbox_vfuncs.copy: inside a store no byte of the body is copied, and a move is one transaction. */
int lmdb_copy(struct mail_save_context *ctx, struct mail *mail);

#endif
