/*
 * baseline - what is usual of one number, in octaves: an exponential mean and an exponential mean
 * of the deviation from it. Integers only, so that a trace gives the same everywhere. { 0 } knows
 * nothing.
 */
#ifndef SERVICE_DETECT_BASELINE_H
#define SERVICE_DETECT_BASELINE_H

#include <stdbool.h>
#include <stdint.h>

enum { OCTAVE = 256 };

struct baseline {
    int32_t mean, mad; /* sixteenths of 1/OCTAVE */
    uint16_t n;        /* values that were learned; saturates */
};

/* octaves - log2 of v, in 1/OCTAVE, to about a tenth of an octave; 0 for 0 and 1. */
int32_t octaves(uint64_t v);
/* baseline_learn - one more value; when it knows some, an outlier counts as at most an octave or
 * four deviations. */
void baseline_learn(struct baseline *b, int32_t x);
/* baseline_offset - x less the mean, in 1/OCTAVE. */
int32_t baseline_offset(const struct baseline *b, int32_t x);
/* baseline_spread - its usual deviation, an eighth of an octave at least. */
int32_t baseline_spread(const struct baseline *b);
/* baseline_is_far - x is off by n_octaves and by n_mads deviations. */
bool baseline_is_far(const struct baseline *b, int32_t x, uint32_t n_octaves, uint32_t n_mads);

#endif
