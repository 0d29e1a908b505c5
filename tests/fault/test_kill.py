"""Processes killed at any moment: what was acknowledged is there, and nothing is there twice or in half."""

import os
import poplib
import random
import signal
import time

from harness import Literal, ServerTest, message, message_of_size, only
from harness.imap import Imap
from harness.lmtp import Lmtp

ROUNDS = 25
KILLED = r'service\((imap|lmtp|pop3|doveadm)\): child \d+ killed with signal 9|command startup failed, throttling'


class Kill(ServerTest):
    def setUp(self):
        super().setUp()
        self.rng = random.Random(self.id())
        self.kills = 0
        self.allow_log(KILLED)
        if self.options.format != 'lmdb':
            # Files of half a delivery, locks of the dead and the like.
            self.allow_log('.')

    def kill(self, name):
        """Kill the processes of that name; returns how many."""
        pids = self.server.pids(name)
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
                self.kills += 1
                self.note = '%d kills' % self.kills
            except ProcessLookupError:
                pass
        self.server.wait_until_idle(names=(name,))
        return len(pids)

    def collect(self, imap, tags):
        """Responses that still came: tag -> Result, up to where the connection broke."""
        results = {}
        for tag in tags:
            try:
                results[tag] = imap.wait(tag)
            except (OSError, EOFError):
                break
        imap.close()
        return results

    def pause(self, longest):
        time.sleep(self.rng.random() * longest)

    def subjects(self, mailbox, imap=None):
        """UID -> subject of all messages."""
        imap = imap or self.imap()
        imap.ok('EXAMINE ' + mailbox)
        found = imap.fetch('1:*', 'BODY.PEEK[]')
        return {uid: items['BODY[]'].split(b'Subject: ')[1].split(b'\r\n')[0].decode() for uid, items in found.items()}

    def fresh(self):
        """A session of which no other test process is waiting."""
        return Imap(self.server.imap_port, self.user, transcript=self.transcript)

    def test_append(self):
        """Many APPENDs under way: every acknowledged one is there under its UID, in full."""
        acknowledged = {}
        sent = {}
        for round_number in range(ROUNDS):
            imap = self.fresh()
            imap.ok('NOOP')
            tags = {}
            for number in range(30):
                name = 'r%dn%d' % (round_number, number)
                sent[name] = message_of_size(self.rng.choice((300, 3000, 9000, 40000)), number, subject=name)
                tags[imap.send('APPEND INBOX (key) ', Literal(sent[name]))] = name
            self.pause(0.03)
            self.kill('imap')
            for tag, result in self.collect(imap, tags).items():
                self.assertEqual(result.status, 'OK')
                uid = int(result.code[2])
                self.assertNotIn(uid, acknowledged)
                acknowledged[uid] = tags[tag]
            self.deliver(message('delivery'))
        imap = self.imap()
        imap.select()
        stored = imap.fetch('1:*', '(FLAGS BODY.PEEK[])')
        for uid, name in acknowledged.items():
            self.assertTrue(stored[uid]['BODY[]'] == sent[name], name)
        names = []
        for uid, items in stored.items():
            if b'\r\nSubject: delivery\r\n' not in items['BODY[]']:
                name = items['BODY[]'].split(b'Subject: ')[1].split(b'\r\n')[0].decode()
                self.assertTrue(items['BODY[]'] == sent[name], name)
                self.assertIn('key', items['FLAGS'])
                names.append(name)
        self.assertEqual(len(names), len(set(names)), 'a message is there twice')
        self.assertEqual(self.kills, ROUNDS)
        self.assertTrue(acknowledged)

    @only('lmdb')
    def test_multiappend_is_whole(self):
        done = 0
        for round_number in range(ROUNDS):
            imap = self.fresh()
            parts = ['APPEND INBOX']
            for number in range(40):
                parts += [' ', Literal(message_of_size(3000, number, subject='g%d' % round_number))]
            imap.ok('NOOP')
            tag = imap.send(*parts)
            self.pause(0.02)
            self.kill('imap')
            done += len(self.collect(imap, [tag]))
        groups = list(self.subjects('INBOX').values())
        for group in set(groups):
            self.assertEqual(groups.count(group), 40, group)
        self.assertGreaterEqual(len(set(groups)), done)

    def test_lmtp(self):
        acknowledged, sent = set(), set()
        for round_number in range(ROUNDS):
            lmtp = Lmtp(self.server.lmtp_port)
            number = 0
            deadline = time.monotonic() + self.rng.random() * 0.03
            while time.monotonic() < deadline:
                name = 'r%dn%d' % (round_number, number)
                lmtp.ok(self.user, message_of_size(5000, number, subject=name))
                acknowledged.add(name)
                sent.add(name)
                number += 1
            name = 'r%dlast' % round_number
            sent.add(name)
            lmtp.begin([self.user])
            lmtp.send_data(message_of_size(50000, number, subject=name))
            lmtp.sock.sendall(b'.\r\n')
            self.pause(0.004)
            self.kill('lmtp')
            try:
                if lmtp.reply()[0] == 250:
                    acknowledged.add(name)
            except (OSError, EOFError):
                pass
            lmtp.close()
        names = list(self.subjects('INBOX').values())
        self.assertLessEqual(acknowledged, set(names))
        self.assertLessEqual(set(names), sent)
        self.assertEqual(len(names), len(set(names)), 'a message is there twice')

    def check_move(self, count, rounds, longest):
        imap = self.fresh()
        imap.create('There')
        names = ['m%d' % number for number in range(count)]
        imap.append_many('INBOX', [message(name) for name in names])
        imap.logout()
        here, there = 'INBOX', 'There'
        halves = 0
        for round_number in range(rounds):
            imap = self.fresh()
            imap.select(here)
            tag = imap.send('MOVE 1:* ' + there)
            self.pause(longest)
            self.kill('imap')
            if self.collect(imap, [tag]):
                # Too late: earlier the next time.
                longest *= 0.8
            else:
                halves += 1
                longest *= 1.1
            self.note = '%d kills, %d before the reply' % (self.kills, halves)
            check = self.fresh()
            everything = list(self.subjects('INBOX', check).values()) + list(self.subjects('There', check).values())
            self.assertEqual(sorted(everything), sorted(names), 'round %d' % round_number)
            # What a batch left behind goes along, so that the next round begins with all in one folder.
            check.select(here)
            if check.uids():
                check.ok('MOVE 1:* ' + there)
            check.logout()
            here, there = there, here
        # And as a new session sees it that has no index.
        self.server.wait_until_idle()
        self.remove_indexes()
        self.assertEqual(sorted(self.subjects(here).values()), sorted(names))

    @only('lmdb')
    def test_move(self):
        """Killed in a MOVE: no message is lost, none is there twice."""
        self.check_move(300, ROUNDS, 0.02)

    @only('lmdb')
    def test_move_in_batches(self):
        self.check_move(2500, 8, 0.1)

    @only('lmdb')
    def test_copy_is_whole(self):
        imap = self.fresh()
        imap.create('There')
        imap.append_many('INBOX', [message('m%d' % number) for number in range(400)])
        imap.logout()
        copies = 0
        for round_number in range(ROUNDS):
            imap = self.fresh()
            imap.select()
            tag = imap.send('COPY 1:* There')
            self.pause(0.02)
            self.kill('imap')
            acknowledged = len(self.collect(imap, [tag]))
            count = self.imap().status('There')['MESSAGES']
            self.assertEqual(count % 400, 0)
            self.assertGreaterEqual(count, 400 * (copies + acknowledged))
            copies = count // 400
            self.close_connections()

    def test_flags(self):
        """Acknowledged flag changes survive the death of their session."""
        imap = self.fresh()
        imap.append_many('INBOX', [message()] * 20)
        imap.logout()
        expected = {uid: set() for uid in range(1, 21)}
        for round_number in range(ROUNDS):
            imap = self.fresh()
            imap.select()
            tags = {}
            for _ in range(30):
                uid, flag = self.rng.randint(1, 20), self.rng.choice(('\\Seen', '\\Flagged', 'one', 'two', 'three'))
                sign = self.rng.choice('+-')
                tags[imap.send('STORE %d %sFLAGS.SILENT (%s)' % (uid, sign, flag))] = (uid, sign, flag)
            self.pause(0.01)
            self.kill('imap')
            results = self.collect(imap, tags)
            for tag in results:
                uid, sign, flag = tags[tag]
                expected[uid] = expected[uid] | {flag} if sign == '+' else expected[uid] - {flag}
            uncertain = {tags[tag][0] for tag in tags if tag not in results}
            imap = self.fresh()
            imap.select()
            found = imap.flags()
            imap.logout()
            for uid in expected:
                if uid not in uncertain:
                    self.assertEqual(found[uid], expected[uid], 'round %d, UID %d' % (round_number, uid))
            expected = found

    def test_expunge(self):
        imap = self.fresh()
        names = ['m%d' % number for number in range(1000)]
        imap.append_many('INBOX', [message(name) for name in names])
        imap.logout()
        left = set(range(1, 1001))
        for round_number in range(ROUNDS):
            uids = set(self.rng.sample(sorted(left), 30))
            uid_set = ','.join(map(str, sorted(uids)))
            imap = self.fresh()
            imap.select()
            imap.store(uid_set, r'+FLAGS.SILENT (\Deleted)')
            tag = imap.send('UID EXPUNGE ' + uid_set)
            self.pause(0.006)
            self.kill('imap')
            acknowledged = bool(self.collect(imap, [tag]))
            found = set(self.subjects('INBOX'))
            self.close_connections()
            self.assertLessEqual(left - uids, found)
            self.assertLessEqual(found, left)
            if acknowledged:
                self.assertEqual(found, left - uids)
            left = found
        self.assertEqual({uid: names[uid - 1] for uid in left}, self.subjects('INBOX'))

    @only('lmdb')
    def test_folders(self):
        """Killed among CREATE, RENAME and DELETE: what was acknowledged is so, the rest happened or did not."""
        state = set()
        for round_number in range(ROUNDS):
            imap = self.fresh()
            commands = []
            for number in range(6):
                name = 'f%dx%d' % (round_number, number)
                commands += ['CREATE %s' % name, 'CREATE %s/sub' % name, 'RENAME %s g%s' % (name, name)]
                if number % 2:
                    commands += ['DELETE g%s/sub' % name, 'DELETE g%s' % name]
            tags = {imap.send(command): command for command in commands}
            self.pause(0.03)
            self.kill('imap')
            results = self.collect(imap, tags)
            check = self.fresh()
            check.select()
            names = set(check.names()) - {'INBOX'}
            possible = [set(state)]
            for tag, command in tags.items():
                state = apply(state, command)
                if tag in results:
                    self.assertEqual(results[tag].status, 'OK', command)
                    possible = []
                possible.append(set(state))
            self.assertIn(names, possible)
            for name in names:
                check.append(name, message())
            state = names
            check.logout()

    @only('lmdb', 'sdbox')
    def test_all_processes_at_once(self):
        """The master too, as when a machine resets."""
        acknowledged = set()
        for round_number in range(8):
            imap = self.fresh()
            lmtp = Lmtp(self.server.lmtp_port)
            tags = {}
            for number in range(20):
                name = 'r%dn%d' % (round_number, number)
                tags[imap.send('APPEND INBOX ', Literal(message(name)))] = name
            lmtp.begin([self.user])
            lmtp.send_data(message('r%dlmtp' % round_number))
            lmtp.sock.sendall(b'.\r\n')
            self.pause(0.03)
            pids = [self.server.master.pid] + [pid for pid, _ in self.server.processes()]
            self.kills += len(pids)
            self.note = '%d kills' % self.kills
            # Stopped first, so that none lives to complain of another's death.
            for number in (signal.SIGSTOP, signal.SIGKILL):
                for pid in pids:
                    try:
                        os.kill(pid, number)
                    except ProcessLookupError:
                        pass
            self.server.abandon()
            acknowledged |= {tags[tag] for tag in self.collect(imap, tags)}
            try:
                if lmtp.reply()[0] == 250:
                    acknowledged.add('r%dlmtp' % round_number)
            except (OSError, EOFError):
                pass
            lmtp.close()
            self.server.start()
            names = list(self.subjects('INBOX').values())
            self.assertLessEqual(acknowledged, set(names))
            self.assertEqual(len(names), len(set(names)))
            self.close_connections()

    def test_pop3(self):
        imap = self.fresh()
        imap.append_many('INBOX', [message('m%d' % number) for number in range(400)])
        imap.logout()
        left, longest = 400, 0.004
        for _ in range(100):
            pop3 = self.pop3()
            for number in range(1, 5):
                pop3.dele(number)
            pid = self.server.pid_of(pop3)
            pop3._putcmd('QUIT')
            self.pause(longest)
            try:
                os.kill(pid, signal.SIGKILL)
                self.kills += 1
                longest *= 1.1
            except ProcessLookupError:
                # Too late: earlier the next time.
                longest *= 0.5
            try:
                acknowledged = pop3._getresp().startswith(b'+OK')
            except (OSError, EOFError, poplib.error_proto):
                acknowledged = False
            self.server.wait_until_idle()
            found = len(self.subjects('INBOX'))
            self.close_connections()
            if acknowledged:
                self.assertEqual(found, left - 4)
            self.assertIn(found, range(left - 4, left + 1) if self.options.format != 'lmdb' else (left, left - 4))
            left = found
            if self.kills == 10:
                break
        self.note = '%d kills' % self.kills
        self.assertGreater(self.kills, 0)


def apply(state, command):
    """The names after a command."""
    words = command.split()
    if words[0] == 'CREATE':
        return state | {words[1]}
    if words[0] == 'DELETE':
        return state - {words[1]}
    return {words[2] + name[len(words[1]):] if name == words[1] or name.startswith(words[1] + '/') else name
            for name in state}
