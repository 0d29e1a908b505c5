"""Other search backends over our storage: they have their own index and their own idea of what matches."""

import os

from harness import ServerTest, differences, message


class Backend(ServerTest):
    """What every backend has to find and to forget."""

    def setUp(self):
        super().setUp()
        self.client = self.imap()
        self.client.create('Work')
        self.client.append_many('INBOX', [message('subject%d' % number, 'Body with number%dx in it.\r\n' % number)
                                          for number in range(1, 21)])
        self.client.select()

    def found(self, *query):
        """What the backend itself finds in INBOX."""
        out = self.doveadm('fts lookup', 'mailbox', 'INBOX', *query)
        return out.splitlines()[0].partition(': ')[2]

    def follows(self):
        imap = self.client
        self.assertEqual(imap.search('BODY number7x'), [7])
        self.doveadm('index', 'INBOX')
        self.assertEqual(self.found('body', 'number7x'), '7')
        self.assertEqual(imap.search('SUBJECT subject7'), [7])
        imap.ok('COPY 7:8 Work')
        imap.ok('MOVE 8 Work')
        imap.store('7', r'+FLAGS.SILENT (\Deleted)')
        imap.ok('EXPUNGE')
        self.assertEqual(imap.search('BODY number7x'), [])
        self.deliver(message('late', 'Body with number99x in it.\r\n'))
        imap.ok('NOOP')
        self.assertEqual(imap.search('BODY number99x'), [21])
        imap.select('Work')
        self.assertEqual(imap.search('BODY number7x'), [1])
        self.assertEqual(imap.search('BODY number8x'), [2, 3])
        self.doveadm('fts optimize')
        self.doveadm('fts rescan')
        self.doveadm('index', '*')
        self.assertEqual(self.found('body', 'number9x'), '9')
        self.assertEqual(self.found('body', 'number7x'), 'no results')
        self.assertEqual(imap.search('BODY number8x'), [2, 3])

    def stands(self, text, key, subject):
        """The backend's answer for what it has indexed stands: our own index doesn't take anything away."""
        self.client.append('INBOX', message(subject, text, extra='MIME-Version: 1.0\r\n'
                                            'Content-Type: text/plain; charset=utf-8\r\n'))
        self.client.ok('NOOP')
        for _ in range(2):
            self.assertEqual(self.client.search('BODY ' + key), [21])
            # now it is in our index too
            self.doveadm('index', 'INBOX')


class Virtual(Backend):
    """The same in a virtual mailbox."""
    virtual_config = '''
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

    def stands(self, text, key, subject):
        super().stands(text, key, subject)
        self.client.select('Virtual/All')
        # the mailboxes are indexed, and the virtual one isn't yet
        self.assertEqual(len(self.client.search('SUBJECT ' + key)), 1)
        self.assertEqual(len(self.client.search('BODY ' + key)), 1)
        self.assertEqual(len(self.client.search('BODY number7x')), 1)

    def index_through_it(self):
        """Indexing the virtual mailbox indexes the others."""
        self.doveadm('index', 'Virtual/All')
        self.assertEqual(self.found('body', 'number7x'), '7')


class Other(Backend):
    plugins = 'fts ' + differences.FTS_PLUGIN
    config = differences.FTS_CONFIG

    def test_follows(self):
        self.follows()

    def test_stands(self):
        self.stands(*differences.FTS_FINDS)


class OtherVirtual(Virtual):
    plugins = Other.plugins + ' virtual'
    config = Other.config + Virtual.virtual_config

    def test_index_through_it(self):
        self.index_through_it()

    def test_stands(self):
        self.stands(*differences.FTS_FINDS)
