"""Mail that is read: SELECT, FETCH and SEARCH."""

import random

from . import target as targets
from .measure import Operation, Sequence, duration, rate

HEADERS = 'BODY.PEEK[HEADER.FIELDS (FROM TO CC SUBJECT DATE MESSAGE-ID REFERENCES)]'
ITEMS = {
    'FLAGS': '(UID FLAGS)',
    'RFC822.SIZE': '(RFC822.SIZE)',
    'bodies': '(BODY.PEEK[])',
    'ENVELOPE': '(ENVELOPE)',
    'BODYSTRUCTURE': '(BODYSTRUCTURE)',
    'header fields': '(%s)' % HEADERS,
}
# Of these nothing stays in Dovecot's cache that would help with another of them.
UNCACHED = ('FLAGS', 'RFC822.SIZE', 'bodies')


class FirstFetch(Operation):
    """FETCH 1:* of a mailbox that was just filled and never read, and once more by a new session."""
    group = 'fetch'

    def plan(self):
        """(mailbox, item, times that it is fetched) in order."""
        yield from (('plain', item, ('first', 'again')) for item in UNCACHED)
        for item in self.sizes.cached_items:
            yield item.replace(' ', '-'), item, ('first', 'again')
        if self.run.can_drop:
            yield 'plain', 'bodies', ('dropped caches',)
            for item in self.sizes.cold_items:
                yield item.replace(' ', '-') + '-cold', item, ('first, dropped caches',)

    def build(self, script, user, mailbox, items, label):
        action = targets.drop_caches if 'dropped' in label else None
        with self.company(script, action):
            client = script.connection()
            client.login(user, select=mailbox)
            script.barrier(action)
            for _ in range(3 if label == 'again' else 1):
                client.imap('FETCH 1:* ' + items, label=label)
            client.logout()

    def measure(self, target, number):
        user, filled = self.unsynced('read%d' % number), set()
        for mailbox, name, turns in self.plan():
            if mailbox not in filled:
                self.fill(target, user, mailbox, range(self.sizes.messages), keep=False)
                filled.add(mailbox)
            for turn in turns:
                played = self.play(target, (user, mailbox, name, turn), lambda script: self.build(
                    script, user, mailbox, ITEMS[name], turn))
                yield 'FETCH 1:* %s, %s' % (name, turn), duration(played, turn)


class KnownClient(Sequence):
    """The same of mail that came after a client had asked for these items, so that Dovecot caches them as it saves."""
    group = 'fetch'
    items = ('ENVELOPE', 'BODYSTRUCTURE', 'header fields')

    def rows(self, number):
        return [('FETCH of new mail, %s, known client' % name, ['FETCH 11:* ' + ITEMS[name]]) for name in self.items]

    def measure(self, target, number):
        user = self.unsynced('known%d' % number)
        self.fill(target, user, 'INBOX', range(10), keep=False)

        def before(script):
            client = script.connection()
            client.login(user, select='INBOX')
            for name in self.items:
                client.imap('FETCH 1:* ' + ITEMS[name])
            client.logout()

        def new_mail(script):
            client = script.connection()
            client.login(user)
            for begin in range(0, self.sizes.messages, 200):
                client.append('INBOX', range(begin, min(begin + 200, self.sizes.messages)))
            client.logout()

        for key, build in (('before', before), ('new', new_mail)):
            self.play(target, (user, key), build)
        return self.play_rows(target, user, number, select='INBOX')


class Search(Sequence):
    """SEARCH that reads the mail, where headers that were searched before are in Dovecot's cache."""
    group = 'read'
    searches = (('SUBJECT', 'SUBJECT xyzzy'), ('HEADER', 'HEADER X-Sequence 00000007'), ('BODY', 'BODY xyzzyq'),
                ('TEXT', 'TEXT xyzzyq'))

    def rows(self, number):
        return [('SEARCH %s, unindexed' % name, ['SEARCH ' + keys]) for name, keys in self.searches]

    def prepare(self, target):
        user = self.unsynced(targets.UNINDEXED)
        self.fill(target, user, 'INBOX', range(self.sizes.messages))
        for _ in self.play_rows(target, user, 0, select='INBOX'):
            pass

    def measure(self, target, number):
        return self.play_rows(target, self.unsynced(targets.UNINDEXED), number, select='INBOX')


class IndexedSearch(Sequence):
    """SEARCH where lmdb has its index, which the first one makes; the other formats have none of their own."""
    group = 'read'

    def rows(self, number):
        words = ('BODY', 'qqxyzzy'), ('TEXT', 'xyzzyq')
        return [('SEARCH BODY, first, lmdb makes its index', ['SEARCH BODY xyzzyq'])] + [
            ('SEARCH %s, lmdb with its index' % name, ['SEARCH %s %s' % (name, word)] * 3) for name, word in words]

    def measure(self, target, number):
        user = self.unsynced('indexed%d' % number)
        self.fill(target, user, 'INBOX', range(self.sizes.messages), keep=False)
        return self.play_rows(target, user, number, select='INBOX')


class Reading(Operation):
    """Random bodies, login and SELECT."""
    group = 'read'

    def prepare(self, target):
        self.fill(target, self.unsynced('reader'), 'INBOX', range(self.sizes.messages))

        def build(script):
            client = script.connection()
            client.login(self.unsynced('reader'), select='INBOX')
            client.imap('FETCH 1:* (FLAGS RFC822.SIZE ENVELOPE)')
            client.logout()

        self.play(target, 'read', build)

    def bodies(self, script, action):
        numbers = random.Random(7)
        with self.company(script, action):
            client = script.connection()
            client.login(self.unsynced('reader'), select='INBOX')
            script.barrier(action)
            for _ in range(self.sizes.singles):
                client.imap('UID FETCH %d (BODY.PEEK[])' % numbers.randint(1, self.sizes.messages), label='body')
            client.logout()

    def select(self, script, action=None, times=1):
        """By a new process each time."""
        with self.company(script, action):
            client = script.connection()
            for _ in range(times):
                client.login(self.unsynced('reader'))
                script.barrier(action)
                client.select('INBOX', label='select')
                client.logout()

    def login(self, script, select=False):
        client = script.connection()
        script.barrier()
        for _ in range(self.sizes.logins):
            client.login(self.unsynced('reader'))
            if select:
                client.select('INBOX', starts=False)
            client.logout(label='login', starts=False)

    def measure(self, target, number):
        for kind, action in self.run.caches():
            played = self.play(target, ('bodies', kind), lambda script: self.bodies(script, action))
            yield 'FETCH random bodies, ' + kind, rate(played, 'body')
        for select in (False, True):
            played = self.play(target, ('login', select), lambda script: self.login(script, select))
            yield 'login%s, logout' % (', SELECT' if select else ''), duration(played, 'login')
        for (kind, action), times in zip(self.run.caches(), (10, 3)):
            played = self.play(target, ('select', kind), lambda script: self.select(script, action, times))
            yield 'SELECT, ' + kind, duration(played, 'select')
        yield 'SELECT, index deleted', self.without_index(target, self.unsynced('reader'))

    def without_index(self, target, user):
        target.remove_indexes(user)
        resync = target.resync_seconds(user, 'INBOX') if target.needs_resync else 0
        sample = duration(self.play(target, ('select', 'index deleted'), self.select), 'select')
        sample.value += resync * 1000
        return sample


OPERATIONS = (FirstFetch, KnownClient, Search, IndexedSearch, Reading)
