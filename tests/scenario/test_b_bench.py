"""b: `bench` on the real daemon, one short run of each scenario, and on servers that lie: what is lost, comes twice, out of order
or from somebody else is found and counted, and a server that stands still makes late what was due meanwhile."""
import importlib.machinery
import importlib.util
import json
import os
import pty
import re
import shutil
import subprocess
import xml.etree.ElementTree
from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.fortress import BINARY, ROOT, Fortress
from harness.liar import Coap, Mqtt

POLICY = '''
version: 1
roles:
  bench:
    kind: service
    many: yes
    client_id: "*"
    publish: [ { topic: "bench/#", retain: yes } ]
    subscribe: [ "bench/#" ]
    limits: { connect_rate: 2000/s, connect_burst: 4000 }
'''


def bench(*arguments):
    """One run of a second: exit code, what --json says, stderr."""
    run = subprocess.run([str(BINARY), '--json', 'bench', '--seconds', '1', *map(str, arguments)], capture_output=True, text=True,
                         stdin=subprocess.DEVNULL, timeout=60, check=False)
    assert 'Sanitizer' not in run.stderr and 'runtime error' not in run.stderr, run.stderr
    return run.returncode, json.loads(run.stdout) if run.stdout else None, run.stderr


@pytest.fixture(scope='module')
def served():
    one = Fortress(listeners=('mqtts', 'wss', 'coaps'), policy=POLICY)
    device = one.add('bench', credentials=('x509', 'psk'))
    one.cli('pub', '--bundle', device.bundle, '-h', 'localhost', '-p', one.ports['mqtts'], '-t', 'bench/coap/0', '-m', 'x' * 150,
            '-q', 1, '-r')
    yield one, device
    one.close()


# Little of everything: `make test` shares the machine.
FEW = ['--publishers', 2, '--rate', 200]
SCENARIOS = [
    ['pairs', *FEW], ['pairs', *FEW, '-q', 2, '-V', 5], ['pairs', *FEW, '-q', 1, '-V', 5, '-L', 'wss'], ['fan-in', *FEW, '-q', 1],
    ['fan-out', '--subscribers', 5, '--rate', 200], ['durable', *FEW], ['latency', *FEW], ['connect', '--connections', 2],
    ['connect', '--connections', 2, '-L', 'wss'], ['resumed', '--connections', 2], ['idle', '--connections', 20],
    ['retained', '--count', 300], ['subscriptions', '--count', 203, '--subscribers', 10, *FEW, '-q', 1],
    ['coap-get', '--connections', 3, '--window', 2, '--path', '/mq/bench/coap/0'],
    ['coap-handshake', '--connections', 2, '--path', '/mq/bench/coap/0']]


MESSAGES = ['--scenario', 'pairs', '--publishers', 1, '--rate', 100]
# What the server does, the scenario, and what must be found.
LIES = [
    (dict(), MESSAGES, {}), (dict(fault='lose'), MESSAGES, {'lost': 1}), (dict(fault='twice'), MESSAGES, {'duplicates': 1}),
    (dict(fault='swap'), MESSAGES, {'out_of_order': 1}), (dict(fault='foreign'), MESSAGES, {'foreign': 1, 'lost': 1}),
    (dict(), ['--scenario', 'retained', '--count', 50], {}),
    (dict(fault='lose'), ['--scenario', 'retained', '--count', 50], {'lost': 1}),
    (dict(fault='twice'), ['--scenario', 'retained', '--count', 50], {'duplicates': 1}),
    (dict(fault='swap'), ['--scenario', 'retained', '--count', 50], {}),  # what is retained has no order
    (dict(fault='swap'), ['--scenario', 'subscriptions', '--count', 1, '--subscribers', 1, '--publishers', 1, '--rate', 100],
     {'out_of_order': 1}),
    (dict(fault='lose'), ['--scenario', 'subscriptions', '--count', 9, '--subscribers', 2, '--publishers', 2, '--rate', 100],
     {'lost': 1}),
    (dict(), ['--scenario', 'idle', '--connections', 3], {}),
    (dict(fault='deaf'), ['--scenario', 'idle', '--connections', 3], {'lost': 1})]
COAP_LIES = [({}, {}), ({'fault': 'silent'}, {'lost': 1}), ({'fault': 'twice'}, {'duplicates': 1}),
             ({'fault': 'foreign'}, {'foreign': 1})]


STALL = (dict(fault='stall', at=70, stall=0.7),
         ['--scenario', 'latency', '--publishers', 1, '--rate', 100, '--window', 1], {})


def on_a_terminal():
    """Exit code, stdout, and what a terminal got."""
    ours, theirs = pty.openpty()
    with Mqtt() as server:
        run = subprocess.run([str(BINARY), 'bench', '--plain', '-h', '127.0.0.1', '-p', str(server.port), *map(str, MESSAGES),
                              '--seconds', '2'], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs, timeout=60,
                             check=False)
    os.close(theirs)
    told = os.read(ours, 4096).decode()
    os.close(ours)
    return run.returncode, run.stdout, told


@pytest.fixture(scope='module')
def begun():
    """All at once and beside the daemon's test, for they wait: whoever lost something waits for it. The last one is a terminal's."""
    def run(case):
        kind, lie, words, found = case
        with kind(**lie) as server:
            return (kind, found, *bench('--plain', '-h', '127.0.0.1', '-p', server.port, *words))
    cases = [(Mqtt, *case) for case in [STALL, *LIES]]
    cases += [(Coap, lie, ['--scenario', 'coap-get', '--connections', 2], found) for lie, found in COAP_LIES]
    with ThreadPoolExecutor(len(cases) + 1) as pool:
        yield [*(pool.submit(run, case) for case in cases), pool.submit(on_a_terminal)]


@pytest.fixture(scope='module')
def lies(begun):
    """[(server, what must be found, exit code, JSON, stderr)]"""
    return [one.result() for one in begun[:-1]]


@pytest.mark.release
def test_each_scenario_on_the_daemon(begun, served, tmp_path):
    fortress, device = served
    pids = ','.join(map(str, fortress.processes()))
    where = {'wss': f'wss://localhost:{fortress.ports["wss"]}/mqtt'}

    def run(words):
        n = SCENARIOS.index(words)
        return bench('--scenario', *[where.get(word, word) for word in words], '--bundle', device.bundle, '--pid', pids,
                     *(['--plot', tmp_path / f'{n}.svg'] if n % 3 == 0 else []))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(run, SCENARIOS))
    for words, (code, said, why) in zip(SCENARIOS, answers):
        assert code == 0 and said['right'] and said['scenario'] == words[0], (words, said, why)
        # How much of a second a disk needs for what is durable is its own: then what was acknowledged later tells.
        counted = said['ack_p50_us'] if words[0] == 'durable' else said['counted']
        assert counted > 0 and said['sent'] > 0 and said['tls'] in ('TLSv1.3', 'DTLSv1.2'), (words, said)
        assert said['server_cpu_us_each'] >= 0 and said['websocket'] == ('wss' in words), (words, said)
        assert ('p999_us' in said) == (words[0] in ('latency', 'connect', 'resumed', 'coap-get', 'coap-handshake')), (words, said)
        if words[0] in ('idle', 'retained', 'subscriptions'):
            assert said['filled']['n'] == {'idle': 20, 'retained': 300, 'subscriptions': 203}[words[0]], said
            assert 'server_rss_bytes_each' in said['filled'], said
    plots = sorted(tmp_path.glob('*.svg'))
    assert len(plots) == 5
    for plot in plots:
        assert xml.etree.ElementTree.parse(plot).getroot().tag == '{http://www.w3.org/2000/svg}svg'
    retained = fortress.cli('retained', 'list', 'bench/#', '--json')
    assert retained.count('bench/') == 1, retained  # bench has removed its own


def test_a_lie_is_found(lies):
    for kind, found, code, said, why in lies:
        assert said is not None, (found, why)
        counts = {name: said[name] for name in ('lost', 'duplicates', 'out_of_order', 'foreign') if said[name] > 0}
        assert counts == found and said['right'] == (not found) and code == (1 if found else 0), (found, said, why)
        assert kind is Mqtt or 'lost' not in found or said['repeated'] > 0, said


def test_what_was_due_while_the_server_stood_still_is_late(lies):
    """A hundred messages a second for 1.5 s, nothing for 0.7 s from the 70th on. With one under way at a time only one of them waits
    for the server; but those behind it were due as well."""
    said = lies[0][3]
    assert said['p50_us'] > 50_000 and said['max_us'] > 600_000, said


def test_a_terminal_sees_how_it_goes(begun):
    """A line that is written over, once a second, and gone at the end; in a pipe there is none."""
    code, said, told = begun[-1].result()
    assert code == 0 and b'0 lost, 0 twice, 0 out of order, 0 not ours' in said, said
    assert re.fullmatch(r'(\r\x1b\[K\d+ s: \d+ deliveries, \d+/s)+\r\x1b\[K', told), told


def test_what_it_is_not_for_is_refused():
    for words, why in ((['--scenario', 'resumed', '--plain'], 'about TLS'), (['--scenario', 'coap-handshake', '--plain'], 'about DTLS'),
                       (['--scenario', 'idle', '--publishers', 2, '--plain'], 'takes --connections'),
                       (['--scenario', 'pairs', '--connections', 2, '--plain'], 'takes --publishers'),
                       (['--scenario', 'coap-get', '-L', 'wss://localhost/mqtt'], 'for MQTT'),
                       (['--scenario', 'coap-get', '--plain', '-h', '192.0.2.1'], 'on this machine')):
        code, _, said = bench(*words)
        assert code == 2 and why in said, (words, said)


def tool(name):
    """A tool of tests/bench as a module."""
    loader = importlib.machinery.SourceFileLoader(f'bench_{name}', str(ROOT / 'tests/bench' / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def test_the_page_of_a_comparison():
    """Medians, spread, and bars that are met and missed, out of runs as bench tells them; every row of the table has all it needs."""
    compare = tool('compare')
    for row in json.loads((ROOT / 'tests/bench/bars.json').read_text()):
        assert set(compare.sides(row)) <= set(compare.STARTS) and row['bars'], row
        assert all(bar['figure'] in compare.FIGURES for bar in row['bars']), row
    rows = [{'name': 'one', 'way': 'tcp', 'bench': ['--scenario', 'pairs'],
             'bars': [{'figure': 'cpu', 'least_ratio': 2.0}, {'figure': 'rate', 'least_ratio': 4.1}]},
            {'name': 'two', 'way': 'tls', 'bench': ['--scenario', 'idle'], 'bars': [{'figure': 'rss', 'most': 1000}]}]
    figures = {'one': {'mosquitto': [{'server_cpu_us_each': us, 'per_second': 10} for us in (9, 11, 10)],
                       'sallyport': [{'server_cpu_us_each': us, 'per_second': 40} for us in (5, 4, 6)]},
               'two': {'sallyport': [{'filled': {'server_rss_bytes_each': 1001}}]}}
    page = '\n'.join(compare.page(rows, figures, ['a note'], Namespace(pairs=3, seconds=1, quick=False)))
    assert '| one | CPU µs each | mosquitto | 10 (9 to 11) | 5 (4 to 6) | 2.00x | 2.0x | yes |' in page, page
    assert '| one | each second | mosquitto | 10 (10 to 10) | 40 (40 to 40) | 4.00x | 4.1x | **no** |' in page, page
    assert '| two | bytes each | mosquitto | - | 1001 (1001 to 1001) | - | at most 1,000 | **no** |' in page, page
    assert '2 bars are missed.' in page and '- a note' in page, page


@pytest.mark.release  # the sanitized build of the tests has no debug information about types
@pytest.mark.skipif('build-test' in BINARY.parts, reason='this build has line tables alone; the hardened one is asked')
@pytest.mark.skipif(not shutil.which('readelf'), reason='binutils are not installed')
def test_every_structure_of_the_memory_tool_is_there(capsys):
    assert tool('sizes').print_structures(BINARY), capsys.readouterr().err
