"""APPEND: what is stored is what was sent."""

import email.utils

from harness import Literal, Literal8, ServerTest, message, message_of_size
from harness.imap import number_set


def instant(date):
    """The point in time that an IMAP date names."""
    return email.utils.parsedate_to_datetime(date.strip().replace('-', ' ', 2))


class Append(ServerTest):
    def check_stored(self, imap, uid, data):
        """All ways to read a message give the same bytes."""
        self.assertEqual(imap.body(uid), data)
        items = imap.fetch(str(uid), '(RFC822.SIZE BODY.PEEK[HEADER] BODY.PEEK[TEXT])')[uid]
        self.assertEqual(items['RFC822.SIZE'], len(data))
        self.assertEqual(items['BODY[HEADER]'] + items['BODY[TEXT]'], data)

    def test_uids(self):
        imap = self.imap()
        uidvalidity = imap.status('INBOX')['UIDVALIDITY']
        for expected in (1, 2, 3):
            self.assertEqual(imap.append('INBOX', message()), (uidvalidity, expected))
        imap.select()
        self.assertEqual(imap.uids(), [1, 2, 3])

    def test_flags_and_keywords(self):
        imap = self.imap()
        imap.append('INBOX', message(), flags=r'\Seen \Answered \Flagged \Deleted \Draft')
        imap.append('INBOX', message(), flags=r'$Forwarded plain \Seen')
        imap.append('INBOX', message())
        imap.append('INBOX', message(), flags='plain')
        imap.select()
        self.assertEqual(imap.flags(), {1: {'\\Seen', '\\Answered', '\\Flagged', '\\Deleted', '\\Draft'},
                                        2: {'\\Seen', '$Forwarded', 'plain'}, 3: set(), 4: {'plain'}})

    def test_date(self):
        imap = self.imap()
        dates = ('01-Jan-2000 00:00:00 +0000', '29-Feb-2004 23:59:59 +0200', '07-Nov-1994 12:13:14 -0730',
                 ' 5-Jun-2021 06:07:08 +1400', '01-Jan-1970 00:00:01 +0000')
        for date in dates:
            imap.append('INBOX', message(), date=date)
        imap.select()
        for uid, date in enumerate(dates, 1):
            stored = imap.fetch(str(uid), 'INTERNALDATE')[uid]['INTERNALDATE']
            self.assertEqual(instant(stored), instant(date))
            self.assertIn(uid, imap.search('ON ' + stored[:11].strip()))

    def test_date_of_saving(self):
        imap = self.imap()
        imap.append('INBOX', message(), date='01-Jan-2000 00:00:00 +0000')
        imap.append('INBOX', message())
        imap.select()
        items = imap.fetch('1:2', '(INTERNALDATE SAVEDATE)')
        self.assertEqual(items[1]['INTERNALDATE'], '01-Jan-2000 00:00:00 +0000')
        self.assertNotIn('2000', items[1]['SAVEDATE'])
        self.assertEqual(items[2]['SAVEDATE'][-10:], items[2]['INTERNALDATE'][-10:])
        self.assertEqual(imap.search('SAVEDSINCE 01-Jan-2020'), [1, 2])
        self.assertEqual(imap.search('SINCE 01-Jan-2020'), [2])

    def test_contents(self):
        imap = self.imap()
        data = [message(), message(body=''), message(body='no line end'), message(body='\r\n\r\n'), b'Subject: x\r\n\r\n',
                b'Subject: no end of header\r\n', b'no colon in here\r\n\r\nbody\r\n', b'\r\n', b'\r\nonly a body\r\n',
                b'x', message(body='.\r\n..\r\n.leading\r\n'), message(body='From the start\r\n>From quoted\r\n'),
                message(body=' ' * 5000 + '\r\n'), message(body='x' * 100000 + '\r\n'),
                message(body='8 bit: äöü €\r\n'), message(body='\r\n'.join(str(n) for n in range(20000)) + '\r\n'),
                b'Subject: latin1 \xe4\xff\r\n\r\n\x80\x81\xff\r\n']
        for item in data:
            imap.append('INBOX', item)
        imap.select()
        for uid, item in enumerate(data, 1):
            with self.subTest(uid=uid):
                self.check_stored(imap, uid, item)
        imap = self.relogin(imap)
        imap.select()
        for uid, item in enumerate(data, 1):
            with self.subTest(uid=uid):
                self.check_stored(imap, uid, item)

    def test_sizes_around_block_borders(self):
        imap = self.imap()
        sizes = sorted({base + delta for base in (512, 1024, 2048, 4080, 4096, 8176, 8192, 16384, 32768, 65536, 131072)
                        for delta in (-2, -1, 0, 1, 2)})
        data = [message_of_size(size, size) for size in sizes]
        self.assertEqual([len(item) for item in data], sizes)
        imap.append_many('INBOX', data)
        imap.select()
        stored = imap.fetch('1:*', '(RFC822.SIZE BODY.PEEK[])')
        self.assertEqual([stored[uid]['RFC822.SIZE'] for uid in sorted(stored)], sizes)
        for uid, item in enumerate(data, 1):
            self.assertTrue(stored[uid]['BODY[]'] == item, 'size %d' % len(item))

    def test_empty_message(self):
        """A literal of 0 bytes ends a MULTIAPPEND; alone it is an error. Nothing is stored."""
        imap = self.imap()
        imap.no('APPEND INBOX {0+}\r\n')
        imap.select()
        self.assertEqual(imap.uids(), [])

    def test_line_feeds_only(self):
        imap = self.imap()
        imap.append('INBOX', b'Subject: x\n\nline 1\nline 2\n')
        imap.append('INBOX', b'Subject: x\r\n\r\nline 1\nline 2\r\n')
        imap.select()
        for uid in (1, 2):
            self.check_stored(imap, uid, b'Subject: x\r\n\r\nline 1\r\nline 2\r\n')

    def test_bare_carriage_returns(self):
        imap = self.imap()
        data = b'Subject: x\r\n\r\na\rb\r\rc\r\n\rd'
        imap.append('INBOX', data)
        imap.select()
        self.check_stored(imap, 1, data)

    def test_binary(self):
        """A literal8 may hold NULs, of which the parts are transfer-encoded."""
        imap = self.imap()
        content = bytes(range(256)) * 20
        data = (b'MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n'
                + content)
        imap.append('INBOX', data, literal=Literal8)
        imap.select()
        self.assertEqual(imap.body(1, 'BINARY.PEEK[1]'), content)
        self.assertNotIn(b'\0', imap.body(1))

    def test_huge_header(self):
        imap = self.imap()
        extra = ''.join('X-Line-%d: %s\r\n' % (number, 'v' * 70) for number in range(10000))
        data = message(extra=extra)
        imap.append('INBOX', data)
        folded = message(extra='X-Long: ' + '\r\n '.join('w' * 60 for _ in range(5000)) + '\r\n')
        imap.append('INBOX', folded)
        imap.append('INBOX', message(subject='s' * 200000))
        imap.select()
        self.check_stored(imap, 1, data)
        self.check_stored(imap, 2, folded)
        self.check_stored(imap, 3, message(subject='s' * 200000))
        self.assertIn('X-Line-9999', imap.body(1, 'BODY.PEEK[HEADER.FIELDS (X-Line-9999)]').decode())

    def test_20_megabytes(self):
        imap = self.imap()
        data = message_of_size(20 * 1024 * 1024 + 17)
        imap.append('INBOX', data)
        imap.select()
        self.assertEqual(imap.fetch('1', 'RFC822.SIZE')[1]['RFC822.SIZE'], len(data))
        self.assertTrue(imap.body(1) == data, 'the message differs')
        imap = self.relogin(imap)
        imap.select()
        self.assertTrue(imap.body(1) == data, 'the message differs')
        self.assertEqual(imap.body(1, 'BODY.PEEK[]<20000000.100>'), data[20000000:20000100])

    def test_waiting_for_literals(self):
        """Clients without LITERAL+ wait for the go-ahead, and may send in pieces."""
        imap = self.imap()
        data = message_of_size(100000)
        imap.send_raw(b'x1 APPEND INBOX (\\Seen) {%d}\r\n' % len(data))
        imap.wait_continuation()
        for start in range(0, len(data), 30000):
            imap.send_raw(data[start:start + 30000])
        imap.send_raw(b'\r\n')
        self.assertEqual(imap.wait('x1').status, 'OK')
        imap.select()
        self.check_stored(imap, 1, data)

    def test_connection_lost_in_the_middle(self):
        imap = self.imap()
        imap.append('INBOX', message())
        imap.send_raw(b'x1 APPEND INBOX {100000+}\r\nSubject: lost\r\n\r\nhalf')
        imap.close()
        self.server.wait_until_idle()
        imap = self.imap()
        self.assertEqual(imap.append('INBOX', message())[1], 2)
        imap.select()
        self.assertEqual(imap.uids(), [1, 2])

    def test_to_the_selected_folder(self):
        imap = self.imap()
        imap.select()
        result = imap.ok('APPEND INBOX ', Literal(message()))
        self.assertEqual(result.numbers('EXISTS'), [1])
        imap.store('1', r'+FLAGS (\Seen)')
        result = imap.ok('APPEND INBOX (key) ', Literal(message()))
        self.assertEqual(result.numbers('EXISTS'), [2])
        self.assertEqual(imap.flags(), {1: {'\\Seen'}, 2: {'key'}})

    def test_pipelined(self):
        imap = self.imap()
        imap.select()
        tags = [imap.send('APPEND INBOX ', Literal(message('m%d' % number))) for number in range(50)]
        uids = [int(imap.wait(tag).code[2]) for tag in tags]
        self.assertEqual(uids, list(range(1, 51)))
        subjects = imap.fetch('1:*', 'BODY.PEEK[HEADER.FIELDS (SUBJECT)]')
        for uid in uids:
            self.assertIn(b'Subject: m%d\r\n\r\n' % (uid - 1), subjects[uid].values())


class MultiAppend(ServerTest):
    def test_many(self):
        imap = self.imap()
        imap.append('INBOX', message())
        data = [message('m%d' % number, body='b' * number + '\r\n') for number in range(200)]
        self.assertEqual(imap.append_many('INBOX', data), list(range(2, 202)))
        imap.select()
        stored = imap.fetch('2:*', 'BODY.PEEK[]')
        self.assertEqual([stored[uid]['BODY[]'] for uid in sorted(stored)], data)

    def test_each_its_flags_and_date(self):
        imap = self.imap()
        result = imap.ok('APPEND INBOX (\\Seen one) "01-Jan-2001 01:01:01 +0000" ', Literal(message('1')), ' ',
                         Literal(message('2')), ' (two) ', Literal(message('3')), ' "02-Feb-2002 02:02:02 +0000" ',
                         Literal(message('4')))
        self.assertEqual(number_set(result.code[2]), [1, 2, 3, 4])
        imap.select()
        self.assertEqual(imap.flags(), {1: {'\\Seen', 'one'}, 2: set(), 3: {'two'}, 4: set()})
        items = imap.fetch('1,4', 'INTERNALDATE')
        self.assertEqual(items[1]['INTERNALDATE'], '01-Jan-2001 01:01:01 +0000')
        self.assertEqual(items[4]['INTERNALDATE'], '02-Feb-2002 02:02:02 +0000')

    def test_one_fails_none_is_saved(self):
        imap = self.imap()
        imap.append('INBOX', message())
        before = imap.status('INBOX')
        for bad in (' (\\Bogus) {5+}\r\nabcde', ' "no date" {5+}\r\nabcde', ' {0+}\r\n'):
            imap = self.imap()
            result = imap.cmd('APPEND INBOX ', Literal(message('a')), ' ', Literal(message('b')), bad)
            self.assertIn(result.status, ('NO', 'BAD'), bad)
        imap = self.imap()
        imap.select()
        self.assertEqual(imap.uids(), [1])
        self.assertEqual(imap.status('INBOX')['UIDNEXT'], before['UIDNEXT'])

    def test_connection_lost_none_is_saved(self):
        imap = self.imap()
        imap.select()
        imap.send_raw(b'x1 APPEND INBOX {5+}\r\na: b\n {5+}\r\nc: d\n {1000+}\r\nhalf')
        imap.close()
        self.server.wait_until_idle()
        imap = self.imap()
        imap.select()
        self.assertEqual(imap.uids(), [])

    def test_catenate(self):
        imap = self.imap()
        first = message('first', body='of the first\r\n')
        imap.append('INBOX', first)
        uidvalidity = imap.status('INBOX')['UIDVALIDITY']
        imap.select()
        url = '/INBOX;UIDVALIDITY=%d/;UID=1/;SECTION=TEXT' % uidvalidity
        imap.ok('APPEND INBOX CATENATE (TEXT ', Literal(b'Subject: joined\r\n\r\n'), ' URL "%s" TEXT ' % url,
                Literal(b'tail\r\n'), ')')
        imap.ok('NOOP')
        self.assertEqual(imap.body(2), b'Subject: joined\r\n\r\nof the first\r\ntail\r\n')

    def test_large(self):
        """More than a handful of megabytes in one go."""
        imap = self.imap()
        data = [message_of_size(1500000 + number, number) for number in range(12)]
        self.assertEqual(imap.append_many('INBOX', data), list(range(1, 13)))
        imap.select()
        for uid, item in enumerate(data, 1):
            self.assertTrue(imap.body(uid) == item, uid)
