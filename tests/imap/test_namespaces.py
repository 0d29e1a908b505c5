"""Namespaces with other separators, prefixes and roots, and operations across them."""

from harness import ServerTest, mail_location, message
from harness.imap import text_of
from harness.server import Server


class TwoRoots(ServerTest):
    """The user's own mail with a prefix and separator '.', and a second store on another root."""
    config = '''
namespace inbox {
  prefix = INBOX.
  separator = .
}
namespace archive {
  prefix = Archive.
  separator = .
  inbox = no
  list = yes
  subscriptions = yes
  location = @ARCHIVE@
}
'''

    @classmethod
    def new_server(cls):
        config = cls.config.replace('@ARCHIVE@', mail_location(cls.options.format, '~/archive'))
        return Server(cls.options, config=config)

    def test_namespace(self):
        line = self.imap().ok('NAMESPACE').one('NAMESPACE')
        self.assertEqual(text_of(line.args), [[['INBOX.', '.'], ['Archive.', '.']], None, None])

    def test_folders(self):
        imap = self.imap()
        imap.create('INBOX.Work', 'INBOX.Work.2022', 'Archive.Old', 'Archive.Old.Work')
        imap.select()
        names = imap.names()
        self.assertLessEqual({'INBOX', 'INBOX.Work', 'INBOX.Work.2022', 'Archive.Old', 'Archive.Old.Work'}, set(names))
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual(imap.names('Archive.%'), ['Archive.Old'])
        imap.no('CREATE Elsewhere')
        for name in ('INBOX.Work', 'Archive.Old.Work'):
            imap.append(name, message(name))
            self.assertEqual(imap.status(name)['MESSAGES'], 1)
            imap.ok('SUBSCRIBE ' + name)
        self.assertEqual(sorted(imap.list(kind='LSUB')), ['Archive.Old.Work', 'INBOX.Work'])

    def test_inbox_elsewhere_is_a_plain_folder(self):
        imap = self.imap()
        imap.append('INBOX', message())
        imap.create('Archive.Inbox')
        self.assertEqual(imap.status('Archive.Inbox')['MESSAGES'], 0)
        self.assertEqual(imap.status('INBOX')['MESSAGES'], 1)

    def test_copy_across(self):
        imap = self.imap()
        imap.create('Archive.Old')
        data = [message('m%d' % number, body='b%d\r\n' % number) for number in range(3)]
        for number, item in enumerate(data):
            imap.append('INBOX', item, flags=r'\Flagged key%d' % number, date='01-Feb-2003 04:05:06 +0000')
        imap.select()
        result = imap.ok('COPY 1:3 Archive.Old')
        self.assertEqual(result.code[0], 'COPYUID')
        self.assertEqual(result.code[2:], ['1:3', '1:3'])
        imap.select('Archive.Old')
        self.assertEqual([imap.body(uid) for uid in imap.uids()], data)
        for uid, items in imap.fetch('1:*', '(FLAGS INTERNALDATE)').items():
            self.assertEqual(items['FLAGS'] - {'\\Recent'}, {'\\Flagged', 'key%d' % (uid - 1)})
            self.assertEqual(items['INTERNALDATE'], '01-Feb-2003 04:05:06 +0000')

    def test_move_across(self):
        imap = self.imap()
        imap.create('Archive.Old')
        for number in range(3):
            imap.append('INBOX', message('m%d' % number))
        imap.select()
        result = imap.ok('MOVE 1,3 Archive.Old')
        self.assertEqual(result.codes()['COPYUID'][1:], ['1,3', '1:2'])
        self.assertEqual(imap.uids(), [2])
        imap.select('Archive.Old')
        self.assertEqual(imap.uids(), [1, 2])

    def test_rename_across(self):
        """Dovecot renames only inside a namespace; the refusal must leave both sides as they were."""
        imap = self.imap()
        imap.create('INBOX.Work')
        imap.append('INBOX.Work', message())
        result = imap.cmd('RENAME INBOX.Work Archive.Work')
        place = 'Archive.Work' if result.status == 'OK' else 'INBOX.Work'
        self.assertIn(result.status, ('OK', 'NO'))
        self.assertEqual(imap.status(place)['MESSAGES'], 1)
        other = 'INBOX.Work' if result.status == 'OK' else 'Archive.Work'
        imap.no('SELECT ' + other)

    def test_delete_across(self):
        imap = self.imap()
        imap.create('INBOX.a', 'Archive.a')
        imap.append('Archive.a', message())
        imap.ok('DELETE INBOX.a')
        self.assertEqual(imap.status('Archive.a')['MESSAGES'], 1)

    def test_delivery(self):
        self.deliver(message())
        imap = self.imap()
        self.assertEqual(imap.status('INBOX')['MESSAGES'], 1)


class TwoPrefixesOfOneRoot(ServerTest):
    """A second, hidden prefix for the same root, as servers have for clients configured long ago."""
    config = '''
namespace inbox {
  prefix =
  separator = /
}
namespace compat {
  prefix = INBOX.
  separator = .
  inbox = no
  hidden = yes
  list = no
  alias_for =
  location = @LOCATION@
}
'''

    @classmethod
    def new_server(cls):
        return Server(cls.options, config=cls.config.replace('@LOCATION@', mail_location(cls.options.format)))

    def test_same_folder(self):
        imap = self.imap()
        imap.create('Work', 'Work/2022')
        imap.append('INBOX.Work.2022', message())
        self.assertEqual(imap.status('Work/2022')['MESSAGES'], 1)
        imap.select('Work/2022')
        imap.ok('MOVE 1 INBOX.Work')
        self.assertEqual(imap.status('Work')['MESSAGES'], 1)
        self.assertEqual(imap.names(), ['INBOX', 'Work', 'Work/2022'])
        imap.select('Work')
        imap.ok('COPY 1 INBOX.Work')
        imap.ok('NOOP')
        self.assertEqual(imap.uids(), [1, 2] if imap.status('Work')['MESSAGES'] == 2 else [])


class OtherUser(ServerTest):
    """A public namespace whose root all users share."""
    config = '''
namespace public {
  type = public
  prefix = Public/
  separator = /
  inbox = no
  list = children
  subscriptions = no
  location = @PUBLIC@
}
'''

    @classmethod
    def new_server(cls):
        server = Server(cls.options)
        location = mail_location(cls.options.format, server.home_root + '/public')
        server.config = cls.config.replace('@PUBLIC@', location)
        return server

    def test_two_users(self):
        first, second = self.imap(), self.imap(self.server.new_user())
        folder = 'Public/' + self.user
        first.create(folder)
        first.append(folder, message('one'))
        second.select(folder)
        self.assertEqual(second.uids(), [1])
        second.append(folder, message('two'))
        first.select(folder)
        self.assertEqual(first.uids(), [1, 2])
        second.store('1', r'+FLAGS (\Seen)')
        first.ok('NOOP')
        self.assertIn('\\Seen', first.flags()[1])
        second.append('INBOX', message('own'))
        second.ok('COPY 1 INBOX')
        self.assertEqual(second.status('INBOX')['MESSAGES'], 2)
        self.assertEqual(first.status('INBOX')['MESSAGES'], 0)
