"""m: alerts and the audit trail by webhook, in a file and in journald: each has them, and says when it has not."""
import json
import re
import signal
import subprocess

import pytest

from harness import paho_client
from harness.fortress import Refused, metrics
from harness.hook import Hook, Journal, signature
from harness.siem import make_certificate
from harness.wait import wait_until

pytestmark = pytest.mark.release
SECRET = '5f' * 32
TORN = b'{"torn'
# What may end no line, no header and no field, and reach no terminal.
HOSTILE = 'x/\x1b[2J\r\nSet-Cookie: a=b\r\n\r\n{"seq":1}\nPRIORITY=0\u202e\u009b\\'


@pytest.fixture
def hook(tmp_path):
    made = []

    def make(**how):
        cert, key = make_certificate(tmp_path, f'hook-{len(made)}')
        made.append(Hook(cert, key, SECRET, **how).start())
        return made[-1]
    yield make
    for one in made:
        one.stop()


@pytest.fixture
def journal(tmp_path):
    one = Journal(tmp_path / 'journal')
    yield one.start()
    one.stop()


def exporting(make_fortress, *sinks, ca=None):
    one = make_fortress(listeners=('mqtts',), start=False)
    (one.dir / 'hook.secret').write_text(SECRET + '\n')
    if ca:
        (one.dir / 'hook-ca.pem').write_bytes(ca.read_bytes())
    with (one.dir / 'sallyport.yaml').open('a') as config:
        config.write('\nexport:\n' + ''.join(f'  - {{ {sink} }}\n' for sink in sinks))
    one.start()
    return one


def hook_sink(hook, more=''):
    return (f'name: soc, webhook: {{ url: "https://127.0.0.1:{hook.port}/in?x=1", secret_file: hook.secret, ca: hook-ca.pem }}{more}')


def trail(one):
    return [json.loads(line) for line in one.cli('audit', 'export').splitlines()]


def key_of(event):
    return tuple(str(event[key]) for key in ('category', 'principal', 'client_id', 'target', 'reason'))


def wait_all(one, records, key, timeout=30):
    """Until all that the trail has now is there, and no number is missing."""
    wanted = {key_of(event) for event in trail(one)}

    def is_whole():
        found = dict(records())
        return (wanted <= {key(record) for record in found.values()} and
                sorted(found) == list(range(min(found), max(found) + 1)))
    wait_until(f'{len(wanted)} records, and no number is missing', is_whole, timeout)


def make_noise(one, device, n, word):
    with paho_client.Paho(device) as client:
        for i in range(n):
            client.client.publish(f'{word}/{i}', b'x', qos=1)
        one.wait_event('acl_deny', target=f'{word}/{n - 1}')


def make_trouble(one, device):
    """A topic and a client id that try to be more than text."""
    text = HOSTILE.replace('\r', '\u0085').replace('\n', '\u2028')  # MQTT itself lets no C0 control in where it can
    for topic in (HOSTILE, text):
        with paho_client.Paho(device) as client:
            client.client.publish(topic, b'x', qos=1)
    one.wait_event('acl_deny', target=text)


def lines_of(path):
    """{number: record} of a file and what it was rotated to, as far as it stands still meanwhile."""
    found = {}
    for file in sorted(path.parent.glob(path.name + '*')):
        try:
            raw = file.read_bytes()
        except FileNotFoundError:
            continue
        for line in raw.split(b'\n')[:-1]:
            if line == TORN:
                continue
            assert all(0x20 <= byte < 0x7f for byte in line), line
            record = json.loads(line)
            found[record['metadata']['sequence'] if 'metadata' in record else record['seq']] = record
    return found


def test_a_webhook_has_everything_and_the_signature_verifies(make_fortress, hook):
    receiver = hook()
    one = exporting(make_fortress, hook_sink(receiver), ca=receiver.cert)
    one.apply(one.dir / 'policy.yaml')
    device = one.add()
    make_noise(one, device, 30, 'noise')
    make_trouble(one, device)
    wait_all(one, lambda: receiver.records, key_of)
    receiver.stop()
    make_noise(one, device, 20, 'gone')
    one.kill()
    one.start()
    receiver.start()
    wait_all(one, lambda: receiver.records, key_of)
    assert not receiver.forged and not receiver.refused
    headers, body = receiver.requests[0]
    assert headers['Host'] == f'127.0.0.1:{receiver.port}' and headers['Content-Type'] == 'application/json'
    assert set(headers) == {'Host', 'User-Agent', 'Content-Type', 'Content-Length', 'Sallyport-Timestamp', 'Sallyport-Signature'}
    assert body['sink'] == 'soc' and body['host'] == 'localhost'
    assert metrics(one)['sink_lost_total{sink="soc"}'] == 0
    assert not any(event['category'] == 'exposure' for event in trail(one)), 'the sandbox refused something'


def reject(one, word):
    """An event of severity alert: a configuration that is refused."""
    policy = one.dir / 'policy.yaml'
    text = policy.read_text()
    policy.write_text(f'{text}\n{word}: 1\n')
    one.process.send_signal(signal.SIGHUP)
    one.wait_event('config_reject', severity='alert', reason=re.compile(word))
    policy.write_text(text)


def test_only_alerts_reach_who_wants_only_alerts(make_fortress, hook):
    receiver = hook(protocol='HTTP/1.0')  # ends each connection
    one = exporting(make_fortress, hook_sink(receiver, ', only: alerts, format: ocsf'), ca=receiver.cert)
    device = one.add()
    make_noise(one, device, 3, 'noise')
    reject(one, 'first')
    wait_until('the alert', lambda: receiver.records)
    one.kill()
    one.start()
    reject(one, 'second')
    wait_until('the second', lambda: len(receiver.records) >= 2)
    assert {record['unmapped']['severity'] for record in receiver.records.values()} == {'alert'}
    assert metrics(one)['sink_lost_total{sink="soc"}'] == 0


def test_a_redirect_is_not_followed(make_fortress, hook):
    receiver = hook()
    receiver.answer = (301, {'Location': f'https://127.0.0.1:{receiver.port}/other'})
    one = exporting(make_fortress, hook_sink(receiver, ', silence: 2s'), ca=receiver.cert)
    one.add()
    reason = one.wait_event('sink', target='soc', severity='warning')[0]['reason']
    assert 'it answered 301' in reason and 'not followed' in reason
    one.wait_event('sink', target='soc', severity='alert')
    assert receiver.refused == 1 and not receiver.records, 'what is refused is asked again slowly'


def test_a_webhook_that_has_trouble_is_asked_again(make_fortress, hook):
    receiver = hook()
    receiver.answer = (503, {'Retry-After': '1'})
    one = exporting(make_fortress, hook_sink(receiver, ', silence: 2s'), ca=receiver.cert)
    one.add()
    reason = one.wait_event('sink', target='soc', severity='warning')[0]['reason']
    assert 'it answered 503' in reason
    one.wait_event('sink', target='soc', severity='alert')
    assert any(alert['category'] == 'sink' for alert in one.json('alerts'))
    assert receiver.refused >= 1 and not receiver.records
    receiver.answer = (204, {})
    one.wait_event('sink', target='soc', severity='notice', timeout=30)
    wait_all(one, lambda: receiver.records, key_of)
    wait_until('the alert to close', lambda: not any(alert['category'] == 'sink' for alert in one.alerts()), 30)
    # The secret is read for each connection: a new one needs no restart.
    receiver.stop()
    wait_until('the end of its connections', lambda: not receiver.open)
    receiver.secret = 'new' * 20
    (one.dir / 'hook.secret').write_text(receiver.secret)
    receiver.start()
    device = one.add()
    make_noise(one, device, 2, 'again')
    wait_all(one, lambda: receiver.records, key_of, timeout=60)


def test_a_file_is_rotated_and_loses_nothing(make_fortress, tmp_path):
    path = tmp_path / 'trail.jsonl'
    one = exporting(make_fortress, f'name: lines, file: {path}, rotate_bytes: 16384, keep_files: 60',
                    f'name: ocsf, file: {tmp_path / "ocsf.jsonl"}, format: ocsf')
    one.apply(one.dir / 'policy.yaml')
    device = one.add()
    make_noise(one, device, 30, 'first')
    make_trouble(one, device)
    wait_all(one, lambda: lines_of(path), key_of)
    one.kill()
    path.write_bytes(path.read_bytes() + TORN)  # as a crash of the machine may leave it
    one.start()
    make_noise(one, device, 30, 'second')
    wait_all(one, lambda: lines_of(path), key_of)
    assert path.with_name('trail.jsonl.1').exists()
    assert path.stat().st_mode & 0o777 == 0o640
    ocsf = lines_of(tmp_path / 'ocsf.jsonl')
    assert {record['metadata']['uid'] for record in ocsf.values()} >= {record['leaf'] for number, record in lines_of(path).items()
                                                                      if number in ocsf}
    assert not any(event['category'] == 'exposure' for event in trail(one)), 'the sandbox refused something'


def test_a_file_that_cannot_be_written_is_told_of(make_fortress, tmp_path):
    path = tmp_path / 'later' / 'trail.jsonl'
    one = exporting(make_fortress, f'name: lines, file: {path}, silence: 2s')
    one.add()
    assert 'cannot be opened' in one.wait_event('sink', target='lines', severity='warning')[0]['reason']
    one.wait_event('sink', target='lines', severity='alert')
    path.parent.mkdir()
    one.wait_event('sink', target='lines', severity='notice', timeout=30)
    wait_all(one, lambda: lines_of(path), key_of)


def test_journald_has_fields(make_fortress, journal):
    one = exporting(make_fortress, f'name: journal, journald: {journal.path}, silence: 2s')
    one.apply(one.dir / 'policy.yaml')
    device = one.add()
    make_noise(one, device, 20, 'noise')
    make_trouble(one, device)

    def key(fields):
        return tuple(fields[f'SALLYPORT_{name}'] for name in ('CATEGORY', 'PRINCIPAL', 'CLIENT_ID'))

    def is_there():
        wanted = {tuple(str(event[name]) for name in ('category', 'principal', 'client_id')) for event in trail(one)
                  if event['client_id'].isprintable()}
        return wanted <= {key(fields) for fields in list(journal.records.values())}
    wait_until('all of it', is_there, 30)
    numbers = sorted(journal.records)
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert all(fields['SYSLOG_IDENTIFIER'] == 'sallyport' and fields['PRIORITY'] in '1456' for fields in journal.records.values())
    journal.stop()
    make_noise(one, device, 5, 'gone')
    assert 'nothing takes records' in one.wait_event('sink', target='journal', severity='warning')[0]['reason']
    one.wait_event('sink', target='journal', severity='alert')
    journal.start()
    one.wait_event('sink', target='journal', severity='notice', timeout=30)
    wait_until('what was missed', lambda: any(fields['SALLYPORT_TARGET'] == 'gone/4' for fields in list(journal.records.values())), 30)
    numbers = sorted(journal.records)
    assert numbers == list(range(numbers[0], numbers[-1] + 1))


def test_check_refuses_what_is_not_safe(make_fortress, hook):
    receiver = hook()
    one = exporting(make_fortress, hook_sink(receiver), ca=receiver.cert)
    one.stop()
    config = one.dir / 'sallyport.yaml'
    text = config.read_text()
    config.write_text(text.replace('https://', 'http://'))
    with pytest.raises(Refused, match='url must begin with https://'):
        one.cli('check')
    config.write_text(text)
    one.cli('check')
    (one.dir / 'hook.secret').write_text('short')
    with pytest.raises(Refused, match='openssl rand'):
        one.cli('check')


def test_the_shell_example_verifies(tmp_path):
    """As docs/EXPORT.md has it, with openssl."""
    document = (make_root() / 'docs' / 'EXPORT.md').read_text()
    script = re.search(r'```sh\n(# verify.*?)```', document, re.DOTALL)[1]
    (tmp_path / 'hook.secret').write_text(SECRET + '\n')
    (tmp_path / 'body.json').write_bytes(b'{"records":[]}')
    for body_signed, code in ((b'{"records":[]}', 0), (b'{"records":[1]}', 1)):
        run = subprocess.run(['sh', '-c', script], cwd=tmp_path, timeout=20, check=False, capture_output=True, text=True,
                             env={'PATH': '/usr/bin:/bin', 'timestamp': '1795334400',
                                  'signature': signature(SECRET, '1795334400', body_signed)})
        assert run.returncode == code, run


def make_root():
    from harness.fortress import ROOT
    return ROOT
