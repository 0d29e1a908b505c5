"""Samples, what becomes of them, and the alternation between formats."""

import contextlib
import dataclasses
import math
import os
import statistics
import sys
import time

from . import dialogue

# Rows that not all formats have
PARTIAL = 'SELECT, index deleted, at '


@dataclasses.dataclass
class Sample:
    """What one format did in one round. Of the units, more is better with '/s' only."""
    value: float
    unit: str
    times: list = dataclasses.field(default_factory=list)
    operations: int = 0
    flushes: int = None
    written: int = None
    processor: int = None
    # bytes of the answers to one command
    received: float = None
    note: str = ''


def percentile(times, share):
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


class Row:
    def __init__(self, group, name, unit):
        self.group = group
        self.name = name
        self.unit = unit
        self.samples = {}

    def add(self, mail_format, sample):
        self.samples.setdefault(mail_format, []).append(sample)

    def median(self, mail_format):
        samples = self.samples.get(mail_format)
        return statistics.median(sample.value for sample in samples) if samples else None

    def better(self, value, other):
        """How many times better value is than other."""
        if self.unit == '/s':
            value, other = other, value
        return other / value if value else math.inf

    def ratio(self, ours, others):
        """How many times better ours is than the best of the others; None if one of the sides is missing. Rounds are
        compared with each other, because formats of one round had the machine in about the same state."""
        found = [statistics.median(self.better(mine.value, theirs.value)
                                   for mine, theirs in zip(self.samples[ours], self.samples[other]))
                 for other in others if ours in self.samples and other in self.samples]
        return min(found) if found else None

    def differs(self):
        """Whether one format answered much more or less than another, so that they didn't do the same."""
        sizes = [statistics.median(sample.received for sample in samples) for samples in self.samples.values()
                 if samples[0].received is not None]
        return bool(sizes) and max(sizes) > 1.1 * min(sizes) + 100

    def summary(self, mail_format):
        """All there is to say about a format, in milliseconds where it is about times."""
        samples = self.samples[mail_format]
        values = [sample.value for sample in samples]
        found = dict(median=statistics.median(values), least=min(values), greatest=max(values), rounds=len(values))
        times = [taken * 1000 for sample in samples for taken in sample.times]
        if len(times) > 1:
            found.update(p50=percentile(times, 0.5), p99=percentile(times, 0.99), slowest=max(times), times=len(times))
        operations = sum(sample.operations for sample in samples)
        if operations and samples[0].flushes is not None:
            for name in ('flushes', 'written', 'processor'):
                found[name] = sum(getattr(sample, name) for sample in samples) / operations
        return found


class Table:
    def __init__(self):
        self.rows = {}

    def add(self, group, name, mail_format, sample):
        self.rows.setdefault((group, name), Row(group, name, sample.unit)).add(mail_format, sample)

    def problems(self, formats):
        """What is wrong with the rows."""
        for row in self.rows.values():
            missing = [name for name in formats if name not in row.samples]
            if missing and not row.name.startswith(PARTIAL):
                yield '%s: nothing of %s' % (row.name, ', '.join(missing))
            if not all(sample.value > 0 for samples in row.samples.values() for sample in samples):
                yield '%s: %r' % (row.name, row.samples)
            if row.differs():
                yield '%s: the answers are of different size: %r' % (row.name, {
                    name: samples[0].received for name, samples in row.samples.items()})

    def groups(self):
        groups = {}
        for row in self.rows.values():
            groups.setdefault(row.group, []).append(row)
        return groups


class Progress:
    def __init__(self, quiet=False):
        self.begin = time.monotonic()
        self.quiet = quiet

    def say(self, text):
        if not self.quiet:
            seconds = int(time.monotonic() - self.begin)
            print('%3d:%02d  %s' % (seconds // 60, seconds % 60, text), file=sys.stderr, flush=True)


class Operation:
    """Something to measure. A subclass says what is done in a round. Its users are removed when all rounds are over."""
    group = ''
    rounds = None

    def __init__(self, run):
        self.run = run
        self.sizes = run.sizes
        self.scripts = {}

    @property
    def name(self):
        return self.group + ': ' + type(self).__name__

    def prepare(self, target):
        """What has to be there before the first round."""

    def measure(self, target, number):
        """Yields (row, Sample) for a round."""
        raise NotImplementedError

    # Users: the domain of each is the mail_fsync that goes for it.

    def user(self, name):
        return '%s@%s' % (name, self.run.fsync)

    def unsynced(self, name):
        """A user whose mailboxes are only read while time is taken."""
        return name + '@never'

    # Scripts

    def script(self, key, build):
        """The script that build(script) fills, the same for all formats."""
        if key not in self.scripts:
            script = dialogue.Script(self.run.corpus)
            build(script)
            self.scripts[key] = script.write(os.path.join(self.run.directory, 'script-%d' % self.run.next_number()))
        return self.scripts[key]

    def play(self, target, key, build):
        played = dialogue.play(self.run.load, self.script(key, build), target, self.run.directory)
        self.run.client_cpu += played.client_cpu
        return played

    def fill(self, target, user, mailbox, messages, batch=200, keep=True):
        """MULTIAPPEND messages (numbers of the corpus) to a new mailbox; returns what was Played. Unless keep, the user is
        removed after the round."""
        messages = list(messages)

        def build(script):
            client = script.connection()
            client.login(user)
            if mailbox != 'INBOX':
                client.imap('CREATE "%s"' % mailbox)
            script.barrier()
            for begin in range(0, len(messages), batch):
                client.append(mailbox, messages[begin:begin + batch], label='append')
            client.logout()

        (target.users if keep else target.round_users).add(user)
        played = self.play(target, ('fill', user, mailbox), build)
        if user.endswith('@never'):
            self.run.sync()
        return played

    @contextlib.contextmanager
    def company(self, script, action):
        """While the page cache is dropped (if that is the action) somebody else's session goes on, so that the server's
        code stays in memory, as it does on a server in use."""
        if action is None:
            yield
            return
        keeper = script.connection()
        keeper.login(self.unsynced('keeper'))
        keeper.append('INBOX', [0])
        keeper.select('INBOX')
        keeper.imap('FETCH * (RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY.PEEK[])')
        keeper.imap('LIST "" * RETURN (STATUS (MESSAGES))')
        yield
        script.barrier()
        keeper.logout()

    def forget_scripts(self):
        for script in self.scripts.values():
            os.unlink(script.path)
        self.scripts.clear()


class Sequence(Operation):
    """Commands of one session, in rows. What a row costs is counted until the next one begins."""

    def rows(self, number):
        """(row or '' if it isn't measured, commands); a pair of commands counts as one."""
        raise NotImplementedError

    def play_rows(self, target, user, number, select=None):
        rows = self.rows(number)

        def build(script):
            client = script.connection()
            client.login(user, select)
            for row, commands in rows:
                script.barrier()
                for command in commands:
                    first, *rest = [command] if isinstance(command, str) else command
                    client.imap(first, label=None if rest else row or None)
                    for last in rest:
                        client.imap(last, label=row, starts=False)
            client.logout()

        played = self.play(target, ('rows', number), build)
        for mark, (row, commands) in enumerate(rows):
            if row:
                sample = rate(played, row) if len(commands) > 3 else duration(played, row)
                yield row, counted(sample, played, len(commands), mark, mark + 1)


def rate(played, label, count=None):
    """A sample of how many there were in a second. The counters are those since the first barrier."""
    times = played.times[label]
    count = count or len(times)
    return counted(Sample(count / played.span(label), '/s', times, received=played.received[label] / len(times)),
                   played, count)


def duration(played, label, operations=1):
    """A sample of how long it took, in milliseconds: the median if it was done several times."""
    times = played.times[label]
    return counted(Sample(statistics.median(times) * 1000, 'ms', times, received=played.received[label] / len(times)),
                   played, operations * len(times))


def counted(sample, played, operations, first=0, last=-1):
    """Add what was counted from one barrier to another, or to the end."""
    sample.operations = operations
    sample.flushes, sample.written, sample.processor = (
        end - begin for begin, end in zip(played.marks[first], played.marks[last]))
    return sample


def alternate(run, operation, targets, table):
    """All rounds of an operation. In each, every format has its turn, another one first each time."""
    rounds = run.sizes.rounds if operation.rounds is None else operation.rounds
    for target in targets:
        run.progress.say('%s, prepare %s' % (operation.name, target.format))
        operation.prepare(target)
    for number in range(rounds):
        shift = number % len(targets)
        for target in targets[shift:] + targets[:shift]:
            run.progress.say('%s, round %d of %d, %s' % (operation.name, number + 1, rounds, target.format))
            for row, sample in operation.measure(target, number):
                table.add(operation.group, row, target.format, sample)
            target.settle()
            target.remove_users(target.round_users)
    for target in targets:
        target.remove_users(target.users)
    operation.forget_scripts()
