/*
 * aside - messages that were set aside: what an administrator asks a worker about them, and what it
 * answers. Each worker keeps those of the sessions that live there.
 *
 *   aside_ask_new(ASIDE_LIST, &ask) ... broker_ask_aside(broker, worker, ask) ...
 *   aside_ask_is_done(ask): its rows may be read, and what it changed is on disk
 *
 * An ask is shared by the service thread and one worker. The worker alone writes it until it is
 * done, the service thread alone reads it afterwards.
 */
#ifndef SERVICE_BROKER_ASIDE_H
#define SERVICE_BROKER_ASIDE_H

#include <stdatomic.h>

#include "base/list.h"
#include "core/msg.h"
#include "core/principal.h"

enum aside_verb { ASIDE_LIST, ASIDE_REPLAY, ASIDE_DROP };

/* What became of one. From ASIDE_NO_SESSION on it could not be done, and the message stays. */
enum aside_fate {
    ASIDE_STAYS, /* ASIDE_LIST */
    ASIDE_REPLAYED,
    ASIDE_DROPPED,
    ASIDE_NO_SESSION,
    ASIDE_CLOSED,
    ASIDE_EXPIRED,
    ASIDE_PUBLISHER_DENIED,
    ASIDE_SUBSCRIBER_DENIED,
    ASIDE_QUEUE_FULL,
    ASIDE_STORE_REFUSES,
    ASIDE_NO_MEMORY
};
/* aside_fate_text - why it stays, and the fix; "" when it was done. Static. */
const char *aside_fate_text(enum aside_fate f);

struct aside_row {
    uint64_t id;
    int64_t since_wall_ms;
    enum aside_fate fate;
    uint8_t reason; /* an event category */
    uint8_t n_tries, qos;
    const struct msg *msg; /* owned reference */
    char principal[PRINCIPAL_NAME_MAX + 1];
    char client_id[66]; /* cut to fit, as in events; "" when its session was gone at a restart */
};

struct aside_ask {
    atomic_uint refs;
    atomic_bool is_done;
    /* the question; not changed any more once it was asked */
    enum aside_verb verb;
    uint64_t id;                            /* 0: all */
    uint64_t after;                         /* only ids above it */
    size_t most;                            /* rows; 0: no bound */
    char principal[PRINCIPAL_NAME_MAX + 1]; /* only what was taken from its sessions; "": all */
    /* the worker's, until it is done */
    struct list_node node;
    uint64_t lsn;
    /* the answer: rows in the order of ids */
    struct aside_row *rows;
    size_t n_rows, cap_rows;
    bool has_more;
    enum err err; /* ERR_NOMEM: what has no row was not done */
};

/* aside_ask_new - one reference, asks for all. ERR_NOMEM. */
MUST_USE enum err aside_ask_new(enum aside_verb verb, struct aside_ask **ret);
struct aside_ask *aside_ask_ref(struct aside_ask *a);
struct aside_ask *aside_ask_unref(struct aside_ask *a); /* NULL is fine; returns NULL */
bool aside_ask_is_done(const struct aside_ask *a);

#endif
