"""c: what must be refused: with the right code, one event of the right category, and a log line with the safe fix."""
import datetime
import re
import socket
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from harness import coap, mosquitto, wire
from harness.clock import shifted
from harness.coap_message import POST
from harness.coap_peer import Peer
from harness.fortress import Device, Refused, times
from harness.nat import Nat
from harness.refusal import Watch
from harness.wait import wait_until
from harness.wire import CONNACK, DISCONNECT, PUBACK, SUBACK, Wire

pytestmark = pytest.mark.release

BAD_CREDENTIALS, NOT_AUTHORIZED, BAD_CLIENT_ID = 0x86, 0x87, 0x85
V311_OF = {BAD_CREDENTIALS: 4, NOT_AUTHORIZED: 5, BAD_CLIENT_ID: 2}
CREDENTIAL_FIX = r'device add|device rotate|device show|--cert|password|bundle|credential'
GRANT_FIX = r'policy|grant|role'

versions = pytest.mark.parametrize('version', [4, 5], ids=['v311', 'v5'])


def code(version, reason):
    return reason if version == 5 else V311_OF[reason]


def no_certificate(fortress, device, version=5, **more):
    """A connection that trusts the server and shows no certificate of its own."""
    return Wire(fortress, None, version, ca=device.ca, **more)


def certificate(folder, name, issuer=None, days=(-1, 30)):
    """A client certificate for the device name by a CA of ours, which nobody knows; gives the two paths."""
    key = ec.generate_private_key(ec.SECP256R1())
    ca_key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.utcnow()
    made = (x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(issuer or x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, 'Somebody Else')]))
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days=days[0]))
            .not_valid_after(now + datetime.timedelta(days=days[1]))
            .add_extension(x509.SubjectAlternativeName(
                [x509.UniformResourceIdentifier(f'urn:sallyport:device:{name}')]), False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
            .sign(ca_key, hashes.SHA256()))
    cert_path, key_path = folder / f'{name}.cert.pem', folder / f'{name}.key.pem'
    cert_path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                           serialization.NoEncryption()))
    return str(cert_path), str(key_path)


# -- who -----------------------------------------------------------------------------------------------------------------

# SPEC: MQTT5-3.1.4-2
@versions
def test_anonymous(fortress, version):
    known, watch = fortress.add('sensor'), Watch(fortress)
    with no_certificate(fortress, known, version) as client:
        client.send(wire.connect(known.name, version=version))
        assert client.expect(CONNACK).reason in {code(version, NOT_AUTHORIZED), code(version, BAD_CREDENTIALS)}
        assert client.expect_close() == []
        watch.expect('auth_fail', client.peer, fix=CREDENTIAL_FIX, listener='mqtts', protocol='mqtt')


# SPEC: MQTT5-3.1.4-2
@versions
@pytest.mark.parametrize('who', ['known', 'unknown'])
def test_wrong_password(fortress, version, who):
    known, watch = fortress.add('sensor'), Watch(fortress)
    user = known.name if who == 'known' else 'nobody-of-that-name'
    with no_certificate(fortress, known, version) as client:
        client.send(wire.connect(user, version=version, user=user, password='sp1_AAAAAAAAAAAAAAAAAAAAAAAAAA'))
        assert client.expect(CONNACK, 30).reason == code(version, BAD_CREDENTIALS)
        assert client.expect_close() == []
        event = watch.expect('auth_fail', client.peer, fix=CREDENTIAL_FIX)
        assert 'sp1_' not in str(event) and 'sp1_' not in '\n'.join(fortress.log[watch.since:]), 'a secret was recorded'


def test_foreign_certificate(fortress, tmp_path):
    """A certificate that says the device's name, from an authority that is not ours."""
    known, watch = fortress.add('sensor'), Watch(fortress)
    cert, key = certificate(tmp_path, known.name)
    client = Wire(fortress, known, certificate=cert, key=key)
    with client:
        try:
            client.send(wire.connect(known.name))
            assert client.receive() is None
        except OSError:
            pass
        watch.expect('tls_reject', client.peer, fix=CREDENTIAL_FIX + '|issue|authority', listener='mqtts')


def test_expired_certificate(make_fortress, tmp_path):
    """The fortress was made 200 days ago, with its first devices; today their certificates are over, and too old to be renewed."""
    fortress = make_fortress(environment=shifted(tmp_path, -200), start=False, command='quickstart')
    old = Device(fortress, 'meter-1', 'sensor', fortress.dir / 'bundles/meter-1')
    ends = x509.load_pem_x509_certificate((old.bundle / 'cert.pem').read_bytes()).not_valid_after
    assert ends < datetime.datetime.utcnow(), f'the shim did not move the clock: {ends}'
    fortress.environment = {}
    fortress.start()
    watch = Watch(fortress)
    client = Wire(fortress, None, certificate=old.cert, key=old.key, verify=False)
    with client:
        try:
            client.send(wire.connect(old.name))
            assert client.receive() is None
        except OSError:
            pass
        watch.expect('tls_reject', client.peer, fix=r'device rotate|rotate|renew|new certificate', reason=re.compile('expired'))


@versions
def test_another_devices_client_id(fortress, version):
    mine, theirs = fortress.add('sensor'), fortress.add('sensor')
    with Wire(fortress, theirs, version) as victim:
        victim.login(theirs.name)
        watch = Watch(fortress)
        with Wire(fortress, mine, version) as client:
            client.send(wire.connect(theirs.name, version=version))
            assert client.expect(CONNACK).reason == code(version, BAD_CLIENT_ID)
            assert client.expect_close() == []
            watch.expect('identity_mismatch', client.peer, mine.name, fix=r'client.id|-i |client_id')
        victim.send(wire.packet(wire.PINGREQ))
        victim.expect(wire.PINGRESP)


def test_another_devices_name_with_my_certificate(fortress):
    """A certificate of one device cannot log in as another: not by user name either."""
    mine, theirs = fortress.add('sensor'), fortress.add('sensor')
    with Wire(fortress, mine) as client:
        client.send(wire.connect(theirs.name, user=theirs.name, password=mine.password))
        assert client.expect(CONNACK, 30).reason in (BAD_CREDENTIALS, NOT_AUTHORIZED, BAD_CLIENT_ID)
        assert client.expect_close() == []
        wait_until('the event', lambda: [event for event in fortress.events() if event['peer'] == client.peer
                                         and event['category'] in ('identity_mismatch', 'auth_fail')], 5)


def refused(fortress):
    """Handshakes refused so far; the repeats of a second are folded into one event."""
    return sum(times(event) for event in fortress.events() if event['category'] == 'tls_reject')


@pytest.mark.parametrize('old', ['-tls1', '-tls1_1', '-tls1_2'])
def test_old_tls(fortress, old):
    """1.3 is the default of a listener; what is older is refused in the handshake."""
    known, watch = fortress.add('sensor'), Watch(fortress)
    before = refused(fortress)
    run = subprocess.run(['openssl', 's_client', '-connect', f'127.0.0.1:{fortress.ports["mqtts"]}', old, '-cipher',
                          'ALL:@SECLEVEL=0', '-CAfile', known.ca, '-cert', known.cert, '-key', known.key],
                         capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30, check=False)
    assert run.returncode != 0 and 'alert' in run.stderr, run.stderr
    wait_until('the event', lambda: refused(fortress) > before)
    event = fortress.wait_event('tls_reject')[-1]
    assert re.search(r'version|TLS', event['reason'])
    fortress.wait_log(re.escape(event['peer']), watch.since)


def test_tls_1_1_is_refused_even_where_1_2_is_configured(make_fortress):
    fortress = make_fortress(start=False)
    config = fortress.dir / 'sallyport.yaml'
    text = config.read_text()
    changed = re.sub(r'(name: mqtts\b[^}\n]*?)(,?\s*tls_min: *"?1\.3"?)?( *\}|$)', r'\1, tls_min: "1.2"\3', text, count=1,
                     flags=re.M)
    assert changed != text, 'the listener is written on one line'
    config.write_text(changed)
    fortress.start()
    port = fortress.ports['mqtts']

    def attempt(*options, say=None):
        return subprocess.run(['openssl', 's_client', '-connect', f'127.0.0.1:{port}', *options], capture_output=True,
                              text=True, input=say or '', timeout=30, check=False)
    for old in ('-tls1', '-tls1_1'):
        assert 'alert' in attempt(old, '-cipher', 'ALL:@SECLEVEL=0').stderr
    assert 'alert' in attempt('-tls1_2', '-cipher', 'ECDHE-ECDSA-AES128-SHA256').stderr, 'not an AEAD suite'
    good = ('-tls1_2', '-cipher', 'ECDHE-ECDSA-AES128-GCM-SHA256')
    assert 'ECDHE-ECDSA-AES' in attempt(*good).stdout
    fortress.wait_event('tls_reject', at_least=3)
    again = attempt(*good, say='R\n')  # s_client's word for another handshake in the same connection
    assert 'RENEGOTIATING' in again.stdout + again.stderr and 'no renegotiation' in again.stderr, again
    assert hello_for_compression(port, b'\1\0') == ('server hello', 0), 'both offered: none is taken'
    assert hello_for_compression(port, b'\1')[0] == 'alert', 'nothing else offered: no connection'


def hello_for_compression(port, methods):
    """What TLS 1.2 answers to a hello that offers these: no library of today makes one. The method it took, or its alert."""
    extensions = b''.join(kind.to_bytes(2, 'big') + len(body).to_bytes(2, 'big') + body for kind, body in (
        (10, b'\0\2\0\x17'), (11, b'\1\0'), (13, b'\0\2\4\3'), (0xff01, b'\0')))
    body = b'\3\3' + bytes(32) + b'\0' + b'\0\2\xc0\x2b' + bytes([len(methods)]) + methods + len(extensions).to_bytes(2, 'big') + extensions
    hello = b'\1' + len(body).to_bytes(3, 'big') + body
    with socket.create_connection(('127.0.0.1', port), 20) as raw:
        raw.sendall(b'\x16\3\1' + len(hello).to_bytes(2, 'big') + hello)
        with raw.makefile('rb') as stream:
            head = stream.read(5)
            got = stream.read(int.from_bytes(head[3:5], 'big'))
    if head[0] == 0x15:
        return 'alert', got[1]
    assert (head[0], got[0]) == (0x16, 2), (head, got)
    at = 4 + 2 + 32
    return 'server hello', got[at + 1 + got[at] + 2]


def test_plaintext_into_the_tls_port(fortress):
    known, watch = fortress.add('sensor'), Watch(fortress)
    with socket.create_connection(('127.0.0.1', fortress.ports['mqtts']), 10) as raw:
        peer = f'127.0.0.1:{raw.getsockname()[1]}'
        raw.settimeout(15)
        raw.sendall(wire.connect(known.name))
        received = b'?'
        try:
            while received:
                received = raw.recv(4096)
                assert not received.startswith(b'\x20'), 'a CONNACK in the clear'
        except ConnectionResetError:
            pass
        watch.expect('tls_reject', peer)


# -- what ----------------------------------------------------------------------------------------------------------------

@versions
@pytest.mark.parametrize('filter_', ['#', '+/#', 'sensors/#', 'commands/#', 'commands/+/set', '$SYS/#', '/#'])
def test_subscription_wider_than_the_grant(fortress, version, filter_):
    mine, watch = fortress.add('sensor'), Watch(fortress)
    with Wire(fortress, mine, version) as client:
        client.login(mine.name)
        answer = client.send(wire.subscribe(7, filter_, version=version)).expect(SUBACK)
        assert answer.reason == (NOT_AUTHORIZED if version == 5 else 0x80)
        watch.expect('acl_deny', client.peer, mine.name, fix=GRANT_FIX, target=filter_)
        answer = client.send(wire.subscribe(8, f'commands/{mine.name}/#', version=version)).expect(SUBACK)
        assert answer.reason == 1, 'the connection goes on and the granted filter works'


@pytest.mark.parametrize('filter_', ['$share/group/#', '$share/group/commands/#'])
def test_a_shared_filter_needs_the_grant_of_its_filter(fortress, filter_):
    mine = fortress.add('sensor')
    with Wire(fortress, mine) as client:
        client.login(mine.name)
        assert client.send(wire.subscribe(7, filter_)).expect(SUBACK).reason == NOT_AUTHORIZED
        client.send(wire.packet(wire.PINGREQ)).expect(wire.PINGRESP)


@pytest.mark.parametrize('topic', ['commands/x/set', 'sensors/south/other/temp', 'status/other', '$SYS/x'])
def test_publish_outside_the_grant_v5(fortress, topic):
    mine, watch = fortress.add('sensor'), Watch(fortress)
    with Wire(fortress, mine) as client:
        client.login(mine.name)
        answer = client.send(wire.publish(topic, 'x', qos=1, packet_id=9)).expect(PUBACK)
        assert answer.reason == NOT_AUTHORIZED
        watch.expect('acl_deny', client.peer, mine.name, fix=GRANT_FIX, target=topic)
        good = wire.publish(f'status/{mine.name}', 'x', qos=1, packet_id=10)
        assert client.send(good).expect(PUBACK).reason in (0, 0x10)


def test_publish_outside_the_grant_v311_closes(fortress):
    """3.1.1 has no honest negative answer: no PUBACK, the connection ends."""
    mine, console = fortress.add('sensor'), fortress.add('console')
    with mosquitto.Subscriber(console, 'status/#', qos=1) as seen:
        watch = Watch(fortress)
        with Wire(fortress, mine, 4) as client:
            client.login(mine.name)
            client.send(wire.publish('status/other', 'x', qos=1, version=4))
            assert client.expect_close() == []
            watch.expect('acl_deny', client.peer, mine.name, fix=GRANT_FIX, target='status/other')
        mosquitto.publish(mine, f'status/{mine.name}', 'mark', qos=1)
        assert seen.get()['payload'] == 'mark', 'nobody saw what was refused'


def test_retain_without_the_grant(fortress):
    """A bare grant is without retain."""
    mine, watch = fortress.add('sensor'), Watch(fortress)
    topic = f'sensors/north/{mine.name}/temp'
    with Wire(fortress, mine) as client:
        client.login(mine.name)
        assert client.send(wire.publish(topic, 'x', qos=1, retain=True)).expect(PUBACK).reason == NOT_AUTHORIZED
        watch.expect('acl_deny', client.peer, mine.name, fix=r'retain', target=topic)


def test_qos_above_the_grant(fortress):
    mine, watch = fortress.add('sensor'), Watch(fortress)
    with Wire(fortress, mine) as client:
        client.login(mine.name)
        client.send(wire.publish(f'status/{mine.name}', 'x', qos=2))
        assert client.receive().reason >= 0x80
        watch.expect('acl_deny', client.peer, mine.name, fix=GRANT_FIX + '|qos')


@versions
def test_will_to_a_forbidden_topic(fortress, version):
    mine, watch = fortress.add('sensor'), Watch(fortress)
    with Wire(fortress, mine, version) as client:
        client.send(wire.connect(mine.name, version=version, will=('commands/all/off', 'x', 1, False)))
        assert client.expect(CONNACK).reason == code(version, NOT_AUTHORIZED)
        assert client.expect_close() == []
        watch.expect('acl_deny', client.peer, mine.name, fix=GRANT_FIX + '|will', target='commands/all/off')


@pytest.mark.parametrize('attribute', ['a+b', '#', 'a/b', '+', '$x'])
def test_an_attribute_never_widens_a_grant(fortress, attribute):
    """Placeholders are substituted per level and never parsed again; a value that cannot be a level is refused or inert."""
    try:
        mine = fortress.add('sensor', attributes={'site': attribute})
    except Refused as refused:  # refusing it at once is as good
        assert refused.code == 1 and 'site' in refused.stderr
        return
    with Wire(fortress, mine) as client:
        client.login(mine.name)
        answer = client.send(wire.publish(f'sensors/elsewhere/{mine.name}/t', 'x', qos=1)).expect(PUBACK)
        assert answer.reason == NOT_AUTHORIZED


# -- how it is written -----------------------------------------------------------------------------------------------------

BAD_TEXT = {'overlong': b'\xc0\xaf', 'surrogate': b'\xed\xa0\x80', 'nul': b'a\x00b', 'cut': b'\xe2\x82', 'too far': b'\xf4\x90\x80\x80'}


@versions
@pytest.mark.parametrize('bad', BAD_TEXT.values(), ids=BAD_TEXT.keys())
def test_invalid_utf8_in_a_topic(fortress, version, bad):
    mine, console = fortress.add('sensor'), fortress.add('console')
    with mosquitto.Subscriber(console, 'status/#', qos=2) as seen:
        watch = Watch(fortress)
        with Wire(fortress, mine, version) as client:
            client.login(mine.name)
            client.send(wire.publish(b'status/' + bad, 'x', qos=2, version=version))
            last = client.expect_close()
            if version == 5:
                assert [(one.kind, one.reason) for one in last] == [(DISCONNECT, 0x81)]
            else:
                assert last == []
            watch.expect('utf8', client.peer, mine.name)
        mosquitto.publish(mine, f'status/{mine.name}', 'mark', qos=1)
        assert seen.get()['payload'] == 'mark', 'no subscriber ever sees it'


def test_payload_that_is_not_the_text_it_claims(fortress):
    mine, watch = fortress.add('sensor'), Watch(fortress)
    with Wire(fortress, mine) as client:
        client.login(mine.name)
        client.send(wire.publish(f'status/{mine.name}', b'\xff\xfe', qos=1, properties=b'\x01\x01'))
        assert client.receive().reason == 0x99
        watch.expect('utf8', client.peer, mine.name)


MALFORMED = {
    'reserved packet type': bytes([0x00, 0x00]),
    'PUBLISH with QoS 3': bytes([0x36, 0x05, 0x00, 0x01, 0x61, 0x00, 0x01]),
    'SUBSCRIBE with wrong flags': bytes([0x80, 0x06, 0x00, 0x01, 0x00, 0x00, 0x01, 0x61]),
    'length of five bytes': bytes([0x30, 0xff, 0xff, 0xff, 0xff, 0x01]),
    'PUBACK with id 0': bytes([0x40, 0x02, 0x00, 0x00]),
    'empty SUBSCRIBE': bytes([0x82, 0x03, 0x00, 0x01, 0x00]),
    'topic longer than the packet': bytes([0x30, 0x04, 0x00, 0x09, 0x61, 0x62]),
}


@pytest.mark.parametrize('packet', MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed(fortress, packet):
    mine, watch = fortress.add('sensor'), Watch(fortress)
    with Wire(fortress, mine) as client:
        client.login(mine.name)
        last = client.send(packet).expect_close()
        assert [one.kind for one in last] == [DISCONNECT] and last[0].reason in (0x81, 0x82, 0x95)
        category = 'protocol_error' if last[0].reason == 0x82 else 'quota' if last[0].reason == 0x95 else 'malformed'
        watch.expect(category, client.peer, mine.name)


def test_a_second_connect_is_a_protocol_error(fortress):
    mine, watch = fortress.add('sensor'), Watch(fortress)
    with Wire(fortress, mine) as client:
        client.login(mine.name)
        last = client.send(wire.connect(mine.name)).expect_close()
        assert [(one.kind, one.reason) for one in last] == [(DISCONNECT, 0x82)]
        watch.expect('protocol_error', client.peer, mine.name)


def test_publish_before_connect(fortress):
    mine, watch = fortress.add('sensor'), Watch(fortress)
    with Wire(fortress, mine) as client:
        assert [one.kind for one in client.send(wire.publish('a', 'x')).expect_close()] in ([], [DISCONNECT])
        watch.expect('protocol_error', client.peer)


# -- the CoAP door -----------------------------------------------------------------------------------------------------

needs_coap = pytest.mark.skipif(not coap.BUILDS, reason='libcoap3-bin is not installed')


@needs_coap
@pytest.mark.parametrize('build', coap.BUILDS)
@pytest.mark.parametrize('method,path', [('get', 'mq/lamps/other/state'), ('put', 'mq/lamps/other/state'),
                                         ('post', 'mq/commands/x'), ('delete', 'mq/lamps/other/state'), ('put', 'fw/lamp')])
def test_coap_outside_the_grant(fortress, build, method, path):
    lamp = fortress.add('lamp', credentials=('psk',))
    answer = coap.request(build, lamp, method, path, 'x' if method in ('put', 'post') else None)
    assert answer.code == '4.03', answer.text
    event, = fortress.wait_event('acl_deny', principal=lamp.name)
    assert event['protocol'] == 'coap' and event['listener'] == 'coaps'


@needs_coap
@pytest.mark.parametrize('build', coap.BUILDS)
@pytest.mark.parametrize('what', ['wrong key', 'unknown name'])
def test_coap_wrong_psk(fortress, build, what):
    lamp = fortress.add('lamp', credentials=('psk',))

    def failures():
        return len([event for event in fortress.events() if event['category'] in ('tls_reject', 'auth_fail')])
    before = failures()
    answer = coap.request(build, lamp, 'get', '.well-known/core', key='x' * 32 if what == 'wrong key' else None,
                          user='nobody-of-that-name' if what == 'unknown name' else None, wait_s=8)
    assert '</mq' not in answer.text
    wait_until('an event for the failed handshake', lambda: failures() > before, 15, pause=0.2)


def repeats_do_nothing(fortress, lamp, heard, by_certificate):
    seen = []
    with Nat(fortress.ports['coaps'], seen) as nat, Peer(lamp, at=nat.port, by_certificate=by_certificate) as peer:
        before = len(seen)
        for payload in (b'one', b'two'):
            assert peer.ask(POST, f'mq/lamps/{lamp.name}/state', payload).text == '2.04'
            assert heard.get()['payload'] == payload.decode()
        recorded = [data for is_server, data in seen[before:] if not is_server]
        n_answers = sum(is_server for is_server, _ in seen)
        for _ in range(20):
            for data in recorded:
                nat.repeat(data)
        assert peer.is_alive()  # its ping is behind all of them, in the same socket
        assert sum(is_server for is_server, _ in seen) == n_answers + 1, 'something answered'
        assert peer.ask(POST, f'mq/lamps/{lamp.name}/state', b'mark').text == '2.04'
        assert heard.get()['payload'] == 'mark', 'something was done once more'


def test_records_that_come_again_do_nothing(fortress):
    """Recorded on the way and sent again, from the right address: no answer, nothing is done, and it is told, once in ten seconds."""
    lamp, console = fortress.add('lamp', credentials=('psk', 'x509')), fortress.add('console')
    with mosquitto.Subscriber(console, f'lamps/{lamp.name}/#', qos=1) as heard:
        for by_certificate in (False, True):
            repeats_do_nothing(fortress, lamp, heard, by_certificate)
    assert fortress.wait_event('replay', principal=lamp.name, protocol='coap')[0]['listener'] == 'coaps'
