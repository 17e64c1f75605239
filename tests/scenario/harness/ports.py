"""Ports for the servers of a test. They are outside the range from which the kernel gives ports to clients, and a port that
one test process has is no other's, so several can run at once."""
import collections
import random
import socket

FIRST, LAST = 10000, 32000
KEPT = 200  # claims held at a time; the oldest server of that many has long ended

_claims = collections.deque()


def _claim(port):
    """An address of the abstract namespace as a lock: it ends with the process. None: somebody else has it."""
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        lock.bind(f'\0sallyport-test-port-{port}')
    except OSError:
        lock.close()
        return None
    return lock


def _is_free(port):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as one:
            try:
                one.bind(('127.0.0.1', port))
            except OSError:
                return False
    return True


def _take(port):
    """Claims it when it is free for TCP and UDP."""
    lock = _claim(port)
    if lock is None:
        return False
    if not _is_free(port):
        lock.close()
        return False
    _claims.append(lock)
    if len(_claims) > KEPT:
        _claims.popleft().close()
    return True


def free_port(n=1):
    """The first of n ports in a row, free for TCP and UDP, and claimed by this process."""
    while True:
        first = random.randrange(FIRST, LAST)
        if all(_take(first + i) for i in range(n)):
            return first


def free_ports(names):
    """One port for each name."""
    return {name: free_port() for name in names}
