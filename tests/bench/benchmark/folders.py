"""Folders: many of them, with children."""

from .measure import Operation, Sequence, duration


class Folders(Sequence):
    """A tree with 19 children to each parent is made, listed, renamed as a whole and deleted, children first."""
    group = 'folders'
    width = 20

    def names(self, top):
        """Parents before their children."""
        names = []
        for number in range(self.sizes.folders // self.width):
            parent = '%s/p%d' % (top, number)
            names += [parent] + ['%s/c%d' % (parent, child) for child in range(self.width - 1)]
        return names

    def prepare(self, target):
        self.fill(target, self.user('folders'), 'INBOX', range(1))

    def rows(self, number):
        top, moved = 'tree%d' % number, 'moved%d' % number
        return (
            ('CREATE', ['CREATE "%s"' % name for name in self.names(top)]),
            ('LIST', ['LIST "" *'] * 3),
            ('LIST-STATUS, empty folders', ['LIST "" * RETURN (STATUS (MESSAGES UNSEEN UIDNEXT))'] * 3),
            ('RENAME of the tree', ['RENAME %s %s' % (top, moved)]),
            ('DELETE', ['DELETE "%s"' % name for name in reversed(self.names(moved))]),
        )

    def measure(self, target, number):
        return self.play_rows(target, self.user('folders'), number)


class ManyFolders(Operation):
    """LIST-STATUS where each folder has had mail."""
    group = 'folders'

    def prepare(self, target):
        if not self.sizes.many_folders:
            return
        user = self.unsynced('many')
        self.fill(target, user, 'INBOX', range(1))

        def build(script):
            client = script.connection()
            client.login(user)
            for number in range(self.sizes.many_folders):
                name = 'f%d/c%d' % (number // 10, number)
                client.imap('CREATE ' + name)
                client.append(name, [number])
            client.logout()

        self.play(target, 'build', build)

    def list_status(self, script, action):
        with self.company(script, action):
            client = script.connection()
            client.login(self.unsynced('many'))
            script.barrier(action)
            client.imap('LIST "" * RETURN (STATUS (MESSAGES UNSEEN UIDNEXT))', label='list')
            client.logout()

    def measure(self, target, number):
        for kind, action in self.run.caches() if self.sizes.many_folders else ():
            played = self.play(target, kind, lambda script: self.list_status(script, action))
            yield 'LIST-STATUS, folders with mail, ' + kind, duration(played, 'list')


OPERATIONS = (Folders, ManyFolders)
