"""The fts plugin over our search index: attachments through decoders, and doveadm fts."""

import base64
import os

from harness import ServerTest, message, only
from harness.server import wait_for

SECRET = bytes.maketrans(b'abcdefghijklmnopqrstuvwxyz', b'bcdefghijklmnopqrstuvwxyza')
DECODER = '''#!/bin/sh
if [ $# -eq 0 ]; then
  echo 'application/x-secret secret'
  echo
else
  tr b-za a-z
fi
'''
CONFIG = '''
service decode2text {
  executable = script @DIR@/decoder
  unix_listener decode2text {
    mode = 0666
  }
}
plugin {
  fts = lmdb
  fts_decoder = decode2text
  fts_autoindex = %s
}
'''


def with_attachment(text, body='Only the body.\r\n', subject='attached'):
    """A message with an attachment that core's search can't read, but the decoder can."""
    data = base64.encodebytes(text.encode().translate(SECRET)).decode().replace('\n', '\r\n')
    return message(subject, '--b\r\nContent-Type: text/plain\r\n\r\n%s\r\n--b\r\n'
                   'Content-Type: application/x-secret\r\nContent-Disposition: attachment; filename=a.secret\r\n'
                   'Content-Transfer-Encoding: base64\r\n\r\n%s\r\n--b--\r\n' % (body, data),
                   extra='MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n')


class Fts(ServerTest):
    plugins = 'fts fts_lmdb'
    config = CONFIG % 'no'

    @classmethod
    def new_server(cls):
        server = super().new_server()
        path = os.path.join(server.dir, 'decoder')
        with open(path, 'w') as file:
            file.write(DECODER)
        os.chmod(path, 0o755)
        return server

    def setUp(self):
        super().setUp()
        self.client = self.imap()

    def check(self, keys, expected):
        self.assertEqual(self.client.search(keys), expected, keys)

    def fill(self):
        self.client.append_many('INBOX', [
            with_attachment('the hidden treasure\nlies below'),
            message('plain', 'A treasure of words.\r\n'),
            with_attachment('nothing of worth', body='A hidden treasure in the body\r\n'),
            message('none', 'Nothing.\r\n')])
        self.client.select()


@only('lmdb')
class Attachments(Fts):
    def test_search(self):
        self.fill()
        for keys, expected in (
                ('BODY treasure', [1, 2, 3]), ('TEXT treasure', [1, 2, 3]), ('BODY reasur', [1, 2, 3]),
                ('BODY "hidden treasure"', [1, 3]), ('NOT BODY treasure', [4]),
                ('BODY worth', [3]), ('SUBJECT treasure', []), ('HEADER subject attached', [1, 3]),
                ('BODY hidden BODY body', [1, 3]), ('BODY lies BODY "the body"', [1]), ('OR BODY lies BODY words', [1, 2]),
                ('NOT (BODY hidden BODY body)', [2, 4]), ('BODY treasure NOT BODY lies', [2, 3]), ('BODY LIES', [1]),
                ('TEXT attached BODY lies', [1]), ('BODY secret', [])):
            self.check(keys, expected)

    def test_rest_is_exact(self):
        """Where no decoder is concerned the answers are those of a search without fts."""
        imap = self.client
        html = message('page', '<p>red <b>apples</b> <a href="http://x">here</a></p>\r\n',
                       extra='MIME-Version: 1.0\r\nContent-Type: text/html\r\n')
        imap.append_many('INBOX', [html, message('one', 'likes red apples and multi-line\r\n'),
                                   message('two', 'apples red, line multi\r\n')])
        imap.select()
        for keys, expected in (('BODY href', [1]), ('BODY "red apples"', [2]), ('BODY multi-line', [2]), ('BODY like', [2]),
                               ('BODY liked', []), ('BODY "<b>apples"', [1]), ('BODY and', [2]), ('BODY x', [1]),
                               ('HEADER subject one', [2]), ('TEXT page', [1])):
            self.check(keys, expected)

    def test_at_once(self):
        """A message is found by the first search after it was saved; COPY and EXPUNGE are followed."""
        imap = self.client
        imap.create('Work')
        imap.select()
        for number in range(1, 4):
            imap.append('INBOX', with_attachment('number %d' % number))
            imap.ok('NOOP')
            self.check('BODY number', list(range(1, number + 1)))
        self.deliver(with_attachment('number 4'))
        imap.ok('NOOP')
        self.check('BODY "number 4"', [4])
        imap.ok('COPY 1:4 Work')
        imap.store('2', r'+FLAGS.SILENT (\Deleted)')
        imap.ok('EXPUNGE')
        self.check('BODY number', [1, 3, 4])
        imap.select('Work')
        self.check('BODY number', [1, 2, 3, 4])
        self.check('BODY "number 2"', [2])

    def test_without_the_plugin(self):
        """What decoders found is in the index, but counts only while there is fts."""
        self.fill()
        self.check('BODY lies', [1])
        command = ['mailbox', 'INBOX', 'body', 'treasure']
        self.assertEqual(len(self.doveadm('search', *command).splitlines()), 3)
        self.assertEqual(len(self.doveadm('search', *command, settings=('mail_plugins=lmdb',)).splitlines()), 2)

    def test_rescan(self):
        """Messages that were indexed without fts get their attachments by a rescan."""
        self.server.use_doveadm_modules()
        self.fill()
        self.doveadm('index', 'INBOX', settings=('mail_plugins=lmdb',))
        self.check('BODY lies', [])
        self.doveadm('fts rescan')
        self.check('BODY lies', [1])

    def test_doveadm(self):
        self.server.use_doveadm_modules()
        self.fill()
        self.doveadm('index', 'INBOX')
        self.assertEqual(self.doveadm('fts lookup', 'mailbox', 'INBOX', 'body', 'treasure'), 'INBOX: 1:3\n')
        self.assertEqual(self.doveadm('fts lookup', 'mailbox', 'INBOX', 'body', 'the body'),
                         'INBOX: no results\n - maybe: 1,3\n')
        self.assertEqual(self.doveadm('fts lookup', 'mailbox', 'INBOX', 'not', 'body', 'treasure'), 'INBOX: 4\n')
        self.assertEqual(self.doveadm('fts lookup', 'mailbox', 'INBOX', 'body', 'absent'), 'INBOX: no results\n')
        self.doveadm('fts optimize')
        self.doveadm('lmdb index rebuild', '-f')
        self.check('BODY lies', [1])
        self.assertEqual(self.doveadm('lmdb index check'), '')

    def test_relevancy(self):
        """What is rare counts more than what is common."""
        imap = self.client
        imap.append_many('INBOX', [message('m%d' % number, 'common %s\r\n' % ('rare' if number == 3 else ''))
                                   for number in range(1, 6)])
        imap.select()
        found = imap.ok('UID SEARCH RETURN (RELEVANCY ALL) FUZZY (OR BODY common BODY rare)').esearch()
        self.assertEqual(found['ALL'], '1:5')
        scores = [int(score) for score in found['RELEVANCY']]
        self.assertEqual(scores.index(max(scores)), 2)
        self.assertEqual(imap.ok('UID SORT (RELEVANCY) UTF-8 FUZZY (OR BODY common BODY rare)').search()[0], 3)

    def test_switched_off(self):
        """Without an index the plugin has nothing to do, and searches work."""
        self.fill()
        off = ('plugin/lmdb_search=no',)
        self.doveadm('index', 'INBOX', settings=off)
        self.assertEqual(len(self.doveadm('search', 'body', 'treasure', settings=off).splitlines()), 2)


@only('lmdb')
class Autoindex(Fts):
    config = CONFIG % 'yes'

    def waiting(self):
        out = self.doveadm('lmdb index status', 'INBOX')
        return int(out.split()[-1])

    def test_delivery(self):
        """What is delivered is indexed without anybody searching."""
        self.server.use_doveadm_modules()
        self.client.select()
        for number in range(3):
            self.deliver(with_attachment('number %d' % number))
        self.client.append('INBOX', with_attachment('number 3'))
        wait_for(lambda: self.waiting() == 0, 'the indexer')
        self.client.ok('NOOP')
        self.check('BODY "number 1"', [2])


@only('lmdb')
class Virtual(Fts):
    """Folders of other formats that the plugin meets."""
    plugins = 'fts fts_lmdb virtual'
    config = CONFIG % 'no' + '''
namespace virtual {
  prefix = Virtual/
  separator = /
  location = virtual:@DIR@/virtual:INDEX=~/virtual
}
'''

    @classmethod
    def new_server(cls):
        server = super().new_server()
        os.makedirs(os.path.join(server.dir, 'virtual', 'All'))
        with open(os.path.join(server.dir, 'virtual', 'All', 'dovecot-virtual'), 'w') as file:
            file.write('*\n  all\n')
        return server

    def setUp(self):
        super().setUp()
        self.fill()
        self.client.create('Work')
        self.client.append('Work', with_attachment('lies in work'))

    def test_search(self):
        self.client.select('Virtual/All')
        for keys, count in (('BODY lies', 2), ('BODY words', 1), ('NOT BODY treasure', 2), ('SUBJECT attached', 3)):
            self.assertEqual(len(self.client.search(keys)), count, keys)
        self.deliver(with_attachment('lies again'))
        self.client.ok('NOOP')
        self.assertEqual(len(self.client.search('BODY lies')), 3)

    def test_switched_off(self):
        command = ['mailbox', 'Virtual/All', 'body', 'treasure']
        self.assertEqual(len(self.doveadm('search', *command, settings=('plugin/lmdb_search=no',)).splitlines()), 2)

    def test_index(self):
        self.doveadm('index', 'Virtual/All')
        self.client.select('Work')
        self.check('BODY lies', [1])
        self.client.select()
        self.check('BODY lies', [1])
