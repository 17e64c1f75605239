"""The servers that `compare` measures: each run gets a fresh one, made from what one call prepares once.

What takes long is not what is measured: certificates, a fortress with its device. So both are made once by `Workshop`, and every
run serves a copy of its own, with nothing in it of the run before."""
import importlib.machinery
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


def load(name):
    """A tool beside this file, as a module."""
    spec = importlib.util.spec_from_loader(name, importlib.machinery.SourceFileLoader(name, str(HERE / name)))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


run = load('run')
BIN = Path(os.environ.get('SALLYPORT_BIN', run.BIN)).resolve()
COAP_SERVER = shutil.which('coap-server-openssl') or shutil.which('coap-server')
PSK_NAME, PSK = 'bench', 'Uo3tNq7mXw2vKz8r'
START_SECONDS, PAUSE, TRIES = 20, 0.01, 3


def use(binary):
    """What is measured from now on."""
    globals()['BIN'] = run.BIN = binary


def wait_until(is_there, process, log, what):
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        if is_there():
            return
        time.sleep(PAUSE)
    said = log.read_text(errors='replace')[-2000:]
    sys.exit(f'{what} is not there after {START_SECONDS} s, or has ended: {said}')


def is_listening(port):
    try:
        socket.create_connection(('127.0.0.1', port), 1).close()
        return True
    except OSError:
        return False


def resets_an_empty_message(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(0.1)
        one.connect(('127.0.0.1', port))
        try:
            one.send(b'\x40\x00\x12\x34')
            one.recv(64)
            return True
        except OSError:
            return False


class Process:
    """A server of ours: ended by its process id. ways: what `bench` needs to reach it."""

    def __init__(self, command, work, cpu, ways=None):
        self.log, self.ways = work / 'log', ways
        where = ['taskset', '-c', cpu] if cpu is not None else []
        with open(self.log, 'wb') as out:
            self.process = subprocess.Popen([*where, *map(str, command)], stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                                            preexec_fn=run.raise_descriptors)

    def wait(self, is_there, what):
        try:
            wait_until(is_there, self.process, self.log, what)
        except SystemExit:
            self.stop()
            raise
        return self

    pids = run.Server.pids
    stop = run.Server.stop


class Workshop:
    """What all runs of a call begin with; a folder that goes with it."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix='sallyport-compare-'))
        self.folder.chmod(0o755)
        self.made = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder, ignore_errors=True)

    def once(self, name, make):
        """What `make` made in a folder of this name; tried again after a failure, for a machine may be slow for a moment."""
        for left in reversed(range(TRIES)):
            if name in self.made:
                break
            folder = self.folder / name
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o755)
            try:
                self.made[name] = make(folder)
            except SystemExit:
                if left == 0:
                    raise
        return self.made[name]


def start_mosquitto(shop, work, row, cpu):
    folder, plain, tls = shop.once('mosquitto', run.certificates), run.free_port(), run.free_port()
    text = (HERE / 'mosquitto.conf').read_text()
    for word, value in {'PLAIN': plain, 'TLS': tls, 'CA': folder / 'ca.pem', 'CERT': folder / 'server.pem',
                        'KEY': folder / 'server.key'}.items():
        text = text.replace(f'@{word}@', str(value))
    (work / 'conf').write_text(text)
    ways = {'tcp': ['--plain', '-h', '127.0.0.1', '-p', str(plain)],
            'tls': ['-h', 'localhost', '-p', str(tls), '--cafile', str(folder / 'ca.pem')]}
    server = Process([run.MOSQUITTO, '-c', work / 'conf'], work, cpu, ways)
    return server.wait(lambda: is_listening(tls), 'mosquitto')


def start_coap_server(shop, work, row, cpu):
    port = run.free_port(2)  # DTLS has the next one
    ways = {'udp': ['--plain', '-h', '127.0.0.1', '-p', str(port)],
            'dtls': ['-h', '127.0.0.1', '-p', str(port + 1), '--psk-identity', PSK_NAME, '--psk', PSK]}
    server = Process([COAP_SERVER, '-A', '127.0.0.1', '-p', port, '-k', PSK, '-v', '2'], work, cpu, ways)
    return server.wait(lambda: resets_an_empty_message(port), 'coap-server')


def serve(fortress, work, cpu, ways=None):
    server = Process([BIN, 'serve', fortress], work, cpu, ways)
    return server.wait(lambda: '\nready\n' in f'\n{server.log.read_text(errors="replace")}', 'sallyport')


def make_fortress(folder, way, workers):
    """A fortress with its device, and what this way needs: exceptions in the clear, a value to ask for. Its ports stay free for it."""
    (plain, tls, wss, coaps, coap), fortress, bundle = [run.free_port() for _ in range(5)], folder / 'fortress', folder / 'bundle'
    run.sh(BIN, 'init', fortress, '--listen', f'mqtts=127.0.0.1:{tls}', '--listen', f'mqtt=127.0.0.1:{plain}', '--listen',
           f'coaps=127.0.0.1:{coaps}', '--listen', f'wss=127.0.0.1:{wss}', '--listen', f'coap=127.0.0.1:{coap}', '--set',
           f'workers={workers}', '--set', 'connect_per_second=100000', '--set', 'connect_burst=100000')
    shutil.copy(HERE / 'policy.yaml', fortress / 'policy.yaml')
    ours, server = [BIN, '-C', fortress], serve(fortress, folder, None)
    try:
        run.sh(*ours, 'device', 'add', 'bench-1', '--role', 'bench', '--credential', 'x509', '--credential', 'psk', '--out', bundle)
        if way in ('tcp', 'tls', 'udp'):
            listener = {'tcp': 'mqtt', 'tls': 'mqtts', 'udp': 'coap'}[way]
            weaker = 'anonymous' if way == 'tls' else 'plaintext,anonymous'
            run.sh(*ours, 'exception', 'add', '--listener', listener, '--allow', weaker, '--role', 'bench', '--for', '24h', '--reason',
                   'a comparison with servers that ask nobody who it is, on the loopback')
        if way in ('dtls', 'udp'):
            run.sh(BIN, 'pub', '--bundle', bundle, '-t', 'bench/coap/0', '-m', 'x' * 150, '-q', '1', '-r')
    finally:
        server.stop()
    return fortress, {'tcp': ['--plain', '-h', '127.0.0.1', '-p', str(plain)],
                      'tls': ['-h', 'localhost', '-p', str(tls), '--cafile', str(bundle / 'ca.pem')],
                      'mtls': ['--bundle', str(bundle)],
                      'wss': ['--bundle', str(bundle), '-L', f'wss://localhost:{wss}/mqtt'],
                      'udp': ['--plain', '-h', '127.0.0.1', '-p', str(coap), '--path', '/mq/bench/coap/0'],
                      'dtls': ['--bundle', str(bundle), '--path', '/mq/bench/coap/0']}


def copy(fortress, mine):
    """With who owns what; the log's segments are as a new fortress has them: their room is reserved, and nothing written but records."""
    run.sh('cp', '-a', '--sparse=always', fortress, mine)
    for segment in (mine / 'store').glob('*.log'):
        with open(segment, 'r+b') as one:
            os.posix_fallocate(one.fileno(), 0, segment.stat().st_size)


def start_sallyport(shop, work, row, cpu, workers=1):
    way = row['way']
    fortress, ways = shop.once(f'{way}-{workers}{str(BIN).replace("/", "-")}', lambda folder: make_fortress(folder, way, workers))
    mine = work / 'fortress'
    copy(fortress, mine)
    run.sh('cp', '-a', f'{fortress}.key', f'{mine}.key')
    return serve(mine, work, cpu, ways)


STARTS = {'mosquitto': start_mosquitto, 'coap-server': start_coap_server, 'sallyport': start_sallyport,
          'sallyport-2': lambda shop, work, row, cpu: start_sallyport(shop, work, row, cpu, workers=2)}
