/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "settings-parser.h"
#include "mail-user.h"
#include "lmdb-settings.h"

static int setting_time(struct mail_user *user, const char *name, unsigned int *secs, const char **error_r)
{
	const char *value = mail_user_plugin_getenv(user, name), *error;

	if (value == NULL || *value == '\0')
		return 0;
	if (settings_get_time(value, secs, &error) < 0) {
		*error_r = t_strdup_printf("Invalid %s: %s", name, error);
		return -1;
	}
	return 0;
}

static int setting_bool(struct mail_user *user, const char *name, bool *on, const char **error_r)
{
	const char *value = mail_user_plugin_getenv(user, name);

	if (value == NULL || *value == '\0')
		return 0;
	if (strcasecmp(value, "yes") != 0 && strcasecmp(value, "no") != 0) {
		*error_r = t_strdup_printf("Invalid %s: '%s' is neither yes nor no", name, value);
		return -1;
	}
	*on = strcasecmp(value, "yes") == 0;
	return 0;
}

int lmdb_settings_read(struct mail_user *user, struct lmdb_settings *set_r, const char **error_r)
{
	*set_r = (struct lmdb_settings) {
		.expunge_grace = 60,
		.flag_delay = 60,
	};
	if (setting_bool(user, "lmdb_any_filesystem", &set_r->any_filesystem, error_r) < 0 ||
	    setting_time(user, "lmdb_expunge_grace", &set_r->expunge_grace, error_r) < 0 ||
	    setting_time(user, "lmdb_flag_delay", &set_r->flag_delay, error_r) < 0)
		return -1;
	return 0;
}
