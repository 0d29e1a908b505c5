"""Dovecot's mail programs under valgrind, or with the sanitizers that the plugin was built with."""

import os
import re
import subprocess

SERVICES = ('imap', 'pop3', 'lmtp', 'doveadm', 'indexer-worker', 'imap-urlauth-worker')
# A leak is valgrind's to find: the sanitizer can't look into a process that has changed its user.
SANITIZER_OPTIONS = ('ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1', 'UBSAN_OPTIONS=print_stacktrace=1')
# doveadm and dovecot-lda begin anew when they have read the configuration, with these variables only.
KEPT = 'import_environment = $import_environment LD_PRELOAD ASAN_OPTIONS UBSAN_OPTIONS\n'
VALGRIND_OPTIONS = ('-q', '--vgdb=no', '--leak-check=full', '--show-leak-kinds=definite', '--num-callers=30')
# What valgrind calls a process
VALGRIND_PROCESS = 'memcheck'


def sanitizer_library(plugin):
    """The library that has to be there before the plugin is loaded."""
    text = subprocess.run(['ldd', plugin], check=True, capture_output=True, text=True).stdout
    found = re.search(r'libasan\S* => (\S+)', text)
    if found is None:
        raise RuntimeError('%s was built without --enable-sanitizers' % plugin)
    return found.group(1)


class Under:
    """kind: valgrind or sanitizers; plugin: its path."""

    def __init__(self, kind, find_program, plugin):
        if kind == 'valgrind':
            self.words = [find_program('valgrind'), *VALGRIND_OPTIONS]
        else:
            self.words = [find_program('env'), 'LD_PRELOAD=' + sanitizer_library(plugin), *SANITIZER_OPTIONS]

    def config(self, libexec_dir, no_limit):
        """Settings of the services. Both need far more address space than any limit allows."""
        return KEPT + ''.join('service %s {\n  executable = %s %s\n  vsz_limit = %s\n}\n' %
                       (name, ' '.join(self.words), os.path.join(libexec_dir, service_program(name)), no_limit)
                       for name in SERVICES)


def service_program(name):
    return 'doveadm-server' if name == 'doveadm' else name


def program_under_valgrind(pid):
    """Name of the program that valgrind runs in this process, cut as the kernel would."""
    with open('/proc/%d/cmdline' % pid) as file:
        words = file.read().split('\0')[1:]
    return next((os.path.basename(word) for word in words if word and not word.startswith('-')), '')[:15]
