"""An OSCORE server of our own (RFC 8613) over plain UDP, for our client: with cbor2 and cryptography alone, as harness/oscore.py.
It derives contexts anew (Appendix B.2), wants an Echo from each new address, serves resources in blocks, lets them be observed, and
keeps account of every nonce that it sees: one that seals two texts is a failure of whoever used it."""
import json
import secrets
import socket
import threading

import cbor2
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from .coap_message import (ACK, BLOCK1, BLOCK2, CON, DELETE, ECHO, FETCH, GET, IPATCH, NON, OBSERVE, OSCORE, PATCH, POST, PUT, RST,
                           URI_PATH, Message, block, decode_options, encode_options)
from .oscore import Context, shortest

CREATED, DELETED, CHANGED, CONTENT, CONTINUE = 65, 66, 68, 69, 95
UNAUTHORIZED, NOT_FOUND = 129, 132


class Bundle:
    """A directory as `device add --credential oscore` makes it, for this server."""

    def __init__(self, directory, port):
        self.path = directory
        directory.mkdir()
        self.secret, self.salt, self.kid = secrets.token_bytes(16), secrets.token_bytes(8), secrets.token_bytes(2)
        (directory / 'bundle.json').write_text(json.dumps({'device': 'peer-1', 'host': '127.0.0.1', 'ports': {'coap': port}}))
        given = {'version': 1, 'algorithm': 'AES-CCM-16-64-128', 'hkdf': 'HKDF-SHA-256', 'window': 32,
                 'master_secret': self.secret.hex(), 'master_salt': self.salt.hex(), 'sender_id': self.kid.hex(), 'recipient_id': '00'}
        self.file = directory / 'oscore.json'
        self.file.write_text(json.dumps(given))
        self.file.chmod(0o600)
        self.state = directory / 'oscore.state'


class Server:
    def __init__(self, directory):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(('127.0.0.1', 0))
        self.port = self.socket.getsockname()[1]
        self.bundle = Bundle(directory, self.port)
        self.resources, self.observers, self.bodies = {}, {}, {}
        self.renews, self.wants_echo, self.separate, self.answers_bare, self.block = True, True, False, None, 64
        self.n_lost = 0           # so many datagrams more are lost
        self.context = None       # the one in use
        self.used, self.taken = {}, set()
        self.number, self.mid = 0, 7
        self.proven, self.echoes, self.offered = set(), {}, {}
        self.answers = {}         # (address, mid): what was said to a CON
        self.requests, self.plain, self.failures, self.sent, self.empty = [], [], [], [], []
        self.n_renewed = self.n_repeated = 0
        self.changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
        assert not self.failures, self.failures
        assert not self.plain, 'an unprotected request'

    def close(self):
        if self._thread.is_alive():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
                end.sendto(b'', ('127.0.0.1', self.port))
            self._thread.join(10)
        self.socket.close()

    def forget(self):
        """As after a restart that kept nothing."""
        with self.changed:
            self.context, self.observers, self.bodies = None, {}, {}
            self.proven.clear()
            self.echoes.clear()
            self.offered.clear()

    def wait(self, what, where, timeout=20):
        with self.changed:
            assert self.changed.wait_for(where, timeout), what

    def derive(self, id_context):
        return Context(self.bundle.secret, self.bundle.salt, b'\0', self.bundle.kid, id_context)

    def _run(self):
        while True:
            datagram, peer = self.socket.recvfrom(2048)
            if not datagram:
                return
            with self.changed:
                try:
                    self._take(datagram, peer)
                except (AssertionError, InvalidTag, IndexError, ValueError) as error:
                    self.failures.append(repr(error))
                self.changed.notify_all()

    # ---- what comes

    def _take(self, datagram, peer):
        outer = Message.decode(datagram)
        if self.n_lost:
            self.n_lost -= 1
            self.answers.setdefault((peer, outer.mid), (datagram, None))
            return
        if outer.code == 0:
            self.empty.append(outer)
            if outer.kind == CON:
                self._send(Message(RST, 0, outer.mid), peer)
            return
        if (peer, outer.mid) in self.answers:
            first, answer = self.answers[(peer, outer.mid)]
            assert first == datagram, 'a message that is sent again is another one'
            self.n_repeated += 1
            if answer:
                self.socket.sendto(answer, peer)
                return
        value = outer.option(OSCORE)
        if value is None:
            self.plain.append(outer)
            return
        self.now = (datagram, peer, outer)
        if self.answers_bare:
            self._answer(Message(ACK if outer.kind == CON else NON, self.answers_bare, outer.mid, outer.token, [], b'believe me'))
            return
        n = value[0] & 7
        piv, rest, id_context = value[1:1 + n], value[1 + n:], None
        assert value[0] & 8 and n, 'kid and Partial IV'
        if value[0] & 16:
            id_context, rest = cbor2.loads(rest[1:1 + rest[0]]), rest[1 + rest[0]:]
        assert rest == self.bundle.kid
        self._find(outer, piv, id_context)

    def _find(self, outer, piv, id_context):
        """Under which context it is: the one in use, one made of our part and theirs, or one of theirs alone."""
        peer = self.now[1]
        r2 = self.offered.get(peer)
        if self.context and id_context == self.context.id_context:
            inner = self._open(self.context, outer, piv)
            if piv in self.taken:
                self._bare(outer)
                return
        elif self.renews and r2 and id_context and id_context.startswith(r2) and len(id_context) > len(r2):
            context = self.derive(id_context)
            inner = self._open(context, outer, piv)
            self.context, self.taken, self.observers = context, set(), {}
            self.n_renewed += 1
            self.proven.add(peer)
            del self.offered[peer]
        elif self.renews and id_context:
            self._open(self.derive(id_context), outer, piv)
            r2 = self.offered[peer] = secrets.token_bytes(9)
            plain = Message(ACK if outer.kind == CON else NON, UNAUTHORIZED, outer.mid, outer.token)
            self._seal(self.derive(r2 + id_context), plain, piv, offer=r2)
            return
        else:
            self._bare(outer)
            return
        self.taken.add(piv)
        self._prove(inner, piv)

    def _open(self, context, outer, piv):
        nonce = context.nonce(context.recipient, piv)
        key = (context.recipient_key, nonce)
        assert self.used.setdefault(key, outer.payload) == outer.payload, f'number {piv.hex()} was used twice'
        plain = AESCCM(context.recipient_key, tag_length=8).decrypt(nonce, outer.payload, context.aad(context.recipient, piv))
        options, payload = decode_options(plain[1:])
        outer_observe = outer.option(OBSERVE)
        inner = Message(outer.kind, plain[0], outer.mid, outer.token, options, payload)
        assert inner.option(OBSERVE) == outer_observe, 'Observe is inside and outside'
        assert outer.code == (FETCH if outer_observe is not None else POST)
        assert all(number in (3, OBSERVE, OSCORE) for number, _ in outer.options), outer.options
        return inner

    def _prove(self, inner, piv):
        peer = self.now[1]
        if self.wants_echo and peer not in self.proven:
            if inner.option(ECHO) is None or inner.option(ECHO) != self.echoes.get(peer):
                echo = self.echoes[peer] = secrets.token_bytes(12)
                self._reply(inner, piv, UNAUTHORIZED, [(ECHO, echo)], own=True)
                return
            self.proven.add(peer)
        self.requests.append(inner)
        self._serve(inner, piv)

    # ---- resources

    def _serve(self, m, piv):
        name = '/'.join(value.decode() for number, value in m.options if number == URI_PATH)
        if m.code in (PUT, POST, PATCH, IPATCH, FETCH) and m.option(BLOCK1) is not None:
            number, more, size = self._block(m.option(BLOCK1))
            body = self.bodies.pop(name, b'') if number else b''
            assert len(body) == number * size
            body += m.payload
            if more:
                self.bodies[name] = body
                self._reply(m, piv, CONTINUE, [(BLOCK1, m.option(BLOCK1))])
                return
            m.payload = body
        if m.code == DELETE:
            self._reply(m, piv, DELETED if self.resources.pop(name, None) is not None else NOT_FOUND)
        elif m.code in (PUT, POST, PATCH, IPATCH):
            is_new = name not in self.resources
            self.resources[name] = m.payload
            self._reply(m, piv, CREATED if is_new else CHANGED)
        elif name not in self.resources:
            self._reply(m, piv, NOT_FOUND)
        else:
            self._get(m, piv, name)

    def _get(self, m, piv, name):
        options = []
        if m.option(OBSERVE) is not None:
            if m.number(OBSERVE) == 0:
                self.observers[name] = (self.now[1], m.token, piv)
                options = [(OBSERVE, b'')]
            else:
                self.observers.pop(name, None)
        cut, options = self._cut(m, self.resources[name], options)
        self._reply(m, piv, CONTENT, options, cut)

    @staticmethod
    def _block(value):
        number = int.from_bytes(value, 'big')
        return number >> 4, bool(number & 8), 16 << (number & 7)

    def _cut(self, m, body, options):
        number, _, size = self._block(m.option(BLOCK2)) if m and m.option(BLOCK2) is not None else (0, 0, self.block)
        size = min(size, self.block)
        if number or len(body) > size:
            piece = body[number * size:(number + 1) * size]
            return piece, [*options, (BLOCK2, block(number, (number + 1) * size < len(body), size))]
        return body, options

    # ---- what leaves

    def _send(self, message, peer):
        self.sent.append(message.encode())
        self.socket.sendto(self.sent[-1], peer)

    def _answer(self, message):
        datagram, peer, outer = self.now
        self._send(message, peer)
        if outer.kind == CON:
            self.answers[(peer, outer.mid)] = (datagram, self.sent[-1])

    def _bare(self, outer):
        self._answer(Message(ACK if outer.kind == CON else NON, UNAUTHORIZED, outer.mid, outer.token))

    def _sealed(self, context, plain, request_piv, own, offer=None):
        piv = b''
        if own:
            piv, self.number = shortest(self.number), self.number + 1
        nonce = context.nonce(context.sender, piv) if own else context.nonce(context.recipient, request_piv)
        text = bytes([plain.code]) + encode_options([(n, b'' if n == OBSERVE else v) for n, v in plain.options])
        text += b'\xff' + plain.payload if plain.payload else b''
        sealed = AESCCM(context.sender_key, tag_length=8).encrypt(nonce, text, context.aad(context.recipient, request_piv))
        value = bytes([len(piv)]) + piv if own else b''
        if offer:
            wrapped = cbor2.dumps(offer)
            value = bytes([16, len(wrapped)]) + wrapped
        observes = plain.option(OBSERVE) is not None
        return Message(plain.kind, CONTENT if observes else CHANGED, plain.mid, plain.token,
                       [(OSCORE, value)] + ([(OBSERVE, self.number & 0xffffff)] if observes else []), sealed)

    def _seal(self, context, plain, request_piv, own=False, offer=None):
        self._answer(self._sealed(context, plain, request_piv, own, offer))

    def _reply(self, m, piv, code, options=(), payload=b'', own=False):
        if self.separate and m.kind == CON:
            self._answer(Message(ACK, 0, m.mid))
            self.mid += 1
            plain = Message(CON, code, self.mid, m.token, options, payload)
            self._send(self._sealed(self.context, plain, piv, True), self.now[1])
            return
        self._seal(self.context, Message(ACK if m.kind == CON else NON, code, m.mid, m.token, options, payload), piv, own)

    def notify(self, name, payload, kind=NON):
        """A new state; gives the datagram."""
        with self.changed:
            self.resources[name] = payload
            peer, token, piv = self.observers[name]
            self.mid += 1
            cut, options = self._cut(None, payload, [(OBSERVE, b'')])
            self._send(self._sealed(self.context, Message(kind, CONTENT, self.mid, token, options, cut), piv, True), peer)
            return self.sent[-1]

    def send_again(self, name, datagram):
        self.socket.sendto(datagram, self.observers[name][0])
