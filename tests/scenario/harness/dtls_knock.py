"""A stranger at a DTLS listener whose address is proven, and what it may send then: records and fragments, byte by byte."""
import os
import socket
import struct

from . import openssl

HELLO, VERIFY, KEY_EXCHANGE, FINISHED = 1, 3, 16, 20
RANDOM_END = 34  # in a hello: version and random


def record(sequence, body, kind=22, epoch=0, version=b'\xfe\xff'):
    return bytes([kind]) + version + struct.pack('>H', epoch) + sequence.to_bytes(6, 'big') + struct.pack('>H', len(body)) + body


def fragment(kind, total, message, offset, data):
    return bytes([kind]) + total.to_bytes(3, 'big') + struct.pack('>H', message) + offset.to_bytes(3, 'big') + len(data).to_bytes(3, 'big') + data


class Knock:
    """`hello`: the body of the ClientHello that returns the cookie."""

    def __init__(self, fortress):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(('127.0.0.1', fortress.ports['coaps']))
        self.socket.settimeout(20)
        first = openssl.dtls_hello(openssl.library())
        self.socket.send(first)
        verify = self.socket.recv(4096)
        assert verify[13] == VERIFY, verify
        cookie, body = verify[27:], first[25:]
        at = RANDOM_END + 1 + body[RANDOM_END]
        assert body[at] == 0, 'it has a cookie already'
        self.hello = body[:at] + cookie + body[at + 1:]

    def whole(self, sequence=1):
        return record(sequence, fragment(HELLO, len(self.hello), 1, 0, self.hello))

    def send(self, datagrams):
        for one in datagrams:
            self.socket.send(one)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def _hello(*pieces):
    """The hello in pieces of (offset, end), with what may be wrong with one: other bytes, another total."""
    def make(knock):
        n = len(knock.hello)
        return [record(i, fragment(HELLO, total or n, 1, at, data if data is not None else knock.hello[at:end]))
                for i, (at, end, total, data) in enumerate(pieces, 1)]
    return make


def _behind(*fragments):
    """Behind a hello that is taken: pieces of (kind, total, offset, data) of the next message."""
    def make(knock):
        return [knock.whole(), *(record(i, fragment(kind, total, 2, at, data)) for i, (kind, total, at, data) in enumerate(fragments, 2))]
    return make


# name: the datagrams of one that knocks
BROKEN = {
    'pieces that overlap': _hello((0, 80, None, None), (50, None, None, None)),
    'pieces that contradict': _hello((0, 80, None, None), (50, None, None, b'\xff' * 100)),
    'another total': _hello((0, 50, None, None), (50, None, 4000, None)),
    'a total of 16 MiB': _hello((0, 50, 0xffffff, None), (0xfffff0, None, 0xffffff, b'x' * 15)),
    'beyond its end': _hello((200, None, None, b'x' * 200)),
    'pieces of nothing': _hello(*[(0, 0, None, b'')] * 100),
    'one byte each, backwards': lambda knock: [record(1 + i, fragment(HELLO, len(knock.hello), 1, i, knock.hello[i:i + 1]))
                                               for i in reversed(range(len(knock.hello)))],
    'the last message first': lambda knock: [record(1, fragment(FINISHED, 12, 1, 0, b'x' * 12))],
    'message 65535': lambda knock: [record(1, fragment(HELLO, len(knock.hello), 65535, 0, knock.hello))],
    'a record that lies': lambda knock: [knock.whole()[:-30]],
    'two in one datagram': lambda knock: [knock.whole(1) + knock.whole(2)],
    'another version': lambda knock: [record(1, fragment(HELLO, len(knock.hello), 1, 0, knock.hello), version=b'\0\0')],
    'the change before the keys': lambda knock: [knock.whole(), record(2, b'\1', kind=20), record(0, os.urandom(60), epoch=1)],
    'data in the clear': lambda knock: [knock.whole(), record(2, b'\x40\1\0\1', kind=23)],
    'a key in pieces that overlap': _behind((KEY_EXCHANGE, 66, 0, b'\x41' * 40), (KEY_EXCHANGE, 66, 20, b'\x42' * 46)),
    'a key of 16 MiB': _behind((KEY_EXCHANGE, 0xffffff, 0, b'x' * 40), (KEY_EXCHANGE, 0xffffff, 0xffff00, b'x' * 255)),
    'a key whose total changes': _behind((KEY_EXCHANGE, 66, 0, b'x' * 40), (KEY_EXCHANGE, 300, 40, b'x' * 260)),
    'another message in its place': _behind((KEY_EXCHANGE, 66, 0, b'x' * 40), (FINISHED, 66, 40, b'x' * 26)),
    'a message from far ahead': lambda knock: [knock.whole(), *(record(i, fragment(FINISHED, 12, 3 + i, 0, b'x' * 12)) for i in range(2, 60))],
}
