"""`sallyport coap` with a context of OSCORE or over DTLS: one run, and an observation line by line."""
import queue
import signal
import subprocess
import threading

from .fortress import BINARY


def run(method, uri, *more, exit_code=0, data=''):
    """Runs to its end and gives stdout and stderr."""
    done = subprocess.run([str(BINARY), 'coap', method, uri, *more], capture_output=True, text=True, input=data, timeout=60, check=False)
    assert 'Sanitizer' not in done.stderr and 'runtime error' not in done.stderr, done.stderr
    assert done.returncode == exit_code, (done.returncode, done.stdout[:200], done.stderr)
    return done


class Observing:
    """`sallyport coap observe`: its lines, one by one."""

    def __init__(self, method, uri, *more):
        self.lines = queue.Queue()
        self.process = subprocess.Popen([str(BINARY), 'coap', method, uri, *more], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip('\n'))

    def get(self):
        return self.lines.get(timeout=20)

    def stop(self, how=signal.SIGINT, code=0):
        if self.process.poll() is None:
            self.process.send_signal(how)
            assert self.process.wait(20) == code, self.process.stderr.read()
        self._reader.join(10)
        self.process.stdout.close()
        self.process.stderr.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
