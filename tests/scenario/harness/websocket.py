"""MQTT inside of WebSocket made of bytes: any upgrade request, any frame."""
import base64
import hashlib
import os
import struct

from harness.wire import Wire

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
GUID = b'258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
KEY = 'dGhlIHNhbXBsZSBub25jZQ=='


def request(path='/mqtt', method='GET', **changes):
    """A good upgrade request; a field given as None is left out (Sec_WebSocket_Version=None)."""
    fields = {'Host': 'localhost', 'Upgrade': 'websocket', 'Connection': 'keep-alive, Upgrade',
              'Sec-WebSocket-Key': KEY, 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Protocol': 'mqttv3.1, mqtt'}
    fields.update({name.replace('_', '-'): value for name, value in changes.items()})
    lines = [f'{method} {path} HTTP/1.1'] + [f'{name}: {value}' for name, value in fields.items() if value is not None]
    return ('\r\n'.join(lines) + '\r\n\r\n').encode()


def frame(payload=b'', opcode=BINARY, fin=True, masked=True, rsv=0, length=None):
    """length: what the head says, when it is not the truth."""
    n = len(payload) if length is None else length
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    mask_bit = 0x80 if masked else 0
    if n < 126:
        head += bytes([mask_bit | n])
    elif n < 65536:
        head += bytes([mask_bit | 126]) + struct.pack('>H', n)
    else:
        head += bytes([mask_bit | 127]) + struct.pack('>Q', n)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


class Framed:
    """A socket whose bytes go in frames: one for each sendall. `control` has the control frames that came."""

    def __init__(self, raw, came=b''):
        self.raw, self.control, self._bytes, self.split = raw, [], came, None

    def sendall(self, data):
        size = self.split or len(data) or 1
        self.raw.sendall(b''.join(frame(data[at:at + size]) for at in range(0, len(data), size)))

    def recv(self, _most):
        """The payload of the next data frame; b'' when the server closed."""
        while True:
            got = self._cut()
            if got is not None and got[0] == BINARY and got[1]:
                return got[1]
            if got is not None:
                assert got[0] in (CLOSE, PING, PONG), f'a frame with opcode {got[0]}'
                self.control.append(got)
                continue
            more = self.raw.recv(65536)
            if not more:
                return b''
            self._bytes += more

    def _cut(self):
        b = self._bytes
        if len(b) < 2:
            return None
        assert b[0] & 0x70 == 0 and b[1] & 0x80 == 0, 'a server neither masks nor uses extensions'
        n, at = b[1], 2
        if n >= 126:
            size = 2 if n == 126 else 8
            n, at = int.from_bytes(b[2:2 + size], 'big'), 2 + size
            if len(b) < at:
                return None
        if len(b) < at + n:
            return None
        self._bytes = b[at + n:]
        return b[0] & 15, b[at:at + n]

    def settimeout(self, seconds):
        self.raw.settimeout(seconds)

    def close(self):
        self.raw.close()


class WebSocket(Wire):
    """A Wire through the listener wss (or a plain one)."""

    def __init__(self, fortress, device=None, version=5, upgrade=None, listener='wss', **more):
        plain = listener if listener == 'ws' else None
        super().__init__(fortress, device, version, plain=plain, listener=listener, **more)
        if upgrade is not None:
            return  # the test speaks HTTP itself
        self.answer = self.http(request())
        assert self.answer.status == 101, self.answer.text
        self.socket = Framed(self.socket, self.answer.body)

    def http(self, *pieces, timeout=10):
        """Sends and reads the head of the answer, and its body if it is a refusal."""
        for piece in pieces:
            self.socket.sendall(piece)
        return self.http_answer(timeout)

    def http_answer(self, timeout=10):
        self.socket.settimeout(timeout)
        got = b''
        while b'\r\n\r\n' not in got:
            more = self.socket.recv(65536)
            assert more, f'closed after {got!r}'
            got += more
        answer = Answer(got)
        while len(answer.body) < int(answer.fields.get('content-length', 0)):
            answer.body += self.socket.recv(65536)
        return answer

    @property
    def close_code(self):
        """Of the server's Close, after expect_close."""
        payload = [payload for opcode, payload in self.socket.control if opcode == CLOSE]
        assert len(payload) == 1, self.socket.control
        return int.from_bytes(payload[0][:2], 'big')


class Answer:
    def __init__(self, got):
        head, _, self.body = got.partition(b'\r\n\r\n')
        self.text = head.decode('latin-1')
        first, *lines = self.text.split('\r\n')
        self.status = int(first.split()[1])
        self.fields = {line.split(':', 1)[0].lower(): line.split(':', 1)[1].strip() for line in lines}

    def accepts(self, key=KEY):
        return self.fields['sec-websocket-accept'] == base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()
