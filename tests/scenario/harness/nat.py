"""A UDP NAT: datagrams of one client go out from a port of ours, which may become another one."""
import select
import socket
import threading


class Nat:
    def __init__(self, port, seen=None):
        """seen: where datagrams are noted, as (the server's, bytes)."""
        self._seen = seen if seen is not None else []
        self._inside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._inside.bind(('127.0.0.1', 0))
        self.port = self._inside.getsockname()[1]
        self._server, self._client, self._ends = ('127.0.0.1', port), None, False
        self._outside = self._new_outside()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _new_outside(self):
        outside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        outside.connect(self._server)
        return outside

    def move(self):
        """From now on the client is at another port; what goes to the old one is lost."""
        old, self._outside = self._outside, self._new_outside()
        self._old = old  # stays open: its port is nobody else's

    def repeat(self, data):
        """Once more to the server, from where the client is: as somebody who has recorded it can."""
        self._outside.send(data)

    def _run(self):
        while not self._ends:
            outside = self._outside
            ready, _, _ = select.select([self._inside, outside], [], [], 0.05)
            try:
                if self._inside in ready:
                    data, self._client = self._inside.recvfrom(4096)
                    self._seen.append((False, data))
                    outside.send(data)
                if outside in ready and self._client:
                    data = outside.recv(4096)
                    self._seen.append((True, data))
                    self._inside.sendto(data, self._client)
            except OSError:
                continue

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._ends = True
        self._thread.join()
