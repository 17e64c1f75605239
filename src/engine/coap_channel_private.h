/* coap_channel_private - what coap_channel.c (messages in, requests, answers),
 * coap_channel_client.c (requests of ours) and coap_channel_signal.c (CSM, Ping, Release, Abort)
 * share. */
#ifndef ENGINE_COAP_CHANNEL_PRIVATE_H
#define ENGINE_COAP_CHANNEL_PRIVATE_H

#include "engine/coap_channel.h"
#include "engine/coap_observe.h"

enum coap_channel_state {
    COAP_CHANNEL_CSM_AWAITED,
    COAP_CHANNEL_OPEN,
    COAP_CHANNEL_LEAVING, /* the peer has released it: answers only */
    COAP_CHANNEL_OVER
};

enum { COAP_CHANNEL_TOKEN_BYTES = 8 };

struct coap_channel {
    const struct coap_limits *limits;
    struct coap_counters *counters;
    enum coap_tcp_form form;
    uint32_t message_bytes, peer_message_bytes;
    enum coap_channel_state state;
    enum coap_channel_end ended;
    bool has_sent_csm, is_client;
    struct siphash_key token_key;
    uint64_t n_asked; /* ever */
    uint16_t n_pending;
    struct list pending; /* our requests; coap_channel_client.c's */
    bool pong_waits;     /* until what was asked before it is answered */
    uint8_t pong_token_n;
    uint8_t pong_token[COAP_ENDPOINT_TOKEN_MAX];
    uint64_t heard_at_ms, pinged_at_ms; /* 0: no Pong is awaited */
    uint32_t next_id;
    uint16_t n_exchanges;
    struct list exchanges;
    struct coap_observers observers;
    bool peer_takes_blocks; /* its CSM said so */
    struct buf in;          /* a message that is half there, or that was given out last */
    bool is_in_used;        /* the latter */
    struct buf out;         /* messages; in frames, each behind a length of 4 bytes */
    size_t out_at;
    char why[COAP_CHANNEL_WHY_BYTES];
};

/* coap_channel_send - puts a message behind the output. ERR_TOO_LARGE: over what the peer takes;
 * ERR_NOMEM. */
MUST_USE enum err coap_channel_send(struct coap_channel *c, const struct coap_message *m);
/* coap_channel_fail - OVER, with an Abort that says why (static). bad_option: of the CSM; -1. */
void coap_channel_fail(struct coap_channel *c, enum coap_channel_end end, const char *why,
                       int bad_option);
void coap_channel_over(struct coap_channel *c, enum coap_channel_end end, const char *why);
/* coap_channel_lost - there was no memory for what must be said. */
void coap_channel_lost(struct coap_channel *c);

/* coap_channel_new_id - of an exchange or a request of ours; never 0. */
uint32_t coap_channel_new_id(struct coap_channel *c);
/* coap_channel_is_clogged - as much waits as may. */
bool coap_channel_is_clogged(const struct coap_channel *c);

/* ---- coap_channel_client.c ---- */

/* coap_channel_take_response - one of the peer's; *ret says so when it answers a request of ours.
 */
void coap_channel_take_response(struct coap_channel *c, const struct coap_message *m,
                                struct coap_event *ret);
void coap_channel_forget_all(struct coap_channel *c);
size_t coap_channel_pending_bytes(const struct coap_channel *c);

/* ---- coap_channel_signal.c ---- */

/* coap_channel_take_signal - one of the peer's. */
void coap_channel_take_signal(struct coap_channel *c, const struct coap_message *m);
/* coap_channel_settle - an exchange has ended: what waited for the last of them happens. */
void coap_channel_settle(struct coap_channel *c);
/* coap_channel_greet - our CSM, if it has not left. ERR_NOMEM. */
MUST_USE enum err coap_channel_greet(struct coap_channel *c);

#endif
