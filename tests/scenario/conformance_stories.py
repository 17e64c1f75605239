"""Conformance cases that take more than one connection: what a session, a will and an open QoS 2 are worth afterwards."""
import struct

from harness import wire
from harness.talk import LASTS, Message, case
from harness.wire import CONNACK, DISCONNECT, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL

SEVEN = struct.pack('>H', 7)


@case('SPEC: MQTT3-4.3.3-2, MQTT5-4.3.3-10, MQTT3-4.1.0-1, MQTT5-4.1.0-1')
def an_open_qos_2_outlives_its_connection(t):
    reader, first = t.reader(), t.client('s', lasts=True)
    first.send(t.publish_bytes(payload='once', qos=2, packet_id=7)).expect(PUBREC)
    first.close()
    again = t.client('s', lasts=True, present=1)
    assert again.send(t.publish_bytes(payload='once', qos=2, packet_id=7, dup=True)).expect(PUBREC).body[:2] == SEVEN
    assert again.send(wire.packet(PUBREL, SEVEN, 2)).expect(PUBCOMP).body[:2] == SEVEN
    assert sorted(t.payloads(reader, again, qos=2)) == [b'once']


@case('SPEC: MQTT3-3.1.2-6, MQTT5-3.1.2-4, MQTT5-4.3.3-12')
def a_clean_start_forgets_an_open_qos_2(t):
    reader, first = t.reader(), t.client('s', lasts=True)
    t.publish(first, payload='one', qos=2, packet_id=6)
    first.send(t.publish_bytes(payload='given up', qos=2, packet_id=7)).expect(PUBREC)
    first.close()
    again = t.client('s', clean=True, present=0)
    t.publish(again, payload='two', qos=2, packet_id=7)
    got = t.payloads(reader, again, qos=2)
    assert got[0] == b'one' and got[-1] == b'two' and set(got[1:-1]) <= {b'given up'}


@case('SPEC: MQTT3-3.1.2-8, MQTT5-3.1.2-8')
def a_takeover_publishes_the_will(t):
    reader = t.reader()
    t.client('w', will=(t.topic('w'), 'taken over', 1, False))
    t.client('w')
    assert t.get(reader).payload == b'taken over'


@case('SPEC: MQTT5-3.1.2-8, MQTT5-3.1.2-10', versions=(5,))
def a_goodbye_with_the_will(t):
    reader, sender = t.reader(), t.client('s')
    t.client('w', will=(t.topic('w'), 'on purpose', 1, False)).send(wire.packet(DISCONNECT, b'\x04')).expect_close()
    assert t.get(reader).payload == b'on purpose'
    assert t.payloads(reader, sender) == [], 'once'


@case('SPEC: MQTT3-3.1.2-10, MQTT5-3.1.2-10')
def a_will_is_of_one_connection(t):
    reader, sender = t.reader(), t.client('s')
    t.client('w', lasts=True, will=(t.topic('w'), 'first', 1, False)).close()
    assert t.get(reader).payload == b'first'
    t.client('w', lasts=True, present=1).close()
    assert t.payloads(reader, sender) == []


@case('SPEC: MQTT5-3.1.2-8, MQTT5-3.1.3-9', versions=(5,))
def wills_and_takeovers_in_every_order(t):
    """A will without a delay, or of a session that the newcomer ends, comes before anything of the newcomer; the others never."""
    sender = t.client('s')
    for delay_s in (0, 30):
        for clean in (False, True):
            for retain in (False, True):
                topic = t.topic(f'w{delay_s}{clean:d}{retain:d}')
                reader = t.reader((topic, 2), tail='r')
                old = t.client('w', will=(topic, 'dead', 1, retain, b'\x18' + struct.pack('>I', delay_s)), properties=b'\x11\0\0\0\x3c')
                new = t.client('w', clean=clean, properties=b'\x11\0\0\0\x3c', present=not clean)
                old.expect_close()
                t.publish(new, topic, 'alive', qos=1)
                t.publish(sender, topic, 'the end', qos=1)
                dead = delay_s == 0 or clean
                assert t.payloads_until(reader) == [b'dead'] * dead + [b'alive'], topic
                late = t.reader((topic, 2), tail='late')
                if dead and retain:
                    assert t.get(late).payload == b'dead'
                t.quiet(late)


@case('SPEC: MQTT5-3.3.2-7', versions=(5,))
def aliases_end_with_their_connection(t):
    """Also when the session goes on, by a reconnect or by a takeover; and those towards a client do."""
    alias, both = b'\x23\0\1', b'\x22\0\4'
    sender, reader = t.client('s', lasts=True), t.reader(lasts=True, properties=both)
    sender.send(t.publish_bytes(payload='1', qos=1, properties=alias)).expect(PUBACK)
    sender.send(wire.publish('', '2', 1, 2, properties=alias)).expect(PUBACK)
    assert [Message(reader.expect(PUBLISH)).payload for _ in range(2)] == [b'1', b'2']
    taken = t.client('s', lasts=True, present=1)
    t.fails(wire.publish('', 'never', 1, 3, properties=alias), (0x82, 0x94), taken)
    t.fails(wire.publish('', 'never', 1, 3, properties=alias), (0x82, 0x94), t.client('s', lasts=True, present=1))
    for more in (both, b''):
        reader = t.client('r', lasts=True, present=1, properties=more)
        got = [Message(reader.expect(PUBLISH)) for _ in range(2)]
        assert [(m.payload, m.dup) for m in got] == [(b'1', 1), (b'2', 1)] and got[0].topic == t.topic().encode()
        assert got[1].topic in ((b'', got[0].topic) if more else (got[0].topic,))


@case('SPEC: MQTT5-4.8.2-4, MQTT5-4.8.2-5, MQTT5-4.8.2-6', versions=(5,))
def what_a_member_has_begun(t):
    """QoS 2 that has left is completed by who had it, or by nobody; what one refuses is no other's."""
    sender, lasting, leaving, share = t.client('s'), t.client('a', lasts=True), t.client('b'), f'$share/g{t.number}/' + t.topic('#')
    for one in (lasting, leaving):
        assert t.subscribe(one, share) == [2]
    for i in range(6):
        t.publish(sender, payload=str(i), qos=2, packet_id=i + 1)
    kept, left = ([Message(one.expect(PUBLISH)) for _ in range(3)] for one in (lasting, leaving))
    assert sorted(m.payload for m in kept + left) == [b'%d' % i for i in range(6)]
    leaving.send(wire.packet(PUBREC, left[0].id)).expect(PUBREL)
    leaving.send(wire.packet(DISCONNECT)).expect_close()
    lasting.send(wire.packet(PUBREC, kept[0].id + b'\x83'))
    t.quiet(lasting)
    lasting.close()
    again = t.client('a', lasts=True, present=1)
    assert [t.get(again).payload for _ in range(2)] == [m.payload for m in kept[1:]]
    t.quiet(again)


@case('SPEC: MQTT5-3.10.4-1', versions=(5,))
def a_shared_filter_and_the_same_without(t):
    """Two subscriptions: ending one leaves the other, and each brings its copy."""
    sender, one, plain, share = t.client('s'), t.client('r'), t.topic('#'), f'$share/g{t.number}/' + t.topic('#')
    t.subscribe(one, plain, share)
    t.publish(sender, payload='two', qos=1)
    assert [t.get(one).payload for _ in range(2)] == [b'two', b'two']
    for ended, began in ((plain, plain), (share, share)):
        t.unsubscribe(one, ended)
        t.publish(sender, payload='one', qos=1)
        assert t.get(one).payload == b'one'
        t.quiet(one)
        t.subscribe(one, began)
    assert t.unsubscribe(one, share, plain).body[3:] == b'\0\0'
    t.publish(sender, payload='none', qos=1)
    t.quiet(one)


@case('SPEC: MQTT5-3.1.2-23, MQTT5-4.1.0-2', versions=(5,))
def a_goodbye_changes_how_long_the_session_lasts(t):
    t.reader(lasts=True).send(wire.packet(DISCONNECT, b'\0\5\x11\0\0\0\0')).expect_close()
    t.client('r', clean=False, present=0)
    one = t.client('z', clean=False)
    t.fails(wire.packet(DISCONNECT, b'\0\5' + LASTS), (0x82,), one=one)


@case('SPEC: MQTT5-3.3.4-3, MQTT5-3.1.2-5', versions=(5,))
def subscription_identifiers_belong_to_the_session(t):
    sender, reader = t.client('s'), t.client('r', lasts=True)
    t.subscribe(reader, (t.topic('#'), 1), properties=b'\x0b\x2a')
    reader.send(wire.packet(DISCONNECT)).expect_close()
    t.publish(sender, payload='asleep', qos=1)
    again = t.client('r', lasts=True, present=1)
    t.publish(sender, payload='awake', qos=1)
    assert [(m.payload, m.props) for m in (t.get(again), t.get(again))] == [(b'asleep', b'\x0b\x2a'), (b'awake', b'\x0b\x2a')]


@case('SPEC: MQTT5-3.3.4-4, MQTT5-3.8.4-3', versions=(5,))
def the_newest_identifier_counts(t):
    sender, reader = t.client('s'), t.client('r')
    for number in (b'\x0b\1', b'\x0b\2', b''):
        t.subscribe(reader, (t.topic(), 1), properties=number)
        t.publish(sender, qos=1)
        assert t.get(reader).props == number


@case('SPEC: MQTT5-2.2.1-5, MQTT5-3.7.2-1', versions=(5,))
def a_pubrel_of_nothing(t):
    answer = t.client().send(wire.packet(PUBREL, SEVEN, 2)).expect(PUBCOMP)
    assert answer.body[:2] == SEVEN and answer.reason in (0, 0x92)


@case('SPEC: MQTT5-3.6.2-1, MQTT5-2.2.1-5', versions=(5,))
def a_pubrec_of_nothing(t):
    one = t.client()
    got = one.send(wire.packet(PUBREC, SEVEN)).receive()
    assert got is None or got.kind == DISCONNECT or (got.kind == PUBREL and got.body[:2] == SEVEN and got.reason in (0, 0x92))


@case('SPEC: MQTT3-3.3.1-6, MQTT5-3.3.1-9')
def every_retained_message_that_matches(t):
    sender = t.client('s')
    for i in range(20):
        t.publish(sender, f'kept/{i}', str(i), qos=1, retain=True)
    t.publish(sender, 'other', 'not asked for', qos=1, retain=True)
    one = t.reader(t.topic('kept/+'))
    assert sorted(int(t.get(one).payload) for _ in range(20)) == list(range(20))
    t.quiet(one)


@case('SPEC: MQTT5-3.3.2-5, MQTT5-3.3.2-6', versions=(5,))
def retained_messages_expire(t):
    sender = t.client('s')
    t.publish(sender, 'short', 'short', qos=1, retain=True, properties=b'\x02\0\0\0\1')
    t.publish(sender, 'long', 'long', qos=1, retain=True, properties=b'\x02\0\0\1\0')
    t.client('w', keep_alive=1).expect_close(10)  # closed for silence: more than the second has passed
    one = t.reader((t.topic('short'), 1), (t.topic('long'), 1))
    m = t.get(one)
    assert m.payload == b'long' and 200 < struct.unpack('>I', m.props[1:5])[0] < 256
    t.quiet(one)


@case('SPEC: MQTT3-4.4.0-1, MQTT5-4.4.0-1, MQTT3-4.6.0-6, MQTT5-4.6.0-5')
def what_waited_comes_before_what_is_new(t):
    sender, reader = t.client('s'), t.reader((t.topic('#'), 1), lasts=True)
    for i in range(10):
        t.publish(sender, payload=str(i), qos=1, packet_id=i + 1)
    held = [Message(reader.expect(PUBLISH)) for _ in range(10)]
    reader.send(*[wire.packet(PUBACK, m.id) for m in held[:5]])
    t.quiet(reader)
    reader.close()
    for i in range(10, 15):
        t.publish(sender, payload=str(i), qos=1, packet_id=i + 1)
    again = t.client('r', lasts=True, present=1)
    assert t.payloads(again, sender) == [b'%d' % i for i in range(5, 15)]


@case('SPEC: MQTT3-3.8.4-3, MQTT5-3.8.4-4')
def a_repeated_subscription_loses_nothing(t):
    sender, reader = t.client('s'), t.reader((t.topic('#'), 1))
    for i in range(1, 21):
        sender.send(t.publish_bytes(payload=str(i), qos=1, packet_id=i))
        reader.send(t.filters(i, (t.topic('#'), 1)))
    for _ in range(20):
        sender.expect(PUBACK)
    t.publish(sender, payload='the end', qos=1)
    got = []
    while b'the end' not in got:
        one = reader.receive()
        if one.kind == PUBLISH:
            m = Message(one)
            reader.send(wire.packet(PUBACK, m.id))
            got.append(m.payload)
    assert got[:-1] == [b'%d' % i for i in range(1, 21)]


@case('SPEC: MQTT5-3.2.2-3, MQTT3-3.2.2-2, MQTT3-3.2.2-3')
def a_session_is_there_or_not(t):
    t.client('r', lasts=True, present=0).send(wire.packet(DISCONNECT)).expect_close()
    t.client('r', lasts=True, present=1)  # and one that is connected is taken over
    t.client('r', lasts=True, present=1).send(wire.packet(DISCONNECT)).expect_close()
    t.client('r', clean=True, present=0).send(wire.packet(DISCONNECT)).expect_close()
    answer = t.wire().send(t.hello('r', clean=False)).expect(CONNACK)
    assert answer.reason == 0 and answer.body[0] == 0
