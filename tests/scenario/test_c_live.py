"""c: changes of policy, devices and exceptions bind live sessions at once."""
import re
import time

import pytest

from harness import mosquitto, wire
from harness.fortress import POLICY, Refused
from harness.refusal import Watch
from harness.wait import wait_until
from harness.wire import CONNACK, DISCONNECT, PUBACK, SUBACK, Wire

pytestmark = pytest.mark.release


@pytest.mark.parametrize('command', ['revoke', 'disable', 'remove'])
def test_a_device_that_is_cut_off_is_gone_at_once(fortress, command):
    mine = fortress.add('sensor')
    with Wire(fortress, mine) as client:
        client.login(mine.name)
        begin = time.monotonic()
        fortress.cli('device', command, mine.name)
        returned = time.monotonic() - begin
        last = client.expect_close(30)
        assert time.monotonic() - begin < 10 + returned, 'by itself, not because its keep-alive is over'
        assert [one.kind for one in last] == [DISCONNECT] and last[0].reason in (0x87, 0x98)
    fortress.wait_event('device_change', about=mine.name)
    watch = Watch(fortress)
    try:
        with Wire(fortress, mine) as again:
            answer = again.send(wire.connect(mine.name)).receive()
            assert answer is None or (answer.kind == CONNACK and answer.reason >= 0x80)
            peer = again.peer
    except OSError:
        return
    if command != 'remove':
        watch.expect('revoked', peer, mine.name)


def test_a_disabled_device_can_come_back(fortress):
    mine = fortress.add('sensor')
    fortress.cli('device', 'disable', mine.name)
    assert mosquitto.publish(mine, f'status/{mine.name}', 'x', qos=1, check=False).returncode != 0
    fortress.cli('device', 'enable', mine.name)
    mosquitto.publish(mine, f'status/{mine.name}', 'x', qos=1)


def test_others_stay_when_one_is_revoked(fortress):
    gone, stays = fortress.add('sensor'), fortress.add('sensor')
    with Wire(fortress, stays) as client:
        client.login(stays.name)
        fortress.cli('device', 'revoke', gone.name)
        client.send(wire.packet(wire.PINGREQ)).expect(wire.PINGRESP)


def test_a_grant_that_ends_takes_its_subscription(make_fortress):
    fortress = make_fortress()
    console, lamp, sensor = fortress.add('console'), fortress.add('lamp'), fortress.add('sensor')
    with Wire(fortress, console) as client:
        client.login(console.name)
        assert client.send(wire.subscribe(1, 'lamps/#', 'sensors/#')).expect(SUBACK).body[-2:] == bytes([1, 1])
        fortress.apply(POLICY.read_text().replace('"status/#", "lamps/#", "wills/#"', '"status/#"'))
        fortress.wait_event('policy_change')
        mosquitto.publish(lamp, f'lamps/{lamp.name}/state', 'unseen', qos=1)
        mosquitto.publish(sensor, f'sensors/north/{sensor.name}/t', 'seen', qos=1)
        got = client.receive()
        assert got.kind == wire.PUBLISH and b'seen' in got.body and b'unseen' not in got.body, got


def test_a_grant_that_ends_also_ends_what_is_queued(make_fortress):
    """Checked at delivery and at resume, and for the publisher too."""
    fortress = make_fortress()
    console, lamp = fortress.add('console'), fortress.add('lamp')
    expiry = b'\x11\x00\x00\x0e\x10'
    with Wire(fortress, console) as client:
        client.login('sleeper', clean=True, properties=expiry)
        client.send(wire.subscribe(1, 'lamps/#', 'status/#')).expect(SUBACK)
        client.send(wire.packet(wire.DISCONNECT))
    mosquitto.publish(lamp, f'lamps/{lamp.name}/state', 'queued', qos=1)
    fortress.apply(POLICY.read_text().replace('"status/#", "lamps/#", "wills/#"', '"status/#"'))
    with Wire(fortress, console) as client:
        client.send(wire.connect('sleeper', clean=False, properties=expiry))
        assert client.expect(CONNACK).body[0] == 1, 'the session is still there'
        client.send(wire.packet(wire.PINGREQ))
        assert client.receive().kind == wire.PINGRESP, 'what may no longer be seen is not delivered'


def test_a_publish_grant_that_ends_binds_the_next_publish(make_fortress):
    fortress = make_fortress()
    lamp = fortress.add('lamp')
    with Wire(fortress, lamp) as client:
        client.login(lamp.name)
        topic = f'lamps/{lamp.name}/state'
        assert client.send(wire.publish(topic, 'x', qos=1, packet_id=1)).expect(PUBACK).reason in (0, 0x10)
        fortress.apply(POLICY.read_text().replace('{ topic: "lamps/${device}/+", retain: yes }', '"elsewhere"'))
        assert client.send(wire.publish(topic, 'x', qos=1, packet_id=2)).expect(PUBACK).reason == 0x87


def test_policy_explain_names_the_rule(fortress):
    mine = fortress.add('sensor')
    allowed = fortress.cli('policy', 'explain', mine.name, 'publish', f'status/{mine.name}')
    assert re.search(r'allow', allowed, re.I) and 'sensor' in allowed
    denied = fortress.cli('policy', 'explain', mine.name, 'subscribe', '#', check=False)
    assert re.search(r'den', denied.stdout + denied.stderr, re.I)


def test_a_name_is_taken_once(fortress):
    mine = fortress.add('sensor')
    with pytest.raises(Refused) as refused:
        fortress.add('sensor', name=mine.name)
    assert refused.value.code == 1 and mine.name in refused.value.stderr


@pytest.mark.parametrize('name', ['a/b', '+', '#', '', 'a b', 'x' * 65, '../x', 'é'])
def test_a_name_that_could_be_more_than_a_name_is_refused(fortress, name):
    run = fortress.cli('device', 'add', name, '--role', 'sensor', '--out', fortress.home / 'never', check=False)
    assert run.returncode in (1, 2) and run.stderr.strip()
    assert not (fortress.home / 'never').exists()


def test_a_role_that_is_not_there_is_refused(fortress):
    with pytest.raises(Refused) as refused:
        fortress.add('no-such-role')
    assert 'no-such-role' in refused.value.stderr


# -- exceptions -----------------------------------------------------------------------------------------------------------

def exception(fortress, *more, allow='plaintext,anonymous', duration='2h'):
    text = fortress.cli('exception', 'add', '--listener', 'mqtt', '--allow', allow, '--role', 'guest', '--for', duration,
                        '--reason', 'old meters until Friday', *more)
    listed = [line for line in fortress.json('exception', 'list') if 'id' in line]
    assert len(listed) == 1 and str(listed[0]['id']) in text, 'its id is printed'
    return str(listed[0]['id'])


def guest(fortress, client_id):
    client = Wire(fortress, plain='mqtt')
    client.login(client_id)
    return client


def test_only_an_exception_opens_a_plaintext_door_and_it_closes_again(make_fortress):
    fortress = make_fortress(listeners=('mqtts', 'coaps', 'mqtt'))
    with pytest.raises(ConnectionRefusedError):
        guest(fortress, 'g1')
    known = exception(fortress)
    wait_until('the plain listener', lambda: _can(fortress))
    with guest(fortress, 'g1') as one, guest(fortress, 'g2') as two:
        one.send(wire.subscribe(1, 'guest/#')).expect(SUBACK)
        assert two.send(wire.publish('guest/x', 'hello', qos=1)).expect(PUBACK).reason == 0
        assert b'hello' in one.expect(wire.PUBLISH).body
        assert two.send(wire.subscribe(2, '#')).expect(SUBACK).reason == 0x87, 'anonymous is not everything'
        assert 'old meters' in fortress.cli('status'), 'it is on the status page'
        fortress.wait_event('exception')
        fortress.cli('exception', 'end', known)
        assert [packet.kind for packet in one.expect_close(30)] in ([], [DISCONNECT]), 'its connections end with it'
    with pytest.raises(ConnectionRefusedError):
        guest(fortress, 'g3')


def _can(fortress):
    """Does the plain listener admit a stranger? The exception may end between its accept and the answer: then it does not."""
    try:
        with Wire(fortress, plain='mqtt') as probe:
            answer = probe.send(wire.connect('probe', version=probe.version)).receive()
    except OSError:
        return False
    return answer is not None and answer.kind == wire.CONNACK and answer.reason == 0


def test_an_exception_ends_by_itself_also_across_a_restart(make_fortress, clock):
    fortress = make_fortress(listeners=('mqtts', 'coaps', 'mqtt'), binary=clock.binary)
    exception(fortress, duration='1h')
    wait_until('the plain listener', lambda: _can(fortress))
    fortress.restart()
    assert any('old meters' in line for line in fortress.log), 'it is reported at every start'
    assert _can(fortress)
    clock.set(3601)
    fortress.add('sensor')  # the service thread has looked at the clock since
    wait_until('the end of the exception', lambda: not _can(fortress), pause=0.2)
    assert not [line for line in fortress.json('exception', 'list') if line.get('active', False)]


REFUSED_EXCEPTIONS = {
    'longer than a week': ['--allow', 'plaintext', '--for', '8d', '--reason', 'x'],
    'no reason': ['--allow', 'plaintext', '--for', '2h'],
    'empty reason': ['--allow', 'plaintext', '--for', '2h', '--reason', ''],
    'no end': ['--allow', 'plaintext', '--reason', 'x'],
    'unknown weakening': ['--allow', 'everything', '--for', '2h', '--reason', 'x'],
    'unknown role': ['--allow', 'plaintext,anonymous', '--for', '2h', '--reason', 'x', '--role', 'no-such-role'],
}


def test_an_exception_needs_an_end_a_reason_and_names_that_exist(make_fortress):
    fortress = make_fortress(listeners=('mqtts', 'coaps', 'mqtt'))
    for what, options in REFUSED_EXCEPTIONS.items():
        run = fortress.cli('exception', 'add', '--listener', 'mqtt', *options, check=False)
        assert run.returncode in (1, 2) and run.stderr.strip(), what
    run = fortress.cli('exception', 'add', '--listener', 'no-such-listener', '--allow', 'plaintext', '--for', '2h', '--reason',
                       'x', check=False)
    assert run.returncode == 1 and 'no-such-listener' in run.stderr
    assert not [line for line in fortress.json('exception', 'list') if 'id' in line]
    assert not _can(fortress)
