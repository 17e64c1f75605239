"""The simulator that the unit stage has built: a seed is all that it takes to see a failure again."""
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SIM = next((path for path in (ROOT / folder / 'tests/sim/sim' for folder in ('build-test', 'build-dev')) if path.exists()), None)
PLANTED = 'early-pubcomp'  # one of base/plant.h, which fails within six seeds

pytestmark = pytest.mark.skipif(SIM is None, reason='the simulator is not built')


def sim(*arguments):
    return subprocess.run([SIM, *arguments, '--plant', PLANTED], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)


def test_a_failing_seed_replays_exactly():
    """What is typed is what the failure says: each step, the broken rule and its words are the same, each time."""
    first = sim('--seeds', '1-6')
    assert first.returncode == 1, first.stdout + first.stderr
    seed, rule = re.search(r'^seed (\d+) breaks rule (.*)$', first.stdout, re.M).groups()
    again = re.search(r'^replay: sim (.*)$', first.stdout, re.M)[1].split()
    assert again == ['--seed', seed, '--trace']
    one, other = sim(*again), sim(*again)
    assert one.returncode == 1 and f'seed {seed} breaks rule {rule}\n' in one.stdout
    assert len(one.stdout.splitlines()) > 100 and one.stdout == other.stdout
