"""m: `scan` from outside: what others' servers show with a typical open configuration, that ours shows nothing of it, and
that a server which lies does no harm. All scans of the file run at the same time."""
import concurrent.futures
import contextlib
import getpass
import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import threading

import pytest

from harness import scan_fakes
from harness.fortress import BINARY, BROKEN
from harness.ports import free_ports
from harness.talk import Mosquitto
from harness.wait import wait_until

needs_mosquitto = pytest.mark.skipif(Mosquitto.BINARY is None, reason='mosquitto is not installed')
COAP_SERVERS = [name for name in ('coap-server-openssl', 'coap-server-gnutls') if shutil.which(name)]
KEYS = {'id', 'severity', 'title', 'service', 'port', 'evidence', 'fix'}


def run(*arguments, timeout=60):
    done = subprocess.run([str(BINARY), 'scan', *map(str, arguments)], capture_output=True, timeout=timeout, check=False,
                          stdin=subprocess.DEVNULL)
    done.stdout, done.stderr = done.stdout.decode('ascii'), done.stderr.decode('ascii')
    assert not BROKEN.search(done.stderr), done.stderr
    assert not re.search(r'[^\n -~]', done.stdout + done.stderr), 'something that a terminal obeys'
    return done


def scan(*ports, more=('--timeout', '5'), host='localhost'):
    """The JSON of a scan of these (kind, port), and its exit code."""
    options = [option for kind, port in ports for option in ('--port', f'{kind}:{port}')]
    done = run(host, '--json', *options, *more)
    assert done.stderr == ''
    return json.loads(done.stdout), done.returncode


def ids(report, service=None):
    for finding in report['findings']:
        assert set(finding) == KEYS and all(finding.values()), finding
    return {finding['id'] for finding in report['findings'] if service in (None, finding['service'])}


def port_of(report, service):
    return next(port for port in report['ports'] if port['service'] == service)


# -- servers ---------------------------------------------------------------------------------------------------------------

def listens(port):
    with socket.socket() as one:
        return one.connect_ex(('127.0.0.1', port)) == 0


@pytest.fixture(scope='module')
def mosquitto(tmp_path_factory):
    """Debian's, as people run it: everybody may come; TLS with what openssl makes; a password of the kind that is kept."""
    folder = tmp_path_factory.mktemp('mosquitto')
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '10', '-subj', '/CN=broker', '-keyout',
                    folder / 'key.pem', '-out', folder / 'cert.pem'], check=True, capture_output=True)
    subprocess.run(['mosquitto_passwd', '-b', '-c', folder / 'users', 'admin', 'public'], check=True, capture_output=True)
    ports = free_ports(('mqtt', 'mqtts', 'password'))
    (folder / 'conf').write_text(f'''user {getpass.getuser()}
per_listener_settings true
listener {ports['mqtt']} 127.0.0.1
allow_anonymous true
listener {ports['mqtts']} 127.0.0.1
allow_anonymous true
certfile {folder}/cert.pem
keyfile {folder}/key.pem
listener {ports['password']} 127.0.0.1
allow_anonymous false
password_file {folder}/users
''')
    server = subprocess.Popen([Mosquitto.BINARY, '-c', folder / 'conf'],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until('mosquitto', lambda: all(listens(port) for port in ports.values()))
    yield ports
    server.terminate()
    server.wait(10)


@pytest.fixture(scope='module')
def coap_server():
    ports = free_ports(('coap',))
    server = subprocess.Popen([COAP_SERVERS[0], '-A', '127.0.0.1', '-p', str(ports['coap']), '-k', '0123456789abcdef'],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until('the server', lambda: f'{ports["coap"]:04X} ' in open('/proc/net/udp', encoding='ascii').read())
    yield ports['coap']
    server.terminate()
    server.wait(10)


@pytest.fixture(scope='module')
def fakes():
    made = {'forgetful': scan_fakes.Forgetful(), 'old': scan_fakes.Old(), 'shouting': scan_fakes.Tcp(scan_fakes.shouting),
            'mute': scan_fakes.Tcp(scan_fakes.mute), 'web': scan_fakes.Tcp(scan_fakes.web_page),
            'origin': scan_fakes.Tcp(scan_fakes.any_origin), 'links': scan_fakes.Udp(scan_fakes.flood_of_links),
            'cookie': scan_fakes.Udp(scan_fakes.without_cookie)}
    yield made
    for one in made.values():
        one.close()


@pytest.fixture(scope='module')
def scans(request, fortress, fakes):
    """All of them at the same time: a scan mostly waits."""
    ours = fortress.ports
    jobs = {
        'ours': lambda: scan(('mqtts', ours['mqtts']), ('coaps', ours['coaps']),
                             more=('--timeout', '10', '--no-passwords', '--cafile', fortress.add('sensor', name='looked-at').ca)),
        'forgetful': lambda: scan(('mqtt', fakes['forgetful'].port)),
        'hostile': lambda: scan(('mqtt', fakes['shouting'].port), ('mqtts', fakes['web'].port), ('mqtts', fakes['shouting'].port),
                                ('coap', fakes['links'].port), ('ws', fakes['web'].port)),
        'old': lambda: scan(('mqtt', fakes['old'].port)),
        'mute': lambda: scan(('mqtt', fakes['mute'].port), ('mqtts', fakes['mute'].port), ('ws', fakes['mute'].port),
                             more=('--timeout', '1', '--time', '2')),
        'wrong': lambda: scan(('ws', fakes['origin'].port), ('coaps', fakes['cookie'].port)),
    }
    if Mosquitto.BINARY is not None:
        ports = request.getfixturevalue('mosquitto')
        jobs['mosquitto'] = lambda: scan(('mqtt', ports['mqtt']), ('mqtts', ports['mqtts']), more=('--timeout', '10'))
        jobs['password'] = lambda: scan(('mqtt', ports['password']), host='127.0.0.1')
    if COAP_SERVERS:
        coap = request.getfixturevalue('coap_server')
        jobs['libcoap'] = lambda: scan(('coap', coap), ('coaps', coap + 1), more=('--timeout', '10'))
    with concurrent.futures.ThreadPoolExecutor(len(jobs)) as pool:
        running = {name: pool.submit(job) for name, job in jobs.items()}
        return {name: one.result() for name, one in running.items()}


# -- what is found ---------------------------------------------------------------------------------------------------------

@needs_mosquitto
def test_an_open_mosquitto_has_its_weak_points_named(scans, mosquitto):
    report, code = scans['mosquitto']
    assert code == 1 and report['finished']
    assert ids(report, 'mqtt') >= {'mqtt-plaintext', 'mqtt-anonymous', 'mqtt-reads-all', 'mqtt-reads-sys', 'mqtt-shows-version',
                                   'mqtt-takeover', 'mqtt-retained', 'mqtt-huge-before-connect', 'mqtt-packet-unlimited'}
    assert ids(report, 'mqtts') >= {'cert-self-signed', 'cert-expiring', 'cert-name', 'mqtt-anonymous'}
    assert 'mqtt-plaintext' not in ids(report, 'mqtts')
    assert not {'mqtt-takes-bad-utf8', 'scan-left-behind', 'tls-old-version', 'tls-no-encryption'} & ids(report)
    assert len(ids(report)) >= 12
    tls = port_of(report, 'mqtts')['tls']
    assert tls['certificate']['bits'] == 2048
    names = [suite['name'] for suite in tls['suites']]
    assert len(names) == len(set(names)) and {suite['version'] for suite in tls['suites']} == {'TLS 1.3', 'TLS 1.2'}
    assert {'TLS_AES_256_GCM_SHA384', 'TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256', 'TLS_RSA_WITH_AES_256_GCM_SHA384'} <= set(names)
    assert not any('ECDSA' in name or 'NULL' in name for name in names)


@needs_mosquitto
def test_nothing_is_left_at_the_server(scans, mosquitto):
    """What is retained for the first filter comes before what is for the second."""
    at = ['-h', '127.0.0.1', '-p', str(mosquitto['mqtt'])]
    subprocess.run(['mosquitto_pub', *at, '-t', 'marker', '-m', 'x', '-r'], check=True, timeout=20)
    done = subprocess.run(['mosquitto_sub', *at, '-t', 'sallyport-scan/#', '-t', 'marker', '-C', '1', '-F', '%t', '-W', '20'],
                          check=True, capture_output=True, text=True, timeout=30)
    assert done.stdout == 'marker\n'


@needs_mosquitto
def test_a_default_password_is_found(scans):
    report, code = scans['password']
    assert code == 1
    assert 'mqtt-default-password' in ids(report) and 'mqtt-anonymous' not in ids(report)
    finding = next(one for one in report['findings'] if one['id'] == 'mqtt-default-password')
    assert 'user admin and password public' in finding['evidence']
    mqtt = port_of(report, 'mqtt')['mqtt']
    assert mqtt['passwords_tried'] == 2 and mqtt['let_in'] == 'default password'
    assert mqtt['takeover'] == 'unknown', 'who proves the same identity may take over'


@pytest.mark.skipif(not COAP_SERVERS, reason='libcoap3-bin is not installed')
def test_libcoaps_amplification_is_measured(scans):
    report, code = scans['libcoap']
    assert code == 1
    assert ids(report, 'coap') == {'coap-nosec', 'coap-discovery', 'coap-amplification', 'coap-no-echo', 'coap-observe'}
    coap = port_of(report, 'coap')['coap']
    assert coap['discovery']['path'] == '/.well-known/core' and coap['discovery']['factor'] > 5
    assert coap['largest']['factor'] > 30 and coap['largest']['bytes_out'] > 1000
    assert coap['largest']['factor'] == pytest.approx(coap['largest']['bytes_out'] / coap['largest']['bytes_in'])
    assert port_of(report, 'coaps')['dtls']['cookie'] == 'yes' and not ids(report, 'coaps')


def test_our_own_default_is_clean(scans, fortress):
    report, code = scans['ours']
    assert code == 0 and report['findings'] == [] and report['finished']
    mqtts = port_of(report, 'mqtts')
    assert mqtts['mqtt']['let_in'] == 'nobody'
    assert mqtts['mqtt']['huge_before_connect'] == 'no'
    assert [one['terms'] for one in mqtts['tls']['asked'] if one['accepted'] != 'no'] == ['TLS 1.3']
    assert {suite['version'] for suite in mqtts['tls']['suites']} == {'TLS 1.3'}
    assert mqtts['tls']['certificate']['verify'] == 'ok' and mqtts['tls']['certificate']['named']
    assert port_of(report, 'coaps')['dtls']['cookie'] == 'yes'
    assert port_of(report, 'coaps')['dtls']['hello']['factor'] < 1


# -- a server that lies ----------------------------------------------------------------------------------------------------

def test_what_a_broken_server_kept_is_taken_away_again(scans, fakes):
    """It keeps the message and ends the connection instead of answering."""
    report, code = scans['forgetful']
    assert code == 1
    assert {'mqtt-retained', 'mqtt-takes-bad-utf8'} <= ids(report) and 'scan-left-behind' not in ids(report)
    assert len(fakes['forgetful'].ever) == 1 and fakes['forgetful'].kept == {}


def test_an_interrupt_waits_until_nothing_is_left():
    """Ctrl-C comes while the server has the message and has not even acknowledged it."""
    has_come, goes_on = threading.Event(), threading.Event()
    server = scan_fakes.Forgetful(has_come, goes_on)
    scanning = subprocess.Popen([str(BINARY), 'scan', '127.0.0.1', '--timeout', '20', '--port', f'mqtt:{server.port}'],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                # who runs the tests behind a shell's & has it ignored
                                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    try:
        assert has_come.wait(20) and len(server.kept) == 1
        scanning.send_signal(signal.SIGINT)
        goes_on.set()
        assert scanning.wait(20) == -signal.SIGINT and scanning.stdout.read() == b''
        assert server.kept == {}
    finally:
        scanning.kill()
        scanning.wait(10)
        scanning.stdout.close()
        server.close()


def test_a_server_of_3_1_1_only(scans, fakes):
    report, code = scans['old']
    assert code == 1
    assert ids(report) == {'mqtt-plaintext', 'mqtt-default-password', 'mqtt-reads-all', 'mqtt-reads-sys'}
    mqtt = port_of(report, 'mqtt')['mqtt']
    assert mqtt['passwords_tried'] == 4 and mqtt['retained'] == 'no' and mqtt['unlimited_packet'] == 'unknown'
    connect, publish, disconnect = (fakes['old'].seen.count(kind) for kind in (1, 3, 14))
    assert connect <= 20 and publish <= 2 and disconnect >= 3, 'every connection that can be is ended in order'


def test_a_hostile_server_is_looked_at_within_bounds(scans, fakes):
    report, code = scans['hostile']
    assert code == 1 and report['answered']
    states = [port['state'] for port in report['ports']]
    assert states[1] == states[2] == states[4] == 'another protocol', states
    coap = report['ports'][3]
    assert coap['state'] == 'open' and coap['coap']['links'] > 100
    asked = [data for data in fakes['links'].seen if data[1:2] == b'\1']
    assert 3 <= len(asked) <= 12, 'a long list of links is not asked for one by one'


def test_a_server_that_says_nothing_ends_at_the_time(scans):
    report, code = scans['mute']
    assert code == 1 and not report['finished']
    assert ids(report) <= {'mqtt-plaintext'} and report['ports'][2]['state'] == 'not looked at'


def test_any_origin_and_no_cookie(scans):
    report, code = scans['wrong']
    assert code == 1
    assert ids(report, 'ws') == {'ws-origin', 'mqtt-plaintext'}
    assert port_of(report, 'ws')['mqtt']['passwords_tried'] == 8 and port_of(report, 'ws')['mqtt']['let_in'] == 'nobody'
    assert ids(report, 'coaps') == {'dtls-no-cookie'}
    assert port_of(report, 'coaps')['dtls']['hello']['factor'] > 3


def test_a_terminal_sees_how_far_it_is(fortress):
    near, far = pty.openpty()
    done = subprocess.run([str(BINARY), 'scan', 'localhost', '--no-passwords', '--port', f'mqtts:{fortress.ports["mqtts"]}'],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=far, timeout=60, check=False)
    os.close(far)
    told = b''
    with contextlib.suppress(OSError):
        while more := os.read(near, 4096):
            told += more
    os.close(near)
    assert done.returncode == 0 and b'\x1b' not in done.stdout
    assert b'TLS 1.3' in told and b'CONNECT without a name' in told and told.endswith(b'\r\x1b[K')


# -- the command -----------------------------------------------------------------------------------------------------------

def test_sarif(fortress):
    done = run('localhost', '--sarif', '--no-passwords', '--port', f'mqtts:{fortress.ports["mqtts"]}')
    assert done.returncode == 0
    sarif = json.loads(done.stdout)
    assert sarif['version'] == '2.1.0' and sarif['$schema'].endswith('sarif-2.1.0.json')
    one, = sarif['runs']
    rules, results = one['tool']['driver']['rules'], one['results']
    assert [result['ruleId'] for result in results] == ['cert-unknown-authority'], 'no --cafile was given'
    for result in results:
        assert rules[result['ruleIndex']]['id'] == result['ruleId'] and result['level'] == 'note' and result['message']['text']
        uri = result['locations'][0]['physicalLocation']['artifactLocation']['uri']
        assert uri == f'mqtts://localhost:{fortress.ports["mqtts"]}'


def test_text_and_nobody_there(fortress):
    done = run('localhost', '--no-passwords', '--port', f'mqtts:{fortress.ports["mqtts"]}')
    assert done.returncode == 0 and 'cert-unknown-authority' in done.stdout and '0 high, 0 medium' in done.stdout
    port, = free_ports(('nobody',)).values()
    done = run('::1', '--port', f'mqtt:{port}')
    assert done.returncode == 1 and done.stdout.startswith('::1 ([::1]), ')
    done = run('127.0.0.1', '--port', f'mqtt:{port}', '--port', f'coap:{port}')
    assert done.returncode == 1 and 'no port answers' in done.stdout and 'closed' in done.stdout


def test_another_machine_has_to_be_ours():
    done = run('192.0.2.1')
    assert done.returncode == 2 and done.stdout == ''
    assert '--i-own-this' in done.stderr and 'default passwords' in done.stderr and '192.0.2.1' in done.stderr


@pytest.mark.parametrize('arguments, word', [
    ((), 'one host'), (('a', 'b'), 'one host'), (('localhost', '--json', '--sarif'), 'not both'),
    (('mqtt://localhost',), 'without a port or a URL'), (('-x',), 'not an option'), (('localhost', '--port', '1234'), 'KIND:PORT'),
    (('localhost', '--port', 'http:80'), 'KIND:PORT'), (('localhost', '--port', 'mqtt:0'), 'KIND:PORT'),
    (('localhost', '--port', 'mqtt:65536'), 'KIND:PORT'), (('localhost', *['--port', '1883'] * 17), 'at most 16'),
    (('localhost', '--ws-path', 'a'), '--ws-path'), (('localhost', '--timeout', '0'), '--timeout'),
    (('224.0.0.1', '--i-own-this'), 'group'),
])
def test_usage(arguments, word):
    done = run(*arguments)
    assert done.returncode == 2 and word in done.stderr and done.stdout == '', done.stderr
