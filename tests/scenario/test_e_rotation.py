"""e: shared secrets get old and are replaced. Nobody is locked out by having slept; what nobody replaces is told, then refused."""
import re
import shutil

import pytest

from harness import coap, mosquitto
from harness.clock import Clock
from harness.fortress import Device
from harness.nat import Nat
from harness.relay import Relay
from harness.wait import wait_until
from harness.wire import DISCONNECT, Wire

LISTENERS = ('mqtts', 'coaps', 'coap')
DAY_S = 86400
KINDS = ('psk', 'oscore', 'password')


class Secret:
    """One way in of a device."""

    def __init__(self, kind):
        self.kind = kind

    def once(self, device, bundle, wait_s=10):
        """One try, by our own client over CoAP."""
        topic = f'status/{device.name}'
        if self.kind != 'password':
            scheme, port = ('coaps', 'coaps') if self.kind == 'psk' else ('coap', 'coap')
            uri = f'{scheme}://localhost:{device.fortress.ports[port]}/mq/{topic}'
            return device.fortress.run('coap', 'put', uri, '--bundle', bundle, '-e', 'x', '-B', wait_s, check=False).returncode == 0
        one = Device(device.fortress, device.name, device.role, bundle)
        return mosquitto.publish(one, topic, 'x', qos=1, auth='password', check=False).returncode == 0

    def is_refused(self, device, bundle):
        return not self.once(device, bundle, wait_s=1)

    def opens(self, device, bundle):
        """While two keys of one identity are in force a handshake tries one of them, the next the other."""
        if self.kind == 'psk':
            if self.once(device, bundle, wait_s=1):
                return True
            device.fortress.wait_event('auth_fail', principal=device.name)  # from then on the other key is tried
        return wait_until('the other key', lambda: self.once(device, bundle), 30)


def by_libcoap(device, bundle):
    """An answer says that the key was right, whatever it is."""
    user, key = (bundle / 'psk.txt').read_text().strip().split(':')
    return coap.request(coap.BUILDS[0], device, 'get', f'mq/status/{device.name}', user=user, key=key).code in ('4.03', '4.04')


def add(fortress, kind, name, *more):
    bundle = fortress.home / f'bundle-{name}'
    fortress.cli('device', 'add', name, '--role', 'sensor', '--attr', 'site=north', '--credential', kind, *more, '--out', bundle)
    return Device(fortress, name, 'sensor', bundle)


def rotate(device, kind, label, *more):
    fresh = device.fortress.home / f'{device.name}-{label}'
    device.fortress.cli('device', 'rotate', device.name, '--credential', kind, *more, '--out', fresh)
    return fresh


def credentials(device):
    return device.fortress.json('device', 'show', device.name)[0]['credentials']


def waits(device):
    return [one['unconfirmed'] for one in credentials(device)]


@pytest.fixture(scope='module')
def clock():
    one = Clock()
    yield one
    one.close()


def test_who_slept_is_not_locked_out(make_fortress, clock):
    """Over all three ways in: weeks later, over kill -9, the old secret opens; the first use of the new one ends it."""
    fortress = make_fortress(listeners=LISTENERS, binary=clock.binary, settings=['rotation_wait=60d'])
    devices = {kind: add(fortress, kind, f'by-{kind}') for kind in KINDS}
    fresh = {kind: rotate(one, kind, 'new', '--overlap', '1h') for kind, one in devices.items()}
    assert 'these once' in (fresh['psk'] / 'howto.txt').read_text()
    fortress.kill()
    clock.set(30 * DAY_S)
    fortress.start()
    for kind, device in devices.items():
        assert Secret(kind).once(device, device.bundle), f'{kind}: who slept does not notice'
        assert waits(device) == [False, True], 'the old one confirms nothing'
    assert by_libcoap(devices['psk'], devices['psk'].bundle)
    listed = {line['name']: line for line in fortress.json('certs', 'list', '--state', 'unconfirmed')}
    assert set(listed) == {one.name for one in devices.values()}
    assert {line['days'] for line in listed.values()} == {30}, 'until rotation_wait is over'
    alerts = [one['reason'] for one in fortress.json('alerts') if one['category'] == 'credential_expiring']
    assert any('3 rotations are not confirmed' in one and '--abort' in one for one in alerts), alerts

    for kind, device in devices.items():
        assert Secret(kind).opens(device, fresh[kind])
        fortress.wait_event('credential_rotated', target=device.name, reason=re.compile('is confirmed'))
    fortress.kill()
    fortress.start()
    for device in devices.values():
        assert waits(device) == [False, False], 'what was confirmed stays so'
    clock.set(30 * DAY_S + 3700)  # behind the hour
    for kind, device in devices.items():
        wait_until('the end of the old one', lambda device=device: len(credentials(device)) == 1)
        assert Secret(kind).is_refused(device, device.bundle)
        assert Secret(kind).once(device, fresh[kind])
    assert by_libcoap(devices['psk'], fresh['psk'])
    assert not fortress.json('certs', 'list', '--state', 'unconfirmed')


def test_decided_by_hand(make_fortress):
    fortress = make_fortress(listeners=LISTENERS)
    device, secret = add(fortress, 'password', 'pump'), Secret('password')
    refused = fortress.cli('device', 'rotate', 'pump', '--abort', check=False)
    assert refused.returncode == 1 and 'nothing to take back' in refused.stderr
    first = rotate(device, 'password', 'first', '--overlap', '1h')
    second = fortress.home / 'pump-second'
    text = fortress.cli('device', 'rotate', 'pump', '--overlap', '1h', '--out', second)
    assert 'never used and is void' in text
    assert not secret.once(device, first) and secret.once(device, device.bundle)
    fortress.cli('device', 'rotate', 'pump', '--abort')
    assert len(credentials(device)) == 1 and not secret.once(device, second) and secret.once(device, device.bundle)
    third = rotate(device, 'password', 'third', '--overlap', '1h')
    with Wire(fortress, ca=device.ca) as session:
        session.login('pump', user='pump', password=device.password)
        fortress.cli('device', 'rotate', 'pump', '--now')
        assert [one.kind for one in session.expect_close(30)] == [DISCONNECT], 'who came by the old one goes with it'
    assert not secret.once(device, device.bundle) and secret.once(device, third)
    last = rotate(device, 'password', 'last')  # without overlap: at once, as ever
    assert not secret.once(device, third) and secret.once(device, last)
    for wrong in (('--abort', '--now'), ('--abort', '--overlap', '1h'), ('--now', '--out', 'x')):
        assert fortress.cli('device', 'rotate', 'pump', *wrong, check=False).returncode == 2


def nothing_is_said_at_any_door(fortress, by_key):
    """A recorder on the way has neither name nor topic nor payload of whom it records, whichever the door. Only by a certificate
    DTLS 1.2 shows the name, and that alone."""
    sealed, by_certificate = (add(fortress, kind, f'secret-site-{kind}') for kind in ('oscore', 'x509'))
    message = ('-e', 'secret words')
    for door, device in (('coaps', by_key), ('coap', sealed), ('coaps', by_certificate)):
        seen = []
        with Nat(fortress.ports[door], seen) as nat:
            fortress.run('coap', 'put', f'{door}://localhost:{nat.port}/mq/status/{device.name}', '--bundle', device.bundle, *message)
        data = b''.join(data for _, data in seen)
        if device is by_certificate:
            assert device.name.encode() in data
            data = data.replace(device.name.encode(), b'')
        is_silent(door, data)
    for door in ('mqtts', 'wss', 'coaps+tcp'):
        seen, device = [], by_certificate
        with Relay(fortress.ports[door], '127.0.0.1', seen) as relay:
            at = f'localhost:{relay.port}'
            if door == 'coaps+tcp':
                fortress.run('coap', 'put', f'{door}://{at}/mq/status/{device.name}', '--bundle', device.bundle, *message)
            else:
                where = ('-L', f'wss://{at}/mqtt') if door == 'wss' else ('-p', relay.port)
                fortress.run('pub', '--bundle', device.bundle, *where, '-t', f'status/{device.name}', '-m', message[1], '-q', '1')
        is_silent(door, b''.join(seen))


def is_silent(door, data):
    assert len(data) > 100, door
    for word in (b'secret', b'site', b'status', b'words'):
        assert word not in data, (door, word)


def test_names_that_say_nothing(make_fortress):
    """--opaque: the name is not on the wire, is no way in, and two keys never meet."""
    fortress = make_fortress(listeners=(*LISTENERS, 'wss', 'coaps+tcp'))
    device, secret = add(fortress, 'psk', 'secret-site-7', '--opaque'), Secret('psk')
    identity, key = (device.bundle / 'psk.txt').read_text().strip().split(':')
    assert identity.startswith('~') and 'secret' not in identity and identity in (device.bundle / 'howto.txt').read_text()
    assert secret.once(device, device.bundle)
    assert by_libcoap(device, device.bundle)
    nothing_is_said_at_any_door(fortress, device)
    named = fortress.home / 'named'
    shutil.copytree(device.bundle, named)
    (named / 'psk.txt').write_text(f'{device.name}:{key}\n')
    assert secret.is_refused(device, named), 'the name is no way in'
    fresh = rotate(device, 'psk', 'new', '--overlap', '1h')
    assert (fresh / 'psk.txt').read_text().split(':')[0] not in (identity, device.name)
    for bundle in (device.bundle, fresh, device.bundle, fresh):
        assert secret.once(device, bundle), 'each identity has its key: nothing is tried'
    assert fortress.json('device', 'list', '--duplicates') == []


def test_too_old(make_fortress, clock):
    """Reported, listed, then refused, with the way out."""
    clock.set(-400 * DAY_S)  # not from today on: stock clients have the time of today, and the server's certificate is renewed
    fortress = make_fortress(listeners=LISTENERS, binary=clock.binary)
    config = fortress.dir / 'sallyport.yaml'
    devices = {kind: add(fortress, kind, f'old-{kind}') for kind in KINDS}
    fortress.kill()
    clock.set(0)
    fortress.start()
    fortress.wait_log('^notice: reloaded')
    aged = {line['name'] for line in fortress.json('certs', 'list', '--state', 'aged')}
    assert aged == {one.name for one in devices.values()}
    assert [one for one in fortress.json('alerts') if '3 secrets are older' in one['reason']]
    assert all(Secret(kind).once(one, one.bundle) for kind, one in devices.items()), 'told, and let in'

    text = config.read_text()
    limits = 'limits: {' + ', '.join(f'{kind}_age_refused: 390d' for kind in KINDS)
    assert 'limits: {' in text or 'limits:' in text, text
    config.write_text(text.replace('limits: {', limits + ', ', 1) if 'limits: {' in text
                      else text.replace('limits:\n', 'limits:\n' + ''.join(f'  {kind}_age_refused: 390d\n' for kind in KINDS), 1))
    fortress.reload()
    wait_until('the ends', lambda: len(fortress.json('certs', 'list', '--state', 'expired')) == 3)
    for kind, device in devices.items():
        assert Secret(kind).is_refused(device, device.bundle)
        said = fortress.wait_event('credential_expiring', principal=device.name)[0]
        assert f'{kind}_age_refused' in said['reason'] and f'device rotate {device.name} --credential {kind}' in said['reason']
        assert Secret(kind).once(device, rotate(device, kind, 'new')), 'and a new one opens'


def test_who_sleeps_longer_than_it_has_to_renew(make_fortress, clock):
    """A certificate of 90 days should be renewed within its last 30; who was away for 61 may miss that."""
    clock.set(0)
    fortress = make_fortress(binary=clock.binary)
    sleeper, awake = fortress.add(name='sleeper'), fortress.add(name='awake')
    for one in (sleeper, awake):
        mosquitto.publish(one, f'status/{one.name}', 'x', qos=1)
    fortress.wait_event('disconnect', principal='sleeper')
    with Wire(fortress, awake) as session:
        session.login('awake')
        clock.set(61 * DAY_S)
        mosquitto.publish(sleeper, 'status/sleeper', 'x', qos=1)
    listed = {line['name']: line for line in fortress.json('certs', 'list') if line['kind'] == 'x509'}
    assert (listed['sleeper']['silent'], listed['sleeper']['silence_days']) == (True, 61)
    assert 'silent for up to 61 days, should renew within ' in fortress.cli('certs', 'list')
    assert (listed['awake']['silent'], listed['awake']['silence_days']) == (False, 0), 'it was here all the time'
    assert [line['silent'] for line in fortress.json('certs', 'plan') if 'silent' in line] == [1]
