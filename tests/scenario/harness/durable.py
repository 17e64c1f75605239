"""The two ends of a promise: `Talker` publishes with QoS 1 and keeps the books, `Sleeper` is the session that was promised. And
`is_on_record`, for what was promised to nobody."""
import struct

from harness import wire

EXPIRY = b'\x11' + struct.pack('>I', 3600)  # session expiry, MQTT 5
KEY = 12  # bytes at the beginning of a payload that tell one message from the others
FULL = 0x97  # MQTT 5: quota exceeded


def is_on_record(fortress, device):
    """What was to be recorded until now is on the disk, also what nobody is answered for (the end of a delivery, a connection that
    came or went): a new session that lasts is answered for when it is, and so is all before it."""
    with wire.Wire(fortress, device) as last:
        last.login('last', clean=True, properties=EXPIRY)


class Message:
    """A PUBLISH that came."""

    def __init__(self, packet):
        assert packet is not None and packet.kind == wire.PUBLISH, packet
        n = struct.unpack('>H', packet.body[:2])[0]
        self.topic, at = packet.body[2:2 + n].decode(), 2 + n
        if packet.flags & 6:
            self.packet_id, at = packet.body[at:at + 2], at + 2
        if packet.version == 5:
            length, shift = 0, 0
            while packet.body[at] >= 0x80:
                length, shift, at = length | (packet.body[at] & 0x7f) << shift, shift + 7, at + 1
            at += 1 + (length | packet.body[at] << shift)
        self.payload = bytes(packet.body[at:])

    @property
    def key(self):
        return self.payload[:KEY]


class Sleeper:
    """A durable session that sleeps; `collect` wakes it."""

    def __init__(self, fortress, device, topic_filter='t/kept', client_id=None):
        self.fortress, self.device, self.client_id, self.got = fortress, device, client_id or device.name, []
        with self.open(clean=True) as w:
            w.send(wire.subscribe(1, (topic_filter, 1), (f'mark/{self.client_id}', 0))).expect(wire.SUBACK)

    def open(self, clean=False):
        return wire.Wire(self.fortress, self.device).login(self.client_id, clean=clean, properties=EXPIRY)

    def collect(self, timeout=20):
        """All that waits for it, acknowledged; `got` is all that ever came."""
        with self.open() as w:
            # What was promised comes before what is published now: the mark is the last one.
            mark = b'mark-%07d' % len(self.got)
            w.send(wire.publish(f'mark/{self.client_id}', mark))
            while self._keep(w)(w.receive(timeout)) != mark:
                pass
            w.send(wire.packet(wire.PINGREQ))
            w.expect_among(wire.PINGRESP, self._keep(w), timeout)
            w.send(wire.packet(wire.DISCONNECT))
            w.expect_close(timeout)  # all acknowledgements were read then
        return set(self.got)

    def _keep(self, w):
        def keep(packet):
            one = Message(packet)
            if packet.flags & 6:
                self.got.append(one.key)
                w.send(wire.packet(wire.PUBACK, one.packet_id))
            return one.key
        return keep


class Talker:
    """Publishes numbered messages of some size with QoS 1."""
    numbers = 0  # no two talkers say the same

    def __init__(self, fortress, device, size=64, topic='t/kept', client_id=None):
        self.size, self.topic, self.fortress = size, topic, fortress
        self.acked, self.refused = [], []
        self._waiting = {}
        self.wire = wire.Wire(fortress, device).login(client_id or device.name)

    def prepare(self):
        """The next message, not sent: its key and its bytes."""
        Talker.numbers += 1
        key, packet_id = b'%0*d' % (KEY, Talker.numbers), Talker.numbers % 60000 + 1
        self._waiting[struct.pack('>H', packet_id)] = key
        return key, wire.publish(self.topic, key.ljust(self.size, b'x'), 1, packet_id)

    def say(self):
        key, packet = self.prepare()
        self.wire.send(packet)
        return key

    def hear(self, timeout=20):
        """The next answer: its key and its reason."""
        answer = self.wire.expect(wire.PUBACK, timeout)
        key = self._waiting.pop(bytes(answer.body[:2]))
        (self.acked if answer.reason < 0x80 else self.refused).append(key)
        return key, answer.reason

    def publish(self, timeout=20):
        said = self.say()
        key, reason = self.hear(timeout)
        assert key == said
        return reason

    def hears_nothing(self):
        """No answer to what was said: the answer to a later ping is the next thing that comes."""
        self.wire.send(wire.packet(wire.PINGREQ)).expect(wire.PINGRESP)

    def close(self):
        self.wire.close()


def nothing_is_lost_or_made_up(sleeper, *talkers):
    """What was acknowledged came, and what was refused did not."""
    got = sleeper.collect()
    for talker in talkers:
        lost = set(talker.acked) - got
        assert not lost, f'{len(lost)} of {len(talker.acked)} acknowledged messages are lost: {sorted(lost)[:5]}'
        kept = set(talker.refused) & got
        assert not kept, f'{len(kept)} of {len(talker.refused)} refused messages came: {sorted(kept)[:5]}'
