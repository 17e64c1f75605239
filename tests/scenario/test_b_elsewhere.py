"""b: another server is named: at an orderly stop, and by a listener that has moved."""
import re
import subprocess

import pytest

from harness import wire
from harness.fortress import POLICY
from harness.paho_client import Paho
from harness.wire import CONNACK, DISCONNECT, Wire, properties

pytestmark = pytest.mark.release

ELSEWHERE = 'other.example:8883'
SERVER_REFERENCE, REASON_STRING = 0x1c, 0x1f


def configure(fortress, *more, moved=None):
    path = fortress.dir / 'sallyport.yaml'
    text = path.read_text()
    if moved:
        text = re.sub(r'(name: mqtts,)', rf'\1 moved: {moved},', text)
    path.write_text(text + ''.join(more))


def reference(packet, at):
    found = properties(packet, at)
    return found[SERVER_REFERENCE][2:].decode() if SERVER_REFERENCE in found else None


@pytest.fixture
def moving(make_fortress):
    def make(moved=None, named=ELSEWHERE):
        fortress = make_fortress(start=False)
        configure(fortress, f'server_reference: "{named}"\n' if named else '', moved=moved)
        fortress.start()
        fortress.apply(POLICY)
        return fortress
    return make


@pytest.mark.parametrize('named,reason', [(ELSEWHERE, 0x9c), (None, 0x8b)])
def test_an_orderly_stop(moving, named, reason):
    fortress = moving(named=named)
    sensor, old = fortress.add('sensor'), fortress.add('sensor')
    with Wire(fortress, sensor) as client, Wire(fortress, old, 4) as elder, Wire(fortress, sensor) as stranger:
        client.login(sensor.name)
        elder.login(old.name)
        fortress.stop()
        last, = client.expect_close()
        assert (last.kind, last.reason, reference(last, 1)) == (DISCONNECT, reason, named)
        assert elder.expect_close() == []
        assert not any(named and named.encode() in one.body for one in stranger.expect_close()), 'a stranger was told'


@pytest.mark.parametrize('moved,reason', [('temporarily', 0x9c), ('permanently', 0x9d)])
def test_a_listener_that_has_moved(moving, moved, reason):
    fortress = moving(moved)
    sensor = fortress.add('sensor')
    with Wire(fortress, sensor) as client:
        answer = client.send(wire.connect(sensor.name)).expect(CONNACK)
        assert (answer.reason, reference(answer, 2)) == (reason, ELSEWHERE)
        assert REASON_STRING in properties(answer, 2)
        assert client.expect_close() == []
    with Wire(fortress, sensor, 4) as client:
        assert client.send(wire.connect(sensor.name, version=4)).expect(CONNACK).reason == 3
    with Wire(fortress, None, ca=sensor.ca) as stranger:
        answer = stranger.send(wire.connect(sensor.name, user=sensor.name, password='no')).expect(CONNACK)
        assert answer.reason == 0x86 and ELSEWHERE.encode() not in answer.body, 'a stranger was told'
    event, *_ = fortress.wait_event('disconnect', principal=sensor.name, target=ELSEWHERE)
    assert 'moved' in event['reason']
    with Paho(sensor) as client:
        assert client.connack == reason
    run = subprocess.run(['mosquitto_pub', '-h', 'localhost', '-p', str(fortress.ports['mqtts']), '--cafile', sensor.ca, '--cert',
                          sensor.cert, '--key', sensor.key, '-i', sensor.name, '-t', f'status/{sensor.name}', '-m', 'x'],
                         capture_output=True, text=True, timeout=30, check=False)
    assert run.returncode != 0


def test_check_says_what_is_wrong(make_fortress):
    fortress = make_fortress(start=False)
    configure(fortress, moved='temporarily')
    run = fortress.run('check', fortress.dir, check=False)
    assert run.returncode != 0 and 'server_reference' in run.stdout + run.stderr and re.search(r':\d+:\d+', run.stdout + run.stderr)
