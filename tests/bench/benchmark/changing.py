"""Mail that is changed: STORE, COPY, MOVE, EXPUNGE."""

from .measure import Sequence


class Changing(Sequence):
    """All messages with one command, and one message a command."""
    group = 'change'

    def prepare(self, target):
        self.fill(target, self.user('changer'), 'INBOX', range(self.sizes.messages))

    def rows(self, number):
        ones = range(1, self.sizes.singles + 1)
        copy, moved, other = ('%s%d' % (name, number) for name in ('copy', 'moved', 'other'))
        sign = '+-'[number % 2]
        return (
            ('', ['CREATE ' + copy, 'CREATE ' + moved, 'CREATE ' + other, 'SELECT INBOX']),
            ('STORE all', ['STORE 1:* %sFLAGS.SILENT (\\Seen)' % sign]),
            ('STORE one', ['STORE %d %sFLAGS (\\Flagged)' % (n, sign) for n in ones]),
            ('COPY all', ['COPY 1:* ' + copy]),
            ('COPY one', ['COPY %d %s' % (n, other) for n in ones]),
            ('', ['SELECT ' + copy]),
            ('MOVE one', ['UID MOVE %d %s' % (n, other) for n in ones]),
            ('MOVE all', ['MOVE 1:* ' + moved]),
            ('', ['SELECT ' + moved]),
            ('EXPUNGE one', [('UID STORE %d +FLAGS.SILENT (\\Deleted)' % n, 'UID EXPUNGE %d' % n) for n in ones]),
            ('', ['STORE 1:* +FLAGS.SILENT (\\Deleted)']),
            ('EXPUNGE all', ['EXPUNGE']),
            ('', ['SELECT INBOX', 'DELETE ' + copy, 'DELETE ' + moved, 'DELETE ' + other]),
        )

    def measure(self, target, number):
        return self.play_rows(target, self.user('changer'), number)


OPERATIONS = (Changing,)
