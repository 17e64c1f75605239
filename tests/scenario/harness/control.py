"""The daemon's control socket, as the command line asks it (src/service/admin/control.h): one request, answers as JSON lines.
test_b_watching.py holds the two against each other."""
import json
import os
import socket
import struct


class Refused(Exception):
    """The daemon, or a command, said no: it ended with another code than 0."""

    def __init__(self, what, code=1, stdout='', stderr=''):
        super().__init__(f'{what}: exit {code}\n{stdout}{stderr}')
        self.code, self.stdout, self.stderr = code, stdout, stderr


def ask(directory, verb, timeout=60, **arguments):
    """The lines of the answer, without the last one, which says that all went well."""
    try:
        run = os.open(directory / 'run', os.O_PATH | os.O_DIRECTORY)  # the path of a socket is 107 bytes at most
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
                # Who finds the daemon's queue full waits for a place in it, as the command line does; a socket with Python's own
                # timeout would be refused.
                one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack('ll', timeout, 0))
                one.connect(f'/proc/self/fd/{run}/control.sock')
                one.settimeout(timeout)
                one.sendall(json.dumps({'verb': verb, 'args': arguments}).encode() + b'\n')
                with one.makefile('rb') as answer:
                    lines = [json.loads(line) for line in answer]
        finally:
            os.close(run)
    except OSError as error:
        raise Refused(verb, stderr=str(error)) from None
    if not lines or not lines[-1].get('done'):
        raise Refused(verb, stderr='the daemon ended before it answered')
    if lines[-1]['exit'] != 0:
        raise Refused(verb, lines[-1]['exit'], stderr=lines[-1].get('error') or '')
    return lines[:-1]
