"""An LMTP client that reads one reply per recipient."""

import contextlib
import re
import socket

TIMEOUT = 60


class Lmtp:
    def __init__(self, port):
        self.sock = socket.create_connection(('127.0.0.1', port), timeout=TIMEOUT)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.sock.makefile('rb')
        self.greeting = self.reply()
        self.command('LHLO client.example.org', 250)

    def reply(self):
        """(code, text) of one reply."""
        lines = []
        while True:
            line = self.file.readline()
            if not line:
                raise EOFError('LMTP connection closed by the server')
            lines.append(line.decode('utf-8', 'replace').rstrip())
            if line[3:4] != b'-':
                return int(line[:3]), '\n'.join(lines)

    def command(self, text, code=None):
        self.sock.sendall(text.encode() + b'\r\n')
        reply = self.reply()
        if code is not None and reply[0] != code:
            raise AssertionError('%s: %r' % (text, reply))
        return reply

    def begin(self, recipients, sender='sender@example.org'):
        self.command('MAIL FROM:<%s>' % sender, 250)
        for recipient in recipients:
            self.command('RCPT TO:<%s>' % recipient, 250)
        self.command('DATA', 354)

    def send_data(self, data):
        self.sock.sendall(re.sub(rb'(?m)^\.', b'..', data))

    def deliver(self, recipients, data, sender='sender@example.org'):
        """Returns the reply to each recipient."""
        if isinstance(recipients, str):
            recipients = [recipients]
        self.begin(recipients, sender)
        self.send_data(data if data.endswith(b'\r\n') else data + b'\r\n')
        self.sock.sendall(b'.\r\n')
        return [self.reply() for _ in recipients]

    def ok(self, recipients, data, **keywords):
        replies = self.deliver(recipients, data, **keywords)
        if any(code != 250 for code, _ in replies):
            raise AssertionError('LMTP: %r' % replies)

    def close(self):
        with contextlib.suppress(OSError):
            self.file.close()
            self.sock.close()
