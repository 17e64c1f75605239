"""Who has not logged in, and perhaps never will."""
import selectors
import socket
import ssl
import time


def dial(fortress, source, timeout=20, listener='mqtts'):
    """A TCP connection from this address of ours, or None when it was reset at once."""
    one = socket.socket()
    one.settimeout(timeout)
    one.bind((source, 0))
    try:
        one.connect(('127.0.0.1', fortress.ports[listener]))
    except ConnectionResetError:
        one.close()
        return None
    return one


def hello_bytes():
    """What a client says first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    out = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname='localhost').do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


def trickle(strangers, text, until):
    """One byte a second to each of (socket, when it began); gives when each was closed, in seconds after its begin."""
    ends = []
    with selectors.DefaultSelector() as selector:
        for stranger, begin in strangers:
            stranger.setblocking(False)
            selector.register(stranger, selectors.EVENT_READ, begin)
        at, next_byte = 0, time.monotonic()
        while selector.get_map() and time.monotonic() < until:
            if time.monotonic() >= next_byte:
                next_byte += 1
                for key in list(selector.get_map().values()):
                    try:
                        key.fileobj.send(text[at:at + 1])
                    except OSError:
                        pass  # closed already; the selector tells
                at += 1
            for key, _ in selector.select(0.1):
                try:
                    if key.fileobj.recv(4096):
                        continue
                except ssl.SSLWantReadError:
                    continue
                except OSError:
                    pass
                ends.append(time.monotonic() - key.data)
                selector.unregister(key.fileobj)
                key.fileobj.close()
        left = [key.fileobj for key in selector.get_map().values()]
    for one in left:
        one.close()
    assert not left, f'{len(left)} are still there'
    return ends
