"""d: datagrams under false addresses. Whoever has not proven its address gets at most three bytes for one, at every door, measured by
the server, by its self-test and here; nothing stays of it, and who is proven notices nothing. Groups are not answered at all.

Larger numbers: SPOOFED_SOCKETS=100000. In process: SALLYPORT_SPOOFED=10000000 build-rel/spoofed_test."""
import json
import os
import re
import select
import socket
import struct
import time
from pathlib import Path

import pytest

from harness import coap, mosquitto, openssl
from harness.coap_message import CON, GET, NON, OSCORE, POST, Message, path
from harness.fortress import Fortress, counted, is_sanitized, metrics, times
from harness.usage import resident_bytes
from harness.wait import wait_until

pytestmark = pytest.mark.release

WORKERS, MOST, SOURCES = 2, 3, 200
SUSPECT = 100  # of one network in an interval, service/gateway/spoof.h
N = int(os.environ.get('SPOOFED_SOCKETS', 10000))
GROUPS = ('224.0.1.187', '224.0.0.1', '127.255.255.255')


@pytest.fixture(scope='module')
def fortress():
    one = Fortress(listeners=('mqtts', 'coaps', 'coap'), settings=(f'workers={WORKERS}',))
    yield one
    one.close()


def requests(ssl):
    """(listener, datagram): what strangers send to be answered."""
    def message(kind, code, options=(), payload=b''):
        return Message(kind, code, 0x1234, b'\1', list(options), payload).encode()
    sealed = (OSCORE, b'\x09\x01\xc0\xde')
    return [('coaps', openssl.dtls_hello(ssl)),
            ('coap', message(CON, GET, path('.well-known/core'))),
            ('coap', message(CON, POST, [sealed], b'0123456789ab')),
            ('coaps', message(CON, GET, path('mq/a'))),
            ('coap', message(NON, GET, path('mq/a'))),
            ('coap', b'\x40\x00\x12\x34')]


class Crowd:
    """Sockets at many loopback addresses: as far as the server knows, each is somebody else."""

    def __init__(self, addresses):
        self.sockets = []
        for address in addresses:
            one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            one.bind((address, 0))
            one.setblocking(False)
            self.sockets.append(one)
        self.sent = self.received = self.answers = 0

    def say(self, i, data, port):
        self.sockets[i % len(self.sockets)].sendto(data, ('127.0.0.1', port))
        self.sent += len(data)

    def hear(self):
        for one in select.select(self.sockets, [], [], 0)[0]:
            try:
                while True:
                    self.received += len(one.recv(4096))
                    self.answers += 1
            except BlockingIOError:
                pass

    def close(self):
        for one in self.sockets:
            one.close()


def waiting(ports):
    """Bytes that the kernel holds for sockets of these UDP ports until they are read."""
    rows = [line.split() for line in Path('/proc/net/udp').read_text(encoding='ascii').splitlines()[1:]]
    return sum(int(row[4].split(':')[1], 16) for row in rows if int(row[1].split(':')[1], 16) in ports)


def flood(fortress, crowd, what, n, first=0):
    """As fast as the server reads: what does not fit into the sockets of a server that gets no time would show nothing."""
    ports = [fortress.ports[listener] for listener, _ in what]
    for i in range(first, first + n):
        listener, data = what[i % len(what)]
        crowd.say(i // len(what), data, fortress.ports[listener])
        if i % 50 == 49 or i + 1 == first + n:
            wait_until('the server to have read', lambda: waiting(ports) == 0, pause=0.001)
            crowd.hear()


def unproven(fortress):
    return metrics(fortress)['coap_unproven_datagrams_total']


@pytest.mark.skipif(not coap.BUILDS, reason='no coap-client')
def test_spoofed_requests(fortress, opened):
    began = time.monotonic()
    console, lamp = fortress.add('console'), fortress.add('lamp', credentials=('psk',))
    what, topic = requests(openssl.library()), f'lamps/{lamp.name}/set'
    crowd = opened(Crowd([f'127.77.1.{i + 1}' for i in range(SOURCES // 2)] + [f'127.78.{i + 1}.1' for i in range(SOURCES // 2)]))
    mosquitto.publish(console, topic, 'before', '-r', qos=1)
    with coap.Observer(coap.BUILDS[0], lamp, f'mq/{topic}') as observer:
        observer.expect('before')
        flood(fortress, crowd, what, N // 10)  # what is made once is there then
        mosquitto.publish(console, topic, 'warm', '-r', qos=1)
        observer.expect('warm')
        resident, before = resident_bytes(fortress), metrics(fortress)
        for i in range(9):
            flood(fortress, crowd, what, N // 10, first=(i + 1) * (N // 10))
            mosquitto.publish(console, topic, f'during {i}', '-r', qos=1)
            observer.expect(f'during {i}')
        counted(fortress, 'coap_unproven_datagrams_total', N // 2 + 1)  # the sockets take most of it
        after = metrics(fortress)
        assert after['connections{listener="coaps"}'] == before['connections{listener="coaps"}'], 'nobody else came in'
    crowd.hear()
    assert crowd.answers > N // 10, f'{crowd.answers} answers'
    assert crowd.received <= MOST * crowd.sent, f'{crowd.received} bytes for {crowd.sent}'
    assert 0 < after['coap_amplification_ratio'] <= MOST
    assert 0 < after['coap_amplification_worst_ratio'] <= MOST
    assert after['coap_unproven_withheld_total'] == 0, 'nothing even wants to be more'
    assert after['coap_unproven_out_bytes_total'] <= MOST * after['coap_unproven_in_bytes_total']
    heap = metrics(fortress)['memory_used_bytes'] - before['memory_used_bytes']
    grown = resident_bytes(fortress) - resident
    assert heap < 1 << 20, f'{heap} bytes of the heap stay'
    assert grown < 8 << 20 or is_sanitized(fortress.binary), f'{grown} bytes stay'  # its quarantine keeps what is freed
    events = fortress.wait_event('amplification', target='127.77.1.0/24')
    assert 'from' in events[0]['reason'] and events[0]['peer'].startswith('127.77.1.')
    doors = [event for event in events if event['listener'] != '-']  # the detector says it once more, of all of them
    assert doors and all(times(event) >= SUSPECT for event in doors)
    minutes = 1 + int((time.monotonic() - began) / 60)
    assert len(doors) <= WORKERS * 2 * minutes, 'one for each worker and door in a minute'
    counted(fortress, 'events_total{category="amplification"}', 1)
    print(f'\n{N} datagrams: {crowd.received / crowd.sent:.2f} bytes out for one in, {grown} bytes more resident')


def test_the_self_test_measures(fortress):
    before = unproven(fortress)
    whole = json.loads(fortress.cli('--json', 'selftest', 'amplification'))
    assert [one['name'] for one in whole['listeners']] == ['coaps', 'coap']
    assert whole['passed'] and whole['bound'] == MOST
    for listener in whole['listeners']:
        requests_of = {one['request']: one for one in listener['requests']}
        assert len(requests_of) > 25
        assert all(one['bytes_out'] <= MOST * one['bytes_in'] and not one['over'] for one in requests_of.values())
        answered = [name for name, one in requests_of.items() if one['answers']]
        assert ('DTLS ClientHello' if listener['name'] == 'coaps' else 'CoAP GET /.well-known/core') in answered
    assert 0 < whole['worst'] <= MOST
    assert 0 < whole['server_ratio'] <= MOST and 0 < whole['server_worst'] <= MOST
    counted(fortress, 'coap_unproven_datagrams_total', before + 2 * 25)  # by the server


def test_the_self_test_fails_where_nothing_answers():
    """A listener that leaves out this machine cannot be measured, and that is no success."""
    one = Fortress(listeners=('mqtts', 'coaps', 'coap'), start=False, settings=(f'workers={WORKERS}',))
    try:
        bind = f'"127.0.0.1:{one.ports["coap"]}"'
        one.configure(bind, f'{bind}, from: [192.0.2.0/24]')
        one.start()
        run = one.run('-C', one.dir, 'selftest', 'amplification', check=False)
        assert run.returncode == 1
        assert re.search(r'CoAP ping +4 +0 +0 +0\.00\n', run.stdout), run.stdout + run.stderr
        assert re.search(r'worst +\d\.\d\d bytes out for one in; the bound is 3', run.stdout), run.stdout
        assert 'was not measured' in run.stderr and '`from`' in run.stderr
    finally:
        one.close()


# -- groups ----------------------------------------------------------------------------------------------------------------


def memberships():
    """What this machine has joined."""
    found = []
    for name in ('/proc/net/igmp', '/proc/net/igmp6'):
        try:
            found.append(re.sub(r'\d+:[0-9A-F]{8}', '', open(name, encoding='ascii').read()))
        except FileNotFoundError:
            pass
    return found


def member(group, port=0):
    """Another program, which has joined the group, so that its datagrams reach this machine's sockets."""
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    one.bind(('0.0.0.0', port))
    if group.startswith('224.'):
        one.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                       struct.pack('4s4s', socket.inet_aton(group), socket.inet_aton('127.0.0.1')))
    one.settimeout(30)
    return one


def test_groups_are_not_answered_or_joined():
    """At listeners bound to all addresses, where others on the machine have joined: the same request to one address is answered."""
    joined = memberships()
    one = Fortress(listeners=('mqtts', 'coaps', 'coap'), start=False, settings=(f'workers={WORKERS}',))
    try:
        for name in ('coaps', 'coap'):
            port = one.ports[name]
            one.configure(f'"127.0.0.1:{port}"', f'"0.0.0.0:{port}", from: [127.0.0.0/8]')
        one.start()
        assert memberships() == joined, 'nothing was joined'
        what = [(name, data) for name, data in requests(openssl.library())[:2]]
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton('127.0.0.1'))
        sender.bind(('127.0.0.1', 0))
        sender.settimeout(10)
        before = unproven(one)
        for group in GROUPS:
            other = member(group)
            sender.sendto(b'?', (group, other.getsockname()[1]))
            assert other.recv(10) == b'?', f'{group} reaches this machine'
            for listener, data in what:
                sender.sendto(data, (group, one.ports[listener]))
            other.close()
        for listener, data in what:
            sender.sendto(data, ('127.0.0.1', one.ports[listener]))
            assert sender.recv(4096), listener  # the first answer of all is that to one address
        # Loopback keeps the order, so whatever came before these two has been heard.
        wait_until('both to be counted', lambda: unproven(one) >= before + len(what), pause=0.1)
        assert unproven(one) == before + len(what)
        sender.settimeout(0)
        with pytest.raises(BlockingIOError):
            sender.recv(4096)
        sender.close()
    finally:
        one.close()


def test_a_group_is_no_address_to_bind():
    one = Fortress(listeners=('mqtts', 'coaps', 'coap'), start=False)
    try:
        one.configure(f'"127.0.0.1:{one.ports["coap"]}"', f'"224.0.1.187:{one.ports["coap"]}"')
        run = one.run('check', one.dir, check=False)
        assert run.returncode == 1
        assert re.search(r'sallyport\.yaml:\d+:\d+: .*is for a group.*bind an address of this machine', run.stderr + run.stdout)
    finally:
        one.close()
