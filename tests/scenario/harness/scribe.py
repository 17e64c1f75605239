"""A scribe of a test's own, spoken to as the broker and the supervisor speak to it."""
import fcntl
import os
import signal
import socket
import struct

HELLO, APPEND, ANCHOR, ROLL_KEY, FLUSH = range(1, 6)
WELCOME, ACK, REFUSED, DONE, BEGUN = range(65, 70)
BOOT, STOP, READY, EVENT, BROKER = 1, 2, 4, 8, 11


def line(n, **more):
    text = f'{{"time":"2026-11-22T11:00:00.000Z","category":"allow","n":{n}'
    return (text + ''.join(f',"{key}":"{value}"' for key, value in more.items()) + '}\n').encode()


class OwnScribe:
    """`sallyport --scribe` on a data directory that no daemon serves, with a test as its supervisor and its broker."""

    def __init__(self, binary, directory, key, generation=1, house=77):
        link, broker = (socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2))
        self.link, self.broker = link[0], broker[0]
        self.link.settimeout(20)
        self.broker.settimeout(20)
        key_fd = os.open(key, os.O_RDONLY)
        dir_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        wanted = [link[1].fileno(), dir_fd, key_fd, key_fd, broker[1].fileno()]
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 500) for fd in wanted]
        actions = [(os.POSIX_SPAWN_DUP2, fd, 3 + i) for i, fd in enumerate(high)]
        self.pid = os.posix_spawn(binary, ['sallyport', '--scribe'], {'ASAN_OPTIONS': 'detect_leaks=0:handle_sigill=1'}, file_actions=actions)
        for fd in (*high, key_fd, dir_fd):
            os.close(fd)
        link[1].close()
        broker[1].close()
        numbers = struct.pack('>BIIIBIIIIIIIBI', BOOT, 4, 5, 6, 0, 7, 7, 0, 0, 0, 1, 1, 0, 0)
        self.link.send(numbers + struct.pack('>H', 1) + b'.' + b'\0\0' + struct.pack('>IIIQI', 0, 7, 0, house, generation))
        said = self.link.recv(8192)
        assert said[0] == READY, said
        self.welcome = self.receive()

    def receive(self):
        """(type, run, last, code), or (DONE, id, code, text)."""
        said = self.broker.recv(64 * 1024)
        assert said, 'the scribe has gone'
        if said[0] == DONE:
            number, code, size = struct.unpack('>IBH', said[1:8])
            assert len(said) == 8 + size
            return DONE, number, code, said[8:]
        run, last = struct.unpack('>QQ', said[1:17])
        return said[0], run, last, said[17] if said[0] == ACK else 0

    def hello(self, run, first=1):
        self.broker.send(struct.pack('>BQQ', HELLO, run, first))
        return self.receive()

    def append(self, run, first, *lines):
        body = b''.join(struct.pack('>H', len(one)) + one for one in lines)
        self.broker.send(struct.pack('>BQQH', APPEND, run, first, len(lines)) + body)
        return self.receive()

    def ask(self, kind, number=1):
        self.broker.send(struct.pack('>BI', kind, number))
        return self.receive()

    def another_broker(self, generation, how=2, code=9):
        self.link.send(struct.pack('>BIBI', BROKER, generation, how, code))

    def events(self):
        """Reasons of all that it has told its supervisor up to now; it does so behind its answers to the broker."""
        self.link.setblocking(False)
        found = []
        try:
            while True:
                said = self.link.recv(8192)
                assert said[0] == EVENT, said
                size = struct.unpack('>H', said[3:5])[0]
                found.append(said[7 + size:].decode())
        except BlockingIOError:
            return found
        finally:
            self.link.settimeout(20)

    def close(self):
        self.link.send(bytes([STOP]))
        _, status = os.waitpid(self.pid, 0)
        assert status == 0, signal.strsignal(os.WTERMSIG(status)) if os.WIFSIGNALED(status) else status
