"""An attack beside bystanders, measured: what the server answered, what it cost those who did nothing, and whether it is over."""
from harness import attacks, bystanders
from harness.bystanders import Bystanders, Footprint
from harness.fortress import Fortress, is_sanitized
from harness.usage import Interval

POLICY = f'version: 1\nroles:{bystanders.ROLE.rstrip()}{attacks.ROLES}'
ROUNDS = 20  # acknowledgements for each speaker that a quiet time is measured by


class Row:
    """Of one attack; times in seconds."""

    def __init__(self, name, size):
        self.name, self.size, self.answer = name, size, ''
        self.ack_quiet = self.ack = self.turn_quiet = self.turn = self.longest = 0.0
        self.ran = self.waited = 0.0  # of the broker's threads: on a processor, and ready for one
        self.footprint = None

    @property
    def turn_ratio(self):
        return self.turn / self.turn_quiet if self.turn_quiet else 0.0


class Siege:
    """One fortress, attackers and bystanders, for one attack after the other."""

    def __init__(self, settings=()):
        self.fortress = Fortress(settings=(*attacks.SETTINGS, *settings), policy=None)
        try:
            self.fortress.apply(POLICY)
            self.ground = attacks.Ground(self.fortress)
            self.bystanders = Bystanders(self.fortress)
        except BaseException:
            self.fortress.close()
            raise
        # Freed memory stays with the sanitizer's quarantine for a while.
        self.memory = not is_sanitized(self.fortress.binary)

    def __enter__(self):
        self.bystanders.__enter__()
        return self

    def __exit__(self, kind, value, trace):
        try:
            self.bystanders.__exit__(kind, value, trace)
        finally:
            self.fortress.close()

    def _measured(self, act):
        mark, interval = self.bystanders.mark(), Interval(self.fortress)
        got = act()
        return got, interval.end(), self.bystanders.p99_since(mark)

    def quiet(self):
        """p99 of turns and of acknowledgements while nobody attacks."""
        _, interval, acknowledged = self._measured(lambda: self.bystanders.rounds(ROUNDS))
        return interval.worst(), acknowledged

    def attack(self, name, size, quiet, is_measured=True):
        """One attack; everything that must hold is asserted, what depends on the machine is in the row. Not measured: whether
        memory and descriptors are back is not asked."""
        row = Row(name, size)
        row.turn_quiet, row.ack_quiet = quiet
        self.bystanders.alone()  # who just left the attack before is not part of what must come back
        row.footprint = Footprint(self.fortress, self.memory)
        row.answer, interval, row.ack = self._measured(lambda: attacks.ATTACKS[name][0](self.ground, size))
        row.turn, row.longest, row.ran, row.waited = interval.worst(), interval.worst(1), interval.ran, interval.waited
        self.bystanders.check(name)
        if is_measured:
            row.footprint.is_back(name)
        return row
