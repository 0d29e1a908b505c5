"""Dialogues of clients with a server, written beforehand and played by the load program (load.c)."""

import array
import contextlib
import os
import struct
import subprocess

STEP_CONNECT, STEP_IMAP, STEP_LMTP, STEP_END, STEP_BARRIER = range(5)
IMAP, LMTP = range(2)
CORPUS = 1 << 32
STEP = struct.Struct('=IIQIIII')
RESULT = struct.Struct('=IIQQQ')


def split_evenly(count, parts):
    """How many of count each of the parts gets."""
    return [count // parts + (number < count % parts) for number in range(parts)]


class Script:
    """What a number of connections say at the same time. It is the same for every server."""

    def __init__(self, corpus):
        self.corpus = corpus
        self.connections = []
        self.labels = []
        self.barriers = []
        self.segments = array.array('Q')
        self.text = bytearray()
        self.known = {}
        self.sequence = 0
        self.path = None

    def connection(self):
        self.connections.append(Dialogue(self))
        return self.connections[-1]

    def label(self, name):
        if name is None:
            return 0
        if name not in self.labels:
            self.labels.append(name)
        return self.labels.index(name) + 1

    def barrier(self, action=None):
        """All connections wait here for each other; action(target) is done before they go on."""
        for dialogue in self.connections:
            dialogue.step(STEP_BARRIER)
        self.barriers.append(action)

    def add(self, *pieces):
        """Add segments: text, or (offset, length) in the corpus. Returns (first segment, number)."""
        first = len(self.segments) // 2
        for piece in pieces:
            if isinstance(piece, tuple):
                self.segments.extend((piece[0], piece[1] | CORPUS))
            else:
                self.segments.extend(self._place(piece.encode()))
        return first, len(self.segments) // 2 - first

    def _place(self, text):
        place = self.known.get(text)
        if place is None:
            place = self.known[text] = (len(self.text), len(text))
            self.text += text
        return place

    def message(self, number, lmtp=False):
        """A message of the corpus, which is gone through again and again, made unique by a header line in front."""
        index = self.corpus.lmtp_index if lmtp else self.corpus.index
        self.sequence += 1
        line = 'X-Sequence: %08d\r\n' % self.sequence
        place = index[number % len(index)]
        return line, place, len(line) + place[1]

    def write(self, path):
        steps = b''.join(step for dialogue in self.connections for step in dialogue.steps)
        header = struct.pack('=IIQ', len(self.connections), len(steps) // STEP.size, len(self.segments) // 2)
        first, places = 0, b''
        for dialogue in self.connections:
            places += struct.pack('=II', first, len(dialogue.steps))
            first += len(dialogue.steps)
        with open(path, 'wb') as file:
            for data in (header, places, steps, self.segments.tobytes(), self.text):
                file.write(data)
        self.path = path
        for dialogue in self.connections:
            dialogue.steps = None
        self.segments = self.text = self.known = None
        return self


class Dialogue:
    """What one connection says."""

    def __init__(self, script):
        self.script = script
        self.steps = []

    def step(self, kind, argument=0, pieces=(), label=None, starts=True):
        first, count = self.script.add(*pieces)
        self.steps.append(STEP.pack(kind, argument, first, count, self.script.label(label), starts, 0))

    def imap(self, *pieces, label=None, starts=True):
        self.step(STEP_IMAP, 0, ('x ',) + pieces + ('\r\n',), label, starts)

    def login(self, user, select=None):
        self.step(STEP_CONNECT, IMAP)
        self.imap('LOGIN %s pass' % user, starts=False)
        if select:
            self.select(select)

    def select(self, mailbox, label=None, starts=True):
        self.imap('SELECT "%s"' % mailbox, label=label, starts=starts)

    def logout(self, label=None, starts=True):
        """Until the server has closed the connection, and so has done what it does at the end of a session."""
        self.imap('LOGOUT', starts=starts)
        self.step(STEP_END, label=label, starts=False)

    def append(self, mailbox, numbers, label=None):
        """APPEND, or MULTIAPPEND of several."""
        pieces = ['APPEND "%s"' % mailbox]
        for number in numbers:
            line, place, size = self.script.message(number)
            pieces += [' {%d+}\r\n' % size, line, place]
        self.imap(*pieces, label=label)

    def lmtp_login(self):
        self.step(STEP_CONNECT, LMTP)
        self.step(STEP_LMTP, 1, ('LHLO client.example.org\r\n',))

    def deliver(self, user, number, label=None):
        """One message; the envelope is sent in one piece, as a mail server does where pipelining is offered."""
        self.step(STEP_LMTP, 3, ('MAIL FROM:<sender@example.org>\r\nRCPT TO:<%s>\r\nDATA\r\n' % user,))
        line, place, _ = self.script.message(number, lmtp=True)
        self.step(STEP_LMTP, 1, (line, place, '.\r\n'), label, starts=False)

    def lmtp_logout(self):
        self.step(STEP_LMTP, 1, ('QUIT\r\n',))
        self.step(STEP_END, starts=False)


class Played:
    """What came of a script: the times of the steps with each label, in seconds."""

    def __init__(self, script, results, client_cpu, marks):
        self.client_cpu = client_cpu
        self.marks = marks
        self.times, self.first, self.last, self.received = {}, {}, {}, {}
        names = [None] + script.labels
        for _, label, start, end, received in RESULT.iter_unpack(results):
            name = names[label]
            self.times.setdefault(name, []).append((end - start) / 1e9)
            self.first[name] = min(self.first.get(name, start), start)
            self.last[name] = max(self.last.get(name, end), end)
            self.received[name] = self.received.get(name, 0) + received

    def span(self, name):
        """Seconds from the begin of the first to the end of the last."""
        return (self.last[name] - self.first[name]) / 1e9


def build_load(source_dir, directory):
    """Compile the load program; returns its path."""
    path = os.path.join(directory, 'load')
    subprocess.run(['cc', '-O2', '-o', path, os.path.join(source_dir, 'load.c')], check=True)
    return path


def play(load, script, target, directory):
    """Play the script against a server. marks are the server's counters at each barrier and after the last step."""
    results_path = os.path.join(directory, 'results')
    argv = [load, script.path, script.corpus.path, results_path, str(target.server.imap_port),
            str(target.server.lmtp_port)]
    marks, actions = [], iter(script.barriers)
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        # This does nothing to a process that has ended.
        stack.callback(process.kill)
        for line in process.stdout:
            if line.startswith('done'):
                break
            action = next(actions)
            if action is not None:
                action(target)
            marks.append(target.counted())
            process.stdin.write('\n')
            process.stdin.flush()
        error = process.stderr.read()
        process.wait()
    if process.returncode != 0:
        raise RuntimeError('\n'.join(['%s: %s' % (target.format, error.strip())] + target.complaints()))
    target.settle()
    marks.append(target.counted())
    with open(results_path, 'rb') as file:
        return Played(script, file.read(), int(line.split()[1]) / 1e6, marks)
