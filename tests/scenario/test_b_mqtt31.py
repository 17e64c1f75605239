"""b: MQTT 3.1 (MQIsdp): refused by default, served where a listener takes it, and never told a lie. Real clients and raw bytes."""
import json
import struct
import subprocess
from pathlib import Path

import pytest

from harness import mosquitto, wire
from harness.fortress import Fortress
from harness.mosquitto import Subscriber
from harness.paho_client import Paho
from harness.ports import free_ports
from harness.refusal import Watch
from harness.talk import Mosquitto
from harness.wait import wait_until
from harness.wire import CONNACK, PINGREQ, PINGRESP, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, SUBSCRIBE, UNSUBACK, \
    UNSUBSCRIBE, Wire

pytestmark = pytest.mark.release

POLICY = Path(__file__).parent / 'policy.yaml'
V31 = 'mqttv31'
ID = struct.pack('>H', 7)


def taken(config, listener):
    """The text of a configuration in which this listener takes MQTT 3.1."""
    line, = [line for line in config.splitlines() if f'name: {listener},' in line]
    return config.replace(line, line.replace('door: mqtt,', 'door: mqtt, mqtt_3_1: yes,'))


def make_old(*listeners, **how):
    one = Fortress(listeners=('mqtts', 'coaps', *listeners), start=False, **how)
    config = one.dir / 'sallyport.yaml'
    text = config.read_text()
    for listener in ('mqtts', *listeners):
        text = taken(text, listener)
    config.write_text(text)
    one.start()
    one.apply(POLICY)
    return one


@pytest.fixture(scope='module')
def old():
    """A fortress whose listeners take MQTT 3.1."""
    one = make_old('mqtt')
    yield one
    one.close()


def connect(name, level, client_id, flags=2):
    return wire.packet(wire.CONNECT, wire.field(name) + bytes([level, flags, 0, 60]) + wire.field(client_id))


def refused_for_version(fortress):
    names = dict(line.rsplit(' ', 1) for line in fortress.cli('metrics').splitlines() if line and line[0] != '#')
    return sum(int(n) for name, n in names.items() if 'refusals_total' in name and 'reason="version"' in name)


# -- off ---------------------------------------------------------------------------------------------------------------

def test_refused_by_default(fortress):
    device, before = fortress.add('lamp'), refused_for_version(fortress)
    watch = Watch(fortress)
    with Wire(fortress, device, 3) as client:
        # What stands behind CONNECT is not looked at.
        got = client.send(wire.connect(device.name, version=3), wire.publish(f'lamps/{device.name}/a', 'x', 1)).expect_close()
        assert [(one.kind, one.body) for one in got] == [(CONNACK, b'\0\1')]
        event = watch.expect('protocol_error', peer=client.peer, principal=device.name, fix='Update it to MQTT 3.1.1 or 5.0')
    assert 'mqtt_3_1: yes at a listener' in event['reason'] and event['reason'].endswith('its connection just ends')
    assert refused_for_version(fortress) == before + 1


def test_real_clients_hear_why(fortress):
    device = fortress.add('lamp')
    run = mosquitto.publish(device, f'lamps/{device.name}/a', 'x', version=V31, check=False)
    assert run.returncode != 0 and 'unacceptable protocol version' in run.stdout + run.stderr
    with Paho(device, version=3) as client:
        assert client.connack == 1
    with Paho(device, version=4) as client:
        assert client.connack == 0


# -- on ----------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('qos', [0, 1, 2])
@pytest.mark.parametrize('auth', ['x509', 'password'])
def test_mosquitto_both_ways(old, qos, auth):
    sensor, console = old.add('sensor'), old.add('console')
    with Subscriber(console, 'sensors/#', qos=qos, version=V31, auth=auth) as reader:
        mosquitto.publish(sensor, f'sensors/north/{sensor.name}/n', 'hello', qos=qos, version=V31, auth=auth)
        got = reader.get()
    assert (got['payload'], got['qos'], got['retain']) == ('hello', qos, 0)
    assert 'MQTT 3.1' in old.wait_event('connect', about=sensor.name)[-1]['reason']


@pytest.mark.parametrize('writes,reads', [(3, 3), (3, 4), (3, 5), (4, 3), (5, 3)])
def test_paho_meets_every_version(old, writes, reads):
    lamp, console = old.add('lamp'), old.add('console')
    with Paho(console, client_id=f'r{writes}{reads}', version=reads) as reader, Paho(lamp, version=writes) as writer:
        assert reader.subscribe(f'lamps/{lamp.name}/#', 2) == [2]
        for qos in (0, 1, 2):
            writer.publish(f'lamps/{lamp.name}/a', f'qos {qos}', qos, retain=qos == 1)
            got = reader.get()
            assert (got.payload, got.qos) == (b'qos %d' % qos, qos)
    with Paho(console, client_id=f's{writes}{reads}', version=reads) as late:
        late.subscribe(f'lamps/{lamp.name}/a', 1)
        got = late.get()
        assert (got.payload, bool(got.retain)) == (b'qos 1', True)


def test_will(old):
    console, lamp = old.add('console'), old.add('lamp')
    with Paho(console, version=3) as reader:
        reader.subscribe(f'lamps/{lamp.name}/#', 1)
        with Paho(lamp, version=3, will=(f'lamps/{lamp.name}/gone', b'gone', 1, False)) as dying:
            dying.drop()
        assert reader.get().payload == b'gone'
        with Paho(lamp, version=3, will=(f'lamps/{lamp.name}/gone', b'gone', 1, False)):
            pass  # a goodbye forgets it
        mosquitto.publish(lamp, f'lamps/{lamp.name}/a', 'mark', qos=1, version=V31)
        assert reader.get().payload == b'mark'
    watch = Watch(old)
    with Wire(old, lamp, 3) as client:
        answer = client.send(wire.connect(lamp.name, version=3, will=('secret/gone', 'x', 0, False))).expect(CONNACK)
        assert answer.body == b'\0\5'
        watch.expect('acl_deny', peer=client.peer, target='secret/gone')


def test_a_session_outlives_kill_9(make_fortress):
    fortress = make_old()
    try:
        sensor, console = fortress.add('sensor'), fortress.add('console')
        topic = f'sensors/north/{sensor.name}/n'
        with Paho(console, client_id='keeper', version=3, clean=False) as keeper:
            assert keeper.subscribe('sensors/#', 2) == [2]
        for qos in (1, 2):
            mosquitto.publish(sensor, topic, f'kept {qos}', qos=qos, version=V31)
        fortress.kill()
        fortress.start()
        with Paho(console, client_id='keeper', version=3, clean=False) as keeper:
            assert keeper.flags['session present'] == 0  # a word that 3.1 does not know
            assert [keeper.get().payload for _ in range(2)] == [b'kept 1', b'kept 2']
        mosquitto.publish(sensor, topic, 'for a newer one', qos=1, version=V31)
        # The device was updated: the session is the same.
        with Paho(console, client_id='keeper', version=4, clean=False) as keeper:
            assert keeper.flags['session present'] == 1
            assert keeper.get().payload == b'for a newer one'
        with Paho(console, client_id='keeper', version=3, clean=True):
            pass
        with Paho(console, client_id='keeper', version=4, clean=False) as keeper:
            assert keeper.flags['session present'] == 0
    finally:
        fortress.close()


def test_unacknowledged_comes_again(old):
    sensor, console = old.add('sensor'), old.add('console')
    with Wire(old, console, 3).login('again', clean=False) as client:
        client.send(wire.subscribe(1, ('sensors/#', 2), version=3)).expect(SUBACK)
        mosquitto.publish(sensor, f'sensors/north/{sensor.name}/n', 'x', qos=2, version=V31)
        first = client.expect(PUBLISH)
        assert first.flags == 4
    with Wire(old, console, 3).login('again', clean=False) as client:
        again = client.expect(PUBLISH)
        assert (again.flags, again.body) == (0x0c, first.body)
        packet_id = again.body[2 + struct.unpack('>H', again.body[:2])[0]:][:2]
        assert client.send(wire.packet(PUBREC, packet_id)).expect(PUBREL).flags == 2
    with Wire(old, console, 3).login('again', clean=True) as client:
        client.send(wire.packet(PINGREQ)).expect(PINGRESP)


@pytest.mark.skipif(Mosquitto.BINARY is None, reason='mosquitto is not installed')
@pytest.mark.parametrize('version', [V31, 'mqttv311'])
def test_a_bridge_comes_in_at_its_second_try(old, fortress, version, tmp_path):
    """Debian's mosquitto first sets a bit in the level that is its own. 0x01 in the words of its version sends it on."""
    one = old if version == V31 else fortress
    lamp, console = one.add('lamp'), one.add('console')
    port = free_ports(['bridge'])['bridge']
    (tmp_path / 'conf').write_text(f"""user root
listener {port} 127.0.0.1
allow_anonymous true
persistence false
connection upstream
address localhost:{one.ports['mqtts']}
bridge_cafile {lamp.ca}
bridge_certfile {lamp.cert}
bridge_keyfile {lamp.key}
bridge_protocol_version {version}
remote_clientid {lamp.name}
notifications false
restart_timeout 1
topic # out 1 "" lamps/{lamp.name}/
""")
    with Subscriber(console, f'lamps/{lamp.name}/#', qos=1) as reader:
        bridge = subprocess.Popen([Mosquitto.BINARY, '-c', str(tmp_path / 'conf')], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            one.wait_event('connect', about=lamp.name)
            subprocess.run(['mosquitto_pub', '-h', '127.0.0.1', '-p', str(port), '-t', 'a', '-m', 'over the bridge', '-q', '1'],
                           check=True, timeout=20)
            assert reader.get(20)['payload'] == 'over the bridge'
        finally:
            bridge.terminate()
            bridge.wait(10)
    event, = one.wait_event('protocol_error', about=lamp.name)
    assert 'mqtt_3_1' not in event['reason']


# -- what 3.1 has no word for --------------------------------------------------------------------------------------------

@pytest.mark.parametrize('filters', [('#',), ('sensors/#', 'commands/#'), ('$share/g/secret/#',)],
                         ids=['alone', 'beside one that is granted', 'shared'])
def test_a_refused_subscription_is_never_granted(old, filters):
    console = old.add('console')
    watch = Watch(old)
    with Wire(old, console, 3).login('r') as client:
        assert client.send(wire.subscribe(1, *filters, version=3)).expect_close() == []
        event = watch.expect('acl_deny', peer=client.peer, principal=console.name, target=filters[-1],
                             fix='MQTT 3.1 has no word for it, so the connection was closed')
    assert event['reason']
    with Wire(old, console, 4).login('r') as client:  # 3.1.1 has one
        assert client.send(wire.subscribe(1, *filters, version=4)).expect(SUBACK).reason == 0x80


def test_a_refused_publish_closes(old):
    lamp = old.add('lamp')
    with Wire(old, lamp, 3).login(lamp.name) as client:
        client.send(wire.publish('secret', 'x', version=3), wire.packet(PINGREQ)).expect(PINGRESP)
        assert client.send(wire.publish('secret/a', 'x', qos=1, version=3)).expect_close() == []
        wait_until('both refusals', lambda: len([e for e in old.events() if e['category'] == 'acl_deny'
                                                 and e['peer'] == client.peer]) == 2, 5, pause=0.1)


def test_mosquitto_sub_never_thinks_it_reads(old):
    console = old.add('console')
    command = ['mosquitto_sub', *mosquitto.options(console, version=V31), '-d', '-t', 'secret/#', '-W', '3']
    run = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert 'received CONNACK' in run.stdout and 'SUBACK' not in run.stdout


# -- bytes ---------------------------------------------------------------------------------------------------------------

def test_repeats_carry_dup(old):
    """Only in 3.1 may PUBREL, SUBSCRIBE and UNSUBSCRIBE say that they come again."""
    lamp = old.add('lamp')
    repeated = {SUBSCRIBE: (ID + wire.field(f'lamps/{lamp.name}/a') + b'\1', SUBACK),
                UNSUBSCRIBE: (ID + wire.field(f'lamps/{lamp.name}/a'), UNSUBACK), PUBREL: (ID, PUBCOMP)}
    with Wire(old, lamp, 3).login(lamp.name) as client:
        client.send(wire.publish(f'lamps/{lamp.name}/b', 'x', qos=2, packet_id=7, version=3)).expect(PUBREC)
        for kind, (body, answer) in repeated.items():
            client.send(wire.packet(kind, body, 0x0a)).expect(answer)
    for version in (4, 5):
        for kind, (body, _) in repeated.items():
            with Wire(old, lamp, version).login(lamp.name) as client:
                got = client.send(wire.packet(kind, body, 0x0a)).expect_close()
                assert [one.reason for one in got] == ([0x81] if version == 5 else [])


BAD = [('MQIsdp', 4, [b'\0\1']), ('MQIsdp', 5, [b'\0\1']), ('MQIsdp', 0x83, [b'\0\1']), ('MQIsdp', 0, [b'\0\1']),
       ('MQTT', 3, [b'\0\1']), ('MQTT', 0x84, [b'\0\1']), ('MQISDP', 3, []), ('mqisdp', 3, []), ('MQIsdpX', 3, [])]


@pytest.mark.parametrize('name,level,answer', BAD, ids=[f'{name} {level:#x}' for name, level, _ in BAD])
@pytest.mark.parametrize('option', ['off', 'on'])
def test_what_only_looks_like_it(fortress, old, option, name, level, answer):
    one = {'off': fortress, 'on': old}[option]
    device = one.add('lamp', credentials=('x509',))
    watch = Watch(one)
    with Wire(one, device) as client:
        got = client.send(connect(name, level, device.name)).expect_close()
        assert [(p.kind, p.body) for p in got] == [(CONNACK, body) for body in answer]
        event = watch.expect('protocol_error' if answer else 'malformed', peer=client.peer, fix='client')
    assert 'mqtt_3_1' not in event['reason']


@pytest.mark.parametrize('flags,client_id,answer', [
    (2, '', b'\0\2'), (0, '', b'\0\2'), (2, 'x' * 65, b'\0\2'), (3, 'a', None), (0x42, 'a', None), (0x1e, 'a', None)],
    ids=['no client id', 'no client id, session', 'over our limit', 'reserved bit', 'password alone', 'will QoS 3'])
def test_bad_connects(old, flags, client_id, answer):
    with Wire(old, old.add('console', credentials=('x509',)), 3) as client:
        got = client.send(connect('MQIsdp', 3, client_id, flags)).expect_close()
        assert [one.body for one in got] == ([answer] if answer else [])


def test_what_3_1_leaves_open(old):
    """Client ids longer than its 23; will bits without a will; a user name that is announced and missing."""
    console = old.add('console')
    for packet in (connect('MQIsdp', 3, 'x' * 23), connect('MQIsdp', 3, 'x' * 24), connect('MQIsdp', 3, 'x' * 64),
                   connect('MQIsdp', 3, 'a', 0x3a), connect('MQIsdp', 3, 'a', 0xc2)):
        with Wire(old, console, 3) as client:
            assert client.send(packet).expect(CONNACK).body == b'\0\0'
    watch = Watch(old)
    with Wire(old, None, 3, ca=console.ca) as client:  # a missing password opens nothing
        got = client.send(connect('MQIsdp', 3, console.name, 0xc2)).expect_close()
        assert [one.body for one in got] == [b'\0\5']
        watch.expect('auth_fail', peer=client.peer)


def test_another_identity_is_refused_as_ever(old):
    lamp, other = old.add('lamp'), old.add('lamp')
    watch = Watch(old)
    with Wire(old, lamp, 3) as client:
        assert client.send(wire.connect(other.name, version=3)).expect(CONNACK).body == b'\0\2'
        watch.expect('identity_mismatch', peer=client.peer)


def test_keep_alive(old):
    lamp = old.add('lamp')
    with Wire(old, lamp, 3).login(lamp.name, keep_alive=1) as client:
        assert client.expect_close(timeout=10) == []


# -- the option ------------------------------------------------------------------------------------------------------------

def test_plain_needs_its_exception_as_well(old):
    lamp = old.add('lamp')
    with pytest.raises(OSError):
        Wire(old, plain='mqtt')
    old.cli('exception', 'add', '--listener', 'mqtt', '--allow', 'plaintext', '--for', '1h', '--reason', 'old meters')
    with Wire(old, version=3, plain='mqtt').login(lamp.name, user=lamp.name, password=lamp.password) as client:
        client.send(wire.publish(f'lamps/{lamp.name}/a', 'x', qos=1, version=3)).expect(PUBACK)


def test_it_is_said(old, fortress):
    assert re_find(old.cli('status'), 'listener       mqtts  mqtt').endswith('open, takes the old MQTT 3.1')
    assert re_find(fortress.cli('status'), 'listener       mqtts  mqtt').endswith('open')
    listed = {one['name']: one['mqtt_3_1'] for one in json.loads(old.cli('--json', 'status'))['listeners']}
    assert listed['mqtts'] is True and listed['coaps'] is False
    assert 'Listener mqtts takes MQTT 3.1: such a client is never told of a refusal' in old.run('check', old.dir)
    assert '3.1' not in fortress.run('check', fortress.dir)
    assert any('listener mqtts' in line and 'takes the old MQTT 3.1' in line for line in old.log)


def re_find(text, start):
    line, = [line for line in text.splitlines() if line.startswith(start)]
    return line


@pytest.mark.parametrize('line,at,why', [
    ('{ name: a, door: coap, bind: "127.0.0.1:1", mqtt_3_1: yes }', 59, 'mqtt_3_1 is for the mqtt door'),
    ('{ name: a, door: mqtt, bind: "127.0.0.1:1", mqtt_3_1: yes, websocket: yes }', 59, 'without websocket'),
    ('{ name: a, door: mqtt, bind: "127.0.0.1:1", mqtt_3_1: maybe }', 59, 'mqtt_3_1 must be one of: yes, no'),
    ('{ name: a, door: mqtt, bind: "127.0.0.1:1", mqtt_3_2: yes }', 49, 'mqtt_3_2')], ids=['coap', 'websocket', 'word', 'name'])
def test_settings_that_are_refused(make_fortress, line, at, why):
    fortress = make_fortress(start=False)
    config = fortress.dir / 'sallyport.yaml'
    config.write_text(f'version: 1\nlisteners:\n  - {line}\n')
    run = fortress.run('check', fortress.dir, check=False)
    assert run.returncode != 0 and f'sallyport.yaml:3:{at}: ' in run.stderr and why in run.stderr, run.stderr
