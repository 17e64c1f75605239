"""d: a message that a client fails at again and again ends in the store of the set-aside, from where an administrator takes
it; nobody else on the same topics notices."""
import json
import re
import struct
import time

import pytest

from harness import wire
from harness.coap_message import POST, PUT
from harness.coap_peer import Peer
from harness.durable import EXPIRY, Message, is_on_record
from harness.fortress import Fortress, Refused, metrics
from harness.paho_client import Paho
from harness.wait import wait_until
from harness.wire import CONNACK, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, Wire

pytestmark = pytest.mark.release

TRIES = 3
POLICY = f"""
version: 1
roles:
  any:
    client_id: "*"
    publish: [ {{ topic: "p/#", retain: yes }} ]
    subscribe: [ "p/#" ]
    limits: {{ redeliveries: {TRIES}, connect_burst: 1000, connect_rate: 1000/s, publish_burst: 10000 }}
  mute:
    client_id: "*"
    publish: [ "other/#" ]
    subscribe: [ "other/#" ]
"""


@pytest.fixture
def place():
    one = Fortress(policy=None)
    one.apply(POLICY)
    yield one
    one.close()


def open_session(place, device, client_id='fragile', clean=False):
    return Wire(place, device).login(client_id, clean=clean, properties=EXPIRY)


def subscribed(place, device, *filters, client_id='fragile', qos=2):
    with open_session(place, device, client_id, clean=True) as w:
        w.send(wire.subscribe(1, *[(one, qos) for one in filters])).expect(SUBACK)


def dies_at(place, device, topic, client_id='fragile'):
    """Connects, gets this message first, and is gone without a word."""
    with open_session(place, device, client_id) as w:
        packet = w.receive()
        assert packet.kind == PUBLISH and Message(packet).topic == topic, packet
        return Message(packet)


def says(place, device, topic, payload, qos=1, **how):
    with Wire(place, device).login('speaker') as w:
        w.send(wire.publish(topic, payload, qos=qos, **how))
        if qos == 2:
            w.expect(PUBREC)
            w.send(wire.packet(PUBREL, struct.pack('>H', 1), 2)).expect(PUBCOMP)
        else:
            w.expect(PUBACK)


def until_mark(w):
    """What comes before a message that stands behind all that waits."""
    w.send(wire.publish('p/mark', b''))
    seen = []
    while True:
        packet = w.receive()
        assert packet is not None
        if packet.kind == PUBLISH and Message(packet).topic == 'p/mark':
            return seen
        seen.append(packet)


def gets_nothing(place, device, client_id='fragile'):
    with open_session(place, device, client_id) as w:
        assert until_mark(w) == []


def gets(place, device, client_id='fragile'):
    """The one message that waits, acknowledged in full."""
    with open_session(place, device, client_id) as w:
        packet = w.receive()
        assert packet.kind == PUBLISH, packet
        one = Message(packet)
        if packet.flags >> 1 & 3 == 2:
            w.send(wire.packet(PUBREC, one.packet_id)).expect(PUBREL)
            w.send(wire.packet(PUBCOMP, one.packet_id))
        else:
            w.send(wire.packet(PUBACK, one.packet_id))
        w.send(wire.packet(wire.PINGREQ)).expect(wire.PINGRESP)
        w.send(wire.packet(wire.DISCONNECT)).expect_close()
    return one


def poisoned(place, topic='p/bad', payload='\x01bad', qos=1):
    """A device whose session has one message set aside; the device and its row."""
    device = place.add('any')
    subscribed(place, device, 'p/#')
    says(place, device, topic, payload, qos=qos)
    for _ in range(TRIES):
        dies_at(place, device, topic)
    gets_nothing(place, device)
    return device, rows(place, device)[0]


def rows(place, device=None):
    return place.json('setaside', 'list', *(['--device', device.name] if device else []))


def poison_alerts(place):
    return [one for one in place.json('alerts') if one.get('category') == 'poison_message']


def test_set_aside_listed_and_replayed(place):
    victim = place.add('any')
    subscribed(place, victim, 'p/#')
    with Paho(place.add('any'), client_id='innocent') as innocent:
        innocent.subscribe('p/#', qos=2)
        says(place, victim, 'p/bad', '\x01bad', qos=2)
        for i in range(TRIES):
            assert dies_at(place, victim, 'p/bad').payload == b'\x01bad'
            says(place, victim, 'p/good', f'{i}')
        with open_session(place, victim) as w:  # what stood behind it comes now
            for i in range(TRIES):
                one = Message(w.receive())
                assert (one.topic, one.payload) == ('p/good', b'%d' % i)
                w.send(wire.packet(PUBACK, one.packet_id))
            w.send(wire.packet(wire.PINGREQ)).expect(wire.PINGRESP)
        place.wait_event('poison_message', severity='alert', principal=victim.name, target='p/bad')
        [row] = rows(place, victim)
        assert {name: row[name] for name in ('principal', 'client_id', 'topic', 'qos', 'bytes', 'sent', 'why')} == {
            'principal': victim.name, 'client_id': 'fragile', 'topic': 'p/bad', 'qos': 2, 'bytes': 4, 'sent': TRIES,
            'why': 'poison_message'}
        assert row['time'].startswith('20') and 'payload_base64' not in row
        text = place.cli('setaside', 'list')
        assert row['id'] in text and 'p/bad' in text and 'bad' not in text.replace('p/bad', '')
        assert metrics(place)['set_aside_messages'] == 1
        [alert] = poison_alerts(place)
        assert alert['principal'] == victim.name and f'setaside replay {row["id"]}' in json.dumps(alert)

        [shown] = place.json('setaside', 'list', '--payload')
        assert shown['payload_base64'] == 'AWJhZA==' and shown['payload_is_cut'] is False
        place.wait_event('poison_message', principal='admin', target='p/bad', severity='notice')

        [told] = place.json('setaside', 'replay', row['id'])
        assert told['outcome'] == 'replayed' and rows(place) == []
        wait_until('the alert ends', lambda: not poison_alerts(place))
        again = gets(place, victim)
        assert (again.topic, again.payload) == ('p/bad', b'\x01bad')
        gets_nothing(place, victim)
        seen = [innocent.get() for _ in range(TRIES + 2)]
        seen = [one for one in seen if one.topic != 'p/mark']
        assert sorted((one.topic, bytes(one.payload)) for one in seen) == [
            ('p/bad', b'\x01bad'), *(('p/good', b'%d' % i) for i in range(TRIES))]
    place.wait_event('poison_message', reason=re.compile('replayed'), peer=re.compile('^uid='))


def test_a_replay_counts_afresh(place):
    device, row = poisoned(place)
    place.cli('setaside', 'replay', 'all', '--device', device.name)
    for _ in range(TRIES):
        dies_at(place, device, 'p/bad')
    gets_nothing(place, device)
    [again] = rows(place)
    assert again['id'] != row['id'] and again['sent'] == TRIES
    assert len(poison_alerts(place)) == 1


def test_drop(place):
    device, row = poisoned(place)
    place.cli('setaside', 'drop', row['id'])
    assert rows(place) == [] and metrics(place)['set_aside_messages'] == 0
    wait_until('the alert ends', lambda: not poison_alerts(place))
    gets_nothing(place, device)
    place.kill()
    place.start()
    assert rows(place) == []
    with pytest.raises(Refused, match='see `setaside list`'):
        place.cli('setaside', 'drop', row['id'])
    with pytest.raises(Refused, match='named by its number'):
        place.cli('setaside', 'replay', '12x')
    with pytest.raises(Refused, match='no device nobody'):
        place.cli('setaside', 'list', '--device', 'nobody')
    assert place.cli('setaside', 'drop', 'all') == ''


@pytest.mark.parametrize('qos', [1, 2])
def test_kill_9_before_and_after_a_replay(place, qos):
    device, row = poisoned(place, qos=qos)
    place.kill()
    place.start()
    [same] = rows(place)
    assert same == row
    assert len(poison_alerts(place)) == 1, 'still an alert after a restart'
    place.cli('setaside', 'replay', row['id'])
    place.kill()
    place.start()
    assert rows(place) == [] and not poison_alerts(place)
    assert gets(place, device).payload == b'\x01bad'
    gets_nothing(place, device)
    is_on_record(place, device)
    place.kill()
    place.start()
    gets_nothing(place, device)


def test_replay_is_refused(place):
    device, row = poisoned(place)
    place.apply(POLICY.replace('subscribe: [ "p/#" ]', 'subscribe: [ "other/#" ]'))
    with pytest.raises(Refused, match='may not subscribe'):
        place.cli('setaside', 'replay', row['id'])
    place.apply(POLICY.replace('topic: "p/#"', 'topic: "other/#"'))
    with pytest.raises(Refused, match='publisher may not say'):
        place.cli('setaside', 'replay', row['id'])
    place.apply(POLICY)
    place.cli('device', 'disable', device.name)
    with pytest.raises(Refused, match='not active|publisher may not'):
        place.cli('setaside', 'replay', row['id'])
    place.cli('device', 'enable', device.name)
    with open_session(place, device, clean=True):  # begun anew
        pass
    with pytest.raises(Refused, match='session it was for is gone'):
        place.cli('setaside', 'replay', row['id'])
    assert [one['id'] for one in rows(place)] == [row['id']], 'a refusal changes nothing'
    place.cli('device', 'remove', device.name)
    wait_until('what a removed device left is gone', lambda: rows(place) == [])


def test_client_and_server_die_in_turn(place):
    """A restart does not make the count begin again."""
    device = place.add('any')
    subscribed(place, device, 'p/#')
    says(place, device, 'p/bad', 'x')
    for _ in range(TRIES):
        dies_at(place, device, 'p/bad')
        place.kill()
        place.start()
    wait_until('it ends', lambda: metrics(place)['sessions'] >= 1)
    gets_nothing(place, device)
    assert len(rows(place)) == 1


def test_a_will_that_kills(place):
    device, dying = place.add('any'), place.add('any')
    subscribed(place, device, 'p/#')
    with Paho(place.add('any'), client_id='innocent') as innocent:
        innocent.subscribe('p/#', qos=1)
        Wire(place, dying).login('dying', will=('p/will', 'gone', 1, False)).close()
        for _ in range(TRIES):
            dies_at(place, device, 'p/will')
        gets_nothing(place, device)
        assert [one['topic'] for one in rows(place, device)] == ['p/will']
        assert innocent.get().topic == 'p/will'


def test_a_retained_message_that_kills(place):
    """It is on its way by every new subscription; what was set aside does not come by that way again."""
    device = place.add('any')
    says(place, device, 'p/kept', 'x', retain=True)
    n = 0
    with open_session(place, device, clean=True) as w:
        assert w.send(wire.subscribe(1, ('p/#', 1))).expect(SUBACK)
        assert w.receive().kind == PUBLISH
    for n in range(1, 4 * TRIES):
        with open_session(place, device) as w:
            w.send(wire.subscribe(1, ('p/#', 1)))
            w.expect_among(SUBACK, Message)
            if not until_mark(w):
                break
    assert n < 4 * TRIES - 1, 'it never ended'
    assert {one['topic'] for one in rows(place, device)} == {'p/kept'}
    with Wire(place, device).login('innocent') as w:
        w.send(wire.subscribe(1, ('p/#', 0)))
        assert {w.receive().kind, w.receive().kind} == {SUBACK, PUBLISH}


@pytest.mark.parametrize('method', [POST, PUT])
def test_a_value_by_coap_that_kills(place, method):
    """It comes through the other door, and over a restart: the same bound, the same store, the same replay."""
    device, sensor = place.add('any'), place.add('any', credentials=('psk',))
    subscribed(place, device, 'p/#')
    with Peer(sensor) as door:
        assert door.exchange(method, '/mq/p/bad', b'\x01bad').text == ('2.01' if method == PUT else '2.04')
    for i in range(TRIES):
        dies_at(place, device, 'p/bad')
        if i == 0:
            place.kill()
            place.start()
    gets_nothing(place, device)
    row = rows(place, device)[0]
    assert (row['topic'], row['qos']) == ('p/bad', 1)
    place.cli('setaside', 'replay', row['id'])
    assert gets(place, device).payload == b'\x01bad'


def test_bounds_of_the_store():
    small = Fortress(policy=None, settings=('setaside_messages=4', 'setaside_expiry=1h'))
    try:
        small.apply(POLICY)
        device = small.add('any')
        subscribed(small, device, 'p/#')
        for i in range(8):
            says(small, device, f'p/{i}', 'x')
        for _ in range(TRIES):
            with open_session(small, device) as w:
                for i in range(8):
                    assert w.receive().kind == PUBLISH
        gets_nothing(small, device)
        left = rows(small)
        assert 1 <= len(left) <= 4 and left[-1]['topic'] == 'p/7', 'the oldest go'
        ids = [int(one['id']) for one in left]
        assert ids == sorted(ids)
        [gone, *_] = small.wait_event('poison_message', severity='warning', principal=device.name)
        assert 'setaside_messages' in gone['reason']
        assert len(poison_alerts(small)) == len(left)
        assert [one['id'] for one in small.json('setaside', 'list', '--limit', '1')] == [left[0]['id']]
        assert small.json('setaside', 'list', '--after', left[-1]['id']) == []
        small.kill()
        small.start()
        assert rows(small) == left
    finally:
        small.close()


# -- clients that answer wrongly: bounded, and nobody else notices ----------------------------------------------------------


def test_rejected_by_reason_is_not_sent_again(place):
    device = place.add('any')
    subscribed(place, device, 'p/#')
    says(place, device, 'p/one', 'x', qos=2)
    with open_session(place, device) as w:
        one = Message(w.receive())
        w.send(wire.packet(PUBREC, one.packet_id + b'\x80'), wire.packet(wire.PINGREQ)).expect(wire.PINGRESP)
    gets_nothing(place, device)
    assert rows(place) == []


def test_acknowledgements_of_nothing(place):
    """Wrong ids, PUBREC without end, PUBREL without end: each gets its one answer, and the session works on."""
    device = place.add('any')
    subscribed(place, device, 'p/#')
    says(place, device, 'p/one', 'x', qos=2)
    with open_session(place, device) as w:
        one = Message(w.receive())
        wrong = struct.pack('>H', struct.unpack('>H', one.packet_id)[0] + 100)
        for _ in range(200):
            w.send(wire.packet(PUBACK, wrong), wire.packet(PUBCOMP, wrong))
            assert w.send(wire.packet(PUBREC, wrong)).expect(PUBREL).reason == 0x92
            w.send(wire.packet(PUBREL, wrong, 2)).expect(PUBCOMP)
        w.send(wire.packet(PUBACK, one.packet_id))  # not what QoS 2 asks for: nothing ends
        for _ in range(50):
            w.send(wire.packet(PUBREC, one.packet_id)).expect(PUBREL)
        w.send(wire.packet(PUBCOMP, one.packet_id), wire.packet(wire.PINGREQ)).expect(wire.PINGRESP)
    gets_nothing(place, device)


def test_pubcomp_that_never_comes(place):
    """PUBREL once a connection, never the message; its place in flight is all that it costs."""
    device = place.add('any')
    subscribed(place, device, 'p/#')
    says(place, device, 'p/one', 'x', qos=2)
    with open_session(place, device) as w:
        one = Message(w.receive())
        w.send(wire.packet(PUBREC, one.packet_id)).expect(PUBREL)
    for _ in range(2 * TRIES):
        with open_session(place, device) as w:
            assert w.receive().kind == PUBREL
            assert until_mark(w) == []
    says(place, device, 'p/two', 'y')
    with open_session(place, device) as w:
        kinds = [w.receive().kind, w.receive().kind]
        assert sorted(kinds) == [PUBLISH, PUBREL]


def test_bad_utf8_never_reaches_a_subscriber(place):
    """QoS 2 with text that is none: the publisher is closed each time, nothing is stored, nothing comes later."""
    device, writer = place.add('any'), place.add('any')
    subscribed(place, device, 'p/#')
    with Paho(place.add('any'), client_id='innocent') as innocent:
        innocent.subscribe('p/#', qos=2)
        for topic, properties in ((b'p/\xc3\x28', b''), (b'p/\xed\xa0\x80', b''), (b'p/text', b'\x01\x01')):
            for _ in range(TRIES + 2):
                with Wire(place, writer).login('writer', clean=False, properties=EXPIRY) as w:
                    w.send(wire.publish(topic, b'\xff\xfe', qos=2, properties=properties))
                    last = w.receive()
                    assert last is None or last.kind == wire.DISCONNECT or last.reason >= 0x80, last
        says(place, writer, 'p/good', 'end', qos=2)
        assert innocent.get().topic == 'p/good'
    assert gets(place, device).topic == 'p/good'
    gets_nothing(place, device)
    assert rows(place) == []
