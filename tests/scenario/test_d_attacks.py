"""d: each class of attack beside twenty clients that do nothing wrong: they keep their connections, lose nothing that was
acknowledged, get nothing twice, see the latest state; afterwards memory and descriptors are back.

One daemon and the same twenty for all of it. In full size, with figures: tests/bench/attacks. Which class of attack is shown
where: tests/ATTACKS.md."""
import re
import resource
import shutil

import pytest

from harness import attacks, wire
from harness.fortress import ROOT
from harness.siege import Siege
from harness.wire import CONNACK, PINGREQ, PINGRESP, PUBACK, PUBLISH, SUBACK, Wire

pytestmark = pytest.mark.release


@pytest.fixture(scope='module')
def siege():
    if not shutil.which('cc'):
        pytest.skip('no C compiler for the generator of connections')
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with Siege() as one:
        one.at_rest = one.quiet()
        yield one


@pytest.mark.parametrize('name', attacks.ATTACKS)
def test_bystanders_are_unharmed_by(siege, name):
    row = siege.attack(name, attacks.ATTACKS[name][1], siege.at_rest)
    # How long turns take depends on what else the machine does: told here, held against the quiet time by tests/bench/attacks.
    print(f'\n{name}: {row.size}: {row.answer}; turn p99 {row.turn_quiet * 1e3:.2f} -> {row.turn * 1e3:.2f} ms, '
          f'acknowledgements {row.ack_quiet * 1e3:.1f} -> {row.ack * 1e3:.1f} ms')


SETTING = re.compile(r'\{"(\w+)", SETTING_(\w+), ([^,]+), ([^,]+),')


NAMES = {'MIB': 1 << 20, 'DAY_S': 86400, 'AGE_MAX_S': 3650 * 86400, 'REGISTRATION_DEFAULT_S': 90000}


def value(kind, text):
    """Of the table of settings, as sallyport.yaml takes it."""
    number = eval(re.sub(r'UINT64_C\((\d+)\)', r'\1', text), NAMES)  # noqa: S307: of our own source
    if kind == 'RATE':
        return f'{number}/s'
    return f'{number >> 20}MiB' if kind in ('BYTES', 'AUTO', 'SHARE') and number >> 20 else str(number)


@pytest.mark.parametrize('end', ['least', 'most'])
def test_legal_extremes_with_traffic(make_fortress, end):
    """Every setting at its end at once: nothing divides by zero, overflows or ends the server."""
    tables = (ROOT / 'src/service/directory/settings.c').read_text().split('role_setting_table[]')
    settings, limits = ([(name, value(kind, least if end == 'least' else most))
                         for name, kind, least, most in SETTING.findall(table)] for table in tables[:2])
    assert len(settings) > 20 and len(limits) > 10
    # Segments of the most would take gigabytes of the disk that the tests share.
    one = make_fortress(settings=[f'{name}={it}' for name, it in settings if name != 'segment_bytes'], policy=None)
    one.apply('version: 1\nroles: { any: { publish: [ { topic: t, retain: yes } ], subscribe: [ t ], limits: { '
              + ', '.join(f'{name}: {it}' for name, it in limits) + ' } } }')
    device = one.add('any', credentials=('x509',))
    pids = one.processes()
    with Wire(one, device) as client:
        assert client.send(wire.connect(device.name)).expect(CONNACK).reason == 0
        granted = client.send(wire.subscribe(1, ('t', 1))).expect(SUBACK).reason
        assert granted == (0x97 if end == 'least' else 1)
        others = []
        for retain in (False, True):
            reason = client.send(wire.publish('t', 'x', 1, 1, retain=retain)).expect_among(PUBACK, others.append).reason
            assert reason in ((0, 0x10) if end == 'most' or not retain else (0x97,)), reason
        client.send(wire.packet(PINGREQ)).expect_among(PINGRESP, others.append)
        assert all(it.kind == PUBLISH for it in others)
        assert len(others) == (2 if end == 'most' else 0)
    assert one.processes() == pids


NAMED = re.compile(r'`([\w./-]+\.(?:py|c|h|md))(?:: ([\w, ]+))?`')


def test_the_page_of_classes_names_what_is_there():
    """tests/ATTACKS.md: each file is there, and has the tests that are named."""
    rows = NAMED.findall((ROOT / 'tests/ATTACKS.md').read_text())
    assert len(rows) > 40
    for path, names in rows:
        found = ROOT / path
        assert found.exists(), path
        text = found.read_text()
        for name in filter(None, re.split(r', ', names)):
            assert re.search(rf'\b{name}\b', text), f'{path} has no {name}'
