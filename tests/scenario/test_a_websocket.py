"""a: MQTT inside of WebSocket, as browsers speak it: stock clients, and everything that must be refused."""
import json
import struct
from pathlib import Path

import pytest

from harness import mosquitto, websocket, wire
from harness.fortress import Fortress
from harness.mosquitto import Subscriber
from harness.paho_client import Paho
from harness.refusal import Watch
from harness.wait import wait_until
from harness.websocket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, WebSocket, frame, request
from harness.wire import CONNACK, PINGRESP, PUBACK, PUBLISH, SUBACK

pytestmark = pytest.mark.release

LIMIT = 64 * 1024
PAGE = 'https://dash.example'


@pytest.fixture(scope='module')
def fortress():
    one = Fortress(listeners=('mqtts', 'wss', 'coaps'), settings=(f'packet_bytes={LIMIT}', 'preauth_seconds=3'), start=False)
    pages = json.dumps([PAGE, 'https://two.example:8443'])
    one.configure('websocket: yes, auth: [', f'websocket: yes, origins: {pages}, auth: [')
    one.start()
    one.apply(Path(__file__).parent / 'policy.yaml')
    yield one
    one.close()


# -- clients that people have ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize('version', [4, 5], ids=['v311', 'v5'])
@pytest.mark.parametrize('auth', ['x509', 'password'])
def test_paho(fortress, version, auth):
    sensor, console = fortress.add('sensor'), fortress.add('console')
    with Paho(console, version=version, auth=auth, listener='wss') as reader, \
            Paho(sensor, version=version, auth=auth, listener='wss') as writer:
        assert reader.subscribe('sensors/#', 2) == [2]
        for qos, payload in enumerate([b'small', b'x' * 200, b'y' * 40000]):
            writer.publish(f'sensors/north/{sensor.name}/n', payload, qos)
            assert reader.get().payload == payload
    event = fortress.wait_event('connect', about=sensor.name)[-1]
    assert (event['principal'], event['listener'], event['protocol']) == (sensor.name, 'wss', 'mqtt')


def test_doors_meet(fortress):
    sensor, console = fortress.add('sensor'), fortress.add('console')
    with Subscriber(console, 'sensors/#') as tcp, Paho(console, client_id='web', listener='wss') as web:
        web.subscribe('sensors/#', 1)
        mosquitto.publish(sensor, f'sensors/north/{sensor.name}/n', 'by tcp', qos=1)
        assert tcp.get()['payload'] == 'by tcp' and web.get().payload == b'by tcp'


# -- the upgrade -----------------------------------------------------------------------------------------------------------

def test_the_answer(fortress):
    sensor = fortress.add('sensor')
    with WebSocket(fortress, sensor) as client:
        # SPEC: MQTT-6.0.0-4
        assert client.answer.fields['sec-websocket-protocol'] == 'mqtt' and client.answer.accepts()
        client.login(sensor.name)


@pytest.mark.parametrize('origin', [PAGE, 'https://two.example:8443', None])
def test_pages_that_are_named_may_connect(fortress, origin):
    sensor = fortress.add('sensor')
    with WebSocket(fortress, sensor, upgrade=False) as client:
        assert client.http(request('/mqtt?x=1', Origin=origin)).status == 101


@pytest.mark.parametrize('host', ['localhost', 'localhost:{}', '127.0.0.1:{}', '[::1]:{}'])
def test_the_listener_itself_is_no_foreign_page(fortress, host):
    """Python's paho says such an Origin. On a plain listener no certificate says whose name it is."""
    authority = host.format(fortress.ports['wss'])
    with WebSocket(fortress, fortress.add('sensor'), upgrade=False) as client:
        assert client.http(request(Host=authority, Origin=f'https://{authority}')).status == 101


# SPEC: MQTT-6.0.0-3: what does not offer mqtt is refused.
REFUSED = {
    'method': (405, 'probe', request(method='POST')),
    'path': (404, 'probe', request('/other')),
    'longer-path': (404, 'probe', request('/mqtt/')),
    'origin': (403, 'acl_deny', request(Origin='https://evil.example')),
    'origin-suffix': (403, 'acl_deny', request(Origin=PAGE + '.evil.example')),
    'origin-scheme': (403, 'acl_deny', request(Origin='http://dash.example')),
    'origin-null': (403, 'acl_deny', request(Origin='null')),
    'origin-rebound': (403, 'acl_deny', request(Host='evil.example:8084', Origin='https://evil.example:8084')),
    'origin-dot': (403, 'acl_deny', request(Host='.localhost', Origin='https://.localhost')),
    'origin-own-scheme': (403, 'acl_deny', request(Origin='http://localhost')),
    'origin-own-port': (403, 'acl_deny', request(Origin='https://localhost:8443')),
    'version': (426, 'protocol_error', request(Sec_WebSocket_Version='8')),
    'no-upgrade': (426, 'protocol_error', request(Upgrade=None)),
    'no-connection': (426, 'protocol_error', request(Connection='close')),
    'no-subprotocol': (400, 'malformed', request(Sec_WebSocket_Protocol=None)),
    'subprotocol': (400, 'malformed', request(Sec_WebSocket_Protocol='mqttv3.1, MQTT, chat')),
    'no-key': (400, 'malformed', request(Sec_WebSocket_Key=None)),
    'key': (400, 'malformed', request(Sec_WebSocket_Key='c2hvcnQ=')),
    'no-host': (400, 'malformed', request(Host=None)),
    'body': (400, 'malformed', request(Content_Length='5') + b'hello'),
    'bare-lf': (400, 'malformed', b'GET /mqtt HTTP/1.1\nHost: x\n\n'),
    'mqtt': (400, 'malformed', wire.connect('a-client')),
    'old-http': (505, 'malformed', b'GET /mqtt HTTP/1.0\r\n\r\n'),
    'long-line': (414, 'malformed', b'GET /' + b'a' * 4000),
    'huge-header': (431, 'malformed', request(X='a' * 9000)),
    'many-fields': (431, 'malformed', request(**{f'X{i}': 'a' for i in range(70)})),
}


@pytest.mark.parametrize('case', REFUSED)
def test_refused_upgrades(fortress, case):
    status, category, bytes_of_it = REFUSED[case]
    sensor, watch = fortress.add('sensor'), Watch(fortress)
    with WebSocket(fortress, sensor, upgrade=False) as client:
        answer = client.http(bytes_of_it)
        assert answer.status == status and answer.body.endswith(b'\n'), answer.text
        if status == 405:
            assert answer.fields['allow'] == 'GET'
        if status == 426:
            assert answer.fields['sec-websocket-version'] == '13' and answer.fields['upgrade'] == 'websocket'
        assert client.expect_close() == []
        watch.expect(category, client.peer, fix=r'let the client|origins', listener='wss')


@pytest.mark.parametrize('sent', [b'', b'GET /mqtt HTTP/1.1\r\nHost:'], ids=['nothing', 'half'])
def test_a_slow_upgrade_ends(fortress, sent):
    """preauth_seconds is for TLS, upgrade and CONNECT together."""
    sensor = fortress.add('sensor')
    with WebSocket(fortress, sensor, upgrade=False) as client:
        if sent:
            assert client.http(sent, timeout=20).status == 408
        assert client.expect_close(20) == []


def test_one_byte_at_a_time(fortress):
    sensor = fortress.add('sensor')
    with WebSocket(fortress, sensor, upgrade=False) as client:
        whole = request()
        answer = client.http(*[whole[i:i + 1] for i in range(len(whole))])
        assert answer.status == 101
        client.socket = websocket.Framed(client.socket)
        for byte in frame(wire.connect(sensor.name)):
            client.socket.raw.sendall(bytes([byte]))
        assert client.expect(CONNACK).reason == 0


# -- frames ----------------------------------------------------------------------------------------------------------------

def test_packets_do_not_follow_frames(fortress):
    """SPEC: MQTT-6.0.0-2: one packet in many frames and fragments, many packets in one frame."""
    sensor = fortress.add('sensor')
    with WebSocket(fortress, sensor) as client:
        client.socket.split = 3
        client.login(sensor.name)
        topic = f'sensors/north/{sensor.name}/n'
        client.socket.split = None
        client.send(wire.publish(topic, 'a', 1, 1), wire.publish(topic, 'b', 1, 2), wire.packet(wire.PINGREQ))
        assert [client.expect(PUBACK).body[:2] for _ in range(2)] == [b'\0\1', b'\0\2']
        client.expect(PINGRESP)
        packet = wire.publish(topic, 'c' * 300, 1, 3)
        client.socket.raw.sendall(frame(packet[:10], fin=False) + frame(b'here?', PING) +
                                  frame(packet[10:20], CONTINUATION, fin=False) + frame(b'', PONG) +
                                  frame(packet[20:], CONTINUATION))
        client.expect(PUBACK)
        assert client.socket.control == [(PONG, b'here?')]


def test_a_packet_longer_than_its_frame(fortress):
    """A PUBLISH that declares 4096 bytes in a frame of six waits for the rest, wherever the frames end."""
    sensor = fortress.add('sensor')
    with WebSocket(fortress, sensor) as client:
        client.login(sensor.name)
        client.send(bytes.fromhex('308020000161'))
        client.send(bytes(4096 - 3))  # no properties, and zeros
        client.send(wire.packet(wire.PINGREQ)).expect(PINGRESP)
        deny = fortress.wait_event('acl_deny', about=sensor.name)[-1]
        assert deny['target'] == 'a'


def test_each_packet_has_a_frame_of_its_own(fortress):
    """paho's C library does not look for a second packet in a frame before the network brings more."""
    sensor, console = fortress.add('sensor'), fortress.add('console')
    topic = f'sensors/north/{sensor.name}/n'
    with Paho(sensor) as writer, WebSocket(fortress, console, 4) as reader:
        reader.login(console.name, clean=False)
        reader.send(wire.subscribe(1, ('sensors/#', 1), version=4)).expect(SUBACK)
        reader.socket.close()
        fortress.wait_event('disconnect', about=console.name)
        for payload in ('a', 'b', 'c'):
            writer.publish(topic, payload)
        with WebSocket(fortress, console, 4) as again:
            again.send(wire.connect(console.name, 4, clean=False))
            kinds = []
            while len(kinds) < 4:
                frame_of_it = again.socket.recv(65536)
                kinds.append(frame_of_it[0] >> 4)
                assert frame_of_it[1] == len(frame_of_it) - 2, frame_of_it
            assert kinds == [CONNACK, PUBLISH, PUBLISH, PUBLISH]
        with WebSocket(fortress, console, 4) as last:
            last.login(console.name)  # a clean session: none stays behind for the tests that follow


BAD_FRAMES = {
    # SPEC: MQTT-6.0.0-1
    'text': (1003, 'protocol_error', frame(b'hello', TEXT)),
    'unmasked': (1002, 'protocol_error', frame(b'\xc0\0', masked=False)),
    'reserved-bit': (1002, 'protocol_error', frame(b'\xc0\0', rsv=4)),
    'opcode': (1002, 'protocol_error', frame(b'\xc0\0', 3)),
    'control-opcode': (1002, 'protocol_error', frame(b'', 11)),
    'continuation': (1002, 'protocol_error', frame(b'\xc0\0', CONTINUATION)),
    'new-message-inside': (1002, 'protocol_error', frame(b'\xc0', fin=False) + frame(b'\0')),
    'text-inside': (1003, 'protocol_error', frame(b'\xc0', fin=False) + frame(b'x', TEXT)),
    'long-ping': (1002, 'protocol_error', frame(b'x' * 126, PING)),
    'ping-in-pieces': (1002, 'protocol_error', frame(b'x', PING, fin=False)),
    'close-code': (1002, 'protocol_error', frame(struct.pack('>H', 1005), CLOSE)),
    'close-of-one-byte': (1002, 'protocol_error', frame(b'x', CLOSE)),
    'too-large': (1009, 'quota', frame(b'x' * 100, length=LIMIT + 1)),
    'enormous': (1009, 'quota', frame(b'x' * 100, length=2**62)),
    'nothing-again-and-again': (1008, 'flood', frame() * 700),
    'pings-again-and-again': (1008, 'flood', frame(b'', PING) * 700),
}


@pytest.mark.parametrize('case', BAD_FRAMES)
def test_bad_frames_close(fortress, case):
    code, category, bytes_of_it = BAD_FRAMES[case]
    sensor, watch = fortress.add('sensor'), Watch(fortress)
    with WebSocket(fortress, sensor) as client:
        client.login(sensor.name)
        client.socket.raw.sendall(bytes_of_it)
        assert client.expect_close() == []
        assert client.close_code == code
        watch.expect(category, client.peer, fix=r'let the client|look at|packet_bytes', listener='wss')


ENDS = {
    'frame': (1003, frame(b'hello', TEXT), []),
    'packet': (1000, frame(wire.packet(wire.CONNACK, b'\0\0\0')), [wire.DISCONNECT]),
    'close': (1001, frame(struct.pack('>H', 1001), CLOSE), []),
    'both': (1003, frame(wire.packet(wire.PINGREQ)) + frame(b'hello', TEXT), [PINGRESP]),
}


@pytest.mark.parametrize('case', ENDS)
def test_what_came_before_the_end_is_answered(fortress, case):
    """All in one read: first the answers, in order, then the last words; what a wrong packet gets over TCP, it gets here."""
    code, last, words = ENDS[case]
    sensor = fortress.add('sensor')
    topic = f'sensors/north/{sensor.name}/n'
    good = (wire.publish(topic, 'one', 1, 7), wire.packet(wire.PINGREQ), wire.subscribe(8, (f'commands/{sensor.name}/x', 1)),
            wire.publish(topic, 'two', 1, 9))
    answers = [PUBACK, PINGRESP, SUBACK, PUBACK]
    if case == 'packet':
        with wire.Wire(fortress, sensor) as client:
            client.login(sensor.name)
            client.send(*good, wire.packet(wire.CONNACK, b'\0\0\0'))
            over_tcp = [packet.kind for packet in client.expect_close()]
            assert over_tcp[-1] == wire.DISCONNECT
            answers = over_tcp[:-1]
    with WebSocket(fortress, sensor) as client:
        client.login(sensor.name)
        client.socket.raw.sendall(b''.join(map(frame, good)) + last)
        assert [packet.kind for packet in client.expect_close()] == answers + words
        assert client.close_code == code


def test_the_largest_frame(fortress):
    sensor = fortress.add('sensor')
    with WebSocket(fortress, sensor) as client:
        client.login(sensor.name)
        topic = f'sensors/north/{sensor.name}/n'
        one = wire.publish(topic, b'x' * (LIMIT - 5 - len(topic) - 5 - 3), 1, 7)
        rest = LIMIT - len(one)
        client.send(one + wire.packet(wire.PINGREQ) * (rest // 2))
        client.expect(PUBACK)
        for _ in range(rest // 2):
            client.expect(PINGRESP)


def test_close_of_the_client(fortress):
    """A close without DISCONNECT is no goodbye: the will is published; the code is given back."""
    sensor, console = fortress.add('sensor'), fortress.add('console')
    with Paho(console, listener='wss') as reader:
        reader.subscribe('status/#', 1)
        with WebSocket(fortress, sensor) as client:
            client.login(sensor.name, will=(f'status/{sensor.name}', b'gone', 1, False))
            client.socket.raw.sendall(frame(struct.pack('>H', 1001) + b'bye', CLOSE))
            assert client.expect_close() == [] and client.close_code == 1001
        assert reader.get().payload == b'gone'


def test_disconnect_and_close_together(fortress):
    sensor = fortress.add('sensor')
    with WebSocket(fortress, sensor) as client:
        client.login(sensor.name)
        topic = f'sensors/north/{sensor.name}/n'
        client.socket.raw.sendall(frame(wire.publish(topic, 'last')) + frame(wire.packet(wire.DISCONNECT)) + frame(b'', CLOSE))
        client.expect_close()
    reasons = fortress.wait_event('disconnect', about=sensor.name)
    assert 'without DISCONNECT' not in reasons[-1]['reason'], reasons


def test_close_of_the_server(fortress):
    sensor = fortress.add('sensor')
    with WebSocket(fortress, sensor) as client:
        client.login(sensor.name)
        fortress.cli('device', 'revoke', sensor.name)
        client.expect_close()
        assert client.close_code == 1000


def test_who_the_certificate_says(fortress):
    sensor, other = fortress.add('sensor'), fortress.add('sensor')
    watch = Watch(fortress)
    with WebSocket(fortress, sensor) as client:
        assert client.send(wire.connect(other.name)).expect(CONNACK).reason == 0x85
        client.expect_close()
        watch.expect('identity_mismatch', client.peer, listener='wss')


def test_a_reader_that_is_slow(fortress):
    """Back-pressure as on a plain stream: nothing of QoS 1 is lost while the client does not read, and pings wait."""
    sensor, console = fortress.add('sensor'), fortress.add('console')
    with WebSocket(fortress, console) as reader, Paho(sensor, listener='wss') as writer:
        reader.login(console.name)
        reader.send(wire.subscribe(1, ('sensors/#', 1))).expect(SUBACK)
        sent = 60
        for i in range(sent):
            writer.client.publish(f'sensors/north/{sensor.name}/n', b'%04d' % i + b'x' * 30000, 1)
        reader.socket.raw.sendall(frame(b'first', PING) + frame(b'second', PING))
        got = []
        while len(got) < sent:
            packet = reader.receive(20)
            assert packet is not None and packet.kind == PUBLISH
            n = struct.unpack('>H', packet.body[:2])[0]
            at = 2 + n + 2 + 1
            got.append(int(packet.body[at:at + 4]))
            reader.send(wire.packet(wire.PUBACK, packet.body[2 + n:4 + n]))
        assert got == list(range(sent))
        reader.send(wire.packet(wire.PINGREQ)).expect(PINGRESP)
        assert reader.socket.control and reader.socket.control[-1] == (PONG, b'second')


# -- plain -----------------------------------------------------------------------------------------------------------------

def test_plain_is_closed_until_an_exception(make_fortress):
    fortress = make_fortress(listeners=('mqtts', 'ws'))
    sensor = fortress.add('sensor')
    with pytest.raises(OSError):
        WebSocket(fortress, listener='ws')
    fortress.cli('exception', 'add', '--listener', 'ws', '--allow', 'plaintext', '--for', '1h', '--reason', 'an old panel')

    def admitted():
        try:
            with WebSocket(fortress, listener='ws') as client:
                client.login(sensor.name, user=sensor.name, password=sensor.password)
                return True
        except OSError:
            return False
    wait_until('the plain listener', admitted)
    for scheme in ('http', 'https'):  # no certificate says whose name that is
        with WebSocket(fortress, listener='ws', upgrade=False) as client:
            assert client.http(request(Origin=f'{scheme}://localhost')).status == 403
    fortress.cli('exception', 'end', json.loads(fortress.cli('--json', 'exception', 'list').splitlines()[0])['id'])
    wait_until('it is closed', lambda: not admitted())


@pytest.mark.parametrize('extra, pattern', [
    ('origins: ["*"]', 'origin'), ('origins: ["https://dash.example/"]', 'origin'), ('path: mqtt', 'path'),
    ('path: "/a b"', 'path')])
def test_settings_that_are_refused(make_fortress, extra, pattern):
    fortress = make_fortress(listeners=('wss',), start=False)
    fortress.configure('websocket: yes', f'websocket: yes, {extra}')
    run = fortress.cli('check', check=False)
    assert run.returncode == 1 and pattern in run.stderr
