/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "lmdb-plugin.h"
#include "lmdb-storage.h"

const char *lmdb_plugin_version = DOVECOT_ABI_VERSION;

void lmdb_plugin_init(struct module *module ATTR_UNUSED)
{
	mailbox_list_register(&lmdb_mailbox_list);
	mail_storage_class_register(&lmdb_storage);
}

void lmdb_plugin_deinit(void)
{
	mail_storage_class_unregister(&lmdb_storage);
	mailbox_list_unregister(&lmdb_mailbox_list);
}
