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
