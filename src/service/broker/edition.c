#include "service/broker/edition.h"

/* The count is the one mutable word of a shared immutable object. */
static atomic_uint *refs_of(const struct edition *e)
{
    return (atomic_uint *)(uintptr_t)&e->refs;
}

const struct edition *edition_ref(const struct edition *e)
{
    if (e != NULL) {
        atomic_fetch_add_explicit(refs_of(e), 1, memory_order_relaxed);
    }
    return e;
}

const struct edition *edition_unref(const struct edition *e)
{
    if (e != NULL && atomic_fetch_sub_explicit(refs_of(e), 1, memory_order_acq_rel) == 1) {
        e->release(e);
    }
    return NULL;
}
