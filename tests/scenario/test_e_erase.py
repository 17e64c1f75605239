"""What `device remove` takes away for ever: also from a copy of the store that was made before."""
import re
import shutil
import struct

import pytest

from harness import wire
from harness.wire import CONNACK, PUBACK, PUBLISH, SUBACK, Wire

AN_HOUR = b'\x11' + struct.pack('>I', 3600)  # session expiry


def _login(one, name, **more):
    answer = one.send(wire.connect(name, clean=False, properties=AN_HOUR, **more)).expect(CONNACK)
    assert answer.reason == 0
    return answer.body[0] & 1  # is a session there?


def _furnish(fortress, device, name):
    """A session that wants its commands, and a retained value of its own."""
    with Wire(fortress, device) as one:
        _login(one, name)
        one.send(wire.subscribe(1, f'lamps/{name}/set/#')).expect(SUBACK)
        one.send(wire.publish(f'lamps/{name}/power', f'canary-retained-{name}', qos=1, retain=True)).expect(PUBACK)
        one.send(wire.packet(wire.DISCONNECT))


def _seen(fortress, console, client_id):
    """Everything retained below lamps/."""
    seen = []
    with Wire(fortress, console) as one:
        one.login(client_id)
        one.send(wire.subscribe(1, 'lamps/#')).expect(SUBACK)
        one.send(wire.publish('lamps/end/mark', 'the last one'))
        while not seen or b'the last one' not in seen[-1]:
            seen.append(one.expect(PUBLISH).body)
    return b' '.join(seen)


@pytest.fixture
def story(make_fortress):
    """gone-1 and stays-1 with the same belongings, wills among them; the store as it was then is kept beside."""
    fortress = make_fortress()
    console = fortress.add('console', name='desk-1')
    lamps = [fortress.add('lamp', name=name) for name in ('gone-1', 'stays-1')]
    for lamp in lamps:
        _furnish(fortress, lamp, lamp.name)
    with Wire(fortress, console) as one:
        one.login('queues')
        for n, lamp in enumerate(lamps):
            one.send(wire.publish(f'lamps/{lamp.name}/set/power', f'canary-queued-{lamp.name}', qos=1, packet_id=n + 1))
            one.expect(PUBACK)
    connected = [Wire(fortress, lamp) for lamp in lamps]
    for lamp, one in zip(lamps, connected):
        _login(one, lamp.name, will=(f'lamps/{lamp.name}/end', f'canary-will-{lamp.name}', 1, True))
        assert b'canary-queued' in one.expect(PUBLISH).body
    fortress.kill()
    shutil.copytree(fortress.dir / 'store', fortress.home / 'old-store')
    fortress.start()
    seen = _seen(fortress, console, 'before')
    for lamp in lamps:
        assert f'canary-retained-{lamp.name}'.encode() in seen and f'canary-will-{lamp.name}'.encode() in seen, seen
    return fortress, console, lamps


def _refused(fortress, device):
    try:
        with Wire(fortress, device) as one:
            answer = one.send(wire.connect(device.name)).receive()
            return answer is None or (answer.kind == CONNACK and answer.reason != 0)
    except OSError:
        return True


def _check(fortress, console, lamps, client_id):
    gone, stays = lamps
    assert _refused(fortress, gone)
    seen = _seen(fortress, console, client_id)
    assert b'canary-retained-stays-1' in seen and b'canary-will-stays-1' in seen, seen
    assert b'gone-1' not in seen, seen
    assert 'gone-1' not in fortress.cli('device', 'list')
    with Wire(fortress, stays) as one:
        assert _login(one, 'stays-1') == 1
        assert b'canary-queued-stays-1' in one.expect(PUBLISH).body
    assert not [event for event in fortress.events() if event['category'] == 'store_integrity']


def test_removed_is_gone_at_once_and_after_a_restart(story):
    fortress, console, lamps = story
    fortress.cli('device', 'remove', 'gone-1')
    fortress.wait_event('device_change', reason=re.compile('are erased'))
    _check(fortress, console, lamps, 'after')
    fortress.restart()
    _check(fortress, console, lamps, 'restarted')


def test_an_old_copy_of_the_store_yields_nothing(story):
    """With today's keyring: its records are counted as erased, which is no damage."""
    fortress, console, lamps = story
    fortress.cli('device', 'remove', 'gone-1')
    fortress.stop()
    shutil.rmtree(fortress.dir / 'store')
    shutil.copytree(fortress.home / 'old-store', fortress.dir / 'store')
    fortress.start()
    fortress.wait_log('records of removed devices cannot be read any more')
    _check(fortress, console, lamps, 'old')
    # a new device of that name begins with nothing
    shutil.rmtree(lamps[0].bundle)
    again = fortress.add('lamp', name='gone-1')
    with Wire(fortress, again) as one:
        assert _login(one, 'gone-1') == 0
        one.send(wire.subscribe(1, 'lamps/gone-1/#')).expect(SUBACK)
        one.send(wire.packet(wire.PINGREQ)).expect(wire.PINGRESP)
