"""STORE: flags and keywords."""

from harness import ServerTest, message
from harness.message import MULTIPART


class Store(ServerTest):
    def setUp(self):
        super().setUp()
        self.client = self.imap()
        self.client.append_many('INBOX', [message('m%d' % number) for number in range(3)])
        self.client.select()

    def again(self):
        """Flags as a new session sees them."""
        imap = self.imap()
        imap.ok('EXAMINE INBOX')
        return imap.flags()

    def test_set_add_remove(self):
        imap = self.client
        imap.store('1', r'FLAGS (\Seen \Flagged)')
        imap.store('2:3', r'+FLAGS (\Answered)')
        imap.store('1', r'-FLAGS (\Flagged)')
        imap.store('3', r'+FLAGS (\Draft \Deleted)')
        expected = {1: {'\\Seen'}, 2: {'\\Answered'}, 3: {'\\Answered', '\\Draft', '\\Deleted'}}
        self.assertEqual(imap.flags(), expected)
        self.assertEqual(self.again(), expected)
        imap.store('1:*', 'FLAGS ()')
        self.assertEqual(self.again(), {1: set(), 2: set(), 3: set()})

    def test_keywords(self):
        imap = self.client
        result = imap.store('1', '+FLAGS (apple)')
        self.assertIn('apple', result.one('FLAGS').args[0])
        imap.store('1:2', '+FLAGS (pear)')
        imap.store('1', '-FLAGS (apple)')
        imap.store('3', r'FLAGS (plum \Seen)')
        expected = {1: {'pear'}, 2: {'pear'}, 3: {'plum', '\\Seen'}}
        self.assertEqual(imap.flags(), expected)
        self.assertEqual(self.again(), expected)
        imap.store('1', 'FLAGS (apple)')
        self.assertEqual(self.again()[1], {'apple'})
        self.assertEqual(imap.search('KEYWORD pear'), [2])
        self.assertEqual(imap.search('UNKEYWORD pear'), [1, 3])

    def test_keyword_case(self):
        imap = self.client
        imap.store('1', '+FLAGS (Apple)')
        imap.store('2', '+FLAGS (APPLE)')
        self.assertEqual(self.again(), {1: {'Apple'}, 2: {'Apple'}, 3: set()})

    def test_responses(self):
        imap = self.client
        result = imap.store('1:2', r'+FLAGS (\Seen)')
        self.assertEqual({num: items['FLAGS'] - {'\\Recent'} for num, items in result.fetched().items()},
                         {1: {'\\Seen'}, 2: {'\\Seen'}})
        self.assertIn('UID', result.fetched()[1])
        result = imap.store('1:2', r'+FLAGS.SILENT (\Flagged)')
        self.assertEqual(result.fetched(), {})
        self.assertEqual(imap.flags('1:2'), {1: {'\\Seen', '\\Flagged'}, 2: {'\\Seen', '\\Flagged'}})

    def test_many_keywords(self):
        """More keywords than fit any word of bits, over many sessions."""
        imap = self.client
        names = ['key%03d' % number for number in range(100)]
        for name in names[:70]:
            imap.store('1', '+FLAGS (%s)' % name)
        imap.store('2', '+FLAGS (%s)' % ' '.join(names))
        imap.store('3', '+FLAGS (%s %s)' % (names[64], names[99]))
        expected = {1: set(names[:70]), 2: set(names), 3: {names[64], names[99]}}
        self.assertEqual(imap.flags(), expected)
        imap = self.relogin(imap)
        flags = imap.select().one('FLAGS').args[0]
        self.assertEqual(imap.flags(), expected)
        self.assertEqual([flag for flag in flags if flag.startswith('key')], names)
        imap.store('2', '-FLAGS (%s)' % ' '.join(names[1:]))
        expected[2] = {names[0]}
        self.assertEqual(self.again(), expected)

    def test_odd_keywords(self):
        imap = self.client
        names = ['$MDNSent', '$Forwarded', 'a.b-c_d', 'x' * 50, 'NonJunk', '1', '1x', 'nil', '$']
        imap.store('1', '+FLAGS (%s)' % ' '.join(names))
        self.assertEqual(self.again()[1], set(names))
        self.assertIn(imap.cmd('STORE 2 +FLAGS (%s)' % ('x' * 51)).status, ('NO', 'OK'))
        self.assertEqual(self.again()[2], set())

    def test_bad_flags(self):
        imap = self.client
        imap.bad(r'STORE 1 FLAGS (\Bogus)')
        imap.cmd(r'STORE 1 FLAGS (\Recent)')
        self.assertEqual(self.again()[1], set())

    def test_deep_order_of_changes(self):
        """The last of many changes to the same flag wins, also when sessions take turns."""
        imap, other = self.client, self.imap()
        other.select()
        for round_number in range(30):
            sender = (imap, other)[round_number % 2]
            sender.store('1', '%sFLAGS.SILENT (\\Seen)' % '+-'[round_number % 2])
            sender.store('2', '+FLAGS.SILENT (round%d)' % (round_number % 7))
            sender.store('2', '-FLAGS.SILENT (round%d)' % ((round_number - 3) % 7))
        self.assertEqual(self.again(), {1: set(), 2: {'round%d' % (number % 7) for number in (27, 28, 29)}, 3: set()})

    def test_many_messages(self):
        imap = self.client
        imap.create('Many')
        imap.append_many('Many', [message()] * 1000)
        imap.select('Many')
        imap.store('1:*', r'+FLAGS.SILENT (\Seen key)', uid=False)
        imap.store('2:1000', '-FLAGS.SILENT (key)', uid=False)
        imap.store('500:600', r'FLAGS.SILENT (\Flagged)', uid=False)
        other = self.imap()
        self.assertEqual(other.status('Many')['UNSEEN'], 101)
        other.select('Many')
        self.assertEqual(other.search('KEYWORD key'), [1])
        self.assertEqual(other.search('FLAGGED'), list(range(500, 601)))

    def test_flags_survive_logout(self):
        imap = self.client
        imap.store('1', r'+FLAGS (\Seen key)')
        imap.ok('CLOSE')
        imap = self.relogin(imap)
        imap.select()
        self.assertEqual(imap.flags(), {1: {'\\Seen', 'key'}, 2: set(), 3: set()})
        imap.store('2', r'+FLAGS (\Flagged)')
        imap.close()
        self.server.wait_until_idle()
        self.assertEqual(self.again(), {1: {'\\Seen', 'key'}, 2: {'\\Flagged'}, 3: set()})

    def test_uid_and_sequence(self):
        imap = self.client
        imap.store('1', r'+FLAGS (\Deleted)')
        imap.ok('EXPUNGE')
        imap.store('1', r'+FLAGS (\Seen)', uid=False)
        imap.store('3', r'+FLAGS (\Flagged)', uid=True)
        self.assertEqual(self.again(), {2: {'\\Seen'}, 3: {'\\Flagged'}})
        self.assertEqual(imap.store('1', r'+FLAGS (\Seen)', uid=True).fetched(), {})


class Attachments(ServerTest):
    """Keywords that Dovecot itself gives a message while it is saved."""
    config = 'mail_attachment_detection_options = add-flags no-flags-on-fetch\n'

    def test_keywords(self):
        imap = self.imap()
        imap.create('Work')
        imap.append('INBOX', MULTIPART)
        imap.append_many('INBOX', [message('plain'), MULTIPART], flags=r'\Seen key')
        imap.append('INBOX', MULTIPART, flags='$HasNoAttachment other')
        self.deliver(MULTIPART)
        imap.select()
        expected = [{'$HasAttachment'}, {'\\Seen', 'key', '$HasNoAttachment'}, {'\\Seen', 'key', '$HasAttachment'},
                    {'other', '$HasNoAttachment'}, {'$HasAttachment'}]
        self.assertEqual(list(imap.flags().values()), expected)
        imap.ok('COPY 1:* Work')
        imap.ok('MOVE 1:2 Work')
        self.assertEqual(list(imap.flags().values()), expected[2:])
        imap.select('Work')
        self.assertEqual(list(imap.flags().values()), expected + expected[:2])
