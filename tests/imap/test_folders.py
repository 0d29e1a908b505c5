"""CREATE, DELETE, RENAME and the tree of folders."""

from harness import ServerTest, message, only, quote


class Create(ServerTest):
    def test_create_and_select(self):
        imap = self.imap()
        imap.create('Work')
        self.assertEqual(imap.names(), ['INBOX', 'Work'])
        result = imap.select('Work')
        self.assertEqual(result.one('EXISTS').num, 0)
        self.assertEqual(result.code_int('UIDNEXT'), 1)
        self.assertGreater(result.code_int('UIDVALIDITY'), 0)

    def test_existing_and_inbox(self):
        imap = self.imap()
        imap.create('Work')
        self.assertEqual(imap.no('CREATE Work').code, ['ALREADYEXISTS'])
        imap.select('INBOX')
        self.assertEqual(imap.no('CREATE INBOX').code, ['ALREADYEXISTS'])
        self.assertEqual(imap.no('CREATE inbox').code, ['ALREADYEXISTS'])

    def test_missing(self):
        imap = self.imap()
        for command in ('SELECT none', 'EXAMINE none', 'STATUS none (MESSAGES)', 'DELETE none', 'RENAME none other'):
            self.assertIn("Mailbox doesn't exist", imap.no(command).text, command)
        self.assertEqual(imap.no('APPEND none {5+}\r\na: b\n').code, ['TRYCREATE'])
        imap.append('INBOX', message())
        imap.select()
        self.assertEqual(imap.no('COPY 1 none').code, ['TRYCREATE'])
        self.assertEqual(imap.no('MOVE 1 none').code, ['TRYCREATE'])

    def test_parents_are_created(self):
        imap = self.imap()
        imap.create('a/b/c')
        self.assertLessEqual({'a', 'a/b', 'a/b/c'}, set(imap.names()))
        imap.select('a/b/c')
        imap.no('CREATE a/b/c')
        # A parent that came into being this way can become a folder.
        if '\\Noselect' in imap.list('a')['a']:
            imap.create('a')
        imap.select('a')

    def test_trailing_separator(self):
        imap = self.imap()
        imap.create('dir/')
        imap.create('dir/child')
        imap.select('dir/child')
        self.assertIn('dir', imap.names())

    def test_deep(self):
        imap = self.imap()
        name = '/'.join('d%d' % level for level in range(50))
        imap.create(name)
        imap.append(name, message())
        imap.select(name)
        self.assertEqual(imap.uids(), [1])
        self.assertEqual(len(imap.names()), 51)
        self.assertEqual(len(imap.names('%')), 2)
        imap.ok('RENAME d0/d1 moved')
        imap.select('moved/' + name.split('/', 2)[2])
        self.assertEqual(imap.uids(), [1])

    def test_many(self):
        imap = self.imap()
        names = ['n%03d' % number for number in range(300)]
        tags = [imap.send('CREATE ' + name) for name in names]
        for tag in tags:
            self.assertEqual(imap.wait(tag).status, 'OK')
        self.assertEqual(imap.names('n*'), names)
        validities = {imap.status(name)['UIDVALIDITY'] for name in names}
        self.assertEqual(len(validities), len(names))

    def test_created_folder_is_seen_by_others(self):
        first, second = self.imap(), self.imap()
        first.create('fresh')
        self.assertIn('fresh', second.names())
        second.append('fresh', message())
        first.select('fresh')
        self.assertEqual(first.uids(), [1])


class Delete(ServerTest):
    def test_delete(self):
        imap = self.imap()
        imap.create('Work')
        imap.append('Work', message())
        imap.ok('DELETE Work')
        self.assertEqual(imap.names(), ['INBOX'])
        imap.no('SELECT Work')
        imap.no('DELETE Work')

    def test_inbox_stays(self):
        imap = self.imap()
        imap.append('INBOX', message())
        imap.no('DELETE INBOX')
        imap.no('DELETE inbox')
        self.assertEqual(imap.status('INBOX')['MESSAGES'], 1)

    def test_recreated_folder_is_new(self):
        imap = self.imap()
        imap.create('Work')
        for _ in range(3):
            imap.append('Work', message())
        old = imap.status('Work')
        guid = self.doveadm('mailbox status', 'guid', 'Work')
        for _ in range(3):
            imap.ok('DELETE Work')
            imap.create('Work')
            new = imap.status('Work')
            self.assertGreater(new['UIDVALIDITY'], old['UIDVALIDITY'])
            self.assertEqual((new['MESSAGES'], new['UIDNEXT']), (0, 1))
            old = new
        self.assertNotEqual(self.doveadm('mailbox status', 'guid', 'Work'), guid)

    def test_parent_with_children(self):
        imap = self.imap()
        imap.create('a', 'a/b', 'a/b/c')
        imap.select()
        imap.append('a', message())
        imap.append('a/b', message('child'))
        before = imap.status('a')
        imap.ok('DELETE a')
        self.assertIn('\\Noselect', imap.list('a')['a'])
        imap.no('SELECT a')
        imap.no('STATUS a (MESSAGES)')
        imap.no('APPEND a {6+}\r\na: b\r\n')
        imap.select('a/b')
        self.assertEqual(imap.uids(), [1])
        imap.create('a')
        self.assertNotIn('\\Noselect', imap.list('a')['a'])
        after = imap.status('a')
        self.assertEqual(after['MESSAGES'], 0)
        self.assertGreater(after['UIDVALIDITY'], before['UIDVALIDITY'])
        self.assertEqual(imap.status('a/b')['MESSAGES'], 1)

    def test_noselect_parent_can_go(self):
        imap = self.imap()
        imap.select()
        imap.create('a/b', 'a/c')
        imap.cmd('DELETE a')
        imap.ok('DELETE a/b')
        imap.ok('DELETE a/c')
        # The parent may stay as a name without a folder, which can be deleted as well.
        if 'a' in imap.names():
            self.assertIn('\\Noselect', imap.list('a')['a'])
            imap.ok('DELETE a')
        self.assertEqual(imap.names(), ['INBOX'])

    def test_while_selected_by_another(self):
        first, second = self.imap(), self.imap()
        first.create('Work')
        first.append('Work', message())
        second.select('Work')
        first.ok('DELETE Work')
        self.assertNotIn('Work', first.names())
        first.create('Work')
        if self.options.format != 'lmdb':
            self.allow_log('duplicate transaction log sequence|Unexpectedly lost uid')
        # The other session may be told in any way, but never sees the new folder as its old one.
        result = second.send('FETCH 1 BODY.PEEK[]')
        try:
            second.wait(result)
            second.cmd('NOOP')
        except EOFError:
            pass
        self.assertEqual(first.status('Work')['MESSAGES'], 0)

    def test_own_selected_folder(self):
        imap = self.imap()
        imap.create('Work')
        imap.append('Work', message())
        imap.select('Work')
        imap.ok('DELETE Work')
        imap = self.imap()
        self.assertEqual(imap.names(), ['INBOX'])


class Rename(ServerTest):
    def setUp(self):
        super().setUp()
        self.client = self.imap()
        self.client.select('INBOX')

    def fill(self, *names):
        for name in names:
            self.client.create(name)
            self.client.append(name, message(name))

    def subject(self, name):
        self.client.ok('EXAMINE ' + quote(name))
        return [self.client.body(uid, 'BODY.PEEK[HEADER.FIELDS (SUBJECT)]').split(b': ')[1].strip().decode()
                for uid in self.client.uids()]

    def test_keeps_everything_but_the_name(self):
        imap = self.client
        self.fill('old')
        imap.append('old', message('2'), flags=r'\Seen key')
        imap.select('old')
        imap.store('1', r'+FLAGS (\Deleted)')
        imap.ok('UID EXPUNGE 1')
        imap.ok('CLOSE')
        before = imap.status('old', 'MESSAGES UIDNEXT UIDVALIDITY UNSEEN')
        guid = self.doveadm('mailbox status', 'guid', 'old').split('guid=')[1]
        imap.ok('RENAME old fresh')
        self.assertEqual(imap.names(), ['INBOX', 'fresh'])
        self.assertEqual(imap.status('fresh', 'MESSAGES UIDNEXT UIDVALIDITY UNSEEN'), before)
        self.assertEqual(self.doveadm('mailbox status', 'guid', 'fresh').split('guid=')[1], guid)
        imap.select('fresh')
        self.assertEqual(imap.flags(), {2: {'\\Seen', 'key'}})

    def test_tree(self):
        self.fill('a', 'a/b', 'a/b/c', 'a/d', 'ab')
        self.client.ok('RENAME a z')
        self.assertEqual(self.client.names(), ['INBOX', 'ab', 'z', 'z/b', 'z/b/c', 'z/d'])
        self.assertEqual(self.subject('z/b/c'), ['a/b/c'])

    def test_into_another_tree(self):
        self.fill('a', 'a/b', 'other')
        self.client.ok('RENAME a other/a')
        self.assertEqual(self.client.names(), ['INBOX', 'other', 'other/a', 'other/a/b'])
        self.assertEqual(self.subject('other/a/b'), ['a/b'])

    def test_creates_missing_parents(self):
        self.fill('a')
        self.client.ok('RENAME a x/y/z')
        self.assertEqual(self.subject('x/y/z'), ['a'])
        self.assertNotIn('a', self.client.names())

    def test_up(self):
        self.fill('a', 'a/b', 'a/b/c')
        self.client.ok('RENAME a/b top')
        self.assertEqual(self.client.names(), ['INBOX', 'a', 'top', 'top/c'])

    def test_noselect_parent(self):
        self.fill('a/b')
        self.client.ok('RENAME a z')
        self.assertEqual(self.subject('z/b'), ['a/b'])
        self.assertNotIn('a', self.client.names())

    def test_onto_existing(self):
        self.fill('a', 'b')
        self.assertEqual(self.client.no('RENAME a b').code, ['ALREADYEXISTS'])
        self.assertEqual(self.client.no('RENAME a INBOX').code, ['ALREADYEXISTS'])
        self.assertEqual(self.subject('a'), ['a'])
        self.assertEqual(self.subject('b'), ['b'])

    def test_onto_itself_and_own_child(self):
        self.fill('a', 'a/b')
        self.client.no('RENAME a a')
        self.client.no('RENAME a a/b')
        self.client.no('RENAME a a/c')
        self.client.no('RENAME a a/b/c')
        self.assertEqual(self.client.names(), ['INBOX', 'a', 'a/b'])
        self.assertEqual(self.subject('a'), ['a'])
        self.assertEqual(self.subject('a/b'), ['a/b'])

    def test_swap(self):
        self.fill('a', 'b')
        self.client.ok('RENAME a aside')
        self.client.ok('RENAME b a')
        self.client.ok('RENAME aside b')
        self.assertEqual(self.subject('a'), ['b'])
        self.assertEqual(self.subject('b'), ['a'])

    def test_case_only(self):
        self.fill('work')
        self.client.ok('RENAME work Work')
        self.assertEqual(self.client.names(), ['INBOX', 'Work'])

    def test_freed_name_is_a_new_folder(self):
        self.fill('a')
        before = self.client.status('a')
        self.client.ok('RENAME a b')
        self.client.create('a')
        after = self.client.status('a')
        self.assertEqual(after['MESSAGES'], 0)
        self.assertNotEqual(after['UIDVALIDITY'], before['UIDVALIDITY'])
        self.assertEqual(self.client.status('b')['UIDVALIDITY'], before['UIDVALIDITY'])

    @only('lmdb', 'sdbox', 'mdbox')
    def test_inbox(self):
        """The messages move, INBOX is empty and its children stay where they were or follow the folder."""
        imap = self.client
        self.fill('INBOX/child')
        imap.append('INBOX', message('one'))
        imap.append('INBOX', message('two'))
        imap.ok('RENAME INBOX old')
        self.assertEqual(self.subject('old'), ['one', 'two'])
        self.assertEqual(imap.status('INBOX')['MESSAGES'], 0)
        child = [name for name in imap.names() if name.endswith('/child')]
        self.assertEqual(len(child), 1)
        self.assertEqual(self.subject(child[0]), ['INBOX/child'])
        self.deliver(message('three'))
        self.assertEqual(self.subject('INBOX'), ['three'])
        self.assertNotEqual(imap.status('INBOX')['UIDVALIDITY'], imap.status('old')['UIDVALIDITY'])

    def test_children_of_inbox(self):
        self.fill('INBOX/a', 'INBOX/a/b')
        self.client.ok('RENAME INBOX/a INBOX/c')
        self.assertEqual(self.subject('INBOX/c/b'), ['INBOX/a/b'])
        self.client.ok('RENAME INBOX/c top')
        self.assertEqual(self.client.names(), ['INBOX', 'top', 'top/b'])

    def test_selected_elsewhere(self):
        """A session that has the folder open goes on or is disconnected; nothing is lost."""
        other = self.imap()
        self.fill('a')
        other.select('a')
        self.client.ok('RENAME a b')
        self.client.append('b', message('later'))
        tag = other.send('NOOP')
        try:
            other.wait(tag)
        except EOFError:
            pass
        self.assertEqual(self.subject('b'), ['a', 'later'])

    def test_subscription_stays(self):
        self.fill('a')
        self.client.ok('SUBSCRIBE a')
        self.client.ok('RENAME a b')
        self.assertEqual(sorted(self.client.list(kind='LSUB')), ['a'])
