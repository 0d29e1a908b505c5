/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMS_DB_H
#define LMS_DB_H

/* LMS_DB_META is LMDB's unnamed database: its page is written by every commit anyway. */
enum lms_db {
	LMS_DB_META,
	LMS_DB_NODES,
	LMS_DB_NAMES,
	LMS_DB_FOLDERS,
	LMS_DB_MESSAGES,
	LMS_DB_KEYWORDS,
	LMS_DB_CHANGES,
	LMS_DB_BODIES,
	LMS_DB_BODYREFS,
	LMS_DB_GARBAGE,
	LMS_DB_STAGING,
	LMS_DB_SUBSCRIBED,
	LMS_DB_ATTRIBUTES,
	LMS_DB_COUNT
};

/* Name of a database for LMDB, NULL for the unnamed one. */
const char *lms_db_name(enum lms_db db);

#endif
