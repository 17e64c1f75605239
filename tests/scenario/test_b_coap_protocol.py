"""b: what CoAP asks of any server, over real DTLS by a client made of bytes: the right code, an event, nothing left behind."""
import struct

import pytest

from harness import mosquitto
from harness.coap_message import (ACCEPT, ACK, BLOCK1, CON, CONTENT_FORMAT, DELETE, EMPTY, ETAG, FETCH, GET, HOP_LIMIT, IPATCH,
                                  NO_RESPONSE, NON, OBSERVE, PATCH, POST, PUT, RST, SIZE1, URI_PATH, URI_QUERY, Message, path)
from harness.coap_peer import Peer
from harness.fortress import Fortress, metrics
from harness.mosquitto import Subscriber
from harness.wait import wait_until

pytestmark = pytest.mark.release

IF_MATCH, IF_NONE_MATCH, PROXY_URI, PROXY_SCHEME, UNKNOWN_CRITICAL, UNKNOWN_ELECTIVE = 1, 5, 35, 39, 65001, 65000
POLICY = """
version: 1
roles:
  meter:
    publish: [ { topic: "meters/${device}/#", retain: yes } ]
    subscribe: [ "meters/${device}/#" ]
    resources: [ { path: "/fw/one", methods: [GET] } ]
    limits: { publish_rate: 1000/s, publish_burst: 1000, replay_rate: 1000/s }
  desk:
    client_id: "*"
    publish: [ "meters/#" ]
    subscribe: [ "meters/#" ]
"""


@pytest.fixture(scope='module')
def place():
    one = Fortress(policy=None)
    one.apply(POLICY)
    yield one
    one.close()


@pytest.fixture
def door(place):
    """An association of a device of its own; `topic` is the path of one it may use, `name` whose it is."""
    device = place.add('meter', credentials=('psk',))
    with Peer(device) as peer:
        peer.name, peer.topic = device.name, path(f'/mq/meters/{device.name}/state')
        yield peer


TOPIC = 'stands for the topic of the door'


# method, options, answer; category of the event and what it says
MISTAKES = [
    (8, [TOPIC], '4.05', 'protocol_error', 'method'),
    (31, [TOPIC], '4.05', 'protocol_error', 'method'),
    (FETCH, [TOPIC], '4.15', 'protocol_error', 'senml-etch'),
    (PATCH, [TOPIC], '4.15', 'protocol_error', 'merge-patch'),
    (IPATCH, [TOPIC], '4.15', 'protocol_error', 'merge-patch'),
    (POST, path('/.well-known/core'), '4.05', 'protocol_error', 'takes GET'),
    (GET, [TOPIC, (UNKNOWN_CRITICAL, 1)], '4.02', 'protocol_error', 'critical option'),
    (GET, [TOPIC, (ACCEPT, 50), (ACCEPT, 60)], '4.02', 'protocol_error', 'critical option'),
    (GET, [(URI_PATH, b'mq'), (URI_PATH, b'\xff\xfe')], '4.02', 'utf8', 'UTF-8'),
    (GET, [(PROXY_URI, b'coap://other/')], '5.05', 'probe', 'no proxy'),
    (GET, [TOPIC, (PROXY_SCHEME, b'http')], '5.05', 'probe', 'no proxy'),
    (GET, [TOPIC, (HOP_LIMIT, b'\x00')], '4.00', 'malformed', 'Hop-Limit'),
    (GET, [TOPIC, (HOP_LIMIT, b'\x01\x00')], '4.00', 'malformed', 'Hop-Limit'),
    (PUT, [TOPIC], '4.00', 'protocol_error', 'DELETE'),
    (PUT, [TOPIC, (BLOCK1, 8)], '4.00', 'malformed', 'block'),
    (GET, path('/mq/meters/other/state'), '4.03', 'acl_deny', ''),
    (PUT, path('/fw/one'), '4.03', 'acl_deny', ''),
    (GET, path('/fw/one'), '4.04', None, None),
    (GET, path('/mq/a+'), '4.00', 'malformed', 'wildcards'),
    (GET, [*path('/.well-known/core'), (ACCEPT, 50)], '4.06', None, None),
]


def test_each_mistake_has_its_code_and_its_event(place, door):
    for code, more, answer, _, _ in MISTAKES:
        more = [pair for one in more for pair in (door.topic if one == TOPIC else [one])]
        got = door.exchange(code, more, b'x' if code == PUT and answer != '4.00' else b'', token=b'T')
        assert (got.kind, got.text, got.token) == (ACK, answer, b'T'), (code, more, got)
    wanted = {(category, answer, says) for _, _, answer, category, says in MISTAKES if category}

    def missing():
        seen = [one for one in place.events() if one['principal'] == door.name]
        return {one for one in wanted
                if not any(e['category'] == one[0] and one[1] in e['reason'] and one[2] in e['reason'] for e in seen)}
    wait_until('every event', lambda: not missing(), pause=0.1)
    nothing_is_left(place, door)


def nothing_is_left(place, door):
    """The association goes on, and nobody else sees anything."""
    assert door.exchange(PUT, door.topic, b'fine').text in ('2.01', '2.04')
    assert door.exchange(GET, door.topic).payload == b'fine'
    wait_until('no subscription', lambda: metrics(place)['subscriptions'] == 0)
    assert door.exchange(DELETE, door.topic).text == '2.02'


def raw(first, code, mid=0x7777, rest=b''):
    return bytes([first, code]) + struct.pack('>H', mid) + rest


# bytes, and the type of the empty message that answers them; None: silence
MALFORMED = [
    (raw(0x4d, GET, rest=b'\xff'), RST),                      # an extended token that ends early
    (raw(0x4e, GET), RST),
    (raw(0x4f, GET, rest=b'abc'), RST),                       # a length that means nothing
    (raw(0x40, GET, rest=b'\xe0\xfe\xf2\xc0'), RST),          # option numbers over 65535 do not wrap to a path
    (raw(0x40, GET, rest=b'\xf0'), RST),
    (raw(0x40, GET, rest=b'\xb5mq'), RST),                    # an option longer than the datagram
    (raw(0x40, GET, rest=b'\xff'), RST),                      # a marker and no payload
    (raw(0x41, 0, rest=b'T'), RST),                           # an empty message that is not
    (raw(0x40, 0x21), RST), (raw(0x40, 0xe1), RST),           # reserved classes
    (raw(0x80, GET), None), (raw(0x00, GET), None),           # another version
    (raw(0x5f, GET), None), (raw(0x6f, GET), None), (raw(0x7f, GET), None),  # never a Reset for a NON, an ACK, a Reset
    (raw(0x60, GET), None), (raw(0x70, GET), None), (raw(0x50, 0), None),
    (b'\x40', None), (b'\x00', None),
]


def test_a_malformed_datagram_costs_nobody_the_association(place, door):
    for data, answer in MALFORMED:
        door.send_bytes(data)
        if answer is not None:
            got = door.receive()
            assert (got.kind, got.code, got.mid) == (answer, EMPTY, 0x7777), (data, got)
        assert door.is_alive(), data
    place.wait_event('malformed', about=door.name)
    nothing_is_left(place, door)


def test_long_tokens_come_back(door):
    for n in (0, 8, 9, 12, 13, 14, 15, 32):
        token = bytes(range(n))
        assert door.exchange(GET, door.topic, token=token).token == token
    for n in (33, 268, 269, 1000):
        got = door.exchange(GET, door.topic, token=bytes(n))
        assert (got.kind, got.code) == (RST, EMPTY), n


def test_acknowledgements_of_nothing(place, door):
    """Of a NON, of what was never sent, and those that carry a request: nothing runs, no observation ends."""
    watched = door.exchange(GET, door.topic, options=[(OBSERVE, 0)], token=b'W')
    got = door.exchange(GET, path('/fw/one'), kind=NON)
    assert (got.kind, got.text) == (NON, '4.04')
    door.acknowledge(got)
    door.acknowledge(got, RST)
    for mid in range(0, 65536, 257):
        for kind in (ACK, RST):
            door.send(Message(kind, EMPTY, mid))
    for code in (PUT, GET, 0x45):
        for kind in (ACK, RST):
            door.send(Message(kind, code, 7, b'W', door.topic, b'never'))
    assert door.is_alive() and watched.option(OBSERVE) is not None
    desk = place.add('desk', credentials=('x509',))
    mosquitto.publish(desk, f'meters/{door.name}/state', '1', qos=1)
    told = door.receive()
    assert (told.payload, told.token) == (b'1', b'W')
    door.acknowledge(told, RST)
    wait_until('the end of the observation', lambda: metrics(place)['subscriptions'] == 0)


def test_what_cannot_be_observed_is_read_once(place, door):
    for where in ('/.well-known/core', '/fw/one', '/nothing', '/rd', '/.well-known/est/crts', '/mq/meters/another/state'):
        assert door.exchange(GET, where, options=[(OBSERVE, 0)]).option(OBSERVE) is None, where
    for value in (b'\2', b'\xff\xff\xff', bytes(4)):
        assert door.exchange(GET, door.topic, options=[(OBSERVE, value)]).option(OBSERVE) is None, value
    for method in (PUT, POST, DELETE):
        assert door.exchange(method, door.topic, b'' if method == DELETE else b'x', [(OBSERVE, 0)]).option(OBSERVE) is None
    wait_until('no subscription', lambda: metrics(place)['subscriptions'] == 0)


def test_no_response_is_what_it_says(place, door):
    desk = place.add('desk', credentials=('x509',))
    with Subscriber(desk, f'meters/{door.name}/#', qos=1) as seen:
        # A NON whose success nobody wants to hear of is published in silence; its refusal is said.
        door.send(door.make(POST, [*door.topic, (NO_RESPONSE, 2)], b'silent', kind=NON))
        assert seen.get()['payload'] == 'silent'
        refused = door.exchange(POST, [*path('/mq/no'), (NO_RESPONSE, 2)], b'x', kind=NON)
        assert (refused.kind, refused.text) == (NON, '4.03')
        # Of a CON there is the acknowledgement.
        got = door.exchange(POST, [*door.topic, (NO_RESPONSE, 2)], b'acked')
        assert (got.kind, got.code) == (ACK, EMPTY) and seen.get()['payload'] == 'acked'
        # What the endpoint refuses by itself keeps to it, too.
        got = door.exchange(9, [*door.topic, (NO_RESPONSE, 8)])
        assert (got.kind, got.code) == (ACK, EMPTY)
        door.send(door.make(9, [*door.topic, (NO_RESPONSE, 24)], kind=NON))
        assert door.is_alive(), 'the next answer is that to the ping'


def test_conditions(place, door):
    assert door.exchange(PUT, [*door.topic, (IF_MATCH, b'')], b'0').text == '4.12'
    assert door.exchange(PUT, [*door.topic, (IF_NONE_MATCH, b'')], b'1').text == '2.01'
    assert door.exchange(PUT, [*door.topic, (IF_NONE_MATCH, b'')], b'2').text == '4.12'
    got = door.exchange(GET, door.topic)
    etag = got.option(ETAG)
    assert got.payload == b'1'
    assert door.exchange(GET, [*door.topic, (ETAG, etag)]).text == '2.03'
    assert door.exchange(PUT, [*door.topic, (IF_MATCH, b'other678')], b'3').text == '4.12'
    assert door.exchange(PUT, [*door.topic, (IF_MATCH, b'other678'), (IF_MATCH, etag)], b'4').text == '2.04'
    assert door.exchange(DELETE, [*door.topic, (IF_MATCH, etag)]).text == '4.12'
    assert door.exchange(GET, door.topic).payload == b'4'
    nothing_is_left(place, door)


def test_a_repeated_request_is_served_once(place, door):
    desk = place.add('desk', credentials=('x509',))
    with Subscriber(desk, f'meters/{door.name}/#', qos=1) as seen:
        twice = door.send(door.make(POST, door.topic, b'once'))
        first = door.receive()
        door.send(twice)
        again = door.receive()
        assert (first.text, first.mid) == (again.text, again.mid) == ('2.04', twice.mid)
        assert seen.get()['payload'] == 'once'
        mosquitto.publish(desk, f'meters/{door.name}/mark', 'mark', qos=1, client_id='marker')
        assert seen.get()['payload'] == 'mark'


def test_one_message_id_for_two_requests(place, door):
    """The second neither runs nor gets the answer of the first: it could not tell."""
    first = door.send(door.make(PUT, door.topic, b'one', token=b'AA'))
    assert door.receive().text == '2.01'
    for code, payload in ((PUT, b'two'), (DELETE, b''), (GET, b'')):
        door.send(Message(CON, code, first.mid, b'ZZ', door.topic, payload))
        got = door.receive()
        assert (got.kind, got.code, got.mid) == (RST, EMPTY, first.mid)
        door.send(Message(NON, code, first.mid, b'ZZ', door.topic, payload))
    door.send(first)
    assert (again := door.receive()).text == '2.01' and again.token == b'AA'
    assert door.exchange(GET, door.topic).payload == b'one'
    place.wait_event('malformed', about=door.name)


def test_the_list_is_in_link_format_and_filtered(place, door):
    assert door.exchange(PUT, [*door.topic, (CONTENT_FORMAT, 50)], b'{}').text == '2.01'
    other = place.add('meter', credentials=('psk',))
    with Peer(other) as third:
        assert third.exchange(PUT, f'/mq/meters/{other.name}/state', b'1').text == '2.01'
    core = path('/.well-known/core')
    got = door.exchange(GET, core)
    assert (got.text, got.number(CONTENT_FORMAT)) == ('2.05', 40)
    links = got.payload.decode()
    assert f'</mq/meters/{door.name}/state>;' in links and 'ct=50' in links and 'obs' in links and other.name not in links
    only = door.exchange(GET, [*core, (URI_QUERY, b'href=/mq/meters/*')]).payload.decode()
    assert only.startswith(f'</mq/meters/{door.name}/state>') and '.well-known' not in only
    assert door.exchange(GET, [*core, (URI_QUERY, b'rt=nothing')]).payload == b''
    assert door.exchange(GET, [*core, (URI_QUERY, b'ct=50')]).payload.decode().startswith('</mq/')
    assert door.exchange(GET, [*core, (URI_QUERY, b'=')]).text == '4.00'


def test_a_value_of_one_format_and_another_wish(place, door):
    assert door.exchange(PUT, [*door.topic, (CONTENT_FORMAT, 60)], b'\xa0').text == '2.01'
    assert door.exchange(GET, [*door.topic, (ACCEPT, 50)]).text == '4.06'
    assert door.exchange(GET, [*door.topic, (ACCEPT, 60)]).number(CONTENT_FORMAT) == 60
    assert door.exchange(PUT, [*door.topic, (CONTENT_FORMAT, 50)], b'\xff').text == '4.00'
    half = door.exchange(PUT, [*door.topic, (BLOCK1, 8), (SIZE1, 2_000_000)], b'x' * 16)
    assert half.text == '4.13' and half.number(SIZE1) < 2_000_000


def test_a_patch_changes_what_it_names(place):
    """RFC 8132 and 7396: seen over MQTT, kept over kill -9, all of it or nothing."""
    device, desk = place.add('meter', credentials=('psk',)), place.add('desk', credentials=('x509',))
    where = path(f'/mq/meters/{device.name}/state')
    patch = [*where, (CONTENT_FORMAT, 52)]
    with Subscriber(desk, f'meters/{device.name}/#', qos=1) as seen:
        with Peer(device) as peer:
            assert peer.exchange(PATCH, patch, b'{"on": true, "t": 21.30, "no": null}').text == '2.01'
            assert seen.get()['payload'] == '{"on":true,"t":21.30}'
            assert peer.exchange(IPATCH, patch, b'{"on": null, "mode": {"eco": 1}}').text == '2.04'
            assert seen.get()['payload'] == '{"t":21.30,"mode":{"eco":1}}'
            for code, bad in (('4.00', b'{"on":'), ('4.22', b'{"a":1,"a":2}'), ('4.13', b' ' * 1025)):
                assert peer.exchange(PATCH, patch, bad).text == code
            assert peer.exchange(PATCH, [(IF_MATCH, b'other678'), *patch], b'{}').text == '4.12'
        place.kill()
        place.start()
    with Peer(device) as peer:
        got = peer.exchange(GET, where)
        assert (got.payload, got.number(CONTENT_FORMAT)) == (b'{"t":21.30,"mode":{"eco":1}}', 50)
        assert peer.exchange(PUT, [*where, (CONTENT_FORMAT, 60)], b'\xa0').text == '2.04'
        assert peer.exchange(PATCH, patch, b'{"on": 1}').text == '4.09'
        assert peer.exchange(GET, where).payload == b'\xa0'
