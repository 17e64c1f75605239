"""a: MQTT.js on a page in Chromium, over WebSocket with TLS."""
import re

import pytest

from harness import mqtt_js
from harness.chromium import Chromium, PageServer
from harness.fortress import Fortress
from harness.refusal import Watch

pytestmark = pytest.mark.release


@pytest.fixture(scope='module')
def pages(tmp_path_factory):
    """Two servers of the same page: two origins. The listener names the first."""
    both = [PageServer(tmp_path_factory.mktemp('pages')) for _ in range(2)]
    yield both
    for one in both:
        one.close()


@pytest.fixture(scope='module')
def fortress(pages):
    one = Fortress(listeners=('mqtts', 'wss', 'coaps'), start=False)
    one.configure('websocket: yes', f'websocket: yes, origins: ["{pages[0].origin}"]')
    one.start()
    one.apply(mqtt_js.POLICY)
    yield one
    one.close()


@pytest.fixture(scope='module')
def browser(fortress, pages):
    one = Chromium(*(page.ca for page in pages), fortress.add('app').ca, names=['wrong.example'])
    yield one
    one.close()


def told_for(app, version, **more):
    return mqtt_js.how(app, 'wss', version, username=app.name, password=app.password, **more)


@pytest.mark.parametrize('version', [4, 5], ids=['v311', 'v5'])
def test_the_story(fortress, browser, pages, version):
    app = fortress.add('app')
    told = told_for(app, version)
    browser.open(pages[0].origin)
    got = browser.run('story', told)
    if version == 5:
        assert got['kept'].pop('answers') == f'{told["base"]}/answers'
    assert got == mqtt_js.facts(version)
    denied = fortress.wait_event('acl_deny', about=app.name, at_least=2)
    assert all((event['principal'], event['listener'], event['target']) == (app.name, 'wss', told['denied'])
               for event in denied), denied


def test_a_page_of_another_origin(fortress, browser, pages):
    app = fortress.add('app')
    since = len(fortress.log)
    browser.open(pages[1].origin)
    assert 'Unexpected response code: 403' in browser.refused(told_for(app, 5))
    events = fortress.wait_event('acl_deny', listener='wss', reason=re.compile('origin'))
    assert len(events) == 1, events
    fortress.wait_log(rf'{events[0]["peer"]}.*add its origin.*to `origins`', since)
    # From the page that is listed, the same comes in: it was the origin that was refused.
    browser.open(pages[0].origin)
    assert browser.run('refusal', told_for(app, 5)) == 'connected'


def test_it_refuses_a_server_that_it_cannot_trust(fortress, browser, pages):
    app = fortress.add('app')
    browser.open(pages[0].origin)
    assert 'ERR_CERT_COMMON_NAME_INVALID' in browser.refused(told_for(app, 5, host='wrong.example'))
    stranger = Chromium(*(page.ca for page in pages))
    try:
        stranger.open(pages[0].origin)
        assert 'ERR_CERT_AUTHORITY_INVALID' in stranger.refused(told_for(app, 5))
    finally:
        stranger.close()
    fortress.wait_event('tls_reject', at_least=2, listener='wss')
    assert not [event for event in fortress.events() if event['category'] == 'connect' and event['principal'] == app.name]


def test_a_wrong_password(fortress, browser, pages):
    app, watch = fortress.add('app'), Watch(fortress)
    browser.open(pages[0].origin)
    why = browser.run('refusal', {**told_for(app, 5), 'password': 'wrong'})
    assert why.startswith('134 '), why
    watch.expect('auth_fail', principal=app.name, listener='wss')
