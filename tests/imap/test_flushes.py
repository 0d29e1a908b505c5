"""How often each operation waits for the disk: counted, not timed, because that holds on every disk."""

import contextlib
import os
import re
import signal
import subprocess

from harness import Literal, Server, ServerTest, message, only
from harness.imap import Imap
from harness.lmtp import Lmtp
from harness.server import find_program, wait_for

O_DSYNC = 0o10000
CALL = re.compile(r'(?:\d+ +)?(\w+)\((.*)')


class Count:
    """System calls of a process, and those among them that wait for the disk."""

    def __init__(self):
        self.flushes = self.calls = 0

    def read(self, path, synchronous):
        """synchronous: descriptors that were opened with O_DSYNC."""
        with open(path, errors='replace') as file:
            for line in file:
                match = CALL.match(line)
                if match:
                    self._count(match.group(1), match.group(2), synchronous)

    def _count(self, name, arguments, synchronous):
        self.calls += 1
        descriptor = re.match(r'(\d+)', arguments)
        descriptor = int(descriptor.group(1)) if descriptor else None
        if name in ('fsync', 'fdatasync', 'msync', 'sync_file_range'):
            self.flushes += 1
        elif name in ('write', 'pwrite64', 'writev', 'pwritev') and descriptor in synchronous:
            self.flushes += 1
        elif name == 'close':
            synchronous.discard(descriptor)
        elif name == 'openat' and 'O_DSYNC' in arguments:
            synchronous.add(int(arguments.rpartition('=')[2].split()[0]))


def synchronous_descriptors(pid):
    found = set()
    for name in os.listdir('/proc/%d/fd' % pid):
        with contextlib.suppress(OSError):
            with open('/proc/%d/fdinfo/%s' % (pid, name)) as file:
                flags = int(re.search(r'flags:\s*(\d+)', file.read()).group(1), 8)
            if flags & O_DSYNC:
                found.add(int(name))
    return found


@contextlib.contextmanager
def traced(server, pid, *options):
    """Trace a process in the block; gives the path of strace's output, complete when the block has ended."""
    output = os.path.join(server.dir, 'strace')
    tracer = subprocess.Popen([find_program('strace'), '-qq', '-f', '-p', str(pid), '-o', output, *options],
                              stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        wait_for(lambda: tracer.poll() is not None or is_traced(pid), 'strace')
        yield output
    finally:
        with contextlib.suppress(ProcessLookupError):
            tracer.send_signal(signal.SIGINT)
        problem = tracer.communicate()[1]
    if not os.path.exists(output):
        raise AssertionError('strace: %r' % problem)


@contextlib.contextmanager
def counted(server, pid):
    """Count what a process does in the block."""
    count = Count()
    synchronous = synchronous_descriptors(pid)
    with traced(server, pid) as output:
        yield count
    count.read(output, synchronous)
    os.unlink(output)


def is_traced(pid):
    with contextlib.suppress(OSError):
        with open('/proc/%d/status' % pid) as file:
            return 'TracerPid:\t0\n' not in file.read()
    return False


class Work:
    """One user's session, and the operations on it."""

    def __init__(self, server, user):
        self.server = server
        self.user = user
        self.lmtp = Lmtp(server.lmtp_port)
        self.lmtp.ok(user, message())
        self.imap = Imap(server.imap_port, user)
        self.imap.create('There')
        self.imap.append_many('INBOX', [message('m%d' % number, 'x' * 5000 + '\r\n') for number in range(4000)])
        self.imap.select()

    def close(self):
        self.imap.close()
        self.lmtp.close()

    def count(self, connection, operation):
        with counted(self.server, self.server.pid_of(connection)) as count:
            operation()
        return count

    def expunge(self, messages):
        self.imap.store(messages, r'+FLAGS.SILENT (\Deleted)', uid=False)
        return self.count(self.imap, lambda: self.imap.ok('EXPUNGE'))

    def single_stores(self, messages):
        for number in range(1, messages + 1):
            self.imap.store(str(number), r'+FLAGS (\Seen key)', uid=False)

    def rows(self):
        """(what, count) of each operation."""
        imap, data = self.imap, message('new', 'x' * 5000 + '\r\n')
        yield 'LMTP, 1 message', self.count(self.lmtp, lambda: self.lmtp.ok(self.user, data))
        for what, operation in (
                ('APPEND', lambda: imap.append('There', data)),
                ('MULTIAPPEND of 50', lambda: imap.append_many('There', [data] * 50)),
                ('COPY of 1', lambda: imap.ok('COPY 1 There')),
                ('COPY of 1,000', lambda: imap.ok('COPY 1:1000 There')),
                ('MOVE of 1', lambda: imap.ok('MOVE 1 There')),
                ('MOVE of 1,000', lambda: imap.ok('MOVE 1:1000 There')),
                ('MOVE of 2,000', lambda: imap.ok('MOVE 1:2000 There')),
                ('STORE of one flag', lambda: imap.store('1', r'+FLAGS (\Flagged)', uid=False)),
                ('100 STOREs', lambda: self.single_stores(100)),
                ('STORE of 1,000', lambda: imap.store('1:*', r'+FLAGS.SILENT (\Answered)', uid=False)),
                ('CREATE', lambda: imap.ok('CREATE Other')),
                ('RENAME', lambda: imap.ok('RENAME Other Another')),
                ('SUBSCRIBE', lambda: imap.ok('SUBSCRIBE Another')),
                ('DELETE of an empty folder', lambda: imap.ok('DELETE Another')),
                ('first SELECT, FETCH of 200', lambda: (imap.select('There'),
                                                        imap.ok('FETCH 1:200 (FLAGS BODY.PEEK[HEADER])')))):
            yield what, self.count(self.imap, operation)
        yield 'EXPUNGE of 1', self.expunge('1')
        yield 'EXPUNGE of 2,000', self.expunge('1:2000')


# The most that an operation may wait for the disk, with mail_fsync=optimized.
MOST = {
    'LMTP, 1 message': 2, 'APPEND': 2, 'MULTIAPPEND of 50': 2, 'STORE of one flag': 0, '100 STOREs': 0,
    'STORE of 1,000': 0, 'COPY of 1': 2, 'COPY of 1,000': 2, 'MOVE of 1': 2, 'MOVE of 1,000': 2, 'MOVE of 2,000': 4,
    'CREATE': 2, 'RENAME': 2, 'SUBSCRIBE': 2, 'DELETE of an empty folder': 2,
    # Flags that waited in the folder that is left, and MODSEQs reserved in the one that is entered
    'first SELECT, FETCH of 200': 4,
    'EXPUNGE of 1': 2, 'EXPUNGE of 2,000': 2,
}


@only('lmdb')
class Flushes(ServerTest):
    @classmethod
    def new_server(cls):
        options = cls.options
        if options.fsync == 'optimized':
            return super().new_server()
        return Server(options, config='mail_fsync = optimized\n')

    def test_operations(self):
        work = Work(self.server, self.user)
        try:
            found = {what: count.flushes for what, count in work.rows()}
        finally:
            work.close()
        self.assertEqual(set(found), set(MOST))
        for what, flushes in found.items():
            self.assertLessEqual(flushes, MOST[what], what)
        # The counter does count.
        self.assertEqual(found['APPEND'], 2)

    def test_flags_are_flushed_once(self):
        """What waited in the journal goes to the store with one commit when the mailbox is closed."""
        imap = self.imap()
        imap.append_many('INBOX', [message()] * 100)
        imap.select()
        pid = self.server.pid_of(imap)
        with counted(self.server, pid) as count:
            for number in range(1, 101):
                imap.ok(r'STORE %d +FLAGS (\Seen)' % number)
            imap.logout()
            wait_for(lambda: pid not in self.server.pids('imap'), 'the session to end')
        self.assertEqual(count.flushes, 2)

    def test_a_delivery_touches_no_index(self):
        self.deliver(message())
        imap = self.imap()
        imap.select()
        imap.logout()
        self.server.wait_until_idle()
        index = os.path.join(self.home(), 'mail', 'index')
        before = snapshot(index)
        self.assertTrue(before)
        self.deliver(message())
        imap = self.imap()
        imap.ok('APPEND INBOX (key) ', Literal(message()))
        self.assertEqual(snapshot(index), before)

    def index_calls(self, connection, operation):
        """System calls of its process that name a file of an index, or use an open one."""
        with traced(self.server, self.server.pid_of(connection), '-y', '-e', 'trace=%file,%desc') as output:
            operation()
        with open(output, errors='replace') as file:
            lines = file.readlines()
        os.unlink(output)
        # It does see the store.
        self.assertTrue([line for line in lines if 'data.mdb' in line])
        return [line for line in lines if 'dovecot.index' in line or 'dovecot.list.index' in line]

    def test_a_delivery_looks_at_no_index(self):
        self.deliver(message())
        imap = self.imap()
        imap.create('There')
        imap.select('There')
        imap.append('There', message())
        lmtp = self.lmtp()
        self.assertEqual(self.index_calls(lmtp, lambda: lmtp.ok(self.user, message())), [])
        other = self.imap()
        self.assertEqual(self.index_calls(other, lambda: other.ok('APPEND INBOX (\\Seen key) ', Literal(message()))), [])
        self.assertEqual(self.index_calls(
            other, lambda: other.ok('APPEND There (new) ', Literal(message()), ' ', Literal(message()))), [])
        # A session that has the mailbox selected does use its index.
        self.assertTrue(self.index_calls(imap, lambda: imap.append('There', message())))
        self.assertEqual(len(imap.uids()), 4)


class OtherFsync(ServerTest):
    """The other values of mail_fsync."""
    formats = ('lmdb',)

    @classmethod
    def new_server(cls):
        return Server(cls.options, config=cls.config)

    def check_flushes(self, most):
        """Each operation waits for the disk so often, between the command and its answer."""
        imap, lmtp = self.imap(), self.lmtp()
        lmtp.ok(self.user, message())
        imap.append_many('INBOX', [message()] * 4)
        imap.create('There')
        imap.select()
        for what, connection, operation in (
                ('LMTP', lmtp, lambda: lmtp.ok(self.user, message())),
                ('APPEND', imap, lambda: imap.append('There', message())),
                ('COPY', imap, lambda: imap.ok('COPY 1 There')),
                ('MOVE', imap, lambda: imap.ok('MOVE 1 There')),
                ('STORE', imap, lambda: imap.store('3', r'+FLAGS (\Flagged key)')),
                ('EXPUNGE', imap, lambda: (imap.store('2', r'+FLAGS.SILENT (\Deleted)'), imap.ok('EXPUNGE'))),
                ('CREATE', imap, lambda: imap.ok('CREATE Other')),
                ('SUBSCRIBE', imap, lambda: imap.ok('SUBSCRIBE Other'))):
            with counted(self.server, self.server.pid_of(connection)) as count:
                operation()
            self.assertGreater(count.calls, 0)
            self.assertEqual(count.flushes, most.get(what, most['other']), what)
        return imap


class Always(OtherFsync):
    config = 'mail_fsync = always\n'

    def test_flags_wait_for_nothing(self):
        imap = self.check_flushes({'other': 2, 'EXPUNGE': 4})
        # So they are in the store before the answer.
        os.kill(self.server.pid_of(imap), signal.SIGKILL)
        self.allow_log('child [0-9]+ killed with signal 9')
        self.close_connections()
        self.remove_indexes()
        imap = self.imap()
        imap.select()
        self.assertEqual(imap.flags()[3], {'\\Flagged', 'key'})


class Never(OtherFsync):
    config = 'mail_fsync = never\n'

    def test_nothing_is_flushed(self):
        self.check_flushes({'other': 0})


def snapshot(directory):
    """Path -> what changes with every write to it."""
    found = {}
    for path, _, names in os.walk(directory):
        for name in names:
            status = os.stat(os.path.join(path, name))
            found[os.path.join(path, name)] = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    return found


def print_table(options):
    """A row of a Markdown table for each operation."""
    server = Server(options)
    try:
        server.start()
        work = Work(server, server.new_user())
        print('| %s | flushes | system calls |\n|---|---|---|' % options.format)
        for what, count in work.rows():
            print('| %s | %d | %d |' % (what, count.flushes, count.calls), flush=True)
        work.close()
    finally:
        server.close()
    return 0
