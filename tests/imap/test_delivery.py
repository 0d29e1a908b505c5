"""Deliveries: LMTP, dovecot-lda and Sieve."""

import os

from harness import ServerTest, message, message_of_size


class Delivery(ServerTest):
    def stored(self, user=None, mailbox='INBOX'):
        imap = self.imap(user)
        imap.ok('EXAMINE ' + mailbox)
        return [imap.body(uid) for uid in imap.uids()]

    def test_sizes(self):
        lmtp = self.lmtp()
        data = [message_of_size(size, size) for size in (200, 1024, 4096, 65536, 1000000, 10 * 1024 * 1024)]
        for item in data:
            lmtp.ok(self.user, item)
        stored = self.stored()
        self.assertEqual(len(stored), len(data))
        for item, received in zip(data, stored):
            # The delivery adds Return-Path, Delivered-To and Received.
            self.assertTrue(received.endswith(item), len(item))
            self.assertTrue(received.startswith(b'Return-Path: <sender@example.org>\r\n'))

    def test_several_recipients(self):
        users = [self.user] + [self.server.new_user() for _ in range(4)]
        data = message_of_size(50000)
        replies = self.lmtp().deliver(users, data)
        self.assertEqual([code for code, _ in replies], [250] * 5)
        for user in users:
            stored, = self.stored(user)
            self.assertTrue(stored.endswith(data))

    def test_same_recipient_twice(self):
        data = message()
        replies = self.lmtp().deliver([self.user, self.user], data)
        self.assertEqual([code for code, _ in replies], [250, 250])
        self.assertIn(len(self.stored()), (1, 2))

    def test_many_in_one_connection(self):
        lmtp = self.lmtp()
        for number in range(100):
            lmtp.ok(self.user, message('m%d' % number))
        imap = self.imap()
        imap.select()
        self.assertEqual(imap.uids(), list(range(1, 101)))
        self.assertIn(b'Subject: m99\r\n', imap.body(100))

    def test_several_connections(self):
        connections = [self.lmtp() for _ in range(6)]
        for number in range(20):
            for lmtp in connections:
                lmtp.begin([self.user])
                lmtp.send_data(message('m%d' % number))
            for lmtp in connections:
                lmtp.sock.sendall(b'.\r\n')
            for lmtp in connections:
                self.assertEqual(lmtp.reply()[0], 250)
        stored = self.stored()
        self.assertEqual(len(stored), 120)
        for number in range(20):
            self.assertEqual(sum(b'Subject: m%d\r\n' % number in item for item in stored), 6)

    def test_detail_address(self):
        """user+folder without Sieve goes to INBOX unless lmtp_save_to_detail_mailbox is set."""
        self.lmtp().ok(self.user + '+Work', message())
        self.assertEqual(len(self.stored()), 1)

    def test_dot_lines(self):
        data = message(body='.\r\n..\r\n. x\r\nend\r\n')
        self.deliver(data)
        self.assertTrue(self.stored()[0].endswith(data))

    def test_connection_lost(self):
        lmtp = self.lmtp()
        lmtp.begin([self.user])
        lmtp.send_data(message_of_size(100000))
        lmtp.close()
        self.deliver(message('next'))
        self.assertEqual(len(self.stored()), 1)

    def test_rset_and_unknown_folder(self):
        lmtp = self.lmtp()
        lmtp.command('MAIL FROM:<a@example.org>', 250)
        lmtp.command('RCPT TO:<%s>' % self.user, 250)
        lmtp.command('RSET', 250)
        lmtp.ok(self.user, message())
        self.assertEqual(len(self.stored()), 1)

    def test_lda(self):
        data = message_of_size(30000)
        self.server.run(self.server.lda_argv('-d', self.user), input=data, text=False)
        self.server.run(self.server.lda_argv('-d', self.user, '-m', 'Work', '-f', 'env@example.org'), input=data, text=False)
        self.assertTrue(self.stored()[0].endswith(data))
        self.assertTrue(self.stored(mailbox='Work')[0].endswith(data))

    def test_lda_with_line_feeds(self):
        self.server.run(self.server.lda_argv('-d', self.user), input=b'Subject: x\n\nbody\n', text=False)
        self.assertTrue(self.stored()[0].endswith(b'Subject: x\r\n\r\nbody\r\n'))


class DetailMailbox(ServerTest):
    config = 'lmtp_save_to_detail_mailbox = yes\n'

    def test_detail_mailbox(self):
        self.lmtp().ok(self.user + '+Work', message())
        self.lmtp().ok(self.user + '+Work', message())
        imap = self.imap()
        self.assertEqual(imap.status('Work')['MESSAGES'], 2)
        self.assertEqual(imap.status('INBOX')['MESSAGES'], 0)

    def test_list_status_right_after(self):
        imap = self.imap()
        for count in range(1, 6):
            for detail in ('', '+Work', '+Play'):
                self.lmtp().ok(self.user + detail, message())
            statuses = imap.ok('LIST "" "*" RETURN (STATUS (MESSAGES UNSEEN UIDNEXT))').statuses()
            expected = {'MESSAGES': count, 'UNSEEN': count, 'UIDNEXT': count + 1}
            self.assertEqual({name: statuses[name] for name in ('INBOX', 'Work', 'Play')},
                             {name: expected for name in ('INBOX', 'Work', 'Play')})


class Sieve(ServerTest):
    config = '''
protocol lmtp {
  mail_plugins = $mail_plugins sieve
}
protocol lda {
  mail_plugins = $mail_plugins sieve
}
plugin {
  sieve = file:~/sieve;active=~/active.sieve
}
'''

    def script(self, text, user=None):
        home = self.home(user)
        os.makedirs(home, exist_ok=True)
        path = os.path.join(home, 'active.sieve')
        with open(path, 'w') as file:
            file.write(text)
        for name in (home, path):
            os.chown(name, self.server.mail_uid, self.server.mail_gid)

    def test_fileinto_and_flags(self):
        self.script('''require ["fileinto", "imap4flags", "copy", "mailbox"];
if header :contains "subject" "work" { addflag ["\\\\Flagged", "$work"]; fileinto :create "Work"; stop; }
if header :contains "subject" "both" { addflag "key"; fileinto :copy :create "Copies/2022"; }
if header :contains "subject" "gone" { discard; stop; }
''')
        for subject in ('for work', 'both places', 'gone', 'plain'):
            self.deliver(message(subject))
        imap = self.imap()
        self.assertEqual(imap.status('INBOX')['MESSAGES'], 2)
        imap.select('Work')
        self.assertEqual(imap.flags(), {1: {'\\Flagged', '$work'}})
        self.assertIn(b'Subject: for work', imap.body(1))
        imap.select('Copies/2022')
        self.assertEqual(imap.flags(), {1: {'key'}})
        imap.select('INBOX')
        self.assertEqual(imap.flags(), {1: {'key'}, 2: set()})

    def test_several_recipients(self):
        users = [self.user, self.server.new_user(), self.server.new_user()]
        for number, user in enumerate(users):
            self.script('''require ["fileinto", "imap4flags", "copy", "mailbox"];
addflag "for%d"; fileinto :copy :create "F%d"; fileinto :copy "F%d";
''' % (number, number, number), user)
        data = message_of_size(20000)
        self.assertEqual([code for code, _ in self.lmtp().deliver(users, data)], [250] * 3)
        for number, user in enumerate(users):
            imap = self.imap(user)
            imap.select('F%d' % number)
            self.assertIn('for%d' % number, imap.flags()[1])
            self.assertTrue(imap.body(1).endswith(data))
            imap.select()
            self.assertEqual(imap.flags(), {1: {'for%d' % number}})
            self.assertTrue(imap.body(1).endswith(data))

    def test_lda(self):
        self.script('require ["fileinto"]; fileinto "Work";')
        self.server.run(self.server.lda_argv('-d', self.user), input=message(), text=False)
        self.assertEqual(self.imap().status('Work')['MESSAGES'], 1)

    def test_edited_header(self):
        self.script('require ["editheader", "fileinto"]; addheader "X-Filtered" "yes"; fileinto "INBOX";')
        self.server.stop()
        self.server.config += 'plugin {\n  sieve_extensions = +editheader\n}\n'
        self.server.start()
        self.deliver(message(body='kept\r\n'))
        imap = self.imap()
        imap.select()
        self.assertIn(b'X-Filtered: yes\r\n', imap.body(1))
        self.assertTrue(imap.body(1).endswith(b'kept\r\n'))
