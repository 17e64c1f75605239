"""c: TLS by a ticket. It is the cheap way back in, and never a way around what the directory, the listener or the clock says."""
import base64
import os
import socket
import ssl
import struct
import subprocess

import pytest

from harness import wire
from harness.clock import Clock
from harness.fortress import POLICY, Device, Fortress, counted, metrics
from harness.wait import wait_until

pytestmark = pytest.mark.release

VERSIONS = {'1.2': ssl.TLSVersion.TLSv1_2, '1.3': ssl.TLSVersion.TLSv1_3}
LISTENERS = ('mqtts', 'wss')
HOUR = 3600
both = pytest.mark.parametrize('version', VERSIONS)


def made(**options):
    """Listeners that take TLS 1.2, too."""
    one = Fortress(listeners=LISTENERS, start=False, **options)
    config = one.dir / 'sallyport.yaml'
    config.write_text('\n'.join(line.replace(' }', ', tls_min: "1.2" }') if f'name: {LISTENERS[0]}' in line or
                                f'name: {LISTENERS[1]}' in line else line for line in config.read_text().splitlines()) + '\n')
    one.start()
    one.apply(POLICY)
    return one


@pytest.fixture(scope='module')
def fortress():
    one = made()
    yield one
    one.close()


class Client:
    """One device with a memory: its context, and the ticket it was given last."""

    def __init__(self, fortress, version, device=None, certificate=True):
        self.fortress, self.device = fortress, device or fortress.add('sensor')
        self.context = wire.tls_context(certificate=self.device.cert if certificate else None,
                                        key=self.device.key if certificate else None, ca=self.device.ca)
        self.context.minimum_version = self.context.maximum_version = VERSIONS[version]
        self.session, self.gives = None, True

    def visit(self, code=0, keep=True, **more):
        """Logs in, or is refused with this CONNACK; was TLS resumed?"""
        with wire.Wire(self.fortress, context=self.context, session=self.session) as w:
            answer = w.send(wire.connect(self.device.name, **more)).expect(wire.CONNACK)
            assert answer.reason == code, f'CONNACK {answer.reason:#x}'
            resumed, first = w.socket.session_reused, w.socket.session
            if code == 0:  # whoever it is may do what the device may
                w.send(wire.publish(f'status/{self.device.name}', 'here', 1, 1))
                assert w.expect(wire.PUBACK).reason in (0, 0x10)
            if keep:
                self.session = self.next_ticket(w, first) if self.gives and self.context.maximum_version == VERSIONS['1.3'] else first
            return resumed

    @staticmethod
    def next_ticket(w, first):
        """TLS 1.3: it comes behind the login, when there is time. It is read along with anything else."""
        def came():
            w.send(wire.packet(wire.PINGREQ)).expect(wire.PINGRESP)
            return w.socket.session if w.socket.session.has_ticket and w.socket.session.id != first.id else None
        return wait_until('the ticket', came, pause=0.01)

    def with_ticket(self):
        assert self.visit() is False
        assert self.session.has_ticket
        return self


@both
def test_a_client_resumes(fortress, version):
    before = metrics(fortress)
    client = Client(fortress, version).with_ticket()
    assert client.visit() is True
    assert client.visit() is True, 'and gets the next ticket'
    for name, n in (('handshakes_resumed_total', 2), ('handshakes_total{result="ok"}', 3)):
        assert counted(fortress, name, before[name] + n) == before[name] + n
    events = [event['reason'] for event in fortress.wait_event('connect', about=client.device.name, at_least=3)]
    assert events[0] == 'connected' and events[-1] == 'connected, by a TLS ticket', events


@both
def test_a_ticket_without_a_certificate_is_nobody(fortress, version):
    client = Client(fortress, version, certificate=False)
    login = {'user': client.device.name, 'password': client.device.password}
    assert client.visit(**login) is False
    assert client.visit(**login) is True
    assert client.visit(code=0x86, keep=False, user=client.device.name, password='wrong') is True
    assert client.visit(code=0x87, keep=False) is True, 'who resumes has still to say who he is'


@pytest.mark.parametrize('version,what', [('1.2', 'disable'), ('1.3', 'disable'), ('1.3', 'revoke'), ('1.3', 'remove'),
                                          ('1.3', 'rotate')])
def test_the_directory_of_now_is_asked(fortress, version, what):
    client = Client(fortress, version).with_ticket()
    assert client.visit() is True
    name = client.device.name
    fortress.cli('device', what, name, *(['--out', fortress.home / f'fresh-{name}'] if what == 'rotate' else []))
    assert client.visit(code=0x87, keep=False) is True  # TLS is between the ends, the refusal is the login's
    client.session = None
    assert client.visit(code=0x87, keep=False) is False
    category = 'revoked' if what in ('disable', 'revoke') else 'auth_fail'
    words = [event['reason'] for event in fortress.wait_event(category, about=name, at_least=2)
             if event['protocol'] == 'mqtt']
    assert len(set(words)) == 1, 'the same words with a ticket and without'
    if what == 'disable':
        fortress.cli('device', 'enable', name)
        assert client.visit() is False
        assert client.visit() is True
    if what == 'rotate':
        fresh = Device(fortress, name, client.device.role, fortress.home / f'fresh-{name}')
        assert Client(fortress, version, fresh).visit() is False


@both
def test_a_ticket_counts_at_its_listener_alone(fortress, version):
    client = Client(fortress, version).with_ticket()

    def resumes_at(listener):
        with socket.create_connection(('127.0.0.1', fortress.ports[listener]), 10) as raw:
            with client.context.wrap_socket(raw, server_hostname='localhost', session=client.session) as tls:
                return tls.session_reused
    assert resumes_at('wss') is False
    assert client.visit() is True


def s_client(fortress, device, version, *options):
    """openssl logs in, waits for a ticket, and says how TLS came about."""
    with subprocess.Popen(['openssl', 's_client', '-connect', f'localhost:{fortress.ports["mqtts"]}', '-CAfile', device.ca,
                           '-cert', device.cert, '-key', device.key, '-verify_return_error', '-ign_eof',
                           '-tls' + version.replace('.', '_'), *map(str, options)],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        process.stdin.write(wire.connect(device.name))
        process.stdin.flush()
        said, mark = b'', {'1.2': b'Verify return code', '1.3': b'Session Ticket arrived'}[version]
        for line in process.stdout:
            said += line
            if mark in line:
                break
        rest, _ = process.communicate(wire.packet(wire.DISCONNECT), timeout=30)
        return (said + rest).decode(errors='replace')


def members(der):
    """The parts of a DER SEQUENCE: (tag, where its contents begin, where they end)."""
    def one(at):
        tag, n, at = der[at], der[at + 1], at + 2
        if n & 0x80:
            n, at = int.from_bytes(der[at:at + (n & 0x7f)], 'big'), at + (n & 0x7f)
        return tag, at, at + n
    _, at, end = one(0)
    while at < end:
        tag, begin, at = one(at)
        yield tag, begin, at


@both
def test_a_ticket_that_was_changed_is_a_full_handshake(fortress, version):
    device, saved = fortress.add('sensor'), fortress.home / f'session-{version}.pem'
    assert 'New, TLS' in s_client(fortress, device, version, '-sess_out', saved)
    assert 'Reused, TLS' in s_client(fortress, device, version, '-sess_in', saved)
    lines = saved.read_text().splitlines()
    der = bytearray(base64.b64decode(''.join(line for line in lines if not line.startswith('-----'))))
    begin, end = next((begin, end) for tag, begin, end in members(bytes(der)) if tag == 0xaa)  # [10], an OCTET STRING
    print(f'TLS {version}: a ticket of {end - begin - 4} bytes')
    for at in (begin + 8, begin + 30, (begin + end) // 2, end - 1):
        changed = bytearray(der)
        changed[at] ^= 1
        text = base64.b64encode(changed).decode()
        saved.write_text('\n'.join([lines[0], *[text[i:i + 64] for i in range(0, len(text), 64)], lines[-1]]) + '\n')
        answer = s_client(fortress, device, version, '-sess_in', saved)
        assert 'New, TLS' in answer and 'Verify return code: 0 (ok)' in answer, answer


@both
def test_tickets_outlive_restarts(fortress, version):
    client = Client(fortress, version).with_ticket()
    fortress.restart()
    assert client.visit() is True
    fortress.kill()
    fortress.start()
    assert client.visit() is True
    (fortress.dir / 'tickets.sealed').write_bytes(b'not that')
    fortress.restart()
    fortress.wait_log(r'tickets\.sealed: .*nobody is shut out')
    assert client.visit() is False
    assert client.visit() is True


def test_keys_are_sealed_and_in_no_backup(fortress):
    path = fortress.dir / 'tickets.sealed'
    assert path.stat().st_mode & 0o777 == 0o600 and path.stat().st_size < 512
    contents = path.read_bytes()
    backup, place = fortress.home / 'all.spb', fortress.home / 'restored'
    fortress.cli('backup', backup)
    fortress.run('-C', place, 'restore', backup, '--keyring', fortress.dir / 'keyring', '--master-key',
                 fortress.home / 'fortress.key')
    assert (place / 'sallyport.yaml').exists()
    assert not (place / 'tickets.sealed').exists()
    assert contents not in backup.read_bytes()


def test_tickets_end(tmp_path):
    """With the clock: at the end of a ticket's life however often it was renewed, and keys are replaced while serving."""
    clock = Clock()
    one = made(binary=clock.binary)
    try:
        path = one.dir / 'tickets.sealed'
        clients = [Client(one, version).with_ticket() for version in VERSIONS]
        first = path.read_bytes()
        clock.set(13 * HOUR)
        for client in clients:
            assert client.visit() is True, 'half a life is nothing'
        one.restart()
        assert path.read_bytes() != first, 'the keys are replaced each half life'
        for client in clients:
            assert client.visit() is True, 'and the former ones still open'
        clock.set(25 * HOUR)
        for client in clients:
            assert client.visit() is False
            assert client.visit() is True
        clock.set(121 * 24 * HOUR)
        for client in clients:
            with pytest.raises((ssl.SSLError, ConnectionError)):  # its certificate and its grace have ended, and nothing else lets it in
                client.visit()
        one.wait_event('tls_reject', at_least=2)
    finally:
        one.close()
        clock.close()


def test_they_can_be_switched_off():
    one = made(settings=['tls_ticket_expiry=0'])
    try:
        for version in VERSIONS:
            client = Client(one, version)
            client.gives = False
            assert client.visit() is False
            assert not client.session.has_ticket
        assert not (one.dir / 'tickets.sealed').exists()
    finally:
        one.close()
