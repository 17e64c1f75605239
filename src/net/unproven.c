#include "net/unproven.h"

void unproven_reopen(struct unproven *u, size_t n)
{
    u->heard_bytes = n;
    u->said_bytes = 0;
}

void unproven_open(struct unproven *u, size_t n)
{
    unproven_reopen(u, n);
    if (u->counters != NULL) {
        u->counters->unproven_datagrams++;
        u->counters->unproven_bytes_in += n;
    }
}

bool unproven_may_say(struct unproven *u, size_t n)
{
    bool may = u->heard_bytes > 0 && u->said_bytes + n <= UNPROVEN_TIMES * u->heard_bytes;
    struct coap_counters *c = u->counters;
    u->said_bytes += may ? n : 0;
    if (c == NULL) {
        return may;
    }
    if (!may) {
        c->unproven_withheld++;
        return false;
    }
    c->unproven_bytes_out += n;
    uint64_t per_mille = u->said_bytes * UNPROVEN_PER_MILLE / u->heard_bytes;
    c->unproven_worst_per_mille =
        per_mille > c->unproven_worst_per_mille ? per_mille : c->unproven_worst_per_mille;
    return true;
}

void unproven_close(struct unproven *u)
{
    u->heard_bytes = u->said_bytes = 0;
}
