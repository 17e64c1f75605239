"""A fleet whose certificates have all ended: how it comes back by itself.

Identities are added as an operator does it, by a list; the daemon's clock steps behind the end of all of them; then each comes,
is told to wait or is let into the renewal lane, renews (with the key that it has: making keys is not what is looked at), comes
back by the new certificate and publishes. Nobody helps."""
import heapq
import re
import threading
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from harness import renewal, wire
from harness.clock import Clock
from harness.fortress import Device, Fortress
from harness.innocents import Innocents

POLICY = """
version: 1
roles:
  meter:
    publish:   [ "meters/${device}" ]
    subscribe: [ "commands/${device}/#" ]
  innocent:
    many: yes
    publish:   [ "innocent/#" ]
    subscribe: [ "innocent/#" ]
    limits: { connect_rate: 100000/s, connect_burst: 100000, publish_rate: 100000/s, publish_burst: 100000 }
"""
GRACE_DAYS, DAYS, DAY_S = 30, 91, 86400


def network(i):
    """Each hundred has a network of its own."""
    return f'127.{1 + i // 25000}.{i // 100 % 250}.{1 + i % 100}'


class Meter:
    """One identity: its files, its request, what became of it."""

    def __init__(self, fortress, i, folder):
        self.name, self.i = f'meter-{i}', i
        self.device = Device(fortress, self.name, 'meter', folder / self.name)
        self.csr = self._request((self.device.bundle / 'key.pem').read_text())
        self.n_waits, self.back_at = 0, None

    def _request(self, key_pem):
        key = serialization.load_pem_private_key(key_pem.encode(), None)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        built = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
        return built.public_bytes(serialization.Encoding.DER)


class Drill:
    """A fortress with n meters, and the time after the end of their certificates."""

    def __init__(self, n, rate, settings=()):
        self.clock, self.rate = Clock(-DAYS * DAY_S), rate
        self.fortress = Fortress(binary=self.clock.binary, listeners=('mqtts',), policy=None,
                                 settings=[f'renewal_rate={rate}/s', 'preauth_connections=4000', *settings])
        self.fortress.apply(POLICY)
        listed, out = self.fortress.home / 'meters.csv', self.fortress.home / 'meters'
        listed.write_text('name,role\n' + ''.join(f'meter-{i},meter\n' for i in range(n)))
        self.fortress.cli('device', 'add', '--from', listed, '--credential', 'x509', '--out', out, timeout=60 + n // 20)
        self.meters = [Meter(self.fortress, i, out) for i in range(n)]
        self.failures, self.n_closed, self.began = [], 0, None

    def end_all(self):
        """In one step, the certificates of all of them are over. It is today then, so that the server's, which renews itself, is
        good for who looks at it with this machine's clock."""
        since = len(self.fortress.log)
        self.clock.set(0)
        self.fortress.wait_log('^notice: reloaded', since, timeout=60)

    # -- one meter -------------------------------------------------------------------------------------------------------

    def _visit(self, meter):
        """Seconds until it comes again; None: it is back."""
        with renewal.wired(meter.device, source=network(meter.i)) as w:
            connack = w.send(wire.connect(meter.name)).expect(wire.CONNACK, 30)
            if connack.reason == 0x9f:
                meter.n_waits += 1
                words = wire.properties(connack, 2)[0x1f].decode()
                return int(re.search(r'come back in (\d+) s', words).group(1))
            assert connack.reason == 0, f'CONNACK {connack.reason:#x}'
            if meter.i % 10 == 0:  # what it is for is closed meanwhile
                w.send(wire.publish(f'meters/{meter.name}', '230.1', 1, 1))
                assert w.expect(wire.PUBACK).reason == 0x87, 'telemetry in the lane'
                with self._lock:
                    self.n_closed += 1
            assert renewal.hear(w) == 0
            answer, reason = renewal.ask(w, meter.csr)
            if reason == 0x97:
                meter.n_waits += 1
                return 1
            assert reason == 0, answer
        (meter.device.bundle / 'cert.pem').write_text(answer)
        with renewal.wired(meter.device, source=network(meter.i)) as w:
            w.login(meter.name)
            w.send(wire.publish(f'meters/{meter.name}', '230.2', 1, 1))
            assert w.expect(wire.PUBACK, 30).reason in (0, 0x10)
        meter.back_at = time.monotonic() - self.began
        return None

    def _run(self):
        while True:
            with self._lock:
                while self._due and not self.failures and self._due[0][0] > time.monotonic() - self.began:
                    self._lock.wait(self._due[0][0] - (time.monotonic() - self.began))
                if not self._due and self._n_out == 0 or self.failures:
                    self._lock.notify_all()
                    return
                if not self._due:
                    self._lock.wait(1)
                    continue
                _, i = heapq.heappop(self._due)
                self._n_out += 1
            again, failure = None, None
            try:
                again = self._visit(self.meters[i])
            except (ConnectionError, TimeoutError):
                again = 1  # the line was long; a device comes again
            except Exception as error:
                failure = f'{self.meters[i].name}: {error!r}'
            with self._lock:
                self._n_out -= 1
                if failure:
                    self.failures.append(failure)
                if again is not None:
                    heapq.heappush(self._due, (time.monotonic() - self.began + again, i))
                self._lock.notify_all()

    def run(self, threads=8):
        """All come at once. Returns when all are back; gives the seconds it took, and the times of the innocents in quiet and
        meanwhile."""
        innocent = self.fortress.add('innocent', name='innocent')
        self._lock, self._n_out = threading.Condition(), 0
        self._due = [(0, i) for i in range(len(self.meters))]
        with Innocents(self.fortress, innocent) as innocents:
            quiet = innocents.rounds(200)
            first = len(innocents.times)
            self.began = time.monotonic()
            workers = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]
            for one in workers:
                one.start()
            for one in workers:
                one.join()
            took = time.monotonic() - self.began
            meanwhile = innocents.since(first)
        assert not self.failures, self.failures[:5]
        assert all(meter.back_at is not None for meter in self.meters)
        return took, quiet, meanwhile

    def per_second(self):
        """How many came back in each second."""
        counts = [0] * (int(max(meter.back_at for meter in self.meters)) + 1)
        for meter in self.meters:
            counts[int(meter.back_at)] += 1
        return counts

    def close(self):
        try:
            self.fortress.close()
        finally:
            self.clock.close()
