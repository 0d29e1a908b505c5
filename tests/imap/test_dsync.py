"""doveadm backup and sync: between formats, and from one store to another."""

import hashlib
import os

from harness import ServerTest, differences, mail_location, message, message_of_size, only
from harness.lmdb import store_file, transaction_id

FIELDS = 'uid guid flags size.virtual date.received text'


class Dsync(ServerTest):
    """self.here is the tested format in ~/mail, self.there a second store, of the same format or another one."""
    # Dovecot's own formats keep no attributes without it.
    foreign_config = 'mail_attribute_dict = file:%h/dovecot-attributes\n'

    def setUp(self):
        super().setUp()
        own = self.options.format
        self.here = mail_location(own)
        self.there = mail_location(own, '~/there')
        self.foreign = mail_location('sdbox' if own == 'maildir' else 'maildir', '~/foreign')

    def at(self, location, *args):
        return self.doveadm(*args, settings=('mail_location=' + location,))

    def transfer(self, command, source, target, *args):
        """backup or sync the user's mail from source to target."""
        def run():
            return self.server.run(self.server.doveadm_argv(
                command, '-u', self.user, *args, target, settings=('mail_location=' + source,)), check=False)

        tries = differences.MAILDIR_SYNC_TRIES if 'maildir:' in source + target else 1
        done = run()
        while done.returncode == 2 and tries > 1:
            tries -= 1
            done = run()
        self.assertEqual((done.returncode, done.stderr), (0, ''))

    def fill(self):
        """Folders with all that has to be kept."""
        imap = self.imap()
        imap.create('Work', 'Work/Sub', 'Empty', 'Entw&APw-rfe')
        for name, count in (('INBOX', 30), ('Work', 5), ('Work/Sub', 3), ('Entw&APw-rfe', 1)):
            for number in range(count):
                imap.append(name, message('%s %d' % (name, number), 'body %d\r\n' % number, message_id='%s%d@x' % (name, number)),
                            date='%02d-Mar-2020 10:11:12 +0000' % (number % 28 + 1))
        imap.append('Work', message_of_size(300000))
        imap.select()
        imap.store('2:5', r'+FLAGS (\Seen)')
        imap.store('4:9', '+FLAGS (second)')
        imap.store('5', r'+FLAGS (first \Answered \Flagged \Draft)')
        imap.store('20:25,30', r'+FLAGS (\Deleted)')
        imap.ok('EXPUNGE')
        for name in ('INBOX', 'Work/Sub', 'Empty'):
            imap.ok('SUBSCRIBE ' + name)
        imap.logout()
        self.server.wait_until_idle()

    def dump(self, location):
        """All that a transfer has to keep, as text."""
        lines = sorted(self.at(location, 'mailbox status', 'uidvalidity uidnext messages unseen guid vsize',
                               '*').splitlines())
        for mailbox in sorted(self.at(location, 'mailbox list').splitlines()):
            for mail in self.at(location, 'fetch', FIELDS, 'mailbox', mailbox).split('\f\n'):
                head, _, text = mail.partition('text:\n')
                head = ' '.join(sorted(' '.join(sorted(line.replace('\\Recent', '').split())) for line in head.splitlines()))
                lines.append('%s: %s %s' % (mailbox, head, hashlib.sha1(text.encode()).hexdigest()))
        lines += ['subscribed ' + name for name in sorted(self.at(location, 'mailbox list', '-s').splitlines())]
        return '\n'.join(lines)

    def modseqs(self, location):
        """Folder -> HIGHESTMODSEQ."""
        found = {}
        for line in self.at(location, 'mailbox status', 'highestmodseq', '*').splitlines():
            name, _, value = line.rpartition(' highestmodseq=')
            found[name] = int(value)
        return found

    def check_transfer(self, command, source, target):
        self.transfer(command, source, target)
        expected = self.dump(source)
        self.assertEqual(self.dump(target), expected)
        before, after = self.modseqs(source), self.modseqs(target)
        for name in before:
            self.assertGreaterEqual(after[name], before[name], name)
        if command == 'sync':
            # The target's MODSEQs, which rose meanwhile, come back to the source.
            self.transfer(command, source, target)
        # Once more there is nothing to do.
        transactions = self.transactions()
        self.transfer(command, source, target)
        self.assertEqual(self.dump(source), expected)
        self.assertEqual(self.dump(target), expected)
        self.assertEqual(self.transactions(), transactions)

    def transactions(self):
        paths = [store_file(self.home(), root) for root in ('mail', 'there')]
        return [transaction_id(path) for path in paths if os.path.exists(path)]

    def test_backup_to_another_format(self):
        self.fill()
        self.check_transfer('backup', self.here, self.foreign)

    def test_backup_to_the_same_format(self):
        self.fill()
        self.check_transfer('backup', self.here, self.there)

    def test_backup_there_and_back(self):
        self.fill()
        self.transfer('backup', self.here, self.foreign)
        self.check_transfer('backup', self.foreign, self.there)
        self.assertEqual(self.dump(self.there), self.dump(self.here))

    def test_sync_to_another_format(self):
        self.fill()
        self.check_transfer('sync', self.here, self.foreign)

    def test_sync_from_another_format(self):
        self.fill()
        self.transfer('backup', self.here, self.foreign)
        self.check_transfer('sync', self.foreign, self.there)

    def test_sync_both_ways(self):
        """Both sides change, then agree."""
        self.fill()
        # dsync leaves the subscription of a renamed folder to one side.
        self.at(self.here, 'mailbox unsubscribe', 'Work/Sub')
        self.transfer('backup', self.here, self.there)
        self.at(self.here, 'flags add', r'\Flagged here', 'mailbox', 'INBOX', 'uid', '1:3')
        self.at(self.here, 'expunge', 'mailbox', 'INBOX', 'uid', '10:12')
        self.at(self.here, 'mailbox create', 'Here')
        self.at(self.here, 'mailbox rename', 'Work', 'Renamed')
        self.at(self.there, 'flags add', r'\Answered there', 'mailbox', 'INBOX', 'uid', '6:7')
        self.at(self.there, 'expunge', 'mailbox', 'INBOX', 'uid', '13')
        self.at(self.there, 'mailbox create', 'There')
        self.doveadm('save', '-m', 'There', input='Subject: there\n\nthere\n', settings=('mail_location=' + self.there,))
        self.transfer('sync', self.here, self.there)
        self.assertEqual(self.dump(self.here), self.dump(self.there))
        imap = self.imap()
        self.assertLessEqual({'Here', 'There', 'Renamed', 'Renamed/Sub'}, set(imap.names()))
        self.assertNotIn('Work', imap.names())
        imap.select()
        flags = imap.flags()
        self.assertLessEqual({'\\Flagged', 'here'}, flags[2])
        self.assertLessEqual({'\\Answered', 'there'}, flags[6])
        self.assertFalse({10, 11, 12, 13} & set(flags))
        self.assertEqual(imap.status('There')['MESSAGES'], 1)

    def test_backup_after_changes(self):
        """A backup follows what happened since: new, expunged, flags, renamed, deleted, subscriptions."""
        self.fill()
        self.transfer('backup', self.here, self.there)
        imap = self.imap()
        imap.select()
        imap.store('1:3', r'+FLAGS (\Deleted)')
        imap.ok('EXPUNGE')
        imap.store('5', r'FLAGS (new)')
        imap.append('INBOX', message('new'))
        imap.ok('DELETE Empty')
        imap.ok('RENAME Work Play')
        imap.ok('UNSUBSCRIBE Empty')
        imap.create('Fresh')
        imap.append('Fresh', message('fresh'))
        imap.logout()
        self.server.wait_until_idle()
        self.check_transfer('backup', self.here, self.there)

    def test_new_uids_go_on(self):
        """After a backup the copy takes new messages at the right UID."""
        self.fill()
        self.transfer('backup', self.here, self.there)
        uidnext = self.imap().status('INBOX')['UIDNEXT']
        self.doveadm('save', '-m', 'INBOX', input='Subject: next\n\nx\n', settings=('mail_location=' + self.there,))
        uids = self.at(self.there, 'fetch', 'uid', 'mailbox', 'INBOX', 'subject', 'next').split()[1::2]
        self.assertEqual(uids, [str(uidnext)])

    def test_modseqs_go_on(self):
        """A client that knew the old store's MODSEQs is told of every change in the copy."""
        self.fill()
        imap = self.imap()
        highest = imap.select('INBOX', '(CONDSTORE)').code_int('HIGHESTMODSEQ')
        imap.logout()
        self.server.wait_until_idle()
        self.transfer('backup', self.here, self.there)
        self.at(self.there, 'flags add', 'later', 'mailbox', 'INBOX', 'uid', '3')
        self.stop_server()
        self.server.location, old = self.there, self.server.location
        self.server.start()
        imap = self.imap()
        imap.select('INBOX', '(CONDSTORE)')
        found = imap.ok('UID FETCH 1:* (FLAGS) (CHANGEDSINCE %d)' % highest).fetched()
        self.assertIn(3, [items['UID'] for items in found.values()])
        self.stop_server()
        self.server.location = old
        self.server.start()

    def test_pop3_uidls(self):
        self.fill()
        pop3 = self.pop3()
        before = pop3.uidls()
        pop3.quit()
        self.server.wait_until_idle()
        self.transfer('backup', self.here, self.there)
        self.stop_server()
        self.server.location, old = self.there, self.server.location
        self.server.start()
        self.assertEqual(self.pop3().uidls(), before)
        self.stop_server()
        self.server.location = old
        self.server.start()

    def test_many_messages(self):
        imap = self.imap()
        for start in range(0, 1500, 500):
            imap.append_many('INBOX', [message('m%d' % number) for number in range(start, start + 500)])
        imap.logout()
        self.server.wait_until_idle()
        self.check_transfer('backup', self.here, self.there)

    @only('lmdb')
    def test_metadata(self):
        self.fill()
        self.at(self.here, 'mailbox metadata set', 'Work', '/private/comment', 'mine')
        self.at(self.here, 'mailbox metadata set', 'Work', '/shared/vendor/x', 'ours')
        self.check_transfer('backup', self.here, self.there)
        self.assertIn('mine', self.at(self.there, 'mailbox metadata get', 'Work', '/private/comment'))
        self.assertIn('ours', self.at(self.there, 'mailbox metadata get', 'Work', '/shared/vendor/x'))

    def test_metadata_between_own_stores_is_optional(self):
        """Where attributes are kept, a folder keeps its own."""
        self.at(self.here, 'mailbox create', 'A', 'B')
        self.at(self.here, 'mailbox metadata set', 'A', '/private/comment', 'of a')
        self.assertEqual(self.at(self.here, 'mailbox metadata get', 'A', '/private/comment').strip(), 'of a')
        self.assertNotIn('of a', self.server.run(self.server.doveadm_argv(
            'mailbox', 'metadata', 'get', '-u', self.user, 'B', '/private/comment'), check=False).stdout)

    def test_replication_state(self):
        """sync -s passes a state along and transfers only what changed since."""
        self.fill()
        state = self.at(self.here, 'sync', '-s', '', self.there).strip()
        self.at(self.here, 'flags add', 'later', 'mailbox', 'INBOX', 'uid', '3')
        self.at(self.here, 'expunge', 'mailbox', 'INBOX', 'uid', '6')
        again = self.at(self.here, 'sync', '-s', state, self.there).strip()
        self.assertNotEqual(again, state)
        self.assertEqual(self.dump(self.there), self.dump(self.here))
