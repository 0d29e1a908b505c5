"""The plugin's own settings: where they may stand, and what is said of wrong values."""

import os
import re

from harness import Imap, ServerTest, differences, message, only
from harness.lmdb import store_file, transaction_id
from harness.server import EXAMPLE_CONFIG, find_program


@only('lmdb')
class Settings(ServerTest):
    """lmdb_flag_delay can be seen at work: a change of flags is, or isn't, committed to the store by the next sync."""
    waits = True

    def store_flag(self):
        """Whether the store has a new transaction after STORE."""
        imap = self.imap()
        imap.append('INBOX', message())
        imap.select()
        before = transaction_id(store_file(self.home()))
        imap.store('1', r'+FLAGS (\Flagged)')
        imap.ok('NOOP')
        return transaction_id(store_file(self.home())) != before

    def test_flag_delay(self):
        self.assertEqual(self.store_flag(), not self.waits)


class WithoutDelay(Settings):
    config = 'plugin {\n  lmdb_flag_delay = 0\n}\n'
    waits = False


class InFilter(Settings):
    """2.4 has names for settings of one storage."""
    config = differences.either('plugin {\n  lmdb_flag_delay = 0\n}\n', 'lmdb {\n  flag_delay = 0\n}\n')
    waits = False


class Overridden(Settings):
    """The user database has the last word."""
    config = 'plugin {\n  lmdb_flag_delay = 1 min\n}\n'
    userdb_fields = {'lmdb_flag_delay': '0', 'lmdb_any_filesystem': 'no'}
    waits = False


@only('lmdb')
class LocationInUserdb(ServerTest):
    """The user database says where mail and indexes are."""
    userdb_fields = differences.location_fields('lmdb', 'elsewhere', 'views')

    def test_used(self):
        self.imap().append('INBOX', message())
        self.assertTrue(os.path.exists(store_file(self.home(), 'elsewhere')))
        self.assertTrue(os.listdir(os.path.join(self.home(), 'views')))
        self.assertFalse(os.path.exists(os.path.join(self.home(), 'mail')))


@only('lmdb')
class WrongInUserdb(ServerTest):
    userdb_fields = {'lmdb_expunge_grace': 'soon'}

    def test_login(self):
        self.expect_log('lmdb_expunge_grace.*soon')
        self.allow_log('Error: ')
        imap = self._opened(Imap(self.server.imap_port))
        with self.assertRaises((EOFError, OSError)):
            imap.cmd('LOGIN %s pass' % self.user)
            imap.ok('SELECT INBOX')


@only('lmdb')
class Doveconf(ServerTest):
    """What doveconf says of the settings, and what it refuses before a server runs with it."""
    defaults = {'lmdb_any_filesystem': 'no', 'lmdb_compress': 'yes', 'lmdb_expunge_grace': '1 mins',
                'lmdb_flag_delay': '1 mins', 'lmdb_search': 'auto', 'lmdb_search_when': 'search'}
    wrong = ('lmdb_any_filesystem = maybe', 'lmdb_compress = lz4', 'lmdb_expunge_grace = 5', 'lmdb_flag_delay = soon',
             'lmdb_flag_delay = 2 days', 'lmdb_search = perhaps', 'lmdb_search_when = never', 'lmdb_unknown = yes')

    def doveconf(self, *args, config_path=None):
        return self.server.run([find_program('doveconf'), '-c', config_path or self.server.config_path, *args], check=False)

    def write(self, text):
        path = os.path.join(self.server.dir, 'other.conf')
        with open(path, 'w') as file:
            file.write(text)
        return path

    def with_setting(self, line):
        """A configuration like the server's, with one more setting."""
        with open(self.server.config_path) as file:
            return self.write(file.read() + differences.PLUGIN_SETTING % line)

    def settings(self, printed):
        """Later releases of 2.4 print what is set in lmdb { }."""
        section = re.search(r'^lmdb {\n(.*?)^}', printed.stdout, re.MULTILINE | re.DOTALL)
        lines = ['lmdb_' + line.strip() for line in section.group(1).splitlines()] if section else []
        lines += (line.strip() for line in printed.stdout.splitlines())
        return dict(line.split(' = ') for line in lines if line.startswith('lmdb_'))

    def test_defaults(self):
        printed = self.doveconf('-a')
        self.assertEqual(printed.returncode, 0, printed.stderr)
        self.assertEqual(self.settings(printed), self.defaults if differences.DOVECONF_KNOWS_SETTINGS else {})

    def test_example(self):
        """The example with all that is commented out in it, which is the defaults."""
        with open(EXAMPLE_CONFIG) as file:
            text = re.sub(r'^#( *lmdb_\w+ = .*|plugin {|})$', r'\1', file.read(), flags=re.MULTILINE)
        path = self.write(differences.CONFIG_HEAD + text)
        printed = self.doveconf('-a', config_path=path)
        self.assertEqual((printed.returncode, printed.stderr), (0, ''))
        self.assertEqual({name: value.replace('60 secs', '1 mins') for name, value in self.settings(printed).items()},
                         self.defaults)
        for setting, value in differences.EXAMPLE_SAYS.items():
            self.assertEqual(self.doveconf('-h', setting, config_path=path).stdout.strip(), value)

    def test_what_is_set(self):
        printed = self.doveconf('-n', config_path=self.with_setting('lmdb_flag_delay = 5 s'))
        self.assertEqual((printed.returncode, printed.stderr), (0, ''))
        self.assertRegex(printed.stdout, r'flag_delay = 5 s')

    def test_wrong_values(self):
        for line in self.wrong:
            path = self.with_setting(line)
            printed = self.doveconf('-n', config_path=path)
            if differences.DOVECONF_KNOWS_SETTINGS:
                self.assertNotEqual(printed.returncode, 0, line)
                self.assertIn(line.partition(' ')[0], printed.stderr)
            else:
                self.assertEqual(printed.returncode, 0, printed.stderr)


@only('lmdb')
class CommandLine(ServerTest):
    def refused(self, name, value):
        settings = ('plugin/%s=%s' % (name, value),)
        text = self.server.doveadm_fails('mailbox', 'list', '-u', self.user, settings=settings)[1]
        self.assertIn(name, text)

    def test_right_values(self):
        for name, values in (('lmdb_any_filesystem', ('yes', 'no')), ('lmdb_compress', ('yes', 'no')),
                             ('lmdb_flag_delay', ('0', '5s', '2 mins', '1 day')),
                             ('lmdb_search', ('auto', 'yes', 'no')),
                             ('lmdb_search_when', ('search', 'background', 'delivery')),
                             ('lmdb_expunge_grace', ('0', '1 s', '3 days'))):
            for value in values:
                self.assertEqual(self.server.doveadm('mailbox', 'list', '-u', self.user,
                                                     settings=('plugin/%s=%s' % (name, value),)), 'INBOX\n')

    def test_wrong_values(self):
        for name, values in (('lmdb_any_filesystem', ('maybe', '2')), ('lmdb_compress', ('lz4',)), ('lmdb_search', ('maybe', '1')),
                             ('lmdb_search_when', ('never', 'yes')),
                             ('lmdb_flag_delay', ('soon', '-1', '5', '2 days')),
                             ('lmdb_expunge_grace', ('1 light-year', 'yes'))):
            for value in values:
                self.refused(name, value)


@only('lmdb')
class Uncompressed(ServerTest):
    """A store that was compressed so far goes on without."""
    config = 'plugin {\n  lmdb_compress = no\n}\n'

    def store_size(self):
        return os.path.getsize(store_file(self.home()))

    def test_takes_more_room(self):
        data = message(body='the same words again and again\r\n' * 30000)
        config = self.server.config
        self.stop_server()
        self.server.config = ''
        self.addCleanup(setattr, self.server, 'config', config)
        self.server.start()
        self.imap().append('INBOX', data)
        self.stop_server()
        self.assertLess(self.store_size(), len(data) // 2)
        self.server.config = config
        self.server.start()
        imap = self.imap()
        imap.append('INBOX', data)
        imap.select()
        self.assertTrue(imap.body(1) == imap.body(2) == data)
        self.assertGreater(self.store_size(), len(data) * 0.9)
