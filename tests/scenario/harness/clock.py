"""A daemon in the past: a preloaded shim moves the wall clock, so that a certificate it issues is expired today."""
import subprocess
from pathlib import Path

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
    return {'LD_PRELOAD': str(library), 'ASAN_OPTIONS': 'verify_asan_link_order=0:detect_leaks=0'}
