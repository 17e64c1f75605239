"""A fortress of its own for a test: directory, ports, daemon, devices, events. Everything goes through the CLI."""
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from harness import control
from harness.control import Refused
from harness.ports import free_ports
from harness.wait import wait_until

ROOT = Path(__file__).resolve().parents[3]
BINARY = Path(os.environ.get('SALLYPORT_BIN', ROOT / 'build/sallyport')).resolve()
PLAIN_LISTENERS = ('mqtt', 'ws')

# The policy most tests use: tests/scenario/policy.yaml.
POLICY = Path(__file__).resolve().parents[1] / 'policy.yaml'

# What must never be in the daemon's log: a memory error, undefined behaviour, a data race, a failed assertion, or a
# call that the sandbox refused.
BROKEN = re.compile(r'AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|Assertion .* failed|'
                    r'the sandbox refused')
# What a log line must never suggest.
WEAKENING = re.compile(r'exception add|--insecure|disable verification|allow_anonymous|turn off')


def is_sanitized(binary=BINARY):
    return b'__asan_init' in Path(binary).read_bytes()


def is_running(pid):
    """A zombie with threads that still end has its files open."""
    try:
        is_zombie = Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] == 'Z'
        return not is_zombie or len(os.listdir(f'/proc/{pid}/task')) > 1
    except (FileNotFoundError, ProcessLookupError):
        return False


def times(event):
    """How often it happened: repeats are folded into one event with a count."""
    return int(event['count']) if str(event['count']).isdigit() else 1


def metrics(fortress):
    """{'name{label="value"}': number}, without the prefix."""
    found = {}
    for line in fortress.ask('metrics')[0]['text'].splitlines():
        if not line.startswith('#'):
            name, value = line.rsplit(' ', 1)
            assert name.startswith('sallyport_'), line
            found[name[len('sallyport_'):]] = float(value)
    return found


def counted(fortress, name, least):
    """The number, as soon as it is so much. Who answers and who counts may be two threads, and events are counted when the service
    thread has them: what was answered is counted soon, not at once."""
    def enough():
        number = metrics(fortress).get(name, 0)
        return (number,) if number >= least else None
    return wait_until(f'{name} to be {least:g}', enough, pause=0.05)[0]


class Device:
    """A principal and its bundle."""

    def __init__(self, fortress, name, role, bundle):
        self.fortress, self.name, self.role, self.bundle = fortress, name, role, Path(bundle)

    def _text(self, name):
        return (self.bundle / name).read_text().strip()

    ca = property(lambda self: str(self.bundle / 'ca.pem'))
    cert = property(lambda self: str(self.bundle / 'cert.pem'))
    key = property(lambda self: str(self.bundle / 'key.pem'))
    password = property(lambda self: self._text('password.txt'))

    @property
    def psk(self):
        name, key = self._text('psk.txt').split(':', 1)
        assert name == self.name
        return key


def command_line(pid):
    """Of a process; empty when it has ended meanwhile."""
    try:
        return Path(f'/proc/{pid}/cmdline').read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b''


class Fortress:
    def __init__(self, listeners=('mqtts', 'coaps'), settings=(), environment=None, start=True, policy=POLICY, command='init',
                 binary=BINARY, segments='4MiB'):
        self.binary = binary
        self.home = Path(tempfile.mkdtemp(prefix='sallyport-test-'))
        self.home.chmod(0o755)
        self.dir = self.home / 'fortress'
        self.ports = free_ports(listeners)
        self.environment = dict(environment or {})
        self.process = None
        self.log = []
        self._log_grew = threading.Condition()
        self._n_devices = 0
        options = []
        # What is there by default has a port of its own, too: two daemons do not share one.
        unnamed = free_ports(name for name in ('mqtts', 'coaps', 'mqtt') if name not in self.ports)
        for name, port in {**self.ports, **unnamed}.items():
            options += ['--listen', f'{name}=127.0.0.1:{port}']
        # A hundred fortresses of the default 64 MiB segments would fill a small disk.
        if segments and not any(setting.startswith('segment_bytes=') for setting in settings):
            settings = [*settings, f'segment_bytes={segments}']
        for setting in settings:
            options += ['--set', setting]
        self.init_output = self.run(command, self.dir, '--host', 'localhost', *options)
        if start:
            self.start()
            if policy:
                self.apply(policy)

    # -- the command line ---------------------------------------------------------------------------------------------

    def run(self, *arguments, check=True, timeout=60, environment=None):
        """Runs `sallyport arguments…` as written; gives stdout. Raises Refused when it fails."""
        run = subprocess.run([str(self.binary), *map(str, arguments)], capture_output=True, text=True, timeout=timeout,
                             stdin=subprocess.DEVNULL, check=False,
                             env={**os.environ, **self.environment, **(environment or {})})
        if BROKEN.search(run.stderr):
            raise AssertionError(f'{arguments}: {run.stderr}')
        if check and run.returncode != 0:
            raise Refused(' '.join(map(str, run.args)), run.returncode, run.stdout, run.stderr)
        return run.stdout if check else run

    def cli(self, *arguments, **options):
        """The same, about this fortress."""
        return self.run('-C', self.dir, *arguments, **options)

    def ask(self, verb, **arguments):
        """The answers of the control socket itself, for what is asked until it is so: each command is a process of its own, and
        a sanitized one takes long to start and to end."""
        return control.ask(self.dir, verb, **arguments)

    def json(self, *arguments):
        """JSON lines of a command, or the members of one document that is a list."""
        text = self.run('-C', self.dir, '--json', *arguments)
        try:
            whole = json.loads(text)
            return whole if isinstance(whole, list) else [whole]
        except ValueError:
            return [json.loads(line) for line in text.splitlines() if line.strip()]

    def apply(self, policy):
        """Puts a policy in force; a path or its text."""
        if not isinstance(policy, Path):
            path = self.home / 'applied-policy.yaml'
            path.write_text(policy)
            policy = path
        return self.cli('policy', 'apply', policy)

    def configure(self, before, after):
        """Changes a piece of sallyport.yaml, before the daemon starts."""
        config = self.dir / 'sallyport.yaml'
        text = config.read_text()
        assert before in text, text
        config.write_text(text.replace(before, after))

    def add(self, role='sensor', name=None, credentials=('x509', 'password'), attributes=None):
        """Adds a device under a name of its own and gives it with its bundle."""
        self._n_devices += 1
        name = name or f'{role}-{self._n_devices}'
        bundle = self.home / f'bundle-{name}'
        options = []
        for key, value in (attributes or {'site': 'north'}).items():
            options += ['--attr', f'{key}={value}']
        for credential in credentials:
            options += ['--credential', credential]
        self.cli('device', 'add', name, '--role', role, *options, '--out', bundle)
        return Device(self, name, role, bundle)

    # -- the daemon ---------------------------------------------------------------------------------------------------

    def start(self, timeout=60):
        self.start_only()
        self.wait_log(r'^ready$', timeout=timeout)

    def start_only(self, under=()):
        """Starts the daemon and does not wait. under: a command in front, which becomes it."""
        assert self.process is None
        self.log = []
        self.process = subprocess.Popen([*under, str(self.binary), 'serve', str(self.dir)], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors='replace',
                                        env={**os.environ, **self.environment})
        threading.Thread(target=self._read_log, args=(self.process.stderr,), daemon=True).start()

    def _read_log(self, stream):
        for line in stream:
            with self._log_grew:
                self.log.append(line.rstrip('\n'))
                self._log_grew.notify_all()
        with self._log_grew:
            self._log_grew.notify_all()

    def wait_log(self, pattern, since=0, timeout=30):
        """The first log line from `since` on that matches."""
        wanted = re.compile(pattern)
        end = time.monotonic() + timeout
        with self._log_grew:
            while True:
                for line in self.log[since:]:
                    if wanted.search(line):
                        return line
                left = end - time.monotonic()
                dead = self.process is None or self.process.poll() is not None
                if left <= 0 or (dead and not self._log_grew.wait(0.2)):
                    tail = '\n'.join(self.log[-30:])
                    raise AssertionError(f'no log line matches {pattern!r} ({"ended" if dead else "still running"}):\n{tail}')
                self._log_grew.wait(min(left, 0.2))

    def stop(self, timeout=15):
        """SIGTERM drains and ends with 0, without a trace of a fault in the log."""
        if self.process is None:
            return
        process, self.process = self.process, None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f'the daemon did not drain within {timeout} s:\n' + '\n'.join(self.log[-30:])) from None
        text = '\n'.join(self.log)
        assert code == 0, f'the daemon ended with {code}:\n{text[-4000:]}'
        assert not BROKEN.search(text), text[-6000:]

    def kill(self):
        """kill -9 to the supervisor and all its children at once; returns when none is left."""
        process, self.process = self.process, None
        main = process.pid
        os.kill(main, signal.SIGSTOP)  # or the broker sees its supervisor go and says goodbye to its clients
        pids = [*map(int, Path(f'/proc/{main}/task/{main}/children').read_text().split()), main]
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        process.wait()
        wait_until('the end of the killed processes', lambda: not any(is_running(pid) for pid in pids),
                   60)  # a debugger that holds them lets go of each thread in its own time

    def restart(self):
        self.stop()
        self.start()

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def processes(self):
        """The daemon's processes: the supervisor, the broker, and behind it the others."""
        main = self.process.pid
        children = [int(pid) for pid in Path(f'/proc/{main}/task/{main}/children').read_text().split()]
        return [main, *sorted(children, key=lambda pid: b'--broker' not in command_line(pid))]

    def part(self, what):
        """The pid of a part ("signer", "scribe"); None while there is none."""
        main = self.process.pid
        for pid in Path(f'/proc/{main}/task/{main}/children').read_text().split():
            if f'--{what}'.encode() in command_line(pid):
                return int(pid)
        return None

    def signer(self):
        """The pid of the process that holds the authority's key; None while there is none."""
        return self.part('signer')

    def courier(self):
        """The pid of the process that sends the audit trail away; None while there is none."""
        return self.part('courier')

    def close(self):
        try:
            self.stop()
        finally:
            if self.process is not None and self.process.poll() is None:
                self.process.kill()
            shutil.rmtree(self.home, ignore_errors=True)

    # -- events -------------------------------------------------------------------------------------------------------

    def events(self, n=1000):
        return self.json('audit', 'tail', '-n', n)

    def alerts(self):
        """As `alerts` has them, for who waits for one."""
        return [{name: value for name, value in one.items() if name != 'text'} for one in self.ask('alerts')]

    def wait_event(self, category, timeout=30, at_least=1, about=None, **fields):
        """Events of the category whose fields match (a compiled pattern searches, anything else is equal).

        about: a name that is the event's principal or in its target or reason."""
        def matches(event):
            if event['category'] != category:
                return False
            if about and event['principal'] != about and not re.search(
                    rf'(?<![\w.-]){re.escape(about)}(?![\w-])', f'{event["target"]} {event["reason"]}'):
                return False
            return all(want.search(str(event[key])) if isinstance(want, re.Pattern) else event[key] == want
                       for key, want in fields.items())

        def enough():
            hits = [event for event in self.ask('audit.tail', n=1000) if matches(event)]
            return hits if sum(map(times, hits)) >= at_least else None
        try:
            return wait_until(f'event {category} {fields}', enough, timeout, pause=0.1)
        except AssertionError as error:
            last = '\n'.join(json.dumps(event) for event in self.events(20))
            raise AssertionError(f'{error}; the last events:\n{last}') from None
