/*
 * rd - a reader over borrowed bytes whose first error sticks and whose reads then give zero.
 *
 * Decoders read straight through and ask once at the end (rd_finish). Never allocate, loop or index
 * on a value that was read before the reader is known good and the value is within a named limit. A
 * nested length opens a sub-reader (rd_sub), so an inner field cannot see past its own block. r->at
 * stays where the first error was met.
 */
#ifndef BASE_RD_H
#define BASE_RD_H

#include "base/err.h"
#include "base/slice.h"

struct rd {
    const uint8_t *base;
    size_t at, n;
    enum err err;
};

static inline struct rd rd_from(struct slice s)
{
    return (struct rd){.base = s.p, .n = s.n};
}

/* rd_left - bytes not read yet; 0 once an error stuck. */
static inline size_t rd_left(const struct rd *r)
{
    return r->err == OK ? r->n - r->at : 0;
}

static inline bool rd_ok(const struct rd *r)
{
    return r->err == OK;
}

/* rd_fail - make e stick, unless an earlier error did. */
static inline void rd_fail(struct rd *r, enum err e)
{
    if (r->err == OK) {
        r->err = e;
    }
}

static inline struct slice rd_bytes(struct rd *r, size_t want)
{
    if (r->err == OK && want > r->n - r->at) {
        r->err = ERR_TRUNCATED;
    }
    if (r->err != OK || want == 0) {
        return (struct slice){0};
    }
    struct slice s = {r->base + r->at, want};
    r->at += want;
    return s;
}

/* rd_rest - all that is left; takes it. */
static inline struct slice rd_rest(struct rd *r)
{
    return rd_bytes(r, rd_left(r));
}

static inline struct rd rd_sub(struct rd *r, size_t want)
{
    struct rd inner = rd_from(rd_bytes(r, want));
    inner.err = r->err;
    return inner;
}

static inline uint8_t rd_u8(struct rd *r)
{
    struct slice s = rd_bytes(r, 1);
    return s.n == 1 ? s.p[0] : 0;
}

/* rd_peek_u8 - the next byte without taking it; 0 when there is none (no error sticks). */
static inline uint8_t rd_peek_u8(const struct rd *r)
{
    return rd_left(r) > 0 ? r->base[r->at] : 0;
}

/* Big-endian, n <= 8 bytes. */
static inline uint64_t rd_be(struct rd *r, size_t n)
{
    struct slice s = rd_bytes(r, n);
    uint64_t v = 0;
    for (size_t i = 0; i < s.n; i++) {
        v = v << 8 | s.p[i];
    }
    return v;
}

static inline uint16_t rd_u16(struct rd *r)
{
    return (uint16_t)rd_be(r, 2);
}

static inline uint32_t rd_u32(struct rd *r)
{
    return (uint32_t)rd_be(r, 4);
}

static inline uint64_t rd_u64(struct rd *r)
{
    return rd_be(r, 8);
}

/* rd_block16 - a 16-bit length and so many bytes. */
static inline struct slice rd_block16(struct rd *r)
{
    return rd_bytes(r, rd_u16(r));
}

/* rd_finish - the sticky error; ERR_TRAILING when bytes are left over. */
MUST_USE static inline enum err rd_finish(const struct rd *r)
{
    if (r->err != OK) {
        return r->err;
    }
    return r->at == r->n ? OK : ERR_TRAILING;
}

#endif
