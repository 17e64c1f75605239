"""What Prometheus reads: a strict parser of its text format, and Debian's own promtool and prometheus on loopback."""
import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path

from harness.fortress import ROOT
from harness.ports import free_ports
from harness.wait import wait_until

# tools/install-deps --test unpacks the package there, without installing a service.
UNPACKED = ROOT / 'build-test/prometheus/usr/bin'
PROMTOOL, PROMETHEUS = (shutil.which(name) or shutil.which(name, path=str(UNPACKED)) for name in ('promtool', 'prometheus'))

NAME = re.compile(r'[a-zA-Z_:][a-zA-Z0-9_:]*')
SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*\})? (-?[0-9]+(?:\.[0-9]+)?|\+Inf|NaN)')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
SUFFIXES = {'counter': ('',), 'gauge': ('',), 'summary': ('_sum', '_count'), 'histogram': ('_bucket', '_sum', '_count')}


class Page:
    """The text, checked against the rules of the exposition format 0.0.4: families[name] = (type, help, {(sample, labels): value})."""

    def __init__(self, text):
        assert text.endswith('\n') and '\n\n' not in text
        self.families, name = {}, None
        for line in text.splitlines():
            if line.startswith('# HELP '):
                name, help_ = line[len('# HELP '):].split(' ', 1)
                assert NAME.fullmatch(name) and name not in self.families, f'a family stands once: {line}'
                assert help_.strip() and '\\' not in help_, line
                self.families[name] = [None, help_, {}]
            elif line.startswith('# TYPE '):
                of, kind = line[len('# TYPE '):].split(' ')
                assert of == name and self.families[name][0] is None and kind in SUFFIXES, line
                self.families[name][0] = kind
            else:
                match = SAMPLE.fullmatch(line)
                assert match, f'no sample: {line}'
                sample, labels, value = match.groups()
                kind, _, rows = self.families[name]
                assert kind and sample.startswith(name) and sample[len(name):] in SUFFIXES[kind], f'{line}: of {name}, a {kind}'
                pairs = LABEL.findall(labels or '')
                assert len(dict(pairs)) == len(pairs), f'a label twice: {line}'
                key = (sample, frozenset(pairs))
                assert key not in rows, f'a sample twice: {line}'
                rows[key] = float(value)
                assert kind != 'counter' or (name.endswith('_total') and rows[key] >= 0), line
        assert all(kind and rows for kind, _, rows in self.families.values())

    def samples(self):
        return {key: value for _, _, rows in self.families.values() for key, value in rows.items()}

    def names(self):
        return {sample for sample, _ in self.samples()}

    def value(self, name, **labels):
        return self.samples()[(name, frozenset(labels.items()))]

    def labels(self, name):
        """{label: {values}} of all samples of this name."""
        found = {}
        for sample, pairs in self.samples():
            if sample == name:
                for key, value in pairs:
                    found.setdefault(key, set()).add(value)
        return found


def promtool(*arguments, **options):
    run = subprocess.run([PROMTOOL, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False, **options)
    assert run.returncode == 0, f'promtool {arguments}: {run.stdout}{run.stderr}'
    return run.stdout


class Prometheus:
    """A real one on loopback, with this configuration (as JSON, which is YAML)."""

    def __init__(self, folder, config):
        self.port = free_ports(['prometheus'])['prometheus']
        self.url = f'http://127.0.0.1:{self.port}/api/v1/'
        Path(folder, 'prometheus.json').write_text(json.dumps(config))
        self.process = subprocess.Popen(
            [PROMETHEUS, f'--config.file={folder}/prometheus.json', f'--storage.tsdb.path={folder}/data',
             f'--web.listen-address=127.0.0.1:{self.port}', '--log.level=error'],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(Path(folder, 'log'), 'w'), cwd=folder)

    def ask(self, what, **arguments):
        try:
            with urllib.request.urlopen(f'{self.url}{what}?{urllib.parse.urlencode(arguments)}', timeout=5) as answer:
                return json.load(answer)['data']
        except OSError:
            return None

    def targets(self):
        return (self.ask('targets') or {}).get('activeTargets', [])

    def query(self, expression):
        return [(one['metric'], float(one['value'][1])) for one in (self.ask('query', query=expression) or {}).get('result', [])]

    def wait_up(self, n, timeout=30):
        wait_until(f'{n} targets that Prometheus can read', lambda: sum(one['health'] == 'up' for one in self.targets()) == n, timeout)

    def close(self):
        self.process.terminate()
        self.process.wait(20)
