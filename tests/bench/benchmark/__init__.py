"""Dovecot with Maildir, sdbox, mdbox and lmdb: the same mail, the same operations, in alternation."""
