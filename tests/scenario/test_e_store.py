"""e: what was acknowledged is there after kill -9, after a stop, and after a crash of the broker alone: queues of sleeping
sessions, retained messages, devices."""
import os
import re
import signal

import pytest

from harness import mosquitto
from harness.paho_client import Paho

pytestmark = pytest.mark.release

N = 50


def kill_9(fortress):
    fortress.kill()
    fortress.start()


def stop_and_start(fortress):
    fortress.restart()


def broker_dies(fortress):
    since = len(fortress.log)
    os.kill(fortress.processes()[1], signal.SIGKILL)
    fortress.wait_log('the broker serves again', since, timeout=30)


endings = pytest.mark.parametrize('ending', [kill_9, stop_and_start, broker_dies], ids=lambda f: f.__name__)


@endings
def test_a_queue_of_a_sleeping_session(make_fortress, ending):
    fortress = make_fortress()
    sensor, console = fortress.add('sensor'), fortress.add('console')
    with Paho(console, clean=False, session_expiry=3600) as asleep:
        assert asleep.subscribe('sensors/#', 1) == [1]
    with Paho(sensor) as client:
        for i in range(N):
            client.publish(f'sensors/north/{sensor.name}/t', str(i), qos=1)
    ending(fortress)
    # what ended in order is nobody's alarm
    if ending is stop_and_start:
        assert not [event for event in fortress.events() if event['category'] == 'crash_recovery']
    else:
        fortress.wait_event('crash_recovery')
    assert any(re.search(r'store: 1 sessions, 50 messages, 0 retained restored in \d+ ms', line) for line in fortress.log)
    with Paho(console, clean=False, session_expiry=3600) as awake:
        got = [awake.get() for _ in range(N)]
        assert [int(message.payload) for message in got] == list(range(N))
        # the subscription came back too
        with Paho(sensor) as client:
            client.publish(f'sensors/north/{sensor.name}/t', 'after', qos=1)
        assert awake.get().payload == b'after'


@endings
def test_retained_messages(make_fortress, ending):
    fortress = make_fortress()
    sensor, console = fortress.add('sensor'), fortress.add('console')
    with Paho(sensor) as client:
        client.publish(f'status/{sensor.name}', 'old', qos=1, retain=True)
        client.publish(f'status/{sensor.name}', 'new', qos=1, retain=True)
    ending(fortress)
    with mosquitto.Subscriber(console, 'status/#', qos=1) as subscriber:
        assert subscriber.get()['payload'] == 'new'
    # a clear is remembered as well
    with Paho(sensor) as client:
        client.publish(f'status/{sensor.name}', '', qos=1, retain=True)
    ending(fortress)
    with mosquitto.Subscriber(console, 'status/#', qos=1) as subscriber:
        mosquitto.publish(sensor, f'status/{sensor.name}', 'live', qos=1)
        assert subscriber.get()['payload'] == 'live'


def test_status_shows_the_store(make_fortress):
    fortress = make_fortress()
    sensor, console = fortress.add('sensor'), fortress.add('console')
    before = fortress.json('status')[0]['store']
    assert before['state'] == 'fine' and before['segments'] >= 1 and before['free_bytes'] > 0
    with Paho(console, clean=False, session_expiry=3600) as asleep:
        asleep.subscribe('sensors/#', 1)
    with Paho(sensor) as client:
        client.publish(f'sensors/north/{sensor.name}/t', 'x', qos=1)
    after = fortress.json('status')[0]['store']
    assert after['commits'] > before['commits'] and after['living_bytes'] > before['living_bytes']
    metrics = fortress.cli('metrics')
    for name in ('bytes', 'living_bytes', 'free_bytes', 'segments', 'commit_seconds_count'):
        assert float(re.search(rf'^sallyport_store_{name} (\S+)$', metrics, re.M).group(1)) > 0, name
    assert 'sallyport_store_state{state="fine"} 1' in metrics


def test_check_says_what_the_store_takes(make_fortress):
    fortress = make_fortress(start=False, settings=('segment_bytes=8MiB', 'keep_bytes=100MiB'))
    said = fortress.run('check', fortress.dir)
    assert '8 MiB' in said and '24 MiB' in said and '100 MiB' in said
    run = fortress.run('init', fortress.home / 'other', '--set', 'segment_bytes=1MiB', check=False)
    assert run.returncode == 1 and 'segment_bytes must be between 2MiB' in run.stderr
