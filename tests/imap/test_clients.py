"""Programs that people read mail with: mbsync and mutt."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

from harness import ServerTest, message
from harness.message import MULTIPART
from harness.server import TIMEOUT, find_program


class Clients(ServerTest):
    def setUp(self):
        super().setUp()
        self.work = os.path.join(self.server.dir, 'client-' + self.user)
        os.mkdir(self.work)

    def write(self, name, text):
        path = os.path.join(self.work, name)
        with open(path, 'w') as file:
            file.write(text)
        os.chmod(path, 0o600)
        return path

    def environment(self):
        return dict(os.environ, HOME=self.work, LC_ALL='C.UTF-8', TERM='vt100', LINES='24', COLUMNS='80')

    def run_program(self, *argv):
        return self.server.run([find_program(argv[0])] + list(argv[1:]), env=self.environment())

    def run_in_terminal(self, *argv):
        """Run a program that wants a terminal, until it ends."""
        terminal, slave = pty.openpty()
        # Without a size newer curses don't begin.
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 80, 0, 0))
        shown = b''
        process = subprocess.Popen([find_program(argv[0])] + list(argv[1:]), stdin=slave, stdout=slave, stderr=slave,
                                   env=self.environment(), cwd=self.work, start_new_session=True)
        os.close(slave)
        end = time.monotonic() + TIMEOUT
        try:
            while process.poll() is None:
                if time.monotonic() > end:
                    self.fail('%s did not end; it showed\n%r' % (argv[0], shown[-3000:]))
                if select.select([terminal], [], [], 0.1)[0]:
                    try:
                        shown += os.read(terminal, 65536)
                    except OSError:
                        break
            self.assertEqual(process.wait(TIMEOUT), 0, shown[-3000:])
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            os.close(terminal)


class Mbsync(Clients):
    def setUp(self):
        super().setUp()
        self.box = os.path.join(self.work, 'mail')
        os.mkdir(self.box)
        self.config = self.write('mbsyncrc', '''
IMAPAccount here
Host 127.0.0.1
Port %d
User %s
Pass pass
SSLType None
AuthMechs LOGIN

IMAPStore far
Account here

MaildirStore near
Path %s/
Inbox %s/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Remove Both
Expunge Both
SyncState *
CopyArrivalDate yes
''' % (self.server.imap_port, self.user, self.box, self.box))

    def sync(self):
        self.run_program('mbsync', '-c', self.config, '-a')

    def local(self, folder='INBOX'):
        """File name -> contents of a local folder."""
        found = {}
        for directory in ('cur', 'new'):
            path = os.path.join(self.box, folder, directory)
            for name in os.listdir(path):
                with open(os.path.join(path, name), 'rb') as file:
                    found[os.path.join(path, name)] = file.read()
        return found

    def subjects(self, folder='INBOX'):
        return sorted(line[9:].decode() for data in self.local(folder).values() for line in data.splitlines()
                      if line.startswith(b'Subject: '))

    def test_both_ways(self):
        imap = self.imap()
        imap.create('Work', 'Work/Sub')
        imap.append_many('INBOX', [message('m%d' % number) for number in range(20)])
        imap.append('Work/Sub', MULTIPART)
        self.sync()
        self.assertEqual(self.subjects(), sorted('m%d' % number for number in range(20)))
        stored, = self.local('Work/Sub').values()
        # mbsync adds a line of its own to the header.
        self.assertEqual(re.sub(rb'X-TUID: .*\n', b'', stored.replace(b'\r', b'')), MULTIPART.replace(b'\r', b''))
        # Local changes: a new message, a flag, one deleted.
        names = {data.split(b'Subject: ')[1].split()[0]: path for path, data in self.local().items()}
        os.unlink(names[b'm3'])
        flagged = names[b'm5']
        directory, name = os.path.split(flagged)
        os.rename(flagged, os.path.join(os.path.dirname(directory), 'cur', name.partition(':')[0] + flags_of(name, 'FS')))
        with open(os.path.join(self.box, 'INBOX', 'new', '1600000000.1.local'), 'wb') as file:
            file.write(message('from here').replace(b'\r', b''))
        # And changes on the server.
        imap.select()
        imap.store('8', r'+FLAGS (\Answered)')
        imap.store('10', r'+FLAGS (\Deleted)')
        imap.ok('EXPUNGE')
        self.deliver(message('from there'))
        self.sync()
        imap.ok('NOOP')
        expected = sorted(['m%d' % number for number in range(20) if number not in (3, 9)] + ['from here', 'from there'])
        self.assertEqual(self.subjects(), expected)
        self.assertEqual(sorted(imap.body(uid, 'BODY.PEEK[HEADER.FIELDS (SUBJECT)]')[9:].strip().decode()
                                for uid in imap.uids()), expected)
        self.assertEqual(imap.flags('6')[6], {'\\Flagged', '\\Seen'})
        # Nothing more to do: two runs leave all as it is.
        before = sorted(self.local())
        flags = imap.flags()
        self.sync()
        self.sync()
        self.assertEqual(sorted(self.local()), before)
        imap.ok('NOOP')
        self.assertEqual(imap.flags(), flags)

    def test_from_here(self):
        """An account filled from a local Maildir, folders and all."""
        for folder in ('INBOX', 'Sent', 'Archive'):
            for name in ('cur', 'new', 'tmp'):
                os.makedirs(os.path.join(self.box, folder, name))
            for number in range(10):
                with open(os.path.join(self.box, folder, 'cur', '160000000%d.1.local:2,S' % number), 'wb') as file:
                    file.write(message('%s%d' % (folder, number)).replace(b'\r', b''))
        self.sync()
        imap = self.imap()
        self.assertEqual(imap.names(), ['Archive', 'INBOX', 'Sent'])
        for folder in imap.names():
            imap.select(folder)
            self.assertEqual([flags for flags in imap.flags().values()], [{'\\Seen'}] * 10)

    def test_after_index_loss(self):
        """The client finds its UIDVALIDITY and UIDs again: nothing is fetched or sent twice."""
        imap = self.imap()
        imap.append_many('INBOX', [message('m%d' % number) for number in range(20)])
        imap.logout()
        self.sync()
        before = sorted(self.local())
        self.server.wait_until_idle()
        if self.options.format == 'lmdb':
            self.remove_indexes()
        self.sync()
        self.assertEqual(sorted(self.local()), before)
        self.assertEqual(self.imap().status('INBOX')['UIDNEXT'], 21)


class Mutt(Clients):
    def mutt(self, *commands):
        config = self.write('muttrc', '\n'.join((
            'set folder = "imap://%s:pass@127.0.0.1:%d/"' % (self.user, self.server.imap_port), 'set spoolfile = +INBOX',
            'set ssl_starttls = no', 'set ssl_force_tls = no', 'set header_cache = "%s/cache"' % self.work,
            'set message_cachedir = "%s/bodies"' % self.work, 'set move = no', 'set delete = yes', 'set wait_key = no',
            'set mark_old = no', 'unset imap_passive', 'set confirmcreate = no', 'set confirmappend = no',
            'set auto_tag = yes', 'set copy = no', 'unset prompt_after', '')))
        self.run_in_terminal('mutt', '-F', config, '-f', '+INBOX', *sum((['-e', command] for command in commands), []))

    def push(self, keys):
        return "push '%s'" % keys

    def test_read_flag_delete_copy(self):
        imap = self.imap()
        imap.create('Kept')
        imap.append_many('INBOX', [message('m%d' % number) for number in range(1, 8)])
        imap.append('INBOX', MULTIPART)
        os.mkdir(os.path.join(self.work, 'bodies'))
        # Flag the messages of one subject, delete others, copy one, read one, and leave.
        self.mutt(self.push('<tag-pattern>~s m3<enter><tag-prefix><flag-message><untag-pattern>.<enter>'
                            '<delete-pattern>~s m[56]<enter>'
                            '<limit>~s m7<enter><copy-message>+Kept<enter><limit>all<enter>'
                            '<first-entry><display-message><exit>'
                            '<sync-mailbox><quit>'))
        imap.select()
        self.assertEqual(imap.uids(), [1, 2, 3, 4, 7, 8])
        flags = imap.flags()
        self.assertIn('\\Flagged', flags[3])
        self.assertIn('\\Seen', flags[1])
        self.assertEqual(imap.status('Kept')['MESSAGES'], 1)

    def test_cached_headers_stay_right(self):
        """mutt keeps headers by UIDVALIDITY and MODSEQ; what it shows follows the server, also after index loss."""
        imap = self.imap()
        imap.append_many('INBOX', [message('m%d' % number) for number in range(1, 30)])
        os.mkdir(os.path.join(self.work, 'bodies'))
        self.mutt('set imap_qresync = yes', 'set imap_condstore = yes', self.push('<quit>'))
        imap.select()
        imap.store('1:5', r'+FLAGS (\Deleted)')
        imap.ok('EXPUNGE')
        imap.store('10', r'+FLAGS (\Flagged)')
        imap.logout()
        self.server.wait_until_idle()
        if self.options.format == 'lmdb':
            self.remove_indexes()
        # By the flag that another client set, mutt finds what to delete.
        self.mutt('set imap_qresync = yes', 'set imap_condstore = yes',
                  self.push('<delete-pattern>~F<enter><sync-mailbox><quit>'))
        imap = self.imap()
        imap.select()
        self.assertEqual(imap.uids(), [6, 7, 8, 9] + list(range(11, 30)))


def flags_of(name, flags):
    """The flags of a Maildir name, with these added."""
    return ':2,' + ''.join(sorted(set(name.partition(':2,')[2]) | set(flags)))
