"""STATUS of folders, selected and not."""

from harness import ServerTest, message

ALL = 'MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN SIZE HIGHESTMODSEQ'


class Status(ServerTest):
    def test_all_items(self):
        imap = self.imap()
        imap.create('Work')
        empty = imap.status('Work', ALL)
        self.assertEqual((empty['MESSAGES'], empty['RECENT'], empty['UIDNEXT'], empty['UNSEEN'], empty['SIZE']),
                         (0, 0, 1, 0, 0))
        self.assertGreaterEqual(empty['HIGHESTMODSEQ'], 1)
        data = [message(body='x' * 100 * number + '\r\n') for number in range(1, 4)]
        imap.append('Work', data[0])
        imap.append('Work', data[1], flags=r'\Seen')
        imap.append('Work', data[2])
        status = imap.status('Work', ALL)
        self.assertEqual((status['MESSAGES'], status['UIDNEXT'], status['UNSEEN'], status['SIZE']),
                         (3, 4, 2, sum(map(len, data))))
        self.assertEqual(status['RECENT'], 3)
        self.assertEqual(status['UIDVALIDITY'], empty['UIDVALIDITY'])

    def test_follows_every_change(self):
        """Every kind of change by one session shows at once in the STATUS of another."""
        imap, other = self.imap(), self.imap()
        imap.create('Work', 'Other')
        messages = lambda: (other.status('Work')['MESSAGES'], other.status('Work')['UNSEEN'])  # noqa: E731
        self.assertEqual(messages(), (0, 0))
        for count in range(1, 6):
            imap.append('Work', message())
            self.assertEqual(messages(), (count, count))
        imap.select('Work')
        imap.store('1:2', r'+FLAGS (\Seen)')
        self.assertEqual(messages(), (5, 3))
        imap.store('2', r'-FLAGS (\Seen)')
        self.assertEqual(messages(), (5, 4))
        imap.ok('COPY 1:2 Work')
        self.assertEqual(messages(), (7, 5))
        imap.ok('MOVE 1:3 Other')
        self.assertEqual(messages(), (4, 3))
        self.assertEqual(other.status('Other')['MESSAGES'], 3)
        imap.store('4', r'+FLAGS (\Deleted)')
        imap.ok('EXPUNGE')
        self.assertEqual(messages(), (3, 2))
        self.deliver(message(), user=self.user + '+Work')
        self.assertEqual(other.status('INBOX')['MESSAGES'], 1)

    def test_inbox_follows_deliveries(self):
        imap = self.imap()
        for count in range(1, 6):
            self.deliver(message())
            status = imap.status('INBOX', ALL)
            self.assertEqual((status['MESSAGES'], status['UIDNEXT'], status['UNSEEN']), (count, count + 1, count))

    def test_of_the_selected_folder(self):
        imap = self.imap()
        imap.append('INBOX', message())
        imap.select()
        self.deliver(message())
        imap.ok('NOOP')
        self.assertEqual(imap.status('INBOX')['MESSAGES'], 2)

    def test_uidnext_never_falls(self):
        imap = self.imap()
        imap.create('Work')
        imap.append('Work', message())
        imap.append('Work', message())
        imap.select('Work')
        imap.store('1:*', r'+FLAGS (\Deleted)')
        imap.ok('CLOSE')
        status = imap.status('Work')
        self.assertEqual((status['MESSAGES'], status['UIDNEXT']), (0, 3))

    def test_highestmodseq_rises(self):
        imap, other = self.imap(), self.imap()
        imap.create('Work')
        values = [other.status('Work', 'HIGHESTMODSEQ')['HIGHESTMODSEQ']]
        for action in ('append', 'flag', 'keyword', 'expunge'):
            if action == 'append':
                imap.append('Work', message())
                imap.select('Work')
            elif action == 'flag':
                imap.store('1', r'+FLAGS (\Seen)')
            elif action == 'keyword':
                imap.store('1', '+FLAGS (key)')
            else:
                imap.store('1', r'+FLAGS (\Deleted)')
                imap.ok('EXPUNGE')
            values.append(other.status('Work', 'HIGHESTMODSEQ')['HIGHESTMODSEQ'])
            self.assertGreater(values[-1], values[-2], action)

    def test_recent(self):
        """\\Recent belongs to the first session that selects the folder."""
        imap = self.imap()
        imap.append('INBOX', message())
        self.assertEqual(imap.status('INBOX', 'RECENT')['RECENT'], 1)
        self.assertEqual(imap.ok('EXAMINE INBOX').one('RECENT').num, 1)
        imap.ok('UNSELECT')
        self.assertEqual(imap.select().one('RECENT').num, 1)
        self.assertIn('\\Recent', imap.fetch('1', 'FLAGS')[1]['FLAGS'])
        other = self.imap()
        self.assertEqual(other.select().one('RECENT').num, 0)
        imap.append('INBOX', message())
        imap.ok('NOOP')
        self.assertIn('\\Recent', imap.fetch('2', 'FLAGS')[2]['FLAGS'])
        other.ok('NOOP')
        self.assertNotIn('\\Recent', other.fetch('2', 'FLAGS')[2]['FLAGS'])

    def test_unchanged_after_selecting(self):
        imap = self.imap()
        imap.append('INBOX', message(), flags=r'\Seen')
        imap.append('INBOX', message())
        before = imap.status('INBOX', 'MESSAGES UIDNEXT UIDVALIDITY UNSEEN SIZE')
        imap.select()
        imap.ok('UNSELECT')
        self.assertEqual(imap.status('INBOX', 'MESSAGES UIDNEXT UIDVALIDITY UNSEEN SIZE'), before)
        self.assertEqual(self.imap().status('INBOX', 'MESSAGES UIDNEXT UIDVALIDITY UNSEEN SIZE'), before)
