"""Debian's mosquitto_pub and mosquitto_sub, unmodified, told what to do by a bundle."""
import json
import queue
import subprocess
import threading


def options(device, version='mqttv5', client_id=None, auth='x509'):
    fortress = device.fortress
    out = ['-h', 'localhost', '-p', str(fortress.ports['mqtts']), '-V', version, '--cafile', device.ca,
           '-i', device.name if client_id is None else client_id]
    if auth == 'x509':
        out += ['--cert', device.cert, '--key', device.key]
    elif auth == 'password':
        out += ['-u', device.name, '-P', device.password]
    return out


def publish(device, topic, message, *more, qos=0, check=True, timeout=20, **how):
    """mosquitto_pub; with `check` the exit code must be 0. Gives the finished run."""
    run = subprocess.run(['mosquitto_pub', *options(device, **how), '-t', topic, '-m', message, '-q', str(qos), *more],
                         capture_output=True, text=True, timeout=timeout, check=False)
    if check:
        assert run.returncode == 0, f'mosquitto_pub: exit {run.returncode}: {run.stdout}{run.stderr}'
    return run


class Subscriber:
    """mosquitto_sub that has its SUBACK when the `with` block begins."""

    def __init__(self, device, *filters, qos=0, more=(), **how):
        self.messages = queue.Queue()
        self.lines = []
        self._ready = threading.Event()
        command = ['stdbuf', '-oL', 'mosquitto_sub', *options(device, **how), '-d', '-q', str(qos), '-F', '%j', *more]
        for one in filters:
            command += ['-t', one]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, errors='replace')
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            if line.startswith('{'):
                self.messages.put(json.loads(line))
            elif 'received SUBACK' in line:
                self._ready.set()
        self._ready.set()

    def __enter__(self):
        assert self._ready.wait(20) and self.process.poll() is None, f'mosquitto_sub: {self.lines}'
        return self

    def get(self, timeout=10):
        """The next message: topic, payload, qos, retain …"""
        try:
            return self.messages.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError(f'no message within {timeout} s: {self.lines[-10:]}') from None

    def payloads(self, n, timeout=10):
        return [self.get(timeout)['payload'] for _ in range(n)]

    def wait_end(self, timeout=10):
        """The exit code, once it ended by itself."""
        self.process.wait(timeout)
        self._reader.join(timeout)
        return self.process.returncode

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:  # its signal handler takes a lock, which it may hold already: then it waits for itself
            self.process.kill()
            self.process.wait(10)
        self._reader.join(10)
