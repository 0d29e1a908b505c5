"""A private Dovecot: its own configuration, sockets, log and users below one temporary directory."""

import contextlib
import ctypes
import os
import pwd
import grp
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from . import dovecot24
from .under import VALGRIND_PROCESS, Under, program_under_valgrind

SOURCE_DIR = os.path.realpath(os.path.join(os.path.dirname(__file__), '..', '..', '..'))
PLUGIN = 'lib10_lmdb_plugin.so'
TIMEOUT = 60
PR_SET_PDEATHSIG = 1
CLONE_NEWNS = 0x00020000
MS_REC = 0x4000
MS_PRIVATE = 1 << 18
MNT_DETACH = 2

# What Dovecot logs when it is stopped as we stop it.
STOP_LINES = re.compile(r'master: Warning: Killed with signal 15 \(by pid=\d+ uid=\d+ code=kill\)$')
BAD_LINE = re.compile(r'\b(Error|Panic|Fatal|Warning): ')


def find_program(name):
    path = os.environ.get('PATH', '') + ':/usr/sbin:/usr/local/sbin'
    found = shutil.which(name, path=path)
    if found is None:
        raise FileNotFoundError('%s is not installed (see tests/imap/PACKAGES)' % name)
    return found


def dovecot_version():
    """The version of the installed Dovecot, like (2, 3, 19)."""
    version = subprocess.run([find_program('dovecot'), '--version'], check=True, capture_output=True, text=True).stdout
    return tuple(map(int, re.match(r'(\d+)\.(\d+)\.(\d+)', version).groups()))


def doveconf_default(setting):
    """What the installed Dovecot has for a setting that no configuration sets."""
    return subprocess.run([find_program('doveconf'), '-d', '-h', setting], check=True, capture_output=True,
                          text=True).stdout.strip()


DOVECOT_VERSION = dovecot_version()
DOVECOT = '%d.%d' % DOVECOT_VERSION[:2]
EXAMPLE_CONFIG = os.path.join(SOURCE_DIR, 'doc', 'example-config', 'dovecot-%s.conf' % DOVECOT)


def mail_location(mail_format, root='~/mail', **options):
    """mail_location of a format; options like index='MEMORY' become :INDEX=MEMORY."""
    location = '%s:%s' % (mail_format, root)
    if mail_format == 'maildir':
        location += ':LAYOUT=fs'
    return location + ''.join(':%s=%s' % (key.upper(), value) for key, value in options.items())


def wait_for(condition, what, timeout=TIMEOUT):
    """Call condition until it is true; returns its value."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError('waited in vain for ' + what)
        time.sleep(0.005)


def process_children():
    """Map of pid -> list of (pid, name) of its children, for all processes."""
    children = {}
    for entry in os.listdir('/proc'):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                with open('/proc/%s/stat' % entry) as file:
                    head, _, tail = file.read().rpartition(')')
                name = head.partition('(')[2]
                if name.startswith(VALGRIND_PROCESS):
                    name = program_under_valgrind(int(entry))
                children.setdefault(int(tail.split()[1]), []).append((int(entry), name))
    return children


def process_start_time(pid):
    """Start time of a process, which tells it from a later one of the same id; None if it ended."""
    with contextlib.suppress(OSError):
        with open('/proc/%d/stat' % pid) as file:
            fields = file.read().rpartition(')')[2].split()
        return None if fields[0] == 'Z' else fields[19]
    return None


def socket_inode(sock):
    """Inode of the server's end of a connection on 127.0.0.1, as text."""
    ends = ['0100007F:%04X' % address[1] for address in (sock.getpeername(), sock.getsockname())]
    with open('/proc/net/tcp') as file:
        for line in file:
            fields = line.split()
            if fields[1:3] == ends:
                return fields[9]
    raise AssertionError('the connection is closed')


def has_descriptor(pid, target):
    directory = '/proc/%d/fd' % pid
    with contextlib.suppress(OSError):
        for name in os.listdir(directory):
            with contextlib.suppress(OSError):
                if os.readlink(os.path.join(directory, name)) == target:
                    return True
    return False


def free_ports(count):
    """Ports, no two of them the same, below the range the kernel uses for outgoing connections."""
    ports = []
    for port in random.sample(range(10000, 32000), 1000):
        with socket.socket() as sock:
            with contextlib.suppress(OSError):
                sock.bind(('127.0.0.1', port))
                ports.append(port)
        if len(ports) == count:
            return ports
    raise RuntimeError('no free ports on 127.0.0.1')


def private_mounts():
    """From now on mounts of this process and its children are seen by them alone."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0 or libc.mount(b'none', b'/', None, MS_REC | MS_PRIVATE, None) != 0:
        raise OSError(ctypes.get_errno(), 'cannot have a mount name space')


def mount_tmpfs(path, options):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b'tmpfs', path.encode(), b'tmpfs', 0, options.encode()) != 0:
        raise OSError(ctypes.get_errno(), 'cannot mount on ' + path)


def unmount(path):
    ctypes.CDLL(None).umount2(path.encode(), MNT_DETACH)


class Spawned:
    """A program as the other end of a connection."""

    def __init__(self, argv, directory):
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=directory)

    def sendall(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def makefile(self, _mode):
        return self.process.stdout

    def close(self):
        self.process.stdin.close()
        self.process.wait(TIMEOUT)


class Options:
    """What the command line chose for all servers of a run."""

    def __init__(self, mail_format='lmdb', module_dir=None, fsync='optimized', keep=False, under=None):
        self.format = mail_format
        self.module_dir = module_dir
        self.fsync = fsync
        self.keep = keep
        # What the mail programs run under
        self.under = Under(under, find_program, os.path.join(module_dir, PLUGIN)) if under else None


class Server:
    def __init__(self, options, config='', location=None, plugins='', limits=(), base=None, userdb_fields=None):
        """limits: (resource, value) pairs set on the whole server; base: directory to put everything into;
        userdb_fields: what the user database says of every user besides the usual."""
        self.options = options
        self.location = location or mail_location(options.format)
        self.config = config
        self.plugins = plugins
        self.limits = limits
        self.userdb_fields = userdb_fields or {}
        self.master = None
        self.doveadm_program = find_program('doveadm')
        self.users = 0
        self.log_offset = 0
        self.dir = tempfile.mkdtemp(prefix='dl', dir=base)
        os.chmod(self.dir, 0o755)
        self.home_root = os.path.join(self.dir, 'home')
        self.log_path = os.path.join(self.dir, 'log')
        self.config_path = os.path.join(self.dir, 'dovecot.conf')
        self.mail_uid, self.mail_gid = self._mail_ids()
        os.mkdir(self.home_root)
        os.chown(self.home_root, self.mail_uid, self.mail_gid)
        os.mkdir(os.path.join(self.dir, 'tmp'))
        os.chmod(os.path.join(self.dir, 'tmp'), 0o1777)
        if options.format == 'lmdb':
            self._link_modules()

    # Directories and configuration

    @staticmethod
    def _mail_ids():
        if os.geteuid() != 0:
            return os.geteuid(), os.getegid()
        nobody = pwd.getpwnam('nobody')
        return nobody.pw_uid, nobody.pw_gid

    @property
    def module_dir(self):
        return os.path.join(self.dir, 'modules')

    @property
    def system_module_dir(self):
        return doveconf_default('mail_plugin_dir')

    def _link_modules(self):
        """mail_plugin_dir is one directory: Dovecot's own plugins and, in place of any installed one, ours."""
        os.mkdir(self.module_dir)
        system = self.system_module_dir
        sources = [system]
        if self.options.module_dir:
            sources.append(self.options.module_dir)
            fts = os.path.join(self.options.module_dir, '..', '..', 'fts', '.libs')
            # not installed, only built
            sources += [fts] if os.path.exists(fts) else []
        for source in sources:
            for name in os.listdir(source):
                target = os.path.join(self.module_dir, name)
                if name.endswith('.so'):
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(target)
                    os.symlink(os.path.join(os.path.realpath(source), name), target)
                elif not os.path.lexists(target):
                    os.symlink(os.path.join(system, name), target)

    def use_doveadm_modules(self):
        """From now on doveadm loads our commands too. Where it looks for modules is compiled into it, so if they aren't
        there, this takes a copy of it that looks in our directory."""
        if self.options.module_dir is None or self.doveadm_program != find_program('doveadm'):
            return
        ours = os.path.join(self.options.module_dir, 'doveadm')
        if not os.path.exists(ours):
            # not installed, only built
            ours = os.path.join(self.options.module_dir, '..', '..', 'doveadm', '.libs')
        os.mkdir(os.path.join(self.dir, 'doveadm-modules'))
        for source in (os.path.join(self.system_module_dir, 'doveadm'), ours):
            for name in os.listdir(source):
                target = os.path.join(self.dir, 'doveadm-modules', name)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(target)
                os.symlink(os.path.join(os.path.realpath(source), name), target)
        with open(self.doveadm_program, 'rb') as file:
            program = file.read()
        old = os.path.join(self.system_module_dir, 'doveadm').encode()
        # Relative, because it has to fit; run() starts everything in self.dir.
        new = b'./doveadm-modules'
        assert len(new) <= len(old) and program.count(old + b'\0') == 1, old
        self.doveadm_program = os.path.join(self.dir, 'doveadm')
        with open(self.doveadm_program, 'wb') as file:
            file.write(program.replace(old + b'\0', new.ljust(len(old) + 1, b'\0')))
        os.chmod(self.doveadm_program, 0o755)

    def _identity_config(self):
        if os.geteuid() == 0:
            return ''
        user = pwd.getpwuid(os.geteuid()).pw_name
        group = grp.getgrgid(os.getegid()).gr_name
        lines = ['default_internal_user = ' + user, 'default_login_user = ' + user, 'default_internal_group = ' + group]
        for service in ('anvil', 'imap-login', 'pop3-login', 'imap-urlauth-login', 'ipc', 'stats'):
            lines.append('service %s {\n  chroot =\n}' % service)
        return '\n'.join(lines) + '\n'

    def _write_config(self):
        include = '!include %s\n' % EXAMPLE_CONFIG if self.options.format == 'lmdb' else ''
        if include and not os.path.exists(EXAMPLE_CONFIG):
            raise FileNotFoundError('no example configuration ' + EXAMPLE_CONFIG)
        modules = 'mail_plugin_dir = %s\n' % self.module_dir if self.options.format == 'lmdb' else ''
        plugins = 'mail_plugins = $mail_plugins %s\n' % self.plugins if self.plugins else ''
        field = '\n    %s = %s' if DOVECOT == '2.4' else ' %s=%s'
        values = dict(
            dir=self.dir, imap_port=self.imap_port, pop3_port=self.pop3_port, lmtp_port=self.lmtp_port,
            uid=self.mail_uid, gid=self.mail_gid, fsync=self.options.fsync,
            userdb_fields=''.join(field % pair for pair in self.userdb_fields.items()))
        text = 'mail_location = %s\n' % self.location + self._identity_config() + modules + plugins
        text += self.config.replace('@DIR@', self.dir).replace('@FORMAT@', self.options.format)
        if self.options.under:
            text += self.options.under.config(doveconf_default('libexec_dir'), 'unlimited' if DOVECOT == '2.4' else '0')
        if DOVECOT == '2.4':
            text = dovecot24.VERSIONS + include + dovecot24.base_config(DOVECOT_VERSION, **values) + dovecot24.config(text)
        else:
            text = include + BASE_CONFIG.format(**values) + text
        with open(self.config_path, 'w') as file:
            file.write(text)

    def home(self, user):
        return os.path.join(self.home_root, user)

    def new_user(self):
        self.users += 1
        return 'u%d' % self.users

    # Start and stop

    def start(self):
        for attempt in range(5):
            self.imap_port, self.pop3_port, self.lmtp_port = free_ports(3)
            self._write_config()
            start_offset = self._log_size()
            if self._start_master():
                return
            text = self._log_since(start_offset)
            if 'Address already in use' not in text:
                raise RuntimeError('Dovecot did not start:\n' + self.start_output + text)
            self.log_offset = self._log_size()
        raise RuntimeError('no free port after %d attempts' % (attempt + 1))

    def _log_since(self, offset):
        # What is wrong with the configuration is said before there is a log.
        if not os.path.exists(self.log_path):
            return ''
        with open(self.log_path, errors='replace') as file:
            file.seek(offset)
            return file.read()

    def _log_size(self):
        return os.path.getsize(self.log_path) if os.path.exists(self.log_path) else 0

    def _start_master(self):
        output_path = os.path.join(self.dir, 'start-output')
        libc = ctypes.CDLL(None)

        def prepare():
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            for limit, value in self.limits:
                resource.setrlimit(limit, (value, value))
                if limit == resource.RLIMIT_FSIZE:
                    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

        with open(output_path, 'w') as output:
            self.master = subprocess.Popen(
                [find_program('dovecot'), '-F', '-c', self.config_path], stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, start_new_session=True, preexec_fn=prepare, restore_signals=False, cwd=self.dir)

        def ready():
            if self.master.poll() is not None:
                return True
            with contextlib.suppress(OSError):
                for port in (self.imap_port, self.pop3_port, self.lmtp_port):
                    with socket.create_connection(('127.0.0.1', port), timeout=TIMEOUT) as sock:
                        if not sock.recv(100):
                            return False
                return bool(self.pids('stats'))
            return False

        wait_for(ready, 'Dovecot to start')
        with open(output_path) as output:
            self.start_output = output.read()
        if self.master.poll() is not None:
            self.master = None
            return False
        return True

    @property
    def running(self):
        return self.master is not None

    def stop(self):
        """End the master; it ends its children. What it leaves behind is killed, and is an error."""
        if self.master is None:
            return
        children = [(pid, name, process_start_time(pid)) for pid, name in self.processes()]
        self.master.terminate()
        try:
            self.master.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.master.kill()
            self.master.wait()
        self.master = None

        def alive():
            return [child for child in children if child[2] is not None and process_start_time(child[0]) == child[2]]

        with contextlib.suppress(AssertionError):
            wait_for(lambda: not alive(), 'children', timeout=10)
        left = alive()
        for pid, _, _ in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if left:
            raise AssertionError('processes outlived the master: ' + ' '.join(name for _, name, _ in left))

    def abandon(self):
        """The test killed the master and its children itself."""
        self.master.wait()
        self.master = None

    def close(self):
        try:
            self.stop()
        finally:
            if self.options.keep:
                print('kept ' + self.dir, flush=True)
            else:
                shutil.rmtree(self.dir, ignore_errors=True)

    # Processes

    def processes(self, name=None):
        """(pid, name) of all processes below the master."""
        if self.master is None:
            return []
        children = process_children()
        found, queue = [], [self.master.pid]
        while queue:
            for pid, child_name in children.get(queue.pop(), ()):
                queue.append(pid)
                if name is None or child_name == name:
                    found.append((pid, child_name))
        return found

    def pids(self, name):
        return [pid for pid, _ in self.processes(name)]

    def pid_of(self, connection):
        """The process that serves a client's connection, whatever other processes of its kind there are."""
        def find():
            return [pid for pid, name in self.processes()
                    if not name.endswith('-login') and has_descriptor(pid, 'socket:[%s]' % inode)]

        inode = socket_inode(connection.sock)
        return wait_for(find, 'the process of a connection')[0]

    def wait_until_idle(self, names=('imap', 'pop3')):
        """Until the processes that serve one session each are gone."""
        wait_for(lambda: not any(name in names for _, name in self.processes()), 'sessions to end')

    # The log

    def log_lines(self):
        """Lines written since the last call."""
        if not os.path.exists(self.log_path):
            return []
        with open(self.log_path, 'rb') as file:
            file.seek(self.log_offset)
            data = file.read()
        end = data.rfind(b'\n') + 1
        self.log_offset += end
        return data[:end].decode('utf-8', 'replace').splitlines()

    @staticmethod
    def is_bad_line(line):
        return BAD_LINE.search(line) is not None and STOP_LINES.search(line) is None

    # Programs

    @property
    def _under(self):
        return self.options.under.words if self.options.under else []

    def run(self, argv, input=None, check=True, text=True, env=None):
        """Run a program; returns its CompletedProcess."""
        done = subprocess.run(argv, input=input, capture_output=True, text=text, timeout=10 * TIMEOUT, cwd=self.dir,
                              env=env)
        if check and done.returncode != 0:
            raise AssertionError('%s: exit %d\n%s%s' % (' '.join(argv), done.returncode, done.stdout, done.stderr))
        return done

    def doveadm_argv(self, *args, settings=()):
        argv = self._under + [self.doveadm_program, '-c', self.config_path]
        if DOVECOT == '2.4':
            args, settings = dovecot24.arguments(args), dovecot24.options(settings)
        for setting in settings:
            argv += ['-o', setting]
        return argv + list(args)

    def doveadm(self, *args, settings=(), **keywords):
        """Run doveadm; returns what it printed. It must not complain."""
        done = self.run(self.doveadm_argv(*args, settings=settings), **keywords)
        complaints = [line for line in done.stderr.splitlines() if ': Info: ' not in line]
        if complaints and keywords.get('check', True):
            raise AssertionError('doveadm %s:\n%s' % (' '.join(args), done.stderr))
        return done.stdout

    def doveadm_fails(self, *args, settings=()):
        """Run doveadm, which must fail; returns (exit code, what it complained of)."""
        done = self.run(self.doveadm_argv(*args, settings=settings), check=False)
        if done.returncode == 0:
            raise AssertionError('doveadm %s did not fail:\n%s' % (' '.join(args), done.stdout))
        return done.returncode, done.stderr

    def libexec_argv(self, name, *args):
        return self._under + [os.path.join(doveconf_default('libexec_dir'), name), '-c', self.config_path] + list(args)

    def lda_argv(self, *args):
        return self.libexec_argv('dovecot-lda', *args)

    def spawn_imap(self, user, settings=()):
        """A connection to an IMAP process with settings of its own, which isn't the master's child."""
        if DOVECOT == '2.4':
            settings = dovecot24.options(settings)
        argv = self.libexec_argv('imap', '-u', user)
        for setting in settings:
            argv += ['-o', setting]
        return Spawned(argv, self.dir)


BASE_CONFIG = '''
base_dir = {dir}/run
state_dir = {dir}/state
mail_temp_dir = {dir}/tmp
log_path = {dir}/log
log_timestamp = "%Y-%m-%d %H:%M:%S "
instance_name = tests
hostname = mail.example.org
postmaster_address = postmaster@example.org
listen = 127.0.0.1
protocols = imap pop3 lmtp
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
auth_failure_delay = 0
mail_uid = {uid}
mail_gid = {gid}
first_valid_uid = 0
first_valid_gid = 0
mail_max_userip_connections = 1000
mail_fsync = {fsync}
lda_mailbox_autocreate = yes
passdb {{
  driver = static
  args = password=pass
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={dir}/home/%u allow_all_users=yes{userdb_fields}
}}
namespace inbox {{
  inbox = yes
  separator = /
}}
service imap-login {{
  inet_listener imap {{
    port = {imap_port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {pop3_port}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = {lmtp_port}
  }}
}}
service imap {{
  process_limit = 500
}}
service auth {{
  unix_listener auth-userdb {{
    mode = 0666
  }}
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
'''
