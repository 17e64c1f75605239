/* handover - what goes with a connection from the worker that accepted it to its home. */
#ifndef SERVICE_BROKER_HANDOVER_H
#define SERVICE_BROKER_HANDOVER_H

#include "base/buf.h"
#include "core/principal.h"
#include "engine/mqtt_gate.h"

struct entrance;
struct shown;

/* A connection on its way home. */
struct handover {
    const struct entrance *entrance;
    void *transport;
    struct mqtt_gate *gate;
    const struct principal *principal; /* owned reference */
    uint64_t credential;               /* that let it in; 0: none */
    struct shown *shown;               /* as conn's; owned */
    int64_t token_wall_ms;             /* end of the token that did; 0: none */
    int64_t certificate_wall_ms;       /* end of the certificate */
    bool is_resumed;                   /* its TLS, by a ticket */
    struct buf unread;
    const char *peer; /* of its transport */
};

struct handover *handover_free(struct handover *h);

#endif
