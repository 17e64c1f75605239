/* siphash - SipHash-2-4: a keyed hash, so that a stranger who picks the keys of a map cannot pick
 * its collisions. */
#ifndef BASE_SIPHASH_H
#define BASE_SIPHASH_H

#include "base/slice.h"

struct siphash_key {
    uint64_t k0, k1;
};

uint64_t siphash(const struct siphash_key *key, struct slice s);

#endif
