"""a: `sallyport coap` under OSCORE: against a server that was written without our code (harness/oscore_server.py), and our daemon."""
import json
import shutil
import signal
import subprocess

import pytest

from harness import coap_cli, mosquitto
from harness.coap_cli import Observing
from harness.coap_message import ACK, CON, FETCH, RST
from harness.fortress import BINARY, Fortress
from harness.oscore_server import Server

pytestmark = pytest.mark.release


def text_of(n, word='x'):
    return ''.join(f'{word}{i:07d}' for i in range(n // 8 + 1))[:n]


@pytest.fixture
def server(tmp_path):
    with Server(tmp_path / 'bundle') as one:
        yield one


def place(where, path, bundle=None):
    """URI and bundle; where: a Server, or a device of a fortress."""
    if isinstance(where, Server):
        return f'coap://127.0.0.1:{where.port}/{path}', '--bundle', str(bundle or where.bundle.path)
    return f'coap://localhost:{where.fortress.ports["coap"]}/mq/{path}', '--bundle', str(bundle or where.bundle)


def run(where, method, path, *more, bundle=None, **how):
    return coap_cli.run(method, *place(where, path, bundle), *more, **how)


def observing(where, path, *more):
    return Observing('observe', *place(where, path), *more)


# ---- against a server that is not ours

def test_every_method_and_a_context_that_lasts(server):
    run(server, 'put', 'a/b', '-e', 'one')
    assert (server.n_renewed, server.resources) == (1, {'a/b': b'one'}), 'without a record the context is derived anew'
    assert run(server, 'get', 'a/b').stdout == 'one\n'
    assert run(server, 'fetch', 'a/b', '-e', 'which').stdout == 'one\n'
    for method in ('post', 'patch', 'ipatch'):
        run(server, method, 'a/b', '-e', method)
        assert server.resources['a/b'] == method.encode()
    run(server, 'delete', 'a/b')
    assert '4.04' in run(server, 'get', 'a/b', exit_code=1).stderr
    run(server, 'put', 'a/b', '-N', '-e', 'non')
    assert server.n_renewed == 1, 'the record is good for all of them'
    record = json.loads(server.bundle.state.read_text())
    assert server.bundle.state.stat().st_mode & 0o777 == 0o600
    assert record['next'] == len(server.taken), 'what was not used is given back'


def test_large_values_in_blocks_both_ways(server):
    body = text_of(3000)
    run(server, 'put', 'large', '-b', '256', '-f', '-', data=body)
    assert server.resources['large'].decode() == body
    server.block = 128
    assert run(server, 'get', 'large').stdout == body + '\n'
    assert run(server, 'get', 'large', '-b', '64').stdout == body + '\n'


def test_separate_answers_and_lost_messages(server):
    server.resources['a'] = b'later'
    server.separate = True
    assert run(server, 'get', 'a').stdout == 'later\n'
    server.separate = False
    server.n_lost = 1
    assert run(server, 'get', 'a').stdout == 'later\n'
    assert server.n_repeated, 'the same bytes came once more'


def test_observing_takes_each_state_once_and_in_order(server):
    server.resources['a'] = b'state-0'
    with observing(server, 'a') as seen:
        assert seen.get() == 'state-0'
        first = server.notify('a', b'state-1')
        assert seen.get() == 'state-1'
        second = server.notify('a', b'state-2', kind=CON)
        assert seen.get() == 'state-2'
        server.wait('it is acknowledged', lambda: any(m.kind == ACK for m in server.empty))
        changed = bytearray(first)
        changed[2] ^= 0x40  # another message id
        broken = bytearray(second)
        broken[-1] ^= 1
        for bad in (first, second, bytes(changed), bytes(broken)):
            server.send_again('a', bad)
        server.block = 1024
        server.notify('a', text_of(500).encode())
        assert seen.get() == text_of(500), 'and nothing came between'
        server.block = 64
        server.notify('a', text_of(700, 'y').encode())
        assert seen.get() == text_of(700, 'y'), 'what is larger than a block is fetched'
        n = len(server.empty)
        server.notify('a', b'again', kind=CON)
        assert seen.get() == 'again'
        server.wait('it is acknowledged', lambda: len(server.empty) > n)
    server.wait('it deregisters', lambda: not server.observers)
    assert not any(m.kind == RST for m in server.empty)
    assert run(server, 'fetch', 'a', '-e', 'x', '-s', '1').stdout == 'again\n'
    assert any(m.code == FETCH for m in server.requests)


@pytest.mark.parametrize('end', [signal.SIGKILL, signal.SIGINT])
def test_no_number_is_used_twice_however_a_run_ends(server, end):
    server.resources['a'] = b'here'
    for _ in range(3):
        seen = observing(server, 'a')
        assert seen.get() == 'here'
        seen.stop(end, -9 if end == signal.SIGKILL else 0)
        assert run(server, 'get', 'a').stdout == 'here\n'
    assert server.n_renewed == 1
    assert json.loads(server.bundle.state.read_text())['next'] >= len(server.taken)


def test_without_a_good_record_the_context_is_derived_anew(server, tmp_path):
    server.resources['a'] = b'here'
    run(server, 'get', 'a')
    kept = server.bundle.state.read_bytes()
    for renewed, spoil in enumerate((server.bundle.state.unlink, lambda: server.bundle.state.write_text('{"version": 1'),
                                     lambda: server.bundle.state.write_text(kept.decode().replace('"context": "', '"context": "0'))), 2):
        spoil()
        assert run(server, 'get', 'a').stdout == 'here\n'
        assert server.n_renewed == renewed
    shutil.copytree(server.bundle.path, tmp_path / 'copy')
    assert run(server, 'get', 'a', bundle=tmp_path / 'copy').stdout == 'here\n'
    assert server.n_renewed == 5, 'a copy of the directory would use the same numbers'
    assert run(server, 'get', 'a').stdout == 'here\n'
    assert server.n_renewed == 6, 'the server has another context by now'
    # An old record put back in place: its numbers were used. The server says so, and another context is made.
    newest = server.bundle.state.read_text()
    run(server, 'get', 'a')
    server.bundle.state.write_text(newest.replace(newest[newest.index('"next"'):], '"next": 0}'))
    server.used.clear()  # this once it is the one who put it back
    assert run(server, 'get', 'a').stdout == 'here\n'
    assert server.n_renewed == 7


def test_a_server_that_forgot_everything(server):
    server.resources['a'] = b'here'
    run(server, 'get', 'a')
    server.forget()
    assert run(server, 'get', 'a').stdout == 'here\n'
    assert server.n_renewed == 2


def test_what_is_not_protected_is_not_believed(server):
    server.resources['a'] = b'here'
    run(server, 'get', 'a')
    server.answers_bare = 69
    refused = run(server, 'get', 'a', exit_code=1)
    assert 'believe me' not in refused.stdout + refused.stderr and 'without protection' in refused.stderr
    server.answers_bare, server.renews = None, False
    server.forget()
    refused = run(server, 'get', 'a', exit_code=1)
    assert '4.01' in refused.stderr and 'B.2' in refused.stderr


def test_one_command_at_a_time(server):
    server.resources['a'] = b'here'
    with observing(server, 'a') as seen:
        assert seen.get() == 'here'
        assert 'in use by another command' in run(server, 'get', 'a', '-B', '1', exit_code=1).stderr
    assert run(server, 'get', 'a').stdout == 'here\n'
    together = [subprocess.Popen([str(BINARY), 'coap', 'get', *place(server, 'a'), '-B', '60'], stdout=subprocess.PIPE, text=True)
                for _ in range(5)]
    assert [one.communicate(timeout=60)[0] for one in together] == ['here\n'] * 5, 'they wait for each other'
    assert server.n_renewed == 1


def test_nothing_leaves_unprotected(server, tmp_path):
    other = tmp_path / 'none'
    other.mkdir()
    (other / 'bundle.json').write_text((server.bundle.path / 'bundle.json').read_text())
    refused = run(server, 'get', 'a', bundle=other, exit_code=2)
    assert 'oscore.json' in refused.stderr and 'coaps://' in refused.stderr
    uri = f'coap://127.0.0.1:{server.port}/a'
    for more, says in (((), 'OSCORE'), (('-E', str(server.bundle.file), '-O', '9,x'), 'OSCORE'),
                       (('-E', str(tmp_path / 'absent.json')), 'No such file'), (('-E', 'a.json,seq'), 'FILE.state')):
        done = subprocess.run([str(BINARY), 'coap', 'get', uri, *more], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode in (1, 2) and says in done.stderr, done.stderr
    server.bundle.file.chmod(0o640)
    assert 'chmod 600' in run(server, 'get', 'a', exit_code=1).stderr
    assert not server.requests and not server.sent


def test_a_record_that_cannot_be_kept(server):
    server.bundle.state.mkdir()
    assert 'cannot be kept' in run(server, 'put', 'a', '-e', 'x', exit_code=1).stderr
    assert not server.resources


def test_pings(server):
    server.resources['a'] = b'here'
    with observing(server, 'a', '-K', '1') as seen:
        assert seen.get() == 'here'
        server.wait('a ping', lambda: any(m.kind == CON for m in server.empty))
        server.notify('a', b'still')
        assert seen.get() == 'still'


# ---- against our daemon

@pytest.fixture(scope='module')
def fortress():
    one = Fortress(listeners=('mqtts', 'coaps', 'coap'))
    yield one
    one.close()


def test_our_daemon(fortress):
    lamp, console = fortress.add('lamp', credentials=('oscore', 'x509')), fortress.add('console')
    topic = f'lamps/{lamp.name}/goal'
    for body in ('short', text_of(9000)):
        mosquitto.publish(console, topic, body, '-r', qos=1)
        assert run(lamp, 'get', topic).stdout == body + '\n'
    body = text_of(5000, 'y')
    run(lamp, 'put', f'lamps/{lamp.name}/state', '-f', '-', data=body)
    assert run(lamp, 'get', f'lamps/{lamp.name}/state').stdout == body + '\n'
    with observing(lamp, topic) as seen:
        assert seen.get() == text_of(9000)
        for i in range(10):
            mosquitto.publish(console, topic, f'state-{i}', '-r', qos=1)
            assert seen.get() == f'state-{i}'
    assert '4.03' in run(lamp, 'put', 'lamps/other/state', '-e', 'x', exit_code=1).stderr
    before = json.loads((lamp.bundle / 'oscore.state').read_text())
    fortress.restart()
    assert run(lamp, 'get', topic).stdout == 'state-9\n'
    assert json.loads((lamp.bundle / 'oscore.state').read_text())['id_context'] != before['id_context'], 'it had forgotten the context'
    fortress.cli('device', 'disable', lamp.name)
    assert 'disabled' in run(lamp, 'get', topic, exit_code=1).stderr
