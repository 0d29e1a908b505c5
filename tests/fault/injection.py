"""System calls of a running process that answer late, or something else: strace(1) does it."""

import os
import signal
import subprocess

from harness.server import find_program, wait_for


class Injection:
    """While the block runs: Injection(server, pid, 'fstatfs', 'poke_exit=@arg2=69690000')."""

    def __init__(self, server, pid, calls, what):
        self.server = server
        self.pid = pid
        self.calls = calls
        self.what = what
        self.path = os.path.join(server.dir, 'strace')

    def is_traced(self):
        with open('/proc/%d/status' % self.pid) as file:
            return 'TracerPid:\t0\n' not in file.read()

    def output(self):
        """What strace has said so far."""
        with open(self.path) as file:
            return file.read()

    def __enter__(self):
        self.tracer = subprocess.Popen(
            [find_program('strace'), '-qq', '-p', str(self.pid), '-o', self.path,
             '-e', 'trace=' + self.calls, '-e', 'inject=%s:%s' % (self.calls, self.what)],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        wait_for(lambda: self.tracer.poll() is not None or self.is_traced(), 'strace')
        if self.tracer.poll() is not None:
            raise AssertionError('strace ended: %r' % self.tracer.stderr.read())
        return self

    def __exit__(self, *_):
        if self.tracer.poll() is None:
            self.tracer.send_signal(signal.SIGINT)
        self.tracer.communicate()
