"""What hostile clients do, one function for each class of attack: `attack(ground, n)` does it n times, asserts that the server
answered each time as it must, and gives a line about it. The same functions serve `make test` (small) and tests/bench/attacks."""
import contextlib
import random
import re
import select
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from harness import openssl, wire
from harness.coap_message import CON, GET, OBSERVE, Message, path
from harness.fortress import metrics
from harness.strangers import dial, hello_bytes, trickle
from harness.wait import wait_until
from harness.wire import CONNACK, DISCONNECT, PINGREQ, PINGRESP, PUBACK, PUBLISH, PUBREC, SUBACK, UNSUBACK, Wire

# hostile: rates are lifted, so that an attack meets the bounds behind them. meek: all limits are the defaults.
ROLES = '''
  hostile:
    many: yes
    client_id: "*"
    publish:   [ { topic: "bad/#", retain: yes } ]
    subscribe: [ "bad/#" ]
    limits: { connect_rate: 1000000/s, connect_burst: 1000000, publish_rate: 10000000/s, publish_burst: 10000000 }
  greedy:
    publish:   [ "bad/#" ]
    subscribe: [ "bad/#" ]
    limits: { subscriptions: 100000, publish_rate: 10000000/s, publish_burst: 10000000 }
  meek:
    publish:   [ "bad/#" ]
    subscribe: [ "bad/#" ]
'''
SETTINGS = ('workers=2', 'preauth_seconds=4', 'dtls_preauth_seconds=4')
PREAUTH_S = 4
SUBSCRIPTIONS, RETAINED, FILTERS = 50, 100, 8  # the defaults of a role, and of a packet
LASTS = b'\x11\0\0\x0e\x10'
SLASHES = b'/' * 65535
MANY_PROPERTIES = b'\x26\0\1k\0\1v' * 16000
FLOOD_C = Path(__file__).with_name('flood.c')


class Ground:
    """A fortress to attack, and who attacks it."""

    def __init__(self, fortress):
        self.fortress = fortress
        self.hostile, self.greedy, self.meek = (fortress.add(role, name=role, credentials=('x509', 'psk'))
                                                for role in ('hostile', 'greedy', 'meek'))
        self.context, self.meek_context = wire.tls_context(self.hostile), wire.tls_context(self.meek)
        self.ssl = openssl.library()
        self._flood = None

    def wire(self, version=5, **more):
        return Wire(self.fortress, version=version, context=self.context, **more)

    def login(self, client_id, version=5, **more):
        return self.wire(version).login(client_id, **more)

    def count(self, name):
        return int(metrics(self.fortress)[name])

    def flood(self):
        """The generator of connections, built when it is needed first."""
        if self._flood is None:
            self._flood = Path(tempfile.mkdtemp(prefix='flood-', dir=self.fortress.home)) / 'flood'
            subprocess.run(['cc', '-O2', '-std=gnu17', '-Wall', '-Wextra', '-o', str(self._flood), str(FLOOD_C)], check=True)
        return self._flood

    def strangers_gone(self):
        wait_until('the strangers have gone', lambda: self.count('strangers') == 0, PREAUTH_S + 20, pause=0.1)


def told(answers):
    return ', '.join(f'{n} x {what}' for what, n in answers.most_common())


def verdict(packets):
    """What the server said last before it closed."""
    last = packets[-1] if packets else None
    if last is None:
        return 'closed'
    names = {CONNACK: 'CONNACK', DISCONNECT: 'DISCONNECT', PUBACK: 'PUBACK', SUBACK: 'SUBACK', PUBREC: 'PUBREC'}
    return f'{names.get(last.kind, last.kind)} {last.reason:#x}'


# -- who has not logged in ------------------------------------------------------------------------------------------------


def connections(ground, n):
    """n connection attempts from one /24, each given up at once."""
    before = ground.count('refusals_total{reason="prefix"}')
    ran = subprocess.run([str(ground.flood()), str(ground.fortress.ports['mqtts']), str(n), '30000'], capture_output=True, text=True,
                         check=True)
    made, took = ran.stdout.split()
    Wire(ground.fortress, context=ground.context, source='127.0.2.1').login('a-neighbour').close()
    ground.strangers_gone()
    refused = ground.count('refusals_total{reason="prefix"}') - before
    if n >= 2000:  # what the kernel's queue did not take, nobody saw; it takes a thousand at least
        assert refused > 0, f'{refused} of {made}'
    return f'{int(made) / float(took):.0f} attempts/s, {refused} reset before TLS'


def handshakes(ground, n):
    """n complete TLS handshakes from one /24, of somebody who then says nothing."""
    return _handshakes(ground, n, lambda i: f'127.0.3.{i % 250 + 1}')


def handshakes_everywhere(ground, n):
    """The same out of as many networks as it takes to be below every budget."""
    return _handshakes(ground, n, lambda i: f'127.{i % 100 + 10}.{i // 100 % 200}.1')


def _handshakes(ground, n, source):
    done, begin, lock = Counter(), time.monotonic(), threading.Lock()

    def some(first):
        for i in range(first, n, 4):
            try:
                Wire(ground.fortress, context=ground.context, source=source(i)).close()
                what = 'done'
            except OSError:
                what = 'refused'
            with lock:
                done[what] += 1
    threads = [threading.Thread(target=some, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - begin
    Wire(ground.fortress, context=ground.context, source='127.0.2.2').login('a-neighbour').close()
    ground.strangers_gone()
    return f'{told(done)}, {done["done"] / took:.0f}/s'


def foreign_certificates(ground, n):
    """Handshakes that fail at the certificate, from many networks."""
    key, cert = ground.fortress.home / 'foreign.key', ground.fortress.home / 'foreign.pem'
    if not cert.exists():
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
                        '-subj', '/CN=hostile', '-keyout', str(key), '-out', str(cert)], check=True, capture_output=True)
    context = wire.tls_context(ground.hostile, certificate=str(cert), key=str(key))
    before, answers = ground.count('handshakes_total{result="failed"}'), Counter()
    for i in range(n):
        try:
            with Wire(ground.fortress, context=context, source=f'127.{i % 100 + 10}.{i // 100 % 200}.2') as one:
                one.send(wire.connect('hostile'))
                answers['let in' if one.receive() else 'closed'] += 1
        except OSError:
            answers['refused'] += 1
    assert not answers['let in'], told(answers)
    wait_until('the failures to be counted',
               lambda: ground.count('handshakes_total{result="failed"}') - before >= n, 20, pause=0.1)
    return f'{n} handshakes failed and were counted'


def slow_sockets(ground, n):
    """A third gives a byte a second of its hello, a third of its CONNECT, a third has logged in and left a PUBLISH half sent."""
    with contextlib.ExitStack() as opened:
        return _slow_sockets(ground, n, opened)


def _slow_sockets(ground, n, opened):
    """Whatever it opens is closed with `opened`."""
    hello, hello_of_mqtt = hello_bytes(), wire.connect('hostile-slow' * 5)
    strangers, callers, halves = [], [], []
    for i in range(n // 3):
        one = dial(ground.fortress, f'127.0.{10 + i % 8}.{i // 8 % 250 + 1}')
        if one:
            strangers.append((opened.enter_context(one), time.monotonic()))
        begin = time.monotonic()
        try:
            callers.append((opened.enter_context(ground.wire(source=f'127.0.{20 + i % 8}.{i // 8 % 250 + 1}')).socket, begin))
        except OSError:
            pass  # strangers are too many already
        half = opened.enter_context(ground.login(f'half-{i}'))
        half.send(wire.publish('bad/half', b'x' * 100, 1)[:60])
        halves.append(half)
    at_once = ground.count('strangers')
    ends = []
    slow = threading.Thread(target=lambda: ends.extend(trickle(callers, hello_of_mqtt, time.monotonic() + PREAUTH_S + 20)))
    slow.start()
    ends_of_hellos = trickle(strangers, hello, time.monotonic() + PREAUTH_S + 20)
    slow.join()
    assert len(ends_of_hellos) == len(strangers) and len(ends) == len(callers), 'somebody was not closed'
    for half in halves:  # who has logged in may be slow until its keep-alive is over
        half.send(wire.publish('bad/half', b'x' * 100, 1)[60:]).expect(PUBACK)
        half.close()
    longest = max(ends + ends_of_hellos)
    return f'{at_once} strangers at once, the longest stayed {longest:.1f} s; {len(halves)} half packets waited for'


def half_connects(ground, n):
    """A CONNECT that says it has 256 MiB, another that is over preauth_bytes, and something that is no CONNECT."""
    answers = Counter()
    huge = wire.connect('hostile', user='u', password='x' * 9000)
    for i in range(n):
        data = (b'\x10\xff\xff\xff\x7f', huge, wire.publish('bad/x', 'x'), b'\x10\xff\xff\xff\xff\x7f')[i % 4]
        with ground.wire(source=f'127.0.30.{i % 250 + 1}') as one:
            try:
                one.send(data)
                said = verdict(one.expect_close())
            except OSError:
                said = 'closed'
        answers[said] += 1
        assert 'CONNACK 0x0' not in answers
    return told(answers)


def hellos_of_dtls(ground, n):
    """ClientHellos of DTLS from 250 addresses that, for all the server knows, are somebody else's, and what is no DTLS at all."""
    hello, port = openssl.dtls_hello(ground.ssl), ground.fortress.ports['coaps']
    before = metrics(ground.fortress)
    sent = received = answers = 0
    plain_coap = b'\x40\x01\x12\x34\xb2mq\x03bad'
    with contextlib.ExitStack() as stack:
        sockets = []
        for i in range(250):
            one = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            one.bind((f'127.0.40.{i + 1}', 0))
            one.setblocking(False)
            sockets.append(one)
        for i in range(n):
            data = plain_coap if i % 4 == 3 else hello
            sockets[i % 250].sendto(data, ('127.0.0.1', port))
            sent += len(data)
            if i % 25 == 24 or i == n - 1:
                for one in select.select(sockets, [], [], 0)[0]:
                    try:
                        while True:
                            received += len(one.recv(4096))
                            answers += 1
                    except BlockingIOError:
                        pass
    after = metrics(ground.fortress)
    assert received <= 3 * sent, f'{received} bytes for {sent}'
    assert after['connections{listener="coaps"}'] == before['connections{listener="coaps"}'], 'state without a cookie'
    assert after['coap_amplification_ratio'] <= 3
    return f'{answers} cookies, {received / sent:.2f} bytes out for each in, no association'


# -- who has ---------------------------------------------------------------------------------------------------------------


def retained(ground, n):
    """n retained messages from one client, whose role may keep 100."""
    before = ground.count('retained_messages')
    with ground.login('filler') as one:
        for first in range(0, n, 500):
            one.send(*(wire.publish(f'bad/r/{i}', 'x' * 64, retain=True) for i in range(first, min(first + 500, n))))
        answer = one.send(wire.publish('bad/r/last', 'x', 1, 1, retain=True)).expect(PUBACK, timeout=300)
        assert answer.reason == 0x97, answer
        kept = ground.count('retained_messages') - before
        assert kept == min(n, RETAINED), kept
        one.send(*(wire.publish(f'bad/r/{i}', '', retain=True) for i in range(kept)))
        one.send(wire.packet(PINGREQ)).expect(PINGRESP, timeout=60)
    wait_until('the cleared messages to be gone', lambda: ground.count('retained_messages') == before, 20)
    return f'{kept} kept, the others PUBACK {answer.reason:#x}'


def _subscribe_to_many(one, n, timeout=60):
    """n filters in packets of eight; gives the codes."""
    codes = Counter()
    for first in range(0, n, FILTERS):
        filters = [f'bad/s/{i}/+/{i % 7}/#' for i in range(first, min(first + FILTERS, n))]
        body = one.send(wire.subscribe(1, *filters)).expect(SUBACK, timeout).body
        codes.update(f'{code:#x}' for code in body[-len(filters):])
    return codes


def subscriptions(ground, n):
    """n subscriptions from one client, whose role may have 50."""
    with ground.login('collector') as one:
        codes = _subscribe_to_many(one, n)
        assert codes['0x1'] <= SUBSCRIPTIONS and codes['0x97'] == n - codes['0x1'], codes
    return f'SUBACK: {told(codes)}'


def subscriptions_granted(ground, n):
    """The same from one whose role may have all of them: the others pay nothing for it, and it is gone with its session."""
    before = ground.count('subscriptions')
    with Wire(ground.fortress, ground.greedy).login(ground.greedy.name) as one:
        codes = _subscribe_to_many(one, n)
        assert codes['0x1'] == n, codes
        one.send(wire.packet(DISCONNECT))
    wait_until('the subscriptions to be gone', lambda: ground.count('subscriptions') == before, 60, pause=0.1)
    return f'SUBACK: {told(codes)}; gone with the session'


def open_ids(ground, n):
    """n QoS 2 messages that are never released, falling ids, in 3.1.1, which has no Receive Maximum; then again, whose bodies
    differ; and MQTT 5 beyond its Receive Maximum."""
    ids = range(n, 0, -1)
    with ground.login('opener', version=4) as one:
        reader = ground.login('witness', version=4)
        reader.send(wire.subscribe(1, ('bad/ids', 0), version=4)).expect(SUBACK)
        for body in (b'first', b'second'):
            for first in range(0, n, 200):
                some = ids[first:first + 200]
                one.send(*(wire.publish('bad/ids', body, 2, i, version=4) for i in some))
                for i in some:
                    assert one.expect(PUBREC, timeout=60).body == struct.pack('>H', i)
                if body == b'first':
                    for i in some:
                        assert reader.expect(PUBLISH, timeout=60).body.endswith(b'first')
        reader.send(wire.packet(PINGREQ)).expect(PINGRESP)  # no second body came before it
        reader.close()
    with ground.login('opener') as one:
        one.send(*(wire.publish('bad/ids', 'x', 2, i + 1) for i in range(100)))
        said = verdict(one.expect_close())
        assert said == 'DISCONNECT 0x93', said
    return f'{n} open, each handed on once; MQTT 5: {said}'


def slashes(ground, n):
    """65,535 slashes as topic, filter, shared filter, will topic, and in UNSUBSCRIBE; in both versions."""
    answers = Counter()
    share = b'$share/g' + SLASHES[:-8]
    for i in range(n):
        version = 4 + i // 5 % 2
        kind = i % 5
        with ground.wire(version) as one:
            if kind == 0:
                data = wire.connect('deep', version, will=(SLASHES, b'x', 0, False))
            else:
                empty = b'\0' if version == 5 else b''
                data = wire.connect('deep', version) + (
                    wire.publish(SLASHES, 'x', 1, version=version), wire.subscribe(1, (SLASHES.decode(), 1), version=version),
                    wire.subscribe(1, (share.decode(), 1), version=version),
                    wire.packet(wire.UNSUBSCRIBE, b'\0\1' + empty + wire.field(SLASHES), 2))[kind - 1]
            answers[_said(one, data, version)] += 1
    assert not any('0x0' in what or 'SUBACK 0x1' in what for what in answers), answers
    return told(answers)


def _said(one, data, version):
    """The last word to a client that is let in first, or the answer to its packet when it may stay."""
    try:
        one.send(data)
        heard = []
        while True:
            got = one.receive(30)
            if got is None:
                break
            heard.append(got)
            if got.kind in (PUBACK, SUBACK, UNSUBACK):
                break
    except OSError:
        return 'closed'
    heard = [it for it in heard if not (it.kind == CONNACK and it.reason == 0)]
    return ('3.1.1: ' if version == 4 else '') + ('UNSUBACK' if heard and heard[-1].kind == UNSUBACK else verdict(heard))


def user_properties(ground, n):
    """16,000 user properties in PUBLISH, SUBSCRIBE, DISCONNECT, CONNECT and a will."""
    answers = Counter()
    for i in range(n):
        kind = i % 5
        with ground.wire() as one:
            if kind == 3:
                data = wire.connect('wordy', properties=MANY_PROPERTIES)
            elif kind == 4:
                data = wire.connect('wordy', will=('bad/x', b'x', 0, False, MANY_PROPERTIES))
            else:
                data = wire.connect('wordy') + (
                    wire.publish('bad/x', 'x', 1, properties=MANY_PROPERTIES), wire.subscribe(1, 'bad/x', properties=MANY_PROPERTIES),
                    wire.packet(DISCONNECT, b'\0' + wire.varint(len(MANY_PROPERTIES)) + MANY_PROPERTIES))[kind]
            answers[_said(one, data, 5)] += 1
    assert not any('0x0' in what or 'SUBACK 0x1' in what for what in answers), answers
    return told(answers)


def takeovers(ground, n):
    """Two connections that take one durable session from each other, 100 times a second; then one under the default rate."""
    before, begin = ground.count('events_total{category="takeover"}'), time.monotonic()
    last = None
    for i in range(n):
        one = ground.wire().send(wire.connect('contested', clean=False, properties=LASTS))
        assert one.expect(CONNACK).reason == 0
        if last:
            assert verdict(last.expect_close()) == 'DISCONNECT 0x8e'
            last.close()
        last = one
        threading.Event().wait(max(0.0, begin + (i + 1) / 100 - time.monotonic()))
    last.close()
    took = time.monotonic() - begin
    # Folded repeats are counted when their line is written.
    # The detector of sessions that go back and forth has one event of its own for them.
    wait_until('the takeovers to be counted', lambda: ground.count('events_total{category="takeover"}') - before in (n - 1, n), pause=0.1)
    answers = Counter()
    for _ in range(min(n, 60)):
        with Wire(ground.fortress, context=ground.meek_context) as one:
            answers[verdict([one.send(wire.connect('meek')).receive()])] += 1
    if n >= 60:
        assert answers['CONNACK 0x9f'] > 0, answers
    return f'{n / took:.0f}/s; under the default rate {told(answers)}'


def stolen_names(ground, n):
    """Client ids of bystanders under a name of one's own: another session, nobody is disturbed."""
    for i in range(n):
        with ground.wire() as one:
            answer = one.send(wire.connect(f'bystander-{i % 20}', clean=False, properties=LASTS)).expect(CONNACK)
            assert answer.reason == 0 and answer.body[0] == 0, 'a session that was not its own'
            one.send(wire.packet(DISCONNECT, b'\0\5\x11\0\0\0\0')).expect_close()
    return f'{n} sessions of its own, none of theirs'


def wills(ground, n):
    """Wills to where its client may not speak, retained wills, wills that wait for 136 years; each client ends without a word."""
    answers = Counter()
    for i in range(n):
        topic, retain = (('calm/state', True), ('$SYS/x', False), ('bad/will', False))[i % 3]
        with ground.wire() as one:
            one.send(wire.connect('testator', will=(topic, b'666', 1, retain, b'\x18\xff\xff\xff\xff')))
            answers[f'{topic}: {verdict([one.receive()])}'] += 1
    assert not any('0x0' in what for what in answers if not what.startswith('bad/')), answers
    return told(answers)


def churn(ground, n):
    """Four clients under two client ids publish, subscribe, unsubscribe and go away in any order: who comes, takes the other's."""
    moves, lock = Counter(), threading.Lock()

    def run(seed):
        dice = random.Random(seed)
        for _ in range(n // 4):
            try:
                one = ground.wire().send(wire.connect(f'churn-{seed % 2}', clean=dice.random() < .5, properties=LASTS))
                for _ in range(dice.randrange(6)):
                    one.send(dice.choice((wire.publish('bad/churn', 'x', dice.randrange(3), dice.randrange(1, 9), dice.random() < .3),
                                          wire.subscribe(1, ('bad/churn', 2)), wire.subscribe(2, ('$share/g/bad/+', 1)),
                                          wire.packet(wire.UNSUBSCRIBE, b'\0\3\0' + wire.field('bad/churn'), 2))))
                if dice.random() < .5:
                    one.send(wire.packet(DISCONNECT))
                one.close()
                what = 'done'
            except OSError:
                what = 'taken over meanwhile'
            with lock:
                moves[what] += 1
    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with ground.wire() as one:  # what they left
        assert one.send(wire.connect('churn-0')).expect(CONNACK).reason == 0
        one.send(wire.publish('bad/churn', '', retain=True)).send(wire.packet(PINGREQ)).expect(PINGRESP)
    ground.login('churn-1').close()
    return told(moves)


def key_updates(ground, n):
    """TLS KeyUpdates without end on n connections; each may have a hundred a minute."""
    updates = 0
    for i in range(n):
        with openssl.Tls(ground.ssl, ground.fortress, ground.hostile) as one:
            one.send(wire.connect(f'renewer-{i}'))
            assert one.receive()[3] == 0
            try:
                while True:
                    one.update_keys()
                    updates += 1
                    assert updates < 1000000
            except openssl.Closed:
                pass
    ground.fortress.wait_event('flood', reason=re.compile('key updates'))
    return f'each closed, after {updates / n:.0f} of them were written'


# -- CoAP ------------------------------------------------------------------------------------------------------------------


def observe(message_id, token, leaf):
    """GET with Observe of /mq/bad/LEAF, confirmable."""
    return Message(CON, GET, message_id, token, [(OBSERVE, 0), *path(f'mq/bad/{leaf}')]).encode()


def code_of(answer):
    return 'silence' if answer is None else Message.decode(answer).text


def observations(ground, n):
    """n observations by one client, which may have some; then the same one again and again."""
    before, answers = ground.count('subscriptions'), Counter()
    with openssl.Dtls(ground.ssl, ground.fortress, ground.hostile) as one:
        for i in range(n):
            one.send(observe(i % 0x10000, struct.pack('>I', i), i))
            answers[code_of(one.receive())] += 1
        most = ground.count('subscriptions') - before
        assert most <= SUBSCRIPTIONS, most
        for i in range(min(n, 200)):
            one.send(observe((n + i) % 0x10000, b'same', 0))
            one.receive()
        assert ground.count('subscriptions') - before <= SUBSCRIPTIONS
    return f'{told(answers)}; {most} observations at once'


BROKEN_COAP = {
    'token of 13': b'\x4d\x01\0\1',
    'delta over 65535': b'\x40\x01\0\1\xe0\xfe\xf2\xc0',
    'option past the end': b'\x40\x01\0\1\xbcabc',
    'lone marker': b'\x40\x01\0\1\xff',
    'reserved length': b'\x40\x01\0\1\xbf',
    'version 2': b'\x80\x01\0\1',
    'Block2 far beyond the end': b'\x40\x01\0\1\x60\xd1\x04\xff',
    'Block1 out of nothing': b'\x40\x03\0\1\xd1\x0e\xff',
    'unknown critical option': b'\x40\x01\0\1\x91x',
    'a reset that is malformed': b'\x7d\0\0\1',
    'empty with a payload': b'\x40\0\0\1\xffx',
    'answer to nothing': b'\x60\x45\0\1',
    'three bytes': b'\x40\x01\0',
}


def broken_coap(ground, n):
    """Each way to break a message, inside an association, n times in all; the association lives on."""
    answers = Counter()
    with openssl.Dtls(ground.ssl, ground.fortress, ground.hostile) as one:
        one.wait_at_most(0.02)
        for i in range(n):
            name, data = list(BROKEN_COAP.items())[i % len(BROKEN_COAP)]
            one.send(data[:2] + struct.pack('>H', i % 0xf000) + data[4:] if len(data) > 3 else data)
            got = one.receive()
            answers['reset' if got and got[0] & 0x30 == 0x30 and got[1] == 0 else code_of(got)] += 1
        one.wait_at_most(5)
        while True:  # answers that came later than we waited
            one.send(observe(0xf001, b'last', 'last'))
            got = one.receive()
            if got and got[4:8] == b'last':
                break
    assert all(what in ('reset', 'silence') or what.startswith('4.') for what in answers), answers
    return told(answers)


# name: the attack, its size in `make test`, and in full
ATTACKS = {
    'connections from one network': (connections, 2000, 300000),
    'TLS handshakes from one network': (handshakes, 250, 5000),
    'TLS handshakes from many networks': (handshakes_everywhere, 60, 5000),
    'foreign certificates': (foreign_certificates, 20, 2000),
    'slow sockets': (slow_sockets, 60, 1000),
    'CONNECTs too large or broken': (half_connects, 40, 2000),
    'DTLS hellos': (hellos_of_dtls, 1000, 100000),
    'retained messages': (retained, 1000, 100000),
    'subscriptions over the limit': (subscriptions, 200, 100000),
    'subscriptions within it': (subscriptions_granted, 400, 100000),
    'open QoS 2 ids': (open_ids, 600, 65535),
    'topics of 65,535 slashes': (slashes, 20, 1000),
    '16,000 user properties': (user_properties, 10, 1000),
    'takeover at 100/s': (takeovers, 60, 1000),
    'client ids of others': (stolen_names, 20, 1000),
    'wills': (wills, 18, 1000),
    'churn': (churn, 80, 4000),
    'KeyUpdates': (key_updates, 1, 50),
    'observations': (observations, 100, 10000),
    'broken CoAP': (broken_coap, 22, 2200),
}
