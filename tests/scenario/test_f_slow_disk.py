"""f: a disk that is only slow, on the real daemon. Who publishes is not read until it has caught up; nobody is refused, unless it does
nothing for longer than ten seconds. Nothing acknowledged is lost."""
import re
import threading

import pytest
from harness import coap_tcp, wire
from harness.coap_message import PUT
from harness.durable import EXPIRY, FULL, Sleeper, Talker, nothing_is_lost_or_made_up
from harness.fortress import metrics
from harness.paho_client import Paho
from harness.trouble import Traced
from harness.wait import wait_until

pytestmark = pytest.mark.release

POLICY = '''
version: 1
roles:
  peer:
    kind: service
    many: yes
    publish: [ { topic: "t/#", retain: yes }, "mark/#", "live/#" ]
    subscribe: [ "t/#", "mark/#", "live/#" ]
    limits: { connect_rate: 1000/s, connect_burst: 5000, publish_rate: 100000/s, publish_burst: 100000,
              queue_messages: 400000, queue_bytes: 512MiB, retained_count: 10000, retained_bytes: 64MiB }
'''
MAX_AGE = 14
SIZE, N = 20_000, 300  # several times what the store takes before it is on disk
FEW = 15  # in flight with QoS 1 or 2, at most


@pytest.fixture
def fortress(make_fortress):
    one = make_fortress(listeners=('mqtts',), settings=('segment_bytes=2MiB', 'keep_bytes=32MiB'), policy=None)
    one.apply(POLICY)
    yield one


@pytest.fixture
def peer(fortress):
    return fortress.add('peer', name='peer-1', credentials=('x509',))


class Flood(threading.Thread):
    """N retained messages with QoS 0, as fast as they are read: nobody answers these, so a server that is behind can but read no
    more. The one behind them, with QoS 1, is answered when all were taken."""

    def __init__(self, fortress, device):
        super().__init__(daemon=True)
        self.wire = wire.Wire(fortress, device, timeout=90).login('flood')
        self.start()

    def run(self):
        for i in range(N):
            self.wire.send(wire.publish(f't/many/{i}', b'x' * SIZE, retain=True))
        self.wire.send(wire.publish('t/many/last', b'last', 1, 1, retain=True))

    def answer(self):
        reason = self.wire.expect(wire.PUBACK, 60).reason
        self.join(60)
        self.wire.close()
        return reason


def warnings(fortress):
    return [event for event in fortress.events() if event['category'] == 'store_space']


def is_served_without_the_disk(fortress, device):
    with wire.Wire(fortress, device).login('sub') as sub, wire.Wire(fortress, device).login('pub') as pub:
        sub.send(wire.subscribe(1, ('live/#', 1))).expect(wire.SUBACK)
        pub.send(wire.publish('live/x', 'still here', 1, 7))
        assert pub.expect(wire.PUBACK).reason < 0x80
        assert sub.expect(wire.PUBLISH).body.endswith(b'still here')


def test_a_disk_that_is_slow_for_seconds_refuses_nobody(fortress, peer):
    """Retained with QoS 0, kept with QoS 1 and 2, a session and a subscription that last: all wait, none is refused."""
    sleeper = Sleeper(fortress, peer, client_id='sleeper')
    talker = Talker(fortress, peer, size=SIZE, client_id='talker')
    with Traced(fortress, 'fdatasync:delay_enter=2000000:when=1+3') as traced:
        flood = Flood(fortress, peer)
        with Paho(peer, 'twice', session_expiry=3600) as twice:
            for _ in range(FEW):
                talker.say()
            for i in range(FEW // 3):
                twice.publish('t/kept', f'twice-{i:06}', qos=2, timeout=60)
            assert twice.subscribe('t/none', timeout=60) == [1]
        is_served_without_the_disk(fortress, peer)
        for _ in range(FEW):
            assert talker.hear(60)[1] < 0x80
        assert flood.answer() < 0x80
    assert '(DELAYED)' in traced.text
    assert not warnings(fortress)
    now = metrics(fortress)
    assert now['retained_messages'] == N + 1, 'all of the flood'
    nothing_is_lost_or_made_up(sleeper, talker)
    assert {b'twice-%06d' % i for i in range(FEW // 3)} <= set(sleeper.got)
    fortress.kill()
    fortress.start()
    wait_until('the retained messages to be back', lambda: metrics(fortress)['retained_messages'] == N + 1)


def test_coap_is_put_off_and_told_when_to_come_again(make_fortress):
    """Also over TCP: a request is answered, not held; and who waits for CONNACK is not silent. What was not put off is there, also after a crash."""
    fortress = make_fortress(listeners=('mqtts', 'coaps+tcp'), settings=('segment_bytes=2MiB', 'keep_bytes=32MiB'), policy=None)
    fortress.apply(POLICY)
    peer = fortress.add('peer', name='peer-1', credentials=('x509',))
    clients = [coap_tcp.Peer(peer) for _ in range(16)]  # each may have 16 requests open: more than the store takes at once
    with Traced(fortress, 'fdatasync:delay_enter=5000000') as traced:
        for i, client in enumerate(clients):
            for k in range(16):
                client.ask(PUT, f'/mq/t/many/{i}-{k}', b'x' * SIZE)
        # Who comes now with a session that lasts waits for CONNACK, longer than its keep-alive allows silence: the server keeps it waiting.
        patient = wire.Wire(fortress, peer)
        assert patient.send(wire.connect('patient', keep_alive=1, properties=EXPIRY)).expect(wire.CONNACK, 60).reason == 0
        patient.send(wire.packet(wire.PINGREQ)).expect(wire.PINGRESP)
        patient.close()
        answers = [answer for client in clients for answer in client.answers(16)]
    assert '(DELAYED)' in traced.text
    taken = [answer for answer in answers if answer.text == '2.01']
    put_off = [answer for answer in answers if answer.text == '5.03']
    assert taken and put_off and len(taken) + len(put_off) == len(answers), {answer.text for answer in answers}
    for answer in put_off:
        assert answer.payload == b'the store takes nothing now; come again after Max-Age'
        assert answer.number(MAX_AGE) > 0
    said = fortress.wait_event('store_space', severity='warning', principal='peer-1', target=re.compile('^(/mq/)?t/many/'))
    assert all('is behind' in event['reason'] for event in said), said
    for client in clients:
        client.close()
    fortress.kill()
    fortress.start()
    wait_until('what was taken to be back', lambda: metrics(fortress)['retained_messages'] == len(taken))


def test_a_disk_that_stands_still_refuses_and_says_so(fortress, peer):
    """After ten seconds in which it took nothing; what needs no disk goes on, and it ends by itself."""
    sleeper = Sleeper(fortress, peer, client_id='sleeper')
    before = fortress.processes()
    talker, late = (Talker(fortress, peer, size=5 * SIZE, client_id=name) for name in ('talker', 'late'))
    with Traced(fortress, 'fdatasync:delay_enter=90000000'):
        flood = Flood(fortress, peer)
        for _ in range(FEW):
            talker.say()
        fortress.wait_event('store_space', timeout=60, severity='warning', target=re.compile('^t/'),
                            reason=re.compile('too slow: it has taken nothing for 10 s'))
        flood.join(60)  # all was read, and most of it refused
        assert late.publish() == FULL, 'at once: nobody waits for such a disk'
        is_served_without_the_disk(fortress, peer)
        assert fortress.json('status')[0]['store']['state'] == 'fine', 'it is not full, and nothing has failed'
    flood.answer()
    for _ in range(FEW):
        talker.hear(60)
    wait_until('the store to take messages again', lambda: late.publish() < 0x80, timeout=30)
    assert fortress.processes() == before
    nothing_is_lost_or_made_up(sleeper, talker, late)
