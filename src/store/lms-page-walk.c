/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-page-format.h"
#include "lms-guard.h"
#include "lms-txn.h"

/* Page numbers in the list of free pages that are looked at before one transaction */
#define FREE_CHECK_MAX 20000

struct walk {
	struct lms_pages *pages;
	lms_page_callback *callback;
	void *context;
};

/* A record of the list of free pages: their number, and the pages, highest first. */
static int check_free_record(const struct lms_pages *pages, const struct lms_page_node *node, unsigned int *budget)
{
	uint64_t count, last = UINT64_MAX, i;
	const uint8_t *value;
	int rc;

	if ((node->flags & LMDB_NODE_OVERFLOW) != 0) {
		rc = lms_page_check_overflow(pages, node);
		if (rc != 0)
			return rc;
	}
	value = lms_page_value(pages, node);
	if (node->value_size < 8 || node->value_size % 8 != 0)
		return LMS_RC_PAGE;
	count = get64(value);
	if (count > node->value_size / 8 - 1)
		return LMS_RC_PAGE;
	for (i = 1; i <= count && *budget > 0; i++, (*budget)--) {
		uint64_t page = get64(value + 8 * i);

		if (!lms_page_exists(pages, page) || page >= last)
			return LMS_RC_PAGE;
		last = page;
	}
	return 0;
}

static int check_free_tree(struct lms_pages *pages, const struct lms_page_place *place, uint64_t page,
			   unsigned int *budget)
{
	const uint8_t *data;
	unsigned int i;
	int rc = lms_page_check_one(pages, place, page);

	if (rc != 0)
		return rc;
	data = lms_page_at(pages, page);
	for (i = 0; i < lms_page_count(data) && rc == 0; i++) {
		struct lms_page_node node = lms_page_node(data, i);

		if (place->level > 1) {
			struct lms_page_place child = lms_page_child_place(place, data, i);

			rc = check_free_tree(pages, &child, node.page, budget);
		} else {
			rc = check_free_record(pages, &node, budget);
		}
	}
	return rc;
}

int lms_page_check_free(struct lms_txn *txn)
{
	struct lms_pages *pages = &txn->env->pages;
	struct lms_page_place place = { &pages->free, pages->free.depth, { NULL, 0 }, { NULL, 0 } };
	unsigned int budget = FREE_CHECK_MAX;

	if (pages->base == NULL || pages->free.depth == 0)
		return 0;
	return check_free_tree(pages, &place, pages->free.root, &budget);
}

static void walk_free_record(const struct walk *walk, const struct lms_page_node *node)
{
	const uint8_t *value = lms_page_value(walk->pages, node);
	unsigned int budget = UINT32_MAX;
	uint64_t i;

	if (check_free_record(walk->pages, node, &budget) != 0) {
		walk->callback(LMS_PAGE_BAD, node->page, 1, walk->context);
		return;
	}
	for (i = 1; i <= get64(value); i++)
		walk->callback(LMS_PAGE_FREE, get64(value + 8 * i), 1, walk->context);
}

static void walk_node(const struct walk *walk, const struct lms_page_place *place, const struct lms_page_node *node)
{
	if ((node->flags & LMDB_NODE_OVERFLOW) != 0) {
		if (lms_page_check_overflow(walk->pages, node) != 0) {
			walk->callback(LMS_PAGE_BAD, node->page, 1, walk->context);
			return;
		}
		walk->callback(LMS_PAGE_USED, node->page,
			       get32(lms_page_at(walk->pages, node->page) + LMDB_PAGE_OVERFLOW_COUNT), walk->context);
	}
	if (place->tree == &walk->pages->free)
		walk_free_record(walk, node);
}

static void walk_tree(const struct walk *walk, const struct lms_page_place *place, uint64_t page)
{
	const uint8_t *data;
	unsigned int i;

	if (lms_page_check_one(walk->pages, place, page) != 0) {
		walk->callback(LMS_PAGE_BAD, page, 1, walk->context);
		return;
	}
	walk->callback(LMS_PAGE_USED, page, 1, walk->context);
	data = lms_page_at(walk->pages, page);
	for (i = 0; i < lms_page_count(data); i++) {
		struct lms_page_node node = lms_page_node(data, i);
		struct lms_page_place child = lms_page_child_place(place, data, i);

		if (place->level > 1)
			walk_tree(walk, &child, node.page);
		else
			walk_node(walk, place, &node);
	}
}

static int walk_all(const struct walk *walk)
{
	const struct lms_page_tree *tree;
	unsigned int i;
	int rc;

	for (i = 0; i <= LMS_DB_COUNT; i++) {
		struct lms_page_place place = { &walk->pages->free, 0, { NULL, 0 }, { NULL, 0 } };

		if (i < LMS_DB_COUNT) {
			rc = lms_page_find_tree(walk->pages, i, &tree);
			if (rc != 0)
				return rc;
			place.tree = tree;
		}
		place.level = place.tree->depth;
		if (place.level > 0)
			walk_tree(walk, &place, place.tree->root);
	}
	return 0;
}

int lms_page_walk(struct lms_txn *txn, lms_page_callback *callback, void *context)
{
	struct walk walk = { &txn->env->pages, callback, context };

	LMS_GUARDED(walk_all(&walk));
}
