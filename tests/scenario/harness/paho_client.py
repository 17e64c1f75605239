"""python3-paho-mqtt, the versions of Debian 12 (1.6) and 13 (2.1), behind one small shape."""
import queue
import threading

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties


class Paho:
    def __init__(self, device, client_id=None, version=5, auth='x509', clean=True, session_expiry=0, will=None,
                 listener='mqtts', at=None, ca=None):
        """at: another address and port than the listener's; ca: another authority than ours."""
        self.messages, self.acked = queue.Queue(), {}
        self._connected, self._closed, self._subscribed = threading.Event(), threading.Event(), {}
        self._lock = threading.Condition()
        self.connack = self.disconnect_reason = None
        protocol = {3: paho.MQTTv31, 4: paho.MQTTv311, 5: paho.MQTTv5}[version]
        name = device.name if client_id is None else client_id
        more = {} if version == 5 else {'clean_session': clean}
        if hasattr(paho, 'CallbackAPIVersion'):
            more['callback_api_version'] = paho.CallbackAPIVersion.VERSION1
        self.client = paho.Client(client_id=name, protocol=protocol, transport='websockets' if listener == 'wss' else 'tcp',
                                  **more)
        self.client.tls_set(ca or device.ca, *((device.cert, device.key) if auth == 'x509' else ()))
        if auth == 'password':
            self.client.username_pw_set(device.name, device.password)
        if will:
            self.client.will_set(*will)
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = self._on_disconnect
        self.client.on_message = lambda _c, _u, message: self.messages.put(message)
        self.client.on_subscribe = lambda _c, _u, mid, codes, *_: self._note(self._subscribed, mid, codes)
        self.client.on_publish = lambda _c, _u, mid, *_: self._note(self.acked, mid, True)
        self._properties = None
        options = {}
        if version == 5:
            self._properties = Properties(PacketTypes.CONNECT)
            self._properties.SessionExpiryInterval = session_expiry
            options = {'clean_start': clean, 'properties': self._properties}
        host, port = at or ('localhost', device.fortress.ports[listener])
        self.client.connect(host, port, **options)
        self.client.loop_start()

    def _note(self, where, mid, value):
        with self._lock:
            where[mid] = value
            self._lock.notify_all()

    def _on_connect(self, _client, _user, flags, code, *_):
        self.connack, self.flags = int(getattr(code, 'value', code)), flags
        self._connected.set()

    def _on_disconnect(self, _client, _user, code, *_):
        self.disconnect_reason = int(getattr(code, 'value', code))
        self._closed.set()

    def __enter__(self):
        assert self._connected.wait(15), 'no CONNACK'
        return self

    def _wait(self, where, mid, timeout):
        with self._lock:
            assert self._lock.wait_for(lambda: mid in where, timeout), f'no acknowledgement of {mid}'
            return where[mid]

    def subscribe(self, topic, qos=1, options=None, properties=None, timeout=10):
        """The codes of the SUBACK."""
        code, mid = self.client.subscribe(topic, qos) if options is None and properties is None else \
            self.client.subscribe(topic, options=options, properties=properties)
        assert code == 0
        return [int(getattr(one, 'value', one)) for one in self._wait(self._subscribed, mid, timeout)]

    def publish(self, topic, payload, qos=1, retain=False, timeout=10, properties=None):
        """Returns when the message is acknowledged."""
        info = self.client.publish(topic, payload, qos, retain, properties)
        self._wait(self.acked, info.mid, timeout)

    def get(self, timeout=10):
        try:
            return self.messages.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError(f'no message within {timeout} s') from None

    def wait_closed(self, timeout):
        assert self._closed.wait(timeout), f'still connected after {timeout} s'
        self.client.loop_stop()
        return self.disconnect_reason

    def drop(self):
        """Ends without DISCONNECT, as a lost network does."""
        self.client._sock_close()  # paho has no public call for it
        self.client.loop_stop()

    def __exit__(self, *_):
        self.client.disconnect()
        self.client.loop_stop()
