"""Twenty clients that do nothing wrong while others attack, and keep books: publishers with certificates, durable subscribers
of whom one sleeps, CoAP observers. `check` compares the books: the same connections all along, everything that was acknowledged
arrived, nothing twice, observers saw the latest state."""
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from harness import coap, wire
from harness.fortress import metrics
from harness.innocents import percentile
from harness.ledger import Publisher, Subscriber, breaks, repeats
from harness.usage import n_files, resident_bytes
from harness.wait import wait_until

ROLE = '''
  bystander:
    publish:   [ { topic: "calm/#", retain: yes } ]
    subscribe: [ "calm/#" ]
    limits: { queue_messages: 100000, queue_bytes: 64MiB, publish_rate: 1000/s, connect_rate: 100/s }
'''
Q1, Q2, AWAKE, OBSERVERS = 5, 3, 4, 6  # with the publisher of the state and the sleeper: 20
PACE_S = 0.05
STATE = 'calm/state'
MEMORY_SHARE, MEMORY_BYTES, FILES = 0.10, 4 << 20, 2
BACK_S = 30


class Speaker(Publisher):
    """One message in flight; remembers how long each acknowledgement took."""

    def __init__(self, fortress, device, topic, qos, retain=False):
        super().__init__(fortress, device, topic, qos, retain, window=1, pace_s=PACE_S)
        self.times = []
        self._sent_at = 0.0

    def _packet(self, number, dup):
        self._sent_at = time.monotonic()
        return super()._packet(number, dup)

    def _answered(self, got):
        if got.kind in (wire.PUBACK, wire.PUBREC):
            self.times.append(time.monotonic() - self._sent_at)
        super()._answered(got)


class Bystanders:
    def __init__(self, fortress, observers=OBSERVERS):
        """observers: 0 where no CoAP client is installed."""
        self.fortress = fortress
        self._failures, self._threads = [], []
        observers = observers if coap.BUILDS else 0
        topics = [(f'calm/q1/{i}', 1) for i in range(Q1)] + [(f'calm/q2/{i}', 2) for i in range(Q2)]
        n = len(topics) + 1 + AWAKE + 1 + observers
        with ThreadPoolExecutor(4) as pool:
            devices = list(pool.map(lambda i: fortress.add('bystander', name=f'bystander-{i}', credentials=('x509', 'psk')), range(n)))
        self.speakers = [Speaker(fortress, devices.pop(), *one) for one in topics]
        self.herald = Speaker(fortress, devices.pop(), STATE, 1, retain=True)
        self.awake = [Subscriber(fortress, devices.pop(), (('calm/q1/+', 1), ('calm/q2/+', 2))) for _ in range(AWAKE)]
        self.sleeper = Subscriber(fortress, devices.pop(), (('calm/q1/+', 1), ('calm/q2/+', 2)))
        self._observers_of = devices
        self.observers = []

    def __enter__(self):
        for one in (*self.awake, self.sleeper):  # their sessions exist before the first message
            one.stop.set()
            one.run()
            assert one.was_there, f'{one.device.name} did not get in'
            one.stop.clear()
        for one in (*self.awake, *self.speakers, self.herald):
            self._begin(one)
        wait_until('a state to observe', lambda: self.herald.acked or self._failures, 20)
        for i, device in enumerate(self._observers_of):
            self.observers.append(coap.Observer(coap.BUILDS[i % len(coap.BUILDS)], device, f'mq/{STATE}', seconds=3600))
        self.check('the begin')
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            self._no_failure()
        for one in (*self.speakers, self.herald):
            one.quiet.set()
        for one in self.awake:
            one.stop.set()
        for thread in self._threads:
            thread.join(30)
        for one in self.observers:
            one.__exit__()
        for one in self.awake:
            one.end()

    def _begin(self, one):
        """A thread for one client; that it ends before it was told to is a failure."""
        asked = one.quiet if isinstance(one, Publisher) else one.stop

        def run():
            try:
                one.run()
                if not asked.is_set():
                    raise AssertionError(f'{one.device.name} lost its connection')
            except BaseException as error:  # noqa: B036: whatever it met is the test's failure
                self._failures.append(error)
        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _no_failure(self):
        if self._failures:
            raise AssertionError(f'a bystander was harmed: {self._failures[0]!r}') from self._failures[0]
        for one in self.observers:
            assert one.process.poll() is None, f'an observer ended: {one.seen[-3:]}'

    def _waits(self, what, condition, timeout):
        def done():
            self._no_failure()
            return condition()
        wait_until(what, done, timeout, pause=0.05)

    def _missing(self, books, subscriber):
        return [(topic, n) for topic, acked in books.items() for n in acked - set(subscriber.got.get(topic, []))]

    def check(self, after, timeout=60):
        """What was acknowledged until now has arrived, or arrives; the sleeper wakes for it and sleeps again."""
        books = {one.topic: set(one.acked) for one in self.speakers}
        state = max(self.herald.acked)
        waking = self._begin(self.sleeper)
        for one in (*self.awake, self.sleeper):
            try:
                self._waits('acknowledged messages', lambda one=one: not self._missing(books, one), timeout)
            except AssertionError as error:
                missing = sorted(self._missing(books, one))
                raise AssertionError(f'after {after}: {error}; {one.device.name} misses {len(missing)}: {missing[:5]}') from None
        self.sleeper.stop.set()
        waking.join(30)
        assert not waking.is_alive()
        self.sleeper.stop.clear()
        for one in (*self.awake, self.sleeper):
            for topic, numbers in one.got.items():
                numbers = list(numbers)
                first = list(dict.fromkeys(numbers))
                assert first == sorted(first), f'after {after}: {one.device.name}: order on {topic}: {breaks(first)}'
                # Nobody but the sleeper ever had a second connection, so QoS 1 has no reason to come twice either.
                if topic.startswith('calm/q2/') or one is not self.sleeper:
                    assert not repeats(numbers), f'after {after}: {one.device.name}: twice on {topic}: {repeats(numbers)[:5]}'
        for one in self.observers:
            self._waits('the latest state at an observer', lambda one=one: latest(one) >= state, timeout)

    def alone(self):
        """Nobody else is connected by MQTT any more, nor is the sleeper."""
        n = len(self.speakers) + 1 + len(self.awake)
        self._waits('the bystanders to be alone', lambda: metrics(self.fortress)['connections{listener="mqtts"}'] == n, BACK_S)

    def n_acked(self):
        return sum(len(one.acked) for one in self.speakers)

    def rounds(self, n, timeout=60):
        """Waits for n more acknowledgements to each speaker."""
        goals = [(one, len(one.acked) + n) for one in self.speakers]
        self._waits(f'{n} more acknowledgements each', lambda: all(len(one.acked) >= goal for one, goal in goals), timeout)

    def mark(self):
        """For `p99_since`."""
        return [len(one.times) for one in self.speakers]

    def p99_since(self, mark):
        """Of the time from PUBLISH to its acknowledgement, in seconds."""
        return percentile([t for one, at in zip(self.speakers, mark) for t in list(one.times)[at:]], .99)


def latest(observer):
    """The number of the newest state that it printed."""
    return max((int(line.split()[-1]) for line in list(observer.seen) if line.startswith(f'{STATE} ')), default=0)


class Footprint:
    """Memory and descriptors of the daemon before an attack; `is_back` afterwards."""

    def __init__(self, fortress, memory=True):
        self.fortress, self.memory = fortress, memory
        self.bytes, self.files = resident_bytes(fortress), n_files(fortress)
        self.bytes_after, self.files_after = self.bytes, self.files

    def look(self):
        self.bytes_after, self.files_after = resident_bytes(self.fortress), n_files(self.fortress)
        slim = not self.memory or self.bytes_after <= self.bytes * (1 + MEMORY_SHARE) + MEMORY_BYTES
        return slim and abs(self.files_after - self.files) <= FILES

    def is_back(self, name):
        try:
            wait_until('memory and descriptors to be back', self.look, BACK_S, pause=0.2)
        except AssertionError as error:
            raise AssertionError(f'after {name}: {error}: {self.bytes >> 10} KiB before, {self.bytes_after >> 10} after; '
                                 f'{self.files} descriptors before, {self.files_after} after') from None
