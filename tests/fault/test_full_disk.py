"""No room left: a clear refusal, nothing lost, and all well once there is room again."""

import os
import resource

from harness import Literal, ServerTest, message, message_of_size
from harness.server import mount_tmpfs, private_mounts, unmount

MEGABYTE = 1024 * 1024
NO_ROOM = '(?i)(no space left|file too large|disk full|full|quota|space|too large)'


class NoRoom(ServerTest):
    """What is the same whichever way the room ends."""

    def fill_up(self, imap, size=200000):
        """APPEND until the first NO; returns what was acknowledged and the refusal."""
        stored = {}
        for number in range(1000):
            data = message_of_size(size, number)
            result = imap.cmd('APPEND INBOX ', Literal(data))
            if result.status != 'OK':
                self.assertEqual(result.status, 'NO', result)
                return stored, result
            stored[int(result.code[2])] = data
        self.fail('the disk was never full')

    def check_messages(self, imap, stored):
        imap.ok('EXAMINE INBOX')
        self.assertEqual(imap.uids(), sorted(stored))
        for uid, data in stored.items():
            self.assertTrue(imap.body(uid) == data, uid)
        imap.ok('UNSELECT')

    def check_full(self):
        """All about a full disk, in the server as it is."""
        self.expect_log(NO_ROOM)
        imap = self.imap()
        imap.create('Work')
        stored, refusal = self.fill_up(imap)
        self.assertTrue(refusal.code, 'a NO without a response code: %r' % refusal)
        # The session goes on, a new one too, and what is there can be read.
        self.check_messages(imap, stored)
        other = self.imap()
        self.check_messages(other, stored)
        result = other.cmd('APPEND INBOX ', Literal(message_of_size(200000)), ' ', Literal(message_of_size(200000)))
        self.assertEqual(result.status, 'NO')
        # A delivery is deferred or, if it is small enough, kept.
        (code, text), = self.lmtp().deliver(self.user, message_of_size(200000))
        self.assertIn(code // 100, (4,), text)
        self.check_messages(imap, stored)
        # Expunging needs no room, or says that it does, and makes some.
        imap.select()
        victims = sorted(stored)[:len(stored) // 2]
        uid_set = ','.join(map(str, victims))
        imap.cmd('UID STORE %s +FLAGS.SILENT (\\Deleted)' % uid_set)
        result = imap.cmd('UID EXPUNGE ' + uid_set)
        if result.status == 'OK':
            for uid in victims:
                del stored[uid]
        imap.logout()
        self.check_messages(self.imap(), stored)
        self.close_connections()
        return stored

    def check_well_again(self, stored):
        imap = self.imap()
        self.check_messages(imap, stored)
        data = message_of_size(400000, 4711)
        _, uid = imap.append('INBOX', data)
        self.assertNotIn(uid, stored)
        stored[uid] = data
        imap.select()
        imap.ok('UID COPY %d Work' % min(stored))
        imap.ok('UID MOVE %d Work' % max(stored))
        del stored[max(stored)]
        self.deliver(message())
        imap.ok('NOOP')
        self.assertEqual(len(imap.uids()), len(stored) + 1)
        self.assertEqual(imap.status('Work')['MESSAGES'], 2)
        imap.logout()
        self.server.wait_until_idle()
        if self.options.format == 'lmdb':
            self.remove_indexes()
        imap = self.imap()
        imap.select()
        self.assertEqual(len(imap.uids()), len(stored) + 1)
        for uid, data in stored.items():
            self.assertTrue(imap.body(uid) == data, uid)


class FileSize(NoRoom):
    """No file may grow beyond some megabytes (ulimit -f)."""
    formats = ('lmdb',)
    limits = ((resource.RLIMIT_FSIZE, 6 * MEGABYTE),)

    def test_full(self):
        stored = self.check_full()
        self.stop_server()
        self.server.limits, limits = (), self.server.limits
        self.server.start()
        self.check_well_again(stored)
        self.stop_server()
        self.server.limits = limits

    def test_one_message_too_large(self):
        """One that doesn't fit is refused; a smaller one still fits."""
        self.expect_log(NO_ROOM)
        imap = self.imap()
        data = message_of_size(10 * MEGABYTE)
        self.assertEqual(imap.cmd('APPEND INBOX ', Literal(data)).status, 'NO')
        (code, _), = self.lmtp().deliver(self.user, data)
        self.assertEqual(code // 100, 4)
        small = message_of_size(100000)
        imap.append('INBOX', small)
        self.deliver(message())
        imap.select()
        self.assertEqual(imap.body(1), small)
        self.assertEqual(len(imap.uids()), 2)

    def test_flags_and_folders(self):
        """Where no message fits any more, flags, folders and expunges of other users still do."""
        imap = self.imap()
        self.expect_log(NO_ROOM)
        stored, _ = self.fill_up(imap)
        other_user = self.server.new_user()
        self.deliver(message(), user=other_user)
        other = self.imap(other_user)
        other.create('Work')
        other.select()
        other.store('1', r'+FLAGS (\Seen key)')
        other.ok('MOVE 1 Work')
        self.assertEqual(other.status('Work')['MESSAGES'], 1)


class FullFileSystem(NoRoom):
    """A file system of its own that is small."""
    mounts = True
    formats = ('lmdb', 'sdbox')
    size = 12 * MEGABYTE

    @classmethod
    def new_server(cls):
        private_mounts()
        server = super().new_server()
        mount_tmpfs(server.home_root, 'size=%d,mode=755,uid=%d,gid=%d' % (cls.size, server.mail_uid, server.mail_gid))
        return server

    def setUp(self):
        super().setUp()
        if self.options.format != 'lmdb':
            self.allow_log('.')

    def tearDown(self):
        try:
            super().tearDown()
        finally:
            # The next test needs the room.
            unmount(self.server.home_root)
            mount_tmpfs(self.server.home_root, 'size=%d,mode=755,uid=%d,gid=%d' % (self.size, self.server.mail_uid,
                                                                                 self.server.mail_gid))

    def make_room(self):
        """Remount with twice the size."""
        self.server.run(['mount', '-o', 'remount,size=%d' % (2 * self.size), self.server.home_root])

    def test_full(self):
        stored = self.check_full()
        self.make_room()
        self.check_well_again(stored)

    def test_full_of_something_else(self):
        """Not one byte left, from one moment to the next."""
        self.allow_log(NO_ROOM)
        self.allow_log('dovecot.index')
        imap = self.imap()
        imap.create('Work')
        stored = {}
        for number in range(10):
            data = message_of_size(50000, number)
            stored[imap.append('INBOX', data)[1]] = data
        imap.select()
        imap.store('1', r'+FLAGS (\Seen)')
        with open(os.path.join(self.server.home_root, 'ballast'), 'wb', buffering=0) as file:
            try:
                while True:
                    file.write(b'x' * 65536)
            except OSError:
                pass
        for command in ('UID STORE 2 +FLAGS (\\Flagged key)', 'COPY 1:3 Work', 'MOVE 4:5 Work', 'CREATE Other',
                        'SUBSCRIBE Work', 'NOOP', 'UID FETCH 1:* (UID FLAGS)', 'STATUS Work (MESSAGES)'):
            self.assertIn(imap.cmd(command).status, ('OK', 'NO'), command)
        result = imap.cmd('APPEND INBOX ', Literal(message_of_size(100000)))
        self.assertEqual(result.status, 'NO')
        (code, _), = self.lmtp().deliver(self.user, message_of_size(100000))
        self.assertEqual(code // 100, 4)
        os.unlink(os.path.join(self.server.home_root, 'ballast'))
        imap = self.imap()
        imap.select()
        found = [imap.body(uid) for uid in imap.uids()]
        moved = imap.status('Work')['MESSAGES']
        imap.select('Work')
        found_there = [imap.body(uid) for uid in imap.uids()]
        self.assertEqual(moved, len(found_there))
        self.assertLessEqual(set(stored.values()), set(found + found_there))
        self.assertIn(len(found), (8, 10))
        imap.append('INBOX', message_of_size(100000))
        self.deliver(message_of_size(100000))

    def test_multiappend_and_moves(self):
        """Many at once that don't all fit: all or none."""
        self.expect_log(NO_ROOM)
        imap = self.imap()
        imap.create('Work')
        imap.append_many('INBOX', [message_of_size(100000, number) for number in range(20)])
        parts = ['APPEND INBOX']
        for number in range(80):
            parts += [' ', Literal(message_of_size(200000, number))]
        try:
            result = imap.cmd(*parts)
            self.assertEqual(result.status, 'NO')
        except (EOFError, OSError):
            self.fail('the session ended')
        self.assertEqual(imap.status('INBOX')['MESSAGES'], 20)
        imap.select()
        imap.ok('COPY 1:20 Work')
        imap.ok('MOVE 1:20 Work')
        self.assertEqual(imap.status('Work')['MESSAGES'], 40)
        self.close_connections()
        imap = self.imap()
        self.assertEqual(imap.status('Work')['MESSAGES'], 40)
        imap.append('INBOX', message_of_size(500000))
