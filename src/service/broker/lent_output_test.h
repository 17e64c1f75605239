/* lent_output_test - what leaves a worker as its client sees it, lent or not, for tests. */
#ifndef SERVICE_BROKER_LENT_OUTPUT_TEST_H
#define SERVICE_BROKER_LENT_OUTPUT_TEST_H

#include <string.h>

#include "service/broker/worker.h"

/* The lent payloads go to their places from the last to the first. */
static inline size_t lent_gather(const struct lending *l, uint8_t *dst, size_t n)
{
    size_t end = n + l->bytes, tail = n;
    for (size_t i = l->n; i-- > 0;) {
        const struct lent *lent = &l->lent[i];
        struct slice payload = lent->msg->payload;
        end -= tail - lent->at;
        memmove(dst + end, dst + lent->at, tail - lent->at);
        end -= payload.n;
        memcpy(dst + end, payload.p, payload.n);
        tail = lent->at;
    }
    return n + l->bytes;
}

/* worker_output with payloads of `least` bytes or more lent, all of it in dst. */
static inline size_t lent_output(struct worker *w, uint64_t conn, uint8_t *dst, size_t cap,
                                 size_t least, uint64_t now_ms)
{
    struct lending l = {.least = least};
    size_t n = worker_output(w, conn, dst, cap, &l, now_ms);
    n = lent_gather(&l, dst, n);
    lending_done(&l);
    return n;
}

#endif
