"""d: will it fit? `check` says what does, and an alert comes before the last of it is used."""
import re
import resource

import pytest

from harness import wire
from harness.fortress import BINARY, metrics
from harness.wait import wait_until
from harness.wire import Wire, tls_context

pytestmark = pytest.mark.release

POLICY = """version: 1
roles:
  fleet: { kind: service, many: yes, client_id: "*", publish: [ "t/#" ], subscribe: [ "t/#" ] }
"""


def alerts(fortress):
    return {one['target']: one for one in fortress.json('alerts')}


def test_check_says_what_fits(make_fortress):
    fortress = make_fortress(start=False, settings=('memory_bytes=64MiB', 'workers=2'))
    text = fortress.run('check', fortress.dir)
    fits, by_files, mib, by_memory = map(int, re.search(
        r'About (\d+) connections fit: descriptors allow (\d+), (\d+) MiB of memory (\d+)\.', text).groups())
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    clients = (64 << 20) // 100 * 80 - ((12 + 2 * 6) << 20)  # below the first step of shedding, without what is the server's own
    assert by_files == hard - 64 and mib == 64 and by_memory == clients // (24 << 10)
    assert fits == min(by_files, by_memory)


@pytest.fixture
def few_descriptors(tmp_path):
    """The daemon, started by somebody who allows it 164 descriptors."""
    script = tmp_path / 'sallyport'
    script.write_text(f'#!/bin/sh\nulimit -n 164\nexec {BINARY} "$@"\n')
    script.chmod(0o755)
    return script


def test_descriptors_and_connections_run_out(make_fortress, few_descriptors):
    """164 descriptors: 100 connections fit. At 80 % of both an alert opens, and it closes when there is room again."""
    fortress = make_fortress(policy=POLICY, binary=few_descriptors)
    fleet = fortress.add('fleet')
    assert metrics(fortress)['open_descriptors'] < 164 * 0.7
    assert not alerts(fortress) and not [e for e in fortress.events() if e['category'] == 'store_space'], 'nothing is short at the start'
    context, clients = tls_context(fleet), []
    try:
        while len(clients) < 79 or metrics(fortress)['open_descriptors'] < 164 * 0.8 + 2:  # who asks takes some
            clients.append(Wire(fortress, context=context).login(f'client-{len(clients)}'))
        clients += [Wire(fortress, context=context).login(f'last-{i}') for i in range(max(0, 80 - len(clients)))]
        open_ = wait_until('both alerts', lambda: {'descriptors', 'connections that fit'} <= set(alerts(fortress))
                           and alerts(fortress), 20, pause=0.2)
        used, most, percent = map(int, re.match(r'(\d+) of (\d+) descriptors are in use \((\d+) %\)\. At the last one new '
                                                r'connections wait .* Raise LimitNOFILE', open_['descriptors']['reason']).groups())
        assert most == 164 and 80 <= percent == used * 100 // most
        used, most, percent = map(int, re.match(r'(\d+) of (\d+) connections that fit are in use \((\d+) %\)\.',
                                                open_['connections that fit']['reason']).groups())
        assert 80 <= used <= len(clients) and most == 100 and percent >= 80  # more may have come since it opened
        for target in ('descriptors', 'connections that fit'):
            fortress.wait_event('quota', severity='alert', target=target)
    finally:
        for client in clients:
            client.socket.close()
    wait_until('both to close', lambda: not {'descriptors', 'connections that fit'} & set(alerts(fortress)), 20, pause=0.2)
    for target in ('descriptors', 'connections that fit'):
        fortress.wait_event('quota', severity='notice', target=target, reason=re.compile('there is room again'))


def test_memory_runs_out(make_fortress):
    """Retained messages fill it until the alert opens: it knows what is held, not what the allocator keeps. With a
    sanitizer's own, 30 MB are held before anybody comes."""
    fortress = make_fortress(policy=POLICY.replace('[ "t/#" ],', '[ { topic: "t/#", retain: yes, qos: 1 } ],'), settings=('memory_bytes=40MiB',))
    client = Wire(fortress, fortress.add('fleet')).login('filler')
    text = b'x' * (32 << 10)
    for i in range(600):
        client.send(wire.publish(f't/{i}', text, qos=1, packet_id=i + 1, retain=True)).expect(wire.PUBACK, timeout=30)
        if i % 20 == 0 and metrics(fortress)['memory_used_bytes'] > (40 << 20) * 0.82:
            break
    open_ = wait_until('the alert', lambda: alerts(fortress).get('bytes of memory'), 20, pause=0.2)
    assert re.match(rf'\d+ of {40 << 20} bytes of memory are in use \(8\d %\)\. Look at `sallyport metrics`', open_['reason'])
    client.socket.close()
