"""Where the lines of Dovecot differ with every mail format, so that a test can't expect the same of both."""

from .dovecot24 import VERSIONS
from .server import DOVECOT


def either(value_23, value_24):
    return value_24 if DOVECOT == '2.4' else value_23


# mail_log: 2.4 names the mailbox in front of each of its lines.
MAIL_LOG_CREATED = either('Mailbox created: %s', 'Mailbox %s: Mailbox created')
MAIL_LOG_DELETED = either('Mailbox deleted: %s', 'Mailbox %s: Mailbox deleted')

# doveadm batch: removed in 2.4.
HAVE_DOVEADM_BATCH = either(True, False)

# doveadm sync: 2.4 now and then loses the race with itself for the GUID of a mailbox that it has just made in a Maildir,
# says "You may want to run dsync again" and means it (exit code 2). The same happens from dbox to Maildir.
MAILDIR_SYNC_TRIES = either(1, 5)

# doveconf: 2.3 takes plugin {} as it is. 2.4 knows our settings and their types through the settings module.
DOVECONF_KNOWS_SETTINGS = either(False, True)
PLUGIN_SETTING = either('plugin {\n  %s\n}\n', '%s\n')

# Configuration files: 2.4 wants to be told which version they are for, and has other names for where mail is.
CONFIG_HEAD = either('', VERSIONS)
EXAMPLE_SAYS = either({'mail_location': 'lmdb:~/mail'}, {'mail_driver': 'lmdb', 'mail_path': '~/mail'})


def location_fields(driver, mail, index):
    """What the user database says: one field with 2.3, one for each setting with 2.4. The places are below the home."""
    return either({'mail': '%s:~/%s:INDEX=~/%s' % (driver, mail, index)},
                  {'mail_driver': driver, 'mail_path': '~/' + mail, 'mail_index_path': '~/' + index})


# fts: each line of Debian has one backend that keeps an index of its own. What it finds for another word, and where
# that word stands: Xapian leaves out accents, flatcurve has stemming.
FTS_PLUGIN = either('fts_xapian', 'fts_flatcurve')
FTS_CONFIG = either('''
plugin {
  fts = xapian
  fts_xapian = partial=3 full=20
}
''', '''
fts flatcurve {
}
language_tokenizers = generic email-address
language_filters = lowercase snowball
language en {
  default = yes
}
''')
FTS_FINDS = either(('Une t\u00eate.\r\n', 'tete', '=?utf-8?q?t=C3=AAte?='), ('He has a pony.\r\n', 'ponies', 'pony'))
