"""d: bad input by the thousand, over TLS and in the clear: each one refused with its own code and counted once, the flood folded in
the trail, and nothing of it stays: no memory, no descriptor, no session, and no message of anybody else is lost.

SALLYPORT_REJECTS is how many of each group are sent. The classes one by one are in src/engine/mqtt_reject_rows_test.h."""
import json
import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from harness import wire
from harness.fortress import Fortress, metrics, times
from harness.talk import POLICY, Message
from harness.wait import wait_until
from harness.wire import AUTH, CONNACK, CONNECT, DISCONNECT, PINGREQ, PUBACK, PUBLISH, PUBREL, SUBACK, SUBSCRIBE, UNSUBSCRIBE, Wire

pytestmark = [pytest.mark.release, pytest.mark.timeout(1800)]

TIMES = int(os.environ.get('SALLYPORT_REJECTS', 300))
GROWTH_MAX = 1 << 20  # what the broker's memory may grow by in the second half of a group
REFUSED = ('malformed', 'protocol_error', 'quota', 'utf8')
TOPIC, GUEST = wire.field('c/bad'), """
  guest:
    client_id: "*"
    publish:   [ { topic: "c/#" } ]
    limits:    { connect_rate: 100000/s, connect_burst: 100000 }
"""


def hello(version, *body, flags=0x02):
    return wire.packet(CONNECT, wire.field('MQTT') + bytes([version, flags, 0, 60]) + b''.join(body))


def props(data):
    return wire.varint(len(data)) + data


# What is sent, the category it is counted under, and the reason it is told (None: not a word). `first`: instead of a CONNECT.
STRANGERS = [
    (wire.publish('c/bad', 'x'), 'protocol_error', None),
    (wire.packet(wire.CONNACK, b'\0\0\0'), 'protocol_error', None),
    (b'\x10\xff\xff\xff\xff', 'malformed', None),
    (b'\x10\xff\xff\xff\x7f', 'quota', None),
    (hello(5, b'\0', wire.field('k'), flags=3), 'malformed', 0x81),
    (hello(4, wire.field('k'), flags=3), 'malformed', None),
    (hello(6, b'\0', wire.field('k')), 'protocol_error', 0x84),
    (hello(5, b'\0', wire.field(b'\xc0\x80')), 'utf8', 0x81),
    (hello(5, b'\0', wire.field('k' * 65)), 'quota', 0x85),
    (hello(5, props(b'\x21\0\0'), wire.field('k')), 'protocol_error', 0x82),
    (hello(5, b'\0', wire.field('k'), b'\0', wire.field('c/#'), wire.field('x'), flags=6), 'malformed', 0x90),
]
# One way of being wrong, another client id and another offset each time.
VARIED = [(hello(5, b'\0', wire.field(f'k{i}'), wire.field(b'a' * i + b'\xff'), flags=0x82), 'utf8', 0x81) for i in range(100)]
MALFORMED = [
    (wire.packet(PINGREQ, b'', 1), 'malformed', 0x81),
    (wire.packet(PINGREQ, b'\0'), 'malformed', 0x81),
    (b'\x30\xff\xff\xff\xff', 'malformed', 0x81),
    (wire.packet(PUBLISH, TOPIC + b'\0\1\0', 6), 'malformed', 0x81),
    (wire.packet(PUBLISH, TOPIC + b'\0\0\0', 2), 'malformed', 0x81),
    (wire.packet(PUBREL, b'\0\1', 0), 'malformed', 0x81),
    (wire.packet(PUBACK, b'\0'), 'malformed', 0x81),
    (wire.packet(UNSUBSCRIBE, b'\0\1\0' + TOPIC + b'\0', 2), 'malformed', 0x81),
    (wire.publish('c/#', 'x'), 'malformed', 0x90),
    (wire.subscribe(1, 'c/#/d'), 'malformed', 0x8f),
]
ORDER = [
    (hello(5, b'\0', wire.field('k')), 'protocol_error', 0x82),
    (wire.packet(CONNACK, b'\0\0\0'), 'protocol_error', 0x82),
    (wire.packet(SUBACK, b'\0\1\0\0'), 'protocol_error', 0x82),
    (wire.packet(AUTH), 'protocol_error', 0x82),
    (wire.packet(SUBSCRIBE, b'\0\1\0', 2), 'protocol_error', 0x82),
    (wire.packet(DISCONNECT, b'\x8e'), 'protocol_error', 0x82),
    (wire.publish('', 'x', properties=b'\x23\0\5'), 'protocol_error', 0x82),
]
PROPERTIES = [
    (wire.publish('c/bad', 'x', properties=b'\x23\0\0'), 'protocol_error', 0x94),
    (wire.publish('c/bad', 'x', properties=b'\1\2'), 'protocol_error', 0x82),
    (wire.publish('c/bad', 'x', properties=b'\1\1\1\1'), 'protocol_error', 0x82),
    (wire.publish('c/bad', 'x', properties=b'\x11\0\0\0\1'), 'malformed', 0x81),
    (wire.publish('c/bad', 'x', properties=b'\x7f\0'), 'malformed', 0x81),
    (wire.publish('c/bad', 'x', properties=b'\3\0\2\xc0\x80'), 'utf8', 0x81),
    (wire.publish('c/bad', b'\xff', properties=b'\1\1'), 'utf8', 0x99),
    (wire.publish('c/bad', 'x', properties=b'\x26\0\1k\0\1v' * 65), 'quota', 0x97),
    (wire.subscribe(1, 'c/bad', properties=b'\x0b\0'), 'protocol_error', 0x82),
    (wire.packet(DISCONNECT, b'\0' + props(b'\x1c\0\1x')), 'protocol_error', 0x82),
]
LIMITS = [
    (b'\x30\xff\xff\xff\x7f', 'quota', 0x95),
    (wire.publish('c' * 257, 'x'), 'quota', 0x90),
    (wire.publish('c' + '/c' * 16, 'x'), 'quota', 0x90),
    (wire.subscribe(1, 'c' * 257), 'quota', 0x8f),
]
OLD = [
    (wire.packet(PINGREQ, b'', 1), 'malformed', None),
    (wire.publish('c/#', 'x', version=4), 'malformed', None),
    (wire.publish(b'c\xff', 'x', version=4), 'utf8', None),
    (wire.packet(SUBSCRIBE, b'\0\1', 2), 'protocol_error', None),
    (wire.packet(PUBACK, b'\0\1\0'), 'malformed', None),
    (hello(4, wire.field('k')), 'protocol_error', None),
]


class Innocents:
    """Two who do everything right meanwhile: what the one publishes, the other gets, and nothing else."""

    def __init__(self, fortress, device):
        self.fortress, self.device, self.said, self.got = fortress, device, [], []
        self._reader = Wire(fortress, device).login('innocent-reader')
        self._reader.send(wire.subscribe(1, ('#', 1))).expect(SUBACK)
        self._writer = Wire(fortress, device).login('innocent-writer')
        self._over, self._error = threading.Event(), None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        try:
            while not self._over.is_set():
                self._one()
        except (AssertionError, OSError) as error:
            self._error = error

    def _one(self):
        payload = b'%d' % len(self.said)
        self._writer.send(wire.publish('c/good', payload, 1, len(self.said) % 60000 + 1))
        assert self._writer.expect(PUBACK).reason == 0
        self.said.append(('c/good', payload))
        one = Message(self._reader.expect(PUBLISH))
        self._reader.send(wire.packet(PUBACK, one.id))
        self.got.append((one.topic.decode(), one.payload))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join(30)
        for one in (self._writer, self._reader):
            one.send(wire.packet(PINGREQ)).expect(wire.PINGRESP)  # nothing else is on its way
            one.send(wire.packet(DISCONNECT)).expect_close()

    def were_served(self):
        assert self._error is None, self._error
        assert len(self.said) > 5 and self.said == self.got


class Trail:
    """The lines of the audit trail as they are written."""

    def __init__(self, fortress):
        self.fortress, self.found = fortress, []
        self._tail = subprocess.Popen([str(fortress.binary), '-C', str(fortress.dir), 'audit', 'tail', '-n', '1000', '-f'],
                                      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._following = threading.Event()
        self._thread.start()
        assert self._following.wait(30), 'the trail has no line'  # from here on it has its descriptor in the daemon

    def _read(self):
        for line in self._tail.stdout:
            self._following.set()
            event = json.loads(line)
            if event['category'] in REFUSED:
                self.found.append(event)

    def settled(self):
        """How many lines there are when they tell of every refusal that was counted."""
        def told():
            return {category: sum(times(one) for one in self.found if one['category'] == category) for category in REFUSED}
        wait_until('the trail', lambda: told() == counts(self.fortress)[0], pause=0.1)
        return len(self.found)

    def close(self):
        self._tail.terminate()
        self._tail.wait(10)
        self._thread.join(10)


@pytest.fixture(scope='module')
def tower():
    one = Fortress(listeners=('mqtts', 'coaps', 'mqtt'), policy=None,
                   settings=('connect_per_second=100000', 'connect_burst=100000'))
    try:
        one.apply(POLICY + GUEST.lstrip('\n'))
        one.cli('exception', 'add', '--listener', 'mqtt', '--allow', 'plaintext,anonymous', '--role', 'guest', '--for', '2h',
                '--reason', 'bad input is to be tried in the clear, too')
        one.bad, one.good = one.add('peer', name='bad'), one.add('peer', name='good')
        wait_until('the plain listener', lambda: is_open(one))
        one.trail = Trail(one)
        yield one
        one.trail.close()
    finally:
        one.close()


def is_open(fortress):
    try:
        Wire(fortress, plain='mqtt').close()
        return True
    except ConnectionRefusedError:
        return False


class Broker:
    """The broker's process from outside."""

    def __init__(self, fortress):
        self.pid = fortress.processes()[1]

    def rss(self):
        status = Path(f'/proc/{self.pid}/status').read_text()
        return int(status.split('VmRSS:')[1].split()[0]) * 1024

    def descriptors(self):
        return len(os.listdir(f'/proc/{self.pid}/fd'))


def reject(fortress, how, version, case):
    """One connection that sends the bytes and hears the reason."""
    data, _, reason = case
    is_stranger = how == 'stranger'
    plain = None if how == 'tls' else 'mqtt'
    with Wire(fortress, version=version, plain=plain, context=fortress.context) as one:
        one.send(data if is_stranger else wire.connect('bad', version=version) + data)
        heard = one.expect_close()
    if not is_stranger:
        assert heard and heard[0].kind == CONNACK and heard[0].reason == 0, heard
        heard = heard[1:]
    kind = CONNACK if is_stranger else DISCONNECT
    assert [(it.kind, it.reason) for it in heard] == ([(kind, reason)] if reason is not None else []), (data, heard)


def counts(fortress):
    """How often each refusal was counted, and how many live here."""
    found = metrics(fortress)
    return ({category: int(found.get(f'events_total{{category="{category}"}}', 0)) for category in REFUSED},
            sum(found[f'connections{{listener="{name}"}}'] for name in ('mqtt', 'mqtts')) + found['sessions'])


GROUPS = {
    'strangers-plain': ('stranger', 5, STRANGERS),
    'strangers-varied': ('stranger', 5, VARIED),
    'malformed-tls': ('tls', 5, MALFORMED),
    'order-tls': ('tls', 5, ORDER),
    'properties-tls': ('tls', 5, PROPERTIES),
    'limits-tls': ('tls', 5, LIMITS),
    '3.1.1-tls': ('tls', 4, OLD),
    'properties-anonymous': ('anonymous', 5, PROPERTIES),
}


@pytest.mark.parametrize('group', GROUPS)
def test_a_flood_of(tower, group, sanitized, capsys):
    how, version, cases = GROUPS[group]
    tower.context = wire.tls_context(tower.bad)
    broker = Broker(tower)
    want = counts(tower)[0]
    for case in cases:
        reject(tower, how, version, case)
        want[case[1]] += 1
    descriptors = wait_until('quiet', lambda: quiet(tower) and broker.descriptors())
    all_counted(tower, want)
    n_lines = tower.trail.settled()
    began = time.monotonic()
    with Innocents(tower, tower.good) as innocents:
        for i in range(TIMES):
            if i == TIMES // 2:
                half = broker.rss()
            reject(tower, how, version, cases[i % len(cases)])
        grown = broker.rss() - half
        seconds = time.monotonic() - began
    innocents.were_served()
    wait_until('the end of all connections', lambda: quiet(tower))
    # The daemon looks into /proc now and then: at the beginning it may have had one more for that moment.
    wait_until('the descriptors to be closed', lambda: broker.descriptors() <= descriptors)
    if not sanitized:
        assert grown < GROWTH_MAX, f'{grown} bytes more after {TIMES // 2} more'
    for i in range(TIMES):
        want[cases[i % len(cases)][1]] += 1
    all_counted(tower, want)
    n_lines = tower.trail.settled() - n_lines
    ways = 1 if cases is VARIED else len(cases)
    assert n_lines <= ways * (2 * seconds + 4), f'{n_lines} lines for {TIMES} rejects: a flood is one line a second'
    with capsys.disabled():
        print(f'\n{group}: {TIMES} in {seconds:.1f} s, {n_lines} lines, memory {grown:+} bytes in the second half, '
              f'{len(innocents.said)} messages of others meanwhile')


def all_counted(fortress, want):
    """Each of them, and no other: an event is counted when the service thread has it."""
    def seen():
        found = counts(fortress)[0]
        return all(found[category] >= n for category, n in want.items())
    wait_until('each to be counted', seen, pause=0.1)
    assert counts(fortress)[0] == want


def quiet(fortress):
    return counts(fortress)[1] == 0
