"""Random commands of several sessions, deliveries and doveadm, compared with a model of what IMAP says must follow."""

import os
import random
import traceback

from harness import Literal, ServerTest, message
from harness.imap import number_set, quote
from imap_model import Folder, View

# DOVECOT_LMDB_SEED repeats a run, DOVECOT_LMDB_STEPS makes it longer.
SEED = os.environ.get('DOVECOT_LMDB_SEED')
STEPS = int(os.environ.get('DOVECOT_LMDB_STEPS', '300'))
SYSTEM_FLAGS = ('\\Seen', '\\Flagged', '\\Answered', '\\Draft')
KEYWORDS = ('one', 'two', 'Three', '$Label1')
RESTARTS = 2


class Gone(Exception):
    """The session ended, as it may if its mailbox is gone."""


class Client:
    """A session with what it was told. kind: plain, condstore or qresync."""

    def __init__(self, test, kind):
        self.test = test
        self.kind = kind
        self.imap = None
        self.name = None
        self.view = None
        # Mailbox -> (UIDVALIDITY, HIGHESTMODSEQ, View), for QRESYNC
        self.left = {}
        self.login()

    def login(self):
        self.imap = self.test.imap()
        if self.kind != 'plain':
            self.imap.ok('ENABLE ' + ('QRESYNC' if self.kind == 'qresync' else 'CONDSTORE'))
        self.name = self.view = None

    def cmd(self, *parts):
        """A command whose untagged responses go into the view."""
        try:
            result = self.imap.cmd(*parts)
        except (EOFError, OSError):
            raise Gone()
        if result.has('BYE'):
            raise Gone()
        if self.view is not None:
            self.see(result)
        return result

    def see(self, result):
        self.view.apply(result.lines)
        if 'HIGHESTMODSEQ' in result.codes():
            self.view.highest = result.code_int('HIGHESTMODSEQ')

    def ok(self, *parts):
        result = self.cmd(*parts)
        assert result.status == 'OK', repr(result)
        return result

    def leave(self):
        if self.view is not None and self.kind == 'qresync' and None not in self.view.uids:
            self.left[self.name] = self.view
        self.name = self.view = None

    def select(self, name):
        self.leave()
        old = self.left.pop(name, None)
        command = 'SELECT ' + quote(name)
        if old is not None and old.uids and old.highest > 0:
            command += ' (QRESYNC (%d %d))' % (old.uidvalidity, old.highest)
        else:
            old = None
        result = self.cmd(command)
        if result.status != 'OK':
            return result
        # What is said before it belongs to the mailbox that was selected until then.
        lines = result.lines
        for number, line in enumerate(lines):
            if line.code and line.code[0].upper() == 'CLOSED':
                lines = lines[number + 1:]
                break
        uidvalidity = result.code_int('UIDVALIDITY')
        count = [line.num for line in lines if line.kind == 'EXISTS'][-1]
        self.view = View(uidvalidity, count)
        if old is not None and old.uidvalidity == uidvalidity:
            self.view = self.resynced(old, lines, count)
        # Dovecot doesn't say it of a mailbox of which nobody ever asked for it.
        self.view.highest = result.code_int('HIGHESTMODSEQ') if 'HIGHESTMODSEQ' in result.codes() else 0
        self.name = name
        return result

    def resynced(self, old, lines, count):
        """The view as a client makes it of what it knew, VANISHED (EARLIER) and FETCH."""
        view = View(old.uidvalidity, 0)
        view.uids, view.flags = list(old.uids), dict(old.flags)
        view.apply([line for line in lines if line.kind == 'VANISHED'])
        new = []
        for line in lines:
            if line.kind == 'FETCH':
                items = line.fetch_items()
                if items['UID'] not in view.uids:
                    new.append(items['UID'])
                view.flags[items['UID']] = items['FLAGS'] - {'\\Recent'}
        view.uids = sorted(view.uids + new)
        assert len(view.uids) == count, 'after QRESYNC %d of %d messages are known' % (len(view.uids), count)
        return view


class Property:
    formats = ('lmdb',)

    def setUp(self):
        super().setUp()
        self.seed = int(SEED) if SEED else sum(map(ord, self.id()))
        self.rng = random.Random(self.seed)
        self.note = 'seed %d' % self.seed
        self.done = []
        self.folders = {'INBOX': Folder(), 'One': Folder(), 'Two': Folder()}
        # Name -> greatest UIDVALIDITY that a mailbox of this name had
        self.uidvalidities = {}
        self.subjects = 0
        self.steps = 0

    def run_steps(self):
        try:
            setup = self.imap()
            setup.create('One', 'Two')
            setup.logout()
            self.observer = self.imap()
            self.begin_clients()
            for step in range(STEPS):
                self.steps = step
                self.step()
                if (step + 1) % (STEPS // (RESTARTS + 1)) == 0:
                    self.restart()
            self.restart()
        except Exception:
            self.fail('seed %d (DOVECOT_LMDB_SEED), step %d, after\n  %s\n%s' %
                      (self.seed, self.steps, '\n  '.join(self.done[-25:]), traceback.format_exc()))

    def begin_clients(self):
        self.clients = [Client(self, kind) for kind in ('plain', 'condstore', 'qresync')]
        for client in self.clients:
            self.select(client, self.rng.choice(sorted(self.folders)))

    def restart(self):
        """All sessions end, and all but the store is gone."""
        self.done.append('restart without indexes')
        for client in self.clients:
            client.imap.logout()
        self.observer.logout()
        self.restart_server_without_indexes()
        self.observer = self.imap()
        self.begin_clients()
        client = self.clients[1]
        for name in sorted(self.folders):
            self.select(client, name)
            self.compare(client)
            found = {}
            if self.folders[name].messages:
                found = client.imap.fetch('1:*', 'BODY.PEEK[HEADER.FIELDS (SUBJECT)]')
            subjects = {uid: next(value for key, value in items.items() if key.startswith('BODY['))
                        for uid, items in found.items()}
            self.assertEqual({uid: value.strip() for uid, value in subjects.items()},
                             {uid: b'Subject: ' + message.subject.encode()
                              for uid, message in self.folders[name].messages.items()})
        self.assertEqual(sorted(client.imap.names()), sorted(self.folders))

    def restart_server_without_indexes(self):
        self.server.wait_until_idle()
        self.stop_server()
        self.remove_indexes()
        self.server.start()

    # Comparing

    def compare(self, client):
        """After a NOOP the session knows all, and it is what the model says."""
        folder = self.folders[client.name]
        client.ok('NOOP')
        known = dict(client.view.flags)
        condstore = client.kind != 'plain'
        if client.view.uids:
            result = client.ok('UID FETCH 1:* (FLAGS%s)' % (' MODSEQ' if condstore else ''))
            found = {items['UID']: items for items in result.fetched().values()}
        else:
            found = {}
        assert sorted(found) == folder.uids() == client.view.uids, \
            '%s: %r fetched, %r known, %r expected' % (client.kind, sorted(found), client.view.uids, folder.uids())
        for uid, items in found.items():
            flags = items['FLAGS'] - {'\\Recent'}
            expected = folder.messages[uid].flags
            assert flags == expected, '%s: UID %d has %r, expected %r' % (client.name, uid, flags, expected)
            assert known.get(uid, flags) == flags, \
                '%s session was last told %r of UID %d, and it has %r' % (client.kind, known[uid], uid, flags)
            if condstore:
                folder.see_modseq(uid, items['MODSEQ'])
        self.compare_status(client.name)
        if condstore:
            highest = max([message.modseq for message in folder.messages.values()], default=0)
            assert folder.highest >= highest, 'HIGHESTMODSEQ %d, MODSEQ %d' % (folder.highest, highest)

    def compare_status(self, name):
        folder = self.folders[name]
        status = self.observer.status(name, 'MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ')
        self.assertEqual(status['MESSAGES'], len(folder.messages))
        self.assertEqual(status['UIDVALIDITY'], folder.uidvalidity)
        self.assertEqual(status['UNSEEN'], len(folder.messages) - len(folder.with_flag('\\Seen')))
        self.assertGreater(status['UIDNEXT'], folder.last_uid)
        folder.see_highest(status['HIGHESTMODSEQ'])

    # Steps

    def step(self):
        client = self.rng.choice(self.clients)
        actions = (('append', 10), ('deliver', 5), ('store', 22), ('replace', 5), ('unchangedsince', 7), ('copy', 8),
                   ('move', 6), ('delete_some', 9), ('expunge', 4), ('close', 2), ('reselect', 8), ('noop', 5),
                   ('doveadm_flags', 2), ('folder', 4), ('silent', 6), ('multiappend', 3))
        action = self.rng.choices([name for name, _ in actions], [weight for _, weight in actions])[0]
        try:
            if client.view is None:
                self.select(client, self.rng.choice(sorted(self.folders)))
            if self.rng.random() < 0.75:
                client.ok('NOOP')
            getattr(self, 'do_' + action)(client)
            if client.view is not None:
                self.compare(client)
        except Gone:
            self.reborn(client)
        if self.rng.random() < 0.3:
            for other in self.clients:
                try:
                    if other.view is not None:
                        self.compare(other)
                except Gone:
                    self.reborn(other)

    def reborn(self, client):
        """A session may end only if its mailbox is another or none."""
        assert client.gone_allowed, 'the %s session has ended' % client.kind
        client.imap.close()
        client.login()
        self.select(client, self.rng.choice(sorted(self.folders)))

    def log(self, client, text, *args):
        self.done.append('%s in %s: %s' % (client.kind, client.name, text % args if args else text))

    def select(self, client, name):
        client.gone_allowed = False
        self.done.append('%s: SELECT %s' % (client.kind, name))
        result = client.select(name)
        assert result.status == 'OK', repr(result)
        folder = self.folders[name]
        if folder.uidvalidity is None:
            folder.uidvalidity = client.view.uidvalidity
            assert folder.uidvalidity > self.uidvalidities.get(name, 0), 'UIDVALIDITY %d again' % folder.uidvalidity
            self.uidvalidities[name] = folder.uidvalidity
        self.assertEqual(client.view.uidvalidity, folder.uidvalidity)
        if client.view.highest > 0:
            folder.see_highest(client.view.highest)

    def new_message(self):
        self.subjects += 1
        subject = 's%d' % self.subjects
        return subject, message(subject, 'Body of %s.\r\n' % subject * self.rng.choice((1, 1, 1, 300)))

    def some_flags(self, least=0):
        return set(self.rng.sample(SYSTEM_FLAGS + KEYWORDS, self.rng.randint(least, 3)))

    def some_uids(self, client):
        """UIDs that the session knows of, gone ones included."""
        known = [uid for uid in client.view.uids if uid is not None]
        return sorted(self.rng.sample(known, min(len(known), self.rng.choice((1, 1, 2, 5, 20)))))

    def other_name(self, client):
        return self.rng.choice(sorted(self.folders))

    def messages_of(self, client, uids):
        """Command prefix and set of messages, as UIDs or as the session's sequence numbers."""
        if self.rng.random() < 0.5:
            return 'UID ', ','.join(map(str, uids))
        return '', ','.join(str(client.view.uids.index(uid) + 1) for uid in uids)

    def append(self, client, count):
        name = self.other_name(client)
        parts, new = ['APPEND ' + quote(name)], []
        for _ in range(count):
            subject, data = self.new_message()
            flags = self.some_flags()
            parts += [' (%s) ' % ' '.join(sorted(flags)), Literal(data)]
            new.append((subject, flags))
        self.log(client, 'APPEND %d to %s', count, name)
        result = client.ok(*parts)
        uids = number_set(result.code[2])
        self.assertEqual(len(uids), count)
        for uid, (subject, flags) in zip(uids, new):
            self.folders[name].add(uid, subject, flags)

    def do_append(self, client):
        self.append(client, 1)

    def do_multiappend(self, client):
        self.append(client, self.rng.randint(2, 8))

    def do_deliver(self, client):
        subject, data = self.new_message()
        self.log(client, 'delivery')
        uid = self.observer.status('INBOX', 'UIDNEXT')['UIDNEXT']
        self.deliver(data)
        self.assertEqual(self.observer.status('INBOX', 'UIDNEXT')['UIDNEXT'], uid + 1)
        self.folders['INBOX'].add(uid, subject, ())

    def store(self, client, sign, flags, silent=False, uids=None):
        uids = self.some_uids(client) if uids is None else uids
        if not uids:
            return
        prefix, messages = self.messages_of(client, uids)
        command = '%sSTORE %s %sFLAGS%s (%s)' % (prefix, messages, sign, '.SILENT' if silent else '',
                                                 ' '.join(sorted(flags)))
        self.log(client, '%s [UIDs %s]', command, uids)
        result = client.cmd(command)
        folder = self.folders[client.name]
        gone = set(uids) - set(folder.messages)
        assert result.status == 'OK' or gone, repr(result)
        for uid in set(uids) - gone:
            old = folder.messages[uid].flags
            new = {'+': old | flags, '-': old - flags, '': set(flags)}[sign]
            folder.set_flags(uid, new)
            if silent:
                client.view.flags[uid] = set(new)

    def do_store(self, client):
        self.store(client, self.rng.choice('+-'), self.some_flags(1))

    def do_silent(self, client):
        client.ok('NOOP')
        self.store(client, self.rng.choice('+-'), self.some_flags(1), silent=True)

    def do_replace(self, client):
        self.store(client, '', self.some_flags())

    def do_unchangedsince(self, client):
        if client.kind == 'plain':
            return
        client.ok('NOOP')
        uids = self.some_uids(client)
        if not uids:
            return
        folder = self.folders[client.name]
        self.compare(client)
        since = self.rng.choice([folder.messages[uid].modseq for uid in folder.uids()])
        sign, flags = self.rng.choice('+-'), self.some_flags(1)
        prefix, messages = self.messages_of(client, uids)
        command = '%sSTORE %s (UNCHANGEDSINCE %d) %sFLAGS (%s)' % (prefix, messages, since, sign,
                                                                   ' '.join(sorted(flags)))
        self.log(client, '%s [UIDs %s]', command, uids)
        view = list(client.view.uids)
        result = client.ok(command)
        numbers = number_set(result.codes().get('MODIFIED', [''])[0])
        modified = set(numbers) if prefix else {view[number - 1] for number in numbers}
        expected = {uid for uid in uids if folder.messages[uid].modseq > since}
        self.assertEqual(modified, expected, 'MODIFIED')
        for uid in set(uids) - modified:
            old = folder.messages[uid].flags
            folder.set_flags(uid, old | flags if sign == '+' else old - flags)

    def transfer(self, client, verb):
        target = self.other_name(client)
        if verb == 'MOVE' and target == client.name:
            return
        uids = self.some_uids(client)
        if not uids:
            return
        prefix, messages = self.messages_of(client, uids)
        self.log(client, '%s%s %s %s [UIDs %s]', prefix, verb, messages, target, uids)
        source, destination = self.folders[client.name], self.folders[target]
        told = dict(client.view.flags)
        result = client.cmd('%s%s %s %s' % (prefix, verb, messages, quote(target)))
        gone = set(uids) - set(source.messages)
        if result.status != 'OK':
            # Nothing has happened, as the comparison will show.
            assert gone, repr(result)
            return
        if 'COPYUID' not in result.codes():
            self.assertEqual(set(uids), gone)
            return
        _, from_set, to_set = result.codes()['COPYUID']
        from_uids, to_uids = number_set(from_set), number_set(to_set)
        self.assertEqual(sorted(from_uids), sorted(set(uids) - gone))
        self.assertEqual(len(from_uids), len(to_uids))
        flags = self.flags_of(target, to_uids)
        for uid, new in zip(from_uids, to_uids):
            message = source.messages[uid]
            # The session may not know yet what others changed.
            assert flags[new] in (message.flags, told.get(uid)), \
                'UID %d had %r, its copy has %r' % (uid, message.flags, flags[new])
            destination.add(new, message.subject, flags[new])
        if verb == 'MOVE':
            source.remove(from_uids)

    def flags_of(self, name, uids):
        self.observer.ok('EXAMINE ' + quote(name))
        found = self.observer.flags(','.join(map(str, uids)))
        self.observer.ok('UNSELECT')
        return found

    def do_copy(self, client):
        self.transfer(client, 'COPY')

    def do_move(self, client):
        self.transfer(client, 'MOVE')

    def do_delete_some(self, client):
        """Mark, and expunge these or part of these."""
        client.ok('NOOP')
        uids = self.some_uids(client)
        if not uids:
            return
        self.store(client, '+', {'\\Deleted'}, silent=self.rng.random() < 0.5, uids=uids)
        part = self.rng.sample(uids, self.rng.randint(1, len(uids)))
        self.log(client, 'UID EXPUNGE %s', sorted(part))
        client.ok('UID EXPUNGE ' + ','.join(map(str, sorted(part))))
        self.folders[client.name].remove(part)

    def do_expunge(self, client):
        client.ok('NOOP')
        self.log(client, 'EXPUNGE')
        client.ok('EXPUNGE')
        folder = self.folders[client.name]
        folder.remove(folder.with_flag('\\Deleted'))

    def do_close(self, client):
        client.ok('NOOP')
        self.log(client, 'CLOSE')
        folder = self.folders[client.name]
        client.leave()
        client.left.clear()
        result = client.imap.ok('CLOSE')
        self.assertEqual([line for line in result.lines if line.kind in ('EXPUNGE', 'VANISHED')], [])
        folder.remove(folder.with_flag('\\Deleted'))

    def do_reselect(self, client):
        self.select(client, self.rng.choice(sorted(self.folders)))

    def do_noop(self, client):
        client.ok('NOOP')

    def do_doveadm_flags(self, client):
        folder = self.folders[client.name]
        if not folder.messages:
            return
        uids = self.rng.sample(folder.uids(), min(len(folder.messages), 3))
        verb = self.rng.choice(('add', 'remove', 'replace'))
        flags = self.some_flags(1)
        self.log(client, 'doveadm flags %s %s %s', verb, sorted(flags), uids)
        self.doveadm('flags ' + verb, ' '.join(sorted(flags)), 'mailbox', client.name, 'uid', ','.join(map(str, uids)))
        for uid in uids:
            old = folder.messages[uid].flags
            folder.set_flags(uid, {'add': old | flags, 'remove': old - flags, 'replace': set(flags)}[verb])

    def do_folder(self, client):
        """RENAME of a mailbox, also one that sessions have selected; or DELETE and CREATE."""
        name = self.rng.choice([name for name in sorted(self.folders) if name != 'INBOX'])
        if self.rng.random() < 0.6:
            new = self.rng.choice([new for new in ('One', 'Two', 'Three', 'Four') if new not in self.folders])
            self.log(client, 'RENAME %s %s', name, new)
            self.ok_folder_command(client, 'RENAME %s %s' % (name, new))
            self.folders[new] = self.folders.pop(name)
            self.uidvalidities[new] = max(self.uidvalidities.get(new, 0), self.folders[new].uidvalidity or 0)
        else:
            new = name
            self.log(client, 'DELETE %s, CREATE %s', name, name)
            self.ok_folder_command(client, 'DELETE ' + name)
            self.observer.ok('CREATE ' + name)
            self.folders[name] = Folder()
            status = self.observer.status(name, 'UIDVALIDITY')['UIDVALIDITY']
            self.assertGreater(status, self.uidvalidities.get(name, 0))
            self.folders[name].uidvalidity = self.uidvalidities[name] = status
        for other in self.clients:
            other.left.pop(name, None)
            other.left.pop(new, None)
            if other.name == name:
                self.after_folder_command(other, name, new)

    def ok_folder_command(self, client, command):
        """By a session that hasn't this mailbox selected."""
        self.observer.ok(command)

    def after_folder_command(self, client, name, new):
        """A session whose mailbox was renamed goes on with it or has to select it again; of a deleted one it ends."""
        client.gone_allowed = True
        try:
            if new != name:
                client.name = new
                client.ok('NOOP')
            else:
                result = client.cmd('NOOP')
                assert result.status in ('OK', 'NO'), repr(result)
                # It isn't shown what is in the new one.
                client.cmd('UID FETCH 1:* (FLAGS)')
                client.left.clear()
                client.view = client.name = None
                self.select(client, name)
        except Gone:
            client.left.clear()
            self.reborn(client)

    def test_model(self):
        self.run_steps()


class Always(Property, ServerTest):
    config = 'mail_fsync = always\n'


class Never(Property, ServerTest):
    config = 'mail_fsync = never\n'


class Optimized(Property, ServerTest):
    config = 'mail_fsync = optimized\n'


class Renamed(ServerTest):
    """A session whose mailbox another one renames: it ends, or all that it does concerns that mailbox and no other."""
    formats = ('lmdb',)

    def begin(self):
        self.one, self.two = self.imap(), self.imap()
        self.one.create('Old', 'Other')
        self.one.append_many('Old', [message('a'), message('b')])
        self.one.append('Other', message('other'))
        self.one.select('Old')
        self.two.ok('RENAME Old New')

    def attempt(self, *parts):
        """Whether the session still lives; a command of a living one succeeds."""
        try:
            result = self.one.cmd(*parts)
        except (EOFError, OSError):
            return False
        if result.has('BYE'):
            return False
        self.assertEqual(result.status, 'OK', result)
        return True

    def counts(self, *names):
        return [self.two.status(name)['MESSAGES'] for name in names]

    def test_goes_on_or_ends(self):
        self.begin()
        if self.attempt('NOOP'):
            self.assertTrue(self.attempt(r'STORE 1 +FLAGS (\Seen)'))
            self.assertTrue(self.attempt('COPY 1 Other'))
            self.assertTrue(self.attempt('MOVE 1 Other'))
            self.assertEqual(self.counts('New', 'Other'), [1, 3])
        else:
            self.assertEqual(self.counts('New', 'Other'), [2, 1])

    def test_another_of_the_old_name(self):
        self.begin()
        self.two.create('Old')
        if self.attempt('NOOP'):
            self.assertTrue(self.attempt('COPY 1 Old'))
            self.assertEqual(self.counts('New', 'Old'), [2, 1])
            self.assertTrue(self.attempt('APPEND Old ', Literal(message())))
            self.assertEqual(self.counts('New', 'Old'), [2, 2])
            self.assertEqual(self.one.status('Old')['MESSAGES'], 2)
        else:
            self.assertEqual(self.counts('New', 'Old'), [2, 0])
