"""a: npm's coap: as a client of our daemon, its datagrams taken through DTLS, and as a server of `sallyport coap`, behind OSCORE."""

import pytest

from harness import coap_cli, node_coap
from harness.coap_message import ACK, CON
from harness.dtls_forwarder import Forwarder

pytestmark = pytest.mark.release


LARGE = ''.join(f'{i:08d}' for i in range(625))


def test_as_a_client(fortress):
    lamp = fortress.add('lamp', credentials=('psk', 'x509'))
    bodies = [f'state-{i}' for i in range(12)]
    with Forwarder(lamp) as near:
        facts = node_coap.tell(port=near.port, name=lamp.name, large=LARGE, states=bodies)
    assert facts == {
        'put': '2.01', 'again': '2.04', 'got': ['2.05', 'off', 'text/plain'], 'valid': '2.03', 'non': 'off', 'unwanted': '4.06',
        'post': '2.04', 'passed': '4.04', 'denied': '4.03', 'putLarge': '2.01', 'large': True, 'small': True,
        'states': ['off', *bodies], 'delete': '2.02', 'gone': '4.04'}


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
