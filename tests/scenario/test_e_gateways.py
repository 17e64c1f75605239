"""e: a gateway is its own principal, speaks only for the devices assigned to it, and events name both."""
import re
import time

import pytest

from harness import coap, mosquitto, wire
from harness.fortress import Fortress
from harness.paho_client import Paho
from harness.wait import wait_until
from harness.wire import PUBACK, SUBACK, Wire

pytestmark = pytest.mark.release

POLICY = '''
version: 1
roles:
  gateway:
    publish:   [ { topic: "sensors/${assigned}/+", retain: yes }, { topic: "status/${device}", retain: yes } ]
    subscribe: [ "commands/${assigned}/#" ]
  sensor:
    publish:   [ { topic: "sensors/${device}/+", retain: yes } ]
  console:
    many: yes
    publish:   [ { topic: "commands/#", retain: yes } ]
    subscribe: [ "sensors/#" ]
'''
BUILD = coap.BUILDS[0] if coap.BUILDS else None


@pytest.fixture(scope='module')
def fortress():
    one = Fortress(policy=None)
    one.apply(POLICY)
    yield one
    one.close()


class Plant:
    """Two gateways, a device of each, and a console."""

    def __init__(self, fortress, name):
        self.fortress = fortress
        self.a, self.b = (fortress.add('gateway', name=f'{name}-gw-{one}', credentials=('x509', 'psk')) for one in 'ab')
        self.da, self.db = (fortress.add('sensor', name=f'{name}-dev-{one}', credentials=('psk',)) for one in 'ab')
        self.console = fortress.add('console', name=f'{name}-console', credentials=('x509',))
        self.assign(self.da, self.a)
        self.assign(self.db, self.b)

    def assign(self, device, gateway):
        return self.fortress.cli('device', 'assign', device.name, '--gateway', gateway.name if gateway else 'none')

    def watch(self):
        return mosquitto.Subscriber(self.console, *(f'sensors/{one.name}/#' for one in (self.da, self.db)), qos=1)


def test_a_gateway_speaks_for_its_devices_only_and_both_are_named(fortress):
    plant = Plant(fortress, 'names')
    a, b, da, db = plant.a, plant.b, plant.da, plant.db
    with plant.watch() as seen:
        mosquitto.publish(a, f'sensors/{da.name}/t', 'for mine', qos=1)
        assert seen.get()['payload'] == 'for mine'
        with Wire(fortress, a) as client:
            client.login(a.name)
            client.send(wire.publish(f'sensors/{db.name}/t', 'for another', qos=1))
            assert client.expect(PUBACK).reason == 0x87
        mosquitto.publish(b, f'sensors/{db.name}/t', 'for its own', qos=1)
        assert seen.get()['payload'] == 'for its own'
    rule = f'{db.name} is assigned to gateway {b.name}, not to {a.name}'
    denied = fortress.wait_event('acl_deny', principal=a.name, target=f'sensors/{db.name}/t', protocol='mqtt')[0]
    assert rule in denied['reason']
    said, = fortress.json('policy', 'explain', a.name, 'publish', f'sensors/{db.name}/t')
    assert said['decision'] == 'deny' and rule in said['rule']
    assert fortress.json('policy', 'explain', a.name, 'publish', f'sensors/{da.name}/t')[0]['decision'] == 'allow'
    if BUILD:
        assert coap.request(BUILD, a, 'put', f'mq/sensors/{da.name}/t', payload='1').code is None
        assert coap.request(BUILD, a, 'put', f'mq/sensors/{db.name}/t', payload='1').code == '4.03'
        by_coap = fortress.wait_event('acl_deny', principal=a.name, target=f'sensors/{db.name}/t', protocol='coap')[0]
        assert rule in by_coap['reason']
        assert coap.request(BUILD, da, 'put', f'mq/sensors/{da.name}/t', payload='2').code is None, 'the device itself still may'
    # A subscription names the device; who is nobody's, disabled or no device at all is denied by a reason of its own.
    with Wire(fortress, a) as client:
        client.login(a.name)
        for one, code in ((f'commands/{da.name}/#', 1), (f'commands/{db.name}/#', 0x87), ('commands/+/x', 0x87), ('commands/#', 0x87)):
            client.send(wire.subscribe(1, one))
            assert client.expect(SUBACK).reason == code, one
    fortress.wait_event('acl_deny', principal=a.name, target='commands/+/x', reason=re.compile('names one device'))
    listed = {one['name']: one['gateway'] for one in fortress.json('device', 'list', '--where', f'gateway={a.name}')}
    assert listed == {da.name: a.name}
    assert fortress.json('device', 'show', db.name)[0]['gateway'] == b.name


def test_an_assignment_binds_live_sessions_and_what_waits(fortress):
    plant = Plant(fortress, 'moves')
    a, b, da, db, console = plant.a, plant.b, plant.da, plant.db, plant.console
    topic = f'commands/{da.name}/x'
    seen_by_coap = coap.Observer(BUILD, a, f'mq/{topic}') if BUILD else None
    mosquitto.publish(console, topic, 'before', '-r', qos=1)
    if seen_by_coap:
        seen_by_coap.expect('before')
    with Paho(a, session_expiry=600, clean=False) as client:
        assert client.subscribe(f'commands/{da.name}/#') == [1]
        assert client.get().payload == b'before'
    mosquitto.publish(console, topic, 'waits for a', qos=1)  # a is asleep
    with Paho(b, session_expiry=600, clean=False) as other:
        assert other.subscribe(f'commands/{db.name}/#') == [1]
        begin = time.monotonic()
        plant.assign(da, b)
        assert other.subscribe(f'commands/{da.name}/#') == [1]
        assert other.get().payload == b'before'
        assert time.monotonic() - begin < 60, 'the command returns when every worker has it'
        mosquitto.publish(console, topic, 'after', qos=1)
        assert other.get().payload == b'after'
    with Wire(fortress, a) as client:
        client.login(a.name, clean=False)
        client.send(wire.publish(f'status/{a.name}', 'x', qos=1))
        assert client.expect(PUBACK).reason == 0, 'what waited was for a device that is another gateway\'s now, and did not come'
    if seen_by_coap:
        wait_until('the end of the observation', lambda: any('4.03' in line for line in seen_by_coap.seen))
        assert 'after' not in seen_by_coap.seen
        seen_by_coap.__exit__()
    fortress.wait_event('acl_deny', principal=a.name, target=re.compile(f'commands/{da.name}/'), reason=re.compile('assignment|observation'))
    plant.assign(da, None)
    for gateway in (a, b):
        with Wire(fortress, gateway) as client:
            client.login(gateway.name)
            client.send(wire.publish(f'sensors/{da.name}/t', 'x', qos=1))
            assert client.expect(PUBACK).reason == 0x87
    fortress.wait_event('acl_deny', principal=b.name, reason=re.compile(f'{da.name} is assigned to no gateway'))


def test_revoking_a_gateway_stops_only_its_devices(fortress):
    plant = Plant(fortress, 'ends')
    a, b, da, db = plant.a, plant.b, plant.da, plant.db
    with Wire(fortress, a) as one, Wire(fortress, b) as other, plant.watch() as seen:
        one.login(a.name)
        other.login(b.name)
        fortress.cli('device', 'revoke', a.name, '--reason', 'stolen')
        one.expect_close(30)
        other.send(wire.publish(f'sensors/{db.name}/t', 'goes on', qos=1))
        assert other.expect(PUBACK).reason == 0
        assert seen.get()['payload'] == 'goes on'
        # The device is not the gateway: another one may take it over.
        plant.assign(da, b)
        other.send(wire.publish(f'sensors/{da.name}/t', 'taken over', qos=1))
        assert other.expect(PUBACK).reason == 0
        assert seen.get()['payload'] == 'taken over'
        fortress.cli('device', 'disable', db.name)
        other.send(wire.publish(f'sensors/{db.name}/t', 'x', qos=1))
        assert other.expect(PUBACK).reason == 0x87
    fortress.wait_event('acl_deny', principal=b.name, reason=re.compile(f'{db.name}, assigned to gateway {b.name}, is disabled'))
    refused = fortress.cli('device', 'assign', da.name, '--gateway', a.name, check=False)
    assert refused.returncode == 1 and 'revoked' in refused.stderr
    for gateway in (da.name, 'nobody'):
        assert fortress.cli('device', 'assign', da.name, '--gateway', gateway, check=False).returncode == 1


def test_assignments_survive_a_kill(make_fortress):
    fortress = make_fortress(policy=None)
    fortress.apply(POLICY)
    plant = Plant(fortress, 'stays')
    with Wire(fortress, plant.a) as client:
        client.login(plant.a.name)
        plant.assign(plant.db, plant.a)
        fortress.kill()
    fortress.start()
    with Wire(fortress, plant.a) as client:
        client.login(plant.a.name)
        for device in (plant.da, plant.db):
            client.send(wire.publish(f'sensors/{device.name}/t', 'x', qos=1))
            assert client.expect(PUBACK).reason == 0
    with Wire(fortress, plant.b) as client:
        client.login(plant.b.name)
        client.send(wire.publish(f'sensors/{plant.db.name}/t', 'x', qos=1))
        assert client.expect(PUBACK).reason == 0x87
