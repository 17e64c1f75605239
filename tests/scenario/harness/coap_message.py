"""A CoAP message, byte by byte: what any client here sends and reads. Nothing checks what is encoded: it may break every rule."""
CON, NON, ACK, RST = range(4)
EMPTY, GET, POST, PUT, DELETE, FETCH, PATCH, IPATCH = range(8)
ETAG, OBSERVE, OSCORE, URI_PATH, CONTENT_FORMAT, MAX_AGE, URI_QUERY, HOP_LIMIT, ACCEPT, BLOCK2, BLOCK1, SIZE2, SIZE1 = \
    4, 6, 9, 11, 12, 14, 15, 16, 17, 23, 27, 28, 60
ECHO, NO_RESPONSE, REQUEST_TAG = 252, 258, 292


def uint(number):
    """The shortest form, as options have it: nothing at all for 0."""
    return number.to_bytes((number.bit_length() + 7) // 8, 'big')


def block(number, more, size):
    return uint(number << 4 | (8 if more else 0) | (size.bit_length() - 5))


def path(text):
    return [(URI_PATH, part.encode()) for part in text.strip('/').split('/')]


def _extended(n):
    """The nibble that stands for a number, and what follows it."""
    if n < 13:
        return n, b''
    return (13, bytes([n - 13])) if n < 269 else (14, (n - 269).to_bytes(2, 'big'))


def encode_options(options):
    """Of (number, bytes or int) in any order; those of one number stay in theirs."""
    out, last = b'', 0
    for number, value in sorted(options, key=lambda option: option[0]):
        value = uint(value) if isinstance(value, int) else value
        (delta, delta_more), (length, length_more) = _extended(number - last), _extended(len(value))
        out += bytes([delta << 4 | length]) + delta_more + length_more + value
        last = number
    return out


def decode_options(data):
    """The options and the payload behind them."""
    options, number, at = [], 0, 0

    def extended(nibble):
        nonlocal at
        assert nibble < 15, data
        if nibble < 13:
            return nibble
        n = nibble - 12
        at += n
        return int.from_bytes(data[at - n:at], 'big') + (13 if nibble == 13 else 269)

    while at < len(data):
        first = data[at]
        at += 1
        if first == 0xff:
            return options, data[at:]
        number += extended(first >> 4)
        n = extended(first & 15)
        options.append((number, data[at:at + n]))
        at += n
    return options, b''


class Message:
    def __init__(self, kind=CON, code=EMPTY, mid=0, token=b'', options=(), payload=b''):
        self.kind, self.code, self.mid, self.token = kind, code, mid, token
        self.options, self.payload = list(options), payload

    @classmethod
    def decode(cls, data):
        n, at = data[0] & 15, 4
        if n == 13:
            n, at = data[4] + 13, 5
        options, payload = decode_options(data[at + n:])
        return cls(data[0] >> 4 & 3, data[1], int.from_bytes(data[2:4], 'big'), data[at:at + n], options, payload)

    def encode(self):
        n, more = _extended(len(self.token))
        head = bytes([0x40 | self.kind << 4 | n, self.code]) + self.mid.to_bytes(2, 'big') + more + self.token
        return head + encode_options(self.options) + (b'\xff' + self.payload if self.payload else b'')

    @property
    def text(self):
        """Its code as one reads it: '2.05'."""
        return f'{self.code >> 5}.{self.code & 31:02}'

    def option(self, number):
        """The value of the first such option, or None."""
        return next((value for n, value in self.options if n == number), None)

    def number(self, number):
        """The same as a number, or None."""
        value = self.option(number)
        return None if value is None else int.from_bytes(value, 'big')

    def __repr__(self):
        return f'{self.text} kind {self.kind} mid {self.mid} {self.options} {self.payload[:60]!r}'
