"""b: what a connection said and what others have for it leave in one send: what came while the server did not look is one turn."""
import os
import select
import signal
import socket
import struct

import pytest

from harness import wire
from harness.fortress import Fortress
from harness.wait import wait_until
from harness.wire import PINGRESP, PUBACK, PUBLISH, SUBACK, Wire

pytestmark = pytest.mark.release

ROUNDS = 5  # a ticket of TLS may come between in one of them
MESSAGES = 20


@pytest.fixture
def one_worker():
    one = Fortress(settings=('workers=1',), policy=None)
    one.apply('version: 1\nroles:\n  any: { publish: [ "t/#" ], subscribe: [ "t/#" ] }\n')
    yield one
    one.close()


def segments(client):
    """With data, that the kernel has received for it: struct tcp_info's tcpi_data_segs_in."""
    return struct.unpack_from('I', client.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192), 152)[0]


def test_one_send_a_turn(one_worker):
    one, two = (one_worker.add('any', credentials=('x509',)) for _ in range(2))
    broker = one_worker.processes()[1]
    with Wire(one_worker, one).login(one.name) as listens, Wire(one_worker, two).login(two.name) as speaks:
        assert listens.send(wire.subscribe(1, ('t/#', 0))).expect(SUBACK).reason == 0
        taken = []
        for _ in range(ROUNDS):
            speaks.send(wire.publish('t/a', 'first', qos=1)).expect(PUBACK)
            listens.expect(PUBLISH)
            before = segments(listens)
            os.kill(broker, signal.SIGSTOP)
            try:
                listens.send(b'\xc0\x00')
                speaks.send(*(wire.publish('t/a', f'{i}') for i in range(MESSAGES)))
            finally:
                os.kill(broker, signal.SIGCONT)
            listens.expect(PINGRESP)
            for _ in range(MESSAGES):
                listens.expect(PUBLISH)
            taken.append(segments(listens) - before)
        assert min(taken) == 1, taken


LARGE, WRITERS, OF_EACH, AT_ONCE = 'x' * 4096, 12, 9, 256 * 1024


def test_large_messages_leave_before_more_is_read(one_worker):
    """An answer goes in front of what is queued. This one is behind: when its ping was read, much had left already."""
    broker = one_worker.processes()[1]
    listens, *speak = (Wire(one_worker, one).login(one.name)
                       for one in [one_worker.add('any', credentials=('x509',)) for _ in range(1 + WRITERS)])
    assert listens.send(wire.subscribe(1, ('t/#', 0))).expect(SUBACK).reason == 0
    speak[0].send(b'\xc0\x00').expect(PINGRESP)  # the kernel has told of who listens, and puts it last when it speaks again
    os.kill(broker, signal.SIGSTOP)
    try:
        for n, one in enumerate(speak):
            one.send(*(wire.publish(f't/{n:02}', f'{i}{LARGE}') for i in range(OF_EACH)))
        listens.send(b'\xc0\x00')
    finally:
        os.kill(broker, signal.SIGCONT)
    came = [listens.receive(10) for _ in range(WRITERS * OF_EACH + 1)]
    numbers = {}
    for packet in came:
        if packet.kind == PUBLISH:
            numbers.setdefault(packet.body[2:6], []).append(packet.body[7] - ord('0'))  # behind the properties: none
    assert numbers == {f't/{n:02}'.encode(): list(range(OF_EACH)) for n in range(WRITERS)}
    before_it = [packet.kind for packet in came].index(PINGRESP)
    assert before_it * len(LARGE) > AT_ONCE / 2, before_it
    for one in (listens, *speak):
        one.close()


@pytest.fixture
def in_the_clear():
    one = Fortress(listeners=('mqtts', 'mqtt'), policy=None)
    one.apply('version: 1\nroles:\n  any: { publish: [ "t/#" ], subscribe: [ "t/#" ] }\n')
    one.cli('exception', 'add', '--listener', 'mqtt', '--allow', 'plaintext', '--for', '1h', '--reason', 'a meter without TLS')
    yield one
    one.close()


def said_about(fortress, peer):
    return [(event['category'], event['reason']) for event in fortress.events() if event['peer'] == peer]


def is_reset(client):
    """The kernel answers for a connection that no process has any more: what comes is refused by a reset."""
    poll = select.poll()
    poll.register(client.socket, select.POLLERR)
    return poll.poll(10000) != []


def test_who_takes_leave_is_let_go_at_once(in_the_clear):
    """All that was for it arrives, then the end, in order; nobody waits for the other half to be closed."""
    device = in_the_clear.add('any', credentials=('password',))
    said = [wire.publish('t/a', f'{i}', qos=1, packet_id=i + 1) for i in range(MESSAGES)]
    with Wire(in_the_clear, plain='mqtt').login(device.name, user=device.name, password=device.password) as client:
        client.send(*said, b'\xe0\x00')
        for i in range(MESSAGES):
            assert client.expect(PUBACK).body[:2] == struct.pack('>H', i + 1)
        client.socket.settimeout(10)
        assert client.socket.recv(1) == b'', 'the end, and no reset'
        assert client.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        wait_until('its event', lambda: ('disconnect', 'the client disconnected') in said_about(in_the_clear, client.peer))
        client.send(b'x')
        assert is_reset(client), 'it is read on for a moment, as of one that was closed by the server'


def test_who_is_sent_away_is_listened_to_a_moment(in_the_clear):
    """Of who has not taken leave more may be under way: that must not turn the last words into a reset."""
    device = in_the_clear.add('any', credentials=('password',))
    with Wire(in_the_clear, plain='mqtt').login(device.name, user=device.name, password=device.password) as client:
        client.send(b'\x00\x00')  # no packet of MQTT
        assert client.expect(wire.DISCONNECT).reason == 0x81
        client.send(b'x')
        client.socket.settimeout(10)
        assert client.socket.recv(1) == b''
        assert client.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
