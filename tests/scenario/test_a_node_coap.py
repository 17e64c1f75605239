"""a: npm's coap: as a client of our daemon, its datagrams taken through DTLS, or as they are by an exception; and as a server of
`sallyport coap`, behind OSCORE."""

import pytest

from harness import coap_cli, node_coap
from harness.coap_asker import is_open
from harness.coap_message import ACK, CON
from harness.dtls_forwarder import Forwarder
from harness.wait import wait_until

pytestmark = pytest.mark.release

LARGE = ''.join(f'{i:08d}' for i in range(625))


BODIES = [f'state-{i}' for i in range(12)]
FACTS = {
    'put': '2.01', 'again': '2.04', 'got': ['2.05', 'off', 'text/plain'], 'valid': '2.03', 'non': 'off', 'unwanted': '4.06',
    'post': '2.04', 'passed': '4.04', 'denied': '4.03', 'putLarge': '2.01', 'large': True, 'small': True,
    'states': ['off', *BODIES], 'delete': '2.02', 'gone': '4.04'}
POLICY = '''version: 1
roles:
  open:
    publish:   [ { topic: "plant/#", retain: yes } ]
    subscribe: [ "plant/#" ]
'''


def test_as_a_client(fortress):
    lamp = fortress.add('lamp', credentials=('psk', 'x509'))
    with Forwarder(lamp) as near:
        facts = node_coap.tell(port=near.port, at=f'lamps/{lamp.name}', large=LARGE, states=BODIES)
    assert facts == {**FACTS, 'challenged': 0}


def test_as_a_client_in_the_clear(make_fortress):
    """Its first request is answered by an Echo, which the story repeats; then its address is proven, and all is as through DTLS."""
    fortress = make_fortress(listeners=('mqtts', 'coap'), policy=POLICY)
    fortress.cli('exception', 'add', '--listener', 'coap', '--allow', 'plaintext,anonymous', '--role', 'open', '--for', '1h',
                 '--reason', 'old meters until Friday')
    wait_until('it is let in', lambda: is_open(fortress))
    story = {'port': fortress.ports['coap'], 'at': 'plant/lamp', 'large': LARGE, 'states': BODIES}
    assert node_coap.tell(**story) == {**FACTS, 'challenged': 1}
    event = fortress.wait_event('connect', about='PLAINTEXT by an exception')[0]
    assert event['listener'] == 'coap' and event['principal'].startswith('anonymous-')


@pytest.fixture
def server(tmp_path):
    with node_coap.Behind(tmp_path / 'bundle', LARGE) as one:
        yield one


def test_as_a_server(server):
    def place(path):
        return f'coap://127.0.0.1:{server.port}/{path}', '--bundle', str(server.bundle.path)
    coap_cli.run('put', *place('a'), '-e', 'one')
    assert coap_cli.run('get', *place('a')).stdout == 'one\n'
    # What is put stays within a block: that server knows the blocks of a body by their token, and we never use one twice.
    for more in ((), ('-b', '64')):
        assert coap_cli.run('get', *place('large'), *more).stdout == LARGE + '\n'
    assert '4.04' in coap_cli.run('get', *place('none'), exit_code=1).stderr
    with server.changed:
        server.kinds.clear()
    assert coap_cli.run('get', *place('slow')).stdout == 'at last\n'
    with server.changed:
        assert server.kinds == [ACK, CON], 'acknowledged first, answered later'
    with coap_cli.Observing('observe', *place('a')) as seen:
        assert seen.get() == 'one'
        for i in range(5):
            server.put('a', f'state-{i}')
            assert seen.get() == f'state-{i}'
