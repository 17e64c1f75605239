"""Conformance cases: PUBLISH both ways, QoS 1 and 2, retained messages, properties, order."""
import struct

from harness import wire
from harness.talk import LASTS, Message, case
from harness.wire import DISCONNECT, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL

ONE = struct.pack('>H', 1)
SECOND = b'\x02\0\0\0\1'  # a message expiry interval


def more_than_a_second(t):
    """A connection that is closed for silence measures it."""
    t.client('w', keep_alive=1).expect_close(10)


# -- what a PUBLISH may not be ------------------------------------------------------------------------------------------

@case('SPEC: MQTT-3.3.1-4')
def qos_3(t):
    t.fails(bytes([0x36]) + t.publish_bytes(qos=2)[1:], (0x81,))


@case('SPEC: MQTT-3.3.1-2')
def dup_on_qos_0(t):
    sender, reader = t.client('s'), t.reader()
    sender.send(t.publish_bytes(payload='x', dup=True), wire.packet(wire.PINGREQ))
    got = sender.receive()
    assert got is None or got.kind in (wire.PINGRESP, DISCONNECT)
    t.publish(t.client('s2'), payload='the end')
    while (m := t.get(reader)).payload != b'the end':
        assert m.dup == 0


@case('SPEC: MQTT3-2.3.1-1', versions=(4,))
def packet_id_0(t):
    t.fails(t.publish_bytes(qos=1, packet_id=0))
    t.fails(t.filters(0, t.topic()))
    t.fails(wire.packet(wire.UNSUBSCRIBE, b'\0\0' + wire.field(t.topic()), 2))


@case('SPEC: MQTT-3.3.2-2, MQTT3-4.7.1-1, MQTT5-4.7.0-1')
def wildcards_in_a_topic_name(t):
    for topic in ('c/#', 'c/+', 'c/+/a', 'c/a+', '#'):
        t.fails(t.publish_bytes(topic.encode()), (0x81, 0x82, 0x90))


@case('SPEC: MQTT-4.7.3-1')
def an_empty_topic(t):
    t.fails(t.publish_bytes(b''), (0x81, 0x82, 0x90, 0x94))
    t.fails(t.filters(1, ''), (0x81, 0x82, 0x8f))


@case('SPEC: MQTT-3.3.2-1, MQTT-4.7.3-2, MQTT3-1.5.3-1, MQTT3-1.5.3-2, MQTT5-1.5.4-1, MQTT5-1.5.4-2')
def a_topic_that_is_no_text(t):
    for topic in (b'c/\0', b'c/\xed\xa0\x80', b'c/\xc0\xaf', b'c/\xff'):
        t.fails(t.publish_bytes(topic), (0x81, 0x90))
    t.fails(wire.packet(PUBLISH, b''), (0x81,))


@case('SPEC: MQTT5-3.3.2-13, MQTT5-3.3.2-14', versions=(5,))
def a_response_topic_that_is_none(t):
    for text in (b'c/#', b'c/+', b'c/\xed\xa0\x80'):
        t.fails(t.publish_bytes(properties=b'\x08' + wire.field(text)), (0x81, 0x82, 0x90))


@case('SPEC: MQTT5-3.3.2-19', versions=(5,))
def a_content_type_that_is_no_text(t):
    t.fails(t.publish_bytes(properties=b'\x03' + wire.field(b'\xed\xa0\x80')), (0x81,))


@case('SPEC: MQTT5-1.5.7-1', versions=(5,))
def a_user_property_that_is_no_text(t):
    for pair in (wire.field(b'\xc0\x80') + wire.field('v'), wire.field('k') + wire.field(b'a\0')):
        t.fails(t.publish_bytes(properties=b'\x26' + pair), (0x81,))


@case('SPEC: MQTT5-3.3.4-6', versions=(5,))
def a_subscription_identifier_from_a_client(t):
    t.fails(t.publish_bytes(properties=b'\x0b\1'), (0x81, 0x82))


@case('SPEC: MQTT5-3.3.2-8', versions=(5,))
def topic_alias_0(t):
    t.fails(t.publish_bytes(properties=b'\x23\0\0'), (0x81, 0x82, 0x94))


@case('SPEC: MQTT5-3.3.2-9', versions=(5,))
def a_topic_alias_over_the_maximum(t):
    t.fails(t.publish_bytes(properties=b'\x23\xff\xff'), (0x94,))


@case('SPEC: MQTT5-3.1.2-27', versions=(5,))
def no_alias_without_a_maximum(t):
    sender, reader = t.client('s'), t.reader()
    for _ in range(3):
        t.publish(sender, qos=1)
        m = t.get(reader)
        assert m.props == b'' and m.topic == t.topic().encode()


# -- QoS ----------------------------------------------------------------------------------------------------------------

@case('SPEC: MQTT3-2.3.1-5, MQTT5-2.2.1-2, MQTT-4.3.1-1')
def qos_0_has_no_packet_id(t):
    sender, reader = t.client('s'), t.reader()
    t.publish(sender, payload='exactly')
    packet = reader.expect(PUBLISH)
    assert packet.flags == 0
    assert packet.body == wire.field(t.topic()) + (b'\0' if t.v5 else b'') + b'exactly'


@case('SPEC: MQTT-3.3.4-1, MQTT3-2.3.1-6, MQTT3-4.3.2-2, MQTT5-2.2.1-5, MQTT5-4.3.2-4, MQTT5-4.3.2-5')
def qos_1_received(t):
    sender, reader = t.client('s'), t.reader()
    for packet_id in (1, 0xffff, 0x100):
        t.publish(sender, payload='first', qos=1, packet_id=packet_id)
        t.publish(sender, payload='second', qos=1, packet_id=packet_id, dup=True)
    assert t.payloads(reader, sender) == [b'first', b'second'] * 3


@case('SPEC: MQTT3-4.3.3-2, MQTT3-2.3.1-6, MQTT5-2.2.1-5, MQTT5-4.3.3-8, MQTT5-4.3.3-10, MQTT5-4.3.3-11, MQTT5-4.3.3-12')
def qos_2_received(t):
    sender, reader = t.client('s'), t.reader()
    for payload in ('once', 'once more'):
        for dup in (False, True, True):
            assert sender.send(t.publish_bytes(payload=payload, qos=2, packet_id=7, dup=dup)).expect(PUBREC).body[:2] == b'\0\7'
        assert sender.send(wire.packet(PUBREL, b'\0\7', 2)).expect(PUBCOMP).body[:2] == b'\0\7'
    assert sorted(t.payloads(reader, sender, qos=2)) == [b'once', b'once more']


@case('SPEC: MQTT-3.3.1-3')
def dup_is_not_passed_on(t):
    sender, reader = t.client('s'), t.reader()
    t.publish(sender, qos=1, dup=True)
    assert t.get(reader).dup == 0


@case('SPEC: MQTT3-2.3.1-4, MQTT3-4.3.2-1, MQTT5-2.2.1-4, MQTT5-4.3.2-1, MQTT5-4.3.2-2, MQTT5-4.3.2-3')
def qos_1_sent(t):
    # SPEC: MQTT-4.4.0-1, MQTT-3.3.1-1, MQTT-4.6.0-1
    sender, reader = t.client('s'), t.reader(lasts=True)
    for i in range(1, 5):
        t.publish(sender, payload=str(i), qos=1, packet_id=i)
    first = [Message(reader.expect(PUBLISH)) for _ in range(4)]
    ids = [m.id for m in first]
    assert len(set(ids)) == 4 and b'\0\0' not in ids
    assert [(m.dup, m.qos, m.payload) for m in first] == [(0, 1, b'%d' % i) for i in range(1, 5)]
    reader.send(wire.packet(PUBACK, ids[1]))
    t.quiet(reader)
    reader.close()
    again = t.client('r', lasts=True, present=1)
    more = [Message(again.expect(PUBLISH)) for _ in range(3)]
    assert [(m.dup, m.id, m.payload) for m in more] == [(1, ids[i], b'%d' % (i + 1)) for i in (0, 2, 3)]
    for m in more:
        again.send(wire.packet(PUBACK, m.id))
    t.quiet(again)


@case('SPEC: MQTT3-4.3.3-1, MQTT5-4.3.3-1, MQTT5-4.3.3-2, MQTT5-4.3.3-3, MQTT5-4.3.3-4, MQTT5-4.3.3-5, MQTT5-4.3.3-6')
def qos_2_sent(t):
    # SPEC: MQTT-4.4.0-1, MQTT-4.6.0-1, MQTT-4.6.0-4, MQTT3-2.3.1-6, MQTT5-2.2.1-5
    sender, reader = t.client('s'), t.reader(lasts=True)
    for i in range(1, 4):
        t.publish(sender, payload=str(i), qos=2, packet_id=i)
    first = [Message(reader.expect(PUBLISH)) for _ in range(3)]
    ids = [m.id for m in first]
    assert len(set(ids)) == 3 and all((m.dup, m.qos) == (0, 2) for m in first)
    reader.send(wire.packet(PUBREC, ids[1]), wire.packet(PUBREC, ids[0]))
    assert [reader.expect(PUBREL).body[:2] for _ in range(2)] == [ids[1], ids[0]]
    reader.close()
    again = t.client('r', lasts=True, present=1)
    got = [again.receive() for _ in range(3)]
    assert {one.body[:2] for one in got if one.kind == PUBREL} == {ids[0], ids[1]}
    third = [Message(one) for one in got if one.kind == PUBLISH]
    assert [(m.dup, m.id, m.payload) for m in third] == [(1, ids[2], b'3')]
    again.send(wire.packet(PUBREC, ids[2])).expect(PUBREL)
    again.send(*[wire.packet(PUBCOMP, one) for one in ids])
    t.quiet(again)


@case('SPEC: MQTT5-4.4.0-2', versions=(5,))
def a_refusing_acknowledgement_ends_it(t):
    sender, reader = t.client('s'), t.reader(lasts=True)
    t.publish(sender, payload='one', qos=1)
    t.publish(sender, payload='two', qos=2)
    for _ in range(2):
        m = Message(reader.expect(PUBLISH))
        reader.send(wire.packet(PUBACK if m.qos == 1 else PUBREC, m.id + b'\x83'))
    t.quiet(reader)
    reader.close()
    t.quiet(t.client('r', lasts=True, present=1))


@case('SPEC: MQTT5-4.3.3-9', versions=(5,))
def an_id_after_a_refusing_pubrec(t):
    sender, reader = t.client('s'), t.reader()
    refused = sender.send(t.publish_bytes(b'elsewhere/a', qos=2)).expect(PUBREC)
    if refused.reason < 0x80:  # a server that lets everybody publish everything
        sender.send(wire.packet(PUBREL, ONE, 2)).expect(PUBCOMP)
    t.publish(sender, payload='new', qos=2)
    assert t.get(reader).payload == b'new'


@case('SPEC: MQTT3-3.3.5-2', versions=(4,))
def a_publish_that_is_not_allowed(t):
    one = t.client('s')
    got = one.send(t.publish_bytes(b'elsewhere/a', qos=1)).receive()
    assert got is None or (got.kind, got.body) == (PUBACK, ONE)


@case('SPEC: MQTT5-3.1.2-29', versions=(5,))
def no_problem_information(t):
    one = t.client('s', properties=b'\x17\0')
    for qos, kind in ((1, PUBACK), (2, PUBREC)):
        assert one.send(t.publish_bytes(b'elsewhere/a', qos=qos)).expect(kind).body[3:] in (b'', b'\0')
    got = one.send(t.filters(1, '$share/g/b/#')).expect(wire.SUBACK)
    assert got.body[2] == 0


@case('SPEC: MQTT5-4.3.3-13', versions=(5,))
def qos_2_goes_on_when_the_message_has_expired(t):
    sender = t.client('s')
    sender.send(t.publish_bytes(payload='short', qos=2, properties=SECOND)).expect(PUBREC)
    more_than_a_second(t)
    assert sender.send(wire.packet(PUBREL, ONE, 2)).expect(PUBCOMP).body[:2] == ONE


@case('SPEC: MQTT5-4.3.3-7', versions=(5,))
def what_has_been_sent_does_not_expire(t):
    sender, reader = t.client('s'), t.reader(lasts=True)
    t.publish(sender, payload='short', qos=2, properties=SECOND)
    m = Message(reader.expect(PUBLISH))
    reader.close()
    more_than_a_second(t)
    again = t.client('r', lasts=True, present=1)
    more = Message(again.expect(PUBLISH))
    assert (more.id, more.payload, more.dup) == (m.id, b'short', 1)
    again.send(wire.packet(PUBREC, m.id)).expect(PUBREL)


# -- retained -----------------------------------------------------------------------------------------------------------

@case('SPEC: MQTT-3.3.1-5, MQTT3-3.3.1-6, MQTT3-3.3.1-7, MQTT3-3.3.1-8, MQTT3-3.3.1-9, MQTT5-3.3.1-12')
def retained_and_replaced(t):
    sender, live = t.client('s'), t.reader()
    for qos, payload in ((1, b'first'), (2, b'second'), (0, b'third')):
        t.publish(sender, payload=payload, qos=qos, retain=True)
        m = t.get(live)
        assert (m.payload, m.retain) == (payload, 0)
        t.publish(sender, 'mark', 'mark', qos=qos)
        assert t.get(live).payload == b'mark'
        m = t.get(t.reader(tail=f'late{qos}'))
        assert (m.payload, m.retain, m.qos) == (payload, 1, qos)


@case('SPEC: MQTT3-3.3.1-10, MQTT3-3.3.1-11, MQTT5-3.3.1-6, MQTT5-3.3.1-7')
def an_empty_retained_message_clears(t):
    sender, live = t.client('s'), t.reader()
    t.publish(sender, payload='kept', qos=1, retain=True)
    t.publish(sender, payload='', qos=1, retain=True)
    assert [(m.payload, m.retain) for m in (t.get(live), t.get(live))] == [(b'kept', 0), (b'', 0)]
    late = t.reader(tail='late')
    assert t.payloads(late, sender) == []


@case('SPEC: MQTT3-3.3.1-12, MQTT5-3.3.1-8')
def without_retain_nothing_is_kept(t):
    sender = t.client('s')
    t.publish(sender, 'none', 'not kept', qos=1)
    t.publish(sender, 'some', 'kept', qos=1, retain=True)
    t.publish(sender, 'some', 'not kept', qos=1)
    t.publish(sender, 'some', '', qos=1)
    late = t.reader(tail='late')
    assert t.payloads(late, sender) == [b'kept']


@case('SPEC: MQTT5-3.3.1-9, MQTT5-3.3.1-10, MQTT5-3.3.1-11', versions=(5,))
def retain_handling(t):
    sender = t.client('s')
    t.publish(sender, payload='kept', qos=1, retain=True)
    for handling, counts in ((0, (1, 1)), (1, (1, 0)), (2, (0, 0))):
        one = t.client(f'r{handling}')
        for round_, n in enumerate(counts):
            t.subscribe(one, (t.topic(), handling << 4 | 1), packet_id=round_ + 1)
            got = [t.get(one).payload for _ in range(n)]
            t.quiet(one)
            assert got == [b'kept'] * n, (handling, round_)


@case('SPEC: MQTT5-3.3.1-13, MQTT5-3.3.1-12', versions=(5,))
def retain_as_published(t):
    sender = t.client('s')
    readers = [(t.reader((t.topic('#'), options), tail=f'r{options}'), flag) for options, flag in ((0x09, 1), (0x01, 0))]
    for retain in (True, False):
        t.publish(sender, qos=1, retain=retain)
        for one, flag in readers:
            assert t.get(one).retain == (flag if retain else 0)


# -- what passes unchanged ----------------------------------------------------------------------------------------------

@case('SPEC: MQTT5-3.3.2-4, MQTT5-3.3.2-15, MQTT5-3.3.2-16, MQTT5-3.3.2-17, MQTT5-3.3.2-18, MQTT5-3.3.2-20', versions=(5,))
def properties_pass_unchanged(t):
    pairs = b''.join(b'\x26' + wire.field(key) + wire.field(value) for key, value in (('z', '1'), ('a', ''), ('z', '1'), ('', '2')))
    kinds = {b'\x01': b'\1', b'\x08': wire.field('c/answer'), b'\x09': wire.field(b'\0\xff\0'), b'\x03': wire.field('text/plain')}
    sender, reader = t.client('s'), t.reader()
    t.publish(sender, qos=1, properties=b''.join(kind + value for kind, value in kinds.items()) + pairs)
    got = t.get(reader).props
    assert pairs in got and all(kind + value in got for kind, value in kinds.items())
    assert len(got) == len(pairs) + sum(1 + len(value) for value in kinds.values())


@case('SPEC: MQTT3-1.5.3-3, MQTT5-1.5.4-3, MQTT-4.7.3-4, MQTT-3.3.2-3')
def no_text_is_changed(t):
    base = f'c/{t.number}/'.encode()
    names = [base + tail for tail in ('\ufeffa'.encode(), b'a', b'A', 'e\u0301'.encode(), '\u00e9'.encode(), b' a', b'a ', b'a/', b'/a')]
    sender = t.client('s')
    readers = [t.reader(name, tail=f'r{i}') for i, name in enumerate(names)]
    for name in names:
        t.publish(sender, name, payload=name, qos=1)
    for one, name in zip(readers, names):
        m = t.get(one)
        assert m.topic == m.payload == name
        t.quiet(one)


@case('SPEC: MQTT-3.3.2-3, MQTT3-4.6.0-5, MQTT3-4.6.0-6, MQTT5-4.6.0-5, MQTT5-4.6.0-6')
def the_order_of_one_publisher(t):
    sender, readers = t.client('s'), [t.reader(tail='r1'), t.reader(f'c/{t.number}/+', tail='r2')]
    for qos in (0, 1, 2):
        for i in range(30):
            t.publish(sender, payload=f'{qos}-{i}', qos=qos, packet_id=i + 1)
    t.publish(sender, payload='the end', qos=2, packet_id=99)
    for one in readers:
        got = t.payloads_until(one)
        for qos in (0, 1, 2):
            assert [p for p in got if p.startswith(b'%d-' % qos)] == [b'%d-%d' % (qos, i) for i in range(30)]


@case('SPEC: MQTT5-3.3.2-5, MQTT5-3.3.2-6', versions=(5,))
def expiry_counts_down(t):
    sender = t.client('s')
    t.reader((t.topic('#'), 1), lasts=True).send(wire.packet(DISCONNECT)).expect_close()
    t.publish(sender, payload='short', qos=1, properties=b'\x02\0\0\0\1')
    t.publish(sender, payload='long', qos=1, properties=b'\x02\0\0\1\0')
    more_than_a_second(t)
    again = t.client('r', clean=False, properties=LASTS, present=1)
    m = t.get(again)
    assert m.payload == b'long' and m.props[:1] == b'\x02'
    assert 200 < struct.unpack('>I', m.props[1:5])[0] < 256
