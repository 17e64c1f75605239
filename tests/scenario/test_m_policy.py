"""m: a policy is judged before it is in force: tests about made-up devices without a daemon, `policy explain --policy`, and `policy diff`:
whom it concerns, what it makes wide, and which of the newest traffic it would refuse."""
import json
import textwrap

import pytest

from harness import wire
from harness.fortress import POLICY
from harness.wait import wait_until
from harness.wire import PUBACK, SUBACK, Wire

pytestmark = pytest.mark.release

TESTS = """
version: 1
devices:
  meter-1: { role: sensor, attrs: { site: lab } }
  desk: { role: console }
tests:
  - { device: meter-1, allow: publish, topic: sensors/lab/meter-1/t }
  - { device: meter-1, deny: subscribe, topic: "#" }
  - { device: meter-1, deny: PUT, path: /fw/1 }
  - { device: meter-1, allow: connect, client_id: meter-1 }
  - { device: desk, allow: hear, topic: sensors/lab/meter-1/t, from: meter-1 }
"""


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp('policy')

    def write(name, text):
        path = folder / name
        path.write_text(text)
        return path
    return write


# -- test ------------------------------------------------------------------------------------------------------------------

def test_tests_pass_without_a_daemon(make_fortress, files):
    fortress = make_fortress(start=False)
    tests = files('good.yaml', TESTS)
    assert fortress.cli('policy', 'test', tests, '--policy', POLICY) == '5 passed, 0 failed\n'
    assert fortress.cli('policy', 'test', tests) == '5 passed, 0 failed\n', 'the policy that init wrote'
    assert fortress.run('policy', 'test', tests, '--policy', POLICY) == '5 passed, 0 failed\n', 'and without a directory'


def test_the_file_of_the_help_passes_under_the_policy_of_init(make_fortress, files):
    fortress = make_fortress(start=False)
    text = fortress.run('policy', '--help')
    tests = text[text.index('  version: 1\n'):text.index('qos is 0')]
    assert fortress.cli('policy', 'test', files('help.yaml', textwrap.dedent(tests))) == '5 passed, 0 failed\n'


def test_a_row_that_fails_is_told_with_its_place_and_the_rule(make_fortress, files):
    fortress = make_fortress(start=False)
    tests = files('bad.yaml', TESTS + '  - { device: meter-1, allow: publish, topic: sensors/lab/meter-1/t, retain: yes }\n'
                                      '  - { device: desk, deny: publish, topic: lamps/a, qos: 2 }\n')
    run = fortress.cli('policy', 'test', tests, '--policy', POLICY, check=False)
    first, second, last = run.stdout.splitlines()
    assert run.returncode == 1 and last == '5 passed, 2 failed'
    assert first.startswith(f'{tests}:12: meter-1 publish sensors/lab/meter-1/t (QoS 0, retain): expected allow, came deny: ')
    assert 'role sensor, line 5' in first and 'retain' in first
    assert second.startswith(f'{tests}:13: desk publish lamps/a (QoS 2): expected deny, came allow: role console, line 12')
    run = fortress.cli('--json', 'policy', 'test', tests, '--policy', POLICY, check=False)
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert run.returncode == 1 and lines[-1] == {'passed': 5, 'failed': 2}
    assert [line['line'] for line in lines[:-1] if not line['passed']] == [12, 13]
    assert lines[5]['decision'] == 'deny' and lines[5]['expected'] == 'allow' and 'line 5' in lines[5]['rule']


@pytest.mark.parametrize('text,told', [
    (TESTS.replace('deny: PUT', 'deny: SHOUT'), ':9:30: what is allowed or denied is publish'),
    (TESTS.replace('from: meter-1', 'from: meter-2'), ':11:70: meter-2 is not among the devices of this file'),
    (TESTS.replace('site: lab', 'site: "\\e[2J"'), ':4:'),
], ids=['action', 'device', 'control'])
def test_a_file_that_does_not_read_is_no_result(make_fortress, files, text, told):
    run = make_fortress(start=False).cli('policy', 'test', files('wrong.yaml', text), check=False)
    assert run.returncode == 1 and run.stdout == '' and told in run.stderr and '\x1b' not in run.stderr


# -- explain ---------------------------------------------------------------------------------------------------------------

def test_explain_asks_a_policy_that_is_not_in_force(fortress, files):
    device = fortress.add('sensor')
    new = files('new.yaml', POLICY.read_text().replace('"commands/${device}/#"', '"commands/#"'))
    asked = ('policy', 'explain', device.name, 'subscribe', 'commands/all')
    assert fortress.cli(*asked).startswith('deny: ')
    assert fortress.cli(*asked, '--policy', new).startswith('allow: role sensor, line 6')
    assert fortress.cli(*asked).startswith('deny: '), 'nothing was changed'
    run = fortress.cli(*asked, '--policy', files('broken.yaml', 'version: 1\nroles: []\n'), check=False)
    assert run.returncode == 1 and 'broken.yaml:2:' in run.stderr and run.stdout == ''
    assert fortress.cli('policy', 'check', new, '--policy', new, check=False).returncode == 2


def test_what_is_not_there_is_said(fortress):
    run = fortress.cli('policy', 'learn', check=False)
    assert run.returncode == 1 and 'not there yet' in run.stderr


# -- diff ------------------------------------------------------------------------------------------------------------------

NARROW = POLICY.read_text().replace('"sensors/${site}/${device}/+", ', '').replace(
    'publish:   [ { topic: "lamps/${device}/+", retain: yes } ]', 'publish:   [ { topic: "lamps/${device}/+", qos: 1 } ]').replace(
    '  guest:', '  visitor:')


@pytest.fixture(scope='module')
def plant():
    """Two sensors and a lamp that have done something, and a guest."""
    from harness.fortress import Fortress
    one = Fortress()
    sensors, lamp = [one.add('sensor'), one.add('sensor')], one.add('lamp')
    one.add('guest')
    with Wire(one, sensors[0]) as client:
        client.login(sensors[0].name)
        topic = f'sensors/north/{sensors[0].name}/t'
        assert client.send(wire.publish(topic, 'x', qos=1, packet_id=1)).expect(PUBACK).reason in (0, 0x10)
    with Wire(one, lamp) as client:
        client.login(lamp.name)
        topic = f'lamps/{lamp.name}/state'
        assert client.send(wire.publish(topic, 'on', qos=1, packet_id=1, retain=True)).expect(PUBACK).reason in (0, 0x10)
        assert client.send(wire.subscribe(2, (f'lamps/{lamp.name}/set/#', 1))).expect(SUBACK)
    wait_until('the samples in the trail', lambda: {'subscribed with QoS 1', 'first publish of this connection'} <= {
        line['reason'] for line in one.json('audit', 'tail')})
    one.sensors, one.lamp = sensors, lamp
    yield one
    one.close()


def test_diff_tells_what_and_whom(plant, files):
    before = (plant.dir / 'policy.yaml').read_text()
    new = files('narrow.yaml', NARROW)
    text = plant.cli('policy', 'diff', new)
    a, b = (sensor.name for sensor in plant.sensors)
    lamp = plant.lamp.name
    assert f'role sensor\n  - publish sensors/${{site}}/${{device}}/+ (QoS up to 2, without retain), line 5 of the old: ' \
           f'2 devices: {a}, {b}\n' in text, text
    assert f'role lamp\n  ~ publish lamps/${{device}}/+: QoS up to 2 -> 1, no more retain, line 8: 1 device: {lamp}\n' in text, text
    assert 'role guest\n  - the role vanishes: who has it is denied everything: 1 device: guest-4\n' in text, text
    assert 'role visitor\n  + the role is new: 0 devices\n' in text
    refused = text[text.index('would be refused from now on:\n'):]
    assert f'  {a} publish sensors/north/{a}/t (last 20' in refused and 'role sensor' in refused
    assert f'  {lamp} publish lamps/{lamp}/state (is retained): role lamp, line 8' in refused, refused
    assert f'lamps/{lamp}/set' not in refused, 'that is still granted'
    assert text.splitlines()[-2].endswith('; 4 of 4 active devices are concerned')
    assert (plant.dir / 'policy.yaml').read_text() == before
    assert plant.cli('policy', 'apply', new, '--dry-run') == text
    assert (plant.dir / 'policy.yaml').read_text() == before, 'a dry run changes nothing'
    assert plant.cli('policy', 'explain', a, 'publish', f'sensors/north/{a}/t').startswith('allow')


def test_diff_as_json(plant, files):
    lines = plant.json('policy', 'diff', files('narrow.yaml', NARROW))
    changes = [line for line in lines if 'change' in line]
    lost = next(line for line in changes if line['change'] == 'lost')
    assert (lost['role'], lost['line'], lost['concerned'], lost['names']) == ('sensor', 5, 2, [one.name for one in plant.sensors])
    assert {line['change'] for line in changes} >= {'lost', 'altered', 'role_gone', 'role_new', 'gained'}
    refused = [line['refused'] for line in lines if 'refused' in line]
    assert any(one['retained'] and one['name'] == plant.lamp.name for one in refused)
    last = lines[-1]
    assert last['would_refuse'] == len(refused) and last['concerned'] == last['active'] == 4 and last['left_out'] == 0


def test_diff_of_the_same_is_nothing(plant, files):
    assert plant.cli('policy', 'diff', POLICY).startswith('0 changes and 0 warnings; 0 of 4 active devices are concerned\n')
    # What stands in the file is not what is in force.
    kept = (plant.dir / 'policy.yaml').read_text()
    (plant.dir / 'policy.yaml').write_text('version: 1\nroles: {}\n')
    try:
        assert plant.cli('policy', 'diff', POLICY).startswith('0 changes and 0 warnings;')
    finally:
        (plant.dir / 'policy.yaml').write_text(kept)


def test_what_was_refused_and_would_be_allowed_is_told(plant, files):
    lamp = plant.lamp.name
    with Wire(plant, plant.lamp) as client:
        client.login(lamp)
        assert client.send(wire.publish('elsewhere/x', 'x', qos=1, packet_id=1)).expect(PUBACK).reason == 0x87
    wait_until('the refusal in the trail', lambda: any(line['category'] == 'acl_deny' and line.get('target') == 'elsewhere/x'
                                                       for line in plant.json('audit', 'tail')))
    text = plant.cli('policy', 'diff', files('more.yaml', POLICY.read_text().replace(
        'publish:   [ { topic: "lamps/${device}/+"', 'publish:   [ "elsewhere/x", { topic: "lamps/${device}/+"')))
    told = text[text.index('would be allowed from now on:\n'):]
    assert f'  {lamp} publish elsewhere/x (last 20' in told and 'role lamp, line 8: publish elsewhere/x' in told, text
    assert text.endswith('0 would be refused, 1 allowed\n') and 'would be refused from now on' not in text


def test_diff_warns_of_what_is_wide(plant, files):
    text = plant.cli('policy', 'diff', files('wide.yaml', POLICY.read_text().replace(
        'subscribe: [ "commands/${device}/#" ]', 'subscribe: [ "#" ]').replace(
        '{ topic: "lamps/${device}/+", retain: yes } ]', '"lamps/+/set/on" ]', 1)))
    assert '  ! subscribe # is every topic at the top level; ' in text and '2 devices: ' in text, text
    assert '  ! publish lamps/+/set/on lets every device of the role write commands of others: lamps/${device}/set/#' in text, text


def test_diff_of_a_bad_file_or_without_a_daemon(plant, make_fortress, files):
    run = plant.cli('policy', 'diff', files('bad.yaml', 'version: 1\nroles: []\n'), check=False)
    assert run.returncode == 1 and 'bad.yaml:2:8: ' in run.stderr and run.stdout == ''
    run = make_fortress(start=False).cli('policy', 'diff', POLICY, check=False)
    assert run.returncode == 1 and 'start the daemon' in run.stderr
    assert plant.cli('policy', 'check', POLICY, '--dry-run', check=False).returncode == 2


def test_many_changes_are_cut_and_counted(plant, files):
    roles = ''.join(f'  r{i}: {{}}\n' for i in range(300))
    text = plant.cli('policy', 'diff', files('many.yaml', POLICY.read_text() + roles))
    assert '\nand 100 more changes\n' in text and text.count('the role is new') == 200
    assert '300 changes and 0 warnings' in text
