/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMDB_COMPAT_H
#define LMDB_COMPAT_H

/*
 * The differences between the Dovecot versions this plugin is built for. Included after Dovecot's own headers, so
 * that the rest of src/ is written once.
 */

#if !DOVECOT_PREREQ(2,4,0)
#  define lmdb_list_default_root_path(list, type, path_r) \
	mailbox_list_set_get_root_path(&(list)->set, type, path_r)
#  define lmdb_str_begins(str, prefix) str_begins(str, prefix)
#endif

#endif
