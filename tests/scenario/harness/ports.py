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


def free_ports(names):
    """One port for each name, free for TCP and UDP, and claimed by this process."""
    ports = {}
    for name in names:
        while name not in ports:
            port = random.randrange(FIRST, LAST)
            lock = _claim(port)
            if lock is None:
                continue
            if not _is_free(port):
                lock.close()
                continue
            ports[name] = port
            _claims.append(lock)
            if len(_claims) > KEPT:
                _claims.popleft().close()
    return ports
