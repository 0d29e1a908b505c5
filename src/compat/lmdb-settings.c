/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "mail-storage-private.h"
#include "mailbox-list-private.h"
#include "settings-parser.h"
#include "lmdb-compat.h"
#include "lmdb-settings.h"

#if DOVECOT_PREREQ(2,4,0)

#include "settings.h"

int lmdb_settings_read(struct mailbox_list *list, struct lmdb_settings *set_r, const char **error_r)
{
	/* the list's event has the namespace, but not the storage */
	struct event *event = event_create(list->event);
	const struct lmdb_settings *set;
	int ret;

	settings_event_add_filter_name(event, LMDB_DRIVER_NAME);
	ret = settings_get(event, &lmdb_setting_parser_info, 0, &set, error_r);
	event_unref(&event);
	if (ret < 0)
		return -1;
	*set_r = *set;
	set_r->pool = NULL;
	set_r->search = p_strdup(list->pool, set->search);
	set_r->search_when = p_strdup(list->pool, set->search_when);
	settings_free(set);
	return 0;
}

#else

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

static void setting_string(struct mail_user *user, const char *name, const char **string)
{
	const char *value = mail_user_plugin_getenv(user, name);

	if (value != NULL && *value != '\0')
		*string = value;
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

int lmdb_settings_read(struct mailbox_list *list, struct lmdb_settings *set_r, const char **error_r)
{
	struct mail_user *user = list->ns->user;

	*set_r = lmdb_default_settings;
	setting_string(user, "lmdb_search", &set_r->search);
	setting_string(user, "lmdb_search_when", &set_r->search_when);
	if (setting_bool(user, "lmdb_any_filesystem", &set_r->any_filesystem, error_r) < 0 ||
	    setting_bool(user, "lmdb_compress", &set_r->compress, error_r) < 0 ||
	    setting_time(user, "lmdb_expunge_grace", &set_r->expunge_grace, error_r) < 0 ||
	    setting_time(user, "lmdb_flag_delay", &set_r->flag_delay, error_r) < 0 ||
	    !lmdb_settings_check(set_r, error_r))
		return -1;
	return 0;
}

#endif
