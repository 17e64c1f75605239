"""a: what a person does first. Directory, start, stop, exit codes, open ports, the sandbox."""
import errno
import os
import pwd
import re
import signal
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from harness import mosquitto, wire
from harness.durable import EXPIRY
from harness.fortress import BINARY, Refused
from harness.puppet import Puppet
from harness.wait import wait_until

pytestmark = pytest.mark.release


def listening(processes):
    """(protocol, port) of every TCP listener and UDP socket that these processes hold."""
    inodes = set()
    for pid in processes:
        for link in Path(f'/proc/{pid}/fd').iterdir():
            try:
                match = re.match(r'socket:\[(\d+)\]', os.readlink(link))
            except OSError:
                continue
            if match:
                inodes.add(match.group(1))
    found = set()
    for table in ('tcp', 'tcp6', 'udp', 'udp6'):
        for line in Path(f'/proc/net/{table}').read_text().splitlines()[1:]:
            parts = line.split()
            if parts[9] in inodes and (table.startswith('udp') or parts[3] == '0A'):
                found.add((table[:3], int(parts[1].rsplit(':', 1)[1], 16)))
    return found


def test_init_makes_a_locked_place(make_fortress):
    fortress = make_fortress(start=False)
    for name in ('sallyport.yaml', 'policy.yaml'):
        assert (fortress.dir / name).exists()
    key = Path(f'{fortress.dir}.key')
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert len(key.read_bytes()) >= 32
    assert 'secret' in fortress.init_output.lower(), 'the one-time administration secret is printed once'
    in_the_clear = [path for path in fortress.dir.rglob('*') if path.is_file() and b'PRIVATE KEY' in path.read_bytes()]
    assert not in_the_clear


def test_init_refuses_a_directory_that_is_not_empty(make_fortress):
    fortress = make_fortress(start=False)
    before = (fortress.dir / 'sallyport.yaml').read_bytes()
    run = fortress.run('init', fortress.dir, check=False)
    assert run.returncode == 1 and 'empty' in run.stderr
    assert (fortress.dir / 'sallyport.yaml').read_bytes() == before


@pytest.mark.parametrize('arguments', [[], ['no-such-command'], ['init'], ['device', 'add'], ['--no-such-option'],
                                       ['serve', '--no-such-option']], ids=lambda a: ' '.join(a) or 'nothing')
def test_usage_is_2(arguments):
    run = subprocess.run([BINARY, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert run.returncode == 2
    assert run.stderr.strip()


def test_help_is_0_and_has_an_example():
    run = subprocess.run([BINARY, '--help'], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert run.returncode == 0
    for word in ('quickstart', 'init', 'serve', 'device', 'policy', 'exception', 'audit'):
        assert word in run.stdout


@pytest.mark.parametrize('arguments', [['status'], ['device', 'list'], ['audit', 'tail'], ['metrics']], ids=' '.join)
def test_without_a_daemon_the_cli_says_so(make_fortress, arguments):
    fortress = make_fortress(start=False)
    run = fortress.cli(*arguments, check=False)
    assert run.returncode == 1
    assert 'start the daemon' in run.stderr


def test_a_default_install_has_no_plaintext_port(make_fortress):
    """Also when the configuration names plain listeners: without an exception they stay closed."""
    fortress = make_fortress(listeners=('mqtts', 'coaps', 'mqtt', 'ws'))
    open_now = listening(fortress.processes())
    ports = {port for _, port in open_now}
    assert ('tcp', fortress.ports['mqtts']) in open_now
    assert ('udp', fortress.ports['coaps']) in open_now
    assert fortress.ports['mqtt'] not in ports and fortress.ports['ws'] not in ports
    for name in ('mqtt', 'ws'):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(('127.0.0.1', fortress.ports[name]), 5)


def test_stop_is_quick_and_clean_and_start_again_finds_everything(make_fortress):
    fortress = make_fortress()
    sensor, console = fortress.add('sensor'), fortress.add('console')
    mosquitto.publish(sensor, f'status/{sensor.name}', 'up', '-r', qos=1)
    fortress.restart()
    with mosquitto.Subscriber(console, 'status/#'):
        names = [line['name'] for line in fortress.json('device', 'list') if 'name' in line]
    assert {sensor.name, console.name} <= set(names)


def test_ctrl_c_stops_like_sigterm(make_fortress):
    fortress = make_fortress()
    fortress.process.send_signal(signal.SIGINT)
    assert fortress.process.wait(15) == 0
    fortress.process = None


@pytest.mark.parametrize('reached', ['sandbox: ', 'store: '])
def test_a_stop_during_the_start_drains(make_fortress, reached):
    """The broker comes up, finds the stop, and drains: so its scribe and its signer are there."""
    fortress = make_fortress(start=False)
    fortress.start_only()
    fortress.wait_log(reached, timeout=60)
    fortress.stop()
    assert not any('did not drain' in line for line in fortress.log), fortress.log
    assert 'ready' not in fortress.log[fortress.log.index('notice: stopping'):], fortress.log
    fortress.start()
    assert fortress.cli('audit', 'verify')


def test_a_stop_while_a_large_store_is_read_is_quick_and_clean(make_fortress):
    """As if the disk needed a second for each read: the start is given up, and nothing is lost by that."""
    fortress = make_fortress()
    names = []
    for _ in range(5):  # a segment each
        names.append(fortress.add('sensor').name)
        fortress.restart()
    fortress.stop()
    slowly = ['strace', '-D', '-f', '-qq', '-o', '/dev/null', '-e', 'trace=pread64', '-e', 'inject=pread64:delay_enter=1500000']
    for segment in sorted((fortress.dir / 'store').glob('*.log')):
        slowly += ['-P', str(segment)]
    fortress.environment = {'ASAN_OPTIONS': 'detect_leaks=0'}  # it does not look under a tracer
    fortress.start_only(under=slowly)
    fortress.wait_log('still reading the store', timeout=60)
    fortress.stop(timeout=30)
    fortress.environment = {}
    assert any('stopped while the store was read' in line for line in fortress.log), fortress.log
    assert not any('did not drain' in line or line == 'ready' for line in fortress.log), fortress.log
    fortress.start()
    assert set(names) <= {line['name'] for line in fortress.json('device', 'list') if 'name' in line}
    assert fortress.cli('audit', 'verify')


def test_a_stop_while_sessions_are_put_back_is_quick_and_clean(make_fortress):
    """The same behind the reading: the messages that wait come one by one, and the log says how many did."""
    n = 60
    fortress = make_fortress(policy=None)
    fortress.apply('''
version: 1
roles:
  peer: { kind: service, many: yes, publish: [ "t/#" ], subscribe: [ "t/#" ] }
''')
    peer = fortress.add('peer', credentials=('x509',))
    with wire.Wire(fortress, peer).login('sleeper', properties=EXPIRY) as sleeper:
        sleeper.send(wire.subscribe(1, ('t/#', 1))).expect(wire.SUBACK)
    with wire.Wire(fortress, peer).login('talker') as talker:
        for i in range(1, n + 1):
            talker.send(wire.publish('t/x', f'message {i:03}', 1, i)).expect(wire.PUBACK)
    fortress.stop()
    slowly = ['strace', '-D', '-f', '-qq', '-o', '/dev/null', '-e', 'trace=pread64', '-e', 'inject=pread64:delay_enter=700000']
    for segment in sorted((fortress.dir / 'store').glob('*.log')):
        slowly += ['-P', str(segment)]
    fortress.environment = {'ASAN_OPTIONS': 'detect_leaks=0'}  # it does not look under a tracer
    since = len(fortress.log)
    fortress.start_only(under=slowly)
    fortress.wait_log(r'still reading the store, after \d+ seconds: \d+ of %d messages read' % n, since, timeout=60)
    fortress.stop(timeout=30)
    fortress.environment = {}
    lines = fortress.log[since:]
    assert any('stopped while the store was read' in line for line in lines), lines
    assert not any('did not drain' in line or line == 'ready' for line in lines), lines
    fortress.start()
    with wire.Wire(fortress, peer).login('sleeper', clean=False, properties=EXPIRY) as sleeper:
        for i in range(1, n + 1):
            assert sleeper.expect(wire.PUBLISH).body.endswith(b'message %03d' % i)
    assert fortress.cli('audit', 'verify')


def test_a_second_daemon_on_the_same_directory_is_refused(make_fortress):
    fortress = make_fortress()
    run = fortress.run('serve', fortress.dir, check=False, timeout=30)
    assert run.returncode == 1 and run.stderr.strip()
    assert fortress.cli('status')


def test_check_names_file_line_and_column(make_fortress):
    fortress = make_fortress(start=False)
    assert fortress.run('check', fortress.dir) is not None
    config = fortress.dir / 'sallyport.yaml'
    lines = config.read_text().splitlines()
    config.write_text('\n'.join(lines + ['surprise: 1', '']))
    run = fortress.run('check', fortress.dir, check=False)
    assert run.returncode == 1
    assert re.search(rf'sallyport\.yaml:{len(lines) + 1}:\d+: .*surprise', run.stderr + run.stdout)


def test_a_broken_reload_keeps_the_old_and_says_so(make_fortress):
    fortress = make_fortress()
    sensor = fortress.add('sensor')
    config = fortress.dir / 'sallyport.yaml'
    good = config.read_text()
    config.write_text(good + 'surprise: 1\n')
    since = len(fortress.log)
    fortress.reload()
    fortress.wait_event('config_reject')
    fortress.wait_log('surprise', since)
    mosquitto.publish(sensor, f'status/{sensor.name}', 'still here', qos=1)
    config.write_text(good)


def test_policy_with_a_mistake_is_refused_and_the_old_stays(make_fortress):
    fortress = make_fortress()
    sensor = fortress.add('sensor')
    with pytest.raises(Refused) as refused:
        fortress.apply('version: 1\nroles:\n  sensor:\n    publich: [ "a" ]\n')
    assert refused.value.code == 1 and re.search(r':4:\d+: .*publich', refused.value.stderr)
    mosquitto.publish(sensor, f'status/{sensor.name}', 'still here', qos=1)


def test_quickstart_makes_two_bundles_that_work(tmp_path_factory):
    """quickstart needs no daemon; its directory is served, and its devices can connect."""
    home = tmp_path_factory.mktemp('quickstart')
    home.chmod(0o755)
    run = subprocess.run([BINARY, 'quickstart', home / 'demo'], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    assert 'mosquitto_pub' in run.stdout and 'coap-client' in run.stdout
    bundles = [path.parent for path in home.rglob('bundle.json')]
    assert len(bundles) >= 2
    assert any((one / 'psk.txt').exists() for one in bundles) and any((one / 'cert.pem').exists() for one in bundles)
    for one in bundles:
        for path in one.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, f'{path} can be read by others'


def test_the_broker_is_caged(make_fortress, sanitized):
    """No new privileges, a seccomp filter, no capability and, when started as root, another user."""
    fortress = make_fortress()
    supervisor, *parts = fortress.processes()
    assert parts, 'strangers are served by another process than the supervisor'
    for pid in parts:
        status = dict(line.split(':\t', 1) for line in Path(f'/proc/{pid}/status').read_text().splitlines() if ':\t' in line)
        assert status['NoNewPrivs'].strip() == '1'
        assert int(status['CapEff'], 16) == 0 and int(status['CapBnd'], 16) == 0
        if not sanitized:
            assert status['Seccomp'].strip() == '2'
        if os.geteuid() == 0:
            user = int(status['Uid'].split()[0])
            assert user != 0
            fortress.wait_log(pwd.getpwuid(user).pw_name)
    # What a broker that somebody has taken over would try: no file of others, no program, no look at other processes.
    with Puppet(parts[0]) as taken_over:
        assert taken_over.call('openat', -100, b'/etc/passwd', 0) == -(errno.EACCES if sanitized else errno.EPERM)
        if not sanitized:  # seccomp, which is not in a build for tests
            assert taken_over.call('execve', b'/bin/true', 0, 0) == -errno.EPERM
            assert taken_over.call('ptrace', 16, supervisor) == -errno.EPERM
            assert taken_over.call('socket', 2, 1, 0) == -errno.EPERM
    sensor = fortress.add('sensor')
    mosquitto.publish(sensor, f'status/{sensor.name}', 'as ever', qos=1)
    for call in () if sanitized else ('openat', 'execve', 'ptrace', 'socket'):
        event = fortress.wait_event('exposure', target=call)[0]
        assert event['severity'] == 'alert' and f'the sandbox refused {call}' in event['reason'] and 'Restart it' in event['reason']
        fortress.log.remove(fortress.wait_log(f'the sandbox refused {call}'))  # a fault in every other test
    assert fortress.processes()[:2] == [supervisor, parts[0]], 'nothing of it ended'


def test_a_crashed_broker_comes_back_and_says_why(make_fortress):
    fortress = make_fortress()
    sensor = fortress.add('sensor')
    since = len(fortress.log)
    _, broker, *_ = fortress.processes()
    os.kill(broker, signal.SIGKILL)
    fortress.wait_log('signal|killed|restart', since)
    wait_until('a new broker', lambda: any(pid != broker for pid in fortress.processes()[1:]), 20)

    def served():
        return mosquitto.publish(sensor, f'status/{sensor.name}', 'again', qos=1, check=False).returncode == 0
    wait_until('service after the crash', served, 30, pause=0.2)
    fortress.wait_event('crash_recovery')


def test_a_port_that_is_taken_is_named(make_fortress):
    fortress = make_fortress(start=False)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(('127.0.0.1', fortress.ports['mqtts']))
        taken.listen()
        run = fortress.run('serve', fortress.dir, check=False, timeout=30)
    assert run.returncode == 1
    assert str(fortress.ports['mqtts']) in run.stderr


def test_a_readable_master_key_is_refused(make_fortress):
    fortress = make_fortress(start=False)
    Path(f'{fortress.dir}.key').chmod(0o644)
    run = fortress.run('serve', fortress.dir, check=False, timeout=30)
    assert run.returncode == 1
    assert 'chmod' in run.stderr and '600' in run.stderr

