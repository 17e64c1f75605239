"""Conformance cases: what one client made of bytes, or two, may expect of any server. A case gets a Talk and asserts."""
import re
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

from harness import wire
from harness.ports import free_ports
from harness.wait import wait_until
from harness.wire import CONNACK, DISCONNECT, PINGREQ, PINGRESP, PUBACK, PUBLISH, SUBACK, Wire

POLICY = """version: 1
roles:
  peer:
    many: yes
    client_id: "*"
    publish:   [ { topic: "c/#", retain: yes }, { topic: "$c/#" } ]
    subscribe: [ "#", "$c/#" ]
    limits:    { connect_rate: 100000/s, connect_burst: 100000, publish_rate: 100000/s, publish_burst: 100000, retained_count: 10000 }
"""
LASTS = b'\x11\x00\x00\x0e\x10'  # a session expiry of an hour
CASES = []


def case(marks, versions=(4, 5)):
    """Registers a case under the ids that it proves (marks: tests/README.md)."""
    assert re.fullmatch(r'SP' r'EC: MQTT[35]?-[\d.]+-\d+(, MQTT[35]?-[\d.]+-\d+)*', marks), marks

    def keep(function):
        CASES.extend((function, version) for version in versions)
        return function
    return keep


class Message:
    """A received PUBLISH, taken apart."""

    def __init__(self, packet):
        assert packet.kind == PUBLISH, packet
        self.dup, self.qos, self.retain = packet.flags >> 3, packet.flags >> 1 & 3, packet.flags & 1
        size = struct.unpack('>H', packet.body[:2])[0]
        self.topic, rest = packet.body[2:2 + size], packet.body[2 + size:]
        self.id = rest[:2] if self.qos else b''
        rest = rest[len(self.id):]
        self.props = b''
        if packet.version == 5:
            size = next(i for i in range(1, 5) if rest[i - 1] < 0x80)
            length = sum((byte & 0x7f) << 7 * i for i, byte in enumerate(rest[:size]))
            self.props, rest = rest[size:size + length], rest[size + length:]
        self.payload = rest


class Mosquitto:
    """Debian's mosquitto beside us: one plain listener on loopback, everybody may do everything."""
    BINARY = shutil.which('mosquitto') or shutil.which('mosquitto', path='/usr/sbin:/usr/local/sbin')

    def __init__(self):
        self.ports = free_ports(['mqtt'])
        self.home = Path(tempfile.mkdtemp(prefix='mosquitto-test-'))
        (self.home / 'conf').write_text(f'listener {self.ports["mqtt"]} 127.0.0.1\nallow_anonymous true\n'
                                        'max_queued_messages 1000\npersistence false\n')
        self.process = None
        self.open()

    def open(self):
        """Starts it, again when a case has brought it down."""
        if self.process is not None and self.process.poll() is None:
            return
        self.process = subprocess.Popen([self.BINARY, '-c', str(self.home / 'conf')], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def is_up():
            try:
                Wire(self, plain='mqtt').close()
                return True
            except ConnectionRefusedError:
                return False
        wait_until('mosquitto', is_up)

    def wire(self, version):
        return Wire(self, version=version, plain='mqtt', timeout=3)

    def close(self):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.home, ignore_errors=True)


class Talk:
    """One case on one server in one version: names of its own, and connections that end with it."""

    def __init__(self, server, version, number, timeout=10):
        self.server, self.version, self.number, self.timeout = server, version, number, timeout
        self.v5 = version == 5
        self._open = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in self._open:
            one.close()

    def topic(self, tail='a'):
        return f'c/{self.number}/{tail}'

    def name(self, tail='a'):
        return f'k{self.number}{tail}'

    # -- connections --------------------------------------------------------------------------------------------------

    def wire(self):
        one = self.server.wire(self.version)
        self._open.append(one)
        one.ahead = []  # PUBLISHes that came while a PUBREL was awaited
        receive = one.receive
        one.receive = lambda timeout=None: receive(timeout or self.timeout)
        one.expect = lambda kind, timeout=None: Wire.expect(one, kind, timeout or self.timeout)
        one.expect_close = lambda timeout=None: Wire.expect_close(one, timeout or self.timeout)
        return one

    def hello(self, tail='a', **more):
        """A CONNECT; `lasts` for a session that outlives its connection."""
        if more.pop('lasts', False):
            more.setdefault('clean', False)
            if self.v5:
                more['properties'] = LASTS + more.get('properties', b'')
        return wire.connect(self.name(tail), version=self.version, **more)

    def client(self, tail='a', present=None, **more):
        """A client that is in; `present` asserts Session Present."""
        one = self.wire()
        answer = one.send(self.hello(tail, **more)).expect(CONNACK)
        assert answer.reason == 0, f'CONNACK {answer.reason:#x}'
        assert present is None or answer.body[0] == present, f'session present {answer.body[0]}'
        return one

    def reader(self, *filters, tail='r', **more):
        """A client with subscriptions; a filter is text (QoS 2) or (text, options)."""
        one = self.client(tail, **more)
        self.subscribe(one, *filters or (self.topic('#'),))
        return one

    def refused(self, data):
        """A CONNECT against the rules: the connection ends; 3.1.1 says nothing, 5.0 may say a reason, neither a success."""
        got = self.wire().send(data).expect_close()
        if not self.v5:
            assert got == [], got
        else:
            assert len(got) < 2 and all(one.kind == CONNACK and one.reason >= 0x80 and one.body[0] == 0 for one in got), got

    def fails(self, data, codes=None, one=None):
        """A packet against the rules ends the connection; 5.0 may say a reason in a DISCONNECT, of `codes` if it says one."""
        got = (one or self.client('f')).send(data).expect_close()
        if not self.v5:
            assert got == [], got
        else:
            assert len(got) < 2 and all(one.kind == DISCONNECT and one.reason >= 0x80 for one in got), got
            assert not got or codes is None or got[0].reason in codes, f'{got[0].reason:#x}'

    # -- packets ------------------------------------------------------------------------------------------------------

    def publish(self, one, tail='a', payload='x', qos=0, packet_id=1, **more):
        """Publishes, and finishes the QoS 1 or 2 of it."""
        one.send(self.publish_bytes(tail, payload, qos, packet_id, **more))
        if qos == 1:
            answer = one.expect(PUBACK)
            assert answer.body[:2] == struct.pack('>H', packet_id) and answer.reason < 0x80, f'PUBACK {answer.reason:#x}'
        elif qos == 2:
            assert one.expect(wire.PUBREC).body[:2] == struct.pack('>H', packet_id)
            one.send(wire.packet(wire.PUBREL, struct.pack('>H', packet_id), 2))
            assert one.expect(wire.PUBCOMP).body[:2] == struct.pack('>H', packet_id)

    def publish_bytes(self, tail='a', payload='x', qos=0, packet_id=1, **more):
        topic = tail if isinstance(tail, bytes) or tail.startswith(('c/', '$')) else self.topic(tail)
        return wire.publish(topic, payload, qos=qos, packet_id=packet_id, version=self.version, **more)

    def filters(self, packet_id, *filters, properties=b''):
        return wire.subscribe(packet_id, *[one if isinstance(one, tuple) else (one, 2) for one in filters],
                              version=self.version, properties=properties)

    def subscribe(self, one, *filters, packet_id=1, properties=b''):
        """The codes of the SUBACK."""
        got = one.send(self.filters(packet_id, *filters, properties=properties)).expect(SUBACK)
        assert got.body[:2] == struct.pack('>H', packet_id)
        return list(got.body[-len(filters):])

    def unsubscribe(self, one, *filters, packet_id=9):
        """The UNSUBACK."""
        body = struct.pack('>H', packet_id) + (b'\0' if self.v5 else b'') + b''.join(map(wire.field, filters))
        return one.send(wire.packet(wire.UNSUBSCRIBE, body, 2)).expect(wire.UNSUBACK)

    def get(self, one):
        """The next PUBLISH, answered as its QoS asks."""
        m = Message(one.ahead.pop(0) if one.ahead else one.expect(PUBLISH))
        if m.qos == 1:
            one.send(wire.packet(PUBACK, m.id))
        elif m.qos == 2:
            one.send(wire.packet(wire.PUBREC, m.id)).expect_among(wire.PUBREL, one.ahead.append, self.timeout)
            one.send(wire.packet(wire.PUBCOMP, m.id))
        return m

    def payloads(self, one, sender, tail='end', qos=1):
        """What came until now: the sender's mark, published last, closes the list."""
        self.publish(sender, tail, 'the end', qos=qos, packet_id=999)
        return self.payloads_until(one)

    def payloads_until(self, one, mark=b'the end'):
        got = []
        while True:
            m = self.get(one)
            if m.payload == mark:
                return got
            got.append(m.payload)

    def quiet(self, one):
        """Nothing is on the way to this client: the answer to PINGREQ comes next."""
        assert one.ahead == []
        one.send(wire.packet(PINGREQ)).expect(PINGRESP)
