"""m: the numbers, as Prometheus reads them: names and labels, who may read, health and readiness, rules and dashboard."""
import http.client
import json
import re
import socket
import ssl
import subprocess

import pytest

from harness import wire
from harness.fortress import ROOT, Fortress, Refused
from harness.http_answers import answers_in
from harness.ports import free_ports
from harness.prometheus import PROMETHEUS, PROMTOOL, Page, Prometheus, promtool
from harness.trouble import SmallDisk
from harness.wait import wait_until
from harness.wire import Wire, tls_context

needs_prometheus = pytest.mark.skipif(not (PROMTOOL and PROMETHEUS), reason='prometheus is not there: tools/install-deps --test')
MONITORING = ROOT / 'docs/monitoring'
PLAIN = '{ name: metrics, bind: "127.0.0.1:%d", door: metrics, plain: yes }'

POLICY = """
version: 1
roles:
  sensor: { publish: [ "sensors/${site}/${device}/+" ], subscribe: [ "commands/${device}/#" ], limits: { publish_rate: 1000/s } }
  keeper: { publish: [ { topic: "kept/+", retain: yes } ], limits: { retained_count: 1000, publish_rate: 1000/s, publish_burst: 1000 } }
  narrow:
    publish: [ { topic: "n/#", retain: yes } ]
    subscribe: [ "n/#" ]
    limits: { subscriptions: 1, retained_count: 1, retained_bytes: 1KiB, publish_rate: 2/s, publish_burst: 40, connect_burst: 100 }
  monitor: { resources: [ { path: "/metrics", methods: [GET] } ] }
  balancer: { resources: [ { path: "/health", methods: [GET] }, { path: "/ready", methods: [GET] } ] }
  writer: { resources: [ { path: "/metrics", methods: [POST] } ] }
"""


def open_fortress(**how):
    """With two metrics listeners: `metrics` on loopback in plain, `secure` by TLS."""
    one = Fortress(listeners=('mqtts', 'coaps', 'metrics'), start=False, **how)
    plain = PLAIN % one.ports['metrics']
    one.ports['secure'] = free_ports(['secure'])['secure']
    one.configure(f'  - {plain}\n', f'  - {plain}\n  - {{ name: secure, bind: "127.0.0.1:{one.ports["secure"]}", door: metrics }}\n')
    one.start()
    one.apply(POLICY)
    return one


@pytest.fixture(scope='module')
def fortress():
    one = open_fortress(settings=('preauth_seconds=3', 'packet_bytes=8KiB'))
    yield one
    one.close()


class Reader:
    """An HTTP client, over one connection: in plain, or by the certificate of a device."""

    def __init__(self, fortress, device=None):
        self.port = fortress.ports['secure' if device else 'metrics']
        self.connection = (http.client.HTTPSConnection('localhost', self.port, timeout=20, context=tls_context(device)) if device
                           else http.client.HTTPConnection('127.0.0.1', self.port, timeout=20))

    def get(self, path, method='GET', **headers):
        self.connection.request(method, path, headers={name.replace('_', '-'): value for name, value in headers.items()})
        answer = self.connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()

    def page(self):
        status, headers, text = self.get('/metrics')
        assert status == 200 and headers['Content-Type'] == 'text/plain; version=0.0.4; charset=utf-8', (status, text)
        return Page(text)


def raw(fortress, data, timeout=20):
    """All that comes back until the server closes."""
    with socket.create_connection(('127.0.0.1', fortress.ports['metrics']), timeout) as one:
        one.settimeout(timeout)
        one.sendall(data)
        got = b''
        while True:
            piece = one.recv(65536)
            if not piece:
                return got
            got += piece


# -- what is on the page ---------------------------------------------------------------------------------------------------------

CONTRACT = {
    'sallyport_resident_memory_bytes': {}, 'sallyport_open_descriptors': {}, 'sallyport_connections': {'listener'},
    'sallyport_sessions': {}, 'sallyport_subscriptions': {}, 'sallyport_retained_messages': {}, 'sallyport_retained_bytes': {},
    'sallyport_queued_messages': {}, 'sallyport_queued_bytes': {}, 'sallyport_messages_total': {'direction', 'qos'},
    'sallyport_dropped_total': {'reason'}, 'sallyport_events_total': {'category'}, 'sallyport_store_commit_seconds_sum': {},
    'sallyport_store_commit_seconds_count': {}, 'sallyport_handshakes_total': {'result'}, 'sallyport_coap_amplification_ratio': {},
    'sallyport_turn_seconds_sum': {}, 'sallyport_turn_seconds_count': {},
}


@pytest.mark.release
def test_every_name_with_its_labels(fortress):
    page = Page(fortress.cli('metrics'))
    for name, labels in CONTRACT.items():
        assert name in page.names(), name
        assert set(page.labels(name)) == set(labels), name
    assert page.labels('sallyport_connections')['listener'] == {'mqtts', 'coaps', 'mqtt', 'metrics', 'secure'}
    assert page.labels('sallyport_messages_total') == {'direction': {'in', 'out'}, 'qos': {'0', '1', '2'}}
    categories = re.search(r'#define EVENT_CATEGORIES\(X\)(.*?)\n\n', (ROOT / 'src/base/event.h').read_text(), re.S).group(1)
    assert page.labels('sallyport_events_total')['category'] == set(re.findall(r'X\((\w+),', categories))
    assert page.families['sallyport_worker_turn_seconds'][0] == 'histogram'
    for worker in page.labels('sallyport_worker_turn_seconds_bucket')['worker']:
        buckets = [(float(dict(labels)['le']), value) for (name, labels), value in page.samples().items()
                   if name == 'sallyport_worker_turn_seconds_bucket' and dict(labels)['worker'] == worker]
        buckets.sort()
        assert [value for _, value in buckets] == sorted(value for _, value in buckets), 'a bucket counts those below it'
        assert buckets[-1] == (float('inf'), page.value('sallyport_worker_turn_seconds_count', worker=worker))
    assert {name for name in Reader(fortress).page().families} == set(page.families), 'the listener gives what the command does'


def test_the_numbers_move_and_name_nobody(fortress):
    """Traffic, refusals and logins are counted; no label tells of a device, a topic or an address, however many there are."""
    reader, before = Reader(fortress), Page(fortress.cli('metrics'))
    sensor = fortress.add('sensor', name='who-is-this', credentials=('x509',))
    with Wire(fortress, sensor).login(sensor.name) as one:
        one.send(wire.subscribe(1, (f'commands/{sensor.name}/#', 1))).expect(wire.SUBACK)
        for i in range(3):
            one.send(wire.publish(f'sensors/north/{sensor.name}/t', 'x', 1, i + 1)).expect(wire.PUBACK)
        one.send(wire.publish('elsewhere/secret-topic', 'x', 1, 9)).expect(wire.PUBACK)
        fortress.wait_event('acl_deny', principal=sensor.name)
        page = Page(fortress.cli('metrics'))

        def grown(name, **labels):
            return page.value(name, **labels) - before.value(name, **labels)
        assert grown('sallyport_messages_total', direction='in', qos='1') == 4
        assert grown('sallyport_handshakes_total', result='ok') == 1
        assert grown('sallyport_connections', listener='mqtts') == 1
        assert grown('sallyport_sessions') == 1 and grown('sallyport_subscriptions') == 1
        assert grown('sallyport_events_total', category='acl_deny') == 1
        assert grown('sallyport_refusals_total', reason='denied') == 1
        assert grown('sallyport_turn_seconds_count') > 0 and grown('sallyport_store_commit_seconds_count') > 0
        text = wait_until('the page of now', lambda: (got := reader.get('/metrics')[2]) and
                          Page(got).value('sallyport_connections', listener='mqtts') == page.value(
                              'sallyport_connections', listener='mqtts') and got)
    for secret in (sensor.name, 'secret-topic', '127.0.0.1', 'north', str(fortress.dir)):
        assert secret not in text, secret
    assert set(before.samples()) == set(Page(text).samples()), 'no series came with the traffic'
    assert Page(text).value('sallyport_connections', listener='metrics') >= 1


def test_each_limit_has_its_count(fortress):
    """At the bound nothing is counted, past it one."""
    narrow = fortress.add('narrow', credentials=('x509',))

    def counts():
        page = Page(fortress.cli('metrics'))
        return {limit: page.value('sallyport_limit_refusals_total', limit=limit)
                for limit in page.labels('sallyport_limit_refusals_total')['limit']}

    def login():
        return Wire(fortress, narrow).login(narrow.name)

    def publish(topic, payload, **how):
        with login() as client:
            client.send(wire.publish(topic, payload, 1, 7, **how)).receive()

    def subscribe(*filters):
        with login() as client:
            client.send(wire.subscribe(1, *filters)).expect(wire.SUBACK)

    stories = {
        'packet_bytes': lambda more: publish('n/a', b'x' * (8192 - len(wire.publish('n/a', b'', 1, 7)) - 1 + more)),
        'topic_bytes': lambda more: publish('n/' + 'x' * (254 + more), ''),
        'topic_levels': lambda more: publish('n' + '/x' * (15 + more), ''),
        'filters_per_packet': lambda more: subscribe(*['n/a'] * (8 + more)),
        'subscriptions': lambda more: subscribe(*['n/a', 'n/b'][:1 + more]),
        'retained_bytes': lambda more: publish('n/kept', b'x' * (1024 + more), retain=True),
        'retained_count': lambda more: publish('n/another' if more else 'n/kept', 'x', retain=True),
    }
    for limit, story in stories.items():
        before = counts()
        story(0)
        assert counts() == before, f'{limit}: at the bound'
        story(1)
        assert counts() == {**before, limit: before[limit] + 1}, f'{limit}: past it'
    before = counts()
    with login() as fast:
        for i in range(1, 101):
            fast.send(wire.publish('n/fast', 'x', qos=1, packet_id=i))
        wait_until('publish_rate', lambda: counts()['publish_rate'] > before['publish_rate'])
    with socket.create_connection(('127.0.0.1', fortress.ports['metrics']), 20) as silent:
        assert silent.recv(1) == b''
    assert counts()['preauth_seconds'] == before['preauth_seconds'] + 1
    fortress.wait_event('slow_client', listener='metrics', reason=re.compile('preauth_seconds'))


# -- who may read ----------------------------------------------------------------------------------------------------------------

@pytest.mark.release
def test_by_tls_for_whom_the_policy_lets(fortress):
    monitor = fortress.add('monitor', name='prometheus', credentials=('x509',))
    reader = Reader(fortress, monitor)
    assert reader.page().families
    status, _, text = reader.get('/ready')
    assert status == 403 and 'audit trail' in text, 'each path is granted for itself'
    fortress.wait_event('acl_deny', principal='prometheus', target='/ready', listener='secure', protocol='metrics')
    assert reader.get('/metrics')[0] == 200, 'a refusal ends no connection'
    fortress.cli('device', 'disable', 'prometheus', '--reason', 'moved')
    assert reader.get('/metrics')[0] == 403, 'what is taken back is taken back from an open connection'
    fortress.wait_event('revoked', principal='prometheus', listener='secure')
    fortress.cli('device', 'enable', 'prometheus')
    assert reader.get('/metrics')[0] == 200
    balancer = Reader(fortress, fortress.add('balancer', name='balancer', credentials=('x509',)))
    assert [balancer.get(path)[0] for path in ('/health', '/ready', '/metrics')] == [200, 200, 403]


@pytest.mark.release
def test_nobody_else(fortress):
    for role in ('sensor', 'writer'):
        device = fortress.add(role, name=f'no-{role}', credentials=('x509',))
        assert Reader(fortress, device).get('/metrics')[0] == 403
        fortress.wait_event('acl_deny', principal=device.name, target='/metrics',
                            reason=re.compile(r'resources: \[ \{ path: /metrics, methods: \[GET\] \} \]'))
    nobody = Reader(fortress, device)
    nobody.connection = http.client.HTTPSConnection('localhost', fortress.ports['secure'], timeout=20,
                                                    context=tls_context(ca=device.ca))
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
        nobody.get('/metrics')
    fortress.wait_event('tls_reject', listener='secure')


@pytest.mark.release
def test_on_loopback_under_its_own_name_only(fortress):
    """A page of a browser may lead a name of its own to 127.0.0.1: what it asks says so."""
    reader = Reader(fortress)
    assert [reader.get('/health', Host=host)[0] for host in ('localhost', 'localhost:9464', '127.0.0.1', '127.0.0.9:1', '[::1]:9464')
            ] == [200] * 5
    for host in ('evil.example', 'localhost.evil.example', '127.0.0.1.evil.example:9464', '[::1]evil', '10.0.0.1', ''):
        assert reader.get('/health', Host=host)[0] == 403, host
    fortress.wait_event('probe', target='evil.example', listener='metrics', reason=re.compile('browser on this machine'))


# -- health, readiness, and what is no request -----------------------------------------------------------------------------------

@pytest.mark.release
def test_health_and_ready(fortress):
    reader = Reader(fortress)
    assert reader.get('/health')[::2] == (200, 'alive\n')
    assert reader.get('/ready')[::2] == (200, 'ready\n')
    assert reader.get('/ready?verbose')[0] == 200
    assert reader.get('/')[0] == 404 and reader.get('/metrics/')[0] == 404 and reader.get('//metrics')[0] == 404
    status, headers, _ = reader.get('/metrics', method='POST')
    assert status == 405 and headers['Allow'] == 'GET'
    assert reader.get('/health')[0] == 200, 'and the connection goes on'
    listeners = {one['name']: one for one in fortress.json('status')[0]['listeners']}
    assert [(listeners[name]['door'], listeners[name]['open'], listeners[name]['plaintext']) for name in ('metrics', 'secure')] == [
        ('metrics', True, True), ('metrics', True, False)]
    assert 'open on this machine alone, in plaintext' in fortress.cli('status')


def test_not_ready_while_the_disk_is_full(make_fortress):
    one = make_fortress(listeners=('mqtts', 'coaps', 'metrics'), policy=None)
    one.apply(POLICY)
    keeper = one.add('keeper', credentials=('x509',))
    one.stop()
    disk = SmallDisk(one, 64)
    try:
        one.start()
        reader = Reader(one)
        assert reader.get('/ready')[0] == 200
        disk.fill()
        with Wire(one, keeper).login(keeper.name) as client:
            for i in range(500):
                client.send(wire.publish(f'kept/{i}', bytes(60_000), 1, i + 1, retain=True))
                if client.expect(wire.PUBACK).reason >= 0x80:
                    break
        status, _, text = wait_until('not ready', lambda: (got := reader.get('/ready'))[0] == 503 and got)
        assert text == 'not ready: the disk is full, what needs room is refused\n'
        assert reader.get('/health')[0] == 200, 'it lives all the same'
        assert reader.page().value('sallyport_store_state', state='full') == 1
    finally:
        one.close()
        disk.unmount()


@pytest.mark.release
def test_bad_requests_and_slow_clients(fortress):
    assert raw(fortress, b'GET /metrics HTTP/1.1\r\n\r\n').startswith(b'HTTP/1.1 400 '), 'no host'
    assert raw(fortress, b'GET /metrics\r\n\r\n').startswith(b'HTTP/1.1 400 ')
    assert raw(fortress, b'\x16\x03\x01\x00\x05hello' + b'\0' * 100).startswith(b'HTTP/1.1 400 ')
    fortress.wait_event('malformed', listener='metrics', at_least=3,
                        reason=re.compile('This port is for who reads the numbers of the server'))
    assert raw(fortress, b'GET / HTTP/1.1\r\nHost: localhost\r\nX: ' + b'x' * 20_000).startswith(b'HTTP/1.1 431 ')
    body = b'POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\n'
    assert raw(fortress, body).startswith(b'HTTP/1.1 413 ')
    fortress.wait_event('quota', listener='metrics')
    assert Reader(fortress).get('/health')[0] == 200


# name: bytes, and the status of each answer; a hidden request behind them would have one more
HOST, HIDDEN = b' HTTP/1.1\r\nHost: localhost\r\n', b'GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'
SMUGGLED = {
    'a length and chunks': (b'GET /x' + HOST + b'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', [411]),
    'chunks by another name': (b'GET /x' + HOST + b'Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n', [411]),
    'a name that ends in a space': (b'GET /x' + HOST + b'Transfer-Encoding : chunked\r\n\r\n', [400]),
    'two lengths': (b'GET /x' + HOST + b'Content-Length: 0\r\nContent-Length: 5\r\n\r\nhello', [400]),
    'a list of lengths': (b'GET /x' + HOST + b'Content-Length: 5, 5\r\n\r\nhello', [400]),
    'a length of 2^64': (b'GET /x' + HOST + b'Content-Length: 18446744073709551616\r\n\r\n', [400]),
    'a folded line': (b'GET /x' + HOST + b'X: a\r\n Content-Length: 5\r\n\r\nhello', [400]),
    'a bare line feed': (b'GET /x' + HOST + b'X: a\nContent-Length: 5\r\n\r\nhello', [400]),
    'two hosts': (b'GET /x' + HOST + b'Host: other\r\n\r\n', [400]),
    'an absolute target': (b'GET http://localhost/health' + HOST + b'\r\n', [400]),
    'another protocol': (b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', [400]),
    'a thousand fields': (b'GET /x' + HOST + b'X: y\r\n' * 1000 + b'\r\n', [431]),
    'a body that is a request': (b'GET /x' + HOST + b'Content-Length: %d\r\n\r\n' % len(HIDDEN) + HIDDEN, [404, 200]),
    'HEAD': (b'HEAD /health' + HOST + b'\r\n', [405, 200]),
    'HEAD of nothing': (b'HEAD /x' + HOST + b'\r\n', [404, 200]),
    'OPTIONS, TRACE': (b'OPTIONS /health' + HOST + b'\r\nTRACE /health' + HOST + b'\r\n', [405, 405, 200]),
    'ways up': (b''.join(b'GET ' + one + HOST + b'\r\n' for one in (b'/../health', b'/metrics/../health', b'/%2e%2e/health',
                b'//health', b'/health/', b'/health;a', b'/health%00', b'/HEALTH')), [404] * 8 + [200]),
}


@pytest.mark.release
def test_one_reading_of_each_request(fortress):
    for name, (data, statuses) in SMUGGLED.items():
        assert answers_in(raw(fortress, data + HIDDEN), ['HEAD'] if data.startswith(b'HEAD') else []) == statuses, name


# -- what is refused before it opens ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize('line,fix', [
    ('bind: "0.0.0.0:9464", door: metrics, plain: yes', 'plain on loopback only, not on 0.0.0.0:9464: bind 127.0.0.1:9464, or leave plain away'),
    ('bind: "[::]:9464", door: metrics, plain: yes', 'plain on loopback only'),
    ('bind: "127.0.0.1:9464", door: metrics, plain: yes, auth: [x509]', 'leave auth away'),
    ('bind: "127.0.0.1:9464", door: metrics, auth: [password]', 'shows the certificate of its bundle'),
    ('bind: "127.0.0.1:9464", door: metrics, websocket: yes', 'websocket is for'),
])
def test_check_refuses(make_fortress, line, fix):
    one = make_fortress(listeners=('mqtts', 'coaps', 'metrics'), start=False)
    one.configure(PLAIN % one.ports['metrics'], f'{{ name: metrics, {line} }}')
    with pytest.raises(Refused) as refused:
        one.run('check', one.dir)
    assert fix in refused.value.stdout + refused.value.stderr


def test_init_writes_tls_where_others_can_reach(make_fortress):
    one = make_fortress(listeners=('mqtts',), start=False)
    where = one.home / 'elsewhere'
    one.run('init', where, '--listen', 'metrics=0.0.0.0:9464')
    assert '{ name: metrics, bind: "0.0.0.0:9464", door: metrics }' in (where / 'sallyport.yaml').read_text()
    one.run('check', where)


# -- Prometheus ------------------------------------------------------------------------------------------------------------------

def expressions():
    """Every expression of rules and dashboard."""
    rules = re.findall(r'^ +expr: (?:>\n((?: {10}.*\n)+)|(.*)\n)', (MONITORING / 'sallyport.rules.yml').read_text(), re.M)
    dashboard = json.loads((MONITORING / 'grafana.json').read_text())
    found = [several or one for several, one in rules]
    found += [target['expr'] for panel in dashboard['panels'] for target in panel.get('targets', [])]
    found += [note['expr'] for note in dashboard['annotations']['list']]
    found += [one['query']['query'] for one in dashboard['templating']['list'] if one['type'] == 'query']
    return found


def test_rules_and_dashboard_name_what_is_there(fortress):
    page, all_ = Page(fortress.cli('metrics')), expressions()
    assert len(all_) > 50
    for expression in all_:
        names = re.findall(r'\bsallyport_\w+', expression)
        assert names or 'up{' in expression, expression
        for name in names:
            assert name in page.names(), f'{name} of {expression}'
        for name, inner in re.findall(r'(sallyport_\w+)\{([^}]*)\}', expression):
            for label, _, values in re.findall(r'(\w+)(=~|!=|=)"([^"]*)"', inner):
                if label in ('instance', 'job'):
                    continue
                assert label in page.labels(name), f'{label} of {expression}'
                assert set(values.split('|')) <= page.labels(name)[label], f'{values} of {expression}'
    ids = [panel['id'] for panel in json.loads((MONITORING / 'grafana.json').read_text())['panels']]
    assert len(ids) == len(set(ids))


def promtool_agrees(fortress):
    run = subprocess.run([PROMTOOL, 'check', 'metrics'], input=fortress.cli('metrics'), capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout + run.stderr) == (0, '')
    assert 'SUCCESS' in promtool('check', 'rules', MONITORING / 'sallyport.rules.yml')
    assert 'is valid' in promtool('check', 'config', '--syntax-only', MONITORING / 'prometheus.yml')
    assert 'SUCCESS' in promtool('test', 'rules', MONITORING / 'sallyport.rules.test.yml')


@pytest.mark.release
@needs_prometheus
def test_promtool_and_prometheus(fortress, tmp_path):
    """In plain and by TLS with the bundle's files, with the rules of the tree; its queries get what the page says."""
    monitor = fortress.add('monitor', name='scraper', credentials=('x509',))
    targets = {'metrics': {}, 'secure': {'scheme': 'https', 'tls_config': {
        'ca_file': monitor.ca, 'cert_file': monitor.cert, 'key_file': monitor.key}}}
    server = Prometheus(tmp_path, {
        'global': {'scrape_interval': '300ms', 'evaluation_interval': '300ms'},
        'rule_files': [str(MONITORING / 'sallyport.rules.yml')],
        'scrape_configs': [{'job_name': 'sallyport', 'static_configs': [{'targets': [f'localhost:{fortress.ports["metrics"]}']}]},
                           {'job_name': 'secure', 'static_configs': [{'targets': [f'localhost:{fortress.ports["secure"]}']}],
                            **targets['secure']}]})
    try:
        promtool_agrees(fortress)  # Prometheus takes five seconds until it looks at its targets
        server.wait_up(2)
        wait_until('the series of both', lambda: len(server.query('sallyport_build_info')) == 2)
        assert {metric['job']: value for metric, value in server.query('sallyport_build_info')} == {'sallyport': 1, 'secure': 1}
        names = {metric['__name__'] for metric, _ in server.query('{__name__=~"sallyport_.*"}')}
        assert names == Page(fortress.cli('metrics')).names()
        wait_until('the rules', lambda: (got := server.ask('rules')) and got['groups'] and
                   all(rule['health'] == 'ok' for rule in got['groups'][0]['rules']), 20)
        assert all(not one['lastError'] for one in server.targets())
    finally:
        server.close()
