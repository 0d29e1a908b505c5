"""Mail that comes in: LMTP and APPEND."""

from . import measure
from .dialogue import split_evenly
from .measure import Operation, rate


def several(count, what):
    return '%d %s%s' % (count, what, '' if count == 1 else 's')


class Incoming(Operation):
    """LMTP on connections that stay open, and APPEND by clients that have no mailbox selected."""
    group = 'delivery'
    many = True

    def lmtp_user(self, number):
        return self.user('lmtp%d' % number)

    @property
    def users(self):
        return self.sizes.users if self.many else 1

    def prepare(self, target):
        """All users have had mail before."""
        def build(script):
            client = script.connection()
            client.lmtp_login()
            for number in range(self.users):
                client.deliver(self.lmtp_user(number), number)
            client.lmtp_logout()

        self.play(target, 'first', build)
        target.users.update(self.lmtp_user(number) for number in range(self.users))
        self.fill(target, self.user('append'), 'INBOX', range(1))

    def deliver(self, script, users, connections, total):
        clients = [script.connection() for _ in range(connections)]
        for client in clients:
            client.lmtp_login()
        script.barrier()
        number = 0
        for client, share in zip(clients, split_evenly(total, connections)):
            for _ in range(share):
                client.deliver(self.lmtp_user(number % users), number, label='deliver')
                number += 1
            client.lmtp_logout()

    def append(self, script, clients, total):
        dialogues = [script.connection() for _ in range(clients)]
        for client in dialogues:
            client.login(self.user('append'))
        script.barrier()
        number = 0
        for client, share in zip(dialogues, split_evenly(total, clients)):
            for _ in range(share):
                client.append('INBOX', [number], label='append')
                number += 1
            client.logout()

    def play_lmtp(self, target, users, connections, total):
        played = self.play(target, (users, connections, total),
                           lambda script: self.deliver(script, users, connections, total))
        return 'LMTP, %s, %s' % (several(connections, 'connection'), several(users, 'user')), rate(played, 'deliver')

    def play_append(self, target, clients, total):
        played = self.play(target, (clients, total), lambda script: self.append(script, clients, total))
        return 'APPEND, %s, 1 user' % several(clients, 'client'), rate(played, 'append')


class Delivery(Incoming):
    def measure(self, target, number):
        total = self.sizes.deliveries
        for users in (1, self.users):
            for connections in self.sizes.connections:
                yield self.play_lmtp(target, users, connections, total if connections == 1 else 2 * total)
        for clients in (1, 16):
            yield self.play_append(target, clients, total if clients == 1 else 2 * total)


class SlowFlushes(Incoming):
    """The same to one user, on a disk whose flushes take longer. Waits of several processes go on at the same time."""
    group = 'slow flushes'
    many = False

    def measure(self, target, number):
        for delay in self.sizes.flush_delays:
            total = max(8, int(self.sizes.deliveries / (2 + delay / 1000)))
            try:
                target.set_delay(delay)
                for row, sample in (self.play_lmtp(target, 1, 1, total), self.play_lmtp(target, 1, 16, 4 * total),
                                    self.play_append(target, 1, total), self.play_append(target, 16, 4 * total)):
                    yield '%s, %g ms' % (row, delay / 1000), sample
            finally:
                target.set_delay(self.run.flush_delay)


class MultiAppend(Operation):
    """MULTIAPPEND of 200 messages a command to a new mailbox, and what the mailbox then takes on the disk."""
    group = 'delivery'

    def measure(self, target, number):
        count = self.sizes.messages
        user = self.user('multi%d' % number)
        played = self.fill(target, user, 'INBOX', range(count), keep=False)
        yield 'MULTIAPPEND, 200 a command', rate(played, 'append', count)
        corpus = self.run.corpus
        mail = sum(corpus.index[n % len(corpus.index)][1] for n in range(count)) + 22 * count
        size, blocks, files = target.disk_use(user)
        yield 'disk, blocks for each byte of mail', measure.Sample(blocks / mail, 'x')
        yield 'disk, bytes for each byte of mail', measure.Sample(size / mail, 'x')
        yield 'disk, files for 1,000 messages', measure.Sample(files * 1000 / count, 'files')


OPERATIONS = (Delivery, MultiAppend, SlowFlushes)
