/*
 * msg - one published message: immutable, shared by reference by every queue, index and worker that
 * holds it.
 *
 * A message that is on record may stand in a queue as its *husk*: the same message without
 * properties and payload, which are on disk only. All that is judged is in the husk; what is sent
 * is not, so whoever sends makes it whole again first. It is charged as if it were whole.
 */
#ifndef CORE_MSG_H
#define CORE_MSG_H

#include <stdatomic.h>

#include "base/err.h"
#include "base/slice.h"

struct msg {
    atomic_uint refs; /* touched only in msg.c; n receivers = one addition of n */
    uint8_t qos;
    bool retain;
    bool is_utf8;           /* payload format indicator */
    uint64_t expires_at_ms; /* monotonic; UINT64_MAX = never; wall clock only in the log */
    uint64_t publisher;     /* principal id: queued and retained messages re-check who sent them */
    uint64_t session;       /* session id of the publisher, for "no local"; 0: none */
    uint64_t epoch;         /* policy epoch under which it was accepted */
    uint64_t number;        /* retained number; 0 when not retained */
    uint64_t body_id;       /* of its record; 0: it is not on record */
    uint64_t for_group;     /* hash of the group whose member is gone, for it alone; 0: for all */
    uint32_t segment;
    uint32_t n_away;         /* of a husk: bytes of props and payload; 0: all of it is here */
    uint16_t content_format; /* CoAP number, UINT16_MAX = none */
    const struct msg *_Atomic husk; /* msg.c's: made once, one reference; NULL: nobody asked yet */
    struct slice topic, props,
        payload; /* all point into bytes[]; props = forwardable MQTT 5 properties, encoded */
    uint8_t bytes[];
};

/* msg_new - a message with one reference, its three parts copied, everything else zero and expiry
 * never. ERR_NOMEM. The caller may set the plain fields until it shares the message. One
 * allocation. */
MUST_USE enum err msg_new(struct slice topic, struct slice props, struct slice payload,
                          struct msg **ret);
/* msg_copy - the same message once more, with one reference and for a record of its own: neither
 * number nor body_id. ERR_NOMEM. */
MUST_USE enum err msg_copy(const struct msg *m, struct msg **ret);
const struct msg *msg_ref(const struct msg *m);
/* msg_ref_n - n more references at once. */
const struct msg *msg_ref_n(const struct msg *m, unsigned n);
const struct msg *msg_unref(const struct msg *m);
/* msg_cost - bytes charged for holding it, the header included; of a husk those of the message. */
static inline size_t msg_cost(const struct msg *m)
{
    return sizeof *m + m->topic.n + m->props.n + m->payload.n + m->n_away;
}

static inline bool msg_is_husk(const struct msg *m)
{
    return m->n_away > 0;
}
/* msg_has_husk - somebody has asked for it. */
static inline bool msg_has_husk(const struct msg *m)
{
    return atomic_load_explicit(&m->husk, memory_order_relaxed) != NULL;
}
/* msg_away - bytes that leave memory when nobody holds more than the husk. */
static inline size_t msg_away(const struct msg *m)
{
    return m->props.n + m->payload.n;
}
/* msg_husk - m (whole, with a body_id and msg_away > 0) as its husk, one reference more: the same
 * one for all who ask, whichever thread. ERR_NOMEM. */
MUST_USE enum err msg_husk(const struct msg *m, const struct msg **ret);
/* msg_whole - husk with its body again, one reference; its husk is this one. ERR_MALFORMED: that is
 * not so many bytes; ERR_NOMEM. */
MUST_USE enum err msg_whole(const struct msg *husk, struct slice props, struct slice payload,
                            const struct msg **ret);

#endif
