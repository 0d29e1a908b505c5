/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#include "test-common.h"

#include <unistd.h>

/*
 * Random requests against a store and a model of it in memory, which then must agree; so must a view of each folder
 * that follows by the change counter, as index files do.
 */

#define FOLDERS 6
#define KEYWORDS 70
#define KEYWORD_BYTES ((KEYWORDS + 7) / 8)

struct model_message {
	uint32_t uid;
	uint8_t flags;
	/* Keyword n of keyword_names */
	uint8_t keywords[KEYWORD_BYTES];
	unsigned int seed;
	size_t size;
	int64_t received;
	char guid[33];
};

struct model_folder {
	uint64_t id;
	uint32_t uidnext;
	struct model_message *messages;
	unsigned int count, alloc;
	/* The view: messages as they were at this change */
	uint64_t view_change;
	struct model_message *view;
	unsigned int view_count;
};

static struct model_folder folders[FOLDERS];
static char keyword_names[KEYWORDS][16];
static struct lms_env *env;
static uint64_t random_state;
static unsigned int next_seed;
static uint8_t body[200000];

static unsigned int rnd(unsigned int max)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned int)(random_state >> 33) % max;
}

static struct model_folder *random_folder(void)
{
	return &folders[rnd(FOLDERS)];
}

static void folder_path(unsigned int i, char path[64])
{
	snprintf(path, 64, "%s%u", i % 2 == 0 ? "top" : "parent/child", i);
}

static void create_folder(unsigned int i)
{
	char path[64];

	folder_path(i, path);
	free(folders[i].messages);
	free(folders[i].view);
	memset(&folders[i], 0, sizeof(folders[i]));
	folders[i].id = test_folder(env, path);
	folders[i].uidnext = 1;
}

static struct model_message *add_message(struct model_folder *folder)
{
	if (folder->count == folder->alloc) {
		folder->alloc = folder->alloc * 2 + 16;
		folder->messages = realloc(folder->messages, folder->alloc * sizeof(*folder->messages));
	}
	memset(&folder->messages[folder->count], 0, sizeof(*folder->messages));
	return &folder->messages[folder->count++];
}

static void remove_message(struct model_folder *folder, unsigned int i)
{
	memmove(&folder->messages[i], &folder->messages[i + 1], (--folder->count - i) * sizeof(*folder->messages));
}

static int find_message(const struct model_folder *folder, uint32_t uid)
{
	unsigned int i;

	for (i = 0; i < folder->count; i++) {
		if (folder->messages[i].uid == uid)
			return (int)i;
	}
	return -1;
}

static size_t random_size(void)
{
	switch (rnd(8)) {
	case 0:
		return rnd(3);
	case 1:
		return rnd(sizeof(body));
	case 2:
		return LMS_CHUNK_MAX * (1 + rnd(2));
	default:
		return rnd(6000);
	}
}

static uint64_t stage(const uint8_t *data, size_t size)
{
	struct lms_stage_part part = { NULL, NULL, 0, NULL, 0 };
	struct lms_request request;
	uint64_t body_id = 0;
	size_t done = 0;

	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_STAGE;
	request.no_sync = true;
	request.u.stage.parts = &part;
	request.u.stage.count = 1;
	part.body_id = &body_id;
	do {
		part.data = data + done;
		part.size = test_stage_size(data, done, size);
		if (!CHECK_OK(test_submit(env, &request)))
			break;
		done += part.size;
	} while (done < size);
	return body_id;
}

/* Save, copy or move some messages in one request; model first, then the store. */
static void do_save(void)
{
	struct model_folder *folder = random_folder(), *source = random_folder();
	static const char *names[KEYWORDS];
	uint16_t keywords[10][4];
	struct lms_save_message args[10];
	struct model_message *message;
	uint8_t *data[10] = { NULL };
	struct lms_request request;
	unsigned int i, j, count = 1 + rnd(10);
	uint32_t uids[10], expected[10];
	int found;

	memset(args, 0, sizeof(args));
	for (i = 0; i < KEYWORDS; i++)
		names[i] = keyword_names[i];
	for (i = 0; i < count; i++) {
		enum lms_save_source kind = rnd(4);

		args[i].source = kind;
		args[i].received = 1000000000 + rnd(700000000) - 1000000000 * (int)rnd(2);
		args[i].saved = 1700000000;
		args[i].flags = rnd(32);
		args[i].keywords = keywords[i];
		args[i].keyword_count = rnd(4);
		if (kind == LMS_SAVE_COPY || kind == LMS_SAVE_MOVE) {
			struct model_message copy;

			if (source->count == 0) {
				count = i;
				break;
			}
			found = (int)rnd(source->count);
			copy = source->messages[found];
			args[i].source_folder_id = source->id;
			args[i].source_uid = copy.uid;
			if (rnd(2) == 0)
				args[i].received = INT64_MIN;
			else
				copy.received = args[i].received;
			if (kind == LMS_SAVE_MOVE)
				remove_message(source, (unsigned int)found);
			message = add_message(folder);
			*message = copy;
		} else {
			size_t size = random_size();

			message = add_message(folder);
			message->seed = next_seed++;
			message->size = size;
			message->received = args[i].received;
			snprintf(message->guid, sizeof(message->guid), "%032x", message->seed);
			if (rnd(4) == 0)
				memcpy(message->guid, "GUID", 4);
			data[i] = malloc(size + 1);
			test_fill(data[i], size, message->seed);
			args[i].data = data[i];
			args[i].size = args[i].physical_size = size;
			args[i].virtual_size = size + size / 40;
			if (kind == LMS_SAVE_STAGED)
				args[i].body_id = stage(data[i], size);
			args[i].guid = data[i] == NULL ? NULL : strdup(message->guid);
		}
		memset(message->keywords, 0, sizeof(message->keywords));
		for (j = 0; j < args[i].keyword_count; j++) {
			keywords[i][j] = rnd(KEYWORDS);
			message->keywords[keywords[i][j] / 8] |= 1 << keywords[i][j] % 8;
		}
		message->flags = args[i].flags;
		if (rnd(20) == 0)
			args[i].uid = folder->uidnext + rnd(5);
		message->uid = expected[i] = args[i].uid > folder->uidnext ? args[i].uid : folder->uidnext;
		folder->uidnext = message->uid + 1;
	}
	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_SAVE;
	request.no_sync = true;
	request.u.save.folder_id = folder->id;
	request.u.save.keyword_names = names;
	request.u.save.keyword_name_count = KEYWORDS;
	request.u.save.messages = args;
	request.u.save.message_count = count;
	request.u.save.uids_r = uids;
	CHECK_OK(test_submit(env, &request));
	CHECK(memcmp(uids, expected, count * sizeof(*uids)) == 0);
	for (i = 0; i < count; i++) {
		free(data[i]);
		free((char *)(uintptr_t)args[i].guid);
	}
}

static void sync_model(struct model_folder *folder, const struct lms_sync *args)
{
	unsigned int i, j;

	for (j = 0; j < folder->count; j++) {
		struct model_message *message = &folder->messages[j];

		for (i = 0; i < args->flag_count; i++) {
			if (message->uid >= args->flags[i].uid1 && message->uid <= args->flags[i].uid2)
				message->flags = (message->flags & ~args->flags[i].remove) | args->flags[i].add;
		}
		for (i = 0; i < args->keyword_count; i++) {
			uint8_t *byte = &message->keywords[args->keywords[i].keyword / 8];
			uint8_t bit = 1 << args->keywords[i].keyword % 8;

			if (message->uid < args->keywords[i].uid1 || message->uid > args->keywords[i].uid2)
				continue;
			*byte = args->keywords[i].add ? *byte | bit : *byte & ~bit;
		}
	}
	for (i = 0; i < args->expunge_count; i++) {
		for (j = 0; j < folder->count; ) {
			if (folder->messages[j].uid >= args->expunges[i].uid1 &&
			    folder->messages[j].uid <= args->expunges[i].uid2)
				remove_message(folder, j);
			else
				j++;
		}
	}
}

static void do_sync(void)
{
	struct model_folder *folder = random_folder();
	struct lms_flag_change flags[5];
	struct lms_keyword_change keywords[5];
	struct lms_uid_range expunges[3];
	const char *names[KEYWORDS];
	struct lms_request request;
	struct lms_sync *args = &request.u.sync;
	unsigned int i;

	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_SYNC;
	request.no_sync = true;
	args->folder_id = folder->id;
	for (i = 0; i < KEYWORDS; i++)
		names[i] = keyword_names[i];
	args->keyword_names = names;
	args->keyword_name_count = KEYWORDS;
	args->flags = flags;
	args->flag_count = rnd(6);
	for (i = 0; i < args->flag_count; i++) {
		flags[i].uid1 = rnd(folder->uidnext + 2);
		flags[i].uid2 = flags[i].uid1 + rnd(20);
		flags[i].add = rnd(32);
		flags[i].remove = rnd(32);
	}
	args->keywords = keywords;
	args->keyword_count = rnd(6);
	for (i = 0; i < args->keyword_count; i++) {
		keywords[i].uid1 = rnd(folder->uidnext + 2);
		keywords[i].uid2 = keywords[i].uid1 + rnd(20);
		keywords[i].keyword = rnd(KEYWORDS);
		keywords[i].add = rnd(2);
	}
	args->expunges = expunges;
	args->expunge_count = rnd(3) == 0 ? rnd(4) : 0;
	for (i = 0; i < args->expunge_count; i++) {
		expunges[i].uid1 = rnd(folder->uidnext + 2);
		expunges[i].uid2 = expunges[i].uid1 + rnd(8);
	}
	sync_model(folder, args);
	CHECK_OK(test_submit(env, &request));
}

struct keyword_numbers {
	int names[KEYWORDS * 2];
};

static int add_keyword(unsigned int number, const char *name, void *context)
{
	struct keyword_numbers *numbers = context;
	unsigned int i;

	CHECK(number < KEYWORDS);
	for (i = 0; i < KEYWORDS; i++) {
		if (strcmp(keyword_names[i], name) == 0)
			numbers->names[number] = (int)i;
	}
	return 0;
}

struct compare {
	const struct model_folder *folder;
	struct keyword_numbers numbers;
	unsigned int count;
	bool failed, bodies;
};

static bool keywords_are(const struct compare *compare, const struct lms_message *message, const uint8_t *expected)
{
	uint8_t keywords[KEYWORD_BYTES] = { 0 };
	unsigned int i;

	for (i = 0; i < message->keyword_bytes * 8; i++) {
		if ((message->keywords[i / 8] & 1 << i % 8) == 0)
			continue;
		if (i >= KEYWORDS || compare->numbers.names[i] < 0)
			return false;
		keywords[compare->numbers.names[i] / 8] |= 1 << compare->numbers.names[i] % 8;
	}
	return memcmp(keywords, expected, sizeof(keywords)) == 0;
}

static int compare_message(const struct lms_message *message, void *context)
{
	struct compare *compare = context;
	const struct model_message *expected = &compare->folder->messages[compare->count];

	if (compare->count++ >= compare->folder->count ||
	    message->uid != expected->uid || message->flags != expected->flags ||
	    message->physical_size != expected->size || message->body_size != expected->size ||
	    message->virtual_size != expected->size + expected->size / 40 ||
	    message->received != expected->received || strcmp(message->guid, expected->guid) != 0 ||
	    !keywords_are(compare, message, expected->keywords)) {
		compare->failed = true;
		return 1;
	}
	if (compare->bodies) {
		test_fill(body, expected->size, expected->seed);
		if (!test_body_is(env, message->body_id, body, expected->size))
			compare->failed = true;
	}
	return 0;
}

static void compare_folder(const struct model_folder *folder, bool bodies)
{
	struct compare compare;
	struct lms_folder info;
	unsigned int i, seen = 0;
	uint64_t size = 0;

	memset(&compare, 0, sizeof(compare));
	memset(compare.numbers.names, 0xff, sizeof(compare.numbers.names));
	compare.folder = folder;
	compare.bodies = bodies;
	CHECK_OK(lms_keyword_scan(env, folder->id, add_keyword, &compare.numbers, &test_error));
	CHECK_OK(lms_message_scan(env, folder->id, 1, UINT32_MAX, compare_message, &compare, &test_error));
	CHECK(!compare.failed);
	CHECK_U64(compare.count, folder->count);
	for (i = 0; i < folder->count; i++) {
		seen += (folder->messages[i].flags & LMS_SEEN) != 0 ? 1 : 0;
		size += folder->messages[i].size;
	}
	info = test_folder_get(env, folder->id);
	CHECK_U64(info.messages, folder->count);
	CHECK_U64(info.seen, seen);
	CHECK_U64(info.uidnext, folder->uidnext);
	CHECK_U64(info.physical_size, size);
}

struct pull {
	struct model_folder *folder;
	/* What a record said of each UID */
	uint8_t *kinds;
};

static int pull_change(enum lms_change_kind kind, uint32_t uid1, uint32_t uid2, void *context)
{
	struct pull *pull = context;

	CHECK(uid1 <= uid2 && uid2 < pull->folder->uidnext);
	for (; uid1 <= uid2 && uid2 < pull->folder->uidnext; uid1++)
		pull->kinds[uid1] |= (uint8_t)kind;
	return 0;
}

/* Bring the view up to date: every difference to the model must have been told. */
static void pull_view(struct model_folder *folder)
{
	struct lms_folder info = test_folder_get(env, folder->id);
	struct pull pull = { folder, calloc(1, folder->uidnext + 1) };
	unsigned int i;

	if (info.change != folder->view_change)
		CHECK_OK(lms_changes_scan(env, folder->id, folder->view_change, pull_change, &pull, &test_error));
	for (i = 0; i < folder->view_count; i++) {
		const struct model_message *old = &folder->view[i];
		int found = find_message(folder, old->uid);

		if (found < 0)
			CHECK((pull.kinds[old->uid] & LMS_CHANGE_EXPUNGE) != 0);
		else if (memcmp(old->keywords, folder->messages[found].keywords, sizeof(old->keywords)) != 0 ||
			 old->flags != folder->messages[found].flags)
			CHECK((pull.kinds[old->uid] & LMS_CHANGE_FLAGS) != 0);
		if (found >= 0)
			CHECK((pull.kinds[old->uid] & LMS_CHANGE_EXPUNGE) == 0);
	}
	free(pull.kinds);
	free(folder->view);
	folder->view = malloc((folder->count + 1) * sizeof(*folder->view));
	if (folder->count > 0)
		memcpy(folder->view, folder->messages, folder->count * sizeof(*folder->view));
	folder->view_count = folder->count;
	folder->view_change = info.change;
}

static void do_other(void)
{
	unsigned int i = rnd(FOLDERS);

	switch (rnd(12)) {
	case 0:
		CHECK_OK(test_delete(env, folders[i].id));
		create_folder(i);
		break;
	case 1:
		test_collect(env, rnd(2) == 0 ? 0 : 600);
		break;
	case 2:
		env = test_reopen(env);
		break;
	case 3:
		lms_stage_abort(env, stage(body, random_size()));
		break;
	default:
		pull_view(&folders[i]);
		break;
	}
}

static void run_model(unsigned int seed, unsigned int steps)
{
	unsigned int i, step;

	random_state = seed;
	next_seed = 1;
	for (i = 0; i < KEYWORDS; i++)
		snprintf(keyword_names[i], sizeof(keyword_names[i]), "keyword%u", i);
	env = test_open();
	for (i = 0; i < FOLDERS; i++)
		create_folder(i);
	for (step = 0; step < steps; step++) {
		switch (rnd(3)) {
		case 0:
			do_save();
			break;
		case 1:
			do_sync();
			break;
		default:
			do_other();
			break;
		}
		if (step % 100 == 99) {
			for (i = 0; i < FOLDERS; i++)
				compare_folder(&folders[i], step % 500 == 499);
			CHECK_STORE(env);
		}
	}
	for (i = 0; i < FOLDERS; i++) {
		pull_view(&folders[i]);
		CHECK_OK(test_delete(env, folders[i].id));
		free(folders[i].messages);
		free(folders[i].view);
		memset(&folders[i], 0, sizeof(folders[i]));
	}
	test_collect(env, 0);
	CHECK_STORE(env);
	lms_env_close(&env);
}

static void test_model(void)
{
	run_model(1, 1500);
}

static void test_model_random(void)
{
	unsigned int seed = (unsigned int)getpid();

	printf("# seed %u\n", seed);
	run_model(seed, 1500);
}

static const struct test tests[] = {
	{ "model", test_model },
	{ "model-random", test_model_random },
	TEST_END
};

int main(int argc, char *argv[])
{
	return test_main(argc, argv, tests);
}
