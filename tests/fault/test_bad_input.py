"""Stores that can't be used: each gives a line in the log that says what to do, a NO, and no change on the disk."""

import contextlib
import hashlib
import os
import poplib
import random
import re
import shutil

import newer_store
from harness import Imap, Literal, ServerTest, about_memory, message, message_of_size
from harness.lmdb import store_file
from harness.server import find_program, mount_tmpfs, private_mounts, unmount
from injection import Injection

CRASH = re.compile(r'Panic|Fatal|killed with signal|core dumped')
COMMANDS = ('SELECT INBOX', 'STATUS Work (MESSAGES)', 'CREATE New', 'DELETE Work', 'RENAME Work Play',
            'SUBSCRIBE Work', 'EXAMINE Work')
PAGE_SIZE = 4096


class Damage(ServerTest):
    formats = ('lmdb',)

    def setUp(self):
        super().setUp()
        self.messages = {}

    def tearDown(self):
        with open(self.server.log_path, 'rb') as file:
            file.seek(self.server.log_offset)
            crashes = [line for line in file.read().decode('utf-8', 'replace').splitlines() if CRASH.search(line)]
        super().tearDown()
        self.assertEqual(crashes, [])

    @property
    def store(self):
        return os.path.dirname(self.data_file)

    @property
    def data_file(self):
        return store_file(self.home())

    def fill(self):
        imap = self.imap()
        imap.create('Work')
        for number in range(12):
            size = (300, 2500, 20000, 100000)[number % 4]
            for mailbox in ('INBOX', 'Work'):
                data = message_of_size(size, number, subject='%s %d' % (mailbox, number))
                uid = imap.append(mailbox, data, flags='key%d' % (number % 3))[1]
                self.messages[mailbox, uid] = data
        imap.select()
        imap.store('1:3', r'+FLAGS (\Seen)')
        self.end_sessions()
        self.save_right_file()

    def end_sessions(self):
        for connection in self.connections:
            if isinstance(connection, Imap) and not connection.file.closed:
                # The server may have ended it already.
                with contextlib.suppress(EOFError, OSError):
                    connection.cmd('LOGOUT')
        self.close_connections()

    def save_right_file(self):
        self.right_file = os.path.join(self.server.dir, 'right-%s' % self.user)
        shutil.copy2(self.data_file, self.right_file)

    def restore(self):
        """Put the right file back, into the same place."""
        if os.path.isdir(self.data_file) and not os.path.islink(self.data_file):
            os.rmdir(self.data_file)
        elif os.path.lexists(self.data_file):
            os.unlink(self.data_file)
        shutil.copy2(self.right_file, self.data_file)
        os.chown(self.data_file, self.server.mail_uid, self.server.mail_gid)

    def digest(self):
        """Hashes of all that mail is kept in."""
        found = {}
        for directory, _, names in os.walk(self.store):
            for name in names:
                path = os.path.join(directory, name)
                # LMDB's lock file has the readers of the moment.
                if name != 'lock.mdb' and os.path.isfile(path):
                    with open(path, 'rb') as file:
                        found[path] = hashlib.sha1(file.read()).hexdigest()
        return found

    # What every client gets

    def is_refused(self, imap, *parts):
        """The answer is NO, or the session has ended with BYE; returns whether it goes on."""
        tag = imap.send(*parts)
        lines = []
        while True:
            try:
                line = imap.read_line()
            except (EOFError, OSError):
                self.assertTrue([line for line in lines if line.kind == 'BYE'],
                                '%r: no BYE before the end: %r' % (parts[0], lines))
                return False
            lines.append(line)
            if line.tag == tag:
                self.assertEqual(line.kind, 'NO', '%r: %r' % (parts[0], lines))
                self.assertNotIn(self.server.dir, line.raw.decode('utf-8', 'replace'))
                return True

    def check_imap(self, commands=COMMANDS):
        imap = self._opened(Imap(self.server.imap_port, transcript=self.transcript))
        imap.user = self.user
        login = imap.cmd('LOGIN %s pass' % self.user)
        if login.status == 'NO':
            return
        for command in commands:
            if not self.is_refused(imap, command):
                return
        for size in (300, 100000):
            if not self.is_refused(imap, 'APPEND INBOX ', Literal(message_of_size(size))):
                return
        self.is_refused(imap, 'APPEND INBOX ', Literal(message(), wait=False), ' ', Literal(message()))
        imap.ok('NOOP')
        imap.ok('LOGOUT')
        imap.close()

    def check_lmtp(self):
        lmtp = self.lmtp()
        lmtp.command('MAIL FROM:<sender@example.org>', 250)
        code, text = lmtp.command('RCPT TO:<%s>' % self.user)
        if code == 250:
            lmtp.command('DATA', 354)
            lmtp.sock.sendall(message() + b'.\r\n')
            code, text = lmtp.reply()
        self.assertEqual(code // 100, 4, text)
        # The connection serves the next one.
        other = self.server.new_user()
        lmtp.command('RSET', 250)
        lmtp.ok(other, message())
        lmtp.close()

    def check_pop3(self):
        with self.assertRaises((poplib.error_proto, EOFError, OSError)):
            self.pop3().stat()

    def check_refused(self, remedy, unchanged=True):
        """No client gets at the mail, the log says what to do, and the disk stays as it was."""
        self.expect_log(remedy)
        # What the services add of their own, beside the line with the remedy.
        self.allow_log(r'Error: (Failed to autocreate mailbox INBOX|.*Couldn.t (init|open) INBOX|.*save failed)')
        before = self.digest()
        for _ in range(2):
            self.check_imap()
            self.check_lmtp()
        self.check_pop3()
        code, text = self.server.doveadm_fails('fetch', '-u', self.user, 'uid', 'mailbox', 'INBOX', 'all')
        self.assertRegex(text, remedy)
        self.close_connections()
        if unchanged:
            self.assertEqual(self.digest(), before)

    # When it is right again

    def check_all_works(self):
        imap = self.imap()
        for mailbox in ('INBOX', 'Work'):
            imap.select(mailbox)
            found = {uid: items['BODY[]'] for uid, items in imap.fetch('1:*', 'BODY.PEEK[]').items()}
            expected = {uid: data for (name, uid), data in self.messages.items() if name == mailbox}
            self.assertEqual(sorted(found), sorted(expected))
            for uid in expected:
                self.assertTrue(found[uid] == expected[uid], '%s UID %d' % (mailbox, uid))
        imap.select()
        self.assertEqual(imap.flags('3:4'), {3: {'key2', '\\Seen'}, 4: {'key0'}})
        uid = imap.append('Work', message('after'))[1]
        self.messages['Work', uid] = message('after')
        imap.store('1', r'+FLAGS (\Flagged)')
        imap.ok('COPY 1 Work')
        imap.select('Work')
        imap.store('*', r'+FLAGS.SILENT (\Deleted)')
        imap.ok('EXPUNGE')
        self.end_sessions()
        self.deliver(message('delivered'))
        imap = self.imap()
        self.assertEqual(imap.status('INBOX')['MESSAGES'], 13)
        imap.select()
        self.assertIn(b'Subject: delivered\r\n', imap.body('13'))
        self.end_sessions()


class Permissions(Damage):
    def check_mode_of(self, name, mode):
        path = os.path.join(self.store, name) if name else self.store
        old = os.stat(path).st_mode & 0o7777
        os.chmod(path, mode)
        try:
            self.check_refused(r'%s.*Permission denied.*check owner and permissions' % re.escape(self.store),
                               unchanged=os.geteuid() == 0)
        finally:
            os.chmod(path, old)
        self.check_all_works()

    def test_store_directory(self):
        self.fill()
        self.check_mode_of('', 0)

    def test_data_file(self):
        self.fill()
        self.check_mode_of('data.mdb', 0)

    def test_data_file_read_only(self):
        self.fill()
        self.check_mode_of('data.mdb', 0o400)

    def test_lmdb_lock_file(self):
        self.fill()
        self.check_mode_of('lock.mdb', 0)

    def test_lock_file(self):
        self.fill()
        self.check_mode_of('store.lock', 0)

    def test_read_only_store_directory(self):
        """Nothing has to be made in it once there is a store."""
        self.fill()
        os.chmod(self.store, 0o500)
        try:
            self.check_all_works()
        finally:
            os.chmod(self.store, 0o700)

    def test_read_only_store_directory_without_lock_file(self):
        self.fill()
        os.unlink(os.path.join(self.store, 'lock.mdb'))
        self.check_mode_of('', 0o500)

    def test_nothing_may_be_made(self):
        home = self.home()
        os.makedirs(os.path.join(home, 'mail'))
        for path in (home, os.path.join(home, 'mail')):
            os.chown(path, self.server.mail_uid, self.server.mail_gid)
        os.chmod(os.path.join(home, 'mail'), 0o500)
        # Core's lock around CREATE
        self.allow_log(r"Couldn't create mailbox list lock .*Permission denied")
        try:
            self.check_refused(r'mkdir\(.*/mail/store\) failed: Permission denied \(check owner and permissions')
        finally:
            os.chmod(os.path.join(home, 'mail'), 0o700)
        self.assertEqual(os.listdir(os.path.join(home, 'mail')), [])
        self.imap().append('INBOX', message())


class Files(Damage):
    def check_damage(self, damage, remedy):
        self.fill()
        damage()
        self.check_refused(remedy)
        self.restore()
        self.check_all_works()

    def replace(self, content):
        with open(self.data_file, 'r+b') as file:
            file.truncate(0)
            file.write(content)

    def test_newer_format(self):
        self.check_damage(lambda: self.assertTrue(newer_store.raise_format(self.data_file)),
                          r'data\.mdb has format 2, but this version knows only 1: update this installation')

    def test_newer_records(self):
        self.check_damage(lambda: self.assertTrue(newer_store.raise_record_version(self.data_file)),
                          r'data\.mdb was written by a newer version: .*update this installation')

    def test_truncated(self):
        self.check_damage(lambda: os.truncate(self.data_file, os.path.getsize(self.data_file) // 2 // 4096 * 4096),
                          r'data\.mdb is damaged: it has only \d+ of \d+ bytes: restore it from a backup')

    def test_truncated_inside_a_page(self):
        self.check_damage(lambda: os.truncate(self.data_file, os.path.getsize(self.data_file) // 3 + 77),
                          r'data\.mdb is damaged: it has only \d+ of \d+ bytes: restore it from a backup')

    def test_truncated_to_two_pages(self):
        self.check_damage(lambda: os.truncate(self.data_file, 2 * PAGE_SIZE),
                          r'data\.mdb is damaged: it has only \d+ of \d+ bytes: restore it from a backup')

    def test_truncated_to_one_page(self):
        self.check_damage(lambda: os.truncate(self.data_file, PAGE_SIZE),
                          r'data\.mdb is damaged: .*restore it from a backup')

    def test_truncated_to_some_bytes(self):
        self.check_damage(lambda: os.truncate(self.data_file, 100), r'data\.mdb is damaged: .*restore it from a backup')

    def test_empty(self):
        self.check_damage(lambda: os.truncate(self.data_file, 0),
                          r'data\.mdb is missing or empty, but there was a store: restore it from a backup, or remove')

    def test_missing(self):
        self.check_damage(lambda: os.unlink(self.data_file),
                          r'data\.mdb is missing or empty, but there was a store: restore it from a backup, or remove')

    def test_garbage(self):
        self.check_damage(lambda: self.replace(random.Random(1).randbytes(200000)),
                          r'data\.mdb is damaged: .*restore it from a backup')

    def test_zeros(self):
        self.check_damage(lambda: self.replace(bytes(200000)), r'data\.mdb is damaged: .*restore it from a backup')

    def test_text(self):
        self.check_damage(lambda: self.replace(b'This is no database.\n' * 1000),
                          r'data\.mdb is damaged: .*restore it from a backup')

    def test_directory(self):
        def damage():
            os.unlink(self.data_file)
            os.mkdir(self.data_file)
        self.check_damage(damage, r"data\.mdb isn't a file")

    def test_pipe(self):
        def damage():
            os.unlink(self.data_file)
            os.mkfifo(self.data_file)
            os.chown(self.data_file, self.server.mail_uid, self.server.mail_gid)
        self.check_damage(damage, r"data\.mdb isn't a file")

    def test_other_program(self):
        """A database of LMDB, but of somebody else."""
        def damage():
            other = os.path.join(self.server.dir, 'other-' + self.user)
            os.mkdir(other)
            self.server.run([find_program('mdb_load'), other],
                            input='VERSION=3\nformat=print\ntype=btree\nHEADER=END\n one\n two\nDATA=END\n')
            shutil.copyfile(os.path.join(other, 'data.mdb'), self.data_file)
        self.check_damage(damage, r'data\.mdb is damaged: .*restore it from a backup')

    def test_store_is_a_file(self):
        self.fill()
        away = self.store + '.away'
        os.rename(self.store, away)
        with open(self.store, 'w'):
            pass
        try:
            self.expect_log(r'%s.*(Not a directory|File exists)' % re.escape(self.store))
            self.check_imap()
            self.check_lmtp()
        finally:
            os.unlink(self.store)
            os.rename(away, self.store)
        self.check_all_works()


class Flipped(Damage):
    """Some byte of the file isn't what it was: what is wrong is never shown, and what is right mostly is."""
    ROUNDS = 16

    def pages(self):
        return os.path.getsize(self.data_file) // PAGE_SIZE

    def look(self):
        """What a session gets, command by command; returns how many answers were as they should be."""
        right = 0
        imap = self._opened(Imap(self.server.imap_port, transcript=self.transcript))
        imap.user = self.user
        try:
            if imap.cmd('LOGIN %s pass' % self.user).status != 'OK':
                return right
            for mailbox in ('INBOX', 'Work'):
                result = imap.cmd('SELECT ' + mailbox)
                if result.status != 'OK':
                    continue
                for (name, uid), data in self.messages.items():
                    if name != mailbox:
                        continue
                    result = imap.cmd('UID FETCH %d (RFC822.SIZE BODY.PEEK[])' % uid)
                    for line in result.all('FETCH'):
                        items = line.fetch_items()
                        if result.status == 'OK' and items.get('UID') == uid and 'BODY[]' in items:
                            self.assertTrue(items['BODY[]'] == data, '%s UID %d is another' % (mailbox, uid))
                            self.assertEqual(items['RFC822.SIZE'], len(data))
                            right += 1
            imap.cmd('LOGOUT')
        except (EOFError, OSError):
            pass
        imap.close()
        return right

    def check_flips(self, choose):
        self.fill()
        rng = random.Random(self.id())
        self.allow_log(r'data\.mdb is damaged: .*restore it from a backup')
        self.allow_log(r'data\.mdb was written by a newer version')
        # Core's own lines about a message that can't be read.
        self.allow_log(r'Error: .*(FETCH|read\(|UID=|Failed to)')
        whole = 0
        for _ in range(self.ROUNDS):
            with open(self.data_file, 'r+b') as file:
                for _ in range(choose(rng)):
                    position = rng.randrange(2 * PAGE_SIZE, self.pages() * PAGE_SIZE)
                    file.seek(position)
                    byte = file.read(1)[0]
                    file.seek(position)
                    file.write(bytes([byte ^ 1 << rng.randrange(8)]))
            right = self.look()
            whole += right == len(self.messages)
            self.close_connections()
            self.restore()
        self.note = '%d of %d without effect' % (whole, self.ROUNDS)
        self.remove_indexes()
        self.check_all_works()

    def test_one_bit(self):
        self.check_flips(lambda rng: 1)

    def test_many_bits(self):
        self.check_flips(lambda rng: rng.randint(5, 200))

    def test_body(self):
        """The body of one message: the others are served, and that one never with other contents."""
        self.fill()
        victim = self.messages['INBOX', 4]
        with open(self.data_file, 'r+b') as file:
            content = file.read()
            position = content.index(victim.replace(b'\r\n', b'\n')[5000:5200])
            file.seek(position)
            file.write(bytes([content[position] ^ 1]))
        self.expect_log(r'data\.mdb is damaged: .*wrong checksum.*restore it from a backup')
        self.allow_log(r'Error: .*(FETCH|read\(|UID=|Failed to)')
        imap = self.imap()
        imap.select()
        try:
            result = imap.cmd('UID FETCH 4 BODY.PEEK[]')
            self.assertNotEqual(result.status, 'OK')
        except EOFError:
            imap = self.imap()
            imap.select()
        for uid in (1, 2, 3, 5, 6, 8, 12):
            self.assertTrue(imap.body(uid) == self.messages['INBOX', uid])
        # Other work goes on.
        imap.append('Work', message('new'))
        self.deliver(message('new'))
        self.end_sessions()
        self.restore()
        self.remove_indexes()
        self.check_all_works()


class Crash(ServerTest):
    """A process that crashes while it writes, as damaged pages may make it do."""
    formats = ('lmdb',)

    def test_last_words(self):
        other, imap = self.imap(), self.imap()
        imap.append('INBOX', message('acknowledged'))
        self.expect_log(r'Error: .*/data\.mdb: the process crashed while writing\. If that happens again, the file is '
                        'damaged: restore it from a backup')
        self.allow_log('child [0-9]+ killed with signal 6')
        with Injection(self.server, self.server.pid_of(imap), 'pwrite64', 'signal=ABRT:when=1'):
            with self.assertRaises((EOFError, OSError)):
                imap.append('INBOX', message('lost'))
        other.append('INBOX', message('next'))
        other.select()
        self.assertEqual([b'Subject: %s\r\n' % subject in other.body(uid)
                          for uid, subject in ((1, b'acknowledged'), (2, b'next'))], [True, True])
        self.assertEqual(other.uids(), [1, 2])


class FileSystem(Damage):
    """A network file system, as the answer of fstatfs() has it."""

    def injection(self, connection, number):
        return Injection(self.server, self.server.pid_of(connection), 'fstatfs',
                         'poke_exit=@arg2=' + number.to_bytes(8, 'little').hex())

    def test_refused(self):
        self.fill()
        for number, name in ((0x6969, 'NFS'), (0xff534d42, 'CIFS'), (0x65735546, 'FUSE')):
            remedy = r'/store is on a network or user-space file system \(%s\), where LMDB isn.t safe: move it to a ' \
                     'local one' % name
            self.expect_log(remedy)
            before = self.digest()
            imap = self.imap()
            with self.injection(imap, number):
                self.assertTrue(self.is_refused(imap, 'SELECT INBOX'))
                self.assertTrue(self.is_refused(imap, 'APPEND INBOX ', Literal(message())))
            # The same session works as soon as the store is on another one.
            imap.select()
            self.end_sessions()
            lmtp = self.lmtp()
            lmtp.begin([self.user])
            with self.injection(lmtp, number):
                lmtp.send_data(message())
                lmtp.sock.sendall(b'.\r\n')
                self.assertEqual(lmtp.reply()[0] // 100, 4)
            lmtp.close()
            self.assertEqual(self.digest(), before)
        self.check_all_works()


class ReadOnly(Damage):
    """A file system that is mounted read-only, as after an error of the disk."""
    mounts = True

    @classmethod
    def new_server(cls):
        private_mounts()
        return super().new_server()

    def setUp(self):
        super().setUp()
        os.mkdir(self.home())
        mount_tmpfs(self.home(), 'mode=755,uid=%d,gid=%d' % (self.server.mail_uid, self.server.mail_gid))

    def tearDown(self):
        try:
            super().tearDown()
        finally:
            unmount(self.home())

    def remount(self, how):
        self.server.run(['mount', '-o', 'remount,' + how, self.home()])

    def test_refused(self):
        self.fill()
        self.remount('ro')
        try:
            # Core's lock around CREATE
            self.allow_log(r'mailboxes\.lock.* failed: Read-only file system')
            self.check_refused(r'/store/.*Read-only file system.*the file system is mounted read-only')
        finally:
            self.remount('rw')
        self.check_all_works()


@about_memory
class AddressSpace(Damage):
    """A vsz_limit too small for the store."""
    config = '''
mail_fsync = never
service imap {
  vsz_limit = 96M
}
service lmtp {
  vsz_limit = 96M
}
service pop3 {
  vsz_limit = 96M
}
'''

    def test_store_too_large(self):
        self.allow_log('raise vsz_limit of the service')
        self.deliver(message('small'))
        imap = self.imap()
        imap.create('Large')
        imap.select()
        imap.append('INBOX', message('also small'))
        self.end_sessions()
        data = message_of_size(10 << 20)
        for _ in range(11):
            self.server.run(self.server.doveadm_argv('save', '-u', self.user, '-m', 'Large'), input=data, text=False)
        before = self.digest()
        self.expect_log(r'data\.mdb has 1\d\d MB, but the address space is limited to 96 MB: set vsz_limit of this '
                        r'service \(default_vsz_limit\) to at least (512M|768M)')
        self.allow_log(r'Error: (Failed to autocreate mailbox INBOX|.*Couldn.t (init|open) INBOX|.*save failed)')
        for _ in range(2):
            self.check_imap(('SELECT INBOX', 'STATUS Large (MESSAGES)', 'CREATE New', 'EXAMINE Large'))
            self.check_lmtp()
        self.check_pop3()
        self.close_connections()
        self.assertEqual(self.digest(), before)
        # Without limit all is there.
        self.assertEqual(self.doveadm('mailbox status', 'messages', '*').split('\n')[:2],
                         ['Large messages=11', 'INBOX messages=2'])

    def test_store_grows_too_large(self):
        """Until it doesn't fit any more: what is there can be read, what is new is refused, and nobody crashes."""
        self.allow_log('raise vsz_limit of the service')
        # Whether the map or LMDB's own memory is too large first depends on how large Dovecot is.
        self.expect_log(r'data\.mdb(: write to bodies: out of memory: raise vsz_limit of this service| has \d+ MB, but '
                        r'the address space is limited to 96 MB: set vsz_limit of this service \(default_vsz_limit\) to '
                        r'at least \d+M)')
        self.allow_log(r'Error: (Failed to autocreate mailbox INBOX|.*Couldn.t (init|open) INBOX|.*save failed)')
        imap, reader = self.imap(), self.imap()
        reader.select()
        data = [message_of_size(1 << 20, number) for number in range(96)]
        saved = 0
        while (result := imap.cmd('APPEND INBOX ', Literal(data[saved]))).status == 'OK':
            saved += 1
        self.assertEqual((result.status, bool(result.code)), ('NO', True), result)
        self.assertGreater(saved, 8)
        self.note = '%d MB fit into 96' % saved
        # The session that was refused goes on; so does the one that has the mailbox open; what is small still fits.
        imap.select()
        reader.ok('NOOP')
        for client in (imap, reader):
            for uid in (1, saved):
                self.assertTrue(client.body(uid) == data[uid - 1])
        imap.store('1', r'+FLAGS (\Seen)')
        imap.ok('CREATE New')
        (code, text), = self.lmtp().deliver(self.user, message_of_size(8 << 20))
        self.assertEqual(code // 100, 4, text)
        self.end_sessions()
        self.assertEqual(self.doveadm('mailbox status', 'messages', 'INBOX').strip(), 'INBOX messages=%d' % saved)
