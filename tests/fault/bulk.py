"""Much mail at little cost: commands whose thousands of answers are counted instead of parsed."""

import os
import re
import subprocess
import threading

from harness import Literal, message
from harness.server import find_program


def command(imap, text):
    """Send a command; returns its untagged lines as they came. It has to end with OK."""
    tag = imap.send(text).encode() + b' '
    lines = []
    while True:
        line = imap.file.readline()
        if not line.endswith(b'\n'):
            raise EOFError('connection closed by the server')
        if line.startswith(tag):
            if not line.startswith(tag + b'OK'):
                raise AssertionError('%s: %r' % (text, line))
            return lines
        lines.append(line)


def commands(imap, texts, at_once=100):
    """Send many commands, some at a time ahead of their answers."""
    texts = list(texts)
    for start in range(0, len(texts), at_once):
        tags = [(imap.send(text), text) for text in texts[start:start + at_once]]
        for tag, text in tags:
            result = imap.wait(tag, text)
            if result.status != 'OK':
                raise AssertionError(repr(result))


def fill(imap, mailbox, count, first=1000):
    """So many small messages in a mailbox that was empty: a part saved, the rest copied within it."""
    data = [message('m%d' % number, 'Number %d.\r\n' % number) for number in range(min(first, count))]
    parts = ['APPEND ' + mailbox]
    for item in data:
        parts += [' ', Literal(item)]
    imap.ok(*parts)
    imap.select(mailbox)
    have = len(data)
    while have < count:
        more = min(have, count - have)
        command(imap, 'COPY 1:%d %s' % (more, mailbox))
        have += more
        imap.ok('NOOP')


def flag_counts(lines):
    """Set of flags (as text) -> number of FETCH responses with it; \\Recent doesn't count."""
    counts = {}
    for line in lines:
        match = re.search(rb' FETCH .*FLAGS \(([^)]*)\)', line)
        if match:
            flags = b' '.join(sorted(set(match.group(1).split()) - {b'\\Recent'})).decode()
            counts[flags] = counts.get(flags, 0) + 1
    return counts


class Threads:
    """Runs a function in several threads; errors come back to the caller."""

    def __init__(self):
        self.threads = []
        self.errors = []

    def start(self, function, *args):
        def run():
            try:
                function(*args)
            except BaseException as error:
                self.errors.append(error)

        thread = threading.Thread(target=run, daemon=True)
        self.threads.append(thread)
        thread.start()

    def join(self, timeout=100):
        for thread in self.threads:
            thread.join(timeout)
            if thread.is_alive():
                raise AssertionError('a thread did not end')
        if self.errors:
            raise self.errors[0]


def process_memory(pid):
    """Bytes that are the process's own: neither shared nor of a file."""
    with open('/proc/%d/status' % pid) as file:
        return int(re.search(r'RssAnon:\s*(\d+) kB', file.read()).group(1)) * 1024


class MemoryWatch:
    """The largest memory of a process while a block runs."""

    def __init__(self, pid):
        self.pid = pid
        self.largest = 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def watch(self):
        while not self.ended.is_set():
            try:
                self.largest = max(self.largest, process_memory(self.pid))
            except (OSError, AttributeError):
                return
            self.ended.wait(0.005)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


def lmdb_tool(server, name, *args):
    """Output of one of LMDB's programs, run as the owner of the mail, so that it leaves no file of another's."""
    owner = {'user': server.mail_uid, 'group': server.mail_gid, 'extra_groups': []} if os.geteuid() == 0 else {}
    done = subprocess.run([find_program(name), *args], capture_output=True, text=True, cwd='/', **owner)
    # mdb_stat -r ends with the number of bytes that it printed last.
    if done.stderr or (done.returncode != 0 and '-r' not in args):
        raise AssertionError('%s: exit %d %s' % (name, done.returncode, done.stderr))
    return done.stdout
