/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_ERROR_H
#define LMDB_ERROR_H

#include "lms.h"

struct mail_storage;
struct mailbox_list;
struct mailbox;

/*
 * The only translation of what the store reports to what the client (RFC 5530 response codes) and the administrator
 * (log) see. vname is the mailbox the client named. Errors that the client can cause aren't logged.
 */
void lmdb_storage_set_error(struct mail_storage *storage, const char *vname, const struct lms_error *error);
void lmdb_mailbox_set_error(struct mailbox *box, const struct lms_error *error);
void lmdb_list_set_error(struct mailbox_list *list, const char *vname, const struct lms_error *error);

#endif
