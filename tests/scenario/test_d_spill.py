"""d: what waits for who is asleep may be several times memory_bytes: it waits on disk, and comes in order; also after kill -9."""
import re
import time
from pathlib import Path

import pytest

from harness import wire
from harness.fortress import counted, is_sanitized, metrics
from harness.wait import wait_until
from harness.wire import CONNACK, PUBACK, PUBLISH, SUBACK, Wire

pytestmark = pytest.mark.release

MIB = 1 << 20
CEILING = 48 * MIB
BODY = 64 * 1024
TIMES = 2 if is_sanitized() else 3
MESSAGES = TIMES * CEILING // BODY
BURST = 20

POLICY = """
version: 1
roles:
  reader:
    subscribe: [ "big/#" ]
    limits: { queue_messages: 100000, queue_bytes: 512MiB, inflight: 20 }
  writer:
    publish: [ "big/#" ]
    limits: { publish_rate: 100000/s, publish_burst: 100000, inflight: 20 }
"""


@pytest.fixture
def small(make_fortress):
    one = make_fortress(settings=('memory_bytes=48MiB',), policy=None)
    one.apply(POLICY)
    return one


def login(fortress, device, *filters, clean=True):
    client = Wire(fortress, device)
    client.send(wire.connect(device.name, clean=clean, properties=b'\x11' + (3600).to_bytes(4, 'big')))
    connack = client.expect(CONNACK, timeout=60)
    if filters:
        client.send(wire.subscribe(1, *filters)).expect(SUBACK)
    return client, connack.body[0] & 1


def body_of(number):
    return b'%08d ' % number + bytes([number % 251]) * (BODY - 9)


def says(writer, first, n, topic='big/a'):
    """QoS 1, a window at a time; each was acknowledged, so each is a promise."""
    for begin in range(first, first + n, BURST):
        burst = range(begin, min(begin + BURST, first + n))
        for number in burst:
            writer.send(wire.publish(topic, body_of(number), qos=1, packet_id=number % BURST + 1))
        for number in burst:
            answer = writer.expect(PUBACK, timeout=60)
            assert answer.reason in (0, 0x10), (number, answer)


def hears(reader, first, n):
    """Each of them whole, in order, acknowledged."""
    at = 2 + len('big/a')
    for number in range(first, first + n):
        message = reader.expect(PUBLISH, timeout=60)
        payload = message.body[at + 3:]
        assert payload == body_of(number), (number, payload[:20], len(payload))
        reader.send(wire.packet(PUBACK, message.body[at:at + 2]))


def peak_resident(fortress):
    """The most that the broker's process ever had, in bytes."""
    status = Path(f'/proc/{fortress.processes()[1]}/status').read_text()
    return int(re.search(r'VmHWM:\s+(\d+) kB', status)[1]) * 1024


def within_the_ceiling(fortress):
    now = metrics(fortress)
    assert now['memory_used_bytes'] < CEILING, now
    if not is_sanitized():
        assert peak_resident(fortress) < CEILING, peak_resident(fortress) / MIB
    return now


def nothing_was_lost(now):
    assert sum(n for name, n in now.items() if name.startswith('dropped_total')) == 0, now
    assert now['refusals_total{reason="memory"}'] == 0


def test_more_than_the_ceiling_waits_and_comes(small):
    device = small.add('reader', credentials=('x509',))
    login(small, device, ('big/#', 1))[0].socket.close()
    writer = login(small, small.add('writer', credentials=('x509',)))[0]
    says(writer, 0, MESSAGES)
    assert counted(small, 'queued_messages', MESSAGES) == MESSAGES
    now = within_the_ceiling(small)
    assert now['queued_bytes'] > TIMES * CEILING
    assert now['spilled_total'] > MESSAGES / 2
    nothing_was_lost(now)

    small.kill()
    begin = time.monotonic()
    small.start()
    small.wait_log(r'store: \d+ bodies stay on disk')
    assert counted(small, 'queued_messages', MESSAGES) == MESSAGES
    now = within_the_ceiling(small)
    print(f'up again with {now["queued_bytes"] / MIB:.0f} MiB waiting after {time.monotonic() - begin:.1f} s')

    # Half of it, then the server is killed once more, with bodies on their way; then the rest, and what is new.
    reader, is_present = login(small, device, clean=False)
    assert is_present
    half = MESSAGES // 2
    hears(reader, 0, half)
    wait_until('the acknowledgements', lambda: metrics(small)['queued_messages'] == MESSAGES - half, 20, pause=0.05)
    within_the_ceiling(small)
    writer = login(small, small.add('writer', credentials=('x509',)))[0]
    says(writer, MESSAGES, 1)  # its commit has the acknowledgements, too
    small.kill()
    small.start()
    reader, is_present = login(small, device, clean=False)
    assert is_present
    writer = login(small, small.add('writer', credentials=('x509',)))[0]
    says(writer, MESSAGES + 1, BURST)
    hears(reader, half, MESSAGES - half + 1 + BURST)
    now = wait_until('an empty queue', lambda: empty(small), 20, pause=0.05)
    within_the_ceiling(small)
    assert now['read_back_total'] > 0
    nothing_was_lost(now)


def empty(fortress):
    now = metrics(fortress)
    return now if now['queued_messages'] == 0 else None


def test_so_does_what_waits_for_who_reads_too_slowly(small):
    """Connected, and not reading: the queue's own limits decide, not memory_bytes; over them drops are counted and said."""
    most = TIMES * CEILING // BODY // 2
    small.apply(POLICY.replace('queue_messages: 100000', f'queue_messages: {most}'))
    device = small.add('reader', credentials=('x509',))
    reader = login(small, device, ('big/#', 1))[0]
    writer = login(small, small.add('writer', credentials=('x509',)))[0]
    says(writer, 0, most)
    assert counted(small, 'queued_messages', most) == most
    now = within_the_ceiling(small)
    assert now['spilled_total'] > most / 4
    nothing_was_lost(now)
    says(writer, most, BURST)  # beyond the limit
    assert counted(small, 'dropped_total{reason="queue"}', BURST) == BURST
    within_the_ceiling(small)
    assert 'queue_messages' in small.wait_event('slow_client', about=device.name)[0]['reason']
    hears(reader, 0, most)
    wait_until('an empty queue', lambda: empty(small), 20, pause=0.05)
    within_the_ceiling(small)
