"""a: one topic space. Stock MQTT clients see each other's messages."""
import json
import ssl

import pytest

from harness import mosquitto
from harness.mosquitto import Subscriber
from harness.paho_client import Paho
from harness.relay import Relay
from harness.wait import wait_until

pytestmark = pytest.mark.release

VERSIONS = ['mqttv311', 'mqttv5']


# SPEC: MQTT3-7.0.0-2, MQTT3-7.1.1-1, MQTT5-4.2.0-1
@pytest.mark.parametrize('version', VERSIONS)
@pytest.mark.parametrize('qos', [0, 1, 2])
@pytest.mark.parametrize('auth', ['x509', 'password'])
def test_publish_reaches_a_subscriber(fortress, version, qos, auth):
    sensor, console = fortress.add('sensor'), fortress.add('console')
    with Subscriber(console, 'sensors/#', qos=2, version=version, auth=auth) as seen:
        mosquitto.publish(sensor, f'sensors/north/{sensor.name}/temp', 'warm', qos=qos, version=version, auth=auth)
        got = seen.get()
        assert got['topic'] == f'sensors/north/{sensor.name}/temp'
        assert (got['payload'], got['qos'], got['retain']) == ('warm', qos, 0)


def test_versions_meet(fortress):
    sensor, console = fortress.add('sensor'), fortress.add('console')
    with Subscriber(console, 'sensors/#', version='mqttv311', client_id='old') as old, \
            Subscriber(console, 'sensors/#', version='mqttv5', client_id='new') as new:
        for version in VERSIONS:
            mosquitto.publish(sensor, f'sensors/north/{sensor.name}/temp', version, qos=1, version=version)
        assert old.payloads(2) == VERSIONS and new.payloads(2) == VERSIONS


def test_twenty_devices_each_with_its_home(fortress):
    """Homes are spread over the workers by name, so many devices cross between workers in both directions."""
    console = fortress.add('console')
    sensors = [fortress.add('sensor', credentials=('x509',)) for _ in range(20)]
    with Subscriber(console, 'sensors/#', qos=1) as all_of_them:
        for sensor in sensors:
            mosquitto.publish(sensor, f'sensors/north/{sensor.name}/temp', sensor.name, qos=1)
        assert sorted(all_of_them.payloads(20)) == sorted(sensor.name for sensor in sensors)
    for sensor in sensors[:6]:
        with Subscriber(sensor, f'commands/{sensor.name}/#', qos=1) as own:
            mosquitto.publish(console, f'commands/{sensor.name}/set', 'on', qos=1, client_id=f'sender-{sensor.name}')
            assert own.get()['payload'] == 'on'


@pytest.mark.parametrize('qos', [0, 1, 2])
def test_order_of_one_publisher_is_kept(fortress, qos):
    sensor, console = fortress.add('sensor'), fortress.add('console')
    with Paho(console) as reader, Paho(sensor) as writer:
        assert reader.subscribe('sensors/#', 2) == [2]
        sent = [str(i) for i in range(200)]
        for text in sent:
            writer.client.publish(f'sensors/north/{sensor.name}/n', text, qos)
        assert [reader.get().payload.decode() for _ in sent] == sent


def test_a_large_payload_is_whole(fortress):
    sensor, console = fortress.add('sensor'), fortress.add('console')
    payload = bytes(range(256)) * 900
    with Paho(console) as reader, Paho(sensor) as writer:
        reader.subscribe('sensors/#')
        writer.publish(f'sensors/north/{sensor.name}/image', payload)
        assert reader.get(20).payload == payload


def test_retained_is_there_for_who_comes_later(fortress):
    sensor, console = fortress.add('sensor'), fortress.add('console')
    mosquitto.publish(sensor, f'status/{sensor.name}', 'first', '-r', qos=1)
    mosquitto.publish(sensor, f'status/{sensor.name}', 'second', '-r', qos=1)
    with Subscriber(console, f'status/{sensor.name}') as late:
        got = late.get()
        assert (got['payload'], got['retain']) == ('second', 1)
    mosquitto.publish(sensor, f'status/{sensor.name}', '', '-r', qos=1)
    other = fortress.add('sensor')
    with Subscriber(console, 'status/#') as later:
        mosquitto.publish(other, f'status/{other.name}', 'mark', qos=1)
        assert wait_until('the mark', lambda: later.get()['payload'] == 'mark')
        assert f'status/{sensor.name}' not in ''.join(later.lines)


@pytest.mark.parametrize('qos', [1, 2])
def test_a_sleeping_session_gets_what_it_missed(fortress, qos):
    sensor, console = fortress.add('sensor'), fortress.add('console')
    with Paho(console, client_id='sleeper', session_expiry=3600) as awake:
        assert awake.subscribe('sensors/#', qos) == [qos]
    with Paho(sensor) as writer:
        for i in range(10):
            writer.publish(f'sensors/north/{sensor.name}/n', str(i), qos)
    with Paho(console, client_id='sleeper', clean=False, session_expiry=3600) as again:
        flags = again.flags
        assert (flags['session present'] if isinstance(flags, dict) else flags.session_present) == 1
        assert [again.get().payload.decode() for _ in range(10)] == [str(i) for i in range(10)]


def test_a_will_is_published_after_a_lost_network(fortress):
    sensor, console = fortress.add('sensor'), fortress.add('console')
    with Subscriber(console, 'status/#', qos=1) as watcher:
        with Paho(sensor, will=(f'status/{sensor.name}', 'lost', 1, False)) as doomed:
            doomed.drop()
        assert watcher.get(15)['payload'] == 'lost'
    fortress.wait_event('will', principal=sensor.name)
    fortress.wait_event('disconnect', principal=sensor.name)
    timeline = fortress.home / f'{sensor.name}.incident'
    fortress.cli('incident', 'export', '--device', sensor.name, '--since', '1h', '--out', timeline)
    events = [json.loads(line['event']) for line in map(json.loads, timeline.read_text().splitlines()) if 'event' in line]
    assert [event['reason'] for event in events if event['category'] in ('disconnect', 'will')] == [
        'the connection was lost', 'the connection ended without DISCONNECT; its will was published']


def test_no_will_after_an_orderly_end(fortress):
    sensor, other, console = fortress.add('sensor'), fortress.add('sensor'), fortress.add('console')
    with Subscriber(console, 'status/#', qos=1) as watcher:
        with Paho(sensor, will=(f'status/{sensor.name}', 'lost', 1, False)):
            pass
        mosquitto.publish(other, f'status/{other.name}', 'mark', qos=1)
        assert watcher.get()['payload'] == 'mark'


def test_stock_clients_refuse_a_server_that_they_cannot_trust(fortress, stranger):
    """The wrong authority, and the right one under an address that the certificate does not have."""
    sensor = fortress.add('sensor')
    topic = f'sensors/north/{sensor.name}/temp'
    with Relay(fortress.ports['mqtts']) as relay:
        for more in ({'ca': stranger}, {'at': (relay.address, relay.port)}):
            with pytest.raises(ssl.SSLCertVerificationError):
                Paho(sensor, **more)
        for more in (('--cafile', stranger), ('-h', relay.address, '-p', str(relay.port))):
            run = mosquitto.publish(sensor, topic, '1', *more, qos=1, check=False)
            assert run.returncode != 0 and 'TLS error' in run.stderr + run.stdout, run.stderr + run.stdout
    assert not [event for event in fortress.events() if event['category'] == 'connect' and event['principal'] == sensor.name]


def test_mosquitto_is_told_that_it_must_not(fortress):
    sensor = fortress.add('sensor')
    run = mosquitto.publish(sensor, 'sensors/north/somebody-else/temp', '1', qos=1, check=False)
    assert 'Not authorized' in run.stderr + run.stdout, run.stderr + run.stdout


def test_metrics_and_status_know_the_connections(fortress):
    console = fortress.add('console')
    with Subscriber(console, 'sensors/#'):
        metrics = fortress.cli('metrics')
        for name in ('resident_memory_bytes', 'open_descriptors', 'sessions', 'subscriptions', 'retained_messages',
                     'queued_messages', 'turn_seconds'):
            assert f'sallyport_{name}' in metrics, name
        live = [line for line in metrics.splitlines()
                if line.startswith('sallyport_connections{') and 'mqtts' in line and float(line.split()[-1]) >= 1]
        assert live, 'one connection on the listener mqtts'
        assert fortress.cli('status').strip()
