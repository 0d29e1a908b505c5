"""
A process killed at each system call that changes a file, one after the other, in each kind of operation.

strace(1) kills it at the entry of the call, so before it is done; that it was done is the next point. An answer to the
client is a call like any other: the last points are those where all is done and nobody knows.
"""

import collections
import os
import poplib
import signal
import subprocess
import sys

from harness import Literal, ServerTest, message, message_of_size
from harness.imap import Imap
from harness.lmtp import Lmtp
from harness.server import find_program, wait_for

CHANGING = ('pwrite64', 'pwritev', 'write', 'writev', 'fdatasync', 'fsync', 'fallocate', 'ftruncate', 'rename',
            'renameat', 'renameat2', 'unlink', 'unlinkat', 'mkdir', 'mkdirat', 'rmdir', 'link', 'linkat')
MOST_POINTS = 100


class Points(ServerTest):
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

    def at_every_point(self, prepare, work, check, **least):
        """
        prepare(session), then work(session) killed at its first, second ... call, then check(acknowledged); for least
        see all_points().
        """
        def attempt(call, point):
            imap = self.session()
            prepare(imap)
            imap.close()
            self.server.wait_until_idle()
            imap = self.session()
            imap.select()
            done = self.until_killed(self.server.pid_of(imap), call, point, lambda: work(imap))
            imap.close()
            self.server.wait_until_idle()
            check(done)
            return done

        self.all_points(attempt, **least)

    def all_points(self, attempt, commits=1, answers=1):
        """
        attempt(call, point) for all calls and points, for each call until it isn't made that often any more. A test that
        kills nobody shows nothing, so the work has to have so many commits and answers, and each of them its points.
        """
        kills = collections.Counter()
        for call in CHANGING:
            for point in range(1, MOST_POINTS):
                if attempt(call, point):
                    break
                kills[call] += 1
                self.note = '%d kills' % kills.total()
            else:
                self.fail('the work never came to its end')
        # The meta page of each; its other pages go by pwrite64 or by writev.
        self.assertGreaterEqual(kills['pwrite64'], commits, kills)
        self.assertGreaterEqual(kills['fdatasync'], commits, kills)
        self.assertGreaterEqual(kills['write'], answers, kills)

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


class KillPoints(Points):
    def check_append(self, data, **least):
        parts = sum(([' ', Literal(item)] for item in data), [])
        self.at_every_point(lambda imap: self.empty(imap, 'INBOX', 'There'),
                            lambda imap: imap.ok('APPEND There', *parts),
                            lambda done: self.check_all_or_nothing(done, 'There', data), **least)

    def test_append(self):
        self.check_append([message('a', 'x' * 20000 + '\r\n')])

    def test_multiappend(self):
        self.check_append([message('a%d' % number, 'x' * 4000 * number + '\r\n') for number in range(4)])

    def test_multiappend_of_large_messages(self):
        """Those go to the store in several commits, before the one that makes them messages."""
        self.check_append([message_of_size(3 << 20, number) for number in range(3)], commits=2)

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

        self.at_every_point(self.setup_messages, work, check, answers=2)

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

        self.at_every_point(prepare, work, check, answers=2)

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

        self.at_every_point(prepare, work, check, commits=6, answers=6)

    def test_rename(self):
        """A tree with mail, one of its folders selected by the session that renames it."""
        data = [message('m%d' % number) for number in range(3)]
        folders = ('', '/b', '/b/c')

        def prepare(imap):
            for name in [name for name in sorted(imap.names(), reverse=True) if name not in ('INBOX', 'There')]:
                imap.ok('DELETE ' + name)
            for name in folders:
                imap.create('a' + name)
                imap.append_many('a' + name, data)
            imap.logout()

        def check(done):
            imap = self.session()
            names = set(imap.names()) - {'INBOX', 'There'}
            imap.logout()
            old, new = ({top + name for name in folders} for top in ('a', 'There/x'))
            self.assertIn(names, [new] if done else [old, new])
            for _ in range(2):
                self.assertEqual([self.contents(name) for name in sorted(names)], [data] * 3)
                self.remove_indexes()

        self.at_every_point(prepare, lambda imap: imap.ok('RENAME a There/x'), check)

    def test_rename_inbox(self):
        """That moves its messages; INBOX stays."""
        def prepare(imap):
            if 'Old' in imap.names():
                imap.ok('DELETE Old')
            self.setup_messages(imap)

        def check(done):
            imap = self.session()
            there = 'Old' in imap.names()
            imap.logout()
            found = self.contents('INBOX'), self.contents('Old') if there else []
            self.assertIn(found, [([], self.data)] if done else [([], self.data), (self.data, [])])
            self.check_again(found[0], 'INBOX')

        self.at_every_point(prepare, lambda imap: imap.ok('RENAME INBOX Old'), check)

    def test_pop3(self):
        """QUIT expunges what DELE named."""
        def attempt(call, point):
            imap = self.session()
            self.setup_messages(imap)
            self.server.wait_until_idle()
            pop3 = self.pop3()
            for number in (1, 3):
                pop3.dele(number)

            def work():
                try:
                    pop3._shortcmd('QUIT')
                except poplib.error_proto as error:
                    # So poplib says that the connection ended.
                    self.assertEqual(str(error), '-ERR EOF')
                    raise EOFError

            done = self.until_killed(self.server.pid_of(pop3), call, point, work)
            pop3.close()
            self.server.wait_until_idle()
            found = self.contents('INBOX')
            left = [self.data[1], self.data[3], self.data[4]]
            self.assertIn(found, [left] if done else [left, self.data])
            self.check_again(found, 'INBOX')
            return done

        self.all_points(attempt)

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


class Repair(Points):
    """
    Dovecot's repair of an index says in the new one that all of its journal was seen. A process that dies then must not
    take with it what waited there.
    """
    # The index is written soon, so that there is one to repair.
    config = 'mail_index_rewrite_min_log_bytes = 0\nmail_index_rewrite_max_log_bytes = 1\n'

    def leave_flags_in_the_journal(self):
        """Flag changes of a session that was killed: acknowledged, and not yet in the store."""
        imap = self.session()
        self.setup_messages(imap)
        self.server.wait_until_idle()
        imap = self.session()
        imap.select()
        imap.store('1:3', r'+FLAGS (\Flagged waiting)', uid=False)
        os.kill(self.server.pid_of(imap), signal.SIGKILL)
        self.server.wait_until_idle()
        imap.close()

    def check_flags(self):
        for _ in range(2):
            imap = self.session()
            imap.select()
            flags = list(imap.flags().values())
            self.assertEqual(flags, [{'\\Flagged', 'waiting'}] * 3 + [set()] * 2)
            imap.logout()
            self.server.wait_until_idle()
            # From the store alone
            self.remove_indexes()

    def check_force_resync(self, *options):
        def attempt(call, point):
            self.leave_flags_in_the_journal()
            argv = [find_program('strace'), '-qq', '-f', '-o', os.path.join(self.server.dir, 'strace'), '-e',
                    'trace=' + call, '-e', 'inject=%s:signal=KILL:when=%d' % (call, point)]
            argv += self.server.doveadm_argv('force-resync', '-u', self.user, *options, 'INBOX')
            done = self.server.run(argv, check=False)
            self.check_flags()
            return done.returncode == 0

        self.all_points(attempt, answers=0)

    def test_force_resync(self):
        self.check_force_resync()

    def test_force_resync_with_repair(self):
        """Dovecot repairs what it has read, the journal included."""
        self.allow_log(r'Warning: (Mailbox \S+: )?fscking index file')
        self.check_force_resync('-f')

    def test_repair_of_the_index(self):
        """By a session that finds it broken."""
        def attempt(call, point):
            self.leave_flags_in_the_journal()
            self.break_index()
            imap = self.session()
            done = self.until_killed(self.server.pid_of(imap), call, point, lambda: (imap.select(), imap.logout()))
            imap.close()
            self.server.wait_until_idle()
            self.check_flags()
            return done

        self.expect_log('Fixed index file .*seen_messages_count 99 -> 0')
        self.allow_log(r'Warning: (Mailbox \S+: )?fscking index file')
        self.all_points(attempt, answers=2)

    def break_index(self):
        """More messages seen than there are."""
        broken = 0
        for directory, _, names in os.walk(self.home()):
            if 'dovecot.index' in names:
                with open(os.path.join(directory, 'dovecot.index'), 'r+b') as file:
                    if int.from_bytes(file.read(36)[32:], sys.byteorder) == 5:
                        file.seek(40)
                        file.write((99).to_bytes(4, sys.byteorder))
                        broken += 1
        self.assertEqual(broken, 1)


def is_traced(pid):
    with open('/proc/%d/status' % pid) as file:
        return 'TracerPid:\t0\n' not in file.read()
