"""The client's side of SCRAM-SHA-256 (RFC 5802, 7677), and AUTH packets around it. Made from hashlib alone."""
import base64
import hashlib
import hmac
import secrets

from harness import wire

METHOD = 'SCRAM-SHA-256'
CONTINUE, REAUTHENTICATE = 0x18, 0x19


def properties(method=METHOD, data=None):
    out = b'' if method is None else b'\x15' + wire.field(method)
    return out + (b'' if data is None else b'\x16' + wire.field(data))


def auth(reason, method=METHOD, data=None):
    inside = properties(method, data)
    return wire.packet(wire.AUTH, bytes([reason]) + wire.varint(len(inside)) + inside)


def read(block):
    """The authentication method and data among the properties of a CONNACK or AUTH."""
    sizes = {0x11: 4, 0x21: 2, 0x27: 4, 0x13: 2, 0x2a: 1, 0x28: 1, 0x29: 1, 0x24: 1, 0x25: 1, 0x22: 2}
    length, at = block[0], 1
    if length & 0x80:
        length, at = length & 0x7f | block[1] << 7, 2
    end, found = at + length, {}
    while at < end:
        kind = block[at]
        if kind in sizes:
            at += 1 + sizes[kind]
            continue
        size = int.from_bytes(block[at + 1:at + 3], 'big')
        found[kind] = block[at + 3:at + 3 + size]
        at += 3 + size
    return found.get(0x15, b'').decode() or None, found.get(0x16)


class Client:
    """One exchange."""

    def __init__(self, name, password, nonce=None):
        self.password = password.encode()
        self.nonce = nonce or secrets.token_urlsafe(18)
        self.bare = f'n={name},r={self.nonce}'
        self.first = 'n,,' + self.bare

    def final(self, challenge):
        challenge = challenge.decode()
        fields = dict(part.split('=', 1) for part in challenge.split(','))
        assert fields['r'].startswith(self.nonce) and len(fields['r']) > len(self.nonce)
        self.salt, self.iterations = base64.b64decode(fields['s']), int(fields['i'])
        salted = hashlib.pbkdf2_hmac('sha256', self.password, self.salt, self.iterations)

        def mac(key, text):
            return hmac.new(key, text, 'sha256').digest()
        client_key = mac(salted, b'Client Key')
        without = f'c=biws,r={fields["r"]}'
        said = ','.join([self.bare, challenge, without]).encode()
        signature = mac(hashlib.sha256(client_key).digest(), said)
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        self.server = b'v=' + base64.b64encode(mac(mac(salted, b'Server Key'), said))
        return f'{without},p={base64.b64encode(proof).decode()}'
