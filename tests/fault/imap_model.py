"""What a mailbox has to contain, and what a client is entitled to believe of it."""

from harness.imap import number_set


class Message:
    def __init__(self, subject, flags):
        self.subject = subject
        self.flags = set(flags)
        # Greatest MODSEQ seen, and whether the flags changed since.
        self.modseq = 0
        self.changed = True


class Folder:
    """The truth, as it follows from the commands and their answers."""

    def __init__(self):
        self.uidvalidity = None
        self.messages = {}
        self.last_uid = 0
        # Greatest HIGHESTMODSEQ or MODSEQ that anybody saw
        self.highest = 0

    def add(self, uid, subject, flags):
        assert uid > self.last_uid, 'UID %d after UID %d' % (uid, self.last_uid)
        self.last_uid = uid
        self.messages[uid] = Message(subject, flags)

    def set_flags(self, uid, flags):
        message = self.messages[uid]
        if message.flags != flags:
            message.flags = set(flags)
            message.changed = True

    def remove(self, uids):
        for uid in uids:
            del self.messages[uid]

    def uids(self):
        return sorted(self.messages)

    def with_flag(self, flag):
        return [uid for uid in self.uids() if flag in self.messages[uid].flags]

    def see_highest(self, highest):
        assert highest >= self.highest, 'HIGHESTMODSEQ fell from %d to %d' % (self.highest, highest)
        self.highest = highest

    def see_modseq(self, uid, modseq):
        message = self.messages[uid]
        if message.changed:
            assert modseq > message.modseq, \
                'UID %d was changed, and its MODSEQ went from %d to %d' % (uid, message.modseq, modseq)
        else:
            assert modseq >= message.modseq, \
                'MODSEQ of UID %d fell from %d to %d' % (uid, message.modseq, modseq)
        message.modseq = modseq
        message.changed = False


class View:
    """What one session was told of the mailbox that it has selected: sequence numbers, UIDs, flags."""

    def __init__(self, uidvalidity, count):
        self.uidvalidity = uidvalidity
        # UIDs in order; None for a message of which only EXISTS told.
        self.uids = [None] * count
        self.flags = {}
        self.highest = 0

    def apply(self, lines):
        """Untagged responses, in order."""
        for line in lines:
            if line.kind == 'EXISTS':
                assert line.num >= len(self.uids), 'EXISTS went from %d to %d' % (len(self.uids), line.num)
                self.uids += [None] * (line.num - len(self.uids))
            elif line.kind == 'EXPUNGE':
                self.flags.pop(self.uids.pop(line.num - 1), None)
            elif line.kind == 'VANISHED':
                self.vanish(number_set(line.args[-1]), isinstance(line.args[0], list))
            elif line.kind == 'FETCH':
                self.fetch(line)

    def vanish(self, uids, earlier):
        for uid in uids:
            if uid in self.uids:
                self.uids.remove(uid)
                self.flags.pop(uid, None)
            elif not earlier:
                del self.uids[self.unknown_position(uid)]

    def unknown_position(self, uid):
        """Where a message may stand of which only EXISTS told: between the known UIDs around its own."""
        number = 1 + max([number for number, known in enumerate(self.uids) if known and known < uid], default=-1)
        assert number < len(self.uids) and self.uids[number] is None, 'VANISHED %d, which was not there' % uid
        return number

    def fetch(self, line):
        assert 1 <= line.num <= len(self.uids), 'FETCH %d of %d messages' % (line.num, len(self.uids))
        items = line.fetch_items()
        uid = items.get('UID')
        if uid is not None:
            known = self.uids[line.num - 1]
            assert known in (None, uid), 'message %d had UID %s and has UID %d' % (line.num, known, uid)
            self.uids[line.num - 1] = uid
        uid = self.uids[line.num - 1]
        if uid is not None and 'FLAGS' in items:
            self.flags[uid] = items['FLAGS'] - {'\\Recent'}
