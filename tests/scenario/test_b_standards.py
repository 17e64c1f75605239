"""b: what the standards ask of a server, seen from a client made of bytes."""
import struct

import pytest

from harness import wire
from harness.wire import CONNACK, DISCONNECT, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, UNSUBACK, Wire, properties

pytestmark = pytest.mark.release

versions = pytest.mark.parametrize('version', [4, 5], ids=['v311', 'v5'])


def login(fortress, role='lamp', version=5, **more):
    device = fortress.add(role, credentials=('x509',))
    return device, Wire(fortress, device, version).login(device.name, **more)


@versions
def test_input_split_at_every_byte(fortress, version):
    device = fortress.add('lamp')
    with Wire(fortress, device, version) as client:
        for byte in wire.connect(device.name, version=version):
            client.send(bytes([byte]))
        assert client.expect(CONNACK).reason == 0
        for byte in wire.publish(f'lamps/{device.name}/a', 'x', qos=1, version=version) + wire.packet(wire.PINGREQ):
            client.send(bytes([byte]))
        client.expect(PUBACK)
        client.expect(wire.PINGRESP)


@versions
def test_many_packets_in_one_write(fortress, version):
    device, client = login(fortress, version=version)
    with client:
        client.send(*[wire.publish(f'lamps/{device.name}/a', str(i), qos=1, packet_id=i, version=version)
                      for i in range(1, 16)])
        assert [struct.unpack('>H', client.expect(PUBACK).body[:2])[0] for _ in range(1, 16)] == list(range(1, 16))


@pytest.mark.parametrize('name,level,answer', [(b'MQIsdp', 3, (1,)), (b'MQTT', 3, (1,)), (b'MQTT', 6, (0x84, 1)), (b'MQTX', 5, ())],
                         ids=['MQIsdp 3', 'MQTT 3', 'MQTT 6', 'another protocol'])
def test_versions_that_are_not_spoken(fortress, name, level, answer):
    device = fortress.add('lamp')
    with Wire(fortress, device) as client:
        body = wire.field(name) + bytes([level, 2, 0, 60]) + (b'\0' if level > 4 else b'') + wire.field(device.name)
        got = client.send(wire.packet(wire.CONNECT, body)).expect_close()
        if answer:
            assert [one.kind for one in got] == [CONNACK] and got[0].reason in answer
        else:
            assert got == [] or got[0].reason >= 0x80 or got[0].reason == 1


@versions
def test_qos_2_is_delivered_once(fortress, version):
    device, client = login(fortress, version=version)
    reader = Wire(fortress, fortress.add('console'), version)
    with client, reader:
        reader.login('reader')
        reader.send(wire.subscribe(1, (f'lamps/{device.name}/#', 0), version=version)).expect(SUBACK)
        topic, released = f'lamps/{device.name}/a', struct.pack('>H', 5)
        client.send(wire.publish(topic, 'once', qos=2, packet_id=5, version=version)).expect(PUBREC)
        client.send(wire.publish(topic, 'once', qos=2, packet_id=5, version=version, dup=True)).expect(PUBREC)
        client.send(wire.packet(PUBREL, released, 2)).expect(PUBCOMP)
        client.send(wire.packet(PUBREL, released, 2)).expect(PUBCOMP)
        client.send(wire.publish(topic, 'mark', qos=1, version=version)).expect(PUBACK)
        assert b'once' in reader.expect(PUBLISH).body
        assert b'mark' in reader.expect(PUBLISH).body


@versions
@pytest.mark.parametrize('qos', [0, 1, 2])
def test_a_publish_behind_the_own_subscribe(fortress, version, qos):
    """In one write: who does not wait for SUBACK hears what comes behind it all the same."""
    device, client = login(fortress, version=version)
    topic = f'lamps/{device.name}/a'
    with client:
        client.send(wire.subscribe(1, (topic, 0), version=version) + wire.publish(topic, 'mine', qos, 7, version=version))
        client.expect(SUBACK)
        assert client.expect_among(PUBLISH, lambda one: None).body.endswith(b'mine')


def test_outbound_qos_2_and_a_lost_connection(fortress):
    """PUBREC seen before the loss: what comes after it is PUBREL, not the message again."""
    device, client = login(fortress)
    console = fortress.add('console')
    expiry = b'\x11\x00\x00\x0e\x10'
    with client, Wire(fortress, console) as reader:
        reader.login('reader', properties=expiry)
        reader.send(wire.subscribe(1, (f'lamps/{device.name}/#', 2))).expect(SUBACK)
        client.send(wire.publish(f'lamps/{device.name}/a', 'x', qos=1)).expect(PUBACK)
        client.send(wire.publish(f'lamps/{device.name}/a', 'x', qos=2, packet_id=2)).expect(PUBREC)
        client.send(wire.packet(PUBREL, b'\0\2', 2)).expect(PUBCOMP)
        first = reader.expect(PUBLISH)
        second = reader.expect(PUBLISH)
        exactly = next(one for one in (first, second) if one.flags >> 1 & 3 == 2)
        topic_bytes = struct.unpack('>H', exactly.body[:2])[0]
        packet_id = exactly.body[2 + topic_bytes:4 + topic_bytes]
        reader.send(wire.packet(PUBREC, packet_id))
        assert reader.expect(PUBREL).body[:2] == packet_id
    with Wire(fortress, console) as again:
        assert again.send(wire.connect('reader', clean=False, properties=expiry)).expect(CONNACK).body[0] == 1
        kinds = [again.receive() for _ in range(2)]
        assert any(one.kind == PUBREL and one.body[:2] == packet_id for one in kinds), kinds
        assert all(one.kind == PUBREL or one.flags & 8 for one in kinds), 'a repeated PUBLISH says so'


def test_takeover_by_the_same_principal(fortress):
    device, old = login(fortress)
    with old, Wire(fortress, device) as new:
        new.login(device.name)
        assert [(one.kind, one.reason) for one in old.expect_close()] == [(DISCONNECT, 0x8e)]
        fortress.wait_event('takeover', principal=device.name)
        new.send(wire.packet(wire.PINGREQ)).expect(wire.PINGRESP)


def test_an_empty_client_id_is_assigned(fortress):
    device = fortress.add('lamp')
    with Wire(fortress, device) as client:
        answer = client.send(wire.connect('')).expect(CONNACK)
        assert answer.reason == 0
        assert properties(answer, 2)[0x12][2:].decode().startswith(device.name + '-')


@pytest.mark.parametrize('asked,kept', [(0, 1200), (2000, 1200), (30, None), (5, None)])
def test_server_keep_alive(fortress, asked, kept):
    device = fortress.add('lamp')
    with Wire(fortress, device) as client:
        answer = client.send(wire.connect(device.name, keep_alive=asked)).expect(CONNACK)
        got = properties(answer, 2).get(0x13)
        assert (struct.unpack('>H', got)[0] if got else None) == kept


# SPEC: MQTT3-3.1.2-24, MQTT5-3.1.2-22, MQTT5-3.2.2-22
@versions
def test_silence_past_keep_alive_ends_it(fortress, version):
    _, client = login(fortress, version=version, keep_alive=1)
    with client:
        last = client.expect_close(10)
        assert [(one.kind, one.reason) for one in last] == ([(DISCONNECT, 0x8d)] if version == 5 else [])


def test_unsubscribe(fortress):
    device, client = login(fortress)
    with client:
        client.send(wire.subscribe(1, f'lamps/{device.name}/+')).expect(SUBACK)
        body = b'\0\x02\0' + wire.field(f'lamps/{device.name}/+') + wire.field('lamps/never')
        assert client.send(wire.packet(wire.UNSUBSCRIBE, body, 2)).expect(UNSUBACK).body[-2:] == bytes([0, 0x11])
        client.send(wire.publish(f'lamps/{device.name}/a', 'x', qos=1)).expect(PUBACK)
        client.send(wire.packet(wire.PINGREQ)).expect(wire.PINGRESP)


@pytest.mark.parametrize('handling,first,again', [(0, True, True), (1, True, False), (2, False, False)])
def test_retain_handling(fortress, handling, first, again):
    device, client = login(fortress)
    topic = f'lamps/{device.name}/kept'
    with client:
        client.send(wire.publish(topic, 'kept', qos=1, retain=True)).expect(PUBACK)
        for wanted in (first, again):
            client.send(wire.subscribe(2, (topic, handling << 4))).expect(SUBACK)
            client.send(wire.packet(wire.PINGREQ))
            got = client.receive()
            assert (got.kind == PUBLISH) == wanted
            if wanted:
                assert got.flags & 1
                client.expect(wire.PINGRESP)


def test_no_local_and_retain_as_published_and_identifiers(fortress):
    device, client = login(fortress)
    topic = f'lamps/{device.name}/a'
    with client, Wire(fortress, fortress.add('console')) as reader:
        reader.login('reader')
        reader.send(wire.subscribe(1, (f'lamps/{device.name}/+', 0x08), properties=b'\x0b\x83\x02')).expect(SUBACK)
        client.send(wire.subscribe(1, (topic, 0x04 | 1))).expect(SUBACK)
        client.send(wire.publish(topic, 'x', qos=1, retain=True)).expect(PUBACK)
        client.send(wire.packet(wire.PINGREQ)).expect(wire.PINGRESP)
        got = reader.expect(PUBLISH)
        assert got.flags & 1, 'retain as published'
        assert properties(got, 2 + len(topic)) == {0x0b: b'\x83\x02'}


def test_receive_maximum_is_kept(fortress):
    device, client = login(fortress)
    with client, Wire(fortress, fortress.add('console')) as reader:
        reader.login('reader', properties=b'\x21\x00\x02')
        reader.send(wire.subscribe(1, (f'lamps/{device.name}/#', 1))).expect(SUBACK)
        for i in range(1, 6):
            client.send(wire.publish(f'lamps/{device.name}/a', str(i), qos=1, packet_id=i)).expect(PUBACK)
        held = [reader.expect(PUBLISH), reader.expect(PUBLISH)]
        reader.send(wire.packet(wire.PINGREQ)).expect(wire.PINGRESP)
        at = 2 + len(f'lamps/{device.name}/a')
        reader.send(wire.packet(PUBACK, held[0].body[at:at + 2]))
        assert reader.expect(PUBLISH).body.endswith(b'3')


def test_user_properties_and_correlation_pass_unchanged(fortress):
    device, client = login(fortress)
    topic = f'lamps/{device.name}/a'
    sent = (b'\x03' + wire.field('text/plain') + b'\x09' + wire.field(b'\0\xff\x01') + b'\x26' + wire.field('k') + wire.field('1')
            + b'\x26' + wire.field('k') + wire.field('2'))
    with client, Wire(fortress, fortress.add('console')) as reader:
        reader.login('reader')
        reader.send(wire.subscribe(1, (f'lamps/{device.name}/#', 0))).expect(SUBACK)
        client.send(wire.publish(topic, 'x', qos=1, properties=sent)).expect(PUBACK)
        body = reader.expect(PUBLISH).body[2 + len(topic):]
        assert body == bytes([len(sent)]) + sent + b'x'


def test_a_message_that_expired_is_not_delivered(fortress):
    device, client = login(fortress)
    console, expiry = fortress.add('console'), b'\x11\x00\x00\x0e\x10'
    with client:
        with Wire(fortress, console) as reader:
            reader.login('reader', properties=expiry)
            reader.send(wire.subscribe(1, (f'lamps/{device.name}/#', 1))).expect(SUBACK)
            reader.send(wire.packet(DISCONNECT))
            assert reader.expect_close() == []
        client.send(wire.publish(f'lamps/{device.name}/a', 'short', qos=1, properties=b'\x02\0\0\0\x01')).expect(PUBACK)
        client.send(wire.publish(f'lamps/{device.name}/a', 'long', qos=1, properties=b'\x02\0\0\x01\0')).expect(PUBACK)
        with Wire(fortress, console, version=5) as waiter:  # a connection that is closed for silence measures two seconds
            waiter.login('waiter', keep_alive=1)
            waiter.expect_close(10)
        with Wire(fortress, console) as reader:
            reader.send(wire.connect('reader', clean=False, properties=expiry)).expect(CONNACK)
            got = reader.expect(PUBLISH)
            assert got.body.endswith(b'long')
            left = struct.unpack('>I', properties(got, 4 + len(f'lamps/{device.name}/a'))[0x02])[0]
            assert 200 < left < 256
