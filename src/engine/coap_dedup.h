/*
 * coap_dedup - which message ids of a peer were seen, and how each was answered.
 *
 * 8 bytes a message id, in a table by message id. An answer that is only a code is made again from
 * these; other answers are kept as bytes, one behind the other, up to a cap, the oldest going
 * first: its message id stays remembered, so that a request never reaches its handler twice. Both
 * grow by doubling and go when nothing is remembered any more; of who has said nothing lately there
 * is a pointer. SPEC: RFC7252 4.2, 4.3, 4.5.
 */
#ifndef ENGINE_COAP_DEDUP_H
#define ENGINE_COAP_DEDUP_H

#include "engine/coap_endpoint.h"

enum coap_seen_state {
    COAP_SEEN_OPEN,     /* being worked on, nothing sent yet */
    COAP_SEEN_ACKED,    /* acknowledged without an answer: again */
    COAP_SEEN_ANSWERED, /* answered with `code` alone: again */
    COAP_SEEN_KEPT,     /* answered, coap_dedup_kept has the bytes */
    COAP_SEEN_LOST,     /* answered, but the bytes had to go */
    COAP_SEEN_SILENT,   /* not confirmable: nothing to repeat */
};

struct coap_seen {
    uint32_t until; /* COAP_DEDUP_TICK_MS units, rounded up; 0: the place is free */
    uint16_t mid;
    uint8_t state : 3; /* enum coap_seen_state */
    uint8_t asker : 5; /* once answered: the token of the request, folded (coap_dedup_fold) */
    uint8_t code;
};
_Static_assert(sizeof(struct coap_seen) == 8, "a message id is eight bytes");

enum { COAP_DEDUP_TICK_MS = 128, COAP_DEDUP_FIRST = 3, COAP_SEEN_ASKERS = 31 };

struct coap_remembered {
    struct coap_seen *seen; /* cap places, one of them free at least: `first`, or of the heap */
    uint8_t *kept;          /* answers from kept_at to kept_end, oldest first; NULL: none */
    uint32_t n, cap;
    uint32_t first_until, last_until; /* nothing ends before, nothing behind it */
    uint32_t kept_at, kept_end, kept_cap;
    uint32_t kept_bytes; /* of answers that are still of use */
    struct coap_seen first[COAP_DEDUP_FIRST];
};

struct coap_dedup {
    struct coap_remembered *all; /* NULL: nothing is remembered */
};

void coap_dedup_init(struct coap_dedup *d);
void coap_dedup_done(struct coap_dedup *d);
/* coap_dedup_find - NULL when it was not seen, or too long ago. Valid until the next add. O(1) for
 * message ids as clients count them, O(n) for some that are picked to lie side by side. */
struct coap_seen *coap_dedup_find(struct coap_dedup *d, uint16_t mid, uint64_t now_ms);
/* coap_dedup_add - a message id that find does not know. ERR_LIMIT limits->dedup_entries,
 * ERR_NOMEM: nothing changed. O(1), amortized. */
MUST_USE enum err coap_dedup_add(struct coap_dedup *d, const struct coap_limits *limits,
                                 uint16_t mid, enum coap_seen_state state, uint32_t lifetime_ms,
                                 uint64_t now_ms);
/* coap_dedup_is_half - as many message ids as half of limits->dedup_entries, or more. Forgets what
 * has expired first. O(1), amortized. */
bool coap_dedup_is_half(struct coap_dedup *d, const struct coap_limits *limits, uint64_t now_ms);
/* coap_dedup_keep - makes `seen` repeatable with a copy of the bytes; LOST when there is no room.
 */
void coap_dedup_keep(struct coap_dedup *d, const struct coap_limits *limits, struct coap_seen *seen,
                     struct slice answer);
/* coap_dedup_fold - a token in five bits: two tokens differ in them 31 times of 32. O(bytes). */
unsigned coap_dedup_fold(struct slice token);
/* coap_dedup_kept - the bytes of a KEPT one; borrows until the next add or keep. */
struct slice coap_dedup_kept(const struct coap_dedup *d, uint16_t mid);
/* coap_dedup_shed - every KEPT one is LOST. Gives how many. O(kept). */
size_t coap_dedup_shed(struct coap_dedup *d);
/* coap_dedup_bytes - of the heap. */
size_t coap_dedup_bytes(const struct coap_dedup *d);
/* coap_dedup_sweep - forgets what has expired, and its memory. O(n * kept). */
void coap_dedup_sweep(struct coap_dedup *d, uint64_t now_ms);
/* coap_dedup_deadline - when a sweep empties it; UINT64_MAX when it is empty. */
uint64_t coap_dedup_deadline(const struct coap_dedup *d);

#endif
