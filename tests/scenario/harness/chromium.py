"""Debian's Chromium without a window: a page of ours from an origin of its own, told by its debugging pipe what to do."""
import http.server
import json
import os
import shutil
import signal
import ssl
import subprocess
import tempfile
import threading
from pathlib import Path

from harness import mqtt_js

PAGE = {
    '/': ('text/html', b'<!doctype html><title>a page</title><script src="/mqtt.js"></script><script src="/story.js"></script>'),
    '/favicon.ico': ('image/png', b''),
    '/mqtt.js': ('text/javascript', mqtt_js.MODULES / 'mqtt/dist/mqtt.min.js'),
    '/story.js': ('text/javascript', mqtt_js.SCRIPTS / 'story.js'),
}


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):  # noqa: N802
        kind, body = PAGE.get(self.path, (None, b''))
        body = body.read_bytes() if isinstance(body, Path) else body
        self.send_response(200 if kind else 404)
        self.send_header('Content-Type', kind or 'text/plain')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class PageServer:
    """The page over HTTPS at https://localhost:PORT, with a certificate of a CA of its own: `ca`."""

    def __init__(self, folder):
        folder = Path(folder)
        self.ca = folder / 'page-ca.pem'
        key, cert = folder / 'page-key.pem', folder / 'page-cert.pem'
        new = ['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2']
        for command in (
                [*new, '-subj', '/CN=CA of pages', '-keyout', str(folder / 'page-ca-key.pem'), '-out', str(self.ca)],
                [*new, '-subj', '/CN=page', '-CA', str(self.ca), '-CAkey', str(folder / 'page-ca-key.pem'), '-addext',
                 'subjectAltName=DNS:localhost', '-addext', 'basicConstraints=critical,CA:FALSE', '-addext',
                 'extendedKeyUsage=serverAuth', '-keyout', str(key), '-out', str(cert)]):
            subprocess.run(command, check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        self._server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), _Handler)
        self._server.daemon_threads = True
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.origin = f'https://localhost:{self._server.server_address[1]}'
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class Chromium:
    """One browser with a home of its own, which trusts these CAs as a person's browser does once they are imported.

    names: host names that lead to 127.0.0.1."""

    def __init__(self, *cas, names=()):
        self.home = Path(tempfile.mkdtemp(prefix='sallyport-browser-'))
        self._import(cas)
        down, up = os.pipe(), os.pipe()
        rules = ', '.join(f'MAP {name} 127.0.0.1' for name in names)
        # bash, because the browser wants the pipe as descriptors 3 and 4.
        self.process = subprocess.Popen(
            ['bash', '-c', f'exec "$@" 3<&{down[0]} 4>&{up[1]}', 'chromium', 'chromium', '--headless=new', '--no-sandbox',
             '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', '--disable-background-networking',
             '--disable-component-update', '--disable-sync', '--password-store=basic', f'--user-data-dir={self.home}/profile',
             f'--host-resolver-rules={rules}', '--remote-debugging-pipe', 'about:blank'],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=(down[0], up[1]),
            start_new_session=True, env={**os.environ, 'HOME': str(self.home), 'TMPDIR': str(self.home),
                                         'LC_ALL': 'C.UTF-8'})
        os.close(down[0])
        os.close(up[1])
        self._down, self._up = os.fdopen(down[1], 'wb', 0), os.fdopen(up[0], 'rb')
        self._n, self._came, self._session = 0, b'', None

    def _import(self, cas):
        database = self.home / '.pki/nssdb'
        database.mkdir(parents=True)
        subprocess.run(['certutil', '-N', '-d', f'sql:{database}', '--empty-password'], check=True, capture_output=True)
        for i, ca in enumerate(cas):
            subprocess.run(['certutil', '-A', '-d', f'sql:{database}', '-n', f'ca-{i}', '-t', 'C,,', '-i', str(ca)], check=True,
                           capture_output=True)

    def _receive(self):
        while b'\0' not in self._came:
            piece = os.read(self._up.fileno(), 65536)
            assert piece, f'chromium ended with {self.process.wait()}'
            self._came += piece
        one, self._came = self._came.split(b'\0', 1)
        return json.loads(one)

    def _send(self, method, **params):
        self._n += 1
        asked = {'id': self._n, 'method': method, 'params': params}
        if self._session:
            asked['sessionId'] = self._session
        self._down.write(json.dumps(asked).encode() + b'\0')
        while True:
            said = self._receive()
            if said.get('id') == self._n:
                assert 'error' not in said, (method, said['error'])
                return said['result']
            self._note(said)

    def _note(self, said):
        self._events.append(said.get('method'))
        if said.get('method') == 'Log.entryAdded':
            self.errors.append(said['params']['entry']['text'])

    def open(self, address):
        """Opens the page in a tab of its own and waits until its scripts have run; `errors` has what the console gets."""
        self._session, self._events, self.errors = None, [], []
        target = self._send('Target.createTarget', url='about:blank')['targetId']
        self._session = self._send('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
        self._send('Page.enable')
        self._send('Log.enable')
        went = self._send('Page.navigate', url=address)
        assert 'errorText' not in went, went
        while 'Page.loadEventFired' not in self._events:
            self._note(self._receive())

    def evaluate(self, expression):
        """What a script on the page comes to; promises are awaited."""
        got = self._send('Runtime.evaluate', expression=expression, awaitPromise=True, returnByValue=True)
        assert 'exceptionDetails' not in got, got['exceptionDetails']
        return got['result'].get('value')

    def run(self, tell, told):
        """One of story.js's stories on the open page."""
        return self.evaluate(f'{tell}(mqtt, {json.dumps(told)})')

    def refused(self, told):
        """What the console says about a connection that must not come about; the page itself is told no reason."""
        assert self.run('refusal', told) == 'closed before CONNACK'
        while not [text for text in self.errors if 'WebSocket' in text]:
            self._note(self._receive())
        return '\n'.join(text for text in self.errors if 'WebSocket' in text)

    def close(self):
        self._session = None
        try:
            self._send('Browser.close')
            self.process.wait(10)
        except (AssertionError, OSError, subprocess.TimeoutExpired):
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        finally:
            self._down.close()
            self._up.close()
            shutil.rmtree(self.home, ignore_errors=True)
