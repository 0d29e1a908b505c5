"""LIST, LSUB and their extensions."""

from harness import ServerTest, message, quote
from harness.imap import text_of


class List(ServerTest):
    def setUp(self):
        super().setUp()
        self.client = self.imap()
        self.client.select()

    def test_patterns(self):
        imap = self.client
        imap.create('a', 'a/b', 'a/b/c', 'ab', 'x/y')
        for pattern, expected in (
                ('*', ['INBOX', 'a', 'a/b', 'a/b/c', 'ab', 'x', 'x/y']),
                ('%', ['INBOX', 'a', 'ab', 'x']),
                ('a*', ['a', 'a/b', 'a/b/c', 'ab']),
                ('a%', ['a', 'ab']),
                ('a/%', ['a/b']),
                ('a/*', ['a/b', 'a/b/c']),
                ('%/%', ['a/b', 'x/y']),
                ('*/c', ['a/b/c']),
                ('%/%/%', ['a/b/c']),
                ('*b', ['a/b', 'ab']),
                ('a', ['a']),
                ('inbox', ['INBOX']),
                ('nothing', []),
                ('a/b/c/d', [])):
            self.assertEqual(imap.names(pattern), expected, pattern)

    def test_reference(self):
        imap = self.client
        imap.create('a/b', 'a/c', 'b')
        self.assertEqual(imap.names('%', 'a/'), ['a/b', 'a/c'])
        self.assertEqual(imap.names('*', 'a'), ['a', 'a/b', 'a/c'])
        self.assertEqual(imap.names('b', ''), ['b'])

    def test_separator(self):
        line = self.client.ok('LIST "" ""').one('LIST')
        self.assertEqual(text_of(line.args), [['\\Noselect'], '/', ''])

    def test_children_flags(self):
        imap = self.client
        imap.create('a/b', 'c')
        found = imap.list()
        self.assertIn('\\HasChildren', found['a'])
        self.assertIn('\\HasNoChildren', found['a/b'])
        self.assertIn('\\HasNoChildren', found['c'])
        imap.ok('DELETE a/b')
        if 'a' in imap.names():
            self.assertIn('\\HasNoChildren', imap.list()['a'])

    def test_no_duplicates(self):
        imap = self.client
        imap.create('a/b/c', 'a/d', 'e')
        for pattern in ('*', '%', 'a*', '*/%'):
            lines = [line.args[2] for line in imap.ok('LIST "" ' + quote(pattern)).all('LIST')]
            self.assertEqual(len(lines), len(set(lines)), pattern)

    def test_many_patterns(self):
        imap = self.client
        imap.create('a/b', 'c', 'd/e')
        self.assertEqual(sorted(imap.ok('LIST "" (a% d/*)').lists()), ['a', 'd/e'])


class Subscriptions(ServerTest):
    def setUp(self):
        super().setUp()
        self.client = self.imap()
        self.client.select()

    def lsub(self, pattern='*'):
        return sorted(self.client.list(pattern, kind='LSUB'))

    def test_subscribe(self):
        imap = self.client
        imap.create('a', 'b/c')
        imap.ok('SUBSCRIBE a')
        imap.ok('SUBSCRIBE b/c')
        imap.ok('SUBSCRIBE INBOX')
        self.assertEqual(self.lsub(), ['INBOX', 'a', 'b/c'])
        imap.ok('SUBSCRIBE a')
        self.assertEqual(self.lsub('a'), ['a'])
        imap.ok('UNSUBSCRIBE a')
        self.assertEqual(self.lsub(), ['INBOX', 'b/c'])
        imap.ok('UNSUBSCRIBE inbox')
        self.assertEqual(self.lsub(), ['b/c'])

    def test_lsub_percent(self):
        """LSUB % gives the unsubscribed parent of a subscribed folder as \\Noselect."""
        imap = self.client
        imap.create('b/c', 'd')
        imap.ok('SUBSCRIBE b/c')
        found = imap.list('%', kind='LSUB')
        self.assertEqual(sorted(found), ['b'])
        self.assertIn('\\Noselect', found['b'])

    def test_missing_folder(self):
        imap = self.client
        imap.no('SUBSCRIBE none')
        self.assertEqual(self.lsub(), [])

    def test_deleted_folder_stays_subscribed(self):
        imap = self.client
        imap.create('a')
        imap.ok('SUBSCRIBE a')
        imap.ok('DELETE a')
        self.assertEqual(self.lsub(), ['a'])
        self.assertIn('\\NonExistent', imap.ok('LIST (SUBSCRIBED) "" *').lists()['a'])
        imap.create('a')
        self.assertEqual(sorted(imap.ok('LIST (SUBSCRIBED) "" *').lists()), ['a'])

    def test_unsubscribe_unknown(self):
        self.client.cmd('UNSUBSCRIBE never')
        self.assertEqual(self.lsub(), [])

    def test_other_sessions(self):
        other = self.imap()
        self.client.create('a')
        self.assertEqual(self.lsub(), [])
        other.ok('SUBSCRIBE a')
        self.assertEqual(self.lsub(), ['a'])
        other.ok('UNSUBSCRIBE a')
        self.assertEqual(self.lsub(), [])

    def test_many(self):
        imap = self.client
        names = ['s%03d' % number for number in range(200)]
        for tag in [imap.send('CREATE ' + name) for name in names]:
            self.assertEqual(imap.wait(tag).status, 'OK')
        tags = [imap.send('SUBSCRIBE ' + name) for name in names]
        for tag in tags:
            self.assertEqual(imap.wait(tag).status, 'OK')
        self.assertEqual(self.lsub(), names)


class Extended(ServerTest):
    def setUp(self):
        super().setUp()
        self.client = imap = self.imap()
        imap.select()
        imap.create('Foo', 'Foo/Bar', 'Foo/Baz', 'Moo', 'Tops/Deep', 'Gone')
        for name in ('Foo/Bar', 'Moo', 'Gone', 'Tops/Deep'):
            imap.ok('SUBSCRIBE ' + name)
        imap.ok('DELETE Gone')

    def lists(self, command):
        return self.client.ok(command).lists()

    def test_selection_subscribed(self):
        found = self.lists('LIST (SUBSCRIBED) "" "*"')
        self.assertEqual(sorted(found), ['Foo/Bar', 'Gone', 'Moo', 'Tops/Deep'])
        self.assertIn('\\NonExistent', found['Gone'])
        self.assertIn('\\Subscribed', found['Moo'])

    def test_recursivematch(self):
        result = self.client.ok('LIST (SUBSCRIBED RECURSIVEMATCH) "" "%"')
        info = {line.args[2]: text_of(line.args[3:]) for line in result.all('LIST')}
        self.assertEqual(sorted(info), ['Foo', 'Gone', 'Moo', 'Tops'])
        self.assertEqual(info['Foo'], [['CHILDINFO', ['SUBSCRIBED']]])
        self.assertEqual(info['Moo'], [])

    def test_return_subscribed(self):
        found = self.lists('LIST "" "*" RETURN (SUBSCRIBED)')
        self.assertNotIn('Gone', found)
        self.assertEqual({name for name, flags in found.items() if '\\Subscribed' in flags},
                         {'Foo/Bar', 'Moo', 'Tops/Deep'})

    def test_return_children(self):
        found = self.lists('LIST "" "%" RETURN (CHILDREN)')
        self.assertIn('\\HasChildren', found['Foo'])
        self.assertIn('\\HasNoChildren', found['Moo'])
        self.assertIn('\\HasChildren', found['Tops'])

    def test_list_status(self):
        imap = self.client
        for count, name in enumerate(('Foo', 'Foo/Bar', 'Moo')):
            for _ in range(count):
                imap.append(name, message())
        result = imap.ok('LIST "" (Foo Foo/Bar Moo) RETURN (STATUS (MESSAGES UIDNEXT UNSEEN))')
        self.assertEqual({name: items['MESSAGES'] for name, items in result.statuses().items()},
                         {'Foo': 0, 'Foo/Bar': 1, 'Moo': 2})
        # Again, after changes by another session.
        other = self.imap()
        other.append('Moo', message())
        other.select('Foo/Bar')
        other.store('1', r'+FLAGS (\Seen)')
        statuses = imap.ok('LIST "" "*" RETURN (STATUS (MESSAGES UNSEEN))').statuses()
        self.assertEqual(statuses['Moo'], {'MESSAGES': 3, 'UNSEEN': 3})
        self.assertEqual(statuses['Foo/Bar'], {'MESSAGES': 1, 'UNSEEN': 0})

    def test_list_status_of_noselect(self):
        imap = self.client
        imap.ok('DELETE Foo')
        result = imap.ok('LIST "" "Foo*" RETURN (STATUS (MESSAGES))')
        self.assertEqual(sorted(result.statuses()), ['Foo/Bar', 'Foo/Baz'])


class SpecialUse(ServerTest):
    config = r'''
namespace inbox {
  mailbox Drafts {
    special_use = \Drafts
    auto = create
  }
  mailbox Sent {
    special_use = \Sent
    auto = subscribe
  }
  mailbox Trash {
    special_use = \Trash
  }
  mailbox Archive/All {
    special_use = \All \Archive
    auto = create
  }
}
'''

    def test_return_special_use(self):
        imap = self.imap()
        found = imap.ok('LIST "" "*" RETURN (SPECIAL-USE)').lists()
        self.assertIn('\\Drafts', found['Drafts'])
        self.assertIn('\\Sent', found['Sent'])
        self.assertLessEqual({'\\All', '\\Archive'}, found['Archive/All'])
        self.assertNotIn('Trash', found)
        imap.create('Trash')
        self.assertIn('\\Trash', imap.ok('LIST "" "*" RETURN (SPECIAL-USE)').lists()['Trash'])

    def test_selection(self):
        imap = self.imap()
        imap.create('Plain')
        self.assertEqual(sorted(imap.ok('LIST (SPECIAL-USE) "" "*"').lists()), ['Archive/All', 'Drafts', 'Sent'])

    def test_automatic_folders(self):
        imap = self.imap()
        self.assertEqual(sorted(imap.list(kind='LSUB')), ['Sent'])
        imap.append('Drafts', message())
        imap.append('Sent', message())
        self.assertEqual(imap.status('Sent')['MESSAGES'], 1)
        # The automatic folder is made at once for a delivery, too.
        user = self.server.new_user()
        self.deliver(message(), user=user)
        self.assertIn('Sent', self.imap(user).names())

    def test_deleted_automatic_folder_returns_empty(self):
        imap = self.imap()
        imap.append('Sent', message())
        before = imap.status('Sent')
        imap.ok('DELETE Sent')
        after = self.imap().status('Sent')
        self.assertEqual(after['MESSAGES'], 0)
        self.assertNotEqual(before['UIDVALIDITY'], after['UIDVALIDITY'])
