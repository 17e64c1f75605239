"""npm's coap, the version of tests/node, in both roles; `tools/install-deps --test` puts it into build-test/node."""
import json
import select
import socket
import subprocess
import threading

from .coap_message import ACK, CON, NON, OBSERVE, PUT, Message, path
from .mqtt_js import MODULES, SCRIPTS
from .oscore_server import Server

SCRIPT = SCRIPTS / 'coap.js'


def tell(**how):
    """The client's story; gives its facts."""
    ran = subprocess.run(_command(tell='client', **how), capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return json.loads(ran.stdout)


def _command(**how):
    assert (MODULES / 'coap').is_dir(), "npm's coap is not installed: run tools/install-deps --test"
    return ['node', str(SCRIPT), json.dumps({'modules': str(MODULES), **how})]


class Behind(Server):
    """npm's coap server behind the OSCORE of harness/oscore_server.py, which passes each message on as it is: what is confirmable,
    separate, observed or in blocks is between that server and our client."""

    def __init__(self, directory, large):
        self._node = subprocess.Popen(_command(tell='server', large=large), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._far.connect(('127.0.0.1', int(self._node.stdout.readline())))
        self._asked = {}  # token: who asked, and with which number
        self.kinds = []   # of the answers
        self._end, self._stop = socket.socketpair()
        super().__init__(directory)
        self._back = threading.Thread(target=self._run_back, daemon=True)
        self._back.start()

    def close(self):
        self._end.send(b'x')
        self._back.join(10)
        super().close()
        for one in (self._far, self._end, self._stop):
            one.close()
        self._node.stdin.close()
        self._node.wait(10)
        self._node.stdout.close()

    def _take(self, datagram, peer):
        outer = Message.decode(datagram)
        if outer.code == 0:
            self.empty.append(outer)
            self._far.send(datagram)
        elif not any((who, mid) == (peer, outer.mid) for who, _, mid in self._asked.values()):
            super()._take(datagram, peer)

    def _serve(self, m, piv):
        self._asked[m.token] = (self.now[1], piv, m.mid)
        self._far.send(m.encode())

    def put(self, name, text):
        """From somebody else, to the server itself: whoever observes it is told."""
        self._far.send(Message(NON, PUT, 60000 + len(self.kinds), b'else', path(name), text.encode()).encode())

    def _run_back(self):
        while True:
            if self._stop in select.select([self._far, self._stop], [], [])[0]:
                return
            m = Message.decode(self._far.recv(2048))
            with self.changed:
                if m.token == b'else':
                    continue
                self.kinds.append(m.kind)
                if m.code == 0:
                    peer = next(peer for peer, _, mid in self._asked.values() if m.kind != ACK or mid == m.mid)
                    self._send(m, peer)
                    continue
                peer, piv, _ = self._asked[m.token]
                own = m.kind == CON or m.option(OBSERVE) is not None
                self._send(self._sealed(self.context, m, piv, own), peer)
