/*
 * wr - a writer into the caller's bytes, the mirror image of rd: the first error (ERR_SPACE)
 * sticks, later writes do nothing. wr_done says how many bytes there are only when all of them
 * fitted.
 */
#ifndef BASE_WR_H
#define BASE_WR_H

#include "base/err.h"
#include "base/slice.h"

struct wr {
    uint8_t *base;
    size_t at, cap;
    enum err err;
};

static inline struct wr wr_into(void *dst, size_t cap)
{
    return (struct wr){.base = dst, .cap = cap};
}

static inline bool wr_ok(const struct wr *w)
{
    return w->err == OK;
}

static inline void wr_fail(struct wr *w, enum err e)
{
    if (w->err == OK) {
        w->err = e;
    }
}

static inline size_t wr_left(const struct wr *w)
{
    return w->err == OK ? w->cap - w->at : 0;
}

/* wr_reserve - n bytes for the caller to fill; NULL when they do not fit. */
static inline uint8_t *wr_reserve(struct wr *w, size_t n)
{
    if (w->err == OK && n > w->cap - w->at) {
        w->err = ERR_SPACE;
    }
    if (w->err != OK) {
        return NULL;
    }
    uint8_t *p = w->base != NULL ? w->base + w->at : NULL; /* NULL + 0 is not C */
    w->at += n;
    return p;
}

static inline void wr_bytes(struct wr *w, struct slice s)
{
    uint8_t *p = wr_reserve(w, s.n);
    if (p != NULL) {
        slice_copy(p, s);
    }
}

/* Big-endian, n <= 8 bytes. */
static inline void wr_be(struct wr *w, uint64_t v, size_t n)
{
    uint8_t *p = wr_reserve(w, n);
    for (size_t i = n; p != NULL && i > 0; i--) {
        p[i - 1] = (uint8_t)v;
        v >>= 8;
    }
}

static inline void wr_u8(struct wr *w, uint8_t v)
{
    wr_be(w, v, 1);
}

static inline void wr_u16(struct wr *w, uint16_t v)
{
    wr_be(w, v, 2);
}

static inline void wr_u32(struct wr *w, uint32_t v)
{
    wr_be(w, v, 4);
}

static inline void wr_u64(struct wr *w, uint64_t v)
{
    wr_be(w, v, 8);
}

/* wr_block16 - a 16-bit length and the bytes; ERR_TOO_LARGE sticks over 65,535. */
static inline void wr_block16(struct wr *w, struct slice s)
{
    if (s.n > UINT16_MAX) {
        wr_fail(w, ERR_TOO_LARGE);
    }
    wr_u16(w, (uint16_t)s.n);
    wr_bytes(w, s);
}

static inline struct slice wr_slice(const struct wr *w)
{
    return w->err == OK ? slice_of(w->base, w->at) : (struct slice){0};
}

/* wr_done - the sticky error, else OK and *ret_n = bytes written. */
MUST_USE static inline enum err wr_done(const struct wr *w, size_t *ret_n)
{
    if (w->err == OK) {
        *ret_n = w->at;
    }
    return w->err;
}

#endif
