"""Sessions killed in the middle of work leave no file, no lock, no reader slot, no descriptor and no space behind."""

import os
import random
import re
import select
import signal
import time

from bulk import Threads, lmdb_tool
from harness import Literal, ServerTest, message, message_of_size
from harness.imap import Imap
from harness.lmdb import store_file
from harness.lmtp import Lmtp
from harness.server import wait_for
from injection import Injection

# Stores that a process keeps open for a moment (src/storage/lmdb-idle.c)
IDLE_MAX = 64
PAGE_SIZE = 4096

KNOWN = (
    r'mail', r'mail/store', r'mail/store/data\.mdb', r'mail/store/lock\.mdb', r'mail/store/store\.(lock|slots)',
    r'mail/store/notify', r'mail/store/notify/[0-9a-f]+',
    r'mail/mailboxes\.lock', r'mail/dovecot\.mailbox\.log',
    r'mail/index', r'mail/index/[0-9a-f]+',
    r'mail/index/[0-9a-f]+/(dovecot\.index(\.log|\.log\.2|\.cache)?|lmdb\.status)',
    r'mail/control', r'mail/control/[0-9a-f]+',
)


class LeavesNothing(ServerTest):
    formats = ('lmdb',)

    def setUp(self):
        super().setUp()
        self.rng = random.Random(self.id())
        self.allow_log(r'service\((imap|lmtp)\): child \d+ killed with signal 9|command startup failed, throttling')
        # A session killed at its very beginning; its question to auth may come when imap-login has gone, too.
        self.allow_log(r'imap-login: Error: master\(imap\): read\(\) failed: Remote closed connection')
        self.allow_log('auth: Error: .*Master requested auth for nonexistent client')

    @property
    def store(self):
        return os.path.dirname(store_file(self.home()))

    def session(self, user=None):
        """A session that the end of the test needn't log out."""
        imap = Imap(self.server.imap_port, user or self.user, transcript=self.transcript)
        imap.sock.settimeout(30)
        self.connections.append(imap)
        return imap

    def kill(self, *names):
        """Kill these processes, also those that only just begin; returns how many."""
        killed = set()
        end = time.monotonic() + 30
        while True:
            pids = [pid for name in names for pid in self.server.pids(name)]
            if not pids:
                break
            self.assertLess(time.monotonic(), end, 'sessions begin again and again')
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                    killed.add(pid)
                except ProcessLookupError:
                    pass
            time.sleep(0.005)
        self.close_all()
        return len(killed)

    def fill(self):
        imap = self.session()
        imap.create('One', 'Two')
        imap.append_many('INBOX', [message_of_size(self.rng.choice((300, 5000, 50000)), number)
                                   for number in range(60)])
        imap.logout()
        self.server.wait_until_idle()

    def work(self, kind):
        """Work of one kind, until the connection breaks."""
        try:
            if kind == 'lmtp':
                lmtp = Lmtp(self.server.lmtp_port)
                while not self.stopping:
                    lmtp.ok(self.user, message_of_size(20000))
            imap = self.session()
            imap.select()
            number = 0
            while not self.stopping:
                number += 1
                if kind == 'append':
                    imap.cmd('APPEND One ', Literal(message_of_size(20000)), ' ', Literal(message_of_size(3000)))
                elif kind == 'store':
                    imap.cmd('STORE 1:20 %sFLAGS (key%d \\Flagged)' % ('+-'[number % 2], number % 7))
                elif kind == 'copy':
                    imap.cmd('COPY 1:30 Two')
                elif kind == 'fetch':
                    imap.cmd('FETCH 1:* (FLAGS BODY.PEEK[])')
                elif kind == 'expunge':
                    imap.cmd('COPY 1:10 INBOX')
                    imap.cmd('NOOP')
                    imap.cmd(r'STORE 60:* +FLAGS.SILENT (\Deleted)')
                    imap.cmd('EXPUNGE')
                else:
                    name = 'f%d' % number
                    imap.cmd('CREATE ' + name)
                    imap.cmd('RENAME %s g%s' % (name, name))
                    imap.cmd('DELETE g' + name)
        except (OSError, EOFError, ValueError, AssertionError):
            pass

    def work_and_kill(self, kinds):
        self.stopping = False
        threads = Threads()
        for kind in kinds:
            threads.start(self.work, kind)
        time.sleep(0.15 + self.rng.random() * 0.15)
        self.stopping = True
        killed = self.kill('imap', 'lmtp')
        threads.join()
        # A session that began too late for that ends by itself.
        self.close_all()
        self.server.wait_until_idle()
        return killed

    def use(self):
        """Each kind of command, once: nobody is in the way."""
        imap = self.session()
        imap.select()
        uid = imap.append('INBOX', message('next'))[1]
        imap.store(str(uid), r'+FLAGS (\Flagged next)')
        imap.ok('COPY 1 Two')
        imap.ok('UID MOVE %d One' % uid)
        imap.ok('CREATE Next')
        imap.ok('DELETE Next')
        imap.select('One')
        imap.store('*', r'+FLAGS.SILENT (\Deleted)', uid=False)
        imap.ok('EXPUNGE')
        imap.logout()
        self.deliver(message('next'))
        self.server.wait_until_idle()

    def files(self):
        found = []
        home = self.home()
        for directory, directories, names in os.walk(home):
            for name in directories + names:
                found.append(os.path.relpath(os.path.join(directory, name), home))
        return sorted(found)

    def reader_pids(self):
        text = lmdb_tool(self.server, 'mdb_stat', '-r', self.store)
        return [int(pid) for pid in re.findall(r'^\s*(\d+)\s+[0-9a-f]+\s', text, re.MULTILINE)]

    ALL = ('append', 'store', 'copy', 'fetch', 'expunge', 'folders', 'lmtp', 'append', 'fetch')

    def test_files(self):
        self.fill()
        killed = sum(self.work_and_kill(self.ALL) for _ in range(8))
        self.note = '%d kills' % killed
        self.use()
        unknown = [path for path in self.files() if not any(re.fullmatch(pattern, path) for pattern in KNOWN)]
        self.assertEqual(unknown, [])
        self.assertEqual(os.listdir(os.path.join(self.server.dir, 'tmp')), [])
        # Nor a directory of a folder that is none, but for what a purge removes: the view, if a session was killed between
        # the commit of a DELETE and the removal of it.
        self.doveadm('purge')
        names = self.doveadm('mailbox list').split()
        self.assertLessEqual(len(os.listdir(os.path.join(self.home(), 'mail', 'index'))), len(names))

    def test_locks(self):
        self.fill()
        killed = 0
        for kinds in [(kind, kind) for kind in sorted(set(self.ALL))]:
            killed += self.work_and_kill(kinds)
            self.use()
        self.note = '%d kills' % killed
        self.assertGreater(killed, 10)

    def delay_of_the_next(self):
        """Seconds from the death of a session in the midst of a commit to the answer of one that waited for it."""
        victim, other = self.session(), self.session()
        victim.ok('NOOP')
        other.ok('NOOP')
        pid = self.server.pid_of(victim)
        with Injection(self.server, pid, 'pwrite64', 'signal=STOP:when=1') as injection:
            victim.send('APPEND One ', Literal(message('lost', 'x' * 20000)))
            wait_for(lambda: 'stopped by SIGSTOP' in injection.output(), 'the commit to stand still')
        # The victim stays there, with the lock, and the other one has to wait.
        wait_for(lambda: is_stopped(pid), 'the end of strace')
        self.assertTrue(self.is_committing())
        tag = other.send('APPEND One ', Literal(message('next')))
        self.assertEqual(select.select([other.sock], [], [], 0.2)[0], [])
        begin = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        self.assertEqual(other.wait(tag).status, 'OK')
        delay = time.monotonic() - begin
        self.close_all()
        return delay

    def is_committing(self):
        """Whether somebody has the lock on the byte of the one that writes."""
        inode = os.stat(os.path.join(self.store, 'store.lock')).st_ino
        with open('/proc/locks') as file:
            return any(':%d 1 1' % inode in line and '->' not in line for line in file)

    def test_delay_of_the_next_writer(self):
        """Less than a second. Other work of the machine may make one take longer, but not all of them."""
        self.fill()
        delays = [self.delay_of_the_next() for _ in range(5)]
        self.note = '%d to %d ms' % (1000 * min(delays), 1000 * max(delays))
        self.assertLess(min(delays), 1)
        self.use()

    def test_reader_slots(self):
        self.fill()
        for _ in range(6):
            self.work_and_kill(('fetch',) * 4 + ('copy', 'lmtp'))
        imap = self.session()
        imap.select()
        alive = {pid for pid, _ in self.server.processes()}
        dead = [pid for pid in self.reader_pids() if pid not in alive]
        self.assertEqual(dead, [])
        imap.logout()

    def test_reader_slots_of_a_running_session(self):
        """A session that is open all the time sees the slots of the dead used again."""
        self.fill()
        keeper = Imap(self.server.imap_port, self.user)
        keeper.select()
        keeper_pid = self.server.pid_of(keeper)
        for _ in range(5):
            sessions = [self.session() for _ in range(5)]
            for imap in sessions:
                imap.select()
                imap.fetch('1:5', 'BODY.PEEK[]')
            for pid in self.server.pids('imap'):
                if pid != keeper_pid:
                    os.kill(pid, signal.SIGKILL)
            self.wait_for_others(keeper_pid)
            self.close_all()
        imap = self.session()
        imap.select()
        alive = {pid for pid, _ in self.server.processes()}
        self.assertLessEqual(set(self.reader_pids()), alive)
        keeper.append('INBOX', message())
        keeper.logout()

    def wait_for_others(self, pid):
        end = time.monotonic() + 30
        while set(self.server.pids('imap')) - {pid}:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)

    def close_all(self):
        for connection in self.connections:
            connection.close()
        self.connections.clear()

    def test_descriptors(self):
        imap = self.session()
        names = ['f%d' % number for number in range(200)]
        tags = [imap.send('CREATE ' + name) for name in names]
        for tag in tags:
            self.assertEqual(imap.wait(tag).status, 'OK')
        pid = self.server.pid_of(imap)

        def visit(name):
            imap.append(name, message(name))
            imap.select(name)
            imap.store('1', r'+FLAGS (\Seen key)')
            imap.body(1)
            imap.cmd('SELECT there-is-none')
            imap.cmd('COPY 1 there-is-none')
            imap.select(name)
            imap.status('f0')
            imap.ok('COPY 1 f1')

        for name in names[:5]:
            visit(name)
        imap.done(imap.idle())
        before = self.descriptors(pid)
        for name in names[5:]:
            visit(name)
        after = self.descriptors(pid)
        self.assertLessEqual(len(after), len(before), after)
        imap.done(imap.idle())
        self.assertLessEqual(len(self.descriptors(pid)), len(before))
        imap.logout()

    def descriptors(self, pid):
        directory = '/proc/%d/fd' % pid
        return sorted(os.readlink(os.path.join(directory, name)) for name in os.listdir(directory))

    def mapped(self, pid):
        with open('/proc/%d/maps' % pid) as file:
            return sum('data.mdb' in line for line in file)

    def test_descriptors_of_deliveries(self):
        """One LMTP process, 100 users: few stores stay open, and not for long."""
        lmtp = self.lmtp()
        users = [self.server.new_user() for _ in range(100)]
        for user in users[:5]:
            lmtp.ok(user, message())
        pid = self.server.pid_of(lmtp)
        wait_for(lambda: self.mapped(pid) == 0, 'idle stores to be closed')
        before = self.descriptors(pid)
        for user in users[5:]:
            lmtp.ok(user, message())
        self.assertLessEqual(self.mapped(pid), IDLE_MAX)
        wait_for(lambda: self.mapped(pid) == 0, 'idle stores to be closed')
        after = self.descriptors(pid)
        self.assertLessEqual(len(after), len(before), after)

    def pages(self):
        text = lmdb_tool(self.server, 'mdb_stat', '-ef', self.store)
        used = int(re.search(r'Number of pages used: (\d+)', text).group(1))
        return used, int(re.search(r'Free pages: (\d+)', text).group(1))

    def check_staged(self, begin, name, size):
        """begin() has up to so many bytes staged."""
        self.fill()
        used = []
        for _ in range(10):
            begin()
            self.assertGreater(self.kill(name), 0)
            # The next writers free what the killed one had staged.
            for _ in range(3):
                self.use()
            used.append(self.pages()[0])
        self.note = 'pages %s' % used
        self.assertLess(used[-1], used[0] + size // PAGE_SIZE + 1000, used)
        self.doveadm('purge')
        all_pages, free = self.pages()
        self.assertLess(all_pages - free, 1500, 'pages in use')
        self.use()

    def test_staged_append(self):
        data = message_of_size(20 << 20)
        size = 16 << 20

        def begin():
            imap = self.session()
            imap.ok('NOOP')
            before = self.pages()[0] if os.path.exists(self.store) else 0
            imap.send_raw(b't0 APPEND INBOX {%d+}\r\n' % len(data))
            imap.sock.sendall(data[:size])
            end = time.monotonic() + 10
            # Until something of it is in the store: else there is nothing to free.
            while self.staged() == 0:
                self.assertLess(time.monotonic(), end, 'nothing was staged')
                time.sleep(0.02)
            self.assertGreaterEqual(self.pages()[0], before)

        self.check_staged(begin, 'imap', size)

    def staged(self):
        text = lmdb_tool(self.server, 'mdb_stat', '-s', 'staging', self.store)
        return int(re.search(r'Status of staging.*Entries: (\d+)', text, re.DOTALL).group(1))

    def test_staged_multiappend(self):
        parts = [b't0 APPEND INBOX']
        for number in range(12):
            data = message_of_size(1 << 20, number)
            parts.append(b' {%d+}\r\n' % len(data) + data)
        command = b''.join(parts)

        def begin():
            imap = self.session()
            imap.sock.sendall(command)
            end = time.monotonic() + 10
            # Most of it, so that it would be seen if it stayed.
            while self.staged() < 8:
                self.assertLess(time.monotonic(), end, 'too little was staged')
                time.sleep(0.02)

        self.check_staged(begin, 'imap', len(command))


def is_stopped(pid):
    with open('/proc/%d/stat' % pid) as file:
        return file.read().rpartition(')')[2].split()[0] == 'T'
