/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_SETTINGS_H
#define LMDB_SETTINGS_H

struct mail_user;

struct lmdb_settings {
	/* Use the store also on NFS, CIFS and FUSE, where LMDB's locks and maps aren't reliable. */
	bool any_filesystem;
	/* Seconds for which the body of an expunged message stays readable for sessions that still see it. */
	unsigned int expunge_grace;
	/* Seconds for which flag changes may stay in the index's journal before they go to the store. */
	unsigned int flag_delay;
};

/* Read the settings of a user, with defaults for what isn't set. Returns 0, or -1 and *error_r names the setting with
   the wrong value. */
int lmdb_settings_read(struct mail_user *user, struct lmdb_settings *set_r, const char **error_r);

#endif
