/* oscore_private - shared by oscore_server.c (what comes), oscore_reply.c (what leaves) and
 * oscore_ask.c (requests of ours). */
#ifndef NET_OSCORE_PRIVATE_H
#define NET_OSCORE_PRIVATE_H

#include "base/list.h"
#include "base/map.h"
#include "engine/oscore_message.h"
#include "net/known.h"
#include "net/oscore_server.h"
#include "net/unproven.h"

enum oscore_state {
    OSCORE_HALF,  /* a request opened, no Echo has come back yet */
    OSCORE_OPEN,  /* an association */
    OSCORE_CLOSED /* was one; only its window is left */
};

/*
 * A request that may be answered, now or, observing, again and again.
 *
 * Whoever serves it sees names of ours in place of its token and message id, which OSCORE does not
 * protect: so no answer is ever sealed as that of another request, whoever repeats a token or
 * changes an id on the way.
 */
struct oscore_bound {
    struct list_node node; /* the one used last is last */
    uint64_t name;         /* our token for it; never used again */
    uint16_t our_mid;
    struct oscore_binding binding;
    uint64_t at_ms;
    uint16_t mid;
    bool is_observing;
    bool is_answered; /* its own nonce was used: further answers have numbers of their own */
    uint8_t token_n;
    uint8_t token[COAP_ENDPOINT_TOKEN_MAX];
};

/* A request that was answered by an Echo instead, or waits for a number for that. */
struct oscore_challenge {
    struct net_peer peer;
    struct oscore_binding binding;
    bool is_there, is_waiting;
    bool is_con;
    uint16_t mid;
    size_t heard_bytes; /* of the request */
    uint8_t token_n;
    uint8_t token[COAP_ENDPOINT_TOKEN_MAX];
};

struct oscore_numbers {
    uint64_t next, end;
};

struct oscore_context {
    struct known known; /* first; its id is a new one each time it opens, its address of OPEN */
    struct oscore_server *server;
    uint64_t credential, owner;
    enum oscore_state state;
    bool is_located; /* its address leads to it */
    bool is_asking;  /* for numbers */
    struct oscore_keys keys;
    struct oscore_id kid; /* also when the keys are wiped */
    struct oscore_window window;
    uint32_t n_renewed;
    uint8_t id_context_n; /* 0: none */
    uint8_t id_context[OSCORE_ID_CONTEXT_MAX];
    struct oscore_numbers numbers, spare;
    uint64_t heard_at_ms, idle_at_ms;
    uint64_t second_at_ms; /* of n_challenges */
    unsigned n_challenges;
    struct oscore_challenge challenge;
    struct list bounds;
    size_t n_bounds;
    struct list asked; /* requests of ours; oscore_ask.c's */
    size_t n_asked;
    uint64_t last_name;
    uint16_t last_mid;
};

struct oscore_server {
    struct dtls dtls; /* first */
    struct oscore_server_config config;
    struct dtls_handler handler;
    struct dtls_counts counts;
    struct unproven unproven;
    struct ccm *ccm;
    struct siphash_key key;       /* of the maps, and of Echo values */
    struct siphash_key renew_key; /* of what renewals carry */
    struct oscore_keys nobody;
    struct map by_kid, by_id, by_peer, by_token; /* by_token: struct oscore_asked */
    uint64_t next_id, sweep_at_ms;
    uint64_t second_at_ms; /* of what follows */
    unsigned n_derived, n_derived_of_nobody;
    uint8_t n_derived_of_slot[OSCORE_SLOTS];
    /* One datagram at a time: what came, opened; what leaves, sealed and as it travels. Kept here,
     * for a stack is cleared at each call. */
    uint8_t opened[OSCORE_MESSAGE_MAX], sealed[OSCORE_MESSAGE_MAX], out[DTLS_DATAGRAM_MAX];
};

/* ---- oscore_renew.c ---- */

/* oscore_kid_context_read - the ID Context that a kid context wraps as one CBOR byte string; false:
 * it does not. */
bool oscore_kid_context_read(struct slice wrapped, struct slice *ret);
/* oscore_is_renewal - does it begin with what oscore_renewal_offer sent this client there, a minute
 * ago at most, and was nothing renewed since? */
bool oscore_is_renewal(const struct oscore_server *s, struct slice id_context, struct slice kid,
                       const struct net_peer *peer, uint32_t n_renewed, uint64_t now_ms);
/* oscore_renewal_offer - answers a request that opened under an ID Context of the client's alone.
 * No state. false: nothing was sent. */
bool oscore_renewal_offer(struct oscore_server *s, const struct net_peer *peer,
                          const struct coap_message *outer, const struct oscore_binding *binding,
                          struct slice id_context, uint32_t n_renewed, uint64_t now_ms);

/* ---- oscore_ask.c ---- */

struct slice oscore_asked_key(const void *value);
/* oscore_ask - a request of our endpoint, m, leaves under a number of its own; one that left before
 * leaves again as it was. ERR_AGAIN: no number is there. ERR_EXISTS: another one has this token.
 * ERR_NOMEM, ERR_TOO_LARGE, ERR_CRYPTO. */
MUST_USE enum err oscore_ask(struct oscore_context *c, const struct coap_message *m,
                             uint64_t now_ms);
/* oscore_take_answer - a response that came, outer; false: it is none to a request of ours. An
 * answer is given on once. */
bool oscore_take_answer(struct oscore_server *s, const struct net_peer *peer,
                        const struct coap_message *outer, uint64_t now_ms);
/* oscore_asked_names - the client's id of an answer that our endpoint knows by our_mid. */
bool oscore_asked_names(const struct oscore_context *c, uint16_t our_mid, uint16_t *ret);
/* oscore_asked_expire - forgets those that no answer can come to any more; oscore_asked_clear all.
 */
void oscore_asked_expire(struct oscore_context *c, uint64_t now_ms);
void oscore_asked_clear(struct oscore_context *c);

/* ---- oscore_reply.c ---- */

/* oscore_take_number - one that is used for nothing else, ever; false: none is there now, and more
 * were asked for. */
bool oscore_take_number(struct oscore_context *c, uint64_t *ret);
/* oscore_transmit_to - m leaves to where the client has proven to be. */
void oscore_transmit_to(struct oscore_context *c, const struct coap_message *m);

/* oscore_transmit - m leaves; to an address that no association proves, what net/unproven.h lets
 * out. */
void oscore_transmit(struct oscore_server *s, const struct net_peer *to,
                     const struct coap_message *m);

/* oscore_bound_find - the newest request with this token of the client's, or NULL. */
struct oscore_bound *oscore_bound_find(const struct oscore_context *c, struct slice token);
/* oscore_bound_add - a request is to be given to the caller; makes room by forgetting the one that
 * was used longest ago, those that do not observe first. ERR_NOMEM. */
MUST_USE enum err oscore_bound_add(struct oscore_context *c, const struct coap_message *inner,
                                   const struct oscore_binding *b, uint64_t now_ms,
                                   struct oscore_bound **ret);
void oscore_bounds_clear(struct oscore_context *c);

/* oscore_challenge_send - the 4.01 with an Echo value for c->challenge, when there is a number for
 * it; else it waits for one. */
void oscore_challenge_send(struct oscore_context *c, uint64_t now_ms);
/* oscore_may_challenge - so many in a second for one context. */
bool oscore_may_challenge(struct oscore_context *c, uint64_t now_ms);
/* oscore_echo_is_good - does this request bring back what we sealed for it and this address? */
bool oscore_echo_is_good(const struct oscore_context *c, const struct coap_message *inner,
                         const struct net_peer *peer, uint64_t now_ms);
/* oscore_refuse - a bare answer to a CON; nothing to anything else. */
void oscore_refuse(struct oscore_server *s, const struct net_peer *peer,
                   const struct coap_message *outer, uint8_t code);
/* oscore_reply - one plain datagram of the caller leaves: an answer, an acknowledgement, a request.
 * ERR_AGAIN: no number is there; it is lost, as on any network. */
MUST_USE enum err oscore_reply(struct oscore_context *c, struct slice plain, uint64_t now_ms);

#endif
