/* slice - borrowed bytes. Never NUL-terminated, never owned; empty means n == 0. */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const uint8_t *p;
    size_t n;
};

/* Format a slice of already checked text with "%.*s". */
#define SLICE_ARG(s) (int)(s).n, (const char *)(s).p

static inline struct slice slice_of(const void *p, size_t n)
{
    return (struct slice){n > 0 ? (const uint8_t *)p : NULL, n};
}

/* slice_text - the bytes of a C string without its NUL; NULL gives the empty slice. */
static inline struct slice slice_text(const char *text)
{
    return text != NULL ? slice_of(text, strlen(text)) : (struct slice){0};
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    assert((a.n == 0 || a.p != NULL) && (b.n == 0 || b.p != NULL));
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool slice_is(struct slice a, const char *text)
{
    return slice_equal(a, slice_text(text));
}

static inline bool slice_has_prefix(struct slice a, struct slice prefix)
{
    return a.n >= prefix.n && slice_equal(slice_of(a.p, prefix.n), prefix);
}

/* slice_from - what is left behind the first `at` bytes; empty when there are not so many. */
static inline struct slice slice_from(struct slice a, size_t at)
{
    return at < a.n ? (struct slice){a.p + at, a.n - at} : (struct slice){0};
}

/* slice_head - the first n bytes, or all when there are fewer. */
static inline struct slice slice_head(struct slice a, size_t n)
{
    return slice_of(a.p, n < a.n ? n : a.n);
}

/* slice_head_text - the same of UTF-8 text, whole characters only. */
static inline struct slice slice_head_text(struct slice a, size_t n)
{
    while (n > 0 && n < a.n && (a.p[n] & 0xc0U) == 0x80U) {
        n--;
    }
    return slice_head(a, n);
}

/* slice_find - the offset of the first `byte`, or a.n. */
static inline size_t slice_find(struct slice a, uint8_t byte)
{
    const uint8_t *hit = a.n > 0 ? (const uint8_t *)memchr(a.p, byte, a.n) : NULL;
    return hit != NULL ? (size_t)(hit - a.p) : a.n;
}

/* slice_cut - splits *rest at the first `byte`: returns the part before it, *rest keeps the part
 * after it. Without one the whole is returned and *rest is empty. *ret_more says whether `byte` was
 * there, so that "a/" gives "a" and "". */
static inline struct slice slice_cut(struct slice *rest, uint8_t byte, bool *ret_more)
{
    size_t at = slice_find(*rest, byte);
    struct slice head = slice_head(*rest, at);
    *ret_more = at < rest->n;
    *rest = *ret_more ? slice_from(*rest, at + 1) : (struct slice){0};
    return head;
}

/* slice_copy - all of s to dst, which has room for it; nothing when s is empty, whose p may be NULL
 * (memcpy must not be given that). */
static inline void slice_copy(void *dst, struct slice s)
{
    assert(s.n == 0 || s.p != NULL);
    if (s.n > 0) {
        memcpy(dst, s.p, s.n);
    }
}

/* slice_to_text - copies into dst (cap bytes) with a NUL; false, and dst empty, when it does not
 * fit or holds a NUL. */
static inline bool slice_to_text(struct slice a, char *dst, size_t cap)
{
    if (cap == 0) {
        return false;
    }
    dst[0] = '\0';
    if (a.n >= cap || slice_find(a, 0) != a.n) {
        return false;
    }
    slice_copy(dst, a);
    dst[a.n] = '\0';
    return true;
}

#endif
