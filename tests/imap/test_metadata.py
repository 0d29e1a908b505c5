"""METADATA and URLAUTH."""

import re

from harness import Literal, ServerTest, message
from harness.imap import text_of


class Metadata(ServerTest):
    config = '''
protocol imap {
  imap_metadata = yes
}
'''
    # The store keeps attributes itself.
    foreign_config = 'mail_attribute_dict = file:%h/dovecot-attributes\n'

    def get(self, imap, mailbox, entry, options=''):
        result = imap.ok('GETMETADATA %s%s %s' % (options, mailbox, entry))
        found = {}
        for line in result.all('METADATA'):
            values = text_of(line.args[1])
            found.update(zip(values[::2], values[1::2]))
        return found

    def test_set_get_remove(self):
        imap = self.imap()
        imap.create('Work')
        imap.ok('SETMETADATA Work (/private/comment "mine" /shared/comment "ours")')
        self.assertEqual(self.get(imap, 'Work', '(/private/comment /shared/comment)'),
                         {'/private/comment': 'mine', '/shared/comment': 'ours'})
        imap.ok('SETMETADATA Work (/private/comment NIL)')
        self.assertEqual(self.get(imap, 'Work', '/private/comment').get('/private/comment'), None)
        imap.ok('SETMETADATA Work (/shared/comment "changed")')
        self.assertEqual(self.get(imap, 'Work', '/shared/comment'), {'/shared/comment': 'changed'})
        self.assertEqual(self.get(imap, 'INBOX', '/shared/comment').get('/shared/comment'), None)

    def test_server_entries(self):
        imap = self.imap()
        imap.ok('SETMETADATA "" (/private/vendor/x "server value")')
        imap = self.relogin(imap)
        self.assertEqual(self.get(imap, '""', '/private/vendor/x'), {'/private/vendor/x': 'server value'})

    def test_other_session(self):
        imap, other = self.imap(), self.imap()
        imap.create('Work')
        imap.ok('SETMETADATA Work (/private/comment "one")')
        self.assertEqual(self.get(other, 'Work', '/private/comment'), {'/private/comment': 'one'})
        imap.ok('SETMETADATA Work (/private/comment "two")')
        self.assertEqual(self.get(other, 'Work', '/private/comment'), {'/private/comment': 'two'})

    def test_large_and_binary_values(self):
        imap = self.imap()
        imap.create('Work')
        for value in ('x' * 60000, 'line 1\r\nline 2\r\n', '', 'äöü €', '"quotes" \\ and (parentheses)'):
            imap.ok('SETMETADATA Work (/private/comment ', Literal(value), ')')
            self.assertEqual(self.get(imap, 'Work', '/private/comment'), {'/private/comment': value})

    def test_depth(self):
        imap = self.imap()
        imap.create('Work')
        imap.ok('SETMETADATA Work (/private/vendor/a "1" /private/vendor/a/b "2" /private/vendor/a/b/c "3" '
                '/private/vendor/ab "4")')
        entries = {'/private/vendor/a': '1', '/private/vendor/a/b': '2', '/private/vendor/a/b/c': '3'}
        self.assertEqual(self.get(imap, 'Work', '/private/vendor/a', '(DEPTH infinity) '), entries)
        del entries['/private/vendor/a/b/c']
        self.assertEqual(self.get(imap, 'Work', '/private/vendor/a', '(DEPTH 1) '), entries)

    def test_follows_the_folder(self):
        imap = self.imap()
        imap.create('Work')
        imap.ok('SETMETADATA Work (/private/comment "mine")')
        imap.ok('RENAME Work Play')
        self.assertEqual(self.get(imap, 'Play', '/private/comment'), {'/private/comment': 'mine'})
        imap.ok('DELETE Play')
        imap.create('Play')
        self.assertEqual(self.get(imap, 'Play', '/private/comment').get('/private/comment'), None)

    def test_doveadm(self):
        imap = self.imap()
        imap.create('Work')
        self.doveadm('mailbox metadata set', 'Work', '/private/comment', 'by doveadm')
        self.assertEqual(self.get(imap, 'Work', '/private/comment'), {'/private/comment': 'by doveadm'})
        imap.ok('SETMETADATA Work (/shared/vendor/y "z")')
        self.assertIn('z', self.doveadm('mailbox metadata get', 'Work', '/shared/vendor/y'))
        self.assertIn('comment', self.doveadm('mailbox metadata list', 'Work'))
        self.doveadm('mailbox metadata unset', 'Work', '/private/comment')
        self.assertEqual(self.get(imap, 'Work', '/private/comment').get('/private/comment'), None)


class Urlauth(ServerTest):
    # Dovecot asks for mail_attribute_dict even if the store keeps attributes itself.
    config = '''
imap_urlauth_host = mail.example.org
mail_attribute_dict = file:%h/dovecot-attributes
'''

    def test_urlauth(self):
        imap = self.imap()
        data = message(body='by reference\r\n')
        imap.append('INBOX', data)
        url = 'imap://%s@mail.example.org/INBOX/;UID=1;URLAUTH=user+%s' % (self.user, self.user)
        line = imap.ok('GENURLAUTH "%s" INTERNAL' % url).one('GENURLAUTH')
        full = text_of(line.args[0])
        self.assertTrue(full.startswith(url + ':internal:'), full)
        self.assertEqual(imap.ok('URLFETCH "%s"' % full).one('URLFETCH').args[1], data)
        forged = re.sub('[0-9a-f]$', lambda match: '1' if match.group() == '0' else '0', full)
        self.assertEqual(imap.ok('URLFETCH "%s"' % forged).one('URLFETCH').args[1], None)
        imap.ok('RESETKEY INBOX')
        self.assertEqual(imap.ok('URLFETCH "%s"' % full).one('URLFETCH').args[1], None)
