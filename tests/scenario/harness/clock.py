"""A daemon in another time. `shifted`: a preloaded shim moves the wall clock of a command, so that a certificate it issues
is expired today. `Clock`: a program of its own (sallyport-clock) whose wall clock a test moves while it serves."""
import shutil
import struct
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from harness.fortress import BINARY

SOURCE = r'''
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>
int clock_gettime(clockid_t id, struct timespec *t)
{
    static int (*real)(clockid_t, struct timespec *);
    if (!real) {
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    }
    int result = real(id, t);
    if (result == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
        t->tv_sec += SHIFT;
    }
    return result;
}
time_t time(time_t *ret)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (ret) {
        *ret = t.tv_sec;
    }
    return t.tv_sec;
}
int gettimeofday(struct timeval *tv, void *zone)
{
    (void)zone;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    tv->tv_sec = t.tv_sec;
    tv->tv_usec = t.tv_nsec / 1000;
    return 0;
}
'''


def shifted(folder, days):
    """The environment in which wall time is `days` away."""
    source, library = Path(folder) / 'clock_shim.c', Path(folder) / f'clock_shim_{days}.so'
    source.write_text(SOURCE)
    subprocess.run(['gcc', '-shared', '-fPIC', '-O1', f'-DSHIFT=({days} * 86400L)', '-o', str(library), str(source), '-ldl'],
                   check=True)
    return {'LD_PRELOAD': str(library), 'ASAN_OPTIONS': 'verify_asan_link_order=0:detect_leaks=0:handle_sigill=1'}


class Clock:
    """A copy of the daemon whose wall clock is `shift_s` seconds away; `set` moves it while it runs, `pass_by` lets time go by
    on both clocks at once: what waits for hours happens in a test."""

    def __init__(self, shift_s=0):
        built = BINARY.parent / 'sallyport-clock'
        if not built.exists():
            pytest.skip(f'{built} is not built')
        folder = Path(tempfile.mkdtemp(prefix='sallyport-clock-'))
        folder.chmod(0o755)  # the broker may be another user
        self.binary, self.file = folder / 'sallyport', folder / 'clock_shift'
        shutil.copy(built, self.binary)
        self.file.write_bytes(struct.pack('=qq', int(shift_s), 0))
        self.file.chmod(0o644)
        self.passed_s = 0

    def close(self):
        shutil.rmtree(self.binary.parent, ignore_errors=True)

    def set(self, shift_s):
        with self.file.open('r+b') as file:  # in place: the daemon has it mapped
            file.write(struct.pack('=q', int(shift_s)))

    def pass_by(self, seconds):
        self.passed_s += seconds
        with self.file.open('r+b') as file:
            file.write(struct.pack('=qq', self.passed_s, self.passed_s))

    def set_to(self, unix_time):
        self.set(unix_time - time.time())
