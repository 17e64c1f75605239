"""a: our own clients against our own daemon, and against a server that is not ours."""
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from harness.fortress import BINARY
from harness.wait import wait_until

pytestmark = pytest.mark.release


def client(command, device, *arguments, timeout=30):
    """Runs one of our clients as this device; gives the finished run."""
    return subprocess.run([str(BINARY), command, *arguments, '--bundle', str(device.bundle)], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=timeout, check=False)


# SPEC: MQTT3-7.1.2-1
def test_pub_and_sub(fortress):
    sensor, console = fortress.add('sensor'), fortress.add('console')
    topic = f'sensors/north/{sensor.name}/t'
    reader = subprocess.Popen([str(BINARY), 'sub', '-t', topic, '-v', '-q', '1', '-C', '1', '-W', '20', '--bundle',
                               str(console.bundle)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    wait_until('the subscription', lambda: [event for event in fortress.events() if event['category'] == 'allow'
                                            and event['target'] == topic], 10)
    run = client('pub', sensor, '-t', topic, '-m', '21.5', '-q', '1')
    assert run.returncode == 0, run.stderr
    assert reader.communicate(timeout=20)[0] == f'{topic} 21.5\n'
    assert reader.returncode == 0


def test_a_refused_publish_says_so(fortress):
    sensor = fortress.add('sensor')
    run = client('pub', sensor, '-t', 'sensors/north/somebody-else/t', '-m', '1', '-q', '1')
    assert run.returncode == 1 and 'not authorized' in run.stderr.lower(), run.stderr


def test_insecure_is_explained_and_not_done(fortress):
    run = client('pub', fortress.add('sensor'), '-t', 'x', '-m', '1', '--insecure')
    assert run.returncode == 2 and '--cafile' in run.stderr, run.stderr


def test_a_server_that_is_not_ours_is_refused(fortress, tmp_path):
    """T5: self-signed, under the right name."""
    sensor = fortress.add('sensor')
    cert, key = tmp_path / 'cert.pem', tmp_path / 'key.pem'
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
                    '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-keyout', str(key), '-out',
                    str(cert)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    got = []

    def serve(listener):
        """Takes connections and remembers what was said inside TLS: nothing may be."""
        while True:
            try:
                raw, _ = listener.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(raw, server_side=True) as inside:
                    got.append(inside.recv(100))
            except OSError:
                pass
    with socket.create_server(('127.0.0.1', 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        run = client('pub', sensor, '-h', 'localhost', '-p', str(listener.getsockname()[1]), '-t', 'x', '-m', 'secret')
    assert run.returncode == 1 and 'self-signed' in run.stderr, run.stderr
    assert not any(got), 'something was said to a stranger'


def test_rpc_gets_the_answer_that_belongs_to_it(fortress):
    sensor, console = fortress.add('sensor'), fortress.add('console')
    topic, answer = f'sensors/north/{sensor.name}/ask', f'commands/{sensor.name}/answer'
    ready = threading.Event()

    def respond(paho, _, message):
        wrong, right = Properties(PacketTypes.PUBLISH), Properties(PacketTypes.PUBLISH)
        wrong.CorrelationData = b'another'
        right.CorrelationData = message.properties.CorrelationData
        paho.publish(message.properties.ResponseTopic, 'not yours', 1, properties=wrong)
        paho.publish(message.properties.ResponseTopic, b'echo ' + message.payload, 1, properties=right)
    newer = {'callback_api_version': mqtt.CallbackAPIVersion.VERSION1} if hasattr(mqtt, 'CallbackAPIVersion') else {}
    service = mqtt.Client(client_id='service', protocol=mqtt.MQTTv5, **newer)
    service.tls_set(console.ca, console.cert, console.key)
    service.on_connect = lambda paho, *_: paho.subscribe(topic, 1)
    service.on_subscribe = lambda *_: ready.set()
    service.on_message = respond
    service.connect('localhost', fortress.ports['mqtts'])
    service.loop_start()
    try:
        assert ready.wait(10)
        run = client('rpc', sensor, '-t', topic, '-e', answer, '-m', 'now', '-W', '15')
    finally:
        service.disconnect()
        service.loop_stop()
    assert (run.returncode, run.stdout.strip()) == (0, 'echo now'), run.stderr


@pytest.mark.parametrize('credential', ['psk', 'x509'])
def test_coap_put_get_and_a_refusal(fortress, stranger, credential):
    lamp = fortress.add('lamp', credentials=(credential,))
    base = f'coaps://localhost:{fortress.ports["coaps"]}/mq/lamps/{lamp.name}/power'

    def coap(method, uri, *more):
        return subprocess.run([str(BINARY), 'coap', method, uri, *more, '--bundle', str(lamp.bundle)], capture_output=True,
                              text=True, stdin=subprocess.DEVNULL, timeout=30, check=False)
    put = coap('put', base, '-e', 'on')
    assert put.returncode == 0, put.stderr
    got = coap('get', base)
    assert (got.returncode, got.stdout.strip()) == (0, 'on'), got.stderr
    refused = coap('put', base.replace(lamp.name, 'somebody-else'), '-e', 'on')
    assert refused.returncode == 1 and '4.03' in refused.stderr, refused.stderr
    if credential == 'x509':  # whom it does not know, or knows by another name, it asks nothing
        wrong = coap('get', base.replace('localhost', '127.1'))
        assert wrong.returncode == 1 and 'is for another host name' in wrong.stderr and 'nothing was sent' in wrong.stderr, wrong.stderr
        (lamp.bundle / 'ca.pem').write_bytes(Path(stranger).read_bytes())
        unknown = coap('get', base)
        assert unknown.returncode == 1 and 'CA that is not trusted' in unknown.stderr, unknown.stderr
    assert coap('get', base, '--insecure').returncode == 2
