"""One mailbox that grows: how the time of each operation depends on the number of messages."""

import os
import random

from .measure import Sample, Sequence, duration, rate


class Growth(Sequence):
    """Small messages; each round is a size. The mailbox is filled by another user name for the same directory."""
    group = 'growth'

    def __init__(self, run):
        super().__init__(run)
        self.rounds = len(self.sizes.growth)
        self.small = run.corpus.small()
        self.next_uid = {}

    def prepare(self, target):
        filler, user = self.unsynced('growth'), self.user('growth')
        self.fill(target, user, 'Other', range(1))
        target.users.add(user)
        if filler != user:
            os.symlink(target.home(user), target.home(filler))

    def grow(self, target, number):
        size = self.sizes.growth[number]
        before = self.sizes.growth[number - 1] if number else 0

        def build(script):
            client = script.connection()
            client.login(self.unsynced('growth'))
            for begin in range(before, size, 500):
                client.append('INBOX', [self.small[n % len(self.small)] for n in range(begin, min(begin + 500, size))])
            client.logout()

        self.play(target, ('grow', number), build)
        self.run.sync()

    def rows(self, number):
        """Of the messages that were there first, the next ones in each round."""
        size, count = self.sizes.growth[number], self.sizes.growth_singles
        numbers = random.Random(number)
        first = 3 * count * number + 1
        moved, expunged = range(first, first + count), range(first + count, first + 2 * count)
        body = self.small[0]
        return (
            ('SELECT', ['SELECT INBOX']),
            ('FETCH random bodies', ['FETCH %d (BODY.PEEK[])' % numbers.randint(1, size - 3 * count)
                                     for _ in range(count)]),
            ('FETCH FLAGS of all', ['FETCH 1:* (FLAGS)']),
            ('STORE one', ['STORE %d +FLAGS (\\Flagged)' % numbers.randint(1, size - 3 * count) for _ in range(count)]),
            ('STORE all', ['STORE 1:* %sFLAGS.SILENT (\\Seen)' % '+-'[number % 2]]),
            ('COPY one', ['UID COPY %d Other' % uid for uid in moved]),
            ('MOVE one', ['UID MOVE %d Other' % uid for uid in moved]),
            ('EXPUNGE one', [('UID STORE %d +FLAGS.SILENT (\\Deleted)' % uid, 'UID EXPUNGE %d' % uid)
                             for uid in expunged]),
        )

    def deliver(self, script):
        client = script.connection()
        client.lmtp_login()
        script.barrier()
        for number in range(self.sizes.growth_singles):
            client.deliver(self.user('growth'), self.small[number % len(self.small)], label='deliver')
        client.lmtp_logout()

    def append(self, script):
        client = script.connection()
        client.login(self.user('growth'))
        script.barrier()
        for number in range(self.sizes.growth_singles):
            client.append('INBOX', [self.small[number % len(self.small)]], label='append')
        client.logout()

    def select(self, script):
        client = script.connection()
        client.login(self.user('growth'))
        script.barrier()
        client.select('INBOX', label='select')
        client.logout()

    def measure(self, target, number):
        self.grow(target, number)
        size, user = self.sizes.growth[number], self.user('growth')
        at = ', at {:,}'.format(size)
        self.play(target, 'select', self.select)
        for row, sample in self.play_rows(target, user, number):
            yield row + at, sample
        yield 'LMTP' + at, rate(self.play(target, 'deliver', self.deliver), 'deliver')
        yield 'APPEND' + at, rate(self.play(target, 'append', self.append), 'append')
        if not target.needs_resync:
            target.remove_indexes(user)
            yield 'SELECT, index deleted' + at, duration(self.play(target, 'select', self.select), 'select')
        _, blocks, _ = target.disk_use(user)
        yield 'disk for each message' + at, Sample(blocks / size / 1000, 'KB')


OPERATIONS = (Growth,)
