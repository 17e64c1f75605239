"""a: MQTT.js under node: over TLS and over WebSocket, both versions of MQTT."""
import pytest

from harness import mqtt_js
from harness.fortress import Fortress
from harness.refusal import Watch

pytestmark = pytest.mark.release


@pytest.fixture(scope='module')
def fortress():
    one = Fortress(listeners=('mqtts', 'wss', 'coaps'))
    one.apply(mqtt_js.POLICY)
    yield one
    one.close()


def credentials(device, auth):
    if auth == 'x509':
        return {'ca': device.ca, 'cert': device.cert, 'key': device.key}
    return {'ca': device.ca, 'username': device.name, 'password': device.password}


@pytest.mark.parametrize('version', [4, 5], ids=['v311', 'v5'])
@pytest.mark.parametrize('listener, auth', [('mqtts', 'x509'), ('mqtts', 'password'), ('wss', 'x509'), ('wss', 'password')])
def test_the_story(fortress, listener, auth, version):
    app = fortress.add('app')
    told = mqtt_js.how(app, listener, version, **credentials(app, auth))
    got = mqtt_js.run('story', told)
    if version == 5:
        assert got['kept'].pop('answers') == f'{told["base"]}/answers'
    assert got == mqtt_js.facts(version)
    denied = fortress.wait_event('acl_deny', about=app.name, at_least=2)
    assert all((event['principal'], event['listener'], event['target']) == (app.name, listener, told['denied'])
               for event in denied), denied


@pytest.mark.parametrize('listener', ['mqtts', 'wss'])
def test_it_refuses_a_server_that_it_cannot_trust(fortress, listener, stranger):
    app = fortress.add('app')
    told = mqtt_js.how(app, listener, 5, **credentials(app, 'password'))
    assert 'issuer' in mqtt_js.run('refusal', {**told, 'ca': stranger})
    assert 'ERR_TLS_CERT_ALTNAME_INVALID' in mqtt_js.run('refusal', {**told, 'servername': 'wrong.example'})


@pytest.mark.parametrize('version, code', [(4, '4 '), (5, '134 ')], ids=['v311', 'v5'])
@pytest.mark.parametrize('listener', ['mqtts', 'wss'])
def test_a_wrong_password(fortress, listener, version, code):
    app, watch = fortress.add('app'), Watch(fortress)
    told = mqtt_js.how(app, listener, version, **credentials(app, 'password'))
    why = mqtt_js.run('refusal', {**told, 'password': 'wrong'})
    assert why.startswith(code), why
    watch.expect('auth_fail', principal=app.name, listener=listener)
