"""A client made of bytes: hand-built MQTT packets over a TLS or plain socket, for what no real client would send."""
import socket
import ssl
import struct

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, \
    DISCONNECT, AUTH = range(1, 16)


def varint(n):
    out = bytearray()
    while True:
        n, low = n >> 7, n & 0x7f
        out.append(low | (0x80 if n else 0))
        if not n:
            return bytes(out)


def field(value):
    value = value.encode() if isinstance(value, str) else value
    return struct.pack('>H', len(value)) + value


def packet(kind, body=b'', flags=0):
    return bytes([kind << 4 | flags]) + varint(len(body)) + body


def connect(client_id, version=5, user=None, password=None, keep_alive=60, clean=True, will=None, properties=b''):
    """will: (topic, payload, qos, retain), and in 5.0 its properties as a fifth."""
    flags = 0x02 if clean else 0
    if will:
        flags |= 0x04 | will[2] << 3 | (0x20 if will[3] else 0)
    flags |= (0x80 if user is not None else 0) | (0x40 if password is not None else 0)
    body = field('MQIsdp' if version == 3 else 'MQTT') + bytes([version, flags]) + struct.pack('>H', keep_alive)
    if version == 5:
        body += varint(len(properties)) + properties
    body += field(client_id)
    if will:
        more = will[4] if len(will) > 4 else b''
        body += (varint(len(more)) + more if version == 5 else b'') + field(will[0]) + field(will[1])
    for secret in (user, password):
        body += field(secret) if secret is not None else b''
    return packet(CONNECT, body)


def publish(topic, payload, qos=0, packet_id=1, retain=False, version=5, properties=b'', dup=False):
    payload = payload.encode() if isinstance(payload, str) else payload
    body = field(topic) + (struct.pack('>H', packet_id) if qos else b'')
    if version == 5:
        body += varint(len(properties)) + properties
    return packet(PUBLISH, body + payload, (8 if dup else 0) | qos << 1 | (1 if retain else 0))


def subscribe(packet_id, *filters, version=5, properties=b''):
    """filters: text, or (text, options byte)."""
    body = struct.pack('>H', packet_id) + (varint(len(properties)) + properties if version == 5 else b'')
    for one in filters:
        text, how = one if isinstance(one, tuple) else (one, 1)
        body += field(text) + bytes([how])
    return packet(SUBSCRIBE, body, 2)


def properties(packet, at):
    """{id: value bytes} of the few one-byte, two-byte and text properties that CONNACK and PUBLISH use here."""
    length, body, found = packet.body[at], packet.body[at + 1:], {}
    body = body[:length]
    sizes = {0x01: 1, 0x02: 4, 0x11: 4, 0x13: 2, 0x21: 2, 0x22: 2, 0x23: 2, 0x24: 1, 0x25: 1, 0x27: 4, 0x28: 1, 0x29: 1, 0x2a: 1}
    while body:
        kind = body[0]
        if kind == 0x0b:
            size = next(i for i in range(1, 5) if body[i] < 0x80)
        elif kind in sizes:
            size = sizes[kind]
        else:
            size = 2 + struct.unpack('>H', body[1:3])[0]
            size += 2 + struct.unpack('>H', body[1 + size:3 + size])[0] if kind == 0x26 else 0
        found[kind] = body[1:1 + size]
        body = body[1 + size:]
    return found


class Packet:
    """A received packet: kind, flags, body; `reason` where its kind has one."""

    def __init__(self, head, body, version):
        self.kind, self.flags, self.body, self.version = head >> 4, head & 15, body, version

    @property
    def reason(self):
        if self.kind == CONNACK:
            return self.body[1]
        if self.kind in (PUBACK, PUBREC, PUBREL, PUBCOMP):
            return self.body[2] if len(self.body) > 2 else 0
        if self.kind in (SUBACK, UNSUBACK):
            return self.body[-1]
        if self.kind in (DISCONNECT, AUTH):
            return self.body[0] if self.body else 0
        raise AssertionError(f'packet {self.kind} has no reason code')

    def __repr__(self):
        return f'packet {self.kind} flags {self.flags} {self.body[:60].hex()}'


def tls_context(device=None, certificate=None, key=None, ca=None, verify=True, prepare=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if verify:
        context.load_verify_locations(ca or device.ca)
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate or device:
        context.load_cert_chain(certificate or device.cert, key or (device.key if device else None))
    if prepare:
        prepare(context)
    return context


class Wire:
    """One connection. Nothing here checks what it sends."""

    def __init__(self, fortress, device=None, version=5, plain=None, certificate=None, key=None, ca=None, verify=True,
                 prepare=None, timeout=10, listener='mqtts', context=None, source='127.0.0.1', session=None):
        """context: of an earlier connection (`tls_context`), for who makes thousands. source: our own address. session: of an
        earlier connection by the same context, to resume TLS by."""
        self.version = version
        self._bytes = b''
        raw = socket.create_connection(('127.0.0.1', fortress.ports[plain or listener]), timeout, (source, 0))
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port = raw.getsockname()[1]
        self.peer = f'{source}:{self.port}'
        if plain:
            self.socket = raw
            return
        context = context or tls_context(device, certificate, key, ca, verify, prepare)
        try:
            self.socket = context.wrap_socket(raw, server_hostname='localhost', session=session)
        except OSError:
            raw.close()
            raise

    def send(self, *packets):
        self.socket.sendall(b''.join(packets))
        return self

    def receive(self, timeout=10):
        """The next packet, or None when the server closed the connection."""
        self.socket.settimeout(timeout)
        while True:
            cut = self._cut()
            if cut:
                return cut
            try:
                more = self.socket.recv(65536)
            except (ConnectionResetError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
                return None
            except socket.timeout:
                raise AssertionError(f'no packet within {timeout} s') from None
            if not more:
                return None
            self._bytes += more

    def _cut(self):
        length, shift = 0, 0
        for i in range(1, 5):
            if i >= len(self._bytes):
                return None
            length |= (self._bytes[i] & 0x7f) << shift
            shift += 7
            if self._bytes[i] < 0x80:
                if len(self._bytes) < i + 1 + length:
                    return None
                whole, self._bytes = self._bytes[:i + 1 + length], self._bytes[i + 1 + length:]
                return Packet(whole[0], whole[i + 1:], self.version)
        raise AssertionError('the server sent a length of five bytes')

    def expect(self, kind, timeout=10):
        got = self.receive(timeout)
        assert got is not None, f'closed instead of packet {kind}'
        assert got.kind == kind, f'{got} instead of packet {kind}'
        return got

    def expect_among(self, kind, others, timeout=10):
        """The next packet of the kind; what comes before it goes to `others`."""
        while True:
            got = self.receive(timeout)
            assert got is not None, f'closed instead of packet {kind}'
            if got.kind == kind:
                return got
            others(got)

    def expect_close(self, timeout=10):
        """Reads until the server closes; gives the packets that came before."""
        before = []
        while True:
            got = self.receive(timeout)
            if got is None:
                return before
            before.append(got)

    def login(self, client_id, **more):
        """CONNECT and a CONNACK that says yes."""
        answer = self.send(connect(client_id, version=self.version, **more)).expect(CONNACK)
        assert answer.reason == 0, f'CONNACK {answer.reason:#x}'
        return self

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
