"""m: alerts on $sallyport/alerts/#: raised and cleared, for those who are granted it, said by nobody but the server."""
import json
import re
import signal

import pytest

from harness import paho_client
from harness.fortress import POLICY
from harness.wait import wait_until

pytestmark = pytest.mark.release
WATCHER = '''  watcher:
    subscribe: [ "$sallyport/alerts/#" ]
  forger:
    publish:   [ "$sallyport/alerts/#", "any/#" ]
  nosy:
    subscribe: [ "#" ]
'''


@pytest.fixture
def place(make_fortress):
    one = make_fortress(listeners=('mqtts',), start=False)
    policy = POLICY.read_text() + WATCHER
    (one.dir / 'policy.yaml').write_text(policy)
    one.policy = policy
    one.start()
    return one


def reload_with(one, policy):
    (one.dir / 'policy.yaml').write_text(policy)
    one.process.send_signal(signal.SIGHUP)


def next_alert(client, state, category, timeout=15):
    found = []

    def is_there():
        if not client.messages.empty():
            message = client.get()
            said = json.loads(message.payload)
            assert message.topic == f'$sallyport/alerts/{said["category"]}' and message.qos == 1 and not message.retain
            assert all(0x20 <= byte < 0x7f for byte in message.payload)
            if (said['state'], said['category']) == (state, category):
                found.append(said)
        return found
    wait_until(f'{category} {state}', is_there, timeout)
    return found[0]


def test_raised_and_cleared(place):
    watcher = place.add('watcher')
    nosy = place.add('nosy')
    with paho_client.Paho(watcher) as client, paho_client.Paho(nosy) as other:
        assert client.subscribe('$sallyport/alerts/#') == [1]
        assert other.subscribe('#') == [1] and other.subscribe('$sallyport/alerts/#') == [0x87]
        # A sink of alerts that the test can end: a configuration that does not hold, then one that does.
        reload_with(place, place.policy + 'puzzle: 1\n')
        said = next_alert(client, 'raised', 'config_reject')
        assert 'puzzle' in said['reason'] and said['severity'] == 'alert' and re.fullmatch(r'\d+-\d+', said['id'])
        listed = [alert for alert in place.json('alerts') if alert['category'] == 'config_reject']
        assert listed and listed[0]['reason'] == said['reason']
        # Repetitions of an open alert are counted, not said again.
        reload_with(place, place.policy + 'puzzle: 2\n')
        place.wait_event('config_reject', at_least=2)
        assert other.messages.empty(), 'a wildcard does not reach it'


def test_an_alert_that_ends_is_cleared_and_a_session_misses_nothing(place, tmp_path):
    """A durable session that is away gets both when it comes back."""
    with (place.dir / 'sallyport.yaml').open('a') as config:
        config.write(f'\nexport: [ {{ name: lines, file: {tmp_path}/later/a.jsonl, silence: 2s }} ]\n')
    watcher = place.add('watcher')
    with paho_client.Paho(watcher, clean=False, session_expiry=3600) as client:
        assert client.subscribe('$sallyport/alerts/sink') == [1]
    place.kill()
    place.start()
    place.add()
    place.wait_event('sink', target='lines', severity='alert', timeout=30)
    (tmp_path / 'later').mkdir()
    place.wait_event('sink', target='lines', severity='notice', timeout=40)
    with paho_client.Paho(watcher, clean=False, session_expiry=3600) as client:
        raised = next_alert(client, 'raised', 'sink')
        assert raised['target'] == 'lines' and 'confirmed nothing' in raised['reason']
        assert next_alert(client, 'cleared', 'sink')['id'] == raised['id']


def test_nobody_else_publishes_there(place):
    forger = place.add('forger')
    watcher = place.add('watcher')
    with paho_client.Paho(watcher) as client, paho_client.Paho(forger) as bad:
        client.subscribe('$sallyport/alerts/#')
        for topic in ('$sallyport/alerts/sink', '$sallyport/alerts', '$sallyport/alerts/'):
            bad.client.publish(topic, b'{"state":"cleared"}', qos=1)
            place.wait_event('acl_deny', target=topic, principal=forger.name, reason=re.compile("server's own"))
        assert client.messages.empty()
    with paho_client.Paho(forger, will=('$sallyport/alerts/sink', b'x', 1, False)) as bad:
        assert bad.connack != 0, 'a will may not go there either'
