"""b: SIGHUP. sallyport.yaml, the server's certificate, the keys of tokens and the policy come into force together, or none of them
does; nobody who is connected notices."""
import contextlib
import itertools
import re
import socket
import ssl
import threading

import pytest

from harness import coap, wire
from harness.fortress import POLICY, counted, metrics
from harness.paho_client import Paho
from harness.wait import wait_until
from harness.websocket import WebSocket
from harness.wire import CONNACK, PINGREQ, PINGRESP, PUBACK, PUBLISH, SUBACK, Wire, properties

pytestmark = pytest.mark.release

QUOTA_EXCEEDED, USE_ANOTHER_SERVER = 0x97, 0x9c
MAXIMUM_PACKET_SIZE = 0x27


def reload(fortress):
    """SIGHUP, until every worker has it; the daemon's line about it."""
    since = len(fortress.log)
    fortress.reload()
    return fortress.wait_log(r'notice: reloaded|not reloaded|\breloaded$', since)


def edit(fortress, pattern, replacement):
    path = fortress.dir / 'sallyport.yaml'
    text = path.read_text()
    changed, n = re.subn(pattern, replacement, text, flags=re.M)
    assert n == 1, text
    path.write_text(changed)


def with_limits(fortress, text):
    path = fortress.dir / 'sallyport.yaml'
    old = path.read_text()
    if re.search(r'^limits:', old, re.M):
        path.write_text(re.sub(r'^limits:\n', f'limits:\n  {text}\n', old, flags=re.M))
    else:
        path.write_text(old + f'limits:\n  {text}\n')


def serial(client):
    return ssl.DER_cert_to_PEM_cert(client.socket.getpeercert(True))


def is_alive(client):
    return client.send(wire.packet(PINGREQ)).expect(PINGRESP) is not None


def last_change(fortress):
    return fortress.wait_event('config_change', target='sallyport.yaml')[-1]['reason']


# -- the certificate ---------------------------------------------------------------------------------------------------------

def test_a_new_certificate_is_for_new_connections(make_fortress):
    fortress = make_fortress(listeners=('mqtts', 'wss', 'coaps'))
    sensor = fortress.add('sensor', credentials=('x509', 'password', 'psk'))
    other, third, console = fortress.add('sensor'), fortress.add('sensor'), fortress.add('console')
    lamp = fortress.add('lamp', credentials=('psk',))
    with Wire(fortress, sensor) as old, Wire(fortress, other) as late, Paho(third, listener='wss') as page, \
            coap.Observer(coap.BUILDS[0], lamp, f'mq/lamps/{lamp.name}/goal') as watching, Paho(console) as hand:
        old.login(sensor.name)
        hand.publish(f'lamps/{lamp.name}/goal', 'on', retain=True)
        watching.expect('on')
        fortress.cli('certs', 'renew')
        assert fetch(fortress, sensor) != serial(old), 'the answer comes when every worker shows it'
        fortress.wait_event('credential_rotated', target='server certificate')
        assert fetch(fortress, sensor, 'wss') == fetch(fortress, sensor)
        assert is_alive(old), 'a live connection stays'
        late.login(other.name)
        page.publish(f'status/{third.name}', 'over WebSocket')
        hand.publish(f'lamps/{lamp.name}/goal', 'off', retain=True)
        watching.expect('off')
        now = fetch(fortress, sensor)
        reload(fortress)
        assert fetch(fortress, sensor) == now, 'the file is the same'
        assert is_alive(old) and is_alive(late)
    for build in coap.BUILDS:
        if 'openssl' in build:
            assert coap.request(build, sensor, 'get', '/.well-known/core', auth='x509').code is None
        assert coap.request(build, sensor, 'get', '/.well-known/core').code is None


def fetch(fortress, device, listener='mqtts'):
    with Wire(fortress, device, listener=listener) as client:
        return serial(client)


def test_a_broken_certificate_is_refused_until_it_is_mended(make_fortress):
    fortress, other = make_fortress(), make_fortress(start=False)
    sensor, fortress.probe = fortress.add('sensor'), fortress.add('console')
    path = fortress.dir / 'pki/server.sealed'
    good, before = path.read_bytes(), fetch(fortress, sensor)
    theirs = (other.dir / 'pki/server.sealed').read_bytes()
    with Wire(fortress, sensor) as live:
        live.login(sensor.name)
        with_limits(fortress, 'packet_bytes: 8KiB')
        for broken in (theirs, good[:-1], b'', None):
            path.unlink() if broken is None else path.write_bytes(broken)
            line = reload(fortress)
            assert 'not reloaded' in line and 'server.sealed' in line
            assert fetch(fortress, sensor) == before
            assert 'pki' in fortress.cli('alerts')
            assert packet_max(connack(fortress, fortress.probe, 'probe')) == 264 * 1024, 'nor anything else'
        path.write_bytes(good)
        authority = fortress.dir / 'pki/intermediate.sealed'
        fine = authority.read_bytes()
        authority.write_bytes((other.dir / 'pki/intermediate.sealed').read_bytes())
        line = reload(fortress)
        assert 'not reloaded' in line and 'intermediate.sealed' in line, 'nor another authority'
        authority.write_bytes(fine)
        assert 'not reloaded' not in reload(fortress)
        assert 'pki' not in fortress.cli('alerts')
        assert is_alive(live)
        assert packet_max(connack(fortress, fortress.probe, 'probe')) == 8192, 'now all of it'
    rejects = fortress.wait_event('config_reject', target='pki', severity='alert')
    assert all('stays in force' in event['reason'] for event in rejects)


# -- limits ------------------------------------------------------------------------------------------------------------------

def connack(fortress, device, client_id, **more):
    with Wire(fortress, device) as client:
        return client.send(wire.connect(client_id, **more)).expect(CONNACK)


def packet_max(answer):
    return int.from_bytes(properties(answer, 2)[MAXIMUM_PACKET_SIZE], 'big')


def test_limits_are_for_new_connections(make_fortress):
    fortress = make_fortress()
    sensor, console = fortress.add('sensor'), fortress.add('console')
    big = wire.publish(f'status/{sensor.name}', 'x' * 100_000, 1, packet_id=7)
    with Wire(fortress, sensor) as old:
        assert packet_max(old.send(wire.connect(sensor.name)).expect(CONNACK)) == 264 * 1024
        with_limits(fortress, 'packet_bytes: 8KiB\n  client_id_bytes: 23')
        edit(fortress, r'^  segment_bytes: "4MiB"\n', '  segment_bytes: 8MiB\n')
        assert 'not reloaded' not in reload(fortress)
        old.send(big[:50_000])
        assert packet_max(connack(fortress, console, 'new')) == 8192
        assert connack(fortress, console, 'n' * 24).reason != 0
        assert old.send(big[50_000:]).expect(PUBACK).reason == 0, 'it was told that it may'
    assert re.search(r'needs a restart: segment_bytes$', last_change(fortress))
    edit(fortress, r'^  packet_bytes: 8KiB\n', '')
    reload(fortress)
    assert packet_max(connack(fortress, console, 'newer')) == 264 * 1024


# -- listeners ---------------------------------------------------------------------------------------------------------------

def test_settings_of_a_listener(make_fortress):
    fortress = make_fortress()
    sensor, console = fortress.add('sensor'), fortress.add('console')
    by_password = {'user': sensor.name, 'password': sensor.password}

    def code(**how):
        with Wire(fortress, **how) as client:
            return client.send(wire.connect(sensor.name, **by_password)).expect(CONNACK).reason
    tls12 = {'prepare': lambda context: setattr(context, 'maximum_version', ssl.TLSVersion.TLSv1_2), 'ca': sensor.ca}
    assert code(ca=sensor.ca) == 0
    with pytest.raises(OSError):
        code(**tls12)
    with Wire(fortress, ca=sensor.ca) as old:
        old.login(sensor.name, **by_password)
        edit(fortress, r'(name: mqtts,)', r'\1 tls_min: 1.2,')
        reload(fortress)
        assert code(**tls12) == 0
        assert is_alive(Wire(fortress, console).login('second'))
        edit(fortress, r'tls_min: 1.2,(.*) auth: \[x509, password, token\],', r'tls_min: 1.3,\1 auth: [x509],')
        edit(fortress, r'^version: 1$', 'version: 1\nserver_reference: "other.example:8883"')
        reload(fortress)
        with pytest.raises((OSError, AssertionError)):
            code(ca=sensor.ca)
        assert is_alive(Wire(fortress, console).login('third'))
        edit(fortress, r'auth: \[x509\],', 'auth: [x509], moved: temporarily,')
        reload(fortress)
        assert connack(fortress, console, 'fourth').reason == USE_ANOTHER_SERVER
        edit(fortress, r' moved: temporarily,', '')
        reload(fortress)
        assert connack(fortress, console, 'fourth').reason == 0


def test_status_says_the_same_after_reloads(make_fortress):
    """Who asks gets the listeners of the start, however many editions have come and gone since."""
    fortress = make_fortress()
    console = fortress.add('console')

    def binds():
        return {one['name']: one['bind'] for one in fortress.json('status')[0]['listeners']}
    before = binds()
    assert all(before.values())
    for n in range(4):
        with_limits(fortress, f'packet_bytes: {8 + n}KiB')
        reload(fortress)
        edit(fortress, r'^  packet_bytes: .*\n', '')
        assert packet_max(connack(fortress, console, f'edition-{n}')) == (8 + n) * 1024
        assert binds() == before


def test_what_needs_a_restart_is_named(make_fortress):
    fortress = make_fortress()
    sensor = fortress.add('sensor')
    port = fortress.ports['mqtts']
    edit(fortress, rf'(name: mqtts,.*)127.0.0.1:{port}', rf'\g<1>127.0.0.2:{port}')
    edit(fortress, r'^(listeners:.*)$', r'\1\n  - { name: extra, door: mqtt, bind: "127.0.0.1:1" }')
    edit(fortress, r'^version: 1$', 'version: 1\nworkers: 3')
    with_limits(fortress, 'topic_levels: 3')
    reload(fortress)
    reason = last_change(fortress)
    assert 'needs a restart: ' in reason
    assert all(one in reason for one in ('workers', 'listener mqtts (bind)', 'listener extra (is new)')), reason
    assert connack(fortress, sensor, sensor.name).reason == 0
    with Wire(fortress, sensor) as client:
        client.login(sensor.name).send(wire.publish('a/b/c/d', 'x', 1))
        assert client.receive().kind == wire.DISCONNECT, 'the rest is applied'


# -- twenty who stay -----------------------------------------------------------------------------------------------------

HALL = """
version: 1
roles:
  sensor: { client_id: "*", publish: [ "status/${device}" ], limits: { connect_rate: 100/s, connect_burst: 1000 } }
  console: { client_id: "*", subscribe: [ "#" ], limits: { queue_messages: 10000, queue_bytes: 64MiB } }
  writer: { publish: [ "big/#" ], limits: { publish_rate: 1000/s, publish_burst: 1000, connect_burst: 100 } }
"""


LASTS = b'\x11' + (600).to_bytes(4, 'big')


class Twenty:
    """Twelve publishers by MQTT, four by WebSocket, four lasting subscribers: all of them there, all of the time."""

    def __init__(self, fortress, stack):
        devices = [fortress.add('sensor', credentials=('x509',)) for _ in range(4)]
        console = fortress.add('console', credentials=('x509',))
        self.writers = [(device, stack.enter_context(kind(fortress, device)))
                        for device in devices for kind in (Wire, Wire, Wire, WebSocket)]
        self.readers = [stack.enter_context(Wire(fortress, console)) for _ in range(4)]
        for i, (device, client) in enumerate(self.writers):
            client.login(f'{device.name}-{i}')
        for i, client in enumerate(self.readers):
            client.send(wire.connect(f'reader-{i}', properties=LASTS)).expect(CONNACK)
            client.send(wire.subscribe(1, 'status/#')).expect(SUBACK)
        self.n = 0
        self.work()

    def work(self):
        """Each of them is heard by each of those, on the connection it had from the start."""
        self.n += 1
        says = {f'{self.n} of {i}'.encode() for i in range(len(self.writers))}
        for i, (device, client) in enumerate(self.writers):
            client.send(wire.publish(f'status/{device.name}', f'{self.n} of {i}', 1, packet_id=self.n))
        for _, client in self.writers:
            assert client.expect(PUBACK, timeout=30).reason == 0
        for reader in self.readers:
            heard = set()
            for _ in self.writers:
                body = reader.expect(PUBLISH, timeout=30).body
                at = 2 + int.from_bytes(body[:2], 'big')
                heard.add(body[at + 3:])
                reader.send(wire.packet(PUBACK, body[at:at + 2]))
            assert heard == says


def is_let_in(fortress, device, **how):
    try:
        with Wire(fortress, device, **how) as client:
            return client.send(wire.connect(device.name)).expect(CONNACK).reason == 0
    except OSError:
        return False


def test_everything_changes_under_twenty_who_stay(make_fortress):
    fortress = make_fortress(listeners=('mqtts', 'wss', 'coaps'), policy=None, settings=['memory_bytes=1GiB', 'segment_bytes=32MiB'])
    fortress.apply(HALL)
    late, lamp = fortress.add('sensor', credentials=('x509',)), fortress.add('sensor', credentials=('psk',))
    with contextlib.ExitStack() as stack:
        twenty = Twenty(fortress, stack)

        # The networks of a listener: for TCP before the first byte, for datagrams before the cookie.
        assert is_let_in(fortress, late, source='127.0.0.9')
        edit(fortress, r'(name: mqtts,)', r'\1 from: ["127.0.0.0/30"],')
        edit(fortress, r'(name: coaps,)', r'\1 from: ["10.0.0.0/8"],')
        reload(fortress)
        assert is_let_in(fortress, late) and not is_let_in(fortress, late, source='127.0.0.9')
        fortress.wait_event('probe', listener='mqtts', reason=re.compile(r'127\.0\.0\.0/30.*reload'))
        coap.request(coap.BUILDS[0], lamp, 'put', f'mq/status/{lamp.name}', 'x', wait_s=1)
        fortress.wait_event('probe', listener='coaps', protocol='coap')
        twenty.work()
        edit(fortress, r' from: \["127.0.0.0/30"\],', '')
        edit(fortress, r' from: \["10.0.0.0/8"\],', '')

        # Its segment, and a limit of those who have not logged in.
        edit(fortress, r'(name: mqtts,.*)segment: field', r'\1segment: control')
        with_limits(fortress, 'preauth_seconds: 1\n  preauth_connections: 32')
        reload(fortress)
        assert not is_let_in(fortress, late, source='127.0.0.9'), 'a device of the field is none of control'
        begin = metrics(fortress)['refusals_total{reason="preauth"}']
        idle = [stack.enter_context(socket.create_connection(('127.0.0.1', fortress.ports['mqtts']), 20)) for _ in range(40)]
        assert all(one.recv(1) == b'' for one in idle), 'each is closed, within a second or for another one'
        assert counted(fortress, 'refusals_total{reason="preauth"}', begin + 1)
        twenty.work()
        edit(fortress, r'(name: mqtts,.*)segment: control', r'\1segment: field')
        edit(fortress, r'^  preauth_seconds: 1\n  preauth_connections: 32\n', '')

        # The ceiling of memory, under what sleeps in a queue.
        reload(fortress)
        sleeper, writer = fortress.add('console', credentials=('x509',)), fortress.add('writer', credentials=('x509',))
        with Wire(fortress, sleeper) as client:
            client.send(wire.connect('sleeper', properties=LASTS)).expect(CONNACK)
            # What waits for a group stays in memory, whole: all else would wait on disk alone.
            client.send(wire.subscribe(1, '$share/g/big/#')).expect(SUBACK)
        busy = stack.enter_context(Wire(fortress, writer)).login(writer.name)

        def says(*payloads):
            busy.send(*[wire.publish('big/a', payload, 1, packet_id=i + 1) for i, payload in enumerate(payloads)])
            return {busy.expect(PUBACK, timeout=30).reason for _ in payloads}
        for _ in range(13):
            assert says(*[b'x' * 260_000] * 10) == {0}
        edit(fortress, r'^  memory_bytes: .*$', '  memory_bytes: 32MiB')
        reload(fortress)
        assert metrics(fortress)['memory_ceiling_bytes'] == 32 << 20
        assert says(b'x' * 1000) == {QUOTA_EXCEEDED}, 'more is in use than there may be'
        assert not is_let_in(fortress, late), 'nobody new'
        edit(fortress, r'^  memory_bytes: .*$', '  memory_bytes: 1GiB')
        reload(fortress)
        wait_until('room again', lambda: says(b'x') == {0}, pause=0.05)
        assert is_let_in(fortress, late)
        twenty.work()
        fortress.cli('certs', 'renew')
        twenty.work()


# -- all or nothing ----------------------------------------------------------------------------------------------------------

def test_a_bad_file_changes_nothing_of_itself(make_fortress):
    fortress = make_fortress()
    sensor = fortress.add('sensor')
    path = fortress.dir / 'sallyport.yaml'
    good = path.read_text()
    with_limits(fortress, 'packet_bytes: 8KiB')
    path.write_text(path.read_text() + 'surprise: 1\n')
    assert 'not reloaded' in reload(fortress)
    event, = fortress.wait_event('config_reject', target='sallyport.yaml', severity='alert')
    assert re.search(r'sallyport\.yaml:\d+:1: .*surprise', event['reason'])
    assert packet_max(connack(fortress, sensor, sensor.name)) == 264 * 1024
    assert 'surprise' in fortress.cli('alerts')
    policy = fortress.dir / 'policy.yaml'
    fine = policy.read_text()
    policy.write_text(fine + 'puzzle: 1\n')
    line = reload(fortress)
    assert 'surprise' in line and 'puzzle' in line, 'every file that is wrong is named'
    path.write_text(good.replace('version: 1\n', 'version: 1\nlimits: { packet_bytes: 8KiB }\n') if 'limits:' not in good else
                    re.sub(r'^limits:\n', 'limits:\n  packet_bytes: 8KiB\n', good, flags=re.M))
    line = reload(fortress)
    assert 'not reloaded' in line and 'puzzle' in line
    alerts = fortress.cli('alerts')
    assert 'surprise' not in alerts and 'puzzle' in alerts, 'one alert, of the last try'
    assert packet_max(connack(fortress, sensor, sensor.name)) == 264 * 1024, 'a bad policy keeps a good configuration out'
    rejects = fortress.wait_event('config_reject', target='policy.yaml', severity='alert')
    assert re.search(r'policy\.yaml:\d+:1: .*puzzle', rejects[-1]['reason'])
    assert len(fortress.wait_event('config_reject')) == 3, 'one event for each try'
    policy.write_text(fine)
    reload(fortress)
    assert 'puzzle' not in fortress.cli('alerts')
    assert packet_max(connack(fortress, sensor, sensor.name)) == 8192


def test_many_in_a_row_under_load_lose_nothing(make_fortress):
    fortress = make_fortress(settings=['connect_rate=100/s', 'publish_rate=100000/s', 'publish_burst=100000',
                                       'queue_messages=100000', 'inflight=1000'])
    console = fortress.add('console')
    sensors = [fortress.add('sensor') for _ in range(8)]
    sent, stop = [0] * len(sensors), threading.Event()

    def run(i, client):
        for n in itertools.count():
            if stop.is_set():
                return
            client.publish(f'status/{sensors[i].name}', str(n), timeout=30)
            sent[i] = n + 1
    with Paho(console, session_expiry=600) as reader:
        assert reader.subscribe('status/#') == [1]
        clients = [Paho(sensor).__enter__() for sensor in sensors]
        threads = [threading.Thread(target=run, args=pair, daemon=True) for pair in enumerate(clients)]
        for thread in threads:
            thread.start()
        for n in range(4):
            edit(fortress, r'(name: mqtts,)( tls_min: 1.\d,)?', rf'\1 tls_min: 1.{2 + n % 2},')
            if n % 3 == 0:
                fortress.cli('certs', 'renew')
            fortress.reload()
            floor = sum(sent) + 20
            wait_until('the load goes on', lambda floor=floor: sum(sent) >= floor, 30, pause=0.02)
        stop.set()
        for thread in threads:
            thread.join(40)
        got = {}
        for _ in range(sum(sent)):
            message = reader.get(30)
            got.setdefault(message.topic.split('/')[1], []).append(int(message.payload))
        assert got == {sensor.name: list(range(n)) for sensor, n in zip(sensors, sent)}
        assert [client.disconnect_reason for client in clients] == [None] * len(clients)
        for client in clients:
            client.__exit__()


def retained(console, device):
    with Paho(console) as reader:
        assert reader.subscribe(f'status/{device.name}') == [1]
        return [reader.get(30).payload.decode()]


def test_with_psk_and_certificates_by_coap(make_fortress):
    """An association stays; which ways in are there is for the next handshake."""
    fortress = make_fortress()
    fortress.apply(POLICY)
    lamp, console = fortress.add('sensor', credentials=('x509', 'psk')), fortress.add('console')
    path = f'mq/status/{lamp.name}'
    for build in [build for build in coap.BUILDS if 'openssl' in build]:
        assert coap.request(build, lamp, 'put', path, 'a', more=('-t', '0')).code is None
        edit(fortress, r'auth: \[psk, x509\],', 'auth: [x509],')
        reload(fortress)
        coap.request(build, lamp, 'put', path, 'b', wait_s=2)
        assert 'b' not in retained(console, lamp), 'a pre-shared key opens nothing'
        assert coap.request(build, lamp, 'put', path, 'c', auth='x509').code is None
        edit(fortress, r'auth: \[x509\],', 'auth: [psk],')
        reload(fortress)
        assert coap.request(build, lamp, 'put', path, 'd').code is None
        assert retained(console, lamp) == ['d']
