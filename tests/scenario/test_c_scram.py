"""c: MQTT 5 enhanced authentication by SCRAM-SHA-256, byte by byte: no client that is packaged here speaks it."""
import pytest

from harness import scram, wire
from harness.refusal import Watch
from harness.wire import AUTH, CONNACK, DISCONNECT, PINGREQ, PINGRESP, Wire

PROTOCOL_ERROR, BAD_CREDENTIALS, NOT_AUTHORIZED, BAD_METHOD = 0x82, 0x86, 0x87, 0x8c
WRONG = 'sp1_aaaaaaaaaaaaaaaaaaaaaaaaaa'


@pytest.fixture(scope='module')
def device(fortress):
    one = fortress.add('sensor', credentials=('scram',))
    one.scram = (one.bundle / 'scram.txt').read_text().strip()
    return one


def stranger(fortress, device):
    """TLS without a certificate of its own."""
    return Wire(fortress, None, ca=device.ca)


def challenge(client, name, exchange, client_id=None):
    """CONNECT with the first message; gives the server's."""
    client.send(wire.connect(client_id or name, properties=scram.properties(data=exchange.first)))
    got = client.expect(AUTH)
    assert got.reason == scram.CONTINUE  # SPEC: MQTT5-4.12.0-2
    method, data = scram.read(got.body[1:])
    assert method == scram.METHOD  # SPEC: MQTT5-4.12.0-5
    return data


def login(client, device, password=None):
    exchange = scram.Client(device.name, password or device.scram)
    data = challenge(client, device.name, exchange)
    client.send(scram.auth(scram.CONTINUE, data=exchange.final(data)))
    return exchange


def logged_in(client, device):
    exchange = login(client, device)
    answer = client.expect(CONNACK)
    assert answer.reason == 0
    return exchange, answer


# SPEC: MQTT5-4.12.0-2, MQTT5-4.12.0-5
def test_login(fortress, device):
    with stranger(fortress, device) as client:
        exchange, answer = logged_in(client, device)
        assert scram.read(answer.body[2:]) == (scram.METHOD, exchange.server), 'the server must prove itself, too'
        client.send(wire.publish(f'status/{device.name}', 'here', 1))
        assert client.expect(wire.PUBACK).reason == 0
    assert device.scram not in '\n'.join(fortress.log)


# SPEC: MQTT5-4.12.0-4
@pytest.mark.parametrize('who', ['known', 'unknown', 'nonsense'])
def test_wrong_and_unknown_look_alike(fortress, device, who):
    name = {'known': device.name, 'unknown': 'nobody-of-that-name', 'nonsense': 'no/body=2C' + 'x' * 90}[who]
    watch = Watch(fortress)
    seen = []
    for _ in range(2):
        with stranger(fortress, device) as client:
            exchange = scram.Client(name, WRONG)
            data = challenge(client, name, exchange, client_id='x')
            client.send(scram.auth(scram.CONTINUE, data=exchange.final(data)))
            assert client.expect(CONNACK).reason == BAD_CREDENTIALS
            assert client.expect_close() == []
            watch.expect('auth_fail', client.peer, fix='device rotate')
            seen.append((exchange.salt, exchange.iterations))
    assert seen[0] == seen[1] and len(seen[0][0]) == 16 and seen[0][1] == 4096, 'a salt that moves is nobody\'s'


def test_salt_of_a_name_is_there_before_it(fortress, device):
    salts = []
    for _ in range(2):
        with stranger(fortress, device) as client:
            exchange = scram.Client('comes-later', WRONG)
            exchange.final(challenge(client, 'comes-later', exchange))
            salts.append(exchange.salt)
        if len(salts) == 1:
            fortress.add('sensor', name='comes-later', credentials=('scram',))
    assert salts[0] == salts[1]


def test_replay(fortress, device):
    """The proof of one exchange is worth nothing in the next: our part of the nonce is another."""
    with stranger(fortress, device) as client:
        exchange = scram.Client(device.name, device.scram)
        final = exchange.final(challenge(client, device.name, exchange))
        client.send(scram.auth(scram.CONTINUE, data=final))
        assert client.expect(CONNACK).reason == 0
    with stranger(fortress, device) as client:
        challenge(client, device.name, exchange)
        client.send(scram.auth(scram.CONTINUE, data=final))
        assert client.expect(CONNACK).reason == BAD_CREDENTIALS


def test_rotation_overlaps(fortress):
    device = fortress.add('sensor', credentials=('scram',))
    old = (device.bundle / 'scram.txt').read_text().strip()
    fresh = fortress.home / f'{device.name}-2'
    fortress.cli('device', 'rotate', device.name, '--overlap', '1h', '--out', fresh)
    for password in (old, (fresh / 'scram.txt').read_text().strip()):
        with stranger(fortress, device) as client:
            login(client, device, password)
            assert client.expect(CONNACK).reason == 0
    fortress.cli('device', 'disable', device.name)
    watch = Watch(fortress)
    with stranger(fortress, device) as client:
        login(client, device, old)
        assert client.expect(CONNACK).reason == NOT_AUTHORIZED
        watch.expect('revoked', client.peer, fix='device enable')


# SPEC: MQTT5-4.12.0-1
@pytest.mark.parametrize('method', ['SCRAM-SHA-1', 'SCRAM-SHA-256-PLUS', 'scram-sha-256', 'GS2-KRB5', ''])
def test_other_methods(fortress, device, method):
    watch = Watch(fortress)
    with stranger(fortress, device) as client:
        client.send(wire.connect(device.name, properties=scram.properties(method, b'x')))
        assert client.expect(CONNACK).reason == BAD_METHOD
        assert client.expect_close() == []
        watch.expect('auth_fail', client.peer)


@pytest.mark.parametrize('first', [b'', b'n,,', b'n,,n=x', b'p=tls-exporter,,n=x,r=12345678', b'\xff' * 600, b'n,a=y,n=x,r=12345678'])
def test_broken_first_message(fortress, device, first):
    watch = Watch(fortress)
    with stranger(fortress, device) as client:
        client.send(wire.connect(device.name, properties=scram.properties(data=first)))
        assert client.expect(CONNACK).reason == BAD_CREDENTIALS
        assert client.expect_close() == []
        watch.expect('auth_fail', client.peer)


# SPEC: MQTT5-3.1.2-30, MQTT5-4.12.0-3, MQTT5-4.12.0-5, MQTT5-3.15.1-1, MQTT5-3.15.2-1
@pytest.mark.parametrize('what', [
    lambda: scram.auth(scram.CONTINUE, method='SCRAM-SHA-1', data=b'x'), lambda: scram.auth(scram.CONTINUE, method=None),
    lambda: scram.auth(scram.REAUTHENTICATE, data=b'x'), lambda: scram.auth(0x00, data=b'x'), lambda: scram.auth(0x01, data=b'x'),
    lambda: wire.packet(AUTH), lambda: wire.packet(AUTH, b'\x18\x00', 1), lambda: wire.packet(PINGREQ),
    lambda: wire.publish('status/x', 'x'), lambda: wire.subscribe(1, '#'), lambda: wire.connect('x')],
    ids=['method', 'no-method', 'again', 'success', 'unknown', 'empty', 'flags', 'ping', 'publish', 'subscribe', 'connect'])
def test_not_an_answer(fortress, device, what):
    with stranger(fortress, device) as client:
        exchange = scram.Client(device.name, device.scram)
        challenge(client, device.name, exchange)
        client.send(what())
        answer = client.expect(CONNACK)
        assert answer.reason in (PROTOCOL_ERROR, 0x81)
        assert client.expect_close() == []


def test_giving_up(fortress, device):
    with stranger(fortress, device) as client:
        challenge(client, device.name, scram.Client(device.name, device.scram))
        client.send(wire.packet(DISCONNECT, b'\0'))
        assert client.expect_close() == []


# SPEC: MQTT5-4.12.0-6, MQTT5-4.12.0-7
def test_no_method_no_auth(fortress):
    device = fortress.add('sensor')
    with Wire(fortress, device) as client:
        answer = client.send(wire.connect(device.name)).expect(CONNACK)
        assert answer.reason == 0 and scram.read(answer.body[2:]) == (None, None)
        client.send(scram.auth(scram.REAUTHENTICATE, data=b'n,,n=x,r=12345678'))
        assert client.expect(DISCONNECT).reason == PROTOCOL_ERROR
        assert client.expect_close() == []


# SPEC: MQTT5-4.12.1-1
def test_again(fortress, device):
    with stranger(fortress, device) as client:
        logged_in(client, device)
        for _ in range(2):
            exchange = scram.Client(device.name, device.scram)
            client.send(scram.auth(scram.REAUTHENTICATE, data=exchange.first))
            method, data = scram.read(client.expect(AUTH).body[1:])
            client.send(wire.packet(PINGREQ))  # the old standing holds meanwhile
            client.expect(PINGRESP)
            client.send(scram.auth(scram.CONTINUE, data=exchange.final(data)))
            done = client.expect(AUTH)
            assert done.reason == 0 and scram.read(done.body[1:]) == (scram.METHOD, exchange.server)


# SPEC: MQTT5-4.12.1-2
@pytest.mark.parametrize('how', ['wrong', 'another', 'unasked', 'method'])
def test_again_fails(fortress, device, how):
    other = fortress.add('sensor', credentials=('scram',))
    watch = Watch(fortress)
    with stranger(fortress, device) as client:
        logged_in(client, device)
        if how == 'wrong':
            exchange = scram.Client(device.name, WRONG)
            client.send(scram.auth(scram.REAUTHENTICATE, data=exchange.first))
            _, data = scram.read(client.expect(AUTH).body[1:])
            client.send(scram.auth(scram.CONTINUE, data=exchange.final(data)))
        elif how == 'another':
            password = (other.bundle / 'scram.txt').read_text().strip()
            client.send(scram.auth(scram.REAUTHENTICATE, data=scram.Client(other.name, password).first))
        elif how == 'unasked':
            client.send(scram.auth(scram.CONTINUE, data=b'c=biws'))
        else:
            client.send(scram.auth(scram.REAUTHENTICATE, method='OAUTH2-JWT', data=b'x'))
        assert client.expect(DISCONNECT).reason == (NOT_AUTHORIZED if how in ('wrong', 'another') else PROTOCOL_ERROR)
        assert client.expect_close() == []
        watch.expect('protocol_error' if how == 'method' else 'auth_fail', client.peer)
