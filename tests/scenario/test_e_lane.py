"""e: the renewal lane. A certificate that has ended lets its device renew it, and do nothing else; one that has not ended may be
renewed in the same way."""
import re
import ssl
import subprocess

import pytest

from harness import coap, mosquitto, renewal, wire
from harness.clock import Clock
from harness.fortress import POLICY, Fortress, counted, metrics
from harness.paho_client import Paho
from harness.wait import wait_until

pytestmark = pytest.mark.release

DAY_S = 86400
NAMES = ('v5-1.2', 'v5-1.3', 'v311', 'rr', 'lost', 'wrong', 'revoked', 'disabled', 'coap', 'resumes', 'ancient')
PEM = '-----BEGIN CERTIFICATE-----'


@pytest.fixture(scope='module')
def lane():
    """A fortress that began 91 days ago: what was issued then has ended yesterday. In the past, and not in the future, because the
    server's own certificate renews itself, and stock clients have the time of today."""
    clock = Clock(-91 * DAY_S)
    one = Fortress(binary=clock.binary, start=False)
    one.configure('name: mqtts,', 'name: mqtts, tls_min: "1.2",')
    one.start()
    one.apply(POLICY)
    one.devices = {name: one.add(name=name) for name in NAMES}
    one.clock = clock
    with renewal.wired(one.devices['v5-1.3']) as w:  # its session is to sleep through all of this
        w.login('v5-1.3', clean=False, properties=b'\x11\x00\x0f\x42\x40')
        w.send(wire.subscribe(1, 'commands/v5-1.3/#')).expect(wire.SUBACK)
    context = wire.tls_context(certificate=one.devices['resumes'].cert, key=one.devices['resumes'].key, ca=one.devices['resumes'].ca)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= renewal.NO_CHECK_TIME
    with wire.Wire(one, context=context) as w:
        w.login('resumes')
        one.ticket = (context, w.socket.session)
    clock.set(0)
    one.wait_log('^notice: reloaded')
    yield one
    one.close()
    clock.close()


def verify(device):
    """Against the root, at the time that the daemon has."""
    chain = (device.bundle / 'cert.pem').read_text()
    leaf, above = chain.split('-----END CERTIFICATE-----\n', 1)
    (device.bundle / 'leaf.pem').write_text(leaf + '-----END CERTIFICATE-----\n')
    (device.bundle / 'above.pem').write_text(above)
    subprocess.run(['openssl', 'verify', '-no_check_time', '-purpose', 'sslclient', '-CAfile', device.ca, '-untrusted',
                    str(device.bundle / 'above.pem'), str(device.bundle / 'leaf.pem')], check=True, capture_output=True)


@pytest.mark.parametrize('tls', ['1.2', '1.3'])
def test_the_way_back(lane, tls, tmp_path):
    """It comes as it always comes, with its will and its session; it may renew; then everything is as before."""
    device = lane.devices[f'v5-{tls}']
    console = lane.add('console', name=f'console-{tls}')
    _, csr = renewal.request(device, tmp_path)
    mosquitto.publish(console, f'commands/{device.name}/go', 'waited', qos=1)
    with renewal.wired(device, tls=tls) as w:
        connack = w.send(wire.connect(device.name, clean=False, will=(f'status/{device.name}', 'gone', 1, True),
                                      properties=b'\x11\x00\x0f\x42\x40')).expect(wire.CONNACK)
        assert connack.reason == 0 and connack.body[0] == 0, 'no session is there'
        assert wire.properties(connack, 2)[0x11] == b'\0\0\0\0'
        # everything else is closed
        w.send(wire.publish(f'status/{device.name}', 'here', 1, 1))
        assert w.expect(wire.PUBACK).reason == 0x87
        for topic in (f'commands/{device.name}/#', f'$share/g/commands/{device.name}/#', '$sallyport/renew'):
            assert w.send(wire.subscribe(2, topic)).expect(wire.SUBACK).reason >= 0x80
        w.send(wire.publish('$coap/coap/GET/x', '', 1, 2, properties=b'\x08' + wire.field('a/b')))
        assert w.expect(wire.PUBACK).reason == 0x87
        refused = lane.wait_event('acl_deny', about=device.name, target=f'status/{device.name}')[-1]['reason']
        assert 'certificate' in refused and '$sallyport/renew' in refused and 'device rotate' in refused
        # but this
        assert renewal.hear(w) == 0
        answer, reason = renewal.ask(w, csr, properties=b'\x09' + wire.field('7b') + b'\x08' + wire.field(renewal.ANSWER))
        assert reason == 0 and answer.count(PEM) == 2, answer
    again = renewal.renewed(device, tmp_path, answer)
    verify(again)
    assert not [e for e in lane.events() if e['category'] == 'will' and e['principal'] == device.name]
    with renewal.wired(again, tls=tls) as w:
        connack = w.send(wire.connect(device.name, clean=False, properties=b'\x11\x00\x0f\x42\x40')).expect(wire.CONNACK)
        assert connack.reason == 0
        if tls == '1.3':
            assert connack.body[0] == 1, 'the session slept through it'
            assert b'waited' in w.expect(wire.PUBLISH).body
        w.send(wire.publish(f'status/{device.name}', 'here', 1, 1))
        assert w.expect(wire.PUBACK).reason in (0, 0x10)
    # prove, then swap: the new one was used, so the old one is no way back any more
    with renewal.wired(device) as w:
        connack = w.send(wire.connect(device.name)).expect(wire.CONNACK)
        assert connack.reason == 0x87
        assert wire.properties(connack, 2)[0x1f][2:] == b'this certificate was renewed; use the newer one'
    assert 'newer one of it is in use' in lane.wait_event('credential_expiring', principal=device.name)[-1]['reason']
    lane.wait_event('connect', principal=device.name, reason=re.compile('in the renewal lane'))
    assert lane.wait_event('credential_rotated', principal=device.name)[-1]['reason'].startswith(f'{device.name} renewed its certificate in '
                                                                                                 'the renewal lane')


def test_mqtt_311(lane, tmp_path):
    device = lane.devices['v311']
    _, csr = renewal.request(device, tmp_path)
    with Paho(device, version=4) as client:
        assert client.subscribe(renewal.ANSWER) == [0]
        client.publish(renewal.ASK, csr.read_bytes())
        answer = client.get().payload.decode()
    with Paho(renewal.renewed(device, tmp_path, answer), version=4) as client:
        client.publish('status/v311', 'here')


def test_a_stock_tool(lane, tmp_path):
    """One line of mosquitto_rr renews."""
    device = lane.devices['rr']
    _, csr = renewal.request(device, tmp_path)
    run = subprocess.run(['mosquitto_rr', *mosquitto.options(device), '-t', renewal.ASK, '-e', renewal.ANSWER, '-q', '1', '-W', '10',
                          '-m', csr.read_text()], capture_output=True, text=True, timeout=20, check=True)
    mosquitto.publish(renewal.renewed(device, tmp_path, run.stdout), 'status/rr', 'here', qos=1)


def test_a_lost_answer(lane, tmp_path):
    """Nobody heard it: the old certificate still opens the lane, and the same request is answered once more."""
    device = lane.devices['lost']
    _, csr = renewal.request(device, tmp_path)
    with renewal.wired(device) as w:
        w.login('lost')
        assert renewal.hear(w) == 0
        w.send(wire.publish(renewal.ASK, csr.read_bytes(), 1, 7))
    wait_until('the renewal', lambda: [e for e in lane.events() if e['category'] == 'credential_rotated' and e['principal'] == 'lost'])
    with renewal.wired(device) as w:
        w.login('lost')
        assert renewal.hear(w) == 0
        answer, reason = renewal.ask(w, csr)
    assert reason == 0
    lane.kill()  # what was answered is on record
    lane.start()
    mosquitto.publish(renewal.renewed(device, tmp_path, answer), 'status/lost', 'here', qos=1)


def test_requests_that_are_refused(lane, tmp_path):
    """Each says why, to the device and to the operator."""
    device = lane.devices['wrong']
    _, other = renewal.request(device, tmp_path / 'other', subject='revoked')
    _, curve = renewal.request(device, tmp_path / 'curve', curve='P-384')
    with renewal.wired(device) as w:
        w.login('wrong')
        w.send(wire.publish(renewal.ASK, 'early', 1, 3))
        assert w.expect(wire.PUBACK).reason == 0x83, 'nobody hears the answer'
        assert renewal.hear(w) == 0
        for csr, code, words in ((b'not a request', 0x83, 'no CSR'), (b'\x30\x03\x01\x01\x01', 0x83, 'no certificate request'),
                                 (other, 0x87, 'names somebody else'), (curve, 0x83, 'P-256')):
            answer, reason = renewal.ask(w, csr)
            assert answer.startswith('refused: ') and words in answer and reason == code, (answer, reason)
            lane.wait_event('enrolment', principal='wrong', reason=re.compile(re.escape(words)))
        for _ in range(3):
            answer, reason = renewal.ask(w, b'nor this')
        assert reason == 0x97 and 'come again' in answer
        for how, code in (({'qos': 2}, 0x83), ({'retain': True}, 0x83)):
            w.send(wire.publish(renewal.ASK, 'x', how.get('qos', 1), 9, retain=how.get('retain', False)))
            assert w.expect_among(wire.PUBREC if 'qos' in how else wire.PUBACK, [].append).reason == code


def test_certificates_that_are_refused(lane):
    """Who is not to renew is told why and what to do."""
    lane.cli('device', 'revoke', 'revoked', '--reason', 'stolen')
    lane.cli('device', 'disable', 'disabled')
    for name, words in (('revoked', 'revoked is revoked: stolen'), ('disabled', 'disabled is disabled')):
        with renewal.wired(lane.devices[name]) as w:
            assert w.send(wire.connect(name)).expect(wire.CONNACK).reason == 0x87
        assert words in lane.wait_event('revoked', principal=name)[-1]['reason']
    lane.cli('device', 'enable', 'disabled')
    with renewal.wired(lane.devices['disabled']) as w:
        w.login('disabled')
        lane.cli('device', 'revoke', 'disabled', '--reason', 'stolen, too')
        assert w.receive().reason == 0x87, 'also while it is in the lane'


def test_the_operator_sees_it(lane):
    fresh = lane.add(name='fresh')
    until = {line['name']: line['lane_until'] for line in lane.json('certs', 'list')}
    assert until[fresh.name] == '-' and re.match(r'\d{4}-', until['ancient'])
    assert f'in the renewal lane until {until["ancient"]}' in lane.cli('certs', 'list', '--state', 'expired')
    shown = lane.cli('device', 'show', 'ancient')
    assert re.search(r'in the renewal lane since \S+: until ' + re.escape(until['ancient']), shown), shown
    assert 'renewal lane' not in lane.cli('device', 'show', fresh.name)


def test_a_ticket_is_no_way_around(lane):
    context, session = lane.ticket
    with wire.Wire(lane, context=context, session=session) as w:
        assert not w.socket.session_reused
        w.login('resumes')
        w.send(wire.publish('status/resumes', 'here', 1, 1))
        assert w.expect(wire.PUBACK).reason == 0x87
        first = w.socket.session
    with wire.Wire(lane, context=context, session=first) as w:
        assert not w.socket.session_reused, 'and the lane gives none'


@pytest.mark.skipif('coap-client-openssl' not in coap.BUILDS, reason='no coap-client-openssl')
def test_coap(lane):
    """DTLS takes it, and every request is refused with words."""
    device = lane.devices['coap']
    for method, path in (('put', 'mq/status/coap'), ('get', 'mq/commands/coap/go')):
        answer = coap.request('coap-client-openssl', device, method, path, payload='here' if method == 'put' else None, auth='x509',
                              wait_s=5)
        assert answer.code == '4.03', answer.text
    lane.wait_event('connect', principal='coap', reason=re.compile('DTLS.*in the renewal lane'))


def test_before_the_end(lane, tmp_path):
    """At two thirds of its life, and it may go on as it was."""
    device = lane.add(name='early')
    before = metrics(lane)['renewals_total{result="ok"}']
    _, csr = renewal.request(device, tmp_path)
    with renewal.wired(device) as w:
        w.login('early')
        assert renewal.hear(w) == 0
        answer, reason = renewal.ask(w, csr)
        assert reason == 0, answer
        assert counted(lane, 'renewals_total{result="ok"}', before + 1) == before + 1
        w.send(wire.publish('status/early', 'still here', 1, 1))
        assert w.expect(wire.PUBACK).reason in (0, 0x10)
    for one in (device, renewal.renewed(device, tmp_path, answer)):
        mosquitto.publish(one, 'status/early', 'both are good', qos=1)
    # who has no certificate has none to renew
    with wire.Wire(lane, ca=device.ca) as w:
        w.login('early', user='early', password=device.password)
        assert renewal.hear(w) == 0x87
        w.send(wire.publish(renewal.ASK, csr.read_bytes(), 1, 1))
        assert w.expect(wire.PUBACK).reason == 0x87


def test_it_ends_while_it_is_connected(lane):
    """A live connection ends with its certificate, and its next one is in the lane."""
    device = lane.add(name='live')
    with renewal.wired(device) as w:
        w.login('live')
        lane.clock.set(90 * DAY_S + 60)
        lane.add(name='any')  # a change of the directory: everybody's credential is looked at again
        assert w.receive().reason == 0x87
    assert 'has ended' in lane.wait_event('credential_expiring', principal='live')[-1]['reason']
    with renewal.wired(device) as w:
        w.login('live')
    # and who has ended 91 days ago is beyond the grace
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        with renewal.wired(lane.devices['ancient']) as w:
            w.login('ancient')
    words = lane.wait_event('tls_reject', principal='ancient')[-1]['reason']
    assert 'renewal_grace' in words and 'device rotate' in words


def test_the_pace(opened):
    """So many as can be renewed come in; the others are told when to come back, and in MQTT 3.1.1 that it is not now."""
    clock = Clock()
    one = Fortress(binary=clock.binary, settings=['renewal_rate=1/s'])
    try:
        devices = [one.add(name=f'meter-{i}', credentials=('x509',)) for i in range(8)]
        clock.set(91 * DAY_S)
        waits, n_in = [], 0
        wires = [opened(renewal.wired(device)) for device in devices]
        for device, w in zip(devices, wires):  # all at once, however slow the machine is
            w.send(wire.connect(device.name))
        for w in wires:
            connack = w.expect(wire.CONNACK)
            n_in += connack.reason == 0
            if connack.reason == 0x9f:
                words = wire.properties(connack, 2)[0x1f].decode()
                waits.append(int(re.search(r'come back in (\d+) s', words).group(1)))
            w.close()
        assert n_in >= 2 and len(waits) >= 2 and all(1 <= wait <= 30 for wait in waits), (n_in, waits)
        assert counted(one, 'renewals_total{result="later"}', len(waits)) == len(waits)
        assert 'renewal_rate' in one.wait_event('rate')[-1]['reason']
        with renewal.wired(devices[-1], version=4) as w:
            reason = w.send(wire.connect(devices[-1].name, version=4)).expect(wire.CONNACK).reason
            assert reason in (0, 3), reason
    finally:
        one.close()
        clock.close()
