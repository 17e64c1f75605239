/*
 * coap_endpoint - the CoAP protocol towards ONE remote peer (an address, or a DTLS association),
 * as server and as client.
 *
 * Datagrams and time go in; events and datagrams come out. It opens nothing, reads no clock and
 * calls nobody. What it does by itself: acknowledgements and Resets, deduplication, retransmission,
 * piggybacked or separate responses, the 3x rule for addresses that have not proven themselves,
 * Observe numbering and cancellation, matching of responses to our own requests. What it leaves:
 * what a path means and who may do what.
 *
 * A turn of the driver: coap_endpoint_datagram for each datagram, coap_endpoint_tick when
 * coap_endpoint_deadline has passed, both until they give COAP_EVENT_NONE; then
 * coap_endpoint_output until it gives 0. All memory but a few hundred bytes is taken while
 * something is going on and released by a later tick. SPEC: RFC7252 4, 5; RFC7641; RFC9175 2.
 */
#ifndef ENGINE_COAP_ENDPOINT_H
#define ENGINE_COAP_ENDPOINT_H

#include "base/buf.h"
#include "base/scope.h"
#include "base/siphash.h"
#include "wire/coap/option.h"

/* Every bound a peer can lean on, by name. One value serves all endpoints of a listener, and stays
 * as it is but for is_full. */
struct coap_limits {
    uint32_t ack_timeout_ms;        /* SPEC: RFC7252 4.8 ACK_TIMEOUT */
    uint32_t ack_random_permille;   /* ACK_RANDOM_FACTOR * 1000, 1000 or more */
    uint32_t max_retransmit;        /* MAX_RETRANSMIT */
    uint32_t exchange_lifetime_ms;  /* how long a message id of a CON is remembered */
    uint32_t non_lifetime_ms;       /* the same for a NON */
    uint32_t processing_ms;         /* an answer that takes longer becomes a separate one */
    uint32_t answer_ms;             /* a request nobody answered by then gets 5.03 */
    uint32_t response_ms;           /* our own request gives up when nothing came by then */
    uint32_t retry_after_s;         /* Max-Age of a 5.03 of ours */
    uint32_t echo_ms;               /* how long an Echo value, and the proof by it, lasts */
    uint32_t amplification;         /* bytes out per byte in towards an unproven address */
    uint32_t notification_con_ms;   /* at least so often a notification is a CON */
    uint32_t notification_every_ms; /* on average not more often than this, ... */
    uint16_t notification_burst;    /* ... with so many at once; between them the latest wins */
    uint16_t notification_con_nth;  /* every n-th notification is a CON */
    uint16_t datagram_bytes;        /* the largest message either way */
    uint16_t token_bytes;           /* the longest token, at most COAP_ENDPOINT_TOKEN_MAX */
    uint16_t n_exchanges;           /* requests of the peer that wait for our answer */
    uint16_t n_requests;            /* requests and observations of ours */
    uint16_t n_observations;        /* observations of the peer */
    uint16_t n_transmissions;       /* CONs of ours, in flight and waiting */
    uint16_t dedup_entries;         /* message ids remembered, 8 bytes each; of GETs half */
    uint32_t dedup_bytes;           /* answers kept to be sent again */
    uint32_t output_bytes;          /* datagrams waiting for coap_endpoint_output */
    uint64_t understood;            /* COAP_OPTION_BITs: critical options the service acts on */
    bool passes_on;   /* of requests the critical options that are not understood are the caller's
                         to judge, because it may be a proxy for them */
    bool passes_back; /* the same of responses */
    bool is_full;     /* no memory for anything new: requests get 5.03 and are not remembered */
};

enum { COAP_ENDPOINT_TOKEN_MAX = 32 };

/* coap_limits_default - the values of RFC 7252 and ours beside them. */
struct coap_limits coap_limits_default(void);

/* Shared by all endpoints of a worker; only ever grows. */
struct coap_counters {
    uint64_t bytes_in, bytes_out;                   /* of CoAP messages */
    uint64_t unproven_bytes_in, unproven_bytes_out; /* of these, while the address was unproven */
    uint64_t malformed;  /* datagrams that did not decode or were out of place */
    uint64_t bad_option; /* 4.02, or 5.05, by the engine */
    uint64_t bad_method; /* 4.05 by the engine */
    uint64_t duplicates; /* message ids seen again */
    uint64_t overflow;   /* requests refused because a bound of struct coap_limits was reached */
    uint64_t unserved;   /* requests refused because limits.is_full */
    uint64_t challenged; /* answers replaced by 4.01 with Echo */
    uint64_t retransmitted;
    uint64_t given_up; /* CONs nobody acknowledged */
    uint64_t resets;   /* Resets that ended something of ours */
    uint64_t notified;
    /* Of net/unproven.h: datagrams from unproven addresses, answers that were withheld from them,
     * addresses that have proven themselves, and the most bytes out for a thousand in that one
     * datagram ever brought about. */
    uint64_t unproven_datagrams, unproven_withheld, proofs, unproven_worst_per_mille;
};

/* What every request takes and gives back, kept for the next one: one of each, for all endpoints of
 * one thread. Zeroed: none yet. Without it a request would ask the heap for each. */
struct coap_spares {
    void *exchange;
    struct buf out;
};

/* coap_spares_done - gives them back to the heap; may be used again. */
void coap_spares_done(struct coap_spares *s);

struct coap_endpoint;

struct coap_endpoint_setup {
    const struct coap_limits *limits;   /* borrows, for the endpoint's life */
    struct coap_counters *counters;     /* in/out, borrows, for the endpoint's life */
    const struct siphash_key *echo_key; /* borrows, for its life; one per process, random */
    struct coap_spares *spares; /* in/out, borrows, for the endpoint's life; NULL: none are kept */
    struct slice peer;          /* borrows: bytes that name the peer's address and port */
    uint64_t seed;              /* random: message ids, tokens, jitter */
    bool proven;                /* the transport (DTLS) has proven the address */
    uint16_t out_max; /* bytes of a message to the peer; 0, or more: limits->datagram_bytes */
};

/* coap_endpoint_new - gives an endpoint. ERR_NOMEM. One allocation. */
MUST_USE enum err coap_endpoint_new(const struct coap_endpoint_setup *setup, uint64_t now_ms,
                                    struct coap_endpoint **ret);
/* coap_endpoint_free - NULL is fine; returns NULL. Nothing is sent. */
struct coap_endpoint *coap_endpoint_free(struct coap_endpoint *e);
AUTOFREE(coap_endpoint, coap_endpoint_free)

enum coap_event_kind {
    COAP_EVENT_NONE,
    COAP_EVENT_REQUEST,  /* id: the exchange to answer; m; observe; echo_age_ms */
    COAP_EVENT_RESPONSE, /* id: our request; m; is_notification: more may follow */
    COAP_EVENT_RESET,    /* the peer refused: about says what */
    COAP_EVENT_GIVE_UP,  /* nobody answered, or not in time: about says what */
};

enum coap_about {
    COAP_ABOUT_ANSWER,      /* id: the exchange whose answer did not arrive (it is over already) */
    COAP_ABOUT_OBSERVATION, /* key: the observation, which has ended */
    COAP_ABOUT_REQUEST,     /* id: our request, which has ended */
};

enum coap_observe_wish { COAP_OBSERVE_NONE, COAP_OBSERVE_REGISTER, COAP_OBSERVE_CANCEL };

struct coap_event {
    enum coap_event_kind kind;
    enum coap_about about;
    uint32_t id;
    uint64_t key;
    enum coap_observe_wish observe; /* what a GET or FETCH asks for */
    bool has_ended;                 /* with observe: it ended the observation `key` of this token */
    bool is_notification;
    uint16_t unknown; /* of a request, with limits.passes_on: the first critical option that is not
                         understood or is wrong, else 0. Who does not pass it on must refuse it */
    uint64_t echo_age_ms;  /* age of the valid Echo the request carried; UINT64_MAX: none */
    struct coap_message m; /* borrows from the datagram */
};

/*
 * coap_endpoint_datagram - one datagram from the peer
 *
 * datagram  borrows; slices of *ret point into it.
 * ret       written always; COAP_EVENT_NONE when there is nothing for the caller.
 *
 * What is malformed, repeated, unexpected or over a bound never becomes an event: it is answered
 * (Reset, the earlier answer, 4.02, 4.05, 4.29, 5.03, 5.05) or passed over in silence, and counted.
 * A request is given once for a message id. ERR_NOMEM: as if the datagram had been lost. O(bytes).
 */
MUST_USE enum err coap_endpoint_datagram(struct coap_endpoint *e, struct slice datagram,
                                         uint64_t now_ms, struct coap_event *ret);

/* coap_endpoint_tick - does what time demands (acknowledge, retransmit, give up, forget) and gives
 * at most one event; call again until COAP_EVENT_NONE. *ret is written always. ERR_NOMEM: nothing
 * lost, call again later. */
MUST_USE enum err coap_endpoint_tick(struct coap_endpoint *e, uint64_t now_ms,
                                     struct coap_event *ret);
/* coap_endpoint_deadline - when tick has something to do; UINT64_MAX: nothing. */
uint64_t coap_endpoint_deadline(const struct coap_endpoint *e);
/* coap_endpoint_output - takes the next datagram into dst (at least limits.datagram_bytes, else it
 * stays) and gives its length; 0 when there is none. */
size_t coap_endpoint_output(struct coap_endpoint *e, void *dst, size_t cap);

/* coap_endpoint_is_idle - nothing open, nothing remembered: forgetting the peer loses nothing. */
bool coap_endpoint_is_idle(const struct coap_endpoint *e);

/* coap_endpoint_bytes - what its end would free: what waits for the peer, and what is remembered of
 * it. O(observations + transmissions). */
size_t coap_endpoint_bytes(const struct coap_endpoint *e);
/* coap_endpoint_shed - gives up the answers that are kept to be sent again. A request of theirs
 * that comes once more gets 5.03, and is not served twice. Gives how many. */
size_t coap_endpoint_shed(struct coap_endpoint *e);

/* coap_endpoint_prove - the caller has proof of the peer's address until this time; UINT64_MAX: for
 * ever. */
void coap_endpoint_prove(struct coap_endpoint *e, uint64_t until_ms);
bool coap_endpoint_is_proven(const struct coap_endpoint *e, uint64_t now_ms);

/* ---- as a server ---- */

/* coap_is_unwanted - does a request with this value of No-Response want no answer of this code? A
 * bit for each class. SPEC: RFC7967 2.1 */
bool coap_is_unwanted(uint32_t no_response, uint8_t code);
/* coap_wish_of - does this request want to observe, or to end that? SPEC: RFC7641 2 */
enum coap_observe_wish coap_wish_of(const struct coap_message *m);

/* What an answer or a notification says. All borrowed for the call. Observe is added by the engine
 * and must not be in options. */
struct coap_answer {
    uint8_t code;
    struct slice options; /* encoded, see struct coap_option_writer */
    struct slice payload;
};

/*
 * coap_endpoint_respond - answers an exchange and ends it
 *
 * In the acknowledgement when the request was a CON not yet acknowledged; else as a CON or NON of
 * its own, as the request was. Towards an unproven address an answer over limits.amplification
 * times the request is replaced by 4.01 with an Echo value (without, where even that is too much),
 * and OK is returned. After coap_endpoint_observe it carries the Observe option when its code is
 * 2.xx, and ends the observation when not.
 *
 * ERR_NOT_FOUND  no such exchange: it has ended already
 * ERR_TOO_LARGE  over limits.datagram_bytes; the exchange stays, answer with something smaller
 * ERR_MALFORMED  code is no response, or the options do not parse; the exchange stays
 * ERR_LIMIT      too many separate answers wait; the exchange is over, a peer that asks again
 * gets 5.03 ERR_NOMEM      the exchange stays SPEC: RFC7252 5.2; RFC9175 2.4.
 */
MUST_USE enum err coap_endpoint_respond(struct coap_endpoint *e, uint32_t exchange,
                                        const struct coap_answer *answer, uint64_t now_ms);

/* coap_endpoint_challenge - answers with 4.01 and a fresh Echo value: the service wants a newer
 * one. Errors as coap_endpoint_respond. */
MUST_USE enum err coap_endpoint_challenge(struct coap_endpoint *e, uint32_t exchange,
                                          uint64_t now_ms);

/* coap_endpoint_drop - ends an exchange without an answer (the No-Response option): a CON gets an
 * empty acknowledgement. ERR_NOT_FOUND, ERR_NOMEM as above. */
MUST_USE enum err coap_endpoint_drop(struct coap_endpoint *e, uint32_t exchange, uint64_t now_ms);

/*
 * coap_endpoint_observe - accepts an open exchange's wish to observe; call before respond
 *
 * key  the caller's name of what is observed; notifications go to all observations of a key.
 * An observation of the same token is replaced. Always goes together with a 2.xx answer.
 *
 * ERR_NOT_FOUND  no such exchange     ERR_PROTOCOL  it did not ask for it
 * ERR_DENIED     the address is not proven: challenge, or answer without observing
 * ERR_LIMIT      limits.n_observations: answer without observing      ERR_NOMEM
 */
MUST_USE enum err coap_endpoint_observe(struct coap_endpoint *e, uint32_t exchange, uint64_t key,
                                        uint64_t now_ms);

/*
 * coap_endpoint_notify - tells the observations of `key` a new state
 *
 * Sent now as NON or CON, or kept while a confirmable one is in flight or the rate is used up; then
 * only the latest state is sent. A code that is not 2.xx ends the observations after it is sent.
 * ERR_NOT_FOUND nobody observes key; ERR_TOO_LARGE, ERR_MALFORMED, ERR_NOMEM: nothing sent to the
 * observation it happened at and later ones.
 * SPEC: RFC7641 3.2, 4.2, 4.4, 4.5.
 */
MUST_USE enum err coap_endpoint_notify(struct coap_endpoint *e, uint64_t key,
                                       const struct coap_answer *answer, uint64_t now_ms);
/* coap_endpoint_is_unacked - is a confirmable notification of key on its way? */
bool coap_endpoint_is_unacked(const struct coap_endpoint *e, uint64_t key);
/* coap_endpoint_unobserve - ends all observations of key without a word. */
void coap_endpoint_unobserve(struct coap_endpoint *e, uint64_t key);

/* ---- as a client ---- */

struct coap_request {
    bool confirmable;
    uint8_t code;         /* a method */
    struct slice options; /* encoded; with Observe 0 it becomes an observation */
    struct slice payload;
};

/*
 * coap_endpoint_request - sends a request (a CON when its turn has come: NSTART is 1)
 *
 * Ends with one COAP_EVENT_RESPONSE, COAP_EVENT_RESET or COAP_EVENT_GIVE_UP about *ret_id; an
 * observation that was accepted gives responses with is_notification set until one without, or
 * until coap_endpoint_forget. Notifications that are older than one already given are passed over.
 *
 * ERR_LIMIT      limits.n_requests or limits.n_transmissions
 * ERR_TOO_LARGE  over limits.datagram_bytes    ERR_MALFORMED  as respond    ERR_NOMEM
 * Nothing changed then. SPEC: RFC7252 4.7, 5.3; RFC7641 3.4.
 */
MUST_USE enum err coap_endpoint_request(struct coap_endpoint *e, const struct coap_request *request,
                                        uint64_t now_ms, uint32_t *ret_id);
/* coap_endpoint_forget - drops a request or an observation of ours; the next notification of it is
 * answered with a Reset, which ends it at the server. Unknown ids are fine. */
void coap_endpoint_forget(struct coap_endpoint *e, uint32_t id);
/* coap_endpoint_hurry - the peer was heard, so it is awake: a request of ours that it has not
 * acknowledged goes out again now instead of later, if it is not younger than ACK_TIMEOUT and has a
 * try left. At the next tick. */
void coap_endpoint_hurry(struct coap_endpoint *e, uint64_t now_ms);
/* coap_endpoint_ping - an empty CON, once: whoever is there answers with a Reset, which is nothing
 * to anybody but those that keep a way open on the way. ERR_NOMEM. SPEC: RFC7252 4.3 */
MUST_USE enum err coap_endpoint_ping(struct coap_endpoint *e, uint64_t now_ms);

#endif
