/*
 * people - how the rights of a gateway find the devices it speaks for (`${assigned}`, policy.h).
 *
 * Asked at the moment of each act, so an assignment that changes is followed at once and nothing is
 * compiled anew. Whoever lends it answers out of the newest directory it knows; what it gives is
 * borrowed for the call.
 */
#ifndef CORE_PEOPLE_H
#define CORE_PEOPLE_H

#include "core/principal.h"

struct people {
    void *ctx;
    /* NULL: there is nobody of that name or number. */
    const struct principal *(*by_name)(void *ctx, struct slice name);
    const struct principal *(*by_id)(void *ctx, uint64_t id);
};

#endif
