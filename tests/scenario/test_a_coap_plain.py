"""a: plain CoAP at an OSCORE listener, while an exception lets it in: libcoap's coap-client, and sockets that break the rules."""
import json
import subprocess
import time

import pytest

from harness import coap, mosquitto, oscore
from harness.coap_asker import Asker, echo_of, is_open
from harness.coap_message import ACK, CON, ECHO, GET, NON, OBSERVE, POST, PUT, RST, Message, path
from harness.fortress import BINARY, metrics
from harness.mosquitto import Subscriber
from harness.wait import wait_until

pytestmark = pytest.mark.release

POLICY = '''version: 1
roles:
  open:
    publish:   [ { topic: "plant/#", retain: yes } ]
    subscribe: [ "plant/#" ]
  other:
    subscribe: [ "plant/#" ]
  lamp:
    publish:   [ { topic: "lamps/${device}/+", retain: yes } ]
    subscribe: [ "lamps/${device}/+", "plant/#" ]
  watcher:
    kind: service
    publish:   [ { topic: "plant/#", retain: yes } ]
    subscribe: [ "#" ]
'''
LISTENERS = ('mqtts', 'coaps', 'coap')
each_build = pytest.mark.parametrize('build', coap.BUILDS)


class Place:
    """A fortress with a policy for all of this."""

    def __init__(self, make_fortress, **how):
        self.fortress = make_fortress(listeners=LISTENERS, policy=POLICY, **how)

    def let_in(self, duration='1h', role='open'):
        self.fortress.cli('exception', 'add', '--listener', 'coap', '--allow', 'plaintext,anonymous', '--role', role, '--for', duration,
                          '--reason', 'old meters until Friday')
        return [line['id'] for line in self.fortress.json('exception', 'list') if 'id' in line][-1]

    def request(self, build, method, where, payload=None, more=()):
        extra = ['-e', payload] if payload is not None else []
        run = subprocess.run([build, '-B', '10', '-m', method, *extra, *more, self.url(where)], capture_output=True, text=True,
                             stdin=subprocess.DEVNULL, timeout=30, check=False)
        return coap.Answer(run.stdout + run.stderr, run.returncode)

    def url(self, where):
        return f'coap://127.0.0.1:{self.fortress.ports["coap"]}/{where}'


@pytest.fixture
def place(make_fortress):
    return Place(make_fortress)


@pytest.mark.skipif(not coap.BUILDS, reason='libcoap3-bin is not installed')
def test_coap_client_without_an_exception_and_with_one(place):
    assert len(coap.BUILDS) > 0
    fortress = place.fortress
    for build in coap.BUILDS:
        assert place.request(build, 'get', 'mq/plant/a').code == '4.01'
    fortress.wait_event('tls_reject', about='without OSCORE')
    assert not is_open(place.fortress)
    place.let_in()
    wait_until('it is let in', lambda: is_open(place.fortress))
    watcher = fortress.add('watcher')
    for build in coap.BUILDS:
        with Subscriber(watcher, f'plant/{build}') as heard:
            assert place.request(build, 'put', f'mq/plant/{build}', 'hello').code is None
            got = heard.get()
            assert (got['topic'], got['payload']) == (f'plant/{build}', 'hello')
        assert place.request(build, 'get', f'mq/plant/{build}').payload == 'hello'
        assert place.request(build, 'get', 'mq/lamps/x/y').code == '4.03', 'the role has no such grant'
        assert place.request(build, 'put', 'mq/lamps/x/y', 'x').code == '4.03'
        large = 'x' * 3000
        assert place.request(build, 'put', 'mq/plant/large', large).code is None, 'in blocks'
        assert place.request(build, 'get', 'mq/plant/large').payload == large
    fortress.wait_event('acl_deny')
    event = fortress.wait_event('connect', about='PLAINTEXT by an exception')[0]
    assert event['listener'] == 'coap' and event['principal'].startswith('anonymous-')


@pytest.mark.skipif(not coap.BUILDS, reason='libcoap3-bin is not installed')
@each_build
def test_observing_ends_with_the_exception(place, build):
    fortress, watcher = place.fortress, place.fortress.add('watcher')
    known = place.let_in()
    wait_until('it is let in', lambda: is_open(place.fortress))
    mosquitto.publish(watcher, 'plant/state', 'one', '-r')
    process = subprocess.Popen(['stdbuf', '-oL', build, '-w', '-m', 'get', '-s', '60', '-B', '60', place.url('mq/plant/state')],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout.readline().strip() == 'one'
        mosquitto.publish(watcher, 'plant/state', 'two', '-r')
        assert process.stdout.readline().strip() == 'two'
        wait_until('it is counted', lambda: metrics(fortress)['connections{listener="coap"}'] >= 1)
        fortress.cli('exception', 'end', known)
        fortress.wait_event('exception', about='let this association in has ended')
        wait_until('nothing is kept of it', lambda: metrics(fortress)['connections{listener="coap"}'] == 0)
        assert place.request(build, 'get', 'mq/plant/state').code == '4.01'
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()


def test_nothing_is_done_before_the_proof_and_little_is_said(place):
    fortress = place.fortress
    place.let_in()
    wait_until('it is let in', lambda: is_open(place.fortress))
    before = metrics(fortress)['connections{listener="coap"}']
    with Asker(fortress) as one, Asker(fortress) as other:
        for kind in (CON, NON):
            sent, answer = one.ask('mq/plant/a', code=PUT, payload=b'forged', kind=kind)
            assert answer.code == 0x81 and len(one.heard[-1]) <= 3 * len(sent)
            assert answer.kind == (ACK if kind == CON else NON)
        echo = echo_of(answer)
        assert metrics(fortress)['connections{listener="coap"}'] == before
        assert other.ask('mq/plant/a', [(ECHO, echo)])[1].code == 0x81, "an Echo is one address's"
        wrong = bytes([*echo[:-1], echo[-1] ^ 1])
        assert one.ask('mq/plant/a', [(ECHO, wrong)])[1].code == 0x81
        assert one.ask('mq/plant/a', [(ECHO, echo)])[1].code == 0x84, 'what was put before was not done'
        assert one.ask('mq/plant/a', code=PUT, payload=b'mine')[1].code in (0x41, 0x44), 'it is known now'
        assert other.prove('mq/plant/a').payload == b'mine'
        # The same message id: it is not done twice.
        one.mid -= 1
        watched = one.ask('mq/plant/a', code=PUT, payload=b'not this')[1]
        assert watched.code in (0x41, 0x44) and other.ask('mq/plant/a')[1].payload == b'mine'
        one.socket.send(Message(CON, 0, 77).encode())
        assert one.receive().kind == RST, 'a ping'
    whole = json.loads(fortress.cli('--json', 'selftest', 'amplification'))
    assert whole['passed'] and any(one['answers'] for listener in whole['listeners'] for one in listener['requests']), whole
    assert metrics(fortress)['coap_unproven_withheld_total'] == 0, 'nothing even wants to be more'
    assert metrics(fortress)['coap_amplification_worst_ratio'] <= 3


def test_it_ends_by_itself_also_across_a_restart(make_fortress, clock):
    place = Place(make_fortress, binary=clock.binary)
    fortress = place.fortress
    place.let_in(duration='1h')
    wait_until('it is let in', lambda: is_open(place.fortress))
    fortress.restart()
    assert any('old meters' in line for line in fortress.log), 'it is reported at every start'
    with Asker(fortress) as one:
        assert one.prove('mq/plant/a').code == 0x84
        clock.set(3601)
        fortress.add('watcher')  # the service thread has looked at the clock since
        wait_until('the end of the exception', lambda: not is_open(place.fortress), pause=0.2)
        answer = one.ask('mq/plant/a')[1]
        assert answer.code == 0x81 and echo_of(answer) is None
    wait_until('nothing is kept', lambda: metrics(fortress)['connections{listener="coap"}'] == 0)
    fortress.wait_event('exception', about='its time is over')


def test_it_is_said_everywhere(place):
    fortress = place.fortress
    assert 'PLAINTEXT' not in fortress.cli('status')
    run = [BINARY, 'scan', '127.0.0.1', '--port', f'coap:{fortress.ports["coap"]}', '--json', '--timeout', '5']

    def scanned():
        done = subprocess.run(list(map(str, run)), capture_output=True, text=True, timeout=60, check=False)
        return {finding['id'] for finding in json.loads(done.stdout)['findings']}
    assert 'coap-nosec' not in scanned()
    for allow, more in (('plaintext', ()), ('anonymous', ('--role', 'open'))):
        refused = fortress.cli('exception', 'add', '--listener', 'coap', '--allow', allow, *more, '--for', '1h', '--reason', 'x',
                               check=False)
        assert refused.returncode == 1 and '--allow plaintext,anonymous' in refused.stderr
    refused = fortress.cli('exception', 'add', '--listener', 'coaps', '--allow', 'plaintext,anonymous', '--role', 'open', '--for', '1h',
                           '--reason', 'x', check=False)
    assert refused.returncode == 1 and 'stays so' in refused.stderr
    known = place.let_in()
    wait_until('it is let in', lambda: is_open(place.fortress))
    assert 'coap' in fortress.cli('status') and 'ALSO IN PLAINTEXT by an exception' in fortress.cli('status')
    listener = next(one for one in fortress.json('status')[0]['listeners'] if one['name'] == 'coap')
    assert listener['plaintext'] and listener['open']
    report = json.loads(fortress.cli('--json', 'doctor', check=False).stdout)
    found = {finding['id'] for finding in report['findings']}
    assert {'debug-port', 'anonymous'} <= found, found
    assert 'coap-nosec' in scanned()
    fortress.cli('exception', 'end', known)
    wait_until('it is shut', lambda: not is_open(place.fortress))
    assert 'PLAINTEXT' not in fortress.cli('status')


def test_oscore_goes_on_under_its_own_name(place):
    fortress = place.fortress
    known = place.let_in()
    wait_until('it is let in', lambda: is_open(place.fortress))
    lamp = fortress.add('lamp', credentials=('oscore', 'x509'))
    with oscore.Client(lamp) as client:
        answer = client.request(PUT, f'mq/lamps/{lamp.name}/a', b'mine')
        assert answer.is_protected and answer.code in ('2.01', '2.04')
        # Plain, from the very same socket: whatever its context may do, this is nobody.
        mid = 40000
        options = [*path(f'mq/lamps/{lamp.name}/a')]
        plain = Message(CON, GET, mid, b'plain', options)
        client.send_raw(plain.encode())
        first = Message.decode(client.socket.recv(2048))
        assert first.code == 0x81 and echo_of(first) is not None
        client.send_raw(Message(CON, GET, mid + 1, b'plain', [*options, (ECHO, echo_of(first))]).encode())
        assert Message.decode(client.socket.recv(2048)).code == 0x83
        answer = client.request(GET, f'mq/lamps/{lamp.name}/a')
        assert answer.is_protected and answer.message.payload == b'mine'
        fortress.cli('exception', 'end', known)
        wait_until('it is shut', lambda: not is_open(place.fortress))
        assert client.request(GET, f'mq/lamps/{lamp.name}/a').message.payload == b'mine'


def test_what_nobody_in_particular_cannot_have(place):
    fortress = place.fortress
    place.let_in()
    wait_until('it is let in', lambda: is_open(place.fortress))
    with Asker(fortress) as one:
        assert one.prove('.well-known/core').code == 0x45
        assert one.ask('rd', code=POST, payload=b'</a>')[1].code == 0x83, 'a name of its own'
        assert one.ask('est/sen', code=POST, payload=b'x')[1].code >= 0x80, 'a certificate'


def test_another_role_is_another_exception(place):
    """Who came by one that has ended asks anew, and gets what the other one gives."""
    fortress = place.fortress
    known = place.let_in()
    wait_until('it is let in', lambda: is_open(place.fortress))
    with Asker(fortress) as one:
        assert one.prove('mq/plant/a', code=PUT, payload=b'x').code == 0x41
        place.let_in(role='other')
        fortress.cli('exception', 'end', known)

        def is_asked_anew():
            return echo_of(one.ask('mq/plant/a')[1]) is not None
        wait_until('it is asked anew', is_asked_anew)
        assert one.prove('mq/plant/a').payload == b'x'
        assert one.ask('mq/plant/a', code=PUT, payload=b'y')[1].code == 0x83


def test_an_observer_is_told_and_a_rebound_address_is_not(place):
    fortress, watcher = place.fortress, place.fortress.add('watcher')
    place.let_in()
    wait_until('it is let in', lambda: is_open(place.fortress))
    mosquitto.publish(watcher, 'plant/state', 'one', '-r')
    with Asker(fortress) as one, Asker(fortress) as other:
        answer = one.prove('mq/plant/state', [(OBSERVE, 0)])
        assert answer.payload == b'one' and any(number == OBSERVE for number, _ in answer.options)
        # A Reset of somebody else, with any message id, ends nothing of it.
        other.socket.send(Message(RST, 0, answer.mid).encode())
        mosquitto.publish(watcher, 'plant/state', 'two', '-r')
        end = time.monotonic() + 20
        while (told := one.receive()).payload != b'two':
            assert time.monotonic() < end
        assert told.token == b'tok'
