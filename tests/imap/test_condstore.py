"""CONDSTORE: MODSEQs."""

from harness import Literal, ServerTest, message
from harness.imap import number_set


class Condstore(ServerTest):
    def setUp(self):
        super().setUp()
        self.client = self.imap()
        self.client.append_many('INBOX', [message('m%d' % number) for number in range(4)])
        self.highest = self.client.select('INBOX', '(CONDSTORE)').code_int('HIGHESTMODSEQ')

    def modseqs(self, imap=None):
        return {uid: items['MODSEQ'] for uid, items in (imap or self.client).fetch('1:*', '(MODSEQ)').items()}

    def test_every_change_rises(self):
        imap = self.client
        last = max(self.modseqs().values())
        self.assertLessEqual(last, self.highest)
        for uid, change in ((2, r'+FLAGS (\Seen)'), (3, '+FLAGS (key)'), (2, r'-FLAGS (\Seen)'), (1, r'FLAGS (\Draft)')):
            result = imap.store(str(uid), change)
            told = result.fetched()[uid]['MODSEQ']
            self.assertGreater(told, last)
            self.assertEqual(self.modseqs()[uid], told)
            last = told
        self.assertEqual(imap.status('INBOX', 'HIGHESTMODSEQ')['HIGHESTMODSEQ'], last)

    def test_other_sessions_see_the_same(self):
        imap = self.client
        imap.store('2', r'+FLAGS (\Seen)')
        other = self.imap()
        other.select('INBOX', '(CONDSTORE)')
        self.assertEqual(self.modseqs(other), self.modseqs())
        other.store('3', r'+FLAGS (\Seen)')
        result = imap.ok('NOOP')
        self.assertEqual(result.fetched()[3]['MODSEQ'], self.modseqs(other)[3])

    def test_changedsince(self):
        imap = self.client
        imap.store('2', r'+FLAGS (\Seen)')
        middle = imap.status('INBOX', 'HIGHESTMODSEQ')['HIGHESTMODSEQ']
        imap.store('4', r'+FLAGS (\Seen)')
        fetch = lambda since: sorted(items['UID'] for items in imap.ok(  # noqa: E731
            'UID FETCH 1:* (FLAGS) (CHANGEDSINCE %d)' % since).fetched().values())
        self.assertEqual(fetch(middle), [4])
        self.assertEqual(fetch(self.highest), [2, 4])
        self.assertEqual(fetch(imap.status('INBOX', 'HIGHESTMODSEQ')['HIGHESTMODSEQ']), [])

    def test_changedsince_over_sessions(self):
        imap = self.relogin(self.client)
        imap.select()
        imap.store('2', r'+FLAGS (\Seen)')
        imap = self.relogin(imap)
        imap.select()
        found = imap.ok('UID FETCH 1:* (FLAGS) (CHANGEDSINCE %d)' % self.highest).fetched()
        self.assertEqual([items['UID'] for items in found.values()], [2])

    def test_new_messages(self):
        imap = self.client
        imap.append('INBOX', message())
        items = imap.fetch('5', '(MODSEQ)')[5]
        self.assertGreater(items['MODSEQ'], self.highest)
        self.deliver(message())
        imap.ok('NOOP')
        self.assertGreater(imap.fetch('6', '(MODSEQ)')[6]['MODSEQ'], items['MODSEQ'])

    def test_unchangedsince(self):
        imap = self.client
        imap.store('2', r'+FLAGS (\Seen)')
        result = imap.ok(r'UID STORE 1:3 (UNCHANGEDSINCE %d) +FLAGS (\Flagged)' % self.highest)
        self.assertEqual(number_set(result.codes()['MODIFIED'][0]), [2])
        self.assertEqual(imap.flags('1:3'), {1: {'\\Flagged'}, 2: {'\\Seen'}, 3: {'\\Flagged'}})
        result = imap.ok(r'UID STORE 4 (UNCHANGEDSINCE %d) +FLAGS.SILENT (\Flagged)' % self.highest)
        self.assertNotIn('MODIFIED', result.codes())
        # SILENT leaves out the flags, not the MODSEQ.
        self.assertIn('MODSEQ', result.fetched()[4])

    def test_unchangedsince_against_another_session(self):
        imap, other = self.client, self.imap()
        other.select()
        modseq = self.modseqs()[1]
        other.store('1', '+FLAGS (theirs)')
        result = imap.ok('UID STORE 1 (UNCHANGEDSINCE %d) +FLAGS (mine)' % modseq)
        self.assertEqual(result.codes()['MODIFIED'], ['1'])
        imap.ok('NOOP')
        self.assertEqual(imap.flags('1'), {1: {'theirs'}})

    def test_unchangedsince_zero(self):
        """0 fails for every message, as RFC 7162 has it for flags that exist."""
        result = self.client.ok(r'UID STORE 1 (UNCHANGEDSINCE 0) +FLAGS (\Seen)')
        self.assertEqual(result.codes()['MODIFIED'], ['1'])
        self.assertEqual(self.client.flags('1'), {1: set()})

    def test_search_modseq(self):
        imap = self.client
        imap.store('2:3', r'+FLAGS (\Seen)')
        modseqs = self.modseqs()
        result = imap.ok('UID SEARCH MODSEQ %d' % (self.highest + 1))
        self.assertEqual([int(arg) for arg in result.one('SEARCH').args if not isinstance(arg, list)], [2, 3])
        self.assertEqual(int(result.one('SEARCH').args[-1][1]), max(modseqs[2], modseqs[3]))

    def test_expunge_raises_the_highest(self):
        imap = self.client
        imap.store('2', r'+FLAGS (\Deleted)')
        before = imap.status('INBOX', 'HIGHESTMODSEQ')['HIGHESTMODSEQ']
        imap.ok('EXPUNGE')
        self.assertGreater(imap.status('INBOX', 'HIGHESTMODSEQ')['HIGHESTMODSEQ'], before)

    def test_silent_changes_are_counted(self):
        imap = self.client
        before = self.modseqs()[1]
        result = imap.store('1', r'+FLAGS.SILENT (\Seen)')
        self.assertGreater(result.fetched()[1]['MODSEQ'], before)

    def test_copies_get_their_own(self):
        imap = self.client
        imap.create('To')
        imap.ok('COPY 1:2 To')
        imap.select('To', '(CONDSTORE)')
        values = self.modseqs()
        self.assertEqual(sorted(values), [1, 2])
        highest = imap.status('To', 'HIGHESTMODSEQ')['HIGHESTMODSEQ']
        imap.append('To', message())
        imap.ok('NOOP')
        self.assertGreater(self.modseqs()[3], max(values.values()))
        self.assertGreater(imap.status('To', 'HIGHESTMODSEQ')['HIGHESTMODSEQ'], highest)

    def test_many_changes(self):
        """Hundreds of changes, logins between them: the MODSEQ of the folder only rises."""
        imap = self.client
        last = self.highest
        for number in range(60):
            for _ in range(10):
                imap.store('1', '%sFLAGS.SILENT (k%d)' % ('+-'[number % 2], number % 5))
            imap.append('INBOX', message())
            if number % 6 == 5:
                imap = self.relogin(imap)
                imap.select('INBOX', '(CONDSTORE)')
            value = imap.status('INBOX', 'HIGHESTMODSEQ')['HIGHESTMODSEQ']
            self.assertGreater(value, last)
            last = value

    def test_append_in_a_condstore_session(self):
        result = self.client.ok('APPEND INBOX ', Literal(message()))
        self.assertTrue(result.has('EXISTS'))
        self.assertIn('MODSEQ', self.client.fetch('5', '(MODSEQ)')[5])
