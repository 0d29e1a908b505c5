"""SEARCH with the search index finds exactly what it finds without."""

import os

from harness import Literal, differences, message, only
from harness.imap import number_set
from harness.lmdb import transaction_id
from searching import HOSTILE, SearchTest, Writer

# The plugin is there, but doesn't encrypt, which would need keys.
CRYPT = differences.either('plugin {\n  mail_crypt_save_version = 0\n}\n', 'crypt_write_algorithm =\n')


@only('lmdb')
class Exact(SearchTest):
    def check(self, messages, count, seed):
        imap, plain = self.fill(messages)
        # The first search reads all and indexes it, so it says nothing about the index.
        self.compare(imap, plain, ['BODY "no such words"'])
        self.assertTrue(os.path.exists(self.index_path()))
        self.compare_random(imap, plain, messages, count, seed)

    def test_languages(self):
        writer = Writer(1)
        self.check([writer.message() for _ in range(200)], 800, 1)

    def test_hostile(self):
        self.check([data for data in HOSTILE if data], 1500, 2)

    def test_conflicting_headers(self):
        """Core brings a header into the form that the first argument about it wants, for all of them."""
        messages = [message('a  b', sender='"Ann A." <ann@example.org> (comment)', extra='Cc: c@d (x)\r\n'), message('a b')]
        imap, plain = self.fill(messages)
        self.compare(imap, plain, ['BODY "no such words"'])
        for keys in ('OR FROM comment HEADER From comment', 'OR HEADER From comment FROM comment',
                     'NOT FROM comment HEADER From ann', 'SUBJECT "a  b" HEADER Subject "a  b"',
                     'OR SUBJECT "a  b" HEADER Subject "a  b"', 'OR CC x (HEADER Cc "(x)" NOT CC "(x)")'):
            self.compare(imap, plain, [keys])

    def test_other_commands(self):
        """SORT, THREAD, ESEARCH and saved results search in the same way."""
        writer = Writer(3)
        imap, plain = self.fill([writer.message() for _ in range(60)])
        self.compare(imap, plain, ['BODY "no such words"'])
        for keys in ('BODY e', 'OR TEXT example BODY ü', 'NOT SUBJECT a', 'INTHREAD REFS BODY a'):
            for command in ('UID SORT (SUBJECT) UTF-8 ', 'UID THREAD REFS UTF-8 ', 'UID SEARCH RETURN (ALL MIN MAX COUNT) CHARSET UTF-8 ',
                            'UID SEARCH RETURN (PARTIAL 2:9) CHARSET UTF-8 '):
                key, _, text = keys.rpartition(' ')
                results = [client.ok(command + key + ' ', Literal(text)) for client in (imap, plain)]
                data = [[line.raw.split(b') UID', 1)[-1] for line in result.lines if line.kind in ('SORT', 'THREAD', 'ESEARCH')]
                        for result in results]
                self.assertEqual(data[0], data[1], command + keys)
                self.assertTrue(data[0])
        for client in (imap, plain):
            client.ok('UID SEARCH RETURN (SAVE) BODY e')
        self.compare(imap, plain, ['$ NOT TEXT "example.org"'])


@only('lmdb')
class Current(SearchTest):
    """The index follows the mail."""

    def setUp(self):
        super().setUp()
        writer = Writer(4)
        self.messages = [writer.message() for _ in range(30)]
        self.client, self.plain = self.fill(self.messages)
        self.compare(self.client, self.plain, ['BODY "no such words"'])

    def test_new_mail(self):
        """What was acknowledged is found, whoever brought it."""
        other = self.imap()
        for number in range(1, 25):
            word = 'fresh%dword' % number
            data = message(word, body='%s inside\r\n' % word)
            if number % 2:
                other.append('INBOX', data)
            else:
                self.deliver(data)
            self.client.ok('NOOP')
            for keys in ('BODY %s' % word, 'TEXT "%s ins"' % word[3:], 'SUBJECT %s' % word[1:-1]):
                self.assertEqual(self.search(self.client, [keys]), [30 + number], keys)
        self.compare(self.client, self.plain, ['BODY inside'], sync=True)

    def test_copy_and_move(self):
        """A body is indexed once, in whatever folders it is."""
        imap = self.client
        before = transaction_id(self.index_path())
        imap.create('Copies')
        imap.ok('COPY 1:20 Copies')
        imap.ok('MOVE 21:30 Copies')
        imap.select('Copies')
        plain = self.imap_without_index()
        plain.select('Copies')
        for keys in ('BODY e', 'NOT BODY the', 'SUBJECT a', 'TEXT example'):
            self.compare(imap, plain, [keys])
        self.assertEqual(transaction_id(self.index_path()), before)

    def test_expunged(self):
        other = self.imap()
        other.select()
        found = self.search(self.client, ['TEXT example'])
        other.store('1:10', r'+FLAGS.SILENT (\Deleted)')
        other.ok('EXPUNGE')
        # Before they know of it, and after
        for sync in (False, True):
            results = []
            for client in (self.client, self.plain):
                if sync:
                    client.ok('NOOP')
                results.append(client.ok('SEARCH RETURN (ALL) TEXT example').esearch().get('ALL', ''))
            self.assertEqual(results[0], results[1])
        self.assertEqual(self.search(self.client, ['TEXT example']), [uid for uid in found if uid > 10])
        self.assertEqual(len(number_set(results[0])), len([uid for uid in found if uid > 10]))

    def test_flags_and_uids_change(self):
        for round_number in range(5):
            self.client.store('%d:*' % (round_number * 5 + 1), r'-FLAGS.SILENT (\Seen)')
            self.client.append('INBOX', self.messages[round_number])
            self.compare(self.client, self.plain, ['BODY e UNSEEN'], sync=True)
            self.compare(self.client, self.plain, ['OR (BODY a SEEN) (NOT TEXT example 5:*)'])

    def test_several_folders(self):
        """Folders share the index, and a small search reads only what it must."""
        imap = self.client
        for name in ('A', 'B'):
            imap.create(name)
            imap.append_many(name, [message('%s%d' % (name, number), 'body %s%d\r\n' % (name, number)) for number in range(40)])
        for name in ('A', 'B', 'INBOX', 'B'):
            imap.select(name)
            plain = self.imap_without_index()
            plain.select(name)
            self.compare(imap, plain, ['BODY "body"'])
            self.compare(imap, plain, ['UID 3:9 BODY b1'])


@only('lmdb')
class Indexing(SearchTest):
    def setUp(self):
        super().setUp()
        writer = Writer(5)
        self.messages = [writer.message() for _ in range(120)]
        self.client, self.plain = self.fill(self.messages)

    def test_doveadm_index(self):
        """doveadm index and Dovecot's indexer do it in advance, and once."""
        self.doveadm('index', 'INBOX')
        before = transaction_id(self.index_path())
        self.doveadm('index', 'INBOX')
        for keys in ('BODY e', 'TEXT "example.org"', 'SUBJECT a'):
            self.compare(self.client, self.plain, [keys])
        self.assertEqual(transaction_id(self.index_path()), before)
        self.client.append('INBOX', self.messages[0])
        self.doveadm('index', 'INBOX')
        after = transaction_id(self.index_path())
        self.assertGreater(after, before)
        self.compare(self.client, self.plain, ['BODY e'], sync=True)
        self.assertEqual(transaction_id(self.index_path()), after)

    def test_only_what_is_read(self):
        """Messages that other criteria rule out aren't read for the index."""
        self.assertEqual(self.search(self.client, ['LARGER 10000000 BODY e']), [])
        self.assertEqual(self.search(self.client, ['SUBJECT "no such words"']), [])
        self.assertTrue(transaction_id(self.index_path()) <= 2)
        self.compare(self.client, self.plain, ['UID 1:5 BODY e'])
        self.compare(self.client, self.plain, ['BODY e'])


@only('lmdb')
class Off(SearchTest):
    config = 'plugin {\n  lmdb_search = no\n}\n'

    def test_nothing_there(self):
        imap, plain = self.fill([message('a'), message('b')])
        self.compare(imap, plain, ['BODY hello'])
        self.doveadm('index', 'INBOX')
        self.assertFalse(os.path.exists(os.path.dirname(self.index_path())))


@only('lmdb')
class Encrypted(Off):
    """What may be encrypted isn't indexed unless that is asked for."""
    config = CRYPT
    plugins = 'mail_crypt'


@only('lmdb')
class EncryptedAndIndexed(SearchTest):
    config = CRYPT + 'plugin {\n  lmdb_search = yes\n}\n'
    plugins = 'mail_crypt'

    def test_index(self):
        imap, plain = self.fill([message('a'), message('b')])
        self.compare(imap, plain, ['BODY hello'])
        self.assertTrue(os.path.exists(self.index_path()))
        self.compare(imap, plain, ['BODY hello'])
