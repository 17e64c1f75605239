"""a: pub, sub and rpc with the flags that people know, against our daemon and against Debian's mosquitto."""
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import threading
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from harness.fortress import BINARY, Fortress
from harness.ports import free_ports
from harness.wait import wait_until

pytestmark = pytest.mark.release

POLICY = '''
version: 1
roles:
  tool: { kind: service, many: yes, client_id: "*", publish: [ { topic: "t/#", retain: yes } ], subscribe: [ "t/#" ] }
'''


class Server:
    """Where the tools go and what they need to be let in."""

    def __init__(self, name, port, identity, ca, device=None, wss=None):
        self.name, self.port, self.identity, self.ca, self.device, self.wss = name, port, identity, ca, device, wss
        self.n_topics = 0

    def topic(self):
        """One that no other test uses."""
        self.n_topics += 1
        return f't/{self.n_topics}'

    def command(self, tool, *arguments, identity=True):
        whom = [*self.identity, '-h', 'localhost', '-p', str(self.port)] if identity else []
        return [str(BINARY), tool, *whom, *map(str, arguments)]

    def run(self, tool, *arguments, code=0, data=b'', identity=True, timeout=30, env=None):
        """Runs to its end; stdout and stderr as bytes and text."""
        run = subprocess.run(self.command(tool, *arguments, identity=identity), capture_output=True, input=data, timeout=timeout,
                             check=False, env={**os.environ, **(env or {})})
        run.stderr = run.stderr.decode()
        assert run.returncode == code, (run.returncode, run.stderr)
        assert 'Sanitizer' not in run.stderr and 'runtime error' not in run.stderr, run.stderr
        return run

    def pub(self, *arguments, **how):
        return self.run('pub', *arguments, **how)

    def sub(self, *arguments, **how):
        """A sub that has its SUBACK when the block begins."""
        return Listening(self.command('sub', '-d', *arguments, **how))


class Listening:
    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.said, self.ready = [], threading.Event()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.said.append(line.decode())
            if b'SUBACK' in line:
                self.ready.set()
        self.ready.set()

    def __enter__(self):
        # What it waits for may have come with the SUBACK: then it has ended already, and rightly.
        assert self.ready.wait(20) and any('SUBACK' in line for line in self.said), self.said
        return self

    def output(self, code=0, timeout=20):
        """What it printed until its end."""
        out = self.process.stdout.read()
        assert self.process.wait(timeout) == code, self.said
        self.reader.join(timeout)
        return out

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(10)
        self.reader.join(10)
        self.process.stdout.close()


@pytest.fixture(scope='module')
def ours():
    one = Fortress(listeners=('mqtts', 'wss', 'coaps'), start=False)
    one.start()
    one.apply(POLICY)
    device = one.add('tool')
    yield Server('sallyport', one.ports['mqtts'], ['--bundle', str(device.bundle)], device.ca, device, one.ports['wss'])
    one.close()


@pytest.fixture(scope='module')
def debian(tmp_path_factory):
    if not shutil.which('mosquitto'):
        pytest.skip('mosquitto is not installed')
    home = tmp_path_factory.mktemp('mosquitto')

    def openssl(*arguments):
        subprocess.run(['openssl', *arguments], check=True, capture_output=True, cwd=home)
    new = ['req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
    openssl(*new, '-x509', '-days', '2', '-subj', '/CN=test authority', '-keyout', 'ca.key', '-out', 'ca.pem')
    openssl(*new, '-subj', '/CN=localhost', '-keyout', 'key.pem', '-out', 'request.pem')
    (home / 'names').write_text('subjectAltName=DNS:localhost\n')
    openssl('x509', '-req', '-in', 'request.pem', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2',
            '-extfile', 'names', '-out', 'cert.pem')
    port = free_ports(['mqtts'])['mqtts']
    (home / 'mosquitto.conf').write_text(f'user root\nlistener {port} 127.0.0.1\nallow_anonymous true\ncertfile {home}/cert.pem\n'
                                         f'keyfile {home}/key.pem\n')
    process = subprocess.Popen(['mosquitto', '-c', str(home / 'mosquitto.conf')], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answers():
        with socket.socket() as one:
            return one.connect_ex(('127.0.0.1', port)) == 0
    wait_until('mosquitto', answers, 20)
    yield Server('mosquitto', port, ['--cafile', str(home / 'ca.pem')], str(home / 'ca.pem'))
    process.terminate()
    process.wait(10)


@pytest.fixture(params=['ours', 'debian'])
def server(request):
    return request.getfixturevalue(request.param)


# -- what pub sends ---------------------------------------------------------------------------------------------------------

def test_payloads(server, tmp_path):
    topic, file = server.topic(), tmp_path / 'payload'
    file.write_bytes(b'\x00\xff from a file')
    with server.sub('-t', topic, '-q', 1, '-C', 7, '-W', 20, '-F', '%q %l %x') as listening:
        server.pub('-t', topic, '-m', 'text', '-q', 1)
        server.pub('-t', topic, '-f', file)
        server.pub('-t', topic, '-s', data=b'all\nof it', )
        server.pub('-t', topic, '-n', '-q', 2)
        server.pub('-t', topic, '-l', '-q', 1, data=b'one\n\nthree')
        lines = listening.output().decode().split('\n')
    want = [(1, b'text'), (0, b'\x00\xff from a file'), (0, b'all\nof it'), (1, b''), (1, b'one'), (1, b''), (1, b'three')]
    assert lines == [f'{qos} {len(data)} {data.hex()}' for qos, data in want] + ['']


def test_one_payload_only(ours):
    assert 'once' in ours.pub('-t', 't/x', '-m', 'a', '-n', code=2).stderr
    assert 'once' in ours.pub('-t', 't/x', code=2).stderr
    assert 'one topic' in ours.pub('-m', 'a', code=2).stderr
    assert 'one topic' in ours.pub('-t', 't/x', '-t', 't/y', '-m', 'a', code=2).stderr


@pytest.mark.parametrize('qos', [0, 1, 2])
def test_repeat(server, qos):
    topic = server.topic()
    with server.sub('-t', topic, '-q', qos, '-C', 3, '-W', 20) as listening:
        server.pub('-t', topic, '-m', 'again', '-q', qos, '--repeat', 3, '--repeat-delay', '0.01')
        assert listening.output() == b'again\n' * 3
    assert '-l' in server.pub('-t', topic, '-l', '--repeat', 2, code=2).stderr
    assert 'from 0' in server.pub('-t', topic, '-m', 'x', '--repeat', 2, '--repeat-delay', '-1', code=2).stderr


def test_progress_is_told_on_stderr(server):
    data = b'0123456789\n' * 500
    run = server.pub('-t', server.topic(), '-l', '-q', 1, '--progress', data=data)
    assert run.stdout == b''
    assert run.stderr.splitlines()[-1].startswith('500 messages, 5000 bytes, '), run.stderr
    assert run.stderr.endswith('0 not acknowledged yet\n')
    assert server.pub('-t', server.topic(), '-l', data=data).stderr == ''  # no terminal, not asked for


# -- what sub prints --------------------------------------------------------------------------------------------------------

# Not a hex payload in a width, which mosquitto_sub 2.0 cuts, nor an absent response topic in one, which it does not fill up:
# both against its own manual.
FORMATS = ['%t', '%12t|%-12t|%3.3t|%.1t', '%p', '%8p|%-8p', '%q%r%l%m', '%05l|%-5l|%5l', '%03m|%-3m', '%x %X',
           '%C|%10C|%-10C|%.2C', '%R', '%D', '%E|%010E|%-10E', '%F|%3F', '%S', '%A|%4A', '%P', '%%', '@@', '@Y-@m-@d',
           r'\t\n\r\a\e\v\\', '%30I|%-30I|%.10I', 'text around %t and %p']
PROPERTIES = ['-D', 'publish', 'content-type', 'text/x', '-D', 'publish', 'response-topic', 't/answer', '-D', 'publish',
              'correlation-data', 'cd', '-D', 'publish', 'message-expiry-interval', '100', '-D', 'publish',
              'payload-format-indicator', '1', '-D', 'publish', 'user-property', 'k', 'v', '-D', 'publish', 'user-property', 'l',
              'w']
# Two programs are told different expiries when a second passes between them.
LASTING = [*PROPERTIES[:12], *PROPERTIES[16:]]


def theirs(server, topic, form):
    """mosquitto_sub with the same format, ready."""
    command = ['stdbuf', '-oL', 'mosquitto_sub', '-V', '5', '-h', 'localhost', '-p', str(server.port), '--cafile', server.ca, '-t',
               topic, '-q', '1', '-C', '2', '-F', form, '-D', 'subscribe', 'subscription-identifier', '7']
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def without_seconds(text):
    """Two programs may look at the clock on both sides of a second."""
    return re.sub(rb'T\d\d:\d\d:\d\d', b'T', text)


def test_formats_are_those_of_mosquitto_sub(debian):
    """One message with every property, and one with none, in every format, byte for byte."""
    topic, joined = debian.topic(), '\x1f'.join(FORMATS)
    # Retained, so that both get the same ones without a race: the first when they subscribe.
    debian.pub('-t', topic, '-m', 'hello', '-q', 1, '-r', *LASTING)
    other = theirs(debian, topic, joined)
    with debian.sub('-t', topic, '-q', 1, '-C', 2, '-F', joined, '-D', 'subscribe', 'subscription-identifier', 7) as listening:
        first = other.stdout.read(1)
        assert first == b't'
        debian.pub('-t', topic, '-m', 'x')
        assert without_seconds(listening.output()) == without_seconds(first + other.stdout.read())
    assert other.wait(10) == 0
    other.stdout.close()


@pytest.mark.parametrize('form', ['%j', '%J'])
def test_json_is_that_of_mosquitto_sub(debian, form):
    topic, payload = debian.topic(), '{"a": [0.10, true]}'
    debian.pub('-t', topic, '-m', payload, '-q', 1, '-r', *LASTING)
    other = theirs(debian, topic, form)
    with debian.sub('-t', topic, '-q', 1, '-C', 2, '-F', form, '-D', 'subscribe', 'subscription-identifier', 7) as listening:
        first = other.stdout.readline()
        debian.pub('-t', topic, '-n')
        got = [json.loads(line) for line in listening.output().splitlines()]
        want = [json.loads(line) for line in [first, *other.stdout.read().splitlines()]]
    other.stdout.close()
    for one in got + want:  # mosquitto_sub 2.0 has a Z before the zone
        assert re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z?[+-]\d{4}', one.pop('tst'))
    assert got == want and len(got) == 2


def test_json_that_is_none(ours):
    topic = ours.topic()
    with ours.sub('-t', topic, '-C', 2, '-W', 20, '-F', '%J') as listening:
        ours.pub('-t', topic, '-m', '{oops')
        ours.pub('-t', topic, '-m', '[1]')
        lines = listening.output().splitlines()
    assert len(lines) == 1 and json.loads(lines[0])['payload'] == [1]
    assert any('no JSON' in line for line in listening.said)


def test_formats_that_are_none(ours):
    for form in ['%z', '%', '\\q', '@', '%5q', '%.3p', '%10001t']:
        assert '-F' in ours.run('sub', '-t', 't/x', '-F', form, code=2).stderr


def test_output(server):
    topic = server.topic()

    def prints(*flags):
        with server.sub('-t', topic, '-C', 2, '-W', 20, *flags) as listening:
            server.pub('-t', topic, '-l', data=b'a\nb\n')
            return listening.output()
    assert prints() == b'a\nb\n'
    assert prints('-v') == f'{topic} a\n{topic} b\n'.encode()
    assert prints('-N') == b'ab'
    assert prints('-F', '%p\\0', '-N') == b'a\0b\0'
    lines = [json.loads(line) for line in prints('--json').splitlines()]
    assert [(line['topic'], line['payload'], line['bytes']) for line in lines] == [(topic, 'a', 1), (topic, 'b', 1)]
    assert prints('-F', '%j', '--pretty').count(b'\n  "payload": ') == 2


def on_terminal(command, until, timeout=20):
    """Runs a command with a terminal for its output until it printed this, then Ctrl-C."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=follower, stderr=subprocess.PIPE)
    os.close(follower)
    got = b''
    while until not in got:
        assert select.select([leader], [], [], timeout)[0], (got, process.poll())
        got += os.read(leader, 65536)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=timeout)
    os.close(leader)
    return got, process.returncode


def test_a_terminal_obeys_nothing(ours):
    """And -w keeps one line for each topic."""
    topic = ours.topic()
    ours.pub('-t', f'{topic}/a', '-m', '\x1b]0;evil\x07', '-r', '-q', 1)
    got, code = on_terminal(ours.command('sub', '-t', f'{topic}/a', '-v'), b'x07')
    assert code == 0 and b'\x1b' not in got and b'\\x1b]0;evil\\x07' in got
    ours.pub('-t', f'{topic}/b', '-m', 'second', '-r', '-q', 1)
    got, code = on_terminal(ours.command('sub', '-t', f'{topic}/+', '-w'), b'second')
    assert code == 0 and b'\x1b[1;1H' in got and b'\x1b[2;1H' in got and b'\x1b]0' not in got
    assert 'terminal' in ours.run('sub', '-t', topic, '-w', code=2).stderr


# -- when sub ends, and what it takes ---------------------------------------------------------------------------------------

def test_time_is_up(server):
    """The exit codes are 0, 1 and 2: 1 when something still had to come, where mosquitto_sub says 27."""
    topic = server.topic()
    assert server.run('sub', '-t', topic, '-W', 1).stdout == b''
    assert '0 of 1' in server.run('sub', '-t', topic, '-W', 1, '-C', 1, code=1).stderr


def test_end_when_subscribed(server):
    run = server.run('sub', '-t', server.topic(), '-t', server.topic(), '-E', '-d')
    assert 'SUBACK' in run.stderr and run.stdout == b''


def test_a_refused_subscription(ours):
    run = ours.run('sub', '-t', 'elsewhere/#', '-E', code=1)
    assert 'elsewhere/#: the server refuses the subscription' in run.stderr


def test_filter_out(server):
    topic = server.topic()
    with server.sub('-t', f'{topic}/#', '-T', f'{topic}/no', '-T', f'{topic}/+/no', '-C', 1, '-W', 20, '-v') as listening:
        for name in ['no', 'a/no', 'yes']:
            server.pub('-t', f'{topic}/{name}', '-m', '1', '-q', 1)
        assert listening.output() == f'{topic}/yes 1\n'.encode()


def test_unsubscribe(server):
    """A subscription that lasts ends by -U."""
    topic, who = server.topic(), ['-i', 'unsubscriber', '-c', '-q', '1']
    server.run('sub', '-t', topic, *who, '-E')
    server.run('sub', '-U', topic, *who, '-E')
    server.pub('-t', topic, '-m', 'nobody', '-q', 1)
    assert server.run('sub', '-t', f'{topic}/other', *who, '-W', 1).stdout == b''


def test_retained(server):
    topic = server.topic()
    for name in ['a', 'b']:
        server.pub('-t', f'{topic}/{name}', '-m', name, '-q', 1, '-r')

    def prints(*flags, filters=f'{topic}/+', new=()):
        with server.sub('-t', filters, '-W', 20, '-F', '%r %p', *flags) as listening:
            for one in new:
                server.pub('-t', f'{topic}/new', '-m', one, '-q', 1)
            return sorted(listening.output().decode().splitlines())
    assert prints('-C', 2) == ['1 a', '1 b']
    assert prints('-C', 1, '-R', new=['x']) == ['0 x']
    assert prints('--retained-only', new=['x']) == ['1 a', '1 b']
    assert prints('-C', 1, '--retain-handling', 'never', new=['x']) == ['0 x']
    assert prints('-C', 2, '--retain-handling', 'always') == ['1 a', '1 b']
    with server.sub('-t', f'{topic}/kept', '-C', 1, '-W', 20, '-F', '%r', '--retain-as-published') as listening:
        server.pub('-t', f'{topic}/kept', '-m', 'x', '-r', '-q', 1)
        assert listening.output() == b'1\n'
    assert prints('--remove-retained', '-C', 2, '-T', f'{topic}/b') == ['1 a', '1 x']
    assert prints('-C', 1) == ['1 b']
    assert prints('--remove-retained', '-C', 1, '-R', new=['y']) == ['0 y']
    assert prints('--retained-only', new=['z']) == []
    for flags in [['--retain-handling', 'sometimes'], ['-R', '--retained-only'], ['--retain-handling', 'new', '-V', '311']]:
        server.run('sub', '-t', topic, *flags, code=2)


def test_no_local(server):
    """With -i both have the same client id, but only one can be there: the flag must be taken, and others' messages come."""
    topic = server.topic()
    with server.sub('-t', topic, '--no-local', '-C', 1, '-W', 20) as listening:
        server.pub('-t', topic, '-m', 'of another', '-q', 1)
        assert listening.output() == b'of another\n'


def test_message_rate(server):
    topic = server.topic()
    with server.sub('-t', topic, '-q', 1, '--message-rate', '-W', 3) as listening:
        server.pub('-t', topic, '-l', '-q', 1, data=b'x\n' * 50)
        counts = [int(line) for line in listening.output().splitlines()]
    assert sum(counts) == 50 and len(counts) in (2, 3)


# -- sessions, wills, versions ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize('flags', [['-c'], ['-c', '-x', '60'], ['-c', '-x', '-1'], ['-c', '-x', '∞'], ['-c', '-V', '311']])
def test_a_session_that_lasts(server, flags):
    topic, who = server.topic(), ['-i', 'sleeper', *flags, '-q', '1']
    server.run('sub', '-t', topic, *who, '-E')
    server.pub('-t', topic, '-m', 'while it slept', '-q', 1)
    run = server.run('sub', '-t', topic, *who, '-C', 1, '-W', 20, '-d')
    assert run.stdout == b'while it slept\n' and 'the session was there' in run.stderr
    server.run('sub', '-t', topic, '-i', 'sleeper', '-E')  # a clean start forgets it


def test_a_session_that_ends(server):
    """-x 0, and -D disconnect takes the expiry back."""
    topic = server.topic()
    server.run('sub', '-t', topic, '-i', 'mayfly', '-c', '-x', 60, '-E', '-D', 'disconnect', 'session-expiry-interval', 0)
    run = server.run('sub', '-t', topic, '-i', 'mayfly', '-c', '-x', 0, '-W', 1, '-d')
    assert 'CONNACK' in run.stderr and 'the session was there' not in run.stderr


def test_sessions_are_checked(ours):
    assert 'MQTT 5' in ours.pub('-t', 't/x', '-m', 'x', '-V', '311', '-x', 5, code=2).stderr
    assert 'from 0' in ours.pub('-t', 't/x', '-m', 'x', '-x', '-2', code=2).stderr
    assert '-i' in ours.pub('-t', 't/x', '-m', 'x', '-i', 'a', '-I', 'b', code=2).stderr


def test_will(server):
    topic = server.topic()
    with server.sub('-t', topic, '-q', 2, '-C', 1, '-W', 20, '-F', '%q %p %C %P') as listening:
        with server.sub('-t', f'{topic}/other', '--will-topic', topic, '--will-payload', 'gone', '--will-qos', 1, '--will-retain',
                        '-D', 'will', 'content-type', 'text/x', '-D', 'will', 'user-property', 'k', 'v') as victim:
            victim.process.kill()
            victim.process.wait(10)
        assert listening.output() == b'1 gone text/x k:v\n'
    assert server.run('sub', '-t', topic, '-C', 1, '-W', 20, '-F', '%r %p').stdout == b'1 gone\n'  # retained
    assert '--will-topic' in server.run('sub', '-t', topic, '--will-payload', 'x', code=2).stderr


def test_properties(server):
    topic = server.topic()
    form = '%C|%R|%D|%E|%F|%P|%S'
    with server.sub('-t', topic, '-C', 1, '-W', 20, '-F', form, '-D', 'SUBSCRIBE', 'subscription-identifier', 9, '-D', 'subscribe',
                    'user-property', 'a', 'b', '-D', 'connect', 'receive-maximum', 5, '-D', 'connect', 'maximum-packet-size', 5000,
                    '-D', 'connect', 'user-property', 'c', 'd', '-D', 'connect', 'request-problem-information', 0,
                    '-D', 'disconnect', 'user-property', 'e', 'f') as listening:
        server.pub('-t', topic, '-m', 'x', '-q', 1, *PROPERTIES)
        assert listening.output() == b'text/x|t/answer|cd|100|1|k:v l:w|9\n'
    assert 'valid are: payload-format-indicator' in server.pub('-t', topic, '-m', 'x', '-D', 'publish', 'nonsense', '1',
                                                               code=2).stderr
    assert '3.1.1' in server.pub('-t', topic, '-m', 'x', '-V', '311', *PROPERTIES, code=2).stderr


def test_topic_alias(debian):
    """The server says how many it takes; ten for mosquitto."""
    topic = debian.topic()
    with debian.sub('-t', topic, '-C', 2, '-W', 20) as listening:
        debian.pub('-t', topic, '-m', 'short', '-D', 'publish', 'topic-alias', 3, '--repeat', 2)
        assert listening.output() == b'short\n' * 2
    assert 'topic alias' in debian.pub('-t', topic, '-m', 'x', '-D', 'publish', 'topic-alias', 11, code=1).stderr


@pytest.mark.parametrize('version', ['5', 'mqttv5', '311', 'mqttv311'])
def test_versions(server, version):
    topic = server.topic()
    with server.sub('-t', topic, '-q', 2, '-C', 1, '-W', 20, '-V', version, '-k', 30) as listening:
        server.pub('-t', topic, '-m', 'x', '-q', 2, '-V', version)
        assert listening.output() == b'x\n'


def test_versions_that_are_not_there(ours):
    for version in ['31', 'mqttv31']:
        assert 'not offered' in ours.pub('-t', 't/x', '-m', 'x', '-V', version, code=2).stderr
    assert 'takes 5' in ours.pub('-t', 't/x', '-m', 'x', '-V', '6', code=2).stderr


def test_client_ids(ours):
    fortress = ours.device.fortress
    ours.pub('-t', 't/x', '-m', 'x', '-i', 'by-name')
    ours.pub('-t', 't/x', '-m', 'x', '-I', 'prefix')
    wait_until('by name', lambda: [e for e in fortress.events() if e['client_id'] == 'by-name'])
    wait_until('by prefix', lambda: [e for e in fortress.events() if re.fullmatch(r'prefix-\d+', e['client_id'])])


def test_debug(server):
    run = server.pub('-t', server.topic(), '-m', 'x', '-q', 1, '-d', '--nodelay')
    for word in ['connecting to localhost', 'TLSv1.', 'CONNACK 0x00', 'acknowledged: id 1', 'DISCONNECT']:
        assert word in run.stderr
    assert run.stdout == b''


# -- whom, and as whom ------------------------------------------------------------------------------------------------------

def test_authorities(server, tmp_path):
    message = ['-h', 'localhost', '-p', server.port, '-t', server.topic(), '-m', 'x', '-q', 1]
    who = ['--cert', server.device.cert, '--key', server.device.key] if server.device else []
    server.pub(*message, *who, '--cafile', server.ca, identity=False)
    folder = tmp_path / 'authorities'
    folder.mkdir()
    shutil.copy(server.ca, folder / 'ca.pem')
    subprocess.run(['openssl', 'rehash', str(folder)], check=True)
    server.pub(*message, *who, '--capath', folder, identity=False)
    server.pub(*message, *who, '--tls-use-os-certs', identity=False, env={'SSL_CERT_FILE': server.ca})
    # A file of all that somebody trusts is large: up to the limit, and one byte over it.
    pem = Path(server.ca).read_bytes()
    many = tmp_path / 'many.pem'
    many.write_bytes(b'\n' * (2 ** 20 - len(pem)) + pem)
    server.pub(*message, *who, '--cafile', many, identity=False)
    many.write_bytes(many.read_bytes() + b'\n')
    said = server.pub(*message, *who, '--cafile', many, identity=False, code=1).stderr
    assert 'many.pem: larger than the 1048576 bytes' in said, said
    # Trusting the system is not trusting anybody.
    assert 'unknown authority' in server.pub(*message, *who, '--tls-use-os-certs', identity=False, code=1).stderr
    empty = tmp_path / 'empty'
    empty.mkdir()
    assert 'unknown authority' in server.pub(*message, *who, '--capath', empty, identity=False, code=1).stderr
    assert 'whom to trust' in server.pub(*message, *who, identity=False, code=2).stderr


def test_tls(server):
    message = ['-t', server.topic(), '-m', 'x', '-q', 1, '-d']
    assert 'TLSv1.3, TLS_AES_256_GCM_SHA384' in server.pub(*message, '--ciphers', 'TLS_AES_256_GCM_SHA384').stderr
    assert 'TLSv1.3, TLS_CHACHA20' in server.pub(*message, '--tls-version', 'tlsv1.3', '--ciphers',
                                                 'TLS_CHACHA20_POLY1305_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256').stderr
    server.pub(*message, '--tls-version', 'tlsv1.2')
    server.pub(*message, '--tls-alpn', 'mqtt')
    for weak in ['AES128-SHA', 'ECDHE-ECDSA-AES128-SHA', 'DHE-RSA-AES128-GCM-SHA256', 'PSK-AES128-GCM-SHA256', 'ALL:eNULL',
                 'TLS_AES_128_CCM_SHA256:AECDH-NULL-SHA']:
        assert 'cipher' in server.pub(*message, '--ciphers', weak, code=1).stderr, weak
    assert 'ciphers' in server.pub(*message, '--ciphers', 'NONSENSE', code=1).stderr
    for old in ['tlsv1.1', 'tlsv1', 'sslv3']:
        assert 'broken' in server.pub(*message, '--tls-version', old, code=2).stderr


def test_a_protocol_that_is_not_there(ours):
    ours.pub('-t', 't/x', '-m', 'x', '--tls-alpn', 'smtp', code=1)


def test_wrong_name(server):
    """No flag goes past it, and what is advised is what a fortress that is there already takes."""
    run = server.pub('-h', '127.0.0.2', '-t', 't/x', '-m', 'x', '-q', 1, code=1)
    assert 'wrong name' in run.stderr or 'nobody listens' in run.stderr
    run = server.pub('-h', '127.1', '-t', 't/x', '-m', 'x', '-q', 1, code=1)
    assert 'wrong name' in run.stderr and 'certs renew --host 127.1`' in run.stderr, run.stderr
    assert 'certs renew --host NAME' in server.pub('--insecure', '-t', 't/x', '-m', 'x', code=2).stderr


@pytest.mark.parametrize('flags', [['--insecure'], ['--psk', '00', '--psk-identity', 'x'], ['--proxy', 'socks5h://h'],
                                   ['--unix', '/x'], ['-S'], ['--quiet'], ['--keyform', 'pem'], ['--tls-engine', 'x']])
@pytest.mark.parametrize('tool', ['pub', 'sub', 'rpc'])
def test_what_is_not_there_says_why(ours, tool, flags):
    run = ours.run(tool, '-t', 't/x', *flags, code=2)
    assert re.search(r'there is no --insecure|is not there', run.stderr) and run.stdout == b''


def test_passwords(ours, tmp_path):
    message = ['-h', 'localhost', '-p', ours.port, '--cafile', ours.ca, '-t', 't/x', '-m', 'x', '-q', 1, '-u', ours.device.name]
    secret = tmp_path / 'password'
    secret.write_text(ours.device.password + '\n')
    seen = ours.pub(*message, '-P', ours.device.password, identity=False)
    assert seen.stderr.count('--password-file') == 1 and 'everybody' in seen.stderr
    assert ours.pub(*message, '--password-file', secret, identity=False).stderr == ''
    assert ours.pub(*message, '--password-file', '-', identity=False, data=ours.device.password.encode()).stderr == ''
    options = tmp_path / 'options'
    options.write_text(f'# of a device\n\n-P {ours.device.password}\n-D publish user-property key a long value\n  --qos 1\n')
    with ours.sub('-t', 't/x', '-C', 1, '-W', 20, '-F', '%q %P', '-q', 1) as listening:
        assert ours.pub(*message, '-o', options, identity=False).stderr == ''
        assert listening.output() == b'1 key:a long value\n'
    refused = ours.pub(*message, '-P', 'wrong', identity=False, code=1)
    assert 'refuses' in refused.stderr
    assert 'standard input' in ours.pub('-t', 't/x', '-h', 'localhost', '--cafile', ours.ca, '-u', 'x', '-l', '--password-file', '-', identity=False, code=2).stderr


def test_urls(ours):
    device, topic = ours.device, ours.topic()
    who = ['--cafile', ours.ca]
    with ours.sub('-L', f'mqtts://localhost:{ours.port}/{topic}', '--bundle', device.bundle, '-C', 2, '-W', 20,
                  identity=False) as listening:
        seen = ours.pub(*who, '-L', f'mqtts://{device.name}:{device.password}@localhost:{ours.port}/{topic}', '-m', 'by URL',
                        identity=False)
        assert seen.stderr.count('--password-file') == 1
        ours.pub('-L', f'mqtts://localhost:{ours.port}', '-t', topic, '-m', 'by flag', '--bundle', device.bundle, identity=False)
        assert listening.output() == b'by URL\nby flag\n'
    for url in ['mqtt://localhost/t/x', 'ws://localhost/mqtt']:
        run = ours.pub('-L', url, *who, '-t', 't/x', '-m', 'x', identity=False, code=2)
        assert 'in the clear' in run.stderr and '--bundle' in run.stderr
    for url in ['http://localhost', 'mqtts://', 'mqtts://h:0/x', 'wss://h/a b']:
        assert '-L' in ours.pub('-L', url, *who, '-t', 't/x', '-m', 'x', identity=False, code=2).stderr


def test_websocket(ours):
    device, topic = ours.device, ours.topic()
    bundle, url = ['--bundle', device.bundle], f'wss://localhost:{ours.wss}/mqtt'
    large = b'z' * 200_000
    with ours.sub('-L', url, *bundle, '-t', topic, '-q', 1, '-C', 3, '-W', 20, '-N', identity=False) as listening:
        ours.pub('-L', url, *bundle, '-t', topic, '-m', 'small', '-q', 2, identity=False)
        ours.pub('-L', url, *bundle, '-t', topic, '-s', '-q', 1, identity=False, data=large)
        ours.pub('-L', 'wss://localhost', *bundle, '-t', topic, '-m', 'port and path known', '-q', 1, identity=False)
        assert listening.output(timeout=30) == b'small' + large + b'port and path known'
    events = device.fortress.wait_event('connect', about=device.name)
    assert 'wss' in {event['listener'] for event in events}
    wrong = ours.pub('-L', f'wss://localhost:{ours.wss}/elsewhere', *bundle, '-t', topic, '-m', 'x', identity=False, code=1)
    assert 'HTTP 404' in wrong.stderr and 'path' in wrong.stderr
    other_door = ours.pub('-L', f'wss://localhost:{ours.port}/mqtt', *bundle, '-t', topic, '-m', 'x', identity=False, code=1)
    assert other_door.stderr


def test_local_address(server):
    server.pub('-t', server.topic(), '-m', 'x', '-q', 1, '-A', '127.0.0.1')
    assert '-A' in server.pub('-t', server.topic(), '-m', 'x', '-A', '192.0.2.1', code=1).stderr


# -- rpc --------------------------------------------------------------------------------------------------------------------

@pytest.fixture
def echo(server):
    """Somebody who answers on t/ask; gives what was asked."""
    ready, asked = threading.Event(), []

    def respond(client, _, message):
        asked.append(message)
        answer = Properties(PacketTypes.PUBLISH)
        answer.CorrelationData = message.properties.CorrelationData
        client.publish(message.properties.ResponseTopic, b'echo ' + message.payload, 1, properties=answer)
    newer = {'callback_api_version': mqtt.CallbackAPIVersion.VERSION1} if hasattr(mqtt, 'CallbackAPIVersion') else {}
    service = mqtt.Client(client_id='echo', protocol=mqtt.MQTTv5, **newer)
    device = server.device
    service.tls_set(server.ca, device.cert if device else None, device.key if device else None)
    service.on_connect = lambda client, *_: client.subscribe('t/ask', 1)
    service.on_subscribe = lambda *_: ready.set()
    service.on_message = respond
    service.connect('localhost', server.port)
    service.loop_start()
    assert ready.wait(10)
    yield asked
    service.disconnect()
    service.loop_stop()


def test_rpc(server, echo):
    ask = ['-t', 't/ask', '-e', 't/answer', '-W', 15]
    assert server.run('rpc', *ask, '-m', 'now').stdout == b'echo now\n'
    assert server.run('rpc', *ask, '-s', '-N', '-q', 2, data=b'by stdin').stdout == b'echo by stdin'
    assert server.run('rpc', *ask, '-n', '-v').stdout == b't/answer echo \n'
    assert server.run('rpc', *ask, '-m', 'x', '-F', '%t %l').stdout == b't/answer 6\n'
    run = server.run('rpc', *ask, '-m', 'x', '-D', 'publish', 'correlation-data', 'mine', '-F', '%D', '-R', '-d')
    assert run.stdout == b'mine\n' and 'SUBACK' in run.stderr
    assert echo[0].properties.ResponseTopic == 't/answer'


def test_rpc_that_nobody_answers(server):
    run = server.run('rpc', '-t', 't/void', '-e', 't/answer', '-m', 'x', '-W', 1, code=1)
    assert 'no answer' in run.stderr or 'nobody listens' in run.stderr
    assert 'leave -V away' in server.run('rpc', '-t', 't/x', '-e', 't/y', '-m', 'x', '-V', '311', code=2).stderr
    assert '-e' in server.run('rpc', '-t', 't/x', '-m', 'x', code=2).stderr


# -- help -------------------------------------------------------------------------------------------------------------------

# What people know of mosquitto's clients of other versions, beside what those here say of themselves.
ELSEWHERE = {'pub': '-s -n -l -r -f -m --repeat --repeat-delay -o', 'sub': '--retain-handling -w --message-rate -o', 'rpc': '-m -n -s -f -o'}


@pytest.mark.parametrize('tool, theirs', [('pub', 'mosquitto_pub'), ('sub', 'mosquitto_sub'), ('rpc', 'mosquitto_rr')])
def test_what_mosquittos_clients_take_is_taken_or_explained(ours, tool, theirs):
    """Each option of their own usage text is in our help, or what there is instead is said to who types it."""
    usage = subprocess.run([theirs, '--help'], capture_output=True, text=True, timeout=20, check=False)
    known = set(re.findall(r'^ +(-[a-zA-Z]|--[a-z-]+) :', usage.stdout + usage.stderr, re.M)) | set(ELSEWHERE[tool].split())
    assert len(known) > 40
    taken = ours.run(tool, '--help', identity=False).stdout.decode().split('Not there')[0]
    others = [name for name in sorted(known) if not re.search(rf'(?<![\w-]){name}(?![\w-])', taken) and name != '--help']
    assert 0 < len(others) < len(known) / 3
    for name in others:
        value = [] if name in ('--insecure', '--quiet', '-S') else ['1']
        said = ours.run(tool, '-t', 't/x', name, *value, code=2).stderr
        assert re.search(rf'(there is no {name}|{name} is not there)', said), (name, said)


@pytest.mark.parametrize('tool', ['pub', 'sub', 'rpc'])
def test_help_has_an_example_first(ours, tool):
    lines = ours.run(tool, '--help', identity=False).stdout.decode().splitlines()
    assert lines[2].startswith(f'  sallyport {tool} --bundle') and any(line.startswith('usage:') for line in lines)
    assert any('Not there' in line for line in lines)
