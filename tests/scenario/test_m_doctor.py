"""m: the posture audit. A default install is clean; each misconfiguration is found under its id, with a fix, and nothing else is."""
import ctypes
import datetime
import json
import re
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from harness.fortress import ROOT, Refused
from harness.ports import free_ports
from harness.siem import make_certificate
from harness.wait import wait_until

OPEN = 'persistence true\nlog_dest stdout\ninclude_dir {}\n'
WIDE = '\n  nosy: { subscribe: [ "#" ] }\n'


DAY = 86400


def is_clock_alone():
    """What the kernel says of the machine's clock: struct timex begins with modes, offset, freq, maxerror, esterror, status."""
    timex = ctypes.create_string_buffer(512)
    state = ctypes.CDLL(None).adjtimex(timex)
    return state >= 0 and bool(int.from_bytes(timex[40:44], 'little') & 0x40)


def doctor(fortress, *arguments):
    """Exit code and report, without what is true of the machine alone: its clock, which test_the_clock_of_the_machine asks about."""
    code, report = whole_report(fortress, *arguments)
    taken = [found for found in report['findings'] if found['id'] == 'clock-alone']
    report['findings'] = [found for found in report['findings'] if found not in taken]
    report['counts']['low'] -= len(taken)
    return code, report


def whole_report(fortress, *arguments):
    run = fortress.cli('--json', 'doctor', *arguments, check=False)
    assert run.returncode in (0, 1) and not run.stderr, (run.returncode, run.stderr)
    report = json.loads(run.stdout)
    assert all(found['fix'] and found['evidence'] and found['why'] and found['object'] for found in report['findings'])
    return run.returncode, report


def ids(report, least=('critical', 'high', 'medium', 'low')):
    return sorted({found['id'] for found in report['findings'] if found['severity'] in least and not found['waiver']})


def in_days(n):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=n)).strftime('%Y-%m-%d')


def secrets_of(fortress):
    """All that nobody may ever see: keys and passwords of the bundles, and the master key."""
    found = [Path(f'{fortress.dir}.key').read_bytes().hex()]
    for name in ('password.txt', 'psk.txt', 'key.pem'):
        found += [path.read_text().strip().split(':')[-1] for path in fortress.home.rglob(name)]
    return [secret for secret in found if len(secret) > 7]


def test_a_default_install_is_clean(make_fortress):
    """quickstart, served, with a device of each kind: nothing is found, and each clause that can be judged passes."""
    fortress = make_fortress(command='quickstart', policy=None)
    code, report = doctor(fortress)
    assert (code, report['findings'], report['daemon_asked']) == (0, [], True)
    assert report['not_assessed'] == [] and report['dropped'] == 0
    for profile, clauses in (('cra', 13), ('etsi303645', 13), ('nist8259a', 6), ('owasp', 10)):
        code, report = doctor(fortress, '--profile', profile)
        verdicts = [clause['verdict'] for clause in report['profile']['clauses']]
        assert code == 0 and len(verdicts) == clauses and set(verdicts) <= {'pass', 'not assessed'}
        assert verdicts.count('pass') > clauses / 2
    fortress.stop()
    code, report = doctor(fortress)
    assert (code, report['findings'], report['daemon_asked']) == (0, [], False)
    text = fortress.cli('doctor')
    assert 'no daemon answered' in text and f'0 critical, 0 high, 0 medium, {int(is_clock_alone())} low' in text
    verdicts = [clause['verdict'] for clause in doctor(fortress, '--profile', 'cra')[1]['profile']['clauses']]
    assert 'pass' not in verdicts and 'partly assessed' in verdicts


def test_weak_points_of_a_running_fortress(make_fortress):
    """Each is made, found under exactly its id, and gone when its fix was typed."""
    fortress = make_fortress(listeners=('mqtts', 'mqtt'), policy=None)
    assert ids(doctor(fortress)[1]) == []
    # A port for debugging was left open; then anonymous, too.
    exception = json.loads(fortress.cli('--json', 'exception', 'add', '--listener', 'mqtt', '--allow', 'plaintext', '--for', '1h',
                                        '--reason', 'old PLC'))['id']
    code, report = doctor(fortress)
    assert code == 1 and ids(report) == ['debug-port']
    found = report['findings'][0]
    assert found['severity'] == 'critical' and exception in found['evidence'] and 'exception end' in found['fix']
    fortress.cli('exception', 'end', exception)
    assert ids(doctor(fortress)[1]) == []
    exception = json.loads(fortress.cli('--json', 'exception', 'add', '--listener', 'mqtts', '--allow', 'anonymous', '--for', '1h',
                                        '--reason', 'fair', '--role', 'sensor'))['id']
    assert ids(doctor(fortress)[1]) == ['anonymous']
    fortress.cli('exception', 'end', exception)
    # A device role that hears everything.
    policy = (fortress.dir / 'policy.yaml').read_text()
    fortress.apply(policy + WIDE)
    code, report = doctor(fortress)
    assert code == 1 and ids(report) == ['wide-grant']
    found = report['findings'][0]
    assert found['file'].endswith('policy.yaml') and found['object'] == 'role nosy'
    assert (fortress.dir / 'policy.yaml').read_text().splitlines()[found['line'] - 1].strip().startswith('nosy')
    fortress.apply(policy)
    assert ids(doctor(fortress)[1]) == []
    # More than 50 devices with a pre-shared key and no certificate.
    fleet = fortress.home / 'fleet.csv'
    fleet.write_text('name,role,credentials,site\n' + ''.join(f'psk-{n},sensor,psk,b1\n' for n in range(50)))
    fortress.cli('device', 'add', '--from', fleet, '--out', fortress.home / 'bundles')
    assert ids(doctor(fortress)[1]) == []
    fortress.add(name='one-more', credentials=('psk',))
    assert ids(doctor(fortress)[1]) == ['psk-fleet']
    fortress.add(name='modern', credentials=('psk', 'x509'))
    assert '51 devices' in doctor(fortress)[1]['findings'][0]['evidence']
    # No secret of all these is ever shown.
    shown = fortress.cli('doctor', check=False).stdout + fortress.cli('doctor', '--json', check=False).stdout
    assert len(secrets_of(fortress)) > 50 and not any(secret in shown for secret in secrets_of(fortress))


def test_weak_points_of_a_directory(make_fortress):
    """Without a daemon: what lies on disk and what sallyport.yaml says."""
    fortress = make_fortress(start=False)
    config = fortress.dir / 'sallyport.yaml'
    good = config.read_text()
    assert ids(doctor(fortress)[1]) == []

    def with_limits(text):
        assert '\nlimits:\n' in good
        config.write_text(good.replace('\nlimits:\n', f'\nlimits:\n  {text}\n'))
        return ids(doctor(fortress)[1])

    assert with_limits('psk_age: 0') == ['no-rotation']
    assert with_limits('packet_bytes: 64MiB') == ['limit-packet']
    config.write_text(good.replace('door: mqtt,', 'door: mqtt, tls_min: "1.1",', 1))
    code, report = doctor(fortress)
    assert code == 1 and ids(report) == ['configuration'] and 'sallyport.yaml:' in report['findings'][0]['evidence']
    config.write_text(good.replace('door: mqtt,', 'door: mqtt, mqtt_3_1: yes,', 1))
    code, report = doctor(fortress)
    assert code == 0 and ids(report) == ['mqtt-3.1']  # of low severity
    config.write_text(good)
    key = Path(f'{fortress.dir}.key')
    for path, mode, rule in ((key, 0o644, 'file-readable'), (config, 0o666, 'file-writable'), (fortress.dir, 0o755, 'file-readable')):
        before = path.stat().st_mode
        path.chmod(mode)
        code, report = doctor(fortress)
        assert code == 1 and ids(report) == [rule] and report['findings'][0]['file'] == str(path)
        assert report['findings'][0]['fix'] == f'chmod o= {path}'
        path.chmod(before)
    inside = fortress.dir / 'master.key'
    key.rename(inside)
    config.write_text(good + f'\nmaster_key: "{inside}"\n')
    assert ids(doctor(fortress)[1]) == ['key-inside']


def test_an_open_mosquitto(make_fortress):
    """Debian's mosquitto with what every guide tells to add: ten findings at least, all with places and fixes."""
    fortress = make_fortress(start=False)
    further = fortress.home / 'conf.d'
    further.mkdir()
    (further / 'local.conf').write_text('listener 1883\nallow_anonymous true\n')
    conf = fortress.home / 'mosquitto.conf'
    conf.write_text(OPEN.format(further))
    code, report = doctor(fortress, '--mosquitto', conf)
    assert code == 1 and len(report['findings']) >= 10
    assert ids(report, ('critical',)) == ['anonymous', 'no-acl', 'plaintext']
    anonymous = next(found for found in report['findings'] if found['id'] == 'anonymous')
    assert (anonymous['file'], anonymous['line']) == (str(further / 'local.conf'), 2)
    assert doctor(fortress, '--mosquitto', conf, '--only', 'log-off')[0] == 0
    fails = [clause['id'] for clause in doctor(fortress, '--mosquitto', conf, '--profile', 'etsi303645')[1]['profile']['clauses']
             if clause['verdict'] == 'fail']
    assert '5.1' in fails and '5.5' in fails and '5.2' not in fails
    # A password that everybody knows is found, and not shown.
    (fortress.home / 'pw').write_text('meter:mosquitto\n')
    (further / 'local.conf').write_text(f'listener 1883\npassword_file {fortress.home}/pw\nno_such_word hush-hush\n')
    run = fortress.cli('doctor', '--mosquitto', conf, check=False)
    assert 'default-credential' in run.stdout and 'hush-hush' not in run.stdout
    assert f'{further}/local.conf:3: no_such_word' in run.stdout


def test_other_brokers(make_fortress):
    """An EMQX and a NanoMQ as they are delivered: findings with their lines; what does not read is said."""
    fortress = make_fortress(start=False)
    emqx, nanomq = fortress.home / 'emqx.conf', fortress.home / 'nanomq.conf'
    emqx.write_text('node.cookie = "emqxsecretcookie"\ndashboard.listeners.http.bind = 18083\n')
    code, report = doctor(fortress, '--emqx', emqx)
    assert code == 1 and {'anonymous', 'default-allow', 'default-credential', 'management-open'} <= set(ids(report, ('critical',)))
    assert [(found['line'], found['object']) for found in report['findings'] if found['id'] == 'management-open'] == [(2, 'dashboard')]
    assert 'emqxsecretcookie' not in fortress.cli('doctor', '--emqx', emqx, check=False).stdout

    def failing(*broker):
        """The clauses of the CRA that fail, each with the findings that say why."""
        clauses = doctor(fortress, *broker, '--profile', 'cra')[1]['profile']['clauses']
        fails = [clause for clause in clauses if clause['verdict'] == 'fail']
        assert all(found['evidence'] and found['fix'] for clause in fails for found in clause['findings'])
        return {clause['id']: {found['id'] for found in clause['findings']} for clause in fails}
    fails = failing('--emqx', emqx)
    assert {'anonymous', 'default-credential'} <= fails['b'] and 'plaintext-websocket' in fails['e'] and 'management-open' in fails['j']
    nanomq.write_text('auth {\n  password = {include "pwd.conf"}\n}\nhttp_server { password = public }\nbroken {')
    (fortress.home / 'pwd.conf').write_text('"meter": "hush-hush-hush"\n')
    code, report = doctor(fortress, '--nanomq', nanomq)
    assert code == 1 and {'anonymous', 'management-open', 'password-clear', 'plaintext'} <= set(ids(report))
    clear = next(found for found in report['findings'] if found['id'] == 'password-clear')
    assert (clear['file'], clear['line'], clear['object']) == (str(fortress.home / 'pwd.conf'), 1, 'meter')
    assert [(lost['file'], lost['line']) for lost in report['not_assessed']] == [(str(nanomq), 5)]
    assert 'hush' not in json.dumps(report)
    fails = failing('--nanomq', nanomq)
    assert 'anonymous' in fails['b'] and {'plaintext', 'password-clear'} & fails['e']


def test_waivers(make_fortress):
    """With a reason and an end, of one finding or a rule; kept in the directory, listed, ended."""
    fortress = make_fortress(start=False)
    conf = fortress.home / 'mosquitto.conf'
    conf.write_text('listener 1883\nlistener 1884\n')

    def waive(*arguments):
        return fortress.cli('doctor', '--mosquitto', conf, *arguments)

    before = ids(doctor(fortress, '--mosquitto', conf)[1])
    assert 'plaintext' in before
    waive('--waive', 'plaintext=1883', '--until', in_days(2), '--reason', 'the PLC is replaced in March')
    code, report = doctor(fortress, '--mosquitto', conf, '--only', 'plaintext')
    assert code == 1 and [found['object'] for found in report['findings'] if not found['waiver']] == ['1884']
    waive('--waive', 'plaintext', '--until', in_days(366), '--reason', 'all of them')
    code, report = doctor(fortress, '--mosquitto', conf, '--only', 'plaintext')
    assert code == 0 and report['counts']['waived'] == 2
    waived = report['findings'][0]['waiver']
    assert waived['reason'] == 'the PLC is replaced in March' and waived['ends'].startswith(in_days(3)) and waived['by']
    listed = fortress.json('doctor', 'waiver', 'list')
    assert [(one['id'], one['object'], one['in_force']) for one in listed] == [(1, '1883', True), (2, '', True)]
    fortress.cli('doctor', 'waiver', 'end', '2')
    assert doctor(fortress, '--mosquitto', conf, '--only', 'plaintext')[0] == 1
    assert [one['in_force'] for one in fortress.json('doctor', 'waiver', 'list')] == [True, False]
    # It ends by itself: the same file, later.
    path = fortress.dir / 'waivers.json'
    kept = json.loads(path.read_text())
    kept['waivers'][0]['ends_wall_ms'] = 1
    path.write_text(json.dumps(kept))
    assert doctor(fortress, '--mosquitto', conf, '--only', 'plaintext')[1]['counts']['waived'] == 0
    # One of mosquitto's is not ours.
    for refused in (['--waive', 'plaintext', '--until', in_days(2), '--reason', 'there is none here'],
                    ['--mosquitto', conf, '--waive', 'plaintext', '--until', in_days(2), '--reason', ' '],
                    ['--mosquitto', conf, '--waive', 'plaintext', '--until', in_days(-2), '--reason', 'late'],
                    ['--mosquitto', conf, '--waive', 'plaintext', '--until', in_days(367), '--reason', 'for ever'],
                    ['--mosquitto', conf, '--waive', 'plaintext', '--until', 'soon', '--reason', 'x'],
                    ['--waive', 'no-rotation'], ['--only', 'no-such-rule'], ['--profile', 'iso27001'], ['--until', in_days(1)],
                    ['--mosquitto', conf, '--emqx', conf], ['waiver', 'end', '9'], ['waiver', 'begin'], ['--mosquitto', '/nowhere']):
        with pytest.raises(Refused) as run:
            fortress.cli('doctor', *refused)
        assert run.value.code == 2 and run.value.stderr.startswith('sallyport: '), run.value
    path.write_text('{')
    with pytest.raises(Refused) as run:
        fortress.cli('doctor')
    assert run.value.code == 2 and 'waivers.json' in run.value.stderr


def test_waivers_are_in_the_audit_trail(make_fortress):
    """Each that begins, ends or is over, whether or not a daemon was there when it was made, and what an editor did."""
    fortress = make_fortress()
    path = fortress.dir / 'waivers.json'

    def told(words):
        return fortress.wait_event('config_change', timeout=60, target=re.compile(r'^waivers\.json#'), reason=re.compile(words))

    def edit(change):
        kept = json.loads(path.read_text())
        change(kept['waivers'])
        path.write_text(json.dumps(kept))

    def in_ms(n):
        return int(time.time() * 1000) + n

    fortress.cli('doctor', '--waive', 'psk-fleet', '--until', in_days(2), '--reason', 'the PLC is replaced in March')
    assert 'the PLC is replaced' in told('waiver 1 is in force: psk-fleet of sallyport')[0]['reason']
    fortress.cli('doctor', '--waive', 'psk-fleet', '--until', in_days(9), '--reason', 'the PLC is replaced in March')
    told('waiver 2 is in force')
    fortress.cli('doctor', 'waiver', 'end', '2')
    told('waiver 2 was ended before its time')
    fortress.stop()
    fortress.cli('doctor', '--waive', 'disk-full', '--until', in_days(3), '--reason', 'while nobody serves')
    edit(lambda all: all[0].update(ends_wall_ms=in_ms(5 * 86400 * 1000)))
    fortress.start()
    told('waiver 3 is in force.*while nobody serves')
    told('waiver 1 has another end')
    edit(lambda all: all[2].update(ends_wall_ms=in_ms(4000)))
    told('waiver 3 (is over|was ended)')
    edit(lambda all: all.pop(0))
    told('waiver 1 was taken out of the file')
    fortress.restart()
    events = [event['reason'] for event in fortress.wait_event('config_change', target=re.compile(r'^waivers\.json#'))]
    assert len([reason for reason in events if 'is in force' in reason]) == 3, events


def judged(fortress, rule):
    """Exit code and evidence of one rule."""
    code, report = whole_report(fortress, '--only', rule)
    return code, [found['evidence'] for found in report['findings']]


def test_the_clock_of_the_machine(make_fortress):
    """Found when the kernel says so, and as advice: it fails no clause and no script."""
    fortress = make_fortress(start=False)
    code, report = whole_report(fortress)
    found = [one for one in report['findings'] if one['id'] == 'clock-alone']
    assert code == 0 and len(found) == is_clock_alone()
    assert all(one['severity'] == 'low' and 'set-ntp' in one['fix'] for one in found)


def test_a_system_past_its_support(make_fortress, clock):
    """Debian 12 to the last second of its last day, and no further; OpenSSL of its package is no finding of its own."""
    release = dict(line.split('=', 1) for line in Path('/etc/os-release').read_text().splitlines() if '=' in line)
    last = {'bookworm': '2028-06-30', 'trixie': '2030-06-30'}.get(release.get('VERSION_CODENAME'))
    if release.get('ID') != 'debian' or not last:
        pytest.skip('not a Debian whose end is known')
    fortress = make_fortress(start=False, binary=clock.binary)
    assert judged(fortress, 'system-unsupported') == (0, []) == judged(fortress, 'openssl-unsupported')
    end = datetime.datetime.fromisoformat(f'{last}T00:00:00+00:00').timestamp() + DAY
    clock.set_to(end - 600)
    assert judged(fortress, 'system-unsupported') == (0, [])
    clock.set_to(end + 1)
    assert judged(fortress, 'system-unsupported') == (1, [f'security support of Debian {release["VERSION_CODENAME"]} ended on {last}'])
    assert judged(fortress, 'openssl-unsupported') == (0, [])


def test_backups(make_fortress, clock):
    """A new directory has 30 days; then a backup is asked for until one is made, by a daemon or without, and again 30 days later."""
    fortress = make_fortress(start=False, binary=clock.binary)
    clock.set(30 * DAY - 600)
    assert judged(fortress, 'no-backup') == (0, [])
    clock.set(30 * DAY + 600)
    code, seen = judged(fortress, 'no-backup')
    assert code == 1 and re.fullmatch('none was made in the 30 days that this directory is old', seen[0])
    fortress.cli('backup', fortress.home / 'one.spb')
    assert judged(fortress, 'no-backup') == (0, [])
    clock.set(60 * DAY + 300)
    assert judged(fortress, 'no-backup') == (0, [])
    clock.set(60 * DAY + 1200)
    assert judged(fortress, 'no-backup') == (1, ['the newest backup is 30 days old'])
    # One that cannot leave its mark is made all the same, and says so.
    (fortress.dir / 'backup.made.new').mkdir()
    run = fortress.cli('backup', fortress.home / 'unmarked.spb', check=False)
    assert run.returncode == 0 and 'doctor will not know of it' in run.stderr and (fortress.home / 'unmarked.spb').exists()
    assert judged(fortress, 'no-backup')[0] == 1
    (fortress.dir / 'backup.made.new').rmdir()
    # Through the daemon, at its time.
    clock.set(0)
    (fortress.dir / 'backup.made').unlink()
    fortress.start()
    fortress.cli('backup', fortress.home / 'two.spb')
    fortress.stop()
    made = fortress.dir / 'backup.made'
    assert made.stat().st_mode & 0o777 == 0o600
    text = made.read_text()
    clock.set(30 * DAY - 600)
    assert judged(fortress, 'no-backup') == (0, [])
    clock.set(31 * DAY)
    assert judged(fortress, 'no-backup')[0] == 1
    # What was restored has one; what does not read is said, and taken for none.
    made.rename(fortress.dir / 'restored.seen')
    assert judged(fortress, 'no-backup') == (1, ['the newest backup is 31 days old'])
    clock.set(29 * DAY)
    assert judged(fortress, 'no-backup') == (0, [])
    (fortress.dir / 'restored.seen').unlink()
    for bad in ('', 'yesterday\n', text.strip() * 40, '\0\n'):
        made.write_text(bad)
        _, report = whole_report(fortress)
        assert [lost['text'] for lost in report['not_assessed']] == ['time of a backup'], bad
    clock.set(31 * DAY)
    assert judged(fortress, 'no-backup')[1] == ['none was made in the 31 days that this directory is old']


def test_the_list_of_the_authority_grows_stale(make_fortress, clock):
    """The list that the daemon has published is good for a week; nobody makes another while it is away."""
    fortress = make_fortress(binary=clock.binary, policy=None)
    device = fortress.add('sensor')
    fortress.cli('certs', 'revoke', device.name)
    fortress.stop()
    code, report = doctor(fortress)
    assert (code, report['findings'], report['not_assessed']) == (0, [], [])
    clock.set(7 * DAY - 2 * 3600)
    assert judged(fortress, 'crl-stale') == (0, [])
    clock.set(7 * DAY - 1800)
    assert judged(fortress, 'crl-stale') == (1, ['it is stale within an hour'])
    clock.set(7 * DAY + 3600)
    assert judged(fortress, 'crl-stale') == (1, ['it is stale'])


class Authorities:
    """Root, intermediate and server of our own, with their keys: whose lists can say anything."""

    def __init__(self):
        self.root = self._make('root', None, True)
        self.intermediate = self._make('intermediate', self.root, True)
        self.server = self._make('server', self.intermediate, False)

    @staticmethod
    def _times(builder, begin, end):
        now = datetime.datetime.now(datetime.timezone.utc)
        return getattr(builder, begin)(now - datetime.timedelta(hours=1)), now + datetime.timedelta(days=400), end

    @classmethod
    def _make(cls, name, issuer, is_ca):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        builder, ends, end = cls._times(x509.CertificateBuilder(), 'not_valid_before', 'not_valid_after')
        cert = (getattr(builder, end)(ends).subject_name(subject).issuer_name(issuer[0].subject if issuer else subject)
                .public_key(key.public_key()).serial_number(x509.random_serial_number())
                .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
                .sign(issuer[1] if issuer else key, hashes.SHA256()))
        return cert, key

    @classmethod
    def list_of(cls, issuer, *revoked):
        builder, ends, end = cls._times(x509.CertificateRevocationListBuilder(), 'last_update', 'next_update')
        builder = getattr(builder, end)(ends).issuer_name(issuer[0].subject)
        for cert, _ in revoked:
            builder = builder.add_revoked_certificate(x509.RevokedCertificateBuilder().serial_number(cert.serial_number).revocation_date(
                datetime.datetime.now(datetime.timezone.utc)).build())
        return builder.sign(issuer[1], hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    @staticmethod
    def pem(*certs):
        return b''.join(cert.public_bytes(serialization.Encoding.PEM) for cert, _ in certs)


def test_a_revoked_authority_in_use(make_fortress):
    """The root's list names the intermediate, the intermediate's the server, an operator's list either; lists of strangers are said."""
    fortress = make_fortress(start=False)
    pki, all = fortress.dir / 'pki', Authorities()
    (pki / 'ca.pem').write_bytes(all.pem(all.root))
    (pki / 'server.pem').write_bytes(all.pem(all.server, all.intermediate))
    lists = {'crl.pem': all.intermediate, 'root-crl.pem': all.root, 'crl-extra.pem': all.root}
    for name, issuer in lists.items():
        (pki / name).write_bytes(all.list_of(issuer, Authorities().server))
    code, report = doctor(fortress)
    assert (code, report['findings'], report['not_assessed']) == (0, [], [])
    authority = 'an authority, in the file of: server certificate is on a revocation list'
    for name, revoked, seen in (('crl.pem', all.server, 'server certificate is on a revocation list'),
                                ('root-crl.pem', all.intermediate, authority), ('crl-extra.pem', all.intermediate, authority)):
        good = (pki / name).read_bytes()
        (pki / name).write_bytes(all.list_of(lists[name], revoked))
        code, report = doctor(fortress)
        assert code == 1 and [found['evidence'] for found in report['findings']] == [seen]
        found = report['findings'][0]
        assert (found['id'], found['severity'], found['file']) == ('chain-revoked', 'critical', str(pki / 'server.pem'))
        assert 'certs roll' in found['fix']
        for bad in (b'no list', all.list_of(Authorities().root, revoked)):
            (pki / name).write_bytes(bad)
            _, report = doctor(fortress)
            assert [lost['file'] for lost in report['not_assessed']] == [str(pki / name)] and not report['findings']
        (pki / name).write_bytes(good)


def test_a_receiver_that_is_silent(make_fortress):
    """Nobody takes the audit trail: found while it is so, and gone with the receiver's entry."""
    fortress = make_fortress(listeners=('mqtts',), policy=None, start=False)
    config = fortress.dir / 'sallyport.yaml'
    good = config.read_text()
    cert, _ = make_certificate(fortress.home, 'siem')
    (fortress.dir / 'siem-ca.pem').write_bytes(cert.read_bytes())
    port = free_ports(['siem'])['siem']  # nobody listens there
    config.write_text(good + f'\nexport: [ {{ name: siem, format: syslog, to: "127.0.0.1:{port}", ca: siem-ca.pem, '
                      'silence: 2s } ]\n')
    fortress.start()
    fortress.add()
    fortress.wait_event('sink', timeout=60, target='siem', severity='alert')
    code, report = doctor(fortress)
    assert code == 1 and ids(report) == ['export-silent'], report
    found = report['findings'][0]
    assert (found['severity'], found['object']) == ('medium', 'siem') and 'confirmed nothing' in found['evidence'] and 'sallyport alerts' in found['fix']
    config.write_text(good)
    fortress.reload()
    wait_until('the finding to go', lambda: ids(doctor(fortress)[1]) == [], 60)


def test_the_table_of_rules(make_fortress):
    """docs/DOCTOR.md holds what the program says of its rules."""
    fortress = make_fortress(start=False)
    table = fortress.cli('doctor', '--rules')
    assert table in (ROOT / 'docs/DOCTOR.md').read_text(), f'put this into docs/DOCTOR.md:\n{table}'
