"""The ledger: what publishers were acknowledged, what subscribers were given, across any number of kill -9.

Clients are MQTT 3.1.1 with durable sessions. They keep their own side of the protocol over reconnections (what is in flight,
which QoS 2 ids are open), as a client with a store of its own does. `Ledger.verdict` compares: everything acknowledged
arrives, QoS 2 exactly once, first appearances in the order of publishing, and the retained message is never older than the
last acknowledged one."""
import random
import ssl
import struct
import threading
import time

from harness import wire

POLICY = '''
version: 1
roles:
  ledger:
    kind: service
    publish: [ { topic: "ledger/#", retain: yes } ]
    subscribe: [ "ledger/#" ]
    limits: { connect_rate: 1000/s, connect_burst: 5000, publish_rate: 1000000/s, publish_burst: 1000000, inflight: 200,
              queue_messages: 400000, queue_bytes: 512MiB, redeliveries: 200 }
'''
WINDOW = 50
GONE = (OSError, ssl.SSLError)


class Session:
    """One durable client; `connect` after each start of the daemon, `end` when it is gone."""

    def __init__(self, fortress, device):
        self.fortress, self.device, self.was_there = fortress, device, False
        self.wire = None

    def connect(self):
        self.wire = wire.Wire(self.fortress, self.device, version=4)
        answer = self.wire.send(wire.connect(self.device.name, version=4, clean=False)).receive()
        if answer is None:
            raise ConnectionResetError('killed while we connected')
        assert answer.kind == wire.CONNACK and answer.reason == 0, f'{self.device.name}: CONNACK {answer.reason}'
        present = bool(answer.body[0] & 1)
        assert present or not self.was_there, f'the session of {self.device.name} is lost'
        self.was_there = True
        return present

    def end(self):
        if self.wire:
            self.wire.close()
            self.wire = None


class Publisher(Session):
    """Publishes numbers 1, 2, 3 … on one topic, `window` in flight, every `pace_s` at the fastest."""

    def __init__(self, fortress, device, topic, qos, retain=False, window=WINDOW, pace_s=0):
        super().__init__(fortress, device)
        self.topic, self.qos, self.retain, self.window, self.pace_s = topic, qos, retain, window, pace_s
        self.next = 1
        self.flight = {}  # packet id -> (number, was PUBREC seen), in the order of sending
        self.acked = set()
        self.quiet = threading.Event()  # publish nothing new, finish what is under way

    def _packet(self, number, dup):
        return wire.publish(self.topic, f'{self.topic} {number}', self.qos, number % 60000 + 1, self.retain, 4, dup=dup)

    def run(self):
        """Until the connection breaks, or all is acknowledged and `quiet` is set."""
        try:
            self.connect()
            again = [self._packet(n, True) if not seen else wire.packet(wire.PUBREL, struct.pack('>H', pid), 2)
                     for pid, (n, seen) in self.flight.items()]
            if again:
                self.wire.send(*again)
            while self.flight or not self.quiet.is_set():
                burst = []
                if self.pace_s and not self.flight:
                    self.quiet.wait(self.pace_s)
                while len(self.flight) < self.window and not self.quiet.is_set():
                    self.flight[self.next % 60000 + 1] = (self.next, False)
                    burst.append(self._packet(self.next, False))
                    self.next += 1
                if burst:
                    self.wire.send(*burst)
                elif not self.flight:
                    break
                got = self.wire.receive(30)
                if got is None:
                    break
                self._answered(got)
        except GONE:
            pass
        finally:
            self.end()

    def _answered(self, got):
        assert got.kind in (wire.PUBACK, wire.PUBREC, wire.PUBCOMP), got
        pid = struct.unpack('>H', got.body[:2])[0]
        number, _ = self.flight.get(pid, (None, None))
        if number is None:
            return  # of an answer that an earlier connection had asked for
        self.acked.add(number)
        if got.kind == wire.PUBREC:
            self.flight[pid] = (number, True)
            self.wire.send(wire.packet(wire.PUBREL, struct.pack('>H', pid), 2))
        else:
            del self.flight[pid]


class Subscriber(Session):
    """Takes what its filters match, acknowledges at once, remembers open QoS 2 ids over connections."""

    def __init__(self, fortress, device, filters=(('ledger/q1', 1), ('ledger/q2', 2))):
        super().__init__(fortress, device)
        self.filters = filters
        self.open = set()
        self.got = {}  # topic -> numbers in the order of arrival
        self.stop = threading.Event()

    def run(self):
        try:
            if not self.connect():
                self.wire.send(wire.subscribe(1, *self.filters, version=4))
                assert self.wire.receive().kind == wire.SUBACK
            while not self.stop.is_set():
                try:
                    got = self.wire.receive(1)
                except AssertionError:
                    continue  # a quiet second
                if got is None:
                    break
                self._take(got)
        except GONE:
            pass
        finally:
            self.end()

    def _take(self, got):
        if got.kind == wire.PUBREL:
            self.open.discard(struct.unpack('>H', got.body[:2])[0])
            self.wire.send(wire.packet(wire.PUBCOMP, got.body[:2]))
            return
        assert got.kind == wire.PUBLISH, got
        n = struct.unpack('>H', got.body[:2])[0]
        topic, at, qos = got.body[2:2 + n].decode(), 2 + n, got.flags >> 1 & 3
        pid = struct.unpack('>H', got.body[at:at + 2])[0]
        name, number = got.body[at + 2:].decode().split()
        assert name == topic, f'{name} arrived on {topic}'
        if qos == 1:
            self.got.setdefault(topic, []).append(int(number))
            self.wire.send(wire.packet(wire.PUBACK, got.body[at:at + 2]))
            return
        if pid not in self.open:
            self.open.add(pid)
            self.got.setdefault(topic, []).append(int(number))
        self.wire.send(wire.packet(wire.PUBREC, got.body[at:at + 2]))


class Ledger:
    """Two publishers, one of each QoS, a publisher of retained messages, and two subscribers that sleep now and then."""

    def __init__(self, fortress, seed):
        self.fortress, self.random = fortress, random.Random(seed)
        fortress.apply(POLICY)
        devices = [fortress.add('ledger', name=f'ledger-{i}', credentials=('x509',)) for i in range(6)]
        self.publishers = [Publisher(fortress, devices[0], 'ledger/q1', 1), Publisher(fortress, devices[1], 'ledger/q2', 2),
                           Publisher(fortress, devices[2], 'ledger/retained', 1, retain=True)]
        self.subscribers = [Subscriber(fortress, devices[3]), Subscriber(fortress, devices[4])]
        self.reader = devices[5]
        for one in self.subscribers:  # their sessions exist before the first message
            one.stop.set()
            one.run()
            one.stop.clear()

    def acked(self):
        return sum(len(one.acked) for one in self.publishers)

    def check_retained(self):
        """The retained message of now against the last acknowledged one."""
        last = max(self.publishers[2].acked, default=0)
        if last == 0:
            return
        with wire.Wire(self.fortress, self.reader, version=4) as w:
            w.login(self.reader.name)
            w.send(wire.subscribe(1, ('ledger/retained', 0), version=4)).expect(wire.SUBACK)
            got = w.expect(wire.PUBLISH)
            number = int(got.body.decode(errors='replace').split()[-1])
            assert number >= last, f'retained {number}, but {last} was acknowledged'

    def _threads(self, who):
        failures = []

        def guard(one):
            try:
                one.run()
            except BaseException as e:  # noqa: B036: whatever a client met is the test's failure
                failures.append(e)
        threads = [threading.Thread(target=guard, args=(one,), daemon=True) for one in who]
        for thread in threads:
            thread.start()
        return threads, failures

    def round(self, messages):
        """Clients run until `messages` more are acknowledged, and a little further; then the daemon is killed."""
        self.check_retained()
        awake = [one for one in self.subscribers if self.random.random() < 0.7]
        goal = self.acked() + messages
        threads, failures = self._threads(self.publishers + awake)
        end = time.monotonic() + 60
        while self.acked() < goal and not failures and time.monotonic() < end:
            threading.Event().wait(self.random.random() * 0.004)
        reached = self.acked() >= goal
        self.fortress.kill()
        for thread in threads:
            thread.join(30)
        assert not failures, failures[0]
        assert reached, f'only {self.acked()} of {goal} were acknowledged within 60 s'
        self.fortress.start()

    def verdict(self):
        """Everybody finishes; then the books are compared."""
        for one in self.publishers:
            one.quiet.set()
        publishers, failed = self._threads(self.publishers)
        readers, failed_readers = self._threads(self.subscribers)
        for thread in publishers:
            thread.join(60)
        end = time.monotonic() + 120
        while time.monotonic() < end and not failed and not failed_readers and any(self._missing(s) for s in self.subscribers):
            threading.Event().wait(0.05)
        for one in self.subscribers:
            one.stop.set()
        for thread in readers:
            thread.join(30)
        for failure in failed + failed_readers:
            raise failure
        for one in self.subscribers:
            missing = self._missing(one)
            assert not missing, f'{one.device.name}: {len(missing)} acknowledged messages are lost: {sorted(missing)[:10]}'
            for topic, numbers in one.got.items():
                first = list(dict.fromkeys(numbers))
                assert first == sorted(first), f'{one.device.name}: order on {topic}: {breaks(first)}'
            twice = repeats(one.got.get('ledger/q2', []))
            assert not twice, f'{one.device.name}: delivered twice with QoS 2: {twice[:10]}'
        self.check_retained()

    def _missing(self, subscriber):
        return {(one.topic, n) for one in self.publishers[:2] for n in one.acked - set(subscriber.got.get(one.topic, []))}


def repeats(numbers):
    seen, twice = set(), []
    for n in numbers:
        if n in seen:
            twice.append(n)
        seen.add(n)
    return twice


def breaks(numbers):
    return [(a, b) for a, b in zip(numbers, numbers[1:]) if a > b][:10]
