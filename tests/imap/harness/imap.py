"""An IMAP client that shows what the server sent: literals, untagged responses in order, pipelining."""

import collections
import contextlib
import re
import socket

TIMEOUT = 60
STATUS_KINDS = ('OK', 'NO', 'BAD', 'BYE', 'PREAUTH')
LITERAL_END = re.compile(rb'~?\{(\d+)\}$')


class Literal:
    """A command argument sent as a literal; the client doesn't wait for the server's go-ahead (LITERAL+)."""
    prefix = b''

    def __init__(self, data, wait=False):
        self.data = data.encode() if isinstance(data, str) else data
        self.wait = wait


class Literal8(Literal):
    prefix = b'~'


def quote(text):
    return '"%s"' % text.replace('\\', '\\\\').replace('"', '\\"')


def number_set(text):
    """The numbers of a set like 1,3:5."""
    numbers = []
    for part in text.split(',') if text else ():
        first, _, last = part.partition(':')
        first, last = int(first), int(last or first)
        numbers += range(min(first, last), max(first, last) + 1)
    return numbers


def text_of(value):
    """Parsed data with all strings as str."""
    if isinstance(value, list):
        return [text_of(item) for item in value]
    return value.decode('utf-8', 'surrogateescape') if isinstance(value, bytes) else value


class Parser:
    """Parses one response: a list of pieces, literals being bytes objects of their own (at odd places)."""

    def __init__(self, pieces):
        self.pieces = pieces
        self.piece = 0
        self.pos = 0

    def _text(self):
        return self.pieces[self.piece]

    def rest(self):
        return b''.join([self._text()[self.pos:]] + self.pieces[self.piece + 1:])

    def _literal(self):
        literal = self.pieces[self.piece + 1]
        self.piece += 2
        self.pos = 0
        return literal

    def values(self, end=None):
        values = []
        while True:
            text = self._text()
            while text[self.pos:self.pos + 1] == b' ':
                self.pos += 1
            char = text[self.pos:self.pos + 1]
            if char == b'' or (end is not None and char == end):
                self.pos += len(char)
                return values
            values.append(self.value(char))

    def value(self, char):
        text = self._text()
        if char == b'(':
            self.pos += 1
            return self.values(b')')
        if char == b'"':
            return self._quoted()
        if LITERAL_END.match(text, self.pos):
            return self._literal()
        start = self.pos
        depth = 0
        while self.pos < len(text):
            byte = text[self.pos:self.pos + 1]
            depth += (byte == b'[') - (byte == b']')
            if depth < 0 or (depth == 0 and byte in b' ()'):
                break
            self.pos += 1
        if start == self.pos:
            raise ValueError('cannot parse %r at %d' % (text, self.pos))
        atom = text[start:self.pos].decode('utf-8', 'surrogateescape')
        return None if atom == 'NIL' else atom

    def _quoted(self):
        text = self._text()
        out = bytearray()
        self.pos += 1
        while text[self.pos:self.pos + 1] != b'"':
            if text[self.pos:self.pos + 1] == b'\\':
                self.pos += 1
            out += text[self.pos:self.pos + 1]
            self.pos += 1
        self.pos += 1
        return bytes(out).decode('utf-8', 'surrogateescape')


class Line:
    """One response: kind ('FETCH', 'EXISTS', 'OK', ...), num, args; code and text if it is a status."""

    def __init__(self, pieces):
        self.raw = b''.join(pieces)
        self.num = None
        self.code = []
        self.text = ''
        self.args = []
        words = pieces[0].split(b' ', 2)
        self.tag = words[0].decode()
        if self.tag == '+':
            self.kind = '+'
            return
        skip = len(words[0]) + 1
        if words[1].isdigit() and len(words) > 2:
            self.num = int(words[1])
            skip += len(words[1]) + 1
        parser = Parser(pieces)
        parser.pos = skip
        kind = re.compile(rb'[^ ]+').match(pieces[0], skip).group()
        parser.pos += len(kind)
        self.kind = kind.decode().upper()
        if self.kind in STATUS_KINDS:
            self._parse_status(parser)
        else:
            self.args = parser.values()

    def _parse_status(self, parser):
        if parser.pieces[parser.piece][parser.pos:parser.pos + 2] == b' [':
            parser.pos += 2
            self.code = text_of(parser.values(b']'))
        self.text = parser.rest().decode('utf-8', 'replace').strip()

    def fetch_items(self):
        """The items of a FETCH response: bytes for contents, text for the rest."""
        items = {}
        data = self.args[0]
        for key, value in zip(data[::2], data[1::2]):
            key = key.upper()
            if key.startswith(('BODY[', 'BINARY[', 'RFC822')) and key != 'RFC822.SIZE':
                items[key] = value if value is None or isinstance(value, bytes) \
                    else value.encode('utf-8', 'surrogateescape')
            elif key in ('UID', 'RFC822.SIZE') or key.startswith('BINARY.SIZE['):
                items[key] = int(value)
            elif key == 'MODSEQ':
                items[key] = int(value[0])
            elif key == 'FLAGS':
                items[key] = set(value)
            else:
                items[key] = text_of(value)
        return items

    def __repr__(self):
        return self.raw[:300].decode('utf-8', 'replace')


class Result:
    """A finished command: its status and all untagged responses that came before it."""

    def __init__(self, command, tagged, lines):
        self.command = command
        self.tagged = tagged
        self.status = tagged.kind
        self.code = tagged.code
        self.text = tagged.text
        self.lines = lines

    def all(self, kind):
        return [line for line in self.lines if line.kind == kind]

    def one(self, kind):
        lines = self.all(kind)
        if len(lines) != 1:
            raise AssertionError('%s: %d %s responses in %r' % (self.command, len(lines), kind, self.lines))
        return lines[0]

    def has(self, kind):
        return bool(self.all(kind))

    def kinds(self):
        return [line.kind for line in self.lines]

    def numbers(self, kind):
        return [line.num for line in self.all(kind)]

    def codes(self):
        """Response codes of the untagged and the tagged status: name -> arguments."""
        return {line.code[0].upper(): line.code[1:] for line in self.lines + [self.tagged] if line.code}

    def code_int(self, name):
        return int(self.codes()[name][0])

    def search(self):
        """Numbers of an untagged SEARCH (or SORT)."""
        kind = 'SORT' if self.has('SORT') else 'SEARCH'
        return [int(arg) for arg in self.one(kind).args if not isinstance(arg, list)]

    def esearch(self):
        """Return data of an ESEARCH: name -> value (UID -> True)."""
        args = text_of(self.one('ESEARCH').args)
        data = {}
        while args:
            arg = args.pop(0)
            if isinstance(arg, list):
                data['TAG'] = arg[1]
            elif arg.upper() == 'UID':
                data['UID'] = True
            else:
                data[arg.upper()] = args.pop(0)
        return data

    def vanished(self, earlier=False):
        """UIDs of the VANISHED responses."""
        uids = []
        for line in self.all('VANISHED'):
            is_earlier = isinstance(line.args[0], list)
            if is_earlier == earlier:
                uids += number_set(line.args[-1])
        return sorted(uids)

    def lists(self, kind='LIST'):
        """Mailbox name -> set of flags."""
        return {text_of(line.args[2]): set(line.args[0]) for line in self.all(kind)}

    def statuses(self):
        """Mailbox name -> {item: number}."""
        found = {}
        for line in self.all('STATUS'):
            name, items = text_of(line.args)
            found[name] = {key.upper(): int(value) for key, value in zip(items[::2], items[1::2])}
        return found

    def fetched(self):
        """Sequence number -> items; of several responses for one message the later ones add to the former."""
        found = {}
        for line in self.all('FETCH'):
            found.setdefault(line.num, {}).update(line.fetch_items())
        return found

    def __repr__(self):
        return '%s -> %r after %r' % (self.command, self.tagged, self.lines)


class Imap:
    def __init__(self, port, user=None, password='pass', transcript=None, sock=None):
        """sock: a connection there is already, in place of one to the port."""
        if sock is None:
            sock = socket.create_connection(('127.0.0.1', port), timeout=TIMEOUT)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.file = self.sock.makefile('rb')
        self.user = user
        self.transcript = collections.deque(maxlen=40) if transcript is None else transcript
        self.commands = 0
        self.pending = []
        self.greeting = self.read_line()
        if user is not None:
            self.capabilities = self.ok('LOGIN %s %s' % (user, password)).code[1:]
            # What every session begins with is of no use in a failure's transcript.
            for _ in range(3):
                self.transcript.pop()

    def close(self):
        with contextlib.suppress(OSError):
            self.file.close()
            self.sock.close()

    # Lines

    def _note(self, direction, data):
        self.transcript.append('%s %s %s' % (self.user, direction, data[:400].decode('utf-8', 'replace').rstrip()))

    def send_raw(self, data):
        self._note('C:', data)
        self.sock.sendall(data)

    def _read_exactly(self, count):
        data = self.file.read(count)
        if len(data) != count:
            raise EOFError('%s: connection closed by the server' % self.user)
        return data

    def read_line(self):
        pieces = []
        while True:
            text = self.file.readline()
            if not text.endswith(b'\r\n'):
                raise EOFError('%s: connection closed by the server' % self.user)
            text = text[:-2]
            pieces.append(text)
            literal = LITERAL_END.search(text)
            if literal is None:
                break
            pieces.append(self._read_exactly(int(literal.group(1))))
        self._note('S:', b''.join(pieces))
        return Line(pieces)

    # Commands

    def send(self, *parts):
        """Send a command, parts being joined as they are; returns its tag."""
        self.commands += 1
        tag = 't%d' % self.commands
        data = bytearray(tag.encode() + b' ')
        for part in parts:
            if isinstance(part, Literal):
                data += part.prefix + b'{%d%s}\r\n' % (len(part.data), b'' if part.wait else b'+')
                if part.wait:
                    self.send_raw(data)
                    data.clear()
                    self.wait_continuation()
                data += part.data
            else:
                data += part if isinstance(part, bytes) else part.encode('utf-8', 'surrogateescape')
        self.send_raw(data + b'\r\n')
        return tag

    def wait_continuation(self):
        while True:
            line = self.read_line()
            if line.kind == '+':
                return
            if line.tag != '*':
                raise Refused(line)
            self.pending.append(line)

    def wait(self, tag, command=''):
        """Read until the tagged response."""
        lines, self.pending = self.pending, []
        while True:
            line = self.read_line()
            if line.tag == tag:
                return Result(command, line, lines)
            if line.tag not in ('*', '+'):
                raise AssertionError('%s: unexpected %r' % (command, line))
            lines.append(line)

    def cmd(self, *parts):
        command = ' '.join(part if isinstance(part, str) else '<data>' for part in parts)[:200]
        try:
            tag = self.send(*parts)
        except Refused as refused:
            lines, self.pending = self.pending, []
            return Result(command, refused.line, lines)
        return self.wait(tag, command)

    def _expect(self, status, parts):
        result = self.cmd(*parts)
        if result.status != status:
            raise AssertionError('%s expected: %r' % (status, result))
        return result

    def ok(self, *parts):
        return self._expect('OK', parts)

    def no(self, *parts):
        return self._expect('NO', parts)

    def bad(self, *parts):
        return self._expect('BAD', parts)

    # Often used commands

    def select(self, mailbox='INBOX', options=''):
        return self.ok('SELECT %s %s' % (quote(mailbox), options) if options else 'SELECT ' + quote(mailbox))

    def append(self, mailbox, data, flags='', date='', literal=Literal):
        """APPEND one message; returns its (UIDVALIDITY, UID)."""
        parts = ['APPEND', quote(mailbox)]
        if flags:
            parts.append('(%s)' % flags)
        if date:
            parts.append(quote(date))
        result = self.ok(' '.join(parts) + ' ', literal(data))
        name, uidvalidity, uid = result.code
        assert name == 'APPENDUID', result
        return int(uidvalidity), int(uid)

    def append_many(self, mailbox, messages, flags=''):
        """MULTIAPPEND; returns the UIDs."""
        parts = ['APPEND ' + quote(mailbox)]
        for data in messages:
            parts += [' (%s) ' % flags if flags else ' ', Literal(data)]
        return number_set(self.ok(*parts).code[2])

    def fetch(self, messages, items, uid=True):
        """FETCH: UID -> items (or sequence number -> items)."""
        if not uid:
            return self.ok('FETCH %s %s' % (messages, items)).fetched()
        found = self.ok('UID FETCH %s %s' % (messages, items)).fetched()
        return {data['UID']: data for data in found.values() if 'UID' in data}

    def flags(self, messages='1:*'):
        """UID -> flags, without \\Recent."""
        return {uid: data['FLAGS'] - {'\\Recent'} for uid, data in self.fetch(messages, '(FLAGS)').items()}

    def store(self, messages, change, uid=True):
        return self.ok('%sSTORE %s %s' % ('UID ' if uid else '', messages, change))

    def body(self, uid, section='BODY.PEEK[]'):
        items = self.fetch(str(uid), section)[int(uid)]
        return next(value for key, value in items.items() if key.startswith(('BODY[', 'BINARY[')))

    def uids(self):
        return sorted(self.ok('UID SEARCH ALL').search())

    def search(self, keys, uid=True):
        return sorted(self.ok('%sSEARCH %s' % ('UID ' if uid else '', keys)).search())

    def status(self, mailbox, items='MESSAGES UIDNEXT UIDVALIDITY UNSEEN'):
        result = self.ok('STATUS %s (%s)' % (quote(mailbox), items))
        return result.statuses()[mailbox]

    def list(self, pattern='*', reference='', kind='LIST'):
        return self.ok('%s %s %s' % (kind, quote(reference), quote(pattern))).lists(kind)

    def names(self, pattern='*', reference=''):
        return sorted(self.list(pattern, reference))

    def create(self, *mailboxes):
        for mailbox in mailboxes:
            self.ok('CREATE ' + quote(mailbox))

    def idle(self):
        tag = self.send('IDLE')
        self.wait_continuation()
        return tag

    def done(self, tag):
        self.send_raw(b'DONE\r\n')
        return self.wait(tag, 'IDLE')

    def until(self, condition):
        """Read untagged responses until one satisfies the condition; returns them all, that one last."""
        lines, self.pending = self.pending, []
        for line in lines:
            if condition(line):
                return lines
        while True:
            line = self.read_line()
            lines.append(line)
            if condition(line):
                return lines
            if line.tag != '*':
                raise AssertionError('not an untagged response: %r after %r' % (line, lines))

    def until_kind(self, *kinds):
        """Read until each of the kinds came."""
        lines = []
        missing = list(kinds)
        while missing:
            lines += self.until(lambda line: line.kind in missing)
            missing.remove(lines[-1].kind)
        return lines

    def logout(self):
        self.ok('LOGOUT')
        self.close()


class Refused(Exception):
    """The server answered a literal with a tagged response."""

    def __init__(self, line):
        super().__init__(repr(line))
        self.line = line
