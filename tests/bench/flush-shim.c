/* Counts what a server does to the disk and how much processor time it takes, and makes its flushes slow. Loaded with
   LD_PRELOAD. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* The file named by FLUSH_COUNTERS, shared by all processes of a server. Without it only FLUSH_DELAY_US counts. */
struct counters {
	/* microseconds added to each flush; may be changed while the server runs */
	_Atomic uint64_t delay;
	/* fsync, fdatasync, msync, and writes to a descriptor opened with O_DSYNC or O_SYNC */
	_Atomic uint64_t flushes;
	/* bytes given to write calls on files; what is written through a map isn't seen */
	_Atomic uint64_t written;
	/* nanoseconds of processor time of processes that have ended */
	_Atomic uint64_t processor;
};

enum { FD_FILE = 1, FD_SYNC = 2, FD_LIMIT = 4096 };

static struct counters own;
static struct counters *counters = &own;
static unsigned char descriptors[FD_LIMIT];

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

__attribute__((constructor)) static void shim_init(void)
{
	const char *delay = getenv("FLUSH_DELAY_US"), *path = getenv("FLUSH_COUNTERS");
	void *map;
	int fd;

	if (delay != NULL)
		own.delay = strtoull(delay, NULL, 10);
	/* the log isn't mail */
	if (path == NULL || strcmp(program_invocation_short_name, "log") == 0)
		return;
	fd = REAL(open)(path, O_RDWR | O_CLOEXEC);
	if (fd == -1)
		return;
	map = mmap(NULL, sizeof(*counters), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map != MAP_FAILED)
		counters = map;
	REAL(close)(fd);
}

__attribute__((destructor)) static void shim_deinit(void)
{
	struct timespec time;

	if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time) == 0)
		counters->processor += (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void flushed(void)
{
	uint64_t delay = counters->delay;
	struct timespec time = { (time_t)(delay / 1000000), (long)(delay % 1000000 * 1000) };
	int old_errno = errno;

	counters->flushes++;
	while (delay != 0 && nanosleep(&time, &time) == -1 && errno == EINTR)
		;
	errno = old_errno;
}

static void wrote(int fd, ssize_t size)
{
	if (fd < 0 || fd >= FD_LIMIT || size <= 0 || descriptors[fd] == 0)
		return;
	counters->written += (uint64_t)size;
	if ((descriptors[fd] & FD_SYNC) != 0)
		flushed();
}

static int opened(int fd, int flags)
{
	if (fd >= 0 && fd < FD_LIMIT) {
		descriptors[fd] = (flags & O_ACCMODE) == O_RDONLY ? 0 :
			FD_FILE | ((flags & O_DSYNC) != 0 ? FD_SYNC : 0);
	}
	return fd;
}

static mode_t mode_of(int flags, va_list args)
{
	return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(args, mode_t) : 0;
}

#define OPEN(name) \
	int name(const char *path, int flags, ...) \
	{ \
		va_list args; \
		va_start(args, flags); \
		mode_t mode = mode_of(flags, args); \
		va_end(args); \
		return opened(REAL(name)(path, flags, mode), flags); \
	}
#define OPENAT(name) \
	int name(int dir, const char *path, int flags, ...) \
	{ \
		va_list args; \
		va_start(args, flags); \
		mode_t mode = mode_of(flags, args); \
		va_end(args); \
		return opened(REAL(name)(dir, path, flags, mode), flags); \
	}
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

/* what the C library's checks (_FORTIFY_SOURCE) make of an open without a mode */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);

int __open_2(const char *path, int flags)
{
	return open(path, flags);
}

int __open64_2(const char *path, int flags)
{
	return open64(path, flags);
}

int close(int fd)
{
	if (fd >= 0 && fd < FD_LIMIT)
		descriptors[fd] = 0;
	return REAL(close)(fd);
}

#define WRITE(name, params, args) \
	ssize_t name params \
	{ \
		ssize_t size = REAL(name) args; \
		wrote(fd, size); \
		return size; \
	}
WRITE(write, (int fd, const void *data, size_t length), (fd, data, length))
WRITE(pwrite, (int fd, const void *data, size_t length, off_t offset), (fd, data, length, offset))
WRITE(pwrite64, (int fd, const void *data, size_t length, off64_t offset), (fd, data, length, offset))
WRITE(writev, (int fd, const struct iovec *data, int count), (fd, data, count))
WRITE(pwritev, (int fd, const struct iovec *data, int count, off_t offset), (fd, data, count, offset))
WRITE(pwritev64, (int fd, const struct iovec *data, int count, off64_t offset), (fd, data, count, offset))

#define FLUSH(name, params, args) \
	int name params \
	{ \
		int result = REAL(name) args; \
		flushed(); \
		return result; \
	}
FLUSH(fsync, (int fd), (fd))
FLUSH(fdatasync, (int fd), (fd))
FLUSH(msync, (void *address, size_t length, int flags), (address, length, flags))
FLUSH(sync_file_range, (int fd, off64_t offset, off64_t length, unsigned int flags), (fd, offset, length, flags))
