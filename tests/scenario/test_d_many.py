"""d: thousands of devices that say nothing. None is lost, each is still heard and told, and what one costs is reported.

SALLYPORT_MANY is how many (500; 15,000 fit into 20,000 descriptors of the daemon and as many of ours). What one costs means
something on an optimized build alone: `SALLYPORT_MANY=15000 SALLYPORT_BIN=build/sallyport ... -s tests/scenario/test_d_many.py`."""
import os
import resource
from pathlib import Path

import pytest

from harness import wire
from harness.fortress import counted, metrics
from harness.wait import wait_until
from harness.wire import Wire, tls_context

MANY = int(os.environ.get('SALLYPORT_MANY', 500))
KEEP_ALIVE_S = 3600
PATIENCE_S = 60 + MANY // 50

pytestmark = [pytest.mark.release, pytest.mark.timeout(300 + MANY // 5)]

POLICY = """version: 1
roles:
  fleet: { kind: service, many: yes, client_id: "*", publish: [ "t/#" ], subscribe: [ "t/#" ], limits: { connect_rate: 100000/s, connect_burst: 100000 } }
"""


@pytest.fixture(scope='module')
def descriptors():
    """As many as the daemon and the clients need, for both."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < MANY + 500:
        pytest.skip(f'{MANY} connections need a limit of {MANY + 500} descriptors: it is {before[1]}')
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


CONNECTED = 'connections{listener="mqtts"}'


def resident(fortress):
    """Bytes of all its processes."""
    pages = sum(int(Path(f'/proc/{pid}/statm').read_text().split()[1]) for pid in fortress.processes())
    return pages * resource.getpagesize()


def connected(fortress):
    return metrics(fortress)[CONNECTED]


def test_thousands_of_idle_devices(descriptors, make_fortress, record_property):
    fortress = make_fortress(policy=POLICY, settings=('connect_per_second=100000', 'connect_burst=100000', 'keep_alive_seconds=3600',
                                                      'preauth_seconds=60'))
    fleet = fortress.add('fleet')
    context, clients = tls_context(fleet), []

    def more(name):
        return Wire(fortress, context=context, timeout=PATIENCE_S).login(name, keep_alive=KEEP_ALIVE_S)

    try:
        speaker = more('speaker')
        before = resident(fortress)
        clients += [more(f'idle-{i}') for i in range(MANY)]
        each = (resident(fortress) - before) / MANY
        record_property('bytes_each', round(each))
        print(f'{MANY} idle connections over TLS with a client certificate: {each:.0f} bytes each')
        assert counted(fortress, CONNECTED, MANY + 1) == MANY + 1, 'all are there'
        for client in clients:
            client.send(wire.subscribe(1, ('t/all', 0)))
        for client in clients:
            assert client.expect(wire.SUBACK, timeout=PATIENCE_S).reason == 0
        speaker.send(wire.publish('t/all', 'to all of you', qos=1, packet_id=7)).expect(wire.PUBACK, timeout=PATIENCE_S)
        for client in clients:
            assert client.expect(wire.PUBLISH, timeout=PATIENCE_S).body.endswith(b'to all of you')
        for client in clients:
            client.send(wire.packet(wire.PINGREQ))
        for client in clients:
            client.expect(wire.PINGRESP, timeout=PATIENCE_S)
        assert connected(fortress) == MANY + 1, 'none was dropped'
        assert counted(fortress, 'handshakes_total{result="ok"}', MANY + 1) == MANY + 1
    finally:
        for client in clients:
            client.socket.close()
    wait_until('all to be gone', lambda: connected(fortress) <= 1, PATIENCE_S, pause=0.2)
