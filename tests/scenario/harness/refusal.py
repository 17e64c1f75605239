"""What every refusal owes: one event of the right category about this peer, and a log line with the safe fix."""
import datetime
import re

from harness.fortress import WEAKENING, times
from harness.wait import wait_until

# Categories that say that something went wrong; a refusal shows exactly one of them.
REFUSALS = {'tls_reject', 'auth_fail', 'auth_bruteforce', 'identity_mismatch', 'acl_deny', 'revoked', 'malformed',
            'protocol_error', 'utf8', 'quota', 'rate', 'flood', 'slow_client', 'amplification', 'replay', 'probe'}


def _name(event):
    return tuple(event[key] for key in ('time', 'category', 'peer', 'principal', 'reason'))


class Watch:
    """Remembers where log and events stood; `expect` then looks at what one connection caused."""

    def __init__(self, fortress):
        self.fortress = fortress
        self.since = len(fortress.log)
        # A port is used again sooner or later: what it did before is another story, also when repeats are folded into its line later.
        self.before = {_name(event) for event in fortress.events()}
        self.began = datetime.datetime.now(datetime.timezone.utc).strftime('%Y-%m-%dT%H:%M:%S.%f')[:-3] + 'Z'

    def expect(self, category, peer=None, principal=None, fix=None, **fields):
        """Exactly one refusal about this peer (address:port) or principal: of this category, and a log line with it.

        `fix` is a pattern for what the reader of the log is told to do."""
        def about(event):
            if peer is not None:
                return event['peer'] == peer
            return event['principal'] == principal

        def refusals():
            return [event for event in self.fortress.events()
                    if event['category'] in REFUSALS and about(event) and _name(event) not in self.before
                    and event['time'] >= self.began]

        wait_until(f'event {category} about {peer or principal}',
                   lambda: any(event['category'] == category for event in refusals()), pause=0.1)
        self._settle()
        got = refusals()
        assert [(event['category'], times(event)) for event in got] == [(category, 1)], got
        event = got[0]
        for key, want in fields.items():
            assert want.search(event[key]) if isinstance(want, re.Pattern) else event[key] == want, (key, want, event)
        if peer is not None and principal is not None:
            assert event['principal'] == principal, event
        wanted = fix or r'\w'
        line = self.fortress.wait_log(rf'(?i)({re.escape(peer or principal)}.*({wanted})|({wanted}).*'
                                      rf'{re.escape(peer or principal)})', self.since)
        assert not WEAKENING.search(line), f'the log suggests a weakening: {line}'
        return event

    def _settle(self):
        """A later event of our own is visible: what came before it is, too, and repeats have been folded."""
        mark = self.fortress.add('sensor', credentials=('password',)).name
        self.fortress.wait_event('device_change', about=mark)
