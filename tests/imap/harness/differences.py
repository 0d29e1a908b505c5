"""Where the lines of Dovecot differ with every mail format, so that a test can't expect the same of both."""

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
