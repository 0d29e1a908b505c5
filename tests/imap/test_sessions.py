"""Sessions that have the same folder open: each sees what the others do, in order."""

import random

from harness import ServerTest, message


class Sessions(ServerTest):
    def setUp(self):
        super().setUp()
        self.one, self.two = self.imap(), self.imap()
        self.one.append_many('INBOX', [message('m%d' % number) for number in range(5)])
        self.one.select()
        self.two.select()

    def test_new_messages(self):
        self.one.append('INBOX', message())
        self.one.append('INBOX', message())
        self.assertEqual(self.two.ok('NOOP').numbers('EXISTS')[-1:], [7])
        self.deliver(message())
        for imap in (self.one, self.two):
            self.assertEqual(imap.ok('CHECK').numbers('EXISTS')[-1:], [8])
            self.assertEqual(imap.uids(), list(range(1, 9)))

    def test_flags(self):
        self.one.store('2', r'+FLAGS (\Seen key)')
        self.assertEqual(self.two.ok('NOOP').fetched()[2]['FLAGS'] - {'\\Recent'}, {'\\Seen', 'key'})
        self.two.store('2', r'-FLAGS (\Seen)')
        self.assertEqual(self.one.ok('NOOP').fetched()[2]['FLAGS'] - {'\\Recent'}, {'key'})

    def test_no_echo(self):
        """A session isn't told twice what it did itself."""
        self.one.store('2', r'+FLAGS (\Seen)')
        self.assertEqual(self.one.ok('NOOP').lines, [])
        self.two.ok('NOOP')
        self.assertEqual(self.two.ok('NOOP').lines, [])

    def test_everything_at_once(self):
        """After expunges, new messages and flags a NOOP brings the other session to the same state."""
        self.one.store('1,4', r'+FLAGS (\Deleted)')
        self.one.ok('EXPUNGE')
        self.one.append('INBOX', message())
        self.one.store('6', r'+FLAGS (new)')
        self.one.store('2', r'+FLAGS (\Flagged)')
        result = self.two.ok('NOOP')
        kinds = result.kinds()
        self.assertEqual(sorted(result.numbers('EXPUNGE')), [1, 4])
        self.assertEqual(result.numbers('EXISTS')[-1], 4)
        self.assertLess(kinds.index('EXPUNGE'), kinds.index('EXISTS'))
        self.assertEqual(self.two.flags(), {2: {'\\Flagged'}, 3: set(), 5: set(), 6: {'new'}})

    def test_random_work(self):
        """Sessions that do random things end with the same messages, flags and numbers."""
        rng = random.Random(1)
        sessions = [self.one, self.two, self.imap()]
        sessions[2].select()
        self.one.create('Other')
        state = {uid: set() for uid in range(1, 6)}
        next_uid = 6
        for _ in range(300):
            imap = rng.choice(sessions)
            uid = rng.choice(sorted(state)) if state else None
            action = rng.randrange(10)
            if action < 4 or uid is None:
                self.assertEqual(imap.append('INBOX', message('m'))[1], next_uid)
                state[next_uid] = set()
                next_uid += 1
            elif action < 7:
                flag = rng.choice(['\\Seen', '\\Flagged', 'key1', 'key2'])
                sign = rng.choice('+-')
                imap.ok('NOOP')
                imap.store(str(uid), '%sFLAGS (%s)' % (sign, flag))
                state[uid] = state[uid] | {flag} if sign == '+' else state[uid] - {flag}
            elif action < 8:
                imap.ok('NOOP')
                imap.store(str(uid), r'+FLAGS.SILENT (\Deleted)')
                imap.ok('UID EXPUNGE %d' % uid)
                del state[uid]
            elif action < 9:
                imap.ok('NOOP')
                imap.ok('UID MOVE %d Other' % uid)
                del state[uid]
            else:
                imap.ok('NOOP')
                imap.ok('UID COPY %d INBOX' % uid)
                state[next_uid] = set(state[uid])
                next_uid += 1
        for imap in sessions + [self.imap()]:
            imap.ok('NOOP')
            if imap not in sessions:
                imap.select()
            self.assertEqual(imap.flags(), state)

    def test_uids_stay_in_order(self):
        """Sequence numbers and UIDs rise together, whoever saves."""
        for number in range(20):
            (self.one, self.two)[number % 2].append('INBOX', message())
            self.deliver(message())
        for imap in (self.one, self.two):
            imap.ok('NOOP')
            pairs = [(num, items['UID']) for num, items in imap.ok('FETCH 1:* UID').fetched().items()]
            self.assertEqual(pairs, [(number, number) for number in range(1, 46)])


class Idle(ServerTest):
    def setUp(self):
        super().setUp()
        self.writer, self.idler = self.imap(), self.imap()
        self.writer.append('INBOX', message())
        self.writer.select()
        self.idler.select()

    def test_exists(self):
        tag = self.idler.idle()
        for count in range(2, 5):
            self.deliver(message())
            lines = self.idler.until(lambda line: line.kind == 'EXISTS')
            self.assertEqual(lines[-1].num, count)
        self.writer.append('INBOX', message())
        self.assertEqual(self.idler.until(lambda line: line.kind == 'EXISTS')[-1].num, 5)
        self.assertEqual(self.idler.done(tag).status, 'OK')
        self.assertEqual(self.idler.uids(), [1, 2, 3, 4, 5])

    def test_flags(self):
        tag = self.idler.idle()
        self.writer.store('1', r'+FLAGS (\Seen)')
        line = self.idler.until(lambda line: line.kind == 'FETCH')[-1]
        self.assertIn('\\Seen', line.fetch_items()['FLAGS'])
        self.writer.store('1', '+FLAGS (key)')
        line = self.idler.until(lambda line: line.kind == 'FETCH')[-1]
        self.assertIn('key', line.fetch_items()['FLAGS'])
        self.idler.done(tag)

    def test_expunge(self):
        tag = self.idler.idle()
        self.writer.store('1', r'+FLAGS (\Deleted)')
        self.writer.ok('EXPUNGE')
        self.assertEqual(self.idler.until(lambda line: line.kind == 'EXPUNGE')[-1].num, 1)
        self.idler.done(tag)
        self.assertEqual(self.idler.uids(), [])

    def test_move(self):
        """Both sides of a MOVE are told."""
        self.writer.create('To')
        other = self.imap()
        other.select('To')
        tag, other_tag = self.idler.idle(), other.idle()
        self.writer.ok('MOVE 1 To')
        self.assertEqual(self.idler.until(lambda line: line.kind == 'EXPUNGE')[-1].num, 1)
        self.assertEqual(other.until(lambda line: line.kind == 'EXISTS')[-1].num, 1)
        self.idler.done(tag)
        other.done(other_tag)

    def test_many_sessions(self):
        sessions = [self.imap() for _ in range(10)]
        tags = []
        for imap in sessions:
            imap.select()
            tags.append(imap.idle())
        self.deliver(message())
        for imap, tag in zip(sessions, tags):
            self.assertEqual(imap.until(lambda line: line.kind == 'EXISTS')[-1].num, 2)
            self.assertEqual(imap.done(tag).status, 'OK')

    def test_what_came_before(self):
        """What happened before IDLE is told at its beginning."""
        self.deliver(message())
        tag = self.idler.idle()
        self.assertEqual(self.idler.until(lambda line: line.kind == 'EXISTS')[-1].num, 2)
        self.idler.done(tag)
