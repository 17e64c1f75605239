"""b: the resource directory (RFC 9176): devices register themselves, operators look, and command what they found."""
import re

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from harness import coap
from harness.coap_device import CoapDevice
from harness.coap_message import CONTENT_FORMAT, GET, POST, URI_QUERY
from harness.coap_peer import Peer
from harness.fortress import Fortress, counted
from harness.paho_client import Paho
from harness.wait import wait_until

POLICY = """
version: 1
roles:
  lamp:
    publish: [ "lamps/${device}/#" ]
    resources:
      - { path: "/rd/#", methods: [POST, DELETE] }
      - { path: "/.well-known/rd", methods: [POST] }
      - { path: "/rd-lookup/+", methods: [GET] }
  operator:
    publish: [ "$coap/+/GET/light/#", "replies/${device}/#" ]
    subscribe: [ "replies/${device}/#" ]
    resources: [ { path: "/rd-lookup/+", methods: [GET] } ]
  visitor:
    resources: [ { path: "/rd-lookup/+", methods: [GET] } ]
"""
CREATED, CHANGED, CONTENT = 0x41, 0x44, 0x45
LOCATION_PATH = 8
BAD, FORBIDDEN, NOT_FOUND, TOO_LARGE = 0x80, 0x83, 0x84, 0x8d
LINKS = '</light/1>;rt=light;if=core.a,</fw>;rt=fw'
LIST = [(CONTENT_FORMAT, 40)]


@pytest.fixture(scope='module')
def place():
    one = Fortress(('mqtts', 'coaps'), policy=None, settings=['registration_links=8', 'registration_bytes=512'])
    one.apply(POLICY)
    yield one
    one.close()


@pytest.fixture
def operator(place):
    return place.add('operator', credentials=('psk', 'x509'))


def lamp_of(place):
    return place.add('lamp', credentials=('psk',))


def queries(*parts):
    return [(URI_QUERY, part.encode()) for part in parts]


def register(peer, *parts, links=LINKS):
    return peer.ask(POST, '/rd', links.encode(), [*queries(*parts), *LIST])


def look(peer, kind='res', *parts):
    m = peer.ask(GET, f'/rd-lookup/{kind}', b'', queries(*parts))
    assert m.code == CONTENT
    return m.payload.decode()


def finds(build, who, path, more=()):
    """As soon as the worker that is asked knows of it."""
    return wait_until(f'something at {path}', lambda: coap.request(build, who, 'get', path, more=more).payload)


@pytest.mark.release
@pytest.mark.parametrize('build', coap.BUILDS)
def test_coap_client_registers_and_looks(place, operator, build):
    lamp = lamp_of(place)
    answer = coap.request(build, lamp, 'post', 'rd?lt=3600&et=lamp', LINKS, ('-t', '40', '-v', '7'))
    assert answer.code is None and re.search(rf'Location-Path:rd, Location-Path:{lamp.name}', answer.text), answer.text
    found = finds(build, operator, f'rd-lookup/ep?ep={lamp.name}')
    assert re.fullmatch(rf'</rd/{lamp.name}>;ep="{lamp.name}";d="field";base="coaps://127\.0\.0\.1:\d+";'
                        r'rt="core.rd-ep";et="lamp"', found), found
    found = finds(build, operator, f'rd-lookup/res?ep={lamp.name}', ('-b', '16'))
    assert re.fullmatch(r'<coaps://127\.0\.0\.1:\d+/light/1>;rt=light;if=core.a', found), found
    other = lamp_of(place)
    assert coap.request(build, other, 'post', f'rd?ep={lamp.name}', LINKS, ('-t', '40')).code == '4.03'
    place.wait_event('acl_deny', principal=other.name, about='the endpoint name of a registration')
    assert coap.request(build, other, 'delete', f'rd/{lamp.name}').code == '4.03'
    assert coap.request(build, lamp, 'delete', f'rd/{lamp.name}').code is None
    wait_until('it to be gone', lambda: coap.request(build, operator, 'get', f'rd-lookup/ep?ep={lamp.name}').payload == '')


def test_who_looks_finds_whom_to_command(place, operator):
    """Over MQTT, with what a lookup over CoAP has found."""
    lamp = lamp_of(place)

    def serve(served):
        return CONTENT, b'on' if served.path == '/light/1' else b'?', []
    with CoapDevice(lamp, serve) as device, Peer(operator) as looks, Paho(operator) as mqtt:
        device.peer.send(device.peer.make(POST, '/rd', LINKS.encode(), LIST))
        wait_until('the lamp to be found', lambda: f'ep="{lamp.name}"' in look(looks, 'ep', 'rt=light'))
        found = look(looks, 'res', f'ep={lamp.name}', 'rt=light')
        target = re.match(r'<coaps://[^/]+(/[^>]*)>', found).group(1)
        assert mqtt.subscribe(f'replies/{operator.name}/#') == [1]
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = f'replies/{operator.name}/1'
        mqtt.publish(f'$coap/{lamp.name}/GET{target}', b'', properties=properties)
        answer = mqtt.get(30)
        assert answer.payload == b'on' and dict(answer.properties.UserProperty)['coap-code'] == '2.05'


def test_a_simple_device_is_asked(place, operator):
    lamp = lamp_of(place)

    def serve(served):
        if served.path != '/.well-known/core':
            return NOT_FOUND, b'', []
        return CONTENT, LINKS.encode(), LIST
    with CoapDevice(lamp, serve) as device, Peer(operator) as looks:
        device.peer.send(device.peer.make(POST, '/.well-known/rd', b'', queries('lt=600')))
        assert device.wait_asked().path == '/.well-known/core'
        wait_until('the lamp to be found', lambda: lamp.name in look(looks, 'ep', 'rt=light'))


def test_a_registration_lives_as_its_device(place, operator):
    """Updated at any worker, seen at all of them, gone with the device."""
    lamp, names = lamp_of(place), []
    with Peer(lamp) as one, Peer(operator) as looks:
        m = register(one, 'lt=600')
        assert m.code == CREATED
        names = [value.decode() for number, value in m.options if number == LOCATION_PATH]
        assert names == ['rd', lamp.name]
        before = look(looks, 'res', f'ep={lamp.name}')
        with Peer(lamp) as two:
            assert two.ask(POST, f'/rd/{lamp.name}').code == CHANGED
            wait_until('the new place', lambda: look(looks, 'res', f'ep={lamp.name}') not in ('', before))
            counted(place, 'registrations', 1)
            place.cli('device', 'remove', lamp.name)
            assert look(looks, 'ep', f'ep={lamp.name}') == ''


def test_what_is_hostile_is_refused(place, operator):
    lamp, visitor = lamp_of(place), place.add('visitor', credentials=('psk',))
    with Peer(lamp) as peer, Peer(visitor) as guest, Peer(operator) as looks:
        cases = [((), '<coap://192.0.2.1/light/1>;rt=light', BAD), ((), '</light/1>;rt=light;ep=other', BAD),
                 ((), '</light/../../x>', BAD), ((), '</light', BAD), (('lt=1',), LINKS, BAD),
                 (('base=coaps://192.0.2.1:5684',), LINKS, FORBIDDEN), (('d=plant',), LINKS, FORBIDDEN),
                 ((), ','.join(f'</{i}>' for i in range(9)), TOO_LARGE), ((), f'</a>;title="{"x" * 512}"', TOO_LARGE)]
        for parts, links, code in cases:
            assert register(peer, *parts, links=links).code == code, links
        assert look(looks, 'ep', f'ep={lamp.name}') == ''
        place.wait_event('malformed', principal=lamp.name, about='a target is a path of the device itself')
        place.wait_event('quota', principal=lamp.name, about='registration_bytes')
        assert register(peer).code == CREATED
        assert register(guest).code == FORBIDDEN
        assert look(guest, 'ep') == look(guest, 'res') == ''  # it may command nobody
        assert 'rt=fw' not in look(looks, 'res', f'ep={lamp.name}')  # no grant reaches it
        assert peer.ask(GET, '/.well-known/core', b'', queries('rt=core.rd*')).payload.count(b'core.rd') == 3
        assert peer.is_alive() and guest.is_alive()
