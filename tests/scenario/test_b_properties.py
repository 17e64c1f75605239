"""b: what MQTT 5 lets a client and the server agree on: aliases, a will that waits, lifetimes, sizes, words for a refusal."""
import re
import struct
from contextlib import contextmanager

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from harness import mosquitto, wire
from harness.clock import Clock
from harness.durable import is_on_record
from harness.paho_client import Paho
from harness.wire import CONNACK, DISCONNECT, PINGREQ, PINGRESP, PUBACK, PUBLISH, SUBACK, Wire, properties

pytestmark = pytest.mark.release

HOUR = b'\x11\x00\x00\x0e\x10'  # session expiry


def alias(number):
    return b'\x23' + struct.pack('>H', number)


def login(fortress, role='lamp', **more):
    device = fortress.add(role, credentials=('x509',))
    return device, Wire(fortress, device).login(device.name, **more)


@contextmanager
def reader_of(fortress, *filters, **more):
    console = fortress.add('console')
    with Wire(fortress, console) as reader:
        reader.login('reader', **more)
        reader.send(wire.subscribe(1, *filters)).expect(SUBACK)
        yield reader


def text_of(reason_string):
    return reason_string[2:].decode()


# -- topic aliases ------------------------------------------------------------------------------------------------------

def test_aliases_of_a_paho_client(fortress):
    lamp, console = fortress.add('lamp'), fortress.add('console')
    topic, more = f'lamps/{lamp.name}/a', Properties(PacketTypes.PUBLISH)
    more.TopicAlias = 3
    with Paho(console, client_id='reader') as reader, Paho(lamp) as writer:
        reader.subscribe('lamps/#')
        for name, payload in ((topic, 'one'), ('', 'two'), ('', 'three')):
            writer.client.publish(name, payload, 1, properties=more)
        got = [reader.get() for _ in range(3)]
        assert [(one.topic, one.payload) for one in got] == [(topic, b'one'), (topic, b'two'), (topic, b'three')]
        assert not hasattr(got[0].properties, 'TopicAlias')


def test_an_alias_is_judged_as_its_topic(fortress):
    device, client = login(fortress)
    with client:
        assert client.send(wire.publish('commands/all', 'x', 1, 1, properties=alias(1))).expect(PUBACK).reason == 0x87
        assert client.send(wire.publish('', 'x', 1, 2, properties=alias(1))).expect(PUBACK).reason == 0x87
        fortress.wait_event('acl_deny', principal=device.name, target='commands/all', at_least=2)


@pytest.mark.parametrize('number,topic,reason', [(0, 'lamps/x/a', 0x94), (17, 'lamps/x/a', 0x94), (2, '', 0x82)])
def test_aliases_that_nobody_agreed_on(fortress, number, topic, reason):
    device, client = login(fortress)
    with client:
        client.send(wire.publish(f'lamps/{device.name}/a', 'x', 1, properties=alias(1))).expect(PUBACK)
        last = client.send(wire.publish(topic, 'x', properties=alias(number))).expect_close()
        assert [(one.kind, one.reason) for one in last] == [(DISCONNECT, reason)]


def test_aliases_towards_a_client(fortress):
    device, client = login(fortress)
    topics = [f'lamps/{device.name}/{name}' for name in 'ab']
    with client, reader_of(fortress, (f'lamps/{device.name}/#', 0), properties=b'\x22\0\x01') as reader:
        for topic in (topics[0], topics[1], topics[0]):
            client.send(wire.publish(topic, 'x', 1)).expect(PUBACK)
        seen = []
        for _ in range(3):
            got = reader.expect(PUBLISH)
            size = struct.unpack('>H', got.body[:2])[0]
            seen.append((got.body[2:2 + size].decode(), properties(got, 2 + size).get(0x23)))
        assert seen == [(topics[0], b'\0\1'), (topics[1], None), ('', b'\0\1')]


# -- a will that waits --------------------------------------------------------------------------------------------------

def will_of(sensor, delay_s):
    return f'status/{sensor.name}', 'gone', 1, False, b'\x18' + struct.pack('>I', delay_s)


def test_a_will_waits_and_survives_kill_9(make_fortress, clock):
    fortress = make_fortress(binary=clock.binary)
    sensor, console = fortress.add('sensor'), fortress.add('console')
    with Wire(fortress, console) as reader:
        reader.login('reader', properties=HOUR).send(wire.subscribe(1, 'status/#')).expect(SUBACK)
    with Wire(fortress, sensor) as doomed:
        doomed.login(sensor.name, properties=HOUR, will=will_of(sensor, 600))
    fortress.wait_event('disconnect', principal=sensor.name)
    is_on_record(fortress, console)
    assert not [one for one in fortress.events() if one['category'] == 'will']
    fortress.kill()
    clock.set(1200)
    fortress.start()
    with Wire(fortress, console) as reader:
        reader.send(wire.connect('reader', clean=False, properties=HOUR)).expect(CONNACK)
        assert reader.expect(PUBLISH, 20).body.endswith(b'gone')
    fortress.wait_event('will', principal=sensor.name)


def test_who_comes_back_in_time_is_not_dead(make_fortress, clock):
    """The delay is over long before the mark is sent, also by a clock that ran while nobody was there."""
    fortress = make_fortress(binary=clock.binary)
    sensor, console = fortress.add('sensor'), fortress.add('console')
    with Wire(fortress, sensor) as doomed:
        doomed.login(sensor.name, properties=HOUR, will=will_of(sensor, 600))
    fortress.wait_event('disconnect', principal=sensor.name)
    with Wire(fortress, sensor) as back:
        assert back.send(wire.connect(sensor.name, clean=False, properties=HOUR)).expect(CONNACK).body[0] == 1
    fortress.kill()
    clock.set(1200)
    fortress.start()
    with Wire(fortress, console) as reader:
        reader.login('reader').send(wire.subscribe(1, 'status/#')).expect(SUBACK)
        mosquitto.publish(sensor, f'status/{sensor.name}', 'mark', qos=1)
        assert reader.expect(PUBLISH).body.endswith(b'mark')
    assert not [one for one in fortress.events() if one['category'] == 'will']


@pytest.mark.parametrize('client,delay_s,comes_back', [('raw', 2, False), ('raw', 600, True), ('raw', 0, False), ('paho', 0, False),
                                                       ('mosquitto', 0, False)])
def test_an_orderly_stop_is_no_goodbye(make_fortress, client, delay_s, comes_back):
    """Who is sent away has not said goodbye. SPEC: MQTT5-3.1.2-8, MQTT-3.1.2-10"""
    fortress = make_fortress()
    sensor, console = fortress.add('sensor'), fortress.add('console')
    topic = f'status/{sensor.name}'
    with Wire(fortress, console) as reader:
        reader.login('reader', properties=HOUR).send(wire.subscribe(1, 'status/#')).expect(SUBACK)
    if client == 'raw':
        with Wire(fortress, sensor) as doomed:
            doomed.login(sensor.name, properties=HOUR, will=will_of(sensor, delay_s))
            fortress.stop()
            assert [(one.kind, one.reason) for one in doomed.expect_close()] == [(DISCONNECT, 0x8b)]
    elif client == 'paho':
        doomed = Paho(sensor, will=(topic, 'gone', 1)).__enter__()
        fortress.stop()
        doomed.wait_closed(10)
    else:
        will = ('--will-topic', topic, '--will-payload', 'gone', '--will-qos', '1')
        with mosquitto.Subscriber(sensor, f'commands/{sensor.name}/#', more=will):
            fortress.stop()
    fortress.start()
    if comes_back:
        with Wire(fortress, sensor) as back:
            assert back.send(wire.connect(sensor.name, clean=False, properties=HOUR)).expect(CONNACK).body[0] == 1
            back.send(wire.publish(topic, 'mark', 1)).expect(PUBACK)
    with Wire(fortress, console) as reader:
        reader.send(wire.connect('reader', clean=False, properties=HOUR)).expect(CONNACK)
        assert reader.expect(PUBLISH, 20).body.endswith(b'mark' if comes_back else b'gone')
    if comes_back:
        assert not [one for one in fortress.events() if one['category'] == 'will']
    else:
        fortress.wait_event('will', principal=sensor.name)


def test_a_session_that_ended_while_nobody_was_there_leaves_its_will(make_fortress):
    """Its time was over before the delay was; it fires at the start, once, and the session is gone."""
    clock = Clock()
    try:
        fortress = make_fortress(binary=clock.binary)
        sensor, console = fortress.add('sensor'), fortress.add('console')
        with Wire(fortress, console) as reader:
            reader.login('reader', properties=HOUR).send(wire.subscribe(1, 'status/#')).expect(SUBACK)
        with Wire(fortress, sensor) as doomed:
            doomed.login(sensor.name, properties=b'\x11\0\0\x02\x58', will=will_of(sensor, 3000))
        fortress.wait_event('disconnect', principal=sensor.name)
        for shift in (1200, 1300):
            is_on_record(fortress, console)
            fortress.kill()
            clock.set(shift)
            fortress.start()
            if shift == 1200:
                fired, = fortress.wait_event('will', principal=sensor.name)
        # A kill may take an event that is not in the file yet; nothing is to be there but that one.
        assert [one for one in fortress.events() if one['category'] == 'will'] in ([], [fired])
        with Wire(fortress, console) as reader:
            reader.send(wire.connect('reader', clean=False, properties=HOUR)).expect(CONNACK)
            assert reader.expect(PUBLISH).body.endswith(b'gone')
            reader.send(wire.packet(PINGREQ)).expect(PINGRESP)  # and not twice
        with Wire(fortress, sensor) as back:
            assert back.send(wire.connect(sensor.name, clean=False, properties=HOUR)).expect(CONNACK).body[0] == 0
    finally:
        clock.close()


def test_a_will_with_a_delay_from_paho(fortress):
    sensor, console = fortress.add('sensor'), fortress.add('console')
    more = Properties(PacketTypes.WILLMESSAGE)
    more.WillDelayInterval = 1
    with mosquitto.Subscriber(console, 'status/#', qos=1) as watcher:
        with Paho(sensor, session_expiry=3600, will=(f'status/{sensor.name}', 'lost', 1, False, more)) as doomed:
            doomed.drop()
        assert watcher.get(15)['payload'] == 'lost'


# -- lifetimes ----------------------------------------------------------------------------------------------------------

def test_a_lifetime_goes_on_while_nobody_is_there(make_fortress):
    clock = Clock()
    try:
        fortress = make_fortress(binary=clock.binary)
        lamp, console = fortress.add('lamp'), fortress.add('console')
        topic = f'lamps/{lamp.name}/a'
        with Wire(fortress, console) as reader:
            reader.login('reader', properties=HOUR).send(wire.subscribe(1, 'lamps/#')).expect(SUBACK)
        with Wire(fortress, lamp) as client:
            client.login(lamp.name)
            for payload, lifetime in (('short', 600), ('long', 3000)):
                client.send(wire.publish(topic, payload, 1, properties=b'\x02' + struct.pack('>I', lifetime))).expect(PUBACK)
        fortress.kill()
        clock.set(1000)
        fortress.start()
        with Wire(fortress, console) as reader:
            reader.send(wire.connect('reader', clean=False, properties=HOUR)).expect(CONNACK)
            got = reader.expect(PUBLISH)
            assert got.body.endswith(b'long')
            left = struct.unpack('>I', properties(got, 4 + len(topic))[0x02])[0]
            assert 1900 < left <= 2000
    finally:
        clock.close()


# -- sizes and words ----------------------------------------------------------------------------------------------------

def test_what_connack_says(fortress):
    sensor, lamp = fortress.add('sensor', attributes={'site': 'north'}), fortress.add('lamp')
    with Wire(fortress, sensor) as client:
        got = properties(client.send(wire.connect(sensor.name, properties=b'\x19\x01')).expect(CONNACK), 2)
        assert got[0x22] == b'\0\x10' and got[0x1a][2:].decode() == f'commands/{sensor.name}/'
        assert 0x21 in got and 0x27 in got
        assert 0x1c not in got  # there is no other server to refer to
    with Wire(fortress, lamp) as client:
        assert 0x1a not in properties(client.send(wire.connect(lamp.name)).expect(CONNACK), 2)


def test_a_message_too_large_for_one(fortress):
    device, client = login(fortress)
    wanted = f'lamps/{device.name}/#'
    with client, reader_of(fortress, wanted, properties=b'\x27\0\0\0\x64') as small, reader_of(fortress, wanted) as other:
        for payload in ('x' * 100, 'fits'):
            client.send(wire.publish(f'lamps/{device.name}/a', payload, 1)).expect(PUBACK)
        assert small.expect(PUBLISH).body.endswith(b'fits')
        assert other.expect(PUBLISH).body.endswith(b'xxx')
        fortress.wait_event('quota', reason=re.compile('larger than the client accepts'))
        metrics = fortress.cli('metrics')
        assert 'sallyport_dropped_total{reason="size"} 1' in metrics and 'sallyport_dropped_total{reason="queue"} 0' in metrics


def test_a_client_that_takes_no_connack(fortress):
    device = fortress.add('lamp')
    with Wire(fortress, device) as client:
        last = client.send(wire.connect(device.name, properties=b'\x27\0\0\0\x0a')).expect_close()
        assert [(one.kind, one.reason, len(one.body)) for one in last] == [(CONNACK, 0x95, 3)]


@pytest.mark.parametrize('wants', [b'', b'\x17\x01', b'\x17\x00'], ids=['unsaid', 'yes', 'no'])
def test_a_refusal_says_why(fortress, wants):
    _, client = login(fortress, properties=wants)
    with client:
        refused = client.send(wire.publish('commands/all', 'x', 1)).expect(PUBACK)
        denied = client.send(wire.subscribe(2, '#')).expect(SUBACK)
        last = client.send(wire.packet(wire.AUTH)).expect_close()[-1]
        assert (refused.reason, denied.reason, last.kind, last.reason) == (0x87, 0x87, DISCONNECT, 0x82)
        if wants.endswith(b'\0'):
            assert (len(refused.body), len(denied.body), len(last.body)) == (3, 4, 1)
            return
        for got, at in ((refused, 3), (denied, 2), (last, 1)):
            said = text_of(properties(got, at)[0x1f])
            assert 'commands' not in said and 'role' not in said and len(said) > 10, said


def test_a_refused_connection_is_told_why(fortress):
    device = fortress.add('lamp')
    with Wire(fortress, device) as client:
        got = client.send(wire.connect('somebody-else')).expect(CONNACK)
        assert got.reason == 0x85 and 'client id' in text_of(properties(got, 2)[0x1f])


def test_one_copy_for_overlapping_subscriptions(fortress):
    device, client = login(fortress)
    topic = f'lamps/{device.name}/a'
    with client, Wire(fortress, fortress.add('console')) as reader:
        reader.login('reader')
        for number, wanted in ((5, 'lamps/#'), (6, f'lamps/{device.name}/+'), (7, 'status/#')):
            reader.send(wire.subscribe(number, (wanted, 0), properties=b'\x0b' + bytes([number]))).expect(SUBACK)
        for payload in ('once', 'mark'):
            client.send(wire.publish(topic, payload, 1)).expect(PUBACK)
        first, second = reader.expect(PUBLISH), reader.expect(PUBLISH)
        assert first.body.endswith(b'once') and second.body.endswith(b'mark')
        at = 2 + len(topic)
        assert first.body[at] == 4 and sorted(first.body[at + 1:at + 5:2] + first.body[at + 2:at + 5:2]) == [5, 6, 11, 11]
