"""FETCH of everything a message has."""

from harness import ServerTest, message, message_of_size
from harness.message import MULTIPART


class Fetch(ServerTest):
    def setUp(self):
        super().setUp()
        self.client = self.imap()
        self.client.append('INBOX', MULTIPART)
        self.client.select()

    def part(self, section):
        return self.client.body(1, 'BODY.PEEK[%s]' % section)

    def test_sections(self):
        header, _, text = MULTIPART.partition(b'\r\n\r\n')
        self.assertEqual(self.part(''), MULTIPART)
        self.assertEqual(self.part('HEADER'), header + b'\r\n\r\n')
        self.assertEqual(self.part('TEXT'), text)
        self.assertEqual(self.part('1.1'), 'Sch=C3=B6ne Gr=C3=BC=C3=9Fe, =\r\nand a long line.'.encode())
        self.assertEqual(self.part('1.1.MIME'), b'Content-Type: text/plain; charset=utf-8\r\n'
                                                b'Content-Transfer-Encoding: quoted-printable\r\n\r\n')
        self.assertEqual(self.part('2'), b'AAECA/8K')
        self.assertEqual(self.part('3.HEADER.FIELDS (SUBJECT)'), b'Subject: an inner message\r\n\r\n')
        self.assertEqual(self.part('3.TEXT'), b'Inner body.')
        self.assertEqual(self.part('HEADER.FIELDS (to x-none)'), b'To: Bob <bob@example.org>, carol@example.org\r\n\r\n')
        self.assertNotIn(b'Subject:', self.part('HEADER.FIELDS.NOT (Subject)'))
        self.assertIn(self.client.fetch('1', 'BODY.PEEK[7]')[1]['BODY[7]'], (None, b''))

    def test_rfc822(self):
        items = self.client.fetch('1', '(RFC822.HEADER)')[1]
        self.assertEqual(items['RFC822.HEADER'], MULTIPART.partition(b'\r\n\r\n')[0] + b'\r\n\r\n')
        self.assertEqual(self.client.flags(), {1: set()})
        items = self.client.fetch('1', '(RFC822 RFC822.TEXT)')[1]
        self.assertEqual(items['RFC822'], MULTIPART)
        self.assertEqual(items['RFC822.TEXT'], MULTIPART.partition(b'\r\n\r\n')[2])
        self.assertEqual(self.client.flags(), {1: {'\\Seen'}})

    def test_reading_sets_seen(self):
        self.client.fetch('1', 'BODY.PEEK[]')
        self.assertEqual(self.client.flags(), {1: set()})
        result = self.client.ok('FETCH 1 BODY[]')
        self.assertIn('\\Seen', result.fetched()[1]['FLAGS'])
        self.assertEqual(self.imap().status('INBOX')['UNSEEN'], 0)

    def test_examine_sets_nothing(self):
        imap = self.imap()
        result = imap.ok('EXAMINE INBOX')
        self.assertEqual(result.code, ['READ-ONLY'])
        imap.fetch('1', 'BODY[]')
        self.assertEqual(imap.flags(), {1: set()})
        imap.cmd(r'STORE 1 +FLAGS (\Seen \Deleted)')
        imap.cmd('EXPUNGE')
        self.assertEqual(imap.flags(), {1: set()})
        imap.ok('CLOSE')
        self.assertEqual(imap.status('INBOX')['UNSEEN'], 1)

    def test_partial(self):
        for first, count in ((0, 10), (5, 1), (0, len(MULTIPART)), (100, 5000), (len(MULTIPART) - 1, 5),
                             (len(MULTIPART), 5), (10 ** 6, 5), (300, 0x7fffffff)):
            items = self.client.fetch('1', 'BODY.PEEK[]<%d.%d>' % (first, count))[1]
            self.assertEqual(items['BODY[]<%d>' % first], MULTIPART[first:first + count])
        self.assertEqual(self.client.body(1, 'BODY.PEEK[TEXT]<10.20>'), self.part('TEXT')[10:30])
        self.assertEqual(self.client.body(1, 'BODY.PEEK[2]<2.4>'), b'ECA/')

    def test_binary(self):
        self.assertEqual(self.client.body(1, 'BINARY.PEEK[2]'), b'\0\1\2\3\xff\n')
        self.assertEqual(self.client.body(1, 'BINARY.PEEK[1.1]'), 'Schöne Grüße, and a long line.'.encode())
        self.assertEqual(self.client.fetch('1', 'BINARY.SIZE[2]')[1]['BINARY.SIZE[2]'], 6)
        self.assertEqual(self.client.body(1, 'BINARY.PEEK[2]<1.3>'), b'\1\2\3')

    def test_envelope(self):
        envelope = self.client.fetch('1', 'ENVELOPE')[1]['ENVELOPE']
        self.assertEqual(envelope, [
            'Tue, 8 Mar 2022 09:08:07 +0000', '=?utf-8?q?Gr=C3=BC=C3=9Fe?= from here',
            [['Alice A.', None, 'alice', 'example.org']], [[None, None, 'sender', 'example.org']],
            [[None, None, 'reply', 'example.org']],
            [['Bob', None, 'bob', 'example.org'], [None, None, 'carol', 'example.org']],
            [[None, None, 'dave', 'example.org']], [[None, None, 'eve', 'example.org']],
            '<parent@example.org>', '<multi@example.org>'])

    def test_bodystructure(self):
        structure = self.client.fetch('1', 'BODYSTRUCTURE')[1]['BODYSTRUCTURE']
        alternative, attachment, inner, kind = structure[0], structure[1], structure[2], structure[3]
        self.assertEqual(kind, 'mixed')
        self.assertEqual(structure[4], ['boundary', 'outer'])
        self.assertEqual([part[1] for part in alternative[:2]], ['plain', 'html'])
        self.assertEqual(alternative[0][:8], ['text', 'plain', ['charset', 'utf-8'], None, None, 'quoted-printable', '48',
                                              '1'])
        self.assertEqual(attachment[:7], ['application', 'octet-stream', ['name', 'data.bin'], '<part2@example.org>',
                                          'some bytes', 'base64', '8'])
        self.assertEqual(attachment[8], ['attachment', ['filename', 'data.bin', 'size', '6']])
        self.assertEqual(inner[:2], ['message', 'rfc822'])
        self.assertEqual(inner[7][1], 'an inner message')
        body = self.client.fetch('1', 'BODY')[1]['BODY']
        self.assertEqual(body[3], 'mixed')

    def test_macros_and_order(self):
        for macro, keys in (('FAST', {'FLAGS', 'INTERNALDATE', 'RFC822.SIZE'}),
                            ('ALL', {'FLAGS', 'INTERNALDATE', 'RFC822.SIZE', 'ENVELOPE'}),
                            ('FULL', {'FLAGS', 'INTERNALDATE', 'RFC822.SIZE', 'ENVELOPE', 'BODY'})):
            self.assertEqual(set(self.client.fetch('1', macro, uid=False)[1]), keys)

    def test_preview(self):
        self.client.append('INBOX', message(body='The first words of it.\r\n'))
        self.client.ok('NOOP')
        self.assertEqual(self.client.fetch('2', 'PREVIEW')[2]['PREVIEW'], 'The first words of it.')
        self.assertTrue(self.client.fetch('1', 'PREVIEW')[1]['PREVIEW'].startswith('Schöne Grüße'))

    def test_again_by_a_new_session(self):
        """What the first session left in the cache answers as the message did."""
        items = '(UID ENVELOPE BODYSTRUCTURE RFC822.SIZE INTERNALDATE SAVEDATE BODY.PEEK[HEADER.FIELDS (TO)] PREVIEW)'
        first = self.client.fetch('1', items)
        imap = self.relogin(self.client)
        imap.select()
        self.assertEqual(imap.fetch('1', items), first)
        self.assertEqual(imap.fetch('1', items), first)

    def test_missing_messages(self):
        self.assertEqual(self.client.fetch('2:9', 'FLAGS'), {})
        self.client.bad('FETCH 2 FLAGS')
        self.client.bad('FETCH 0 FLAGS')
        self.assertEqual(sorted(self.client.fetch('*', 'FLAGS')), [1])
        self.assertEqual(sorted(self.client.fetch('100:*', 'FLAGS')), [1])

    def test_many_messages(self):
        imap = self.client
        imap.create('Many')
        data = [message('m%d' % number, body='body %d\r\n' % number) for number in range(2000)]
        for start in range(0, 2000, 500):
            imap.append_many('Many', data[start:start + 500])
        imap.select('Many')
        stored = imap.fetch('1:*', '(RFC822.SIZE BODY.PEEK[])')
        self.assertEqual([stored[uid]['BODY[]'] for uid in range(1, 2001)], data)
        self.assertEqual([stored[uid]['RFC822.SIZE'] for uid in range(1, 2001)], [len(item) for item in data])
        # Backwards, and a few at random places.
        self.assertEqual(imap.body(2000), data[1999])
        self.assertEqual(imap.body(1), data[0])
        self.assertEqual(sorted(imap.fetch('7,100:102,1999', 'BODY.PEEK[]')), [7, 100, 101, 102, 1999])

    def test_large_in_pieces(self):
        """As clients on slow lines read: a large message piece by piece, in any order."""
        imap = self.client
        data = message_of_size(3000000)
        _, uid = imap.append('INBOX', data)
        imap.ok('NOOP')
        step = 65536
        starts = list(range(0, len(data), step))
        for start in starts[::2] + starts[1::2][::-1]:
            piece = imap.body(uid, 'BODY.PEEK[]<%d.%d>' % (start, step))
            self.assertTrue(piece == data[start:start + step], start)
