/* The HTTP doors of a worker thread: where devices enrol, and where numbers are read. */
#include "base/mem.h"
#include "service/broker/driver_private.h"
#include "service/broker/enrolment.h"
#include "service/broker/http_conn.h"
#include "service/broker/scrape.h"

static void on_event(void *ctx, const struct event *e)
{
    const struct http_port *p = ctx;
    const struct driver *d = p->driver;
    d->setup.event(d->setup.ctx, d->index, e);
}

static enum err on_ask(void *ctx, struct enrolment *e)
{
    const struct http_port *p = ctx;
    const struct driver *d = p->driver;
    if (d->setup.enrol == NULL) {
        enrolment_free(e);
        return ERR_UNSUPPORTED;
    }
    return d->setup.enrol(d->setup.ctx, e);
}

static enum err on_scrape(void *ctx, struct scrape *s)
{
    const struct http_port *p = ctx;
    const struct driver *d = p->driver;
    if (d->setup.scrape == NULL) {
        scrape_free(s);
        return ERR_UNSUPPORTED;
    }
    return d->setup.scrape(d->setup.ctx, s);
}

enum err http_ports_open(struct driver *d, const struct worker_setup *worker)
{
    d->https = mem_array(d->setup.n_entrances, sizeof(*d->https));
    if (d->https == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < d->setup.n_entrances; i++) {
        const struct driver_entrance *e = &d->setup.entrances[i];
        if (!e->entrance.is_enrol && !e->entrance.is_metrics) {
            continue;
        }
        struct http_port *p = &d->https[d->n_https];
        *p = (struct http_port){.driver = d, .entrance = e};
        struct http_door_setup setup = {.worker = d->worker,
                                        .entrance = &e->entrance,
                                        .pages = e->entrance.is_enrol ? &enrol_pages : &watch_pages,
                                        .key = worker->key,
                                        .counters = d->counters,
                                        .ctx = p,
                                        .event = on_event,
                                        .ask = on_ask,
                                        .scrape = on_scrape};
        TRY(http_door_new(&setup, d->now_ms, &p->door));
        d->n_https++;
    }
    return OK;
}

void http_ports_free(struct driver *d)
{
    struct http_conn *c;
    for (size_t i = 0; i < d->n_https; i++) {
        while ((c = http_door_any(d->https[i].door)) != NULL) {
            struct link *l = http_conn_transport(c);
            party_gone(l, "the server stopped");
            link_free(l);
        }
        d->https[i].door = http_door_free(d->https[i].door);
    }
    mem_free(d->https);
    d->https = NULL;
    d->n_https = 0;
}

void http_ports_turn(struct driver *d, int64_t wall_ms)
{
    for (size_t i = 0; i < d->n_https; i++) {
        if (worker_is_draining(d->worker)) {
            http_door_drain(d->https[i].door, d->now_ms);
        }
        http_door_turn(d->https[i].door, d->now_ms, wall_ms);
    }
}

void http_ports_pump(struct driver *d)
{
    struct http_conn *c;
    for (size_t i = 0; i < d->n_https; i++) {
        while ((c = http_door_next_dirty(d->https[i].door)) != NULL) {
            link_pump(http_conn_transport(c));
        }
    }
}

void http_ports_follow(struct driver *d, const struct edition *now)
{
    for (size_t i = 0; i < d->n_https; i++) {
        struct http_port *p = &d->https[i];
        p->entrance = &now->entrances[p->entrance->entrance.index];
        http_door_follow(p->door, &p->entrance->entrance);
    }
}

uint64_t http_ports_deadline(const struct driver *d)
{
    uint64_t at = UINT64_MAX;
    for (size_t i = 0; i < d->n_https; i++) {
        uint64_t one = http_door_deadline(d->https[i].door);
        at = one < at ? one : at;
    }
    return at;
}

struct http_door *http_ports_door(const struct driver *d, unsigned entrance)
{
    for (size_t i = 0; i < d->n_https; i++) {
        if (d->https[i].entrance->entrance.index == entrance) {
            return d->https[i].door;
        }
    }
    return NULL;
}
