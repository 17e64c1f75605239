"""a: OSCORE on several workers. The kernel gives each address to one of them, the context lives at another: nobody sees which."""
import secrets

import pytest

from harness import mosquitto
from harness.coap_message import CON, ECHO, GET, OBSERVE, PUT, RST, Message
from harness.mosquitto import Subscriber
from harness.oscore import Client, Context

pytestmark = pytest.mark.release

LISTENERS = ('mqtts', 'coaps', 'coap')
DEVICES, PORTS = 6, 6  # that all of 3 x 36 choices fall on the right worker: never


@pytest.fixture(scope='module')
def fortress():
    from harness.fortress import Fortress
    one = Fortress(listeners=LISTENERS, settings=('workers=3',))
    yield one
    one.close()


def add_lamp(fortress):
    return fortress.add('lamp', credentials=('oscore', 'x509'))


def test_any_port_finds_the_context(fortress):
    console = fortress.add('console')
    for lamp in [add_lamp(fortress) for _ in range(DEVICES)]:
        topic = f'lamps/{lamp.name}/state'
        with Subscriber(console, f'{topic}', qos=1) as seen, Client(lamp) as client:
            for i in range(PORTS):
                client.rebind()
                answer = client.request(PUT, f'mq/{topic}', f'v{i}'.encode())
                assert answer.is_protected and answer.code == ('2.01' if i == 0 else '2.04')
                assert seen.get()['payload'] == f'v{i}'
                assert client.request(GET, f'mq/{topic}').payload == f'v{i}', 'and again without an Echo'
            recorded = client.sent[-1]
            for _ in range(PORTS):
                with Client(lamp) as thief:
                    thief.send_raw(recorded)
                    refused = Message.decode(thief.receive_raw(20))
                    assert refused.text == '4.01' and not refused.options and not refused.payload
    fortress.wait_event('replay', listener='coap')


def test_acknowledgements_and_resets_find_it_too(fortress):
    """What has no kid: a ping is answered, and a Reset ends the observation, from whatever port."""
    lamp, console = add_lamp(fortress), fortress.add('console')
    topic = f'lamps/{lamp.name}/goal'
    for i in range(PORTS):
        mosquitto.publish(console, topic, f'now-{i}', '-r', qos=1)
        with Client(lamp) as client:
            client.context.number = 100 * i  # one context, another socket
            first = client.request(GET, f'mq/{topic}', options=[(OBSERVE, b'')])
            assert first.payload == f'now-{i}'
            client.send_raw(Message(CON, 0, 4711).encode())
            assert Message.decode(client.receive_raw(20)).kind == RST
            mosquitto.publish(console, topic, 'news', '-r', qos=1)
            outer = Message.decode(client.receive_raw(20))
            assert outer.option(OBSERVE) is not None
            client.send_raw(Message(RST, 0, outer.mid).encode())
            assert client.request(GET, f'mq/{topic}').payload == 'news', 'the Reset came before this'
            mosquitto.publish(console, topic, 'unheard', '-r', qos=1)
            assert client.request(GET, f'mq/{topic}').payload == 'unheard', 'and no notification before this'


def test_unknown_kids_are_refused_by_whoever_gets_them(fortress):
    lamp = add_lamp(fortress)
    nobody = Context.of(lamp)
    with Client(lamp) as good:
        assert good.request(GET, f'mq/lamps/{lamp.name}/x').code == '4.04'
        for _ in range(PORTS):
            nobody.sender = secrets.token_bytes(6)
            with Client(lamp, nobody) as client:
                answer = client.ask(GET, 'mq/a')
                assert not answer.is_protected and answer.code == '4.01' and not answer.payload
        assert good.request(GET, f'mq/lamps/{lamp.name}/x').code == '4.04'
        fortress.cli('device', 'remove', lamp.name)
        for _ in range(PORTS):
            good.rebind()
            assert not good.ask(GET, f'mq/lamps/{lamp.name}/x').is_protected, 'gone at every worker'


def test_other_homes_behind_a_restart(make_fortress):
    """kill -9, then another number of workers: every context has another home, and no number comes twice (the client looks)."""
    fortress = make_fortress(listeners=LISTENERS, settings=('workers=2',))
    clients = [Client(add_lamp(fortress)) for _ in range(4)]
    for before, after in (('"2"', '"3"'), ('"3"', '"1"')):
        for client in clients:
            for _ in range(2):
                client.rebind()
                answer = client.ask(GET, 'mq/lamps/x')
                assert answer.is_protected and answer.code == '4.01'
                echo = (ECHO, answer.message.option(ECHO))
                assert client.ask(GET, 'mq/lamps/x', options=[echo]).code == '4.03'
        fortress.kill()
        fortress.configure(f'workers: {before}', f'workers: {after}')
        fortress.start()
    for client in clients:
        assert client.request(GET, 'mq/lamps/x').code == '4.03'
        assert client.numbers
        client.close()
