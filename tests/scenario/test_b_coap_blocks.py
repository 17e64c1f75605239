"""b: values in blocks and observation, as their standards say: Debian's coap-client, and a peer that breaks the rules."""
import re
from contextlib import ExitStack, suppress

import pytest

from harness import coap, mosquitto
from harness.coap_message import (ACK, BLOCK1, BLOCK2, CON, EMPTY, ETAG, GET, MAX_AGE, NON, OBSERVE, POST, PUT, REQUEST_TAG, RST, SIZE1,
                                  SIZE2, Message, block)
from harness.coap_peer import Peer
from harness.fortress import Refused, metrics
from harness.mosquitto import Subscriber
from harness.wait import wait_until

pytestmark = pytest.mark.release
needs_client = pytest.mark.skipif(not coap.BUILDS, reason='libcoap3-bin is not installed')
builds = pytest.mark.parametrize('build', coap.BUILDS)
CREDENTIALS = ('psk', 'x509')
STANDSTILL_S = 600  # longer than any client repeats a block


def text_of(n, word='abcdefghij'):
    """n characters, each piece of it different from the others."""
    return ''.join(f'{word[i % len(word)]}{i:07d}' for i in range(n // 8 + 1))[:n]


@pytest.fixture
def lamp(fortress):
    return fortress.add('lamp', credentials=CREDENTIALS)


@pytest.fixture
def console(fortress):
    return fortress.add('console')


# ---- Debian's client

@needs_client
@builds
@pytest.mark.parametrize('method,retained', [('put', 1), ('post', 0)])
def test_a_large_value_is_one_message(fortress, lamp, console, tmp_path, build, method, retained):
    body = text_of(20000)
    (tmp_path / 'body').write_text(body)
    with Subscriber(console, f'lamps/{lamp.name}/{method}', qos=1) as seen:
        answer = coap.request(build, lamp, method, f'mq/lamps/{lamp.name}/{method}', more=['-f', str(tmp_path / 'body')])
        assert answer.code is None, answer.text
        assert seen.get()['payload'] == body
        mosquitto.publish(console, f'lamps/{lamp.name}/{method}', 'mark', qos=1, client_id='marker')
        assert seen.get()['payload'] == 'mark', 'it came more than once'
    mosquitto.publish(console, f'lamps/{lamp.name}/{method}', '', '-r', qos=1)


@needs_client
@builds
@pytest.mark.parametrize('size', [16, 64, 1024])
def test_a_large_value_is_read_in_blocks(fortress, lamp, console, tmp_path, build, size):
    body = text_of(1500 if size == 16 else 15000)
    mosquitto.publish(console, f'lamps/{lamp.name}/goal', body, '-r', qos=1)
    answer = coap.request(build, lamp, 'get', f'mq/lamps/{lamp.name}/goal',
                          more=['-b', str(size), '-o', str(tmp_path / 'body')], wait_s=20)
    assert answer.code is None, answer.text
    assert (tmp_path / 'body').read_text().strip() == body
    mosquitto.publish(console, f'lamps/{lamp.name}/goal', '', '-r', qos=1)


@needs_client
@builds
def test_observers_get_all_of_a_large_state(fortress, lamp, console, build):
    mosquitto.publish(console, f'lamps/{lamp.name}/large', text_of(3000, 'z'), '-r', qos=1)
    with coap.Observer(build, lamp, f'mq/lamps/{lamp.name}/large') as watching:
        watching.expect(text_of(3000, 'z'))
        for word in ('k', 'l', 'm'):
            mosquitto.publish(console, f'lamps/{lamp.name}/large', text_of(4000, word), '-r', qos=1)
            watching.expect(text_of(4000, word))
        mosquitto.publish(console, f'lamps/{lamp.name}/large', text_of(5000, 'n'), qos=1)  # which no GET brings
        watching.expect(text_of(5000, 'n'))
    mosquitto.publish(console, f'lamps/{lamp.name}/large', '', '-r', qos=1)


@needs_client
@pytest.mark.parametrize('build', coap.BUILDS[:1])
def test_lost_blocks_are_sent_again(fortress, lamp, console, tmp_path, build):
    """One block in the middle is lost; the message comes once."""
    (tmp_path / 'body').write_text(text_of(8000))
    with Subscriber(console, f'lamps/{lamp.name}/lossy', qos=1) as seen:
        answer = coap.request(build, lamp, 'put', f'mq/lamps/{lamp.name}/lossy', wait_s=30,
                              more=['-f', str(tmp_path / 'body'), '-l', '9'])
        assert answer.code is None, answer.text
        assert seen.get(30)['payload'] == text_of(8000)
        mosquitto.publish(console, f'lamps/{lamp.name}/lossy', 'mark', qos=1, client_id='marker')
        assert seen.get()['payload'] == 'mark'


@needs_client
@builds
def test_too_large_is_told_at_once(fortress, lamp, tmp_path, build):
    """The lamp may retain 64 KiB at a topic; it hears so with the first block, not after the last."""
    (tmp_path / 'body').write_text(text_of(66000))
    answer = coap.request(build, lamp, 'put', f'mq/lamps/{lamp.name}/over', more=['-f', str(tmp_path / 'body')])
    assert answer.code == '4.13', answer.text
    fortress.wait_event('quota', about=lamp.name)


# ---- a peer that does as it likes

def put_block(peer, where, number, payload, more=True, size=64, options=()):
    return peer.ask(PUT, where, payload, [(BLOCK1, block(number, more, size)), *options])


def test_blocks_of_any_size_and_number(fortress, lamp, console):
    where, body = f'mq/lamps/{lamp.name}/sized', text_of(1000).encode()
    with Peer(lamp) as peer, Subscriber(console, f'lamps/{lamp.name}/sized', qos=1) as seen:
        for size in (16, 1024, 256):
            for at in range(0, len(body), size):
                more = at + size < len(body)
                got = put_block(peer, where, at // size, body[at:at + size], more, size)
                assert got.text in (('2.31',) if more else ('2.01', '2.04'))
                assert got.option(BLOCK1) == block(at // size, more, size)
            assert seen.get()['payload'] == body.decode()
            back, number = b'', 0
            while not back or got.number(BLOCK2) & 8:
                got = peer.ask(GET, where, options=[(BLOCK2, block(number, False, size))])
                assert got.text == '2.05'
                assert number or got.number(SIZE2) in (len(body), None)
                back, number = back + got.payload, number + 1
            assert back == body


def test_a_block_size_that_changes_on_the_way(fortress, lamp, console):
    """Smaller ones may follow where the last one ended; what overlaps or leaves a gap ends the transfer."""
    where, body = f'mq/lamps/{lamp.name}/changing', text_of(640).encode()
    with Peer(lamp) as peer, Subscriber(console, f'lamps/{lamp.name}/changing', qos=1) as seen:
        def put(at, size, more=True):
            assert at % size == 0
            return put_block(peer, where, at // size, body[at:at + size], more, size).text
        assert [put(0, 256), put(256, 64), put(320, 16), put(336, 16)] == ['2.31'] * 4
        assert put(352, 32) == '2.31' and put(384, 128) == '2.31' and put(512, 128, more=False) in ('2.01', '2.04')
        assert seen.get()['payload'] == body.decode()
        for at, size in ((128, 64), (192, 64), (320, 64), (512, 128)):  # within what is there, other bytes at its end, two gaps
            assert put(0, 256) == '2.31'
            other = body[at:at + size][::-1]
            assert put_block(peer, where, at // size, other, True, size).text == '4.08', (at, size)
            assert put(256, 64) == '4.08', 'something of it was kept'
        assert peer.ask(GET, where).payload == body


def test_wrong_blocks_are_refused_with_an_event_and_leave_nothing(fortress, console):
    lamp = fortress.add('lamp', credentials=CREDENTIALS)
    where, piece = f'mq/lamps/{lamp.name}/wrong', b'x' * 64
    with Peer(lamp) as peer:
        def begin():
            assert put_block(peer, where, 0, piece).text == '2.31'

        def expect(answer, want, event, reason):
            assert answer.text == want
            fortress.wait_event(event, principal=lamp.name, reason=reason)
            again = put_block(peer, where, 1, piece)
            assert again.text == '4.08', 'something of it was kept'

        reason = re.compile
        begin()
        expect(put_block(peer, where, 2, piece), '4.08', 'protocol_error', reason('4.08'))
        begin()
        expect(put_block(peer, where, 1, piece[:-1]), '4.00', 'malformed', reason('does not fill'))
        begin()
        expect(put_block(peer, where, 0xFFFF, piece), '4.13', 'quota', reason('packet_bytes|retained'))
        expect(peer.ask(PUT, where, piece, [(BLOCK1, 8 | 7)]), '4.00', 'malformed', reason('reserved size'))
        begin()
        assert put_block(peer, where, 2, piece[:32], size=32).text == '2.31', 'smaller ones that go on where it was are fine'
        expect(put_block(peer, where, 1, piece * 2, size=128), '4.08', 'protocol_error', reason('4.08'))
        expect(peer.ask(GET, where, options=[(BLOCK1, block(0, False, 64))]), '4.02', 'protocol_error', reason('4.02'))
        expect(put_block(peer, where, 0, piece, options=[(SIZE1, 10 ** 6)]), '4.13', 'quota', reason('4.13'))
        answer = put_block(peer, 'mq/lamps/another/wrong', 0, piece)
        expect(answer, '4.03', 'acl_deny', reason('4.03'))
        assert peer.ask(PUT, where, b'0' * 20, [(BLOCK2, 7)]).text == '4.00'
        # and with all that, the association and the topic are as they were
        assert peer.ask(PUT, where, b'short').text == '2.01'
        assert peer.ask(GET, where).payload == b'short'
        assert peer.ask(GET, where, options=[(BLOCK2, block(1, False, 64))]).text == '4.00'


def test_a_transfer_is_of_one_client(fortress, lamp, console):
    """Nobody goes on with what another association began, not the same device either; and each of two gets what it sent."""
    where, piece = f'mq/lamps/{lamp.name}/own', b'x' * 64
    with Peer(lamp) as peer, Peer(lamp) as other, Subscriber(console, f'lamps/{lamp.name}/own', qos=1) as seen:
        assert put_block(peer, where, 0, b'a' * 64).text == '2.31'
        assert put_block(other, where, 1, piece, more=False).text == '4.08'
        assert put_block(other, where, 0, b'b' * 64).text == '2.31'
        assert put_block(peer, where, 1, b'a', more=False).text in ('2.01', '2.04')
        assert put_block(other, where, 1, b'b', more=False).text in ('2.01', '2.04')
        assert [seen.get()['payload'] for _ in range(2)] == ['a' * 65, 'b' * 65]


def test_a_transfer_that_stands_still_is_forgotten(make_fortress, clock):
    """Its memory is given back, and what comes too late is told so."""
    fortress = make_fortress(binary=clock.binary)
    lamp = fortress.add('lamp', credentials=('psk',))
    where, piece = f'mq/lamps/{lamp.name}/slow', b'x' * 1024
    with Peer(lamp) as peer:
        assert peer.is_alive()
        used = metrics(fortress)['memory_used_bytes']
        for number in range(48):
            assert put_block(peer, where, number, piece, size=1024).text == '2.31'
        assert metrics(fortress)['memory_used_bytes'] > used + 45000
        clock.pass_by(STANDSTILL_S)
        assert put_block(peer, where, 48, piece, size=1024).text == '4.08'
        assert peer.ask(GET, where).text == '4.04'

        def is_free():
            with suppress(Refused):  # a command over which the clock leaps is cut off, and asked again
                return metrics(fortress)['memory_used_bytes'] < used + 25000
            return False
        wait_until('its memory to be free', is_free)


def test_two_transfers_of_one_topic_by_their_tags(fortress, lamp, console):
    where = f'mq/lamps/{lamp.name}/tagged'
    with Peer(lamp) as peer, Subscriber(console, f'lamps/{lamp.name}/tagged', qos=1) as seen:
        for number in range(3):
            for tag in (b'A', b'B'):
                got = peer.ask(POST, where, tag * 64, [(BLOCK1, block(number, number < 2, 64)), (REQUEST_TAG, tag)])
                assert got.text == ('2.31' if number < 2 else '2.04')
        assert sorted(seen.get()['payload'] for _ in range(2)) == ['A' * 192, 'B' * 192]


def test_a_change_between_blocks_shows_in_the_etag(fortress, lamp, console):
    where = f'mq/lamps/{lamp.name}/changing'
    with Peer(lamp) as peer:
        assert peer.ask(PUT, where, b'1' * 200).text == '2.01'
        first = peer.ask(GET, where, options=[(BLOCK2, block(0, False, 64))])
        second = peer.ask(GET, where, options=[(BLOCK2, block(1, False, 64))])
        assert first.option(ETAG) == second.option(ETAG) and len(first.option(ETAG)) == 8
        assert peer.ask(PUT, where, b'2' * 200).text == '2.04'
        third = peer.ask(GET, where, options=[(BLOCK2, block(2, False, 64))])
        assert third.payload == b'2' * 64 and third.option(ETAG) != first.option(ETAG)


def test_known_versions_are_valid(fortress, lamp, console):
    where = f'mq/lamps/{lamp.name}/version'
    with Peer(lamp) as peer:
        assert peer.ask(PUT, where, b'one', [(MAX_AGE, 1000)]).text == '2.01'
        etag = peer.ask(GET, where).option(ETAG)
        valid = peer.ask(GET, where, options=[(ETAG, b'otherone'), (ETAG, etag)])
        assert (valid.text, valid.payload, valid.option(ETAG)) == ('2.03', b'', etag)
        assert 900 < valid.number(MAX_AGE) <= 1000
        assert peer.ask(PUT, where, b'two').text == '2.04'
        assert peer.ask(GET, where, options=[(ETAG, etag)]).payload == b'two'


def test_who_asks_behind_an_answer_finds_what_it_said(fortress, lamp):
    """Six associations, spread over the workers: what one of them wrote, all find, once it has its answer."""
    where, late = f'mq/lamps/{lamp.name}/found', []
    with ExitStack() as open_ones:
        peers = [open_ones.enter_context(Peer(lamp)) for _ in range(6)]
        for n in range(150):
            writer, value = peers[n % 6], str(n).encode()
            assert writer.ask(PUT, where, value).text in ('2.01', '2.04')
            late += [n for reader in peers if reader is not writer and reader.ask(GET, where).payload != value]
    assert late == []


# ---- observation

def subscriptions(fortress):
    return sum(value for name, value in metrics(fortress).items() if name.startswith('subscriptions'))


class Watched:
    """A lamp observes a topic of its own by one association, and writes there by another."""

    def __init__(self, peer, writer, where):
        self.peer, self.writer, self.where = peer, writer, where
        self.first = peer.ask(GET, where, options=[(OBSERVE, 0)], token=b'watch')
        assert self.first.text == '2.05' and self.first.option(OBSERVE) is not None

    def state(self, text):
        assert self.writer.ask(PUT, self.where, text.encode()).text in ('2.01', '2.04')

    def states(self, *texts):
        """One behind the other, without waiting: as little time passes between them as can be."""
        asked = [self.writer.send(self.writer.make(PUT, self.where, text.encode())) for text in texts]
        answers = [self.writer.receive() for _ in asked]
        assert {one.token for one in answers} == {one.token for one in asked}
        assert {one.text for one in answers} <= {'2.01', '2.04'}

    def expect_nothing(self):
        """No notification comes before the answer to a request that was sent now. The writer may be at another worker: who asks
        behind its answer gets what it said."""
        self.state('unheard')
        request = self.peer.send(self.peer.make(GET, self.where))
        got = self.peer.receive()
        assert (got.token, got.payload) == (request.token, b'unheard')


@pytest.fixture
def watched(fortress, lamp):
    with Peer(lamp) as peer, Peer(lamp) as writer:
        yield Watched(peer, writer, f'mq/lamps/{lamp.name}/watched')


def test_the_eighth_notification_is_confirmable_and_numbers_rise(watched):
    latest, types = watched.first.number(OBSERVE), []
    for i in range(16):
        watched.state(f'state {i}')
        got = watched.peer.receive()
        assert (got.token, got.payload) == (b'watch', f'state {i}'.encode())
        assert 0 < got.number(OBSERVE) - latest < 2 ** 23
        latest = got.number(OBSERVE)
        types.append(got.kind)
        if got.kind == CON:
            watched.peer.acknowledge(got)
    assert types == ([NON] * 7 + [CON]) * 2


def test_who_does_not_acknowledge_gets_the_latest_state_only(watched):
    for i in range(8):
        watched.state(f'state {i}')
        got = watched.peer.receive()
    assert got.kind == CON
    watched.states(*(f'state {i}' for i in range(8, 12)))
    again = watched.peer.receive()  # repeated after two or three seconds, with the state of then
    assert again.kind == CON and again.payload in (b'state 11', got.payload)
    watched.peer.acknowledge(again)
    last = again if again.payload == b'state 11' else watched.peer.receive()
    assert last.payload == b'state 11'
    watched.peer.acknowledge(last, ACK if last.kind == CON else RST)
    answer = watched.peer.send(watched.peer.make(GET, watched.where))
    assert watched.peer.receive().token == answer.token, 'states in between were kept'


@pytest.mark.parametrize('n', [1, 8], ids=['a plain one', 'a confirmable one'])
def test_a_reset_ends_the_observation(watched, n):
    for i in range(n):
        watched.state(f'state {i}')
        got = watched.peer.receive()
    watched.peer.acknowledge(got, RST)
    mark = watched.peer.ask(GET, watched.where)  # behind the Reset in the same association
    assert mark.payload == f'state {n - 1}'.encode()
    watched.expect_nothing()


def test_a_get_with_observe_1_ends_it(watched):
    watched.state('heard')
    assert watched.peer.receive().payload == b'heard'
    end = watched.peer.ask(GET, watched.where, options=[(OBSERVE, 1)], token=b'watch')
    assert end.payload == b'heard' and end.option(OBSERVE) is None
    watched.expect_nothing()


def test_observe_1_with_another_token_ends_nothing(watched):
    end = watched.peer.ask(GET, watched.where, options=[(OBSERVE, 1)], token=b'other')
    assert end.option(OBSERVE) is None
    watched.state('heard')
    assert watched.peer.receive().payload == b'heard'


def test_a_reset_of_something_else_ends_nothing(watched):
    for mid in range(0, 65536, 4096):
        watched.peer.send(Message(RST, EMPTY, mid))
        watched.peer.send(Message(ACK, EMPTY, mid))
    watched.state('still here')
    assert watched.peer.receive().payload == b'still here'


def test_a_large_message_that_is_not_retained_can_be_fetched(console, watched):
    peer, where, body = watched.peer, watched.where, text_of(3000)
    mosquitto.publish(console, where.removeprefix('mq/'), body, qos=1)
    got = peer.receive()
    assert got.number(BLOCK2) == 8 | 6 and got.number(SIZE2) == 3000
    back, number = got.payload, 1
    while got.number(BLOCK2) & 8:
        etag = got.option(ETAG)
        got = peer.ask(GET, where, options=[(BLOCK2, block(number, False, 1024))])
        assert got.option(ETAG) == etag
        back, number = back + got.payload, number + 1
    assert back.decode() == body
    assert peer.ask(GET, where).text == '4.04'


def test_no_state_is_left_of_an_observation(fortress, lamp):
    before = subscriptions(fortress)
    with Peer(lamp) as peer:
        Watched(peer, peer, f'mq/lamps/{lamp.name}/watched')
        wait_until('the subscription', lambda: subscriptions(fortress) == before + 1)
    wait_until('its end', lambda: subscriptions(fortress) == before)


def test_a_finished_value_survives_kill_9_and_an_unfinished_one_was_never_there(fortress, lamp):
    where, body = f'mq/lamps/{lamp.name}', text_of(2000).encode()
    with Peer(lamp) as peer:
        for at in range(2):
            got = put_block(peer, f'{where}/done', at, body[at * 1024:][:1024], at == 0, 1024)
        assert got.text == '2.01'
        assert put_block(peer, f'{where}/begun', 0, body[:1024], True, 1024).text == '2.31'
        fortress.kill()
    fortress.start()
    with Peer(lamp) as peer:
        assert put_block(peer, f'{where}/begun', 1, body[1024:], False, 1024).text == '4.08'
        assert peer.ask(GET, f'{where}/begun').text == '4.04'
        back = [peer.ask(GET, f'{where}/done', options=[(BLOCK2, block(number, False, 1024))]) for number in range(2)]
        assert b''.join(got.payload for got in back) == body
        assert back[0].option(ETAG) == back[1].option(ETAG) is not None
