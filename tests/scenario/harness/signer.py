"""A signer of a test's own, spoken to over the broker's channel and the operator's: what it says when the broker is not ours."""
import os
import fcntl
import signal
import socket
import struct
from pathlib import Path

ISSUE, ISSUE_SERVER, REVOKE, CRL, OCSP, TOKEN_ASK, ENROL, ALLOW, FORGET, TOKEN_MAKE = range(1, 11)
BY_OPERATOR, BY_TOKEN, BY_RENEWAL, BY_MAKER, BY_APPROVAL = range(5)
BOOT, STOP, READY, EVENT = 1, 2, 4, 8
CHAIN = 32 * 1024


def block(data):
    data = data.encode() if isinstance(data, str) else data
    return struct.pack('>I', len(data)) + data


def issue(name, csr=b'', lifetime_ms=0, proof=BY_OPERATOR, token=b'', current=b'', chain=b''):
    return block(name) + block(csr) + struct.pack('>qB', lifetime_ms, proof) + block(token) + block(current) + block(chain)


def revoke(name, reason=0):
    return block(name) + block(b'') + bytes([reason])


def token_make(name):
    return block(name) + block('') + block('sensor') + block('') + struct.pack('>qI', 2**62, 1)


class Channel:
    """One who asks."""

    def __init__(self, sock):
        self.sock, self.id = sock, 0
        sock.settimeout(10)

    def send(self, data):
        self.sock.send(data)

    def receive(self):
        """The id and the bytes of the next answer."""
        whole = b''
        while True:
            piece = self.sock.recv(64 * 1024)
            assert len(piece) >= 5, 'the signer has gone'
            whole += piece[5:]
            if piece[4] == 1:
                return struct.unpack('>I', piece[:4])[0], whole

    def ask(self, kind, body=b''):
        """(0, the rest) or (another number, why not)."""
        self.id += 1
        self.send(struct.pack('>BI', kind, self.id) + body)
        number, answer = self.receive()
        assert number == self.id
        size = struct.unpack('>I', answer[1:5])[0]
        why = answer[5:5 + size].decode()
        return (0, answer[5 + size:]) if answer[0] == 0 else (answer[0], why)


def first_block(data):
    size = struct.unpack('>I', data[:4])[0]
    return data[4:4 + size]


class OwnSigner:
    """`sallyport --signer` on a data directory that no daemon serves, with a test as its supervisor and its broker."""

    def __init__(self, binary, directory, key):
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
        self.link, self.broker = pairs[0][0], Channel(pairs[1][0])
        self.link.settimeout(20)
        self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.path = str(Path(directory).parent / 'own.sock')
        self.listening.bind(self.path)
        self.listening.listen(5)
        self.listening.setblocking(False)
        key_fd = os.open(key, os.O_RDONLY)
        dir_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        wanted = [pairs[0][1].fileno(), dir_fd, key_fd, key_fd, self.listening.fileno(), pairs[1][1].fileno()]
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 500) for fd in wanted]
        actions = [(os.POSIX_SPAWN_DUP2, fd, 3 + i) for i, fd in enumerate(high)]
        environment = {'ASAN_OPTIONS': 'detect_leaks=0:handle_sigill=1'}
        self.pid = os.posix_spawn(binary, ['sallyport', '--signer'], environment, file_actions=actions)
        for fd in (*high, key_fd, dir_fd):
            os.close(fd)
        for pair in pairs:
            pair[1].close()
        numbers = struct.pack('>BIIIBIIIIIIIBI', BOOT, 4, 5, 6, 0, 7, 8, 0, 0, 0, 1, 1, 0, 0)
        self.link.send(numbers + struct.pack('>H', 1) + b'.' + b'\0\0' + bytes(24))  # no listeners, no sinks, no courier, no scribe
        said = self.link.recv(8192)
        assert said[0] == READY, said

    def operator(self):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.connect(self.path)
        return Channel(sock)

    def event(self):
        """The next one: severity (3: alert), whose, why."""
        said = self.link.recv(8192)
        assert said[0] == EVENT, said
        size = struct.unpack('>H', said[3:5])[0]
        name = said[5:5 + size].decode()
        return said[2], name, said[7 + size:].decode()

    def events(self):
        """All that were said up to now."""
        self.link.setblocking(False)
        found = []
        try:
            while True:
                found.append(self.event())
        except BlockingIOError:
            return found
        finally:
            self.link.settimeout(20)

    def close(self):
        self.link.send(bytes([STOP]))
        _, status = os.waitpid(self.pid, 0)
        assert status == 0, signal.strsignal(os.WTERMSIG(status)) if os.WIFSIGNALED(status) else status
