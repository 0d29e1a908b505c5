"""QRESYNC: a client that comes back learns what changed and what vanished."""

from harness import ServerTest, message


class Qresync(ServerTest):
    def setUp(self):
        super().setUp()
        self.client = self.imap()
        self.client.append_many('INBOX', [message('m%d' % number) for number in range(10)])
        self.client.ok('ENABLE QRESYNC')
        result = self.client.select()
        self.uidvalidity = result.code_int('UIDVALIDITY')
        self.highest = result.code_int('HIGHESTMODSEQ')

    def expunge(self, imap, uids):
        imap.store(uids, r'+FLAGS.SILENT (\Deleted)')
        return imap.ok('UID EXPUNGE ' + uids)

    def come_back(self, modseq=None, extra=''):
        """What a client hears that knew the folder at that MODSEQ: (vanished UIDs, changed UIDs -> flags)."""
        imap = self.imap()
        self.assertTrue(imap.ok('ENABLE QRESYNC').has('ENABLED'))
        result = imap.select('INBOX', '(QRESYNC (%d %d%s))' % (self.uidvalidity, modseq or self.highest, extra))
        changed = {items['UID']: items['FLAGS'] - {'\\Recent'} for items in result.fetched().values()}
        return result.vanished(earlier=True), changed

    def test_vanished_instead_of_expunge(self):
        imap = self.client
        result = self.expunge(imap, '2,4:5')
        self.assertFalse(result.has('EXPUNGE'))
        self.assertEqual(result.vanished(), [2, 4, 5])
        self.assertGreater(result.code_int('HIGHESTMODSEQ'), self.highest)

    def test_other_session(self):
        other = self.imap()
        other.select()
        self.expunge(other, '3')
        result = self.client.ok('NOOP')
        self.assertEqual(result.vanished(), [3])
        self.assertFalse(result.has('EXPUNGE'))

    def test_nothing_changed(self):
        self.assertEqual(self.come_back(), ([], {}))

    def test_changes_and_expunges(self):
        imap = self.client
        self.expunge(imap, '2,9')
        imap.store('5', r'+FLAGS (\Seen)')
        imap.append('INBOX', message())
        vanished, changed = self.come_back()
        self.assertEqual(vanished, [2, 9])
        self.assertEqual(changed, {5: {'\\Seen'}, 11: set()})

    def test_from_any_point(self):
        """Coming back from each of many points: exactly what happened since."""
        imap = self.client
        points = [(self.highest, [], [])]
        for uid in range(1, 9):
            if uid % 2:
                self.expunge(imap, str(uid))
                points.append((None, [uid], []))
            else:
                imap.store(str(uid), r'+FLAGS (\Flagged)')
                points.append((None, [], [uid]))
            points[-1] = (imap.status('INBOX', 'HIGHESTMODSEQ')['HIGHESTMODSEQ'],) + points[-1][1:]
        for index, (modseq, _, _) in enumerate(points):
            vanished, changed = self.come_back(modseq)
            self.assertEqual(vanished, sorted(sum((point[1] for point in points[index + 1:]), [])))
            self.assertEqual(sorted(changed), sorted(sum((point[2] for point in points[index + 1:]), [])))

    def test_known_uids(self):
        imap = self.client
        self.expunge(imap, '2,5,9')
        self.assertEqual(self.come_back(extra=' 1:5')[0], [2, 5])

    def test_known_sequence_match(self):
        imap = self.client
        self.expunge(imap, '9')
        vanished, _ = self.come_back(extra=' 1:10 (1,5,8 1,5,8)')
        self.assertEqual(vanished, [9])

    def test_other_uidvalidity(self):
        self.expunge(self.client, '2')
        self.uidvalidity += 1
        self.assertEqual(self.come_back(), ([], {}))

    def test_moved_messages_vanish(self):
        imap = self.client
        imap.create('To')
        result = imap.ok('UID MOVE 2:3 To')
        self.assertEqual(result.vanished(), [2, 3])
        self.assertEqual(self.come_back()[0], [2, 3])

    def test_after_all_logged_out(self):
        imap = self.client
        self.expunge(imap, '1:3')
        imap.logout()
        self.server.wait_until_idle()
        self.assertEqual(self.come_back()[0], [1, 2, 3])
        self.restart_server()
        self.assertEqual(self.come_back()[0], [1, 2, 3])

    def test_deleted_by_pop3_and_doveadm(self):
        pop3 = self.pop3()
        pop3.dele(4)
        pop3.quit()
        self.doveadm('expunge', 'mailbox', 'INBOX', 'uid', '6')
        self.assertEqual(self.come_back()[0], [4, 6])

    def test_uid_fetch_vanished(self):
        imap = self.client
        self.expunge(imap, '2,5')
        imap.store('7', r'+FLAGS (\Seen)')
        other = self.imap()
        other.ok('ENABLE QRESYNC')
        other.select()
        result = other.ok('UID FETCH 1:* (FLAGS) (CHANGEDSINCE %d VANISHED)' % self.highest)
        self.assertEqual(result.vanished(earlier=True), [2, 5])
        self.assertEqual([items['UID'] for items in result.fetched().values()], [7])

    def test_many(self):
        imap = self.client
        imap.create('Many')
        imap.append_many('Many', [message()] * 1500)
        result = imap.select('Many')
        self.uidvalidity = result.code_int('UIDVALIDITY')
        self.highest = result.code_int('HIGHESTMODSEQ')
        self.expunge(imap, '100:1200')
        imap.store('1:50', '+FLAGS.SILENT (key)')
        other = self.imap()
        other.ok('ENABLE QRESYNC')
        result = other.select('Many', '(QRESYNC (%d %d))' % (self.uidvalidity, self.highest))
        self.assertEqual(result.vanished(earlier=True), list(range(100, 1201)))
        self.assertEqual(sorted(items['UID'] for items in result.fetched().values()), list(range(1, 51)))
