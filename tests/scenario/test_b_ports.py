"""b: a port that somebody else has. The server does not start, and says who has it; a plain listener, which is closed, is left out."""
import contextlib
import os
import re
import socket
import subprocess
import sys

import pytest

from harness import mosquitto
from harness.fortress import PLAIN_LISTENERS, Fortress

TCP = ('mqtts', 'wss', 'coaps+tcp', 'coaps+ws', 'enrol', 'metrics', *PLAIN_LISTENERS)
UDP = ('coaps', 'coap')
KINDS = (*TCP, *UDP)
OPEN = tuple(kind for kind in KINDS if kind not in PLAIN_LISTENERS)
PLAIN = ('--allow', 'plaintext', '--for', '10m', '--reason', 'a test')


def of(kind):
    return socket.SOCK_DGRAM if kind in UDP else socket.SOCK_STREAM


def refused(fortress):
    """A start that fails; what it said."""
    run = fortress.run('serve', fortress.dir, check=False, timeout=60)
    assert run.returncode == 1, run.stderr
    assert 'ready' not in run.stderr.splitlines(), run.stderr
    assert 'bind' in run.stderr, 'the safe fix is named'
    return run.stderr


def move(fortress, kind, port):
    """The same listener elsewhere, before the start."""
    fortress.configure(f'127.0.0.1:{fortress.ports[kind]}', f'127.0.0.1:{port}')
    fortress.ports[kind] = port


@contextlib.contextmanager
def somebody(kind, port):
    """A server as others are: it takes the address also from what is in TIME_WAIT."""
    with socket.socket(socket.AF_INET, of(kind)) as one:
        if kind in TCP:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(('127.0.0.1', port))
        if kind in TCP:
            one.listen()
        yield one


def test_a_port_that_is_taken_is_no_start(make_fortress):
    fortress = make_fortress(listeners=OPEN, settings=['workers=2'], start=False)
    for kind in OPEN:
        port = fortress.ports[kind]
        with somebody(kind, port):
            said = refused(fortress)
        assert f'listener {kind}: 127.0.0.1:{port} is used by' in said
        assert f'(process {os.getpid()})' in said, 'who it is'
    fortress.start()


@pytest.mark.release
@pytest.mark.parametrize('kind', PLAIN_LISTENERS)
def test_a_closed_listener_is_left_out(make_fortress, kind):
    """Nobody is served there without an exception, so the server starts; an exception is not promised what it cannot have."""
    fortress = make_fortress(listeners=('mqtts', kind), start=False)
    port = fortress.ports[kind]
    with somebody(kind, port):
        fortress.start()
        assert any(f'listener {kind}: 127.0.0.1:{port} is used by' in line and f'(process {os.getpid()})' in line for line in fortress.log)
        refusal = fortress.run('-C', fortress.dir, 'exception', 'add', '--listener', kind, *PLAIN, check=False)
        assert refusal.returncode == 1 and 'whose port another program had' in refusal.stderr
        fortress.stop()
    fortress.start()
    fortress.cli('exception', 'add', '--listener', kind, *PLAIN)
    fortress.stop()
    with somebody(kind, port):
        fortress.start()
        fortress.wait_event('exception', reason=re.compile('in force, but its listener is not there'))


@pytest.fixture(scope='module')
def everything():
    """A daemon with each kind of listener, and several workers, which share its own ports among themselves."""
    one = Fortress(listeners=KINDS, settings=['workers=3'])
    yield one
    one.close()


def test_what_is_said_of_each_at_the_start(everything):
    """Only who waits for an exception is called closed: numbers in plain are on loopback, and open."""
    closed = {line.split()[2].rstrip(':') for line in everything.log if 'closed until an exception' in line}
    assert closed == set(PLAIN_LISTENERS), everything.log


def test_a_second_daemon_of_one_worker_is_refused(make_fortress, everything):
    second = make_fortress(listeners=OPEN, settings=['workers=1'], start=False)
    for kind in OPEN:
        own, taken = second.ports[kind], everything.ports[kind]
        move(second, kind, taken)
        said = refused(second)
        assert f'listener {kind}: 127.0.0.1:{taken} is used by' in said
        assert f'(process {everything.process.pid})' in said
        move(second, kind, own)


def test_a_second_daemon_of_several_workers_says_whom_it_is_with(make_fortress, everything):
    """Their sockets share an address with whoever lets them."""
    second = make_fortress(listeners=OPEN, settings=['workers=3'], start=False)
    for kind in OPEN:
        move(second, kind, everything.ports[kind])
    second.start()
    for kind in OPEN:
        said = [line for line in second.log if f'listener {kind}: 127.0.0.1:{everything.ports[kind]} is also used by' in line]
        assert len(said) == 1 and f'(process {everything.process.pid})' in said[0], second.log


@pytest.mark.release
@pytest.mark.parametrize('kind', PLAIN_LISTENERS)
def test_a_closed_port_is_nobody_elses(make_fortress, kind):
    """Nobody gets the port between two exceptions, and the exception opens it."""
    fortress = make_fortress(listeners=('mqtts', kind))
    port = fortress.ports[kind]
    fortress.add('sensor')
    for _ in range(2):
        with pytest.raises(OSError, match='in use'), somebody(kind, port):
            pass
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(('127.0.0.1', port), 5)
        said = fortress.cli('exception', 'add', '--listener', kind, *PLAIN)
        with socket.create_connection(('127.0.0.1', port), 5) as client:
            fortress.cli('exception', 'end', re.search(r'\b([0-9a-f]{8,}|\d+)\b', said).group(1))
            client.settimeout(20)
            with contextlib.suppress(ConnectionResetError):  # a worker may not have taken it from the kernel yet
                while client.recv(100) != b'':
                    pass  # who was there is gone
    fortress.restart()  # what is left of those connections is no reason not to start


def test_the_admin_socket_is_one_daemons(make_fortress):
    fortress = make_fortress()
    run = fortress.run('serve', fortress.dir, check=False, timeout=60)
    assert run.returncode == 1 and 'another daemon serves this directory' in run.stderr
    assert fortress.cli('status')


def test_a_program_of_others_is_named(make_fortress):
    """By what it calls itself."""
    fortress = make_fortress(listeners=('mqtts',), start=False)
    code = ('import socket, sys; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1);'
            'open("/proc/self/comm", "w").write("mos\\x1b[2J"); s.bind(("127.0.0.1", int(sys.argv[1]))); s.listen();'
            'print("here", flush=True); sys.stdin.read()')
    with subprocess.Popen([sys.executable, '-c', code, str(fortress.ports['mqtts'])], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout.readline() == 'here\n'
            said = refused(fortress)
        finally:
            other.stdin.close()
    assert f'is used by mos\\x1b[2J (process {other.pid})' in said, 'and does nothing to a terminal'
    fortress.start()


def test_a_reload_opens_nothing(make_fortress):
    """A listener that is new, or elsewhere, needs a restart and is said to; those that serve go on."""
    fortress = make_fortress()
    sensor = fortress.add('sensor')
    config = fortress.dir / 'sallyport.yaml'
    with somebody('wss', 0) as taken:
        port = taken.getsockname()[1]
        config.write_text(config.read_text().replace(
            'listeners:', f'listeners:\n  - {{ name: wss, bind: "127.0.0.1:{port}", door: mqtt, websocket: yes, auth: [x509] }}', 1))
        since = len(fortress.log)
        fortress.reload()
        fortress.wait_log(r'notice: reloaded|not reloaded', since)
        fortress.wait_event('config_change', reason=re.compile(r'needs a restart: listener wss \(is new\)'))
        mosquitto.publish(sensor, f'status/{sensor.name}', 'still here', qos=1)
        fortress.stop()
        assert f'listener wss: 127.0.0.1:{port} is used by' in refused(fortress)
