"""d: memory_bytes holds for the process: the largest slow consumer goes, the others lose nothing, and it comes back."""
import socket

import pytest

from harness import coap, wire
from harness.coap_message import GET, MAX_AGE, OBSERVE, PUT
from harness.coap_peer import Peer
from harness.fortress import counted, metrics
from harness.wait import wait_until
from harness.wire import CONNACK, PUBACK, PUBLISH, SUBACK, Wire

pytestmark = pytest.mark.release

MIB = 1 << 20
CEILING = 64 * MIB
N_INNOCENT = 20

POLICY = """
version: 1
roles:
  greedy:
    subscribe: [ "big/#" ]
    limits: { queue_messages: 100000, queue_bytes: 512MiB }
  writer:
    publish: [ "big/#", "small/#" ]
    limits: { publish_rate: 100000/s, publish_burst: 100000 }
  crowd:
    many: yes
    client_id: "*"
    subscribe: [ "big/#" ]
    limits: { connect_rate: 10000/s, connect_burst: 10000 }
  meter:
    publish: [ { topic: "meters/${device}/#", retain: yes } ]
    subscribe: [ "meters/${device}/#" ]
  innocent:
    subscribe: [ "small/#" ]
    limits: { inflight: 100 }
"""


@pytest.fixture
def small(make_fortress):
    one = make_fortress(settings=('memory_bytes=64MiB',), policy=None)
    one.apply(POLICY)
    return one


def login(fortress, role, *filters, expiry=0, small_socket=False):
    device = fortress.add(role, credentials=('x509',))
    client = Wire(fortress, device)
    if small_socket:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    properties = b'\x11' + expiry.to_bytes(4, 'big') if expiry else b''
    client.send(wire.connect(device.name, properties=properties)).expect(CONNACK)
    if filters:
        client.send(wire.subscribe(1, *filters)).expect(SUBACK)
    return device, client


def numbers(fortress):
    return metrics(fortress)


def test_a_greedy_reader_goes_and_nobody_else_loses(small, opened):
    before = numbers(small)
    assert before['memory_ceiling_bytes'] == CEILING
    assert 0 < before['memory_used_bytes'] < CEILING * 0.75
    greedy_device, greedy = login(small, 'greedy', ('big/#', 1), small_socket=True)
    innocents = [opened(login(small, 'innocent', ('small/#', 1), expiry=600)[1]) for _ in range(N_INNOCENT)]
    _, writer = login(small, 'writer')
    big, sent = b'x' * 200_000, 0
    pids = small.processes()

    def got_all():
        """Every innocent reads what was sent so far and acknowledges it."""
        for one in innocents:
            message = one.expect(PUBLISH, timeout=30)
            assert message.body.endswith(b'no %d' % sent), (message, sent)
            at = 2 + len('small/a')
            one.send(wire.packet(PUBACK, message.body[at:at + 2]))

    # Each message that innocents wait for goes out behind a megabyte for the greedy one, who reads nothing.
    while numbers(small).get('shed_total{who="slow_client"}', 0) == 0:
        assert sent < 120, 'the ceiling was never reached'
        for i in range(5):
            writer.send(wire.publish('big/a', big, qos=1, packet_id=i + 1))
        for _ in range(5):
            assert writer.expect(PUBACK, timeout=30).reason in (0, 0x10)
        sent += 1
        writer.send(wire.publish('small/a', b'no %d' % sent, qos=1, packet_id=9))
        assert writer.expect(PUBACK, timeout=30).reason == 0
        got_all()

    event = small.wait_event('slow_client', about=greedy_device.name)[0]
    assert 'memory_bytes' in event['reason'] and 'KiB' in event['reason']
    small.wait_event('quota', severity='alert', target='memory_bytes')
    after = wait_until('memory to be free again', lambda: free_again(small), 20, pause=0.1)
    assert after['memory_used_bytes'] < CEILING * 0.75
    small.wait_event('quota', severity='notice', target='memory_bytes')
    wait_until('the alert to end', lambda: not [one for one in small.json('alerts') if 'memory' in one.get('target', '')], 20,
               pause=0.1)
    # Nobody else was touched: the same connections, nothing lost, and the door is open.
    sent += 1
    writer.send(wire.publish('small/a', b'no %d' % sent, qos=1, packet_id=9)).expect(PUBACK)
    got_all()
    assert counted(small, 'shed_total{who="slow_client"}', 1) == 1
    assert after['refusals_total{reason="memory"}'] == 0 and after['shed_total{who="stranger"}'] == 0
    _, back = login(small, 'greedy', ('big/#', 1))
    assert small.processes() == pids
    assert after['memory_peak_bytes'] <= CEILING
    for one in (*innocents, greedy, writer, back):
        one.socket.close()


def free_again(fortress):
    now = numbers(fortress)
    return now if now['memory_used_bytes'] < CEILING * 0.75 else None


def test_slow_sockets_stay_within_their_budget(small, opened):
    """Readers that stop, each with the queue of 4 MiB that a role has: QoS 0 for them is dropped and counted."""
    small.apply(POLICY.replace('queue_messages: 100000, queue_bytes: 512MiB', 'queue_bytes: 1MiB'))
    slow = [login(small, 'greedy', ('big/#', 0), small_socket=True) for _ in range(8)]
    for _, one in slow:
        opened(one)
    _, writer = login(small, 'writer')
    begin = numbers(small)['memory_used_bytes']
    big = b'x' * 100_000
    for _ in range(300):
        writer.send(wire.publish('big/a', big))
    writer.send(wire.packet(wire.PINGREQ)).expect(wire.PINGRESP, timeout=30)
    now = wait_until('drops', lambda: dropped(small, 300), 20, pause=0.1)
    # One message is shared by all who wait for it; what a socket did not take is a copy.
    assert now['memory_used_bytes'] - begin < 8 * (1 + 0.7) * MIB, now['memory_used_bytes'] - begin
    lines = small.wait_event('slow_client', about=slow[0][0].name)
    assert 'queue_bytes' in lines[0]['reason'] and len(lines) < 60
    for _, one in (*slow, (None, writer)):
        one.socket.close()


def dropped(fortress, least):
    now = numbers(fortress)
    return now if now['dropped_total{reason="queue"}'] >= least else None


def test_a_crowd_of_slow_sockets_stays_below_the_ceiling(small, opened):
    """200 readers that stop, under the limits that every role has: their queues share what waits, and are bounded."""
    device = small.add('crowd', credentials=('x509',))
    context = wire.tls_context(device)
    crowd = []
    for i in range(200):
        one = opened(Wire(small, context=context))
        one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.send(wire.connect(f'crowd-{i}')).expect(CONNACK)
        one.send(wire.subscribe(1, ('big/#', 0))).expect(SUBACK)
        crowd.append(one)
    _, innocent = login(small, 'innocent', ('small/#', 1), expiry=600)
    _, writer = login(small, 'writer')
    big = b'x' * 100_000
    for sent in range(40):
        writer.send(*[wire.publish('big/a', big)] * 5)
        writer.send(wire.publish('small/a', b'no %d' % sent, qos=1, packet_id=9))
        assert writer.expect(PUBACK, timeout=30).reason == 0
        message = innocent.expect(PUBLISH, timeout=30)
        assert message.body.endswith(b'no %d' % sent)
        innocent.send(wire.packet(PUBACK, message.body[9:11]))
    assert numbers(small)['memory_peak_bytes'] <= CEILING
    wait_until('drops', lambda: sum(numbers(small)[f'dropped_total{{reason="{why}"}}'] for why in ('queue', 'pressure')) > 200)
    for one in crowd:
        one.socket.close()
    wait_until('memory to be free again', lambda: free_again(small), 20, pause=0.1)
    writer.send(wire.publish('small/a', 'last', qos=1, packet_id=9)).expect(PUBACK)
    assert innocent.expect(PUBLISH).body.endswith(b'last')
    for one in (innocent, writer):
        one.socket.close()


def test_coap_is_put_off_at_the_ceiling_and_goes_on_after_it(small):
    """What sleeping sessions were promised fills memory: CoAP gets 5.03 with Max-Age, nobody new comes in, nobody is lost."""
    meter = small.add('meter', credentials=('psk', 'x509'))
    topic = f'/mq/meters/{meter.name}/state'
    # What waits for a group stays in memory, whole: all else would wait on disk alone.
    greedy_device, sleeper = login(small, 'greedy', ('$share/g/big/#', 1), expiry=600)
    sleeper.socket.close()
    _, writer = login(small, 'writer')
    big = b'x' * 200_000
    with Peer(meter) as one, Peer(meter) as watching:
        assert one.exchange(PUT, topic, b'before').text == '2.01'
        assert watching.exchange(GET, topic, options=[(OBSERVE, 0)]).payload == b'before'
        refused = numbers(small)['refusals_total{reason="memory"}']
        n_in_a_row, i = 0, 0
        while n_in_a_row < 4:  # what is acknowledged is all that fits, and what the disk was owed is there
            i += 1
            assert i < 400, 'the ceiling was never reached'
            writer.send(wire.publish('big/a', big, qos=1, packet_id=i))
            n_in_a_row = n_in_a_row + 1 if writer.expect(PUBACK, timeout=30).reason == 0x97 else 0
            if n_in_a_row:
                numbers(small)
        answer = one.exchange(PUT, topic, b'meanwhile')
        assert (answer.text, answer.number(MAX_AGE)) == ('5.03', 10)
        assert one.exchange(GET, topic).text == '5.03'
        event = small.wait_event('quota', about=meter.name)[0]
        assert '5.03' in event['reason'] and 'memory_bytes' in event['reason']
        # Who is not in yet stays outside, before any key is looked at.
        stranger = coap.request(coap.BUILDS[0], meter, 'get', topic, wait_s=2) if coap.BUILDS else None
        assert stranger is None or 'before' not in stranger.payload
        counted(small, 'refusals_total{reason="memory"}', refused + 3)
        assert one.is_alive() and watching.is_alive()
        assert numbers(small)['memory_peak_bytes'] <= CEILING
        # The sleeper is removed: there is room again, and everything is as before.
        small.cli('device', 'remove', greedy_device.name)
        wait_until('memory to be free again', lambda: free_again(small), 20, pause=0.1)
        assert one.exchange(PUT, topic, b'after').text == '2.04'
        assert watching.receive().payload == b'after'
        assert one.exchange(GET, topic).payload == b'after'
    writer.socket.close()
