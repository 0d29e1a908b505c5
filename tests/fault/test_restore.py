"""Older files put back from a backup: no UID means two messages, and the content is right."""

import os
import shutil

from harness import ServerTest, message


class Restore(ServerTest):
    formats = ('lmdb',)

    def setUp(self):
        super().setUp()
        imap = self.imap()
        imap.create('Work')
        for name in ('INBOX', 'Work'):
            imap.append_many(name, [message('old %d' % number) for number in range(5)])
        imap.select()
        imap.store('2', r'+FLAGS (\Seen key)')
        imap.store('5', r'+FLAGS (\Deleted)')
        imap.ok('EXPUNGE')
        imap.select('Work')
        imap.ok('CLOSE')
        imap.logout()
        self.saved = {}

    def path(self, name):
        return os.path.join(self.home(), 'mail', name)

    def save(self, name):
        """Keep a copy of a directory of the stopped server."""
        self.saved[name] = os.path.join(self.server.dir, 'saved-%s-%s' % (name, self.user))
        shutil.copytree(self.path(name), self.saved[name])

    def put_back(self, name):
        shutil.rmtree(self.path(name))
        shutil.copytree(self.saved[name], self.path(name))
        for directory, _, names in os.walk(self.path(name)):
            for entry in [''] + names:
                os.chown(os.path.join(directory, entry), self.server.mail_uid, self.server.mail_gid)

    def work(self):
        """What happens after the backup."""
        imap = self.imap()
        imap.append_many('INBOX', [message('new %d' % number) for number in range(4)])
        imap.select()
        imap.store('1', r'+FLAGS (\Deleted)')
        imap.store('3', r'+FLAGS (\Flagged late)')
        imap.store('2', r'-FLAGS (key)')
        imap.ok('EXPUNGE')
        imap.ok('MOVE 2 Work')
        imap.logout()
        self.deliver(message('delivered'))

    def seen(self, mailbox='INBOX'):
        """(UIDVALIDITY, UID -> (subject, flags), UIDNEXT)."""
        imap = self.imap()
        result = imap.select(mailbox)
        found = {}
        for uid, items in imap.fetch('1:*', '(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])').items():
            subject, = [value for key, value in items.items() if key.startswith('BODY[')]
            found[uid] = subject.strip().decode(), items['FLAGS'] - {'\\Recent'}
        imap.logout()
        return result.code_int('UIDVALIDITY'), found, result.code_int('UIDNEXT')

    def test_older_index(self):
        self.stop_server()
        self.save('index')
        self.server.start()
        self.work()
        expected = self.seen(), self.seen('Work')
        self.stop_server()
        self.put_back('index')
        self.server.start()
        self.assertEqual((self.seen(), self.seen('Work')), expected)
        _, uid = self.imap().append('INBOX', message())
        self.assertEqual(uid, expected[0][2])

    def test_older_index_with_flags_in_its_journal(self):
        """Flags that wait in an old journal must not come over those of later."""
        imap = self.imap()
        imap.select()
        imap.store('1', r'+FLAGS (\Answered)')
        imap.close()
        self.stop_server()
        self.save('index')
        self.server.start()
        imap = self.imap()
        imap.select()
        imap.store('1', r'-FLAGS (\Answered)')
        imap.store('1', r'+FLAGS (\Draft)')
        imap.ok('CLOSE')
        imap.logout()
        expected = self.seen()
        self.stop_server()
        self.put_back('index')
        self.server.start()
        self.assertEqual(self.seen(), expected)
        self.remove_indexes()
        self.assertEqual(self.seen(), expected)

    def test_older_index_that_is_repaired(self):
        """No journal can be trusted then, and the older flags must not come over the store's."""
        self.stop_server()
        self.save('index')
        self.server.start()
        self.work()
        expected = self.seen()
        self.stop_server()
        self.put_back('index')
        self.server.start()
        # With Dovecot's repair of the index; its warning goes to stderr.
        self.server.run(self.server.doveadm_argv('force-resync', '-u', self.user, '-f', 'INBOX'))
        for _ in range(2):
            self.assertEqual(self.seen(), expected)
            self.server.wait_until_idle()
            # From the store alone
            self.remove_indexes()

    def test_older_index_several_times(self):
        self.stop_server()
        self.save('index')
        self.server.start()
        for _ in range(3):
            self.work()
            expected = self.seen()
            self.stop_server()
            self.put_back('index')
            self.server.start()
            self.assertEqual(self.seen(), expected)

    def test_older_store(self):
        """A copy of data.mdb put back under a newer index: a new UIDVALIDITY, and the log says why."""
        before = self.seen()
        self.stop_server()
        self.save('store')
        self.server.start()
        self.work()
        after = self.seen()
        self.stop_server()
        self.put_back('store')
        self.server.start()
        self.expect_log('(?i)INBOX.*(older|restored|backup|ahead)')
        self.allow_log('(?i)(older|restored|backup|ahead)')
        uidvalidity, messages, _ = self.seen()
        self.assertGreater(uidvalidity, after[0])
        self.assertEqual(messages.keys(), before[1].keys())
        self.assertEqual(list(messages.values()), list(before[1].values()))
        imap = self.imap()
        imap.append('INBOX', message('after the restore'))
        imap.select()
        self.assertIn(b'Subject: after the restore', imap.body(max(imap.uids())))
        again = self.seen()
        self.assertEqual(again[0], uidvalidity)

    def test_older_store_without_index(self):
        """Where no newer view is left nothing shows that the store is old, and everything in it is as it was."""
        before = self.seen()
        self.stop_server()
        self.save('store')
        self.server.start()
        self.work()
        self.stop_server()
        self.put_back('store')
        self.remove_indexes()
        self.server.start()
        self.assertEqual(self.seen(), before)

    def test_backup_without_index(self):
        """A copy made by doveadm lmdb backup knows that it is one: no UID means two messages, whatever else is lost."""
        self.server.use_doveadm_modules()
        before = self.seen()
        backup = os.path.join(self.home(), 'backup')
        self.doveadm('lmdb backup', backup)
        self.work()
        after = self.seen()
        self.stop_server()
        self.saved['store'] = os.path.join(backup, 'store')
        self.put_back('store')
        self.remove_indexes()
        self.server.start()
        self.expect_log('is a backup that is used for the first time')
        # before anybody looks at a folder
        self.deliver(message('delivered'))
        uidvalidity, messages, uidnext = self.seen()
        self.assertGreater(uidvalidity, after[0])
        self.assertEqual(list(messages.values()), list(before[1].values()) + [('Subject: delivered', set())])
        self.assertGreater(self.seen('Work')[0], after[0])
        self.restart_server()
        self.assertEqual(self.seen(), (uidvalidity, messages, uidnext))

    def test_backup_under_a_newer_index(self):
        self.server.use_doveadm_modules()
        backup = os.path.join(self.home(), 'backup')
        self.doveadm('lmdb backup', backup)
        before = self.seen()
        self.work()
        after = self.seen()
        self.stop_server()
        self.saved['store'] = os.path.join(backup, 'store')
        self.put_back('store')
        self.server.start()
        self.expect_log('is a backup that is used for the first time')
        uidvalidity, messages, _ = self.seen()
        self.assertGreater(uidvalidity, after[0])
        self.assertEqual(list(messages.values()), list(before[1].values()))

    def test_store_and_index_together(self):
        """Both of one moment: nothing is to be noticed."""
        before = self.seen()
        self.stop_server()
        self.save('store')
        self.save('index')
        self.server.start()
        self.work()
        self.stop_server()
        self.put_back('store')
        self.put_back('index')
        self.server.start()
        self.assertEqual(self.seen(), before)

    def test_store_of_another_user(self):
        """A home that got another user's index: it is thrown away."""
        other = self.server.new_user()
        imap = self.imap(other)
        imap.create('Work')
        imap.append_many('INBOX', [message('theirs %d' % number) for number in range(9)])
        imap.select()
        imap.store('1:9', r'+FLAGS (\Flagged theirs)')
        imap.logout()
        expected = self.seen(), self.seen('Work')
        self.stop_server()
        shutil.rmtree(self.path('index'))
        shutil.copytree(os.path.join(self.home(other), 'mail', 'index'), self.path('index'))
        for directory, _, names in os.walk(self.path('index')):
            for entry in [''] + names:
                os.chown(os.path.join(directory, entry), self.server.mail_uid, self.server.mail_gid)
        self.server.start()
        self.assertEqual((self.seen(), self.seen('Work')), expected)
