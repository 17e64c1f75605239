"""b: audit trail, metrics, status and alerts say what happened, in the names that others read."""
import json
import re
import select
import subprocess
import time

import pytest

from harness import coap, mosquitto, wire
from harness.fortress import BINARY, counted, metrics, times
from harness.paho_client import Paho
from harness.wait import wait_until
from harness.wire import CONNACK, PUBACK, SUBACK, Wire

pytestmark = pytest.mark.release

KEYS = set('time category severity principal client_id peer listener protocol target reason count'.split())
CATEGORIES = set('''connect disconnect allow tls_reject auth_fail auth_bruteforce identity_mismatch takeover acl_deny
policy_change revoked malformed protocol_error utf8 quota rate flood slow_client amplification replay nonce_risk clone anomaly
silence probe wildcard will poison_message store_integrity store_space audit_integrity admin_auth admin_abuse config_reject
config_change device_change credential_issued credential_rotated credential_expiring enrolment attestation exception exposure
response sink firmware firmware_reject crash_recovery'''.split())
NAMES = '''resident_memory_bytes open_descriptors connections sessions subscriptions retained_messages retained_bytes
queued_messages queued_bytes messages_total dropped_total events_total store_commit_seconds handshakes_total
coap_amplification_ratio turn_seconds worker_turn_seconds'''.split()


# -- the trail -------------------------------------------------------------------------------------------------------------

def test_an_event_has_exactly_its_keys(fortress):
    sensor = fortress.add('sensor')
    mosquitto.publish(sensor, f'status/{sensor.name}', 'x', qos=1)
    mosquitto.publish(sensor, 'elsewhere', 'x', qos=1, check=False)
    fortress.wait_event('acl_deny', principal=sensor.name)
    fortress.wait_event('disconnect', principal=sensor.name)
    for event in fortress.events():
        assert set(event) == KEYS, event
        assert event['category'] in CATEGORIES
        assert re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z', event['time'])
        assert all(event[key] != '' for key in KEYS), event
    deny, = fortress.wait_event('acl_deny', principal=sensor.name)
    assert (deny['client_id'], deny['listener'], deny['protocol'], deny['target']) == \
        (sensor.name, 'mqtts', 'mqtt', 'elsewhere')
    assert re.fullmatch(r'127\.0\.0\.1:\d+', deny['peer'])
    change, = fortress.wait_event('device_change', target=sensor.name)
    assert change['listener'] == change['client_id'] == '-', 'what is unknown is a dash'


def test_who_did_it_is_in_the_trail(fortress):
    for what, category in (('disable', 'device_change'), ('enable', 'device_change'), ('revoke', 'revoked'),
                           ('remove', 'device_change')):
        name = fortress.add('sensor', name=f'trail-{what}').name
        if what == 'enable':
            fortress.cli('device', 'disable', name)
        fortress.cli('device', what, name)
        assert any(event['principal'] == 'admin' and event['target'] == name and what in event['reason']
                   for event in fortress.events() if event['category'] == category), what


def test_tail_gives_the_last_and_repeats_are_folded_for_a_second(fortress):
    sensor = fortress.add('sensor')
    watched_from = time.monotonic()
    with Wire(fortress, sensor) as client:
        client.login(sensor.name)
        for i in range(1, 51):
            client.send(wire.publish('elsewhere', 'x', qos=1, packet_id=i))
        for i in range(50):
            assert client.expect(PUBACK).reason == 0x87
        events = fortress.wait_event('acl_deny', principal=sensor.name, at_least=50)
        assert sum(map(times, events)) == 50 and len(events) <= 2 + 2 * (time.monotonic() - watched_from), events
    fortress.wait_event('disconnect', principal=sensor.name)  # the last about it: from here on the trail stands still
    assert len(fortress.json('audit', 'tail', '-n', '3')) == 3
    assert fortress.cli('audit', 'tail', '-n', '0') == ''
    assert fortress.json('audit', 'tail', '-n', '3') == fortress.json('audit', 'tail')[-3:]
    assert fortress.json('audit', 'tail', '-n', '3') == fortress.ask('audit.tail', n=3), 'the socket says what the command says'
    for i in range(101):
        fortress.cli('device', 'disable', sensor.name, '--reason', f'reason {i}')
    assert len(fortress.json('audit', 'tail')) == 100


def test_follow_shows_an_event_by_itself(fortress):
    """When it is there: no later one has to push it out."""
    tail = subprocess.Popen([str(BINARY), '-C', str(fortress.dir), 'audit', 'tail', '-n', '0', '-f'], stdout=subprocess.PIPE,
                            bufsize=0, stdin=subprocess.DEVNULL)
    try:
        # Which one is the first to be followed depends on when the command came: so several.
        for i in range(200):
            fortress.add('sensor', name=f'followed-{i}', credentials=('psk',))
            if has_line(tail.stdout, 0.05):
                break
        name = fortress.add('sensor', name='followed-last', credentials=('psk',)).name
        while (line := next_line(tail.stdout))['target'] != name:
            assert set(line) == KEYS and line['target'].startswith('followed-')
    finally:
        tail.terminate()
        tail.wait(10)


def has_line(stream, seconds):
    return bool(select.select([stream], [], [], seconds)[0])


def next_line(stream):
    """Unbuffered, so that select tells of all that has come."""
    text = b''
    while not text.endswith(b'\n'):
        assert has_line(stream, 30), f'no line came: {text!r}'
        text += stream.read(1)
    return json.loads(text)


def test_a_name_from_a_stranger_is_one_line(fortress):
    """Escapes and line ends in what a stranger sends stay inside one line of JSON, and out of the log."""
    nasty = 'a\x1b[31m\u2028"b\\'
    with Wire(fortress, None, ca=fortress.add('sensor').ca) as client:
        client.send(wire.connect(nasty, user=nasty, password='sp1_x'))
        assert client.receive() is None or True
        peer = client.peer
    wait_until('its event', lambda: [event for event in fortress.events() if event['peer'] == peer], pause=0.1)
    for line in fortress.cli('audit', 'tail', '-n', '1000').splitlines():
        assert set(json.loads(line)) == KEYS
        assert line.isprintable() and '\x1b' not in line
    assert not any('\x1b' in line for line in fortress.log)


def test_the_trail_is_there_after_a_restart(make_fortress):
    fortress = make_fortress()
    sensor = fortress.add('sensor')
    fortress.restart()
    assert any(event['target'] == sensor.name for event in fortress.events())


# -- metrics ---------------------------------------------------------------------------------------------------------------

def test_the_names_are_there_in_prometheus_text(fortress):
    text = fortress.cli('metrics')
    for name in NAMES:
        assert re.search(rf'^# TYPE sallyport_{name} (gauge|counter|summary|histogram)$', text, re.M), name
        assert re.search(rf'^sallyport_{name}(_sum|_count)?({{.*}})? \S+$', text, re.M), name
    for line in text.splitlines():
        assert re.fullmatch(r'# (HELP|TYPE) sallyport_\w+ .+|sallyport_\w+({(\w+="[^"]*",?)+})? [-+0-9.eE]+', line), line
    found = metrics(fortress)
    for category in CATEGORIES:
        assert f'events_total{{category="{category}"}}' in found
    assert found['resident_memory_bytes'] > 1e6 and found['open_descriptors'] > 5


def test_values_are_true_after_traffic(make_fortress):
    fortress = make_fortress()
    sensor, console = fortress.add('sensor', credentials=('x509', 'psk')), fortress.add('console')
    assert metrics(fortress)['connections{listener="mqtts"}'] == 0
    with Paho(console, client_id='c', session_expiry=3600) as reader, Paho(sensor) as writer:
        reader.subscribe('sensors/#', 2)
        reader.subscribe('status/#', 1)
        for qos, n in ((0, 3), (1, 4), (2, 5)):
            for i in range(n):
                writer.publish(f'sensors/north/{sensor.name}/t', 'x', qos)
        writer.publish(f'status/{sensor.name}', 'up', 1, retain=True)
        for _ in range(13):
            reader.get()
        want = {'connections{listener="mqtts"}': 2, 'sessions': 2, 'subscriptions': 2, 'retained_messages': 1,
                'queued_messages': 0, 'messages_total{direction="in",qos="0"}': 3, 'messages_total{direction="in",qos="1"}': 5,
                'messages_total{direction="in",qos="2"}': 5, 'messages_total{direction="out",qos="0"}': 3,
                'messages_total{direction="out",qos="1"}': 5, 'messages_total{direction="out",qos="2"}': 5}
        wait_until('acknowledgements', lambda: metrics(fortress)['queued_messages'] == 0)
        counted(fortress, 'events_total{category="connect"}', 2)
        found = metrics(fortress)
        assert {key: found[key] for key in want} == want
        assert found['retained_bytes'] >= len(f'status/{sensor.name}') + 2
        assert found['handshakes_total{result="ok"}'] == 2
        assert found['events_total{category="connect"}'] == 2
        assert found['turn_seconds_count'] > 0 and found['turn_seconds_sum'] > 0
        turns = [found[f'worker_turn_seconds_count{{worker="{i}"}}'] for i in (0, 1)]
        assert all(n > 0 for n in turns), 'each worker has turns'
        assert found['store_commit_seconds_count'] > 0
    wait_until('no connection', lambda: metrics(fortress)['connections{listener="mqtts"}'] == 0)
    with Paho(sensor) as writer:
        for _ in range(7):
            writer.publish(f'sensors/north/{sensor.name}/t', 'x', 1)
    wait_until('the reader alone, who sleeps', lambda: metrics(fortress)['sessions'] == 1)
    assert counted(fortress, 'queued_messages', 7) == 7 and counted(fortress, 'queued_bytes', 1), 'the reader sleeps'
    with Paho(sensor) as writer:
        writer.publish(f'status/{sensor.name}', '', 1, retain=True)
    for name in ('retained_messages', 'retained_bytes'):
        wait_until(f'{name} to be 0', lambda name=name: metrics(fortress)[name] == 0)


@pytest.mark.skipif(not coap.BUILDS, reason='libcoap3-bin is not installed')
def test_coap_is_counted(make_fortress):
    fortress = make_fortress()
    lamp = fortress.add('lamp', credentials=('psk',))
    with coap.Observer(coap.BUILDS[0], lamp, f'mq/lamps/{lamp.name}/state') as seen:
        wait_until('its association', lambda: metrics(fortress)['connections{listener="coaps"}'] >= 1)
        assert coap.request(coap.BUILDS[0], lamp, 'put', f'mq/lamps/{lamp.name}/state', 'on').code is None
        seen.expect('on')
        found = metrics(fortress)
        assert found['retained_messages'] == 1 and found['handshakes_total{result="ok"}'] >= 2
        assert found['connections{listener="mqtts"}'] == 0
        assert 0 <= found['coap_amplification_ratio'] <= 3


def test_refusals_are_counted(fortress):
    before = metrics(fortress)
    sensor = fortress.add('sensor')
    with Wire(fortress, sensor) as client:
        client.login(sensor.name)
        for i in range(1, 6):
            assert client.send(wire.publish('elsewhere', 'x', qos=1, packet_id=i)).expect(PUBACK).reason == 0x87
        assert client.send(wire.subscribe(9, '#')).expect(SUBACK).reason == 0x87
    with Wire(fortress, None, ca=sensor.ca) as client:
        client.send(wire.connect(sensor.name, user=sensor.name, password='wrong')).expect(CONNACK, 30)
    def grown(*names):
        now = metrics(fortress)
        return sum(now[name] - before[name] for name in names)
    denied = ('events_total{category="acl_deny"}', 'events_total{category="wildcard"}')
    wait_until('the events', lambda: grown(*denied) >= 6 and grown('events_total{category="auth_fail"}') >= 1)
    assert grown(*denied) == 6 and grown('refusals_total{reason="denied"}') >= 6


# -- status and alerts -----------------------------------------------------------------------------------------------------

def test_status_names_what_matters(make_fortress):
    fortress = make_fortress(listeners=('mqtts', 'coaps', 'mqtt'))
    text = fortress.cli('status')
    for word in ('mqtts', 'coaps', 'policy', 'certificate', 'alerts'):
        assert word in text, word
    about, = fortress.json('status')
    states = {one['name']: one['open'] for one in about['listeners']}
    assert states == {'mqtts': True, 'coaps': True, 'mqtt': False}
    fortress.cli('exception', 'add', '--listener', 'mqtt', '--allow', 'plaintext', '--for', '1h', '--reason', 'the old meter')
    assert 'the old meter' in fortress.cli('status') and 'the old meter' in fortress.cli('alerts')
    assert fortress.json('alerts') == fortress.alerts() != []
    about, = fortress.json('status')
    assert {one['name']: one['open'] for one in about['listeners']}['mqtt'] is True
    assert [one['reason'] for one in about['exceptions']] == ['the old meter']
