"""Scenario tests: the real daemon, real clients. SALLYPORT_BIN names the binary; without it, build/sallyport.

A failing test shows the end of the daemon's log. `release` marks what also runs on the hardened, sandboxed build."""
import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from harness import fortress as harness_fortress  # noqa: E402
from harness.clock import Clock  # noqa: E402
from harness.fortress import BINARY, Fortress  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line('markers', 'release: runs on the hardened, sandboxed build as well')
    config.addinivalue_line('markers', 'timeout: seconds after which the test is stopped')


# Files that take 25 seconds and more, and so begin first: several files run at once, and none of these is to be left alone at
# the end. Another order is as right.
LONG = ('test_f_faults', 'test_g_conformance', 'test_e_signer', 'test_c_security', 'test_m_export', 'test_a_tools', 'test_b_reload',
        'test_d_rejects', 'test_d_floods', 'test_a_websocket', 'test_b_mqtt31', 'test_e_agent', 'test_m_doctor', 'test_d_attacks',
        'test_m_scribe', 'test_c_tokens', 'test_c_mistakes', 'test_m_detect', 'test_b_devices', 'test_b_commands', 'test_e_authority',
        'test_m_respond', 'test_d_poison', 'test_d_memory', 'test_b_bench')


def pytest_collection_modifyitems(config, items):
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))
    for item in items:
        if not item.get_closest_marker('timeout'):
            item.add_marker(pytest.mark.timeout(120))
        if not BINARY.exists():
            item.add_marker(pytest.mark.skip(reason=f'{BINARY} is not built'))


@pytest.fixture(scope='module')
def fortress():
    """One running fortress for the tests of a file, under tests/scenario/policy.yaml."""
    one = Fortress()
    yield one
    one.close()


@pytest.fixture
def make_fortress():
    """Makes fortresses of a test's own: make_fortress(listeners=…, settings=…, start=…)."""
    made = []

    def make(**how):
        one = Fortress(**how)
        made.append(one)
        return one
    yield make
    for one in made:
        one.close()


@pytest.fixture
def clock():
    """Of a daemon whose wall clock the test moves: make_fortress(binary=clock.binary)."""
    one = Clock()
    yield one
    one.close()


@pytest.fixture
def opened():
    """opened(one) gives it back, and closes it whatever becomes of the test. For who opens many: a thousand sockets that a failure
    leaves open are more than select() takes, in every test behind it."""
    with contextlib.ExitStack() as stack:
        def keep(one):
            stack.callback(one.close)
            return one
        yield keep


@pytest.fixture(scope='session')
def stranger(tmp_path_factory):
    """The certificate of a CA that is not ours."""
    folder = tmp_path_factory.mktemp('stranger')
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
                    '-subj', '/CN=another CA', '-keyout', str(folder / 'key.pem'), '-out', str(folder / 'ca.pem')], check=True,
                   capture_output=True)
    return str(folder / 'ca.pem')


@pytest.fixture(scope='session')
def sanitized():
    return harness_fortress.is_sanitized()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == 'call' and report.failed:
        for value in item.funcargs.values():
            if isinstance(value, Fortress):
                report.sections.append(('log of the daemon', '\n'.join(value.log[-60:])))
