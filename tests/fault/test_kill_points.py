"""A process killed at each system call that changes a file, one after the other, in each kind of operation."""

import os
import signal
import subprocess

from harness import Literal, ServerTest, message, only
from harness.imap import Imap
from harness.lmtp import Lmtp
from harness.server import find_program, wait_for

CHANGING = ('pwrite64', 'pwritev', 'write', 'writev', 'fdatasync', 'fsync', 'ftruncate', 'rename', 'unlink', 'mkdir',
            'rmdir', 'link')
MOST_POINTS = 100


class KillPoints(ServerTest):
    formats = ('lmdb',)

    def setUp(self):
        super().setUp()
        self.allow_log(r'child \d+ killed with signal 9')
        self.allow_log('command startup failed, throttling')
        imap = self.session()
        imap.create('There')
        imap.logout()
        self.server.wait_until_idle()

    def session(self):
        return Imap(self.server.imap_port, self.user, transcript=self.transcript)

    def until_killed(self, pid, call, point, work):
        """Kill the process at its point-th such call while it works; returns whether the work was done before."""
        output = os.path.join(self.server.dir, 'strace')
        tracer = subprocess.Popen([find_program('strace'), '-qq', '-p', str(pid), '-o', output, '-e', 'trace=' + call,
                                   '-e', 'inject=%s:signal=KILL:when=%d' % (call, point)],
                                  stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            wait_for(lambda: tracer.poll() is not None or is_traced(pid), 'strace')
            self.assertIsNone(tracer.poll(), 'strace ended: %r' % (tracer.stderr.read() if tracer.poll() else b''))
            try:
                work()
                done = True
            except (OSError, EOFError):
                done = False
        finally:
            if tracer.poll() is None:
                try:
                    os.kill(pid, 0)
                    tracer.send_signal(signal.SIGINT)
                except ProcessLookupError:
                    pass
            tracer.communicate()
        return done

    def at_every_point(self, prepare, work, check):
        """prepare(session), then work(session) killed at its first, second ... call, then check(acknowledged)."""
        def attempt(call, point):
            imap = self.session()
            prepare(imap)
            imap.close()
            self.server.wait_until_idle()
            imap = self.session()
            imap.select()
            pid = self.server.pid_of(imap)
            done = self.until_killed(pid, call, point, lambda: work(imap))
            imap.close()
            self.server.wait_until_idle()
            check(done)
            return done

        self.all_points(attempt)

    def all_points(self, attempt):
        """attempt(call, point) for all calls and points, for each call until it isn't made that often any more."""
        kills = 0
        for call in CHANGING:
            for point in range(1, MOST_POINTS):
                if attempt(call, point):
                    break
                kills += 1
                self.note = '%d kills' % kills
            else:
                self.fail('the work never came to its end')
        self.assertGreater(kills, 3)

    def contents(self, mailbox):
        imap = self.session()
        imap.ok('EXAMINE ' + mailbox)
        found = [items['BODY[]'] for items in imap.fetch('1:*', 'BODY.PEEK[]').values()]
        imap.logout()
        self.server.wait_until_idle()
        return found

    def empty(self, imap, *mailboxes):
        for mailbox in mailboxes:
            imap.select(mailbox)
            imap.cmd(r'STORE 1:* +FLAGS.SILENT (\Deleted)')
            imap.ok('CLOSE')

    def setup_messages(self, imap):
        self.empty(imap, 'INBOX', 'There')
        self.data = [message('m%d' % number, 'x' * 3000 * number + '\r\n') for number in range(5)]
        imap.append_many('INBOX', self.data)
        imap.logout()

    def check_all_or_nothing(self, done, mailbox, new):
        found = self.contents(mailbox)
        self.assertIn(found, (new,) if done else ([], new))
        self.check_again(found, mailbox)

    def check_again(self, found, mailbox):
        """The store alone says the same as what the killed process left behind."""
        self.remove_indexes()
        self.assertEqual(self.contents(mailbox), found)

    def test_append(self):
        def prepare(imap):
            self.empty(imap, 'INBOX', 'There')

        data = [message('a%d' % number, 'x' * 4000 * number + '\r\n') for number in range(4)]
        parts = sum(([' ', Literal(item)] for item in data), [])
        self.at_every_point(prepare, lambda imap: imap.ok('APPEND There', *parts),
                            lambda done: self.check_all_or_nothing(done, 'There', data))

    def test_move(self):
        def check(done):
            here, there = self.contents('INBOX'), self.contents('There')
            self.assertIn((here, there), [([], self.data)] if done else [([], self.data), (self.data, [])])
            self.check_again(here, 'INBOX')
            self.check_again(there, 'There')

        self.at_every_point(self.setup_messages, lambda imap: imap.ok('MOVE 1:* There'), check)

    def test_copy(self):
        def check(done):
            self.assertEqual(self.contents('INBOX'), self.data)
            self.check_all_or_nothing(done, 'There', self.data)

        self.at_every_point(self.setup_messages, lambda imap: imap.ok('COPY 1:* There'), check)

    def test_expunge(self):
        def work(imap):
            imap.store('1,3', r'+FLAGS.SILENT (\Deleted)', uid=False)
            imap.ok('EXPUNGE')

        left = lambda: [self.data[1], self.data[3], self.data[4]]  # noqa: E731

        def check(done):
            found = self.contents('INBOX')
            self.assertIn(found, [left()] if done else [left(), self.data])
            self.check_again(found, 'INBOX')

        self.at_every_point(self.setup_messages, work, check)

    def test_flags_and_logout(self):
        def prepare(imap):
            self.setup_messages(imap)
            self.stored = False

        def work(imap):
            imap.store('1:2', r'FLAGS.SILENT (\Seen key)', uid=False)
            self.stored = True
            imap.ok('CLOSE')

        def check(done):
            imap = self.session()
            imap.select()
            flags = [flags for flags in imap.flags().values()][:2]
            self.assertIn(flags, [[{'\\Seen', 'key'}] * 2] + ([] if self.stored else [[set(), set()]]))
            self.assertEqual(len(imap.uids()), 5)
            imap.logout()
            self.server.wait_until_idle()

        self.at_every_point(prepare, work, check)

    def age_indexes(self):
        """
        As if some minutes had passed: Dovecot takes a DELETE that left only its mark in the index for one under way, for
        half a minute, and a lock file without an owner for a lock, for three.
        """
        for directory, _, names in os.walk(self.home()):
            for name in names:
                if name.startswith('dovecot.index'):
                    path = os.path.join(directory, name)
                    if name.endswith(('.lock', '.newlock')):
                        os.unlink(path)
                        continue
                    then = os.stat(path).st_mtime - 60
                    os.utime(path, (then, then))

    def test_folders(self):
        def prepare(imap):
            for name in [name for name in sorted(imap.names(), reverse=True) if name not in ('INBOX', 'There')]:
                imap.ok('DELETE ' + name)
            imap.select()

        def work(imap):
            for command in ('CREATE a', 'CREATE a/b', 'RENAME a c', 'DELETE c/b', 'SUBSCRIBE c', 'UNSUBSCRIBE c'):
                imap.ok(command)

        def check(done):
            self.age_indexes()
            imap = self.session()
            imap.select()
            names = set(imap.names()) - {'INBOX', 'There'}
            self.assertIn(names, [{'c'}] if done else [set(), {'a'}, {'a', 'a/b'}, {'c', 'c/b'}, {'c'}])
            for name in names:
                imap.append(name, message())
            imap.logout()

        self.at_every_point(prepare, work, check)

    def test_delivery(self):
        """The first delivery of a process opens the store, too."""
        data = message_body = message('delivered', 'x' * 20000 + '\r\n')

        def attempt(call, point):
            imap = self.session()
            self.empty(imap, 'INBOX')
            imap.logout()
            lmtp = Lmtp(self.server.lmtp_port)
            lmtp.begin([self.user])
            pid = self.server.pid_of(lmtp)

            def work():
                lmtp.send_data(data)
                lmtp.sock.sendall(b'.\r\n')
                self.assertEqual(lmtp.reply()[0], 250)

            done = self.until_killed(pid, call, point, work)
            lmtp.close()
            if not done:
                wait_for(lambda: pid not in self.server.pids('lmtp'), 'the end of lmtp')
            found = self.contents('INBOX')
            self.assertIn(len(found), (1,) if done else (0, 1))
            self.assertTrue(all(item.endswith(message_body) for item in found))
            return done

        self.all_points(attempt)


def is_traced(pid):
    with open('/proc/%d/status' % pid) as file:
        return 'TracerPid:\t0\n' not in file.read()
