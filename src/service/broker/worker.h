/*
 * worker - one complete little broker: connections, sessions of its principals, filters, retained
 * index. Deterministic: it sees no socket, thread or clock. A driver (driver.h: epoll; tests/sim:
 * the simulator) feeds bytes, ring messages and time, and pulls bytes and events. One thread at a
 * time.
 *
 * The turn of a driver:
 *     worker_input for what the sockets brought; as below when worker_is_full, then the rest
 *     worker_turn                                rings, commits, timers
 *     worker_next_dirty until 0 (or a part,
 *     while worker_is_light)                     for each: worker_output, then worker_is_finished,
 * worker_wants_input worker_take_wakes                          wake those workers that were sent
 * something
 */
#ifndef SERVICE_BROKER_WORKER_H
#define SERVICE_BROKER_WORKER_H

#include "base/event.h"
#include "base/random.h"
#include "base/ring.h"
#include "core/account.h"
#include "core/journal.h"
#include "core/lending.h"
#include "core/limits.h"
#include "core/retained.h"
#include "service/broker/ceiling.h"
#include "service/broker/realm.h"
#include "service/broker/renewal.h"
#include "service/broker/wmsg.h"
#include "service/detect/sample.h"
#include "service/watch/counters.h"

struct worker;
struct net_peer;

/* How one listener lets clients in, as the configuration says it. Outlives the workers'
 * connections. */
struct entrance {
    char name[34];
    enum event_protocol protocol;
    bool auth_x509, auth_password, auth_psk, auth_token;
    bool is_oscore;  /* CoAP under OSCORE, no DTLS */
    bool is_stream;  /* CoAP over TCP */
    bool is_enrol;   /* EST over HTTPS, and nothing else */
    bool is_metrics; /* numbers over HTTP, and nothing else */
    bool is_open;    /* is_metrics on loopback, without TLS: whoever is on this machine may read */
    bool takes_v31;  /* clients of MQTT 3.1 are not refused */
    bool hears_groups;                /* its first worker's socket is in multicast groups */
    bool is_moved, is_moved_for_good; /* who logs in is sent to setup.server_reference */
    bool is_plain; /* no TLS: every connection needs an exception in force that allows plaintext */
    char segment[34];     /* whose principals come in here; empty: PRINCIPAL_SEGMENT_DEFAULT */
    struct slice cacerts; /* what EST gives of our authority: PKCS#7, borrowed with the edition */
    unsigned index;       /* below COUNTERS_LISTENERS_MAX: where its connections are counted */
};

/* What a worker asks of its driver; called inside worker functions. */
struct worker_driver {
    void *ctx;
    /* The connection moves to another worker: stop watching the transport. It belongs to the
     * handover then. */
    void (*depart)(void *ctx, void *transport);
    /* A transport came by handover: watch it as connection `conn`. On an error it has been closed.
     */
    enum err (*arrive)(void *ctx, void *transport, uint64_t conn);
    /* Close a transport that no connection owns. */
    void (*discard)(void *ctx, void *transport);
    /* Check a password on the pool; takes v, whose answer comes as WMSG_VERIFIED. ERR_AGAIN: the
     * pool is full. */
    enum err (*verify)(void *ctx, struct verified *v);
    /* Read a body back from the log; takes r, whose answer comes as WMSG_BODY. NULL: there is no
     * such log, and nothing leaves memory. */
    enum err (*read)(void *ctx, struct reading *r);
    /* Have a certificate renewed; takes r, whose answer comes as WMSG_RENEWED. ERR_AGAIN: too many
     * wait. NULL: nobody renews here. */
    enum err (*renew)(void *ctx, struct renewal *r);
    /* Append the DER of the certificate that the client of this transport has shown. */
    enum err (*certificate)(void *ctx, void *transport, struct buf *ret);
    void (*event)(void *ctx, const struct event *e);
    /* What a principal has published lately. False: there is no room just now. NULL: nobody
     * watches, and nothing is counted. */
    bool (*sample)(void *ctx, const struct detect_sample *s);
};

struct worker_setup {
    unsigned index, n_workers;
    const struct limits *limits; /* borrowed for life, or until another edition comes */
    struct siphash_key key;      /* of maps and homes: the same for all workers of the process */
    struct random_source random;
    struct slice
        server_reference;     /* where clients may go instead, borrowed as limits; empty: nowhere */
    struct journal *journal;  /* borrowed */
    struct ring *const *to;   /* [n_workers], this worker produces; NULL at its own index */
    struct ring *const *from; /* [n_from], this worker consumes; NULL entries are skipped */
    unsigned n_from;          /* the workers, then the service thread, the verify pool, the log */
    _Atomic uint64_t *retained_counter; /* the process-wide number: rule 4 */
    struct counters *counters;
    struct ceiling *ceiling;   /* of the process, borrowed for life; NULL: none */
    uint32_t say_every_ms;     /* drops of one session are said so often at most; 0: each one */
    const struct realm *realm; /* shared */
    struct worker_driver driver;
};

MUST_USE enum err worker_new(const struct worker_setup *s, uint64_t now_ms, int64_t wall_ms,
                             struct worker **ret);
/* worker_free - every transport must have been given back by worker_gone. */
struct worker *worker_free(struct worker *w);

/* ---- connections ---- */

/* worker_accept - a stranger at this entrance. *ret_conn is never 0 and never reused. transport is
 * the driver's; peer, too, is borrowed for the life of the connection, and of the one
 * that takes its place at home. ERR_DENIED: no exception opens this plain entrance (an event says
 * so); ERR_LIMIT, ERR_NOMEM. */
MUST_USE enum err worker_accept(struct worker *w, const struct entrance *entrance, const char *peer,
                                void *transport, uint64_t now_ms, uint64_t *ret_conn);
/* worker_present - TLS has proven that the client owns the certificate of this name
 * (security/identity), key and id (x509_info). */
void worker_present(struct worker *w, uint64_t conn, struct slice name, const struct digest *spki,
                    const struct digest *id);
/* worker_certificate_ends - when that certificate ends; 0: not known. It may have, already. */
void worker_certificate_ends(struct worker *w, uint64_t conn, int64_t ends_wall_ms);
/* worker_resumed - its TLS handshake was done by a ticket; for the event of its login. */
void worker_resumed(struct worker *w, uint64_t conn);
/* worker_input - plain bytes of a connection; borrowed. What cannot be used yet is kept, within
 * packet_bytes. A connection that moves takes the rest along. Unknown conn: ignored. */
void worker_input(struct worker *w, uint64_t conn, struct slice plain, uint64_t now_ms);
/* worker_wants_input - false: leave the bytes in the socket (back-pressure, or a question is open).
 */
bool worker_wants_input(const struct worker *w, uint64_t conn);
/* worker_output - up to cap bytes for the client, together with those that lending takes (NULL:
 * none; else it has lent nothing yet); how many are in dst, 0 when nothing waits. cap must hold the
 * largest packet. */
size_t worker_output(struct worker *w, uint64_t conn, uint8_t *dst, size_t cap,
                     struct lending *lending, uint64_t now_ms);
/* worker_is_finished - nothing more will come from or go to it: close the transport orderly, call
 * worker_gone. */
bool worker_is_finished(const struct worker *w, uint64_t conn);
/* worker_has_left - the client has taken leave, by a DISCONNECT that was right: it sends no more.
 */
bool worker_has_left(const struct worker *w, uint64_t conn);
/* worker_is_shed - finished for want of memory: nothing of it may linger. */
bool worker_is_shed(const struct worker *w, uint64_t conn);
/* worker_backlog - so many bytes of its output wait for its socket. */
void worker_backlog(struct worker *w, uint64_t conn, size_t n);
/* worker_gone - the transport has ended; why is for the event (static or borrowed for the call). */
void worker_gone(struct worker *w, uint64_t conn, const char *why, uint64_t now_ms);
/* worker_hurry - a stranger that had to wait outside has only until at_ms to log in. */
void worker_hurry(struct worker *w, uint64_t conn, uint64_t at_ms);
/* worker_is_known - the client has logged in. */
bool worker_is_known(const struct worker *w, uint64_t conn);
/* worker_transport - the driver's pointer, NULL when the connection is gone. */
void *worker_transport(const struct worker *w, uint64_t conn);

/* ---- turns ---- */

/* worker_set_time - before the input of a turn, so that its events carry the time of now. */
void worker_set_time(struct worker *w, uint64_t now_ms, int64_t wall_ms);
void worker_turn(struct worker *w, uint64_t now_ms, int64_t wall_ms);
/* worker_hear - takes what other workers have sent, as worker_turn does first. Behind a read from a
 * socket and before what it brought: then who was told that something is done finds it done. */
void worker_hear(struct worker *w);
/* worker_next_dirty - a connection that may have output, has finished, or wants input again; 0:
 * none left, and what was recorded is with the log. */
uint64_t worker_next_dirty(struct worker *w);
enum {
    /* of messages, each once, however many get it */
    WORKER_LIGHT_BYTES = 64 * 1024,
    WORKER_FULL_BYTES = 256 * 1024
};
/* worker_is_light - less was queued since worker_next_dirty gave 0: the rest of what is dirty may
 * wait for another look at what has come. False: a look would only let the queues grow. */
bool worker_is_light(const struct worker *w);
/* worker_is_full - so much was queued since then that who gets it is written to before more is
 * read: it is in the cache still, and its blocks take what is read next. */
bool worker_is_full(const struct worker *w);
enum { WORKER_WIDE_HITS = 64 };
/* worker_n_wide - deliveries here so far of messages that so many subscribers or more got. */
uint64_t worker_n_wide(const struct worker *w);
/* worker_rest - what is dirty waits until then, so worker_deadline does not say at once for it;
 * the past: it does. */
void worker_rest(struct worker *w, uint64_t until_ms);
/* worker_is_dirty - worker_next_dirty will give this one. */
bool worker_is_dirty(const struct worker *w, uint64_t conn);
/* worker_put_off - as if it may have output, so that worker_next_dirty gives it behind the others.
 * False: there is no such connection. */
bool worker_put_off(struct worker *w, uint64_t conn);
/* worker_is_calm - nobody is dirty, and nothing waits for the journal: what one input brings now is
 * all that its receivers get. */
bool worker_is_calm(const struct worker *w);
/* worker_handover - gives what was recorded to the log. It is committed at once when somebody waits
 * for it; what only settles goes with the next commit, or with one of its own a little later. */
void worker_handover(struct worker *w);
/* worker_take_wakes - bits of workers that were sent something since the last call. */
uint64_t worker_take_wakes(struct worker *w);
/* worker_deadline - when worker_turn must run; now_ms or less: at once. */
uint64_t worker_deadline(const struct worker *w);
/* worker_realm_epoch - the realm this worker decides by; any thread. */
uint64_t worker_realm_epoch(const struct worker *w);
/* worker_edition - the newest that a WMSG_REALM brought; NULL: none. Borrowed until the next
 * worker_turn. */
const struct edition *worker_edition(const struct worker *w);
bool worker_is_draining(const struct worker *w);
bool worker_is_drained(const struct worker *w);
/* worker_is_replaying - retained messages wait for their pace, on the way to a new subscription. */
bool worker_is_replaying(const struct worker *w);
/* worker_is_reading - bodies are on their way back from the log, or will be asked for once more. */
bool worker_is_reading(const struct worker *w);
/* worker_has_uncommitted - records were appended that are not committed: somebody should commit the
 * journal. */
bool worker_has_uncommitted(const struct worker *w);
/* worker_next_conn - walks all connections: *at starts at 0; 0 at the end. */
uint64_t worker_next_conn(const struct worker *w, uint64_t *at);

/* ---- for other doors (service/gateway): principals that act without an MQTT session ---- */

/* worker_account - the account of an active principal, kept until worker_account_release.
 * ERR_DENIED: disabled, revoked, unknown; ERR_NOMEM. */
MUST_USE enum err worker_account(struct worker *w, const struct principal *principal,
                                 uint64_t now_ms, struct account **ret);
void worker_account_release(struct worker *w, struct account *a);

/* worker_let_in - the exception in force that lets clients without a name in by this entrance and
 * has all bits of `allow` (enum directory_allow); NULL: none does. Borrows from the realm of now.
 */
const struct directory_exception *worker_let_in(const struct worker *w, const struct entrance *e,
                                                unsigned allow);
/* worker_anonymous - a principal of its own, never used before, for one client that x lets in: with
 * the role of x and the segment of the entrance. ERR_NOMEM. */
MUST_USE enum err worker_anonymous(struct worker *w, const struct entrance *e,
                                   const struct directory_exception *x,
                                   const struct principal **ret);

/* worker_heard - a message of this account came by this association, from this address. The same
 * association moves: worker_moved first. In whose name many speak is told of every five seconds,
 * whoever it is. O(1); nothing but a comparison for who stays. */
void worker_heard(struct worker *w, struct account *a, uint64_t association,
                  const struct net_peer *peer, uint64_t now_ms);
void worker_moved(struct account *a);

/* worker_clock - the payload that this account may publish, as it came, and its Content-Format: now
 * and then it is looked at for what the account's clock says. */
void worker_clock(struct worker *w, struct account *a, uint16_t format, struct slice payload,
                  uint64_t now_ms);

/* worker_publish - routes a message that the passage has allowed (takes one reference). cookie
 * comes back through worker_next_done when the message is where it must be; *ret_is_done says that
 * this is so already and no done will follow. Errors: nothing was published; ERR_QUOTA: memory is
 * at its ceiling, and that is counted; ERR_SPACE, ERR_IO, ERR_NOMEM. */
MUST_USE enum err worker_publish(struct worker *w, struct account *a, struct msg *m,
                                 uint64_t cookie, uint64_t now_ms, bool *ret_is_done);
/* worker_store_refusal - why the journal did not take it (ERR_SPACE, ERR_IO), and what to do: the
 * disk is full, slow or broken. For events. */
const char *worker_store_refusal(const struct worker *w, enum err err);
/* worker_next_done - the next cookie of this door: the top 16 bits of a cookie are the door's
 * index.
 */
bool worker_next_done(struct worker *w, unsigned door, uint64_t *ret_cookie);

enum { WORKER_DOOR_SHIFT = 48 };

/* An observer of topics: what an MQTT session is for SUBSCRIBE, without queue. */
struct observer {
    struct subscriber subscriber; /* first */
    struct account *account;      /* borrowed */
    struct list_node dirty;
    const struct msg *latest; /* shared; the newest message not yet taken */
    uint64_t cookie;          /* the door's name for it, with the door's index on top */
};
/* worker_observe - subscribes o to a filter that the passage has allowed. Done (after the barrier
 * of rule 3) when cookie comes back through worker_next_done. ERR_NOMEM. */
MUST_USE enum err worker_observe(struct worker *w, struct observer *o, struct slice filter,
                                 uint64_t cookie);
/* worker_unobserve - ends all its subscriptions; o belongs to the caller again. */
void worker_unobserve(struct worker *w, struct observer *o);
/* worker_next_observer - one of this door that has a new message (in o->latest, still owned by o);
 * NULL: none.
 */
struct observer *worker_next_observer(struct worker *w, unsigned door);
/* worker_retain_wish - what a publish of a to this topic asks of the index: for passage_publish. */
enum passage_retain worker_retain_wish(struct worker *w, const struct account *a,
                                       struct slice topic, bool retain, uint64_t now_ms);
/* worker_retained - the retained message of a topic, when its publisher may still publish it and
 * the segment of `a` hears it (a NULL: that is not asked); else NULL. */
const struct msg *worker_retained(struct worker *w, struct account *a, struct slice topic,
                                  uint64_t now_ms);
/* worker_retained_each - the same for all that a filter matches. */
void worker_retained_each(struct worker *w, struct account *a, struct slice filter, uint64_t now_ms,
                          bool (*each)(void *ctx, const struct msg *m), void *ctx);
/* worker_may_hear - may what its publisher said still be heard under the realm of now, and by this
 * account's segment? O(1), or O(flows of the policy) between segments. */
bool worker_may_hear(struct worker *w, struct account *a, const struct msg *m);

/* What a door has to shed when memory is short (docs/ORDER.md rule 11). The worker calls these in
 * worker_turn, never inside a call of the door into the worker. */
struct shedder {
    struct list_node node; /* the door unlinks it before its end */
    void *ctx;
    /* from 80 % on: who has much waiting gives up what nobody was promised */
    void (*spare)(void *ctx);
    /* from 90 %: who holds the most; conn is the door's name for it, bytes 0: nobody holds any */
    struct consumer (*worst)(void *ctx);
    /* and its end; percent: of memory_bytes that are in use */
    void (*close)(void *ctx, const struct consumer *who, unsigned percent);
    /* from 95 %: ends what has not logged in, and gives how many */
    size_t (*turn_away)(void *ctx);
};
/* worker_add_shedder - borrows it until it is unlinked. */
void worker_add_shedder(struct worker *w, struct shedder *s);
/* worker_pressure - of memory, now. */
enum pressure worker_pressure(struct worker *w);
/* worker_takes_nobody - true: nobody new is let in, and that is counted. */
bool worker_takes_nobody(struct worker *w);
/* worker_renewal_wait_s - the pace of renewals: 0: one may begin now, and has its place; else it is
 * to come again in so many seconds. */
uint32_t worker_renewal_wait_s(struct worker *w);

/* entrance_segment - its name, never empty. */
const char *entrance_segment(const struct entrance *e);
const struct realm *worker_realm(const struct worker *w);
const struct limits *worker_limits(const struct worker *w);
#endif
