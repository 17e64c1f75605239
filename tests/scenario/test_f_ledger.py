"""kill -9 in a loop, with a ledger: nothing acknowledged is lost, QoS 2 never twice, order kept. S3.

The long run: SALLYPORT_KILLS=200 SALLYPORT_ACKED=200000 python3 -m pytest -s tests/scenario/test_f_ledger.py"""
import os
import sys

import pytest

from harness.ledger import Ledger

KILLS = int(os.environ.get('SALLYPORT_KILLS', 20))
ACKED = int(os.environ.get('SALLYPORT_ACKED', 6000))

pytestmark = pytest.mark.release


@pytest.mark.timeout(60 + KILLS * 60)
def test_nothing_acknowledged_is_lost_by_kill_9(make_fortress, sanitized):
    fortress = make_fortress(listeners=('mqtts',), settings=('segment_bytes=4MiB', 'keep_bytes=16MiB'))
    seed = int(os.environ.get('SALLYPORT_SEED', 1))
    ledger = Ledger(fortress, seed)
    wanted = ACKED // (4 if sanitized else 1)
    for kill in range(KILLS):
        ledger.round(max(1, int(2 * ledger.random.random() * wanted / KILLS)) if kill < KILLS - 1
                     else max(1, wanted - ledger.acked()))
        print(f'\r{kill + 1} kills, {ledger.acked()} acknowledged', end='', file=sys.stderr, flush=True)
    ledger.verdict()
    print(f'\n{KILLS} kills, {ledger.acked()} acknowledged, none lost', file=sys.stderr)
    assert ledger.acked() >= wanted
