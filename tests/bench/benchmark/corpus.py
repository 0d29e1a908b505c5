"""The messages of a run: generated from a seed, or the user's own. All are in one file with CRLF line ends."""

import base64
import contextlib
import email.utils
import mailbox
import os
import quopri
import random
import re
import textwrap

# Alphabet of syllables, character sets and transfer encodings of the languages that the generated mail is in.
LANGUAGES = (
    ('en', 'b c d f g h l m n p r s t th sh ch w st tr', 'a e i o u ea ou', '- n r s t ng ck ll', ('us-ascii',)),
    ('de', 'b d f g h k l m n r s sch st w z pf', 'a e i o u ä ö ü ei au', '- n r t ch ss ß st', ('utf-8', 'iso-8859-1')),
    ('ru', 'б в г д ж з к л м н п р с т ф х ш', 'а е и о у ы ю я', '- н р т й ль ст', ('utf-8', 'koi8-r')),
    ('ja', 'か き く さ し た な の は ま や ら わ', 'ん い う 本 日 山 川', '- 、 。', ('utf-8', 'iso-2022-jp')),
)
LANGUAGE_WEIGHTS = (70, 15, 10, 5)
VOCABULARY = 4000
TEXT_BLOCK = 400 * 1024
ATTACHMENT_BLOCK = 6 * 1024 * 1024
MEDIAN_SIZE = 6000
SIZE_SPREAD = 1.4
LARGE_SHARE = 0.005
LARGE_SIZES = (1 << 20, 5 << 20)


class Language:
    """Text with the frequencies of a language: few words make up most of it."""

    def __init__(self, rng, onsets, nuclei, codas, charsets):
        onsets, nuclei = onsets.split(), nuclei.split()
        codas = [coda.strip('-') for coda in codas.split()]
        self.charsets = charsets
        words = [''.join(rng.choice(onsets) + rng.choice(nuclei) + rng.choice(codas)
                         for _ in range(rng.choice((1, 1, 2, 2, 3)))) for _ in range(VOCABULARY)]
        self.words, self.weights = words, [1 / (rank + 3) for rank in range(VOCABULARY)]
        self.lines = self._lines(rng)

    def _lines(self, rng):
        lines, size = [], 0
        while size < TEXT_BLOCK:
            paragraph = ' '.join(self.sentence(rng, rng.randint(5, 18)) for _ in range(rng.randint(2, 7)))
            for line in textwrap.wrap(paragraph, 72) + ['']:
                lines.append(line)
                size += len(line) + 2
        return lines

    def sentence(self, rng, words):
        return ' '.join(rng.choices(self.words, self.weights, k=words)).capitalize() + '.'

    def text(self, rng, size):
        start, taken, length = rng.randrange(len(self.lines)), [], 0
        while length < size:
            line = self.lines[(start + len(taken)) % len(self.lines)]
            taken.append(line)
            length += len(line) + 2
        return '\r\n'.join(taken) + '\r\n'


class Generator:
    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.languages = [Language(self.rng, *rest) for _, *rest in LANGUAGES]
        english = self.languages[0]
        self.people = [(english.sentence(self.rng, 2).rstrip('.').title(), 'user%d@host%d.example.org' % (n, n % 40))
                       for n in range(300)]
        self.attachments = [self._attachment(compressible) for compressible in (False, False, True)]

    def _attachment(self, compressible):
        """Lines of base64: of data that is compressed already, as most attachments are, or of data with structure."""
        count = ATTACHMENT_BLOCK * 3 // 4
        data = self.rng.randbytes(count)
        if compressible:
            records = [b'%08d;%06d;%s\n' % (n, n * 7919 % 999983, data[n % 1000:n % 1000 + 4].hex().encode())
                       for n in range(count // 26)]
            data = b''.join(records)
        return base64.encodebytes(data).replace(b'\n', b'\r\n')

    def _date(self):
        return email.utils.formatdate(1.6e9 + self.rng.randrange(86400 * 365), localtime=False)

    def _identifier(self):
        return '<%016x.%08x@%s>' % (self.rng.getrandbits(64), self.rng.getrandbits(32), 'mail.example.org')

    def _address(self):
        name, address = self.rng.choice(self.people)
        return '%s <%s>' % (name, address)

    def head(self, language):
        rng = self.rng
        lines = ['Received: from relay%d.example.org (relay%d.example.org [192.0.2.%d])\r\n\tby mx%d.example.org (Postfix) '
                 'with ESMTPS id %012X\r\n\tfor <someone@example.org>; %s' %
                 (hop, hop, rng.randrange(255), rng.randrange(9), rng.getrandbits(48), self._date())
                 for hop in range(rng.randint(1, 4))]
        if rng.random() < 0.7:
            signature = base64.b64encode(rng.randbytes(256)).decode()
            lines.append('DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=mail;\r\n\tb=' +
                         '\r\n\t '.join(textwrap.wrap(signature, 70)))
        subject = language.sentence(rng, rng.randint(2, 9)).rstrip('.')
        if not subject.isascii():
            subject = '=?utf-8?b?%s?=' % base64.b64encode(subject[:30].encode()).decode()
        lines += ['From: ' + self._address(), 'To: ' + ', '.join(self._address() for _ in range(rng.choice((1, 1, 1, 2, 5)))),
                  'Subject: ' + subject, 'Date: ' + self._date(), 'Message-ID: ' + self._identifier()]
        if rng.random() < 0.4:
            references = [self._identifier() for _ in range(rng.randint(1, 6))]
            lines += ['In-Reply-To: ' + references[-1], 'References: ' + '\r\n\t'.join(references)]
        if rng.random() < 0.2:
            lines += ['List-Id: <list%d.example.org>' % rng.randrange(20), 'Precedence: list']
        return '\r\n'.join(lines + ['MIME-Version: 1.0', '']).encode()

    def _part(self, language, size, kind='plain'):
        charset = self.rng.choice(language.charsets)
        text = language.text(self.rng, size)
        if kind == 'html':
            text = '<html><body>\r\n<p>%s</p>\r\n</body></html>\r\n' % text.replace('\r\n\r\n', '</p>\r\n\r\n<p class="text">')
        data = text.encode(charset, 'replace')
        if charset == 'iso-8859-1':
            encoding = 'quoted-printable'
            data = quopri.encodestring(data.replace(b'\r\n', b'\n')).replace(b'\n', b'\r\n')
        elif charset == 'utf-8' and self.rng.random() < 0.5:
            encoding = 'base64'
            data = base64.encodebytes(data).replace(b'\n', b'\r\n')
        else:
            encoding = '7bit' if charset in ('us-ascii', 'iso-2022-jp') else '8bit'
        head = 'Content-Type: text/%s; charset=%s\r\nContent-Transfer-Encoding: %s\r\n\r\n' % (kind, charset, encoding)
        return head.encode() + data

    def _attached(self, size):
        block = self.rng.choice(self.attachments)
        # whole lines of 76 characters
        start = self.rng.randrange(max(1, len(block) - size) // 78 + 1) * 78
        data = block[start:start + size // 78 * 78]
        head = ('Content-Type: application/octet-stream; name="file%d.bin"\r\nContent-Disposition: attachment;\r\n'
                '\tfilename="file%d.bin"\r\nContent-Transfer-Encoding: base64\r\n\r\n')
        number = self.rng.randrange(1000)
        return (head % (number, number)).encode() + data

    def _multipart(self, kind, parts):
        boundary = '=_%024x' % self.rng.getrandbits(96)
        begin = b'--%s\r\n' % boundary.encode()
        head = 'Content-Type: multipart/%s;\r\n\tboundary="%s"\r\n\r\n' % (kind, boundary)
        return head.encode() + b''.join(begin + part + b'\r\n' for part in parts) + b'--%s--\r\n' % boundary.encode()

    def size(self):
        if self.rng.random() < LARGE_SHARE:
            return self.rng.randint(*LARGE_SIZES)
        return int(min(max(self.rng.lognormvariate(0, SIZE_SPREAD) * MEDIAN_SIZE, 700), LARGE_SIZES[0]))

    def message(self):
        language, = self.rng.choices(self.languages, LANGUAGE_WEIGHTS)
        head, size = self.head(language), self.size()
        room = max(200, size - len(head))
        if room > 30000 or (room > 8000 and self.rng.random() < 0.3):
            text = self._part(language, self.rng.randint(500, 4000))
            body = self._multipart('mixed', [text, self._attached(room - len(text) - 300)])
        elif room > 3000 and self.rng.random() < 0.5:
            body = self._multipart('alternative', [self._part(language, room // 3),
                                                   self._part(language, room // 2, 'html')])
        else:
            body = self._part(language, room)
        return head + body


def own_messages(path):
    """Messages of a Maildir (with its folders, of either layout) or an mbox."""
    if os.path.isdir(path):
        for directory, _, names in sorted(os.walk(path)):
            if os.path.basename(directory) in ('cur', 'new'):
                for name in sorted(names):
                    with open(os.path.join(directory, name), 'rb') as file:
                        # some have the first line of an mbox
                        yield re.sub(rb'\AFrom .*\n', b'', file.read())
    else:
        with contextlib.closing(mailbox.mbox(path, create=False)) as box:
            for key in box.keys():
                yield box.get_bytes(key)


class Corpus:
    """One file of messages; the index has (offset, length) of each, and where it is as LMTP wants it, dots doubled."""

    def __init__(self, path):
        self.path = path
        self.source = None
        self.index = []
        self.lmtp_index = []
        self.size = 0

    def write(self, messages):
        with open(self.path, 'wb') as file:
            for data in messages:
                data = re.sub(rb'\r?\n', b'\r\n', data)
                if not data.endswith(b'\r\n'):
                    data += b'\r\n'
                self.index.append(self._add(file, data))
                stuffed = re.sub(rb'(?m)^\.', b'..', data)
                self.lmtp_index.append(self.index[-1] if stuffed == data else self._add(file, stuffed))
        if not self.index:
            raise SystemExit('there are no messages')
        self.size = sum(length for _, length in self.index)
        return self

    @staticmethod
    def _add(file, data):
        offset = file.tell()
        file.write(data)
        return offset, len(data)

    def small(self):
        """Numbers of the messages that aren't larger than the median."""
        limit = sorted(length for _, length in self.index)[len(self.index) // 2]
        return [number for number, (_, length) in enumerate(self.index) if length <= limit]

    def describe(self):
        sizes = sorted(length for _, length in self.index)
        share = {name: sizes[min(len(sizes) - 1, int(len(sizes) * part))]
                 for name, part in (('median', 0.5), ('p90', 0.9), ('p99', 0.99), ('largest', 1))}
        return dict(source=self.source, messages=len(sizes), bytes=self.size, mean=self.size // len(sizes), **share)


def generated(path, count, seed):
    generator = Generator(seed)
    corpus = Corpus(path).write(generator.message() for _ in range(count))
    corpus.source = 'generated, seed %d' % seed
    return corpus


def of_user(path, mail, count):
    messages = []
    for data in own_messages(mail):
        messages.append(data)
        if len(messages) == count:
            break
    corpus = Corpus(path).write(messages)
    corpus.source = os.path.basename(os.path.normpath(mail))
    return corpus
