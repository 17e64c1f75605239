"""m: the audit trail at a receiver elsewhere: nothing is missing there, whatever happens to it, to us and in between."""
import json

import pytest

from harness import paho_client
from harness.fortress import Refused, metrics
from harness.siem import Receiver, make_certificate, parse_syslog
from harness.wait import wait_until

pytestmark = pytest.mark.release
KEYS = ('category', 'severity', 'principal', 'client_id', 'peer', 'listener', 'protocol', 'target', 'reason', 'count')


@pytest.fixture
def siem(tmp_path):
    """make(framing, ...) gives a receiver that is up."""
    made = []

    def make(framing='syslog', **how):
        cert, key = make_certificate(tmp_path, f'siem-{len(made)}')
        one = Receiver(cert, key, framing, **how)
        one.cert = cert
        made.append(one.start())
        return one
    yield make
    for one in made:
        one.go_on()
        one.stop()


def exporting(make_fortress, receiver, ca=None, more='', silence='60s'):
    one = make_fortress(listeners=('mqtts',), start=False)
    (one.dir / 'siem-ca.pem').write_bytes((ca or receiver.cert).read_bytes())
    with (one.dir / 'sallyport.yaml').open('a') as config:
        config.write(f'\nexport: [ {{ name: siem, format: {receiver.framing}, to: "127.0.0.1:{receiver.port}", ca: siem-ca.pem, '
                     f'silence: {silence}{more} }} ]\n')
    one.start()
    return one


def trail(one):
    return [json.loads(line) for line in one.cli('audit', 'export').splitlines()]


def identity(event):
    return tuple(str(event[key]) for key in KEYS)


def received(receiver):
    records = list(receiver.records.values())
    if receiver.framing == 'ocsf':
        records = [{**record['unmapped'], 'reason': record['message'], 'count': record['count']} for record in records]
    return {identity(record) for record in records}


def wait_all(one, receiver, timeout=30):
    """Until the receiver has each record that the trail has now; their numbers have no gap."""
    wanted = {identity(event) for event in trail(one)}
    wait_until(f'{len(wanted)} records', lambda: wanted <= received(receiver), timeout)
    numbers = sorted(receiver.records)
    assert numbers == list(range(numbers[0], numbers[-1] + 1)), 'a number is missing'
    return wanted


def make_noise(one, device, n, word):
    """n different events: topics that it may not publish to."""
    with paho_client.Paho(device) as client:
        for i in range(n):
            client.client.publish(f'{word}/{i}', b'x', qos=1)
        one.wait_event('acl_deny', timeout=20, target=f'{word}/{n - 1}')


def test_a_receiver_that_stands_still_and_kill_9_lose_nothing(make_fortress, siem):
    receiver = siem()
    one = exporting(make_fortress, receiver)
    one.apply(one.dir / 'policy.yaml')
    device = one.add()
    wait_all(one, receiver)
    receiver.hold()
    make_noise(one, device, 80, 'held')
    receiver.stop()
    one.kill()
    one.start()
    make_noise(one, device, 20, 'gone')
    receiver.start()
    receiver.go_on()
    wanted = wait_all(one, receiver)
    refused = {event[KEYS.index('target')] for event in wanted if event[KEYS.index('category')] == 'acl_deny'}
    assert sum(target.startswith('held/') for target in refused) == 80
    assert metrics(one)['sink_lost_total{sink="siem"}'] == 0
    by_file = {parse_syslog(line)['leaf'] for line in one.cli('audit', 'export', '--format', 'syslog').splitlines()}
    assert {record['leaf'] for record in receiver.records.values()} <= by_file
    assert not any(event['category'] == 'exposure' for event in trail(one)), 'the sandbox refused something'


def test_a_receiver_that_ends_without_reading_has_taken_nothing(make_fortress, siem):
    receiver = siem()
    receiver.ends_by = 'goodbye'  # says so at once, and reads nothing of what comes
    one = exporting(make_fortress, receiver)
    one.add()
    wait_until('a connection', lambda: receiver.connections >= 1, 10)
    receiver.ends_by = 'reset'
    wait_until('one that ends the other way', lambda: receiver.connections >= 2, 10)
    assert metrics(one)['sink_taken_total{sink="siem"}'] == 0
    receiver.ends_by = None
    wait_all(one, receiver)


def test_ocsf_and_hostile_names(make_fortress, siem):
    receiver = siem('ocsf')
    one = exporting(make_fortress, receiver)
    one.apply(one.dir / 'policy.yaml')
    device = one.add()
    make_noise(one, device, 3, 'x\x1b[2J"]\\ \u202e')
    wait_all(one, receiver)
    denied = [record for record in receiver.records.values() if record['unmapped']['category'] == 'acl_deny']
    assert denied and all(record['class_uid'] == 6003 and record['type_uid'] == 600399 for record in denied)
    by_sink = {record['metadata']['uid'] for record in receiver.records.values()}
    by_file = {json.loads(line)['metadata']['uid'] for line in one.cli('audit', 'export', '--format', 'ocsf').splitlines()}
    assert by_sink <= by_file and all(len(uid) == 64 for uid in by_sink)


def test_a_wrong_certificate_gets_nothing_and_is_told_of(make_fortress, siem, tmp_path):
    receiver = siem()
    other, _ = make_certificate(tmp_path, 'other')
    one = exporting(make_fortress, receiver, ca=other, silence='2s')
    one.add()
    first = one.wait_event('sink', target='siem', severity='warning')[0]
    assert 'certificate was refused' in first['reason']
    one.wait_event('sink', timeout=10, target='siem', severity='alert')
    assert any(alert['category'] == 'sink' for alert in one.json('alerts'))
    assert not receiver.records
    # The certificate is read again for each connection.
    (one.dir / 'siem-ca.pem').write_bytes(receiver.cert.read_bytes())
    one.wait_event('sink', timeout=30, target='siem', severity='notice')
    assert not any(alert['category'] == 'sink' and 'confirmed nothing' in alert['reason'] for alert in one.json('alerts'))
    wait_all(one, receiver)


def test_check_refuses_what_would_not_verify(make_fortress, siem):
    one = exporting(make_fortress, siem())
    one.stop()
    config = one.dir / 'sallyport.yaml'
    text = config.read_text()
    for wrong in ('verify: no', 'to: "siem.example:6514"'):
        config.write_text(text.replace('silence: 60s', wrong))
        with pytest.raises(Refused):
            one.cli('check')
    config.write_text(text)
    one.cli('check')
    (one.dir / 'siem-ca.pem').unlink()
    with pytest.raises(Refused, match='siem-ca.pem cannot be read'):
        one.cli('check')
    with pytest.raises(Refused, match='--format is'):
        one.cli('audit', 'export', '--format', 'xml')
