"""b: the CoAP proxy, forward and reverse: Debian's client to Debian's server through it, OSCORE carried from end to end, and
every way in which it says no."""
import itertools
import re
import shutil
import socket
import subprocess
import threading

import pytest

from harness import coap
from harness.coap_message import (ACK, BLOCK1, CON, ETAG, FETCH, GET, HOP_LIMIT, MAX_AGE, NO_RESPONSE, NON, OBSERVE, OSCORE, POST, PUT,
                                  REQUEST_TAG, RST, URI_PATH, Message, block, path)
from harness.coap_peer import Peer
from harness.coap_upstream import Nat, Upstream
from harness.fortress import Fortress, counted, metrics
from harness.oscore import Client
from harness.ports import free_ports
from harness.wait import wait_until

pytestmark = pytest.mark.release

CREATED, VALID, CHANGED, CONTENT, CONTINUE = 0x41, 0x43, 0x44, 0x45, 0x5f
URI_HOST, URI_PORT, PROXY_URI, PROXY_SCHEME = 3, 7, 35, 39
UNKNOWN_SAFE, UNKNOWN_UNSAFE = 65001, 65003
SERVER = next((name for name in ('coap-server-notls', 'coap-server-openssl', 'coap-server-gnutls') if shutil.which(name)), None)


class Debian:
    """libcoap's example server; returns when it answers a ping."""

    def __init__(self, *more):
        self.port = free_ports(['debian'])['debian']
        self.process = subprocess.Popen([SERVER, '-A', '127.0.0.1', '-p', str(self.port), *more], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until('coap-server to answer', self._is_there, 20)

    def _is_there(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.settimeout(0.1)
            try:
                one.connect(('127.0.0.1', self.port))
                one.send(Message(CON, 0, 1).encode())
                return Message.decode(one.recv(100)).kind == RST
            except OSError:
                return False

    def close(self):
        self.process.terminate()
        self.process.wait(10)


class Place:
    """A fortress whose configuration is written when the servers behind it are known."""

    def __init__(self, workers=1):
        self.servers = {name: Upstream(self._answer(name)) for name in ('one', 'two', 'silent', 'unlisted', 'own')}
        self.answers = {}
        self.debian = Debian('-d', '10') if SERVER else None
        self.port = self.debian.port if SERVER else free_ports(['none'])['none']
        self.fortress = Fortress(listeners=('mqtts', 'coaps', 'coap'), start=False, settings=[f'workers={workers}'])
        self.nat = Nat(self.fortress.ports['coap'])
        listed = [self.port, self.nat.port, *(self.servers[name].port for name in ('one', 'two', 'silent', 'own'))]
        targets = ''.join(f'    - {{ to: 127.0.0.1, port: {port} }}\n' for port in listed)
        self.fortress.configure('listeners:', f'''proxy:
  wait: 4s
  targets:
{targets}    - {{ to: 127.0.0.0/8, port: {self.servers["unlisted"].port} }}
    - {{ name: line2, to: 127.0.0.1, port: {self.servers["two"].port} }}
  paths:
    - {{ path: /line2/plc, to: 127.0.0.1, port: {self.servers["two"].port} }}
listeners:''')
        self.fortress.start()
        places = ', '.join(f'{{ path: "coap://127.0.0.1:{port}/#", methods: [GET, PUT, POST, FETCH] }}' for port in listed[:-1])
        self.fortress.apply(f'''
version: 1
roles:
  asker:
    resources: [ {places}, {{ path: "coap://line2/open/#", methods: [GET] }}, {{ path: "/line2/plc/+/#", methods: [GET, POST] }},
                 {{ path: "coap://127.0.0.1:{self.servers['own'].port}/${{device}}", methods: [GET] }} ]
    limits: {{ replay_rate: 1000/s, connect_rate: 100/s, connect_burst: 100 }}
  lamp:
    publish:   [ {{ topic: "lamps/${{device}}/+", retain: yes }} ]
    subscribe: [ "lamps/${{device}}/+" ]
''')

    def _answer(self, name):
        def answer(m, address):
            return self.answers[name](m, address) if name in self.answers else None
        return answer

    def uri(self, name, where='/a'):
        return (PROXY_URI, f'coap://127.0.0.1:{self.servers[name].port}{where}'.encode())

    def close(self):
        try:
            self.fortress.close()
        finally:
            if self.debian:
                self.debian.close()
            for one in (*self.servers.values(), self.nat):
                one.__exit__()


@pytest.fixture(scope='module')
def place():
    one = Place()  # with one worker: what two clients do meets in one cache and at one port
    yield one
    one.close()


@pytest.fixture
def asker(place):
    place.answers.clear()
    for server in place.servers.values():
        server.seen.clear()
    device = place.fortress.add('asker', credentials=('psk',))
    with Peer(device) as peer:
        peer.device = device
        yield peer


def through(place, build, device, method, where, *more):
    """Debian's client asks for a URI through us."""
    run = subprocess.run([*coap.command(build, device), '-P', f'coaps://127.0.0.1:{place.fortress.ports["coaps"]}', '-B', '10',
                          '-m', method, *more, f'coap://127.0.0.1:{place.port}{where}'], capture_output=True, text=True,
                         errors='replace', stdin=subprocess.DEVNULL, timeout=30, check=False)
    return coap.Answer(run.stdout + run.stderr, run.returncode)


# ---- forward ----

@pytest.mark.skipif(not SERVER, reason='no coap-server')
@pytest.mark.parametrize('build', coap.BUILDS)
def test_debians_client_reaches_debians_server(place, build, tmp_path):
    device = place.fortress.add('asker', credentials=('psk',))
    assert 'test server made with libcoap' in through(place, build, device, 'get', '/').payload
    body = tmp_path / 'body'
    body.write_text('0123456789abcdef' * 200)
    where = f'/{build}'
    assert through(place, build, device, 'put', where, '-b', '512', '-f', str(body)).code is None
    assert body.read_text() in through(place, build, device, 'get', where, '-b', '256').payload
    assert through(place, build, device, 'get', '/nowhere').code == '4.04'


def test_what_goes_on_and_what_comes_back(place, asker):
    place.answers['one'] = lambda m, _: (CONTENT, [(ETAG, b'v1'), (MAX_AGE, 0), (UNKNOWN_SAFE, b'x')], b'hello')
    got = asker.ask(GET, [place.uri('one', '/a/b%20c?q=1'), (UNKNOWN_SAFE, b'y'), (NO_RESPONSE, 0)])
    assert (got.text, got.payload, got.option(ETAG), got.option(UNKNOWN_SAFE)) == ('2.05', b'hello', b'v1', b'x')
    asked = place.servers['one'].requests[-1]
    assert [value for number, value in asked.options if number == URI_PATH] == [b'a', b'b c']
    assert asked.option(15) == b'q=1' and asked.number(HOP_LIMIT) == 16 and asked.option(UNKNOWN_SAFE) == b'y'
    assert not {URI_HOST, URI_PORT, PROXY_URI, PROXY_SCHEME, NO_RESPONSE} & {number for number, _ in asked.options}
    assert asked.kind == CON and len(asked.token) == 8
    by_scheme = [(URI_HOST, b'127.0.0.1'), (URI_PORT, place.servers['one'].port), (URI_PATH, b'z'), (PROXY_SCHEME, b'coap'),
                 (HOP_LIMIT, 3)]
    assert asker.ask(GET, by_scheme, kind=NON).payload == b'hello'
    again = place.servers['one'].requests[-1]
    assert (again.kind, again.number(HOP_LIMIT), again.option(URI_PATH)) == (NON, 2, b'z') and again.token != asked.token


REFUSED = [
    ('an address that is not listed', lambda p: [(PROXY_URI, b'coap://192.0.2.7/')], '4.03', 'acl_deny'),
    ('another port', lambda p: [(PROXY_URI, b'coap://127.0.0.1:9/')], '4.03', 'acl_deny'),
    ('loopback that only a network lists', lambda p: [p.uri('unlisted')], '4.03', 'acl_deny'),
    ('a path that is another device\'s', lambda p: [p.uri('own', '/other')], '4.03', 'acl_deny'),
    ('a name', lambda p: [(PROXY_URI, b'coap://localhost/')], '5.05', 'probe'),
    ('another scheme', lambda p: [(PROXY_URI, b'http://127.0.0.1/')], '5.05', 'probe'),
    ('DTLS behind us', lambda p: [(PROXY_URI, b'coaps://127.0.0.1/')], '5.05', 'probe'),
    ('no URI', lambda p: [(PROXY_URI, b'coap://')], '4.00', 'malformed'),
    ('a broken escape', lambda p: [p.uri('one', '/%zz')], '4.00', 'malformed'),
    ('a slash in a segment', lambda p: [p.uri('one', '/a%2Fb')], '4.00', 'malformed'),
    ('a scheme without a host', lambda p: [(PROXY_SCHEME, b'coap'), (URI_PATH, b'a')], '4.00', 'malformed'),
    ('both ways of asking', lambda p: [p.uri('one'), (PROXY_SCHEME, b'coap')], '4.00', 'malformed'),
    ('an unknown unsafe option', lambda p: [p.uri('one'), (UNKNOWN_UNSAFE, b'')], '4.02', 'protocol_error'),
    ('an unknown unsafe elective one', lambda p: [p.uri('one'), (65002, b'')], '4.02', 'protocol_error'),
    ('no hop left', lambda p: [p.uri('one'), (HOP_LIMIT, 1)], '5.08', 'protocol_error'),
    ('Hop-Limit 0', lambda p: [p.uri('one'), (HOP_LIMIT, b'\0')], '4.00', 'malformed'),
    ('a name whose path is not granted', lambda p: [(URI_HOST, b'line2'), (URI_PATH, b'shut')], '4.03', 'acl_deny'),
    ('a path of ours that is not granted', lambda p: path('/line2/plc'), '4.03', 'acl_deny'),
    ('an unknown critical option for nobody else', lambda p: [(URI_PATH, b'x'), (UNKNOWN_SAFE, b'')], '4.02', 'protocol_error'),
]


def test_whom_it_does_not_serve(place, asker):
    before = sum(len(server.seen) for server in place.servers.values())
    for what, options, code, category in REFUSED:
        assert asker.ask(GET, options(place)).text == code, what
        place.fortress.wait_event(category, about=asker.device.name)
    assert sum(len(server.seen) for server in place.servers.values()) == before, 'nothing of it went anywhere'
    counted(place.fortress, 'proxy_requests_total{result="refused"}', len(REFUSED) - 1)


def test_policy_explains_it(place, asker):
    where = f'coap://127.0.0.1:{place.servers["own"].port}/{asker.device.name}'
    assert 'allow: ' in place.fortress.cli('policy', 'explain', asker.device.name, 'get', where)
    assert asker.ask(GET, [place.uri('own', '/other')]).text == '4.03'
    place.fortress.wait_event('acl_deny', about=asker.device.name, target=re.compile('^coap://127.0.0.1:.*/other$'))
    assert 'deny: ' in place.fortress.cli('policy', 'explain', asker.device.name, 'get', where + 'x')
    place.answers['own'] = lambda m, _: (CONTENT, [], b'mine')
    assert asker.ask(GET, [place.uri('own', f'/{asker.device.name}')]).payload == b'mine'


# ---- answers ----

def test_a_server_that_says_nothing(place, asker):
    assert asker.ask(GET, [place.uri('silent')]).text == '5.04'
    assert asker.is_alive()


def test_a_server_that_rejects(place, asker):
    place.answers['one'] = lambda m, address: place.servers['one'].send(Message(RST, 0, m.mid), address)
    assert asker.ask(GET, [place.uri('one')]).text == '5.02'
    place.answers['one'] = lambda m, _: (CONTENT, [(UNKNOWN_UNSAFE, b'')], b'x')
    assert asker.ask(GET, [place.uri('one')]).text == '5.02'


def test_only_who_was_asked_may_answer(place, asker):
    def answer(m, address):
        for sender in (place.servers['two'].socket, socket.socket(socket.AF_INET, socket.SOCK_DGRAM)):
            sender.sendto(Message(ACK, CONTENT, m.mid, m.token, [], b'forged').encode(), address)
        place.servers['one'].send(Message(ACK, CONTENT, m.mid, b'guessed!', [], b'forged'), address)
        return CONTENT, [(MAX_AGE, 0)], b'true'
    place.answers['one'] = answer
    before = metrics(place.fortress)['proxy_strays_total']
    assert asker.ask(GET, [place.uri('one')]).payload == b'true'
    counted(place.fortress, 'proxy_strays_total', before + 1)


def test_caches_never_cross_principals(place, asker):
    numbers = itertools.count()
    place.answers['one'] = lambda m, _: (CONTENT, [(ETAG, b'e'), (MAX_AGE, 100)], b'%d' % next(numbers))
    first = asker.ask(GET, [place.uri('one', '/cached')])
    second = asker.ask(GET, [place.uri('one', '/cached')])
    assert (first.payload, second.payload) == (b'0', b'0') and second.number(MAX_AGE) <= 100
    assert asker.ask(GET, [(ETAG, b'e'), place.uri('one', '/cached')]).text == '2.03'
    assert len(place.servers['one'].requests) == 1
    with Peer(place.fortress.add('asker', credentials=('psk',))) as other:
        assert other.ask(GET, [place.uri('one', '/cached')]).payload == b'1', 'it is asked for anew'
    assert asker.ask(GET, [place.uri('one', '/cached')]).payload == b'0'
    place.answers['one'] = lambda m, _: (CHANGED, [], b'') if m.code == PUT else (CONTENT, [], b'new')
    assert asker.ask(PUT, [place.uri('one', '/cached')], b'x').text == '2.04'
    assert asker.ask(GET, [place.uri('one', '/cached')]).payload == b'new', 'a change makes it old'


def test_a_stale_answer_is_confirmed(place, asker):
    place.answers['one'] = lambda m, _: (CONTENT, [(ETAG, b'e'), (MAX_AGE, 1)], b'large')
    assert asker.ask(GET, [place.uri('one', '/stale')]).payload == b'large'
    place.answers['one'] = lambda m, _: ((VALID, [(ETAG, b'e'), (MAX_AGE, 100)], b'') if m.option(ETAG) == b'e'
                                         else (CONTENT, [(ETAG, b'e'), (MAX_AGE, 1)], b'large'))

    def confirmed():
        assert asker.ask(GET, [place.uri('one', '/stale')]).payload == b'large'
        return place.servers['one'].requests[-1].option(ETAG) == b'e'
    wait_until('the answer to be old and confirmed', confirmed)
    n = len(place.servers['one'].requests)
    assert asker.ask(GET, [place.uri('one', '/stale')]).payload == b'large'
    assert len(place.servers['one'].requests) == n, 'it is fresh again'


# ---- blocks, observations ----

def test_bodies_of_two_clients_do_not_mix(place, asker):
    place.answers['one'] = lambda m, _: (CONTINUE if m.number(BLOCK1) & 8 else CHANGED, [(BLOCK1, m.option(BLOCK1))], b'')
    where = place.uri('one', '/body')
    assert asker.ask(PUT, [where, (BLOCK1, block(0, True, 16))], b'a' * 16).text == '2.31'
    with Peer(place.fortress.add('asker', credentials=('psk',))) as other:
        refused = other.ask(PUT, [where, (BLOCK1, block(0, True, 16))], b'b' * 16)
        assert refused.text == '5.03' and refused.number(MAX_AGE) > 0
        assert asker.ask(PUT, [where, (BLOCK1, block(1, False, 16))], b'a').text == '2.04'
        assert other.ask(PUT, [where, (BLOCK1, block(0, False, 16))], b'b').text == '2.04'
    tags = [m.option(REQUEST_TAG) for m in place.servers['one'].requests]
    assert tags[0] == tags[1] != tags[2]


def test_observations_go_through(place, asker):
    server, seen = place.servers['one'], []

    def answer(m, address):
        seen.append((m, address))
        return CONTENT, [(OBSERVE, 5)] if m.number(OBSERVE) == 0 else [], b'first'
    place.answers['one'] = answer
    first = asker.ask(GET, [(OBSERVE, 0), place.uri('one', '/watched')], token=b'watch')
    assert first.payload == b'first' and first.option(OBSERVE) is not None
    m, address = seen[0]
    server.send(Message(NON, CONTENT, 700, m.token, [(OBSERVE, 6)], b'second'), address)
    told = asker.receive()
    assert (told.token, told.payload) == (b'watch', b'second') and told.option(OBSERVE) is not None
    cancelled = asker.ask(GET, [(OBSERVE, 1), place.uri('one', '/watched')], token=b'watch')
    assert cancelled.option(OBSERVE) is None
    server.send(Message(NON, CONTENT, 701, m.token, [(OBSERVE, 7)], b'third'), address)
    wait_until('the Reset of what nobody watches', lambda: any(r.kind == RST and r.mid == 701 for r, _ in server.seen))


def test_paths_and_names_of_ours(place, asker):
    place.answers['two'] = lambda m, _: ((CONTENT, [(MAX_AGE, 0)], b'/'.join(v for n, v in m.options if n == URI_PATH))
                                         if m.code == GET else (CREATED, [(8, b'new')], b''))
    assert asker.ask(GET, '/line2/plc/status/x').payload == b'status/x'
    made = asker.ask(POST, '/line2/plc/status', b'x')
    assert [value for number, value in made.options if number == 8] == [b'line2', b'plc', b'new']
    assert asker.ask(GET, [(URI_HOST, b'LINE2'), *path('/open/door')]).payload == b'open/door'
    assert place.servers['two'].requests[-1].option(URI_HOST) == b'line2'


def test_each_worker_asks_by_a_port_of_its_own():
    place = Place(workers=2)
    try:
        place.answers['one'] = lambda m, _: (CONTENT, [(MAX_AGE, 0)], b'x')
        device, ports = place.fortress.add('asker', credentials=('psk',)), set()
        for _ in range(64):  # the kernel spreads them over both
            with Peer(device) as peer:
                assert peer.ask(GET, [place.uri('one')]).payload == b'x'
            ports = {address[1] for _, address in place.servers['one'].seen}
            if len(ports) == 2:
                break
        assert len(ports) == 2
        taken = place.servers['one'].port
        place.fortress.configure(f'    - {{ to: 127.0.0.1, port: {taken} }}\n', '')
        place.fortress.reload()
        place.fortress.wait_event('config_change', reason=re.compile('reloaded'))
        with Peer(device) as peer:
            assert peer.ask(GET, [place.uri('one')]).text == '4.03', 'the file does not list it any more'
            place.answers['two'] = place.answers['one']
            assert peer.ask(GET, [place.uri('two')]).payload == b'x'
    finally:
        place.close()


# ---- loops, OSCORE ----

def test_a_loop_ends(place, asker):
    """Another proxy that sends back to us what it gets from us, and counts nothing."""
    server, backs = place.servers['one'], [Peer(asker.device) for _ in range(3)]

    def forward(m, address):
        with backs.pop() as back:
            got = back.ask(GET, [place.uri('one', '/loop'), (HOP_LIMIT, m.option(HOP_LIMIT))])
        server.send(Message(CON, got.code, m.mid ^ 0x5555, m.token, [], got.payload), address)

    def answer(m, address):
        server.send(Message(ACK, 0, m.mid), address)
        threading.Thread(target=forward, args=(m, address), daemon=True).start()
    place.answers['one'] = answer
    got = asker.ask(GET, [place.uri('one', '/loop'), (HOP_LIMIT, 4)])
    assert got.text == '5.08'
    assert [m.number(HOP_LIMIT) for m in server.requests] == [3, 2, 1]


class ThroughDtls(Client):
    """The OSCORE client, whose datagrams travel by an association with a proxy."""

    def __init__(self, device, peer):
        self.peer = peer
        super().__init__(device)

    def rebind(self):
        pass

    def send_raw(self, data):
        self.peer.send_bytes(data)

    def receive_raw(self, timeout):
        self.peer._dtls.wait_at_most(timeout)
        return self.peer._dtls.receive()


def towards(port):
    return [(URI_HOST, b'127.0.0.1'), (URI_PORT, port), (PROXY_SCHEME, b'coap')]


def test_oscore_from_end_to_end_and_a_nat(place, asker):
    """What is sealed for the OSCORE listener goes through a proxy and a NAT that changes the port."""
    lamp = place.fortress.add('lamp', credentials=('oscore',))
    topic = f'mq/lamps/{lamp.name}/state'
    with ThroughDtls(lamp, asker) as client:
        answer = client.request(PUT, topic, b'on', towards(place.nat.port))
        assert (answer.code, answer.is_protected) == ('2.01', True)
        answer = client.request(GET, topic, b'', towards(place.nat.port))
        assert (answer.payload, answer.is_protected) == ('on', True)
        place.nat.rebind()
        answer = client.request(PUT, topic, b'off', towards(place.nat.port))
        assert (answer.code, answer.is_protected) == ('2.04', True)
        assert len(set(place.nat.seen_ports)) == 2
        answer = client.request(GET, topic, b'', towards(place.nat.port))
        assert answer.payload == 'off', 'nothing of it came from a cache'


def test_what_is_sealed_passes_untouched(place, asker):
    place.answers['one'] = lambda m, _: (CHANGED, [(OSCORE, b''), (MAX_AGE, 60)], m.payload[::-1])
    where = [(URI_HOST, b'127.0.0.1'), (URI_PORT, place.servers['one'].port), (PROXY_SCHEME, b'coap')]
    for code, more in ((POST, []), (FETCH, [(OBSERVE, 0)]), (FETCH, [(OBSERVE, 1)])):
        got = asker.ask(code, [*where, *more, (OSCORE, b'\x09\x14\x01')], bytes(range(256)))
        asked = place.servers['one'].requests[-1]
        assert (asked.code, asked.option(OSCORE), asked.payload) == (code, b'\x09\x14\x01', bytes(range(256)))
        assert asked.number(OBSERVE) == dict(more).get(OBSERVE)
        assert (got.code, got.option(OSCORE), got.payload) == (CHANGED, b'', bytes(range(256))[::-1])
    assert len(place.servers['one'].requests) == 3, 'sealed answers are not kept'


@pytest.mark.skipif(not SERVER, reason='no coap-server')
def test_oscore_through_debians_proxy_and_a_nat(place):
    lamp = place.fortress.add('lamp', credentials=('oscore',))
    proxy = Debian('-P', ',some.other.name')
    try:
        with Client(lamp, port=proxy.port) as client:
            answer = client.request(PUT, f'mq/lamps/{lamp.name}/state', b'on', towards(place.nat.port))
            assert (answer.code, answer.is_protected) == ('2.01', True)
            place.nat.rebind()
            answer = client.request(PUT, f'mq/lamps/{lamp.name}/state', b'off', towards(place.nat.port))
            assert (answer.code, answer.is_protected) == ('2.04', True)
    finally:
        proxy.close()
