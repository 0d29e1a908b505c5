"""Plugins that look at or change what is stored."""

import os

from harness import Literal, ServerTest, differences, mail_location, message, message_of_size, only
from harness.imap import text_of
from harness.server import Server


class MailLog(ServerTest):
    """mail_log says what happened to which message."""
    plugins = 'notify mail_log'
    config = '''
plugin {
  mail_log_events = delete undelete expunge save copy mailbox_create mailbox_delete mailbox_rename flag_change
  mail_log_fields = uid box msgid size vsize flags from subject
}
'''

    def test_events(self):
        imap = self.imap()
        imap.create('Work')
        imap.append('INBOX', message('Logged', message_id='log@x'))
        self.deliver(message('Delivered', message_id='lmtp@x'))
        imap.select()
        imap.ok('COPY 1 Work')
        imap.ok('COPY 1 INBOX')
        imap.ok('MOVE 2 Work')
        imap.store('1', r'+FLAGS (\Seen key)')
        imap.store('1', r'+FLAGS (\Deleted)')
        imap.ok('EXPUNGE')
        imap.ok('RENAME Work Play')
        imap.ok('DELETE Play')
        imap.logout()
        self.server.wait_until_idle()
        with open(self.server.log_path) as file:
            log = [line for line in file if '(%s)' % self.user in line]
        for event in ('save: box=INBOX', 'copy from INBOX: box=Work', 'copy from INBOX: box=INBOX', 'flag_change: box=INBOX',
                      'delete: box=INBOX', 'expunge: box=INBOX', differences.MAIL_LOG_CREATED % 'Work',
                      'Mailbox renamed: Work -> Play', differences.MAIL_LOG_DELETED % 'Play'):
            self.assertTrue(any(event in line for line in log), '%s not in\n%s' % (event, ''.join(log)))
        save = next(line for line in log if 'save: box=INBOX' in line and 'log@x' in line)
        self.assertIn('msgid=<log@x>', save)
        self.assertIn('size=%d' % len(message('Logged', message_id='log@x')), save)
        self.assertIn('uid=1', next(line for line in log if 'expunge: box=INBOX' in line and 'log@x' in line))

    def test_copy_to_the_same_folder(self):
        imap = self.imap()
        imap.append_many('INBOX', [message(message_id='%d@x' % number) for number in range(20)])
        imap.select()
        imap.ok('COPY 1:* INBOX')
        imap.ok('NOOP')
        self.assertEqual(len(imap.uids()), 40)


class Zlib(ServerTest):
    """Mail is stored compressed; nobody notices but the disk."""
    plugins = 'zlib'
    config = '''
plugin {
  zlib_save = gz
  zlib_save_level = 6
}
'''

    def test_round_trip(self):
        imap = self.imap()
        imap.create('Copy')
        data = [message('m%d' % number, 'the same words again and again\r\n' * 1000 * number) for number in range(5)]
        imap.append_many('INBOX', data)
        self.deliver(data[3])
        imap.select()
        for uid, item in enumerate(data, 1):
            self.assertEqual(imap.body(uid), item)
            self.assertEqual(imap.fetch(str(uid), 'RFC822.SIZE')[uid]['RFC822.SIZE'], len(item))
        self.assertTrue(imap.body(6).endswith(data[3]))
        self.assertEqual(imap.body(3, 'BODY.PEEK[]<500.100>'), data[2][500:600])
        imap.ok('COPY 1:* Copy')
        imap.select('Copy')
        self.assertEqual(imap.body(4), data[3])
        self.assertEqual(imap.status('Copy', 'SIZE')['SIZE'],
                         imap.status('INBOX', 'SIZE')['SIZE'])

    def test_large(self):
        imap = self.imap()
        data = message_of_size(5000000)
        imap.append('INBOX', data)
        imap.select()
        self.assertTrue(imap.body(1) == data)
        self.assertEqual(imap.search('BODY "no such words here"'), [])

    def test_saves_room(self):
        imap = self.imap()
        for _ in range(5):
            imap.append('INBOX', message(body='compress me\r\n' * 100000))
        imap.logout()
        self.server.wait_until_idle()
        size = sum(os.path.getsize(os.path.join(directory, name)) for directory, _, names in os.walk(self.home())
                   for name in names)
        self.assertLess(size, 2000000)

    def test_uncompressed_mail_of_before(self):
        self.stop_server()
        config, self.server.config = self.server.config, self.server.config.replace('zlib_save = gz', 'zlib_save =')
        self.server.start()
        data = message(body='plain\r\n' * 1000)
        self.imap().append('INBOX', data)
        self.stop_server()
        self.server.config = config
        self.server.start()
        imap = self.imap()
        imap.append('INBOX', data)
        imap.select()
        self.assertEqual([imap.body(1), imap.body(2)], [data, data])


class Acl(ServerTest):
    """Shared folders with rights."""
    plugins = 'acl'
    config = '''
protocol imap {
  mail_plugins = $mail_plugins imap_acl
}
plugin {
  acl = vfile
  acl_shared_dict = file:@DIR@/home/shared-mailboxes
}
namespace shared {
  type = shared
  prefix = shared/%%u/
  separator = /
  subscriptions = no
  list = children
  location = @SHARED@
}
'''

    @classmethod
    def new_server(cls):
        # The index of dbox is not a view of its own.
        index = {} if cls.options.format.endswith('dbox') else {'index': '~/shared/%%u'}
        shared = mail_location(cls.options.format, '%%h/mail', **index)
        return Server(cls.options, plugins=cls.plugins, config=cls.config.replace('@SHARED@', shared))

    def setUp(self):
        super().setUp()
        self.owner = self.imap()
        self.owner.select()
        self.owner.create('Team')
        self.owner.append('Team', message('shared'))
        self.guest_name = self.server.new_user()
        self.guest = self.imap(self.guest_name)
        self.folder = 'shared/%s/Team' % self.user

    def test_rights(self):
        owner, guest = self.owner, self.guest
        guest.no('SELECT ' + self.folder)
        owner.ok('SETACL Team %s lr' % self.guest_name)
        args = text_of(owner.ok('GETACL Team').one('ACL').args)
        self.assertIn(self.guest_name, args)
        guest = self.imap(self.guest_name)
        self.assertIn(self.folder, guest.names())
        guest.select(self.folder)
        self.assertIn(b'Subject: shared', guest.body(1))
        guest.cmd(r'STORE 1 +FLAGS (\Flagged)')
        self.assertEqual(guest.flags(), {1: set()})
        guest.no('APPEND %s {5+}\r\na: b\n' % self.folder)
        owner.ok('SETACL Team %s lrwstei' % self.guest_name)
        guest = self.imap(self.guest_name)
        guest.append(self.folder, message('from the guest'))
        guest.select(self.folder)
        guest.store('1', r'+FLAGS (\Flagged)')
        self.assertEqual(self.owner.status('Team')['MESSAGES'], 2)
        self.owner.select('Team')
        self.assertIn('\\Flagged', self.owner.flags()[1])
        owner.ok('DELETEACL Team ' + self.guest_name)
        self.imap(self.guest_name).no('SELECT ' + self.folder)

    def test_myrights_and_lists(self):
        self.owner.ok('SETACL Team %s lr' % self.guest_name)
        rights = text_of(self.guest.ok('MYRIGHTS ' + self.folder).one('MYRIGHTS').args)[1]
        self.assertEqual(set(rights), set('lr'))
        self.assertIn('a', text_of(self.owner.ok('MYRIGHTS Team').one('MYRIGHTS').args)[1])

    def test_rights_follow_the_folder(self):
        self.owner.ok('SETACL Team %s lr' % self.guest_name)
        self.owner.ok('RENAME Team Crew')
        args = text_of(self.owner.ok('GETACL Crew').one('ACL').args)
        self.assertIn(self.guest_name, args)
        self.owner.ok('DELETE Crew')
        self.owner.create('Crew')
        args = text_of(self.owner.ok('GETACL Crew').one('ACL').args)
        self.assertNotIn(self.guest_name, args)

    @only('lmdb', 'maildir')
    def test_rights_survive_index_loss(self):
        self.owner.ok('SETACL Team %s lr' % self.guest_name)
        self.owner.logout()
        self.guest.logout()
        self.server.wait_until_idle()
        self.remove_indexes()
        owner = self.imap()
        self.assertIn(self.guest_name, text_of(owner.ok('GETACL Team').one('ACL').args))


class Virtual(ServerTest):
    """Folders made of what is in others."""
    plugins = 'virtual'
    config = '''
namespace virtual {
  prefix = Virtual/
  separator = /
  location = virtual:@DIR@/virtual:INDEX=~/virtual
}
'''

    @classmethod
    def new_server(cls):
        server = super().new_server()
        for name, rules in (('All', '*\n-Trash\n  all\n'), ('Unseen', '*\n  unseen\n'), ('Flagged', '*\n  flagged\n')):
            os.makedirs(os.path.join(server.dir, 'virtual', name))
            with open(os.path.join(server.dir, 'virtual', name, 'dovecot-virtual'), 'w') as file:
                file.write(rules)
        return server

    def test_all(self):
        imap, other = self.imap(), self.imap()
        imap.create('Work', 'Trash')
        imap.append('INBOX', message('in inbox'))
        imap.append('Work', message('in work'), flags='key')
        imap.append('Trash', message('in trash'))
        imap.select('Virtual/All')
        subjects = sorted(imap.body(uid, 'BODY.PEEK[HEADER.FIELDS (SUBJECT)]') for uid in imap.uids())
        self.assertEqual(subjects, [b'Subject: in inbox\r\n\r\n', b'Subject: in work\r\n\r\n'])
        other.append('Work', message('later'))
        self.assertEqual(imap.ok('NOOP').numbers('EXISTS')[-1:], [3])
        uid = imap.search('SUBJECT later')[0]
        imap.store(str(uid), r'+FLAGS (\Flagged)')
        other.select('Work')
        self.assertIn('\\Flagged', other.flags()[2])
        other.store('1', r'+FLAGS (\Deleted)')
        other.ok('EXPUNGE')
        imap.ok('NOOP')
        self.assertEqual(len(imap.uids()), 2)

    def test_search_folder(self):
        imap, other = self.imap(), self.imap()
        other.append('INBOX', message('one'))
        other.append('INBOX', message('two'), flags=r'\Seen')
        imap.select('Virtual/Unseen')
        self.assertEqual(len(imap.uids()), 1)
        other.select()
        other.store('1', r'+FLAGS (\Seen)')
        imap.select('Virtual/Unseen')
        self.assertEqual(imap.uids(), [])
        other.store('1:2', r'-FLAGS (\Seen)')
        imap.select('Virtual/Unseen')
        self.assertEqual(len(imap.uids()), 2)

    def test_copy_and_expunge_through(self):
        imap = self.imap()
        imap.create('Work')
        imap.append('INBOX', message('one'), flags=r'\Flagged')
        imap.select('Virtual/Flagged')
        imap.ok('COPY 1 Work')
        self.assertEqual(imap.status('Work')['MESSAGES'], 1)
        imap.select('Virtual/Flagged')
        self.assertEqual(len(imap.uids()), 2)
        imap.store('1:*', r'+FLAGS.SILENT (\Deleted)', uid=False)
        imap.ok('EXPUNGE')
        self.assertEqual((imap.status('Work')['MESSAGES'], imap.status('INBOX')['MESSAGES']), (0, 0))


class LazyExpunge(ServerTest):
    """What is expunged goes to another folder first."""
    plugins = 'lazy_expunge'
    config = '''
namespace inbox {
  mailbox .EXPUNGED {
    auto = no
  }
}
plugin {
  lazy_expunge = Expunged
}
'''

    def test_expunge(self):
        imap = self.imap()
        imap.append_many('INBOX', [message('m%d' % number) for number in range(3)])
        imap.select()
        imap.store('2', r'+FLAGS (\Deleted key)')
        imap.ok('EXPUNGE')
        self.assertEqual(imap.uids(), [1, 3])
        imap.select('Expunged')
        self.assertEqual(len(imap.uids()), 1)
        self.assertIn(b'Subject: m1\r\n', imap.body(1))
        self.assertIn('key', imap.flags()[1])

    def test_move_and_copies(self):
        imap = self.imap()
        imap.create('Work')
        imap.append_many('INBOX', [message('m%d' % number) for number in range(3)])
        imap.select()
        imap.ok('MOVE 1 Work')
        imap.ok('COPY 1 Work')
        imap.select('Work')
        self.assertEqual(len(imap.uids()), 2)


class Several(ServerTest):
    """Many plugins at once, as they meet in the field."""
    plugins = 'notify mail_log quota zlib acl virtual lazy_expunge'
    config = '''
protocol imap {
  mail_plugins = $mail_plugins imap_quota imap_acl imap_zlib
}
plugin {
  quota = count:User quota
  quota_vsizes = yes
  quota_rule = *:storage=100M
  acl = vfile
  zlib_save = gz
  mail_log_events = delete expunge save copy
  lazy_expunge = Expunged
}
'''

    def test_work(self):
        imap = self.imap()
        imap.select()
        imap.create('Work')
        data = message(body='some words\r\n' * 500)
        for _ in range(5):
            imap.ok('APPEND INBOX (\\Seen key) ', Literal(data))
            self.deliver(data)
        imap.ok('NOOP')
        self.assertEqual(len(imap.uids()), 10)
        imap.ok('COPY 1:4 Work')
        imap.ok('MOVE 5:6 Work')
        imap.store('1:2', r'+FLAGS.SILENT (\Deleted)')
        imap.ok('EXPUNGE')
        imap.select('Work')
        self.assertEqual(imap.body(1), data)
        self.assertEqual(len(imap.uids()), 6)
        # A MOVE may count as an expunge for lazy_expunge.
        self.assertIn(imap.status('Expunged')['MESSAGES'], (2, 4))
