"""CoAP over DTLS, message by message: a client that may do what no library lets it do."""
import itertools
import types

from . import openssl
from .coap_message import ACK, CON, EMPTY, RST, Message, path


class Peer:
    """One association of a device, by its pre-shared key unless told otherwise. Nothing here checks what it sends."""

    def __init__(self, device, at=None, **how):
        """at: another port than the listener's, behind which it is. how: as openssl.Dtls has it."""
        self._mids, self._tokens = itertools.count(1000), itertools.count(1)
        to = device.fortress if at is None else types.SimpleNamespace(ports={'coaps': at})
        self._dtls = openssl.Dtls(openssl.library(), to, device, **how)

    def is_resumed(self):
        return self._dtls.is_resumed()

    def take_ticket(self):
        return self._dtls.take_ticket()

    def send_bytes(self, data):
        """One datagram."""
        self._dtls.send(data)

    def send(self, m):
        self.send_bytes(m.encode())
        return m

    def receive(self, timeout=10):
        """The next message. TimeoutError when none comes, openssl.Closed when the association has ended."""
        self._dtls.wait_at_most(timeout)
        data = self._dtls.receive()
        if data is None:
            raise TimeoutError(f'no message within {timeout} s')
        return Message.decode(data)

    def make(self, method, where, payload=b'', options=(), kind=CON, token=None):
        """A request; where: a path, or the options that say it."""
        token = next(self._tokens).to_bytes(2, 'big') if token is None else token
        where = path(where) if isinstance(where, str) else where
        return Message(kind, method, next(self._mids) & 0xffff, token, [*where, *options], payload)

    def exchange(self, *what, **how):
        """Sends a request and gives the very next message, whatever it is."""
        self.send(self.make(*what, **how))
        return self.receive()

    def ask(self, *what, **how):
        """Sends a request and gives its answer; what else comes before it is thrown away."""
        m = self.send(self.make(*what, **how))
        while True:
            got = self.receive()
            if got.token == m.token and (got.kind != ACK or got.mid == m.mid) and got.code:
                if got.kind == CON:
                    self.acknowledge(got)
                return got

    def acknowledge(self, m, kind=ACK):
        self.send(Message(kind, EMPTY, m.mid))

    def is_alive(self):
        """A ping is answered."""
        self.send(Message(CON, EMPTY, next(self._mids) & 0xffff))
        try:
            return self.receive().kind == RST
        except (TimeoutError, openssl.Closed):
            return False

    def vanish(self):
        """Ends without a word to the server."""
        self._dtls.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._dtls.shut_down()
        self._dtls.close()
