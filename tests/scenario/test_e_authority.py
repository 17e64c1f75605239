"""e: the server's certificate and the authority change while everybody is connected; nobody drops, nobody is shut out."""
import os
import ssl
from pathlib import Path

import pytest

from harness import mosquitto
from harness.fortress import Refused
from harness.wait import wait_until
from harness.wire import PINGREQ, PINGRESP, Wire, packet, tls_context

DAY_S = 86400
CONNECTIONS = int(os.environ.get('SALLYPORT_ROLLED', '1000'))

pytestmark = pytest.mark.release


def certificate(fortress, device, verify=True):
    with Wire(fortress, device, verify=verify) as client:
        return client.socket.getpeercert(True)


def is_alive(client):
    return client.send(packet(PINGREQ)).expect(PINGRESP) is not None


def n_roots(device):
    return Path(device.ca).read_text().count('BEGIN CERTIFICATE')


def roll(fortress, step, *more):
    return fortress.cli('certs', 'roll', step, *more)


def test_the_servers_certificate_renews_itself(make_fortress, clock):
    fortress = make_fortress(binary=clock.binary)
    sensor = fortress.add('sensor', credentials=('x509', 'password'))
    with Wire(fortress, sensor) as live:
        live.login(sensor.name)
        def shown():
            return certificate(fortress, sensor, verify=False)  # ours is another time
        before = shown()
        clock.set(58 * DAY_S)
        fortress.add('sensor')  # the daemon has had turns since
        assert shown() == before
        clock.set(61 * DAY_S)
        wait_until('a new certificate', lambda: shown() != before, 20, pause=0.5)
        event, = fortress.wait_event('credential_rotated', target='server certificate')
        assert 'two thirds' in event['reason']
        assert is_alive(live)


def test_one_more_name(make_fortress):
    fortress = make_fortress()
    sensor = fortress.add('sensor')

    def is_shown(name):
        with Wire(fortress, sensor) as client:
            return name in [value for _, value in client.socket.getpeercert()['subjectAltName']]
    assert is_shown('localhost') and not is_shown('gate.example') and not is_shown('198.51.100.7')
    fortress.cli('certs', 'renew', '--host', 'gate.example', '--host', '198.51.100.7')
    assert is_shown('localhost') and is_shown('gate.example') and is_shown('198.51.100.7')
    fortress.cli('certs', 'renew')
    assert is_shown('gate.example'), 'a name stays'
    with pytest.raises(Refused, match='neither a DNS name nor an IP address'):
        fortress.cli('certs', 'renew', '--host', 'not/a/name')


@pytest.mark.timeout(300)
def test_the_authority_rolls_under_live_connections(make_fortress, opened):
    """Root, intermediate and server certificate change three times; clients of before, of meanwhile and of afterwards."""
    fortress = make_fortress(listeners=('mqtts', 'coaps'), settings=['connect_rate=10000/s', 'connect_burst=10000',
                                                                           'keep_alive_seconds=3600'])
    old = fortress.add('sensor')
    many = fortress.add('console')
    context = tls_context(many)
    clients = []
    for i in range(CONNECTIONS):
        clients.append(opened(Wire(fortress, many, context=context)))
        clients[-1].login(f'one-{i}', keep_alive=3600)  # a slow machine takes minutes for all of it
    shown = [certificate(fortress, old)]
    with pytest.raises(Refused, match='no roll-over is under way'):
        roll(fortress, 'finish')
    roll(fortress, 'prepare')
    meanwhile = fortress.add('sensor')
    assert (n_roots(old), n_roots(meanwhile)) == (1, 2)
    assert 'certs roll switch' in fortress.cli('certs', 'plan')
    with pytest.raises(Refused, match='prepared already'):
        roll(fortress, 'prepare')
    roll(fortress, 'switch')
    after = fortress.add('sensor')
    for device in (old, meanwhile, after):
        with Wire(fortress, device) as client:
            client.login(device.name)
            shown.append(client.socket.getpeercert(True))
    assert shown[0] != shown[1] == shown[2] == shown[3], 'at once, and the same to all of them'
    mosquitto.publish(old, f'status/{old.name}', 'on', qos=1)
    with pytest.raises(Refused) as refused:
        roll(fortress, 'finish')
    assert old.name in str(refused.value) and meanwhile.name in str(refused.value) and after.name not in str(refused.value)
    assert '3 devices' in fortress.cli('certs', 'plan')
    for i, device in enumerate((old, meanwhile, many)):
        fortress.cli('device', 'rotate', device.name, '--out', str(fortress.dir / f'second-{i}'), '--overlap', '1h')
    assert '0 devices' in fortress.cli('certs', 'plan')
    roll(fortress, 'finish')
    with pytest.raises(ssl.SSLCertVerificationError):
        certificate(fortress, old)
    for device in (meanwhile, after):
        assert certificate(fortress, device) != shown[1], 'both roots are in its bundle'
    newest = fortress.add('sensor')
    assert n_roots(newest) == 1
    with Wire(fortress, newest) as client:
        client.login(newest.name)
    with pytest.raises(ssl.SSLError, match='UNKNOWN_CA'):
        with Wire(fortress, meanwhile) as client:  # by a certificate that the former authority signed
            client.login(meanwhile.name)
    assert all(is_alive(client) for client in clients), 'nobody dropped'
    for client in clients:
        client.close()
    fortress.restart()
    with Wire(fortress, newest) as client:
        client.login(newest.name)
