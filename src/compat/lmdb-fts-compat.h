/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_FTS_COMPAT_H
#define LMDB_FTS_COMPAT_H

/*
 * The differences between Dovecot versions that concern backends of the fts plugin: what the plugin needs to know of a
 * user is set up when the user is created, with 2.3, or else with each backend.
 */

#include "mail-user.h"
#include "fts-api-private.h"
#include "fts-user.h"

#if DOVECOT_PREREQ(2,4,0)

static inline void lmdb_fts_user_created(struct mail_user *user ATTR_UNUSED)
{
}

static inline int lmdb_fts_user_init(struct fts_backend *backend, const char **error_r)
{
	return fts_mail_user_init(backend->ns->user, backend->event, FALSE, error_r);
}

#else

#include "module-context.h"

struct lmdb_fts_user {
	union mail_user_module_context module_ctx;
};

static MODULE_CONTEXT_DEFINE_INIT(lmdb_fts_user_module, &mail_user_module_register);

static inline void lmdb_fts_user_deinit(struct mail_user *user)
{
	struct lmdb_fts_user *fts_user = MODULE_CONTEXT_REQUIRE(user, lmdb_fts_user_module);

	fts_mail_user_deinit(user);
	fts_user->module_ctx.super.deinit(user);
}

/* Without this the plugin crashes at the first mailbox. */
static inline void lmdb_fts_user_created(struct mail_user *user)
{
	struct mail_user_vfuncs *v = user->vlast;
	struct lmdb_fts_user *fts_user;
	const char *error;

	if (fts_mail_user_init(user, FALSE, &error) < 0) {
		user->error = p_strdup(user->pool, error);
		return;
	}
	fts_user = p_new(user->pool, struct lmdb_fts_user, 1);
	fts_user->module_ctx.super = *v;
	user->vlast = &fts_user->module_ctx.super;
	v->deinit = lmdb_fts_user_deinit;
	MODULE_CONTEXT_SET(user, lmdb_fts_user_module, fts_user);
}

static inline int
lmdb_fts_user_init(struct fts_backend *backend ATTR_UNUSED, const char **error_r ATTR_UNUSED)
{
	return 0;
}

#endif

#endif
