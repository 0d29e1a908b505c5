/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_SETTINGS_H
#define LMDB_SETTINGS_H

struct mailbox_list;

struct lmdb_settings {
	/* unused with 2.3 */
	pool_t pool;

	/* Use the store also on NFS, CIFS and FUSE, where LMDB's locks and maps aren't reliable. */
	bool any_filesystem;
	/* Store bodies compressed. */
	bool compress;
	/* Seconds for which the body of an expunged message stays readable for sessions that still see it. */
	unsigned int expunge_grace;
	/* Seconds for which flag changes may stay in the index's journal before they go to the store. */
	unsigned int flag_delay;
	/* Keep and use a search index: "yes", "no", or "auto": unless mail may be encrypted. */
	const char *search;
	/* When new mail comes into it: with the next "search", in the "background", or with its "delivery". */
	const char *search_when;
};

extern const struct lmdb_settings lmdb_default_settings;
/* How 2.4 finds the settings above. */
extern const struct setting_parser_info lmdb_setting_parser_info;

/* Read the settings that hold for the namespace of a list, with defaults for what isn't set. Returns 0, or -1 and
   *error_r names the setting with the wrong value. */
int lmdb_settings_read(struct mailbox_list *list, struct lmdb_settings *set_r, const char **error_r);
/* Check what the types of the values don't tell. */
bool lmdb_settings_check(const struct lmdb_settings *set, const char **error_r);

#endif
