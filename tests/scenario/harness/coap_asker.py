"""Plain CoAP at the listener `coap`, by a socket that answers an Echo only when it is told to."""
import socket

from .coap_message import ACK, CON, ECHO, GET, Message, path


class Asker:
    """A socket that sends what it is told, and the Echo it was asked for only when it is told that, too."""

    def __init__(self, fortress):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(('127.0.0.1', fortress.ports['coap']))
        self.socket.settimeout(20)
        self.mid = 1000
        self.heard = []

    def ask(self, where, options=(), code=GET, payload=b'', kind=CON, token=b'tok'):
        """Gives what was sent and the answer to it."""
        self.mid += 1
        sent = Message(kind, code, self.mid, token, [*path(where), *options], payload).encode()
        self.socket.send(sent)
        while True:
            answer = self.receive()
            if answer.token == token and not (kind == CON and answer.kind == ACK and answer.mid != self.mid):
                return sent, answer

    def receive(self):
        self.heard.append(self.socket.recv(2048))
        return Message.decode(self.heard[-1])

    def prove(self, where, options=(), **how):
        sent, answer = self.ask(where, options, **how)
        assert answer.code == 0x81 and len(self.heard[-1]) <= 3 * len(sent)
        return self.ask(where, [*options, (ECHO, echo_of(answer))], **how)[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def echo_of(message):
    return next((value for number, value in message.options if number == ECHO), None)


def is_open(fortress):
    """Does it ask for an Echo? Else all of it is refused."""
    with Asker(fortress) as one:
        return echo_of(one.ask('mq/plant/a')[1]) is not None
