"""Conformance cases: CONNECT, CONNACK, sessions, wills, and the fixed header."""
import struct

from harness import wire
from harness.talk import LASTS, Message, case
from harness.wire import CONNACK, CONNECT, DISCONNECT, PINGREQ, PINGRESP, PUBACK, PUBLISH, PUBREL, SUBSCRIBE, UNSUBSCRIBE


def raw(t, flags, *fields, name=b'MQTT', level=None, props=b'\0'):
    """A CONNECT of the test's own making; fields are bytes that follow the variable header as they are."""
    body = wire.field(name) + bytes([level or t.version, flags, 0, 60]) + (props if t.v5 else b'')
    return wire.packet(CONNECT, body + b''.join(fields))


def identifier(t):
    return wire.field(t.name())


# -- the first packet ---------------------------------------------------------------------------------------------------

@case('SPEC: MQTT-3.1.0-1, MQTT5-3.14.0-1')
def a_packet_before_connect(t):
    for data in (wire.packet(PINGREQ), t.publish_bytes(), t.filters(1, t.topic())):
        assert t.wire().send(data).expect_close() == []


@case('SPEC: MQTT-3.1.0-2, MQTT5-3.2.0-2, MQTT3-4.8.0-1')
def a_second_connect(t):
    t.fails(t.hello(), (0x82,), one=t.client())


@case('SPEC: MQTT3-3.1.2-1, MQTT5-3.1.2-1')
def another_protocol(t):
    got = t.wire().send(raw(t, 2, identifier(t), name=b'MQTX')).expect_close()
    assert all(one.kind == CONNACK and one.reason in (1, 0x81, 0x84) for one in got), got


@case('SPEC: MQTT3-3.1.2-2, MQTT3-3.2.2-5, MQTT5-3.1.2-2, MQTT5-3.2.2-7')
def a_level_from_the_future(t):
    got = t.wire().send(raw(t, 2, identifier(t), level=t.version + 2)).expect_close()
    assert [one.kind for one in got] == [CONNACK] and got[0].reason in (1, 0x84) and got[0].body[0] == 0


@case('SPEC: MQTT-3.1.2-3, MQTT-3.1.4-1, MQTT3-3.2.2-6')
def the_reserved_connect_flag(t):
    t.refused(raw(t, 3, identifier(t)))


@case('SPEC: MQTT3-3.1.2-11, MQTT3-3.1.2-13, MQTT3-3.1.2-15, MQTT5-3.1.2-11, MQTT5-3.1.2-13')
def will_flags_without_a_will(t):
    for flags in (0x0a, 0x12, 0x22):
        t.refused(raw(t, flags, identifier(t)))


@case('SPEC: MQTT3-3.1.2-14, MQTT5-3.1.2-12')
def a_will_of_qos_3(t):
    t.refused(raw(t, 0x1e, identifier(t), b'\0' if t.v5 else b'', wire.field(t.topic()), wire.field('w')))


@case('SPEC: MQTT-3.1.2-9')
def a_will_that_is_not_there(t):
    t.refused(raw(t, 0x06, identifier(t)))
    t.refused(raw(t, 0x06, identifier(t), b'\0' if t.v5 else b'', wire.field(t.topic())))


@case('SPEC: MQTT3-3.1.2-18, MQTT3-3.1.2-20, MQTT5-3.1.2-16, MQTT5-3.1.2-18')
def credentials_without_their_flag(t):
    t.refused(raw(t, 0x02, identifier(t), wire.field('user')))
    t.refused(raw(t, 0x82, identifier(t), wire.field('user'), wire.field('password')))


@case('SPEC: MQTT3-3.1.2-19, MQTT3-3.1.2-21, MQTT5-3.1.2-17, MQTT5-3.1.2-19')
def credentials_that_are_not_there(t):
    t.refused(raw(t, 0x82, identifier(t)))
    t.refused(raw(t, 0xc2, identifier(t), wire.field('user')))


@case('SPEC: MQTT3-3.1.2-22', versions=(4,))
def a_password_without_a_user(t):
    t.refused(raw(t, 0x42, identifier(t), wire.field('password')))


@case('SPEC: MQTT-3.1.3-3')
def no_client_id_at_all(t):
    t.refused(raw(t, 2))


@case('SPEC: MQTT-3.1.3-4, MQTT3-1.5.3-1, MQTT3-1.5.3-2, MQTT5-1.5.4-1, MQTT5-1.5.4-2')
def a_client_id_that_is_no_text(t):
    for text in (b'a\xc0\x80', b'a\xed\xa0\x80', b'a\0b', b'\xff', b'\xc3'):
        t.refused(raw(t, 2, wire.field(text)))


@case('SPEC: MQTT3-3.1.3-10, MQTT5-3.1.3-11')
def a_will_topic_that_is_no_text(t):
    t.refused(raw(t, 6, identifier(t), b'\0' if t.v5 else b'', wire.field(b'c/\xed\xa0\x80'), wire.field('w')))


@case('SPEC: MQTT3-3.1.3-11, MQTT5-3.1.3-12')
def a_user_name_that_is_no_text(t):
    t.refused(raw(t, 0x82, identifier(t), wire.field(b'\xed\xa0\x80')))


# -- the client id ------------------------------------------------------------------------------------------------------

@case('SPEC: MQTT-3.1.3-5')
def every_client_id_that_must_be_allowed(t):
    letters = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'
    for name in (letters[:23], letters[20:43], letters[39:], 'Q'):
        assert t.wire().send(wire.connect(name, version=t.version)).expect(CONNACK).reason == 0


@case('SPEC: MQTT-3.1.3-6, MQTT5-3.1.3-7, MQTT5-3.2.2-16')
def an_empty_client_id(t):
    given = []
    for one in [t.wire(), t.wire()]:
        answer = one.send(wire.connect('', version=t.version)).expect(CONNACK)
        assert answer.reason == 0 and answer.body[0] == 0
        given.append((one, answer.body))
    if t.v5:
        assert all(b'\x12\0' in body for _, body in given) and given[0][1] != given[1][1]
    for one, _ in given:  # two names, or the second would have ended the first
        t.quiet(one)


@case('SPEC: MQTT3-3.1.3-8, MQTT3-3.1.3-9', versions=(4,))
def an_empty_client_id_that_shall_last(t):
    got = t.wire().send(wire.connect('', version=4, clean=False)).expect_close()
    assert [(one.kind, one.reason, one.body[0]) for one in got] == [(CONNACK, 2, 0)]


@case('SPEC: MQTT-3.1.3-2, MQTT3-3.1.4-2, MQTT5-3.1.4-3, MQTT5-3.14.2-2, MQTT5-3.14.4-2, MQTT5-4.13.2-1')
def a_client_id_that_is_connected(t):
    old, other = t.client('a'), t.client('b')
    t.client('a')
    got = old.expect_close()
    said = [(one.kind, one.reason) for one in got]
    assert said == ([(DISCONNECT, 0x8e)] if t.v5 else []), got
    assert not got or got[0].body[1:] in (b'', b'\0') or 0x11 not in got[0].body[2:3]
    t.quiet(other)


# -- CONNACK ------------------------------------------------------------------------------------------------------------

@case('SPEC: MQTT3-3.1.4-4, MQTT-3.2.0-1, MQTT5-3.1.4-5, MQTT5-3.2.2-1, MQTT5-3.2.0-2')
def connack_comes_first_and_once(t):
    one = t.wire().send(t.hello(), t.filters(1, t.topic()), t.publish_bytes(qos=1), wire.packet(PINGREQ))
    first = one.expect(CONNACK)
    assert first.body[:2] == b'\0\0'
    kinds = {one.receive().kind for _ in range(3)} - {PUBLISH}
    assert kinds <= {wire.SUBACK, PUBACK, PINGRESP}, kinds


@case('SPEC: MQTT3-3.1.4-5, MQTT5-3.1.4-6')
def what_follows_a_refused_connect(t):
    reader, sender = t.reader(), t.client('s')
    t.refused(raw(t, 3, identifier(t)) + t.publish_bytes(payload='never'))
    assert t.payloads(reader, sender) == []


@case('SPEC: MQTT5-3.1.2-28, MQTT5-4.12.0-6', versions=(5,))
def connack_without_what_was_not_asked_for(t):
    for asked in (b'', b'\x19\0'):
        body = t.wire().send(t.hello(properties=asked)).expect(CONNACK).body
        at, sizes = 3, {0x11: 4, 0x13: 2, 0x21: 2, 0x22: 2, 0x24: 1, 0x25: 1, 0x27: 4, 0x28: 1, 0x29: 1, 0x2a: 1}
        seen = set()
        while at < len(body):
            seen.add(body[at])
            at += 1 + (sizes.get(body[at]) or 2 + struct.unpack('>H', body[at + 1:at + 3])[0])
        assert not seen & {0x1a, 0x15, 0x16}, seen


@case('SPEC: MQTT5-4.12.0-1', versions=(5,))
def an_authentication_method_nobody_knows(t):
    got = t.wire().send(t.hello(properties=b'\x15' + wire.field('NO-SUCH-METHOD'))).expect_close()
    assert all(one.kind == CONNACK and one.reason in (0x8c, 0x87) for one in got), got


# -- sessions -----------------------------------------------------------------------------------------------------------

@case('SPEC: MQTT3-3.1.2-6, MQTT3-3.1.4-3, MQTT3-3.2.2-1, MQTT5-3.1.2-4, MQTT5-3.1.4-4, MQTT5-3.2.2-2')
def a_clean_start(t):
    sender = t.client('s')
    t.reader(lasts=True).send(wire.packet(DISCONNECT)).expect_close()
    t.publish(sender, qos=1, payload='for the session that ends')
    one = t.client('r', present=0, clean=True)
    t.publish(sender, qos=1, payload='matches nothing any more')
    t.subscribe(one, t.topic('end'))
    assert t.payloads(one, sender) == []


@case('SPEC: MQTT3-3.1.2-4, MQTT3-3.1.2-5, MQTT3-3.2.2-2, MQTT3-3.2.2-3, MQTT3-4.1.0-1, MQTT-4.5.0-1')
def a_session_that_lasts(t):
    # SPEC: MQTT5-3.1.2-5, MQTT5-3.1.2-6, MQTT5-3.1.2-23, MQTT5-3.2.2-3
    sender = t.client('s')
    t.reader(lasts=True, present=0).send(wire.packet(DISCONNECT)).expect_close()
    t.publish(sender, qos=1, payload='one')
    t.publish(sender, qos=2, payload='two', packet_id=2)
    again = t.client('r', lasts=True, present=1)
    assert {t.get(again).payload, t.get(again).payload} == {b'one', b'two'}
    assert t.payloads(again, sender) == [], 'the subscription is still there'


@case('SPEC: MQTT3-4.1.0-2, MQTT5-4.1.0-1, MQTT5-4.1.0-2')
def a_session_that_ends_with_its_connection(t):
    sender, reader = t.client('s'), t.reader()
    assert t.payloads(reader, sender) == []
    reader.send(wire.packet(DISCONNECT)).expect_close()
    t.client('r', clean=not t.v5, present=0)


@case('SPEC: MQTT3-3.1.2-7')
def retained_messages_outlive_the_session(t):
    sender = t.client('s')
    t.publish(sender, payload='kept', qos=1, retain=True)
    sender.send(wire.packet(DISCONNECT)).expect_close()
    assert t.get(t.reader()).payload == b'kept'


# -- wills --------------------------------------------------------------------------------------------------------------

def cut(t, one):
    """Ends a connection as a network does."""
    one.close()


@case('SPEC: MQTT3-3.1.2-8, MQTT3-3.1.2-16, MQTT5-3.1.2-7, MQTT5-3.1.2-8, MQTT5-3.1.2-14')
def a_will_is_published(t):
    reader = t.reader()
    for qos in (0, 1, 2):
        cut(t, t.client('w', will=(t.topic('w'), f'gone {qos}', qos, False)))
        m = t.get(reader)
        assert (m.payload, m.qos, m.retain) == (b'gone %d' % qos, qos, 0)
    late = t.reader(tail='late')
    t.quiet(late)


@case('SPEC: MQTT3-3.1.2-17, MQTT5-3.1.2-15')
def a_will_is_retained(t):
    reader = t.reader()
    cut(t, t.client('w', will=(t.topic('w'), 'gone', 1, True)))
    assert t.get(reader).payload == b'gone'
    m = t.get(t.reader(tail='late'))
    assert (m.payload, m.retain) == (b'gone', 1)


@case('SPEC: MQTT-3.1.2-10, MQTT-3.14.4-3')
def a_goodbye_takes_the_will_back(t):
    reader, sender = t.reader(), t.client('s')
    one = t.client('w', will=(t.topic('w'), 'never', 1, False))
    assert one.send(wire.packet(DISCONNECT)).expect_close() == []
    assert t.payloads(reader, sender) == []


@case('SPEC: MQTT3-3.1.2-12')
def no_will_is_no_will(t):
    reader, sender = t.reader(), t.client('s')
    cut(t, t.client('w', will=(t.topic('w'), 'first', 1, False)))
    assert t.get(reader).payload == b'first'
    cut(t, t.client('w'))
    assert t.payloads(reader, sender) == []


@case('SPEC: MQTT5-3.1.3-10', versions=(5,))
def user_properties_of_a_will_in_their_order(t):
    props = b''.join(b'\x26' + wire.field('k') + wire.field(value) for value in 'zab')
    reader = t.reader()
    body = b''.join((wire.field('MQTT'), bytes([5, 0x06, 0, 60, 0]), wire.field(t.name('w')), wire.varint(len(props)), props,
                     wire.field(t.topic('w')), wire.field('gone')))
    one = t.wire()
    assert one.send(wire.packet(CONNECT, body)).expect(CONNACK).reason == 0
    cut(t, one)
    assert t.get(reader).props == props


# -- the fixed header ---------------------------------------------------------------------------------------------------

@case('SPEC: MQTT3-2.2.2-1, MQTT3-2.2.2-2, MQTT5-2.1.3-1')
def reserved_flags(t):
    some = b'\0\1' + (b'\0' if t.v5 else b'') + wire.field(t.topic())
    for kind, flags, body in ((PINGREQ, 1, b''), (PUBACK, 2, b'\0\1'), (wire.PUBREC, 1, b'\0\1'), (wire.PUBCOMP, 8, b'\0\1'),
                              (SUBSCRIBE, 0, some + b'\0'), (UNSUBSCRIBE, 0, some)):
        t.fails(wire.packet(kind, body, flags), (0x81,))
    assert t.wire().send(bytes([0x11]) + t.hello()[1:]).expect_close() == []


@case('SPEC: MQTT-3.6.1-1')
def flags_of_pubrel(t):
    for flags in (0, 1, 3, 6, 10):
        t.fails(wire.packet(PUBREL, b'\0\1', flags), (0x81,))


@case('SPEC: MQTT-3.8.1-1')
def flags_of_subscribe(t):
    for flags in (0, 1, 3, 6, 10):
        t.fails(bytes([SUBSCRIBE << 4 | flags]) + t.filters(1, t.topic())[1:], (0x81,))


@case('SPEC: MQTT-3.10.1-1')
def flags_of_unsubscribe(t):
    body = b'\0\1' + (b'\0' if t.v5 else b'') + wire.field(t.topic())
    for flags in (0, 1, 3, 6, 10):
        t.fails(wire.packet(UNSUBSCRIBE, body, flags), (0x81,))


@case('SPEC: MQTT-3.14.1-1')
def flags_of_disconnect(t):
    reader, will = t.reader(), (t.topic('w'), 'a goodbye that is none', 1, False)
    t.fails(wire.packet(DISCONNECT, b'', 1), (0x81,), one=t.client('w', will=will))
    assert t.get(reader).payload == b'a goodbye that is none'


@case('SPEC: MQTT5-3.15.1-1, MQTT5-4.12.0-7', versions=(5,))
def flags_of_auth(t):
    for flags in (1, 2, 8):
        t.fails(wire.packet(wire.AUTH, b'', flags), (0x81, 0x82))
    t.fails(wire.packet(wire.AUTH, b''), (0x81, 0x82, 0x8c))


@case('SPEC: MQTT5-1.5.5-1', versions=(5,))
def a_length_in_more_bytes_than_it_needs(t):
    t.fails(t.publish_bytes()[:1] + bytes([0x80 | len(t.publish_bytes()) - 2, 0]) + t.publish_bytes()[2:], (0x81,))
    topic = wire.field(t.topic())
    t.fails(wire.packet(PUBLISH, topic + b'\x80\0' + b'x'), (0x81,))


@case('SPEC: MQTT-3.12.4-1')
def a_ping_is_answered(t):
    one = t.client()
    for _ in range(3):
        t.quiet(one)


@case('SPEC: MQTT5-3.1.2-24, MQTT5-3.1.2-25', versions=(5,))
def the_clients_maximum_packet_size(t):
    sender = t.client('s')
    reader = t.reader(lasts=True, properties=b'\x27\0\0\0\x40')
    t.publish(sender, payload='s' * 30, qos=1)
    t.publish(sender, payload='l' * 64, qos=1)
    assert t.payloads(reader, sender) == [b's' * 30]
    reader.send(wire.packet(DISCONNECT)).expect_close()
    again = t.client('r', clean=False, properties=LASTS, present=1)
    t.quiet(again)  # the large one is done with, not kept


@case('SPEC: MQTT5-3.3.4-9, MQTT5-3.3.4-10, MQTT5-4.9.0-1, MQTT5-4.9.0-2, MQTT5-4.9.0-3', versions=(5,))
def the_clients_receive_maximum(t):
    sender, reader = t.client('s'), t.reader((t.topic('#'), 1), properties=b'\x21\0\2')
    for i in range(1, 6):
        t.publish(sender, payload=str(i), qos=1, packet_id=i)
    first, second = Message(reader.expect(PUBLISH)), Message(reader.expect(PUBLISH))
    t.quiet(reader)
    assert t.subscribe(reader, t.topic('other'), packet_id=7) == [2]
    t.unsubscribe(reader, t.topic('other'))
    reader.send(wire.packet(PUBACK, first.id))
    third = Message(reader.expect(PUBLISH))
    t.quiet(reader)
    reader.send(wire.packet(PUBACK, second.id), wire.packet(PUBACK, third.id))
    assert [t.get(reader).payload for _ in range(2)] == [b'4', b'5']
