"""The servers that are compared: a private Dovecot for each mail format, with its counters."""

import contextlib
import ctypes
import mmap
import os
import re
import shutil
import struct
import subprocess
import time

from harness.server import DOVECOT, Options, Server

FORMATS = ('maildir', 'sdbox', 'mdbox', 'lmdb')
COUNTERS = struct.Struct('=QQQQ')
CONFIG = '''
%(environment)s
lmtp_user_concurrency_limit = 1000
default_vsz_limit = 64G
default_process_limit = 1000
default_client_limit = 10000
service imap {
  process_limit = 10000
}
service lmtp {
  process_limit = 1000
}
'''
ENVIRONMENT = {
    '2.3': 'import_environment = $import_environment LD_PRELOAD=%(shim)s FLUSH_COUNTERS=%(counters)s',
    '2.4': 'import_environment {\n  LD_PRELOAD = %(shim)s\n  FLUSH_COUNTERS = %(counters)s\n}',
}
# The user without lmdb's search index
UNINDEXED = 'unindexed'
# What the name of a user says: its domain is the mail_fsync
FIELDS = {
    '2.3': {'mail_fsync': '%d', 'lmdb_search': '%{if;%n;eq;' + UNINDEXED + ';no;auto}'},
    '2.4': {'mail_fsync': '%{user|domain}', 'lmdb_search': "%{user|username|if('eq','" + UNINDEXED + "','no','auto')}"},
}
INDEX_FILES = ('dovecot.index', 'dovecot.list.index')


def build_shim(source_dir, directory):
    path = os.path.join(directory, 'flush-shim.so')
    subprocess.run(['cc', '-O2', '-shared', '-fPIC', '-o', path, os.path.join(source_dir, 'flush-shim.c'), '-ldl'],
                   check=True)
    return path


def can_drop_caches():
    return os.access('/proc/sys/vm/drop_caches', os.W_OK)


def sync(path):
    """Write what the file system of path has in memory. (os.sync() would also wait for what others write to other disks.)"""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            raise OSError(ctypes.get_errno(), 'syncfs')
    finally:
        os.close(descriptor)


def drop_caches(target):
    target.sync()
    with open('/proc/sys/vm/drop_caches', 'w') as file:
        file.write('3\n')


class Target:
    def __init__(self, mail_format, module_dir, fsync, shim, base):
        self.format = mail_format
        counters_path = os.path.join(base, mail_format + '.counters')
        with open(counters_path, 'wb') as file:
            file.write(bytes(COUNTERS.size))
        os.chmod(counters_path, 0o666)
        with open(counters_path, 'r+b') as file:
            self.counters = mmap.mmap(file.fileno(), COUNTERS.size)
        options = Options(mail_format, module_dir, fsync)
        config = CONFIG % dict(environment=ENVIRONMENT[DOVECOT] % dict(shim=shim, counters=counters_path))
        self.server = Server(options, config=config, base=base,
                             userdb_fields=FIELDS[DOVECOT])
        # to be removed after all rounds, and after this one
        self.users, self.round_users = set(), set()

    def start(self):
        self.server.start()

    def close(self):
        """Returns the lines that don't belong into a log."""
        self.server.stop()
        bad = self.complaints()
        self.server.close()
        return bad

    def complaints(self):
        """New lines that don't belong into a log."""
        return [line for line in self.server.log_lines() if self.server.is_bad_line(line)]

    def sync(self):
        sync(self.server.home_root)

    # Counters

    def counted(self):
        """(flushes, bytes written, nanoseconds of processor time) since the start."""
        _, flushes, written, processor = COUNTERS.unpack(self.counters[:])
        for pid, _ in self.server.processes():
            with contextlib.suppress(OSError), open('/proc/%d/schedstat' % pid) as file:
                processor += int(file.read().split()[0])
        return flushes, written, processor

    def set_delay(self, microseconds):
        self.counters[:8] = struct.pack('=Q', microseconds)

    def settle(self):
        """Until no session is left."""
        self.server.wait_until_idle()

    # Users

    def home(self, user):
        return self.server.home(user)

    def remove_users(self, users):
        for user in users:
            home = self.home(user)
            if os.path.islink(home):
                os.unlink(home)
            else:
                shutil.rmtree(home)
        users.clear()

    def remove_indexes(self, user):
        """Remove Dovecot's indexes of the mailboxes; what the format itself needs to know its mail stays."""
        for directory, directories, names in os.walk(self.home(user)):
            if self.format == 'lmdb' and 'index' in directories:
                shutil.rmtree(os.path.join(directory, 'index'))
                directories.remove('index')
            for name in names:
                if name.startswith(INDEX_FILES):
                    os.unlink(os.path.join(directory, name))

    @property
    def needs_resync(self):
        """The dbox formats show an empty mailbox when its index is lost, until they are told to look for mail."""
        return self.format in ('sdbox', 'mdbox')

    def resync_seconds(self, user, mailbox):
        begin = time.monotonic()
        self.server.run(self.server.doveadm_argv('force-resync', '-u', user, mailbox))
        return time.monotonic() - begin

    def disk_use(self, user):
        """(bytes of the files, bytes of their blocks, number of files and directories)."""
        size = blocks = count = 0
        seen = set()
        for directory, directories, names in os.walk(self.home(user)):
            for name in names + directories:
                with contextlib.suppress(FileNotFoundError):
                    status = os.lstat(os.path.join(directory, name))
                    if status.st_ino not in seen:
                        seen.add(status.st_ino)
                        size += status.st_size if name in names else 0
                        blocks += status.st_blocks * 512
                        count += 1
        return size, blocks, count

    # Memory

    def memory(self, process='imap'):
        """Sums over the processes of this name: (number, PSS, its part that isn't file pages), in bytes."""
        count = pss = own = 0
        for pid in self.server.pids(process):
            with open('/proc/%d/smaps_rollup' % pid) as file:
                text = file.read()
            count += 1
            pss += int(re.search(r'^Pss:\s+(\d+) kB', text, re.M).group(1)) * 1024
            own += int(re.search(r'^Pss_Anon:\s+(\d+) kB', text, re.M).group(1)) * 1024
        return count, pss, own
