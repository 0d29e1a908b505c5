"""EXPUNGE, UID EXPUNGE, CLOSE and UNSELECT."""

from harness import ServerTest, message


class Expunge(ServerTest):
    def setUp(self):
        super().setUp()
        self.client = self.imap()
        self.client.append_many('INBOX', [message('m%d' % number) for number in range(10)])
        self.client.select()

    def test_expunge(self):
        imap = self.client
        imap.store('2,3,7', r'+FLAGS (\Deleted)')
        result = imap.ok('EXPUNGE')
        left = list(range(1, 11))
        for number in result.numbers('EXPUNGE'):
            del left[number - 1]
        self.assertEqual(left, [1, 4, 5, 6, 8, 9, 10])
        self.assertEqual(imap.uids(), left)
        self.assertEqual(imap.search('ALL', uid=False), list(range(1, 8)))

    def test_uid_expunge(self):
        imap = self.client
        imap.store('1:5', r'+FLAGS (\Deleted)')
        imap.ok('UID EXPUNGE 2:3,7')
        self.assertEqual(imap.uids(), [1, 4, 5, 6, 7, 8, 9, 10])
        self.assertEqual(imap.search('DELETED'), [1, 4, 5])

    def test_close_and_unselect(self):
        imap = self.client
        imap.store('1', r'+FLAGS (\Deleted)')
        imap.ok('UNSELECT')
        imap.select()
        self.assertEqual(len(imap.uids()), 10)
        result = imap.ok('CLOSE')
        self.assertFalse(result.has('EXPUNGE'))
        imap.bad('FETCH 1 FLAGS')
        imap.select()
        self.assertEqual(imap.uids(), list(range(2, 11)))

    def test_select_another_does_not_expunge(self):
        imap = self.client
        imap.create('Other')
        imap.store('1', r'+FLAGS (\Deleted)')
        imap.select('Other')
        imap.select()
        self.assertEqual(len(imap.uids()), 10)

    def test_everything_and_anew(self):
        imap = self.client
        imap.store('1:*', r'+FLAGS (\Deleted)')
        imap.ok('EXPUNGE')
        self.assertEqual(imap.uids(), [])
        self.assertEqual(imap.append('INBOX', message())[1], 11)
        imap = self.relogin(imap)
        result = imap.select()
        self.assertEqual(result.one('EXISTS').num, 1)
        self.assertEqual(imap.uids(), [11])

    def test_another_session(self):
        imap, other = self.client, self.imap()
        other.select()
        imap.store('1:3', r'+FLAGS (\Deleted)')
        imap.ok('EXPUNGE')
        # Numbers must not move during FETCH, STORE and SEARCH.
        result = other.cmd('FETCH 4:5 (UID)')
        self.assertFalse(result.has('EXPUNGE'))
        self.assertEqual([result.fetched()[num]['UID'] for num in (4, 5)], [4, 5])
        self.assertFalse(other.cmd('SEARCH ALL').has('EXPUNGE'))
        left = list(range(1, 11))
        for number in other.ok('NOOP').numbers('EXPUNGE'):
            del left[number - 1]
        self.assertEqual(left, list(range(4, 11)))
        self.assertEqual(other.uids(), list(range(4, 11)))

    def test_reading_what_another_session_expunged(self):
        """A session that still sees a message may read it or hear that it is gone, and never gets another one."""
        imap, other = self.client, self.imap()
        other.select()
        body = other.body(5)
        imap.store('1:3', r'+FLAGS (\Deleted)')
        imap.ok('EXPUNGE')
        result = other.cmd('FETCH 2,5 (UID BODY.PEEK[])')
        items = result.fetched()
        self.assertEqual(items[5]['BODY[]'], body)
        if result.status == 'OK' and items.get(2, {}).get('BODY[]'):
            self.assertIn(b'Subject: m1\r\n', items[2]['BODY[]'])
        other.ok('NOOP')
        self.assertEqual(other.uids(), list(range(4, 11)))

    def test_flags_for_what_another_session_expunged(self):
        imap, other = self.client, self.imap()
        other.select()
        imap.store('1:3', r'+FLAGS (\Deleted)')
        imap.ok('EXPUNGE')
        self.assertIn(other.cmd(r'STORE 1:5 +FLAGS (\Seen key)').status, ('OK', 'NO'))
        other.ok('NOOP')
        imap.ok('NOOP')
        self.assertEqual(imap.flags('4:5'), {4: {'\\Seen', 'key'}, 5: {'\\Seen', 'key'}})
        self.assertEqual(imap.flags('6:*'), {uid: set() for uid in range(6, 11)})

    def test_many(self):
        imap = self.client
        imap.create('Many')
        for _ in range(5):
            imap.append_many('Many', [message()] * 1000)
        imap.select('Many')
        imap.store('2:4999', r'+FLAGS.SILENT (\Deleted)')
        other = self.imap()
        other.select('Many')
        imap.ok('EXPUNGE')
        self.assertEqual(imap.uids(), [1, 5000])
        self.assertEqual(len(other.ok('NOOP').numbers('EXPUNGE')), 4998)
        self.assertEqual(other.uids(), [1, 5000])
        self.assertEqual(other.status('Many')['MESSAGES'], 2)
