"""c: What a constrained device saves over DTLS: the certificates when it comes back, and records larger than it can hold."""
import socket

import pytest
from harness import openssl
from harness.coap_message import BLOCK2, CON, GET, OBSERVE, PUT, uint
from harness.coap_peer import Peer
from harness.dtls_knock import BROKEN, Knock
from harness.fortress import POLICY, Device, Fortress, counted, metrics
from harness.nat import Nat

pytestmark = pytest.mark.release

LISTENERS = ('mqtts', 'coaps')
KINDS = ('x509', 'psk')
SERVER_HELLO, HELLO_VERIFY_REQUEST, CERTIFICATE, CERTIFICATE_VERIFY = 2, 3, 11, 15
SEALING = 13 + 8 + 16  # header, explicit nonce, tag of AES-128-GCM
SMALLEST = 1           # max_fragment_length of 512 bytes
CREATED, CHANGED, CONTENT = 0x41, 0x44, 0x45


@pytest.fixture(scope='module')
def fortress():
    one = Fortress(listeners=LISTENERS)
    one.apply(POLICY)
    yield one
    one.close()


def records(seen, of_server):
    """(content type, epoch, body) of what was sent, in order."""
    for is_server, data in seen:
        while is_server == of_server and data:
            n = int.from_bytes(data[11:13], 'big')
            yield data[0], int.from_bytes(data[3:5], 'big'), data[13:13 + n]
            data = data[13 + n:]


def handshake_types(seen):
    """Of both sides, as far as they can be read by anybody."""
    return {body[0] for of_server in (True, False) for kind, epoch, body in records(seen, of_server) if kind == 22 and epoch == 0}


def visit(device, ticket=None, **how):
    """By certificate: writes its state. Was it resumed, what was sent, and the next ticket."""
    seen = []
    with Nat(device.fortress.ports['coaps'], seen) as nat, Peer(device, at=nat.port, by_certificate=True, ticket=ticket, **how) as peer:
        assert peer.ask(PUT, f'/mq/status/{device.name}', b'here').code in (CREATED, CHANGED)
        return peer.is_resumed(), seen, peer.take_ticket()


def test_who_comes_back_sends_no_certificate(fortress):
    device, before = fortress.add('sensor'), metrics(fortress)['handshakes_resumed_total']
    resumed, first, ticket = visit(device)
    assert not resumed and {CERTIFICATE, CERTIFICATE_VERIFY} <= handshake_types(first)
    resumed, second, ticket = visit(device, ticket)
    assert resumed and not {CERTIFICATE, CERTIFICATE_VERIFY} & handshake_types(second)
    assert sum(len(data) for _, data in second) < sum(len(data) for _, data in first) * 2 / 3
    assert counted(fortress, 'handshakes_resumed_total', before + 1) == before + 1
    reasons = [event['reason'] for event in fortress.wait_event('connect', about=device.name, at_least=2)]
    assert 'by a ticket' not in reasons[0] and 'by a ticket' in reasons[-1]


def test_a_ticket_is_no_cookie(fortress):
    """Whoever shows one from an address that is not proven gets the cookie, less than was sent, and no handshake begins."""
    hello = openssl.dtls_hello(openssl.library(), visit(fortress.add('sensor'))[2])
    began = metrics(fortress)['handshakes_resumed_total']
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.connect(('127.0.0.1', fortress.ports['coaps']))
        stranger.settimeout(10)
        for _ in range(2):  # had the first one begun anything, it would be answered, too
            stranger.send(hello)
            got = stranger.recv(4096)
            assert got[0] == 22 and got[13] == HELLO_VERIFY_REQUEST and len(got) < len(hello)
    assert metrics(fortress)['handshakes_resumed_total'] == began


def test_broken_handshakes_are_nobody_elses(fortress):
    """Fragments that overlap, contradict or never end: who has an association keeps it, and who comes then gets one."""
    device, pids = fortress.add('sensor', credentials=KINDS), fortress.processes()
    with Peer(device) as peer:
        with Knock(fortress) as knock:
            knock.send([knock.whole()])
            assert knock.socket.recv(4096)[13] == SERVER_HELLO, 'what is whole begins a handshake'
        for name, make in BROKEN.items():
            with Knock(fortress) as knock:
                knock.send(make(knock))
            assert peer.is_alive(), name
    resumed, _, _ = visit(device)
    assert not resumed and fortress.processes() == pids


@pytest.mark.parametrize('what', ['disable', 'revoke', 'remove', 'rotate'])
def test_the_directory_of_now_is_asked(fortress, what):
    device = fortress.add('sensor')
    ticket = visit(device)[2]
    fortress.cli('device', what, device.name, *(['--out', fortress.home / f'fresh-{device.name}'] if what == 'rotate' else []))
    with pytest.raises(openssl.Closed):
        visit(device, ticket)
    with pytest.raises(openssl.Closed):
        visit(device)
    category = 'revoked' if what in ('disable', 'revoke') else 'auth_fail'
    words = {event['reason'] for event in fortress.wait_event(category, about=device.name, protocol='coap', at_least=2)}
    # The end of the first association may not have come through, and then it is closed for the same reason.
    assert len({text for text in words if 'its association was closed' not in text}) == 1, 'the same words with a ticket and without'


def test_a_ticket_outlives_a_restart_and_counts_here_alone(fortress):
    device = fortress.add('sensor')
    ticket = visit(device)[2]
    fortress.restart()
    assert visit(device, ticket)[0]
    other = Fortress(listeners=LISTENERS)
    try:
        other.apply(POLICY)
        with pytest.raises(openssl.Closed):  # a full handshake, with a certificate of another authority
            visit(Device(other, device.name, 'sensor', device.bundle), ticket)
    finally:
        other.close()


def test_a_key_is_asked_each_time(fortress):
    """A handshake with a pre-shared key has no certificates to save: it gives no ticket."""
    with Peer(fortress.add('sensor', credentials=KINDS)) as peer:
        assert peer.take_ticket() is None
        assert peer.is_alive()


def largest(seen):
    return max(len(body) for kind, epoch, body in records(seen, True) if epoch > 0)


def read_all(peer, path):
    """A value in as many blocks as the server makes of it; their sizes."""
    value, sizes, number, size = b'', [], 0, None
    while True:
        m = peer.ask(GET, path, options=[] if size is None else [(BLOCK2, uint(number << 4 | size))])
        assert m.code == CONTENT
        value += m.payload
        sizes.append(len(m.payload))
        block = dict(m.options).get(BLOCK2)
        if block is None or not int.from_bytes(block, 'big') & 8:
            return value, sizes
        size, number = int.from_bytes(block, 'big') & 7, number + 1


@pytest.mark.parametrize('by_certificate', [False, True], ids=['psk', 'certificate'])
def test_no_record_is_larger_than_asked_for(fortress, by_certificate):
    device, seen = fortress.add('lamp', credentials=KINDS), []
    path, value = f'/mq/lamps/{device.name}/now', bytes(range(256)) * 4
    with Nat(fortress.ports['coaps'], seen) as nat, \
            Peer(device, at=nat.port, fragment=SMALLEST, by_certificate=by_certificate) as small, Peer(device) as writer:
        assert writer.ask(PUT, path, value).code in (CREATED, CHANGED)
        got, sizes = read_all(small, path)
        assert got == value and sizes == [256] * 4
        assert writer.ask(PUT, path, value[:400]).code in (CREATED, CHANGED)
        assert read_all(small, path) == (value[:400], [400]), 'what fits goes whole'
        assert small.ask(GET, path, options=[(OBSERVE, b'')]).code == CONTENT
        assert writer.ask(PUT, path, value[::-1]).code in (CREATED, CHANGED)
        told = small.receive()
        assert (told.payload, dict(told.options)[BLOCK2]) == (value[::-1][:256], uint(8 | 4)), 'and so do notifications'
        if told.kind == CON:
            small.acknowledge(told)
        assert small.ask(GET, '/.well-known/core').code == CONTENT
        assert small.is_alive()
        assert all(len(body) <= 512 for kind, epoch, body in records(seen, True) if epoch == 0), 'nor in the handshake'
        assert largest(seen) <= 512 + SEALING


def test_who_asks_for_larger_ones_gets_whole_values(fortress):
    device = fortress.add('lamp', credentials=KINDS)
    path, value = f'/mq/lamps/{device.name}/now', bytes(range(250)) * 4
    with Peer(device, fragment=SMALLEST + 3) as peer:
        assert peer.ask(PUT, path, value).code in (CREATED, CHANGED)
        assert read_all(peer, path) == (value, [1000])


def test_a_ticket_keeps_the_size(fortress):
    device = fortress.add('sensor')
    ticket = visit(device, fragment=SMALLEST)[2]
    resumed, seen, _ = visit(device, ticket, fragment=SMALLEST)
    assert resumed and largest(seen) <= 512 + SEALING
