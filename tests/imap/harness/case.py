"""The base of all tests: a server for the class, a fresh user for each test, and a look into the log after it."""

import collections
import os
import re
import shutil
import time
import unittest

from .imap import Imap
from .lmtp import Lmtp
from .pop3 import Pop3
from .server import Server, mail_location, wait_for

INDEX_FILES = ('dovecot.index', 'dovecot.list.index')


def only(*formats):
    """Mark a test or a class whose subject exists in these formats only."""
    def mark(target):
        target.formats = formats
        return target
    return mark


def about_memory(target):
    """Mark a test or a class about memory or its limits: what valgrind and the sanitizers need would spoil it."""
    target.is_about_memory = True
    return target


class ServerTest(unittest.TestCase):
    # Configuration added to the server's; @DIR@ is its directory, @FORMAT@ the mail format.
    config = ''
    # The same, only for Dovecot's own formats.
    foreign_config = ''
    # Mail plugins besides the format's own.
    plugins = ''
    # Options of mail_location, e.g. {'index': 'MEMORY'}.
    location = {}
    # Fields that the user database has besides the usual.
    userdb_fields = {}
    # Resource limits of the whole server.
    limits = ()
    # Whether the class mounts file systems (in a name space of its own).
    mounts = False
    # Formats on which the class makes sense; None means all.
    formats = None
    # What a test wants to have said about its run.
    note = ''
    # Set by the runner.
    options = None
    server = None
    longMessage = True
    maxDiff = 4000

    @classmethod
    def new_server(cls):
        config = cls.config + (cls.foreign_config if cls.options.format != 'lmdb' else '')
        return Server(cls.options, config=config, plugins=cls.plugins, limits=cls.limits,
                      userdb_fields=cls.userdb_fields, location=mail_location(cls.options.format, **cls.location))

    def setUp(self):
        if not self.server.running:
            self.server.start()
        self.user = self.server.new_user()
        self.connections = []
        self.transcript = collections.deque(maxlen=60)
        self.expected_log = []
        self.allowed_log = []
        self.stray_log = [line for line in self.server.log_lines() if self.server.is_bad_line(line)]

    def tearDown(self):
        for connection in self.connections:
            connection.close()
        self.server.wait_until_idle()
        self.check_log()

    # Connections

    def _opened(self, connection):
        self.connections.append(connection)
        return connection

    def imap(self, user=None):
        return self._opened(Imap(self.server.imap_port, user or self.user, transcript=self.transcript))

    def pop3(self, user=None):
        return self._opened(Pop3(self.server.pop3_port, user or self.user))

    def lmtp(self):
        return self._opened(Lmtp(self.server.lmtp_port))

    def deliver(self, data, user=None):
        """Deliver one message by LMTP."""
        lmtp = Lmtp(self.server.lmtp_port)
        try:
            lmtp.ok(user or self.user, data)
        finally:
            lmtp.close()

    def relogin(self, connection):
        """Log out, wait until the session's process is gone, and log in again."""
        pid = self.server.pid_of(connection)
        connection.logout()
        wait_for(lambda: pid not in self.server.pids('imap'), 'the session to end')
        return self.imap(connection.user)

    def close_connections(self):
        """Close all connections and wait until their processes are gone."""
        for connection in self.connections:
            connection.close()
        self.connections.clear()
        self.server.wait_until_idle()

    def stop_server(self):
        """Stop the server. (Sessions may outlive the master as long as they are open.)"""
        self.close_connections()
        self.server.stop()

    def restart_server(self):
        self.stop_server()
        self.server.start()

    def doveadm(self, *args, user=None, **keywords):
        """doveadm <command words> -u <user> <args>; the words of the command are one argument."""
        return self.server.doveadm(*args[0].split(), '-u', user or self.user, *args[1:], **keywords)

    def home(self, user=None):
        return self.server.home(user or self.user)

    def remove_indexes(self, user=None):
        """Remove all that is derived from the mail of the user; the server need not be stopped."""
        for directory, directories, names in os.walk(self.home(user)):
            if self.options.format == 'lmdb' and 'index' in directories:
                shutil.rmtree(os.path.join(directory, 'index'))
                directories.remove('index')
            for name in names:
                if name.startswith(INDEX_FILES):
                    os.unlink(os.path.join(directory, name))

    # The log

    def expect_log(self, pattern):
        """This line has to appear in the log, at least once."""
        self.expected_log.append(pattern)

    def allow_log(self, pattern):
        """This line may appear in the log."""
        self.allowed_log.append(pattern)

    def check_log(self):
        time.sleep(0.02)
        lines = self.server.log_lines()
        missing = [pattern for pattern in self.expected_log
                   if not any(re.search(pattern, line) for line in lines)]
        if missing:
            def appeared():
                lines.extend(self.server.log_lines())
                return all(any(re.search(pattern, line) for line in lines) for pattern in missing)
            wait_for(appeared, 'log lines %r' % missing, timeout=5)
        known = self.expected_log + self.allowed_log
        bad = self.stray_log + [line for line in lines if self.server.is_bad_line(line)]
        bad = [line for line in bad if not any(re.search(pattern, line) for pattern in known)]
        self.stray_log = []
        if bad:
            self.fail('unexpected in the log:\n' + '\n'.join(bad))
