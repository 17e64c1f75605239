/*
 * lending - payloads that leave a send buffer out: they are sent from where their messages have
 * them, between the bytes that were copied. Each one that is lent holds a reference, until
 * lending_done, which comes right behind the send: what the socket did not take is a copy by then.
 */
#ifndef CORE_LENDING_H
#define CORE_LENDING_H

#include "base/slice.h"
#include "base/wr.h"
#include "core/msg.h"

enum {
    LENDING_LEAST = 8192, /* bytes: of fewer, two parts more save little, or cost */
    LENDING_MAX = 31,     /* payloads of one send; what comes behind them is copied */
    LENDING_PARTS = 2 * LENDING_MAX + 1
};

struct lent {
    const struct msg *msg;
    size_t at; /* behind so many copied bytes */
};

/* Zeroed but for least it has lent nothing; a least of 0 lends everything that is not empty. */
struct lending {
    size_t least; /* payloads of so many bytes or more */
    size_t n, bytes;
    struct lent lent[LENDING_MAX];
};

/* lending_take - m's payload leaves behind what w has so far, with a reference of its own; w has so
 * much less room. False, and nothing happened: copy it (l is NULL, it is too small, there are
 * LENDING_MAX, or w has no room). */
MUST_USE bool lending_take(struct lending *l, const struct msg *m, struct wr *w);
/* lending_parts - all that leaves, in order, none of it empty; how many. copied is what w held. */
size_t lending_parts(const struct lending *l, struct slice copied,
                     struct slice parts[LENDING_PARTS]);
/* lending_done - gives up the references; nothing is lent then. */
void lending_done(struct lending *l);

#endif
