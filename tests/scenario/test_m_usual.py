"""m: detectors that know what is usual, on the daemon: hours of it go by in minutes, on a clock that the test moves. What is
learned is quiet, what is changed is told, about whom it is and nobody else."""
import contextlib
import re

import pytest

from harness import wire
from harness.clock import Clock
from harness.fortress import Fortress, Refused
from harness.wait import wait_until
from harness.wire import PINGREQ, PINGRESP, PUBACK, Wire

pytestmark = pytest.mark.release

HOUR_S, MINUTE_S = 3600, 60
TOLD_S = 6  # workers have told what they counted
LONG_S = 300 * HOUR_S  # of five devices and more: over a thousand device-hours


class Plant:
    """Ten lamps that publish ten bytes once a minute."""

    def __init__(self, clock, fortress):
        self.clock, self.fortress = clock, fortress
        self.lamps = [fortress.add('lamp') for _ in range(10)]
        self.contexts = {lamp.name: wire.tls_context(lamp) for lamp in self.lamps}
        self.clients, self.gone = {}, []
        self.come_all()

    def come(self, lamp, source='127.0.0.1', version=5, **how):
        old = self.clients.pop(lamp.name, None)
        if old:
            old.send(wire.packet(wire.DISCONNECT))
            old.close()
        client = Wire(self.fortress, lamp, source=source, context=self.contexts[lamp.name], version=version)
        self.clients[lamp.name] = client.login(lamp.name, **{'keep_alive': 0, **how})
        return client

    def come_all(self):
        for lamp in self.lamps:
            self.come(lamp)

    def publish(self, lamp, payload='ten bytes.', n=1, topic='state'):
        client = self.clients[lamp.name]
        for _ in range(n):
            packet = wire.publish(f'lamps/{lamp.name}/{topic}', payload, 1, 7, version=client.version)
            assert client.send(packet).expect(PUBACK).reason == 0

    def flush(self):
        """What was counted is told, and looked at."""
        self.clock.pass_by(TOLD_S)
        for client in self.clients.values():
            client.send(wire.packet(PINGREQ)).expect(PINGRESP)
        self.alerts()

    def live(self, minutes, who=None):
        for _ in range(minutes):
            self.clock.pass_by(MINUTE_S - TOLD_S)
            for lamp in who or self.lamps:
                self.publish(lamp)
            self.flush()

    def close(self):
        for client in self.clients.values():
            client.close()

    def alerts(self):
        """About who is still there. A command whose connection time has leapt over is cut off, and asked again."""
        def rows():
            with contextlib.suppress(Refused):
                return [self.fortress.alerts()]
            return None
        return [row for row in wait_until('alerts', rows)[0] if row.get('detector') and row['principal'] not in self.gone]

    def alert(self, detector, lamp, act):
        """Acts until it is told."""
        def row():
            act()
            return next((one for one in self.alerts() if one['detector'] == detector and one['principal'] == lamp.name), None)
        found = wait_until(f'the alert of {detector}', row, 60, pause=0)
        assert re.search(r'\d', found['evidence']) and found['answer'] and found['since'] <= found['time']
        self.forget(lamp)
        assert not self.alerts()
        return found

    def forget(self, lamp):
        """It has done what it should: it is gone, and the next one is watched."""
        self.clients.pop(lamp.name).close()
        self.fortress.cli('device', 'remove', lamp.name)
        self.lamps.remove(lamp)
        self.gone.append(lamp.name)


@pytest.fixture(scope='module')
def plant():
    """An hour old."""
    with contextlib.ExitStack() as stack:
        clock = Clock()
        stack.callback(clock.close)
        fortress = Fortress(binary=clock.binary)
        stack.callback(fortress.close)
        one = Plant(clock, fortress)
        stack.callback(one.close)
        one.live(65)
        assert not one.alerts(), 'an hour is only learned from'
        yield one


def test_who_speaks_faster(plant):
    lamp = plant.lamps[0]

    def act():
        plant.clock.pass_by(5)
        plant.publish(lamp, n=5)
    found = plant.alert('faster', lamp, act)
    assert found['category'] == 'anomaly' and 'times as often' in found['evidence']


def test_who_says_more(plant):
    lamp = plant.lamps[0]

    def act():
        plant.clock.pass_by(MINUTE_S - TOLD_S)
        for one in plant.lamps:
            plant.publish(one, 'x' * 900 if one is lamp else 'ten bytes.')
        plant.flush()
    found = plant.alert('size_drift', lamp, act)
    assert found['category'] == 'anomaly' and 'larger' in found['evidence']


def test_who_is_another_program(plant):
    """Once and for good is written down, and no alarm."""
    lamp = plant.lamps[0]
    plant.come(lamp, version=4, keep_alive=600)
    told = plant.fortress.wait_event('anomaly', severity='notice', principal=lamp.name, reason=re.compile('^personality: '))[0]
    assert 'MQTT level 5, now 4' in told['reason']
    plant.live(3)
    assert not plant.alerts()


def test_who_is_silent(plant):
    lamp = plant.lamps[0]
    others = plant.lamps[1:]
    found = plant.alert('silent_device', lamp, lambda: plant.live(10, others))
    assert found['category'] == 'silence' and 'it spoke every' in found['evidence']


def test_who_gives_commands(plant):
    """Its rights allow it; none of its role has ever done so."""
    lamp = plant.lamps[0]
    found = plant.alert('command_write', lamp, lambda: plant.publish(lamp, topic='set'))
    assert f'lamps/{lamp.name}/set' in found['evidence']


def test_who_writes_elsewhere_and_who_is_elsewhere(plant):
    """Of a role that was watched for a thousand device-hours."""
    plant.clock.pass_by(LONG_S)
    plant.come_all()
    plant.live(2)
    lamp = plant.lamps[0]
    found = plant.alert('new_topic', lamp, lambda: plant.publish(lamp, topic='diary'))
    assert found['category'] == 'anomaly' and f'lamps/{lamp.name}/diary' in found['evidence']
    lamp = plant.lamps[0]
    plant.come(lamp, source='127.77.0.1')
    found = plant.alert('new_network', lamp, lambda: plant.live(3))
    assert found['category'] == 'anomaly' and '127.77.0.1' in found['evidence']
