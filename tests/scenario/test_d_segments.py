"""d: who belongs to a segment logs in there and nowhere else, and is heard elsewhere only by a flow of the policy."""
import re

import pytest

from harness import coap, wire
from harness.fortress import Refused, counted, metrics
from harness.refusal import Watch
from harness.websocket import WebSocket
from harness.wire import CONNACK, PUBACK, PUBLISH, SUBACK, Wire

pytestmark = pytest.mark.release

CONTROL = {'segment': 'control'}
EXPIRY = b'\x11\x00\x00\x0e\x10'
LIVE = ('t/#', 0x21)  # nothing that is retained
DROPPED = 'dropped_total{reason="segment"}'
POLICY = """
version: 1
roles:
  any: { client_id: "*", publish: [ { topic: "t/#", retain: yes } ], subscribe: [ "t/#" ] }
  sensor: {}
flows:
  - { from: field, to: control, topics: [ "t/open/#", "t/more" ] }
"""
CLOSED = POLICY[:POLICY.index('flows:')]


def make(apply=POLICY):
    """mqtts is of segment field, wss and coaps are of segment control."""
    from harness.fortress import Fortress
    one = Fortress(listeners=('mqtts', 'coaps', 'wss'), start=False)
    one.configure('auth: [psk, x509], segment: field', 'auth: [psk, x509], segment: control')
    one.configure('websocket: yes, auth: [x509, password, token], segment: field',
                  'websocket: yes, auth: [x509, password, token], segment: control')
    one.start()
    one.apply(apply)
    return one


@pytest.fixture(scope='module')
def plant():
    one = make()
    yield one
    one.close()


@pytest.fixture
def own_plant():
    one = make()
    yield one
    one.close()


def publish(client, topic, payload='x', packet_id=1, retain=False):
    reason = client.send(wire.publish(topic, payload, qos=1, packet_id=packet_id, retain=retain)).expect(PUBACK).reason
    assert reason in (0, 0x10), hex(reason)


def heard(client):
    """The topic of the next PUBLISH (QoS 1), acknowledged."""
    got = client.expect(PUBLISH)
    n = int.from_bytes(got.body[:2], 'big')
    client.send(wire.packet(PUBACK, got.body[2 + n:4 + n]))
    return got.body[2:2 + n].decode()


# -- logging in ------------------------------------------------------------------------------------------------------------

def test_a_device_logs_in_at_its_own_segment_only(plant):
    here, there = plant.add('any'), plant.add('any', attributes=CONTROL)
    for device, good, bad, words in ((here, Wire, WebSocket, 'segment field, this listener to control'),
                                     (there, WebSocket, Wire, 'segment control, this listener to field')):
        with good(plant, device) as client:
            client.login(device.name)
        watch = Watch(plant)
        with bad(plant, device) as client:
            answer = client.send(wire.connect(device.name)).expect(CONNACK)
            assert answer.reason == 0x87
            peer = client.peer
        watch.expect('identity_mismatch', peer, device.name, reason=re.compile(words), fix='use a listener of its own segment')


def test_the_same_at_the_coap_door(plant):
    here = plant.add('any', credentials=('psk',))
    there = plant.add('any', credentials=('psk',), attributes=CONTROL)
    build = coap.BUILDS[0]
    put = coap.request(build, there, 'put', 'mq/t/coap', payload='1')
    assert put.code is None, put.text
    lost = coap.request(build, here, 'get', 'mq/t/coap', wait_s=3)
    assert lost.payload != '1'
    plant.wait_event('identity_mismatch', principal=here.name, listener='coaps', protocol='coap',
                     reason=re.compile('segment field, this listener to control'))


# -- flows -----------------------------------------------------------------------------------------------------------------

def test_only_a_flow_leads_from_one_segment_to_another(plant):
    """What has no flow is counted, one event says why; within the segment all is heard; no flow leads back."""
    sender, near = plant.add('any'), plant.add('any')
    far = plant.add('any', attributes=CONTROL)
    before = metrics(plant)[DROPPED]
    with Wire(plant, sender) as out, Wire(plant, near) as inside, WebSocket(plant, far) as outside:
        for client, device in ((out, sender), (inside, near), (outside, far)):
            client.login(device.name)
        for client in (inside, outside):
            client.send(wire.subscribe(1, LIVE)).expect(SUBACK)
        for i, topic in enumerate(('t/closed', 't/closed/2', 't/open/a', 't/openly', 't/more')):
            out.send(wire.publish(topic, 'x', qos=1, packet_id=i + 1))
        assert [heard(inside) for _ in range(5)] == ['t/closed', 't/closed/2', 't/open/a', 't/openly', 't/more']
        assert [heard(outside) for _ in range(2)] == ['t/open/a', 't/more']
        outside.send(wire.publish('t/open/back', 'x', qos=1))
        assert {one.kind for one in (outside.receive(), outside.receive())} == {PUBACK, PUBLISH}, 'its own segment hears it'
        out.send(wire.publish('t/open/last', 'x', qos=1, packet_id=9))
        assert heard(inside) == 't/open/last', 'what came from control is not heard in field'
    counted(plant, DROPPED, before + 3)
    event = plant.wait_event('acl_deny', principal=far.name)[0]
    assert re.search('no flow from segment field to control has this topic.*`flows` of policy.yaml', event['reason'])


def test_what_is_retained_stays_in_its_segment(plant):
    sender = plant.add('any')
    far = plant.add('any', credentials=('x509', 'psk'), attributes=CONTROL)
    with Wire(plant, sender) as out:
        out.login(sender.name)
        publish(out, 't/kept', 'closed', 1, retain=True)
        publish(out, 't/open/kept', 'open', 2, retain=True)
    with WebSocket(plant, far) as client:
        client.login(far.name)
        client.send(wire.subscribe(1, 't/kept', 't/open/kept')).expect(SUBACK)
        assert heard(client) == 't/open/kept'
        assert client.send(wire.packet(wire.PINGREQ)).receive().kind == wire.PINGRESP
    build = coap.BUILDS[0]
    assert coap.request(build, far, 'get', 'mq/t/open/kept').payload == 'open'
    assert coap.request(build, far, 'get', 'mq/t/kept').code == '4.04'
    listing = coap.request(build, far, 'get', '.well-known/core').payload
    assert '/mq/t/open/kept' in listing and '/mq/t/kept' not in listing, listing


def test_an_observer_hears_by_the_same_rules(plant):
    sender = plant.add('any')
    far = plant.add('any', credentials=('psk',), attributes=CONTROL)
    build = coap.BUILDS[0]
    with Wire(plant, sender) as out:
        out.login(sender.name)
        publish(out, 't/open/seen', 'first', 1, retain=True)
        with coap.Observer(build, far, 'mq/t/open/seen') as seen, coap.Observer(build, far, 'mq/t/unseen') as unseen:
            seen.expect('first')
            plant.wait_event('allow', principal=far.name, target=re.compile('unseen'))
            publish(out, 't/unseen', 'secret', 2)
            publish(out, 't/open/seen', 'second', 3)
            seen.expect('second')
            with pytest.raises(AssertionError):
                unseen.expect('secret', 1)


def test_a_will_stays_in_its_segment(plant):
    near, far = plant.add('any'), plant.add('any', attributes=CONTROL)
    with Wire(plant, near) as inside, WebSocket(plant, far) as outside:
        inside.login(near.name)
        outside.login(far.name)
        for client in (inside, outside):
            client.send(wire.subscribe(1, LIVE)).expect(SUBACK)
        for topic in ('t/will', 't/open/will'):
            gone = plant.add('any')
            with Wire(plant, gone) as client:
                client.login(gone.name, will=(topic, b'gone', 1, False))
            assert heard(inside) == topic
        assert heard(outside) == 't/open/will'


def test_shared_subscriptions_pass_over_members_that_may_not_hear(plant):
    sender, near = plant.add('any'), plant.add('any')
    far = plant.add('any', attributes=CONTROL)
    with Wire(plant, sender) as out, Wire(plant, near) as inside, WebSocket(plant, far) as outside:
        for client, device in ((out, sender), (inside, near), (outside, far)):
            client.login(device.name)
        for client in (inside, outside):
            client.send(wire.subscribe(1, '$share/g/t/shared')).expect(SUBACK)
        for i in range(6):
            publish(out, 't/shared', str(i), i + 1)
        assert [heard(inside) for _ in range(6)] == ['t/shared'] * 6


def test_an_anonymous_client_belongs_to_its_listener(make_fortress):
    fortress = make_fortress(listeners=('mqtts', 'mqtt'), start=False)
    fortress.configure('plain: yes, auth: [password, token], segment: field', 'plain: yes, auth: [password, token], segment: control')
    fortress.start()
    fortress.apply(POLICY)
    fortress.cli('exception', 'add', '--listener', 'mqtt', '--allow', 'plaintext,anonymous', '--role', 'any', '--for', '1h',
                 '--reason', 'test')
    sender, near = fortress.add('any'), fortress.add('any')
    with Wire(fortress, sender) as out, Wire(fortress, near) as inside, Wire(fortress, plain='mqtt') as stranger:
        out.login(sender.name)
        inside.login(near.name)
        stranger.login('stranger')
        for client in (inside, stranger):
            client.send(wire.subscribe(1, 't/#')).expect(SUBACK)
        publish(out, 't/closed', packet_id=1)
        publish(out, 't/more', packet_id=2)
        assert [heard(inside), heard(inside), heard(stranger)] == ['t/closed', 't/more', 't/more']
        stranger.send(wire.publish('t/theirs', 'x', qos=1))
        assert {one.kind for one in (stranger.receive(), stranger.receive())} == {PUBACK, PUBLISH}
        fortress.wait_event('acl_deny', principal=near.name, target='t/theirs')
        publish(out, 't/last', packet_id=3)
        assert heard(inside) == 't/last'


# -- time ------------------------------------------------------------------------------------------------------------------

def test_both_ends_are_asked_again_when_flows_change(own_plant):
    """Queued before, judged at delivery: without the flow it is dropped, with it it comes, after kill -9 too."""
    sender, far = own_plant.add('any'), own_plant.add('any', attributes=CONTROL)

    def sleep():
        with WebSocket(own_plant, far) as client:
            client.login(far.name, clean=False, properties=EXPIRY)
            client.send(wire.subscribe(1, 't/#')).expect(SUBACK)
            client.send(wire.packet(wire.DISCONNECT))

    def say(topic):
        with Wire(own_plant, sender) as out:
            out.login(sender.name)
            publish(out, topic)

    def wake():
        client = WebSocket(own_plant, far)
        client.send(wire.connect(far.name, clean=False, properties=EXPIRY))
        assert client.expect(CONNACK).body[0] == 1
        return client

    sleep()
    say('t/open/queued')
    own_plant.apply(CLOSED)
    with wake() as client:
        assert client.send(wire.packet(wire.PINGREQ)).receive().kind == wire.PINGRESP, 'no flow any more'
        client.send(wire.packet(wire.DISCONNECT))
    own_plant.apply(POLICY)
    say('t/open/again')
    own_plant.kill()
    own_plant.start()
    with wake() as client:
        assert heard(client) == 't/open/again', 'the segment of a message survives a crash'


# -- words -----------------------------------------------------------------------------------------------------------------

def test_a_segment_is_a_name(plant):
    with pytest.raises(Refused) as refused:
        plant.add('any', attributes={'segment': 'a b'})
    assert 'a segment is a name' in refused.value.stderr


def test_explain_says_where_the_words_go(plant):
    here, there = plant.add('any'), plant.add('any', attributes=CONTROL)
    said = plant.cli('policy', 'explain', here.name, 'publish', 't/open/x')
    assert re.search(r'allow.*\n?segment field; heard in other segments: control \(t/open/#\)', said), said
    assert 'heard in other segments: nothing' in plant.cli('policy', 'explain', here.name, 'publish', 't/x')
    said = plant.cli('policy', 'explain', there.name, 'subscribe', 't/#')
    assert 'segment control; hears of other segments: field (t/open/#), field (t/more)' in said


@pytest.mark.parametrize('flows,complaint', [
    ('[ { from: field, to: field, topics: [a] } ]', 'a flow leads from one segment to another'),
    ('[ { from: field, to: control } ]', 'a flow needs from, to and topics'),
    ('[ { from: field, to: control, topics: [] } ]', 'a flow needs at least one topic'),
    ('[ { from: field, to: control, topics: ["a/#/b"] } ]', 'is no topic filter'),
], ids=['one segment', 'no topics', 'empty', 'filter'])
def test_a_mistake_in_flows_has_a_place(plant, flows, complaint):
    path = plant.home / 'bad.yaml'
    path.write_text(CLOSED + 'flows: ' + flows + '\n')
    with pytest.raises(Refused) as refused:
        plant.cli('policy', 'check', path)
    assert re.search(rf'bad\.yaml:\d+:\d+: .*{complaint}', refused.value.stderr), refused.value.stderr
