"""c: tokens of another issuer (JWT), as the password of CONNECT and by the method OAUTH2-JWT, with refresh in the session."""
import base64
import json
import re
import subprocess
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

from harness import scram, wire
from harness.fortress import POLICY, Fortress
from harness.refusal import Watch
from harness.wait import wait_until
from harness.wire import AUTH, CONNACK, DISCONNECT, PINGREQ, PINGRESP, Wire

METHOD = 'OAUTH2-JWT'
NOT_AUTHORIZED, PROTOCOL_ERROR, BAD_METHOD, BAD_CREDENTIALS = 0x87, 0x82, 0x8c, 0x86
ISSUER = 'https://id.example/realm'
KEYS = {'EdDSA': ed25519.Ed25519PrivateKey.generate(), 'ES256': ec.generate_private_key(ec.SECP256R1()),
        'RS256': rsa.generate_private_key(65537, 2048)}
FOREIGN = ed25519.Ed25519PrivateKey.generate()


def whole(coordinate):
    """With its leading zeros (RFC 7518, 6.2.1.2), which PyJWT of Debian 12 leaves out."""
    octets = base64.urlsafe_b64decode(coordinate + '=' * (-len(coordinate) % 4))
    return base64.urlsafe_b64encode(octets.rjust(32, b'\0')).rstrip(b'=').decode()


def jwk(alg, key, kid):
    made = json.loads(get_default_algorithms()[alg].to_jwk(key.public_key()))
    made.update({at: whole(made[at]) for at in ('x', 'y') if made['kty'] == 'EC'})
    return {**made, 'kid': kid, 'key_ops': ['verify']}


def write_keys(fortress, **keys):
    (fortress.dir / 'jwks.json').write_text(json.dumps({'keys': [jwk(alg, key, alg) for alg, key in keys.items()]}))


def configure(fortress, auth='[x509, password, token]'):
    config = fortress.dir / 'sallyport.yaml'
    text = re.sub(r'(name: mqtts,.*?auth: )\[[^]]*\]', rf'\g<1>{auth}', config.read_text())
    config.write_text(text + f'tokens: {{ keys: jwks.json, issuer: "{ISSUER}", audience: sallyport, skew: 0s }}\n')


@pytest.fixture(scope='module')
def fortress():
    one = Fortress(start=False)
    write_keys(one, **KEYS)
    configure(one)
    one.start()
    one.apply(POLICY)
    yield one
    one.close()


@pytest.fixture(scope='module')
def device(fortress):
    return fortress.add('sensor')


def token(subject, alg='EdDSA', seconds=600, key=None, kid=None, **claims):
    now = int(time.time())
    body = {'iss': ISSUER, 'aud': 'sallyport', 'sub': subject, 'iat': now, 'exp': now + seconds, **claims}
    return jwt.encode({name: value for name, value in body.items() if value is not None}, key or KEYS[alg], alg,
                      headers={'kid': kid or alg})


def stranger(fortress, device, version=5):
    return Wire(fortress, None, version, ca=device.ca)


def by_method(client_id, given):
    return wire.connect(client_id, properties=scram.properties(METHOD, given))


@pytest.mark.parametrize('alg', KEYS)
@pytest.mark.parametrize('user', ['', None, 'name'])
def test_password(fortress, device, alg, user):
    with stranger(fortress, device) as client:
        client.login(device.name, user=device.name if user == 'name' else user, password=token(device.name, alg))
        client.send(wire.publish(f'status/{device.name}', 'here', 1))
        assert client.expect(wire.PUBACK).reason == 0


def test_password_3_1_1(fortress, device):
    with stranger(fortress, device, 4) as client:
        client.login(device.name, user=device.name, password=token(device.name))


def test_real_client(fortress, device):
    """mosquitto_pub knows nothing of tokens: to it this is a password."""
    run = subprocess.run(['mosquitto_pub', '-V', '5', '-h', 'localhost', '-p', str(fortress.ports['mqtts']), '--cafile', device.ca,
                          '-i', device.name, '-u', device.name, '-P', token(device.name), '-q', '1', '-t', f'status/{device.name}',
                          '-m', 'here'], capture_output=True, text=True, timeout=30, check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize('alg', KEYS)
def test_method(fortress, device, alg):
    with stranger(fortress, device) as client:
        answer = client.send(by_method(device.name, token(device.name, alg))).expect(CONNACK)
        assert answer.reason == 0 and scram.read(answer.body[2:]) == (METHOD, None)
    assert 'eyJ' not in '\n'.join(fortress.log), 'a token was logged'


def forged(device):
    good = token(device.name)
    head, body, signature = good.split('.')
    none = jwt.encode({'sub': device.name}, None, 'none')
    return {
        'signature': '.'.join((head, body, signature[:-6] + 'AAAAAA')), 'foreign key': token(device.name, key=FOREIGN),
        'unknown kid': token(device.name, kid='other'), 'none': none, 'no signature': f'{head}.{body}.',
        'hs256 with the public key': jwt.encode({'sub': device.name}, json.dumps(jwk('EdDSA', KEYS['EdDSA'], 'EdDSA')), 'HS256',
                                                headers={'kid': 'EdDSA'}),
        'algorithm of another key': token(device.name, 'ES256', kid='RS256'),
        'audience': token(device.name, aud='other'), 'no audience': token(device.name, aud=None),
        'issuer': token(device.name, iss=ISSUER + '/'), 'no end': token(device.name, exp=None),
        'over': token(device.name, seconds=-1), 'not yet': token(device.name, nbf=int(time.time()) + 100),
        'no subject': token(device.name, sub=None), 'nobody': token('nobody-of-that-name'),
        'too long': token(device.name, pad='x' * 4000), 'garbage': 'eyJ.eyJ.AA',
    }


@pytest.mark.parametrize('what', forged(type('D', (), {'name': 'x'})))
@pytest.mark.parametrize('how', ['password', 'method'])
def test_refused(fortress, device, what, how):
    given = forged(device)[what]
    watch = Watch(fortress)
    with stranger(fortress, device) as client:
        client.send(wire.connect(device.name, password=given) if how == 'password' else by_method(device.name, given))
        assert client.expect(CONNACK).reason == NOT_AUTHORIZED
        assert client.expect_close() == []
        if what == 'over':  # a credential that was good once
            wait_until('the event', lambda: [event for event in fortress.events() if event['peer'] == client.peer and
                                             event['category'] == 'credential_expiring'], 5)
        else:
            watch.expect('auth_fail', client.peer)


def test_another_name(fortress, device):
    other = fortress.add('sensor')
    with stranger(fortress, device) as client:
        client.send(wire.connect(other.name, user=other.name, password=token(device.name)))
        assert client.expect(CONNACK).reason == NOT_AUTHORIZED


def test_disabled(fortress):
    device = fortress.add('sensor')
    with stranger(fortress, device) as client, stranger(fortress, device) as late:
        client.login(device.name, password=token(device.name))
        fortress.cli('device', 'disable', device.name)
        assert client.expect(DISCONNECT).reason == NOT_AUTHORIZED
        late.send(wire.connect(device.name, password=token(device.name)))
        assert late.expect(CONNACK).reason == NOT_AUTHORIZED


def test_a_password_still_is_one(fortress, device):
    with stranger(fortress, device) as client:
        client.login(device.name, user=device.name, password=device.password)


@pytest.mark.parametrize('how', ['password', 'method'])
def test_end_of_the_token(fortress, device, how):
    """The connection ends with it, and says why."""
    with stranger(fortress, device) as client:
        given = token(device.name, seconds=2)
        client.send(wire.connect(device.name, password=given) if how == 'password' else by_method(device.name, given))
        assert client.expect(CONNACK).reason == 0
        assert client.expect(DISCONNECT, 10).reason == NOT_AUTHORIZED
        assert client.expect_close() == []
        event = wait_until('the event', lambda: [event for event in fortress.events() if event['peer'] == client.peer and
                                                 event['category'] == 'credential_expiring'], 5)[0]
        assert 'token' in event['reason'] and event['principal'] == device.name


# SPEC: MQTT5-4.12.1-1
def test_refresh(fortress, device):
    """Past the end of the first token, on the strength of the second."""
    with stranger(fortress, device) as client:
        ends = time.time() + 2
        assert client.send(by_method(device.name, token(device.name, seconds=2))).expect(CONNACK).reason == 0
        client.send(scram.auth(scram.REAUTHENTICATE, METHOD, token(device.name, 'ES256', seconds=5)))
        done = client.expect(AUTH)
        assert done.reason == 0 and scram.read(done.body[1:])[0] == METHOD

        def answers():
            client.send(wire.packet(PINGREQ))
            client.expect(PINGRESP)
            return time.time() > ends + 1
        wait_until('the first end has passed', answers, 6, pause=0.2)
        assert client.expect(DISCONNECT, 10).reason == NOT_AUTHORIZED


# SPEC: MQTT5-4.12.1-2
@pytest.mark.parametrize('how', ['another', 'over', 'answer', 'method'])
def test_refresh_fails(fortress, device, how):
    other = fortress.add('sensor')
    with stranger(fortress, device) as client:
        assert client.send(by_method(device.name, token(device.name))).expect(CONNACK).reason == 0
        client.send({'another': scram.auth(scram.REAUTHENTICATE, METHOD, token(other.name)),
                     'over': scram.auth(scram.REAUTHENTICATE, METHOD, token(device.name, seconds=-1)),
                     'answer': scram.auth(scram.CONTINUE, METHOD, token(device.name)),
                     'method': scram.auth(scram.REAUTHENTICATE, scram.METHOD, token(device.name))}[how])
        assert client.expect(DISCONNECT).reason == (PROTOCOL_ERROR if how in ('answer', 'method') else NOT_AUTHORIZED)
        assert client.expect_close() == []


def test_keys_are_reloaded(make_fortress):
    fortress = make_fortress(start=False)
    write_keys(fortress, EdDSA=KEYS['EdDSA'])
    configure(fortress)
    fortress.start()
    fortress.apply(POLICY)
    device = fortress.add('sensor')

    def code(alg):
        with stranger(fortress, device) as client:
            return client.send(wire.connect(device.name, password=token(device.name, alg))).expect(CONNACK).reason
    assert (code('EdDSA'), code('ES256')) == (0, NOT_AUTHORIZED)
    (fortress.dir / 'jwks.json').write_text('{"keys": []}')
    fortress.reload()
    fortress.wait_event('config_reject')
    assert code('EdDSA') == 0, 'a broken set leaves the old one in force'
    write_keys(fortress, ES256=KEYS['ES256'])
    fortress.reload()
    wait_until('the new keys', lambda: (code('EdDSA'), code('ES256')) == (NOT_AUTHORIZED, 0), pause=0.2)


def test_keys_and_policy_come_together_or_not_at_all(make_fortress):
    """A bad policy keeps good keys out, and bad keys a good policy: what was written together is never in force by halves."""
    fortress = make_fortress(start=False)
    write_keys(fortress, EdDSA=KEYS['EdDSA'])
    configure(fortress)
    fortress.start()
    fortress.apply(POLICY)
    device, policy = fortress.add('sensor'), fortress.dir / 'policy.yaml'
    good = policy.read_text()

    def login(alg):
        with stranger(fortress, device) as client:
            return client.send(wire.connect(device.name, password=token(device.name, alg))).expect(CONNACK).reason

    def may_publish(topic):
        with Wire(fortress, device) as client:
            return client.login(device.name).send(wire.publish(topic, 'x', 1)).expect(wire.PUBACK).reason == 0
    assert login('ES256') == NOT_AUTHORIZED and not may_publish('more')
    policy.write_text(good + 'surprise: 1\n')
    write_keys(fortress, ES256=KEYS['ES256'])
    fortress.reload()
    refused, = fortress.wait_event('config_reject', target='policy.yaml')
    assert refused['severity'] == 'alert' and re.search(r':\d+:\d+', refused['reason'])
    assert (login('EdDSA'), login('ES256')) == (0, NOT_AUTHORIZED) and not may_publish('more')
    policy.write_text(good.replace('  sensor:\n    publish:   [ ', '  sensor:\n    publish:   [ more, '))
    (fortress.dir / 'jwks.json').write_text('{"keys": []}')
    fortress.reload()
    fortress.wait_event('config_reject', target='jwks.json', severity='alert')
    assert (login('EdDSA'), login('ES256')) == (0, NOT_AUTHORIZED) and not may_publish('more')
    write_keys(fortress, ES256=KEYS['ES256'])
    fortress.reload()
    wait_until('the new policy', lambda: may_publish('more'), pause=0.2)
    assert (login('EdDSA'), login('ES256')) == (NOT_AUTHORIZED, 0)
    assert 'reload' not in fortress.cli('alerts')
    (fortress.dir / 'jwks.json').write_text('{"keys": []}')
    policy.write_text('surprise: 1\n')
    since = len(fortress.log)
    fortress.reload()
    line = fortress.wait_log('not reloaded', since)
    assert 'jwks.json' in line and 'policy.yaml' in line


def test_several_issuers(make_fortress):
    """Each token is judged by the keys and the audience of the issuer that it names."""
    fortress = make_fortress(start=False)
    write_keys(fortress, EdDSA=KEYS['EdDSA'])
    (fortress.dir / 'other.json').write_text(json.dumps({'keys': [jwk('ES256', KEYS['ES256'], 'ES256')]}))
    configure(fortress)
    config = fortress.dir / 'sallyport.yaml'
    one = re.search(r'^tokens: (.*)$', config.read_text(), re.M).group(1)
    other = '{ keys: other.json, issuer: "https://other.example", audience: plant }'
    config.write_text(config.read_text().replace(f'tokens: {one}', f'tokens: [ {one}, {other} ]'))
    fortress.start()
    fortress.apply(POLICY)
    device = fortress.add('sensor')

    def login(alg, **claims):
        with stranger(fortress, device) as client:
            return client.send(wire.connect(device.name, password=token(device.name, alg, **claims))).expect(CONNACK).reason
    theirs = {'iss': 'https://other.example', 'aud': 'plant'}
    assert (login('EdDSA'), login('ES256', **theirs)) == (0, 0)
    assert [login('ES256'), login('EdDSA', **theirs), login('ES256', **{**theirs, 'aud': 'sallyport'}),
            login('EdDSA', iss='https://third.example'), login('EdDSA', iss=None)] == [NOT_AUTHORIZED] * 5
    (fortress.dir / 'other.json').write_text('{')
    fortress.reload()
    event, = fortress.wait_event('config_reject', target='tokens')
    assert 'other.json' in event['reason']
    assert (login('EdDSA'), login('ES256', **theirs)) == (0, 0), 'a broken set of one leaves all as they were'


def test_listener_without_token(make_fortress):
    fortress = make_fortress(start=False)
    write_keys(fortress, EdDSA=KEYS['EdDSA'])
    configure(fortress, '[x509, password]')
    fortress.start()
    fortress.apply(POLICY)
    device = fortress.add('sensor')
    with stranger(fortress, device) as client:
        client.send(by_method(device.name, token(device.name)))
        assert client.expect(CONNACK).reason == BAD_METHOD
    with stranger(fortress, device) as client:
        client.send(wire.connect(device.name, user=device.name, password=token(device.name)))
        assert client.expect(CONNACK).reason == BAD_CREDENTIALS
