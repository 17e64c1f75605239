/*
 * http_conn - one connection of an HTTP door, as the pages of the door see it: who came, what was
 * asked, what is answered. Everything runs on the worker's thread, and never waits: what only the
 * service thread knows is asked for, and the answer comes in a later turn.
 */
#ifndef SERVICE_BROKER_HTTP_CONN_H
#define SERVICE_BROKER_HTTP_CONN_H

#include "base/map.h"
#include "base/wheel.h"
#include "engine/http_server.h"
#include "service/broker/http_door.h"

/* What there is to be asked for at a kind of door. */
struct http_pages {
    const char *purpose; /* of the port, for the event of a broken rule: "numbers of the server" */
    const char *challenge; /* WWW-Authenticate of a 401; NULL: none. SPEC: RFC9110 11.6.1 */
    size_t answer_bytes;   /* of the largest answer */
    /* One request: answered here, or by http_wait later. */
    void (*serve)(struct http_conn *c, const struct http_request *r);
    /* Answers of the service thread that have come. */
    void (*turn)(struct http_door *d);
};
extern const struct http_pages enrol_pages, watch_pages;

struct http_conn {
    struct list_node node; /* in door->conns */
    struct list_node dirty;
    struct http_door *door;
    struct http_server *engine;
    void *transport;
    struct timer timer;
    uint64_t id, stranger_until_ms, answer_until_ms, leave_until_ms;
    struct net_peer peer;
    struct buf leaf_der; /* of its certificate, as TLS has proven that it owns it; empty: none */
    struct buf kept;     /* the pages' own: for a later request */
    unsigned want;       /* the pages' own: what it waits for */
    bool is_resumed;     /* TLS, by a ticket */
    bool is_asking, is_known, is_shed, is_told;
};

struct http_door {
    struct http_door_setup setup;
    struct list conns, dirty;
    struct map by_id;
    struct wheel wheel;
    struct shedder shedder;
    uint64_t now_ms, next_id;
    int64_t wall_ms;
    bool is_draining;
};

/* http_say - the answer. Without memory the connection ends. */
void http_say(struct http_conn *c, const struct http_answer *a);
/* http_say_text - one line for the person there. */
void http_say_text(struct http_conn *c, unsigned status, const char *text);
/* http_say_allowed - 405. */
void http_say_allowed(struct http_conn *c, const char *methods);

/* http_wait - the answer comes from the service thread; after HTTP_DOOR_ANSWER_MS it is a 503. */
void http_wait(struct http_conn *c);
/* http_waiting - who asked under this id, and waits no more; NULL: it has gone, or was told to come
 * again. http_resume, behind its answer - what it sent since is looked at. */
struct http_conn *http_waiting(struct http_door *d, uint64_t id);
void http_resume(struct http_conn *c);

/* http_event - made for this connection, to be completed and given to the door's event. */
struct event http_event(const struct http_conn *c, enum event_category category);

#endif
