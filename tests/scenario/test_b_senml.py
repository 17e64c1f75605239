"""b: FETCH and (i)PATCH of SenML packs (RFC 8790), in JSON and CBOR, through every door: what is selected, what is changed, what is refused."""
import json

import cbor2
import pytest

from harness import coap, coap_cli, coap_tcp, mosquitto, oscore
from harness.coap_message import ACCEPT, BLOCK2, CONTENT_FORMAT, ETAG, FETCH, GET, IPATCH, OBSERVE, PATCH, PUT, block
from harness.coap_peer import Peer
from harness.fortress import Fortress
from harness.mosquitto import Subscriber
from harness.wait import wait_until

pytestmark = pytest.mark.release
IF_MATCH, SENML, SENML_CBOR, ETCH, ETCH_CBOR, MERGE = 1, 110, 112, 320, 322, 52
PACK = '[{"bn":"light/","n":"on","vb":true},{"n":"level","v":42.50},{"n":"name","vs":"Ceiling light"}]'
LEVEL = '[{"bn":"light/","n":"level","v":42.50}]'
LARGE = json.dumps([{'n': f'large/{i}', 'vs': f'{i:064}'} for i in range(40)], separators=(',', ':'))
LARGE_NAMES = json.dumps([{'n': f'large/{i}'} for i in range(60)])
LABELS = {'bn': -2, 'bt': -3, 'bu': -4, 'n': 0, 'u': 1, 'v': 2, 'vs': 3, 'vb': 4, 't': 6}
POLICY = """
version: 1
roles:
  lamp:
    publish: [ { topic: "lamps/${device}/#", retain: yes } ]
    subscribe: [ "lamps/${device}/#" ]
    limits: { publish_rate: 1000/s, publish_burst: 1000, replay_rate: 1000/s, retained_bytes: 64KiB }
  reader:
    subscribe: [ "lamps/#" ]
    limits: { replay_rate: 1000/s }
  writer:
    publish: [ { topic: "lamps/#", retain: yes } ]
  desk:
    client_id: "*"
    publish: [ { topic: "lamps/#", retain: yes } ]
    subscribe: [ "lamps/#" ]
"""


def in_cbor(pack):
    return cbor2.dumps([{LABELS[name]: value for name, value in record.items()} for record in json.loads(pack)])


@pytest.fixture(scope='module')
def place():
    one = Fortress(policy=None, listeners=('mqtts', 'coaps', 'coaps+tcp', 'coap'))
    one.apply(POLICY)
    yield one
    one.close()


@pytest.fixture
def lamp(place):
    device = place.add('lamp', credentials=('psk', 'x509', 'oscore'))
    device.topic = f'lamps/{device.name}/state'
    device.path = f'/mq/{device.topic}'
    return device


@pytest.mark.skipif(not coap.BUILDS, reason='libcoap3-bin is not installed')
@pytest.mark.parametrize('build', coap.BUILDS)
def test_debians_client(place, lamp, build):
    def ask(method, payload):
        answer = coap.request(build, lamp, method, lamp.path, payload, more=['-t', str(ETCH)])
        return answer.code or answer.payload
    assert ask('fetch', '[{"n":"light/level"}]') == '4.04'
    assert ask('ipatch', PACK) == ''
    assert ask('fetch', '[{"n":"light/level"}]') == LEVEL
    assert ask('patch', '[{"n":"light/level","v":null},{"n":"light/on","vb":false}]') == ''
    assert json.loads(ask('fetch', '[{"bn":"light/","n":"level"},{"n":"on"}]')) == [{'n': 'light/on', 'vb': False}]
    assert ask('fetch', '[{"n":"light/on","v":1}]') == '4.22'
    assert ask('patch', '[{"n":"light/on","v":null},{"n":"light/name","v":null}]') == ''


    # More than one datagram, both ways.
    assert ask('ipatch', LARGE) == ''
    assert ask('fetch', LARGE_NAMES) == LARGE


def test_our_client(place, lamp):
    def ask(method, payload, *more, scheme='coaps', **how):
        return coap_cli.run(method, f'{scheme}://localhost:{place.ports[scheme]}{lamp.path}', '--bundle', str(lamp.bundle),
                            '-t', 'application/senml-etch+json', '-e', payload, *more, **how)
    ask('patch', PACK)
    assert ask('fetch', '[{"n":"light/level"}]').stdout == f'{LEVEL}\n'
    assert '4.22' in ask('ipatch', '[{"n":"light/level"}]', exit_code=1).stderr
    ask('patch', '[{"n":"light/level","v":null},{"n":"light/on","v":null},{"n":"light/name","v":null}]')
    ask('patch', LARGE)
    assert ask('fetch', LARGE_NAMES).stdout == f'{LARGE}\n'
    assert ask('fetch', LARGE_NAMES, '-b', '256').stdout == f'{LARGE}\n'
    assert ask('fetch', LARGE_NAMES, scheme='coap').stdout == f'{LARGE}\n', 'under OSCORE'


def test_what_a_patch_makes_lasts_and_is_told(place, lamp):
    """Seen over MQTT, kept over kill -9; all of a patch or nothing of it."""
    desk = place.add('desk', credentials=('x509',))
    etch = [(CONTENT_FORMAT, ETCH)]
    with Subscriber(desk, f'lamps/{lamp.name}/#', qos=1) as seen:
        with Peer(lamp) as peer:
            mosquitto.publish(desk, lamp.topic, PACK, '-r', qos=1, client_id='publisher')
            assert seen.get()['payload'] == PACK
            # The subscriber's worker and the lamp's hear of it each in their turn.
            wait_until('the value', lambda: peer.exchange(FETCH, lamp.path, b'[{"n":"light/level"}]', etch).payload == LEVEL.encode())
            assert peer.exchange(IPATCH, lamp.path, b'[{"n":"light/on","v":null},{"n":"light/name","v":null}]', etch).text == '2.04'
            assert seen.get()['payload'] == LEVEL
            for code, bad in (('4.00', b'[{"n":'), ('4.22', b'[{"n":"light/level","v":1},{"n":"a"}]'), ('4.22', b'[]')):
                assert peer.exchange(PATCH, lamp.path, bad, etch).text == code
        place.kill()
        place.start()
    with Peer(lamp) as peer:
        got = peer.exchange(GET, lamp.path)
        assert (got.payload, got.number(CONTENT_FORMAT)) == (LEVEL.encode(), SENML)
        assert peer.exchange(PATCH, lamp.path, b'[{"n":"light/level","t":5,"v":1}]', etch).text == '2.04'
        assert peer.exchange(PATCH, lamp.path, b'[{"n":"light/level","v":2}]', etch).text == '4.09', 'which of the two?'
        assert len(json.loads(peer.exchange(GET, lamp.path).payload)) == 2


def test_in_cbor(place, lamp):
    etch = [(CONTENT_FORMAT, ETCH_CBOR)]
    with Peer(lamp) as peer:
        assert peer.exchange(PATCH, lamp.path, in_cbor(PACK), etch).text == '2.01'
        got = peer.exchange(FETCH, lamp.path, in_cbor('[{"n":"light/level"}]'), etch)
        assert (got.payload, got.number(CONTENT_FORMAT)) == (in_cbor(LEVEL), SENML_CBOR)
        patch = cbor2.dumps([{0: 'light/on', 2: None}, {0: 'light/name', 2: None}])
        assert peer.exchange(IPATCH, lamp.path, patch, etch).text == '2.04'
        assert cbor2.loads(peer.exchange(GET, lamp.path).payload) == [{-2: 'light/', 0: 'level', 2: 42.5}]
        wrong = peer.exchange(FETCH, lamp.path, b'[{"n":"light/level"}]', [(CONTENT_FORMAT, ETCH)])
        assert wrong.text == '4.15' and b'322' in wrong.payload
        for code, bad in (('4.00', b'\x81\xa1\x00'), ('4.00', b'\xa0'), ('4.22', b'\x80'), ('4.22', in_cbor('[{"n":"a","v":1}]'))):
            assert peer.exchange(FETCH, lamp.path, bad, etch).text == code


def test_refusals(place, lamp):
    """A code, an event, and the value as it was."""
    one, change = b'[{"n":"light/level"}]', b'[{"n":"light/level","v":1}]'
    etch = [(CONTENT_FORMAT, ETCH)]
    with Peer(lamp) as peer:
        assert peer.exchange(PUT, lamp.path, PACK.encode(), [(CONTENT_FORMAT, SENML)]).text == '2.01'
        for options in ([], [(CONTENT_FORMAT, SENML)], [(CONTENT_FORMAT, 50)], [(CONTENT_FORMAT, MERGE)]):
            assert peer.exchange(FETCH, lamp.path, one, options).text == '4.15'
        assert peer.exchange(PATCH, lamp.path, change, [(CONTENT_FORMAT, 51)]).text == '4.15'
        assert peer.exchange(FETCH, lamp.path, one, [(ACCEPT, 60), *etch][::-1]).text == '4.06'
        assert peer.exchange(FETCH, '/mq/lamps/other/state', one, etch).text == '4.03'
        place.wait_event('acl_deny', principal=lamp.name)
        assert peer.exchange(FETCH, lamp.path, b'[{"n":"a","x":1}]', etch).text == '4.22'
        place.wait_event('protocol_error', principal=lamp.name)
        assert peer.exchange(FETCH, lamp.path, b'\xff', etch).text == '4.00'
        place.wait_event('malformed', principal=lamp.name)
        assert peer.exchange(GET, lamp.path).payload == PACK.encode()
        assert peer.exchange(PUT, lamp.path, b'off', [(CONTENT_FORMAT, 0)]).text == '2.04'
        assert peer.exchange(FETCH, lamp.path, one, etch).text == '4.09'
        assert peer.exchange(PATCH, lamp.path, change, etch).text == '4.09'
        assert peer.exchange(GET, lamp.path).payload == b'off'


def test_the_same_policy_as_get_and_put(place, lamp):
    reader, writer = place.add('reader', credentials=('psk',)), place.add('writer', credentials=('psk',))
    etch, one, change = [(CONTENT_FORMAT, ETCH)], b'[{"n":"light/level"}]', b'[{"n":"light/level","v":1}]'
    with Peer(lamp) as peer:
        assert peer.exchange(PATCH, lamp.path, PACK.encode(), etch).text == '2.01'
    for device, codes in ((reader, ('2.05', '4.03')), (writer, ('4.03', '4.03'))):
        with Peer(device) as peer:
            assert peer.exchange(FETCH, lamp.path, one, etch).text == codes[0]
            assert peer.exchange(PATCH, lamp.path, change, etch).text == codes[1], 'a patch reads and writes'


def test_conditions(place, lamp):
    etch, one = [(CONTENT_FORMAT, ETCH)], b'[{"n":"light/level"}]'
    with Peer(lamp) as peer:
        assert peer.exchange(PATCH, lamp.path, PACK.encode(), etch).text == '2.01'
        tag = peer.exchange(FETCH, lamp.path, one, etch).option(ETAG)
        assert peer.exchange(FETCH, lamp.path, one, [(ETAG, tag), *etch]).text == '2.03'
        assert peer.exchange(FETCH, lamp.path, b'[{"n":"light/on"}]', [(ETAG, tag), *etch]).text == '2.05'
        assert peer.exchange(PATCH, lamp.path, b'[{"n":"light/on","vb":false}]', etch).text == '2.04'
        assert peer.exchange(FETCH, lamp.path, one, [(ETAG, tag), *etch]).text == '2.03', 'of this record it is still so'
        whole = peer.exchange(GET, lamp.path).option(ETAG)
        change = b'[{"n":"light/level","v":7}]'
        assert peer.exchange(IPATCH, lamp.path, change, [(IF_MATCH, tag), *etch]).text == '4.12'
        assert peer.exchange(IPATCH, lamp.path, change, [(IF_MATCH, whole), *etch]).text == '2.04'
        assert peer.exchange(IPATCH, lamp.path, change, [(IF_MATCH, whole), *etch]).text == '4.12'
        assert peer.exchange(FETCH, lamp.path, one, [(ETAG, tag), *etch]).text == '2.05'


def test_over_tcp(place, lamp):
    etch = [(CONTENT_FORMAT, ETCH)]
    with coap_tcp.Peer(lamp) as peer:
        assert peer.exchange(PATCH, lamp.path, PACK.encode(), etch).text == '2.01'
        assert peer.exchange(FETCH, lamp.path, b'[{"n":"light/level"}]', etch).payload == LEVEL.encode()
        for n, code in ((4096, '2.05'), (4097, '4.13')):
            assert peer.exchange(FETCH, lamp.path, b'[{"n":"light/level"}]'.ljust(n), etch).text == code


def test_under_oscore(place, lamp):
    etch = [(CONTENT_FORMAT, ETCH)]
    with oscore.Client(lamp) as client:
        assert client.request(PATCH, lamp.path, PACK.encode(), etch).code == '2.01'
        got = client.request(FETCH, lamp.path, b'[{"n":"light/level"}]', etch)
        assert (got.payload, got.is_protected) == (LEVEL, True)
        assert client.request(FETCH, lamp.path, b'[{"n":"light/level","v":1}]', etch).code == '4.22'
