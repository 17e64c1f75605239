"""Debian's coap-client, both builds, told what to do by a bundle."""
import queue
import re
import shutil
import subprocess
import threading

BUILDS = [name for name in ('coap-client-openssl', 'coap-client-gnutls') if shutil.which(name)]


def command(build, device, auth='psk', key=None, user=None):
    out = ['stdbuf', '-oL', build, '-w']
    if auth == 'psk':
        out += ['-u', user or device.name, '-k', key or device.psk]
    else:
        out += ['-c', device.cert, '-j', device.key, '-R', device.ca]
    return out


def url(fortress, path, host='127.0.0.1'):
    return f'coaps://{host}:{fortress.ports["coaps"]}/{path.lstrip("/")}'


class Answer:
    def __init__(self, text, code):
        self.text, self.exit = text, code
        refused = re.findall(r'^([45]\.\d\d)\b', text, re.M)
        self.code = refused[0] if refused else None

    @property
    def payload(self):
        """The lines that are not libcoap's own log."""
        return '\n'.join(line for line in self.text.splitlines()
                         if line.strip() and not re.match(r'^(\w{3} \d\d \d\d:\d\d:\d\d|v:1 )', line)).strip()


def request(build, device, method, path, payload=None, more=(), wait_s=10, **how):
    """One request; `code` of the answer is '4.03' and the like, or None for success."""
    extra = ['-e', payload] if payload is not None else []
    run = subprocess.run([*command(build, device, **how), '-m', method, '-B', str(wait_s), *extra, *more,
                          url(device.fortress, path)], capture_output=True, text=True, errors='replace',
                         stdin=subprocess.DEVNULL, timeout=wait_s + 20, check=False)
    return Answer(run.stdout + run.stderr, run.returncode)


class Observer:
    """coap-client -s: what it prints, line by line."""

    def __init__(self, build, device, path, seconds=60, **how):
        self.lines = queue.Queue()
        self.seen = []
        self.process = subprocess.Popen([*command(build, device, **how), '-m', 'get', '-s', str(seconds), '-B', str(seconds),
                                         url(device.fortress, path)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, errors='replace')
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            if line.strip():
                self.seen.append(line.strip())
                self.lines.put(line.strip())

    def expect(self, text, timeout=10):
        """Waits for a line that is this text."""
        while True:
            try:
                if self.lines.get(timeout=timeout) == text:
                    return
            except queue.Empty:
                raise AssertionError(f'{text!r} was not notified; seen: {self.seen}') from None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(10)
        self._reader.join(10)
