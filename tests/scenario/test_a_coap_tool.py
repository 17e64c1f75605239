"""a: `sallyport coap` with large values and observation, against our daemon and against Debian's coap-server."""
import json
import re
import shutil
import socket
import subprocess

import pytest

from harness import coap, coap_cli
from harness.coap_message import GET, OBSERVE, PUT
from harness.coap_peer import Peer
from harness.fortress import BINARY
from harness.wait import wait_until

pytestmark = pytest.mark.release
SERVERS = [name for name in ('coap-server-openssl', 'coap-server-gnutls') if shutil.which(name)]


def text_of(n, word='x'):
    return ''.join(f'{word}{i:07d}' for i in range(n // 8 + 1))[:n]


def place(device, uri):
    if '://' not in uri:
        uri = f'coaps://localhost:{device.fortress.ports["coaps"]}/mq/lamps/{device.name}/{uri}'
    return uri, '--bundle', str(device.bundle)


def run(device, method, uri, *more, **how):
    return coap_cli.run(method, *place(device, uri), *more, **how)


def observing(device, uri, *more):
    return coap_cli.Observing('observe', *place(device, uri), *more)


@pytest.fixture
def lamp(fortress):
    return fortress.add('lamp', credentials=('psk', 'x509'))


@pytest.mark.parametrize('credential', ['psk', 'x509'])
def test_large_values_go_up_and_come_down(fortress, tmp_path, credential):
    lamp = fortress.add('lamp', credentials=(credential,))
    for n in (1024, 1025, 40000):
        (tmp_path / 'body').write_text(text_of(n))
        run(lamp, 'put', 'large', '-f', str(tmp_path / 'body'))
        assert run(lamp, 'get', 'large').stdout == text_of(n) + '\n'


@pytest.mark.parametrize('size', [16, 128, 1024])
def test_the_size_of_blocks(lamp, size):
    body = text_of(2000 if size == 16 else 5000)
    run(lamp, 'put', 'sized', '-b', str(size), '-f', '-', data=body)
    assert run(lamp, 'get', 'sized', '-b', str(size)).stdout == body + '\n'
    assert 'block' in run(lamp, 'get', 'sized', '-b', '100', exit_code=2).stderr


def test_what_is_too_large_or_not_wanted_is_said(fortress, lamp):
    refused = run(lamp, 'put', 'over', '-f', '-', data=text_of(70000), exit_code=1)
    assert '4.13' in refused.stderr and 'Size1' in refused.stderr
    run(lamp, 'put', 'typed', '-e', '{}', '-t', 'application/json')
    assert '4.06' in run(lamp, 'get', 'typed', '-A', 'text/plain', exit_code=1).stderr
    assert run(lamp, 'get', 'typed', '-A', '50').stdout == '{}\n'


def test_json_lines(lamp):
    body = text_of(3000)
    run(lamp, 'put', 'told', '-t', '0', '-f', '-', data=body)
    told = json.loads(run(lamp, 'get', 'told', '--json').stdout)
    assert (told['code'], told['format'], told['bytes'], told['payload']) == ('2.05', 0, 3000, body)
    assert len(told['etag']) == 16
    run(lamp, 'delete', 'told')


def test_observers_print_whole_states(lamp):
    run(lamp, 'put', 'seen', '-f', '-', data=text_of(3000, 'a'))
    with observing(lamp, 'seen') as seen, Peer(lamp) as writer:
        assert seen.get() == text_of(3000, 'a')
        for state in (b'short', b'shorter'):
            assert writer.ask(PUT, f'mq/lamps/{lamp.name}/seen', state).text == '2.04'
            assert seen.get() == state.decode()
        for word in 'bcd':
            run(lamp, 'put', 'seen', '-f', '-', data=text_of(4000, word))
            assert seen.get() == text_of(4000, word)
    with observing(lamp, 'seen', '-b', '64', '--json') as seen:
        assert json.loads(seen.get())['payload'] == text_of(4000, 'd')


def test_observing_ends_at_its_time_and_deregisters(fortress, lamp):
    run(lamp, 'put', 'timed', '-e', 'now')
    assert run(lamp, 'observe', 'timed', '-s', '1').stdout == 'now\n'
    with Peer(lamp) as peer:
        assert peer.ask(GET, f'mq/lamps/{lamp.name}/timed', options=[(OBSERVE, 0)]).option(OBSERVE) is not None


@pytest.mark.skipif(not coap.BUILDS, reason='libcoap3-bin is not installed')
def test_what_coap_client_takes_is_taken_or_explained(tmp_path):
    """Each option of its own usage text, of both builds."""
    rows = set()
    for build in coap.BUILDS:
        usage = subprocess.run([build], capture_output=True, text=True, check=False)
        rows |= set(re.findall(r'^\t(-[a-zA-Z])( \S+)?', usage.stdout + usage.stderr, re.M))
    assert len(rows) > 25
    for name, value in sorted(rows):
        done = subprocess.run([str(BINARY), 'coap', 'get', 'coaps://127.0.0.1:1/x', '-k', '0123456789abcdef', '-u', 'me', '-B', '1',
                               name, *(['1'] if value else [])], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        told = done.stderr.split('\n')[0]
        assert 'unknown' not in told and 'needs a value' not in told, (name, told)
        if done.returncode == 2:
            assert name in done.stderr or '--insecure' in done.stderr, (name, done.stderr)


def test_the_flags_at_work(lamp, tmp_path):
    at = f'coaps://localhost:{lamp.fortress.ports["coaps"]}/mq/lamps/{lamp.name}/flagged'
    as_client = ['-u', lamp.name, '-k', lamp.psk]
    coap_cli.run('-m', 'put', at, *as_client, '-t', '0', '-e', 'on')
    done = coap_cli.run(at, *as_client, '-o', str(tmp_path / 'out'), '-v', '6', '-a', '127.0.0.1', '-U', '-w', '-N')
    assert (tmp_path / 'out').read_bytes() == b'on' and done.stdout == ''
    assert re.search(r'^> NON 0\.01 .* options( 11){4}$', done.stderr, re.M) and re.search(r'^< NON 2\.05 ', done.stderr, re.M)
    assert '4.02' in coap_cli.run('get', at, *as_client, '-O', '2049,x', exit_code=1).stderr, 'a critical option nobody knows'
    coap_cli.run('get', at, *as_client, '-O', '2048,0x00ff')
    assert coap_cli.run('get', at, *as_client, '-s', '1', '-K', '1').stdout == 'on\n'
    with_cert = ['-c', lamp.cert, '-j', lamp.key, '-C', lamp.ca]
    assert coap_cli.run('get', at, *with_cert).stdout == 'on\n'
    assert coap_cli.run('get', at, '-c', lamp.cert, '-j', lamp.key, '-R', lamp.ca).stdout == 'on\n'
    assert 'no address' in coap_cli.run('get', at, *as_client, '-a', '192.0.2.1', exit_code=1).stderr


def free_pair():
    """A port that is free, and so is the next one: coap-server takes both."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as two:
            one.bind(('127.0.0.1', 0))
            port = one.getsockname()[1]
            try:
                two.bind(('127.0.0.1', port + 1))
                return port
            except (OSError, OverflowError):
                pass


@pytest.mark.skipif(not SERVERS, reason='libcoap3-bin is not installed')
@pytest.mark.parametrize('program', SERVERS)
def test_with_another_server(lamp, program):
    """The value is put, and got, in blocks; its clock is observed."""
    port = free_pair()
    server = subprocess.Popen([program, '-A', '127.0.0.1', '-p', str(port), '-k', lamp.psk], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    base = f'coaps://127.0.0.1:{port + 1}'
    try:
        wait_until('the server', lambda: f'{port + 1:04X} ' in open('/proc/net/udp', encoding='ascii').read())
        body = text_of(6000)
        run(lamp, 'put', f'{base}/example_data', '-b', '256', '-f', '-', data=body)
        for size in ('64', '1024'):
            assert run(lamp, 'get', f'{base}/example_data', '-b', size).stdout == body + '\n'
        with observing(lamp, f'{base}/time') as clock:
            first = clock.get()
            assert clock.get() != first
    finally:
        server.terminate()
        server.wait(10)
