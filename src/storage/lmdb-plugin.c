/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "mail-storage-hooks.h"
#include "lmdb-idle.h"
#include "lmdb-plugin.h"
#include "lmdb-storage.h"
#include "lmdb-virtual.h"

const char *lmdb_plugin_version = DOVECOT_ABI_VERSION;

static struct mail_storage_hooks hooks = {
	.mailbox_allocated = lmdb_virtual_mailbox_allocated,
	.mail_allocated = lmdb_virtual_mail_allocated,
};

void lmdb_plugin_init(struct module *module)
{
	mailbox_list_register(&lmdb_mailbox_list);
	mail_storage_class_register(&lmdb_storage);
	mail_storage_hooks_add(module, &hooks);
}

void lmdb_plugin_deinit(void)
{
	mail_storage_hooks_remove(&hooks);
	mail_storage_class_unregister(&lmdb_storage);
	mailbox_list_unregister(&lmdb_mailbox_list);
	lmdb_idle_deinit();
}
