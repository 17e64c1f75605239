"""m: responses. Each answer on the live daemon with real clients, at both doors: it begins at once for who is connected, ends
at its deadline or by undo, leaves everything as it was, and is in the trail. Rules run dry unless told otherwise; they never
touch who is excepted, and never more devices in an hour than was said. Others notice nothing."""
import contextlib
import re

import pytest

from harness import coap, mosquitto, wire
from harness.fortress import POLICY, Fortress, Refused, counted, metrics, times
from harness.mosquitto import Subscriber
from harness.wait import wait_until
from harness.wire import CONNACK, DISCONNECT, PUBACK, PUBLISH, SUBACK, Wire

pytestmark = pytest.mark.release

HOUR = 3600
WARDEN = POLICY.read_text() + '''  warden:
    subscribe: [ "$quarantine/#" ]
  slow:
    publish: [ "slow/${device}/+" ]
    limits: { publish_rate: 30/s, publish_burst: 30 }
'''


@pytest.fixture(scope='module')
def fortress():
    one = Fortress(policy=WARDEN)
    yield one
    one.close()


def respond(fortress, device, answer, period='1h', reason='a test'):
    """By hand; gives the number."""
    return fortress.cli('respond', 'start', device.name, answer, '--for', period, '--reason', reason).strip()


def seen_by_the_trail(fortress, client, device):
    """What its worker had to say of it until now: an event of the same worker has come through behind it."""
    def refusals():
        return sum(times(e) for e in fortress.events() if e['category'] == 'acl_deny' and e['principal'] == device.name)
    before = refusals()
    assert say(client, 'nobody/may', 'x') == 0x87
    wait_until('the refusal', lambda: refusals() > before)


def running(fortress):
    return {row['id']: row for row in fortress.json('respond', 'list')}


def trail(fortress, device, *beginnings):
    """Each of these is the beginning of a response event about the device, in this order."""
    def seen():
        reasons = [e['reason'] for e in fortress.events() if e['category'] == 'response' and e['target'] == device.name]
        at = 0
        for reason in reasons:
            at += at < len(beginnings) and reason.startswith(beginnings[at])
        return at == len(beginnings)
    wait_until(f'{beginnings} in the trail', seen, 30)


def come(fortress, device, **how):
    return Wire(fortress, device).login(device.name, **how)


def say(client, topic, payload, packet_id=1):
    return client.send(wire.publish(topic, payload, 1, packet_id)).expect_among(PUBACK, lambda got: None).reason


def nothing_but(client, packet_id=900):
    """What came before the answer to a question asked now."""
    came = []
    client.send(wire.packet(wire.PINGREQ)).expect_among(wire.PINGRESP, came.append)
    return [got for got in came if got.kind == PUBLISH]


def is_let_in(fortress, device):
    with Wire(fortress, device) as client:
        answer = client.send(wire.connect(device.name)).expect(CONNACK)
        return answer.reason


def test_a_quarantine_ends_at_its_deadline(make_fortress, clock):
    fortress = make_fortress(binary=clock.binary, policy=WARDEN)
    device, bystander, console, desk, warden = (
        fortress.add(role) for role in ('sensor', 'sensor', 'console', 'console', 'warden'))
    topic = f'sensors/north/{device.name}/t'
    with contextlib.ExitStack() as stack:
        live, other = stack.enter_context(come(fortress, device)), stack.enter_context(come(fortress, bystander))
        for client, name in ((live, device.name), (other, bystander.name)):
            assert client.send(wire.subscribe(1, f'commands/{name}/#')).expect(SUBACK).reason in (0, 1)
        heard = stack.enter_context(Subscriber(console, 'sensors/#', qos=1))
        kept = stack.enter_context(Subscriber(warden, '$quarantine/#', qos=1))
        assert say(live, topic, 'before') in (0, 0x10)
        assert heard.get()['payload'] == 'before'
        number = respond(fortress, device, 'quarantine', '2h', 'strange since noon')
        assert number == fortress.json('respond', 'list')[0]['id']
        row = running(fortress)[number]
        assert (row['name'], row['answer'], row['mode'], row['reason']) == (device.name, 'quarantine', 'enforce', 'strange since noon')
        assert row['by'].startswith('uid=') and row['since'] < row['until']

        # Its connection stands, and what it says is accepted: it lands where only the warden hears it.
        assert say(live, topic, 'inside') in (0, 0x10)
        got = kept.get()
        assert (got['topic'], got['payload'], got['retain']) == (f'$quarantine/{device.name}/{topic}', 'inside', 0)
        assert say(live, f'status/{device.name}', 'kept?') in (0, 0x10)
        assert kept.get()['topic'] == f'$quarantine/{device.name}/status/{device.name}'
        mosquitto.publish(desk, f'commands/{device.name}/go', 'unheard', qos=1)
        mosquitto.publish(desk, f'commands/{bystander.name}/go', 'heard', qos=1)
        assert other.expect(PUBLISH).body.endswith(b'heard')
        assert say(other, f'sensors/north/{bystander.name}/t', 'untouched') in (0, 0x10)
        assert heard.get()['payload'] == 'untouched', 'and nothing of who is in quarantine'
        assert not nothing_but(live)
        assert not [e for e in fortress.events() if e['category'] == 'acl_deny']

        # Killed in between: it runs on, with the same number, and for who comes back.
        fortress.kill()
        fortress.start()
        assert list(running(fortress)) == [number] and running(fortress)[number]['until'] == row['until']
        again, heard, kept = (stack.enter_context(one) for one in (
            come(fortress, device), Subscriber(console, 'sensors/#', qos=1), Subscriber(warden, '$quarantine/#', qos=1)))
        again.send(wire.subscribe(1, f'commands/{device.name}/#')).expect(SUBACK)
        assert say(again, topic, 'after the kill') in (0, 0x10)
        assert kept.get()['payload'] == 'after the kill'

        clock.set(2 * HOUR - 120)
        fortress.add('sensor')  # the service thread has looked at the clock since
        assert list(running(fortress)) == [number]
        clock.set(2 * HOUR + 1)
        fortress.add('sensor')
        wait_until('its end', lambda: not running(fortress), 90)
        trail(fortress, device, f'began: response {number}, quarantine of {device.name}, by uid=',
              f'its time is over, ended: response {number}, quarantine')
        assert say(again, topic, 'free') in (0, 0x10)
        assert heard.get()['payload'] == 'free'
        mosquitto.publish(desk, f'commands/{device.name}/go', 'heard again', qos=1)
        assert again.expect(PUBLISH).body.endswith(b'heard again')


def test_undo_restores_what_was(fortress):
    """What waited for it waits on; the same connection goes on with it when the quarantine is undone."""
    device, console, desk, warden = (fortress.add(role) for role in ('lamp', 'console', 'console', 'warden'))
    with come(fortress, device) as live, Subscriber(warden, f'$quarantine/{device.name}/#', qos=1) as kept, \
            Subscriber(console, f'lamps/{device.name}/#', qos=1) as heard:
        live.send(wire.subscribe(1, f'lamps/{device.name}/set/#')).expect(SUBACK)
        assert say(live, f'lamps/{device.name}/state', 'on') in (0, 0x10)
        assert heard.get()['payload'] == 'on'
        number = respond(fortress, device, 'quarantine')
        live.send(wire.publish(f'lamps/{device.name}/state', 'spoilt', 1, 2, retain=True)).expect(PUBACK)
        assert kept.get()['retain'] == 0
        # What others retain is not there for it, and what it retains is not there for others.
        mosquitto.publish(desk, f'lamps/{device.name}/set/x', 'goal', '-r', qos=1)
        assert heard.get()['payload'] == 'goal'
        live.send(wire.subscribe(3, f'lamps/{device.name}/set/+')).expect_among(SUBACK, lambda got: None)
        assert not nothing_but(live)
        fortress.cli('respond', 'undo', number)
        assert number not in running(fortress)
        trail(fortress, device, f'began: response {number},', f'undone: response {number},')
        assert say(live, f'lamps/{device.name}/state', 'on again', 4) in (0, 0x10)
        assert heard.get()['payload'] == 'on again'
        mosquitto.publish(desk, f'lamps/{device.name}/set/y', 'next', qos=1)
        assert live.expect(PUBLISH).body.endswith(b'next')
        assert [e['principal'] for e in fortress.events() if e['reason'].startswith(f'undone: response {number},')] == ['admin']


@pytest.mark.skipif(not coap.BUILDS, reason='libcoap3-bin is not installed')
def test_a_quarantine_at_the_coap_door(fortress):
    build = coap.BUILDS[0]
    device, console, warden = fortress.add('lamp', credentials=('psk',)), fortress.add('console'), fortress.add('warden')
    path = f'mq/lamps/{device.name}/goal'
    mosquitto.publish(console, f'lamps/{device.name}/goal', 'forty two', '-r', qos=1)
    assert 'forty two' in coap.request(build, device, 'get', path).payload
    with coap.Observer(build, device, path) as watching, Subscriber(warden, f'$quarantine/{device.name}/#', qos=1) as kept:
        watching.expect('forty two')
        number = respond(fortress, device, 'quarantine')
        assert coap.request(build, device, 'put', f'mq/lamps/{device.name}/state', 'on').code is None
        assert (got := kept.get())['topic'] == f'$quarantine/{device.name}/lamps/{device.name}/state' and got['retain'] == 0
        assert coap.request(build, device, 'get', path).code == '4.04'
        mosquitto.publish(console, f'lamps/{device.name}/goal', 'hidden', '-r', qos=1)
        fortress.cli('respond', 'undo', number)
        mosquitto.publish(console, f'lamps/{device.name}/goal', 'seen', '-r', qos=1)
        watching.expect('seen')
        assert 'hidden' not in watching.seen
    assert 'seen' in coap.request(build, device, 'get', path).payload


@pytest.mark.parametrize('answer', ('disconnect', 'revoke'))
def test_shut_out(fortress, answer):
    """Its connections end, and it is not let in, by either door; a person's own `disable` meanwhile stays."""
    device, bystander = fortress.add('sensor', credentials=('x509', 'password', 'psk')), fortress.add('sensor')
    with come(fortress, device) as live, come(fortress, bystander) as other:
        number = respond(fortress, device, answer)
        assert live.expect_close()[-1].kind == DISCONNECT
        assert is_let_in(fortress, device) == 0x87
        if coap.BUILDS:
            refused = coap.request(coap.BUILDS[0], device, 'put', f'mq/status/{device.name}', 'x', wait_s=3)
            assert refused.exit != 0 or refused.code or not refused.payload
        fortress.wait_event('revoked', about=device.name, reason=re.compile('shut out by a response; `sallyport respond list`'))
        fortress.cli('respond', 'undo', number)
        assert is_let_in(fortress, device) == 0
        number = respond(fortress, device, answer)
        fortress.cli('device', 'disable', device.name)
        fortress.cli('respond', 'undo', number)
        assert is_let_in(fortress, device) == 0x87
        fortress.cli('device', 'enable', device.name)
        assert is_let_in(fortress, device) == 0
        assert say(other, f'status/{bystander.name}', 'untouched') in (0, 0x10)
    trail(fortress, device, 'began: response', 'undone: response', 'began: response', 'undone: response')


def test_revoke_lasts_until_it_is_undone(fortress):
    device = fortress.add('sensor')
    number = fortress.cli('respond', 'start', device.name, 'revoke', '--reason', 'stolen').strip()
    assert running(fortress)[number]['until'] == '-' and is_let_in(fortress, device) == 0x87
    fortress.restart()
    assert running(fortress)[number]['until'] == '-' and is_let_in(fortress, device) == 0x87
    fortress.cli('respond', 'undo', number)
    assert is_let_in(fortress, device) == 0
    number = respond(fortress, device, 'revoke')
    fortress.cli('device', 'remove', device.name)
    assert number not in running(fortress), 'with its device'


def ticket_of(live):
    """It comes behind the login, when there is time, and is read along with anything else."""
    live.send(wire.packet(wire.PINGREQ)).expect(wire.PINGRESP)
    return live.socket.session if live.socket.session.has_ticket else None


def test_step_up(fortress):
    """Its connections end; neither the ticket of before nor its password opens, its own key does."""
    device = fortress.add('sensor')
    context = wire.tls_context(device)
    with Wire(fortress, context=context) as live:
        live.login(device.name)
        assert say(live, f'status/{device.name}', 'here') in (0, 0x10)
        session = wait_until('the ticket', lambda: ticket_of(live), pause=0.01)
        number = respond(fortress, device, 'step-up')
        assert live.expect_close()[-1].kind == DISCONNECT
    with Wire(fortress, context=context, session=session) as by_ticket:
        answer = by_ticket.send(wire.connect(device.name)).expect(CONNACK)
        assert answer.reason == 0x87 if by_ticket.socket.session_reused else answer.reason == 0
        assert by_ticket.socket.session_reused
    with Wire(fortress, ca=device.ca) as by_password:
        answer = by_password.send(wire.connect(device.name, user=device.name, password=device.password)).expect(CONNACK)
        assert answer.reason == 0x87
    fortress.wait_event('auth_fail', about=device.name, reason=re.compile('full handshake'))
    fortress.wait_event('auth_fail', about=device.name, reason=re.compile('asks it for its certificate'))
    with Wire(fortress, device) as fresh:
        fresh.login(device.name)
        assert say(fresh, f'status/{device.name}', 'proven') in (0, 0x10)
        fortress.cli('respond', 'undo', number)
        assert say(fresh, f'status/{device.name}', 'goes on', 2) in (0, 0x10)
    with Wire(fortress, ca=device.ca) as by_password:
        answer = by_password.send(wire.connect(device.name, user=device.name, password=device.password)).expect(CONNACK)
        assert answer.reason == 0


def test_throttle(fortress):
    """A tenth: 3 at once and in a second instead of 30. MQTT is read more slowly, and that is said; undo gives all of it back."""
    device = fortress.add('slow')

    def burst(client):
        client.send(*[wire.publish(f'slow/{device.name}/x', 'x', 1, i + 1) for i in range(20)])
        assert all(client.expect(PUBACK, 60).reason in (0, 0x10) for _ in range(20))

    def slowed(words):
        return sum(times(e) for e in fortress.events() if e['category'] == 'rate' and e['principal'] == device.name and words in e['reason'])
    with come(fortress, device) as live:
        burst(live)
        number = respond(fortress, device, 'throttle')
        seen_by_the_trail(fortress, live, device)
        assert not slowed('')
        burst(live)
        wait_until('its slowness', lambda: slowed('It is throttled: see `sallyport respond list`'), 30)
        fortress.cli('respond', 'undo', number)

        def at_once():
            before = slowed('')
            burst(live)
            seen_by_the_trail(fortress, live, device)
            return slowed('') == before
        wait_until('its rate again', at_once, 60, pause=1)


def test_usage(fortress):
    device = fortress.add('sensor')
    for wrong in (('start', device.name, 'quarantine', '--reason', 'x'), ('start', device.name, 'quarantine', '--for', '1h'),
                  ('start', device.name, 'quarantine', '--for', '59s', '--reason', 'x'), ('undo',), ('undo', '1', '--all'),
                  ('start', device.name, 'quarantine', '--for', '31d', '--reason', 'x'), ('forget',), (), ('undo', 'x'),
                  ('start', device.name, 'alert', '--for', '1h', '--reason', 'x')):
        with pytest.raises(Refused) as refused:
            fortress.cli('respond', *wrong)
        assert refused.value.code == 2, wrong
    for wrong in (('start', 'nobody', 'throttle', '--for', '1h', '--reason', 'x'), ('undo', '999999')):
        with pytest.raises(Refused) as refused:
            fortress.cli('respond', *wrong)
        assert refused.value.code == 1, wrong
    short, longer = respond(fortress, device, 'throttle', '1h'), respond(fortress, device, 'throttle', '2h')
    assert short == longer and running(fortress)[short]['until'] > running(fortress)[short]['since']
    with pytest.raises(Refused):
        respond(fortress, device, 'throttle', '1h')
    respond(fortress, device, 'quarantine')
    seen = metrics(fortress)
    assert seen['responses{answer="throttle"}'] >= 1 and seen['responses{answer="quarantine"}'] >= 1
    assert seen['responses_started_total{answer="throttle"}'] >= 1
    assert fortress.cli('respond', 'undo', '--all').startswith('undone: ')
    assert not running(fortress)
    wait_until('none that runs', lambda: metrics(fortress)['responses{answer="throttle"}'] == 0)
    assert 'respond start pump-7 quarantine' in fortress.run('respond', '--help')


# -- rules --------------------------------------------------------------------------------------------------------------

def probe(fortress, device):
    """What `probing` finds: many topics that are not its own. Ends when it is cut off."""
    with contextlib.suppress(AssertionError, OSError), come(fortress, device) as client:
        for i in range(40):
            client.send(wire.subscribe(i + 1, f'plant/{device.name}/{i}')).expect_among(SUBACK, lambda got: None)


def ruled(make_fortress, rules):
    fortress = make_fortress(start=False, policy=None)
    fortress.configure('\nlisteners:', f'\nresponses: {rules}\nlisteners:')
    fortress.start()
    fortress.apply(WARDEN)
    return fortress


def found(fortress, device):
    wait_until(f'the alert about {device.name}', lambda: [
        row for row in fortress.alerts() if row.get('detector') == 'probing' and row['principal'] == device.name], 60)


def test_without_rules_nothing_is_done(fortress):
    device = fortress.add('sensor')
    before = metrics(fortress)
    probe(fortress, device)
    found(fortress, device)
    rows = wait_until('the dry run', lambda: [row for row in fortress.json('respond', 'list', '--dry-run')
                                             if row['name'] == device.name], 30)
    assert (rows[0]['answer'], rows[0]['detector'], rows[0]['mode'], rows[0]['count']) == ('quarantine', 'probing', 'dry-run', 1)
    assert not running(fortress) and is_let_in(fortress, device) == 0
    trail(fortress, device, f'dry run, nothing was done: would begin: quarantine of {device.name}, by rule probing')
    counted(fortress, 'responses_dry_run_total', before['responses_dry_run_total'] + 1)
    after = metrics(fortress)
    assert all(after[name] == before[name] for name in before if name.startswith('responses_started_total'))


def test_rules(make_fortress):
    """Enforced ones act at once and by themselves, on who is not excepted, and on two in an hour, also over kill -9."""
    fortress = ruled(make_fortress, '{ rules: [ { on: probing, role: sensor, answer: disconnect, for: 1h, mode: enforce }, '
                     '{ on: any, answer: revoke } ], except: { names: [plc-1], roles: [console] }, per_hour: 2 }')
    plc, bystander = fortress.add('sensor', name='plc-1'), fortress.add('sensor')
    devices = [fortress.add('sensor') for _ in range(3)]
    with come(fortress, bystander) as other:
        probe(fortress, plc)
        trail(fortress, plc, f'not begun, it is excepted by `except`: disconnect of {plc.name}')
        probe(fortress, devices[0])
        row = wait_until('the answer', lambda: [r for r in running(fortress).values() if r['name'] == devices[0].name], 60)[0]
        assert (row['answer'], row['by'], row['mode']) == ('disconnect', 'rule probing', 'enforce')
        assert row['reason'].startswith('probing: ') and re.search(r'\d', row['reason'])
        assert is_let_in(fortress, devices[0]) == 0x87
        trail(fortress, devices[0], f'began: response {row["id"]}, disconnect of {devices[0].name}, by rule probing, until 20')
        assert [r for r in fortress.json('respond', 'list', '--dry-run') if r['answer'] == 'revoke'], 'what is stronger runs dry'
        probe(fortress, devices[1])
        wait_until('the second', lambda: len(running(fortress)) == 2, 60)
        assert say(other, f'status/{bystander.name}', 'untouched') in (0, 0x10)
    fortress.kill()
    fortress.start()
    assert len(running(fortress)) == 2
    probe(fortress, devices[2])
    found(fortress, devices[2])
    trail(fortress, devices[2], 'not begun, only alerted: `per_hour` devices were answered by rule in this hour')
    assert len(running(fortress)) == 2 and is_let_in(fortress, devices[2]) == 0
    assert counted(fortress, 'responses_withheld_total{reason="per_hour"}', 1) == 1
    fortress.cli('respond', 'undo', '--all')
    assert not running(fortress) and is_let_in(fortress, devices[0]) == 0
    trail(fortress, devices[0], 'began: response', 'undone: response')


def test_a_reload_brings_other_rules(make_fortress):
    fortress = ruled(make_fortress, '{ rules: [ { on: probing, answer: quarantine, for: 1h } ] }')
    first, second = fortress.add('sensor'), fortress.add('sensor')
    probe(fortress, first)
    found(fortress, first)
    assert not running(fortress)
    fortress.configure('for: 1h }', 'for: 1h, mode: enforce }')
    fortress.reload()
    fortress.wait_event('policy_change', timeout=30, at_least=2)
    probe(fortress, second)
    wait_until('the answer', lambda: [r for r in running(fortress).values() if r['name'] == second.name], 60)


@pytest.mark.parametrize('rules,said', (
    ('{ rules: [ { on: login_name, answer: disconnect, for: 1h } ] }', 'names who is attacked'),
    ('{ rules: [ { on: replay_burst, answer: step-up, for: 1h } ] }', 'It can only alert'),
    ('{ rules: [ { on: nothing, answer: throttle, for: 1h } ] }', 'no detector and no category'),
    ('{ rules: [ { on: probing, answer: throttle } ] }', 'throttle needs for'),
    ('{ rules: [ { on: probing, answer: destroy, for: 1h } ] }', 'answer must be one of'),
    ('{ rules: [ { on: probing, answer: throttle, for: 31d } ] }', '30d'),
    ('{ rules: [ { on: probing, answer: throttle, for: 1h, mode: now } ] }', 'mode must be'),
    ('{ per_hour: 101 }', '100'), ('{ except: { names: ["a b"] } }', 'holds names'), ('{ rule: [] }', 'rule')))
def test_rules_that_are_refused(make_fortress, rules, said):
    fortress = make_fortress(start=False, policy=None)
    fortress.configure('\nlisteners:', f'\nresponses: {rules}\nlisteners:')
    with pytest.raises(Refused) as refused:
        fortress.run('check', fortress.dir)
    assert said in refused.value.stdout + refused.value.stderr and 'sallyport.yaml:' in refused.value.stdout + refused.value.stderr
