/* Plays prepared IMAP and LMTP dialogues on many connections at once, from one thread, and records how long each step took.
   The benchmark writes the dialogues beforehand, so that next to nothing is left for a client to do while time is taken.

   usage: load SCRIPT CORPUS RESULTS PORT...

   All numbers are those of this machine. SCRIPT: struct header, then its connections, steps and segments, and last the
   text that segments of source 0 point into; segments of source 1 point into CORPUS. RESULTS: one struct result for each
   step that has a label. On standard output: "barrier" each time when all connections have come to a barrier, and then a
   line on standard input lets them go on; at the end "done", and the microseconds of CPU time that this process used. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum kind {
	/* connect to PORT number argument, and wait for a line */
	STEP_CONNECT,
	/* send, and wait for a tagged OK */
	STEP_IMAP,
	/* send, and wait for this many replies of LMTP that aren't errors */
	STEP_LMTP,
	/* wait until the server closes the connection, and close it */
	STEP_END,
	/* wait until all connections are here */
	STEP_BARRIER
};

struct header {
	uint32_t connections, steps;
	uint64_t segments;
};

struct step {
	uint32_t kind, argument;
	uint64_t first_segment;
	uint32_t segments;
	/* 0: not recorded */
	uint32_t label;
	/* time is taken from the last step on that has this set */
	uint32_t starts;
	uint32_t unused;
};

struct script_connection {
	uint32_t first_step, steps;
};

struct segment {
	uint64_t offset;
	uint32_t length, source;
};

struct result {
	uint32_t connection, label;
	uint64_t start, end, received;
};

struct connection {
	int fd;
	const struct step *step, *end;
	uint64_t start, received, step_received;
	/* what is still to be sent of the step */
	const struct segment *segment;
	uint32_t segments_left, segment_sent;
	/* what has been received of the line: its beginning and its end */
	char head[256], tail[32];
	size_t head_length, tail_length;
	/* bytes of a literal still to come */
	uint64_t literal;
	uint32_t replies;
	bool writing;
};

static struct header header;
static const struct script_connection *script_connections;
static const struct step *steps;
static const struct segment *segments;
static const char *sources[2];
static char **ports;
static struct connection *connections;
static struct result *results;
static size_t result_count;
static uint32_t waiting, finished;
static int epoll_fd;

static void __attribute__((format(printf, 1, 2), noreturn)) die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static const char *map_file(const char *path, size_t *size_r)
{
	int fd = open(path, O_RDONLY);
	struct stat status;
	void *map;

	if (fd == -1 || fstat(fd, &status) == -1)
		die("%s: %s", path, strerror(errno));
	*size_r = (size_t)status.st_size;
	if (*size_r == 0)
		return "";
	map = mmap(NULL, *size_r, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		die("%s: %s", path, strerror(errno));
	close(fd);
	return map;
}

static void read_script(const char *script_path, const char *corpus_path)
{
	size_t size;
	const char *script = map_file(script_path, &size);

	sources[1] = map_file(corpus_path, &size);
	memcpy(&header, script, sizeof(header));
	script_connections = (const void *)(script + sizeof(header));
	steps = (const void *)(script_connections + header.connections);
	segments = (const void *)(steps + header.steps);
	sources[0] = (const char *)(segments + header.segments);
}

static void watch(struct connection *conn, bool writing, int operation)
{
	struct epoll_event event = { .events = EPOLLIN | (writing ? EPOLLOUT : 0), .data.ptr = conn };

	if (epoll_ctl(epoll_fd, operation, conn->fd, &event) == -1)
		die("epoll_ctl: %s", strerror(errno));
	conn->writing = writing;
}

static void connect_to(struct connection *conn, const char *port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
	int one = 1;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	conn->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (conn->fd == -1 || connect(conn->fd, (struct sockaddr *)&address, sizeof(address)) == -1)
		die("port %s: %s", port, strerror(errno));
	setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (fcntl(conn->fd, F_SETFL, O_NONBLOCK) == -1)
		die("fcntl: %s", strerror(errno));
	watch(conn, false, EPOLL_CTL_ADD);
}

static void disconnect(struct connection *conn)
{
	if (conn->fd != -1)
		close(conn->fd);
	conn->fd = -1;
}

static int gather(const struct connection *conn, struct iovec *pieces, int max)
{
	int count = 0;

	for (uint32_t i = 0; i < conn->segments_left && count < max; i++, count++) {
		uint32_t skip = i == 0 ? conn->segment_sent : 0;

		pieces[count].iov_base = (void *)(sources[conn->segment[i].source] + conn->segment[i].offset + skip);
		pieces[count].iov_len = conn->segment[i].length - skip;
	}
	return count;
}

static void skip_sent(struct connection *conn, size_t size)
{
	while (conn->segments_left > 0 && size >= conn->segment->length - conn->segment_sent) {
		size -= conn->segment->length - conn->segment_sent;
		conn->segment++;
		conn->segments_left--;
		conn->segment_sent = 0;
	}
	conn->segment_sent += (uint32_t)size;
}

/* Sends as much as the socket takes; the rest goes when it takes more. */
static void send_segments(struct connection *conn)
{
	struct iovec pieces[64];

	while (conn->segments_left > 0) {
		ssize_t size = writev(conn->fd, pieces, gather(conn, pieces, 64));

		if (size == -1 && errno == EAGAIN)
			break;
		if (size == -1)
			die("connection %zu: %s", (size_t)(conn - connections), strerror(errno));
		skip_sent(conn, (size_t)size);
	}
	if (conn->writing != (conn->segments_left > 0))
		watch(conn, conn->segments_left > 0, EPOLL_CTL_MOD);
}

/* Begins the step that the connection is at; a barrier or an end may stay unfinished. */
static void begin_step(struct connection *conn)
{
	if (conn->step == conn->end) {
		disconnect(conn);
		finished++;
		return;
	}
	if (conn->step->starts != 0) {
		conn->start = now();
		conn->step_received = conn->received;
	}
	conn->replies = 0;
	conn->segment = segments + conn->step->first_segment;
	conn->segments_left = conn->step->segments;
	conn->segment_sent = 0;
	if (conn->step->kind == STEP_CONNECT)
		connect_to(conn, ports[conn->step->argument]);
	else if (conn->step->kind == STEP_BARRIER)
		waiting++;
	else
		send_segments(conn);
}

static void finish_step(struct connection *conn)
{
	if (conn->step->label != 0) {
		results[result_count++] = (struct result){
			.connection = (uint32_t)(conn - connections), .label = conn->step->label,
			.start = conn->start, .end = now(), .received = conn->received - conn->step_received };
	}
	conn->step++;
	begin_step(conn);
}

static void __attribute__((noreturn)) refused(const struct connection *conn)
{
	const struct segment *sent = segments + conn->step->first_segment;
	int length = conn->step->segments == 0 ? 0 : sent->length < 200 ? (int)sent->length : 200;

	die("connection %zu: %.*s -> %.*s", (size_t)(conn - connections), length, sources[sent->source] + sent->offset,
	    (int)conn->head_length, conn->head);
}

/* Whether the line that has been received completes the step. */
static bool line_completes(struct connection *conn)
{
	const char *head = conn->head, *status;

	switch (conn->step->kind) {
	case STEP_CONNECT:
		return true;
	case STEP_IMAP:
		if (head[0] == '*' || head[0] == '+')
			return false;
		status = memchr(head, ' ', conn->head_length);
		if (status == NULL || memcmp(status, " OK ", 4) != 0)
			refused(conn);
		return true;
	case STEP_LMTP:
		if (head[0] != '2' && head[0] != '3')
			refused(conn);
		return head[3] != '-' && ++conn->replies == conn->step->argument;
	default:
		return false;
	}
}

static uint64_t literal_of(const struct connection *conn)
{
	char end[sizeof(conn->tail) + 1];
	char *open;

	memcpy(end, conn->tail, conn->tail_length);
	end[conn->tail_length] = '\0';
	if (conn->tail_length < 5 || strcmp(end + conn->tail_length - 3, "}\r\n") != 0)
		return 0;
	open = strrchr(end, '{');
	return open == NULL ? 0 : strtoull(open + 1, NULL, 10);
}

static void add_to_line(struct connection *conn, const char *data, size_t size)
{
	size_t room = sizeof(conn->head) - 1 - conn->head_length, keep;

	memcpy(conn->head + conn->head_length, data, size < room ? size : room);
	conn->head_length += size < room ? size : room;
	conn->head[conn->head_length] = '\0';
	if (size >= sizeof(conn->tail)) {
		memcpy(conn->tail, data + size - sizeof(conn->tail), sizeof(conn->tail));
		conn->tail_length = sizeof(conn->tail);
		return;
	}
	keep = sizeof(conn->tail) - size;
	if (keep > conn->tail_length)
		keep = conn->tail_length;
	memmove(conn->tail, conn->tail + conn->tail_length - keep, keep);
	memcpy(conn->tail + keep, data, size);
	conn->tail_length = keep + size;
}

static void end_line(struct connection *conn)
{
	bool completes;

	conn->literal = conn->step->kind == STEP_IMAP ? literal_of(conn) : 0;
	conn->tail_length = 0;
	if (conn->literal > 0)
		return;
	completes = line_completes(conn);
	conn->head_length = 0;
	if (completes)
		finish_step(conn);
}

static void parse(struct connection *conn, const char *data, size_t size)
{
	while (size > 0 && conn->fd != -1) {
		const char *newline;
		size_t take;

		if (conn->literal > 0) {
			take = conn->literal < size ? (size_t)conn->literal : size;
			conn->literal -= take;
		} else {
			newline = memchr(data, '\n', size);
			take = newline == NULL ? size : (size_t)(newline - data) + 1;
			add_to_line(conn, data, take);
			if (newline != NULL)
				end_line(conn);
		}
		data += take;
		size -= take;
	}
}

static void receive(struct connection *conn)
{
	static char buffer[256 * 1024];
	ssize_t size = recv(conn->fd, buffer, sizeof(buffer), 0);

	if (size > 0) {
		conn->received += (uint64_t)size;
		parse(conn, buffer, (size_t)size);
	} else if (size == 0 && conn->step->kind == STEP_END) {
		disconnect(conn);
		finish_step(conn);
	} else if (size == 0) {
		die("connection %zu: closed by the server", (size_t)(conn - connections));
	} else if (errno != EAGAIN && errno != EINTR) {
		die("connection %zu: %s", (size_t)(conn - connections), strerror(errno));
	}
}

static void pass_barrier(void)
{
	char line[16];

	waiting = 0;
	printf("barrier\n");
	fflush(stdout);
	if (fgets(line, sizeof(line), stdin) == NULL)
		die("nobody opens the barrier");
	for (uint32_t i = 0; i < header.connections; i++) {
		connections[i].step++;
		begin_step(&connections[i]);
	}
}

static void play(void)
{
	struct epoll_event events[128];

	for (uint32_t i = 0; i < header.connections; i++) {
		connections[i].fd = -1;
		connections[i].step = steps + script_connections[i].first_step;
		connections[i].end = connections[i].step + script_connections[i].steps;
		begin_step(&connections[i]);
	}
	while (finished < header.connections) {
		int count;

		if (waiting == header.connections) {
			pass_barrier();
			continue;
		}
		count = epoll_wait(epoll_fd, events, 128, 120000);
		if (count == 0)
			die("the server doesn't answer");
		for (int i = 0; i < count; i++) {
			struct connection *conn = events[i].data.ptr;

			if ((events[i].events & EPOLLOUT) != 0)
				send_segments(conn);
			if ((events[i].events & ~(uint32_t)EPOLLOUT) != 0)
				receive(conn);
		}
	}
}

static void write_results(const char *path)
{
	FILE *file = fopen(path, "w");

	if (file == NULL || fwrite(results, sizeof(*results), result_count, file) != result_count || fclose(file) != 0)
		die("%s: %s", path, strerror(errno));
}

int main(int argc, char **argv)
{
	struct rusage usage;

	if (argc < 5)
		die("usage: load SCRIPT CORPUS RESULTS PORT...");
	ports = argv + 4;
	read_script(argv[1], argv[2]);
	connections = calloc(header.connections, sizeof(*connections));
	results = calloc((size_t)header.steps + 1, sizeof(*results));
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (connections == NULL || results == NULL || epoll_fd == -1)
		die("%s", strerror(errno));
	play();
	write_results(argv[3]);
	getrusage(RUSAGE_SELF, &usage);
	printf("done %" PRIu64 "\n", (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
	       (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec));
	return 0;
}
