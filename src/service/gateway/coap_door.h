/*
 * coap_door - the CoAP door of one worker: DTLS associations, who they are, and what their requests
 * mean in the topic space and beside it.
 *
 * One association = one principal = one coap_endpoint. Every request takes the passage that MQTT
 * takes. Deterministic: it sees no socket, thread or clock. A driver feeds datagrams and time and
 * takes datagrams and events. One thread at a time, the worker's; one door for an entrance.
 *
 * The turn of a driver:
 *     coap_door_set_time
 *     coap_door_datagram    for each datagram of the entrance's socket
 *     worker_turn
 *     coap_door_turn        after every worker_turn, also when coap_door_deadline has not come
 *     flush what transmit was given, then sleep until the earlier of both deadlines
 * A new realm needs no call: the turn sees it. What the door says of resources is in README.md.
 */
#ifndef SERVICE_GATEWAY_COAP_DOOR_H
#define SERVICE_GATEWAY_COAP_DOOR_H

#include "engine/coap_endpoint.h"
#include "net/dtls.h"
#include "service/broker/worker.h"

enum {
    COAP_DOOR_IDLE_MS = 24 * 3600 * 1000, /* an association that says nothing so long is closed */
    /* A plain peer, which anybody in its place could have become, is kept for less. */
    COAP_DOOR_PLAIN_IDLE_MS = 15 * 60 * 1000,
    /* Whoever observes and says nothing so long is told the state again, to be acknowledged. */
    COAP_DOOR_NUDGE_MS = 12 * 3600 * 1000,
    COAP_DOOR_OBSERVERS_MAX = 1000000 /* observed topics of all associations of one door */
};

struct coap_door;
struct proxy_rules;

/* Pointers are borrowed for the door's life unless they say otherwise; ctx is the driver's. */
struct coap_door_setup {
    struct worker *worker; /* outlives the door */
    unsigned index;        /* of this door among those of the worker, below 65,536 */
    const struct entrance *entrance;
    const struct limits *limits;
    const struct coap_limits *coap; /* NULL: coap_limits_default */
    struct siphash_key key;         /* of the door's maps */
    struct random_source random;
    struct counters *counters;
    void *ctx;
    /* Makes the DTLS server on this handler (dtls_server_openssl with the driver's configuration; a
     * test brings its own); the door owns what it gives. Called once, by coap_door_new. */
    enum err (*open)(void *ctx, const struct dtls_handler *handler, struct dtls **ret);
    /* One datagram leaves; borrowed for the call. Called inside all functions below. */
    void (*transmit)(void *ctx, const struct net_peer *to, struct slice datagram);
    /* May a peer that has proven its address begin a handshake? And it has ended well. NULL: all
     * may. */
    bool (*admit)(void *ctx, const struct net_peer *peer);
    void (*known)(void *ctx, const struct net_peer *peer);
    void (*event)(void *ctx, const struct event *e);
    const struct proxy_rules *proxy; /* what it may ask of other servers; NULL: nothing */
    /* One plain datagram leaves to another CoAP server, from a socket that is for that alone; as
     * transmit. NULL: this door can be no proxy. */
    void (*ask)(void *ctx, const struct net_peer *to, struct slice datagram);
    /* Takes a wish for a certificate, also on an error; the answer comes by worker_next_enrolled of
     * entrance->index. ERR_AGAIN: too many wait. NULL: nobody decides. */
    enum err (*enrol)(void *ctx, struct enrolment *e);
    /* Append the DER of the certificate that the client of this stream's transport has shown. */
    enum err (*certificate)(void *ctx, void *transport, struct buf *ret);
};

/* coap_door_new - errors of setup->open, ERR_NOMEM. */
MUST_USE enum err coap_door_new(const struct coap_door_setup *setup, uint64_t now_ms,
                                int64_t wall_ms, struct coap_door **ret);
/* coap_door_free - associations end without a word and without an event; before worker_free. */
struct coap_door *coap_door_free(struct coap_door *d);
AUTOFREE(coap_door, coap_door_free)

/* coap_door_set_time - before the datagrams of a turn, so that credentials are judged, and events
 * stamped, by the time of now. */
void coap_door_set_time(struct coap_door *d, int64_t wall_ms);
/* coap_door_datagram - one datagram from the network; borrowed. What is wrong with it becomes an
 * event or a count. */
void coap_door_datagram(struct coap_door *d, const struct net_peer *peer, struct slice bytes,
                        uint64_t now_ms);
/* coap_door_group - the same of what came to a multicast group. Only an entrance that hears groups
 * answers, what its rule names, after a random while; nothing else becomes of it. */
void coap_door_group(struct coap_door *d, const struct net_peer *peer, struct slice bytes,
                     uint64_t now_ms);
/* coap_door_upstream - the same from the socket that `ask` sends by. What comes from an address
 * that was not asked is counted and dropped. */
void coap_door_upstream(struct coap_door *d, const struct net_peer *peer, struct slice bytes,
                        uint64_t now_ms);
/* coap_door_turn - what the worker has done since: commits to acknowledge, messages for observers,
 * a new realm; and timers. */
void coap_door_turn(struct coap_door *d, uint64_t now_ms, int64_t wall_ms);
/* coap_door_deadline - when coap_door_turn must run; UINT64_MAX: only after the next datagram or
 * worker_turn. */
uint64_t coap_door_deadline(const struct coap_door *d);

/* coap_door_realm_changed - binds what is alive to the worker's realm: associations whose principal
 * or credential is not valid any more are closed, observations that no grant covers any more end
 * with 4.03. coap_door_turn calls it; a driver may, earlier. */
void coap_door_realm_changed(struct coap_door *d, uint64_t now_ms, int64_t wall_ms);

/* coap_door_drain - the server goes down: every association is closed, new ones are refused. */
void coap_door_drain(struct coap_door *d, uint64_t now_ms);

/* coap_door_renew - the certificates of dtls, and the ways in of entrance, are for handshakes from
 * here on; associations stay. Keeps no pointer. Between calls. Errors of dtls_renew: nothing
 * changed. */
MUST_USE enum err coap_door_renew(struct coap_door *d, const struct entrance *entrance,
                                  const struct dtls_server_config *dtls);
/* coap_door_follow - the second half: other ones in the place of the setup's, of the same index. */
void coap_door_follow(struct coap_door *d, const struct entrance *entrance,
                      const struct limits *limits, const struct proxy_rules *proxy);

size_t coap_door_count(const struct coap_door *d); /* associations now */

#endif
