/*
 * clock_shim - a program whose clocks a test sets while it runs: linked into sallyport-clock with
 * --wrap=clock_gettime. The wall clock may go anywhere, the monotonic one forward only.
 *
 * The broker has an empty environment and no file outside its directory, so the shift is a file
 * beside the program, mapped before main: `clock_shift`, 16 bytes: seconds of the wall clock and of
 * the monotonic one, in this machine's order.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

int __real_clock_gettime(clockid_t id, struct timespec *t);
int __wrap_clock_gettime(clockid_t id, struct timespec *t);

static const volatile long long *shift_s;

__attribute__((constructor)) static void map_shift(void)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - sizeof "clock_shift");
    if (n <= 0) {
        return;
    }
    path[n] = '\0';
    char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return;
    }
    memcpy(slash + 1, "clock_shift", sizeof "clock_shift");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        void *at = mmap(NULL, 2 * sizeof *shift_s, PROT_READ, MAP_SHARED, fd, 0);
        shift_s = at != MAP_FAILED ? at : NULL;
        (void)close(fd);
    }
}

int __wrap_clock_gettime(clockid_t id, struct timespec *t)
{
    int e = __real_clock_gettime(id, t);
    if (e == 0 && id == CLOCK_REALTIME && shift_s != NULL) {
        t->tv_sec += (time_t)shift_s[0];
    } else if (e == 0 && id == CLOCK_MONOTONIC && shift_s != NULL) {
        t->tv_sec += (time_t)shift_s[1];
    }
    return e;
}
