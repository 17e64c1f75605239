"""d: every bound at n and one past it, with the protocol's own code and one event."""
import socket
import time

import pytest

from harness import wire
from harness.coap_message import MAX_AGE, POST
from harness.coap_peer import Peer
from harness.refusal import Watch
from harness.wait import wait_until
from harness.wire import CONNACK, DISCONNECT, PUBACK, SUBACK, Wire

pytestmark = pytest.mark.release

POLICY = """
version: 1
roles:
  any:
    publish: [ { topic: "t/#", retain: yes } ]
    subscribe: [ "t/#" ]
  slow:
    publish: [ "t/#" ]
    limits: { publish_rate: 5/s }
  sensor: { publish: [ "s/#" ] }
"""


@pytest.fixture(scope='module')
def small():
    from harness.fortress import Fortress
    one = Fortress(settings=('packet_bytes=8KiB', 'preauth_seconds=3'), policy=None)
    one.apply(POLICY)
    yield one
    one.close()


def login(fortress, role='any'):
    device = fortress.add(role, credentials=('x509',))
    return device, Wire(fortress, device).login(device.name)


def test_packet_bytes(small):
    """The bound counts the whole packet."""
    device, client = login(small)
    room = 8192 - len(wire.publish('t/a', b'', qos=1)) - 1  # the remaining length takes one byte more
    with client:
        at_limit = wire.publish('t/a', b'x' * room, qos=1)
        assert len(at_limit) == 8192
        assert client.send(at_limit).expect(PUBACK).reason in (0, 0x10)
        watch = Watch(small)
        last = client.send(wire.publish('t/a', b'x' * (room + 1), qos=1)).expect_close()
        assert [(one.kind, one.reason) for one in last] == [(DISCONNECT, 0x95)]
        watch.expect('quota', client.peer, device.name)


@pytest.mark.parametrize('good,bad', [('t' + '/x' * 15, 't' + '/x' * 16), ('t/' + 'x' * 254, 't/' + 'x' * 255)],
                         ids=['topic_levels', 'topic_bytes'])
def test_topic_bounds(small, good, bad):
    _, client = login(small)
    with client:
        assert client.send(wire.publish(good, 'x', qos=1)).expect(PUBACK).reason in (0, 0x10)
        answer = client.send(wire.publish(bad, 'x', qos=1)).receive()
        assert answer.kind in (PUBACK, DISCONNECT) and answer.reason in (0x90, 0x97, 0x95)


def test_filters_per_packet(small):
    _, client = login(small)
    with client:
        eight = [f't/{i}' for i in range(8)]
        assert client.send(wire.subscribe(1, *eight)).expect(SUBACK).body[-8:] == bytes([1] * 8)
        assert client.send(wire.subscribe(2, *eight, 't/8')).expect(SUBACK).body[-9:] == bytes([0x97] * 9)
        client.send(wire.packet(wire.PINGREQ)).expect(wire.PINGRESP)


def test_subscriptions_of_a_role(small):
    _, client = login(small)
    with client:
        for i in range(50):
            assert client.send(wire.subscribe(1, f't/{i}')).expect(SUBACK).reason == 1
        assert client.send(wire.subscribe(1, 't/50')).expect(SUBACK).reason == 0x97
        assert client.send(wire.subscribe(1, 't/1')).expect(SUBACK).reason == 1, 'replacing one is not one more'


def test_retained_count(small):
    _, client = login(small)
    with client:
        for i in range(100):
            assert client.send(wire.publish(f't/kept/{i}', 'x', qos=1, retain=True)).expect(PUBACK).reason in (0, 0x10)
        assert client.send(wire.publish('t/kept/100', 'x', qos=1, retain=True)).expect(PUBACK).reason == 0x97
        assert client.send(wire.publish('t/kept/1', 'y', qos=1, retain=True)).expect(PUBACK).reason in (0, 0x10)


def test_publish_rate(small):
    """Over the rate a publisher is read more slowly, in either version: nothing is refused, nothing is lost."""
    device, client = login(small, 'slow')
    with client:
        begin = time.monotonic()
        for i in range(1, 21):
            client.send(wire.publish('t/a', 'x', qos=1, packet_id=i))
        for i in range(1, 21):
            got = client.expect(PUBACK, 10)
            assert got.reason in (0, 0x10)
        # 10 at once (twice the rate), the other 10 at 5 a second.
        assert time.monotonic() - begin > 1.5
        small.wait_event('rate', principal=device.name)


def test_publish_rate_by_coap(small):
    """Over the rate CoAP is told to come again later, and does nothing meanwhile; others of the role notice nothing."""
    device, other = (small.add('slow', credentials=('psk',)) for _ in range(2))
    with Peer(device) as one, Peer(other) as beside:
        answers = [one.ask(POST, 'mq/t/a', b'x')]
        while answers[-1].text != '4.29':
            assert answers[-1].text == '2.04' and len(answers) < 500, 'it never ends'
            answers.append(one.ask(POST, 'mq/t/a', b'x'))
        assert len(answers) > 10, 'twice the rate, at once'
        assert answers[-1].number(MAX_AGE) >= 1
        assert beside.ask(POST, 'mq/t/a', b'x').text == '2.04'
        event, = small.wait_event('rate', principal=device.name)
        assert '4.29' in event['reason'] and event['protocol'] == 'coap'
        wait_until('its rate again', lambda: one.ask(POST, 'mq/t/a', b'x').text == '2.04', pause=0.2)


def test_a_connection_that_never_says_who_it_is(small):
    """preauth_seconds counts from accept to CONNACK, whatever dribbles in."""
    with socket.create_connection(('127.0.0.1', small.ports['mqtts']), 10) as raw:
        raw.settimeout(15)
        try:
            assert raw.recv(1) == b''
        except ConnectionResetError:
            pass
    device = small.add('any')
    with Wire(small, device) as client:
        client.send(wire.connect(device.name)[:10])
        assert client.expect_close(15) == []


def test_too_much_before_connect_is_done(small):
    device = small.add('any')
    with Wire(small, device) as client:
        huge = wire.connect(device.name, user=device.name, password='x' * 9000)
        try:
            got = client.send(huge).expect_close()
        except OSError:
            got = []
        assert [one.kind for one in got] in ([], [CONNACK], [DISCONNECT])
        assert all(one.reason >= 0x80 for one in got)


def test_receive_maximum_of_the_server(small):
    """More unacknowledged QoS 2 messages than the server said it takes."""
    device = small.add('any')
    with Wire(small, device) as client:
        answer = client.send(wire.connect(device.name)).expect(CONNACK)
        assert answer.reason == 0
        for i in range(1, 200):
            try:
                client.send(wire.publish('t/a', 'x', qos=2, packet_id=i))
            except OSError:
                break
        last = client.expect_close()
        assert last[-1].kind == DISCONNECT and last[-1].reason in (0x93, 0x96, 0x97)
