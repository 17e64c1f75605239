"""A CoAP server over plain UDP that answers what a test tells it to, and a NAT before one: what stands behind a proxy."""
import socket
import threading

from .coap_message import ACK, CON, RST, Message


class Upstream:
    """answer: gets the request, gives a Message's code, options, payload; None: it says nothing."""

    def __init__(self, answer):
        self.answer, self.seen = answer, []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(('127.0.0.1', 0))
        self.port = self.socket.getsockname()[1]
        self._done = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while True:
            data, address = self.socket.recvfrom(2048)
            if self._done:
                return
            m = Message.decode(data)
            if m.kind in (ACK, RST):
                self.seen.append((m, address))
                continue
            self.seen.append((m, address))
            said = self.answer(m, address)
            if said is not None:
                code, options, payload = said
                kind = ACK if m.kind == CON else m.kind
                self.socket.sendto(Message(kind, code, m.mid, m.token, options, payload).encode(), address)

    @property
    def requests(self):
        return [m for m, _ in self.seen if m.kind not in (ACK, RST)]

    def send(self, m, address):
        self.socket.sendto(m.encode(), address)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._done = True
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b'', ('127.0.0.1', self.port))
        self._thread.join(10)
        self.socket.close()


class Nat:
    """Datagrams to one server and back; `rebind` gives the other side another port, as a NAT does that has forgotten."""

    def __init__(self, port):
        self.server = ('127.0.0.1', port)
        self.near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.near.bind(('127.0.0.1', 0))
        self.port = self.near.getsockname()[1]
        self.client, self.far, self.seen_ports = None, None, []
        self._far_closed = []
        self._done = False
        self.rebind()
        self._thread = threading.Thread(target=self._inward, daemon=True)
        self._thread.start()

    def rebind(self):
        old, far = self.far, socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        far.bind(('127.0.0.1', 0))
        self.seen_ports.append(far.getsockname()[1])
        self.far = far
        if old is not None:
            self._far_closed.append(old)
        threading.Thread(target=self._outward, args=(far,), daemon=True).start()

    def _inward(self):
        while True:
            data, self.client = self.near.recvfrom(2048)
            if self._done:
                return
            self.far.sendto(data, self.server)

    def _outward(self, far):
        while True:
            data, _ = far.recvfrom(2048)
            if self._done:
                return
            self.near.sendto(data, self.client)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._done = True
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b'', ('127.0.0.1', self.port))
        self._thread.join(10)
        self.near.close()
