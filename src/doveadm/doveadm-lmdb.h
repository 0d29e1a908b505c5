/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef DOVEADM_LMDB_H
#define DOVEADM_LMDB_H

#include "lib.h"
#include "array.h"
#include "doveadm-mail.h"
#include "lmdb-list.h"

/*
 * doveadm lmdb: commands for the stores of users and their search indexes.
 *
 * They print rows, which all formatters of doveadm can show. The exit code says whether something is wrong: EX_DATAERR
 * if it is what is stored, else that of the error.
 */

struct doveadm_lmdb_context;

/* Parts of a command, for a user, for the store of a list, which is open, and for a mailbox. They return 0, or -1 after
   doveadm_lmdb_fail() or a function of doveadm's like it. */
typedef int doveadm_lmdb_user_func(struct doveadm_lmdb_context *ctx, struct mail_user *user);
typedef int doveadm_lmdb_store_func(struct doveadm_lmdb_context *ctx, struct mailbox_list *list);
typedef int doveadm_lmdb_mailbox_func(struct doveadm_lmdb_context *ctx, struct mailbox_list *list, const char *vname);

struct doveadm_lmdb_context {
	struct doveadm_mail_cmd_context ctx;
	doveadm_lmdb_user_func *run;
	/* from the command line; masks is NULL if there are none */
	const char *const *masks;
	bool force;
	const char *destination;
};

#define DOVEADM_LMDB_CONTEXT(s) (container_of(s, struct doveadm_lmdb_context, ctx))

/* A command that prints its rows like this (DOVEADM_PRINT_TYPE_) unless another way was asked for, and calls run for
   each user that has a store. */
struct doveadm_lmdb_context *doveadm_lmdb_alloc(const char *print_type, doveadm_lmdb_user_func *run);
/* Call func once for each store of the user, for each mailbox that one of the masks (NULL: "*") matches. Commands for
   all users leave public namespaces alone, and all commands shared ones. Return 0, or -1 if one of the calls did or
   something can't be opened. */
int doveadm_lmdb_each_store(struct doveadm_lmdb_context *ctx, struct mail_user *user, doveadm_lmdb_store_func *func);
int doveadm_lmdb_each_mailbox(struct doveadm_lmdb_context *ctx, struct mail_user *user, const char *const *masks,
			      doveadm_lmdb_mailbox_func *func);

/* Log an error of the store or the index, and choose the exit code for it. Returns -1. */
int doveadm_lmdb_fail(struct doveadm_lmdb_context *ctx, struct mailbox_list *list, const struct lms_error *error);

/* Columns of numbers, up to NULL */
void doveadm_lmdb_print_number_headers(const char *const *names);
/* What checks print: a row for each thing that is wrong. */
void doveadm_lmdb_print_problem_headers(void);
void doveadm_lmdb_print_problem(struct doveadm_lmdb_context *ctx, const char *dir, const char *text);

/* doveadm-lmdb-store.c */
struct doveadm_mail_cmd_context *doveadm_lmdb_status_alloc(void);
struct doveadm_mail_cmd_context *doveadm_lmdb_check_alloc(void);

/* doveadm-lmdb-backup.c */
struct doveadm_mail_cmd_context *doveadm_lmdb_backup_alloc(void);

/* doveadm-lmdb-index.c */
struct doveadm_mail_cmd_context *doveadm_lmdb_index_status_alloc(void);
struct doveadm_mail_cmd_context *doveadm_lmdb_index_check_alloc(void);
struct doveadm_mail_cmd_context *doveadm_lmdb_index_optimize_alloc(void);
/* The search index of a list's store. Returns 1, 0 if it is switched off, or -1 if so and the user was named alone, for
   whom that is an error. */
int doveadm_lmdb_index(struct doveadm_lmdb_context *ctx, struct mailbox_list *list, struct lsi_index **index_r);
/* What doveadm lmdb index status prints of a store */
void doveadm_lmdb_index_print_headers(void);
doveadm_lmdb_store_func doveadm_lmdb_index_print;
/* Do all that keeps the index small and fast. Returns 0 or -1. */
int doveadm_lmdb_index_maintain(struct doveadm_lmdb_context *ctx, struct mailbox_list *list,
				struct lsi_index *index);

/* doveadm-lmdb-rebuild.c */
struct doveadm_mail_cmd_context *doveadm_lmdb_index_rebuild_alloc(void);

#endif
