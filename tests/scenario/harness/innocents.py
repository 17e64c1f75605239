"""Twenty clients that do nothing wrong: ten publish, ten subscribe, each message is numbered and waited for."""
import struct
import threading
import time

from harness import wire
from harness.wire import PUBACK, PUBLISH, SUBACK, Wire

POLICY = """
version: 1
roles:
  innocent:
    many: yes
    publish:   [ "innocent/#" ]
    subscribe: [ "innocent/#" ]
    limits: { connect_rate: 100000/s, connect_burst: 100000, publish_rate: 100000/s, publish_burst: 100000 }
"""
PAIRS = 10


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


class Innocents:
    """A thread that goes from pair to pair: publish with QoS 1, PUBACK, the message at the subscriber, its PUBACK."""

    def __init__(self, fortress, device):
        self.times, self.error = [], None
        self._stop = threading.Event()
        self._moved = threading.Condition()
        self.pairs = []
        for i in range(PAIRS):
            publisher = Wire(fortress, device).login(f'publisher-{i}')
            subscriber = Wire(fortress, device).login(f'subscriber-{i}')
            assert subscriber.send(wire.subscribe(1, f'innocent/{i}')).expect(SUBACK).reason == 1
            self.pairs.append((publisher, subscriber))
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, kind, value, trace):
        self._stop.set()
        self._thread.join(30)
        for pair in self.pairs:
            for one in pair:
                one.close()
        if kind is None:
            assert self.error is None, self.error
            assert not self._thread.is_alive()

    def _run(self):
        try:
            n = 0
            while not self._stop.is_set():
                n += 1
                for i, pair in enumerate(self.pairs):
                    begin = time.monotonic()
                    self._say(i, n, *pair)
                    with self._moved:
                        self.times.append(time.monotonic() - begin)
                        self._moved.notify_all()
        except Exception as error:
            with self._moved:
                self.error = f'an innocent client: {error!r}'
                self._moved.notify_all()

    @staticmethod
    def _say(i, n, publisher, subscriber):
        packet_id = n % 0xffff + 1
        text = str(n).encode()
        assert publisher.send(wire.publish(f'innocent/{i}', text, qos=1, packet_id=packet_id)).expect(PUBACK, 20).reason == 0
        got = subscriber.expect(PUBLISH, 20)
        assert got.body.endswith(text) and got.flags & 8 == 0, f'{got} instead of message {n}'
        at = 2 + struct.unpack('>H', got.body[:2])[0]
        subscriber.send(wire.packet(PUBACK, got.body[at:at + 2]))

    def rounds(self, n, timeout=20):
        """Waits for n more messages; gives how long each took, in seconds."""
        with self._moved:
            first = len(self.times)
            assert self._moved.wait_for(lambda: self.error or len(self.times) >= first + n, timeout), 'innocents are stuck'
            assert self.error is None, self.error
            return self.times[first:first + n]

    def since(self, first):
        """What the messages from index `first` on took."""
        with self._moved:
            assert self.error is None, self.error
            return self.times[first:]
