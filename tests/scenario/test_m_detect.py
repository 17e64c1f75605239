"""m: detectors. An attack script for each that is fed with events: flagged as an alert that says who, since when, by what
evidence and what to do; and what honest clients do beside it raises nothing."""
import ast
import contextlib
import json
import re
import socket
import time

import cbor2
import pytest

from harness import openssl, wire
from harness.coap_message import CONTENT_FORMAT, GET, POST, Message
from harness.coap_peer import Peer
from harness.fortress import ROOT, Fortress
from harness.oscore import Client, Context
from harness.wait import wait_until
from harness.wire import CONNACK, SUBACK, Wire

pytestmark = pytest.mark.release

HOME, ELSEWHERE = '127.0.0.1', '127.3.0.9'


@pytest.fixture(scope='module')
def fortress():
    """With what takes its time begun: it goes on while the tests before its own run."""
    with contextlib.ExitStack() as stack:
        one = Fortress(listeners=('mqtts', 'coaps', 'coap'))
        stack.callback(one.close)
        one.innocent, one.hoarder, one.flooder = one.add('console'), one.add('sensor'), one.add('lamp')
        with come(one, one.innocent) as client:  # what a console does all day: it listens widely, where it may
            client.send(wire.subscribe(1, 'sensors/#', 'lamps/#')).expect(SUBACK)
        hoarder = stack.enter_context(Wire(one, one.hoarder, version=4))  # MQTT 5 has a Receive Maximum against it
        hoarder.login(one.hoarder.name)
        for i in range(80):
            hoarder.send(wire.publish(f'sensors/north/{one.hoarder.name}/t', 'x', 2, i + 1, version=4))
        flooder = stack.enter_context(come(one, one.flooder))
        flooder.send(*[wire.publish(f'lamps/{one.flooder.name}/state', 'x', retain=True) for _ in range(600)])
        one.forgers = []
        for i in range(200):
            forger = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            forger.bind((f'127.88.1.{i + 1}', 0))
            one.forgers.append(forger)
        one.hello = openssl.dtls_hello(openssl.library())
        forge(one)
        yield one
        assert not [row for row in one.json('alerts') if row['principal'] == one.innocent.name]


def forge(fortress):
    for forger in fortress.forgers:
        forger.sendto(fortress.hello, ('127.0.0.1', fortress.ports['coaps']))


def alert(fortress, detector, category, who='-', act=None):
    """Waits for the row, acting again and again when there is something to do, and judges its words."""
    def row():
        if act:
            act()
        rows = [one for one in fortress.alerts() if one.get('detector') == detector and one['principal'] == who]
        return rows[0] if rows else None
    found = wait_until(f'the alert of {detector}', row, 60, pause=0.05)
    assert found['category'] == category and found['severity'] == 'alert'
    assert found['since'] <= found['time'] and found['since'].startswith('20')
    assert re.search(r'\d', found['evidence']) and found['answer'] and found['evidence'] in found['reason']
    assert found['answer'] in found['reason']
    assert re.search(f'  {category}  {re.escape(found["peer"] if who == "-" else who)}  [0-9]+ times since 20[^ ]+  {detector}: ', fortress.cli('alerts'))
    assert fortress.wait_event(category, severity='alert', principal=who, reason=re.compile(f'^{detector}: '))
    return found


def come(fortress, device, source=HOME, context=None, **how):
    client = Wire(fortress, device, source=source, context=context)
    client.login(device.name, **how)
    return client


def test_one_identity_in_two_places(fortress):
    device = fortress.add('sensor')
    context = wire.tls_context(device)
    with contextlib.ExitStack() as stack:
        for i in range(8):
            stack.enter_context(come(fortress, device, ELSEWHERE if i % 2 else HOME, context))
        found = alert(fortress, 'two_places', 'clone', device.name)
        assert 'device rotate' in found['answer'] and found['peer'].startswith('127.')


def test_a_copied_key_in_another_program(fortress):
    """The copy comes, the device comes back: two messages of the copy at most."""
    device = fortress.add('sensor')
    context = wire.tls_context(device)
    with contextlib.ExitStack() as stack:
        stack.enter_context(come(fortress, device, HOME, context))
        copy = stack.enter_context(Wire(fortress, device, source=ELSEWHERE, context=context, version=4))
        copy.login(device.name, keep_alive=17)
        stack.enter_context(come(fortress, device, HOME, context))
        found = alert(fortress, 'two_places', 'clone', device.name)
    assert 'two programs' in found['evidence'] and 'keep-alive 17 s, now 60' in found['evidence']


def test_two_programs_that_never_meet(fortress):
    """Each waits until the other has gone."""
    device = fortress.add('sensor')
    context = wire.tls_context(device)
    for i in range(5):
        with Wire(fortress, device, source=ELSEWHERE if i % 2 else HOME, context=context, version=4 + i % 2) as client:
            client.login(device.name).send(wire.packet(wire.DISCONNECT, b''))
            assert client.receive() is None
    alert(fortress, 'two_places', 'clone', device.name)


def test_a_copied_key_over_dtls(fortress):
    """Two associations that both live, heard in turn. Another port of the same address is a router that has forgotten."""
    device, rebound = fortress.add('lamp', credentials=('psk',)), fortress.add('lamp', credentials=('psk',))
    with contextlib.ExitStack() as stack:
        peers = {(who, at): stack.enter_context(Peer(who, source=at)) for who in (device, rebound) for at in (HOME, ELSEWHERE)
                 if who is device or at == HOME}
        peers[rebound, 'again'] = stack.enter_context(Peer(rebound, source=HOME))

        def speak():
            for (who, _), peer in peers.items():
                assert peer.ask(POST, f'mq/lamps/{who.name}/state', b'x').text == '2.04'
        alert(fortress, 'two_places', 'clone', device.name, act=speak)
    assert not [row for row in fortress.json('alerts') if row['principal'] == rebound.name]


def test_a_copied_context_over_oscore(fortress):
    """Each proves its address by an Echo, which no recorder can."""
    device = fortress.add('lamp', credentials=('oscore',))
    with Client(device) as one, Client(device, source=ELSEWHERE, context=one.context) as copy:
        for client in (one, copy, one, copy, one):
            assert client.request(POST, f'mq/lamps/{device.name}/state', b'x').code == '2.04'
        alert(fortress, 'two_places', 'clone', device.name)


def test_a_context_whose_numbers_go_back(fortress):
    """A copy of the bundle begins with number 0: refused as a repeat. It derives its context anew, and shuts the device out, until
    the device does the same."""
    device = fortress.add('lamp', credentials=('oscore',))
    where = f'mq/lamps/{device.name}/x'
    with Client(device) as one, Client(device, source=ELSEWHERE) as copy:
        for _ in range(3):
            one.request(GET, where)
        assert copy.ask(GET, where).code == '4.01'
        assert fortress.wait_event('replay', principal=device.name)
        for client in (copy, one, copy, one, copy):
            client.context = Context.of(device)
            client.begin_anew(GET, where)
        alert(fortress, 'two_places', 'clone', device.name)


def test_who_lost_its_network(fortress):
    """Wills of many at once are an outage that names its network, and no alarm; again and again from many networks they are."""
    devices = [fortress.add('sensor') for _ in range(10)]
    contexts = [wire.tls_context(device) for device in devices]

    def die(network):
        for i, (device, context) in enumerate(zip(devices, contexts)):
            will = (f'status/{device.name}', 'gone', 0, False)
            come(fortress, device, network(i), context, will=will).close()
    die(lambda i: f'127.44.1.{i + 1}')
    told = fortress.wait_event('will', severity='notice', reason=re.compile('^outage: '))[0]
    assert told['target'] == '127.44.1.0/24' and 'of 10 devices' in told['reason']
    for n in range(6):
        die(lambda i, n=n: f'127.{50 + (n + i) % 10}.1.1')
    found = alert(fortress, 'will_fleet', 'will')
    assert found['target'] == 'many networks'
    assert not [row for row in fortress.json('alerts') if row.get('detector') == 'outage']


def test_a_session_is_taken_to_and_fro(fortress):
    device = fortress.add('sensor')
    context = wire.tls_context(device)
    with contextlib.ExitStack() as stack:
        for _ in range(11):
            stack.enter_context(come(fortress, device, context=context))
        alert(fortress, 'ping_pong', 'takeover', device.name)
    assert not [row for row in fortress.json('alerts') if row['principal'] == device.name and row['category'] == 'clone']


def guess(fortress, name, source):
    with Wire(fortress, ca=fortress.innocent.ca, source=source) as client:
        client.send(wire.connect(name, user=name, password='sp1_AAAAAAAAAAAAAAAAAAAAAAAAAA'))
        assert client.expect(CONNACK).reason == 0x86


def test_names_are_tried_from_one_network(fortress):
    numbers = iter(range(1, 200))
    found = alert(fortress, 'login_source', 'auth_bruteforce',
                  act=lambda: guess(fortress, f'admin-{(i := next(numbers))}', f'127.9.9.{i}'))
    assert found['peer'].startswith('127.9.9.')


def test_one_name_is_tried_from_many_networks(fortress):
    device = fortress.add('sensor')
    numbers = iter(range(200))
    alert(fortress, 'login_name', 'auth_bruteforce', device.name,
          act=lambda: guess(fortress, device.name, f'127.10.{next(numbers)}.1'))


def test_topics_are_probed(fortress):
    device = fortress.add('sensor')
    with come(fortress, device) as client:
        for i in range(16):
            assert client.send(wire.subscribe(i + 1, f'plant/{i}/state')).expect(SUBACK).reason == 0x87
        found = alert(fortress, 'probing', 'probe', device.name)
    assert 'topics' in found['evidence']


def test_everything_is_asked_for(fortress):
    device = fortress.add('sensor')
    with come(fortress, device) as client:
        client.send(wire.subscribe(1, '#', '+/#', '$share/all/#')).expect(SUBACK)
        alert(fortress, 'wide_filter', 'wildcard', device.name)


def test_commands_are_written_by_a_sensor(fortress):
    device = fortress.add('sensor')
    with come(fortress, device) as client:
        for i in range(3):
            answer = client.send(wire.publish('commands/valve/set', 'open', 1, i + 1)).expect(wire.PUBACK)
            assert answer.reason == 0x87
        alert(fortress, 'command_write', 'anomaly', device.name)


def test_wills_come_again_and_again(fortress):
    device = fortress.add('sensor')
    context = wire.tls_context(device)
    for _ in range(8):
        come(fortress, device, context=context, will=(f'status/{device.name}', 'gone', 0, False)).close()
    alert(fortress, 'will_storm', 'will', device.name)


def test_messages_are_repeated(fortress):
    lamp = fortress.add('lamp', credentials=('oscore',))
    with Client(lamp) as client, Client(lamp) as thief:
        client.request(GET, f'mq/lamps/{lamp.name}/x')
        assert client.ask(POST, f'mq/lamps/{lamp.name}/state', b'once').code == '2.04'
        recorded = bytearray(client.sent[-1])

        def repeat():
            for i in range(10):
                recorded[2:4] = i, recorded[3] ^ 1  # message ids are anybody's
                thief.send_raw(bytes(recorded))
                assert Message.decode(thief.receive_raw(20)).text == '4.01'
        alert(fortress, 'replay_burst', 'replay', lamp.name, act=repeat)


def test_an_identity_is_claimed(fortress):
    device, other = fortress.add('sensor'), fortress.add('sensor')
    context = wire.tls_context(device)
    for _ in range(5):
        with Wire(fortress, device, context=context) as client:
            client.send(wire.connect(other.name))
            assert client.expect(CONNACK).reason == 0x85
    alert(fortress, 'impersonation', 'identity_mismatch', device.name)


def test_who_is_disabled_keeps_trying(fortress):
    device = fortress.add('sensor')
    context = wire.tls_context(device)
    fortress.cli('device', 'disable', device.name)
    for _ in range(5):
        with Wire(fortress, device, context=context) as client:
            client.send(wire.connect(device.name))
            assert client.expect(CONNACK).reason == 0x87
    alert(fortress, 'revoked_use', 'revoked', device.name)


def test_a_certificate_of_another_key(fortress):
    """One that we signed, for a name that owns no such key any more."""
    old = fortress.add('sensor')
    context = wire.tls_context(old)
    fortress.cli('device', 'remove', old.name)
    for _ in range(3):
        with Wire(fortress, old, context=context) as client:
            client.send(wire.connect(old.name))
            assert client.expect(CONNACK).reason != 0
    found = alert(fortress, 'certificate_key', 'identity_mismatch')
    assert old.name in found['evidence']


SENML = {'json': 110, 'cbor': 112}


def pack(form, ahead_s):
    """Two readings, the newest of so many seconds from now."""
    newest = int(time.time()) + ahead_s
    if form == 'json':
        return json.dumps([{'bn': 'meter/', 'bt': newest - 60, 'n': 't', 'v': 20.5}, {'n': 't', 't': 60, 'v': 21}]).encode()
    return cbor2.dumps([{-2: 'meter/', -3: newest - 60, 0: 't', 2: 20.5}, {0: 't', 6: 60, 2: 21}])


def reads(client, device, form, payload):
    kind = b'\x03' + wire.field(f'application/senml+{form}')
    client.send(wire.publish(f'sensors/north/{device.name}/t', payload, 1, properties=kind))
    assert client.expect(wire.PUBACK).reason == 0


@pytest.mark.parametrize('form', SENML)
def test_a_clock_is_ahead(fortress, form):
    """By an hour, of one device at each door. Who has the right time, sends what waited or what is no pack is not told."""
    meter, right = fortress.add('sensor'), fortress.add('sensor')
    lamp, steady = fortress.add('lamp', credentials=('psk',)), fortress.add('lamp', credentials=('psk',))
    content = [(CONTENT_FORMAT, SENML[form])]
    with come(fortress, right) as bystander, come(fortress, meter) as client, Peer(steady) as beside, Peer(lamp) as peer:
        for payload in (b'[{', pack(form, -7200), pack(form, 0)):
            reads(bystander, right, form, payload)
            assert beside.ask(POST, f'mq/lamps/{steady.name}/state', payload, content).text == '2.04'
        reads(client, meter, form, pack(form, 3600))
        assert peer.ask(POST, f'mq/lamps/{lamp.name}/state', pack(form, 3600), content).text == '2.04'
        for device in (meter, lamp):
            found = alert(fortress, 'clock_skew', 'anomaly', device.name)
            assert re.search('(3599|3600) s ahead', found['evidence']) and 'NTP' in found['answer']
    assert not [row for row in fortress.json('alerts') if row['principal'] in (right.name, steady.name)]


# -- what was begun with the file ------------------------------------------------------------------------------------------


def test_addresses_are_forged(fortress):
    found = alert(fortress, 'reflection', 'amplification', act=lambda: forge(fortress))
    assert found['target'] == '127.88.1.0/24'


def test_retained_messages_flood(fortress):
    """Over its rate it is slowed, not refused."""
    alert(fortress, 'retained_flood', 'flood', fortress.flooder.name)


def test_qos_2_is_never_ended(fortress):
    """Nothing is released for ten seconds."""
    alert(fortress, 'qos2_hoard', 'quota', fortress.hoarder.name)


def rows_of(name):
    """The rows of a table of the code: X(name, value, "text", ...)."""
    text = (ROOT / 'src/service/detect' / name).read_text().replace('\\\n', '\n')
    found = re.findall(r'X\((\w+), (\w+),\s*((?:"[^"]*"[\s,]*)+)\)', text)
    assert len(found) > 5
    return [(name, value, *ast.literal_eval(f'({texts},)')) for name, value, texts in found]


def test_the_tables_for_operators_are_those_of_the_code():
    shown = (ROOT / 'docs/DETECTORS.md').read_text()
    for name, value, *texts in rows_of('thresholds.h'):
        assert f'| `{name}` | {value} | {" | ".join(texts)} |\n' in shown
    for name, category, *texts in rows_of('detector.h'):
        assert f'| `{name}` | `{category}` | {" | ".join(texts)} |\n' in shown
    n_rows = len(rows_of('thresholds.h')) + len(rows_of('detector.h'))
    assert shown.count('\n| `') == n_rows, 'nothing else is shown'
