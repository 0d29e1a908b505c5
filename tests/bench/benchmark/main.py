"""The command line, and one run from the corpus to the report."""

import argparse
import contextlib
import dataclasses
import datetime
import os
import shutil
import signal
import sys
import tempfile

from harness.runner import find_module_dir

from . import changing, calls, corpus, delivery, dialogue, folders, growth, measure, mixed, reading, report, target, whole

HERE = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
OPERATIONS = sum((module.OPERATIONS for module in (delivery, reading, changing, folders, mixed, whole, calls, growth)), ())
GROUPS = list(dict.fromkeys(operation.group for operation in OPERATIONS))
USUAL_GROUPS = {
    'full': GROUPS,
    'medium': GROUPS,
    'quick': ['delivery', 'slow flushes', 'fetch', 'read', 'change', 'mixed'],
    # System calls are counted for the tests of flushes too.
    'smoke': [group for group in GROUPS if group != 'system calls'],
}


@dataclasses.dataclass
class Sizes:
    """How much is done."""
    # messages of a mailbox
    messages: int
    # repetitions of each operation
    rounds: int
    # deliveries a row and round, with one connection; twice as many with several
    deliveries: int
    connections: tuple
    # who get mail
    users: int
    # commands that concern one message
    singles: int
    logins: int
    # (clients, users)
    mixed: tuple
    mixed_operations: int
    folders: int
    many_folders: int
    # at the same time
    sessions: int
    # microseconds
    flush_delays: tuple
    # messages of the mailbox that grows, and commands for one message at each of these sizes
    growth: tuple
    growth_singles: int
    # what is also fetched with dropped caches
    cold_items: tuple = ('ENVELOPE', 'BODYSTRUCTURE')
    # what Dovecot caches
    cached_items: tuple = ('ENVELOPE', 'BODYSTRUCTURE', 'header fields')


MODES = {
    'smoke': Sizes(messages=40, rounds=1, deliveries=8, connections=(1, 4), users=4, singles=5, logins=2,
                   mixed=((4, 1), (4, 2)), mixed_operations=80, folders=20, many_folders=20, sessions=3,
                   flush_delays=(500,), growth=(50, 100), growth_singles=5,
                   cold_items=()),
    'quick': Sizes(messages=1000, rounds=2, deliveries=150, connections=(1, 16), users=50, singles=100, logins=20,
                   mixed=((16, 1),), mixed_operations=1600, folders=200, many_folders=200, sessions=20,
                   flush_delays=(2000,), growth=(1000, 10000), growth_singles=50,
                   cold_items=('ENVELOPE',), cached_items=('ENVELOPE', 'BODYSTRUCTURE')),
    'medium': Sizes(messages=10000, rounds=2, deliveries=100, connections=(1, 4, 16), users=50, singles=200, logins=30,
                    mixed=((16, 1), (64, 50)), mixed_operations=3200, folders=200, many_folders=500, sessions=50,
                    flush_delays=(500, 2000, 8000), growth=(1000, 10000, 100000), growth_singles=100,
                    cold_items=('ENVELOPE',), cached_items=('ENVELOPE', 'BODYSTRUCTURE')),
    'full': Sizes(messages=10000, rounds=3, deliveries=1000, connections=(1, 4, 16), users=50, singles=300, logins=50,
                  mixed=((16, 1), (64, 1), (16, 50), (64, 50)), mixed_operations=12800, folders=1000,
                  many_folders=10000, sessions=50, flush_delays=(500, 2000, 8000),
                  growth=(1000, 10000, 100000, 1000000), growth_singles=100),
}


class Run:
    """What all operations of a run share."""

    def __init__(self, sizes, args, directory, progress):
        self.sizes = sizes
        self.fsync = args.fsync
        self.flush_delay = args.flush_delay
        self.directory = directory
        self.progress = progress
        # It would slow down whatever else is tested at the same time.
        self.can_drop = target.can_drop_caches() and args.mode != 'smoke'
        self.client_cpu = 0
        self.load_average = os.getloadavg()[0]
        self.corpus = self.load = None
        self.numbers = 0

    def caches(self):
        """(name, what to do before) of the states that the page cache can be in."""
        return [('warm', None)] + [('dropped caches', target.drop_caches)] * self.can_drop

    def sync(self):
        target.sync(self.directory)

    def next_number(self):
        self.numbers += 1
        return self.numbers


def parse_arguments():
    parser = argparse.ArgumentParser(prog='./bench', description=__doc__)
    mode = parser.add_mutually_exclusive_group()
    for name, text in (('quick', 'about two minutes: the most important rows, few repetitions'),
                       ('medium', 'a quarter of an hour: everything, with few repetitions, to 100,000 messages'),
                       ('full', 'everything (the default)'), ('smoke', 'only to see whether the benchmark works')):
        mode.add_argument('--' + name, dest='mode', action='store_const', const=name, help=text)
    parser.set_defaults(mode='full')
    parser.add_argument('--formats', default=','.join(target.FORMATS), help='what to compare (%(default)s)')
    parser.add_argument('--groups', help='what to measure: %s (all; with --quick %s)' % (
        ','.join(GROUPS), ','.join(USUAL_GROUPS['quick'])))
    parser.add_argument('--messages', type=int, help='messages of a mailbox')
    parser.add_argument('--rounds', type=int, help='repetitions of each operation')
    parser.add_argument('--largest', type=int, metavar='N', help='how many messages the mailbox that grows gets at most')
    parser.add_argument('--fsync', default='optimized', choices=('always', 'optimized', 'never'), help='mail_fsync')
    parser.add_argument('--flush-delay', type=int, default=0, metavar='US', help='microseconds added to each flush')
    parser.add_argument('--mail', metavar='PATH', help='a Maildir or mbox to take the messages from')
    parser.add_argument('--seed', type=int, default=1, help='of the generated messages')
    parser.add_argument('--module-dir', metavar='DIR', help='directory of the plugin')
    parser.add_argument('--dir', metavar='DIR', help='where the mailboxes go: the disk to measure (the temporary directory)')
    parser.add_argument('--report', default='bench-report', metavar='DIR', help='where the report goes (%(default)s)')
    parser.add_argument('--quiet', action='store_true', help='show no progress')
    return parser.parse_args()


def chosen(text, known, what):
    names = text.split(',')
    for name in names:
        if name not in known:
            sys.exit('no %s %s; there are %s' % (what, name, ','.join(known)))
    return names


def make_corpus(args, sizes, directory):
    path = os.path.join(directory, 'corpus')
    count = min(sizes.messages, 10000)
    return corpus.of_user(path, args.mail, count) if args.mail else corpus.generated(path, count, args.seed)


def groups_of(args):
    return chosen(args.groups, GROUPS, 'group') if args.groups else USUAL_GROUPS[args.mode]


def measure_all(run, groups, targets, table, save):
    """save() is called after each operation, so that a run that is ended early leaves what it has measured."""
    for cls in OPERATIONS:
        if cls.group in groups:
            measure.alternate(run, cls(run), targets, table)
            save()


def interrupted(*_):
    sys.exit(1)


def main():
    # Everything is stopped and removed then too.
    signal.signal(signal.SIGTERM, interrupted)
    args = parse_arguments()
    sizes = MODES[args.mode]
    changed = {name: getattr(args, name) for name in ('messages', 'rounds') if getattr(args, name)}
    if args.largest:
        changed['growth'] = tuple(size for size in sizes.growth if size <= args.largest)
    sizes = dataclasses.replace(sizes, **changed)
    formats, groups = chosen(args.formats, target.FORMATS, 'format'), groups_of(args)
    module_dir = find_module_dir(args.module_dir) if 'lmdb' in formats else None
    began = datetime.datetime.now(datetime.timezone.utc)
    directory = tempfile.mkdtemp(prefix='dovecot-lmdb-bench.', dir=args.dir)
    os.chmod(directory, 0o755)
    run = Run(sizes, args, directory, measure.Progress(args.quiet))
    table, targets, bad = measure.Table(), [], {}
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        run.progress.say('make the messages and build the client')
        run.load = dialogue.build_load(HERE, directory)
        shim = target.build_shim(HERE, directory)
        run.corpus = make_corpus(args, sizes, directory)
        for mail_format in formats:
            targets.append(target.Target(mail_format, module_dir, args.fsync, shim, directory))
            stack.callback(lambda target=targets[-1]: bad.update({target.format: target.close()}))
            targets[-1].start()
            targets[-1].set_delay(args.flush_delay)
        file_system = '%s, read-ahead %s' % (report.file_system(directory), report.read_ahead(directory))

        def save():
            report.write(args.report, report.facts(args, run, began, file_system), table, formats, bad)

        measure_all(run, groups, targets, table, save)
    save()
    print(report.text(table, formats))
    problems = ['in the log of %s: %s' % (name, line) for name, lines in bad.items() for line in lines]
    problems += table.problems(formats)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0
