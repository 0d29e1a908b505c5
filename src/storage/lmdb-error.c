/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "mail-storage-private.h"
#include "mailbox-list-private.h"
#include "lmdb-error.h"

struct lmdb_client_error {
	enum mail_error error;
	const char *text;
	bool log;
};

static struct lmdb_client_error client_error(const char *vname, const struct lms_error *error)
{
	switch (error->code) {
	case LMS_NOTFOUND:
		return (struct lmdb_client_error) { MAIL_ERROR_NOTFOUND, T_MAIL_ERR_MAILBOX_NOT_FOUND(vname), FALSE };
	case LMS_EXISTS:
		return (struct lmdb_client_error) { MAIL_ERROR_EXISTS, "Mailbox already exists", FALSE };
	case LMS_INVALID:
		return (struct lmdb_client_error) { MAIL_ERROR_NOTPOSSIBLE, error->text, FALSE };
	case LMS_NOSPACE:
		/* not MAIL_ERROR_NOQUOTA: LMTP would bounce the mail */
		return (struct lmdb_client_error) { MAIL_ERROR_UNAVAILABLE, "Not enough disk space", TRUE };
	case LMS_ACCESS:
		return (struct lmdb_client_error) { MAIL_ERROR_PERM, MAIL_ERRSTR_NO_PERMISSION, TRUE };
	case LMS_MEMORY:
	case LMS_UNSUITABLE:
	case LMS_NEWER:
	case LMS_DAMAGED:
	case LMS_IO:
		break;
	case LMS_OK:
		i_unreached();
	}
	return (struct lmdb_client_error) { MAIL_ERROR_TEMP, NULL, TRUE };
}

void lmdb_storage_set_error(struct mail_storage *storage, const char *vname, const struct lms_error *error)
{
	struct lmdb_client_error client = client_error(vname, error);

	/* the log line first: it sets an internal error, which a better one for the client then replaces */
	if (client.log)
		mail_storage_set_critical(storage, "%s", error->text);
	if (client.text != NULL)
		mail_storage_set_error(storage, client.error, client.text);
}

void lmdb_mailbox_set_error(struct mailbox *box, const struct lms_error *error)
{
	struct lmdb_client_error client = client_error(box->vname, error);

	if (client.log)
		mailbox_set_critical(box, "%s", error->text);
	if (client.text != NULL)
		mail_storage_set_error(box->storage, client.error, client.text);
}

void lmdb_list_set_error(struct mailbox_list *list, const char *vname, const struct lms_error *error)
{
	struct lmdb_client_error client = client_error(vname, error);

	if (client.log)
		mailbox_list_set_critical(list, "%s", error->text);
	if (client.text != NULL)
		mailbox_list_set_error(list, client.error, client.text);
}
