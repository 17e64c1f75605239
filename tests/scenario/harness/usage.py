"""What a daemon uses: descriptors, memory, and the time of its workers' turns between two looks."""
import os
import re
import resource
from pathlib import Path

from harness.fortress import metrics

BUCKET = re.compile(r'worker_turn_seconds_bucket\{worker="(\d+)",le="([^"]+)"\}')


def n_files(fortress):
    """Descriptors of all processes of the daemon."""
    return sum(len(os.listdir(f'/proc/{pid}/fd')) for pid in fortress.processes())


def resident_bytes(fortress):
    pages = sum(int(Path(f'/proc/{pid}/statm').read_text().split()[1]) for pid in fortress.processes())
    return pages * resource.getpagesize()


def turns(numbers):
    """{worker: {bound in seconds: turns up to it}} of what `metrics` gave."""
    found = {}
    for name, value in numbers.items():
        hit = BUCKET.fullmatch(name)
        if hit:
            found.setdefault(int(hit.group(1)), {})[float(hit.group(2))] = int(value)
    return found


def quantile(before, after, share):
    """Of one worker's turns between two readings, in seconds: within its bucket as if evenly spread. 0.0: there was no turn."""
    counts = [(bound, after[bound] - before[bound]) for bound in sorted(after)]
    wanted, low, below = counts[-1][1] * share, 0.0, 0
    for bound, n in counts:
        if n >= wanted and n > below:
            return low if bound == float('inf') else low + (bound - low) * (wanted - below) / (n - below)
        low, below = bound, n
    return 0.0


def scheduled(fortress):
    """(seconds that the broker's threads ran, seconds that they were ready and something else ran)."""
    ran = waited = 0
    for task in Path(f'/proc/{fortress.processes()[1]}/task').iterdir():
        numbers = (task / 'schedstat').read_text().split()
        ran, waited = ran + int(numbers[0]), waited + int(numbers[1])
    return ran / 1e9, waited / 1e9


class Interval:
    """The turns from when it was made to `end`."""

    def __init__(self, fortress):
        self.fortress, self.before, self.after = fortress, turns(metrics(fortress)), None
        self._scheduled = scheduled(fortress)
        self.ran = self.waited = 0.0

    def end(self):
        self.after = turns(metrics(self.fortress))
        self.ran, self.waited = (now - then for now, then in zip(scheduled(self.fortress), self._scheduled))
        return self

    def worst(self, share=.99):
        """Of the worker for which it is largest, in seconds."""
        return max(quantile(self.before[worker], self.after[worker], share) for worker in self.before)
