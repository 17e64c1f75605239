/*
 * scope - cleanup when a variable goes out of scope, so that an early return is always safe.
 *
 *   AUTO(buf_wipe) struct buf pem = { 0 };        buf_wipe(&pem) on every way out
 *   AUTO(x_autofree) struct x *x = NULL;          x_autofree(&x) on every way out
 *   *ret = TAKE(x);                               hands x over: leaves NULL behind
 */
#ifndef BASE_SCOPE_H
#define BASE_SCOPE_H

/* unused: a variable may be there for its cleanup alone; clang does not count that as a use. */
#define AUTO(fn) __attribute__((cleanup(fn), unused))

#define TAKE(pointer)                                                                              \
    __extension__({                                                                                \
        __typeof__(pointer) taken_ = (pointer);                                                    \
        (pointer) = NULL;                                                                          \
        taken_;                                                                                    \
    })

/* Defines static x_autofree(struct x **) out of x_free(struct x *). */
#define AUTOFREE(type, free_fn)                                                                    \
    static inline void type##_autofree(struct type **p)                                            \
    {                                                                                              \
        *p = free_fn(*p);                                                                          \
    }

#define CONTAINER_OF(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#endif
