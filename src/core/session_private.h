/* session_private - the queue of a session from inside, for session.c and session_queue.c only. */
#ifndef CORE_SESSION_PRIVATE_H
#define CORE_SESSION_PRIVATE_H

#include "core/session.h"

static inline struct delivery *queue_at(const struct session *s, size_t index)
{
    return &s->queue->ring[(s->queue->ring_at + index) & (s->queue->ring_cap - 1)];
}

static inline size_t queue_index(const struct session *s, const struct delivery *d)
{
    return ((size_t)(d - s->queue->ring) - s->queue->ring_at) & (s->queue->ring_cap - 1);
}

/* queue_init - nothing has come for s: an empty one, which is not written to. */
void queue_init(struct session *s);
/* queue_done - releases all deliveries; nothing of s is used any more. */
void queue_done(struct session *s);

/* queue_add - a copy of d behind the others, with a copy of ids and one more reference to its
 * message (NULL: none), which is charged. Pointers to deliveries are void. ERR_NOMEM: as before. */
MUST_USE enum err queue_add(struct session *s, const struct delivery *d, const uint32_t *ids,
                            uint16_t n_ids);
/* queue_touch - d was looked at. */
void queue_touch(struct session *s, const struct delivery *d);
/* queue_release - the body of d is not needed any more. */
void queue_release(struct session *s, struct delivery *d);
/* queue_finish - d is DONE; it leaves with the next queue_tidy. */
void queue_finish(struct session *s, struct delivery *d);
/* queue_tidy - what is finished leaves, as far as that is worth it. Pointers are void. */
void queue_tidy(struct session *s);

/* queue_place - the index of the first whose seq is this one or a later one. */
size_t queue_place(const struct session *s, uint64_t seq);
/* queue_find - that delivery, finished or not; NULL: it has left. */
struct delivery *queue_find(const struct session *s, uint64_t seq);

#endif
