"""e: the master key: replaced while serving, interrupted at any moment, kept by systemd; and nothing of it in a core dump."""
import os
import re
import shutil
import signal
import threading
from pathlib import Path

import pytest

from harness import mosquitto, wire
from harness.fortress import Refused
from harness.wait import wait_until
from harness.wire import PUBACK, Wire

pytestmark = pytest.mark.release


def key_of(fortress):
    return Path(f'{fortress.dir}.key')


def start_fails(fortress):
    """What `serve` says when it cannot start."""
    run = fortress.run('serve', fortress.dir, check=False, timeout=30)
    assert run.returncode == 1, run.stderr
    return run.stderr


class Load:
    """Somebody who publishes all the time, waits for each acknowledgement, and gets all of them on one connection."""

    def __init__(self, fortress, device):
        self.client, self.topic = Wire(fortress, device), f'status/{device.name}'
        self.client.login(device.name)
        self.n, self.error, self.is_over = 0, None, threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        try:
            while not self.is_over.is_set():
                self.client.send(wire.publish(self.topic, str(self.n), 1, self.n % 0xffff + 1, retain=True))
                assert self.client.expect(PUBACK, 30).reason in (0, 0x10)
                self.n += 1
        except Exception as error:
            self.error = error

    def goes_on(self):
        before = self.n
        wait_until('more of it', lambda: self.error or self.n > before + 5)
        assert self.error is None, self.error

    def __enter__(self):
        self.thread.start()
        self.goes_on()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.thread.join(40)
        self.client.close()
        assert self.error is None, self.error


def test_rotation_while_serving(make_fortress, tmp_path):
    fortress = make_fortress()
    sensor = fortress.add('sensor')
    old = key_of(fortress).read_bytes()
    with Load(fortress, sensor) as load:
        fortress.cli('master-key', 'rotate')
        load.goes_on()
    assert key_of(fortress).read_bytes() != old
    assert key_of(fortress).stat().st_mode & 0o777 == 0o600
    assert not Path(f'{key_of(fortress)}.new').exists()
    fortress.wait_event('credential_rotated', target='master key')
    # a broker that the supervisor starts again gets the new key
    since = len(fortress.log)
    os.kill(fortress.processes()[1], signal.SIGKILL)
    fortress.wait_log('the broker serves again', since, timeout=30)
    mosquitto.publish(sensor, f'status/{sensor.name}', 'up', qos=1)
    fortress.restart()
    mosquitto.publish(sensor, f'status/{sensor.name}', 'up', qos=1)
    # and the old one opens nothing
    fortress.stop()
    new = key_of(fortress).read_bytes()
    key_of(fortress).write_bytes(old)
    said = start_fails(fortress)
    assert 'does not open' in said and 'master key' in said
    key_of(fortress).write_bytes(new)
    fortress.start()


def test_an_interrupted_rotation_leaves_a_key_that_opens(make_fortress):
    """The daemon had sealed the keyring, and the new file did not come to its place any more."""
    fortress = make_fortress()
    key, spare = key_of(fortress), Path(f'{key_of(fortress)}.new')
    old = key.read_bytes()
    fortress.cli('master-key', 'rotate')
    shutil.copy(key, spare)  # as it was before the last step
    key.write_bytes(old)
    new = spare.read_bytes()
    fortress.stop()
    fortress.start()
    assert any('FILE.new' in line and 'master-key rotate' in line for line in fortress.log)
    fortress.cli('master-key', 'rotate')
    assert key.read_bytes() == new and not spare.exists()
    fortress.restart()
    assert not any('FILE.new' in line for line in fortress.log)


def test_an_interrupted_rotation_before_the_daemon_heard(make_fortress):
    fortress = make_fortress()
    key, spare = key_of(fortress), Path(f'{key_of(fortress)}.new')
    spare.write_bytes(os.urandom(32))
    spare.chmod(0o600)
    planned = spare.read_bytes()
    fortress.restart()
    assert fortress.cli('status')
    fortress.cli('master-key', 'rotate')
    assert key.read_bytes() == planned and not spare.exists()
    fortress.restart()


def test_a_wrong_file_is_refused(make_fortress, tmp_path):
    fortress = make_fortress()
    wrong = tmp_path / 'wrong.key'
    wrong.write_bytes(os.urandom(32))
    wrong.chmod(0o600)
    run = fortress.cli('master-key', 'rotate', '--master-key', wrong, check=False)
    assert run.returncode == 1 and 'not the master key in force' in run.stderr
    fortress.restart()


def test_a_key_of_ones_own(make_fortress, tmp_path):
    fortress = make_fortress()
    mine = tmp_path / 'mine.key'
    mine.write_bytes(os.urandom(32))
    mine.chmod(0o600)
    fortress.cli('master-key', 'rotate', '--new-key', mine)
    assert key_of(fortress).read_bytes() == mine.read_bytes()
    fortress.restart()


def test_a_key_that_systemd_keeps(make_fortress, tmp_path):
    fortress = make_fortress(start=False)
    credentials = tmp_path / 'credentials'
    credentials.mkdir()
    key_of(fortress).rename(credentials / 'sallyport.key')
    (credentials / 'sallyport.key').chmod(0o440)
    config = fortress.dir / 'sallyport.yaml'
    config.write_text(config.read_text() + 'master_key: credential:sallyport.key\n')
    said = start_fails(fortress)
    assert 'LoadCredentialEncrypted=sallyport.key' in said
    fortress.environment = {'CREDENTIALS_DIRECTORY': str(credentials)}
    fortress.start()
    with pytest.raises(Refused, match='systemd'):
        fortress.cli('master-key', 'rotate')
    fortress.restart()


def test_keys_stay_out_of_dumps_and_swap(make_fortress, sanitized):
    fortress = make_fortress()
    broker = Path(f'/proc/{fortress.processes()[1]}')
    limits = re.search(r'Max core file size\s+(\S+)\s+(\S+)', (broker / 'limits').read_text())
    assert limits.groups() == ('0', '0')
    # what may not be dumped belongs to root, whoever runs it
    assert (broker / 'environ').stat().st_uid == 0
    status = (broker / 'status').read_text()
    locked = int(re.search(r'VmLck:\s+(\d+) kB', status).group(1))
    assert locked > 0 or sanitized  # a sanitizer leaves mlock out
    master = key_of(fortress).read_bytes()
    wait_until('the master key to be forgotten', lambda: master not in memory_of(broker), timeout=5, pause=0.5)


def memory_of(process):
    """What can be read of a process by root; empty when not even root may."""
    out = b''
    try:
        with (process / 'mem').open('rb') as memory:
            for line in (process / 'maps').read_text().splitlines():
                span, rights = line.split()[:2]
                first, last = (int(x, 16) for x in span.split('-'))
                if 'rw' in rights and last - first <= 64 << 20:
                    try:
                        memory.seek(first)
                        out += memory.read(last - first)
                    except OSError:
                        continue
    except PermissionError:
        return b''
    return out
