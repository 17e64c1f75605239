"""Debian's rsyslog as a receiver over TLS (RFC 5425): in the foreground, on the loopback, with files of its own."""
import os
import shutil
import signal
import subprocess
from pathlib import Path

from harness.ports import free_ports
from harness.siem import parse_syslog
from harness.wait import wait_until

UNPACKED = Path(__file__).resolve().parents[3] / 'build-test/rsyslog'

CONFIG = '''
global(workDirectory="{home}" maxMessageSize="64k" defaultNetstreamDriver="ossl"
       defaultNetstreamDriverCAFile="{cert}" defaultNetstreamDriverCertFile="{cert}" defaultNetstreamDriverKeyFile="{key}")
module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="anon")
template(name="parsed" type="string" string="<%pri%>%protocol-version% %timereported:::date-rfc3339% %hostname% %app-name% \
%procid% %msgid% %structured-data% %msg%\\n")
input(type="imtcp" address="127.0.0.1" port="{port}")
action(type="omfile" file="{out}" template="parsed")
'''


def find():
    """(rsyslogd, the folder of its modules), installed or unpacked."""
    installed = shutil.which('rsyslogd', path=os.environ['PATH'] + ':/usr/sbin:/sbin')
    if installed and list(Path('/usr/lib').glob('*/rsyslog/lmnsd_ossl.so')):
        return installed, next(Path('/usr/lib').glob('*/rsyslog'))
    modules = list(UNPACKED.glob('usr/lib/*/rsyslog'))
    assert modules, 'no rsyslog: run tools/install-deps --test'
    return UNPACKED / 'usr/sbin/rsyslogd', modules[0]


class Rsyslog:
    """What it wrote is what its own parser found in each message."""
    framing = 'syslog'

    def __init__(self, home, cert, key):
        self.home, self.cert, self.key = home, cert, key
        self.port = free_ports(('rsyslog',))['rsyslog']
        self.out = home / 'received'
        self.process = None

    def start(self):
        binary, modules = find()
        config = self.home / 'rsyslog.conf'
        config.write_text(CONFIG.format(home=self.home, cert=self.cert, key=self.key, port=self.port, out=self.out))
        environment = {**os.environ, 'LD_LIBRARY_PATH': str(modules.parent)}
        self.process = subprocess.Popen([binary, '-n', '-C', '-f', config, '-i', self.home / 'pid', '-M', modules],
                                        env=environment, stdout=subprocess.DEVNULL, stderr=(self.home / 'errors').open('ab'))
        wait_until('rsyslog listens', self._listens, 20)
        return self

    def _listens(self):
        assert self.process.poll() is None, (self.home / 'errors').read_text()
        return f'0100007F:{self.port:04X} 00000000:0000 0A' in Path('/proc/net/tcp').read_text()

    def hold(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        if self.process:
            self.process.send_signal(signal.SIGCONT)

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait(20)
        self.process = None

    @property
    def messages(self):
        text = self.out.read_text() if self.out.exists() else ''
        return [parse_syslog(line) for line in text.splitlines()]

    @property
    def records(self):
        return {int(message['seq']): message for message in self.messages}
