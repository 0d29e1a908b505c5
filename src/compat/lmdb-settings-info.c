/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "settings-parser.h"
#include "lmdb-settings.h"

/*
 * What the settings are, in the plugin and, with 2.4, once more in the settings module (lmdb-settings-module.c). So
 * nothing of libdovecot-storage may be used here.
 */

/* Flag changes that wait longer would be lost with an index that somebody deletes. */
#define FLAG_DELAY_MAX_SECS (24 * 60 * 60)

const struct lmdb_settings lmdb_default_settings = {
	.any_filesystem = FALSE,
	.compress = TRUE,
	.expunge_grace = 60,
	.flag_delay = 60,
	.search = "auto",
	.search_when = "search",
};

bool lmdb_settings_check(const struct lmdb_settings *set, const char **error_r)
{
	if (set->flag_delay > FLAG_DELAY_MAX_SECS) {
		*error_r = "Invalid lmdb_flag_delay: It must be at most a day";
		return FALSE;
	}
	if (strcmp(set->search, "auto") != 0 && strcmp(set->search, "yes") != 0 && strcmp(set->search, "no") != 0) {
		*error_r = "Invalid lmdb_search: It must be auto, yes or no";
		return FALSE;
	}
	if (strcmp(set->search_when, "search") != 0 && strcmp(set->search_when, "background") != 0 &&
	    strcmp(set->search_when, "delivery") != 0) {
		*error_r = "Invalid lmdb_search_when: It must be search, background or delivery";
		return FALSE;
	}
	return TRUE;
}

#if DOVECOT_PREREQ(2,4,0)

static bool check(void *set, pool_t pool ATTR_UNUSED, const char **error_r)
{
	return lmdb_settings_check(set, error_r);
}

#define DEF(type, name) SETTING_DEFINE_STRUCT_##type("lmdb_"#name, name, struct lmdb_settings)

static const struct setting_define lmdb_setting_defines[] = {
	{ .type = SET_FILTER_NAME, .key = "lmdb" },
	DEF(BOOL, any_filesystem),
	DEF(BOOL, compress),
	DEF(TIME, expunge_grace),
	DEF(TIME, flag_delay),
	DEF(STR, search),
	DEF(STR, search_when),

	SETTING_DEFINE_LIST_END
};

/* For mail_driver = lmdb, where nothing else is set. */
static const struct setting_keyvalue lmdb_default_settings_keyvalue[] = {
	{ "lmdb/mailbox_list_layout", "lmdb" },
	{ "lmdb/mailbox_list_utf8", "yes" },
	{ "lmdb/mail_path", "%{home}/lmdb" },
	{ NULL, NULL }
};

const struct setting_parser_info lmdb_setting_parser_info = {
	.name = "lmdb",

	.defines = lmdb_setting_defines,
	.defaults = &lmdb_default_settings,
	.default_settings = lmdb_default_settings_keyvalue,

	.struct_size = sizeof(struct lmdb_settings),
	.pool_offset1 = 1 + offsetof(struct lmdb_settings, pool),
	.check_func = check,
};

#endif
