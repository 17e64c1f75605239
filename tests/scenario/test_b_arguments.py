"""b: what is wrongly written is 2 and found before anything is asked or made; what is refused is 1; and what a command says is true."""
import json
import re
import subprocess

import pytest

from harness.control import Refused
from harness.fortress import BINARY, Fortress, is_sanitized

pytestmark = pytest.mark.release

HELP = subprocess.run([str(BINARY), '--help'], capture_output=True, text=True, check=True).stdout
LISTED = re.findall(r'^  ([a-z][a-z-]*) +(.+)$', HELP.split('commands:\n')[1], re.M)
THERE = [name for name, summary in LISTED if 'not there yet' not in summary]
ABSENT = [name for name, summary in LISTED if 'not there yet' in summary]

# Of each command: words that are a mistake by themselves, whatever the daemon, the device or the file is.
MISTAKES = {
    'quickstart': ['', 'a b', 'a --listen'],
    'init': ['', 'a b', 'a --listen', 'a --set', 'a --host', 'a --master-key'],
    'serve': ['a b', '--master-key'],
    'check': ['a b'],
    'device': ['', 'fly', 'fly x', 'add', 'add x', 'add x y --role r', 'add a/b --role r', 'add x --role', 'add x --role r --attr x',
               'add x --role r --credential fly', 'add x --role r --overlap 1h', 'add --from f', 'add x --from f --out o', 'list x', 'list --role r',
               'list --where x', 'list --where status=fly', 'list --where =x', 'show', 'show x y', 'show a/b', 'show x --reason r',
               'show --where a=b', 'disable', 'disable a/b', 'disable x --role r', 'disable x --where a=b', 'disable --where a',
               'disable --dry-run', 'enable x y', 'revoke', 'revoke --where status=gone', 'remove x --out o', 'rotate', 'rotate x --overlap x',
               'rotate x --overlap 900d', 'rotate x --abort --now', 'rotate x --abort --out o', 'rotate a/b', 'rotate x --credential fly',
               'rotate --where a=b', 'role', 'role x', 'role x y z', 'role a/b r', 'role --where a=b', 'assign x', 'assign a/b --gateway g',
               'assign --where a=b'],
    'policy': ['', 'fly', 'check', 'check a b', 'check a --policy b', 'test', 'test a --dry-run', 'diff', 'diff a b', 'apply', 'apply a --policy b',
               'explain', 'explain x get', 'explain x fly t', 'explain x publish a/#', 'explain x subscribe a/#/b', 'explain a/b get /x',
               'explain x get /x y'],
    'exception': ['', 'fly', 'add', 'add x', 'add --listener l --allow root --for 1h --reason x', 'add --listener l --allow plaintext --for 1h',
                  'add --listener l --allow plaintext --for 8d --reason x', 'add --listener l --allow plaintext --for soon --reason x',
                  'list x', 'list --role r', 'end', 'end x', 'end 0', 'end 1 2', 'end 1 --reason x'],
    'respond': ['', 'fly', 'list x', 'list --all', 'start', 'start x', 'start x nope --for 1h --reason r', 'start x alert --for 1h --reason r',
                'start x throttle --reason r', 'start x throttle --for 1h', 'start x throttle --for 1s --reason r',
                'start x throttle --for 31d --reason r', 'start a/b throttle --for 1h --reason r', 'undo', 'undo x', 'undo 1 2', 'undo 1 --all',
                'undo 1 --for 1h'],
    'master-key': ['', 'fly', 'rotate x', 'rotate --new-key'],
    'pub': ['', '-t a -m c', '--bundle b -t a -m c x', '--bundle b -t a/# -m c', '--bundle b -t a -m c -q 3', '--bundle b -t a -m c -q x',
            '--bundle b -t a -m c -V 7', '--bundle b -t a -m c -p 65536', '--bundle b -t a -m c -l', '--bundle b -t a -m c -k x'],
    'sub': ['', '-t a', '--bundle b', '--bundle b -t a/#/b', '--bundle b -t a -q 3', '--bundle b -t a -C 0', '--bundle b -t a -W x',
            '--bundle b -t a -F %', '--bundle b -t a x'],
    'rpc': ['', '--bundle b -t a', '--bundle b -t a -e c', '--bundle b -t a/# -e c -m x', '--bundle b -t a -e b/# -m x',
            '--bundle b -t a -e c -m x -W x'],
    'coap': ['', 'fly coaps://h/x --bundle b', 'get', 'get coaps://h/x', 'get a c --bundle b', 'get http://h/x --bundle b',
             'get coaps://h:65536/x --bundle b', 'get coaps://h/x --bundle b -e x', 'put coaps://h/x --bundle b -e x -f y',
             'observe coaps://h/x --bundle b -s x'],
    'audit': ['', 'fly', 'tail x', 'tail -n x', 'tail -n -1', 'tail -n', 'tail --key x', 'tail --since 1h', 'verify x', 'verify --key zz',
              'verify -n 1', 'export x', 'export --format xml', 'export --since soon', 'export --until soon', 'export -f', 'anchor x',
              'anchor --key x', 'key x', 'key -n 1', 'roll-key x'],
    'status': ['x'],
    'metrics': ['x'],
    'alerts': ['x'],
    'selftest': ['', 'fly', 'amplification x'],
    'bench': ['', 'x', '--bundle b --scenario fly', '--bundle b --publishers 0', '--bundle b --publishers x', '--bundle b --seconds 0',
              '--bundle b --qos 3', '--bundle b --pid x', '--bundle b --pid 0', '--bundle b -V 4', '--bundle b --size 0', '--bundle b --topic a/#',
              '--bundle b --topic a+', '--plain --host 192.0.2.1'],
    'backup': ['', 'a b', 'a --master-key'],
    'restore': ['', 'a b', 'a --keyring'],
    'certs': ['', 'fly', 'list x', 'list --state fly', 'list --host h', 'plan x', 'plan --state due', 'renew x', 'renew --host _._',
              'renew --serial 1', 'roll', 'roll fly', 'roll prepare x', 'roll prepare --reason x', 'revoke', 'revoke x y', 'revoke a/b',
              'revoke x --reason fly', 'revoke x --serial zz', 'revoke x --state due', 'crl x', 'crl --host h'],
    'enrol': ['', 'fly', 'token', 'token x --role r', 'token --role r --uses 0', 'token --role r --uses x', 'token --role r --for 31d',
              'token --role r -n 1001', 'token --role r --name a/b', 'token --role r --name a --pattern b', 'token --role r --attr x',
              'token --role r --server s', 'tokens x', 'tokens --role r', 'cancel', 'cancel a b', 'list x', 'list --role r', 'approve',
              'approve 1', 'approve x --role r', 'approve 1 --all --role r', 'approve --all --role r --where fly=1', 'reject', 'reject x',
              'reject 1 --role r', 'batch', 'batch f', 'batch f --out o --credential fly', 'join', 'join x', 'join --server s --token t',
              'join --role r'],
    'agent': ['', 'x', '--bundle b x', '--bundle'],
    'retained': ['', 'fly', 'list a b', 'list a/#/b', 'list --by fly', 'list --yes', 'purge', 'purge a/#/b --yes', 'purge a --by topic', 'undo',
                 'undo x', 'undo 0', 'undo 1 --yes'],
    'setaside': ['', 'fly', 'list x', 'list --limit 0', 'list --limit x', 'list --after x', 'replay', 'replay x', 'replay 1 2',
                 'replay 1 --device d', 'replay all --payload', 'drop', 'drop x', 'drop all --limit 1'],
    'doctor': ['x', '--profile fly', '--only fly', '--until 2030-01-01', '--waive x', '--waive x --until soon --reason r',
               '--mosquitto a --emqx b', 'waiver', 'waiver fly', 'waiver end', 'waiver end x', 'waiver list x', 'waiver list --only plaintext'],
    'scan': ['', 'a b', 'localhost --port x:1', 'localhost --port mqtt', 'localhost --port mqtt:0', 'localhost --timeout 0',
             'localhost --time 901', 'localhost --ws-path x', 'localhost --json --sarif', '192.0.2.1'],
    'incident': ['', 'fly', 'export', 'export x', 'export --device a/b --since 1h --out o', 'export --device x --since soon --out o',
                 'export --device x --since 1h --until 2h --out o', 'export --key k', 'verify', 'verify a b', 'verify a --key zz',
                 'verify a --device x'],
}
# A configuration that `check` would refuse is refused, and told by the option that asks for it.
REFUSED = ('--listen nope=127.0.0.1:1', '--listen mqtts', '--listen mqtts=here', '--listen mqtts=127.0.0.1:65536', '--set surprise=1',
           '--set packet_bytes', '--set packet_bytes=many', '--set packet_bytes=1', '--set publish_rate=x', '--host _._')
# Of the verbs of each: `--help` names them, and none of them takes a word of another kind.
USAGE = r'^(?:usage:|      ) sallyport ([a-z-]+) ([a-z][a-z-]*)\b'


CLIENTS = ('pub', 'sub', 'rpc', 'coap', 'bench')  # there b is a bundle


def sallyport(*arguments, cwd=None):
    return subprocess.run([str(BINARY), *map(str, arguments)], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60,
                          check=False, cwd=cwd)


def told(command, run):
    """A usage message: what is wrong, and where help is; nothing on stdout."""
    assert run.returncode == 2 and not run.stdout, (command, run)
    assert run.stderr.startswith('sallyport: ') and run.stderr.endswith(f'See `{BINARY} {command} --help`.\n'), (command, run.stderr)
    return run.stderr


def test_each_command_of_the_help_is_in_this_table():
    assert sorted(MISTAKES) == sorted(THERE)
    assert all(sallyport(name).returncode == 1 for name in ABSENT)


@pytest.fixture(scope='module')
def bundle(tmp_path_factory):
    """A device's, of a server that is not there: who goes on and connects says 1."""
    home = tmp_path_factory.mktemp('made')
    run = sallyport('quickstart', home / 'f', '--listen', 'mqtts=127.0.0.1:1', '--listen', 'coaps=127.0.0.1:1', '--host', 'localhost')
    assert run.returncode == 0, run
    return home / 'f/bundles/meter-1'


@pytest.mark.parametrize('command', MISTAKES)
def test_a_mistake_of_writing_is_2_before_anybody_is_asked(command, bundle, tmp_path):
    """There is no data directory and no file but a bundle: whatever looked for one first would say 1."""
    rows = [*MISTAKES[command], '--no-such-option']
    if is_sanitized():  # slow to begin; the other build has them all
        rows = rows[::3]
    for words in rows:
        told(command, sallyport('-C', tmp_path / 'absent', command, *(bundle if word == 'b' and command in CLIENTS else word
                                                                      for word in words.split()), cwd=tmp_path))
    assert not list(tmp_path.iterdir()), 'nothing was made'


@pytest.mark.parametrize('command', ['init', 'quickstart'])
def test_a_configuration_that_cannot_be_is_1_and_nothing_is_made(command, tmp_path):
    for words in REFUSED:
        run = sallyport(command, tmp_path / 'f', *words.split())
        assert run.returncode == 1 and not run.stdout and run.stderr.startswith(f'sallyport: {words}'), (words, run)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('command', MISTAKES)
def test_the_help_of_each_command_begins_with_an_example(command):
    run = sallyport(command, '--help')
    first, empty, example, *_ = run.stdout.splitlines()
    assert run.returncode == 0 and first.startswith(f'{command}: ') and not empty and example.startswith('  sallyport '), run.stdout
    assert f' {command} ' in f'{example} ' and re.search(r'^usage: sallyport ', run.stdout, re.M)
    assert sallyport('help', command).stdout == run.stdout


def test_verbs_of_the_help_are_there_and_say_which_words_they_take(tmp_path):
    named = {pair for command in MISTAKES for pair in re.findall(USAGE, sallyport(command, '--help').stdout, re.M)
             if pair[0] == command and command not in ('selftest', 'master-key', 'coap')}
    assert {('device', 'rotate'), ('audit', 'roll-key'), ('enrol', 'join'), ('respond', 'undo'), ('incident', 'verify')} <= named
    for command, verb in sorted(named):
        text = told(command, sallyport('-C', tmp_path / 'absent', command, verb, *'abcdef'))
        assert f'{command} {verb}' in text and 'there is no "' not in text, text


def test_help_of_no_command_is_2():
    run = sallyport('help', 'fly')
    assert run.returncode == 2 and 'there is no command "fly"' in run.stderr


# -- on the daemon ---------------------------------------------------------------------------------------------------------

@pytest.fixture(scope='module')
def plant():
    one = Fortress(('mqtts', 'coaps', 'mqtt', 'https'))
    yield one
    one.close()


def test_what_is_well_written_and_refused_is_1(plant):
    device = plant.add('sensor')
    for words, why in (('device show nobody', 'there is no device nobody'), ('policy explain nobody publish a', 'there is no device nobody'),
                       (f'device role {device.name} nope', 'no role nope'), ('respond undo 99', 'no response 99'),
                       ('respond start nobody throttle --for 1h --reason x', 'nobody'), ('exception end 99', 'no exception 99'),
                       ('exception add --listener nope --allow plaintext --for 1h --reason x', 'there is no listener nope; `sallyport status`'),
                       ('setaside drop 99', 'no message 99'), ('retained undo 99', 'no undo record 99'), ('enrol reject 99', 'no such request'),
                       ('enrol token --role nope', 'no role nope'), ('certs revoke nobody', 'there is no device nobody'),
                       ('audit verify --anchor /nowhere', 'there is no such file'), ('restore /nowhere --verify', '/nowhere: there is no such file'),
                       (f'enrol batch /nowhere --out {plant.home}/unmade', '/nowhere cannot be read')):
        run = plant.cli(*words.split(), check=False)
        assert run.returncode == 1 and why in run.stderr and not run.stdout, (words, run)
    assert not (plant.home / 'unmade').exists()


def test_a_list_without_a_line_says_so_and_leaves_stdout_alone(plant):
    for words, why in (('exception list', 'no exception is in force'), ('respond list', 'no response is in force'),
                       ('setaside list', 'no message is set aside'), ('retained list a/b', 'no retained message matches'),
                       ('enrol list', 'nobody asks to be enrolled'), ('device list --where site=nowhere', 'no device matches'),
                       ('certs list --state revoked', 'no credential'), ('doctor waiver list', 'nothing is waived')):
        run = plant.cli(*words.split(), check=False)
        assert (run.returncode, run.stdout) == (0, '') and why in run.stderr, (words, run)
        run = plant.cli(*words.split(), '--json', check=False)
        assert (run.returncode, run.stdout, run.stderr) == (0, '', ''), (words, run)


def test_a_reason_is_in_the_trail_whatever_it_is_for(plant):
    device = plant.add('sensor')
    for verb, event in (('disable', 'disabled: lost on the roof'), ('enable', 'enabled: found again'), ('remove', 'removed: sold')):
        plant.cli('device', verb, device.name, '--reason', event.split(': ')[1])
        plant.wait_event('device_change', target=device.name, reason=event)


def test_one_story_of_a_door_that_is_not_there_yet(plant):
    """What init takes by its name of the contract, check, serve and status say: nothing listens there."""
    at = f'127.0.0.1:{plant.ports["https"]}'
    run = sallyport('init', plant.home / 'other', '--listen', f'https={at}')
    assert run.returncode == 0 and f'nothing will listen on {at}. Take the listener out' in run.stderr and 'https' not in run.stdout, run
    assert any('listener https' in line and f'nothing listens on {at}' in line for line in plant.log), plant.log
    assert f'nothing listens on {at}' in plant.run('check', plant.dir) and '3 listeners' in plant.run('check', plant.dir)
    about = json.loads(plant.run('check', plant.dir, '--json'))
    assert (about['listeners'], about['unopened']) == (3, 1)
    state = 'not opened: this kind of door is not there yet'
    assert re.search(rf'^listener +https +https +{re.escape(at)} +{state}$', plant.cli('status'), re.M)
    told = plant.json('status')[0]
    assert told['unopened'] == [{'name': 'https', 'door': 'https', 'bind': at, 'state': state}]
    rows = {row['name']: row for row in told['listeners'] + told['unopened']}
    assert len(rows) == 4 and all(row['port'] == plant.ports[row['name']] for row in told['listeners'])
    for name, row in rows.items():
        assert re.search(rf'^listener +{name} .*  {re.escape(row["state"])}', plant.cli('status'), re.M), (name, 'text and JSON differ')


def test_what_is_in_force_is_told_by_status_too(plant):
    """It is the same that `alerts` lists."""
    assert re.search(r'^alerts +\d+ in the last day, 0 exceptions in force', plant.cli('status'), re.M)
    number = plant.cli('exception', 'add', '--listener', 'mqtt', '--allow', 'plaintext', '--for', '1h', '--reason', 'an old meter').strip()
    assert re.search(r'^alerts .* 1 exception in force: see `sallyport alerts`$', plant.cli('status'), re.M)
    assert 'an old meter' in plant.cli('alerts')
    plant.cli('exception', 'end', number)
    run = plant.cli('alerts', check=False)
    assert run.returncode == 0 and 'an old meter' not in run.stdout
    assert ('no alert is open' in run.stderr) == (run.stdout == ''), run  # this machine may have one of its own


def test_json_of_a_new_master_key_says_where_it_is(plant):
    line, = plant.cli('master-key', 'rotate', '--json').splitlines()
    assert json.loads(line) == {'master_key': f'{plant.dir}.key', 'rotated': True}


def test_an_incident_of_nobody_says_that_nobody_is_there(plant):
    run = plant.cli('incident', 'export', '--device', 'nobody', '--since', '1h', '--out', plant.home / 'nobody.incident', check=False)
    assert run.returncode == 0 and 'is the name right?' in run.stderr


def test_bench_finds_what_it_cannot_do_before_it_loads(plant, tmp_path):
    device = plant.add('sensor')
    ended = subprocess.Popen(['true'])
    ended.wait()
    (tmp_path / 'kept.svg').write_text('of before')
    for words, why in ((['--pid', ended.pid], f'--pid {ended.pid}: no such process'), (['--plot', tmp_path / 'no/run.svg'], 'No such file'),
                       (['--plot', tmp_path], 'Is a directory'), (['--plot', tmp_path / 'new.svg', '--pid', ended.pid], 'no such process')):
        with pytest.raises(Refused) as run:
            plant.cli('bench', '--bundle', device.bundle, '--seconds', 1, *words)
        assert run.value.code == 1 and why in run.value.stderr and 'Nothing was sent to the server' in run.value.stderr, run.value
        assert 'client id' not in run.value.stderr, 'it did not even connect'
    # With places that are right it goes to the server, which refuses this identity; nothing is made or written over.
    run = plant.cli('bench', '--bundle', device.bundle, '--seconds', 1, '--plot', tmp_path / 'kept.svg', check=False)
    assert run.returncode == 1 and 'Nothing was sent' not in run.stderr
    plant.cli('bench', '--bundle', device.bundle, '--seconds', 1, '--plot', tmp_path / 'new.svg', check=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['kept.svg'] and (tmp_path / 'kept.svg').read_text() == 'of before'
