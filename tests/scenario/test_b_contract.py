"""b: the names that people and other programs rely on: commands, options, exit codes, files and their formats."""
import json
import os
import re
import signal
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from harness import coap, mosquitto
from harness.fortress import BINARY
from harness.ports import free_ports
from harness.wait import wait_until

pytestmark = pytest.mark.release

COMMANDS = ('quickstart init serve check device policy exception pub sub rpc coap audit status metrics alerts certs enrol '
            'agent retained setaside respond doctor scan backup restore import firmware incident bench').split()
DEVICE_VERBS = ('show', 'disable', 'enable', 'revoke', 'remove', 'rotate')

# The two files that the documentation shows, as they stand there; only ports are other ones.
SAMPLE_CONFIG = '''# sallyport.yaml: every key checked, unknown keys refused, scalars read as strings against a strict schema
version: 1
listeners:
  - { name: mqtts, door: mqtt, bind: "[::]:%(mqtts)d", auth: [x509, password, token], segment: field }   # tls_min: "1.3"
  - { name: coaps, door: coap, bind: "[::]:%(coaps)d", auth: [psk, x509], segment: field }
limits: { packet_bytes: 264KiB, topic_levels: 16, connect_per_second: 20 }
'''
SAMPLE_POLICY = '''version: 1
roles:
  sensor:
    client_id: "${device}"                 # the default; "*" allows any; an empty client id is assigned "NAME-random"
    publish:   [ "sensors/${site}/${device}/+", { topic: "status/${device}", retain: yes, qos: 1 } ]
    subscribe: [ "commands/${device}/#" ]
    resources: [ { path: "/fw/${class}", methods: [GET] } ]
    limits:    { publish_rate: 5/s }
  console: { many: yes, publish: [ { topic: "commands/#", retain: yes } ], subscribe: [ "sensors/#" ] }   # many: several
'''


def sallyport(*arguments, cwd=None, **environment):
    inherited = {key: value for key, value in os.environ.items() if key != 'SALLYPORT_DIR'}
    return subprocess.run([str(BINARY), *map(str, arguments)], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          timeout=60, check=False, cwd=cwd, env={**inherited, **environment})


# -- options and exit codes ------------------------------------------------------------------------------------------------

def test_every_command_is_in_the_help_and_says_whether_it_is_there():
    text = sallyport('--help').stdout
    for name in COMMANDS:
        line = re.search(rf'^  {name} .*$', text, re.M)
        assert line, name
        assert text.count(f'\n  {name} ') == 1, f'{name} is told twice'
        run = sallyport('-C', '/nonexistent/fortress', name)
        assert run.returncode in (1, 2) and run.stderr.strip() and not run.stdout, name
        absent = 'not there yet' in run.stderr
        assert absent == ('not there yet' in line.group()), line.group()
        if absent:
            assert run.returncode == 1 and name in run.stderr


@pytest.mark.parametrize('name', COMMANDS)
def test_help_of_a_command(name):
    run = sallyport(name, '--help')
    assert run.returncode == (1 if 'not there yet' in run.stderr else 0)
    assert run.returncode or name in run.stdout


@pytest.mark.parametrize('arguments', [
    ['device'], ['device', 'add', 'x'], ['device', 'show'], ['device', 'fly', 'x'], ['policy'], ['policy', 'check'],
    ['policy', 'explain', 'x'], ['exception', 'add'], ['exception', 'end'], ['audit'], ['audit', 'tail', '-n', 'x'],
    ['status', 'x'], ['quickstart'], ['init', 'a', 'b'], ['-C'], ['--surprise', 'status'], ['check', 'a', 'b'],
    ['device', 'add', 'x', '--role'], ['pub', '-t', 'x'], ['sub', '--insecure']], ids=' '.join)
def test_what_is_wrongly_written_is_2(arguments):
    run = sallyport(*arguments)
    assert run.returncode == 2 and run.stderr.strip() and not run.stdout


def test_the_directory_is_found_by_option_or_environment(make_fortress):
    fortress = make_fortress()
    for run in (sallyport('-C', fortress.dir, 'status'), sallyport('status', '-C', fortress.dir),
                sallyport('device', 'list', '-C', fortress.dir), sallyport('status', SALLYPORT_DIR=str(fortress.dir)),
                sallyport('-C', fortress.dir, 'status', SALLYPORT_DIR='/nonexistent')):
        assert run.returncode == 0, run.stderr
    run = sallyport('status')
    assert run.returncode == 1 and '/var/lib/sallyport' in run.stderr


def test_json_of_every_command_reads(make_fortress):
    fortress = make_fortress(listeners=('mqtts', 'coaps', 'mqtt'))
    home = fortress.home
    (home / 'p.yaml').write_text(SAMPLE_POLICY)
    made = sallyport('init', home / 'second', '--json')
    secret = json.loads(made.stdout)['admin_secret']
    assert made.returncode == 0 and secret
    done = [['check'], ['policy', 'check', home / 'p.yaml'], ['policy', 'apply', home / 'p.yaml'],
            ['device', 'add', 'j1', '--role', 'sensor', '--out', home / 'j1'], ['device', 'list'], ['device', 'show', 'j1'],
            ['device', 'disable', 'j1'], ['device', 'enable', 'j1'], ['device', 'rotate', 'j1', '--out', home / 'j2'],
            ['policy', 'explain', 'j1', 'publish', 'status/j1'],
            ['exception', 'add', '--listener', 'mqtt', '--allow', 'plaintext', '--for', '1h', '--reason', 'x'],
            ['exception', 'list'], ['alerts'], ['exception', 'end', '1'], ['status'], ['metrics'], ['audit', 'tail'],
            ['device', 'revoke', 'j1'], ['device', 'remove', 'j1']]
    for command in done:
        run = sallyport('-C', fortress.dir, '--json', *command)
        assert run.returncode == 0, (command, run.stderr)
        assert run.stdout.strip(), command
        for line in run.stdout.splitlines():
            assert isinstance(json.loads(line), dict), (command, line)
    run = sallyport('-C', fortress.dir, '--json', 'device', 'show', 'j1')
    assert run.returncode == 1 and run.stderr.strip()


# -- init ------------------------------------------------------------------------------------------------------------------

def test_init_asks_nothing_and_writes_what_was_asked(tmp_path):
    run = sallyport('init', 'f', '--host', 'broker.example', '--host', '192.0.2.7', '--listen', 'mqtts=127.0.0.1:28883',
                    '--set', 'packet_bytes=64KiB', '--set', 'publish_rate=7/s', cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    config = (tmp_path / 'f/sallyport.yaml').read_text()
    for wanted in ('broker.example', '192.0.2.7', '127.0.0.1:28883', '64KiB', '7/s'):
        assert wanted in config
    assert stat.S_IMODE((tmp_path / 'f').stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / 'f.key').stat().st_mode) == 0o600
    assert sallyport('check', 'f', cwd=tmp_path).returncode == 0
    assert sallyport('-C', 'f', 'check', cwd=tmp_path).returncode == 0


def test_the_master_key_goes_where_it_is_asked_to(tmp_path):
    (tmp_path / 'safe').mkdir()
    run = sallyport('init', 'f', '--master-key', 'safe/key', cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / 'safe/key').exists() and not (tmp_path / 'f.key').exists()
    assert len((tmp_path / 'safe/key').read_bytes()) >= 32
    again = sallyport('init', 'g', '--master-key', 'safe/key', cwd=tmp_path)
    assert again.returncode == 1 and again.stderr.strip(), 'a key that is there is not written over'


@pytest.mark.parametrize('options', [['--listen', 'nope=127.0.0.1:1'], ['--listen', 'mqtts=127.0.0.1'],
                                     ['--listen', 'mqtts=nowhere:1'], ['--set', 'surprise=1'], ['--set', 'packet_bytes=many'],
                                     ['--set', 'packet_bytes=1'], ['--host', 'a b']], ids=' '.join)
def test_init_with_a_mistake_makes_nothing(tmp_path, options):
    run = sallyport('init', 'f', *options, cwd=tmp_path)
    assert run.returncode in (1, 2) and run.stderr.strip()
    assert not list(tmp_path.iterdir())


def test_help_of_init_names_every_listener(tmp_path):
    """Those that it says it takes when it was given another one."""
    refused = sallyport('init', 'f', '--listen', 'nope=127.0.0.1:1', cwd=tmp_path).stderr
    names = re.search(r'names are (.*)', refused).group(1).split(', ')
    told = sallyport('init', '--help').stdout
    assert len(names) == 11 and all(re.search(rf'(^|\s){re.escape(name)}[\s,]', told) for name in names), (names, told)


def test_what_is_no_command_is_sent_to_the_help_of_all():
    run = sallyport('nonsense')
    assert run.returncode == 2 and run.stderr.endswith(f'See `{BINARY} --help`.\n'), run.stderr


def test_the_server_certificate_has_every_name(make_fortress):
    fortress = make_fortress(start=False)
    text = subprocess.run(['openssl', 'x509', '-in', fortress.dir / 'pki/server.pem', '-noout', '-ext', 'subjectAltName'],
                          capture_output=True, text=True, check=True).stdout
    host = socket.gethostname()
    for name in ('DNS:localhost', 'IP Address:127.0.0.1', f'DNS:{host}', f'DNS:{host}.local'):
        assert name in text, text


# -- check, and the files of the documentation ------------------------------------------------------------------------------

def test_the_files_of_the_documentation_load_and_work(make_fortress):
    fortress = make_fortress(start=False)
    (fortress.dir / 'sallyport.yaml').write_text(SAMPLE_CONFIG % fortress.ports)
    (fortress.dir / 'policy.yaml').write_text(SAMPLE_POLICY)
    assert fortress.run('check', fortress.dir)
    fortress.start()
    sensor = fortress.add('sensor', attributes={'site': 'lab', 'class': 'small'}, credentials=('x509', 'psk'))
    console = fortress.add('console')
    with mosquitto.Subscriber(console, 'sensors/#', client_id='one') as one, \
            mosquitto.Subscriber(console, 'sensors/#', client_id='two') as two:
        mosquitto.publish(sensor, f'sensors/lab/{sensor.name}/t', 'hello', qos=2)
        assert one.get()['payload'] == two.get()['payload'] == 'hello'
    mosquitto.publish(sensor, f'status/{sensor.name}', 'up', '-r', qos=1)
    # A bare topic grants no retain; the other one no QoS 2.
    for topic, qos, more in ((f'sensors/lab/{sensor.name}/t', 1, ['-r']), (f'status/{sensor.name}', 2, [])):
        assert 'Not authorized' in mosquitto.publish(sensor, topic, 'x', *more, qos=qos, check=False).stderr
    for action, target, want in (('GET', '/fw/small', 'allow'), ('GET', '/fw/big', 'deny'), ('PUT', '/fw/small', 'deny')):
        answer = fortress.cli('policy', 'explain', sensor.name, action, target, check=False)
        assert want in answer.stdout, (action, target, answer)


def test_check_says_what_fits(make_fortress):
    fortress = make_fortress(start=False)
    text = fortress.run('check', fortress.dir)
    assert re.search(r'\d+ connections', text) and 'descriptors' in text and 'memory' in text


BAD_CONFIG = {
    'version: 1\nlisteners: []\nlimits: { packet_bytes: lots }\n': r':3:\d+: .*packet_bytes',
    'version: 2\nlisteners: []\n': r':1:\d+: .*version',
    'version: 1\nlisteners:\n  - { name: mqtts, door: window, bind: "[::]:1" }\n': r':3:\d+: .*window|:3:\d+: .*door',
    'version: 1\nlisteners: []\nlisteners: []\n': r':3:\d+: .*listeners',
    'version: 1\nlisteners: [\n': r':\d+:\d+: ',
}


@pytest.mark.parametrize('text,told', BAD_CONFIG.items(), ids=range(len(BAD_CONFIG)))
def test_check_of_a_bad_configuration(make_fortress, text, told):
    fortress = make_fortress(start=False)
    (fortress.dir / 'sallyport.yaml').write_text(text)
    run = fortress.run('check', fortress.dir, check=False)
    assert run.returncode == 1 and re.search(r'sallyport\.yaml' + told, run.stderr), run.stderr


def test_check_of_a_bad_policy_and_serve_refuses_it_too(make_fortress):
    fortress = make_fortress(start=False)
    (fortress.dir / 'policy.yaml').write_text('version: 1\nroles:\n  a: { publish: [ "a/#/b" ] }\n')
    for command in ('check', 'serve'):
        run = fortress.run(command, fortress.dir, check=False, timeout=30)
        assert run.returncode == 1 and re.search(r'policy\.yaml:3:\d+: ', run.stderr), run.stderr


def test_policy_check_changes_nothing_and_apply_is_kept(make_fortress):
    fortress = make_fortress()
    sample = fortress.home / 'sample.yaml'
    sample.write_text(SAMPLE_POLICY)
    fortress.cli('policy', 'check', sample)
    assert 'lamp' in fortress.cli('policy', 'explain', fortress.add('lamp').name, 'publish', 'x'), 'still the old one'
    fortress.cli('policy', 'apply', sample)
    assert (fortress.dir / 'policy.yaml').read_text() == SAMPLE_POLICY
    fortress.restart()
    assert fortress.run('check', fortress.dir)
    fortress.add('sensor')
    assert fortress.cli('policy', 'check', fortress.home / 'absent.yaml', check=False).returncode == 1


# -- serve -----------------------------------------------------------------------------------------------------------------

def test_serve_is_ready_once_and_drains_with_clients_connected(make_fortress):
    fortress = make_fortress()
    console = fortress.add('console')
    with mosquitto.Subscriber(console, 'sensors/#', client_id='a'), mosquitto.Subscriber(console, 'status/#', client_id='b'):
        assert fortress.log.count('ready') == 1
        process, fortress.process = fortress.process, None
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert not (fortress.dir / 'run/control.sock').exists() or sallyport('-C', fortress.dir, 'status').returncode == 1


@pytest.mark.parametrize('name', ['sallyport.yaml', 'policy.yaml'])
def test_a_bad_file_at_reload_keeps_the_old(make_fortress, name):
    fortress = make_fortress()
    sensor = fortress.add('sensor')
    path = fortress.dir / name
    good = path.read_bytes()
    path.write_bytes(good + b'surprise: 1\n')
    fortress.reload()
    event, = fortress.wait_event('config_reject')
    assert name in event['reason'] + event['target'], event
    assert re.search(r':\d+:\d+', event['reason']), event
    mosquitto.publish(sensor, f'status/{sensor.name}', 'still here', qos=1)
    assert 'config_reject' in fortress.cli('alerts')
    path.write_bytes(good)
    fortress.reload()
    fortress.wait_event('config_change')
    mosquitto.publish(sensor, f'status/{sensor.name}', 'and here', qos=1)


def test_the_control_socket_is_only_ours(make_fortress):
    fortress = make_fortress()
    control = fortress.dir / 'run/control.sock'
    assert stat.S_ISSOCK(control.stat().st_mode) and stat.S_IMODE(control.stat().st_mode) == 0o600
    assert stat.S_IMODE(fortress.dir.stat().st_mode) & 0o007 == 0
    if os.geteuid() == 0:
        attempts = ['cat {d}/sallyport.yaml', 'ls {d}', 'cat {d}.key', 'cat {d}/pki/ca.pem', f'{BINARY} -C {{d}} status']
        for attempt in attempts:
            run = subprocess.run(['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', 'sh', '-c',
                                  attempt.format(d=fortress.dir)], capture_output=True, text=True, check=False)
            assert run.returncode != 0, attempt


# -- bundles ---------------------------------------------------------------------------------------------------------------

def test_a_bundle_is_what_it_says(fortress):
    device = fortress.add('sensor', credentials=('x509', 'password', 'psk'))
    files = {path.name for path in device.bundle.iterdir()}
    assert files == {'bundle.json', 'ca.pem', 'cert.pem', 'key.pem', 'password.txt', 'psk.txt', 'howto.txt'}
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 for path in [device.bundle, *device.bundle.iterdir()])
    about = json.loads((device.bundle / 'bundle.json').read_text())
    assert about['host'] == 'localhost' and about['device'] == device.name
    assert about['ports'] == {'mqtts': fortress.ports['mqtts'], 'coaps': fortress.ports['coaps']}
    assert re.fullmatch(rf'{device.name}:[A-Za-z0-9]{{32}}\n?', (device.bundle / 'psk.txt').read_text())
    assert re.fullmatch(r'\S{16,}\n?', (device.bundle / 'password.txt').read_text())
    cert = (device.bundle / 'cert.pem').read_text()
    assert cert.count('BEGIN CERTIFICATE') == 2, 'leaf and intermediate'
    shown = subprocess.run(['openssl', 'x509', '-in', device.cert, '-noout', '-text'], capture_output=True, text=True,
                           check=True).stdout
    assert f'URI:urn:sallyport:device:{device.name}' in shown and 'prime256v1' in shown
    verify = subprocess.run(['openssl', 'verify', '-CAfile', device.ca, '-untrusted', device.cert, device.cert],
                            capture_output=True, text=True, check=False)
    assert verify.returncode == 0, verify.stderr


def test_a_bundle_holds_only_what_was_asked_for(fortress):
    device = fortress.add('sensor', credentials=('psk',))
    assert {path.name for path in device.bundle.iterdir()} == {'bundle.json', 'ca.pem', 'psk.txt', 'howto.txt'}
    device = fortress.add('sensor', credentials=('oscore',))
    assert {path.name for path in device.bundle.iterdir()} == {'bundle.json', 'ca.pem', 'oscore.json', 'howto.txt'}


def test_without_out_the_bundle_is_in_the_name(fortress, tmp_path):
    run = sallyport('-C', fortress.dir, 'device', 'add', 'here-1', '--role', 'sensor', cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / 'here-1/cert.pem').exists()
    assert str(tmp_path / 'here-1') in (tmp_path / 'here-1/howto.txt').read_text(), 'the lines work from anywhere'


def test_no_secret_is_in_log_trail_or_arguments(make_fortress):
    fortress = make_fortress()
    device = fortress.add('sensor', credentials=('x509', 'password', 'psk'))
    mosquitto.publish(device, f'status/{device.name}', 'x', qos=1, auth='password')
    arguments = b''.join(Path(f'/proc/{pid}/cmdline').read_bytes() + Path(f'/proc/{pid}/environ').read_bytes()
                         for pid in fortress.processes())
    fortress.stop()
    everything = '\n'.join(fortress.log).encode() + arguments
    everything += b''.join(path.read_bytes() for path in fortress.dir.rglob('*') if path.is_file())
    master = Path(f'{fortress.dir}.key').read_bytes().strip()
    for secret in (device.password, device.psk, (device.bundle / 'key.pem').read_text().splitlines()[1]):
        assert secret.encode() not in everything
    assert master not in everything


# -- quickstart ------------------------------------------------------------------------------------------------------------

def test_the_lines_of_quickstart_work_when_pasted(tmp_path_factory):
    home = tmp_path_factory.mktemp('paste')
    home.chmod(0o755)
    ports = free_ports(('mqtts', 'coaps', 'mqtt'))
    listens = [word for name, port in ports.items() for word in ('--listen', f'{name}=127.0.0.1:{port}')]
    text = sallyport('quickstart', 'demo', *listens, cwd=home).stdout
    assert 'Arduino' in text
    lines = [line.strip() for line in text.splitlines()]
    serve, = [line for line in lines if re.search(r'sallyport serve', line)]
    daemon = subprocess.Popen(['sh', '-c', 'exec ' + serve], cwd=home, stderr=subprocess.PIPE, text=True,
                              stdin=subprocess.DEVNULL)
    try:
        while daemon.stderr.readline().strip() != 'ready':
            assert daemon.poll() is None
        watch, = [line for line in lines if 'mosquitto_sub' in line]
        with open(home / 'seen', 'w', encoding='utf-8') as seen:
            subscriber = subprocess.Popen(['sh', '-c', watch.replace('mosquitto_sub', 'exec stdbuf -oL mosquitto_sub')],
                                          stdout=seen, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            wait_until('the subscription', lambda: re.search(r'sallyport_subscriptions [1-9]', sallyport(
                '-C', home / 'demo', 'metrics').stdout), 15, pause=0.2)
            pasted = [line for line in lines if 'mosquitto_pub' in line or 'coap-client' in line]
            assert len(pasted) >= 2
            for line in pasted:
                if 'coap-client' in line and not coap.BUILDS:
                    continue
                run = subprocess.run(['sh', '-c', line], capture_output=True, text=True, timeout=30, check=False,
                                     stdin=subprocess.DEVNULL)
                assert run.returncode == 0, (line, run)
                message = re.search(r"-[me] (\S+)(?: coaps|$)", line).group(1)
                wait_until(line, lambda: f' {message}\n' in (home / 'seen').read_text(), 10)  # pylint: disable=W0640
        finally:
            subscriber.terminate()
            subscriber.wait(10)
    finally:
        daemon.terminate()
        _, rest = daemon.communicate(timeout=15)
    assert daemon.returncode == 0, rest
