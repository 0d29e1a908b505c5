/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "test-search-model.h"

#include <limits.h>

/* The index finds what a search through all texts finds. */

static void test_one(void)
{
	search_begin("test");
	CHECK_OK(search_compare(0));
	search_add_doc();
	CHECK_OK(search_compare(100));
	CHECK_OK(search_write(0, 1));
	CHECK_OK(search_compare(500));
	search_check();
	search_end();
}

static void test_batch(void)
{
	unsigned int i;

	search_begin("test");
	for (i = 0; i < 300; i++)
		search_add_doc();
	CHECK_OK(search_write(0, 300));
	search_check();
	CHECK_OK(search_compare(3000));
	/* Most keys can be answered alone, and the others narrow it down. */
	CHECK(search_exact > 500);
	CHECK(search_candidates < 3 * search_matches);
	search_end();
}

/* Documents come in small batches and go, segments are merged meanwhile. */
static void come_and_go(void)
{
	unsigned int next = 0, count;

	while (next < search_doc_count) {
		count = search_random(3) == 0 ? 1 + search_random(40) : 1;
		if (count > search_doc_count - next)
			count = search_doc_count - next;
		CHECK_OK(search_write(next, count));
		next += count;
		CHECK_OK(search_maintain(search_random(3)));
		if (search_random(5) == 0)
			search_expunge(search_random(next));
		if (search_random(20) == 0)
			CHECK_OK(search_compare(20));
	}
}

static void test_many_segments(void)
{
	struct lsi_status status;
	unsigned int i;

	search_begin("test");
	for (i = 0; i < 1500; i++)
		search_add_doc();
	come_and_go();
	search_check();
	CHECK_OK(search_compare(300));
	CHECK_OK(search_maintain(UINT_MAX));
	search_check();
	CHECK_OK(lsi_get_status(search_index, &status, &test_error));
	CHECK(status.segments < 40 && !status.pending);
	CHECK(status.gone > 0);
	CHECK_OK(search_compare(300));
	CHECK_OK(lsi_optimize(search_index, &test_error));
	CHECK_OK(search_maintain(UINT_MAX));
	CHECK_OK(lsi_get_status(search_index, &status, &test_error));
	CHECK_U64(status.segments, 1);
	CHECK_U64(status.gone, 0);
	search_check();
	CHECK_OK(search_compare(1000));
	search_end();
}

/* A merge fills the next size class, so that another merge is due at once. */
static void test_cascade(void)
{
	unsigned int i, j;

	search_begin("test");
	for (i = 0; i < 15 * 16 + 16; i++)
		search_add_doc();
	for (i = 0; i < 15; i++)
		CHECK_OK(search_write(i * 16, 16));
	for (j = 0; j < 16; j++)
		CHECK_OK(search_write(15 * 16 + j, 1));
	CHECK_OK(search_maintain(UINT_MAX));
	search_check();
	CHECK_OK(search_compare(500));
	search_end();
}

static void check_name(struct lsi_snapshot *snapshot, const char *name)
{
	struct lsi_set set;
	unsigned int i;

	CHECK_U64((uint64_t)lsi_lookup_whole(search_index, snapshot, LSI_NAME, name, strlen(name), &set, &test_error), 1);
	CHECK(set.exact);
	for (i = 0; i < search_doc_count; i++) {
		CHECK(lsi_set_has(&set, lsi_snapshot_find(snapshot, &search_docs[i].doc)) ==
		      (strcmp((char *)search_docs[i].texts[LSI_NAME], name) == 0));
	}
	lsi_set_free(&set);
}

static void test_names(void)
{
	struct lsi_snapshot *snapshot;
	unsigned int i;

	search_begin("test");
	for (i = 0; i < 50; i++)
		search_add_doc();
	CHECK_OK(search_write(0, 50));
	CHECK_OK(lsi_search_begin(search_index, &snapshot, &test_error));
	check_name(snapshot, "X-SPAM");
	check_name(snapshot, "SUBJECT");
	check_name(snapshot, "SPAM");
	lsi_search_end(search_index);
	lsi_snapshot_unref(&snapshot);
	search_end();
}

static uint32_t position_of(const struct lsi_doc *doc)
{
	struct lsi_snapshot *snapshot;
	uint32_t position = 0;

	if (CHECK_OK(lsi_search_begin(search_index, &snapshot, &test_error))) {
		position = lsi_snapshot_find(snapshot, doc);
		lsi_search_end(search_index);
		lsi_snapshot_unref(&snapshot);
	}
	return position;
}

/* A document with a huge text is known, but nothing of its text. */
static void test_opaque(void)
{
	struct lsi_batch *batch = lsi_batch_new();
	struct lsi_status status;
	unsigned int i;
	char word[32];

	search_begin("test");
	for (i = 0; i < 3; i++)
		search_add_doc();
	search_feed(batch, &search_docs[0]);
	lsi_batch_begin(batch, &search_docs[1].doc);
	for (i = 0; i < 2000000; i++)
		lsi_batch_text(batch, LSI_BODY, word, (size_t)snprintf(word, sizeof(word), "OPAQUE%u ", i));
	lsi_batch_end(batch, true);
	CHECK(lsi_batch_is_full(batch));
	/* One that couldn't be read */
	lsi_batch_begin(batch, &search_docs[2].doc);
	lsi_batch_text(batch, LSI_BODY, "FORGOTTEN", 9);
	lsi_batch_end(batch, false);
	CHECK_OK(lsi_write(search_index, batch, &test_error));
	lsi_batch_free(&batch);
	CHECK(position_of(&search_docs[0].doc) < LSI_OPAQUE);
	CHECK_U64(position_of(&search_docs[1].doc), LSI_OPAQUE);
	CHECK_U64(position_of(&search_docs[2].doc), LSI_MISSING);
	CHECK_OK(lsi_optimize(search_index, &test_error));
	CHECK_OK(search_maintain(UINT_MAX));
	CHECK_U64(position_of(&search_docs[1].doc), LSI_OPAQUE);
	CHECK_OK(lsi_get_status(search_index, &status, &test_error));
	CHECK_U64(status.opaque, 1);
	CHECK(status.words < 1000);
	search_check();
	search_end();
}

/* An id that now is another body's isn't taken for the old one, and can be indexed again. */
static void test_used_id(void)
{
	struct lsi_doc old;
	unsigned int i;

	search_begin("test");
	for (i = 0; i < 20; i++)
		search_add_doc();
	CHECK_OK(search_write(0, 20));
	old = search_docs[7].doc;
	search_docs[7].doc.check++;
	CHECK_U64(position_of(&search_docs[7].doc), LSI_MISSING);
	search_docs[7].indexed = false;
	CHECK_OK(search_compare(100));
	memcpy(search_docs[7].texts[LSI_BODY], "CHANGED", search_docs[7].sizes[LSI_BODY] < 7 ? search_docs[7].sizes[LSI_BODY] : 7);
	CHECK_OK(search_write(7, 1));
	CHECK_OK(search_compare(100));
	CHECK_OK(lsi_optimize(search_index, &test_error));
	CHECK_OK(search_maintain(UINT_MAX));
	CHECK_OK(search_compare(300));
	CHECK_U64(position_of(&old), LSI_MISSING);
	search_check();
	search_end();
}

static const struct test tests[] = {
	{ "one", test_one },
	{ "batch", test_batch },
	{ "many_segments", test_many_segments },
	{ "cascade", test_cascade },
	{ "names", test_names },
	{ "opaque", test_opaque },
	{ "used_id", test_used_id },
	TEST_END
};

int main(int argc, char *argv[])
{
	return test_main(argc, argv, tests);
}
