/*
 * progress - how far a long piece of work is, and whether anybody still wants it. One thread works:
 * it says and asks, in pieces that do not take long. Any other looks, and may give it up.
 */
#ifndef BASE_PROGRESS_H
#define BASE_PROGRESS_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/err.h"

/* Zeroed: nothing was begun. Who works on behalf of nobody in particular has NULL. */
struct progress {
    atomic_bool is_given_up;
    _Atomic(const char *) what; /* static: "segments read" */
    _Atomic uint64_t done, all; /* of them; all 0: nobody knows */
};

/* progress_begin - the next part of the work; all as above. */
static inline void progress_begin(struct progress *p, const char *what, uint64_t all)
{
    if (p != NULL) {
        atomic_store(&p->done, 0);
        atomic_store(&p->all, all);
        atomic_store(&p->what, what);
    }
}

/* progress_check - ERR_CLOSED: nobody wants the rest. */
MUST_USE static inline enum err progress_check(struct progress *p)
{
    return p != NULL && atomic_load_explicit(&p->is_given_up, memory_order_relaxed) ? ERR_CLOSED
                                                                                    : OK;
}

/* progress_step - the same before one more of what progress_begin named. */
MUST_USE static inline enum err progress_step(struct progress *p)
{
    TRY(progress_check(p));
    if (p != NULL) {
        (void)atomic_fetch_add_explicit(&p->done, 1, memory_order_relaxed);
    }
    return OK;
}

#endif
