"""e: the server's certificate and the authority change while everybody is connected; nobody drops, nobody is shut out."""
import os
import re
import ssl
from pathlib import Path

import pytest

from harness import coap, mosquitto
from harness.fortress import BINARY, POLICY, Refused
from harness.netns import FAR, NEAR, Hosts
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


def test_a_client_on_another_host_comes_by_address(make_fortress, tmp_path):
    """The addresses that the machine had at `init` are in the certificate, one that it got later comes by `certs renew --host`."""
    with Hosts() as hosts:
        fortress = make_fortress(start=False, binary=hosts.program(tmp_path / 'sallyport', BINARY))
        for port in fortress.ports.values():
            fortress.configure(f'"127.0.0.1:{port}"', f'"0.0.0.0:{port}"')
        fortress.start()
        fortress.apply(POLICY)
        sensor = fortress.add('sensor', credentials=('x509', 'psk'))

        def comes(address):
            """By mosquitto's client, by ours, and by coap-client where there is one."""
            topic, port = f'sensors/north/{sensor.name}/t', fortress.ports['mqtts']
            runs = [hosts.on_far('mosquitto_pub', '-h', address, '-p', port, '--cafile', sensor.ca, '--cert', sensor.cert, '--key', sensor.key,
                                 '-i', sensor.name, '-q', 1, '-t', topic, '-m', 'x'),
                    hosts.on_far(BINARY, 'pub', '--bundle', sensor.bundle, '-h', address, '-q', 1, '-t', topic, '-m', 'x')]
            return [run.returncode for run in runs], runs
        assert comes(NEAR)[0] == [0, 0], comes(NEAR)[1]
        event = fortress.wait_event('connect', principal=sensor.name)[0]
        assert event['peer'].startswith(f'{FAR}:'), event
        for build in coap.BUILDS[:1]:
            run = hosts.on_far(*coap.command(build, sensor, 'x509'), '-m', 'put', '-B', '10', '-e', 'up',
                               f'coaps://{NEAR}:{fortress.ports["coaps"]}/mq/status/{sensor.name}')
            fortress.wait_event('connect', principal=sensor.name, protocol='coap', peer=re.compile(rf'^{FAR}:'))
            assert coap.Answer(run.stdout + run.stderr, run.returncode).code is None, run
        later = hosts.one_more_address()
        codes, runs = comes(later)
        assert 0 not in codes and 'certs renew --host' in runs[1].stderr, runs
        fortress.cli('certs', 'renew', '--host', later)
        assert comes(later)[0] == comes(NEAR)[0] == [0, 0]


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
