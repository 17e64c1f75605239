"""Servers that do wrong on purpose, to see that `bench` finds it: MQTT 3.1.1 over plain TCP, and CoAP over UDP."""
import select
import socket
import struct
import threading


def _packet(kind, body):
    """One packet; the bodies of these tests fit two bytes of length."""
    n = len(body)
    return bytes([kind, n]) + body if n < 128 else bytes([kind, n & 127 | 128, n >> 7]) + body


class Mqtt:
    """A broker for a handful of clients: filters PREFIX/+, PREFIX/# and exact ones, QoS 0 onwards, retained messages.

    fault, done once with the `at`-th message that goes out: 'lose', 'twice', 'swap' (with the next one), 'foreign' (another
    publisher's), 'stall' (nothing for `stall` seconds), 'unasked' (and a PUBACK for one that nobody has sent, of QoS 1); 'deaf' does not answer the first ping; 'slow' needs `stall` seconds for each login. It
    keeps no sessions."""

    def __init__(self, fault=None, at=5, stall=0.0):
        self.fault, self.at, self.stall = fault, at, stall
        self.n_out, self.held, self.lock = 0, None, threading.RLock()
        self.filters, self.retained, self.closed = [], {}, threading.Event()
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closed.set()
        self.listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        stream = client.makefile('rb')
        with client, stream:
            try:
                while self._one(client, stream):
                    pass
            except (OSError, IndexError, struct.error):
                pass  # it has gone
            with self.lock:  # before its connection ends: nobody who saw the end is told anything to it
                self.filters = [(one, to) for one, to in self.filters if to is not client]

    def _one(self, client, stream):
        head = stream.read(1)
        if not head:
            return False
        n = shift = 0
        while True:
            byte = stream.read(1)[0]
            n |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        body, kind = stream.read(n), head[0] >> 4
        with self.lock:
            if kind == 1:
                if self.fault == 'slow':
                    self.closed.wait(self.stall)
                client.sendall(b'\x20\x02\x00\x00')
            elif kind == 8:
                client.sendall(_packet(0x90, body[:2] + bytes(self._subscribe(client, body[2:]))))
                for topic, payload in list(self.retained.items()):
                    self._route(client, topic, payload, 1)
            elif kind == 3:
                self._publish(client, head[0], body)
            elif kind == 12 and self.fault != 'deaf':
                client.sendall(b'\xd0\x00')
            elif kind == 12:
                self.fault = None  # to the others it listens
        return kind != 14

    def _subscribe(self, client, entries):
        codes = []
        while entries:
            n = struct.unpack('!H', entries[:2])[0]
            self.filters.append((entries[2:2 + n].decode(), client))
            codes.append(0)
            entries = entries[3 + n:]
        return codes

    @staticmethod
    def _matches(one, topic):
        if one.endswith('/#'):
            return topic.startswith(one[:-1])
        if one.endswith('/+'):
            return topic.rpartition('/')[0] == one[:-2]
        return one == topic

    def _publish(self, client, flags, body):
        n = struct.unpack('!H', body[:2])[0]
        topic, rest = body[2:2 + n].decode(), body[2 + n:]
        if flags & 6:
            client.sendall(b'\x40\x02' + rest[:2])
            if self.fault == 'unasked' and self.n_out + 1 == self.at:
                client.sendall(b'\x40\x02' + struct.pack('!H', struct.unpack('!H', rest[:2])[0] + 10000))
            rest = rest[2:]
        if flags & 1:
            self.retained[topic] = rest
            if not rest:
                del self.retained[topic]
        for one, to in self.filters:
            if self._matches(one, topic):
                self._route(to, topic, rest, 0)

    def _route(self, to, topic, payload, retain):
        self.n_out += 1
        fault = self.fault if self.n_out == self.at else None
        if fault == 'foreign':
            payload = struct.pack('!I', 77) + payload[4:]
        packet = _packet(0x30 | retain, struct.pack('!H', len(topic)) + topic.encode() + payload)
        if fault == 'stall':
            self.closed.wait(self.stall)  # with the lock: everybody waits
        if fault == 'swap':
            self.held = (to, packet)
            return
        try:
            if fault != 'lose':
                to.sendall(packet * (2 if fault == 'twice' else 1))
            if self.held is not None and self.held[0] is to:
                to.sendall(self.held[1])
                self.held = None
        except OSError:
            pass  # the receiver has gone; that is not its sender's fault


class Coap:
    """Answers GET with `code`. fault, from the `at`-th request on: 'silent' (and for ever to that client), 'twice' (once), 'foreign'
    (once: another token, and the right one behind it), 'challenge' (each request without an Echo is to be sent again with one).
    asked: (message id, token) of all that came."""

    ECHO = b'an echo'

    def __init__(self, fault=None, at=5, code=0x45):
        self.fault, self.at, self.code, self.n, self.silent_to = fault, at, code, 0, None
        self.asked = set()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(('127.0.0.1', 0))
        self.port = self.socket.getsockname()[1]
        self.closed = False
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closed = True

    def _serve(self):
        with self.socket:
            while not self.closed:
                if select.select([self.socket], [], [], 0.1)[0]:
                    self._answer(*self.socket.recvfrom(2048))

    def _answer(self, request, peer):
        token = request[4:4 + (request[0] & 15)]
        self.n += 1
        self.asked.add((request[2:4], token))
        fault = self.fault if self.n == self.at else None
        if self.fault == 'challenge' and self.n >= self.at and self.ECHO not in request:
            option = bytes([0xd0 | len(self.ECHO), 252 - 13]) + self.ECHO
            self.socket.sendto(bytes([0x60 | len(token), 0x81]) + request[2:4] + token + option, peer)
            return
        if fault == 'silent':
            self.silent_to = peer
        if peer == self.silent_to:
            return
        answer = bytes([0x60 | len(token), self.code]) + request[2:4] + token + b'\xffhere'
        if fault == 'foreign':
            self.socket.sendto(bytes([0x64, 0x45]) + request[2:4] + b'\xff\xff\xff\xff\xffthere', peer)
        for _ in range(2 if fault == 'twice' else 1):
            self.socket.sendto(answer, peer)
