/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_DOVEADM_COMPAT_H
#define LMDB_DOVEADM_COMPAT_H

/*
 * The differences between Dovecot versions that concern commands of doveadm.
 */

#include "doveadm-mail.h"

#if DOVECOT_PREREQ(2,4,0)

/* Parameters of a command's v.init() */
#  define LMDB_DOVEADM_INIT_PARAMS(ctx) struct doveadm_mail_cmd_context *ctx

static inline void lmdb_doveadm_accept_options(struct doveadm_mail_cmd_context *ctx ATTR_UNUSED)
{
}

#else

#  define LMDB_DOVEADM_INIT_PARAMS(ctx) \
	struct doveadm_mail_cmd_context *ctx, const char *const args[] ATTR_UNUSED

static inline bool
lmdb_doveadm_parse_arg(struct doveadm_mail_cmd_context *ctx ATTR_UNUSED, int option ATTR_UNUSED)
{
	return TRUE;
}

/* Options of the command's own, which it looks up by name, are refused without this. */
static inline void lmdb_doveadm_accept_options(struct doveadm_mail_cmd_context *ctx)
{
	ctx->v.parse_arg = lmdb_doveadm_parse_arg;
}

#endif

#endif
