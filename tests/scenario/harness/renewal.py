"""A device that renews its certificate: a key and a request by openssl, the conversation over MQTT, the new bundle."""
import shutil
import ssl
import struct
import subprocess
from pathlib import Path

from harness import wire
from harness.fortress import Device

ASK, ANSWER = '$sallyport/renew', '$sallyport/renew/answer'
NO_CHECK_TIME = 0x200000  # OpenSSL's X509_V_FLAG_NO_CHECK_TIME: the daemon is in another time than we
VERSIONS = {'1.2': ssl.TLSVersion.TLSv1_2, '1.3': ssl.TLSVersion.TLSv1_3}


def request(device, folder, subject=None, curve='P-256'):
    """A new key, and a CSR for it; gives the paths of both."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    key, csr = folder / 'key.pem', folder / 'request.pem'
    subprocess.run(['openssl', 'req', '-new', '-newkey', 'ec', '-pkeyopt', f'ec_paramgen_curve:{curve}', '-nodes', '-keyout', str(key),
                    '-subj', f'/CN={subject or device.name}', '-out', str(csr)], check=True, capture_output=True)
    return key, csr


def renewed(device, folder, chain):
    """The device with what it was answered, in the folder of the request."""
    folder = Path(folder)
    (folder / 'cert.pem').write_text(chain)
    shutil.copy(device.ca, folder / 'ca.pem')
    return Device(device.fortress, device.name, device.role, folder)


def wired(device, tls=None, version=5, **how):
    context = wire.tls_context(certificate=device.cert, key=device.key, ca=device.ca)
    context.verify_flags |= NO_CHECK_TIME
    if tls:
        context.minimum_version = context.maximum_version = VERSIONS[tls]
    return wire.Wire(device.fortress, context=context, version=version, **how)


def hear(w):
    """The code of the SUBACK."""
    w.send(wire.subscribe(1, ANSWER, version=w.version))
    return w.expect(wire.SUBACK).body[-1]


def text_of(packet, version):
    """The payload of a PUBLISH with QoS 0."""
    n = struct.unpack('>H', packet.body[:2])[0]
    assert packet.body[2:2 + n].decode() == ANSWER
    rest = packet.body[2 + n:]
    return (rest[1 + rest[0]:] if version == 5 else rest).decode()


def ask(w, csr, properties=b''):
    """The answer, and the reason of the PUBACK."""
    csr = Path(csr).read_bytes() if isinstance(csr, (str, Path)) else csr
    w.send(wire.publish(ASK, csr, 1, 7, version=w.version, properties=properties))
    got = [w.receive(), w.receive()]
    puback = next(one for one in got if one.kind == wire.PUBACK)
    answer = next(one for one in got if one.kind == wire.PUBLISH)
    return text_of(answer, w.version), puback.reason if w.version == 5 else 0
