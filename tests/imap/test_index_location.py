"""Indexes elsewhere than beside the mail, or nowhere."""

import os

from harness import Literal, ServerTest, message, only


class Work(ServerTest):
    """What a user does; the classes below do it with different places for the index."""

    def work(self):
        imap, other = self.imap(), self.imap()
        imap.create('Work', 'Work/Sub')
        data = [message('m%d' % number) for number in range(10)]
        imap.append_many('INBOX', data)
        self.deliver(message('delivered'))
        imap.select()
        other.select()
        imap.store('1', r'+FLAGS (\Seen key)')
        self.assertEqual(other.ok('NOOP').fetched()[1]['FLAGS'] - {'\\Recent'}, {'\\Seen', 'key'})
        imap.ok('COPY 1:3 Work')
        imap.ok('MOVE 4:5 Work/Sub')
        imap.store('10', r'+FLAGS (\Deleted)')
        imap.ok('EXPUNGE')
        other.ok('NOOP')
        self.assertEqual(other.uids(), [1, 2, 3, 6, 7, 8, 9, 11])
        imap.ok('RENAME Work Play')
        imap = self.relogin(imap)
        imap.select('Play')
        self.assertEqual([imap.body(uid) for uid in imap.uids()], data[:3])
        self.assertEqual(imap.flags(), {1: {'\\Seen', 'key'}, 2: set(), 3: set()})
        imap.select('Play/Sub')
        self.assertEqual([imap.body(uid) for uid in imap.uids()], data[3:5])
        self.assertEqual(imap.status('INBOX')['MESSAGES'], 8)
        tag = other.idle()
        self.deliver(message())
        other.until(lambda line: line.kind == 'EXISTS')
        other.done(tag)
        other.store('2', r'+FLAGS (\Flagged)')
        other = self.relogin(other)
        other.select()
        self.assertEqual(other.flags()[1], {'\\Seen', 'key'})
        self.assertEqual(other.flags()[2], {'\\Flagged'})
        other.ok('DELETE Play/Sub')
        other.ok('DELETE Play')
        self.assertEqual(other.names(), ['INBOX'])

    def files(self, name, prefix='dovecot.index'):
        """Index files below a directory of the home."""
        return [file for _, _, files in os.walk(os.path.join(self.home(), name)) for file in files
                if file.startswith(prefix)]

    def test_work(self):
        self.work()


class OtherDirectory(Work):
    location = {'index': '~/idx'}

    def test_work(self):
        self.work()
        self.assertTrue(self.files('idx'))
        self.assertFalse(self.files('mail'))

    @only('lmdb')
    def test_many_sessions_at_the_beginning(self):
        """The first access of all by several sessions at once."""
        sessions = [self.imap() for _ in range(6)]
        tags = [imap.send('SELECT INBOX') for imap in sessions]
        for imap, tag in zip(sessions, tags):
            self.assertEqual(imap.wait(tag).status, 'OK')
        tags = [imap.send('APPEND INBOX ', Literal(message())) for imap in sessions]
        uids = [int(imap.wait(tag).code[2]) for imap, tag in zip(sessions, tags)]
        self.assertEqual(sorted(uids), [1, 2, 3, 4, 5, 6])


class ControlDirectory(Work):
    location = {'index': '~/idx', 'control': '~/ctl'}


class Memory(Work):
    """No index on disk, as far as Dovecot's other formats allow that."""
    location = {'index': 'MEMORY'}
    formats = ('lmdb', 'maildir')

    def test_work(self):
        self.work()
        self.assertFalse(self.files(''))

    def test_modseqs_are_not_offered(self):
        imap = self.imap()
        result = imap.select('INBOX', '(CONDSTORE)')
        self.assertIn('NOMODSEQ', result.codes())

    def test_pop3_and_doveadm(self):
        self.deliver(message('one'))
        self.deliver(message('two'))
        pop3 = self.pop3()
        uidls = pop3.uidls()
        pop3.dele(1)
        pop3.quit()
        self.assertEqual(self.pop3().uidls(), {1: uidls[2]})
        self.assertIn('two', self.doveadm('fetch', 'hdr.subject', 'all'))
        self.doveadm('flags add', r'\Seen', 'all')
        self.assertEqual(self.imap().status('INBOX')['UNSEEN'], 0)

    def test_two_sessions_with_random_flags(self):
        imap, other = self.imap(), self.imap()
        imap.append_many('INBOX', [message()] * 20)
        imap.select()
        other.select()
        for number in range(40):
            (imap, other)[number % 2].store(str(number % 20 + 1), '+FLAGS (key%d)' % (number % 3))
        expected = {uid: {'key%d' % ((uid - 1) % 3), 'key%d' % ((uid + 19) % 3)} for uid in range(1, 21)}
        for session in (imap, other):
            session.ok('NOOP')
            self.assertEqual(session.flags(), expected)
        third = self.imap()
        third.select()
        self.assertEqual(third.flags(), expected)
