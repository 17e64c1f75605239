"""A thread of the daemon that does what who had taken it over would do: a system call of ours in its place, by ptrace. Then it goes
on as if nothing had been. For x86-64, and for root."""
import ctypes
import os
import platform
import signal
import struct
from pathlib import Path

import pytest

ATTACH, DETACH, SYSCALL, GETREGS, SETREGS, SETOPTIONS = 16, 17, 24, 12, 13, 0x4200
TRACESYSGOOD, WALL, TRAP = 1, 0x40000000, signal.SIGTRAP | 0x80
EPOLL_WAIT, EPOLL_PWAIT, RT_SIGRETURN = 232, 281, 15
REGISTERS = ('r15', 'r14', 'r13', 'r12', 'rbp', 'rbx', 'r11', 'r10', 'r9', 'r8', 'rax', 'rcx', 'rdx', 'rsi', 'rdi', 'orig_rax', 'rip', 'cs',
             'eflags', 'rsp', 'ss', 'fs_base', 'gs_base', 'ds', 'es', 'fs', 'gs')
CALLS = {'execve': 59, 'ptrace': 101, 'openat': 257, 'socket': 41}
ROOM, RESTARTS = 4096, range(-516, -511)


class Registers(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in REGISTERS]


class Puppet:
    def __init__(self, pid):
        if platform.machine() != 'x86_64' or os.geteuid() != 0:
            pytest.skip('only root may hold it, and only its x86-64 is known here')
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        self._libc.ptrace.restype = ctypes.c_long
        self.pid, self.thread = pid, None

    def _ptrace(self, request, data=0, address=0):
        if self._libc.ptrace(request, self.thread, address, data) == -1:
            raise OSError(ctypes.get_errno(), f'ptrace {request} of {self.thread}')

    def _waiting(self):
        """A thread that waits for events: it takes being interrupted as every such thread must."""
        for task in Path(f'/proc/{self.pid}/task').iterdir():
            if (task / 'syscall').read_text().split()[0] in (str(EPOLL_WAIT), str(EPOLL_PWAIT)):
                return int(task.name)
        return None

    def __enter__(self):
        self.thread = None
        while self.thread is None:
            self.thread = self._waiting()
        try:
            self._ptrace(ATTACH)
        except PermissionError as error:
            pytest.skip(f'nothing can be held here: {error}')
        self._stopped(signal.SIGSTOP)
        self._ptrace(SETOPTIONS, TRACESYSGOOD)
        self._kept = self._get()
        value = ctypes.c_longlong(self._kept.rax).value
        if value in RESTARTS:  # what it was in begins again, as the kernel would have it
            self._kept.rax, self._kept.rip = self._kept.orig_rax, self._kept.rip - 2
        self._kept.orig_rax = ctypes.c_ulonglong(-1).value
        return self

    def _stopped(self, *by):
        _, status = os.waitpid(self.thread, WALL)
        assert os.WIFSTOPPED(status), status
        assert not by or os.WSTOPSIG(status) in by, status
        return os.WSTOPSIG(status)

    def _get(self):
        registers = Registers()
        self._ptrace(GETREGS, ctypes.addressof(registers))
        return registers

    def _set(self, registers):
        self._ptrace(SETREGS, ctypes.addressof(registers))

    def _call_instruction(self):
        """Where `syscall` stands in what it runs."""
        for line in Path(f'/proc/{self.pid}/maps').read_text().splitlines():
            span, rights, *rest = line.split()
            if 'x' in rights and 'libc' in rest[-1]:
                begin, end = (int(at, 16) for at in span.split('-'))
                with open(f'/proc/{self.pid}/mem', 'rb') as memory:
                    memory.seek(begin)
                    at = memory.read(end - begin).find(b'\x0f\x05')
                if at >= 0:
                    return begin + at
        raise AssertionError('it has no libc')

    def call(self, name, *arguments):
        """Its result, negative for an error. Text stands below its stack."""
        registers = Registers.from_buffer_copy(self._kept)
        at = self._kept.rsp - ROOM
        values = []
        for one in arguments:
            if isinstance(one, bytes):
                at -= 64
                with open(f'/proc/{self.pid}/mem', 'r+b', buffering=0) as memory:
                    memory.seek(at)
                    memory.write(one + b'\0')
                one = at
            values.append(struct.unpack('=Q', struct.pack('=q', one))[0] if one < 0 else one)
        for register, value in zip(('rdi', 'rsi', 'rdx', 'r10'), [*values, 0, 0, 0, 0]):
            setattr(registers, register, value)
        registers.rax, registers.rip = CALLS[name], self._call_instruction()
        registers.rsp = (at - ROOM) & ~0xf
        self._set(registers)
        self._go_on()
        self._stopped(TRAP)  # into the call
        self._go_on()
        stopped = self._stopped(TRAP, signal.SIGSYS)  # and out of it
        if stopped == TRAP and self._has_refusal():
            self._go_on()
            stopped = self._stopped(signal.SIGSYS)
        if stopped == signal.SIGSYS:
            self._handle_refusal()
        result = ctypes.c_longlong(self._get().rax).value
        self._set(self._kept)
        return result

    def _go_on(self, by_signal=0):
        self._ptrace(SYSCALL, by_signal)

    def _has_refusal(self):
        status = Path(f'/proc/{self.pid}/task/{self.thread}/status').read_text()
        return int(status.split('SigPnd:')[1].split()[0], 16) >> (signal.SIGSYS - 1) & 1 == 1

    def _handle_refusal(self):
        """Its own handler runs, to the end of the call by which it returns."""
        self._go_on(signal.SIGSYS)
        while self._stopped(TRAP) and self._get().orig_rax != RT_SIGRETURN:
            self._go_on()
        self._go_on()
        self._stopped(TRAP)

    def __exit__(self, *_):
        self._set(self._kept)
        self._ptrace(DETACH)
