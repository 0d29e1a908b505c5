"""COPY and MOVE."""

from harness import ServerTest, message, message_of_size
from harness.imap import number_set


class CopyMove(ServerTest):
    def setUp(self):
        super().setUp()
        self.client = imap = self.imap()
        imap.create('To')
        self.data = [message('m%d' % number, body='body %d\r\n' % number) for number in range(6)]
        for number, data in enumerate(self.data):
            imap.append('INBOX', data, flags=r'\Flagged key%d' % number, date='0%d-Jan-2003 04:05:06 +0000' % (number + 1))
        imap.select()

    def contents(self, name):
        imap = self.imap()
        imap.ok('EXAMINE ' + name)
        return [imap.body(uid) for uid in imap.uids()]

    def copyuid(self, result):
        code = result.codes()['COPYUID']
        return int(code[0]), number_set(code[1]), number_set(code[2])

    def test_copy(self):
        imap = self.client
        uidvalidity = imap.status('To')['UIDVALIDITY']
        self.assertEqual(self.copyuid(imap.ok('COPY 2,4:5 To')), (uidvalidity, [2, 4, 5], [1, 2, 3]))
        self.assertEqual(imap.uids(), [1, 2, 3, 4, 5, 6])
        self.assertEqual(self.copyuid(imap.ok('UID COPY 1 To')), (uidvalidity, [1], [4]))
        self.assertEqual(self.contents('To'), [self.data[number] for number in (1, 3, 4, 0)])
        self.assertEqual(self.contents('INBOX'), self.data)

    def test_copy_keeps_everything(self):
        imap = self.client
        imap.store('3', r'+FLAGS (\Seen \Answered)')
        before = imap.fetch('3', '(INTERNALDATE RFC822.SIZE FLAGS)')[3]
        imap.ok('COPY 3 To')
        imap.select('To')
        after = imap.fetch('1', '(INTERNALDATE RFC822.SIZE FLAGS)')[1]
        for key in ('INTERNALDATE', 'RFC822.SIZE'):
            self.assertEqual(after[key], before[key])
        self.assertEqual(after['FLAGS'] - {'\\Recent'}, {'\\Flagged', '\\Seen', '\\Answered', 'key2'})

    def test_copy_to_the_same_folder(self):
        imap = self.client
        result = imap.ok('COPY 1:2 INBOX')
        self.assertEqual(self.copyuid(result)[1:], ([1, 2], [7, 8]))
        self.assertEqual(result.numbers('EXISTS')[-1:], [8])
        self.assertEqual(self.contents('INBOX'), self.data + self.data[:2])

    def test_copies_are_independent(self):
        imap = self.client
        imap.ok('COPY 1 To')
        imap.store('1', r'FLAGS (\Deleted)')
        imap.ok('EXPUNGE')
        self.assertEqual(self.contents('To'), self.data[:1])
        imap.select('To')
        self.assertEqual(imap.flags(), {1: {'\\Flagged', 'key0'}})
        imap.ok('COPY 1 INBOX')
        imap.store('1', r'+FLAGS (\Deleted)')
        imap.ok('EXPUNGE')
        self.assertEqual(self.contents('INBOX'), self.data[1:] + self.data[:1])

    def test_copy_again_and_again(self):
        imap = self.client
        for _ in range(7):
            imap.ok('COPY 1:* INBOX')
        imap.ok('NOOP')
        self.assertEqual(len(imap.uids()), 6 * 2 ** 7)
        self.assertEqual(self.contents('INBOX'), self.data * 2 ** 7)
        imap.store('1:700', r'+FLAGS.SILENT (\Deleted)')
        imap.ok('EXPUNGE')
        self.assertEqual(self.contents('INBOX'), (self.data * 2 ** 7)[700:])

    def test_move(self):
        imap, other = self.client, self.imap()
        other.select()
        result = imap.ok('MOVE 2,4:5 To')
        self.assertEqual(self.copyuid(result)[1:], ([2, 4, 5], [1, 2, 3]))
        self.assertEqual(sorted(result.numbers('EXPUNGE'), reverse=True), result.numbers('EXPUNGE'))
        self.assertEqual(len(result.numbers('EXPUNGE')), 3)
        self.assertEqual(imap.uids(), [1, 3, 6])
        self.assertEqual(len(other.ok('NOOP').numbers('EXPUNGE')), 3)
        self.assertEqual(other.uids(), [1, 3, 6])
        self.assertEqual(self.contents('To'), [self.data[number] for number in (1, 3, 4)])
        self.assertEqual(self.contents('INBOX'), [self.data[number] for number in (0, 2, 5)])

    def test_uid_move_keeps_everything(self):
        imap = self.client
        imap.store('3', r'+FLAGS (\Seen \Answered)')
        before = imap.fetch('3', '(INTERNALDATE RFC822.SIZE)')[3]
        self.assertEqual(self.copyuid(imap.ok('UID MOVE 3 To'))[1:], ([3], [1]))
        imap.select('To')
        after = imap.fetch('1', '(INTERNALDATE RFC822.SIZE FLAGS)')[1]
        self.assertEqual(after['INTERNALDATE'], before['INTERNALDATE'])
        self.assertEqual(after['FLAGS'] - {'\\Recent'}, {'\\Flagged', '\\Seen', '\\Answered', 'key2'})
        self.assertEqual(imap.body(1), self.data[2])

    def test_move_to_the_same_folder(self):
        imap = self.client
        result = imap.ok('MOVE 1:2 INBOX')
        self.assertEqual(self.copyuid(result)[1:], ([1, 2], [7, 8]))
        imap.ok('NOOP')
        self.assertEqual(imap.uids(), [3, 4, 5, 6, 7, 8])
        self.assertEqual(self.contents('INBOX'), self.data[2:] + self.data[:2])

    def test_move_everything_there_and_back(self):
        imap = self.client
        for round_number in range(3):
            imap.select('INBOX')
            imap.ok('MOVE 1:* To')
            self.assertEqual(imap.uids(), [])
            imap.select('To')
            imap.ok('MOVE 1:* INBOX')
        self.assertEqual(self.contents('INBOX'), self.data)
        self.assertEqual(self.contents('To'), [])
        self.assertEqual(imap.status('INBOX')['UIDNEXT'], 25)

    def test_what_another_session_expunged(self):
        imap, other = self.client, self.imap()
        other.select()
        other.store('1:2', r'+FLAGS (\Deleted)')
        other.ok('EXPUNGE')
        for command in ('COPY 1:3 To', 'MOVE 1:3 To'):
            result = imap.cmd(command)
            if result.status == 'NO':
                self.assertEqual(result.code, ['EXPUNGEISSUED'])
        imap.ok('NOOP')
        # Nothing came out of nothing, and what was there is in one place or both.
        everything = self.contents('INBOX') + self.contents('To')
        self.assertLessEqual({bytes(item) for item in everything}, set(self.data))
        self.assertLessEqual(set(self.data[2:]), set(everything))

    def test_moved_by_two_sessions(self):
        imap, other = self.client, self.imap()
        imap.create('Third')
        other.select()
        imap.ok('MOVE 1:4 To')
        result = other.cmd('MOVE 3:6 Third')
        self.assertIn(result.status, ('OK', 'NO'))
        other.ok('NOOP')
        imap.ok('NOOP')
        everything = self.contents('INBOX') + self.contents('To') + self.contents('Third')
        self.assertEqual(sorted(everything), sorted(self.data))

    def test_none(self):
        imap = self.client
        self.assertNotIn('COPYUID', imap.ok('UID COPY 100 To').codes())
        self.assertNotIn('COPYUID', imap.ok('UID MOVE 100 To').codes())
        self.assertEqual(self.contents('To'), [])

    def test_many(self):
        imap = self.client
        imap.create('Many')
        data = [message('n%d' % number) for number in range(2500)]
        for start in range(0, 2500, 500):
            imap.append_many('Many', data[start:start + 500])
        imap.select('Many')
        result = imap.ok('COPY 1:* To')
        self.assertEqual(self.copyuid(result)[1:], (list(range(1, 2501)), list(range(1, 2501))))
        result = imap.ok('MOVE 1:2400 INBOX')
        moved = sum((number_set(line.code[2]) for line in result.all('OK') if line.code[:1] == ['COPYUID']), [])
        self.assertEqual(moved, list(range(1, 2401)))
        self.assertEqual(imap.uids(), list(range(2401, 2501)))
        self.assertEqual(self.contents('INBOX'), self.data + data[:2400])
        self.assertEqual(self.contents('To'), data)

    def test_large_message(self):
        imap = self.client
        data = message_of_size(8000000)
        _, uid = imap.append('INBOX', data)
        imap.ok('NOOP')
        imap.ok('UID COPY %d To' % uid)
        imap.ok('UID MOVE %d To' % uid)
        self.assertTrue(self.contents('To') == [data, data])
