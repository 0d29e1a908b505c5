"""doveadm on the mail of a user."""

import os

from harness import ServerTest, differences, mail_location, message, message_of_size, only


class Doveadm(ServerTest):
    def setUp(self):
        super().setUp()
        self.client = self.imap()
        self.client.select()

    def fill(self, count=3, mailbox='INBOX'):
        self.client.append_many(mailbox, [message('m%d' % number, message_id='%d@x' % number) for number in range(count)])

    def lines(self, *args):
        return self.doveadm(*args).split('\n')[:-1]

    def test_mailbox_commands(self):
        self.doveadm('mailbox create', 'Work', 'Work/Sub', 'Entwürfe')
        self.assertEqual(sorted(self.lines('mailbox list')), ['Entwürfe', 'INBOX', 'Work', 'Work/Sub'])
        self.assertIn('Entw&APw-rfe', self.client.names())
        self.doveadm('mailbox rename', 'Work', 'Play')
        self.assertEqual(sorted(self.lines('mailbox list', 'Play*')), ['Play', 'Play/Sub'])
        self.doveadm('mailbox subscribe', 'Play')
        self.assertEqual(self.lines('mailbox list', '-s'), ['Play'])
        self.doveadm('mailbox unsubscribe', 'Play')
        self.assertEqual(self.lines('mailbox list', '-s'), [])
        self.doveadm('mailbox delete', 'Play/Sub')
        self.doveadm('mailbox delete', '-r', 'Play')
        self.assertEqual(sorted(self.lines('mailbox list')), ['Entwürfe', 'INBOX'])

    def test_mailbox_status(self):
        self.client.create('Work')
        self.fill(3, 'Work')
        imap = self.client.status('Work')
        fields = dict(field.split('=') for field in
                      self.doveadm('mailbox status', 'messages uidnext uidvalidity unseen vsize guid', 'Work').split()[1:])
        self.assertEqual((fields['messages'], fields['uidnext'], fields['uidvalidity'], fields['unseen']),
                         ('3', '4', str(imap['UIDVALIDITY']), '3'))
        self.assertEqual(int(fields['vsize']), self.client.status('Work', 'SIZE')['SIZE'])
        self.assertEqual(len(fields['guid']), 32)
        self.assertIn('Work', self.doveadm('mailbox status', '-t', 'messages', '*') + 'Work')

    def test_mailbox_update(self):
        self.client.create('Work')
        self.fill(2, 'Work')
        uidvalidity = self.client.status('Work')['UIDVALIDITY'] + 1000
        self.doveadm('mailbox update', '--uid-validity', str(uidvalidity), '--min-next-uid', '100', 'Work')
        status = self.client.status('Work')
        self.assertEqual((status['UIDVALIDITY'], status['UIDNEXT']), (uidvalidity, 100))
        self.assertEqual(self.client.append('Work', message()), (uidvalidity, 100))

    def test_fetch(self):
        data = message_of_size(5000)
        self.client.append('INBOX', data, flags=r'\Seen key', date='01-Jan-2020 10:00:00 +0000')
        fields = dict(line.partition(': ')[::2] for line in self.doveadm(
            'fetch', 'uid flags size.virtual size.physical date.received guid mailbox hdr.subject seq user',
            'all').splitlines() if ': ' in line)
        self.assertEqual((fields['uid'], fields['size.virtual'], fields['mailbox'], fields['hdr.subject'], fields['seq']),
                         ('1', '5000', 'INBOX', 'test', '1'))
        self.assertTrue(fields['date.received'].startswith('2020-01-01 10:00:00'))
        self.assertEqual(set(fields['flags'].split()) - {'\\Recent'}, {'\\Seen', 'key'})
        text = self.doveadm('fetch', 'text', 'mailbox', 'INBOX', 'uid', '1')
        self.assertEqual(text.partition('text:\n')[2].rstrip('\f\n').replace('\r', ''),
                         data.decode().replace('\r', '').rstrip('\n'))

    def test_guids(self):
        """A message keeps its GUID over COPY and MOVE's new UID, and two messages have two."""
        self.fill(3)
        self.client.create('Work')
        guids = self.doveadm('fetch', 'guid', 'mailbox', 'INBOX', 'all').split()[1::2]
        self.assertEqual(len(set(guids)), 3)
        self.assertTrue(all(guids))
        self.client.ok('MOVE 1 Work')
        self.assertEqual(self.doveadm('fetch', 'guid', 'mailbox', 'INBOX', 'all').split()[1::2], guids[1:])
        self.assertEqual(len(self.doveadm('fetch', 'guid', 'mailbox', 'Work', 'all').split()), 2)

    def test_search(self):
        self.fill()
        self.client.create('Work')
        self.fill(2, 'Work')
        found = self.lines('search', 'subject', 'm1')
        self.assertEqual(len(found), 2)
        self.assertEqual(len(self.lines('search', 'mailbox', 'Work', 'all')), 2)
        self.assertEqual(self.lines('search', 'mailbox', 'INBOX', 'header', 'message-id', '2@x')[0].split()[1], '3')

    def test_save(self):
        data = message_of_size(3000)
        self.doveadm('save', '-m', 'INBOX', input=data.decode().replace('\r', ''))
        self.client.ok('NOOP')
        self.assertEqual(self.client.body(1), data)

    def test_copy_and_move(self):
        self.fill()
        self.client.create('Work')
        self.doveadm('copy', 'Work', 'mailbox', 'INBOX', 'uid', '1:2')
        self.doveadm('move', 'Work', 'mailbox', 'INBOX', 'uid', '3')
        self.client.ok('NOOP')
        self.assertEqual(self.client.uids(), [1, 2])
        self.client.select('Work')
        self.assertEqual(len(self.client.uids()), 3)

    def test_copy_and_move_between_users(self):
        self.fill()
        other = self.server.new_user()
        self.imap(other).create('From')
        self.doveadm('copy', 'From', 'user', self.user, 'mailbox', 'INBOX', 'uid', '1:2', user=other)
        self.doveadm('move', 'From', 'user', self.user, 'mailbox', 'INBOX', 'uid', '3', user=other)
        imap = self.imap(other)
        imap.select('From')
        self.assertEqual(len(imap.uids()), 3)
        self.assertIn(b'Subject: m2\r\n', imap.body(3))
        self.client.ok('NOOP')
        self.assertEqual(self.client.uids(), [1, 2])

    def test_expunge(self):
        self.fill()
        self.doveadm('expunge', 'mailbox', 'INBOX', 'uid', '1,3')
        self.client.ok('NOOP')
        self.assertEqual(self.client.uids(), [2])
        self.client.create('Work')
        self.fill(2, 'Work')
        self.doveadm('expunge', '-d', 'mailbox', 'Work', 'all')
        self.assertNotIn('Work', self.client.names())

    def test_flags(self):
        self.fill()
        self.doveadm('flags add', r'\Seen key', 'mailbox', 'INBOX', 'uid', '1:2')
        self.doveadm('flags remove', r'\Seen', 'mailbox', 'INBOX', 'uid', '1')
        self.doveadm('flags replace', r'\Flagged', 'mailbox', 'INBOX', 'uid', '3')
        self.client.ok('NOOP')
        self.assertEqual(self.client.flags(), {1: {'key'}, 2: {'\\Seen', 'key'}, 3: {'\\Flagged'}})

    def force_resync(self, mask):
        if self.options.format == 'sdbox':
            # It says that it does what it was told to.
            self.server.run(self.server.doveadm_argv('force-resync', '-u', self.user, mask))
            self.allow_log('Rebuilding index')
        else:
            self.doveadm('force-resync', mask)

    def test_force_resync(self):
        self.fill(10)
        self.client.store('2:3', r'+FLAGS (\Seen key)')
        self.client.store('5', r'+FLAGS (\Deleted)')
        self.client.ok('EXPUNGE')
        before = self.client.status('INBOX', 'MESSAGES UIDNEXT UIDVALIDITY UNSEEN SIZE')
        flags = self.client.flags()
        imap = self.relogin(self.client)
        for _ in range(2):
            self.force_resync('*')
            self.assertEqual(imap.status('INBOX', 'MESSAGES UIDNEXT UIDVALIDITY UNSEEN SIZE'), before)
        imap.select()
        self.assertEqual(imap.flags(), flags)
        self.assertIn(b'Subject: m9\r\n', imap.body(10))

    @only('lmdb', 'maildir')
    def test_force_resync_under_sessions(self):
        self.fill(10)
        self.client.store('2:3', r'+FLAGS (\Seen key)')
        flags = self.client.flags()
        self.force_resync('INBOX')
        self.client.ok('NOOP')
        self.assertEqual(self.client.flags(), flags)
        self.client.store('4', r'+FLAGS (\Flagged)')
        self.force_resync('INBOX')
        imap = self.imap()
        imap.select()
        self.assertEqual(imap.flags(), {**flags, 4: {'\\Flagged'}})

    def test_index(self):
        self.fill(5)
        self.doveadm('index', 'INBOX')
        self.doveadm('index', '*')
        self.client.ok('NOOP')
        self.assertEqual(self.client.uids(), [1, 2, 3, 4, 5])

    def test_import(self):
        """From a Maildir that another system left behind."""
        source = os.path.join(self.server.dir, 'import-' + self.user)
        for folder in ('', '.Sent'):
            for name in ('cur', 'new', 'tmp'):
                os.makedirs(os.path.join(source, folder, name))
        data = [message('m%d' % number) for number in range(4)]
        for number, (path, flags) in enumerate((('cur', ':2,S'), ('cur', ':2,FR'), ('new', ''), ('.Sent/cur', ':2,S'))):
            with open(os.path.join(source, path, '157783680%d.M1P1.host%s' % (number, flags)), 'wb') as file:
                file.write(data[number].replace(b'\r\n', b'\n'))
        for directory, _, names in os.walk(source):
            for name in [''] + names:
                os.chown(os.path.join(directory, name), self.server.mail_uid, self.server.mail_gid)
        self.doveadm('import', 'maildir:' + source, 'Imported', 'all')
        imap = self.client
        imap.select('Imported/INBOX')
        self.assertEqual([imap.body(uid) for uid in imap.uids()], data[:3])
        self.assertEqual(list(imap.flags().values()), [{'\\Seen'}, {'\\Flagged', '\\Answered'}, set()])
        imap.select('Imported/Sent')
        self.assertEqual(imap.body(1), data[3])
        self.assertEqual(imap.flags(), {1: {'\\Seen'}})

    def test_purge(self):
        self.fill(5)
        self.client.store('1:4', r'+FLAGS (\Deleted)')
        self.client.ok('EXPUNGE')
        self.doveadm('purge')
        self.client.ok('NOOP')
        self.assertEqual(self.client.uids(), [5])
        self.assertIn(b'Subject: m4\r\n', self.client.body(5))

    def test_purge_of_deleted_folders(self):
        """Who is killed in the midst of a DELETE leaves the directory of the folder's index."""
        index = os.path.join(self.home(), 'mail', 'index')
        self.fill(1)
        self.client.ok('CREATE Other')
        self.client.select('Other')
        there = sorted(os.listdir(index))
        self.assertEqual(len(there), 2)
        for name in ('fedcba98', 'other'):
            directory = os.path.join(index, name)
            os.mkdir(directory)
            os.chown(directory, self.server.mail_uid, self.server.mail_gid)
            with open(os.path.join(directory, 'dovecot.index.log'), 'w') as file:
                file.write('x')
        self.doveadm('purge')
        self.assertEqual(sorted(os.listdir(index)), sorted(there + ['other']))
        self.client.select('INBOX')
        self.assertEqual(self.client.uids(), [1])

    def test_altmove_batch_and_dump(self):
        """Several commands for one user in one process."""
        self.fill(3)
        if differences.HAVE_DOVEADM_BATCH:
            out = self.doveadm('batch', ':', 'mailbox', 'status', 'messages', 'INBOX', ':', 'fetch', 'uid', 'all',
                               ':', 'flags', 'add', r'\Seen', 'all')
        else:
            out = self.doveadm('mailbox status', 'messages', 'INBOX')
            self.doveadm('flags add', r'\Seen', 'all')
        self.assertIn('messages=3', out)
        self.client.ok('NOOP')
        self.assertEqual(set(map(frozenset, self.client.flags().values())), {frozenset({'\\Seen'})})

    def test_deduplicate(self):
        self.fill(3)
        self.client.ok('COPY 1:3 INBOX')
        self.doveadm('deduplicate', '-m', 'mailbox', 'INBOX', 'all')
        self.client.ok('NOOP')
        self.assertEqual(self.client.uids(), [1, 2, 3])

    def test_missing(self):
        code, text = self.server.doveadm_fails('mailbox', 'status', '-u', self.user, 'messages', 'none')
        self.assertEqual(code, 68)
        self.assertIn("doesn't exist", text)

    def test_several_users(self):
        self.fill(2)
        other = self.server.new_user()
        self.imap(other).append('INBOX', message())
        for user, count in ((self.user, 2), (other, 1)):
            self.assertIn('messages=%d' % count, self.doveadm('mailbox status', 'messages', 'INBOX', user=user))

    def test_other_location(self):
        """-o mail_location reads another store of the same user."""
        place = os.path.join(self.home(), 'elsewhere')
        setting = 'mail_location=' + mail_location(self.options.format, place)
        self.doveadm('save', '-m', 'INBOX', input='Subject: elsewhere\n\nbody\n', settings=(setting,))
        self.assertIn('elsewhere', self.doveadm('fetch', 'hdr.subject', 'all', settings=(setting,)))
        self.assertNotIn('elsewhere', self.doveadm('fetch', 'hdr.subject', 'all'))
