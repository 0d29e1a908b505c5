/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "settings-parser.h"
#include "lmdb-settings.h"

/*
 * The module by which doveconf and the config process of 2.4 learn of the plugin's settings: they load all modules of
 * Dovecot's settings directory and look these names up.
 */

extern const char *lmdb_settings_version;
extern const struct setting_parser_info *lmdb_settings_set_infos[];

const char *lmdb_settings_version = DOVECOT_ABI_VERSION;

const struct setting_parser_info *lmdb_settings_set_infos[] = {
	&lmdb_setting_parser_info,
	NULL
};
