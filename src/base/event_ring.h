/*
 * event_ring - events from one thread to one other, each as long as its texts.
 *
 * Most events say a tenth of what their fields have room for. In the ring an event is a run of
 * pieces (base/ring.h): so a burst of them touches a fraction of the memory, and what was once
 * touched stays with the process.
 */
#ifndef BASE_EVENT_RING_H
#define BASE_EVENT_RING_H

#include "base/event.h"
#include "base/ring.h"

enum {
    EVENT_PIECE_BYTES = 80,
    EVENT_PIECES_MAX = 8 /* of an event whose fields are all full */
};

/* event_ring_init - room for n_events whose fields are all full, so for more of all others.
 * ERR_NOMEM. ring_done releases. */
MUST_USE enum err event_ring_init(struct ring *r, size_t n_events);
/* event_ring_push - ERR_AGAIN when full; nothing changed. Producer only. */
MUST_USE enum err event_ring_push(struct ring *r, const struct event *e);
/* event_ring_pop - the oldest one; false when empty. Consumer only. */
bool event_ring_pop(struct ring *r, struct event *ret);

#endif
