/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#define _GNU_SOURCE
#include "test-common.h"

#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

/* Attributes, subscriptions and notify files. */

static struct lms_env *env;

static int add_name(const char *name, void *context)
{
	char *text = context;

	if (strlen(text) + strlen(name) + 2 < 4096) {
		strcat(text, name);
		strcat(text, " ");
	}
	return strcmp(name, "stop") == 0 ? 5 : 0;
}

static int count_name(const char *name, void *context)
{
	(void)name;
	++*(unsigned int *)context;
	return 0;
}

static bool attributes_are(uint64_t folder_id, const char *user, const char *prefix, const char *expected)
{
	static char text[4096];

	text[0] = '\0';
	CHECK_OK(lms_attribute_scan(env, folder_id, user, prefix, add_name, text, &test_error));
	return CHECK_STR(text, expected);
}

static bool attribute_is(uint64_t folder_id, const char *user, const char *key, const char *expected)
{
	int64_t changed = 0;
	size_t size = 0;
	void *value;
	int ret = lms_attribute_get(env, folder_id, user, key, &value, &size, &changed, &test_error);
	bool ok;

	CHECK_OK(ret);
	if (ret == 0)
		return CHECK(expected == NULL && value == NULL);
	ok = CHECK(expected != NULL && size == strlen(expected) && memcmp(value, expected, size) == 0 &&
		   changed == 1234);
	free(value);
	return ok;
}

static void test_attributes(void)
{
	uint64_t a, b;
	int64_t changed;
	void *value;
	size_t size;

	env = test_open();
	a = test_folder(env, "a");
	b = test_folder(env, "b");
	CHECK_OK(test_attribute(env, a, NULL, "x/y", "shared"));
	CHECK_OK(test_attribute(env, a, "user", "x/y", "private"));
	CHECK_OK(test_attribute(env, a, "user2", "x/y", "private 2"));
	CHECK_OK(test_attribute(env, b, NULL, "x/y", "of b"));
	CHECK_OK(test_attribute(env, 0, NULL, "x/y", "of the store"));
	CHECK_OK(test_attribute(env, a, NULL, "x/z", ""));
	CHECK_OK(test_attribute(env, a, NULL, "x", "1"));
	CHECK_OK(test_attribute(env, a, NULL, "w", "2"));
	attribute_is(a, NULL, "x/y", "shared");
	attribute_is(a, "user", "x/y", "private");
	attribute_is(a, "user2", "x/y", "private 2");
	attribute_is(b, NULL, "x/y", "of b");
	attribute_is(0, NULL, "x/y", "of the store");
	attribute_is(a, NULL, "x/z", "");
	attribute_is(a, NULL, "x/", NULL);
	attribute_is(a, "user3", "x/y", NULL);
	attribute_is(99, NULL, "x/y", NULL);
	attributes_are(a, NULL, "", "w x x/y x/z ");
	attributes_are(a, NULL, "x/", "x/y x/z ");
	attributes_are(a, NULL, "x/y", "x/y ");
	attributes_are(a, NULL, "xx", "");
	attributes_are(a, "user", "", "x/y ");
	attributes_are(0, NULL, "", "x/y ");
	/* Replace, unset, unset again */
	CHECK_OK(test_attribute(env, a, NULL, "x/y", "a longer value than before"));
	attribute_is(a, NULL, "x/y", "a longer value than before");
	CHECK_OK(test_attribute(env, a, NULL, "x/y", NULL));
	CHECK_OK(test_attribute(env, a, NULL, "x/y", NULL));
	attributes_are(a, NULL, "", "w x x/z ");
	CHECK_FAILS(test_attribute(env, 99, NULL, "x", "y"), LMS_NOTFOUND);
	CHECK_FAILS(test_attribute(env, a, NULL, "", "y"), LMS_INVALID);
	/* The walk can be ended. */
	CHECK_OK(test_attribute(env, b, NULL, "stop", ""));
	CHECK_OK(test_attribute(env, b, NULL, "stopped", ""));
	value = calloc(1, 100);
	CHECK(lms_attribute_scan(env, b, NULL, "", add_name, value, &test_error) == 5);
	CHECK_STR(value, "stop ");
	free(value);
	CHECK(lms_attribute_get(env, b, NULL, "nothing", &value, &size, &changed, &test_error) == 0);
	CHECK_STORE(env);
	lms_env_close(&env);
}

/* Values and keys at the limits; all or nothing; the time of a change is part of the value. */
static void test_attribute_limits(void)
{
	static char key[5000], prefix[5000], big[(1 << 20) + 2];
	struct lms_attribute_change changes[2];
	struct lms_request request;
	unsigned int i, count = 0;
	int64_t changed;
	void *value;
	size_t size;

	env = test_open();
	memset(&request, 0, sizeof(request));
	memset(changes, 0, sizeof(changes));
	request.op = LMS_OP_ATTRIBUTES;
	request.u.attributes.changes = changes;
	request.u.attributes.count = 2;
	memset(big, 'v', sizeof(big) - 1);
	changes[0].key = "big";
	changes[0].value = big;
	changes[0].size = 1 << 20;
	changes[1].key = "too big";
	changes[1].value = big;
	changes[1].size = (1 << 20) + 1;
	CHECK_FAILS(test_submit(env, &request), LMS_INVALID);
	attributes_are(0, NULL, "", "");
	changes[1].size = 1;
	CHECK_OK(test_submit(env, &request));
	CHECK(lms_attribute_get(env, 0, NULL, "big", &value, &size, &changed, &test_error) == 1);
	CHECK(size == 1 << 20 && memcmp(value, big, size) == 0 && changed == 0);
	free(value);
	changes[1].changed = 77;
	CHECK_OK(test_submit(env, &request));
	CHECK(lms_attribute_get(env, 0, NULL, "too big", &value, &size, &changed, &test_error) == 1);
	CHECK(size == 1 && changed == 77);
	free(value);
	/* Keys that don't fit in a database key: found, and sorted among the others */
	memset(key, 'k', sizeof(key));
	for (i = 0; i < 20; i++) {
		snprintf(key + 600, 100, "%02u", (i * 7) % 20);
		CHECK_OK(test_attribute(env, 0, "user", key, "value"));
		key[400] = (char)('a' + i);
		key[401] = '\0';
		CHECK_OK(test_attribute(env, 0, "user", key, "value"));
		key[400] = key[401] = 'k';
	}
	for (i = 0; i < 20; i++) {
		snprintf(key + 600, 100, "%02u", i);
		attribute_is(0, "user", key, "value");
	}
	strcpy(key + 600, "20");
	attribute_is(0, "user", key, NULL);
	memset(prefix, 'k', 601);
	strcpy(prefix + 600, "1");
	CHECK_OK(lms_attribute_scan(env, 0, "user", prefix, count_name, &count, &test_error));
	CHECK_U64(count, 10);
	memset(key, 'k', 4097);
	key[4097] = '\0';
	CHECK_FAILS(test_attribute(env, 0, "user", key, "value"), LMS_INVALID);
	CHECK_FAILS(test_attribute(env, 0, key, "key", "value"), LMS_INVALID);
	key[4096] = '\0';
	CHECK_OK(test_attribute(env, 0, key, key, "value"));
	attribute_is(0, key, key, "value");
	CHECK_STORE(env);
	lms_env_close(&env);
}

struct order {
	char last[5000];
	unsigned int count;
};

static int check_order(const char *key, void *context)
{
	struct order *order = context;

	CHECK(strcmp(order->last, key) < 0);
	strcpy(order->last, key);
	order->count++;
	return 0;
}

static void test_attribute_order(void)
{
	struct order order = { "", 0 };
	char key[1000];
	unsigned int i;

	env = test_open();
	memset(key, 'k', sizeof(key));
	for (i = 0; i < 200; i++) {
		unsigned int length = 440 + (i * 37) % 100;

		snprintf(key + length, 20, "%03u", (i * 71) % 200);
		CHECK_OK(test_attribute(env, 0, NULL, key, "value"));
		memset(key, 'k', sizeof(key));
	}
	CHECK_OK(lms_attribute_scan(env, 0, NULL, "", check_order, &order, &test_error));
	CHECK_U64(order.count, 200);
	lms_env_close(&env);
}

static bool subscriptions_are(const char *expected)
{
	static char text[4096];

	text[0] = '\0';
	CHECK_OK(lms_subscription_scan(env, add_name, text, &test_error));
	return CHECK_STR(text, expected);
}

static void test_subscriptions(void)
{
	static char name[70000];
	uint64_t change, before;

	env = test_open();
	subscriptions_are("");
	CHECK_OK(lms_subscription_change(env, &before, &test_error));
	CHECK_OK(test_subscribe(env, "b/c", true));
	CHECK_OK(test_subscribe(env, "a", true));
	CHECK_OK(test_subscribe(env, "b", true));
	subscriptions_are("a b b/c ");
	CHECK_OK(lms_subscription_change(env, &change, &test_error));
	CHECK_U64(change, before + 3);
	/* No change, no commit */
	CHECK_OK(test_subscribe(env, "b", true));
	CHECK_OK(test_subscribe(env, "c", false));
	CHECK_OK(lms_subscription_change(env, &change, &test_error));
	CHECK_U64(change, before + 3);
	CHECK_OK(test_subscribe(env, "b", false));
	subscriptions_are("a b/c ");
	/* The folder doesn't matter. */
	CHECK_OK(test_delete(env, test_folder(env, "a")));
	subscriptions_are("a b/c ");
	CHECK_OK(test_subscribe(env, "stop", true));
	CHECK_OK(test_subscribe(env, "zzz", true));
	CHECK(lms_subscription_scan(env, add_name, name, &test_error) == 5);
	CHECK_STR(name, "a b/c stop ");
	CHECK_OK(test_subscribe(env, "stop", false));
	memset(name, 'n', sizeof(name));
	name[600] = '\0';
	CHECK_OK(test_subscribe(env, name, true));
	name[599] = 'x';
	CHECK_OK(test_subscribe(env, name, false));
	name[599] = 'n';
	CHECK_OK(test_subscribe(env, name, false));
	subscriptions_are("a b/c zzz ");
	name[600] = 'n';
	name[65000] = '\0';
	CHECK_OK(test_subscribe(env, name, true));
	CHECK_OK(test_subscribe(env, name, false));
	name[65000] = 'n';
	name[65001] = '\0';
	CHECK_FAILS(test_subscribe(env, name, true), LMS_INVALID);
	CHECK_FAILS(test_subscribe(env, "", true), LMS_INVALID);
	env = test_reopen(env);
	subscriptions_are("a b/c zzz ");
	CHECK_STORE(env);
	lms_env_close(&env);
}

static bool was_touched(int fd)
{
	struct pollfd pollfd = { fd, POLLIN, 0 };
	char buffer[4096];
	bool touched = false;

	while (poll(&pollfd, 1, 0) > 0 && read(fd, buffer, sizeof(buffer)) > 0)
		touched = true;
	return touched;
}

static int watch(uint64_t folder_id)
{
	int fd = inotify_init1(IN_CLOEXEC);
	char *path;

	CHECK_OK(lms_notify_path(env, folder_id, &path, &test_error));
	CHECK(fd >= 0 && inotify_add_watch(fd, path, IN_MODIFY | IN_DELETE_SELF) >= 0);
	free(path);
	return fd;
}

static void test_notify(void)
{
	uint64_t a, b;
	int a_fd, b_fd, store_fd;
	char *path, *again;
	struct stat st;

	env = test_open();
	a = test_folder(env, "a");
	b = test_folder(env, "b");
	CHECK_OK(lms_notify_path(env, a, &path, &test_error));
	CHECK_OK(lms_notify_path(env, a, &again, &test_error));
	CHECK_STR(path, again);
	CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
	free(again);
	a_fd = watch(a);
	b_fd = watch(b);
	store_fd = watch(0);
	CHECK(test_save_text(env, a, "x") == 1);
	CHECK(was_touched(a_fd) && !was_touched(b_fd) && was_touched(store_fd));
	CHECK_OK(test_copy(env, a, 1, 1, b, false));
	CHECK(!was_touched(a_fd) && was_touched(b_fd) && was_touched(store_fd));
	CHECK_OK(test_copy(env, a, 1, 1, b, true));
	CHECK(was_touched(a_fd) && was_touched(b_fd) && was_touched(store_fd));
	CHECK_OK(test_flags(env, b, 1, 1, LMS_SEEN, 0));
	CHECK(!was_touched(a_fd) && was_touched(b_fd));
	(void)was_touched(store_fd);
	/* Nothing changed, or nothing that others see */
	CHECK_OK(test_flags(env, b, 1, 1, LMS_SEEN, 0));
	CHECK_OK(test_attribute(env, b, NULL, "key", "value"));
	CHECK(!was_touched(b_fd) && !was_touched(store_fd));
	CHECK_OK(test_subscribe(env, "a", true));
	CHECK(!was_touched(a_fd) && was_touched(store_fd));
	CHECK_OK(test_rename(env, "a", "c", false));
	CHECK(was_touched(store_fd));
	CHECK_OK(test_create(env, "new"));
	CHECK(was_touched(store_fd));
	lms_notify_touch(env, a);
	CHECK(was_touched(a_fd) && !was_touched(b_fd) && was_touched(store_fd));
	CHECK_OK(test_delete(env, a));
	CHECK(was_touched(a_fd) && was_touched(store_fd));
	CHECK(stat(path, &st) < 0);
	free(path);
	close(a_fd);
	close(b_fd);
	close(store_fd);
	lms_env_close(&env);
}

static const struct test tests[] = {
	{ "attributes", test_attributes },
	{ "attribute-limits", test_attribute_limits },
	{ "attribute-order", test_attribute_order },
	{ "subscriptions", test_subscriptions },
	{ "notify", test_notify },
	TEST_END
};

int main(int argc, char *argv[])
{
	return test_main(argc, argv, tests);
}
