/*
 * http_door - the enrolment door over HTTPS, of one worker and entrance: EST for who has no
 * certificate yet, or wants a new one. No administration. Bytes of its connections in and out, as
 * a driver has them; what is to be decided leaves as an enrolment and comes back by
 * worker_next_enrolled. The authority's certificates and what a request should look like are
 * answered here: strangers cost the service thread nothing before they send a request.
 */
#ifndef SERVICE_ENROL_HTTP_DOOR_H
#define SERVICE_ENROL_HTTP_DOOR_H

#include "engine/http_server.h"
#include "security/crypto/x509.h"
#include "service/broker/enrolment.h"
#include "service/broker/worker.h"

/* Where `enrol join` finds what EST does not say. */
#define HTTP_DOOR_BUNDLE "/.well-known/sallyport/bundle"

enum {
    HTTP_DOOR_ANSWER_MS = 15 * 1000,            /* that a decision may take */
    HTTP_DOOR_LIST_MAX = HTTP_ANSWER_MAX - 1024 /* bytes of a revocation list that is given */
};

struct http_door;
struct http_conn;

struct http_door_setup {
    struct worker *worker;           /* borrowed for life */
    const struct entrance *entrance; /* until http_door_follow */
    struct siphash_key key;
    struct counters *counters;
    void *ctx;
    void (*event)(void *ctx, const struct event *e);
    /* Takes e, also on an error. ERR_AGAIN: too many wait. NULL: nobody decides. */
    enum err (*ask)(void *ctx, struct enrolment *e);
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
void http_conn_input(struct http_conn *c, struct slice plain, uint64_t now_ms);
bool http_conn_wants_input(const struct http_conn *c);
size_t http_conn_output(struct http_conn *c, uint8_t *dst, size_t cap, uint64_t now_ms);
/* http_conn_is_known - it was given a certificate. */
bool http_conn_is_known(const struct http_conn *c);
bool http_conn_is_finished(const struct http_conn *c);
bool http_conn_is_shed(const struct http_conn *c);
void *http_conn_transport(const struct http_conn *c);
/* http_conn_gone - its transport has ended: frees it. */
void http_conn_gone(struct http_conn *c);

#endif
