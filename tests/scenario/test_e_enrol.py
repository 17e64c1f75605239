"""e: devices that get their certificates themselves: EST by curl, claim tokens, approval, manufacturers, batches."""
import base64
import json
import os
import signal
import socket
import ssl
import subprocess
import time

import pytest

from harness import coap, mosquitto
from harness.fortress import Device, Fortress, Refused
from harness.http_answers import answers_in
from harness.wait import wait_until

CURVE = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
LISTENERS = ('mqtts', 'coaps', 'enrol')


@pytest.fixture(scope='module')
def fortress():
    one = Fortress(listeners=LISTENERS)
    yield one
    one.close()


def openssl(*arguments, data=None):
    return subprocess.run(['openssl', *map(str, arguments)], input=data, capture_output=True, check=True).stdout


class Est:
    """A device that knows curl and openssl."""

    def __init__(self, fortress, folder, name):
        self.fortress, self.name = fortress, name
        self.folder = folder / name
        self.folder.mkdir(exist_ok=True)
        self.key = self.folder / 'key.pem'
        self.csr = base64.b64encode(openssl('req', '-new', *CURVE, '-keyout', self.key, '-subj', f'/CN={name}',
                                            '-outform', 'DER'))

    def curl(self, path, *options, data=None):
        """(status, headers, body)"""
        port = self.fortress.ports['enrol']
        run = subprocess.run(
            ['curl', '--silent', '--show-error', '--include', '--max-time', '20', '--cacert', str(self.fortress.dir / 'pki/ca.pem'),
             f'https://localhost:{port}/.well-known/est/{path}', *options], input=data, capture_output=True, check=True)
        head, body = run.stdout.split(b'\r\n\r\n', 1)
        lines = head.decode().split('\r\n')
        return int(lines[0].split()[1]), dict(line.lower().split(': ', 1) for line in lines[1:]), body

    def enroll(self, *options, token=None, path='simpleenroll', csr=None, kind='application/pkcs10'):
        if token is not None:
            options += ('-u', f'{self.name}:{token}')
        return self.curl(path, '-H', f'Content-Type: {kind}', '--data-binary', '@-', *options, data=csr or self.csr)

    def save(self, body):
        """The certificates that came, as the bundle of a device."""
        certs = openssl('pkcs7', '-inform', 'DER', '-print_certs', data=base64.b64decode(body, validate=True))
        (self.folder / 'cert.pem').write_bytes(certs)
        ca = self.fortress.dir / 'pki/ca.pem'
        (self.folder / 'ca.pem').write_bytes(ca.read_bytes())
        openssl('verify', '-CAfile', ca, '-untrusted', self.folder / 'cert.pem', self.folder / 'cert.pem')
        return Device(self.fortress, self.name, 'sensor', self.folder)


def token(fortress, *options):
    return fortress.json('enrol', 'token', '--role', 'sensor', *options)[0]['token']


def publishes(device):
    return mosquitto.publish(device, f'sensors/lab/{device.name}/t', 'x', qos=1, check=False).returncode == 0


def events(fortress, category, text=''):
    return [event for event in fortress.json('audit', 'tail', '-n', '200') if event['category'] == category and text in event['reason']]


def test_a_token_makes_a_device_once(fortress, tmp_path):
    """curl with a CSR of openssl: cacerts, attributes, a certificate, a connection; the token is used up then."""
    est = Est(fortress, tmp_path, 'meter-1')
    status, head, body = est.curl('cacerts')
    assert (status, head['content-type']) == (200, 'application/pkcs7-mime; smime-type=certs-only')
    certs = openssl('pkcs7', '-inform', 'DER', '-print_certs', data=base64.b64decode(body, validate=True))
    assert openssl('x509', '-in', fortress.dir / 'pki/ca.pem') in certs.replace(b'\n\n', b'\n')
    status, head, body = est.curl('csrattrs')
    assert (status, head['content-type']) == (200, 'application/csrattrs')
    assert b'prime256v1' in openssl('asn1parse', '-inform', 'DER', data=base64.b64decode(body, validate=True))
    one = token(fortress, '--name', 'meter-1', '--attr', 'site=lab')
    assert len(one.replace('-', '')) >= 20
    status, head, body = est.enroll(token=one.lower().replace('-', ' '))
    assert (status, head['content-type']) == (200, 'application/pkcs7-mime; smime-type=certs-only')
    assert publishes(est.save(body))
    again = Est(fortress, tmp_path, 'meter-1')
    status, head, body = again.enroll(token=one)
    assert (status, head['www-authenticate']) == (401, 'basic realm="claim token"')
    assert b'used already' in body
    assert 'enrolled' in events(fortress, 'enrolment', 'claim token)')[-1]['reason']


def test_tokens_are_listed_and_cancelled(make_fortress, tmp_path):
    """By an id, never by the token; what is cancelled enrols nobody, also after a kill -9; what was used up is not listed."""
    fortress = make_fortress(listeners=LISTENERS)

    def rows():
        return {row['name'] or row['pattern']: row for row in fortress.json('enrol', 'tokens')}
    kept, lost, used = (token(fortress, *which) for which in (('--pattern', 'kept-*', '--uses', '3'), ('--name', 'lost-1'), ('--name', 'used-1')))
    assert Est(fortress, tmp_path, 'used-1').enroll(token=used)[0] == 200
    listed = rows()
    assert listed['kept-*']['uses'] == 3 and listed['lost-1']['role'] == 'sensor' and 'used-1' not in listed
    said = fortress.cli('enrol', 'tokens')
    assert 'names like kept-*  role sensor  for 3 more  until 20' in said and lost not in said
    number = listed['lost-1']['id']
    assert fortress.cli('enrol', 'cancel', number) == f'{number} is cancelled: nobody enrols by it any more\n'
    assert number in events(fortress, 'enrolment', 'was cancelled by an operator')[-1]['reason']
    assert 'lost-1' not in rows() and 'kept-*' in rows()
    with pytest.raises(Refused, match='no claim token in force'):
        fortress.cli('enrol', 'cancel', number)
    fortress.kill()
    fortress.start()
    status, _, body = Est(fortress, tmp_path, 'lost-1').enroll(token=lost)
    assert status == 401 and b'claim token is not good' in body
    assert Est(fortress, tmp_path, 'kept-1').enroll(token=kept)[0] == 200
    assert fortress.json('enrol', 'cancel', kept) == [{'cancelled': listed['kept-*']['id']}]
    assert Est(fortress, tmp_path, 'kept-2').enroll(token=kept)[0] == 401


def test_renewal_by_the_certificate(fortress, tmp_path):
    """simplereenroll with the present certificate: a new key, the old one still good; the key it had is good, too; no other name."""
    est = Est(fortress, tmp_path, 'meter-2')
    old = est.save(est.enroll(token=token(fortress, '--name', 'meter-2', '--attr', 'site=lab'))[2])
    shown = ('--cert', str(est.folder / 'cert.pem'), '--key', str(est.key))
    (tmp_path / 'new').mkdir()
    new = Est(fortress, tmp_path / 'new', 'meter-2')
    status, _, body = est.enroll(*shown, path='simplereenroll', csr=new.csr)
    assert status == 200
    assert publishes(new.save(body)) and publishes(old)
    status, _, body = est.enroll(*shown, path='simplereenroll', csr=Est(fortress, tmp_path, 'meter-1').csr)
    assert status == 403 and b'may renew its own certificate' in body
    status, _, body = new.enroll(path='simplereenroll')
    assert status == 401 and b'shows the certificate it had' in body
    status, _, body = est.enroll(*shown, path='simplereenroll')
    assert status == 200 and publishes(est.save(body)), 'with the key it had'
    fortress.cli('device', 'revoke', 'meter-2', '--reason', 'stolen')
    third = Est(fortress, tmp_path, 'meter-2')
    status, _, body = est.curl('simplereenroll', '-H', 'Content-Type: application/pkcs10', '--data-binary', '@-', '--cert',
                               str(new.folder / 'cert.pem'), '--key', str(new.key), data=third.csr)
    assert status == 403


def test_what_a_token_is_for(fortress, tmp_path):
    """Names, patterns, times, roles; keys are one device's; a key that is made here."""
    est = Est(fortress, tmp_path, 'pump-1')
    assert est.enroll(token=token(fortress, '--name', 'pump-2'))[0] == 403
    assert est.enroll(token=token(fortress, '--pattern', 'valve-*'))[0] == 403
    status, _, body = est.enroll(token=token(fortress, '--pattern', 'pump-*', '--attr', 'site=lab'))
    assert status == 200 and publishes(est.save(body))
    # Another name for the key of a device that is there: nobody gets one, by whatever proof.
    theirs = base64.b64encode(openssl('req', '-new', '-key', est.key, '-subj', '/CN=pump-9', '-outform', 'DER'))
    one = token(fortress, '--name', 'pump-9')
    status, _, body = Est(fortress, tmp_path, 'pump-9').enroll(token=one, csr=theirs)
    assert status == 403 and b'belongs to another device' in body
    assert 'pump-9' in events(fortress, 'enrolment', 'belongs to another device')[-1]['reason']
    with pytest.raises(Refused):
        fortress.cli('device', 'show', 'pump-9')
    assert Est(fortress, tmp_path, 'pump-9').enroll(token=one)[0] == 200, 'the token is not used up by that'
    taken = Est(fortress, tmp_path, 'pump-1')
    status, _, body = taken.enroll(token=token(fortress, '--pattern', 'pump-*'))
    assert status == 403 and b'is there already' in body
    short = token(fortress, '--name', 'pump-3', '--for', '1s')
    other = Est(fortress, tmp_path, 'pump-3')
    end = time.monotonic() + 1.1
    wait_until('its end', lambda: time.monotonic() > end)
    assert other.enroll(token=short)[0] == 401
    twice = token(fortress, '--pattern', 'p-*', '--uses', '2')
    assert [Est(fortress, tmp_path, f'p-{i}').enroll(token=twice)[0] for i in range(3)] == [200, 200, 401]
    status, head, body = other.enroll(token=token(fortress, '--name', 'pump-3'), path='serverkeygen')
    assert status == 200 and head['content-type'].startswith('multipart/mixed')
    parts = body.split(b'--estServerKeyGenBoundary')
    key = openssl('pkey', '-inform', 'DER', '-pubout', data=base64.b64decode(parts[1].split(b'\r\n\r\n')[1]))
    certs = openssl('pkcs7', '-inform', 'DER', '-print_certs', data=base64.b64decode(parts[2].split(b'\r\n\r\n')[1]))
    assert openssl('x509', '-pubkey', '-noout', data=certs) == key
    with pytest.raises(Refused, match='no role'):
        fortress.cli('enrol', 'token', '--role', 'nobody')


def test_what_is_no_request(fortress, tmp_path):
    """Each refusal says what is wrong."""
    est = Est(fortress, tmp_path, 'wrong-1')
    assert est.enroll(csr=b'!!')[0] == 400
    assert est.enroll(csr=base64.b64encode(b'no request'))[0] == 400
    assert est.enroll(kind='text/plain')[0] == 415
    rsa = openssl('req', '-new', '-newkey', 'rsa:2048', '-nodes', '-keyout', tmp_path / 'rsa.pem', '-subj', '/CN=wrong-1',
                  '-outform', 'DER')
    status, _, body = est.enroll(csr=base64.b64encode(rsa))
    assert status == 400 and b'P-256' in body
    nameless = openssl('req', '-new', *CURVE, '-keyout', tmp_path / 'k.pem', '-subj', '/CN=a b', '-outform', 'DER')
    status, _, body = est.enroll(csr=base64.b64encode(nameless))
    assert status == 400 and b'names no device' in body
    ca = openssl('req', '-new', *CURVE, '-keyout', tmp_path / 'c.pem', '-subj', '/CN=wrong-1', '-addext',
                 'basicConstraints=CA:TRUE', '-outform', 'DER')
    assert est.enroll(csr=base64.b64encode(ca), token=token(fortress, '--name', 'wrong-1'))[0] in (400, 403)
    assert est.curl('simpleenroll')[0] == 405
    assert est.curl('label/cacerts')[0] == 501
    assert est.curl('fullcmc', '-d', 'x')[0] == 501
    assert est.curl('../../x', '--path-as-is')[0] == 404
    assert est.enroll('-H', 'Transfer-Encoding: chunked')[0] == 411
    assert est.enroll(csr=b'A' * 16385)[0] == 413
    assert not [event for event in fortress.json('audit', 'tail', '-n', '200') if event['category'] == 'crash_recovery']


def test_an_answer_ends_where_it_says(fortress):
    """Also that to HEAD, over TLS, on a connection that goes on; and no path leads out of what is there."""
    est = '/.well-known/est/'
    asked = [('HEAD', est + 'cacerts', 405), ('HEAD', '/crl.pem', 405), ('HEAD', '/nothing', 404), ('GET', est + 'cacerts', 200),
             ('OPTIONS', est + 'simpleenroll', 405), ('TRACE', est + 'cacerts', 405), ('get', est + 'cacerts', 405),
             ('GET', est + '../../etc/passwd', 404), ('GET', est + 'cacerts/..', 404), ('GET', '/%2e%2e/%2e%2e/etc/passwd', 404),
             ('GET', est + 'cacerts%00', 404), ('GET', '/ocsp/%2e%2e', 400), ('GET', '/crl.pem/..', 404), ('GET', est + 'csrattrs', 200)]
    smuggled = (f'POST {est}simpleenroll HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n'
                '0\r\n\r\nGET /crl.pem HTTP/1.1\r\nHost: localhost\r\n\r\n')
    context = ssl.create_default_context(cafile=fortress.dir / 'pki/ca.pem')
    with socket.create_connection(('127.0.0.1', fortress.ports['enrol']), 20) as raw, \
            context.wrap_socket(raw, server_hostname='localhost') as one:
        one.sendall(''.join(f'{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n' for method, path, _ in asked).encode() + smuggled.encode())
        got = b''
        while piece := one.recv(65536):
            got += piece
    assert answers_in(got, [method for method, *_ in asked]) == [status for *_, status in asked] + [411]


def test_approval(fortress, tmp_path):
    """Who proves nothing waits for a person; the certificate is for the key that was approved alone."""
    est = Est(fortress, tmp_path, 'lamp-1')
    status, head, body = est.enroll()
    assert (status, head['retry-after']) == (202, '5') and b'approval' in body
    assert est.enroll()[0] == 202
    rows = [row for row in fortress.json('enrol', 'list') if row.get('name') == 'lamp-1']
    assert [row['state'] for row in rows] == ['waits']
    (tmp_path / 'thief').mkdir()
    thief = Est(fortress, tmp_path / 'thief', 'lamp-1')
    assert thief.enroll()[0] == 202
    fortress.cli('enrol', 'approve', rows[0]['id'], '--role', 'sensor', '--attr', 'site=lab')
    assert thief.enroll()[0] == 202
    status, _, body = est.enroll()
    assert status == 200 and publishes(est.save(body))
    row = [row for row in fortress.json('enrol', 'list') if row.get('name') == 'lamp-1' and row['state'] == 'waits'][0]
    with pytest.raises(Refused, match='is there already'):
        fortress.cli('enrol', 'approve', row['id'], '--role', 'sensor')
    fortress.cli('enrol', 'reject', row['id'])
    assert thief.enroll()[0] == 403
    many = [Est(fortress, tmp_path, f'bulb-{i}') for i in range(3)]
    assert [one.enroll()[0] for one in many] == [202] * 3
    fortress.cli('enrol', 'approve', '--all', '--where', 'name=bulb-*', '--where', 'from=127.0.0.0/8', '--role', 'sensor')
    assert [one.enroll()[0] for one in many] == [200] * 3


def test_from_first_boot_to_connected(fortress, tmp_path):
    """One command on the device, with what `enrol token` printed; a server that cannot show the authority gets nothing."""
    made = fortress.json('enrol', 'token', '--role', 'sensor', '--name', 'boot-1', '--attr', 'site=lab')[0]
    server = f'localhost:{fortress.ports["enrol"]}'
    out = tmp_path / 'boot-1'
    join = ['enrol', 'join', '--server', server, '--token', made['token'], '--name', 'boot-1', '--out', out]
    wrong = ('0' if made['ca_sha256'][0] != '0' else '1') + made['ca_sha256'][1:]
    with pytest.raises(Refused, match='not the one of --ca-sha256'):
        fortress.run(*join, '--ca-sha256', wrong)
    assert not out.exists()
    fortress.run(*join, '--ca-sha256', made['ca_sha256'])
    assert sorted(path.name for path in out.iterdir()) == ['bundle.json', 'ca.pem', 'cert.pem', 'howto.txt', 'key.pem']
    assert {path.stat().st_mode & 0o777 for path in out.iterdir()} == {0o600}
    assert json.loads((out / 'bundle.json').read_text())['ports']['mqtts'] == fortress.ports['mqtts']
    fortress.run('pub', '--bundle', out, '-t', 'sensors/lab/boot-1/t', '-m', 'first', '-q', '1')
    with pytest.raises(Refused, match='is there already'):
        fortress.run(*join, '--ca-sha256', made['ca_sha256'])
    with pytest.raises(Refused, match='401'):
        fortress.run(*join[:-1], tmp_path / 'boot-2', '--ca-sha256', made['ca_sha256'])


@pytest.mark.parametrize('path', ['/.well-known/est/', '/est/'])
def test_est_over_coap(fortress, tmp_path, path):
    """coap-client fetches the authority's certificates, whole or in blocks; what is not there says where it is."""
    device = fortress.add(credentials=('psk',))
    for build in coap.BUILDS:
        for size in ('1024', '64'):
            out = tmp_path / f'{build}-{size}'
            coap.request(build, device, 'get', f'{path}crts', more=('-o', out, '-b', size))
            certs = openssl('pkcs7', '-inform', 'DER', '-in', out, '-print_certs')
            assert openssl('x509', '-in', fortress.dir / 'pki/ca.pem') in certs.replace(b'\n\n', b'\n')
        out = tmp_path / 'att'
        coap.request(build, device, 'get', f'{path}att', more=('-o', out))
        der = out.read_bytes()[:35]  # coap-client ends it with a line feed
        assert b'prime256v1' in openssl('asn1parse', '-inform', 'DER', data=der)
        assert coap.request(build, device, 'post', f'{path}sen', 'x').code == '4.01', 'by a key nobody gets a certificate'
        assert coap.request(build, device, 'get', f'{path}label/crts').code == '4.04'
        assert coap.request(build, device, 'put', f'{path}crts', 'x').code == '4.05'
        assert coap.request(build, device, 'get', f'{path}crts', more=('-A', '0')).code == '4.06'


def test_manufacturers(make_fortress, tmp_path):
    """A certificate of an allowed manufacturer enrols its device once, as what its maker calls it, and logs in nowhere."""
    openssl('req', '-x509', *CURVE, '-days', '2', '-subj', '/CN=Acme root', '-addext', 'keyUsage=critical,keyCertSign', '-keyout',
            tmp_path / 'acme-key.pem', '-out', tmp_path / 'acme.pem')
    extensions = tmp_path / 'leaf.cnf'
    extensions.write_text('subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\nkeyUsage=critical,digitalSignature\n')
    for name in ('acme-7', 'acme-8'):
        openssl('req', '-new', *CURVE, '-subj', f'/CN={name}', '-keyout', tmp_path / f'{name}-key.pem', '-out', tmp_path / f'{name}.csr')
        openssl('x509', '-req', '-in', tmp_path / f'{name}.csr', '-CA', tmp_path / 'acme.pem', '-CAkey', tmp_path / 'acme-key.pem',
                '-days', '2', '-extfile', extensions, '-out', tmp_path / f'{name}.pem')
    fortress = make_fortress(listeners=LISTENERS, start=False)
    (fortress.dir / 'manufacturers').mkdir()
    (fortress.dir / 'manufacturers/acme.pem').write_bytes((tmp_path / 'acme.pem').read_bytes())
    fortress.configure('listeners:', 'enrol: { manufacturers: [ { ca: acme.pem, role: sensor, name: cn } ] }\nlisteners:')
    fortress.start()
    est = Est(fortress, tmp_path, 'acme-7')
    shown = ('--cert', str(tmp_path / 'acme-7.pem'), '--key', str(tmp_path / 'acme-7-key.pem'))
    status, _, body = est.enroll(*shown)
    assert status == 200, body
    device = est.save(body)
    assert mosquitto.publish(device, 'status/acme-7', 'x', qos=1, check=False).returncode == 0
    assert fortress.json('device', 'show', 'acme-7')[0]['role'] == 'sensor'
    status, _, body = Est(fortress, tmp_path, 'acme-9').enroll(*shown)
    assert status == 403 and b'is of acme-7' in body
    for path in ('cert', 'key'):
        (tmp_path / f'{path}.pem').write_bytes((tmp_path / ('acme-8.pem' if path == 'cert' else 'acme-8-key.pem')).read_bytes())
    (tmp_path / 'ca.pem').write_bytes((fortress.dir / 'pki/ca.pem').read_bytes())
    stranger = Device(fortress, 'acme-8', 'sensor', tmp_path)
    assert mosquitto.publish(stranger, 'status/acme-8', 'x', qos=1, check=False).returncode != 0


def test_guessing(make_fortress, tmp_path):
    """Ten wrong tokens of one network within a minute: an alert, and not even a right one is looked at."""
    fortress = make_fortress(listeners=LISTENERS)
    est = Est(fortress, tmp_path, 'guess-1')
    good = token(fortress, '--name', 'guess-1')
    assert [est.enroll(token=f'AAAAA-BBBBB-CCCCC-DDDD{i}')[0] for i in range(10)] == [401] * 10
    status, head, _ = est.enroll(token=good)
    assert status == 429 and 0 < int(head['retry-after']) <= 60
    assert wait_until('the alert', lambda: events(fortress, 'auth_bruteforce'))


def test_a_batch_goes_on_where_it_was_killed(fortress, tmp_path):
    """kill -9 of the command, twice, then of the daemon in the middle; run again: each device once, each bundle whole."""
    n = int(os.environ.get('SALLYPORT_BATCH_ROWS', '40'))
    rows, out = tmp_path / 'rows.txt', tmp_path / 'bundles'
    rows.write_text('# name role attributes\n' + ''.join(f'batch-{i} sensor site=lab\n' for i in range(n)))
    command = [str(fortress.binary), '-C', str(fortress.dir), 'enrol', 'batch', str(rows), '--out', str(out)]
    for done in (n // 4, n // 2):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        wait_until('some of it', lambda: out.exists() and len(list(out.glob('*/howto.txt'))) >= done or process.poll() is not None, 60)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    wait_until('more of it', lambda: len(list(out.glob('*/howto.txt'))) >= 3 * n // 4 or process.poll() is not None, 60)
    fortress.kill()  # the daemon, too
    process.communicate(timeout=60)
    fortress.start()
    whole = fortress.json('enrol', 'batch', rows, '--out', out)[0]
    assert whole['failed'] == 0 and whole['made'] + whole['there'] == n
    assert sorted(path.name for path in out.iterdir()) == sorted(f'batch-{i}' for i in range(n))
    for i in (0, n // 4, n // 2, n - 1):
        assert publishes(Device(fortress, f'batch-{i}', 'sensor', out / f'batch-{i}'))
    assert fortress.json('enrol', 'batch', rows, '--out', out)[0] == {'made': 0, 'there': n, 'failed': 0}
    with pytest.raises(Refused, match='is there already'):
        fortress.cli('enrol', 'batch', rows, '--out', tmp_path / 'others')
