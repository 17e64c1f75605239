"""b: commands: an MQTT 5 request to $coap/DEVICE/METHOD/PATH is asked of the device on its own association: DTLS, OSCORE, TLS."""
import time

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from harness import coap_tcp, oscore
from harness.coap_device import CoapDevice
from harness.coap_message import BLOCK1, BLOCK2, CONTENT_FORMAT, DELETE, ECHO, GET, POST, PUT, RST
from harness.coap_peer import Peer
from harness.fortress import Fortress, counted, metrics
from harness.nat import Nat
from harness.oscore_device import OscoreDevice, StreamDevice
from harness.paho_client import Paho
from harness.wait import wait_until

POLICY = """
version: 1
roles:
  valve:
    publish: [ "state/${device}/#", { topic: "guarded/${device}/#", retain: yes, freshness: 30s } ]
    subscribe: [ "state/${device}/#" ]
  operator:
    publish: [ "$coap/+/GET/#", "$coap/+/PUT/valve/#", "$coap/+/POST/#", "replies/${device}/#" ]
    subscribe: [ "replies/${device}/#", "state/#" ]
  watcher:
    publish: [ "$coap/+/GET/#", "replies/${device}/#" ]
    subscribe: [ "replies/${device}/#", "state/#" ]
"""
CHANGED, CONTENT, NOT_FOUND = 0x44, 0x45, 0x84
JSON = 50


@pytest.fixture(scope='module')
def place():
    one = Fortress(('mqtts', 'coaps', 'coap', 'coaps+tcp', 'coaps+ws'), policy=None,
                   settings=['commands_per_device=4', 'packet_bytes=65536'])
    one.apply(POLICY)
    yield one
    one.close()


class Asker:
    """Somebody who asks, and hears the answers."""

    def __init__(self, place, role='operator'):
        self.device = place.add(role)
        self.topic = f'replies/{self.device.name}/1'
        self.mqtt = Paho(self.device)
        self._n = 0

    def ask(self, topic, payload=b'', response=None, expiry=None, kind=None, queries=()):
        """Gives the correlation data."""
        self._n += 1
        correlation = b'c%d' % self._n
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = response or self.topic
        properties.CorrelationData = correlation
        properties.UserProperty = [('coap-query', one) for one in queries]
        if expiry:
            properties.MessageExpiryInterval = expiry
        if kind:
            properties.ContentType = kind
        self.mqtt.publish(topic, payload, properties=properties)
        return correlation

    def answer(self, correlation=None, timeout=10):
        """Code, payload, reason, content type of the next answer."""
        m = self.mqtt.get(timeout)
        assert m.topic == self.topic
        assert correlation is None or m.properties.CorrelationData == correlation
        user = dict(m.properties.UserProperty)
        return user['coap-code'], m.payload, user.get('coap-reason'), getattr(m.properties, 'ContentType', None)

    def __enter__(self):
        self.mqtt.__enter__()
        assert self.mqtt.subscribe(f'replies/{self.device.name}/#') == [1]
        return self

    def __exit__(self, *how):
        self.mqtt.__exit__(*how)


@pytest.fixture
def asker(place):
    with Asker(place) as one:
        yield one


@pytest.fixture
def valve(place):
    return place.add('valve', credentials=('psk',))


def open_valve(served):
    if served.path != '/valve/1':
        return NOT_FOUND, b'no such valve', []
    return (CHANGED, b'', []) if served.code == PUT else (CONTENT, b'{"open":true}', [(CONTENT_FORMAT, JSON)])


def wants_echo(served):
    echo = served.message.option(ECHO)
    return (CHANGED, b'', []) if echo == b'now' else (0x81, b'', [(ECHO, b'now')])


@pytest.mark.release
@pytest.mark.parametrize('is_separate', [False, True])
def test_a_device_is_asked_and_answers(place, asker, valve, is_separate):
    with CoapDevice(valve, open_valve, is_separate) as device:
        c = asker.ask(f'$coap/{valve.name}/PUT/valve/1', b'{"open":true}', kind='application/json', queries=['slow', 'n=2'])
        assert asker.answer(c)[:3] == ('2.04', b'', None)
        asked = device.wait_asked()
        assert (asked.code, asked.path, asked.payload) == (PUT, '/valve/1', b'{"open":true}')
        assert asked.queries == ['slow', 'n=2'] and asked.message.number(CONTENT_FORMAT) == JSON
        c = asker.ask(f'$coap/{valve.name}/GET/valve/1')
        assert asker.answer(c) == ('2.05', b'{"open":true}', None, 'application/json')
        c = asker.ask(f'$coap/{valve.name}/GET/valve/2')
        assert asker.answer(c)[:3] == ('4.04', b'no such valve', None)
    place.wait_event('allow', principal=asker.device.name, target=f'$coap/{valve.name}/PUT/valve/1',
                     about=f'a command to {valve.name}: 2.04')


def test_what_goes_wrong_is_an_answer_too(place, asker, valve):
    asker.ask('$coap/nobody/GET/x')
    assert asker.answer()[::2] == ('4.04', 'no device in force has this name')
    with CoapDevice(valve, lambda served: RST):
        asker.ask(f'$coap/{valve.name}/GET/x')
        code, _, reason, _ = asker.answer()
        assert code == '5.02' and 'RST' in reason
    with CoapDevice(valve, lambda served: None) as device:
        began = time.monotonic()
        asker.ask(f'$coap/{valve.name}/POST/pump', expiry=2)
        code, _, reason, _ = asker.answer()
        assert code == '5.04' and 'is not known' in reason and time.monotonic() - began > 1.9
        assert device.wait_asked().code == POST
    other = place.add('valve', credentials=('psk',))
    asker.ask(f'$coap/{other.name}/GET/x', expiry=1)
    code, _, reason, _ = asker.answer()
    assert code == '5.04' and 'it was not asked' in reason


def test_a_device_that_comes_later_is_asked_then(place, asker, valve):
    c = asker.ask(f'$coap/{valve.name}/PUT/valve/1')
    wait_until('the command to wait', lambda: metrics(place)['commands_waiting'] == 1)
    with CoapDevice(valve, open_valve) as device:
        assert asker.answer(c)[0] == '2.04'
        device.is_asleep = True  # its association stays, but it hears nothing
        before = device.n_heard
        c = asker.ask(f'$coap/{valve.name}/POST/valve/1')
        device.wait_heard(before + 1)

        def shown():
            device.show_itself()  # what it has not acknowledged comes again at once, if it is not too fresh
            return not asker.mqtt.messages.empty()
        wait_until('its answer', shown, pause=0.3)
        assert asker.answer(c)[0] == '2.05'
        assert len(device.asked) == 2


def test_a_device_behind_nat_moves(place, asker, valve):
    with Nat(place.ports['coaps']) as nat:
        with CoapDevice(valve, open_valve, at=nat.port):
            c = asker.ask(f'$coap/{valve.name}/GET/valve/1')
            assert asker.answer(c)[0] == '2.05'
        nat.move()
        c = asker.ask(f'$coap/{valve.name}/PUT/valve/1')  # to where nobody is any more
        with CoapDevice(valve, open_valve, at=nat.port) as device:
            assert asker.answer(c)[0] == '2.04'
            assert len(device.asked) == 1
            c = asker.ask(f'$coap/{valve.name}/GET/valve/1')
            assert asker.answer(c)[0] == '2.05'


@pytest.mark.release
def test_the_policy_says_who_may_command_what(place, valve):
    put = f'$coap/{valve.name}/PUT/valve/1'
    with Asker(place, 'watcher') as watcher, Asker(place) as asker, CoapDevice(valve, open_valve) as device:
        watcher.ask(put)
        place.wait_event('acl_deny', principal=watcher.device.name, target=put, about='no publish grant')
        for response, about in ((f'state/{valve.name}/x', 'let it publish'), (watcher.topic, 'let it subscribe')):
            asker.ask(put, response=response)
            place.wait_event('acl_deny', principal=asker.device.name, target=put, about=about)
        c = asker.ask(put)
        assert asker.answer(c)[0] == '2.04'
        assert len(device.asked) == 1  # what was refused never left
        c = watcher.ask(f'$coap/{valve.name}/GET/valve/1')
        assert watcher.answer(c)[0] == '2.05'
    explained = place.cli('policy', 'explain', watcher.device.name, 'publish', put)
    assert explained.startswith('deny: no publish grant of role watcher')
    assert place.cli('policy', 'explain', asker.device.name, 'publish', put).startswith('allow')


def test_floods_meet_their_bounds_and_those_who_ask_may_go(place, valve):
    with Asker(place) as asker:
        for _ in range(5):
            asker.ask(f'$coap/{valve.name}/GET/x')
        code, _, reason, _ = asker.answer()
        assert code == '5.03' and 'commands_per_device' in reason
        with Asker(place) as second:
            second.ask(f'$coap/{valve.name}/GET/x')
            assert second.answer()[0] == '5.03'
        assert counted(place, 'commands_waiting', 4) == 4
        place.wait_event('quota', principal=asker.device.name, about='commands_per_device')
        asker.mqtt.drop()
    with CoapDevice(valve, open_valve), Asker(place) as asker:  # nobody hears the answers, and none stays
        wait_until('all to end', lambda: metrics(place)['commands_waiting'] == 0)
        assert asker.answer(asker.ask(f'$coap/{valve.name}/GET/x'))[0] == '4.04'


@pytest.mark.release
def test_a_guarded_topic_wants_to_see_that_it_is_said_now(place, asker, valve):
    with Peer(valve) as peer, Peer(valve) as other:
        where = f'/mq/guarded/{valve.name}/position'
        stale = peer.ask(PUT, where, b'open')
        assert stale.text == '4.01' and stale.option(ECHO)
        proof = [(ECHO, stale.option(ECHO))]
        assert other.ask(PUT, where, b'open', proof).text == '4.01'  # of another association
        assert peer.ask(PUT, where, b'open', proof).text == '2.01'
        assert peer.ask(DELETE, where, b'', proof).text == '2.02'
        assert peer.ask(PUT, f'/mq/state/{valve.name}/x', b'1').text == '4.03'  # no grant to retain, and no Echo asked
    sealed = place.add('valve', credentials=('oscore', 'x509'))
    with oscore.Client(sealed) as client:
        assert client.request(GET, f'mq/state/{sealed.name}/x').code == '4.04'  # its address is proven by now
        stale = client.ask(PUT, f'mq/guarded/{sealed.name}/position', b'open')
        assert stale.is_protected and stale.code == '4.01'
        proof = [(ECHO, stale.message.option(ECHO))]
        assert client.ask(PUT, f'mq/guarded/{sealed.name}/position', b'open', proof).code == '2.01'
    assert counted(place, 'refusals_total{reason="freshness"}', 3) == 3
    explained = place.cli('policy', 'explain', valve.name, 'publish', f'guarded/{valve.name}/position')
    assert 'Echo not older than 30 s' in explained

    with CoapDevice(valve, wants_echo) as device:  # and a device may want the same of us
        assert asker.answer(asker.ask(f'$coap/{valve.name}/POST/pump'))[0] == '2.04'
        assert len(device.asked) == 2


# ---- under OSCORE ----


@pytest.fixture
def sealed(place):
    return place.add('valve', credentials=('oscore', 'x509'))


@pytest.mark.parametrize('is_separate', [False, pytest.param(True, marks=pytest.mark.release)])
def test_an_oscore_device_is_asked_and_answers(place, asker, sealed, is_separate):
    large = b'x' * 2500
    got = []

    def serve(served):
        part = served.message.option(BLOCK1)
        if part is not None:
            got.append(served.payload)
            return (0x5f if part[-1] & 8 else CHANGED), b'', [(BLOCK1, part)]
        return open_valve(served)
    with OscoreDevice(sealed, serve, is_separate, n_lost=0 if is_separate else 1) as device:
        c = asker.ask(f'$coap/{sealed.name}/PUT/valve/1', b'{"open":true}', kind='application/json', queries=['slow', 'n=2'])
        assert asker.answer(c)[:3] == ('2.04', b'', None)  # what got lost came again as it was
        asked = device.wait_asked()
        assert (asked.code, asked.path, asked.payload, asked.queries) == (PUT, '/valve/1', b'{"open":true}', ['slow', 'n=2'])
        c = asker.ask(f'$coap/{sealed.name}/GET/valve/1')
        assert asker.answer(c) == ('2.05', b'{"open":true}', None, 'application/json')
        c = asker.ask(f'$coap/{sealed.name}/GET/valve/2')
        assert asker.answer(c)[:3] == ('4.04', b'no such valve', None)
        device.serve = lambda served: (0xa3, b'jammed', [])
        assert asker.answer(asker.ask(f'$coap/{sealed.name}/PUT/valve/1'))[:3] == ('5.03', b'jammed', None)
        device.serve = serve
        c = asker.ask(f'$coap/{sealed.name}/PUT/valve/1', large)
        assert asker.answer(c)[0] == '2.04'
        assert b''.join(got) == large
        device.serve = wants_echo
        assert asker.answer(asker.ask(f'$coap/{sealed.name}/POST/pump'))[0] == '2.04'
    place.wait_event('allow', principal=asker.device.name, about=f'a command to {sealed.name}: 2.04')


def test_an_oscore_device_that_is_silent_asleep_or_elsewhere(place, asker, sealed):
    late = asker.ask(f'$coap/{sealed.name}/PUT/valve/1')
    wait_until('the command to wait', lambda: metrics(place)['commands_waiting'] == 1)
    with OscoreDevice(sealed, open_valve) as device:
        assert asker.answer(late)[0] == '2.04'
        recorded = device.sent[-1]
        device.serve = lambda served: RST
        assert asker.answer(asker.ask(f'$coap/{sealed.name}/GET/valve/1'))[0] == '5.02'

        def replays(served):  # an answer of before, and one that nobody sealed
            device.client.send_raw(recorded)
            device.client.send_raw(bytes([0x60 | len(served.message.token), CHANGED]) + served.message.mid.to_bytes(2, 'big') +
                                   served.message.token)
        device.serve = replays
        code, _, reason, _ = asker.answer(asker.ask(f'$coap/{sealed.name}/POST/valve/1', expiry=2))
        assert code == '5.04' and 'is not known' in reason
        device.serve = open_valve
        device.is_asleep, before = True, device.n_heard
        c = asker.ask(f'$coap/{sealed.name}/PUT/valve/1')
        wait_until('it to be sent', lambda: device.n_heard > before)
        device.is_asleep = False
        device.rebind()  # it wakes behind another port, and shows itself there

        def shown():
            device.show_itself()
            return not asker.mqtt.messages.empty()
        wait_until('its answer', shown, pause=0.3)
        assert asker.answer(c)[0] == '2.04'


def test_no_number_seals_two_commands_over_a_kill(place, sealed):
    with Asker(place) as asker, OscoreDevice(sealed, open_valve) as device:
        for _ in range(5):
            assert asker.answer(asker.ask(f'$coap/{sealed.name}/PUT/valve/1'))[0] == '2.04'
        numbers = set(device.client.numbers)
        place.kill()
    assert len(numbers) >= 5
    place.start()
    device.client.rebind()
    with Asker(place) as asker, OscoreDevice(sealed, open_valve, client=device.client) as again:
        for _ in range(5):
            assert asker.answer(asker.ask(f'$coap/{sealed.name}/PUT/valve/1'))[0] == '2.04'
        assert len(again.client.numbers) >= len(numbers) + 5, 'each was checked to be new'


# ---- over TCP and WebSocket ----


@pytest.fixture
def plugged(place):
    return place.add('valve', credentials=('x509',))


@pytest.mark.release
@pytest.mark.parametrize('kind', [coap_tcp.Peer, coap_tcp.WebSocketPeer])
def test_a_device_on_a_stream_is_asked_and_answers(place, asker, plugged, kind):
    late = asker.ask(f'$coap/{plugged.name}/PUT/valve/1', b'{"open":true}', kind='application/json', queries=['slow'])
    wait_until('the command to wait', lambda: metrics(place)['commands_waiting'] == 1)
    with StreamDevice(kind(plugged), open_valve) as device:
        assert asker.answer(late)[:3] == ('2.04', b'', None)
        asked = device.wait_asked()
        assert (asked.code, asked.path, asked.payload, asked.queries) == (PUT, '/valve/1', b'{"open":true}', ['slow'])
        c = asker.ask(f'$coap/{plugged.name}/GET/valve/1')
        assert asker.answer(c) == ('2.05', b'{"open":true}', None, 'application/json')
        assert asker.answer(asker.ask(f'$coap/{plugged.name}/GET/valve/2'))[:2] == ('4.04', b'no such valve')
        device.serve = wants_echo
        assert asker.answer(asker.ask(f'$coap/{plugged.name}/POST/pump'))[0] == '2.04'
        device.serve = lambda served: None
        code, _, reason, _ = asker.answer(asker.ask(f'$coap/{plugged.name}/POST/pump', expiry=1))
        assert code == '5.04' and 'is not known' in reason
        c = asker.ask(f'$coap/{plugged.name}/POST/pump')
        device.wait_asked(7)
    code, _, reason, _ = asker.answer(c)  # it has gone
    assert code == '5.04' and 'ended before the answer' in reason


def test_what_a_device_on_a_stream_takes_is_what_it_said(place, asker, plugged):
    where, large, value = f'$coap/{plugged.name}/PUT/valve/1', b'x' * 9000, bytes(i % 251 for i in range(7000))
    with StreamDevice(coap_tcp.Peer(plugged), open_valve) as device:  # 1152 bytes, and no blocks
        code, _, reason, _ = asker.answer(asker.ask(where, large))
        assert code == '4.13' and 'Max-Message-Size' in reason
        assert asker.answer(asker.ask(where, b'y' * 900))[0] == '2.04'
        assert [len(one.payload) for one in device.asked] == [900]
    with StreamDevice(coap_tcp.Peer(plugged, csm=[(coap_tcp.MAX_MESSAGE_SIZE, 20000)]), open_valve) as device:
        assert asker.answer(asker.ask(where, large))[0] == '2.04'
        assert device.wait_asked().payload == large and device.asked[0].message.option(BLOCK1) is None

    def in_blocks(served):
        part = served.message.option(BLOCK1)
        if part is not None:
            return (0x5f if part[-1] & 8 else CHANGED), b'', [(BLOCK1, part)]
        at = int.from_bytes(served.message.option(BLOCK2) or b'', 'big') >> 4  # three blocks at once (BERT)
        more = (at + 3) * 1024 < len(value)
        number = (at << 4 | (8 if more else 0) | 7).to_bytes(2, 'big').lstrip(b'\0')
        return CONTENT, value[at * 1024:(at + 3) * 1024], [(BLOCK2, number)]
    csm = [(coap_tcp.MAX_MESSAGE_SIZE, 700), (coap_tcp.BLOCK_WISE, b'')]
    with StreamDevice(coap_tcp.Peer(plugged, csm=csm), in_blocks) as device:
        assert asker.answer(asker.ask(where, large))[0] == '2.04'
        assert b''.join(one.payload for one in device.asked) == large
        assert {len(one.payload) for one in device.asked[:-1]} == {512}
        n = len(device.asked)
        assert asker.answer(asker.ask(f'$coap/{plugged.name}/GET/log'))[:2] == ('2.05', value)
        assert len(device.asked) == n + 3
