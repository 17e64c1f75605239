"""g: the statements of MQTT 3.1.1 and 5.0 that show on the wire, one case each, on the real daemon, and on Debian's mosquitto
beside it. A case here is what any server owes; marks are in tests/README.md, the table of all in docs/CONFORMANCE.md."""
import pytest

import conformance_connect  # noqa: F401
import conformance_messages  # noqa: F401
import conformance_stories  # noqa: F401
import conformance_subscriptions  # noqa: F401
from harness.fortress import Fortress
from harness.talk import CASES, POLICY, Mosquitto, Talk
from harness.wire import Wire


class Sallyport:
    def __init__(self, fortress):
        self.fortress, self.peer = fortress, fortress.add('peer', name='peer')

    def open(self):
        assert self.fortress.process.poll() is None

    def wire(self, version):
        return Wire(self.fortress, self.peer, version)


@pytest.fixture(scope='module')
def ours():
    fortress = Fortress(policy=None, settings=('connect_per_second=100000', 'connect_burst=100000'))
    try:
        fortress.apply(POLICY)
        yield Sallyport(fortress)
    finally:
        fortress.close()


def name_of(one):
    function, version = one
    return f'{function.__name__}-{"v5" if version == 5 else "v311"}'


@pytest.mark.release
@pytest.mark.parametrize('one', CASES, ids=name_of)
def test_conformance(ours, one):
    function, version = one
    with Talk(ours, version, f'{CASES.index(one)}') as talk:
        function(talk)


@pytest.mark.skipif(Mosquitto.BINARY is None, reason='mosquitto is not installed')
@pytest.mark.timeout(400)
def test_mosquitto_beside_us(ours, capsys):
    """The same cases on both: whatever mosquitto does right, we do right."""
    theirs = Mosquitto()
    table, worse = [], []
    try:
        for number, one in enumerate(CASES):
            said = []
            for server, prefix, timeout in ((ours, 'm', 10), (theirs, 'm', 2)):
                said.append(attempt(server, one, f'{prefix}{number}', timeout))
            table.append((name_of(one), *said))
            if said[0] and not said[1]:
                worse.append(f'{name_of(one)}: {said[0]}')
    finally:
        theirs.close()
    with capsys.disabled():
        print(f'\n{"case":58} sallyport  mosquitto')
        for name, our, their in table:
            print(f'{name:58} {"no" if our else "yes":9}  {"no: " + their if their else "yes"}')
        print(f'{len(table)} cases: sallyport {sum(not our for _, our, _ in table)}, mosquitto {sum(not their for *_, their in table)}')
    assert not worse, '\n'.join(worse)


def attempt(server, one, number, timeout):
    """'' when the server passes the case, or what it did instead."""
    function, version = one
    server.open()
    try:
        with Talk(server, version, number, timeout) as talk:
            function(talk)
    except (AssertionError, OSError, IndexError, StopIteration) as error:
        return (str(error).split('\n')[0] or 'another answer')[:70]
    return ''
