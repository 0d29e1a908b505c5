"""What is kept ready when a message is saved is what Dovecot finds when it parses the message."""

import os
import random
import re

from harness import ServerTest, message, only
from harness.imap import Imap
from harness.lmtp import Lmtp
from harness.message import MULTIPART
from harness.server import Options, Server, mail_location

ITEMS = ('(RFC822.SIZE ENVELOPE BODY BODYSTRUCTURE BODY.PEEK[1] BODY.PEEK[1.MIME] BODY.PEEK[2.1] BODY.PEEK[HEADER] '
         'BODY.PEEK[HEADER.FIELDS (subject FROM to X-5 Message-ID References date Content-Type "a b")] '
         'BODY.PEEK[HEADER.FIELDS.NOT (Subject)])')


def multipart(parts, boundary='b', head='', kind='mixed', end=True, newline='\r\n'):
    lines = [head + 'MIME-Version: 1.0', 'Content-Type: multipart/%s; boundary="%s"' % (kind, boundary), '']
    for part in parts:
        lines += ['--' + boundary, part]
    return newline.join(lines + (['--' + boundary + '--', ''] if end else [])).encode('utf-8', 'surrogateescape')


def nested(depth, kind):
    text = 'Content-Type: text/plain\r\n\r\ninnermost\r\n'
    for level in range(depth):
        if kind == 'multipart':
            text = 'Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n%s--b%d--\r\n' % (level, level, text, level)
        else:
            text = 'Content-Type: message/rfc822\r\nSubject: level %d\r\n\r\n%s' % (level, text)
    return ('Subject: nested\r\n' + text).encode()


ADDRESSES = (
    'group: one@example.org, "Two" <two@example.org>;', 'undisclosed-recipients:;', '<>', '@', 'a@b@c', '"unclosed <a@b>',
    'a@b, , ,, c@d', '(comment) a@b (another (nested))', '=?utf-8?b?w6TDtg==?= <a@b>', '<@route.example,@b:c@d>',
    'a' * 2000 + '@example.org', ', '.join('u%d@example.org' % n for n in range(500)), '"q\\"uote\\\\d" <a@[127.0.0.1]>',
    'Name <a@b', 'Name a@b>', 'just some words', '\xe4\xf6\xfc <a@b>', '\t\t', 'a@b\r\n c@d', ';;;', 'a:b:c;')

FIELDS = (
    'Content-Type: text/plain; charset="us-ascii" (comment); format=flowed', 'Content-Type: ;', 'Content-Type: text',
    'Content-Type: text/', 'Content-Type: /plain', 'Content-Type: text/plain; charset', 'Content-Type: text/plain; =x',
    "Content-Type: text/plain; name*=utf-8''%e2%82%ac; name*0=a; name*1=b", 'Content-Type: image/png\r\nContent-Type: text/html',
    'Content-Type: multipart/mixed', 'Content-Type: multipart/mixed; boundary=""', 'Content-Type: message/rfc822',
    'Content-Transfer-Encoding: base64', 'Content-Transfer-Encoding: x-unknown', 'Content-Disposition: attachment; filename="a\\"b"',
    'Content-Disposition: (', 'Content-ID: <>\r\nContent-MD5: abc==\r\nContent-Language: de, en (x), \r\nContent-Location: http://x/',
    'Content-Description: =?iso-8859-1?q?=e4?=', 'Message-ID: no brackets', 'Message-ID:\r\n <folded@x>\r\n', 'Date: yesterday',
    'In-Reply-To: <a@b>\r\n\t<c@d>', 'Subject: ' + 'long ' * 5000, 'Subject: "quoted" \\ back', 'Subject: a\r\nSubject: b',
    'Subject:\r\n folded\r\n  twice\r\n', 'Subject:', 'Subject', ':', ' begins with a space', 'Subject: a\rb', 'X:' + 'y' * 100000)

WHOLE = (
    b'', b'\r\n', b'\n', b'\r', b'x', b'no header here\r\nat all\r\n', b'Subject: no body\r\n', b'Subject: no line end',
    b'Subject: x\n\nonly line feeds\n', b'Subject: x\r\n\nmixed\r\r\n\rline ends\n\r', b'\r\nbegins with an empty line\r\n',
    b'From user Mon Jan  1 00:00:00 2024\r\nSubject: mbox\r\n\r\nx\r\n', b'Subject: 8 bit \xff\xfe\r\n\r\n\x80\x81\x82\r\n',
    b'Subject: \xc3\xa4\r\nFrom: \xc3\xa4 <\xc3\xa4@\xc3\xa4>\r\n\r\n\xc3\xa4\r\n', b'Subject: a tab\tand \x01\x02\x7f\r\n\r\nx\r\n',
    b'Subject: many lines\r\n\r\n' + b'x\r\n' * 100000, b'Subject: one line\r\n\r\n' + b'x' * 200000,
    b''.join(b'X-%d: y\r\n' % n for n in range(5000)) + b'\r\nmany headers\r\n',
    b'Subject: parts\r\n' + multipart(['Content-Type: text/plain\r\n\r\npart %d\r\n' % n for n in range(300)]),
    b'Subject: more than can be kept\r\n' + multipart(['Content-Type: text/plain; name="part%d"\r\n\r\n%d' % (n, n) for n in range(2000)]),
    b'Subject: large\r\n' + multipart(['\r\ntext', 'Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n' +
                                      ('QUJD' * 18 + '\r\n') * 80000]),
    multipart(['\r\na', '\r\nb'], end=False), multipart([], end=False), multipart([]), multipart(['\r\na'], boundary='b' * 1000),
    multipart(['Content-Type: multipart/mixed; boundary="bb"\r\n\r\n--bb\r\n\r\nx\r\n--bb--']), multipart(['\r\na'], newline='\n'),
    multipart(['', '', '']), multipart(['no empty line']), multipart(['Content-Type: message/rfc822\r\n\r\nSubject: x']),
    multipart(['Content-Type: text/plain\r\n\r\nx'] * 3, kind='digest'), multipart(['\r\nx'] * 3, kind='digest'),
    nested(5, 'multipart'), nested(200, 'multipart'), nested(5, 'rfc822'), nested(200, 'rfc822'), MULTIPART)


NULS = (
    b'Subject: a NUL\0here\r\nFrom: a\0b@x\r\n\r\nx\r\n', b'Subject: x\r\n\r\n\0\0\r\n',
    multipart(['Content-Type: text/plain; name="\0"\r\n\r\n\0', '\r\nx']))


def mutated(count, seed):
    """Messages with pieces cut out, doubled or changed."""
    rand = random.Random(seed)
    for _ in range(count):
        data = bytearray(MULTIPART)
        for _ in range(rand.randint(1, 8)):
            start = rand.randrange(len(data))
            end = min(len(data), start + rand.choice((1, 1, 2, 5, 30, 200)))
            piece = rand.choice((b'', data[start:end] * 2, rand.randbytes(end - start).replace(b'\0', b'0'), b'\r\n', b'"', b'--outer',
                                 b';', b':', b'=?utf-8?q?=?='))
            data[start:end] = piece
        yield bytes(data)


def hostile_messages():
    yield from WHOLE
    for addresses in ADDRESSES:
        yield message(to=addresses, sender=addresses, extra='Cc: %s\r\nReply-To: %s\r\nSender: %s\r\n' % ((addresses,) * 3))
    for field in FIELDS:
        yield (field + '\r\n\r\nbody\r\n').encode('utf-8', 'surrogateescape')
        yield message(extra=field + '\r\n')
        yield multipart([field + '\r\n\r\nbody\r\n', field + '\r\n\r\n'], head=field + '\r\n')
    yield from mutated(150, 1)


def answers(imap, count):
    """What is said of each message, apart from the order of the items."""
    imap.select()
    found = imap.fetch('1:*', ITEMS, uid=False)
    assert len(found) == count, (len(found), count)
    return [found[number] for number in range(1, count + 1)]


@only('lmdb')
class Ready(ServerTest):
    def cache_has_structure(self):
        path = os.path.join(self.home(), 'mail', 'index', '1', 'dovecot.index.cache')
        if not os.path.exists(path):
            return False
        with open(path, 'rb') as file:
            return b'"text" "plain"' in file.read()

    def fill(self, imap, messages):
        for data in messages:
            imap.append('INBOX', data)

    def fill_with_nuls(self, port):
        """IMAP doesn't take them."""
        lmtp = self._opened(Lmtp(port))
        for data in NULS:
            lmtp.ok(self.user, data)

    def parse_messages(self):
        """From now on Dovecot parses messages when they are fetched, to look for attachments."""
        self.stop_server()
        self.remove_indexes()
        # Called in the opposite order
        self.addCleanup(self.restart_server)
        self.addCleanup(setattr, self.server, 'config', self.server.config)
        self.server.config += 'mail_attachment_detection_options = add-flags\n'
        self.server.start()

    def compare(self, messages):
        imap = self.imap()
        self.fill(imap, messages)
        self.fill_with_nuls(self.server.lmtp_port)
        count = len(messages) + len(NULS)
        kept = answers(self.relogin(imap), count)
        self.parse_messages()
        parsed = answers(self.imap(), count)
        options = Options('maildir', None, self.options.fsync)
        other = Server(options, location=mail_location('maildir'))
        self.addCleanup(other.close)
        other.start()
        maildir_imap = self._opened(Imap(other.imap_port, self.user))
        self.fill(maildir_imap, messages)
        self.fill_with_nuls(other.lmtp_port)
        maildir = answers(maildir_imap, count)
        for number, data in enumerate(messages):
            for item in kept[number]:
                what = 'message %d, %s: %r' % (number, item, data[:200])
                values = [found[number][item] for found in (kept, parsed, maildir)]
                if item.startswith('BODY[HEADER.FIELDS') and not re.search(rb'\n\r?\n', data):
                    # Without an empty line at the header's end, Dovecot adds one if the fields are in its cache.
                    values = [value.rstrip(b'\r\n') for value in values]
                self.assertEqual(values[0], values[1], what)
                self.assertEqual(values[0], values[2], what)

    def test_equals_parsed_and_maildir(self):
        self.compare([data for data in hostile_messages() if data])

    def test_nothing_is_parsed(self):
        """Nothing gets into Dovecot's cache that is there if it parses messages."""
        imap = self.imap()
        self.fill(imap, [MULTIPART, message()])
        self.deliver(MULTIPART)
        imap.select()
        imap.fetch('1:*', '(ENVELOPE BODY BODY.PEEK[1])')
        imap.ok('COPY 1:* INBOX')
        imap.fetch('1:*', '(ENVELOPE BODY BODY.PEEK[1])')
        self.close_connections()
        self.assertFalse(self.cache_has_structure())
        self.parse_messages()
        imap = self.imap()
        imap.select()
        imap.fetch('1:*', 'BODY')
        self.close_connections()
        self.assertTrue(self.cache_has_structure())


@only('lmdb')
class Compressed(Ready):
    """The same with a plugin that changes what is stored."""
    plugins = 'zlib'
    config = '''
plugin {
  zlib_save = gz
}
'''

    def test_equals_parsed_and_maildir(self):
        self.compare(list(mutated(50, 2)) + [data for data in WHOLE if data])
