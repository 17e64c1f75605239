#include "base/event_ring.h"

#include <assert.h>
#include <stddef.h>

/* What an event has beside its texts, as it stands before the first of them. */
enum { HEAD_BYTES = offsetof(struct event, principal) };

/* A run: how many pieces it has (one byte), the head, the texts with a NUL behind each. */
struct run {
    uint8_t bytes[EVENT_PIECES_MAX * EVENT_PIECE_BYTES];
};

_Static_assert(1 + offsetof(struct event, reason) + sizeof((struct event *)0)->reason <=
                   sizeof(struct run),
               "an event fits into its pieces");

enum err event_ring_init(struct ring *r, size_t n_events)
{
    if (n_events > SIZE_MAX / EVENT_PIECES_MAX) {
        return ERR_NOMEM;
    }
    return ring_init(r, EVENT_PIECE_BYTES, n_events * EVENT_PIECES_MAX);
}

static uint8_t *put_text(uint8_t *at, const char *field, size_t cap)
{
    size_t n = strnlen(field, cap - 1);
    memcpy(at, field, n);
    at[n] = '\0';
    return at + n + 1;
}

static const uint8_t *take_text(const uint8_t *at, char *field)
{
    size_t n = strlen((const char *)at) + 1;
    memcpy(field, at, n);
    return at + n;
}

enum err event_ring_push(struct ring *r, const struct event *e)
{
    struct run run;
    memcpy(run.bytes + 1, e, HEAD_BYTES);
    uint8_t *at = run.bytes + 1 + HEAD_BYTES;
    at = put_text(at, e->principal, sizeof e->principal);
    at = put_text(at, e->client_id, sizeof e->client_id);
    at = put_text(at, e->peer, sizeof e->peer);
    at = put_text(at, e->listener, sizeof e->listener);
    at = put_text(at, e->target, sizeof e->target);
    at = put_text(at, e->reason, sizeof e->reason);
    size_t n = (size_t)(at - run.bytes + EVENT_PIECE_BYTES - 1) / EVENT_PIECE_BYTES;
    memset(at, 0, (size_t)(run.bytes + n * EVENT_PIECE_BYTES - at));
    run.bytes[0] = (uint8_t)n;
    return ring_push_run(r, run.bytes, n);
}

bool event_ring_pop(struct ring *r, struct event *ret)
{
    struct run run;
    if (!ring_pop(r, run.bytes)) {
        return false;
    }
    size_t n = run.bytes[0];
    assert(n > 0 && n <= EVENT_PIECES_MAX);
    for (size_t i = 1; i < n; i++) {
        bool is_there = ring_pop(r, run.bytes + i * EVENT_PIECE_BYTES);
        assert(is_there); /* the rest of a run comes with its first piece */
        (void)is_there;
    }
    *ret = (struct event){0};
    memcpy(ret, run.bytes + 1, HEAD_BYTES);
    const uint8_t *at = run.bytes + 1 + HEAD_BYTES;
    at = take_text(at, ret->principal);
    at = take_text(at, ret->client_id);
    at = take_text(at, ret->peer);
    at = take_text(at, ret->listener);
    at = take_text(at, ret->target);
    (void)take_text(at, ret->reason);
    return true;
}
