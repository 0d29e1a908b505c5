"""NOTIFY: changes in folders that are not selected."""

from harness import ServerTest, message
from harness.imap import text_of


class Notify(ServerTest):
    def setUp(self):
        super().setUp()
        self.watcher, self.worker = self.imap(), self.imap()
        self.worker.create('Work', 'Work/Sub', 'Other')
        self.worker.select()

    def until_status(self, mailbox, **wanted):
        """Wait until the watcher is told these values of STATUS items."""
        def matches(line):
            if line.kind != 'STATUS' or text_of(line.args[0]) != mailbox:
                return False
            told = dict(zip(line.args[1][::2], map(int, line.args[1][1::2])))
            return all(told.get(name) == value for name, value in wanted.items())
        return self.watcher.until(matches)

    def test_delivery_to_inbox(self):
        self.watcher.ok('NOTIFY SET (PERSONAL (MessageNew MessageExpunge))')
        self.deliver(message())
        self.until_status('INBOX', MESSAGES=1)
        self.deliver(message())
        self.until_status('INBOX', MESSAGES=2)

    def test_new_message_elsewhere(self):
        self.watcher.select()
        self.watcher.ok('NOTIFY SET (SELECTED (MessageNew MessageExpunge)) (PERSONAL (MessageNew MessageExpunge))')
        self.worker.append('Work', message())
        self.until_status('Work', MESSAGES=1)
        self.worker.append('Work/Sub', message())
        self.until_status('Work/Sub', MESSAGES=1)
        self.deliver(message())
        self.assertEqual(self.watcher.until(lambda line: line.kind == 'EXISTS')[-1].num, 1)

    def test_expunge_elsewhere(self):
        self.worker.append_many('Work', [message()] * 3)
        self.watcher.ok('NOTIFY SET (PERSONAL (MessageNew MessageExpunge))')
        self.worker.select('Work')
        self.worker.store('1:2', r'+FLAGS.SILENT (\Deleted)')
        self.worker.ok('EXPUNGE')
        self.until_status('Work', MESSAGES=1)
        self.worker.ok('MOVE 1 Other')
        self.until_status('Other', MESSAGES=1)

    def test_flags_elsewhere(self):
        self.worker.append_many('Work', [message()] * 3)
        self.worker.append('INBOX', message())
        self.watcher.ok('NOTIFY SET (PERSONAL (MessageNew MessageExpunge FlagChange))')
        self.worker.select('Work')
        self.worker.store('1', r'+FLAGS (\Seen)')
        self.until_status('Work', UNSEEN=2)
        self.worker.select('INBOX')
        self.worker.store('1', r'+FLAGS (\Seen)')
        self.until_status('INBOX', UNSEEN=0)

    def test_status_at_once(self):
        self.worker.append('Work', message())
        result = self.watcher.ok('NOTIFY SET STATUS (PERSONAL (MessageNew MessageExpunge))')
        statuses = result.statuses()
        self.assertEqual(statuses['Work']['MESSAGES'], 1)
        self.assertEqual(statuses['Other']['MESSAGES'], 0)

    def test_folders(self):
        self.watcher.ok('NOTIFY SET (PERSONAL (MailboxName SubscriptionChange))')
        listed = lambda name: lambda line: line.kind == 'LIST' and text_of(line.args[2]) == name  # noqa: E731
        self.worker.create('New')
        self.watcher.until(listed('New'))
        self.worker.ok('SUBSCRIBE New')
        line = self.watcher.until(lambda line: listed('New')(line) and '\\Subscribed' in line.args[0])[-1]
        self.assertEqual(text_of(line.args[2]), 'New')
        self.worker.ok('RENAME New Newer')
        self.watcher.until(listed('Newer'))
        self.worker.ok('DELETE Newer')
        line = self.watcher.until(lambda line: listed('Newer')(line) and '\\NonExistent' in line.args[0])[-1]
        self.assertEqual(text_of(line.args[2]), 'Newer')

    def test_only_what_was_asked_for(self):
        self.watcher.ok('NOTIFY SET (SUBTREE Work (MessageNew MessageExpunge))')
        self.worker.append('Other', message())
        self.worker.append('Work/Sub', message())
        lines = self.until_status('Work/Sub', MESSAGES=1)
        self.assertFalse([line for line in lines if line.kind == 'STATUS' and text_of(line.args[0]) == 'Other'])

    def test_none(self):
        self.watcher.ok('NOTIFY SET (PERSONAL (MessageNew MessageExpunge))')
        self.watcher.ok('NOTIFY NONE')
        self.worker.append('Work', message())
        self.assertEqual(self.watcher.ok('NOOP').lines, [])

    def test_in_idle(self):
        self.watcher.select('Other')
        self.watcher.ok('NOTIFY SET (SELECTED (MessageNew MessageExpunge FlagChange)) (INBOXES (MessageNew MessageExpunge)) '
                        '(SUBTREE Work (MessageNew MessageExpunge))')
        tag = self.watcher.idle()
        self.deliver(message())
        self.until_status('INBOX', MESSAGES=1)
        self.worker.append('Work', message())
        self.until_status('Work', MESSAGES=1)
        self.worker.append('Other', message())
        self.watcher.until(lambda line: line.kind == 'EXISTS' and line.num == 1)
        self.assertEqual(self.watcher.done(tag).status, 'OK')
