"""A CoAP device as one finds them in plants: a client of DTLS that serves its resources on that association."""
import select
import threading
import time

from . import openssl
from .coap_message import ACK, CON, EMPTY, RST, URI_PATH, URI_QUERY, Message
from .coap_peer import Peer


class Served:
    """What was asked of a device."""

    def __init__(self, m):
        self.message = m
        self.code, self.payload = m.code, m.payload
        self.path = '/' + '/'.join(value.decode() for number, value in m.options if number == URI_PATH)
        self.queries = [value.decode() for number, value in m.options if number == URI_QUERY]


class SharedPeer(Peer):
    """One that hears in a thread of its own while others speak: the library's association is for one call at a time."""

    def __init__(self, device, at=None):
        self._lock = threading.Lock()
        super().__init__(device, at)
        self._readable = select.poll()
        self._readable.register(self._dtls.socket, select.POLLIN)

    def send_bytes(self, data):
        with self._lock:
            super().send_bytes(data)

    def receive(self, timeout=10):
        end = time.monotonic() + timeout
        while self._readable.poll(max(0, end - time.monotonic()) * 1000):
            try:
                with self._lock:
                    return super().receive(0.01)
            except TimeoutError:
                pass  # what came was no message
        raise TimeoutError(f'no message within {timeout} s')


class CoapDevice:
    """serve(served) gives (code, payload, options), RST, or None: it says nothing, not even an acknowledgement.
    is_separate: acknowledge first, answer with a message of its own. at: a port to reach the server by."""

    def __init__(self, device, serve, is_separate=False, at=None):
        self.serve, self.is_separate, self.is_asleep = serve, is_separate, False
        self.asked, self._grew = [], threading.Condition()
        self.n_heard = 0  # messages, repeated ones too
        self._ends, self._wakes, self._seen = False, threading.Event(), {}
        self.peer = SharedPeer(device, at)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def show_itself(self):
        """Wakes up and says so with a ping."""
        self.is_asleep = False
        self._wakes.set()

    def _answer(self, m):
        if m.mid in self._seen:  # a repeated message is answered again and not served again
            for answer in self._seen[m.mid]:
                self.peer.send(answer)
            return
        served = Served(m)
        with self._grew:
            self.asked.append(served)
            self._grew.notify_all()
        how = self.serve(served)
        if how is None:
            return
        if how == RST:
            answers = [Message(RST, EMPTY, m.mid)]
        elif self.is_separate:
            answers = [Message(ACK, EMPTY, m.mid), Message(CON, how[0], 0x7000 + len(self.asked), m.token, how[2], how[1])]
        else:
            answers = [Message(ACK, how[0], m.mid, m.token, how[2], how[1])]
        self._seen[m.mid] = answers
        for answer in answers:
            self.peer.send(answer)

    def _run(self):
        while not self._ends:
            try:
                if self._wakes.is_set():
                    self._wakes.clear()
                    self.peer.send(Message(CON, EMPTY, 0x6fff))
                m = self.peer.receive(0.05)
            except TimeoutError:
                continue
            except openssl.Closed:
                return
            with self._grew:
                self.n_heard += 1
                self._grew.notify_all()
            if not self.is_asleep and 0 < m.code < 32:
                self._answer(m)

    def wait_asked(self, n=1, timeout=10):
        with self._grew:
            assert self._grew.wait_for(lambda: len(self.asked) >= n, timeout), f'asked {len(self.asked)} times, not {n}'
            return self.asked[n - 1]

    def wait_heard(self, n, timeout=10):
        with self._grew:
            assert self._grew.wait_for(lambda: self.n_heard >= n, timeout), f'heard {self.n_heard} messages, not {n}'

    def vanish(self):
        """Ends without a word."""
        self._ends = True
        self._thread.join()
        self.peer.vanish()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.vanish()
