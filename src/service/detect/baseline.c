#include "service/detect/baseline.h"

enum {
    FINE = 16, /* of the kept numbers */
    FIRST = 8, /* so many values weigh the same; then each weighs 1/SLOW */
    SLOW = 16,
    MAD_LEAST = OCTAVE / 8 /* what is perfectly regular is not far after a millisecond */
};

int32_t octaves(uint64_t v)
{
    if (v < 2) {
        return 0;
    }
    int top = 63 - __builtin_clzll(v);
    uint64_t rest = top >= 8 ? v >> (top - 8) : v << (8 - top); /* 256 to 511 */
    return top * OCTAVE + (int32_t)(rest - OCTAVE);
}

static int32_t size_of(int32_t x)
{
    return x < 0 ? -x : x;
}

int32_t baseline_spread(const struct baseline *b)
{
    int32_t mad = b->mad / FINE;
    return mad > MAD_LEAST ? mad : MAD_LEAST;
}

int32_t baseline_offset(const struct baseline *b, int32_t x)
{
    return x - b->mean / FINE;
}

void baseline_learn(struct baseline *b, int32_t x)
{
    int32_t off = baseline_offset(b, x);
    if (b->n == 0) {
        *b = (struct baseline){.mean = x * FINE, .n = 1};
        return;
    }
    if (b->n >= FIRST) {
        int32_t most = 4 * baseline_spread(b) > OCTAVE ? 4 * baseline_spread(b) : OCTAVE;
        off = off > most ? most : off;
        off = off < -most ? -most : off;
    }
    int32_t weight = b->n < FIRST ? b->n + 1 : SLOW;
    b->mean += off * FINE / weight;
    b->mad += (size_of(off) * FINE - b->mad) / weight;
    b->n = (uint16_t)(b->n < UINT16_MAX ? b->n + 1 : b->n);
}

bool baseline_is_far(const struct baseline *b, int32_t x, uint32_t n_octaves, uint32_t n_mads)
{
    int32_t off = size_of(baseline_offset(b, x));
    return off >= (int32_t)n_octaves * OCTAVE && off >= (int32_t)n_mads * baseline_spread(b);
}
