"""A client by libssl itself, for what Python's ssl has no word for: DTLS with a PSK, and KeyUpdate."""
import ctypes
import ctypes.util
import functools
import socket
import struct
import time

SSL_VERIFY_NONE, SSL_FILETYPE_PEM = 0, 1
RECORD_MAX = 16384
WANTS = (2, 3)  # SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE
DGRAM_SET_CONNECTED, SET_RECV_TIMEOUT, HANDLE_TIMEOUT = 32, 33, 74
PSK = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(ctypes.c_char), ctypes.c_uint,
                       ctypes.POINTER(ctypes.c_ubyte), ctypes.c_uint)


@functools.cache
def library():
    """libssl with the types of what is called here."""
    at = ctypes.CDLL(ctypes.util.find_library('ssl') or 'libssl.so.3')
    pointer, number = ctypes.c_void_p, ctypes.c_int
    for name, result, arguments in (
            ('TLS_client_method', pointer, []), ('DTLS_client_method', pointer, []), ('SSL_CTX_new', pointer, [pointer]),
            ('SSL_CTX_free', None, [pointer]), ('SSL_new', pointer, [pointer]), ('SSL_free', None, [pointer]),
            ('SSL_CTX_set_cipher_list', number, [pointer, ctypes.c_char_p]),
            ('SSL_CTX_set_psk_client_callback', None, [pointer, PSK]),
            ('SSL_CTX_use_certificate_chain_file', number, [pointer, ctypes.c_char_p]),
            ('SSL_CTX_use_PrivateKey_file', number, [pointer, ctypes.c_char_p, number]),
            ('SSL_CTX_set_tlsext_max_fragment_length', number, [pointer, ctypes.c_ubyte]),
            ('SSL_get1_session', pointer, [pointer]), ('SSL_set_session', number, [pointer, pointer]),
            ('SSL_session_reused', number, [pointer]), ('SSL_SESSION_free', None, [pointer]),
            ('SSL_SESSION_has_ticket', number, [pointer]), ('SSL_CTX_set_verify', None, [pointer, number, pointer]), ('SSL_set_bio', None, [pointer, pointer, pointer]),
            ('SSL_set_fd', number, [pointer, number]), ('SSL_connect', number, [pointer]),
            ('SSL_get_error', number, [pointer, number]), ('SSL_write', number, [pointer, ctypes.c_char_p, number]),
            ('SSL_read', number, [pointer, ctypes.c_char_p, number]), ('SSL_key_update', number, [pointer, number]),
            ('SSL_do_handshake', number, [pointer]), ('SSL_shutdown', number, [pointer]), ('ERR_clear_error', None, []),
            ('SSL_ctrl', ctypes.c_long, [pointer, number, ctypes.c_long, pointer]),
            ('BIO_new_dgram', pointer, [number, number]), ('BIO_new', pointer, [pointer]), ('BIO_s_mem', pointer, []),
            ('BIO_read', number, [pointer, ctypes.c_char_p, number]),
            ('BIO_ctrl', ctypes.c_long, [pointer, number, ctypes.c_long, pointer]), ('BIO_ADDR_new', pointer, []),
            ('BIO_ADDR_free', None, [pointer]),
            ('BIO_ADDR_rawmake', number, [pointer, number, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_ushort])):
        function = getattr(at, name)
        function.restype, function.argtypes = result, arguments
    return at


class Closed(Exception):
    """The connection is over."""


class _Client:
    def __init__(self, ssl, method):
        self.ssl = ssl
        self.context = ssl.SSL_CTX_new(method)
        ssl.SSL_CTX_set_verify(self.context, SSL_VERIFY_NONE, None)  # an attacker does not care whom it attacks
        self.session, self.socket = None, None

    def close(self):
        if self.session:
            self.ssl.SSL_free(self.session)
            self.session = None
        if self.context:
            self.ssl.SSL_CTX_free(self.context)
            self.context = None
        if self.socket:
            self.socket.close()
            self.socket = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        if self.ssl.SSL_write(self.session, data, len(data)) <= 0:
            raise Closed
        return self

    def receive(self):
        """What one record holds, or None when nothing came in time."""
        into = ctypes.create_string_buffer(RECORD_MAX)
        self.ssl.ERR_clear_error()  # SSL_get_error would tell of what went wrong before
        n = self.ssl.SSL_read(self.session, into, len(into))
        if n > 0:
            return into.raw[:n]
        if self.ssl.SSL_get_error(self.session, n) in WANTS:
            return None
        raise Closed


class Tls(_Client):
    """A TLS connection with a device's certificate."""

    def __init__(self, ssl, fortress, device, listener='mqtts'):
        super().__init__(ssl, ssl.TLS_client_method())
        ssl.SSL_CTX_use_certificate_chain_file(self.context, device.cert.encode())
        ssl.SSL_CTX_use_PrivateKey_file(self.context, device.key.encode(), SSL_FILETYPE_PEM)
        self.session = ssl.SSL_new(self.context)
        self.socket = socket.create_connection(('127.0.0.1', fortress.ports[listener]), 20)
        self.socket.settimeout(None)
        ssl.SSL_set_fd(self.session, self.socket.fileno())
        if ssl.SSL_connect(self.session) != 1:
            raise Closed

    def update_keys(self):
        """One KeyUpdate that asks for the server's in return."""
        if self.ssl.SSL_key_update(self.session, 1) != 1 or self.ssl.SSL_do_handshake(self.session) != 1:
            raise Closed


class Dtls(_Client):
    """A DTLS association with a device's PSK, or its certificate; a datagram for each send.

    fragment: the largest record it wants, 1 to 4 for 512 to 4096 bytes. ticket: of `take_ticket`, to resume by.
    source: our own address."""

    def __init__(self, ssl, fortress, device, listener='coaps', timeout=20, by_certificate=False, fragment=0, ticket=None,
                 source=None):
        super().__init__(ssl, ssl.DTLS_client_method())
        if by_certificate:
            ssl.SSL_CTX_use_certificate_chain_file(self.context, device.cert.encode())
            ssl.SSL_CTX_use_PrivateKey_file(self.context, device.key.encode(), SSL_FILETYPE_PEM)
        else:
            self._use_psk(device)
        if fragment:
            assert ssl.SSL_CTX_set_tlsext_max_fragment_length(self.context, fragment) == 1
        self._connect(fortress.ports[listener], timeout, ticket, source)

    def _use_psk(self, device):
        ssl, name, key = self.ssl, device.name.encode(), device.psk.encode()

        def psk(_ssl, _hint, identity, identity_max, out, out_max):
            if len(name) >= identity_max or len(key) > out_max:
                return 0
            ctypes.memmove(identity, name + b'\0', len(name) + 1)
            ctypes.memmove(out, key, len(key))
            return len(key)
        self._psk = PSK(psk)  # libssl keeps no reference
        ssl.SSL_CTX_set_cipher_list(self.context, b'PSK')
        ssl.SSL_CTX_set_psk_client_callback(self.context, self._psk)

    def _connect(self, port, timeout, ticket, source=None):
        ssl = self.ssl
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        if source is not None:
            self.socket.bind((source, 0))
        self.socket.connect(('127.0.0.1', port))
        self.session = ssl.SSL_new(self.context)
        if ticket is not None:
            assert ssl.SSL_set_session(self.session, ticket.session) == 1
        bio = ssl.BIO_new_dgram(self.socket.fileno(), 0)
        to = ssl.BIO_ADDR_new()
        ssl.BIO_ADDR_rawmake(to, socket.AF_INET, socket.inet_aton('127.0.0.1'), 4, socket.htons(port))
        ssl.BIO_ctrl(bio, DGRAM_SET_CONNECTED, 0, to)
        ssl.BIO_ADDR_free(to)
        self.bio = bio
        self.wait_at_most(1)
        ssl.SSL_set_bio(self.session, bio, bio)
        end = time.monotonic() + timeout
        while True:
            done = ssl.SSL_connect(self.session)
            if done == 1:
                return
            if ssl.SSL_get_error(self.session, done) not in WANTS or time.monotonic() > end:
                self.close()
                raise Closed
            ssl.SSL_ctrl(self.session, HANDLE_TIMEOUT, 0, None)

    def is_resumed(self):
        return self.ssl.SSL_session_reused(self.session) == 1

    def take_ticket(self):
        """What it was given to resume by; None: nothing."""
        ticket = Ticket(self.ssl, self.ssl.SSL_get1_session(self.session))
        return ticket if self.ssl.SSL_SESSION_has_ticket(ticket.session) == 1 else None

    def shut_down(self):
        """Says that it ends; without it, the server finds out by itself."""
        self.ssl.SSL_shutdown(self.session)

    def wait_at_most(self, seconds):
        """How long `receive` waits."""
        self.ssl.BIO_ctrl(self.bio, SET_RECV_TIMEOUT, 0, struct.pack('@ll', int(seconds), int(seconds % 1 * 1e6)))


class Ticket:
    def __init__(self, ssl, session):
        self.ssl, self.session = ssl, session

    def __del__(self):
        self.ssl.SSL_SESSION_free(self.session)


def dtls_hello(ssl, ticket=None):
    """The first datagram of a handshake; ticket: of `take_ticket`."""
    context = ssl.SSL_CTX_new(ssl.DTLS_client_method())
    session = ssl.SSL_new(context)
    if ticket is not None:
        assert ssl.SSL_set_session(session, ticket.session) == 1
    into, out = ssl.BIO_new(ssl.BIO_s_mem()), ssl.BIO_new(ssl.BIO_s_mem())
    ssl.SSL_set_bio(session, into, out)
    ssl.SSL_connect(session)
    data = ctypes.create_string_buffer(4096)
    n = ssl.BIO_read(out, data, len(data))
    ssl.SSL_free(session)
    ssl.SSL_CTX_free(context)
    assert n > 0
    return data.raw[:n]
