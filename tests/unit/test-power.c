/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#define _GNU_SOURCE
#include "test-common.h"
#include "test-fault.h"
#include "test-publisher.h"
#include "test-state.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Power cuts, simulated: everything that is written is recorded, and files are made as a disk may have them after a
 * cut at any point: all that was flushed, and of the rest any part, in pieces of 512 bytes. Whatever was acknowledged
 * must be there, and the request that was under way as a whole or not at all.
 */

#define STEPS 60

static uint64_t random_state;

static unsigned int rnd(unsigned int max)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned int)(random_state >> 33) % max;
}

static uint64_t inbox, other;
static uint8_t data[150000];

/* A commit that two processes share */
static void step_shared(struct lms_env *env)
{
	struct publisher *publisher = publisher_new(env);
	struct lms_save_message message;
	struct lms_request request;
	uint32_t uid;
	bool garbage;

	memset(&message, 0, sizeof(message));
	message.data = data;
	message.size = message.physical_size = message.virtual_size = rnd(20000);
	memset(&request, 0, sizeof(request));
	request.op = LMS_OP_SAVE;
	request.u.save.folder_id = inbox;
	request.u.save.messages = &message;
	request.u.save.message_count = 1;
	request.u.save.uids_r = &uid;
	publisher_publish(publisher, &request, 0);
	CHECK(test_save(env, other, data, rnd(20000), 0) != 0);
	CHECK_OK(publisher_result(publisher, &garbage));
	publisher_free(&publisher);
}

static void step(struct lms_env *env, unsigned int i)
{
	switch (rnd(9)) {
	case 0:
		(void)test_copy(env, inbox, 1 + rnd(10), 10 + rnd(20), other, rnd(2) == 0);
		break;
	case 1:
		CHECK_OK(test_expunge(env, other, rnd(30), 10 + rnd(50)));
		break;
	case 2:
		CHECK_OK(test_flags(env, inbox, 1, 1 + rnd(50), rnd(32), rnd(32)));
		break;
	case 3:
		test_collect(env, 0);
		break;
	case 4:
	case 5:
		step_shared(env);
		break;
	default:
		CHECK(test_save(env, inbox, data, rnd(i % 10 == 0 ? sizeof(data) : 9000), 0) != 0);
		break;
	}
}

static uint8_t *read_file(const char *path, size_t *size_r)
{
	int fd = open(path, O_RDONLY);
	uint8_t *content;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		exit(1);
	content = malloc((size_t)st.st_size);
	CHECK(read(fd, content, (size_t)st.st_size) == st.st_size);
	close(fd);
	*size_r = (size_t)st.st_size;
	return content;
}

struct image {
	uint8_t *data;
	size_t size, alloc;
};

static void image_write(struct image *image, size_t offset, const uint8_t *bytes, size_t size)
{
	if (offset + size > image->alloc) {
		image->data = realloc(image->data, (offset + size) * 2);
		image->alloc = (offset + size) * 2;
	}
	if (offset > image->size)
		memset(image->data + image->size, 0, offset - image->size);
	memcpy(image->data + offset, bytes, size);
	if (offset + size > image->size)
		image->size = offset + size;
}

/* The file as it may be after a cut before entry cut of the log. */
static void make_image(struct image *image, const uint8_t *start, size_t start_size, const struct fault_log *log,
		       unsigned int cut)
{
	unsigned int i, flushed = 0, luck = rnd(4);
	size_t offset, part;

	for (i = 0; i < cut; i++) {
		if (log->writes[i].is_flush)
			flushed = i;
	}
	image->size = 0;
	image_write(image, 0, start, start_size);
	for (i = 0; i < cut; i++) {
		const struct fault_write *entry = &log->writes[i];

		if (entry->is_flush)
			continue;
		if (i < flushed || entry->synced || luck == 0) {
			image_write(image, (size_t)entry->offset, entry->data, entry->size);
			continue;
		}
		for (offset = 0; offset < entry->size; offset += part) {
			part = entry->size - offset < 512 ? entry->size - offset : 512;
			if (luck > 1 && rnd(2) == 0)
				image_write(image, (size_t)entry->offset + offset, entry->data + offset, part);
		}
	}
}

static void check_image(const struct image *image, char *const *states, unsigned int acknowledged, unsigned int cut)
{
	struct lms_env *env;
	char *state;
	bool ok;
	int fd;

	unlink(test_path("cut/lock.mdb"));
	fd = open(test_path("cut/data.mdb"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
	CHECK(write(fd, image->data, image->size) == (ssize_t)image->size);
	close(fd);
	if (!CHECK_OK(lms_env_open(test_path("cut"), &test_settings, &env, &test_error)))
		return;
	state = test_state(env, true);
	ok = strcmp(state, states[acknowledged]) == 0 ||
		(acknowledged < STEPS && strcmp(state, states[acknowledged + 1]) == 0);
	test_check(ok, __FILE__, __LINE__, "cut at %u: not the state after request %u or %u", cut, acknowledged,
		   acknowledged + 1);
	CHECK_STORE(env);
	CHECK(test_save_text(env, inbox, "next message") != 0);
	CHECK_STORE(env);
	free(state);
	lms_env_close(&env);
}

static void run_power(unsigned int seed, unsigned int images)
{
	struct fault_log log = { NULL, 0, 0, 0 };
	unsigned int i, acknowledged, positions[STEPS + 1];
	struct image image = { NULL, 0, 0 };
	char *states[STEPS + 1];
	struct lms_env *env;
	struct stat st;
	uint8_t *start;
	size_t size;

	random_state = seed;
	test_fill(data, sizeof(data), 5);
	env = test_open();
	inbox = test_folder(env, "INBOX");
	other = test_folder(env, "other");
	for (i = 0; i < 40; i++)
		step(env, i);
	lms_env_close(&env);
	start = read_file(test_path("store/data.mdb"), &size);
	env = test_open();
	states[0] = test_state(env, true);
	positions[0] = 0;
	CHECK(stat(test_path("store/data.mdb"), &st) == 0);
	log.ino = st.st_ino;
	fault_record(&log);
	for (i = 1; i <= STEPS; i++) {
		/* A collection of garbage takes several requests; the state is the same after each. */
		step(env, i);
		positions[i] = log.count;
		states[i] = test_state(env, true);
	}
	fault_record(NULL);
	lms_env_close(&env);
	mkdir(test_path("cut"), 0700);
	for (i = 0; i < images; i++) {
		unsigned int cut = rnd(log.count + 1);

		for (acknowledged = STEPS; positions[acknowledged] > cut; acknowledged--) ;
		make_image(&image, start, size, &log, cut);
		check_image(&image, states, acknowledged, cut);
	}
	CHECK(log.count > STEPS * 3);
	for (i = 0; i <= STEPS; i++)
		free(states[i]);
	free(image.data);
	free(start);
	fault_log_free(&log);
}

static void test_power(void)
{
	run_power(1, 400);
}

static void test_power_random(void)
{
	unsigned int seed = (unsigned int)getpid();

	printf("# seed %u\n", seed);
	run_power(seed, 400);
}

static const struct test tests[] = {
	{ "power", test_power },
	{ "power-random", test_power_random },
	TEST_END
};

int main(int argc, char *argv[])
{
	return test_main(argc, argv, tests);
}
