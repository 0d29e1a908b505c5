/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#define _GNU_SOURCE
#include "test-common.h"
#include "test-state.h"

struct state {
	struct lms_env *env;
	FILE *file;
	bool details;
	unsigned int depth;
	/* Of the attributes being listed */
	uint64_t folder_id;
	const char *user;
};

static uint64_t hash_bytes(uint64_t hash, const uint8_t *data, size_t size)
{
	while (size-- > 0)
		hash = (hash ^ *data++) * 0x100000001b3ull;
	return hash;
}

static uint64_t hash_body(struct lms_env *env, uint64_t body_id)
{
	static uint8_t buffer[LMS_CHUNK_MAX];
	uint64_t hash = 0xcbf29ce484222325ull;
	struct lms_body_start start;
	uint32_t chunk = 0;
	size_t size;

	if (lms_body_start(env, body_id, &start, &test_error) == 1)
		hash = hash_bytes(hash, start.ready, start.ready_size);
	while (test_body_read(env, body_id, chunk++, buffer, &size) == 1)
		hash = hash_bytes(hash, buffer, size);
	return hash;
}

static int add_keyword(unsigned int number, const char *name, void *context)
{
	struct state *state = context;

	fprintf(state->file, "  keyword %u %s\n", number, name);
	return 0;
}

static int add_message(const struct lms_message *message, void *context)
{
	struct state *state = context;
	size_t i;

	fprintf(state->file, "  message %u flags %02x received %lld saved %lld size %llu virtual %llu body %llu uidl %s "
		"order %u modseq %llu keywords ", message->uid, message->flags, (long long)message->received,
		(long long)message->saved, (unsigned long long)message->physical_size,
		(unsigned long long)message->virtual_size, (unsigned long long)message->body_size,
		message->pop3_uidl == NULL ? "-" : message->pop3_uidl, message->pop3_order,
		(unsigned long long)message->min_modseq);
	for (i = 0; i < message->keyword_bytes; i++)
		fprintf(state->file, "%02x", message->keywords[i]);
	if (state->details) {
		fprintf(state->file, " guid %s content %016llx", message->guid,
			(unsigned long long)hash_body(state->env, message->body_id));
	}
	fprintf(state->file, "\n");
	return 0;
}

static int add_attribute(const char *key, void *context)
{
	struct state *state = context;
	int64_t changed;
	void *value;
	size_t size;

	fprintf(state->file, "  attribute %s %s", state->user == NULL ? "(shared)" : state->user, key);
	if (state->details && CHECK(lms_attribute_get(state->env, state->folder_id, state->user, key, &value, &size,
						      &changed, &test_error) == 1)) {
		fprintf(state->file, " changed %lld: %.*s", (long long)changed, (int)size, (const char *)value);
		free(value);
	}
	fprintf(state->file, "\n");
	return 0;
}

static void add_attributes(struct state *state, uint64_t folder_id)
{
	state->folder_id = folder_id;
	state->user = NULL;
	CHECK(lms_attribute_scan(state->env, folder_id, NULL, "", add_attribute, state, &test_error) == 0);
	state->user = "user";
	CHECK(lms_attribute_scan(state->env, folder_id, "user", "", add_attribute, state, &test_error) == 0);
}

static int add_change(enum lms_change_kind kind, uint32_t uid1, uint32_t uid2, void *context)
{
	struct state *state = context;

	fprintf(state->file, "  change %d %u-%u\n", kind, uid1, uid2);
	return 0;
}

static void add_folder(struct state *state, uint64_t folder_id)
{
	struct lms_folder folder;
	unsigned int i;

	if (!CHECK(lms_folder_get(state->env, folder_id, &folder, &test_error) == 1))
		return;
	fprintf(state->file, "  uidnext %u recent %u change %llu flags %llu floor %llu messages %u seen %u sizes %llu %llu "
		"uidl %d order %d\n", folder.uidnext, folder.first_recent_uid, (unsigned long long)folder.change,
		(unsigned long long)folder.flag_change, (unsigned long long)folder.modseq_floor, folder.messages,
		folder.seen, (unsigned long long)folder.physical_size, (unsigned long long)folder.virtual_size,
		folder.have_pop3_uidl, folder.have_pop3_order);
	if (state->details) {
		fprintf(state->file, "  uidvalidity %u guid ", folder.uidvalidity);
		for (i = 0; i < sizeof(folder.guid); i++)
			fprintf(state->file, "%02x", folder.guid[i]);
		fprintf(state->file, "\n");
		CHECK(lms_changes_scan(state->env, folder_id, 0, add_change, state, &test_error) == 0);
	}
	CHECK(lms_keyword_scan(state->env, folder_id, add_keyword, state, &test_error) == 0);
	CHECK(lms_message_scan(state->env, folder_id, 1, UINT32_MAX, add_message, state, &test_error) == 0);
	add_attributes(state, folder_id);
}

static int add_node(const struct lms_node *node, const char *name, void *context)
{
	struct state *state = context;

	fprintf(state->file, "node %u %s%s\n", state->depth, name, node->folder_id == 0 ? " (no folder)" : "");
	if (node->folder_id != 0)
		add_folder(state, node->folder_id);
	state->depth++;
	CHECK(lms_node_children(state->env, node->node_id, add_node, state, &test_error) == 0);
	state->depth--;
	return 0;
}

static int add_subscription(const char *name, void *context)
{
	struct state *state = context;

	fprintf(state->file, "subscription %s\n", name);
	return 0;
}

char *test_state(struct lms_env *env, bool details)
{
	struct state state = { env, NULL, details, 0, 0, NULL };
	size_t size;
	char *text;

	state.file = open_memstream(&text, &size);
	CHECK(lms_read_begin(env, &test_error) == 0);
	CHECK(lms_node_children(env, LMS_ROOT_NODE, add_node, &state, &test_error) == 0);
	CHECK(lms_subscription_scan(env, add_subscription, &state, &test_error) == 0);
	add_attributes(&state, 0);
	lms_read_end(env);
	fclose(state.file);
	return text;
}
