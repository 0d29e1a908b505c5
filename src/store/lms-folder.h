/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMS_FOLDER_H
#define LMS_FOLDER_H

#include "lms.h"

/*
 * A node is a place in the folder tree (a name below a parent node); a folder is the mailbox that stands there, if
 * any: a node without a folder is \Noselect. DELETE of a folder with children takes the folder from its node, and
 * RENAME of a tree changes one node. Ids of both are never reused. The root node has id 0 and no name.
 */

#define LMS_ROOT_NODE 0

struct lms_node {
	uint64_t node_id;
	/* 0 if \Noselect */
	uint64_t folder_id;
};

/*
 * Find the node at path, a NULL-terminated array of components (UTF-8, compared bytewise; the caller makes INBOX
 * uppercase at the root). An empty path is the root node.
 * Returns 1 if found, 0 if not, -1 on error.
 */
int lms_node_lookup(struct lms_env *env, const char *const *path, struct lms_node *node_r, struct lms_error *error_r);
/* 1 if the node has a child, 0 if not, -1 on error. */
int lms_node_has_children(struct lms_env *env, uint64_t node_id, struct lms_error *error_r);

/* Called for each child; name is valid during the call. A return value other than 0 ends the walk. */
typedef int lms_node_callback(const struct lms_node *node, const char *name, void *context);
/* Walk the children of a node in order of their keys. The callback may walk grandchildren (the calls nest in one
   snapshot), but must not submit. Returns the callback's value if not 0, else 0, or -1 on error. */
int lms_node_children(struct lms_env *env, uint64_t node_id, lms_node_callback *callback, void *context,
		      struct lms_error *error_r);
/*
 * Path of the node at which a folder stands, as components (NULL-terminated, in one malloc()ed block that the caller
 * frees). Returns 1, 0 if there is no such folder, -1 on error.
 */
int lms_folder_get_path(struct lms_env *env, uint64_t folder_id, char ***path_r, struct lms_error *error_r);

struct lms_folder {
	uint64_t folder_id;
	uint8_t guid[LMS_GUID_SIZE];
	uint32_t uidvalidity;
	/* UIDs below this one are used or were used. */
	uint32_t uidnext;
	/* Messages with a lower UID aren't \Recent. Kept up opportunistically. */
	uint32_t first_recent_uid;
	/* Rises with every change that a view of the folder shows; epoch is random and changes when the folder's
	   history is not to be trusted any more (restored store): views of another epoch must be thrown away. */
	uint64_t change;
	uint64_t epoch;
	/* Of all changes after this one lms_changes_scan() has the record. */
	uint64_t changes_since;
	/* Number of requests that wrote flags or keywords; equal to the view's: the view has seen them all. */
	uint64_t flag_change;
	/* Higher than any MODSEQ that a client was ever shown; 0 if none was. */
	uint64_t modseq_floor;
	uint32_t messages;
	uint32_t seen;
	/* Sums of the messages' sizes. */
	uint64_t physical_size, virtual_size;
	/* Has a message ever been given a POP3 UIDL or POP3 order? */
	bool have_pop3_uidl, have_pop3_order;
};
/* Returns 1, 0 if there is no such folder, -1 on error. */
int lms_folder_get(struct lms_env *env, uint64_t folder_id, struct lms_folder *folder_r, struct lms_error *error_r);
/* Called for every folder, in order of ids; a return value other than 0 ends the walk. */
typedef int lms_folder_callback(const struct lms_folder *folder, void *context);
int lms_folder_scan(struct lms_env *env, lms_folder_callback *callback, void *context, struct lms_error *error_r);

/* Called for each keyword of a folder in order of its number; a value other than 0 ends the walk. */
typedef int lms_keyword_callback(unsigned int number, const char *name, void *context);
int lms_keyword_scan(struct lms_env *env, uint64_t folder_id, lms_keyword_callback *callback, void *context,
		     struct lms_error *error_r);

enum lms_change_kind {
	/* The messages are gone. */
	LMS_CHANGE_EXPUNGE = 1,
	/* Flags or keywords of the messages may have changed. */
	LMS_CHANGE_FLAGS = 2
};
/* Called for every recorded range of every change in (after, now], oldest first. Additions aren't recorded: they are
   the UIDs at and above the UIDNEXT that the view has. A value other than 0 ends the walk. */
typedef int lms_change_callback(enum lms_change_kind kind, uint32_t uid1, uint32_t uid2, void *context);
int lms_changes_scan(struct lms_env *env, uint64_t folder_id, uint64_t after, lms_change_callback *callback,
		     void *context, struct lms_error *error_r);

/* Called for every subscribed name (full name as given when it was subscribed). */
typedef int lms_subscription_callback(const char *name, void *context);
int lms_subscription_scan(struct lms_env *env, lms_subscription_callback *callback, void *context,
			  struct lms_error *error_r);
/* Number that changes with every change of the subscriptions. Returns 0 or -1. */
int lms_subscription_change(struct lms_env *env, uint64_t *change_r, struct lms_error *error_r);

/*
 * Attributes (RFC 5464 METADATA, URLAUTH keys and Dovecot's own). folder_id 0: of the store. user NULL: shared, else
 * private to that user. Values are bytes.
 */
/* Returns 1 and *value_r (malloc()ed, caller frees; never NULL), *size_r and *changed_r (seconds since the epoch at
   which it was set), 0 if there is none, -1 on error. */
int lms_attribute_get(struct lms_env *env, uint64_t folder_id, const char *user, const char *key, void **value_r,
		      size_t *size_r, int64_t *changed_r, struct lms_error *error_r);
typedef int lms_attribute_callback(const char *key, void *context);
/* Walk the keys that begin with prefix, sorted bytewise. */
int lms_attribute_scan(struct lms_env *env, uint64_t folder_id, const char *user, const char *prefix,
		       lms_attribute_callback *callback, void *context, struct lms_error *error_r);

#endif
