"""b: every bound of the contract, set small at `init --set`: what is at it passes, what is over it gets the protocol's word."""
import socket
import time

import pytest

from harness import wire
from harness.fortress import Fortress
from harness.paho_client import Paho
from harness.refusal import Watch
from harness.wire import CONNACK, DISCONNECT, PUBACK, PUBREC, SUBACK, Wire

pytestmark = pytest.mark.release

POLICY = '''version: 1
roles:
  sensor: { publish: [ "t/#" ] }
  any: { many: yes, publish: [ { topic: "t/#", retain: yes } ], subscribe: [ "t/#" ] }
  one: { publish: [ { topic: "t/#", retain: yes } ], subscribe: [ "t/#" ] }
  big: { limits: { subscriptions: 6, queue_messages: 9 }, publish: [ "t/#" ], subscribe: [ "t/#" ] }
'''
SETTINGS = ('user_properties=4', 'filters_per_packet=3', 'topic_bytes=40', 'topic_levels=5', 'packet_bytes=4KiB',
            'preauth_bytes=1KiB', 'client_id_bytes=30', 'role_limits.subscriptions=5', 'inflight=3', 'queue_messages=7',
            'retained_count=4', 'retained_bytes=100', 'session_expiry=1h', 'keep_alive_seconds=60', 'connect_rate=1/s',
            'role_limits.connect_burst=30', 'preauth_seconds=60')
VERSIONS = pytest.mark.parametrize('version', [4, 5], ids=['v311', 'v5'])


@pytest.fixture(scope='module')
def small():
    one = Fortress(settings=SETTINGS, policy=None)
    one.apply(POLICY)
    yield one
    one.close()


def login(fortress, version=5, role='one', **more):
    device = fortress.add(role, credentials=('x509',))
    return device, Wire(fortress, device, version).login(device.name, **more)


def properties(n):
    return b'\x26\x00\x01k\x00\x01v' * n


def test_user_properties(small):
    device, client = login(small)
    with client:
        assert client.send(wire.publish('t/a', 'x', qos=1, properties=properties(4))).expect(PUBACK).reason in (0, 0x10)
        watch = Watch(small)
        last = client.send(wire.publish('t/a', 'x', qos=1, properties=properties(5))).expect_close()
        assert last and last[-1].kind == DISCONNECT and last[-1].reason in (0x95, 0x97), last
        watch.expect('quota', client.peer, device.name)


@VERSIONS
def test_filters_per_packet(small, version):
    """Over it: the same code for every filter, nothing subscribed, and the connection stays."""
    _, client = login(small, version)
    code = 0x97 if version == 5 else 0x80
    with client:
        three = ['t/0', 't/1', 't/2']
        assert client.send(wire.subscribe(1, *three, 't/3', version=version)).expect(SUBACK).body[-4:] == bytes([code] * 4)
        client.send(wire.publish('t/0', 'x', qos=1, version=version)).expect(PUBACK)
        assert client.send(wire.subscribe(2, *three, version=version)).expect(SUBACK).body[-3:] == bytes([1] * 3)
        client.send(wire.publish('t/3', 'x', qos=1, version=version)).expect(PUBACK)
        client.send(wire.packet(wire.PINGREQ)).expect(wire.PINGRESP)


@pytest.mark.parametrize('good,bad', [('t/' + 'x' * 38, 't/' + 'x' * 39), ('t/1/2/3/4', 't/1/2/3/4/5')],
                         ids=['topic_bytes', 'topic_levels'])
def test_topics_and_filters(small, good, bad):
    _, client = login(small)
    with client:
        assert client.send(wire.publish(good, 'x', qos=1)).expect(PUBACK).reason in (0, 0x10)
        assert client.send(wire.subscribe(1, good)).expect(SUBACK).reason == 1
        got = client.send(wire.subscribe(2, bad)).receive()
        assert (got.kind, got.reason) in [(SUBACK, 0x97), (SUBACK, 0x8f), (DISCONNECT, 0x8f)], got
    _, client = login(small)
    with client:
        got = client.send(wire.publish(bad, 'x', qos=1)).receive()
        assert got.kind in (PUBACK, DISCONNECT) and got.reason in (0x90, 0x95, 0x97), got


@VERSIONS
def test_packet_bytes(small, version):
    device, client = login(small, version)
    whole = 4096
    room = whole - len(wire.publish('t/a', b'', qos=1, version=version)) - 1
    with client:
        packet = wire.publish('t/a', b'x' * room, qos=1, version=version)
        assert len(packet) == whole
        client.send(packet).expect(PUBACK)
        watch = Watch(small)
        last = client.send(wire.publish('t/a', b'x' * (room + 1), qos=1, version=version)).expect_close()
        assert [one.reason for one in last] == ([0x95] if version == 5 else [])
        watch.expect('quota', client.peer, device.name)


def test_connack_tells_what_is_allowed(small):
    """Maximum Packet Size, Receive Maximum and the keep-alive of the server are in the CONNACK."""
    device = small.add('one', credentials=('x509',))
    with Wire(small, device) as client:
        body = client.send(wire.connect(device.name, keep_alive=0)).expect(CONNACK).body
        assert b'\x27\x00\x00\x10\x00' in body and b'\x21\x00\x03' in body and b'\x13\x00\x3c' in body, body.hex()


def test_session_expiry_is_capped(small):
    device = small.add('one', credentials=('x509',))
    with Wire(small, device) as client:
        body = client.send(wire.connect(device.name, properties=b'\x11\xff\xff\xff\xff')).expect(CONNACK).body
        assert b'\x11\x00\x00\x0e\x10' in body, body.hex()


@pytest.mark.parametrize('size,good', [(30, True), (31, False)])
def test_client_id_bytes(small, size, good):
    device = small.add('any', credentials=('x509',))
    with Wire(small, device) as client:
        reason = client.send(wire.connect('x' * size)).expect(CONNACK).reason
        # A role grants any client id only when it says so; the length comes first.
        assert (reason == 0x85) if not good else reason in (0, 0x85)


def test_preauth_bytes(small):
    device = small.add('one', credentials=('x509',))
    with Wire(small, device) as client:
        try:
            got = client.send(wire.connect(device.name, user=device.name, password='x' * 2000)).expect_close()
        except OSError:
            got = []
        assert all(one.kind in (CONNACK, DISCONNECT) and one.reason >= 0x80 for one in got)
        small.wait_event('quota', peer=client.peer)


@VERSIONS
def test_subscriptions(small, version):
    _, client = login(small, version)
    with client:
        for i in range(5):
            assert client.send(wire.subscribe(1, f't/{i}', version=version)).expect(SUBACK).reason == 1
        assert client.send(wire.subscribe(1, 't/5', version=version)).expect(SUBACK).reason == (0x97 if version == 5 else 0x80)
        assert client.send(wire.subscribe(1, 't/1', version=version)).expect(SUBACK).reason == 1


def test_a_roles_own_limits_go_first(small):
    _, client = login(small, role='big')
    with client:
        for i in range(6):
            assert client.send(wire.subscribe(1, f't/{i}')).expect(SUBACK).reason == 1
        assert client.send(wire.subscribe(1, 't/6')).expect(SUBACK).reason == 0x97


def test_inflight(small):
    """The window holds to the client, and the client is held to it."""
    device, client = login(small)
    with client:
        for i in range(1, 4):
            assert client.send(wire.publish('t/a', 'x', qos=2, packet_id=i)).expect(PUBREC).reason in (0, 0x10)
        last = client.send(wire.publish('t/a', 'x', qos=2, packet_id=4)).expect_close()
        assert last and (last[-1].kind, last[-1].reason) == (DISCONNECT, 0x93)
    writer_device, writer = login(small)
    with writer, Wire(small, device).login(device.name) as reader:
        reader.send(wire.subscribe(1, 't/in')).expect(SUBACK)
        for i in range(1, 6):
            writer.send(wire.publish('t/in', str(i), qos=1, packet_id=i)).expect(PUBACK)
        got = [reader.expect(wire.PUBLISH) for _ in range(3)]
        reader.send(wire.packet(wire.PINGREQ)).expect(wire.PINGRESP)  # the fourth waits
        topic_end = 2 + len('t/in')
        reader.send(wire.packet(PUBACK, got[0].body[topic_end:topic_end + 2]))
        assert reader.expect(wire.PUBLISH).body.endswith(b'4')
    del writer_device


def test_queue_messages(small):
    sleeper, writer = small.add('one', credentials=('x509',)), small.add('one', credentials=('x509',))
    with Paho(sleeper, session_expiry=600) as awake:
        assert awake.subscribe('t/q', 1) == [1]
    with Paho(writer) as client:
        for i in range(10):
            client.publish('t/q', str(i), 1)
    small.wait_event('quota', about=sleeper.name)
    assert 'sallyport_dropped_total{reason="queue"} 3' in small.cli('metrics')
    with Paho(sleeper, clean=False, session_expiry=0) as again:
        got = [again.get().payload.decode() for _ in range(7)]
        assert got == [str(i) for i in range(7)] or got == [str(i) for i in range(3, 10)]
        assert again.messages.empty()


def test_retained_count_and_bytes(small):
    _, client = login(small)
    with client:
        def keep(topic, payload, good):
            answer = client.send(wire.publish(topic, payload, qos=1, retain=True)).expect(PUBACK)
            assert (answer.reason in (0, 0x10)) if good else answer.reason == 0x97, (topic, answer)
        for i in range(4):
            keep(f't/k/{i}', 'x' * 100, True)
        keep('t/k/4', 'x', False)
        keep('t/k/0', 'x' * 101, False)
        keep('t/k/0', '', True)
        keep('t/k/4', 'x', True)


def test_connect_rate(small, opened):
    """All at once, however slow the machine is: thirty, and one a second."""
    device = small.add('one', credentials=('x509',))
    clients = [opened(Wire(small, device)) for _ in range(45)]
    for client in clients:
        client.send(wire.connect(device.name))
    answers = [client.receive() for client in clients]
    reasons = [answer.reason if answer else None for answer in answers]
    assert reasons.count(0) >= 30 and any(reason in (0x9f, 0x97) for reason in reasons), reasons
    small.wait_event('rate', about=device.name)


def test_preauth_seconds_is_for_all_of_it(make_fortress):
    fortress = make_fortress(settings=('preauth_seconds=2',))
    begin = time.monotonic()
    with socket.create_connection(('127.0.0.1', fortress.ports['mqtts']), 10) as raw:
        raw.settimeout(30)
        try:
            assert raw.recv(1) == b''
        except ConnectionResetError:
            pass
    assert 1.5 < time.monotonic() - begin < 30
