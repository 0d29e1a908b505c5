/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lms-page-format.h"
#include "lms-txn.h"

#include <string.h>

#define DEPTH_MAX 32
#define KEY_MAX 511
/* Records are kept below this. */
#define VALUE_MAX (4u << 20)

/* The order of keys: bytes, or in the list of free pages numbers. */
static int compare(const struct lms_pages *pages, const struct lms_page_tree *tree, struct lms_page_bytes a,
		   struct lms_page_bytes b)
{
	int ret;

	if (tree == &pages->free && a.size == 8 && b.size == 8) {
		uint64_t x = get64(a.data), y = get64(b.data);

		return x < y ? -1 : x > y;
	}
	ret = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
	if (ret != 0)
		return ret;
	return a.size < b.size ? -1 : a.size > b.size;
}

/* Bytes that a node takes, 0 if it isn't inside of the page. */
static size_t node_size(const uint8_t *data, size_t page_size, unsigned int i, bool is_branch)
{
	size_t offset = get16(data + LMDB_PAGE_HEADER + 2 * i), size, left;
	unsigned int flags;

	if (offset % 2 != 0 || offset < get16(data + LMDB_PAGE_UPPER) || offset + LMDB_NODE_HEADER > page_size)
		return 0;
	left = page_size - offset - LMDB_NODE_HEADER;
	size = get16(data + offset + 6);
	if (size > KEY_MAX || size > left)
		return 0;
	if (!is_branch) {
		flags = get16(data + offset + 4);
		if (flags != 0 && flags != LMDB_NODE_OVERFLOW && flags != LMDB_NODE_TREE)
			return 0;
		size += (flags & LMDB_NODE_OVERFLOW) != 0 ? 8 : get32(data + offset);
		if (size > left)
			return 0;
	}
	return (LMDB_NODE_HEADER + size + 1) & ~(size_t)1;
}

static bool nodes_fill_page(const uint8_t *data, size_t page_size, unsigned int count, bool is_branch)
{
	size_t size, sum = 0;
	unsigned int i;

	for (i = 0; i < count; i++) {
		size = node_size(data, page_size, i, is_branch);
		if (size == 0)
			return false;
		sum += size;
	}
	return sum == page_size - get16(data + LMDB_PAGE_UPPER);
}

static bool node_is_valid(const struct lms_pages *pages, const struct lms_page_place *place,
			  const struct lms_page_node *node, unsigned int i)
{
	bool is_branch = place->level > 1;

	if (is_branch)
		return lms_page_exists(pages, node->page) && (i == 0 || node->key.size > 0);
	if (node->key.size == 0 || node->value_size > VALUE_MAX)
		return place->tree == &pages->free && node->key.size == 8;
	if ((node->flags & LMDB_NODE_TREE) != 0)
		return place->tree == &pages->main && node->value_size == LMDB_TREE_SIZE;
	return (node->flags & LMDB_NODE_OVERFLOW) == 0 || lms_page_exists(pages, node->page);
}

static bool keys_in_order(const struct lms_pages *pages, const struct lms_page_place *place, const uint8_t *data,
			  unsigned int count)
{
	struct lms_page_bytes last = place->low;
	unsigned int i;

	for (i = 0; i < count; i++) {
		struct lms_page_node node = lms_page_node(data, i);
		int order;

		if (!node_is_valid(pages, place, &node, i))
			return false;
		/* The first key of a branch page stands for the lowest one and may be empty. */
		if (i == 0 && place->level > 1)
			continue;
		if (last.data != NULL) {
			order = compare(pages, place->tree, last, node.key);
			if (order > 0 || (order == 0 && last.data != place->low.data))
				return false;
		}
		last = node.key;
	}
	return place->high.data == NULL || last.data == NULL || compare(pages, place->tree, last, place->high) < 0;
}

int lms_page_check_one(struct lms_pages *pages, const struct lms_page_place *place, uint64_t page)
{
	bool is_branch = place->level > 1;
	unsigned int slot = page % LMS_PAGE_CACHE, lower, upper, min_count;
	const uint8_t *data;

	if (pages->cache[slot].page == page && pages->cache[slot].snapshot == pages->snapshot)
		return 0;
	if (!lms_page_exists(pages, page))
		return LMS_RC_PAGE;
	data = lms_page_at(pages, page);
	if (get64(data) != page ||
	    get16(data + LMDB_PAGE_FLAGS) != (is_branch ? LMDB_FLAG_BRANCH : LMDB_FLAG_LEAF))
		return LMS_RC_PAGE;
	lower = get16(data + LMDB_PAGE_LOWER);
	upper = get16(data + LMDB_PAGE_UPPER);
	min_count = is_branch && place->tree != &pages->free ? 2 : 1;
	if (lower % 2 != 0 || lower < LMDB_PAGE_HEADER + 2 * min_count || upper < lower || upper > pages->page_size ||
	    !nodes_fill_page(data, pages->page_size, lms_page_count(data), is_branch) ||
	    !keys_in_order(pages, place, data, lms_page_count(data)))
		return LMS_RC_PAGE;
	pages->cache[slot].page = page;
	pages->cache[slot].snapshot = pages->snapshot;
	return 0;
}

/* Index of the first node whose key isn't less. */
static unsigned int find_node(const struct lms_pages *pages, const struct lms_page_place *place, const uint8_t *data,
			      struct lms_page_bytes key, bool *exact_r)
{
	unsigned int low = place->level > 1 ? 1 : 0, high = lms_page_count(data);

	*exact_r = false;
	while (low < high) {
		unsigned int middle = (low + high) / 2;
		int order = compare(pages, place->tree, lms_page_node(data, middle).key, key);

		if (order == 0) {
			*exact_r = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The place of a child in its parent. */
struct lms_page_place lms_page_child_place(const struct lms_page_place *parent, const uint8_t *data, unsigned int i)
{
	struct lms_page_place place = *parent;

	place.level--;
	if (i > 0)
		place.low = lms_page_node(data, i).key;
	if (i + 1 < lms_page_count(data))
		place.high = lms_page_node(data, i + 1).key;
	return place;
}

/* A neighbour, and the way to its lowest key, which LMDB reads when it merges branch pages. */
static int check_neighbour(struct lms_pages *pages, const struct lms_page_place *parent, const uint8_t *data,
			   unsigned int i)
{
	struct lms_page_place place = lms_page_child_place(parent, data, i);
	uint64_t page = lms_page_node(data, i).page;
	int rc;

	while ((rc = lms_page_check_one(pages, &place, page)) == 0 && place.level > 1) {
		data = lms_page_at(pages, page);
		page = lms_page_node(data, 0).page;
		place = lms_page_child_place(&place, data, 0);
	}
	return rc;
}

int lms_page_check_overflow(const struct lms_pages *pages, const struct lms_page_node *node)
{
	uint64_t count = (LMDB_PAGE_HEADER - 1 + node->value_size) / pages->page_size + 1;
	const uint8_t *data;

	if (!lms_page_exists(pages, node->page) || count > pages->next_page - node->page)
		return LMS_RC_PAGE;
	data = lms_page_at(pages, node->page);
	if (get64(data) != node->page || get16(data + LMDB_PAGE_FLAGS) != LMDB_FLAG_OVERFLOW ||
	    get32(data + LMDB_PAGE_OVERFLOW_COUNT) != count)
		return LMS_RC_PAGE;
	return 0;
}

/* Reading bodies in passing would cost more than it is worth, but for one that isn't found. */
static int check_neighbour_record(const struct lms_pages *pages, const struct lms_page_node *node,
				  enum lms_page_use use)
{
	struct lms_value ignored;
	int rc;

	if ((node->flags & LMDB_NODE_OVERFLOW) != 0) {
		if (use != LMS_PAGE_GET)
			return 0;
		rc = lms_page_check_overflow(pages, node);
		if (rc != 0)
			return rc;
	}
	return lms_page_check_value(node->key.data, node->key.size, lms_page_value(pages, node), node->value_size,
				    &ignored);
}

/* In the leaf page where the key should be */
static int check_leaf(const struct lms_pages *pages, const struct lms_page_place *place, const uint8_t *data,
		      struct lms_page_bytes key, enum lms_page_use use)
{
	struct lms_page_node node;
	unsigned int i;
	bool exact;
	int rc;

	i = find_node(pages, place, data, key, &exact);
	if (exact && use == LMS_PAGE_WRITE) {
		node = lms_page_node(data, i);
		return (node.flags & LMDB_NODE_OVERFLOW) != 0 ? lms_page_check_overflow(pages, &node) : 0;
	}
	if (exact || place->tree == &pages->main)
		return 0;
	if (i > 0) {
		node = lms_page_node(data, i - 1);
		if ((rc = check_neighbour_record(pages, &node, use)) != 0)
			return rc;
	}
	/* Walking reads the next one anyway. */
	if (use != LMS_PAGE_SEEK && i < lms_page_count(data)) {
		node = lms_page_node(data, i);
		return check_neighbour_record(pages, &node, use);
	}
	return 0;
}

static int check_way(struct lms_pages *pages, const struct lms_page_tree *tree, struct lms_page_bytes key,
		     enum lms_page_use use, const uint8_t **leaf_r)
{
	struct lms_page_place place = { tree, tree->depth, { NULL, 0 }, { NULL, 0 } };
	uint64_t page = tree->root;
	const uint8_t *data;
	unsigned int i;
	bool exact;
	int rc;

	for (;;) {
		rc = lms_page_check_one(pages, &place, page);
		if (rc != 0)
			return rc;
		data = lms_page_at(pages, page);
		if (place.level == 1)
			break;
		i = find_node(pages, &place, data, key, &exact);
		if (!exact)
			i--;
		if (use == LMS_PAGE_WRITE && i > 0 && (rc = check_neighbour(pages, &place, data, i - 1)) != 0)
			return rc;
		if (use == LMS_PAGE_WRITE && i + 1 < lms_page_count(data) &&
		    (rc = check_neighbour(pages, &place, data, i + 1)) != 0)
			return rc;
		page = lms_page_node(data, i).page;
		place = lms_page_child_place(&place, data, i);
	}
	*leaf_r = data;
	return check_leaf(pages, &place, data, key, use);
}

/* Returns 1 if the tree has pages, 0 if it is empty, or LMS_RC_PAGE. */
static int set_tree(const struct lms_pages *pages, struct lms_page_tree *tree, const uint8_t *data)
{
	tree->root = get64(data + LMDB_TREE_ROOT);
	tree->depth = get16(data + LMDB_TREE_DEPTH);
	tree->known = true;
	if (tree->root == UINT64_MAX && tree->depth == 0)
		return 0;
	return lms_page_exists(pages, tree->root) && tree->depth > 0 && tree->depth <= DEPTH_MAX ? 1 : LMS_RC_PAGE;
}

int lms_page_find_tree(struct lms_pages *pages, enum lms_db db, const struct lms_page_tree **tree_r)
{
	struct lms_page_tree *tree = db == LMS_DB_META ? &pages->main : &pages->trees[db];
	const char *name = lms_db_name(db);
	struct lms_page_place place = { &pages->main, 1, { NULL, 0 }, { NULL, 0 } };
	struct lms_page_bytes key;
	const uint8_t *leaf;
	struct lms_page_node node;
	unsigned int i;
	bool exact;
	int rc;

	*tree_r = tree;
	if (tree->known)
		return 0;
	key.data = (const uint8_t *)name;
	key.size = strlen(name);
	rc = check_way(pages, &pages->main, key, LMS_PAGE_GET, &leaf);
	if (rc != 0)
		return rc;
	i = find_node(pages, &place, leaf, key, &exact);
	if (!exact)
		return LMS_RC_PAGE;
	node = lms_page_node(leaf, i);
	if ((node.flags & LMDB_NODE_TREE) == 0)
		return LMS_RC_PAGE;
	rc = set_tree(pages, tree, node.value);
	return rc < 0 ? rc : 0;
}

int lms_page_check(struct lms_txn *txn, enum lms_db db, const void *key, size_t key_size, enum lms_page_use use)
{
	struct lms_pages *pages = &txn->env->pages;
	struct lms_page_bytes key_bytes = { key, key_size };
	const struct lms_page_tree *tree;
	const uint8_t *leaf;
	int rc;

	if (pages->base == NULL)
		return 0;
	rc = lms_page_find_tree(pages, db, &tree);
	if (rc != 0 || tree->depth == 0)
		return rc;
	return check_way(pages, tree, key_bytes, use, &leaf);
}

int lms_page_check_tree(struct lms_txn *txn, enum lms_db db)
{
	const struct lms_page_tree *tree;

	return txn->env->pages.base == NULL ? 0 : lms_page_find_tree(&txn->env->pages, db, &tree);
}

uint64_t lms_page_of(const struct lms_pages *pages, const void *address)
{
	const uint8_t *p = address;

	if (pages->base == NULL || p < pages->base || p >= lms_page_at(pages, pages->next_page))
		return 0;
	return (uint64_t)(p - pages->base) / pages->page_size;
}

/* LMDB doesn't say where its map is, but a record of the file is in it, and its page knows its number. */
static int find_base(struct lms_pages *pages, MDB_env *mdb, const uint8_t *record)
{
	uintptr_t step = 4096, offset;
	MDB_stat stat;

	if (mdb_env_stat(mdb, &stat) != 0 || stat.ms_psize % step != 0)
		return LMS_RC_PAGE;
	pages->page_size = stat.ms_psize;
	/* A map begins at a page of the machine, which may be smaller than LMDB's. */
	for (offset = 0; offset < pages->page_size; offset += step) {
		const uint8_t *page = record - ((uintptr_t)record & (step - 1)) - offset, *base;

		base = (const uint8_t *)((uintptr_t)page - (uintptr_t)get64(page) * pages->page_size);
		if (get16(page + LMDB_PAGE_FLAGS) == LMDB_FLAG_LEAF && (uintptr_t)base % step == 0 && get64(base) == 0 &&
		    get32(base + LMDB_META_MAGIC) == LMDB_MAGIC) {
			pages->base = base;
			return 0;
		}
	}
	return LMS_RC_PAGE;
}

int lms_page_begin(struct lms_txn *txn)
{
	struct lms_pages *pages = &txn->env->pages;
	struct lms_key key;
	const uint8_t *meta, *other;
	MDB_val mkey, val;
	int rc;

	if (pages->base == NULL) {
		lms_key_meta(&key);
		mkey.mv_data = key.data;
		mkey.mv_size = key.size;
		rc = mdb_get(txn->mdb, txn->env->dbi[LMS_DB_META], &mkey, &val);
		/* A new store */
		if (rc == MDB_NOTFOUND)
			return 0;
		if (rc != 0)
			return rc;
		rc = find_base(pages, txn->env->mdb, val.mv_data);
		if (rc != 0)
			return rc;
	}
	pages->snapshot = mdb_txn_id(txn->mdb) - (txn->write ? 1 : 0);
	memset(pages->trees, 0, sizeof(pages->trees));
	meta = lms_page_at(pages, pages->snapshot & 1);
	if (get16(meta + LMDB_PAGE_FLAGS) != LMDB_FLAG_META || get32(meta + LMDB_META_MAGIC) != LMDB_MAGIC)
		return LMS_RC_PAGE;
	pages->next_page = get64(meta + LMDB_META_LAST_PAGE) + 1;
	if (set_tree(pages, &pages->main, meta + LMDB_META_MAIN) != 1 ||
	    set_tree(pages, &pages->free, meta + LMDB_META_FREE) < 0)
		return LMS_RC_PAGE;
	/* The commit after next overwrites the page; it can't have begun to before the next one is in the other page. */
	other = lms_page_at(pages, (pages->snapshot & 1) ^ 1);
	return get64(meta + LMDB_META_TXNID) == pages->snapshot && get64(other + LMDB_META_TXNID) < pages->snapshot ? 0 :
		LMS_RC_AGAIN;
}

void lms_page_forget_map(struct lms_pages *pages)
{
	pages->base = NULL;
}

int lms_page_check_value(const void *key, size_t key_size, const void *value, size_t value_size,
			 struct lms_value *value_r)
{
	const uint8_t *bytes = value;

	if (value_size < LMS_RECORD_OVERHEAD || value_size > VALUE_MAX || key_size > KEY_MAX)
		return LMS_RC_CHECKSUM;
	memcpy(value_r->head, bytes, LMS_RECORD_HEAD);
	value_r->data = bytes + LMS_RECORD_OVERHEAD;
	value_r->size = value_size - LMS_RECORD_OVERHEAD;
	if (lms_record_checksum(key, key_size, value_r->head, value_r->data, value_r->size) !=
	    lms_get_be32(bytes + LMS_RECORD_HEAD))
		return LMS_RC_CHECKSUM;
	if (value_r->head[0] != LMS_RECORD_VERSION)
		return value_r->head[0] > LMS_RECORD_VERSION ? LMS_RC_NEWER : LMS_RC_CHECKSUM;
	return 0;
}
