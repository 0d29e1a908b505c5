"""SEARCH and its extensions."""

from harness import Literal, ServerTest, message
from harness.imap import number_set, text_of
from harness.message import MULTIPART


class Search(ServerTest):
    def setUp(self):
        super().setUp()
        self.client = imap = self.imap()
        for data, flags, date in (
                (message('Red apples', 'An apple a day.\r\n', sender='ann@example.org', to='bob@example.org'),
                 r'\Seen', '01-Jan-2020 12:00:00 +0000'),
                (message('Green pears', 'Pears are fruit.\r\n' + 'x' * 5000 + '\r\n', sender='ben@example.org',
                         extra='Cc: cat@example.org\r\nX-Spam: yes\r\n'), r'\Seen \Answered key', '05-Jan-2020 12:00:00 +0000'),
                (message('apple pie', 'Take two pounds.\r\n', extra='Bcc: dan@example.org\r\n',
                         date='Fri, 10 Jan 2020 10:00:00 +0000'), r'\Flagged', '09-Jan-2020 12:00:00 +0000'),
                (MULTIPART, r'\Draft \Deleted other', '12-Jan-2020 12:00:00 +0000'),
                (message('Grüße', 'Größe und Übermaß.\r\n',
                         extra='MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n'
                               'Content-Transfer-Encoding: 8bit\r\n'), 'key', '12-Jan-2020 13:00:00 +0000')):
            imap.append('INBOX', data, flags=flags, date=date)
        imap.select()

    def check(self, keys, expected):
        self.assertEqual(self.client.search(keys), expected, keys)

    def test_flags(self):
        for keys, expected in (
                ('ALL', [1, 2, 3, 4, 5]), ('SEEN', [1, 2]), ('UNSEEN', [3, 4, 5]), ('ANSWERED', [2]), ('UNANSWERED',
                                                                                                   [1, 3, 4, 5]),
                ('FLAGGED', [3]), ('UNFLAGGED', [1, 2, 4, 5]), ('DRAFT', [4]), ('UNDRAFT', [1, 2, 3, 5]),
                ('DELETED', [4]), ('UNDELETED', [1, 2, 3, 5]), ('KEYWORD key', [2, 5]), ('UNKEYWORD key', [1, 3, 4]),
                ('KEYWORD none', []), ('RECENT', [1, 2, 3, 4, 5]), ('OLD', []), ('NEW', [3, 4, 5])):
            self.check(keys, expected)

    def test_sets_and_logic(self):
        for keys, expected in (
                ('1:3', [1, 2, 3]), ('UID 2,4:*', [2, 4, 5]), ('*', [5]), ('NOT 2:4', [1, 5]),
                ('OR SEEN FLAGGED', [1, 2, 3]), ('SEEN NOT ANSWERED', [1]), ('NOT (OR ANSWERED FLAGGED)', [1, 4, 5]),
                ('OR (SEEN NOT 1) (UNSEEN KEYWORD key)', [2, 5]), ('NOT NOT SEEN', [1, 2])):
            self.check(keys, expected)

    def test_dates(self):
        for keys, expected in (
                ('ON 5-Jan-2020', [2]), ('BEFORE 9-Jan-2020', [1, 2]), ('SINCE 9-Jan-2020', [3, 4, 5]),
                ('SENTON 10-Jan-2020', [3]), ('SENTBEFORE 1-Jan-2021', [3]), ('SENTSINCE 8-Mar-2022', [4]),
                ('SAVEDSINCE 1-Jan-2021', [1, 2, 3, 4, 5]), ('SAVEDBEFORE 1-Jan-2021', []), ('YOUNGER 86400', []),
                ('OLDER 86400', [1, 2, 3, 4, 5])):
            self.check(keys, expected)

    def test_sizes(self):
        sizes = {uid: items['RFC822.SIZE'] for uid, items in self.client.fetch('1:*', 'RFC822.SIZE').items()}
        self.check('LARGER 5000', [2])
        self.check('SMALLER 5000', [1, 3, 4, 5])
        self.check('LARGER %d' % sizes[3], [uid for uid in sizes if sizes[uid] > sizes[3]])
        self.check('SMALLER %d' % sizes[3], [uid for uid in sizes if sizes[uid] < sizes[3]])

    def test_headers(self):
        for keys, expected in (
                ('FROM ann', [1]), ('FROM EXAMPLE.ORG', [1, 2, 3, 4, 5]), ('TO bob', [1, 2, 3, 4, 5]),
                ('CC cat', [2]), ('BCC dan', [3]), ('SUBJECT apple', [1, 3]), ('SUBJECT APPLE', [1, 3]),
                ('SUBJECT ppl', [1, 3]), ('SUBJECT "d app"', [1]), ('HEADER X-Spam ""', [2]),
                ('HEADER X-Spam yes', [2]), ('HEADER Message-ID multi@', [4]), ('NOT SUBJECT apple', [2, 4, 5])):
            self.check(keys, expected)

    def test_bodies(self):
        for keys, expected in (
                ('BODY apple', [1]), ('TEXT apple', [1, 3]), ('BODY "o pounds"', [3]), ('BODY ears', [2]),
                ('BODY FRUIT', [2]), ('BODY nothing', []), ('TEXT dan@', [3]), ('BODY "inner body"', [4]),
                ('NOT BODY pears', [1, 3, 4, 5]), ('OR BODY apple BODY fruit', [1, 2])):
            self.check(keys, expected)

    def test_charsets(self):
        imap = self.client
        for key, text, expected in (('SUBJECT', 'grüße', [4, 5]), ('BODY', 'GRÖSSE', []), ('BODY', 'größe', [5]),
                                    ('BODY', 'ÜBERMASS', []), ('BODY', 'schöne grüße', [4]), ('TEXT', 'übermaß', [5])):
            result = imap.ok('UID SEARCH CHARSET UTF-8 %s ' % key, Literal(text))
            self.assertEqual(sorted(result.search()), expected, text)
        result = imap.no('UID SEARCH CHARSET X-UNKNOWN BODY a')
        self.assertEqual(result.code[0], 'BADCHARSET')

    def test_after_changes(self):
        """Results follow appends, flags and expunges by others."""
        other = self.imap()
        other.append('INBOX', message('apple juice'))
        other.select()
        other.store('1', r'+FLAGS (\Deleted)')
        other.ok('EXPUNGE')
        self.client.ok('NOOP')
        self.check('SUBJECT apple', [3, 6])
        other.store('6', r'+FLAGS (\Seen)')
        self.client.ok('NOOP')
        self.check('SUBJECT apple SEEN', [6])
        self.check('BODY apple', [])

    def test_many(self):
        imap = self.client
        imap.create('Many')
        imap.append_many('Many', [message('number %d' % number, 'text of %d and %s\r\n' % (number, 'ab' * (number % 7)))
                                  for number in range(1, 501)])
        imap.select('Many')
        self.check('SUBJECT "number 42"', [42] + list(range(420, 430)))
        self.check('BODY "of 499 and"', [499])
        self.check('BODY abababababab', [number for number in range(1, 501) if number % 7 == 6])
        self.check('200:300 SUBJECT 25', [225] + list(range(250, 260)))


class Extensions(ServerTest):
    def setUp(self):
        super().setUp()
        self.client = self.imap()
        self.client.append_many('INBOX', [message('m%d' % number) for number in range(1, 9)])
        self.client.select()
        self.client.store('2,4,5,6', r'+FLAGS.SILENT (\Flagged)')

    def test_esearch(self):
        imap = self.client
        self.assertEqual(imap.ok('SEARCH RETURN (MIN MAX COUNT ALL) FLAGGED').esearch(),
                         {'TAG': 't%d' % imap.commands, 'MIN': '2', 'MAX': '6', 'COUNT': '4', 'ALL': '2,4:6'})
        self.assertEqual(imap.ok('UID SEARCH RETURN () FLAGGED').esearch()['ALL'], '2,4:6')
        self.assertEqual(imap.ok('SEARCH RETURN (COUNT) SUBJECT nothing').esearch()['COUNT'], '0')
        self.assertEqual(imap.ok('UID SEARCH RETURN (MIN) SUBJECT m').esearch()['MIN'], '1')
        self.assertNotIn('ALL', imap.ok('SEARCH RETURN (ALL) DRAFT').esearch())
        self.assertEqual(imap.ok('UID SEARCH RETURN (PARTIAL 2:3) FLAGGED').esearch()['PARTIAL'], ['2:3', '4:5'])

    def test_saved_result(self):
        imap = self.client
        imap.ok('UID SEARCH RETURN (SAVE) FLAGGED')
        self.assertEqual(sorted(imap.ok('UID FETCH $ (UID)').fetched()), [2, 4, 5, 6])
        imap.store('$', r'+FLAGS.SILENT (\Seen)', uid=False)
        self.assertEqual(imap.search('SEEN'), [2, 4, 5, 6])
        self.assertEqual(imap.search('$ NOT 4'), [2, 5, 6])
        other = self.imap()
        other.select()
        other.store('4', r'+FLAGS.SILENT (\Deleted)')
        other.ok('EXPUNGE')
        imap.ok('NOOP')
        self.assertEqual([items['UID'] for items in imap.ok('FETCH $ (UID)').fetched().values()], [2, 5, 6])
        imap.create('To')
        self.assertEqual(imap.ok('UID COPY $ To').code[2], '2,5:6')
        imap.ok('UID MOVE $ To')
        self.assertEqual(imap.uids(), [1, 3, 7, 8])

    def updates(self, lines, name):
        """UIDs of the ADDTO or REMOVEFROM data in some responses."""
        found = []
        for line in lines:
            if line.kind == 'ESEARCH':
                args = text_of(line.args)
                for index, arg in enumerate(args):
                    if arg == name:
                        found += number_set(args[index + 1][1])
        return found

    def test_context_updates(self):
        imap, other = self.client, self.imap()
        other.select()
        imap.ok('UID SEARCH RETURN (UPDATE COUNT) FLAGGED')
        other.append('INBOX', message(), flags=r'\Flagged')
        other.ok('NOOP')
        other.store('1', r'+FLAGS (\Flagged)')
        other.store('2', r'-FLAGS (\Flagged)')
        lines = imap.ok('NOOP').lines + imap.ok('NOOP').lines
        self.assertEqual(sorted(self.updates(lines, 'ADDTO')), [1, 9])
        self.assertEqual(self.updates(lines, 'REMOVEFROM'), [2])
        other.store('5', r'+FLAGS.SILENT (\Deleted)')
        other.ok('EXPUNGE')
        lines = imap.ok('NOOP').lines + imap.ok('NOOP').lines
        self.assertEqual(self.updates(lines, 'REMOVEFROM'), [5])
        tag = 't%d' % (imap.commands - 4)
        imap.ok('CANCELUPDATE "%s"' % tag)
        other.store('3', r'+FLAGS (\Flagged)')
        self.assertFalse(imap.ok('NOOP').has('ESEARCH'))
