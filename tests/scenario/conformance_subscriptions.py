"""Conformance cases: SUBSCRIBE, UNSUBSCRIBE, and what a subscription brings."""
import struct

from harness import wire
from harness.talk import Message, case
from harness.wire import DISCONNECT, PUBACK, PUBLISH, SUBACK, SUBSCRIBE, UNSUBACK, UNSUBSCRIBE


def head(t, packet_id=1):
    return struct.pack('>H', packet_id) + (b'\0' if t.v5 else b'')


# -- SUBSCRIBE ----------------------------------------------------------------------------------------------------------

@case('SPEC: MQTT-3.8.4-1, MQTT-3.8.4-2, MQTT3-2.3.1-7, MQTT5-2.2.1-6')
def suback_has_the_packet_id(t):
    one = t.client()
    for packet_id in (1, 0x100, 0xffff):
        assert t.subscribe(one, t.topic(), packet_id=packet_id) == [2]


@case('SPEC: MQTT-3.9.3-1, MQTT3-3.8.4-4, MQTT3-3.8.4-5, MQTT5-3.8.4-5, MQTT5-3.8.4-6, MQTT5-3.8.4-7')
def a_code_for_each_filter(t):
    sender, one = t.client('s'), t.client()
    codes = t.subscribe(one, (t.topic('a'), 1), (t.topic('b'), 0), (t.topic('c'), 2), (t.topic('d'), 1), (t.topic('end'), 2))
    assert codes == [1, 0, 2, 1, 2]
    for tail in 'abcd':
        t.publish(sender, tail, tail, qos=2)
    assert sorted(t.payloads(one, sender, qos=2)) == [b'a', b'b', b'c', b'd']


@case('SPEC: MQTT3-3.8.3-3, MQTT5-3.8.3-2')
def no_filter(t):
    t.fails(wire.packet(SUBSCRIBE, head(t), 2), (0x81, 0x82))


@case('SPEC: MQTT3-3.8.3-4, MQTT5-3.8.3-5')
def reserved_bits_of_the_options(t):
    for options in (3, 0x40, 0x80, 0x30 if t.v5 else 4):
        t.fails(t.filters(1, (t.topic(), options)), (0x81, 0x82))


@case('SPEC: MQTT-3.8.3-1, MQTT-4.7.3-2')
def a_filter_that_is_no_text(t):
    for text in (b'c/\xed\xa0\x80', b'c/\0', b'c/\xff'):
        t.fails(t.filters(1, text), (0x81, 0x8f))


@case('SPEC: MQTT3-4.7.1-2, MQTT3-4.7.1-3, MQTT5-4.7.1-1, MQTT5-4.7.1-2')
def wildcards_in_wrong_places(t):
    for text in ('c/a#', 'c/#/a', 'c/a+', 'c/+a', 'c/+/a+/b', 'c/##'):
        got = t.client('f').send(t.filters(1, text)).receive()
        assert got is None or (got.kind == SUBACK and got.reason >= 0x80) or (t.v5 and got.kind == DISCONNECT), got


@case('SPEC: MQTT5-4.7.1-1, MQTT5-4.7.1-2, MQTT3-4.7.1-2, MQTT3-4.7.1-3, MQTT-3.3.2-3')
def what_wildcards_match(t):
    base = t.topic('')
    topics = [base + tail for tail in ('a', 'a/', 'a/b', 'a/b/c', '/b', 'b')] + [base[:-1]]
    for i, (filter_, wanted) in enumerate((('#', topics), ('+', [base + 'a', base + 'b']), ('a/#', [base + 'a', base + 'a/', base + 'a/b', base + 'a/b/c']),
                                           ('+/b', [base + 'a/b', base + '/b']), ('a/+', [base + 'a/', base + 'a/b']), ('a/+/c', [base + 'a/b/c']),
                                           ('+/+', [base + 'a/', base + 'a/b', base + '/b']))):
        sender, one = t.client('s'), t.reader(base + filter_, f'c/{t.number}end', tail=f'r{i}')
        for topic in topics:
            t.publish(sender, topic, topic, qos=1)
        assert sorted(t.payloads(one, sender, f'c/{t.number}end')) == sorted(topic.encode() for topic in wanted), filter_


@case('SPEC: MQTT-4.7.2-1')
def wildcards_and_dollar_topics(t):
    sender = t.client('s')
    hidden, shown = f'$c/{t.number}', t.topic('end')
    readers = [t.reader('#', tail='r1'), t.reader(f'+/{t.number}', shown, tail='r2'), t.reader('+/#', tail='r4'),
               t.reader(f'$share/g{t.number}{t.version}/#', tail='r5')]
    named = t.reader('$c/#', shown, tail='r3')
    t.publish(sender, hidden, 'hidden', qos=1)
    t.publish(sender, shown, 'the end', qos=1)
    for one in readers:
        assert [p for p in t.payloads_until(one) if p == b'hidden'] == []
    assert t.payloads_until(named) == [b'hidden']


@case('SPEC: MQTT5-3.8.3-4', versions=(5,))
def no_local_on_a_shared_subscription(t):
    t.fails(t.filters(1, ('$share/g/c/a', 0x04 | 1)), (0x82,))


@case('SPEC: MQTT5-4.8.2-1, MQTT5-4.8.2-2', versions=(5,))
def shared_filters_that_are_none(t):
    for text in ('$share//c', '$share/g', '$share/g/', '$share/g+/c', '$share/#/c', '$share/'):
        got = t.client('f').send(t.filters(1, (text, 1))).receive()
        assert got is None or (got.kind == SUBACK and got.reason >= 0x80) or got.kind == DISCONNECT, got


# -- what it brings -----------------------------------------------------------------------------------------------------

@case('SPEC: MQTT3-3.8.4-3, MQTT5-3.8.4-3, MQTT5-3.8.4-4')
def the_same_filter_again(t):
    sender = t.client('s')
    t.publish(sender, payload='kept', qos=2, retain=True)
    one = t.client('r')
    for qos in (2, 0, 1):
        assert t.subscribe(one, (t.topic(), qos)) == [qos]
        m = t.get(one)
        assert (m.payload, m.retain, m.qos) == (b'kept', 1, qos)
    t.publish(sender, payload='live', qos=2)
    m = t.get(one)
    assert (m.payload, m.qos) == (b'live', 1)
    t.quiet(one)


@case('SPEC: MQTT3-3.8.4-6, MQTT5-3.8.4-8')
def the_lower_qos_wins(t):
    sender = t.client('s')
    for granted in (0, 1, 2):
        one = t.reader((t.topic(), granted), tail=f'r{granted}')
        for published in (0, 1, 2):
            t.publish(sender, payload='x', qos=published)
            assert t.get(one).qos == min(granted, published)


@case('SPEC: MQTT3-3.3.5-1, MQTT5-3.3.4-2')
def overlapping_subscriptions(t):
    sender = t.client('s')
    one = t.reader((t.topic('#'), 0), (t.topic('a'), 2), (t.topic('+'), 1), (t.topic('end'), 2))
    t.publish(sender, payload='x', qos=2)
    t.publish(sender, 'end', 'the end', qos=2)
    seen = []
    while True:
        m = t.get(one)
        if m.payload == b'the end':
            break
        seen.append(m.qos)
    assert seen and max(seen) == 2, seen


@case('SPEC: MQTT5-3.3.4-3, MQTT5-3.3.4-4', versions=(5,))
def overlapping_identifiers(t):
    sender, one = t.client('s'), t.client('r')
    t.subscribe(one, (t.topic('#'), 1), properties=b'\x0b\1')
    t.subscribe(one, (t.topic('+'), 1), properties=b'\x0b\xc8\1')
    t.subscribe(one, (t.topic('a'), 1))
    t.subscribe(one, (f'c/{t.number}end', 1))
    t.publish(sender, payload='x', qos=1)
    t.publish(sender, f'c/{t.number}end', 'the end', qos=1)
    got = []
    while (m := t.get(one)).payload != b'the end':
        got.append(m.props)
    if len(got) == 1:
        assert got[0] in (b'\x0b\1\x0b\xc8\1', b'\x0b\xc8\1\x0b\1')
    else:
        assert sorted(got) == [b'', b'\x0b\1', b'\x0b\xc8\1']


@case('SPEC: MQTT5-3.3.4-3', versions=(5,))
def identifiers_at_their_ends(t):
    """1 and 268,435,455 come back, also to the session that slept; 0, five bytes, two of them end the connection."""
    sender = t.client('s')
    for least in (b'\1', b'\xff\xff\xff\x7f'):
        one = t.client('r', lasts=True)
        t.subscribe(one, (t.topic('#'), 1), properties=b'\x0b' + least)
        t.publish(sender, qos=1)
        assert t.get(one).props == b'\x0b' + least
        one.close()
        t.publish(sender, qos=1)
        again = t.client('r', lasts=True, present=1)
        assert t.get(again).props == b'\x0b' + least
        t.quiet(again)
    for wrong in (b'\x0b\0', b'\x0b\x80\x80\x80\x80\1', b'\x0b\xff\xff\xff\xff\x7f', b'\x0b\1\x0b\2'):
        t.fails(t.filters(1, t.topic(), properties=wrong), (0x81, 0x82))


@case('SPEC: MQTT5-3.8.3-3', versions=(5,))
def no_local(t):
    one, other = t.client('a'), t.client('b')
    t.subscribe(one, (t.topic('#'), 0x04 | 1))
    t.publish(one, payload='own', qos=1)
    t.publish(other, payload='of others', qos=1)
    assert t.get(one).payload == b'of others'


# -- UNSUBSCRIBE --------------------------------------------------------------------------------------------------------

@case('SPEC: MQTT-3.10.4-1, MQTT-3.10.4-2, MQTT-3.10.4-4, MQTT-3.10.4-5, MQTT3-2.3.1-7, MQTT5-2.2.1-6')
def unsubscribed(t):
    sender, one = t.client('s'), t.reader((t.topic('a'), 1), (t.topic('+'), 1), (t.topic('#'), 1))
    for text in (t.topic('never'), t.topic('A'), t.topic('a/'), t.topic('a'), t.topic('+')):
        assert t.unsubscribe(one, text, packet_id=0x1234).body[:2] == b'\x12\x34'
    t.publish(sender, payload='by the one that is left', qos=1)
    m = t.get(one)
    assert m.payload == b'by the one that is left'
    t.unsubscribe(one, t.topic('#'))
    t.publish(sender, payload='by none', qos=1)
    t.subscribe(one, t.topic('end'))
    assert t.payloads(one, sender) == []


@case('SPEC: MQTT-3.10.4-6, MQTT5-3.11.3-1')
def several_filters_in_one_unsubscribe(t):
    sender, one = t.client('s'), t.reader(t.topic('a'), t.topic('b'), t.topic('end'))
    body = t.unsubscribe(one, t.topic('b'), t.topic('none'), t.topic('a')).body
    assert body[2:] == (b'\0\0\x11\0' if t.v5 else b'')
    t.publish(sender, 'a', qos=1)
    t.publish(sender, 'b', qos=1)
    assert t.payloads(one, sender) == []


@case('SPEC: MQTT-3.10.3-1')
def an_unsubscribe_that_is_no_text(t):
    t.fails(wire.packet(UNSUBSCRIBE, head(t) + wire.field(b'c/\xed\xa0\x80'), 2), (0x81, 0x8f))


@case('SPEC: MQTT-3.10.3-2')
def an_unsubscribe_of_nothing(t):
    t.fails(wire.packet(UNSUBSCRIBE, head(t), 2), (0x81, 0x82))


@case('SPEC: MQTT-3.10.4-3')
def what_was_begun_is_finished_after_unsubscribe(t):
    sender, one = t.client('s'), t.reader(lasts=True)
    t.publish(sender, payload='one', qos=1)
    t.publish(sender, payload='two', qos=2)
    begun = {m.qos: m for m in (Message(one.expect(PUBLISH)), Message(one.expect(PUBLISH)))}
    assert t.unsubscribe(one, t.topic('#')).kind == UNSUBACK
    one.send(wire.packet(PUBACK, begun[1].id))
    assert one.send(wire.packet(wire.PUBREC, begun[2].id)).expect(wire.PUBREL).body[:2] == begun[2].id
    one.close()
    again = t.client('r', lasts=True, present=1)
    assert again.expect(wire.PUBREL).body[:2] == begun[2].id
