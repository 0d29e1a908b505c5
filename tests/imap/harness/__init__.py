"""Whole-server tests: a private Dovecot on 127.0.0.1 and small clients to talk to it."""

from . import differences
from .case import ServerTest, about_memory, only
from .imap import Imap, Literal, Literal8, quote
from .message import message, message_of_size
from .server import Server, mail_location

__all__ = ['Imap', 'Literal', 'Literal8', 'Server', 'ServerTest', 'about_memory', 'differences', 'mail_location',
           'message', 'message_of_size', 'only', 'quote']
