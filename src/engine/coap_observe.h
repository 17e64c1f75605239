/*
 * coap_observe - the observations one peer has with us, and the order of the notifications we get.
 *
 * A registry per association: token -> observation. It numbers, counts and remembers; sending is
 * coap_endpoint's. SPEC: RFC7641.
 */
#ifndef ENGINE_COAP_OBSERVE_H
#define ENGINE_COAP_OBSERVE_H

#include "base/buf.h"
#include "base/thin_list.h"
#include "engine/coap_endpoint.h"

enum { COAP_OBSERVE_MIDS = 8, COAP_OBSERVE_SEQUENCE_BITS = 24 };

struct coap_observation {
    struct list_node node;
    uint64_t key;
    uint64_t con_at_ms;    /* when the last confirmable one, or the registration, was */
    uint64_t credit_at_ms; /* the rate: a notification may go when now >= credit_at_ms - burst */
    uint16_t since_con;    /* notifications since then */
    uint8_t token_n;
    uint8_t n_mids;                   /* how many of mids[] are in use */
    uint8_t next_mid;                 /* where the next one goes */
    bool in_flight;                   /* a confirmable notification is not acknowledged yet */
    bool is_last;                     /* ends when what is on the way has gone */
    uint16_t mids[COAP_OBSERVE_MIDS]; /* message ids of the latest notifications, for a Reset */
    uint8_t *state;                   /* the latest that waits, encoded; NULL: none */
    uint32_t state_n;
    uint8_t token[];
};

struct coap_observers {
    struct thin_list list;
    uint32_t n;
    uint32_t sequence; /* one for all: never goes back, also when a resource is observed again */
};

void coap_observers_init(struct coap_observers *o);
void coap_observers_done(struct coap_observers *o);

/* coap_observers_add - registers, replacing an observation of the same token; borrows token.
 * ERR_LIMIT limits->n_observations, ERR_NOMEM: nothing changed. */
MUST_USE enum err coap_observers_add(struct coap_observers *o, const struct coap_limits *limits,
                                     struct slice token, uint64_t key, uint64_t now_ms,
                                     struct coap_observation **ret);
void coap_observers_remove(struct coap_observers *o, struct coap_observation *ob);

/* coap_observation_state - what waits; empty: nothing. Borrows until the next of these. */
static inline struct slice coap_observation_state(const struct coap_observation *ob)
{
    return slice_of(ob->state, ob->state_n);
}

/* coap_observation_hold - takes what is in state, which is empty then; it waits in the place of
 * what waited. coap_observation_give - gives what waits: nothing waits any more. */
void coap_observation_hold(struct coap_observation *ob, struct buf *state);
struct buf coap_observation_give(struct coap_observation *ob);
/* NULL when there is none. O(observations). */
struct coap_observation *coap_observers_find_token(const struct coap_observers *o,
                                                   struct slice token);
struct coap_observation *coap_observers_find_mid(const struct coap_observers *o, uint16_t mid);

/* coap_observers_sequence - the next value of the Observe option, 24 bits. SPEC: RFC7641 4.4 */
uint32_t coap_observers_sequence(struct coap_observers *o);

/* coap_observation_wants_con - is it time for a confirmable one? SPEC: RFC7641 4.5 */
bool coap_observation_wants_con(const struct coap_observation *ob, const struct coap_limits *limits,
                                uint64_t now_ms);
/* coap_observation_ready_at - when the rate allows the next notification; may lie in the past. */
uint64_t coap_observation_ready_at(const struct coap_observation *ob,
                                   const struct coap_limits *limits);
/* coap_observation_sent - counts one, remembers its message id and uses up rate. */
void coap_observation_sent(struct coap_observation *ob, const struct coap_limits *limits,
                           uint16_t mid, bool confirmable, uint64_t now_ms);

/* The receiving side: is this notification newer than the newest we have seen? */
struct coap_order {
    uint64_t at_ms;
    uint32_t sequence;
    bool has_seen;
};

/* coap_order_is_newer - and if so remembers it. The first one always is. SPEC: RFC7641 3.4 */
bool coap_order_is_newer(struct coap_order *o, uint32_t sequence, uint64_t now_ms);

#endif
