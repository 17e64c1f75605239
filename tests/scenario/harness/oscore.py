"""An OSCORE client of our own (RFC 8613) over plain UDP, written with cbor2 and cryptography alone: nothing of it comes from the
server's code, so that both can be wrong only in different ways. Its bytes are checked against Appendix C by its own test."""
import json
import secrets
import socket
import time

import cbor2
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .coap_message import ACK, CON, ECHO, FETCH, OBSERVE, OSCORE, POST, Message, decode_options, encode_options, path

OUTER = {3, 7, 16, 35, 39}  # what intermediaries need: Uri-Host, Uri-Port, Hop-Limit, Proxy-Uri, Proxy-Scheme
ALG = 10  # AES-CCM-16-64-128


def shortest(number):
    return number.to_bytes(max(1, (number.bit_length() + 7) // 8), 'big')


class Context:
    def __init__(self, secret, salt, sender, recipient, id_context=None):
        self.given = (secret, salt, sender, recipient)
        def derive(what, kind, n):
            info = cbor2.dumps([what, id_context, ALG, kind, n])
            return HKDF(hashes.SHA256(), n, salt or None, info).derive(secret)
        self.sender, self.recipient = sender, recipient
        self.sender_key, self.recipient_key = derive(sender, 'Key', 16), derive(recipient, 'Key', 16)
        self.iv = derive(b'', 'IV', 13)
        self.id_context = id_context
        self.number = 0

    @classmethod
    def of(cls, device):
        """Of a bundle's oscore.json."""
        given = json.loads((device.bundle / 'oscore.json').read_text())
        assert given['algorithm'] == 'AES-CCM-16-64-128' and given['hkdf'] == 'HKDF-SHA-256'
        part = {name: bytes.fromhex(given[name]) for name in ('master_secret', 'master_salt', 'sender_id', 'recipient_id')}
        return cls(part['master_secret'], part['master_salt'], part['sender_id'], part['recipient_id'])

    def under(self, id_context):
        """The same secret with another ID Context: other keys."""
        return Context(*self.given, id_context)

    def nonce(self, who, piv):
        plain = bytes([len(who)]) + who.rjust(7, b'\0') + piv.rjust(5, b'\0')
        return bytes(a ^ b for a, b in zip(plain, self.iv))

    @staticmethod
    def aad(kid, piv):
        return cbor2.dumps(['Encrypt0', b'', cbor2.dumps([1, [ALG], kid, piv, b''])])

    def protect(self, message, number=None, with_context=False, wrapped=False):
        """The request as it travels, and what its answers are bound to. wrapped: the kid context is CBOR (Appendix B.2)."""
        if number is None:
            number, self.number = self.number, self.number + 1
        piv = shortest(number)
        flags = len(piv) | 8 | (16 if with_context else 0)
        value = bytes([flags]) + piv
        if with_context:
            kid_context = cbor2.dumps(self.id_context) if wrapped else self.id_context
            value += bytes([len(kid_context)]) + kid_context
        value += self.sender
        inner = [option for option in message.options if option[0] not in OUTER]
        outer = [option for option in message.options if option[0] in OUTER or option[0] == OBSERVE]
        plain = bytes([message.code]) + encode_options(inner) + (b'\xff' + message.payload if message.payload else b'')
        sealed = AESCCM(self.sender_key, tag_length=8).encrypt(self.nonce(self.sender, piv), plain, self.aad(self.sender, piv))
        observes = message.option(OBSERVE) is not None
        return Message(message.kind, FETCH if observes else POST, message.mid, message.token,
                       [*outer, (OSCORE, value)], sealed), (self.sender, piv)

    def open(self, message, bound):
        """The answer inside, its Partial IV (None: the request's nonce)."""
        value, kid, request_piv = message.option(OSCORE), *bound
        piv = value[1:1 + (value[0] & 7)] if value else b''
        nonce = self.nonce(self.recipient, piv) if piv else self.nonce(kid, request_piv)
        plain = AESCCM(self.recipient_key, tag_length=8).decrypt(nonce, message.payload, self.aad(kid, request_piv))
        options, payload = decode_options(plain[1:])
        return Message(message.kind, plain[0], message.mid, message.token, options, payload), piv or None


class Answer:
    def __init__(self, outer, inner, piv):
        self.outer, self.inner, self.piv = outer, inner, piv
        self.is_protected = inner is not None

    message = property(lambda self: self.inner or self.outer)
    code = property(lambda self: self.message.text)
    payload = property(lambda self: self.message.payload.decode())


class Client:
    """One context on one socket. Everything it sends and gets is kept, to be sent again by who should not."""

    def __init__(self, device, context=None, port=None, source='127.0.0.1'):
        self.server = ('127.0.0.1', port or device.fortress.ports['coap'])
        self.context = context or Context.of(device)
        self.mid, self.sent, self.bound = secrets.randbelow(65536), [], {}
        self.numbers = set()  # of the server's: none may come twice
        self.socket, self.source = None, source
        self.rebind()

    def rebind(self):
        """Another port, as behind a NAT that has forgotten us."""
        self.close()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((self.source, 0))

    def close(self):
        if self.socket:
            self.socket.close()
            self.socket = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send_raw(self, data):
        self.socket.sendto(data, self.server)

    def receive_raw(self, timeout):
        """The next datagram, or None."""
        self.socket.settimeout(timeout)
        try:
            return self.socket.recv(2048)
        except (socket.timeout, TimeoutError):
            return None

    def send(self, code, where, payload=b'', options=(), kind=CON, protect=True):
        """Sends a request and gives its datagram."""
        self.mid = (self.mid + 1) % 65536
        request = Message(kind, code, self.mid, secrets.token_bytes(4), [*path(where), *options], payload)
        if protect:
            request, self.bound[request.token] = self.context.protect(request)
        self.sent.append(request.encode())
        self.send_raw(self.sent[-1])
        return request

    def take(self, datagram):
        """What came, opened when it is protected; acknowledged when it wants that. None: an empty message."""
        outer = Message.decode(datagram)
        if outer.kind == CON:
            self.send_raw(Message(ACK, 0, outer.mid).encode())
        if outer.code == 0:
            return None
        if outer.option(OSCORE) is None:
            return Answer(outer, None, None)
        try:
            inner, piv = self.context.open(outer, self.bound[outer.token])
        except InvalidTag:
            raise AssertionError('an answer does not open') from None
        if piv:
            assert piv not in self.numbers, 'the server used a number twice'
            self.numbers.add(piv)
        return Answer(outer, inner, piv)

    def get_answer(self, token=None, timeout=20, where=lambda answer: True):
        """The next answer, to this token if one is given, that is as wanted: what was sent twice may be answered twice."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            datagram = self.receive_raw(max(0.01, end - time.monotonic()))
            answer = self.take(datagram) if datagram else None
            if answer and token in (None, answer.outer.token) and where(answer):
                return answer
        raise AssertionError(f'no answer within {timeout} s')

    def ask(self, code, where, payload=b'', options=(), tries=10, **how):
        """Sends as a confirmable is sent, until an answer comes: the very same bytes again."""
        request = self.send(code, where, payload, options, **how)
        for _ in range(tries):
            try:
                return self.get_answer(request.token, timeout=5)
            except AssertionError:
                self.send_raw(request.encode())
        raise AssertionError('no answer')

    def begin_anew(self, code, where):
        """Appendix B.2, by a client that knows no number any more; gives the answer to request #2."""
        given, r1 = self.context, secrets.token_bytes(8)
        first = given.under(r1)

        def sealed(context):
            self.mid = (self.mid + 1) % 65536
            plain = Message(CON, code, self.mid, secrets.token_bytes(4), path(where))
            outer, bound = context.protect(plain, with_context=True, wrapped=True)
            self.sent.append(outer.encode())
            self.send_raw(self.sent[-1])
            answer = Message.decode(self.receive_raw(20))
            assert answer.token == plain.token
            return answer, bound
        outer, bound = sealed(first)
        value = outer.option(OSCORE)
        assert value[0] == 16 and value[1] == len(value) - 2, 'a kid context alone'
        r2 = cbor2.loads(value[2:])
        second = given.under(r2 + r1)
        inner = second.open(Message(outer.kind, outer.code, outer.mid, outer.token, [(OSCORE, b'')], outer.payload), bound)[0]
        assert inner.text == '4.01' and not inner.options and not inner.payload
        self.context, self.numbers = given.under(r2 + secrets.token_bytes(8)), set()
        outer, bound = sealed(self.context)
        return Answer(outer, *self.context.open(outer, bound))

    def request(self, code, where, payload=b'', options=()):
        """The same, with the Echo that is asked for."""
        answer = self.ask(code, where, payload, options)
        echo = answer.message.option(ECHO)
        if answer.is_protected and answer.code == '4.01' and echo:
            answer = self.ask(code, where, payload, [*options, (ECHO, echo)])
        return answer
