"""CoAP over TLS byte by byte, for what no good client does; and Debian's coap-client over it."""
import itertools
import socket
import ssl
import subprocess

from harness import coap, coap_message, websocket
from harness.coap_message import Message

CSM, PING, PONG, RELEASE, ABORT = 0xe1, 0xe2, 0xe3, 0xe4, 0xe5
MAX_MESSAGE_SIZE, BLOCK_WISE, EXTENDED_TOKEN, CUSTODY, BAD_CSM_OPTION = 2, 4, 6, 2, 2


def _length(n):
    """Len, and the extended length behind it."""
    if n < 13:
        return n, b''
    if n < 269:
        return 13, bytes([n - 13])
    return (14, (n - 269).to_bytes(2, 'big')) if n < 65805 else (15, (n - 65805).to_bytes(4, 'big'))


def encode(code, token=b'', options=(), payload=b'', framed=False):
    body = coap_message.encode_options(options) + (b'\xff' + payload if payload else b'')
    length, more = (0, b'') if framed else _length(len(body))
    return bytes([length << 4 | len(token)]) + more + bytes([code]) + token + body


def context(device):
    made = ssl.create_default_context(cafile=device.ca)
    made.load_cert_chain(device.cert, device.key)
    made.set_alpn_protocols(['coap'])
    return made


class Peer:
    """One connection. It says its CSM at once, unless told not to."""

    def __init__(self, device, port='coaps+tcp', csm=()):
        raw = socket.create_connection(('127.0.0.1', device.fortress.ports[port]), timeout=20)
        self.device, self._tokens, self._bytes = device, itertools.count(1), b''
        self.tls = context(device).wrap_socket(raw, server_hostname='localhost')
        if csm is not None:
            self.send(CSM, options=csm)

    def send_bytes(self, data):
        self.tls.sendall(data)

    def send(self, code, token=b'', options=(), payload=b''):
        self.send_bytes(encode(code, token, options, payload))

    def ask(self, method, where, payload=b'', options=()):
        """Gives the token of the request."""
        token = next(self._tokens).to_bytes(2, 'big')
        self.send(method, token, [*coap_message.path(where), *options], payload)
        return token

    def exchange(self, *what, **how):
        return self.answer_to(self.ask(*what, **how))

    def answer_to(self, token):
        """The next message, which answers this request."""
        got = self.receive()
        while got.code == CSM:
            got = self.receive()
        assert got.token == token, got
        return got

    def answers(self, n):
        """The next n messages that are answers."""
        got = []
        while len(got) < n:
            one = self.receive()
            assert one is not None, f'closed after {len(got)} of {n} answers'
            got += [one] if one.code != CSM else []
        return got

    def _fill(self, n):
        """False: the connection ended first."""
        while len(self._bytes) < n:
            try:
                more = self.tls.recv(65536)
            except (ConnectionResetError, ssl.SSLEOFError):
                more = b''
            if not more:
                return False
            self._bytes += more
        return True

    def receive(self):
        """The next message; None when the server closed."""
        if not self._fill(2):
            assert not self._bytes
            return None
        length, n_token = self._bytes[0] >> 4, self._bytes[0] & 15
        more = {13: 1, 14: 2, 15: 4}.get(length, 0)
        base = {13: 13, 14: 269, 15: 65805}.get(length, length)
        assert self._fill(2 + more)
        body = base + int.from_bytes(self._bytes[1:1 + more], 'big')
        at = 2 + more
        assert self._fill(at + n_token + body)
        code, token = self._bytes[1 + more], self._bytes[at:at + n_token]
        options, payload = coap_message.decode_options(self._bytes[at + n_token:at + n_token + body])
        self._bytes = self._bytes[at + n_token + body:]
        return Message(code=code, token=token, options=options, payload=payload)

    def rest(self):
        """All that comes before the server closes."""
        out = []
        while (got := self.receive()) is not None:
            out.append(got)
        return out

    def aborted(self):
        """The Abort that ends it."""
        last = self.rest()[-1]
        assert last.code == ABORT, last
        return last

    def close(self):
        self.tls.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class WebSocketPeer(Peer):
    """The same in WebSocket frames: one message in each, with a Len of 0. `split`: frames of so many bytes."""

    def __init__(self, device, csm=(), request=None, split=None):
        raw = socket.create_connection(('127.0.0.1', device.fortress.ports['coaps+ws']), timeout=20)
        made = context(device)
        made.set_alpn_protocols(['http/1.1'])
        self.device, self._tokens, self._bytes, self.split = device, itertools.count(1), b'', split
        self.tls = made.wrap_socket(raw, server_hostname='localhost')
        asked = websocket.request('/.well-known/coap', Sec_WebSocket_Protocol='coap') if request is None else request
        self.tls.sendall(asked)
        answer = b''
        while b'\r\n\r\n' not in answer:
            more = self.tls.recv(65536)
            assert more, answer
            answer += more
        self.answer, _, rest = answer.partition(b'\r\n\r\n')
        self.frames = websocket.Framed(self.tls, rest)
        if csm is not None and request is None:
            self.send(CSM, options=csm)

    def send(self, code, token=b'', options=(), payload=b''):
        data = encode(code, token, options, payload, framed=True)
        size = self.split or len(data)
        pieces = [data[at:at + size] for at in range(0, len(data), size)]
        self.tls.sendall(b''.join(
            websocket.frame(piece, websocket.CONTINUATION if i else websocket.BINARY, fin=i == len(pieces) - 1)
            for i, piece in enumerate(pieces)))

    def receive(self):
        try:
            data = self.frames.recv(0)
        except (ConnectionResetError, ssl.SSLEOFError):
            data = b''
        if not data:
            return None
        assert data[0] >> 4 == 0, data
        n_token = data[0] & 15
        options, payload = coap_message.decode_options(data[2 + n_token:])
        return Message(code=data[1], token=data[2:2 + n_token], options=options, payload=payload)


def run_client(build, device, method, path, payload=None, more=(), wait_s=10):
    """Debian's client with the device's certificate."""
    extra = ['-e', payload] if payload is not None else []
    where = f'coaps+tcp://127.0.0.1:{device.fortress.ports["coaps+tcp"]}/{path.lstrip("/")}'
    run = subprocess.run([*coap.command(build, device, auth='x509'), '-m', method, '-B', str(wait_s), *extra, *more, where],
                         capture_output=True, text=True, errors='replace', stdin=subprocess.DEVNULL, timeout=wait_s + 20,
                         check=False)
    return coap.Answer(run.stdout + run.stderr, run.returncode)
