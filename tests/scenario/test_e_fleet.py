"""e: many devices by one command. Killed midway (the command or the daemon) and run again, it ends in the same state.

SALLYPORT_FLEET=20000 runs the figures, too: that many devices added, disabled and given another role, each in under 60 s."""
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from harness import mosquitto, wire
from harness.fortress import BINARY, Device
from harness.wait import wait_until
from harness.wire import PUBACK, Wire

pytestmark = pytest.mark.release

N = 160
FLEET = int(os.environ.get('SALLYPORT_FLEET', '0'))
PIECE, DAY_S = 32, 86400


def write_list(path, n, kinds='x509'):
    rows = ''.join(f'm-{i},sensor,{"b1" if i % 2 else "b2"},{kinds}\n' for i in range(n))
    path.write_text('name,role,site,credentials\n' + rows)
    return path


def start(fortress, *arguments):
    return subprocess.Popen([str(BINARY), '-C', str(fortress.dir), *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True)


def bundles(folder):
    return sorted(one.name for one in Path(folder).glob('m-*')) if Path(folder).exists() else []


def midway(process, folder):
    """Some bundles are there, and most are not, probably."""
    wait_until('the first bundles', lambda: len(bundles(folder)) >= PIECE or process.poll() is not None, 60, pause=0.002)


def fleet(fortress, *arguments):
    return fortress.json('device', *arguments)[-1]


def can_log_in(fortress, name, bundle):
    device = Device(fortress, name, 'sensor', bundle)
    return mosquitto.publish(device, f'status/{name}', 'x', qos=1, check=False).returncode == 0


def test_a_list_is_added_whoever_is_killed_midway(make_fortress):
    fortress, begun = make_fortress(), time.time()
    listed, out = write_list(fortress.home / 'list.csv', N), fortress.home / 'out'
    add = ('device', 'add', '--from', listed, '--out', out)
    assert fleet(fortress, *add[1:], '--dry-run') == {'dry_run': True, 'command': 'add', 'matched': N,
                                                     'first': ['m-0', 'm-1', 'm-2', 'm-3', 'm-4']}
    assert fortress.json('device', 'list', '--where', 'role=sensor') == [] and not out.exists(), 'nothing was changed'
    fortress.add('lamp', name='m-100')  # refused: so however fast it is, this run is not done
    run = start(fortress, *add)
    midway(run, out)
    run.kill()
    run.communicate()
    first = bundles(out)
    fortress.cli('device', 'remove', 'm-100')
    shutil.rmtree(out / first[0])  # as if its answer had been lost
    run = start(fortress, *add)
    wait_until('more bundles', lambda: len(bundles(out)) > len(first) or run.poll() is not None, 60, pause=0.002)
    fortress.kill()
    said = run.communicate()
    assert run.returncode in (0, 1), said
    if run.returncode:
        assert 'the same command again goes on from there' in said[1]
    fortress.start()
    done = fleet(fortress, *add[1:])
    assert done['matched'] == done['changed'] + done['already'] == N and done['refused'] == 0, done
    assert len(bundles(out)) == N
    assert sorted(one['name'] for one in fortress.json('device', 'list', '--where', 'role=sensor')) == bundles(out)
    for name in (first[0], first[-1], bundles(out)[-1]):
        assert can_log_in(fortress, name, out / name), name
    again = fleet(fortress, *add[1:])
    assert (again['changed'], again['already'], again['refused']) == (0, N, 0)
    if time.time() // DAY_S == begun // DAY_S:  # not over midnight: all of them end on one day, an alert at once and weeks before
        cliff = wait_until('the alert', lambda: [one for one in fortress.alerts() if 'end on the same day' in one['reason']])[0]
        assert re.match(rf'{N} of {N} credentials end on the same day, 20\d\d-', cliff['reason']) and 'device rotate' in cliff['reason']
        assert cliff['category'] == 'credential_expiring'
    # A bundle that is with its device by now is not made anew, and what is other than listed is named.
    shutil.move(out / 'm-7', fortress.home / 'm-7')
    listed.write_text(listed.read_text().replace('m-9,sensor,b1', 'm-9,sensor,b7').replace('m-8,sensor', 'm-8,lamp'))
    refused = fortress.cli('--json', *add, check=False)
    lines = [json.loads(line) for line in refused.stdout.splitlines()]
    assert refused.returncode == 1 and {one['name']: one['why'] for one in lines[:-1]} == {
        'm-7': 'it is there already, and its bundle is not here: `device rotate m-7` makes new credentials',
        'm-8': 'it is there already, with other role: nothing was changed',
        'm-9': 'it is there already, with other attributes: nothing was changed'}
    assert can_log_in(fortress, 'm-7', fortress.home / 'm-7')


def test_a_rotation_that_is_cut_short_keeps_the_old_credentials_for_the_overlap(make_fortress):
    fortress = make_fortress()
    out, fresh = fortress.home / 'out', fortress.home / 'fresh'
    fortress.cli('device', 'add', '--from', write_list(fortress.home / 'list.csv', N), '--out', out)
    fortress.cli('device', 'revoke', 'm-1', '--reason', 'stolen')  # refused: so however fast it is, this run is not done
    rotate = ('device', 'rotate', '--where', 'site=b1', '--where', 'role=sensor', '--overlap', '1h', '--out', fresh)
    run = start(fortress, *rotate)
    midway(run, fresh)
    fortress.kill()
    run.communicate()
    name = bundles(fresh)[0]
    shutil.move(fresh / name, fortress.home / 'lost')  # as if its answer had been lost, and somebody else had it
    fortress.start()
    again = fortress.cli('--json', *rotate, check=False)
    done = json.loads(again.stdout.splitlines()[-1])
    assert again.returncode == 1 and done['refused'] == 1 and 'revoked' in again.stdout
    assert done['matched'] == N // 2 == done['changed'] + done['already'] + 1 and len(bundles(fresh)) == N // 2 - 1
    for one in (name, bundles(fresh)[-1]):
        assert can_log_in(fortress, one, out / one), 'the device may not have its new bundle yet'
        assert can_log_in(fortress, one, fresh / one)
    assert not can_log_in(fortress, name, fortress.home / 'lost'), 'what was lost opens nothing'
    small = ('device', 'rotate', '--where', 'name=m-2', '--out', fortress.home / 'small')
    assert fleet(fortress, *small[1:])['changed'] == 1
    for other, what in ((small, 'is done'), ((*rotate[:3], 'site=b2', '--out', fresh), 'another run'),
                        ((*rotate[:-1], out), 'another run')):
        again = fortress.cli(*other, check=False)
        assert again.returncode == 1 and what in again.stderr, again.stderr


def test_changes_by_selector_bind_live_sessions_and_are_idempotent(make_fortress):
    fortress = make_fortress()
    out = fortress.home / 'out'
    fortress.cli('device', 'add', '--from', write_list(fortress.home / 'list.csv', 60), '--out', out)
    ours, others = Device(fortress, 'm-1', 'sensor', out / 'm-1'), Device(fortress, 'm-2', 'sensor', out / 'm-2')
    with Wire(fortress, ours) as one, Wire(fortress, others) as two:
        one.login('m-1')
        two.login('m-2')
        assert fleet(fortress, 'disable', '--where', 'site=b1', '--dry-run')['matched'] == 30
        one.send(wire.publish('status/m-1', 'x', qos=1)).expect(PUBACK)
        done = fleet(fortress, 'disable', '--where', 'site=b1', '--reason', 'a site is down')
        assert (done['changed'], done['already']) == (30, 0)
        one.expect_close(30)
        two.send(wire.publish('status/m-2', 'x', qos=1)).expect(PUBACK)
    assert fortress.json('device', 'show', 'm-1')[0]['reason'] == 'a site is down'
    assert fleet(fortress, 'disable', '--where', 'site=b1')['already'] == 30
    assert fleet(fortress, 'enable', '--where', 'status=disabled')['changed'] == 30
    assert can_log_in(fortress, 'm-1', out / 'm-1')
    assert fleet(fortress, 'role', 'lamp', '--where', 'site=b1', '--where', 'name=m-3')['changed'] == 1
    fortress.cli('device', 'role', 'm-5', 'lamp')
    assert [one['name'] for one in fortress.json('device', 'list', '--where', 'role=lamp')] == ['m-3', 'm-5']
    fortress.add('console', name='gw')
    assert fleet(fortress, 'assign', '--where', 'site=b2', '--gateway', 'gw')['changed'] == 30
    assert fleet(fortress, 'assign', '--where', 'site=b2', '--gateway', 'gw')['already'] == 30
    assert fleet(fortress, 'assign', '--where', 'gateway=gw', '--gateway', 'none')['changed'] == 30
    fortress.cli('device', 'revoke', 'm-7', '--reason', 'stolen')
    refused = fortress.cli('--json', 'device', 'enable', '--where', 'site=b1', check=False)
    lines = [json.loads(line) for line in refused.stdout.splitlines()]
    assert refused.returncode == 1 and [one['name'] for one in lines[:-1]] == ['m-7'] and lines[-1]['already'] == 29
    assert fleet(fortress, 'remove', '--where', 'site=b2')['changed'] == 30
    assert fleet(fortress, 'remove', '--where', 'site=b2')['matched'] == 0
    fortress.wait_event('device_change', about='m-2', at_least=3)
    for wrong, what in ((('role', 'nothing', '--where', 'site=b1'), 'has no role nothing'),
                        (('assign', '--where', 'site=b1', '--gateway', 'nobody'), 'no gateway nobody'),
                        (('disable', '--where', 'gateway=nobody'), 'no gateway nobody'),
                        (('disable', '--where', 'site'), 'KEY=VALUE'), (('disable', 'm-1', '--where', 'site=b1'), 'no NAME'),
                        (('revoke', '--dry-run'), '--where'), (('rotate', '--where', 'site=b1'), '--out')):
        run = fortress.cli('device', *wrong, check=False)
        assert run.returncode in (1, 2) and what in run.stderr, run.stderr


def test_a_list_with_a_mistake_changes_nothing(fortress):
    listed = fortress.home / 'wrong.jsonl'
    for text, what in (('{"name":"j-1","role":"sensor"}\n{"name":"j-1","role":"sensor"}\n', 'line 2: j-1 is in the list twice'),
                       ('name,role\nj-1,sensor\nj-2,sensor,x\n', 'line 3: more fields'),
                       ('name,role\n', 'no device'), ('{"name":"a/b","role":"sensor"}\n', 'line 1'),
                       ('{"name":"j-1"}\n', 'no role')):
        listed.write_text(text)
        run = fortress.cli('device', 'add', '--from', listed, '--out', fortress.home / 'wrong-out', check=False)
        assert run.returncode in (1, 2) and what in run.stderr, run.stderr
    assert not [one for one in fortress.json('device', 'list') if one['name'].startswith('j-')]
    listed.write_text('{"name":"j-1","credentials":["oscore","psk"],"attrs":{"site":"a, \\"b\\""}}\n{"name":"j-2","role":"lamp"}\n')
    fortress.cli('device', 'add', '--from', listed, '--role', 'sensor', '--attr', 'site=c', '--out', fortress.home / 'right-out')
    told = {one['name']: one for one in fortress.json('device', 'list', '--where', 'status=active')}
    assert told['j-1']['attrs'] == {'site': 'a, "b"'} and told['j-2']['attrs'] == {'site': 'c'}
    assert (told['j-1']['credentials'], told['j-2']['role']) == ('psk,oscore', 'lamp')


@pytest.mark.skipif(FLEET == 0, reason='SALLYPORT_FLEET=20000 runs it')
@pytest.mark.timeout(900)
def test_the_figures(make_fortress):
    fortress = make_fortress()
    listed = write_list(fortress.home / 'list.csv', FLEET)
    for command in (('add', '--from', listed, '--out', fortress.home / 'out'), ('disable', '--where', 'role=sensor'),
                    ('enable', '--where', 'role=sensor'), ('role', 'lamp', '--where', 'role=sensor'),
                    ('rotate', '--where', 'role=lamp', '--out', fortress.home / 'fresh')):
        begin = time.monotonic()
        fortress.cli('device', *command, timeout=600)
        took = time.monotonic() - begin
        print(f'{command[0]}: {FLEET} devices in {took:.1f} s')
        assert took < 60 * max(FLEET, 20000) / 20000, command
