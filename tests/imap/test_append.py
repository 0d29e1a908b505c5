"""APPEND: what is stored is what was sent."""

from harness import ServerTest, message


class Append(ServerTest):
    def test_simple(self):
        imap = self.imap()
        data = message()
        _, uid = imap.append('INBOX', data, flags=r'\Seen $Label')
        imap.select()
        self.assertEqual(imap.body(uid), data)
        self.assertEqual(imap.flags(), {uid: {'\\Seen', '$Label'}})
        self.deliver(data)
        imap.ok('NOOP')
        self.assertEqual(len(imap.uids()), 2)
        self.assertEqual(len(self.pop3().uidls()), 2)
        self.doveadm('mailbox list')
