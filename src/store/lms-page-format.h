/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#ifndef LMS_PAGE_FORMAT_H
#define LMS_PAGE_FORMAT_H

#include "lms-page.h"

#include <string.h>

/*
 * LMDB's format, as far as it is needed here. Numbers are of the machine's byte order.
 *
 * Page:	8 bytes page number, 2 unused, 2 flags, then 2 lower and 2 upper end of the free space (or, of an overflow
 *		page, 4 number of pages), then 2-byte offsets of the nodes, sorted by key, up to lower. The nodes fill the
 *		page from upper to its end without gaps.
 * Node:	4 bytes size of the value (branch: of the child's page number, the lower part), 2 flags (the upper part),
 *		2 size of the key, key, value or 8 bytes page number of it. Nodes take an even number of bytes.
 * Meta page:	after the header 4 magic, 4 version, 8 address, 8 map size, two trees (free pages, main), 8 last page, 8
 *		transaction id
 * Tree:	4 page size, 2 flags, 2 depth, 8 branch pages, 8 leaf pages, 8 overflow pages, 8 entries, 8 root
 */
enum {
	LMDB_PAGE_HEADER = 16,
	LMDB_PAGE_FLAGS = 10,
	LMDB_PAGE_LOWER = 12,
	LMDB_PAGE_UPPER = 14,
	LMDB_PAGE_OVERFLOW_COUNT = 12,
	LMDB_NODE_HEADER = 8,
	LMDB_META_MAGIC = 16,
	LMDB_META_FREE = 40,
	LMDB_META_MAIN = 88,
	LMDB_META_LAST_PAGE = 136,
	LMDB_META_TXNID = 144,
	LMDB_TREE_SIZE = 48,
	LMDB_TREE_DEPTH = 6,
	LMDB_TREE_ROOT = 40
};

enum {
	LMDB_FLAG_BRANCH = 0x01,
	LMDB_FLAG_LEAF = 0x02,
	LMDB_FLAG_OVERFLOW = 0x04,
	LMDB_FLAG_META = 0x08
};

enum {
	LMDB_NODE_OVERFLOW = 0x01,
	LMDB_NODE_TREE = 0x02
};

#define LMDB_MAGIC 0xbeefc0deu

struct lms_page_bytes {
	const uint8_t *data;
	size_t size;
};

struct lms_page_node {
	struct lms_page_bytes key;
	/* Leaf: value in the page, or its page number; branch: child */
	unsigned int flags;
	size_t value_size;
	const uint8_t *value;
	uint64_t page;
};

/* Of a page being checked: the tree that it is in and the keys between which its own must be (data NULL: no limit) */
struct lms_page_place {
	const struct lms_page_tree *tree;
	unsigned int level;
	struct lms_page_bytes low, high;
};

static inline uint16_t get16(const uint8_t *p)
{
	uint16_t value;

	memcpy(&value, p, sizeof(value));
	return value;
}

static inline uint32_t get32(const uint8_t *p)
{
	uint32_t value;

	memcpy(&value, p, sizeof(value));
	return value;
}

static inline uint64_t get64(const uint8_t *p)
{
	uint64_t value;

	memcpy(&value, p, sizeof(value));
	return value;
}

static inline const uint8_t *lms_page_at(const struct lms_pages *pages, uint64_t page)
{
	return pages->base + page * pages->page_size;
}

static inline bool lms_page_exists(const struct lms_pages *pages, uint64_t page)
{
	return page >= 2 && page < pages->next_page;
}

static inline unsigned int lms_page_count(const uint8_t *data)
{
	return (get16(data + LMDB_PAGE_LOWER) - LMDB_PAGE_HEADER) / 2u;
}

static inline struct lms_page_node lms_page_node(const uint8_t *data, unsigned int i)
{
	const uint8_t *p = data + get16(data + LMDB_PAGE_HEADER + 2 * i);
	struct lms_page_node node;

	node.key.size = get16(p + 6);
	node.key.data = p + LMDB_NODE_HEADER;
	if ((get16(data + LMDB_PAGE_FLAGS) & LMDB_FLAG_BRANCH) != 0) {
		node.flags = 0;
		node.page = get32(p) | (uint64_t)get16(p + 4) << 32;
		node.value_size = 0;
		node.value = NULL;
		return node;
	}
	node.flags = get16(p + 4);
	node.value_size = get32(p);
	node.value = node.key.data + node.key.size;
	node.page = (node.flags & LMDB_NODE_OVERFLOW) != 0 ? get64(node.value) : 0;
	return node;
}

/* In lms-page.c. Check one page, unless that was done in this snapshot. */
int lms_page_check_one(struct lms_pages *pages, const struct lms_page_place *place, uint64_t page);
/* Check the page to which a leaf's node refers for its value. */
int lms_page_check_overflow(const struct lms_pages *pages, const struct lms_page_node *node);
struct lms_page_place lms_page_child_place(const struct lms_page_place *parent, const uint8_t *data, unsigned int i);
int lms_page_find_tree(struct lms_pages *pages, enum lms_db db, const struct lms_page_tree **tree_r);
/* Bytes of a value, if need be in its own pages. */
static inline const uint8_t *lms_page_value(const struct lms_pages *pages, const struct lms_page_node *node)
{
	return (node->flags & LMDB_NODE_OVERFLOW) != 0 ? lms_page_at(pages, node->page) + LMDB_PAGE_HEADER : node->value;
}

#endif
