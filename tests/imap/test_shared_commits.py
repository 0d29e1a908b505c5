"""Deliveries and APPENDs that wait for one another become one commit."""

import contextlib
import fcntl
import os
import struct

from harness import Literal, ServerTest, message, only
from harness.server import wait_for

LEADER = 1
# The states of the slots (doc/format.md) stand after 64 bytes of store.slots; in these a request waits.
SLOTS, STATES_OFFSET, WAITING = 256, 64, (2, 3)
F_OFD_SETLK = 37
# Where LMDB's two meta pages have the number of the last transaction
TRANSACTION_OFFSETS = (144, 4096 + 144)
CONNECTIONS = 16


@only('lmdb')
class SharedCommits(ServerTest):
    def setUp(self):
        super().setUp()
        self.deliver(message('first'))
        self.store = os.path.join(self.home(), 'mail', 'store')

    def transactions(self):
        with open(os.path.join(self.store, 'data.mdb'), 'rb') as file:
            data = file.read(2 * 4096)
        return max(struct.unpack_from('<Q', data, offset)[0] for offset in TRANSACTION_OFFSETS)

    def waiting(self):
        try:
            with open(os.path.join(self.store, 'store.slots'), 'rb') as file:
                data = file.read(4096)
        except FileNotFoundError:
            return 0
        if len(data) < 4096:
            return 0
        return sum(state in WAITING for state in struct.unpack_from('<%dI' % SLOTS, data, STATES_OFFSET))

    @contextlib.contextmanager
    def writing(self):
        """As long as another process writes."""
        with open(os.path.join(self.store, 'store.lock'), 'r+b') as file:
            fcntl.fcntl(file, F_OFD_SETLK, struct.pack('hhlli4x', fcntl.F_WRLCK, os.SEEK_SET, LEADER, 1, 0))
            yield

    def check_one_commit(self, send, receive):
        before = self.transactions()
        with self.writing():
            send()
            wait_for(lambda: self.waiting() == CONNECTIONS, 'all to wait')
            self.assertEqual(self.transactions(), before)
        receive()
        self.assertEqual(self.transactions(), before + 1)
        imap = self.imap()
        imap.select()
        self.assertEqual(imap.uids(), list(range(1, CONNECTIONS + 2)))
        subjects = [imap.body(uid, 'BODY.PEEK[HEADER.FIELDS (Subject)]') for uid in imap.uids()]
        self.assertEqual(len(set(subjects)), CONNECTIONS + 1)

    def test_deliveries(self):
        connections = [self.lmtp() for _ in range(CONNECTIONS)]

        def send():
            for number, lmtp in enumerate(connections):
                lmtp.begin([self.user])
                lmtp.send_data(message('m%d' % number))
                lmtp.sock.sendall(b'.\r\n')

        self.check_one_commit(send, lambda: [self.assertEqual(lmtp.reply()[0], 250) for lmtp in connections])

    def test_appends(self):
        connections = [self.imap() for _ in range(CONNECTIONS)]
        tags = []

        def send():
            for number, imap in enumerate(connections):
                tags.append(imap.send('APPEND INBOX (key%d) ' % number, Literal(message('m%d' % number))))

        def receive():
            for number, (imap, tag) in enumerate(zip(connections, tags)):
                result = imap.wait(tag)
                self.assertEqual(result.status, 'OK', result)
                numbers[int(result.code[2])] = number

        numbers = {}
        self.check_one_commit(send, receive)
        # Each was told its own UID.
        imap = self.imap()
        imap.select()
        flags = imap.flags()
        self.assertEqual(set(numbers), set(range(2, CONNECTIONS + 2)))
        for uid, number in numbers.items():
            self.assertIn('key%d' % number, flags[uid])
            self.assertIn(b'Subject: m%d\r\n' % number, imap.body(uid))
