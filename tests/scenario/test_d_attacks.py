"""d: each class of attack beside twenty clients that do nothing wrong: they keep their connections, lose nothing that was
acknowledged, get nothing twice, see the latest state; afterwards memory and descriptors are back.

One daemon and the same twenty for all of it. In full size, with figures: tests/bench/attacks. Which class is shown where:
tests/ATTACKS.md."""
import resource
import shutil

import pytest

from harness import attacks
from harness.siege import Siege

pytestmark = [pytest.mark.release, pytest.mark.skipif(not shutil.which('cc'), reason='no C compiler for the generator')]


@pytest.fixture(scope='module')
def siege():
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
