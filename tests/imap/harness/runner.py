"""Finds the tests of a directory, runs them on some servers at a time and reports."""

import argparse
import contextlib
import ctypes
import fnmatch
import glob
import importlib
import multiprocessing
import os
import signal
import sys
import time
import traceback
import unittest

from .case import ServerTest
from .server import EXAMPLE_CONFIG, PLUGIN, PR_SET_PDEATHSIG, SOURCE_DIR, Options, private_mounts


def parse_arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('--format', default='lmdb', choices=('lmdb', 'maildir', 'sdbox', 'mdbox'))
    parser.add_argument('--module-dir', help='directory of ' + PLUGIN)
    parser.add_argument('-k', metavar='PATTERN', action='append', default=[],
                        help='only tests whose file.Class.test contains or matches this')
    parser.add_argument('--keep', action='store_true', help="keep the servers' directories")
    parser.add_argument('-v', action='store_true', help='show what was said to the server when a test fails')
    parser.add_argument('--fsync', default='optimized', choices=('always', 'optimized', 'never'))
    parser.add_argument('--under', choices=('valgrind', 'sanitizers'),
                        help='run imap, pop3, lmtp and doveadm under valgrind, or with the sanitizers of the plugin')
    parser.add_argument('-j', type=int, default=2, metavar='N', help='servers at a time (2)')
    parser.add_argument('--list', action='store_true', help='list the tests')
    parser.add_argument('--flush-table', action='store_true',
                        help='only count the flushes of each operation and print them as a table')
    return parser.parse_args()


def find_module_dir(chosen):
    """Directory of the built plugin; of several builds the newest."""
    if chosen:
        if not os.path.exists(os.path.join(chosen, PLUGIN)):
            sys.exit('no %s in %s' % (PLUGIN, chosen))
        return os.path.realpath(chosen)
    below = os.path.join('src', 'storage', '.libs', PLUGIN)
    found = []
    for root in (os.getcwd(), SOURCE_DIR):
        for pattern in ('', 'build*', os.path.join('..', 'build*'), os.path.join('..', '..')):
            found += glob.glob(os.path.join(root, pattern, below))
    if found:
        return os.path.realpath(os.path.dirname(max(found, key=os.path.getmtime)))
    # Nothing built here: the installed one, if any, is among Dovecot's modules.
    return None


def find_tests(directory, patterns):
    """Class -> names of its tests, in order of files."""
    sys.path.insert(0, directory)
    found = {}
    for path in sorted(glob.glob(os.path.join(directory, 'test_*.py'))):
        name = os.path.basename(path)[:-3]
        module = importlib.import_module(name)
        for cls in vars(module).values():
            if not (isinstance(cls, type) and issubclass(cls, ServerTest) and cls.__module__ == name):
                continue
            tests = [test for test in unittest.TestLoader().getTestCaseNames(cls)
                     if matches(test_name(cls, test), patterns)]
            if tests:
                found[cls] = tests
    return found


def test_name(cls, test):
    return '%s.%s.%s' % (cls.__module__[len('test_'):], cls.__name__, test[len('test_'):])


def matches(name, patterns):
    return not patterns or any(pattern in name or fnmatch.fnmatch(name, pattern) for pattern in patterns)


def can_mount():
    """Whether this user may have file systems of its own."""
    def attempt():
        try:
            private_mounts()
        except OSError:
            os._exit(1)
        os._exit(0)

    process = multiprocessing.get_context('fork').Process(target=attempt)
    process.start()
    process.join()
    return process.exitcode == 0


def fits(cls, test, args):
    formats = getattr(getattr(cls, test), 'formats', None) or cls.formats
    is_about_memory = getattr(getattr(cls, test), 'is_about_memory', getattr(cls, 'is_about_memory', False))
    return (formats is None or args.format in formats) and not (args.under and is_about_memory)


class Worker:
    """Runs classes in a process of its own."""

    def __init__(self, options, verbose, report):
        self.options = options
        self.verbose = verbose
        self.report = report

    def run_class(self, cls, tests):
        cls.options = self.options
        server = None
        try:
            try:
                server = cls.server = cls.new_server()
                server.start()
            except Exception:
                for test in tests:
                    self.report.put((test_name(cls, test), 0, traceback.format_exc()))
                return
            for test in tests:
                self.run_test(cls, test)
        finally:
            if server is not None:
                self.end_class(cls, server)

    def run_test(self, cls, test):
        case = cls(test)
        result = unittest.TestResult()
        begin = time.monotonic()
        case.run(result)
        problems = ''.join(text for _, text in result.failures + result.errors)
        if problems and self.verbose:
            problems += '\n'.join(getattr(case, 'transcript', ())) + '\n'
        name = test_name(cls, test) + (' (%s)' % case.note if case.note else '')
        self.report.put((name, time.monotonic() - begin, problems))

    def end_class(self, cls, server):
        """Stop the server; whatever it logs or leaves then has no test to be blamed on."""
        name = '%s.%s.(stop)' % (cls.__module__[len('test_'):], cls.__name__)
        try:
            server.stop()
            bad = [line for line in server.log_lines() if server.is_bad_line(line)]
            if bad:
                self.report.put((name, 0, 'unexpected in the log:\n%s\n' % '\n'.join(bad)))
        except Exception:
            self.report.put((name, 0, traceback.format_exc()))
        finally:
            server.close()

    def main(self, queue):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                work = queue.get()
                if work is None:
                    break
                self.run_class(*work)
        self.report.put(None)


def interrupt(*_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def run_parallel(work, options, args, show):
    """Returns False if interrupted."""
    jobs = max(1, min(args.j, len(work)))
    context = multiprocessing.get_context('fork')
    queue, report = context.Queue(), context.Queue()
    for item in work:
        queue.put(item)
    for _ in range(jobs):
        queue.put(None)
    workers = [context.Process(target=Worker(options, args.v, report).main, args=(queue,)) for _ in range(jobs)]
    signal.signal(signal.SIGTERM, interrupt)
    for worker in workers:
        worker.start()
    ended = 0
    try:
        while ended < jobs:
            outcome = report.get()
            if outcome is None:
                ended += 1
            else:
                show(*outcome)
        return True
    except KeyboardInterrupt:
        for worker in workers:
            worker.terminate()
        return False
    finally:
        for worker in workers:
            worker.join()


def main(directory, description):
    args = parse_arguments(description)
    tests = find_tests(directory, args.k)
    if args.list:
        for cls, names in tests.items():
            for name in names:
                if fits(cls, name, args):
                    print(test_name(cls, name))
        return 0
    module_dir = find_module_dir(args.module_dir) if args.format == 'lmdb' else None
    options = Options(args.format, module_dir, args.fsync, args.keep, args.under)
    if args.format == 'lmdb':
        print('plugin: %s, configuration: %s' % (options.module_dir or 'as installed',
                                                 os.path.relpath(EXAMPLE_CONFIG)), flush=True)
    if args.flush_table:
        import test_flushes
        return test_flushes.print_table(options)

    passed, failed, left_out, without_mount = [], [], 0, 0
    work = []
    for cls, names in tests.items():
        fitting = [name for name in names if fits(cls, name, args)]
        left_out += len(names) - len(fitting)
        if fitting and cls.mounts and not can_mount():
            without_mount += len(fitting)
        elif fitting:
            work.append((cls, fitting))

    def show(name, seconds, problems):
        (failed if problems else passed).append(name)
        print('%-4s %s  %.2f s' % ('FAIL' if problems else 'ok', name, seconds), flush=True)
        if problems:
            print('    ' + problems.rstrip().replace('\n', '\n    '), flush=True)

    complete = run_parallel(work, options, args, show) if work else True
    for name in failed:
        print('failed: ' + name)
    if left_out:
        print('%d tests are about another format than %s%s' %
              (left_out, args.format, ', or about memory' if args.under else ''))
    if without_mount:
        print('%d tests need the right to mount a file system' % without_mount)
    if not complete:
        print('interrupted')
    print('%d passed, %d failed' % (len(passed), len(failed)))
    return 0 if complete and not failed and passed else 1
