"""CoAP over DTLS, message by message: a client that may do what no library lets it do.

OpenSSL does the DTLS (through ctypes, with memory BIOs, so that each datagram is seen); the CoAP is written here.
"""
import ctypes
import ctypes.util
import itertools
import os
import socket
from collections import namedtuple

CON, NON, ACK, RST = range(4)
GET, POST, PUT, DELETE = 1, 2, 3, 4
ETAG, OBSERVE, URI_PATH, CONTENT_FORMAT, MAX_AGE, BLOCK2, BLOCK1, SIZE2, SIZE1, NO_RESPONSE, REQUEST_TAG = \
    4, 6, 11, 12, 14, 23, 27, 28, 60, 258, 292

Message = namedtuple('Message', 'type code mid token options payload')


def code(text):
    """'4.08' as the byte."""
    return int(text[0]) << 5 | int(text[2:])


def uint(value):
    return value.to_bytes((value.bit_length() + 7) // 8, 'big')


def block(number, more, size):
    return uint(number << 4 | (8 if more else 0) | (size.bit_length() - 5))


def path(text):
    return [(URI_PATH, part.encode()) for part in text.strip('/').split('/')]


def _extended(n):
    if n < 13:
        return n, b''
    return (13, bytes([n - 13])) if n < 269 else (14, (n - 269).to_bytes(2, 'big'))


def encode(m):
    out = bytes([0x40 | m.type << 4 | len(m.token), m.code]) + m.mid.to_bytes(2, 'big') + m.token
    last = 0
    for number, value in sorted(m.options, key=lambda option: option[0]):
        delta, delta_more = _extended(number - last)
        length, length_more = _extended(len(value))
        out += bytes([delta << 4 | length]) + delta_more + length_more + value
        last = number
    return out + (b'\xff' + m.payload if m.payload else b'')


def decode(data):
    n = data[0] & 15
    at, number, options = 4 + n, 0, []

    def extended(nibble):
        nonlocal at
        if nibble < 13:
            return nibble
        size = nibble - 12
        value = int.from_bytes(data[at:at + size], 'big') + (13 if nibble == 13 else 269)
        at += size
        return value

    while at < len(data) and data[at] != 0xff:
        first = data[at]
        at += 1
        number += extended(first >> 4)
        length = extended(first & 15)
        options.append((number, data[at:at + length]))
        at += length
    return Message(data[0] >> 4 & 3, data[1], int.from_bytes(data[2:4], 'big'), data[4:4 + n], options, data[at + 1:])


def option(m, number):
    """The value of the first one as bytes, or None."""
    return next((value for n, value in m.options if n == number), None)


def number_of(m, number):
    value = option(m, number)
    return None if value is None else int.from_bytes(value, 'big')


_PSK = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(ctypes.c_char), ctypes.c_uint,
                        ctypes.POINTER(ctypes.c_char), ctypes.c_uint)
DTLS1_2, SET_MIN_PROTO, SET_MTU, NO_QUERY_MTU, MEM_EOF_RETURN = 0xfefd, 123, 17, 0x1000, 130


def _libraries():
    ssl, crypto = ctypes.CDLL(ctypes.util.find_library('ssl')), ctypes.CDLL(ctypes.util.find_library('crypto'))
    for library, names in ((ssl, 'DTLS_client_method SSL_CTX_new SSL_new'), (crypto, 'BIO_s_mem BIO_new')):
        for name in names.split():
            getattr(library, name).restype = ctypes.c_void_p
    return ssl, crypto


class Peer:
    """One association of a device, by its pre-shared key."""

    def __init__(self, device):
        self._ssl, self._crypto = _libraries()
        self._mids = itertools.count(int.from_bytes(os.urandom(2), 'big'))
        self._tokens = itertools.count(1)
        name, key = device.name.encode(), device.psk.encode()

        def give_key(_ssl, _hint, identity, _identity_n, psk, _psk_n):
            for i, byte in enumerate(name + b'\0'):
                identity[i] = bytes([byte])
            for i, byte in enumerate(key):
                psk[i] = bytes([byte])
            return len(key)

        ssl, crypto = self._ssl, self._crypto
        self._callback = _PSK(give_key)
        self._context = ctypes.c_void_p(ssl.SSL_CTX_new(ctypes.c_void_p(ssl.DTLS_client_method())))
        ssl.SSL_CTX_ctrl(self._context, SET_MIN_PROTO, ctypes.c_long(DTLS1_2), None)
        ssl.SSL_CTX_set_psk_client_callback(self._context, self._callback)
        assert ssl.SSL_CTX_set_cipher_list(self._context, b'PSK') == 1
        self._session = ctypes.c_void_p(ssl.SSL_new(self._context))
        self._in, self._out = (ctypes.c_void_p(crypto.BIO_new(ctypes.c_void_p(crypto.BIO_s_mem()))) for _ in range(2))
        for bio in (self._in, self._out):
            crypto.BIO_ctrl(bio, MEM_EOF_RETURN, ctypes.c_long(-1), None)
        ssl.SSL_set_bio(self._session, self._in, self._out)
        ssl.SSL_set_options(self._session, ctypes.c_uint64(NO_QUERY_MTU))
        ssl.SSL_ctrl(self._session, SET_MTU, ctypes.c_long(1400), None)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(('127.0.0.1', device.fortress.ports['coaps']))
        self._shake_hands()

    def _flush(self):
        room = ctypes.create_string_buffer(65536)
        n = self._crypto.BIO_read(self._out, room, len(room))
        if n > 0:
            self.socket.send(room.raw[:n])

    def _take(self, timeout):
        self.socket.settimeout(timeout)
        data = self.socket.recv(65536)
        assert self._crypto.BIO_write(self._in, data, len(data)) == len(data)

    def _shake_hands(self):
        while self._ssl.SSL_connect(self._session) != 1:
            self._flush()
            self._take(10)
        self._flush()

    def send_bytes(self, data):
        assert self._ssl.SSL_write(self._session, data, len(data)) == len(data)
        self._flush()

    def send(self, m):
        self.send_bytes(encode(m))
        return m

    def receive(self, timeout=10):
        """The next CoAP message; TimeoutError when none comes."""
        room = ctypes.create_string_buffer(65536)
        while True:
            n = self._ssl.SSL_read(self._session, room, len(room))
            if n > 0:
                return decode(room.raw[:n])
            self._take(timeout)

    def make(self, method, where, payload=b'', options=(), type_=CON, token=None):
        token = next(self._tokens).to_bytes(2, 'big') if token is None else token
        return Message(type_, method, next(self._mids) & 0xffff, token, [*path(where), *options], payload)

    def ask(self, *what, **how):
        """Sends a request and gives its answer; what else comes before it is thrown away."""
        m = self.send(self.make(*what, **how))
        while True:
            got = self.receive()
            if got.token == m.token and (got.type != ACK or got.mid == m.mid) and got.code:
                if got.type == CON:
                    self.acknowledge(got)
                return got

    def acknowledge(self, m, type_=ACK):
        self.send(Message(type_, 0, m.mid, b'', [], b''))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._ssl.SSL_shutdown(self._session)
        self._flush()
        self._ssl.SSL_free(self._session)
        self._ssl.SSL_CTX_free(self._context)
        self.socket.close()
