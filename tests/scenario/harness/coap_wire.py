"""A CoAP client made of bytes, over the DTLS of `openssl s_client`: for what no real client would send."""
import fcntl
import os
import select
import struct
import subprocess
import termios
import time

from .wait import wait_until

CON, NON, ACK, RST = range(4)
EMPTY, GET, POST, PUT, DELETE, FETCH, PATCH, IPATCH = range(8)
ETAG, OBSERVE, URI_PATH, CONTENT_FORMAT, MAX_AGE, URI_QUERY, HOP_LIMIT, ACCEPT, SIZE1, NO_RESPONSE = \
    4, 6, 11, 12, 14, 15, 16, 17, 60, 258


def number(n):
    return n.to_bytes((n.bit_length() + 7) // 8, 'big')


def option(delta, value):
    def part(n):
        if n < 13:
            return n, b''
        return (13, bytes([n - 13])) if n < 269 else (14, struct.pack('>H', n - 269))
    high, more = part(delta)
    low, length = part(len(value))
    return bytes([high << 4 | low]) + more + length + value


def options(pairs):
    """pairs: (number, bytes or int), in any order; those of one number keep theirs."""
    out, before = b'', 0
    for n, value in sorted(pairs, key=lambda pair: pair[0]):
        out += option(n - before, number(value) if isinstance(value, int) else value)
        before = n
    return out


def path(text):
    return [(URI_PATH, part.encode()) for part in text.strip('/').split('/')]


def message(kind, code, mid, token=b'', more=(), payload=b''):
    n = len(token)
    head = bytes([0x40 | kind << 4 | (n if n < 13 else 13), code]) + struct.pack('>H', mid)
    head += bytes([n - 13]) if n >= 13 else b''
    return head + token + options(more) + (b'\xff' + payload if payload else b'')


class Message:
    def __init__(self, data):
        self.kind, self.code = data[0] >> 4 & 3, f'{data[1] >> 5}.{data[1] & 31:02d}'
        self.mid = struct.unpack('>H', data[2:4])[0]
        n, at = data[0] & 15, 4
        if n == 13:
            n, at = data[4] + 13, 5
        self.token, self.options, at, before = data[at:at + n], [], at + n, 0
        while at < len(data) and data[at] != 0xff:
            sizes, first = [], data[at]
            at += 1
            for nibble in (first >> 4, first & 15):
                extra = {13: 1, 14: 2}.get(nibble, 0)
                base = {13: 13, 14: 269}.get(nibble, nibble)
                sizes.append(base + int.from_bytes(data[at:at + extra], 'big') if extra else base)
                at += extra
            before += sizes[0]
            self.options.append((before, data[at:at + sizes[1]]))
            at += sizes[1]
        self.payload = data[at + 1:]

    def number(self, n):
        """The value of the first such option as a number, or None."""
        return next((int.from_bytes(value, 'big') for what, value in self.options if what == n), None)

    def __repr__(self):
        return f'{self.code} type {self.kind} mid {self.mid} {self.options} {self.payload[:60]!r}'


class CoapWire:
    """One association. Nothing here checks what it sends."""

    def __init__(self, fortress, device, timeout=15):
        self._mid = 1000
        self.process = subprocess.Popen(
            ['openssl', 's_client', '-dtls1_2', '-quiet', '-psk', device.psk.encode().hex(), '-psk_identity',
             device.name, '-cipher', 'PSK-AES128-GCM-SHA256', '-connect', f'127.0.0.1:{fortress.ports["coaps"]}'],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0)
        # What is written while it shakes hands is sent as soon as that is over: the answer to a ping says so.
        self.send(message(CON, EMPTY, 1))
        assert self.receive(timeout).kind == RST

    def send(self, data):
        """One write is one datagram, when it has been read before the next."""
        pipe = self.process.stdin.fileno()
        os.write(pipe, data)
        wait_until('the datagram to leave', lambda: not any(fcntl.ioctl(pipe, termios.FIONREAD, b'\0' * 4)), 20, pause=0.001)
        return self

    def receive(self, timeout=10):
        """The next message, or None when there is none in time or the association has ended."""
        ready, _, _ = select.select([self.process.stdout], [], [], timeout)
        data = os.read(self.process.stdout.fileno(), 65536) if ready else b''
        return Message(data) if data else None

    def mid(self):
        self._mid += 1
        return self._mid

    def ask(self, code, more=(), payload=b'', kind=CON, token=b'T', timeout=10):
        """A request and its answer; more: a path, or pairs."""
        pairs = path(more) if isinstance(more, str) else more
        self.send(message(kind, code, self.mid(), token, pairs, payload))
        return self.receive(timeout)

    def is_alive(self):
        """A ping is answered."""
        answer = self.send(message(CON, EMPTY, self.mid())).receive()
        return answer is not None and answer.kind == RST

    def wait_end(self, seconds=10):
        """The server has ended the association."""
        until = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        return self.process.poll() is not None

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(10)
        self.process.stdin.close()
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
