/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_PLUGIN_H
#define LMDB_PLUGIN_H

struct module;

/* Entry points that Dovecot's module loader looks up by name. */
extern const char *lmdb_plugin_version;
void lmdb_plugin_init(struct module *module);
void lmdb_plugin_deinit(void);

#endif
