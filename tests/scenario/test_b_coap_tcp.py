"""b: CoAP over TLS and WebSocket (RFC 8323) onto the same topics, by Debian's clients and byte by byte."""
import json
import re
import shutil
import socket
import subprocess
import time

import pytest

from harness import coap, coap_cli, coap_tcp, mosquitto, websocket
from harness.coap_message import BLOCK1, BLOCK2, CONTENT_FORMAT, DELETE, GET, OBSERVE, PUT, block, path
from harness.coap_tcp import (ABORT, BAD_CSM_OPTION, BLOCK_WISE, CSM, CUSTODY, EXTENDED_TOKEN, MAX_MESSAGE_SIZE, PING, PONG,
                              RELEASE, Peer, WebSocketPeer)
from harness.fortress import Fortress, metrics, times
from harness.mosquitto import Subscriber
from harness.wait import wait_until

pytestmark = pytest.mark.release
debian = pytest.mark.skipif(not coap.BUILDS, reason='libcoap3-bin is not installed')
PACKET = 64 * 1024
OURS = {MAX_MESSAGE_SIZE, BLOCK_WISE, EXTENDED_TOKEN}


@pytest.fixture(scope='module')
def tower():
    made = Fortress(listeners=('mqtts', 'coaps', 'coaps+tcp', 'coaps+ws'), settings=(f'packet_bytes={PACKET}', 'preauth_seconds=2s',
                                                                              'role_limits.connect_rate=1000/s'))
    yield made
    made.close()


@pytest.fixture(scope='module')
def lamp(tower):
    return tower.add('lamp', credentials=('x509', 'psk'))


@pytest.fixture(scope='module')
def console(tower):
    return tower.add('console')


def state(lamp, leaf='state'):
    return f'mq/lamps/{lamp.name}/{leaf}'


def topic(lamp, leaf='state'):
    return f'lamps/{lamp.name}/{leaf}'


# ---- clients that behave ----


@debian
@pytest.mark.parametrize('build', coap.BUILDS)
def test_debians_client_writes_and_reads(tower, lamp, console, build):
    with Subscriber(console, topic(lamp), qos=1) as seen:
        answer = coap_tcp.run_client(build, lamp, 'put', state(lamp), f'by {build}')
        assert answer.code is None, answer.text
        while seen.get()['payload'] != f'by {build}':
            pass
    assert f'by {build}' in coap_tcp.run_client(build, lamp, 'get', state(lamp)).payload
    assert coap_tcp.run_client(build, lamp, 'get', 'mq/lamps/other/state').code == '4.03'
    tower.wait_event('acl_deny', listener='coaps+tcp', principal=lamp.name)
    # In blocks, too, though there is no need.
    answer = coap_tcp.run_client(build, lamp, 'put', state(lamp), 'x' * 700, more=['-b', '64'])
    assert answer.code is None, answer.text
    assert 'x' * 700 in coap_tcp.run_client(build, lamp, 'get', state(lamp), more=['-b', '64']).payload.replace('\n', '')


def test_one_space_for_all_doors(tower, lamp, console):
    with Peer(lamp) as peer:
        assert peer.exchange(PUT, state(lamp), b'21', [(CONTENT_FORMAT, 0)]).text in ('2.01', '2.04')
        if coap.BUILDS:
            assert '21' in coap.request(coap.BUILDS[0], lamp, 'get', state(lamp)).payload
        assert mosquitto_reads(console, topic(lamp)) == '21'
        mosquitto.publish(console, topic(lamp, 'goal'), 'off', '-r', qos=1)
        assert peer.exchange(GET, state(lamp, 'goal')).payload == b'off'
        assert peer.exchange(DELETE, state(lamp)).text == '2.02'
        assert peer.exchange(GET, state(lamp)).text == '4.04'
        wait_until('one connection', lambda: metrics(tower)['connections{listener="coaps+tcp"}'] == 1)
        status = tower.cli('status')
        assert 'coaps+tcp  coap' in status, status


def mosquitto_reads(console, where):
    with Subscriber(console, where) as late:
        return late.get()['payload']


def test_observe_sees_an_mqtt_publish(tower, lamp, console):
    mosquitto.publish(console, topic(lamp, 'goal'), 'state-0', '-r', qos=1)
    with Peer(lamp) as peer:
        first = peer.exchange(GET, state(lamp, 'goal'), options=[(OBSERVE, b'')])
        assert (first.payload, first.option(OBSERVE)) == (b'state-0', b'')
        for i in range(1, 6):
            mosquitto.publish(console, topic(lamp, 'goal'), f'state-{i}', '-r', qos=1)
            told = peer.receive()
            assert (told.payload, told.token) == (f'state-{i}'.encode(), first.token)
        # It ends by a request with the same token, and nothing else comes then.
        peer.send(GET, first.token, [*path(state(lamp, 'goal')), (OBSERVE, 1)])
        assert peer.receive().option(OBSERVE) is None
        mosquitto.publish(console, topic(lamp, 'goal'), 'unseen', '-r', qos=1)
        assert peer.exchange(GET, state(lamp, 'goal')).payload == b'unseen'


def test_a_large_value_in_one_message(tower, lamp):
    value = bytes(i % 251 for i in range(40000))
    with Peer(lamp, csm=[(MAX_MESSAGE_SIZE, 50000)]) as peer:
        assert peer.exchange(PUT, state(lamp), value).text in ('2.01', '2.04')
        whole = peer.exchange(GET, state(lamp))
        assert whole.payload == value and whole.option(BLOCK2) is None
    with Peer(lamp) as peer:  # 1152 bytes are what it said it takes
        part = peer.exchange(GET, state(lamp))
        assert part.option(BLOCK2) is not None and part.payload == value[:len(part.payload)]
        got = b''
        while len(got) < 4096:
            got += peer.exchange(GET, state(lamp), options=[(BLOCK2, block(len(got) // 512, False, 512))]).payload
        assert got == value[:len(got)]
    with Peer(lamp, csm=[(MAX_MESSAGE_SIZE, 300)]) as peer:
        assert 0 < len(peer.exchange(GET, state(lamp)).payload) <= 128


def test_many_blocks_at_once(tower, lamp):
    """Block1 of size 7: as many blocks of 1024 bytes as one likes in each message."""
    value = bytes(i % 249 for i in range(9000))
    with Peer(lamp) as peer:
        got = peer.exchange(PUT, state(lamp), value[:3072], [(BLOCK1, bytes([0 << 4 | 8 | 7]))])
        assert (got.text, got.option(BLOCK1)) == ('2.31', bytes([0 << 4 | 8 | 7])), got
        got = peer.exchange(PUT, state(lamp), value[3072:8192], [(BLOCK1, bytes([3 << 4 | 8 | 7]))])
        assert got.text == '2.31', got
        got = peer.exchange(PUT, state(lamp), value[8192:], [(BLOCK1, bytes([8 << 4 | 7]))])
        assert got.text in ('2.01', '2.04'), got
        got = peer.exchange(PUT, state(lamp), value[:1000], [(BLOCK1, bytes([0 << 4 | 8 | 7]))])
        assert got.text == '4.00', 'a part of a block before the last'
    with Peer(lamp, csm=[(MAX_MESSAGE_SIZE, 20000)]) as peer:
        assert peer.exchange(GET, state(lamp)).payload == value


# ---- in WebSocket frames ----


def test_websocket(tower, lamp, console):
    with WebSocketPeer(lamp, csm=[(MAX_MESSAGE_SIZE, 50000)]) as peer:
        assert b' 101 ' in peer.answer and b'Sec-WebSocket-Protocol: coap' in peer.answer
        assert peer.receive().code == CSM
        assert peer.exchange(PUT, state(lamp), b'by frames').code >> 5 == 2
        assert peer.exchange(GET, 'mq/lamps/other/state').text == '4.03'
        value = bytes(i % 241 for i in range(30000))
        assert peer.exchange(PUT, state(lamp), value).code >> 5 == 2
        assert peer.exchange(GET, state(lamp)).payload == value, 'over TLS records and reads'
        first = peer.exchange(GET, state(lamp, 'goal'), options=[(OBSERVE, b'')])
        mosquitto.publish(console, topic(lamp, 'goal'), 'seen', '-r', qos=1)
        told = peer.receive()
        assert (told.payload, told.token) == (b'seen', first.token)
        peer.send(PING, b'abc')
        assert peer.receive().code == PONG
        peer.send(RELEASE)
        assert peer.rest() == []
    tower.wait_event('connect', listener='coaps+ws', principal=lamp.name)


def test_messages_in_many_frames_and_many_messages(lamp):
    with WebSocketPeer(lamp, split=1) as peer:
        assert peer.receive().code == CSM
        assert peer.exchange(PUT, state(lamp), b'byte by byte').code >> 5 == 2
        assert peer.exchange(GET, state(lamp)).payload == b'byte by byte'
    with WebSocketPeer(lamp) as peer:
        data = [coap_tcp.encode(GET, bytes([i]), path(state(lamp)), framed=True) for i in range(100)]
        peer.tls.sendall(b''.join(map(websocket.frame, data)))
        assert [peer.receive().token for _ in range(101)][1:] == [bytes([i]) for i in range(100)]


def test_websockets_that_are_refused(tower, lamp):
    for request, status in ((websocket.request('/.well-known/coap'), b' 400 '),
                            (websocket.request('/mqtt', Sec_WebSocket_Protocol='coap'), b' 404 ')):
        with WebSocketPeer(lamp, request=request) as peer:
            assert status in peer.answer, peer.answer
    tower.wait_event('malformed', listener='coaps+ws', reason=re.compile('must offer coap'))
    with WebSocketPeer(lamp) as peer:
        peer.tls.sendall(websocket.frame(coap_tcp.encode(PING, b'1', [(CUSTODY, b'')])))  # a Len of its own
        assert [m.code for m in peer.rest()] == [CSM, ABORT]
    with WebSocketPeer(lamp, csm=None) as peer:
        peer.send(GET, b'1', path('mq/a'))
        assert [m.code for m in peer.rest()] == [CSM, ABORT]
    with WebSocketPeer(lamp) as peer:
        # What comes in one read with the mistake is not answered any more: WebSocket has ended by then.
        assert peer.receive().code == CSM
        peer.send_bytes(websocket.frame(b'hello', websocket.TEXT))
        assert peer.rest() == []


# ---- signals ----


def test_csm_first_and_again(lamp):
    with Peer(lamp, csm=None) as peer:
        peer.send(0)  # an empty message is nothing, even now
        peer.send(CSM)
        ours = peer.receive()
        assert ours.code == CSM and {number for number, _ in ours.options} == OURS
        assert ours.number(MAX_MESSAGE_SIZE) == PACKET
        peer.send(CSM, options=[(MAX_MESSAGE_SIZE, 2000), (8, b'elective')])
        peer.send(0, b'token')
        assert peer.exchange(GET, 'mq/lamps/other/state').text == '4.03'


def test_ping_custody_release(lamp):
    with Peer(lamp) as peer:
        assert peer.receive().code == CSM
        peer.send(PING, b'abc')
        got = peer.receive()
        assert (got.code, got.token, got.options) == (PONG, b'abc', [])
        # With custody the Pong comes behind the answer to what was asked before.
        asked = peer.ask(PUT, state(lamp), b'before')
        peer.send(PING, b'd', [(CUSTODY, b'')])
        first, second = peer.receive(), peer.receive()
        assert first.token == asked and first.code >> 5 == 2
        assert (second.code, second.token, second.option(CUSTODY)) == (PONG, b'd', b'')
        asked = peer.ask(PUT, state(lamp), b'last words')
        peer.send(RELEASE)
        rest = peer.rest()
        assert [m.token for m in rest] == [asked] and rest[0].code >> 5 == 2, 'answered before the end'


def test_an_abort_of_theirs(tower, lamp):
    with Peer(lamp) as peer:
        peer.receive()
        peer.send(ABORT, payload=b'had enough')
        assert peer.rest() == []
    tower.wait_event('disconnect', listener='coaps+tcp', reason='the client aborted the connection')


# ---- clients that do not ----

BROKEN = {
    'no CSM': (None, coap_tcp.encode(GET, b'1', path('mq/a')), 'protocol_error', None),
    'a Ping before the CSM': (None, coap_tcp.encode(PING), 'protocol_error', None),
    'a critical option in the CSM': ([(3, b'x')], b'', 'protocol_error', 3),
    'a Max-Message-Size that nothing fits in': ([(MAX_MESSAGE_SIZE, 20)], b'', 'protocol_error', MAX_MESSAGE_SIZE),
    'a critical option in a Ping': ([], coap_tcp.encode(PING, options=[(1, b'')]), 'protocol_error', None),
    'a message too large': ([], coap_tcp.encode(PUT, b'1', path('mq/a'), bytes(PACKET))[:8], 'quota', None),
    'four gigabytes': ([], b'\xf0\xff\xff\xff\xff\x03', 'quota', None),
    'a token length of 15': ([], b'\x0f\x01', 'malformed', None),
    'an option past the end': ([], b'\x10\x01\xb5', 'malformed', None),
    'a reserved class': ([], b'\x00\x20', 'malformed', None),
    'HTTP': (None, b'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n', None, None),
    'MQTT': (None, b'\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00', None, None),
}


def seen_of(tower, category):
    """How often: repeats are folded."""
    return sum(times(event) for event in tower.events() if event['category'] == category)


def test_broken_peers_are_aborted(tower, lamp):
    before = {category: seen_of(tower, category) for category in ('protocol_error', 'malformed', 'quota')}
    for what, (csm, data, _, bad) in BROKEN.items():
        with Peer(lamp, csm=csm) as peer:
            if data:
                peer.send_bytes(data)
            said = peer.rest()
            assert said[0].code == CSM, f'{what}: ours comes first, too'
            assert said[-1].code == ABORT and said[-1].payload, (what, said)
            assert said[-1].number(BAD_CSM_OPTION) == bad, what
    with Peer(lamp) as peer:
        assert peer.exchange(GET, 'mq/lamps/other/state').text == '4.03', 'others are served on'
    for category, n in before.items():
        n += sum(1 for row in BROKEN.values() if row[2] == category)
        wait_until(f'{n} events {category}', lambda n=n, category=category: seen_of(tower, category) >= n)


def test_requests_with_what_is_not_known(lamp):
    with Peer(lamp) as peer:
        assert peer.exchange(GET, state(lamp), options=[(9, b'')]).text == '4.02'
        assert peer.exchange(GET, state(lamp), options=[(35, b'coap://elsewhere')]).text == '5.05'
        assert peer.exchange(31, state(lamp)).text == '4.05'
        assert peer.exchange(PUT, state(lamp), b'').text == '4.00'
        peer.send(0x45, b'zz', payload=b'an answer to nothing')
        assert peer.exchange(GET, 'mq/lamps/other/state').text == '4.03'


def closed(one):
    try:
        return one.recv(1) == b''
    except ConnectionResetError:
        return True


def test_who_says_nothing_is_closed(tower, lamp, opened):
    with Peer(lamp, csm=None) as silent, Peer(lamp, csm=None) as slow:
        slow.send_bytes(b'\x00')  # the first half of a CSM
        mute = [opened(socket.create_connection(('127.0.0.1', tower.ports[name]))) for name in ('coaps+tcp', 'coaps+ws')]
        mute[1].sendall(b'\x16\x03\x01')  # the beginning of a handshake
        for peer in (silent, slow):
            assert [m.code for m in peer.rest()] == [CSM, ABORT]
    for one in mute:
        one.settimeout(20)
        assert closed(one), 'without a word'
    tower.wait_event('slow_client', listener='coaps+tcp')


def test_slow_bytes_are_served(lamp):
    with Peer(lamp, csm=None) as peer:
        data = coap_tcp.encode(CSM, options=[(MAX_MESSAGE_SIZE, 1152)]) + coap_tcp.encode(GET, b'1', path('mq/lamps/other/state'))
        for i in range(len(data)):
            peer.send_bytes(data[i:i + 1])
        assert peer.receive().code == CSM
        assert peer.receive().text == '4.03'


def test_who_does_not_read_is_not_read(tower, lamp):
    """Answers that nobody takes stop the reading; all of them come when it reads at last."""
    n = 300
    with Peer(lamp, csm=[(MAX_MESSAGE_SIZE, PACKET)]) as peer:
        peer.receive()
        assert peer.exchange(PUT, state(lamp), bytes(2000)).code >> 5 == 2
        asked = b''.join(coap_tcp.encode(GET, i.to_bytes(2, 'big'), path(state(lamp))) for i in range(n))
        peer.send_bytes(asked)
        tokens = [peer.receive().token for _ in range(n)]
        assert tokens == [i.to_bytes(2, 'big') for i in range(n)]


def test_a_revoked_device_is_cut_off(tower, console):
    doomed = tower.add('lamp')
    with Peer(doomed) as peer:
        peer.receive()
        assert peer.exchange(GET, state(doomed)).text == '4.04'
        tower.cli('device', 'revoke', doomed.name)
        assert [m.code for m in peer.rest()] == [ABORT]
    tower.wait_event('revoked', principal=doomed.name)
    with Peer(doomed) as peer:
        assert [m.code for m in peer.rest()] == [CSM, ABORT]


def test_a_stop_is_a_release():
    made = Fortress(listeners=('mqtts', 'coaps', 'coaps+tcp'))
    try:
        with Peer(made.add('lamp')) as peer:
            peer.receive()
            began = time.monotonic()
            made.stop()
            assert time.monotonic() - began < 30
            assert [m.code for m in peer.rest()] == [RELEASE]
    finally:
        made.close()


# ---- our own client ----


SERVERS = [name for name in ('coap-server-openssl', 'coap-server-gnutls') if shutil.which(name)]


def ours(tower, lamp, scheme, leaf='tool'):
    """Where it is, and as whom."""
    return f'{scheme}://localhost:{tower.ports[scheme]}/{state(lamp, leaf)}', '--bundle', str(lamp.bundle)


@pytest.mark.parametrize('scheme', ['coaps+tcp', 'coaps+ws'])
def test_our_client_over_tcp(tower, lamp, console, scheme):
    at = ours(tower, lamp, scheme)
    large = ''.join(f'{i:08d}' for i in range(5000))
    coap_cli.run('put', *at, '-f', '-', data=large)
    assert coap_cli.run('get', *at).stdout == large + '\n', 'in one message'
    assert coap_cli.run('get', *at, '-b', '256').stdout == large + '\n'
    assert coap_cli.run('get', *at, '-X', '1152').stdout == large + '\n', 'in blocks, for nothing larger is taken'
    told = coap_cli.run('put', *at, '-e', 'on', '-t', '0', '-v', '6').stderr
    assert re.search(r'^> 0\.03 PUT, 2 bytes', told, re.M) and re.search(r'^< 2\.0[14] ', told, re.M)
    with coap_cli.Observing('observe', *at, '-K', '1') as seen:
        assert seen.get() == 'on'
        for value in ('one', 'two', large):
            mosquitto.publish(console, topic(lamp, 'tool'), value, '-r', qos=1)
            assert seen.get() == value
    assert coap_cli.run('observe', *at, '-s', '1').stdout == large + '\n'
    assert json.loads(coap_cli.run('get', *at, '--json').stdout)['payload'] == large
    refused = coap_cli.run('get', at[0].replace(lamp.name, 'other'), *at[1:], exit_code=1)
    assert '4.03' in refused.stderr
    wait_until('it to be gone', lambda: metrics(tower)[f'connections{{listener="{scheme}"}}'] == 0)


def test_our_client_and_what_is_not_right(tower, lamp, console, tmp_path):
    at = ours(tower, lamp, 'coaps+tcp')
    coap_cli.run('put', f'coaps://localhost:{tower.ports["coaps+tcp"]}/{state(lamp, "tool")}', *at[1:], '-r', '-e', 'by -r')
    assert coap_cli.run('get', *at).stdout == 'by -r\n'
    stranger = tower.add('lamp', credentials=('psk',))
    assert 'holds no cert.pem' in coap_cli.run('get', at[0], '--bundle', str(stranger.bundle), exit_code=1).stderr
    other = tmp_path / 'other.pem'
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ed25519', '-nodes', '-keyout', '/dev/null', '-out', str(other), '-days', '2',
                    '-subj', '/CN=other'], check=True, capture_output=True)
    untrusted = coap_cli.run('get', *at, '-R', str(other), exit_code=1).stderr
    assert 'ca.pem' in untrusted or 'bundle' in untrusted, untrusted
    with socket.socket() as closed:
        closed.bind(('127.0.0.1', 0))
        nobody = f'coaps+tcp://localhost:{closed.getsockname()[1]}/x'
        assert coap_cli.run('get', nobody, *at[1:], exit_code=1).stderr
    wrong = ours(tower, lamp, 'coaps+ws')[0].replace('coaps+ws', 'coaps+tcp')
    assert coap_cli.run('get', wrong, *at[1:], '-B', '3', exit_code=1).stderr, 'a WebSocket listener'
    with coap_cli.Observing('observe', *at) as seen:
        assert seen.get() == 'by -r'
        tower.cli('device', 'disable', lamp.name)
        try:
            assert seen.process.wait(20) == 1
            assert 'Abort' in seen.process.stderr.read()
        finally:
            tower.cli('device', 'enable', lamp.name)


def test_a_bundle_names_the_ports(tower, lamp):
    ports = json.loads((lamp.bundle / 'bundle.json').read_text())['ports']
    assert (ports['coaps+tcp'], ports['coaps+ws']) == (tower.ports['coaps+tcp'], tower.ports['coaps+ws'])
    howto = (lamp.bundle / 'howto.txt').read_text()
    assert ('coaps+tcp://' in howto) == ('coaps://' in howto), 'with an example, if the role has one'


def authority(where):
    """A CA, and a certificate of it for localhost and for a client alike."""
    def openssl(*arguments):
        subprocess.run(['openssl', *arguments], cwd=where, check=True, capture_output=True)
    openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', 'ca.key', '-out', 'ca.pem',
            '-days', '2', '-subj', '/CN=test')
    openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', 'key.pem', '-out', 'one.csr',
            '-subj', '/CN=localhost')
    (where / 'names').write_text('subjectAltName=DNS:localhost,IP:127.0.0.1')
    openssl('x509', '-req', '-in', 'one.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-out', 'cert.pem', '-days', '2',
            '-extfile', 'names')


def free_pair():
    """A port that is free for TCP and UDP, and so is the next one: coap-server takes both."""
    while True:
        held = []
        try:
            port = 0
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                for more in (0, 1):
                    held.append(socket.socket(socket.AF_INET, kind))
                    held[-1].bind(('127.0.0.1', port + more if port else 0))
                    port = port or held[-1].getsockname()[1]
            return port
        except (OSError, OverflowError):
            pass
        finally:
            for one in held:
                one.close()


@pytest.mark.skipif(not SERVERS, reason='libcoap3-bin is not installed')
@pytest.mark.parametrize('program', SERVERS)
def test_our_client_with_another_server(tmp_path, program):
    authority(tmp_path)
    port = free_pair()
    server = subprocess.Popen([program, '-A', '127.0.0.1', '-p', str(port), '-c', 'cert.pem', '-j', 'key.pem', '-C', 'ca.pem'],
                              cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    base = f'coaps+tcp://localhost:{port + 1}'
    as_client = ['-c', str(tmp_path / 'cert.pem'), '-j', str(tmp_path / 'key.pem'), '-C', str(tmp_path / 'ca.pem')]
    try:
        wait_until('the server', lambda: f'{port + 1:04X} ' in open('/proc/net/tcp', encoding='ascii').read())
        body = ''.join(f'{i:08d}' for i in range(700))
        coap_cli.run('put', f'{base}/example_data', *as_client, '-f', '-', data=body)
        for more in ((), ('-b', '64')):
            assert coap_cli.run('get', f'{base}/example_data', *as_client, *more).stdout == body + '\n'
        with coap_cli.Observing('observe', f'{base}/time', *as_client) as clock:
            first = clock.get()
            assert clock.get() != first
    finally:
        server.terminate()
        server.wait(10)
