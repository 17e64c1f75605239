"""Trouble made on purpose: a small disk of its own under DIR/store, and system calls that fail (strace injects)."""
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from harness.wait import wait_until

SEGMENTS = 200  # of one test, at most


def run(*command):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


class SmallDisk:
    """A tmpfs of so many MiB in the place of DIR/store; give it to a fortress that is stopped."""

    def __init__(self, fortress, mebibytes):
        self.store, self.mebibytes = Path(fortress.dir) / 'store', mebibytes
        self.store.mkdir(mode=0o700, exist_ok=True)
        self.mounted = False
        before = self.store.with_name('store-before')
        owner = self.store.stat()
        shutil.copytree(self.store, before)
        how = self._mount()
        if how.returncode != 0:
            shutil.rmtree(before)
            pytest.skip(f'no file system can be mounted here (root, or a user namespace of one\'s own: `unshare -rm`): '
                        f'{how.stderr.strip()}')
        self.mounted = True
        os.chown(self.store, owner.st_uid, owner.st_gid)
        self.store.chmod(0o700)
        for path in before.iterdir():
            shutil.copy2(path, self.store)
            os.chown(self.store / path.name, owner.st_uid, owner.st_gid)
        shutil.rmtree(before)

    def _mount(self):
        return run('mount', '-t', 'tmpfs', '-o', f'size={self.mebibytes}m,mode=0700', 'sallyport-test', self.store)

    def free(self):
        at = os.statvfs(self.store)
        return at.f_bavail * at.f_frsize

    def fill(self):
        """Somebody else takes the room that is left, to the last page."""
        with open(self.store / 'somebody-elses', 'ab', buffering=0) as f:
            for n in (1 << 20, 1 << 16, 1 << 12):
                try:
                    while True:
                        f.write(b'x' * n)
                except OSError:
                    pass

    def relieve(self):
        (self.store / 'somebody-elses').unlink()

    def unmount(self):
        if self.mounted:
            self.mounted = run('umount', '-l', self.store).returncode != 0


class FailingDisk(SmallDisk):
    """An ext4 of its own, which `fail` makes read-only as the kernel does when it meets an error."""

    def _mount(self):
        self.image = self.store.with_name('store.img')
        with open(self.image, 'wb') as f:
            f.truncate(self.mebibytes << 20)
        made = run('mkfs.ext4', '-q', self.image)
        how = made if made.returncode != 0 else run('mount', '-o', 'loop,errors=remount-ro', self.image, self.store)
        if how.returncode == 0:
            device = Path(run('findmnt', '-n', '-o', 'SOURCE', self.store).stdout.strip()).name
            self.trigger = Path('/sys/fs/ext4') / device / 'trigger_fs_error'
        return how

    def fail(self):
        if not self.trigger.exists():
            pytest.skip(f'this kernel has no {self.trigger}')
        self.trigger.write_text('a test')

    def mend(self):
        """For a fortress that is stopped."""
        assert run('umount', self.store).returncode == 0
        assert run('e2fsck', '-fy', self.image).returncode in (0, 1)
        how = run('mount', '-o', 'loop', self.image, self.store)
        assert how.returncode == 0, how.stderr


class Traced:
    """Within it, strace holds the broker. `calls`: what it sees; `inject`: what it makes fail, as in strace -e inject=…;
    only_store: nothing but the files of DIR/store, and the folder. `text` of what it saw is there when it has ended."""

    def __init__(self, fortress, *inject, calls=(), only_store=True):
        self.pids, self.inject, self.calls = fortress.processes(), inject, calls
        self.process, self.log = None, fortress.home / 'strace.log'
        store = Path(fortress.dir) / 'store'
        self.paths = [store, *(store / f'{i:08x}.log' for i in range(1, SEGMENTS))] if only_store else []

    def __enter__(self):
        calls = {rule.split(':')[0] for rule in self.inject} | set(self.calls)
        command = ['strace', '-f', '-qq', '-yy', '-s', '0', '-o', str(self.log), '-e', f'trace={",".join(sorted(calls))}']
        for rule in self.inject:
            command += ['-e', f'inject={rule}']
        for path in self.paths:
            command += ['-P', str(path)]
        for pid in self.pids:
            command += ['-p', str(pid)]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                        text=True)
        wait_until('strace to hold the broker', lambda: self._is_attached() or self.process.poll() is not None)
        if self.process.poll() is not None:
            said = self.process.stderr.read().strip()
            assert 'invalid' not in said, said
            pytest.skip(f'strace cannot attach here: {said}')
        return self

    def _is_attached(self):
        for pid in self.pids:
            for task in Path(f'/proc/{pid}/task').iterdir():
                if 'TracerPid:\t0' in (task / 'status').read_text():
                    return False
        return True

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(10)

    @property
    def text(self):
        return self.log.read_text()

    @property
    def n_injected(self):
        return self.text.count('(INJECTED)')


class ShortFiles:
    """Within it no file of the broker may reach over `size`: a write that crosses it is short, and the next one fails."""

    def __init__(self, fortress, size):
        self.pid, self.size = fortress.processes()[1], size

    def _limit(self, what):
        """As the broker's own user: not every root may change the limits of another user's process."""
        status = Path(f'/proc/{self.pid}/status').read_text()
        uid, gid = (int(re.search(rf'^{key}:\s+(\d+)', status, re.M).group(1)) for key in ('Uid', 'Gid'))
        how = {} if uid == os.geteuid() else {'user': uid, 'group': gid, 'extra_groups': []}
        done = subprocess.run(['prlimit', f'--pid={self.pid}', f'--fsize={what}'], capture_output=True, text=True, check=False, **how)
        if done.returncode != 0:
            pytest.skip(f'the limits of the broker cannot be changed here: {done.stderr.strip()}')

    def __enter__(self):
        self._limit(f'{self.size}:')
        return self

    def __exit__(self, *_):
        self._limit('unlimited:')


CALL = re.compile(r'^(\d+) +(?:<\.\.\. )?(\w+)(?:\(| resumed>)(.*)$')


class Call:
    """A call as strace wrote it: `at` counts its end, `began` its begin, in lines; both are in the order of the kernel's
    stops."""

    def __init__(self, thread, name, text, began, at):
        self.thread, self.name, self.text, self.began, self.at = thread, name, text, began, at
        self.result = text.rsplit('= ', 1)[-1].split()[0]

    @property
    def n(self):
        return int(self.result)


def calls_of(text):
    """Finished calls, in the order in which they ended."""
    open_calls, done = {}, []
    for at, line in enumerate(text.splitlines()):
        found = CALL.match(line)
        if not found:
            continue
        thread, name, rest = found.groups()
        if rest.endswith('<unfinished ...>'):
            open_calls[thread] = (at, rest[:-len('<unfinished ...>')])
            continue
        began, head = open_calls.pop(thread, (at, '')) if ' resumed>' in line else (at, '')
        done.append(Call(thread, name, head + rest, began, at))
    return done
