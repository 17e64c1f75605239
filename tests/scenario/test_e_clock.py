"""e: a machine without a clock of its own. The daemon ran today and starts in 1970: nobody is refused, somebody is told."""
import json
import time

from harness import mosquitto, wire
from harness.wait import wait_until
from harness.wire import Wire


def clock_alerts(fortress):
    return [alert for alert in fortress.json('alerts') if alert.get('category') == 'anomaly' and alert.get('target') == 'clock']


def test_1970(make_fortress, clock):
    fortress = make_fortress(binary=clock.binary)
    sensor, console = fortress.add('sensor'), fortress.add('console')
    mosquitto.publish(sensor, f'status/{sensor.name}', 'today', qos=1)
    assert not clock_alerts(fortress)
    fortress.stop()
    before = time.time()
    clock.set_to(1000)
    fortress.start()
    with mosquitto.Subscriber(console, 'status/#') as subscriber:
        mosquitto.publish(sensor, f'status/{sensor.name}', '1970', qos=1)
        assert subscriber.get()['payload'] == '1970'
    alert = wait_until('the alert', lambda: clock_alerts(fortress))[0]
    assert alert['severity'] == 'alert' and 'NTP' in alert['reason']
    newest = fortress.events()[-1]
    assert newest['time'] >= time.strftime('%Y-%m-%dT%H:%M', time.gmtime(before - 120)), json.dumps(newest)
    # somebody sets the clock
    clock.set(0)
    wait_until('the end of the alert', lambda: not clock_alerts(fortress))
    fortress.wait_event('anomaly', target='clock', severity='notice')
    mosquitto.publish(sensor, f'status/{sensor.name}', 'today again', qos=1)


def test_set_back_while_serving(make_fortress, clock):
    """A step of a year back: time goes on, and certificates made a minute ago are still valid."""
    fortress = make_fortress(binary=clock.binary)
    sensor = fortress.add('sensor')
    clock.set(-365 * 86400)
    wait_until('the alert', lambda: clock_alerts(fortress))
    mosquitto.publish(sensor, f'status/{sensor.name}', 'still here', qos=1)
    later = fortress.add('sensor')
    clock.set(0)
    wait_until('the end of the alert', lambda: not clock_alerts(fortress))
    mosquitto.publish(later, f'status/{later.name}', 'me too', qos=1)


def test_no_clock_is_judged_by_a_wrong_one(make_fortress, clock):
    """While the machine's own is in doubt, nobody is told to set his; then he is."""
    fortress = make_fortress(binary=clock.binary)
    before, later = fortress.add('sensor'), fortress.add('sensor')

    def reads_an_hour_ahead(device):
        pack = json.dumps([{'n': 't', 't': int(time.time()) + 3600, 'v': 1}])
        kind = b'\x03' + wire.field('application/senml+json')
        with Wire(fortress, device) as client:
            client.login(device.name).send(wire.publish(f'status/{device.name}', pack, 1, properties=kind))
            assert client.expect(wire.PUBACK).reason == 0

    def told():
        return {alert['principal'] for alert in fortress.json('alerts') if alert.get('detector') == 'clock_skew'}
    clock.set(-86400)
    wait_until('the alert', lambda: clock_alerts(fortress))
    reads_an_hour_ahead(before)
    fortress.wait_event('disconnect', principal=before.name)
    assert not told()
    clock.set(0)
    wait_until('the end of the alert', lambda: not clock_alerts(fortress))
    reads_an_hour_ahead(later)
    wait_until('the alert of clock_skew', lambda: later.name in told())
    assert told() == {later.name}
