"""b: shared subscriptions. Each message has exactly one reader, also when a reader dies, loses its grant, sleeps, or the daemon dies."""
import queue
from contextlib import ExitStack

import pytest

from harness import mosquitto, wire
from harness.fortress import POLICY
from harness.mosquitto import Subscriber
from harness.paho_client import Paho
from harness.wait import wait_until
from harness.wire import CONNACK, DISCONNECT, PINGREQ, PINGRESP, PUBLISH, SUBACK, Wire

pytestmark = pytest.mark.release

SHARE = '$share/readers/sensors/#'
EXPIRY = b'\x11\x00\x00\x0e\x10'
SHARED_AVAILABLE = b'\x2a\x01'


def drain(paho):
    """What has come until now."""
    out = []
    while True:
        try:
            out.append(paho.messages.get_nowait().payload.decode())
        except queue.Empty:
            return out


@pytest.mark.parametrize('version', [4, 5], ids=['v311', 'v5'])
@pytest.mark.parametrize('qos', [0, 1, 2])
def test_three_members_share_300_messages(fortress, version, qos):
    """Clients of one `many` role and of different devices: members live on several workers."""
    sensor, one, other = fortress.add('sensor'), fortress.add('console'), fortress.add('console')
    sent = [str(i) for i in range(300)]
    with ExitStack() as stack:
        members = [stack.enter_context(Paho(device, client_id=name, version=version))
                   for device, name in ((one, f'a{version}{qos}'), (one, f'b{version}{qos}'), (other, f'c{version}{qos}'))]
        writer = stack.enter_context(Paho(sensor, version=version))
        for member in members:
            assert member.subscribe(SHARE, qos) == [qos]
        seen = [[] for _ in members]
        for text in sent:
            writer.client.publish(f'sensors/north/{sensor.name}/n', text, qos)

        def all_have_come():
            for got, member in zip(seen, members):
                got.extend(drain(member))
            return sum(len(got) for got in seen) >= len(sent)

        wait_until('all messages', all_have_come, timeout=30)
        writer.publish(f'sensors/north/{sensor.name}/n', 'mark', qos=1)  # what came twice would be here by now
        wait_until('the mark', lambda: all_have_come() and any('mark' in got for got in seen), timeout=10)
        assert sorted(text for got in seen for text in got if text != 'mark') == sorted(sent)
        assert all(len(got) >= 50 for got in seen), 'everybody has a turn'
        for got in seen:
            assert got == sorted(got, key=lambda text: int(text) if text != 'mark' else 999), 'in order for each'


def test_mosquitto_sub_is_a_member(fortress):
    sensor, one, other = fortress.add('sensor'), fortress.add('console'), fortress.add('console')
    with Subscriber(one, '$share/g/sensors/#', qos=1) as a, Subscriber(other, '$share/g/sensors/#', qos=1) as b, \
            Subscriber(one, 'sensors/#', qos=1, client_id='all-of-it') as everything:
        for i in range(10):
            mosquitto.publish(sensor, f'sensors/north/{sensor.name}/n', str(i), qos=1)
        assert everything.payloads(10) == [str(i) for i in range(10)]
        got = a.payloads(5) + b.payloads(5)
        assert sorted(got, key=int) == [str(i) for i in range(10)]


def test_connack_says_that_they_are_there(fortress):
    console = fortress.add('console')
    with Wire(fortress, console) as client:
        answer = client.send(wire.connect('c')).expect(CONNACK)
        assert answer.reason == 0 and SHARED_AVAILABLE in answer.body


@pytest.mark.parametrize('filter_,options,reason', [
    ('$share/g/sensors/#', 0x05, 0x82), ('$share/g', 1, 0x8f), ('$share//sensors/x', 1, 0x8f), ('$share/g/', 1, 0x8f),
    ('$share/g+/sensors/x', 1, 0x8f), ('$share/#/sensors/x', 1, 0x8f)])
def test_what_is_no_shared_subscription(fortress, filter_, options, reason):
    """MQTT-3.8.3-4, MQTT-4.8.2-1, MQTT-4.8.2-2."""
    console = fortress.add('console')
    with Wire(fortress, console) as client:
        client.login('c')
        assert client.send(wire.subscribe(1, (filter_, options))).expect(DISCONNECT).reason == reason


def test_no_retained_message_comes_with_it(fortress):
    sensor, console = fortress.add('sensor'), fortress.add('console')
    mosquitto.publish(sensor, f'status/{sensor.name}', 'kept', '-r', qos=1)
    with Wire(fortress, console) as client:
        client.login('c')
        assert client.send(wire.subscribe(1, f'$share/g/status/{sensor.name}')).expect(SUBACK).reason == 1
        client.send(wire.packet(PINGREQ)).expect(PINGRESP)


def test_what_a_dead_member_had_not_acknowledged_is_anothers(fortress):
    sensor, one, other = fortress.add('sensor'), fortress.add('console'), fortress.add('console')
    with Wire(fortress, one) as silent:
        silent.login('silent')
        assert silent.send(wire.subscribe(1, SHARE)).expect(SUBACK).reason == 1
        for i in range(5):
            mosquitto.publish(sensor, f'sensors/north/{sensor.name}/n', str(i), qos=1)
            silent.expect(PUBLISH)
        with Paho(other) as alive:
            assert alive.subscribe(SHARE, 1) == [1]
            silent.close()
            assert [alive.get().payload.decode() for _ in range(5)] == [str(i) for i in range(5)]


def test_a_grant_that_ends_gives_the_turn_to_another(make_fortress):
    """Also for what waits for a member that sleeps."""
    fortress = make_fortress()
    lamp, console, guest = fortress.add('lamp'), fortress.add('console'), fortress.add('lamp')
    share = f'$share/g/lamps/{lamp.name}/state'
    with_guest = POLICY.read_text().replace('subscribe: [ "lamps/${device}/+",',
                                            f'subscribe: [ "lamps/{lamp.name}/state", "lamps/${{device}}/+",')
    fortress.apply(with_guest)
    with Wire(fortress, console) as client:
        client.login('sleeper', properties=EXPIRY)
        assert client.send(wire.subscribe(1, share)).expect(SUBACK).reason == 1
        client.send(wire.packet(DISCONNECT))
    mosquitto.publish(lamp, f'lamps/{lamp.name}/state', 'waits', qos=1)
    with Paho(guest) as member:
        assert member.subscribe(share, 1) == [1]
        fortress.apply(with_guest.replace('"status/#", "lamps/#", "wills/#"', '"status/#"'))
        for text in ('one', 'two'):
            mosquitto.publish(lamp, f'lamps/{lamp.name}/state', text, qos=1)
        assert [member.get().payload.decode() for _ in range(2)] == ['one', 'two']
        with Wire(fortress, console) as client:
            client.login('sleeper', clean=False, properties=EXPIRY)
            assert member.get().payload == b'waits'
            client.send(wire.packet(PINGREQ)).expect(PINGRESP)


def test_kill_9_loses_and_doubles_nothing(make_fortress):
    fortress = make_fortress()
    sensor, one, other = fortress.add('sensor'), fortress.add('console'), fortress.add('console')
    sleepers = [(one, 'x'), (one, 'y'), (other, 'z')]
    for device, name in sleepers:
        with Paho(device, client_id=name, clean=False, session_expiry=3600) as member:
            assert member.subscribe(SHARE, 1) == [1]
    sent = [str(i) for i in range(60)]
    with Paho(sensor) as writer:
        for text in sent[:30]:
            writer.publish(f'sensors/north/{sensor.name}/n', text, qos=1)
        fortress.kill()
    fortress.start()
    with Paho(sensor) as writer:
        for text in sent[30:]:
            writer.publish(f'sensors/north/{sensor.name}/n', text, qos=1)
    got = []
    with ExitStack() as stack:
        members = [stack.enter_context(Paho(device, client_id=name, clean=False, session_expiry=3600)) for device, name in sleepers]

        def all_have_come():
            for member in members:
                got.extend(drain(member))
            return len(got) >= len(sent)

        wait_until('all messages', all_have_come, timeout=20)
    assert sorted(got, key=int) == sent
