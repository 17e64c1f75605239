"""Two hosts with a cable between them: a network namespace each, and nothing of it in that of the machine."""
import os
import shutil
import subprocess

import pytest

NEAR, NEAR_TOO, FAR = '10.77.0.1', '10.77.0.9', '10.77.0.2'


class Hosts:
    def __init__(self):
        if os.geteuid() != 0 or not shutil.which('ip'):
            pytest.skip('only root may make network namespaces, by ip')
        self.near, self.far = (f'sallyport-{os.getpid()}-{end}' for end in ('near', 'far'))
        self._made = []

    def __enter__(self):
        try:
            for name in (self.near, self.far):
                subprocess.run(['ip', 'netns', 'add', name], check=True, capture_output=True, text=True)
                self._made.append(name)
            self._ip(self.near, 'link', 'add', 'cable', 'type', 'veth', 'peer', 'name', 'cable', 'netns', self.far)
            for name, address in ((self.near, NEAR), (self.far, FAR)):
                self._ip(name, 'addr', 'add', f'{address}/24', 'dev', 'cable')
                for device in ('lo', 'cable'):
                    self._ip(name, 'link', 'set', device, 'up')
        except subprocess.CalledProcessError as error:
            self.__exit__()
            pytest.skip(f'no network namespace can be made here: {error.stderr.strip()}')
        return self

    @staticmethod
    def _ip(name, *arguments):
        subprocess.run(['ip', '-n', name, *arguments], check=True, capture_output=True, text=True)

    def one_more_address(self):
        """That the near host gets later."""
        self._ip(self.near, 'addr', 'add', f'{NEAR_TOO}/24', 'dev', 'cable')
        return NEAR_TOO

    def program(self, path, binary):
        """A script that runs the binary on the near host."""
        path.write_text(f'#!/bin/sh\nexec ip netns exec {self.near} {binary} "$@"\n')
        path.chmod(0o755)
        return path

    def on_far(self, *command):
        return subprocess.run(['ip', 'netns', 'exec', self.far, *map(str, command)], capture_output=True, text=True, timeout=30,
                              stdin=subprocess.DEVNULL, check=False)

    def __exit__(self, *_):
        for name in self._made:
            subprocess.run(['ip', 'netns', 'del', name], check=False, capture_output=True)
