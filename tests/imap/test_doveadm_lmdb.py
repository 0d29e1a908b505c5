"""doveadm lmdb: what it says and does, and its exit codes."""

import itertools
import json
import os
import shutil
import signal
import subprocess

from harness import ServerTest, about_memory, differences, mail_location, message, only
from harness.lmdb import store_file
from harness.server import wait_for

EX_USAGE, EX_DATAERR, EX_NOHOST, EX_TEMPFAIL = 64, 65, 68, 75


@only('lmdb')
class Commands(ServerTest):
    def setUp(self):
        super().setUp()
        self.server.use_doveadm_modules()
        self.client = self.imap()

    def fill(self, count, mailbox='INBOX', first=0):
        self.client.append_many(mailbox, [message('m%d' % number, 'Body number%dx of %s.\r\n' % (number, mailbox))
                                          for number in range(first, first + count)])

    def rows(self, *args, user=None, **keywords):
        """What a command prints, by its own account of the columns."""
        out = self.server.doveadm('-f', 'json', *args[0].split(), '-u', user or self.user, *args[1:], **keywords)
        return json.loads(out) if out else []

    def row(self, *args, **keywords):
        rows = self.rows(*args, **keywords)
        self.assertEqual(len(rows), 1, rows)
        return {name: value if name in ('store', 'mailbox') else int(value) for name, value in rows[0].items()}

    def fails(self, *args, code, settings=()):
        words = args[0].split() + ['-u', self.user] + list(args[1:])
        done = self.server.run(self.server.doveadm_argv(*words, settings=settings), check=False)
        self.assertEqual(done.returncode, code, done)
        return done.stdout, done.stderr

    def search_file(self):
        return os.path.join(self.home(), 'mail', 'search', 'data.mdb')


class Store(Commands):
    @about_memory
    def test_status(self):
        self.fill(3)
        self.client.create('Work', 'Work/Sub')
        row = self.row('lmdb status')
        path = store_file(self.home())
        self.assertEqual((row['store'], row['messages'], row['folders']), (os.path.dirname(path), 3, 3))
        # service imap has vsz_limit = 64G
        self.assertEqual((row['file'], row['limit']), (os.path.getsize(path), 64 << 30))
        self.assertEqual(row['mail'], sum(map(int, self.doveadm('fetch', 'size.physical', 'all').split()[1::2])))
        self.assertTrue(0 < row['used'] <= row['file'], row)

    def test_formats(self):
        """Every formatter of doveadm shows the same."""
        self.fill(2)
        store = self.row('lmdb status')['store']
        out = {name: self.server.doveadm('-f', name, 'lmdb', 'status', '-u', self.user)
               for name in ('tab', 'flow', 'table')}
        names, values = (line.split('\t') for line in out['tab'].splitlines())
        self.assertEqual(dict(zip(names, values))['store'], store)
        self.assertEqual(dict(zip(names, values))['messages'], '2')
        self.assertIn('messages=2 ', out['flow'])
        self.assertEqual(out['table'].splitlines()[0].split(), names)
        self.assertEqual(self.doveadm('lmdb status'), out['table'])

    def test_check(self):
        self.fill(5)
        self.client.create('Work')
        self.client.select()
        self.client.ok('COPY 1:3 Work')
        self.assertEqual(self.doveadm('lmdb check'), '')

    def test_check_finds_damage(self):
        """A message that can't be read."""
        self.fill(5)
        self.close_connections()
        store = os.path.dirname(store_file(self.home()))
        lines = self.server.run(['mdb_dump', '-s', 'messages', store]).stdout.splitlines(keepends=True)
        first = lines.index('HEADER=END\n') + 1
        value = lines[first + 1]
        lines[first + 1] = value[:-2] + ('0' if value[-2] != '0' else '1') + '\n'
        self.server.run(['mdb_load', '-s', 'messages', store], input=''.join(lines))
        shutil.chown(os.path.join(store, 'lock.mdb'), self.server.mail_uid, self.server.mail_gid)
        out, _ = self.fails('lmdb check', code=EX_DATAERR)
        self.assertTrue(out)
        for line in out.splitlines():
            self.assertTrue(line.startswith(store + ' '), out)
        self.assertIn('message', out)

    def test_other_formats(self):
        """For a user whose mail isn't in lmdb there is nothing to do, and that is said."""
        _, error = self.fails('lmdb status', code=EX_NOHOST, settings=('mail_location=maildir:~/Maildir',))
        self.assertIn('no mail in lmdb', error)


class Backup(Commands):
    def directory(self, name='backup'):
        return os.path.join(self.home(), name)

    def test_backup(self):
        """A copy from which messages can be taken, while sessions go on."""
        self.fill(3)
        self.client.select()
        [row] = self.rows('lmdb backup', self.directory())
        self.assertEqual(row['backup'], os.path.join(self.directory(), 'store'))
        self.client.store('1:3', r'+FLAGS (\Deleted)')
        self.client.ok('EXPUNGE')
        done = self.server.run(self.server.doveadm_argv('import', '-u', self.user, mail_location('lmdb', self.directory()),
                                                        '', 'mailbox', 'INBOX', 'subject', 'm1'))
        self.assertIn('is a backup that is used for the first time', done.stderr)
        self.client.ok('NOOP')
        self.assertEqual([self.client.body(uid).split(b'Subject: ')[1].split()[0] for uid in self.client.uids()], [b'm1'])

    def test_refused(self):
        self.fill(1)
        self.doveadm('lmdb backup', self.directory())
        _, err = self.fails('lmdb backup', self.directory(), code=EX_TEMPFAIL)
        self.assertIn('exists already', err)
        _, err = self.fails('lmdb backup', 'relative', code=EX_USAGE)
        self.assertIn('full path', err)
        self.fails('lmdb backup', code=EX_USAGE)


class AllUsers(Commands):
    """-A, which needs a user database that can list its users."""
    config = differences.either('''
userdb {
  driver = passwd-file
  args = @DIR@/users
}
''', '''
userdb passwd-file {
  passwd_file_path = @DIR@/users
}
''')

    @classmethod
    def new_server(cls):
        server = super().new_server()
        with open(os.path.join(server.dir, 'users'), 'w') as file:
            file.write('u1:::::::\nu2:::::::\n')
        return server

    def test_all(self):
        """One after another, each named in its rows; who has no mail in lmdb is left out."""
        other = self.server.new_user()
        self.assertEqual((self.user, other), ('u1', 'u2'))
        self.fill(2)
        self.imap(other).append('INBOX', message())
        for command in ('lmdb status', 'lmdb index rebuild', 'lmdb index status'):
            rows = json.loads(self.server.doveadm('-f', 'json', *command.split(), '-A'))
            self.assertEqual([(row['username'], int(row['messages'])) for row in rows], [('u1', 2), ('u2', 1)], command)
        self.assertEqual(self.server.doveadm('lmdb', 'check', '-A'), '')
        # one directory for each
        directory = os.path.join(self.server.home_root, 'backup')
        os.mkdir(directory)
        os.chown(directory, self.server.mail_uid, self.server.mail_gid)
        self.server.doveadm('lmdb', 'backup', '-A', directory)
        for user in ('u1', 'u2'):
            self.assertTrue(os.path.exists(os.path.join(directory, user, 'store', 'data.mdb')))
        maildir = 'mail_location=maildir:~/Maildir'
        for command in ('lmdb status', 'lmdb check', 'lmdb index rebuild'):
            out = self.server.doveadm('-f', 'json', *command.split(), '-A', settings=(maildir,))
            self.assertEqual(out.strip('[]\n'), '', command)
        out = self.server.doveadm('-f', 'json', 'lmdb', 'index', 'rebuild', '-A', settings=('plugin/lmdb_search=no',))
        self.assertEqual(out.strip('[]\n'), '')


class Index(Commands):
    def setUp(self):
        super().setUp()
        self.client.create('Work')
        self.fill(10)
        self.fill(4, 'Work', first=10)

    def status(self):
        return self.row('lmdb index status')

    def test_status(self):
        row = self.status()
        self.assertEqual((row['messages'], row['waiting'], row['documents'], row['segments']), (14, 14, 0, 0))
        self.doveadm('index', 'INBOX')
        row = self.status()
        self.assertEqual((row['messages'], row['waiting'], row['documents'], row['segments']), (14, 4, 10, 1))
        self.assertEqual(row['file'], os.path.getsize(self.search_file()))
        self.assertTrue(0 < row['used'] <= row['file'] and row['words'] > 10, row)
        self.assertEqual((row['opaque'], row['gone']), (0, 0))
        self.client.select('Work')
        self.assertEqual(self.client.search('BODY umber12x'), [3])
        self.assertEqual(self.status()['waiting'], 0)

    def test_mailboxes(self):
        self.doveadm('index', 'INBOX')
        self.fill(1, first=20)
        rows = self.rows('lmdb index status', '*')
        self.assertEqual(sorted((row['mailbox'], int(row['messages']), int(row['waiting'])) for row in rows),
                         [('INBOX', 11, 1), ('Work', 4, 4)])
        self.assertEqual(self.row('lmdb index status', 'W*', 'none')['mailbox'], 'Work')

    def test_copies_are_one_document(self):
        self.client.select()
        self.client.ok('COPY 1:10 Work')
        self.doveadm('index', '*')
        row = self.status()
        self.assertEqual((row['messages'], row['waiting'], row['documents']), (24, 0, 14))

    def test_rebuild(self):
        row = self.row('lmdb index rebuild')
        self.assertEqual((row['messages'], row['waiting'], row['documents']), (14, 0, 14))
        self.assertEqual(self.rows('lmdb index check'), [])
        self.fill(3, 'Work', first=20)
        self.assertEqual(self.status()['waiting'], 3)
        self.row('lmdb index rebuild')
        self.assertEqual((self.status()['waiting'], self.status()['segments']), (0, 3))
        row = self.row('lmdb index rebuild', '-f')
        self.assertEqual((row['waiting'], row['documents'], row['segments']), (0, 17, 2))
        self.client.select('Work')
        self.assertEqual(self.client.search('BODY umber21x'), [6])

    def test_rebuild_under_sessions(self):
        """A session that has the index open goes on with the new one."""
        self.client.select()
        self.assertEqual(self.client.search('BODY umber7x'), [8])
        self.row('lmdb index rebuild', '-f')
        self.assertEqual(self.client.search('BODY umber7x'), [8])
        self.fill(1, first=30)
        self.client.ok('NOOP')
        self.assertEqual(self.client.search('BODY umber30x'), [11])
        self.assertEqual(self.status()['documents'], 15)

    def test_optimize(self):
        for number in range(3):
            self.fill(1, 'Work', first=20 + number)
            self.doveadm('index', '*')
        self.assertGreater(self.status()['segments'], 1)
        self.client.select()
        self.client.store('1:4', r'+FLAGS.SILENT (\Deleted)')
        self.client.ok('EXPUNGE')
        self.doveadm('purge')
        self.assertEqual(self.status()['gone'], 4)
        row = self.row('lmdb index optimize')
        self.assertEqual((row['segments'], row['documents'], row['gone'], row['waiting']), (1, 13, 0, 0))
        self.assertEqual(self.client.search('BODY umber7x'), [8])

    def test_check(self):
        self.doveadm('index', '*')
        self.assertEqual(self.doveadm('lmdb index check'), '')
        self.close_connections()
        size = os.path.getsize(self.search_file())
        with open(self.search_file(), 'r+b') as file:
            # all but LMDB's meta pages
            file.seek(8192)
            file.write(b'\xff' * (size - 8192))
        _, error = self.fails('lmdb index check', code=EX_DATAERR)
        self.assertIn(self.search_file(), error)
        self.row('lmdb index rebuild', '-f')
        self.assertEqual(self.doveadm('lmdb index check'), '')

    def test_switched_off(self):
        setting = 'plugin/lmdb_search=no'
        for command in ('status', 'rebuild', 'check', 'optimize'):
            out, error = self.fails('lmdb index ' + command, code=EX_NOHOST, settings=(setting,))
            self.assertIn('lmdb_search', error)
            self.assertLessEqual(len(out.splitlines()), 1)
        self.assertFalse(os.path.exists(self.search_file()))

    def interrupt(self):
        """Begin a rebuild, and interrupt it when it shows progress. Returns whether it wasn't complete by then."""
        argv = self.server.doveadm_argv('-v', 'lmdb', 'index', 'rebuild', '-f', '-u', self.user)
        rebuild = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                   cwd=self.server.dir)
        seen = b''
        while b'INBOX: 100/' not in seen:
            data = os.read(rebuild.stderr.fileno(), 1000)
            self.assertTrue(data, seen)
            seen += data
        rebuild.send_signal(signal.SIGINT)
        error = rebuild.stderr.read().decode()
        rebuild.stderr.close()
        if rebuild.wait() == 0:
            return False
        self.assertEqual(rebuild.returncode, EX_TEMPFAIL)
        self.assertIn('Interrupted', error)
        return True

    def test_interrupted(self):
        number = itertools.count()
        self.client.append_many('INBOX', [
            message('long', '\r\n'.join('word%d' % next(number) for _ in range(3000)) + '\r\n') for _ in range(800)])
        # The signal may come too late.
        wait_for(self.interrupt, 'a rebuild that is interrupted')
        row = self.status()
        self.assertTrue(0 < row['waiting'] < row['messages'] == 814, row)
        self.assertEqual(row['documents'], row['messages'] - row['waiting'])
        row = self.row('lmdb index rebuild')
        self.assertEqual((row['waiting'], row['documents']), (0, 814))
        self.assertEqual(self.rows('lmdb index check'), [])


class NewMail(Commands):
    """lmdb_search_when: new mail comes into the index without a search."""

    def waiting(self):
        row = self.row('lmdb index status')
        return row['waiting'], row['documents']

    def come(self, indexed):
        """Mail comes in all ways; indexed(number) is to return when that number of bodies are in the index."""
        self.fill(3)
        indexed(3)
        self.deliver(message('delivered', 'Body number3x.\r\n'))
        indexed(4)
        # so large that it doesn't stay in memory
        self.fill(1, first=4)
        self.client.append('INBOX', message('large', 'Many words.\r\n' * 500000 + 'And number5x.\r\n'))
        indexed(6)
        self.client.create('Copies')
        self.client.select()
        self.client.ok('COPY 1:* Copies')
        self.assertEqual(self.waiting(), (0, 6))
        self.assertEqual([self.client.search('BODY umber%dx' % number) for number in range(6)],
                         [[number + 1] for number in range(6)])
        self.assertEqual(self.client.search('SUBJECT deliver TEXT LMTP'), [4])
        self.assertEqual(self.rows('lmdb index check'), [])
        self.assertEqual(self.waiting(), (0, 6))


class WithDelivery(NewMail):
    config = 'plugin {\n  lmdb_search_when = delivery\n}\n'

    def test_all_ways(self):
        self.come(lambda number: self.assertEqual(self.waiting(), (0, number)))


class InBackground(NewMail):
    config = 'plugin {\n  lmdb_search_when = background\n}\n'

    def test_all_ways(self):
        self.come(lambda number: wait_for(lambda: self.waiting() == (0, number), 'the indexer'))

    def test_no_indexer(self):
        """The next search does it then."""
        self.addCleanup(self.stop_server)
        os.unlink(os.path.join(self.server.dir, 'run', 'indexer'))
        self.expect_log('Warning: Mailbox INBOX: lmdb_search_when = background: Cannot connect to .*/indexer: No such file')
        self.fill(2)
        self.assertEqual(self.waiting(), (2, 0))
        self.client.select()
        self.assertEqual(self.client.search('BODY umber1x'), [2])
        self.assertEqual(self.waiting(), (0, 2))
