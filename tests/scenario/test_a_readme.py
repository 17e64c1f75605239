"""a: the first five minutes of README.md, typed as they stand there: only the ports are other ones, and the loopback's."""
import os
import re
import subprocess

import pytest

from harness import coap
from harness.fortress import BINARY, ROOT
from harness.ports import free_ports
from harness.wait import wait_until

pytestmark = pytest.mark.release


def lines_of(chapter):
    """What is to be typed there, in order."""
    text = (ROOT / 'README.md').read_text().split(f'## {chapter}\n')[1].split('\n## ')[0]
    blocks = re.findall(r'```sh\n(.*?)```', text, re.S)
    return [line for block in blocks for line in block.splitlines()]


def test_the_first_five_minutes_are_as_the_readme_says(tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / 'build').mkdir()
    os.symlink(BINARY, tmp_path / 'build/sallyport')
    ports = free_ports(('mqtts', 'coaps'))
    listens = ' '.join(f'--listen {name}=127.0.0.1:{port}' for name, port in ports.items())

    def typed(line):
        line = line.replace('-p 8883 ', f'-p {ports["mqtts"]} ').replace('coaps://localhost/', f'coaps://127.0.0.1:{ports["coaps"]}/')
        return line.replace('mosquitto_sub ', 'stdbuf -oL mosquitto_sub -C 2 -W 30 ')

    def run(line):
        done = subprocess.run(['bash', '-c', typed(line)], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
                              stdin=subprocess.DEVNULL)
        # doctor judges the machine as well.
        assert done.returncode == 0 or (' doctor' in line and done.returncode == 1), (line, done)
        return done.stdout

    make, serve, *rest = lines_of('The first five minutes')
    run(make.replace('quickstart plant', f'quickstart plant {listens}'))
    daemon = subprocess.Popen(['bash', '-c', 'exec ' + serve], cwd=tmp_path, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    heard, watch = tmp_path / 'heard', None
    try:
        while daemon.stderr.readline().strip() != 'ready':
            assert daemon.poll() is None
        for line in rest:
            if line.endswith('&'):
                with open(heard, 'w', encoding='utf-8') as out:
                    watch = subprocess.Popen(['bash', '-c', 'exec ' + typed(line.removesuffix('&'))], cwd=tmp_path, stdout=out,
                                             stdin=subprocess.DEVNULL)
                wait_until('the subscription', lambda: re.search(r'sallyport_subscriptions [1-9]', run(
                    'build/sallyport -C plant metrics')), 15, pause=0.2)
            elif 'coap-client' not in line or 'coap-client-openssl' in coap.BUILDS:
                run(line)
        wait_until('the messages', lambda: ('bar 2.2' in heard.read_text()) or 'coap-client-openssl' not in coap.BUILDS)
        assert 'sensors/hall/pump-1/bar 2.1\n' in heard.read_text()
        assert (tmp_path / 'plant.spb').exists()
    finally:
        if watch is not None:
            watch.terminate()
            watch.wait(10)
        daemon.terminate()
        _, said = daemon.communicate(timeout=15)
    assert daemon.returncode == 0, said
