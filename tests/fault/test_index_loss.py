"""Everything but the store may be deleted or damaged: all comes back, and no MODSEQ falls."""

import hashlib
import os
import random
import shutil

from harness import ServerTest, message, only
from harness.imap import text_of


@only('lmdb')
class IndexLoss(ServerTest):
    config = '''
protocol imap {
  imap_metadata = yes
}
'''

    def fill(self):
        imap = self.imap()
        imap.create('Work', 'Work/Sub', 'Empty', 'Entw&APw-rfe', 'Parent/Child', 'Gone')
        for name, count in (('INBOX', 25), ('Work', 6), ('Work/Sub', 3), ('Entw&APw-rfe', 2), ('Parent/Child', 1)):
            for number in range(count):
                imap.append(name, message('%s %d' % (name, number), 'body %d\r\n' % number),
                            date='%02d-Mar-2020 10:11:12 +0000' % (number % 28 + 1))
        imap.ok('DELETE Gone')
        imap.select()
        imap.store('2:5', r'+FLAGS (\Seen)')
        imap.store('7', '+FLAGS (zulu)')
        imap.store('4:9', '+FLAGS (alpha $Label1)')
        imap.store('5', r'+FLAGS (mike \Answered \Flagged \Draft)')
        imap.store('20:22,25', r'+FLAGS (\Deleted)')
        imap.ok('EXPUNGE')
        imap.ok('COPY 1:3 Work')
        imap.ok('MOVE 10:12 Work/Sub')
        imap.ok('RENAME Entw&APw-rfe Renamed')
        for name in ('INBOX', 'Work/Sub', 'Parent/Child'):
            imap.ok('SUBSCRIBE ' + name)
        imap.ok('SETMETADATA Work (/private/comment "mine" /shared/vendor/x "ours")')
        imap.ok('SETMETADATA "" (/private/vendor/server "on the server")')
        imap.logout()
        self.deliver(message('delivered'))

    def snapshot(self):
        """All a client can see, MODSEQs and \\Recent excepted."""
        imap = self.imap()
        seen = {'tree': sorted((name, '\\Noselect' in flags) for name, flags in imap.list().items()),
                'subscribed': sorted(imap.list(kind='LSUB'))}
        for name, noselect in seen['tree']:
            if noselect:
                continue
            seen[name, 'status'] = imap.status(name, 'MESSAGES UIDNEXT UIDVALIDITY UNSEEN SIZE')
            result = imap.ok('EXAMINE "%s"' % name)
            seen[name, 'keywords'] = sorted(result.one('FLAGS').args[0])
            for uid, items in imap.fetch('1:*', '(FLAGS INTERNALDATE SAVEDATE RFC822.SIZE BODY.PEEK[])').items():
                items['FLAGS'] = sorted(items['FLAGS'] - {'\\Recent'})
                items['BODY[]'] = hashlib.sha1(items['BODY[]']).hexdigest()
                seen[name, uid] = items
        for name, entry in (('Work', '/private/comment'), ('Work', '/shared/vendor/x'), ('""', '/private/vendor/server')):
            seen[name, entry] = [text_of(line.args) for line in imap.ok('GETMETADATA %s %s' % (name, entry)).all('METADATA')]
        imap.logout()
        seen['guids'] = self.doveadm('fetch', 'mailbox uid guid', 'all')
        seen['folder guids'] = sorted(self.doveadm('mailbox status', 'guid', '*').splitlines())
        pop3 = self.pop3()
        seen['uidl'] = list(pop3.uidls().items()), list(pop3.sizes().items())
        pop3.quit()
        self.server.wait_until_idle()
        return seen

    def check_snapshot(self, before):
        after = self.snapshot()
        for key in before:
            self.assertEqual(after.get(key), before[key], key)
        self.assertEqual(after, before)

    def modseqs(self, imap):
        """Folder -> HIGHESTMODSEQ, and the greatest MODSEQ of a message."""
        found = {}
        for name, flags in imap.list().items():
            if '\\Noselect' not in flags:
                highest = imap.ok('EXAMINE "%s" (CONDSTORE)' % name).code_int('HIGHESTMODSEQ')
                found[name] = highest, {uid: items['MODSEQ'] for uid, items in imap.fetch('1:*', 'MODSEQ').items()}
        imap.ok('UNSELECT')
        return found

    def test_stopped_server(self):
        self.fill()
        before = self.snapshot()
        self.stop_server()
        self.remove_indexes()
        self.server.start()
        self.check_snapshot(before)

    def test_live_server(self):
        self.fill()
        before = self.snapshot()
        for _ in range(3):
            self.remove_indexes()
            self.check_snapshot(before)

    def test_order_of_keywords(self):
        imap = self.imap()
        imap.append_many('INBOX', [message()] * 4)
        imap.append('INBOX', message(), flags='kilo')
        imap.select()
        imap.store('4', '+FLAGS (zulu)')
        imap.store('2', '+FLAGS (mike alpha)')
        imap.store('1', '+FLAGS (bravo)')
        imap.store('4', '-FLAGS (zulu)')
        flags = imap.ok('EXAMINE INBOX').one('FLAGS').args[0]
        imap.logout()
        self.server.wait_until_idle()
        self.remove_indexes()
        self.assertEqual(self.imap().select().one('FLAGS').args[0], flags)

    def test_only_the_store_is_left(self):
        """Restored from a backup of the store alone."""
        self.fill()
        before = self.snapshot()
        self.stop_server()
        mail = os.path.join(self.home(), 'mail')
        for name in os.listdir(mail):
            if name != 'store':
                path = os.path.join(mail, name)
                (shutil.rmtree if os.path.isdir(path) else os.unlink)(path)
        store = os.path.join(mail, 'store')
        for name in os.listdir(store):
            if name != 'data.mdb':
                path = os.path.join(store, name)
                (shutil.rmtree if os.path.isdir(path) else os.unlink)(path)
        self.server.start()
        self.check_snapshot(before)
        # Sessions tell each other of changes as before.
        idler = self.imap()
        count = idler.select().one('EXISTS').num
        tag = idler.idle()
        self.deliver(message())
        self.assertEqual(idler.until(lambda line: line.kind == 'EXISTS')[-1].num, count + 1)
        idler.done(tag)

    def test_each_file(self):
        """One file of one folder at a time, in any combination."""
        self.fill()
        before = self.snapshot()
        rng = random.Random(2)
        for round_number in range(12):
            self.doveadm('index', '*')
            files = [os.path.join(directory, name) for directory, _, names in os.walk(self.home())
                     for name in names if name.startswith('dovecot.')]
            self.assertTrue(files)
            chosen = rng.sample(files, rng.randint(1, 4))
            for path in chosen:
                os.unlink(path)
            # Dovecot may miss a log or an index that the other file speaks of.
            self.allow_log(r'dovecot\.index')
            self.check_snapshot(before)

    def test_damaged_files(self):
        """Index files that hold anything: the store has the truth."""
        self.fill()
        before = self.snapshot()
        self.allow_log('.')
        rng = random.Random(3)
        for round_number in range(12):
            for directory, _, names in os.walk(self.home()):
                for name in names:
                    if name.startswith('dovecot.index') and rng.random() < 0.5:
                        self.damage(os.path.join(directory, name), rng)
            after = None
            for _ in range(10):
                # Dovecot repairs what it finds broken in a folder; the session that finds it may end.
                try:
                    after = self.snapshot()
                    break
                except (EOFError, AssertionError):
                    self.close_connections()
            self.assertEqual(after, before, 'round %d' % round_number)
        self.check_no_crash()

    def damage(self, path, rng):
        with open(path, 'r+b') as file:
            data = bytearray(file.read())
            kind = rng.randrange(3)
            if kind == 0:
                del data[rng.randrange(len(data) + 1):]
            elif kind == 1 and data:
                for _ in range(rng.randint(1, 40)):
                    data[rng.randrange(len(data))] = rng.randrange(256)
            else:
                data = bytearray(rng.randbytes(rng.randint(0, 2000)))
            file.seek(0)
            file.truncate()
            file.write(data)

    def check_no_crash(self):
        with open(self.server.log_path) as file:
            self.assertNotIn('killed with signal', file.read())

    def test_with_open_sessions(self):
        """Sessions whose index goes away are told to log in again, as by every Dovecot store, or go on."""
        self.fill()
        before = self.snapshot()
        sessions = [self.imap() for _ in range(3)]
        for imap in sessions:
            imap.select()
        tag = sessions[2].idle()
        self.allow_log('dovecot.index')
        self.remove_indexes()
        other = self.imap()
        _, uid = other.append('INBOX', message('meanwhile'))
        for imap in sessions[:2]:
            for command in ('NOOP', 'FETCH 1:* (UID FLAGS)', 'UID FETCH 1:* BODY.PEEK[]', 'NOOP'):
                try:
                    imap.cmd(command)
                except EOFError:
                    break
        try:
            sessions[2].done(tag)
        except EOFError:
            pass
        # The old sessions also take the new files for broken ones; with them gone there is nothing to be seen of it.
        self.close_connections()
        other = self.imap()
        other.select()
        other.store(str(uid), r'+FLAGS.SILENT (\Deleted)')
        other.ok('UID EXPUNGE %d' % uid)
        other.logout()
        after = self.snapshot()
        before['INBOX', 'status']['UIDNEXT'] += 1
        self.assertEqual(after, before)

    def test_modseqs_never_fall(self):
        self.fill()
        imap = self.imap()
        last = self.modseqs(imap)
        for round_number in range(6):
            imap.select()
            for uid in (1, 2, 3):
                imap.store(str(uid), '%sFLAGS (round)' % '+-'[round_number % 2])
            shown = self.modseqs(imap)
            imap.logout()
            self.server.wait_until_idle()
            self.remove_indexes()
            imap = self.imap()
            now = self.modseqs(imap)
            for name, (highest, messages) in shown.items():
                self.assertGreaterEqual(now[name][0], highest, name)
                self.assertGreaterEqual(highest, last[name][0], name)
                for uid, modseq in messages.items():
                    self.assertGreaterEqual(now[name][1][uid], modseq, (name, uid))
                    self.assertLessEqual(now[name][1][uid], now[name][0])
            last = now

    def test_flags_lost_with_the_journal_are_told(self):
        """A client that comes back after the loss hears the flags of every message."""
        self.fill()
        imap = self.imap()
        highest = imap.select('INBOX', '(CONDSTORE)').code_int('HIGHESTMODSEQ')
        uids = imap.uids()
        imap.logout()
        self.server.wait_until_idle()
        self.remove_indexes()
        imap = self.imap()
        imap.select('INBOX', '(CONDSTORE)')
        found = imap.ok('UID FETCH 1:* (FLAGS) (CHANGEDSINCE %d)' % highest).fetched()
        self.assertIn(len(found), (0, len(uids)))
        imap.store('1', '+FLAGS (after)')
        found = imap.ok('UID FETCH 1:* (FLAGS) (CHANGEDSINCE %d)' % highest).fetched()
        self.assertIn(1, [items['UID'] for items in found.values()])

    def test_vanished_after_loss(self):
        """QRESYNC from a MODSEQ of before the loss reports what was expunged before and after it."""
        self.fill()
        imap = self.imap()
        imap.ok('ENABLE QRESYNC')
        result = imap.select()
        uidvalidity, points = result.code_int('UIDVALIDITY'), [(result.code_int('HIGHESTMODSEQ'), imap.uids())]
        for uid in (1, 3, 5, 8, 13):
            imap.store(str(uid), r'+FLAGS.SILENT (\Deleted)')
            imap.ok('UID EXPUNGE %d' % uid)
            points.append((imap.status('INBOX', 'HIGHESTMODSEQ')['HIGHESTMODSEQ'], imap.uids()))
            if uid in (5, 8):
                imap.logout()
                self.server.wait_until_idle()
                self.remove_indexes()
                imap = self.imap()
                imap.ok('ENABLE QRESYNC')
                points.append((imap.select().code_int('HIGHESTMODSEQ'), imap.uids()))
        now = imap.uids()
        for modseq, known in points:
            other = self.imap()
            other.ok('ENABLE QRESYNC')
            result = other.select('INBOX', '(QRESYNC (%d %d 1:%d))' % (uidvalidity, modseq, max(known)))
            vanished = set(result.vanished(earlier=True))
            self.assertLessEqual(set(known) - set(now), vanished, modseq)
            self.assertFalse(vanished & set(now))
            other.logout()

    def test_new_messages_meanwhile(self):
        """Deliveries between the loss and the first look."""
        self.fill()
        imap = self.imap()
        status = imap.status('INBOX')
        imap.logout()
        self.server.wait_until_idle()
        self.remove_indexes()
        for number in range(5):
            self.deliver(message('after %d' % number))
        imap = self.imap()
        imap.select()
        self.assertEqual(imap.uids()[-5:], list(range(status['UIDNEXT'], status['UIDNEXT'] + 5)))
        self.assertIn(b'Subject: after 4\r\n', imap.body(status['UIDNEXT'] + 4))

    def test_expunge_and_move_right_after_loss(self):
        self.fill()
        imap = self.imap()
        imap.select()
        uids = imap.uids()
        body = imap.body(uids[5])
        imap.logout()
        self.server.wait_until_idle()
        self.remove_indexes()
        imap = self.imap()
        imap.select()
        imap.ok('UID MOVE %d Empty' % uids[5])
        imap.store(str(uids[6]), r'+FLAGS.SILENT (\Deleted)')
        imap.ok('UID EXPUNGE %d' % uids[6])
        self.assertEqual(imap.uids(), uids[:5] + uids[7:])
        imap.select('Empty')
        self.assertEqual(imap.body(1), body)

    def test_pending_flags(self):
        """Flags of a session that logged out are in the store; only those of a running one may go with the journal."""
        self.fill()
        imap = self.imap()
        imap.select()
        imap.store('1:6', r'+FLAGS (\Flagged late)')
        imap.store('2', r'-FLAGS (\Flagged)')
        expected = imap.flags()
        imap.logout()
        self.server.wait_until_idle()
        self.remove_indexes()
        imap = self.imap()
        imap.select()
        self.assertEqual(imap.flags(), expected)
        imap.store('3', '+FLAGS (later)')
        imap.ok('CLOSE')
        self.remove_indexes()
        imap.select()
        self.assertIn('later', imap.flags()[3])

    def test_pending_flags_of_a_renamed_mailbox(self):
        imap = self.imap()
        for name, renamed in (('One', 'Closed'), ('Two', 'Ended')):
            imap.create(name)
            imap.append(name, message())
            imap.select(name)
            imap.store('1', r'+FLAGS (\Seen late)')
            self.imap().ok('RENAME %s %s' % (name, renamed))
            if renamed == 'Ended':
                with self.assertRaises(EOFError):
                    imap.cmd('NOOP')
            imap.close()
            self.close_connections()
            self.server.wait_until_idle()
            self.remove_indexes()
            imap = self.imap()
            imap.select(renamed)
            self.assertEqual(imap.flags(), {1: {'\\Seen', 'late'}})


@only('lmdb')
class Piece(ServerTest):
    def test_piece_of_a_transaction(self):
        """A session that is killed in the midst of a write to the journal leaves a piece at its end; what waits there for
        the store, and those who have the mailbox open, take no harm."""
        one = self.imap()
        one.append_many('INBOX', [message()] * 3)
        one.select()
        other = self.imap()
        other.select()
        index = os.path.join(self.home(), 'mail', 'index')
        [folder] = os.listdir(index)
        log = os.path.join(index, folder, 'dovecot.index.log')
        # of 4,096 bytes; one whose size wasn't known yet; not even a header
        for number, piece in enumerate((b'\x80\x80\x88\x80' + bytes(100), bytes(2000), b'\x80')):
            one.store('1', '+FLAGS (one%d)' % number)
            with open(log, 'ab') as file:
                file.write(piece)
            other.ok('NOOP')
            other.store('2', '+FLAGS (two%d)' % number)
            one.ok('NOOP')
            one.store('3', '+FLAGS (three%d)' % number)
        self.close_connections()
        expected = {uid + 1: {name + str(number) for number in range(3)} for uid, name in enumerate(('one', 'two', 'three'))}
        imap = self.imap()
        imap.select()
        self.assertEqual(imap.flags(), expected)
        # and with none who had it open before
        self.close_connections()
        self.server.wait_until_idle()
        with open(log, 'ab') as file:
            file.write(bytes(60))
        imap = self.imap()
        imap.select()
        self.assertEqual(imap.flags(), expected)


class PieceUnmapped(Piece):
    config = 'mmap_disable = yes'
