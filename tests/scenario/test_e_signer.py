"""e: the signer: a process of its own holds the authority's key; what it survives, and what it refuses a broker that is not ours."""
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from harness import mosquitto, signer as own
from harness.fortress import BINARY, Refused
from harness.wait import wait_until

pytestmark = pytest.mark.release


@pytest.fixture(scope='module')
def sensor(fortress):
    return fortress.add('sensor', name='first', credentials=('x509',))


def speaks(sensor):
    mosquitto.publish(sensor, f'status/{sensor.name}', 'up', qos=1)


def test_each_part_comes_back_alone(fortress, sensor):
    speaks(sensor)
    broker, signer = fortress.processes()[1], fortress.signer()
    since = len(fortress.log)
    os.kill(signer, signal.SIGKILL)
    added = fortress.add('sensor', name='while-it-was-gone', credentials=('x509',))  # waits for the next one
    fortress.wait_log('the signer serves again', since, timeout=30)
    assert fortress.processes()[1] == broker
    speaks(added)
    fortress.wait_event('crash_recovery')
    signer = fortress.signer()
    os.kill(broker, signal.SIGKILL)
    fortress.wait_log('the broker serves again', since, timeout=30)
    assert fortress.signer() == signer
    speaks(fortress.add('sensor', name='behind-another-broker', credentials=('x509',)))
    fortress.cli('certs', 'renew')


@pytest.mark.timeout(400)
def test_a_signer_that_hangs_is_replaced(fortress):
    signer, broker, since = fortress.signer(), fortress.processes()[1], len(fortress.log)
    os.kill(signer, signal.SIGSTOP)
    with pytest.raises(Refused, match='signer.*does not answer.*try once more'):
        fortress.add('sensor', name='patient')
    fortress.add('sensor', name='by-psk', credentials=('psk',))  # needs no certificate
    fortress.wait_log('the signer has not answered for 20 s and is ended', since, timeout=120)
    fortress.wait_log('the signer serves again', since, timeout=60)
    assert fortress.signer() != signer and fortress.processes()[1] == broker
    assert any('the signer hung' in line['reason'] for line in fortress.wait_event('crash_recovery'))
    speaks(fortress.add('sensor', name='patient-2'))


@pytest.mark.timeout(400)
def test_a_broker_that_hangs_is_replaced(fortress, sensor):
    signer, broker, since = fortress.signer(), fortress.processes()[1], len(fortress.log)
    os.kill(broker, signal.SIGSTOP)
    fortress.wait_log('the broker has not answered for 40 s and is ended', since, timeout=240)
    fortress.wait_log('the broker serves again', since, timeout=60)
    assert fortress.signer() == signer and fortress.processes()[1] != broker
    assert any('hang' in line['reason'] for line in fortress.wait_event('crash_recovery'))
    speaks(sensor)


def test_its_limits_follow_a_reload(make_fortress):
    """The operator's file, told by the supervisor; a signer that comes anew has what is in force, too."""
    fortress = make_fortress()
    path = fortress.dir / 'sallyport.yaml'
    old = path.read_text()

    def rotate():
        home = fortress.home / f'b-{len(list(fortress.home.iterdir()))}'
        return fortress.run('-C', fortress.dir, 'device', 'rotate', 'often', '--out', home, check=False)

    fortress.add('sensor', name='often', credentials=('x509',))
    assert rotate().returncode == 0
    path.write_text(re.sub('^limits:\n', 'limits:\n  signs_per_name: 1\n', old, flags=re.M) if 'limits:' in old
                    else old + 'limits:\n  signs_per_name: 1\n')
    since = len(fortress.log)
    fortress.reload()
    fortress.wait_log('reloaded$', since)
    reasons = [line['reason'] for line in fortress.wait_event('config_change', target='sallyport.yaml')]
    assert not [reason for reason in reasons if 'needs a restart' in reason]
    assert rotate().returncode != 0
    since = len(fortress.log)
    os.kill(fortress.signer(), signal.SIGKILL)
    path.write_text(old)  # not reloaded: not in force
    fortress.wait_log('the signer serves again', since, timeout=60)
    codes = [rotate().returncode, rotate().returncode]
    assert codes[1] != 0, 'once in a minute'


def test_who_was_revoked_or_removed(fortress):
    fortress.add('sensor', name='lost', credentials=('x509',))
    fortress.cli('device', 'revoke', 'lost')
    with pytest.raises(Refused, match='revoked'):
        fortress.cli('device', 'rotate', 'lost', '--out', fortress.home / 'b-lost')
    fortress.cli('device', 'remove', 'lost')
    shutil.rmtree(fortress.home / 'bundle-lost')
    speaks(fortress.add('sensor', name='lost', credentials=('x509',)))


def test_a_name_without_a_device_is_harmless(fortress):
    """The command line was ended between the two that it tells."""
    run = fortress.run('-C', fortress.dir, 'device', 'add', 'half', '--role', 'nobody', '--out', fortress.home / 'b-half', check=False)
    assert run.returncode == 1 and 'no role' in run.stderr
    speaks(fortress.add('sensor', name='half', credentials=('x509',)))


def test_it_is_closed_in(fortress):
    """No network and of the file system one folder: the rules are proven by sandbox_proof, that they are in force here."""
    pid = fortress.signer()
    status = Path(f'/proc/{pid}/status').read_text()
    assert 'NoNewPrivs:\t1' in status and 'CapEff:\t0000000000000000' in status
    if 'seccomp on' in fortress.wait_log('signer: Landlock'):
        assert 'Seccomp:\t2' in status
    names = [os.readlink(entry) for entry in Path(f'/proc/{pid}/fd').iterdir()]
    sockets = [name for name in names if name.startswith('socket:')]
    assert len(sockets) <= 3 + 1, names  # supervisor, broker, operators; a log's perhaps
    assert not [name for name in names if name.endswith('.key') or 'keyring' in name], names


def test_without_the_root_and_from_before(make_fortress):
    """The root's key is elsewhere; and a data directory whose version knew no register."""
    fortress = make_fortress()
    sensor = fortress.add('sensor', name='old-1', credentials=('x509',))
    fortress.add('sensor', name='old-2', credentials=('psk',))
    fortress.stop()
    (fortress.dir / 'pki' / 'root.sealed').unlink()
    (fortress.dir / 'pki' / 'register.sealed').unlink()
    fortress.start()
    fortress.wait_log('the authority has a register from now on: 1 devices')
    speaks(sensor)
    fortress.cli('device', 'rotate', 'old-1', '--out', fortress.home / 'again')
    speaks(fortress.add('sensor', name='new-1', credentials=('x509',)))
    fortress.cli('certs', 'renew')
    fortress.restart()
    assert not [line for line in fortress.log if 'from now on' in line]
    # a register that was changed: nothing is signed, and it says what to do
    fortress.stop()
    register = fortress.dir / 'pki' / 'register.sealed'
    register.write_bytes(register.read_bytes()[:60] + b'x' + register.read_bytes()[61:])
    run = fortress.run('serve', fortress.dir, check=False, timeout=30)
    assert run.returncode == 1 and 'register.sealed' in run.stderr and 'backup' in run.stderr


# ---- a broker that is not ours ----

def request(key, name, *extensions):
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


@pytest.fixture(scope='module')
def alone(tmp_path_factory):
    """A signer whose supervisor and broker is this test."""
    home = tmp_path_factory.mktemp('alone')
    directory = home / 'fortress'
    subprocess.run([str(BINARY), 'init', str(directory), '--host', 'localhost'], check=True, capture_output=True)
    one = own.OwnSigner(str(BINARY), str(directory), f'{directory}.key')
    yield one
    one.close()


def test_the_signer_by_itself(alone):
    """First that it does sign."""
    operator = alone.operator()
    key = ec.generate_private_key(ec.SECP256R1())
    assert operator.ask(own.ENROL, own.block('meter-1') + b'\0')[0] == 0
    code, answer = alone.broker.ask(own.ISSUE, own.issue('meter-1', request(key, 'meter-1'), lifetime_ms=2**62))
    assert code == 0
    certificate = x509.load_der_x509_certificate(own.first_block(answer))
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    life = certificate.not_valid_after - certificate.not_valid_before
    assert not constraints.ca and life.days <= 90
    assert alone.event()[1] == 'meter-1'
    assert alone.broker.ask(own.CRL)[0] is not None


def test_a_broken_broker_gets_no_certificate(alone):
    operator = alone.operator()
    key = ec.generate_private_key(ec.SECP256R1())
    for name in ('open', 'revoked', 'removed'):
        assert operator.ask(own.ENROL, own.block(name) + b'\0')[0] == 0
    assert operator.ask(own.FORGET, own.block('removed'))[0] == 0
    assert alone.broker.ask(own.REVOKE, own.revoke('revoked'))[0] == 0
    alone.events()
    csr = request(key, 'open')
    server = x509.SubjectAlternativeName([x509.DNSName('localhost')])
    bank = x509.SubjectAlternativeName([x509.DNSName('bank.example')])
    authority = x509.BasicConstraints(ca=True, path_length=None)
    refused = {
        'nobody knows it': (own.ISSUE, own.issue('stranger', request(key, 'stranger'))),
        'revoked': (own.ISSUE, own.issue('revoked', request(key, 'revoked'))),
        'removed': (own.ISSUE, own.issue('removed', request(key, 'removed'))),
        'an authority': (own.ISSUE, own.issue('open', request(key, 'open', authority))),
        'a server by the template of a device': (own.ISSUE, own.issue('open', request(key, 'open', server))),
        'a name in the request that is another': (own.ISSUE, own.issue('open', request(key, 'stranger'))),
        'the server of another': (own.ISSUE_SERVER, own.block(request(key, 'bank.example', bank))),
        'a device by the template of a server': (own.ISSUE_SERVER, own.block(csr)),
        'an authority by the template of a server': (own.ISSUE_SERVER, own.block(request(key, 'localhost', server, authority))),
        'a token that is none': (own.ISSUE, own.issue('open', csr, proof=own.BY_TOKEN, token='00000-00000-00000-00000')),
        'a renewal of nothing': (own.ISSUE, own.issue('open', csr, proof=own.BY_RENEWAL, current=b'x')),
        'what nobody approved': (own.ISSUE, own.issue('open', csr, proof=own.BY_APPROVAL)),
        'a maker that nobody allowed': (own.ISSUE, own.issue('open', csr, proof=own.BY_MAKER, current=b'x', chain=b'x')),
        'another kind of key': (own.ISSUE, own.issue('open', request(rsa.generate_private_key(65537, 2048), 'open'))),
        'a request of somebody else, changed': (own.ISSUE, own.issue('open', csr[:-1] + bytes([csr[-1] ^ 1]))),
    }
    for what, (kind, body) in refused.items():
        code, why = alone.broker.ask(kind, body)
        assert code != 0 and len(why) > 20, what
        assert alone.event()[0] >= 2, what
    for kind, body in ((own.ENROL, own.block('mine') + b'\0'), (own.ALLOW, own.block('open')), (own.FORGET, own.block('open')),
                       (own.TOKEN_MAKE, own.token_make('mine'))):
        code, why = alone.broker.ask(kind, body)
        assert code != 0 and 'operator' in why
        severity, _, reason = alone.event()
        assert severity == 3 and 'broken into' in reason
    # and after all that, what an operator allowed
    assert alone.broker.ask(own.ISSUE, own.issue('open', csr))[0] == 0
    assert alone.broker.ask(own.ISSUE, own.issue('open', csr))[0] != 0, 'once'


def test_a_flood_is_answered_and_bounded(alone):
    alone.events()
    for i in range(4000):
        alone.broker.send(os.urandom(i % 90 + 1))
        alone.broker.receive()
    assert len(alone.events()) <= 300
    operator = alone.operator()
    assert operator.ask(own.ENROL, own.block('after') + b'\0')[0] == 0
    alone.broker.send(b'\1' * 60000)  # one that is nearly too large
    alone.broker.receive()
    wait_until('the broker to be heard again', lambda: alone.broker.ask(own.ISSUE, own.issue('after'))[0] == 0)
