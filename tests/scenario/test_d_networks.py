"""d: the networks of a listener are asked before the first byte; a listener without them says when strangers see it."""
import os
import re
import socket
import ssl
import subprocess

import pytest

from harness import coap, wire
from harness.fortress import Refused, counted, metrics
from harness.refusal import Watch
from harness.websocket import WebSocket
from harness.wire import PUBACK, Wire

pytestmark = pytest.mark.release

INSIDE, OUTSIDE = '127.0.0.1', '127.0.0.4'  # of 127.0.0.0/30 the one is in, the other is the next address behind it
PUBLIC = '203.0.113.7'
POLICY = """
version: 1
roles:
  sensor: { publish: [ { topic: "t/#", retain: yes } ], subscribe: [ "t/#" ] }
  guest: { client_id: "*" }
"""
REFUSED = 'refusals_total{reason="from"}'


@pytest.fixture(scope='module')
def walled():
    """Every kind of listener, each for 127.0.0.0/30."""
    from harness.fortress import Fortress
    one = Fortress(listeners=('mqtts', 'coaps', 'wss', 'mqtt'), start=False)
    one.configure('segment: field', 'segment: field, from: ["127.0.0.0/30", "fd00::/8"]')
    one.start()
    one.apply(POLICY)
    yield one
    one.close()


def bytes_of(fortress, listener, source, say=b''):
    """All that a connection from this address is told."""
    with socket.create_connection(('127.0.0.1', fortress.ports[listener]), 10, (source, 0)) as raw:
        got = b''
        try:
            raw.sendall(say)
            while more := raw.recv(4096):
                got += more
        except (ConnectionResetError, BrokenPipeError):
            pass
        return got, f'{source}:{raw.getsockname()[1]}'


@pytest.mark.parametrize('listener', ['mqtts', 'wss'])
def test_a_peer_outside_is_closed_without_a_byte(walled, listener):
    """Not one byte, no TLS alert; one event says who, where, which networks, and what to do."""
    before = metrics(walled)
    watch = Watch(walled)
    got, peer = bytes_of(walled, listener, OUTSIDE, say=b'\x16\x03\x01\x00\x05hello')
    assert got == b''
    watch.expect('probe', peer, listener=listener, reason=re.compile(r'\(127\.0\.0\.0/30, fd00::/8\).*add its network to `from`'),
                 fix='add its network to `from`')
    assert counted(walled, REFUSED, before[REFUSED] + 1) == before[REFUSED] + 1
    after = metrics(walled)
    assert after['handshakes_total{result="failed"}'] == before['handshakes_total{result="failed"}'], 'TLS saw nothing'


def test_a_good_certificate_does_not_help_outside(walled):
    device = walled.add('sensor')
    with pytest.raises((ssl.SSLError, ConnectionError, OSError)):
        Wire(walled, device, source=OUTSIDE)
    for address in ('127.0.0.1', '127.0.0.3'):  # to the last address of the network
        with Wire(walled, device, source=address) as client:
            client.login(device.name)
            assert client.send(wire.publish('t/a', 'x', qos=1)).expect(PUBACK).reason in (0, 0x10)
    with WebSocket(walled, device, source='127.0.0.3') as client:
        client.login(device.name)


def test_an_exception_does_not_lift_the_networks(walled):
    walled.cli('exception', 'add', '--listener', 'mqtt', '--allow', 'plaintext,anonymous', '--role', 'guest', '--for', '1h',
               '--reason', 'test')
    before = metrics(walled)[REFUSED]
    assert bytes_of(walled, 'mqtt', OUTSIDE, say=wire.connect('stranger'))[0] == b''
    assert counted(walled, REFUSED, before + 1) == before + 1
    with Wire(walled, plain='mqtt', source=INSIDE) as client:
        client.login('stranger')


def test_a_datagram_from_outside_is_dropped_in_silence(walled):
    """No cookie, no alert: the address cannot even be used to reflect."""
    device = walled.add('sensor', credentials=('psk',))
    build = coap.BUILDS[0]
    before = metrics(walled)[REFUSED]
    lost = coap.request(build, device, 'put', 'mq/t/a', payload='x', more=('-a', OUTSIDE), wait_s=3)
    assert lost.exit != 0 or lost.code or not lost.payload
    counted(walled, REFUSED, before + 1)
    walled.wait_event('probe', listener='coaps', protocol='coap', peer=re.compile(rf'^{OUTSIDE}:'))
    assert not [event for event in walled.events() if event['listener'] == 'coaps' and event['category'] == 'connect']
    put = coap.request(build, device, 'put', 'mq/t/a', payload='within', more=('-a', '127.0.0.2'))
    assert put.code is None, put.text
    got = coap.request(build, device, 'get', 'mq/t/a', more=('-a', '127.0.0.2'))
    assert got.payload == 'within', got.text


def test_a_flood_from_outside_leaves_the_others_alone(walled):
    """500 datagrams and 200 connections: each is counted, the trail stays small, and who is inside goes on."""
    device = walled.add('sensor')
    before, n_lines = metrics(walled)[REFUSED], len(walled.events())
    with Wire(walled, device) as client:
        client.login(device.name)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as raw:
            raw.bind((OUTSIDE, 0))
            for _ in range(500):
                raw.sendto(b'\x16\xfe\xff' + b'x' * 60, ('127.0.0.1', walled.ports['coaps']))
        for _ in range(200):
            bytes_of(walled, 'mqtts', OUTSIDE)
        counted(walled, REFUSED, before + 200)
        assert client.send(wire.publish('t/a', 'x', qos=1)).expect(PUBACK).reason in (0, 0x10)
    # Two workers, two listeners, 20 a second at most, and they are folded by address.
    assert len(walled.events()) - n_lines < 100


@pytest.mark.parametrize('networks,complaint', [
    ('["10.0.0.1/8"]', r'sallyport\.yaml:\d+:\d+: the address has bits behind the length: a whole network is written 10\.0\.0\.0/8'),
    ('["10.0.0.0/33"]', r'sallyport\.yaml:\d+:\d+: a network is written like'),
    ('[]', r'sallyport\.yaml:\d+:\d+: from names the networks'),
    ('[' + ', '.join(f'"10.{i}.0.0/16"' for i in range(17)) + ']', r'sallyport\.yaml:\d+:\d+: more than 16 networks in from'),
], ids=['bits', 'length', 'none', 'seventeen'])
def test_a_mistake_in_from_has_a_place(make_fortress, networks, complaint):
    fortress = make_fortress(start=False)
    fortress.configure('segment: field', f'segment: field, from: {networks}')
    with pytest.raises(Refused) as refused:
        fortress.cli('check')
    assert re.search(complaint, refused.value.stderr), refused.value.stderr


# -- exposure --------------------------------------------------------------------------------------------------------------

@pytest.fixture
def public_address():
    """An address of the documentation range on this machine's loopback: to the daemon it is a stranger's."""
    if os.geteuid() != 0:
        pytest.skip('only root may add an address')
    how = subprocess.run(['ip', 'addr', 'add', f'{PUBLIC}/32', 'dev', 'lo'], capture_output=True, text=True, check=False)
    if how.returncode != 0:
        pytest.skip(f'no address can be added here: {how.stderr.strip()}')
    yield PUBLIC
    subprocess.run(['ip', 'addr', 'del', f'{PUBLIC}/32', 'dev', 'lo'], check=False)


def exposures(fortress):
    return [event for event in fortress.events() if event['category'] == 'exposure' and event['listener'] != '-']


def test_the_first_public_peer_is_an_alert_of_each_listener(make_fortress, public_address):
    fortress = make_fortress(policy=None)
    bytes_within(fortress, 'mqtts', INSIDE)
    fortress.wait_event('tls_reject', peer=re.compile(re.escape(INSIDE)))  # what its arrival made was there before
    assert exposures(fortress) == []
    for _ in range(3):
        bytes_within(fortress, 'mqtts', public_address)
    fortress.wait_event('tls_reject', peer=re.compile(re.escape(public_address)), at_least=3)
    event, = fortress.wait_event('exposure', listener='mqtts', severity='alert')
    assert re.fullmatch(rf'{re.escape(public_address)}:\d+', event['peer'])
    assert re.search(r'names no networks.*its `from`', event['reason'])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as raw:
        raw.bind((public_address, 0))
        for _ in range(3):
            raw.sendto(b'\x16\xfe\xff', ('127.0.0.1', fortress.ports['coaps']))
    counted(fortress, 'coap_unproven_datagrams_total', 3)
    fortress.wait_event('exposure', listener='coaps', severity='alert')
    assert len(exposures(fortress)) == 2, 'once for each listener'
    alerts = [line for line in fortress.json('alerts') if line.get('category') == 'exposure']
    assert {line['listener'] for line in alerts} >= {'mqtts', 'coaps'}, alerts


def test_networks_are_the_fix(make_fortress, public_address):
    fortress = make_fortress(policy=None, start=False)
    fortress.configure('segment: field', f'segment: field, from: ["127.0.0.0/8", "{public_address}"]')
    fortress.start()
    bytes_within(fortress, 'mqtts', public_address)
    fortress.wait_event('tls_reject', peer=re.compile(re.escape(public_address)))
    assert exposures(fortress) == []


def bytes_within(fortress, listener, source):
    """A connection that says something wrong, so that its end is on record."""
    return bytes_of(fortress, listener, source, say=b'no TLS at all\r\n\r\n')
