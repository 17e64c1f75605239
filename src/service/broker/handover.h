/* handover - what goes with a connection from the worker that accepted it to its home. */
#ifndef SERVICE_BROKER_HANDOVER_H
#define SERVICE_BROKER_HANDOVER_H

#include "base/buf.h"
#include "core/principal.h"
#include "engine/mqtt_gate.h"

struct entrance;
struct conn_login;

/* A connection on its way home. */
struct handover {
    const struct entrance *entrance;
    void *transport;
    struct mqtt_gate *gate;
    const struct principal *principal; /* owned reference */
    uint64_t credential;               /* that let it in; 0: none */
    struct conn_login *login;          /* as conn's, taken over */
    bool is_resumed;                   /* its TLS, by a ticket */
    struct buf *unread;                /* owned; NULL: nothing */
    const char *peer;                  /* of its transport */
};

struct handover *handover_free(struct handover *h);

#endif
