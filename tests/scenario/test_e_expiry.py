"""e: certificates that end. Weeks before it hurts an operator sees who, when, and how many together."""
import re
import time

import pytest

from harness import mosquitto
from harness.fortress import Refused
from harness.wait import wait_until

DAY_S = 86400


def expiring(fortress):
    return [alert for alert in fortress.json('alerts') if alert.get('category') == 'credential_expiring']


def state_of(fortress, name):
    return [line['state'] for line in fortress.json('certs', 'list') if line['name'] == name]


def test_the_life_of_a_certificate(make_fortress, clock):
    """Fine, due, alerted, expired, renewed: as the daemon's clock goes on."""
    fortress = make_fortress(binary=clock.binary)
    sensor = fortress.add(name='sensor', credentials=('x509',))
    fortress.add(name='by-key', credentials=('psk',))
    listed = fortress.json('certs', 'list')
    assert [(line['name'], line['kind'], line['state'], line['days'], line['renewed']) for line in listed
            if line['name'] in ('sensor', 'by-key')] == [('sensor', 'x509', 'fine', 90, False)]
    assert not expiring(fortress)
    clock.set(61 * DAY_S)
    assert state_of(fortress, 'sensor') == ['due']
    assert [line['name'] for line in fortress.json('certs', 'list', '--state', 'due')].count('sensor') == 1
    assert not fortress.json('certs', 'list', '--state', 'expired')
    clock.set(80 * DAY_S)
    fortress.add(name='fresh', credentials=('x509',))  # a change of the directory: what ends is looked at again
    alert = wait_until('the alert', lambda: expiring(fortress), 15)[0]
    assert 'within 14 days' in alert['reason'] and 'device rotate' in alert['reason']
    clock.set(91 * DAY_S)
    assert state_of(fortress, 'sensor') == ['expired']
    fortress.cli('device', 'rotate', 'sensor', '--out', str(fortress.dir / 'sensor-2'))
    assert state_of(fortress, 'sensor') == ['fine']
    assert [line['renewed'] for line in fortress.json('certs', 'list') if line['name'] == 'sensor'] == [True]
    assert sensor.name == 'sensor'


def test_the_plan(make_fortress):
    """A week is one line of the calendar; what ends on one day is a cliff; the authority is there."""
    fortress = make_fortress()
    begun = time.time()
    for i in range(10):
        fortress.add(name=f'together-{i}', credentials=('x509',))
    lines = fortress.json('certs', 'plan')
    assert [line['authority'] for line in lines if 'authority' in line] == ['server certificate', 'root authority', 'intermediate authority']
    sums = [line for line in lines if 'ending' in line][0]
    weeks = [line for line in lines if 'week' in line]
    assert sum(week['count'] for week in weeks) == sums['ending'] >= 10 and sums['expired'] == 0
    days = {day['day']: day for week in weeks for day in week['days']}
    last = time.strftime('%Y-%m-%d', time.gmtime(begun + 90 * DAY_S))
    if time.time() // DAY_S == begun // DAY_S:  # not over midnight
        assert days[last]['cliff'] and days[last]['count'] >= 10
    text = fortress.cli('certs', 'plan')
    assert re.search(r'^\d{4}-\d\d-\d\d +\d+  #+  CLIFF: \d+ on \d{4}-\d\d-\d\d$', text, re.M), text
    mosquitto.publish(fortress.add('sensor'), 'status/sensor', 'still served')


def test_usage(make_fortress):
    fortress = make_fortress()
    for wrong in (('list', '--state', 'tired'), ('plan', '--state', 'due'), ('forget',)):
        with pytest.raises(Refused) as refused:
            fortress.cli('certs', *wrong)
        assert refused.value.code == 2 and 'certs' in refused.value.stderr
