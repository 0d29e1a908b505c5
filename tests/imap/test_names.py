"""Names of folders: other alphabets, special characters, lengths."""

import base64
import os

from harness import ServerTest, message, only, quote


def mutf7(text):
    """The modified UTF-7 that IMAP has for folder names."""
    out, run = '', ''
    for char in text + '\0':
        if ' ' <= char <= '~':
            if run:
                out += '&' + base64.b64encode(run.encode('utf-16-be')).decode().rstrip('=').replace('/', ',') + '-'
                run = ''
            out += '&-' if char == '&' else char
        elif char != '\0':
            run += char
        elif run:
            out += '&' + base64.b64encode(run.encode('utf-16-be')).decode().rstrip('=').replace('/', ',') + '-'
    return out


class Names(ServerTest):
    def check_name(self, imap, name):
        """Create, list, fill, rename to and fro, subscribe and delete."""
        imap.create(name)
        self.assertIn(name, imap.names(), name)
        imap.append(name, message(name))
        self.assertEqual(imap.status(name)['MESSAGES'], 1)
        imap.ok('SUBSCRIBE ' + quote(name))
        self.assertIn(name, imap.list(kind='LSUB'))
        imap.ok('RENAME %s %s' % (quote(name), quote('aside')))
        self.assertNotIn(name, imap.names())
        imap.ok('RENAME %s %s' % (quote('aside'), quote(name)))
        imap.select(name)
        self.assertEqual(imap.uids(), [1])
        imap.ok('UNSELECT')
        imap.create(name + '/child')
        self.assertIn(name + '/child', imap.names())
        imap.ok('DELETE ' + quote(name + '/child'))
        imap.ok('DELETE ' + quote(name))
        imap.ok('UNSUBSCRIBE ' + quote(name))
        self.assertNotIn(name, imap.list(kind='LSUB'))
        self.assertEqual([other for other in imap.names() if other != 'INBOX'], [])

    def test_alphabets(self):
        imap = self.imap()
        for text in ('Entwürfe', '受信トレイ', 'Отправленные', 'صندوق', 'a\u0301', '\u00e1', '😀 mail', 'ﬁ'):
            self.check_name(imap, mutf7(text))

    def test_special_characters(self):
        imap = self.imap()
        for name in ('a&-b', 'x~', 'a.b', '.hidden', 'a..b', 'a%b', 'a*b', 'a\\b', 'a"b', ' lead', 'trail ',
                     'two  blanks', "it's", '(x)', '{x}', '[x]', '#news', '$x', '!', '-', '+x', 'a=b', 'a:b', 'a;b', '<a>',
                     '?', '`a`', '|', '^', 'NIL', 'nil', '0', '12'):
            with self.subTest(name=name):
                self.check_name(imap, name)

    def test_leading_tilde(self):
        """Refused unless mail_full_filesystem_access is set, or a name like others."""
        imap = self.imap()
        imap.select()
        if imap.cmd('CREATE ~user').status == 'OK':
            imap.ok('DELETE ~user')
            self.check_name(imap, '~user')
        self.assertEqual(imap.names(), ['INBOX'])

    def test_names_of_directories(self):
        """What means another place in a file system is refused, or a name like others."""
        imap = self.imap()
        imap.select()
        for name in ('.', '..', './x', '../x'):
            if imap.cmd('CREATE ' + quote(name)).status == 'OK':
                imap.append(name, message())
                imap.select(name)
                self.assertEqual(imap.uids(), [1])
                imap.ok('UNSELECT')
                imap.ok('RENAME %s aside' % name)
                imap.ok('DELETE aside')
                imap.cmd('DELETE ' + name.partition('/')[0])
        self.assertEqual(imap.names(), ['INBOX'])
        self.assertEqual(os.listdir(self.home()), ['mail'])

    @only('lmdb')
    def test_names_of_files(self):
        imap = self.imap()
        for name in ('cur', 'new', 'tmp', 'dbox-Mails', 'store', 'index', 'control', 'data.mdb', 'dovecot.index',
                     'subscriptions', '1', '0000000000000001', 'maildirfolder', 'dovecot-acl'):
            with self.subTest(name=name):
                self.check_name(imap, name)

    def test_refused_names(self):
        """What Dovecot refuses is refused and leaves no trace; the session goes on."""
        imap = self.imap()
        imap.select()
        for name in ('', '/abs', 'x//y', '/', 'a&b', '&Jjo!', '&AGE-', 'a\tb'):
            with self.subTest(name=name):
                self.assertIn(imap.cmd('CREATE ' + quote(name)).status, ('NO', 'BAD'))
        imap.cmd('CREATE {4+}\r\na\r\nc')
        self.assertEqual(imap.names(), ['INBOX'])

    def test_case(self):
        """Names differ by case, INBOX alone does not."""
        imap = self.imap()
        imap.create('work', 'Work', 'WORK')
        imap.append('Work', message())
        self.assertEqual([imap.status(name)['MESSAGES'] for name in ('work', 'Work', 'WORK')], [0, 1, 0])
        imap.append('InBox', message())
        imap.select('iNBOX')
        self.assertEqual(imap.uids(), [1])
        imap.create('Inbox/child', 'a/INBOX', 'a/Inbox')
        self.assertLessEqual({'INBOX/child', 'a/INBOX', 'a/Inbox'}, set(imap.names()))
        imap.select('inbox/child')

    def test_normal_forms_differ(self):
        imap = self.imap()
        composed, decomposed = mutf7('\u00e1'), mutf7('a\u0301')
        imap.create(composed, decomposed)
        imap.append(composed, message())
        self.assertEqual(imap.status(composed)['MESSAGES'], 1)
        self.assertEqual(imap.status(decomposed)['MESSAGES'], 0)

    def test_longest_component(self):
        imap = self.imap()
        name = 'n' * 255
        self.check_name(imap, name[:240])
        imap.create(name)
        imap.append(name, message())
        self.assertEqual(imap.status(name)['MESSAGES'], 1)
        imap.no('CREATE ' + 'n' * 256)
        other = name[:-1] + 'm'
        imap.create(other)
        self.assertEqual(imap.status(other)['MESSAGES'], 0)
        self.assertLessEqual({name, other}, set(imap.names()))
        imap.ok('DELETE ' + name)
        self.assertEqual(imap.names('n*'), [other])

    def test_long_paths(self):
        """Names of up to some 1,000 bytes, in components that are long but fit."""
        imap = self.imap()
        path = '/'.join('%d' % level + 'x' * 200 for level in range(5))
        imap.create(path)
        imap.append(path, message())
        imap.select(path)
        self.assertEqual(imap.uids(), [1])
        imap.ok('UNSELECT')
        parent = path.rsplit('/', 1)[0]
        imap.ok('RENAME %s %s' % (parent, parent + 'y'))
        self.assertEqual(imap.status(parent + 'y' + path[len(parent):])['MESSAGES'], 1)

    def test_too_long_path(self):
        imap = self.imap()
        self.assertIn(imap.cmd('CREATE ' + '/'.join(['x' * 200] * 21)).status, ('NO', 'BAD'))
        imap.select()
        self.assertEqual(imap.names(), ['INBOX'])

    def test_subscribed_long_name(self):
        imap = self.imap()
        name = '/'.join('%d' % level + 'y' * 230 for level in range(4))
        imap.create(name)
        imap.ok('SUBSCRIBE ' + name)
        imap.create('z' * 250)
        imap.ok('SUBSCRIBE ' + 'z' * 250)
        imap = self.relogin(imap)
        self.assertEqual(sorted(imap.list(kind='LSUB')), sorted([name, 'z' * 250]))
