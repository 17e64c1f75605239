"""e: EST over CoAPS. A device that knows openssl and coap-client renews its certificate over DTLS, or CoAP over TLS, and comes back with
the new one; what it may not is refused in CoAP's words."""
import re
import shutil
import subprocess

import pytest

from harness import coap, coap_message, coap_tcp, mosquitto, renewal
from harness.clock import Clock
from harness.fortress import BINARY, POLICY, Device, Fortress, counted, metrics
from harness.wait import wait_until

BUILD = 'coap-client-openssl'
pytestmark = pytest.mark.skipif(BUILD not in coap.BUILDS, reason=f'no {BUILD}')
LISTENERS = ('mqtts', 'coaps', 'coaps+tcp')
DAY_S = 86400
CSR, CERTS, LEAF, MULTIPART = '286', '281', '287', '62'


@pytest.fixture(scope='module')
def fortress():
    one = Fortress(listeners=LISTENERS)
    yield one
    one.close()


def openssl(*arguments, data=None):
    return subprocess.run(['openssl', *map(str, arguments)], input=data, capture_output=True, check=True).stdout


def request(device, folder, subject=None, curve='P-256'):
    """A new key and a CSR for it, in DER; gives the path of the CSR."""
    _, pem = renewal.request(device, folder, subject, curve)
    der = folder / 'request.der'
    openssl('req', '-in', pem, '-outform', 'DER', '-out', der)
    return der


def post(device, path, csr, *more, kind=CSR, **how):
    """(the answer, the bytes that came)"""
    out = csr.parent / 'answer'
    out.unlink(missing_ok=True)
    how.setdefault('auth', 'x509')
    said = coap.request(BUILD, device, 'post', path, more=('-f', csr, '-t', kind, '-o', out, *more), **how)
    return said, out.read_bytes() if out.exists() else b''


def by_our_own(device, csr, scheme='coaps'):
    out = csr.parent / 'answer'
    subprocess.run([BINARY, 'coap', 'post', f'{scheme}://localhost:{device.fortress.ports[scheme]}/est/sren', '-c', device.cert,
                    '-j', device.key, '-C', device.ca, '-t', CSR, '-f', csr, '-b', '128', '-o', out], check=True, timeout=30)
    return out.read_bytes()


def der_of(data):
    """coap-client ends what it has written with a line feed."""
    assert data[:2] == b'\x30\x82', data[:80]
    return data[:4 + int.from_bytes(data[2:4], 'big')]


def renewed(device, folder, data, form='pkcs7'):
    der = der_of(data)
    if form == 'pkcs7':
        certs = openssl('pkcs7', '-inform', 'DER', '-print_certs', data=der)
    else:
        certs = openssl('x509', '-inform', 'DER', data=der) + openssl('x509', '-in', folder / 'above.pem')
    (folder / 'cert.pem').write_bytes(certs)
    shutil.copy(device.ca, folder / 'ca.pem')
    openssl('verify', '-CAfile', device.ca, '-untrusted', folder / 'cert.pem', folder / 'cert.pem')
    return Device(device.fortress, device.name, device.role, folder)


def works(device):
    """Over MQTT and over CoAPS."""
    topic = f'sensors/lab/{device.name}/t'
    said = coap.request(BUILD, device, 'post', f'mq/{topic}', 'x', auth='x509')
    return said.code is None and mosquitto.publish(device, topic, 'x', qos=1, check=False).returncode == 0


def serial(path):
    return openssl('x509', '-in', path, '-noout', '-serial')


@pytest.mark.parametrize('root, size', [('/.well-known/est/', None), ('/.well-known/est/', '64'), ('/est/', '256')])
def test_a_renewal(fortress, tmp_path, root, size):
    """SPEC: RFC9148 4.1, 4.3, 4.6: a CSR of openssl to sren, whole or in blocks; the certificate opens MQTT and CoAPS."""
    device = fortress.add(attributes={'site': 'lab'})
    csr = request(device, tmp_path / 'new')
    said, data = post(device, f'{root}sren', csr, *(('-b', size) if size else ()))
    assert said.code is None and data, said.text
    again = renewed(device, csr.parent, data)
    assert serial(again.cert) != serial(device.cert)
    assert works(again) and works(device), 'the old one is good until its end'
    reason = fortress.wait_event('credential_rotated', principal=device.name)[-1]['reason']
    assert reason == 'renewed its certificate (by its present one)'


def test_one_certificate_by_itself(fortress, tmp_path):
    """SPEC: RFC9148 4.3: Accept 287 is one certificate; sen is the same as sren for who came by a certificate."""
    device = fortress.add(attributes={'site': 'lab'})
    csr = request(device, tmp_path / 'new')
    leaf, above = (device.bundle / 'cert.pem').read_text().split('-----END CERTIFICATE-----\n', 1)
    (csr.parent / 'above.pem').write_text(above)
    said, data = post(device, '/est/sen', csr, '-A', LEAF)
    assert said.code is None and data, said.text
    assert works(renewed(device, csr.parent, data, form='x509'))
    said, data = post(device, '/est/sen', csr, '-A', '0')
    assert said.code == '4.06', said.text


def test_discovery(fortress):
    """SPEC: RFC9148 4.1: what is there, to who may use it."""
    device = fortress.add(credentials=('x509', 'psk'))
    said = coap.request(BUILD, device, 'get', '.well-known/core?rt=ace.est*', auth='x509')
    links = said.payload.split(',')
    assert len(links) == 6, said.text
    for name, ct in (('crts', '281 287'), ('sen', '281 287'), ('sren', '281 287'), ('att', '285'), ('skg', '62'), ('skc', '62')):
        link, = [one for one in links if one.startswith(f'</est/{name}>')]
        assert f'rt="ace.est.{name}"' in link and re.search(rf'ct="?{ct}"?', link), link
    said = coap.request(BUILD, device, 'get', '.well-known/core?rt=ace.est*')
    assert '/est/crts' in said.payload and '/est/att' in said.payload and 'sren' not in said.payload


def test_the_authority_by_itself(make_fortress, tmp_path):
    """SPEC: RFC9148 4.3: crts in 287 is the root, for who reads no PKCS#7; while there are two, nobody chooses one for it."""
    fortress = make_fortress(listeners=LISTENERS)
    device = fortress.add()
    out = tmp_path / 'root'
    said = coap.request(BUILD, device, 'get', '/est/crts', auth='x509', more=('-A', LEAF, '-o', out))
    assert said.code is None, said.text
    root = openssl('x509', '-inform', 'DER', data=der_of(out.read_bytes()))
    assert root.strip() in (device.bundle / 'ca.pem').read_bytes()
    assert openssl('x509', '-noout', '-subject', data=root).split(b'=', 1)[1] == openssl('x509', '-noout', '-issuer', data=root).split(b'=', 1)[1]
    fortress.cli('certs', 'roll', 'prepare')
    said = wait_until('both are given', lambda: (one := coap.request(BUILD, device, 'get', '/est/crts', auth='x509', more=('-A', LEAF))).code and one)
    assert said.code == '4.06' and 'two authorities' in said.text, said.text
    assert coap.request(BUILD, device, 'get', '/est/crts', auth='x509').code is None


@pytest.mark.parametrize('name, form', [('skg', 281), ('skc', 287)])
def test_a_key_that_is_made_here(fortress, tmp_path, name, form):
    """SPEC: RFC9148 4.8: the pair as multipart-core; the key of the request, one that nobody would certify, is not looked at."""
    device = fortress.add(attributes={'site': 'lab'})
    csr = request(device, tmp_path / 'new', curve='P-384')
    said, data = post(device, f'/est/{name}', csr)
    assert said.code is None and data[:4] == b'\x84\x19\x01\x1c', (said.text, data[:16])
    key_n = data[5] if data[4] == 0x58 else int.from_bytes(data[5:7], 'big')
    key_at = 6 if data[4] == 0x58 else 7
    key, rest = data[key_at:key_at + key_n], data[key_at + key_n:]
    assert rest[:4] == b'\x19' + form.to_bytes(2, 'big') + b'\x59', rest[:8]
    certs = rest[6:6 + int.from_bytes(rest[4:6], 'big')]
    (csr.parent / 'key.pem').write_bytes(openssl('pkey', '-inform', 'DER', data=key))
    if form == 287:
        (csr.parent / 'above.pem').write_text((device.bundle / 'cert.pem').read_text().split('-----END CERTIFICATE-----\n', 1)[1])
    assert works(renewed(device, csr.parent, certs, form='pkcs7' if form == 281 else 'x509'))
    assert post(device, f'/est/{name}', csr, '-A', CERTS)[0].code == '4.06'


def test_a_key_that_would_be_encrypted(fortress, tmp_path):
    """SPEC: RFC7030 4.4.1.1: who wants its key under another one (content format 280) is refused, and told what to do."""
    device = fortress.add(attributes={'site': 'lab'})
    folder = tmp_path / 'new'
    folder.mkdir()
    (folder / 'req.cnf').write_text(f"""oid_section = oids
[oids]
decryptKeyID = 1.2.840.113549.1.9.16.2.37
[req]
prompt = no
distinguished_name = subject
attributes = wishes
[subject]
CN = {device.name}
[wishes]
decryptKeyID = key-1
""")
    openssl('req', '-new', '-key', device.key, '-config', folder / 'req.cnf', '-outform', 'DER', '-out', folder / 'request.der')
    said, data = post(device, '/est/skg', folder / 'request.der')
    assert said.code == '4.00' and 'DecryptKeyIdentifier' in said.text and not data, said.text
    assert post(device, '/est/skg', folder / 'request.der', '-A', '280')[0].code == '4.06'


def test_over_tls(fortress, tmp_path):
    """The same over CoAP on TLS, where blocks may be large."""
    device = fortress.add(attributes={'site': 'lab'})
    csr = request(device, tmp_path / 'new')
    with coap_tcp.Peer(device) as peer:
        answer = peer.exchange(coap_message.POST, '/est/sren', csr.read_bytes(), [(12, b'\x01\x1e')])
        assert answer.code == 0x44, answer
    assert works(renewed(device, csr.parent, answer.payload))


def test_what_was_given_survives(make_fortress, tmp_path):
    """A kill -9 right behind the answer: the certificate opens, and renews in its turn."""
    fortress = make_fortress(listeners=LISTENERS)
    device = fortress.add(attributes={'site': 'lab'})
    csr = request(device, tmp_path / 'new')
    _, data = post(device, '/est/sren', csr)
    fortress.kill()
    fortress.start()
    again = renewed(device, csr.parent, data)
    assert works(again)
    next_csr = request(again, tmp_path / 'next')
    said, data = post(again, '/est/sren', next_csr)
    assert said.code is None and works(renewed(again, next_csr.parent, data)), said.text


@pytest.mark.parametrize('scheme', ['coaps', 'coaps+tcp'])
def test_by_our_own_client(fortress, tmp_path, scheme):
    """With a bundle, openssl and `sallyport coap`; in small blocks both ways."""
    device = fortress.add(attributes={'site': 'lab'})
    csr = request(device, tmp_path / 'new')
    assert works(renewed(device, csr.parent, by_our_own(device, csr, scheme)))


def test_refusals(fortress, tmp_path):
    """Each in CoAP's own code, with words, and one event."""
    device = fortress.add(attributes={'site': 'lab'})
    csr = request(device, tmp_path / 'new')
    said, _ = post(device, '/est/sren', csr, kind='42')
    assert said.code == '4.15' and 'PKCS#10' in said.text  # SPEC: RFC9148 4.3
    assert coap.request(BUILD, device, 'get', '/est/sren', auth='x509').code == '4.05'
    assert coap.request(BUILD, device, 'post', '/est/crts', 'x', auth='x509').code == '4.05'
    assert post(device, '/est/label/sren', csr)[0].code == '4.04'
    # another subject
    other = request(device, tmp_path / 'other', subject='somebody-else')
    said, _ = post(device, '/est/sren', other)
    assert said.code == '4.03' and 'may renew its own certificate' in said.text, said.text
    refused = fortress.wait_event('enrolment', principal=device.name, reason=re.compile('not one for somebody-else'))
    assert sum(event.get('count', 1) or 1 for event in refused) == 1
    # no CSR, a key on another curve, a signature that does not fit
    (tmp_path / 'none').mkdir()
    (tmp_path / 'none/request.der').write_bytes(b'no request')
    said, _ = post(device, '/est/sren', tmp_path / 'none/request.der')
    assert said.code == '4.00' and 'no PKCS#10' in said.text, said.text
    fortress.wait_event('malformed', principal=device.name, reason=re.compile('no certificate over CoAP'))
    curve = request(device, tmp_path / 'curve', curve='P-384')
    said, _ = post(device, '/est/sren', curve)
    assert said.code == '4.00' and 'P-256' in said.text, said.text
    broken = bytearray(csr.read_bytes())
    broken[-1] ^= 1
    (tmp_path / 'none/request.der').write_bytes(broken)
    assert post(device, '/est/sren', tmp_path / 'none/request.der')[0].code == '4.00'
    # too large to be one
    (tmp_path / 'none/request.der').write_bytes(b'\x30' * 9000)
    said, _ = post(device, '/est/sren', tmp_path / 'none/request.der', '-b', '1024')
    assert said.code == '4.13', said.text
    assert works(device)
    # a key of somebody else
    thief = fortress.add(attributes={'site': 'lab'})
    openssl('req', '-new', '-key', device.key, '-subj', f'/CN={thief.name}', '-outform', 'DER', '-out', tmp_path / 'none/request.der')
    said, _ = post(thief, '/est/sren', tmp_path / 'none/request.der')
    assert said.code == '4.03' and 'another device' in said.text, said.text


def test_who_has_shown_none(fortress, tmp_path):
    """SPEC: RFC9148 3: by a key alone nobody gets a certificate; a revoked device does not even get in."""
    device = fortress.add(credentials=('x509', 'psk'))
    csr = request(device, tmp_path / 'new')
    said, _ = post(device, '/est/sren', csr, auth='psk')
    assert said.code == '4.01' and 'HTTPS' in said.text, said.text
    said, _ = post(device, '/est/sen', csr, auth='psk')
    assert said.code == '4.01'
    fortress.wait_event('enrolment', principal=device.name, reason=re.compile('it came by a key'))
    fortress.cli('device', 'revoke', device.name, '--reason', 'stolen')
    said, data = post(device, '/est/sren', csr, wait_s=3)
    assert not data
    gone = fortress.add()
    csr = request(gone, tmp_path / 'gone')
    fortress.cli('device', 'remove', gone.name)
    said, data = post(gone, '/est/sren', csr, wait_s=3)
    assert not data


def test_asked_again(fortress, tmp_path):
    """The same request twice on one association is one certificate; another one is another."""
    device = fortress.add(attributes={'site': 'lab'})
    csr, other = request(device, tmp_path / 'new'), request(device, tmp_path / 'other')
    before = metrics(fortress)['renewals_total{result="ok"}']
    with coap_tcp.Peer(device) as peer:
        def ask(body):
            answer = peer.exchange(coap_message.POST, '/est/sren', body, [(12, b'\x01\x1e')])
            assert answer.code == 0x44, answer
            return answer.payload
        first = ask(csr.read_bytes())
        assert ask(csr.read_bytes()) == first
        assert counted(fortress, 'renewals_total{result="ok"}', before + 1) == before + 1
        assert ask(other.read_bytes()) != first
    assert counted(fortress, 'renewals_total{result="ok"}', before + 2) == before + 2


def test_the_pace(make_fortress, tmp_path, opened):
    """More than renewal_rate: 5.03 with Max-Age, an event and a count; nothing is signed."""
    fortress = make_fortress(listeners=LISTENERS, settings=('renewal_rate=1/s', 'workers=1'))
    devices = [fortress.add(attributes={'site': 'lab'}) for _ in range(4)]
    requests = [request(device, tmp_path / device.name) for device in devices]
    peers = [opened(coap_tcp.Peer(device)) for device in devices]
    tokens = [peer.ask(coap_message.POST, '/est/sren', csr.read_bytes(), [(12, b'\x01\x1e')]) for peer, csr in zip(peers, requests)]
    answers = [peer.answer_to(token) for peer, token in zip(peers, tokens)]
    assert sorted(answer.code for answer in answers)[:2] == [0x44, 0x44]
    later = [answer for answer in answers if answer.code == 0xa3]
    assert later and all(b'renewal_rate' in answer.payload and answer.option(14) for answer in later), answers
    fortress.wait_event('rate', reason=re.compile('more come to renew than renewal_rate'))
    counted(fortress, 'renewals_total{result="later"}', len(later))


@pytest.mark.release
def test_an_ended_certificate(tmp_path):
    """In the renewal lane there is sren, and what belongs to it; nothing else."""
    clock = Clock(-91 * DAY_S)
    fortress = Fortress(binary=clock.binary, listeners=LISTENERS, start=False)
    try:
        fortress.start()
        fortress.apply(POLICY)
        device, other, third = (fortress.add(attributes={'site': 'lab'}) for _ in range(3))
        clock.set(0)
        fortress.wait_log('^notice: reloaded')
        csr = request(device, tmp_path / 'new')
        topic = f'mq/sensors/lab/{device.name}/t'
        for method, path in (('post', topic), ('put', topic), ('get', topic), ('delete', topic), ('post', 'rd?ep=x'), ('get', 'rd-lookup/ep')):
            said = coap.request(BUILD, device, method, path, 'x', auth='x509')
            assert said.code == '4.03' and 'POST a CSR to /est/sren' in said.text, (method, path, said.text)
        fortress.wait_event('acl_deny', principal=device.name, reason=re.compile('it may renew it and do nothing else.*/est/sren'))
        listed = coap.request(BUILD, device, 'get', '.well-known/core', auth='x509').payload
        assert re.findall('<(.*?)>', listed) == ['/.well-known/core', '/est/crts', '/est/sren', '/est/att'], listed
        assert coap.request(BUILD, device, 'get', '/est/crts', auth='x509').code is None
        for name in ('sen', 'skg'):
            said, _ = post(device, f'/est/{name}', csr)
            assert said.code == '4.03' and 'sren' in said.text, said.text
        said, data = post(device, '/est/sren', csr)
        assert said.code is None and data, said.text
        again = renewed(device, csr.parent, data)
        assert wait_until('it is let in', lambda: works(again))
        said, _ = post(device, '/est/sren', csr, wait_s=3)
        assert said.code != '4.03' and not (csr.parent / 'answer').exists(), 'the newer one is in use'
        csr = request(third, tmp_path / 'third')
        assert works(renewed(third, csr.parent, by_our_own(third, csr)))
        # over TLS
        csr = request(other, tmp_path / 'other')
        with coap_tcp.Peer(other) as peer:
            assert peer.exchange(coap_message.POST, f'/mq/sensors/lab/{other.name}/t', b'x').code == 0x83
            answer = peer.exchange(coap_message.POST, '/est/sren', csr.read_bytes(), [(12, b'\x01\x1e')])
            assert answer.code == 0x44, answer
        assert works(renewed(other, csr.parent, answer.payload))
    finally:
        fortress.close()
        clock.close()
