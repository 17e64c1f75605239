"""MQTT.js, the version of tests/node, and what its story must come to; `tools/install-deps --test` puts it into build-test/node."""
import json
import subprocess

from harness.fortress import ROOT
from harness.fortress import POLICY as COMMON

SCRIPTS = ROOT / 'tests/node'
MODULES = ROOT / 'build-test/node/node_modules'

# What the stories' principals may do. `many`: a story needs two clients.
POLICY = COMMON.read_text() + '''
  app:
    many: yes
    publish:   [ { topic: "app/${device}/#", retain: yes } ]
    subscribe: [ "app/${device}/#" ]
'''


def how(device, listener, version, **more):
    """What story.js is told, apart from credentials."""
    scheme = {'mqtts': 'mqtts://{}:{}', 'wss': 'wss://{}:{}/mqtt'}[listener]
    url = scheme.format(more.pop('host', 'localhost'), device.fortress.ports[listener])
    return {'url': url, 'version': version, 'name': f'{device.name}-v{version}', 'base': f'app/{device.name}/v{version}',
            'denied': 'app/somebody-else/x', **more}


def run(tell, told):
    """One story under node; gives its facts."""
    assert (MODULES / 'mqtt').is_dir(), 'MQTT.js is not installed: run tools/install-deps --test'
    ran = subprocess.run(['node', str(SCRIPTS / 'run.js'), json.dumps({'tell': tell, 'modules': str(MODULES), **told})],
                         capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return json.loads(ran.stdout)


def facts(version):
    """What the story comes to, whatever it runs on and over."""
    kept = {'payload': 'warm', 'qos': 1, 'retain': True}
    if version == 5:
        kept |= {'type': 'text/plain', 'correlation': [1, 0, 255], 'text': True, 'expires': True,
                 'user': {'unit': ['C', 'K'], 'place': 'roof'}}
    return {
        'fresh': False, 'levels': {f'{qos} as {qos}': [f'{qos}-{i}' for i in (1, 2, 3)] for qos in (0, 1, 2)}, 'kept': kept,
        'deniedSubscription': ['refused', 135 if version == 5 else 128], 'deniedPublish': [135, 135] if version == 5 else 'closed',
        'willGranted': [1], 'will': ['gone'], 'resumed': True, 'missed': ['while away', 'still away'],
        'last': ['a goodbye leaves no will']}
