"""imap-hibernate: idle sessions wait without a process of their own."""

from harness import ServerTest, message
from harness.server import wait_for


class Hibernate(ServerTest):
    config = '''
imap_hibernate_timeout = 1s
service imap {
  unix_listener imap-master {
    mode = 0666
  }
}
service imap-hibernate {
  unix_listener imap-hibernate {
    mode = 0666
  }
}
'''

    def hibernated(self, imap):
        """Let the session hibernate; returns the tag of its IDLE."""
        tag = imap.idle()
        wait_for(lambda: not self.server.pids('imap'), 'the session to hibernate')
        return tag

    def test_wakes_for_a_delivery(self):
        imap = self.imap()
        imap.append('INBOX', message())
        imap.select()
        tag = self.hibernated(imap)
        self.deliver(message())
        self.assertEqual(imap.until(lambda line: line.kind == 'EXISTS')[-1].num, 2)
        self.assertEqual(imap.done(tag).status, 'OK')
        self.assertEqual(imap.uids(), [1, 2])

    def test_wakes_for_the_client(self):
        imap = self.imap()
        imap.append('INBOX', message(), flags='key')
        imap.select()
        imap.store('1', r'+FLAGS (\Seen)')
        tag = self.hibernated(imap)
        self.assertEqual(imap.done(tag).status, 'OK')
        self.assertEqual(imap.flags(), {1: {'\\Seen', 'key'}})
        imap.store('1', r'+FLAGS (\Flagged)')
        tag = self.hibernated(imap)
        self.assertEqual(imap.done(tag).status, 'OK')
        self.assertEqual(imap.flags(), {1: {'\\Seen', '\\Flagged', 'key'}})

    def test_changes_meanwhile(self):
        imap = self.imap()
        imap.append_many('INBOX', [message()] * 4)
        imap.select()
        tag = self.hibernated(imap)
        other = self.imap()
        other.select()
        other.store('2', r'+FLAGS (\Deleted)')
        other.ok('EXPUNGE')
        self.assertEqual(imap.until(lambda line: line.kind == 'EXPUNGE')[-1].num, 2)
        self.assertEqual(imap.done(tag).status, 'OK')
        self.assertEqual(imap.uids(), [1, 3, 4])
