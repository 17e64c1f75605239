/* outbox_private - what waits for a full ring to another worker; shared by the files of this folder
 * only. */
#ifndef SERVICE_BROKER_OUTBOX_PRIVATE_H
#define SERVICE_BROKER_OUTBOX_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct ring;
struct wmsg;
struct worker;

enum { OVERFLOW_PAUSE = 4096 /* messages that wait: publishers are not read above this */ };

struct outbox {
    struct ring *ring;
    struct wmsg *overflow; /* FIFO: at..n */
    size_t at, n, cap;
    bool is_held; /* the overflow waits for the next handover */
};

/* outbox_reserve - one outbox_push to each of these workers does not fail. */
MUST_USE enum err outbox_reserve(struct worker *w, uint64_t to);
MUST_USE enum err outbox_push(struct worker *w, unsigned to, const struct wmsg *m);
/* outbox_push_held - leaves, and all behind it, with the next handover: what it stands on, and what
 * else this turn records about it, are one then. There is room (outbox_reserve). */
void outbox_push_held(struct worker *w, unsigned to, const struct wmsg *m);
/* outboxes_release - the handover has happened. */
void outboxes_release(struct worker *w);
void outboxes_drain(struct worker *w);
bool outboxes_are_full(const struct worker *w, size_t over);

#endif
