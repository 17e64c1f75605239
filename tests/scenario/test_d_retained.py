"""d: retained messages without end: a quota for who says them, a pace for who asks for them, and commands for who looks after them."""
import os
import threading

import pytest

from harness import wire
from harness.fortress import Fortress, is_sanitized, metrics
from harness.paho_client import Paho
from harness.wait import wait_until
from harness.wire import PUBACK, PUBLISH, SUBACK, Wire

pytestmark = [pytest.mark.release, pytest.mark.timeout(900)]

N = int(os.environ.get('SALLYPORT_RETAINED', 10000 if is_sanitized() else 100000))
PACE = N // 10  # a second
AHEAD = 20 + 64  # in flight, and queued before what is live
INNOCENTS, EACH = 20, 5
POLICY = f"""
version: 1
roles:
  small:
    publish: [ {{ topic: "t/#", retain: yes }} ]
    limits: {{ publish_rate: 1000000/s, publish_burst: 1000000 }}
  filler:
    publish: [ {{ topic: "t/#", retain: yes }}, {{ topic: "r/#", retain: yes }} ]
    limits: {{ publish_rate: 1000000/s, publish_burst: 1000000, retained_count: {N} }}
  reader:
    subscribe: [ "#" ]
    limits: {{ replay_rate: {PACE}/s, retained_replay: {N} }}
  curious:
    subscribe: [ "#" ]
    limits: {{ retained_replay: {N - 1} }}
  innocent:
    publish: [ "i/${{device}}" ]
    subscribe: [ "i/${{device}}" ]
"""


def login(fortress, role):
    device = fortress.add(role, credentials=('x509',))
    return device, Wire(fortress, device).login(device.name)


@pytest.fixture(scope='module')
def full():
    """One client's N retained messages, as many as its role may have."""
    one = Fortress(policy=None)
    one.apply(POLICY)
    _, client = login(one, 'filler')
    with client:
        for first in range(0, N, 500):
            client.send(*(wire.publish(f't/{i // 100}/{i}', str(i), retain=True) for i in range(first, min(N, first + 500))))
        assert client.send(wire.publish('t/0/0', '0', qos=1, retain=True)).expect(PUBACK, timeout=300).reason in (0, 0x10)
        # one more is one too many
        assert client.send(wire.publish('t/more', 'x', qos=1, retain=True)).expect(PUBACK).reason == 0x97
    wait_until('N retained messages', lambda: metrics(one)['retained_messages'] == N)
    yield one
    one.close()


def test_the_default_quota_holds(full):
    """100,000 from one client whose role says nothing: 100 of them are kept."""
    device, client = login(full, 'small')
    with client:
        client.send(*(wire.publish(f't/small/{i}', 'x', retain=True) for i in range(1000)))
        assert client.send(wire.publish('t/small/last', 'x', qos=1, retain=True)).expect(PUBACK, timeout=60).reason == 0x97
        full.wait_event('quota', principal=device.name)
        kept = full.json('retained', 'list', 't/small/#')
        assert len(kept) == 100 and {line['principal'] for line in kept} == {device.name}
        full.cli('retained', 'purge', 't/small/#', '--yes')
        assert client.send(wire.publish('t/small/last', '', qos=1, retain=True)).expect(PUBACK).reason in (0, 0x10)
    wait_until('the hundred to go', lambda: metrics(full)['retained_messages'] == N)


def test_a_wildcard_costs_what_it_may(full):
    device, client = login(full, 'curious')
    with client:
        assert client.send(wire.subscribe(1, ('#', 0))).expect(SUBACK).body[-1] == 0x97
        event = full.wait_event('wildcard', principal=device.name, target='#')[-1]
        assert f'retained_replay {N - 1} of role curious' in event['reason'] and 'Subscribe to less' in event['reason']
        assert client.send(wire.subscribe(2, ('t/0/#', 0))).expect(SUBACK).body[-1] == 0


def chat(fortress, done):
    """Says something to itself, and hears it, in order, while the replay goes on."""
    device = fortress.add('innocent', credentials=('x509',))
    with Paho(device) as client:
        assert client.subscribe(f'i/{device.name}') == [1]
        for i in range(EACH):
            client.publish(f'i/{device.name}', str(i))
            assert client.get(timeout=60).payload == str(i).encode()
    done.append(device.name)


def test_it_is_paced_and_others_go_on(full):
    _, reader = login(full, 'reader')
    done, seen, live, deepest = [], [], 0, 0
    chats = [threading.Thread(target=chat, args=(full, done)) for _ in range(INNOCENTS)]
    with reader:
        reader.send(wire.subscribe(1, ('#', 0)))
        for thread in chats:
            thread.start()
        while len(seen) < N:
            packet = reader.receive(timeout=60)
            if packet.kind != PUBLISH:
                continue
            size = int.from_bytes(packet.body[:2], 'big')
            if packet.flags & 1:
                seen.append(packet.body[2:2 + size])
                if len(seen) % (N // 8) == 0:
                    deepest = max(deepest, metrics(full)['queued_messages'])
            else:
                live += 1
    for thread in chats:
        thread.join()
    assert len(set(seen)) == N  # each once
    assert live > 0  # between them: after the last one nothing was read
    assert len(done) == INNOCENTS
    assert deepest <= AHEAD + INNOCENTS * EACH


def test_purge_and_undo_survive_kill_9(full):
    shares = full.json('retained', 'list', '--by', 'principal')
    assert sum(share['messages'] for share in shares) == N
    assert len(full.json('retained', 'list', 't/+/7')) == 1
    assert full.cli('retained', 'purge', 't/1/#', check=False).returncode == 2  # nobody there to ask
    purged = full.json('retained', 'purge', 't/1/#', '--yes')[0]
    assert (purged['purged'], purged['kept']) == (100, 100)
    full.wait_event('config_change', target='t/1/#', principal='admin')
    full.kill()
    full.start()
    assert full.json('retained', 'list', 't/1/#') == []
    _, client = login(full, 'filler')
    with client:
        assert client.send(wire.publish('t/1/100', 'newer', qos=1, retain=True)).expect(PUBACK).reason in (0, 0x10)
    back = full.json('retained', 'undo', str(purged['undo']))[0]
    assert (back['restored'], back['passed_over']) == (99, 1)
    full.kill()
    full.start()
    lines = full.json('retained', 'list', 't/1/#')
    assert len(lines) == 100
    assert [line['bytes'] for line in lines if line['topic'] == 't/1/100'] == [len('newer')]
    _, reader = login(full, 'reader')
    with reader:
        reader.send(wire.subscribe(1, ('t/1/101', 0)))
        packet = reader.expect_among(PUBLISH, lambda other: None)
        assert packet.body.endswith(b'101') and packet.flags & 1
    again = full.cli('retained', 'undo', str(purged['undo']), check=False)
    assert again.returncode == 1 and 'there is no undo record' in again.stderr
