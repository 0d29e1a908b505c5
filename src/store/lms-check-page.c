/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-check-private.h"

#include <stdlib.h>

/* LMDB's pages: each is used once, or free. */

struct pages {
	struct lms_check *check;
	uint8_t *seen;
	uint64_t next_page, bad;
};

static void see_page(struct pages *pages, uint64_t page)
{
	if (page >= pages->next_page)
		return;
	if ((pages->seen[page / 8] & (1 << page % 8)) != 0)
		lms_check_report(pages->check, "page %llu has two uses", (unsigned long long)page);
	pages->seen[page / 8] |= (uint8_t)(1 << page % 8);
}

static void see_pages(enum lms_page_kind kind, uint64_t page, uint64_t count, void *context)
{
	struct pages *pages = context;

	if (kind == LMS_PAGE_BAD) {
		pages->bad++;
		lms_check_report(pages->check, "page %llu is damaged", (unsigned long long)page);
		return;
	}
	for (; count > 0; count--)
		see_page(pages, page++);
}

static void count_unseen(struct pages *pages)
{
	uint64_t page, count = 0;

	for (page = 2; page < pages->next_page; page++) {
		if ((pages->seen[page / 8] & (1 << page % 8)) == 0)
			count++;
	}
	if (count > 0) {
		lms_check_report(pages->check, "%llu pages are neither used nor free: space is lost, but nothing else",
				 (unsigned long long)count);
	}
}

void lms_check_pages(struct lms_check *check)
{
	struct pages pages = { check, NULL, check->txn.env->pages.next_page, 0 };
	int rc;

	pages.seen = calloc(1, pages.next_page / 8 + 1);
	if (pages.seen == NULL) {
		check->out_of_memory = true;
		return;
	}
	rc = lms_page_walk(&check->txn, see_pages, &pages);
	if (rc != 0) {
		lms_fail_mdb(&check->error, check->txn.env, rc, "check of pages");
		lms_check_report(check, "%s", check->error.text);
	} else if (pages.bad == 0) {
		count_unseen(&pages);
	}
	free(pages.seen);
}
