"""A receiver of webhooks over HTTPS, that verifies the signature of each request; and a socket as journald has one."""
import hashlib
import hmac
import json
import os
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from harness.ports import free_ports


def signature(secret, timestamp, body):
    """What `Sallyport-Signature` must be; the way of the documentation."""
    return 'sha256=' + hmac.new(secret.encode(), timestamp.encode() + b'.' + body, hashlib.sha256).hexdigest()


class Hook:
    """Counts what it has taken. `answer`: (status, headers) of the next requests; `port` stays the same over `stop` and `start`."""

    def __init__(self, cert, key, secret, protocol='HTTP/1.1'):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(cert, key)
        self.cert, self.secret, self.protocol = cert, secret, protocol
        self.port = free_ports(('hook',))['hook']
        self.answer = (200, {})
        self.records, self.requests, self.refused, self.forged = {}, [], 0, 0
        self.server, self.open = None, set()

    def start(self):
        hook = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = hook.protocol

            def setup(self):
                hook.open.add(self)
                super().setup()

            def finish(self):
                hook.open.discard(self)
                super().finish()

            def do_POST(self):
                hook.take(self)

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def get_request(self):
                one, address = self.socket.accept()
                one.settimeout(20)
                return hook.context.wrap_socket(one, server_side=True, do_handshake_on_connect=False), address

            def handle_error(self, *_):
                pass

        self.server = Server(('127.0.0.1', self.port), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={'poll_interval': 0.05}, daemon=True).start()
        return self

    def stop(self):
        server, self.server = self.server, None
        if server:
            server.shutdown()
            server.server_close()

    def take(self, request):
        body = request.rfile.read(int(request.headers['Content-Length']))
        wanted = signature(self.secret, request.headers['Sallyport-Timestamp'], body)
        status, headers = self.answer
        if not hmac.compare_digest(wanted, request.headers['Sallyport-Signature']):
            self.forged += 1
            status = 401
        if 200 <= status < 300:
            assert all(0x20 <= byte < 0x7f for byte in body), body
            whole = json.loads(body)
            self.requests.append((dict(request.headers), whole))
            for record in whole['records']:
                number = record['metadata']['sequence'] if 'metadata' in record else record['seq']
                assert whole['first'] <= number <= whole['last'], whole
                self.records[number] = record
        else:
            self.refused += 1
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header('Content-Length', '0')
        request.end_headers()


class Journal:
    """Takes datagrams of journald's native protocol apart."""

    def __init__(self, path):
        self.path, self.records, self.socket = str(path), {}, None

    def start(self):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        threading.Thread(target=self._read, args=(self.socket,), daemon=True).start()
        return self

    def stop(self):
        one, self.socket = self.socket, None
        if one:
            one.shutdown(socket.SHUT_RDWR)
            one.close()
            os.unlink(self.path)

    def _read(self, one):
        while True:
            try:
                datagram = one.recv(1 << 18)
            except OSError:
                return
            if not datagram:
                return
            fields = {}
            text = datagram.decode()
            assert text.endswith('\n')
            for line in text[:-1].split('\n'):
                key, equals, value = line.partition('=')
                assert equals and key.replace('_', '').isalnum() and key.isupper(), line
                assert key not in fields, line
                assert all(c >= ' ' and not '\x7f' <= c <= '\x9f' for c in value), line
                fields[key] = value
            self.records[int(fields['SALLYPORT_SEQ'])] = fields
