/* driver_private - shared by driver.c (turns, listeners, datagrams) and link.c (one connection's
 * bytes). */
#ifndef SERVICE_BROKER_DRIVER_PRIVATE_H
#define SERVICE_BROKER_DRIVER_PRIVATE_H

#include <stdatomic.h>

#include "core/lending.h"
#include "net/stream.h"
#include "net/udp.h"
#include "security/identity/identity.h"
#include "service/broker/admit.h"
#include "service/broker/driver.h"
#include "service/broker/http_door.h"
#include "service/broker/pace.h"
#include "service/gateway/coap_stream.h"

/* A TCP connection: what a worker calls its transport. It belongs to one driver at a time. One
 * block: behind it are its stream, and what its peer is called. */
struct link {
    struct driver *driver;
    const struct driver_entrance *entrance;
    const struct edition *edition; /* owned reference, for the entrance; NULL: none */
    uint64_t conn;                 /* the worker's, 0 while it lingers; of CoAP any other */
    union {                        /* NULL: the worker is its party, or it lingers */
        struct coap_stream *coap;
        struct http_conn *http; /* is_http */
    };
    bool is_http;
    bool is_held; /* back-pressure: the socket is not read */
    bool is_identified;
    bool has_spoken;           /* plain bytes have come */
    struct list_node waiting;  /* in one of its driver's two lists of tickets, once it has logged
                                  in; then among those that linger */
    uint64_t waiting_to_ms;    /* in the later one of tickets: when it is due; or it lingers */
    struct admitted *admitted; /* owned; NULL: it has logged in */
    char *name;                /* in a certificate that verified; NULL: it showed none. Owned */
};

struct door {
    struct driver *driver;
    const struct driver_entrance *entrance;
    struct listener *listener; /* NULL while closed */
    struct perimeter_post post;
};

static inline struct stream *link_stream(const struct link *l)
{
    return (struct stream *)(uintptr_t)(l + 1);
}

/* The CoAP door of this worker at one entrance, with its datagram socket. Over TCP it has none:
 * struct door accepts. */
struct port {
    struct loop_source source; /* first */
    struct driver *driver;
    const struct driver_entrance *entrance;
    struct udp *udp;
    struct coap_door *door;
    struct perimeter_post post;
    struct udp *asking; /* to other CoAP servers; NULL: it is no proxy */
    struct loop_source asking_source;
};

/* The HTTP door of this worker at one entrance; struct door accepts for it. */
struct http_port {
    struct driver *driver;
    const struct driver_entrance *entrance;
    struct http_door *door;
};

struct driver {
    struct driver_setup setup;
    unsigned index;
    struct worker *worker;
    struct loop *loop;
    struct stream_io *io;
    struct door *doors;
    struct port *ports;
    struct http_port *https;
    size_t n_doors, n_ports, n_https;
    struct list lingering;
    struct list tickets_due, tickets_later; /* links that get a ticket, by time */
    struct admit admit;
    struct link *glanced;        /* its bytes are with the kernel still; NULL: nobody's */
    const struct link *departed; /* moved away during the call that is running */
    uint64_t now_ms, seen_epoch;
    uint64_t ended_ms;             /* the turn before: from then on the next one waits */
    const struct edition *edition; /* owned reference: whose the doors' and ports' entrances are */
    uint64_t follow_at_ms;         /* no memory for another one: the next try; 0: none is due */
    _Atomic uint64_t edition_number;
    struct journal *journal;
    struct counters *counters;
    struct pace pace;
    struct lending lending; /* of the write that is running */
    bool is_paced;          /* others have a part of each fan-out */
    bool is_lone;           /* one source is being served, and nothing else has come */
    atomic_bool is_stopping;
    atomic_bool is_drained;
};

enum {
    LINGER_MS = 1000,
    FOLLOW_AGAIN_MS = 200,
    PUMP_TURN = 16, /* connections that are written to, between two looks at what has come */
    PUMP_LONE = 4   /* and of those whom a lone message is for, at once */
};

/* driver_entrance_at - the one of this index as it is now. */
const struct driver_entrance *driver_entrance_at(const struct driver *d, unsigned index);
/* door_admits - may this peer come in there, by the networks it has now? Counts and reports. */
bool door_admits(struct driver *d, unsigned index, const struct net_peer *peer);

/* party.c: whose the bytes of a link are, the worker's (MQTT) or a CoAP door's. As worker_ and
 * coap_stream_. _accept: ERR_DENIED, ERR_LIMIT, ERR_NOMEM. */
MUST_USE enum err party_accept(struct link *l, const struct net_peer *peer, uint64_t until_ms);
/* party_judges - it looks at certificates itself: it has been given this one. */
bool party_judges(struct link *l, const struct x509 *x);
/* party_is_mqtt - a worker's, or nobody's any more. */
bool party_is_mqtt(const struct link *l);
void party_present(struct link *l, struct slice name, const struct x509_info *cert);
void party_resumed(struct link *l);
void party_input(struct link *l, struct slice plain);
bool party_wants_input(const struct link *l);
size_t party_output(struct link *l, uint8_t *dst, size_t cap, struct lending *lending);
/* party_is_dirty - the dirty pass of this turn comes to it: nobody need pump it before.
 * party_put_off - that it does, behind those it comes to already. False: not to a party of this
 * kind. */
bool party_is_dirty(const struct link *l);
bool party_put_off(struct link *l);
void party_backlog(struct link *l, size_t n);
bool party_is_known(const struct link *l);
bool party_is_finished(const struct link *l);
/* party_has_left - the client has taken leave: it sends no more. */
bool party_has_left(const struct link *l);
bool party_is_shed(const struct link *l);
/* party_gone - the link has no party from here on. */
void party_gone(struct link *l, const char *why);

/* http_ports.c: the HTTP doors of a driver, as driver.c has its ports. */
MUST_USE enum err http_ports_open(struct driver *d, const struct worker_setup *worker);
void http_ports_free(struct driver *d);
void http_ports_turn(struct driver *d, int64_t wall_ms);
void http_ports_pump(struct driver *d);
void http_ports_follow(struct driver *d, const struct edition *now);
uint64_t http_ports_deadline(const struct driver *d);
struct http_door *http_ports_door(const struct driver *d, unsigned entrance);

/* link_peer - "address:port". */
const char *link_peer(const struct link *l);
/* link_open - takes fd, which admit_come let in; it has until until_ms to log in. */
void link_open(struct driver *d, const struct driver_entrance *e, int fd,
               const struct net_peer *peer, uint64_t until_ms);
/* link_pump - output of its connection, back-pressure, the end. */
void link_pump(struct link *l);
/* link_step - its turn in the line of handshakes has come. */
void link_step(struct link *l);
/* link_hold - it goes on waiting there, unwatched. link_crowd_out - it must go for another
 * stranger.
 */
void link_hold(struct link *l);
void link_crowd_out(struct link *l);
void link_lingering_tick(struct driver *d);
void link_free(struct link *l);
/* link_failed - writing to it failed: it ends. */
void link_failed(struct link *l, enum err err);

/* tickets.c. _join: it has logged in; fine again and again. _leave: it ends or moves. _turn: once a
 * turn, behind what live connections get. _deadline: when it must run. */
void tickets_init(struct driver *d);
void tickets_join(struct link *l);
void tickets_leave(struct link *l);
void tickets_turn(struct driver *d);
uint64_t tickets_deadline(const struct driver *d);
/* The worker's calls. */
void link_depart(void *ctx, void *transport);
enum err link_arrive(void *ctx, void *transport, uint64_t conn);
void link_discard(void *ctx, void *transport);
enum err link_certificate(void *ctx, void *transport, struct buf *ret);

#endif
