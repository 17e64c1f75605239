/*
 * driver - one worker thread: epoll, listeners, streams, datagrams, around a deterministic worker.
 *
 * One receive and one send per connection and turn. Nothing here knows what a message means.
 */
#ifndef SERVICE_BROKER_DRIVER_H
#define SERVICE_BROKER_DRIVER_H

#include "base/clock.h"
#include "net/dtls.h"
#include "net/listener.h"
#include "net/loop.h"
#include "net/tls.h"
#include "net/ws.h"
#include "service/broker/perimeter.h"
#include "service/broker/worker.h"

struct driver;
struct scrape;

/* One listener of the configuration as the drivers serve it. Shared by all drivers, immutable; as
 * old as its edition. */
struct driver_entrance {
    struct entrance entrance;
    struct tls *tls;             /* borrowed; NULL: plain */
    const struct ws_rules *ws;   /* borrowed; NULL: MQTT's bytes as they are */
    struct perimeter *perimeter; /* borrowed; who may come; NULL: everybody */
    bool is_udp;
    /* Borrowed; one socket for each worker, in worker order (UDP always), or one for all. The
     * socket of a plain entrance listens only while an exception opens it. */
    const int *fds;
    unsigned n_fds;
    /* Borrowed; by worker, where CoAP clients may ask other servers through us; NULL: no proxy. */
    const int *ask_fds;
    const struct proxy_rules *proxy;       /* borrowed; NULL: nothing may be asked */
    const struct dtls_server_config *dtls; /* UDP: borrowed as long as the entrance is there */
};

struct driver_setup {
    struct clock clock;
    const struct driver_entrance *entrances;
    size_t n_entrances;
    const struct edition
        *edition; /* whose entrances those are (shared); NULL: nobody's, they stay */
    const struct ceiling *ceiling; /* shared: mem_limit of its thread; NULL: there is none */
    /* Called by the worker's thread. */
    void *ctx;
    void (*event)(void *ctx, unsigned worker, const struct event *e);
    /* As the worker's; NULL: nobody watches. */
    bool (*sample)(void *ctx, unsigned worker, const struct detect_sample *s);
    enum err (*verify)(void *ctx, struct verified *v);
    enum err (*read)(void *ctx, struct reading *r);
    enum err (*enrol)(void *ctx, struct enrolment *e); /* takes it; NULL: nobody decides */
    enum err (*scrape)(void *ctx, struct scrape *s);   /* takes it; NULL: nobody answers */
    enum err (*renew)(void *ctx, struct renewal *r);
    void (*wake)(void *ctx, uint64_t workers); /* bits */
};

/* driver_new - makes its worker out of `worker` (whose driver field is filled here). ERR_NOMEM,
 * ERR_IO. */
MUST_USE enum err driver_new(const struct driver_setup *setup, const struct worker_setup *worker,
                             struct driver **ret);
/* driver_free - after driver_run has returned. */
struct driver *driver_free(struct driver *d);
/* driver_run - turns until driver_stop; the body of the worker's thread. */
void driver_run(struct driver *d);
/* driver_wake - any thread. */
void driver_wake(struct driver *d);
/* driver_stop - any thread: driver_run returns after its turn. */
void driver_stop(struct driver *d);
bool driver_is_drained(const struct driver *d);
/* driver_worker - borrowed; before driver_run, or after it. */
struct worker *driver_worker(struct driver *d);
uint64_t driver_realm_epoch(const struct driver *d);
/* driver_edition - the number of the one it serves by; any thread. */
uint64_t driver_edition(const struct driver *d);

#endif
