"""Bounded waiting. No test sleeps: each waits for something that it can name, and fails saying what did not come."""
import select
import time


def wait_until(what, condition, timeout=30.0, pause=0.02):
    """Calls condition() until it gives something true, and gives that back. `what` names it in the failure."""
    end = time.monotonic() + timeout
    while True:
        got = condition()
        if got:
            return got
        if time.monotonic() > end:
            raise AssertionError(f'waited {timeout:g} s in vain for {what}')
        select.select([], [], [], pause)
