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
    limits: { connect_rate: 2000/s, connect_burst: 4000, replay_rate: 1000000/s }
  narrow: { publish: [ "narrow/${device}" ] }
'''


def bench(*arguments, seconds=1):
    """One run of a second: exit code, what --json says, stderr."""
    run = subprocess.run([str(BINARY), '--json', 'bench', '--seconds', str(seconds), *map(str, arguments)], capture_output=True, text=True,
                         stdin=subprocess.DEVNULL, timeout=seconds + 60, check=False)
    assert 'Sanitizer' not in run.stderr and 'runtime error' not in run.stderr, run.stderr
    return run.returncode, json.loads(run.stdout) if run.stdout else None, run.stderr


@pytest.fixture(scope='module')
def served():
    one = Fortress(listeners=('mqtts', 'wss', 'coaps', 'mqtt', 'coap'), policy=POLICY)
    device = one.add('bench', credentials=('x509', 'psk'))
    one.cli('pub', '--bundle', device.bundle, '-h', 'localhost', '-p', one.ports['mqtts'], '-t', 'bench/coap/0', '-m', 'x' * 150,
            '-q', 1, '-r')
    for listener in ('mqtt', 'coap'):
        one.cli('exception', 'add', '--listener', listener, '--allow', 'plaintext,anonymous', '--role', 'bench', '--for', '1h', '--reason',
                'the scenarios in the clear')
    yield one, device
    one.close()


# Little of everything: `make test` shares the machine. Over TLS, but for 'wss', 'tcp' and 'udp'; each scenario by several ways, of both versions.
FEW = ['--publishers', 2, '--rate', 200]
SCENARIOS = [
    ['pairs', *FEW], ['pairs', *FEW, '-q', 2, '-V', 5], ['pairs', *FEW, '-q', 1, '-V', 5, '-L', 'wss'], ['fan-in', *FEW, '-q', 1],
    ['fan-out', '--subscribers', 5, '--rate', 200], ['durable', *FEW], ['latency', *FEW], ['connect', '--connections', 2],
    ['connect', '--connections', 1, '-L', 'wss'], ['resumed', '--connections', 2], ['idle', '--connections', 20],
    ['retained', '--count', 300], ['subscriptions', '--count', 203, '--subscribers', 10, *FEW, '-q', 1],
    ['pairs', *FEW, '-q', 1, 'tcp'], ['fan-in', *FEW, '-q', 2, '-V', 5, '-L', 'wss'], ['fan-in', *FEW, '-V', 5, 'tcp'],
    ['fan-out', '--subscribers', 5, '--rate', 200, '-q', 1, '-V', 5, '-L', 'wss'], ['fan-out', '--subscribers', 5, '--rate', 200, 'tcp'],
    ['durable', *FEW, '-V', 5, '-L', 'wss'], ['latency', *FEW, '-V', 5, '-L', 'wss'], ['latency', *FEW, '-q', 1, 'tcp'],
    ['connect', '--connections', 1, '-V', 5, 'tcp'], ['resumed', '--connections', 1, '-V', 5, '-L', 'wss'],
    ['idle', '--connections', 20, '-V', 5, '-L', 'wss'], ['idle', '--connections', 20, 'tcp'],
    ['retained', '--count', 300, '-V', 5, '-L', 'wss'], ['retained', '--count', 300, 'tcp'],
    ['subscriptions', '--count', 203, '--subscribers', 10, *FEW, '-V', 5, '-L', 'wss'],
    ['subscriptions', '--count', 203, '--subscribers', 10, *FEW, '-q', 2, 'tcp'],
    ['coap-get', '--connections', 3, '--window', 2, '--path', '/mq/bench/coap/0'],
    ['coap-get', '--connections', 3, '--path', '/mq/bench/coap/0', 'udp'],
    ['coap-handshake', '--connections', 2, '--path', '/mq/bench/coap/0']]


MESSAGES = ['--scenario', 'pairs', '--publishers', 1, '--rate', 100]
# What the server does, the scenario, and what must be found.
LIES = [
    (dict(), MESSAGES, {}), (dict(fault='lose'), MESSAGES, {'lost': 1}), (dict(fault='twice'), MESSAGES, {'duplicates': 1}),
    (dict(fault='swap'), MESSAGES, {'out_of_order': 1}), (dict(fault='foreign'), MESSAGES, {'foreign': 1, 'lost': 1}),
    (dict(), [*MESSAGES, '-q', 1], {}), (dict(fault='unasked'), [*MESSAGES, '-q', 1], {'unasked': 1}),
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


def on_a_terminal(words, **lie):
    """Exit code, stdout, and what a terminal got."""
    ours, theirs = pty.openpty()
    with Mqtt(**lie) as server:
        run = subprocess.run([str(BINARY), 'bench', '--plain', '-h', '127.0.0.1', '-p', str(server.port), *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs, timeout=60,
                             check=False)
    os.close(theirs)
    told = os.read(ours, 4096).decode()
    os.close(ours)
    return run.returncode, run.stdout, told


@pytest.fixture(scope='module')
def begun():
    """All at once and beside the daemon's test, for they wait: whoever lost something waits for it. The last two are a terminal's."""
    def run(case):
        kind, lie, words, found = case
        with kind(**lie) as server:
            return (kind, found, *bench('--plain', '-h', '127.0.0.1', '-p', server.port, *words))
    cases = [(Mqtt, *case) for case in [STALL, *LIES]]
    cases += [(Coap, lie, ['--scenario', 'coap-get', '--connections', 2], found) for lie, found in COAP_LIES]
    with ThreadPoolExecutor(len(cases) + 2) as pool:
        yield [*(pool.submit(run, case) for case in cases), pool.submit(on_a_terminal, [*MESSAGES, '--seconds', 2]),
               pool.submit(on_a_terminal, ['--scenario', 'idle', '--connections', 6, '--seconds', 1], fault='slow', stall=0.5)]


@pytest.fixture(scope='module')
def lies(begun):
    """[(server, what must be found, exit code, JSON, stderr)]"""
    return [one.result() for one in begun[:-2]]


@pytest.mark.release
def test_each_scenario_on_the_daemon(begun, served, tmp_path):
    fortress, device = served
    pids = ','.join(map(str, fortress.processes()))
    where = {'wss': f'wss://localhost:{fortress.ports["wss"]}/mqtt'}

    def run(words):
        n = SCENARIOS.index(words)
        plain = {'tcp': 'mqtt', 'udp': 'coap'}.get(words[-1])
        way = ['--plain', '-h', '127.0.0.1', '-p', fortress.ports[plain]] if plain else ['--bundle', device.bundle]
        return bench('--scenario', *[where.get(word, word) for word in words if word not in ('tcp', 'udp')], *way, '--pid', pids, '--plot',
                     tmp_path / f'{n}.svg')
    # Handshakes take all that a core has: few at a time, and nothing beside them, or one waits until it counts as lost.
    storms = [words for words in SCENARIOS if words[0] in ('connect', 'resumed', 'coap-handshake')]
    others = [words for words in SCENARIOS if words not in storms]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(run, others))
    with ThreadPoolExecutor(2) as pool:
        answers += list(pool.map(run, storms))
    for words, (code, said, why) in zip(others + storms, answers):
        assert code == 0 and said['right'] and said['scenario'] == words[0], (words, said, why)
        # How much of a second a disk needs for what is durable is its own, and a core for handshakes: then what came later tells.
        of_all = {'durable': 'ack_p50_us', 'connect': 'sent', 'resumed': 'sent', 'coap-handshake': 'sent'}
        assert said[of_all.get(words[0], 'counted')] > 0 and said['sent'] > 0, (words, said)
        assert said['tls'] == ('-' if words[-1] in ('tcp', 'udp') else 'DTLSv1.2' if 'coap' in words[0] else 'TLSv1.3'), (words, said)
        assert 'coap' in words[0] or said['mqtt'] == (5 if '-V' in words else 311), (words, said)
        assert said['counted'] == 0 or said['server_cpu_us_each'] >= 0, (words, said)
        assert said['websocket'] == ('wss' in words), (words, said)
        assert ('p999_us' in said) == (words[0] in ('latency', 'connect', 'resumed', 'coap-get', 'coap-handshake')), (words, said)
        if words[0] in ('idle', 'retained', 'subscriptions'):
            assert said['filled']['n'] == {'idle': 20, 'retained': 300, 'subscriptions': 203}[words[0]], said
            assert 'server_rss_bytes_each' in said['filled'], said
    told = set(re.findall(r'`(\w+)`', (ROOT / 'docs/BENCH.md').read_text()))
    names = {name for _, said, _ in answers for one in (said, said.get('filled', {})) for name in one}
    assert names <= told, f'docs/BENCH.md does not tell of {names - told}'
    plots = sorted(tmp_path.glob('*.svg'))
    assert len(plots) == len(SCENARIOS)
    for plot in plots:
        assert xml.etree.ElementTree.parse(plot).getroot().tag == '{http://www.w3.org/2000/svg}svg'
    retained = fortress.cli('retained', 'list', 'bench/#', '--json')
    assert retained.count('bench/') == 1, retained  # bench has removed its own


def test_a_lie_is_found(lies):
    for kind, found, code, said, why in lies:
        assert said is not None, (found, why)
        counts = {name: said[name] for name in ('lost', 'duplicates', 'out_of_order', 'foreign', 'unasked') if said[name] > 0}
        assert counts == found and said['right'] == (not found) and code == (1 if found else 0), (found, said, why)
        assert kind is Mqtt or 'lost' not in found or said['repeated'] > 0, said


def test_what_was_due_while_the_server_stood_still_is_late(lies):
    """A hundred messages a second for 1.5 s, nothing for 0.7 s from the 70th on. With one under way at a time only one of them waits
    for the server; but those behind it were due as well."""
    said = lies[0][3]
    assert said['p50_us'] > 50_000 and said['max_us'] > 600_000, said


def test_a_terminal_sees_how_it_goes(begun):
    """A line that is written over, once a second, and gone at the end; in a pipe there is none."""
    code, said, told = begun[-2].result()
    assert code == 0 and b'0 lost, 0 twice, 0 out of order, 0 not ours' in said, said
    assert re.fullmatch(r'(\r\x1b\[K\d+ s: \d+ deliveries, \d+/s)+\r\x1b\[K', told), told
    code, said, told = begun[-1].result()  # and while the server is filled
    assert code == 0 and b'6 connections in ' in said, said
    assert re.match(r'(\r\x1b\[K\d+ s: \d connections, \d+/s)+\r\x1b\[K', told), told


def test_a_server_that_forgets_sleepers_is_told_from_one_that_loses(served):
    """To who is anonymous nothing is kept, so durable has nothing to measure there."""
    fortress, _ = served
    code, said, why = bench('--scenario', 'durable', *FEW, '--plain', '-h', '127.0.0.1', '-p', fortress.ports['mqtt'])
    assert code == 1 and said['forgotten'] == 1 and not said['right'], said
    assert 'no session any more for 1 of 1 sleepers' in why and 'an identity whose sessions last' in why, why


def test_who_may_not_is_told_what_it_takes(served):
    """The refusal in words, of either version, and the role that bench needs."""
    fortress, _ = served
    device = fortress.add('narrow', credentials=('x509',))
    for version, word in ((311, 'client id rejected (0x02)'), (5, '(0x85)')):
        code, said, why = bench('--scenario', 'pairs', '-V', version, '--bundle', device.bundle)
        assert code == 1 and said is None and word in why and 'many: yes, client_id: "*"' in why, why


def test_what_it_is_not_for_is_refused():
    for words, why in ((['--scenario', 'resumed', '--plain'], 'about TLS'), (['--scenario', 'coap-handshake', '--plain'], 'about DTLS'),
                       (['--scenario', 'idle', '--publishers', 2, '--plain'], 'takes --connections'),
                       (['--scenario', 'pairs', '--connections', 2, '--plain'], 'takes --publishers'),
                       (['--scenario', 'coap-get', '-L', 'wss://localhost/mqtt'], 'for MQTT'),
                       (['--scenario', 'pairs', '--count', 5, '--plain'], 'pairs has no use for --count'),
                       (['--scenario', 'idle', '--rate', 5, '--plain'], 'idle has no use for --rate'),
                       (['--scenario', 'retained', '--rate', 5, '--plain'], 'retained has no use for --rate'),
                       (['--scenario', 'connect', '--size', 50, '--plain'], 'connect has no use for --size'),
                       (['--scenario', 'idle', '--keep', '--plain'], 'idle has no use for --keep'),
                       (['--scenario', 'fan-in', '--path', '/x', '--plain'], 'fan-in has no use for --path'),
                       (['--scenario', 'coap-get', '-q', 1, '--plain'], 'coap-get has no use for --qos'),
                       (['--scenario', 'coap-handshake', '-V', 5], 'coap-handshake has no use for --protocol-version'),
                       (['pairs', '--plain'], '"pairs" belongs to no option'),
                       (['--scenario', 'coap-get', '--plain', '-h', '192.0.2.1'], 'on this machine')):
        code, _, said = bench(*words)
        assert code == 2 and why in said, (words, said)


@pytest.mark.parametrize('code,why', [(0x84, '4.04 to GET /: --path names what it has'), (0x9D, '4.29 to GET /: the role of')])
def test_a_server_that_refuses_a_get_is_quoted(code, why):
    """What is not there is the path's fault, what is too much the role's."""
    with Coap(code=code) as server:
        ended, said, told = bench('--plain', '-h', '127.0.0.1', '-p', server.port, '--scenario', 'coap-get', '--connections', 1)
    assert ended == 1 and said is None and why in told, told


@pytest.mark.parametrize('fault', [None, 'challenge'])
def test_a_socket_uses_each_message_id_once(fault):
    """65,536 of them, and then bench ends, though it has time: also where requests that are sent again with an Echo take one each."""
    with Coap(fault=fault) as server:
        ended, said, told = bench('--plain', '-h', '127.0.0.1', '-p', server.port, '--scenario', 'coap-get', '--connections', 1, seconds=600)
    assert ended == 1 and said is None and 'has used up its 65,536 message ids' in told, told
    assert len(server.asked) == len({mid for mid, _ in server.asked}) == 65536


def tool(name):
    """A tool of tests/bench as a module."""
    loader = importlib.machinery.SourceFileLoader(f'bench_{name}', str(ROOT / 'tests/bench' / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


ROWS = [{'name': 'one', 'way': 'tcp', 'bench': ['--scenario', 'pairs'],
         'bars': [{'figure': 'cpu', 'least_ratio': 2.0, 'profile': 'never told'},
                  {'figure': 'rate', 'least_ratio': 4.1, 'profile': 'It sleeps; an alarm clock would do.'}]},
        {'name': 'two', 'way': 'tls', 'bench': ['--scenario', 'idle'], 'quick': ['--connections', '5'], 'peer': None,
         'bars': [{'figure': 'rss', 'most': 1000}]}]
ABOUT = {'day': '2026-01-02', 'machine': 'a machine', 'versions': ['sallyport 0', 'mosquitto 0'], 'commit': 'abc', 'seconds': 1,
         'quick': False, 'others': 15}


def one_run(row, side, pair, result, disturbed=False):
    return {'row': row, 'bench': next(one['bench'] for one in ROWS if one['name'] == row), 'side': side, 'pair': pair, 'result': result,
            'why': '' if result else 'it lost messages', 'others': 40 if disturbed else 1, 'disturbed': disturbed, 'took': 3.0}


def test_every_row_of_the_bars_can_be_run():
    compare = tool('compare')
    for row in json.loads((ROOT / 'tests/bench/bars.json').read_text()):
        assert set(compare.compare_page.sides(row)) <= set(compare.compare_servers.STARTS) and row['bars'], row
        assert all(bar['figure'] in compare.compare_page.FIGURES for bar in row['bars']), row


def test_the_page_of_a_comparison():
    """Medians, spread, what was left out, and bars that are met and missed and by how much, out of runs as compare keeps them."""
    page = tool('compare').compare_page
    runs = [one_run('one', side, pair, {'server_cpu_us_each': us, 'per_second': rate}) for side, all_us, rate in
            (('mosquitto', (9, 11, 10), 10), ('sallyport', (5, 4, 6), 40)) for pair, us in enumerate(all_us, 1)]
    runs += [one_run('one', 'mosquitto', 2, {'server_cpu_us_each': 99, 'per_second': 1}, disturbed=True),
             one_run('one', 'sallyport', 2, {'server_cpu_us_each': 77, 'per_second': 1}),  # the first clean one of a pair counts
             one_run('one', 'sallyport', 3, None),
             one_run('two', 'sallyport', 1, {'filled': {'server_rss_bytes_each': 1250}}, disturbed=True)]
    text = '\n'.join(page.page(ROWS, ABOUT, runs, ['a note']))
    for line in ('| one | CPU µs each | mosquitto | 10 (9 to 11) | 5 (4 to 6) | 3/3 | 2.00x | 2.0x | yes |',
                 '| one | each second | mosquitto | 10 (10 to 10) | 40 (40 to 40) | 3/3 | 4.00x | 4.1x | **no**, by 2 % |',
                 '| two ~ | bytes each | - | - | 1250 (1250 to 1250) | 0/1 | - | at most 1,000 | **no**, by 25 % |',
                 'Of 3 bars 1 are met and 2 missed, the farthest first:\n\n- two, bytes each: by 25 %.\n- one, each second: by 2 %. '
                 'It sleeps; an alarm clock would do.',
                 'Left out: 2 of 10 runs', '- a note', 'one, sallyport, pair 3: it lost messages', 'sallyport 0, commit abc'):
        assert line in text, (line, text)
    assert 'never told' not in text  # of a bar that is met


def collected(compare, runs, tries, results, **more):
    """What compare runs when a run gives the next one of `results`: [(row, side, pair)]."""
    ran, given = [], iter(results)
    a = Namespace(**{'pairs': 2, 'quick': False, 'minutes': 60, **more})

    def measure(row, side, pair):
        ran.append((row['name'], side, pair))
        result, disturbed = next(given)
        return one_run(row['name'], side, pair, result, disturbed)
    left = compare.collect(ROWS, runs, a, tries, lambda: None, measure)
    return ran, left


def test_a_comparison_goes_on_where_it_was_cut_off(capsys):
    """Both sides in turn, pair by pair over all rows; what is there is not run again, and a run that is left out is, when the other side had its turn."""
    compare, good, bad, noisy = tool('compare'), ({'server_cpu_us_each': 1}, False), (None, False), ({'server_cpu_us_each': 9}, True)
    runs = []
    ran, left = collected(compare, runs, 3, [good] * 6)
    assert not left and ran == [('one', 'mosquitto', 1), ('one', 'sallyport', 1), ('two', 'sallyport', 1), ('one', 'sallyport', 2),
                                ('one', 'mosquitto', 2), ('two', 'sallyport', 2)]
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith('[1/6, about 0 min left] one, mosquitto, pair 1: 1 CPU') and said[-1].startswith('[6/6, ')
    assert collected(compare, runs, 3, []) == ([], [])
    assert collected(compare, runs[:4], 3, [good] * 2)[0] == ran[4:]  # in the middle of a pair: its other side alone
    assert collected(compare, runs[:2], 3, [good] * 2, pairs=1)[0] == ran[2:3]
    again, _ = collected(compare, [], 3, [noisy, good, noisy, good, good], pairs=1)
    assert again == [*ran[:2], ran[0], ran[0], ran[2]]
    assert 'left out: others took 40 % of a core' in capsys.readouterr().out
    ran_bad, left = collected(compare, [], 2, [bad, good, bad, good], pairs=1)  # it never gets right: no more than so often
    assert ran_bad == [*ran[:2], ran[0], ran[2]] and not left
    assert 'pair 1: it lost messages' in capsys.readouterr().out
    ran_none, left = collected(compare, [], 3, [], minutes=0)
    assert not ran_none and len(left) == 6


def test_two_builds_outlast_a_taken_port_and_a_run_of_no_cpu(monkeypatch, capsys):
    """`ab`: a server that does not start is made anew, with other ports; a round in which nothing was counted has no ratio."""
    ab, right, shop = tool('ab'), {'cpu': 1.5, 'instructions': None}, Namespace(made={})

    def measured(*runs):
        left = iter(runs)
        shop.made = {'tcp-1': 'its ports'}

        def once(*_):
            run = next(left)
            if isinstance(run, SystemExit):
                raise run
            return run
        monkeypatch.setattr(ab, 'measure_once', once)
        return ab.measure(None, ROWS[0], 'after', 'before', Namespace(shop=shop))
    taken = SystemExit('sallyport is not there after 20 s, or has ended:\n127.0.0.1:1883: the address is in use')
    assert measured(right) is right and shop.made
    assert measured(taken, right) is right and not shop.made
    assert measured(None) is None and not shop.made
    assert measured(taken, taken, taken) is None
    said = capsys.readouterr().err
    assert said.count('the address is in use: again, with other ports') == 3 and said.count('in use: left out') == 1, said
    ab.tell('one', 'CPU µs', [(0, 1), (2, 1), (1, 0)])
    ab.tell('two', 'CPU µs', [(0, 0)])
    said = capsys.readouterr().out
    assert 'one: 2 of 3 rounds had nothing to count' in said and 'one: 2 -> 1 CPU µs, ratio 0.500 (0.500 to 0.500, 1 rounds)' in said, said
    assert 'two: nothing' in said, said


def test_runs_of_something_else_are_not_mixed_in(tmp_path):
    compare, now = tool('compare'), {**ABOUT, 'program': 'a'}
    path = tmp_path / 'runs.json'
    data = compare.opened(path, now)
    data['runs'].append(one_run('one', 'sallyport', 1, {}))
    compare.write(path, json.dumps(data))
    assert compare.opened(path, {**now, 'day': '2026-01-03', 'commit': 'later'}) == data
    with pytest.raises(SystemExit, match='another program, seconds'):
        compare.opened(path, {**now, 'program': 'b', 'seconds': 2})
    path.write_text('{')
    with pytest.raises(SystemExit, match='is not what compare has written'):
        compare.opened(path, now)
    other = {**ROWS[0], 'bench': ['--scenario', 'fan-in']}  # the row is another one by now
    assert compare.is_of(data['runs'][0], ROWS[0], False) and not compare.is_of(data['runs'][0], other, False)


@pytest.mark.release  # the sanitized build of the tests has no debug information about types
@pytest.mark.skipif('build-test' in BINARY.parts, reason='this build has line tables alone; the hardened one is asked')
@pytest.mark.skipif(not shutil.which('readelf'), reason='binutils are not installed')
def test_every_structure_of_the_memory_tool_is_there(capsys):
    assert tool('sizes').print_structures(BINARY), capsys.readouterr().err
