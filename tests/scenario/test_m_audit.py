"""m: the audit trail proves itself: verify without a daemon, anchors, keys, what a crash leaves and what somebody did."""
import json
import shutil

import pytest

from harness import mosquitto
from harness.fortress import Refused
from harness.wait import wait_until

pytestmark = pytest.mark.release


def verify(one, *options):
    """The report, and whether the command ended with 0."""
    done = one.cli('--json', 'audit', 'verify', *options, check=False)
    assert done.returncode in (0, 1), done.stderr
    report = json.loads(done.stdout)
    assert report['ok'] == (done.returncode == 0)
    return report


def bad(report):
    return [finding for finding in report['findings'] if finding['bad']]


def kinds(report):
    return [finding['kind'] for finding in report['findings']]


def trail(one):
    return sorted((one.dir / 'audit').iterdir())


def written(one, **how):
    """A fortress with some events in its trail, stopped."""
    for _ in range(3):
        one.add()
    one.stop(**how)
    return one


def test_an_honest_trail_holds_with_and_without_a_daemon(make_fortress):
    one = make_fortress(listeners=('mqtts',))
    for _ in range(3):
        one.add()
    live = verify(one)
    assert live['ok'] and kinds(live) == ['open'], 'a daemon that runs has not closed its trail'
    anchor = one.home / 'anchor.json'
    anchor.write_text(one.cli('--json', 'audit', 'anchor'))
    one.restart()
    one.stop()
    report = verify(one, '--anchor', anchor, '--key', one.cli('audit', 'key').strip())
    assert report['ok'] and report['findings'] == []
    assert report['first'] == 1 and report['last'] == report['records'] == report['signed_to']
    assert report['trail'] == json.loads(anchor.read_text())['trail']
    text = one.cli('audit', 'verify')
    assert text.startswith('The trail holds together') and 'its own word' in text


def test_kill_9_is_no_tampering(make_fortress):
    one = make_fortress(listeners=('mqtts',))
    for _ in range(2):
        one.add()
        one.kill()
        report = verify(one)
        assert report['ok'] and 'open' in kinds(report)
        one.start()
    one.stop()
    assert verify(one)['ok']


def test_half_a_record_is_told_from_an_edit(make_fortress):
    one = make_fortress(listeners=('mqtts',))
    one.add()
    # What is behind the last checkpoint is what a crash can take the end of.
    one.cli('audit', 'anchor')
    settled = trail(one)[-1].stat().st_size
    one.add()
    wait_until('the trail to grow', lambda: trail(one)[-1].stat().st_size > settled + 100)
    one.kill()
    file = trail(one)[-1]
    whole = file.read_bytes()
    # A record is shorter than this, so what is left ends in the middle of one.
    file.write_bytes(whole[:-60])
    report = verify(one)
    assert report['ok'] and sorted(kinds(report)) == ['crash', 'open'], report
    crash = next(finding for finding in report['findings'] if finding['kind'] == 'crash')
    assert crash['offset'] + crash['bytes'] == len(whole) - 60
    one.start()
    one.stop()
    report = verify(one)
    assert report['ok'] and kinds(report) == ['crash'], report
    stated = report['findings'][0]
    assert 0 < stated['first'] < report['last'] and stated['before'], 'the checkpoint that says so'
    # The same place, changed while the daemon stands still, is an edit.
    data = bytearray(file.read_bytes())
    data[settled - 40] ^= 1
    file.write_bytes(data)
    edited, = bad(verify(one))
    assert edited['kind'] == 'edited' and edited['file'] == f'audit/{file.name}'
    assert edited['offset'] <= settled - 40 < edited['offset'] + edited['bytes']
    assert edited['first'] == edited['last'] > 0 and edited['after'] <= edited['before']


def test_a_cut_end_a_deleted_middle_and_an_old_copy(make_fortress):
    one = make_fortress(listeners=('mqtts',))
    one.add()
    old = one.home / 'old'
    one.stop()
    shutil.copytree(one.dir, old, ignore=shutil.ignore_patterns('run'))
    one.start()
    ends = []
    for _ in range(3):
        one.add()
        one.cli('audit', 'anchor')  # what it says is on disk, and a record ends there
        ends.append(trail(one)[-1].stat().st_size)
    anchor = one.home / 'anchor.json'
    anchor.write_text(one.cli('--json', 'audit', 'anchor'))
    one.stop()
    file, = trail(one)
    whole = file.read_bytes()
    last = verify(one)['last']

    first, second, third = ends
    file.write_bytes(whole[:first] + whole[second:third] + whole[first:second] + whole[third:])
    moved, = bad(verify(one))
    assert (moved['kind'], moved['file']) == ('reordered', f'audit/{file.name}')
    assert moved['offset'] == first + third - second and 1 < moved['first'] <= moved['last'] < last


    file.write_bytes(whole[:len(whole) - 500])
    cut, = bad(verify(one))
    assert cut['kind'] == 'truncated' and cut['first'] < cut['last'] == last

    at = len(whole) // 2
    file.write_bytes(whole[:at] + whole[at + 700:])
    report = verify(one)
    assert not report['ok'] and any(f['kind'] in ('deleted', 'edited') and f['first'] > 1 for f in bad(report)), report

    # Everything put back to an older day holds together by itself: only the anchor outside knows.
    file.write_bytes((old / 'audit' / file.name).read_bytes())
    (one.dir / 'scribe/audit.head').write_bytes((old / 'scribe/audit.head').read_bytes())
    assert verify(one)['ok']
    gone, = bad(verify(one, '--anchor', anchor))
    assert gone['kind'] == 'truncated' and gone['last'] == json.loads(anchor.read_text())['count']
    with pytest.raises(Refused, match='is not an anchor'):
        one.cli('audit', 'verify', '--anchor', one.dir / 'policy.yaml')


def test_a_cut_end_is_noticed_at_the_next_start(make_fortress):
    one = written(make_fortress(listeners=('mqtts',)))
    file, = trail(one)
    whole = file.read_bytes()
    file.write_bytes(whole[:len(whole) - 700])
    one.start()
    hit, = one.wait_event('audit_integrity')
    assert 'audit.head' in hit['reason'] and 'verify' in hit['reason']
    assert one.json('alerts')[0]['category'] == 'audit_integrity'
    one.stop()
    assert [finding['kind'] for finding in bad(verify(one))] == ['deleted'], 'going on behind it hides nothing'


def test_the_key_is_rolled_and_the_old_pin_still_leads_to_the_new(make_fortress):
    one = make_fortress(listeners=('mqtts',))
    one.cli('audit', 'anchor')
    first = one.cli('audit', 'key').strip()
    one.cli('audit', 'roll-key')
    second = one.cli('audit', 'key').strip()
    assert first != second
    assert one.wait_event('credential_rotated')[0]['target'] == 'audit key'
    one.kill()
    one.start()
    one.stop()
    for key in (first, second):
        assert verify(one, '--key', key)['ok']
    assert verify(one)['key'] == second
    assert 'key' in kinds(verify(one, '--key', '00' * 32))
    (one.dir / 'scribe/audit-key.sealed').unlink()
    one.start()
    assert 'audit-key.sealed' in one.wait_event('audit_integrity')[0]['reason']
    one.stop()
    assert [finding['kind'] for finding in bad(verify(one))] == ['key']


def test_export_gives_the_events_as_they_are(make_fortress):
    one = make_fortress(listeners=('mqtts',))
    names = [one.add().name for _ in range(3)]
    events = one.events()
    one.stop()
    whole = [json.loads(line) for line in one.cli('audit', 'export').splitlines()]
    lines = [line for line in whole if 'by' not in line]
    assert [line['by'] for line in whole if 'by' in line][:1] == ['scribe'], 'who says that a broker began'
    assert lines[:len(events)] == events
    assert {line['target'] for line in lines} >= set(names)
    middle = events[len(events) // 2]['time']
    later = [json.loads(line) for line in one.cli('audit', 'export', '--since', middle).splitlines()]
    before = [json.loads(line) for line in one.cli('audit', 'export', '--until', middle).splitlines()]
    assert later and before and before + later == whole
    assert one.cli('audit', 'export', '--until', '2020-01-01') == ''
    assert one.cli('audit', 'export', '--since', 'yesterday', check=False).returncode == 2


# ---- an incident, as one file ----

def denied(one, device, topic):
    mosquitto.publish(device, topic, 'x', qos=1, check=False)
    one.wait_event('acl_deny', principal=device.name, target=topic)


def test_an_incident_proves_itself_to_a_stranger(make_fortress):
    one = make_fortress(listeners=('mqtts',))
    guilty, other = one.add('sensor', name='meter-1'), one.add('sensor', name='meter-10')
    for topic in ('plant/a', 'plant/b'):
        denied(one, guilty, topic)
        denied(one, other, topic)
    file = one.home / 'meter-1.incident'
    made = one.json('incident', 'export', '--device', 'meter-1', '--since', '1h', '--out', file)
    made, = made if isinstance(made, list) else [made]
    assert made['signed_to'] == made['last_record'], 'a daemon that runs signs what it has'
    text = file.read_text()
    assert 'meter-10' not in text and file.stat().st_mode & 0o77 == 0
    key = one.cli('audit', 'key').strip()
    one.stop()
    stranger = one.home / 'elsewhere'  # somebody with the file and the binary, nothing else
    stranger.mkdir()

    def verify_file(*options, to=file):
        done = one.run('-C', stranger, '--json', 'incident', 'verify', to, *options, check=False)
        return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr

    code, report = verify_file('--key', key)
    assert code == 0 and report['ok'] and report['device'] == 'meter-1' and report['breaks'] == 0
    end = json.loads(text.splitlines()[-1])
    assert set(end['targets']) >= {'plant/a', 'plant/b', 'meter-1'} and end['peers']['127.0.0.1'] > 2
    assert end['categories']['acl_deny'] == 2 and end['events'] == report['events'] > 2 and report['left_out'] > 0
    assert verify_file('--key', '11' * 32)[0] == 1

    edited = one.home / 'edited'
    edited.write_text(text.replace('plant/a', 'plant/c'))
    code, report = verify_file(to=edited)
    assert code == 1 and 'does not cover' in report['wrong'][0]
    edited.write_text('\n'.join(text.splitlines()[:-1]))
    code, words = verify_file(to=edited)
    assert code == 1 and 'ends before its end' in words
    edited.write_text('something else\n')
    assert verify_file(to=edited)[0] == 1

    # Without the daemon, and for a time of which the trail has nothing.
    again = one.home / 'again'
    assert 'holds together' in one.cli('incident', 'export', '--device', 'meter-1', '--since', '1h', '--out', again) \
        + one.cli('incident', 'verify', again)
    with pytest.raises(Refused, match='File exists'):
        one.cli('incident', 'export', '--device', 'meter-1', '--since', '1h', '--out', again)
    with pytest.raises(Refused, match='no record of that time'):
        one.cli('incident', 'export', '--device', 'meter-1', '--since', '2020-01-01', '--until', '2020-01-02', '--out', one.home / 'x')
    assert not (one.home / 'x').exists()


def test_an_incident_over_a_hole_says_so(make_fortress):
    one = written(make_fortress(listeners=('mqtts',)))
    file, = trail(one)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    out = one.home / 'out'
    with pytest.raises(Refused, match='does not go on at 1 places'):
        one.cli('incident', 'export', '--device', 'nobody', '--since', '1h', '--out', out)
    done = one.cli('incident', 'verify', out, check=False)
    assert done.returncode == 1 and 'is gone or was changed' in done.stdout
