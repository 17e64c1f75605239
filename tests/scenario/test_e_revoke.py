"""e: revocation. What is taken back opens nothing any more, at every door at once; what is not stays; and others are told by a
list, by answers and by the handshake, as openssl and gnutls read them."""
import base64
import re
import shutil
import subprocess
import urllib.parse

import pytest

import test_c_tokens as tokens
import test_e_agent as agent
from harness import coap, coap_tcp, mosquitto, oscore, wire
from harness.coap_message import GET
from harness.fortress import Device, Fortress, Refused, counted, metrics
from harness.wait import wait_until
from harness.websocket import WebSocket
from harness.wire import CONNACK, DISCONNECT, PINGREQ, PINGRESP, PUBACK, PUBLISH, SUBACK, Wire

pytestmark = pytest.mark.release

NOT_AUTHORIZED = 0x87
HOUR = b'\x11\x00\x00\x0e\x10'
POLICY = '''version: 1
roles:
  many:
    client_id: "*"
    many: yes
    publish:   [ { topic: "#", retain: yes } ]
    subscribe: [ "#" ]
'''
LISTENERS = ('mqtts', 'wss', 'coaps', 'coap', 'coaps+tcp', 'enrol')


@pytest.fixture(scope='module')
def fortress():
    one = Fortress(listeners=LISTENERS, start=False)
    tokens.write_keys(one, **tokens.KEYS)
    tokens.configure(one)
    one.start()
    one.apply(POLICY)
    yield one
    one.close()


@pytest.fixture(scope='module')
def witness(fortress):
    return fortress.add('many', name='witness')


def openssl(*arguments, code=0, data=None):
    run = subprocess.run(['openssl', *map(str, arguments)], capture_output=True, text=True, input=data or '', timeout=30, check=False)
    assert run.returncode == code, f'{arguments}: {run.stdout}{run.stderr}'
    return run.stdout + run.stderr


def serial_of(device):
    return openssl('x509', '-in', device.cert, '-noout', '-serial').strip().split('=')[1].lower()


def chain(fortress, device):
    """The intermediate out of a bundle's chain."""
    pem = re.findall(r'-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n', (device.bundle / 'cert.pem').read_text(), re.S)
    path = fortress.home / 'intermediate.pem'
    path.write_text(pem[1])
    return path


def verify(fortress, device, code=0, all_of_them=False):
    """Does openssl find it on the list that is published?"""
    lists = fortress.home / 'lists.pem'
    text = (fortress.dir / 'pki/crl.pem').read_text()
    lists.write_text(text + ((fortress.dir / 'pki/root-crl.pem').read_text() if all_of_them else ''))
    return openssl('verify', '-x509_strict', '-crl_check_all' if all_of_them else '-crl_check', '-CAfile', device.ca, '-untrusted',
                   chain(fortress, device), '-CRLfile', lists, device.cert, code=code)


def old_bundle(device):
    """A copy, so that a new bundle does not replace it."""
    path = device.bundle.with_name(f'{device.bundle.name}-old')
    shutil.copytree(device.bundle, path)
    return Device(device.fortress, device.name, device.role, path)


def ended(client):
    """The server said why, where it can, and closed."""
    got = client.receive()
    while got is not None and got.kind == PUBLISH:
        got = client.receive()
    return got is None or (got.kind == DISCONNECT and got.reason == NOT_AUTHORIZED and client.receive() is None)


def lives(client):
    client.send(wire.packet(PINGREQ))
    return client.receive().kind == PINGRESP


def refused(client, name, **more):
    answer = client.send(wire.connect(name, **more)).expect(CONNACK)
    return answer.reason == NOT_AUTHORIZED


def test_a_device_is_revoked_at_every_door(fortress, witness):
    """TLS, WebSocket, a token, a ticket, a queue and a will of MQTT; DTLS, OSCORE and TCP of CoAP: one word ends all."""
    victim = fortress.add('many', credentials=('x509', 'password', 'psk', 'oscore'))
    bystander = fortress.add('many', credentials=('x509', 'psk'))
    context = wire.tls_context(victim)
    with Wire(fortress, witness) as reader, Wire(fortress, bystander) as innocent:
        reader.login('reader').send(wire.subscribe(1, 'will', 'mark')).expect(SUBACK)
        innocent.login('innocent')
        sleeper = Wire(fortress, victim).login('sleeper', properties=HOUR)
        sleeper.send(wire.subscribe(1, 'queue')).expect(SUBACK)
        sleeper.socket.close()
        innocent.send(wire.publish('queue', 'waits', 1, 1)).expect(PUBACK)

        tls = Wire(fortress, context=context).login('tls', will=('will', 'gone', 1, False))
        tls.send(wire.publish('kept', 'state', 1, 1, retain=True)).expect(PUBACK)
        ws = WebSocket(fortress, victim).login('ws')
        token = tokens.stranger(fortress, victim).login('token', user=victim.name, password=tokens.token(victim.name))
        tcp = coap_tcp.Peer(victim)
        assert tcp.exchange(GET, 'mq/kept').payload == b'state'
        sealed = oscore.Client(victim)
        assert sealed.request(GET, 'mq/kept').payload == 'state'
        with coap.Observer(coap.BUILDS[0], victim, 'mq/kept') as observer:
            observer.expect('state')
            said = fortress.cli('device', 'revoke', victim.name, '--reason', 'stolen')
            assert 'revoked' in said
            assert all(ended(client) for client in (tls, ws, token))
            assert tcp.rest() is not None  # up to the end of the connection
            # three connections, and as many associations of CoAP
            events = fortress.wait_event('revoked', principal=victim.name, at_least=6)
            assert {event['protocol'] for event in events} == {'mqtt', 'coap'}, events
        # nobody comes back, by whatever it has
        assert refused(Wire(fortress, victim), 'tls')
        assert refused(Wire(fortress, context=context, session=tls.socket.session), 'tls')
        assert refused(Wire(fortress, victim), 'sleeper', clean=False, properties=HOUR)
        assert refused(WebSocket(fortress, victim), 'ws')
        assert refused(tokens.stranger(fortress, victim), 'token', user=victim.name, password=tokens.token(victim.name))
        with tokens.stranger(fortress, victim) as client:
            answer = client.send(wire.connect('pw', user=victim.name, password=victim.password)).expect(CONNACK)
            assert answer.reason in (NOT_AUTHORIZED, 0x86)
        assert coap.request(coap.BUILDS[0], victim, 'get', 'mq/kept', wait_s=2).payload != 'state'
        # its will was not sent: the mark behind it is the first that comes
        innocent.send(wire.publish('mark', 'mark', 1, 2)).expect(PUBACK)
        assert reader.expect(PUBLISH).body.endswith(b'mark')
        assert lives(innocent) and lives(reader)
        sealed.close()
    assert 'certificate revoked' in verify(fortress, victim, code=2)
    assert 'OK' in verify(fortress, bystander)


def test_one_certificate_of_a_device(fortress):
    """The old certificate ends, at once; the new one and the key of CoAP stay, and openssl agrees with us."""
    device = fortress.add('many', credentials=('x509', 'psk'))
    old = old_bundle(device)
    fortress.cli('device', 'rotate', device.name, '--credential', 'x509', '--overlap', '1d', '--out', fortress.home / 'new')
    device.bundle = fortress.home / 'new'
    before = metrics(fortress)['revoked_refused_total']
    assert serial_of(old) != serial_of(device)
    with Wire(fortress, old) as gone, Wire(fortress, device) as stays, coap.Observer(coap.BUILDS[0], old, 'mq/none') as _:
        gone.login('old')
        stays.login('new')
        said = fortress.json('certs', 'revoke', device.name, '--serial', serial_of(old), '--reason', 'key-compromise')[0]
        assert (said['revoked'], said['listed'], said['reason']) == (1, 1, 'key-compromise')
        assert ended(gone) and lives(stays)
        assert mosquitto.publish(old, 'a', 'x', client_id='old', check=False).returncode != 0
        mosquitto.publish(device, 'a', 'x', client_id='also', qos=1)
        fortress.wait_event('revoked', principal=device.name, reason=re.compile('showed is revoked.*device rotate'))
    assert counted(fortress, 'revoked_refused_total', before + 1) == before + 1
    assert coap.request(coap.BUILDS[0], old, 'put', 'mq/by/psk', 'x').code is None
    assert 'certificate revoked' in verify(fortress, old, code=2)
    assert 'OK' in verify(fortress, device)
    assert 'OK' in verify(fortress, device, all_of_them=True)
    text = openssl('crl', '-in', fortress.dir / 'pki/crl.pem', '-noout', '-text')
    assert 'Key Compromise' in text and 'Version 2' in text and 'CRL Number' in text and 'Authority Key Identifier' in text
    card = fortress.json('device', 'show', device.name)[0]['credentials']
    assert [(one['serial'], one['revoked']) for one in card if one['kind'] == 'x509'] == \
        [(serial_of(old), True), (serial_of(device), False)]
    # all that it has: nothing but the key is left; again is fine, and a new one lets it in
    assert fortress.json('certs', 'revoke', device.name)[0]['revoked'] == 1
    assert fortress.json('certs', 'revoke', device.name)[0]['revoked'] == 0
    assert refused(Wire(fortress, device), 'new')
    assert [line['state'] for line in fortress.json('certs', 'list', '--state', 'revoked')] == ['revoked']
    fortress.cli('device', 'rotate', device.name, '--credential', 'x509', '--out', fortress.home / 'newest')
    device.bundle = fortress.home / 'newest'
    Wire(fortress, device).login('newest')


def test_it_survives_a_crash(fortress):
    device = fortress.add('many', credentials=('x509',))
    assert fortress.json('certs', 'revoke', device.name, '--reason', 'superseded')[0]['listed'] == 1
    fortress.kill()
    fortress.start()
    assert refused(Wire(fortress, device), 'again')
    assert 'certificate revoked' in verify(fortress, device, code=2)


@pytest.mark.usefixtures('witness')
def test_refusals(fortress):
    for arguments, words in ((('nobody',), 'no device nobody'), (('witness', '--serial', 'xyz'), 'openssl x509'),
                             (('witness', '--serial', '01'), 'no certificate of this serial'),
                             (('witness', '--reason', 'boredom'), 'key-compromise')):
        with pytest.raises(Refused, match=words):
            fortress.cli('certs', 'revoke', *arguments)


def test_the_handshake_shows_the_authoritys_word(fortress, witness):
    """Stapled for TLS 1.3 (and 1.2, see tls_staple_test), good by openssl and gnutls; another one for a renewed certificate."""
    where = f'localhost:{fortress.ports["mqtts"]}'

    def word():
        text = openssl('s_client', '-connect', where, '-status', '-CAfile', witness.ca, '-cert', witness.cert, '-key', witness.key)
        return text if 'OCSP Response Status: successful' in text else None
    text = wait_until('a stapled answer', word)
    assert 'Cert Status: good' in text and 'Next Update' in text and 'Verify return code: 0' in text
    answer = fortress.home / 'stapled.der'
    with Wire(fortress, witness) as stays:
        stays.login('stays')
        for _ in range(2):  # before and behind a renewal
            server = fortress.dir / 'pki/server.pem'
            assert wait_until('the answer is about this one', lambda: word() and about_this(word(), server))
            answer.unlink(missing_ok=True)
            subprocess.run(['gnutls-cli', '--save-ocsp', answer, '--x509cafile', witness.ca, '--x509certfile', witness.cert,
                            '--x509keyfile', witness.key, '-p', str(fortress.ports['mqtts']), 'localhost'], timeout=30, check=False,
                           stdin=subprocess.DEVNULL, capture_output=True)
            said = openssl('ocsp', '-respin', answer, '-issuer', chain(fortress, witness), '-cert', server, '-CAfile', witness.ca,
                           '-verify_other', chain(fortress, witness))
            assert 'Response verify OK' in said and ': good' in said
            fortress.cli('certs', 'renew')
        assert lives(stays)


def curl(fortress, device, path, *more):
    """Status and body, of anybody: no certificate is shown."""
    run = subprocess.run(['curl', '-s', '--cacert', device.ca, '-w', '%{http_code} %{content_type}', '-o', fortress.home / 'got',
                          f'https://localhost:{fortress.ports["enrol"]}{path}', *more], capture_output=True, text=True, timeout=30,
                         check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout, (fortress.home / 'got').read_bytes()


def test_answers_over_http(fortress):
    """openssl ocsp asks about three; curl fetches the list, and asks by GET."""
    good, gone = fortress.add('many', credentials=('x509',)), fortress.add('many', credentials=('x509',))
    fortress.cli('certs', 'revoke', gone.name, '--reason', 'cessation')
    issuer, question = chain(fortress, good), fortress.home / 'question.der'
    said = openssl('ocsp', '-url', f'https://localhost:{fortress.ports["enrol"]}/ocsp', '-issuer', issuer, '-cert', good.cert, '-cert',
                   gone.cert, '-serial', '0x4711', '-CAfile', good.ca, '-verify_other', issuer)
    assert 'Response verify OK' in said and 'WARNING: no nonce' not in said
    assert f'{good.cert}: good' in said and f'{gone.cert}: revoked' in said and '0x4711: unknown' in said
    assert 'Reason: cessationOfOperation' in said
    status, body = curl(fortress, good, '/crl.der')
    assert status == '200 application/pkix-crl'
    (fortress.home / 'list.der').write_bytes(body)
    assert serial_of(gone).upper() in openssl('crl', '-inform', 'DER', '-in', fortress.home / 'list.der', '-noout', '-text')
    status, body = curl(fortress, good, '/crl.pem')
    assert status.startswith('200') and body == (fortress.dir / 'pki/crl.pem').read_bytes()
    openssl('ocsp', '-issuer', issuer, '-cert', gone.cert, '-no_nonce', '-reqout', question)
    escaped = urllib.parse.quote(base64.b64encode(question.read_bytes()).decode(), safe='')
    answers = [curl(fortress, good, f'/ocsp/{escaped}')[1] for _ in range(2)]
    assert answers[0] == answers[1]  # without a nonce it is signed once
    (fortress.home / 'answer.der').write_bytes(answers[0])
    assert ': revoked' in openssl('ocsp', '-respin', fortress.home / 'answer.der', '-issuer', issuer, '-cert', gone.cert, '-CAfile',
                                  good.ca, '-verify_other', issuer)
    for path, more, code in (('/ocsp', (), '405'), ('/ocsp/%%%', (), '400'), ('/crl.der', ('-d', 'x'), '405'),
                             ('/ocsp', ('-d', 'x'), '415'), ('/ocsp', ('-H', 'Content-Type: application/ocsp-request', '-d', 'x'), '200')):
        assert curl(fortress, good, path, *more)[0].startswith(code), path


def test_certificates_say_where(fortress):
    """With a url in sallyport.yaml, from the next start on; a bad one is refused."""
    config = fortress.dir / 'sallyport.yaml'
    before = config.read_text()

    def reloaded(more, words):
        config.write_text(before + more)
        since = len(fortress.log)
        fortress.reload()
        fortress.wait_log(words, since)
    reloaded('pki: { url: "https://pki.example" }\n', 'reload refused.*pki needs a url')
    reloaded('pki: { url: "http://pki.example/ca" }\n', 'reloaded$')
    fortress.wait_event('config_change', reason=re.compile('needs a restart: pki$'))
    fortress.stop()
    fortress.start()
    text = openssl('x509', '-in', fortress.add('many', credentials=('x509',)).cert, '-noout', '-text')
    assert 'URI:http://pki.example/ca/crl.der' in text and 'OCSP - URI:http://pki.example/ca/ocsp' in text
    reloaded('', 'reloaded$')
    fortress.stop()
    fortress.start()
    assert 'pki.example' not in openssl('x509', '-in', fortress.add('many', credentials=('x509',)).cert, '-noout', '-text')


def about_this(text, server):
    serial = openssl('x509', '-in', server, '-noout', '-serial').strip().split('=')[1]
    return f'Serial Number: {serial}' in text


def list_of_elsewhere(fortress, device):
    """What the same authority signs at another place: a copy of the fortress revokes the device, and the first one hears nothing."""
    fortress.stop()
    here, there = fortress.dir, fortress.home / 'elsewhere'
    for suffix in ('', '.key'):
        subprocess.run(['cp', '-a', f'{here}{suffix}', f'{there}{suffix}'], check=True)
    fortress.dir = there
    fortress.start()
    fortress.cli('certs', 'revoke', device.name)
    fortress.stop()
    fortress.dir = here
    fortress.start()
    return (there / 'pki/crl.pem').read_text()


def test_an_operators_list(fortress):
    """A list that was signed elsewhere comes in by SIGHUP and ends who is there; a bad one changes nothing, and is named."""
    extra = fortress.dir / 'pki/crl-extra.pem'
    device, other = fortress.add('many', credentials=('x509', 'psk')), fortress.add('many', credentials=('x509',))
    text = list_of_elsewhere(fortress, device)

    def reloaded(words):
        since = len(fortress.log)
        fortress.reload()
        fortress.wait_log(words, since)
    with Wire(fortress, device) as listed, Wire(fortress, other) as client, coap_tcp.Peer(device) as tcp:
        listed.login('listed')
        client.login('not-listed')
        assert tcp.exchange(GET, 'mq/none').code == 132
        extra.write_text('no list')
        reloaded('reload refused.*crl-extra.pem')
        fortress.wait_event('config_reject', target='pki/crl-extra.pem')
        assert lives(listed) and lives(client)
        extra.write_text(text)
        assert agent.whoami(device)[0] == 200
        reloaded('reloaded$')
        status, words = agent.whoami(device)
        assert status == 403 and 'revoked' in words and agent.whoami(other)[0] == 200, 'who is listed is nobody'
        assert ended(listed) and lives(client) and tcp.rest() is not None
        assert refused(Wire(fortress, device), 'listed')
        renewal = subprocess.run([str(fortress.binary), 'agent', '--bundle', str(device.bundle), '--once', '--now'], capture_output=True,
                                 text=True, timeout=60, check=False)
        assert renewal.returncode == 1 and f'the certificate of {device.name} is revoked' in renewal.stdout, 'nor does it renew'
        assert coap.request(coap.BUILDS[0], device, 'put', 'mq/by/psk', 'x').code is None
        files = [line['file'] for line in fortress.json('certs', 'crl')]
        assert files == ['pki/crl.pem', 'pki/crl-extra.pem']
        fortress.restart()  # read again at the start
        assert refused(Wire(fortress, device), 'listed')
    extra.unlink()
    reloaded('reloaded$')
    assert [line['file'] for line in fortress.json('certs', 'crl')] == ['pki/crl.pem']
    Wire(fortress, device).login('listed')


