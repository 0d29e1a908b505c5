/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef FTS_LMDB_PLUGIN_H
#define FTS_LMDB_PLUGIN_H

struct module;

extern struct fts_backend fts_backend_lmdb;

extern const char *fts_lmdb_plugin_version;
extern const char *fts_lmdb_plugin_dependencies[];

void fts_lmdb_plugin_init(struct module *module);
void fts_lmdb_plugin_deinit(void);

#endif
