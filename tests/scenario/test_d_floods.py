"""d: who has not logged in costs the others nothing: floods from one network, handshakes left open, slow sockets, a restart.

Larger numbers: FLOOD_CONNECTIONS, FLOOD_HANDSHAKES, FLOOD_SLOW, FLOOD_RECONNECTS. `pytest -s` shows the figures."""
import asyncio
import os
import resource
import subprocess
import time

import pytest

from harness import wire
from harness.fortress import Fortress, metrics, times
from harness.innocents import POLICY, Innocents, percentile
from harness.strangers import dial, hello_bytes, trickle
from harness.usage import n_files, resident_bytes
from harness.wait import wait_until
from harness.wire import Wire, tls_context

pytestmark = pytest.mark.release

BURST, RATE, WORKERS = 200, 20, 2
PREAUTH_S = 4


def number(name, default):
    return int(os.environ.get(name, default))


@pytest.fixture(scope='module', autouse=True)
def descriptors():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@pytest.fixture(scope='module')
def one():
    fortress = Fortress(settings=(f'workers={WORKERS}', f'preauth_seconds={PREAUTH_S}'), policy=None)
    fortress.apply(POLICY)
    yield fortress
    fortress.close()


@pytest.fixture(scope='module')
def device(one):
    return one.add('innocent', credentials=('x509',))


def refused(fortress):
    return metrics(fortress)['refusals_total{reason="prefix"}']


def figures(what, quiet, loud, **more):
    print(f'\n{what}: quiet p99 {percentile(quiet, .99) * 1000:.1f} ms, meanwhile p99 {percentile(loud, .99) * 1000:.1f} ms, '
          f'max {max(loud) * 1000:.1f} ms of {len(loud)} messages', more)


def flood_events(fortress, network, since=0):
    return [event for event in fortress.events() if event['category'] == 'flood' and event['peer'] == network][since:]


def goes_back(fortress, files, name):
    """30 s later memory and descriptors are back; here as soon as the last stranger has gone."""
    wait_until(f'the strangers of {name} have gone', lambda: metrics(fortress)['strangers'] == 0, PREAUTH_S + 20, pause=0.1)
    wait_until(f'the descriptors of {name} are back', lambda: n_files(fortress) <= files + 2, pause=0.1)


def test_connections_from_one_network(one, device):
    """More than the budget is closed before TLS; other networks come in meanwhile."""
    n = number('FLOOD_CONNECTIONS', 2000)
    before = refused(one)
    files = n_files(one)
    with Innocents(one, device) as innocents:
        quiet = innocents.rounds(200)
        first = len(innocents.times)
        begin = time.monotonic()
        for i in range(n):
            stranger = dial(one, f'127.0.1.{i % 250 + 1}')
            if stranger:
                stranger.close()
        took = time.monotonic() - begin
        Wire(one, device, source='127.0.2.1').login('a-neighbour').close()
        wait_until('every connection was seen', lambda: refused(one) - before >= n - BURST - RATE * (time.monotonic() - begin),
                   20, pause=0.1)
        loud = innocents.since(first) + innocents.rounds(20)
    events = one.wait_event('flood', peer='127.0.1.0/24', listener='mqtts')
    assert len(events) <= WORKERS * (2 + took / 10), 'one event for each worker and ten seconds'
    assert 'connect_per_second' in events[0]['reason']
    figures('connection flood', quiet, loud, attempts_per_s=round(n / took), refused=refused(one) - before,
            told=sum(map(times, events)))
    goes_back(one, files, 'the flood')


def test_handshakes_from_one_network(one, device):
    """Complete TLS handshakes of somebody who then says nothing count as well."""
    n = number('FLOOD_HANDSHAKES', 300)
    before = refused(one)
    files = n_files(one)
    context = tls_context(device)
    done = 0
    with Innocents(one, device) as innocents:
        quiet = innocents.rounds(200)
        first = len(innocents.times)
        begin = time.monotonic()
        for i in range(n):
            try:
                Wire(one, context=context, source=f'127.0.3.{i % 250 + 1}').close()
                done += 1
            except OSError:
                pass
        took = time.monotonic() - begin
        assert done <= BURST + RATE * (took + 1), 'the budget holds'
        Wire(one, device, source='127.0.2.2').login('a-neighbour').close()
        loud = innocents.since(first) + innocents.rounds(20)
    if n > BURST + RATE * (took + 1):
        assert refused(one) > before
    figures('handshake flood', quiet, loud, handshakes_per_s=round(done / took), refused=refused(one) - before)
    goes_back(one, files, 'the handshakes')


def test_who_speaks_is_judged_by_what_it_says(one, device):
    """A CONNECT that is refused is an answer, not a flood: however many there are, each of them gets its own."""
    before = refused(one)
    context = tls_context(device)
    for i in range(3 * BURST):
        with_bad_name = Wire(one, context=context, source=f'127.0.4.{i % 250 + 1}').send(wire.connect('', version=4, clean=False))
        assert with_bad_name.expect(wire.CONNACK).reason == 2, i
        with_bad_name.close()
    assert refused(one) == before


def test_handshakes_left_open_and_slow_sockets(one, device, opened):
    """Half of them say a hello and then nothing, half a byte a second. They cannot stay longer than preauth_seconds, nor be more
    than preauth_connections; who comes meanwhile gets in."""
    n = number('FLOOD_SLOW', 1000)
    hello = hello_bytes()
    files, bytes_before = n_files(one), resident_bytes(one)
    strangers = []
    with Innocents(one, device) as innocents:
        quiet = innocents.rounds(200)
        first = len(innocents.times)
        for i in range(n):
            stranger = dial(one, f'127.0.{10 + i % 8}.{i // 8 % 250 + 1}')
            if stranger is None:
                continue
            strangers.append((opened(stranger), time.monotonic()))
            if i % 2 == 0:
                try:
                    stranger.send(hello)
                except OSError:
                    pass
        most = metrics(one)['strangers']
        assert most <= 1024
        begin = time.monotonic()
        Wire(one, device, source='127.0.2.3').login('a-neighbour').close()
        neighbour = time.monotonic() - begin
        ends = trickle(strangers, hello, time.monotonic() + PREAUTH_S + 20)
        loud = innocents.since(first) + innocents.rounds(20)
    assert len(ends) == len(strangers)
    figures('slow sockets', quiet, loud, sockets=len(ends), longest_s=round(max(ends), 1), at_once=most,
            neighbour_s=round(neighbour, 2), mib_after=(resident_bytes(one) - bytes_before) >> 20)
    goes_back(one, files, 'the slow sockets')


def test_the_pool_of_strangers(make_fortress, opened):
    """At preauth_connections the oldest of the network with most strangers goes; another network's stay."""
    fortress = make_fortress(settings=(f'workers={WORKERS}', 'preauth_connections=32', 'preauth_seconds=60'), policy=None)
    fortress.apply(POLICY)
    device = fortress.add('innocent', credentials=('x509',))
    first = [opened(dial(fortress, '127.0.2.1')) for _ in range(4)]
    wait_until('the first are in', lambda: metrics(fortress)['strangers'] == 4)
    for crowd in filter(None, (dial(fortress, '127.0.1.1') for _ in range(80))):
        opened(crowd)
    out = wait_until('strangers were closed', lambda: metrics(fortress)['refusals_total{reason="preauth"}'] >= 84 - 32, 20)
    assert out and metrics(fortress)['strangers'] <= 32
    Wire(fortress, device, source='127.0.3.1').login('a-neighbour').close()
    fortress.wait_event('flood', at_least=1)
    for one in first:  # they are older than all of the crowd, and still there
        one.settimeout(0)
        with pytest.raises(BlockingIOError):
            one.recv(1)


def test_dtls_handshakes_are_counted_behind_the_cookie(make_fortress):
    """One wrong key after the other from one network: what is over the budget gets no handshake."""
    fortress = make_fortress(settings=(f'workers={WORKERS}', 'connect_per_second=1', 'connect_burst=2',
                                       'dtls_preauth_seconds=2'), policy=None)
    fortress.apply(POLICY)
    device = fortress.add('innocent', credentials=('psk',))
    wrong = [subprocess.Popen(['openssl', 's_client', '-dtls1_2', '-connect', f'127.0.0.1:{fortress.ports["coaps"]}', '-cipher', 'PSK',
                               '-psk_identity', device.name, '-psk', f'{i + 1:032x}'], stdin=subprocess.PIPE,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for i in range(8)]
    try:
        fortress.wait_event('flood', peer='127.0.0.0/24', listener='coaps')
        assert refused(fortress) > 0
        # dtls_preauth_seconds: the unfinished ones are given up long before a minute.
        fortress.wait_event('auth_fail')
    finally:
        for one in wrong:
            one.kill()
            one.communicate()


async def comes_back(context, port, client_id, stats):
    """A client as clients are: it tries again after a second."""
    while True:
        try:
            reader, writer = await asyncio.open_connection('127.0.0.1', port, ssl=context, server_hostname='localhost',
                                                           ssl_handshake_timeout=30)
            writer.write(wire.connect(client_id))
            await writer.drain()
            head = await asyncio.wait_for(reader.readexactly(4), 30)
            assert head[0] >> 4 == wire.CONNACK and head[3] == 0, head
            stats['back'] += 1
            return writer
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
            stats['refused'] += 1
            await asyncio.sleep(1)


async def storm(context, port, n, stats):
    writers = await asyncio.gather(*(comes_back(context, port, f'again-{i}', stats) for i in range(n)))
    for writer in writers:
        writer.transport.abort()


def test_everybody_comes_back_after_a_restart(make_fortress):
    """All from one address, all at once: they are no flood, they wait in line."""
    n = number('FLOOD_RECONNECTS', 400)
    one = make_fortress(settings=(f'workers={WORKERS}',), policy=None)
    one.apply(POLICY)
    device = one.add('innocent', credentials=('x509',))
    one.restart()
    files = n_files(one)
    context = tls_context(device)
    stats = {'back': 0, 'refused': 0}
    with Innocents(one, device) as innocents:
        quiet = innocents.rounds(200)
        first = len(innocents.times)
        begin = time.monotonic()
        asyncio.run(asyncio.wait_for(storm(context, one.ports['mqtts'], n, stats), 300))
        took = time.monotonic() - begin
        loud = innocents.since(first) + innocents.rounds(20)
    assert stats['back'] == n
    figures('restart', quiet, loud, back=n, seconds=round(took, 1), tried_again=stats['refused'], refused=refused(one))
    goes_back(one, files, 'the restart')


def test_who_comes_back_takes_a_quarter_of_the_time(make_fortress):
    """Handshakes and tickets, while messages flow: of one worker, so that all messages are its own."""
    one = make_fortress(settings=('workers=1',), policy=None)
    one.apply(POLICY)
    device = one.add('innocent', credentials=('x509',))
    context = tls_context(device)
    stats = {'back': 0, 'refused': 0}

    def spent_s():
        return metrics(one)['admission_seconds_total']
    with Innocents(one, device) as innocents:
        innocents.rounds(20)
        first, before, begin = len(innocents.times), spent_s(), time.monotonic()
        asyncio.run(asyncio.wait_for(storm(context, one.ports['mqtts'], 150, stats), 120))
        spent, took = spent_s() - before, time.monotonic() - begin
        loud = innocents.since(first) + innocents.rounds(2)
    assert stats['back'] == 150 and spent > 0
    # A second without a message, for whatever reason, sets all of the time free. A step cannot be cut: the last one may be too long.
    assert spent <= took * 0.25 + sum(each for each in loud if each > 0.4) + 0.1, (spent, took, max(loud))
    print(f'\nback: {spent:.2f} s of {took:.2f} s')
