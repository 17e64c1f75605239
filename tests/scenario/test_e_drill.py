"""e: the drill. The certificates of a whole fleet end in one moment, and it comes back by itself: paced, with everything but
renewal closed meanwhile, and nobody else feels it. DRILL=20000 runs it in full (tests/bench/drill gives the figures)."""
import os

import pytest

from harness.drill import Drill
from harness.fortress import metrics
from harness.innocents import percentile

N = int(os.environ.get('DRILL', '160'))
RATE = 40 if N <= 1000 else 200
BURST_S = 2


@pytest.mark.timeout(120 + N // 10)
def test_a_fleet_comes_back():
    drill = Drill(N, RATE)
    try:
        drill.end_all()
        took, quiet, meanwhile = drill.run(threads=24)
        counts = drill.per_second()
        print(f'\n{N} back in {took:.1f} s, at most {max(counts)} in a second, {sum(m.n_waits for m in drill.meters)} times told to wait; '
              f'innocents: quiet p99 {percentile(quiet, .99) * 1000:.1f} ms, meanwhile {percentile(meanwhile, .99) * 1000:.1f} ms')
        # shaped: what may begin at once, and then the rate
        for second, _ in enumerate(counts):
            assert sum(counts[:second + 1]) <= RATE * (BURST_S + second + 2), counts
        assert took >= (N - RATE * BURST_S) / RATE - 1, 'nobody came in beside the pace'
        assert drill.n_closed >= N // 10, 'telemetry was refused in the lane'
        done = metrics(drill.fortress)
        assert done['renewals_total{result="ok"}'] >= N and done['renewals_total{result="refused"}'] == 0
        # the others: a bound that holds on a machine that is loaded three times over
        assert percentile(meanwhile, .99) < max(0.5, 5 * percentile(quiet, .99))
    finally:
        drill.close()
