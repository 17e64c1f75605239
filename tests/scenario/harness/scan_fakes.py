"""Servers for `scan` to look at that nobody would want to run: each does one thing wrong, or lies all the time."""
import base64
import contextlib
import hashlib
import socket
import struct
import threading

ESCAPE = b'\x1b[2J\x1b]0;owned\x07'


class Tcp:
    """A server whose connections are served by `serve(socket)`, each in a thread of its own."""

    def __init__(self, serve):
        self.serve = serve
        self.socket = socket.create_server(('127.0.0.1', 0))
        self.port = self.socket.getsockname()[1]
        self.is_done = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while not self.is_done:
            try:
                one, _ = self.socket.accept()
            except OSError:
                return
            one.settimeout(30)
            threading.Thread(target=self._one, args=(one,), daemon=True).start()

    def _one(self, one):
        try:
            with one:
                self.serve(one)
        except (OSError, EOFError):
            pass

    def close(self):
        self.is_done = True
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


class Udp:
    """answer(datagram): the datagrams that come back."""

    def __init__(self, answer):
        self.answer, self.seen = answer, []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(('127.0.0.1', 0))
        self.port = self.socket.getsockname()[1]
        self.is_done = False
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                data, address = self.socket.recvfrom(65536)
                if self.is_done:
                    return
                self.seen.append(data)
                for one in self.answer(data):
                    self.socket.sendto(one, address)
            except OSError:
                return

    def close(self):
        self.is_done = True
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b'', ('127.0.0.1', self.port))


def take(one, n):
    got = b''
    while len(got) < n:
        more = one.recv(n - len(got))
        if not more:
            raise EOFError
        got += more
    return got


def packet(read):
    """type and flags, body; of whom read(n) reads."""
    first, n, shift = read(1)[0], 0, 0
    while True:
        byte = read(1)[0]
        n |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            break
    if n > 100000:
        raise EOFError
    return first, read(n)


def publish(topic, payload, flags=0):
    body = struct.pack('!H', len(topic)) + topic + b'\0' + payload
    assert len(body) < 16384
    length = [len(body)] if len(body) < 128 else [len(body) & 127 | 128, len(body) >> 7]
    return bytes([0x30 | flags, *length]) + body


CONNACK = b'\x20\x03\0\0\0'


class Forgetful:
    """Lets everybody in, takes topics that are no text, and ends the connection at a retained message, which it keeps."""

    def __init__(self, has_come=None, goes_on=None):
        """With two events: keeps the message, says that it has come, and goes on with PUBACK when it is told to."""
        self.has_come, self.goes_on = has_come, goes_on
        self.kept, self.ever, self.clients = {}, set(), {}
        self.tcp = Tcp(self.serve)
        self.port, self.close = self.tcp.port, self.tcp.close

    def serve(self, one):
        while True:
            first, body = packet(lambda n: take(one, n))
            kind = first >> 4
            if kind == 1:
                name = body[10 + 1 + body[10]:][2:] if body[6] == 5 else body[12:]
                if name in self.clients:
                    with contextlib.suppress(OSError):
                        self.clients[name].shutdown(socket.SHUT_RDWR)
                self.clients[name] = one
                one.sendall(CONNACK)
            elif kind == 8:
                topic = body[5:5 + struct.unpack('!H', body[3:5])[0]]
                one.sendall(b'\x90\x04' + body[:2] + b'\0\0')
                if topic in self.kept:
                    one.sendall(publish(topic, self.kept[topic], flags=1))
            elif kind == 10:
                one.sendall(b'\xb0\x04' + body[:2] + b'\0\0')
            elif kind == 12:
                one.sendall(b'\xd0\0')
            elif kind == 3 and first & 1:
                n = struct.unpack('!H', body[:2])[0]
                topic, packet_id, rest = body[2:2 + n], body[2 + n:4 + n], body[4 + n:]
                payload = rest[1 + rest[0]:]
                if payload:
                    self.kept[topic] = payload
                    self.ever.add(topic)
                    if not self.has_come:
                        return
                    self.has_come.set()
                    self.goes_on.wait(30)
                else:
                    self.kept.pop(topic, None)
                one.sendall(b'\x40\x02' + packet_id)


class Old:
    """Knows MQTT 3.1.1 alone, has kept the account guest, whom it lets read everything and write nothing."""

    def __init__(self):
        self.seen = []
        self.tcp = Tcp(self.serve)
        self.port, self.close = self.tcp.port, self.tcp.close

    def serve(self, one):
        while True:
            first, body = packet(lambda n: take(one, n))
            self.seen.append(first >> 4)
            if first >> 4 == 1:
                code = 1 if body[6] != 4 else 0 if b'\0\x05guest\0\x05guest' in body else 4 if body[7] & 0x80 else 5
                one.sendall(bytes([0x20, 2, 0, code]))
                if code:
                    return
            elif first >> 4 == 8:
                one.sendall(b'\x90\x03' + body[:2] + b'\0')
            elif first >> 4 == 10:
                one.sendall(b'\xb0\x02' + body[:2])
            else:
                return


def shouting(one):
    """CONNACK before anybody asked, then messages without end, whose text moves the cursor."""
    one.sendall(CONNACK)
    one.recv(4096)
    one.sendall(b'\x90\x04\0\x01\0\0')
    while True:
        one.sendall(publish(b'$SYS/broker/version', ESCAPE) + publish(b'x', b'y' * 8000))


def mute(one):
    while one.recv(65536):
        pass


def web_page(one):
    """HTTP where TLS is expected."""
    one.recv(4096)
    one.sendall(b'HTTP/1.1 400 ' + ESCAPE + b'\r\n' * 5000)


def any_origin(one):
    """A WebSocket for everybody, with an MQTT server behind it that refuses everybody."""
    head = b''
    while b'\r\n\r\n' not in head:
        head += take(one, 1)
    key = next(line.split(b':', 1)[1].strip() for line in head.split(b'\r\n')
               if line.lower().startswith(b'sec-websocket-key'))
    accept = base64.b64encode(hashlib.sha1(key + b'258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest())
    one.sendall(b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ' +
                accept + b'\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n')
    one.recv(4096)
    one.sendall(b'\x82\x05\x20\x03\0\x87\0')


def flood_of_links(request):
    """The list of resources is hostile, and each request is answered a thousand times."""
    if len(request) < 6 or request[0] >> 6 != 1 or request[1] != 1:
        return []
    token = request[4:4 + (request[0] & 15)]
    links = b','.join([b'<//other.example/x>', b'<relative>', b'</a?b>', b'</%2>;obs'] +
                      [b'</r%d>' % i for i in range(900)] + [b'<' + ESCAPE + b'>'])
    answer = bytes([0x60 | len(token), 0x45]) + request[2:4] + token + b'\xff' + links
    return [answer] + [answer[:1000]] * 1000


def without_cookie(hello):
    body = b'\xfe\xfd' + bytes(32) + b'\0\xc0\xa8\0'
    if hello[:1] != b'\x16':
        return []
    message = b'\x02' + len(body).to_bytes(3, 'big') + b'\0\0\0\0\0' + len(body).to_bytes(3, 'big') + body
    return [b'\x16\xfe\xfd' + bytes(8) + struct.pack('!H', len(message)) + message] + [bytes(1200)] * 2
