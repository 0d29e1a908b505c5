"""Makes of a store one that a newer version wrote: the counters' record with a higher format, its checksum right."""

import struct

MASK = (1 << 64) - 1
SECRET = bytes.fromhex(
    'b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221'
    'b8084674f743248ee03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8')
KEY = b'\0meta'
# Version, three bytes and checksum of every record; then the record: format, GUID, six counters, UIDVALIDITY.
OVERHEAD = 8
SIZE = 4 + 16 + 6 * 8 + 4


def u64(data, pos=0):
    return int.from_bytes(data[pos:pos + 8], 'little')


def fold(one, two):
    product = one * two
    return (product ^ product >> 64) & MASK


def rotated(value, count):
    return (value << count | value >> (64 - count)) & MASK


def xxh3_short(data, seed):
    """XXH3-64 of 4 to 8 bytes."""
    low = struct.pack('<I', seed & 0xffffffff)
    seed ^= int.from_bytes(low, 'big') << 32
    first = int.from_bytes(data[:4], 'little')
    last = int.from_bytes(data[-4:], 'little')
    keyed = (last + (first << 32)) ^ ((u64(SECRET, 8) ^ u64(SECRET, 16)) - seed & MASK)
    keyed ^= rotated(keyed, 49) ^ rotated(keyed, 24)
    keyed = keyed * 0x9fb21c651e98df25 & MASK
    keyed ^= (keyed >> 35) + len(data)
    keyed = keyed * 0x9fb21c651e98df25 & MASK
    return keyed ^ keyed >> 28


def xxh3_medium(data, seed):
    """XXH3-64 of 65 to 96 bytes."""
    size = len(data)
    total = size * 0x9e3779b185ebca87
    for pos, secret in ((32, 64), (size - 48, 80), (16, 32), (size - 32, 48), (0, 0), (size - 16, 16)):
        total += fold(u64(data, pos) ^ (u64(SECRET, secret) + seed & MASK),
                      u64(data, pos + 8) ^ (u64(SECRET, secret + 8) - seed & MASK))
    total &= MASK
    total ^= total >> 37
    total = total * 0x165667919e3779f9 & MASK
    return total ^ total >> 32


def checksum(head, data):
    seed = xxh3_short(KEY, int.from_bytes(head, 'little'))
    return (xxh3_medium(data, seed) & 0xffffffff).to_bytes(4, 'big')


def records(content):
    """Positions of the counters' record: the present one and those of pages that aren't in use any more."""
    pos = content.find(KEY)
    while pos >= 0:
        start = pos + len(KEY)
        head, data = content[start:start + 4], content[start + OVERHEAD:start + OVERHEAD + SIZE]
        if len(data) == SIZE and content[start + 4:start + OVERHEAD] == checksum(head, data):
            yield start
        pos = content.find(KEY, pos + 1)


def raise_format(path):
    """The number of the format, which is at the beginning of the record."""
    with open(path, 'rb') as file:
        content = bytearray(file.read())
    found = list(records(bytes(content)))
    for start in found:
        head = content[start:start + 4]
        data = content[start + OVERHEAD:start + OVERHEAD + SIZE]
        data[:4] = (int.from_bytes(data[:4], 'big') + 1).to_bytes(4, 'big')
        content[start + 4:start + OVERHEAD] = checksum(head, bytes(data))
        content[start + OVERHEAD:start + OVERHEAD + SIZE] = data
    with open(path, 'r+b') as file:
        file.write(content)
    return len(found)


def raise_record_version(path):
    """The version that every record begins with."""
    with open(path, 'rb') as file:
        content = bytearray(file.read())
    found = list(records(bytes(content)))
    for start in found:
        content[start] += 1
        head = bytes(content[start:start + 4])
        content[start + 4:start + OVERHEAD] = checksum(head, bytes(content[start + OVERHEAD:start + OVERHEAD + SIZE]))
    with open(path, 'r+b') as file:
        file.write(content)
    return len(found)
