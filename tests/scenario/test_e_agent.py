"""e: the agent keeps a bundle's certificate fresh: in time, proven before the old one goes, and never at the price of the old one."""
import http.client
import json
import os
import select
import signal
import ssl
import subprocess
from pathlib import Path

import pytest

from harness import mosquitto, wire
from harness.clock import Clock
from harness.wait import wait_until

DAY_S = 86400
LISTENERS = ('mqtts', 'enrol')


@pytest.fixture
def clock(request):
    """Tests that let a certificate end begin in the past (`-64`: days): the server's own renews itself, and OpenSSL, which judges
    it for the agent, has the time of today."""
    one = Clock(getattr(request, 'param', 0) * DAY_S)
    yield one
    one.close()


def is_today(fortress, clock):
    """The server's certificate is of today, too."""
    since = len(fortress.log)
    clock.set(0)
    fortress.wait_log('^notice: reloaded', since)


def bundle_of(device):
    return Path(device.cert).parent


def run(fortress, device, *more, check=True):
    """The agent once: its exit code, and what it says."""
    done = subprocess.run([str(fortress.binary), '--json', 'agent', '--bundle', str(bundle_of(device)), *more], capture_output=True,
                          text=True, timeout=60, check=False)
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert not check or done.returncode == 0, done
    return done.returncode, said, done.stderr


def pair(device):
    return Path(device.cert).read_bytes(), Path(device.key).read_bytes()


def fits(device):
    """The certificate is the key's."""
    def public(*arguments):
        return subprocess.run(['openssl', *arguments], capture_output=True, check=True).stdout
    return public('x509', '-in', device.cert, '-noout', '-pubkey') == public('pkey', '-in', device.key, '-pubout')


def published(device):
    return mosquitto.publish(device, f'status/{device.name}', 'on', qos=1, check=False)


def publishes(device):
    return published(device).returncode == 0


@pytest.mark.parametrize('clock', [-64], indirect=True, ids=['64 days'])
def test_in_time_and_not_before(make_fortress, clock, tmp_path):
    fortress = make_fortress(listeners=LISTENERS, binary=clock.binary)
    sensor = fortress.add('sensor', credentials=('x509',))
    before = pair(sensor)
    assert run(fortress, sensor, '--once')[:2] == (0, [])
    clock.set(-7 * DAY_S)
    assert run(fortress, sensor, '--once')[:2] == (0, [])
    assert pair(sensor) == before
    is_today(fortress, clock)
    note = tmp_path / 'note'
    program = tmp_path / 'reconnect'
    program.write_text(f'#!/bin/sh\necho "$1" > {note}\n')
    program.chmod(0o700)
    _, said, _ = run(fortress, sensor, '--once', '--run', str(program))
    assert [line['event'] for line in said] == ['renewed']
    assert note.read_text().strip() == str(bundle_of(sensor))
    assert pair(sensor)[0] != before[0] and pair(sensor)[1] != before[1] and fits(sensor)
    assert Path(sensor.key).stat().st_mode & 0o777 == 0o600
    assert not list(bundle_of(sensor).glob('.renewed')) and not list(bundle_of(sensor).glob('.proven'))
    assert run(fortress, sensor, '--once')[:2] == (0, []), 'it is fresh'
    listed, = [line for line in fortress.json('certs', 'list') if line['name'] == sensor.name]
    assert listed['state'] == 'fine' and listed['renewed']


def whoami(device):
    """Status and words, with this certificate."""
    url = f'https://localhost:{device.fortress.ports["enrol"]}/.well-known/sallyport/whoami'
    run = subprocess.run(['curl', '--silent', '--insecure', '--max-time', '20', '--cert', device.cert, '--key', device.key,
                          '--write-out', '%{http_code}', url], capture_output=True, text=True, check=True)
    return int(run.stdout[-3:]), run.stdout[:-3]


@pytest.mark.parametrize('clock', [-95], indirect=True, ids=['95 days'])
def test_after_the_end(make_fortress, clock):
    """The device lay in a drawer: within the grace it renews by itself; who was revoked, or comes too late, does not."""
    fortress = make_fortress(listeners=LISTENERS, binary=clock.binary)
    sensor, lost, ancient = (fortress.add('sensor', credentials=('x509',)) for _ in range(3))
    before = {device.name: pair(device) for device in (sensor, lost, ancient)}
    fortress.cli('device', 'revoke', lost.name, '--reason', 'stolen')
    is_today(fortress, clock)
    status, text = whoami(sensor)
    assert status == 403 and 'may only renew' in text
    _, said, _ = run(fortress, sensor, '--once')
    assert [line['event'] for line in said] == ['renewed'], said
    assert pair(sensor)[0] != before[sensor.name][0] and fits(sensor) and whoami(sensor)[0] == 200
    assert 'after the end' in fortress.wait_event('credential_rotated', principal=sensor.name)[-1]['reason']
    code, said, _ = run(fortress, lost, '--once', check=False)
    assert code == 1 and 'the server says 403' in said[0]['text'], said
    assert 'revoked' in said[0]['text'] and f'`sallyport device rotate {lost.name}`' in said[0]['text']
    clock.set(35 * DAY_S)
    code, said, _ = run(fortress, ancient, '--once', check=False)
    assert code == 1 and f'`sallyport device rotate {ancient.name}`' in said[0]['text'], said
    for device in (lost, ancient):
        assert pair(device) == before[device.name]


def test_no_more_at_once_than_the_pace(make_fortress, clock):
    """Who is above renewal_rate is told when to come back."""
    fortress = make_fortress(listeners=LISTENERS, binary=clock.binary, settings=['renewal_rate=1/s'])
    sensor = fortress.add('sensor', credentials=('x509',))
    clock.set(95 * DAY_S)
    context = wire.tls_context(certificate=sensor.cert, key=sensor.key, ca=sensor.ca)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # its certificate begins in 95 days
    door = http.client.HTTPSConnection('localhost', fortress.ports['enrol'], timeout=20, context=context)

    def asked():
        door.request('POST', '/.well-known/est/simplereenroll', 'AAAA', {'Content-Type': 'application/pkcs10'})
        answer = door.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    assert asked()[0] == 400, 'it is no request, but has a place'
    status, headers, text = next(one for one in (asked() for _ in range(100)) if one[0] != 400)
    assert status == 503 and int(headers['Retry-After']) > 0 and 'more come to renew than renewal_rate' in text
    assert sensor.name in fortress.wait_event('rate')[-1]['reason']
    door.close()


def test_what_fails_leaves_the_old_one(make_fortress):
    fortress = make_fortress(listeners=LISTENERS)
    sensor, lost = fortress.add('sensor', credentials=('x509',)), fortress.add('sensor', credentials=('x509',))
    before = pair(sensor), pair(lost)
    fortress.cli('device', 'revoke', lost.name, '--reason', 'stolen')
    code, said, _ = run(fortress, lost, '--once', '--now', check=False)
    assert code == 1 and said[0]['event'] == 'failed', said
    fortress.stop()
    code, said, _ = run(fortress, sensor, '--once', '--now', check=False)
    assert code == 1 and 'not renewed' in said[0]['text'] and 'tried again in' in said[0]['text']
    assert (pair(sensor), pair(lost)) == before
    fortress.start()
    run(fortress, sensor, '--once', '--now')
    assert pair(sensor) != before[0] and fits(sensor) and publishes(sensor)


def test_the_roots_to_trust_come_along(make_fortress):
    fortress = make_fortress(listeners=LISTENERS)
    sensor = fortress.add('sensor', credentials=('x509',))
    fortress.cli('certs', 'roll', 'prepare')
    fortress.cli('certs', 'roll', 'switch')
    assert sensor.name in fortress.cli('certs', 'plan')
    run(fortress, sensor, '--once', '--now')
    assert Path(sensor.ca).read_text().count('BEGIN CERTIFICATE') == 2
    assert '0 devices' in fortress.cli('certs', 'plan'), 'nobody is left behind'
    fortress.cli('certs', 'roll', 'finish')
    assert publishes(sensor)
    run(fortress, sensor, '--once', '--now')
    assert Path(sensor.ca).read_text().count('BEGIN CERTIFICATE') == 1 and publishes(sensor)


def test_it_runs_until_it_is_told(make_fortress):
    fortress = make_fortress(listeners=LISTENERS)
    sensor = fortress.add('sensor', credentials=('x509',))
    before = pair(sensor)
    with subprocess.Popen([str(fortress.binary), 'agent', '--bundle', str(bundle_of(sensor)), '--now'], stdout=subprocess.PIPE,
                          text=True) as agent:
        assert 'renewed, until' in agent.stdout.readline()
        assert pair(sensor) != before and publishes(sensor)
        os.kill(agent.pid, signal.SIGTERM)
        assert agent.wait(10) == 0
    wait_until('the event', lambda: [e for e in fortress.events() if e['principal'] == sensor.name and
                                     e['category'] in ('credential_rotated', 'credential_issued', 'enrolment')], 5)


def test_short_lives_follow_each_other_without_a_gap(make_fortress):
    """What an hour is to forty minutes, twenty seconds are to thirteen: two renewals while the device publishes by new connections."""
    fortress = make_fortress(listeners=LISTENERS, settings=['certificate_life=20s', 'connect_rate=1000/s'])
    sensor = fortress.add('sensor', credentials=('x509',))
    seen = {pair(sensor)[0]}
    with subprocess.Popen([str(fortress.binary), 'agent', '--bundle', str(bundle_of(sensor))], stdout=subprocess.PIPE,
                          text=True) as agent:
        while len(seen) < 3:
            # Key and certificate are two files: who reads between their renames has a pair that does not fit, and reads again.
            done = published(sensor)
            done = published(sensor) if done.returncode != 0 else done
            assert done.returncode == 0, f'there is a gap: {done.stderr}'
            seen.add(pair(sensor)[0])
            select.select([agent.stdout], [], [], 0.3)  # others need the machine, too
        os.kill(agent.pid, signal.SIGTERM)
        assert 'failed' not in agent.stdout.read() and agent.wait(10) == 0
