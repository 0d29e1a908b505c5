/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "mail-storage-hooks.h"
#include "lmdb-compat.h"
#include "lmdb-fts-compat.h"
#include "fts-lmdb-plugin.h"

const char *fts_lmdb_plugin_version = DOVECOT_ABI_VERSION;
const char *fts_lmdb_plugin_dependencies[] = { "fts", "lmdb", NULL };

static struct mail_storage_hooks hooks = {
	.mail_user_created = lmdb_fts_user_created,
};

void fts_lmdb_plugin_init(struct module *module)
{
	fts_backend_register(&fts_backend_lmdb);
	mail_storage_hooks_add(module, &hooks);
}

void fts_lmdb_plugin_deinit(void)
{
	mail_storage_hooks_remove(&hooks);
	fts_backend_unregister(fts_backend_lmdb.name);
}
