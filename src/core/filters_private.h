/* Private to core/filters*.c: what a filter tree is made of. */
#ifndef CORE_FILTERS_PRIVATE_H
#define CORE_FILTERS_PRIVATE_H

#include "base/slab.h"
#include "core/filters.h"
#include "core/match_cache.h"
#include "core/trie.h"

/* Bits of other workers. */
struct remote {
    uint64_t any, durable;
};

struct filter {
    union {
        struct filter *in_bucket; /* next of the same bucket */
        struct trie_node *node;   /* is_wild */
    };
    struct list subs;      /* struct sub.in_filter */
    struct remote *remote; /* NULL: no other worker has one */
    uint32_t n_durable;    /* subs of durable subscribers */
    uint32_t n_subs;
    uint32_t n_groups; /* of n_subs */
    uint32_t hash;     /* not is_wild */
    uint16_t text_n;
    bool is_wild;
    uint8_t text[];
};

/* An array that grows and never shrinks, so a match allocates only while it has seen nothing as
 * large. */
struct pile {
    void *p;
    size_t n, cap;
};

struct scratch {
    struct pile levels; /* struct level: the topic, split */
    struct pile steps;  /* struct step: the walk's stack */
    struct pile found;  /* struct filter *: those that match */
    struct pile hits;   /* struct match_hit */
    struct pile ids;    /* uint32_t */
    size_t n_groups;    /* of the hits */
};

struct filters {
    struct slab slab;       /* filters, nodes and subs */
    struct filter **exact;  /* buckets: a topic finds its exact filter */
    size_t n_buckets;       /* a power of two or 0 */
    size_t n_exact, n_wild; /* filters */
    struct trie wild;
    size_t n_subs;
    uint64_t mark;
    struct scratch s;
    struct match_cache cache;
};

static inline struct slice filter_text(const struct filter *filter)
{
    return slice_of(filter->text, filter->text_n);
}

static inline uint32_t filters_exact_hash(const struct filters *f, struct slice text)
{
    return (uint32_t)siphash(&f->wild.key, text);
}

#endif
