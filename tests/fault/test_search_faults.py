"""The search index deleted, damaged, or written by processes that are killed or have no room: searches stay right."""

import os
import random
import shutil
import signal
import time

from harness import only
from harness.imap import Imap
from harness.server import mount_tmpfs, private_mounts
from searching import SearchTest, Writer

MEGABYTE = 1024 * 1024
# LMDB's lock file alone takes more than half of it.
ROOM = 110000
ANEW = 'Search index: .*it will be built anew'
QUERIES = ('BODY e', 'NOT BODY the', 'TEXT "example.org"', 'SUBJECT a', 'OR BODY fox TEXT Subject', 'BODY "no such words"')


class CompareTest(SearchTest):
    def compare_all(self):
        for keys in QUERIES:
            self.compare(self.client, self.plain, [keys], sync=True)

    def compare_new(self):
        """The same in a new session."""
        self.client.logout()
        self.client = self.imap()
        self.client.select()
        self.compare_all()


@only('lmdb')
class SearchFaults(CompareTest):
    def setUp(self):
        super().setUp()
        self.rng = random.Random(self.id())
        writer = Writer(6)
        self.messages = [writer.message() for _ in range(150)]
        self.client, self.plain = self.fill(self.messages)

    def test_deleted(self):
        """The directory, and single files of it, while sessions use them."""
        self.compare_all()
        shutil.rmtree(os.path.dirname(self.index_path()))
        self.compare_all()
        self.assertTrue(os.path.exists(self.index_path()))
        for name in ('data.mdb', 'search.lock'):
            os.unlink(self.index_path(name))
            self.compare_all()
            self.compare_new()
            self.client.append('INBOX', self.messages[0])
            self.compare_all()
        self.assertTrue(os.path.exists(self.index_path()))

    def damage(self, rounds):
        """Write nonsense to the file."""
        size = os.path.getsize(self.index_path())
        with open(self.index_path(), 'r+b') as file:
            for _ in range(rounds):
                file.seek(self.rng.randrange(size))
                file.write(self.rng.randbytes(self.rng.choice((1, 16, 4096))))

    def test_damaged_while_open(self):
        self.allow_log(ANEW)
        self.compare_all()
        for rounds in (1, 1, 3, 10, 100):
            self.damage(rounds)
            self.compare_all()
            self.compare_new()

    def test_damaged(self):
        self.expect_log(ANEW)
        for rounds in (1, 5, 300):
            self.compare_new()
            self.client = self.relogin(self.client)
            self.damage(rounds)
            self.compare_new()

    def test_not_a_database(self):
        self.expect_log(ANEW)
        self.compare_all()
        self.client = self.relogin(self.client)
        with open(self.index_path(), 'wb') as file:
            file.write(b'nonsense' * 5000)
        self.compare_new()

    def test_killed(self):
        """Sessions and doveadm are killed while they index and merge."""
        self.allow_log('killed with signal 9')
        kills = 0
        for round_number in range(30):
            client = Imap(self.server.imap_port, self.user)
            client.ok('EXAMINE INBOX')
            client.append_many('INBOX', self.rng.sample(self.messages, 3))
            client.send('UID SEARCH BODY e')
            time.sleep(self.rng.random() * 0.15)
            pid = self.server.pid_of(client)
            os.kill(pid, signal.SIGKILL)
            kills += 1
            client.close()
            if round_number % 5 == 4:
                self.compare_all()
        self.note = '%d kills' % kills
        self.doveadm('index', 'INBOX')
        self.compare_all()
        self.compare_new()


@only('lmdb')
class SearchWithoutRoom(CompareTest):
    """The index is on a file system of its own, which is too small for it."""
    mounts = True

    def test_full(self):
        private_mounts()
        directory = os.path.dirname(self.index_path())
        os.makedirs(directory)
        for path in (self.home(), os.path.join(self.home(), 'mail')):
            os.chown(path, self.server.mail_uid, self.server.mail_gid)
        self.stop_server()
        mount_tmpfs(directory, 'size=%d,mode=700,uid=%d,gid=%d' % (ROOM, self.server.mail_uid, self.server.mail_gid))
        self.server.start()
        self.expect_log('Search index: .*[Nn]o space left')
        writer = Writer(7)
        self.client, self.plain = self.fill([writer.message() for _ in range(400)])
        self.compare_all()
        self.compare_new()
        self.assertLessEqual(os.path.getsize(self.index_path()), ROOM)
        self.server.run(['mount', '-o', 'remount,size=%d' % (20 * MEGABYTE), directory])
        self.compare_new()
        self.compare_new()
        self.assertGreater(os.path.getsize(self.index_path()), ROOM)
