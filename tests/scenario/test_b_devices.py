"""b: device and exception commands bind live sessions at both doors before they return."""
import json
import subprocess

import pytest

from harness import coap, mosquitto, wire
from harness.fortress import Device, metrics
from harness.wait import wait_until
from harness.wire import CONNACK, DISCONNECT, PUBACK, Wire

pytestmark = pytest.mark.release

needs_coap = pytest.mark.skipif(not coap.BUILDS, reason='libcoap3-bin is not installed')


@needs_coap
@pytest.mark.parametrize('command', ['revoke', 'disable', 'remove'])
def test_an_observer_that_is_cut_off_hears_nothing_more(make_fortress, command):
    fortress = make_fortress()
    lamp, console = fortress.add('lamp', credentials=('psk',)), fortress.add('console')
    state = f'lamps/{lamp.name}/state'
    mosquitto.publish(console, state, 'before', '-r', qos=1)
    with coap.Observer(coap.BUILDS[0], lamp, f'mq/{state}') as seen:
        seen.expect('before')
        fortress.cli('device', command, lamp.name)
        wait_until('the end of its association',
                   lambda: metrics(fortress)['connections{listener="coaps"}'] == 0)
        mosquitto.publish(console, state, 'after', '-r', qos=1)
        with mosquitto.Subscriber(console, 'lamps/#') as mark:
            assert mark.get()['payload'] == 'after'
        assert 'after' not in seen.seen
    answer = coap.request(coap.BUILDS[0], lamp, 'get', f'mq/{state}', wait_s=4)
    assert 'after' not in answer.text


def test_list_and_show_tell_the_state(fortress):
    name = fortress.add('sensor', credentials=('x509', 'psk')).name
    for command, status in (('disable', 'disabled'), ('enable', 'active'), ('revoke', 'revoked')):
        fortress.cli('device', command, name)
        shown, = fortress.json('device', 'show', name)
        listed, = [one for one in fortress.json('device', 'list') if one['name'] == name]
        assert shown['status'] == listed['status'] == status
    assert {one['kind'] for one in shown['credentials']} <= {'x509', 'psk'}
    refused = fortress.cli('device', 'enable', name, check=False)
    assert refused.returncode == 1 and name in refused.stderr, 'revoked is for good'


def test_rotate_ends_the_old_credential_at_once(fortress):
    device = fortress.add('sensor', credentials=('x509', 'password', 'psk'))
    fresh = Device(fortress, device.name, device.role, fortress.home / 'fresh')
    with Wire(fortress, device) as client:
        client.login(device.name)
        fortress.cli('device', 'rotate', device.name, '--out', fresh.bundle)
        assert [one.kind for one in client.expect_close(30)] == [DISCONNECT]
    assert fresh.password != device.password and fresh.psk != device.psk
    for auth in ('x509', 'password'):
        assert mosquitto.publish(device, f'status/{device.name}', 'x', qos=1, auth=auth, check=False).returncode != 0, auth
        mosquitto.publish(fresh, f'status/{device.name}', 'x', qos=1, auth=auth)
    fortress.wait_event('credential_rotated', about=device.name)


def test_rotate_with_an_overlap_lets_both_in(fortress):
    device = fortress.add('sensor', credentials=('password',))
    fortress.cli('device', 'rotate', device.name, '--overlap', '1h', '--out', fortress.home / 'overlap')
    fresh = Device(fortress, device.name, device.role, fortress.home / 'overlap')
    for one in (device, fresh):
        mosquitto.publish(one, f'status/{device.name}', 'x', qos=1, auth='password')


def test_two_devices_never_share_a_secret(fortress):
    made = [fortress.add('sensor', credentials=('password', 'psk')) for _ in range(5)]
    assert len({one.psk for one in made}) == len({one.password for one in made}) == 5


def test_nothing_of_a_removed_device_stays(fortress):
    old = fortress.add('sensor', name='again-1')
    fortress.cli('device', 'remove', 'again-1')
    subprocess.run(['mv', old.bundle, fortress.home / 'old-bundle'], check=True)
    old = Device(fortress, 'again-1', 'sensor', fortress.home / 'old-bundle')
    new = fortress.add('sensor', name='again-1')
    mosquitto.publish(new, 'status/again-1', 'x', qos=1)
    assert mosquitto.publish(old, 'status/again-1', 'x', qos=1, check=False).returncode != 0
    assert mosquitto.publish(old, 'status/again-1', 'x', qos=1, auth='password', check=False).returncode != 0


# -- exceptions ------------------------------------------------------------------------------------------------------------

def test_an_exception_in_one_go(make_fortress):
    """Its id alone is printed; the port is open when the command returns; it ends by itself, with its connections. In real time, so
    on the release build, too; twenty seconds are enough for two connections on any machine."""
    fortress = make_fortress(listeners=('mqtts', 'coaps', 'mqtt'))
    known = fortress.cli('exception', 'add', '--listener', 'mqtt', '--allow', 'plaintext,anonymous', '--role', 'guest',
                         '--for', '20s', '--reason', 'an old meter').strip()
    assert known.isdigit()
    wait_until('the plain port', lambda: _open(fortress))
    with Wire(fortress, plain='mqtt') as one, Wire(fortress, plain='mqtt') as two:
        one.login('g1')
        two.login('g2')
        assert one.send(wire.publish('guest/x', 'x', qos=1)).expect(PUBACK).reason in (0, 0x10)
        principals = {event['principal'] for event in fortress.wait_event('connect', listener='mqtt', at_least=2)}
        assert len(principals) == 2, 'each anonymous client is its own principal'
        fortress.wait_event('exception', severity='alert')
        for client in (one, two):
            assert [packet.kind for packet in client.expect_close(60)] in ([], [DISCONNECT])
    wait_until('a closed port', lambda: not _open(fortress))
    fortress.wait_event('exception', severity='notice')
    assert fortress.cli('exception', 'list') == ''
    assert fortress.cli('exception', 'end', known, check=False).returncode == 1


def _open(fortress):
    try:
        with Wire(fortress, plain='mqtt'):
            return True
    except OSError:
        return False


def test_plaintext_alone_still_asks_who_it_is(make_fortress):
    fortress = make_fortress(listeners=('mqtts', 'coaps', 'mqtt'))
    device = fortress.add('sensor', credentials=('password',))
    fortress.cli('exception', 'add', '--listener', 'mqtt', '--allow', 'plaintext', '--for', '1h', '--reason', 'x')
    wait_until('the plain port', lambda: _open(fortress))
    with Wire(fortress, plain='mqtt') as client:
        assert client.send(wire.connect('g1')).expect(CONNACK).reason in (0x86, 0x87)
    with Wire(fortress, plain='mqtt') as client:
        client.login(device.name, user=device.name, password=device.password)
    listed, = fortress.json('exception', 'list')
    assert json.dumps(listed) and listed['listener'] == 'mqtt' and listed['allow'] == 'plaintext'


@pytest.mark.parametrize('period,code', [('7d', 0), ('169h', 2), ('8d', 2), ('0s', 2), ('soon', 2)])
def test_an_exception_lasts_a_week_at_most(make_fortress, period, code):
    fortress = make_fortress(listeners=('mqtts', 'coaps', 'mqtt'))
    run = fortress.cli('exception', 'add', '--listener', 'mqtt', '--allow', 'plaintext', '--for', period, '--reason', 'x',
                       check=False)
    assert (run.returncode != 0) == (code != 0), run


def test_a_tls_listener_cannot_be_weakened(make_fortress):
    fortress = make_fortress()
    run = fortress.cli('exception', 'add', '--listener', 'mqtts', '--allow', 'plaintext', '--for', '1h', '--reason', 'x',
                       check=False)
    assert run.returncode == 1 and 'TLS' in run.stderr
