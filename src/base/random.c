#include "base/random.h"

#include <assert.h>
#include <errno.h>
#include <sys/random.h>

static void system_fill(void *ctx, void *dst, size_t n)
{
    (void)ctx;
    uint8_t *p = dst;
    while (n > 0) {
        ssize_t got = getrandom(p, n, 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            abort(); /* keys and nonces that can be guessed are worse than no server */
        }
        p += got;
        n -= (size_t)got;
    }
}

struct random_source random_system(void)
{
    return (struct random_source){.fill = system_fill};
}

static uint64_t splitmix64(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = *state;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static void seeded_fill(void *ctx, void *dst, size_t n)
{
    uint8_t *p = dst;
    uint64_t word = 0;
    for (size_t i = 0; i < n; i++) {
        if (i % 8 == 0) {
            word = splitmix64(ctx);
        }
        p[i] = (uint8_t)(word >> (8 * (i % 8)));
    }
}

struct random_source random_seeded(uint64_t *state)
{
    return (struct random_source){.fill = seeded_fill, .ctx = state};
}

/* Little-endian on every machine, so that a seed means the same run everywhere. */
uint64_t random_u64(const struct random_source *r)
{
    uint8_t bytes[8];
    r->fill(r->ctx, bytes, sizeof bytes);
    uint64_t v = 0;
    for (size_t i = sizeof bytes; i > 0; i--) {
        v = v << 8 | bytes[i - 1];
    }
    return v;
}

uint64_t random_below(const struct random_source *r, uint64_t n)
{
    assert(n > 0);
    /* 2^64 mod n: the values below it would make small results likelier, so they are drawn again.
     */
    uint64_t surplus = (UINT64_MAX - n + 1) % n;
    uint64_t v = random_u64(r);
    while (v < surplus) {
        v = random_u64(r);
    }
    return v % n;
}
