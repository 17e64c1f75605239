"""f: a store in which bits flipped, whose segments were cut or are gone, under the real daemon: it starts, it names what was
hit, it has everything else. And what lies there says nothing to who has no keys."""
import base64
import re
import shutil

import pytest
from harness import wire
from harness.durable import EXPIRY, KEY, Message, Sleeper, Talker
from harness.fortress import Fortress

pytestmark = pytest.mark.release

POLICY = '''
version: 1
roles:
  peer:
    kind: service
    many: yes
    publish: [ { topic: "t/#", retain: yes }, "mark/#" ]
    subscribe: [ "t/#", "mark/#" ]
    limits: { publish_rate: 100000/s, publish_burst: 100000, queue_messages: 400000, queue_bytes: 512MiB }
'''
QUEUED, RETAINED = 240, 20
HEAD = 4096 + 128  # of a segment, behind which records lie


class Story:
    """A stopped fortress: two sleeping sessions with queues, retained messages, devices; over several segments of one opening
    and those of an older one. `restore` puts the store back as it was."""

    def __init__(self):
        self.fortress = one = Fortress(listeners=('mqtts',), settings=('segment_bytes=2MiB', 'keep_bytes=64MiB'), policy=None)
        one.apply(POLICY)
        self.peer = one.add('peer', name='peer-1', credentials=('x509',))
        others = [one.add('peer', name=f'other-{i}', credentials=('x509',)) for i in range(3)]
        self.sleepers = [Sleeper(one, self.peer, topic, client_id=f'sleeper-{topic[-1]}') for topic in ('t/a', 't/b')]
        self.promised = {}
        for topic in ('t/a', 't/b'):
            talker = Talker(one, self.peer, size=20_000, topic=topic)
            for i in range(QUEUED):
                if i == QUEUED // 2:
                    talker.size = 900
                assert talker.publish() < 0x80
            self.promised[topic] = set(talker.acked)
            talker.close()
        with wire.Wire(one, self.peer).login('retains') as w:
            for i in range(RETAINED):
                w.send(wire.publish(f't/r/{i}', f'retained {i}', 1, i + 1, retain=True)).expect(wire.PUBACK)
        one.kill()  # the newest segment has no closing record, as after a power cut
        one.start()
        self.devices = {device['name'] for device in one.json('device', 'list')}
        assert self.devices >= {'peer-1', *(other.name for other in others)}
        one.stop()
        self.store, self.copy = one.dir / 'store', one.home / 'store-copy'
        shutil.copytree(self.store, self.copy)
        self.owner = next(self.store.iterdir()).stat()
        self.segments = [path for path in sorted(self.copy.iterdir()) if self.used(path) > HEAD]
        assert len(self.segments) >= 4, self.segments

    @staticmethod
    def used(path):
        return len(path.read_bytes().rstrip(b'\0'))

    def restore(self):
        for path in self.store.iterdir():
            path.unlink()
        for path in self.copy.iterdir():
            self.write(path.name, path.read_bytes())

    def write(self, name, data):
        path = self.store / name
        path.write_bytes(data)
        path.chmod(0o600)
        shutil.chown(path, self.owner.st_uid, self.owner.st_gid)

    def flip(self, hits):
        """One bit at each (segment, offset)."""
        for name in {name for name, _ in hits}:
            data = bytearray((self.store / name).read_bytes())
            for i, at in enumerate(at for one, at in hits if one == name):
                data[at] ^= 1 << (at + i) % 8
            self.write(name, bytes(data))

    def start(self):
        """Starts; gives the damage that was named: (segment, offset, kind or None, bytes or None)."""
        self.fortress.start()
        found = []
        for event in self.events():
            name, _, offset = event['target'].partition('@')
            what = re.search(r'record kind (\d+), owner \d+, (\d+) bytes', event['reason'])
            found.append((name.removeprefix('store/'), int(offset or 0), *(map(int, what.groups()) if what else (None, None))))
        return found

    def events(self):
        """Of damage, since the last start."""
        events = self.fortress.json('audit', 'tail', '-n', 400)
        ready = max(i for i, event in enumerate(events) if event['category'] == 'crash_recovery' or i == 0)
        return [event for event in events[ready:] if event['category'] == 'store_integrity']

    def lost(self):
        """What is not there any more: queued messages of each topic, retained ones, devices."""
        gone = {}
        for sleeper, topic in zip(self.sleepers, ('t/a', 't/b')):
            sleeper.got = []
            with wire.Wire(self.fortress, self.peer) as w:
                answer = w.send(wire.connect(sleeper.client_id, clean=False, properties=EXPIRY)).expect(wire.CONNACK)
                assert answer.reason == 0
            gone[topic] = self.promised[topic] - sleeper.collect()
            assert set(sleeper.got) <= self.promised[topic]
        seen = set()
        with wire.Wire(self.fortress, self.peer).login('looks') as w:
            w.send(wire.subscribe(1, ('t/r/#', 0), ('mark/looks', 0))).expect_among(
                wire.SUBACK, lambda packet: seen.add(Message(packet).topic))
            w.send(wire.publish('mark/looks', b'now'))
            while (one := Message(w.receive())).topic != 'mark/looks':
                seen.add(one.topic)
        gone['retained'] = {f't/r/{i}' for i in range(RETAINED)} - seen
        gone['devices'] = self.devices - {device['name'] for device in self.fortress.json('device', 'list')}
        return gone

    def serves(self):
        """New promises are kept, also over the next kill."""
        sleeper = Sleeper(self.fortress, self.peer, 't/new', client_id='sleeper-new')
        talker = Talker(self.fortress, self.peer, topic='t/new')
        assert talker.publish() < 0x80
        self.fortress.kill()
        self.fortress.start()
        assert set(talker.acked) <= sleeper.collect()


@pytest.fixture(scope='module')
def made():
    one = Story()
    yield one
    one.fortress.close()


@pytest.fixture
def story(made):
    made.restore()
    yield made
    made.fortress.kill()


def n_of(gone):
    return sum(map(len, gone.values()))


def is_named(hit, found):
    """Each place with the record around it, or with what is no record any more."""
    segment, at = hit
    return any(name == segment and offset <= at and (n is None or at < offset + n) for name, offset, _, n in found)


@pytest.mark.parametrize('part', range(6))
def test_flipped_bits(story, part):
    """Each costs no more than the record that it hits."""
    hits = []
    for path in story.segments:
        # Not where the sessions and devices lie: a lost session loses all that it was promised.
        used, first = story.used(path), HEAD + 20_000
        if used < 10 * first:
            continue
        hits += [(path.name, first + (used - first) * (4 * part + i) // 24) for i in range(4)]
    assert len(hits) >= 12
    story.flip(hits)
    found = story.start()
    missed = [hit for hit in hits if not is_named(hit, found)]
    assert not missed, (missed, found)
    gone = story.lost()
    assert n_of(gone) <= len(hits), (gone, found)
    story.serves()


def test_flipped_bits_in_headers(story):
    """They cost nothing: there are two of each."""
    hits = [(path.name, at) for path, at in zip(story.segments, (0, 9, 40, 77, 100, 4096 + 3))]
    story.flip(hits)
    found = story.start()
    assert all(is_named(hit, found) for hit in hits), found
    assert n_of(story.lost()) == 0


def test_a_segment_without_its_headers(story):
    """Its records are found with the keys of its neighbour."""
    path = story.segments[1]
    story.flip([(path.name, 20), (path.name, 4096 + 20)])
    found = story.start()
    assert any(one[0] == path.name for one in found), found
    assert n_of(story.lost()) == 0


@pytest.mark.parametrize('which', [0, 1, -2])
def test_a_cut_segment(story, which):
    path = story.segments[which]
    data = path.read_bytes()
    cut = HEAD + (story.used(path) - HEAD) * 2 // 3
    story.write(path.name, data[:cut])
    found = story.start()
    assert any(name == path.name and offset <= cut + 21_000 for name, offset, _, _ in found), found
    gone = story.lost()
    assert 0 < n_of(gone) < (QUEUED if which else 2 * QUEUED), gone
    story.serves()


def test_a_segment_cut_to_nothing(story):
    path = story.segments[1]
    story.write(path.name, b'')
    found = story.start()
    assert any(one[0] == path.name for one in found), found
    assert 0 < n_of(story.lost()) < 2 * QUEUED
    story.serves()


@pytest.mark.parametrize('which', [1, 2])
def test_a_missing_segment(story, which):
    path = story.segments[which]
    (story.store / path.name).unlink()
    found = story.start()
    assert any(one[0] == path.name for one in found), found
    gone = story.lost()
    assert 0 < n_of(gone) < 2 * QUEUED and not gone['devices'], gone
    story.serves()


def test_the_segment_with_the_directory_is_missing(story):
    """Nobody could log in: it says so instead of serving nobody."""
    (story.store / story.segments[0].name).unlink()
    story.fortress.start_only()
    story.fortress.wait_log('no directory any more: segments are missing or damaged. Put them back, or restore a backup')
    story.fortress.process.wait(20)
    story.fortress.process = None
    story.restore()
    story.fortress.start()
    assert n_of(story.lost()) == 0


# ---- at rest ----

CANARY = 'Wombat7Quartz'


def shapes(secret):
    raw = secret.encode()
    yield from (raw, raw[::-1], raw.hex().encode(), secret.encode('utf-16-le'))
    for cut in range(3):  # base64 of it, wherever it begins
        yield base64.b64encode(raw[cut:])[1:-4]


def test_nothing_of_anybody_is_readable(make_fortress):
    """Topics, filters, client ids, payloads, properties, wills, names and secrets: not in the store, the trail, the keyring, nor
    in a backup."""
    c = {what: f'{CANARY}{i:02d}{what}' for i, what in enumerate((
        'device', 'client', 'topic', 'filter', 'payload', 'willtopic', 'willpayload', 'retained', 'content', 'response',
        'correlation', 'user', 'value', 'role', 'attribute', 'rpc'))}
    one = make_fortress(listeners=('mqtts',), policy=None)
    one.apply(POLICY.replace('peer:', f'{c["role"]}:').replace('t/#', f'{CANARY}/#').replace('mark/#', 'mark/#'))
    device = one.add(c['role'], name=c['device'], credentials=('x509', 'password', 'psk'), attributes={'site': c['attribute']})
    with wire.Wire(one, device) as w:
        w.send(wire.connect(c['client'], clean=False, properties=EXPIRY,
                            will=(f'{CANARY}/{c["willtopic"]}', c['willpayload'], 1, True)))
        assert w.expect(wire.CONNACK).reason == 0
        w.send(wire.subscribe(1, (f'{CANARY}/{c["filter"]}/#', 2), (f'{CANARY}/{c["topic"]}', 1))).expect(wire.SUBACK)
        w.send(wire.packet(wire.DISCONNECT, b'\x04'))  # with its will
        w.expect_close()
    properties = (b'\x03' + wire.field(c['content']) + b'\x08' + wire.field(f'{CANARY}/{c["response"]}')
                  + b'\x09' + wire.field(c['correlation']) + b'\x26' + wire.field(c['user']) + wire.field(c['value']))
    with wire.Wire(one, device).login(c['client'] + '-2') as w:
        w.send(wire.publish(f'{CANARY}/{c["topic"]}', c['payload'] * 5, 1, 1, properties=properties)).expect(wire.PUBACK)
        w.send(wire.publish(f'{CANARY}/{c["topic"]}', c['retained'], 1, 2, retain=True)).expect(wire.PUBACK)
    one.wait_event('will')
    backup = one.home / 'backup.spb'
    one.cli('backup', backup)
    one.stop()
    secrets = [CANARY, device.password, device.psk]
    files = [backup, one.dir / 'keyring', *(one.dir / 'store').iterdir(), *(one.dir / 'audit').iterdir()]
    assert len(files) >= 5
    for path in files:
        data = path.read_bytes()
        assert len(data) > 50, path
        for secret in secrets:
            for shape in shapes(secret):
                assert shape not in data, f'{secret} as {shape} in {path.name}'
    one.start()  # and it was there
    assert f'"{c["device"]}"' in one.cli('--json', 'device', 'list')
    with wire.Wire(one, device) as w:
        assert w.send(wire.connect(c['client'], clean=False, properties=EXPIRY)).expect(wire.CONNACK).body[0] == 1
        assert Message(w.receive()).payload == c['payload'].encode() * 5
