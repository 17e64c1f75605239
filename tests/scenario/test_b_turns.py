"""b: what a connection said and what others have for it leave in one send: what came while the server did not look is one turn."""
import os
import signal
import socket
import struct

import pytest

from harness import wire
from harness.fortress import Fortress
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
