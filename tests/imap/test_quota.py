"""quota=count and imap_quota: what is used, as others change it, and what happens at the limit."""

from harness import Literal, ServerTest, message, message_of_size
from harness.imap import text_of

LIMIT = 100 * 1024


class Quota(ServerTest):
    plugins = 'quota'
    config = '''
protocol imap {
  mail_plugins = $mail_plugins imap_quota
}
plugin {
  quota = count:User quota
  quota_vsizes = yes
  quota_rule = *:storage=100K
  quota_rule2 = *:messages=50
  quota_rule3 = Trash:storage=+20K
  quota_grace = 0
}
'''

    def used(self, imap):
        """(KiB, messages) in use."""
        line = imap.ok('GETQUOTAROOT INBOX').one('QUOTA')
        values = text_of(line.args[1])
        resources = {values[index]: (int(values[index + 1]), int(values[index + 2])) for index in range(0, len(values), 3)}
        self.assertEqual((resources['STORAGE'][1], resources['MESSAGE'][1]), (100, 50))
        return resources['STORAGE'][0], resources['MESSAGE'][0]

    def test_right_after_deliveries(self):
        imap = self.imap()
        self.assertEqual(self.used(imap), (0, 0))
        data = message_of_size(4000)
        imap.append('INBOX', data)
        self.assertEqual(self.used(imap), (4, 1))
        for count in range(2, 8):
            self.deliver(data)
            kilobytes, messages = self.used(imap)
            self.assertEqual(messages, count)
            self.assertGreaterEqual(kilobytes, 4000 * count // 1024)

    def test_follows_every_change(self):
        imap, other = self.imap(), self.imap()
        imap.create('Work', 'Work/Sub')
        data = message_of_size(10240)
        for name in ('INBOX', 'Work', 'Work/Sub'):
            imap.append(name, data)
        self.assertEqual(self.used(other), (30, 3))
        imap.select('Work')
        imap.ok('COPY 1 INBOX')
        self.assertEqual(self.used(other), (40, 4))
        imap.ok('MOVE 1 Work/Sub')
        self.assertEqual(self.used(other), (40, 4))
        imap.select('Work/Sub')
        imap.store('1:*', r'+FLAGS (\Deleted)')
        imap.ok('EXPUNGE')
        self.assertEqual(self.used(other), (20, 2))
        imap.select('INBOX')
        imap.ok('RENAME Work Play')
        self.assertEqual(self.used(other), (20, 2))
        imap.append('Play', data)
        imap.ok('DELETE Play/Sub')
        imap.ok('DELETE Play')
        self.assertEqual(self.used(other), (20, 2))

    def test_over_the_limit(self):
        imap = self.imap()
        imap.create('Work')
        imap.append('INBOX', message_of_size(90 * 1024))
        result = imap.cmd('APPEND INBOX ', Literal(message_of_size(20 * 1024)))
        self.assertEqual((result.status, result.code), ('NO', ['OVERQUOTA']))
        imap.select()
        result = imap.cmd('COPY 1 Work')
        self.assertEqual((result.status, result.code), ('NO', ['OVERQUOTA']))
        self.assertEqual(self.used(imap), (90, 1))
        # A MOVE needs no room.
        imap.ok('MOVE 1 Work')
        self.assertEqual(self.used(imap), (90, 1))
        lmtp = self.lmtp()
        (code, text), = lmtp.deliver(self.user, message_of_size(20 * 1024))
        self.assertIn(code, (452, 552))
        self.assertIn('Quota exceeded', text)
        lmtp.ok(self.user, message_of_size(2 * 1024))
        self.assertEqual(self.used(imap)[1], 2)
        imap.select('Work')
        imap.store('1', r'+FLAGS (\Deleted)')
        imap.ok('EXPUNGE')
        lmtp.ok(self.user, message_of_size(20 * 1024))

    def test_number_of_messages(self):
        imap = self.imap()
        imap.append_many('INBOX', [message()] * 49)
        result = imap.cmd('APPEND INBOX ', Literal(message()), ' ', Literal(message()))
        self.assertEqual((result.status, result.code), ('NO', ['OVERQUOTA']))
        self.assertEqual(self.used(imap)[1], 49)
        imap.append('INBOX', message())
        (code, _), = self.lmtp().deliver(self.user, message())
        self.assertIn(code, (452, 552))

    def test_doveadm(self):
        self.deliver(message_of_size(10240))
        self.doveadm('quota recalc')
        lines = [line.split() for line in self.doveadm('quota get').splitlines()]
        values = {line[-4]: line[-3] for line in lines if len(line) > 4}
        self.assertEqual(values.get('MESSAGE'), '1')
        self.assertIn(values.get('STORAGE'), ('10', '11'))
