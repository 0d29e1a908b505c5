"""A look at LMDB's files from outside."""

import os
import struct

META_TXNID = 144
META_PAGE_SIZE = 40


def transaction_id(path):
    """Number of the last transaction committed to a data.mdb."""
    with open(path, 'rb') as file:
        head = file.read(4096)
        page_size, = struct.unpack_from('I', head, META_PAGE_SIZE)
        file.seek(page_size)
        other = file.read(4096)
    return max(struct.unpack_from('Q', page, META_TXNID)[0] for page in (head, other))


def store_file(home, root='mail', name='data.mdb'):
    return os.path.join(home, root, 'store', name)
