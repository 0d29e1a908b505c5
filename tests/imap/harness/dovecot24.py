"""What the tests and this harness say in the language of Dovecot 2.3, in that of 2.4: configuration and arguments."""

import re

VERSIONS = 'dovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0\n'

BASE_CONFIG = '''
base_dir = {dir}/run
state_dir = {dir}/state
mail_temp_dir = {dir}/tmp
log_path = {dir}/log
log_timestamp = "%Y-%m-%d %H:%M:%S "
instance_name = tests
hostname = mail.example.org
postmaster_address = postmaster@example.org
listen = 127.0.0.1
protocols {{
  imap = yes
  pop3 = yes
  lmtp = yes
}}
ssl = no
auth_allow_cleartext = yes
auth_mechanisms {{
  plain = yes
}}
auth_failure_delay = 0
mail_uid = {uid}
mail_gid = {gid}
first_valid_uid = 0
first_valid_gid = 0
mail_max_userip_connections = 1000
mail_fsync = {fsync}
lda_mailbox_autocreate = yes
passdb static {{
  password = pass
}}
userdb static {{
  fields {{
    uid = {uid}
    gid = {gid}
    home = {dir}/home/%{{user}}{userdb_fields}
  }}
  allow_all_users = yes
}}
# Here 2.3 has other defaults, or 2.4.1 has.
mailbox_list_drop_noselect = no
lazy_expunge_only_last_instance = no
lmtp_user_concurrency_limit = unlimited
mail_attachment_detection_options =
{later}
maildir {{
  mailbox_list_layout = fs
}}
namespace inbox {{
  inbox = yes
  separator = /
}}
service imap-login {{
  inet_listener imap {{
    port = {imap_port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {pop3_port}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = {lmtp_port}
  }}
}}
service imap {{
  process_limit = 500
}}
service auth {{
  unix_listener auth-userdb {{
    mode = 0666
  }}
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
'''

# Settings that came after 2.4.1.
LATER = {(2, 4, 3): 'mailbox_list_normalize_names_to_nfc = no'}

# Settings with the same value under another name.
RENAMED = {
    'lazy_expunge': 'lazy_expunge_mailbox',
    'zlib_save': 'mail_compress_write_method',
    'zlib_save_level': 'compress_gz_level',
    'acl': 'acl_driver',
    'quota_grace': 'quota_storage_grace',
}
# Settings that aren't there any more, and aren't needed.
GONE = {'quota_vsizes'}
PLUGINS = {'zlib': 'mail_compress', 'imap_zlib': None}
# Sections that aren't there any more.
SECTIONS_GONE = {'service ipc'}

LOCATION_KEYS = {
    'INDEX': 'mail_index_path',
    'INDEXPVT': 'mail_index_private_path',
    'CONTROL': 'mail_control_path',
    'LAYOUT': 'mailbox_list_layout',
}
# A location in a namespace has nothing of the one outside.
LOCATION_RESET = ('mail_index_path', 'mail_index_private_path', 'mail_control_path')

VARIABLES = {'u': '%{user}', 'n': '%{user|username}', 'd': '%{user|domain}', 'h': '%{home}'}
OWNER_VARIABLES = {'u': '%{owner_user}', 'n': '%{owner_user|username}', 'h': '%{owner_home}'}
UIDL_VARIABLES = {'g': '%{guid}', 'f': '%{filename}', 'u': '%{uid}', 'v': '%{uidvalidity}'}


def base_config(version, **values):
    later = '\n'.join(line for since, line in LATER.items() if version >= since)
    return BASE_CONFIG.format(later=later, **values)


def variables(value, short=VARIABLES):
    """%u and %%u (what a shared namespace fills in) as %{user} and %{owner_user}."""
    value = re.sub('%%([a-z])', lambda match: OWNER_VARIABLES[match.group(1)], value)
    return re.sub('%([a-z])', lambda match: short[match.group(1)], value)


def location(value, nested=False):
    """The settings that a mail_location has become, as pairs."""
    driver, _, rest = value.partition(':')
    root, *options = rest.split(':')
    found = {'mail_driver': driver, 'mail_path': variables(root)}
    if nested:
        found.update((name, '') for name in LOCATION_RESET)
    for option in options:
        key, _, setting = option.partition('=')
        if (driver, option) != ('maildir', 'LAYOUT=fs'):
            found[LOCATION_KEYS[key]] = variables(setting)
    return list(found.items())


def plugin_lines(value, indent=''):
    names = [PLUGINS.get(name, name) for name in value.split() if name != '$mail_plugins']
    lines = ['%s  %s = yes' % (indent, name) for name in names if name]
    return [indent + 'mail_plugins {'] + lines + [indent + '}'] if lines else []


def file_dict(value):
    driver, _, path = value.partition(':')
    assert driver == 'file', value
    return 'dict file {\n    path = %s\n  }' % variables(path)


class Quota:
    """The quota_ settings of plugin {} are a root of its own, and what a rule adds to a mailbox belongs to that."""

    def __init__(self):
        self.name = None
        self.settings = []
        self.mailboxes = {}

    def rule(self, value):
        mailbox, _, limit = value.partition(':')
        key, _, size = limit.partition('=')
        key = {'storage': 'quota_storage_size', 'messages': 'quota_message_count'}[key]
        if mailbox == '*':
            self.settings.append((key, size))
        else:
            assert size.startswith('+') and key == 'quota_storage_size', value
            self.mailboxes[mailbox] = size[1:]

    def lines(self):
        if self.name is None:
            return []
        lines = ['quota "%s" {' % self.name] + ['  %s = %s' % pair for pair in self.settings] + ['}']
        for mailbox, size in self.mailboxes.items():
            lines += ['namespace inbox {', '  mailbox %s {' % mailbox, '    quota_storage_extra = ' + size, '  }', '}']
        return lines


class Translation:
    def __init__(self):
        self.lines = []
        self.sections = []
        self.quota = Quota()

    def add(self, key, value):
        indent = '  ' * len([name for name in self.sections if name != 'plugin'])
        self.lines.append('%s%s =%s' % (indent, key, ' ' + value if value else ''))

    def begin(self, name):
        if name != 'plugin':
            self.lines.append('  ' * len(self.sections) + name + ' {')
        self.sections.append(name)

    def end(self):
        if self.sections.pop() != 'plugin':
            self.lines.append('  ' * len(self.sections) + '}')

    def plugin_setting(self, key, value):
        """A setting of plugin {} that isn't just called otherwise; returns whether it is one."""
        if key == 'quota':
            driver, _, self.quota.name = value.partition(':')
            self.quota.settings.append(('quota_driver', driver))
        elif re.fullmatch(r'quota_rule\d*', key):
            self.quota.rule(value)
        elif key == 'acl_shared_dict':
            self.lines += ['acl_sharing_map {', '  ' + file_dict(value), '}']
        elif key == 'sieve':
            active = re.fullmatch('file:.*;active=(.*)', value).group(1)
            self.lines += ['sieve_script personal {', '  driver = file', '  path = ' + active, '}']
        elif key == 'fts':
            # there has to be a language, whether it matters or not
            self.lines += ['fts %s {' % value, '}', 'language en {', '  default = yes', '}']
        elif key == 'fts_decoder':
            self.lines += ['fts_decoder_driver = script', 'fts_decoder_script_socket_path = ' + value]
        elif key == 'sieve_extensions':
            self.lines += ['sieve_extensions {'] + ['  %s = yes' % name.lstrip('+') for name in value.split()] + ['}']
        else:
            return False
        return True

    def setting(self, key, value):
        section = self.sections[-1].split()[0] if self.sections else None
        if key == 'mail_plugins':
            self.lines += plugin_lines(value, '  ' * len(self.sections))
        elif key in ('location', 'mail_location'):
            for pair in location(value, nested=section == 'namespace'):
                self.add(*pair)
        elif key == 'mail_attribute_dict':
            self.lines += ['mail_attribute {', '  ' + file_dict(value), '}']
        elif key == 'pop3_uidl_format':
            self.add(key, variables(value, UIDL_VARIABLES))
        elif section == 'namespace' and key == 'prefix':
            self.add(key, value.replace('%%u', '$user'))
        elif section == 'plugin' and self.plugin_setting(key, value):
            pass
        elif key not in GONE:
            key = RENAMED.get(key, key)
            (self.quota.settings.append if key.startswith('quota_') else lambda pair: self.add(*pair))(
                (key, variables(value)))

    def text(self, config):
        skipped = 0
        for line in config.splitlines():
            line = line.strip()
            if line == '' or line.startswith('#'):
                continue
            if line.endswith('{'):
                name = line[:-1].strip()
                if skipped or name in SECTIONS_GONE:
                    skipped += 1
                else:
                    self.begin(name)
            elif line == '}':
                if skipped:
                    skipped -= 1
                else:
                    self.end()
            elif not skipped:
                key, _, value = line.partition('=')
                self.setting(key.strip(), value.strip())
        return '\n'.join(self.lines + self.quota.lines()) + '\n'


def config(text):
    """Configuration for 2.3 as configuration for 2.4."""
    return Translation().text(text)


def options(settings):
    """Values of -o."""
    found = []
    for setting in settings:
        key, _, value = setting.partition('=')
        key = key.rpartition('/')[2]
        pairs = location(value) if key == 'mail_location' else [(RENAMED.get(key, key), value)]
        found += ['%s=%s' % pair for pair in pairs]
    return found


def arguments(args):
    """Arguments of doveadm: a second location is <driver>:<path>, what else it has goes to -p."""
    found = []
    for arg in args:
        if re.match(r'(lmdb|maildir|[sm]dbox):\S*:', arg):
            (_, driver), (_, path), *others = location(arg)
            for pair in others:
                found += ['-p', '%s=%s' % pair]
            if driver == 'maildir':
                found += ['-p', 'mailbox_list_layout=fs']
            arg = '%s:%s' % (driver, path)
        found.append(arg)
    return found
