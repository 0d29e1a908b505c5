"""Mail to search in, random queries about it, and a session that searches without the index."""

import base64
import email
import email.header
import os
import quopri
import random
import re

from harness import Imap, Literal, ServerTest

# Words in the languages that these charsets are for.
LANGUAGES = (
    (('utf-8', 'us-ascii'), 'the quick brown fox jumps over a lazy dog while reading multi-line e-mail from user@example.org '
                            'about /usr/lib/x.so and don\'t-care 2.4.1 06/08/2001 (see http://www.example.com/a?b=c) :-)'),
    (('utf-8', 'iso-8859-1', 'iso-8859-15', 'windows-1252'), 'Grüße aus Köln für Übermaß straße naïve café déjà vu señor Ångström'),
    (('utf-8', 'koi8-r', 'windows-1251', 'iso-8859-5'), 'Привет мир это длинное русское предложение ёлка Москва'),
    (('utf-8', 'iso-8859-2'), 'Zażółć gęślą jaźń příliš žluťoučký kůň'),
    (('utf-8', 'iso-8859-7'), 'Καλημέρα κόσμε άνθρωπος'),
    (('utf-8', 'gb2312', 'gb18030'), '中文邮件测试内容,这是一个很长的句子。北京 上海'),
    (('utf-8', 'big5'), '中文郵件測試內容,這是一個很長的句子。臺北'),
    (('utf-8', 'iso-2022-jp', 'shift_jis', 'euc-jp'), '日本語のメールです。カタカナとひらがな、がぎぐげご 東京'),
    (('utf-8', 'euc-kr'), '한국어 메일 시험 문장입니다 서울'),
    (('utf-8',), 'ไทยภาษา שלום עולם مرحبا بالعالم 😀👍 → “quoted” — dash … ﬁne ½ ＦＵＬＬ'),
)


def encode_body(rng, text, charset):
    """Transfer encoding and encoded lines of a text."""
    data = text.encode(charset, 'replace').replace(b'\n', b'\r\n')
    kind = rng.choice(('8bit', 'quoted-printable', 'base64'))
    if kind == 'quoted-printable':
        data = quopri.encodestring(data.replace(b'\r\n', b'\n')).replace(b'\n', b'\r\n')
    elif kind == 'base64':
        data = base64.encodebytes(data).replace(b'\n', b'\r\n')
    return kind, data


class Writer:
    """Writes mail in many languages, charsets and structures."""

    def __init__(self, seed):
        self.rng = random.Random(seed)

    def words(self, text, count):
        words = text.split(' ')
        return ' '.join(self.rng.choice(words) for _ in range(count))

    def paragraph(self, text):
        return '\n'.join(self.words(text, self.rng.randint(1, 12)) for _ in range(self.rng.randint(1, 12))) + '\n'

    def text_part(self, charsets, text, subtype='plain'):
        charset = self.rng.choice(charsets)
        if subtype == 'html':
            text = '<html><body bgcolor="#ffffff"><a href="http://www.example.com/%d">%s</a>&nbsp;%s</body></html>\n' % (
                self.rng.randint(1, 99), self.words(text, 2), self.paragraph(text).replace('\n', '<br>\n'))
        else:
            text = self.paragraph(text)
        encoding, data = encode_body(self.rng, text, charset)
        quoted = self.rng.choice(('%s', '"%s"')) % charset
        return (('Content-Type: text/%s; charset=%s\r\nContent-Transfer-Encoding: %s\r\n\r\n' % (subtype, quoted, encoding))
                .encode() + data)

    def multipart(self, kind, parts):
        boundary = 'b%d' % self.rng.randint(1, 10 ** 9)
        text = ('Content-Type: multipart/%s; boundary="%s"\r\n\r\nThe preamble.\r\n' % (kind, boundary)).encode()
        for part in parts:
            text += ('--%s\r\n' % boundary).encode() + part + b'\r\n'
        return text + ('--%s--\r\nThe epilogue.\r\n' % boundary).encode()

    def content(self, depth=0):
        rng = self.rng
        charsets, text = rng.choice(LANGUAGES)
        kind = rng.randrange(8 if depth < 2 else 4)
        if kind < 3:
            return self.text_part(charsets, text)
        if kind == 3:
            return self.text_part(charsets, text, 'html')
        if kind == 4:
            return self.multipart('alternative', [self.text_part(charsets, text), self.text_part(charsets, text, 'html')])
        if kind == 5:
            attachment = (b'Content-Type: application/octet-stream; name="secret.bin"\r\nContent-Disposition: attachment\r\n'
                          b'Content-Transfer-Encoding: base64\r\n\r\n' + base64.encodebytes(text.encode()))
            return self.multipart('mixed', [self.content(depth + 1), attachment])
        if kind == 6:
            return self.multipart('mixed', [self.content(depth + 1), b'Content-Type: message/rfc822\r\n\r\n' +
                                            self.message(depth + 1)])
        return self.multipart('mixed', [self.content(depth + 1) for _ in range(rng.randint(1, 3))])

    def encoded_word(self, charsets, text):
        if self.rng.random() < 0.2:
            return text.encode('utf-8')
        charset = self.rng.choice(charsets)
        header = email.header.Header(text.encode(charset, 'replace').decode(charset), charset, maxlinelen=70)
        return header.encode(linesep='\r\n').encode('ascii', 'replace')

    def address(self, charsets, text):
        rng = self.rng
        name = self.words(text, rng.randint(1, 2)).replace('"', '')
        user = rng.choice(('ann', 'bob.smith', 'carol+tag', 'x-y_z'))
        host = rng.choice(('example.org', 'Example.COM', 'mail.test', '[127.0.0.1]'))
        return rng.choice((
            b'%s <%s@%s>' % (self.encoded_word(charsets, name), user.encode(), host.encode()),
            b'%s@%s (%s)' % (user.encode(), host.encode(), user.upper().encode()),
            b'"%s" <%s@%s>' % (user.encode(), user.encode(), host.encode()),
            b'Group: %s@%s, other@%s;' % (user.encode(), host.encode(), host.encode()),
            b'<>', b'no address at all', b'%s' % user.encode()))

    def message(self, depth=0):
        rng = self.rng
        charsets, text = rng.choice(LANGUAGES)
        lines = [b'From: ' + self.address(charsets, text), b'To: ' + b',\r\n\t'.join(
            self.address(charsets, text) for _ in range(rng.randint(1, 3))),
                 b'Subject: ' + self.encoded_word(charsets, self.words(text, rng.randint(1, 6))),
                 b'Date: Mon, 7 Mar %d 10:11:12 +0100' % rng.randint(1999, 2024),
                 b'Message-ID: <%d.%d@example.org>' % (rng.randint(1, 10 ** 9), rng.randint(1, 10 ** 9)),
                 b'MIME-Version: 1.0']
        for name in (b'Cc', b'Bcc', b'Reply-To', b'X-Mailer', b'X-Spam-Status', b'Received'):
            for _ in range(rng.choice((0, 0, 1, 2))):
                lines.append(name + b': ' + self.address(charsets, text))
        return b'\r\n'.join(lines) + b'\r\n' + self.content(depth)


LONG = 'abcdefghij' * 30
# Mail that nobody should send.
HOSTILE = tuple(text.encode() if isinstance(text, str) else text for text in (
    '', '\r\n', 'no header at all, and no line end', 'Subject: only a header', 'Subject: x\r\n', '\r\nonly a body\r\n',
    'Subject: twice\r\nSubject: second\r\nFrom: a@b\r\nFrom: c@d\r\n\r\ntext\r\n',
    'Subject:\r\n \r\n\t\r\n folded into nothing\r\n\r\nbody\r\n', 'Subject : space before colon\r\n\r\nbody\r\n',
    ': no name\r\nSubject: s\r\n\r\nbody\r\n', 'broken line without colon\r\nSubject: s\r\n\r\nbody\r\n',
    b'Subject: \xff\xfe raw \x80\x81 bytes\r\n\r\nbody \xff\xc3\x28 \xe2\x82 \xf0\x9f\x98 end \xc3\r\n',
    b'Subject: nul\0inside\r\n\r\nbody with nul \0 and more\0\0text\r\n',
    'Subject: %s\r\n\r\n%s\r\n%s\r\n' % (LONG, LONG * 20, '=' * 200), 'Subject: %s\r\n\r\nx\r\n' % ('word ' * 3000),
    'Content-Type: TEXT/PLAIN charset=us-ascii\r\n\r\nbroken content type\r\n',
    'Content-Type: text/plain; charset="no-such-charset"\r\n\r\nunknown charset grüße\r\n',
    'Content-Type: text/plain; charset=utf-7\r\n\r\nHi +AOQ- there\r\n',
    'Content-Type: text/plain; charset=utf-16\r\nContent-Transfer-Encoding: base64\r\n\r\n' +
    base64.b64encode('sechzehn bit'.encode('utf-16')).decode() + '\r\n',
    'Content-Transfer-Encoding: base64\r\n\r\nVGhpcyBpcyBiYXNlNjQ\r\n!!!! not base64 ???\r\n',
    'Content-Transfer-Encoding: base64\r\n\r\nVGhpcyA=aXMgYmFzZTY0\r\n',
    'Content-Transfer-Encoding: quoted-printable\r\n\r\nbroken =ZZ =3 =C3=BC soft=\r\nbreak =\r\n',
    'Content-Transfer-Encoding: x-unknown\r\n\r\nunknown encoding\r\n',
    'Content-Transfer-Encoding: 8bit (comment)\r\n\r\nencoding with a comment\r\n',
    'Content-Type: multipart/mixed\r\n\r\nmultipart without boundary\r\n',
    'Content-Type: multipart/mixed; boundary=x\r\n\r\npreamble\r\n--x\r\n\r\nnever ended',
    'Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nin\r\n--x--\r\n'
    'between\r\n--x--\r\nafter\r\n',
    'Content-Type: multipart/mixed; boundary=""\r\n\r\n--\r\n\r\nempty boundary\r\n----\r\n',
    'Content-Type: message/rfc822\r\n\r\nSubject: inner of none\r\n\r\ninner text\r\n',
    'Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n' +
    base64.b64encode(b'Subject: encoded inner\r\n\r\ninner text').decode() + '\r\n',
    'Content-Type: text/plain\r\nContent-Type: text/html; charset=iso-8859-1\r\n\r\ntwo content types\r\n',
    'Subject: =?utf-8?q?open\r\n\r\nbody\r\n', 'Subject: =?utf-8?q?Gr=C3?= =?utf-8?q?=BC=C3=9Fe?=\r\n\r\nsplit character\r\n',
    'Subject: =?x-none?b?AAAA?= =?utf-8?b?!!!?=\r\n\r\nbody\r\n', 'From: =?utf-8?b?w7xiZXI=?= <\r\nTo: @@@,,;:<>\r\n\r\nbody\r\n',
    'From: a@b, (comment (nested) c@d), "quoted \\" name" <e@f>\r\n\r\nbody\r\n',
    'Subject: cut\r\n\r\nfoo\r\nbar\r\n\r\nfoo bar\r\nfoo\tbar\r\nfoo  bar\r\nfoo\nbar\rbaz\r\n',
    'Subject: combining\r\n\r\ne\u0301 \u0301alone \u200bzero\u200dwidth \u00adsoft \u2028line\u2029 \ufeffbom\r\n',
    'Subject: \u017f\u0130\u0131\u00df\ufb01 \u1e9e\r\n\r\n\u01c4 \u01c5 \u01c6 \u0345 \u03c2\u03c3\u03a3 \u2126 \u212b \uac00\u1100\u1161\r\n',
    'Content-Type: multipart/mixed; boundary=a\r\n\r\n' + ''.join(
        '--a\r\nContent-Type: multipart/mixed; boundary=a%d\r\n\r\n--a%d\r\n\r\ndeep %d\r\n' % (n, n, n) for n in range(120)),
    'X-A: 1\r\nX-a: 2\r\nx-A-b: 3\r\n\r\nheader names\r\n', 'Subject: tab\there\r\n\r\n' + '\r\n' * 50 + 'after many lines\r\n',
    'Subject: dots\r\n\r\n.\r\n..\r\n...\r\n. . .\r\n---\r\n-- \r\n:-) ;-( ^_^ \\o/ <3 </b> &amp; %20 #1 $5 a*b a|b {x} [y] ~z `q`\r\n',
))

WORD = re.compile(r'\w+')
HEADERS = ('Subject', 'From', 'Message-ID', 'X-Mailer', 'X-Spam-Status', 'Content-Type', 'Received', 'X-None', 'Reply-To', 'x-a')
OTHER_KEYS = ('SEEN', 'UNSEEN', 'FLAGGED', 'KEYWORD key', 'SINCE 1-Jan-2022', 'SENTSINCE 1-Jan-2010', 'LARGER 2000', 'SMALLER 1500',
              'UID 10:90', '1:60', 'NOT 5:*', 'ALL', 'MODSEQ 2', 'SENTBEFORE 7-Mar-2005')


def texts_of(data):
    """What can be read in a message, with more or less luck: the raw text, decoded bodies and headers."""
    found = [data.decode('utf-8', 'replace'), data.decode('latin-1')]
    parsed = email.message_from_bytes(data)
    for part in parsed.walk():
        for name, value in part.items():
            try:
                value = str(email.header.make_header(email.header.decode_header(str(value))))
            except (ValueError, LookupError, UnicodeError, AssertionError):
                value = str(value)
            found.append('%s: %s' % (name, value))
        if not part.is_multipart():
            payload = part.get_payload(decode=True) or b''
            try:
                found.append(payload.decode(part.get_content_charset() or 'utf-8', 'replace'))
            except (LookupError, ValueError):
                found.append(payload.decode('latin-1'))
    return [text for text in found if text.strip()]


class Queries:
    """Random SEARCH keys: pieces of the mail itself of all sizes, in any combination."""

    def __init__(self, messages, seed):
        self.rng = random.Random(seed)
        self.messages = messages
        self.texts = {}

    def text(self):
        number = self.rng.randrange(len(self.messages))
        if number not in self.texts:
            self.texts[number] = texts_of(self.messages[number]) or ['x']
        return self.rng.choice(self.texts[number])

    def piece(self):
        rng = self.rng
        text = self.text()
        words = WORD.findall(text)
        kind = rng.randrange(8)
        if kind < 4 and words:
            word = rng.choice(words)
            start = rng.randrange(len(word))
            return (word, word[start:], word[:start + 1], word[start:start + rng.randint(1, 5)])[kind]
        start = rng.randrange(len(text))
        return text[start:start + rng.choice((1, 1, 2, 2, 3, 4, 6, 9, 14, 22, 33, 34, 35, 64, 65, 100))]

    def key(self):
        """A string that can be sent: UTF-8 without NUL."""
        text = self.piece()
        if self.rng.random() < 0.1:
            text = text.swapcase()
        return text.replace('\0', '').encode('utf-8', 'ignore')

    def criterion(self):
        rng = self.rng
        if rng.random() < 0.15:
            return [rng.choice(OTHER_KEYS)]
        name = rng.choice(('BODY', 'BODY', 'BODY', 'TEXT', 'TEXT', 'SUBJECT', 'FROM', 'TO', 'CC', 'BCC', 'HEADER'))
        if name == 'HEADER':
            name += ' ' + rng.choice(HEADERS)
        key = b'' if rng.random() < 0.02 else self.key()
        return [name + ' ', Literal(key)]

    def query(self, depth=0):
        """Parts of a command."""
        chance = self.rng.random() if depth < 3 else 1
        if chance < 0.14:
            return ['OR ('] + self.query(depth + 1) + [') ('] + self.query(depth + 1) + [')']
        if chance < 0.28:
            return ['NOT ('] + self.query(depth + 1) + [')']
        if chance < 0.40:
            return self.query(depth + 1) + [' '] + self.query(depth + 1)
        return self.criterion()


def show(query):
    return ''.join(repr(part.data.decode()) if isinstance(part, Literal) else part for part in query)


class SearchTest(ServerTest):
    """Compares sessions with the search index, which is the default, with one that doesn't use it."""

    def index_path(self, name='data.mdb'):
        return os.path.join(self.home(), 'mail', 'search', name)

    def fill(self, messages, mailbox='INBOX'):
        """A session and one without the index that have some messages, some of them with flags."""
        imap = self.imap()
        for start in range(0, len(messages), 50):
            imap.append_many(mailbox, messages[start:start + 50])
        imap.select(mailbox)
        count = len(messages)
        imap.store('1:%d' % max(count // 2, 1), r'+FLAGS.SILENT (\Seen)')
        imap.store('%d:%d' % (max(count // 3, 1), max(count // 4 * 3, 1)), r'+FLAGS.SILENT (\Flagged key)')
        plain = self.imap_without_index()
        plain.select(mailbox)
        return imap, plain

    def imap_without_index(self):
        sock = self.server.spawn_imap(self.user, ('plugin/lmdb_search=no',))
        return self._opened(Imap(None, sock=sock, transcript=self.transcript))

    def search(self, client, query):
        return sorted(client.ok('UID SEARCH CHARSET UTF-8 ', *query).search())

    def compare(self, client, plain, query, sync=False):
        """Both must find the same; returns what. sync: first let them see what others did."""
        if sync:
            client.ok('NOOP')
            plain.ok('NOOP')
        expected = self.search(plain, query)
        self.assertEqual(self.search(client, query), expected, show(query))
        return expected

    def compare_random(self, client, plain, messages, count, seed):
        queries = Queries(messages, seed)
        found = sum(bool(self.compare(client, plain, queries.query())) for _ in range(count))
        # Random keys that match nothing would prove little.
        self.assertGreater(found, count // 4)
