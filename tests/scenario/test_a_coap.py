"""a: the CoAP door onto the same topics. Both of Debian's coap-client builds, PSK and certificates."""
import os
import re
import subprocess

import pytest

from harness import coap, mosquitto
from harness.mosquitto import Subscriber
from harness.nat import Nat

pytestmark = [pytest.mark.release, pytest.mark.skipif(not coap.BUILDS, reason='libcoap3-bin is not installed')]

CREDENTIALS = ('psk', 'x509', 'password')
ways = pytest.mark.parametrize('build,auth', [(build, auth) for build in coap.BUILDS for auth in ('psk', 'x509')])
builds = pytest.mark.parametrize('build', coap.BUILDS)


@ways
def test_coap_writes_and_mqtt_reads(fortress, build, auth):
    lamp, console = fortress.add('lamp', credentials=CREDENTIALS), fortress.add('console')
    with Subscriber(console, f'lamps/{lamp.name}/#', qos=1) as seen:
        answer = coap.request(build, lamp, 'put', f'mq/lamps/{lamp.name}/state', 'on', auth=auth)
        assert answer.code is None, answer.text
        got = seen.get()
        assert (got['topic'], got['payload']) == (f'lamps/{lamp.name}/state', 'on')
    with Subscriber(console, f'lamps/{lamp.name}/state') as late:
        assert late.get()['retain'] == 1, 'PUT is a retained publish'


@ways
def test_mqtt_writes_and_coap_reads(fortress, build, auth):
    lamp, console = fortress.add('lamp', credentials=CREDENTIALS), fortress.add('console')
    mosquitto.publish(console, f'lamps/{lamp.name}/goal', 'forty two', '-r', qos=1)
    answer = coap.request(build, lamp, 'get', f'mq/lamps/{lamp.name}/goal', auth=auth)
    assert answer.code is None and 'forty two' in answer.payload, answer.text


@builds
def test_observe_sees_every_new_state(fortress, build):
    lamp, console = fortress.add('lamp', credentials=CREDENTIALS), fortress.add('console')
    mosquitto.publish(console, f'lamps/{lamp.name}/goal', 'state-0', '-r', qos=1)
    with coap.Observer(build, lamp, f'mq/lamps/{lamp.name}/goal') as watching:
        watching.expect('state-0')
        for i in range(1, 12):
            mosquitto.publish(console, f'lamps/{lamp.name}/goal', f'state-{i}', '-r', qos=1)
            watching.expect(f'state-{i}')


@builds
def test_post_is_not_retained_and_delete_clears(fortress, build):
    lamp, console = fortress.add('lamp', credentials=CREDENTIALS), fortress.add('console')
    path = f'mq/lamps/{lamp.name}/state'
    with Subscriber(console, f'lamps/{lamp.name}/#', qos=1) as seen:
        assert coap.request(build, lamp, 'post', path, 'passing').code is None
        got = seen.get()
        assert (got['payload'], got['retain']) == ('passing', 0)
    assert coap.request(build, lamp, 'get', path).code == '4.04'
    assert coap.request(build, lamp, 'put', path, 'staying').code is None
    assert 'staying' in coap.request(build, lamp, 'get', path).payload
    assert coap.request(build, lamp, 'delete', path).code is None
    assert coap.request(build, lamp, 'get', path).code == '4.04'


@builds
def test_well_known_core_shows_only_what_is_granted(fortress, build):
    lamp, other = fortress.add('lamp', credentials=CREDENTIALS), fortress.add('lamp', credentials=CREDENTIALS)
    for one in (lamp, other):
        assert coap.request(build, one, 'put', f'mq/lamps/{one.name}/state', 'here').code is None
    links = coap.request(build, lamp, 'get', '.well-known/core').payload
    assert '</mq' in links
    assert other.name not in links


@builds
def test_lost_datagrams_are_sent_again(fortress, build):
    """The client loses its first datagrams; the handshake and the request are repeated, the topic changes once."""
    lamp, console = fortress.add('lamp', credentials=CREDENTIALS), fortress.add('console')
    with Subscriber(console, f'lamps/{lamp.name}/#', qos=1) as seen:
        answer = coap.request(build, lamp, 'post', f'mq/lamps/{lamp.name}/state', 'once', more=['-l', '1'], wait_s=30)
        assert answer.code is None, answer.text
        assert seen.get(30)['payload'] == 'once'
        mosquitto.publish(console, f'lamps/{lamp.name}/mark', 'mark', qos=1, client_id='marker')
        assert seen.get()['payload'] == 'mark'


@builds
def test_a_topic_that_is_not_there_is_4_04(fortress, build):
    lamp = fortress.add('lamp', credentials=CREDENTIALS)
    assert coap.request(build, lamp, 'get', f'mq/lamps/{lamp.name}/nothing').code == '4.04'


# What devices that are small have, and its number in a hello of the server.
SUITES = {'psk': {'PSK-AES128-CCM8': 0xc0a8, 'PSK-AES128-GCM-SHA256': 0x00a8},
          'x509': {'ECDHE-ECDSA-AES128-CCM8': 0xc0ae, 'ECDHE-ECDSA-AES128-GCM-SHA256': 0xc02b}}
ONLY_C = '''#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#define INSTEAD(name) int name(void *of, const char *list) \\
    { return ((int (*)(void *, const char *))dlsym(RTLD_NEXT, #name))(of, getenv("ONLY_SUITE") ? getenv("ONLY_SUITE") : list); }
INSTEAD(SSL_CTX_set_cipher_list)
INSTEAD(SSL_set_cipher_list)
'''


@pytest.fixture(scope='module')
def only(tmp_path_factory):
    """The environment in which a build of coap-client has one suite: it has no option for that, its libraries have."""
    folder = tmp_path_factory.mktemp('only')
    (folder / 'only.c').write_text(ONLY_C)
    subprocess.run(['gcc', '-shared', '-fPIC', '-O1', '-o', folder / 'only.so', folder / 'only.c', '-ldl'], check=True)

    def environment(build, suite):
        if build.endswith('openssl'):
            return {'LD_PRELOAD': str(folder / 'only.so'), 'ONLY_SUITE': f'{suite}:@SECLEVEL=0'}
        others = [one for one in ('AES-128-GCM', 'AES-256-GCM', 'CHACHA20-POLY1305', 'AES-128-CCM', 'AES-256-CCM', 'AES-128-CBC',
                                  'AES-256-CBC', 'AES-128-CCM-8') if one != ('AES-128-CCM-8' if 'CCM8' in suite else 'AES-128-GCM')]
        config = folder / f'{suite}.conf'
        config.write_text('[overrides]\n' + ''.join(f'tls-disabled-cipher = {one}\n' for one in others))
        return {'GNUTLS_SYSTEM_PRIORITY_FILE': str(config)}
    return environment


def suite_of(seen):
    """The one that the server's hello takes: behind the headers of record and message, version, random and session id."""
    hello = next(data for is_server, data in seen if is_server and data[0] == 22 and data[13] == 2)
    at = 13 + 12 + 2 + 32
    return int.from_bytes(hello[at + 1 + hello[at]:][:2], 'big')


@builds
@pytest.mark.parametrize('auth', SUITES)
def test_each_suite_of_small_devices(fortress, only, build, auth):
    lamp = fortress.add('lamp', credentials=CREDENTIALS)
    for suite, number in SUITES[auth].items():
        seen = []
        with Nat(fortress.ports['coaps'], seen) as nat:
            run = subprocess.run([*coap.command(build, lamp, auth), '-m', 'put', '-B', '10', '-e', suite,
                                  f'coaps://127.0.0.1:{nat.port}/mq/lamps/{lamp.name}/suite'], capture_output=True, text=True,
                                 stdin=subprocess.DEVNULL, timeout=30, check=False, env={**os.environ, **only(build, suite)})
        assert seen and suite_of(seen) == number, run
        assert coap.request(build, lamp, 'get', f'mq/lamps/{lamp.name}/suite', auth=auth).payload == suite


@ways
def test_records_that_openssl_runs(make_fortress, build, auth):
    """dtls_records: openssl, and back, by a reload: the same for clients in both, and who has begun goes on as before."""
    fortress = make_fortress()
    lamp, console = fortress.add('lamp', credentials=CREDENTIALS), fortress.add('console')

    def reload_with(pattern, replacement):
        path = fortress.dir / 'sallyport.yaml'
        text, n = re.subn(pattern, replacement, path.read_text(), flags=re.M)
        assert n == 1, text
        path.write_text(text)
        since = len(fortress.log)
        fortress.reload()
        assert 'not reloaded' not in fortress.wait_log(r'notice: reloaded|not reloaded|\breloaded$', since)

    def works(state):
        path = f'mq/lamps/{lamp.name}/state'
        answer = coap.request(build, lamp, 'put', path, state, auth=auth, wait_s=30)
        assert answer.code is None, answer.text
        assert state in coap.request(build, lamp, 'get', path, auth=auth, wait_s=30).payload

    mosquitto.publish(console, f'lamps/{lamp.name}/goal', 'goal-0', '-r', qos=1)
    with coap.Observer(build, lamp, f'mq/lamps/{lamp.name}/goal') as by_own:
        by_own.expect('goal-0')
        reload_with(r'(name: coaps,)', r'\1 dtls_records: openssl,')
        works('by-openssl')
        with coap.Observer(build, lamp, f'mq/lamps/{lamp.name}/goal') as by_openssl:
            by_openssl.expect('goal-0')
            reload_with(r'dtls_records: openssl,', 'dtls_records: own,')
            works('by-own')
            mosquitto.publish(console, f'lamps/{lamp.name}/goal', 'goal-1', '-r', qos=1)
            by_own.expect('goal-1')
            by_openssl.expect('goal-1')
