/*
 * http_door - the connections of one worker at one entrance that speaks HTTP: bytes in and out, as
 * a driver has them, deadlines, what breaks a rule. What is there to be asked for are its pages
 * (http_conn.h): enrolment (service/enrol) or numbers (service/watch).
 */
#ifndef SERVICE_BROKER_HTTP_DOOR_H
#define SERVICE_BROKER_HTTP_DOOR_H

#include "net/peer.h"
#include "security/crypto/x509.h"
#include "service/broker/worker.h"

enum { HTTP_DOOR_ANSWER_MS = 15 * 1000 /* that an answer of the service thread may take */ };

struct http_door;
struct http_conn;
struct http_pages;
struct enrolment;
struct scrape;

struct http_door_setup {
    struct worker *worker;           /* borrowed for life */
    const struct entrance *entrance; /* until http_door_follow */
    const struct http_pages *pages;  /* static */
    struct siphash_key key;
    struct counters *counters;
    void *ctx;
    void (*event)(void *ctx, const struct event *e);
    /* Take e and s, also on an error. ERR_AGAIN: too many wait. NULL: nobody decides. */
    enum err (*ask)(void *ctx, struct enrolment *e);
    enum err (*scrape)(void *ctx, struct scrape *s);
};

MUST_USE enum err http_door_new(const struct http_door_setup *s, uint64_t now_ms,
                                struct http_door **ret);
/* http_door_free - all its connections are gone. */
struct http_door *http_door_free(struct http_door *d);
void http_door_follow(struct http_door *d, const struct entrance *e);

/* http_door_turn - answers and deadlines. http_door_deadline - when it must run. */
void http_door_turn(struct http_door *d, uint64_t now_ms, int64_t wall_ms);
uint64_t http_door_deadline(const struct http_door *d);
/* http_door_drain - who waits for nothing is closed, nobody new comes. */
void http_door_drain(struct http_door *d, uint64_t now_ms);
/* http_door_next_dirty - a connection that may have output, has ended, or wants input; NULL: none.
 * http_door_any - one of them, for the end. */
struct http_conn *http_door_next_dirty(struct http_door *d);
struct http_conn *http_door_any(const struct http_door *d);

/* ---- connections ---- */

/* http_conn_open - a stranger that has until until_ms for its first request. ERR_DENIED: the door
 * takes nobody; ERR_NOMEM. */
MUST_USE enum err http_conn_open(struct http_door *d, const struct net_peer *peer, void *transport,
                                 uint64_t until_ms, uint64_t now_ms, struct http_conn **ret);
/* http_conn_present - TLS has proven that the client owns this certificate, which somebody signed
 * who may speak for clients here. */
void http_conn_present(struct http_conn *c, const struct x509 *x);
/* http_conn_resumed - TLS was resumed by a ticket. */
void http_conn_resumed(struct http_conn *c);
void http_conn_input(struct http_conn *c, struct slice plain, uint64_t now_ms);
bool http_conn_wants_input(const struct http_conn *c);
size_t http_conn_output(struct http_conn *c, uint8_t *dst, size_t cap, uint64_t now_ms);
/* http_conn_is_known - it is no stranger any more, as its pages say. */
bool http_conn_is_known(const struct http_conn *c);
bool http_conn_is_finished(const struct http_conn *c);
bool http_conn_is_shed(const struct http_conn *c);
void *http_conn_transport(const struct http_conn *c);
/* http_conn_gone - its transport has ended: frees it. */
void http_conn_gone(struct http_conn *c);

#endif
