"""Devices that are asked by the server: one that speaks OSCORE, with keys and bytes of harness/oscore.py alone, and one that has
connected by CoAP over TCP or WebSocket."""
import collections
import queue
import socket
import threading

from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from . import oscore
from .coap_device import Served
from .coap_message import ACK, CON, EMPTY, GET, OSCORE, RST, Message, decode_options, encode_options

CHANGED = 0x44


class Client(oscore.Client):
    """Puts by what the server asks, while it waits for answers itself."""

    def __init__(self, device, **how):
        self.commands = collections.deque()
        super().__init__(device, **how)

    def receive_raw(self, timeout):
        while (datagram := super().receive_raw(timeout)) and 0 < datagram[1] < 32:
            self.commands.append(datagram)
        return datagram


def open_request(context, outer):
    """The request inside, and what its answer is bound to."""
    value = outer.option(OSCORE)
    n = value[0] & 7
    assert value[0] & 8 and n and not value[0] & 16, 'kid and Partial IV'
    piv, kid = value[1:1 + n], value[1 + n:]
    assert kid == context.recipient
    plain = AESCCM(context.recipient_key, tag_length=8).decrypt(context.nonce(kid, piv), outer.payload, context.aad(kid, piv))
    options, payload = decode_options(plain[1:])
    return Message(outer.kind, plain[0], outer.mid, outer.token, options, payload), (kid, piv)


def protect_answer(context, message, bound):
    """Under the nonce of the request."""
    plain = bytes([message.code]) + encode_options(message.options) + (b'\xff' + message.payload if message.payload else b'')
    sealed = AESCCM(context.sender_key, tag_length=8).encrypt(context.nonce(*bound), plain, context.aad(*bound))
    return Message(message.kind, CHANGED, message.mid, message.token, [(OSCORE, b'')], sealed)


class Asked:
    """serve(served) gives (code, payload, options), RST, or None: it says nothing."""

    def __init__(self, serve):
        self.serve, self.asked, self._grew, self._ends = serve, [], threading.Condition(), False
        self.failures = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _note(self, served):
        with self._grew:
            self.asked.append(served)
            self._grew.notify_all()

    def wait_asked(self, n=1, timeout=20):
        with self._grew:
            assert self._grew.wait_for(lambda: len(self.asked) >= n, timeout), f'asked {len(self.asked)} times, not {n}'
            return self.asked[n - 1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.vanish()
        assert not self.failures, self.failures


class OscoreDevice(Asked):
    """client: of an earlier life, with its numbers; n_lost: so many datagrams do not reach it."""

    def __init__(self, device, serve, is_separate=False, client=None, n_lost=0):
        self.client, self.is_separate, self.is_asleep = client or Client(device), is_separate, False
        self.n_lost, self.n_heard, self.sent, self._seen = n_lost, 0, [], {}
        self.state, self._jobs = f'mq/state/{device.name}/none', queue.Queue()
        self._show_itself()
        super().__init__(serve)

    def _show_itself(self):
        assert self.client.request(GET, self.state).code in ('4.04', '4.03')

    def _do(self, job):
        """Only its thread touches its socket."""
        done = threading.Event()
        self._jobs.put((job, done))
        assert done.wait(30), self.failures

    def show_itself(self):
        """Proves its address when it has to, and is heard."""
        self._do(self._show_itself)

    def rebind(self):
        self._do(self.client.rebind)

    def _send(self, message):
        self.sent.append(message.encode())
        self.client.send_raw(self.sent[-1])

    def _take(self, datagram):
        outer = Message.decode(datagram)
        self.n_heard += 1
        if self.is_asleep:
            return
        if self.n_lost:
            self.n_lost -= 1
            self._seen[outer.token] = datagram, None
            return
        first, answers = self._seen.get(outer.token, (datagram, None))
        assert first == datagram, 'what is sent again is something else'
        if answers is None:
            inner, bound = open_request(self.client.context, outer)
            assert bound[1] not in self.client.numbers, 'the server used a number twice'
            self.client.numbers.add(bound[1])
            answers = self._answer(inner, bound)
            self._seen[outer.token] = datagram, answers
        for answer in answers:
            self._send(answer)

    def _answer(self, inner, bound):
        self._note(served := Served(inner))
        how = self.serve(served)
        if how is None:
            return []
        if how == RST:
            return [Message(RST, EMPTY, inner.mid)]
        kind, mid = (CON, 0x7000 + len(self.asked)) if self.is_separate else (ACK, inner.mid)
        sealed = protect_answer(self.client.context, Message(kind, how[0], mid, inner.token, how[2], how[1]), bound)
        return [Message(ACK, EMPTY, inner.mid), sealed] if self.is_separate else [sealed]

    def _run(self):
        while not self._ends:
            try:
                while not self._jobs.empty():
                    job, done = self._jobs.get()
                    job()
                    done.set()
                self.client.receive_raw(0.02)
                while self.client.commands:
                    self._take(self.client.commands.popleft())
            except Exception as error:  # told at the end
                self.failures.append(repr(error))

    def vanish(self):
        self._ends = True
        self._thread.join()
        self.client.close()


class StreamDevice(Asked):
    """peer: of harness/coap_tcp.py, over TCP or WebSocket."""

    def __init__(self, peer, serve):
        self.peer = peer
        super().__init__(serve)

    def _run(self):
        try:
            while (m := self.peer.receive()) is not None:
                if 0 < m.code < 32:
                    self._note(served := Served(m))
                    if (how := self.serve(served)) is not None:
                        self.peer.send(how[0], m.token, how[2], how[1])
        except (OSError, ValueError, AssertionError) as error:
            if not self._ends:
                self.failures.append(repr(error))

    def vanish(self):
        self._ends = True
        try:
            self.peer.tls.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._thread.join()
        self.peer.close()
