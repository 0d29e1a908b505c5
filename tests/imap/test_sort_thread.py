"""SORT and THREAD."""

from harness import ServerTest, message
from harness.imap import text_of


def letter(subject, sender, day, size=10, message_id=None, references=None, to='x@example.org', cc=None):
    extra = ''
    if references:
        extra += 'References: %s\r\n' % ' '.join('<%s>' % name for name in references)
        extra += 'In-Reply-To: <%s>\r\n' % references[-1]
    if cc:
        extra += 'Cc: %s\r\n' % cc
    return message(subject, 'x' * size + '\r\n', sender=sender, to=to, message_id=message_id, extra=extra,
                   date='%d Jan 2020 10:00:00 +0000' % day)


class Sort(ServerTest):
    def setUp(self):
        super().setUp()
        self.client = imap = self.imap()
        for data, date in ((letter('banana', 'Zoe <b@example.org>', 5, 100, to='b@x', cc='d@x'), 3),
                           (letter('Re: apple', 'Ada <d@example.org>', 2, 300, to='c@x', cc='a@x'), 2),
                           (letter('cherry', 'Max <a@example.org>', 9, 200, to='a@x', cc='c@x'), 4),
                           (letter('apple', 'Bob <c@example.org>', 1, 50, to='d@x', cc='b@x'), 1)):
            imap.append('INBOX', data, date='%02d-Feb-2020 00:00:00 +0000' % date)
        imap.select()

    def sort(self, keys, search='ALL', charset='US-ASCII'):
        return self.client.ok('UID SORT (%s) %s %s' % (keys, charset, search)).search()

    def test_keys(self):
        for keys, expected in (
                ('ARRIVAL', [4, 2, 1, 3]), ('DATE', [4, 2, 1, 3]), ('REVERSE DATE', [3, 1, 2, 4]),
                ('SUBJECT', [2, 4, 1, 3]), ('SUBJECT DATE', [4, 2, 1, 3]), ('FROM', [3, 1, 4, 2]),
                ('SIZE', [4, 1, 3, 2]), ('REVERSE SIZE', [2, 3, 1, 4]), ('TO', [3, 1, 2, 4]), ('CC', [2, 4, 3, 1]),
                ('DISPLAYFROM', [2, 4, 3, 1]), ('REVERSE ARRIVAL', [3, 1, 2, 4])):
            self.assertEqual(self.sort(keys), expected, keys)

    def test_with_search(self):
        self.assertEqual(self.sort('SIZE', 'SUBJECT apple'), [4, 2])
        self.assertEqual(self.sort('DATE', 'SMALLER 10'), [])

    def test_after_changes(self):
        """The order is kept in the index and has to follow new and expunged messages."""
        imap, other = self.client, self.imap()
        self.assertEqual(self.sort('SUBJECT DATE'), [4, 2, 1, 3])
        other.append('INBOX', letter('avocado', 'x@example.org', 7))
        other.append('INBOX', letter('zucchini', 'x@example.org', 8))
        imap.ok('NOOP')
        self.assertEqual(self.sort('SUBJECT DATE'), [4, 2, 5, 1, 3, 6])
        imap.store('2', r'+FLAGS.SILENT (\Deleted)')
        imap.ok('EXPUNGE')
        other.append('INBOX', letter('blueberry', 'x@example.org', 8))
        imap.ok('NOOP')
        self.assertEqual(self.sort('SUBJECT DATE'), [4, 5, 1, 7, 3, 6])

    def test_esort(self):
        data = self.client.ok('UID SORT RETURN (MIN MAX COUNT ALL) (SIZE) US-ASCII ALL').esearch()
        self.assertEqual((data['MIN'], data['MAX'], data['COUNT'], data['ALL']), ('4', '2', '4', '4,1,3,2'))


class Thread(ServerTest):
    def thread(self, algorithm='REFERENCES', search='ALL'):
        args = text_of(self.client.ok('UID THREAD %s US-ASCII %s' % (algorithm, search)).one('THREAD').args)
        return to_numbers(args)

    def setUp(self):
        super().setUp()
        self.client = imap = self.imap()
        for data in (letter('one', 'a@x', 1, message_id='a@x'),
                     letter('two', 'b@x', 2, message_id='b@x'),
                     letter('Re: one', 'c@x', 3, message_id='c@x', references=['a@x']),
                     letter('Re: one', 'd@x', 4, message_id='d@x', references=['a@x', 'c@x']),
                     letter('Re: one', 'e@x', 5, message_id='e@x', references=['a@x']),
                     letter('Re: two', 'f@x', 6, message_id='f@x', references=['b@x'])):
            imap.append('INBOX', data)
        imap.select()

    def test_references(self):
        self.assertEqual(self.thread(), [[1, [3, 4], [5]], [2, 6]])
        self.assertEqual(self.thread('REFS'), [[1, [3, 4], [5]], [2, 6]])

    def test_orderedsubject(self):
        self.assertEqual(self.thread('ORDEREDSUBJECT'), [[1, [3], [4], [5]], [2, 6]])

    def test_new_and_expunged(self):
        imap, other = self.client, self.imap()
        self.assertEqual(self.thread(), [[1, [3, 4], [5]], [2, 6]])
        other.append('INBOX', letter('Re: two', 'g@x', 7, message_id='g@x', references=['b@x', 'f@x']))
        imap.ok('NOOP')
        self.assertEqual(self.thread(), [[1, [3, 4], [5]], [2, 6, 7]])
        imap.store('3', r'+FLAGS.SILENT (\Deleted)')
        imap.ok('EXPUNGE')
        self.assertEqual(self.thread(), [[1, [4], [5]], [2, 6, 7]])

    def test_search(self):
        self.assertEqual(self.thread(search='SUBJECT two'), [[2, 6]])


def to_numbers(value):
    return [to_numbers(item) for item in value] if isinstance(value, list) else int(value)
