"""POP3, on top of poplib."""

import contextlib
import poplib

TIMEOUT = 60
poplib._MAXLINE = 1 << 20


class Pop3(poplib.POP3):
    def __init__(self, port, user):
        super().__init__('127.0.0.1', port, timeout=TIMEOUT)
        self.user(user)
        self.pass_('pass')

    def uidls(self):
        """Message number -> UIDL."""
        return {int(line.split()[0]): line.split()[1].decode() for line in self.uidl()[1]}

    def sizes(self):
        """Message number -> size."""
        return {int(line.split()[0]): int(line.split()[1]) for line in self.list()[1]}

    def message(self, number):
        return b''.join(line + b'\r\n' for line in self.retr(number)[1])

    def close(self):
        with contextlib.suppress(OSError):
            super().close()
