"""b: a coap listener with a multicast rule: discovery in the groups it names, and nothing else, over the loopback interface."""
import re
import select
import socket
import time

import pytest

from harness import oscore
from harness.coap_message import CON, GET, NON, PUT, Message, path
from harness.fortress import POLICY, Fortress, Refused, metrics

V4, V6 = '224.0.1.187', 'ff02::fd'
RULE = f'multicast: {{ groups: [{V4}, "{V6}"], interfaces: [lo], resources: [/.well-known/core] }}'
LEISURE_S = 5
CORE = '.well-known/core'
LINKS = b'</mq>;rt="sallyport.topics",</.well-known/core>;ct=40'


def lines(fortress):
    """The line of the coap listener, and what is before its end."""
    text = (fortress.dir / 'sallyport.yaml').read_text()
    return re.search(r'( *- \{ name: coap,.*) \}', text).group(1)


@pytest.fixture(scope='module')
def plant():
    one = Fortress(('mqtts', 'coaps', 'coap'), start=False)
    line = lines(one)
    one.configure(line, line.replace('127.0.0.1', '[::]') + f', {RULE}')
    one.start()
    one.apply(POLICY)
    yield one
    one.close()


class Asker:
    """A socket that sends out of the loopback interface."""

    def __init__(self, plant, group):
        family = socket.AF_INET6 if ':' in group else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        lo = socket.if_nametoindex('lo')
        if family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, lo)
            self.to = (group, plant.ports['coap'], 0, lo)
        else:
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton('127.0.0.1'))
            self.to = (group, plant.ports['coap'])
            self.socket.bind(('127.0.0.1', 0))
        try:
            self.socket.sendto(b'', self.to)
        except OSError as error:
            self.socket.close()
            pytest.skip(f'this machine sends nothing to {group} over loopback: {error}')

    def send(self, where, token, code=GET, kind=NON, payload=b''):
        message = Message(kind, code, int.from_bytes(token, 'big'), token, path(where), payload).encode()
        self.socket.sendto(message, self.to)
        return len(message)

    def answers(self, timeout):
        """All that comes until one has, or the time is over; and whatever is there besides."""
        got, end = [], time.monotonic() + timeout
        while select.select([self.socket], [], [], 0 if got else max(0, end - time.monotonic()))[0]:
            data, sender = self.socket.recvfrom(2048)
            got.append((Message.decode(data), len(data), sender))
        return got

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def test_the_rule_is_read_and_told(plant):
    said = plant.cli('check')
    assert f'Listener coap answers /.well-known/core in groups ({V4}, {V6} on lo)' in said
    plant.wait_log(rf'listener coap: answers /.well-known/core in groups: {V4}, {V6} on lo')
    plant.wait_event('exposure', listener='coap', about=f'multicast rule answers /.well-known/core to whoever asks a group ({V4}')
    assert 'exposure' in plant.cli('alerts') and 'multicast rule' in plant.cli('alerts')


@pytest.mark.parametrize('group', [V4, pytest.param(V6, marks=pytest.mark.release)])
def test_discovery_in_a_group_and_nothing_else(plant, group):
    with Asker(plant, group) as asker:
        asker.send(CORE, b'\x01', kind=CON)
        asker.send(CORE, b'\x02', code=PUT, payload=b'x')
        asker.send('mq/s/a', b'\x03')
        asker.send('other', b'\x04')
        asker.socket.sendto(b'\x50', asker.to)
        heard = asker.send(CORE, b'\x05')
        got = asker.answers(LEISURE_S + 15)
        assert len(got) == 1, got
        message, n, sender = got[0]
        assert (message.kind, message.text, message.token, message.payload) == (NON, '2.05', b'\x05', LINKS)
        assert n <= 3 * heard
        assert sender[1] == plant.ports['coap'] and sender[0] in ('127.0.0.1', '::1') or sender[0].startswith('fe80')
    # Who was found is spoken to as ever, and says nothing without OSCORE.
    lamp = plant.add('lamp', credentials=('oscore', 'x509'))
    with oscore.Client(lamp) as client:
        bare = client.ask(GET, CORE, protect=False)
        assert (bare.code, bare.is_protected) == ('4.01', False)
        assert client.request(GET, CORE).is_protected
    assert metrics(plant)['coap_amplification_worst_ratio'] <= 3


def test_another_rule_needs_a_restart(plant):
    text = (plant.dir / 'sallyport.yaml').read_text()
    (plant.dir / 'sallyport.yaml').write_text(text.replace(f'{V4}, ', ''))
    plant.reload()
    plant.wait_event('config_change', about='listener coap (multicast)')
    for wrong, says in ((text.replace('interfaces: [lo]', 'interfaces: []'), 'multicast needs groups, interfaces and resources'),
                        (text.replace('/.well-known/core]', '/mq/a]'), 'only /.well-known/core'),
                        (text.replace('[::]', '127.0.0.1'), 'bound to one address')):
        (plant.dir / 'sallyport.yaml').write_text(wrong)
        with pytest.raises(Refused, match=r'sallyport.yaml:\d+:\d+: .*' + re.escape(says)):
            plant.cli('check')
    (plant.dir / 'sallyport.yaml').write_text(text)


def test_an_interface_that_is_not_there(plant):
    one = Fortress(('mqtts', 'coaps', 'coap'), start=False)
    try:
        line = lines(one)
        one.configure(line, line.replace('127.0.0.1', '[::]') + ', ' + RULE.replace('[lo]', '[none0]'))
        one.start_only()
        one.wait_log('multicast names the interface none0, which is not there')
        process, one.process = one.process, None
        assert process.wait(20) == 1
    finally:
        one.close()
