"""a: CoAP under OSCORE (RFC 8613) onto the same topics, with a client that was written without ours: harness/oscore.py."""
import json
import re
import shutil

import pytest

from harness import mosquitto
from harness.coap_message import ACK, CON, DELETE, ECHO, GET, NON, OBSERVE, POST, PUT, RST, Message
from harness.fortress import ROOT, Refused
from harness.mosquitto import Subscriber
from harness.oscore import Client, Context

pytestmark = pytest.mark.release

LISTENERS = ('mqtts', 'coaps', 'coap')
CREDENTIALS = ('oscore', 'x509')


@pytest.fixture(scope='module')
def fortress():
    from harness.fortress import Fortress
    one = Fortress(listeners=LISTENERS)
    yield one
    one.close()


def bare(answer):
    return not answer.is_protected


def add_lamp(fortress):
    return fortress.add('lamp', credentials=CREDENTIALS)


def test_the_client_agrees_with_the_appendix():
    vectors = {v['section']: v for v in json.loads((ROOT / 'tests/vectors/oscore-rfc8613-appendix-c.json').read_text())['vectors']}

    def context(section):
        v = {key: bytes.fromhex(value) if re.fullmatch(r'([0-9a-f]{2})*', str(value)) else value
             for key, value in vectors[section].items()}
        return Context(v['Master Secret'], v.get('Master Salt', b''), v['Sender ID'], v['Recipient ID'], v.get('ID Context'))
    for request, keys, with_context in (('C.4', 'C.1.1', False), ('C.5', 'C.2.1', False), ('C.6', 'C.3.1', True)):
        plain = Message.decode(bytes.fromhex(vectors[request]['Unprotected CoAP request']))
        sealed, bound = context(keys).protect(plain, number=20, with_context=with_context)
        assert sealed.encode().hex() == vectors[request]['Protected CoAP request (OSCORE message)']
        if request == 'C.4':
            for answer in ('C.7', 'C.8'):
                outer = Message.decode(bytes.fromhex(vectors[answer]['Protected CoAP response (OSCORE message)']))
                inner, _ = context(keys).open(outer, bound)
                assert inner.encode().hex() == vectors[answer]['Unprotected CoAP response']


def test_the_bundle_is_for_its_owner_alone(fortress):
    lamp = add_lamp(fortress)
    assert (lamp.bundle / 'oscore.json').stat().st_mode & 0o777 == 0o600
    given = json.loads((lamp.bundle / 'oscore.json').read_text())
    assert len(given['master_secret']) == 32 and len(given['master_salt']) == 16
    assert given['master_secret'] not in (lamp.bundle / 'howto.txt').read_text()
    assert json.loads((lamp.bundle / 'bundle.json').read_text())['ports']['coap'] == fortress.ports['coap']
    assert 'oscore' in fortress.cli('device', 'show', lamp.name)


def test_one_topic_space_and_one_policy(fortress):
    lamp, other, console = add_lamp(fortress), add_lamp(fortress), fortress.add('console')
    with Client(lamp) as client, Subscriber(console, f'lamps/{lamp.name}/#', qos=1) as seen:
        first = client.ask(PUT, f'mq/lamps/{lamp.name}/state', b'on')
        assert first.is_protected and first.code == '4.01' and first.message.option(ECHO), 'it proves itself first'
        answer = client.ask(PUT, f'mq/lamps/{lamp.name}/state', b'on', [(ECHO, first.message.option(ECHO))])
        assert (answer.code, answer.is_protected, answer.piv) == ('2.01', True, None), 'the nonce of the request serves'
        assert (seen.get()['payload']) == 'on'
        assert client.request(POST, f'mq/lamps/{lamp.name}/state', b'passing').code == '2.04'
        assert seen.get()['payload'] == 'passing'
        mosquitto.publish(console, f'lamps/{lamp.name}/goal', 'forty two', '-r', qos=1)
        assert client.request(GET, f'mq/lamps/{lamp.name}/goal').payload == 'forty two'
        refused = client.request(PUT, f'mq/lamps/{other.name}/state', b'mine')
        assert refused.code == '4.03' and refused.is_protected
        assert client.request(DELETE, f'mq/lamps/{lamp.name}/state').code == '2.02'
        assert client.request(GET, f'mq/lamps/{lamp.name}/state').code == '4.04'
    fortress.wait_event('acl_deny', about=lamp.name)
    hits = fortress.wait_event('connect', principal=lamp.name, listener='coap')
    assert any('OSCORE' in hit['reason'] for hit in hits)


def test_observe(fortress):
    lamp, console = add_lamp(fortress), fortress.add('console')
    topic = f'lamps/{lamp.name}/goal'
    mosquitto.publish(console, topic, 'state-0', '-r', qos=1)
    with Client(lamp) as client:
        first = client.request(GET, f'mq/{topic}', options=[(OBSERVE, b'')])
        assert first.payload == 'state-0' and first.message.option(OBSERVE) == b''
        last = -1
        for i in range(1, 6):
            mosquitto.publish(console, topic, f'state-{i}', '-r', qos=1)
            news = client.get_answer(first.outer.token)
            assert news.payload == f'state-{i}' and news.message.option(OBSERVE) == b''
            assert news.outer.option(OBSERVE) is not None and news.outer.text == '2.05'
            assert int.from_bytes(news.piv, 'big') > last, 'each has a number of its own'
            last = int.from_bytes(news.piv, 'big')
        # a new port: the same association, when it has proven itself
        client.rebind()
        assert client.request(GET, f'mq/{topic}').payload == 'state-5'
        mosquitto.publish(console, topic, 'elsewhere', '-r', qos=1)
        assert client.get_answer(first.outer.token).payload == 'elsewhere'
        # whoever refuses a notification ends it
        mosquitto.publish(console, topic, 'refused', '-r', qos=1)
        outer = Message.decode(client.receive_raw(20))
        client.send_raw(Message(RST, 0, outer.mid).encode())
        assert client.request(GET, f'mq/{topic}').payload == 'refused'
    assert len(fortress.wait_event('connect', at_least=2, principal=lamp.name, listener='coap')) >= 2


def test_a_replay_is_refused_and_does_nothing(fortress):
    lamp, console = add_lamp(fortress), fortress.add('console')
    with Client(lamp) as client, Subscriber(console, f'lamps/{lamp.name}/#', qos=1) as seen:
        client.request(GET, f'mq/lamps/{lamp.name}/x')
        client.ask(POST, f'mq/lamps/{lamp.name}/state', b'once')
        recorded = client.sent[-1]
        assert seen.get()['payload'] == 'once'
        client.send_raw(recorded)  # its owner did not hear the answer: the same answer, nothing is done again
        assert client.get_answer().code == '2.04'
        with Client(lamp) as thief:
            thief.send_raw(recorded)
            refused = Message.decode(thief.receive_raw(20))
            assert refused.text == '4.01' and not refused.options and not refused.payload
            changed = bytearray(recorded)
            changed[2] ^= 1  # another message id
            client.send_raw(bytes(changed))
            assert client.get_answer(where=bare).code == '4.01'
        mosquitto.publish(console, f'lamps/{lamp.name}/mark', 'mark', qos=1, client_id='marker')
        assert seen.get()['payload'] == 'mark', 'it came once'
    fortress.wait_event('replay', about=lamp.name)


def test_refusals_do_not_tell_which(fortress):
    """Wrong key, unknown kid, nothing at all: the same four bytes and a token, never longer than what came."""
    lamp, other = add_lamp(fortress), add_lamp(fortress)
    wrong = Context.of(lamp)
    wrong.sender_key = bytes(16)
    nobody = Context.of(lamp)
    nobody.sender = b'\xff' * 6
    with Client(lamp) as good:
        assert good.request(GET, f'mq/lamps/{lamp.name}/x').code == '4.04'
        for context, protect in ((wrong, True), (nobody, True), (wrong, False)):
            with Client(other, context) as client:
                answer = client.ask(GET, 'mq/a', protect=protect)
                assert not answer.is_protected and answer.code == '4.01'
                assert answer.outer.kind == ACK and not answer.outer.options and not answer.outer.payload
                client.send(GET, 'mq/a', kind=NON, protect=protect)
                client.send_raw(Message(CON, 0, 77).encode())  # a ping from nobody
                assert client.receive_raw(0.2) is None
        with Client(other, wrong) as client:
            client.send_raw(Message(CON, POST, 5, b'tk', [(9, b'\x06123456')], b'x' * 20).encode())
            assert Message.decode(client.receive_raw(20)).text == '4.02'
        assert good.request(GET, f'mq/lamps/{lamp.name}/x').code == '4.04', 'nobody was locked out by that'
    hits = fortress.wait_event('auth_fail', listener='coap')
    assert all('secret' not in hit['reason'] for hit in hits)
    ratio = next(line for line in fortress.cli('metrics').splitlines() if line.startswith('sallyport_coap_amplification_ratio'))
    assert float(ratio.split()[-1]) <= 3


@pytest.mark.parametrize('ending', ['restart', 'kill'])
def test_after_a_restart_nothing_old_comes_in(make_fortress, ending):
    fortress = make_fortress(listeners=LISTENERS)
    lamp, console = add_lamp(fortress), fortress.add('console')
    topic = f'lamps/{lamp.name}/state'
    with Client(lamp) as client:
        client.request(POST, f'mq/{topic}', b'before')
        with_echo = client.sent[-1]
        client.send(POST, f'mq/{topic}', b'last')
        assert client.get_answer().code == '2.04'
        used = set(client.numbers)
        recorded = [with_echo, client.sent[-1]]
        if ending == 'kill':
            fortress.kill()
            fortress.start()
        else:
            fortress.restart()
        with Subscriber(console, 'lamps/#', qos=1) as seen:
            for old in recorded:
                client.send_raw(old)
                challenge = client.get_answer(where=lambda answer: answer.message.option(ECHO) and answer.piv not in used)
                assert challenge.is_protected and challenge.code == '4.01'
            assert client.request(POST, f'mq/{topic}', b'after').code == '2.04'
            assert seen.get()['payload'] == 'after', 'nothing that was recorded came before it'
            for old in recorded:
                client.send_raw(old)
                assert client.get_answer(where=bare).code == '4.01'
            mosquitto.publish(console, f'lamps/{lamp.name}/mark', 'mark', qos=1, client_id='marker')
            assert seen.get()['payload'] == 'mark'


def test_a_client_without_its_numbers_begins_anew(fortress):
    """Appendix B.2: also while the association of before is open; nothing recorded of either comes in."""
    lamp, console = add_lamp(fortress), fortress.add('console')
    topic = f'lamps/{lamp.name}/goal'
    mosquitto.publish(console, topic, 'here', '-r', qos=1)
    for is_known in (False, True):
        with Client(lamp) as client:
            if is_known:
                assert client.begin_anew(GET, f'mq/{topic}').payload == 'here'
                client.context = Context.of(lamp)
            answer = client.begin_anew(GET, f'mq/{topic}')
            assert (answer.code, answer.payload) == ('2.05', 'here')
            assert client.request(GET, f'mq/{topic}').payload == 'here', 'and goes on without a word about contexts'
            for old in client.sent[:-1]:
                with Client(lamp) as thief:
                    thief.send_raw(old)
                    outer = Message.decode(thief.receive_raw(20))
                    assert outer.text in ('4.01', '2.04') and len(outer.payload) <= 9, 'nothing but an offer, or no'


def test_rotated_disabled_removed(fortress):
    lamp = add_lamp(fortress)
    path = f'mq/lamps/{lamp.name}/x'
    with Client(lamp) as client:
        assert client.request(GET, path).code == '4.04'
        old = Context.of(lamp)
        fortress.cli('device', 'rotate', lamp.name, '--credential', 'oscore', '--out', fortress.home / 'rotated')
        (lamp.bundle / 'oscore.json').write_bytes((fortress.home / 'rotated/oscore.json').read_bytes())
        assert Context.of(lamp).sender != old.sender
        refused = client.ask(GET, path)
        assert refused.code == '4.01' and not refused.is_protected, 'the old one has ended at once'
    with Client(lamp) as client:
        assert client.request(GET, path).code == '4.04'
        fortress.cli('device', 'disable', lamp.name)
        assert not client.ask(GET, path).is_protected
        fortress.cli('device', 'enable', lamp.name)
        assert client.request(GET, path).code == '4.04'
        fortress.cli('device', 'remove', lamp.name)
        assert not client.ask(GET, path).is_protected
    with pytest.raises(Refused):
        fortress.cli('device', 'show', lamp.name)


def test_a_restored_backup_uses_no_number_again(make_fortress):
    """What was used behind the backup is on no record of it: all numbers leap."""
    one, other = make_fortress(listeners=LISTENERS), make_fortress(listeners=LISTENERS, start=False)
    lamp = add_lamp(one)
    path = f'mq/lamps/{lamp.name}/x'
    with Client(lamp) as client:
        client.request(GET, path)
        one.cli('backup', one.home / 'b.spb')
        one.restart()
        client.request(GET, path)
        highest = max(int.from_bytes(piv, 'big') for piv in client.numbers)
        assert highest < 2 ** 30
        one.stop()
        shutil.rmtree(other.dir)
        (other.home / 'fortress.key').unlink()
        other.cli('restore', one.home / 'b.spb')
        for name, port in one.ports.items():
            other.configure(f':{port}"', f':{other.ports[name]}"')
        other.start()
        client.server = ('127.0.0.1', other.ports['coap'])
        for start in (2 ** 30, 2 ** 30 + 256):
            before = set(client.numbers)
            assert client.request(GET, path).code == '4.04'
            assert min(int.from_bytes(piv, 'big') for piv in client.numbers - before) == start
            other.restart()
