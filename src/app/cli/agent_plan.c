#include "app/cli/agent_plan.h"

enum { MINUTE_MS = 60 * 1000, HOUR_MS = 60 * MINUTE_MS, LEAST_MS = 500 };

static int64_t life(const struct x509_info *i)
{
    return i->not_after_wall_ms - i->not_before_wall_ms;
}

int64_t agent_due(const struct x509_info *i)
{
    uint32_t mixed = 2166136261U; /* FNV-1a: the last bits of a serial may all be alike */
    for (size_t k = 0; k < i->serial.n; k++) {
        mixed = (mixed ^ i->serial.p[k]) * 16777619U;
    }
    int64_t whole = life(i) / 15;
    int64_t shift = whole * (int64_t)(mixed % 1000) / 1000 - whole / 2;
    return i->not_after_wall_ms - life(i) / 3 + shift;
}

static uint64_t within(int64_t ms, uint64_t least, uint64_t most)
{
    uint64_t v = ms > 0 ? (uint64_t)ms : 0;
    return v < least ? least : v > most ? most : v;
}

uint64_t agent_again_ms(const struct x509_info *i, unsigned tries, uint64_t random)
{
    uint64_t first = within(life(i) / 60, LEAST_MS, MINUTE_MS);
    uint64_t most = within(life(i) / 10, first, HOUR_MS);
    uint64_t wait = first;
    for (unsigned k = 1; k < tries && wait < most; k++) {
        wait *= 2;
    }
    wait = wait < most ? wait : most;
    return wait - wait / 4 + random % (wait / 2 + 1);
}
