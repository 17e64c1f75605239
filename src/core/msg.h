/*
 * msg - one published message: immutable, shared by reference by every queue, index and worker that
 * holds it.
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
    uint16_t content_format; /* CoAP number, UINT16_MAX = none */
    struct slice topic, props,
        payload; /* all point into bytes[]; props = forwardable MQTT 5 properties, encoded */
    uint8_t bytes[];
};

/* msg_new - a message with one reference, its three parts copied, everything else zero and expiry
 * never. ERR_NOMEM. The caller may set the plain fields until it shares the message. One
 * allocation. */
MUST_USE enum err msg_new(struct slice topic, struct slice props, struct slice payload,
                          struct msg **ret);
const struct msg *msg_ref(const struct msg *m);
/* msg_ref_n - n more references at once. */
const struct msg *msg_ref_n(const struct msg *m, unsigned n);
const struct msg *msg_unref(const struct msg *m);
/* msg_cost - bytes charged for holding it, the header included. */
size_t msg_cost(const struct msg *m);

#endif
