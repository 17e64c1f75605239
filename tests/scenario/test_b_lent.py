"""b: large payloads leave from where their messages have them, small ones by a buffer: what arrives is the same, however slowly it is read."""
import hashlib
import struct

import pytest

from harness import wire
from harness.fortress import Fortress
from harness.wait import wait_until
from harness.wire import PUBACK, PUBLISH, SUBACK, Wire

pytestmark = pytest.mark.release

LEAST = 8192  # LENDING_LEAST of core/lending.h
SIZES = (LEAST, 1, LEAST - 1, 100, LEAST + 1, 20000, 100000, LEAST, LEAST, 3)
ROUNDS = 40  # more than both kernels' buffers hold
TOTAL = ROUNDS * sum(SIZES)
POLICY = """version: 1
roles:
  any:
    publish: [ { topic: "t/#", retain: yes } ]
    subscribe: [ "t/#" ]
    limits: { publish_rate: 100000/s, publish_burst: 100000, queue_messages: 10000, queue_bytes: 64MiB, inflight: 50, retained_bytes: 1MiB }
"""
FOREVER = b'\x11\xff\xff\xff\xff'


def payload(n):
    """Like no other, in none of its parts."""
    size = SIZES[n % len(SIZES)]
    return (f'{n:06}'.encode() + b''.join(hashlib.sha256(f'{n}/{i}'.encode()).digest() for i in range(size // 32 + 1)))[:size]


@pytest.fixture
def in_the_clear():
    one = Fortress(listeners=('mqtts', 'mqtt'), policy=None, settings=('workers=2',))
    one.apply(POLICY)
    one.cli('exception', 'add', '--listener', 'mqtt', '--allow', 'plaintext', '--for', '1h', '--reason', 'a meter without TLS')
    yield one
    one.close()


def joins(fortress, plain='mqtt', version=5, **more):
    device = fortress.add('any', credentials=('password', 'x509'))
    client = Wire(fortress, device, plain=plain, version=version).login(device.name, user=device.name, password=device.password, **more)
    client.device = device
    return client


def in_the_kernel(client):
    """Bytes that wait for this client to read, at both ends of its connection."""
    n, end = 0, f':{client.port:04X}'
    with open('/proc/net/tcp', encoding='ascii') as table:
        for line in list(table)[1:]:
            fields = line.split()
            send, receive = (int(one, 16) for one in fields[4].split(':'))
            n += receive if fields[1].endswith(end) else send if fields[2].endswith(end) else 0
    return n


def says_all(speaks):
    for first in range(0, ROUNDS * len(SIZES), len(SIZES)):
        numbers = range(first, first + len(SIZES))
        speaks.send(*(wire.publish('t/a', payload(n), qos=1, packet_id=n + 1) for n in numbers))
        for _ in numbers:
            assert speaks.expect(PUBACK, 60).reason == 0


def heard(packet):
    """(packet id or None, DUP, payload) of a PUBLISH of t/a."""
    assert packet.kind == PUBLISH and packet.body[:5] == b'\x00\x03t/a', packet
    at = 5 + (2 if packet.flags & 6 else 0)
    said = packet.body[at + (1 + packet.body[at] if packet.version == 5 else 0):]
    return struct.unpack('>H', packet.body[5:7])[0] if packet.flags & 6 else None, bool(packet.flags & 8), said


def hears(client, numbers, is_dup=False, acknowledges=True):
    for n in numbers:
        packet_id, dup, said = heard(client.expect(PUBLISH, 60))
        assert said == payload(n), (n, len(said))
        assert dup == is_dup
        if packet_id and acknowledges:
            client.send(wire.packet(PUBACK, struct.pack('>H', packet_id)))


def test_slow_readers_get_every_byte(in_the_clear):
    """Pieces of small and large messages, cut by a socket that is full wherever it is; QoS 0 and 1, both versions, beside TLS."""
    everything = range(ROUNDS * len(SIZES))
    slow = [joins(in_the_clear), joins(in_the_clear, version=4), joins(in_the_clear), joins(in_the_clear, plain=None)]
    for one, qos in zip(slow, (0, 0, 1, 1)):
        assert one.send(wire.subscribe(1, ('t/#', qos), version=one.version)).expect(SUBACK).reason == qos
    speaks = joins(in_the_clear)
    says_all(speaks)
    for one in slow[:2]:
        wait_until('its socket is full', lambda one=one: 0 < in_the_kernel(one) < TOTAL)
    for one in slow:
        hears(one, everything)
        one.close()
    speaks.close()


def test_who_comes_back_gets_them_again(in_the_clear):
    """A connection that ends in the middle of a large message: the next one begins with the first that was not acknowledged."""
    one = joins(in_the_clear, clean=False, properties=FOREVER)
    assert one.send(wire.subscribe(1, ('t/#', 1))).expect(SUBACK).reason == 1
    speaks = joins(in_the_clear)
    says_all(speaks)
    hears(one, range(12))
    hears(one, range(12, 20), acknowledges=False)
    one.socket.close()
    device = one.device
    again = Wire(in_the_clear, device, plain='mqtt').login(device.name, user=device.name, password=device.password, clean=False,
                                                           properties=FOREVER)
    hears(again, range(12, 20), is_dup=True)
    for n in range(20, ROUNDS * len(SIZES)):  # which of them had left before is the server's to know
        packet_id, _, said = heard(again.expect(PUBLISH, 60))
        assert said == payload(n), (n, len(said))
        again.send(wire.packet(PUBACK, struct.pack('>H', packet_id)))
    again.close()
    speaks.close()


def test_retained_ones_are_lent_too(in_the_clear):
    speaks = joins(in_the_clear)
    for n, size in enumerate(SIZES):
        speaks.send(wire.publish(f't/{n}', payload(n), qos=1, packet_id=n + 1, retain=True)).expect(PUBACK)
    one = joins(in_the_clear)
    one.send(wire.subscribe(1, ('t/#', 1))).expect(SUBACK)
    got = {}
    for _ in SIZES:
        packet = one.expect(PUBLISH)
        assert packet.flags & 1
        got[packet.body[4] - ord('0')] = packet.body[8:]
        one.send(wire.packet(PUBACK, packet.body[5:7]))
    assert got == {n: payload(n) for n in range(len(SIZES))}
    one.close()
    speaks.close()
