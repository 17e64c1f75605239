"""f: disks that fill, fail and lie, on the real daemon. Nothing acknowledged is lost, nothing false is acknowledged, what
needs no disk is served, and it ends by itself: nobody restarts anything."""
import re
import resource
import socket

import pytest
from harness import wire
from harness.durable import EXPIRY, FULL, Sleeper, Talker, nothing_is_lost_or_made_up
from harness.fortress import Refused, counted
from harness.trouble import FailingDisk, ShortFiles, SmallDisk, Traced, calls_of
from harness.wait import wait_until

pytestmark = pytest.mark.release

POLICY = '''
version: 1
roles:
  peer:
    kind: service
    many: yes
    publish: [ { topic: "t/#", retain: yes }, "mark/#" ]
    subscribe: [ "t/#", "mark/#" ]
    limits: { connect_rate: 1000/s, connect_burst: 5000, publish_rate: 100000/s, publish_burst: 100000,
              queue_messages: 400000, queue_bytes: 512MiB, retained_bytes: 200KiB }
'''


@pytest.fixture
def fortress(make_fortress):
    one = make_fortress(listeners=('mqtts',), settings=('segment_bytes=2MiB', 'keep_bytes=8MiB'), policy=None)
    one.apply(POLICY)
    yield one


@pytest.fixture
def small_disk(fortress):
    """The fortress, started on a disk of 64 MiB, with a session that sleeps there."""
    one = fortress.add('peer', name='peer-1', credentials=('x509',))
    fortress.stop()
    disk = SmallDisk(fortress, 64)
    fortress.start()
    yield disk, one, Sleeper(fortress, one, client_id='sleeper')
    fortress.close()
    disk.unmount()


@pytest.fixture
def peer(fortress):
    return fortress.add('peer', name='peer-1', credentials=('x509',))


def state(fortress):
    return fortress.json('status')[0]['store']['state']


def says(fortress, category):
    """An event, and an alert for as long as it lasts."""
    fortress.wait_event(category, severity='alert')
    wait_until('the alert', lambda: category in {alert['category'] for alert in fortress.alerts()})


def works_without_the_store(fortress, device):
    """What nobody durable wants is served as ever, also to new clients."""
    with wire.Wire(fortress, device).login('sub') as sub, wire.Wire(fortress, device).login('pub') as pub:
        sub.send(wire.subscribe(1, ('t/live', 1))).expect(wire.SUBACK)
        pub.send(wire.publish('t/live', 'still here', 1, 7))
        assert pub.expect(wire.PUBACK).reason < 0x80
        assert sub.expect(wire.PUBLISH).body.endswith(b'still here')


def fill_until_refused(talker, most=2000):
    for _ in range(most):
        if talker.publish() >= 0x80:
            return
    raise AssertionError(f'{most} messages of {talker.size} bytes and the disk is not full')


def fill_to_the_brim(disk, talker):
    """Until not one more message fits, nor one byte of anybody else's."""
    fill_until_refused(talker)
    disk.fill()
    talker.size = 64
    fill_until_refused(talker, 100_000)
    disk.fill()
    assert disk.free() == 0


def refusals_are_clear(fortress, device):
    """To whoever asks for what cannot be kept: in the words of each protocol version, and nobody is told that it is kept."""
    other = Talker(fortress, device, client_id='other')
    assert other.publish() == FULL
    other.close()
    with wire.Wire(fortress, device, version=4).login('old') as old:
        old.send(wire.publish('t/kept', 'no room for this', 1, 1, version=4))
        assert not [one for one in old.expect_close() if one.kind == wire.PUBACK]
    with wire.Wire(fortress, device).login('retains') as retains:
        retains.send(wire.publish('t/retained', 'no room for this', 1, 1, retain=True))
        assert retains.expect(wire.PUBACK).reason == FULL
    with wire.Wire(fortress, device) as lasts:  # a session that outlives its connection
        answer = lasts.send(wire.connect('lasts', properties=EXPIRY)).expect(wire.CONNACK)
        assert answer.reason == FULL
    with wire.Wire(fortress, device).login('late') as late:  # what lasts no longer than its connection needs no room
        late.send(wire.subscribe(1, ('t/late', 1)))
        assert late.expect(wire.SUBACK).reason == 1
    with pytest.raises(Refused, match='(?i)full|space|room'):
        fortress.add('peer', name='peer-late', credentials=('x509',))


def resumes(talker):
    wait_until('the store to take messages again', lambda: talker.publish() < 0x80, timeout=30)


def kill_and_start(fortress):
    fortress.kill()
    fortress.start()


# ---- a full disk ----

# SPEC: MQTT3-4.8.0-2
def test_a_full_disk_refuses_serves_the_rest_and_comes_back(fortress, small_disk):
    """Room comes from the messages that are fetched."""
    disk, peer, sleeper = small_disk
    before = fortress.processes()
    talker = Talker(fortress, peer, size=100_000)
    fill_to_the_brim(disk, talker)
    assert len(talker.acked) > 100 and len(talker.refused) > 1
    says(fortress, 'store_space')
    assert state(fortress) == 'full'
    wait_until('the disk of the store to be the one that is looked at',
               lambda: fortress.json('status')[0]['store']['free_bytes'] < 1 << 20)
    refusals_are_clear(fortress, peer)
    works_without_the_store(fortress, peer)
    nothing_is_lost_or_made_up(sleeper, talker)
    resumes(talker)
    fortress.wait_event('store_space', severity='notice', reason='the store has room again')
    assert state(fortress) == 'fine'
    assert fortress.processes() == before
    nothing_is_lost_or_made_up(sleeper, talker)
    kill_and_start(fortress)
    nothing_is_lost_or_made_up(sleeper, talker)


def test_a_full_disk_comes_back_when_somebody_frees_room(fortress, small_disk):
    disk, peer, sleeper = small_disk
    before = fortress.processes()
    disk.fill()
    talker = Talker(fortress, peer, size=10_000)
    fill_to_the_brim(disk, talker)
    says(fortress, 'store_space')
    disk.relieve()
    resumes(talker)
    wait_until('the store to be fine', lambda: state(fortress) == 'fine')
    assert fortress.processes() == before
    fortress.add('peer', name='peer-late', credentials=('x509',))
    kill_and_start(fortress)
    nothing_is_lost_or_made_up(sleeper, talker)


def test_a_will_waits_for_room(fortress, small_disk):
    """It is due while the disk is full, and is there when the disk has room again; retained, so that it needs some."""
    disk, peer, _ = small_disk
    doomed = wire.Wire(fortress, peer).login('doomed', will=('t/will', 'gone', 1, True))
    disk.fill()
    talker = Talker(fortress, peer, size=10_000)
    fill_to_the_brim(disk, talker)
    doomed.close()
    fortress.wait_event('store_space', severity='warning', target='t/will', reason=re.compile('a will waits'))
    with wire.Wire(fortress, peer).login('reader') as reader:
        reader.send(wire.subscribe(1, ('t/will', 1))).expect(wire.SUBACK)
        disk.relieve()
        assert reader.expect(wire.PUBLISH, 30).body.endswith(b'gone')
    fortress.wait_event('will', target='t/will')


def test_a_full_disk_survives_kill_9_and_restarts_while_it_is_full(fortress, small_disk):
    disk, peer, sleeper = small_disk
    talker = Talker(fortress, peer, size=100_000)
    fill_to_the_brim(disk, talker)
    for ending in (fortress.kill, fortress.stop):
        ending()
        disk.fill()
        assert disk.free() == 0
        fortress.start()
        works_without_the_store(fortress, peer)
    again = Talker(fortress, peer, size=10_000, client_id='again')
    fill_to_the_brim(disk, again)
    refusals_are_clear(fortress, peer)
    fortress.kill()
    disk.relieve()
    disk.fill()
    fortress.start()
    nothing_is_lost_or_made_up(sleeper, talker, again)
    disk.relieve()
    last = Talker(fortress, peer, size=100, client_id='last')
    resumes(last)
    nothing_is_lost_or_made_up(sleeper, talker, again, last)


# ---- calls that fail ----

def held_up_by(fortress, peer, sleeper, inject, category):
    """While the calls fail: what is on its way is not acknowledged, the next is refused, the rest is served."""
    talker = Talker(fortress, peer)
    assert talker.publish() < 0x80
    with Traced(fortress, *inject):
        talker.say()
        says(fortress, category)
        talker.hears_nothing()
        other = Talker(fortress, peer, client_id='other')
        assert other.publish() == FULL
        works_without_the_store(fortress, peer)
        talker.hears_nothing()
        yield talker, other
    yield talker, other


@pytest.mark.parametrize('inject', [
    ('fdatasync:error=EIO',), ('pwrite64:error=EIO',), ('pwrite64:error=EROFS', 'fallocate:error=EROFS'),
    ('fdatasync:error=ENOSPC', 'fallocate:error=ENOSPC')], ids=lambda one: one[0])
@pytest.mark.parametrize('ending', ['heals', 'kill_9'])
def test_nothing_is_acknowledged_while_the_disk_fails(fortress, peer, inject, ending):
    sleeper = Sleeper(fortress, peer, client_id='sleeper')
    category = 'store_space' if 'ENOSPC' in inject[0] else 'store_integrity'
    story = held_up_by(fortress, peer, sleeper, inject, category)
    talker, other = next(story)
    if ending == 'kill_9':
        fortress.kill()
        fortress.start()
        next(story)
        again = Talker(fortress, peer, client_id='again')
        assert again.publish() < 0x80
    else:
        next(story)
        again = talker
        assert talker.hear()[1] < 0x80  # what waited is written now, and only now
        resumes(talker)
        fortress.wait_event(category, severity='notice')
    kill_and_start(fortress)
    nothing_is_lost_or_made_up(sleeper, talker, other, again)


@pytest.mark.parametrize('inject', [
    'fdatasync:error=EIO:when=1', 'pwrite64:error=EIO:when=1', 'fdatasync:error=EIO:when=3+5', 'pwrite64:error=ENOSPC:when=2+7',
    'pwrite64:error=EINTR:when=1+2', 'fdatasync:error=EINTR:when=1+2', 'fallocate:error=EINTR:when=1+2',
    'fallocate:error=ENOSPC', 'openat:error=EMFILE', 'pread64:error=EIO', 'unlinkat:error=EIO'])
def test_calls_that_fail_now_and_then(fortress, peer, inject):
    """Through several segments. Whatever the answers are, they are true."""
    sleeper = Sleeper(fortress, peer, client_id='sleeper')
    talker = Talker(fortress, peer, size=60_000)
    with Traced(fortress, inject) as traced:
        for _ in range(150):
            talker.publish(timeout=30)
        works_without_the_store(fortress, peer)
        if 'pread64' in inject or 'unlinkat' in inject:  # the cleaner's
            nothing_is_lost_or_made_up(sleeper, talker)
            for _ in range(100):
                talker.publish(timeout=30)
    assert traced.n_injected > 0, traced.text[-2000:]
    if 'EINTR' in inject:
        assert not talker.refused
    resumes(talker)
    kill_and_start(fortress)
    nothing_is_lost_or_made_up(sleeper, talker)


def test_short_writes(fortress, peer):
    """The first write that crosses the limit is short; what follows fails until the limit goes."""
    sleeper = Sleeper(fortress, peer, client_id='sleeper')
    talker = Talker(fortress, peer, size=60_000)
    before = fortress.processes()
    with ShortFiles(fortress, 1_000_001):
        with Traced(fortress, calls=('pwrite64',)) as traced:
            for _ in range(60):
                talker.publish(timeout=30)
        short = [call for call in calls_of(traced.text) if call.name == 'pwrite64' and 0 < call.n < asked(call)]
        assert short, traced.text[-2000:]
        works_without_the_store(fortress, peer)
    resumes(talker)
    assert fortress.processes() == before
    kill_and_start(fortress)
    nothing_is_lost_or_made_up(sleeper, talker)


def test_a_limit_on_the_size_of_files(fortress, peer):
    """`ulimit -f` of the shell that starts it: smaller segments, or a clear refusal, and never a process that is killed."""
    sleeper = Sleeper(fortress, peer, client_id='sleeper')
    fortress.stop()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_001, hard))
    try:
        fortress.start()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    before = fortress.processes()
    talker = Talker(fortress, peer, size=60_000)
    for _ in range(40):
        assert talker.publish() < 0x80
    assert fortress.processes() == before
    fortress.restart()
    nothing_is_lost_or_made_up(sleeper, talker)


def test_no_descriptors_for_a_new_connection(fortress, peer):
    """Who is connected is served; who comes meanwhile may be turned away, and who comes later is not."""
    sleeper = Sleeper(fortress, peer, client_id='sleeper')
    talker = Talker(fortress, peer)
    with Traced(fortress, 'accept4:error=EMFILE', only_store=False) as traced:
        with socket.create_connection(('127.0.0.1', fortress.ports['mqtts']), 10):
            wait_until('a refused accept', lambda: traced.n_injected > 0)
            for _ in range(20):
                assert talker.publish() < 0x80
    event = fortress.wait_event('quota', about=None, reason=re.compile('no file descriptor'))[0]
    assert event['severity'] == 'alert' and 'LimitNOFILE' in event['reason']
    assert counted(fortress, 'accept_pauses_total', 1)
    works_without_the_store(fortress, peer)
    a_reload_keeps_what_was_read(fortress, peer)
    nothing_is_lost_or_made_up(sleeper, talker)


def a_reload_keeps_what_was_read(fortress, peer):
    """Without descriptors no file can be opened: neither the new policy nor none is in force then, but the old one."""
    file = fortress.dir / 'policy.yaml'
    wider = file.read_text().replace('publish: [ ', 'publish: [ "elsewhere/#", ')
    with wire.Wire(fortress, peer).login('asker') as asker:
        def may(topic):
            return asker.send(wire.publish(topic, 'x', 1, 1)).expect(wire.PUBACK).reason < 0x80
        assert not may('elsewhere/a') and wider != file.read_text()
        file.write_text(wider)
        with Traced(fortress, 'openat:error=EMFILE', only_store=False):
            fortress.reload()
            fortress.wait_log('not reloaded, what was read before stays')
            assert not may('elsewhere/a') and may('mark/a')
        fortress.wait_event('config_reject')
        assert not may('elsewhere/a') and may('mark/a')
        fortress.reload()
        wait_until('the new policy', lambda: may('elsewhere/a'))


def test_the_kernel_makes_the_disk_read_only(fortress, peer):
    """An ext4 that met an error: EROFS for whoever writes, files that are open included."""
    fortress.stop()
    disk = FailingDisk(fortress, 64)
    try:
        fortress.start()
        sleeper = Sleeper(fortress, peer, client_id='sleeper')
        talker = Talker(fortress, peer)
        assert talker.publish() < 0x80
        disk.fail()
        talker.say()
        says(fortress, 'store_integrity')
        talker.hears_nothing()
        works_without_the_store(fortress, peer)
        fortress.kill()
        disk.mend()
        fortress.start()
        assert Talker(fortress, peer, client_id='again').publish() < 0x80
        nothing_is_lost_or_made_up(sleeper, talker)
    finally:
        fortress.close()
        disk.unmount()


# ---- what strace sees ----

ANSWERS = ('sendto', 'sendmsg')  # one part, and several


def asked(call):
    """Bytes that a pwrite64 was to write."""
    return int(call.text.rsplit(') =', 1)[0].split(', ')[-2])


def is_store(call):
    return '/store/' in call.text


def order_of(calls, port):
    """The writes to the store, their syncs, and what was sent to the client, in the order in which they happened."""
    for call in calls:
        if is_store(call) and call.name in ('pwrite64', 'fdatasync'):
            yield call.at, call
        elif call.name in ANSWERS and f':{port}]' in call.text:
            yield call.began, call


def test_each_acknowledgement_leaves_after_the_sync_of_its_message(fortress, peer):
    """One at a time: the size of its payload tells which write is whose."""
    sleeper = Sleeper(fortress, peer, client_id='sleeper')
    talker = Talker(fortress, peer)
    talker.publish()
    sizes = [3000 + 500 * i for i in range(12)]
    with Traced(fortress, calls=('pwrite64', 'fdatasync', *ANSWERS), only_store=False) as traced:
        for talker.size in sizes:
            talker.publish()
    story = [call for _, call in sorted(order_of(calls_of(traced.text), talker.wire.port), key=lambda one: one[0])]
    is_durable, n_sent, n_written = False, 0, 0
    for call in story:
        if call.name == 'pwrite64' and n_sent < len(sizes) and sizes[n_sent] <= call.n <= sizes[n_sent] + 400:
            n_written += 1
            is_durable, place = False, call.text.split(',')[0]
        elif call.name == 'fdatasync' and n_written > n_sent:
            assert call.result == '0' and call.text.split(')')[0].startswith(place), (call.text, place)
            is_durable = True
        elif call.name in ANSWERS:
            assert n_written == n_sent + 1 and is_durable, f'answer {n_sent + 1} left before its message was durable'
            n_sent, is_durable = n_sent + 1, False
    assert n_sent == len(sizes)
    nothing_is_lost_or_made_up(sleeper, talker)


def test_one_sync_a_batch(fortress, peer):
    """Each write of the log is followed by one sync of the same file, and many messages share them."""
    sleeper = Sleeper(fortress, peer, client_id='sleeper')
    talker = Talker(fortress, peer)
    talker.publish()
    before = fortress.json('status')[0]['store']['commits']
    with Traced(fortress, 'fdatasync:delay_enter=2000000:when=1', calls=('pwrite64',)) as traced:
        talker.say()
        talker.hears_nothing()  # its sync takes long, and what comes meanwhile gathers
        talker.wire.send(*(talker.prepare()[1] for _ in range(99)))
        talker.hears_nothing()
        for _ in range(100):
            assert talker.hear()[1] < 0x80
    commits = fortress.json('status')[0]['store']['commits'] - before
    story = [(call.name, call.text.split(',')[0].split(')')[0]) for call in calls_of(traced.text)]
    assert [name for name, _ in story] == ['pwrite64', 'fdatasync'] * (len(story) // 2), story
    assert all(story[i][1].startswith(story[i + 1][1]) for i in range(0, len(story), 2)), story
    assert len(story) // 2 == commits <= 3, (story, commits)
    nothing_is_lost_or_made_up(sleeper, talker)


def test_a_sync_that_takes_long_holds_the_acknowledgements_back(fortress, peer):
    sleeper = Sleeper(fortress, peer, client_id='sleeper')
    talker = Talker(fortress, peer)
    talker.publish()
    with Traced(fortress, 'fdatasync:delay_enter=500000:when=1') as traced:
        talker.say()
        talker.hears_nothing()  # it did not wait for the disk, which is asleep for half a second
        assert 'fdatasync' not in ''.join(line for line in traced.text.splitlines() if ' = 0' in line)
        assert talker.hear()[1] < 0x80
    nothing_is_lost_or_made_up(sleeper, talker)
