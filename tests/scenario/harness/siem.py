"""A receiver of syslog or of JSON lines over TLS, as a SIEM has one; it can stand still."""
import json
import re
import select
import socket
import ssl
import subprocess
import threading

from harness.ports import free_ports

PARAM = re.compile(r' ([a-z_]+)="((?:[^"\\\]]|\\["\\\]])*)"')


def make_certificate(folder, name):
    """A certificate of its own for 127.0.0.1: (file of it, file of its key)."""
    cert, key = folder / f'{name}.pem', folder / f'{name}.key'
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-subj',
                    f'/CN={name}', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '2', '-keyout', key, '-out', cert],
                   check=True, capture_output=True, timeout=30)
    return cert, key


def parse_syslog(message):
    """The structured data of one message, and all of it that is not."""
    head = re.match(r'<(\d+)>1 (\S+) (\S+) sallyport - (\S+) \[sallyport@32473', message)
    assert head, message
    params, at = {}, head.end()
    while message[at] != ']':
        one = PARAM.match(message, at)
        assert one, message[at:]
        params[one[1]] = re.sub(r'\\(.)', r'\1', one[2])
        at = one.end()
    return params


class Receiver:
    """Counts what it has read to its end; `hold` stops reading, `port` stays the same over `stop` and `start`."""

    def __init__(self, cert, key, framing, client_ca=None):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(cert, key)
        if client_ca:
            self.context.load_verify_locations(client_ca)
            self.context.verify_mode = ssl.CERT_REQUIRED
        self.framing = framing
        self.port = free_ports(('siem',))['siem']
        self.records, self.n_messages, self.raw, self.errors = {}, 0, [], []
        self.may_read = threading.Event()
        self.may_read.set()
        self.listener = None
        self.connections = 0
        self.ends_by = None  # 'goodbye': close_notify; 'reset': nothing; and nothing is read

    def start(self):
        self.listener = socket.create_server(('127.0.0.1', self.port))
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()
        return self

    def stop(self):
        listener, self.listener = self.listener, None
        if listener:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def hold(self):
        self.may_read.clear()

    def go_on(self):
        self.may_read.set()

    def _accept(self, listener):
        while True:
            try:
                one, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(one,), daemon=True).start()

    def _serve(self, one):
        pending = b''
        try:
            with self.context.wrap_socket(one, server_side=True) as tls:
                self.connections += 1
                if self.ends_by:
                    select.select([tls], [], [], 10)
                    if self.ends_by == 'goodbye':
                        tls.setblocking(False)
                        try:
                            tls.unwrap()
                        except ssl.SSLError:
                            pass  # there are records in the way, which is the point
                    return
                while True:
                    self.may_read.wait()
                    data = tls.recv(65536)
                    if not data:
                        tls.unwrap()
                        return
                    pending = self._take(pending + data)
        except OSError as error:
            self.errors.append(str(error))

    def _take(self, data):
        while True:
            if self.framing == 'syslog':
                length, space, rest = data.partition(b' ')
                if not space or len(rest) < int(length):
                    return data
                message, data = rest[:int(length)], rest[int(length):]
                found = parse_syslog(message.decode())
                seq = int(found['seq'])
            else:
                message, newline, rest = data.partition(b'\n')
                if not newline:
                    return data
                data = rest
                found = json.loads(message)
                seq = found['metadata']['sequence']
            assert not re.search(rb'[\x00-\x1f\x7f]', message), message
            self.raw.append(message)
            self.n_messages += 1
            self.records[seq] = found
