/* coap_endpoint_private - what the files of the endpoint share: coap_endpoint (datagrams and time),
 * coap_server (exchanges), coap_notify, coap_client (our requests), coap_transmit (what leaves). */
#ifndef ENGINE_COAP_ENDPOINT_PRIVATE_H
#define ENGINE_COAP_ENDPOINT_PRIVATE_H

#include "engine/coap_dedup.h"
#include "engine/coap_observe.h"

enum { COAP_REQUEST_TOKEN_BYTES = 8 };

/* A request of the peer that waits for our answer. */
struct coap_exchange {
    struct list_node node;
    uint64_t at_ms;
    uint32_t id;
    uint32_t request_bytes; /* what the 3x rule multiplies */
    uint16_t mid;
    bool is_con, is_acked, is_observing;
    uint8_t wish; /* enum coap_observe_wish */
    uint8_t token_n;
    uint8_t token[COAP_ENDPOINT_TOKEN_MAX];
};

/* A CON of ours. The first in the list is in flight, the others wait (NSTART 1). */
struct coap_transmission {
    struct list_node node;
    uint64_t due_at_ms; /* UINT64_MAX: waits for its turn */
    uint32_t timeout_ms;
    uint16_t mid;
    uint8_t n_sent;
    uint8_t about;               /* enum coap_about */
    uint32_t id;                 /* of the exchange or request */
    struct coap_observation *ob; /* about an observation: which lives longer than this */
    struct buf bytes;
};

/* A request or observation of ours. */
struct coap_pending {
    struct list_node node;
    uint64_t deadline_ms; /* UINT64_MAX while a CON is in flight, or observing */
    struct coap_order order;
    uint32_t id;
    uint16_t mid;
    bool is_observing;
    uint8_t token[COAP_REQUEST_TOKEN_BYTES];
};

struct coap_endpoint {
    const struct coap_limits *limits;
    struct coap_counters *counters;
    struct coap_spares *spares; /* NULL: none are kept */
    const struct siphash_key *echo_key;
    uint64_t peer_tag, seed;
    uint64_t proven_until_ms;
    uint32_t n_drawn; /* under this seed */
    uint32_t next_id;
    uint16_t next_mid;
    uint16_t out_max; /* bytes of a message to the peer */
    uint16_t n_exchanges, n_pending, n_transmissions;
    uint32_t out_at;
    struct thin_list exchanges, pending, transmissions;
    struct coap_observers observers;
    struct coap_dedup dedup;
    struct buf out; /* 16-bit length and datagram, one after the other; out_at: what has left */
};

/* ---- coap_transmit.c ---- */

uint64_t coap_draw(struct coap_endpoint *e); /* pseudo-random out of the seed */
uint32_t coap_new_id(struct coap_endpoint *e);
uint16_t coap_new_mid(struct coap_endpoint *e);
/* Queues a datagram. Over limits.output_bytes it is lost as the network might lose it. ERR_NOMEM.
 */
MUST_USE enum err coap_send(struct coap_endpoint *e, struct slice datagram, uint64_t now_ms);
/* An empty ACK or RST. */
MUST_USE enum err coap_send_empty(struct coap_endpoint *e, enum coap_type type, uint16_t mid,
                                  uint64_t now_ms);
/* Encodes m into dst of COAP_MESSAGE_CAP bytes. ERR_TOO_LARGE over out_max. */
enum { COAP_MESSAGE_CAP = 2048 };
MUST_USE enum err coap_encode(const struct coap_endpoint *e, const struct coap_message *m,
                              uint8_t dst[COAP_MESSAGE_CAP], struct slice *ret);
/* Gives the header of an encoded message another type and message id. */
void coap_patch_header(struct slice message, uint8_t *bytes, enum coap_type type, uint16_t mid);

/* Queues a CON and sends it when it is the only one. Copies datagram. ERR_LIMIT, ERR_NOMEM. */
MUST_USE enum err coap_transmit(struct coap_endpoint *e, struct slice datagram, uint16_t mid,
                                enum coap_about about, uint32_t id, struct coap_observation *ob,
                                uint64_t now_ms);
/* The one in flight with this message id, or NULL. */
struct coap_transmission *coap_transmission_find(const struct coap_endpoint *e, uint16_t mid);
/* Ends one; the next in the list starts at the next tick. */
void coap_transmission_remove(struct coap_endpoint *e, struct coap_transmission *t);
void coap_transmissions_of_request_remove(struct coap_endpoint *e, uint32_t id);
void coap_transmissions_of_observation_remove(struct coap_endpoint *e,
                                              const struct coap_observation *ob);
/* Starts what may start. */
MUST_USE enum err coap_transmissions_start(struct coap_endpoint *e, uint64_t now_ms);
/* Retransmits the one in flight when it is due; *ret_lost is one that ran out of tries, or NULL. */
MUST_USE enum err coap_transmissions_tick(struct coap_endpoint *e, uint64_t now_ms,
                                          struct coap_transmission **ret_lost);

/* ---- coap_spares.c ---- */

/* A zeroed exchange; NULL: no memory. spare_give: it goes back. */
struct coap_exchange *coap_spare_exchange(struct coap_spares *s);
struct coap_exchange *coap_spare_exchange_give(struct coap_spares *s, struct coap_exchange *x);
/* An empty buf, with memory where some is spare. spare_out_give: out is empty again. */
struct buf coap_spare_out(struct coap_spares *s);
void coap_spare_out_give(struct coap_spares *s, struct buf *out);

/* ---- coap_server.c ---- */

MUST_USE enum err coap_server_request(struct coap_endpoint *e, const struct coap_message *m,
                                      size_t datagram_n, uint64_t now_ms, struct coap_event *ret);
/* The answer to a message id that was seen before. */
MUST_USE enum err coap_server_repeat(struct coap_endpoint *e, const struct coap_message *m,
                                     size_t datagram_n, const struct coap_seen *seen,
                                     uint64_t now_ms);
MUST_USE enum err coap_server_tick(struct coap_endpoint *e, uint64_t now_ms);
uint64_t coap_server_deadline(const struct coap_endpoint *e);
/* ---- coap_notify.c ---- */

/* Ends an observation and what is on the way of it. */
void coap_observation_end(struct coap_endpoint *e, struct coap_observation *ob);
/* The confirmable notification in flight was acknowledged. */
MUST_USE enum err coap_observation_acked(struct coap_endpoint *e, struct coap_observation *ob,
                                         uint64_t now_ms);
/* The options with Observe in its place. */
void coap_add_observe(struct coap_option_writer *o, struct slice options, uint32_t sequence);
MUST_USE enum err coap_notify_tick(struct coap_endpoint *e, uint64_t now_ms);
uint64_t coap_notify_deadline(const struct coap_endpoint *e);

/* ---- coap_client.c ---- */

struct coap_pending *coap_pending_find(const struct coap_endpoint *e, uint32_t id);
void coap_pending_remove(struct coap_endpoint *e, struct coap_pending *p);
/* A response in an ACK (about the transmission t), or in a CON or NON. */
MUST_USE enum err coap_client_piggybacked(struct coap_endpoint *e, const struct coap_message *m,
                                          struct coap_transmission *t, uint64_t now_ms,
                                          struct coap_event *ret);
MUST_USE enum err coap_client_response(struct coap_endpoint *e, const struct coap_message *m,
                                       uint64_t now_ms, struct coap_event *ret);
/* A Reset of a NON request; false when it is of none. */
bool coap_client_reset(struct coap_endpoint *e, uint16_t mid, struct coap_event *ret);
bool coap_client_tick(struct coap_endpoint *e, uint64_t now_ms, struct coap_event *ret);
uint64_t coap_client_deadline(const struct coap_endpoint *e);

#endif
