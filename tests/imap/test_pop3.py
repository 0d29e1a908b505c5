"""POP3."""

from harness import ServerTest, message, message_of_size


class Pop3(ServerTest):
    def setUp(self):
        super().setUp()
        self.data = [message('m%d' % number, 'body\r\n' * number, message_id='%d@x' % number) for number in range(1, 6)]
        self.client = self.imap()
        self.client.append_many('INBOX', self.data)
        self.client.select()

    def test_list_and_retrieve(self):
        pop3 = self.pop3()
        self.assertEqual(pop3.stat(), (5, sum(map(len, self.data))))
        self.assertEqual(pop3.sizes(), {number: len(data) for number, data in enumerate(self.data, 1)})
        for number, data in enumerate(self.data, 1):
            self.assertEqual(pop3.message(number), data)
        pop3.quit()

    def test_top(self):
        pop3 = self.pop3()
        header, _, body = self.data[4].partition(b'\r\n\r\n')
        for count in (0, 1, 3, 100):
            lines = pop3.top(5, count)[1]
            text = b''.join(line + b'\r\n' for line in lines)
            self.assertEqual(text, header + b'\r\n\r\n' + b'body\r\n' * min(count, 5))

    def test_uidl_is_stable(self):
        pop3 = self.pop3()
        uidls = pop3.uidls()
        self.assertEqual(len(set(uidls.values())), 5)
        pop3.quit()
        self.client.append('INBOX', message())
        again = self.pop3().uidls()
        self.assertEqual({number: again[number] for number in uidls}, uidls)
        self.assertNotIn(again[6], uidls.values())
        self.restart_server()
        self.assertEqual(self.pop3().uidls(), again)

    def test_delete(self):
        pop3 = self.pop3()
        uidls = pop3.uidls()
        pop3.dele(2)
        pop3.dele(4)
        self.assertEqual(sorted(pop3.sizes()), [1, 3, 5])
        self.assertEqual(self.client.uids(), [1, 2, 3, 4, 5])
        pop3.quit()
        self.server.wait_until_idle(names=('pop3',))
        self.client.ok('NOOP')
        self.assertEqual(self.client.uids(), [1, 3, 5])
        self.assertEqual(list(self.pop3().uidls().values()), [uidls[1], uidls[3], uidls[5]])

    def test_reset(self):
        pop3 = self.pop3()
        pop3.dele(1)
        pop3.rset()
        pop3.quit()
        self.assertEqual(self.pop3().stat()[0], 5)

    def test_no_quit_no_delete(self):
        pop3 = self.pop3()
        pop3.dele(1)
        pop3.close()
        self.server.wait_until_idle(names=('pop3',))
        self.assertEqual(self.pop3().stat()[0], 5)

    def test_two_sessions(self):
        one, two = self.pop3(), self.pop3()
        one.dele(1)
        two.dele(2)
        two.dele(1)
        one.quit()
        two.quit()
        self.server.wait_until_idle(names=('pop3',))
        self.assertEqual(self.client.ok('NOOP').status, 'OK')
        self.assertEqual(self.client.uids(), [3, 4, 5])

    def test_with_imap(self):
        """A message that IMAP expunges meanwhile: an error for that one, the others stay readable."""
        pop3 = self.pop3()
        self.assertEqual(pop3.stat()[0], 5)
        self.client.store('1', r'+FLAGS (\Deleted)')
        self.client.ok('EXPUNGE')
        self.assertEqual(pop3.message(3), self.data[2])
        self.deliver(message())
        self.assertEqual(pop3.stat()[0], 5)
        pop3.quit()
        self.assertEqual(self.pop3().stat()[0], 5)

    def test_reading_sets_seen(self):
        pop3 = self.pop3()
        pop3.message(2)
        pop3.quit()
        self.server.wait_until_idle(names=('pop3',))
        self.client.ok('NOOP')
        self.assertEqual(self.client.flags()[2], {'\\Seen'})
        self.assertEqual(self.client.flags()[3], set())

    def test_large(self):
        data = message_of_size(3000000)
        self.client.append('INBOX', data)
        pop3 = self.pop3()
        self.assertEqual(pop3.sizes()[6], len(data))
        self.assertTrue(pop3.message(6) == data)

    def test_lone_line_feeds(self):
        self.client.append('INBOX', b'Subject: x\n\none\ntwo\n.\nthree\n')
        pop3 = self.pop3()
        data = b'Subject: x\r\n\r\none\r\ntwo\r\n.\r\nthree\r\n'
        self.assertEqual(pop3.message(6), data)
        self.assertEqual(pop3.sizes()[6], len(data))

    def test_many(self):
        self.client.append_many('INBOX', [message()] * 500)
        pop3 = self.pop3()
        self.assertEqual(pop3.stat()[0], 505)
        for number in range(1, 505):
            pop3.dele(number)
        pop3.quit()
        self.server.wait_until_idle(names=('pop3',))
        self.assertEqual(self.pop3().stat()[0], 1)


class SavedUidl(ServerTest):
    """pop3_save_uidl writes the UIDL into the store."""
    config = 'pop3_save_uidl = yes\npop3_uidl_format = %g\n'

    def test_saved(self):
        imap = self.imap()
        imap.append_many('INBOX', [message('m%d' % number) for number in range(3)])
        uidls = self.pop3().uidls()
        self.assertEqual(len(set(uidls.values())), 3)
        self.assertEqual(self.pop3().uidls(), uidls)
        guids = self.doveadm('fetch', 'guid', 'mailbox', 'INBOX').split()
        self.assertEqual(list(uidls.values()), [guid for guid in guids if guid != 'guid:'])
