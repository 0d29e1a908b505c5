/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "mail-copy.h"
#include "lmdb-compat.h"
#include "lmdb-copy.h"
#include "lmdb-mail.h"
#include "lmdb-save.h"

/* Is the source's body where the destination's would be? */
static bool same_store(struct mailbox *src, struct mailbox *dest)
{
	return lmdb_mailbox_is(src) && LMDB_MAILBOX(src)->env == LMDB_MAILBOX(dest)->env &&
		mail_storage_copy_can_use_hardlink(src, dest);
}

static int copy_in_store(struct lmdb_save_context *ctx, struct mail *mail)
{
	const struct mail_save_data *mdata = &ctx->ctx.data;
	struct lms_save_message message = {
		.source = ctx->ctx.moving ? LMS_SAVE_MOVE : LMS_SAVE_COPY,
		.source_folder_id = LMDB_MAILBOX(mail->box)->folder_id,
		.source_uid = mail->uid,
		.received = mdata->received_date != (time_t)-1 ? mdata->received_date : INT64_MIN,
	};
	const struct lms_message *record;

	if (lmdb_mail_get_record(mail, &record) < 0)
		return -1;
	lmdb_save_append(ctx);
	/* for plugins that look at the copy before it is committed */
	lmdb_mail_set_record(ctx->ctx.dest_mail, record);
	lmdb_save_add(ctx, &message, NULL);
	return 0;
}

int lmdb_copy(struct mail_save_context *_ctx, struct mail *mail)
{
	struct lmdb_save_context *ctx = LMDB_SAVECTX(_ctx);
	int ret;

	i_assert((_ctx->transaction->flags & MAILBOX_TRANSACTION_FLAG_EXTERNAL) != 0);

	if (!same_store(mail->box, _ctx->transaction->box))
		return mail_storage_copy(_ctx, mail);

	ctx->finished = TRUE;
	ret = copy_in_store(ctx, mail);
	index_save_context_free(_ctx);
	return ret;
}
