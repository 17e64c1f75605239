/* random - the seam to randomness; the simulator passes a seeded one. */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

struct random_source {
    void (*fill)(void *ctx, void *dst, size_t n);
    void *ctx;
};

/* random_system - getrandom(2); aborts when the kernel cannot give any. */
struct random_source random_system(void);
/* random_seeded - a repeatable stream (splitmix64) for tests and the simulator; state is the
 * caller's. */
struct random_source random_seeded(uint64_t *state);
/* random_u64 - eight bytes as a number. */
uint64_t random_u64(const struct random_source *r);
/* random_below - uniform in [0, n), n > 0. */
uint64_t random_below(const struct random_source *r, uint64_t n);

#endif
