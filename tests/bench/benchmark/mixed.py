"""Many clients at once."""

import random

from .measure import Operation, Sample, counted, percentile

# Of a hundred operations
SHARES = (('fetch', 40), ('store', 20), ('append', 15), ('envelopes', 10), ('search', 5), ('expunge', 5), ('noop', 5))


class Mixed(Operation):
    """Clients that read, mark, append, search and expunge in the INBOX of one user, or of as many as there are."""
    group = 'mixed'

    @property
    def base(self):
        """Messages of the user, if it is one."""
        return min(1000, self.sizes.messages)

    def users(self, users, turn):
        return [self.user('mixed%d-%d-%d' % (users, number, turn)) for number in range(users)]

    def measure(self, target, number):
        for clients, users in self.sizes.mixed:
            names = self.users(users, number)
            for name in names:
                self.fill(target, name, 'INBOX', range(self.base if users == 1 else self.base // 10),
                          keep=False)
            played = self.play(target, (clients, users, number), lambda script: self.build(script, clients, names))
            yield from self.rows(played, clients, users)

    def build(self, script, clients, names):
        dialogues = [script.connection() for _ in range(clients)]
        for number, client in enumerate(dialogues):
            client.login(names[number % len(names)], select='INBOX')
        script.barrier()
        numbers = random.Random(11)
        messages = self.base if len(names) == 1 else self.base // 10
        kinds, weights = zip(*SHARES)
        victims = {}
        for number, client in enumerate(dialogues):
            for kind in numbers.choices(kinds, weights, k=self.sizes.mixed_operations // clients):
                self.command(client, kind, numbers, messages, victims, names[number % len(names)])
            client.logout()

    @staticmethod
    def command(client, kind, numbers, messages, victims, user):
        """Only the first half of the messages is expunged, one after another; the others are read."""
        kept = numbers.randint(messages // 2, messages)
        if kind == 'append':
            client.append('INBOX', [numbers.randrange(100000)], label=kind)
        elif kind == 'expunge':
            victims[user] = victim = victims.get(user, 0) + 1
            client.imap('UID STORE %d +FLAGS.SILENT (\\Deleted)' % victim)
            client.imap('UID EXPUNGE %d' % victim, label=kind, starts=False)
        else:
            client.imap({
                'fetch': 'UID FETCH %d (BODY.PEEK[])' % kept,
                'store': 'UID STORE %d %sFLAGS (\\Flagged)' % (kept, numbers.choice('+-')),
                'envelopes': 'UID FETCH %d:%d (FLAGS ENVELOPE)' % (kept, kept + 19),
                'search': 'SEARCH UNSEEN',
                'noop': 'NOOP',
            }[kind], label=kind)

    @staticmethod
    def rows(played, clients, users):
        where = '%d clients, %d user%s' % (clients, users, 's' * (users > 1))
        times = [taken for name in played.times for taken in played.times[name]]
        span = (max(played.last.values()) - min(played.first.values())) / 1e9
        yield 'mixed, ' + where, counted(Sample(len(times) / span, '/s', times), played, len(times))
        yield 'mixed, %s: p99' % where, Sample(percentile(times, 0.99) * 1000, 'ms')


OPERATIONS = (Mixed,)
