/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#define _GNU_SOURCE
#include "test-search-model.h"

#define TEXT_MAX 3000

struct search_doc search_docs[SEARCH_DOCS_MAX];
unsigned int search_doc_count;
struct lms_env *search_store;
uint64_t search_folder_id;
struct lsi_index *search_index;
unsigned int search_exact, search_candidates, search_matches;
bool search_may_miss;

/* Pieces of text of all classes, some of them not UTF-8 */
static const char *const pieces[] = {
	"A", "E", "THE", "AND", "WORD", "ORDER", "REORDERED", "FOO", "BAR", "FOO-BAR", "A@B", "/USR/LIB", ":-)", "--", "...",
	" ", " ", " ", "\r\n", "\t", "1", "23", "2026", "U\xcc\x88" "BER", "CAFE\xcc\x81",
	"\xd0\x9f\xd0\xa0\xd0\x98\xd0\x92\xd0\x95\xd0\xa2", "\xd0\x9c\xd0\x98\xd0\xa0",
	"\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e", "\xe4\xb8\xad\xe6\x96\x87", "\xe6\x97\xa5", "\xe3\x80\x82", "\xe2\x80\x94",
	"\xf0\x9f\x98\x80", "\xef\xbf\xbd", "\xff", "\xe6", "\xa5", "\xf0\x9f", "=", "QWERTYUIOPASDFGHJKLZXCVBNM",
	"0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF",
	"----------------------------------------------------------------------",
};
#define PIECE_COUNT (sizeof(pieces) / sizeof(pieces[0]))

void search_open(const char *producer)
{
	struct lsi_settings set;

	memset(&set, 0, sizeof(set));
	set.env = test_settings;
	set.producer = producer;
	set.store = search_store;
	CHECK_OK(lsi_open(test_path("search"), &set, &search_index, &test_error));
}

void search_open_child(const char *producer)
{
	search_store = test_open();
	search_open(producer);
}

void search_begin(const char *producer)
{
	search_store = test_open();
	search_folder_id = test_folder(search_store, "INBOX");
	search_open(producer);
	search_doc_count = 0;
	search_exact = search_candidates = search_matches = 0;
	search_may_miss = false;
	srandom(1);
}

void search_end(void)
{
	unsigned int i, field;

	lsi_close(&search_index);
	lms_env_close(&search_store);
	for (i = 0; i < search_doc_count; i++) {
		for (field = 0; field < LSI_FIELD_COUNT; field++)
			free(search_docs[i].texts[field]);
	}
	memset(search_docs, 0, sizeof(search_docs));
}

unsigned int search_random(unsigned int limit)
{
	return (unsigned int)random() % limit;
}

static size_t random_text(uint8_t *text, size_t max)
{
	size_t size = 0, length;
	char word[32];

	while (size + 100 < max) {
		const char *piece = pieces[search_random(PIECE_COUNT)];

		if (search_random(4) == 0) {
			snprintf(word, sizeof(word), "W%uX", search_random(500));
			piece = word;
		}
		length = strlen(piece);
		memcpy(text + size, piece, length);
		size += length;
		if (search_random(2) == 0)
			text[size++] = ' ';
	}
	return size;
}

void search_add_doc(void)
{
	struct search_doc *doc = &search_docs[search_doc_count++];
	struct lms_message message;
	uint8_t text[TEXT_MAX];
	unsigned int field;

	for (field = 0; field < LSI_NAME; field++) {
		doc->sizes[field] = random_text(text, search_random(field == LSI_BODY ? TEXT_MAX : 300));
		doc->texts[field] = malloc(doc->sizes[field] + 1);
		memcpy(doc->texts[field], text, doc->sizes[field]);
	}
	doc->texts[LSI_NAME] = (uint8_t *)strdup(search_random(2) == 0 ? "X-SPAM" : "SUBJECT");
	doc->sizes[LSI_NAME] = strlen((char *)doc->texts[LSI_NAME]);
	doc->uid = test_save(search_store, search_folder_id, "x", 1, 0);
	CHECK_U64((uint64_t)lms_message_get(search_store, search_folder_id, doc->uid, &message, &test_error), 1);
	doc->doc = lsi_doc_make(message.body_id, message.guid, message.physical_size);
}

void search_expunge(unsigned int number)
{
	struct search_doc *doc = &search_docs[number];

	if (!doc->gone)
		CHECK_OK(test_expunge(search_store, search_folder_id, doc->uid, doc->uid));
	doc->gone = true;
}

void search_feed(struct lsi_batch *batch, struct search_doc *doc)
{
	unsigned int field;
	size_t pos, part;

	lsi_batch_begin(batch, &doc->doc);
	for (field = 0; field < LSI_FIELD_COUNT; field++) {
		for (pos = 0; pos < doc->sizes[field]; pos += part) {
			part = field == LSI_NAME ? doc->sizes[field] : 1 + search_random(search_random(2) == 0 ? 4 : 2000);
			if (part > doc->sizes[field] - pos)
				part = doc->sizes[field] - pos;
			lsi_batch_text(batch, (enum lsi_field)field, doc->texts[field] + pos, part);
		}
	}
	lsi_batch_end(batch, true);
	doc->indexed = true;
}

int search_write(unsigned int first, unsigned int count)
{
	struct lsi_batch *batch = lsi_batch_new();
	unsigned int i;
	int ret;

	for (i = first; i < first + count; i++)
		search_feed(batch, &search_docs[i]);
	CHECK_U64(lsi_batch_count(batch), count);
	ret = lsi_write(search_index, batch, &test_error);
	CHECK_U64(lsi_batch_count(batch), 0);
	lsi_batch_free(&batch);
	return ret;
}

int search_maintain(unsigned int steps)
{
	int ret = 1;

	while (steps-- > 0 && ret > 0)
		ret = lsi_maintain(search_index, &test_error);
	return ret;
}

static bool doc_contains(const struct search_doc *doc, unsigned int fields, const void *key, size_t size)
{
	unsigned int field;

	for (field = 0; field < LSI_FIELD_COUNT; field++) {
		if ((fields & LSI_FIELD_BIT(field)) != 0 &&
		    memmem(doc->texts[field], doc->sizes[field], key, size) != NULL)
			return true;
	}
	return false;
}

/* Compare a set with what the texts say. */
static bool is_right(struct lsi_snapshot *snapshot, const struct lsi_set *set, unsigned int fields, const void *key,
		     size_t size)
{
	const struct search_doc *doc;
	bool has, matches;

	for (doc = search_docs; doc < search_docs + search_doc_count; doc++) {
		uint32_t position = lsi_snapshot_find(snapshot, &doc->doc);

		if (position == LSI_MISSING && (!doc->indexed || doc->gone || search_may_miss))
			continue;
		if (position == LSI_MISSING || position == LSI_OPAQUE)
			return false;
		has = lsi_set_has(set, position);
		matches = doc_contains(doc, fields, key, size);
		if (set->exact ? has != matches : matches && !has)
			return false;
		search_candidates += !set->exact && has;
		search_matches += !set->exact && matches;
	}
	search_exact += set->exact;
	return true;
}

static int look_up(struct lsi_snapshot *snapshot, unsigned int fields, const void *key, size_t size)
{
	struct lsi_set set;
	int ret = lsi_lookup(search_index, snapshot, fields, key, size, &set, &test_error);

	if (ret <= 0)
		return ret;
	if (!is_right(snapshot, &set, fields, key, size)) {
		test_check(false, __FILE__, __LINE__, "fields %x, key '%.*s' (%zu bytes)", fields, (int)size,
			   (const char *)key, size);
	}
	lsi_set_free(&set);
	return 0;
}

/* Keys are UTF-8, texts need not be. */
static bool is_utf8(const uint8_t *text, size_t size)
{
	size_t i, j, count;

	for (i = 0; i < size; i += count) {
		count = text[i] < 0x80 ? 1 : text[i] >= 0xc2 && text[i] < 0xe0 ? 2 : text[i] >= 0xe0 && text[i] < 0xf0 ? 3 :
			text[i] >= 0xf0 && text[i] < 0xf5 ? 4 : 0;
		if (count == 0 || i + count > size)
			return false;
		for (j = 1; j < count; j++) {
			if ((text[i + j] & 0xc0) != 0x80)
				return false;
		}
	}
	return true;
}

/* A piece of one of the texts. Returns its size, 0 if it would be no key. */
static size_t random_key(const uint8_t **key_r)
{
	const struct search_doc *doc = &search_docs[search_random(search_doc_count)];
	unsigned int field = search_random(LSI_NAME);
	size_t pos, size;

	if (doc->sizes[field] == 0)
		return 0;
	pos = search_random((unsigned int)doc->sizes[field]);
	size = 1 + search_random(search_random(4) == 0 ? 150 : 12);
	if (size > doc->sizes[field] - pos)
		size = doc->sizes[field] - pos;
	*key_r = doc->texts[field] + pos;
	return is_utf8(*key_r, size) ? size : 0;
}

static int compare_keys(struct lsi_snapshot *snapshot, unsigned int keys)
{
	static const unsigned int fields[] = {
		LSI_FIELD_BIT(LSI_BODY), LSI_FIELD_BIT(LSI_BODY) | LSI_FIELD_BIT(LSI_HEADER), LSI_FIELD_BIT(LSI_HEADER),
		LSI_FIELD_BIT(LSI_SUBJECT), LSI_FIELD_BIT(LSI_FROM), LSI_FIELD_BIT(LSI_TO), LSI_FIELD_BIT(LSI_CC),
		LSI_FIELD_BIT(LSI_BCC)
	};
	const uint8_t *key;
	unsigned int i;
	size_t size;

	for (i = 0; i < PIECE_COUNT; i++) {
		size = strlen(pieces[i]);
		if (is_utf8((const uint8_t *)pieces[i], size) && look_up(snapshot, fields[i % 8], pieces[i], size) < 0)
			return -1;
	}
	for (i = 0; i < keys; i++) {
		size = random_key(&key);
		if (size > 0 && look_up(snapshot, fields[i % 8], key, size) < 0)
			return -1;
	}
	return 0;
}

int search_compare(unsigned int keys)
{
	struct lsi_snapshot *snapshot;
	int ret;

	if (lsi_search_begin(search_index, &snapshot, &test_error) < 0)
		return -1;
	ret = compare_keys(snapshot, keys);
	lsi_search_end(search_index);
	lsi_snapshot_unref(&snapshot);
	return ret;
}

static void print_line(const char *text, void *context)
{
	(void)context;
	printf("%s\n", text);
}

void search_check(void)
{
	CHECK_U64((uint64_t)lsi_check(search_index, print_line, NULL, &test_error), 1);
}
