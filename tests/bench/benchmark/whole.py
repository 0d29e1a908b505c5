"""What concerns a whole user: backup, restore, memory of sessions."""

import os
import shutil
import subprocess
import time

from .measure import Operation, Sample


class Backup(Operation):
    """doveadm backup of a user to mdbox and back to the format, and a copy of the files."""
    group = 'whole user'

    def prepare(self, target):
        self.fill(target, self.unsynced('whole'), 'INBOX', range(self.sizes.messages))

    @staticmethod
    def seconds(action, *args):
        begin = time.monotonic()
        action(*args)
        return Sample((time.monotonic() - begin) * 1000, 'ms')

    def measure(self, target, number):
        user, restored = self.unsynced('whole'), self.user('restored')
        place = os.path.join(target.server.home_root, 'backup')
        backup = 'mdbox:' + place
        yield 'doveadm backup', self.seconds(target.server.doveadm, 'backup', '-u', user, backup)
        yield 'doveadm backup, nothing new', self.seconds(target.server.doveadm, 'backup', '-u', user, backup)
        yield 'doveadm backup -R (restore)', self.seconds(target.server.doveadm, 'backup', '-R', '-u', restored, backup)
        shutil.rmtree(place)
        target.round_users.add(restored)
        for kind, action in self.run.caches():
            if action:
                action(target)
            yield 'copy of the files, ' + kind, self.seconds(self.copy, target.home(user), place)
            shutil.rmtree(place)

    @staticmethod
    def copy(source, place):
        subprocess.run(['cp', '-a', source, place], check=True)
        subprocess.run(['sync', '-f', place], check=True)


class Memory(Operation):
    """PSS of imap processes that have read a mailbox, one after another's, and of their own part of it."""
    group = 'whole user'
    rounds = 1

    def prepare(self, target):
        self.fill(target, self.unsynced('memory'), 'INBOX', range(self.sizes.messages))
        for number in range(self.sizes.sessions):
            self.fill(target, self.unsynced('memory%d' % number), 'INBOX', range(20))

    def build(self, script, users, found):
        clients = [script.connection() for _ in users]
        for client, user in zip(clients, users):
            client.login(user, select='INBOX')
            client.imap('FETCH 1:* (FLAGS RFC822.SIZE ENVELOPE)')
            client.imap('FETCH 1:20 (BODY.PEEK[])')
        script.barrier(lambda target: found.update({target.format: target.memory()}))
        for client in clients:
            client.logout()

    def measure(self, target, number):
        count = self.sizes.sessions
        for what, users in (
                ('1 session', [self.unsynced('memory')]),
                ('%d sessions, 1 user' % count, [self.unsynced('memory')] * count),
                ('%d sessions, %d users' % (count, count), [self.unsynced('memory%d' % n) for n in range(count)])):
            found = {}
            self.play(target, what, lambda script: self.build(script, users, found))
            self.forget_scripts()
            processes, pss, own = found[target.format]
            yield 'memory of %s: PSS of each' % what, Sample(pss / processes / 1e6, 'MB')
            yield 'memory of %s: own of each' % what, Sample(own / processes / 1e6, 'MB')


OPERATIONS = (Backup, Memory)
