"""c: the twelve mistakes that keep a device out. Each is made with a real client; asserted are what the client gets, and
word for word what the operator reads in `device show`, in the trail and in the log: who, what, why, and the fix."""
import datetime
import os
import re
import socket
import ssl
import subprocess

import pytest

from harness import coap, mosquitto, wire
from harness.clock import shifted
from harness.fortress import WEAKENING, Device, Fortress
from harness.wait import wait_until
from test_c_security import certificate

pytestmark = pytest.mark.release

TIME = r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z'
TLS = 'the TLS handshake was refused: '
DTLS = 'the DTLS handshake was refused: '
NOT_HTTP = ('the WebSocket upgrade was refused: this is not an HTTP request; MQTT comes here inside of WebSocket. Let the client open '
            'a WebSocket with the subprotocol mqtt; MQTT alone belongs to the port of the mqtts listener')
CLAIMED = ' [the name is claimed, not proven]'

needs_coap = pytest.mark.skipif('coap-client-openssl' not in coap.BUILDS, reason='libcoap3-bin is not installed')


@pytest.fixture(scope='module')
def fortress():
    one = Fortress(listeners=('mqtts', 'wss', 'coaps'))
    yield one
    one.close()


class Reader:
    """The operator: remembers when the mistake began, then reads what there is about it."""

    def __init__(self, fortress, device):
        self.fortress, self.device, self.since = fortress, device, len(fortress.log)
        self.begin = datetime.datetime.utcnow().isoformat(timespec='milliseconds') + 'Z'

    def card(self):
        return self.fortress.json('device', 'show', self.device.name)[0]

    def reads(self, category, reason, *, kind='last_refusal', claimed=False, target='-', who=None):
        """`device show` has it under `kind`, and so have the trail and the log. Gives the event."""
        def found():
            card = self.card()
            shown = card[kind]
            return card if shown and shown['category'] == category and shown['time'] >= self.begin else None
        card = wait_until(f'{kind} {category} of {self.device.name}', found, 15, pause=0.1)
        shown = card[kind]
        assert re.fullmatch(re.escape(reason).replace('TIME', TIME), shown['reason']), shown['reason']
        assert not WEAKENING.search(shown['reason'])
        assert shown['claimed'] is claimed and shown['target'] == target, shown
        text = self.fortress.cli('device', 'show', self.device.name)
        assert shown['reason'] in text and 'last seen' in text, text
        assert '(the name was claimed, not proven)' in text or not claimed, text
        suffix = CLAIMED if claimed else ''
        # Its reason may be like another one a moment ago: then it is written when the second of folding is over.
        event = wait_until('its event', lambda: next((event for event in self.fortress.events() if event['category'] == category
                           and event['peer'] == shown['peer'] and event['time'] >= self.begin), None), 5, pause=0.1)
        assert event['reason'] == shown['reason'] + suffix
        assert event['principal'] == (who or ('-' if kind == 'nameless_refusal' else self.device.name)), event
        self.fortress.wait_log(re.escape(shown['reason']), self.since)
        return event


def s_client(fortress, listener, *options, environment=None):
    """openssl s_client, which has nothing to say and says what it meets."""
    return subprocess.run(['openssl', 's_client', '-connect', f'localhost:{fortress.ports[listener]}', *options],
                          capture_output=True, text=True, errors='replace', stdin=subprocess.DEVNULL, timeout=30, check=False,
                          env={**os.environ, **(environment or {})})


# -- 1: the wrong CA -------------------------------------------------------------------------------------------------------

def test_the_client_trusts_another_ca(fortress, stranger):
    device = fortress.add('sensor')
    reader = Reader(fortress, device)
    run = subprocess.run(['mosquitto_pub', '-h', 'localhost', '-p', str(fortress.ports['mqtts']), '--cafile', stranger,
                          '--cert', device.cert, '--key', device.key, '-i', device.name, '-t', 'x', '-m', 'x'],
                         capture_output=True, text=True, timeout=20, check=False)
    assert run.returncode != 0 and re.search('TLS error|certificate verify failed', run.stderr), run
    reader.reads('tls_reject', TLS + 'the client does not trust the CA of this server\'s certificate (its alert: unknown CA). '
                 'Give it ca.pem of its bundle as the CA to trust, and no other', kind='nameless_refusal')


@needs_coap
def test_the_coap_client_trusts_another_ca(fortress, stranger):
    device = fortress.add('lamp', credentials=('x509', 'psk'))
    reader = Reader(fortress, device)
    run = s_client(fortress, 'coaps', '-dtls1_2', '-CAfile', stranger, '-verify_return_error', '-cert', device.cert, '-key',
                   device.key)
    assert run.returncode != 0 and 'verify' in run.stderr
    reader.reads('tls_reject', DTLS + 'the client does not trust the CA of this server\'s certificate (its alert: unknown CA). '
                 'Give it ca.pem of its bundle as the CA to trust, and no other', kind='nameless_refusal')


FOREIGN = ('the client certificate is signed by a CA that is not trusted here. Let it use cert.pem and key.pem of its bundle; '
           '`sallyport device rotate NAME` makes new ones')


def test_the_clients_certificate_is_of_another_ca(fortress, tmp_path):
    device = fortress.add('sensor')
    cert, key = certificate(tmp_path, device.name)
    reader = Reader(fortress, device)
    run = subprocess.run(['mosquitto_pub', '-h', 'localhost', '-p', str(fortress.ports['mqtts']), '--cafile', device.ca,
                          '--cert', cert, '--key', key, '-i', device.name, '-t', 'x', '-m', 'x'],
                         capture_output=True, text=True, timeout=20, check=False)
    assert run.returncode != 0, run
    reader.reads('tls_reject', TLS + FOREIGN, claimed=True)


def test_the_coap_clients_certificate_is_of_another_ca(fortress, tmp_path):
    device = fortress.add('lamp', credentials=('x509', 'psk'))
    cert, key = certificate(tmp_path, device.name)
    reader = Reader(fortress, device)
    run = s_client(fortress, 'coaps', '-dtls1_2', '-CAfile', device.ca, '-cert', cert, '-key', key)
    assert 'alert unknown ca' in run.stderr, run.stderr
    reader.reads('tls_reject', DTLS + FOREIGN, claimed=True)


def test_a_name_that_is_nobodys_is_not_kept(fortress, tmp_path):
    """The name in a foreign certificate counts only when there is such a device."""
    device = fortress.add('sensor')
    cert, key = certificate(tmp_path, 'nobody-of-that-name')
    reader = Reader(fortress, device)
    s_client(fortress, 'mqtts', '-CAfile', device.ca, '-cert', cert, '-key', key)
    reader.reads('tls_reject', TLS + FOREIGN, kind='nameless_refusal')
    assert 'nobody-of-that-name' not in '\n'.join(fortress.log[reader.since:])


def test_a_claimed_name_hides_nothing(fortress, tmp_path):
    """Whoever claims a device's name writes beside what the device itself was refused, not over it."""
    device = fortress.add('sensor')
    mosquitto.publish(device, 'elsewhere', 'x', qos=1, check=False)
    fortress.wait_event('acl_deny', principal=device.name)  # of another worker, perhaps, which may tell later
    reader = Reader(fortress, device)
    s_client(fortress, 'mqtts', '-CAfile', device.ca, *sum(zip(('-cert', '-key'), certificate(tmp_path, device.name)), ()))
    reader.reads('tls_reject', TLS + FOREIGN, claimed=True)
    own = reader.card()['last_proven_refusal']
    assert own['category'] == 'acl_deny' and own['claimed'] is False and own['target'] == 'elsewhere'
    assert 'its own' in fortress.cli('device', 'show', device.name)


# -- 2: an expired certificate, and 9: a clock that is off ------------------------------------------------------------------

@pytest.fixture(scope='module')
def aged(tmp_path_factory):
    """Made 130 days ago, with its first devices: today their certificates are over, and so is their grace."""
    folder = tmp_path_factory.mktemp('clock')
    one = Fortress(environment=shifted(folder, -130), start=False, command='quickstart')
    one.environment = {}
    one.start()
    yield one
    one.close()


EXPIRED = ('the client certificate has expired: it ended TIME, the clock here says TIME: past renewal_grace. Give it a '
           'new one: `sallyport device rotate NAME`; or set the clock, if it is wrong')


def test_the_certificate_has_expired(aged):
    device = Device(aged, 'meter-1', 'sensor', aged.dir / 'bundles/meter-1')
    reader = Reader(aged, device)
    run = s_client(aged, 'mqtts', '-cert', device.cert, '-key', device.key, '-ign_eof')
    assert 'alert certificate expired' in run.stderr, run.stderr
    reader.reads('tls_reject', TLS + EXPIRED, claimed=True)


def test_the_certificate_of_a_coap_client_has_expired(aged):
    device = Device(aged, 'meter-1', 'sensor', aged.dir / 'bundles/meter-1')
    reader = Reader(aged, device)
    run = s_client(aged, 'coaps', '-dtls1_2', '-cert', device.cert, '-key', device.key)
    assert 'alert certificate expired' in run.stderr, run.stderr
    reader.reads('tls_reject', DTLS + EXPIRED, claimed=True)


def test_the_clients_clock_is_ahead(fortress, tmp_path):
    device = fortress.add('sensor')
    reader = Reader(fortress, device)
    run = s_client(fortress, 'mqtts', '-CAfile', device.ca, '-verify_return_error', environment=shifted(tmp_path, 1000))
    assert 'certificate has expired' in run.stderr, run.stderr
    reader.reads('tls_reject', TLS + 'to the client this server\'s certificate has expired (its alert: certificate expired). Set '
                 'its clock, here it is TIME; `sallyport status` says until when the certificate is valid',
                 kind='nameless_refusal')


BAD_CERTIFICATE = ('the client refused this server\'s certificate (its alert: bad certificate): wrong server name, or its clock is '
                   'off. Let it connect to the host in its bundle.json, and set its clock: here it is TIME')


def test_the_clients_clock_is_behind(fortress, tmp_path):
    device = fortress.add('sensor')
    reader = Reader(fortress, device)
    run = s_client(fortress, 'mqtts', '-CAfile', device.ca, '-verify_return_error', environment=shifted(tmp_path, -1000))
    assert 'certificate is not yet valid' in run.stderr, run.stderr
    reader.reads('tls_reject', TLS + BAD_CERTIFICATE, kind='nameless_refusal')


# -- 3: the wrong server name ----------------------------------------------------------------------------------------------

def test_the_client_asks_for_another_server(fortress):
    device = fortress.add('sensor')
    reader = Reader(fortress, device)
    context = wire.tls_context(device)
    with socket.create_connection(('127.0.0.1', fortress.ports['mqtts']), 10) as raw:
        with pytest.raises(ssl.SSLCertVerificationError, match='Hostname mismatch'):
            context.wrap_socket(raw, server_hostname='broker.example')
    reader.reads('tls_reject', TLS + BAD_CERTIFICATE, kind='nameless_refusal')


def test_the_coap_client_asks_for_another_server(fortress):
    device = fortress.add('lamp', credentials=('x509', 'psk'))
    reader = Reader(fortress, device)
    run = s_client(fortress, 'coaps', '-dtls1_2', '-CAfile', device.ca, '-verify_hostname', 'broker.example',
                   '-verify_return_error', '-cert', device.cert, '-key', device.key)
    assert 'Hostname mismatch' in run.stderr or 'hostname mismatch' in run.stderr, run.stderr
    reader.reads('tls_reject', DTLS + BAD_CERTIFICATE, kind='nameless_refusal')


# -- 4: the wrong client id ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('version', ['mqttv311', 'mqttv5'])
def test_the_wrong_client_id(fortress, version):
    device = fortress.add('sensor')
    reader = Reader(fortress, device)
    run = mosquitto.publish(device, 'x', 'x', client_id='another', version=version, check=False)
    assert run.returncode != 0 and re.search('identifier|Client Identifier', run.stderr), run.stderr
    event = reader.reads('identity_mismatch', f"client id 'another' is not one that role sensor gives to {device.name}; connect "
                         'with its own or set client_id in policy.yaml', target='another')
    assert event['client_id'] == 'another'


@needs_coap
def test_the_wrong_identity(fortress):
    """What a client id is to MQTT, the PSK identity is to CoAP: another name is nobody."""
    device = fortress.add('lamp', credentials=('psk',))
    reader = Reader(fortress, device)
    assert 'cannot send' in coap.request('coap-client-openssl', device, 'get', 'mq/x', user='nobody-of-that-name', wait_s=3).text
    reader.reads('auth_fail', "nobody has this PSK identity: it is the device's name, see psk.txt of its bundle; `sallyport device "
                 'add NAME --role ROLE --credential psk --out DIR` makes one', kind='nameless_refusal', claimed=True,
                 who='nobody-of-that-name')


# -- 5: no grant -----------------------------------------------------------------------------------------------------------

def test_no_grant(fortress):
    device = fortress.add('sensor')
    reader = Reader(fortress, device)
    run = mosquitto.publish(device, 'elsewhere', 'x', qos=1, check=False)
    assert 'Not authorized' in run.stderr, run
    reader.reads('acl_deny', "no publish grant of role sensor matches 'elsewhere'; add one to role sensor in policy.yaml or publish "
                 f'under sensors/north/{device.name}/+', target='elsewhere')


@needs_coap
def test_no_grant_for_coap(fortress):
    device = fortress.add('lamp', credentials=('psk',))
    reader = Reader(fortress, device)
    assert coap.request('coap-client-openssl', device, 'put', 'mq/elsewhere', 'x').code == '4.03'
    reader.reads('acl_deny', "PUT was refused with 4.03: no publish grant of role lamp matches 'elsewhere'; add one to role lamp in "
                 f'policy.yaml or publish under lamps/{device.name}/+', target='elsewhere')


# -- 6: too wide a wildcard ------------------------------------------------------------------------------------------------

def test_too_wide_a_wildcard(fortress):
    device = fortress.add('sensor')
    reader = Reader(fortress, device)
    run = subprocess.run(['mosquitto_sub', *mosquitto.options(device), '-t', '#', '-q', '1'], capture_output=True, text=True,
                         timeout=20, check=False)
    assert 'denied' in run.stderr, run
    reader.reads('acl_deny', "no subscribe grant of role sensor covers '#'; add one to role sensor in policy.yaml or subscribe under "
                 f'commands/{device.name}/#', target='#')


# -- 7: the wrong port -----------------------------------------------------------------------------------------------------

def test_mqtt_to_the_websocket_port(fortress):
    """It proves by its certificate who it is, then speaks MQTT where WebSocket is expected."""
    device = fortress.add('sensor')
    reader = Reader(fortress, device)
    run = subprocess.run(['mosquitto_pub', '-h', 'localhost', '-p', str(fortress.ports['wss']), '--cafile', device.ca, '--cert',
                          device.cert, '--key', device.key, '-i', device.name, '-t', 'x', '-m', 'x'], capture_output=True,
                         text=True, timeout=20, check=False)
    assert run.returncode != 0, run
    reader.reads('malformed', NOT_HTTP)


def test_mqtt_to_the_websocket_port_at_once(fortress):
    """The end of the handshake and the mistake behind it come in one piece: whose it is, is told all the same."""
    device = fortress.add('sensor')
    reader = Reader(fortress, device)
    context = ssl.create_default_context(cafile=device.ca)
    context.load_cert_chain(device.cert, device.key)
    came, goes = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(came, goes, server_hostname='localhost')
    with socket.create_connection(('localhost', fortress.ports['wss']), timeout=20) as raw:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                raw.sendall(goes.read())
                came.write(raw.recv(65536))
        tls.write(wire.connect(device.name))
        raw.sendall(goes.read())
        reader.reads('malformed', NOT_HTTP)


@pytest.mark.parametrize('listener, name', [('mqtts', 'http/1.1'), ('wss', 'mqtt')])
def test_another_protocol_by_name(fortress, listener, name):
    """A client that says in ALPN what it wants to speak is told in the handshake that it is wrong here."""
    device = fortress.add('sensor')
    reader = Reader(fortress, device)
    run = s_client(fortress, listener, '-alpn', name, '-CAfile', device.ca)
    assert 'alert no application protocol' in run.stderr, run.stderr
    reader.reads('tls_reject', TLS + 'the client asks for a protocol that this port does not speak (ALPN). Wrong port? MQTT belongs '
                 'to the mqtts listener, WebSocket to wss, CoAP to coaps, and a browser to none of them', kind='nameless_refusal')


def test_http_to_the_mqtt_port(fortress):
    device = fortress.add('sensor')
    reader = Reader(fortress, device)
    run = subprocess.run(['curl', '-sS', '-i', '--no-alpn', '--cacert', device.ca, '--cert', device.cert, '--key', device.key,
                          f'https://localhost:{fortress.ports["mqtts"]}/mqtt'], capture_output=True, text=True, timeout=20,
                         check=False)
    assert '400 Bad Request' in run.stdout and 'This port speaks MQTT alone.' in run.stdout, run
    reader.reads('malformed', 'HTTP came to a listener that speaks MQTT. A WebSocket client belongs to the port of the wss listener, '
                 'a browser nowhere here: look at what connects from there')


def test_a_port_of_the_other_transport(fortress):
    """MQTT to the port of CoAP: nobody listens there by TCP, so the client hears it from its own machine and the operator
    reads nothing."""
    device = fortress.add('sensor')
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(('127.0.0.1', fortress.ports['coaps']), 10)
    assert fortress.json('device', 'show', device.name)[0]['last_refusal'] is None


# -- 8: TLS too old --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('option, name, more', [
    ('-tls1', 'TLS 1.0', ''), ('-tls1_1', 'TLS 1.1', ''),
    ('-tls1_2', 'TLS 1.2', '. A board that cannot: tls_min: "1.2" at a listener of its own takes TLS 1.2 with strong suites')])
def test_tls_too_old(fortress, option, name, more):
    device = fortress.add('sensor')
    reader = Reader(fortress, device)
    run = s_client(fortress, 'mqtts', option, '-cipher', 'ALL:@SECLEVEL=0', '-CAfile', device.ca)
    assert 'alert protocol version' in run.stderr, run.stderr
    reader.reads('tls_reject', f'{TLS}the client speaks {name} at most, which is too old here (unsupported protocol). Update its '
                 f'TLS library{more}', kind='nameless_refusal')


def test_dtls_too_old(fortress):
    device = fortress.add('lamp', credentials=('x509', 'psk'))
    reader = Reader(fortress, device)
    run = s_client(fortress, 'coaps', '-dtls1', '-cipher', 'ALL:@SECLEVEL=0', '-CAfile', device.ca)
    assert 'alert protocol version' in run.stderr, run.stderr
    reader.reads('tls_reject', f'{DTLS}the client speaks DTLS 1.0 at most, which is too old here (unsupported protocol). Update its '
                 'TLS library', kind='nameless_refusal')


# -- 10: revoked -----------------------------------------------------------------------------------------------------------

def test_revoked(fortress):
    device = fortress.add('sensor')
    fortress.cli('device', 'revoke', device.name, '--reason', 'stolen')
    reader = Reader(fortress, device)
    run = mosquitto.publish(device, 'x', 'x', check=False)
    assert run.returncode != 0 and 'Not authorized' in run.stderr, run
    reader.reads('revoked', f'{device.name} is revoked: stolen; remove it and add it anew to let it in again')


@needs_coap
def test_revoked_for_coap(fortress):
    device = fortress.add('lamp', credentials=('psk',))
    fortress.cli('device', 'revoke', device.name, '--reason', 'stolen')
    reader = Reader(fortress, device)
    assert 'cannot send' in coap.request('coap-client-openssl', device, 'get', 'mq/x', wait_s=3).text
    reader.reads('revoked', f'{device.name} is revoked: stolen; remove it and add it anew to let it in again', claimed=True)


# -- 11: a typo in the password --------------------------------------------------------------------------------------------

def by_password(device, *more, version='mqttv5'):
    return subprocess.run(['mosquitto_pub', '-h', 'localhost', '-p', str(device.fortress.ports['mqtts']), '--cafile', device.ca,
                           '-V', version, '-i', device.name, '-t', 'x', '-m', 'x', *more], capture_output=True, text=True,
                          timeout=20, check=False)


@pytest.mark.parametrize('version, said', [('mqttv311', 'not authorised|bad user name|Bad User'), ('mqttv5', 'Bad User')])
def test_a_typo_in_the_password(fortress, version, said):
    device = fortress.add('sensor')
    reader = Reader(fortress, device)
    wrong = device.password[:-1] + ('a' if device.password[-1] != 'a' else 'b')
    run = by_password(device, '-u', device.name, '-P', wrong, version=version)
    assert run.returncode != 0 and re.search(said, run.stderr), run
    reader.reads('auth_fail', f"wrong name or password for '{device.name}'. The password is in password.txt of its bundle; "
                 '`sallyport device rotate NAME --credential password` makes a new one', claimed=True)
    assert wrong not in str(fortress.events()) + str(fortress.log)


@needs_coap
def test_a_typo_in_the_key(fortress):
    device = fortress.add('lamp', credentials=('psk',))
    reader = Reader(fortress, device)
    wrong = device.psk[:-1] + '!'
    assert 'cannot send' in coap.request('coap-client-openssl', device, 'get', 'mq/x', key=wrong, wait_s=3).text
    reader.reads('auth_fail', "wrong pre-shared key. The key is in psk.txt of the device's bundle, behind the ':'; `sallyport device "
                 'rotate NAME --credential psk` makes a new one', claimed=True)


@pytest.mark.parametrize('by', ['client id', 'user name'])
def test_no_credential_at_all(fortress, by):
    """The bundle was not given to the client: its client id or user name is all that says who it may be."""
    device = fortress.add('sensor')
    reader = Reader(fortress, device)
    run = by_password(device, *(['-u', device.name] if by == 'user name' else []))
    assert run.returncode != 0 and 'Not authorized' in run.stderr, run
    wait_until('its refusal', lambda: reader.card()['last_refusal'])
    refusal = reader.card()['last_refusal']
    assert refusal['claimed'] is True and refusal['category'] == 'auth_fail', refusal
    assert refusal['reason'] == ('a client without credentials was refused: nobody is anonymous here. Let it use a client certificate '
                                 'from its bundle (cert.pem, key.pem), or its name and password (password.txt); `sallyport device '
                                 'add NAME --role ROLE --out DIR` makes a bundle')


# -- 12: plaintext to a TLS port -------------------------------------------------------------------------------------------

@pytest.mark.parametrize('secret', [False, True])
def test_plaintext_mqtt_to_the_tls_port(fortress, secret):
    device = fortress.add('sensor')
    reader = Reader(fortress, device)
    run = subprocess.run(['mosquitto_pub', '-h', 'localhost', '-p', str(fortress.ports['mqtts']), '-i', device.name, '-t', 'x',
                          '-m', 'x', *(['-u', device.name, '-P', device.password] if secret else [])],
                         capture_output=True, text=True, timeout=20, check=False)
    assert run.returncode != 0 and 'connection was lost' in run.stderr, run
    event = reader.reads('tls_reject', TLS + 'MQTT without TLS came to a TLS port. Let the client use TLS, with ca.pem of its bundle '
                         'as the CA to trust' + ('. Its password went through the network in the clear: `sallyport device rotate '
                                                 'NAME --credential password`' if secret else ''), claimed=True)
    assert event['client_id'] == device.name and device.password not in str(fortress.events()) + str(fortress.log)


def test_plaintext_http_to_the_tls_port(fortress):
    device = fortress.add('sensor')
    reader = Reader(fortress, device)
    run = subprocess.run(['curl', '-sS', '-i', f'http://localhost:{fortress.ports["mqtts"]}/mqtt'], capture_output=True, text=True,
                         timeout=20, check=False)
    assert run.returncode != 0, run
    reader.reads('tls_reject', TLS + 'HTTP without TLS came to a TLS port. A WebSocket client belongs to the port of the wss '
                 'listener, with wss:// and ca.pem of its bundle as the CA to trust', kind='nameless_refusal')


@needs_coap
def test_plaintext_coap_to_the_dtls_port(fortress):
    device = fortress.add('lamp', credentials=('psk',))
    reader = Reader(fortress, device)
    run = subprocess.run(['coap-client-openssl', '-B', '2', '-m', 'get', f'coap://127.0.0.1:{fortress.ports["coaps"]}/mq/x'],
                         capture_output=True, text=True, timeout=20, check=False)
    assert run.stdout.strip() == '', 'it is not answered: nobody has proven that address'
    reader.reads('tls_reject', 'CoAP without DTLS came to a DTLS port and was not answered. Let the client use coaps:// with the '
                 'identity and key of psk.txt, or the certificate, of its bundle', kind='nameless_refusal')


def test_tls_to_the_plaintext_port(make_fortress):
    """Only an exception opens such a port; a client that speaks TLS to it is told apart from garbage."""
    fortress = make_fortress(listeners=('mqtts', 'mqtt'))
    device = fortress.add('sensor')
    fortress.cli('exception', 'add', '--listener', 'mqtt', '--allow', 'plaintext', '--for', '1h', '--reason', 'the old meter')
    reader = Reader(fortress, device)
    run = s_client(fortress, 'mqtt', '-CAfile', device.ca)
    assert run.returncode != 0
    reader.reads('malformed', 'a TLS handshake came to a plaintext listener. Let the client use the port of the mqtts listener',
                 kind='nameless_refusal')


# -- what is kept -----------------------------------------------------------------------------------------------------------

def test_who_comes_back_is_not_followed_by_what_others_did(fortress):
    """A refusal without a name is shown until the device has been seen again."""
    device = fortress.add('sensor')
    reader = Reader(fortress, device)
    s_client(fortress, 'mqtts', '-tls1_2')
    wait_until('the refusal', lambda: reader.card()['nameless_refusal'])
    mosquitto.publish(device, f'status/{device.name}', 'up')
    card = wait_until('it was seen', lambda: reader.card()['last_seen'] != '-' and reader.card())
    assert card['nameless_refusal'] is None and card['last_refusal'] is None, card
