"""DTLS for a CoAP client that has none: its datagrams go to our daemon through one association, and the answers back. Message ids,
tokens, acknowledgements and retransmissions are all its own."""
import select
import socket
import threading

from . import openssl


class Forwarder:
    def __init__(self, device):
        self._dtls = openssl.Dtls(openssl.library(), device.fortress, device)
        self._dtls.wait_at_most(0.001)
        self._near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._near.bind(('127.0.0.1', 0))
        self.port = self._near.getsockname()[1]
        self._end, self._stop = socket.socketpair()
        self._client = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while True:
            ready = select.select([self._near, self._dtls.socket, self._stop], [], [])[0]
            if self._stop in ready:
                return
            if self._near in ready:
                datagram, self._client = self._near.recvfrom(2048)
                self._dtls.send(datagram)
            if self._dtls.socket in ready:
                while (plain := self._dtls.receive()) is not None:
                    self._near.sendto(plain, self._client)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._end.send(b'x')
        self._thread.join(10)
        self._dtls.shut_down()
        self._dtls.close()
        for one in (self._near, self._end, self._stop):
            one.close()
