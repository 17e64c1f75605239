"""m: the audit trail at a receiver elsewhere: nothing is missing there, whatever happens to it, to us and in between."""
import contextlib
import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from harness import paho_client
from harness.fortress import Refused, counted, metrics
from harness.rsyslog import Rsyslog
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
        one.wait_event('acl_deny', target=f'{word}/{n - 1}')


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
    wait_until('a connection', lambda: receiver.connections >= 1)
    receiver.ends_by = 'reset'
    wait_until('one that ends the other way', lambda: receiver.connections >= 2)
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
    one.wait_event('sink', target='siem', severity='alert')
    assert any(alert['category'] == 'sink' for alert in one.json('alerts'))
    assert not receiver.records
    # The certificate is read again for each connection.
    (one.dir / 'siem-ca.pem').write_bytes(receiver.cert.read_bytes())
    one.wait_event('sink', timeout=30, target='siem', severity='notice')
    wait_until('the alert to close', lambda: not any(alert['category'] == 'sink' and 'confirmed nothing' in alert['reason']
                                                     for alert in one.alerts()), 30)
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


@pytest.fixture
def rsyslog(tmp_path):
    cert, key = make_certificate(tmp_path, 'rsyslog')
    one = Rsyslog(tmp_path, cert, key).start()
    yield one
    one.stop()


def test_rsyslog_has_every_record(make_fortress, rsyslog):
    """Debian's rsyslog over TLS: what its parser found, when it stood still and when it was another."""
    one = exporting(make_fortress, rsyslog)
    one.apply(one.dir / 'policy.yaml')
    device = one.add()
    make_noise(one, device, 20, 'first')
    wait_all(one, rsyslog)
    rsyslog.hold()
    make_noise(one, device, 20, 'held "]\\')
    rsyslog.go_on()
    wait_all(one, rsyslog)
    rsyslog.stop()
    make_noise(one, device, 20, 'away')
    rsyslog.start()
    wanted = wait_all(one, rsyslog, 40)
    refused = {event[KEYS.index('target')] for event in wanted if event[KEYS.index('category')] == 'acl_deny'}
    assert len(refused) == 60
    assert metrics(one)['sink_lost_total{sink="siem"}'] == 0
    counted(one, 'sink_taken_total{sink="siem"}', len(wanted))


class Load:
    """Publishes that are refused, each to another topic, until it is ended. What one device is refused has its price, so there are some."""

    def __init__(self, *devices):
        self.devices, self.n, self.is_over = devices, 0, threading.Event()
        self.thread = threading.Thread(target=self._run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.thread.join()

    def _run(self):
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(paho_client.Paho(device)) for device in self.devices]
            while not self.is_over.wait(0.05):
                for one in clients * 3:
                    one.client.publish(f'load/{self.n}', b'x', qos=1)
                    self.n += 1


def by_number(one):
    """{number: leaf} of all that the trail has."""
    found = (parse_syslog(line) for line in one.cli('audit', 'export', '--format', 'syslog').splitlines())
    return {int(record['seq']): record['leaf'] for record in found}


def wait_in_order(one, receiver, timeout=60):
    """Each record of the trail is at the receiver, with its leaf; each came first in its turn."""
    wanted = by_number(one)
    wait_until(f'{len(wanted)} records in order', lambda: max(receiver.records, default=0) >= max(wanted), timeout, pause=0.3)
    got = receiver.records
    assert {seq: got[seq]['leaf'] for seq in wanted} == wanted
    assert list(got) == list(range(min(got), max(got) + 1))
    return wanted


def test_a_receiver_that_stands_still_under_load(make_fortress, rsyslog):
    """SALLYPORT_STANDSTILL: for how many seconds; a minute in full."""
    seconds = int(os.environ.get('SALLYPORT_STANDSTILL', '8'))
    one = exporting(make_fortress, rsyslog, silence='4s')
    one.apply(one.dir / 'policy.yaml')
    devices = [one.add() for _ in range(8)]
    wait_all(one, rsyslog)
    with Load(*devices) as load:
        wait_until('records of the load', lambda: any('load/' in str(record) for record in rsyslog.messages), 20)
        before = max(rsyslog.records)
        stood = time.monotonic()
        rsyslog.hold()
        one.wait_event('sink', timeout=40, target='siem', severity='alert')
        assert any(alert['category'] == 'sink' for alert in one.json('alerts'))
        wait_until('the end of the standstill', lambda: time.monotonic() - stood >= seconds, seconds + 30, pause=0.5)
        assert counted(one, 'sink_lag_seconds{sink="siem"}', 4) and counted(one, 'sink_lag_records{sink="siem"}', 1)
        n_waiting = max(by_number(one)) - before
        rsyslog.go_on()
        one.wait_event('sink', timeout=60, target='siem', severity='notice')
    wanted = wait_in_order(one, rsyslog)
    refused = sum('load/' in str(record) for record in rsyslog.records.values())
    print(f'stood still for {seconds} s: {n_waiting} records waited; {load.n} refusals, {refused} records of them; '
          f'{len(wanted)} records in order, {len(rsyslog.messages) - len(rsyslog.records)} repetitions')
    assert refused > 100
    assert metrics(one)['sink_lost_total{sink="siem"}'] == 0
    wait_until('the alert to close', lambda: not any(alert['category'] == 'sink' and 'confirmed nothing' in alert['reason']
                                                     for alert in one.alerts()), 30)


# ---- the process ----

def peers(pid):
    """The ports that a process has TCP connections to."""
    sockets = {os.readlink(entry) for entry in Path(f'/proc/{pid}/fd').iterdir()}
    rows = [line.split() for line in Path(f'/proc/{pid}/net/tcp').read_text().splitlines()[1:]]
    return {int(row[2].rpartition(':')[2], 16) for row in rows if f'socket:[{row[9]}]' in sockets and row[3] == '01'}


def test_the_courier_is_killed_and_hangs(make_fortress, siem):
    receiver = siem()
    one = exporting(make_fortress, receiver)
    one.apply(one.dir / 'policy.yaml')
    device = one.add()
    wait_all(one, receiver)
    broker, signer = one.processes()[1], one.signer()
    with Load(device) as load:
        for how in (signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP):
            since, n = len(one.log), load.n
            os.kill(one.courier(), how)
            if how == signal.SIGSTOP:
                one.wait_log('the courier has not answered for', since, timeout=60)
            one.wait_log('the courier serves again', since, timeout=60)
            wait_until('more refusals', lambda: load.n > n + 50, 20)
    wait_in_order(one, receiver)
    one.wait_event('crash_recovery', about='the courier')
    assert (one.processes()[1], one.signer()) == (broker, signer)
    counted(one, 'sink_taken_total{sink="siem"}', 51)
    numbers = metrics(one)
    assert numbers['sink_lost_total{sink="siem"}'] == 0
    # and the other way round: the courier outlives the broker, and goes on telling of itself
    courier, since = one.courier(), len(one.log)
    os.kill(broker, signal.SIGKILL)
    one.wait_log('the broker serves again', since, timeout=60)
    make_noise(one, device, 5, 'behind-it')
    wait_all(one, receiver)
    counted(one, 'sink_taken_total{sink="siem"}', 1)
    assert one.courier() == courier


def test_it_is_closed_in(make_fortress, siem):
    """What it may is proven by sandbox_proof; that it is in force here, and that the broker sends nothing away."""
    receiver = siem()
    one = exporting(make_fortress, receiver)
    receiver.hold()  # the connection stays
    one.add()
    wait_until('a connection', lambda: receiver.port in peers(one.courier()), 20)
    for pid in (one.process.pid, one.processes()[1], one.signer()):
        assert receiver.port not in peers(pid)
    status = Path(f'/proc/{one.courier()}/status').read_text()
    assert 'NoNewPrivs:\t1' in status and 'CapEff:\t0000000000000000' in status
    if 'seccomp on' in one.wait_log('courier: Landlock'):
        assert 'Seccomp:\t2' in status
    names = [os.readlink(entry) for entry in Path(f'/proc/{one.courier()}/fd').iterdir()]
    assert not [name for name in names if name.endswith('.key') or 'keyring' in name], names
    receiver.go_on()
    wait_all(one, receiver)
    wait_until('a place', lambda: (one.dir / 'courier' / 'siem').exists(), 20)


def test_a_reload_gives_it_other_sinks(make_fortress, siem, tmp_path):
    first, second = siem(), siem('ocsf')
    one = exporting(make_fortress, first)
    one.apply(one.dir / 'policy.yaml')
    device = one.add()
    wait_all(one, first)
    config = one.dir / 'sallyport.yaml'
    text = config.read_text()
    alone = text[:text.index('\nexport:')]

    def reload(more):
        since = len(one.log)
        config.write_text(alone + more)
        one.reload()
        return one.wait_log('reloaded', since)

    sink = '{{ name: {}, format: {}, to: "127.0.0.1:{}", ca: {} }}'
    one_sink = sink.format('siem', 'syslog', first.port, 'siem-ca.pem')
    two = sink.format('lake', 'ocsf', second.port, 'lake-ca.pem')
    # a file that is not there: nothing changes
    assert 'not reloaded' in reload(f'\nexport: [ {one_sink}, {two} ]\n')
    make_noise(one, device, 3, 'refused-reload')
    wait_all(one, first)
    (one.dir / 'lake-ca.pem').write_bytes(second.cert.read_bytes())
    reload(f'\nexport: [ {one_sink}, {two} ]\n')
    wait_all(one, second)
    make_noise(one, device, 3, 'both')
    wait_all(one, first)
    wait_all(one, second)
    # another receiver, and a new file in the place of the old one
    third = siem('ocsf')
    (tmp_path / 'new.pem').write_bytes(third.cert.read_bytes())
    reload(f'\nexport: [ {one_sink}, {sink.format("lake", "ocsf", third.port, "lake-ca.pem")} ]\n')
    one.wait_event('sink', target='lake', severity='warning')
    os.replace(tmp_path / 'new.pem', one.dir / 'lake-ca.pem')
    make_noise(one, device, 3, 'new-file')
    wait_until('what came since', lambda: any('new-file/2' in str(record) for record in list(third.records.values())), 40)
    # none: no process, and its numbers have gone
    reload('\n')
    wait_until('no courier', lambda: one.courier() is None, 20)
    wait_until('no numbers of a sink', lambda: not [name for name in metrics(one) if name.startswith('sink_')])
    make_noise(one, device, 3, 'nobody')
    reload(f'\nexport: [ {one_sink} ]\n')
    wait_all(one, first)
