/* Copyright (c) 2026 dovecot-lmdb authors, see the included COPYING file */

#define _GNU_SOURCE
#include "lms-map.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define MB ((uint64_t)1 << 20)
#define MAP_UNLIMITED ((uint64_t)64 << 30)
#define HEADROOM_MIN (16 * MB)
/* Rounding of sizes */
#define MAP_UNIT ((uint64_t)1 << 16)

static uint64_t round_up(uint64_t size, uint64_t unit)
{
	return (size + unit - 1) / unit * unit;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

uint64_t lms_map_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_AS, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
		return 0;
	return limit.rlim_cur;
}

/* Address space that this process uses now */
static uint64_t address_space(void)
{
	char buf[64];
	ssize_t size;
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	size = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	if (size <= 0)
		return 0;
	buf[size] = '\0';
	return strtoull(buf, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* mdb_env_set_mapsize() gives the old map up before it asks for the new one, so ask first. */
static bool can_map(uint64_t size)
{
	void *probe;

	if (size == 0)
		return true;
	probe = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (probe == MAP_FAILED)
		return false;
	munmap(probe, size);
	return true;
}

int lms_map_fail(const struct lms_env *env, uint64_t file_bytes, struct lms_error *error_r)
{
	uint64_t needed = round_up(2 * file_bytes + 256 * MB, 256 * MB), limit = lms_map_limit();
	char size[32];

	if (limit == 0)
		return lms_fail_mdb(error_r, env, ENOMEM, "map");

	if (needed % (1024 * MB) == 0)
		snprintf(size, sizeof(size), "%lluG", (unsigned long long)(needed / (1024 * MB)));
	else
		snprintf(size, sizeof(size), "%lluM", (unsigned long long)(needed / MB));
	return lms_fail(error_r, LMS_MEMORY, "%s/" LMS_FILE_DATA " has %llu MB, but the address space is limited to "
			"%llu MB: set vsz_limit of this service (default_vsz_limit) to at least %s", env->dir,
			(unsigned long long)(round_up(file_bytes, MB) / MB), (unsigned long long)(limit / MB), size);
}

static int choose_limited(const struct lms_env *env, uint64_t file_bytes, size_t mapped, unsigned int try,
			  uint64_t limit, size_t *size_r, struct lms_error *error_r)
{
	uint64_t used = address_space(), headroom = max_u64(HEADROOM_MIN, file_bytes / 4) << try, left;

	if (limit + mapped < used + file_bytes + 4 * headroom) {
		lms_env_make_room();
		used = address_space();
	}
	left = limit + mapped > used ? limit + mapped - used : 0;
	if (left <= file_bytes)
		return lms_map_fail(env, file_bytes, error_r);
	/* The rest of the process needs memory too, and so does a transaction's list of changed pages. */
	left = (left - file_bytes) / 2;
	if (headroom > left)
		headroom = left;
	for (;; headroom /= 2) {
		uint64_t size = round_up(file_bytes + headroom, MAP_UNIT);

		if (size <= mapped || can_map(size - mapped)) {
			*size_r = size;
			return 0;
		}
		if (headroom < MAP_UNIT)
			return lms_map_fail(env, file_bytes, error_r);
	}
}

int lms_map_choose(const struct lms_env *env, uint64_t file_bytes, size_t mapped, unsigned int try, size_t *size_r,
		   struct lms_error *error_r)
{
	uint64_t limit = lms_map_limit(), size;

	if (limit == 0) {
		size = max_u64(max_u64(MAP_UNLIMITED, 4 * file_bytes), 2 * (uint64_t)mapped);
		if (can_map(size - mapped)) {
			*size_r = size;
			return 0;
		}
		/* Something else limits it. */
		limit = MAP_UNLIMITED;
	}
	return choose_limited(env, file_bytes, mapped, try, limit, size_r, error_r);
}

uint64_t lms_map_file_bytes(struct lms_env *env)
{
	struct stat st;
	int fd;

	if (mdb_env_get_fd(env->mdb, &fd) != 0 || fstat(fd, &st) < 0)
		return 0;
	return (uint64_t)st.st_size;
}

int lms_map_grow(struct lms_env *env, unsigned int try, struct lms_error *error_r)
{
	uint64_t bytes = max_u64(lms_map_file_bytes(env), lms_map_file_used(env));
	size_t size, mapped = (size_t)lms_map_bytes(env);
	int rc;

	if (lms_map_choose(env, bytes, mapped, try, &size, error_r) < 0)
		return -1;
	if (size <= mapped && mapped > bytes)
		return lms_map_fail(env, bytes, error_r);
	rc = mdb_env_set_mapsize(env->mdb, size);
	if (rc != 0) {
		/* The old map is gone, and LMDB doesn't know. */
		lms_fail_mdb(error_r, env, rc, "growing the map");
		lms_fail_mdb(&env->poison, env, rc, "growing the map");
		return -1;
	}
	return 0;
}

uint64_t lms_map_bytes(struct lms_env *env)
{
	MDB_envinfo info;

	return mdb_env_info(env->mdb, &info) == 0 ? info.me_mapsize : 0;
}

uint64_t lms_map_page_size(struct lms_env *env)
{
	MDB_stat stat;

	return mdb_env_stat(env->mdb, &stat) == 0 ? stat.ms_psize : 0;
}

uint64_t lms_map_file_used(struct lms_env *env)
{
	MDB_envinfo info;

	return mdb_env_info(env->mdb, &info) == 0 ? (info.me_last_pgno + 1) * lms_map_page_size(env) : 0;
}

bool lms_map_disk_full(struct lms_env *env, int *err_r)
{
	static const char zeros[1 << 16];
	struct stat st;
	ssize_t size;
	int fd, err = 0;

	if (mdb_env_get_fd(env->mdb, &fd) != 0 || fstat(fd, &st) < 0)
		return false;
	size = pwrite(fd, zeros, sizeof(zeros), st.st_size);
	if (size < 0)
		err = errno;
	else if ((size_t)size < sizeof(zeros))
		err = ENOSPC;
	if (size > 0 && ftruncate(fd, st.st_size) < 0)
		return false;
	if (err != ENOSPC && err != EDQUOT && err != EFBIG)
		return false;
	*err_r = err;
	return true;
}

void lms_map_warn(struct lms_env *env, uint64_t bytes_before, uint64_t limit_before, uint64_t bytes, uint64_t limit,
		  char *warning, size_t warning_size)
{
	if (limit == 0 || bytes < limit / 4 * 3 || (limit_before != 0 && bytes_before >= limit_before / 4 * 3))
		return;
	snprintf(warning, warning_size, "%s/" LMS_FILE_DATA " has %llu MB, and a process with an address space of only "
		 "%llu MB uses it: raise vsz_limit of the service (default_vsz_limit) before the file outgrows it",
		 env->dir, (unsigned long long)(bytes / MB), (unsigned long long)(limit / MB));
}
