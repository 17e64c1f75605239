"""e: a backup under load, restored elsewhere; what is at rest shows nothing to who has no keys."""
import json
import re
import shutil
import socket
import threading

import pytest
from harness.fortress import Device, Refused
from harness.paho_client import Paho
from harness.wait import wait_until

pytestmark = pytest.mark.release

N = 10


def payload_of(device):
    return f'queued-payload-{device.name}'


class Load:
    """Publishers that go on until told to stop; each publish is acknowledged before the next."""

    def __init__(self, devices):
        self.counts, self._stop, self._threads = [0] * len(devices), threading.Event(), []
        for i, device in enumerate(devices):
            self._threads.append(threading.Thread(target=self._publish, args=(i, device), daemon=True))
            self._threads[-1].start()

    def _publish(self, i, device):
        with Paho(device) as client:
            while not self._stop.is_set():
                client.publish(f'sensors/north/{device.name}/load', f'loaded-payload-{self.counts[i]}')
                self.counts[i] += 1
            client.client.disconnect()

    def wait_more(self, n):
        before = sum(self.counts)
        wait_until('the publishers to go on', lambda: sum(self.counts) >= before + n, 30)

    def stop(self):
        self._stop.set()
        for one in self._threads:
            one.join(20)
            assert not one.is_alive()


@pytest.fixture(scope='module')
def story(tmp_path_factory):
    """A fortress with ten sleeping devices that have something queued, and a backup of it, made under load."""
    from harness.fortress import Fortress
    one = Fortress(settings=('publish_rate=1000/s',))
    one.backup = one.home / 'b.spb'
    one.sleepers = [one.add(credentials=('x509', 'password', 'psk')) for _ in range(N)]
    one.gone = one.add(name='gone-1')
    one.console = one.add(role='console')
    for device in [*one.sleepers, one.gone]:
        with Paho(device, session_expiry=3600) as client:
            assert client.subscribe(f'commands/{device.name}/#') == [1]
            client.client.disconnect()
            assert client._closed.wait(10)
    with Paho(one.console) as client:
        for device in [*one.sleepers, one.gone]:
            client.publish(f'commands/{device.name}/set', payload_of(device))
        client.client.disconnect()
    with Paho(one.sleepers[0], client_id=one.sleepers[0].name, clean=False, session_expiry=3600) as client:
        assert client.get().payload.decode() == payload_of(one.sleepers[0])  # this one has nothing queued any more
        client.publish(f'status/{one.sleepers[0].name}', 'retained-payload', retain=True)
        client.client.disconnect()
    with Paho(one.gone, clean=False, session_expiry=3600) as client:
        client.publish(f'status/{one.gone.name}', 'retained-of-the-gone', retain=True)
        client.client.disconnect()
    load = Load([one.add(), one.add()])
    load.wait_more(20)
    one.made = one.json('backup', one.backup)[0]
    load.wait_more(20)
    load.stop()
    yield one
    one.close()


def verify(story, *options, backup=None):
    return story.json('restore', backup or story.backup, '--verify', *options)[0]


def test_verify_says_what_is_in_it(story):
    what = verify(story)
    assert what['ok'] and what['damaged'] == what['missing'] == what['erased'] == 0
    assert what['devices'] == N + 4
    assert what['sessions'] >= N + 1
    assert what['queued'] >= N - 1
    assert what['retained'] == 2
    assert what['audit_lines'] > 20
    assert story.made['bytes'] < 20 << 20  # what is reserved and not written is not copied
    assert not (story.home / 'b.spb.part').exists()
    assert story.backup.stat().st_mode & 0o777 == 0o600


def test_another_backup_waits_for_none(story):
    """The one before let the segments go, and an existing file is not touched."""
    with pytest.raises(Refused, match='is there already'):
        story.cli('backup', story.backup)
    second = story.home / 'second.spb'
    story.cli('backup', second)
    assert verify(story, backup=second)['ok']


def test_restored_elsewhere(story, make_fortress):
    other = make_fortress(start=False)
    shutil.rmtree(other.dir)
    (other.home / 'fortress.key').unlink()
    other.cli('restore', story.backup)
    assert not (other.dir / 'run').exists()
    config = other.dir / 'sallyport.yaml'
    text = config.read_text()
    for name, port in story.ports.items():
        assert f':{port}"' in text
        text = text.replace(f':{port}"', f':{other.ports[name]}"')
    config.write_text(text)
    other.start()
    hits = other.wait_event('crash_recovery', reason=re.compile('restored from a backup of ' + story.made['made']))
    assert len(hits) == 1 and hits[0]['severity'] == 'notice'
    for device in story.sleepers[1:]:
        with Paho(Device(other, device.name, device.role, device.bundle), clean=False, session_expiry=3600) as client:
            assert client.connack == 0 and client.flags['session present'] == 1
            assert client.get().payload.decode() == payload_of(device)
            client.client.disconnect()
    with Paho(Device(other, story.console.name, 'console', story.console.bundle)) as client:
        client.subscribe('status/#')
        assert {client.get().payload for _ in range(2)} == {b'retained-payload', b'retained-of-the-gone'}
        client.client.disconnect()
    # The trail goes on behind what the backup had of it.
    lines = other.events()
    assert any(line['category'] == 'device_change' and line['target'] == story.sleepers[0].name for line in lines)
    other.restart()
    assert sum('restored from a backup' in line['reason'] for line in other.events()) == 1


def test_nothing_at_rest_is_readable(story):
    device = story.sleepers[1]
    secrets = [device.name, story.console.name, 'commands/', 'sensors/', 'status/', 'queued-payload', 'loaded-payload',
               'retained-payload', device.password, device.psk]
    files = [story.backup, *(story.dir / 'store').iterdir(), *(story.dir / 'audit').iterdir()]
    assert len(files) > 3
    for path in files:
        data = path.read_bytes()
        assert len(data) > 100
        for secret in secrets:
            assert secret.encode() not in data, f'{secret} in {path}'


def test_what_is_damaged_is_refused(story):
    data = bytearray(story.backup.read_bytes())
    bad = story.home / 'bad.spb'
    for at in (3, 60, len(data) // 2, len(data) - 1):
        data[at] ^= 16
        bad.write_bytes(data)
        with pytest.raises(Refused, match='bad.spb'):
            verify(story, backup=bad)
        data[at] ^= 16
    for n in (0, 7, 50, len(data) // 2, len(data) - 1):
        bad.write_bytes(data[:n])
        with pytest.raises(Refused, match='bad.spb'):
            verify(story, backup=bad)


def test_refusals_name_the_file_and_the_fix(story, make_fortress):
    place = story.home / 'place'
    place.mkdir()
    (place / 'something').write_text('here')
    with pytest.raises(Refused, match='not empty'):
        story.run('-C', place, 'restore', story.backup)
    assert [one.name for one in place.iterdir()] == ['something']
    stranger = make_fortress(start=False)
    with pytest.raises(Refused, match='another one|does not open'):
        verify(story, '--keyring', stranger.dir / 'keyring')
    with pytest.raises(Refused, match='does not open the keyring'):
        verify(story, '--master-key', stranger.home / 'fortress.key')
    with pytest.raises(Refused, match='--keyring FILE'):
        verify(story, '--keyring', story.home / 'nowhere')
    with pytest.raises(Refused, match='another one'):
        verify(story, '--keyring', stranger.dir / 'keyring', '--master-key', stranger.home / 'fortress.key')


def test_who_was_removed_since_stays_removed(story):
    story.cli('device', 'remove', story.gone.name)
    wait_until('the key to go', lambda: verify(story)['erased'] > 0, 20, pause=0.5)
    what = verify(story)
    assert what['ok'] and what['damaged'] == 0
    assert what['devices'] == N + 3 and what['retained'] == 1


def test_without_a_daemon(story):
    story.stop()
    off = story.home / 'off.spb'
    story.cli('backup', off)
    what = verify(story, backup=off)
    assert what['ok'] and what['devices'] == N + 3


# ---- one backup at a time ----

def test_a_backup_that_is_killed_holds_nothing(make_fortress):
    one = make_fortress(listeners=('mqtts',))
    holder = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    holder.connect(str(one.dir / 'run' / 'control.sock'))
    holder.sendall(b'{"verb":"backup.pin","args":{}}\n')
    assert json.loads(holder.makefile().readline())['segments']
    with pytest.raises(Refused, match='another backup is being made'):
        one.cli('backup', one.home / 'b.spb')
    assert not list(one.home.glob('b.spb*'))
    holder.close()  # as a killed process does
    wait_until('the hold to end', lambda: one.cli('backup', one.home / 'b.spb', check=False).returncode == 0)


# ---- the trail ----

def test_a_damaged_trail_is_read_and_said(make_fortress):
    one = make_fortress(listeners=('mqtts',))
    for _ in range(5):
        one.add()
    one.stop()
    trail = sorted((one.dir / 'audit').iterdir())[-1]
    data = bytearray(trail.read_bytes())
    data[len(data) // 2] ^= 1
    trail.write_bytes(data)
    one.start()
    hit = one.wait_event('audit_integrity')[0]
    assert hit['target'] == f'audit/{trail.name}' and '1 lines missing' in hit['reason']
    assert one.json('alerts')[0]['category'] == 'audit_integrity'
    assert sum(event['category'] == 'device_change' for event in one.events()) >= 4
    what = one.cli('backup', one.home / 'b.spb') and one.cli('--json', 'restore', one.home / 'b.spb', '--verify', check=False)
    assert what.returncode == 1 and json.loads(what.stdout)['damaged'] == 1


def test_a_trail_in_the_clear_is_sealed_once(make_fortress):
    one = make_fortress(listeners=('mqtts',), start=False)
    line = {'time': '2026-01-01T00:00:00.000Z', 'category': 'connect', 'severity': 'info', 'principal': 'old-meter', 'client_id': '-',
            'peer': '-', 'listener': '-', 'protocol': 'mqtt', 'target': '-', 'reason': 'from before', 'count': 1}
    (one.dir / 'audit.jsonl.1').write_text(json.dumps(line) + '\n')
    (one.dir / 'audit.jsonl').write_text(json.dumps({**line, 'principal': 'newer-meter'}) + '\n{"torn')
    one.start()
    lines = [json.loads(text) for text in one.cli('audit', 'export').splitlines()]
    assert [line['principal'] for line in lines if 'by' not in line][:2] == ['old-meter', 'newer-meter']
    assert not list(one.dir.glob('audit.jsonl*'))
    one.restart()
    assert sum(event['reason'] == 'from before' for event in one.events()) == 2
