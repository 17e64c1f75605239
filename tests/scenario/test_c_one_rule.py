"""c: one rule for both doors. Whoever may only read its firmware is refused by the same words over MQTT and CoAP, and `policy explain`
says them before anybody tries."""
import re

import pytest

from harness import coap, mosquitto, wire
from harness.fortress import Fortress
from harness.wire import PUBACK, Wire

pytestmark = pytest.mark.release

POLICY = '''
version: 1
roles:
  reader:
    publish:   [ "sensors/${device}/+" ]
    subscribe: [ "fw/${class}" ]
    resources: [ { path: "/fw/${class}", methods: [GET] } ]
  maker:
    publish:   [ { topic: "fw/+", retain: yes } ]
    subscribe: [ "fw/+" ]
'''


@pytest.fixture(scope='module')
def fortress():
    one = Fortress(policy=None)
    one.apply(POLICY)
    yield one
    one.close()


def explain(fortress, device, action, what):
    return fortress.json('policy', 'explain', device.name, action, what)[0]


@pytest.mark.skipif(not coap.BUILDS, reason='no coap-client')
@pytest.mark.parametrize('build', coap.BUILDS)
def test_a_reader_does_not_write_its_firmware(fortress, build):
    reader = fortress.add('reader', credentials=('psk', 'x509'), attributes={'class': 'esp32'})
    maker = fortress.add('maker', credentials=('x509',))
    mosquitto.publish(maker, 'fw/esp32', 'good firmware', '-r', qos=1)
    assert coap.request(build, reader, 'get', 'mq/fw/esp32').payload == 'good firmware'

    put = coap.request(build, reader, 'put', 'mq/fw/esp32', payload='bad firmware')
    assert put.code == '4.03', put.text
    by_coap = fortress.wait_event('acl_deny', principal=reader.name, protocol='coap', target='fw/esp32')[0]
    with Wire(fortress, reader) as client:
        client.login(reader.name)
        client.send(wire.publish('fw/esp32', 'bad firmware', qos=1, retain=True))
        assert client.expect(PUBACK).reason == 0x87
    by_mqtt = fortress.wait_event('acl_deny', principal=reader.name, protocol='mqtt', target='fw/esp32')[0]
    rule = by_mqtt['reason']
    assert by_coap['reason'] == f'PUT was refused with 4.03: {rule}'
    assert re.search("no publish grant of role reader .*'fw/esp32'", rule)
    for action, what in (('publish', 'fw/esp32'), ('retain', 'fw/esp32'), ('put', '/mq/fw/esp32'), ('post', '/mq/fw/esp32'),
                         ('delete', '/mq/fw/esp32')):
        said = explain(fortress, reader, action, what)
        assert (said['decision'], said['rule']) == ('deny', rule), (action, what)
    assert coap.request(build, reader, 'get', 'mq/fw/esp32').payload == 'good firmware'


@pytest.mark.skipif(not coap.BUILDS, reason='no coap-client')
def test_what_is_allowed_is_explained_by_one_rule(fortress):
    reader = fortress.add('reader', credentials=('psk',), attributes={'class': 'esp32'})
    said = explain(fortress, reader, 'get', '/mq/fw/esp32')
    assert said['decision'] == 'allow'
    assert said['rule'] == explain(fortress, reader, 'subscribe', 'fw/esp32')['rule']
    maker = fortress.add('maker', credentials=('x509',))
    assert explain(fortress, maker, 'put', '/mq/fw/esp32')['rule'] == explain(fortress, maker, 'retain', 'fw/esp32')['rule']
    # A patch reads and writes: whoever may do but one of them is refused by the rule of the other.
    assert explain(fortress, reader, 'patch', '/mq/fw/esp32')['rule'] == explain(fortress, reader, 'retain', 'fw/esp32')['rule']


@pytest.mark.skipif(not coap.BUILDS, reason='no coap-client')
def test_a_resource_beside_the_topics(fortress):
    """The same for a path that is no topic: 4.03 by the rule that allows GET alone, and the explanation names its line."""
    reader = fortress.add('reader', credentials=('psk',), attributes={'class': 'esp32'})
    put = coap.request(coap.BUILDS[0], reader, 'put', 'fw/esp32', payload='bad firmware')
    assert put.code == '4.03', put.text
    event = fortress.wait_event('acl_deny', principal=reader.name, protocol='coap', target='/fw/esp32')[0]
    said = explain(fortress, reader, 'put', '/fw/esp32')
    assert said['decision'] == 'deny'
    assert event['reason'] == f'PUT was refused with 4.03: {said["rule"]}'
    assert re.search(r'role reader, line \d+: .*does not allow this method', said['rule'])
    assert explain(fortress, reader, 'get', '/fw/esp32')['decision'] == 'allow'
