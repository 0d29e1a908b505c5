"""Messages to send."""

import base64
import random


def message(subject='test', body='Hello.\r\n', sender='alice@example.org', to='bob@example.org', extra='',
            date='Mon, 7 Mar 2022 10:11:12 +0100', message_id=None):
    """A plain message with CRLF line ends. extra: further header lines, each with its CRLF."""
    head = 'From: %s\r\nTo: %s\r\nSubject: %s\r\nDate: %s\r\n' % (sender, to, subject, date)
    if message_id:
        head += 'Message-ID: <%s>\r\n' % message_id
    return (head + extra + '\r\n' + body).encode('utf-8')


def message_of_size(size, seed=0, subject='test'):
    """A message of exactly this many bytes, which can't be compressed much."""
    head = message(subject, body='')
    need = size - len(head)
    letters = base64.encodebytes(random.Random(seed).randbytes(max(need, 0)))
    body = letters.replace(b'\n', b'\r\n')[:max(need, 0)]
    if body:
        body = body[:-2].replace(b'\r\n', b'\r\n') + b'\r\n' if need >= 2 else body
    # A cut in the middle of a line end would change the size when it is stored.
    data = bytearray(head + body)
    if data[-3:-2] == b'\r':
        data[-3:-2] = b'.'
    return bytes(data)


MULTIPART = b'''From: "Alice A." <alice@example.org>\r
Sender: sender@example.org\r
Reply-To: reply@example.org\r
To: Bob <bob@example.org>, carol@example.org\r
Cc: dave@example.org\r
Bcc: eve@example.org\r
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= from here\r
Date: Tue, 8 Mar 2022 09:08:07 +0000\r
Message-ID: <multi@example.org>\r
In-Reply-To: <parent@example.org>\r
References: <root@example.org> <parent@example.org>\r
MIME-Version: 1.0\r
Content-Type: multipart/mixed; boundary="outer"\r
\r
This is a preamble.\r
--outer\r
Content-Type: multipart/alternative; boundary="inner"\r
\r
--inner\r
Content-Type: text/plain; charset=utf-8\r
Content-Transfer-Encoding: quoted-printable\r
\r
Sch=C3=B6ne Gr=C3=BC=C3=9Fe, =\r
and a long line.\r
--inner\r
Content-Type: text/html; charset=utf-8\r
\r
<p>Hello <b>world</b></p>\r
--inner--\r
\r
--outer\r
Content-Type: application/octet-stream; name="data.bin"\r
Content-Disposition: attachment; filename="data.bin"; size=6\r
Content-Description: some bytes\r
Content-ID: <part2@example.org>\r
Content-Transfer-Encoding: base64\r
\r
AAECA/8K\r
--outer\r
Content-Type: message/rfc822\r
\r
From: inner@example.org\r
To: bob@example.org\r
Subject: an inner message\r
Date: Mon, 7 Mar 2022 08:00:00 +0000\r
Message-ID: <inner@example.org>\r
\r
Inner body.\r
--outer--\r
'''
