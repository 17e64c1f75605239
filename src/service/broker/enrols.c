/* The enrolment doors of a worker thread. */
#include "base/mem.h"
#include "service/broker/driver_private.h"

static void on_event(void *ctx, const struct event *e)
{
    const struct enrol_port *p = ctx;
    const struct driver *d = p->driver;
    d->setup.event(d->setup.ctx, d->index, e);
}

static enum err on_ask(void *ctx, struct enrolment *e)
{
    const struct enrol_port *p = ctx;
    const struct driver *d = p->driver;
    if (d->setup.enrol == NULL) {
        enrolment_free(e);
        return ERR_UNSUPPORTED;
    }
    return d->setup.enrol(d->setup.ctx, e);
}

enum err enrols_open(struct driver *d, const struct worker_setup *worker)
{
    d->enrols = mem_array(d->setup.n_entrances, sizeof(*d->enrols));
    if (d->enrols == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < d->setup.n_entrances; i++) {
        const struct driver_entrance *e = &d->setup.entrances[i];
        if (!e->entrance.is_enrol) {
            continue;
        }
        struct enrol_port *p = &d->enrols[d->n_enrols];
        *p = (struct enrol_port){.driver = d, .entrance = e};
        struct http_door_setup setup = {.worker = d->worker,
                                        .entrance = &e->entrance,
                                        .key = worker->key,
                                        .counters = d->counters,
                                        .ctx = p,
                                        .event = on_event,
                                        .ask = on_ask};
        TRY(http_door_new(&setup, d->now_ms, &p->door));
        d->n_enrols++;
    }
    return OK;
}

void enrols_free(struct driver *d)
{
    struct http_conn *c;
    for (size_t i = 0; i < d->n_enrols; i++) {
        while ((c = http_door_any(d->enrols[i].door)) != NULL) {
            struct link *l = http_conn_transport(c);
            party_gone(l, "the server stopped");
            link_free(l);
        }
        d->enrols[i].door = http_door_free(d->enrols[i].door);
    }
    mem_free(d->enrols);
    d->enrols = NULL;
    d->n_enrols = 0;
}

void enrols_turn(struct driver *d, int64_t wall_ms)
{
    for (size_t i = 0; i < d->n_enrols; i++) {
        if (worker_is_draining(d->worker)) {
            http_door_drain(d->enrols[i].door, d->now_ms);
        }
        http_door_turn(d->enrols[i].door, d->now_ms, wall_ms);
    }
}

void enrols_pump(struct driver *d)
{
    struct http_conn *c;
    for (size_t i = 0; i < d->n_enrols; i++) {
        while ((c = http_door_next_dirty(d->enrols[i].door)) != NULL) {
            link_pump(http_conn_transport(c));
        }
    }
}

void enrols_follow(struct driver *d, const struct edition *now)
{
    for (size_t i = 0; i < d->n_enrols; i++) {
        struct enrol_port *p = &d->enrols[i];
        p->entrance = &now->entrances[p->entrance->entrance.index];
        http_door_follow(p->door, &p->entrance->entrance);
    }
}

uint64_t enrols_deadline(const struct driver *d)
{
    uint64_t at = UINT64_MAX;
    for (size_t i = 0; i < d->n_enrols; i++) {
        uint64_t one = http_door_deadline(d->enrols[i].door);
        at = one < at ? one : at;
    }
    return at;
}

struct http_door *enrols_door(const struct driver *d, unsigned entrance)
{
    for (size_t i = 0; i < d->n_enrols; i++) {
        if (d->enrols[i].entrance->entrance.index == entrance) {
            return d->enrols[i].door;
        }
    }
    return NULL;
}
