"""What lmdb is to reach: how many times better than the others it is to be in a row."""

BEST = 'best'
# In a row that isn't named below; less than 1 because that much is noise.
USUAL = {BEST: 0.95}
GOALS = {
    'LMTP, 1 connection, 1 user': {BEST: 1.5, 'maildir': 2},
    'LMTP, 1 connection, 50 users': {BEST: 1.5, 'maildir': 2},
    'LMTP, 16 connections, 1 user': {BEST: 1.3},
    'APPEND, 1 client, 1 user': {BEST: 1.5, 'maildir': 2},
    'APPEND, 16 clients, 1 user': {BEST: 1.3},
    'APPEND, 16 clients, 1 user, 2 ms': {'sdbox': 1.5},
    'MULTIAPPEND, 200 a command': {'mdbox': 1.3},
    'COPY all': {'mdbox': 1.5, 'maildir': 6},
    'MOVE all': {'mdbox': 1.5, 'maildir': 6},
    'MOVE one': {'sdbox': 1.5},
    'EXPUNGE all': {'mdbox': 1.2},
    'FETCH 1:* ENVELOPE, first': {'mdbox': 2, 'maildir': 8},
    'FETCH 1:* ENVELOPE, first, dropped caches': {'mdbox': 2, 'maildir': 8},
    'FETCH 1:* BODYSTRUCTURE, first': {'mdbox': 1.5},
    'FETCH 1:* BODYSTRUCTURE, first, dropped caches': {'mdbox': 1.5},
    'FETCH random bodies, dropped caches': {BEST: 1.3},
    'SELECT, index deleted': {BEST: 10},
    'SEARCH BODY, unindexed': {BEST: 1.2},
    'disk, blocks for each byte of mail': {'mdbox': 1},
}
# For rows that begin so
GROUPS = {
    # what its index costs once
    'SEARCH BODY, first, lmdb makes its index': {},
    'mixed, ': {'sdbox': 1.5, BEST: 0.95},
    'memory of ': {'sdbox': 1},
}

# Where the time goes in rows that begin so, for a report that misses a goal there
REASONS = {
    'LMTP, ': "The most part is the work of Dovecot's lmtp, which all formats share (see the processor time): the faster the "
              'disk flushes, the less the two flushes of a commit, in place of three or four, can win.',
    'APPEND, ': 'As with LMTP: the faster the disk flushes, the less fewer flushes can win.',
    'MULTIAPPEND, ': 'Messages are parsed for what is kept ready (ENVELOPE, BODYSTRUCTURE, MIME parts) and compressed while they '
                     'are saved; the others parse them at the first FETCH.',
    'FETCH 1:* RFC822.SIZE': 'The record of each message is read from the store, checked and decoded. Maildir has sizes in '
                             'file names that it holds in memory.',
    'FETCH 1:* ENVELOPE, first, dropped caches': 'Starts of messages lie between bodies in the store, and the kernel reads '
                                                 'around each page of the map that is missing; mdbox is read ahead as '
                                                 'one file.',
    'FETCH of new mail, ': "The others put this into Dovecot's cache as they save, with every delivery. lmdb does nothing for "
                           'the index then, and reads and decompresses the start of each message instead.',
    'SEARCH SUBJECT, unindexed': "The others find the field in Dovecot's cache, where the first such search put it; lmdb "
                                 'reads and decompresses the start of each message. With its index it reads neither.',
    'SEARCH HEADER, unindexed': "As with SUBJECT: the others find the field in Dovecot's cache.",
    'SEARCH TEXT, unindexed': 'Dovecot parses and decodes all messages, which takes nearly all of the time in every format.',
    'FETCH random bodies': 'Before the body the pages that lead to it have to be read: with few messages that is as much as '
                           'the inode of a file, with many it is less.',
    'login, ': 'A process for each session loads the plugin, LMDB and LZ4.',
    'SELECT, index deleted': 'In a small mailbox opening the store is most of it; see the rows at 100,000 messages.',
    'SELECT, warm': "Opening LMDB's environment: some 45 system calls, and page faults in its code, map and lock table.",
    'SELECT, dropped caches': "The store's directory and three of its files are read before the index.",
    'SELECT, ': "Opening LMDB's environment, which the others don't have.",
    'MOVE one': 'One commit with two flushes, as sdbox has three: the faster the disk flushes, the less that can win.',
    'EXPUNGE all': 'Records are deleted, counted and listed for the views in one commit; mdbox leaves the mail to a purge.',
    'mixed, ': 'Mostly the work of the imap processes, which all formats share.',
}


def reason(row):
    """Why a row's goal may be missed; '' if that isn't known."""
    return next((text for begin, text in REASONS.items() if row.startswith(begin)), '')


def of(row):
    for begin, goals in GROUPS.items():
        if row.startswith(begin):
            return {'sdbox': 1} if row.endswith('p99') else goals
    return {**USUAL, **GOALS.get(row, {})}


def missed(row, ours, others):
    """[(against, goal, reached)] of the goals that a Row doesn't reach, as far as these formats were measured."""
    found = []
    for against, goal in of(row.name).items():
        ratio = row.ratio(ours, others if against == BEST else [against])
        if ratio is not None and ratio < goal:
            found.append((against, goal, ratio))
    return found
