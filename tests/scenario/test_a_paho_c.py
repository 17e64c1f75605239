"""a: paho's C library, synchronous, over TLS and over WebSocket, both versions of MQTT. The client is paho_c.c."""
import subprocess
from pathlib import Path

import pytest

from harness import mqtt_js
from harness.fortress import Fortress
from harness.paho_client import Paho
from harness.refusal import Watch
from harness.relay import Relay

pytestmark = pytest.mark.release

VERSIONS = pytest.mark.parametrize('version', [4, 5], ids=['v311', 'v5'])


@pytest.fixture(scope='module')
def program(tmp_path_factory):
    built = tmp_path_factory.mktemp('paho_c') / 'paho_c'
    subprocess.run(['cc', '-std=c17', '-Wall', '-Wextra', '-Werror', '-O1', '-g', '-D_GNU_SOURCE', '-o', str(built),
                    str(Path(__file__).parent / 'paho_c.c'), '-lpaho-mqtt3cs'], check=True)
    return built


@pytest.fixture(scope='module')
def fortress():
    one = Fortress(listeners=('mqtts', 'wss', 'coaps'))
    one.apply(mqtt_js.POLICY)
    yield one
    one.close()


class Client:
    def __init__(self, program, device, listener, version, auth='x509'):
        scheme = {'mqtts': 'ssl://{}:{}', 'wss': 'wss://{}:{}/mqtt'}[listener]
        self.program, self.version, self.scheme, self.ca = program, version, scheme, device.ca
        self.url = scheme.format('localhost', device.fortress.ports[listener])
        self.base, self.id, self.denied = f'app/{device.name}', f'{device.name}-c', 'app/somebody-else/x'
        self.credential = ['x509', device.cert, device.key] if auth == 'x509' else ['password', device.name, device.password]

    def run(self, phase):
        """The lines that it says."""
        ran = subprocess.run([str(self.program), phase, self.url, str(self.version), self.id, self.base, self.denied, self.ca,
                              *self.credential], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout.splitlines()


@VERSIONS
@pytest.mark.parametrize('listener, auth', [('mqtts', 'x509'), ('mqtts', 'password'), ('wss', 'x509'), ('wss', 'password')])
def test_the_story(fortress, program, listener, auth, version):
    app = fortress.add('app')
    client = Client(program, app, listener, version, auth)
    base, session = client.base, (lambda present: [] if version == 5 else [f'session {present}'])
    with Paho(app, client_id=f'{app.name}-watches', version=5) as other:
        assert other.subscribe(f'{base}/will', 1) == [1]
        kept = f' 3=text/plain 8={base}/kept 9=that one unit=C unit=K' if version == 5 else ''
        assert sorted(client.run('first')) == sorted([
            *session(0), 'granted 2', *(f'got {base}/in/{qos} {qos} 0 {qos}-{i}' for qos in (0, 1, 2) for i in (1, 2, 3)),
            'granted 1', f'got {base}/kept 1 1 warm{kept}', f'got {base}/kept 1 0 ',
            f'subscription {135 if version == 5 else 128}'])
        assert other.get().payload == b'gone'
        for text in ('while away', 'still away'):
            other.publish(f'{base}/in/1', text, 1)
        assert client.run('again') == [*session(1), f'got {base}/in/1 1 0 while away', f'got {base}/in/1 1 0 still away']
        other.publish(f'{base}/will', 'a goodbye leaves no will', 1)
        assert other.get().payload == b'a goodbye leaves no will'
    event = fortress.wait_event('acl_deny', about=app.name)[-1]
    assert (event['principal'], event['listener'], event['target']) == (app.name, listener, client.denied)


@VERSIONS
def test_a_publish_that_is_denied(fortress, program, version):
    """Packet type 4 is PUBACK, 5 is PUBREC; 3.1.1 has no code for it, so the connection ends."""
    app = fortress.add('app')
    said = Client(program, app, 'mqtts', version).run('denied')
    if version == 5:
        assert said == ['denied 135 by 4', 'denied 135 by 5']
    else:
        assert said in (['session 0', 'publish -1'], ['session 0', 'publish -3']), said  # failed, or disconnected
    events = fortress.wait_event('acl_deny', about=app.name, at_least=2 if version == 5 else 1)
    assert all(event['target'] == 'app/somebody-else/x' for event in events)


@pytest.mark.parametrize('listener', ['mqtts', 'wss'])
def test_it_refuses_a_server_that_it_cannot_trust(fortress, program, stranger, listener):
    app = fortress.add('app')
    client = Client(program, app, listener, 5, 'password')
    assert client.run('connect') == ['connect 0']
    client.ca = stranger
    assert client.run('connect') == ['connect -1']
    client.ca = app.ca
    with Relay(fortress.ports[listener]) as relay:
        client.url = client.scheme.format(relay.address, relay.port)
        assert client.run('connect') == ['connect -1']


@pytest.mark.parametrize('version, code', [(4, 4), (5, 134)], ids=['v311', 'v5'])
def test_a_wrong_password(fortress, program, version, code):
    app, watch = fortress.add('app'), Watch(fortress)
    client = Client(program, app, 'mqtts', version, 'password')
    client.credential[-1] = 'wrong'
    assert client.run('connect') == [f'connect {code}']
    watch.expect('auth_fail', principal=app.name, listener='mqtts')
