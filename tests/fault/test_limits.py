"""Much of everything: messages, folders, levels, keywords, sessions, users, and one very large message."""

import hashlib
import os
import shutil

import bulk
from bulk import Threads
from harness import Literal, ServerTest, about_memory, mail_location, message, message_of_size
from harness.imap import Imap, number_set
from harness.lmtp import Lmtp
from injection import Injection

MESSAGES = 300000
FOLDERS = 10000
LEVELS = 50
KEYWORDS = 200
SESSIONS = 300
USERS = 50
MB = 1 << 20


class Limits(ServerTest):
    formats = ('lmdb',)
    # They are about numbers, not about what a power cut leaves.
    config = 'mail_fsync = never\n'


class Messages(Limits):
    def counts(self, imap):
        return bulk.flag_counts(bulk.command(imap, 'FETCH 1:* FLAGS'))

    def test_many_messages(self):
        imap = self.imap()
        bulk.fill(imap, 'INBOX', MESSAGES)
        result = imap.select()
        self.assertEqual(result.one('EXISTS').num, MESSAGES)
        self.assertEqual(result.code_int('UIDNEXT'), MESSAGES + 1)
        self.assertEqual(self.counts(imap), {'': MESSAGES})
        answered = bulk.command(imap, r'STORE 1:* +FLAGS (\Seen)')
        self.assertEqual(bulk.flag_counts(answered), {'\\Seen': MESSAGES})
        bulk.command(imap, 'STORE %d:* +FLAGS.SILENT (key)' % (MESSAGES // 4 + 1))
        expected = {'\\Seen': MESSAGES // 4, '\\Seen key': MESSAGES - MESSAGES // 4}
        self.assertEqual(self.counts(imap), expected)
        imap = self.relogin(imap)
        self.assertEqual(imap.status('INBOX')['UNSEEN'], 0)
        # From the store alone
        imap.logout()
        self.server.wait_until_idle()
        self.remove_indexes()
        imap = self.imap()
        self.assertEqual(imap.select().one('EXISTS').num, MESSAGES)
        self.assertEqual(self.counts(imap), expected)
        number = self.source(MESSAGES)
        self.assertEqual(imap.body(MESSAGES), message('m%d' % number, 'Number %d.\r\n' % number))
        self.expunge_half(imap)

    def source(self, uid):
        """Number of the message of which this one is a copy: each COPY took the first so many."""
        have = 1000
        while have * 2 < uid:
            have *= 2
        while uid > 1000:
            if uid > have:
                uid -= have
            have //= 2
        return uid - 1

    def expunge_half(self, imap):
        """Another session delivers, and one reads, meanwhile."""
        threads = Threads()
        ended = []
        delivered = []

        def deliver():
            lmtp = Lmtp(self.server.lmtp_port)
            while not ended or len(delivered) < 5:
                lmtp.ok(self.user, message('delivered'))
                delivered.append(1)
            lmtp.close()

        def read():
            reader = Imap(self.server.imap_port, self.user)
            count = reader.select().one('EXISTS').num
            while not ended:
                for line in reader.ok('NOOP').lines:
                    count = line.num if line.kind == 'EXISTS' else count - (line.kind == 'EXPUNGE')
            for line in reader.ok('NOOP').lines:
                count = line.num if line.kind == 'EXISTS' else count - (line.kind == 'EXPUNGE')
            self.assertGreaterEqual(count, MESSAGES // 2)
            self.assertLessEqual(count, MESSAGES // 2 + len(delivered) + 1)
            reader.logout()

        threads.start(deliver)
        threads.start(read)
        bulk.command(imap, r'STORE 1:%d +FLAGS.SILENT (\Deleted)' % (MESSAGES // 2))
        gone = [line for line in bulk.command(imap, 'EXPUNGE') if line.endswith(b' EXPUNGE\r\n')]
        ended.append(1)
        threads.join()
        self.assertEqual(len(gone), MESSAGES // 2)
        imap.ok('NOOP')
        count = MESSAGES // 2 + len(delivered)
        self.assertEqual(imap.status('INBOX')['MESSAGES'], count)
        self.assertEqual(self.counts(imap), {'\\Seen key': MESSAGES // 2, '': len(delivered)})
        self.assertEqual(number_set(imap.ok('UID SEARCH RETURN (ALL) ALL').esearch()['ALL']),
                         list(range(MESSAGES // 2 + 1, MESSAGES + len(delivered) + 1)))
        self.note = '%d deliveries meanwhile' % len(delivered)

    def large_message(self):
        """Its parts, size and hash."""
        head, _, body = message_of_size(MB, subject='large').partition(b'\r\n\r\n')
        filler = body[:body.rindex(b'\r\n') + 2]
        parts = [head + b'\r\n\r\n'] + [filler] * (150 * MB // len(filler))
        digest = hashlib.sha1()
        for part in parts:
            digest.update(part)
        return parts, sum(map(len, parts)), digest.hexdigest()

    @about_memory
    def test_large_message(self):
        """Saved, fetched and copied in little memory."""
        parts, size, expected = self.large_message()
        imap = self.imap()
        imap.create('Copies')
        pid = self.server.pid_of(imap)
        with bulk.MemoryWatch(pid) as memory:
            imap.send_raw(b'a APPEND INBOX {%d+}\r\n' % size)
            for part in parts:
                imap.sock.sendall(part)
            imap.send_raw(b'\r\n')
            self.assertEqual(imap.wait('a').status, 'OK')
            imap.select()
            for mailbox, items in (('INBOX', 'BODY.PEEK[]'), ('Copies', 'BODY.PEEK[]')):
                if mailbox == 'Copies':
                    imap.ok('COPY 1 Copies')
                    imap.select('Copies')
                self.assertEqual(imap.fetch('1', '(RFC822.SIZE)')[1]['RFC822.SIZE'], size)
                self.assertEqual(self.download(imap, items), (size, expected))
            self.assertEqual(imap.body(1, 'BODY.PEEK[]<%d.100>' % (120 * MB)),
                             b''.join(parts[119:123])[120 * MB - sum(map(len, parts[:119])):][:100])
            imap.ok('MOVE 1 INBOX')
        self.note = '%d MB of memory' % (memory.largest // MB)
        self.assertGreater(memory.largest, 0)
        self.assertLess(memory.largest, 64 * MB)

    @about_memory
    def test_large_delivery(self):
        parts, size, _ = self.large_message()
        lmtp = self.lmtp()
        lmtp.begin([self.user])
        with bulk.MemoryWatch(self.server.pid_of(lmtp)) as memory:
            for part in parts:
                lmtp.send_data(part)
            lmtp.sock.sendall(b'.\r\n')
            self.assertEqual(lmtp.reply()[0], 250)
        self.note = '%d MB of memory' % (memory.largest // MB)
        self.assertGreater(memory.largest, 0)
        self.assertLess(memory.largest, 64 * MB)
        imap = self.imap()
        imap.select()
        # With the lines that the delivery adds
        total = imap.fetch('1', '(RFC822.SIZE)')[1]['RFC822.SIZE']
        self.assertGreater(total, size)
        self.assertEqual(imap.body(1, 'BODY.PEEK[]<%d.1000>' % (total - 1000)), parts[-1][-1000:])
        self.assertEqual(imap.body(1, 'BODY.PEEK[]<%d.%d>' % (total - size, len(parts[0]))), parts[0])

    def download(self, imap, items):
        """Size and hash of what a FETCH of one message sends."""
        imap.send_raw(b'd FETCH 1 (%s)\r\n' % items.encode())
        line = imap.file.readline()
        size = left = int(line.rstrip()[:-1].rpartition(b'{')[2])
        digest = hashlib.sha1()
        while left > 0:
            data = imap.file.read(min(left, MB))
            self.assertTrue(data)
            digest.update(data)
            left -= len(data)
        self.assertEqual(imap.file.readline(), b')\r\n')
        self.assertTrue(imap.file.readline().startswith(b'd OK'))
        return size, digest.hexdigest()

    def test_many_keywords(self):
        imap = self.imap()
        names = ['Keyword-%d' % number for number in range(KEYWORDS)]
        imap.append_many('INBOX', [message()] * KEYWORDS)
        imap.select()
        for number, name in enumerate(names):
            imap.store(str(number + 1), '+FLAGS.SILENT (%s)' % name)
        imap.store('1', '+FLAGS.SILENT (%s)' % ' '.join(names))
        imap.append('INBOX', message(), flags=' '.join(names))
        imap.create('Other')
        imap.ok('COPY 1:* Other')
        imap.logout()
        self.server.wait_until_idle()
        for _ in range(2):
            imap = self.imap()
            for mailbox in ('INBOX', 'Other'):
                self.assertLessEqual(set(names), set(imap.select(mailbox).one('FLAGS').args[0]))
                found = imap.flags()
                self.assertEqual(found[1], set(names))
                self.assertEqual(found[KEYWORDS + 1], set(names))
                for number in range(1, KEYWORDS):
                    self.assertEqual(found[number + 1], {names[number]})
                self.assertEqual(imap.search('KEYWORD ' + names[-1]), [1, KEYWORDS, KEYWORDS + 1])
            imap.logout()
            self.server.wait_until_idle()
            self.remove_indexes()


class Folders(Limits):
    def test_many_folders(self):
        imap = self.imap()
        names = ['top/%d' % number for number in range(FOLDERS)]
        bulk.commands(imap, ['CREATE ' + name for name in names])
        for name in names[::100]:
            imap.append(name, message(name))
        self.assertEqual(sorted(imap.names()), sorted(names + ['INBOX', 'top']))
        statuses = imap.ok('LIST "" * RETURN (STATUS (MESSAGES UIDVALIDITY UNSEEN))').statuses()
        self.assertEqual({name for name in names if statuses[name]['MESSAGES']}, set(names[::100]))
        self.assertEqual(len({statuses[name]['UIDVALIDITY'] for name in names}), FOLDERS)
        imap.ok('RENAME top other')
        renamed = ['other' + name[3:] for name in names]
        self.assertEqual(sorted(imap.names()), sorted(renamed + ['INBOX', 'other']))
        after = imap.ok('LIST "" * RETURN (STATUS (MESSAGES UIDVALIDITY UNSEEN))').statuses()
        self.assertEqual({name: after['other' + name[3:]] for name in names}, {name: statuses[name] for name in names})
        self.assertEqual(imap.names('%'), ['INBOX', 'other'])
        imap.select(renamed[100])
        self.assertIn(b'Subject: top/100\r\n', imap.body(1))
        imap = self.relogin(imap)
        bulk.commands(imap, ['DELETE ' + name for name in renamed[::2]])
        self.assertEqual(sorted(imap.names()), sorted(renamed[1::2] + ['INBOX', 'other']))

    def test_many_levels(self):
        imap = self.imap()
        levels = ['l%d' % number for number in range(LEVELS)]
        names = ['/'.join(levels[:count]) for count in range(1, LEVELS + 1)]
        imap.create(names[-1])
        self.assertEqual(sorted(imap.names()), sorted(names + ['INBOX']))
        imap.append(names[-1], message('deep'))
        imap.select(names[-1])
        imap.store('1', r'+FLAGS (\Seen key)')
        imap.create(names[20])
        imap.ok('RENAME l0 root')
        self.assertEqual(sorted(imap.names()), sorted(['root' + name[2:] for name in names] + ['INBOX']))
        # Half of the tree below another
        imap.ok('RENAME root/%s INBOX2' % '/'.join(levels[1:25]))
        deepest = '/'.join(['INBOX2'] + levels[25:])
        imap = self.relogin(imap)
        self.remove_indexes()
        imap.select(deepest)
        self.assertIn(b'Subject: deep\r\n', imap.body(1))
        self.assertEqual(imap.flags(), {1: {'\\Seen', 'key'}})
        self.deliver(message())
        imap.select()
        imap.ok('MOVE 1 ' + deepest)
        self.assertEqual(imap.status(deepest)['MESSAGES'], 2)
        imap.ok('DELETE ' + deepest)
        self.assertNotIn(deepest, imap.names())


class Sessions(Limits):
    def test_many_writers(self):
        """16 sessions that save, change, copy and expunge in one mailbox: each finds what it did, and nothing else."""
        writers, rounds = 16, 12
        expected = [None] * writers
        imap = self.imap()
        imap.append_many('INBOX', [message('first')] * 3)
        imap.logout()

        def write(number):
            imap = Imap(self.server.imap_port, self.user)
            imap.select()
            mine = {}
            for count in range(rounds):
                name = 'w%dn%d' % (number, count)
                uid = imap.append('INBOX', message(name), flags='saved')[1]
                mine[uid] = name, {'saved'}
                imap.ok('NOOP')
                imap.store(str(uid), '+FLAGS (own%d)' % number)
                mine[uid][1].add('own%d' % number)
                imap.store(str(uid), '-FLAGS (saved)')
                mine[uid][1].discard('saved')
                code = imap.ok('UID COPY %d INBOX' % uid).code
                copy, = number_set(code[3])
                mine[copy] = name, set(mine[uid][1])
                imap.ok('NOOP')
                imap.store(str(copy), r'FLAGS (\Flagged)')
                mine[copy] = name, {'\\Flagged'}
                if count % 3 == 2:
                    imap.store(str(uid), r'+FLAGS.SILENT (\Deleted)')
                    imap.ok('UID EXPUNGE %d' % uid)
                    del mine[uid]
            expected[number] = mine
            imap.logout()

        threads = Threads()
        for number in range(writers):
            threads.start(write, number)
        threads.join()
        everything = {uid: content for mine in expected for uid, content in mine.items()}
        self.assertEqual(len(everything), sum(map(len, expected)), 'a UID was given twice')
        for _ in range(2):
            imap = self.imap()
            imap.select()
            found = {uid: (items['BODY[]'].split(b'Subject: ')[1].split(b'\r\n')[0].decode(),
                           items['FLAGS'] - {'\\Recent'})
                     for uid, items in imap.fetch('4:*', '(FLAGS BODY.PEEK[])').items()}
            self.assertEqual(found, everything)
            imap.logout()
            self.server.wait_until_idle()
            self.remove_indexes()

    def test_opened_while_it_grows(self):
        """Sessions begin and end while others make the file longer."""
        imap = self.imap()
        imap.create('There')
        imap.logout()
        data = message_of_size(60000)
        ended = []

        def save():
            imap = Imap(self.server.imap_port, self.user)
            while not ended:
                imap.append('INBOX', data)
            imap.logout()

        def open_and_close():
            for _ in range(30):
                imap = Imap(self.server.imap_port, self.user)
                imap.select('There')
                imap.logout()

        def open_slowly():
            imap = self.imap()
            with Injection(self.server, self.server.pid_of(imap), 'fstat,newfstatat', 'delay_exit=20000'):
                imap.select('There')

        writers, threads = Threads(), Threads()
        for _ in range(3):
            writers.start(save)
        try:
            open_slowly()
            for _ in range(3):
                threads.start(open_and_close)
            threads.join()
        finally:
            ended.append(1)
            writers.join()

    def test_many_users(self):
        users = [self.server.new_user() for _ in range(USERS)]

        def work(user):
            imap = Imap(self.server.imap_port, user)
            imap.create('There')
            uids = imap.append_many('INBOX', [message(user)] * 5)
            imap.select()
            imap.store('2:3', r'+FLAGS (\Seen %s)' % user)
            imap.ok('MOVE 1:2 There')
            lmtp = Lmtp(self.server.lmtp_port)
            lmtp.ok(user, message(user))
            lmtp.close()
            imap.ok('NOOP')
            self.assertEqual(imap.flags(), {3: {'\\Seen', user}, 4: set(), 5: set(), 6: set()})
            self.assertEqual(uids, [1, 2, 3, 4, 5])
            imap.select('There')
            self.assertEqual(imap.flags(), {1: set(), 2: {'\\Seen', user}})
            for items in imap.fetch('1:*', 'BODY.PEEK[]').values():
                self.assertEqual(items['BODY[]'], message(user))
            imap.logout()

        threads = Threads()
        for user in users:
            threads.start(work, user)
        threads.join()


class SharedStore(Limits):
    """One store open in 300 sessions of 50 users."""
    config = Limits.config + '''
namespace public {
  type = public
  prefix = Public/
  separator = /
  inbox = no
  list = children
  subscriptions = no
  location = @PUBLIC@
}
'''

    @classmethod
    def new_server(cls):
        server = super().new_server()
        server.config = server.config.replace('@PUBLIC@', mail_location('lmdb', server.home_root + '/public'))
        return server

    def all_fetch(self, sessions):
        """What each session gets, all asked before any has to answer."""
        tags = [(imap, imap.send('UID FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])')) for imap in sessions]
        for imap, tag in tags:
            yield {items['UID']: items['FLAGS'] - {'\\Recent'} for items in imap.wait(tag).fetched().values()}

    def test_many_sessions(self):
        first = self.imap()
        first.create('Public/All')
        first.append_many('Public/All', [message('m%d' % number) for number in range(5)])
        users = [self.server.new_user() for _ in range(USERS)]
        sessions = [self.imap(users[number % USERS]) for number in range(SESSIONS)]
        for imap in sessions:
            self.assertEqual(imap.select('Public/All').one('EXISTS').num, 5)
        self.assertEqual(len({self.server.pid_of(imap) for imap in sessions[::10]}), SESSIONS // 10)
        idlers = [(imap, imap.idle()) for imap in sessions[:20]]
        first.append('Public/All', message('sixth'))
        for imap, tag in idlers:
            self.assertEqual(imap.until(lambda line: line.kind == 'EXISTS')[-1].num, 6)
            imap.done(tag)
        sessions[0].store('3', r'+FLAGS (key)')
        sessions[-1].store('1', r'+FLAGS.SILENT (\Deleted)')
        sessions[-1].ok('EXPUNGE')
        tags = [(imap, imap.send('NOOP')) for imap in sessions]
        for imap, tag in tags:
            imap.wait(tag)
        expected = {2: set(), 3: {'key'}, 4: set(), 5: set(), 6: set()}
        for found in self.all_fetch(sessions):
            self.assertEqual(found, expected)
        # All of them write.
        tags = [(imap, imap.send('APPEND Public/All ', Literal(message()))) for imap in sessions]
        uids = [int(imap.wait(tag).code[2]) for imap, tag in tags]
        self.assertEqual(sorted(uids), list(range(7, 7 + SESSIONS)))
        tags = [(imap, imap.send('LOGOUT')) for imap in sessions]
        for imap, tag in tags:
            self.assertEqual(imap.wait(tag).status, 'OK')
        self.close_connections()
        shutil.rmtree(os.path.join(self.server.home_root, 'public', 'index'))
        imap = self.imap()
        imap.select('Public/All')
        expected.update((uid, set()) for uid in uids)
        found, = self.all_fetch([imap])
        self.assertEqual(found, expected)
