"""m: the scribe: a process of its own writes the audit trail; what it survives, and what it refuses a broker that is not ours."""
import json
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from harness import scribe as own
from harness.fortress import BINARY, metrics
from harness.wait import wait_until

pytestmark = pytest.mark.release


def verify(one, *options):
    done = one.cli('--json', 'audit', 'verify', *options, check=False)
    report = json.loads(done.stdout)
    return report, [finding for finding in report['findings'] if finding['bad']]


def exported(one):
    return [json.loads(line) for line in one.cli('audit', 'export').splitlines()]


def theirs(lines):
    """Without what the scribe says itself."""
    return [line for line in lines if 'by' not in line]


def kill_part(one, what, since):
    pid = one.part(what)
    os.kill(pid, signal.SIGKILL)
    one.wait_log(f'the {what} serves again', since, timeout=60)
    assert one.part(what) != pid


def test_killed_in_a_loop_under_load_nothing_is_lost_or_twice(make_fortress):
    """Each device that is added is one event of its own name."""
    one = make_fortress(listeners=('mqtts',))
    broker = one.processes()[1]
    names, over = [], threading.Event()

    def load():
        while not over.is_set():
            names.append(one.add('sensor', credentials=('psk',)).name)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        for _ in range(5):
            kill_part(one, 'scribe', len(one.log))
    finally:
        over.set()
        thread.join()
    assert one.processes()[1] == broker
    wait_until('nothing to wait', lambda: one.json('status')[0]['scribe']['pending'] == 0, 30)
    assert one.json('status')[0]['audit_lost'] == 0
    numbers = metrics(one)
    assert numbers['audit_pending'] == 0 and numbers['audit_lost_total'] == 0
    assert numbers['audit_scribe_restarts_total'] == 5, 'also those that died before they heard anything'
    remembered = one.events(1000)
    one.stop()
    lines = theirs(exported(one))
    assert lines[:len(remembered)] == remembered, 'in order, each once'
    added = [line['target'] for line in lines if line['category'] == 'device_change']
    assert sorted(name for name in added if name in names) == sorted(names)
    report, bad = verify(one)
    assert report['ok'] and not bad


def test_a_killed_broker_is_written_down_by_the_scribe(make_fortress):
    one = make_fortress(listeners=('mqtts',))
    before = [one.add('sensor', credentials=('psk',)).name for _ in range(3)]
    wait_until('nothing to wait', lambda: one.json('status')[0]['scribe']['pending'] == 0, 30)
    scribe = one.part('scribe')
    since = len(one.log)
    os.kill(one.processes()[1], signal.SIGKILL)
    one.wait_log('the broker serves again', since, timeout=60)
    assert one.part('scribe') == scribe
    after = one.add('sensor', credentials=('psk',)).name
    one.stop()
    lines = exported(one)
    words = [line['reason'] for line in lines if line.get('by') == 'scribe']
    assert any('the broker ended by signal 9' in word and 'number 2' in word for word in words), words
    assert any(word.startswith('a broker begins to write: number 2') for word in words), words
    assert words[-1].startswith('the scribe stops in order')
    targets = [line['target'] for line in theirs(lines) if line['category'] == 'device_change']
    assert [name for name in targets if name in (*before, after)] == [*before, after]
    assert verify(one)[0]['ok']


def test_a_scribe_that_hangs_is_an_alert_is_replaced_and_loses_nothing(make_fortress):
    one = make_fortress(listeners=('mqtts',))
    scribe = one.part('scribe')
    since = len(one.log)
    os.kill(scribe, signal.SIGSTOP)
    names = [one.add('sensor', credentials=('psk',)).name for _ in range(3)]
    wait_until('the alert', lambda: [a for a in one.alerts() if 'does not write the audit trail' in json.dumps(a)], 30, pause=0.1)
    status = one.json('status')[0]['scribe']
    assert status['behind'] and status['pending'] >= 3
    assert 'BEHIND' in one.cli('status')
    one.wait_log('the scribe has not answered for', since, timeout=90)
    one.wait_log('the scribe serves again', since, timeout=60)
    assert one.part('scribe') not in (None, scribe)
    wait_until('nothing to wait', lambda: not one.json('status')[0]['scribe']['pending'], 60)
    wait_until('no alert', lambda: not [a for a in one.alerts() if 'does not write the audit trail' in json.dumps(a)], 60)
    assert not one.json('status')[0]['scribe']['behind']
    one.stop()
    targets = [line['target'] for line in theirs(exported(one)) if line['category'] == 'device_change']
    assert [name for name in targets if name in names] == names


# ---- what it is, from outside ----

def test_it_is_closed_in(fortress):
    pid = fortress.part('scribe')
    status = Path(f'/proc/{pid}/status').read_text()
    assert 'NoNewPrivs:\t1' in status and 'CapEff:\t0000000000000000' in status
    if 'seccomp on' in fortress.wait_log('scribe: Landlock'):
        assert 'Seccomp:\t2' in status
    names = [os.readlink(entry) for entry in Path(f'/proc/{pid}/fd').iterdir()]
    assert len([name for name in names if name.startswith('socket:')]) <= 2 + 1, names  # supervisor, broker; a log's perhaps
    assert not [name for name in names if name.endswith('.key') or 'keyring' in name], names


def memory_of(pid):
    """All that the process can read of itself."""
    found = []
    with open(f'/proc/{pid}/mem', 'rb', 0) as memory:
        for row in Path(f'/proc/{pid}/maps').read_text().splitlines():
            at = re.match(r'([0-9a-f]+)-([0-9a-f]+) r', row)
            first, last = (int(text, 16) for text in at.groups()) if at else (0, 0)
            if not at or '[v' in row or last - first > 1 << 28:  # the shadow of a sanitizer has no secrets
                continue
            try:
                memory.seek(first)
                found.append(memory.read(last - first))
            except (OSError, OverflowError, ValueError):
                continue
    return found


def test_the_broker_has_neither_the_secret_nor_the_folder(make_fortress):
    """The secret is what the seed is sealed under, with the root that the broker has; it is looked for in all its memory."""
    one = make_fortress(listeners=('mqtts',))
    one.cli('audit', 'roll-key')
    secret = (one.dir / 'scribe/secret').read_bytes()
    assert len(secret) == 32
    for pid in one.processes()[:2]:
        if os.geteuid() != 0:
            pytest.skip('only root reads the memory of a process that is not dumpable')
        pages = memory_of(pid)
        assert sum(map(len, pages)) > 1 << 20
        assert not [page for page in pages if secret in page]
        names = [os.readlink(entry) for entry in Path(f'/proc/{pid}/fd').iterdir()]
        assert not [name for name in names if name.startswith((f'{one.dir}/audit', f'{one.dir}/scribe'))], names


# ---- a broker that is not ours ----

@pytest.fixture
def alone(tmp_path):
    """A scribe whose supervisor and broker is this test."""
    directory = tmp_path / 'fortress'
    subprocess.run([str(BINARY), 'init', str(directory), '--host', 'localhost'], check=True, capture_output=True)
    for folder in ('audit', 'scribe'):
        (directory / folder).mkdir(0o700)
    made = []

    def start(**how):
        made.append(own.OwnScribe(str(BINARY), str(directory), f'{directory}.key', **how))
        return made[-1]

    def run(*arguments):
        return subprocess.run([str(BINARY), '-C', str(directory), *arguments], check=True, capture_output=True, text=True).stdout

    start.directory, start.run = directory, run
    yield start


def test_a_broken_broker_can_only_append(alone):
    scribe = alone()
    assert scribe.welcome == (own.BEGUN, 0, 0, 0)
    assert scribe.append(9, 1, own.line(1)) == (own.WELCOME, 0, 0, 0), 'nobody has said hello'
    assert scribe.hello(9) == (own.WELCOME, 9, 0, 0)
    assert scribe.append(9, 1, *(own.line(n) for n in range(1, 11))) == (own.ACK, 9, 10, 0)
    assert scribe.append(9, 12, own.line(12)) == (own.REFUSED, 9, 10, 0), 'no number is left out'
    assert scribe.append(9, 3, own.line(333), own.line(444)) == (own.ACK, 9, 10, 0), 'nor written again'
    assert scribe.hello(10) == (own.REFUSED, 9, 10, 0), 'nor is it another broker'
    forged = [own.line(11, by='scribe'), b'{"time":"x","a":{"by":"scribe"}}\n', b'no line\n', b'{"time":"x"}\n{"time":"y"}\n']
    assert scribe.append(9, 11, *forged) == (own.ACK, 9, 14, 0)
    assert scribe.append(9, 15, own.line(15)) == (own.ACK, 9, 15, 0)
    kind, number, code, anchor = scribe.ask(own.ANCHOR, 5)
    assert (kind, number, code) == (own.DONE, 5, 0) and json.loads(anchor)['count'] > 12
    for message in (b'', b'\x07', b'\x02' + b'\xff' * 40, os.urandom(900), b'\x01' * 32768):
        scribe.broker.send(message or b'\0')
    assert scribe.append(9, 16, own.line(16)) == (own.ACK, 9, 16, 0)
    wait_until('its supervisor to hear of it', lambda: any('broken into' in reason for reason in scribe.events()))
    scribe.close()
    (alone.directory / 'anchor').write_bytes(anchor)
    report = json.loads(alone.run('--json', 'audit', 'verify', '--anchor', str(alone.directory / 'anchor')))
    assert report['ok'], report
    lines = [json.loads(text) for text in alone.run('audit', 'export').splitlines()]
    assert [line['n'] for line in lines if 'by' not in line] == [*range(1, 11), 15, 16]
    blame = [line['reason'] for line in lines if line['category'] == 'audit_integrity']
    assert blame and all('the broker sent the scribe' in reason for reason in blame) and len(blame) <= 6


def test_what_it_was_told_is_there_once_behind_its_death(alone):
    first = alone()
    assert first.hello(9)[0] == own.WELCOME
    for n in range(1, 101, 10):
        assert first.append(9, n, *(own.line(k) for k in range(n, n + 10)))[0] == own.ACK
    os.kill(first.pid, signal.SIGKILL)
    os.waitpid(first.pid, 0)
    second = alone(generation=1)
    assert second.welcome == (own.BEGUN, 9, 100, 0)
    assert second.append(9, 91, *(own.line(n) for n in range(91, 121))) == (own.ACK, 9, 120, 0)
    assert second.hello(10)[0] == own.REFUSED
    second.another_broker(2)
    assert second.hello(10) == (own.WELCOME, 10, 0, 0)
    second.close()
    lines = [json.loads(text) for text in alone.run('audit', 'export').splitlines()]
    assert [line['n'] for line in lines if 'by' not in line] == list(range(1, 121))
    assert any('the broker ended by signal 9' in line['reason'] for line in lines if 'by' in line)
    assert json.loads(alone.run('--json', 'audit', 'verify'))['ok']


def test_a_flood_fills_no_disk(alone):
    """40 MiB at once: it takes its burst, then says not yet, and goes on to answer."""
    scribe = alone()
    assert scribe.hello(9)[0] == own.WELCOME
    lines = [own.line(n, x='x' * 7900) for n in range(4)]
    last, code = 0, 0
    for _ in range(40 * 1024 * 1024 // (4 * 7960)):
        _, _, last, code = scribe.append(9, last + 1, *lines)
        if code != 0:
            break
    assert code != 0 and last < 40 * 1024 * 1024 // 7960
    size = sum(file.stat().st_size for file in (alone.directory / 'audit').iterdir())
    assert 30 << 20 < size < 36 << 20
    assert scribe.ask(own.ANCHOR)[2] == 0
    began = time.monotonic()
    rolled = [scribe.ask(own.ROLL_KEY, n)[2] for n in range(200)].count(0)
    assert rolled < 61 + time.monotonic() - began, 'nor keys without end: 60, and one each second'
    scribe.close()
    assert json.loads(alone.run('--json', 'audit', 'verify'))['ok']


def test_a_directory_of_the_version_before(make_fortress):
    """Its key lay beside the trail, under the root; another build made it, so only that it is taken over is seen here."""
    one = make_fortress(listeners=('mqtts',))
    one.add('sensor', credentials=('psk',))
    key = one.cli('audit', 'key').strip()
    one.stop()
    (one.dir / 'scribe/audit.head').rename(one.dir / 'audit.head')
    assert one.cli('audit', 'key').strip() == key, 'read where it was'
    one.start()
    assert not (one.dir / 'audit.head').exists() and (one.dir / 'scribe/audit.head').exists()
    one.stop()
    assert verify(one, '--key', key)[0]['ok']
