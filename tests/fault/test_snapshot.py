"""Nobody sees half a change: sessions that look while others write, and copies that are made meanwhile."""

import collections
import os
import random

from bulk import Threads, lmdb_tool
from harness import ServerTest, message, message_of_size
from harness.imap import Imap
from harness.lmdb import store_file
from harness.server import wait_for

GROUP = 10
MOVED = 40
COPIES = 4


class Snapshot(ServerTest):
    formats = ('lmdb',)

    def setUp(self):
        super().setUp()
        imap = self.imap()
        imap.create('Groups', 'Here', 'There')
        imap.append_many('Here', [message_of_size(2000 * number % 30000 + 300, number, subject='m%d' % number)
                                  for number in range(MOVED)])
        imap.logout()
        self.ended = False
        self.groups = 0

    def session(self):
        return Imap(self.server.imap_port, self.user)

    # What others do meanwhile

    def save_groups(self):
        """Messages that belong together; now and then an old group goes."""
        imap = self.session()
        imap.select('Groups')
        rng = random.Random(1)
        while not self.ended:
            self.groups += 1
            number = self.groups
            uids = imap.append_many('Groups', [message_of_size(rng.choice((300, 5000, 60000)), number * 100 + part,
                                                               subject='g%d' % number) for part in range(GROUP)])
            if number % 3 == 0:
                uid_set = '%d:%d' % (uids[0], uids[-1])
                imap.store(uid_set, r'+FLAGS.SILENT (\Deleted)')
                imap.ok('UID EXPUNGE ' + uid_set)
        imap.logout()

    def move(self):
        imap = self.session()
        source, target = 'Here', 'There'
        while not self.ended:
            imap.select(source)
            imap.ok('MOVE 1:* ' + target)
            source, target = target, source
        imap.logout()

    def meanwhile(self, look):
        """look() while others write."""
        threads = Threads()
        threads.start(self.save_groups)
        threads.start(self.move)
        try:
            look()
        finally:
            self.ended = True
            threads.join()

    # What must be so at any moment

    def check_copy(self, number, data):
        """A copy of the file, as the store of another user."""
        user = self.server.new_user()
        self.imap(user).create('Groups')
        self.close_connections()
        path = store_file(self.home(user))
        os.unlink(path)
        os.rename(data, path)
        os.chown(path, self.server.mail_uid, self.server.mail_gid)
        os.unlink(os.path.join(os.path.dirname(path), 'lock.mdb'))
        self.remove_indexes(user)
        imap = self.imap(user)
        counts = collections.Counter(self.subjects(imap, 'Groups'))
        self.assertEqual({subject: count for subject, count in counts.items() if count != GROUP}, {}, number)
        both = self.subjects(imap, 'Here'), self.subjects(imap, 'There')
        self.assertIn([], both)
        self.assertEqual(sorted(both[0] + both[1]), sorted('m%d' % number for number in range(MOVED)))
        # It is a store like any other.
        imap.append('Groups', message())
        imap.logout()
        return len(counts)

    def subjects(self, imap, mailbox):
        imap.select(mailbox)
        found = imap.fetch('1:*', '(RFC822.SIZE BODY.PEEK[])').values()
        for items in found:
            self.assertEqual(items['RFC822.SIZE'], len(items['BODY[]']))
        return [items['BODY[]'].split(b'Subject: ')[1].split(b'\r\n')[0].decode() for items in found]

    def check_copies(self, *options):
        copies = []

        def copy():
            for number in range(COPIES):
                directory = os.path.join(self.server.dir, 'tmp', 'copy-%s-%d' % (self.user, number))
                os.mkdir(directory)
                os.chown(directory, self.server.mail_uid, self.server.mail_gid)
                wait_for(lambda: self.groups > 4 * number, 'groups to be saved')
                lmdb_tool(self.server, 'mdb_copy', *options, os.path.dirname(store_file(self.home())), directory)
                copies.append(os.path.join(directory, 'data.mdb'))

        self.meanwhile(copy)
        groups = [self.check_copy(number, data) for number, data in enumerate(copies)]
        self.note = 'groups %r' % groups

    def test_copy(self):
        self.check_copies()

    def test_compacted_copy(self):
        self.check_copies('-c')

    def test_sessions(self):
        """EXISTS and EXPUNGE come for whole groups, and STATUS counts whole groups."""
        reader, other = self.imap(), self.imap()

        def look():
            result = reader.ok('NOOP')
            exists = [line.num for line in result.lines if line.kind == 'EXISTS']
            expunges = [line for line in result.lines if line.kind == 'EXPUNGE']
            self.assertEqual([count % GROUP for count in exists], [0] * len(exists))
            self.assertEqual(len(expunges) % GROUP, 0)
            self.assertEqual(other.status('Groups', 'MESSAGES')['MESSAGES'] % GROUP, 0)
            here = other.status('Here', 'MESSAGES')['MESSAGES']
            self.assertIn(here, (0, MOVED))
            seen.append(here)
            return len(seen) >= 150 and self.groups >= 10

        seen = []
        reader.select('Groups')
        self.meanwhile(lambda: wait_for(look, 'changes'))
        moves = sum(one != two for one, two in zip(seen, seen[1:]))
        self.note = '%d groups, moved %d times' % (self.groups, moves)
        self.assertGreater(min(self.groups, moves), 1)
