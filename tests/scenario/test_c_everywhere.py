"""c: the policy in force decides everywhere. It is changed by SIGHUP while others publish, and asked again about what began under
the one before: wills, retained messages, shared subscriptions, aliases, responses, queues, and both halves of QoS 2."""
import itertools
import struct
import threading

import pytest

from harness import wire
from harness.fortress import Fortress
from harness.paho_client import Paho
from harness.wire import CONNACK, PINGREQ, PINGRESP, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, Wire

pytestmark = pytest.mark.release

DENIED = 0x87
HOUR = b'\x11\x00\x00\x0e\x10'  # session expiry


def policy(publish=True, subscribe=True):
    """What `peer` may do under may/; `witness` may do everything, always."""
    more = ', { topic: "may/#", retain: yes }' if publish else ''
    return f'''version: 1
roles:
  peer:
    client_id: "*"
    publish:   [ {{ topic: "open/#", retain: yes }}{more} ]
    subscribe: [ "open/#"{', "may/#"' if subscribe else ''} ]
  witness:
    client_id: "*"
    many: yes
    publish:   [ {{ topic: "#", retain: yes }} ]
    subscribe: [ "#" ]
'''


WIDE, NO_PUBLISH, NO_SUBSCRIBE, NARROW = policy(), policy(publish=False), policy(subscribe=False), policy(False, False)
topics = (f'may/{n}' for n in itertools.count())


class Load:
    """Somebody who publishes all the time, and somebody who counts: no change of the policy may touch them."""

    def __init__(self, fortress):
        self.writer, self.reader = Paho(fortress.add('peer')).__enter__(), Paho(fortress.add('witness'), client_id='load').__enter__()
        assert self.reader.subscribe('open/load', 1) == [1]
        self.n, self._stop = 0, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._stop.is_set():
            self.writer.publish('open/load', str(self.n), qos=1)
            self.n += 1

    def end(self):
        self._stop.set()
        self._thread.join(15)
        assert self.n > 0 and [int(self.reader.get().payload) for _ in range(self.n)] == list(range(self.n))
        self.writer.__exit__()
        self.reader.__exit__()


@pytest.fixture(scope='module')
def busy():
    fortress = Fortress(policy=None)
    fortress.apply(WIDE)
    load = Load(fortress)
    yield fortress
    load.end()
    fortress.close()


@pytest.fixture
def change(busy):
    """Puts a policy in force by SIGHUP, on all workers; the wide one before and behind each test."""
    def to(text):
        (busy.dir / 'policy.yaml').write_text(text)
        since = len(busy.log)
        busy.reload()
        busy.wait_log('reloaded$', since)
        busy.add('peer', credentials=('password',))  # returns when every worker has this epoch, and with it all before
    to(WIDE)
    yield to
    to(WIDE)


@pytest.fixture
def peer(busy):
    return busy.add('peer', credentials=('x509',))


@pytest.fixture
def witness(busy):
    return busy.add('witness', credentials=('x509',))


def enters(fortress, device, *filters, **more):
    """A connected client, with its subscriptions."""
    client = Wire(fortress, device).login(device.name, **more)
    if filters:
        assert max(client.send(wire.subscribe(1, *((one, 2) for one in filters))).expect(SUBACK).body[-len(filters):]) <= 2
    return client


def is_silent(client):
    client.send(wire.packet(PINGREQ))
    assert client.receive().kind == PINGRESP


@pytest.fixture
def hears_nothing(busy):
    """What comes next is a mark, sent by a witness behind all that must not come."""
    with enters(busy, busy.add('witness', credentials=('x509',))) as writer:
        def check(client, topic):
            assert writer.send(wire.publish(topic, 'mark', 1, 99)).expect(PUBACK).reason == 0
            got = client.expect(PUBLISH)
            assert got.body.endswith(b'mark'), got
        yield check


def denied(fortress, device, topic):
    fortress.wait_event('acl_deny', principal=device.name, target=topic)


def id_of(publish):
    at = 2 + struct.unpack('>H', publish.body[:2])[0]
    return publish.body[at:at + 2]


# -- wills ----------------------------------------------------------------------------------------------------------------

def test_a_will_at_connect(busy, change, peer):
    topic = next(topics)
    change(NO_PUBLISH)
    with Wire(busy, peer) as client:
        assert client.send(wire.connect(peer.name, will=(topic, 'x', 1, False))).expect(CONNACK).reason == DENIED
    denied(busy, peer, topic)
    change(WIDE)
    with enters(busy, peer, will=(topic, 'x', 1, False)):
        pass


@pytest.mark.parametrize('delay_s', [0, 4])
def test_a_will_that_fires(busy, change, peer, witness, hears_nothing, delay_s):
    """Allowed at CONNECT; the connection ends before the change, or behind it."""
    topic = next(topics)
    will = (topic, 'gone', 1, False, b'\x18' + struct.pack('>I', delay_s))
    with enters(busy, witness, topic) as reader:
        with enters(busy, peer, properties=HOUR, will=will) as doomed:
            if delay_s:
                doomed.close()
                busy.wait_event('disconnect', principal=peer.name)
            change(NO_PUBLISH)
        denied(busy, peer, topic)
        hears_nothing(reader, topic)


# -- retained messages ----------------------------------------------------------------------------------------------------

def test_a_retained_message_whose_publisher_may_not_speak_any_more(busy, change, peer, witness, hears_nothing):
    topic = next(topics)
    with enters(busy, peer) as client:
        assert client.send(wire.publish(topic, 'kept', 1, retain=True)).expect(PUBACK).reason in (0, 0x10)
    with enters(busy, witness, topic) as reader:
        assert reader.expect(PUBLISH).body.endswith(b'kept')
    change(NO_PUBLISH)
    with enters(busy, witness, topic) as reader:
        is_silent(reader)
        hears_nothing(reader, topic)


def test_a_retained_message_for_who_may_not_listen_any_more(busy, change, peer, witness):
    topic = next(topics)
    with enters(busy, witness) as writer:
        writer.send(wire.publish(topic, 'kept', 1, retain=True)).expect(PUBACK)
    with enters(busy, peer, topic) as reader:
        assert reader.expect(PUBLISH).body.endswith(b'kept')
        change(NO_SUBSCRIBE)
        assert reader.send(wire.subscribe(2, (topic, 1))).expect(SUBACK).reason == DENIED
        is_silent(reader)


# -- shared subscriptions -------------------------------------------------------------------------------------------------

def test_a_member_that_may_not_listen_any_more(busy, change, peer, witness):
    topic = next(topics)
    with enters(busy, peer, f'$share/g/{topic}') as loses, enters(busy, witness, f'$share/g/{topic}') as keeps, \
            enters(busy, busy.add('witness', credentials=('x509',))) as writer:
        for n in range(20):
            writer.send(wire.publish(topic, f'before {n}', 1, n + 1)).expect(PUBACK)
        assert b'before' in loses.expect(PUBLISH).body, 'it has turns'
        change(NO_SUBSCRIBE)
        for n in range(20):
            writer.send(wire.publish(topic, f'after {n}', 1, n + 1)).expect(PUBACK)
        seen = []
        while len(seen) < 20:
            got = keeps.expect(PUBLISH)
            keeps.send(wire.packet(PUBACK, id_of(got)))
            if b'after' in got.body:
                seen.append(int(got.body.rsplit(b' ', 1)[1]))
        assert seen == list(range(20)), 'every turn is the other one\'s'
        loses.send(wire.packet(PINGREQ))
        loses.expect_among(PINGRESP, lambda one: pytest.fail('a late turn') if b'after' in one.body else None)


# -- aliases --------------------------------------------------------------------------------------------------------------

def alias(number):
    return b'\x23' + struct.pack('>H', number)


def test_an_alias_set_before_the_grant_ended(busy, change, peer, witness, hears_nothing):
    topic = next(topics)
    with enters(busy, peer) as client, enters(busy, witness, topic) as reader:
        assert client.send(wire.publish(topic, 'one', 1, 1, properties=alias(1))).expect(PUBACK).reason == 0
        assert client.send(wire.publish('', 'two', 1, 2, properties=alias(1))).expect(PUBACK).reason == 0
        assert [reader.expect(PUBLISH).body[-3:] for _ in 'ab'] == [b'one', b'two']
        change(NO_PUBLISH)
        assert client.send(wire.publish('', 'three', 1, 3, properties=alias(1))).expect(PUBACK).reason == DENIED
        denied(busy, peer, topic)
        hears_nothing(reader, topic)
        assert client.send(wire.publish('open/a', 'x', 1, 4, properties=alias(1))).expect(PUBACK).reason in (0, 0x10)
        assert client.send(wire.publish('', 'x', 1, 5, properties=alias(1))).expect(PUBACK).reason in (0, 0x10)


# -- requests and responses -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize('text', [NO_SUBSCRIBE, NO_PUBLISH], ids=['who asks', 'who answers'])
def test_a_response_topic_gives_no_right(busy, change, text):
    """A request names the topic of its answer; that allows neither to listen there nor to speak."""
    asks, answers = busy.add('peer'), busy.add('peer')
    response, more = next(topics), lambda topic: b'\x08' + wire.field(topic)
    with enters(busy, asks, response) as client, enters(busy, answers, 'open/requests') as server:
        client.send(wire.publish('open/requests', 'first', 1, properties=more(response))).expect(PUBACK)
        request = server.expect(PUBLISH)
        assert response.encode() in request.body
        assert server.send(wire.publish(response, 'answer', 1)).expect(PUBACK).reason == 0
        client.expect(PUBLISH)
        change(text)
        client.send(wire.publish('open/requests', 'second', 1, 2, properties=more(response)))
        assert client.expect_among(PUBACK, lambda one: None).reason == 0
        assert response.encode() in server.expect(PUBLISH).body
        reason = server.send(wire.publish(response, 'answer', 1, 2)).expect(PUBACK).reason
        assert (reason == DENIED) == (text == NO_PUBLISH)
        if text == NO_SUBSCRIBE:
            assert client.send(wire.subscribe(3, (response, 1))).expect(SUBACK).reason == DENIED
        is_silent(client)


# -- queues ---------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('text', [NO_SUBSCRIBE, NO_PUBLISH], ids=['who listens', 'who spoke'])
@pytest.mark.parametrize('qos', [1, 2])
def test_what_a_sleeping_session_has_queued(busy, change, text, qos):
    speaks, listens, topic = busy.add('peer'), busy.add('peer'), next(topics)
    with enters(busy, listens, topic, 'open/mark', properties=HOUR):
        pass
    with enters(busy, speaks) as writer:
        writer.send(wire.publish(topic, 'queued', qos, 1)).expect(PUBACK if qos == 1 else PUBREC)
        writer.send(wire.publish('open/mark', 'mark', 1, 2)).expect(PUBACK)
    change(text)
    with Wire(busy, listens) as reader:
        assert reader.send(wire.connect(listens.name, clean=False, properties=HOUR)).expect(CONNACK).body[0] == 1
        assert reader.expect(PUBLISH).body.endswith(b'mark')
        is_silent(reader)
    denied(busy, listens, topic)


# -- QoS 2 ----------------------------------------------------------------------------------------------------------------

def test_the_inbound_half_of_qos_2(busy, change, peer, witness, hears_nothing):
    """Taken while it was allowed: PUBREL ends it as ever, it was delivered once, and the next one is refused."""
    topic = next(topics)
    with enters(busy, peer, properties=HOUR) as client, enters(busy, witness, topic) as reader:
        assert client.send(wire.publish(topic, 'once', 2, 7)).expect(PUBREC).reason == 0
        assert reader.expect(PUBLISH).body.endswith(b'once')
        change(NO_PUBLISH)
        assert client.send(wire.publish(topic, 'once', 2, 7, dup=True)).expect(PUBREC).reason == 0, 'it has been taken already'
        assert client.send(wire.packet(PUBREL, struct.pack('>H', 7), 2)).expect(PUBCOMP).reason == 0
        assert client.send(wire.publish(topic, 'again', 2, 7)).expect(PUBREC).reason == DENIED
        assert client.send(wire.packet(PUBREL, struct.pack('>H', 7), 2)).expect(PUBCOMP).reason == 0x92
        hears_nothing(reader, topic)


@pytest.mark.parametrize('text', [NO_SUBSCRIBE, NARROW], ids=['who listens', 'both'])
def test_the_outbound_half_of_qos_2(busy, change, peer, witness, text):
    """One message was received and not completed, one was sent and not received, when the grant ended: the first has been delivered
    and is completed, the second does not come again."""
    topic = next(topics)
    with enters(busy, witness) as writer:
        with enters(busy, peer, topic, properties=HOUR) as reader:
            for n, payload in enumerate(('received', 'sent')):
                writer.send(wire.publish(topic, payload, 2, n + 1)).expect(PUBREC)
            received, sent = reader.expect(PUBLISH), reader.expect(PUBLISH)
            assert received.body.endswith(b'received') and sent.body.endswith(b'sent')
            assert reader.send(wire.packet(PUBREC, id_of(received))).expect(PUBREL).body[:2] == id_of(received)
            change(text)
            reader.send(wire.packet(PUBCOMP, id_of(sent)))  # not yet: it is not received
            is_silent(reader)
        with Wire(busy, peer) as reader:
            assert reader.send(wire.connect(peer.name, clean=False, properties=HOUR)).expect(CONNACK).body[0] == 1
            assert reader.expect(PUBREL).body[:2] == id_of(received)
            reader.send(wire.packet(PUBCOMP, id_of(received)))
            is_silent(reader)
        denied(busy, peer, topic)
