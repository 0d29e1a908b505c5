"""Clients that stop reading or writing: nobody waits for them, and they pin nothing."""

import os
import re
import signal
import socket

from harness import ServerTest, message, message_of_size
from harness.lmdb import store_file


MEGABYTE = 1024 * 1024


class SlowClient(ServerTest):
    config = '''
plugin {
  lmdb_expunge_grace = 0s
}
'''

    def read_on(self, imap, tag):
        imap.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        return imap.wait(tag)

    def stalled_fetch(self, command):
        """A session that asks for much and doesn't read; returns it with the command's tag."""
        imap = self.imap()
        imap.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        imap.select()
        return imap, imap.send(command)

    def bytes_written(self, connection):
        """By the process that serves it."""
        with open('/proc/%d/io' % self.server.pid_of(connection)) as file:
            return int(re.search(r'wchar: (\d+)', file.read()).group(1))

    def check_stalled_fetch(self, data):
        """Others deliver and expunge while a FETCH of 20 MB stands still; then it goes on, with the right bytes."""
        writer = self.imap()
        for start in range(0, len(data), 20):
            writer.append_many('INBOX', data[start:start + 20])
        self.assertGreaterEqual(sum(map(len, data)), 20 * MEGABYTE)
        reader, tag = self.stalled_fetch('UID FETCH 1:* BODY.PEEK[]')
        writer.create('Other')
        writer.select('Other')
        sizes = []
        for round_number in range(24):
            writer.append_many('Other', [message_of_size(200000, 1000 + number) for number in range(10)])
            self.deliver(message())
            writer.store('1:*', r'+FLAGS.SILENT (\Deleted)')
            writer.ok('EXPUNGE')
            if self.options.format == 'lmdb':
                sizes.append(os.path.getsize(store_file(self.home())))
        self.assertLess(self.bytes_written(reader), 15 * MEGABYTE, 'the FETCH did not stand still')
        result = self.read_on(reader, tag)
        self.assertEqual(result.status, 'OK')
        found = {items['UID']: items['BODY[]'] for items in result.fetched().values()}
        self.assertEqual(len(found), len(data))
        for number, item in enumerate(data, 1):
            self.assertTrue(found[number] == item, number)
        if sizes:
            # 48 MB went through; without reuse of pages the file would have grown by as much.
            self.assertLess(sizes[-1], sizes[0] + 24 * MEGABYTE, sizes)
        reader.ok('NOOP')

    def test_stalled_fetch_of_many(self):
        self.check_stalled_fetch([message_of_size(200000, number) for number in range(106)])

    def test_stalled_fetch_of_one(self):
        self.check_stalled_fetch([message_of_size(20 * MEGABYTE)])

    def test_stalled_fetch_of_expunged(self):
        """What the slow session reads is expunged meanwhile: it gets the right bytes or hears that they are gone."""
        writer = self.imap()
        data = [message_of_size(200000, number) for number in range(40)]
        writer.append_many('INBOX', data[:20])
        writer.append_many('INBOX', data[20:])
        reader, tag = self.stalled_fetch('UID FETCH 1:* BODY.PEEK[]')
        writer.select()
        writer.store('1:*', r'+FLAGS.SILENT (\Deleted)')
        writer.ok('EXPUNGE')
        for _ in range(10):
            self.deliver(message_of_size(100000))
        if self.options.format != 'lmdb':
            self.allow_log('.')
        try:
            result = self.read_on(reader, tag)
        except EOFError:
            return
        self.assertIn(result.status, ('OK', 'NO'))
        for items in result.fetched().values():
            if items.get('BODY[]'):
                self.assertTrue(items['BODY[]'] == data[items['UID'] - 1], items['UID'])

    def test_stalled_append(self):
        """Clients that stop in the midst of what they save: nobody is delayed, and later all goes on."""
        stalled = self.imap()
        stalled.send_raw(b'x1 APPEND INBOX {5000000+}\r\nSubject: slow\r\n\r\n' + b'x' * 1000000)
        # So large that a part is in the store already.
        large, sent = self.imap(), message_of_size(20 * MEGABYTE)
        large.send_raw(b'x1 APPEND INBOX {%d+}\r\n' % len(sent))
        large.sock.sendall(sent[:15 * MEGABYTE])
        multi = self.imap()
        multi.send_raw(b'x1 APPEND INBOX {11+}\r\na: b\r\n\r\nc\r\n {5000+}\r\nSubject: slow\r\n')
        lmtp = self.lmtp()
        lmtp.begin([self.user])
        lmtp.send_data(b'Subject: slow\r\n\r\n' + b'x' * 100000)
        imap = self.imap()
        imap.select()
        for number in range(20):
            imap.append('INBOX', message())
            self.deliver(message())
            imap.store(str(number + 1), r'+FLAGS (\Seen)')
        imap.create('Other')
        imap.ok('MOVE 1:5 Other')
        imap.store('6:9', r'+FLAGS (\Deleted)')
        imap.ok('EXPUNGE')
        self.assertEqual(len(imap.uids()), 31)
        lmtp.sock.sendall(b'\r\n.\r\n')
        self.assertEqual(lmtp.reply()[0], 250)
        stalled.send_raw(b'x' * (5000000 - 1000000 - len(b'Subject: slow\r\n\r\n')) + b'\r\n')
        self.assertEqual(stalled.wait('x1').status, 'OK')
        large.sock.sendall(sent[15 * MEGABYTE:] + b'\r\n')
        self.assertEqual(large.wait('x1').status, 'OK')
        imap.ok('NOOP')
        self.assertEqual(len(imap.uids()), 34)
        self.assertTrue(imap.body(imap.uids()[-1]) == sent)

    def test_stopped_process(self):
        """A session whose process stands still as a whole, in the middle of its FETCH."""
        writer = self.imap()
        writer.append_many('INBOX', [message_of_size(100000, number) for number in range(20)])
        reader, tag = self.stalled_fetch('UID FETCH 1:* BODY.PEEK[]')
        reader.sock.recv(1000)
        reader_pid = self.server.pid_of(reader)
        os.kill(reader_pid, signal.SIGSTOP)
        try:
            for _ in range(5):
                self.deliver(message())
                writer.append('INBOX', message())
            self.assertEqual(writer.status('INBOX')['MESSAGES'], 30)
        finally:
            os.kill(reader_pid, signal.SIGCONT)
        reader.close()
