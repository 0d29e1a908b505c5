/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lib.h"
#include "strnum.h"
#include "unlink-directory.h"
#include "mail-storage-private.h"
#include "lmdb-compat.h"
#include "lmdb-error.h"
#include "lmdb-list.h"

#include <dirent.h>

/* Views and control files lie in these directories below their roots, in one of each folder that its id names. No other
   folder ever gets that id. */
#define LMDB_INDEX_DIR "index"
#define LMDB_CONTROL_DIR "control"

static const enum mailbox_list_path_type folder_files[] = {
	MAILBOX_LIST_PATH_TYPE_INDEX, MAILBOX_LIST_PATH_TYPE_INDEX_CACHE,
	MAILBOX_LIST_PATH_TYPE_INDEX_PRIVATE, MAILBOX_LIST_PATH_TYPE_CONTROL
};

/* The directory with those of all folders */
static bool folders_path(struct mailbox_list *list, enum mailbox_list_path_type type, const char **path_r)
{
	const char *root, *dir = LMDB_INDEX_DIR;
	bool have_root;

	switch (type) {
	case MAILBOX_LIST_PATH_TYPE_ALT_DIR:
	case MAILBOX_LIST_PATH_TYPE_ALT_MAILBOX:
		return FALSE;
	case MAILBOX_LIST_PATH_TYPE_CONTROL:
		dir = LMDB_CONTROL_DIR;
		have_root = lmdb_list_default_root_path(list, type, &root);
		break;
	case MAILBOX_LIST_PATH_TYPE_DIR:
	case MAILBOX_LIST_PATH_TYPE_MAILBOX:
		have_root = lmdb_list_default_root_path(list, MAILBOX_LIST_PATH_TYPE_INDEX, &root) ||
			lmdb_list_default_root_path(list, type, &root);
		break;
	default:
		have_root = lmdb_list_default_root_path(list, type, &root);
		break;
	}
	if (!have_root)
		return FALSE;
	*path_r = t_strdup_printf("%s/%s", root, dir);
	return TRUE;
}

int lmdb_list_folder_path(struct mailbox_list *list, uint64_t folder_id, enum mailbox_list_path_type type,
			  const char **path_r)
{
	const char *path;

	if (!folders_path(list, type, &path))
		return 0;
	*path_r = t_strdup_printf("%s/%"PRIx64, path, folder_id);
	return 1;
}

int lmdb_list_remove_files(struct mailbox_list *list, uint64_t folder_id)
{
	const char *path, *error;
	int ret = 0;

	for (unsigned int i = 0; i < N_ELEMENTS(folder_files); i++) {
		if (lmdb_list_folder_path(list, folder_id, folder_files[i], &path) > 0 &&
		    unlink_directory(path, UNLINK_DIRECTORY_FLAG_RMDIR, &error) < 0) {
			mailbox_list_set_critical(list, "Removing %s of a deleted mailbox failed: %s", path, error);
			ret = -1;
		}
	}
	return ret;
}

static int remove_leftover(struct mailbox_list *list, const char *name)
{
	struct lms_folder folder;
	struct lms_error error;
	uint64_t folder_id;
	int ret;

	if (str_to_uint64_hex(name, &folder_id) < 0)
		return 0;
	ret = lms_folder_get(lmdb_list_env(list), folder_id, &folder, &error);
	if (ret < 0) {
		lmdb_list_set_error(list, "", &error);
		return -1;
	}
	return ret > 0 ? 0 : lmdb_list_remove_files(list, folder_id);
}

static int remove_leftovers_in(struct mailbox_list *list, const char *path)
{
	struct dirent *d;
	DIR *dir = opendir(path);
	int ret = 0;

	if (dir == NULL) {
		if (errno == ENOENT)
			return 0;
		mailbox_list_set_critical(list, "opendir(%s) failed: %m", path);
		return -1;
	}
	while (errno = 0, (d = readdir(dir)) != NULL) T_BEGIN {
		if (remove_leftover(list, d->d_name) < 0)
			ret = -1;
	} T_END;
	if (errno != 0) {
		mailbox_list_set_critical(list, "readdir(%s) failed: %m", path);
		ret = -1;
	}
	(void)closedir(dir);
	return ret;
}

int lmdb_list_remove_leftovers(struct mailbox_list *list)
{
	const char *path;
	int ret = 0;

	if (lmdb_list_env(list) == NULL)
		return -1;
	for (unsigned int i = 0; i < N_ELEMENTS(folder_files); i++) {
		if (folders_path(list, folder_files[i], &path) && remove_leftovers_in(list, path) < 0)
			ret = -1;
	}
	return ret;
}
