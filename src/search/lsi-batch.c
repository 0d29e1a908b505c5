/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "lsi-batch.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stdlib.h>
#include <string.h>

/* A batch with this is full. */
#define FULL_DOCS 1024
#define FULL_BYTES ((size_t)16 << 20)
/* A document that adds more than this is opaque. */
#define DOC_BYTES_MAX ((size_t)16 << 20)

struct lsi_batch *lsi_batch_new(void)
{
	return calloc(1, sizeof(struct lsi_batch));
}

void lsi_batch_free(struct lsi_batch **_batch)
{
	struct lsi_batch *batch = *_batch;

	*_batch = NULL;
	if (batch == NULL)
		return;
	free(batch->docs);
	free(batch->opaque);
	free(batch->dropped);
	free(batch->arena);
	free(batch->words);
	free(batch->slots);
	free(batch->nodes);
	free(batch);
}

void lsi_batch_clear(struct lsi_batch *batch)
{
	batch->doc_count = 0;
	batch->arena_size = batch->word_count = batch->node_count = 0;
	if (batch->slots != NULL)
		memset(batch->slots, 0, batch->slot_count * sizeof(*batch->slots));
}

/* Make room for count more elements. */
static bool grow(void *arrayp, size_t used, size_t count, size_t *alloc, size_t size)
{
	void **array = arrayp, *bigger;
	size_t want = *alloc > 0 ? *alloc : 1024;

	if (*alloc - used >= count && *array != NULL)
		return true;
	while (want - used < count)
		want *= 2;
	if (want > UINT32_MAX || (bigger = realloc(*array, want * size)) == NULL)
		return false;
	*array = bigger;
	*alloc = want;
	return true;
}

static bool rehash(struct lsi_batch *batch)
{
	size_t count = batch->slot_count > 0 ? batch->slot_count * 2 : 8192, i, slot;
	uint32_t *slots = calloc(count, sizeof(*slots));

	if (slots == NULL)
		return false;
	for (i = 0; i < batch->word_count; i++) {
		for (slot = batch->words[i].hash & (count - 1); slots[slot] != 0; slot = (slot + 1) & (count - 1)) ;
		slots[slot] = (uint32_t)i + 1;
	}
	free(batch->slots);
	batch->slots = slots;
	batch->slot_count = count;
	return true;
}

static struct lsi_batch_word *add_word(struct lsi_batch *batch, size_t slot, uint32_t hash, const uint8_t *token,
				       size_t size)
{
	struct lsi_batch_word *word;

	if (!grow(&batch->arena, batch->arena_size, size, &batch->arena_alloc, 1) ||
	    !grow(&batch->words, batch->word_count, 1, &batch->word_alloc, sizeof(*batch->words)))
		return NULL;
	word = &batch->words[batch->word_count++];
	word->hash = hash;
	word->text = (uint32_t)batch->arena_size;
	word->node = UINT32_MAX;
	word->count = 0;
	word->field = (uint8_t)batch->field;
	word->size = (uint8_t)size;
	memcpy(batch->arena + batch->arena_size, token, size);
	batch->arena_size += size;
	batch->slots[slot] = (uint32_t)batch->word_count;
	return word;
}

/* Find or add a word of the current field. */
static struct lsi_batch_word *get_word(struct lsi_batch *batch, const uint8_t *token, size_t size)
{
	uint32_t hash = (uint32_t)XXH3_64bits_withSeed(token, size, batch->field);
	struct lsi_batch_word *word;
	size_t slot;

	if ((batch->word_count + 1) * 2 > batch->slot_count && !rehash(batch))
		return NULL;
	for (slot = hash & (batch->slot_count - 1); batch->slots[slot] != 0;
	     slot = (slot + 1) & (batch->slot_count - 1)) {
		word = &batch->words[batch->slots[slot] - 1];
		if (word->hash == hash && word->size == size && word->field == batch->field &&
		    memcmp(batch->arena + word->text, token, size) == 0)
			return word;
	}
	return add_word(batch, slot, hash, token, size);
}

struct lsi_doc lsi_doc_make(uint64_t body_id, const char *guid, uint64_t size)
{
	struct lsi_doc doc = { body_id, (uint32_t)XXH3_64bits_withSeed(guid, strlen(guid), size) };

	return doc;
}

static size_t used_bytes(const struct lsi_batch *batch)
{
	return batch->arena_size + batch->word_count * (sizeof(*batch->words) + 2 * sizeof(*batch->slots)) +
		batch->node_count * sizeof(*batch->nodes);
}

static void add_token(const uint8_t *token, size_t size, void *context)
{
	struct lsi_batch *batch = context;
	uint32_t doc = batch->doc_count - 1;
	struct lsi_batch_word *word;

	if (batch->failed || batch->too_large)
		return;
	word = get_word(batch, token, size);
	if (word == NULL || !grow(&batch->nodes, batch->node_count, 1, &batch->node_alloc, sizeof(*batch->nodes))) {
		batch->failed = true;
		return;
	}
	if (word->node != UINT32_MAX && batch->nodes[word->node].doc == doc)
		return;
	batch->nodes[batch->node_count].doc = doc;
	batch->nodes[batch->node_count].before = word->node;
	word->node = (uint32_t)batch->node_count++;
	word->count++;
	batch->too_large = (batch->node_count - batch->begin_nodes) * sizeof(*batch->nodes) +
		batch->arena_size - batch->begin_arena > DOC_BYTES_MAX;
}

void lsi_batch_begin(struct lsi_batch *batch, const struct lsi_doc *doc)
{
	size_t alloc = batch->doc_alloc, alloc2 = alloc, alloc3 = alloc;
	unsigned int i;

	batch->failed = !grow(&batch->docs, batch->doc_count, 1, &alloc, sizeof(*batch->docs)) ||
		!grow(&batch->opaque, batch->doc_count, 1, &alloc2, sizeof(*batch->opaque)) ||
		!grow(&batch->dropped, batch->doc_count, 1, &alloc3, sizeof(*batch->dropped));
	batch->begun = !batch->failed;
	batch->too_large = false;
	if (batch->failed)
		return;
	batch->doc_alloc = (unsigned int)alloc;
	batch->docs[batch->doc_count] = *doc;
	batch->opaque[batch->doc_count] = batch->dropped[batch->doc_count] = false;
	batch->doc_count++;
	batch->begin_nodes = batch->node_count;
	batch->begin_arena = batch->arena_size;
	for (i = 0; i < LSI_FIELD_COUNT; i++)
		lsi_cutter_init(&batch->cutters[i], add_token, batch);
}

void lsi_batch_text(struct lsi_batch *batch, enum lsi_field field, const void *data, size_t size)
{
	if (batch->failed || batch->too_large || size == 0)
		return;
	batch->field = field;
	if (field == LSI_NAME)
		add_token(data, size < LSI_TOKEN_MAX ? size : LSI_TOKEN_MAX, batch);
	else
		lsi_cutter_add(&batch->cutters[field], data, size);
}

void lsi_batch_break(struct lsi_batch *batch, enum lsi_field field)
{
	if (batch->failed || batch->too_large)
		return;
	batch->field = field;
	lsi_cutter_end(&batch->cutters[field]);
}

void lsi_batch_end(struct lsi_batch *batch, bool ok)
{
	unsigned int field;

	if (!batch->begun)
		return;
	for (field = 0; field < LSI_FIELD_COUNT; field++)
		lsi_batch_break(batch, (enum lsi_field)field);
	batch->opaque[batch->doc_count - 1] = batch->too_large;
	batch->dropped[batch->doc_count - 1] = !ok || batch->failed;
	batch->begun = false;
}

unsigned int lsi_batch_count(const struct lsi_batch *batch)
{
	return batch->doc_count;
}

bool lsi_batch_is_full(const struct lsi_batch *batch)
{
	return batch->doc_count >= FULL_DOCS || used_bytes(batch) >= FULL_BYTES || batch->failed;
}

bool lsi_batch_has(const struct lsi_batch *batch, uint64_t body_id)
{
	unsigned int i;

	/* Asked for what was added lately, if for any. */
	for (i = batch->doc_count; i > 0; i--) {
		if (batch->docs[i - 1].body_id == body_id)
			return true;
	}
	return false;
}

/* What a word is sorted by first */
struct sort_key {
	uint64_t prefix;
	uint32_t word;
};

static const struct lsi_batch *sorted_batch;

static int compare(const void *_a, const void *_b)
{
	const struct sort_key *a = _a, *b = _b;
	const struct lsi_batch_word *word_a, *word_b;
	size_t size;
	int ret;

	if (a->prefix != b->prefix)
		return a->prefix < b->prefix ? -1 : 1;
	word_a = &sorted_batch->words[a->word];
	word_b = &sorted_batch->words[b->word];
	size = word_a->size < word_b->size ? word_a->size : word_b->size;
	ret = memcmp(sorted_batch->arena + word_a->text, sorted_batch->arena + word_b->text, size);
	return ret != 0 ? ret : (int)word_a->size - (int)word_b->size;
}

uint32_t *lsi_batch_sort(const struct lsi_batch *batch)
{
	uint32_t *order = malloc((batch->word_count + 1) * sizeof(*order));
	struct sort_key *keys = malloc((batch->word_count + 1) * sizeof(*keys));
	const struct lsi_batch_word *word;
	size_t i, j;

	if (order == NULL || keys == NULL) {
		free(order);
		free(keys);
		return NULL;
	}
	for (i = 0; i < batch->word_count; i++) {
		word = &batch->words[i];
		keys[i].word = (uint32_t)i;
		keys[i].prefix = (uint64_t)word->field << 56;
		for (j = 0; j < 7 && j < word->size; j++)
			keys[i].prefix |= (uint64_t)batch->arena[word->text + j] << (48 - 8 * j);
	}
	sorted_batch = batch;
	qsort(keys, batch->word_count, sizeof(*keys), compare);
	for (i = 0; i < batch->word_count; i++)
		order[i] = keys[i].word;
	free(keys);
	return order;
}
