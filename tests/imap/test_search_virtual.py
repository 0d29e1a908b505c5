"""SEARCH in virtual mailboxes, from the search index of the mailboxes that they are made of."""

import os

from harness import ServerTest, message

FOLDERS = 12
MESSAGES = 10
NAMES = ['Folder%d' % number for number in range(FOLDERS)]
WORDS = ('alpha', 'beta', 'gamma', 'delta')


def body(folder, number):
    return 'Message of folder%dx, number%dx: %s and\r\nthe red %s.\r\n' % (
        folder, number, WORDS[(folder + number) % 4], 'apple' if number % 3 == 0 else 'pears')


class Base(ServerTest):
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
        for name, rules in (('All', '*\nOther/*\n  all\n'), ('Unseen', '*\n  unseen\n')):
            os.makedirs(os.path.join(server.dir, 'virtual', name))
            with open(os.path.join(server.dir, 'virtual', name, 'dovecot-virtual'), 'w') as file:
                file.write(rules)
        return server

    def setUp(self):
        super().setUp()
        self.client = imap = self.imap()
        imap.create(*NAMES)
        self.mails = {}
        for folder, name in enumerate(NAMES):
            mails = [message('s%d-%d' % (folder, number), body(folder, number)) for number in range(MESSAGES)]
            imap.append_many(name, mails)
            self.mails.update(('s%d-%d' % (folder, number), mail.decode()) for number, mail in enumerate(mails))
        imap.select('Virtual/All')
        self.assertEqual(len(imap.uids()), FOLDERS * MESSAGES)

    def subjects(self, keys):
        """Subjects of what is found."""
        uids = self.client.search(keys)
        if not uids:
            return set()
        headers = self.client.fetch(','.join(map(str, uids)), 'BODY.PEEK[HEADER.FIELDS (SUBJECT)]')
        return {next(value for name, value in items.items() if name.startswith('BODY')).split()[1].decode()
                for items in headers.values()}

    def check(self, keys, matches):
        expected = {subject for subject, mail in self.mails.items() if matches(mail)}
        self.assertTrue(expected and len(expected) < len(self.mails), keys)
        self.assertEqual(self.subjects(keys), expected, keys)

    def check_all(self):
        for keys, matches in (
                ('BODY gamma', lambda mail: 'gamma' in mail),
                ('BODY umber3', lambda mail: 'umber3' in mail),
                ('BODY "the red apple"', lambda mail: 'the red apple' in mail),
                ('BODY "alpha and"', lambda mail: 'alpha and' in mail),
                ('NOT BODY pears', lambda mail: 'pears' not in mail),
                ('BODY folder3x BODY delta', lambda mail: 'folder3x' in mail and 'delta' in mail),
                ('OR BODY folder3x BODY delta', lambda mail: 'folder3x' in mail or 'delta' in mail),
                ('TEXT s5-', lambda mail: 's5-' in mail),
                ('SUBJECT s5-', lambda mail: 's5-' in mail),
                ('HEADER subject s5- NOT TEXT apple', lambda mail: 's5-' in mail and 'apple' not in mail)):
            self.check(keys, matches)


class Virtual(Base):
    def test_exact(self):
        """Nothing is indexed, some folders are, all are."""
        self.doveadm('index', 'Folder3')
        self.check_all()
        self.doveadm('index', 'Folder*')
        self.check_all()
        self.client = self.relogin(self.client)
        self.client.select('Virtual/All')
        self.check_all()

    def test_changes(self):
        imap, other = self.client, self.imap()
        self.check('BODY gamma', lambda mail: 'gamma' in mail)
        other.append('Folder1', message('late', 'the gamma of late\r\n'))
        self.mails['late'] = 'the gamma of late'
        other.select('Folder2')
        other.store('1:5', r'+FLAGS.SILENT (\Deleted)')
        other.ok('EXPUNGE')
        for number in range(5):
            del self.mails['s2-%d' % number]
        other.ok('RENAME Folder4 Renamed')
        other.ok('DELETE Folder6')
        for number in range(MESSAGES):
            del self.mails['s6-%d' % number]
        imap = self.client = self.relogin(imap)
        imap.select('Virtual/All')
        self.check_all()

    def test_copies(self):
        """A copy is a message of its own here, and the same document of the index."""
        imap, other = self.client, self.imap()
        other.select('Folder1')
        other.ok('COPY 1:3 Folder2')
        imap.ok('NOOP')
        self.assertEqual(len(imap.search('BODY folder1x')), MESSAGES + 3)

    def test_with_flags_and_sorting(self):
        imap, other = self.client, self.imap()
        other.select('Folder1')
        other.store('1:4', r'+FLAGS.SILENT (\Seen)')
        imap.select('Virtual/Unseen')
        self.assertEqual(len(imap.search('BODY folder1x')), MESSAGES - 4)
        imap.select('Virtual/All')
        self.assertEqual(len(imap.search('SEEN BODY folder1x')), 4)
        found = imap.ok('UID SORT (REVERSE SUBJECT) UTF-8 BODY folder3x').search()
        self.assertEqual(len(found), MESSAGES)
        self.assertEqual(sorted(found), imap.search('BODY folder3x'))
        first = imap.body(found[0], 'BODY.PEEK[HEADER.FIELDS (SUBJECT)]')
        self.assertEqual(first, b'Subject: s3-9\r\n\r\n')


class TwoStores(Base):
    """Mailboxes of two stores, each with its index."""
    config = Base.config + '''
namespace other {
  prefix = Other/
  separator = /
  location = @FORMAT@:~/other
}
'''

    def test_both(self):
        imap = self.client
        imap.create('Other/Box')
        imap.append('Other/Box', message('elsewhere', 'the gamma elsewhere\r\n'))
        self.mails['elsewhere'] = 'the gamma elsewhere'
        imap.select('Virtual/All')
        self.check_all()
        self.doveadm('index', '*')
        self.check_all()
